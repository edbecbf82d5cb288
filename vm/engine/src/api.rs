//! The host boundary: what a worker says to the machine and hears from it.
//!
//! ```text
//!   Blueprint::load(verified) -> Arc<Blueprint>          once per process
//!   vm.adopt(&blueprint)      -> BlueprintId             once per core
//!
//!   vm.start(id, entry, &request, &limits, tenant, now) -> TaskHandle
//!   vm.run(task, now, wall, slice_fuel, host) -> Run
//!        Done      response(task), write_body(task, out), finish(task)
//!        Parked    take_effects(task, ..); later resume(..) or resume_error(..); run again
//!        SliceOver others first, then run again
//!        Trap(t)   error(task), finish(task)
//! ```
//!
//! Nothing here reads a clock or does I/O: time comes in as arguments, effects go
//! out as data. What needs an answer at once (log lines, environment, random
//! bytes) is asked of a [`Host`].

use forebay_base::{Timestamp, Value};
use forebay_bytecode::{Action, FunctionIndex};

/// Names one of the blueprints that a [`crate::Vm`] has adopted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BlueprintId(pub u32);

/// Names a task of one [`crate::Vm`]. A stale handle (finished task) is refused, never confused
/// with the slot's next task.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TaskHandle {
    /// Index of the slot.
    pub slot: u32,
    /// Counts the uses of the slot.
    pub generation: u32,
}

/// Names an effect of a task: unique within the task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EffectId(pub u32);

/// What a task runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// The body of a script-style file.
    Main,
    /// A function of the module, called with no argument (script style).
    Function(FunctionIndex),
    /// What `SetHandler` stored in this slot; called with `req`.
    Handler(u32),
}

impl Entry {
    /// The entry of a route's action; none for files and redirects.
    #[must_use]
    pub fn of(action: &Action) -> Option<Entry> {
        match action {
            Action::Function(f) => Some(Entry::Function(*f)),
            Action::Handler(slot) => Some(Entry::Handler(*slot)),
            _ => None,
        }
    }
}

/// Looks up and lists the headers of a request, whatever holds them.
pub trait Headers {
    /// Calls `each` with every field in order: its name, in any case, and its value.
    fn each(&self, each: &mut dyn FnMut(&[u8], &[u8]));
}

/// No headers.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHeaders;

impl Headers for NoHeaders {
    fn each(&self, _: &mut dyn FnMut(&[u8], &[u8])) {}
}

impl Headers for Vec<(String, String)> {
    fn each(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in self {
            each(name.as_bytes(), value.as_bytes());
        }
    }
}

/// A request as the worker has it; borrowed. `start` copies what the module's
/// `uses` says it can reach, so a parked task holds no receive buffer.
#[derive(Clone, Copy)]
pub struct RequestInput<'a> {
    /// Upper-case method.
    pub method: &'a str,
    /// Path, percent-decoding not applied, without the query.
    pub path: &'a str,
    /// Query without `?`; empty if absent.
    pub query: &'a str,
    /// Path parameters, percent-decoded: name, value.
    pub params: &'a [(&'a str, &'a str)],
    /// Header fields.
    pub headers: &'a dyn Headers,
    /// Media type of the body (`content-type`), if any.
    pub content_type: Option<&'a str>,
    /// The whole body; empty if absent.
    pub body: &'a [u8],
    /// The client's address as text.
    pub ip: &'a str,
}

impl RequestInput<'_> {
    /// A GET of `/` without anything: tests and `forebay run`.
    #[must_use]
    pub fn empty() -> RequestInput<'static> {
        RequestInput {
            method: "GET",
            path: "/",
            query: "",
            params: &[],
            headers: &NoHeaders,
            content_type: None,
            body: b"",
            ip: "",
        }
    }
}

/// Level of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// `log(...)`.
    Info,
    /// `log.warn(...)`, and rejections that nobody handled.
    Warn,
    /// `log.error(...)`.
    Error,
}

/// What a running script needs at once.
pub trait Host {
    /// A line for the log, already cut to `LOG_LINE_BYTES_MAX`.
    fn log(&mut self, level: LogLevel, line: &str);
    /// An environment variable that the configuration allows.
    fn env(&mut self, name: &str) -> Option<&str>;
    /// Random bytes from the kernel (getrandom(2)): `uuid()`, the seed of `Math.random`.
    fn random(&mut self, out: &mut [u8]);
    /// A statement runs, in code that was compiled for coverage: file, and offset in its text.
    fn cover(&mut self, _file: &str, _offset: u32) {}
}

/// A host that logs nowhere, knows no variable and has predictable "random"
/// bytes: for tests and measurements.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl Host for NoHost {
    fn log(&mut self, _: LogLevel, _: &str) {}
    fn env(&mut self, _: &str) -> Option<&str> {
        None
    }
    fn random(&mut self, out: &mut [u8]) {
        out.fill(0x5a);
    }
}

/// Where a call of `run` ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Run {
    /// The handler returned; `response` and `write_body` read the answer.
    Done,
    /// Every fiber waits for an effect.
    Parked,
    /// The slice's fuel is used up: run again after others had their turn.
    SliceOver,
    /// The task is over without an answer; `error` says more.
    Trap(Trap),
}

