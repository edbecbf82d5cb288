//! From a task to records: what is alive is found from the roots, then written in the order of the arena.

use super::imports::{Numbers, function_of};
use super::layout::{self, Item, cells_of};
use super::{Packing, RecordKey, Snapshot, SnapshotError, World, file, state};
use crate::fiber::TaskState;
use crate::heap::kind;
use crate::string::INTERNED;
use crate::unit::INTRINSIC;
use crate::value::{Ref, Value, space};
use forebay_base::Monotonic;

/// Words of the arena whose cells share a record.
pub(super) const PAGE_WORDS: u32 = 256;
/// In a saved reference: the index is an import's number. (0: a word of the task's arena.)
pub(super) const IMPORT: u64 = 1 << 32;

/// Writes values of a task.
pub(super) struct Saver<'a, 'w> {
    pub(super) world: &'a World<'w>,
    pub(super) numbers: &'a mut Numbers,
    /// Where cells go when they are packed: old and new index, sorted.
    moved: Vec<(u32, u32)>,
}

impl Saver<'_, '_> {
    fn index(&self, index: u32) -> u32 {
        if self.moved.is_empty() {
            return index;
        }
        self.moved.binary_search_by_key(&index, |m| m.0).map_or(0, |at| self.moved[at].1)
    }

    /// A value as a record has it.
    #[inline]
    pub(super) fn word(&mut self, v: Value) -> Result<u64, SnapshotError> {
        if !is_ref(v) {
            return Ok(v.bits());
        }
        match own_cell(self.world, v) {
            Some((r, v)) => Ok(v.bits() & !0xffff_ffff | u64::from(self.index(r.index()))),
            None => {
                let v = flattened(self.world, v);
                let tag = v.bits() & 0xffff << 48;
                Ok(tag | IMPORT | u64::from(self.numbers.value(self.world, v)?))
            }
        }
    }

    fn item(&mut self, item: Item) -> Result<u64, SnapshotError> {
        Ok(match item {
            Item::Raw(word) => word,
            Item::Value(v) => self.word(v)?,
            Item::Header(header) => {
                let shape = u32::try_from(header >> 32).unwrap_or(0);
                let number = if shape == crate::shape::DICTIONARY {
                    shape
                } else {
                    self.numbers.shape(self.world, shape)?
                };
                header & 0xffff_ffff | u64::from(number) << 32
            }
            Item::Cells(word) => {
                let [slots, elements] = cells_of(word);
                u64::from(self.index(slots.index())) | u64::from(self.index(elements.index())) << 32
            }
            Item::Function(word) => match function_of(word) {
                (0, _) => word,
                (_, index) => INTRINSIC | u64::from(self.numbers.function(self.world, index)?),
            },
            Item::Native(word) => u64::from(self.numbers.native(u32::try_from(word).unwrap_or(u32::MAX))?),
            Item::Moved(word) => {
                let to = u32::try_from(word >> 32).unwrap_or(0);
                word & 0xffff_ffff | u64::from(self.index(to)) << 32
            }
        })
    }
}

#[inline]
pub(super) fn is_ref(v: Value) -> bool {
    !(v.is_number() || v.tag() == Value::NULL.tag())
}

/// The string that a flattened rope stands for.
fn flattened(world: &World<'_>, v: Value) -> Value {
    if v.is_string() && world.heap.kind(v.as_ref()) == kind::FLATTENED {
        world.heap.get(v.as_ref(), 2)
    } else {
        v
    }
}

/// The cell of the task's arena that a value refers to, and the value; none for what is imported.
#[inline]
fn own_cell(world: &World<'_>, v: Value) -> Option<(Ref, Value)> {
    let v = flattened(world, v);
    let r = v.as_ref();
    let own = r.space() == space::TASK && !(v.is_string() && world.heap.header(r) & INTERNED != 0);
    own.then_some((r, v))
}

/// A bit per word: which cells live.
struct Marks<'a, 'w> {
    world: &'a World<'w>,
    bits: Vec<u64>,
    living: Vec<u32>,
    /// How many of `living` were looked into.
    seen: usize,
    /// Cells that may live.
    cells_max: usize,
}

