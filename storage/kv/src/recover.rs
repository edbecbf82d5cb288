//! Opening a data folder: read every record, find the log's end, start a new epoch.
//!
//! Segments are read in the order of their ids, or their hints are ([`crate::hint`]): on several threads, before the
//! rest. All but the last one in use must end with a seal. In that one the log
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
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use forebay_base::Lsn;

use crate::api::{Config, Error, Unavailable, Wake};
use crate::disk::DiskFolder;
use crate::hint::{self, Summary};
use crate::index::Index;
use crate::load::Chunk;
use crate::log::{End, Log};
use crate::medium::Medium;
use crate::prepare::segment_bytes;
use crate::record::{
    ALIGN, Candidate, EPOCH_BYTES, FIRST_RECORD, Fields, Kind, RECORD_HEADER_BYTES, Record, SEAL_BYTES,
    SEGMENT_HEADER_BYTES, SegmentHeader, encode,
};
use crate::segment::{SUFFIX, SUFFIX_TMP, Segment};
use crate::space::Space;
use crate::store::{Store, lock};
use crate::testing::Planted;

/// Checksummed bytes, in segments, that the search behind a bad record may cost.
/// Honest data needs one; beyond it the bytes were made to be slow.
const SEARCH_SEGMENTS_MAX: u64 = 4;
/// Threads that an open uses at most, and bytes of segments from which on it uses more than one.
const THREADS_MAX: usize = 4;
const THREADS_FROM_BYTES: u64 = 16 * 1024 * 1024;

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
    /// Hint files that say what their segments say; only [`verify`] looks.
    pub hints: usize,
    /// Hint files that no open believes: damaged, unreadable, or of another segment. Nothing is lost by them: their
    /// segments are read instead, and maintenance writes them anew. Only [`verify`] looks.
    pub hints_damaged: Vec<String>,
}

/// Checks every record of a folder, which is locked meanwhile, and changes nothing. Believes no hint, and compares each
/// with its segment.
///
/// # Errors
/// [`Error::Corrupt`] with file and offset, also of a hint that an open would believe though its segment says
/// otherwise; [`Error::Locked`], [`Error::Io`].
pub fn verify(config: &Config) -> Result<Report, Error> {
    if !config.folder.is_dir() {
        return Err(Error::Config { what: format!("{} is not a folder", config.folder.display()) });
    }
    let folder = DiskFolder::open(&config.folder)?;
    let mut scanned = scan(&folder, config, false)?;
    scanned.compare_hints(&folder)?;
    Ok(scanned.report)
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
        if !config.segment_bytes.is_multiple_of(512) || config.segment_bytes < 2 * FIRST_RECORD {
            let what = format!("segment_bytes is {}: a multiple of 512, at least 8192", config.segment_bytes);
            return Err(Error::Config { what });
        }
        if config.cores == 0 || config.spare_segments == 0 {
            return Err(Error::Config { what: "cores and spare_segments are at least 1".to_owned() });
        }
        let (index, log) = reopen(&*medium, &config)?;
        Ok(Self::assemble(config, medium, wake, index, log))
    }
}

impl Store {
    /// Opens the folder again in place, after a failed write has poisoned the store: what was acknowledged is there;
    /// of what was answered [`crate::Outcome::Unknown`], and of writes without sync, the log decides. Nothing happens to a store
    /// that isn't poisoned.
    ///
    /// # Errors
    /// As [`Store::open`]: the store stays poisoned, and reads go on.
    pub fn heal(&self) -> Result<(), Error> {
        let _one = lock(&self.maintenance);
        {
            let log = self.lock_log();
            // A write in flight would be taken for one of the next life.
            if log.stopped != Some(Unavailable::Poisoned) || log.in_flight.is_some() {
                return Ok(());
            }
        }
        let (index, log) = reopen(&*self.medium, &self.config)?;
        self.reopened.store(true, Ordering::Release);
        let mut current = self.lock_log();
        let stats = current.stats;
        let before = std::mem::replace(&mut *self.write_index(), index);
        *current = log;
        current.stats = stats;
        drop(current);
        // Unmaps what nobody reads any more, with no lock held.
        drop(before);
        self.forget_faults();
        Ok(())
    }
}

