//! Parameters into a Bind message.
//!
//! Numbers, booleans, bytes and timestamps whose SQL type is of their kind travel in binary. Everything else
//! travels as text and the server's own input function reads it, so that a string means exactly what it means in
//! SQL; what that function refuses comes back before BindComplete, and the connection makes it a
//! [`ParameterError`]. Integers from text (an id out of a URL) are parsed here, strictly, and save the round trip.

use std::fmt::Write;

use forebay_base::limits::VALUE_DEPTH_MAX;
use forebay_base::{Value, ValueError};

use super::{Composites, Scalar, Type, calendar, json, range};
use crate::error::ParameterError;
use crate::param::Param;

/// Format codes of the Bind message.
const TEXT: u16 = 0;
pub(crate) const BINARY: u16 = 1;

/// Largest integer up to which every integer is a double.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Text under construction, kept from one value to the next.
#[derive(Debug, Default)]
pub struct Scratch {
    text: String,
    /// Fields of composite types.
    pub(crate) composites: Composites,
}

/// The format code in which [`value`] writes this pair.
#[must_use]
pub fn format(param: &Param<'_>, ty: Type) -> u16 {
    let binary = !ty.array
        && match ty.scalar {
            Scalar::Int2 | Scalar::Int4 | Scalar::Int8 | Scalar::Oid => true,
            Scalar::Bool => matches!(param, Param::Bool(_)),
            Scalar::Float4 | Scalar::Float8 => matches!(param, Param::Int(_) | Param::Float(_)),
            Scalar::Bytea => matches!(param, Param::Bytes(_)),
            Scalar::Date | Scalar::Timestamp | Scalar::Timestamptz => matches!(param, Param::Timestamp(_)),
            _ => false,
        };
    if binary { BINARY } else { TEXT }
}

/// Appends `int32 length, bytes` of one parameter. On an error `out` ends in an incomplete value: the caller
/// truncates it.
///
/// # Errors
/// A value that the type can't hold, named by `index` (from 1).
pub fn value(
    param: &Param<'_>,
    ty: Type,
    index: u16,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), ParameterError> {
    if matches!(param, Param::Null) {
        out.extend_from_slice(&(-1i32).to_be_bytes());
        return Ok(());
    }
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(param, ty, scratch, out).map_err(|reason| ParameterError {
        index,
        type_name: super::name(ty.oid).into(),
        reason,
    })?;
    match i32::try_from(out.len() - start - 4) {
        Ok(length) => {
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        Err(_) => Err(ParameterError {
            index,
            type_name: super::name(ty.oid).into(),
            reason: "longer than 2 GiB".into(),
        }),
    }
}

pub(super) type Refusal = Box<str>;

/// Appends `int32 length, bytes` of a value of a binary COPY. False: only the server can read it; `out` may end in an
/// incomplete value then, as on an error.
pub(crate) fn copy_binary(
    param: &Param<'_>,
    ty: Type,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<bool, Refusal> {
    if matches!(param, Param::Null) {
        out.extend_from_slice(&(-1i32).to_be_bytes());
        return Ok(true);
    }
    if ty.array {
        return Ok(false);
    }
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    match ty.scalar {
        // The binary form is the text.
        Scalar::Text | Scalar::Json => body(param, ty, scratch, out)?,
        Scalar::Jsonb => {
            out.push(1);
            body(param, ty, scratch, out)?;
        }
        Scalar::Uuid => match param {
            Param::Str(text) => match uuid(text) {
                Some(bytes) => out.extend_from_slice(&bytes),
                None => return Ok(false),
            },
            other => return Err(mismatch("text", other)),
        },
        Scalar::Numeric => {
            let text = &mut scratch.text;
            text.clear();
            match param {
                Param::Str(v) | Param::Digits(v) => text.push_str(v),
                Param::Int(_) | Param::Float(_) => number(text, param),
                other => return Err(mismatch("a number", other)),
            }
            if !numeric(text, out) {
                return Ok(false);
            }
        }
        _ if format(param, ty) == BINARY => body(param, ty, scratch, out)?,
        // A value that isn't of the type's kind: the error is the same in either format.
        _ => {
            let mut nothing = Vec::new();
            body(param, ty, scratch, &mut nothing)?;
            return Ok(false);
        }
    }
    let length = i32::try_from(out.len() - start - 4).map_err(|_| Refusal::from("longer than 2 GiB"))?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(true)
}

/// Appends a value of COPY's text format (manual: "COPY", Text Format), without its tab or newline.
pub(crate) fn copy_text(
    param: &Param<'_>,
    ty: Type,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    if matches!(param, Param::Null) {
        out.extend_from_slice(b"\\N");
        return Ok(());
    }
    let mut made = Vec::new();
    sql_text(param, ty, scratch, &mut made)?;
    for byte in made {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => out.push(byte),
        }
    }
    Ok(())
}

/// The SQL text of a number, a date or bytes.
pub(crate) fn text(param: &Param<'_>) -> String {
    let mut out = String::new();
    match param {
        Param::Bytes(v) => hex(&mut out, v),
        other => number(&mut out, other),
    }
    out
}

/// A uuid as it is mostly written, `8-4-4-4-12` hexadecimal digits; the server knows other spellings.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 {
        return None;
    }
    let mut digits = bytes.iter().enumerate().filter(|(at, _)| !matches!(at, 8 | 13 | 18 | 23));
    if [8, 13, 18, 23].iter().any(|at| bytes[*at] != b'-') {
        return None;
    }
    let mut out = [0; 16];
    for byte in &mut out {
        for _ in 0..2 {
            let digit = char::from(*digits.next()?.1).to_digit(16)?;
            *byte = *byte << 4 | u8::try_from(digit).ok()?;
        }
    }
    Some(out)
}

