//! The error constructors. The objects themselves, with stacks, are made in ../error.rs.

use super::{Kind, Native};
use crate::ctx::{Args, Ctx};
use crate::heap::kind;
use crate::object::{Get, Key};
use crate::shape::attr;
use crate::throw::{ErrorKind, Throw};
use crate::value::Value;

const fn constructor(name: &'static str, length: u8, call: super::NativeFn) -> Native {
    Native { on: "", name, length, call, kind: Kind::Constructor(name) }
}

pub(crate) const NATIVES: &[Native] = &[
    constructor("Error", 1, |c, a| construct(c, a, ErrorKind::Error)),
    constructor("TypeError", 1, |c, a| construct(c, a, ErrorKind::Type)),
    constructor("RangeError", 1, |c, a| construct(c, a, ErrorKind::Range)),
    constructor("SyntaxError", 1, |c, a| construct(c, a, ErrorKind::Syntax)),
    constructor("ReferenceError", 1, |c, a| construct(c, a, ErrorKind::Reference)),
    constructor("URIError", 1, |c, a| construct(c, a, ErrorKind::Uri)),
    constructor("EvalError", 1, |c, a| construct(c, a, ErrorKind::Eval)),
    constructor("AggregateError", 2, construct_aggregate),
    Native { on: "", name: "newAggregate", length: 3, call: new_aggregate, kind: Kind::Helper },
    Native { on: "Error", name: "isError", length: 1, call: is_error, kind: Kind::Method },
];

/// `name` and `message` of the prototypes.
pub(crate) const STRINGS: &[(&str, &str, &str)] = &[
    ("Error.prototype", "name", "Error"),
    ("Error.prototype", "message", ""),
    ("TypeError.prototype", "name", "TypeError"),
    ("TypeError.prototype", "message", ""),
    ("RangeError.prototype", "name", "RangeError"),
    ("RangeError.prototype", "message", ""),
    ("SyntaxError.prototype", "name", "SyntaxError"),
    ("SyntaxError.prototype", "message", ""),
    ("ReferenceError.prototype", "name", "ReferenceError"),
    ("ReferenceError.prototype", "message", ""),
    ("URIError.prototype", "name", "URIError"),
    ("URIError.prototype", "message", ""),
    ("EvalError.prototype", "name", "EvalError"),
    ("EvalError.prototype", "message", ""),
    ("AggregateError.prototype", "name", "AggregateError"),
    ("AggregateError.prototype", "message", ""),
];

/// An error of a kind with the message and the options at arguments `at` and `at + 1`.
fn make(ctx: &mut Ctx<'_>, a: Args, of: ErrorKind, at: usize) -> Result<Value, Throw> {
    let message = if ctx.arg(a, at).is_undefined() { Value::UNDEFINED } else { ctx.str_arg(a, at)? };
    let proto = ctx.local.known.errors[of as usize];
    let error = ctx.mem.new_error_object(proto, message)?;
    let options = ctx.arg(a, at + 1);
    if options.is_object() {
        let cause = ctx.local.known.cause;
        if ctx.mem.has(options.as_ref(), Key::Atom(cause))?
            && let Get::Value(v) = ctx.mem.get(options.as_ref(), Key::Atom(cause))?
        {
            ctx.mem.add_property(error.as_ref(), cause, v, attr::HIDDEN)?;
        }
    }
    ctx.capture_stack(error)?;
    Ok(error)
}

fn construct(ctx: &mut Ctx<'_>, a: Args, of: ErrorKind) -> Result<Value, Throw> {
    make(ctx, a, of, 0)
}

/// Its list comes from an iterable: js/errors.js reads it.
fn construct_aggregate(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (callee, args) = (ctx.own_value(), ctx.args(a).to_vec());
    ctx.tail_call(callee, Value::UNDEFINED, &args)
}

/// `newAggregate(list, message, options)`
fn new_aggregate(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let error = make(ctx, a, ErrorKind::Aggregate, 1)?;
    let (name, list) = (ctx.local.known.errors_name, ctx.arg(a, 0));
    ctx.mem.add_property(error.as_ref(), name, list, attr::HIDDEN)?;
    Ok(error)
}

fn is_error(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::bool(ctx.is_kind(ctx.arg(a, 0), kind::ERROR)))
}
