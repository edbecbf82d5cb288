//! Where code units are in text that isn't ASCII: a table of byte offsets, one for every 64 units, made when
//! a long string is first indexed and kept for the last few strings, so that a loop over `charCodeAt(i)` costs
//! the same per step at the end of the text as at its start.

use crate::builtins::text;
use crate::heap::Heap;
use crate::string::flat_bytes;
use crate::value::{Ref, Value};

/// Units between two entries.
const STEP: usize = 64;
/// Shorter texts are walked from their start.
const TEXT_BYTES_MIN: usize = 256;
/// Strings whose tables are kept.
const STRINGS: usize = 4;
/// Table length that is given back at the end of a task.
const KEPT_MAX: usize = 4096;
/// The unit is the second half of the pair at the offset.
const SECOND: u32 = 1 << 31;

/// The tables of a task.
#[derive(Default)]
pub(crate) struct Crumbs {
    tables: [(Option<Ref>, Vec<u32>); STRINGS],
    next: usize,
    used: bool,
}

impl Crumbs {
    /// Forgets the strings.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.used) {
            self.forget();
        }
    }

    fn forget(&mut self) {
        for (of, table) in &mut self.tables {
            *of = None;
            if table.capacity() > KEPT_MAX {
                *table = Vec::new();
            }
        }
    }

    fn find(&self, of: Ref) -> Option<usize> {
        self.tables.iter().position(|(r, _)| *r == Some(of))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "strings have less than 2^30 bytes")]
fn build(bytes: &[u8], table: &mut Vec<u32>) {
    table.clear();
    let (mut unit, mut at) = (0, 0);
    while at < bytes.len() {
        if unit == table.len() * STEP {
            table.push(at as u32);
        }
        let lead = bytes[at];
        at += if lead < 0x80 { 1 } else { text::decode(bytes, at).1 };
        unit += 1;
        if lead >= 0xf0 {
            if unit == table.len() * STEP {
                table.push((at - 4) as u32 | SECOND);
            }
            unit += 1;
        }
    }
}

impl Heap {
    /// Number of the table of a long flat string.
    fn crumbs_of(&mut self, r: Ref) -> usize {
        if let Some(at) = self.crumbs.find(r) {
            return at;
        }
        let at = self.crumbs.next;
        self.crumbs.next = (at + 1) % STRINGS;
        self.crumbs.used = true;
        let mut table = std::mem::take(&mut self.crumbs.tables[at].1);
        let bytes = flat_bytes(self, r);
        let len = bytes.len();
        build(bytes, &mut table);
        self.work += len as u64 / 8;
        self.crumbs.tables[at] = (Some(r), table);
        at
    }

    /// [`text::locate`] of code unit `index` in a flat string.
    pub(crate) fn locate(&mut self, flat: Value, index: u32) -> (usize, bool) {
        let r = flat.as_ref();
        let index = index as usize;
        if self.string_bytes_len(flat) < TEXT_BYTES_MIN {
            return text::locate(self.str_bytes(flat), index);
        }
        let at = self.crumbs_of(r);
        let bytes = flat_bytes(self, r);
        let Some(crumb) = self.crumbs.tables[at].1.get(index / STEP) else { return (bytes.len(), false) };
        let (start, before) = ((crumb & !SECOND) as usize, usize::from(crumb & SECOND != 0));
        let (offset, second) = text::locate(&bytes[start..], index % STEP + before);
        (start + offset, second)
    }

    /// The code unit at which the character at byte `at` of a flat string starts.
    pub(crate) fn unit_at_byte(&mut self, flat: Value, at: usize) -> usize {
        let r = flat.as_ref();
        if self.string_bytes_len(flat) < TEXT_BYTES_MIN {
            return text::utf16_len(&self.str_bytes(flat)[..at]);
        }
        let number = self.crumbs_of(r);
        let table = &self.crumbs.tables[number].1;
        let entry = table.partition_point(|c| (c & !SECOND) as usize <= at).saturating_sub(1);
        let crumb = table.get(entry).copied().unwrap_or(0);
        let (start, before) = ((crumb & !SECOND) as usize, usize::from(crumb & SECOND != 0));
        entry * STEP - before + text::utf16_len(&flat_bytes(self, r)[start..at])
    }
}
