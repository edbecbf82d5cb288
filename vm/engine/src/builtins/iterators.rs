//! Iterators of arrays, strings, Maps and Sets (ECMA-262 sections 23.1.5, 22.1.5, 24.1.5, 24.2.5).
//!
//! ```text
//!   ITERATOR   word 3: mode; word 4: what it walks (undefined once it is done); word 5: position
//! ```
//! A walk over a Map or Set is a position in its table, which stays right while entries come
//! and go (dict.rs).

use super::{Kind, Native, text};
use crate::ctx::{Args, Ctx};
use crate::generator::How;
use crate::heap::kind;
use crate::mem::Mem;
use crate::object::{Get, Key, flag};
use crate::shape::attr;
use crate::throw::Throw;
use crate::value::{Ref, Value};
use std::sync::OnceLock;

/// What an iterator gives: the low two bits say which part.
pub(crate) mod mode {
    pub(crate) const VALUES: u64 = 0;
    pub(crate) const KEYS: u64 = 1;
    pub(crate) const ENTRIES: u64 = 2;
    pub(crate) const ARRAY: u64 = 0;
    pub(crate) const MAP: u64 = 4;
    pub(crate) const SET: u64 = 8;
    pub(crate) const STRING: u64 = 12;
    /// What an iterator walks.
    pub(crate) const WHAT: u64 = 0xfc;
    /// A helper of js/iterators.js; word 4: its state.
    pub(crate) const HELPER: u64 = 16;
    /// What `Iterator.from` wraps; word 4: [iterator, next].
    pub(crate) const WRAP: u64 = 20;
}

const fn method(on: &'static str, name: &'static str, call: super::NativeFn) -> Native {
    Native { on, name, length: 0, call, kind: Kind::Method }
}

const fn helper(name: &'static str, call: super::NativeFn) -> Native {
    Native { on: "", name, length: 1, call, kind: Kind::Helper }
}

const fn go_on(on: &'static str, name: &'static str, call: super::NativeFn) -> Native {
    Native { on, name, length: 1, call, kind: Kind::Method }
}

pub(crate) const NATIVES: &[Native] = &[
    method("(iterator)", "@@iterator", itself),
    method("(array_iterator)", "next", array_next),
    method("(map_iterator)", "next", map_next),
    method("(set_iterator)", "next", set_next),
    method("(string_iterator)", "next", |c, a| next(c, a, mode::STRING)),
    Native { on: "", name: "Iterator", length: 0, call: construct, kind: Kind::Constructor("iterator") },
    go_on("(generator)", "next", |_, _| resume(How::Next, false)),
    go_on("(generator)", "return", |_, _| resume(How::Return, false)),
    go_on("(generator)", "throw", |_, _| resume(How::Throw, false)),
    go_on("(async_generator)", "next", |_, _| resume(How::Next, true)),
    go_on("(async_generator)", "return", |_, _| resume(How::Return, true)),
    go_on("(async_generator)", "throw", |_, _| resume(How::Throw, true)),
    method("(async_iterator)", "@@asyncIterator", itself),
    helper("asyncGeneratorFulfilled", fulfilled),
    helper("asyncGeneratorRejected", rejected),
    helper("newHelper", new_helper),
    helper("helperState", helper_state),
    helper("newWrapper", new_wrapper),
    helper("wrapped", wrapped),
    method("Array.prototype", "values", array_values),
    method("Array.prototype", "keys", array_keys),
    method("Array.prototype", "entries", array_entries),
    method("String.prototype", "@@iterator", string_iterator),
    method("Map.prototype", "keys", map_keys),
    method("Map.prototype", "values", map_values),
    method("Map.prototype", "entries", map_entries),
    method("Set.prototype", "values", set_values),
    method("Set.prototype", "entries", set_entries),
    helper("walkMap", map_entries_of),
    helper("walkSet", set_entries_of),
    helper("walk", walk),
    helper("step", step),
    helper("key", key),
    helper("value", value),
    helper("iteratorParts", parts),
    helper("iteratorMove", advance),
];

