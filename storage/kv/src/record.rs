//! The bytes of a record and of a segment's header; docs/formats/kv-log.md is the
//! specification. All integers little-endian.
//!
//! ```text
//!  0      4           8         16          20        22     23      24
//!  | crc  | group     | sequence | value_len | key_len | kind | flags | [expiry 8] key value zeros to 8 |
//!           start
//! ```
//!
//! The crc32c covers everything behind it, padding included, and starts from a
//! seed made of the segment's id, its random salt and the recovery epoch: bytes
//! of another segment, another life of the file or an abandoned tail don't pass.
//! `group_start` is the offset at which the write began that carried the record:
//! a write begins after the one before is durable, so a valid record whose group
//! began behind bad bytes proves that the bad bytes were once durable.

use forebay_base::Timestamp;
use forebay_base::limits::{KV_KEY_BYTES_MAX, KV_VALUE_BYTES_MAX};

use crate::space::Space;

/// Bytes of a record before its expiry, key and value.
pub(crate) const RECORD_HEADER_BYTES: usize = 24;
/// Records begin at multiples of it.
pub(crate) const ALIGN: usize = 8;
/// A record that seals a segment; room for it is always left.
pub(crate) const SEAL_BYTES: usize = RECORD_HEADER_BYTES;
/// A record that starts an epoch.
pub(crate) const EPOCH_BYTES: u32 = 32;
const _: () = assert!(EPOCH_BYTES as usize == padded(RECORD_HEADER_BYTES + 4));
/// The keyspace in front of every key, big-endian.
pub(crate) const SPACE_BYTES: usize = 4;
/// Where records begin: the header has a page of its own, which no later write touches.
pub(crate) const FIRST_RECORD: u32 = 4096;
/// The same as a length.
pub(crate) const SEGMENT_HEADER_BYTES: usize = FIRST_RECORD as usize;

const MAGIC: [u8; 8] = *b"FOREBAYK";
const VERSION: u32 = 1;
/// Beside the version: the file was another segment before.
const RECYCLED: u32 = 1 << 31;
/// Bytes of the segment's header that mean something.
const SEGMENT_HEADER_USED: usize = 36;

const FLAG_LAST: u8 = 1;
const FLAG_EXPIRES: u8 = 2;

const fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN)
}

/// Bytes of a record with a user key and a value of these lengths.
pub(crate) const fn record_bytes(key_len: usize, value_len: usize, expires: bool) -> usize {
    padded(value_offset(key_len, expires) + value_len)
}

/// Where the value begins in a record with a user key of this length.
pub(crate) const fn value_offset(key_len: usize, expires: bool) -> usize {
    RECORD_HEADER_BYTES + if expires { 8 } else { 0 } + SPACE_BYTES + key_len
}

/// What a record is. 0 is none, so that zeroed space never parses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Set = 1,
    Delete = 2,
    /// The value is the new epoch (u32); written by every open and by close.
    Epoch = 3,
    /// Nothing follows in this segment.
    Seal = 4,
}

/// A record's fields besides what the log knows (seed, group, sequence).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    pub(crate) kind: Kind,
    /// The last record of its batch.
    pub(crate) last: bool,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) space: Space,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// Appends a record to `out`. The caller has checked key and value against their limits.
pub(crate) fn encode(out: &mut Vec<u8>, seed: u32, group_start: u32, sequence: u64, fields: &Fields<'_>) {
    let start = out.len();
    let keyed = matches!(fields.kind, Kind::Set | Kind::Delete);
    let key_len = if keyed { SPACE_BYTES + fields.key.len() } else { 0 };
    let flags =
        if fields.last { FLAG_LAST } else { 0 } | if fields.expires.is_some() { FLAG_EXPIRES } else { 0 };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "key and value are within the limits of base::limits"
    )]
    let (key_len, value_len) = (key_len as u16, fields.value.len() as u32);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&group_start.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&value_len.to_le_bytes());
    out.extend_from_slice(&key_len.to_le_bytes());
    out.extend_from_slice(&[fields.kind as u8, flags]);
    if let Some(at) = fields.expires {
        out.extend_from_slice(&at.0.to_le_bytes());
    }
    if keyed {
        out.extend_from_slice(&fields.space.to_bits().to_be_bytes());
        out.extend_from_slice(fields.key);
    }
    out.extend_from_slice(fields.value);
    out.resize(start + padded(out.len() - start), 0);
    let crc = crc32c::crc32c_append(seed, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

/// A record as it lies in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) offset: u32,
    pub(crate) end: u32,
    pub(crate) group_start: u32,
    pub(crate) sequence: u64,
    pub(crate) fields: Fields<'a>,
}

/// A header that could be one; its checksum wasn't looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) offset: usize,
    pub(crate) end: usize,
    pub(crate) group_start: u32,
    pub(crate) sequence: u64,
    crc: u32,
    pub(crate) kind: Kind,
    flags: u8,
    key_len: usize,
}

/// The seeds of a segment at one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seeds {
    /// Of all records but those that start an epoch.
    pub(crate) data: u32,
    /// Of records that start an epoch: the same in all epochs.
    pub(crate) epoch: u32,
}

