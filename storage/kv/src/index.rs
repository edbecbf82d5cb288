//! Where every key's value is: per keyspace a tree of slots ([`crate::tree`]) and what a slot has no room for.
//!
//! One index under one read-write lock: a batch is applied under one hold, so
//! nobody sees half of it, and a page of a scan is a snapshot. Nobody sleeps or does
//! I/O under it: a lookup names where a value lies, and the value is read after the lock is released.
//!
//! A slot that is stored has no sequence: its place in the log says what came later.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use forebay_base::Timestamp;
use hashbrown::DefaultHashBuilder;

use crate::api::Error;
use crate::key::Key;
use crate::load::{Chunk, merge};
use crate::record::record_bytes;
use crate::rows::{Rows, value_start};
use crate::segment::{Segment, ValueRef};
use crate::space::Space;
use crate::tree::{Builder, Slot, State, Tree};

/// What a record makes of its key.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// The value is in a segment.
    Stored { segment: u32, offset: u32, value_len: u32, expires: Option<Timestamp> },
    /// The key was removed, and that is in a segment.
    Deleted { segment: u32 },
    /// Acknowledged without sync: the value is only in memory yet.
    Unsynced { value: Arc<[u8]>, expires: Option<Timestamp> },
    /// A removal that was acknowledged without sync.
    UnsyncedDelete,
}

/// Values that were acknowledged without sync and aren't on disk yet, with the sequence of their record:
/// an older one, which reaches the disk later than a younger was shown, doesn't undo that.
#[derive(Debug, Default)]
struct Memory {
    /// `None`: the key was removed.
    values: Vec<(u64, Option<Arc<[u8]>>)>,
    free: Vec<u32>,
}

impl Memory {
    fn insert(&mut self, sequence: u64, value: Option<Arc<[u8]>>) -> u32 {
        if let Some(place) = self.free.pop() {
            self.values[place as usize] = (sequence, value);
            return place;
        }
        self.values.push((sequence, value));
        // What waits for the disk is bounded: it is never that many.
        u32::try_from(self.values.len() - 1).unwrap_or(u32::MAX)
    }

    fn remove(&mut self, place: u32) {
        self.values[place as usize] = (0, None);
        self.free.push(place);
    }
}

#[derive(Debug)]
struct Keyspace {
    tree: Tree,
    memory: Memory,
    /// By the number of the slot; follows the slots when they move.
    expires: HashMap<u32, Timestamp>,
    by_expiry: BTreeSet<(Timestamp, u32)>,
    /// Bytes of keys and values.
    bytes: u64,
}

/// The segments that the index points into, by id. Replaced and not changed while a page has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// Id of the first entry.
    first: u32,
    segments: Vec<Option<Arc<Segment>>>,
}

impl Table {
    pub(crate) fn get(&self, id: u32) -> Option<&Arc<Segment>> {
        self.segments.get(id.checked_sub(self.first)? as usize)?.as_ref()
    }
}

/// What a segment's bytes are good for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Bytes of records that the index points to.
    pub(crate) live: u64,
    /// Bytes of removals: needed while an older segment may have the key.
    pub(crate) removals: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    spaces: HashMap<Space, Keyspace>,
    table: Arc<Table>,
    /// Of the table's entries.
    usage: Vec<Usage>,
    hasher: DefaultHashBuilder,
}

/// A key that is there: where its value lies. Read after the index's lock is released ([`Found::settle`]).
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) value: ValueRef,
    pub(crate) expires: Option<Timestamp>,
    /// In its segment, if it is in one whose records haven't been checked yet.
    unchecked: Option<Slot>,
}

impl Found {
    /// Makes the value readable; checks its record if nobody has.
    pub(crate) fn settle(&mut self, space: Space) -> Result<(), Error> {
        self.value.settle(space, self.unchecked.take().as_ref())
    }
}

/// One key and its value.
#[derive(Clone, Debug)]
pub struct Item {
    key: Key,
    /// The value.
    pub value: ValueRef,
}

impl Item {
    pub(crate) fn new(key: Key, value: ValueRef) -> Self {
        Self { key, value }
    }

    /// The user's key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

/// Part of a scan: a consistent snapshot of one moment, keys ascending bytewise.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// At most the limit that was asked for, and [`crate::PAGE_ITEMS_MAX`].
    pub items: Vec<Item>,
    /// There may be more after the last item's key.
    pub more: bool,
}