/// Generators go on in the caller's place: generator.rs.
fn resume(how: How, asynchronous: bool) -> Result<Value, Throw> {
    Err(Throw::Resume { how, asynchronous })
}

fn fulfilled(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    ctx.returned(a, false)
}

fn rejected(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    ctx.returned(a, true)
}

/// Indexes of the functions that take what `return` of an async generator waits for.
pub(crate) fn return_indexes() -> [u32; 2] {
    static INDEXES: OnceLock<[u32; 2]> = OnceLock::new();
    *INDEXES.get_or_init(|| {
        [
            super::native_index("asyncGeneratorFulfilled", fulfilled),
            super::native_index("asyncGeneratorRejected", rejected),
        ]
    })
}

fn itself(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(ctx.this(a))
}

impl Mem<'_> {
    /// A new iterator in this mode.
    pub(crate) fn new_iterator(&mut self, mode: u64, over: Value) -> Result<Value, Throw> {
        let known = &self.local.known;
        let proto = match mode & mode::WHAT {
            mode::HELPER => known.iterator_helper,
            mode::WRAP => known.wrap_iterator,
            mode::MAP => known.map_iterator,
            mode::SET => known.set_iterator,
            mode::STRING => known.string_iterator,
            _ => known.array_iterator,
        };
        let it = self.new_object_of(kind::ITERATOR, proto, 2)?;
        self.heap.store(it, 3, mode);
        self.heap.set(it, 4, over);
        self.heap.set(it, 5, Value::ZERO);
        Ok(it.object())
    }

    /// `{value, done}`.
    pub(crate) fn iter_result(&mut self, value: Value, done: bool) -> Result<Value, Throw> {
        let known = self.local.known;
        let result = self.new_object(2)?;
        self.add_property(result, known.value, value, attr::DEFAULT)?;
        self.add_property(result, known.done, Value::bool(done), attr::DEFAULT)?;
        Ok(result.object())
    }

    /// The next entry of a table that an iterator walks: key and value.
    pub(crate) fn next_entry(&mut self, it: Ref) -> Option<(Value, Value)> {
        let over = self.heap.get(it, 4);
        if !over.is_cell() {
            return None;
        }
        let position = self.heap.get(it, 5).as_index().unwrap_or(0);
        let (dict, mut at) = self.heap.dict_follow(over.as_ref(), position);
        while at < self.heap.dict_used(dict) {
            let (key, value, _) = self.heap.dict_entry(dict, at);
            at += 1;
            self.heap.work += 1;
            if !key.is_empty() {
                self.heap.set(it, 4, dict.cell());
                self.heap.set(it, 5, Value::from_u32(at));
                return Some((key, value));
            }
        }
        self.heap.set(it, 4, Value::UNDEFINED);
        None
    }
}

fn array_iterator(ctx: &mut Ctx<'_>, a: Args, mode: u64) -> Result<Value, Throw> {
    let v = ctx.this(a);
    let over = if v.is_object() { v } else { ctx.mem.boxed(v)? };
    ctx.mem.new_iterator(mode::ARRAY | mode, over)
}

fn array_values(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    array_iterator(ctx, a, mode::VALUES)
}

fn array_keys(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    array_iterator(ctx, a, mode::KEYS)
}

fn array_entries(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    array_iterator(ctx, a, mode::ENTRIES)
}

fn string_iterator(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    ctx.mem.new_iterator(mode::STRING, s)
}

/// The table of a Map or Set.
pub(crate) fn table_of(ctx: &Ctx<'_>, v: Value, wanted: u8) -> Result<Ref, Throw> {
    if ctx.is_kind(v, wanted) {
        return Ok(ctx.heap.get(v.as_ref(), 4).as_ref());
    }
    let name = if wanted == kind::MAP { "Map" } else { "Set" };
    Err(Throw::type_error(format!("Method {name}.prototype called on incompatible receiver")))
}

