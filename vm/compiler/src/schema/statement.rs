//! Chains that give the same statement every time, as the map that the query builder reads (the text of
//! storage/postgres/src/builder/value.rs shows it), for `forebay check` to ask a database about. Values are stood in
//! for: only whether one is null, true, false, a list or an object makes a difference to the text.
//!
//! It follows what the worker makes of a running chain (dataplane/worker/src/effects/plans.rs). A chain with a name or
//! a list that is computed is none of these.

use std::sync::Arc;

use forebay_base::Value;
use oxc_ast::ast::{Expression, ObjectExpression, ObjectPropertyKind};

use super::{Chain, Link, Trees, key_name};
use crate::Place;
use crate::lower::strip;

/// A chain that gives the same statement every time.
#[derive(Clone, Debug)]
pub struct StaticStatement {
    /// What it is.
    pub shape: Shape,
    /// The file that it is in.
    pub file: Arc<str>,
    /// That file's text.
    pub text: Arc<str>,
    /// The chain.
    pub place: Place,
}

/// What a statement is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// The query builder's map.
    Query(Value),
    /// The text of `raw()`, and where it stands in the file, between its quotes.
    Raw(String, Place),
}

type Lists = [(&'static str, Vec<Value>); 6];

struct Build<'b> {
    map: Vec<(Box<str>, Value)>,
    lists: Lists,
    leaf: &'b dyn Fn(u16) -> Value,
    leaves: u16,
}

/// What a chain is made of, if it is the same every time.
pub(super) fn of(
    chain: &Chain<'_, '_>,
    file: usize,
    trees: &Trees,
    leaf: &dyn Fn(u16) -> Value,
) -> Option<Shape> {
    if chain.is_named {
        return None;
    }
    let lists = ["where", "having", "order", "joins", "select", "group"].map(|name| (name, Vec::new()));
    let mut build = Build { map: Vec::new(), lists, leaf, leaves: 0 };
    for link in &chain.links {
        if link.name == "raw" {
            let (text, _) = link.text(0)?;
            let span = link.span_of(0)?;
            return Some(Shape::Raw(text.to_owned(), Place { start: span.start + 1, end: span.end - 1 }));
        }
        match link.lambda() {
            Some(lambda) => {
                let (tree, captured) = trees.get(&(file, lambda.span))?;
                build.lambda(link, tree, *captured)?;
            }
            None => build.link(link)?,
        }
    }
    for (name, list) in build.lists {
        if !list.is_empty() {
            build.map.push((name.into(), Value::List(list)));
        }
    }
    if !build.map.iter().any(|(key, _)| &**key == "table") {
        return None;
    }
    if !build.map.iter().any(|(key, _)| &**key == "verb") {
        build.map.push(("verb".into(), "get".into()));
    }
    Some(Shape::Query(Value::Map(build.map)))
}

fn node(parts: Vec<Value>) -> Value {
    Value::List(parts)
}

impl Build<'_> {
    fn add(&mut self, name: &str, value: Value) {
        if let Some((_, list)) = self.lists.iter_mut().find(|(known, _)| *known == name) {
            list.push(value);
        }
    }

    fn set(&mut self, key: &str, value: Value) {
        self.map.retain(|(known, _)| &**known != key);
        self.map.push((key.into(), value));
    }

    fn place(&mut self) -> Value {
        let value = (self.leaf)(self.leaves);
        self.leaves = self.leaves.saturating_add(1);
        value
    }

    /// What stands for a value.
    fn value(&mut self, e: &Expression<'_>) -> Option<Value> {
        Some(match strip(e) {
            Expression::NullLiteral(_) => Value::Null,
            Expression::BooleanLiteral(b) => Value::Bool(b.value),
            Expression::ArrayExpression(_) => Value::List(vec![self.place()]),
            Expression::ObjectExpression(_) => Value::Map(vec![("".into(), self.place())]),
            Expression::Identifier(id) if id.name == "undefined" => return None,
            _ => self.place(),
        })
    }

    fn value_at(&mut self, link: &Link<'_, '_>, at: usize) -> Option<Value> {
        self.value(link.args.get(at)?.as_expression()?)
    }

    fn object(&mut self, object: &ObjectExpression<'_>) -> Option<Value> {
        let mut pairs: Vec<(Box<str>, Value)> = Vec::new();
        for property in &object.properties {
            let ObjectPropertyKind::ObjectProperty(p) = property else { return None };
            if p.computed || p.method {
                return None;
            }
            let name = key_name(&p.key)?;
            pairs.push((name.into(), self.value(&p.value)?));
        }
        Some(Value::Map(pairs))
    }

    /// What `find` looks for: `id`, where tables are joined that of the first.
    fn id_column(&self) -> String {
        let text = |key: &str| {
            self.map.iter().find(|(known, _)| &**known == key).and_then(|(_, value)| value.as_str())
        };
        let unqualified = |name| str::rsplit_once(name, '.').map_or(name, |(_, name)| name);
        let joined = self.lists.iter().any(|(name, list)| *name == "joins" && !list.is_empty());
        match text("alias").or_else(|| text("table").map(unqualified)) {
            Some(table) if joined => format!("{table}.id"),
            _ => "id".to_owned(),
        }
    }

    fn pair(&mut self, column: &str, operator: &str, value: Value) -> Value {
        node(vec!["pair".into(), column.into(), operator.into(), value])
    }

    fn condition(&mut self, name: &str, item: Value) {
        match name {
            "or" => self.add("where", node(vec!["or".into(), item])),
            "having" => self.add("having", item),
            _ => self.add("where", item),
        }
    }

    /// All arguments are constant names, or one list of them.
    fn items(&mut self, link: &Link<'_, '_>) -> Option<Vec<Value>> {
        let texts = link.texts();
        let listed = link.args.len() == 1
            && link.args[0].as_expression().is_some_and(|e| match strip(e) {
                Expression::ArrayExpression(list) => list.elements.len() == texts.len(),
                _ => false,
            });
        let plain = texts.len() == link.args.len();
        (listed || plain).then(|| texts.iter().map(|(text, _)| (*text).into()).collect())
    }

    fn link(&mut self, link: &Link<'_, '_>) -> Option<()> {
        let text = |at: usize| link.text(at).map(|(text, _)| Value::from(text));
        match (link.name, link.args.len()) {
            ("table" | "from", 1 | 2) => {
                self.set("table", text(0)?);
                if link.args.len() == 2 {
                    self.set("alias", text(1)?);
                }
            }
            ("where" | "and" | "or" | "having", 1) => {
                let object = self.object(link.object(0)?)?;
                self.condition(link.name, node(vec!["object".into(), object]));
            }
            ("where" | "and" | "or" | "having", 2) => {
                let value = self.value_at(link, 1)?;
                let item = node(vec!["pair".into(), text(0)?, value]);
                self.condition(link.name, item);
            }
            ("where" | "and" | "or" | "having", 3) => {
                let (operator, _) = link.text(1)?;
                let value = self.value_at(link, 2)?;
                let item = self.pair(link.text(0)?.0, operator, value);
                self.condition(link.name, item);
            }
            ("in" | "notIn", 2) => {
                let list = Value::List(vec![self.place()]);
                let operator = if link.name == "in" { "in" } else { "not in" };
                let item = self.pair(link.text(0)?.0, operator, list);
                self.add("where", item);
            }
            ("like" | "ilike", 2) => {
                let pattern = self.value_at(link, 1)?;
                let item = self.pair(link.text(0)?.0, link.name, pattern);
                self.add("where", item);
            }
            ("between", 3) => {
                let (low, high) = (self.value_at(link, 1)?, self.value_at(link, 2)?);
                self.add("where", node(vec!["between".into(), text(0)?, low, high]));
            }
            ("isNull", 1) => self.add("where", node(vec!["null".into(), text(0)?])),
            ("notNull", 1) => self.add("where", node(vec!["notnull".into(), text(0)?])),
            ("join" | "leftJoin", n @ (3 | 4)) => {
                let alias = if n == 4 { text(1)? } else { Value::Null };
                let kind = if link.name == "join" { "join" } else { "left" };
                let (left, right) = (text(n - 2)?, text(n - 1)?);
                self.add("joins", node(vec![kind.into(), text(0)?, alias, left, right]));
            }
            ("order", n @ (1 | 2)) => {
                let direction = if n == 2 { text(1)? } else { "asc".into() };
                self.add("order", node(vec![text(0)?, direction]));
            }
            ("select" | "group", _) => {
                for item in self.items(link)? {
                    self.add(link.name, item);
                }
            }
            ("returning", 0) => self.set("returning", node(vec!["*".into()])),
            ("returning", _) => {
                let items = self.items(link)?;
                self.set("returning", Value::List(items));
            }
            ("limit" | "offset", 1) => {
                let value = match link.args[0].as_expression().map(strip) {
                    Some(Expression::NumericLiteral(n)) if n.value == 0.0 => Value::Int(0),
                    _ => self.place(),
                };
                self.set(link.name, value);
            }
            ("all" | "distinct", 0) => self.set(link.name, Value::Bool(true)),
            ("get" | "first" | "count" | "exists" | "delete", 0) => self.set("verb", link.name.into()),
            ("find", 1) => {
                let value = self.value_at(link, 0)?;
                let item = self.pair(&self.id_column(), "=", value);
                self.add("where", item);
                self.set("verb", "first".into());
            }
            ("sum" | "avg" | "min" | "max" | "count", 1) => {
                self.set("verb", node(vec![link.name.into(), text(0)?]))
            }
            ("insert" | "update", 1) => {
                let is_list = matches!(
                    link.args[0].as_expression().map(strip),
                    Some(Expression::ArrayExpression(list)) if !list.elements.is_empty()
                );
                let values = if is_list {
                    let objects = link.objects(0);
                    let rows: Option<Vec<Value>> =
                        objects.into_iter().map(|object| self.object(object)).collect();
                    Value::List(rows?)
                } else {
                    self.object(link.object(0)?)?
                };
                self.set("verb", link.name.into());
                self.set("values", values);
            }
            ("onConflict", 2) => {
                let columns = link.texts_at(0).into_iter().map(|(text, _)| text.into()).collect();
                let action = match link.object(1) {
                    Some(object) => self.object(object)?,
                    None => match (link.texts_at(1).as_slice(), link.text(1)) {
                        (_, Some((word, _))) => word.into(),
                        ([], None) => return None,
                        (texts, None) => Value::List(texts.iter().map(|(text, _)| (*text).into()).collect()),
                    },
                };
                self.set("conflict", node(vec![Value::List(columns), action]));
            }
            ("toSQL" | "explain" | "clone", 0) => {}
            _ => return None,
        }
        Some(())
    }

    fn lambda(&mut self, link: &Link<'_, '_>, tree: &Value, captured: usize) -> Option<()> {
        let captured = (0..captured).map(|_| self.place()).collect();
        let lambda = node(vec!["lambda".into(), tree.clone(), Value::List(captured)]);
        let text = |at: usize| link.text(at).map(|(text, _)| Value::from(text));
        match (link.name, link.args.len()) {
            ("where" | "and" | "or" | "having", 1) => self.condition(link.name, lambda),
            ("join" | "leftJoin", n @ (2 | 3)) => {
                let kind = if link.name == "join" { "join" } else { "left" };
                let alias = if n == 3 { text(1)? } else { Value::Null };
                self.add("joins", node(vec![kind.into(), text(0)?, alias, lambda]));
            }
            ("select" | "group", 1) => self.add(link.name, lambda),
            ("order", n @ (1 | 2)) => {
                let direction = if n == 2 { text(1)? } else { "asc".into() };
                self.add("order", node(vec![lambda, direction]));
            }
            ("update", 1) => {
                self.set("verb", "update".into());
                self.set("values", lambda);
            }
            _ => return None,
        }
        Some(())
    }
}
