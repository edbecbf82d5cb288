//! What can be known about a program before it runs: which bytes can come first, which repetitions
//! never need to give back, where a search may start.

use crate::program::{Class, Hint, Inst, NONE, Program, Stops};
use crate::tree::Node;
use memchr::memmem::Finder;

/// Instructions that one question looks at, at most.
const WALK_MAX: usize = 96;
/// Longest text that a search looks for.
const LITERAL_MAX: usize = 64;

/// Bytes that a character can start with. Beyond ASCII they are not told apart, but for literals.
type Bytes = [bool; 256];

/// Fills in guards, possessive loops and the search hint.
pub(crate) fn improve(program: &mut Program, root: &Node) {
    for n in 0..program.loops.len() {
        let (exit, greedy, class) = {
            let one = &program.loops[n];
            (one.exit, one.greedy, one.class)
        };
        let loop_bytes = bytes_of(&program.classes[class as usize]);
        let follow = follow(program, exit);
        let one = &mut program.loops[n];
        if let Some(follow) = &follow {
            one.possessive = greedy && !(0..256).any(|b| loop_bytes[b] && follow[b]);
        }
        one.next = next_byte(&program.insts, exit);
    }
    for n in 0..program.splits.len() {
        if program.splits[n].back {
            continue;
        }
        let (first, second) = (program.splits[n].first, program.splits[n].second);
        let first = guard(program, first);
        let second = guard(program, second);
        program.splits[n].first_guard = first;
        program.splits[n].second_guard = second;
    }
    program.hint = hint(program, root);
    if !matches!(program.hint, Hint::Prefix(_) | Hint::Anchored) {
        let mut best = Vec::new();
        required(root, &mut best);
        if !best.is_empty() {
            program.required = Some(Finder::new(&best).into_owned());
        }
    }
}

fn bytes_of(class: &Class) -> Bytes {
    let mut bytes = class.table;
    if !class.ranges.is_empty() {
        bytes[0x80..].fill(true);
    }
    bytes
}

fn single(bytes: &mut Bytes, point: u32) {
    match char::from_u32(point) {
        Some(c) => bytes[usize::from(c.encode_utf8(&mut [0; 4]).as_bytes()[0])] = true,
        None => bytes[0x80..].fill(true),
    }
}

/// The bytes of which one must come at `pc` for it to match; none if it may match without.
fn first(program: &Program, pc: u32) -> Option<Bytes> {
    let mut bytes = [false; 256];
    let (mut rest, mut seen) = (vec![pc], Vec::new());
    while let Some(pc) = rest.pop() {
        if seen.contains(&pc) {
            continue;
        }
        seen.push(pc);
        if seen.len() > WALK_MAX {
            return None;
        }
        match program.insts[pc as usize] {
            Inst::Byte(b) => bytes[usize::from(b)] = true,
            Inst::Literal(from, _) => bytes[usize::from(program.literals[from as usize])] = true,
            Inst::Char(point) => single(&mut bytes, point),
            Inst::Class(class) => join(&mut bytes, &bytes_of(&program.classes[class as usize])),
            Inst::Loop(n) => {
                let one = &program.loops[n as usize];
                join(&mut bytes, &bytes_of(&program.classes[one.class as usize]));
                if one.min == 0 {
                    rest.push(one.exit);
                }
            }
            Inst::Split(n) => {
                let split = &program.splits[n as usize];
                rest.extend([split.first, split.second]);
            }
            Inst::Count(n) => {
                let counter = &program.counters[n as usize];
                rest.extend([counter.body, counter.exit]);
            }
            Inst::Jump(to) | Inst::Look(_, to) => rest.push(to),
            Inst::Save(_)
            | Inst::Reset(..)
            | Inst::Check(_)
            | Inst::Zero(_)
            | Inst::CountCheck(_)
            | Inst::Start
            | Inst::LineStart
            | Inst::Word(..) => rest.push(pc + 1),
            // They can hold at the end of the text, where no byte comes.
            _ => return None,
        }
    }
    Some(bytes)
}

fn join(bytes: &mut Bytes, more: &Bytes) {
    for (b, m) in bytes.iter_mut().zip(more) {
        *b |= m;
    }
}

