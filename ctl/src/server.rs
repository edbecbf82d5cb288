//! A running forebay, without its process: the data path, the store and, in dev, the
//! private PostgreSQL; and what the admin socket can ask of them. [`crate::host`]
//! has the life of the process around it.
//!
//! ```text
//!   start: database, migrations (dev) -> generation -> store -> data path
//!   stop:  data path -> store closed -> database stopped
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use forebay_kv::Store;
use forebay_postgres as pg;
use forebay_ring::Endpoint;
use forebay_tuning::{Plan, Topology};
use forebay_worker::metrics::{CoreMetrics, Histogram};
use forebay_worker::{
    BackConfig, CorePlan, Generation, Rewrite, RewriteTo, Runtime, RuntimeConfig, RuntimeError, StoreWakers,
};
use serde_json::{Value, json};

use crate::admin::{Control, ControlError};
use crate::app::{self, Problems};
use crate::config::{Config, DatabaseSource, RewriteTarget};
use crate::devpg::DevPg;
use crate::host::Service;
use crate::log::Logger;
use crate::{Failure, Outcome};

/// How it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Production.
    Serve,
    /// Errors are explained, rewrites are in force, a private PostgreSQL is there.
    Dev,
}

/// A running forebay.
pub struct Server {
    app: PathBuf,
    mode: Mode,
    config: Config,
    runtime: Runtime,
    store: Arc<Store>,
    plan: Plan,
    topology: Topology,
    started: Instant,
    logger: Logger,
    /// Generations so far; a deploy counts on when it has succeeded.
    generations: AtomicU64,
    /// What [`migrate`] of dev has seen; without a database, nothing to do.
    migrations: Option<Mutex<Migrations>>,
    /// The private cluster of dev; stopped after everything else.
    private: Mutex<Option<DevPg>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("app", &self.app).finish_non_exhaustive()
    }
}

/// Scripts' and the worker's lines go into our log.
#[derive(Debug)]
pub struct WorkerLog(pub Logger);

impl forebay_worker::Log for WorkerLog {
    fn line(&self, level: forebay_worker::Level, message: &str, fields: &[(&str, &dyn fmt::Display)]) {
        let level = match level {
            forebay_worker::Level::Info => crate::log::Level::Info,
            forebay_worker::Level::Warn => crate::log::Level::Warn,
            forebay_worker::Level::Error => crate::log::Level::Error,
        };
        let mut line = self.0.line(level, message);
        for (name, value) in fields {
            line = line.show(name, value);
        }
        line.send();
    }
}

/// Where the database is; in dev, after starting the private one and migrating it.
fn database(
    app: &Path,
    mode: Mode,
    config: &Config,
    logger: &Logger,
) -> Result<(Option<pg::Config>, Option<DevPg>), Failure> {
    let env = |name: &str| std::env::var(name).ok();
    let parse =
        |text: &str| pg::Config::parse(text, &env).map_err(|error| Failure::Failed(error.to_string()));
    let Some(database) = &config.database else { return Ok((None, None)) };
    if let Some(url) = database.source.url(env).map_err(Failure::Failed)? {
        let parsed = parse(&url)?;
        if mode == Mode::Dev {
            migrate(app, &parsed, logger)?;
        }
        return Ok((Some(parsed), None));
    }
    debug_assert_eq!(database.source, DatabaseSource::Private);
    if mode == Mode::Serve {
        return Err(Failure::Failed(
            "[database] url is \"private\", which is for `forebay dev`; `serve` needs the URL of a database: \
             put it into the environment and set url = \"$DATABASE_URL\""
                .to_owned(),
        ));
    }
    logger.info("starting a private PostgreSQL").send();
    let private = DevPg::start(app).map_err(|error| Failure::Failed(error.to_string()))?;
    let parsed = parse(&private.url())?;
    migrate(app, &parsed, logger)?;
    Ok((Some(parsed), Some(private)))
}

