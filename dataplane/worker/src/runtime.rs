//! The threads of the data path, seen from outside: start, deploy, drain, stop.
//!
//! ```text
//!              Runtime (ctl's thread)
//!             /   mailbox     |          \
//!     core 0: front+back   core 1: front+back      inline
//!     core 0: front | back core 1: front | back    split: two threads, two reactors
//! ```

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use forebay_base::limits::{HttpLimits, WorkerLimits};
use forebay_base::{CoreId, Timestamp};
use forebay_frames::TaskId;
use forebay_ring::{Endpoint, EpollReactor, Features, ListenerId, Reactor, UringReactor};

use crate::back::{Back, BackConfig, DurableParts};
use crate::core;
use crate::durable::{self, TaskCommand, TaskLook, TaskRefused};
use crate::front::Front;
use crate::generation::{GENERATIONS_MAX, Generation};
use crate::mailbox::{Command, Mailbox};
use crate::messages::{Answer, Job};
use crate::metrics::CoreMetrics;

/// Where a core's two halves run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Placement {
    /// Both on one thread.
    #[default]
    Inline,
    /// Each on a thread of its own.
    Split,
}

/// Runs first on a new thread: binds it to its CPU and memory.
pub type Bind = Box<dyn FnOnce() + Send>;

/// One core of the data path.
pub struct CorePlan {
    /// For the thread with the sockets (inline: the only one).
    pub bind_front: Bind,
    /// For the worker's thread (split only).
    pub bind_back: Bind,
}

impl fmt::Debug for CorePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CorePlan")
    }
}

/// What the data path is started with.
#[derive(Debug)]
pub struct RuntimeConfig {
    /// Where to listen; every core has its own listener on each.
    pub listen: Vec<Endpoint>,
    /// One per core.
    pub cores: Vec<CorePlan>,
    /// Inline or split.
    pub placement: Placement,
    /// Bounds of connections and requests.
    pub http: HttpLimits,
    /// Bounds of workers.
    pub worker: WorkerLimits,
    /// Bounds of the reactors.
    pub ring: forebay_ring::Config,
    /// epoll even where io_uring works.
    pub force_epoll: bool,
    /// What tasks can reach.
    pub back: BackConfig,
}

/// Why the data path didn't start or doesn't obey.
#[derive(Debug)]
pub enum RuntimeError {
    /// The kernel refused: what, and its answer.
    Io(String, io::Error),
    /// A thread ended or didn't answer in time.
    Thread(String),
    /// Too many generations have running tasks.
    Generations,
    /// The store's records of durable tasks can't be read: why.
    Store(String),
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(what, error) => write!(f, "{what}: {error}"),
            Self::Thread(what) | Self::Store(what) => f.write_str(what),
            Self::Generations => write!(
                f,
                "{GENERATIONS_MAX} generations still have running tasks: wait for them, or lower their timeouts"
            ),
        }
    }
}

impl std::error::Error for RuntimeError {}

/// Connections of a core that aren't clients' (or are clients' that are being refused).
const CONNECTIONS_BESIDE: u32 = 1024;
/// How long a thread may take to carry out a command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// The running data path. Stops when dropped.
#[derive(Debug)]
pub struct Runtime {
    threads: Vec<Thread>,
    cores: Vec<Arc<CoreMetrics>>,
    /// What every core listens on, with the ports that the kernel chose.
    addresses: Vec<Endpoint>,
    features: Features,
    placement: Placement,
    current: Mutex<Arc<Generation>>,
    /// Threads that have ended.
    ended: Arc<AtomicUsize>,
    /// Mailboxes of the halves with tasks, by core.
    homes: Arc<[Arc<Mailbox>]>,
}

#[derive(Debug)]
struct Thread {
    mailbox: Arc<Mailbox>,
    half: Half,
    join: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Whole,
    Front,
    Back,
}

/// What a thread says when it is ready.
type Ready = Result<(Vec<Endpoint>, Features), RuntimeError>;

