//! Compiles and runs one file, for people who work on the machine:
//! `cargo run -p forebay-engine --example run -- FILE [--payload JSON] [--bench N] [--handler N] [--unfused]`.
//! Effects are answered by a small map of keys in memory; a query and a request are answered with null.

use forebay_base::limits::TaskLimits;
use forebay_base::value::ValueBuilder;
use forebay_base::{Monotonic, TenantId, Timestamp, Value, ValueSource};
use forebay_bytecode::{HostFn, verify};
use forebay_engine::{Blueprint, Effect, Entry, Host, LogLevel, RequestInput, Run, TaskHandle, Vm, VmConfig};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

struct Files;

impl forebay_compiler::Loader for Files {
    fn load(&self, path: &str) -> Option<Box<str>> {
        std::fs::read_to_string(Path::new(path)).ok().map(Into::into)
    }
}

struct Terminal;

impl Host for Terminal {
    fn log(&mut self, level: LogLevel, line: &str) {
        eprintln!("{level:?}: {line}");
    }
    fn env(&mut self, _: &str) -> Option<&str> {
        None
    }
    fn random(&mut self, out: &mut [u8]) {
        out.fill(0x5a);
    }
}

fn tree(vm: &Vm, task: TaskHandle, effect: Effect, index: usize) -> Value {
    ValueBuilder::build(&vm.arg(task, effect.id, index)).unwrap_or_default()
}

fn answer(vm: &mut Vm, task: TaskHandle, effect: Effect, kv: &mut BTreeMap<String, Value>) {
    let key = match tree(vm, task, effect, 0) {
        Value::Str(s) => s.to_string(),
        other => format!("{other:?}"),
    };
    let value = match effect.func {
        HostFn::KvGet => kv.get(&key).cloned().unwrap_or(Value::Undefined),
        HostFn::KvSet => {
            let v = tree(vm, task, effect, 1);
            kv.insert(key, v);
            Value::Undefined
        }
        HostFn::KvDel => Value::Bool(kv.remove(&key).is_some()),
        HostFn::KvExists => Value::Bool(kv.contains_key(&key)),
        HostFn::KvIncr => {
            let by = if let Value::Int(n) = tree(vm, task, effect, 1) { n } else { 1 };
            let old = if let Some(Value::Int(n)) = kv.get(&key) { *n } else { 0 };
            kv.insert(key, Value::Int(old + by));
            Value::Int(old + by)
        }
        _ => Value::Null,
    };
    if let Err(error) = vm.resume(task, effect.id, &mut |sink| value.emit(sink)) {
        eprintln!("resume: {error}");
    }
}

fn run_once(
    vm: &mut Vm,
    id: forebay_engine::BlueprintId,
    entry: Entry,
    payload: &str,
) -> Result<(u16, Vec<u8>), String> {
    let input = RequestInput { method: "POST", body: payload.as_bytes(), ..RequestInput::empty() };
    let limits = TaskLimits::default();
    let task = vm
        .start(id, entry, &input, &limits, TenantId(0), Monotonic(0))
        .map_err(|e| format!("start: {e:?}"))?;
    let mut kv = BTreeMap::new();
    let mut effects = Vec::new();
    loop {
        match vm.run(task, Monotonic(0), Timestamp(1_700_000_000_000_000), 200_000, &mut Terminal) {
            Run::Done => break,
            Run::SliceOver => {}
            Run::Parked => {
                vm.take_effects(task, &mut effects);
                for effect in effects.drain(..) {
                    answer(vm, task, effect, &mut kv);
                }
            }
            Run::Trap(_) => {
                let report = vm.error(task);
                vm.finish(task);
                return Err(format!("{} {}: {}\n{}", report.code, report.name, report.message, report.stack));
            }
        }
    }
    let mut body = Vec::new();
    let status = vm.response(task).map_or(500, |head| head.status);
    vm.write_body(task, &mut body).map_err(|e| e.to_string())?;
    vm.finish(task);
    Ok((status, body))
}

#[expect(clippy::disallowed_methods, reason = "a tool: it measures")]
fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1)).cloned();
    let Some(file) = args.first() else {
        eprintln!("run FILE [--payload JSON] [--bench N] [--handler N] [--unfused]");
        return std::process::ExitCode::from(2);
    };
    let module = match forebay_compiler::compile(&Files, file) {
        Ok((module, _)) => module,
        Err(errors) => {
            for error in errors {
                eprintln!("{error:?}");
            }
            return std::process::ExitCode::FAILURE;
        }
    };
    if args.iter().any(|a| a == "--disasm") {
        println!("{}", forebay_bytecode::disassemble(&module));
    }
    let loaded = verify(module).map_err(|e| e.to_string()).and_then(|m| {
        let unfused = args.iter().any(|a| a == "--unfused");
        let loaded = if unfused { Blueprint::load_unfused(&m) } else { Blueprint::load(&m) };
        loaded.map_err(|e| format!("{e:?}"))
    });
    let blueprint: Arc<Blueprint> = match loaded {
        Ok(b) => b,
        Err(error) => {
            eprintln!("{error}");
            return std::process::ExitCode::FAILURE;
        }
    };
    let mut vm = Vm::new(VmConfig::default());
    let Some(id) = vm.adopt(&blueprint) else { return std::process::ExitCode::FAILURE };
    let entry = match option("--handler").and_then(|n| n.parse().ok()) {
        Some(n) => Entry::Handler(n),
        None => Entry::Main,
    };
    let payload = option("--payload").unwrap_or_default();
    if let Some(n) = option("--bench").and_then(|n| n.parse::<u32>().ok()) {
        let start = std::time::Instant::now();
        for _ in 0..n {
            if let Err(error) = run_once(&mut vm, id, entry, &payload) {
                eprintln!("{error}");
                return std::process::ExitCode::FAILURE;
            }
        }
        println!("{} ns per call", start.elapsed().as_nanos() / u128::from(n.max(1)));
    }
    match run_once(&mut vm, id, entry, &payload) {
        Ok((status, body)) => {
            println!("{status} {}", String::from_utf8_lossy(&body));
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}
