//! The canonical byte encoding of a value: what a KV record holds, what an event
//! carries, what `cas` compares. docs/formats/value.md is the specification, with
//! examples that the tests below check.
//!
//! ```text
//!   00        never a value (zeroed storage)
//!   01 02 03  null, false, true
//!   04        integer, zigzag varint (anything but 0..=127)
//!   05        float, 8 bytes, little-endian IEEE 754
//!   06        integer beyond 64 bits, varint length, decimal digits
//!   07        decimal, varint length, digits
//!   08        text of 64 bytes and more, varint length, UTF-8
//!   09        bytes, varint length
//!   0a        timestamp, zigzag varint of microseconds
//!   0b        list of 16 items and more, varint count, items
//!   0c        map of 16 pairs and more, varint count, pairs
//!   0d 0e     reserved: symbol, error (S-expressions)
//!   20..=2f   list of 0..=15 items        30..=3f   map of 0..=15 pairs
//!   40..=7f   text of 0..=63 bytes        80..=ff   integer 0..=127
//! ```
//!
//! **One value, one encoding.** Equal values have equal bytes: lengths and
//! integers are shortest, a map's keys ascend bytewise without repetition, and a
//! number that is integral and within 2^53 - 1 is an integer whoever produced it
//! (so -0 is 0), because a script can't tell `1` from `1.0`. There is one NaN.
//! [`decode`] refuses everything else, so bytes that decode are canonical.

use super::{ValueError, ValueSink, ValueSource};
use crate::limits::{KV_VALUE_BYTES_MAX, VALUE_DEPTH_MAX};

const NULL: u8 = 0x01;
const FALSE: u8 = 0x02;
const TRUE: u8 = 0x03;
const INT: u8 = 0x04;
const FLOAT: u8 = 0x05;
const BIG_INT: u8 = 0x06;
const DECIMAL: u8 = 0x07;
const TEXT: u8 = 0x08;
const BYTES: u8 = 0x09;
const TIMESTAMP: u8 = 0x0a;
const LIST: u8 = 0x0b;
const MAP: u8 = 0x0c;
const SYMBOL: u8 = 0x0d;
const ERROR: u8 = 0x0e;
const SHORT_LIST: u8 = 0x20;
const SHORT_MAP: u8 = 0x30;
const SHORT_TEXT: u8 = 0x40;
const SMALL_INT: u8 = 0x80;

/// Items of a list or pairs of a map whose count fits into the tag.
const SHORT_COUNT_MAX: usize = 15;
/// Bytes of a text whose length fits into the tag.
const SHORT_TEXT_MAX: usize = 63;
/// Number.MAX_SAFE_INTEGER: integral floats up to here, on both sides of zero,
/// are written as integers. 2^53 itself stays a float, since 2^53 + 1 rounds to it.
const SAFE_INTEGER_MAX: f64 = 9_007_199_254_740_991.0;
/// The bits of the one NaN.
const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;

/// The canonical bytes of `source`, at most [`KV_VALUE_BYTES_MAX`].
///
/// # Errors
/// [`ValueError::Unsupported`] for undefined, [`ValueError::TooLarge`],
/// [`ValueError::TooDeep`], [`ValueError::Malformed`] for digits that aren't.
pub fn encode(source: &dyn ValueSource) -> Result<Vec<u8>, ValueError> {
    let mut encoder = Encoder::new();
    source.emit(&mut encoder)?;
    encoder.finish()
}

/// Pushes the one value that `bytes` encode into `sink`. Strict: whatever
/// [`Encoder`] would not have written is refused, also bytes after the value. Bounded: nesting by
/// [`VALUE_DEPTH_MAX`], lengths and counts by what is left of `bytes`.
///
/// Maps arrive with their keys ascending, each once; `begin_list` and `begin_map`
/// carry the exact length.
///
/// # Errors
/// [`ValueError::Malformed`] with the offset, [`ValueError::TooDeep`],
/// [`ValueError::Unsupported`] for the reserved tags, and whatever `sink` answers.
pub fn decode(bytes: &[u8], sink: &mut dyn ValueSink) -> Result<(), ValueError> {
    let mut reader = Reader { bytes, at: 0 };
    reader.value(sink, 0)?;
    if reader.at == bytes.len() { Ok(()) } else { Err(malformed(reader.at, "the end of the value")) }
}

