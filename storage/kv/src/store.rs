//! The store: submitting, committing, reading. The crate's opening has the picture.
//!
//! Locks, in the order in which they may be taken: log, index, a core's queue. None is held
//! across I/O or a call to [`Wake`].

use std::collections::{HashMap, VecDeque};
use std::os::fd::RawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use forebay_base::limits::{KV_KEY_BYTES_MAX, KV_VALUE_BYTES_MAX};
use forebay_base::value::codec::{decode_int, encode_int};
use forebay_base::{CoreId, Timestamp};

use crate::api::{
    BATCH_BYTES_MAX, BATCH_OPS_MAX, Batch, Completion, Config, Error, GROUP_BYTES_MAX, ITERATE_OFFSET_MAX,
    Op, Outcome, PAGE_ITEMS_MAX, QUEUE_BYTES_MAX, Refused, Unavailable, Wake,
};
use crate::index::{Change, Index, Key, Page};
use crate::medium::{Medium, SegmentFile};
use crate::record::{self, Fields, Kind, SEAL_BYTES, SEGMENT_HEADER_BYTES, Seeds, record_bytes};
use crate::segment::{Segment, ValueRef};
use crate::space::Space;

/// The log store of one data folder. Shared by all cores of the process.
pub struct Store {
    pub(crate) config: Config,
    pub(crate) medium: Arc<dyn Medium>,
    wake: Arc<dyn Wake>,
    log: Mutex<Log>,
    index: RwLock<Index>,
    /// Completions per core; the last is of the maintenance thread.
    queues: Box<[Mutex<Vec<Completion>>]>,
    /// Signalled when a commit finished and when maintenance has something to do.
    changed: Condvar,
    /// Held by the one who prepares segments or compacts.
    pub(crate) maintenance: Mutex<()>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("folder", &self.config.folder).finish_non_exhaustive()
    }
}

/// The state of the log's end. See the module's opening for the lock.
#[derive(Debug)]
pub(crate) struct Log {
    /// Why writes are refused, if they are for good.
    pub(crate) stopped: Option<Unavailable>,
    pub(crate) next_sequence: u64,
    pub(crate) epoch: u32,
    /// Where records are appended.
    pub(crate) active: Arc<Segment>,
    pub(crate) seeds: Seeds,
    /// Offset in `active` of the next record, those in memory included.
    pub(crate) offset: u32,
    /// Prepared segments, ids ascending and above the active one's.
    pub(crate) spares: VecDeque<Arc<Segment>>,
    pub(crate) next_segment: u32,
    /// A segment was sealed since the last maintenance.
    pub(crate) rolled: bool,
    /// The last preparation failed for want of space.
    no_space: bool,
    /// Groups not yet handed out, oldest first; the last one is open.
    groups: VecDeque<Group>,
    /// The group that is being written. Its bytes are in the job.
    in_flight: Option<Group>,
    /// Bytes in `groups` and in flight.
    queued_bytes: usize,
    /// The youngest record of every key that has one which isn't durable yet.
    pending: HashMap<(Space, Key), Pending>,
    /// A buffer to reuse.
    spare_buffer: Vec<u8>,
    stats: Stats,
}

#[derive(Debug)]
struct Pending {
    sequence: u64,
    /// `None`: removed.
    value: Option<Arc<[u8]>>,
    expires: Option<Timestamp>,
}

/// Records that reach the disk in one write.
#[derive(Debug)]
struct Group {
    segment: Arc<Segment>,
    start: u32,
    bytes: Vec<u8>,
    first_sequence: u64,
    last_sequence: u64,
    entries: Vec<Entry>,
    waiters: Vec<Waiter>,
}

#[derive(Debug)]
struct Entry {
    space: Space,
    key: Key,
    sequence: u64,
    change: Change,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    core: CoreId,
    completion: Completion,
}

/// Counters since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records appended.
    pub records: u64,
    /// Groups that are on disk: writes with sync.
    pub commits: u64,
    /// Bytes of those groups.
    pub bytes: u64,
    /// Batches that conflicted.
    pub conflicts: u64,
    /// Keys in the index.
    pub keys: usize,
    /// Bytes in segment files that were written, live or not.
    pub log_bytes: u64,
    /// Bytes of live records.
    pub live_bytes: u64,
    /// Segment files, spares included.
    pub segments: usize,
}

