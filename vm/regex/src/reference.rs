//! A second matcher for tests: ECMA-262 section 22.2.2 word for word, with closures as continuations,
//! on the tree and on an array of characters. Slow, and obviously right.

use crate::fold;
use crate::matcher::{Matcher, Step};
use crate::program::Program;
use crate::set::Set;
use crate::tree::{INFINITE, Name, Node, Tree};
use crate::{Flags, parse, text};
use forebay_base::rng::Rng;

type Captures = Vec<Option<(usize, usize)>>;
type Cont<'c> = &'c mut dyn FnMut(usize, &Captures) -> Option<Captures>;

struct Reference<'a> {
    input: &'a [u32],
    unicode: bool,
    names: &'a [Name],
    fuel: std::cell::Cell<u32>,
}

impl Reference<'_> {
    fn same(&self, a: u32, b: u32, fold: bool) -> bool {
        a == b || (fold && fold::canonical(a, self.unicode) == fold::canonical(b, self.unicode))
    }

    fn one(&self, node: &Node, c: u32) -> bool {
        match node {
            Node::Char { point, fold } => self.same(*point, c, *fold),
            Node::Class { set, negated, fold } => {
                let has = set.contains(c)
                    || (*fold
                        && fold::close(&Set::of(&[(c, c)]), self.unicode)
                            .ranges()
                            .iter()
                            .any(|(a, b)| (*a..=*b).any(|c| set.contains(c))));
                has != *negated
            }
            _ => false,
        }
    }

    fn run(&self, node: &Node, back: bool, at: usize, caps: &Captures, k: Cont<'_>) -> Option<Captures> {
        self.fuel.set(self.fuel.get().checked_sub(1)?);
        match node {
            Node::Empty => k(at, caps),
            Node::Char { .. } | Node::Class { .. } => {
                let (c, next) = if back { (at.checked_sub(1)?, at - 1) } else { (at, at + 1) };
                if self.one(node, *self.input.get(c)?) { k(next, caps) } else { None }
            }
            Node::Seq(list) => self.sequence(list, back, at, caps, k),
            Node::Alt(list) => list.iter().find_map(|n| self.run(n, back, at, caps, k)),
            Node::Group { index, body } => self.run(body, back, at, caps, &mut |end, caps| {
                let mut caps = caps.clone();
                caps[*index as usize] = Some((at.min(end), at.max(end)));
                k(end, &caps)
            }),
            Node::Repeat { body, min, max, greedy, groups } => {
                self.repeat(body, (*min, *max), *greedy, *groups, back, at, caps, k)
            }
            Node::Start(lines) => {
                let holds = at == 0 || (*lines && is_line_end(self.input[at - 1]));
                if holds { k(at, caps) } else { None }
            }
            Node::End(lines) => {
                let holds = at == self.input.len() || (*lines && is_line_end(self.input[at]));
                if holds { k(at, caps) } else { None }
            }
            Node::Word { negated, fold } => {
                let words = Set::words(self.unicode && *fold);
                let is =
                    |i: Option<usize>| i.and_then(|i| self.input.get(i)).is_some_and(|c| words.contains(*c));
                if (is(at.checked_sub(1)) != is(Some(at))) != *negated { k(at, caps) } else { None }
            }
            Node::Look { behind, negated, body } => {
                let result = self.run(body, *behind, at, caps, &mut |_, caps| Some(caps.clone()));
                match (result, negated) {
                    (Some(caps), false) => k(at, &caps),
                    (None, true) => k(at, caps),
                    _ => None,
                }
            }
            Node::BackRef { index, fold } => self.back_ref(caps[*index as usize], *fold, back, at, caps, k),
            Node::NamedRef { name, fold } => {
                let groups = &self.names[*name as usize].groups;
                let range = groups.iter().find_map(|g| caps[*g as usize]);
                self.back_ref(range, *fold, back, at, caps, k)
            }
        }
    }

    fn back_ref(
        &self,
        range: Option<(usize, usize)>,
        fold: bool,
        back: bool,
        at: usize,
        caps: &Captures,
        k: Cont<'_>,
    ) -> Option<Captures> {
        let Some((from, to)) = range else { return k(at, caps) };
        let len = to - from;
        let start = if back { at.checked_sub(len)? } else { at };
        let there = self.input.get(start..start + len)?;
        if !there.iter().zip(&self.input[from..to]).all(|(a, b)| self.same(*a, *b, fold)) {
            return None;
        }
        k(if back { start } else { at + len }, caps)
    }

    fn sequence(
        &self,
        list: &[Node],
        back: bool,
        at: usize,
        caps: &Captures,
        k: Cont<'_>,
    ) -> Option<Captures> {
        let split = if back { list.split_last() } else { list.split_first() };
        let Some((node, rest)) = split else { return k(at, caps) };
        self.run(node, back, at, caps, &mut |at, caps| self.sequence(rest, back, at, caps, k))
    }

    #[expect(clippy::too_many_arguments, reason = "RepeatMatcher's")]
    fn repeat(
        &self,
        body: &Node,
        (min, max): (u32, u32),
        greedy: bool,
        groups: (u32, u32),
        back: bool,
        at: usize,
        caps: &Captures,
        k: Cont<'_>,
    ) -> Option<Captures> {
        if max == 0 {
            return k(at, caps);
        }
        let mut inner = caps.clone();
        for g in groups.0..groups.1 {
            inner[g as usize] = None;
        }
        let again = |k: Cont<'_>| {
            self.run(body, back, at, &inner, &mut |end, caps| {
                if min == 0 && end == at {
                    return None;
                }
                let (min, max) = (min.saturating_sub(1), if max == INFINITE { max } else { max - 1 });
                self.repeat(body, (min, max), greedy, groups, back, end, caps, k)
            })
        };
        if min > 0 {
            return again(k);
        }
        if greedy { again(k).or_else(|| k(at, caps)) } else { k(at, caps).or_else(|| again(k)) }
    }
}

