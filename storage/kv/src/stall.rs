//! Batches that wait for a segment: there was no room in the log's, and the next wasn't prepared yet.
//!
//! They keep their order, and whoever comes later waits behind them; [`crate::Store::maintain`] submits them
//! again when it has prepared a segment, or answers that the disk is full. What they hold counts as waiting
//! for the disk ([`crate::QUEUE_BYTES_MAX`]).

use forebay_base::{CoreId, Timestamp};

use crate::api::{Batch, Completion, Op, Outcome, Unavailable};
use crate::log::{Log, Waiter};
use crate::space::Space;
use crate::store::Store;

/// A batch that owns its bytes.
#[derive(Debug)]
pub(crate) struct Stalled {
    core: CoreId,
    token: u64,
    now: Timestamp,
    ops: Vec<(Space, Owned)>,
    sync: bool,
    /// Encoded, at most.
    pub(crate) bytes: usize,
}

#[derive(Debug)]
enum Owned {
    Set(Box<[u8]>, Box<[u8]>, Option<Timestamp>),
    Del(Box<[u8]>),
    Snx(Box<[u8]>, Box<[u8]>, Option<Timestamp>),
    Cas(Box<[u8]>, Option<Box<[u8]>>, Option<Box<[u8]>>, Option<Timestamp>),
    Incr(Box<[u8]>, i64),
}

impl Owned {
    fn new(op: &Op<'_>) -> Self {
        match *op {
            Op::Set { key, value, expires } => Self::Set(key.into(), value.into(), expires),
            Op::Del { key } => Self::Del(key.into()),
            Op::Snx { key, value, expires } => Self::Snx(key.into(), value.into(), expires),
            Op::Cas { key, expected, new, expires } => {
                Self::Cas(key.into(), expected.map(Into::into), new.map(Into::into), expires)
            }
            Op::Incr { key, by } => Self::Incr(key.into(), by),
        }
    }

    fn borrow(&self) -> Op<'_> {
        match self {
            Self::Set(key, value, expires) => Op::Set { key, value, expires: *expires },
            Self::Del(key) => Op::Del { key },
            Self::Snx(key, value, expires) => Op::Snx { key, value, expires: *expires },
            Self::Cas(key, expected, new, expires) => {
                Op::Cas { key, expected: expected.as_deref(), new: new.as_deref(), expires: *expires }
            }
            Self::Incr(key, by) => Op::Incr { key, by: *by },
        }
    }
}

impl Stalled {
    pub(crate) fn new(waiter: &Waiter, now: Timestamp, batch: Batch<'_>, sync: bool, bytes: usize) -> Self {
        let ops = batch.iter().map(|(space, op)| (space, Owned::new(&op))).collect();
        Self { core: waiter.core, token: waiter.completion.token, now, ops, sync, bytes }
    }
}

impl Log {
    pub(crate) fn stall(&mut self, stalled: Stalled) {
        self.queued_bytes += stalled.bytes;
        self.stalled.push_back(stalled);
    }
}

impl Store {
    /// Batches wait for a segment: [`Store::maintain`] prepares one.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        !self.lock_log().stalled.is_empty()
    }

    /// Submits what has stalled again; the rest goes on waiting.
    pub(crate) fn resume_stalled(&self) {
        let waiting = {
            let mut log = self.lock_log();
            let waiting = std::mem::take(&mut log.stalled);
            log.queued_bytes -= waiting.iter().map(|s| s.bytes).sum::<usize>();
            waiting
        };
        for stalled in waiting {
            let ops: Vec<(Space, Op<'_>)> =
                stalled.ops.iter().map(|(space, op)| (*space, op.borrow())).collect();
            let (core, token) = (stalled.core, stalled.token);
            // Its limits were checked when it came.
            let _ = self.submit_batch(core, token, stalled.now, Batch::Across(&ops), stalled.sync);
        }
        // Whoever they belong to may sleep, with nobody to write.
        self.wake_all();
    }

    /// Nothing of what has stalled happens.
    pub(crate) fn refuse_stalled(&self, why: Unavailable) {
        let waiting = {
            let mut log = self.lock_log();
            let waiting = std::mem::take(&mut log.stalled);
            log.queued_bytes = log.queued_bytes.saturating_sub(waiting.iter().map(|s| s.bytes).sum());
            waiting
        };
        for stalled in waiting {
            let outcome = Outcome::Unavailable(why);
            let completion = Completion { token: stalled.token, outcome, number: None };
            self.complete(self.maintenance_core(), stalled.core, completion);
        }
    }
}