/// Where the databases of `db(name)` are. A private cluster is only for the first.
pub(crate) fn more_databases(
    config: &Config,
) -> Result<Vec<(String, pg::Config, forebay_base::limits::DatabaseLimits)>, Failure> {
    let env = |name: &str| std::env::var(name).ok();
    let each = |(name, database): &(String, crate::config::Database)| {
        let failed = |why: String| Failure::Failed(format!("[database.{name}]: {why}"));
        let url = database.source.url(env).map_err(failed)?;
        let url = url.ok_or_else(|| failed("url can't be \"private\" here".to_owned()))?;
        let parsed = pg::Config::parse(&url, &env).map_err(|error| failed(error.to_string()))?;
        Ok((name.clone(), parsed, database.limits.clone()))
    };
    config.more_databases.iter().map(each).collect()
}

/// The migrations that were last applied, to tell a save of one from others.
struct Migrations {
    database: pg::Config,
    seen: Vec<(PathBuf, Option<SystemTime>, u64)>,
}

impl Migrations {
    /// Names, times and sizes of the folder's files.
    fn look(app: &Path) -> Vec<(PathBuf, Option<SystemTime>, u64)> {
        let files = std::fs::read_dir(app.join("migrations")).into_iter().flatten().flatten();
        let mut seen: Vec<_> = files
            .filter_map(|file| {
                let data = file.metadata().ok()?;
                Some((file.path(), data.modified().ok(), data.len()))
            })
            .collect();
        seen.sort();
        seen
    }

    /// Applies what is new since the last look.
    fn apply(&mut self, app: &Path, logger: &Logger) -> Result<(), Failure> {
        let now = Self::look(app);
        if now != self.seen {
            migrate(app, &self.database, logger)?;
            self.seen = now;
        }
        Ok(())
    }
}

fn migrate(app: &Path, database: &pg::Config, logger: &Logger) -> Result<(), Failure> {
    let folder = app.join("migrations");
    if !folder.is_dir() {
        return Ok(());
    }
    let mut client = pg::blocking::Client::connect(database)
        .map_err(|error| Failure::because("can't reach the database", error))?;
    // Nobody else uses the database of a developer: what would block or destroy in production is a warning here.
    match crate::commands::db::pending_lints(&mut client, &folder) {
        Ok(found) => {
            for (_, diagnostic) in found {
                eprintln!("{diagnostic}");
            }
        }
        Err(why) => logger.warn("the migrations weren't looked at").show("why", why).send(),
    }
    let options = pg::migrate::Options::default();
    let applied = pg::migrate::migrate(&mut client, &folder, &options, &mut |line| {
        logger.info("migration").str("file", line).send();
    })
    .map_err(|error| Failure::Failed(error.to_string()))?;
    if !applied.is_empty() {
        crate::schema::refresh(&mut client, app, logger);
    }
    Ok(())
}