/// Appends a numeric as `numeric_recv` reads it; false if `text` is no plain decimal number.
fn numeric(text: &str, out: &mut Vec<u8>) -> bool {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (0x4000u16, rest),
        None => (0, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    // Beyond these the server has something to say about it.
    if whole.is_empty() || !plain(whole) || !plain(fraction) || whole.len() > 1000 || fraction.len() > 1000 {
        return false;
    }
    if fraction.is_empty() && digits.ends_with('.') {
        return false;
    }
    let whole = whole.trim_start_matches('0');
    // Groups of four digits, those of the fraction filled up with zeros.
    let mut groups: Vec<i16> = Vec::new();
    let lead = whole.len().div_ceil(4);
    let group = |digits: &str| digits.parse::<i16>().unwrap_or(0);
    let first = whole.len() % 4;
    if first > 0 {
        groups.push(group(&whole[..first]));
    }
    let mut rest = &whole[first..];
    while !rest.is_empty() {
        groups.push(group(&rest[..4]));
        rest = &rest[4..];
    }
    let mut rest = fraction;
    while !rest.is_empty() {
        let now = rest.len().min(4);
        let scale = [0, 1000, 100, 10, 1][now];
        groups.push(group(&rest[..now]) * scale);
        rest = &rest[now..];
    }
    let mut weight = i16::try_from(lead).unwrap_or(0) - 1;
    let skip = groups.iter().take_while(|g| **g == 0).count();
    groups.drain(..skip);
    weight -= i16::try_from(skip).unwrap_or(0);
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let sign = if groups.is_empty() { 0 } else { sign };
    let weight = if groups.is_empty() { 0 } else { weight };
    let count = i16::try_from(groups.len()).unwrap_or(0);
    let scale = i16::try_from(fraction.len()).unwrap_or(0);
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&scale.to_be_bytes());
    groups.iter().for_each(|group| out.extend_from_slice(&group.to_be_bytes()));
    true
}

