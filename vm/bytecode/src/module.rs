//! What a front end produces and an engine loads: one [`Module`] per blueprint
//! file, the files that it imports compiled into it.
//!
//! ```text
//! Module
//!  +- files      names and texts, for code frames and stack traces
//!  +- constants  numbers, strings (property keys are interned here), data
//!  +- sites      property sites of all functions: the key's constant
//!  +- slots      module variables, by name
//!  +- functions  code, captures, handlers, positions, names
//!  +- init       runs once at load (top level of all files, imports first)
//!  +- works      what the work() chains declare: routes, limits, handlers
//! ```
//!
//! A module that came from a file or from a front end is only a claim:
//! `verify` makes it a [`crate::Verified`], and only that reaches an engine.

use crate::opcode::Instr;

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Const {
    /// A Number; compared by its bits when constants are pooled.
    Number(f64),
    /// A string.
    Str(Box<str>),
    /// A BigInt: decimal digits, optional `-`.
    BigInt(Box<str>),
    /// An encoded value (docs/formats/value.md): a predicate for `%where`.
    Data(Box<[u8]>),
    /// The object that a tagged template passes to its function: one per template in the source. The parts are
    /// constants that stand before it, as the escapes mean them (if they mean something) and as they are written.
    Template(Box<[TemplatePart]>),
    /// A string that UTF-8 can't write, as it has half a surrogate pair: WTF-8.
    Wtf8(Box<[u8]>),
    /// The private name (`#x`) of a class that a task evaluates at most once.
    Private(Box<str>),
    /// The namespace object of a file (ECMA-262 10.4.6), which stands in a module variable, too.
    Namespace {
        /// That variable.
        slot: u32,
        /// What the file exports, in the order of the names' UTF-16 code units.
        exports: Box<[NamespaceExport]>,
    },
}

/// A property of a namespace object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamespaceExport {
    /// A string constant that stands before, and spells no array index.
    pub name: u32,
    /// The module variable that it shows.
    pub slot: u32,
}

/// The text between two `${}` of a tagged template: string constants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TemplatePart {
    /// With its escapes replaced; none if one of them is invalid.
    pub cooked: Option<u32>,
    /// As it is written.
    pub raw: u32,
}

/// Whether bytes are WTF-8: UTF-8, but for surrogates that stand alone; a pair of two is one code point.
#[must_use]
pub fn is_wtf8(mut bytes: &[u8]) -> bool {
    let mut after_high = false;
    loop {
        let valid = match std::str::from_utf8(bytes) {
            Ok(_) => return true,
            Err(error) => error.valid_up_to(),
        };
        after_high &= valid == 0;
        match bytes[valid..] {
            [0xed, second @ 0xa0..=0xbf, 0x80..=0xbf, ..] => {
                let high = second < 0xb0;
                if after_high && !high {
                    return false;
                }
                after_high = high;
            }
            _ => return false,
        }
        bytes = &bytes[valid + 3..];
    }
}

/// Index of a function in its module.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FunctionIndex(pub u32);

/// What a closure takes from the frame that creates it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capture {
    /// The value in a register: a binding that never changes any more, or the
    /// cell of one that does.
    Register(u16),
    /// An upvalue of the creating function.
    Upvalue(u16),
}

/// Exceptions thrown at `start <= pc < end` continue at `target` with the
/// exception in `register`. The first entry that covers a pc counts: inner
/// ranges stand first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExceptionHandler {
    /// First instruction covered.
    pub start: u32,
    /// First instruction no longer covered.
    pub end: u32,
    /// Where execution goes on.
    pub target: u32,
    /// Register that receives the exception.
    pub register: u16,
}

/// From instruction `pc` on, the code comes from these bytes of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// First instruction.
    pub pc: u32,
    /// Index into [`Module::files`].
    pub file: u16,
    /// Byte offset in the file's text.
    pub start: u32,
    /// Byte offset behind the last byte.
    pub end: u32,
}

/// A register's name while it holds a variable (debuggers, durable frames).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalName {
    /// Constant with the name.
    pub name: u32,
    /// The register.
    pub register: u16,
    /// First instruction at which the name is right.
    pub start: u32,
    /// First instruction at which it no longer is.
    pub end: u32,
}

