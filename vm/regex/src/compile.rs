//! Tree to instructions.
//!
//! ```text
//!   a|b       Split(1, 2)  1: a  Jump 3  2: b  3:
//!   x*        1: Split(2, 3)  2: x  Jump 1  3:           one character: Loop
//!   x+        1: x  Split(1, 2)  2:                      if x can't be empty
//!   x{2,3}    x x Split(1, 2)  1: x  2:                  if that isn't too long, else counted
//! ```
//! An iteration that wasn't asked for and takes nothing fails (ECMA-262 22.2.2.3.1, RepeatMatcher):
//! `Save mark ... Check mark` around bodies that may be empty. Captures inside are unset when an iteration begins.

use crate::fold;
use crate::program::{CharLoop, Class, Counter, Hint, Inst, Memo, NONE, Program, Split};
use crate::set::Set;
use crate::tree::{INFINITE, Name, Node, Tree};
use crate::{Flags, PROGRAM_LEN_MAX, SyntaxError};
use std::collections::HashMap;

/// Repetitions whose copies have at most so many instructions are written out.
const UNROLL_MAX: usize = 160;
/// Iterations that may be empty, one inside the other, beyond which nothing is remembered.
const MARKS_MAX: usize = 4;

pub(crate) fn compile(tree: &Tree, flags: Flags) -> Result<Program, SyntaxError> {
    let program = Program {
        insts: Vec::new(),
        classes: Vec::new(),
        splits: Vec::new(),
        loops: Vec::new(),
        counters: Vec::new(),
        memos: Vec::new(),
        memo_states: 0,
        guards: Vec::new(),
        literals: Vec::new(),
        refs: Vec::new(),
        groups: tree.groups,
        registers: tree.groups * 2,
        names: Vec::new(),
        flags,
        hint: Hint::Any,
        required: None,
    };
    let mut compiler = Compiler {
        program,
        names: &tree.names,
        classes: HashMap::new(),
        back: false,
        opaque: false,
        marks: Vec::new(),
        forgets: false,
        too_long: false,
    };
    compiler.node(&tree.root);
    compiler.push(Inst::Match);
    if compiler.too_long {
        return Err(SyntaxError::new(0, "Regular expression too large"));
    }
    let mut program = compiler.program;
    if compiler.forgets {
        program.memo_states = 0;
    }
    Ok(program)
}

struct Compiler<'a> {
    program: Program,
    names: &'a [Name],
    classes: HashMap<Vec<(u32, u32)>, u32>,
    /// Inside a lookbehind.
    back: bool,
    /// Inside a lookaround or a counted repetition: failures depend on more than the place.
    opaque: bool,
    /// Marks of the iterations that are open.
    marks: Vec<u32>,
    /// Nothing may be remembered at all.
    forgets: bool,
    too_long: bool,
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(NONE - 1)
}

