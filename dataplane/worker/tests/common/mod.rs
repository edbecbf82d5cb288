//! What the tests over real sockets share: the ways a runtime can be put together, a
//! generation made by hand, and a client that reads one answer at a time.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    reason = "each test binary uses its part; tests have clocks"
)]

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use forebay_base::limits::{DatabaseLimits, HttpLimits, TaskLimits, WorkerLimits};
use forebay_http::Method;
use forebay_http::routes::RouteTable;
use forebay_worker::assets::Assets;
use forebay_worker::generation::{Entry, Target};
use forebay_worker::{
    BackConfig, CorePlan, Generation, Level, Log, Placement, Runtime, RuntimeConfig, StoreWakers,
};

/// How long anything here may take before it counts as hung.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One way to put a runtime together.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    pub epoll: bool,
    pub placement: Placement,
    pub cores: usize,
}

/// All of them.
pub fn variants() -> impl Iterator<Item = Variant> {
    [(false, 1), (true, 1), (false, 2)].into_iter().flat_map(|(epoll, cores)| {
        [Placement::Inline, Placement::Split].map(|placement| Variant { epoll, placement, cores })
    })
}

/// Log lines of a runtime, kept.
#[derive(Debug, Default)]
pub struct Lines(pub Mutex<Vec<String>>);

impl Log for Lines {
    fn line(&self, level: Level, message: &str, fields: &[(&str, &dyn Display)]) {
        let fields: String = fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        self.0.lock().unwrap().push(format!("{level:?} {message}{fields}"));
    }
}

/// What a test sets; the rest has defaults.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub http: HttpLimits,
    pub worker: WorkerLimits,
    pub ring: forebay_ring::Config,
    pub lines: Arc<Lines>,
    pub store: Option<(Arc<forebay_kv::Store>, Arc<StoreWakers>)>,
    pub rewrites: Vec<forebay_worker::Rewrite>,
    pub allow_private: bool,
}

impl Setup {
    pub fn start(&self, variant: Variant, generation: Arc<Generation>) -> Runtime {
        self.start_with(variant, generation, || Box::new(|| ()))
    }

    /// `bind` runs first on every thread.
    pub fn start_with(
        &self,
        variant: Variant,
        generation: Arc<Generation>,
        bind: impl Fn() -> forebay_worker::runtime::Bind,
    ) -> Runtime {
        let back = BackConfig {
            store: self.store.as_ref().map(|(store, _)| Arc::clone(store)),
            wakers: self.store.as_ref().map(|(_, wakers)| Arc::clone(wakers)),
            database: None,
            cores: variant.cores,
            database_limits: DatabaseLimits::default(),
            more_databases: Arc::from([]),
            rewrites: self.rewrites.clone().into(),
            allow_private: self.allow_private,
            own_address: Arc::new(OnceLock::new()),
            env: Arc::new(BTreeMap::new()),
            log: Arc::clone(&self.lines) as Arc<dyn Log>,
            dev: false,
            explain: None,
            test: None,
        };
        let plan = || CorePlan { bind_front: bind(), bind_back: bind() };
        let config = RuntimeConfig {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            cores: (0..variant.cores).map(|_| plan()).collect(),
            placement: variant.placement,
            http: self.http.clone(),
            worker: self.worker.clone(),
            ring: forebay_ring::Config { connections: 256, ..self.ring.clone() },
            force_epoll: variant.epoll,
            back,
        };
        Runtime::start(config, generation).unwrap()
    }
}

/// A generation of files and redirects, without a script.
pub struct Hand {
    routes: forebay_http::routes::RouteTableBuilder<u32>,
    entries: Vec<Entry>,
}

impl Hand {
    pub fn new() -> Self {
        Self { routes: RouteTable::builder(), entries: Vec::new() }
    }

    pub fn route(mut self, method: Method, pattern: &str, target: Target) -> Self {
        self.routes.add(method, pattern, u32::try_from(self.entries.len()).unwrap()).unwrap();
        self.entries.push(Entry {
            work: "hand".into(),
            version: None,
            method: method.as_str().into(),
            pattern: pattern.into(),
            file: "hand.js".into(),
            target,
            limits: TaskLimits::default(),
            durable: None,
            blind: false,
        });
        self
    }

    pub fn build(self, id: u64) -> Arc<Generation> {
        let (routes, entries) = (self.routes.build(), self.entries);
        Arc::new(Generation {
            id,
            hash: format!("hand-{id}"),
            routes,
            entries,
            listens: Vec::new(),
            blueprints: Vec::new(),
            limits: TaskLimits::default(),
        })
    }
}

pub const HELLO: &str = "Hello, World!";
pub const BIG_BYTES: usize = 8 << 20;

/// The byte at a place of the big file.
pub fn big_byte(index: usize) -> u8 {
    (index.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]
}

