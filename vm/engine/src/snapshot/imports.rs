//! What a task's records refer to outside of them, numbered.
//!
//! ```text
//!   imports   entries, in the order of their numbers; each kind of entry counts for itself
//!   1 text      bytes                              an interned string
//!   2 builtin   tag (u8), path (names.rs)          a cell of the built-in objects
//!   3 shared    tag (u8), path                     a cell of the blueprint
//!   4 shape     count, (text or symbol, attrs)*    a shape, as its properties
//!   5 code      hash (u64), name                   a function of the built-in scripts
//!   6 native    name                               a native
//! ```
//!
//! Texts, builtins and shared cells count together: these numbers stand in values. The record only ever grows while a
//! task lives, so that a suspension rewrites nothing because of a number that moved.

use super::code::{CodeNames, native_names};
use super::names::Names;
use super::wire::{Reader, Writer};
use super::{SnapshotError, World};
use crate::heap::kind;
use crate::mem::Mem;
use crate::shape::{EMPTY, MixHasher, SHAPE_PROPS_MAX, attr};
use crate::string::INTERNED;
use crate::unit::INTRINSIC;
use crate::value::{Value, space};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::rc::Rc;

type Table<K> = HashMap<K, u32, BuildHasherDefault<MixHasher>>;

/// Entries of one task's imports.
const IMPORTS_MAX: u32 = 1 << 24;
/// Attributes that a property can have (shape.rs).
const ATTRS: u8 = 15;

/// The numbers that a task's records use, from its first suspension on.
#[derive(Default, Clone, Debug)]
pub(crate) struct Numbers {
    pub(super) record: Vec<u8>,
    values: Table<u64>,
    shapes: Table<u32>,
    functions: Table<u32>,
    natives: Table<u32>,
    value_count: u32,
    shape_count: u32,
    function_count: u32,
    native_count: u32,
}

fn next(count: &mut u32) -> Result<u32, SnapshotError> {
    let number = *count;
    if number >= IMPORTS_MAX {
        return Err(SnapshotError::TooLarge("imports"));
    }
    *count += 1;
    Ok(number)
}

impl Numbers {
    /// The number that a value has.
    #[inline]
    pub(super) fn find(&self, v: Value) -> Option<u32> {
        self.values.get(&v.bits()).copied()
    }

    /// The number that a shape has.
    pub(super) fn find_shape(&self, shape: u32) -> Option<u32> {
        self.shapes.get(&shape).copied()
    }

    /// The number that a function of the built-in scripts has.
    pub(super) fn find_function(&self, world: &World<'_>, index: u32) -> Option<u32> {
        let (_, first) = first_alike(world, index).ok()?;
        self.functions.get(&first).copied()
    }

    /// The number that a native has.
    pub(super) fn find_native(&self, index: u32) -> Option<u32> {
        self.natives.get(&index).copied()
    }

    /// The number of a value that lies outside of the task, or is an interned string.
    #[inline]
    pub(super) fn value(&mut self, world: &World<'_>, v: Value) -> Result<u32, SnapshotError> {
        match self.values.get(&v.bits()) {
            Some(number) => Ok(*number),
            None => self.add_value(world, v),
        }
    }

    fn add_value(&mut self, world: &World<'_>, v: Value) -> Result<u32, SnapshotError> {
        let r = v.as_ref();
        let mut w = Writer(&mut self.record);
        if v.is_string() && world.heap.header(r) & INTERNED != 0 {
            w.u8(1);
            w.bytes(world.heap.str_bytes(v));
        } else {
            let (entry, names) = match r.space() {
                space::INTRINSICS => (2, &world.intrinsics.names),
                space::BLUEPRINT => (3, world.blueprint),
                _ => return Err(SnapshotError::Unsupported("a value of another task")),
            };
            let mut path = Vec::new();
            if !names.path(r.index(), &mut path) {
                return Err(SnapshotError::Unsupported("a value that the module made and nothing names"));
            }
            w.u8(entry);
            w.u8(tag_byte(v));
            w.bytes(&path);
        }
        let number = next(&mut self.value_count)?;
        self.values.insert(v.bits(), number);
        Ok(number)
    }

    /// The number of a shape.
    pub(super) fn shape(&mut self, world: &World<'_>, shape: u32) -> Result<u32, SnapshotError> {
        if let Some(number) = self.shapes.get(&shape) {
            return Ok(*number);
        }
        let properties = world.local.shapes.properties(shape);
        let mut keys = Vec::with_capacity(properties.len());
        for p in properties {
            keys.push((self.value(world, p.key)?, p.attrs));
        }
        let mut w = Writer(&mut self.record);
        w.u8(4);
        w.len(keys.len());
        for (key, attrs) in keys {
            w.varint(u64::from(key));
            w.u8(attrs);
        }
        let number = next(&mut self.shape_count)?;
        self.shapes.insert(shape, number);
        Ok(number)
    }

