//! String: the constructor and every method; where a replacer or a pattern is more than a
//! text, `replace` and `replaceAll` go on in js/string.js.
//! Strings are WTF-8 inside and UTF-16 to scripts (text.rs); where a string is
//! ASCII, which it says in its header, indexes are byte offsets.

use super::locale::{self, Order};
use super::{Kind, Native, text};
use crate::ctx::{Args, Ctx};
use crate::heap::kind;
use crate::object::{Get, Key};
use crate::string::{ASCII, STRING_BYTES_MAX, copy_short};
use crate::throw::{Hint, Throw};
use crate::value::Value;
use std::cmp::Ordering;

const fn method(name: &'static str, length: u8, call: super::NativeFn) -> Native {
    Native { on: "String.prototype", name, length, call, kind: Kind::Method }
}

const fn helper(name: &'static str, length: u8, call: super::NativeFn) -> Native {
    Native { on: "", name, length, call, kind: Kind::Helper }
}

pub(crate) const NATIVES: &[Native] = &[
    Native { on: "", name: "String", length: 1, call: construct, kind: Kind::Constructor("string") },
    Native { on: "String", name: "fromCharCode", length: 1, call: from_char_code, kind: Kind::Method },
    Native { on: "String", name: "fromCodePoint", length: 1, call: from_code_point, kind: Kind::Method },
    method("at", 1, at),
    method("charAt", 1, char_at),
    method("charCodeAt", 1, char_code_at),
    method("codePointAt", 1, code_point_at),
    method("concat", 1, concat),
    method("endsWith", 1, ends_with),
    method("includes", 1, includes),
    method("indexOf", 1, index_of),
    method("isWellFormed", 0, is_well_formed),
    method("lastIndexOf", 1, last_index_of),
    method("localeCompare", 1, locale_compare),
    method("normalize", 0, normalize),
    method("padEnd", 1, pad_end),
    method("padStart", 1, pad_start),
    method("repeat", 1, repeat),
    method("replace", 2, replace),
    method("replaceAll", 2, replace_all),
    method("slice", 2, slice),
    method("split", 2, split),
    method("startsWith", 1, starts_with),
    method("substr", 2, substr),
    method("substring", 2, substring),
    method("toLocaleLowerCase", 0, locale_lower),
    method("toLocaleUpperCase", 0, locale_upper),
    method("toLowerCase", 0, lower),
    method("toString", 0, value_of),
    method("toUpperCase", 0, upper),
    method("toWellFormed", 0, to_well_formed),
    method("trim", 0, trim),
    method("trimEnd", 0, trim_end),
    method("trimStart", 0, trim_start),
    method("valueOf", 0, value_of),
    // The seeds' names.
    method("len", 0, len),
    method("lower", 0, lower),
    method("text", 0, value_of),
    method("upper", 0, upper),
    helper("indexOf", 3, helper_index_of),
    helper("substring", 3, helper_substring),
    helper("expand", 4, helper_expand),
    helper("isRegExp", 1, |c, a| Ok(Value::bool(c.is_kind(c.arg(a, 0), kind::REGEXP)))),
];