/// Why a task ended without an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trap {
    /// The script threw (or its promise was rejected): 500.
    Exception,
    /// `payload()` or `req.json()` could not read the body: 400.
    BadRequest,
    /// `payload()` doesn't read bodies of this type: 415.
    MediaType,
    /// `TaskLimits::fuel` is used up: 500.
    Fuel,
    /// `TaskLimits::wall_time` is over: 504.
    WallTime,
    /// `TaskLimits::memory` is used up: 500.
    Memory,
    /// `TaskLimits::fibers` are alive: 500.
    Fibers,
    /// `TaskLimits::effects` are in flight: 500.
    Effects,
    /// Every fiber waits and nothing is in flight (a promise that nobody settles): 500.
    Deadlock,
}

impl Trap {
    /// All of them.
    pub const ALL: [Trap; 9] = [
        Self::Exception,
        Self::BadRequest,
        Self::MediaType,
        Self::Fuel,
        Self::WallTime,
        Self::Memory,
        Self::Fibers,
        Self::Effects,
        Self::Deadlock,
    ];

    /// The stable code of problem details and logs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Exception => "script_error",
            Self::BadRequest => "bad_request",
            Self::MediaType => "unsupported_media_type",
            Self::Fuel => "fuel_exhausted",
            Self::WallTime => "wall_time_exceeded",
            Self::Memory => "memory_exhausted",
            Self::Fibers => "too_many_fibers",
            Self::Effects => "too_many_effects",
            Self::Deadlock => "never_settles",
        }
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::MediaType => 415,
            Self::WallTime => 504,
            _ => 500,
        }
    }
}

/// Why a task couldn't start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// `VmConfig::tasks` are alive: 503.
    Full,
    /// The kernel has no address space for another arena: 503.
    NoMemory,
    /// The request does not fit in the task's memory limit: 413.
    TooLarge,
    /// The blueprint is not adopted (any more), or has no such entry: our bug.
    NoEntry,
}

/// Why a blueprint couldn't be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// Its top level threw, or used up its budget: name, message and stack.
    Init(Box<ErrorReport>),
    /// The kernel gave no memory.
    NoMemory,
}

/// An error that ends a task, for answers and logs.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ErrorReport {
    /// [`Trap::code`].
    pub code: Box<str>,
    /// `TypeError`, ...
    pub name: Box<str>,
    /// Its message.
    pub message: Box<str>,
    /// `    at name (file:line:column)` lines.
    pub stack: Box<str>,
    /// Index into `Module::files`, first and last byte: where a code frame points.
    pub position: Option<(u16, u32, u32)>,
}

/// An error that a worker hands to a script instead of a value: it is thrown
/// at the host call that waits, as an `Error` with these properties.
#[derive(Clone, Debug, Default)]
pub struct ErrorSpec<'a> {
    /// Its `name`.
    pub name: &'a str,
    /// Its `message`.
    pub message: &'a str,
    /// Its `code`, if any.
    pub code: Option<&'a str>,
    /// Further properties.
    pub props: &'a [(&'a str, Value)],
}

/// An effect that a task waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effect {
    /// For `arg`, `query`, `resume`.
    pub id: EffectId,
    /// What to carry out.
    pub func: forebay_bytecode::HostFn,
}

/// What the body of an answer is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyKind {
    /// No body (204, 304, HEAD is the worker's business).
    Empty,
    /// JSON.
    Json,
    /// text/plain; charset=utf-8.
    Text,
    /// text/html; charset=utf-8.
    Html,
    /// application/octet-stream.
    Bytes,
}

impl BodyKind {
    /// The `content-type` that goes with it.
    #[must_use]
    pub const fn content_type(self) -> Option<&'static str> {
        match self {
            Self::Empty => None,
            Self::Json => Some("application/json"),
            Self::Text => Some("text/plain; charset=utf-8"),
            Self::Html => Some("text/html; charset=utf-8"),
            Self::Bytes => Some("application/octet-stream"),
        }
    }
}

/// The head of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResponseHead {
    /// 200 to 599.
    pub status: u16,
    /// What `write_body` will write.
    pub body: BodyKind,
    /// Whether `response_headers` has any.
    pub has_headers: bool,
}

/// How many and how large: one core's machine.
#[derive(Clone, Debug)]
pub struct VmConfig {
    /// Tasks alive at once, parked ones included.
    pub tasks: usize,
    /// Address space reserved for one arena, bytes; a task with a higher
    /// memory limit gets a larger reservation of its own.
    pub arena_reserve: usize,
    /// Bytes of an arena that stay resident between tasks; the rest goes back
    /// to the kernel when its task ends.
    pub arena_keep: usize,
    /// Idle arenas (and stacks) kept.
    pub pool: usize,
}

impl Default for VmConfig {
    fn default() -> Self {
        Self { tasks: 4096, arena_reserve: 64 << 20, arena_keep: 256 << 10, pool: 256 }
    }
}

/// Where time stands, for one slice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    pub(crate) wall: Timestamp,
}