/// Files below `root`, and a generation that serves them.
pub fn files(root: &Path, id: u64) -> Arc<Generation> {
    let public = root.join("public");
    std::fs::create_dir_all(&public).unwrap();
    std::fs::write(public.join("hello.txt"), HELLO).unwrap();
    for index in 0..16 {
        std::fs::write(public.join(format!("{index}.txt")), format!("number {index}")).unwrap();
    }
    if !public.join("big.bin").exists() {
        std::fs::write(public.join("big.bin"), (0..BIG_BYTES).map(big_byte).collect::<Vec<_>>()).unwrap();
    }
    let folder = Assets::folder(root, "public", Some(60)).unwrap();
    let file = Assets::file(root, "public/hello.txt", None).unwrap();
    Hand::new()
        .route(Method::Get, "/f/{*path}", Target::Assets(folder))
        .route(Method::Get, "/hello", Target::Assets(file))
        .route(Method::Get, "/moved", Target::Redirect { to: "/hello".into(), status: 308 })
        .build(id)
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A client that checks framing.
pub struct Client {
    pub stream: TcpStream,
    bytes: Vec<u8>,
}

impl Client {
    pub fn new(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, bytes: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.send(get(path)).answer()
    }

    pub fn post(&mut self, path: &str, body: &str) -> Answer {
        self.send(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
            .answer()
    }

    /// The next answer; a body unless it was asked for with HEAD.
    pub fn answer(&mut self) -> Answer {
        self.read(false).expect("an answer, not the end")
    }

    pub fn answer_to_head(&mut self) -> Answer {
        self.read(true).expect("an answer, not the end")
    }

    /// The next answer, or None at the end of the stream.
    pub fn read(&mut self, head_only: bool) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.more() {
                assert!(self.bytes.is_empty(), "cut short: {:?}", String::from_utf8_lossy(&self.bytes));
                return None;
            }
        };
        let head = String::from_utf8(self.bytes[..end].to_vec()).unwrap();
        let mut answer = Answer { status: head[9..12].parse().unwrap(), head, body: Vec::new() };
        assert!(answer.head.starts_with("HTTP/1.1 "), "{}", answer.head);
        let none = head_only || matches!(answer.status, 100 | 204 | 304);
        let len = if none { 0 } else { answer.header("content-length").unwrap().parse().unwrap() };
        while self.bytes.len() < end + len {
            assert!(self.more(), "body cut short: {} of {len}", self.bytes.len() - end);
        }
        answer.body = self.bytes[end..end + len].to_vec();
        self.bytes.drain(..end + len);
        Some(answer)
    }

    /// Nothing more comes: an orderly end.
    pub fn end(&mut self) {
        assert_eq!(self.read(false), None);
    }

    fn more(&mut self) -> bool {
        let mut chunk = [0; 64 * 1024];
        let count = self.stream.read(&mut chunk).expect("no reset, no timeout");
        self.bytes.extend_from_slice(&chunk[..count]);
        count > 0
    }
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// Asks again until it is so.
pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The sum of a count over all cores.
pub fn total(
    runtime: &Runtime,
    of: impl Fn(&forebay_worker::metrics::CoreMetrics) -> &forebay_worker::metrics::Cell,
) -> u64 {
    runtime.metrics().iter().map(|metrics| of(metrics).get()).sum()
}

struct Source(String);

impl forebay_compiler::Loader for Source {
    fn load(&self, path: &str) -> Option<Box<str>> {
        (path == "test.js").then(|| self.0.as_str().into())
    }
}

/// A generation of one script.
pub fn script(id: u64, source: &str, limits: &TaskLimits) -> Arc<Generation> {
    let (module, _) = forebay_compiler::compile(&Source(source.into()), "test.js")
        .unwrap_or_else(|errors| panic!("{source}\n{errors:?}"));
    let module = forebay_bytecode::verify(module).unwrap();
    let blueprint = forebay_engine::Blueprint::load(&module).unwrap_or_else(|e| panic!("{source}\n{e:?}"));
    let built = Generation::build(id, format!("script-{id}"), Path::new("/"), vec![blueprint], limits);
    Arc::new(built.unwrap())
}

/// A store in a folder, for so many cores.
pub fn store(folder: &Path, cores: usize) -> (Arc<forebay_kv::Store>, Arc<StoreWakers>) {
    let wakers = Arc::new(StoreWakers::default());
    let mut config = forebay_kv::Config::new(folder, u16::try_from(cores).unwrap());
    config.segment_bytes = 1 << 20;
    let store = forebay_kv::Store::open(config, Arc::clone(&wakers) as Arc<dyn forebay_kv::Wake>).unwrap();
    (store, wakers)
}

/// Runs a story on a script, in every variant, with a store.
pub fn check_script(setup: &Setup, limits: &TaskLimits, source: &str, story: impl Fn(&Runtime, Variant)) {
    let generation = script(1, source, limits);
    for variant in variants() {
        let folder = tempfile::tempdir().unwrap();
        let (kv, wakers) = store(&folder.path().join("data"), variant.cores);
        let setup = Setup { store: Some((Arc::clone(&kv), wakers)), lines: Arc::default(), ..setup.clone() };
        let runtime = setup.start(variant, Arc::clone(&generation));
        eprintln!("{variant:?}");
        story(&runtime, variant);
        eventually("all connections closed", || total(&runtime, |m| &m.connections) == 0);
        eventually("all tasks ended", || total(&runtime, |m| &m.tasks) == 0);
        runtime.stop();
        assert_eq!(total(&runtime, |m| &m.strays), 0);
        kv.close().unwrap();
    }
}
