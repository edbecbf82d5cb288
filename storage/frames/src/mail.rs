//! What tasks leave for each other: signals, promises, and who waits for whose end. All of it outside of a task's
//! own prefix, since others write it; keys and values are in docs/formats/frames.md.
//!
//! ```text
//!   sig:<id>:<sequence>     a signal for a task that hasn't taken it         signal()
//!   promise:<token>         of which task, and what it was fulfilled with    Promise
//!   pt:<id>:<token>         a task's promises: removed with it
//!   join:<id>:<waiter>      who waits for the end of a task
//! ```
//!
//! A task takes a signal by reading it; the record goes with the batch of that step. If the step doesn't happen the
//! signal is there again. So none is lost and none is taken twice, and no batch of its own is needed.

use forebay_base::value::ValueBuilder;
use forebay_base::value::codec;
use forebay_base::{Value, ValueSource as _};

use crate::id::TaskId;
use crate::state::BadRecord;

/// A signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// What a task waits for.
    pub name: Box<str>,
    /// Encoded (value.md); none: undefined.
    pub value: Option<Vec<u8>>,
}

/// A promise of a task, whose token nobody can guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Whose.
    pub task: TaskId,
    /// What it was fulfilled with, encoded.
    pub value: Option<Vec<u8>>,
    /// Nobody can fulfill it any more.
    pub settled: bool,
}

fn encode(map: &Value) -> Vec<u8> {
    // A small map of texts and bytes whose size was checked when they came in.
    let mut encoder = codec::Encoder::new();
    map.emit(&mut encoder).and_then(|()| encoder.finish()).unwrap_or_default()
}

fn decode(bytes: &[u8], what: &'static str) -> Result<Value, BadRecord> {
    let mut builder = ValueBuilder::default();
    codec::decode(bytes, &mut builder).map_err(|_| BadRecord(what))?;
    builder.finish().ok_or(BadRecord(what))
}

fn bytes_of(value: Option<&Value>) -> Option<Vec<u8>> {
    match value {
        Some(Value::Bytes(bytes)) => Some(bytes.to_vec()),
        _ => None,
    }
}

fn or_null(bytes: Option<&Vec<u8>>) -> Value {
    bytes.map_or(Value::Null, |bytes| Value::Bytes(bytes.as_slice().into()))
}

impl Signal {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(&Value::Map(vec![
            ("name".into(), Value::Str(self.name.clone())),
            ("value".into(), or_null(self.value.as_ref())),
        ]))
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`BadRecord`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let map = decode(bytes, "signal")?;
        let name = map.get("name").and_then(Value::as_str).ok_or(BadRecord("signal"))?;
        Ok(Self { name: name.into(), value: bytes_of(map.get("value")) })
    }
}

impl Promise {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(&Value::Map(vec![
            ("task".into(), Value::Str(self.task.as_str().into())),
            ("value".into(), or_null(self.value.as_ref())),
            ("settled".into(), Value::Bool(self.settled)),
        ]))
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`BadRecord`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let map = decode(bytes, "promise")?;
        let task = map.get("task").and_then(Value::as_str).and_then(|id| TaskId::new(id).ok());
        Ok(Self {
            task: task.ok_or(BadRecord("promise"))?,
            value: bytes_of(map.get("value")),
            settled: map.get("settled") == Some(&Value::Bool(true)),
        })
    }
}

/// The prefix of all signals.
#[must_use]
pub const fn signals_prefix() -> &'static [u8] {
    b"sig:"
}

/// The prefix of a task's signals, in the order in which they were sent.
#[must_use]
pub fn signals_of(id: &TaskId) -> Vec<u8> {
    format!("sig:{id}:").into_bytes()
}

/// A signal's key.
#[must_use]
pub fn signal_key(id: &TaskId, sequence: u64) -> Vec<u8> {
    format!("sig:{id}:{sequence:016x}").into_bytes()
}

/// For whom a signal is, and its sequence number.
#[must_use]
pub fn signal_of(key: &[u8]) -> Option<(TaskId, u64)> {
    let text = std::str::from_utf8(key.strip_prefix(signals_prefix())?).ok()?;
    let (id, sequence) = text.split_once(':')?;
    Some((TaskId::new(id).ok()?, u64::from_str_radix(sequence, 16).ok()?))
}

/// The prefix of all promises.
#[must_use]
pub const fn promises_prefix() -> &'static [u8] {
    b"promise:"
}

/// A promise's key. The token is a task's name in form: no `:`.
#[must_use]
pub fn promise_key(token: &TaskId) -> Vec<u8> {
    format!("promise:{token}").into_bytes()
}

/// The prefix of the list of a task's promises.
#[must_use]
pub fn promises_of(id: &TaskId) -> Vec<u8> {
    format!("pt:{id}:").into_bytes()
}

/// The entry of a promise in its task's list.
#[must_use]
pub fn promise_entry(id: &TaskId, token: &TaskId) -> Vec<u8> {
    format!("pt:{id}:{token}").into_bytes()
}

/// The prefix of all that wait for an end.
#[must_use]
pub const fn joins_prefix() -> &'static [u8] {
    b"join:"
}

/// The prefix of those that wait for the end of a task.
#[must_use]
pub fn joins_of(id: &TaskId) -> Vec<u8> {
    format!("join:{id}:").into_bytes()
}

/// Says that a task waits for the end of another.
#[must_use]
pub fn join_key(id: &TaskId, waiter: &TaskId) -> Vec<u8> {
    format!("join:{id}:{waiter}").into_bytes()
}

/// Whose end is waited for, and who waits.
#[must_use]
pub fn join_of(key: &[u8]) -> Option<(TaskId, TaskId)> {
    let text = std::str::from_utf8(key.strip_prefix(joins_prefix())?).ok()?;
    let (id, waiter) = text.split_once(':')?;
    Some((TaskId::new(id).ok()?, TaskId::new(waiter).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_damage_is_refused() {
        let (a, b) = (TaskId::new("a.1").unwrap(), TaskId::new("b~").unwrap());
        for value in [None, Some(vec![1, 2, 3])] {
            let signal = Signal { name: "paid".into(), value: value.clone() };
            let bytes = signal.encode();
            assert_eq!(Signal::decode(&bytes), Ok(signal));
            let promise = Promise { task: a.clone(), settled: value.is_some(), value };
            assert_eq!(Promise::decode(&promise.encode()), Ok(promise));
            for at in 0..bytes.len() {
                assert!(Signal::decode(&bytes[..at]).is_err() && Promise::decode(&bytes[..at]).is_err());
            }
        }
        assert_eq!(signal_of(&signal_key(&a, 77)), Some((a.clone(), 77)));
        assert!(signal_key(&a, 9) < signal_key(&a, 16) && signal_key(&a, 9).starts_with(&signals_of(&a)));
        assert_eq!(join_of(&join_key(&a, &b)), Some((a.clone(), b.clone())));
        assert!(promise_entry(&a, &b).starts_with(&promises_of(&a)));
        assert!(
            promise_key(&b).starts_with(promises_prefix()) && join_key(&a, &b).starts_with(&joins_of(&a))
        );
        for bad in [&b"sig:x"[..], b"sig:a b:0", b"sig:a:zz", b"join:a"] {
            assert!(signal_of(bad).is_none() && join_of(bad).is_none());
        }
    }
}