impl Server {
    /// Starts everything but the admin socket: when it returns, requests are answered.
    ///
    /// # Errors
    /// Whatever keeps it from that, as text for stderr.
    pub fn start(app: &Path, mode: Mode, config: Config, logger: &Logger) -> Result<Self, Failure> {
        // The rings' descriptor tables can't be larger than the soft limit, which is often 1024.
        if let Err(error) = forebay_ring::raise_descriptor_limit() {
            logger.warn("the limit of open files stays as it is").show("why", error).send();
        }
        let (database, private) = database(app, mode, &config, logger)?;
        if let Some(database) = &database {
            crate::schema::report_in_background(app, database, logger);
        }
        let migrations = database.clone().filter(|_| mode == Mode::Dev).map(|database| {
            let seen = Migrations::look(app);
            Mutex::new(Migrations { database, seen })
        });
        if mode == Mode::Serve && !config.small_pages {
            match forebay_tuning::huge_text() {
                Ok(text) => logger.info("the code is on huge pages").show("text", text).send(),
                Err(why) => logger.info("the code stays on small pages").show("why", why).send(),
            }
        }
        let topology = Topology::detect();
        let request = forebay_tuning::Request { cores: config.cores.clone(), placement: config.placement };
        let plan = forebay_tuning::plan(&topology, &request).map_err(|e| Failure::Failed(e.to_string()))?;
        let built = app::build(app, 1, &config.task).map_err(|problems| Failure::Failed(problems.text()))?;
        for warning in &built.warnings {
            eprintln!("{warning}");
        }
        let data = config.data.clone().unwrap_or_else(|| app.join(".forebay/data"));
        if let Some(parent) = data.parent() {
            std::fs::create_dir_all(parent).map_err(|e| Failure::because(parent.display(), e))?;
        }
        let wakers = Arc::new(StoreWakers::default());
        let cores = u16::try_from(plan.lanes.len()).unwrap_or(u16::MAX);
        let store = Store::open(
            forebay_kv::Config { quota: config.quota, ..forebay_kv::Config::new(&data, cores) },
            Arc::clone(&wakers) as Arc<dyn forebay_kv::Wake>,
        )
        .map_err(|error| Failure::because(format_args!("data folder {}", data.display()), error))?;
        maintain(&store, logger)?;
        let back = BackConfig {
            store: Some(Arc::clone(&store)),
            wakers: Some(wakers),
            database,
            cores: usize::from(cores),
            database_limits: config.database.as_ref().map(|d| d.limits.clone()).unwrap_or_default(),
            more_databases: more_databases(&config)?.into(),
            rewrites: if mode == Mode::Dev { rewrites(&config) } else { Arc::from([]) },
            allow_private: config.allow_private,
            own_address: Arc::new(OnceLock::new()),
            env: Arc::new(environment(&config)),
            log: Arc::new(WorkerLog(logger.clone())),
            dev: mode == Mode::Dev,
            explain: Some(Arc::new(app::explain)),
            test: None,
        };
        let listen = if config.listen.is_empty() {
            vec![SocketAddr::from(([127, 0, 0, 1], 8080))]
        } else {
            config.listen.clone()
        };
        let runtime = Runtime::start(
            RuntimeConfig {
                listen: listen.into_iter().map(Endpoint::Tcp).collect(),
                cores: plan.lanes.iter().map(|lane| core_plan(lane, logger)).collect(),
                placement: match plan.placement {
                    forebay_tuning::Placement::Inline => forebay_worker::Placement::Inline,
                    forebay_tuning::Placement::Split => forebay_worker::Placement::Split,
                },
                http: config.http.clone(),
                worker: config.worker.clone(),
                ring: forebay_ring::Config::default(),
                force_epoll: std::env::var_os("FOREBAY_EPOLL").is_some(),
                back,
            },
            Arc::new(built.generation),
        )
        .map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(Self {
            app: app.to_owned(),
            mode,
            config,
            runtime,
            store,
            plan,
            topology,
            #[expect(clippy::disallowed_methods, reason = "uptime is of the process")]
            started: Instant::now(),
            logger: logger.clone(),
            generations: AtomicU64::new(1),
            migrations,
            private: Mutex::new(private),
        })
    }

    /// Says in the log where it listens and what the kernel gave it.
    pub fn announce(&self, socket: &Path) {
        for address in self.runtime.addresses() {
            self.logger
                .info("listening")
                .show("address", address)
                .str("generation", &self.runtime.generation().hash)
                .str("plan", &self.plan.summary())
                .show("kernel", self.runtime.features())
                .show("admin", socket.display())
                .send();
        }
        if self.generation().declared().next().is_none() {
            let folder = self.app.join("blueprints");
            self.logger
                .warn("nothing to serve: no blueprint declares a route")
                .show("folder", folder.display())
                .send();
        }
    }

    /// Where it listens, first.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.runtime.tcp()
    }

    /// The current generation.
    #[must_use]
    pub fn generation(&self) -> Arc<Generation> {
        self.runtime.generation()
    }

    /// Compiles the app folder and has every core adopt the result; in dev, new migrations
    /// are applied first.
    ///
    /// # Errors
    /// Why the old generation goes on.
    pub fn reload(&self) -> Result<Arc<Generation>, ReloadError> {
        if let Some(migrations) = &self.migrations {
            let mut migrations = migrations.lock().unwrap_or_else(PoisonError::into_inner);
            migrations
                .apply(&self.app, &self.logger)
                .map_err(|error| ReloadError::Migration(error.to_string()))?;
        }
        let id = self.generations.load(Ordering::Relaxed) + 1;
        let built = app::build(&self.app, id, &self.config.task).map_err(ReloadError::Build)?;
        for warning in &built.warnings {
            eprintln!("{warning}");
        }
        let generation = Arc::new(built.generation);
        self.runtime.deploy(&generation).map_err(ReloadError::Runtime)?;
        self.generations.store(id, Ordering::Relaxed);
        Ok(generation)
    }

    /// Stops the data path and the private database, and closes the store. Nothing
    /// answers afterwards.
    ///
    /// # Errors
    /// The store couldn't be closed cleanly: what it says.
    pub fn stop(&self) -> Outcome {
        self.runtime.stop();
        let closed = self.store.close();
        if let Some(private) = self.private.lock().unwrap_or_else(PoisonError::into_inner).take() {
            private.stop();
        }
        closed.map_err(|error| Failure::because("the store couldn't be closed", error))
    }
}

