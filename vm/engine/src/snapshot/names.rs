//! Names for what tasks share: cells of the built-in objects and of a blueprint.
//!
//! A saved task refers to them, and they lie elsewhere in the next version of this program. So a
//! reference is written as a path: a root and edges from it, found once per process breadth first.
//!
//! ```text
//!   path   root: one byte of its kind, name (length, bytes);  then edges
//!   edge   one byte of its kind, then a key (length, bytes) or a number (varint)
//! ```
//!
//! `Array`, then `prototype`, then `map` is the path of a built-in method, whatever stands around it. A path leads
//! to the same place as long as the names of the language do; numbered edges are for
//! what has no name: elements, captured variables, words of the engine's own.

use super::SnapshotError;
use super::wire::{Reader, Writer};
use crate::builtins::{Kind, natives};
use crate::heap::{Heap, OBJECT_WORDS, kind};
use crate::known::{Helper, Known};
use crate::mem::Local;
use crate::object::flag;
use crate::shape::{DICTIONARY, attr};
use crate::string::INTERNED;
use crate::throw::ErrorKind;
use crate::value::{Ref, Value, space};
use forebay_base::limits::SNAPSHOT_PATH_BYTES_MAX;
use forebay_bytecode::Global;
use std::collections::{HashMap, VecDeque};

/// Cells of one blueprint that can have names.
const NODES_MAX: usize = 1 << 22;

mod root {
    pub(super) const GLOBAL: u8 = 1;
    pub(super) const PROTOTYPE: u8 = 2;
    pub(super) const SYMBOL: u8 = 3;
    pub(super) const HELPER: u8 = 4;
    pub(super) const ERROR: u8 = 5;
    pub(super) const DONE: u8 = 6;
    pub(super) const NATIVE: u8 = 7;
    pub(super) const SLOT: u8 = 8;
    pub(super) const HANDLER: u8 = 9;
    pub(super) const CONSTANT: u8 = 10;
}

/// From a cell to one that it refers to.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Edge {
    Prototype,
    Property(Box<[u8]>),
    Getter(Box<[u8]>),
    Setter(Box<[u8]>),
    /// Property by its place, and what stands there as key, getter or setter: symbols.
    At(u32),
    KeyAt(u32),
    GetterAt(u32),
    SetterAt(u32),
    Element(u32),
    Word(u32),
    EntryKey(u32),
    EntryValue(u32),
}

impl Edge {
    fn write(&self, w: &mut Writer<'_>) {
        let (number, text, n): (u8, Option<&[u8]>, u32) = match self {
            Edge::Prototype => (1, None, 0),
            Edge::Property(key) => (2, Some(key), 0),
            Edge::Getter(key) => (3, Some(key), 0),
            Edge::Setter(key) => (4, Some(key), 0),
            Edge::At(n) => (5, None, *n),
            Edge::KeyAt(n) => (6, None, *n),
            Edge::GetterAt(n) => (7, None, *n),
            Edge::SetterAt(n) => (8, None, *n),
            Edge::Element(n) => (9, None, *n),
            Edge::Word(n) => (10, None, *n),
            Edge::EntryKey(n) => (11, None, *n),
            Edge::EntryValue(n) => (12, None, *n),
        };
        w.u8(number);
        match text {
            Some(text) => w.bytes(text),
            None if number > 1 => w.varint(u64::from(n)),
            None => {}
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(match r.u8()? {
            1 => Edge::Prototype,
            2 => Edge::Property(r.bytes()?.into()),
            3 => Edge::Getter(r.bytes()?.into()),
            4 => Edge::Setter(r.bytes()?.into()),
            5 => Edge::At(r.int32()?),
            6 => Edge::KeyAt(r.int32()?),
            7 => Edge::GetterAt(r.int32()?),
            8 => Edge::SetterAt(r.int32()?),
            9 => Edge::Element(r.int32()?),
            10 => Edge::Word(r.int32()?),
            11 => Edge::EntryKey(r.int32()?),
            12 => Edge::EntryValue(r.int32()?),
            _ => return Err(SnapshotError::Malformed("a path has an unknown edge")),
        })
    }
}

struct Node {
    /// Index of the cell that leads here; itself for a root.
    parent: u32,
    /// The edge, or the root, as a path has it.
    step: Box<[u8]>,
}

/// The names of one frozen space.
pub(crate) struct Names {
    /// By word index of the cell.
    nodes: HashMap<u32, Node>,
    roots: Vec<(Box<[u8]>, Value)>,
    /// Canonical paths, where they are few and asked for often.
    paths: HashMap<Box<[u8]>, Value>,
}

impl Names {
    /// The names of the built-in objects.
    pub(crate) fn of_intrinsics(heap: &Heap, local: &Local) -> Self {
        let mut names = Self::walk(heap, local, space::INTRINSICS, intrinsic_roots(&local.known));
        let cells: Vec<u32> = names.nodes.keys().copied().collect();
        let mut path = Vec::new();
        for cell in cells {
            path.clear();
            if names.path(cell, &mut path)
                && let Some(v) = value_at(heap, cell)
            {
                names.paths.insert(path.as_slice().into(), v);
            }
        }
        names
    }

