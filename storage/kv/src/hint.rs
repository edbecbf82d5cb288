//! Hint files: what a sealed segment says of its keys, sorted, so that an open need not read the segment.
//! docs/formats/kv-log.md has the bytes.
//!
//! ```text
//!   segment sealed, its last write durable ──maintenance──> NNNNNNNNNN.hint.tmp, synced ──rename──> NNNNNNNNNN.hint
//!   open: hint whole and of this very segment?  yes: its slots, its records checked when they are read, and by maintenance
//!                                               no:  the segment is read, as if there were no hint
//! ```
//!
//! A hint is never needed and never believed blindly: its checksum covers all of it, it names the salt of its segment,
//! and the seal that it says the segment ends with is looked at.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use forebay_base::Timestamp;

use crate::api::Error;
use crate::key::Key;
use crate::load::Chunk;
use crate::medium::Medium;
use crate::record::{
    Candidate, FIRST_RECORD, Kind, RECORD_HEADER_BYTES, Record, SEAL_BYTES, Seeds, record_bytes, u32_at,
    u64_at,
};
use crate::recover::Walk;
use crate::segment::Segment;
use crate::space::Space;
use crate::store::Store;
use crate::tree::{Slot, State};

pub(crate) const SUFFIX: &str = ".hint";

const MAGIC: [u8; 8] = *b"FOREBAYH";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 72;
const REMOVED: u32 = 1;
const EXPIRES: u32 = 2;

/// What a hint says of its segment as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) first_sequence: u64,
    pub(crate) last_sequence: u64,
    /// Records, the seal included.
    pub(crate) records: u64,
    /// Behind the seal.
    pub(crate) end: u32,
    /// Where the segment's last write began.
    pub(crate) group_start: u32,
    /// Bytes of all removals.
    pub(crate) removals: u64,
    /// The epochs, each with the offset of the first record that it holds for.
    pub(crate) epochs: Vec<(u32, u32)>,
}

/// A segment's hint, as it was read.
#[derive(Debug)]
pub(crate) struct Hint {
    pub(crate) summary: Summary,
    /// The checksum of the file: [`Store::scrub`] compares it with that of a hint made anew.
    pub(crate) crc: u32,
}

/// The name of a segment's hint.
pub(crate) fn name_of(id: u32) -> String {
    format!("{id:010}{SUFFIX}")
}