/// The integer that `bytes` encode, if they encode one (`incr` reads counters
/// this way).
#[must_use]
pub fn decode_int(bytes: &[u8]) -> Option<i64> {
    match bytes {
        [tag] if *tag >= SMALL_INT => Some(i64::from(*tag - SMALL_INT)),
        [INT, ..] => {
            let mut reader = Reader { bytes, at: 1 };
            let value = reader.int().ok()?;
            (reader.at == bytes.len()).then_some(value)
        }
        _ => None,
    }
}

/// The canonical bytes of an integer.
#[must_use]
pub fn encode_int(value: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(11);
    put_int(&mut out, value);
    out
}

// ---------------------------------------------------------------- encoding

/// A [`ValueSink`] that writes the canonical bytes of one value.
#[derive(Debug)]
pub struct Encoder {
    out: Vec<u8>,
    /// Open lists, maps and rows, outermost first. At most [`VALUE_DEPTH_MAX`].
    open: Vec<Open>,
    /// Bytes that `out` may hold.
    bytes_max: usize,
    done: bool,
}

#[derive(Debug)]
struct Open {
    /// Offset in `out` of the tag, which the end replaces.
    start: usize,
    kind: OpenKind,
}

#[derive(Debug)]
enum OpenKind {
    List { count: usize },
    Map(Pairs),
    Row { pairs: Pairs, columns: Vec<Box<str>>, next: usize },
}

