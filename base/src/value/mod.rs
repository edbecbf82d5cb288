//! The values that blueprints, KV records, SQL rows, events and HTTP bodies have
//! in common, and the two traits through which they move.
//!
//! ```text
//!   DataRow bytes --decode--> ValueSink        ValueSource --emit--> ValueSink
//!   JSON bytes    --parse---> (VM arena,       (VM value,            (JSON text,
//!   KV record     --decode--> or a Value)       Value)                KV record)
//! ```
//!
//! A producer pushes a value as a sequence of calls; who receives it (the VM's
//! arena, an encoder, a test's [`Value`]) implements [`ValueSink`]. So rows decode
//! straight into the VM without the client knowing it, and no tree is built in
//! between. [`Value`] is the owned tree for cold paths and tests.
//!
//! docs/formats/value.md defines the byte encoding; [`codec`] implements it.

pub mod codec;
pub mod packed;

use std::fmt;

use packed::{Packed, PackedRows};

/// Why a value couldn't be received or produced. The variants say who must act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueError {
    /// The receiver has no room (arena budget, value size): the script's limit.
    TooLarge {
        /// The bound that was reached, in bytes.
        limit: usize,
    },
    /// Nested deeper than [`crate::limits::VALUE_DEPTH_MAX`].
    TooDeep,
    /// The receiver can't hold this kind (a function in a KV value, a NaN in JSON).
    Unsupported(&'static str),
    /// The bytes are not a value.
    Malformed {
        /// Offset of the first byte that can't be.
        offset: usize,
        /// What was expected there.
        expected: &'static str,
    },
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => write!(f, "value is larger than {limit} bytes"),
            Self::TooDeep => {
                write!(f, "value is nested deeper than {}", crate::limits::VALUE_DEPTH_MAX)
            }
            Self::Unsupported(what) => write!(f, "{what} can't be stored in a value"),
            Self::Malformed { offset, expected } => {
                write!(f, "malformed value at byte {offset}: expected {expected}")
            }
        }
    }
}

impl std::error::Error for ValueError {}

/// Receives one value as a sequence of calls.
///
/// Grammar: `value = scalar | list | map`; `list = begin_list value* end_list`;
/// `map = begin_map (key value)* end_map`. A sink may rely on it: producers are
/// our own code. Text is UTF-8; a key may come twice, the last one wins.
pub trait ValueSink {
    /// `undefined`: only the VM has it; encoders refuse it.
    fn undefined(&mut self) -> Result<(), ValueError>;
    /// `null`, SQL NULL.
    fn null(&mut self) -> Result<(), ValueError>;
    /// A boolean.
    fn bool(&mut self, value: bool) -> Result<(), ValueError>;
    /// An integer. The VM makes it a Number within 2^53, else a BigInt.
    fn int(&mut self, value: i64) -> Result<(), ValueError>;
    /// A double; NaN and infinities are allowed here, JSON sinks write null.
    fn float(&mut self, value: f64) -> Result<(), ValueError>;
    /// An integer beyond 64 bits, as decimal digits with an optional `-`.
    fn big_int(&mut self, digits: &str) -> Result<(), ValueError>;
    /// An exact decimal (SQL numeric): optional `-`, digits, optional fraction; or `NaN`, `Infinity`, `-Infinity`.
    fn decimal(&mut self, digits: &str) -> Result<(), ValueError>;
    /// Text.
    fn str(&mut self, value: &str) -> Result<(), ValueError>;
    /// Bytes.
    fn bytes(&mut self, value: &[u8]) -> Result<(), ValueError>;
    /// Microseconds since 1970-01-01T00:00:00Z (a `Date` that keeps its microseconds).
    fn timestamp(&mut self, micros: i64) -> Result<(), ValueError>;
    /// Starts a list. `len` is its length where the producer knows it.
    fn begin_list(&mut self, len: Option<usize>) -> Result<(), ValueError>;
    /// Ends the innermost list.
    fn end_list(&mut self) -> Result<(), ValueError>;
    /// Starts a map. `len` is the number of keys where the producer knows it.
    fn begin_map(&mut self, len: Option<usize>) -> Result<(), ValueError>;
    /// The key of the next value in the innermost map.
    fn key(&mut self, key: &str) -> Result<(), ValueError>;
    /// Ends the innermost map.
    fn end_map(&mut self) -> Result<(), ValueError>;

    /// Starts a row: a map whose keys are `columns`, all of them, in this order;
    /// the values follow without [`ValueSink::key`], then [`ValueSink::end_row`].
    /// `columns` is the same slice for every row of a result, so that a sink
    /// can keep what it derived from it (the VM: a shape) under its address
    /// while no other call of `begin_row` comes between.
    ///
    /// Column names may repeat (SQL allows it): the last value wins.
    fn begin_row(&mut self, columns: &[Box<str>]) -> Result<(), ValueError>;
    /// Ends the innermost row.
    fn end_row(&mut self) -> Result<(), ValueError>;

