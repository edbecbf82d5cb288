//! Columns of a DataRow into a sink, from the receive buffer.
//!
//! Binary forms are those of the server's `*send` functions (`src/backend/utils/adt`). Every length is checked
//! before it is used: a value of another length than its type has is [`ValueError::Malformed`], never a panic.

use std::fmt::Write;

use forebay_base::value::{Field, utf8};
use forebay_base::{ValueError, ValueSink};

use super::{Composites, Scalar, Type, calendar, json, range};

/// Dimensions of an array (the server's MAXDIM).
const DIMENSIONS_MAX: usize = 6;

/// Text under construction, kept from one value to the next.
#[derive(Debug, Default)]
pub struct Scratch {
    text: String,
    /// Fields of composite types.
    pub(crate) composites: Composites,
}

pub(super) fn malformed(expected: &'static str) -> ValueError {
    ValueError::Malformed { offset: 0, expected }
}

fn fixed<const N: usize>(bytes: &[u8], expected: &'static str) -> Result<[u8; N], ValueError> {
    bytes.try_into().map_err(|_| malformed(expected))
}

/// Pushes one column: `None` is SQL NULL.
///
/// # Errors
/// [`ValueError::Malformed`] if the bytes aren't a value of `ty`, or what the sink refuses.
pub fn column(
    ty: Type,
    bytes: Option<&[u8]>,
    scratch: &mut Scratch,
    sink: &mut dyn ValueSink,
) -> Result<(), ValueError> {
    match bytes {
        None => sink.null(),
        Some(bytes) if ty.array && !ty.is_binary() => text_array(bytes, sink),
        Some(bytes) if ty.array => array(ty.scalar, bytes, scratch, sink),
        Some(bytes) => scalar(ty, bytes, scratch, sink),
    }
}

fn scalar(ty: Type, bytes: &[u8], scratch: &mut Scratch, sink: &mut dyn ValueSink) -> Result<(), ValueError> {
    match ty.scalar {
        Scalar::Composite => composite(ty.oid, bytes, scratch, sink),
        Scalar::Hstore => hstore(bytes, sink),
        Scalar::Vector => vector(bytes, sink),
        Scalar::Range(bound) => range::range(bound, bytes, scratch, sink),
        Scalar::Multirange(bound) => range::multirange(bound, bytes, scratch, sink),
        Scalar::Json => json::parse(bytes, sink),
        Scalar::Jsonb => match bytes.split_first() {
            Some((1, text)) => json::parse(text, sink),
            _ => Err(malformed("version 1 of jsonb")),
        },
        _ => {
            scratch.text.clear();
            let text = &mut scratch.text;
            let mut value = Field::Null;
            plain(ty.scalar, bytes, text, &mut value)?;
            match value {
                Field::Null => sink.null(),
                Field::Bool(v) => sink.bool(v),
                Field::Int(v) => sink.int(v),
                Field::Float(v) => sink.float(v),
                Field::Text(bytes) => sink.str(utf8(bytes)?),
                Field::Bytes(v) => sink.bytes(v),
                Field::Timestamp(v) => sink.timestamp(v),
                // The text of this one value.
                Field::Made(..) => sink.str(text),
                Field::Digits(..) => sink.decimal(text),
            }
        }
    }
}

/// Whether values of this type are one field each, for [`row`].
#[must_use]
pub fn is_plain(ty: Type) -> bool {
    use Scalar::{Composite, Hstore, Json, Jsonb, Multirange, Range, Vector};
    let several = matches!(ty.scalar, Json | Jsonb | Composite | Hstore | Vector | Range(_) | Multirange(_));
    !ty.array && !several
}