fn construct(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = if a.count == 0 {
        ctx.local.known.empty
    } else {
        let v = ctx.primitive_arg(a, 0, Hint::String)?;
        if v.is_symbol() && !a.construct {
            let text = ctx.symbol_text(v)?;
            return ctx.heap.new_string(text.as_bytes());
        }
        ctx.to_string(v)?
    };
    ctx.box_if_made(a, v)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ToUint16 takes the low bits")]
fn from_char_code(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let mut out = Vec::new();
    for i in 0..a.count {
        let n = ctx.num_arg(a, i)?;
        text::push_unit(&mut out, crate::ops::to_int32(n) as u16);
    }
    ctx.heap.new_string(&out)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn from_code_point(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let mut out = Vec::new();
    for i in 0..a.count {
        let n = ctx.num_arg(a, i)?;
        if !(0.0..=1_114_111.0).contains(&n) || n.fract() != 0.0 {
            return Err(Throw::range_error(format!("Invalid code point {n}")));
        }
        text::push_point(&mut out, n as u32);
    }
    ctx.heap.new_string(&out)
}

/// An integer as an index into 0..=len.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
fn clamp(n: f64, len: u32) -> u32 {
    n.clamp(0.0, f64::from(len)) as u32
}

/// The same, negative ones counted from the end.
fn relative(n: f64, len: u32) -> u32 {
    clamp(if n < 0.0 { n + f64::from(len) } else { n }, len)
}

/// The index, if it is one of the string's.
fn in_range(n: f64, len: u32) -> Option<u32> {
    (n >= 0.0 && n < f64::from(len)).then(|| clamp(n, len))
}

fn at(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    let len = ctx.heap.string_len(s);
    let n = ctx.int_arg(a, 0)?;
    match in_range(if n < 0.0 { n + f64::from(len) } else { n }, len) {
        Some(index) => ctx.mem.char_at(s, index),
        None => Ok(Value::UNDEFINED),
    }
}

fn char_at(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    let n = ctx.int_arg(a, 0)?;
    match in_range(n, ctx.heap.string_len(s)) {
        Some(index) => ctx.mem.char_at(s, index),
        None => Ok(ctx.local.known.empty),
    }
}

fn char_code_at(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    let n = ctx.int_arg(a, 0)?;
    let Some(index) = in_range(n, ctx.heap.string_len(s)) else { return Ok(Value::NAN) };
    if ctx.heap.is_ascii(s) {
        return Ok(Value::int(i32::from(ctx.heap.str_bytes(s)[index as usize])));
    }
    let place = ctx.heap.locate(s, index);
    let unit = text::located_unit(ctx.heap.str_bytes(s), place);
    Ok(unit.map_or(Value::NAN, |u| Value::int(i32::from(u))))
}

fn code_point_at(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    let n = ctx.int_arg(a, 0)?;
    let Some(index) = in_range(n, ctx.heap.string_len(s)) else { return Ok(Value::UNDEFINED) };
    let place = ctx.heap.locate(s, index);
    let point = text::located_point(ctx.heap.str_bytes(s), place);
    Ok(point.map_or(Value::UNDEFINED, Value::from_u32))
}

fn concat(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let mut all = ctx.str_this(a)?;
    let mut parts = Vec::with_capacity(a.count);
    for i in 0..a.count {
        parts.push(ctx.str_arg(a, i)?);
    }
    for part in parts {
        all = ctx.heap.concat(all, part)?;
    }
    Ok(all)
}

/// `this` and argument 0, which may not be a regular expression.
fn haystack(ctx: &mut Ctx<'_>, a: Args) -> Result<(Value, Value), Throw> {
    let s = ctx.str_this(a)?;
    let search = ctx.arg(a, 0);
    if search.is_object() {
        let key = Key::Atom(ctx.local.known.sym_match);
        let like = match ctx.mem.get(search.as_ref(), key)? {
            Get::Value(v) if v.is_undefined() => ctx.is_kind(search, kind::REGEXP),
            Get::Value(v) => ctx.truthy(v),
            Get::Getter(_) => {
                // js/string.js calls it, and this native again with a string.
                let (callee, this, args) = (ctx.own_value(), ctx.this(a), ctx.args(a).to_vec());
                ctx.tail_call(callee, this, &args)?;
                false
            }
        };
        if like {
            return Err(Throw::type_error("First argument must not be a regular expression"));
        }
    }
    let needle = ctx.str_arg(a, 0)?;
    Ok((s, needle))
}

fn ends_with(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (s, needle) = haystack(ctx, a)?;
    let len = ctx.heap.string_len(s);
    let end = if ctx.arg(a, 1).is_undefined() { len } else { clamp(ctx.int_arg(a, 1)?, len) };
    if ctx.heap.is_ascii(s) {
        let (all, tail) = (ctx.heap.str_bytes(s), ctx.heap.str_bytes(needle));
        return Ok(Value::bool(all[..end as usize].ends_with(tail)));
    }
    let part = ctx.heap.substring(s, 0, end)?;
    let Some(start) = end.checked_sub(ctx.heap.string_len(needle)) else { return Ok(Value::FALSE) };
    let tail = ctx.heap.substring(part, start, end)?;
    Ok(Value::bool(ctx.heap.string_equals(tail, needle)?))
}

fn starts_with(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (s, needle) = haystack(ctx, a)?;
    let len = ctx.heap.string_len(s);
    let start = clamp(ctx.int_arg(a, 1)?, len);
    let end = start + ctx.heap.string_len(needle);
    if end > len {
        return Ok(Value::FALSE);
    }
    if ctx.heap.is_ascii(s) {
        let (all, head) = (ctx.heap.str_bytes(s), ctx.heap.str_bytes(needle));
        return Ok(Value::bool(all[start as usize..].starts_with(head)));
    }
    let head = ctx.heap.substring(s, start, end)?;
    Ok(Value::bool(ctx.heap.string_equals(head, needle)?))
}

/// The index of `needle` in `s` from `from` on; both flat.
fn find(ctx: &mut Ctx<'_>, s: Value, needle: Value, from: u32) -> Option<usize> {
    let heap = &mut ctx.mem.heap;
    heap.work += heap.string_bytes_len(s) as u64 / 32;
    let (hay, bytes) = (heap.str_bytes(s), heap.str_bytes(needle));
    if heap.is_ascii(s) {
        let from = from as usize;
        return text::find_bytes(hay.get(from..)?, bytes).map(|at| at + from);
    }
    if text::starts_low(bytes) || text::ends_high(bytes) {
        return text::index_of(hay, bytes, from as usize);
    }
    if bytes.is_empty() {
        return Some(from as usize);
    }
    let (start, inside) = heap.locate(s, from);
    let start = if inside { start + 4 } else { start };
    let found = text::find_bytes(&heap.str_bytes(s)[start..], heap.str_bytes(needle))?;
    Some(heap.unit_at_byte(s, start + found))
}

fn position(found: Option<usize>) -> Value {
    found.map_or(Value::int(-1), Value::from_usize)
}

fn includes(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (s, needle) = (ctx.this(a), ctx.arg(a, 0));
    if a.count == 1 && s.is_string() && needle.is_string() {
        let (s, needle) = (ctx.heap.flat(s)?, ctx.heap.flat(needle)?);
        let found = quick_includes(ctx, s, needle);
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let (s, needle) = haystack(ctx, a)?;
    let from = clamp(ctx.int_arg(a, 1)?, ctx.heap.string_len(s));
    Ok(Value::bool(find(ctx, s, needle, from).is_some()))
}

/// `s.includes(needle)` of flat strings (quick.rs).
pub(super) fn quick_includes(ctx: &mut Ctx<'_>, s: Value, needle: Value) -> Value {
    if !s.is_string() || !needle.is_string() {
        return Value::EMPTY;
    }
    let heap = &mut *ctx.mem.heap;
    let (Some((header, hay)), Some((sought, bytes))) = (heap.flat_now(s), heap.flat_now(needle)) else {
        return Value::EMPTY;
    };
    // Where no half of a surrogate pair is looked for, bytes found are units found.
    if (header | sought) & ASCII == 0 {
        return Value::EMPTY;
    }
    let found = match bytes {
        [byte] => text::has_byte(hay, *byte),
        _ => text::find_bytes(hay, bytes).is_some(),
    };
    let work = hay.len() as u64 / 32;
    heap.work += work;
    Value::bool(found)
}

/// `s.indexOf(needle)` of flat strings, the first in ASCII.
pub(super) fn quick_index_of(ctx: &mut Ctx<'_>, s: Value, needle: Value) -> Value {
    if !s.is_string() || !needle.is_string() {
        return Value::EMPTY;
    }
    let heap = &mut *ctx.mem.heap;
    let (Some((header, hay)), Some((_, bytes))) = (heap.flat_now(s), heap.flat_now(needle)) else {
        return Value::EMPTY;
    };
    if header & ASCII == 0 {
        return Value::EMPTY;
    }
    let found = text::find_bytes(hay, bytes);
    let work = hay.len() as u64 / 32;
    heap.work += work;
    position(found)
}

/// `s.startsWith(needle)` of flat strings, the first in ASCII.
pub(super) fn quick_starts_with(ctx: &mut Ctx<'_>, s: Value, needle: Value) -> Value {
    if !s.is_string() || !needle.is_string() {
        return Value::EMPTY;
    }
    match (ctx.mem.heap.flat_now(s), ctx.mem.heap.flat_now(needle)) {
        (Some((header, all)), Some((_, head))) if header & ASCII != 0 => Value::bool(all.starts_with(head)),
        _ => Value::EMPTY,
    }
}

/// `s.charCodeAt(index)` inside a flat ASCII string.
pub(super) fn quick_char_code(ctx: &mut Ctx<'_>, s: Value, index: Value) -> Value {
    if !s.is_string() || !index.is_int() {
        return Value::EMPTY;
    }
    let at = usize::try_from(index.as_int()).unwrap_or(usize::MAX);
    match ctx.mem.heap.flat_now(s) {
        Some((header, bytes)) if header & ASCII != 0 && at < bytes.len() => Value::int(bytes[at].into()),
        _ => Value::EMPTY,
    }
}

fn index_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    let needle = ctx.str_arg(a, 0)?;
    let from = clamp(ctx.int_arg(a, 1)?, ctx.heap.string_len(s));
    Ok(position(find(ctx, s, needle, from)))
}

fn last_index_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    let needle = ctx.str_arg(a, 0)?;
    let n = ctx.num_arg(a, 1)?;
    let from = if n.is_nan() { f64::INFINITY } else { n.trunc() };
    let from = clamp(from, ctx.heap.string_len(s));
    ctx.heap.work += ctx.heap.string_bytes_len(s) as u64 / 16;
    let (hay, bytes) = (ctx.heap.str_bytes(s), ctx.heap.str_bytes(needle));
    Ok(position(text::last_index_of(hay, bytes, from as usize)))
}

fn is_well_formed(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    ctx.heap.work += ctx.heap.string_bytes_len(s) as u64 / 64;
    Ok(Value::bool(text::is_well_formed(ctx.heap.str_bytes(s))))
}

fn to_well_formed(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    if text::is_well_formed(ctx.heap.str_bytes(s)) {
        return Ok(s);
    }
    let text = text::well_formed(ctx.heap.str_bytes(s)).into_owned();
    ctx.heap.new_string(text.as_bytes())
}

fn locale_compare(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    let other = ctx.str_arg(a, 0)?;
    let order = locale::order(ctx, a)?;
    ctx.heap.work += (ctx.heap.string_bytes_len(s) + ctx.heap.string_bytes_len(other)) as u64 / 4;
    Ok(Value::int(match collate(ctx.heap.str_bytes(s), ctx.heap.str_bytes(other), order) {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    }))
}

/// The order of a dictionary, near to the root collation of Unicode for Latin text: spaces,
/// punctuation, digits, letters; accents matter less than letters, case less than accents
/// (small before capital). Other scripts go by code point.
fn collate(a: &[u8], b: &[u8], order: Order) -> Ordering {
    // Control characters say nothing.
    let counts = |p: &u32| !matches!(p, 0..=8 | 14..=31 | 127..=159);
    let weights = |bytes: &[u8]| -> Vec<(u32, u32, bool)> {
        let weights: Vec<_> = text::code_points(bytes).filter(counts).map(weight).collect();
        if order.numeric { with_numbers(&weights) } else { weights }
    };
    // Canonically equivalent texts are equal.
    let composed = |bytes: &[u8]| {
        if bytes.is_ascii() { bytes.to_vec() } else { text::normalize(bytes, b"NFC") }
    };
    let (x, y) = (weights(&composed(a)), weights(&composed(b)));
    let primary = x.iter().map(|w| w.0).cmp(y.iter().map(|w| w.0));
    let accents = || x.iter().map(|w| w.1).cmp(y.iter().map(|w| w.1));
    let case = || x.iter().map(|w| w.2).cmp(y.iter().map(|w| w.2));
    primary
        .then_with(|| if order.accents { accents() } else { Ordering::Equal })
        .then_with(|| if order.case { case() } else { Ordering::Equal })
}

/// Runs of digits as numbers: where a 0 sorts, then how many digits without leading zeros, then these.
fn with_numbers(weights: &[(u32, u32, bool)]) -> Vec<(u32, u32, bool)> {
    let zero = weight(u32::from('0')).0;
    let is_digit = |w: &(u32, u32, bool)| (zero..zero + 10).contains(&w.0);
    let mut out = Vec::with_capacity(weights.len());
    let mut rest = weights;
    while let Some(first) = rest.first() {
        let run = rest.iter().position(|w| is_digit(w) != is_digit(first)).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(run);
        if is_digit(first) {
            let digits = &run[run.iter().position(|w| w.0 != zero).unwrap_or(run.len())..];
            out.push((zero, 0, false));
            out.push((u32::try_from(digits.len()).unwrap_or(u32::MAX), 0, false));
            out.extend_from_slice(digits);
        } else {
            out.extend_from_slice(run);
        }
        rest = behind;
    }
    out
}

/// Base, accent, and whether it is a capital.
fn weight(point: u32) -> (u32, u32, bool) {
    const PUNCTUATION: &str = "\t\n\u{b}\u{c}\r _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$";
    const PLAIN: &str = "AAAAAAACEEEEIIIIDNOOOOO*OUUUUYTsaaaaaaaceeeeiiiidnooooo/ouuuuyty";
    let Some(c) = char::from_u32(point) else { return (point + 1000, 0, false) };
    if let Some(at) = PUNCTUATION.find(c) {
        return (u32::try_from(at).unwrap_or(0), 0, false);
    }
    let (base, accent) = match usize::try_from(point).ok().and_then(|p| p.checked_sub(0xc0)) {
        Some(at) if at < 64 && !matches!(point, 0xd7 | 0xf7) => {
            (char::from(PLAIN.as_bytes()[at]), point | 0x20)
        }
        _ => (c, 0),
    };
    let lower = base.to_lowercase().next().unwrap_or(base);
    (u32::from(lower) + 100, accent, lower != base)
}

fn normalize(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    if !ctx.arg(a, 0).is_undefined() {
        let form = ctx.str_arg(a, 0)?;
        let known = matches!(ctx.heap.str_bytes(form), b"NFC" | b"NFD" | b"NFKC" | b"NFKD");
        if !known {
            return Err(Throw::range_error("The normalization form should be one of NFC, NFD, NFKC, NFKD."));
        }
    }
    let form = if ctx.arg(a, 0).is_undefined() {
        b"NFC".to_vec()
    } else {
        let form = ctx.str_arg(a, 0)?;
        ctx.heap.str_bytes(form).to_vec()
    };
    if ctx.heap.is_ascii(s) {
        return Ok(s);
    }
    // A character decomposes into at most 18 (Unicode's stability policy bounds it).
    ctx.heap.check_room(ctx.heap.string_bytes_len(s) * 3)?;
    ctx.heap.work += ctx.heap.string_bytes_len(s) as u64 * CASE_FUEL;
    let text = text::normalize(ctx.heap.str_bytes(s), &form);
    ctx.heap.new_string(&text)
}

fn pad(ctx: &mut Ctx<'_>, a: Args, at_start: bool) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    let len = ctx.heap.string_len(s);
    let wanted = ctx.int_arg(a, 0)?;
    if wanted <= f64::from(len) {
        return Ok(s);
    }
    let filler = if ctx.arg(a, 1).is_undefined() { ctx.local.known.chars[32] } else { ctx.str_arg(a, 1)? };
    let unit = ctx.heap.string_len(filler);
    if unit == 0 {
        return Ok(s);
    }
    if wanted > STRING_BYTES_MAX as f64 {
        return Err(Throw::range_error("Invalid string length"));
    }
    let missing = clamp(wanted, u32::MAX) - len;
    let padding = repeated(ctx, filler, missing.div_ceil(unit))?;
    let padding = ctx.heap.substring(padding, 0, missing)?;
    if at_start { ctx.heap.concat(padding, s) } else { ctx.heap.concat(s, padding) }
}

fn pad_start(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    pad(ctx, a, true)
}

fn pad_end(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    pad(ctx, a, false)
}

/// `count` times the flat string `s`; the size is checked before anything is made.
fn repeated(ctx: &mut Ctx<'_>, s: Value, count: u32) -> Result<Value, Throw> {
    let bytes = ctx.heap.string_bytes_len(s);
    let total = bytes.checked_mul(count as usize).filter(|n| *n <= STRING_BYTES_MAX);
    let Some(total) = total else { return Err(Throw::range_error("Invalid string length")) };
    ctx.heap.check_room(total)?;
    if ctx.heap.is_ascii(s) {
        let unit = ctx.heap.str_bytes(s).to_vec();
        return ctx.heap.new_ascii(total, |out| {
            for chunk in out.chunks_mut(unit.len().max(1)) {
                chunk.copy_from_slice(&unit[..chunk.len()]);
            }
        });
    }
    let mut out = Vec::with_capacity(total);
    for _ in 0..count {
        text::push_text(&mut out, ctx.heap.str_bytes(s));
    }
    ctx.heap.new_string(&out)
}

fn repeat(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    let n = ctx.int_arg(a, 0)?;
    if n < 0.0 || n.is_infinite() {
        return Err(Throw::range_error(format!("Invalid count value: {n}")));
    }
    if ctx.heap.string_len(s) == 0 || n == 0.0 {
        return Ok(ctx.local.known.empty);
    }
    repeated(ctx, s, clamp(n, u32::MAX))
}

/// Longest text that `replaceAll` goes through in one step, and the longest replacement there.
const REPLACE_BYTES_MAX: usize = 64 * 1024;
const REPLACEMENT_BYTES_MAX: usize = 64;
/// Fewer places than these are replaced without a buffer in between.
const REPLACED_FEW: usize = 16;

/// This, what is searched for and what takes its place, where all are flat ASCII strings and the last means itself.
fn plain_replace(ctx: &mut Ctx<'_>, a: Args) -> Result<Option<(Value, Value, Value)>, Throw> {
    let (s, search, with) = (ctx.this(a), ctx.arg(a, 0), ctx.arg(a, 1));
    if !s.is_string() || !search.is_string() || !with.is_string() {
        return Ok(None);
    }
    let (s, search, with) = (ctx.heap.flat(s)?, ctx.heap.flat(search)?, ctx.heap.flat(with)?);
    let heap = &ctx.mem.heap;
    let plain = heap.is_ascii(s) && heap.is_ascii(with) && !text::has_byte(heap.str_bytes(with), b'$');
    Ok(plain.then_some((s, search, with)))
}

/// Runs the sibling in js/string.js instead.
fn general(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (callee, this, args) = (ctx.own_value(), ctx.this(a), ctx.args(a).to_vec());
    ctx.tail_call(callee, this, &args)
}

fn replace(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let Some((s, search, with)) = plain_replace(ctx, a)? else { return general(ctx, a) };
    match find(ctx, s, search, 0) {
        None => Ok(s),
        Some(at) => {
            let end = at + ctx.heap.string_bytes_len(search);
            ctx.heap.splice_ascii(s, (at, end), with)
        }
    }
}

fn replace_all(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let Some((s, search, with_text)) = plain_replace(ctx, a)? else { return general(ctx, a) };
    let (all, needle) = (ctx.heap.str_bytes(s), ctx.heap.str_bytes(search));
    let with = ctx.heap.str_bytes(with_text);
    if needle.is_empty() || all.len() > REPLACE_BYTES_MAX || with.len() > REPLACEMENT_BYTES_MAX {
        return general(ctx, a);
    }
    // Where they stand: most texts have few.
    let (mut few, mut count, mut from) = ([0; REPLACED_FEW], 0, 0);
    while let Some(place) = few.get_mut(count)
        && let Some(next) = text::find_bytes(&all[from..], needle)
    {
        *place = from + next;
        from = *place + needle.len();
        count += 1;
    }
    if count == 0 {
        ctx.heap.work += ctx.heap.string_bytes_len(s) as u64 / 32;
        return Ok(s);
    }
    if count < REPLACED_FEW {
        let (len, needle, with_len) = (all.len(), needle.len(), with.len());
        let total = len - count * needle + count * with_len;
        ctx.heap.work += (len + total) as u64 / 16;
        let places = &few[..count];
        return ctx.mem.heap.new_ascii_of(total, |heap, out| {
            let (all, with) = (heap.str_bytes(s), heap.str_bytes(with_text));
            let (mut from, mut end) = (0, 0);
            for at in places {
                let start = end + (at - from);
                copy_short(&mut out[end..start], &all[from..*at]);
                end = start + with.len();
                copy_short(&mut out[start..end], with);
                from = at + needle;
            }
            copy_short(&mut out[end..], &all[from..]);
        });
    }
    let mut out = Vec::with_capacity(all.len() + with.len());
    let mut at = few[0];
    from = 0;
    loop {
        out.extend_from_slice(&all[from..at]);
        out.extend_from_slice(with);
        from = at + needle.len();
        match text::find_bytes(&all[from..], needle) {
            Some(next) => at = from + next,
            None => break,
        }
    }
    out.extend_from_slice(&all[from..]);
    ctx.heap.work += (ctx.heap.string_bytes_len(s) + out.len()) as u64 / 16;
    ctx.heap.new_ascii(out.len(), |text| text.copy_from_slice(&out))
}

fn slice(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    let len = ctx.heap.string_len(s);
    let from = relative(ctx.int_arg(a, 0)?, len);
    let to = if ctx.arg(a, 1).is_undefined() { len } else { relative(ctx.int_arg(a, 1)?, len) };
    piece(ctx, s, from, to)
}

fn substr(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    let len = ctx.heap.string_len(s);
    let from = relative(ctx.int_arg(a, 0)?, len);
    let count = if ctx.arg(a, 1).is_undefined() { len } else { clamp(ctx.int_arg(a, 1)?, len) };
    piece(ctx, s, from, from.saturating_add(count).min(len))
}

fn substring(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    let len = ctx.heap.string_len(s);
    let from = clamp(ctx.int_arg(a, 0)?, len);
    let to = if ctx.arg(a, 1).is_undefined() { len } else { clamp(ctx.int_arg(a, 1)?, len) };
    piece(ctx, s, from.min(to), from.max(to))
}

/// Units `from..to`; empty where they cross.
fn piece(ctx: &mut Ctx<'_>, s: Value, from: u32, to: u32) -> Result<Value, Throw> {
    match to.checked_sub(from) {
        None | Some(0) => Ok(ctx.local.known.empty),
        Some(1) => ctx.mem.char_at(s, from),
        Some(_) => ctx.heap.substring(s, from, to),
    }
}

fn split(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    if ctx.arg(a, 0).is_object() && !ctx.this(a).is_nullish() {
        // js/regexp.js: it may say itself how to split.
        let (script, this) = (ctx.own_value(), ctx.this(a));
        let (separator, limit) = (ctx.arg(a, 0), ctx.arg(a, 1));
        return ctx.tail_call(script, this, &[separator, limit]);
    }
    let s = ctx.str_this(a)?;
    let limit = if ctx.arg(a, 1).is_undefined() {
        u32::MAX
    } else {
        crate::ops::to_int32(ctx.num_arg(a, 1)?).cast_unsigned()
    };
    let undefined = ctx.arg(a, 0).is_undefined();
    let separator = if undefined { ctx.local.known.empty } else { ctx.str_arg(a, 0)? };
    if limit == 0 {
        return Ok(ctx.new_array(0)?.object());
    }
    if undefined {
        return Ok(ctx.new_array_of(&[s])?.object());
    }
    let len = ctx.heap.string_len(s);
    if ctx.heap.string_len(separator) == 0 {
        return split_units(ctx, s, len.min(limit));
    }
    split_by(ctx, s, separator, limit)
}

/// One string for each of the first `count` units; state: the array, the byte where it goes on.
fn split_units(ctx: &mut Ctx<'_>, s: Value, count: u32) -> Result<Value, Throw> {
    let (array, mut at) = match ctx.progress().as_deref() {
        Some([array, at]) => (array.as_ref(), at.as_index().unwrap_or(0) as usize),
        _ => {
            ctx.heap.check_room(count as usize * 8)?;
            (ctx.new_array(count)?, 0)
        }
    };
    while ctx.array_len(array) < count {
        let (point, width) = text::decode(ctx.heap.str_bytes(s), at);
        at += width;
        let mut units = [0; 2];
        let units = match char::from_u32(point) {
            Some(c) => c.encode_utf16(&mut units),
            None => {
                units[0] = (point & 0xffff) as u16;
                &mut units[..1]
            }
        };
        for unit in units.iter().take((count - ctx.array_len(array)) as usize) {
            let v = unit_string(ctx, *unit)?;
            ctx.mem.array_push(array, v)?;
        }
        if ctx.array_len(array).is_multiple_of(4096) {
            ctx.heap.work += 4096;
            if ctx.array_len(array) < count && ctx.slice_over() {
                return Err(ctx.yields(&[array.object(), Value::from_usize(at)]));
            }
        }
    }
    Ok(array.object())
}

fn unit_string(ctx: &mut Ctx<'_>, unit: u16) -> Result<Value, Throw> {
    if unit < 128 {
        return Ok(ctx.local.known.chars[usize::from(unit)]);
    }
    let mut out = Vec::new();
    text::push_unit(&mut out, unit);
    ctx.heap.new_string(&out)
}

/// Pieces between separators: found on bytes where a match can't cut a pair.
fn split_by(ctx: &mut Ctx<'_>, s: Value, separator: Value, limit: u32) -> Result<Value, Throw> {
    // State: the array, the byte and the unit where it goes on.
    let (array, mut start, mut unit) = match ctx.progress().as_deref() {
        Some([array, start, unit]) => {
            (array.as_ref(), start.as_index().unwrap_or(0) as usize, unit.as_index().unwrap_or(0))
        }
        _ => (ctx.new_array(4)?, 0, 0),
    };
    let long;
    let mut short = [0; 16];
    let needle = ctx.heap.str_bytes(separator);
    let needle = match short.get_mut(..needle.len()) {
        Some(copy) => {
            copy.copy_from_slice(needle);
            &*copy
        }
        None => {
            long = needle.to_vec();
            &long[..]
        }
    };
    let halves = text::starts_low(needle) || text::ends_high(needle);
    let width = ctx.heap.string_len(separator);
    let len = ctx.heap.string_len(s);
    while ctx.array_len(array) < limit {
        let part = if halves {
            let Some(at) = text::index_of(ctx.heap.str_bytes(s), needle, unit as usize) else { break };
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            let part = ctx.heap.substring(s, unit, at)?;
            unit = at + width;
            part
        } else {
            let Some(at) = text::find_bytes(&ctx.heap.str_bytes(s)[start..], needle) else { break };
            ctx.heap.work += at as u64 / 16;
            let part = byte_piece(ctx, s, start, start + at)?;
            start += at + needle.len();
            part
        };
        ctx.heap.work += 4;
        ctx.mem.array_push(array, part)?;
        if ctx.array_len(array).is_multiple_of(1024) && ctx.slice_over() {
            return Err(ctx.yields(&[array.object(), Value::from_usize(start), Value::from_u32(unit)]));
        }
    }
    if ctx.array_len(array) < limit {
        let end = ctx.heap.string_bytes_len(s);
        let rest = if halves { ctx.heap.substring(s, unit, len)? } else { byte_piece(ctx, s, start, end)? };
        ctx.mem.array_push(array, rest)?;
    }
    Ok(array.object())
}

/// Bytes `from..to` of a flat string, cut between characters.
fn byte_piece(ctx: &mut Ctx<'_>, s: Value, from: usize, to: usize) -> Result<Value, Throw> {
    if ctx.heap.is_ascii(s) && to - from > 1 {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        return ctx.heap.substring(s, place(from), place(to));
    }
    let part = ctx.heap.str_bytes(s)[from..to].to_vec();
    small_string(ctx, &part)
}

fn small_string(ctx: &mut Ctx<'_>, bytes: &[u8]) -> Result<Value, Throw> {
    match bytes {
        [] => Ok(ctx.local.known.empty),
        [byte @ 0..128] => Ok(ctx.local.known.chars[usize::from(*byte)]),
        _ => ctx.heap.new_string(bytes),
    }
}

fn locale_lower(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    locale::check_case(ctx, a)?;
    lower(ctx, a)
}

fn locale_upper(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    locale::check_case(ctx, a)?;
    upper(ctx, a)
}

fn lower(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    case(ctx, s, u8::is_ascii_uppercase, <[u8]>::make_ascii_lowercase, text::lower_part)
}

fn upper(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    case(ctx, s, u8::is_ascii_lowercase, <[u8]>::make_ascii_uppercase, |b, from, to| {
        text::upper(&b[from..to])
    })
}

fn case(
    ctx: &mut Ctx<'_>,
    s: Value,
    changes: fn(&u8) -> bool,
    ascii: fn(&mut [u8]),
    full: fn(&[u8], usize, usize) -> Vec<u8>,
) -> Result<Value, Throw> {
    let bytes = ctx.heap.str_bytes(s);
    if ctx.heap.is_ascii(s) {
        if !bytes.iter().any(changes) {
            return Ok(s);
        }
        return ctx.heap.map_ascii(s, ascii);
    }
    // In pieces, between which the slice may end; state: the text so far, bytes of the source done.
    let len = bytes.len();
    let (mut done, mut at) = match ctx.progress().as_deref() {
        Some([done, at]) => (*done, at.as_index().unwrap_or(0) as usize),
        _ => (ctx.local.known.empty, 0),
    };
    while at < len {
        let end = case_cut(ctx.heap.str_bytes(s), at);
        let mapped = full(ctx.heap.str_bytes(s), at, end);
        ctx.heap.work += (end - at) as u64 * CASE_FUEL;
        let piece = ctx.heap.new_string(&mapped)?;
        done = ctx.heap.concat(done, piece)?;
        at = end;
        if at < len && ctx.slice_over() {
            return Err(ctx.yields(&[done, Value::from_usize(at)]));
        }
    }
    ctx.heap.flat(done)
}

/// Bytes that a case mapping does between two looks at the fuel.
const CASE_BYTES: usize = 8 * 1024;
/// Fuel of a byte of it: as slow as that many instructions.
const CASE_FUEL: u64 = 16;

/// Where a piece that starts at `from` ends.
fn case_cut(bytes: &[u8], from: usize) -> usize {
    let mut end = from + CASE_BYTES;
    if end >= bytes.len() {
        return bytes.len();
    }
    while bytes[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    end
}

/// thisStringValue.
fn value_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.this(a);
    if v.is_string() {
        return Ok(v);
    }
    if ctx.is_kind(v, kind::BOXED) {
        let primitive = ctx.heap.get(v.as_ref(), 4);
        if primitive.is_string() {
            return Ok(primitive);
        }
    }
    Err(Throw::type_error("String.prototype.valueOf requires that 'this' be a String"))
}

fn len(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    Ok(Value::from_u32(ctx.heap.string_len(s)))
}

fn trimmed(ctx: &mut Ctx<'_>, a: Args, start: bool, end: bool) -> Result<Value, Throw> {
    let s = ctx.str_this(a)?;
    let all = ctx.heap.str_bytes(s);
    let mut part = all;
    if start {
        part = text::trim_start(part);
    }
    if end {
        part = text::trim_end(part);
    }
    if part.len() == all.len() {
        return Ok(s);
    }
    let from = part.as_ptr().addr() - all.as_ptr().addr();
    let to = from + part.len();
    byte_piece(ctx, s, from, to)
}

fn trim(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    trimmed(ctx, a, true, true)
}

fn trim_start(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    trimmed(ctx, a, true, false)
}

fn trim_end(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    trimmed(ctx, a, false, true)
}

/// `indexOf(text, pattern, from)` of strings; -1 if it isn't there.
fn helper_index_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (s, needle) = (ctx.str_arg(a, 0)?, ctx.str_arg(a, 1)?);
    let from = ctx.int_arg(a, 2)?;
    let len = ctx.heap.string_len(s);
    if from > f64::from(len) {
        return Ok(Value::int(-1));
    }
    Ok(position(find(ctx, s, needle, clamp(from, len))))
}

