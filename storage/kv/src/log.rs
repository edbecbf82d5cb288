//! The log's end: what is appended where, what waits for the disk, and what is left for it.
//!
//! ```text
//!   append ──> groups (the last one is open) ──> in flight ──> on disk
//!              segment: active ──seal──> the first spare; behind the spares lies the reserve
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use forebay_base::{CoreId, Timestamp};
use hashbrown::DefaultHashBuilder;

use crate::api::{Batch, Completion, Config, GROUP_BYTES_MAX, Op, QUEUE_BYTES_MAX, Unavailable};
use crate::index::Change;
use crate::key::Key;
use crate::record::{self, Fields, Kind, SEAL_BYTES, SEGMENT_HEADER_BYTES, Seeds};
use crate::segment::Segment;
use crate::space::Space;
use crate::stall::Stalled;
use crate::store::Stats;

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
    /// Segments that were opened by their hints are still to be checked.
    pub(crate) unchecked: bool,
    /// The last preparation failed for want of space.
    pub(crate) no_space: bool,
    /// Spares behind which only removals and compaction may go.
    pub(crate) reserve: usize,
    /// A planted bug.
    no_seal: bool,
    /// Encoded bytes of a batch that no spare is large enough for; 0 if none waits.
    pub(crate) wanted_bytes: usize,
    /// Spares that were passed over, to be removed.
    pub(crate) discarded: Vec<Arc<Segment>>,
    /// Batches that wait for a segment, oldest first.
    pub(crate) stalled: VecDeque<Stalled>,
    /// Groups not yet handed out, oldest first; the last one is open.
    pub(crate) groups: VecDeque<Group>,
    /// The group that is being written. Its bytes are in the job.
    pub(crate) in_flight: Option<Group>,
    /// Bytes in `groups` and in flight.
    pub(crate) queued_bytes: usize,
    /// The youngest record of every key that has one which isn't durable yet.
    pub(crate) pending: HashMap<(Space, Key), Pending, DefaultHashBuilder>,
    /// A buffer to reuse.
    pub(crate) spare_buffer: Vec<u8>,
    pub(crate) stats: Stats,
}

#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) sequence: u64,
    /// `None`: removed.
    pub(crate) value: Option<Arc<[u8]>>,
    pub(crate) expires: Option<Timestamp>,
}

/// Records that reach the disk in one write.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) segment: Arc<Segment>,
    pub(crate) start: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) first_sequence: u64,
    pub(crate) last_sequence: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) waiters: Vec<Waiter>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) space: Space,
    pub(crate) key: Key,
    pub(crate) sequence: u64,
    /// The last of its batch.
    pub(crate) last: bool,
    pub(crate) change: Change,
    /// `None`: removed.
    pub(crate) value: Option<Arc<[u8]>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    pub(crate) core: CoreId,
    pub(crate) completion: Completion,
}

#[derive(Debug)]
pub(crate) struct Number {
    /// Index of the operation in its batch.
    pub(crate) op: usize,
    pub(crate) sum: i64,
    pub(crate) value: Vec<u8>,
    pub(crate) expires: Option<Timestamp>,
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
    pub(crate) fn new(end: End, config: &Config) -> Self {
        Self {
            stopped: None,
            next_sequence: end.next_sequence,
            epoch: end.epoch,
            seeds: end.active.seeds(end.epoch_active),
            active: end.active,
            offset: end.offset,
            spares: end.spares,
            next_segment: end.next_segment,
            // Maintenance looks what the open left to do.
            rolled: true,
            unchecked: false,
            no_space: false,
            reserve: config.reserve_segments,
            no_seal: config.planted.no_seal,
            wanted_bytes: 0,
            discarded: Vec::new(),
            stalled: VecDeque::new(),
            groups: VecDeque::new(),
            in_flight: None,
            queued_bytes: 0,
            pending: HashMap::default(),
            spare_buffer: Vec::new(),
            stats: Stats::default(),
        }
    }

    pub(crate) fn refuses(&self, bytes: usize) -> Option<Unavailable> {
        self.stopped.or((self.queued_bytes + bytes > QUEUE_BYTES_MAX).then_some(Unavailable::Busy))
    }

    /// Makes sure that the open group has room for `bytes` in its segment; rolls
    /// over to a spare segment if the active one hasn't. False if there is none: `reserve` says whether
    /// the reserve may be used.
    pub(crate) fn make_room(&mut self, bytes: usize, reserve: bool) -> bool {
        let free = (self.active.header.bytes - self.offset) as usize;
        if bytes + SEAL_BYTES <= free {
            return true;
        }
        let fits = |s: &Arc<Segment>| SEGMENT_HEADER_BYTES + bytes + SEAL_BYTES <= s.header.bytes as usize;
        // A batch larger than usual takes the segment that was made for it, wherever it stands.
        let large = !self.no_space && self.spares.front().is_some_and(|first| !fits(first));
        let all = self.spares.len();
        let usable = if reserve || large { all } else { all.saturating_sub(self.reserve) };
        // Their ids ascend, and the log goes on in that order: those that are too small are passed over for good.
        let Some(place) = self.spares.iter().take(usable).position(fits) else {
            if !self.spares.iter().any(fits) {
                self.wanted_bytes = self.wanted_bytes.max(bytes);
            }
            return false;
        };
        self.discarded.extend(self.spares.drain(..place));
        let Some(next) = self.spares.pop_front() else { return false };
        if !self.no_seal {
            self.append_seal();
        }
        self.seeds = next.seeds(next.header.epoch);
        self.active = next;
        self.rolled = true;
        self.offset = record::FIRST_RECORD;
        true
    }

    /// Seals the active segment, if anything was written to it, and goes on in the next. False if there is none.
    pub(crate) fn seal(&mut self) -> bool {
        if self.offset == record::FIRST_RECORD {
            return true;
        }
        let Some(next) = self.spares.pop_front() else { return false };
        self.append_seal();
        self.seeds = next.seeds(next.header.epoch);
        self.active = next;
        self.rolled = true;
        self.offset = record::FIRST_RECORD;
        true
    }

    fn append_seal(&mut self) {
        self.append_record(Fields {
            kind: Kind::Seal,
            last: true,
            expires: None,
            space: Space::from_bits(0),
            key: &[],
            value: &[],
        });
    }

    /// Appends the records of a batch whose conditions hold; [`Log::make_room`] was asked.
    pub(crate) fn append(&mut self, batch: Batch<'_>, numbers: &[Number]) {
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
        let value: Option<Arc<[u8]>> = value.map(Into::into);
        let pending = Pending { sequence, value: value.clone(), expires };
        self.pending.insert((space, key.clone()), pending);
        if let Some(group) = self.groups.back_mut() {
            group.entries.push(Entry { space, key, sequence, last, change, value });
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
    pub(crate) fn append_epoch(&mut self) {
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
    pub(crate) fn open_group(&mut self) {
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
    pub(crate) fn append_record(&mut self, fields: Fields<'_>) -> u32 {
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
