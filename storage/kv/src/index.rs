//! Where every key's value is: per keyspace a hash for single keys and an ordered
//! map for scans, both naming a slot, so that overwriting a key touches neither.
//!
//! ```text
//!   hash ──────┐
//!   (u32)      ├──> slot: key, sequence, segment, offset, length ──> record in a segment's map
//!   ordered ───┘
//!   (key, u32)
//! ```
//!
//! One index under one read-write lock: a batch is applied under one hold, so
//! nobody sees half of it, and a page of a scan is a snapshot. Nobody sleeps or does
//! I/O under it: a lookup names where a value lies, and the value is read after the lock is released.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::Arc;

use forebay_base::Timestamp;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::api::Error;
use crate::key::Key;
use crate::map::prefetch;
use crate::record::{record_bytes, value_offset};
use crate::segment::{Segment, ValueRef};
use crate::space::Space;

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

/// What the index knows of a key: 48 bytes.
#[derive(Clone, Debug)]
struct Slot {
    key: Key,
    /// Sequence of the record that made it so: an older one doesn't undo it.
    sequence: u64,
    segment: u32,
    /// Of the record; in state `Memory` the place in `Keyspace::memory`.
    offset: u32,
    value_len: u32,
    state: State,
    /// Its expiry is in `Keyspace::expires`.
    expires: bool,
}

const _: () = assert!(size_of::<Slot>() == 48);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Stored,
    /// The value is in `Keyspace::memory`.
    Memory,
    /// Removed without sync: absent, but older records must not bring it back.
    Gone,
}

/// Slots in pieces: growing moves none, and never holds twice the memory.
#[derive(Debug, Default)]
struct Slots {
    pieces: Vec<Vec<Slot>>,
}

const PIECE: usize = 4096;
/// Slots that a page fetches ahead of the one it looks at.
const AHEAD: usize = 8;

impl Slots {
    fn get(&self, number: u32) -> &Slot {
        &self.pieces[number as usize / PIECE][number as usize % PIECE]
    }

    fn get_mut(&mut self, number: u32) -> &mut Slot {
        &mut self.pieces[number as usize / PIECE][number as usize % PIECE]
    }

    fn push(&mut self, slot: Slot) -> u32 {
        if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        let before = (self.pieces.len() - 1) * PIECE;
        let number = match self.pieces.last_mut() {
            Some(piece) => {
                piece.push(slot);
                before + piece.len() - 1
            }
            None => before,
        };
        u32::try_from(number).unwrap_or_else(|_| unreachable!("4 billion keys are 400 GB of index"))
    }
}

/// Values that were acknowledged without sync and aren't on disk yet.
#[derive(Debug, Default)]
struct Memory {
    values: Vec<Option<Arc<[u8]>>>,
    free: Vec<u32>,
}

impl Memory {
    fn insert(&mut self, value: Arc<[u8]>) -> u32 {
        if let Some(place) = self.free.pop() {
            self.values[place as usize] = Some(value);
            return place;
        }
        self.values.push(Some(value));
        u32::try_from(self.values.len() - 1).unwrap_or(u32::MAX)
    }

    fn remove(&mut self, place: u32) {
        self.values[place as usize] = None;
        self.free.push(place);
    }
}

#[derive(Debug, Default)]
struct Keyspace {
    /// Slot numbers by the hash of their key. The hasher is seeded per process: tenants choose the keys.
    hash: HashTable<u32>,
    ordered: BTreeMap<Key, u32>,
    slots: Slots,
    free: Vec<u32>,
    memory: Memory,
    expires: HashMap<u32, Timestamp>,
    by_expiry: BTreeSet<(Timestamp, u32)>,
    /// Bytes of keys and values.
    bytes: u64,
}

/// The segments that the index points into, by id.
#[derive(Debug, Default)]
struct Segments {
    /// Id of the first entry.
    first: u32,
    entries: VecDeque<Option<(Arc<Segment>, Usage)>>,
}

/// What a segment's bytes are good for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Bytes of records that the index points to.
    pub(crate) live: u64,
    /// Bytes of removals: needed while an older segment may have the key.
    pub(crate) removals: u64,
}

impl Segments {
    fn usage(&mut self, id: u32) -> Option<&mut Usage> {
        let entry = self.entries.get_mut(id.checked_sub(self.first)? as usize)?;
        entry.as_mut().map(|(_, usage)| usage)
    }

