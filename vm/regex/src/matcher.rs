//! The machine: backtracking on a stack of its own, a budget for every step, and a memory of what failed.
//!
//! ```text
//!   search --candidate--> run --Match--> done
//!      ^                   | fails everywhere
//!      +---- one further --+
//! ```
//! Between two steps all state is in the [`Matcher`]; the text is given to each call again.
//!
//! **Memory of failures.** A choice or an open repetition that is reached a second time at the same position, with
//! the same iterations begun there, can only fail again: what comes after depends on nothing else. (Captures
//! don't matter without backreferences; insides of lookarounds and counted repetitions, whose outcome depends on
//! more, are not remembered.) That holds from any start of the search, and from whenever it is switched on. With
//! it a search takes at most (places that remember) x (length) steps of work, so it is linear.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "positions are below 2^32: a text is at most 2^29 bytes"
)]

use crate::fold;
use crate::program::{CharLoop, Class, Hint, Inst, NONE, Program};
use crate::text::{Ascii, Points, Units, Walk, is_half};
use crate::tree::INFINITE;

/// How a call of [`Matcher::step`] ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// [`Matcher::group`] says where.
    Match,
    /// There is none.
    NoMatch,
    /// The budget is used up: step again to go on.
    OutOfBudget,
    /// The memory allowed is used up: the search is over.
    OutOfMemory,
}

/// What to do when everything after it has failed.
#[derive(Clone, Copy, Debug)]
enum Entry {
    /// Go on here.
    Branch { pc: u32, pos: u32 },
    /// Set a register back.
    Register { register: u32, old: u32 },
    /// A loop took up to `pos` and may give back down to `min`.
    Greedy { of: u32, min: u32, pos: u32 },
    /// A loop may take up to `left` more from `pos`.
    Lazy { of: u32, pos: u32, left: u32 },
    /// A lazy counted repetition may begin another iteration.
    Iterate { of: u32, pos: u32 },
    /// A lookaround that is under way.
    Look { pc: u32, pos: u32 },
}

/// Work in proportion to the text after which failures are remembered.
const REMEMBER_PER_BYTE: u64 = 8;
const REMEMBER_LEAST: u64 = 256;
/// Largest table of failures, bits.
const MEMO_BITS_MAX: u64 = 1 << 27;
/// Budget that folding a character beyond ASCII takes.
const FOLD_COST: i64 = 32;

/// A search, under way or done. Reusable: [`Matcher::start`] begins another and keeps the memory.
#[derive(Debug, Default)]
pub struct Matcher {
    stack: Vec<Entry>,
    registers: Vec<u32>,
    memo: Vec<u64>,
    remembers: bool,
    /// Work of this search so far.
    work: u64,
    pc: u32,
    pos: u32,
    /// Where the next attempt is looked for, or the one under way began.
    from: u32,
    /// An attempt is under way.
    running: bool,
    fresh: bool,
    ascii: bool,
    sticky: bool,
    memory_max: usize,
}

impl Matcher {
    /// Nothing to search yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a search in `text` from byte `at` on; `ascii`: all of it is ASCII; `sticky`: only there.
    /// `memory_max`: bytes that the search may hold.
    pub fn start(
        &mut self,
        program: &Program,
        text: &[u8],
        ascii: bool,
        at: usize,
        sticky: bool,
        memory_max: usize,
    ) {
        let mut at = at.min(text.len());
        if program.flags.unicode && !ascii && is_half(text, at) {
            at -= 2;
        }
        self.stack.clear();
        self.registers.clear();
        self.registers.resize(program.registers as usize, NONE);
        self.remembers = false;
        self.work = 0;
        self.from = at as u32;
        self.running = false;
        self.fresh = true;
        self.ascii = ascii;
        self.sticky = sticky;
        self.memory_max = memory_max;
    }

    /// Goes on until there is an answer or the budget is negative.
    pub fn step(&mut self, program: &Program, text: &[u8], budget: &mut i64) -> Step {
        if self.ascii {
            self.run::<Ascii>(program, text, budget)
        } else if program.flags.unicode {
            self.run::<Points>(program, text, budget)
        } else {
            self.run::<Units>(program, text, budget)
        }
    }