/// Pushes the fields of one DataRow, all of whose `types` are [plain](is_plain). `fields` is as long as `types`; what
/// it holds is of no interest.
///
/// # Errors
/// As [`column`]; fields that are too few or too many.
pub fn row<'b>(
    columns: &[Box<str>],
    types: &[Type],
    mut bytes: &'b [u8],
    fields: &mut [Field<'b>],
    scratch: &mut Scratch,
    sink: &mut dyn ValueSink,
) -> Result<(), ValueError> {
    scratch.text.clear();
    for (slot, ty) in fields.iter_mut().zip(types) {
        match field(&mut bytes) {
            Some(Some(value)) => plain(ty.scalar, value, &mut scratch.text, slot)?,
            Some(None) => *slot = Field::Null,
            None => return Err(malformed("a DataRow")),
        }
    }
    if !bytes.is_empty() {
        return Err(malformed("the end of a DataRow"));
    }
    sink.row(columns, fields, &scratch.text)
}

/// One value, into its slot: returned, it would be copied about byte by byte, and a load that spans two stores waits
/// for both. Text that has to be made is appended to `text`.
#[inline(always)]
fn plain<'b>(ty: Scalar, bytes: &'b [u8], text: &mut String, slot: &mut Field<'b>) -> Result<(), ValueError> {
    let start = text.len();
    let made = |text: &String| Field::Made(place(start), place(text.len()));
    match ty {
        Scalar::Int4 => *slot = Field::Int(i32::from_be_bytes(fixed(bytes, "4 bytes of int4")?).into()),
        Scalar::Int8 => *slot = Field::Int(i64::from_be_bytes(fixed(bytes, "8 bytes of int8")?)),
        Scalar::Text | Scalar::Other => *slot = Field::Text(bytes),
        Scalar::Int2 => *slot = Field::Int(i16::from_be_bytes(fixed(bytes, "2 bytes of int2")?).into()),
        Scalar::Oid => *slot = Field::Int(u32::from_be_bytes(fixed(bytes, "4 bytes of oid")?).into()),
        Scalar::Bool => match bytes {
            [0] => *slot = Field::Bool(false),
            [1] => *slot = Field::Bool(true),
            _ => return Err(malformed("1 byte of bool")),
        },
        Scalar::Float4 => *slot = Field::Float(widen(f32::from_be_bytes(fixed(bytes, "4 bytes of float4")?))),
        Scalar::Float8 => *slot = Field::Float(f64::from_be_bytes(fixed(bytes, "8 bytes of float8")?)),
        Scalar::Numeric => {
            numeric(bytes, text)?;
            *slot = Field::Digits(place(start), place(text.len()));
        }
        Scalar::Bytea => *slot = Field::Bytes(bytes),
        Scalar::Uuid => {
            uuid(bytes, text)?;
            *slot = made(text);
        }
        Scalar::Date => {
            date(i32::from_be_bytes(fixed(bytes, "4 bytes of date")?), text);
            *slot = made(text);
        }
        Scalar::Time => {
            let micros = i64::from_be_bytes(fixed(bytes, "8 bytes of time")?);
            if !(0..=calendar::DAY_MICROS).contains(&micros) {
                return Err(malformed("a time of day"));
            }
            calendar::write_time(text, micros);
            *slot = made(text);
        }
        Scalar::Timestamp | Scalar::Timestamptz => {
            match i64::from_be_bytes(fixed(bytes, "8 bytes of timestamp")?) {
                // Infinities are text, as a `Date` has none.
                i64::MAX => *slot = Field::Text(b"infinity"),
                i64::MIN => *slot = Field::Text(b"-infinity"),
                micros => match micros.checked_add(calendar::EPOCH_MICROS) {
                    Some(unix) => *slot = Field::Timestamp(unix),
                    None => return Err(ValueError::Unsupported("a timestamp beyond the year 294246")),
                },
            }
        }
        Scalar::Interval => {
            let [micros @ .., d0, d1, d2, d3, m0, m1, m2, m3] = fixed::<16>(bytes, "16 bytes of interval")?;
            let (days, months) = (i32::from_be_bytes([d0, d1, d2, d3]), i32::from_be_bytes([m0, m1, m2, m3]));
            calendar::write_interval(text, months, days, i64::from_be_bytes(micros));
            *slot = made(text);
        }
        Scalar::Void => *slot = Field::Null,
        Scalar::Timetz => {
            timetz(bytes, text)?;
            *slot = made(text);
        }
        Scalar::Bit => {
            bits(bytes, text)?;
            *slot = made(text);
        }
        Scalar::Inet => {
            inet(bytes, text)?;
            *slot = made(text);
        }
        Scalar::Macaddr => {
            if !matches!(bytes.len(), 6 | 8) {
                return Err(malformed("6 or 8 bytes of macaddr"));
            }
            for (index, byte) in bytes.iter().enumerate() {
                let colon = if index > 0 { ":" } else { "" };
                let _ = write!(text, "{colon}{byte:02x}");
            }
            *slot = made(text);
        }
        Scalar::Json
        | Scalar::Jsonb
        | Scalar::Composite
        | Scalar::Hstore
        | Scalar::Vector
        | Scalar::Range(_)
        | Scalar::Multirange(_) => {
            return Err(malformed("a plain value"));
        }
    }
    Ok(())
}