fn table_iterator(ctx: &mut Ctx<'_>, v: Value, mode: u64) -> Result<Value, Throw> {
    let wanted = if mode & 12 == mode::MAP { kind::MAP } else { kind::SET };
    let table = table_of(ctx, v, wanted)?;
    ctx.mem.new_iterator(mode, table.cell())
}

fn map_keys(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    table_iterator(ctx, ctx.this(a), mode::MAP | mode::KEYS)
}

fn map_values(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    table_iterator(ctx, ctx.this(a), mode::MAP | mode::VALUES)
}

fn map_entries(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    table_iterator(ctx, ctx.this(a), mode::MAP | mode::ENTRIES)
}

fn set_values(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    table_iterator(ctx, ctx.this(a), mode::SET | mode::KEYS)
}

fn set_entries(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    table_iterator(ctx, ctx.this(a), mode::SET | mode::ENTRIES)
}

fn map_entries_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    table_iterator(ctx, ctx.arg(a, 0), mode::MAP | mode::ENTRIES)
}

fn set_entries_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    table_iterator(ctx, ctx.arg(a, 0), mode::SET | mode::ENTRIES)
}

fn walk(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let is_map = ctx.is_kind(ctx.arg(a, 0), kind::MAP);
    if is_map { map_entries_of(ctx, a) } else { set_entries_of(ctx, a) }
}

/// The iterator that argument 0 is (helpers get what they made).
fn walker(ctx: &Ctx<'_>, a: Args) -> Result<Ref, Throw> {
    let v = ctx.arg(a, 0);
    if ctx.is_kind(v, kind::ITERATOR) { Ok(v.as_ref()) } else { Err(Throw::type_error("not an iterator")) }
}

/// Moves a walker to its next entry, which `key` and `value` then tell; false at the end.
fn step(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let it = walker(ctx, a)?;
    Ok(Value::bool(ctx.mem.next_entry(it).is_some()))
}

/// The entry that the last step went over: it may have been removed since.
fn entry(ctx: &mut Ctx<'_>, a: Args) -> Result<(Value, Value), Throw> {
    let it = walker(ctx, a)?;
    let (over, position) = (ctx.heap.get(it, 4), ctx.heap.get(it, 5).as_index().unwrap_or(0));
    match position.checked_sub(1) {
        Some(at) if over.is_cell() => {
            let (key, value, _) = ctx.heap.dict_entry(over.as_ref(), at);
            Ok((if key.is_empty() { Value::UNDEFINED } else { key }, value))
        }
        _ => Ok((Value::UNDEFINED, Value::UNDEFINED)),
    }
}

fn key(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(entry(ctx, a)?.0)
}

fn value(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(entry(ctx, a)?.1)
}

/// Iterator is abstract: only what extends it is made.
fn construct(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    if a.construct && ctx.this(a) != ctx.callee {
        let proto = ctx.new_proto(a, ctx.local.known.iterator)?;
        return Ok(ctx.new_plain(proto, 2)?.object());
    }
    Err(Throw::type_error("Iterator is an abstract class and can't be constructed"))
}

fn new_helper(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let state = ctx.arg(a, 0);
    ctx.mem.new_iterator(mode::HELPER, state)
}

fn helper_state(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let it = branded(ctx, ctx.arg(a, 0), mode::HELPER)?;
    Ok(ctx.heap.get(it, 4))
}

/// `newWrapper(iterator, next)`: itself, if it inherits from Iterator.prototype.
fn new_wrapper(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (it, next) = (ctx.arg(a, 0), ctx.arg(a, 1));
    let proto = ctx.local.known.iterator;
    if ctx.mem.has_in_chain(it, proto) {
        return Ok(it);
    }
    let pair = ctx.new_array_of(&[it, next])?.object();
    ctx.mem.new_iterator(mode::WRAP, pair)
}