    /// Start and end of a group in bytes; none if it took no part.
    #[inline]
    #[must_use]
    pub fn group(&self, index: usize) -> Option<(usize, usize)> {
        let (from, to) = (*self.registers.get(index * 2)?, *self.registers.get(index * 2 + 1)?);
        (from != NONE && to != NONE).then_some((from as usize, to as usize))
    }

    /// Bytes that it holds.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.stack.capacity() * size_of::<Entry>() + self.memo.capacity() * 8 + self.registers.capacity() * 4
    }

    /// Gives memory beyond `keep` bytes back; the search is over.
    pub fn shrink(&mut self, keep: usize) {
        self.stack.clear();
        self.memo.clear();
        if self.memory() > keep {
            *self = Self::default();
        }
    }

    #[inline(always)]
    fn set(&mut self, register: u32, value: u32) {
        let slot = &mut self.registers[register as usize];
        if !self.stack.is_empty() && *slot != value {
            self.stack.push(Entry::Register { register, old: *slot });
        }
        *slot = value;
    }

    /// The next place to try at or after `from`.
    fn candidate<W: Walk>(&mut self, program: &Program, text: &[u8], steps: &mut i64) -> Option<usize> {
        let from = self.from as usize;
        if self.sticky {
            return self.fresh.then_some(from);
        }
        if self.fresh
            && let Some(required) = &program.required
        {
            let found = required.find(text.get(from..)?);
            *steps -= found.unwrap_or(text.len() - from) as i64 / 32;
            found?;
        }
        let found = match &program.hint {
            Hint::Any => Some(from),
            Hint::Anchored => (from == 0 && self.fresh).then_some(0),
            Hint::Prefix(finder) => finder.find(text.get(from..)?).map(|at| from + at),
            Hint::Bytes(stops) => {
                let mut at = from;
                loop {
                    at += stops.find(text.get(at..)?)?;
                    if is_place::<W>(text, at) {
                        break Some(at);
                    }
                    at += 1;
                }
            }
            Hint::Table(table) => {
                let mut at = from;
                loop {
                    at += text.get(at..)?.iter().position(|b| table[usize::from(*b)])?;
                    if is_place::<W>(text, at) {
                        break Some(at);
                    }
                    at += 1;
                }
            }
        };
        *steps -= found.unwrap_or(text.len()).saturating_sub(from) as i64 / 16;
        found
    }

    /// Begins to remember failures, if the table isn't too large.
    fn remember(&mut self, program: &Program, text: &[u8], steps: &mut i64) {
        let bits = u64::from(program.memo_states) * (text.len() as u64 + 1);
        let bytes = bits.div_ceil(64) as usize * 8;
        self.work = 0;
        if bits == 0 || bits > MEMO_BITS_MAX || bytes > self.memory_max / 2 {
            return;
        }
        self.memo.clear();
        self.memo.resize(bytes / 8, 0);
        *steps -= bytes as i64 / 64;
        self.remembers = true;
    }

    /// Remembers from the start, for tests.
    #[cfg(test)]
    pub(crate) fn remember_at_once(&mut self, program: &Program, text: &[u8]) {
        self.remember(program, text, &mut 0);
    }

    /// Whether place `memo` has failed at `pos` before; from now on it has.
    #[inline]
    fn has_failed(&mut self, program: &Program, memo: u32, pos: usize) -> bool {
        let memo = &program.memos[memo as usize];
        let mut state = u64::from(memo.base);
        for (n, mark) in memo.marks.iter().enumerate() {
            state += u64::from(self.registers[*mark as usize] == pos as u32) << n;
        }
        let bit = pos as u64 * u64::from(program.memo_states) + state;
        let (word, mask) = ((bit / 64) as usize, 1 << (bit % 64));
        let failed = self.memo[word] & mask != 0;
        self.memo[word] |= mask;
        failed
    }

    #[expect(clippy::too_many_lines, reason = "one match over the instructions: splitting it would hide it")]
    fn run<W: Walk>(&mut self, program: &Program, text: &[u8], budget: &mut i64) -> Step {
        let len = text.len();
        let insts = &program.insts[..];
        let mut steps = *budget;
        let mut seen = steps;
        macro_rules! leave {
            ($result:expr) => {{
                *budget = steps;
                return $result;
            }};
        }
        loop {
            if !self.running {
                if steps < 0 {
                    leave!(Step::OutOfBudget);
                }
                let Some(at) = self.candidate::<W>(program, text, &mut steps) else { leave!(Step::NoMatch) };
                self.fresh = false;
                self.running = true;
                self.from = at as u32;
                self.stack.clear();
                self.registers.fill(NONE);
                self.registers[0] = at as u32;
                (self.pc, self.pos) = (0, at as u32);
                steps -= 1;
            }
            let mut pc = self.pc as usize;
            let mut pos = self.pos as usize;
            // Stops between two instructions.
            macro_rules! check_budget {
                () => {
                    if steps < 0 {
                        (self.pc, self.pos) = (pc as u32, pos as u32);
                        self.work += (seen - steps) as u64;
                        leave!(Step::OutOfBudget);
                    }
                };
            }
            macro_rules! check_memory {
                () => {
                    if self.stack.len() * size_of::<Entry>() > self.memory_max {
                        self.running = false;
                        leave!(Step::OutOfMemory);
                    }
                };
            }
            'run: loop {
                steps -= 1;
                let goes_on = match insts[pc] {
                    Inst::Byte(byte) => {
                        let fits = pos < len && text[pos] == byte;
                        pos += usize::from(fits);
                        pc += 1;
                        fits
                    }
                    Inst::Literal(from, count) => {
                        let literal = &program.literals[from as usize..(from + count) as usize];
                        let fits = text[pos..].starts_with(literal);
                        pos += literal.len();
                        pc += 1;
                        fits
                    }
                    Inst::Char(point) => match W::next(text, pos) {
                        Some((p, after)) if p == point => {
                            (pc, pos) = (pc + 1, after);
                            true
                        }
                        _ => false,
                    },
                    Inst::Class(class) => {
                        let class = &program.classes[class as usize];
                        match W::next(text, pos) {
                            Some((p, after)) if has::<W>(class, p) => {
                                (pc, pos) = (pc + 1, after);
                                true
                            }
                            _ => false,
                        }
                    }
                    Inst::CharBack(point) => match W::prev(text, pos) {
                        Some((p, before)) if p == point => {
                            (pc, pos) = (pc + 1, before);
                            true
                        }
                        _ => false,
                    },
                    Inst::ClassBack(class) => match W::prev(text, pos) {
                        Some((p, before)) if program.classes[class as usize].contains(p) => {
                            (pc, pos) = (pc + 1, before);
                            true
                        }
                        _ => false,
                    },
                    Inst::Split(n) => {
                        check_budget!();
                        check_memory!();
                        let split = &program.splits[n as usize];
                        if self.remembers && split.memo != NONE && self.has_failed(program, split.memo, pos) {
                            false
                        } else {
                            let may = |guard: u32| {
                                guard == NONE
                                    || (pos < len && program.guards[guard as usize][usize::from(text[pos])])
                            };
                            match (may(split.first_guard), may(split.second_guard)) {
                                (true, second) => {
                                    if second {
                                        self.stack.push(Entry::Branch { pc: split.second, pos: pos as u32 });
                                    }
                                    pc = split.first as usize;
                                    true
                                }
                                (false, true) => {
                                    pc = split.second as usize;
                                    true
                                }
                                (false, false) => false,
                            }
                        }
                    }
                    Inst::Loop(n) => {
                        check_budget!();
                        check_memory!();
                        let one = &program.loops[n as usize];
                        match self.begin_loop::<W>(program, one, n, text, pos, &mut steps) {
                            Some(to) => {
                                (pc, pos) = (pc + 1, to);
                                true
                            }
                            None => false,
                        }
                    }
                    Inst::Jump(to) => {
                        pc = to as usize;
                        true
                    }
                    Inst::Save(register) => {
                        self.set(register, pos as u32);
                        pc += 1;
                        true
                    }
                    Inst::Reset(from, to) => {
                        for register in from * 2..to * 2 {
                            self.set(register, NONE);
                        }
                        steps -= i64::from(to - from);
                        pc += 1;
                        true
                    }
                    Inst::Check(register) => {
                        pc += 1;
                        self.registers[register as usize] != pos as u32
                    }
                    Inst::Zero(register) => {
                        self.set(register, 0);
                        pc += 1;
                        true
                    }
                    Inst::Count(n) => {
                        check_budget!();
                        check_memory!();
                        let counter = &program.counters[n as usize];
                        let count = self.registers[counter.register as usize];
                        if count >= counter.max || (count >= counter.min && !counter.greedy) {
                            if count < counter.max {
                                self.stack.push(Entry::Iterate { of: n, pos: pos as u32 });
                            }
                            pc = counter.exit as usize;
                        } else {
                            if count >= counter.min {
                                self.stack.push(Entry::Branch { pc: counter.exit, pos: pos as u32 });
                            }
                            self.set(counter.register, count + 1);
                            self.set(counter.mark, pos as u32);
                            pc = counter.body as usize;
                        }
                        true
                    }
                    Inst::CountCheck(n) => {
                        let counter = &program.counters[n as usize];
                        pc += 1;
                        self.registers[counter.register as usize] <= counter.min
                            || self.registers[counter.mark as usize] != pos as u32
                    }
                    Inst::Start => {
                        pc += 1;
                        pos == 0
                    }
                    Inst::End => {
                        pc += 1;
                        pos == len
                    }
                    Inst::LineStart => {
                        pc += 1;
                        W::prev(text, pos).is_none_or(|(c, _)| is_line_end(c))
                    }
                    Inst::LineEnd => {
                        pc += 1;
                        W::next(text, pos).is_none_or(|(c, _)| is_line_end(c))
                    }
                    Inst::Word(negated, class) => {
                        let class = &program.classes[class as usize];
                        let before = W::prev(text, pos).is_some_and(|(c, _)| class.contains(c));
                        let after = W::next(text, pos).is_some_and(|(c, _)| class.contains(c));
                        pc += 1;
                        (before != after) != negated
                    }
                    Inst::BackRef(group, folds) => {
                        pc += 1;
                        let to = self.back_ref::<W>(group, folds, program, text, pos, &mut steps);
                        pos = to.unwrap_or(pos);
                        to.is_some()
                    }
                    Inst::BackRefBack(group, folds) => {
                        pc += 1;
                        let to = self.back_ref_back::<W>(group, folds, program, text, pos, &mut steps);
                        pos = to.unwrap_or(pos);
                        to.is_some()
                    }
                    Inst::NamedRef(from, to, folds) => {
                        pc += 1;
                        let group = self.taking_part(&program.refs[from as usize..to as usize]);
                        let to = group.map_or(Some(pos), |g| {
                            self.back_ref::<W>(g, folds, program, text, pos, &mut steps)
                        });
                        pos = to.unwrap_or(pos);
                        to.is_some()
                    }
                    Inst::NamedRefBack(from, to, folds) => {
                        pc += 1;
                        let group = self.taking_part(&program.refs[from as usize..to as usize]);
                        let to = group.map_or(Some(pos), |g| {
                            self.back_ref_back::<W>(g, folds, program, text, pos, &mut steps)
                        });
                        pos = to.unwrap_or(pos);
                        to.is_some()
                    }
                    Inst::Look(..) => {
                        check_budget!();
                        check_memory!();
                        self.stack.push(Entry::Look { pc: pc as u32, pos: pos as u32 });
                        pc += 1;
                        true
                    }
                    Inst::LookEnd(negated) => {
                        let (to, at) = self.end_look(insts, negated, &mut steps);
                        (pc, pos) = (to as usize, at as usize);
                        !negated
                    }
                    Inst::Match => {
                        self.registers[1] = pos as u32;
                        self.running = false;
                        leave!(Step::Match);
                    }
                };
                if goes_on {
                    continue;
                }
                // Back to the last choice.
                loop {
                    steps -= 1;
                    match self.stack.last_mut() {
                        None => break 'run,
                        Some(Entry::Branch { pc: to, pos: at }) => {
                            (pc, pos) = (*to as usize, *at as usize);
                            self.stack.pop();
                        }
                        Some(Entry::Register { register, old }) => {
                            self.registers[*register as usize] = *old;
                            self.stack.pop();
                            continue;
                        }
                        Some(Entry::Greedy { of, min, pos: at }) => {
                            let one = &program.loops[*of as usize];
                            match give_back::<W>(one, text, *min as usize, *at as usize, &mut steps) {
                                Some(to) => {
                                    (pc, pos) = (one.exit as usize, to);
                                    *at = to as u32;
                                    if to <= *min as usize {
                                        self.stack.pop();
                                    }
                                }
                                None => {
                                    self.stack.pop();
                                    continue;
                                }
                            }
                        }
                        Some(Entry::Lazy { of, pos: at, left }) => {
                            let (of, at, left) = (*of, *at as usize, *left);
                            self.stack.pop();
                            let one = &program.loops[of as usize];
                            match self.take_more::<W>(program, one, of, text, (at, left), &mut steps) {
                                Some(to) => (pc, pos) = (one.exit as usize, to),
                                None => continue,
                            }
                        }
                        Some(Entry::Iterate { of, pos: at }) => {
                            let (counter, at) = (&program.counters[*of as usize], *at);
                            self.stack.pop();
                            let count = self.registers[counter.register as usize];
                            self.set(counter.register, count + 1);
                            self.set(counter.mark, at);
                            (pc, pos) = (counter.body as usize, at as usize);
                        }
                        Some(Entry::Look { pc: look, pos: at }) => {
                            let (look, at) = (*look, *at);
                            self.stack.pop();
                            let Inst::Look(negated, end) = insts[look as usize] else { continue };
                            if !negated {
                                continue;
                            }
                            (pc, pos) = (end as usize, at as usize);
                        }
                    }
                    break;
                }
                if !self.remembers && program.memo_states > 0 {
                    self.work += (seen - steps) as u64;
                    seen = steps;
                    if self.work > REMEMBER_LEAST + REMEMBER_PER_BYTE * (len - self.from as usize) as u64 {
                        self.remember(program, text, &mut steps);
                        seen = steps;
                    }
                }
                check_budget!();
            }
            // This attempt has failed everywhere.
            self.running = false;
            self.work += (seen - steps) as u64;
            seen = steps;
            if !self.remembers
                && program.memo_states > 0
                && self.work > REMEMBER_LEAST + REMEMBER_PER_BYTE * len as u64
            {
                self.remember(program, text, &mut steps);
                seen = steps;
            }
            match W::next(text, self.from as usize) {
                Some((_, after)) => self.from = after as u32,
                None => leave!(Step::NoMatch),
            }
        }
    }

    /// Runs a loop as far as it goes at first; where it is then, or none.
    #[inline]
    fn begin_loop<W: Walk>(
        &mut self,
        program: &Program,
        one: &CharLoop,
        of: u32,
        text: &[u8],
        pos: usize,
        steps: &mut i64,
    ) -> Option<usize> {
        let class = &program.classes[one.class as usize];
        let least = if one.min == 0 { pos } else { take::<W>(class, text, pos, one.min, true)? };
        if !one.greedy {
            *steps -= (least - pos) as i64 / 8;
            return self.lazy::<W>(program, one, of, text, (least, one.max - one.min), steps);
        }
        if self.remembers && one.memo != NONE {
            return self.begin_remembered::<W>(program, one, of, text, least, steps);
        }
        let most = if one.max == INFINITE { INFINITE } else { one.max - one.min };
        let end = take::<W>(class, text, least, most, false)?;
        *steps -= (end - pos) as i64 / 8;
        if one.possessive || end == least {
            return Some(end);
        }
        let end = match one.next {
            // Where the next byte isn't the one that must follow, don't even begin.
            Some(next) if text.get(end) != Some(&next) => {
                let back = give_back::<W>(one, text, least, end, steps)?;
                if back == least {
                    return Some(least);
                }
                back
            }
            _ => end,
        };
        self.stack.push(Entry::Greedy { of, min: least as u32, pos: end as u32 });
        Some(end)
    }

    /// The same with what is known about failures: places that have failed are not tried again.
    fn begin_remembered<W: Walk>(
        &mut self,
        program: &Program,
        one: &CharLoop,
        of: u32,
        text: &[u8],
        least: usize,
        steps: &mut i64,
    ) -> Option<usize> {
        let class = &program.classes[one.class as usize];
        let (mut at, mut good) = (least, None);
        loop {
            *steps -= 1;
            if self.has_failed(program, one.memo, at) {
                // From here on everything was tried; what a possessive loop would come to, too.
                if one.possessive {
                    return None;
                }
                break;
            }
            good = Some(at);
            match W::next(text, at) {
                Some((c, after)) if has::<W>(class, c) => at = after,
                _ => break,
            }
        }
        let end = good?;
        if end > least && !one.possessive {
            self.stack.push(Entry::Greedy { of, min: least as u32, pos: end as u32 });
        }
        Some(end)
    }

    /// A lazy loop that has taken up to `at`: goes on there, and may take more later.
    fn lazy<W: Walk>(
        &mut self,
        program: &Program,
        one: &CharLoop,
        of: u32,
        text: &[u8],
        (at, left): (usize, u32),
        steps: &mut i64,
    ) -> Option<usize> {
        if self.remembers && one.memo != NONE && self.has_failed(program, one.memo, at) {
            return None;
        }
        if let Some(next) = one.next
            && text.get(at) != Some(&next)
        {
            return self.take_more::<W>(program, one, of, text, (at, left), steps);
        }
        if left > 0 && at < text.len() {
            self.stack.push(Entry::Lazy { of, pos: at as u32, left });
        }
        Some(at)
    }

    /// A lazy loop takes at least one more, up to where what must follow is.
    fn take_more<W: Walk>(
        &mut self,
        program: &Program,
        one: &CharLoop,
        of: u32,
        text: &[u8],
        (mut at, mut left): (usize, u32),
        steps: &mut i64,
    ) -> Option<usize> {
        let class = &program.classes[one.class as usize];
        loop {
            if left == 0 {
                return None;
            }
            let (c, after) = W::next(text, at)?;
            if !has::<W>(class, c) {
                return None;
            }
            *steps -= 1;
            at = after;
            if one.max != INFINITE {
                left -= 1;
            }
            if self.remembers && one.memo != NONE && self.has_failed(program, one.memo, at) {
                return None;
            }
            if one.next.is_none_or(|next| text.get(at) == Some(&next)) {
                break;
            }
        }
        if left > 0 && at < text.len() {
            self.stack.push(Entry::Lazy { of, pos: at as u32, left });
        }
        Some(at)
    }

    /// The inside of the innermost lookaround matches: where to go on, and from where.
    fn end_look(&mut self, insts: &[Inst], negated: bool, steps: &mut i64) -> (u32, u32) {
        let Some(at) = self.stack.iter().rposition(|e| matches!(e, Entry::Look { .. })) else {
            return (0, 0);
        };
        *steps -= (self.stack.len() - at) as i64;
        let (mut end, mut from) = (0, 0);
        if let Entry::Look { pc, pos } = self.stack[at]
            && let Inst::Look(_, after) = insts[pc as usize]
        {
            (end, from) = (after, pos);
        }
        if negated {
            while self.stack.len() > at {
                if let Some(Entry::Register { register, old }) = self.stack.pop() {
                    self.registers[register as usize] = old;
                }
            }
        } else {
            // Its choices are gone, but what it captured is unset when the whole is given up.
            let mut kept = at;
            if at > 0 {
                for n in at + 1..self.stack.len() {
                    if matches!(self.stack[n], Entry::Register { .. }) {
                        self.stack[kept] = self.stack[n];
                        kept += 1;
                    }
                }
            }
            self.stack.truncate(kept);
        }
        (end, from)
    }

    /// The group of a name that took part.
    fn taking_part(&self, groups: &[u32]) -> Option<u32> {
        groups.iter().copied().find(|g| self.group(*g as usize).is_some())
    }

    /// A group's text again: where it ends.
    fn back_ref<W: Walk>(
        &self,
        group: u32,
        folds: bool,
        program: &Program,
        text: &[u8],
        mut pos: usize,
        steps: &mut i64,
    ) -> Option<usize> {
        let Some((mut from, to)) = self.group(group as usize) else { return Some(pos) };
        *steps -= (to - from) as i64 / 4;
        if W::ASCII && !folds {
            return text[pos..].starts_with(&text[from..to]).then_some(pos + to - from);
        }
        while from < to {
            let (a, next) = W::next(text, from)?;
            let (b, after) = W::next(text, pos)?;
            if !same(a, b, folds, program.flags.unicode, steps) {
                return None;
            }
            (from, pos) = (next, after);
        }
        Some(pos)
    }

    /// The same to the left: where it starts.
    fn back_ref_back<W: Walk>(
        &self,
        group: u32,
        folds: bool,
        program: &Program,
        text: &[u8],
        mut pos: usize,
        steps: &mut i64,
    ) -> Option<usize> {
        let Some((from, mut to)) = self.group(group as usize) else { return Some(pos) };
        *steps -= (to - from) as i64 / 4;
        while to > from {
            let (a, next) = W::prev(text, to)?;
            let (b, before) = W::prev(text, pos)?;
            if !same(a, b, folds, program.flags.unicode, steps) {
                return None;
            }
            (to, pos) = (next, before);
        }
        Some(pos)
    }
}

