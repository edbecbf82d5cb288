//! `forebay test`: the app's tests in the machine that serves it.
//!
//! ```text
//!   x.test.js + library.js --compile--> one blueprint with one hidden route --+
//!   the app's blueprints ----------------------------------------------------+--> a generation on a runtime of
//!                                                                                 its own: one core, loopback
//!   POST /.forebay/test/3 {list}         the file's tests, by name
//!   POST /.forebay/test/3 {index}        runs one: a task of its own, in which the file runs first
//!   http(), from a test                  `world`: mocks, the clock, or a request through the app's routes
//! ```
//!
//! Between tests the [`TestWorld`] is turned: another keyspace, no mocks, a running clock, no transaction. A test
//! that fails throws; the answer's detail is its code frame.

mod coverage;
mod files;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use forebay_base::limits::{HttpLimits, WorkerLimits};
use forebay_compiler::Options;
use forebay_kv::Store;
use forebay_postgres as pg;
use forebay_ring::Endpoint;
use forebay_worker::testing::TestWorld;
use forebay_worker::{BackConfig, CorePlan, Generation, Placement, Runtime, RuntimeConfig, StoreWakers};
use serde_json::{Value, json};

use crate::app::{self, Problems};
use crate::config::{Config, DatabaseSource};
use crate::devpg::DevPg;
use crate::log::Logger;
use crate::{Failure, server};

pub use coverage::{Coverage, FileCoverage};

/// Longest answer that is read from a test.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// The hidden routes: this and the file's number.
const ROUTE: &str = "/.forebay/test/";

/// How tests are run.
#[derive(Clone, Debug, Default)]
pub struct TestOptions {
    /// Only tests whose file or name contains this.
    pub filter: Option<String>,
    /// Count which lines of the blueprints run.
    pub coverage: bool,
}

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Well.
    Passed,
    /// The code frame of what it threw, and the log lines of its run.
    Failed(String, Vec<String>),
    /// By `.skip`, or because others are `.only`.
    Skipped,
    /// `test.todo`.
    Todo,
}

/// One test.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its file, in the app.
    pub file: String,
    /// Its name, behind those of its `describe`s.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// How long it took.
    pub time: Duration,
}

/// Everything that was run.
#[derive(Debug, Default)]
pub struct Report {
    /// In order.
    pub tests: Vec<Ran>,
    /// If it was asked for.
    pub coverage: Option<Coverage>,
}

impl Report {
    /// How many passed, failed, were skipped or are to do.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize, usize) {
        let count = |is: fn(&Verdict) -> bool| self.tests.iter().filter(|t| is(&t.verdict)).count();
        (
            count(|v| *v == Verdict::Passed),
            count(|v| matches!(v, Verdict::Failed(..))),
            count(|v| *v == Verdict::Skipped),
            count(|v| *v == Verdict::Todo),
        )
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (passed, failed, skipped, todo) = self.counts();
        let tests: Vec<Value> = self.tests.iter().map(Ran::to_json).collect();
        let mut value = json!({
            "ok": failed == 0, "passed": passed, "failed": failed, "skipped": skipped, "todo": todo, "tests": tests,
        });
        if let Some(coverage) = &self.coverage {
            value["coverage"] = coverage.to_json();
        }
        value
    }
}

impl Ran {
    fn to_json(&self) -> Value {
        let ms = (self.time.as_secs_f64() * 1e5).round() / 100.0;
        let mut value = json!({ "file": self.file, "name": self.name, "ms": ms });
        value["outcome"] = match &self.verdict {
            Verdict::Passed => "passed",
            Verdict::Failed(..) => "failed",
            Verdict::Skipped => "skipped",
            Verdict::Todo => "todo",
        }
        .into();
        if let Verdict::Failed(error, log) = &self.verdict {
            value["error"] = error.as_str().into();
            value["log"] = log.clone().into();
        }
        value
    }
}