/// The bytes of the hint of `segment`, all of whose records `chunk` has, sorted.
pub(crate) fn encode(segment: &Segment, summary: &Summary, chunk: &Chunk) -> Vec<u8> {
    let slots: usize = chunk.spaces.values().map(Vec::len).sum();
    let mut out = Vec::with_capacity(HEADER_BYTES + slots * 32);
    out.extend_from_slice(&MAGIC);
    let mut word = |n: u32| out.extend_from_slice(&n.to_le_bytes());
    word(VERSION);
    word(segment.header.id);
    word(segment.header.bytes);
    word(summary.end);
    word(summary.group_start);
    word(u32::try_from(summary.epochs.len()).unwrap_or(u32::MAX));
    for long in [
        segment.header.salt,
        summary.first_sequence,
        summary.last_sequence,
        summary.records,
        summary.removals,
    ] {
        out.extend_from_slice(&long.to_le_bytes());
    }
    debug_assert_eq!(out.len(), HEADER_BYTES);
    for (from, epoch) in &summary.epochs {
        out.extend_from_slice(&from.to_le_bytes());
        out.extend_from_slice(&epoch.to_le_bytes());
    }
    for (space, slots) in &chunk.spaces {
        out.extend_from_slice(&space.to_bits().to_le_bytes());
        out.extend_from_slice(&u32::try_from(slots.len()).unwrap_or(u32::MAX).to_le_bytes());
        let mut before: &[u8] = &[];
        for slot in slots {
            let flags = match (slot.state(), slot.expires()) {
                (State::Stored, false) => 0,
                (State::Stored, true) => EXPIRES,
                _ => REMOVED,
            };
            out.extend_from_slice(&(slot.offset() | flags).to_le_bytes());
            put_number(&mut out, slot.value_len as usize);
            let shared = before.iter().zip(&*slot.key).take_while(|(a, b)| a == b).count();
            put_number(&mut out, shared);
            put_number(&mut out, slot.key.len() - shared);
            if slot.expires() {
                let at = chunk.expiries.get(&slot.position()).map_or(0, |at| at.0);
                out.extend_from_slice(&at.to_le_bytes());
            }
            out.extend_from_slice(&slot.key[shared..]);
            before = &slot.key;
        }
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// LEB128: seven bits a byte, the lowest first, the highest bit says that more follow.
fn put_number(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Reads bytes front to back; `None` where there are too few.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32_at(self.bytes(4)?, 0))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64_at(self.bytes(8)?, 0))
    }

    /// As [`put_number`] writes it; below 2^32.
    fn number(&mut self) -> Option<u32> {
        let mut number = 0;
        for shift in [0, 7, 14, 21, 28] {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

/// Adds to `chunk` what a hint says, if it is a whole hint of this segment; else nothing is added.
/// `unchecked` is a planted bug.
pub(crate) fn decode(segment: &Segment, bytes: &[u8], chunk: &mut Chunk, unchecked: bool) -> Option<Hint> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    let crc = u32::from_le_bytes(*crc);
    if !unchecked && crc32c::crc32c(body) != crc {
        return None;
    }
    let mut reader = Reader(body);
    let header = segment.header;
    let ours = reader.bytes(8)? == MAGIC
        && reader.u32()? == VERSION
        && reader.u32()? == header.id
        && reader.u32()? == header.bytes;
    if !ours {
        return None;
    }
    let (end, group_start, epochs) = (reader.u32()?, reader.u32()?, reader.u32()?);
    if reader.u64()? != header.salt {
        return None;
    }
    let mut summary = Summary {
        end,
        group_start,
        first_sequence: reader.u64()?,
        last_sequence: reader.u64()?,
        records: reader.u64()?,
        removals: reader.u64()?,
        epochs: Vec::new(),
    };
    for _ in 0..epochs {
        summary.epochs.push((reader.u32()?, reader.u32()?));
    }
    if !unchecked && !ends_as_it_says(segment, &summary) {
        return None;
    }
    let mut found = Chunk::default();
    if decode_slots(&mut reader, header.id, end, &mut found).is_none() && !unchecked {
        return None;
    }
    for (space, mut slots) in found.spaces {
        let all = chunk.spaces.entry(space).or_default();
        if all.is_empty() { *all = slots } else { all.append(&mut slots) }
    }
    chunk.expiries.extend(found.expiries);
    chunk.removals.push((header.id, summary.removals));
    Some(Hint { summary, crc })
}

/// The slots, keyspace by keyspace; `None` if they end in the middle of one, or one can't be in a segment that ends at `end`.
fn decode_slots(reader: &mut Reader<'_>, segment: u32, end: u32, found: &mut Chunk) -> Option<()> {
    while !reader.0.is_empty() {
        let space = Space::from_bits(reader.u32()?);
        let count = reader.u32()? as usize;
        let slots = found.spaces.entry(space).or_default();
        // Seven bytes each at least: what a damaged number claims is not believed.
        slots.reserve(count.min(reader.0.len() / 7));
        let mut key = Vec::new();
        for _ in 0..count {
            let (place, value_len) = (reader.u32()?, reader.number()?);
            let (shared, own) = (reader.number()? as usize, reader.number()? as usize);
            if shared > key.len() {
                return None;
            }
            let (offset, expires) = (place & !7, place & EXPIRES != 0);
            if expires {
                let at = Timestamp(reader.u64()?.cast_signed());
                found.expiries.insert((segment, offset), at);
            }
            key.truncate(shared);
            key.extend_from_slice(reader.bytes(own)?);
            let behind = offset as usize + record_bytes(key.len(), value_len as usize, expires);
            if offset < FIRST_RECORD || behind > end as usize {
                return None;
            }
            let key = Key::new(&key);
            slots.push(if place & REMOVED != 0 {
                Slot::removed(key, segment, offset)
            } else {
                Slot::stored(key, segment, offset, value_len, expires)
            });
        }
    }
    Some(())
}

/// The segment has the seal that its hint names.
fn ends_as_it_says(segment: &Segment, summary: &Summary) -> bool {
    let Some((_, epoch)) = summary.epochs.last() else { return false };
    let Some(at) = (summary.end as usize).checked_sub(SEAL_BYTES) else { return false };
    let mut bytes = [0; RECORD_HEADER_BYTES];
    if summary.end > segment.header.bytes || segment.file.read_at(at as u64, &mut bytes).is_err() {
        return false;
    }
    let seeds = Seeds::new(segment.header.id, segment.header.salt, *epoch);
    let seal = Candidate::at(&bytes, 0).and_then(|candidate| candidate.check(&bytes, seeds));
    seal.is_some_and(|seal| seal.fields.kind == Kind::Seal && seal.sequence == summary.last_sequence)
}

/// Reads a segment, which is sealed, and makes its hint.
pub(crate) fn make(segment: &Arc<Segment>) -> Result<(Summary, Vec<u8>), Error> {
    make_with(segment, |_| true)
}

/// As [`make`], of those records that `keep` lets through: planted bugs leave some out.
fn make_with(
    segment: &Arc<Segment>,
    mut keep: impl FnMut(&Record<'_>) -> bool,
) -> Result<(Summary, Vec<u8>), Error> {
    let bytes = segment.read_all()?;
    let walk = Walk { segment, bytes: &bytes, sequence_before: 0, adjacent: false, every_record_last: false };
    let mut chunk = Chunk::default();
    let mut epochs = vec![(0, segment.header.epoch)];
    let (mut first_sequence, mut last_sequence, mut removals, mut records) = (0, 0, 0, 0);
    let end = walk.run(|record| {
        records += 1;
        if first_sequence == 0 {
            first_sequence = record.sequence;
        }
        last_sequence = record.sequence;
        if record.fields.kind == Kind::Epoch {
            epochs.push((record.end, u32_at(record.fields.value, 0)));
        }
        if record.fields.kind == Kind::Delete {
            removals += u64::from(record.end - record.offset);
        }
        if keep(record) {
            chunk.take(segment.header.id, record);
        }
    })?;
    if !end.sealed {
        let (file, offset) = (segment.name.clone(), u64::from(end.offset));
        return Err(Error::Corrupt { file, offset, expected: "a seal" });
    }
    chunk.sort();
    let (end, group_start) = (end.offset, end.group_start);
    let summary = Summary { first_sequence, last_sequence, records, end, group_start, removals, epochs };
    let bytes = encode(segment, &summary, &chunk);
    Ok((summary, bytes))
}

/// Whether an open would believe a segment's hint; if so, it says what its segment says.
///
/// # Errors
/// [`Error::Corrupt`] names a hint that would be believed and is not what its segment says.
pub(crate) fn is_right(medium: &dyn Medium, segment: &Arc<Segment>) -> Result<bool, Error> {
    let file = name_of(segment.header.id);
    let Ok(bytes) = medium.read_file(&file) else { return Ok(false) };
    if decode(segment, &bytes, &mut Chunk::default(), false).is_none() {
        return Ok(false);
    }
    if make(segment)?.1 == bytes {
        return Ok(true);
    }
    Err(Error::Corrupt { file, offset: 0, expected: "what its segment says" })
}

/// Removes a segment's hint, if it has one. That it comes back by a power cut does no harm: the next open removes
/// hints without their segment, and no other segment has this id and this salt.
pub(crate) fn remove(medium: &dyn Medium, segment: &Segment) {
    if segment.has_hint.swap(false, Ordering::AcqRel) {
        let _ = medium.remove(&name_of(segment.header.id));
    }
}

impl Store {
    /// A sealed segment, all of it on disk, that has no hint yet.
    pub(crate) fn without_hint(&self) -> Option<Arc<Segment>> {
        let open = self.lock_log().oldest_unwritten();
        let index = self.read_index();
        let early = self.config.planted.hint_before_seal;
        index
            .segments()
            .map(|(segment, _)| segment)
            .find(|s| !s.has_hint.load(Ordering::Acquire) && (s.header.id < open || early))
            .map(Arc::clone)
    }

    /// Writes a segment's hint. A hint that can't be written is done without, until the next open.
    pub(crate) fn write_hint(&self, segment: &Arc<Segment>) -> Result<(), Error> {
        let planted = self.config.planted;
        segment.has_hint.store(true, Ordering::Release);
        let made = if planted.hint_before_seal || planted.hint_live_only || planted.hint_forgets_removals {
            self.make_planted(segment)
        } else {
            make(segment)
        };
        let (_, bytes) = match made {
            Ok(made) => made,
            Err(Error::NoSpace { .. } | Error::Io { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.is_low(u32::try_from(bytes.len()).unwrap_or(u32::MAX)) {
            return Ok(());
        }
        let name = name_of(segment.header.id);
        let tmp = format!("{name}{}", crate::segment::SUFFIX_TMP);
        let written = self
            .medium
            .write_file(&tmp, &bytes, !planted.hint_unsynced)
            .and_then(|()| self.medium.rename(&tmp, &name))
            .and_then(|()| self.medium.sync_folder());
        if written.is_err() {
            let _ = self.medium.remove(&tmp);
        }
        Ok(())
    }

    /// What a store with a planted bug writes.
    fn make_planted(&self, segment: &Arc<Segment>) -> Result<(Summary, Vec<u8>), Error> {
        let planted = self.config.planted;
        if planted.hint_before_seal {
            // Of what there is, with an end that it makes up.
            let bytes = segment.read_all()?;
            let walk = Walk {
                segment,
                bytes: &bytes,
                sequence_before: 0,
                adjacent: false,
                every_record_last: false,
            };
            let mut chunk = Chunk::default();
            let (mut first, mut last, mut records) = (0, 0, 0);
            let mut epochs = vec![(0, segment.header.epoch)];
            let end = walk.run(|record| {
                if records == 0 {
                    first = record.sequence;
                }
                (last, records) = (record.sequence, records + 1);
                if record.fields.kind == Kind::Epoch {
                    epochs.push((record.end, u32_at(record.fields.value, 0)));
                }
                chunk.take(segment.header.id, record);
            })?;
            chunk.sort();
            let summary = Summary {
                first_sequence: first,
                last_sequence: last,
                records,
                end: end.offset,
                group_start: end.group_start,
                removals: 0,
                epochs,
            };
            let bytes = encode(segment, &summary, &chunk);
            return Ok((summary, bytes));
        }
        let (log, index) = (self.lock_log(), self.read_index());
        make_with(segment, |record| {
            let fields = &record.fields;
            match fields.kind {
                Kind::Delete => !planted.hint_forgets_removals,
                Kind::Set if planted.hint_live_only => {
                    !log.is_pending(fields.space, fields.key)
                        && index.stored_at(fields.space, fields.key)
                            == Some((segment.header.id, record.offset))
                }
                _ => true,
            }
        })
    }

    /// Checks every record of a segment that was opened by its hint, and the hint with them: from then on its
    /// records aren't checked when they are read. False if there is no such segment.
    ///
    /// # Errors
    /// [`Error::Corrupt`], once: what is bad is refused when it is read, as before.
    pub(crate) fn scrub(&self) -> Result<bool, Error> {
        let found = {
            let index = self.read_index();
            index.segments().map(|(segment, _)| segment).find(|s| s.take_scrub()).map(Arc::clone)
        };
        let Some(segment) = found else {
            self.lock_log().unchecked = false;
            return Ok(false);
        };
        let (_, bytes) = make(&segment)?;
        let crc = bytes.split_last_chunk::<4>().map(|(_, crc)| u32::from_le_bytes(*crc));
        if segment.hint_crc() != crc {
            // Nobody can say any more what it led to.
            let file = name_of(segment.header.id);
            let _ = self.medium.remove(&file);
            let core = self.maintenance_core();
            self.poison(self.lock_log(), core);
            return Err(Error::Corrupt { file, offset: 0, expected: "what its segment says" });
        }
        segment.set_checked();
        Ok(true)
    }
}
