//! What the self-hosted builtins (js/*.js) are built on: operations of ECMA-262 that the
//! language has no operator for. Not reachable by scripts.

use super::{Kind, Native};
use crate::ctx::{Args, Ctx};
use crate::heap::kind;
use crate::mem::Mem;
use crate::object::{Descriptor, Key, Keys, Own, flag};
use crate::shape::attr;
use crate::throw::{Hint, Throw};
use crate::value::{Ref, Value};

const fn helper(name: &'static str, length: u8, call: super::NativeFn) -> Native {
    Native { on: "", name, length, call, kind: Kind::Helper }
}

pub(crate) const NATIVES: &[Native] = &[
    helper("call", 2, call),
    helper("toObject", 1, to_object),
    helper("toLength", 1, to_length),
    helper("toInt", 1, to_int),
    helper("toKey", 1, to_key),
    helper("isArray", 1, is_array),
    helper("newArray", 1, new_array),
    helper("define", 3, define),
    helper("tryDefine", 3, try_define),
    helper("tryDelete", 2, try_delete),
    helper("defineOwn", 6, define_own),
    helper("ownKeys", 1, own_keys),
    helper("isEnumerable", 2, is_enumerable),
    helper("createFrom", 1, create_from),
    helper("show", 1, show_value),
    helper("objectToString", 1, object_to_string),
    helper("unbox", 1, unbox),
    helper("boxedKind", 1, boxed_kind),
    helper("sortByKeys", 2, sort_by_keys),
    helper(THROW_TYPE_ERROR, 0, throw_type_error),
    helper("functionPrototype", 0, function_prototype),
];

/// Under which the intrinsics find %ThrowTypeError%.
pub(crate) const THROW_TYPE_ERROR: &str = "throwTypeError";

/// %Function.prototype% is a function, too: of anything, undefined.
fn function_prototype(_: &mut Ctx<'_>, _: Args) -> Result<Value, Throw> {
    Ok(Value::UNDEFINED)
}

pub(crate) fn function_prototype_index() -> u32 {
    super::native_index("functionPrototype", function_prototype)
}

/// %ThrowTypeError% (ECMA-262 10.2.4.1).
fn throw_type_error(_: &mut Ctx<'_>, _: Args) -> Result<Value, Throw> {
    Err(Throw::type_error(
        "'caller', 'callee', and 'arguments' can't be read of functions and their arguments",
    ))
}

/// `call(f, this, ...args)`
fn call(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let args = ctx.args(a).get(2..).unwrap_or(&[]).to_vec();
    let (callee, this) = (ctx.arg(a, 0), ctx.arg(a, 1));
    ctx.tail_call(callee, this, &args)
}

/// ToObject.
fn to_object(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if v.is_object() { Ok(v) } else { ctx.mem.boxed(v) }
}

fn to_length(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let n = ctx.int_arg(a, 0)?;
    Ok(Value::number(n.clamp(0.0, 9_007_199_254_740_991.0)))
}

fn to_int(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::number(ctx.int_arg(a, 0)?))
}

/// ToPropertyKey, as a string or symbol.
fn to_key(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.primitive_arg(a, 0, Hint::String)?;
    if v.is_symbol() { Ok(v) } else { ctx.to_string(v) }
}

fn is_array(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::bool(ctx.is_kind(ctx.arg(a, 0), kind::ARRAY)))
}

/// `newArray(length)`: holes, room for them where that is sane.
fn new_array(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let len = ctx.arg(a, 0);
    let room = len.as_index().filter(|n| *n <= 1 << 16).unwrap_or(0);
    let array = ctx.mem.new_array(room)?;
    ctx.set_array_length(array, len)?;
    Ok(array.object())
}

/// The object that argument 0 is; TypeError otherwise.
fn object_arg(ctx: &Ctx<'_>, a: Args) -> Result<Ref, Throw> {
    let v = ctx.arg(a, 0);
    if v.is_object() { Ok(v.as_ref()) } else { Err(Throw::type_error("not an object")) }
}

