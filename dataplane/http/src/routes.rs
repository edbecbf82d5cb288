//! The route table of a generation: built once, immutable, shared by all cores.
//!
//! ```text
//!   GET /users/{id}          users ---- {id} ---- . GET
//!   GET /users/me      root <       \-- me ------ . GET
//!   GET /assets/{*path}      assets -- {*path} .... GET
//! ```
//!
//! A tree over path segments. Per segment a literal wins over `{name}`, which wins
//! over `{*rest}`; if the better choice leads nowhere, or only to other methods,
//! the next one is tried. Every node has one way to it, so a lookup visits each at
//! most once, and its depth is at most [`SEGMENTS_MAX`].
//!
//! Rules, all of them:
//! - Paths match exactly. `/a` and `/a/` are two paths; nothing is redirected.
//! - `{name}` takes one segment that isn't empty. `{*rest}` stands last and takes
//!   what is left, slashes included, perhaps nothing: `/f/{*rest}` matches `/f/`
//!   and `/f/a/b`, not `/f`.
//! - Segments are compared decoded: `/%75sers` is `/users`. `%2F` stays inside its
//!   segment. Patterns are written decoded.
//! - A bad escape, text that isn't UTF-8, NUL, and the segments `.` and `..`
//!   (plain or encoded) are refused with 400 before any route is looked at, so no
//!   handler ever sees a way out of its folder. Empty segments (`/a//b`) are
//!   ordinary text that only `{*rest}` can match.
//! - HEAD is answered by GET where it has no route of its own.
//! - A path that matches for other methods only: 405 with all of those in Allow.
//! - `*` (of OPTIONS) matches nothing.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use crate::method::Method;
use crate::percent::{EncodingError, check_path, decode_path, decodes_to};

/// Parameters of one pattern.
pub const PARAMS_MAX: usize = 16;
/// Segments of one pattern.
pub const SEGMENTS_MAX: usize = 64;
/// Routes of one table.
pub const ROUTES_MAX: usize = 60_000;

/// Why a route can't be added. The configuration's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// The pattern itself is wrong.
    Pattern {
        /// The pattern as given.
        pattern: Box<str>,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two routes that match the same requests.
    Conflict {
        /// The method of both.
        method: Method,
        /// The pattern that was added first.
        first: Box<str>,
        /// The pattern that was refused.
        second: Box<str>,
    },
    /// More than [`ROUTES_MAX`].
    TooMany,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern { pattern, reason } => write!(f, "route {pattern:?}: {reason}"),
            Self::Conflict { method, first, second } if first == second => {
                write!(f, "route {method} {first:?} is declared twice")
            }
            Self::Conflict { method, first, second } => {
                write!(f, "routes {method} {first:?} and {method} {second:?} match the same paths")
            }
            Self::TooMany => write!(f, "more than {ROUTES_MAX} routes"),
        }
    }
}

impl std::error::Error for RouteError {}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<T> {
    /// The method it was declared for; a GET route answers HEAD too.
    pub method: Method,
    /// The pattern as declared.
    pub pattern: Box<str>,
    /// Parameter names in the order of the pattern: the order of [`Params`].
    pub names: Box<[Box<str>]>,
    /// What the route leads to.
    pub value: T,
}

/// A set of methods, shown as the Allow field's value: `GET, HEAD`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MethodSet(u16);

impl MethodSet {
    const fn with(self, method: Method) -> Self {
        match method {
            Method::Other => self,
            _ => Self(self.0 | 1 << method as u16),
        }
    }

    /// Whether `method` is in the set.
    #[must_use]
    pub const fn contains(self, method: Method) -> bool {
        !matches!(method, Method::Other) && self.0 & (1 << method as u16) != 0
    }