/// Where the pairs of an open map lie in `out`.
#[derive(Debug, Default)]
struct Pairs {
    pairs: Vec<Pair>,
    /// Keys ascended so far, each once: nothing to move at the end.
    unsorted: bool,
    /// A key was given whose value hasn't begun.
    key_waits: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    /// The key's length prefix.
    start: usize,
    /// The key's bytes.
    key: (usize, usize),
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder for one value of at most [`KV_VALUE_BYTES_MAX`] bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limit(KV_VALUE_BYTES_MAX)
    }

    /// An encoder for one value of at most `bytes_max` bytes; beyond it every
    /// call answers [`ValueError::TooLarge`].
    #[must_use]
    pub fn with_limit(bytes_max: usize) -> Self {
        Self { out: Vec::new(), open: Vec::new(), bytes_max, done: false }
    }

    /// The bytes, if exactly one value was pushed.
    ///
    /// # Errors
    /// [`ValueError::Malformed`] if the value isn't whole (a bug of the producer).
    pub fn finish(self) -> Result<Vec<u8>, ValueError> {
        if self.done && self.open.is_empty() {
            Ok(self.out)
        } else {
            Err(malformed(self.out.len(), "one whole value"))
        }
    }

    /// Called before every value: counts it, and writes a row's key.
    fn begin_value(&mut self, bytes: usize) -> Result<(), ValueError> {
        match self.open.last_mut().map(|o| &mut o.kind) {
            None if self.done => return Err(malformed(self.out.len(), "one value only")),
            None => self.done = true,
            Some(OpenKind::List { count }) => *count += 1,
            Some(OpenKind::Map(pairs)) => {
                if !std::mem::take(&mut pairs.key_waits) {
                    return Err(malformed(self.out.len(), "a key before the value"));
                }
            }
            Some(OpenKind::Row { pairs, columns, next }) => {
                let Some(column) = columns.get(*next) else {
                    return Err(malformed(self.out.len(), "as many values as the row has columns"));
                };
                *next += 1;
                room(&self.out, column.len() + 10, self.bytes_max)?;
                pairs.push_key(&mut self.out, column);
                pairs.key_waits = false;
            }
        }
        room(&self.out, bytes, self.bytes_max)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        self.begin_value(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn put_long(&mut self, tag: u8, body: &[u8]) -> Result<(), ValueError> {
        self.begin_value(1 + varint_len(body.len() as u64) + body.len())?;
        self.out.push(tag);
        put_varint(&mut self.out, body.len() as u64);
        self.out.extend_from_slice(body);
        Ok(())
    }

    fn begin(&mut self, kind: OpenKind) -> Result<(), ValueError> {
        if self.open.len() >= VALUE_DEPTH_MAX {
            return Err(ValueError::TooDeep);
        }
        self.begin_value(1)?;
        self.open.push(Open { start: self.out.len(), kind });
        self.out.push(0);
        Ok(())
    }

    /// Replaces the placeholder at `start` by the tag and count.
    fn end(&mut self, start: usize, count: usize, short: u8, long: u8) -> Result<(), ValueError> {
        if count <= SHORT_COUNT_MAX {
            self.out[start] = short | low_byte(count as u64);
            return Ok(());
        }
        let len = varint_len(count as u64);
        room(&self.out, len, self.bytes_max)?;
        self.out[start] = long;
        let mut head = Vec::with_capacity(len);
        put_varint(&mut head, count as u64);
        self.out.splice(start + 1..start + 1, head);
        Ok(())
    }

    fn end_pairs(&mut self, start: usize, pairs: Pairs) -> Result<(), ValueError> {
        if pairs.key_waits {
            return Err(malformed(self.out.len(), "a value after the key"));
        }
        let mut count = pairs.pairs.len();
        if pairs.unsorted {
            count = sort_pairs(&mut self.out, start + 1, pairs.pairs);
        }
        self.end(start, count, SHORT_MAP, MAP)
    }
}

impl Pairs {
    fn push_key(&mut self, out: &mut Vec<u8>, key: &str) {
        let start = out.len();
        put_varint(out, key.len() as u64);
        let key_start = out.len();
        out.extend_from_slice(key.as_bytes());
        if let Some(last) = self.pairs.last()
            && out[last.key.0..last.key.1] >= *key.as_bytes()
        {
            self.unsorted = true;
        }
        self.pairs.push(Pair { start, key: (key_start, out.len()) });
        self.key_waits = true;
    }
}

/// Rewrites the pairs that fill `out[first..]` in ascending order of their keys,
/// the last of equal ones only, and returns how many are left.
fn sort_pairs(out: &mut Vec<u8>, first: usize, pairs: Vec<Pair>) -> usize {
    let ends: Vec<usize> = pairs.iter().skip(1).map(|p| p.start).chain([out.len()]).collect();
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    let key = |i: usize| &out[pairs[i].key.0..pairs[i].key.1];
    // Of equal keys the later one sorts first, so that dedup keeps it.
    order.sort_unstable_by(|&a, &b| key(a).cmp(key(b)).then(b.cmp(&a)));
    order.dedup_by(|later, kept| key(*later) == key(*kept));
    let mut sorted = Vec::with_capacity(out.len() - first);
    for &i in &order {
        sorted.extend_from_slice(&out[pairs[i].start..ends[i]]);
    }
    out.truncate(first);
    out.extend_from_slice(&sorted);
    order.len()
}

impl ValueSink for Encoder {
    fn undefined(&mut self) -> Result<(), ValueError> {
        Err(ValueError::Unsupported("undefined"))
    }
    fn null(&mut self) -> Result<(), ValueError> {
        self.put(&[NULL])
    }
    fn bool(&mut self, value: bool) -> Result<(), ValueError> {
        self.put(&[if value { TRUE } else { FALSE }])
    }
    fn int(&mut self, value: i64) -> Result<(), ValueError> {
        self.begin_value(11)?;
        put_int(&mut self.out, value);
        Ok(())
    }
    fn float(&mut self, value: f64) -> Result<(), ValueError> {
        if is_safe_integer(value) {
            #[expect(clippy::cast_possible_truncation, reason = "integral and within 2^53")]
            return self.int(value as i64);
        }
        let bits = if value.is_nan() { NAN_BITS } else { value.to_bits() };
        self.begin_value(9)?;
        self.out.push(FLOAT);
        self.out.extend_from_slice(&bits.to_le_bytes());
        Ok(())
    }
    fn big_int(&mut self, digits: &str) -> Result<(), ValueError> {
        let (minus, magnitude) = split_sign(digits);
        if magnitude.is_empty() || !magnitude.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed(self.out.len(), "decimal digits"));
        }
        let magnitude = magnitude.trim_start_matches('0');
        let magnitude = if magnitude.is_empty() { "0" } else { magnitude };
        let canonical = format!("{minus}{magnitude}");
        match canonical.parse::<i64>() {
            Ok(small) => self.int(small),
            Err(_) => self.put_long(BIG_INT, canonical.as_bytes()),
        }
    }
    fn decimal(&mut self, digits: &str) -> Result<(), ValueError> {
        match canonical_decimal(digits) {
            Some(canonical) => self.put_long(DECIMAL, canonical.as_bytes()),
            None => Err(malformed(self.out.len(), "a decimal's digits")),
        }
    }
    fn str(&mut self, value: &str) -> Result<(), ValueError> {
        if value.len() > SHORT_TEXT_MAX {
            return self.put_long(TEXT, value.as_bytes());
        }
        self.begin_value(1 + value.len())?;
        self.out.push(SHORT_TEXT + low_byte(value.len() as u64));
        self.out.extend_from_slice(value.as_bytes());
        Ok(())
    }
    fn bytes(&mut self, value: &[u8]) -> Result<(), ValueError> {
        self.put_long(BYTES, value)
    }
    fn timestamp(&mut self, micros: i64) -> Result<(), ValueError> {
        self.begin_value(11)?;
        self.out.push(TIMESTAMP);
        put_varint(&mut self.out, zigzag(micros));
        Ok(())
    }
    fn begin_list(&mut self, _len: Option<usize>) -> Result<(), ValueError> {
        self.begin(OpenKind::List { count: 0 })
    }
    fn end_list(&mut self) -> Result<(), ValueError> {
        match self.open.pop() {
            Some(Open { start, kind: OpenKind::List { count } }) => self.end(start, count, SHORT_LIST, LIST),
            _ => Err(malformed(self.out.len(), "an open list")),
        }
    }
    fn begin_map(&mut self, _len: Option<usize>) -> Result<(), ValueError> {
        self.begin(OpenKind::Map(Pairs::default()))
    }
    fn key(&mut self, key: &str) -> Result<(), ValueError> {
        room(&self.out, key.len() + 10, self.bytes_max)?;
        match self.open.last_mut().map(|o| &mut o.kind) {
            Some(OpenKind::Map(pairs)) if !pairs.key_waits => {
                pairs.push_key(&mut self.out, key);
                Ok(())
            }
            _ => Err(malformed(self.out.len(), "an open map")),
        }
    }
    fn end_map(&mut self) -> Result<(), ValueError> {
        match self.open.pop() {
            Some(Open { start, kind: OpenKind::Map(pairs) }) => self.end_pairs(start, pairs),
            _ => Err(malformed(self.out.len(), "an open map")),
        }
    }
    fn begin_row(&mut self, columns: &[Box<str>]) -> Result<(), ValueError> {
        self.begin(OpenKind::Row { pairs: Pairs::default(), columns: columns.to_vec(), next: 0 })
    }
    fn end_row(&mut self) -> Result<(), ValueError> {
        match self.open.pop() {
            Some(Open { start, kind: OpenKind::Row { pairs, columns, next } }) if next == columns.len() => {
                self.end_pairs(start, pairs)
            }
            _ => Err(malformed(self.out.len(), "an open row with all its values")),
        }
    }
}

