//! What the words of each kind of cell mean: one description for finding what is alive and for writing it.
//!
//! Whoever adds a kind of cell, or a word to one, describes it here and in load.rs. A kind that is
//! missing is refused by name; a kind whose size is wrong here fails `check_arena` in every test.

use crate::heap::{Heap, OBJECT_WORDS, kind};
use crate::mem::Local;
use crate::object::flag;
use crate::shape::DICTIONARY;
use crate::unit::INTRINSIC;
use crate::value::{Ref, Value, space};

/// `dict.rs`: the table was replaced; word 1's upper half says by which.
pub(super) const MOVED: u64 = 1 << 8;

/// What looks at the words of a cell as a record has them. Words come in runs, so that plain ones can be copied
/// and the others are looked at in one loop.
pub(super) trait Visit {
    /// A word without references.
    fn raw(&mut self, word: u64);
    /// Bytes without references: as many words as they need, the last one padded with zeros.
    fn bytes(&mut self, bytes: &[u8]);
    /// Any values.
    fn values(&mut self, values: &[Value]);
    /// The first words of an object: its header, whose upper half is a shape, its prototype, and word 2: slots and
    /// elements, both cells of the same space.
    fn object(&mut self, header: u64, proto: Value, cells: u64);
    /// Word 3 of a closure.
    fn function(&mut self, word: u64);
    /// Word 3 of a native.
    fn native(&mut self, word: u64);
    /// Word 1 of a table that was replaced.
    fn moved(&mut self, word: u64);
}

/// Name of a kind, for errors.
pub(super) fn name_of(kind: u8) -> &'static str {
    kind::ALL.iter().find(|(k, _)| *k == kind).map_or("unknown", |(_, name)| name)
}

/// Words that a kind of object has of its own behind word 3; none for kinds without a rule.
/// `inline` is the header's inline capacity, `word3` the word itself.
pub(super) fn own_words(
    kind: u8,
    inline: u32,
    word3: u64,
    captures: impl FnOnce() -> Option<u32>,
) -> Option<u32> {
    Some(match kind {
        kind::OBJECT => inline,
        kind::ARRAY | kind::ERROR => 0,
        kind::CLOSURE => captures()?,
        kind::NATIVE | kind::BOXED | kind::MAP | kind::SET | kind::DECIMAL | kind::BYTES => 1,
        kind::DATE | kind::PROMISE | kind::QUERY | kind::ITERATOR | kind::REGEXP => 2,
        kind::RESPONSE => 3,
        kind::GENERATOR => crate::generator::WORDS,
        kind::BOUND => u32::try_from(word3).ok()?.checked_add(2)?,
        _ => return None,
    })
}

/// Words of a cell that is no object, from its header; none for kinds without a rule.
#[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]
pub(super) fn plain_words(header: u64, word1: u64) -> Option<u32> {
    let upper = (header >> 32) as u32;
    Some(match header as u8 {
        kind::STRING => 2 + (word1 as u32).div_ceil(8),
        kind::ROPE | kind::FLATTENED => 4,
        kind::SYMBOL | kind::VARIABLE => 2,
        kind::BIGINT => 1 + upper.div_ceil(2),
        kind::ACCESSOR => 3,
        kind::DATA => 1 + upper.div_ceil(8),
        kind::VALUES => upper.checked_add(1)?,
        kind::DICT => upper.checked_mul(4)?.checked_add(2)?,
        kind::REACTION => 6,
        _ => return None,
    })
}

/// What a closure of this function captures.
fn captures(local: &Local, word3: u64) -> Option<u32> {
    let unit = usize::from(word3 & INTRINSIC != 0);
    let index = usize::try_from(word3 & !INTRINSIC).ok()?;
    u32::try_from(local.units[unit].functions().get(index)?.captures.len()).ok()
}

/// Words of a cell.
#[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]
pub(super) fn words(heap: &Heap, local: &Local, r: Ref) -> Option<u32> {
    let header = heap.header(r);
    let kind = header as u8;
    if kind < kind::OBJECT {
        return plain_words(header, if kind == kind::STRING { heap.load(r, 1) } else { 0 });
    }
    let word3 = heap.load(r, 3);
    let own = own_words(kind, (header >> 16 & 0xff) as u32, word3, || captures(local, word3))?;
    Some(OBJECT_WORDS + own)
}

