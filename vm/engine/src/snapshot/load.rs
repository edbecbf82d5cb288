//! From records to a task. Nothing is believed: see the table.
//!
//! | what | so that |
//! |---|---|
//! | cells lie apart, inside the arena; each has the size of its kind | no write reaches another cell |
//! | each reference names the start of a cell that fits its tag and its place | no bits become a value |
//! | slots, elements and tables have one owner each | a getter's place never holds anything else |
//! | ropes, bound functions, reactions, replaced tables point one way in the arena; prototypes don't turn round | every walk ends |
//! | a pc is in its function, a call's registers are all there, a continuation fits its instruction | the interpreter's own rules hold |
//!
//! Three passes over the cells: places and sizes, and a copy of the words as they are; each word, of which those that name
//! something outside are replaced; and what needs several cells, where there is any.
//! Until its words have been looked at nothing reads a cell but its kind, and a task of which anything is refused is thrown away.

use super::check::{fits, is_plain};
use super::imports::{self, Imported, LoadedShape};
use super::layout::{self, cells_of};
use super::places::{Mark, Places};
use super::save::{PAGE_WORDS, is_ref};
use super::wire::Reader;
use super::{RecordKey, RestoreInput, SnapshotError, builtins, file};
use crate::blueprint::Blueprint;
use crate::builtins::bignum::LIMBS_MAX;
use crate::builtins::decimal::Decimal;
use crate::builtins::iterators::mode;
use crate::fiber::TaskState;
use crate::generator::state;
use crate::heap::{OBJECT_WORDS, kind};
use crate::mem::Mem;
use crate::object::flag;
use crate::shape::{DICTIONARY, attr};
use crate::string::{ASCII, STRING_BYTES_MAX};
use crate::unit::INTRINSIC;
use crate::value::{Ref, Value, space};
use forebay_bytecode::Op;
use forebay_bytecode::module::function_flags;
use std::rc::Rc;

pub(super) type Check<T = ()> = Result<T, SnapshotError>;

#[inline(always)]
pub(super) fn require(holds: bool, what: &'static str) -> Check {
    if holds { Ok(()) } else { Err(malformed(what)) }
}

#[cold]
fn malformed(what: &'static str) -> SnapshotError {
    SnapshotError::Malformed(what)
}

/// The records of one task, by key.
pub(super) struct Records<'r> {
    pub(super) all: Vec<(RecordKey, &'r [u8])>,
    task: &'r [u8],
    digest: u64,
}

impl<'r> Records<'r> {
    pub(super) fn new(records: impl IntoIterator<Item = (RecordKey, &'r [u8])>) -> Check<Self> {
        let mut all: Vec<_> = records.into_iter().collect();
        if !all.is_sorted_by(|a, b| a.0 < b.0) {
            all.sort_unstable_by_key(|r| r.0);
            require(all.windows(2).all(|pair| pair[0].0 != pair[1].0), "a record stands twice")?;
        }
        let task = match all.first() {
            Some((RecordKey::Task, bytes)) => *bytes,
            _ => return Err(SnapshotError::Missing(RecordKey::Task)),
        };
        let (task, digest) = file::unseal(task)?;
        Ok(Self { all, task, digest })
    }

    /// Version, blueprint, and that no record is missing or of another suspension.
    pub(super) fn check(&self, blueprint: &[u8; 32]) -> Check {
        let mut r = Reader::new(self.task);
        let version = r.take(2)?;
        let version = u16::from_le_bytes([version[0], version[1]]);
        if version != super::SNAPSHOT_VERSION {
            return Err(SnapshotError::Version(version));
        }
        let expected: [u8; 32] = r.take(32)?.try_into().map_err(|_| SnapshotError::Checksum)?;
        if expected != *blueprint {
            return Err(SnapshotError::OtherBlueprint { expected, found: *blueprint });
        }
        let found = file::digest(self.all.iter().skip(1).copied());
        if found == self.digest { Ok(()) } else { Err(SnapshotError::Checksum) }
    }

    pub(super) fn get(&self, key: RecordKey) -> Option<&'r [u8]> {
        let at = self.all.binary_search_by(|r| r.0.cmp(&key)).ok()?;
        Some(self.all[at].1)
    }

    pub(super) fn need(&self, key: RecordKey) -> Check<&'r [u8]> {
        self.get(key).ok_or(SnapshotError::Missing(key))
    }
}

/// A cell of a record.
#[derive(Clone, Copy, Debug)]
struct Cell<'r> {
    index: u32,
    /// Words that the arena has for it.
    size: u32,
    bytes: &'r [u8],
}

/// What a restoration needs for its own work; kept for the next one.
#[derive(Default, Debug)]
pub(crate) struct Scratch {
    cells: Vec<Cell<'static>>,
    places: Places,
    later: Vec<usize>,
}

/// Cells up to which the memory is kept: 24 bytes each.
const CELLS_KEPT: usize = 1 << 16;

/// The memory of a list, for cells of other records.
fn emptied<'r>(mut cells: Vec<Cell<'_>>) -> Vec<Cell<'r>> {
    cells.clear();
    cells.into_iter().map(|Cell { index, size, .. }| Cell { index, size, bytes: &[] }).collect()
}