    fn get(&self, id: u32) -> Option<&Arc<Segment>> {
        self.entries.get(id.checked_sub(self.first)? as usize)?.as_ref().map(|(segment, _)| segment)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    spaces: HashMap<Space, Keyspace>,
    segments: Segments,
    hasher: DefaultHashBuilder,
    /// The ordered maps aren't kept up: [`Index::order`] makes them at once.
    unordered: bool,
}

/// A key that is there: where its value lies.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) value: ValueRef,
    pub(crate) expires: Option<Timestamp>,
}

/// One key and its value.
#[derive(Clone, Debug)]
pub struct Item {
    key: Key,
    /// The value.
    pub value: ValueRef,
}

impl Item {
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

impl Page {
    /// Makes the values readable.
    pub(crate) fn resolve(mut self) -> Result<Self, Error> {
        for item in &mut self.items {
            item.value.resolve()?;
        }
        Ok(self)
    }
}

impl Index {
    /// For reading a log: keys get their order when [`Index::order`] is called.
    pub(crate) fn unordered() -> Self {
        Self { unordered: true, ..Self::default() }
    }

    /// Sorts the keys: building the maps from sorted keys costs a fraction of inserting one by one.
    pub(crate) fn order(&mut self) {
        self.unordered = false;
        for keyspace in self.spaces.values_mut() {
            let slots = &keyspace.slots;
            let mut keys: Vec<(Key, u32)> =
                keyspace.hash.iter().map(|number| (slots.get(*number).key.clone(), *number)).collect();
            keys.sort_unstable();
            keyspace.ordered = keys.into_iter().collect();
        }
    }

    /// Makes a segment known.
    pub(crate) fn add_segment(&mut self, segment: &Arc<Segment>) {
        let (segments, id) = (&mut self.segments, segment.header.id);
        if segments.entries.is_empty() {
            segments.first = id;
        }
        while id < segments.first {
            segments.entries.push_front(None);
            segments.first -= 1;
        }
        let place = (id - segments.first) as usize;
        while segments.entries.len() <= place {
            segments.entries.push_back(None);
        }
        segments.entries[place] = Some((Arc::clone(segment), Usage::default()));
    }

    pub(crate) fn has_segment(&self, id: u32) -> bool {
        self.segments.get(id).is_some()
    }

    pub(crate) fn remove_segment(&mut self, id: u32) {
        let segments = &mut self.segments;
        if let Some(place) = id.checked_sub(segments.first).map(|p| p as usize)
            && let Some(entry) = segments.entries.get_mut(place)
        {
            *entry = None;
        }
        while segments.entries.front().is_some_and(Option::is_none) {
            segments.entries.pop_front();
            segments.first += 1;
        }
    }

    /// Every segment with what it is good for, ids ascending.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (&Arc<Segment>, Usage)> {
        self.segments.entries.iter().flatten().map(|(segment, usage)| (segment, *usage))
    }

    /// Keys and tombstones that are held; expired ones count.
    pub(crate) fn len(&self) -> usize {
        self.spaces.values().map(|k| k.hash.len()).sum()
    }

    /// Keys and bytes of keys and values in a keyspace; expired ones count until they are removed.
    pub(crate) fn used(&self, space: Space) -> (u64, u64) {
        self.spaces.get(&space).map_or((0, 0), |k| (k.hash.len() as u64, k.bytes))
    }

    /// Bytes of the value of a key that is there, expired or not.
    pub(crate) fn value_len(&self, space: Space, key: &[u8]) -> Option<usize> {
        let (keyspace, number) = self.lookup(space, key)?;
        let slot = keyspace.slots.get(number);
        (slot.state != State::Gone).then_some(slot.value_len as usize)
    }

    /// Up to `limit` keys that have expired at `now`.
    pub(crate) fn expired(&self, now: Timestamp, limit: usize) -> Vec<(Space, Key)> {
        let keys = self.spaces.iter().flat_map(|(space, keyspace)| {
            let due = keyspace.by_expiry.iter().take_while(move |(at, _)| *at <= now);
            due.map(|(_, number)| (*space, keyspace.slots.get(*number).key.clone()))
        });
        keys.take(limit).collect()
    }

    fn lookup(&self, space: Space, key: &[u8]) -> Option<(&Keyspace, u32)> {
        let keyspace = self.spaces.get(&space)?;
        let hash = self.hasher.hash_one(key);
        let number = keyspace.hash.find(hash, |number| *keyspace.slots.get(*number).key == *key)?;
        Some((keyspace, *number))
    }