/// Shows `to` the words of a cell that a record has, the header first. The kind's name if there is no rule.
#[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]
#[inline]
pub(super) fn items(heap: &Heap, local: &Local, r: Ref, to: &mut impl Visit) -> Result<(), &'static str> {
    let header = heap.header(r);
    let kind = header as u8;
    let upper = (header >> 32) as u32;
    if kind >= kind::OBJECT {
        return object_items(heap, local, r, header, to);
    }
    to.raw(header);
    match kind {
        kind::STRING => {
            // The hash of an interned string is this process's own.
            let len = heap.load(r, 1) as u32;
            to.raw(u64::from(len));
            to.bytes(heap.bytes(r, 2, len as usize));
        }
        kind::BIGINT => to.bytes(heap.bytes(r, 1, upper as usize * 4)),
        kind::DATA => to.bytes(heap.bytes(r, 1, upper as usize)),
        kind::ROPE => {
            to.raw(heap.load(r, 1));
            to.values(heap.values(r, 2, 2));
        }
        kind::SYMBOL | kind::VARIABLE => to.values(heap.values(r, 1, 1)),
        kind::ACCESSOR => to.values(heap.values(r, 1, 2)),
        kind::REACTION => to.values(heap.values(r, 1, 5)),
        kind::VALUES => {
            // Room at the end is not written.
            let all = heap.values(r, 1, upper as usize);
            let used = all.iter().rposition(|v| !v.is_hole()).map_or(0, |at| at + 1);
            to.values(&all[..used]);
        }
        kind::DICT => {
            let word = heap.load(r, 1);
            if header & MOVED != 0 {
                to.moved(word)
            } else {
                to.raw(word)
            }
            // Hashes and the index over them follow from the keys, and are made from them again.
            for entry in 0..heap.dict_used(r) {
                let (key, value, attrs) = heap.dict_entry(r, entry);
                to.values(&[key, value]);
                to.raw(u64::from(attrs) << 32);
            }
        }
        _ => return Err(name_of(kind)),
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]
#[inline]
fn object_items(
    heap: &Heap,
    local: &Local,
    r: Ref,
    header: u64,
    to: &mut impl Visit,
) -> Result<(), &'static str> {
    let kind = header as u8;
    to.object(header, heap.get(r, 1), heap.load(r, 2));
    let word3 = heap.load(r, 3);
    match kind {
        kind::CLOSURE => to.function(word3),
        kind::NATIVE => to.native(word3),
        _ => to.raw(word3),
    }
    let inline = (header >> 16 & 0xff) as u32;
    let own = own_words(kind, inline, word3, || captures(local, word3)).ok_or_else(|| name_of(kind))?;
    let own = if kind == kind::OBJECT && own > 0 {
        // Slots beyond the shape's properties were never written.
        let shape = (header >> 32) as u32;
        if shape == DICTIONARY { 0 } else { own.min(local.shapes.properties(shape).len() as u32) }
    } else {
        own
    };
    to.values(heap.values(r, OBJECT_WORDS, own as usize));
    Ok(())
}

/// The cells that word 2 of an object names.
#[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]
pub(super) fn cells_of(word: u64) -> [Ref; 2] {
    [Ref::new(space::TASK, word as u32), Ref::new(space::TASK, (word >> 32) as u32)]
}

/// Flags that an object of this kind may have.
pub(super) fn flags_of(kind: u8) -> u64 {
    let all = flag::NOT_EXTENSIBLE | flag::SPARSE;
    all | match kind {
        kind::ARRAY => flag::LENGTH_FIXED | flag::RETURNED,
        kind::CLOSURE | kind::NATIVE | kind::BOUND => flag::LAZY | flag::CONSTRUCTOR,
        kind::OBJECT => flag::RETURNED | flag::RAW_JSON | flag::ARGUMENTS,
        _ => flag::RETURNED,
    }
}

/// Walks a whole arena cell by cell: whether every cell's size here is the one that was allocated.
#[cfg(any(test, debug_assertions))]
pub(super) fn check_arena(heap: &Heap, local: &Local) -> Result<(), String> {
    let mut at = 1;
    let mut before = ("", 0);
    let top = u32::try_from(heap.top()).unwrap_or(u32::MAX);
    while at < top {
        let r = Ref::new(space::TASK, at);
        let header = heap.header(r);
        let name = kind::ALL.iter().find(|(k, _)| u64::from(*k) == header & 0xff).map(|(_, name)| *name);
        let (Some(name), Some(words)) = (name, words(heap, local, r)) else {
            return Err(format!("word {at} of {top} is no cell: {header:#x}, behind {before:?}"));
        };
        before = (name, at);
        at = at.checked_add(words).ok_or_else(|| format!("a {name} at {at} has {words} words"))?;
    }
    if at == top { Ok(()) } else { Err(format!("the last cell ends at {at}, not {top}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new kind of cell: describe it in `own_words` or `plain_words`, in `items` if it isn't an object of plain values, and
    /// in load.rs, and give it a script in tests/snapshot.rs.
    #[test]
    fn every_kind_has_a_rule() {
        let without: Vec<&str> = kind::ALL
            .iter()
            .filter(|(kind, _)| {
                if *kind < kind::OBJECT {
                    plain_words(u64::from(*kind) | 4 << 32, 0).is_none()
                } else {
                    own_words(*kind, 0, 0, || Some(0)).is_none()
                }
            })
            .map(|(_, name)| *name)
            .collect();
        assert!(without.is_empty(), "{without:?}");
    }
}
