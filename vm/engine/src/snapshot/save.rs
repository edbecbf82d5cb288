//! From a task to records: what is alive is found from the roots, then written in the order of the arena.

use super::imports::{Numbers, function_of};
use super::layout::{self, Visit, cells_of};
use super::{Packing, Part, RecordKey, Snapshot, SnapshotError, World, file, state};
use crate::fiber::TaskState;
use crate::heap::kind;
use crate::shape::DICTIONARY;
use crate::string::INTERNED;
use crate::unit::INTRINSIC;
use crate::value::{Ref, Value, space};
use forebay_base::Monotonic;
use std::rc::Rc;

/// Words of the arena whose cells share a record.
pub(super) const PAGE_WORDS: u32 = 256;
/// In a saved reference: the index is an import's number. (0: a word of the task's arena.)
pub(super) const IMPORT: u64 = 1 << 32;
/// Numbers that a `Saver` remembers: most objects have the prototype and the shape of one before them.
const REMEMBERED: usize = 8;

/// What a suspension needs for its own work; kept for the next one.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// A bit per word of the arena: which cells live.
    bits: Vec<u64>,
    living: Vec<u32>,
}

/// Writes values of a task.
pub(super) struct Saver<'a, 'w> {
    pub(super) world: &'a World<'w>,
    /// Tasks that were restored from equal imports share them until they need one more.
    numbers: &'a mut Rc<Numbers>,
    /// Where cells go when they are packed: old and new index, sorted.
    moved: Vec<(u32, u32)>,
    /// Values and shapes that were asked for, with their numbers.
    values: [(u64, u32); REMEMBERED],
    shapes: [(u32, u32); REMEMBERED],
    /// Why the records are worth nothing.
    failed: Option<SnapshotError>,
}

impl Saver<'_, '_> {
    #[inline]
    fn index(&self, index: u32) -> u32 {
        if self.moved.is_empty() {
            return index;
        }
        self.moved.binary_search_by_key(&index, |m| m.0).map_or(0, |at| self.moved[at].1)
    }

    /// A value as a record has it.
    #[inline]
    pub(super) fn word(&mut self, v: Value) -> u64 {
        if !is_ref(v) {
            return v.bits();
        }
        let tag = v.bits() & 0xffff << 48;
        match own_cell(self.world, v) {
            Ok(r) => tag | u64::from(self.index(r.index())),
            Err(v) => tag | IMPORT | self.import(v),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "any few bits will do")]
    fn import(&mut self, v: Value) -> u64 {
        let at = (v.bits() ^ v.bits() >> 3) as usize % REMEMBERED;
        if self.values[at].0 == v.bits() {
            return u64::from(self.values[at].1);
        }
        let number = match self.numbers.find(v) {
            Some(number) => Ok(number),
            None => Rc::make_mut(self.numbers).value(self.world, v),
        };
        let number = self.or_fail(number);
        self.values[at] = (v.bits(), number);
        u64::from(number)
    }

    #[inline]
    fn header(&mut self, header: u64) -> u64 {
        let shape = (header >> 32) as u32;
        if shape == DICTIONARY {
            return header;
        }
        let at = shape as usize % REMEMBERED;
        if self.shapes[at].0 != shape {
            let number = match self.numbers.find_shape(shape) {
                Some(number) => Ok(number),
                None => Rc::make_mut(self.numbers).shape(self.world, shape),
            };
            self.shapes[at] = (shape, self.or_fail(number));
        }
        header & 0xffff_ffff | u64::from(self.shapes[at].1) << 32
    }

    /// The number of a function of the built-in scripts.
    pub(super) fn function(&mut self, index: u32) -> u32 {
        let number = match self.numbers.find_function(self.world, index) {
            Some(number) => Ok(number),
            None => Rc::make_mut(self.numbers).function(self.world, index),
        };
        self.or_fail(number)
    }

    fn native(&mut self, index: u32) -> u32 {
        let number = match self.numbers.find_native(index) {
            Some(number) => Ok(number),
            None => Rc::make_mut(self.numbers).native(index),
        };
        self.or_fail(number)
    }

    fn or_fail(&mut self, number: Result<u32, SnapshotError>) -> u32 {
        number.unwrap_or_else(|error| {
            self.failed.get_or_insert(error);
            0
        })
    }
}

#[inline(always)]
pub(super) fn is_ref(v: Value) -> bool {
    v.tag() > Value::NULL.tag()
}