impl Index {
    /// The index that a log's records make: `chunks` have them sorted, each for itself.
    pub(crate) fn load(&mut self, chunks: Vec<Chunk>, threads: usize) {
        let mut expiries = HashMap::new();
        let mut spaces: BTreeMap<Space, Vec<Vec<Slot>>> = BTreeMap::new();
        for chunk in chunks {
            expiries.extend(chunk.expiries);
            for (id, bytes) in chunk.removals {
                self.change_usage(id, |usage| usage.removals += bytes);
            }
            for (space, slots) in chunk.spaces {
                spaces.entry(space).or_default().push(slots);
            }
        }
        for (space, lists) in spaces {
            let mut keyspace = Keyspace::new(&self.hasher);
            let mut builder = Builder::new(self.hasher.clone());
            merge(lists, |slot| {
                keyspace.bytes += slot.key.len() as u64 + u64::from(slot.value_len);
                let bytes = record_bytes(slot.key.len(), slot.value_len as usize, slot.expires());
                self.change_usage(slot.segment, |usage| usage.live += bytes as u64);
                let at = if slot.expires() { expiries.get(&slot.position()) } else { None };
                let number = builder.push(slot);
                if let Some(at) = at {
                    keyspace.expires.insert(number, *at);
                    keyspace.by_expiry.insert((*at, number));
                }
            });
            keyspace.tree = builder.finish(threads);
            if keyspace.tree.len() > 0 {
                self.spaces.insert(space, keyspace);
            }
        }
    }

    fn change_usage(&mut self, id: u32, change: impl FnOnce(&mut Usage)) {
        if let Some(place) = id.checked_sub(self.table.first)
            && let Some(usage) = self.usage.get_mut(place as usize)
        {
            change(usage);
        }
    }

    /// Makes a segment known.
    pub(crate) fn add_segment(&mut self, segment: &Arc<Segment>) {
        let id = segment.header.id;
        let table = Arc::make_mut(&mut self.table);
        if table.segments.is_empty() {
            table.first = id;
        }
        if let Some(missing) = table.first.checked_sub(id).map(|n| n as usize).filter(|n| *n > 0) {
            table.segments.splice(0..0, std::iter::repeat_n(None, missing));
            self.usage.splice(0..0, std::iter::repeat_n(Usage::default(), missing));
            table.first = id;
        }
        let place = (id - table.first) as usize;
        if table.segments.len() <= place {
            table.segments.resize(place + 1, None);
            self.usage.resize(place + 1, Usage::default());
        }
        table.segments[place] = Some(Arc::clone(segment));
        self.usage[place] = Usage::default();
    }

    pub(crate) fn has_segment(&self, id: u32) -> bool {
        self.table.get(id).is_some()
    }

    pub(crate) fn remove_segment(&mut self, id: u32) {
        let table = Arc::make_mut(&mut self.table);
        if let Some(place) = id.checked_sub(table.first).map(|p| p as usize)
            && let Some(entry) = table.segments.get_mut(place)
        {
            *entry = None;
        }
        let gone = table.segments.iter().take_while(|entry| entry.is_none()).count();
        table.segments.drain(..gone);
        self.usage.drain(..gone);
        table.first += u32::try_from(gone).unwrap_or(0);
    }