/// CreateDataPropertyOrThrow.
fn define(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let key = ctx.key_arg(a, 1)?;
    let object = object_arg(ctx, a)?;
    let value = ctx.arg(a, 2);
    ctx.define_data(object, key, value)?;
    Ok(Value::UNDEFINED)
}

/// CreateDataProperty: whether it worked.
fn try_define(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    worked(define(ctx, a))
}

fn try_delete(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let key = ctx.key_arg(a, 1)?;
    let object = object_arg(ctx, a)?;
    worked(ctx.delete(object, key).map(Value::bool))
}

fn worked(result: Result<Value, Throw>) -> Result<Value, Throw> {
    match result {
        Ok(_) => Ok(Value::TRUE),
        Err(Throw::Error(..)) => Ok(Value::FALSE),
        Err(other) => Err(other),
    }
}

/// `defineOwn(object, key, flags, value, get, set)`; the flags are those of object.js.
fn define_own(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let key = ctx.key_arg(a, 1)?;
    let object = object_arg(ctx, a)?;
    let flags = ctx.arg(a, 2).as_index().unwrap_or(0);
    let given = |bit: u32, value: Value| (flags & bit != 0).then_some(value);
    let flag = |bit: u32, of: u32| (flags & bit != 0).then_some(flags & of != 0);
    let descriptor = Descriptor {
        value: given(8, ctx.arg(a, 3)),
        get: given(128, ctx.arg(a, 4)),
        set: given(256, ctx.arg(a, 5)),
        writable: flag(16, 1),
        enumerable: flag(32, 2),
        configurable: flag(64, 4),
    };
    ctx.mem.define_own(object, key, &descriptor)?;
    Ok(Value::UNDEFINED)
}

/// All own keys, symbols too, as an array.
fn own_keys(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let object = object_arg(ctx, a)?;
    ctx.mem.keys_array(object, Keys { strings: true, symbols: true, only_enumerable: false })
}

fn is_enumerable(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let key = ctx.key_arg(a, 1)?;
    let object = object_arg(ctx, a)?;
    Ok(Value::bool(match ctx.get_own(object, key)? {
        Own::None => false,
        Own::Data(_, attrs) | Own::Accessor(_, _, attrs) => attrs & attr::ENUMERABLE != 0,
    }))
}

/// OrdinaryObjectCreate.
fn create_from(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let proto = ctx.arg(a, 0);
    if !proto.is_object() && !proto.is_null() {
        let text = ctx.mem.show(proto)?;
        return Err(Throw::type_error(format!("Object prototype may only be an Object or null: {text}")));
    }
    Ok(ctx.new_plain(proto, 2)?.object())
}

/// A value for messages: never calls a script.
fn show_value(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    let text = ctx.mem.show(v)?;
    ctx.heap.new_string(text.as_bytes())
}

/// `Object.prototype.toString` without looking at Symbol.toStringTag.
fn object_to_string(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let tag = ctx.mem.builtin_tag(ctx.arg(a, 0));
    ctx.heap.new_string(format!("[object {tag}]").as_bytes())
}

/// Number, String, Boolean and BigInt objects as their primitives, for JSON: the first
/// two through ToNumber and ToString.
fn unbox(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if !ctx.is_kind(v, kind::BOXED) {
        return Ok(v);
    }
    let primitive = ctx.heap.get(v.as_ref(), 4);
    if primitive.is_number() {
        return Err(Throw::Coerce(1, Hint::Number));
    }
    if primitive.is_string() {
        return Err(Throw::Coerce(1, Hint::String));
    }
    Ok(if primitive.is_symbol() { v } else { primitive })
}

/// `number`, `string`, ... of an object that boxes one, else undefined.
fn boxed_kind(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if !ctx.is_kind(v, kind::BOXED) {
        return Ok(Value::UNDEFINED);
    }
    Ok(ctx.type_of(ctx.heap.get(v.as_ref(), 4)))
}

/// Elements that are sorted at once, and that a merge does between two looks at the fuel.
const SORT_BLOCK: u32 = 512;