/// One write. Whoever took it from [`Store::poll_commit`] executes it, durably
/// (`RWF_DSYNC`, or [`CommitJob::run`]), then calls [`CommitTicket::finish`].
pub struct CommitJob {
    /// Where to write. Keep it until the write has completed: it owns the descriptor.
    pub file: Arc<dyn SegmentFile>,
    /// Offset in the file.
    pub offset: u64,
    /// What to write, in one write; a short one is a failure.
    pub bytes: Vec<u8>,
    /// To report with.
    pub ticket: CommitTicket,
}

impl std::fmt::Debug for CommitJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommitJob")
            .field("offset", &self.offset)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl CommitJob {
    /// The descriptor for the ring. `None` on simulated media.
    #[must_use]
    pub fn fd(&self) -> Option<RawFd> {
        self.file.fd()
    }

    /// Executes the write in place (pwritev2(2)) and reports it.
    pub fn run(self) {
        let result = self.file.write_at(self.offset, &self.bytes, true);
        self.ticket.finish(result, self.bytes);
    }
}

/// The duty to report a commit. Dropped without a report it counts as a failed
/// write, so that nobody waits forever.
#[derive(Debug)]
pub struct CommitTicket {
    /// Keeps the folder locked while a write is in flight.
    store: Arc<Store>,
    core: CoreId,
    expected: usize,
    reported: bool,
}

impl CommitTicket {
    /// Reports how the write ended: how many bytes were written, or the error.
    /// Anything but all of them poisons the store. `buffer` is the job's, to be reused.
    pub fn finish(mut self, result: std::io::Result<usize>, buffer: Vec<u8>) {
        self.reported = true;
        let whole = matches!(result, Ok(n) if n == self.expected);
        self.store.finish(self.core, whole, self.expected, buffer);
    }
}

impl Drop for CommitTicket {
    fn drop(&mut self) {
        if !self.reported {
            self.store.finish(self.core, false, self.expected, Vec::new());
        }
    }
}

impl Store {
    pub(crate) fn assemble(
        config: Config,
        medium: Arc<dyn Medium>,
        wake: Arc<dyn Wake>,
        index: Index,
        log: Log,
    ) -> Arc<Self> {
        let queues = (0..=config.cores).map(|_| Mutex::default()).collect();
        Arc::new(Self {
            config,
            medium,
            wake,
            log: Mutex::new(log),
            index: RwLock::new(index),
            queues,
            changed: Condvar::new(),
            maintenance: Mutex::new(()),
        })
    }