/// Reads the folder, and makes the log's end fit to go on from.
fn reopen(medium: &dyn Medium, config: &Config) -> Result<(Index, Log), Error> {
    let scanned = scan(medium, config, true)?;
    let index = scanned.index;
    let unchecked = index.segments().any(|(segment, _)| !segment.is_checked());
    if !scanned.leftovers.is_empty() {
        for name in &scanned.leftovers {
            medium.remove(name).map_err(|e| Error::io(format!("removing {name}"), e))?;
        }
        medium.sync_folder().map_err(|e| Error::io("syncing the data folder", e))?;
    }
    let live = index.segments().map(|(_, usage)| usage.live).sum();
    let end = start_epoch(medium, config, scanned.unsealed, scanned.tail, live)?;
    let mut log = Log::new(end, config);
    log.unchecked = unchecked;
    Ok((index, log))
}

/// What the segments say.
struct Scanned {
    index: Index,
    report: Report,
    tail: Tail,
    /// The segments behind the last sealed one, ids ascending: the one to go on with, then spares.
    unsealed: VecDeque<Arc<Segment>>,
    /// Files of preparations that a crash or an error interrupted.
    leftovers: Vec<String>,
}

struct Tail {
    last_sequence: u64,
    epoch_max: u32,
    /// The epoch that is valid at the end of the first unsealed segment.
    epoch: u32,
    /// Where the log ends in the first unsealed segment.
    offset: u32,
    /// The segment with the youngest record, sealed or not, and where its last group lies.
    youngest: Option<(Arc<Segment>, Range<u32>)>,
    segment_max: u32,
}

fn scan(medium: &dyn Medium, config: &Config, hints: bool) -> Result<Scanned, Error> {
    let mut names = medium.list().map_err(|e| Error::io("listing the data folder", e))?;
    names.sort_unstable();
    let mut leftovers: Vec<String> = names.iter().filter(|n| n.ends_with(SUFFIX_TMP)).cloned().collect();
    let (hint_names, names): (Vec<String>, Vec<String>) = names
        .into_iter()
        .filter(|name| name.ends_with(SUFFIX) || name.ends_with(hint::SUFFIX))
        .partition(|name| name.ends_with(hint::SUFFIX));
    let mut segments = Vec::with_capacity(names.len());
    for name in &names {
        segments.push(Segment::open(medium, name)?);
    }
    leftovers.extend(
        hint_names
            .iter()
            .filter(|name| !segments.iter().any(|s| hint::name_of(s.header.id) == **name))
            .cloned(),
    );
    let mut scanned = Scanned {
        index: Index::default(),
        report: Report {
            segments: 0,
            spares: 0,
            records: 0,
            keys: 0,
            last: Lsn(0),
            torn_at: None,
            hints: 0,
            hints_damaged: Vec::new(),
        },
        tail: Tail {
            last_sequence: 0,
            epoch_max: 0,
            epoch: 0,
            offset: FIRST_RECORD,
            youngest: None,
            segment_max: 0,
        },
        unsealed: VecDeque::new(),
        leftovers,
    };
    let bytes: u64 = segments.iter().map(|segment| u64::from(segment.header.bytes)).sum();
    let threads = if bytes < THREADS_FROM_BYTES {
        1
    } else {
        std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS_MAX))
    };
    let mut chunks = Vec::new();
    if hints {
        let hinted: Vec<&Arc<Segment>> = segments
            .iter()
            .filter(|s| hint_names.binary_search(&hint::name_of(s.header.id)).is_ok())
            .collect();
        chunks = load_hints(medium, &hinted, threads, config.planted);
    }
    // What has no hint is read here.
    let mut rest = Chunk::default();
    // Segments behind the last sealed one, and where their records end.
    let mut unsealed: Vec<(Arc<Segment>, WalkEnd)> = Vec::new();
    for segment in segments {
        let end = match segment.hint_summary() {
            Some(summary) => scanned.believe(&segment, summary, &unsealed)?,
            None => scanned.read_segment(config, &segment, &unsealed, &mut rest)?,
        };
        if end.records > 0 {
            scanned.leftovers.extend(unsealed.drain(..).map(|(empty, _)| empty.name.clone()));
        }
        if !end.sealed {
            unsealed.push((segment, end));
        }
    }
    rest.sort();
    chunks.push(rest);
    scanned.index.load(chunks, threads);
    scanned.choose_active(unsealed);
    scanned.report.spares = names.len() - scanned.report.segments;
    scanned.report.keys = scanned.index.len();
    scanned.report.last = Lsn(scanned.tail.last_sequence);
    Ok(scanned)
}