impl Runtime {
    /// Starts all threads and returns when every core listens.
    pub fn start(config: RuntimeConfig, generation: Arc<Generation>) -> Result<Self, RuntimeError> {
        let mut runtime = Self {
            threads: Vec::new(),
            cores: Vec::new(),
            addresses: Vec::new(),
            features: Features::default(),
            placement: config.placement,
            current: Mutex::new(Arc::clone(&generation)),
            ended: Arc::default(),
            homes: Arc::from([]),
        };
        let mut listen = config.listen.clone();
        for endpoint in &listen {
            forebay_ring::unshared(endpoint)
                .map_err(|error| RuntimeError::Io(format!("listening on {endpoint}"), error))?;
        }
        let own_address = Arc::clone(&config.back.own_address);
        // Mailboxes of the halves with effects, by core: the store wakes them.
        let mailboxes: Vec<Arc<Mailbox>> = config.cores.iter().map(|_| Arc::default()).collect();
        if let Some(hook) = &config.back.wakers {
            hook.set(mailboxes.clone());
        }
        runtime.homes = mailboxes.clone().into();
        let cores = u16::try_from(mailboxes.len()).unwrap_or(u16::MAX);
        let mut recovered = match &config.back.store {
            Some(store) => durable::recover(store, wall_clock(), cores).map_err(RuntimeError::Store)?,
            None => durable::Recovered::default(),
        };
        for (index, plan) in config.cores.into_iter().enumerate() {
            let core = CoreId(u16::try_from(index).unwrap_or(u16::MAX));
            let metrics = Arc::new(CoreMetrics::default());
            let (jobs_in, jobs_out) = forebay_bus::spsc::ring::<Job>(config.worker.request_queue);
            // Every job can have an answer under way, so that pushing one never fails.
            let outstanding = config.worker.request_queue.saturating_add(config.worker.tasks);
            let served = Arc::new(AtomicU64::new(generation.id));
            let (answers_in, answers_out) = forebay_bus::spsc::ring::<Answer>(outstanding.saturating_mul(2));
            let front = core::FrontParts {
                limits: config.http.clone(),
                generation: Arc::clone(&generation),
                rings: (jobs_in, answers_out),
                served: Arc::clone(&served),
                metrics: Arc::clone(&metrics),
                listen: listen.clone(),
                log: Arc::clone(&config.back.log),
            };
            let tasks = recovered.tasks.get_mut(index).map(std::mem::take).unwrap_or_default();
            let durable = DurableParts {
                homes: Arc::clone(&runtime.homes),
                epoch: recovered.epoch,
                tasks,
                sweeps: std::mem::take(&mut recovered.sweeps),
            };
            let jobs = (jobs_out, served);
            let back = Back::parts(core, &config.back, &config.worker, &generation, jobs, &metrics, durable);
            let mut ring = config.ring.clone();
            // Room beside the clients: for those that are refused, for upstreams and the database.
            let clients = u32::try_from(config.http.connections).unwrap_or(u32::MAX);
            ring.connections = ring.connections.max(clients.saturating_add(CONNECTIONS_BESIDE));
            let epoll = config.force_epoll;
            let (tell, told) = sync_channel::<Ready>(1);
            let mailbox = Arc::clone(&mailboxes[index]);
            match config.placement {
                Placement::Inline => {
                    let bind = plan.bind_front;
                    let here = Arc::clone(&mailbox);
                    let run = move || {
                        bind();
                        with_reactor(epoll, ring, tell, Whole { front, back, mailbox: here });
                    };
                    runtime.spawn(core, Half::Whole, mailbox, run)?;
                    runtime.wait_ready(core, &told, &mut listen)?;
                }
                Placement::Split => {
                    let front_mailbox = Arc::<Mailbox>::default();
                    let (tell_back, told_back) = sync_channel::<Ready>(1);
                    let (bind, ring_back) = (plan.bind_back, ring.clone());
                    let (here, peer) = (Arc::clone(&mailbox), Arc::clone(&front_mailbox));
                    let run = move || {
                        bind();
                        with_reactor(
                            epoll,
                            ring_back,
                            tell_back,
                            BackHalf { back, answers: answers_in, mailbox: here, peer },
                        );
                    };
                    runtime.spawn(core, Half::Back, Arc::clone(&mailbox), run)?;
                    runtime.wait_ready(core, &told_back, &mut Vec::new())?;
                    let (bind, here) = (plan.bind_front, Arc::clone(&front_mailbox));
                    let run = move || {
                        bind();
                        with_reactor(epoll, ring, tell, FrontHalf { front, mailbox: here, peer: mailbox });
                    };
                    runtime.spawn(core, Half::Front, front_mailbox, run)?;
                    runtime.wait_ready(core, &told, &mut listen)?;
                }
            }
            runtime.cores.push(metrics);
        }
        runtime.addresses = listen;
        if let Some(address) = runtime.tcp() {
            let ip = if address.ip().is_unspecified() { [127, 0, 0, 1].into() } else { address.ip() };
            let _ = own_address.set(SocketAddr::new(ip, address.port()));
        }
        Ok(runtime)
    }