/// A place in a row's text. A row is shorter than 4 GiB, and what is made of it isn't longer than a few times that:
/// beyond the end it is refused as malformed.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Up to here every integer is a float4, and prints as it is.
const FLOAT4_EXACT_MAX: f64 = 16_777_216.0;

/// float4 as the number that the server's text for it is: 0.1, not 0.10000000149011612; 1234568000, not 1234567936.
fn widen(value: f32) -> f64 {
    let wide = f64::from(value);
    if !wide.is_finite() || wide.fract() == 0.0 && wide.abs() <= FLOAT4_EXACT_MAX {
        return wide;
    }
    // Closer to this float4 than to its neighbours. The server doesn't write the middle between two, which some readers
    // round the wrong way (`src/common/ryu_common.h`, STRICTLY_SHORTEST).
    let names = |number: f64| {
        let away = number.abs() > wide.abs() && value.abs() < f32::MAX;
        let neighbour = if away == (value > 0.0) { value.next_up() } else { value.next_down() };
        (number - wide).abs() < (f64::from(neighbour) - wide).abs() / 2.0
    };
    let text = format!("{value:e}");
    let digits = text.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    // As many digits as it takes, rounded to even where two are as near.
    let rounded = |digits: usize| format!("{value:.*e}", digits - 1).parse().unwrap_or(wide);
    let all =
        [rounded(digits), text.parse().unwrap_or(wide)].into_iter().chain((digits + 1..10).map(rounded));
    all.into_iter().find(|number| names(*number)).unwrap_or(wide)
}

/// `int16 ndigits, weight; uint16 sign; int16 dscale; int16 digits[ndigits]`, base 10,000 (`numeric_send`).
fn numeric(bytes: &[u8], text: &mut String) -> Result<(), ValueError> {
    let expected = "a numeric";
    let (head, digits) = bytes.split_first_chunk::<8>().ok_or(malformed(expected))?;
    let word = |index: usize| i16::from_be_bytes([head[index], head[index + 1]]);
    let (count, weight, dscale) = (word(0), i32::from(word(2)), word(6));
    let sign = u16::from_be_bytes([head[4], head[5]]);
    let name = match sign {
        0 | 0x4000 => "",
        0xc000 => "NaN",
        0xd000 => "Infinity",
        0xf000 => "-Infinity",
        _ => return Err(malformed(expected)),
    };
    if !name.is_empty() {
        text.push_str(name);
        return Ok(());
    }
    let (digits, rest) = digits.as_chunks::<2>();
    if usize::try_from(count) != Ok(digits.len()) || !rest.is_empty() || dscale < 0 {
        return Err(malformed(expected));
    }
    if digits.iter().any(|digit| u16::from_be_bytes(*digit) > 9999) {
        return Err(malformed(expected));
    }
    let digits = |index: i32| -> u16 {
        usize::try_from(index).ok().and_then(|i| digits.get(i)).map_or(0, |d| u16::from_be_bytes(*d))
    };
    if sign == 0x4000 {
        text.push('-');
    }
    if weight < 0 {
        text.push('0');
    }
    for index in 0..=weight {
        let [a, b, c, d] = four(digits(index));
        let all = [a, b, c, d];
        // The first without its leading zeros, but with one digit.
        let from = if index > 0 { 0 } else { all.iter().position(|d| *d != b'0').unwrap_or(3) };
        all[from..].iter().for_each(|digit| text.push(char::from(*digit)));
    }
    if dscale > 0 {
        text.push('.');
        let end = text.len() + usize::try_from(dscale).unwrap_or(0);
        let mut index = weight + 1;
        while text.len() < end {
            four(digits(index)).iter().for_each(|digit| text.push(char::from(*digit)));
            index += 1;
        }
        text.truncate(end);
    }
    Ok(())
}