/// Reads the hints of segments, each thread those of neighbours, and sorts what they say.
fn load_hints(
    medium: &dyn Medium,
    segments: &[&Arc<Segment>],
    threads: usize,
    planted: Planted,
) -> Vec<Chunk> {
    let load = |segments: &[&Arc<Segment>]| {
        let mut chunk = Chunk::default();
        for segment in segments {
            // One that can't be read is one that isn't there.
            let Ok(bytes) = medium.read_file(&hint::name_of(segment.header.id)) else { continue };
            let unchecked = planted.hint_unsynced || planted.hint_before_seal;
            if let Some(hint) = hint::decode(segment, &bytes, &mut chunk, unchecked) {
                segment.set_hint(hint);
            }
        }
        chunk.sort();
        chunk
    };
    if threads == 1 || segments.len() < 2 {
        return vec![load(segments)];
    }
    let load = &load;
    std::thread::scope(|scope| {
        let started: Vec<_> = segments
            .chunks(segments.len().div_ceil(threads))
            .map(|share| scope.spawn(move || load(share)))
            .collect();
        // A thread that panicked is our bug: its segments' hints count, but what they said is gone.
        started
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
            .collect()
    })
}

impl Scanned {
    /// Compares the hints of a folder, all of whose segments were read, with what their segments say.
    fn compare_hints(&mut self, medium: &dyn Medium) -> Result<(), Error> {
        let mut names = medium.list().map_err(|e| Error::io("listing the data folder", e))?;
        names.retain(|name| name.ends_with(hint::SUFFIX));
        names.sort_unstable();
        for name in names {
            let used = self.index.segments().map(|(segment, _)| segment);
            let segment = used.chain(&self.unsealed).find(|s| hint::name_of(s.header.id) == name);
            // Without its segment it is a leftover: the next open removes it.
            let Some(segment) = segment else { continue };
            if hint::is_right(medium, segment)? {
                self.report.hints += 1;
            } else {
                self.report.hints_damaged.push(name);
            }
        }
        Ok(())
    }

    /// The segment that was written to before this one and isn't sealed, if this one has records.
    fn unsealed_before(before: &[(Arc<Segment>, WalkEnd)]) -> Option<Error> {
        let (used, end) = before.iter().find(|(_, end)| !end.pristine())?;
        let (file, offset) = (used.name.clone(), u64::from(end.offset));
        Some(Error::Corrupt { file, offset, expected: "a seal, or more records" })
    }

    /// Compaction removes whole segments: the sequence goes on unless an id is missing.
    fn is_adjacent(&self, id: u32) -> bool {
        self.tail.segment_max > 0 && self.tail.segment_max + 1 == id
    }

    /// Takes a segment by its hint, whose slots are in a chunk.
    fn believe(
        &mut self,
        segment: &Arc<Segment>,
        summary: &Summary,
        before: &[(Arc<Segment>, WalkEnd)],
    ) -> Result<WalkEnd, Error> {
        if let Some(error) = Self::unsealed_before(before) {
            return Err(error);
        }
        let expected = self.tail.last_sequence.saturating_add(1);
        let adjacent = self.is_adjacent(segment.header.id);
        let first = summary.first_sequence;
        if first < expected || (adjacent && first != expected) {
            let (file, offset) = (segment.name.clone(), u64::from(FIRST_RECORD));
            return Err(Error::Corrupt {
                file,
                offset,
                expected: "the record after that of the segment before",
            });
        }
        let end = WalkEnd {
            offset: summary.end,
            group_start: summary.group_start,
            records: summary.records,
            last_sequence: summary.last_sequence,
            epoch: summary.epochs.last().map_or(segment.header.epoch, |(_, epoch)| *epoch),
            sealed: true,
            torn: false,
            recycled: segment.header.recycled,
        };
        self.count(segment, &end);
        Ok(end)
    }

