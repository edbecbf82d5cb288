//! Ranges as objects `{lower, upper, lowerInclusive, upperInclusive, empty}`, multiranges as lists of those.
//!
//! Without a bound, `lower` or `upper` is null. Decoded from the binary form, which has a byte of flags
//! (`src/include/utils/rangetypes.h`); encoded as the literal (manual: "Range Types", Input/Output), in which what is
//! left out means `[lower,upper)`.

use forebay_base::{Value, ValueError, ValueSink};

use super::decode::{self, malformed};
use super::encode::{self, Refusal, mismatch};
use super::{Scalar, Type};
use crate::param::Param;

/// What a range is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// int2
    Int2,
    /// int4
    Int4,
    /// int8
    Int8,
    /// float4
    Float4,
    /// float8
    Float8,
    /// numeric
    Numeric,
    /// date
    Date,
    /// time
    Time,
    /// timestamp
    Timestamp,
    /// timestamptz
    Timestamptz,
    /// interval
    Interval,
    /// text and enums
    Text,
    /// uuid
    Uuid,
    /// inet
    Inet,
}

const BOUNDS: [(Bound, Scalar); 14] = [
    (Bound::Int2, Scalar::Int2),
    (Bound::Int4, Scalar::Int4),
    (Bound::Int8, Scalar::Int8),
    (Bound::Float4, Scalar::Float4),
    (Bound::Float8, Scalar::Float8),
    (Bound::Numeric, Scalar::Numeric),
    (Bound::Date, Scalar::Date),
    (Bound::Time, Scalar::Time),
    (Bound::Timestamp, Scalar::Timestamp),
    (Bound::Timestamptz, Scalar::Timestamptz),
    (Bound::Interval, Scalar::Interval),
    (Bound::Text, Scalar::Text),
    (Bound::Uuid, Scalar::Uuid),
    (Bound::Inet, Scalar::Inet),
];

impl Bound {
    /// The bound of a range over this type, or `None`: such a range travels as text.
    #[must_use]
    pub fn of(ty: Type) -> Option<Self> {
        let found = BOUNDS.iter().find(|(_, scalar)| *scalar == ty.scalar && !ty.array);
        found.map(|(bound, _)| *bound)
    }

    fn ty(self) -> Type {
        let found = BOUNDS.iter().find(|(bound, _)| *bound == self);
        Type { oid: 0, scalar: found.map_or(Scalar::Other, |(_, scalar)| *scalar), array: false }
    }
}

const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
/// Infinite or null.
const NO_LOWER: u8 = 0x08 | 0x20;
const NO_UPPER: u8 = 0x10 | 0x40;

/// `uint8 flags; {int32 length; bytes}` of each bound that there is (`range_send`).
pub(super) fn range(
    bound: Bound,
    bytes: &[u8],
    scratch: &mut decode::Scratch,
    sink: &mut dyn ValueSink,
) -> Result<(), ValueError> {
    let (flags, mut rest) = bytes.split_first().ok_or(malformed("a range"))?;
    let empty = flags & EMPTY != 0;
    sink.begin_map(Some(5))?;
    for (key, absent) in [("lower", NO_LOWER), ("upper", NO_UPPER)] {
        sink.key(key)?;
        if empty || flags & absent != 0 {
            sink.null()?;
        } else {
            let value = decode::field(&mut rest).flatten().ok_or(malformed("a range"))?;
            decode::column(bound.ty(), Some(value), scratch, sink)?;
        }
    }
    if !rest.is_empty() {
        return Err(malformed("the end of a range"));
    }
    for (key, flag) in [("lowerInclusive", LOWER_INCLUSIVE), ("upperInclusive", UPPER_INCLUSIVE)] {
        sink.key(key)?;
        sink.bool(!empty && flags & flag != 0)?;
    }
    sink.key("empty")?;
    sink.bool(empty)?;
    sink.end_map()
}

