//! Array: the cases in which `this` is an ordinary array and no script can notice how it is
//! done. The others are in js/array.js: each native that has a sibling there gets it as its own
//! value and calls it in its place.

use super::{Kind, Native};
use crate::ctx::{Args, Ctx};
use crate::heap::kind;
use crate::mem::Mem;
use crate::object::flag;
use crate::overlay::touched;
use crate::shape::EMPTY;
use crate::string::STRING_BYTES_MAX;
use crate::throw::Throw;
use crate::value::{Ref, Value};

const fn method(name: &'static str, length: u8, call: super::NativeFn) -> Native {
    Native { on: "Array.prototype", name, length, call, kind: Kind::Method }
}

pub(crate) const NATIVES: &[Native] = &[
    Native { on: "", name: "Array", length: 1, call: construct, kind: Kind::Constructor("array") },
    Native { on: "Array", name: "isArray", length: 1, call: is_array, kind: Kind::Method },
    method("at", 1, at),
    method("concat", 1, concat),
    method("fill", 1, fill),
    method("includes", 1, includes),
    method("indexOf", 1, index_of),
    method("join", 1, join),
    method("lastIndexOf", 1, last_index_of),
    method("pop", 0, pop),
    method("push", 1, push),
    method("reverse", 0, reverse),
    method("shift", 0, shift),
    method("slice", 2, slice),
    method("splice", 2, splice),
    method("unshift", 1, unshift),
    Native { on: "Array", name: "@@species", length: 0, call: super::core::species, kind: Kind::Getter },
    Native { on: "", name: "freshArray", length: 2, call: fresh_array, kind: Kind::Helper },
    Native { on: "", name: "arrayFor", length: 2, call: array_for, kind: Kind::Helper },
    Native { on: "", name: "plainIterable", length: 1, call: plain_iterable, kind: Kind::Helper },
];

impl Mem<'_> {
    /// Length of an array whose elements are dense and whose holes are undefined: an
    /// Array with the standard prototype.
    pub(super) fn plain_array(&self, v: Value) -> Option<(Ref, u32)> {
        if !self.is_kind(v, kind::ARRAY) {
            return None;
        }
        let r = v.as_ref();
        let plain = self.heap.header(r) & flag::SPARSE == 0
            && self.proto_of(r) == self.local.known.array
            && self.heap.touched & touched::ELEMENTS == 0;
        plain.then(|| (r, self.array_len(r)))
    }

    /// A plain array that may be changed in every way.
    pub(super) fn loose_array(&self, v: Value) -> Option<(Ref, u32)> {
        let (r, len) = self.plain_array(v)?;
        let free = self.heap.header(r) & (flag::NOT_EXTENSIBLE | flag::LENGTH_FIXED) == 0;
        (free && r.space() == self.heap.own()).then_some((r, len))
    }

    /// The elements that have a place: at most `len`, holes as HOLE.
    pub(super) fn places(&self, r: Ref, len: u32) -> &[Value] {
        let cell = self.elements(r);
        if cell.index() == 0 {
            return &[];
        }
        let capacity = (self.heap.header(cell) >> 32) as usize;
        self.heap.values(cell, 1, capacity.min(len as usize))
    }

    pub(super) fn places_mut(&mut self, r: Ref, len: u32) -> &mut [Value] {
        let cell = self.elements(r);
        if cell.index() == 0 {
            return &mut [];
        }
        let capacity = (self.heap.header(cell) >> 32) as usize;
        self.heap.values_mut(cell, 1, capacity.min(len as usize))
    }

    fn set_len(&mut self, r: Ref, len: u32) {
        self.heap.store(r, 3, u64::from(len));
    }
}

impl Ctx<'_> {
    /// Whether results of methods of this object are plain arrays: `constructor`, `Symbol.species` and
    /// `Symbol.isConcatSpreadable` are the built-in ones.
    pub(super) fn is_ordinary(&self, r: Ref) -> bool {
        self.mem.shape(r) == EMPTY && self.heap.touched & touched::SPECIES == 0
    }
}

