//! Where the cells of a snapshot start, and whose they are: bits per word, for the pages of the arena that have cells.
//!
//! ```text
//!   pages   per page of the arena: number of its bits + 1, 0 if no cell starts in it
//!   bits    per page with cells: which words start a cell; which of those are someone's
//! ```
//! So an arena that is large and mostly empty costs four bytes a page. What kind of cell it is says the cell itself.

use super::save::PAGE_WORDS;

const WORDS: usize = PAGE_WORDS as usize / 64;

/// What refers to a cell, or is known of it.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    /// It is there.
    Start,
    /// It is the slots or elements of an object.
    Properties,
    /// It is the table of a Map or Set.
    Table,
    /// Its chain of prototypes ends.
    Chain,
}

/// See the file's head. Kept from one restoration to the next.
#[derive(Default, Debug)]
pub(super) struct Places {
    pages: Vec<u32>,
    bits: Vec<[[u64; WORDS]; 4]>,
}

impl Places {
    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.pages.clear();
        self.bits.clear();
    }

    /// The next cells start in this page, beyond all pages before.
    pub(super) fn page(&mut self, page: u32) {
        self.pages.resize(page as usize, 0);
        self.bits.push([[0; WORDS]; 4]);
        self.pages.push(u32::try_from(self.bits.len()).unwrap_or(0));
    }

    #[inline(always)]
    fn at(index: u32) -> (usize, u64) {
        ((index % PAGE_WORDS / 64) as usize, 1 << (index % 64))
    }

    #[inline(always)]
    fn page_of(&self, index: u32) -> Option<usize> {
        (*self.pages.get((index / PAGE_WORDS) as usize)? as usize).checked_sub(1)
    }

    /// Whether the cell that starts at a word has a mark.
    #[inline(always)]
    pub(super) fn has(&self, index: u32, mark: Mark) -> bool {
        let (word, bit) = Self::at(index);
        self.page_of(index).is_some_and(|page| self.bits[page][mark as usize][word] & bit != 0)
    }

    /// Gives it one; its page must be there.
    #[inline(always)]
    pub(super) fn set(&mut self, index: u32, mark: Mark) {
        let (word, bit) = Self::at(index);
        if let Some(page) = self.page_of(index) {
            self.bits[page][mark as usize][word] |= bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_of_one_word_and_one_kind() {
        let mut places = Places::default();
        places.page(1);
        places.page(300);
        for index in [256, 511, 300 * 256 + 64] {
            assert!(!places.has(index, Mark::Start));
            places.set(index, Mark::Start);
            places.set(index, Mark::Table);
            assert!(places.has(index, Mark::Start) && places.has(index, Mark::Table));
            assert!(!places.has(index, Mark::Properties) && !places.has(index + 1, Mark::Start));
        }
        for nowhere in [0, 255, 512, 299 * 256, u32::MAX] {
            places.set(nowhere, Mark::Start);
            assert!(!places.has(nowhere, Mark::Start), "{nowhere}");
        }
        places.clear();
        assert!(!places.has(256, Mark::Start));
    }
}
