//! The store: submitting, committing, reading. The crate's opening has the picture.
//!
//! Locks, in the order in which they may be taken: log, index, a core's queue. None is held
//! across I/O or a call to [`Wake`].

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use forebay_base::limits::{KV_KEY_BYTES_MAX, KV_VALUE_BYTES_MAX};
use forebay_base::value::codec::{decode_int, encode_int};
use forebay_base::{CoreId, Timestamp};

use crate::api::{
    BATCH_BYTES_MAX, BATCH_OPS_MAX, Batch, Completion, Config, Error, GROUP_BYTES_MAX, ITERATE_OFFSET_MAX,
    Op, Outcome, PAGE_ITEMS_MAX, QUEUE_BYTES_MAX, Refused, Unavailable, Wake,
};
use crate::fault;
use crate::index::{Change, Found, Index, Page};
use crate::key::Key;
use crate::log::{Log, Number, Waiter};
use crate::medium::{Medium, SegmentFile};
use crate::quota::INTEGER_BYTES;
use crate::record::record_bytes;
use crate::rows::Rows;
use crate::segment::ValueRef;
use crate::space::Space;
use crate::stall::Stalled;

/// Records that are made visible under one hold of the index, or a batch if that is more.
const APPLY_RECORDS: usize = 256;

/// The log store of one data folder. Shared by all cores of the process.
pub struct Store {
    pub(crate) config: Config,
    pub(crate) medium: Arc<dyn Medium>,
    wake: Arc<dyn Wake>,
    log: Mutex<Log>,
    index: RwLock<Index>,
    /// Completions per core; the last two are of the maintenance thread and of whoever is no core.
    queues: Box<[Mutex<Vec<Completion>>]>,
    /// Signalled when a commit finished.
    changed: Condvar,
    /// Signalled when maintenance has something to do: a commit alone doesn't wake its thread.
    upkeep: Condvar,
    /// Held by the one who prepares segments or compacts.
    pub(crate) maintenance: Mutex<()>,
    /// Held by the one thread that writes without being a core; its last token.
    pub(crate) outside: Mutex<u64>,
    /// The store was opened again in place: who read before may hold other maps of the same files.
    pub(crate) reopened: AtomicBool,
    /// A mapped read has failed: nothing is answered until the folder was opened again.
    faulted: AtomicBool,
    /// [`fault::count`] when the maps were looked at last.
    faults_seen: AtomicU32,
    /// Why the store stopped, for the log.
    stopped_by: Mutex<Option<String>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("folder", &self.config.folder).finish_non_exhaustive()
    }
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
        let planted = self.store.config.planted;
        let whole = match result {
            Ok(n) => n == self.expected || planted.short_write_is_whole,
            Err(_) => planted.failed_write_is_done,
        };
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
        let queues = (0..config.cores + 2).map(|_| Mutex::default()).collect();
        Arc::new(Self {
            config,
            medium,
            wake,
            log: Mutex::new(log),
            index: RwLock::new(index),
            queues,
            changed: Condvar::new(),
            upkeep: Condvar::new(),
            maintenance: Mutex::new(()),
            outside: Mutex::new(0),
            reopened: AtomicBool::new(false),
            faulted: AtomicBool::new(false),
            faults_seen: AtomicU32::new(0),
            stopped_by: Mutex::new(None),
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
        let batch = Batch::One(space.into(), ops);
        self.admit(batch)?;
        self.submit_batch(core, token, now, batch, sync)
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
        self.admit(Batch::Across(ops))?;
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
        if !log.stalled.is_empty() && log.stopped.is_none() && log.queued_bytes + bytes <= QUEUE_BYTES_MAX {
            // Nobody overtakes.
            log.stall(Stalled::new(&Waiter { core, completion }, now, batch, sync, bytes));
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
            let rests_on = if self.config.planted.conflict_at_once { 0 } else { decided.rests_on };
            self.answer_after(log, rests_on, Waiter { core, completion });
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
                // Without sync, too, while readers still see the key: whoever reads after the answer must not.
                let waits = sync
                    || (!self.config.planted.absent_at_once && self.read_index().exists(now, space, key));
                let rests_on = pending.filter(|_| waits).map_or(0, |p| p.sequence);
                self.answer_after(log, rests_on, Waiter { core, completion });
                return Ok(());
            }
        }
        let removes = batch.iter().all(|(_, op)| matches!(op, Op::Del { .. } | Op::Cas { new: None, .. }));
        let reserve = removes && log.no_space;
        if !log.make_room(bytes, reserve) {
            if !log.no_space && !self.config.busy_at_once {
                log.stall(Stalled::new(&Waiter { core, completion }, now, batch, sync, bytes));
                drop(log);
                self.notify();
                return Ok(());
            }
            let why = if log.no_space { Unavailable::NoSpace } else { Unavailable::Busy };
            drop(log);
            self.notify();
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
            self.notify();
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
    /// [`Error::Corrupt`] if its record is damaged; [`Error::Io`] if the medium can't read it, and then
    /// [`Error::Unavailable`] until the folder was opened again.
    pub fn get(
        &self,
        now: Timestamp,
        space: impl Into<Space>,
        key: &[u8],
    ) -> Result<Option<ValueRef>, Error> {
        Ok(self.get_with_expiry(now, space, key)?.map(|(value, _)| value))
    }

    /// As [`Store::get`], with the time from which on the key is absent.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn get_with_expiry(
        &self,
        now: Timestamp,
        space: impl Into<Space>,
        key: &[u8],
    ) -> Result<Option<(ValueRef, Option<Timestamp>)>, Error> {
        self.look_for_faults()?;
        let space = space.into();
        let found = self.read_index().get(now, space, key)?;
        let Some(mut found) = found else { return Ok(None) };
        match found.settle(space) {
            Ok(()) => Ok(Some((found.value, found.expires))),
            Err(error) => Err(self.failed(error)),
        }
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
    /// As [`Store::get`].
    pub fn scan(
        &self,
        now: Timestamp,
        space: impl Into<Space>,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page, Error> {
        let mut rows = Rows::new();
        self.rows(now, space.into(), prefix, after, 0, limit, &mut rows)?;
        Ok(rows.into_page())
    }

    /// As [`Store::scan`], into `rows`, whose memory it uses again: the quickest way to read many values.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn scan_rows(
        &self,
        now: Timestamp,
        space: impl Into<Space>,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        rows: &mut Rows,
    ) -> Result<(), Error> {
        self.rows(now, space.into(), prefix, after, 0, limit, rows)
    }

    /// Up to `limit` keys that begin with `prefix`, ascending, without the first
    /// `offset`. Costs O(offset).
    ///
    /// # Errors
    /// [`Refused::OffsetTooLarge`]; as [`Store::get`].
    pub fn iterate(
        &self,
        now: Timestamp,
        space: impl Into<Space>,
        prefix: &[u8],
        offset: usize,
        limit: usize,
    ) -> Result<Page, Error> {
        let mut rows = Rows::new();
        self.iterate_rows(now, space, prefix, offset, limit, &mut rows)?;
        Ok(rows.into_page())
    }

    /// As [`Store::iterate`], into `rows`, whose memory it uses again.
    ///
    /// # Errors
    /// As [`Store::iterate`].
    pub fn iterate_rows(
        &self,
        now: Timestamp,
        space: impl Into<Space>,
        prefix: &[u8],
        offset: usize,
        limit: usize,
        rows: &mut Rows,
    ) -> Result<(), Error> {
        if offset > ITERATE_OFFSET_MAX {
            return Err(Error::Refused(Refused::OffsetTooLarge { offset }));
        }
        self.rows(now, space.into(), prefix, None, offset, limit, rows)
    }

    #[expect(clippy::too_many_arguments, reason = "what a page is made of")]
    fn rows(
        &self,
        now: Timestamp,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        skip: usize,
        limit: usize,
        rows: &mut Rows,
    ) -> Result<(), Error> {
        self.look_for_faults()?;
        self.read_index().rows(now, space, prefix, after, skip, limit.min(PAGE_ITEMS_MAX), rows);
        rows.settle(space).map_err(|error| {
            rows.clear();
            self.failed(error)
        })
    }

    /// Why the store stopped, the first time this is asked after it did: a line for the log.
    #[must_use]
    pub fn take_stop_reason(&self) -> Option<String> {
        lock(&self.stopped_by).take()
    }

    /// Refuses to answer from a store whose files couldn't be read. Two loads, unless some map of the process has faulted
    /// since the last call.
    fn look_for_faults(&self) -> Result<(), Error> {
        let count = fault::count();
        if count != self.faults_seen.load(Ordering::Acquire) {
            let failed = self.read_index().segments().find_map(|(segment, _)| segment.fault());
            self.faults_seen.store(count, Ordering::Release);
            if let Some(error) = failed {
                self.stop(&error);
            }
        }
        if self.faulted.load(Ordering::Acquire) {
            return Err(Error::Unavailable(Unavailable::Poisoned));
        }
        Ok(())
    }

    /// A read has failed: if the medium is to blame the store stops. No lock is held.
    fn failed(&self, error: Error) -> Error {
        if matches!(error, Error::Io { .. }) && fault::count() != self.faults_seen.load(Ordering::Acquire) {
            let _ = self.look_for_faults();
        }
        error
    }

    fn stop(&self, error: &Error) {
        if !self.faulted.swap(true, Ordering::AcqRel) {
            *lock(&self.stopped_by) = Some(error.to_string());
            self.poison(self.lock_log(), self.maintenance_core());
        }
    }

    /// The folder was opened again: its maps are new.
    pub(crate) fn forget_faults(&self) {
        self.faults_seen.store(fault::count(), Ordering::Release);
        self.faulted.store(false, Ordering::Release);
    }

    /// Why writes are refused now, if they are.
    #[must_use]
    pub fn unavailable(&self) -> Option<Unavailable> {
        let log = self.lock_log();
        log.stopped.or(if log.no_space && log.spares.len() <= log.reserve {
            Some(Unavailable::NoSpace)
        } else {
            None
        })
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
        match self.upkeep.wait_timeout_while(log, timeout, |log| self.is_idle(log)) {
            Ok((_, result)) => !result.timed_out(),
            Err(_) => true,
        }
    }

    /// Nothing for [`Store::maintain`] to do.
    fn is_idle(&self, log: &Log) -> bool {
        log.spares.len() >= self.config.spares()
            && log.wanted_bytes == 0
            && !log.rolled
            && log.stalled.is_empty()
            && !log.unchecked
            && !log.is_stopped()
    }

    /// Something has changed for whoever waits for a commit, and for maintenance.
    fn notify(&self) {
        self.changed.notify_all();
        self.upkeep.notify_all();
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
        self.refuse_stalled(Unavailable::Closed);
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

    /// Waits until a commit has finished, or `timeout` is over.
    pub(crate) fn wait_for_change(&self, timeout: Duration) {
        let log = self.lock_log();
        if log.in_flight.is_some() || !log.stalled.is_empty() {
            drop(self.changed.wait_timeout(log, timeout));
        }
    }

    /// The queue of whoever does maintenance.
    pub(crate) fn maintenance_core(&self) -> CoreId {
        CoreId(self.config.cores)
    }

    // ------------------------------------------------------------ inside

    /// Checks the limits; the batch's encoded bytes, at most.
    fn measure(&self, batch: Batch<'_>) -> Result<usize, Refused> {
        let bytes_max = BATCH_BYTES_MAX;
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
                Op::Incr { .. } => INTEGER_BYTES,
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
                // Whatever isn't pending is in the index: it enters there before it ceases to be pending.
                let found: Result<Option<Found>, Error> = self.read_index().get(now, space, key);
                let found = found.and_then(|mut found| {
                    // What this meets the next read sees, which has no lock: it stops the store.
                    found.as_mut().map_or(Ok(()), |found| found.settle(space))?;
                    Ok(found)
                });
                match found {
                    Ok(found) => stored = found,
                    Err(_) => {
                        decided.outcome = Outcome::Unknown;
                        return decided;
                    }
                }
                match &stored {
                    Some(found) => (Some(&*found.value), found.expires),
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
        let from = group.entries.partition_point(|e| e.sequence < first);
        let mut index = self.write_index();
        for entry in &group.entries[from..] {
            let change = match (&entry.value, &entry.change) {
                (Some(value), Change::Stored { expires, .. }) => {
                    Change::Unsynced { value: Arc::clone(value), expires: *expires }
                }
                _ => Change::UnsyncedDelete,
            };
            index.apply(entry.space, &entry.key, entry.sequence, change);
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
        // Readers get their turn between batches, however large the group is.
        let mut rest = &entries[..];
        while !rest.is_empty() {
            let mut index = self.write_index();
            if !index.has_segment(segment.header.id) {
                index.add_segment(&segment);
            }
            let mut count = 0;
            for entry in rest {
                index.apply(entry.space, &entry.key, entry.sequence, entry.change.clone());
                count += 1;
                if count >= APPLY_RECORDS && entry.last {
                    break;
                }
            }
            rest = &rest[count..];
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
        // Its segment is on disk now: it gets a hint.
        log.rolled |= segment.header.id != log.active.header.id;
        log.stats.commits += 1;
        log.stats.bytes += bytes as u64;
        buffer.clear();
        if buffer.capacity() <= 2 * GROUP_BYTES_MAX && buffer.capacity() > log.spare_buffer.capacity() {
            log.spare_buffer = buffer;
        }
        let due = !self.is_idle(&log);
        drop(log);
        self.changed.notify_all();
        if due {
            self.upkeep.notify_all();
        }
        for waiter in group.waiters {
            self.complete(core, waiter.core, waiter.completion);
        }
    }

    /// What was in flight is unknown; what waited behind it never happens.
    pub(crate) fn poison(&self, mut log: MutexGuard<'_, Log>, core: CoreId) {
        log.stopped = Some(Unavailable::Poisoned);
        let in_flight = log.in_flight.take();
        let groups = std::mem::take(&mut log.groups);
        log.queued_bytes = 0;
        drop(log);
        self.notify();
        self.refuse_stalled(Unavailable::Poisoned);
        let unknown = in_flight.into_iter().map(|g| (g, Outcome::Unknown));
        let never = groups.into_iter().map(|g| (g, Outcome::Unavailable(Unavailable::Poisoned)));
        for (group, outcome) in unknown.chain(never) {
            for waiter in group.waiters {
                let completion = Completion { outcome, number: None, ..waiter.completion };
                self.complete(core, waiter.core, completion);
            }
        }
    }

    /// Has every core look for answers and for something to write.
    pub(crate) fn wake_all(&self) {
        for core in 0..self.config.cores {
            self.wake.wake(CoreId(core));
        }
    }

    /// Queues an answer; wakes its core if that isn't the one at work here.
    pub(crate) fn complete(&self, here: CoreId, core: CoreId, completion: Completion) {
        let was_empty = {
            let mut queue = lock(&self.queues[usize::from(core.0)]);
            queue.push(completion);
            queue.len() == 1
        };
        if was_empty && core != here && core.0 < self.config.cores {
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