fn room(out: &[u8], more: usize, bytes_max: usize) -> Result<(), ValueError> {
    // `out` can be at most `bytes_max`, so the sum can't wrap for any slice that exists.
    if out.len() + more > bytes_max {
        // An estimate of a few bytes may refuse a value that would just fit: the bound is a
        // protection, not a promise to the byte.
        return Err(ValueError::TooLarge { limit: bytes_max });
    }
    Ok(())
}

fn is_safe_integer(value: f64) -> bool {
    value.abs() <= SAFE_INTEGER_MAX && value.trunc() == value
}

fn split_sign(digits: &str) -> (&'static str, &str) {
    match digits.strip_prefix('-') {
        Some(magnitude) => ("-", magnitude),
        None => ("", digits),
    }
}

/// No superfluous zeros in front, a digit on both sides of the point, no minus
/// on zero. Zeros at the end stay: the scale is part of the value, as in SQL.
fn canonical_decimal(digits: &str) -> Option<String> {
    if matches!(digits, "NaN" | "Infinity" | "-Infinity") {
        return Some(digits.to_owned());
    }
    let (minus, magnitude) = split_sign(digits);
    let (whole, fraction) = match magnitude.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (magnitude, None),
    };
    let fraction_digits = fraction.unwrap_or("");
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction_digits) || (whole.is_empty() && fraction_digits.is_empty())
    {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let zero = whole.is_empty() && fraction_digits.bytes().all(|b| b == b'0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let minus = if zero { "" } else { minus };
    Some(if fraction_digits.is_empty() {
        format!("{minus}{whole}")
    } else {
        format!("{minus}{whole}.{fraction_digits}")
    })
}

fn put_int(out: &mut Vec<u8>, value: i64) {
    match u8::try_from(value) {
        Ok(small) if small < 128 => out.push(SMALL_INT | small),
        _ => {
            out.push(INT);
            put_varint(out, zigzag(value));
        }
    }
}

/// Small magnitudes to small numbers: 0, -1, 1, -2, ... to 0, 1, 2, 3, ...
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// LEB128: 7 bits a byte, the lowest first, bit 7 says that more follow.
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn malformed(offset: usize, expected: &'static str) -> ValueError {
    ValueError::Malformed { offset, expected }
}

// ---------------------------------------------------------------- decoding

struct Reader<'a> {
    bytes: &'a [u8],
    /// Offset of the first unread byte. 0 <= at <= bytes.len().
    at: usize,
}