fn is_line_end(c: u32) -> bool {
    matches!(c, 0xa | 0xd | 0x2028 | 0x2029)
}

/// The captures in characters of the input; None if it took too long.
fn search(tree: &Tree, input: &[u32], unicode: bool) -> Option<Option<Captures>> {
    for start in 0..=input.len() {
        let reference = Reference { input, unicode, names: &tree.names, fuel: std::cell::Cell::new(20_000) };
        let empty = vec![None; tree.groups as usize];
        let found = reference.run(&tree.root, false, start, &empty, &mut |end, caps| {
            let mut caps = caps.clone();
            caps[0] = Some((start, end));
            Some(caps)
        });
        if reference.fuel.get() == 0 {
            return None;
        }
        if found.is_some() {
            return Some(found);
        }
    }
    Some(None)
}

/// How the machine is driven.
#[derive(Clone, Copy, Debug)]
struct Drive {
    budget: i64,
    remember: bool,
    ascii: bool,
}

fn drive(program: &Program, input: &[u8], how: Drive, unicode: bool) -> Option<Option<Captures>> {
    let mut matcher = Matcher::new();
    matcher.start(program, input, how.ascii, 0, false, 1 << 22);
    if how.remember {
        matcher.remember_at_once(program, input);
    }
    let mut steps = 0;
    loop {
        let mut budget = how.budget;
        match matcher.step(program, input, &mut budget) {
            Step::Match => break,
            Step::NoMatch => return Some(None),
            Step::OutOfBudget => {
                steps += how.budget - budget;
                if steps > 200_000 {
                    return None;
                }
            }
            Step::OutOfMemory => return None,
        }
    }
    let index = |at: usize| {
        if unicode { String::from_utf8_lossy(&input[..at]).chars().count() } else { text::units(input, at) }
    };
    Some(Some((0..program.groups()).map(|g| matcher.group(g).map(|(a, b)| (index(a), index(b)))).collect()))
}

