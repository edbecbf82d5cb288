//! Natives of Promise, and the helpers of core.js.

use super::{Kind, Native};
use crate::ctx::{Args, Ctx};
use crate::heap::kind;
use crate::throw::{ErrorKind, Throw};
use crate::value::Value;
use std::sync::OnceLock;

const fn helper(name: &'static str, length: u8, call: super::NativeFn) -> Native {
    Native { on: "", name, length, call, kind: Kind::Helper }
}

const fn method(on: &'static str, name: &'static str, length: u8, call: super::NativeFn) -> Native {
    Native { on, name, length, call, kind: Kind::Method }
}

const fn error(name: &'static str, number: u8) -> Native {
    let length = if number == 7 { 2 } else { 1 };
    Native { on: "", name, length, call: new_error, kind: Kind::ErrorConstructor(number) }
}

pub(crate) const NATIVES: &[Native] = &[
    Native {
        on: "",
        name: "Promise",
        length: 1,
        call: promise_constructor,
        kind: Kind::Constructor("promise"),
    },
    method("Promise.prototype", "then", 2, then),
    method("Promise", "resolve", 1, promise_resolve),
    method("Promise", "reject", 1, promise_reject),
    helper("promiseNew", 0, promise_new),
    helper("promiseFunctions", 1, promise_functions),
    helper("", 1, resolver),
    helper("", 1, rejecter),
    helper("push", 2, push),
    error("Error", 0),
    error("TypeError", 1),
    error("RangeError", 2),
    error("SyntaxError", 3),
    error("ReferenceError", 4),
    error("URIError", 5),
    error("EvalError", 6),
    error("AggregateError", 7),
];

/// Indexes of the functions that settle a promise.
pub(crate) fn resolver_indexes() -> (u32, u32) {
    static INDEXES: OnceLock<(u32, u32)> = OnceLock::new();
    *INDEXES.get_or_init(|| (super::native_index("", resolver), super::native_index("", rejecter)))
}

/// `new Promise(executor)`: `own_value` is the self-hosted part, which calls the executor.
fn promise_constructor(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    if !a.construct {
        return Err(Throw::type_error("Promise constructor cannot be invoked without 'new'"));
    }
    let (script, executor) = (ctx.own_value(), ctx.arg(a, 0));
    ctx.tail_call(script, Value::UNDEFINED, &[executor])
}

fn promise_new(ctx: &mut Ctx<'_>, _: Args) -> Result<Value, Throw> {
    ctx.mem.new_promise()
}

/// `promiseFunctions(promise)`: [resolve, reject].
fn promise_functions(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let promise = promise_arg(ctx, a)?;
    let (resolve, reject) = ctx.resolving_functions(promise)?;
    Ok(ctx.mem.new_array_of(&[resolve, reject])?.object())
}

fn promise_arg(ctx: &Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if ctx.is_kind(v, kind::PROMISE) { Ok(v) } else { Err(Throw::type_error("not a promise")) }
}

/// The promise that this function still may settle.
fn take_promise(ctx: &mut Ctx<'_>) -> Option<Value> {
    let cell = ctx.own_value();
    if !cell.is_cell() {
        return None;
    }
    let promise = ctx.mem.heap.get(cell.as_ref(), 1);
    ctx.mem.heap.set(cell.as_ref(), 1, Value::UNDEFINED);
    promise.is_object().then_some(promise)
}

fn resolver(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if let Some(promise) = take_promise(ctx) {
        ctx.resolve(promise, v)?;
    }
    Ok(Value::UNDEFINED)
}

fn rejecter(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if let Some(promise) = take_promise(ctx) {
        ctx.settle(promise, v, true)?;
    }
    Ok(Value::UNDEFINED)
}

fn then(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let this = ctx.this(a);
    if !ctx.is_kind(this, kind::PROMISE) {
        return Err(Throw::type_error("Promise.prototype.then called on a value that is no promise"));
    }
    let target = ctx.mem.new_promise()?;
    ctx.join_transaction(target);
    let (fulfilled, rejected) = (ctx.arg(a, 0), ctx.arg(a, 1));
    ctx.then(this, fulfilled, rejected, target)?;
    Ok(target)
}

fn promise_resolve(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if ctx.is_plain_promise(v)? {
        return Ok(v);
    }
    let promise = ctx.mem.new_promise()?;
    ctx.resolve(promise, v)?;
    Ok(promise)
}

fn promise_reject(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    let promise = ctx.mem.new_promise()?;
    ctx.settle(promise, v, true)?;
    Ok(promise)
}

fn push(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let list = ctx.arg(a, 0);
    ctx.literal_array(list)?;
    let v = ctx.arg(a, 1);
    ctx.mem.array_push(list.as_ref(), v)?;
    Ok(Value::UNDEFINED)
}

/// `new Error(message, {cause})` and its siblings; the callee's prototype is the error's.
fn new_error(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let callee = ctx.callee;
    let key = crate::object::Key::Atom(ctx.mem.local.known.prototype);
    let proto = ctx.mem.get_plain(callee.as_ref(), key)?;
    let aggregate = proto == ctx.mem.local.known.errors[ErrorKind::Aggregate as usize];
    let at = usize::from(aggregate);
    let message = if ctx.arg(a, at).is_undefined() { Value::UNDEFINED } else { ctx.str_arg(a, at)? };
    let options = ctx.arg(a, at + 1);
    let error = ctx.mem.new_error_object(proto, message)?;
    let known = ctx.mem.local.known;
    if options.is_object() && ctx.mem.has(options.as_ref(), crate::object::Key::Atom(known.cause))? {
        let cause = ctx.mem.get_plain(options.as_ref(), crate::object::Key::Atom(known.cause))?;
        ctx.mem.add_property(error.as_ref(), known.cause, cause, crate::shape::attr::HIDDEN)?;
    }
    if aggregate {
        let list = ctx.arg(a, 0);
        ctx.mem.add_property(error.as_ref(), known.errors_name, list, crate::shape::attr::HIDDEN)?;
    }
    ctx.capture_stack(error)?;
    Ok(error)
}