fn body(param: &Param<'_>, ty: Type, scratch: &mut Scratch, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let text = &mut scratch.text;
    text.clear();
    if ty.array {
        return match param {
            Param::List(items) => {
                let mut made = String::new();
                array(&mut made, items, ty, 0, scratch)?;
                put_text(&made, out)
            }
            Param::Str(v) => put_text(v, out),
            other => Err(mismatch("a list", other)),
        };
    }
    match ty.scalar {
        Scalar::Int2 => int(param, i16::MIN.into(), i16::MAX.into())
            .map(|v| out.extend_from_slice(&i16::try_from(v).unwrap_or_default().to_be_bytes())),
        Scalar::Int4 => int(param, i32::MIN.into(), i32::MAX.into())
            .map(|v| out.extend_from_slice(&i32::try_from(v).unwrap_or_default().to_be_bytes())),
        Scalar::Int8 => int(param, i64::MIN, i64::MAX).map(|v| out.extend_from_slice(&v.to_be_bytes())),
        Scalar::Oid => int(param, 0, u32::MAX.into())
            .map(|v| out.extend_from_slice(&u32::try_from(v).unwrap_or_default().to_be_bytes())),
        Scalar::Bool => match param {
            Param::Bool(v) => {
                out.push(u8::from(*v));
                Ok(())
            }
            Param::Str(v) => put_text(v, out),
            other => Err(mismatch("a boolean", other)),
        },
        Scalar::Float4 | Scalar::Float8 => float(param, ty.scalar, out),
        Scalar::Numeric => match param {
            Param::Str(v) | Param::Digits(v) => put_text(v, out),
            Param::Int(_) | Param::Float(_) => {
                number(text, param);
                put_text(text, out)
            }
            other => Err(mismatch("a number", other)),
        },
        Scalar::Bytea => match param {
            Param::Bytes(v) => {
                out.extend_from_slice(v);
                Ok(())
            }
            Param::Str(v) => put_text(v, out),
            other => Err(mismatch("bytes", other)),
        },
        Scalar::Json | Scalar::Jsonb => {
            let refusal = |e: ValueError| Refusal::from(e.to_string());
            match param {
                Param::List(items) => json::write_list(text, items, 0).map_err(refusal)?,
                Param::Map(pairs) => json::write_map(text, pairs, 0).map_err(refusal)?,
                // Text is parsed into the SQL type: it has to be json text.
                Param::Str(v) => return put_text(v, out),
                Param::Undefined => return Err(mismatch("json", param)),
                other => json::write(text, &other.to_value(), 0).map_err(refusal)?,
            }
            put_text(text, out)
        }
        Scalar::Date => match param {
            Param::Timestamp(v) => {
                let days = v.div_euclid(calendar::DAY_MICROS) - calendar::EPOCH_DAYS;
                let days = i32::try_from(days).map_err(|_| Refusal::from("out of range"))?;
                out.extend_from_slice(&days.to_be_bytes());
                Ok(())
            }
            Param::Str(v) => put_text(v, out),
            other => Err(mismatch("a date or text", other)),
        },
        Scalar::Timestamp | Scalar::Timestamptz => match param {
            Param::Timestamp(v) => {
                let micros = v.checked_sub(calendar::EPOCH_MICROS).ok_or("out of range")?;
                out.extend_from_slice(&micros.to_be_bytes());
                Ok(())
            }
            Param::Str(v) => put_text(v, out),
            other => Err(mismatch("a date or text", other)),
        },
        Scalar::Uuid
        | Scalar::Time
        | Scalar::Interval
        | Scalar::Timetz
        | Scalar::Bit
        | Scalar::Inet
        | Scalar::Macaddr => match param {
            Param::Str(v) => put_text(v, out),
            other => Err(mismatch("text", other)),
        },
        Scalar::Text => match param {
            Param::Str(v) | Param::Digits(v) => put_text(v, out),
            Param::Int(_) | Param::Float(_) | Param::Timestamp(_) => {
                number(text, param);
                put_text(text, out)
            }
            other => Err(mismatch("text", other)),
        },
        Scalar::Composite => match param {
            Param::Str(v) => put_text(v, out),
            Param::Map(pairs) => {
                let fields =
                    scratch.composites.get(&ty.oid).cloned().ok_or("a composite type that isn't known")?;
                let mut text = String::new();
                record(&mut text, pairs, &fields, scratch)?;
                put_text(&text, out)
            }
            other => Err(mismatch("an object or text", other)),
        },
        Scalar::Hstore => match param {
            Param::Str(v) => put_text(v, out),
            Param::Map(pairs) => {
                hstore(text, pairs)?;
                put_text(text, out)
            }
            other => Err(mismatch("an object or text", other)),
        },
        Scalar::Vector => match param {
            Param::Str(v) => put_text(v, out),
            Param::List(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    text.push_str(if index > 0 { "," } else { "" });
                    match item {
                        Value::Int(_) | Value::Float(_) => number(text, &Param::from(item)),
                        other => return Err(mismatch("numbers", &Param::from(other))),
                    }
                }
                text.push(']');
                put_text(text, out)
            }
            other => Err(mismatch("a list of numbers", other)),
        },
        Scalar::Range(bound) => match param {
            Param::Str(v) => put_text(v, out),
            Param::Map(pairs) => {
                let mut text = String::new();
                range::range_literal(&mut text, pairs, bound, scratch)?;
                put_text(&text, out)
            }
            other => Err(mismatch("a range or text", other)),
        },
        Scalar::Multirange(bound) => match param {
            Param::Str(v) => put_text(v, out),
            Param::List(items) => {
                let mut text = String::new();
                range::multirange_literal(&mut text, items, bound, scratch)?;
                put_text(&text, out)
            }
            other => Err(mismatch("a list of ranges or text", other)),
        },
        Scalar::Void | Scalar::Other => {
            match param {
                Param::Str(v) | Param::Digits(v) => return put_text(v, out),
                Param::Undefined => return Err(mismatch("a value", param)),
                Param::List(items) => {
                    let mut made = String::new();
                    array(&mut made, items, ty, 0, scratch)?;
                    return put_text(&made, out);
                }
                Param::Map(pairs) => {
                    json::write_map(text, pairs, 0).map_err(|e| Refusal::from(e.to_string()))?;
                }
                Param::Bool(v) => text.push_str(if *v { "true" } else { "false" }),
                Param::Bytes(v) => hex(text, v),
                Param::Int(_) | Param::Float(_) | Param::Timestamp(_) | Param::Null => number(text, param),
            }
            put_text(text, out)
        }
    }
}

