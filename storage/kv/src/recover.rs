//! Opening a data folder: read every record, find the log's end, start a new epoch.
//!
//! Segments are read in the order of their ids. All but the last one in use must end with a seal. In that one the log
//! ends behind the last whole batch; what follows is either the write that a crash
//! interrupted (its batches were never acknowledged: abandoned) or damage to something that was
//! durable (refused). The difference is provable: a write begins only after the one before it
//! is durable, so a valid record whose write began behind the bad bytes shows that the
//! bad bytes were good once.
//!
//! Abandoned bytes stay in the file. A record that starts a new epoch is written
//! over their beginning, durably, before anything else is accepted; records of the old epoch don't
//! pass the new one's checksums, so none can come back to life.

use std::collections::VecDeque;
use std::sync::Arc;

use forebay_base::{Lsn, TenantId};

use crate::api::{Config, Error, Wake};
use crate::disk::DiskFolder;
use crate::index::{Change, Index, Key};
use crate::medium::Medium;
use crate::record::{
    ALIGN, Candidate, EPOCH_BYTES, Fields, Kind, RECORD_HEADER_BYTES, Record, SEAL_BYTES,
    SEGMENT_HEADER_BYTES, SegmentHeader, encode,
};
use crate::segment::{SUFFIX, SUFFIX_TMP, Segment};
use crate::store::{End, Log, Store};

/// Checksummed bytes, in segments, that the search behind a bad record may cost.
/// Honest data needs one; beyond it the bytes were made to be slow.
const SEARCH_SEGMENTS_MAX: u64 = 4;

/// What a folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Segment files in use.
    pub segments: usize,
    /// Prepared segment files without records.
    pub spares: usize,
    /// Records.
    pub records: u64,
    /// Keys, expired ones included.
    pub keys: usize,
    /// The youngest record's sequence; 0 if there is none.
    pub last: Lsn,
    /// File and offset at which a write was interrupted, if that is how the log
    /// ends. Nothing acknowledged is lost by it.
    pub torn_at: Option<(String, u64)>,
}

/// Checks every record of a folder, which is locked meanwhile, and changes nothing but leftovers of preparation.
///
/// # Errors
/// [`Error::Corrupt`] with file and offset, [`Error::Locked`], [`Error::Io`].
pub fn verify(config: &Config) -> Result<Report, Error> {
    if !config.folder.is_dir() {
        return Err(Error::Config { what: format!("{} is not a folder", config.folder.display()) });
    }
    Ok(scan(&DiskFolder::open(&config.folder)?, config)?.report)
}

impl Store {
    /// Opens the data folder that `config` names, creating it if it isn't there.
    ///
    /// # Errors
    /// [`Error::Locked`] names the holder, [`Error::Corrupt`] file and offset.
    pub fn open(config: Config, wake: Arc<dyn Wake>) -> Result<Arc<Self>, Error> {
        let folder = DiskFolder::open(&config.folder)?;
        Self::open_on(config, Arc::new(folder), wake)
    }

    /// Opens a store on any medium.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(config: Config, medium: Arc<dyn Medium>, wake: Arc<dyn Wake>) -> Result<Arc<Self>, Error> {
        if config.segment_bytes % 512 != 0 || config.segment_bytes < 2 * SEGMENT_HEADER_BYTES as u32 {
            let what = format!("segment_bytes is {}: a multiple of 512, at least 8192", config.segment_bytes);
            return Err(Error::Config { what });
        }
        if config.cores == 0 || config.spare_segments == 0 {
            return Err(Error::Config { what: "cores and spare_segments are at least 1".to_owned() });
        }
        let scanned = scan(&*medium, &config)?;
        let index = scanned.index;
        let end = start_epoch(&*medium, &config, scanned.unsealed, scanned.tail)?;
        Ok(Self::assemble(config, medium, wake, index, Log::new(end)))
    }
}

/// What the segments say.
struct Scanned {
    index: Index,
    report: Report,
    tail: Tail,
    /// The segments behind the last sealed one, ids ascending: the one to go on with, then spares.
    unsealed: VecDeque<Arc<Segment>>,
}

struct Tail {
    last_sequence: u64,
    epoch_max: u32,
    /// The epoch that is valid at the end of the first unsealed segment.
    epoch: u32,
    /// Where the log ends in the first unsealed segment.
    offset: u32,
    /// The segment with the youngest record, sealed or not: it may not be durable yet, if
    /// a process and not the machine died.
    youngest: Option<Arc<Segment>>,
    segment_max: u32,
}

