//! Rows of a database straight into a task's arena: one pass over each row's bytes, no value in between.
//!
//! Columns are learned once per result (`learn_columns`): every row then is one object of one shape whose slots are
//! written at once. Rows without such a shape (names that repeat or are numbers, too many of them) take the way of every
//! other sink.

use forebay_base::ValueError;
use forebay_base::value::packed::{self, Packed, PackedRows, TORN, column, fixed};
use forebay_base::value::{Field, range, utf8};

use crate::builtins::text::is_well_formed;
use crate::value::{Ref, Value};
use crate::value_ref::{Open, ROW_COLUMNS_MAX, Sink};

/// Rows of at most this many columns are put together in a smaller buffer.
const FEW_COLUMNS: usize = 8;

impl Sink<'_> {
    pub(crate) fn packed_rows<'b>(
        &mut self,
        columns: &[Box<str>],
        kinds: &[Packed],
        rows: &mut dyn PackedRows<'b>,
    ) -> Result<(), ValueError> {
        if self.mem.local.row.columns != (columns.as_ptr().addr(), columns.len())
            || self.mem.local.row.keys.len() != columns.len()
        {
            self.learn_columns(columns)?;
        }
        let Some(shape) = self.mem.local.row.shape.filter(|_| columns.len() == kinds.len()) else {
            return packed::push(self, columns, kinds, rows);
        };
        let list = match self.building.open.last() {
            Some(Open::List(list)) => Some(*list),
            _ => None,
        };
        while let Some(bytes) = rows.next_row() {
            let row = if kinds.len() <= FEW_COLUMNS {
                self.packed_row::<FEW_COLUMNS>(shape, kinds, bytes, rows)?
            } else {
                self.packed_row::<ROW_COLUMNS_MAX>(shape, kinds, bytes, rows)?
            };
            match list {
                Some(list) => {
                    let pushed = self.mem.array_push(list, row.object());
                    self.made(pushed)?;
                }
                None => self.put(row.object())?,
            }
        }
        Ok(())
    }

    /// One row of at most `N` columns. Values first: the object never has a slot that nobody has written.
    #[inline(always)]
    fn packed_row<'b, const N: usize>(
        &mut self,
        shape: u32,
        kinds: &[Packed],
        mut bytes: &'b [u8],
        rows: &mut dyn PackedRows<'b>,
    ) -> Result<Ref, ValueError> {
        let mut values = [Value::UNDEFINED; N];
        for (index, (value, kind)) in values.iter_mut().zip(kinds).enumerate() {
            let Some(bytes) = column(&mut bytes)? else {
                *value = Value::NULL;
                continue;
            };
            *value = match kind {
                Packed::Int4 => Value::int(i32::from_be_bytes(fixed(bytes, "4 bytes of int4")?)),
                Packed::Int8 => self.wide_int(i64::from_be_bytes(fixed(bytes, "8 bytes of int8")?))?,
                Packed::Text => self.text(bytes)?,
                Packed::Int2 => Value::int(i16::from_be_bytes(fixed(bytes, "2 bytes of int2")?).into()),
                Packed::Bool => Value::bool(packed::bool(bytes)?),
                Packed::Float8 => Value::number(f64::from_be_bytes(fixed(bytes, "8 bytes of float8")?)),
                Packed::Other => {
                    let (field, text) = rows.other(index, bytes)?;
                    self.field(field, text)?
                }
            };
        }
        if !bytes.is_empty() {
            return Err(TORN);
        }
        // As many slots as any object has at least.
        let row = self.mem.new_row(shape, &values[..kinds.len().clamp(2, N)]);
        self.made(row)
    }

    fn field(&mut self, field: Field<'_>, text: &str) -> Result<Value, ValueError> {
        Ok(match field {
            Field::Null => Value::NULL,
            Field::Bool(v) => Value::bool(v),
            Field::Int(v) => return self.wide_int(v),
            Field::Float(v) => Value::number(v),
            Field::Text(bytes) => return self.text(bytes),
            Field::Made(start, end) => return self.text(range(text, start, end)?.as_bytes()),
            Field::Digits(start, end) => {
                let v = self.mem.new_decimal(range(text, start, end)?);
                self.made(v)?
            }
            Field::Bytes(v) => {
                let v = self.mem.new_bytes(v);
                self.made(v)?
            }
            Field::Timestamp(v) => {
                let v = self.mem.new_timestamp(v);
                self.made(v)?
            }
        })
    }

    #[inline(always)]
    fn wide_int(&mut self, value: i64) -> Result<Value, ValueError> {
        if let Ok(value) = i32::try_from(value) {
            return Ok(Value::int(value));
        }
        if value.unsigned_abs() <= 1 << 53 {
            // It is no int, and no zero.
            return Ok(Value::double(value as f64));
        }
        self.large_int(value)
    }

    #[cold]
    fn large_int(&mut self, value: i64) -> Result<Value, ValueError> {
        let v = self.mem.new_bigint(&crate::builtins::bignum::Int::from_i64(value));
        self.made(v)
    }

    /// A string of bytes that nobody has looked at yet.
    #[inline(always)]
    fn text(&mut self, bytes: &[u8]) -> Result<Value, ValueError> {
        let v = match self.mem.heap.ascii_of(bytes) {
            Ok(Some(v)) => return Ok(v),
            Ok(None) if is_well_formed(bytes) => self.mem.heap.new_string(bytes),
            Ok(None) => self.mem.heap.new_string(utf8(bytes)?.as_bytes()),
            Err(throw) => Err(throw),
        };
        self.made(v)
    }
}
