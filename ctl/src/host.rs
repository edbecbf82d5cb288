//! The life of a serving process: what `serve` and `dev` do around the data path.
//!
//! ```text
//! Host::prepare     signals, log and notifier ready     (before any other thread)
//!      |            ... configuration, PostgreSQL, data path: the command's own work ...
//!      |  SIGTERM, SIGINT                             -> exit now, code 1
//! Host::run         admin socket, signals, watcher, READY=1
//!      |  SIGHUP, POST /v1/deploy, a saved file      -> deploy, one at a time (in dev SIGHUP drains:
//!      |                                                 the terminal was closed)
//!      |  SIGTERM, SIGINT, POST /v1/drain            -> STOPPING=1, drain, return
//!      |  a second SIGTERM or SIGINT                 -> exit now, code 1
//!      |  a core's thread ended                      -> return a failure (systemd restarts us)
//! ```
//!
//! It knows the data path as a [`Service`] only, so its tests have none.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin::server::AdminServer;
use crate::admin::{Control, ControlError};
use crate::log::Logger;
use crate::sd_notify::Notifier;
use crate::signals::{Request, Signals};
use crate::watch::Watcher;
use crate::{Failure, Outcome};

/// How often a look is taken at whether all threads still run.
const PULSE: Duration = Duration::from_millis(250);
/// How long the watcher waits before it looks at whether to go on.
const WATCH_TURN: Duration = Duration::from_secs(3600);

/// The data path, as its host sees it. [`Control::drain`] only starts a drain.
pub trait Service: Control + std::fmt::Debug {
    /// Waits until a drain has ended, at most `timeout`. True if everything that
    /// ran came to its end.
    fn finish(&self, timeout: Duration) -> bool;
    /// Whether every thread of the data path still runs.
    fn is_alive(&self) -> bool;
    /// One line for `systemctl status`, as in "generation 3, inline, 2 lanes".
    fn summary(&self) -> String;
}

/// A process that is about to serve.
#[derive(Debug)]
pub struct Host {
    /// For everybody.
    pub logger: Logger,
    notifier: Notifier,
    /// Whom the signal thread tells.
    told: Arc<Mutex<Told>>,
}

/// Whom signals are told.
#[derive(Debug)]
enum Told {
    /// Nobody yet; whether a deploy was asked for meanwhile: what starts may have been
    /// compiled before the change that it was asked for.
    Starting { deploy: bool },
    /// The service.
    Running(Arc<Hosted>),
}

/// What is hosted how.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// App folder.
    pub app: PathBuf,
    /// Path of the admin socket.
    pub admin: PathBuf,
    /// Deploy when a file of the app is saved.
    pub watch: bool,
    /// For running requests to end when drained.
    pub drain_timeout: Duration,
}

impl Host {
    /// Starts the log, and takes the signals. Call it before any other thread starts.
    ///
    /// # Errors
    /// Exit 1: no thread could be started, or the service manager can't be reached.
    pub fn prepare(dev: bool) -> Result<Self, Failure> {
        let signals = Signals::block().map_err(|e| Failure::because("can't block signals", e))?;
        let logger = Logger::to_stderr(dev).map_err(|e| Failure::because("can't start the log", e))?;
        let notifier = Notifier::from_env().map_err(|e| Failure::because("can't reach $NOTIFY_SOCKET", e))?;
        let told = Arc::new(Mutex::new(Told::Starting { deploy: false }));
        let (whom, log) = (Arc::clone(&told), logger.clone());
        // Who closes the terminal of `dev` wants it to end.
        let meant = move |request| if dev && request == Request::Deploy { Request::Drain } else { request };
        let handle = move |request| {
            let hosted = match (&mut *whom.lock().unwrap_or_else(PoisonError::into_inner), meant(request)) {
                (Told::Running(hosted), _) => Arc::clone(hosted),
                (Told::Starting { deploy }, Request::Deploy) => {
                    *deploy = true;
                    return;
                }
                (Told::Starting { .. }, Request::Drain | Request::Exit) => {
                    return exit_now(&log, "signal while starting: exit now");
                }
            };
            hosted.on_signal(meant(request));
        };
        signals.listen(handle).map_err(|e| Failure::because("can't listen to signals", e))?;
        Ok(Self { logger, notifier, told })
    }

    /// One line for `systemctl status` while starting.
    pub fn status(&self, text: &str) {
        self.notifier.status(text);
    }