fn wrapped(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let it = branded(ctx, ctx.arg(a, 0), mode::WRAP)?;
    Ok(ctx.heap.get(it, 4))
}

/// An iterator of this kind.
fn branded(ctx: &Ctx<'_>, v: Value, what: u64) -> Result<Ref, Throw> {
    if ctx.is_kind(v, kind::ITERATOR) && ctx.heap.load(v.as_ref(), 3) & mode::WHAT == what {
        return Ok(v.as_ref());
    }
    Err(Throw::type_error("next method called on incompatible receiver"))
}

fn array_next(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    next(ctx, a, mode::ARRAY)
}

fn map_next(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    next(ctx, a, mode::MAP)
}

fn set_next(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    next(ctx, a, mode::SET)
}

/// The `next` of what walks arrays, Maps and Sets, by index; each with what it walks.
fn next_indexes() -> &'static [(u32, u64); 3] {
    static INDEXES: OnceLock<[(u32, u64); 3]> = OnceLock::new();
    INDEXES.get_or_init(|| {
        [
            (super::native_index("next", array_next), mode::ARRAY),
            (super::native_index("next", map_next), mode::MAP),
            (super::native_index("next", set_next), mode::SET),
        ]
    })
}

/// What a loop gets that calls `next` of `it`, the mark of the end included, where that is a native that walks an array,
/// a Map or a Set: nobody sees that there is no `{value, done}`. None: it is more than that, and nothing has happened.
pub(crate) fn next_in_loop(ctx: &mut Ctx<'_>, it: Value, next: Value) -> Result<Option<Value>, Throw> {
    if !ctx.is_kind(it, kind::ITERATOR) || !ctx.is_kind(next, kind::NATIVE) {
        return Ok(None);
    }
    let (r, index) = (it.as_ref(), ctx.heap.load(next.as_ref(), 3));
    let mode = ctx.heap.load(r, 3);
    let walks = next_indexes().iter().any(|(i, what)| u64::from(*i) == index && mode & mode::WHAT == *what);
    if !walks || r.space() != ctx.heap.own() {
        return Ok(None);
    }
    let end = ctx.mem.local.known.done_mark;
    if mode & mode::WHAT != mode::ARRAY {
        return match ctx.mem.next_entry(r) {
            None => Ok(Some(end)),
            Some((key, value)) => table_item(ctx, mode, key, value).map(Some),
        };
    }
    let over = ctx.heap.get(r, 4);
    if over.is_undefined() {
        return Ok(Some(end));
    }
    if !ctx.is_kind(over, kind::ARRAY) || ctx.heap.header(over.as_ref()) & flag::SPARSE != 0 {
        return Ok(None);
    }
    let index = ctx.heap.get(r, 5).as_index().unwrap_or(u32::MAX);
    if index >= ctx.array_len(over.as_ref()) {
        ctx.heap.set(r, 4, Value::UNDEFINED);
        return Ok(Some(end));
    }
    let Some(value) = ctx.dense_element(over.as_ref(), index) else { return Ok(None) };
    ctx.heap.set(r, 5, Value::from_u32(index + 1));
    array_item(ctx, mode, index, value).map(Some)
}

/// What an iterator gives of an entry.
fn table_item(ctx: &mut Ctx<'_>, mode: u64, key: Value, value: Value) -> Result<Value, Throw> {
    let value = if mode & mode::WHAT == mode::SET { key } else { value };
    match mode & 3 {
        mode::KEYS => Ok(key),
        mode::VALUES => Ok(value),
        _ => Ok(ctx.new_array_of(&[key, value])?.object()),
    }
}

/// What an iterator gives of an element.
fn array_item(ctx: &mut Ctx<'_>, mode: u64, index: u32, value: Value) -> Result<Value, Throw> {
    match mode & 3 {
        mode::KEYS => Ok(Value::from_u32(index)),
        mode::VALUES => Ok(value),
        _ => Ok(ctx.new_array_of(&[Value::from_u32(index), value])?.object()),
    }
}

