//! `forebay run FILE`: compile and run one script, on a data path of its own: one core, a
//! unix socket in a temporary folder, one request. So it does exactly what `serve` would.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use forebay_base::limits::{DatabaseLimits, HttpLimits, TaskLimits, WorkerLimits};
use forebay_base::{Monotonic, TenantId};
use forebay_bytecode::Action;
use forebay_bytecode::format::MAGIC;
use forebay_engine::{Blueprint, Entry, NoHost, RequestInput, Run, Vm, VmConfig};
use forebay_kv::Store;
use forebay_ring::Endpoint;
use forebay_worker::{BackConfig, CorePlan, Generation, Placement, Runtime, RuntimeConfig, StoreWakers};
use serde_json::json;

use crate::app::{self, Folder, LoadFailure};
use crate::log::Logger;
use crate::server::{WorkerLog, maintain};
use crate::{Failure, Outcome};

/// Arguments of `forebay run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Script, with or without a work() chain, or a file that `forebay build` wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What payload() returns [default: {}]
    #[arg(long, value_name = "JSON")]
    pub payload: Option<String>,
    /// Data folder for kv [default: a temporary one, gone afterwards]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Call the script again and again for so many seconds; print one JSON line
    #[arg(long, value_name = "SECONDS", value_parser = crate::cli::parse_seconds)]
    pub bench: Option<Duration>,
}

/// Runs the script; its response body goes to stdout.
///
/// # Errors
/// A code frame, if it doesn't compile or fails.
pub fn run(args: &RunArgs) -> Outcome {
    let blueprint = load(&args.file)?;
    let payload = args.payload.clone().unwrap_or_else(|| "{}".to_owned());
    let action = entry(&blueprint).ok_or_else(|| {
        Failure::Failed(format!(
            "{}: nothing to run: no body, and no work with a handler",
            args.file.display()
        ))
    })?;
    if let Some(time) = args.bench {
        return bench(&blueprint, &action, payload.as_bytes(), time);
    }
    once(&blueprint, action, payload.as_bytes(), args.data.as_deref())
}

/// Compiles one file; what it imports is looked for beside it, or in the app that it lies in.
///
/// # Errors
/// Code frames.
pub fn load(file: &Path) -> Result<Arc<Blueprint>, Failure> {
    let real = std::fs::canonicalize(file).map_err(|error| Failure::because(file.display(), error))?;
    if let Some(bytes) = bytecode(&real).map_err(|error| Failure::because(file.display(), error))? {
        return built(file, &bytes);
    }
    let root = real
        .ancestors()
        .skip(1)
        .find(|folder| folder.join("blueprints").is_dir() && real.starts_with(folder.join("blueprints")))
        .or_else(|| real.parent())
        .unwrap_or(Path::new("/"));
    let name = real.strip_prefix(root).ok().and_then(Path::to_str);
    let name = name.ok_or_else(|| Failure::Failed(format!("{}: the path must be UTF-8", file.display())))?;
    match app::load_file(&Folder::new(root), name) {
        Ok((blueprint, warnings)) => {
            for warning in warnings {
                eprintln!("{}", warning.render());
            }
            Ok(blueprint)
        }
        Err(LoadFailure::Build(diagnostics)) => {
            let frames: Vec<String> = diagnostics.iter().map(forebay_compiler::Diagnostic::render).collect();
            let more = crate::codes::more(diagnostics.iter().map(|diagnostic| diagnostic.code));
            Err(Failure::Failed(frames.join("\n") + &more))
        }
        Err(LoadFailure::Init(module, report)) => Err(Failure::Failed(app::explain(&module, &report))),
        Err(LoadFailure::Bug(text)) => Err(Failure::Failed(text)),
    }
}