impl Marks<'_, '_> {
    fn value(&mut self, v: Value) {
        if is_ref(v)
            && let Some((r, _)) = own_cell(self.world, v)
        {
            self.cell(r);
        }
    }

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
            layout::items(world.heap, world.local, r, &mut |item| match item {
                Item::Value(v) => self.value(v),
                Item::Cells(word) => cells_of(word).into_iter().for_each(|cell| self.cell(cell)),
                Item::Moved(word) => self.cell(cells_of(word)[1]),
                Item::Raw(_) | Item::Header(_) | Item::Function(_) | Item::Native(_) => {}
            })
            .map_err(SnapshotError::Unsupported)?;
        }
        Ok(())
    }
}

/// Writes all records of a task, unless more than `live_max` words live.
pub(super) fn save(
    world: &World<'_>,
    task: &mut TaskState,
    numbers: &mut Numbers,
    (packing, live_max): (Packing, usize),
    now: Monotonic,
    out: &mut Snapshot,
) -> Result<(), SnapshotError> {
    let words = world.heap.top() / 64 + 1;
    let mut marks =
        Marks { world, bits: vec![0; words], living: Vec::with_capacity(64), seen: 0, cells_max: live_max };
    state::roots(world.local, task, &mut |v| marks.value(v));
    marks.all()?;
    let mut living = marks.living;
    living.sort_unstable();
    let mut saver = Saver { world, numbers, moved: Vec::new() };
    let sizes = |index: u32| layout::words(world.heap, world.local, Ref::new(space::TASK, index));
    let mut live = 0;
    let mut top = 1;
    for index in &living {
        let words = sizes(*index).ok_or(SnapshotError::Unsupported("a cell without rule"))?;
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
    pages(&mut saver, &living, out)?;
    state::fibers(&mut saver, task, out)?;
    let task_at = out.bytes.len();
    state::task(&mut saver, task, top, now, out)?;
    let end = out.bytes.len();
    out.bytes.extend_from_slice(&[0; file::TASK_TAIL_BYTES]);
    out.end(RecordKey::Task, task_at);
    let start = out.bytes.len();
    out.bytes.extend_from_slice(&saver.numbers.record);
    out.end(RecordKey::Imports, start);
    out.parts.sort_unstable_by_key(|p| p.key);

    let digest = file::digest(out.records().skip(1));
    file::seal(&mut out.bytes[task_at..end + file::TASK_TAIL_BYTES], digest);
    Ok(())
}

/// The heap's records: per cell its index and words, then the words.
fn pages(saver: &mut Saver<'_, '_>, living: &[u32], out: &mut Snapshot) -> Result<(), SnapshotError> {
    let mut page = u32::MAX;
    let mut start = out.bytes.len();
    let mut failed = None;
    for index in living {
        let place = saver.index(*index);
        if place / PAGE_WORDS != page {
            if page != u32::MAX {
                out.end(RecordKey::Heap(page), start);
            }
            (page, start) = (place / PAGE_WORDS, out.bytes.len());
        }
        let head = out.bytes.len();
        out.bytes.extend_from_slice(&u64::from(place).to_le_bytes());
        let bytes = &mut out.bytes;
        let world = saver.world;
        layout::items(world.heap, world.local, Ref::new(space::TASK, *index), &mut |item| match saver
            .item(item)
        {
            Ok(word) => bytes.extend_from_slice(&word.to_le_bytes()),
            Err(error) => failed = Some(error),
        })
        .map_err(SnapshotError::Unsupported)?;
        if let Some(error) = failed.take() {
            return Err(error);
        }
        let words =
            u32::try_from((out.bytes.len() - head) / 8 - 1).map_err(|_| SnapshotError::TooLarge("a cell"))?;
        out.bytes[head + 4..head + 8].copy_from_slice(&words.to_le_bytes());
    }
    if page != u32::MAX {
        out.end(RecordKey::Heap(page), start);
    }
    Ok(())
}