/// Appends an hstore literal: everything quoted but NULL.
fn hstore(text: &mut String, pairs: &[(Box<str>, Value)]) -> Result<(), Refusal> {
    for (index, (key, value)) in pairs.iter().enumerate() {
        text.push_str(if index > 0 { "," } else { "" });
        quote(text, key);
        text.push_str("=>");
        match value {
            Value::Null => text.push_str("NULL"),
            Value::Undefined => return Err(format!("{key:?} is undefined").into()),
            Value::Str(v) | Value::Decimal(v) | Value::BigInt(v) => quote(text, v),
            Value::Bool(v) => quote(text, if *v { "true" } else { "false" }),
            Value::Int(_) | Value::Float(_) | Value::Timestamp(_) => {
                let mut made = String::new();
                number(&mut made, &Param::from(value));
                quote(text, &made);
            }
            other => return Err(mismatch("text for an hstore", &Param::from(other))),
        }
    }
    Ok(())
}

/// Appends a record literal (manual: "Composite Types", Constructing Composite Values): every field quoted, NULL empty.
fn record(
    text: &mut String,
    pairs: &[(Box<str>, Value)],
    fields: &[(Box<str>, Type)],
    scratch: &mut Scratch,
) -> Result<(), Refusal> {
    if let Some((name, _)) = pairs.iter().find(|(name, _)| !fields.iter().any(|(field, _)| field == name)) {
        return Err(format!("the composite type has no field {name:?}").into());
    }
    text.push('(');
    for (index, (name, ty)) in fields.iter().enumerate() {
        text.push_str(if index > 0 { "," } else { "" });
        let value = pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        match value {
            None | Some(Value::Undefined) => return Err(format!("the field {name:?} is missing").into()),
            Some(Value::Null) => {}
            Some(value) => {
                let mut made = Vec::new();
                sql_text(&Param::from(value), *ty, scratch, &mut made).map_err(|e| format!("{name}: {e}"))?;
                let made = String::from_utf8(made).map_err(|_| "not text")?;
                quote(text, &made);
            }
        }
    }
    text.push(')');
    Ok(())
}

/// Appends the SQL text of a value that isn't null, checked as ever.
pub(super) fn sql_text(
    param: &Param<'_>,
    ty: Type,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let start = out.len();
    body(param, ty, scratch, out)?;
    if format(param, ty) == BINARY {
        // Checked, and then written as text.
        out.truncate(start);
        match param {
            Param::Bool(v) => out.push(if *v { b't' } else { b'f' }),
            Param::Str(v) | Param::Digits(v) => out.extend_from_slice(v.as_bytes()),
            other => out.extend_from_slice(text(other).as_bytes()),
        }
    }
    Ok(())
}

