//! DataRows into the sink of their query.

use forebay_base::value::packed::PackedRows;
use forebay_base::value::{Field, utf8};
use forebay_base::{ValueError, ValueSink};

use super::Running;
use super::wire::{self, Body};
use crate::error::QueryError;
use crate::query::{Delivery, Receiver, Shape};
use crate::types::{Type, decode};

/// A batch of a streaming query: pushes the DataRows of `rows` into its sink; other messages in between are skipped, they are handled
/// already.
pub(super) fn deliver(
    running: &mut Running,
    rows: &[u8],
    scratch: &mut decode::Scratch,
    receiver: &mut dyn Receiver,
) {
    let pending = std::mem::take(&mut running.pending);
    let Some(sink) = receiver.sink(running.token) else {
        running.abandoned = true;
        return;
    };
    if let Err(error) = push_rows(running, rows, pending, scratch, sink) {
        running.error = Some(QueryError::Value(error));
    }
}

fn push_rows(
    running: &mut Running,
    mut rows: &[u8],
    pending: usize,
    scratch: &mut decode::Scratch,
    sink: &mut dyn ValueSink,
) -> Result<(), ValueError> {
    let malformed = ValueError::Malformed { offset: 0, expected: "a DataRow" };
    if running.shape == Shape::Text {
        return push_text(rows, sink);
    }
    if matches!(running.shape, Shape::Rows | Shape::Lists) && !running.list_open {
        sink.begin_list((running.delivery == Delivery::Whole).then_some(pending))?;
        running.list_open = true;
    }
    if running.copy.is_some() {
        while let Some(Ok((kind, length))) = wire::head(rows) {
            let (message, rest) = rows.split_at_checked(length).ok_or(malformed.clone())?;
            rows = rest;
            if kind == b'd' {
                super::copying::push_tuples(running, &message[5..], scratch, sink)?;
            }
        }
        return Ok(());
    }
    let prepared = &*running.prepared;
    let count = prepared.types.len();
    if prepared.plain && running.shape != Shape::Scalar {
        let most = if running.shape == Shape::Rows { u64::MAX } else { 1 };
        let (types, text) = (&*prepared.types, &mut scratch.text);
        let mut batch = Batch { rows, types, text, pushed: running.complete.rows, most, torn: false };
        sink.packed(&prepared.columns, &prepared.kinds, &mut batch)?;
        running.complete.rows = batch.pushed;
        return if batch.torn { Err(malformed) } else { Ok(()) };
    }
    while let Some(Ok((kind, length))) = wire::head(rows) {
        let (message, rest) = rows.split_at_checked(length).ok_or(malformed.clone())?;
        rows = rest;
        if kind != b'D' {
            continue;
        }
        if running.shape != Shape::Rows && running.complete.rows > 0 {
            break;
        }
        let mut body = Body(&message[5..]);
        if body.u16().map(usize::from) != Some(count) {
            return Err(malformed);
        }
        let fields_of_row = body.0;
        if running.shape == Shape::Scalar {
            match prepared.types.first() {
                Some(ty) => {
                    let mut fields = fields_of_row;
                    let field = decode::field(&mut fields).ok_or(malformed.clone())?;
                    decode::column(*ty, field, scratch, sink)?;
                }
                None => sink.undefined()?,
            }
        } else {
            let mut fields = fields_of_row;
            sink.begin_row(&prepared.columns)?;
            for ty in &prepared.types {
                let field = decode::field(&mut fields).ok_or(malformed.clone())?;
                decode::column(*ty, field, scratch, sink)?;
            }
            if !fields.is_empty() {
                return Err(malformed);
            }
            sink.end_row()?;
        }
        running.complete.rows += 1;
    }
    Ok(())
}

/// DataRows whose columns are all plain, for [`ValueSink::packed`]; other messages in between are skipped.
struct Batch<'b, 's> {
    rows: &'b [u8],
    types: &'s [Type],
    text: &'s mut String,
    /// Of the whole result, and how many of it are wanted.
    pushed: u64,
    most: u64,
    /// A message isn't what it says it is.
    torn: bool,
}

impl<'b> PackedRows<'b> for Batch<'b, '_> {
    fn next_row(&mut self) -> Option<&'b [u8]> {
        while self.pushed < self.most
            && let Some(head) = wire::head(self.rows)
        {
            let message = head.ok().and_then(|(_, length)| self.rows.split_at_checked(length));
            let Some((message, rest)) = message else {
                self.torn = true;
                return None;
            };
            self.rows = rest;
            if message[0] != b'D' {
                continue;
            }
            // Type, length, count, columns.
            if let Some(([.., high, low], columns)) = message.split_first_chunk::<7>()
                && usize::from(u16::from_be_bytes([*high, *low])) == self.types.len()
            {
                self.pushed += 1;
                return Some(columns);
            }
            self.torn = true;
            return None;
        }
        None
    }

    fn other(&mut self, column: usize, bytes: &'b [u8]) -> Result<(Field<'b>, &str), ValueError> {
        let unknown = ValueError::Malformed { offset: 0, expected: "a column of the result" };
        let field = decode::field_of(*self.types.get(column).ok_or(unknown)?, bytes, self.text)?;
        Ok((field, self.text))
    }
}

/// The data of a COPY TO STDOUT as it came.
fn push_text(mut rows: &[u8], sink: &mut dyn ValueSink) -> Result<(), ValueError> {
    let mut text = Vec::new();
    while let Some(Ok((kind, length))) = wire::head(rows) {
        let malformed = ValueError::Malformed { offset: 0, expected: "CopyData" };
        let (message, rest) = rows.split_at_checked(length).ok_or(malformed)?;
        rows = rest;
        if kind == b'd' {
            text.extend_from_slice(&message[5..]);
        }
    }
    sink.str(utf8(&text)?)
}

/// A query that went well, up to now: pushes the rows that are left and the end of its value, in one go.
pub(super) fn finish(
    running: &mut Running,
    rows: &[u8],
    scratch: &mut decode::Scratch,
    receiver: &mut dyn Receiver,
) {
    let pending = std::mem::take(&mut running.pending);
    let pushed_already = running.complete.rows > 0 && matches!(running.shape, Shape::First | Shape::Scalar);
    if running.abandoned || running.error.is_some() || pushed_already {
        return;
    }
    let Some(sink) = receiver.sink(running.token) else {
        running.abandoned = true;
        return;
    };
    let rows_pushed = if pending > 0 { push_rows(running, rows, pending, scratch, sink) } else { Ok(()) };
    if let Err(error) = rows_pushed.and_then(|()| conclude(running, sink)) {
        running.error = Some(QueryError::Value(error));
    }
}

fn conclude(running: &Running, sink: &mut dyn ValueSink) -> Result<(), ValueError> {
    match running.shape {
        Shape::Rows | Shape::Lists if running.list_open => sink.end_list(),
        Shape::Rows | Shape::Lists => sink.begin_list(Some(0)).and_then(|()| sink.end_list()),
        Shape::First | Shape::Scalar if running.complete.rows == 0 => sink.undefined(),
        Shape::First | Shape::Scalar => Ok(()),
        // Pushed with its data.
        Shape::Text if running.result_bytes > 0 => Ok(()),
        Shape::Text => sink.str(""),
        Shape::Affected => sink.int(i64::try_from(running.complete.affected).unwrap_or(i64::MAX)),
    }
}
