//! One test in a world of its own: what is compiled, how it may end, what counts as passed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_compiler::{Diagnostic, Options, SourceSet};
use forebay_engine::{Blueprint, Entry, Host, LogLevel, RequestInput, Run, Trap, Vm, VmConfig};

use crate::metadata::Metadata;

/// Fuel of a test: some seconds.
const FUEL: u64 = 2_000_000_000;
/// Memory of a test. Arenas have no collector, and some tests loop over all code units.
const MEMORY_BYTES: usize = 1 << 30;

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// The reason, one line.
    Failed(String),
    /// The compiler failed on the file, or a budget ended it.
    Broken(String),
}

/// Runs tests below one root.
pub(crate) struct Runner {
    root: PathBuf,
    harness: HashMap<String, String>,
}

/// Keeps what `print` wrote.
#[derive(Default)]
struct Printed(Vec<String>);

impl Host for Printed {
    fn log(&mut self, level: LogLevel, line: &str) {
        if level == LogLevel::Info {
            self.0.push(line.to_owned());
        }
    }
    fn env(&mut self, _: &str) -> Option<&str> {
        None
    }
    fn random(&mut self, out: &mut [u8]) {
        out.fill(0x5a);
    }
}

/// What a script ended with.
enum End {
    Done,
    /// Name and message of what it threw.
    Threw(String, String),
    Stopped(Trap),
    Unloadable(String),
}

impl Runner {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), harness: HashMap::new() }
    }

    /// Runs a test, by its path below `test/`.
    pub(crate) fn run(&mut self, path: &str) -> Outcome {
        let source = match std::fs::read(self.root.join("test").join(path)) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => return Outcome::Broken(format!("can't be read: {error}")),
        };
        let metadata = Metadata::of(&source);
        let alone = format!("\"use strict\";\n{source}");
        if let Some((phase, _)) = &metadata.negative
            && phase == "parse"
        {
            return parse_negative(&alone);
        }
        let mut text = String::from("\"use strict\";\n");
        let mut files = vec!["assert.js", "sta.js"];
        if metadata.has("async") {
            files.push("doneprintHandle.js");
        }
        files.extend(metadata.includes.iter().map(String::as_str));
        for name in files {
            match self.harness(name) {
                Ok(file) => text.push_str(file),
                Err(error) => return Outcome::Broken(error),
            }
            text.push('\n');
        }
        text.push_str(&source);
        let module = match compile(&text) {
            Ok(module) => module,
            Err(outcome) => return outcome,
        };
        let mut printed = Printed::default();
        let end = execute(&module, &mut printed);
        judge(&metadata, end, &printed.0)
    }

    fn harness(&mut self, name: &str) -> Result<&str, String> {
        if !self.harness.contains_key(name) {
            let path = self.root.join("harness").join(name);
            let mut text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            if name == "fnGlobalObject.js" {
                // It asks `Function` for the global object, which makes no functions from text here.
                text = text.replace("Function(\"return this;\")()", "globalThis");
            }
            self.harness.insert(name.to_owned(), text);
        }
        Ok(&self.harness[name])
    }
}

fn shown(errors: &[Diagnostic]) -> String {
    errors.first().map_or_else(String::new, |e| format!("{}: {}", e.code, e.message))
}

/// Codes of FB01xx are those of the language's early errors, FB0302 that of a regular expression that can't be.
fn parse_negative(text: &str) -> Outcome {
    let loader = SourceSet::one("test.js", text);
    match forebay_compiler::compile_with(
        &loader,
        "test.js",
        Options { conformance: true, ..Options::default() },
    ) {
        Ok(_) => Outcome::Failed("compiles, though it must not parse".into()),
        Err(errors) if errors.iter().any(|e| e.code.starts_with("FB01") || e.code == "FB0302") => {
            Outcome::Passed
        }
        Err(errors) if errors.iter().any(|e| e.code == "FB0899") => Outcome::Broken(shown(&errors)),
        Err(errors) => Outcome::Failed(format!("refused, but not as a syntax error: {}", shown(&errors))),
    }
}

fn compile(text: &str) -> Result<forebay_bytecode::Verified, Outcome> {
    let loader = SourceSet::one("test.js", text);
    match forebay_compiler::compile_with(
        &loader,
        "test.js",
        Options { conformance: true, ..Options::default() },
    ) {
        Ok((module, _)) => {
            forebay_bytecode::verify(module).map_err(|e| Outcome::Broken(format!("verifier: {e}")))
        }
        Err(errors) if errors.iter().any(|e| e.code == "FB0899") => Err(Outcome::Broken(shown(&errors))),
        Err(errors) => Err(Outcome::Failed(format!("refused: {}", shown(&errors)))),
    }
}

fn execute(module: &forebay_bytecode::Verified, printed: &mut Printed) -> End {
    let blueprint = match Blueprint::load(module) {
        Ok(blueprint) => blueprint,
        Err(error) => return End::Unloadable(format!("{error:?}")),
    };
    let mut vm = Vm::new(VmConfig { tasks: 1, arena_reserve: MEMORY_BYTES, ..VmConfig::default() });
    let Some(id) = vm.adopt(&blueprint) else { return End::Unloadable("no memory".into()) };
    let limits = TaskLimits { fuel: FUEL, memory: MEMORY_BYTES, fibers: 100_000, ..TaskLimits::default() };
    let input = RequestInput::empty();
    let task = match vm.start(id, Entry::Main, &input, &limits, TenantId(0), Monotonic(0)) {
        Ok(task) => task,
        Err(error) => return End::Unloadable(format!("{error:?}")),
    };
    loop {
        match vm.run(task, Monotonic(1), Timestamp(0), FUEL, printed) {
            Run::SliceOver => {}
            Run::Done => return End::Done,
            Run::Parked => return End::Stopped(Trap::Deadlock),
            Run::Trap(Trap::Exception) => {
                let report = vm.error(task);
                return End::Threw(report.name.into(), report.message.into());
            }
            Run::Trap(trap) => return End::Stopped(trap),
        }
    }
}

fn judge(metadata: &Metadata, end: End, printed: &[String]) -> Outcome {
    let one_line = |text: String| text.replace(['\n', '\r', '\t'], " ").chars().take(200).collect::<String>();
    match (end, &metadata.negative) {
        (End::Stopped(trap), _) => Outcome::Broken(trap.code().into()),
        (End::Unloadable(why), _) => Outcome::Broken(one_line(why)),
        (End::Threw(name, _), Some((_, kind))) if name == *kind => Outcome::Passed,
        (End::Threw(name, message), _) => Outcome::Failed(one_line(format!("{name}: {message}"))),
        (End::Done, Some((_, kind))) => {
            Outcome::Failed(format!("ends without the {kind} that it must throw"))
        }
        (End::Done, None) if metadata.has("async") => {
            if printed.iter().any(|line| line.contains("Test262:AsyncTestComplete")) {
                return Outcome::Passed;
            }
            match printed.first() {
                Some(line) => Outcome::Failed(one_line(line.clone())),
                None => Outcome::Failed("$DONE was not called".into()),
            }
        }
        (End::Done, None) => Outcome::Passed,
    }
}
