//! map, filter, reduce and their like over plain arrays: natives that call a function for each
//! element (steps.rs). What isn't a plain array, or no closure, goes to the siblings in js/array.js.

use super::array::general;
use super::{Kind, Native};
use crate::ctx::{Args, Ctx};
use crate::heap::kind;
use crate::mem::Mem;
use crate::object::{Get, Key};
use crate::steps::{RESULT, Step, Steps, WINDOW_MAX};
use crate::throw::Throw;
use crate::value::{Ref, Value};

const fn method(name: &'static str, call: super::NativeFn) -> Native {
    Native { on: "Array.prototype", name, length: 1, call, kind: Kind::Method }
}

pub(crate) const NATIVES: &[Native] = &[
    method("every", |c, a| start(c, a, Steps::Every)),
    method("filter", |c, a| start(c, a, Steps::Filter)),
    method("find", |c, a| start(c, a, Steps::Find)),
    method("findIndex", |c, a| start(c, a, Steps::FindIndex)),
    method("findLast", |c, a| start(c, a, Steps::FindLast)),
    method("findLastIndex", |c, a| start(c, a, Steps::FindLastIndex)),
    method("forEach", |c, a| start(c, a, Steps::ForEach)),
    method("map", |c, a| start(c, a, Steps::Map)),
    method("reduce", |c, a| start(c, a, Steps::Reduce)),
    method("reduceRight", |c, a| start(c, a, Steps::ReduceRight)),
    method("some", |c, a| start(c, a, Steps::Some)),
];

// The window: `this` and the function stand at 0 and 1.
/// thisArg; of reduce, what there is so far.
const EXTRA: usize = 2;
/// Elements that are done with.
const COUNT: usize = 3;
const LEN: usize = 4;
/// The array that map and filter fill.
const TARGET: usize = 5;
/// The element that the function is called with; EMPTY: a getter is called for it.
const ELEMENT: usize = 6;
pub(crate) const LAST: u32 = 7;
const CALLEE: usize = LAST as usize + 1;
/// What a quick step reads and writes of the window and the call's behind it.
const QUICK: usize = CALLEE + 6;
/// Holes between two looks at the fuel.
const HOLES: u32 = 1024;

fn start(ctx: &mut Ctx<'_>, a: Args, steps: Steps) -> Result<Value, Throw> {
    let (this, callback) = (ctx.this(a), ctx.arg(a, 0));
    let Some((r, len)) = ctx.plain_array(this) else { return general(ctx, a) };
    if !ctx.is_kind(callback, kind::CLOSURE) {
        return general(ctx, a);
    }
    let (mut extra, mut count, mut target) = (ctx.arg(a, 1), 0, Value::UNDEFINED);
    match steps {
        Steps::Map | Steps::Filter if !ctx.is_ordinary(r) => return general(ctx, a),
        Steps::Map => target = ctx.new_array(len.min(1 << 16))?.object(),
        Steps::Filter => target = ctx.new_array(0)?.object(),
        Steps::Reduce | Steps::ReduceRight if a.count < 2 => {
            let first = if steps == Steps::Reduce { Some(0) } else { len.checked_sub(1) };
            let Some(v) = first.filter(|i| *i < len).and_then(|i| ctx.dense_element(r, i)) else {
                return general(ctx, a);
            };
            (extra, count) = (v, 1);
        }
        _ => {}
    }
    ctx.ensure_stack(a.base + WINDOW_MAX)?;
    let own = [
        this,
        callback,
        extra,
        Value::from_u32(count),
        Value::from_u32(len),
        target,
        Value::UNDEFINED,
        Value::EMPTY,
    ];
    ctx.stack[a.base..=a.base + RESULT].copy_from_slice(&own);
    Err(Throw::Steps(steps))
}

/// The next step where the next element is simply there and the result needs no room: nothing else changes.
#[expect(clippy::cast_sign_loss, reason = "tested before")]
pub(crate) fn quick_step(ctx: &mut Ctx<'_>, steps: Steps, base: usize, v: Value) -> Option<u16> {
    let window: &mut [Value; QUICK] = ctx.stack.get_mut(base..base + QUICK)?.try_into().ok()?;
    let (this, count, len) = (window[0], window[COUNT], window[LEN]);
    if !this.is_object() || !Value::both_int(count, len) || window[ELEMENT].is_empty() {
        return None;
    }
    let count = count.as_int();
    if count < 0 || count >= len.as_int() - 1 {
        return None;
    }
    let place = count + 1;
    let element = ctx.mem.dense_element(this.as_ref(), place as u32)?;
    match steps {
        Steps::Map => quick_push(&mut ctx.mem, window[TARGET], v, Some(count as u32))?,
        Steps::Filter if v == Value::FALSE => {}
        Steps::Filter if v == Value::TRUE => {
            quick_push(&mut ctx.mem, window[TARGET], window[ELEMENT], None)?;
        }
        Steps::ForEach => {}
        Steps::Every if v == Value::TRUE => {}
        Steps::Some | Steps::Find | Steps::FindIndex if v == Value::FALSE => {}
        Steps::Reduce => {
            window[EXTRA] = v;
            window[COUNT] = Value::int(place);
            window[ELEMENT] = element;
            [window[CALLEE + 2], window[CALLEE + 3], window[CALLEE + 4]] = [v, element, Value::int(place)];
            (window[CALLEE + 1], window[CALLEE + 5]) = (Value::UNDEFINED, this);
            return Some(4);
        }
        _ => return None,
    }
    window[COUNT] = Value::int(place);
    window[ELEMENT] = element;
    [window[CALLEE + 2], window[CALLEE + 3], window[CALLEE + 4]] = [element, Value::int(place), this];
    window[CALLEE + 1] = window[EXTRA];
    Some(3)
}

