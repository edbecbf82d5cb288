//! Pattern to tree: the grammar of ECMA-262 section 22.2.1 with its early errors, and without `u`
//! what annex B.1.2 allows (`\c`, octal escapes, lone brackets, quantified lookaheads): patterns
//! in the wild rely on it.

use crate::fold;
use crate::set::Set;
use crate::text::{Points, Units, Walk};
use crate::tree::{INFINITE, Name, Node, Tree};
use crate::{Flags, GROUPS_MAX, NESTING_MAX, PATTERN_BYTES_MAX, SyntaxError};

type Parsed<T> = Result<T, SyntaxError>;

/// Parses a pattern (WTF-8).
pub(crate) fn parse(pattern: &[u8], flags: Flags) -> Parsed<Tree> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(SyntaxError::new(PATTERN_BYTES_MAX, "Regular expression too large"));
    }
    let mut chars = Vec::with_capacity(pattern.len());
    let mut at = 0;
    let next = if flags.unicode { Points::next } else { Units::next };
    while let Some((point, after)) = next(pattern, at) {
        chars.push((point, at));
        at = after;
    }
    let mut parser = Parser {
        chars,
        end: pattern.len(),
        at: 0,
        unicode: flags.unicode,
        modes: Modes { fold: flags.ignore_case, lines: flags.multiline, all: flags.dot_all },
        group_count: 0,
        has_names: flags.unicode,
        groups: 1,
        names: Vec::new(),
        references: Vec::new(),
        path: Vec::new(),
        disjunctions: 0,
        depth: 0,
    };
    parser.count_groups();
    let root = parser.disjunction()?;
    if parser.at < parser.chars.len() {
        return parser.fail("Unmatched ')'");
    }
    parser.finish(root)
}

/// Flags that modifiers change inside of a pattern.
#[derive(Clone, Copy)]
struct Modes {
    fold: bool,
    lines: bool,
    all: bool,
}

/// A named group: where in the pattern's alternatives it stands.
struct NamedGroup {
    text: Box<str>,
    index: u32,
    path: Vec<(u32, u32)>,
}

struct Parser {
    /// Characters (code units without `u`) and their byte offsets.
    chars: Vec<(u32, usize)>,
    end: usize,
    at: usize,
    unicode: bool,
    modes: Modes,
    /// Groups of the whole pattern, the match itself not counted.
    group_count: u32,
    /// `\k` is a reference.
    has_names: bool,
    /// Groups so far, the match itself included.
    groups: u32,
    names: Vec<NamedGroup>,
    /// Names that `\k` uses, and where.
    references: Vec<(Box<str>, usize)>,
    /// Disjunctions that are open, and the alternative of each that is being read.
    path: Vec<(u32, u32)>,
    disjunctions: u32,
    depth: u32,
}

const BACKSLASH: u32 = b'\\' as u32;

const fn ch(c: char) -> u32 {
    c as u32
}

fn is_syntax(c: u32) -> bool {
    char::from_u32(c).is_some_and(|c| "^$\\.*+?()[]{}|/".contains(c))
}

fn digit(c: u32, radix: u32) -> Option<u32> {
    char::from_u32(c).filter(char::is_ascii)?.to_digit(radix)
}

impl Parser {
    fn offset(&self, at: usize) -> usize {
        self.chars.get(at).map_or(self.end, |c| c.1)
    }

    fn fail<T>(&self, message: &str) -> Parsed<T> {
        Err(SyntaxError::new(self.offset(self.at), message))
    }

    fn peek(&self) -> Option<u32> {
        self.chars.get(self.at).map(|c| c.0)
    }

    fn peek_at(&self, ahead: usize) -> Option<u32> {
        self.chars.get(self.at + ahead).map(|c| c.0)
    }

    fn eat(&mut self, c: char) -> bool {
        let is = self.peek() == Some(ch(c));
        self.at += usize::from(is);
        is
    }