fn same(a: u32, b: u32, folds: bool, unicode: bool, steps: &mut i64) -> bool {
    if a == b || !folds {
        return a == b;
    }
    if a >= 0x80 || b >= 0x80 {
        *steps -= FOLD_COST;
    }
    fold::canonical(a, unicode) == fold::canonical(b, unicode)
}

fn is_line_end(c: u32) -> bool {
    matches!(c, 0xa | 0xd | 0x2028 | 0x2029)
}

#[inline(always)]
fn has<W: Walk>(class: &Class, c: u32) -> bool {
    if W::ASCII { class.table[(c & 0xff) as usize] } else { class.contains(c) }
}

/// Whether a character starts at `at`.
#[inline(always)]
fn is_place<W: Walk>(text: &[u8], at: usize) -> bool {
    W::ASCII || text[at] & 0xc0 != 0x80 || (W::UNITS && at >= 2 && text[at - 2] >= 0xf0)
}

/// Takes up to `most` characters of the class (`all`: exactly so many, or none).
#[inline(always)]
fn take<W: Walk>(class: &Class, text: &[u8], pos: usize, most: u32, all: bool) -> Option<usize> {
    if most == INFINITE
        && (W::ASCII || class.all_beyond)
        && let Some(stops) = class.stops
    {
        return Some(stops.find(&text[pos..]).map_or(text.len(), |at| pos + at));
    }
    let (mut at, mut left) = (pos, most);
    if W::ASCII {
        let end = text.len().min(pos.saturating_add(most as usize));
        while at < end && class.table[usize::from(text[at])] {
            at += 1;
        }
        return (!all || at - pos == most as usize).then_some(at);
    }
    while left > 0 {
        match W::next(text, at) {
            Some((c, after)) if class.contains(c) => at = after,
            _ => break,
        }
        left -= 1;
    }
    (!all || left == 0).then_some(at)
}

/// One character less, or as many as it takes for what must follow to follow.
#[inline]
fn give_back<W: Walk>(
    one: &CharLoop,
    text: &[u8],
    min: usize,
    mut at: usize,
    steps: &mut i64,
) -> Option<usize> {
    while at > min {
        at = W::prev(text, at)?.1;
        if one.next.is_none_or(|next| text.get(at) == Some(&next)) {
            return Some(at);
        }
        *steps -= 1;
    }
    None
}