/// The bytes of a file that `forebay build` wrote; `None` if it is another one.
fn bytecode(file: &Path) -> std::io::Result<Option<Vec<u8>>> {
    if !std::fs::metadata(file)?.is_file() {
        return Ok(None);
    }
    let mut head = [0; MAGIC.len()];
    let mut open = std::fs::File::open(file)?;
    match open.read_exact(&mut head) {
        Ok(()) if head == MAGIC => std::fs::read(file).map(Some),
        Ok(()) => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Bytecode is verified, whoever made it, before anything of it runs.
fn built(file: &Path, bytes: &[u8]) -> Result<Arc<Blueprint>, Failure> {
    let shown = |error: &dyn std::fmt::Display| Failure::because(file.display(), error);
    let module = forebay_bytecode::decode(bytes).map_err(|error| shown(&error))?;
    let kept = module.clone();
    let verified = forebay_bytecode::verify(module).map_err(|error| shown(&error))?;
    match Blueprint::load(&verified) {
        Ok(blueprint) => Ok(blueprint),
        Err(forebay_engine::LoadError::Init(report)) => Err(Failure::Failed(app::explain(&kept, &report))),
        Err(forebay_engine::LoadError::NoMemory) => Err(shown(&"the kernel gave no memory")),
    }
}

/// The body of a script-style file, else the first handler.
fn entry(blueprint: &Blueprint) -> Option<Action> {
    let module = blueprint.module();
    if let Some(main) = module.main {
        return Some(Action::Function(main));
    }
    let mut actions = module.works.iter().flat_map(|work| &work.routes).map(|route| &route.action);
    actions.find(|action| matches!(action, Action::Function(_) | Action::Handler(_))).cloned()
}

fn once(blueprint: &Arc<Blueprint>, action: Action, payload: &[u8], data: Option<&Path>) -> Outcome {
    let folder = tempfile::tempdir().map_err(|error| Failure::because("a temporary folder", error))?;
    let logger = Logger::to_stderr(true).map_err(|error| Failure::because("can't start the log", error))?;
    let wakers = Arc::new(StoreWakers::default());
    let data = data.map_or_else(|| folder.path().join("data"), Path::to_path_buf);
    let mut config = forebay_kv::Config::new(&data, 1);
    if !data.exists() {
        // A store that lives for one request needs no large segments.
        config.segment_bytes = 1024 * 1024;
    }
    let store = Store::open(config, Arc::clone(&wakers) as Arc<dyn forebay_kv::Wake>)
        .map_err(|error| Failure::because(format_args!("data folder {}", data.display()), error))?;
    maintain(&store, &logger)?;
    let socket = folder.path().join("http.sock");
    let runtime = Runtime::start(
        RuntimeConfig {
            listen: vec![Endpoint::Unix(socket.clone())],
            cores: vec![CorePlan { bind_front: Box::new(|| {}), bind_back: Box::new(|| {}) }],
            placement: Placement::Inline,
            http: HttpLimits {
                body_bytes: 64 << 20,
                body_timeout: Duration::from_secs(60),
                ..HttpLimits::default()
            },
            worker: WorkerLimits { tasks: 16, ..WorkerLimits::default() },
            ring: forebay_ring::Config { connections: 64, ..forebay_ring::Config::default() },
            force_epoll: false,
            back: BackConfig {
                store: Some(Arc::clone(&store)),
                wakers: Some(wakers),
                database: None,
                cores: 1,
                database_limits: DatabaseLimits::default(),
                more_databases: Arc::from([]),
                rewrites: Arc::from([]),
                allow_private: true,
                own_address: Arc::new(OnceLock::new()),
                env: Arc::default(),
                log: Arc::new(WorkerLog(logger.clone())),
                dev: true,
                explain: Some(Arc::new(app::explain)),
                test: None,
            },
        },
        Arc::new(Generation::single(Arc::clone(blueprint), action, TaskLimits::default())),
    )
    .map_err(|error| Failure::Failed(error.to_string()))?;
    let answer = ask(&socket, payload).map_err(|error| Failure::because("the script gave no answer", error));
    runtime.stop();
    let closed = store.close();
    logger.flush();
    let (status, body) = answer?;
    closed.map_err(|error| Failure::because("the store couldn't be closed", error))?;
    if status >= 500 || status == 400 {
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        if let Some(detail) = problem.get("detail").and_then(serde_json::Value::as_str) {
            return Err(Failure::Failed(detail.to_owned()));
        }
    }
    let mut out = std::io::stdout().lock();
    let line_end: &[u8] = if body.is_empty() || body.ends_with(b"\n") { b"" } else { b"\n" };
    out.write_all(&body).and_then(|()| out.write_all(line_end)).map_err(|e| Failure::because("stdout", e))
}

/// One POST; status and body. The connection closes behind it, so that the answer ends with the stream.
fn ask(socket: &Path, payload: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = UnixStream::connect(socket)?;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: forebay\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        payload.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(payload)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let wrong = || std::io::Error::new(std::io::ErrorKind::InvalidData, "not an HTTP answer");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(wrong)?;
    let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(wrong)?;
    let status = status.parse().map_err(|_| wrong())?;
    Ok((status, answer.split_off(end + 4)))
}

/// The machine alone: start, run, write the answer's bytes, finish.
fn bench(blueprint: &Arc<Blueprint>, action: &Action, payload: &[u8], time: Duration) -> Outcome {
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(blueprint).ok_or_else(|| Failure::Failed("the machine has no room".to_owned()))?;
    let entry = Entry::of(action).ok_or_else(|| Failure::Failed("nothing to run".to_owned()))?;
    let input = RequestInput {
        method: "POST",
        content_type: Some("application/json"),
        body: payload,
        ..RequestInput::empty()
    };
    let limits = TaskLimits::default();
    let mut body = Vec::new();
    let mut arena_bytes = 0;
    let mut fuel = 0;
    let mut call = |vm: &mut Vm| -> Outcome {
        let task = vm
            .start(id, entry, &input, &limits, TenantId(0), Monotonic(0))
            .map_err(|error| Failure::Failed(format!("the task can't start: {error:?}")))?;
        loop {
            match vm.run(task, Monotonic(0), crate::log::now(), u64::MAX, &mut NoHost) {
                Run::Done => break,
                Run::SliceOver => {}
                Run::Parked => {
                    return Err(Failure::Failed(
                        "--bench is for scripts without kv, db(), http() and sleep()".to_owned(),
                    ));
                }
                Run::Trap(_) => {
                    let report = vm.error(task);
                    return Err(Failure::Failed(app::explain(blueprint.module(), &report)));
                }
            }
        }
        body.clear();
        vm.write_body(task, &mut body).map_err(|error| Failure::Failed(error.to_string()))?;
        fuel = vm.usage(task).1;
        arena_bytes = vm.finish(task);
        Ok(())
    };
    let clock = || {
        #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
        Instant::now()
    };
    let warm = clock();
    while warm.elapsed() < Duration::from_millis(200) {
        call(&mut vm)?;
    }
    let start = clock();
    let mut calls = 0u64;
    while start.elapsed() < time {
        for _ in 0..64 {
            call(&mut vm)?;
        }
        calls += 64;
    }
    let nanos = start.elapsed().as_nanos() as f64 / calls as f64;
    println!(
        "{}",
        json!({
            "calls": calls, "ns_per_call": (nanos * 10.0).round() / 10.0,
            "fuel_per_call": fuel, "arena_bytes": arena_bytes,
        })
    );
    Ok(())
}