    /// Whether no method is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for MethodSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for method in Method::ALL.into_iter().filter(|method| self.contains(*method)) {
            write!(f, "{separator}{method}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// Where the parameters of a match lie in the path. Reusable, no allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params {
    count: usize,
    /// Start and end in the path, valid up to `count`. Paths are at most 64 KiB (`HEAD_BYTES_MAX`).
    ranges: [(u16, u16); PARAMS_MAX],
}

impl Params {
    /// Number of parameters.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Parameter `index` as it stands in `path`, still encoded; `path` is the one that was looked up.
    #[must_use]
    pub fn raw<'p>(&self, index: usize, path: &'p str) -> Option<&'p str> {
        let (start, end) = self.ranges[..self.count].get(index)?;
        path.get(usize::from(*start)..usize::from(*end))
    }

    /// Parameter `index` decoded. Never an error for the path that was looked up.
    pub fn decoded<'p>(&self, index: usize, path: &'p str) -> Result<Option<Cow<'p, str>>, EncodingError> {
        self.raw(index, path).map(decode_path).transpose()
    }
}

/// The outcome of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'t, T> {
    /// This route; its parameters are in the `Params` that were passed.
    Found(&'t Route<T>),
    /// 405: the path exists for these methods.
    MethodNotAllowed(MethodSet),
    /// 404.
    NotFound,
    /// 400.
    BadPath(EncodingError),
}

/// Index of a route, or [`NO_ROUTE`].
type RouteIndex = u16;
const NO_ROUTE: RouteIndex = RouteIndex::MAX;
const _: () = assert!(ROUTES_MAX < NO_ROUTE as usize);

/// The routes that end at a place of the tree, by method.
#[derive(Clone, Debug)]
struct Leaf {
    routes: [RouteIndex; Method::ALL.len()],
    methods: MethodSet,
}

impl Default for Leaf {
    fn default() -> Self {
        Self { routes: [NO_ROUTE; Method::ALL.len()], methods: MethodSet::default() }
    }
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Literal segments, sorted.
    literals: Vec<(Box<[u8]>, u32)>,
    param: Option<u32>,
    /// `{*rest}` directly below this node.
    rest: Option<Box<Leaf>>,
    /// The path ends at this node.
    end: Option<Box<Leaf>>,
}

/// Gathers routes; see [`RouteTableBuilder::build`].
#[derive(Clone, Debug)]
pub struct RouteTableBuilder<T> {
    routes: Vec<Route<T>>,
    nodes: Vec<Node>,
}

impl<T> Default for RouteTableBuilder<T> {
    fn default() -> Self {
        Self { routes: Vec::new(), nodes: vec![Node::default()] }
    }
}