/// A random pattern of what the grammar has.
fn pattern(rng: &mut Rng, depth: u32, out: &mut String) {
    let count = 1 + rng.below(3);
    for _ in 0..count {
        match rng.below(if depth == 0 { 11 } else { 18 }) {
            0..=3 => out.push(pick(rng, &['a', 'b', 'c', 'k', '1', ' '])),
            4 => out.push_str(pick(rng, &["é", "😀", "s", "K", "\\u212a", "ſ", "\\ud83d", "\\ude00"])),
            5 => out.push('.'),
            6 => out
                .push_str(pick(rng, &["[ab]", "[^a]", "[a-c1]", "[^\\s]", "[é-ÿ]", "[]", "[^]", "[\\w😀]"])),
            7 => out.push_str(pick(rng, &["\\d", "\\w", "\\s", "\\D", "\\W", "\\S"])),
            8 => {
                out.push_str(pick(rng, &["^", "$", "\\b", "\\B"]));
                continue;
            }
            9 => out.push_str(pick(rng, &["\\1", "\\2", "ab", "aa"])),
            10 => out.push_str(pick(rng, &["a+", "a*?", "[ab]*", "\\w+", ".*", ".*?", "b{1,2}", "[^b]*"])),
            n => {
                out.push_str(match n {
                    11 | 12 => "(",
                    13 => pick(rng, &["(?=", "(?!"]),
                    14 => pick(rng, &["(?<=", "(?<!"]),
                    _ => "(?:",
                });
                pattern(rng, depth - 1, out);
                if rng.below(3) == 0 {
                    out.push('|');
                    pattern(rng, depth - 1, out);
                }
                out.push(')');
                if matches!(n, 13 | 14) {
                    continue;
                }
            }
        }
        if rng.below(3) == 0 {
            out.push_str(pick(rng, &["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "{0}", "{3,40}"]));
            if rng.below(3) == 0 {
                out.push('?');
            }
        }
    }
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[usize::try_from(rng.below(from.len() as u64)).unwrap_or(0)]
}

/// The machine in all its modes against the specification.
#[test]
fn machine_and_specification_agree() {
    let rounds: u64 = std::env::var("REGEX_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(250);
    let from: u64 = std::env::var("REGEX_FUZZ_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let (mut compared, mut matched, mut remembered) = (0, 0, 0);
    for seed in from..from + rounds {
        let mut rng = Rng::new(seed);
        let mut source = String::new();
        pattern(&mut rng, 3, &mut source);
        let flags = Flags {
            ignore_case: rng.below(3) == 0,
            multiline: rng.below(3) == 0,
            dot_all: rng.below(3) == 0,
            unicode: rng.below(3) == 0,
            ..Flags::default()
        };
        let Ok(tree) = parse::parse(source.as_bytes(), flags) else { continue };
        let Ok(program) = Program::compile(source.as_bytes(), flags) else { continue };
        for _ in 0..4 {
            let letters = ["a", "b", "c", "1", " ", "k", "A", "\n", "é", "😀", "K", "s"];
            let some = if rng.below(2) == 0 { 8 } else { letters.len() };
            let input: String = (0..rng.below(14)).map(|_| pick(&mut rng, &letters[..some])).collect();
            let chars: Vec<u32> = if flags.unicode {
                input.chars().map(u32::from).collect()
            } else {
                input.encode_utf16().map(u32::from).collect()
            };
            let Some(expect) = search(&tree, &chars, flags.unicode) else { continue };
            compared += 1;
            matched += u32::from(expect.is_some());
            remembered += u32::from(program.memo_states > 0);
            for budget in [i64::MAX / 2, 0, 7] {
                for remember in [false, true] {
                    for ascii in [false, true] {
                        if ascii && !input.is_ascii() {
                            continue;
                        }
                        let how = Drive { budget, remember, ascii };
                        let got = drive(&program, input.as_bytes(), how, flags.unicode);
                        let Some(got) = got else { continue };
                        assert_eq!(
                            got, expect,
                            "/{source}/{flags} on {input:?} {how:?}: REGEX_FUZZ_SEED={seed} REGEX_FUZZ_ROUNDS=1 \
                             cargo test -p forebay-regex machine_and"
                        );
                    }
                }
            }
        }
    }
    if rounds >= 1000 {
        assert!(compared > 1000 && matched > 500 && remembered > 500, "{compared} {matched} {remembered}");
    }
}

/// No pattern and no text makes it panic.
#[test]
fn anything_goes() {
    let rounds: u64 = std::env::var("REGEX_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3000);
    let alphabet: Vec<char> = "()[]{}|\\^$.*+?-:=!<>,0123abkduwxpcPBs_é😀\u{2028}".chars().collect();
    for seed in 0..rounds {
        let mut rng = Rng::new(seed);
        let source: String = (0..rng.below(24)).map(|_| pick(&mut rng, &alphabet)).collect();
        let input: String = (0..rng.below(24)).map(|_| pick(&mut rng, &alphabet)).collect();
        for unicode in [false, true] {
            let flags = Flags { unicode, ignore_case: rng.below(2) == 0, ..Flags::default() };
            let Ok(program) = Program::compile(source.as_bytes(), flags) else { continue };
            let mut matcher = Matcher::new();
            matcher.start(&program, input.as_bytes(), false, 0, false, 1 << 16);
            let mut budget = 20_000;
            let step = matcher.step(&program, input.as_bytes(), &mut budget);
            if step == Step::Match {
                let (from, to) = matcher.group(0).expect("the match");
                assert!(from <= to && to <= input.len(), "/{source}/ on {input:?}");
            }
        }
    }
}