    /// Submits one batch: all of `ops` happen, at one moment, or none. The answer comes as a
    /// [`Completion`] with `token` in the queue of `core`; it may be there when
    /// this returns. With `sync` it comes when the batch is on disk, without when it is
    /// accepted: then it is visible at once and on disk with the next commit.
    ///
    /// Operations see the effects of earlier ones of the same batch.
    ///
    /// # Errors
    /// [`Refused`] if a limit is broken; no completion follows.
    ///
    /// # Panics
    /// If `core` isn't below [`Config::cores`].
    pub fn submit(
        &self,
        core: CoreId,
        token: u64,
        now: Timestamp,
        space: impl Into<Space>,
        ops: &[Op<'_>],
        sync: bool,
    ) -> Result<(), Refused> {
        self.submit_batch(core, token, now, Batch::One(space.into(), ops), sync)
    }

    /// As [`Store::submit`], over any keyspaces: a task's records beside its user's keys.
    ///
    /// # Errors
    /// As [`Store::submit`].
    ///
    /// # Panics
    /// As [`Store::submit`].
    pub fn submit_across(
        &self,
        core: CoreId,
        token: u64,
        now: Timestamp,
        ops: &[(Space, Op<'_>)],
        sync: bool,
    ) -> Result<(), Refused> {
        self.submit_batch(core, token, now, Batch::Across(ops), sync)
    }

    pub(crate) fn submit_batch(
        &self,
        core: CoreId,
        token: u64,
        now: Timestamp,
        batch: Batch<'_>,
        sync: bool,
    ) -> Result<(), Refused> {
        let bytes = self.measure(batch)?;
        let mut log = self.lock_log();
        let mut completion = Completion { token, outcome: Outcome::Ok, number: None };
        if batch.len() == 0 {
            drop(log);
            self.complete(core, core, completion);
            return Ok(());
        }
        if let Some(why) = log.refuses(bytes) {
            drop(log);
            completion.outcome = Outcome::Unavailable(why);
            self.complete(core, core, completion);
            return Ok(());
        }
        let decided = if batch.iter().all(|(_, op)| matches!(op, Op::Set { .. } | Op::Del { .. })) {
            Decided::default()
        } else {
            self.decide(&log, now, batch)
        };
        if decided.outcome != Outcome::Ok {
            log.stats.conflicts += 1;
            completion.outcome = decided.outcome;
            self.answer_after(log, decided.rests_on, Waiter { core, completion });
            return Ok(());
        }
        let mut ops = batch.iter();
        if let (Some((space, Op::Del { key })), None) = (ops.next(), ops.next()) {
            // Nothing to remove: nothing to write. An absence that is only pending is waited for.
            let pending = log.pending.get(&(space, Key::new(key)));
            let absent = match pending {
                Some(pending) => pending.value.is_none(),
                None => !self.read_index().knows(space, key),
            };
            if absent {
                let rests_on = pending.map_or(0, |p| p.sequence);
                self.answer_after(log, if sync { rests_on } else { 0 }, Waiter { core, completion });
                return Ok(());
            }
        }
        if !log.make_room(bytes) {
            let why = if log.no_space { Unavailable::NoSpace } else { Unavailable::Busy };
            drop(log);
            self.changed.notify_all();
            completion.outcome = Outcome::Unavailable(why);
            self.complete(core, core, completion);
            return Ok(());
        }
        completion.number = decided.numbers.last().map(|n| n.sum);
        let first = log.next_sequence;
        log.append(batch, &decided.numbers);
        let rolled = log.rolled;
        let waiter = Waiter { core, completion };
        if sync {
            // append made sure that there is an open group.
            if let Some(group) = log.groups.back_mut() {
                group.waiters.push(waiter);
            }
        } else {
            self.show_unsynced(&log, first);
            drop(log);
            self.complete(core, core, completion);
        }
        if rolled {
            self.changed.notify_all();
        }
        Ok(())
    }

    /// The next write, if there is something to write and no write in flight:
    /// call it at the end of a turn. `core` is told of the answers without a [`Wake`].
    pub fn poll_commit(self: &Arc<Self>, core: CoreId) -> Option<CommitJob> {
        let mut log = self.lock_log();
        if log.in_flight.is_some() || log.stopped == Some(Unavailable::Poisoned) {
            return None;
        }
        let mut group = log.groups.pop_front()?;
        let bytes = std::mem::take(&mut group.bytes);
        let job = CommitJob {
            file: Arc::clone(&group.segment.file),
            offset: u64::from(group.start),
            ticket: CommitTicket { store: Arc::clone(self), core, expected: bytes.len(), reported: false },
            bytes,
        };
        if self.config.planted.acknowledge_before_sync {
            let waiters = std::mem::take(&mut group.waiters);
            for waiter in waiters {
                self.complete(core, waiter.core, waiter.completion);
            }
        }
        log.in_flight = Some(group);
        Some(job)
    }

    /// Moves the answers for `core` to the end of `into`.
    pub fn completions(&self, core: CoreId, into: &mut Vec<Completion>) {
        into.append(&mut lock(&self.queues[usize::from(core.0)]));
    }

    /// The value of a key. `None` if it is absent or expired at `now`.
    ///
    /// # Errors
    /// [`Error::Io`] on media without maps.
    pub fn get(
        &self,
        now: Timestamp,
        space: impl Into<Space>,
        key: &[u8],
    ) -> Result<Option<ValueRef>, Error> {
        Ok(self.read_index().get(now, space.into(), key)?.map(|(value, _)| value))
    }

    /// Whether a key is there and not expired at `now`.
    #[must_use]
    pub fn exists(&self, now: Timestamp, space: impl Into<Space>, key: &[u8]) -> bool {
        self.read_index().exists(now, space.into(), key)
    }

    /// Up to `limit` keys that begin with `prefix` and come after `after`, ascending; continue
    /// with the last key while [`Page::more`].
    ///
    /// # Errors
    /// [`Error::Io`] on media without maps.
    pub fn scan(
        &self,
        now: Timestamp,
        space: impl Into<Space>,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.read_index().page(now, space.into(), prefix, after, 0, limit.min(PAGE_ITEMS_MAX))
    }

    /// Up to `limit` keys that begin with `prefix`, ascending, without the first
    /// `offset`. Costs O(offset).
    ///
    /// # Errors
    /// [`Refused::OffsetTooLarge`]; [`Error::Io`] on media without maps.
    pub fn iterate(
        &self,
        now: Timestamp,
        space: impl Into<Space>,
        prefix: &[u8],
        offset: usize,
        limit: usize,
    ) -> Result<Page, Error> {
        if offset > ITERATE_OFFSET_MAX {
            return Err(Error::Refused(Refused::OffsetTooLarge { offset }));
        }
        self.read_index().page(now, space.into(), prefix, None, offset, limit.min(PAGE_ITEMS_MAX))
    }

    /// Why writes are refused now, if they are.
    #[must_use]
    pub fn unavailable(&self) -> Option<Unavailable> {
        let log = self.lock_log();
        log.stopped.or(if log.no_space && log.spares.is_empty() { Some(Unavailable::NoSpace) } else { None })
    }

    /// Counters and sizes.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let log = self.lock_log();
        let index = self.read_index();
        let mut stats = log.stats;
        stats.keys = index.len();
        for (segment, usage) in index.segments() {
            let end =
                if segment.header.id == log.active.header.id { log.offset } else { segment.header.bytes };
            stats.log_bytes += u64::from(end);
            stats.live_bytes += usage.live;
            stats.segments += 1;
        }
        stats.segments += log.spares.len();
        stats
    }

    /// Waits until [`Store::maintain`] has something to do, at most `timeout`; for
    /// the thread that calls it.
    pub fn wait_for_maintenance(&self, timeout: Duration) -> bool {
        let log = self.lock_log();
        let idle = |log: &mut Log| {
            log.spares.len() >= self.config.spare_segments && !log.rolled && !log.is_stopped()
        };
        match self.changed.wait_timeout_while(log, timeout, idle) {
            Ok((_, result)) => !result.timed_out(),
            Err(_) => true,
        }
    }

    /// Prepares the segments that are missing; the caller holds `maintenance`.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        loop {
            let header = {
                let mut log = self.lock_log();
                if log.spares.len() >= self.config.spare_segments || log.stopped.is_some() {
                    return Ok(());
                }
                let id = log.next_segment;
                log.next_segment += 1;
                record::SegmentHeader {
                    id,
                    epoch: log.epoch,
                    bytes: self.config.segment_bytes,
                    salt: self.medium.random(),
                }
            };
            let made = Segment::create(&*self.medium, header);
            let mut log = self.lock_log();
            log.no_space = matches!(made, Err(Error::NoSpace { .. }));
            log.spares.push_back(made?);
        }
    }