    /// Reads one segment. `before`: the unsealed ones with lower ids.
    fn read_segment(
        &mut self,
        config: &Config,
        segment: &Arc<Segment>,
        before: &[(Arc<Segment>, WalkEnd)],
        chunk: &mut Chunk,
    ) -> Result<WalkEnd, Error> {
        let bytes = segment.read_all()?;
        let id = segment.header.id;
        let unsealed = Self::unsealed_before(before);
        let walk = Walk {
            segment,
            bytes: &bytes,
            sequence_before: self.tail.last_sequence,
            adjacent: unsealed.is_none() && self.is_adjacent(id),
            every_record_last: config.planted.no_batch_marker,
        };
        let walked = walk.run(|record| chunk.take(id, record));
        if let Some(error) = unsealed
            && walked.as_ref().map_or(true, |end| end.records > 0)
        {
            // This segment was written to, so that one was sealed once.
            return Err(error);
        }
        let end = walked?;
        self.count(segment, &end);
        Ok(end)
    }

    fn count(&mut self, segment: &Arc<Segment>, end: &WalkEnd) {
        if end.records > 0 {
            self.index.add_segment(segment);
            self.report.segments += 1;
            self.tail.youngest = Some((Arc::clone(segment), end.group_start..end.offset));
        }
        self.report.records += end.records;
        self.tail.last_sequence = end.last_sequence;
        self.tail.epoch_max = self.tail.epoch_max.max(segment.header.epoch).max(end.epoch);
        self.tail.segment_max = segment.header.id;
    }

    /// The log goes on in the segment that was written to, or else in the first. Empty ones before it are
    /// left from preparations that failed late; behind it only untouched ones are of use.
    fn choose_active(&mut self, unsealed: Vec<(Arc<Segment>, WalkEnd)>) {
        let active = unsealed.iter().position(|(_, end)| !end.pristine()).unwrap_or(0);
        for (n, (segment, end)) in unsealed.into_iter().enumerate() {
            if n < active || (n > active && !end.pristine()) {
                self.leftovers.push(segment.name.clone());
                continue;
            }
            if n == active {
                self.tail.offset = end.offset;
                self.tail.epoch = end.epoch;
                if end.torn && !end.recycled {
                    self.report.torn_at = Some((segment.name.clone(), u64::from(end.offset)));
                }
            }
            self.unsealed.push_back(segment);
        }
    }
}

/// Writes the last group once more, durably. A process that was killed leaves its
/// last write in the page cache, read back but not on disk; after a failed write the cache may
/// even call it clean, so that a sync would do nothing. Earlier groups were durable before this one began.
fn rewrite_last_group(tail: &Tail) -> Result<(), Error> {
    let Some((segment, range)) = &tail.youngest else { return Ok(()) };
    let what = || format!("writing {} again", segment.name);
    // Not through the map: zeros for what the medium can't read must not be written.
    let mut bytes = vec![0; range.len()];
    segment.file.read_at(u64::from(range.start), &mut bytes).map_err(|e| Error::io(what(), e))?;
    match segment.file.write_at(u64::from(range.start), &bytes, true) {
        Ok(n) if n == bytes.len() => Ok(()),
        Ok(_) => Err(Error::io(what(), std::io::ErrorKind::WriteZero.into())),
        Err(e) => Err(Error::io(what(), e)),
    }
}