    fn spawn(
        &mut self,
        core: CoreId,
        half: Half,
        mailbox: Arc<Mailbox>,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<(), RuntimeError> {
        let name = match half {
            Half::Whole => format!("core-{core}"),
            Half::Front => format!("core-{core}-net"),
            Half::Back => format!("core-{core}-vm"),
        };
        let ended = Arc::clone(&self.ended);
        let join = std::thread::Builder::new()
            .name(name)
            .spawn(move || {
                let _ended = Ended(ended);
                run();
            })
            .map_err(|e| RuntimeError::Io("starting a thread".into(), e))?;
        self.threads.push(Thread { mailbox, half, join: Mutex::new(Some(join)) });
        Ok(())
    }

    /// The first core's listeners decide port 0 for the others.
    fn wait_ready(
        &mut self,
        core: CoreId,
        told: &Receiver<Ready>,
        listen: &mut Vec<Endpoint>,
    ) -> Result<(), RuntimeError> {
        match told.recv_timeout(Duration::from_secs(30)) {
            Ok(Ok((addresses, features))) => {
                if !addresses.is_empty() {
                    *listen = addresses;
                }
                self.features = features;
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(RuntimeError::Thread(format!("core {core} didn't start"))),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[Endpoint] {
        &self.addresses
    }

    /// The first TCP address, if there is one.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.addresses.iter().find_map(|endpoint| match endpoint {
            Endpoint::Tcp(addr) => Some(*addr),
            Endpoint::Unix(_) => None,
        })
    }

    /// What the kernel gave the reactors.
    #[must_use]
    pub fn features(&self) -> Features {
        self.features
    }

    /// Inline or split.
    #[must_use]
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// Counters by core.
    #[must_use]
    pub fn metrics(&self) -> &[Arc<CoreMetrics>] {
        &self.cores
    }

    /// The generation that new requests get.
    #[must_use]
    pub fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes every core serve `generation`; returns when all do. Workers learn it
    /// before the halves with the sockets, so that no job names a generation that
    /// its worker doesn't know.
    pub fn deploy(&self, generation: &Arc<Generation>) -> Result<(), RuntimeError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.cores.iter().map(|metrics| metrics.generations.get()).max().unwrap_or(1);
        if live >= GENERATIONS_MAX as u64 {
            return Err(RuntimeError::Generations);
        }
        for halves in [&[Half::Back][..], &[Half::Front, Half::Whole]] {
            self.tell(halves, |ack| Command::Adopt(Arc::clone(generation), ack))?;
        }
        *current = Arc::clone(generation);
        Ok(())
    }

    /// Carries out a command about a durable task, at its home; returns when that is on disk. A running task
    /// pauses at its next suspension: one that doesn't suspend in time is told to and pauses later.
    ///
    /// # Errors
    /// [`TaskRefused`].
    pub fn task(&self, id: &TaskId, command: TaskCommand) -> Result<(), TaskRefused> {
        let home = id.home(u16::try_from(self.homes.len()).unwrap_or(u16::MAX));
        let (reply, answer) = sync_channel(1);
        let Some(mailbox) = self.homes.get(usize::from(home)) else {
            let detail = "no core runs".to_owned();
            return Err(TaskRefused { status: 503, code: "task/unavailable", detail });
        };
        let message = durable::Message::Control { id: id.clone(), command, reply };
        mailbox.send(Command::Durable(message));
        match answer.recv_timeout(COMMAND_TIMEOUT) {
            Ok(said) => said,
            Err(_) if matches!(command, TaskCommand::Pause | TaskCommand::Cancel) => {
                let detail = "the task runs: it will hear of it at its next suspension".to_owned();
                Err(TaskRefused { status: 503, code: "task/later", detail })
            }
            Err(_) => {
                let detail = "the task's core doesn't answer".to_owned();
                Err(TaskRefused { status: 503, code: "task/unavailable", detail })
            }
        }
    }