    /// Takes no more writes, waits for those under way and marks the log as cleanly
    /// closed, so that damage to any record is noticed by the next open.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the store was poisoned or closed before.
    pub fn close(self: &Arc<Self>) -> Result<(), Error> {
        {
            let mut log = self.lock_log();
            if let Some(why) = log.stopped {
                return Err(Error::Unavailable(why));
            }
            log.stopped = Some(Unavailable::Closed);
        }
        self.flush()?;
        self.lock_log().append_epoch();
        self.flush()
    }

    /// Writes everything that was submitted before, or waits for whoever does.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the store is poisoned.
    pub fn flush(self: &Arc<Self>) -> Result<(), Error> {
        let until = self.lock_log().next_sequence;
        loop {
            if let Some(job) = self.poll_commit(self.maintenance_core()) {
                job.run();
            }
            let mut log = self.lock_log();
            loop {
                if log.stopped == Some(Unavailable::Poisoned) {
                    return Err(Error::Unavailable(Unavailable::Poisoned));
                }
                let oldest = log.in_flight.iter().chain(&log.groups).next().map(|g| g.first_sequence);
                if oldest.is_none_or(|oldest| oldest >= until) {
                    return Ok(());
                }
                if log.in_flight.is_none() {
                    break;
                }
                log = self.changed.wait(log).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// The queue of whoever does maintenance.
    pub(crate) fn maintenance_core(&self) -> CoreId {
        CoreId(self.config.cores)
    }

    // ------------------------------------------------------------ inside

    /// Checks the limits; the batch's encoded bytes, at most.
    fn measure(&self, batch: Batch<'_>) -> Result<usize, Refused> {
        let bytes_max =
            BATCH_BYTES_MAX.min(self.config.segment_bytes as usize - SEGMENT_HEADER_BYTES - SEAL_BYTES);
        if batch.len() > BATCH_OPS_MAX {
            return Err(Refused::BatchTooLarge { ops: batch.len(), bytes: 0, bytes_max });
        }
        let mut bytes = 0;
        for (_, op) in batch.iter() {
            if op.key().len() > KV_KEY_BYTES_MAX {
                return Err(Refused::KeyTooLong { bytes: op.key().len() });
            }
            let value_len = match op {
                Op::Set { value, .. } | Op::Snx { value, .. } | Op::Cas { new: Some(value), .. } => {
                    value.len()
                }
                Op::Cas { new: None, .. } | Op::Del { .. } => 0,
                // The longest integer.
                Op::Incr { .. } => 11,
            };
            if value_len > KV_VALUE_BYTES_MAX {
                return Err(Refused::ValueTooLarge { bytes: value_len });
            }
            bytes += record_bytes(op.key().len(), value_len, true);
        }
        if bytes > bytes_max {
            return Err(Refused::BatchTooLarge { ops: batch.len(), bytes, bytes_max });
        }
        Ok(bytes)
    }

    /// Evaluates the conditions of a batch in order, against what was submitted before.
    fn decide(&self, log: &Log, now: Timestamp, batch: Batch<'_>) -> Decided {
        let mut decided = Decided::default();
        // What the batch itself has done so far, by key.
        let mut done: HashMap<(Space, &[u8]), Own<'_>> = HashMap::new();
        let index = self.read_index();
        for (i, (space, op)) in batch.iter().enumerate() {
            let key = op.key();
            let stored;
            let (current, expires) = if let Some((value, expires)) = done.get(&(space, key)) {
                (value.as_ref().map(Seen::bytes), *expires)
            } else if let Some(pending) = log.pending.get(&(space, Key::new(key))) {
                decided.rests_on = decided.rests_on.max(pending.sequence);
                let there = pending.expires.is_none_or(|at| at > now);
                (pending.value.as_deref().filter(|_| there), pending.expires)
            } else {
                match index.get(now, space, key) {
                    Ok(found) => stored = found,
                    Err(_) => {
                        decided.outcome = Outcome::Unknown;
                        return decided;
                    }
                }
                match &stored {
                    Some((value, expires)) => (Some(&**value), *expires),
                    None => (None, None),
                }
            };
            let next = match op {
                Op::Set { value, expires, .. } => (Some(Seen::Given(value)), expires),
                Op::Del { .. } => (None, None),
                Op::Snx { value, expires, .. } if current.is_none() => (Some(Seen::Given(value)), expires),
                Op::Cas { expected, new, expires, .. } if current == expected => {
                    (new.map(Seen::Given), expires.filter(|_| new.is_some()))
                }
                Op::Snx { .. } | Op::Cas { .. } => {
                    decided.outcome = Outcome::Conflict;
                    return decided;
                }
                Op::Incr { by, .. } => {
                    let number = current.map_or(Some(0), decode_int);
                    let Some(sum) = number.and_then(|n| n.checked_add(by)) else {
                        decided.outcome = Outcome::NotCounter;
                        return decided;
                    };
                    let expires = expires.filter(|_| current.is_some());
                    let value = encode_int(sum);
                    decided.numbers.push(Number { op: i, sum, value: value.clone(), expires });
                    (Some(Seen::Made(value)), expires)
                }
            };
            if batch.len() > 1 {
                done.insert((space, key), next);
            }
        }
        decided
    }

    /// Answers when everything up to sequence `rests_on` is on disk.
    fn answer_after(&self, mut log: MutexGuard<'_, Log>, rests_on: u64, waiter: Waiter) {
        if rests_on > 0 {
            let log = &mut *log;
            // In the order of their sequences.
            let waiting = log.in_flight.iter_mut().chain(log.groups.iter_mut());
            for group in waiting {
                if group.last_sequence >= rests_on {
                    group.waiters.push(waiter);
                    return;
                }
            }
        }
        drop(log);
        self.complete(waiter.core, waiter.core, waiter.completion);
    }

    /// Makes the entries of the open group from sequence `first` on visible now.
    fn show_unsynced(&self, log: &Log, first: u64) {
        let Some(group) = log.groups.back() else { return };
        let mut index = self.write_index();
        let from = group.entries.partition_point(|e| e.sequence < first);
        for entry in &group.entries[from..] {
            let Some(pending) = log.pending.get(&(entry.space, entry.key.clone())) else { continue };
            let change = match &pending.value {
                Some(value) => Change::Unsynced { value: Arc::clone(value), expires: pending.expires },
                None => Change::UnsyncedDelete,
            };
            index.apply(entry.space, &entry.key, pending.sequence, change);
        }
    }

    /// The write in flight ended.
    fn finish(&self, core: CoreId, ok: bool, bytes: usize, mut buffer: Vec<u8>) {
        let mut log = self.lock_log();
        if !ok {
            self.poison(log, core);
            return;
        }
        let Some(group) = log.in_flight.as_mut() else { return };
        let entries = std::mem::take(&mut group.entries);
        let segment = Arc::clone(&group.segment);
        drop(log);

        // In flight still, so nobody else is here and the order of sequences holds.
        {
            let mut index = self.write_index();
            if !index.has_segment(segment.header.id) {
                index.add_segment(&segment);
            }
            for entry in &entries {
                index.apply(entry.space, &entry.key, entry.sequence, entry.change.clone());
            }
        }

        let mut log = self.lock_log();
        let Some(group) = log.in_flight.take() else { return };
        for entry in entries {
            let key = (entry.space, entry.key);
            if log.pending.get(&key).is_some_and(|p| p.sequence == entry.sequence) {
                log.pending.remove(&key);
            }
        }
        log.queued_bytes -= bytes;
        log.stats.commits += 1;
        log.stats.bytes += bytes as u64;
        buffer.clear();
        if buffer.capacity() <= 2 * GROUP_BYTES_MAX && buffer.capacity() > log.spare_buffer.capacity() {
            log.spare_buffer = buffer;
        }
        drop(log);
        self.changed.notify_all();
        for waiter in group.waiters {
            self.complete(core, waiter.core, waiter.completion);
        }
    }

    /// What was in flight is unknown; what waited behind it never happens.
    fn poison(&self, mut log: MutexGuard<'_, Log>, core: CoreId) {
        log.stopped = Some(Unavailable::Poisoned);
        let in_flight = log.in_flight.take();
        let groups = std::mem::take(&mut log.groups);
        log.queued_bytes = 0;
        drop(log);
        self.changed.notify_all();
        let unknown = in_flight.into_iter().map(|g| (g, Outcome::Unknown));
        let never = groups.into_iter().map(|g| (g, Outcome::Unavailable(Unavailable::Poisoned)));
        for (group, outcome) in unknown.chain(never) {
            for waiter in group.waiters {
                let completion = Completion { outcome, number: None, ..waiter.completion };
                self.complete(core, waiter.core, completion);
            }
        }
    }

    /// Queues an answer; wakes its core if that isn't the one at work here.
    fn complete(&self, here: CoreId, core: CoreId, completion: Completion) {
        let was_empty = {
            let mut queue = lock(&self.queues[usize::from(core.0)]);
            queue.push(completion);
            queue.len() == 1
        };
        if was_empty && core != here {
            self.wake.wake(core);
        }
    }

    pub(crate) fn lock_log(&self) -> MutexGuard<'_, Log> {
        match self.log.lock() {
            Ok(log) => log,
            // A panic in here is our bug; what the log says can't be trusted any more.
            Err(poisoned) => {
                let mut log = poisoned.into_inner();
                log.stopped = Some(Unavailable::Poisoned);
                log
            }
        }
    }

    pub(crate) fn read_index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write_index(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the conditions of a batch came to.
#[derive(Debug)]
struct Decided {
    outcome: Outcome,
    /// The youngest pending record that was looked at; 0 if none.
    rests_on: u64,
    /// The results of [`Op::Incr`], in the order of the operations.
    numbers: Vec<Number>,
}

impl Default for Decided {
    fn default() -> Self {
        Self { outcome: Outcome::Ok, rests_on: 0, numbers: Vec::new() }
    }
}

#[derive(Debug)]
struct Number {
    /// Index of the operation in its batch.
    op: usize,
    sum: i64,
    value: Vec<u8>,
    expires: Option<Timestamp>,
}

/// What a batch itself made of a key so far, and its expiry.
type Own<'a> = (Option<Seen<'a>>, Option<Timestamp>);

/// A value that the batch put there itself.
#[derive(Debug)]
enum Seen<'a> {
    Given(&'a [u8]),
    Made(Vec<u8>),
}

impl Seen<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Given(value) => value,
            Self::Made(value) => value,
        }
    }
}