/// The bytes that can come after a greedy loop for fewer iterations than possible to be worth a
/// try; none if that can't be said. A match that needs nothing more is never given back.
fn follow(program: &Program, pc: u32) -> Option<Bytes> {
    let mut bytes = [false; 256];
    let (mut rest, mut seen) = (vec![(pc, false)], Vec::new());
    while let Some((pc, asserted)) = rest.pop() {
        if seen.contains(&(pc, asserted)) {
            continue;
        }
        seen.push((pc, asserted));
        if seen.len() > WALK_MAX {
            return None;
        }
        match program.insts[pc as usize] {
            Inst::Byte(b) => bytes[usize::from(b)] = true,
            Inst::Literal(from, _) => bytes[usize::from(program.literals[from as usize])] = true,
            Inst::Char(point) => single(&mut bytes, point),
            Inst::Class(class) => join(&mut bytes, &bytes_of(&program.classes[class as usize])),
            Inst::Loop(n) => {
                let one = &program.loops[n as usize];
                join(&mut bytes, &bytes_of(&program.classes[one.class as usize]));
                if one.min == 0 {
                    rest.push((one.exit, asserted));
                }
            }
            Inst::Split(n) => {
                let split = &program.splits[n as usize];
                rest.extend([(split.first, asserted), (split.second, asserted)]);
            }
            Inst::Jump(to) => rest.push((to, asserted)),
            // What fails with all of the run has taken nothing with less of it either.
            Inst::Save(_) | Inst::Reset(..) | Inst::Zero(_) | Inst::Check(_) => rest.push((pc + 1, asserted)),
            // A character of the loop follows wherever it gives back: not the end.
            Inst::End => {}
            Inst::LineEnd => {
                for b in [b'\n', b'\r', 0xe2] {
                    bytes[usize::from(b)] = true;
                }
            }
            Inst::Word(..) => rest.push((pc + 1, true)),
            Inst::Match | Inst::LookEnd(_) if !asserted => {}
            _ => return None,
        }
    }
    Some(bytes)
}

/// The ASCII byte with which what follows starts.
fn next_byte(insts: &[Inst], mut pc: u32) -> Option<u8> {
    loop {
        match insts[pc as usize] {
            Inst::Byte(b) => return Some(b),
            Inst::Save(_) | Inst::Reset(..) => pc += 1,
            _ => return None,
        }
    }
}

fn guard(program: &mut Program, pc: u32) -> u32 {
    let Some(bytes) = first(program, pc) else { return NONE };
    if bytes.iter().all(|b| *b) {
        return NONE;
    }
    let known = program.guards.iter().position(|g| *g == bytes).unwrap_or_else(|| {
        program.guards.push(bytes);
        program.guards.len() - 1
    });
    u32::try_from(known).unwrap_or(NONE)
}

fn hint(program: &Program, root: &Node) -> Hint {
    if is_anchored(root) {
        return Hint::Anchored;
    }
    let prefix = prefix(program);
    if prefix.len() > 1 {
        return Hint::Prefix(Box::new(Finder::new(&prefix).into_owned()));
    }
    let Some(bytes) = first(program, 0) else { return Hint::Any };
    let wanted = (0..=255u8).filter(|b| bytes[usize::from(*b)]);
    match Stops::of(wanted) {
        Some(stops) => Hint::Bytes(stops),
        None if bytes.iter().all(|b| *b) => Hint::Any,
        None => Hint::Table(Box::new(bytes)),
    }
}

fn is_anchored(node: &Node) -> bool {
    match node {
        Node::Start(lines) => !lines,
        Node::Seq(list) => list.first().is_some_and(is_anchored),
        Node::Alt(list) => list.iter().all(is_anchored),
        Node::Group { body, .. } => is_anchored(body),
        _ => false,
    }
}

/// The bytes that every match starts with.
fn prefix(program: &Program) -> Vec<u8> {
    let mut out = Vec::new();
    for inst in &program.insts {
        match inst {
            Inst::Save(_) => {}
            Inst::Byte(b) => out.push(*b),
            Inst::Literal(from, len) => {
                out.extend_from_slice(&program.literals[*from as usize..(*from + *len) as usize]);
            }
            _ => break,
        }
        if out.len() >= LITERAL_MAX {
            break;
        }
    }
    // Nothing before it chooses, so every match takes all of it.
    out
}

/// The longest text that stands in every match, as far as sequences show.
fn required(node: &Node, best: &mut Vec<u8>) {
    match node {
        Node::Seq(list) => {
            let mut run = Vec::new();
            for node in list {
                match node {
                    Node::Char { point, fold: false } if char::from_u32(*point).is_some() => {
                        let c = char::from_u32(*point).unwrap_or('\0');
                        run.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    node => {
                        keep(&mut run, best);
                        required(node, best);
                    }
                }
            }
            keep(&mut run, best);
        }
        Node::Char { point, fold: false } => {
            if let Some(c) = char::from_u32(*point) {
                keep(&mut c.encode_utf8(&mut [0; 4]).as_bytes().to_vec(), best);
            }
        }
        Node::Group { body, .. } => required(body, best),
        Node::Repeat { body, min, .. } if *min > 0 => required(body, best),
        _ => {}
    }
}

fn keep(run: &mut Vec<u8>, best: &mut Vec<u8>) {
    run.truncate(LITERAL_MAX);
    if run.len() > best.len() {
        std::mem::swap(run, best);
    }
    run.clear();
}