impl Cell<'_> {
    fn len(&self) -> u32 {
        u32::try_from(self.bytes.len() / 8).unwrap_or(u32::MAX)
    }
    /// Word `at` of the record; 0 beyond it.
    #[inline(always)]
    fn word(&self, at: u32) -> u64 {
        let at = at as usize * 8;
        self.bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
    }
    fn r(&self) -> Ref {
        Ref::new(space::TASK, self.index)
    }
}

/// What a task's memory is read with.
pub(super) struct Loader<'a, 'm> {
    pub(super) mem: &'a mut Mem<'m>,
    pub(super) imported: Rc<Imported>,
    /// Words of the arena: cells end before it.
    top: u32,
    places: Places,
    /// There are getters or setters.
    accessors: bool,
    /// Cells, by their number, that the third pass looks at.
    later: Vec<usize>,
    pub(super) reactions: Vec<u32>,
    /// Objects whose shape this core can't learn.
    unlearned: Vec<(Ref, u32)>,
}

/// Fills a task that was just opened.
pub(super) fn load(
    mem: &mut Mem<'_>,
    task: &mut TaskState,
    blueprint: &Blueprint,
    records: &Records<'_>,
    input: &RestoreInput<'_>,
) -> Check {
    let mut r = Reader::new(records.task);
    r.take(34)?;
    let top = r.int32()?;
    mem.heap.set_top(top).map_err(SnapshotError::of_throw)?;
    let (imported, numbers) = {
        let builtins = builtins(mem.heap, mem.local);
        let known = imports::Known {
            intrinsics: &builtins.names,
            code: &builtins.code,
            blueprint: blueprint.names(mem.heap, mem.local),
        };
        imports::read(mem, &known, records.need(RecordKey::Imports)?)?
    };
    let Scratch { cells, mut places, mut later } = std::mem::take(&mut mem.local.restoring);
    places.clear();
    later.clear();
    let (accessors, reactions, unlearned) = (false, Vec::new(), Vec::new());
    let mut loader = Loader { mem, imported, top, places, accessors, later, reactions, unlearned };
    let mut cells = emptied(cells);
    loader.cells(records, &mut cells)?;
    loader.words(&cells)?;
    task.symbols = loader.symbols(r.u64()?)?;
    loader.together(&cells)?;
    loader.learn()?;
    loader.task(task, &mut r, records, input)?;
    r.done("the task record")?;
    task.numbers = Some(numbers);
    if cells.capacity() <= CELLS_KEPT {
        let cells = emptied(cells);
        loader.mem.local.restoring = Scratch { cells, places: loader.places, later: loader.later };
    }
    Ok(())
}

impl Loader<'_, '_> {
    // ---- values

    /// Kind of the cell that starts at a word; 0: none.
    #[inline(always)]
    fn kind(&self, index: u32) -> u8 {
        if self.places.has(index, Mark::Start) { self.mem.heap.kind(Ref::new(space::TASK, index)) } else { 0 }
    }

    /// Kind of what a reference names, here or in a shared space.
    pub(super) fn kind_of(&self, v: Value) -> u8 {
        let r = v.as_ref();
        if r.space() == space::TASK && r.index() < self.top {
            self.kind(r.index())
        } else {
            self.mem.heap.kind(r)
        }
    }

    /// A value, cells of any kind among them.
    #[expect(clippy::cast_possible_truncation, reason = "the low half")]
    #[inline(always)]
    fn raw_value(&self, word: u64) -> Check<Value> {
        let v = Value::from_bits(word);
        if !is_ref(v) {
            require(is_plain(v), "a value's bits")?;
            return Ok(v);
        }
        if word >> 32 & 0xffff != 0 {
            return self.import(v);
        }
        require(fits(v, self.kind(word as u32)), "a value names no cell")?;
        Ok(v)
    }

    /// A value that lies outside of the task.
    #[expect(clippy::cast_possible_truncation, reason = "the low half")]
    fn import(&self, v: Value) -> Check<Value> {
        let word = v.bits();
        require(word >> 33 & 0x7fff == 0, "a value's bits")?;
        let import = self.imported.values.get(word as u32 as usize).copied();
        let import = import.ok_or(SnapshotError::Malformed("a value names no import"))?;
        require(import.tag() == v.tag(), "an import is of another kind")?;
        Ok(import)
    }

    /// A value that scripts and registers may have.
    #[inline(always)]
    pub(super) fn value(&self, word: u64) -> Check<Value> {
        let v = self.raw_value(word)?;
        let hidden = v.is_cell() && !matches!(self.kind_of(v), kind::VARIABLE | kind::DATA);
        require(!hidden, "a cell where a value belongs")?;
        Ok(v)
    }

    /// What a property's place may have: a value, or an accessor pair.
    #[inline(always)]
    fn slot(&self, word: u64) -> Check<Value> {
        let v = self.raw_value(word)?;
        let fine = !v.is_cell()
            || matches!(self.kind_of(v), kind::VARIABLE | kind::DATA)
            || (self.kind_of(v) == kind::ACCESSOR && v.as_ref().space() == space::TASK);
        require(fine, "a cell where a property belongs")?;
        Ok(v)
    }