/// `freshArray(o, len)`: an empty array with room for what a method of `o` makes; undefined where that must
/// be made and filled step by step.
fn fresh_array(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    match (ctx.plain_array(ctx.arg(a, 0)), ctx.arg(a, 1).as_index()) {
        (Some((r, _)), Some(len)) if ctx.is_ordinary(r) => Ok(ctx.new_array(len.min(1 << 16))?.object()),
        _ => Ok(Value::UNDEFINED),
    }
}

/// `arrayFor(o, len)`: ArraySpeciesCreate.
fn array_for(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (o, len) = (ctx.arg(a, 0), ctx.arg(a, 1));
    let standard = match ctx.plain_array(o) {
        Some((r, _)) => ctx.is_ordinary(r),
        None => !ctx.is_kind(o, kind::ARRAY),
    };
    if !standard {
        return general(ctx, a);
    }
    let room = len.as_index().filter(|n| *n <= 1 << 16).unwrap_or(0);
    let array = ctx.mem.new_array(room)?;
    ctx.set_array_length(array, len)?;
    Ok(array.object())
}

/// `plainIterable(v)`: iterating it shows no step to a script.
fn plain_iterable(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if ctx.is_kind(v, kind::ARRAY) {
        return Ok(Value::bool(ctx.is_plain_array(v)?));
    }
    Ok(Value::bool(v.is_string() && ctx.heap.touched & touched::ITERATION == 0))
}

pub(super) fn filled(v: Value) -> Value {
    if v.is_hole() { Value::UNDEFINED } else { v }
}

/// Runs the sibling in js/array.js instead.
pub(super) fn general(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (callee, this, args) = (ctx.own_value(), ctx.this(a), ctx.args(a).to_vec());
    ctx.tail_call(callee, this, &args)
}

/// A relative index, clamped to 0..=len.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
fn relative(n: f64, len: u32) -> u32 {
    let len = f64::from(len);
    (if n < 0.0 { (n + len).max(0.0) } else { n.min(len) }) as u32
}

fn relative_end(ctx: &mut Ctx<'_>, a: Args, i: usize, len: u32) -> Result<u32, Throw> {
    if ctx.arg(a, i).is_undefined() { Ok(len) } else { Ok(relative(ctx.int_arg(a, i)?, len)) }
}

fn construct(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let array = if a.count == 1 {
        let only = ctx.arg(a, 0);
        if only.is_number() {
            let array = ctx.new_array(0)?;
            ctx.set_array_length(array, only)?;
            array
        } else {
            ctx.new_array_of(&[only])?
        }
    } else {
        let items = ctx.args(a).to_vec();
        ctx.new_array_of(&items)?
    };
    ctx.made(a, array.object())
}

fn is_array(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::bool(ctx.is_kind(ctx.arg(a, 0), kind::ARRAY)))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
fn at(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let Some((r, len)) = ctx.plain_array(ctx.this(a)) else { return general(ctx, a) };
    let n = ctx.int_arg(a, 0)?;
    let i = if n < 0.0 { n + f64::from(len) } else { n };
    if i < 0.0 || i >= f64::from(len) {
        return Ok(Value::UNDEFINED);
    }
    Ok(ctx.places(r, len).get(i as usize).map_or(Value::UNDEFINED, |v| filled(*v)))
}

fn concat(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let mut all: Vec<Value> = Vec::new();
    for i in 0..=a.count {
        let item = if i == 0 { ctx.this(a) } else { ctx.arg(a, i - 1) };
        if !item.is_object() && i > 0 {
            all.push(item);
            continue;
        }
        let Some((r, len)) = ctx.plain_array(item) else { return general(ctx, a) };
        if ctx.places(r, len).len() != len as usize || !ctx.is_ordinary(r) {
            return general(ctx, a);
        }
        ctx.heap.check_room((all.len() + len as usize) * 8)?;
        ctx.heap.work += u64::from(len) / 16;
        all.extend_from_slice(ctx.places(r, len));
    }
    Ok(ctx.new_array_of(&all)?.object())
}