    /// Every segment with what it is good for, ids ascending.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (&Arc<Segment>, Usage)> {
        let both = self.table.segments.iter().zip(&self.usage);
        both.filter_map(|(segment, usage)| segment.as_ref().map(|segment| (segment, *usage)))
    }

    /// Keys and tombstones that are held; expired ones count.
    pub(crate) fn len(&self) -> usize {
        self.spaces.values().map(|k| k.tree.len()).sum()
    }

    /// Keys and bytes of keys and values in a keyspace; expired ones count until they are removed.
    pub(crate) fn used(&self, space: Space) -> (u64, u64) {
        self.spaces.get(&space).map_or((0, 0), |k| (k.tree.len() as u64, k.bytes))
    }

    /// Bytes of the value of a key that is there, expired or not.
    pub(crate) fn value_len(&self, space: Space, key: &[u8]) -> Option<usize> {
        let (keyspace, number) = self.lookup(space, key)?;
        let slot = keyspace.tree.get(number);
        (slot.state() != State::Gone).then_some(slot.value_len as usize)
    }

    /// Up to `limit` keys that have expired at `now`.
    pub(crate) fn expired(&self, now: Timestamp, limit: usize) -> Vec<(Space, Key)> {
        let keys = self.spaces.iter().flat_map(|(space, keyspace)| {
            let due = keyspace.by_expiry.iter().take_while(move |(at, _)| *at <= now);
            due.map(|(_, number)| (*space, keyspace.tree.get(*number).key.clone()))
        });
        keys.take(limit).collect()
    }

    fn lookup(&self, space: Space, key: &[u8]) -> Option<(&Keyspace, u32)> {
        let keyspace = self.spaces.get(&space)?;
        Some((keyspace, keyspace.tree.find(key)?))
    }

    /// The stored record of a key, if it is current
    /// (compaction asks whether a record is live): its segment and offset.
    pub(crate) fn stored_at(&self, space: Space, key: &[u8]) -> Option<(u32, u32)> {
        let (keyspace, number) = self.lookup(space, key)?;
        let slot = keyspace.tree.get(number);
        (slot.state() == State::Stored).then_some(slot.position())
    }

    /// The key has a slot, whatever its state.
    pub(crate) fn knows(&self, space: Space, key: &[u8]) -> bool {
        self.lookup(space, key).is_some()
    }

    /// Applies a record, unless a younger one is shown already that isn't on disk.
    pub(crate) fn apply(&mut self, space: Space, key: &Key, sequence: u64, change: Change) {
        if let Change::Deleted { segment } = change {
            let bytes = record_bytes(key.len(), 0, false) as u64;
            self.change_usage(segment, |usage| usage.removals += bytes);
        }
        let hasher = &self.hasher;
        let keyspace = self.spaces.entry(space).or_insert_with(|| Keyspace::new(hasher));
        let found = keyspace.tree.find(key);
        let mut freed = None;
        if let Some(number) = found {
            let old = keyspace.tree.get(number);
            if old.state() != State::Stored {
                // Equal: the record of an unsynced write arrives on disk.
                if keyspace.memory.values.get(old.memory() as usize).is_some_and(|(at, _)| *at > sequence) {
                    return;
                }
                keyspace.memory.remove(old.memory());
            } else {
                let bytes = record_bytes(key.len(), old.value_len as usize, old.expires()) as u64;
                freed = Some((old.segment, bytes));
            }
            let (expires, value_len) = (old.expires(), old.value_len);
            keyspace.bytes -= u64::from(value_len);
            if expires && let Some(at) = keyspace.expires.remove(&number) {
                keyspace.by_expiry.remove(&(at, number));
            }
        }
        let (slot, expires) = match change {
            Change::Deleted { .. } => {
                if let Some(number) = found {
                    keyspace.bytes -= key.len() as u64;
                    let Keyspace { tree, expires, by_expiry, .. } = keyspace;
                    tree.remove(number, &mut |old, new| renumber(expires, by_expiry, old, new));
                }
                if let Some((segment, bytes)) = freed {
                    self.change_usage(segment, |usage| usage.live -= bytes);
                }
                return;
            }
            Change::Stored { segment, offset, value_len, expires } => {
                (Slot::stored(key.clone(), segment, offset, value_len, expires.is_some()), expires)
            }
            Change::Unsynced { value, expires } => {
                let value_len = u32::try_from(value.len()).unwrap_or(u32::MAX);
                let place = keyspace.memory.insert(sequence, Some(value));
                (Slot::unsynced(key.clone(), State::Memory, place, value_len, expires.is_some()), expires)
            }
            Change::UnsyncedDelete => {
                let place = keyspace.memory.insert(sequence, None);
                (Slot::unsynced(key.clone(), State::Gone, place, 0, false), None)
            }
        };
        keyspace.bytes += u64::from(slot.value_len);
        let stored = (slot.state() == State::Stored)
            .then(|| (slot.segment, record_bytes(key.len(), slot.value_len as usize, slot.expires()) as u64));
        let number = match found {
            Some(number) => {
                *keyspace.tree.get_mut(number) = slot;
                number
            }
            None => {
                keyspace.bytes += key.len() as u64;
                let Keyspace { tree, expires, by_expiry, .. } = keyspace;
                tree.insert(slot, &mut |old, new| renumber(expires, by_expiry, old, new))
            }
        };
        if let Some(at) = expires {
            keyspace.expires.insert(number, at);
            keyspace.by_expiry.insert((at, number));
        }
        if let Some((segment, bytes)) = freed {
            self.change_usage(segment, |usage| usage.live -= bytes);
        }
        if let Some((segment, bytes)) = stored {
            self.change_usage(segment, |usage| usage.live += bytes);
        }
    }

    /// Where the value is and its expiry, if the key is there and not expired at `now`.
    pub(crate) fn get(&self, now: Timestamp, space: Space, key: &[u8]) -> Result<Option<Found>, Error> {
        let Some((keyspace, number)) = self.lookup(space, key) else { return Ok(None) };
        let slot = keyspace.tree.get(number);
        let Some(expires) = keyspace.visible(now, number, slot) else { return Ok(None) };
        if slot.state() == State::Memory
            && let Some(value) = keyspace.memory.values.get(slot.memory() as usize).and_then(|v| v.1.as_ref())
        {
            let value = ValueRef::owned(Arc::clone(value));
            return Ok(Some(Found { value, expires, unchecked: None }));
        }
        let Some(segment) = self.table.get(slot.segment) else { return Err(no_segment(slot)) };
        let start = u32::try_from(value_start(slot)).unwrap_or(u32::MAX);
        let value = ValueRef::in_segment(segment, start, slot.value_len);
        let unchecked = (!segment.is_checked()).then(|| slot.clone());
        Ok(Some(Found { value, expires, unchecked }))
    }

    pub(crate) fn exists(&self, now: Timestamp, space: Space, key: &[u8]) -> bool {
        self.lookup(space, key)
            .and_then(|(keyspace, number)| keyspace.visible(now, number, keyspace.tree.get(number)))
            .is_some()
    }

    /// Keys that begin with `prefix` and come after `after`, without the first
    /// `skip` of them, at most `limit`: and whether there are more.
    #[expect(clippy::too_many_arguments, reason = "what a page is made of")]
    pub(crate) fn rows(
        &self,
        now: Timestamp,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        skip: usize,
        limit: usize,
        rows: &mut Rows,
    ) {
        rows.begin(&self.table, limit);
        let Some(keyspace) = self.spaces.get(&space) else { return };
        let behind = Key::behind(prefix);
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(Key::new(after)),
            _ => Bound::Included(Key::new(prefix)),
        };
        let (mut skip, mut left) = (skip, limit);
        for (number, slot) in keyspace.tree.walk(from.as_ref(), behind.as_ref()) {
            if keyspace.visible(now, number, slot).is_none() {
                continue;
            }
            if skip > 0 {
                skip -= 1;
                continue;
            }
            if left == 0 {
                rows.end(true);
                return;
            }
            left -= 1;
            if slot.state() == State::Memory {
                let value = keyspace.memory.values.get(slot.memory() as usize).and_then(|v| v.1.clone());
                rows.push_owned(slot, value.unwrap_or_default());
            } else {
                if let Some(segment) = self.table.get(slot.segment) {
                    segment.prefetch(value_start(slot), slot.value_len as usize);
                }
                rows.push(slot);
            }
        }
    }
}

