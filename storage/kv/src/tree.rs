//! One keyspace's keys: in order, and by hash.
//!
//! ```text
//!   inner (BTreeMap: least key of a leaf -> leaf)
//!     └──> leaf: up to 64 slots of 40 bytes side by side in a huge page, and a byte each for their order
//!            ^
//!   hash ────┘ number = leaf << 6 | position: 16 tables of u32
//! ```
//!
//! A slot has its key and where the value lies. A scan walks through leaves, each 2.5 KiB of memory in one
//! piece; a lookup by hash goes straight to the slot; overwriting a key changes nothing but its slot. A new key
//! takes any free position of its leaf: only bytes move. Half of a leaf's slots move, with their entries in
//! the hash, when it is full; two neighbours become one when they are nearly empty.
//!
//! The hash is in 16 tables, so that the pause while one grows is a sixteenth of what it would be, and so
//! that an open fills them on several threads ([`Builder`]).

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::ops::Bound;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::key::Key;
use crate::map::prefetch;

/// Slots of a leaf: positions have six bits.
const LEAF: usize = 64;
/// Slots that a leaf gets when it is built from sorted keys: some room is left, so that new keys don't split
/// every leaf at once.
const BUILT: usize = 60;
const SHARDS: usize = 16;
/// Slots that are fetched ahead of the one that a walk looks at.
const AHEAD: usize = 8;

/// What the index knows of a key: 40 bytes.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) key: Key,
    pub(crate) segment: u32,
    /// Of the record, a multiple of 8; of a value in memory its number, times 8. Below that the flags.
    place: u32,
    pub(crate) value_len: u32,
}

const _: () = assert!(size_of::<Slot>() == 40);

/// Where a slot's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// In a segment.
    Stored = 0,
    /// Acknowledged without sync and not on disk yet.
    Memory = 1,
    /// Removed: absent, but older records must not bring it back.
    Gone = 2,
}

const STATE: u32 = 3;
const EXPIRES: u32 = 4;
const FLAGS: u32 = 7;

impl Slot {
    /// In a segment: `offset` is the record's.
    pub(crate) fn stored(key: Key, segment: u32, offset: u32, value_len: u32, expires: bool) -> Self {
        Self { key, segment, place: offset & !FLAGS | if expires { EXPIRES } else { 0 }, value_len }
    }

    /// A removal that stands in a segment: for [`Builder`], which leaves the key out.
    pub(crate) fn removed(key: Key, segment: u32, offset: u32) -> Self {
        Self { key, segment, place: offset & !FLAGS | State::Gone as u32, value_len: 0 }
    }

    /// In memory, or removed there, under the number `place`.
    pub(crate) fn unsynced(key: Key, state: State, place: u32, value_len: u32, expires: bool) -> Self {
        let flags = state as u32 | if expires { EXPIRES } else { 0 };
        Self { key, segment: 0, place: place << 3 | flags, value_len }
    }

    fn vacant() -> Self {
        Self::removed(Key::new(&[]), 0, 0)
    }

    pub(crate) fn state(&self) -> State {
        match self.place & STATE {
            0 => State::Stored,
            1 => State::Memory,
            _ => State::Gone,
        }
    }

    pub(crate) fn expires(&self) -> bool {
        self.place & EXPIRES != 0
    }

    /// Of the record in its segment.
    pub(crate) fn offset(&self) -> u32 {
        self.place & !FLAGS
    }

    /// The number of what is in memory.
    pub(crate) fn memory(&self) -> u32 {
        self.place >> 3
    }

    /// Later in the log is greater.
    pub(crate) fn position(&self) -> (u32, u32) {
        (self.segment, self.offset())
    }
}

/// What there is of a leaf beside its slots and their order.
#[derive(Debug)]
struct Leaf {
    /// Bit n: position n is in use.
    used: u64,
    /// The least key that it may have; of the first leaf it is the empty one.
    least: Key,
    /// The leaf with the keys behind; [`NONE`] of the last.
    next: u32,
}

const NONE: u32 = u32::MAX;

/// Slots by number, those of a leaf side by side, in pieces that are large enough for huge pages: growing moves
/// none once a piece has its size, and a lookup misses neither the page table nor a leaf's own line.
#[derive(Debug, Default)]
struct Slots {
    pieces: Vec<Vec<Slot>>,
}