    /// Serves until drained.
    ///
    /// # Errors
    /// The admin socket or the watcher can't be started; a core's thread ended; the
    /// drain took too long.
    pub fn run(self, service: Arc<dyn Service>, options: &HostOptions) -> Outcome {
        let (asked, asks) = sync_channel(16);
        let logger = self.logger;
        let hosted = Arc::new(Hosted {
            service: Arc::clone(&service),
            notifier: self.notifier,
            logger: logger.clone(),
            deploying: Mutex::new(()),
            asked,
        });
        let control: Arc<dyn Control> = Arc::clone(&hosted) as _;
        let admin = AdminServer::start(&options.admin, control, logger.clone()).map_err(|error| {
            Failure::because(format!("can't open the admin socket {}", options.admin.display()), error)
        })?;
        let running = Told::Running(Arc::clone(&hosted));
        let before =
            std::mem::replace(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner), running);
        if options.watch {
            // Made here, so that what is saved from now on is seen.
            let watcher = Watcher::new(&options.app)
                .map_err(|error| Failure::because(format!("can't watch {}", options.app.display()), error))?;
            let hosted = Arc::clone(&hosted);
            std::thread::Builder::new()
                .name("watch".to_owned())
                .spawn(move || watch(watcher, &hosted))
                .map_err(|error| Failure::because("can't start the watcher", error))?;
        }
        hosted.notifier.ready(&service.summary());
        if matches!(before, Told::Starting { deploy: true }) {
            // Its outcome is logged; a signal has nobody else to tell.
            let _ = Control::deploy(&*hosted);
        }
        let outcome = hosted.serve(&asks, options.drain_timeout);
        drop(admin);
        logger.flush();
        outcome
    }
}

/// The service with what hosting adds to it: one deploy at a time, logged and told
/// to the service manager.
#[derive(Debug)]
struct Hosted {
    service: Arc<dyn Service>,
    notifier: Notifier,
    logger: Logger,
    deploying: Mutex<()>,
    /// Asks the host's thread to drain.
    asked: SyncSender<()>,
}

impl Hosted {
    fn serve(&self, asks: &Receiver<()>, drain_timeout: Duration) -> Outcome {
        let pulse = self.notifier.watchdog_every.map_or(PULSE, |every| every.min(PULSE));
        let mut fed = now();
        loop {
            match asks.recv_timeout(pulse) {
                Ok(()) => break,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if !self.service.is_alive() {
                self.logger.error("a thread of the data path has ended: this process ends too").send();
                return Err(Failure::Failed("a thread of the data path has ended".to_owned()));
            }
            if let Some(every) = self.notifier.watchdog_every
                && fed.elapsed() >= every
            {
                self.notifier.watchdog();
                fed = now();
            }
        }
        self.notifier.stopping();
        self.logger.info("draining").send();
        self.service.drain().map_err(|error| Failure::Failed(error.detail))?;
        if self.service.finish(drain_timeout) {
            self.logger.info("drained").send();
            return Ok(());
        }
        self.logger.warn("the drain took too long: requests are cut off").send();
        Err(Failure::Failed(format!("requests still ran after {} s of draining", drain_timeout.as_secs())))
    }

    fn on_signal(&self, request: Request) {
        match request {
            Request::Drain => {
                let _ = self.asked.try_send(());
            }
            Request::Deploy => {
                // Its outcome is logged; a signal has nobody else to tell.
                let _ = Control::deploy(self);
            }
            Request::Exit => exit_now(&self.logger, "second signal: exit now"),
        }
    }
}

impl Control for Hosted {
    fn status(&self) -> Value {
        self.service.status()
    }
    fn routes(&self) -> Value {
        self.service.routes()
    }
    fn metrics(&self) -> String {
        self.service.metrics()
    }
    fn topology(&self) -> Value {
        self.service.topology()
    }
    fn kv(&self, command: &Value) -> Result<Value, ControlError> {
        self.service.kv(command)
    }
    fn task(&self, command: &Value) -> Result<Value, ControlError> {
        self.service.task(command)
    }
    fn eval(&self, command: &Value) -> Result<Value, ControlError> {
        self.service.eval(command)
    }

    fn deploy(&self) -> Result<Value, ControlError> {
        let _one = self.deploying.lock().unwrap_or_else(PoisonError::into_inner);
        let start = now();
        self.notifier.reloading(monotonic());
        let result = self.service.deploy();
        let millis = start.elapsed().as_secs_f64() * 1e3;
        match &result {
            Ok(value) => {
                self.logger.info("deployed").float("ms", millis).json("result", &value.to_string()).send()
            }
            Err(error) => {
                self.logger.error("not deployed: the last generation goes on").str("code", error.code).send();
                self.logger.block(&error.detail);
            }
        }
        self.notifier.ready(&self.service.summary());
        result
    }

    fn drain(&self) -> Result<Value, ControlError> {
        // Full means that it was asked already.
        let _ = self.asked.try_send(());
        Ok(json!({ "draining": true }))
    }
}

fn exit_now(logger: &Logger, why: &str) {
    logger.warn(why).send();
    logger.flush();
    // Children have their own ways to notice (crate::process::tie).
    std::process::exit(1);
}

fn watch(mut watcher: Watcher, hosted: &Hosted) {
    loop {
        match watcher.wait(WATCH_TURN) {
            Ok(changes) if changes.is_empty() => {}
            Ok(_) => {
                let _ = Control::deploy(hosted);
            }
            Err(error) => {
                hosted
                    .logger
                    .error("the watcher has ended; saves are not seen any more")
                    .show("error", error)
                    .send();
                return;
            }
        }
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the host's thread is no core's")]
    Instant::now()
}

/// CLOCK_MONOTONIC, as sd_notify(3) wants it.
fn monotonic() -> forebay_base::Monotonic {
    let at =
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    forebay_base::Monotonic::default().after(at)
}
