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
//! Three passes over the cells: places and sizes; words; what needs several cells.

use super::check::{fits, is_plain};
use super::imports::{self, Imported, LoadedShape};
use super::layout::{self, cells_of};
use super::save::{IMPORT, PAGE_WORDS};
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
use crate::string::STRING_BYTES_MAX;
use crate::unit::INTRINSIC;
use crate::value::{Ref, Value, space};
use forebay_bytecode::Op;
use forebay_bytecode::module::function_flags;

/// Words of the arena per cell up to which cells are found through a table with a place per word.
const WORDS_PER_CELL_MAX: usize = 64;

pub(super) type Check<T = ()> = Result<T, SnapshotError>;

pub(super) fn require(holds: bool, what: &'static str) -> Check {
    if holds { Ok(()) } else { Err(SnapshotError::Malformed(what)) }
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
        all.sort_unstable_by_key(|r| r.0);
        require(all.windows(2).all(|pair| pair[0].0 != pair[1].0), "a record stands twice")?;
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
#[derive(Clone, Copy)]
struct Cell<'r> {
    index: u32,
    /// Words that the arena has for it.
    size: u32,
    bytes: &'r [u8],
}

impl Cell<'_> {
    fn len(&self) -> u32 {
        u32::try_from(self.bytes.len() / 8).unwrap_or(u32::MAX)
    }
    /// Word `at` of the record; 0 beyond it.
    fn word(&self, at: u32) -> u64 {
        let at = at as usize * 8;
        self.bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
    }
    fn r(&self) -> Ref {
        Ref::new(space::TASK, self.index)
    }
}

/// Marks of a cell: what refers to it.
mod mark {
    /// It is the slots or elements of an object.
    pub(super) const PROPERTIES: u8 = 1;
    /// It is the table of a Map or Set.
    pub(super) const TABLE: u8 = 2;
    /// Its chain of prototypes ends.
    pub(super) const CHAIN: u8 = 4;
}

/// What a task's memory is read with.
pub(super) struct Loader<'a, 'm> {
    pub(super) mem: &'a mut Mem<'m>,
    pub(super) imported: Imported,
    /// Words of the arena: cells end before it.
    top: u32,
    /// All cells, by their place: index and kind.
    pub(super) places: Vec<(u32, u8)>,
    /// Per page of the arena, where its cells begin in `places`; one more at the end.
    pages: Vec<u32>,
    /// Per word, the cell that starts there, + 1: only where an arena has few words beside its cells.
    dense: Vec<u32>,
    /// Marks of the cells, as in `places`.
    marks: Vec<u8>,
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
    let mut loader = Loader {
        mem,
        imported,
        top,
        places: Vec::new(),
        pages: Vec::new(),
        dense: Vec::new(),
        marks: Vec::new(),
        unlearned: Vec::new(),
    };
    let cells = loader.cells(records)?;
    loader.words(&cells)?;
    task.symbols = loader.symbols(r.u64()?)?;
    loader.together(&cells)?;
    loader.learn()?;
    loader.task(task, &mut r, records, input)?;
    r.done("the task record")?;
    task.numbers = Some(Box::new(numbers));
    Ok(())
}

impl Loader<'_, '_> {
    // ---- values

    /// Where in `places` the cell is that starts at a word.
    #[inline]
    fn place(&self, index: u32) -> Option<usize> {
        if !self.dense.is_empty() {
            return (*self.dense.get(index as usize)? as usize).checked_sub(1);
        }
        let page = (index / PAGE_WORDS) as usize;
        let range = *self.pages.get(page)? as usize..*self.pages.get(page + 1)? as usize;
        let start = range.start;
        self.places[range].binary_search_by_key(&index, |p| p.0).ok().map(|at| start + at)
    }

    /// Kind of the cell that starts at a word; 0: none.
    #[inline]
    fn kind(&self, index: u32) -> u8 {
        self.place(index).map_or(0, |at| self.places[at].1)
    }