    /// Sends a signal to a durable task; returns when it is on disk. `value`: encoded (docs/formats/value.md).
    ///
    /// # Errors
    /// [`TaskRefused`].
    pub fn signal(&self, id: &TaskId, name: &str, value: Option<Vec<u8>>) -> Result<(), TaskRefused> {
        let home = id.home(u16::try_from(self.homes.len()).unwrap_or(u16::MAX));
        let (reply, answer) = sync_channel(1);
        let unavailable =
            |detail: &str| TaskRefused { status: 503, code: "task/unavailable", detail: detail.into() };
        let mailbox = self.homes.get(usize::from(home)).ok_or_else(|| unavailable("no core runs"))?;
        let name = durable::checked_name(name).map_err(|detail| TaskRefused {
            status: 400,
            code: "task/command",
            detail,
        })?;
        let signal = forebay_frames::Signal { name, value };
        mailbox.send(Command::Durable(durable::Message::Signal { id: id.clone(), signal, reply }));
        answer
            .recv_timeout(COMMAND_TIMEOUT)
            .unwrap_or_else(|_| Err(unavailable("the task's core doesn't answer: it may have happened")))
    }

    /// What a durable task holds and where it waits, from its home.
    ///
    /// # Errors
    /// [`TaskRefused`].
    pub fn look(&self, id: &TaskId) -> Result<TaskLook, TaskRefused> {
        let (reply, answer) = sync_channel(1);
        self.say(id, durable::Message::Inspect { id: id.clone(), reply })?;
        answer.recv_timeout(COMMAND_TIMEOUT).unwrap_or_else(|_| Err(no_answer()))
    }

    /// Changes a variable of a durable task that doesn't run; returns when that is on disk.
    ///
    /// # Errors
    /// [`TaskRefused`].
    pub fn set_local(&self, id: &TaskId, name: &str, value: forebay_base::Value) -> Result<(), TaskRefused> {
        let (reply, answer) = sync_channel(1);
        self.say(id, durable::Message::Set { id: id.clone(), name: name.into(), value, reply })?;
        answer.recv_timeout(COMMAND_TIMEOUT).unwrap_or_else(|_| Err(no_answer()))
    }

    fn say(&self, id: &TaskId, message: durable::Message) -> Result<(), TaskRefused> {
        let home = id.home(u16::try_from(self.homes.len()).unwrap_or(u16::MAX));
        let mailbox = self.homes.get(usize::from(home)).ok_or_else(no_answer)?;
        mailbox.send(Command::Durable(message));
        Ok(())
    }