    /// Rows that are undecoded yet, each a map as [`ValueSink::begin_row`] starts them, with columns of these kinds.
    ///
    /// # Errors
    /// As the single calls; rows that are malformed.
    fn packed<'b>(
        &mut self,
        columns: &[Box<str>],
        kinds: &[Packed],
        rows: &mut dyn PackedRows<'b>,
    ) -> Result<(), ValueError> {
        packed::push(self, columns, kinds, rows)
    }
}

/// One value of a row, decoded.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Field<'a> {
    /// SQL NULL.
    #[default]
    Null,
    /// As [`ValueSink::bool`].
    Bool(bool),
    /// As [`ValueSink::int`].
    Int(i64),
    /// As [`ValueSink::float`].
    Float(f64),
    /// Text that nobody has looked at yet: whoever receives it checks that it is UTF-8.
    Text(&'a [u8]),
    /// As [`ValueSink::bytes`].
    Bytes(&'a [u8]),
    /// As [`ValueSink::timestamp`].
    Timestamp(i64),
    /// Text that was made for this row: a range of the row's `text`, in bytes.
    Made(u32, u32),
    /// As [`ValueSink::decimal`]: a range of the row's `text`.
    Digits(u32, u32),
}

/// Text out of unchecked bytes.
///
/// # Errors
/// Where they aren't UTF-8.
pub fn utf8(bytes: &[u8]) -> Result<&str, ValueError> {
    std::str::from_utf8(bytes)
        .map_err(|e| ValueError::Malformed { offset: e.valid_up_to(), expected: "UTF-8 text" })
}

/// A range of a row's text, as [`Field::Made`] names it.
///
/// # Errors
/// If it isn't inside of it.
pub fn range(text: &str, start: u32, end: u32) -> Result<&str, ValueError> {
    text.get(start as usize..end as usize)
        .ok_or(ValueError::Malformed { offset: start as usize, expected: "a range of the row's text" })
}

/// Something that can push itself into a [`ValueSink`].
pub trait ValueSource {
    /// Pushes exactly one value.
    fn emit(&self, sink: &mut dyn ValueSink) -> Result<(), ValueError>;
}

/// An owned value, for cold paths and tests.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Value {
    /// Absent; not storable.
    Undefined,
    /// `null`.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// An integer beyond 64 bits, as digits.
    BigInt(Box<str>),
    /// An exact decimal, as digits.
    Decimal(Box<str>),
    /// Text.
    Str(Box<str>),
    /// Bytes.
    Bytes(Box<[u8]>),
    /// Microseconds since the epoch.
    Timestamp(i64),
    /// A list.
    List(Vec<Value>),
    /// A map, in insertion order.
    Map(Vec<(Box<str>, Value)>),
}

impl Value {
    /// The value under `key`, if this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Map(pairs) => pairs.iter().rev().find(|(k, _)| &**k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text, if this is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The elements, if this is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl ValueSource for Value {
    fn emit(&self, sink: &mut dyn ValueSink) -> Result<(), ValueError> {
        match self {
            Self::Undefined => sink.undefined(),
            Self::Null => sink.null(),
            Self::Bool(v) => sink.bool(*v),
            Self::Int(v) => sink.int(*v),
            Self::Float(v) => sink.float(*v),
            Self::BigInt(v) => sink.big_int(v),
            Self::Decimal(v) => sink.decimal(v),
            Self::Str(v) => sink.str(v),
            Self::Bytes(v) => sink.bytes(v),
            Self::Timestamp(v) => sink.timestamp(*v),
            Self::List(items) => {
                sink.begin_list(Some(items.len()))?;
                for item in items {
                    item.emit(sink)?;
                }
                sink.end_list()
            }
            Self::Map(pairs) => {
                sink.begin_map(Some(pairs.len()))?;
                for (key, value) in pairs {
                    sink.key(key)?;
                    value.emit(sink)?;
                }
                sink.end_map()
            }
        }
    }
}

/// A sink that builds a [`Value`].
#[derive(Debug, Default)]
pub struct ValueBuilder {
    /// Open lists, maps and rows, outermost first.
    open: Vec<Open>,
    done: Option<Value>,
}

#[derive(Debug)]
enum Open {
    List(Vec<Value>),
    Map { pairs: Vec<(Box<str>, Value)>, key: Box<str> },
    Row { columns: Vec<Box<str>>, values: Vec<Value> },
}

impl ValueBuilder {
    /// The value, if exactly one was pushed.
    #[must_use]
    pub fn finish(self) -> Option<Value> {
        if self.open.is_empty() { self.done } else { None }
    }

    /// The tree of any source.
    pub fn build(source: &dyn ValueSource) -> Result<Value, ValueError> {
        let mut builder = Self::default();
        source.emit(&mut builder)?;
        builder.finish().ok_or(ValueError::Malformed { offset: 0, expected: "one whole value" })
    }

