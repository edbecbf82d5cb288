//! Plain writes of a step: they reach the store with the step's suspension, and the task reads its own until then.

use std::collections::BTreeMap;

use forebay_base::Timestamp;

use crate::batch::Batch;

/// What a key will be.
type Will = Option<(Vec<u8>, Option<Timestamp>)>;

/// The same, borrowed.
pub(crate) type WillBe<'a> = Option<(&'a [u8], Option<Timestamp>)>;

/// Writes that wait for the step's end. The last one of a key counts.
#[derive(Clone, Debug, Default)]
pub struct Buffer {
    writes: BTreeMap<Vec<u8>, Will>,
    bytes: usize,
}

impl Buffer {
    /// `kv.set`.
    pub fn set(&mut self, key: Vec<u8>, value: Vec<u8>, expires: Option<Timestamp>) {
        self.put(key, Some((value, expires)));
    }

    /// `kv.del`.
    pub fn del(&mut self, key: Vec<u8>) {
        self.put(key, None);
    }

    fn put(&mut self, key: Vec<u8>, will: Will) {
        self.bytes += key.len() + will.as_ref().map_or(0, |(value, _)| value.len());
        self.writes.insert(key, will);
    }

    /// What the step made of a key: nothing yet, absent, or a value with its expiry.
    #[must_use]
    pub fn get(&self, key: &[u8], now: Timestamp) -> Option<Option<(&[u8], Option<Timestamp>)>> {
        let will = self.writes.get(key)?;
        Some(match will {
            Some((value, expires)) if expires.is_none_or(|at| at > now) => Some((value, *expires)),
            _ => None,
        })
    }

    /// Whether a key with this prefix was written.
    #[must_use]
    pub fn touches(&self, prefix: &[u8]) -> bool {
        self.writes.range(prefix.to_vec()..).next().is_some_and(|(key, _)| key.starts_with(prefix))
    }

    /// How many keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// None.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Bytes that were written, of overwritten values too.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The writes, as they can be kept elsewhere: key, value and expiry.
    pub(crate) fn writes(&self) -> impl Iterator<Item = (&[u8], WillBe<'_>)> {
        self.writes.iter().map(|(key, will)| (&**key, will.as_ref().map(|(value, at)| (&**value, *at))))
    }

    /// Moves the writes into a batch.
    pub fn drain_into(&mut self, batch: &mut Batch) {
        self.bytes = 0;
        for (key, will) in std::mem::take(&mut self.writes) {
            match will {
                Some((value, expires)) => batch.set(key, value, expires),
                None => batch.del(key),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_reads_its_own() {
        let mut buffer = Buffer::default();
        let at = Timestamp(100);
        assert_eq!(buffer.get(b"a", at), None);
        buffer.set(b"a".to_vec(), b"1".to_vec(), None);
        buffer.set(b"b".to_vec(), b"2".to_vec(), Some(Timestamp(150)));
        buffer.del(b"c".to_vec());
        assert_eq!(buffer.get(b"a", at), Some(Some((&b"1"[..], None))));
        assert_eq!(buffer.get(b"b", at), Some(Some((&b"2"[..], Some(Timestamp(150))))));
        assert_eq!(buffer.get(b"b", Timestamp(150)), Some(None), "expired");
        assert_eq!(buffer.get(b"c", at), Some(None));
        assert!(
            buffer.touches(b"a") && buffer.touches(b"") && !buffer.touches(b"d") && !buffer.touches(b"aa")
        );
        let mut batch = Batch::new();
        buffer.drain_into(&mut batch);
        assert_eq!((batch.len(), buffer.len(), buffer.bytes()), (3, 0, 0));
    }
}