enum Segment<'a> {
    Literal(&'a str),
    Param(&'a str),
    Rest(&'a str),
}

impl<T> RouteTableBuilder<T> {
    /// Adds a route. On an error the table is unchanged in meaning.
    pub fn add(&mut self, method: Method, pattern: &str, value: T) -> Result<(), RouteError> {
        let wrong = |reason| RouteError::Pattern { pattern: pattern.into(), reason };
        if method == Method::Other {
            return Err(wrong("the method is not one that a route can have"));
        }
        let segments = parse_pattern(pattern).map_err(wrong)?;
        let index = RouteIndex::try_from(self.routes.len()).unwrap_or(NO_ROUTE);
        if self.routes.len() >= ROUTES_MAX {
            return Err(RouteError::TooMany);
        }
        let mut names: Vec<Box<str>> = Vec::new();
        let mut node = 0;
        let mut rest = false;
        for segment in segments {
            match segment {
                Segment::Literal(text) => node = self.literal(node, text.as_bytes()),
                Segment::Param(name) => {
                    names.push(name.into());
                    node = self.param(node);
                }
                Segment::Rest(name) => {
                    names.push(name.into());
                    rest = true;
                }
            }
        }
        let place = &mut self.nodes[node];
        let leaf = if rest { &mut place.rest } else { &mut place.end }.get_or_insert_default();
        let slot = &mut leaf.routes[method as usize];
        if let Some(first) = self.routes.get(usize::from(*slot)) {
            return Err(RouteError::Conflict {
                method,
                first: first.pattern.clone(),
                second: pattern.into(),
            });
        }
        *slot = index;
        leaf.methods = leaf.methods.with(method);
        if method == Method::Get {
            leaf.methods = leaf.methods.with(Method::Head);
        }
        self.routes.push(Route { method, pattern: pattern.into(), names: names.into(), value });
        Ok(())
    }

    /// The finished table.
    #[must_use]
    pub fn build(self) -> RouteTable<T> {
        RouteTable { routes: self.routes, nodes: self.nodes }
    }

    fn literal(&mut self, node: usize, text: &[u8]) -> usize {
        match self.nodes[node].literals.binary_search_by(|(key, _)| (**key).cmp(text)) {
            Ok(found) => self.nodes[node].literals[found].1 as usize,
            Err(place) => {
                let (child, number) = self.new_node();
                self.nodes[node].literals.insert(place, (text.into(), number));
                child
            }
        }
    }

    fn param(&mut self, node: usize) -> usize {
        match self.nodes[node].param {
            Some(child) => child as usize,
            None => {
                let (child, number) = self.new_node();
                self.nodes[node].param = Some(number);
                child
            }
        }
    }

    fn new_node(&mut self) -> (usize, u32) {
        let child = self.nodes.len();
        self.nodes.push(Node::default());
        // Within 32 bits: ROUTES_MAX * SEGMENTS_MAX.
        (child, u32::try_from(child).unwrap_or(u32::MAX))
    }
}

const _: () = assert!(ROUTES_MAX * SEGMENTS_MAX < u32::MAX as usize);

fn parse_pattern(pattern: &str) -> Result<Vec<Segment<'_>>, &'static str> {
    let rest = pattern.strip_prefix('/').ok_or("a path begins with '/'")?;
    if rest.chars().any(|c| c.is_control() || matches!(c, '?' | '#' | '%' | '\\')) {
        return Err("a path is written decoded, without control characters, '?', '#', '%' and '\\'");
    }
    let texts: Vec<&str> = rest.split('/').collect();
    if texts.len() > SEGMENTS_MAX {
        return Err("too many segments");
    }
    let mut names = HashSet::new();
    let mut segments = Vec::with_capacity(texts.len());
    let last = texts.len() - 1;
    for (index, text) in texts.into_iter().enumerate() {
        let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
            if text.contains(['{', '}']) {
                return Err("a parameter is a whole segment, as in /users/{id}");
            }
            if text.is_empty() && index != last {
                return Err("an empty segment");
            }
            if matches!(text, "." | "..") {
                return Err("the segments '.' and '..' never match");
            }
            segments.push(Segment::Literal(text));
            continue;
        };
        let (name, segment) = match name.strip_prefix('*') {
            Some(name) if index == last => (name, Segment::Rest(name)),
            Some(_) => return Err("{*rest} can only be the last segment"),
            None => (name, Segment::Param(name)),
        };
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err("a parameter's name has letters, digits and '_', and doesn't begin with a digit");
        }
        if !names.insert(name) {
            return Err("two parameters with the same name");
        }
        if names.len() > PARAMS_MAX {
            return Err("too many parameters");
        }
        segments.push(segment);
    }
    Ok(segments)
}

/// The routes of a generation.
#[derive(Clone, Debug)]
pub struct RouteTable<T> {
    routes: Vec<Route<T>>,
    nodes: Vec<Node>,
}

impl<T> RouteTable<T> {
    /// An empty builder.
    #[must_use]
    pub fn builder() -> RouteTableBuilder<T> {
        RouteTableBuilder::default()
    }

    /// Every route, in the order they were added.
    #[must_use]
    pub fn routes(&self) -> &[Route<T>] {
        &self.routes
    }