impl Seeds {
    pub(crate) fn new(segment: u32, salt: u64, epoch: u32) -> Self {
        let seed = |epoch: u32| {
            let crc = crc32c::crc32c(&segment.to_le_bytes());
            let crc = crc32c::crc32c_append(crc, &salt.to_le_bytes());
            crc32c::crc32c_append(crc, &epoch.to_le_bytes())
        };
        // Epochs count from 1.
        Self { data: seed(epoch), epoch: seed(0) }
    }

    pub(crate) fn of(self, kind: Kind) -> u32 {
        if kind == Kind::Epoch { self.epoch } else { self.data }
    }
}

impl Candidate {
    /// The header at `offset` of a segment's bytes, if its fields are possible.
    pub(crate) fn at(segment: &[u8], offset: usize) -> Option<Self> {
        let header = segment.get(offset..offset.checked_add(RECORD_HEADER_BYTES)?)?;
        let kind = match header[22] {
            1 => Kind::Set,
            2 => Kind::Delete,
            3 => Kind::Epoch,
            4 => Kind::Seal,
            _ => return None,
        };
        let flags = header[23];
        let value_len = u32_at(header, 16) as usize;
        let key_len = usize::from(u16::from_le_bytes([header[20], header[21]]));
        let keyed = SPACE_BYTES..=SPACE_BYTES + KV_KEY_BYTES_MAX;
        let expires = flags & FLAG_EXPIRES != 0;
        let possible = flags & !(FLAG_LAST | FLAG_EXPIRES) == 0
            && match kind {
                Kind::Set => keyed.contains(&key_len) && value_len <= KV_VALUE_BYTES_MAX,
                Kind::Delete => keyed.contains(&key_len) && value_len == 0 && !expires,
                Kind::Epoch => key_len == 0 && value_len == 4 && flags == FLAG_LAST,
                Kind::Seal => key_len == 0 && value_len == 0 && flags == FLAG_LAST,
            };
        let end = offset + padded(RECORD_HEADER_BYTES + if expires { 8 } else { 0 } + key_len + value_len);
        if !possible || end > segment.len() {
            return None;
        }
        let group_start = u32_at(header, 4);
        Some(Self {
            offset,
            end,
            group_start,
            sequence: u64_at(header, 8),
            crc: u32_at(header, 0),
            kind,
            flags,
            key_len,
        })
    }

    /// The record, if its checksum holds.
    pub(crate) fn check<'a>(&self, segment: &'a [u8], seeds: Seeds) -> Option<Record<'a>> {
        let body = &segment[self.offset..self.end];
        if crc32c::crc32c_append(seeds.of(self.kind), &body[4..]) != self.crc {
            return None;
        }
        let expires = (self.flags & FLAG_EXPIRES != 0)
            .then(|| Timestamp(u64_at(body, RECORD_HEADER_BYTES).cast_signed()));
        let key_at = RECORD_HEADER_BYTES + if expires.is_some() { 8 } else { 0 };
        let key = &body[key_at..key_at + self.key_len];
        let value_len = u32_at(body, 16) as usize;
        let value = &body[key_at + self.key_len..][..value_len];
        let (space, key) = match key.split_first_chunk::<SPACE_BYTES>() {
            Some((space, key)) => (Space::from_bits(u32::from_be_bytes(*space)), key),
            None => (Space::from_bits(0), key),
        };
        Some(Record {
            offset: u32::try_from(self.offset).ok()?,
            end: u32::try_from(self.end).ok()?,
            group_start: self.group_start,
            sequence: self.sequence,
            fields: Fields { kind: self.kind, last: self.flags & FLAG_LAST != 0, expires, space, key, value },
        })
    }
}

/// What a segment's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) id: u32,
    /// The epoch of its records before the first that starts another.
    pub(crate) epoch: u32,
    pub(crate) bytes: u32,
    pub(crate) salt: u64,
    /// Its file was another segment before: what lies behind its records isn't zero.
    pub(crate) recycled: bool,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEADER_USED);
        out.extend_from_slice(&MAGIC);
        let version = if self.recycled { VERSION | RECYCLED } else { VERSION };
        for word in [version, self.id, self.epoch, self.bytes] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.salt.to_le_bytes());
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header, or what was expected at which offset.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, (u64, &'static str)> {
        let bytes = bytes.get(..SEGMENT_HEADER_USED).ok_or((0, "a segment's header"))?;
        if bytes[..8] != MAGIC {
            return Err((0, "the magic number of a segment"));
        }
        if crc32c::crc32c(&bytes[..32]) != u32_at(bytes, 32) {
            return Err((32, "the checksum of the segment's header"));
        }
        if u32_at(bytes, 8) & !RECYCLED != VERSION {
            return Err((8, "format version 1"));
        }
        Ok(Self {
            id: u32_at(bytes, 12),
            epoch: u32_at(bytes, 16),
            bytes: u32_at(bytes, 20),
            salt: u64_at(bytes, 24),
            recycled: u32_at(bytes, 8) & RECYCLED != 0,
        })
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