impl<'a> Reader<'a> {
    /// One value at nesting `depth` (recursion is bounded by [`VALUE_DEPTH_MAX`]).
    fn value(&mut self, sink: &mut dyn ValueSink, depth: usize) -> Result<(), ValueError> {
        let start = self.at;
        let tag = self.byte()?;
        match tag {
            NULL => sink.null(),
            FALSE => sink.bool(false),
            TRUE => sink.bool(true),
            INT => {
                let value = self.int()?;
                sink.int(value)
            }
            FLOAT => {
                let value = self.float()?;
                sink.float(value)
            }
            BIG_INT => {
                let digits = self.long_text(0)?;
                let (_, magnitude) = split_sign(digits);
                let plain = magnitude.bytes().all(|b| b.is_ascii_digit()) && !magnitude.starts_with('0');
                if !plain || magnitude.is_empty() || digits.parse::<i64>().is_ok() {
                    return Err(malformed(start, "the digits of an integer beyond 64 bits"));
                }
                sink.big_int(digits)
            }
            DECIMAL => {
                let digits = self.long_text(0)?;
                if canonical_decimal(digits).as_deref() != Some(digits) {
                    return Err(malformed(start, "a canonical decimal"));
                }
                sink.decimal(digits)
            }
            TEXT => {
                let text = self.long_text(SHORT_TEXT_MAX + 1)?;
                sink.str(text)
            }
            BYTES => {
                let bytes = self.long(0)?;
                sink.bytes(bytes)
            }
            TIMESTAMP => {
                let micros = self.varint()?;
                sink.timestamp(unzigzag(micros))
            }
            LIST => {
                let count = self.count(1)?;
                self.list(count, sink, depth)
            }
            MAP => {
                let count = self.count(2)?;
                self.map(count, sink, depth)
            }
            SYMBOL => Err(ValueError::Unsupported("a symbol")),
            ERROR => Err(ValueError::Unsupported("an error")),
            SHORT_LIST..=0x2f => self.list(usize::from(tag - SHORT_LIST), sink, depth),
            SHORT_MAP..=0x3f => self.map(usize::from(tag - SHORT_MAP), sink, depth),
            SHORT_TEXT..=0x7f => {
                let text = self.text(usize::from(tag - SHORT_TEXT))?;
                sink.str(text)
            }
            SMALL_INT.. => sink.int(i64::from(tag - SMALL_INT)),
            _ => Err(malformed(start, "a known tag")),
        }
    }

