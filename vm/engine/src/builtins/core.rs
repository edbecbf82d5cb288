//! Natives of Promise, and the helpers of core.js.

use super::{Kind, Native};
use crate::ctx::{Args, Ctx};
use crate::fiber::Job;
use crate::heap::kind;
use crate::known::Helper;
use crate::object::{Get, Key};
use crate::overlay::touched;
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
    method("Promise", "all", 1, promise_all),
    helper("allPart", 1, all_part),
    helper("promiseNew", 0, promise_new),
    helper("promiseFunctions", 1, promise_functions),
    helper("promiseThen", 4, promise_then),
    helper("promiseReject", 2, promise_settle),
    helper("promiseSettle", 2, settle_by),
    helper("promiseAdopt", 3, promise_adopt),
    helper("isPromise", 1, is_promise),
    helper("isConstructor", 1, is_constructor),
    helper("speciesOf", 2, species_of),
    Native { on: "Promise", name: "@@species", length: 0, call: species, kind: Kind::Getter },
    method("Error", "isError", 1, is_error),
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

/// Index of what `Promise.all` hands to its promises.
pub(crate) fn all_part_index() -> u32 {
    static INDEX: OnceLock<u32> = OnceLock::new();
    *INDEX.get_or_init(|| super::native_index("allPart", all_part))
}

/// `new Promise(executor)`: `own_value` is the self-hosted part, which calls the executor.
fn promise_constructor(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    if !a.construct {
        return Err(Throw::type_error("Promise constructor cannot be invoked without 'new'"));
    }
    let (script, executor) = (ctx.own_value(), ctx.arg(a, 0));
    if !ctx.is_callable(executor) {
        let text = ctx.mem.show(executor)?;
        return Err(Throw::type_error(format!("Promise resolver {text} is not a function")));
    }
    let promise = ctx.mem.new_promise()?;
    let promise = ctx.made(a, promise)?;
    ctx.tail_call(script, Value::UNDEFINED, &[promise, executor])
}

/// Runs the sibling in js/promise.js instead.
fn general(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (callee, this, args) = (ctx.own_value(), ctx.this(a), ctx.args(a).to_vec());
    ctx.tail_call(callee, this, &args)
}

/// `get [Symbol.species]` of constructors.
pub(crate) fn species(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(ctx.this(a))
}

fn is_promise(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::bool(ctx.is_kind(ctx.arg(a, 0), kind::PROMISE)))
}

fn is_constructor(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::bool(ctx.is_constructor(ctx.arg(a, 0))))
}

fn is_error(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::bool(ctx.is_kind(ctx.arg(a, 0), kind::ERROR)))
}

/// `speciesOf(promise, fallback)`: SpeciesConstructor.
fn species_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    if ctx.is_plain_promise(ctx.arg(a, 0))? { Ok(ctx.arg(a, 1)) } else { general(ctx, a) }
}

/// `promiseThen(promise, onFulfilled, onRejected, target)`: without a target its result is dropped.
fn promise_then(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let promise = promise_arg(ctx, a)?;
    let target = if ctx.arg(a, 3).is_undefined() { Value::EMPTY } else { ctx.arg(a, 3) };
    let (fulfilled, rejected) = (ctx.arg(a, 1), ctx.arg(a, 2));
    ctx.then(promise, fulfilled, rejected, target)?;
    Ok(Value::UNDEFINED)
}

/// `promiseSettle(resolve, value)`: fulfils the promise of a resolve function without looking at the value.
fn settle_by(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 1);
    ctx.callee = ctx.arg(a, 0);
    if let Some(promise) = take_promise(ctx)? {
        ctx.settle(promise, v, false)?;
    }
    Ok(Value::UNDEFINED)
}

/// `promiseReject(promise, reason)`
fn promise_settle(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let promise = promise_arg(ctx, a)?;
    let reason = ctx.arg(a, 1);
    ctx.settle(promise, reason, true)?;
    Ok(Value::UNDEFINED)
}

