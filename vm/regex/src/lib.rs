//! ECMAScript regular expressions (ECMA-262 section 22.2) that can be stopped at any step.
//!
//! ```text
//!   pattern --parse--> tree --compile--> Program (instructions, classes, search hints)
//!                                           |
//!   text, start --Matcher::start--> state --step(budget)--> Match | NoMatch
//!                                     ^                      | OutOfBudget: step again later
//!                                     +----------------------+ OutOfMemory
//! ```
//!
//! **Text** is WTF-8: UTF-8 in which a surrogate without its partner is three bytes. Without the
//! `u` flag a pattern sees UTF-16 code units: the halves of a four-byte character are then positions
//! `at` and `at + 2` of its bytes, so that no text is ever converted. Offsets are bytes throughout;
//! [`text::units`] translates.
//!
//! **Matching** is backtracking on an explicit stack. It charges the budget per step and keeps all
//! it knows in the [`Matcher`], so a slice can end in the middle. What makes it linear is a table of
//! (instruction, position) pairs that were tried and failed: it is switched on when a search begins
//! to retry much, where the pattern has no backreference. Without the table (backreferences, insides
//! of lookarounds and of large counted repetitions) time is bounded by the budget alone.
//!
//! The crate knows no engine, clock or allocator: numbers in, numbers out.

mod analysis;
mod compile;
mod fold;
mod matcher;
mod parse;
mod program;
#[cfg(test)]
mod reference;
mod set;
pub mod text;
mod tree;

pub use matcher::{Matcher, Step};
pub use program::Program;

use std::fmt;

/// Longest pattern, bytes. Beyond it: SyntaxError.
pub const PATTERN_BYTES_MAX: usize = 1 << 16;
/// Deepest nesting of groups. Beyond it: SyntaxError.
pub const NESTING_MAX: u32 = 400;
/// Most instructions of a program. Beyond it: SyntaxError.
pub const PROGRAM_LEN_MAX: usize = 1 << 16;
/// Most capture groups, the whole match not counted. Beyond it: SyntaxError.
pub const GROUPS_MAX: u32 = 4096;

/// The flags of a regular expression.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "ECMAScript has seven flags")]
pub struct Flags {
    /// `d`: results have `indices`. Means nothing to matching.
    pub has_indices: bool,
    /// `g`. Means nothing to matching.
    pub global: bool,
    /// `i`
    pub ignore_case: bool,
    /// `m`: `^` and `$` match at lines.
    pub multiline: bool,
    /// `s`: `.` matches line terminators.
    pub dot_all: bool,
    /// `u`: the text is code points.
    pub unicode: bool,
    /// `y`: matches only where the search starts.
    pub sticky: bool,
}

impl Flags {
    /// Reads flags; none if one is unknown or stands twice.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut flags = Self::default();
        for c in text.chars() {
            let flag = match c {
                'd' => &mut flags.has_indices,
                'g' => &mut flags.global,
                'i' => &mut flags.ignore_case,
                'm' => &mut flags.multiline,
                's' => &mut flags.dot_all,
                'u' => &mut flags.unicode,
                'y' => &mut flags.sticky,
                _ => return None,
            };
            if std::mem::replace(flag, true) {
                return None;
            }
        }
        Some(flags)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.has_indices, "d"),
            (self.global, "g"),
            (self.ignore_case, "i"),
            (self.multiline, "m"),
            (self.dot_all, "s"),
            (self.unicode, "u"),
            (self.sticky, "y"),
        ];
        all.iter().filter(|(set, _)| *set).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

/// Why a pattern is refused: the script gets a SyntaxError.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntaxError {
    /// What is wrong.
    pub message: Box<str>,
    /// Byte offset in the pattern.
    pub at: usize,
}

impl SyntaxError {
    pub(crate) fn new(at: usize, message: impl Into<Box<str>>) -> Self {
        Self { message: message.into(), at }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SyntaxError {}