impl Service for Server {
    fn finish(&self, timeout: Duration) -> bool {
        self.runtime.drain(timeout)
    }

    fn is_alive(&self) -> bool {
        !self.runtime.has_lost_threads()
    }

    fn summary(&self) -> String {
        let generation = self.runtime.generation();
        format!("generation {} ({}), {}", generation.id, generation.hash, self.plan.summary())
    }
}

/// Why the old generation goes on.
#[derive(Debug)]
pub enum ReloadError {
    /// A migration failed.
    Migration(String),
    /// The app doesn't compile.
    Build(Problems),
    /// The cores didn't adopt it.
    Runtime(RuntimeError),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Migration(text) => f.write_str(text),
            Self::Build(problems) => f.write_str(&problems.text()),
            Self::Runtime(error) => error.fmt(f),
        }
    }
}

fn core_plan(lane: &forebay_tuning::Lane, logger: &Logger) -> CorePlan {
    let bind = |seat: forebay_tuning::Seat| -> Box<dyn FnOnce() + Send> {
        let logger = logger.clone();
        Box::new(move || {
            if let Err(error) = seat.take() {
                logger.warn("a thread runs where the kernel likes").show("why", error).send();
            }
        })
    };
    CorePlan { bind_front: bind(lane.reactor), bind_back: bind(lane.worker.unwrap_or(lane.reactor)) }
}

fn rewrites(config: &Config) -> Arc<[Rewrite]> {
    let line = |rewrite: &crate::config::Rewrite| Rewrite {
        from: rewrite.from.clone(),
        to: match &rewrite.to {
            RewriteTarget::Url(url) => RewriteTo::Url(url.clone()),
            RewriteTarget::Own(path) => RewriteTo::Own(path.clone()),
        },
    };
    config.rewrites.iter().map(line).collect()
}

pub(crate) fn environment(config: &Config) -> BTreeMap<String, String> {
    let known = |name: &String| std::env::var(name).ok().map(|value| (name.clone(), value));
    config.env_allow.iter().filter_map(known).collect()
}

/// The store's housekeeping, on a thread of its own: zeroing a segment blocks.
pub(crate) fn maintain(store: &Arc<Store>, logger: &Logger) -> Result<(), Failure> {
    let weak = Arc::downgrade(store);
    let logger = logger.clone();
    std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || {
            let mut failing = false;
            let mut waits = 0;
            while let Some(store) = weak.upgrade() {
                waits += 1;
                // Now and then without a reason: keys expire.
                if store.wait_for_maintenance(Duration::from_millis(200)) || waits % 50 == 0 {
                    match store.maintain(crate::log::now()) {
                        Ok(()) => failing = false,
                        Err(forebay_kv::Error::Unavailable(forebay_kv::Unavailable::Closed)) => return,
                        Err(forebay_kv::Error::Unavailable(forebay_kv::Unavailable::Poisoned)) => {
                            if let Some(reason) = store.take_stop_reason() {
                                let text = "the store has stopped: a read of its files failed";
                                logger.error(text).show("why", reason).send();
                            }
                            match store.heal() {
                                Ok(()) => {
                                    logger.warn("the store was opened again after the disk had failed").send()
                                }
                                Err(error) => {
                                    logger.error("the store stays read-only").show("why", error).send();
                                }
                            }
                            drop(store);
                            std::thread::sleep(Duration::from_secs(1));
                        }
                        Err(error) => {
                            if !failing {
                                logger.error("the store's maintenance failed").show("why", error).send();
                            }
                            failing = true;
                            drop(store);
                            std::thread::sleep(Duration::from_secs(1));
                        }
                    }
                }
            }
        })
        .map(|_| ())
        .map_err(|e| Failure::because("can't start a thread", e))
}

