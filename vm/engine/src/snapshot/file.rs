//! Records that belong together: the check over them, and one file that holds them all.
//!
//! ```text
//!   file     "FBSNAP\r\n"  then records: kind (u8), two numbers (u32), length (u32), bytes;  crc32c (u32)
//!   task     ends in: digest of the other records (u64), crc32c of the task record so far (u32)
//! ```
//! The digest is a sum over the records, so it doesn't depend on the order in which a store gives them back.

use super::wire::{Reader, Writer};
use super::{RecordKey, Snapshot, SnapshotError};

const MAGIC: [u8; 8] = *b"FBSNAP\r\n";
/// Digest and checksum.
pub(super) const TASK_TAIL_BYTES: usize = 12;

fn numbers(key: RecordKey) -> (u8, u32, u32) {
    match key {
        RecordKey::Task => (0, 0, 0),
        RecordKey::Imports => (1, 0, 0),
        RecordKey::Request => (2, 0, 0),
        RecordKey::Heap(page) => (3, page, 0),
        RecordKey::Fiber(fiber) => (4, fiber, 0),
        RecordKey::Frame(fiber, depth) => (5, fiber, depth),
    }
}

fn key(kind: u8, a: u32, b: u32) -> Result<RecordKey, SnapshotError> {
    let key = match kind {
        0 => RecordKey::Task,
        1 => RecordKey::Imports,
        2 => RecordKey::Request,
        3 => RecordKey::Heap(a),
        4 => RecordKey::Fiber(a),
        5 => RecordKey::Frame(a, b),
        _ => return Err(SnapshotError::Malformed("an unknown kind of record")),
    };
    if numbers(key) == (kind, a, b) { Ok(key) } else { Err(SnapshotError::Malformed("a record's numbers")) }
}

/// What the task record says about all others.
pub(super) fn digest<'a>(records: impl Iterator<Item = (RecordKey, &'a [u8])>) -> u64 {
    let mut sum = 0u64;
    for (key, bytes) in records {
        let (kind, a, b) = numbers(key);
        let place = u64::from(a) << 32 | u64::from(b);
        let crc = u64::from(crc32c::crc32c(bytes));
        let mixed =
            crate::string::fold(place ^ u64::from(kind) << 56).wrapping_add(crc << 32 | bytes.len() as u64);
        sum = sum.wrapping_add(crate::string::fold(mixed));
    }
    sum
}

/// Ends a task record: its last bytes are the tail's.
pub(super) fn seal(record: &mut [u8], digest: u64) {
    let end = record.len() - TASK_TAIL_BYTES;
    record[end..end + 8].copy_from_slice(&digest.to_le_bytes());
    let crc = crc32c::crc32c(&record[..end + 8]);
    record[end + 8..].copy_from_slice(&crc.to_le_bytes());
}

/// A task record without its tail, and the digest.
pub(super) fn unseal(record: &[u8]) -> Result<(&[u8], u64), SnapshotError> {
    let end = record.len().checked_sub(TASK_TAIL_BYTES).ok_or(SnapshotError::Malformed("the task record"))?;
    let mut tail = Reader::new(&record[end..]);
    let digest = tail.u64()?;
    if tail.u32()? != crc32c::crc32c(&record[..end + 8]) {
        return Err(SnapshotError::Checksum);
    }
    Ok((&record[..end], digest))
}

impl Snapshot {
    /// All records as one file.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for (key, bytes) in self.records() {
            let (kind, a, b) = numbers(key);
            let mut w = Writer(&mut out);
            w.u8(kind);
            w.u32(a);
            w.u32(b);
            w.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            out.extend_from_slice(bytes);
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// The records of a file, for [`crate::Vm::restore`].
    pub fn records_of_file(file: &[u8]) -> Result<Vec<(RecordKey, &[u8])>, SnapshotError> {
        let end = file.len().checked_sub(4).ok_or(SnapshotError::Malformed("not a snapshot"))?;
        let (body, mut tail) = (&file[..end], Reader::new(&file[end..]));
        if body.get(..8) != Some(&MAGIC) {
            return Err(SnapshotError::Malformed("not a snapshot"));
        }
        if tail.u32()? != crc32c::crc32c(body) {
            return Err(SnapshotError::Checksum);
        }
        let mut r = Reader::new(&body[8..]);
        let mut records = Vec::new();
        while !r.is_done() {
            let (kind, a, b) = (r.u8()?, r.u32()?, r.u32()?);
            let len = r.u32()? as usize;
            records.push((key(kind, a, b)?, r.take(len)?));
        }
        Ok(records)
    }
}

/// Makes the checksums right again after records were changed: what an attacker can do, and tests do.
#[doc(hidden)]
pub fn reseal(records: &mut [(RecordKey, Vec<u8>)]) {
    let digest =
        digest(records.iter().filter(|r| r.0 != RecordKey::Task).map(|(key, bytes)| (*key, &**bytes)));
    for (key, bytes) in records {
        if *key == RecordKey::Task && bytes.len() >= TASK_TAIL_BYTES {
            seal(bytes, digest);
        }
    }
}

impl RecordKey {
    /// The key as the last part of a stored record's name: sorts as the key does.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 9] {
        let (kind, a, b) = numbers(self);
        let mut out = [kind; 9];
        out[1..5].copy_from_slice(&a.to_be_bytes());
        out[5..].copy_from_slice(&b.to_be_bytes());
        out
    }

    /// The key that these bytes spell.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let bytes: [u8; 9] = bytes.try_into().map_err(|_| SnapshotError::Malformed("a record's name"))?;
        let at = |i: usize| u32::from_be_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        key(bytes[0], at(1), at(5))
    }
}
