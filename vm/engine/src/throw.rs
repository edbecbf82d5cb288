//! What a native returns when it has no value: an exception, a trap, or a
//! request to the interpreter (coerce an argument, call something in its place).

use crate::api::Trap;
use crate::value::Value;

/// The error constructors that the engine itself throws from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ErrorKind {
    Error,
    Type,
    Range,
    Syntax,
    Reference,
    Uri,
    Eval,
    Aggregate,
}

impl ErrorKind {
    pub(crate) const ALL: [ErrorKind; 8] = [
        Self::Error,
        Self::Type,
        Self::Range,
        Self::Syntax,
        Self::Reference,
        Self::Uri,
        Self::Eval,
        Self::Aggregate,
    ];
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Error => "Error",
            Self::Type => "TypeError",
            Self::Range => "RangeError",
            Self::Syntax => "SyntaxError",
            Self::Reference => "ReferenceError",
            Self::Uri => "URIError",
            Self::Eval => "EvalError",
            Self::Aggregate => "AggregateError",
        }
    }
}

/// Which primitive is preferred when an object is coerced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hint {
    Default,
    Number,
    String,
}

/// Why there is no value.
#[derive(Debug)]
pub(crate) enum Throw {
    /// An exception: catchable.
    Value(Value),
    /// An exception still to be made: the interpreter adds the stack.
    Error(ErrorKind, Box<str>),
    /// The task ends.
    Trap(Trap),
    /// Argument `.0` (0 is `this`) is an object where a primitive is needed: the
    /// interpreter converts it in place (calling its methods) and calls the native
    /// again. So a native coerces all arguments before its first side effect.
    Coerce(u32, Hint),
    /// Call `ctx.tail` (callee, this, arguments) instead; its result is the native's.
    TailCall,
    /// The slice is over in the middle of a native: it is called again with the same arguments when the task goes on,
    /// and finds what it has left in `ctx.resumed`, if anything ([`crate::ctx::Ctx::yields`]).
    Again,
    /// The native calls a function step by step; its window is filled in (steps.rs).
    Steps(crate::steps::Steps),
    /// A generator goes on: `this` is the generator, the first argument what it gets. An async one answers with a
    /// promise at once.
    Resume { how: crate::generator::How, asynchronous: bool },
    /// Park on this host function with the arguments in `ctx.tail`; its result is the native's.
    Effect(forebay_bytecode::HostFn),
}

impl Throw {
    pub(crate) fn type_error(message: impl Into<Box<str>>) -> Self {
        Self::Error(ErrorKind::Type, message.into())
    }
    pub(crate) fn range_error(message: impl Into<Box<str>>) -> Self {
        Self::Error(ErrorKind::Range, message.into())
    }
    pub(crate) fn reference_error(message: impl Into<Box<str>>) -> Self {
        Self::Error(ErrorKind::Reference, message.into())
    }
    pub(crate) fn syntax_error(message: impl Into<Box<str>>) -> Self {
        Self::Error(ErrorKind::Syntax, message.into())
    }
}