/// Where recovery found the log's end.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) next_sequence: u64,
    /// For new segments.
    pub(crate) epoch: u32,
    /// Valid at the end of `active`.
    pub(crate) epoch_active: u32,
    pub(crate) active: Arc<Segment>,
    pub(crate) offset: u32,
    pub(crate) spares: VecDeque<Arc<Segment>>,
    pub(crate) next_segment: u32,
}

impl Log {
    pub(crate) fn new(end: End) -> Self {
        Self {
            stopped: None,
            next_sequence: end.next_sequence,
            epoch: end.epoch,
            seeds: end.active.seeds(end.epoch_active),
            active: end.active,
            offset: end.offset,
            spares: end.spares,
            next_segment: end.next_segment,
            rolled: false,
            no_space: false,
            groups: VecDeque::new(),
            in_flight: None,
            queued_bytes: 0,
            pending: HashMap::new(),
            spare_buffer: Vec::new(),
            stats: Stats::default(),
        }
    }

    fn refuses(&self, bytes: usize) -> Option<Unavailable> {
        self.stopped.or((self.queued_bytes + bytes > QUEUE_BYTES_MAX).then_some(Unavailable::Busy))
    }

    /// Makes sure that the open group has room for `bytes` in its segment; rolls
    /// over to a spare segment if the active one hasn't. False if there is no spare.
    pub(crate) fn make_room(&mut self, bytes: usize) -> bool {
        let free = (self.active.header.bytes - self.offset) as usize;
        if bytes + SEAL_BYTES <= free {
            return true;
        }
        let Some(next) = self.spares.pop_front() else { return false };
        self.append_record(Fields {
            kind: Kind::Seal,
            last: true,
            expires: None,
            space: Space::from_bits(0),
            key: &[],
            value: &[],
        });
        self.seeds = next.seeds(next.header.epoch);
        self.active = next;
        self.rolled = true;
        self.offset = record::FIRST_RECORD;
        true
    }