/// Makes the end durable, and whatever lies behind it invalid.
fn start_epoch(
    medium: &dyn Medium,
    config: &Config,
    mut unsealed: VecDeque<Arc<Segment>>,
    tail: Tail,
    live: u64,
) -> Result<End, Error> {
    if !config.planted.keep_last_group {
        rewrite_last_group(&tail)?;
    }
    let epoch = tail.epoch_max + 1;
    let mut next_segment = tail.segment_max + 1;
    let mut create = || {
        let header = SegmentHeader {
            id: next_segment,
            epoch,
            bytes: segment_bytes(config, live, 0),
            salt: medium.random(),
            recycled: false,
        };
        next_segment += 1;
        Segment::create(medium, header, config.planted)
    };
    let mut next_sequence = tail.last_sequence + 1;
    let mut offset = tail.offset;
    let mut active = match unsealed.pop_front() {
        Some(segment) => segment,
        None => create()?,
    };
    let fields =
        |kind, value| Fields { kind, last: true, expires: None, space: Space::from_bits(0), key: &[], value };
    let write = |segment: &Segment, offset: u32, bytes: &[u8]| {
        let what = || format!("writing to {}", segment.name);
        match segment.file.write_at(u64::from(offset), bytes, true) {
            Ok(n) if n == bytes.len() => Ok(()),
            Ok(_) => Err(Error::io(what(), std::io::ErrorKind::WriteZero.into())),
            Err(e) => Err(Error::io(what(), e)),
        }
    };
    if (offset + EPOCH_BYTES) as usize + SEAL_BYTES > active.header.bytes as usize {
        let mut seal = Vec::new();
        let seed = active.seeds(tail.epoch).of(Kind::Seal);
        encode(&mut seal, seed, offset, next_sequence, &fields(Kind::Seal, &[]));
        write(&active, offset, &seal)?;
        next_sequence += 1;
        active = match unsealed.pop_front() {
            Some(segment) => segment,
            None => create()?,
        };
        offset = FIRST_RECORD;
    }
    if !config.planted.keep_epoch {
        let mut bytes = Vec::new();
        let seed = active.seeds(epoch).of(Kind::Epoch);
        let value = epoch.to_le_bytes();
        encode(&mut bytes, seed, offset, next_sequence, &fields(Kind::Epoch, &value));
        write(&active, offset, &bytes)?;
        next_sequence += 1;
        offset += EPOCH_BYTES;
    }
    let mut spares = VecDeque::new();
    for segment in unsealed {
        let renewed = if segment.header.recycled { segment.renew(medium, epoch)? } else { segment };
        spares.push_back(renewed);
    }
    while spares.len() < config.spares() {
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

impl WalkEnd {
    /// Nothing was ever written behind the header.
    fn pristine(&self) -> bool {
        self.records == 0 && (!self.torn || self.recycled)
    }
}

/// Reads a segment's records from front to back.
pub(crate) struct Walk<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) bytes: &'a [u8],
    /// Of the youngest record of the segments before.
    pub(crate) sequence_before: u64,
    /// The segment before this one was read too.
    pub(crate) adjacent: bool,
    /// A planted bug.
    pub(crate) every_record_last: bool,
}

pub(crate) struct WalkEnd {
    /// Behind the last whole batch.
    pub(crate) offset: u32,
    /// Of the last whole batch.
    pub(crate) group_start: u32,
    records: u64,
    last_sequence: u64,
    epoch: u32,
    pub(crate) sealed: bool,
    /// Something that isn't zero follows.
    torn: bool,
    recycled: bool,
}

/// Each byte equals the one before it, and the first is zero: one memcmp, which is quick without
/// optimization, too (a fresh segment is 64 MiB of this at every open).
fn is_zero(bytes: &[u8]) -> bool {
    bytes.split_last().is_none_or(|(_, before)| bytes[0] == 0 && bytes[1..] == *before)
}

impl<'a> Walk<'a> {
    /// Calls `visit` with the records of whole batches, in order.
    pub(crate) fn run(&self, mut visit: impl FnMut(&Record<'a>)) -> Result<WalkEnd, Error> {
        let mut epoch = self.segment.header.epoch;
        let mut seeds = self.segment.seeds(epoch);
        let mut end = WalkEnd {
            offset: FIRST_RECORD,
            group_start: FIRST_RECORD,
            records: 0,
            last_sequence: self.sequence_before,
            epoch,
            sealed: false,
            torn: false,
            recycled: self.segment.header.recycled,
        };
        let mut batch: Vec<Record<'a>> = Vec::new();
        let mut group_start = 0;
        let mut at = SEGMENT_HEADER_BYTES;
        loop {
            let expected = batch.last().map_or(end.last_sequence, |r| r.sequence).saturating_add(1);
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
            end.group_start = record.group_start;
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
        end.torn = !batch.is_empty() || !is_zero(&self.bytes[at..]);
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
                && (candidate.group_start as usize).is_multiple_of(ALIGN)
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