    fn mark(&self, index: u32) -> u8 {
        self.place(index).map_or(0, |at| self.marks[at])
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
    fn raw_value(&self, word: u64) -> Check<Value> {
        let v = Value::from_bits(word);
        if is_plain(v) {
            return Ok(v);
        }
        let is_ref = v.is_string() || v.is_object() || v.is_symbol() || v.is_bigint() || v.is_cell();
        require(is_ref && word >> 33 & 0x7fff == 0, "a value's bits")?;
        if word & IMPORT != 0 {
            let import = self.imported.values.get(word as u32 as usize).copied();
            let import = import.ok_or(SnapshotError::Malformed("a value names no import"))?;
            require(import.tag() == v.tag(), "an import is of another kind")?;
            return Ok(import);
        }
        require(fits(v, self.kind(word as u32)), "a value names no cell")?;
        Ok(v)
    }

    /// A value that scripts and registers may have.
    pub(super) fn value(&self, word: u64) -> Check<Value> {
        let v = self.raw_value(word)?;
        let hidden = v.is_cell() && !matches!(self.kind_of(v), kind::VARIABLE | kind::DATA);
        require(!hidden, "a cell where a value belongs")?;
        Ok(v)
    }

    /// What a property's place may have: a value, or an accessor pair.
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

    fn cells<'r>(&mut self, records: &Records<'r>) -> Check<Vec<Cell<'r>>> {
        let bytes: usize =
            records.all.iter().filter(|r| matches!(r.0, RecordKey::Heap(_))).map(|r| r.1.len()).sum();
        // A cell takes 16 bytes at least, and seldom less than 48.
        let mut cells = Vec::with_capacity(bytes / 48 + 1);
        self.places.reserve(bytes / 48 + 1);
        let mut free = 1;
        for (key, bytes) in &records.all {
            let RecordKey::Heap(page) = *key else { continue };
            let mut r = Reader::new(bytes);
            while !r.is_done() {
                let (index, len) = (r.u32()?, r.u32()?);
                require(index / PAGE_WORDS == page && index >= free, "a cell's place")?;
                let bytes = r.take((len as usize).saturating_mul(8))?;
                let mut cell = Cell { index, size: 0, bytes };
                cell.size = self.size(&cell)?;
                free = index.saturating_add(cell.size);
                require(free <= self.top, "a cell beyond the arena")?;
                while self.pages.len() <= page as usize {
                    self.pages.push(u32::try_from(self.places.len()).unwrap_or(u32::MAX));
                }
                self.places.push((index, cell.word(0).to_le_bytes()[0]));
                cells.push(cell);
            }
        }
        self.pages.push(u32::try_from(self.places.len()).unwrap_or(u32::MAX));
        self.marks = vec![0; self.places.len()];
        if self.top as usize / WORDS_PER_CELL_MAX < self.places.len() {
            self.dense = vec![0; self.top as usize];
            for (number, (index, _)) in (1u32..).zip(&self.places) {
                self.dense[*index as usize] = number;
            }
        }
        Ok(cells)
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
        for cell in cells {
            if self.kind(cell.index) >= kind::OBJECT {
                self.object_words(cell)?;
            } else {
                self.plain_words(cell)?;
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
                require(bytes.len() as u64 == len && forebay_bytecode::is_wtf8(bytes), "a string's bytes")?;
                let (expected, units) = crate::string::flags_of(bytes);
                require(flags == expected && upper as usize == units, "a string's header")?;
                self.copy(cell, cell.size);
            }
            kind::BIGINT => {
                require(flags & !(1 << 8) == 0 && upper as usize <= LIMBS_MAX, "a BigInt's header")?;
                let top = upper.checked_sub(1).map(|at| (cell.word(1 + at / 2) >> (32 * (at % 2))) as u32);
                require(top != Some(0) && (top.is_some() || flags == 0), "a BigInt's limbs")?;
                self.copy(cell, cell.size);
            }
            kind::DATA => {
                require(flags == 0, "a header's flags")?;
                self.copy(cell, cell.size);
            }
            kind::ROPE => self.rope(cell)?,
            kind::SYMBOL => {
                require(header & !crate::class::PRIVATE == u64::from(kind::SYMBOL), "a header's flags")?;
                let v = self.value(cell.word(1))?;
                require(v.is_string() || v.is_undefined(), "a symbol's description")?;
                self.put(r, 0, header);
                self.put(r, 1, v.bits());
            }
            kind::VARIABLE | kind::ACCESSOR => {
                require(header == u64::from(header as u8), "a header's flags")?;
                self.put(r, 0, header);
                for at in 1..cell.size {
                    let v = self.value(cell.word(at))?;
                    self.put(r, at, v.bits());
                }
            }
            kind::REACTION => self.reaction(cell)?,
            kind::VALUES => {
                require(flags == 0, "a header's flags")?;
                self.put(r, 0, header);
                for at in 1..cell.len() {
                    let v = self.slot(cell.word(at))?;
                    self.put(r, at, v.bits());
                }
                let room = (cell.size - cell.len()) as usize;
                self.mem.heap.values_mut(r, cell.len(), room).fill(Value::HOLE);
            }
            _ => self.dict(cell)?,
        }
        Ok(())
    }

    fn put(&mut self, r: Ref, at: u32, word: u64) {
        self.mem.heap.store(r, at, word);
    }

    /// Words without references, as they are.
    fn copy(&mut self, cell: &Cell<'_>, words: u32) {
        let len = words as usize * 8;
        self.mem.heap.bytes_mut(cell.r(), 0, len).copy_from_slice(&cell.bytes[..len]);
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
        self.put(r, 0, cell.word(0));
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

    #[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]
    fn object_words(&mut self, cell: &Cell<'_>) -> Check {
        let (header, r) = (cell.word(0), cell.r());
        let kind = header as u8;
        let inline = header >> 16 & 0xff;
        let flags = header & 0xff00;
        require(flags & !layout::flags_of(kind) == 0, "an object's flags")?;
        require(inline <= 32 && (inline == 0 || kind == kind::OBJECT), "an object's slots")?;
        let number = (header >> 32) as u32;
        let shape = if number == DICTIONARY {
            DICTIONARY
        } else {
            match self.shape(number)?.shape {
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
        self.put(r, 2, cell.word(2));
        let word3 = self.word3(cell, kind)?;
        self.put(r, 3, word3);
        for at in OBJECT_WORDS..cell.len() {
            let v = match kind {
                kind::OBJECT => self.slot(cell.word(at))?,
                _ => self.own(cell, kind, at)?,
            };
            self.put(r, at, v.bits());
        }
        for at in cell.len()..cell.size {
            self.put(r, at, Value::UNDEFINED.bits());
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
            kind::QUERY => word <= 1,
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
        for cell in cells {
            let kind = self.kind(cell.index);
            if kind >= kind::OBJECT {
                self.properties(cell)?;
            }
            match kind {
                kind::MAP | kind::SET => {
                    let table = self.mem.heap.get(cell.r(), 4).as_ref();
                    require(self.mem.heap.header(table) & layout::MOVED == 0, "a Map's table")?;
                    self.claim(table.index(), mark::TABLE)?;
                }
                kind::DECIMAL => {
                    let text = self.mem.heap.get(cell.r(), 4);
                    let text = std::str::from_utf8(self.mem.heap.str_bytes(text)).unwrap_or("");
                    require(Decimal::parse(text).is_some(), "a Decimal's digits")?;
                }
                _ => {}
            }
        }
        for cell in cells {
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
        self.claim(v.as_ref().index(), mark::PROPERTIES)?;
        for entry in 0..self.mem.heap.dict_used(v.as_ref()) {
            let (key, symbol, _) = self.mem.heap.dict_entry(v.as_ref(), entry);
            require(symbol.is_symbol() && imports::is_text(self.mem, key), "the task's symbols")?;
        }
        Ok(Some(v))
    }

    /// Makes a cell someone's; it must have been nobody's.
    fn claim(&mut self, index: u32, by: u8) -> Check {
        let at = self.place(index).ok_or(SnapshotError::Malformed("a cell's owner"))?;
        let mark = &mut self.marks[at];
        require(*mark & (mark::PROPERTIES | mark::TABLE) == 0, "a cell has two owners")?;
        *mark |= by;
        Ok(())
    }

    fn properties(&mut self, cell: &Cell<'_>) -> Check {
        let r = cell.r();
        let number = (cell.word(0) >> 32) as u32;
        let inline = (cell.word(0) >> 16 & 0xff) as u32;
        let [slots, elements] = cells_of(cell.word(2));
        let slots_kind = self.kind(slots.index());
        if slots.index() != 0 {
            self.claim(slots.index(), mark::PROPERTIES)?;
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
        self.claim(elements.index(), mark::PROPERTIES)?;
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
        let properties = self.mark(cell.index) & mark::PROPERTIES != 0;
        if self.mem.heap.header(d) & layout::MOVED != 0 {
            let to = cells_of(self.mem.heap.load(d, 1))[1].index();
            require(!properties && self.mark(to) & mark::PROPERTIES == 0, "a table's successor")?;
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
                require(self.mark(d.index()) & mark::PROPERTIES == 0, "an iterator's table")?;
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
        self.claim(window.as_ref().index(), mark::PROPERTIES)?;
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
        while at.space() == space::TASK && self.mark(at.index()) & mark::CHAIN == 0 {
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
            if let Some(at) = self.place(done.index()) {
                self.marks[at] |= mark::CHAIN;
            }
            done = self.mem.heap.get(done, 1).as_ref();
        }
        Ok(())
    }

    /// Objects whose shape has no room on this core get dictionaries.
    fn learn(&mut self) -> Check {
        for (r, number) in std::mem::take(&mut self.unlearned) {
            let properties = std::mem::take(&mut self.imported.shapes[number as usize].properties);
            let made = self.mem.to_dictionary_of(r, &properties);
            self.imported.shapes[number as usize].properties = properties;
            made.map_err(SnapshotError::of_throw)?;
        }
        Ok(())
    }
}