fn fill(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let Some((r, len)) = ctx.loose_array(ctx.this(a)) else { return general(ctx, a) };
    let start = relative(ctx.int_arg(a, 1)?, len);
    let end = relative_end(ctx, a, 2, len)?;
    let value = ctx.arg(a, 0);
    if start < end {
        ctx.heap.work += u64::from(end - start) / 16;
        ctx.grow_elements(r, end)?;
        ctx.places_mut(r, end)[start as usize..].fill(value);
    }
    Ok(ctx.this(a))
}

/// The first place from `from` on where `search` is, as `===` sees it (or SameValueZero).
fn find(
    ctx: &mut Ctx<'_>,
    r: Ref,
    len: u32,
    from: u32,
    search: Value,
    nan: bool,
) -> Result<Option<u32>, Throw> {
    let is_nan = nan && search.as_number().is_some_and(f64::is_nan);
    let count = u32::try_from(ctx.places(r, len).len()).unwrap_or(len);
    // State: the next element.
    let start = match ctx.progress().as_deref() {
        Some([at]) => at.as_index().unwrap_or(from),
        _ => from,
    };
    for i in start..count {
        if i % 8192 == 8191 {
            ctx.heap.work += 2048;
            if ctx.slice_over() {
                return Err(ctx.yields(&[Value::from_u32(i)]));
            }
        }
        let v = ctx.places(r, len)[i as usize];
        let same = if v == search {
            !v.is_double() || !v.as_double().is_nan() || is_nan
        } else if v.is_number() || v.is_string() || v.is_bigint() {
            ctx.strict_equals(v, search)?
        } else {
            nan && v.is_hole() && search.is_undefined()
        };
        if same {
            return Ok(Some(i));
        }
    }
    // Beyond the places there are only holes.
    Ok((nan && search.is_undefined() && from.max(count) < len).then_some(from.max(count)))
}

fn includes(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let Some((r, len)) = ctx.plain_array(ctx.this(a)) else { return general(ctx, a) };
    let from = if len == 0 { 0 } else { relative(ctx.int_arg(a, 1)?, len) };
    let search = ctx.arg(a, 0);
    Ok(Value::bool(find(ctx, r, len, from, search, true)?.is_some()))
}

fn index_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let Some((r, len)) = ctx.plain_array(ctx.this(a)) else { return general(ctx, a) };
    let from = if len == 0 { 0 } else { relative(ctx.int_arg(a, 1)?, len) };
    let search = ctx.arg(a, 0);
    Ok(find(ctx, r, len, from, search, false)?.map_or(Value::int(-1), Value::from_u32))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
fn last_index_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let Some((r, len)) = ctx.plain_array(ctx.this(a)) else { return general(ctx, a) };
    let from = if a.count > 1 && len > 0 { ctx.int_arg(a, 1)? } else { f64::from(len) };
    let from = if from < 0.0 { from + f64::from(len) } else { from.min(f64::from(len) - 1.0) };
    let search = ctx.arg(a, 0);
    ctx.heap.work += u64::from(len) / 8;
    if from < 0.0 {
        return Ok(Value::int(-1));
    }
    let end = ctx.places(r, len).len().min(from as usize + 1);
    for i in (0..end).rev() {
        let v = ctx.places(r, len)[i];
        if !v.is_hole() && ctx.strict_equals(v, search)? {
            return Ok(Value::from_usize(i));
        }
    }
    Ok(Value::int(-1))
}