/// A slot names a segment that was removed: our bug, reported and not hidden.
pub(crate) fn no_segment(slot: &Slot) -> Error {
    let (file, offset) = (Segment::name_of(slot.segment), u64::from(slot.offset()));
    Error::Corrupt { file, offset, expected: "a segment in the index" }
}

/// A slot with an expiry has moved.
fn renumber(
    expires: &mut HashMap<u32, Timestamp>,
    by_expiry: &mut BTreeSet<(Timestamp, u32)>,
    old: u32,
    new: u32,
) {
    if let Some(at) = expires.remove(&old) {
        by_expiry.remove(&(at, old));
        expires.insert(new, at);
        by_expiry.insert((at, new));
    }
}

impl Keyspace {
    fn new(hasher: &DefaultHashBuilder) -> Self {
        Self {
            tree: Tree::new(hasher.clone()),
            memory: Memory::default(),
            expires: HashMap::new(),
            by_expiry: BTreeSet::new(),
            bytes: 0,
        }
    }

    /// The expiry of a slot that is there at `now`; `None` if it isn't.
    #[expect(clippy::option_option, reason = "there or not, and if there with or without expiry")]
    fn visible(&self, now: Timestamp, number: u32, slot: &Slot) -> Option<Option<Timestamp>> {
        if slot.state() == State::Gone {
            return None;
        }
        if !slot.expires() {
            return Some(None);
        }
        match self.expires.get(&number) {
            Some(&at) if at <= now => None,
            at => Some(at.copied()),
        }
    }
}