impl Compiler<'_> {
    fn here(&self) -> u32 {
        number(self.program.insts.len())
    }

    fn push(&mut self, inst: Inst) -> usize {
        if self.program.insts.len() >= PROGRAM_LEN_MAX {
            self.too_long = true;
            return 0;
        }
        self.program.insts.push(inst);
        self.program.insts.len() - 1
    }

    fn register(&mut self) -> u32 {
        self.program.registers += 1;
        self.program.registers - 1
    }

    fn memo(&mut self) -> u32 {
        if self.opaque {
            return NONE;
        }
        if self.marks.len() > MARKS_MAX {
            self.forgets = true;
            return NONE;
        }
        let base = self.program.memo_states;
        self.program.memo_states += 1 << self.marks.len();
        self.program.memos.push(Memo { base, marks: self.marks.clone() });
        number(self.program.memos.len() - 1)
    }

    fn class(&mut self, set: &Set) -> u32 {
        if let Some(known) = self.classes.get(set.ranges()) {
            return *known;
        }
        let index = number(self.program.classes.len());
        self.program.classes.push(Class::new(set));
        self.classes.insert(set.ranges().to_vec(), index);
        index
    }

    /// Starts a choice; both sides are still to be set.
    fn split(&mut self) -> usize {
        let memo = self.memo();
        let split =
            Split { first: 0, second: 0, first_guard: NONE, second_guard: NONE, memo, back: self.back };
        self.program.splits.push(split);
        let index = self.program.splits.len() - 1;
        self.push(Inst::Split(number(index)));
        index
    }

    fn set_split(&mut self, split: usize, first: u32, second: u32) {
        self.program.splits[split].first = first;
        self.program.splits[split].second = second;
    }

    /// The characters that a node of one character stands for.
    fn set_of(&self, node: &Node) -> Option<Set> {
        let unicode = self.program.flags.unicode;
        match node {
            Node::Char { point, fold } => {
                let set = Set::of(&[(*point, *point)]);
                Some(if *fold { fold::close(&set, unicode) } else { set })
            }
            Node::Class { set, negated, fold } => {
                let set = if *fold { fold::close(set, unicode) } else { set.clone() };
                Some(if *negated { set.complement() } else { set })
            }
            _ => None,
        }
    }

    fn node(&mut self, node: &Node) {
        if self.too_long {
            return;
        }
        match node {
            Node::Empty => {}
            Node::Char { .. } | Node::Class { .. } => self.sequence(std::slice::from_ref(node)),
            Node::Seq(list) => self.sequence(list),
            Node::Alt(list) => self.alternatives(list),
            Node::Group { index, body } => {
                let (first, last) = (index * 2, index * 2 + 1);
                let (first, last) = if self.back { (last, first) } else { (first, last) };
                self.push(Inst::Save(first));
                self.node(body);
                self.push(Inst::Save(last));
            }
            Node::Repeat { body, min, max, greedy, groups } => {
                self.repeat(body, (*min, *max), *greedy, *groups);
            }
            Node::Start(lines) => {
                self.push(if *lines { Inst::LineStart } else { Inst::Start });
            }
            Node::End(lines) => {
                self.push(if *lines { Inst::LineEnd } else { Inst::End });
            }
            Node::Word { negated, fold } => {
                let class = self.class(&Set::words(self.program.flags.unicode && *fold));
                self.push(Inst::Word(*negated, class));
            }
            Node::Look { behind, negated, body } => {
                let saved = (self.back, self.opaque);
                let look = self.push(Inst::Look(*negated, 0));
                (self.back, self.opaque) = (*behind, true);
                self.node(body);
                (self.back, self.opaque) = saved;
                self.push(Inst::LookEnd(*negated));
                let end = self.here();
                if let Some(inst) = self.program.insts.get_mut(look) {
                    *inst = Inst::Look(*negated, end);
                }
            }
            Node::BackRef { index, fold } => {
                self.forgets = true;
                self.push(if self.back {
                    Inst::BackRefBack(*index, *fold)
                } else {
                    Inst::BackRef(*index, *fold)
                });
            }
            Node::NamedRef { name, fold } => {
                self.forgets = true;
                let groups = self.names.get(*name as usize).map_or(&[][..], |n| &n.groups);
                let from = number(self.program.refs.len());
                self.program.refs.extend_from_slice(groups);
                let to = number(self.program.refs.len());
                self.push(if self.back {
                    Inst::NamedRefBack(from, to, *fold)
                } else {
                    Inst::NamedRef(from, to, *fold)
                });
            }
        }
    }

    fn alternatives(&mut self, list: &[Node]) {
        let mut ends = Vec::new();
        for (n, one) in list.iter().enumerate() {
            if n + 1 == list.len() {
                self.node(one);
                break;
            }
            let split = self.split();
            let first = self.here();
            self.node(one);
            ends.push(self.push(Inst::Jump(0)));
            let second = self.here();
            self.set_split(split, first, second);
        }
        let end = self.here();
        for at in ends {
            if let Some(inst) = self.program.insts.get_mut(at) {
                *inst = Inst::Jump(end);
            }
        }
    }

    /// A sequence; characters that stand together become one comparison of bytes.
    fn sequence(&mut self, list: &[Node]) {
        let mut literal = Vec::new();
        for n in 0..list.len() {
            let node = if self.back { &list[list.len() - 1 - n] } else { &list[n] };
            let Some(set) = self.set_of(node) else {
                self.flush(&mut literal);
                self.node(node);
                continue;
            };
            match (set.single(), self.back) {
                (Some(point), false) => literal.push(point),
                (Some(point), true) => {
                    self.push(Inst::CharBack(point));
                }
                (None, back) => {
                    self.flush(&mut literal);
                    let class = self.class(&set);
                    self.push(if back { Inst::ClassBack(class) } else { Inst::Class(class) });
                }
            }
        }
        self.flush(&mut literal);
    }

    fn flush(&mut self, points: &mut Vec<u32>) {
        let joins = !self.program.flags.unicode;
        let mut bytes = Vec::new();
        let mut at = 0;
        while at < points.len() {
            let (mut point, after) = (points[at], points.get(at + 1).copied());
            at += 1;
            if let (true, 0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) = (joins, point, after) {
                point = 0x1_0000 + ((point - 0xd800) << 10) + (low - 0xdc00);
                at += 1;
            }
            match char::from_u32(point) {
                Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                None => {
                    self.literal(&bytes);
                    bytes.clear();
                    self.push(Inst::Char(point));
                }
            }
        }
        self.literal(&bytes);
        points.clear();
    }

    fn literal(&mut self, bytes: &[u8]) {
        match bytes {
            [] => {}
            [byte] => {
                self.push(Inst::Byte(*byte));
            }
            _ => {
                let from = number(self.program.literals.len());
                self.program.literals.extend_from_slice(bytes);
                self.push(Inst::Literal(from, number(bytes.len())));
            }
        }
    }

    fn repeat(&mut self, body: &Node, (min, max): (u32, u32), greedy: bool, groups: (u32, u32)) {
        if max == 0 {
            return;
        }
        if (min, max) == (1, 1) {
            return self.node(body);
        }
        if !self.back
            && let Some(set) = self.set_of(body)
        {
            return self.char_loop(&set, min, max, greedy);
        }
        let nullable = body.is_nullable();
        if (min, max) == (1, INFINITE) && !nullable {
            let start = self.here();
            self.reset(groups);
            self.node(body);
            let split = self.split();
            let end = self.here();
            let (first, second) = if greedy { (start, end) } else { (end, start) };
            return self.set_split(split, first, second);
        }
        let copies = if max == INFINITE { min.saturating_add(1) } else { max };
        if size(body).saturating_add(4).saturating_mul(copies as usize) > UNROLL_MAX
            && (max, min) != (INFINITE, 0)
            && (max, min) != (1, 0)
        {
            return self.counted(body, (min, max), greedy, groups);
        }
        for n in 0..min {
            if n > 0 {
                self.reset(groups);
            }
            self.node(body);
        }
        if max == INFINITE {
            let start = self.here();
            let split = self.split();
            let first = self.here();
            self.iteration(body, nullable, groups);
            self.push(Inst::Jump(start));
            let end = self.here();
            let (first, second) = if greedy { (first, end) } else { (end, first) };
            return self.set_split(split, first, second);
        }
        let mut open = Vec::new();
        for _ in min..max {
            let split = self.split();
            let first = self.here();
            open.push((split, first));
            self.iteration(body, nullable, groups);
        }
        let end = self.here();
        for (split, first) in open {
            let (first, second) = if greedy { (first, end) } else { (end, first) };
            self.set_split(split, first, second);
        }
    }

    /// An iteration that wasn't asked for.
    fn iteration(&mut self, body: &Node, nullable: bool, groups: (u32, u32)) {
        if !nullable {
            self.reset(groups);
            return self.node(body);
        }
        let mark = self.register();
        self.push(Inst::Save(mark));
        self.reset(groups);
        self.marks.push(mark);
        self.node(body);
        self.marks.pop();
        self.push(Inst::Check(mark));
    }

    fn reset(&mut self, groups: (u32, u32)) {
        if groups.0 < groups.1 {
            self.push(Inst::Reset(groups.0, groups.1));
        }
    }

    fn char_loop(&mut self, set: &Set, min: u32, max: u32, greedy: bool) {
        let class = self.class(set);
        let memo = if max == INFINITE { self.memo() } else { NONE };
        let exit = self.here() + 1;
        let one = CharLoop { class, min, max, greedy, possessive: false, next: None, exit, memo };
        self.program.loops.push(one);
        self.push(Inst::Loop(number(self.program.loops.len() - 1)));
    }

    fn counted(&mut self, body: &Node, (min, max): (u32, u32), greedy: bool, groups: (u32, u32)) {
        let (register, mark) = (self.register(), self.register());
        let index = self.program.counters.len();
        self.program.counters.push(Counter { register, mark, min, max, greedy, body: 0, exit: 0 });
        self.push(Inst::Zero(register));
        let start = self.here();
        self.push(Inst::Count(number(index)));
        self.program.counters[index].body = self.here();
        self.reset(groups);
        let saved = std::mem::replace(&mut self.opaque, true);
        self.node(body);
        self.opaque = saved;
        self.push(Inst::CountCheck(number(index)));
        self.push(Inst::Jump(start));
        self.program.counters[index].exit = self.here();
    }
}

/// Instructions that a node takes, about.
fn size(node: &Node) -> usize {
    match node {
        Node::Empty => 0,
        Node::Seq(list) => list.iter().map(size).fold(0, usize::saturating_add),
        Node::Alt(list) => list.iter().map(|n| size(n) + 2).fold(0, usize::saturating_add),
        Node::Group { body, .. } | Node::Look { body, .. } => size(body).saturating_add(2),
        Node::Repeat { body, min, max, .. } => {
            if matches!(**body, Node::Char { .. } | Node::Class { .. }) {
                return 1;
            }
            let copies = if *max == INFINITE { min.saturating_add(1) } else { *max };
            let all = size(body).saturating_add(4).saturating_mul(copies.max(1) as usize);
            if all > UNROLL_MAX { size(body).saturating_add(6) } else { all }
        }
        _ => 1,
    }
}