    /// The number of a function of the built-in scripts.
    pub(super) fn function(&mut self, world: &World<'_>, index: u32) -> Result<u32, SnapshotError> {
        let (hash, index) = first_alike(world, index)?;
        if let Some(number) = self.functions.get(&index) {
            return Ok(*number);
        }
        let name = function_name(world, index);
        let mut w = Writer(&mut self.record);
        w.u8(5);
        w.u64(hash);
        w.bytes(name.as_bytes());
        let number = next(&mut self.function_count)?;
        self.functions.insert(index, number);
        Ok(number)
    }

    /// The number of a native.
    pub(super) fn native(&mut self, index: u32) -> Result<u32, SnapshotError> {
        if let Some(number) = self.natives.get(&index) {
            return Ok(*number);
        }
        let names = native_names();
        let name =
            names.names.get(index as usize).ok_or(SnapshotError::Unsupported("a native without name"))?;
        let mut w = Writer(&mut self.record);
        w.u8(6);
        w.bytes(name.as_bytes());
        let number = next(&mut self.native_count)?;
        self.natives.insert(index, number);
        Ok(number)
    }
}

/// Hash of a function of the built-in scripts, and the first function that has it: those that do the same are one.
fn first_alike(world: &World<'_>, index: u32) -> Result<(u64, u32), SnapshotError> {
    let hash = world.intrinsics.code.hashes.get(index as usize);
    let hash = *hash.ok_or(SnapshotError::Unsupported("a built-in function without code"))?;
    Ok((hash, world.intrinsics.code.functions.get(&hash).copied().unwrap_or(index)))
}

fn function_name(world: &World<'_>, index: u32) -> String {
    let unit = &world.local.units[1];
    let name = unit.functions().get(index as usize).map_or(0, |f| f.name);
    match unit.constants.get(name as usize) {
        Some(v) if v.is_string() => String::from_utf8_lossy(world.heap.str_bytes(*v)).into_owned(),
        _ => String::new(),
    }
}

/// The tag of a reference as one byte.
fn tag_byte(v: Value) -> u8 {
    v.tag().to_le_bytes()[0]
}

/// A shape of a record, in this process.
#[derive(Debug)]
pub(super) struct LoadedShape {
    /// None: this core has no room for it, its objects become dictionaries.
    pub(super) shape: Option<u32>,
    pub(super) properties: Vec<(Value, u8)>,
    /// One of them at least is a getter or a setter.
    pub(super) accessors: bool,
}

/// What the numbers stand for in this process.
#[derive(Default, Debug)]
pub(super) struct Imported {
    pub(super) values: Vec<Value>,
    pub(super) shapes: Vec<LoadedShape>,
    pub(super) functions: Vec<u32>,
    pub(super) natives: Vec<u32>,
}

/// Where names are looked up while a task is restored.
pub(super) struct Known<'a> {
    pub(super) intrinsics: &'a Names,
    pub(super) code: &'a CodeNames,
    pub(super) blueprint: &'a Names,
}

/// Imports records that a core has read for a blueprint. Tasks that wait at the same place refer to the same things, so
/// most records are one of a few; and what one says doesn't change while the blueprint is adopted.
#[derive(Default, Debug)]
pub(crate) struct Remembered {
    read: Vec<(Rc<Imported>, Rc<Numbers>)>,
    /// Which one is replaced next.
    next: usize,
}

/// Records that a core remembers for a blueprint, and the bytes of the longest one.
const REMEMBERED_MAX: usize = 8;
const REMEMBERED_BYTES_MAX: usize = 4096;

impl Remembered {
    fn find(&self, record: &[u8]) -> Option<(Rc<Imported>, Rc<Numbers>)> {
        self.read.iter().find(|(_, numbers)| numbers.record == record).cloned()
    }

    fn keep(&mut self, imported: &Rc<Imported>, numbers: &Rc<Numbers>) {
        // A key that lies in the task's own memory, because the core has no room for more, goes with the task.
        let lasting = imported.values.iter().all(|v| v.as_ref().space() != space::TASK)
            && imported.shapes.iter().all(|s| s.shape.is_some());
        if !lasting || numbers.record.len() > REMEMBERED_BYTES_MAX {
            return;
        }
        let pair = (Rc::clone(imported), Rc::clone(numbers));
        if self.read.len() < REMEMBERED_MAX {
            self.read.push(pair);
        } else {
            self.read[self.next] = pair;
            self.next = (self.next + 1) % REMEMBERED_MAX;
        }
    }
}

/// What an imports record says.
pub(super) fn read(
    mem: &mut Mem<'_>,
    known: &Known<'_>,
    record: &[u8],
) -> Result<(Rc<Imported>, Rc<Numbers>), SnapshotError> {
    if let Some(found) = mem.local.imports.find(record) {
        return Ok(found);
    }
    let (imported, numbers) = read_entries(mem, known, record)?;
    let (imported, numbers) = (Rc::new(imported), Rc::new(numbers));
    mem.local.imports.keep(&imported, &numbers);
    Ok((imported, numbers))
}