/// The four decimal digits of a number below 10,000.
fn four(number: u16) -> [u8; 4] {
    let digit = |n: u16| b'0' + u8::try_from(n % 10).unwrap_or(0);
    [digit(number / 1000), digit(number / 100), digit(number / 10), digit(number)]
}

fn uuid(bytes: &[u8], text: &mut String) -> Result<(), ValueError> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes: [u8; 16] = fixed(bytes, "16 bytes of uuid")?;
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    Ok(())
}

fn date(days: i32, text: &mut String) {
    match days {
        i32::MAX => text.push_str("infinity"),
        i32::MIN => text.push_str("-infinity"),
        _ => calendar::write_date(text, i64::from(days) + calendar::EPOCH_DAYS),
    }
}

/// `int64 micros; int32 zone`, seconds west of UTC (`timetz_send`).
fn timetz(bytes: &[u8], text: &mut String) -> Result<(), ValueError> {
    let [micros @ .., z0, z1, z2, z3] = fixed::<12>(bytes, "12 bytes of timetz")?;
    let (micros, zone) = (i64::from_be_bytes(micros), i32::from_be_bytes([z0, z1, z2, z3]));
    if !(0..=calendar::DAY_MICROS).contains(&micros) || zone.unsigned_abs() > 86_400 {
        return Err(malformed("a time of day"));
    }
    calendar::write_time(text, micros);
    let (sign, zone) = (if zone > 0 { '-' } else { '+' }, zone.unsigned_abs());
    let (hours, minutes, seconds) = (zone / 3600, zone / 60 % 60, zone % 60);
    let _ = write!(text, "{sign}{hours:02}");
    if minutes != 0 || seconds != 0 {
        let _ = write!(text, ":{minutes:02}");
    }
    if seconds != 0 {
        let _ = write!(text, ":{seconds:02}");
    }
    Ok(())
}

/// `int32 count; bytes`, the first bit is the highest (`varbit_send`).
fn bits(bytes: &[u8], text: &mut String) -> Result<(), ValueError> {
    let (count, bytes) = bytes.split_first_chunk::<4>().ok_or(malformed("a bit string"))?;
    let count = u32::from_be_bytes(*count) as usize;
    if bytes.len() != count.div_ceil(8) {
        return Err(malformed("as many bits as announced"));
    }
    text.extend((0..count).map(|bit| if bytes[bit / 8] & 0x80 >> (bit % 8) == 0 { '0' } else { '1' }));
    Ok(())
}

/// `uint8 family, bits, is_cidr, length; address` (`network_send`); family 2 is IPv4, 3 is IPv6.
fn inet(bytes: &[u8], text: &mut String) -> Result<(), ValueError> {
    let expected = "an inet";
    let ([family, bits, is_cidr, length], address) =
        bytes.split_first_chunk::<4>().ok_or(malformed(expected))?;
    if usize::from(*length) != address.len() {
        return Err(malformed(expected));
    }
    let all = match family {
        2 => {
            let [a, b, c, d] = fixed::<4>(address, expected)?;
            let _ = write!(text, "{a}.{b}.{c}.{d}");
            32
        }
        3 => {
            ipv6(fixed::<16>(address, expected)?, text);
            128
        }
        _ => return Err(malformed(expected)),
    };
    if *bits > all {
        return Err(malformed(expected));
    }
    if *bits != all || *is_cidr == 1 {
        let _ = write!(text, "/{bits}");
    }
    Ok(())
}