    fn is_accessor(&self, v: Value) -> bool {
        v.is_cell() && self.kind_of(v) == kind::ACCESSOR
    }

    /// A promise of the task's own; EMPTY where that is allowed.
    pub(super) fn promise(&self, word: u64, or_empty: bool) -> Check<Value> {
        let v = self.value(word)?;
        let own = v.is_object() && v.as_ref().space() == space::TASK && self.kind_of(v) == kind::PROMISE;
        require(own || (or_empty && v.is_empty()), "no promise where one belongs")?;
        Ok(v)
    }

    // ---- pass 1: places and sizes

    fn cells<'r>(&mut self, records: &Records<'r>, cells: &mut Vec<Cell<'r>>) -> Check {
        let mut free = 1;
        for (key, bytes) in &records.all {
            let RecordKey::Heap(page) = *key else { continue };
            let mut r = Reader::new(bytes);
            let mut first = true;
            while !r.is_done() {
                let (index, len) = (r.u32()?, r.u32()?);
                require(index / PAGE_WORDS == page && index >= free, "a cell's place")?;
                let bytes = r.take((len as usize).saturating_mul(8))?;
                let mut cell = Cell { index, size: 0, bytes };
                cell.size = self.size(&cell)?;
                free = index.saturating_add(cell.size);
                require(free <= self.top, "a cell beyond the arena")?;
                if std::mem::take(&mut first) {
                    self.places.page(page);
                }
                self.places.set(index, Mark::Start);
                match cell.word(0).to_le_bytes()[0] {
                    // Its entries lie elsewhere in a record.
                    kind::DICT => self.put(cell.r(), 0, cell.word(0)),
                    kind => {
                        self.accessors |= kind == kind::ACCESSOR;
                        self.mem.heap.bytes_mut(cell.r(), 0, bytes.len()).copy_from_slice(bytes);
                    }
                }
                cells.push(cell);
            }
        }
        Ok(())
    }

    /// Words that the arena has for a cell; the record has as many as its kind writes.
    #[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]
    fn size(&self, cell: &Cell<'_>) -> Check<u32> {
        let header = cell.word(0);
        let kind = header as u8;
        let size = if kind < kind::OBJECT {
            layout::plain_words(header, cell.word(1))
        } else {
            let inline = (header >> 16 & 0xff) as u32;
            let captures = || {
                let (unit, index) = self.function(cell.word(3)).ok()?;
                let f = self.mem.local.units[unit].functions().get(index as usize)?;
                u32::try_from(f.captures.len()).ok()
            };
            layout::own_words(kind, inline, cell.word(3), captures)
                .and_then(|own| own.checked_add(OBJECT_WORDS))
        };
        let size = size
            .filter(|s| *s > 0 && kind != kind::FLATTENED)
            .ok_or(SnapshotError::Malformed("a kind of cell"))?;
        let upper = (header >> 32) as u32;
        let written = match kind {
            kind::VALUES => {
                require(cell.len() >= 1 && cell.len() <= size, "elements")?;
                return Ok(size);
            }
            kind::DICT => 2u32.saturating_add((cell.word(1) as u32).saturating_mul(3)),
            kind::OBJECT if upper == DICTIONARY => OBJECT_WORDS,
            kind::OBJECT => {
                let properties = self.shape(upper)?.properties.len() as u32;
                OBJECT_WORDS + (size - OBJECT_WORDS).min(properties)
            }
            _ => size,
        };
        require(cell.len() == written, "a cell's length")?;
        Ok(size)
    }

    fn shape(&self, number: u32) -> Check<&LoadedShape> {
        self.imported.shapes.get(number as usize).ok_or(SnapshotError::Malformed("an object's shape"))
    }

    /// Unit and index of the function that word 3 of a closure names.
    fn function(&self, word: u64) -> Check<(usize, u32)> {
        let (unit, number) = imports::function_of(word);
        require(word >> 32 == 0, "a closure's function")?;
        let index =
            if unit == 0 { Some(number) } else { self.imported.functions.get(number as usize).copied() };
        let index = index.filter(|i| (*i as usize) < self.mem.local.units[unit].functions().len());
        Ok((unit, index.ok_or(SnapshotError::Malformed("a closure's function"))?))
    }

    // ---- pass 2: words

    fn words(&mut self, cells: &[Cell<'_>]) -> Check {
        for (number, cell) in cells.iter().enumerate() {
            let kind = self.mem.heap.kind(cell.r());
            let done = if kind >= kind::OBJECT {
                self.object_words(cell)?
            } else {
                self.plain_words(cell)?;
                kind != kind::DICT
            };
            if !done {
                self.later.push(number);
            }
        }
        Ok(())
    }

    /// Looks at the words of a cell from `from` on. They were copied as they are: only what is meant by an import's number is written.
    #[inline(always)]
    fn run(&mut self, cell: &Cell<'_>, from: u32, check: impl Fn(&Self, u64) -> Check<Value>) -> Check {
        let words = cell.bytes.get(from as usize * 8..).unwrap_or_default().as_chunks::<8>().0;
        for (at, word) in (from..).zip(words) {
            let word = u64::from_le_bytes(*word);
            let v = check(self, word)?;
            if v.bits() != word {
                self.put(cell.r(), at, v.bits());
            }
        }
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]
    fn plain_words(&mut self, cell: &Cell<'_>) -> Check {
        let (header, r) = (cell.word(0), cell.r());
        let upper = (header >> 32) as u32;
        let flags = header & 0xffff_ff00;
        match header as u8 {
            kind::STRING => {
                let len = cell.word(1);
                require(len <= STRING_BYTES_MAX as u64, "a string's length")?;
                let bytes = cell.bytes.get(16..16 + len as usize).unwrap_or_default();
                require(bytes.len() as u64 == len, "a string's bytes")?;
                let words = cell.bytes[16..].as_chunks::<8>().0;
                let high = words.iter().fold(0, |all, word| all | u64::from_le_bytes(*word));
                let (expected, units) = if high & 0x8080_8080_8080_8080 == 0 {
                    (ASCII, bytes.len())
                } else {
                    require(forebay_bytecode::is_wtf8(bytes), "a string's bytes")?;
                    crate::string::flags_of(bytes)
                };
                require(flags == expected && upper as usize == units, "a string's header")?;
            }
            kind::BIGINT => {
                require(flags & !(1 << 8) == 0 && upper as usize <= LIMBS_MAX, "a BigInt's header")?;
                let top = upper.checked_sub(1).map(|at| (cell.word(1 + at / 2) >> (32 * (at % 2))) as u32);
                require(top != Some(0) && (top.is_some() || flags == 0), "a BigInt's limbs")?;
            }
            kind::DATA => require(flags == 0, "a header's flags")?,
            kind::ROPE => self.rope(cell)?,
            kind::SYMBOL => {
                require(header & !crate::class::PRIVATE == u64::from(kind::SYMBOL), "a header's flags")?;
                let v = self.value(cell.word(1))?;
                require(v.is_string() || v.is_undefined(), "a symbol's description")?;
                self.put(r, 1, v.bits());
            }
            kind::VARIABLE | kind::ACCESSOR => {
                require(header == u64::from(header as u8), "a header's flags")?;
                self.run(cell, 1, Self::value)?;
            }
            kind::REACTION => self.reaction(cell)?,
            kind::VALUES => {
                require(flags == 0, "a header's flags")?;
                self.run(cell, 1, Self::slot)?;
                let room = (cell.size - cell.len()) as usize;
                self.mem.heap.values_mut(r, cell.len(), room).fill(Value::HOLE);
            }
            _ => self.dict(cell)?,
        }
        Ok(())
    }

    #[inline(always)]
    fn put(&mut self, r: Ref, at: u32, word: u64) {
        self.mem.heap.store(r, at, word);
    }

    fn rope(&mut self, cell: &Cell<'_>) -> Check {
        let (mut flags, mut units, mut len) = (0u64, 0u64, 0u64);
        let mut sides = [Value::UNDEFINED; 2];
        for (side, at) in sides.iter_mut().zip([2, 3]) {
            let v = self.value(cell.word(at))?;
            require(v.is_string(), "a rope's side")?;
            let r = v.as_ref();
            let own = r.space() == space::TASK && r.index() < self.top;
            require(!own || r.index() < cell.index, "a rope's order")?;
            let header = self.mem.heap.header(r);
            let string = crate::string::rope_flags(header);
            flags =
                if at == 2 { string } else { crate::string::joined_flags(flags, string).unwrap_or(u64::MAX) };
            units += header >> 32;
            len += self.mem.heap.load(r, 1) & 0xffff_ffff;
            *side = v;
        }
        let header = u64::from(kind::ROPE) | flags | units << 32;
        require(len <= STRING_BYTES_MAX as u64 && cell.word(1) == len, "a rope's length")?;
        require(units <= u64::from(u32::MAX) && cell.word(0) == header, "a rope's header")?;
        self.put(cell.r(), 0, header);
        self.put(cell.r(), 1, len);
        self.put(cell.r(), 2, sides[0].bits());
        self.put(cell.r(), 3, sides[1].bits());
        Ok(())
    }

    fn reaction(&mut self, cell: &Cell<'_>) -> Check {
        require(cell.word(0) == u64::from(kind::REACTION), "a header's flags")?;
        let r = cell.r();
        let next = self.raw_value(cell.word(1))?;
        // The newest stands first, so a list goes down in the arena.
        let older = next.is_cell()
            && self.kind_of(next) == kind::REACTION
            && next.as_ref().space() == space::TASK
            && next.as_ref().index() < cell.index;
        require(next.is_undefined() || older, "a reaction's next")?;
        let what = self.value(cell.word(2))?;
        require(what.is_int() && (0..=2).contains(&what.as_int()), "a reaction's kind")?;
        let target = if what.as_int() == 0 {
            self.promise(cell.word(5), true)?
        } else {
            let v = self.value(cell.word(5))?;
            require(v.is_undefined() || v.as_index().is_some(), "a reaction's fiber")?;
            require(what.as_int() == 2 || v.is_int(), "a reaction's fiber")?;
            v
        };
        let (fulfilled, rejected) = (self.value(cell.word(3))?, self.value(cell.word(4))?);
        self.reactions.push(cell.index);
        for (at, v) in [(1, next), (2, what), (3, fulfilled), (4, rejected), (5, target)] {
            self.put(r, at, v.bits());
        }
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]
    fn dict(&mut self, cell: &Cell<'_>) -> Check {
        let (header, counts, r) = (cell.word(0), cell.word(1), cell.r());
        let (capacity, used) = ((header >> 32) as u32, counts as u32);
        require(header >> 8 & 0xff_ffff & !3 == 0, "a table's flags")?;
        require(capacity.is_power_of_two() && capacity >= 4 && used <= capacity, "a table's capacity")?;
        self.put(r, 0, header);
        self.put(r, 1, counts);
        let mut live = 0;
        for entry in 0..used {
            let at = 2 + entry * 3;
            let (key, value) = (self.value(cell.word(at))?, self.slot(cell.word(at + 1))?);
            let attrs = cell.word(at + 2);
            require(attrs & 0xffff_ffff == 0 && attrs >> 32 <= 15, "a table's entry")?;
            require(!key.is_hole() && !value.is_hole(), "a table's entry")?;
            live += u32::from(!key.is_empty());
            self.mem.heap.dict_place(r, entry, key, value, (attrs >> 32) as u8);
        }
        if header & layout::MOVED != 0 {
            let to = (counts >> 32) as u32;
            require(self.kind(to) == kind::DICT && to > cell.index, "a table's successor")?;
        } else {
            require((counts >> 32) as u32 == live && header >> 8 & 3 == 0, "a table's counts")?;
        }
        Ok(())
    }

    /// Whether that is all there is to look at.
    #[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]
    fn object_words(&mut self, cell: &Cell<'_>) -> Check<bool> {
        let (header, r) = (cell.word(0), cell.r());
        let kind = header as u8;
        let inline = header >> 16 & 0xff;
        let flags = header & 0xff00;
        require(flags & !layout::flags_of(kind) == 0, "an object's flags")?;
        require(inline <= 32 && (inline == 0 || kind == kind::OBJECT), "an object's slots")?;
        let number = (header >> 32) as u32;
        let mut simple = !self.accessors
            && flags & flag::SPARSE == 0
            && !matches!(kind, kind::MAP | kind::SET | kind::DECIMAL | kind::ITERATOR | kind::GENERATOR);
        let mut properties = 0;
        let shape = if number == DICTIONARY {
            simple = false;
            DICTIONARY
        } else {
            let loaded = self.shape(number)?;
            properties = loaded.properties.len();
            simple &= !loaded.accessors;
            match loaded.shape {
                Some(shape) => shape,
                None => {
                    self.unlearned.push((r, number));
                    crate::shape::EMPTY
                }
            }
        };
        self.put(r, 0, header & 0xffff_ffff | u64::from(shape) << 32);
        let proto = self.value(cell.word(1))?;
        require(proto.is_object() || proto.is_null(), "an object's prototype")?;
        self.put(r, 1, proto.bits());
        simple &= !proto.is_object() || proto.as_ref().space() != space::TASK;
        let word3 = self.word3(cell, kind)?;
        self.put(r, 3, word3);
        match kind {
            kind::OBJECT => self.run(cell, OBJECT_WORDS, Self::slot)?,
            _ => {
                for at in OBJECT_WORDS..cell.len() {
                    let v = self.own(cell, kind, at)?;
                    self.put(r, at, v.bits());
                }
            }
        }
        for at in cell.len()..cell.size {
            self.put(r, at, Value::UNDEFINED.bits());
        }
        if simple {
            self.simple_properties(cell, properties.saturating_sub(inline as usize))?;
        }
        Ok(simple)
    }

    /// [`Loader::properties`] of an object where nothing is a getter or a setter, with so many properties beyond its own words.
    #[inline(always)]
    fn simple_properties(&mut self, cell: &Cell<'_>, outside: usize) -> Check {
        let [slots, elements] = cells_of(cell.word(2));
        let mut room = 0;
        if slots.index() != 0 {
            self.claim(slots.index(), Mark::Properties)?;
            require(self.kind(slots.index()) == kind::VALUES, "an object's slots")?;
            room = (self.mem.heap.header(slots) >> 32) as usize;
        }
        require(outside <= room, "an object's slots")?;
        if elements.index() != 0 {
            self.claim(elements.index(), Mark::Properties)?;
            require(self.kind(elements.index()) == kind::VALUES, "an object's elements")?;
        }
        Ok(())
    }

    /// Word 3 of an object: what its kind keeps there.
    fn word3(&self, cell: &Cell<'_>, kind: u8) -> Check<u64> {
        let word = cell.word(3);
        let fine = match kind {
            kind::CLOSURE => {
                let (unit, index) = self.function(word)?;
                return Ok(u64::from(index) | if unit == 1 { INTRINSIC } else { 0 });
            }
            kind::NATIVE => {
                let index = usize::try_from(word).ok().and_then(|at| self.imported.natives.get(at));
                return index.map(|i| u64::from(*i)).ok_or(SnapshotError::Malformed("a native's name"));
            }
            kind::ARRAY => word <= u64::from(u32::MAX),
            kind::BOUND => true,
            kind::ERROR => word == 0 || self.is_position(word),
            // Above: the number of a transaction.
            kind::PROMISE => word & 0xffff_feff <= 2,
            kind::QUERY => word <= crate::query::progress::CONDITIONED,
            kind::RESPONSE => (200..600).contains(&word),
            // 3 is that of matchAll, whose state is an object.
            kind::ITERATOR => {
                (word < 16 && word & 3 != 3) || word == 3 || word == mode::HELPER || word == mode::WRAP
            }
            // Checked with the function's code in `generator`.
            kind::GENERATOR => word & 0xff <= u64::from(state::OVER) && word >> 8 & 0xff_ffff == 0,
            _ => word == 0,
        };
        require(fine, "an object's own word")?;
        Ok(word)
    }

    /// Whether an error's position is text of the blueprint (error.rs).
    fn is_position(&self, word: u64) -> bool {
        let (file, len, start) = (word >> 48, word >> 32 & 0xffff, word & 0xffff_ffff);
        let files = self.mem.local.units[0].module.as_ref().map_or(&[][..], |m| &m.files);
        let file = usize::try_from(file).ok().and_then(|f| files.get(f.checked_sub(1)?));
        let (Ok(start), Ok(len)) = (usize::try_from(start), usize::try_from(len)) else { return false };
        file.is_some_and(|f| f.text.is_char_boundary(start) && start + len <= f.text.len())
    }

    /// A word behind word 3: what its kind keeps there.
    fn own(&self, cell: &Cell<'_>, kind: u8, at: u32) -> Check<Value> {
        let word = cell.word(at);
        let is = |v: Value, of: u8| v.is_cell() && self.kind_of(v) == of;
        let own = |v: Value| v.as_ref().space() == space::TASK;
        let (v, fine) = match (kind, at) {
            (kind::BOUND, 4) => {
                let v = self.value(word)?;
                (v, v.is_object() && (!own(v) || v.as_ref().index() < cell.index))
            }
            (kind::BOXED, _) => {
                let v = self.value(word)?;
                (v, !v.is_object() && !v.is_cell() && !v.is_empty() && !v.is_hole())
            }
            (kind::DATE, _) => {
                let v = self.value(word)?;
                (v, v.is_number() && (at == 4 || v.is_int()))
            }
            (kind::MAP | kind::SET, _) => {
                let v = self.raw_value(word)?;
                (v, is(v, kind::DICT) && own(v))
            }
            (kind::PROMISE, 5) => {
                let v = self.raw_value(word)?;
                let pending = cell.word(3) & 255 == 0;
                (v, v.is_undefined() || (pending && is(v, kind::REACTION) && own(v)))
            }
            (kind::DECIMAL | kind::REGEXP, _) => {
                let v = self.value(word)?;
                (v, v.is_string() && self.kind_of(v) == kind::STRING)
            }
            (kind::QUERY, 4) => {
                let v = self.value(word)?;
                (v, v.is_object() && own(v) && self.kind_of(v) == kind::ARRAY)
            }
            (kind::BYTES, _) => {
                let v = self.value(word)?;
                (v, is(v, kind::DATA))
            }
            (kind::ITERATOR, 4) => {
                let v = self.raw_value(word)?;
                let over = match cell.word(3) & mode::WHAT {
                    mode::MAP | mode::SET => is(v, kind::DICT),
                    mode::STRING => v.is_string() && self.kind_of(v) == kind::STRING,
                    _ => v.is_object(),
                };
                (v, over || v.is_undefined())
            }
            (kind::GENERATOR, 4) => {
                let v = self.value(word)?;
                (v, v.is_object() && self.kind_of(v) == kind::CLOSURE)
            }
            (kind::GENERATOR, 5) => {
                let v = self.raw_value(word)?;
                (v, v.is_undefined() || (is(v, kind::VALUES) && own(v)))
            }
            (kind::GENERATOR, 6) => {
                let v = self.value(word)?;
                let list = v.is_object() && own(v) && self.kind_of(v) == kind::ARRAY;
                (v, list || v.is_undefined())
            }
            (kind::GENERATOR, _) => {
                let v = self.value(word)?;
                (v, v.is_undefined() || v.as_index().is_some())
            }
            (kind::ITERATOR, _) => {
                let v = self.value(word)?;
                (v, v.is_number())
            }
            _ => (self.value(word)?, true),
        };
        require(fine, "an object's own value")?;
        Ok(v)
    }

    // ---- pass 3: what needs several cells

    fn together(&mut self, cells: &[Cell<'_>]) -> Check {
        let later = std::mem::take(&mut self.later);
        for cell in later.iter().map(|number| &cells[*number]) {
            let kind = self.kind(cell.index);
            if kind >= kind::OBJECT {
                self.properties(cell)?;
            }
            match kind {
                kind::MAP | kind::SET => {
                    let table = self.mem.heap.get(cell.r(), 4).as_ref();
                    require(self.mem.heap.header(table) & layout::MOVED == 0, "a Map's table")?;
                    self.claim(table.index(), Mark::Table)?;
                }
                kind::DECIMAL => {
                    let text = self.mem.heap.get(cell.r(), 4);
                    let text = std::str::from_utf8(self.mem.heap.str_bytes(text)).unwrap_or("");
                    require(Decimal::parse(text).is_some(), "a Decimal's digits")?;
                }
                _ => {}
            }
        }
        for cell in later.iter().map(|number| &cells[*number]) {
            let kind = self.kind(cell.index);
            if kind >= kind::OBJECT {
                self.chain(cell.r(), cells.len())?;
            }
            match kind {
                kind::DICT => self.rehash(cell)?,
                kind::ITERATOR => self.iterator(cell.r())?,
                kind::GENERATOR => self.generator(cell.r())?,
                _ => {}
            }
        }
        self.later = later;
        Ok(())
    }

    /// The registry of `Symbol.for`: a dictionary of symbols.
    fn symbols(&mut self, word: u64) -> Check<Option<Value>> {
        let v = self.raw_value(word)?;
        if v.is_empty() {
            return Ok(None);
        }
        let own = v.is_cell() && v.as_ref().space() == space::TASK && self.kind_of(v) == kind::DICT;
        require(own && self.mem.heap.header(v.as_ref()) & layout::MOVED == 0, "the task's symbols")?;
        self.claim(v.as_ref().index(), Mark::Properties)?;
        for entry in 0..self.mem.heap.dict_used(v.as_ref()) {
            let (key, symbol, _) = self.mem.heap.dict_entry(v.as_ref(), entry);
            require(symbol.is_symbol() && imports::is_text(self.mem, key), "the task's symbols")?;
        }
        Ok(Some(v))
    }

    /// Makes a cell someone's; it must have been nobody's.
    #[inline]
    fn claim(&mut self, index: u32, by: Mark) -> Check {
        require(self.places.has(index, Mark::Start), "a cell's owner")?;
        let owned = self.places.has(index, Mark::Properties) || self.places.has(index, Mark::Table);
        require(!owned, "a cell has two owners")?;
        self.places.set(index, by);
        Ok(())
    }

    fn properties(&mut self, cell: &Cell<'_>) -> Check {
        let r = cell.r();
        let number = (cell.word(0) >> 32) as u32;
        let inline = (cell.word(0) >> 16 & 0xff) as u32;
        let [slots, elements] = cells_of(cell.word(2));
        let slots_kind = self.kind(slots.index());
        if slots.index() != 0 {
            self.claim(slots.index(), Mark::Properties)?;
        }
        if number == DICTIONARY {
            let moved = slots.index() == 0 || self.mem.heap.header(slots) & layout::MOVED != 0;
            require(slots_kind == kind::DICT && !moved, "an object's dictionary")?;
            self.entries(slots, false)?;
        } else {
            require(slots.index() == 0 || slots_kind == kind::VALUES, "an object's slots")?;
            let room = if slots.index() == 0 { 0 } else { (self.mem.heap.header(slots) >> 32) as u32 };
            let properties = &self.imported.shapes[number as usize].properties;
            for (slot, (_, attrs)) in (0u32..).zip(properties) {
                let v = if slot < inline {
                    self.mem.heap.get(r, OBJECT_WORDS + slot)
                } else {
                    require(slot - inline < room, "an object's slots")?;
                    self.mem.heap.get(slots, 1 + slot - inline)
                };
                require(self.is_accessor(v) == (attrs & attr::ACCESSOR != 0), "a property's attributes")?;
            }
        }
        if elements.index() == 0 {
            return require(cell.word(0) & flag::SPARSE == 0, "an object's elements");
        }
        self.claim(elements.index(), Mark::Properties)?;
        let kind = self.kind(elements.index());
        if cell.word(0) & flag::SPARSE != 0 {
            let moved = self.mem.heap.header(elements) & layout::MOVED != 0;
            require(kind == kind::DICT && !moved, "an object's elements")?;
            return self.entries(elements, true);
        }
        require(kind == kind::VALUES, "an object's elements")?;
        let room = (self.mem.heap.header(elements) >> 32) as usize;
        let plain = self.mem.heap.values(elements, 1, room).iter().all(|v| !self.is_accessor(*v));
        require(plain, "an array's element")
    }

    /// Entries of a dictionary: keys of properties, or of sparse elements.
    fn entries(&self, dict: Ref, sparse: bool) -> Check {
        for entry in 0..self.mem.heap.dict_used(dict) {
            let (key, value, attrs) = self.mem.heap.dict_entry(dict, entry);
            if key.is_empty() {
                require(!value.is_cell(), "a removed property")?;
                continue;
            }
            let right = if sparse {
                key.as_index().is_some_and(|i| Value::from_u32(i) == key)
            } else {
                imports::is_key(self.mem, key)
            };
            require(right, "a property's key")?;
            require(self.is_accessor(value) == (attrs & attr::ACCESSOR != 0), "a property's attributes")?;
        }
        Ok(())
    }

    /// Hashes and index of a table. One that is no object's is a Map's or Set's, or was.
    fn rehash(&mut self, cell: &Cell<'_>) -> Check {
        let d = cell.r();
        let properties = self.places.has(cell.index, Mark::Properties);
        if self.mem.heap.header(d) & layout::MOVED != 0 {
            let to = cells_of(self.mem.heap.load(d, 1))[1].index();
            require(!properties && !self.places.has(to, Mark::Properties), "a table's successor")?;
        }
        self.mem.heap.dict_unindex(d);
        for entry in 0..self.mem.heap.dict_used(d) {
            let (key, value, attrs) = self.mem.heap.dict_entry(d, entry);
            if !properties {
                require(!self.is_accessor(value) && attrs == 0, "a Map's entry")?;
            }
            if key.is_empty() {
                continue;
            }
            let hash = if properties {
                crate::dict::hash_bits(key)
            } else {
                require(!key.is_cell(), "a Map's key")?;
                let flat = !key.is_string() || self.kind_of(key) == kind::STRING;
                require(flat, "a Map's key")?;
                let (same, hash) = self.mem.table_key(key).map_err(SnapshotError::of_throw)?;
                require(same == key, "a Map's key")?;
                hash
            };
            self.mem.heap.dict_reindex(d, entry, hash);
        }
        Ok(())
    }

    fn iterator(&mut self, it: Ref) -> Check {
        let over = self.mem.heap.get(it, 4);
        let position = self.mem.heap.get(it, 5);
        if over.is_cell() {
            let d = over.as_ref();
            if d.space() == space::TASK {
                require(!self.places.has(d.index(), Mark::Properties), "an iterator's table")?;
            }
            let used = self.mem.heap.dict_used(d);
            return require(position.as_index().is_some_and(|p| p <= used), "an iterator's position");
        }
        if over.is_string() {
            let bytes = self.mem.heap.str_bytes(over);
            let at = position.as_index().map_or(usize::MAX, |p| p as usize);
            let boundary = at == bytes.len() || bytes.get(at).is_some_and(|b| b & 0xc0 != 0x80);
            return require(boundary, "an iterator's position");
        }
        Ok(())
    }

    /// A generator goes on in the code of its closure, with all registers of that.
    #[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]
    fn generator(&mut self, r: Ref) -> Check {
        let word = self.mem.heap.load(r, 3);
        let (state, pc) = (word as u8, (word >> 32) as usize);
        let closure = self.mem.heap.get(r, 4);
        let (unit, index) = self.mem.function_of(closure.as_ref());
        let function = self.mem.local.units.get(unit).and_then(|u| u.functions().get(index as usize));
        let function = function.ok_or(SnapshotError::Malformed("a generator's function"))?;
        let (flags, registers) = (function.flags, usize::from(function.registers));
        let answering = pc.checked_sub(1).and_then(|at| function.code.get(at)).copied();
        let before = answering.and_then(|i| i.op());
        let fits = match state {
            state::START => before == Some(Op::StartGenerator),
            state::SUSPENDED => before == Some(Op::Yield),
            _ => pc == 0,
        };
        require(flags & function_flags::GENERATOR != 0 && fits, "a generator's place")?;
        let is_async = flags & function_flags::ASYNC != 0;
        require(self.mem.heap.get(r, 6).is_object() == is_async, "a generator's requests")?;
        require(is_async || state != state::AWAITING_RETURN, "a generator's state")?;
        let window = self.mem.heap.get(r, 5);
        if matches!(state, state::OVER | state::AWAITING_RETURN) {
            return require(window.is_undefined(), "a generator's registers");
        }
        require(window.is_cell(), "a generator's registers")?;
        self.claim(window.as_ref().index(), Mark::Properties)?;
        let room = (self.mem.heap.header(window.as_ref()) >> 32) as usize;
        require(room == registers, "a generator's registers")?;
        let plain = self.mem.heap.values(window.as_ref(), 1, room).iter().all(|v| !self.is_accessor(*v));
        require(plain, "a generator's registers")?;
        // Older snapshots have in these registers what stood there before: `Yield` answered only when it went on.
        if state == state::SUSPENDED
            && let Some(i) = answering
        {
            self.mem.heap.set(window.as_ref(), 1 + u32::from(i.a()), Value::UNDEFINED);
            self.mem.heap.set(window.as_ref(), 2 + u32::from(i.a()), Value::ZERO);
        }
        Ok(())
    }

    /// Follows the prototypes of an object to their end.
    fn chain(&mut self, r: Ref, objects: usize) -> Check {
        let mut at = r;
        let mut steps = 0;
        while at.space() == space::TASK && !self.places.has(at.index(), Mark::Chain) {
            steps += 1;
            require(steps <= objects, "prototypes that turn round")?;
            let proto = self.mem.heap.get(at, 1);
            if !proto.is_object() {
                break;
            }
            at = proto.as_ref();
        }
        let mut done = r;
        for _ in 0..steps {
            self.places.set(done.index(), Mark::Chain);
            done = self.mem.heap.get(done, 1).as_ref();
        }
        Ok(())
    }

    /// Objects whose shape has no room on this core get dictionaries.
    fn learn(&mut self) -> Check {
        let imported = Rc::clone(&self.imported);
        for (r, number) in std::mem::take(&mut self.unlearned) {
            let made = self.mem.to_dictionary_of(r, &imported.shapes[number as usize].properties);
            made.map_err(SnapshotError::of_throw)?;
        }
        Ok(())
    }
}