    /// Finds the route for a request. `path` is the path as sent, without the query:
    /// [`crate::HeadView::path_bytes`], or text.
    #[inline]
    pub fn lookup(&self, method: Method, path: impl AsRef<[u8]>, params: &mut Params) -> Lookup<'_, T> {
        self.find(method, path.as_ref(), params)
    }

    fn find(&self, method: Method, path: &[u8], params: &mut Params) -> Lookup<'_, T> {
        params.count = 0;
        if let Err(error) = check_path(path) {
            return Lookup::BadPath(error);
        }
        if path.first() != Some(&b'/') || path.len() > usize::from(u16::MAX) {
            return Lookup::NotFound;
        }
        let mut search = Search { nodes: &self.nodes, path, method, params, others: MethodSet::default() };
        match search.below(0, 1, 0) {
            Some(index) => Lookup::Found(&self.routes[usize::from(index)]),
            None if search.others.is_empty() => Lookup::NotFound,
            None => Lookup::MethodNotAllowed(search.others),
        }
    }
}

struct Search<'a> {
    nodes: &'a [Node],
    path: &'a [u8],
    method: Method,
    params: &'a mut Params,
    /// Methods of the places that match the path but not the method.
    others: MethodSet,
}

impl Search<'_> {
    /// Matches `path[at..]` below a node. `at` is where a segment begins.
    fn below(&mut self, node: u32, at: usize, param: usize) -> Option<RouteIndex> {
        let nodes = self.nodes;
        let node = &nodes[node as usize];
        let rest = &self.path[at..];
        // Segments are short: a plain loop beats memchr's set-up.
        let len = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let segment = &rest[..len];
        if let Some(child) = literal_child(node, segment)
            && let Some(found) = self.at_child(child, at + len, param)
        {
            return Some(found);
        }
        if let Some(child) = node.param
            && !segment.is_empty()
        {
            self.set(param, at, at + len);
            if let Some(found) = self.at_child(child, at + len, param + 1) {
                return Some(found);
            }
        }
        let leaf = node.rest.as_ref()?;
        let found = self.at_leaf(leaf, param + 1)?;
        self.set(param, at, self.path.len());
        Some(found)
    }

    /// A segment led to `child`; the path ends or goes on at `end`.
    #[inline]
    fn at_child(&mut self, child: u32, end: usize, params: usize) -> Option<RouteIndex> {
        if end < self.path.len() {
            return self.below(child, end + 1, params);
        }
        let nodes = self.nodes;
        self.at_leaf(nodes[child as usize].end.as_ref()?, params)
    }

    #[inline]
    fn at_leaf(&mut self, leaf: &Leaf, params: usize) -> Option<RouteIndex> {
        let route = |method: Method| leaf.routes.get(method as usize).copied().filter(|r| *r != NO_ROUTE);
        let found = match self.method {
            Method::Head => route(Method::Head).or_else(|| route(Method::Get)),
            method => route(method),
        };
        match found {
            Some(_) => self.params.count = params,
            None => self.others.0 |= leaf.methods.0,
        }
        found
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "lookup refuses paths beyond 16 bits")]
    fn set(&mut self, param: usize, start: usize, end: usize) {
        self.params.ranges[param] = (start as u16, end as u16);
    }
}

/// The child for a literal segment. Few children are scanned, many are searched.
#[inline]
fn literal_child(node: &Node, segment: &[u8]) -> Option<u32> {
    const SCAN_MAX: usize = 8;
    if segment.contains(&b'%') {
        return node.literals.iter().find(|(text, _)| decodes_to(segment, text)).map(|(_, child)| *child);
    }
    if node.literals.len() <= SCAN_MAX {
        return node.literals.iter().find(|(text, _)| **text == *segment).map(|(_, child)| *child);
    }
    let found = node.literals.binary_search_by(|(text, _)| (**text).cmp(segment)).ok()?;
    Some(node.literals[found].1)
}