impl Control for Server {
    fn kv(&self, command: &Value) -> Result<Value, ControlError> {
        crate::admin::store::run(&self.store, command)
    }

    fn task(&self, command: &Value) -> Result<Value, ControlError> {
        crate::admin::task::run(&self.store, &self.runtime, command)
    }

    fn eval(&self, command: &Value) -> Result<Value, ControlError> {
        crate::admin::eval::run(&self.store, &self.logger, command)
    }

    fn status(&self) -> Value {
        let generation = self.runtime.generation();
        let store = self.store.stats();
        let cores: Vec<Value> = self.runtime.metrics().iter().map(|metrics| core_status(metrics)).collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "app": self.app,
            "mode": if self.mode == Mode::Dev { "dev" } else { "serve" },
            "generation": { "id": generation.id, "hash": generation.hash, "routes": generation.declared().count() },
            "uptime_seconds": self.started.elapsed().as_secs_f64(),
            "listen": self.runtime.addresses().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "kernel": self.runtime.features().to_string(),
            "placement": self.plan.summary(),
            "store": {
                "keys": store.keys, "live_bytes": store.live_bytes, "log_bytes": store.log_bytes,
                "segments": store.segments,
                "unavailable": self.store.unavailable().map(|why| why.to_string()),
            },
            "log_lines_dropped": self.logger.dropped(),
            "cores": cores,
        })
    }

    fn routes(&self) -> Value {
        let generation = self.runtime.generation();
        let route = |entry: &forebay_worker::generation::Entry| {
            json!({
                "method": entry.method, "path": entry.pattern, "blueprint": entry.file,
                "work": entry.work, "version": entry.version,
            })
        };
        json!({ "routes": generation.declared().map(route).collect::<Vec<_>>() })
    }

    fn metrics(&self) -> String {
        prometheus(self)
    }

    fn topology(&self) -> Value {
        json!({ "topology": self.topology.describe(), "plan": self.plan.describe() })
    }

    fn deploy(&self) -> Result<Value, ControlError> {
        match self.reload() {
            Ok(generation) => Ok(
                json!({ "generation": generation.hash, "id": generation.id, "routes": generation.declared().count() }),
            ),
            Err(ReloadError::Build(problems)) => {
                Err(ControlError { status: 422, code: "deploy/compile", detail: problems.text() })
            }
            Err(ReloadError::Migration(detail)) => {
                Err(ControlError { status: 422, code: "deploy/migration", detail })
            }
            Err(ReloadError::Runtime(error)) => {
                Err(ControlError { status: 503, code: "deploy/cores", detail: error.to_string() })
            }
        }
    }

    fn drain(&self) -> Result<Value, ControlError> {
        self.runtime.drain(Duration::ZERO);
        Ok(json!({ "draining": true }))
    }
}

fn core_status(metrics: &CoreMetrics) -> Value {
    let requests: u64 = metrics.answers.iter().map(forebay_worker::metrics::Cell::get).sum();
    json!({
        "requests": requests,
        "connections": metrics.connections.get(),
        "tasks": metrics.tasks.get(),
        "queue": metrics.queue_depth.get(),
        "p50_us": metrics.latency.quantile(0.5),
        "p99_us": metrics.latency.quantile(0.99),
        "database_ready": metrics.database_ready.get(),
        "generations": metrics.generations.get(),
    })
}

/// Bounds of the histograms' buckets, seconds.
const BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

type Read = fn(&CoreMetrics) -> u64;