/// As the server writes it (`inet_net_ntop_ipv6`): the first longest run of zero words left out, IPv4 inside of IPv6
/// in its own way.
fn ipv6(address: [u8; 16], text: &mut String) {
    let word = |at: usize| u16::from_be_bytes([address[2 * at], address[2 * at + 1]]);
    let (mut best, mut at) = ((0, 0), 0);
    while at < 8 {
        let run = (at..8).take_while(|at| word(*at) == 0).count();
        if run >= 2 && run > best.1 {
            best = (at, run);
        }
        at += run.max(1);
    }
    let (start, length) = best;
    let mut at = 0;
    while at < 8 {
        if length > 0 && at == start {
            text.push(':');
            at += length;
            if at == 8 {
                text.push(':');
            }
            continue;
        }
        if at > 0 {
            text.push(':');
        }
        let mapped = length == 6 || length == 7 && word(7) != 1 || length == 5 && word(5) == 0xffff;
        if at == 6 && start == 0 && mapped {
            let _ = write!(text, "{}.{}.{}.{}", address[12], address[13], address[14], address[15]);
            return;
        }
        let _ = write!(text, "{:x}", word(at));
        at += 1;
    }
}

/// Expected where a field was added to a composite type, dropped from it or has another type now: what is known about
/// it has to be asked for again.
pub(crate) const COMPOSITE_CHANGED: &str = "the fields that the composite type had";

/// `int32 count; {oid type; int32 length; bytes}` (`record_send`), dropped columns left out.
fn composite(
    oid: u32,
    bytes: &[u8],
    scratch: &mut Scratch,
    sink: &mut dyn ValueSink,
) -> Result<(), ValueError> {
    let expected = "a composite value";
    let fields = scratch.composites.get(&oid).cloned().ok_or(malformed("a known composite type"))?;
    let (count, mut rest) = bytes.split_first_chunk::<4>().ok_or(malformed(expected))?;
    if u32::from_be_bytes(*count) as usize != fields.len() {
        return Err(malformed(COMPOSITE_CHANGED));
    }
    sink.begin_map(Some(fields.len()))?;
    for (name, ty) in fields.iter() {
        let (oid, tail) = rest.split_first_chunk::<4>().ok_or(malformed(expected))?;
        rest = tail;
        if u32::from_be_bytes(*oid) != ty.oid {
            return Err(malformed(COMPOSITE_CHANGED));
        }
        let value = field(&mut rest).ok_or(malformed(expected))?;
        sink.key(name)?;
        column(*ty, value, scratch, sink)?;
    }
    if !rest.is_empty() {
        return Err(malformed("the end of a composite value"));
    }
    sink.end_map()
}

/// `int32 count; {int32 length; key; int32 length; value}` (`hstore_send`).
fn hstore(bytes: &[u8], sink: &mut dyn ValueSink) -> Result<(), ValueError> {
    let expected = "an hstore";
    let (count, mut rest) = bytes.split_first_chunk::<4>().ok_or(malformed(expected))?;
    let count = u32::from_be_bytes(*count) as usize;
    // A pair has at least its two lengths.
    if count.checked_mul(8).is_none_or(|least| least > rest.len()) {
        return Err(malformed(expected));
    }
    sink.begin_map(Some(count))?;
    for _ in 0..count {
        let key = field(&mut rest).flatten().ok_or(malformed(expected))?;
        let value = field(&mut rest).ok_or(malformed(expected))?;
        sink.key(utf8(key)?)?;
        match value {
            Some(value) => sink.str(utf8(value)?)?,
            None => sink.null()?,
        }
    }
    if rest.is_empty() { sink.end_map() } else { Err(malformed("the end of an hstore")) }
}