    fn eat_text(&mut self, text: &str) -> bool {
        let is = text.chars().enumerate().all(|(i, c)| self.peek_at(i) == Some(ch(c)));
        if is {
            self.at += text.len();
        }
        is
    }

    /// Groups of the whole pattern, which decide what `\1` and `\k` mean.
    fn count_groups(&mut self) {
        let mut in_class = false;
        let mut at = 0;
        let is = |at: usize, c: char| self.chars.get(at).is_some_and(|x| x.0 == ch(c));
        while at < self.chars.len() {
            match self.chars[at].0 {
                BACKSLASH => at += 1,
                c if c == ch('[') => in_class = true,
                c if c == ch(']') => in_class = false,
                c if c == ch('(') && !in_class => {
                    let named = is(at + 1, '?') && is(at + 2, '<') && !is(at + 3, '=') && !is(at + 3, '!');
                    self.has_names |= named;
                    self.group_count += u32::from(named || !is(at + 1, '?'));
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn finish(self, root: Node) -> Parsed<Tree> {
        let mut names: Vec<Name> = Vec::new();
        for (n, group) in self.names.iter().enumerate() {
            let clash =
                self.names[..n].iter().any(|g| g.text == group.text && !are_apart(&g.path, &group.path));
            if clash {
                return Err(SyntaxError::new(self.end, "Duplicate capture group name"));
            }
            match names.iter_mut().find(|n| n.text == group.text) {
                Some(name) => name.groups.push(group.index),
                None => names.push(Name { text: group.text.clone(), groups: vec![group.index] }),
            }
        }
        let mut order = Vec::with_capacity(self.references.len());
        for (name, at) in &self.references {
            let found = names.iter().position(|n| n.text == *name);
            let Some(found) = found else {
                return Err(SyntaxError::new(*at, "Invalid named capture referenced"));
            };
            order.push(u32::try_from(found).unwrap_or(0));
        }
        let mut root = root;
        resolve(&mut root, &order);
        Ok(Tree { root, groups: self.groups, names })
    }

    fn disjunction(&mut self) -> Parsed<Node> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return self.fail("Regular expression too deeply nested");
        }
        let id = self.disjunctions;
        self.disjunctions += 1;
        let mut list = Vec::new();
        loop {
            self.path.push((id, u32::try_from(list.len()).unwrap_or(u32::MAX)));
            let one = self.alternative();
            self.path.pop();
            list.push(one?);
            if !self.eat('|') {
                break;
            }
        }
        self.depth -= 1;
        Ok(if list.len() == 1 { list.pop().unwrap_or(Node::Empty) } else { Node::Alt(list) })
    }

    fn alternative(&mut self) -> Parsed<Node> {
        let mut list = Vec::new();
        while let Some(c) = self.peek() {
            if c == ch('|') || c == ch(')') {
                break;
            }
            list.push(self.term()?);
        }
        Ok(match list.len() {
            0 => Node::Empty,
            1 => list.pop().unwrap_or(Node::Empty),
            _ => Node::Seq(list),
        })
    }

    fn term(&mut self) -> Parsed<Node> {
        let first_group = self.groups;
        let Some(c) = self.peek() else { return Ok(Node::Empty) };
        let start = self.at;
        let (atom, quantifiable) = match char::from_u32(c).unwrap_or('\u{fffd}') {
            '^' => {
                self.at += 1;
                (Node::Start(self.modes.lines), false)
            }
            '$' => {
                self.at += 1;
                (Node::End(self.modes.lines), false)
            }
            '(' => self.group()?,
            '*' | '+' | '?' => return self.fail("Nothing to repeat"),
            '{' if self.unicode => return self.fail("Nothing to repeat"),
            '{' => {
                if self.braces()?.is_some() {
                    self.at = start;
                    return self.fail("Nothing to repeat");
                }
                self.at += 1;
                (self.character(c), true)
            }
            '}' | ']' if self.unicode => return self.fail("Lone quantifier brackets"),
            '.' => {
                self.at += 1;
                let set = if self.modes.all { Set::default() } else { Set::line_ends() };
                (Node::Class { set, negated: true, fold: false }, true)
            }
            '[' => (self.class()?, true),
            '\\' => self.escape()?,
            _ => {
                self.at += 1;
                (self.character(c), true)
            }
        };
        self.quantified(atom, quantifiable, first_group)
    }

    fn character(&self, point: u32) -> Node {
        Node::Char { point, fold: self.modes.fold }
    }

    fn quantified(&mut self, atom: Node, quantifiable: bool, first_group: u32) -> Parsed<Node> {
        let start = self.at;
        let range = match self.peek().and_then(char::from_u32) {
            Some('*') => Some((0, INFINITE)),
            Some('+') => Some((1, INFINITE)),
            Some('?') => Some((0, 1)),
            Some('{') => self.braces()?,
            _ => None,
        };
        let Some((min, max)) = range else {
            if self.unicode && self.peek() == Some(ch('{')) {
                return self.fail("Incomplete quantifier");
            }
            return Ok(atom);
        };
        if !quantifiable {
            self.at = start;
            return self.fail("Nothing to repeat");
        }
        if self.at == start {
            self.at += 1;
        }
        let greedy = !self.eat('?');
        Ok(Node::Repeat { body: Box::new(atom), min, max, greedy, groups: (first_group, self.groups) })
    }

    /// `{n}`, `{n,}`, `{n,m}`; none, and nothing taken, if it is something else.
    fn braces(&mut self) -> Parsed<Option<(u32, u32)>> {
        let start = self.at;
        self.at += 1;
        let range = self.braces_inside();
        let Some((min, max)) = range else {
            self.at = start;
            return Ok(None);
        };
        if max < min {
            return self.fail("numbers out of order in {} quantifier");
        }
        // Counts beyond any text are all alike.
        let narrow = |n: u64| u32::try_from(n).unwrap_or(INFINITE).min(INFINITE - 1);
        Ok(Some((narrow(min), if max == u64::MAX { INFINITE } else { narrow(max) })))
    }

    fn braces_inside(&mut self) -> Option<(u64, u64)> {
        let min = self.decimal()?;
        let max = if self.eat(',') {
            if self.peek() == Some(ch('}')) { u64::MAX } else { self.decimal()? }
        } else {
            min
        };
        self.eat('}').then_some((min, max))
    }

    fn decimal(&mut self) -> Option<u64> {
        let mut value = None;
        while let Some(d) = self.peek().and_then(|c| digit(c, 10)) {
            value =
                Some(value.unwrap_or(0u64).saturating_mul(10).saturating_add(u64::from(d)).min(u64::MAX - 1));
            self.at += 1;
        }
        value
    }

    fn group(&mut self) -> Parsed<(Node, bool)> {
        self.at += 1;
        if !self.eat('?') {
            return self.capture(None);
        }
        let look = [("=", false, false), ("!", false, true), ("<=", true, false), ("<!", true, true)];
        for (text, behind, negated) in look {
            if self.eat_text(text) {
                let body = Box::new(self.closed()?);
                return Ok((Node::Look { behind, negated, body }, !behind && !self.unicode));
            }
        }
        if self.eat('<') {
            let name = self.group_name()?;
            return self.capture(Some(name));
        }
        let saved = self.modes;
        self.modifiers()?;
        let body = self.closed();
        self.modes = saved;
        Ok((body?, true))
    }

    fn capture(&mut self, name: Option<Box<str>>) -> Parsed<(Node, bool)> {
        let index = self.groups;
        if index > GROUPS_MAX {
            return self.fail("Too many captures");
        }
        self.groups += 1;
        if let Some(text) = name {
            self.names.push(NamedGroup { text, index, path: self.path.clone() });
        }
        let body = Box::new(self.closed()?);
        Ok((Node::Group { index, body }, true))
    }

    /// A disjunction and its `)`.
    fn closed(&mut self) -> Parsed<Node> {
        let body = self.disjunction()?;
        if self.eat(')') { Ok(body) } else { self.fail("Unterminated group") }
    }

    /// `:`, `i:`, `-i:`, `im-s:`
    fn modifiers(&mut self) -> Parsed<()> {
        let (mut seen, mut removing) = (Vec::new(), false);
        loop {
            let Some(c) = self.peek().and_then(char::from_u32) else { return self.fail("Invalid group") };
            match c {
                ':' => {
                    if removing && seen.is_empty() {
                        return self.fail("Invalid group");
                    }
                    self.at += 1;
                    return Ok(());
                }
                '-' if !removing => removing = true,
                'i' | 'm' | 's' if !seen.contains(&c) => {
                    seen.push(c);
                    match c {
                        'i' => self.modes.fold = !removing,
                        'm' => self.modes.lines = !removing,
                        _ => self.modes.all = !removing,
                    }
                }
                _ => return self.fail("Invalid group"),
            }
            self.at += 1;
        }
    }

    /// The name and its `>`.
    fn group_name(&mut self) -> Parsed<Box<str>> {
        let mut name = String::new();
        loop {
            let start = self.at;
            let Some(mut point) = self.peek() else { return self.fail("Invalid capture group name") };
            self.at += 1;
            if point == ch('>') && !name.is_empty() {
                return Ok(name.into());
            }
            if point == BACKSLASH {
                if !self.eat('u') {
                    return self.fail("Invalid Unicode escape");
                }
                match self.unicode_escape(true) {
                    Some(p) => point = p,
                    None => return self.fail("Invalid Unicode escape"),
                }
            } else if (0xd800..0xdc00).contains(&point)
                && let Some(low @ 0xdc00..=0xdfff) = self.peek()
            {
                self.at += 1;
                point = pair(point, low);
            }
            let fits = if name.is_empty() { fold::is_id_start(point) } else { fold::is_id_continue(point) };
            match char::from_u32(point).filter(|_| fits) {
                Some(c) => name.push(c),
                None => {
                    self.at = start;
                    return self.fail("Invalid capture group name");
                }
            }
        }
    }

    /// After `\u`: `XXXX`, with `full` also a pair of them or `{X...}`; none and nothing taken if malformed.
    fn unicode_escape(&mut self, full: bool) -> Option<u32> {
        let start = self.at;
        if full && self.eat('{') {
            let mut value = None;
            while let Some(d) = self.peek().and_then(|c| digit(c, 16)) {
                value = Some(value.unwrap_or(0u32).saturating_mul(16).saturating_add(d));
                self.at += 1;
            }
            if let Some(v) = value.filter(|v| *v <= 0x10_ffff)
                && self.eat('}')
            {
                return Some(v);
            }
            self.at = start;
            return None;
        }
        let Some(first) = self.hex(4) else {
            self.at = start;
            return None;
        };
        if full && (0xd800..0xdc00).contains(&first) {
            let after = self.at;
            if self.eat_text("\\u")
                && let Some(low @ 0xdc00..=0xdfff) = self.hex(4)
            {
                return Some(pair(first, low));
            }
            self.at = after;
        }
        Some(first)
    }

    fn hex(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for i in 0..count {
            value = value * 16 + digit(self.peek_at(i)?, 16)?;
        }
        self.at += count;
        Some(value)
    }

    /// `\...` outside of a class.
    fn escape(&mut self) -> Parsed<(Node, bool)> {
        let start = self.at;
        self.at += 1;
        let Some(c) = self.peek() else { return self.fail("\\ at end of pattern") };
        let fold = self.modes.fold;
        match char::from_u32(c).unwrap_or('\u{fffd}') {
            'b' | 'B' => {
                self.at += 1;
                Ok((Node::Word { negated: c == ch('B'), fold }, false))
            }
            'k' if self.has_names => {
                self.at += 1;
                if !self.eat('<') {
                    return self.fail("Invalid named reference");
                }
                let name = self.group_name()?;
                let number = u32::try_from(self.references.len()).unwrap_or(u32::MAX);
                self.references.push((name, self.offset(start)));
                Ok((Node::NamedRef { name: number, fold }, true))
            }
            '1'..='9' => {
                let digits = self.at;
                let n = self.decimal().unwrap_or(u64::MAX);
                if n <= u64::from(self.group_count) {
                    let index = u32::try_from(n).unwrap_or(u32::MAX);
                    return Ok((Node::BackRef { index, fold }, true));
                }
                if self.unicode {
                    return self.fail("Invalid escape");
                }
                self.at = digits;
                let point = self.legacy_octal();
                Ok((self.character(point), true))
            }
            _ => {
                if let Some(set) = self.class_escape()? {
                    return Ok((Node::Class { set, negated: false, fold }, true));
                }
                let point = self.character_escape(false)?;
                Ok((self.character(point), true))
            }
        }
    }

    /// `d`, `D`, ... `p{..}` at the current place.
    fn class_escape(&mut self) -> Parsed<Option<Set>> {
        let extended = self.unicode && self.modes.fold;
        let Some(c) = self.peek().and_then(char::from_u32) else { return Ok(None) };
        let set = match c {
            'd' | 'D' => Set::digits(),
            's' | 'S' => Set::spaces(),
            'w' | 'W' => Set::words(extended),
            'p' | 'P' if self.unicode => {
                self.at += 1;
                self.property()?
            }
            _ => return Ok(None),
        };
        if !matches!(c, 'p' | 'P') {
            self.at += 1;
        }
        Ok(Some(if c.is_ascii_uppercase() { set.complement() } else { set }))
    }

    /// `{name}` or `{name=value}`.
    fn property(&mut self) -> Parsed<Set> {
        if !self.eat('{') {
            return self.fail("Invalid property name");
        }
        let mut text = String::new();
        loop {
            match self.peek().and_then(char::from_u32) {
                Some('}') => break,
                Some(c) if c.is_ascii_alphanumeric() || matches!(c, '_' | '=') => text.push(c),
                _ => return self.fail("Invalid property name"),
            }
            self.at += 1;
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text.as_str(), None),
        };
        let Some(set) = fold::property(name, value) else { return self.fail("Invalid property name") };
        self.at += 1;
        Ok(set)
    }

    /// Up to three octal digits, at most 255; `8` and `9` are themselves.
    fn legacy_octal(&mut self) -> u32 {
        let Some(first) = self.peek() else { return 0 };
        self.at += 1;
        let Some(mut value) = digit(first, 8) else { return first };
        for _ in 0..2 {
            let Some(d) = self.peek().and_then(|c| digit(c, 8)) else { break };
            if value * 8 + d > 255 {
                break;
            }
            value = value * 8 + d;
            self.at += 1;
        }
        value
    }

    /// The character that an escape stands for; the backslash is taken.
    fn character_escape(&mut self, in_class: bool) -> Parsed<u32> {
        let Some(c) = self.peek() else { return self.fail("\\ at end of pattern") };
        let is_digit = |c: Option<u32>| c.is_some_and(|c| digit(c, 10).is_some());
        match char::from_u32(c).unwrap_or('\u{fffd}') {
            'f' => self.take(0xc),
            'n' => self.take(0xa),
            'r' => self.take(0xd),
            't' => self.take(9),
            'v' => self.take(0xb),
            'b' if in_class => self.take(8),
            '-' if in_class && self.unicode => self.take(c),
            'c' => {
                let control = self.peek_at(1).and_then(char::from_u32).filter(|l| {
                    l.is_ascii_alphabetic()
                        || (in_class && !self.unicode && (l.is_ascii_digit() || *l == '_'))
                });
                match control {
                    Some(letter) => {
                        self.at += 2;
                        Ok(ch(letter) & 0x1f)
                    }
                    None if self.unicode => self.fail("Invalid unicode escape"),
                    // The backslash stands for itself, the c for what follows.
                    None => Ok(BACKSLASH),
                }
            }
            '0' if !is_digit(self.peek_at(1)) => self.take(0),
            '0'..='9' if self.unicode => self.fail("Invalid decimal escape"),
            '0'..='9' => Ok(self.legacy_octal()),
            'x' => {
                self.at += 1;
                match self.hex(2) {
                    Some(v) => Ok(v),
                    None if self.unicode => self.fail("Invalid escape"),
                    None => Ok(c),
                }
            }
            'u' => {
                self.at += 1;
                match self.unicode_escape(self.unicode) {
                    Some(v) => Ok(v),
                    None if self.unicode => self.fail("Invalid Unicode escape"),
                    None => Ok(c),
                }
            }
            'k' if self.has_names => self.fail("Invalid escape"),
            _ if self.unicode && !is_syntax(c) => self.fail("Invalid escape"),
            _ => self.take(c),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "so that every arm of an escape reads alike")]
    fn take(&mut self, point: u32) -> Parsed<u32> {
        self.at += 1;
        Ok(point)
    }

    fn class(&mut self) -> Parsed<Node> {
        self.at += 1;
        let negated = self.eat('^');
        let mut set = Set::default();
        loop {
            let Some(_) = self.peek() else { return self.fail("Unterminated character class") };
            if self.eat(']') {
                break;
            }
            let first = self.class_atom()?;
            let is_range = self.peek() == Some(ch('-')) && self.peek_at(1).is_some_and(|c| c != ch(']'));
            if !is_range {
                first.add_to(&mut set);
                continue;
            }
            self.at += 1;
            let last = self.class_atom()?;
            match (first, last) {
                (ClassAtom::One(from), ClassAtom::One(to)) => {
                    if from > to {
                        return self.fail("Range out of order in character class");
                    }
                    set.push(from, to);
                }
                _ if self.unicode => return self.fail("Invalid character class"),
                (first, last) => {
                    first.add_to(&mut set);
                    set.push(ch('-'), ch('-'));
                    last.add_to(&mut set);
                }
            }
        }
        set.settle();
        Ok(Node::Class { set, negated, fold: self.modes.fold })
    }

    fn class_atom(&mut self) -> Parsed<ClassAtom> {
        let Some(c) = self.peek() else { return self.fail("Unterminated character class") };
        self.at += 1;
        if c != BACKSLASH {
            return Ok(ClassAtom::One(c));
        }
        if let Some(set) = self.class_escape()? {
            return Ok(ClassAtom::Many(set));
        }
        Ok(ClassAtom::One(self.character_escape(true)?))
    }
}

enum ClassAtom {
    One(u32),
    Many(Set),
}

impl ClassAtom {
    fn add_to(&self, set: &mut Set) {
        match self {
            Self::One(c) => set.push(*c, *c),
            Self::Many(many) => many.ranges().iter().for_each(|(from, to)| set.push(*from, *to)),
        }
    }
}

fn pair(high: u32, low: u32) -> u32 {
    0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)
}

/// Whether two groups stand in different alternatives of one disjunction, so that at most one takes part.
fn are_apart(a: &[(u32, u32)], b: &[(u32, u32)]) -> bool {
    a.iter().any(|(id, alternative)| b.iter().any(|(i, other)| i == id && other != alternative))
}

/// Turns numbers of references into numbers of names.
fn resolve(node: &mut Node, order: &[u32]) {
    match node {
        Node::NamedRef { name, .. } => *name = order.get(*name as usize).copied().unwrap_or(0),
        Node::Seq(list) | Node::Alt(list) => list.iter_mut().for_each(|n| resolve(n, order)),
        Node::Group { body, .. } | Node::Repeat { body, .. } | Node::Look { body, .. } => {
            resolve(body, order)
        }
        _ => {}
    }
}