/// The cell of the task's arena that a value refers to; or the value that is imported. A rope that was flattened is
/// the string that it stands for.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a header's kind")]
fn own_cell(world: &World<'_>, v: Value) -> Result<Ref, Value> {
    let mut v = v;
    if v.is_string() {
        let mut header = world.heap.header(v.as_ref());
        if header as u8 == kind::FLATTENED {
            v = world.heap.get(v.as_ref(), 2);
            header = world.heap.header(v.as_ref());
        }
        if header & INTERNED != 0 {
            return Err(v);
        }
    }
    let r = v.as_ref();
    if r.space() == space::TASK { Ok(r) } else { Err(v) }
}

/// Finds the cells that live.
struct Marks<'a, 'w> {
    world: &'a World<'w>,
    /// A bit per word.
    bits: &'a mut [u64],
    living: &'a mut Vec<u32>,
    /// How many of `living` were looked into.
    seen: usize,
    /// Cells that may live.
    cells_max: usize,
}

impl Marks<'_, '_> {
    #[inline]
    fn value(&mut self, v: Value) {
        if is_ref(v)
            && let Ok(r) = own_cell(self.world, v)
        {
            self.cell(r);
        }
    }

    #[inline]
    fn cell(&mut self, r: Ref) {
        let (at, bit) = (r.index() as usize / 64, 1 << (r.index() % 64));
        if r.index() != 0 && self.bits[at] & bit == 0 {
            self.bits[at] |= bit;
            self.living.push(r.index());
        }
    }

    fn all(&mut self) -> Result<(), SnapshotError> {
        let world = self.world;
        while let Some(index) = self.living.get(self.seen) {
            let r = Ref::new(space::TASK, *index);
            self.seen += 1;
            if self.living.len() > self.cells_max {
                return Err(SnapshotError::TooLarge("memory"));
            }
            layout::items(world.heap, world.local, r, self).map_err(SnapshotError::Unsupported)?;
        }
        Ok(())
    }
}

impl Visit for Marks<'_, '_> {
    fn raw(&mut self, _: u64) {}
    fn bytes(&mut self, _: &[u8]) {}
    fn function(&mut self, _: u64) {}
    fn native(&mut self, _: u64) {}
    #[inline]
    fn values(&mut self, values: &[Value]) {
        values.iter().for_each(|v| self.value(*v));
    }
    #[inline]
    fn object(&mut self, _: u64, proto: Value, cells: u64) {
        self.value(proto);
        cells_of(cells).into_iter().for_each(|cell| self.cell(cell));
    }
    fn moved(&mut self, word: u64) {
        self.cell(cells_of(word)[1]);
    }
}

/// Writes all records of a task, unless more than `live_max` words live.
pub(super) fn save(
    world: &World<'_>,
    task: &mut TaskState,
    numbers: &mut Rc<Numbers>,
    (packing, live_max): (Packing, usize),
    now: Monotonic,
    out: &mut Snapshot,
) -> Result<(), SnapshotError> {
    let Scratch { bits, living } = &mut out.scratch;
    bits.clear();
    bits.resize(world.heap.top() / 64 + 1, 0);
    living.clear();
    let mut marks = Marks { world, bits, living, seen: 0, cells_max: live_max };
    state::roots(world.local, task, &mut |v| marks.value(v));
    marks.all()?;
    // In the order of the arena.
    living.clear();
    for (start, word) in (0u32..).step_by(64).zip(&*bits) {
        let mut rest = *word;
        while rest != 0 {
            living.push(start + rest.trailing_zeros());
            rest &= rest - 1;
        }
    }
    let mut saver = Saver {
        world,
        numbers,
        moved: Vec::new(),
        values: [(0, 0); REMEMBERED],
        shapes: [(DICTIONARY, 0); REMEMBERED],
        failed: None,
    };
    let mut live = 0;
    let mut top = 1;
    for index in &*living {
        let words = layout::words(world.heap, world.local, Ref::new(space::TASK, *index));
        let words = words.ok_or(SnapshotError::Unsupported("a cell without rule"))?;
        if packing == Packing::Pack {
            saver.moved.push((*index, top));
            top += words;
        } else {
            top = index + words;
        }
        live += words;
        if live as usize > live_max {
            return Err(SnapshotError::TooLarge("memory"));
        }
    }
    out.words = (live, u32::try_from(world.heap.top()).unwrap_or(u32::MAX));

    // In the order of the keys; imports come last, as the others add to them, and are put in their place.
    state::request(task, out);
    pages(&mut saver, live, out)?;
    state::fibers(&mut saver, task, out);
    let task_at = out.bytes.len();
    state::task(&mut saver, task, top, now, out);
    if let Some(error) = saver.failed {
        return Err(error);
    }
    let end = out.bytes.len();
    out.bytes.extend_from_slice(&[0; file::TASK_TAIL_BYTES]);
    out.end(RecordKey::Task, task_at);
    let start = out.bytes.len();
    out.bytes.extend_from_slice(&saver.numbers.record);
    out.end(RecordKey::Imports, start);
    out.parts.rotate_right(2);
    if !out.parts.is_sorted_by_key(|p| p.key) {
        out.parts.sort_unstable_by_key(|p| p.key);
    }

    let digest = file::digest(out.records().skip(1));
    file::seal(&mut out.bytes[task_at..end + file::TASK_TAIL_BYTES], digest);
    Ok(())
}

