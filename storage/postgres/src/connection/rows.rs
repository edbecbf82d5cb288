//! DataRows into the sink of their query.

use forebay_base::{ValueError, ValueSink};

use super::Running;
use super::wire::{self, Body};
use crate::error::QueryError;
use crate::query::{Delivery, Receiver, Shape};
use crate::types::decode;

/// Pushes the DataRows of `rows` into the query's sink; other messages in between are skipped, they are handled
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
    if running.shape == Shape::Rows && !running.list_open {
        sink.begin_list((running.delivery == Delivery::Whole).then_some(pending))?;
        running.list_open = true;
    }
    let prepared = &*running.prepared;
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
        if body.u16().map(usize::from) != Some(prepared.types.len()) {
            return Err(malformed);
        }
        let mut fields = body.0;
        if running.shape == Shape::Scalar {
            match prepared.types.first() {
                Some(ty) => {
                    let field = decode::field(&mut fields).ok_or(malformed.clone())?;
                    decode::column(*ty, field, scratch, sink)?;
                }
                None => sink.undefined()?,
            }
        } else {
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

/// Pushes what is left of the one value of a query that went well.
pub(super) fn conclude(running: &mut Running, receiver: &mut dyn Receiver) {
    let missing = running.complete.rows == 0;
    if matches!(running.shape, Shape::First | Shape::Scalar) && !missing {
        return;
    }
    let Some(sink) = receiver.sink(running.token) else {
        running.abandoned = true;
        return;
    };
    let pushed = match running.shape {
        Shape::Rows if running.list_open => sink.end_list(),
        Shape::Rows => sink.begin_list(Some(0)).and_then(|()| sink.end_list()),
        Shape::First | Shape::Scalar => sink.undefined(),
        Shape::Affected => sink.int(i64::try_from(running.complete.affected).unwrap_or(i64::MAX)),
    };
    if let Err(error) = pushed {
        running.error = Some(QueryError::Value(error));
    }
}
