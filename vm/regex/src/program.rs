//! What a pattern is compiled to.
//!
//! Instructions run on a position in the text and on registers: two per capture group (start, end),
//! then marks (where an iteration that may be empty began) and counters. A failed instruction goes
//! back to the last choice.

use crate::set::Set;
use crate::tree::Name;
use crate::{Flags, SyntaxError, analysis, compile, parse};
use memchr::memmem::Finder;

/// "None" in fields that name something by number.
pub(crate) const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inst {
    /// An ASCII character.
    Byte(u8),
    /// Bytes of `literals`: from, length.
    Literal(u32, u32),
    /// A character by its code point.
    Char(u32),
    /// A character of class.
    Class(u32),
    /// The same three, to the left (insides of lookbehinds).
    CharBack(u32),
    ClassBack(u32),
    /// A choice, by number.
    Split(u32),
    /// A repeated class, by number.
    Loop(u32),
    Jump(u32),
    /// Register = position.
    Save(u32),
    /// Capture groups from, up to (not included), are unset.
    Reset(u32, u32),
    /// Fail if the position is still that in the register: an iteration that took nothing.
    Check(u32),
    /// Register = 0.
    Zero(u32),
    /// A counted repetition, by number: goes on with another iteration, or leaves.
    Count(u32),
    /// After an iteration: fail if it took nothing and wasn't asked for, by number.
    CountCheck(u32),
    Start,
    End,
    LineStart,
    LineEnd,
    /// At a word boundary, if `negated` is false: negated, class of words.
    Word(bool, u32),
    /// Group; folds.
    BackRef(u32, bool),
    BackRefBack(u32, bool),
    /// Groups `refs[from..to]`, of which at most one took part; folds.
    NamedRef(u32, u32, bool),
    NamedRefBack(u32, u32, bool),
    /// A lookaround starts: negated, where to go on behind it.
    Look(bool, u32),
    /// Its inside matches.
    LookEnd(bool),
    Match,
}

/// A choice: first, then second. A guard is a set of bytes of which one must come next.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    pub(crate) first: u32,
    pub(crate) second: u32,
    pub(crate) first_guard: u32,
    pub(crate) second_guard: u32,
    pub(crate) memo: u32,
    /// Inside a lookbehind: what comes next stands to the left.
    pub(crate) back: bool,
}

/// `class{min,max}`.
#[derive(Clone, Debug)]
pub(crate) struct CharLoop {
    pub(crate) class: u32,
    pub(crate) min: u32,
    pub(crate) max: u32,
    pub(crate) greedy: bool,
    /// Fewer than all can't match either.
    pub(crate) possessive: bool,
    /// The ASCII byte that must follow, if there is just one.
    pub(crate) next: Option<u8>,
    /// Where it goes on.
    pub(crate) exit: u32,
    pub(crate) memo: u32,
}

/// A repetition that is counted.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    pub(crate) register: u32,
    pub(crate) mark: u32,
    pub(crate) min: u32,
    pub(crate) max: u32,
    pub(crate) greedy: bool,
    pub(crate) body: u32,
    pub(crate) exit: u32,
}

/// A place whose failures are remembered: numbers `base ..`, one for each combination of the marks
/// that are at the position.
#[derive(Clone, Debug)]
pub(crate) struct Memo {
    pub(crate) base: u32,
    pub(crate) marks: Vec<u32>,
}

/// A set of characters, ready to be asked.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    /// By byte; those beyond ASCII are false.
    pub(crate) table: [bool; 256],
    /// Beyond ASCII.
    pub(crate) ranges: Box<[(u32, u32)]>,
    /// The ASCII characters that are not in it, if they are few: memchr finds where a run ends.
    pub(crate) stops: Option<Stops>,
    /// Every character beyond ASCII is in it.
    pub(crate) all_beyond: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Stops {
    None,
    One(u8),
    Two(u8, u8),
    Three(u8, u8, u8),
}