pub(super) fn mismatch(expected: &str, got: &Param<'_>) -> Refusal {
    format!("expected {expected}, got {}", got.kind()).into()
}

fn put_text(text: &str, out: &mut Vec<u8>) -> Result<(), Refusal> {
    if text.as_bytes().contains(&0) {
        return Err("text with a NUL character".into());
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// An integer from `low` to `high`, never by way of a double that isn't one.
fn int(param: &Param<'_>, low: i64, high: i64) -> Result<i64, Refusal> {
    let value = match *param {
        Param::Int(v) => v,
        #[expect(clippy::cast_possible_truncation, reason = "integral and within 2^53, as the guard says")]
        Param::Float(v) if v.fract() == 0.0 && v.abs() <= EXACT_MAX => v as i64,
        Param::Float(v) => return Err(format!("{v} is not an exact integer").into()),
        Param::Str(v) | Param::Digits(v) => {
            let digits = v.strip_prefix(['-', '+']).unwrap_or(v);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err("not an integer".into());
            }
            v.parse().map_err(|_| Refusal::from("out of range"))?
        }
        ref other => return Err(mismatch("an integer", other)),
    };
    if (low..=high).contains(&value) { Ok(value) } else { Err("out of range".into()) }
}

fn float(param: &Param<'_>, ty: Scalar, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let value = match param {
        Param::Float(v) => *v,
        #[expect(clippy::cast_precision_loss, reason = "what the server's own cast from int8 does")]
        Param::Int(v) => *v as f64,
        Param::Str(v) | Param::Digits(v) => return put_text(v, out),
        other => return Err(mismatch("a number", other)),
    };
    if ty == Scalar::Float8 {
        out.extend_from_slice(&value.to_be_bytes());
        return Ok(());
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounding to float4 is what the column asks for")]
    let narrow = value as f32;
    if narrow.is_infinite() && value.is_finite() {
        return Err("out of range".into());
    }
    out.extend_from_slice(&narrow.to_be_bytes());
    Ok(())
}

/// Appends the SQL text of a number, timestamp or null.
fn number(text: &mut String, param: &Param<'_>) {
    match *param {
        Param::Int(v) => {
            let _ = write!(text, "{v}");
        }
        Param::Float(v) if v.is_nan() => text.push_str("NaN"),
        Param::Float(v) if v.is_infinite() => text.push_str(if v > 0.0 { "Infinity" } else { "-Infinity" }),
        Param::Float(v) => json::write_float(text, v),
        Param::Timestamp(v) => calendar::write_timestamp(text, v),
        _ => {}
    }
}

fn hex(text: &mut String, bytes: &[u8]) {
    text.push_str("\\x");
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}

/// Appends an array literal (manual: "Array Input and Output Syntax"); lists in lists are dimensions, except for
/// json, whose elements may be lists.
fn array(
    text: &mut String,
    items: &[Value],
    ty: Type,
    depth: usize,
    scratch: &mut Scratch,
) -> Result<(), Refusal> {
    if depth >= VALUE_DEPTH_MAX {
        return Err(ValueError::TooDeep.to_string().into());
    }
    text.push('{');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        match item {
            Value::Undefined => return Err(format!("element {index} is undefined").into()),
            Value::Null => text.push_str("NULL"),
            item if matches!(ty.scalar, Scalar::Json | Scalar::Jsonb) && !matches!(item, Value::Str(_)) => {
                let mut element = String::new();
                json::write(&mut element, item, 0).map_err(|e| Refusal::from(e.to_string()))?;
                quote(text, &element);
            }
            Value::List(ranges)
                if let (Scalar::Multirange(bound), true) = (ty.scalar, range::is_multirange(ranges)) =>
            {
                let mut element = String::new();
                range::multirange_literal(&mut element, ranges, bound, scratch)?;
                quote(text, &element);
            }
            Value::Map(pairs) if let Scalar::Range(bound) = ty.scalar => {
                let mut element = String::new();
                range::range_literal(&mut element, pairs, bound, scratch)?;
                quote(text, &element);
            }
            Value::List(inner) => array(text, inner, ty, depth + 1, scratch)?,
            Value::Map(pairs) if ty.scalar == Scalar::Hstore => {
                let mut element = String::new();
                hstore(&mut element, pairs)?;
                quote(text, &element);
            }
            Value::Map(pairs) if let Some(fields) = scratch.composites.get(&ty.oid).cloned() => {
                let mut element = String::new();
                record(&mut element, pairs, &fields, scratch)?;
                quote(text, &element);
            }
            Value::Map(_) => return Err(format!("element {index} is an object").into()),
            Value::Bool(v) => text.push_str(if *v { "true" } else { "false" }),
            Value::Str(v) | Value::Decimal(v) | Value::BigInt(v) => quote(text, v),
            Value::Bytes(v) => {
                text.push_str("\"\\");
                hex(text, v);
                text.push('"');
            }
            Value::Int(_) | Value::Float(_) => number(text, &Param::from(item)),
            Value::Timestamp(_) => {
                text.push('"');
                number(text, &Param::from(item));
                text.push('"');
            }
        }
    }
    text.push('}');
    Ok(())
}