    /// Appends the records of a batch whose conditions hold; [`Log::make_room`] was asked.
    fn append(&mut self, batch: Batch<'_>, numbers: &[Number]) {
        // Between batches only: recovery relies on a batch being in one write.
        if self.groups.back().is_some_and(|g| g.bytes.len() >= GROUP_BYTES_MAX) {
            self.open_group();
        }
        let mut numbers = numbers.iter();
        for (i, (space, op)) in batch.iter().enumerate() {
            let key = op.key();
            let (value, expires) = match op {
                Op::Set { value, expires, .. } | Op::Snx { value, expires, .. } => (Some(value), expires),
                Op::Cas { new, expires, .. } => (new, expires.filter(|_| new.is_some())),
                Op::Del { .. } => (None, None),
                Op::Incr { .. } => match numbers.next() {
                    Some(number) => {
                        debug_assert_eq!(number.op, i);
                        (Some(&number.value[..]), number.expires)
                    }
                    None => (None, None),
                },
            };
            self.append_one(space, key, value, expires, i + 1 == batch.len());
        }
    }

    /// Appends the record that sets or (`None`) removes one key.
    pub(crate) fn append_one(
        &mut self,
        space: Space,
        key: &[u8],
        value: Option<&[u8]>,
        expires: Option<Timestamp>,
        last: bool,
    ) {
        let kind = if value.is_some() { Kind::Set } else { Kind::Delete };
        let sequence = self.next_sequence;
        let segment = self.active.header.id;
        let offset =
            self.append_record(Fields { kind, last, expires, space, key, value: value.unwrap_or(&[]) });
        #[expect(clippy::cast_possible_truncation, reason = "within KV_VALUE_BYTES_MAX")]
        let change = match value {
            Some(value) => Change::Stored { segment, offset, value_len: value.len() as u32, expires },
            None => Change::Deleted { segment },
        };
        let key = Key::new(key);
        let pending = Pending { sequence, value: value.map(Into::into), expires };
        self.pending.insert((space, key.clone()), pending);
        if let Some(group) = self.groups.back_mut() {
            group.entries.push(Entry { space, key, sequence, change });
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    pub(crate) fn is_pending(&self, space: Space, key: &[u8]) -> bool {
        self.pending.contains_key(&(space, Key::new(key)))
    }

    /// The id of the oldest segment that isn't all on disk.
    pub(crate) fn oldest_unwritten(&self) -> u32 {
        let waiting = self.in_flight.iter().chain(&self.groups).map(|g| g.segment.header.id).next();
        waiting.unwrap_or(self.active.header.id)
    }

    /// Appends a record that starts the next epoch, if there is room: the mark of a clean close.
    fn append_epoch(&mut self) {
        if record::EPOCH_BYTES as usize + SEAL_BYTES > (self.active.header.bytes - self.offset) as usize {
            return;
        }
        self.epoch += 1;
        let value = self.epoch.to_le_bytes();
        self.append_record(Fields {
            kind: Kind::Epoch,
            last: true,
            expires: None,
            space: Space::from_bits(0),
            key: &[],
            value: &value,
        });
        self.seeds = self.active.seeds(self.epoch);
    }

    /// Closes the open group: what follows goes into another write.
    fn open_group(&mut self) {
        self.groups.push_back(Group {
            segment: Arc::clone(&self.active),
            start: self.offset,
            bytes: std::mem::take(&mut self.spare_buffer),
            first_sequence: self.next_sequence,
            last_sequence: 0,
            entries: Vec::new(),
            waiters: Vec::new(),
        });
    }

    /// Appends one record to the open group, opening one if need be; its offset.
    fn append_record(&mut self, fields: Fields<'_>) -> u32 {
        let open = self.groups.back().is_some_and(|g| Arc::ptr_eq(&g.segment, &self.active));
        if !open {
            self.open_group();
        }
        let offset = self.offset;
        let Some(group) = self.groups.back_mut() else { return offset };
        let before = group.bytes.len();
        record::encode(
            &mut group.bytes,
            self.seeds.of(fields.kind),
            group.start,
            self.next_sequence,
            &fields,
        );
        group.last_sequence = self.next_sequence;
        let bytes = group.bytes.len() - before;
        self.queued_bytes += bytes;
        #[expect(clippy::cast_possible_truncation, reason = "within the segment, whose size is a u32")]
        {
            self.offset += bytes as u32;
        }
        self.next_sequence += 1;
        self.stats.records += 1;
        offset
    }
}