    fn list(&mut self, count: usize, sink: &mut dyn ValueSink, depth: usize) -> Result<(), ValueError> {
        if depth >= VALUE_DEPTH_MAX {
            return Err(ValueError::TooDeep);
        }
        sink.begin_list(Some(count))?;
        for _ in 0..count {
            self.value(sink, depth + 1)?;
        }
        sink.end_list()
    }

    fn map(&mut self, count: usize, sink: &mut dyn ValueSink, depth: usize) -> Result<(), ValueError> {
        if depth >= VALUE_DEPTH_MAX {
            return Err(ValueError::TooDeep);
        }
        sink.begin_map(Some(count))?;
        let mut last: Option<&str> = None;
        for _ in 0..count {
            let start = self.at;
            let key = self.long_text(0)?;
            if last.is_some_and(|last| last.as_bytes() >= key.as_bytes()) {
                return Err(malformed(start, "keys in ascending order"));
            }
            last = Some(key);
            sink.key(key)?;
            self.value(sink, depth + 1)?;
        }
        sink.end_map()
    }

    fn byte(&mut self) -> Result<u8, ValueError> {
        let byte = *self.bytes.get(self.at).ok_or(malformed(self.at, "more bytes"))?;
        self.at += 1;
        Ok(byte)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ValueError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..len).ok_or(malformed(self.bytes.len(), "more bytes"))?;
        self.at += len;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, ValueError> {
        let start = self.at;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    break;
                }
                return Ok(value);
            }
        }
        Err(malformed(start, "a shortest varint of 64 bits"))
    }

    fn int(&mut self) -> Result<i64, ValueError> {
        let start = self.at;
        let value = unzigzag(self.varint()?);
        if (0..128).contains(&value) {
            return Err(malformed(start, "an integer outside 0..=127"));
        }
        Ok(value)
    }

    fn float(&mut self) -> Result<f64, ValueError> {
        let start = self.at;
        let mut bits = [0; 8];
        bits.copy_from_slice(self.take(8)?);
        let value = f64::from_le_bytes(bits);
        if is_safe_integer(value) || (value.is_nan() && value.to_bits() != NAN_BITS) {
            return Err(malformed(start, "a float that is no small integer, and the one NaN"));
        }
        Ok(value)
    }

    /// A length of at least `len_min`, and as many bytes.
    fn long(&mut self, len_min: usize) -> Result<&'a [u8], ValueError> {
        let start = self.at;
        let len = usize::try_from(self.varint()?).map_err(|_| malformed(start, "a length"))?;
        if len < len_min {
            return Err(malformed(start, "a length that needs this tag"));
        }
        self.take(len)
    }

    fn long_text(&mut self, len_min: usize) -> Result<&'a str, ValueError> {
        let bytes = self.long(len_min)?;
        self.utf8(bytes)
    }

    fn text(&mut self, len: usize) -> Result<&'a str, ValueError> {
        let bytes = self.take(len)?;
        self.utf8(bytes)
    }

    fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str, ValueError> {
        std::str::from_utf8(bytes).map_err(|e| malformed(self.at - bytes.len() + e.valid_up_to(), "UTF-8"))
    }

    /// A count beyond what the tag holds, of things of at least `bytes_min` bytes.
    fn count(&mut self, bytes_min: usize) -> Result<usize, ValueError> {
        let start = self.at;
        let count = usize::try_from(self.varint()?).map_err(|_| malformed(start, "a count"))?;
        if count <= SHORT_COUNT_MAX {
            return Err(malformed(start, "a count that needs this tag"));
        }
        if count > (self.bytes.len() - self.at) / bytes_min {
            return Err(malformed(start, "a count that the bytes have room for"));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