/// `int32 count; {int32 length; range}` (`multirange_send`).
pub(super) fn multirange(
    bound: Bound,
    bytes: &[u8],
    scratch: &mut decode::Scratch,
    sink: &mut dyn ValueSink,
) -> Result<(), ValueError> {
    let expected = "a multirange";
    let (count, mut rest) = bytes.split_first_chunk::<4>().ok_or(malformed(expected))?;
    let count = u32::from_be_bytes(*count) as usize;
    // A range has at least its length and its flags.
    if count.checked_mul(5).is_none_or(|least| least > rest.len()) {
        return Err(malformed(expected));
    }
    sink.begin_list(Some(count))?;
    for _ in 0..count {
        let bytes = decode::field(&mut rest).flatten().ok_or(malformed(expected))?;
        range(bound, bytes, scratch, sink)?;
    }
    if rest.is_empty() { sink.end_list() } else { Err(malformed("the end of a multirange")) }
}

/// Appends the literal of a range.
pub(super) fn range_literal(
    text: &mut String,
    pairs: &[(Box<str>, Value)],
    bound: Bound,
    scratch: &mut encode::Scratch,
) -> Result<(), Refusal> {
    const KEYS: [&str; 5] = ["lower", "upper", "lowerInclusive", "upperInclusive", "empty"];
    if let Some((key, _)) = pairs.iter().find(|(key, _)| !KEYS.contains(&&**key)) {
        return Err(format!("a range has no {key:?}").into());
    }
    let get = |name: &str| pairs.iter().find(|(key, _)| &**key == name).map(|(_, value)| value);
    let flag = |name: &str, default: bool| match get(name) {
        None => Ok(default),
        Some(Value::Bool(v)) => Ok(*v),
        Some(other) => Err(format!("{name}: {}", mismatch("a boolean", &Param::from(other)))),
    };
    let (lower, upper) = (get("lower"), get("upper"));
    if flag("empty", false)? {
        if [lower, upper].iter().any(|bound| !matches!(bound, None | Some(Value::Null))) {
            return Err("an empty range has no bounds".into());
        }
        text.push_str("empty");
        return Ok(());
    }
    text.push(if flag("lowerInclusive", true)? { '[' } else { '(' });
    bound_literal(text, "lower", lower, bound, scratch)?;
    text.push(',');
    bound_literal(text, "upper", upper, bound, scratch)?;
    text.push(if flag("upperInclusive", false)? { ']' } else { ')' });
    Ok(())
}

fn bound_literal(
    text: &mut String,
    name: &str,
    value: Option<&Value>,
    bound: Bound,
    scratch: &mut encode::Scratch,
) -> Result<(), Refusal> {
    match value {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Undefined) => Err(format!("{name} is undefined").into()),
        Some(value) => {
            let mut made = Vec::new();
            encode::sql_text(&Param::from(value), bound.ty(), scratch, &mut made)
                .map_err(|e| format!("{name}: {e}"))?;
            let made = String::from_utf8(made).map_err(|_| "not text")?;
            encode::quote(text, &made);
            Ok(())
        }
    }
}

/// Appends the literal of a multirange: ranges as objects.
pub(super) fn multirange_literal(
    text: &mut String,
    items: &[Value],
    bound: Bound,
    scratch: &mut encode::Scratch,
) -> Result<(), Refusal> {
    text.push('{');
    for (index, item) in items.iter().enumerate() {
        text.push_str(if index > 0 { "," } else { "" });
        match item {
            Value::Map(pairs) => range_literal(text, pairs, bound, scratch)?,
            other => return Err(mismatch("a list of ranges", &Param::from(other))),
        }
    }
    text.push('}');
    Ok(())
}

/// Whether a list in an array of multiranges is one of them, not a dimension.
pub(super) fn is_multirange(items: &[Value]) -> bool {
    items.iter().all(|item| matches!(item, Value::Map(_)))
}
