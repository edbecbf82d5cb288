//! DataRows into the sink of their query.

use forebay_base::value::{Field, utf8};
use forebay_base::{ValueError, ValueSink};

use super::Running;
use super::wire::{self, Body};
use crate::error::QueryError;
use crate::query::{Delivery, Receiver, Shape};
use crate::types::decode;

/// Fields that need no allocation.
const FIELDS_INLINE: usize = 8;

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
    let (mut few, mut many) = ([Field::Null; FIELDS_INLINE], Vec::new());
    let fields = match few.get_mut(..count) {
        Some(few) => few,
        None => {
            many.resize(count, Field::Null);
            many.as_mut_slice()
        }
    };
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
        } else if prepared.plain {
            decode::row(&prepared.columns, &prepared.types, fields_of_row, fields, scratch, sink)?;
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