fn prometheus(server: &Server) -> String {
    let cores: Vec<(String, &Arc<CoreMetrics>)> = server
        .runtime
        .metrics()
        .iter()
        .enumerate()
        .map(|(core, metrics)| (core.to_string(), metrics))
        .collect();
    let mut out = crate::metrics::Metrics::default();
    {
        let mut family = out.counter("forebay_requests_total", "Requests answered, by class of status.");
        for (core, metrics) in &cores {
            for (class, cell) in metrics.answers.iter().enumerate().skip(2) {
                family.count(&[("core", core), ("class", &format!("{class}xx"))], cell.get());
            }
        }
    }
    let counters: [(&'static str, &str, Read); 9] = [
        ("forebay_refused_total", "Requests refused before a script saw them.", |m| m.refused.get()),
        ("forebay_shed_total", "Requests answered 503 because a queue was full.", |m| m.shed.get()),
        ("forebay_slices_total", "Slices that ended before their task.", |m| m.slices.get()),
        ("forebay_traps_total", "Tasks ended by a limit.", |m| m.traps.get()),
        ("forebay_exceptions_total", "Tasks ended by an exception.", |m| m.exceptions.get()),
        ("forebay_received_bytes_total", "Bytes received.", |m| m.received_bytes.get()),
        ("forebay_sent_bytes_total", "Bytes sent.", |m| m.sent_bytes.get()),
        ("forebay_turns_total", "Turns of the core's loop.", |m| m.turns.get()),
        ("forebay_enters_total", "System calls of the core's loop.", |m| m.enters.get()),
    ];
    for (name, help, read) in counters {
        let mut family = out.counter(name, help);
        for (core, metrics) in &cores {
            family.count(&[("core", core)], read(metrics));
        }
    }
    {
        let mut family = out.counter("forebay_effects_total", "Effects begun, by kind.");
        for (core, metrics) in &cores {
            for (kind, cell) in ["kv", "sql", "http", "sleep"].into_iter().zip(&metrics.effects) {
                family.count(&[("core", core), ("kind", kind)], cell.get());
            }
        }
    }
    let gauges: [(&'static str, &str, Read); 8] = [
        ("forebay_connections", "Open client connections.", |m| m.connections.get()),
        ("forebay_queue_depth", "Requests between socket and worker.", |m| m.queue_depth.get()),
        ("forebay_tasks", "Tasks alive.", |m| m.tasks.get()),
        ("forebay_arena_max_bytes", "Largest arena of a finished task.", |m| m.arena_bytes_max.get()),
        ("forebay_database_ready", "Database connections that take statements.", |m| m.database_ready.get()),
        ("forebay_database_in_flight", "Statements in flight.", |m| m.database_in_flight.get()),
        ("forebay_database_queued", "Statements waiting for a connection.", |m| m.database_queued.get()),
        ("forebay_generations", "Generations alive.", |m| m.generations.get()),
    ];
    for (name, help, read) in gauges {
        let mut family = out.gauge(name, help);
        for (core, metrics) in &cores {
            family.count(&[("core", core)], read(metrics));
        }
    }
    type Pick = fn(&CoreMetrics) -> &Histogram;
    let histograms: [(&'static str, &str, Pick); 3] = [
        ("forebay_request_duration_seconds", "From the head's arrival to the answer.", |m| &m.latency),
        ("forebay_kv_sync_seconds", "Synced writes of the store.", |m| &m.kv_sync),
        ("forebay_sql_seconds", "Statements, waiting included.", |m| &m.sql),
    ];
    for (name, help, pick) in histograms {
        let mut family = out.histogram(name, help);
        for (core, metrics) in &cores {
            let histogram = pick(metrics);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
            let buckets: Vec<(f64, u64)> =
                BUCKETS.iter().map(|bound| (*bound, histogram.at_most((bound * 1e6) as u64))).collect();
            let (sum, count) = (histogram.sum_seconds(), histogram.count());
            let count = buckets.last().map_or(count, |(_, last)| count.max(*last));
            family.observe(&[("core", core)], &crate::metrics::Histogram { buckets: &buckets, sum, count });
        }
    }
    let store = server.store.stats();
    out.gauge("forebay_kv_keys", "Keys in the store.").count(&[], store.keys as u64);
    out.gauge("forebay_kv_log_bytes", "Bytes of the log.").count(&[], store.log_bytes);
    out.gauge("forebay_kv_live_bytes", "Bytes of live records.").count(&[], store.live_bytes);
    out.counter("forebay_log_lines_dropped_total", "Log lines that found no room.")
        .count(&[], server.logger.dropped());
    out.finish()
}