/// Log lines of the test that runs.
#[derive(Debug, Default)]
struct Lines(Mutex<Vec<String>>);

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl forebay_worker::Log for Lines {
    fn line(&self, level: forebay_worker::Level, message: &str, fields: &[(&str, &dyn fmt::Display)]) {
        // A request that fails is told by its answer; a test that fails, by its frame.
        if message == "request failed" {
            return;
        }
        let level = match level {
            forebay_worker::Level::Info => "info",
            forebay_worker::Level::Warn => "warn",
            forebay_worker::Level::Error => "error",
        };
        let mut line = format!("{level}: {message}");
        for (name, value) in fields.iter().filter(|(name, _)| *name != "work") {
            line.push_str(&format!(" {name}={value}"));
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// Runs an app's tests; `each` hears of every one as it ends.
///
/// # Errors
/// The app or a test file doesn't build, or the machine can't be started.
pub fn run(
    app: &Path,
    config: &Config,
    options: &TestOptions,
    each: &mut dyn FnMut(&Ran),
) -> Result<Report, Failure> {
    let found = files::find(app);
    if found.is_empty() {
        return Err(Failure::Failed(format!(
            "there are no tests: {} has no *.test.js or *.test.ts below blueprints/, lib/ or tests/",
            app.display()
        )));
    }
    let failed = |problems: Problems| Failure::Failed(problems.text());
    let compile = Options { coverage: options.coverage, ..Options::default() };
    let parts = app::parts(app, compile).map_err(failed)?;
    let mut coverage = options.coverage.then(|| Coverage::of(parts.blueprints.iter().map(|b| b.module())));
    let mut blueprints = parts.blueprints;
    let mut problems = Problems::default();
    for (number, file) in found.iter().enumerate() {
        match files::load(app, file, &format!("{ROUTE}{number}")) {
            Ok(blueprint) => blueprints.push(blueprint),
            Err(error) => error.add_to(&mut problems),
        }
    }
    if !problems.frames.is_empty() {
        return Err(failed(problems));
    }
    let generation =
        Generation::build(1, String::new(), app, blueprints, &config.task).map_err(|errors| {
            Failure::Failed(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })?;
    let mut machine = Machine::start(app, config, generation)?;
    let mut report = Report::default();
    for (number, file) in found.iter().enumerate() {
        machine.run_file(file, number, options, &mut report, each);
    }
    if let Some(coverage) = &mut coverage {
        coverage.count(&machine.world.take_covered());
    }
    machine.stop();
    report.coverage = coverage;
    Ok(report)
}

/// The data path of the tests.
struct Machine {
    runtime: Runtime,
    store: Arc<Store>,
    world: Arc<TestWorld>,
    mocks: Arc<world::Mocks>,
    lines: Arc<Lines>,
    address: SocketAddr,
    has_database: bool,
    private: Option<DevPg>,
    _folder: tempfile::TempDir,
}

impl Machine {
    fn start(app: &Path, config: &Config, generation: Generation) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(|error| Failure::because("a temporary folder", error))?;
        let lines = Arc::new(Lines::default());
        let (database, private) = database(app, config)?;
        let has_database = database.is_some();
        let wakers = Arc::new(StoreWakers::default());
        let mut data = forebay_kv::Config::new(folder.path().join("data"), 1);
        data.quota = config.quota;
        data.segment_bytes = 1024 * 1024;
        let store = Store::open(data, Arc::clone(&wakers) as Arc<dyn forebay_kv::Wake>)
            .map_err(|error| Failure::because("the tests' store", error))?;
        let logger =
            Logger::to_stderr(true).map_err(|error| Failure::because("can't start the log", error))?;
        server::maintain(&store, &logger)?;
        let own = Arc::new(OnceLock::new());
        let mocks = Arc::new(world::Mocks::new(&config.rewrites, Arc::clone(&own)));
        let answering = Arc::clone(&mocks);
        let outbound = move |world: &TestWorld, method: &str, url: &str, body: &forebay_base::Value| {
            answering.answer(world, method, url, body)
        };
        let world = Arc::new(TestWorld::new(Box::new(outbound)));
        let runtime = Runtime::start(
            RuntimeConfig {
                listen: vec![Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))],
                cores: vec![CorePlan { bind_front: Box::new(|| {}), bind_back: Box::new(|| {}) }],
                placement: Placement::Inline,
                http: HttpLimits { connections: 256, ..config.http.clone() },
                worker: WorkerLimits { tasks: 256, ..config.worker.clone() },
                ring: forebay_ring::Config { connections: 512, ..forebay_ring::Config::default() },
                force_epoll: std::env::var_os("FOREBAY_EPOLL").is_some(),
                back: BackConfig {
                    store: Some(Arc::clone(&store)),
                    wakers: Some(wakers),
                    database,
                    cores: 1,
                    database_limits: config.database.as_ref().map(|d| d.limits.clone()).unwrap_or_default(),
                    more_databases: server::more_databases(config)?.into(),
                    rewrites: Arc::from([]),
                    allow_private: false,
                    own_address: own,
                    env: Arc::new(server::environment(config)),
                    log: Arc::clone(&lines) as Arc<dyn forebay_worker::Log>,
                    dev: true,
                    explain: Some(Arc::new(files::explain)),
                    test: Some(Arc::clone(&world)),
                },
            },
            Arc::new(generation),
        )
        .map_err(|error| Failure::Failed(error.to_string()))?;
        let address = runtime.tcp().ok_or_else(|| Failure::Failed("no address to test on".to_owned()))?;
        Ok(Self { runtime, store, world, mocks, lines, address, has_database, private, _folder: folder })
    }

    fn stop(self) {
        self.runtime.stop();
        // A store that is thrown away needs no clean end.
        let _ = self.store.close();
        if let Some(private) = self.private {
            private.stop();
        }
    }

    fn run_file(
        &mut self,
        file: &str,
        number: usize,
        options: &TestOptions,
        report: &mut Report,
        each: &mut dyn FnMut(&Ran),
    ) {
        let mut add = |ran: Ran| {
            each(&ran);
            report.tests.push(ran);
        };
        let start = now();
        let list = match self.ask(number, &json!({ "list": true })) {
            Ok(list) => list,
            Err(why) => {
                let verdict = Verdict::Failed(why, self.lines.take());
                return add(Ran {
                    file: file.to_owned(),
                    name: "the file itself".to_owned(),
                    verdict,
                    time: start.elapsed(),
                });
            }
        };
        for (index, item) in list.as_array().into_iter().flatten().enumerate() {
            let name = item["name"].as_str().unwrap_or_default().to_owned();
            let filter = options.filter.as_deref().unwrap_or_default();
            if !name.contains(filter) && !file.contains(filter) {
                continue;
            }
            let start = now();
            let verdict = match item["outcome"].as_str() {
                Some("skipped") => Verdict::Skipped,
                Some("todo") => Verdict::Todo,
                _ => self.run_one(number, index),
            };
            add(Ran { file: file.to_owned(), name, verdict, time: start.elapsed() });
        }
    }

    fn run_one(&mut self, number: usize, index: usize) -> Verdict {
        self.world.next();
        self.mocks.forget();
        self.lines.take();
        match self.ask(number, &json!({ "index": index, "database": self.has_database })) {
            Ok(_) => Verdict::Passed,
            Err(why) => Verdict::Failed(why, self.lines.take()),
        }
    }

    /// What a test file answers; else what went wrong.
    fn ask(&self, number: usize, body: &Value) -> Result<Value, String> {
        let (status, answer) = post(self.address, &format!("{ROUTE}{number}"), &body.to_string())
            .map_err(|error| format!("the test gave no answer: {error}"))?;
        let value: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if status == 200 {
            return Ok(value);
        }
        let detail = value["detail"].as_str().unwrap_or_default();
        if detail.is_empty() {
            return Err(format!("status {status}: {}", String::from_utf8_lossy(&answer)));
        }
        Err(detail.to_owned())
    }
}

/// The tests' database. A private one is a cluster of the tests' own, so that `dev` may run beside it; another is
/// the one of the configuration, which isn't migrated.
fn database(app: &Path, config: &Config) -> Result<(Option<pg::Config>, Option<DevPg>), Failure> {
    let Some(database) = &config.database else { return Ok((None, None)) };
    let env = |name: &str| std::env::var(name).ok();
    let parse = |url: &str| pg::Config::parse(url, &env).map_err(|error| Failure::Failed(error.to_string()));
    if database.source != DatabaseSource::Private {
        let url = database.source.url(env).map_err(Failure::Failed)?;
        return Ok((url.map(|url| parse(&url)).transpose()?, None));
    }
    let folder = app.join(".forebay/test");
    std::fs::create_dir_all(&folder).map_err(|error| Failure::because(folder.display(), error))?;
    let private = DevPg::start(&folder).map_err(|error| Failure::Failed(error.to_string()))?;
    let parsed = parse(&private.url())?;
    let migrations = app.join("migrations");
    if migrations.is_dir() {
        let mut client = pg::blocking::Client::connect(&parsed)
            .map_err(|error| Failure::because("can't reach the tests' database", error))?;
        pg::migrate::migrate(&mut client, &migrations, &pg::migrate::Options::default(), &mut |_| {})
            .map_err(|error| Failure::Failed(error.to_string()))?;
    }
    Ok((Some(parsed), Some(private)))
}

/// One request on a connection of its own, which ends with the answer.
fn post(address: SocketAddr, path: &str, body: &str) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: forebay\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let wrong = || std::io::Error::new(std::io::ErrorKind::InvalidData, "not an HTTP answer");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(wrong)?;
    let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(wrong)?;
    let status = status.parse().map_err(|_| wrong())?;
    Ok((status, answer.split_off(end + 4)))
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "how long a test took")]
    Instant::now()
}

/// Lines of a text by offset: for each, its number from 1.
fn line_of(text: &str, offset: u32) -> u32 {
    let end = (offset as usize).min(text.len());
    let line = text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(line).unwrap_or(u32::MAX).saturating_add(1)
}

/// Offsets of a file, by line: the most that any of them was counted.
type ByLine = BTreeMap<u32, u64>;
