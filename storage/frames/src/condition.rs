//! cas, snx and incr in a durable task: they end the step, and happen in one batch with the record of their result,
//! so that a replay after a crash is told what happened instead of doing it again.
//!
//! The result has to be known when the batch is written. So the value is read, the result is worked out, and
//! the write in the batch is a cas from what was read: if someone else was faster the whole batch conflicts
//! and is decided anew. A condition that doesn't hold writes nothing and needs no record: that it is looked at again
//! after a crash is no different from having been looked at later.

use forebay_base::value::codec::{decode_int, encode_int};
use forebay_base::{Timestamp, Value, ValueSource as _};

use crate::batch::Batch;
use crate::id::TaskId;
use crate::keys::answer_key;

/// What the script asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `kv.cas`; `expected` None: absent.
    Cas {
        /// The key.
        key: Vec<u8>,
        /// What must be there.
        expected: Option<Vec<u8>>,
        /// What comes there.
        new: Vec<u8>,
    },
    /// `kv.snx`.
    Snx {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
        /// From then on the key is absent.
        expires: Option<Timestamp>,
    },
    /// `kv.incr`.
    Incr {
        /// The key.
        key: Vec<u8>,
        /// May be negative.
        by: i64,
    },
}

/// The result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Whether it happened.
    Bool(bool),
    /// The sum.
    Number(i64),
    /// The value is no integer, or the sum leaves 64 bits: an exception.
    NotCounter,
}

/// A condition with its result, and the write that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Number of the effect.
    pub effect: u32,
    /// The result, if the write succeeds.
    pub given: Given,
    write: Option<Write>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Write {
    key: Vec<u8>,
    expected: Option<Vec<u8>>,
    new: Vec<u8>,
    expires: Option<Timestamp>,
}

impl Condition {
    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Cas { key, .. } | Self::Snx { key, .. } | Self::Incr { key, .. } => key,
        }
    }

    /// Works out the result from what is there now: value and expiry.
    #[must_use]
    pub fn decide(&self, effect: u32, current: Option<(&[u8], Option<Timestamp>)>) -> Decided {
        let write = |new: &[u8], expires| {
            let expected = current.map(|(value, _)| value.to_vec());
            Some(Write { key: self.key().to_vec(), expected, new: new.to_vec(), expires })
        };
        let (given, write) = match self {
            Self::Cas { expected, new, .. } if expected.as_deref() == current.map(|(value, _)| value) => {
                (Given::Bool(true), write(new, None))
            }
            Self::Snx { value, expires, .. } if current.is_none() => {
                (Given::Bool(true), write(value, *expires))
            }
            Self::Cas { .. } | Self::Snx { .. } => (Given::Bool(false), None),
            Self::Incr { by, .. } => {
                let number = current.map_or(Some(0), |(value, _)| decode_int(value));
                match number.and_then(|number| number.checked_add(*by)) {
                    // A counter keeps its expiry.
                    Some(sum) => {
                        let expires = current.and_then(|(_, expires)| expires);
                        (Given::Number(sum), write(&encode_int(sum), expires))
                    }
                    None => (Given::NotCounter, None),
                }
            }
        };
        Decided { effect, given, write }
    }
}

impl Decided {
    /// It changes something, so it has to be written before it is told.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.write.is_some()
    }

    /// What the key will be, for the next condition of the same batch.
    #[must_use]
    pub fn after(&self) -> Option<(&[u8], &[u8], Option<Timestamp>)> {
        self.write.as_ref().map(|write| (&*write.key, &*write.new, write.expires))
    }

    /// Appends the write and the record of its result.
    pub fn append_to(&self, id: &TaskId, batch: &mut Batch) {
        let Some(write) = &self.write else { return };
        batch.cas(write.key.clone(), write.expected.clone(), Some(write.new.clone()), write.expires);
        let value = match self.given {
            Given::Bool(value) => Value::Bool(value),
            Given::Number(value) => Value::Int(value),
            Given::NotCounter => Value::Null,
        };
        let mut encoder = forebay_base::value::codec::Encoder::new();
        // A boolean or an integer: nothing that an encoder refuses.
        let bytes = value.emit(&mut encoder).and_then(|()| encoder.finish()).unwrap_or_default();
        batch.keep(answer_key(id, self.effect), bytes, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_worked_out() {
        let two = encode_int(2);
        let cas = |expected: Option<&[u8]>| Condition::Cas {
            key: b"k".to_vec(),
            expected: expected.map(<[u8]>::to_vec),
            new: b"new".to_vec(),
        };
        assert_eq!(cas(None).decide(1, None).given, Given::Bool(true));
        assert_eq!(cas(None).decide(1, Some((&two, None))).given, Given::Bool(false));
        assert!(!cas(Some(b"x")).decide(1, None).writes());
        assert!(cas(Some(&two)).decide(1, Some((&two, None))).writes());
        let snx = Condition::Snx { key: b"k".to_vec(), value: b"v".to_vec(), expires: None };
        assert!(snx.decide(1, None).writes() && !snx.decide(1, Some((&two, None))).writes());
        let incr = Condition::Incr { key: b"k".to_vec(), by: 3 };
        assert_eq!(incr.decide(1, None).given, Given::Number(3));
        let kept = incr.decide(1, Some((&two, Some(Timestamp(9)))));
        assert_eq!(kept.given, Given::Number(5));
        assert_eq!(kept.after(), Some((&b"k"[..], &encode_int(5)[..], Some(Timestamp(9)))));
        assert_eq!(incr.decide(1, Some((b"?", None))).given, Given::NotCounter);
        let most = encode_int(i64::MAX);
        assert_eq!(incr.decide(1, Some((&most, None))).given, Given::NotCounter);
    }
}