fn join(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let Some((r, len)) = ctx.plain_array(ctx.this(a)) else { return general(ctx, a) };
    let separator = if ctx.arg(a, 0).is_undefined() { None } else { Some(ctx.str_arg(a, 0)?) };
    let progress = ctx.progress();
    if progress.is_none() {
        ctx.heap.work += u64::from(len) / 32;
        if ctx.places(r, len).iter().any(|v| v.is_object() || v.is_symbol()) {
            return general(ctx, a);
        }
    }
    if len == 1
        && let Some(only) = ctx.places(r, len).first().copied().filter(|v| v.is_string())
    {
        return Ok(only);
    }
    let between = match separator {
        Some(s) => ctx.heap.str_bytes(s).to_vec(),
        None => b",".to_vec(),
    };
    let too_long = || Throw::range_error("Invalid string length");
    let gaps = between.len() * (len as usize).saturating_sub(1);
    if gaps > STRING_BYTES_MAX {
        return Err(too_long());
    }
    ctx.heap.check_room(gaps)?;
    let mut out: Vec<u8> = Vec::new();
    let mut checked = 0;
    // State: the text so far, the next element.
    let (mut done, first) = match progress.as_deref() {
        Some([done, at]) => (*done, at.as_index().unwrap_or(0) as usize),
        _ => (ctx.local.known.empty, 0),
    };
    for i in first..len as usize {
        if i > first && i % 1024 == 0 {
            ctx.heap.work += 512 + (out.len() - checked) as u64 / 64;
            checked = out.len();
            if ctx.slice_over() {
                let piece = ctx.heap.new_string(&out)?;
                done = ctx.heap.concat(done, piece)?;
                return Err(ctx.yields(&[done, Value::from_usize(i)]));
            }
        }
        if i > 0 {
            push(&mut out, &between);
        }
        if let Some(v) = ctx.places(r, len).get(i).copied().filter(|v| !v.is_hole() && !v.is_nullish()) {
            if v.is_int() {
                out.extend_from_slice(itoa::Buffer::new().format(v.as_int()).as_bytes());
            } else {
                let s = ctx.to_string(v)?;
                let s = ctx.heap.flat(s)?;
                push(&mut out, ctx.mem.heap.str_bytes(s));
            }
        }
        if out.len() - checked > 1 << 16 {
            if out.len() > STRING_BYTES_MAX {
                return Err(too_long());
            }
            ctx.heap.check_room(out.len())?;
            ctx.heap.work += (out.len() - checked) as u64 / 64;
            checked = out.len();
        }
    }
    fn push(out: &mut Vec<u8>, bytes: &[u8]) {
        super::text::push_text(out, bytes);
    }
    let rest = ctx.heap.new_string(&out)?;
    let all = ctx.heap.concat(done, rest)?;
    ctx.heap.flat(all)
}

fn pop(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let Some((r, len)) = ctx.loose_array(ctx.this(a)) else { return general(ctx, a) };
    if len == 0 {
        return Ok(Value::UNDEFINED);
    }
    let last = match ctx.places_mut(r, len).get_mut(len as usize - 1) {
        Some(place) => std::mem::replace(place, Value::HOLE),
        None => Value::HOLE,
    };
    ctx.set_len(r, len - 1);
    Ok(filled(last))
}

fn push(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let Some((r, len)) = ctx.loose_array(ctx.this(a)) else { return general(ctx, a) };
    if a.count > (u32::MAX - len) as usize {
        return general(ctx, a);
    }
    for i in 0..a.count {
        let v = ctx.arg(a, i);
        ctx.mem.array_push(r, v)?;
    }
    Ok(Value::from_u32(ctx.array_len(r)))
}

/// `list.push(v)` where there is room (quick.rs).
pub(super) fn quick_push(ctx: &mut Ctx<'_>, list: Value, v: Value) -> Value {
    let Some((r, len)) = ctx.loose_array(list) else { return Value::EMPTY };
    if v.is_empty() || len == u32::MAX || !ctx.mem.push_in_place(r, len, v) {
        return Value::EMPTY;
    }
    Value::from_u32(len + 1)
}

