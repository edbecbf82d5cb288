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
use super::{RecordKey, RestoreInput, SnapshotError, builtins, file, state};
use crate::api::EffectId;
use crate::blueprint::Blueprint;
use crate::builtins::bignum::LIMBS_MAX;
use crate::builtins::decimal::Decimal;
use crate::builtins::iterators::mode;
use crate::fiber::{
    CONSTRUCTING, Cont, ContKind, Fiber, Frame, Job, NATIVE_FRAME, Pending, STACK_START, TaskState, Wait,
};
use crate::heap::{OBJECT_WORDS, kind};
use crate::mem::{Local, Mem};
use crate::object::flag;
use crate::request::Request;
use crate::shape::{DICTIONARY, attr};
use crate::string::STRING_BYTES_MAX;
use crate::unit::INTRINSIC;
use crate::value::{Ref, Value, space};
use forebay_base::Monotonic;
use forebay_bytecode::{HostFn, Instr, Op};
use std::ops::Range;
use std::time::Duration;

type Check<T = ()> = Result<T, SnapshotError>;

fn require(holds: bool, what: &'static str) -> Check {
    if holds { Ok(()) } else { Err(SnapshotError::Malformed(what)) }
}

/// The records of one task, by key.
pub(super) struct Records<'r> {
    all: Vec<(RecordKey, &'r [u8])>,
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

    fn get(&self, key: RecordKey) -> Option<&'r [u8]> {
        let at = self.all.binary_search_by(|r| r.0.cmp(&key)).ok()?;
        Some(self.all[at].1)
    }

    fn need(&self, key: RecordKey) -> Check<&'r [u8]> {
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

struct Loader<'a, 'm> {
    mem: &'a mut Mem<'m>,
    imported: Imported,
    /// Kind of the cell that starts at a word; 0: none.
    kinds: Vec<u8>,
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
    let size = top as usize;
    let mut loader =
        Loader { mem, imported, kinds: vec![0; size], marks: vec![0; size], unlearned: Vec::new() };
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

    fn kind(&self, index: u32) -> u8 {
        self.kinds.get(index as usize).copied().unwrap_or(0)
    }