    /// The names of what a blueprint has made.
    pub(crate) fn of_blueprint(heap: &Heap, local: &Local) -> Self {
        let mut roots = Vec::new();
        let mut root = |of: u8, n: usize, v: Value| {
            let mut name = Vec::new();
            Writer(&mut name).u8(of);
            let mut number = Vec::new();
            Writer(&mut number).len(n);
            Writer(&mut name).bytes(&number);
            roots.push((name.into_boxed_slice(), v));
        };
        local.units[0].constants.iter().enumerate().for_each(|(n, v)| root(root::CONSTANT, n, *v));
        local.slots[0].iter().enumerate().for_each(|(n, v)| root(root::SLOT, n, *v));
        local.handlers.iter().enumerate().for_each(|(n, v)| root(root::HANDLER, n, *v));
        Self::walk(heap, local, space::BLUEPRINT, roots)
    }

    fn walk(heap: &Heap, local: &Local, of: u8, roots: Vec<(Box<[u8]>, Value)>) -> Self {
        let mut names = Self { nodes: HashMap::new(), roots, paths: HashMap::new() };
        let mut queue = VecDeque::new();
        for (name, v) in &names.roots {
            if let Some(cell) = nameable(heap, of, *v)
                && !names.nodes.contains_key(&cell)
            {
                names.nodes.insert(cell, Node { parent: cell, step: name.clone() });
                queue.push_back(*v);
            }
        }
        let mut unnamed: HashMap<String, u32> = HashMap::new();
        while let Some(v) = queue.pop_front() {
            let parent = v.as_ref().index();
            edges(heap, local, v, &mut |edge, to| {
                let Some(cell) = nameable(heap, of, to) else { return };
                if names.nodes.contains_key(&cell) || names.nodes.len() >= NODES_MAX {
                    return;
                }
                let mut step = Vec::new();
                let mut parent = parent;
                match native_name(heap, to).filter(|_| matches!(edge, Edge::Word(_))) {
                    Some(name) => {
                        let count = unnamed.entry(name.clone()).or_default();
                        let mut w = Writer(&mut step);
                        w.u8(root::NATIVE);
                        w.bytes(format!("{name}#{count}").as_bytes());
                        *count += 1;
                        parent = cell;
                    }
                    None => edge.write(&mut Writer(&mut step)),
                }
                names.nodes.insert(cell, Node { parent, step: step.into() });
                queue.push_back(to);
            });
        }
        names
    }