    #[expect(clippy::unnecessary_wraps, reason = "so that every method of the sink reads as one call")]
    fn put(&mut self, value: Value) -> Result<(), ValueError> {
        match self.open.last_mut() {
            None => self.done = Some(value),
            Some(Open::List(items)) => items.push(value),
            Some(Open::Map { pairs, key }) => {
                let key = std::mem::take(key);
                match pairs.iter_mut().find(|(k, _)| *k == key) {
                    Some(pair) => pair.1 = value,
                    None => pairs.push((key, value)),
                }
            }
            Some(Open::Row { values, .. }) => values.push(value),
        }
        Ok(())
    }

    fn open(&mut self, open: Open) -> Result<(), ValueError> {
        if self.open.len() >= crate::limits::VALUE_DEPTH_MAX {
            return Err(ValueError::TooDeep);
        }
        self.open.push(open);
        Ok(())
    }
}

impl ValueSink for ValueBuilder {
    fn undefined(&mut self) -> Result<(), ValueError> {
        self.put(Value::Undefined)
    }
    fn null(&mut self) -> Result<(), ValueError> {
        self.put(Value::Null)
    }
    fn bool(&mut self, value: bool) -> Result<(), ValueError> {
        self.put(Value::Bool(value))
    }
    fn int(&mut self, value: i64) -> Result<(), ValueError> {
        self.put(Value::Int(value))
    }
    fn float(&mut self, value: f64) -> Result<(), ValueError> {
        self.put(Value::Float(value))
    }
    fn big_int(&mut self, digits: &str) -> Result<(), ValueError> {
        self.put(Value::BigInt(digits.into()))
    }
    fn decimal(&mut self, digits: &str) -> Result<(), ValueError> {
        self.put(Value::Decimal(digits.into()))
    }
    fn str(&mut self, value: &str) -> Result<(), ValueError> {
        self.put(Value::Str(value.into()))
    }
    fn bytes(&mut self, value: &[u8]) -> Result<(), ValueError> {
        self.put(Value::Bytes(value.into()))
    }
    fn timestamp(&mut self, micros: i64) -> Result<(), ValueError> {
        self.put(Value::Timestamp(micros))
    }
    fn begin_list(&mut self, len: Option<usize>) -> Result<(), ValueError> {
        // A length comes from a peer's bytes: it is a hint, not a promise.
        self.open(Open::List(Vec::with_capacity(len.unwrap_or(0).min(1024))))
    }
    fn end_list(&mut self) -> Result<(), ValueError> {
        match self.open.pop() {
            Some(Open::List(items)) => self.put(Value::List(items)),
            _ => Err(ValueError::Malformed { offset: 0, expected: "an open list" }),
        }
    }
    fn begin_map(&mut self, len: Option<usize>) -> Result<(), ValueError> {
        let pairs = Vec::with_capacity(len.unwrap_or(0).min(1024));
        self.open(Open::Map { pairs, key: Box::default() })
    }
    fn key(&mut self, name: &str) -> Result<(), ValueError> {
        match self.open.last_mut() {
            Some(Open::Map { key, .. }) => {
                *key = name.into();
                Ok(())
            }
            _ => Err(ValueError::Malformed { offset: 0, expected: "an open map" }),
        }
    }
    fn end_map(&mut self) -> Result<(), ValueError> {
        match self.open.pop() {
            Some(Open::Map { pairs, .. }) => self.put(Value::Map(pairs)),
            _ => Err(ValueError::Malformed { offset: 0, expected: "an open map" }),
        }
    }
    fn begin_row(&mut self, columns: &[Box<str>]) -> Result<(), ValueError> {
        self.open(Open::Row { columns: columns.to_vec(), values: Vec::with_capacity(columns.len()) })
    }
    fn end_row(&mut self) -> Result<(), ValueError> {
        match self.open.pop() {
            Some(Open::Row { columns, values }) => {
                self.begin_map(Some(columns.len()))?;
                for (column, value) in columns.iter().zip(values) {
                    self.key(column)?;
                    self.put(value)?;
                }
                self.end_map()
            }
            _ => Err(ValueError::Malformed { offset: 0, expected: "an open row" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_survives_its_own_calls() {
        let tree = Value::Map(vec![
            ("id".into(), Value::Int(7)),
            ("tags".into(), Value::List(vec!["a".into(), Value::Null, true.into()])),
            ("at".into(), Value::Timestamp(-1)),
        ]);
        assert_eq!(ValueBuilder::build(&tree), Ok(tree));
    }

    #[test]
    fn a_row_is_a_map_and_the_last_of_two_equal_columns_wins() {
        let columns: Vec<Box<str>> = vec!["a".into(), "b".into(), "a".into()];
        let mut builder = ValueBuilder::default();
        builder.begin_row(&columns).unwrap();
        for v in 1..=3 {
            builder.int(v).unwrap();
        }
        builder.end_row().unwrap();
        let row = builder.finish().unwrap();
        assert_eq!(row, Value::Map(vec![("a".into(), Value::Int(3)), ("b".into(), Value::Int(2))]));
    }

    #[test]
    fn nesting_is_bounded() {
        let mut builder = ValueBuilder::default();
        let end = (0..10_000).find_map(|_| builder.begin_list(None).err());
        assert_eq!(end, Some(ValueError::TooDeep));
    }
}