    /// Kind of what a reference names, here or in a shared space.
    fn kind_of(&self, v: Value) -> u8 {
        let r = v.as_ref();
        if r.space() == space::TASK && (r.index() as usize) < self.kinds.len() {
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
    fn value(&self, word: u64) -> Check<Value> {
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
    fn promise(&self, word: u64, or_empty: bool) -> Check<Value> {
        let v = self.value(word)?;
        let own = v.is_object() && v.as_ref().space() == space::TASK && self.kind_of(v) == kind::PROMISE;
        require(own || (or_empty && v.is_empty()), "no promise where one belongs")?;
        Ok(v)
    }

    // ---- pass 1: places and sizes

    fn cells<'r>(&mut self, records: &Records<'r>) -> Check<Vec<Cell<'r>>> {
        let mut cells = Vec::new();
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
                require(free as usize <= self.kinds.len(), "a cell beyond the arena")?;
                self.kinds[index as usize] = cell.word(0).to_le_bytes()[0];
                cells.push(cell);
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
                require(bytes.len() as u64 == len && super::check::is_wtf8(bytes), "a string's bytes")?;
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
                require(header == u64::from(kind::SYMBOL), "a header's flags")?;
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

    #[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]
    fn rope(&mut self, cell: &Cell<'_>) -> Check {
        let (mut flags, mut units, mut len) = (0u64, 0u64, 0u64);
        let mut sides = [Value::UNDEFINED; 2];
        for (side, at) in sides.iter_mut().zip([2, 3]) {
            let v = self.value(cell.word(at))?;
            require(v.is_string(), "a rope's side")?;
            let r = v.as_ref();
            let own = r.space() == space::TASK && (r.index() as usize) < self.kinds.len();
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
            kind::PROMISE => word & !256 <= 2,
            kind::QUERY => word <= 1,
            kind::RESPONSE => (200..600).contains(&word),
            kind::ITERATOR => word < 16 && word & 3 != 3,
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
            (kind::DECIMAL, _) => {
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
                let over = match cell.word(3) & 12 {
                    mode::MAP | mode::SET => is(v, kind::DICT),
                    mode::STRING => v.is_string() && self.kind_of(v) == kind::STRING,
                    _ => v.is_object(),
                };
                (v, over || v.is_undefined())
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
        let mark = self.marks.get_mut(index as usize).ok_or(SnapshotError::Malformed("a cell's owner"))?;
        require(*mark & (mark::PROPERTIES | mark::TABLE) == 0, "a cell has two owners")?;
        *mark |= by;
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]
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
        let properties = self.marks[cell.index as usize] & mark::PROPERTIES != 0;
        if self.mem.heap.header(d) & layout::MOVED != 0 {
            let to = (self.mem.heap.load(d, 1) >> 32) as usize;
            require(!properties && self.marks[to] & mark::PROPERTIES == 0, "a table's successor")?;
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
                require(self.marks[d.index() as usize] & mark::PROPERTIES == 0, "an iterator's table")?;
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

    /// Follows the prototypes of an object to their end.
    fn chain(&mut self, r: Ref, objects: usize) -> Check {
        let mut at = r;
        let mut steps = 0;
        while at.space() == space::TASK && self.marks[at.index() as usize] & mark::CHAIN == 0 {
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
            self.marks[done.index() as usize] |= mark::CHAIN;
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

    // ---- the task

    fn task(
        &mut self,
        task: &mut TaskState,
        r: &mut Reader<'_>,
        records: &Records<'_>,
        input: &RestoreInput<'_>,
    ) -> Check {
        task.fuel_used = r.varint()?;
        self.mem.heap.work = r.varint()?;
        let left = r.varint()?;
        if !input.fresh_wall_time {
            let never = left == u64::MAX;
            task.deadline =
                if never { Monotonic::NEVER } else { input.now.after(Duration::from_nanos(left)) };
        }
        let fibers = r.int32()?;
        if fibers as usize > input.limits.fibers.saturating_add(1) {
            return Err(SnapshotError::TooLarge("fibers"));
        }
        let ready = r.int32()?;
        task.effects_made = r.int32()?;
        task.random = r.varint()?;
        task.takes_request = r.flag()?;
        let mut values = [Value::EMPTY; 3];
        for v in &mut values {
            *v = self.value(r.u64()?)?;
        }
        let [entry, payload, object] = values;
        require(entry.is_empty() || self.mem.is_callable(entry), "the task's entry")?;
        task.entry = entry;
        if let Some(record) = records.get(RecordKey::Request) {
            task.request = request(record)?;
        }
        (task.request.payload, task.request.object) = (payload, object);
        self.mem.heap.charge_outside(task.request.bytes.len()).map_err(SnapshotError::of_throw)?;

        let mut used = 2 + usize::from(records.get(RecordKey::Request).is_some());
        used += records.all.iter().filter(|r| matches!(r.0, RecordKey::Heap(_))).count();
        used += self.fibers(task, fibers, records, input)?;
        require(used == records.all.len(), "a record that belongs to nothing")?;

        for _ in 0..r.count(8)? {
            task.rejected.push(self.promise(r.u64()?, false)?);
        }
        for _ in 0..r.count(10)? {
            let job = self.job(task, r)?;
            task.jobs.push_back(job);
        }
        for _ in 0..r.count(16)? {
            let pending = self.pending(task, r)?;
            require(task.pending.iter().all(|p| p.id != pending.id), "two effects of one number")?;
            task.pending.push(pending);
        }
        if task.pending.len() > input.limits.effects {
            return Err(SnapshotError::TooLarge("effects"));
        }
        if ready > 0 {
            let fiber = task.fibers.get(ready as usize - 1);
            let can_run = fiber.is_some_and(|f| f.wait == Wait::Ready && !f.frames.is_empty());
            require(can_run, "the fiber that goes on first")?;
            task.ready = Some(ready - 1);
        }
        self.reactions(task)
    }

    /// Fibers that promises name must be there.
    fn reactions(&self, task: &TaskState) -> Check {
        for (index, _) in self.kinds.iter().enumerate().filter(|(_, k)| **k == kind::REACTION) {
            let cell = Ref::new(space::TASK, u32::try_from(index).unwrap_or(0));
            if self.mem.heap.get(cell, 2) == Value::int(1) {
                let fiber = self.mem.heap.get(cell, 5).as_index().unwrap_or(u32::MAX);
                waiting(task, fiber)?;
            }
        }
        Ok(())
    }

    fn fibers(
        &mut self,
        task: &mut TaskState,
        count: u32,
        records: &Records<'_>,
        input: &RestoreInput<'_>,
    ) -> Check<usize> {
        let mut used = 0;
        let mut stacks = 0;
        for index in 0..count {
            let Some(record) = records.get(RecordKey::Fiber(index)) else {
                let mut free = Fiber::new(Vec::new(), Vec::new());
                free.wait = Wait::Free;
                task.fibers.push(free);
                continue;
            };
            let mut r = Reader::new(record);
            let (mut fiber, frames) = self.fiber(&mut r, count)?;
            if frames as usize > input.limits.stack_depth.saturating_add(1) {
                return Err(SnapshotError::TooLarge("calls"));
            }
            for depth in 0..frames {
                let record = records.need(RecordKey::Frame(index, depth))?;
                self.frame(&mut fiber, record)?;
            }
            used += 1 + frames as usize;
            let top = fiber.frames.last().copied();
            match fiber.wait {
                Wait::Promise | Wait::Effect(_) => check_cont(self.mem.local, &fiber.cont, top.as_ref())?,
                _ => require(fiber.cont.kind == ContKind::Root, "a continuation")?,
            }
            stacks += fiber.stack.len() * 8;
            task.fibers.push(fiber);
        }
        // A caller waits for its promise at a call of its own.
        for at in 0..task.fibers.len() {
            if let Some((parent, cont)) = task.fibers[at].parent {
                let parent = task.fibers.get(parent as usize).filter(|p| p.wait != Wait::Free);
                let parent = parent.ok_or(SnapshotError::Malformed("a fiber's caller"))?;
                check_cont(self.mem.local, &cont, parent.frames.last())?;
            }
        }
        self.mem.heap.charge_outside(stacks).map_err(SnapshotError::of_throw)?;
        Ok(used)
    }

    fn fiber(&self, r: &mut Reader<'_>, count: u32) -> Check<(Fiber, u32)> {
        let mut fiber = Fiber::new(vec![Value::UNDEFINED; STACK_START], Vec::new());
        fiber.wait = match r.u8()? {
            1 => Wait::Running,
            2 => Wait::Ready,
            3 => Wait::Promise,
            4 => Wait::Effect(EffectId(r.int32()?)),
            _ => return Err(SnapshotError::Malformed("a fiber's state")),
        };
        fiber.cont = self.cont(r)?;
        fiber.promise = self.promise(r.u64()?, true)?;
        if r.flag()? {
            let parent = r.int32()?;
            require(parent < count, "a fiber's caller")?;
            fiber.parent = Some((parent, self.cont(r)?));
        }
        (fiber.reject_only, fiber.main, fiber.handler) = (r.flag()?, r.flag()?, r.flag()?);
        let frames = r.int32()?;
        r.done("a fiber")?;
        Ok((fiber, frames))
    }

    fn cont(&self, r: &mut Reader<'_>) -> Check<Cont> {
        let kind = state::CONT_KINDS.get(usize::from(r.u8()?));
        let kind = *kind.ok_or(SnapshotError::Malformed("a continuation's kind"))?;
        let dst = u16::try_from(r.varint()?).map_err(|_| SnapshotError::Malformed("a register"))?;
        Ok(Cont::with(kind, dst, r.u32()?, self.value(r.u64()?)?))
    }

    fn frame(&self, fiber: &mut Fiber, record: &[u8]) -> Check {
        let mut r = Reader::new(record);
        let unit = r.u8()?;
        let number = r.int32()?;
        let function = match unit {
            1 => *self
                .imported
                .functions
                .get(number as usize)
                .ok_or(SnapshotError::Malformed("a call's function"))?,
            _ => number,
        };
        let (pc, base, flags) = (r.int32()?, r.int32()?, r.u8()?);
        let closure = self.value(r.u64()?)?;
        let cont = self.cont(&mut r)?;
        let frame = Frame { function, pc, base, unit, flags, closure, cont };
        self.check_frame(&frame)?;

        let below = fiber.frames.last();
        match below {
            None => require(base >= 1 && base <= 64 && cont.kind == ContKind::Root, "a fiber's first call")?,
            Some(f) => {
                let end = f.base as usize + state::registers(self.mem.local, f);
                require(base > f.base && base as usize <= end + 1, "a call's place")?;
                check_cont(self.mem.local, &cont, below)?;
            }
        }
        let count = r.count(8)?;
        let size = state::registers(self.mem.local, &frame);
        require(count <= size, "a call's registers")?;
        let base = base as usize;
        let needed = base + size + 1;
        if fiber.stack.len() < needed {
            let limit = self.mem.heap.reserved() / 8;
            require(needed < limit, "a call's registers")?;
            fiber.stack.resize(needed.next_power_of_two(), Value::UNDEFINED);
        }
        // The callee stands before its registers, as after a call.
        fiber.stack[base - 1] = closure;
        for at in base..base + count {
            fiber.stack[at] = self.value(r.u64()?)?;
        }
        r.done("a call")?;
        fiber.frames.push(frame);
        Ok(())
    }

    fn check_frame(&self, f: &Frame) -> Check {
        if f.unit == NATIVE_FRAME {
            require(f.pc == 0 && f.flags <= CONSTRUCTING, "a native's call")?;
            require(f.function <= 1 << 17 && self.mem.is_callable(f.closure), "a native's call")?;
            return Ok(());
        }
        require(f.unit < 2 && f.flags == 0, "a call's unit")?;
        let function = self.mem.local.units[usize::from(f.unit)].functions().get(f.function as usize);
        let function = function.ok_or(SnapshotError::Malformed("a call's function"))?;
        require((f.pc as usize) < function.code.len(), "a call's pc")?;
        let of = self.mem.kind_of(f.closure) == Some(kind::CLOSURE)
            && self.mem.function_of(f.closure.as_ref()) == (usize::from(f.unit), f.function);
        require(of, "a call's closure")
    }

    fn job(&self, task: &TaskState, r: &mut Reader<'_>) -> Check<Job> {
        let number = usize::from(r.u8()?);
        let count = *state::JOB_VALUES.get(number).ok_or(SnapshotError::Malformed("a job's kind"))?;
        let (fiber, rejected) = (r.int32()?, r.flag()?);
        let mut words = [Value::EMPTY.bits(); 3];
        for word in words.iter_mut().take(count) {
            *word = r.u64()?;
        }
        let [a, b, c] = words;
        Ok(match number {
            0 => {
                waiting(task, fiber)?;
                Job::Resume { fiber, value: self.value(a)?, rejected }
            }
            1 => Job::React {
                handler: self.value(a)?,
                value: self.value(b)?,
                target: self.promise(c, true)?,
                rejected,
            },
            2 => {
                let from = self.value(b)?;
                let promise = from.is_object() && self.kind_of(from) == kind::PROMISE;
                require(promise, "no promise where one belongs")?;
                Job::Adopt { target: self.promise(a, false)?, from }
            }
            3 => Job::Thenable {
                target: self.promise(a, false)?,
                thenable: self.value(b)?,
                then: self.value(c)?,
            },
            _ => Job::Main { value: self.value(a)?, rejected },
        })
    }

    fn pending(&self, task: &TaskState, r: &mut Reader<'_>) -> Check<Pending> {
        let id = EffectId(r.int32()?);
        let function = u16::try_from(r.varint()?).ok().and_then(HostFn::from_u16);
        let function = function.ok_or(SnapshotError::Malformed("an effect's function"))?;
        let fiber = r.int32()?;
        let waits = task.fibers.get(fiber as usize).is_some_and(|f| f.wait == Wait::Effect(id));
        require(waits, "an effect's fiber")?;
        let arguments = self.value(r.u64()?)?;
        let list = arguments.is_object() && self.kind_of(arguments) == kind::ARRAY;
        require(list, "an effect's arguments")?;
        let result = self.value(r.u64()?)?;
        let result = (!result.is_empty()).then_some(result);
        Ok(Pending { id, function, fiber, arguments, taken: false, result })
    }
}

/// A fiber that a job or a promise resumes.
fn waiting(task: &TaskState, fiber: u32) -> Check {
    let there = task.fibers.get(fiber as usize).map(|f| f.wait);
    require(matches!(there, Some(Wait::Promise | Wait::Effect(_))), "a fiber that is resumed")
}

/// Whether a continuation fits the call that it goes back to.
fn check_cont(local: &Local, cont: &Cont, below: Option<&Frame>) -> Check {
    let bad = SnapshotError::Malformed("a continuation");
    let Some(f) = below else { return if cont.kind == ContKind::Root { Ok(()) } else { Err(bad) } };
    if f.unit == NATIVE_FRAME {
        let fits = cont.kind == ContKind::NativeArgument && cont.a <= f.function;
        return if fits { Ok(()) } else { Err(bad) };
    }
    let function = &local.units[usize::from(f.unit)].functions()[f.function as usize];
    let registers = u32::from(function.registers);
    let i = f.pc.checked_sub(1).map_or_else(Instr::default, |at| function.code[at as usize]);
    let op = i.op();
    let dst = u32::from(cont.dst);
    let fits = match cont.kind {
        ContKind::Plain | ContKind::Construct | ContKind::Truth | ContKind::Http | ContKind::Iterate => {
            dst < registers
        }
        ContKind::Discard => true,
        ContKind::Left | ContKind::Right => op.is_some_and(is_binary),
        ContKind::Unary => matches!(
            op,
            Some(Op::Neg | Op::ToNumber | Op::ToNumeric | Op::Inc | Op::Dec | Op::BitNot | Op::ToPropertyKey)
        ),
        ContKind::Key => matches!(op, Some(Op::GetElem | Op::SetElem | Op::DeleteElem | Op::In)),
        ContKind::Concat => op == Some(Op::Concat) && cont.a < u32::from(i.n()) && cont.saved.is_string(),
        ContKind::Iterator => dst + 2 < registers,
        ContKind::Next => {
            let to = f.pc.wrapping_add(cont.a) as usize;
            dst >= 2 && dst < registers && to < function.code.len()
        }
        ContKind::NativeArgument | ContKind::Root => false,
    };
    if fits { Ok(()) } else { Err(bad) }
}

fn is_binary(op: Op) -> bool {
    let number = op as u8;
    (Op::Add as u8..=Op::UShr as u8).contains(&number)
        || (matches!(op, Op::Eq | Op::Ne) || (Op::Lt as u8..=Op::Ge as u8).contains(&number))
}

/// A request's record.
fn request(record: &[u8]) -> Check<Request> {
    let mut r = Reader::new(record);
    let bytes = r.bytes()?.to_vec();
    let range = |r: &mut Reader<'_>, text: bool| -> Check<Range<usize>> {
        let (start, len) = (r.int32()? as usize, r.int32()? as usize);
        let part = bytes.get(start..start.saturating_add(len));
        let part = part.ok_or(SnapshotError::Malformed("a part of the request"))?;
        require(!text || std::str::from_utf8(part).is_ok(), "a part of the request")?;
        Ok(start..start + len)
    };
    let mut request = Request {
        method: range(&mut r, true)?,
        path: range(&mut r, true)?,
        query: range(&mut r, true)?,
        content_type: range(&mut r, true)?,
        ip: range(&mut r, true)?,
        body: range(&mut r, false)?,
        ..Request::default()
    };
    for _ in 0..r.count(4)? {
        request.headers.push((range(&mut r, true)?, range(&mut r, false)?));
    }
    for _ in 0..r.count(4)? {
        request.params.push((range(&mut r, true)?, range(&mut r, true)?));
    }
    r.done("the request")?;
    request.bytes = bytes;
    Ok(request)
}