    /// The stored record of a key, if it is current
    /// (compaction asks whether a record is live): its segment and offset.
    pub(crate) fn stored_at(&self, space: Space, key: &[u8]) -> Option<(u32, u32)> {
        let (keyspace, number) = self.lookup(space, key)?;
        let slot = keyspace.slots.get(number);
        (slot.state == State::Stored).then_some((slot.segment, slot.offset))
    }

    /// The key has a slot, whatever its state.
    pub(crate) fn knows(&self, space: Space, key: &[u8]) -> bool {
        self.lookup(space, key).is_some()
    }

    /// Applies a record unless a younger one was applied before.
    pub(crate) fn apply(&mut self, space: Space, key: &Key, sequence: u64, change: Change) {
        if let Change::Deleted { segment } = change
            && let Some(usage) = self.segments.usage(segment)
        {
            usage.removals += record_bytes(key.len(), 0, false) as u64;
        }
        let keyspace = self.spaces.entry(space).or_default();
        let hash = self.hasher.hash_one(&**key);
        let found = keyspace.hash.find(hash, |number| keyspace.slots.get(*number).key == *key).copied();
        let number = match found {
            Some(number) => {
                let old = keyspace.slots.get(number);
                // Equal: the record of an unsynced write arrives on disk.
                if old.sequence > sequence {
                    return;
                }
                let (state, expires, offset) = (old.state, old.expires, old.offset);
                if state == State::Stored
                    && let Some(usage) = self.segments.usage(old.segment)
                {
                    usage.live -= record_bytes(key.len(), old.value_len as usize, expires) as u64;
                }
                keyspace.bytes -= u64::from(old.value_len);
                if state == State::Memory {
                    keyspace.memory.remove(offset);
                }
                if expires && let Some(at) = keyspace.expires.remove(&number) {
                    keyspace.by_expiry.remove(&(at, number));
                }
                if matches!(change, Change::Deleted { .. }) {
                    keyspace.bytes -= key.len() as u64;
                    if let Ok(entry) = keyspace.hash.find_entry(hash, |n| *n == number) {
                        entry.remove();
                    }
                    if !self.unordered {
                        keyspace.ordered.remove(key);
                    }
                    keyspace.slots.get_mut(number).key = Key::new(&[]);
                    keyspace.free.push(number);
                    return;
                }
                number
            }
            None if matches!(change, Change::Deleted { .. }) => return,
            None => {
                let slot = Slot {
                    key: key.clone(),
                    sequence: 0,
                    segment: 0,
                    offset: 0,
                    value_len: 0,
                    state: State::Gone,
                    expires: false,
                };
                let number = match keyspace.free.pop() {
                    Some(number) => {
                        *keyspace.slots.get_mut(number) = slot;
                        number
                    }
                    None => keyspace.slots.push(slot),
                };
                let (slots, hasher) = (&keyspace.slots, &self.hasher);
                keyspace.hash.insert_unique(hash, number, |n| hasher.hash_one(&*slots.get(*n).key));
                if !self.unordered {
                    keyspace.ordered.insert(key.clone(), number);
                }
                keyspace.bytes += key.len() as u64;
                number
            }
        };
        let (state, expires, segment, offset, value_len) = match change {
            Change::Stored { segment, offset, value_len, expires } => {
                if let Some(usage) = self.segments.usage(segment) {
                    usage.live += record_bytes(key.len(), value_len as usize, expires.is_some()) as u64;
                }
                (State::Stored, expires, segment, offset, value_len)
            }
            Change::Unsynced { value, expires } => {
                let value_len = u32::try_from(value.len()).unwrap_or(u32::MAX);
                (State::Memory, expires, 0, keyspace.memory.insert(value), value_len)
            }
            Change::UnsyncedDelete | Change::Deleted { .. } => (State::Gone, None, 0, 0, 0),
        };
        if let Some(at) = expires {
            keyspace.expires.insert(number, at);
            keyspace.by_expiry.insert((at, number));
        }
        keyspace.bytes += u64::from(value_len);
        let slot = keyspace.slots.get_mut(number);
        (slot.sequence, slot.segment, slot.offset) = (sequence, segment, offset);
        (slot.value_len, slot.state, slot.expires) = (value_len, state, expires.is_some());
    }

