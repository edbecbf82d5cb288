//! An ordered hash table in the arena: dictionary objects, sparse elements, Map, Set.
//!
//! ```text
//!   header   DICT | flags | capacity << 32      capacity: entries, a power of two
//!   word 1   entries used | entries live << 32
//!   index    2 * capacity u32: number of an entry + 1, 0 = free
//!   entries  capacity * (key, value, hash | attributes << 32); a removed entry's key is EMPTY
//! ```
//!
//! Growing makes a new cell and leaves the old one as it was, marked MOVED with
//! the new cell's index in word 1: an iterator that stands in the old one finds
//! its place again ([`Heap::dict_follow`]).

use crate::heap::{Heap, kind};
use crate::throw::Throw;
use crate::value::{Ref, Value};

const MOVED: u64 = 1 << 8;
const CLEARED: u64 = 2 << 8;
const ENTRIES_MAX: u32 = 1 << 26;

#[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart")]
impl Heap {
    /// A new table with room for `capacity` entries.
    pub(crate) fn dict_new(&mut self, capacity: u32) -> Result<Ref, Throw> {
        self.dict_new_in(self.own(), capacity)
    }

    /// The same in a space that is writable.
    pub(crate) fn dict_new_in(&mut self, of: u8, capacity: u32) -> Result<Ref, Throw> {
        let capacity = capacity.clamp(4, ENTRIES_MAX).next_power_of_two();
        let words = u64::from(capacity) * 4 + 2;
        self.check_room(words as usize * 8)?;
        let d = self.alloc_in(of, words as u32, u64::from(kind::DICT) | u64::from(capacity) << 32)?;
        self.store(d, 1, 0);
        self.bytes_mut(d, 2, capacity as usize * 8).fill(0);
        self.work += u64::from(capacity) / 8;
        Ok(d)
    }

    fn dict_capacity(&self, d: Ref) -> u32 {
        (self.header(d) >> 32) as u32
    }

    /// Entries used, removed ones included: entry numbers are below it.
    #[inline]
    pub(crate) fn dict_used(&self, d: Ref) -> u32 {
        self.load(d, 1) as u32
    }

    /// Entries that are there.
    pub(crate) fn dict_live(&self, d: Ref) -> u32 {
        (self.load(d, 1) >> 32) as u32
    }

    fn index_get(&self, d: Ref, at: u32) -> u32 {
        let word = self.load(d, 2 + at / 2);
        (word >> (32 * (at & 1))) as u32
    }

    fn index_set(&mut self, d: Ref, at: u32, to: u32) {
        let shift = 32 * (at & 1);
        let word = self.load(d, 2 + at / 2) & !(0xffff_ffff << shift) | u64::from(to) << shift;
        self.store(d, 2 + at / 2, word);
    }

    #[inline]
    fn entry_at(&self, d: Ref, entry: u32) -> u32 {
        2 + self.dict_capacity(d) + entry * 3
    }

    /// Key, value and attributes of an entry; the key is EMPTY if it was removed.
    #[inline]
    pub(crate) fn dict_entry(&self, d: Ref, entry: u32) -> (Value, Value, u8) {
        let at = self.entry_at(d, entry);
        (self.get(d, at), self.get(d, at + 1), (self.load(d, at + 2) >> 32) as u8)
    }

    /// Finds the entry whose hash is `hash` and whose key satisfies `same`.
    pub(crate) fn dict_find(&self, d: Ref, hash: u32, same: impl Fn(&Heap, Value) -> bool) -> Option<u32> {
        let mask = self.dict_capacity(d) * 2 - 1;
        let mut at = hash & mask;
        loop {
            let entry = self.index_get(d, at).checked_sub(1)?;
            let word = self.entry_at(d, entry);
            if self.load(d, word + 2) as u32 == hash && same(self, self.get(d, word)) {
                return Some(entry);
            }
            at = (at + 1) & mask;
        }
    }

    /// Finds a key by its bits: interned strings, symbols, small integers.
    pub(crate) fn dict_find_bits(&self, d: Ref, key: Value) -> Option<u32> {
        self.dict_find(d, hash_bits(key), |_, k| k == key)
    }

    /// Overwrites an entry's value.
    pub(crate) fn dict_set(&mut self, d: Ref, entry: u32, value: Value) {
        let at = self.entry_at(d, entry);
        self.set(d, at + 1, value);
    }

    /// Overwrites an entry's attributes.
    pub(crate) fn dict_set_attrs(&mut self, d: Ref, entry: u32, attrs: u8) {
        let at = self.entry_at(d, entry) + 2;
        let word = self.load(d, at) as u32;
        self.store(d, at, u64::from(word) | u64::from(attrs) << 32);
    }