/// Properties of a function, as bits of [`Function::flags`].
pub mod function_flags {
    /// Calling it makes a promise and a fiber.
    pub const ASYNC: u16 = 1;
    /// An arrow: no own `this` (captured as an upvalue where it is used), not a constructor.
    pub const ARROW: u16 = 2;
    /// Runs at load: may use SetModule and SetHandler, may not call the host.
    pub const INIT: u16 = 4;
    /// A method or accessor of an object literal: not a constructor.
    pub const METHOD: u16 = 8;
    /// The body of a script-style blueprint.
    pub const SCRIPT: u16 = 16;
    /// It mentions `arguments`: the register behind the parameters receives the arguments object.
    pub const ARGUMENTS: u16 = 64;
    /// A generator: its code runs `StartGenerator` before it may `Yield`. Not a constructor.
    pub const GENERATOR: u16 = 128;
    /// The constructor of a class: only `new` and `super` may call it, its `this` is the marker of
    /// `LoadEmpty` until its code makes it, and it receives `new.target`.
    pub const CLASS: u16 = 256;
    /// Receives `new.target` in the register behind its parameters: undefined where it is called without `new`.
    pub const NEW_TARGET: u16 = 512;
}

/// One function.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Function {
    /// Constant with its name (the empty string for anonymous ones).
    pub name: u32,
    /// [`function_flags`].
    pub flags: u16,
    /// What its `length` property says: parameters before the first default or rest.
    pub length: u16,
    /// Registers `1 ..= parameters` receive arguments.
    pub parameters: u16,
    /// Register that receives the surplus arguments as an array; if present, it
    /// is `parameters + 1`.
    pub rest: Option<u16>,
    /// Size of the register window, `this` included: 1 <= registers.
    pub registers: u16,
    /// What `Closure` captures; upvalue i is `captures[i]`.
    pub captures: Vec<Capture>,
    /// Sites of this function: `sites[site_base .. site_base + site_count]`.
    pub site_base: u32,
    /// Number of sites, at most 65,536.
    pub site_count: u32,
    /// The code; the last instruction never falls through.
    pub code: Vec<Instr>,
    /// Inner ranges first.
    pub handlers: Vec<ExceptionHandler>,
    /// By ascending pc.
    pub positions: Vec<Position>,
    /// Names of registers.
    pub locals: Vec<LocalName>,
}

impl Function {
    /// Register that receives the arguments object: the first behind the parameters and the rest parameter.
    #[must_use]
    pub fn arguments_register(&self) -> Option<u32> {
        let behind = 1 + u32::from(self.parameters) + u32::from(self.rest.is_some());
        (self.flags & function_flags::ARGUMENTS != 0).then_some(behind)
    }

    /// Register that receives `new.target`: behind the parameters, the rest parameter and the arguments object.
    #[must_use]
    pub fn new_target_register(&self) -> Option<u32> {
        let behind = 1
            + u32::from(self.parameters)
            + u32::from(self.rest.is_some())
            + u32::from(self.arguments_register().is_some());
        let wanted = self.flags & (function_flags::CLASS | function_flags::NEW_TARGET) != 0;
        wanted.then_some(behind)
    }

    /// Register that holds the generator object in its code: the one behind all of these.
    #[must_use]
    pub fn generator_register(&self) -> Option<u32> {
        let behind = 1
            + u32::from(self.parameters)
            + u32::from(self.rest.is_some())
            + u32::from(self.arguments_register().is_some())
            + u32::from(self.new_target_register().is_some());
        (self.flags & function_flags::GENERATOR != 0).then_some(behind)
    }
}

/// A source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Path relative to the app folder, with `/`.
    pub path: Box<str>,
    /// The text: code frames and stack traces are made from it.
    pub text: Box<str>,
}

/// What answers a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A function of the module (script style).
    Function(FunctionIndex),
    /// What `SetHandler` stored in this slot while the module loaded (handler style).
    Handler(u32),
    /// `file(path)`: a file, relative to the app's folder.
    File(Box<str>),
    /// `assets(dir)`: files below a folder; the route's pattern ends in `{*rest}`.
    Assets(Box<str>),
    /// `redirect(to, status)`.
    Redirect(Box<str>, u16),
}

