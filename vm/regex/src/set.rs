//! Sets of characters as sorted ranges.

/// The last code point.
pub(crate) const POINT_MAX: u32 = 0x10_ffff;

/// A set of code points (or code units): sorted ranges, ends included, that neither meet nor touch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Set {
    ranges: Vec<(u32, u32)>,
}

impl Set {
    pub(crate) fn of(ranges: &[(u32, u32)]) -> Self {
        let mut set = Self { ranges: ranges.to_vec() };
        set.settle();
        set
    }

    pub(crate) fn digits() -> Self {
        Self::of(&[(0x30, 0x39)])
    }

    /// `\w`; `extended`: with what case folding adds under `iu`.
    pub(crate) fn words(extended: bool) -> Self {
        let mut set = Self::of(&[(0x30, 0x39), (0x41, 0x5a), (0x5f, 0x5f), (0x61, 0x7a)]);
        if extended {
            set.add(0x17f, 0x17f);
            set.add(0x212a, 0x212a);
        }
        set
    }

    /// `\s`: WhiteSpace and LineTerminator.
    pub(crate) fn spaces() -> Self {
        Self::of(&[
            (9, 13),
            (0x20, 0x20),
            (0xa0, 0xa0),
            (0x1680, 0x1680),
            (0x2000, 0x200a),
            (0x2028, 0x2029),
            (0x202f, 0x202f),
            (0x205f, 0x205f),
            (0x3000, 0x3000),
            (0xfeff, 0xfeff),
        ])
    }

    /// What `.` does not match.
    pub(crate) fn line_ends() -> Self {
        Self::of(&[(0xa, 0xa), (0xd, 0xd), (0x2028, 0x2029)])
    }

    pub(crate) fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    pub(crate) fn contains(&self, point: u32) -> bool {
        let after = self.ranges.partition_point(|r| r.0 <= point);
        after > 0 && self.ranges[after - 1].1 >= point
    }

    /// The only member, if there is just one.
    pub(crate) fn single(&self) -> Option<u32> {
        match self.ranges[..] {
            [(a, b)] if a == b => Some(a),
            _ => None,
        }
    }

    pub(crate) fn add(&mut self, from: u32, to: u32) {
        self.ranges.push((from, to));
        self.settle();
    }

    /// Adds without sorting; [`Set::settle`] when all are there.
    pub(crate) fn push(&mut self, from: u32, to: u32) {
        self.ranges.push((from, to));
    }

    pub(crate) fn settle(&mut self) {
        self.ranges.sort_unstable();
        let mut out: Vec<(u32, u32)> = Vec::with_capacity(self.ranges.len());
        for (from, to) in self.ranges.drain(..) {
            match out.last_mut() {
                Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                _ => out.push((from, to)),
            }
        }
        self.ranges = out;
    }

    pub(crate) fn complement(&self) -> Self {
        let mut ranges = Vec::with_capacity(self.ranges.len() + 1);
        let mut next = 0;
        for (from, to) in &self.ranges {
            if *from > next {
                ranges.push((next, from - 1));
            }
            next = to + 1;
        }
        if next <= POINT_MAX {
            ranges.push((next, POINT_MAX));
        }
        Self { ranges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_and_complement() {
        let set = Set::of(&[(5, 9), (1, 2), (3, 3), (20, 30), (25, 26)]);
        assert_eq!(set.ranges(), [(1, 3), (5, 9), (20, 30)]);
        assert_eq!(set.complement().ranges(), [(0, 0), (4, 4), (10, 19), (31, POINT_MAX)]);
        assert_eq!(set.complement().complement(), set);
        assert!(set.contains(9) && !set.contains(10) && !set.contains(0));
        assert_eq!(Set::default().complement().complement(), Set::default());
    }
}