/// `int16 count, unused; float4[count]` (`vector_send` of pgvector).
fn vector(bytes: &[u8], sink: &mut dyn ValueSink) -> Result<(), ValueError> {
    let expected = "a vector";
    let (head, rest) = bytes.split_first_chunk::<4>().ok_or(malformed(expected))?;
    let count = usize::from(u16::from_be_bytes([head[0], head[1]]));
    let (numbers, tail) = rest.as_chunks::<4>();
    if numbers.len() != count || !tail.is_empty() {
        return Err(malformed(expected));
    }
    sink.begin_list(Some(count))?;
    numbers.iter().try_for_each(|number| sink.float(widen(f32::from_be_bytes(*number))))?;
    sink.end_list()
}

/// An array literal (manual: "Array Input and Output Syntax") of a type whose elements travel as text: a list of text.
fn text_array(bytes: &[u8], sink: &mut dyn ValueSink) -> Result<(), ValueError> {
    let malformed = |at: usize| ValueError::Malformed { offset: at, expected: "an array's text" };
    let text = utf8(bytes)?;
    // Bounds other than from 1: `[2:3]={...}`.
    let start = if text.starts_with('[') { text.find("={").map_or(0, |at| at + 1) } else { 0 };
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut element) = (start, 0usize, String::new());
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'{' => {
                depth += 1;
                if depth > DIMENSIONS_MAX {
                    return Err(malformed(at));
                }
                sink.begin_list(None)?;
            }
            b'}' => {
                depth = depth.checked_sub(1).ok_or(malformed(at))?;
                sink.end_list()?;
            }
            b',' => {}
            b'"' => {
                element.clear();
                loop {
                    let rest = text.get(at..).ok_or(malformed(at))?;
                    let mut chars = rest.chars();
                    match chars.next().ok_or(malformed(at))? {
                        '"' => break,
                        '\\' => element.extend(chars.next()),
                        c => element.push(c),
                    }
                    at = text.len() - chars.as_str().len();
                }
                at += 1;
                sink.str(&element)?;
            }
            _ => {
                let end = bytes[at..].iter().position(|b| matches!(b, b',' | b'}')).ok_or(malformed(at))?;
                let plain = text.get(at - 1..at + end).ok_or(malformed(at))?;
                if plain == "NULL" {
                    sink.null()?
                } else {
                    sink.str(plain)?
                }
                at += end;
            }
        }
    }
    if depth == 0 && at > start { Ok(()) } else { Err(malformed(at)) }
}

/// `int32 ndim, flags; oid element; {int32 length, lower bound}[ndim]; {int32 length, bytes}...` (`array_send`).
fn array(
    ty: Scalar,
    bytes: &[u8],
    scratch: &mut Scratch,
    sink: &mut dyn ValueSink,
) -> Result<(), ValueError> {
    let expected = "an array";
    let (head, mut rest) = bytes.split_first_chunk::<12>().ok_or(malformed(expected))?;
    let dimension_count = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let oid = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    let ty = Type { oid, scalar: ty, array: false };
    if dimension_count == 0 {
        sink.begin_list(Some(0))?;
        return sink.end_list();
    }
    if dimension_count > DIMENSIONS_MAX {
        return Err(malformed("an array of at most 6 dimensions"));
    }
    let mut lengths = [0usize; DIMENSIONS_MAX];
    let mut count = 1usize;
    for length in &mut lengths[..dimension_count] {
        let (dimension, tail) = rest.split_first_chunk::<8>().ok_or(malformed(expected))?;
        rest = tail;
        *length = u32::from_be_bytes([dimension[0], dimension[1], dimension[2], dimension[3]]) as usize;
        count = count.checked_mul(*length).ok_or(malformed(expected))?;
    }
    // Each element has at least its length: this bounds the work by the bytes received.
    if count == 0 || count.checked_mul(4).is_none_or(|least| least > rest.len()) {
        return Err(malformed(expected));
    }
    dimension(ty, &lengths[..dimension_count], &mut rest, scratch, sink)?;
    if rest.is_empty() { Ok(()) } else { Err(malformed("the end of an array")) }
}