pub(super) fn quote(text: &mut String, element: &str) {
    text.push('"');
    for c in element.chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::builtin;

    /// Encodes; shows text as it is and binary as hex.
    fn check(param: Param<'_>, oid: u32, expect: &str) {
        let ty = builtin(oid).unwrap();
        let mut out = Vec::new();
        let got = match value(&param, ty, 1, &mut Scratch::default(), &mut out) {
            Ok(()) if format(&param, ty) == TEXT => String::from_utf8(out[4..].to_vec()).unwrap(),
            Ok(()) => out[4..].iter().map(|b| format!("{b:02x}")).collect(),
            Err(e) => e.to_string(),
        };
        assert!(got.contains(expect), "{param:?} as {oid}: got {got:?}, expected {expect:?}");
    }

    #[test]
    fn integers_are_exact_or_refused() {
        check(Param::Int(7), 23, "00000007");
        check(Param::Str("-7"), 21, "fff9");
        check(Param::Float(3.0), 20, "0000000000000003");
        check(
            Param::Float(1.5),
            23,
            "parameter $1: invalid input for type int4: 1.5 is not an exact integer",
        );
        check(Param::Float(1e300), 20, "not an exact integer");
        check(Param::Int(40_000), 21, "invalid input for type int2: out of range");
        check(Param::Str("9223372036854775808"), 20, "out of range");
        check(Param::Digits("9223372036854775807"), 20, "7fffffffffffffff");
        for text in ["", "12abc", " 12", "1.0", "0x10", "+-1", "-", "1_000"] {
            check(Param::Str(text), 23, "invalid input for type int4: not an integer");
        }
        check(Param::Bool(true), 23, "expected an integer, got a boolean");
        check(Param::Undefined, 23, "got undefined");
        check(Param::Int(-1), 26, "out of range");
    }

    #[test]
    fn other_kinds() {
        check(Param::Int(1), 16, "expected a boolean, got an integer");
        check(Param::Float(1e300), 700, "out of range");
        check(Param::Float(0.1), 1700, "0.1");
        check(Param::Float(f64::NEG_INFINITY), 1700, "-Infinity");
        check(Param::Str("a\0b"), 25, "NUL");
        check(Param::Int(5), 25, "5");
        check(Param::Bytes(b"\x01"), 17, "01");
        check(Param::Timestamp(calendar::EPOCH_MICROS + 1), 1184, "0000000000000001");
        check(Param::Int(5), 1184, "expected a date or text");
        let list = [Value::Int(1), Value::Null, "a\"\\,{}".into(), Value::List(vec![true.into()])];
        check(Param::List(&list), 1009, r#"{1,NULL,"a\"\\,{}",{true}}"#);
        check(Param::List(&[Value::Bytes([1, 255].into())]), 1001, r#"{"\\x01ff"}"#);
        check(Param::List(&[Value::Undefined]), 1009, "element 0 is undefined");
        check(Param::List(&list[..2]), 3802, "[1,null]");
        check(Param::Map(&[("a".into(), Value::Undefined), ("b".into(), Value::Null)]), 114, r#"{"b":null}"#);
        check(Param::List(&[Value::List(vec![Value::Int(1)])]), 3807, r#"{"[1]"}"#);
    }
}
