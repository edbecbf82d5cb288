//! Code as the interpreter wants it: a verified module, its constants as values,
//! its property sites as interned keys.

use crate::value::Value;
use forebay_bytecode::{Function, Verified};

/// Bit of a function index: the function is of the intrinsics' unit.
pub(crate) const INTRINSIC: u64 = 1 << 31;

/// One loaded module.
pub(crate) struct Unit {
    pub(crate) module: Option<Verified>,
    /// Constants, in the unit's space.
    pub(crate) constants: Vec<Value>,
    /// Keys of property sites; an index-like key ("0") is the integer.
    pub(crate) sites: Vec<Value>,
}

impl Unit {
    pub(crate) fn empty() -> Self {
        Self { module: None, constants: Vec::new(), sites: Vec::new() }
    }

    pub(crate) fn functions(&self) -> &[Function] {
        self.module.as_ref().map_or(&[], |m| &m.functions)
    }

    pub(crate) fn new_caches(&self) -> Vec<Cache> {
        vec![Cache::default(); self.sites.len()]
    }
}

/// What an inline cache knows about a site. `header` is the whole header word
/// of the objects it is about (kind, flags, inline capacity, shape); 0 = nothing.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cache {
    pub(crate) header: u64,
    /// The object that has the property: EMPTY bits (0) for the receiver itself.
    pub(crate) holder: Value,
    /// The prototype that the receiver must have, if `holder` or `next` matters.
    pub(crate) proto: Value,
    /// Word offset in the holder, or with OUTSIDE its index in the out-of-line slots.
    pub(crate) slot: u32,
    /// Stores that add the property: the shape afterwards; 0 for plain ones.
    pub(crate) next: u32,
}

/// `Cache::slot`: the value is in the out-of-line slots.
pub(crate) const OUTSIDE: u32 = 1 << 31;
/// Pseudo header of strings as receivers.
pub(crate) const STRING_RECEIVER: u64 = 1;
