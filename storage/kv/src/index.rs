//! Where every key's value is: per keyspace a hash for single keys and an ordered
//! map for scans, both naming a slot, so that overwriting a key touches neither.
//!
//! One index under one read-write lock: a batch is applied under one hold, so
//! nobody sees half of it, and a page of a scan is a snapshot. Nobody sleeps or does
//! I/O under it but the reads of media without maps.
//!
//! Keys up to 22 bytes are kept inline. The keyspace isn't part of them: each
//! has its own maps.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;

use forebay_base::Timestamp;

use crate::api::Error;
use crate::record::{record_bytes, value_offset};
use crate::segment::{Segment, ValueRef};
use crate::space::Space;

/// A key's bytes: 24 bytes, without an allocation up to [`INLINE_BYTES`].
#[derive(Clone)]
pub(crate) enum Key {
    Inline(u8, [u8; INLINE_BYTES]),
    Heap(Box<[u8]>),
}

const INLINE_BYTES: usize = 22;
const _: () = assert!(size_of::<Key>() == 24);

impl Key {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        match u8::try_from(bytes.len()) {
            Ok(len) if bytes.len() <= INLINE_BYTES => {
                let mut inline = [0; INLINE_BYTES];
                inline[..bytes.len()].copy_from_slice(bytes);
                Self::Inline(len, inline)
            }
            _ => Self::Heap(bytes.into()),
        }
    }
}

impl std::ops::Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
        }
    }
}

// The same order and hash as the bytes, as Borrow demands.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self
    }
}
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
impl Eq for Key {}
impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

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

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Sequence of the record that made it so: an older one doesn't undo it.
    sequence: u64,
    segment: u32,
    /// Of the record.
    offset: u32,
    value_len: u32,
    state: State,
    /// Its expiry is in `Keyspace::expires`.
    expires: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Stored,
    /// The value is in `Keyspace::memory`.
    Memory,
    /// Removed without sync: absent, but older records must not bring it back.
    Gone,
}

#[derive(Debug, Default)]
struct Keyspace {
    hash: HashMap<Key, u32>,
    ordered: BTreeMap<Key, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    memory: HashMap<u32, Arc<[u8]>>,
    expires: HashMap<u32, Timestamp>,
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
}

/// One key and its value.
#[derive(Clone, Debug)]
pub struct Item {
    key: Key,
    /// The value.
    pub value: ValueRef,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.escape_ascii())
    }
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