/// Appends to an array that has room, where its length is `at`, if that is given.
#[inline]
fn quick_push(mem: &mut Mem<'_>, target: Value, v: Value, at: Option<u32>) -> Option<()> {
    if !mem.is_kind(target, kind::ARRAY) || target.as_ref().space() != mem.heap.own() {
        return None;
    }
    let len = mem.array_len(target.as_ref());
    if at.is_some_and(|at| at != len) {
        return None;
    }
    mem.push_in_place(target.as_ref(), len, v).then_some(())
}

/// The next step; `v` is what the function has returned for ELEMENT, or a getter as the element; EMPTY: neither.
pub(crate) fn step(ctx: &mut Ctx<'_>, steps: Steps, base: usize, v: Value) -> Result<Step, Throw> {
    let window = &ctx.stack[base..base + CALLEE];
    let (this, callback, mut extra) = (window[0], window[1], window[EXTRA]);
    let (element, target) = (window[ELEMENT], window[TARGET]);
    let len = window[LEN].as_index().unwrap_or(0);
    let mut count = window[COUNT].as_index().unwrap_or(len);
    if !this.is_object() {
        return Err(Throw::type_error("not an object"));
    }
    let r = this.as_ref();
    let backwards = matches!(steps, Steps::FindLast | Steps::FindLastIndex | Steps::ReduceRight);
    let index = |count: u32| if backwards { len - 1 - count } else { count };
    let mut got = None;
    if !v.is_empty() && count < len {
        if element.is_empty() {
            got = Some(v);
        } else {
            match steps {
                Steps::Map => put(ctx, target, count, v)?,
                Steps::Filter if ctx.truthy(v) => {
                    let at = filled_array(ctx, target)?;
                    ctx.mem.array_push(at, element)?;
                }
                Steps::Some if ctx.truthy(v) => return Ok(Step::Done(Value::TRUE)),
                Steps::Every if !ctx.truthy(v) => return Ok(Step::Done(Value::FALSE)),
                Steps::Find | Steps::FindLast if ctx.truthy(v) => return Ok(Step::Done(element)),
                Steps::FindIndex | Steps::FindLastIndex if ctx.truthy(v) => {
                    return Ok(Step::Done(Value::from_u32(index(count))));
                }
                Steps::Reduce | Steps::ReduceRight => {
                    extra = v;
                    ctx.stack[base + EXTRA] = v;
                }
                _ => {}
            }
            count += 1;
        }
    }
    let element = loop {
        if count >= len {
            return end(ctx, steps, target, extra, len).map(Step::Done);
        }
        if let Some(v) = got.or_else(|| ctx.mem.dense_element(r, index(count))) {
            break v;
        }
        match other_element(ctx, steps, r, index(count))? {
            Some(Get::Value(v)) => break v,
            Some(Get::Getter(getter)) => {
                ctx.stack[base + COUNT] = Value::from_u32(count);
                ctx.stack[base + ELEMENT] = Value::EMPTY;
                return Ok(Step::Get(getter));
            }
            None => count += 1,
        }
        ctx.heap.work += 1;
        if count.is_multiple_of(HOLES) && ctx.slice_over() {
            ctx.stack[base + COUNT] = Value::from_u32(count);
            return Ok(Step::Pause);
        }
    };
    let place = Value::from_u32(index(count));
    let window = &mut ctx.stack[base..base + WINDOW_MAX];
    window[COUNT] = Value::from_u32(count);
    window[ELEMENT] = element;
    window[CALLEE] = callback;
    if matches!(steps, Steps::Reduce | Steps::ReduceRight) {
        window[CALLEE + 1..CALLEE + 6].copy_from_slice(&[Value::UNDEFINED, extra, element, place, this]);
        Ok(Step::Call(4))
    } else {
        window[CALLEE + 1..CALLEE + 5].copy_from_slice(&[extra, element, place, this]);
        Ok(Step::Call(3))
    }
}

/// An element that isn't simply there; none where the function isn't called for it.
#[cold]
fn other_element(ctx: &mut Ctx<'_>, steps: Steps, r: Ref, index: u32) -> Result<Option<Get>, Throw> {
    let key = Key::Index(index);
    let finds = matches!(steps, Steps::Find | Steps::FindIndex | Steps::FindLast | Steps::FindLastIndex);
    if finds || ctx.mem.has(r, key)? { ctx.mem.get(r, key).map(Some) } else { Ok(None) }
}

/// The array that is filled: the task's own, whatever a snapshot says.
fn filled_array(ctx: &Ctx<'_>, target: Value) -> Result<Ref, Throw> {
    if ctx.is_kind(target, kind::ARRAY) && target.as_ref().space() == ctx.heap.own() {
        Ok(target.as_ref())
    } else {
        Err(Throw::type_error("not an array"))
    }
}

fn put(ctx: &mut Ctx<'_>, target: Value, index: u32, v: Value) -> Result<(), Throw> {
    let at = filled_array(ctx, target)?;
    if ctx.array_len(at) == index {
        ctx.mem.array_push(at, v)
    } else {
        ctx.mem.define_data(at, Key::Index(index), v)
    }
}

fn end(ctx: &mut Ctx<'_>, steps: Steps, target: Value, extra: Value, len: u32) -> Result<Value, Throw> {
    Ok(match steps {
        Steps::Map => {
            let at = filled_array(ctx, target)?;
            ctx.set_array_length(at, Value::from_u32(len))?;
            target
        }
        Steps::Filter => target,
        Steps::Some => Value::FALSE,
        Steps::Every => Value::TRUE,
        Steps::FindIndex | Steps::FindLastIndex => Value::int(-1),
        Steps::Reduce | Steps::ReduceRight => extra,
        _ => Value::UNDEFINED,
    })
}