    /// Appends the path of a cell; false if it has none.
    pub(super) fn path(&self, cell: u32, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let mut steps = Vec::new();
        let mut at = cell;
        let mut bytes = 0;
        loop {
            let Some(node) = self.nodes.get(&at) else { return false };
            bytes += node.step.len();
            if bytes > SNAPSHOT_PATH_BYTES_MAX {
                return false;
            }
            steps.push(&node.step);
            if node.parent == at {
                break;
            }
            at = node.parent;
        }
        out.truncate(start);
        steps.iter().rev().for_each(|step| out.extend_from_slice(step));
        true
    }

    /// What a path leads to.
    pub(super) fn resolve(&self, heap: &Heap, local: &Local, path: &[u8]) -> Result<Value, SnapshotError> {
        if let Some(v) = self.paths.get(path) {
            return Ok(*v);
        }
        let gone = || SnapshotError::Gone(String::from_utf8_lossy(path).into_owned().into());
        if path.len() > SNAPSHOT_PATH_BYTES_MAX {
            return Err(SnapshotError::Malformed("a path is too long"));
        }
        let mut r = Reader::new(path);
        r.u8()?;
        let len = r.bytes()?.len();
        let head = 1 + len + if len < 128 { 1 } else { 2 };
        let name = path.get(..head).ok_or_else(gone)?;
        let mut at = self.roots.iter().find(|(n, _)| **n == *name).map(|(_, v)| *v).ok_or_else(gone)?;
        while !r.is_done() {
            let wanted = Edge::read(&mut r)?;
            at = follow(heap, local, at, &wanted).ok_or_else(gone)?;
        }
        Ok(at)
    }
}

fn intrinsic_roots(known: &Known) -> Vec<(Box<[u8]>, Value)> {
    let mut roots = Vec::new();
    let mut root = |of: u8, name: &str, v: Value| {
        let mut bytes = Vec::new();
        let mut w = Writer(&mut bytes);
        w.u8(of);
        w.bytes(name.as_bytes());
        roots.push((bytes.into_boxed_slice(), v));
    };
    for (name, v) in known.protos() {
        root(root::PROTOTYPE, name, v);
    }
    for error in ErrorKind::ALL {
        root(root::ERROR, error.name(), known.errors[error as usize]);
    }
    for (name, v) in known.symbols() {
        root(root::SYMBOL, name, v);
    }
    root(root::DONE, "", known.done_mark);
    for global in Global::ALL {
        root(root::GLOBAL, global.name(), known.globals[*global as usize]);
    }
    for (helper, name) in Helper::ALL {
        root(root::HELPER, name, known.helpers[helper as usize]);
    }
    roots
}

/// The name of a native that no script can reach by name.
fn native_name(heap: &Heap, v: Value) -> Option<String> {
    if !v.is_object() || heap.kind(v.as_ref()) != kind::NATIVE {
        return None;
    }
    let native = natives().get(usize::try_from(heap.load(v.as_ref(), 3)).ok()?)?;
    (native.kind == Kind::Helper).then(|| native.name.to_owned())
}

/// The index of a cell that gets a name: a frozen one of this space that isn't named by its text.
fn nameable(heap: &Heap, of: u8, v: Value) -> Option<u32> {
    let is_ref = v.is_object() || v.is_string() || v.is_symbol() || v.is_bigint() || v.is_cell();
    if !is_ref || v.as_ref().space() != of {
        return None;
    }
    if v.is_string() && heap.header(v.as_ref()) & INTERNED != 0 {
        return None;
    }
    Some(v.as_ref().index())
}

/// The value that refers to a cell.
fn value_at(heap: &Heap, cell: u32) -> Option<Value> {
    let r = Ref::new(space::INTRINSICS, cell);
    Some(match heap.kind(r) {
        kind::STRING | kind::ROPE | kind::FLATTENED => r.string(),
        kind::SYMBOL => r.symbol(),
        kind::BIGINT => r.bigint(),
        kind if kind >= kind::OBJECT => r.object(),
        _ => r.cell(),
    })
}

fn follow(heap: &Heap, local: &Local, from: Value, wanted: &Edge) -> Option<Value> {
    let mut found = None;
    edges(heap, local, from, &mut |edge, to| {
        if found.is_none() && edge == *wanted {
            found = Some(to);
        }
    });
    found
}

/// Everything that a frozen cell leads to, in the order of its parts.
#[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]
fn edges(heap: &Heap, local: &Local, v: Value, each: &mut dyn FnMut(Edge, Value)) {
    if v.is_cell() {
        let r = v.as_ref();
        match heap.kind(r) {
            kind::VARIABLE => each(Edge::Word(1), heap.get(r, 1)),
            kind::DICT => {
                for entry in 0..heap.dict_used(r) {
                    let (key, value, _) = heap.dict_entry(r, entry);
                    each(Edge::EntryKey(entry), key);
                    each(Edge::EntryValue(entry), value);
                }
            }
            _ => {}
        }
        return;
    }
    if v.is_symbol() {
        return each(Edge::Word(1), heap.get(v.as_ref(), 1));
    }
    if !v.is_object() {
        return;
    }
    let r = v.as_ref();
    let header = heap.header(r);
    each(Edge::Prototype, heap.get(r, 1));
    let shape = (header >> 32) as u32;
    let inline = (header >> 16 & 0xff) as u32;
    let cells = heap.load(r, 2);
    let slots = Ref::new(r.space(), cells as u32);
    if shape == DICTIONARY {
        for entry in 0..heap.dict_used(slots) {
            let (key, value, attrs) = heap.dict_entry(slots, entry);
            property(heap, entry, key, value, attrs, each);
        }
    } else {
        for (slot, p) in (0u32..).zip(local.shapes.properties(shape)) {
            let value = if slot < inline {
                heap.get(r, OBJECT_WORDS + slot)
            } else {
                heap.get(slots, 1 + slot - inline)
            };
            property(heap, slot, p.key, value, p.attrs, each);
        }
    }
    let elements = Ref::new(r.space(), (cells >> 32) as u32);
    if elements.index() != 0 && header & flag::SPARSE != 0 {
        for entry in 0..heap.dict_used(elements) {
            let (_, value, attrs) = heap.dict_entry(elements, entry);
            if attrs & attr::ACCESSOR == 0 {
                each(Edge::Element(entry), value);
            } else {
                each(Edge::GetterAt(entry), heap.get(value.as_ref(), 1));
                each(Edge::SetterAt(entry), heap.get(value.as_ref(), 2));
            }
        }
    } else if elements.index() != 0 {
        let capacity = (heap.header(elements) >> 32) as u32;
        for (index, value) in (0u32..).zip(heap.values(elements, 1, capacity as usize)) {
            each(Edge::Element(index), *value);
        }
    }
    let own = match header as u8 {
        kind::OBJECT | kind::PROMISE => 0,
        _ => super::layout::words(heap, local, r).map_or(0, |words| words - OBJECT_WORDS),
    };
    for word in OBJECT_WORDS..OBJECT_WORDS + own {
        each(Edge::Word(word), heap.get(r, word));
    }
    if header as u8 == kind::PROMISE {
        each(Edge::Word(4), heap.get(r, 4));
    }
}

fn property(heap: &Heap, at: u32, key: Value, value: Value, attrs: u8, each: &mut dyn FnMut(Edge, Value)) {
    if key.is_empty() {
        return;
    }
    let text: Option<Box<[u8]>> = key.is_string().then(|| heap.str_bytes(key).into());
    each(Edge::KeyAt(at), key);
    if attrs & attr::ACCESSOR == 0 {
        return each(text.map_or(Edge::At(at), Edge::Property), value);
    }
    let (get, set) = (heap.get(value.as_ref(), 1), heap.get(value.as_ref(), 2));
    each(text.clone().map_or(Edge::GetterAt(at), Edge::Getter), get);
    each(text.map_or(Edge::SetterAt(at), Edge::Setter), set);
}