/// Reads an imports record: interns texts, finds cells by their paths, learns shapes.
fn read_entries(
    mem: &mut Mem<'_>,
    known: &Known<'_>,
    record: &[u8],
) -> Result<(Imported, Numbers), SnapshotError> {
    let mut numbers = Numbers { record: record.to_vec(), ..Numbers::default() };
    // A text takes some ten bytes; more room is made where that is wrong.
    let about = (record.len() / 10).min(256);
    numbers.values.reserve(about);
    let mut imported = Imported { values: Vec::with_capacity(about), ..Imported::default() };
    let mut r = Reader::new(record);
    while !r.is_done() {
        match r.u8()? {
            1 => {
                let bytes = r.bytes()?;
                if !forebay_bytecode::is_wtf8(bytes) {
                    return Err(SnapshotError::Malformed("a text is not UTF-8"));
                }
                let v = mem.intern(bytes).map_err(SnapshotError::of_throw)?;
                numbers.values.insert(v.bits(), next(&mut numbers.value_count)?);
                imported.values.push(v);
            }
            entry @ (2 | 3) => {
                let tag = r.u8()?;
                let names = if entry == 2 { known.intrinsics } else { known.blueprint };
                let v = names.resolve(mem.heap, mem.local, r.bytes()?)?;
                let named = v.is_object() || v.is_string() || v.is_symbol() || v.is_bigint() || v.is_cell();
                if !named || tag_byte(v) != tag {
                    return Err(SnapshotError::Malformed("a path leads to another kind of value"));
                }
                numbers.values.insert(v.bits(), next(&mut numbers.value_count)?);
                imported.values.push(v);
            }
            4 => {
                let loaded = read_shape(mem, &mut r, &imported.values)?;
                let number = next(&mut numbers.shape_count)?;
                if let Some(shape) = loaded.shape {
                    numbers.shapes.insert(shape, number);
                }
                imported.shapes.push(loaded);
            }
            5 => {
                let hash = r.u64()?;
                let name = r.text()?;
                let found = known.code.functions.get(&hash);
                let index = *found.ok_or_else(|| SnapshotError::CodeChanged(name.into()))?;
                numbers.functions.insert(index, next(&mut numbers.function_count)?);
                imported.functions.push(index);
            }
            6 => {
                let name = r.text()?;
                let found = native_names().numbers.get(name);
                let index = *found.ok_or_else(|| SnapshotError::Gone(name.into()))?;
                numbers.natives.insert(index, next(&mut numbers.native_count)?);
                imported.natives.push(index);
            }
            _ => return Err(SnapshotError::Malformed("an unknown kind of import")),
        }
    }
    Ok((imported, numbers))
}

fn read_shape(mem: &mut Mem<'_>, r: &mut Reader<'_>, values: &[Value]) -> Result<LoadedShape, SnapshotError> {
    let count = r.count(2)?;
    if count > SHAPE_PROPS_MAX {
        return Err(SnapshotError::Malformed("a shape has too many properties"));
    }
    let mut properties: Vec<(Value, u8)> = Vec::with_capacity(count);
    let mut shape = Some(EMPTY);
    for _ in 0..count {
        let key = values.get(r.int32()? as usize).copied();
        let key = key.filter(|k| is_key(mem, *k));
        let key = key.ok_or(SnapshotError::Malformed("a shape's key is no key"))?;
        let attrs = r.u8()?;
        if attrs > ATTRS || properties.iter().any(|(k, _)| *k == key) {
            return Err(SnapshotError::Malformed("a shape's property"));
        }
        properties.push((key, attrs));
        shape = shape.and_then(|s| mem.local.shapes.add(s, key, attrs));
    }
    let accessors = properties.iter().any(|(_, attrs)| attrs & attr::ACCESSOR != 0);
    Ok(LoadedShape { shape, properties, accessors })
}

/// Whether a value is an interned string.
pub(super) fn is_text(mem: &Mem<'_>, v: Value) -> bool {
    v.is_string() && mem.heap.kind(v.as_ref()) == kind::STRING && mem.heap.header(v.as_ref()) & INTERNED != 0
}

/// Whether a value can be a property's key: a symbol, or an interned string that spells no index.
pub(super) fn is_key(mem: &Mem<'_>, v: Value) -> bool {
    v.is_symbol() || (is_text(mem, v) && crate::string::parse_index(mem.heap.str_bytes(v)).is_none())
}

/// The unit and index of a closure's word 3.
#[expect(clippy::cast_possible_truncation, reason = "the low half")]
pub(super) fn function_of(word: u64) -> (usize, u32) {
    (usize::from(word & INTRINSIC != 0), (word & !INTRINSIC) as u32)
}
