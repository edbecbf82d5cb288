//! Rows as they come from a database, handed to a sink undecoded.
//!
//! ```text
//!   row     column*                              as many as there are kinds, nothing behind them
//!   column  length: i32 big-endian, bytes        length -1: NULL
//! ```
//! Numbers are big-endian. A sink that builds objects (the engine) reads the columns where they are and makes one pass
//! over them; every other sink gets [`push`], which calls its methods one by one.

use super::{Field, ValueError, ValueSink, range, utf8};

/// How a column is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packed {
    /// An integer of 2 bytes.
    Int2,
    /// An integer of 4 bytes.
    Int4,
    /// An integer of 8 bytes.
    Int8,
    /// A double of 8 bytes.
    Float8,
    /// One byte, 0 or 1.
    Bool,
    /// Text that nobody has looked at yet: it must be UTF-8.
    Text,
    /// In a way that [`PackedRows::other`] knows.
    Other,
}

/// The rows of a result, one after the other.
pub trait PackedRows<'b> {
    /// The columns of the next row.
    fn next_row(&mut self) -> Option<&'b [u8]>;

    /// Decodes the bytes of a column of kind [`Packed::Other`]; the text is what [`Field::Made`] and [`Field::Digits`]
    /// name.
    ///
    /// # Errors
    /// [`ValueError::Malformed`] where they aren't such a value.
    fn other(&mut self, column: usize, bytes: &'b [u8]) -> Result<(Field<'b>, &str), ValueError>;
}

/// What is wrong with a row whose bytes end too early, or too late.
pub const TORN: ValueError =
    ValueError::Malformed { offset: 0, expected: "a row of as many columns as announced" };

/// Takes the next column off the front of a row; `None` is NULL.
///
/// # Errors
/// [`TORN`] where the bytes end in it.
#[inline(always)]
pub fn column<'b>(rest: &mut &'b [u8]) -> Result<Option<&'b [u8]>, ValueError> {
    let (length, tail) = rest.split_first_chunk::<4>().ok_or(TORN)?;
    let length = u32::from_be_bytes(*length);
    if length == u32::MAX {
        *rest = tail;
        return Ok(None);
    }
    // Other negative lengths are longer than any row.
    let (bytes, tail) = tail.split_at_checked(length as usize).ok_or(TORN)?;
    *rest = tail;
    Ok(Some(bytes))
}

/// The bytes of a value that has always the same length.
///
/// # Errors
/// [`ValueError::Malformed`] for another length.
#[inline(always)]
pub fn fixed<const N: usize>(bytes: &[u8], expected: &'static str) -> Result<[u8; N], ValueError> {
    bytes.try_into().map_err(|_| ValueError::Malformed { offset: 0, expected })
}

/// A boolean's one byte.
///
/// # Errors
/// [`ValueError::Malformed`] for anything else.
#[inline(always)]
pub fn bool(bytes: &[u8]) -> Result<bool, ValueError> {
    match bytes {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(ValueError::Malformed { offset: 0, expected: "1 byte of bool" }),
    }
}

/// Pushes every row, value by value.
///
/// # Errors
/// What the sink or [`PackedRows::other`] refuses, and rows that are malformed.
pub fn push<'b, S: ValueSink + ?Sized>(
    sink: &mut S,
    columns: &[Box<str>],
    kinds: &[Packed],
    rows: &mut dyn PackedRows<'b>,
) -> Result<(), ValueError> {
    while let Some(mut rest) = rows.next_row() {
        sink.begin_row(columns)?;
        for (index, kind) in kinds.iter().enumerate() {
            let Some(bytes) = column(&mut rest)? else {
                sink.null()?;
                continue;
            };
            match kind {
                Packed::Int2 => sink.int(i16::from_be_bytes(fixed(bytes, "2 bytes of int2")?).into())?,
                Packed::Int4 => sink.int(i32::from_be_bytes(fixed(bytes, "4 bytes of int4")?).into())?,
                Packed::Int8 => sink.int(i64::from_be_bytes(fixed(bytes, "8 bytes of int8")?))?,
                Packed::Float8 => sink.float(f64::from_be_bytes(fixed(bytes, "8 bytes of float8")?))?,
                Packed::Bool => sink.bool(bool(bytes)?)?,
                Packed::Text => sink.str(utf8(bytes)?)?,
                Packed::Other => match rows.other(index, bytes)? {
                    (Field::Null, _) => sink.null()?,
                    (Field::Bool(v), _) => sink.bool(v)?,
                    (Field::Int(v), _) => sink.int(v)?,
                    (Field::Float(v), _) => sink.float(v)?,
                    (Field::Text(bytes), _) => sink.str(utf8(bytes)?)?,
                    (Field::Bytes(v), _) => sink.bytes(v)?,
                    (Field::Timestamp(v), _) => sink.timestamp(v)?,
                    (Field::Made(start, end), text) => sink.str(range(text, start, end)?)?,
                    (Field::Digits(start, end), text) => sink.decimal(range(text, start, end)?)?,
                },
            }
        }
        if !rest.is_empty() {
            return Err(TORN);
        }
        sink.end_row()?;
    }
    Ok(())
}