/// `promiseAdopt(promise, value, then)`: the promise follows the thenable, or is fulfilled with it.
fn promise_adopt(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let promise = promise_arg(ctx, a)?;
    let (value, then) = (ctx.arg(a, 1), ctx.arg(a, 2));
    if ctx.is_callable(then) {
        ctx.task.jobs.push_back(Job::Thenable { target: promise, thenable: value, then });
    } else {
        ctx.settle(promise, value, false)?;
    }
    Ok(Value::UNDEFINED)
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
fn take_promise(ctx: &mut Ctx<'_>) -> Result<Option<Value>, Throw> {
    if !ctx.is_kind(ctx.callee, kind::NATIVE) {
        return Ok(None);
    }
    let cell = ctx.own_value();
    if !cell.is_cell() || ctx.mem.heap.kind(cell.as_ref()) != kind::VARIABLE {
        return Ok(None);
    }
    let promise = ctx.mem.heap.get(cell.as_ref(), 1);
    if !ctx.is_kind(promise, kind::PROMISE) {
        return Ok(None);
    }
    if cell.as_ref().space() != ctx.mem.heap.own() {
        // A module has made it: what all requests share doesn't change.
        ctx.mem.check_mutable(promise.as_ref())?;
    }
    ctx.mem.heap.set(cell.as_ref(), 1, Value::UNDEFINED);
    Ok(Some(promise))
}

fn resolver(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    match take_promise(ctx)? {
        Some(promise) => resolve_with(ctx, promise, v, Value::UNDEFINED),
        None => Ok(Value::UNDEFINED),
    }
}

/// Resolves; where `then` is an accessor a script has to run. The result is `result`, or undefined.
fn resolve_with(ctx: &mut Ctx<'_>, promise: Value, v: Value, result: Value) -> Result<Value, Throw> {
    if v.is_object() && v != promise && !ctx.is_plain_promise(v)? {
        let then = Key::Atom(ctx.mem.local.known.then);
        if let Get::Getter(_) = ctx.mem.get(v.as_ref(), then)? {
            let script = ctx.mem.local.known.helpers[Helper::ResolveByGetter as usize];
            return ctx.tail_call(script, Value::UNDEFINED, &[promise, v]);
        }
    }
    ctx.resolve(promise, v)?;
    Ok(result)
}

fn rejecter(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if let Some(promise) = take_promise(ctx)? {
        ctx.settle(promise, v, true)?;
    }
    Ok(Value::UNDEFINED)
}

fn then(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let this = ctx.this(a);
    if !ctx.is_kind(this, kind::PROMISE) {
        return Err(Throw::type_error("Promise.prototype.then called on a value that is no promise"));
    }
    if !ctx.is_plain_promise(this)? {
        return general(ctx, a);
    }
    let target = ctx.mem.new_promise()?;
    ctx.join_transaction(target);
    let (fulfilled, rejected) = (ctx.arg(a, 0), ctx.arg(a, 1));
    ctx.then(this, fulfilled, rejected, target)?;
    Ok(target)
}

fn promise_resolve(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if ctx.this(a) != ctx.mem.local.known.promise_constructor {
        return general(ctx, a);
    }
    if ctx.is_plain_promise(v)? {
        return Ok(v);
    }
    if v.is_object() {
        return general(ctx, a);
    }
    let promise = ctx.mem.new_promise()?;
    ctx.resolve(promise, v)?;
    Ok(promise)
}

fn promise_reject(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if ctx.this(a) != ctx.mem.local.known.promise_constructor {
        return general(ctx, a);
    }
    let promise = ctx.mem.new_promise()?;
    ctx.settle(promise, v, true)?;
    Ok(promise)
}

/// Elements beyond which `Promise.all` goes the way that can give way.
const ALL_MAX: u32 = 1024;

/// `Promise.all` of a list of promises and of values that are no objects, while nobody has changed what those
/// are: no script runs before the first reaction then, so nobody sees that there is no closure and no promise of
/// its `then` for each element.
fn promise_all(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let list = ctx.arg(a, 0);
    if ctx.this(a) != ctx.mem.local.known.promise_constructor || !waits_natively(ctx, list)? {
        return general(ctx, a);
    }
    let count = ctx.mem.array_len(list.as_ref());
    let promise = ctx.mem.new_promise()?;
    let values = ctx.mem.new_array(count)?.object();
    for _ in 0..count {
        ctx.mem.array_push(values.as_ref(), Value::UNDEFINED)?;
    }
    let shared = ctx.mem.new_array_of(&[promise, values, Value::from_u32(count)])?.object();
    let (_, reject) = ctx.resolving_functions(promise)?;
    for index in 0..count {
        let element = ctx.mem.dense_element(list.as_ref(), index).unwrap_or_default();
        let own = ctx.mem.new_array_of(&[shared, Value::from_u32(index)])?.object();
        let part = ctx.mem.new_native(all_part_index(), false, own)?;
        ctx.mem.heap.work += 32;
        if element.is_object() {
            ctx.then(element, part, reject, Value::EMPTY)?;
        } else {
            let job = Job::React { handler: part, value: element, target: Value::EMPTY, rejected: false };
            ctx.task.jobs.push_back(job);
        }
    }
    Ok(promise)
}

/// Whether [`promise_all`] knows what to do with each element of a list.
fn waits_natively(ctx: &mut Ctx<'_>, list: Value) -> Result<bool, Throw> {
    let touched = ctx.mem.heap.touched & (touched::PROMISE | touched::ELEMENTS);
    if !ctx.is_kind(list, kind::ARRAY) || touched != 0 || !ctx.is_plain_array(list)? {
        return Ok(false);
    }
    let count = ctx.mem.array_len(list.as_ref());
    if count == 0 || count > ALL_MAX {
        return Ok(false);
    }
    for index in 0..count {
        let fits = match ctx.mem.dense_element(list.as_ref(), index) {
            Some(v) if v.is_object() => {
                v.as_ref().space() == ctx.mem.heap.own() && ctx.is_plain_promise(v)?
            }
            Some(_) => true,
            None => false,
        };
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

/// An element of `Promise.all` is fulfilled. The own value is `[shared, index]`, shared by all elements is
/// `[promise, values, how many are left]`.
fn all_part(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    match take_part(ctx, ctx.callee, v)? {
        Some((promise, values)) => resolve_with(ctx, promise, values, Value::UNDEFINED),
        None => Ok(Value::UNDEFINED),
    }
}

/// Keeps the value of an element; the promise and all values if it was the last.
fn take_part(ctx: &mut Ctx<'_>, part: Value, v: Value) -> Result<Option<(Value, Value)>, Throw> {
    let own = ctx.mem.heap.get(part.as_ref(), 4);
    // A snapshot may hold anything.
    let item = |ctx: &Ctx<'_>, list: Value, at: u32| {
        let list = Some(list).filter(|list| ctx.is_kind(*list, kind::ARRAY))?;
        ctx.mem.dense_element(list.as_ref(), at)
    };
    let (Some(shared), Some(index)) = (item(ctx, own, 0), item(ctx, own, 1)) else { return Ok(None) };
    let (Some(promise), Some(values), Some(left)) =
        (item(ctx, shared, 0), item(ctx, shared, 1), item(ctx, shared, 2))
    else {
        return Ok(None);
    };
    let known = ctx.is_kind(promise, kind::PROMISE) && ctx.is_kind(values, kind::ARRAY);
    if !known || !index.is_int() || !left.is_int() || left.as_int() <= 0 {
        return Ok(None);
    }
    ctx.mem.define_data(values.as_ref(), Key::Index(index.as_int().cast_unsigned()), v)?;
    let left = left.as_int() - 1;
    ctx.mem.define_data(shared.as_ref(), Key::Index(2), Value::int(left))?;
    Ok((left == 0).then_some((promise, values)))
}

impl Ctx<'_> {
    /// Carries out the reaction of an element of `Promise.all`, if `handler` is one and no script has to run for it.
    pub(crate) fn react_part(&mut self, handler: Value, v: Value) -> Result<bool, Throw> {
        if !self.is_kind(handler, kind::NATIVE)
            || self.mem.heap.load(handler.as_ref(), 3) != u64::from(all_part_index())
            || self.mem.heap.touched & touched::PROMISE != 0
        {
            return Ok(false);
        }
        if let Some((promise, values)) = take_part(self, handler, v)? {
            self.resolve(promise, values)?;
        }
        Ok(true)
    }
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
    let key = Key::Atom(ctx.mem.local.known.prototype);
    let proto = ctx.mem.get_plain(callee.as_ref(), key)?;
    let aggregate = proto == ctx.mem.local.known.errors[ErrorKind::Aggregate as usize];
    let at = usize::from(aggregate);
    let message = if ctx.arg(a, at).is_undefined() { Value::UNDEFINED } else { ctx.str_arg(a, at)? };
    let options = ctx.arg(a, at + 1);
    let made = ctx.new_proto(a, proto)?;
    let error = ctx.mem.new_error_object(made, message)?;
    let known = ctx.mem.local.known;
    let mut left = Value::UNDEFINED;
    if options.is_object() && ctx.mem.has(options.as_ref(), Key::Atom(known.cause))? {
        match ctx.mem.get(options.as_ref(), Key::Atom(known.cause))? {
            Get::Value(cause) => {
                ctx.mem.add_property(error.as_ref(), known.cause, cause, crate::shape::attr::HIDDEN)?;
            }
            Get::Getter(_) => left = options,
        }
    }
    ctx.capture_stack(error)?;
    if aggregate || !left.is_undefined() {
        let script = known.helpers[Helper::FinishError as usize];
        let errors = ctx.arg(a, 0);
        return ctx.tail_call(script, Value::UNDEFINED, &[error, left, errors, Value::bool(aggregate)]);
    }
    Ok(error)
}