    fn tell(&self, halves: &[Half], command: impl Fn(SyncSender<()>) -> Command) -> Result<(), RuntimeError> {
        let (ack, acks) = sync_channel(self.threads.len().max(1));
        let mut missing = 0;
        for thread in self.threads.iter().filter(|thread| halves.contains(&thread.half)) {
            thread.mailbox.send(command(ack.clone()));
            missing += 1;
        }
        drop(ack);
        while missing > 0 {
            match acks.recv_timeout(COMMAND_TIMEOUT) {
                Ok(()) => missing -= 1,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(RuntimeError::Thread(format!("{missing} cores don't answer")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(RuntimeError::Thread("a core has ended".into()));
                }
            }
        }
        Ok(())
    }

    /// Accepts no more connections and lets what runs come to its end, for at most
    /// `timeout`. True if all did.
    #[expect(clippy::disallowed_methods, reason = "a deadline outside the data path")]
    pub fn drain(&self, timeout: Duration) -> bool {
        for thread in &self.threads {
            thread.mailbox.send(Command::Drain);
        }
        let end = Instant::now() + timeout;
        while !self.is_over() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Whether a thread has ended: more than expected, unless it drains or stops.
    #[must_use]
    pub fn has_lost_threads(&self) -> bool {
        self.ended.load(Ordering::Acquire) > 0
    }

    /// Whether all threads have ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended.load(Ordering::Acquire) == self.threads.len()
    }
}

impl Runtime {
    /// Ends all threads, whatever runs on them, after the write of the store that is
    /// under way; returns when they have ended.
    pub fn stop(&self) {
        for thread in &self.threads {
            thread.mailbox.send(Command::Stop);
        }
        for thread in &self.threads {
            let join = thread.join.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(join) = join {
                let _ = join.join();
            }
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop();
    }
}

/// CLOCK_REALTIME, before any core has a ring that tells it.
#[expect(clippy::disallowed_methods, reason = "once, outside the data path")]
fn wall_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Counts a thread that ends, by a panic too.
struct Ended(Arc<AtomicUsize>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// A thread's work, once it has a reactor of whichever kind.
trait Program {
    fn run<R: Reactor>(self, reactor: R, ready: SyncSender<Ready>);
}

struct Whole {
    front: core::FrontParts,
    back: crate::back::Parts,
    mailbox: Arc<Mailbox>,
}

struct FrontHalf {
    front: core::FrontParts,
    mailbox: Arc<Mailbox>,
    peer: Arc<Mailbox>,
}

struct BackHalf {
    back: crate::back::Parts,
    answers: forebay_bus::Producer<Answer>,
    mailbox: Arc<Mailbox>,
    peer: Arc<Mailbox>,
}

/// Makes the reactor on the thread that uses it (a ring belongs to one thread).
fn with_reactor(epoll: bool, config: forebay_ring::Config, ready: SyncSender<Ready>, program: impl Program) {
    if !epoll {
        match UringReactor::new(config.clone()) {
            Ok(reactor) => return program.run(reactor, ready),
            // Not in this kernel, or forbidden here (seccomp, sysctl kernel.io_uring_disabled).
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EINVAL)) => {
            }
            Err(error) => {
                let _ = ready.send(Err(RuntimeError::Io("io_uring".into(), error)));
                return;
            }
        }
    }
    match EpollReactor::new(config) {
        Ok(reactor) => program.run(reactor, ready),
        Err(error) => {
            let _ = ready.send(Err(RuntimeError::Io("epoll".into(), error)));
        }
    }
}

/// Listens, tells how that went.
fn listen<R: Reactor>(
    reactor: &mut R,
    front: &core::FrontParts,
    ready: &SyncSender<Ready>,
) -> Option<Vec<ListenerId>> {
    let mut addresses = Vec::new();
    let mut listeners = Vec::new();
    for endpoint in &front.listen {
        match reactor.listen(endpoint) {
            Ok(listener) => {
                addresses.extend(reactor.local_addr(listener));
                listeners.push(listener);
            }
            Err(error) => {
                let _ = ready.send(Err(RuntimeError::Io(format!("listening on {endpoint}"), error)));
                return None;
            }
        }
    }
    let _ = ready.send(Ok((addresses, reactor.features())));
    Some(listeners)
}

impl Program for Whole {
    fn run<R: Reactor>(self, mut reactor: R, ready: SyncSender<Ready>) {
        self.mailbox.set_waker(reactor.waker());
        if let Some(listeners) = listen(&mut reactor, &self.front, &ready) {
            core::run_inline(reactor, listeners, self.front, self.back, &self.mailbox);
        }
    }
}

impl Program for FrontHalf {
    fn run<R: Reactor>(self, mut reactor: R, ready: SyncSender<Ready>) {
        self.mailbox.set_waker(reactor.waker());
        if let Some(listeners) = listen(&mut reactor, &self.front, &ready) {
            core::run_front(reactor, listeners, self.front, &self.mailbox, &self.peer);
        }
        // The other half may wait for our end.
        self.peer.wake();
    }
}

impl Program for BackHalf {
    fn run<R: Reactor>(self, reactor: R, ready: SyncSender<Ready>) {
        self.mailbox.set_waker(reactor.waker());
        let _ = ready.send(Ok((Vec::new(), reactor.features())));
        core::run_back(reactor, self.back, self.answers, &self.mailbox, &self.peer);
    }
}

/// The rings of one core that the front half holds.
pub(crate) type FrontRings = (forebay_bus::Producer<Job>, forebay_bus::Consumer<Answer>);

impl core::FrontParts {
    pub(crate) fn build<R: Reactor>(self, reactor: &R) -> Front {
        let now = (reactor.now(), reactor.timestamp());
        Front::new(self.limits, self.generation, self.rings, self.served, self.metrics, now)
    }
}

fn no_answer() -> TaskRefused {
    let detail = "the task's core doesn't answer: it may have happened".to_owned();
    TaskRefused { status: 503, code: "task/unavailable", detail }
}
