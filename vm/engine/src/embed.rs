//! The engine for programs of your own: build a script once, trigger it many times.
//!
//! ```
//! use forebay_engine::embed::Engine;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut engine = Engine::new();
//! let work = engine.build("greet.js", "return { hello: payload().name.toUpperCase() };")?;
//! let answer = engine.trigger(&work, r#"{ "name": "Ada" }"#)?;
//! assert_eq!((answer.status, answer.text()), (200, r#"{"hello":"ADA"}"#));
//! # Ok(())
//! # }
//! ```
//!
//! It is [`crate::Vm`] with what most programs want around it: one machine, one thread, one task at a time, the
//! budgets of [`TaskLimits`], the system's clocks. Host calls that wait (`kv.get`, `http().get`, `sleep`, ...)
//! are yours to answer, by name: [`Engine::on_call`]. Without that they throw, and the script sees which.

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use forebay_base::limits::TaskLimits;
use forebay_base::value::ValueBuilder;
use forebay_base::{Monotonic, TenantId, Timestamp, Value, ValueSource as _};
use forebay_bytecode::{Verified, decode, verify};
use forebay_compiler::{Diagnostic, Loader, SourceSet, compile};

use crate::api::{
    BodyKind, Effect, Entry, ErrorReport, ErrorSpec, Host, LoadError, NoHost, RequestInput, Run, VmConfig,
};
use crate::blueprint::Blueprint;
use crate::vm::Vm;
use crate::{BlueprintId, TaskHandle};

/// Answers a host call: its name (`kv.get`), its arguments, the result or why there is none.
pub type OnCall = dyn FnMut(&str, &[Value]) -> Result<Value, String>;

/// Fuel of one slice: how often the wall time is looked at.
const SLICE_FUEL: u64 = 200_000;

/// A machine on this thread.
pub struct Engine {
    vm: Vm,
    limits: TaskLimits,
    host: Box<dyn Host>,
    on_call: Option<Box<OnCall>>,
}

/// A script that is ready to run; cheap to clone.
#[derive(Clone, Debug)]
pub struct Work {
    id: BlueprintId,
    entry: Entry,
    blueprint: Arc<Blueprint>,
    warnings: Arc<[Diagnostic]>,
}

/// What a script answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200, or what the script says.
    pub status: u16,
    /// Headers that the script set.
    pub headers: Vec<(String, String)>,
    /// JSON, text or bytes: as an HTTP client would get it.
    pub body: Vec<u8>,
    /// Which of them.
    pub kind: BodyKind,
    /// Fuel used, and bytes of memory: what the budgets are compared with.
    pub used: (u64, usize),
}

impl Answer {
    /// The body, if it is text; else empty.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }
}

/// Why there is no work, or no answer. `Display` shows code frames.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// The source doesn't compile.
    Build(Vec<Diagnostic>),
    /// The bytecode file is damaged, of another version, or not safe to run.
    Bytecode(String),
    /// Nothing to run: no body, and no handler.
    Empty,
    /// The top level of the module threw.
    Load(Box<ErrorReport>),
    /// The script threw, or reached a limit: `code` says which.
    Run(Box<ErrorReport>),
    /// The kernel gives no memory, or the machine is full.
    NoRoom,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(diagnostics) => {
                let frames: Vec<String> = diagnostics.iter().map(Diagnostic::render).collect();
                f.write_str(&frames.join("\n"))
            }
            Self::Bytecode(why) => f.write_str(why),
            Self::Empty => f.write_str("the script has no body and no handler"),
            Self::Load(report) | Self::Run(report) => {
                let colon = if report.name.is_empty() { "" } else { ": " };
                write!(f, "{}{colon}{} ({})", report.name, report.message, report.code)?;
                if report.stack.is_empty() { Ok(()) } else { write!(f, "\n{}", report.stack) }
            }
            Self::NoRoom => f.write_str("no memory for the machine"),
        }
    }
}

impl std::error::Error for Error {}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("vm", &self.vm).finish_non_exhaustive()
    }
}

impl Engine {
    /// A machine with the default budgets. Random bytes are predictable until [`Engine::host`] gives real ones.
    #[must_use]
    pub fn new() -> Self {
        let config = VmConfig { tasks: 1, pool: 1, ..VmConfig::default() };
        Self { vm: Vm::new(config), limits: TaskLimits::default(), host: Box::new(NoHost), on_call: None }
    }

