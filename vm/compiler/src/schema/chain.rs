//! The calls of a chain that begins with `db()`.

use oxc_ast::ast::{
    Argument, ArrayExpressionElement, ArrowFunctionExpression, CallExpression, Expression, ObjectExpression,
};
use oxc_span::{GetSpan, Span};

use crate::files::File;
use crate::lower::strip;

/// `db().table("person").where(...).get()`.
pub(crate) struct Chain<'c, 'a> {
    /// Where it begins.
    pub(crate) start: u32,
    /// Behind the last link.
    end: u32,
    /// `db("other")`.
    pub(crate) is_named: bool,
    /// The calls behind `db()`, up to the one that gives a value.
    pub(crate) links: Vec<Link<'c, 'a>>,
}

impl Chain<'_, '_> {
    pub(crate) fn span(&self) -> Span {
        Span::new(self.start, self.end)
    }
}

/// One call.
pub(crate) struct Link<'c, 'a> {
    pub(crate) name: &'c str,
    /// Of its name.
    pub(crate) span: Span,
    /// Of the whole chain up to here.
    pub(crate) call: Span,
    pub(crate) args: &'c [Argument<'a>],
}

/// Links that go on. Behind anything else stands a value, whose methods are none of a chain's: `returning("id").map(...)`.
pub(crate) const LINKS: [&str; 26] = [
    "clone",
    "table",
    "from",
    "where",
    "and",
    "or",
    "having",
    "in",
    "notIn",
    "like",
    "ilike",
    "between",
    "isNull",
    "notNull",
    "join",
    "leftJoin",
    "select",
    "distinct",
    "group",
    "order",
    "limit",
    "offset",
    "returning",
    "onConflict",
    "all",
    "delete",
];
/// The same, for what writes.
const WRITES: [&str; 2] = ["insert", "update"];
/// What gives a value: what is called behind it is no link any more.
const VERBS: [&str; 12] =
    ["get", "first", "find", "exists", "count", "sum", "avg", "min", "max", "raw", "toSQL", "explain"];

/// The chain that a call is the end of; `db` must be the host's.
pub(crate) fn of<'c, 'a>(file: &File<'a>, c: &'c CallExpression<'a>) -> Option<Chain<'c, 'a>> {
    let mut links = Vec::new();
    let mut call = c;
    let root = loop {
        match strip(&call.callee) {
            Expression::Identifier(id) if id.name == "db" => {
                if super::symbol_of(file, id).is_some() {
                    return None;
                }
                break call;
            }
            Expression::StaticMemberExpression(m) => {
                links.push(Link {
                    name: m.property.name.as_str(),
                    span: m.property.span,
                    call: call.span,
                    args: &call.arguments,
                });
                let Expression::CallExpression(inner) = strip(&m.object) else { return None };
                call = inner;
            }
            _ => return None,
        }
    };
    links.reverse();
    let goes_on = |link: &Link<'_, '_>| LINKS.contains(&link.name) || WRITES.contains(&link.name);
    if let Some(end) = links.iter().position(|link| !goes_on(link)) {
        // A `find` with a function is that of a list.
        let is_verb = VERBS.contains(&links[end].name) && links[end].lambda().is_none();
        links.truncate(end + usize::from(is_verb));
    }
    let end = links.last().map_or(root.span.end, |link| link.call.end);
    Some(Chain { start: root.span.start, end, is_named: !root.arguments.is_empty(), links })
}

impl<'c, 'a> Link<'c, 'a> {
    fn expression(&self, at: usize) -> Option<&'c Expression<'a>> {
        self.args.get(at)?.as_expression().map(strip)
    }

    /// The string literal at a place.
    pub(crate) fn text(&self, at: usize) -> Option<(&'c str, Span)> {
        string(self.expression(at)?)
    }

    /// The lambda: the only argument, or that behind the names of a join.
    pub(crate) fn lambda(&self) -> Option<&'c ArrowFunctionExpression<'a>> {
        let at = match self.name {
            "join" | "leftJoin" => self.args.len().checked_sub(1)?,
            _ => 0,
        };
        match self.expression(at)? {
            Expression::ArrowFunctionExpression(arrow) => Some(arrow),
            _ => None,
        }
    }

    pub(crate) fn object(&self, at: usize) -> Option<&'c ObjectExpression<'a>> {
        match self.expression(at)? {
            Expression::ObjectExpression(object) => Some(object),
            _ => None,
        }
    }

    /// An object, or the objects of a list.
    pub(crate) fn objects(&self, at: usize) -> Vec<&'c ObjectExpression<'a>> {
        match self.expression(at) {
            Some(Expression::ObjectExpression(object)) => vec![object],
            Some(Expression::ArrayExpression(list)) => list
                .elements
                .iter()
                .filter_map(|element| match element.as_expression().map(strip) {
                    Some(Expression::ObjectExpression(object)) => Some(&**object),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// A string, or the strings of a list.
    pub(crate) fn texts_at(&self, at: usize) -> Vec<(&'c str, Span)> {
        match self.expression(at) {
            Some(Expression::ArrayExpression(list)) => list
                .elements
                .iter()
                .filter_map(ArrayExpressionElement::as_expression)
                .filter_map(|e| string(strip(e)))
                .collect(),
            Some(e) => string(e).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// The strings of all arguments.
    pub(crate) fn texts(&self) -> Vec<(&'c str, Span)> {
        (0..self.args.len()).flat_map(|at| self.texts_at(at)).collect()
    }

    pub(crate) fn span_of(&self, at: usize) -> Option<Span> {
        Some(self.args.get(at)?.span())
    }
}

fn string<'c>(e: &'c Expression<'_>) -> Option<(&'c str, Span)> {
    match e {
        Expression::StringLiteral(s) if !s.lone_surrogates => Some((s.value.as_str(), s.span)),
        _ => None,
    }
}