/// The heap's records: per cell its index and words, then the words.
fn pages(saver: &mut Saver<'_, '_>, live: u32, out: &mut Snapshot) -> Result<(), SnapshotError> {
    let Snapshot { bytes, parts, scratch, .. } = out;
    let mut page = u32::MAX;
    let mut start = bytes.len();
    // No cell has more words in its record than in the arena.
    bytes.resize(start + (scratch.living.len() + live as usize) * 8, 0);
    let mut to = Words { saver, bytes, at: start };
    for index in &scratch.living {
        let place = to.saver.index(*index);
        if place / PAGE_WORDS != page {
            if page != u32::MAX {
                parts.push(Part { key: RecordKey::Heap(page), start, end: to.at });
            }
            (page, start) = (place / PAGE_WORDS, to.at);
        }
        let head = to.at;
        to.at += 8;
        let World { heap, local, .. } = *to.saver.world;
        layout::items(heap, local, Ref::new(space::TASK, *index), &mut to)
            .map_err(SnapshotError::Unsupported)?;
        let words = u32::try_from((to.at - head) / 8 - 1).map_err(|_| SnapshotError::TooLarge("a cell"))?;
        to.put(head, u64::from(place) | u64::from(words) << 32);
    }
    let end = to.at;
    if page != u32::MAX {
        parts.push(Part { key: RecordKey::Heap(page), start, end });
    }
    bytes.truncate(end);
    Ok(())
}

/// Writes the words of cells into a record.
struct Words<'s, 'a, 'w> {
    saver: &'s mut Saver<'a, 'w>,
    bytes: &'s mut Vec<u8>,
    at: usize,
}

impl Words<'_, '_, '_> {
    #[inline(always)]
    fn put(&mut self, at: usize, word: u64) {
        self.bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
    #[inline(always)]
    fn push(&mut self, word: u64) {
        self.put(self.at, word);
        self.at += 8;
    }
}

impl Visit for Words<'_, '_, '_> {
    #[inline]
    fn raw(&mut self, word: u64) {
        self.push(word);
    }
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        // What is beyond them is still zero.
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len().next_multiple_of(8);
    }
    #[inline]
    fn values(&mut self, values: &[Value]) {
        let end = self.at + values.len() * 8;
        for (to, v) in self.bytes[self.at..end].chunks_exact_mut(8).zip(values) {
            to.copy_from_slice(&self.saver.word(*v).to_le_bytes());
        }
        self.at = end;
    }
    #[inline]
    fn object(&mut self, header: u64, proto: Value, cells: u64) {
        let header = self.saver.header(header);
        self.push(header);
        let proto = self.saver.word(proto);
        self.push(proto);
        let [slots, elements] = cells_of(cells);
        let (slots, elements) = (self.saver.index(slots.index()), self.saver.index(elements.index()));
        self.push(u64::from(slots) | u64::from(elements) << 32);
    }
    fn function(&mut self, word: u64) {
        let word = match function_of(word) {
            (0, _) => word,
            (_, index) => INTRINSIC | u64::from(self.saver.function(index)),
        };
        self.push(word);
    }
    fn native(&mut self, word: u64) {
        let number = self.saver.native(u32::try_from(word).unwrap_or(u32::MAX));
        self.push(u64::from(number));
    }
    fn moved(&mut self, word: u64) {
        let to = self.saver.index(cells_of(word)[1].index());
        self.push(word & 0xffff_ffff | u64::from(to) << 32);
    }
}