/// Slots of a piece, 2.5 MiB.
const PIECE: usize = 1 << 16;
/// A piece grows by doubling up to here, then to its full size.
const PIECE_SMALL: usize = 1 << 12;

fn place(number: u32) -> (usize, usize) {
    (number as usize / PIECE, number as usize % PIECE)
}

impl Slots {
    fn get(&self, number: u32) -> &Slot {
        let (piece, at) = place(number);
        &self.pieces[piece][at]
    }

    fn get_mut(&mut self, number: u32) -> &mut Slot {
        let (piece, at) = place(number);
        &mut self.pieces[piece][at]
    }

    fn leaf(&self, leaf: u32) -> &[Slot] {
        let (piece, at) = place(number(leaf, 0));
        let piece = &self.pieces[piece];
        &piece[at..piece.len().min(at + LEAF)]
    }

    fn put(&mut self, number: u32, slot: Slot) {
        let (piece, at) = place(number);
        while self.pieces.len() <= piece {
            self.pieces.push(Vec::new());
        }
        let piece = &mut self.pieces[piece];
        if let Some(vacant) = piece.get_mut(at) {
            *vacant = slot;
            return;
        }
        if piece.capacity() <= at {
            let size = if at < PIECE_SMALL { (at + 1).next_power_of_two().max(4) } else { PIECE };
            piece.reserve_exact(size - piece.len());
            if size == PIECE {
                crate::sys::advise_huge(piece);
            }
        }
        piece.resize_with(at, Slot::vacant);
        piece.push(slot);
    }
}

impl Leaf {
    fn new(least: Key) -> Self {
        Self { used: 0, least, next: NONE }
    }

    fn count(&self) -> usize {
        self.used.count_ones() as usize
    }

    /// Takes the first free position; there is one.
    fn take(&mut self) -> u8 {
        let position = self.used.trailing_ones() as usize;
        self.used |= 1 << position;
        byte(position)
    }
}

/// Positions in the order of their keys; as many count as the leaf has slots in use.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Order([u8; LEAF]);

/// See the module's opening.
#[derive(Debug)]
pub(crate) struct Tree {
    slots: Slots,
    leaves: Vec<Leaf>,
    orders: Vec<Order>,
    free: Vec<u32>,
    /// By [`Leaf::least`].
    inner: BTreeMap<Key, u32>,
    hash: [HashTable<u32>; SHARDS],
    /// Seeded per process: tenants choose the keys.
    hasher: DefaultHashBuilder,
    len: usize,
}

#[expect(clippy::cast_possible_truncation, reason = "a position is below 64")]
fn byte(position: usize) -> u8 {
    position as u8
}

fn shard(hash: u64) -> usize {
    // The table itself uses the lowest and the highest bits.
    (hash >> 40) as usize % SHARDS
}

fn number(leaf: u32, position: u8) -> u32 {
    leaf << 6 | u32::from(position)
}

fn split(number: u32) -> (u32, u8) {
    (number >> 6, byte(number as usize % LEAF))
}