    /// Adds a key that is not there; returns the table to use from now on.
    pub(crate) fn dict_add(
        &mut self,
        d: Ref,
        hash: u32,
        key: Value,
        value: Value,
        attrs: u8,
    ) -> Result<Ref, Throw> {
        let d = if self.dict_used(d) == self.dict_capacity(d) { self.dict_grow(d)? } else { d };
        let entry = self.dict_used(d);
        let at = self.entry_at(d, entry);
        self.set(d, at, key);
        self.set(d, at + 1, value);
        self.store(d, at + 2, u64::from(hash) | u64::from(attrs) << 32);
        self.index_add(d, hash, entry);
        let live = self.dict_live(d);
        self.store(d, 1, u64::from(entry + 1) | u64::from(live + 1) << 32);
        Ok(d)
    }

    /// `dict_add` for keys that are found by their bits.
    pub(crate) fn dict_add_bits(
        &mut self,
        d: Ref,
        key: Value,
        value: Value,
        attrs: u8,
    ) -> Result<Ref, Throw> {
        self.dict_add(d, hash_bits(key), key, value, attrs)
    }

    fn index_add(&mut self, d: Ref, hash: u32, entry: u32) {
        let mask = self.dict_capacity(d) * 2 - 1;
        let mut at = hash & mask;
        while self.index_get(d, at) != 0 {
            at = (at + 1) & mask;
        }
        self.index_set(d, at, entry + 1);
    }

    fn dict_grow(&mut self, d: Ref) -> Result<Ref, Throw> {
        let live = self.dict_live(d);
        if live >= ENTRIES_MAX {
            return Err(Throw::range_error("too many keys in one object, Map or Set"));
        }
        // At least half of it free: by what lives, so that a table of which as much is removed as added stays small.
        let new = self.dict_new_in(d.space(), (live + 1) * 2 - 1)?;
        let mut entry = 0;
        for old in 0..self.dict_used(d) {
            let (key, value, attrs) = self.dict_entry(d, old);
            if key.is_empty() {
                continue;
            }
            let hash = self.load(d, self.entry_at(d, old) + 2) as u32;
            let at = self.entry_at(new, entry);
            self.set(new, at, key);
            self.set(new, at + 1, value);
            self.store(new, at + 2, u64::from(hash) | u64::from(attrs) << 32);
            self.index_add(new, hash, entry);
            entry += 1;
        }
        self.work += u64::from(entry);
        self.store(new, 1, u64::from(entry) | u64::from(entry) << 32);
        self.dict_move(d, new, 0);
        Ok(new)
    }

    /// Marks `d` as replaced by `new`. Its `used` count goes; entries stay readable.
    fn dict_move(&mut self, d: Ref, new: Ref, flag: u64) {
        let used = u64::from(self.dict_used(d));
        self.store(d, 0, self.header(d) | MOVED | flag);
        self.store(d, 1, u64::from(new.index()) << 32 | used);
    }

    /// Writes an entry of a table that a snapshot has; its hash and the index come later.
    pub(crate) fn dict_place(&mut self, d: Ref, entry: u32, key: Value, value: Value, attrs: u8) {
        let at = self.entry_at(d, entry);
        self.set(d, at, key);
        self.set(d, at + 1, value);
        self.store(d, at + 2, u64::from(attrs) << 32);
    }

    /// Empties the index of a table.
    pub(crate) fn dict_unindex(&mut self, d: Ref) {
        let bytes = self.dict_capacity(d) as usize * 8;
        self.bytes_mut(d, 2, bytes).fill(0);
    }

    /// Puts an entry into the index.
    pub(crate) fn dict_reindex(&mut self, d: Ref, entry: u32, hash: u32) {
        let at = self.entry_at(d, entry) + 2;
        let word = self.load(d, at) >> 32 << 32;
        self.store(d, at, word | u64::from(hash));
        self.index_add(d, hash, entry);
    }

    /// Removes an entry.
    pub(crate) fn dict_remove(&mut self, d: Ref, entry: u32) {
        let at = self.entry_at(d, entry);
        self.set(d, at, Value::EMPTY);
        self.set(d, at + 1, Value::UNDEFINED);
        let (used, live) = (self.dict_used(d), self.dict_live(d));
        self.store(d, 1, u64::from(used) | u64::from(live - 1) << 32);
    }

    /// An empty table in place of `d`.
    pub(crate) fn dict_clear(&mut self, d: Ref) -> Result<Ref, Throw> {
        let new = self.dict_new_in(d.space(), 4)?;
        self.dict_move(d, new, CLEARED);
        Ok(new)
    }

    /// Where an iterator that stood before entry `position` of `d` stands now.
    pub(crate) fn dict_follow(&mut self, mut d: Ref, mut position: u32) -> (Ref, u32) {
        loop {
            let header = self.header(d);
            if header & MOVED == 0 {
                return (d, position);
            }
            position = if header & CLEARED != 0 {
                0
            } else {
                self.work += u64::from(position) / 4;
                let gone = (0..position).filter(|e| self.dict_entry(d, *e).0.is_empty()).count();
                position - gone as u32
            };
            d = Ref::new(d.space(), (self.load(d, 1) >> 32) as u32);
        }
    }
}

/// Hash of a key that is compared by its bits.
#[expect(clippy::cast_possible_truncation, reason = "half of a hash")]
pub(crate) fn hash_bits(key: Value) -> u32 {
    (crate::string::fold(key.bits()) >> 16) as u32
}