fn dimension(
    ty: Type,
    lengths: &[usize],
    rest: &mut &[u8],
    scratch: &mut Scratch,
    sink: &mut dyn ValueSink,
) -> Result<(), ValueError> {
    let Some((length, inner)) = lengths.split_first() else {
        return Err(malformed("an array"));
    };
    sink.begin_list(Some(*length))?;
    for _ in 0..*length {
        if inner.is_empty() {
            match field(rest).ok_or(malformed("an array's element"))? {
                None => sink.null()?,
                Some(bytes) => scalar(ty, bytes, scratch, sink)?,
            }
        } else {
            dimension(ty, inner, rest, scratch, sink)?;
        }
    }
    sink.end_list()
}

/// Takes `int32 length, bytes` off the front: `Some(None)` is NULL (length -1), `None` means that the bytes end
/// too early or the length is another negative.
#[must_use]
pub fn field<'b>(rest: &mut &'b [u8]) -> Option<Option<&'b [u8]>> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let length = i32::from_be_bytes(*length);
    if length == -1 {
        *rest = tail;
        return Some(None);
    }
    let (bytes, tail) = tail.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = tail;
    Some(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Bound;
    use forebay_base::value::ValueBuilder;
    use forebay_base::{Value, rng::Rng};

    fn decode(scalar: Scalar, array: bool, bytes: &[u8]) -> Result<Option<Value>, ValueError> {
        let mut builder = ValueBuilder::default();
        column(Type { oid: 0, scalar, array }, Some(bytes), &mut Scratch::default(), &mut builder)?;
        Ok(builder.finish())
    }

    #[test]
    fn hostile_bytes_never_panic() {
        let all = [
            Scalar::Bool,
            Scalar::Int2,
            Scalar::Int4,
            Scalar::Int8,
            Scalar::Oid,
            Scalar::Float4,
            Scalar::Float8,
            Scalar::Numeric,
            Scalar::Text,
            Scalar::Bytea,
            Scalar::Uuid,
            Scalar::Json,
            Scalar::Jsonb,
            Scalar::Date,
            Scalar::Time,
            Scalar::Timestamp,
            Scalar::Timestamptz,
            Scalar::Interval,
            Scalar::Void,
            Scalar::Other,
            Scalar::Timetz,
            Scalar::Bit,
            Scalar::Inet,
            Scalar::Macaddr,
            Scalar::Composite,
            Scalar::Hstore,
            Scalar::Vector,
            Scalar::Range(Bound::Int4),
            Scalar::Range(Bound::Text),
            Scalar::Multirange(Bound::Numeric),
        ];
        let seed = 7;
        let mut rng = Rng::new(seed);
        for round in 0..20_000 {
            let len = usize::try_from(rng.below(48)).unwrap();
            let narrow = rng.one_in(2);
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    if narrow { u8::try_from(rng.below(3)).unwrap() } else { rng.next_u64().to_le_bytes()[0] }
                })
                .collect();
            for scalar in all {
                let _ = decode(scalar, round % 2 == 0, &bytes);
            }
        }
    }

    #[test]
    fn arrays_of_text_elements() {
        let check = |text: &str, expect: Option<&str>| {
            let got = decode(Scalar::Other, true, text.as_bytes());
            let shown = got.ok().flatten().map(|value| {
                let mut out = String::new();
                json::write(&mut out, &value, 0).unwrap();
                out
            });
            assert_eq!(shown.as_deref(), expect, "{text}");
        };
        check("{}", Some("[]"));
        check("{a,NULL,\"b,\\\"c\"}", Some("[\"a\",null,\"b,\\\"c\"]"));
        check("{{\"[1,2)\",empty},{x,y}}", Some("[[\"[1,2)\",\"empty\"],[\"x\",\"y\"]]"));
        check("[2:3]={a,b}", Some("[\"a\",\"b\"]"));
        for wrong in ["", "{", "{a", "{\"a}", "}", "{a}}", "a"] {
            check(wrong, None);
        }
    }

    #[test]
    fn an_array_that_promises_more_than_it_has_is_refused() {
        let mut bytes = vec![0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 23];
        bytes.extend([0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert!(decode(Scalar::Int4, true, &bytes).is_err());
    }
}