impl Tree {
    pub(crate) fn new(hasher: DefaultHashBuilder) -> Self {
        Self {
            slots: Slots::default(),
            leaves: Vec::new(),
            orders: Vec::new(),
            free: Vec::new(),
            inner: BTreeMap::new(),
            hash: Default::default(),
            hasher,
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, number: u32) -> &Slot {
        self.slots.get(number)
    }

    /// A slot to change; its key stays.
    pub(crate) fn get_mut(&mut self, number: u32) -> &mut Slot {
        self.slots.get_mut(number)
    }

    /// The number of a key's slot. It is valid until a key is inserted or removed.
    pub(crate) fn find(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.hash[shard(hash)].find(hash, |number| *self.get(*number).key == *key).copied()
    }

    /// Inserts a slot whose key isn't there; its number. `moved` is told the old and the new number of
    /// every slot with an expiry that moves.
    pub(crate) fn insert(&mut self, slot: Slot, moved: &mut impl FnMut(u32, u32)) -> u32 {
        let hash = self.hasher.hash_one(&*slot.key);
        let (mut leaf, at) = self.leaf_of(&slot.key);
        let mut at = at;
        if self.leaves[leaf as usize].count() == LEAF {
            (leaf, at) = self.divide(leaf, at, &slot.key, moved);
        }
        let count = self.leaves[leaf as usize].count();
        let position = self.leaves[leaf as usize].take();
        let order = &mut self.orders[leaf as usize].0;
        order.copy_within(at..count, at + 1);
        order[at] = position;
        let number = number(leaf, position);
        self.slots.put(number, slot);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.hash[shard(hash)]
            .insert_unique(hash, number, |number| hasher.hash_one(&*slots.get(*number).key));
        self.len += 1;
        number
    }

    /// Removes a slot.
    pub(crate) fn remove(&mut self, number: u32, moved: &mut impl FnMut(u32, u32)) {
        let (leaf, position) = split(number);
        let key = std::mem::replace(self.get_mut(number), Slot::vacant()).key;
        let hash = self.hasher.hash_one(&*key);
        if let Ok(entry) = self.hash[shard(hash)].find_entry(hash, |n| *n == number) {
            entry.remove();
        }
        let count = self.leaves[leaf as usize].count();
        let order = &mut self.orders[leaf as usize].0;
        if let Some(at) = order[..count].iter().position(|p| *p == position) {
            order.copy_within(at + 1..count, at);
        }
        self.leaves[leaf as usize].used &= !(1 << position);
        self.len -= 1;
        if count - 1 < LEAF / 4 {
            self.join(leaf, &key, moved);
        }
    }

    /// The slots from `start` on and before `end` (`None`: all), in the order of their keys, with their numbers.
    pub(crate) fn walk<'a>(&'a self, start: Bound<&Key>, end: Option<&'a Key>) -> Walk<'a> {
        let mut walk = Walk { tree: self, leaf: NONE, order: &[], slots: &[], at: 0, next: NONE, end };
        let (key, excluded) = match start {
            Bound::Included(key) => (Some(key), false),
            Bound::Excluded(key) => (Some(key), true),
            Bound::Unbounded => (None, false),
        };
        let first = match key {
            Some(key) => self.inner.range::<Key, _>(..=key).next_back(),
            None => self.inner.first_key_value(),
        };
        let Some((_, first)) = first else { return walk };
        // All at once: the search waits for one of them after the other else.
        for slot in self.slots.leaf(*first) {
            prefetch(std::ptr::from_ref(slot));
        }
        walk.next = *first;
        walk.enter();
        if let Some(key) = key {
            let slots = walk.slots;
            walk.at = walk.order.partition_point(|p| {
                let other = &slots[usize::from(*p)].key;
                if excluded { other <= key } else { other < key }
            });
        }
        walk
    }

    /// The sorted positions of a leaf, and its slots.
    fn parts(&self, leaf: u32) -> Option<(&[u8], &[Slot])> {
        let found = self.leaves.get(leaf as usize)?;
        let count = found.count();
        let slots = if count == 0 { &[] } else { self.slots.leaf(leaf) };
        Some((&self.orders[leaf as usize].0[..count], slots))
    }

    /// The leaf that a key belongs to, made if there is none, and where in its order.
    fn leaf_of(&mut self, key: &Key) -> (u32, usize) {
        let leaf = match self.inner.range::<Key, _>(..=key).next_back() {
            Some((_, leaf)) => *leaf,
            None => {
                let leaf = self.new_leaf(Key::new(&[]));
                self.inner.insert(Key::new(&[]), leaf);
                leaf
            }
        };
        let at = self.parts(leaf).map_or(0, |(order, slots)| {
            order.partition_point(|position| slots[usize::from(*position)].key < *key)
        });
        (leaf, at)
    }

    fn new_leaf(&mut self, least: Key) -> u32 {
        if let Some(leaf) = self.free.pop() {
            self.leaves[leaf as usize].least = least;
            return leaf;
        }
        self.leaves.push(Leaf::new(least));
        self.orders.push(Order([0; LEAF]));
        let leaf = u32::try_from(self.leaves.len() - 1).ok().filter(|leaf| *leaf < u32::MAX >> 6);
        leaf.unwrap_or_else(|| unreachable!("4 billion keys are 200 GB of index"))
    }

    /// Makes room in a full leaf for `key`, which belongs at `at` of its order: where it belongs now.
    fn divide(&mut self, leaf: u32, at: usize, key: &Key, moved: &mut impl FnMut(u32, u32)) -> (u32, usize) {
        // Ascending keys fill their leaves.
        let fills = at == LEAF && self.leaves[leaf as usize].next == NONE;
        let order = self.orders[leaf as usize].clone();
        let middle = number(leaf, order.0[LEAF / 2]);
        let least = if fills { key.clone() } else { self.get(middle).key.clone() };
        let new = self.new_leaf(least.clone());
        self.leaves[new as usize].next = std::mem::replace(&mut self.leaves[leaf as usize].next, new);
        if fills {
            self.inner.insert(least, new);
            return (new, 0);
        }
        for position in &order.0[LEAF / 2..] {
            self.move_to(leaf, *position, new, moved);
        }
        self.inner.insert(least, new);
        if at > LEAF / 2 { (new, at - LEAF / 2) } else { (leaf, at) }
    }

    /// Joins a leaf that has become small with a neighbour, if both fit into one with room to spare. `key` was in it.
    fn join(&mut self, leaf: u32, key: &Key, moved: &mut impl FnMut(u32, u32)) {
        let count = |leaf: u32| self.leaves[leaf as usize].count();
        let Some((least, _)) = self.inner.range::<Key, _>(..=key).next_back() else { return };
        let next = self.inner.range::<Key, _>((Bound::Excluded(least), Bound::Unbounded)).next();
        let before = self.inner.range::<Key, _>(..least).next_back();
        let small = |other: u32| count(leaf) + count(other) <= LEAF * 3 / 4;
        let (from, to, gone) = match (next, before) {
            (Some((gone, next)), _) if small(*next) => (*next, leaf, gone.clone()),
            (_, Some((_, before))) if small(*before) => (leaf, *before, least.clone()),
            (None, None) if count(leaf) == 0 => {
                *self = Self::new(self.hasher.clone());
                return;
            }
            _ => return,
        };
        let order = self.orders[from as usize].clone();
        for position in &order.0[..count(from)] {
            self.move_to(from, *position, to, moved);
        }
        self.inner.remove(&gone);
        self.leaves[to as usize].next = self.leaves[from as usize].next;
        self.leaves[from as usize] = Leaf::new(Key::new(&[]));
        self.free.push(from);
    }

    /// Moves a slot to the end of another leaf's order.
    fn move_to(&mut self, from: u32, position: u8, to: u32, moved: &mut impl FnMut(u32, u32)) {
        let old = number(from, position);
        let slot = std::mem::replace(self.get_mut(old), Slot::vacant());
        self.leaves[from as usize].used &= !(1 << position);
        let (hash, expires) = (self.hasher.hash_one(&*slot.key), slot.expires());
        let count = self.leaves[to as usize].count();
        let position = self.leaves[to as usize].take();
        self.orders[to as usize].0[count] = position;
        let new = number(to, position);
        self.slots.put(new, slot);
        if let Some(number) = self.hash[shard(hash)].find_mut(hash, |number| *number == old) {
            *number = new;
        }
        if expires {
            moved(old, new);
        }
    }
}

/// A walk through the slots in the order of their keys.
pub(crate) struct Walk<'a> {
    tree: &'a Tree,
    leaf: u32,
    order: &'a [u8],
    slots: &'a [Slot],
    at: usize,
    /// The leaf behind this one.
    next: u32,
    end: Option<&'a Key>,
}