impl Index {
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
        self.spaces.values().map(|k| k.ordered.len()).sum()
    }

    /// Sequence and record offset of the stored record of a key, if it is current
    /// (compaction asks whether a record is live).
    pub(crate) fn stored_at(&self, space: Space, key: &[u8]) -> Option<(u64, u32, u32)> {
        let keyspace = self.spaces.get(&space)?;
        let slot = &keyspace.slots[*keyspace.hash.get(key)? as usize];
        (slot.state == State::Stored).then_some((slot.sequence, slot.segment, slot.offset))
    }

    /// The key has a slot, whatever its state.
    pub(crate) fn knows(&self, space: Space, key: &[u8]) -> bool {
        self.spaces.get(&space).is_some_and(|k| k.hash.contains_key(key))
    }

    /// Applies a record unless a younger one was applied before.
    pub(crate) fn apply(&mut self, space: Space, key: &Key, sequence: u64, change: Change) {
        if let Change::Deleted { segment } = change
            && let Some(usage) = self.segments.usage(segment)
        {
            usage.removals += record_bytes(key.len(), 0, false) as u64;
        }
        let keyspace = self.spaces.entry(space).or_default();
        let number = match keyspace.hash.get(&**key) {
            Some(&number) => {
                let old = keyspace.slots[number as usize];
                // Equal: the record of an unsynced write arrives on disk.
                if old.sequence > sequence {
                    return;
                }
                if old.state == State::Stored
                    && let Some(usage) = self.segments.usage(old.segment)
                {
                    usage.live -= record_bytes(key.len(), old.value_len as usize, old.expires) as u64;
                }
                if old.state == State::Memory {
                    keyspace.memory.remove(&number);
                }
                if old.expires {
                    keyspace.expires.remove(&number);
                }
                if matches!(change, Change::Deleted { .. }) {
                    keyspace.hash.remove(&**key);
                    keyspace.ordered.remove(&**key);
                    keyspace.free.push(number);
                    return;
                }
                number
            }
            None if matches!(change, Change::Deleted { .. }) => return,
            None => {
                let number = match keyspace.free.pop() {
                    Some(number) => number,
                    None => {
                        keyspace.slots.push(Slot {
                            sequence: 0,
                            segment: 0,
                            offset: 0,
                            value_len: 0,
                            state: State::Gone,
                            expires: false,
                        });
                        #[expect(
                            clippy::cast_possible_truncation,
                            reason = "4 billion keys are 400 GB of index"
                        )]
                        let number = (keyspace.slots.len() - 1) as u32;
                        number
                    }
                };
                keyspace.hash.insert(key.clone(), number);
                keyspace.ordered.insert(key.clone(), number);
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
                keyspace.memory.insert(number, value);
                (State::Memory, expires, 0, 0, 0)
            }
            Change::UnsyncedDelete | Change::Deleted { .. } => (State::Gone, None, 0, 0, 0),
        };
        if let Some(at) = expires {
            keyspace.expires.insert(number, at);
        }
        keyspace.slots[number as usize] =
            Slot { sequence, segment, offset, value_len, state, expires: expires.is_some() };
    }

    /// The value and its expiry, if the key is there and not expired at `now`.
    pub(crate) fn get(
        &self,
        now: Timestamp,
        space: Space,
        key: &[u8],
    ) -> Result<Option<(ValueRef, Option<Timestamp>)>, Error> {
        let Some(keyspace) = self.spaces.get(&space) else { return Ok(None) };
        let Some(&number) = keyspace.hash.get(key) else { return Ok(None) };
        match keyspace.visible(now, number) {
            None => Ok(None),
            Some(expires) => Ok(Some((self.value(keyspace, number, key.len())?, expires))),
        }
    }

    pub(crate) fn exists(&self, now: Timestamp, space: Space, key: &[u8]) -> bool {
        self.spaces
            .get(&space)
            .and_then(|k| k.hash.get(key).and_then(|&number| k.visible(now, number)))
            .is_some()
    }

    /// Keys that begin with `prefix` and come after `after`, without the first
    /// `skip` of them, at most `limit`.
    pub(crate) fn page(
        &self,
        now: Timestamp,
        space: Space,
        prefix: &[u8],
        after: Option<&[u8]>,
        skip: usize,
        limit: usize,
    ) -> Result<Page, Error> {
        let mut page = Page::default();
        let Some(keyspace) = self.spaces.get(&space) else { return Ok(page) };
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let visible = keyspace
            .ordered
            .range::<[u8], _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, number)| keyspace.visible(now, **number).is_some())
            .skip(skip);
        for (key, &number) in visible {
            if page.items.is_empty() {
                page.items.reserve(limit.min(128));
            }
            if page.items.len() == limit {
                page.more = true;
                break;
            }
            let value = self.value(keyspace, number, key.len())?;
            page.items.push(Item { key: key.clone(), value });
        }
        Ok(page)
    }

    fn value(&self, keyspace: &Keyspace, number: u32, key_len: usize) -> Result<ValueRef, Error> {
        let slot = &keyspace.slots[number as usize];
        if slot.state == State::Memory
            && let Some(value) = keyspace.memory.get(&number)
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
        let start = slot.offset + value_offset(key_len, slot.expires) as u32;
        ValueRef::in_segment(segment, start, slot.value_len)
    }
}

impl Keyspace {
    /// The expiry of a slot that is there at `now`; `None` if it isn't.
    #[expect(clippy::option_option, reason = "there or not, and if there with or without expiry")]
    fn visible(&self, now: Timestamp, number: u32) -> Option<Option<Timestamp>> {
        let slot = &self.slots[number as usize];
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