fn next(ctx: &mut Ctx<'_>, a: Args, what: u64) -> Result<Value, Throw> {
    let it = branded(ctx, ctx.this(a), what)?;
    // One that a module has made is shared by all requests.
    ctx.mem.check_mutable(it)?;
    let mode = ctx.heap.load(it, 3);
    match mode & 12 {
        mode::STRING => next_of_string(ctx, it),
        mode::ARRAY => next_of_array(ctx, a, it, mode & 3),
        _ => match ctx.mem.next_entry(it) {
            None => ctx.mem.iter_result(Value::UNDEFINED, true),
            Some((key, value)) => {
                let item = table_item(ctx, mode, key, value)?;
                ctx.mem.iter_result(item, false)
            }
        },
    }
}

fn next_of_string(ctx: &mut Ctx<'_>, it: Ref) -> Result<Value, Throw> {
    let over = ctx.heap.get(it, 4);
    if !over.is_string() {
        return ctx.mem.iter_result(Value::UNDEFINED, true);
    }
    // The position is a byte offset.
    let at = ctx.heap.get(it, 5).as_index().unwrap_or(0) as usize;
    let flat = ctx.heap.flat(over)?;
    let bytes = ctx.heap.str_bytes(flat);
    if at >= bytes.len() {
        ctx.heap.set(it, 4, Value::UNDEFINED);
        return ctx.mem.iter_result(Value::UNDEFINED, true);
    }
    let (point, len) = text::decode(bytes, at);
    let part = bytes[at..at + len].to_vec();
    ctx.heap.set(it, 5, Value::from_usize(at + len));
    let item = match ctx.local.known.chars.get(point as usize) {
        Some(c) => *c,
        None => ctx.heap.new_string(&part)?,
    };
    ctx.mem.iter_result(item, false)
}

fn next_of_array(ctx: &mut Ctx<'_>, a: Args, it: Ref, part: u64) -> Result<Value, Throw> {
    let over = ctx.heap.get(it, 4);
    if over.is_undefined() {
        return ctx.mem.iter_result(Value::UNDEFINED, true);
    }
    if !ctx.is_kind(over, kind::ARRAY) || ctx.heap.header(over.as_ref()) & flag::SPARSE != 0 {
        // Its length or an element may be an accessor: js/iterators.js.
        let callee = ctx.own_value();
        let this = ctx.this(a);
        return ctx.tail_call(callee, this, &[]);
    }
    let index = ctx.heap.get(it, 5).as_index().unwrap_or(u32::MAX);
    if index >= ctx.array_len(over.as_ref()) {
        ctx.heap.set(it, 4, Value::UNDEFINED);
        return ctx.mem.iter_result(Value::UNDEFINED, true);
    }
    ctx.heap.set(it, 5, Value::from_u32(index + 1));
    let value = match ctx.dense_element(over.as_ref(), index) {
        Some(v) => v,
        None => match ctx.mem.get(over.as_ref(), Key::Index(index))? {
            Get::Value(v) => v,
            Get::Getter(_) => Value::UNDEFINED,
        },
    };
    let item = array_item(ctx, part, index, value)?;
    ctx.mem.iter_result(item, false)
}

/// `[object, position, part]` of an iterator over an array-like.
fn parts(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let it = walker(ctx, a)?;
    let part = Value::number((ctx.heap.load(it, 3) & 3) as f64);
    let values = [ctx.heap.get(it, 4), ctx.heap.get(it, 5), part];
    Ok(ctx.new_array_of(&values)?.object())
}

/// `iteratorMove(it, position)`; undefined ends it.
fn advance(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let it = walker(ctx, a)?;
    let position = ctx.arg(a, 1);
    let word = if position.is_undefined() { 4 } else { 5 };
    ctx.heap.set(it, word, position);
    Ok(Value::UNDEFINED)
}