    /// Where the value is and its expiry, if the key is there and not expired at `now`.
    pub(crate) fn get(&self, now: Timestamp, space: Space, key: &[u8]) -> Result<Option<Found>, Error> {
        let Some((keyspace, number)) = self.lookup(space, key) else { return Ok(None) };
        let slot = keyspace.slots.get(number);
        match keyspace.visible(now, number, slot) {
            None => Ok(None),
            Some(expires) => Ok(Some(Found { value: self.value(keyspace, slot)?, expires })),
        }
    }

    pub(crate) fn exists(&self, now: Timestamp, space: Space, key: &[u8]) -> bool {
        self.lookup(space, key)
            .and_then(|(keyspace, number)| keyspace.visible(now, number, keyspace.slots.get(number)))
            .is_some()
    }

    /// Keys that begin with `prefix` and come after `after`, without the first
    /// `skip` of them, at most `limit`: and whether there are more.
    pub(crate) fn page(
        &self,
        now: Timestamp,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        skip: usize,
        limit: usize,
    ) -> Result<Page, Error> {
        let Some(keyspace) = self.spaces.get(&space) else { return Ok(Page::default()) };
        let behind = Key::behind(prefix);
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(Key::new(after)),
            _ => Bound::Included(Key::new(prefix)),
        };
        // The map refuses a range that ends before it begins.
        if let (Bound::Excluded(from), Some(behind)) = (&from, &behind)
            && from >= behind
        {
            return Ok(Page::default());
        }
        let to = behind.map_or(Bound::Unbounded, Bound::Excluded);
        // The slots are looked at in a second pass: these reads don't wait for one another.
        let mut keys: Vec<(&Key, u32)> = Vec::with_capacity(limit.min(128) + 1);
        let mut skip = skip;
        let mut range = keyspace.ordered.range::<Key, _>((from, to));
        let mut found: Vec<Item> = Vec::with_capacity(limit.min(128));
        loop {
            let wanted = limit + 1 - found.len() + skip.min(PIECE);
            keys.clear();
            keys.extend(range.by_ref().take(wanted).map(|(key, number)| (key, *number)));
            for (i, (key, number)) in keys.iter().enumerate() {
                if let Some((_, ahead)) = keys.get(i + AHEAD) {
                    prefetch(std::ptr::from_ref(keyspace.slots.get(*ahead)));
                }
                let slot = keyspace.slots.get(*number);
                if keyspace.visible(now, *number, slot).is_none() {
                    continue;
                }
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                if found.len() == limit {
                    return Ok(Page { items: found, more: true });
                }
                let value = self.value(keyspace, slot)?;
                value.prefetch();
                found.push(Item { key: (*key).clone(), value });
            }
            if keys.len() < wanted {
                return Ok(Page { items: found, more: false });
            }
        }
    }

    /// Not resolved yet ([`ValueRef::resolve`]): that may read the disk.
    fn value(&self, keyspace: &Keyspace, slot: &Slot) -> Result<ValueRef, Error> {
        if slot.state == State::Memory
            && let Some(value) = keyspace.memory.values.get(slot.offset as usize).and_then(Option::as_ref)
        {
            return Ok(ValueRef::owned(Arc::clone(value)));
        }
        let Some(segment) = self.segments.get(slot.segment) else {
            // A slot names a segment that was removed: our bug, reported and not hidden.
            let file = Segment::name_of(slot.segment);
            return Err(Error::Corrupt {
                file,
                offset: u64::from(slot.offset),
                expected: "a segment in the index",
            });
        };
        #[expect(clippy::cast_possible_truncation, reason = "a key has 1 KiB at most")]
        let start = slot.offset + value_offset(slot.key.len(), slot.expires) as u32;
        Ok(ValueRef::in_segment(segment, start, slot.value_len))
    }
}

impl Keyspace {
    /// The expiry of a slot that is there at `now`; `None` if it isn't.
    #[expect(clippy::option_option, reason = "there or not, and if there with or without expiry")]
    fn visible(&self, now: Timestamp, number: u32, slot: &Slot) -> Option<Option<Timestamp>> {
        if slot.state == State::Gone {
            return None;
        }
        if !slot.expires {
            return Some(None);
        }
        match self.expires.get(&number) {
            Some(&at) if at <= now => None,
            at => Some(at.copied()),
        }
    }
}
