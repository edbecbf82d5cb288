//! The engines behind one interface: load a body, call it once.

use crate::Kind;
use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_bytecode::verify;
use forebay_engine::{Blueprint, BlueprintId, Entry, NoHost, RequestInput, Run, Vm, VmConfig};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

/// One call's time and what it returned, as text.
pub struct Outcome {
    /// Milliseconds.
    pub ms: f64,
    /// `String(bench())`.
    pub checksum: String,
}

/// An engine in the run.
pub trait Engine {
    /// As the table names it.
    fn name(&self) -> &'static str;
    /// Compiles a body; the next calls are of it.
    fn load(&mut self, kind: &Kind) -> Result<(), String>;
    /// Calls `bench` once.
    fn call(&mut self) -> Result<Outcome, String>;
}

/// All engines that can run here, ours first.
pub fn all() -> Vec<Box<dyn Engine>> {
    let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(Forebay::new())];
    if let Some(quickjs) = QuickJs::new() {
        engines.push(Box::new(quickjs));
    }
    engines.push(Box::new(Boa { context: None }));
    for (name, flags) in [("node --jitless", &["--jitless"][..]), ("node", &[])] {
        match Node::start(name, flags) {
            Ok(node) => engines.push(Box::new(node)),
            Err(error) => eprintln!("{name} is not here: {error}"),
        }
    }
    engines
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let value = work();
    (start.elapsed().as_secs_f64() * 1000.0, value)
}

// ---- ours

/// One text as a file.
pub struct Text(pub String);

impl forebay_compiler::Loader for Text {
    fn load(&self, path: &str) -> Option<Box<str>> {
        (path == "bench.js").then(|| self.0.as_str().into())
    }
}

/// Compiles, verifies and loads one file.
pub fn build(text: String) -> Result<std::sync::Arc<Blueprint>, String> {
    let (module, _) = forebay_compiler::compile(&Text(text), "bench.js")
        .map_err(|errors| errors.first().map_or(String::new(), |e| format!("{} {}", e.code, e.message)))?;
    let verified = verify(module).map_err(|e| e.to_string())?;
    Blueprint::load(&verified).map_err(|e| format!("{e:?}"))
}

struct Forebay {
    vm: Vm,
    blueprint: Option<BlueprintId>,
}

impl Forebay {
    fn new() -> Self {
        Self { vm: Vm::new(VmConfig::default()), blueprint: None }
    }
}

/// The default slice of a worker.
const SLICE_FUEL: u64 = 200_000;

impl Engine for Forebay {
    fn name(&self) -> &'static str {
        "forebay"
    }
    fn load(&mut self, kind: &Kind) -> Result<(), String> {
        if let Some(old) = self.blueprint.take() {
            self.vm.retire(old);
        }
        let text = format!("{}\nwork(\"bench\").post(\"/bench\", () => String(bench()));\n", kind.text);
        self.blueprint = self.vm.adopt(&build(text)?);
        Ok(())
    }
    fn call(&mut self) -> Result<Outcome, String> {
        let Some(id) = self.blueprint else { return Err("nothing is loaded".into()) };
        let limits = TaskLimits { fuel: u64::MAX / 4, memory: 1 << 30, ..TaskLimits::default() };
        let input = RequestInput::empty();
        let vm = &mut self.vm;
        let (ms, result) = timed(|| {
            let task = vm
                .start(id, Entry::Handler(0), &input, &limits, TenantId(0), Monotonic(0))
                .map_err(|e| format!("{e:?}"))?;
            let mut body = Vec::new();
            let ended = loop {
                match vm.run(task, Monotonic(0), Timestamp(0), SLICE_FUEL, &mut NoHost) {
                    Run::SliceOver => {}
                    Run::Done => break vm.write_body(task, &mut body).map_err(|e| e.to_string()),
                    Run::Parked => break Err("parked".into()),
                    Run::Trap(trap) => {
                        break Err(format!("{trap:?}: {}", vm.error(task).message));
                    }
                }
            };
            vm.finish(task);
            ended.map(|()| body)
        });
        let checksum = String::from_utf8_lossy(&result?).into_owned();
        Ok(Outcome { ms, checksum })
    }
}

// ---- peers

/// A body as a function expression: its helpers are closure variables, which every engine is quick at.
fn wrapped(kind: &Kind) -> String {
    format!("(function () {{ \"use strict\"; {}\nreturn () => String(bench()); }})()", kind.text)
}