/// `substring(text, from, to)`, clamped.
fn helper_substring(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_arg(a, 0)?;
    let len = ctx.heap.string_len(s);
    let (from, to) = (clamp(ctx.int_arg(a, 1)?, len), clamp(ctx.int_arg(a, 2)?, len));
    piece(ctx, s, from, to)
}

/// `expand(template, text, position, matched)`: GetSubstitution without captures.
fn helper_expand(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (template, s, matched) = (ctx.str_arg(a, 0)?, ctx.str_arg(a, 1)?, ctx.str_arg(a, 3)?);
    let bytes = ctx.heap.str_bytes(template).to_vec();
    if !bytes.contains(&b'$') {
        return Ok(template);
    }
    let len = ctx.heap.string_len(s);
    let at = clamp(ctx.int_arg(a, 2)?, len);
    let mut out = ctx.local.known.empty;
    let mut start = 0;
    let mut i = 0;
    while i < bytes.len() {
        let part = match (bytes[i], bytes.get(i + 1)) {
            (b'$', Some(b'$')) => ctx.local.known.chars[usize::from(b'$')],
            (b'$', Some(b'&')) => matched,
            (b'$', Some(b'`')) => piece(ctx, s, 0, at)?,
            (b'$', Some(b'\'')) => {
                let end = (at + ctx.heap.string_len(matched)).min(len);
                piece(ctx, s, end, len)?
            }
            _ => {
                i += 1;
                continue;
            }
        };
        let before = small_string(ctx, &bytes[start..i])?;
        out = ctx.heap.concat(out, before)?;
        out = ctx.heap.concat(out, part)?;
        i += 2;
        start = i;
    }
    let rest = small_string(ctx, &bytes[start..])?;
    ctx.heap.concat(out, rest)
}