impl Stops {
    /// The first of them.
    pub(crate) fn find(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::None => None,
            Self::One(a) => memchr::memchr(a, bytes),
            Self::Two(a, b) => memchr::memchr2(a, b, bytes),
            Self::Three(a, b, c) => memchr::memchr3(a, b, c, bytes),
        }
    }

    /// For the bytes that are `wanted`, if those are at most three.
    pub(crate) fn of(wanted: impl Iterator<Item = u8>) -> Option<Self> {
        let bytes: Vec<u8> = wanted.take(4).collect();
        match bytes[..] {
            [] => Some(Self::None),
            [a] => Some(Self::One(a)),
            [a, b] => Some(Self::Two(a, b)),
            [a, b, c] => Some(Self::Three(a, b, c)),
            _ => None,
        }
    }
}

impl Class {
    pub(crate) fn new(set: &Set) -> Self {
        let mut table = [false; 256];
        for byte in 0..128u8 {
            table[usize::from(byte)] = set.contains(u32::from(byte));
        }
        let ranges: Box<[(u32, u32)]> =
            set.ranges().iter().filter(|r| r.1 >= 0x80).map(|r| (r.0.max(0x80), r.1)).collect();
        let all_beyond = ranges[..] == [(0x80, crate::set::POINT_MAX)];
        let stops = Stops::of((0..128u8).filter(|b| !table[usize::from(*b)]));
        Self { table, ranges, stops, all_beyond }
    }

    #[inline(always)]
    pub(crate) fn contains(&self, point: u32) -> bool {
        if point < 0x80 { self.table[point as usize] } else { self.contains_beyond(point) }
    }

    fn contains_beyond(&self, point: u32) -> bool {
        if self.all_beyond {
            return true;
        }
        let after = self.ranges.partition_point(|r| r.0 <= point);
        after > 0 && self.ranges[after - 1].1 >= point
    }
}

/// How a search finds where to try.
#[derive(Debug)]
pub(crate) enum Hint {
    /// Everywhere.
    Any,
    /// At the start of the text only.
    Anchored,
    /// Where this text stands.
    Prefix(Box<Finder<'static>>),
    /// Where one of these bytes stands.
    Bytes(Stops),
    /// Where a byte of the set stands.
    Table(Box<[bool; 256]>),
}

/// A compiled pattern. Immutable; any number of matchers run on it.
#[derive(Debug)]
pub struct Program {
    pub(crate) insts: Vec<Inst>,
    pub(crate) classes: Vec<Class>,
    pub(crate) splits: Vec<Split>,
    pub(crate) loops: Vec<CharLoop>,
    pub(crate) counters: Vec<Counter>,
    pub(crate) memos: Vec<Memo>,
    /// Numbers that `memos` use; 0: nothing is remembered.
    pub(crate) memo_states: u32,
    pub(crate) guards: Vec<[bool; 256]>,
    pub(crate) literals: Vec<u8>,
    pub(crate) refs: Vec<u32>,
    pub(crate) groups: u32,
    pub(crate) registers: u32,
    pub(crate) names: Vec<Name>,
    pub(crate) flags: Flags,
    pub(crate) hint: Hint,
    /// A text that every match contains, where the hint doesn't say so.
    pub(crate) required: Option<Finder<'static>>,
}

impl Program {
    /// Compiles a pattern (WTF-8).
    pub fn compile(pattern: &[u8], flags: Flags) -> Result<Program, SyntaxError> {
        let tree = parse::parse(pattern, flags)?;
        let mut program = compile::compile(&tree, flags)?;
        analysis::improve(&mut program, &tree.root);
        program.names = tree.names;
        Ok(program)
    }

    /// Capture groups, the whole match (group 0) included.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups as usize
    }

    /// Names of groups in the order of the pattern, each with its groups: several where the name
    /// stands in several alternatives.
    pub fn names(&self) -> impl ExactSizeIterator<Item = (&str, &[u32])> {
        self.names.iter().map(|n| (&*n.text, &n.groups[..]))
    }

    /// The flags it was compiled with.
    #[must_use]
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// Bytes that it takes, roughly.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.insts.len() * size_of::<Inst>()
            + self.classes.iter().map(|c| size_of::<Class>() + c.ranges.len() * 8).sum::<usize>()
            + self.splits.len() * size_of::<Split>()
            + self.loops.len() * size_of::<CharLoop>()
            + self.guards.len() * 256
            + self.literals.len()
            + 512
    }
}
