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

/// One word of a cell as a record has it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    /// Bits without references.
    Raw(u64),
    /// Any value.
    Value(Value),
    /// The header of an object: its upper half is a shape.
    Header(u64),
    /// Word 2 of an object: slots and elements, both cells of the same space.
    Cells(u64),
    /// Word 3 of a closure.
    Function(u64),
    /// Word 3 of a native.
    Native(u64),
    /// Word 1 of a table that was replaced.
    Moved(u64),
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

/// Calls `each` with the words of a cell that a record has, the header first. The kind's name if there is no rule.
#[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]
pub(super) fn items(
    heap: &Heap,
    local: &Local,
    r: Ref,
    each: &mut impl FnMut(Item),
) -> Result<(), &'static str> {
    let header = heap.header(r);
    let kind = header as u8;
    let upper = (header >> 32) as u32;
    if kind >= kind::OBJECT {
        return object_items(heap, local, r, header, each);
    }
    match kind {
        kind::STRING => {
            each(Item::Raw(header));
            // The hash of an interned string is this process's own.
            let len = heap.load(r, 1) as u32;
            each(Item::Raw(u64::from(len)));
            bytes(heap, r, 2, len as usize, each);
        }
        kind::BIGINT => {
            each(Item::Raw(header));
            bytes(heap, r, 1, upper as usize * 4, each);
        }
        kind::DATA => {
            each(Item::Raw(header));
            bytes(heap, r, 1, upper as usize, each);
        }
        kind::ROPE => {
            each(Item::Raw(header));
            each(Item::Raw(heap.load(r, 1)));
            values(heap, r, 2..4, each);
        }
        kind::SYMBOL | kind::VARIABLE => {
            each(Item::Raw(header));
            values(heap, r, 1..2, each);
        }
        kind::ACCESSOR => {
            each(Item::Raw(header));
            values(heap, r, 1..3, each);
        }
        kind::REACTION => {
            each(Item::Raw(header));
            values(heap, r, 1..6, each);
        }
        kind::VALUES => {
            each(Item::Raw(header));
            // Room at the end is not written.
            let all = heap.values(r, 1, upper as usize);
            let used = all.iter().rposition(|v| !v.is_hole()).map_or(0, |at| at + 1);
            all[..used].iter().for_each(|v| each(Item::Value(*v)));
        }
        kind::DICT => {
            each(Item::Raw(header));
            let word = heap.load(r, 1);
            each(if header & MOVED != 0 { Item::Moved(word) } else { Item::Raw(word) });
            // Hashes and the index over them follow from the keys, and are made from them again.
            for entry in 0..heap.dict_used(r) {
                let (key, value, attrs) = heap.dict_entry(r, entry);
                each(Item::Value(key));
                each(Item::Value(value));
                each(Item::Raw(u64::from(attrs) << 32));
            }
        }
        _ => return Err(name_of(kind)),
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]
fn object_items(
    heap: &Heap,
    local: &Local,
    r: Ref,
    header: u64,
    each: &mut impl FnMut(Item),
) -> Result<(), &'static str> {
    let kind = header as u8;
    each(Item::Header(header));
    each(Item::Value(heap.get(r, 1)));
    each(Item::Cells(heap.load(r, 2)));
    let word3 = heap.load(r, 3);
    each(match kind {
        kind::CLOSURE => Item::Function(word3),
        kind::NATIVE => Item::Native(word3),
        _ => Item::Raw(word3),
    });
    let inline = (header >> 16 & 0xff) as u32;
    let own = own_words(kind, inline, word3, || captures(local, word3)).ok_or_else(|| name_of(kind))?;
    let own = if kind == kind::OBJECT {
        // Slots beyond the shape's properties were never written.
        let shape = (header >> 32) as u32;
        if shape == DICTIONARY { 0 } else { own.min(local.shapes.properties(shape).len() as u32) }
    } else {
        own
    };
    values(heap, r, OBJECT_WORDS..OBJECT_WORDS + own, each);
    Ok(())
}

fn values(heap: &Heap, r: Ref, range: std::ops::Range<u32>, each: &mut impl FnMut(Item)) {
    for word in range {
        each(Item::Value(heap.get(r, word)));
    }
}

/// Bytes as words, the last one padded with zeros.
fn bytes(heap: &Heap, r: Ref, from: u32, len: usize, each: &mut impl FnMut(Item)) {
    for chunk in heap.bytes(r, from, len).chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        each(Item::Raw(u64::from_le_bytes(word)));
    }
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