/// `sortByKeys(list, keys)`: the list in the order of its keys (strings), stable: blocks, then merges from the
/// bottom up, in steps between which the slice may end. State: the order so far and room for the next one (arrays
/// of indexes), width of the runs that are in order (0: blocks are being sorted), and the merge's positions.
fn sort_by_keys(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (list, keys) = (ctx.arg(a, 0).as_ref(), ctx.arg(a, 1).as_ref());
    let len = ctx.array_len(list);
    let (mut from, mut to, mut at) = match ctx.progress().as_deref() {
        Some([from, to, positions @ ..]) => {
            let mut at = [0; 5];
            for (place, v) in at.iter_mut().zip(positions) {
                *place = v.as_index().unwrap_or(0);
            }
            (from.as_ref(), to.as_ref(), at)
        }
        _ => {
            let from = indexes(ctx, len)?;
            let to = indexes(ctx, len)?;
            (from, to, [0; 5])
        }
    };
    loop {
        let [width, ..] = at;
        if width == 0 {
            sort_block(ctx, keys, from, at[1], len)?;
            at[1] += SORT_BLOCK;
            if at[1] >= len {
                at = [SORT_BLOCK, 0, 0, SORT_BLOCK.min(len), 0];
            }
        } else if width >= len {
            break;
        } else {
            merge_step(ctx, keys, (from, to), &mut at, len);
            if at[4] == len {
                std::mem::swap(&mut from, &mut to);
                let width = width.saturating_mul(2);
                at = [width, 0, 0, width.min(len), 0];
            }
        }
        if len > SORT_BLOCK && ctx.slice_over() {
            let mut state = vec![from.object(), to.object()];
            state.extend(at.map(Value::from_u32));
            return Err(ctx.yields(&state));
        }
    }
    let sorted = ctx.new_array(len)?;
    for i in 0..len {
        let index = ctx.dense_element(from, i).and_then(Value::as_index).unwrap_or(0);
        let v = ctx.dense_element(list, index).unwrap_or_default();
        ctx.mem.array_push(sorted, v)?;
    }
    Ok(sorted.object())
}

/// `[0, 1, ... len - 1]`
fn indexes(ctx: &mut Ctx<'_>, len: u32) -> Result<Ref, Throw> {
    let array = ctx.new_array(len)?;
    for i in 0..len {
        ctx.mem.array_push(array, Value::from_u32(i))?;
    }
    ctx.heap.work += u64::from(len) / 16;
    Ok(array)
}

/// Sorts one block of indexes by their keys, which are flat afterwards.
fn sort_block(ctx: &mut Ctx<'_>, keys: Ref, order: Ref, start: u32, len: u32) -> Result<(), Throw> {
    let end = len.min(start + SORT_BLOCK);
    let mut block: Vec<(Value, u32)> = Vec::with_capacity(SORT_BLOCK as usize);
    for i in start..end {
        let key = ctx.dense_element(keys, i).unwrap_or(ctx.local.known.empty);
        let flat = ctx.heap.flat(key)?;
        if flat != key {
            let cell = ctx.elements(keys);
            ctx.heap.set(cell, 1 + i, flat);
        }
        block.push((flat, i));
    }
    let heap = &ctx.mem.heap;
    block.sort_by(|x, y| super::text::compare(heap.str_bytes(x.0), heap.str_bytes(y.0)));
    let cell = ctx.elements(order);
    for (place, (_, index)) in (start..end).zip(block) {
        ctx.heap.set(cell, 1 + place, Value::from_u32(index));
    }
    ctx.heap.work += u64::from(end - start) * 16;
    Ok(())
}