fn scan(medium: &dyn Medium, config: &Config) -> Result<Scanned, Error> {
    let mut names = Vec::new();
    for name in medium.list().map_err(|e| Error::io("listing the data folder", e))? {
        if name.ends_with(SUFFIX_TMP) {
            medium.remove(&name).map_err(|e| Error::io(format!("removing {name}"), e))?;
        } else if name.ends_with(SUFFIX) {
            names.push(name);
        }
    }
    names.sort_unstable();
    let mut index = Index::default();
    let mut report = Report { segments: 0, spares: 0, records: 0, keys: 0, last: Lsn(0), torn_at: None };
    let mut tail = Tail {
        last_sequence: 0,
        epoch_max: 0,
        epoch: 0,
        offset: SEGMENT_HEADER_BYTES as u32,
        youngest: None,
        segment_max: 0,
    };
    let mut unsealed: VecDeque<Arc<Segment>> = VecDeque::new();
    for name in &names {
        let segment = Segment::open(medium, name)?;
        let bytes = segment.read_all()?;
        index.add_segment(&segment);
        let walk = Walk {
            segment: &segment,
            bytes: &bytes,
            sequence_before: tail.last_sequence,
            // Compaction removes whole segments: the sequence goes on unless an id is missing.
            adjacent: tail.segment_max + 1 == segment.header.id && tail.segment_max > 0,
            every_record_last: config.planted.no_batch_marker,
        };
        let end = walk.run(|record| apply(&mut index, &segment, record))?;
        drop(bytes);
        if end.records == 0 {
            index.remove_segment(segment.header.id);
        } else {
            if let Some(open) = unsealed.front() {
                let offset = u64::from(tail.offset);
                return Err(Error::Corrupt {
                    file: open.name.clone(),
                    offset,
                    expected: "a seal, or more records",
                });
            }
            report.segments += 1;
            tail.youngest = Some(Arc::clone(&segment));
        }
        report.records += end.records;
        tail.last_sequence = end.last_sequence;
        tail.epoch_max = tail.epoch_max.max(segment.header.epoch).max(end.epoch);
        tail.segment_max = segment.header.id;
        if !end.sealed {
            if unsealed.is_empty() {
                tail.offset = end.offset;
                tail.epoch = end.epoch;
            }
            if end.torn {
                report.torn_at = Some((name.clone(), u64::from(end.offset)));
            }
            unsealed.push_back(segment);
        }
    }
    report.spares = names.len() - report.segments;
    report.keys = index.len();
    report.last = Lsn(tail.last_sequence);
    Ok(Scanned { index, report, tail, unsealed })
}

fn apply(index: &mut Index, segment: &Segment, record: &Record<'_>) {
    let Fields { kind, expires, tenant, key, value, .. } = record.fields;
    let change = match kind {
        Kind::Set => Change::Stored {
            segment: segment.header.id,
            offset: record.offset,
            value_len: u32::try_from(value.len()).unwrap_or(u32::MAX),
            expires,
        },
        Kind::Delete => Change::Deleted,
        Kind::Epoch | Kind::Seal => return,
    };
    index.apply(tenant, &Key::new(key), record.sequence, change);
}

/// Makes the end durable, and whatever lies behind it invalid.
fn start_epoch(
    medium: &dyn Medium,
    config: &Config,
    mut unsealed: VecDeque<Arc<Segment>>,
    tail: Tail,
) -> Result<End, Error> {
    // A process that was killed leaves its last write in the page cache: read back, but not durable.
    if let Some(segment) = &tail.youngest {
        segment.file.sync().map_err(|e| Error::io(format!("syncing {}", segment.name), e))?;
    }
    let epoch = tail.epoch_max + 1;
    let mut next_segment = tail.segment_max + 1;
    let mut create = || {
        let header =
            SegmentHeader { id: next_segment, epoch, bytes: config.segment_bytes, salt: medium.random() };
        next_segment += 1;
        Segment::create(medium, header)
    };
    let mut next_sequence = tail.last_sequence + 1;
    let mut offset = tail.offset;
    let mut active = match unsealed.pop_front() {
        Some(segment) => segment,
        None => create()?,
    };
    let fields =
        |kind, value| Fields { kind, last: true, expires: None, tenant: TenantId(0), key: &[], value };
    let write = |segment: &Segment, offset: u32, bytes: &[u8]| {
        let what = || format!("writing to {}", segment.name);
        match segment.file.write_at(u64::from(offset), bytes, true) {
            Ok(n) if n == bytes.len() => Ok(()),
            Ok(_) => Err(Error::io(what(), std::io::ErrorKind::WriteZero.into())),
            Err(e) => Err(Error::io(what(), e)),
        }
    };
    if offset as usize + EPOCH_BYTES + SEAL_BYTES > active.header.bytes as usize {
        let mut seal = Vec::new();
        let seed = active.seeds(tail.epoch).of(Kind::Seal);
        encode(&mut seal, seed, offset, next_sequence, &fields(Kind::Seal, &[]));
        write(&active, offset, &seal)?;
        next_sequence += 1;
        active = match unsealed.pop_front() {
            Some(segment) => segment,
            None => create()?,
        };
        offset = SEGMENT_HEADER_BYTES as u32;
    }
    if !config.planted.keep_epoch {
        let mut bytes = Vec::new();
        let seed = active.seeds(epoch).of(Kind::Epoch);
        let value = epoch.to_le_bytes();
        encode(&mut bytes, seed, offset, next_sequence, &fields(Kind::Epoch, &value));
        write(&active, offset, &bytes)?;
        next_sequence += 1;
        offset += EPOCH_BYTES as u32;
    }
    let mut spares = unsealed;
    while spares.len() < config.spare_segments {
        match create() {
            Ok(segment) => spares.push_back(segment),
            // Reads and the rest of the active segment still work.
            Err(Error::NoSpace { .. }) => break,
            Err(e) => return Err(e),
        }
    }
    let epoch_active = if config.planted.keep_epoch { tail.epoch.max(active.header.epoch) } else { epoch };
    Ok(End { next_sequence, epoch, epoch_active, active, offset, spares, next_segment })
}