impl Walk<'_> {
    /// Goes on in the next leaf.
    fn enter(&mut self) -> bool {
        let Some((mut order, slots)) = self.tree.parts(self.next) else { return false };
        (self.leaf, self.slots, self.at) = (self.next, slots, 0);
        self.next = self.tree.leaves[self.leaf as usize].next;
        let behind = self.tree.leaves.get(self.next as usize);
        if let Some(end) = self.end
            && behind.is_none_or(|leaf| leaf.least >= *end)
        {
            // The only place where keys are compared with the end: most leaves lie before it.
            order = &order[..order.partition_point(|p| slots[usize::from(*p)].key < *end)];
            self.next = NONE;
        } else if let Some(behind) = behind {
            prefetch(&raw const self.tree.orders[self.next as usize]);
            for slot in self.tree.slots.leaf(self.next).iter().take(AHEAD) {
                prefetch(std::ptr::from_ref(slot));
            }
            if let Some(leaf) = self.tree.leaves.get(behind.next as usize) {
                prefetch(std::ptr::from_ref(leaf));
            }
        }
        self.order = order;
        true
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (u32, &'a Slot);

    fn next(&mut self) -> Option<Self::Item> {
        while self.at >= self.order.len() {
            if !self.enter() {
                return None;
            }
        }
        if let Some(ahead) = self.order.get(self.at + AHEAD) {
            prefetch(&raw const self.slots[usize::from(*ahead)]);
        }
        let position = self.order[self.at];
        self.at += 1;
        Some((number(self.leaf, position), &self.slots[usize::from(position)]))
    }
}

/// Builds a tree from slots in the order of their keys.
pub(crate) struct Builder {
    tree: Tree,
}

impl Builder {
    pub(crate) fn new(hasher: DefaultHashBuilder) -> Self {
        Self { tree: Tree::new(hasher) }
    }

    /// Its key is greater than that of the one before. Its number.
    pub(crate) fn push(&mut self, slot: Slot) -> u32 {
        let tree = &mut self.tree;
        if tree.leaves.last().is_none_or(|leaf| leaf.count() == BUILT) {
            let least = if tree.leaves.is_empty() { Key::new(&[]) } else { slot.key.clone() };
            let leaf = tree.new_leaf(least.clone());
            tree.inner.insert(least, leaf);
            if let Some(before) = leaf.checked_sub(1) {
                tree.leaves[before as usize].next = leaf;
            }
        }
        let leaf = tree.leaves.len() - 1;
        let position = tree.leaves[leaf].take();
        tree.orders[leaf].0[usize::from(position)] = position;
        tree.len += 1;
        let number = number(u32::try_from(leaf).unwrap_or(u32::MAX), position);
        tree.slots.put(number, slot);
        number
    }

    /// Fills the hash, on `threads` threads.
    pub(crate) fn finish(mut self, threads: usize) -> Tree {
        let tree = &self.tree;
        let threads = if tree.len < 1 << 14 { 1 } else { threads.clamp(1, SHARDS) };
        let mut tables: [HashTable<u32>; SHARDS] = Default::default();
        if threads == 1 {
            tree.fill(0, &mut tables);
        } else {
            let share = SHARDS.div_ceil(threads);
            std::thread::scope(|scope| {
                for (n, tables) in tables.chunks_mut(share).enumerate() {
                    scope.spawn(move || tree.fill(n * share, tables));
                }
            });
        }
        self.tree.hash = tables;
        self.tree
    }
}

impl Tree {
    /// Fills the tables from shard `first` on, one after the other: each stays in the cache meanwhile.
    fn fill(&self, first: usize, tables: &mut [HashTable<u32>]) {
        let room = self.len / SHARDS + self.len / SHARDS / 8;
        let mut entries: Vec<Vec<(u64, u32)>> = tables.iter().map(|_| Vec::with_capacity(room)).collect();
        for (leaf, found) in self.leaves.iter().enumerate() {
            let leaf = u32::try_from(leaf).unwrap_or(u32::MAX);
            // Built from sorted keys: the positions in use are the first ones.
            let slots = self.slots.leaf(leaf).iter().take(found.count());
            for (position, slot) in slots.enumerate() {
                let hash = self.hasher.hash_one(&*slot.key);
                if let Some(entries) = shard(hash).checked_sub(first).and_then(|n| entries.get_mut(n)) {
                    entries.push((hash, number(leaf, byte(position))));
                }
            }
        }
        for (table, entries) in tables.iter_mut().zip(entries) {
            table.reserve(entries.len(), |_| 0);
            for (hash, number) in entries {
                // There is room: nothing is hashed again.
                table.insert_unique(hash, number, |_| hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_base::rng::Rng;

    fn slot(key: &[u8], place: u32) -> Slot {
        Slot::stored(Key::new(key), 1, place << 3, 0, place.is_multiple_of(3))
    }

    fn check(tree: &Tree, model: &BTreeMap<Vec<u8>, u32>) {
        assert_eq!(tree.len(), model.len());
        let walked: Vec<(Vec<u8>, u32)> =
            tree.walk(Bound::Unbounded, None).map(|(_, s)| (s.key.to_vec(), s.offset() >> 3)).collect();
        assert!(walked.iter().map(|(k, p)| (k, p)).eq(model), "the order differs");
        for (key, place) in model {
            let number = tree.find(key).expect("a key is missing");
            assert_eq!(tree.get(number).offset() >> 3, *place);
        }
        for (number, slot) in tree.walk(Bound::Unbounded, None) {
            assert_eq!(tree.find(&slot.key), Some(number));
        }
    }

    /// Inserts and removes at random, at the ends, and in runs; the numbers of slots with an expiry are followed.
    #[test]
    fn it_is_an_ordered_map_whose_slots_can_be_followed() {
        for seed in 0..12 {
            let mut rng = Rng::new(seed);
            let mut tree = Tree::new(DefaultHashBuilder::default());
            let mut model = BTreeMap::new();
            let mut followed: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
            let range = [50, 400, 3000][usize::try_from(seed % 3).unwrap()];
            for step in 0..6000u32 {
                let key = match seed % 4 {
                    0 => format!("{:06}", rng.below(range)),
                    1 => format!("{step:06}"),
                    2 => format!("{:06}", 9000 - step),
                    _ => format!("{}", rng.below(range)).repeat(1 + usize::try_from(rng.below(8)).unwrap()),
                }
                .into_bytes();
                let mut renamed = Vec::new();
                let mut moved = |old, new| renamed.push((old, new));
                // Grows first, then shrinks to nothing.
                let remove = rng.below(6000) < u64::from(step);
                let victim = if seed % 4 == 0 || model.len() < 2 {
                    key.clone()
                } else {
                    let n = usize::try_from(rng.below(model.len() as u64)).unwrap();
                    model.keys().nth(n).cloned().unwrap_or_default()
                };
                if remove {
                    if let Some(number) = tree.find(&victim) {
                        followed.remove(&number);
                        tree.remove(number, &mut moved);
                        model.remove(&victim);
                    }
                } else if tree.find(&key).is_none() {
                    let number = tree.insert(slot(&key, step), &mut moved);
                    for (old, new) in renamed.drain(..) {
                        let key = followed.remove(&old).expect("only what expires is told");
                        followed.insert(new, key);
                    }
                    if step.is_multiple_of(3) {
                        followed.insert(number, key.clone());
                    }
                    model.insert(key, step);
                }
                for (old, new) in renamed {
                    let key = followed.remove(&old).expect("only what expires is told");
                    followed.insert(new, key);
                }
                if step % 500 == 0 {
                    check(&tree, &model);
                }
            }
            check(&tree, &model);
            for (number, key) in followed {
                assert_eq!(*tree.get(number).key, *key);
            }
            let leaves = tree.leaves.iter().filter(|leaf| leaf.used > 0).count();
            assert!(leaves <= 2 + model.len() / 8, "{leaves} leaves for {} keys", model.len());
        }
    }

    #[test]
    fn a_tree_that_was_built_is_the_same() {
        for count in [0, 1, 59, 60, 61, 5000, 40_000u32] {
            let mut builder = Builder::new(DefaultHashBuilder::default());
            let mut model = BTreeMap::new();
            for n in 0..count {
                let key = format!("{n:08}").into_bytes();
                builder.push(slot(&key, n));
                model.insert(key, n);
            }
            let mut tree = builder.finish(3);
            check(&tree, &model);
            for n in (0..count).step_by(7) {
                let key = format!("{n:08}+").into_bytes();
                tree.insert(slot(&key, n), &mut |_, _| {});
                model.insert(key, n);
            }
            check(&tree, &model);
            let from = Key::new(b"00000100");
            let first = tree.walk(Bound::Excluded(&from), None).next().map(|(_, slot)| slot.key.to_vec());
            let expected = model
                .range::<[u8], _>((Bound::Excluded(&from[..]), Bound::Unbounded))
                .next()
                .map(|(k, _)| k.clone());
            assert_eq!(first, expected);
            for end in [b"00000059", b"00000060", b"00000061", b"00002222", b"99999999"] {
                let end_key = Key::new(end);
                let found = tree.walk(Bound::Included(&from), Some(&end_key)).count();
                let range = model.range(b"00000100".to_vec()..).take_while(|(key, _)| key[..] < end[..]);
                assert_eq!(found, range.count());
            }
        }
    }
}