/// A route of a work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Upper-case method.
    pub method: Box<str>,
    /// `/users/{id}`.
    pub pattern: Box<str>,
    /// What answers.
    pub action: Action,
    /// Where it is declared, for errors about conflicts.
    pub position: Position,
}

/// Budgets that a work sets for itself; absent ones come from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct WorkLimits {
    /// Canonical instructions.
    pub fuel: Option<u64>,
    /// `timeout("30s")`, milliseconds.
    pub wall_ms: Option<u64>,
    /// Arena bytes.
    pub memory: Option<u64>,
    /// Script calls in flight.
    pub stack_depth: Option<u64>,
    /// Fibers alive at once.
    pub fibers: Option<u64>,
    /// Effects in flight.
    pub effects: Option<u64>,
}

/// What a work's `work(...)` chain declares.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Work {
    /// `work("name")`.
    pub name: Box<str>,
    /// `version("1.5.0")`.
    pub version: Option<Box<str>>,
    /// Its routes.
    pub routes: Vec<Route>,
    /// Its budgets.
    pub limits: WorkLimits,
    /// `static("24h")`: max-age of its files, seconds.
    pub static_seconds: Option<u64>,
    /// `durable()`: its requests start durable tasks.
    pub durable: Option<Durable>,
}

/// What `durable({...})` and `retry(...)` say.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Durable {
    /// Names the task: text with `{name}` for parameters of the path. Absent: the header
    /// Idempotency-Key does, or chance.
    pub id: Option<Box<str>>,
    /// `retry(n, "1s")`.
    pub retry: Option<Retry>,
}

/// How often a durable task that threw is run again from its last suspension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often, at most.
    pub times: u32,
    /// Milliseconds before the first; doubled for each that follows.
    pub wait_ms: u64,
}

/// What a module's code can reach, as bits of [`Module::uses`]; a worker prepares
/// nothing else for its tasks. A bit may be set without need, never missing.
pub mod uses {
    /// `payload()`.
    pub const PAYLOAD: u32 = 1;
    /// `req`, or a handler with a parameter.
    pub const REQUEST: u32 = 2;
    /// `db()`.
    pub const DATABASE: u32 = 4;
    /// `kv.*`.
    pub const KV: u32 = 8;
    /// `http()`.
    pub const HTTP: u32 = 16;
}

/// One blueprint file, compiled.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Module {
    /// The blueprint first, then what it imports.
    pub files: Vec<SourceFile>,
    /// Constants; equal strings stand once.
    pub constants: Vec<Const>,
    /// Key (a string constant) of each property site.
    pub sites: Vec<u32>,
    /// Names (constants) of the module variables.
    pub slots: Vec<u32>,
    /// Number of handler slots that `init` fills.
    pub handler_slots: u32,
    /// All functions.
    pub functions: Vec<Function>,
    /// Runs once at load, without I/O.
    pub init: Option<FunctionIndex>,
    /// The works. Empty for a bare script (`forebay run`), whose body is `main`.
    pub works: Vec<Work>,
    /// The body of a script-style file.
    pub main: Option<FunctionIndex>,
    /// [`uses`].
    pub uses: u32,
}

#[cfg(test)]
mod tests {
    use super::is_wtf8;

    #[test]
    fn surrogates_stand_alone() {
        assert!(is_wtf8(b"abc") && is_wtf8("ä€😀".as_bytes()) && is_wtf8(b""));
        assert!(is_wtf8(b"\xed\xa0\x80") && is_wtf8(b"\xed\xb0\x80\xed\xa0\x80x"));
        assert!(is_wtf8(b"\xed\xa0\x80x\xed\xb0\x80"));
        assert!(!is_wtf8(b"\xed\xa0\x80\xed\xb0\x80"), "a pair is one code point");
        assert!(!is_wtf8(b"\xed\xa0") && !is_wtf8(b"\xff") && !is_wtf8(b"a\xc0\x80"));
    }
}
