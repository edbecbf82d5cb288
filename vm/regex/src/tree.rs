//! The syntax tree of a pattern.

use crate::set::Set;

/// A name and the groups that have it (several, if they stand in different alternatives).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) text: Box<str>,
    pub(crate) groups: Vec<u32>,
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Empty,
    /// One character (code unit without `u`).
    Char {
        point: u32,
        fold: bool,
    },
    /// One of a set; `negated` applies after folding.
    Class {
        set: Set,
        negated: bool,
        fold: bool,
    },
    Seq(Vec<Node>),
    Alt(Vec<Node>),
    Group {
        index: u32,
        body: Box<Node>,
    },
    /// `max` is `INFINITE` for no bound; `groups` are those inside: first, one past the last.
    Repeat {
        body: Box<Node>,
        min: u32,
        max: u32,
        greedy: bool,
        groups: (u32, u32),
    },
    /// `^`, `$`; by lines?
    Start(bool),
    End(bool),
    /// `\b`, `\B`
    Word {
        negated: bool,
        fold: bool,
    },
    Look {
        behind: bool,
        negated: bool,
        body: Box<Node>,
    },
    BackRef {
        index: u32,
        fold: bool,
    },
    /// By number of the name.
    NamedRef {
        name: u32,
        fold: bool,
    },
}

/// `max` of an open repetition.
pub(crate) const INFINITE: u32 = u32::MAX;

/// A parsed pattern.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: Node,
    /// Capture groups, the whole match included.
    pub(crate) groups: u32,
    /// In the order in which they stand in the pattern.
    pub(crate) names: Vec<Name>,
}

impl Node {
    /// Whether it can match without taking a character. Backreferences can.
    pub(crate) fn is_nullable(&self) -> bool {
        match self {
            Node::Char { .. } | Node::Class { .. } => false,
            Node::Seq(list) => list.iter().all(Node::is_nullable),
            Node::Alt(list) => list.iter().any(Node::is_nullable),
            Node::Group { body, .. } => body.is_nullable(),
            Node::Repeat { body, min, .. } => *min == 0 || body.is_nullable(),
            _ => true,
        }
    }
}