// ---------------------------------------------------------------- one segment

/// Reads a segment's records from front to back.
struct Walk<'a> {
    segment: &'a Segment,
    bytes: &'a [u8],
    /// Of the youngest record of the segments before.
    sequence_before: u64,
    /// The segment before this one was read too.
    adjacent: bool,
    /// A planted bug.
    every_record_last: bool,
}

struct WalkEnd {
    /// Behind the last whole batch.
    offset: u32,
    records: u64,
    last_sequence: u64,
    epoch: u32,
    sealed: bool,
    /// Something that isn't zero follows.
    torn: bool,
}

impl<'a> Walk<'a> {
    /// Calls `visit` with the records of whole batches, in order.
    fn run(&self, mut visit: impl FnMut(&Record<'a>)) -> Result<WalkEnd, Error> {
        let mut epoch = self.segment.header.epoch;
        let mut seeds = self.segment.seeds(epoch);
        let mut end = WalkEnd {
            offset: SEGMENT_HEADER_BYTES as u32,
            records: 0,
            last_sequence: self.sequence_before,
            epoch,
            sealed: false,
            torn: false,
        };
        let mut batch: Vec<Record<'a>> = Vec::new();
        let mut group_start = 0;
        let mut at = SEGMENT_HEADER_BYTES;
        loop {
            let expected = end.last_sequence + batch.len() as u64 + 1;
            let record = Candidate::at(self.bytes, at).and_then(|c| c.check(self.bytes, seeds)).filter(|r| {
                let first = !self.adjacent && end.records == 0 && batch.is_empty();
                let in_sequence = r.sequence == expected || (first && r.sequence > self.sequence_before);
                in_sequence && r.group_start >= group_start && r.group_start <= r.offset
            });
            let Some(record) = record else { break };
            if record.group_start > end.offset {
                // The write before this one was durable, but it ends within a batch.
                return Err(self.corrupt(end.offset, "the rest of the batch"));
            }
            group_start = record.group_start;
            at = record.end as usize;
            batch.push(record);
            if !record.fields.last && !self.every_record_last {
                continue;
            }
            for record in batch.drain(..) {
                visit(&record);
                end.records += 1;
            }
            end.offset = record.end;
            end.last_sequence = record.sequence;
            match record.fields.kind {
                Kind::Epoch => {
                    let mut word = [0; 4];
                    word.copy_from_slice(record.fields.value);
                    let next = u32::from_le_bytes(word);
                    // Equal in a segment that was made by the open that wrote the record.
                    if next < epoch {
                        return Err(self.corrupt(record.offset, "a later epoch"));
                    }
                    epoch = next;
                    end.epoch = epoch;
                    seeds = self.segment.seeds(epoch);
                }
                Kind::Seal => {
                    end.sealed = true;
                    return Ok(end);
                }
                Kind::Set | Kind::Delete => {}
            }
        }
        // Half a batch, or bytes that are no record.
        end.torn = !batch.is_empty() || self.bytes[at..].iter().any(|b| *b != 0);
        if end.torn {
            self.check_tail(&end, at, seeds)?;
        }
        Ok(end)
    }

    /// Refuses bytes behind the end that prove that what is bad at `bad` was durable.
    fn check_tail(&self, end: &WalkEnd, bad: usize, seeds: crate::record::Seeds) -> Result<(), Error> {
        let mut budget = SEARCH_SEGMENTS_MAX * self.bytes.len() as u64;
        let sequence_max = end.last_sequence + (self.bytes.len() / RECORD_HEADER_BYTES) as u64;
        for at in (bad..self.bytes.len()).step_by(ALIGN) {
            let Some(candidate) = Candidate::at(self.bytes, at) else { continue };
            let first = !self.adjacent && end.records == 0;
            let plausible = candidate.group_start > end.offset
                && candidate.group_start as usize <= at
                && candidate.group_start as usize % ALIGN == 0
                && candidate.sequence > end.last_sequence
                && (first || candidate.sequence <= sequence_max);
            if !plausible {
                continue;
            }
            let Some(left) = budget.checked_sub((candidate.end - candidate.offset) as u64) else {
                return Err(self.corrupt(end.offset, "an end that can be told from damage"));
            };
            budget = left;
            if candidate.check(self.bytes, seeds).is_some() {
                let bad = u32::try_from(bad).unwrap_or(end.offset);
                return Err(self.corrupt(bad, "a valid record, since a later write follows"));
            }
        }
        Ok(())
    }

    fn corrupt(&self, offset: u32, expected: &'static str) -> Error {
        Error::Corrupt { file: self.segment.name.clone(), offset: u64::from(offset), expected }
    }
}