/// Merges some elements of two runs; `at`: width, start of the left run, left, right, next place.
fn merge_step(ctx: &mut Ctx<'_>, keys: Ref, (from, to): (Ref, Ref), at: &mut [u32; 5], len: u32) {
    let [width, mut start, mut left, mut right, mut place] = *at;
    let (source, target, texts) = (ctx.elements(from), ctx.elements(to), ctx.elements(keys));
    let heap = &mut *ctx.mem.heap;
    for _ in 0..SORT_BLOCK * 4 {
        let (middle, end) = (start.saturating_add(width).min(len), start.saturating_add(width * 2).min(len));
        if place == end {
            if place == len {
                break;
            }
            start = end;
            left = end;
            right = end.saturating_add(width).min(len);
            continue;
        }
        let take_left = left < middle
            && (right >= end || {
                let (x, y) = (heap.get(source, 1 + left), heap.get(source, 1 + right));
                let key = |v: Value| heap.get(texts, 1 + v.as_index().unwrap_or(0));
                super::text::compare(heap.str_bytes(key(x)), heap.str_bytes(key(y))).is_le()
            });
        let next = if take_left { &mut left } else { &mut right };
        let v = heap.get(source, 1 + *next);
        *next += 1;
        heap.set(target, 1 + place, v);
        place += 1;
    }
    heap.work += u64::from(SORT_BLOCK) * 16;
    *at = [width, start, left, right, place];
}

impl Mem<'_> {
    /// ToObject of a primitive.
    pub(crate) fn boxed(&mut self, v: Value) -> Result<Value, Throw> {
        let known = &self.local.known;
        let proto = if v.is_string() {
            known.string
        } else if v.is_number() {
            known.number
        } else if v.is_bool() {
            known.boolean
        } else if v.is_symbol() {
            known.symbol
        } else if v.is_bigint() {
            known.bigint
        } else {
            return Err(Throw::type_error("Cannot convert undefined or null to object"));
        };
        let boxed = self.new_object_of(kind::BOXED, proto, 1)?;
        self.heap.set(boxed, 4, v);
        Ok(boxed.object())
    }

    /// Own keys as an array of strings and symbols.
    pub(crate) fn keys_array(&mut self, object: Ref, which: Keys) -> Result<Value, Throw> {
        let mut keys = Vec::new();
        self.own_keys(object, which, &mut keys)?;
        self.heap.check_room(keys.len() * 8)?;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(self.key_value(key)?);
        }
        Ok(self.new_array_of(&values)?.object())
    }

    /// A value for messages: short, without calling a script.
    pub(crate) fn show(&mut self, v: Value) -> Result<String, Throw> {
        if v.is_string() {
            let text = self.heap.to_text(v)?;
            let short: String = text.chars().take(40).collect();
            let dots = if short.len() < text.len() { "..." } else { "" };
            return Ok(format!("\"{short}{dots}\""));
        }
        if v.is_symbol() {
            return self.symbol_text(v);
        }
        if v.is_object() {
            if self.is_callable(v) {
                let name = self.get_plain(v.as_ref(), Key::Atom(self.local.known.name))?;
                let name = if name.is_string() { self.heap.to_text(name)? } else { String::new() };
                return Ok(format!("function {name}"));
            }
            let tag = self.builtin_tag(v);
            return Ok(format!("#<{tag}>"));
        }
        let s = self.to_string(v)?;
        self.heap.to_text(s)
    }

    /// The builtinTag of `Object.prototype.toString`.
    pub(crate) fn builtin_tag(&self, v: Value) -> &'static str {
        if v.is_undefined() {
            return "Undefined";
        }
        if v.is_null() {
            return "Null";
        }
        if v.is_string() {
            return "String";
        }
        if v.is_number() {
            return "Number";
        }
        if v.is_bool() {
            return "Boolean";
        }
        match self.kind_of(v) {
            Some(kind::ARRAY) => "Array",
            Some(kind::CLOSURE | kind::NATIVE | kind::BOUND) => "Function",
            Some(kind::ERROR) => "Error",
            Some(kind::OBJECT) if self.heap.header(v.as_ref()) & flag::ARGUMENTS != 0 => "Arguments",
            Some(kind::DATE) => "Date",
            Some(kind::REGEXP) => "RegExp",
            Some(kind::BOXED) => self.builtin_tag(self.heap.get(v.as_ref(), 4)),
            _ => "Object",
        }
    }
}
