//! Shapes (hidden classes): which properties an object has, in which order, in which slots.
//!
//! An object's header carries a shape number; objects made by the same code in the same
//! order share one, so an inline cache compares one word. The number says which
//! table it is from: intrinsics and blueprint tables are frozen and shared, what
//! tasks add is learned per core and stays, so that the next request finds it.
//! Shapes hold only keys that outlive a task; an object that gets any other key, or more than
//! [`SHAPE_PROPS_MAX`] properties, or unusual attributes, has a dictionary of its own.

use crate::mem::Mem;
use crate::value::{Value, space};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// Attributes of a property.
pub(crate) mod attr {
    pub(crate) const WRITABLE: u8 = 1;
    pub(crate) const ENUMERABLE: u8 = 2;
    pub(crate) const CONFIGURABLE: u8 = 4;
    /// The slot holds an ACCESSOR cell.
    pub(crate) const ACCESSOR: u8 = 8;
    /// What assignment makes.
    pub(crate) const DEFAULT: u8 = 7;
    /// What built-in methods have.
    pub(crate) const HIDDEN: u8 = WRITABLE | CONFIGURABLE;
}

/// The object has a dictionary.
pub(crate) const DICTIONARY: u32 = u32::MAX;
/// Without properties; in every table of intrinsics at 0.
pub(crate) const EMPTY: u32 = (space::INTRINSICS as u32) << 30;
/// Properties that a shape can have.
pub(crate) const SHAPE_PROPS_MAX: usize = 64;
/// Shapes that a core learns per blueprint.
const SHAPES_MAX: usize = 1 << 14;

/// One property of a shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Property {
    pub(crate) key: Value,
    pub(crate) attrs: u8,
}

#[derive(Clone, Copy)]
struct Shape {
    /// Which property list; shapes of one chain share it.
    list: u32,
    /// How many of its entries are this shape's.
    count: u32,
}

/// Keys of the transition tables are already spread; one multiply is enough.
#[derive(Default)]
pub(crate) struct MixHasher(u64);

impl Hasher for MixHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u64(u64::from(*b));
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = crate::string::fold(self.0.rotate_left(5) ^ n);
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }
    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }
}

/// Shapes of one space.
#[derive(Default)]
pub(crate) struct ShapeTable {
    shapes: Vec<Shape>,
    lists: Vec<Vec<Property>>,
    transitions: HashMap<(u32, u64, u8), u32, BuildHasherDefault<MixHasher>>,
}

impl ShapeTable {
    /// The table of the intrinsics, with the empty shape.
    pub(crate) fn with_empty() -> Self {
        Self { shapes: vec![Shape { list: 0, count: 0 }], lists: vec![Vec::new()], ..Self::default() }
    }

    #[inline]
    fn properties(&self, index: u32) -> &[Property] {
        let shape = self.shapes[index as usize];
        &self.lists[shape.list as usize][..shape.count as usize]
    }
}

/// All shape tables that a task sees.
pub(crate) struct Shapes {
    frozen: [Option<Arc<ShapeTable>>; 3],
    own: ShapeTable,
    tag: u8,
}

impl Shapes {
    /// Shapes that go into a table of `tag` (TASK stands for what a core learns).
    pub(crate) fn new(tag: u8, frozen: [Option<Arc<ShapeTable>>; 3]) -> Self {
        // Number 0 is nobody's: in a cache it says that a store adds nothing.
        let own = match tag {
            space::INTRINSICS | space::TASK => ShapeTable::with_empty(),
            _ => ShapeTable::default(),
        };
        Self { frozen, own, tag }
    }

    pub(crate) fn into_own(self) -> ShapeTable {
        self.own
    }

    /// The properties of a shape, in order; slot i holds property i.
    #[inline]
    pub(crate) fn properties(&self, shape: u32) -> &[Property] {
        let (tag, index) = ((shape >> 30) as u8, shape & 0x3fff_ffff);
        if tag == self.tag {
            return self.own.properties(index);
        }
        match self.frozen.get(usize::from(tag)) {
            Some(Some(table)) => table.properties(index),
            _ => &[],
        }
    }

    /// Slot and attributes of a property.
    #[inline]
    pub(crate) fn find(&self, shape: u32, key: Value) -> Option<(u32, u8)> {
        let properties = self.properties(shape);
        let at = properties.iter().position(|p| p.key == key)?;
        Some((u32::try_from(at).ok()?, properties[at].attrs))
    }

    /// The shape after adding a property; none if the object should get a dictionary.
    pub(crate) fn add(&mut self, shape: u32, key: Value, attrs: u8) -> Option<u32> {
        let tag = (shape >> 30) as u8;
        let edge = (shape, key.bits(), attrs);
        if tag != self.tag
            && let Some(Some(table)) = self.frozen.get(usize::from(tag))
            && let Some(next) = table.transitions.get(&edge)
        {
            return Some(*next);
        }
        if let Some(next) = self.own.transitions.get(&edge) {
            return Some(*next);
        }
        if self.tag == space::TASK && key.as_ref().space() == space::TASK {
            return None;
        }
        let count = self.properties(shape).len();
        let most = if self.tag == space::INTRINSICS { 4096 } else { SHAPE_PROPS_MAX };
        if count >= most || self.own.shapes.len() >= SHAPES_MAX {
            return None;
        }
        let list = self.list_for(shape, count);
        self.own.lists[list].push(Property { key, attrs });
        let index = u32::try_from(self.own.shapes.len()).ok()?;
        let (list, count) = (u32::try_from(list).ok()?, u32::try_from(count + 1).ok()?);
        self.own.shapes.push(Shape { list, count });
        let next = u32::from(self.tag) << 30 | index;
        self.own.transitions.insert(edge, next);
        Some(next)
    }

    /// A list of the own table that holds exactly the properties of `shape`.
    fn list_for(&mut self, shape: u32, count: usize) -> usize {
        if (shape >> 30) as u8 == self.tag {
            let list = self.own.shapes[(shape & 0x3fff_ffff) as usize].list as usize;
            if self.own.lists[list].len() == count {
                return list;
            }
        }
        let copy = self.properties(shape).to_vec();
        self.own.lists.push(copy);
        self.own.lists.len() - 1
    }
}

impl Mem<'_> {
    /// The shape that `{}` with these keys, in this order, ends with; none if it would be a dictionary.
    pub(crate) fn shape_of_keys(&mut self, keys: &[Value]) -> Option<u32> {
        let mut shape = EMPTY;
        for key in keys {
            shape = self.local.shapes.add(shape, *key, attr::DEFAULT)?;
        }
        Some(shape)
    }
}