fn reverse(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    match ctx.loose_array(ctx.this(a)) {
        Some((r, len)) if ctx.places(r, len).len() == len as usize => {
            ctx.heap.work += u64::from(len) / 16;
            ctx.places_mut(r, len).reverse();
            Ok(ctx.this(a))
        }
        _ => general(ctx, a),
    }
}

fn shift(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let Some((r, len)) = ctx.loose_array(ctx.this(a)) else { return general(ctx, a) };
    if len == 0 {
        return Ok(Value::UNDEFINED);
    }
    let first = ctx.places(r, len).first().copied().unwrap_or(Value::HOLE);
    ctx.mem.drop_first_element(r);
    ctx.set_len(r, len - 1);
    Ok(filled(first))
}

/// A new array of the elements `from..to`, holes too.
fn part(ctx: &mut Ctx<'_>, r: Ref, len: u32, from: u32, to: u32) -> Result<Ref, Throw> {
    let count = to.saturating_sub(from);
    let there = u32::try_from(ctx.places(r, len).len()).unwrap_or(len);
    let copied = to.min(there).saturating_sub(from);
    let array = ctx.new_array(copied)?;
    if copied > 0 {
        ctx.heap.work += u64::from(copied) / 32;
        let (source, target) = (ctx.elements(r), ctx.elements(array));
        ctx.heap.copy_words((source, 1 + from), (target, 1), copied);
    }
    ctx.set_len(array, count);
    Ok(array)
}

fn slice(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let Some((r, len)) = ctx.plain_array(ctx.this(a)).filter(|(r, _)| ctx.is_ordinary(*r)) else {
        return general(ctx, a);
    };
    let from = relative(ctx.int_arg(a, 0)?, len);
    let to = relative_end(ctx, a, 1, len)?;
    Ok(part(ctx, r, len, from, to)?.object())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
fn splice(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let Some((r, len)) = ctx.loose_array(ctx.this(a)).filter(|(r, _)| ctx.is_ordinary(*r)) else {
        return general(ctx, a);
    };
    let from = relative(ctx.int_arg(a, 0)?, len);
    let removed = match a.count {
        0 => 0,
        1 => len - from,
        _ => ctx.int_arg(a, 1)?.clamp(0.0, f64::from(len - from)) as u32,
    };
    let inserted: Vec<Value> = ctx.args(a).get(2..).unwrap_or(&[]).to_vec();
    let Some(new_len) = u32::try_from(inserted.len()).ok().and_then(|n| (len - removed).checked_add(n))
    else {
        return general(ctx, a);
    };
    if ctx.places(r, len).len() != len as usize {
        return general(ctx, a);
    }
    ctx.heap.work += u64::from(len - from) / 32;
    let gone = part(ctx, r, len, from, from + removed)?;
    ctx.grow_elements(r, new_len.max(len))?;
    let places = ctx.places_mut(r, new_len.max(len));
    let (from, tail) = (from as usize, from as usize + removed as usize);
    places.copy_within(tail..len as usize, from + inserted.len());
    places[from..from + inserted.len()].copy_from_slice(&inserted);
    places[new_len as usize..].fill(Value::HOLE);
    ctx.set_len(r, new_len);
    Ok(gone.object())
}

fn unshift(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let Some((r, len)) = ctx.loose_array(ctx.this(a)) else { return general(ctx, a) };
    let items = ctx.args(a).to_vec();
    let new_len = u32::try_from(items.len()).ok().and_then(|n| len.checked_add(n));
    let (Some(new_len), true) = (new_len, ctx.places(r, len).len() == len as usize) else {
        return general(ctx, a);
    };
    if !items.is_empty() {
        ctx.heap.work += u64::from(new_len) / 32;
        ctx.grow_elements(r, new_len)?;
        let places = ctx.places_mut(r, new_len);
        places.copy_within(..len as usize, items.len());
        places[..items.len()].copy_from_slice(&items);
        ctx.set_len(r, new_len);
    }
    Ok(Value::from_u32(new_len))
}