struct QuickJs {
    context: rquickjs::Context,
    _runtime: rquickjs::Runtime,
    function: Option<rquickjs::Persistent<rquickjs::Function<'static>>>,
}

impl QuickJs {
    fn new() -> Option<Self> {
        let runtime = rquickjs::Runtime::new().ok()?;
        let context = rquickjs::Context::full(&runtime).ok()?;
        Some(Self { context, _runtime: runtime, function: None })
    }
}

impl Drop for QuickJs {
    fn drop(&mut self) {
        self.function = None;
    }
}

impl Engine for QuickJs {
    fn name(&self) -> &'static str {
        "QuickJS-ng"
    }
    fn load(&mut self, kind: &Kind) -> Result<(), String> {
        self.function = None;
        let text = wrapped(kind);
        self.function = Some(self.context.with(|ctx| {
            let function: rquickjs::Function<'_> = ctx.eval(text).map_err(|e| e.to_string())?;
            Ok::<_, String>(rquickjs::Persistent::save(&ctx, function))
        })?);
        Ok(())
    }
    fn call(&mut self) -> Result<Outcome, String> {
        let Some(function) = self.function.clone() else { return Err("nothing is loaded".into()) };
        self.context.with(|ctx| {
            let function = function.restore(&ctx).map_err(|e| e.to_string())?;
            let (ms, result) = timed(|| function.call::<_, String>(()));
            Ok(Outcome { ms, checksum: result.map_err(|e| e.to_string())? })
        })
    }
}

struct Boa {
    context: Option<(boa_engine::Context, boa_engine::JsValue)>,
}

impl Engine for Boa {
    fn name(&self) -> &'static str {
        "boa"
    }
    fn load(&mut self, kind: &Kind) -> Result<(), String> {
        let mut context = boa_engine::Context::default();
        let text = wrapped(kind);
        let function = context.eval(boa_engine::Source::from_bytes(&text)).map_err(|e| e.to_string())?;
        self.context = Some((context, function));
        Ok(())
    }
    fn call(&mut self) -> Result<Outcome, String> {
        let Some((context, function)) = &mut self.context else { return Err("nothing is loaded".into()) };
        let function = function.as_object().ok_or("no function")?.clone();
        let (ms, result) = timed(|| function.call(&boa_engine::JsValue::undefined(), &[], context));
        let value = result.map_err(|e| e.to_string())?;
        let text = value.to_string(context).map_err(|e| e.to_string())?;
        Ok(Outcome { ms, checksum: text.to_std_string_escaped() })
    }
}

/// node as a child that loads a body per line of its input and calls it when the line is empty.
struct Node {
    name: &'static str,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

const NODE_SCRIPT: &str = r#"
let bench = null;
require("readline").createInterface({ input: process.stdin }).on("line", line => {
  let answer;
  try {
    if (line !== "") {
      bench = (0, eval)(JSON.parse(line));
      answer = { ok: true };
    } else {
      const start = process.hrtime.bigint();
      const checksum = bench();
      answer = { ms: Number(process.hrtime.bigint() - start) / 1e6, checksum };
    }
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
});
"#;

impl Node {
    fn start(name: &'static str, flags: &[&str]) -> std::io::Result<Self> {
        let mut child = Command::new("node")
            .args(flags)
            .args(["-e", NODE_SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("no pipes"));
        };
        Ok(Self { name, child, to, from: BufReader::new(from) })
    }

    fn ask(&mut self, line: &str) -> Result<serde_json::Value, String> {
        writeln!(self.to, "{line}").map_err(|e| e.to_string())?;
        let mut answer = String::new();
        self.from.read_line(&mut answer).map_err(|e| e.to_string())?;
        let answer: serde_json::Value = serde_json::from_str(&answer).map_err(|e| e.to_string())?;
        match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Engine for Node {
    fn name(&self) -> &'static str {
        self.name
    }
    fn load(&mut self, kind: &Kind) -> Result<(), String> {
        let text = serde_json::to_string(&wrapped(kind)).map_err(|e| e.to_string())?;
        self.ask(&text).map(|_| ())
    }
    fn call(&mut self) -> Result<Outcome, String> {
        let answer = self.ask("")?;
        let ms = answer["ms"].as_f64().ok_or("no time")?;
        let checksum = answer["checksum"].as_str().ok_or("no checksum")?.to_owned();
        Ok(Outcome { ms, checksum })
    }
}