    /// Budgets of each run.
    #[must_use]
    pub fn limits(mut self, limits: TaskLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Who writes log lines, knows the environment and has random bytes.
    #[must_use]
    pub fn host(mut self, host: impl Host + 'static) -> Self {
        self.host = Box::new(host);
        self
    }

    /// Who answers host calls that wait.
    #[must_use]
    pub fn on_call(mut self, answer: impl FnMut(&str, &[Value]) -> Result<Value, String> + 'static) -> Self {
        self.on_call = Some(Box::new(answer));
        self
    }

    /// Compiles one file, JavaScript or TypeScript by the name's suffix.
    ///
    /// # Errors
    /// [`Error::Build`], [`Error::Load`], [`Error::Empty`].
    pub fn build(&mut self, name: &str, text: &str) -> Result<Work, Error> {
        self.build_from(&SourceSet::one(name, text), name)
    }

    /// The same, with files to import.
    ///
    /// # Errors
    /// As [`Engine::build`].
    pub fn build_from(&mut self, files: &dyn Loader, name: &str) -> Result<Work, Error> {
        let (module, warnings) = compile(files, name).map_err(Error::Build)?;
        let verified = verify(module).map_err(|error| Error::Bytecode(error.to_string()))?;
        self.adopt(&verified, warnings)
    }

    /// Loads what `forebay build` wrote.
    ///
    /// # Errors
    /// [`Error::Bytecode`], [`Error::Load`], [`Error::Empty`].
    pub fn load(&mut self, bytes: &[u8]) -> Result<Work, Error> {
        let module = decode(bytes).map_err(|error| Error::Bytecode(error.to_string()))?;
        let verified = verify(module).map_err(|error| Error::Bytecode(error.to_string()))?;
        self.adopt(&verified, Vec::new())
    }

    fn adopt(&mut self, verified: &Verified, warnings: Vec<Diagnostic>) -> Result<Work, Error> {
        let blueprint = Blueprint::load(verified).map_err(|error| match error {
            LoadError::Init(report) => Error::Load(report),
            LoadError::NoMemory => Error::NoRoom,
        })?;
        let module = blueprint.module();
        let mut routes = module.works.iter().flat_map(|work| &work.routes);
        let entry = match module.main {
            Some(_) => Entry::Main,
            None => routes.find_map(|route| Entry::of(&route.action)).ok_or(Error::Empty)?,
        };
        let id = self.vm.adopt(&blueprint).ok_or(Error::NoRoom)?;
        Ok(Work { id, entry, blueprint, warnings: warnings.into() })
    }

    /// Forgets a work and its memory.
    pub fn drop_work(&mut self, work: &Work) {
        self.vm.retire(work.id);
    }

    /// Runs a work to its end. `params` is JSON: what `payload()` gives; empty for none.
    ///
    /// # Errors
    /// [`Error::Run`] if the script throws or reaches a limit.
    pub fn trigger(&mut self, work: &Work, params: &str) -> Result<Answer, Error> {
        let input = RequestInput {
            method: "POST",
            content_type: Some("application/json"),
            body: params.as_bytes(),
            ..RequestInput::empty()
        };
        self.request(work, &input)
    }

    /// Runs a work with a whole request.
    ///
    /// # Errors
    /// As [`Engine::trigger`].
    pub fn request(&mut self, work: &Work, input: &RequestInput<'_>) -> Result<Answer, Error> {
        let start = clock();
        let now = move || Monotonic(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let task = self
            .vm
            .start(work.id, work.entry, input, &self.limits, TenantId(0), now())
            .map_err(|_| Error::NoRoom)?;
        let result = self.run(task, &now);
        self.vm.finish(task);
        result
    }

    fn run(&mut self, task: TaskHandle, now: &dyn Fn() -> Monotonic) -> Result<Answer, Error> {
        let mut effects = Vec::new();
        loop {
            match self.vm.run(task, now(), wall(), SLICE_FUEL, &mut *self.host) {
                Run::Done => break,
                Run::SliceOver => {}
                Run::Parked => {
                    effects.clear();
                    self.vm.take_effects(task, &mut effects);
                    for effect in &effects {
                        self.answer(task, effect);
                    }
                }
                Run::Trap(_) => return Err(Error::Run(Box::new(self.vm.error(task)))),
            }
        }
        let (status, kind) =
            self.vm.response(task).map_or((500, BodyKind::Empty), |head| (head.status, head.body));
        let mut headers = Vec::new();
        self.vm.response_headers(task, &mut |name, value| headers.push((name.to_owned(), value.to_owned())));
        let mut body = Vec::new();
        self.vm.write_body(task, &mut body).map_err(|error| {
            let (code, message) = ("bad_body".into(), error.to_string().into());
            Error::Run(Box::new(ErrorReport { code, message, ..ErrorReport::default() }))
        })?;
        let (memory, fuel) = self.vm.usage(task);
        Ok(Answer { status, headers, body, kind, used: (fuel, memory) })
    }

    fn answer(&mut self, task: TaskHandle, effect: &Effect) {
        let name = effect.func.path();
        let args: Result<Vec<Value>, _> = (0..self.vm.arg_count(task, effect.id))
            .map(|index| ValueBuilder::build(&self.vm.arg(task, effect.id, index)))
            .collect();
        let result = match (&mut self.on_call, args) {
            (_, Err(error)) => Err(format!("{name}: {error}")),
            (Some(answer), Ok(args)) => answer(name, &args),
            (None, Ok(_)) => Err(format!("{name}: this engine answers no host calls (Engine::on_call)")),
        };
        let done = match result {
            Ok(value) => {
                self.vm.resume(task, effect.id, &mut |sink| value.emit(sink)).map_err(|e| e.to_string())
            }
            Err(message) => Err(message),
        };
        if let Err(message) = done {
            let spec = ErrorSpec { name: "HostError", message: &message, ..ErrorSpec::default() };
            // A stale task or effect can't be: both are ours.
            let _ = self.vm.resume_error(task, effect.id, &spec);
        }
    }
}

impl Work {
    /// The compiled module: works, routes, sources.
    #[must_use]
    pub fn module(&self) -> &forebay_bytecode::Module {
        self.blueprint.module()
    }

    /// What the compiler warned of.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }
}

#[expect(clippy::disallowed_methods, reason = "this module is an edge: a program without a worker")]
fn clock() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this module is an edge: a program without a worker")]
fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::rc::Rc;

    #[test]
    fn a_work_runs_many_times_and_shares_nothing_between_runs() {
        let mut engine = Engine::new();
        let work = engine
            .build("a.js", "Array.prototype.x = (Array.prototype.x ?? 0) + 1; return [].x + payload().n;")
            .unwrap();
        for n in 0..100 {
            let answer = engine.trigger(&work, &format!("{{\"n\":{n}}}")).unwrap();
            assert_eq!((answer.status, answer.text()), (200, (n + 1).to_string().as_str()));
            assert!(answer.used.0 > 0 && answer.used.1 > 0);
        }
    }

    #[test]
    fn host_calls_are_answered_by_the_program() {
        let store = Rc::new(RefCell::new(BTreeMap::<String, Value>::new()));
        let shared = Rc::clone(&store);
        let mut engine = Engine::new().on_call(move |name, args| match (name, args) {
            ("kv.set", [Value::Str(key), value]) => {
                shared.borrow_mut().insert(key.to_string(), value.clone());
                Ok(Value::Undefined)
            }
            ("kv.get", [Value::Str(key)]) => {
                Ok(shared.borrow().get(&**key).cloned().unwrap_or(Value::Undefined))
            }
            _ => Err(format!("{name} is not here")),
        });
        let work = engine.build("a.js", "kv.set('a', { b: [1] }); return kv.get('a').b[0] + 1;").unwrap();
        assert_eq!(engine.trigger(&work, "").unwrap().text(), "2");
        assert!(store.borrow().contains_key("a"));
        let work = engine.build("b.js", "try { sleep(1); } catch (e) { return e.message; }").unwrap();
        assert_eq!(engine.trigger(&work, "").unwrap().text(), "sleep is not here");
        let mut engine = Engine::new();
        let work = engine.build("c.js", "return kv.get('a');").unwrap();
        let error = engine.trigger(&work, "").unwrap_err().to_string();
        assert!(
            error.contains("kv.get: this engine answers no host calls") && error.contains("c.js:1:8"),
            "{error}"
        );
    }

    #[test]
    fn errors_say_what_where_and_stay_errors() {
        let mut engine = Engine::new().limits(TaskLimits { fuel: 100_000, ..TaskLimits::default() });
        let error = engine.build("a.js", "return paylod();").unwrap_err().to_string();
        assert!(error.contains("FB0201") && error.contains("did you mean `payload`?"), "{error}");
        assert_eq!(engine.build("a.js", "work('A').get('/').redirect('/b');").unwrap_err(), Error::Empty);
        let work = engine.build("a.js", "for (;;) {}").unwrap();
        let Err(Error::Run(report)) = engine.trigger(&work, "") else { panic!("it ends") };
        assert_eq!(&*report.code, "fuel_exhausted");
        let work = engine.build("a.js", "return payload();").unwrap();
        let Err(Error::Run(report)) = engine.trigger(&work, "{") else { panic!("not JSON") };
        assert_eq!(&*report.code, "bad_request");
        assert_eq!(engine.trigger(&work, "[1]").unwrap().text(), "[1]");
        let work = engine.build("a.js", "const a = []; a.psuh(1);").unwrap();
        let error = engine.trigger(&work, "").unwrap_err().to_string();
        assert!(error.contains("psuh is not a function; did you mean `push`?"), "{error}");
        let work = engine
            .build("a.js", "try { null.x; } catch (cause) { throw new RangeError('outer', { cause }); }")
            .unwrap();
        let error = engine.trigger(&work, "").unwrap_err().to_string();
        let at = |text: &str| error.find(text).unwrap_or_else(|| panic!("{text} not in {error}"));
        assert!(at("RangeError: outer") < at("caused by TypeError: Cannot read"), "{error}");
        assert_eq!(error.matches("    at a.js:1:").count(), 2, "{error}");
        assert!(matches!(engine.load(b"nonsense"), Err(Error::Bytecode(_))));
    }
}
