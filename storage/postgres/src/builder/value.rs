//! A [`Query`] from a value, as the engine's host call passes it.
//!
//! ```text
//! { table: "user", alias: "u", verb: "get" | "first" | "count" | "exists" | "insert" | "update" | "delete"
//!                                   | ["count" | "sum" | "avg" | "min" | "max", column],
//!   joins: [ ["join" | "left", table, alias | null, left, right | LAMBDA], ... ],
//!   select: [ITEM, ...], distinct: true, group: [ITEM, ...], having: [WHERE, ...],
//!   where: [WHERE, ...], order: [ [column | LAMBDA, direction], ... ], limit: n, offset: n,
//!   values: {...} | [{...}, ...] | EXPRESSIONS, returning: [ITEM, ...],
//!   conflict: [ [column, ...], "ignore" | "update" | [column, ...] | {...} ], all: true }
//!
//! WHERE       ["pair", column, value] | ["pair", column, operator, value] | ["object", {column: value, ...}]
//!             | ["null" | "notnull", column] | ["between", column, low, high] | LAMBDA | ["or", WHERE]
//! ITEM        "column" | "table.column as name" | EXPRESSIONS
//! LAMBDA      ["lambda", tree, [captured, ...]]
//! EXPRESSIONS ["lambda", ["named", [name, tree], ...], [captured, ...]]
//! ```
//!
//! Only `table` and `verb` are needed. Nothing is copied but the lists.

use forebay_base::Value;

use super::{
    Aggregate, BuilderError, Condition, Conflict, ConflictAction, Item, Join, On, Order, Query, Set, Tree,
    Verb, Where,
};
use crate::param::Param;

impl<'a> Query<'a> {
    /// Reads the map that the module's text shows.
    ///
    /// # Errors
    /// An unknown key or verb, a value of another kind than shown.
    pub fn from_value(value: &'a Value) -> Result<Self, BuilderError> {
        let Value::Map(pairs) = value else {
            return Err(BuilderError::new("query: expected a map"));
        };
        let mut query = Self::default();
        let mut verb = "";
        let mut aggregated = None;
        let mut values = None;
        for (key, value) in pairs {
            match &**key {
                "table" => query.table = text("table", value)?,
                "alias" => query.alias = Some(text("alias", value)?),
                "verb" => match value {
                    Value::List(items) => match items.as_slice() {
                        [Value::Str(name), Value::Str(column)] => {
                            (verb, aggregated) = (name, Some(&**column))
                        }
                        _ => {
                            return Err(BuilderError::new(
                                "count, sum, avg, min and max take the name of a column",
                            ));
                        }
                    },
                    _ => verb = text("verb", value)?,
                },
                "joins" => {
                    for item in list("join", value)? {
                        query.joins.push(join(item)?);
                    }
                }
                "select" => query.select = items("select", value)?,
                "group" => query.group = items("group", value)?,
                "returning" => query.returning = items("returning", value)?,
                "distinct" => query.distinct = matches!(value, Value::Bool(true)),
                "limit" => query.limit = Some(Param::from(value)),
                "offset" => query.offset = Some(Param::from(value)),
                "all" => query.all = matches!(value, Value::Bool(true)),
                "values" => values = Some(value),
                "conflict" => query.conflict = Some(conflict(value)?),
                "order" => {
                    for item in list("order", value)? {
                        query.order.push(order(item)?);
                    }
                }
                "where" => {
                    for item in list("where", value)? {
                        condition(item, &mut query.wheres)?;
                    }
                }
                "having" => {
                    for item in list("having", value)? {
                        condition(item, &mut query.having)?;
                    }
                }
                other => {
                    return Err(BuilderError::new(format!(
                        "query: unknown key \"{}\"",
                        other.escape_debug()
                    )));
                }
            }
        }
        if query.table.is_empty() {
            return Err(BuilderError::new("query: no table"));
        }
        query.verb = match (verb, values) {
            ("get", None) => Verb::Get,
            ("first", None) => Verb::First,
            ("count", None) if aggregated.is_none() => Verb::Count,
            ("exists", None) => Verb::Exists,
            ("delete", None) => Verb::Delete,
            ("insert", Some(values)) => insert(values)?,
            ("update", Some(Value::Map(pairs))) => {
                let set = |(key, value): &'a (Box<str>, Value)| (&**key, Set::Value(Param::from(value)));
                Verb::Update { set: pairs.iter().map(set).collect() }
            }
            ("update", Some(value @ Value::List(_))) => {
                let named = expressions("update", value)?;
                Verb::Update { set: named.into_iter().map(|(k, tree)| (k, Set::Expression(tree))).collect() }
            }
            ("count" | "sum" | "avg" | "min" | "max", None) if let Some(column) = aggregated => {
                let function = match verb {
                    "count" => Aggregate::Count,
                    "sum" => Aggregate::Sum,
                    "avg" => Aggregate::Avg,
                    "min" => Aggregate::Min,
                    _ => Aggregate::Max,
                };
                Verb::Aggregate { function, column }
            }
            ("insert" | "update", _) => {
                return Err(BuilderError::new(format!("{verb}: expected an object of columns and values")));
            }
            (_, Some(_)) => return Err(BuilderError::new(format!("{verb} takes no values"))),
            _ => return Err(BuilderError::new(format!("query: unknown verb \"{}\"", verb.escape_debug()))),
        };
        Ok(query)
    }
}

fn insert(values: &Value) -> Result<Verb<'_>, BuilderError> {
    let (objects, list) = match values {
        Value::List(items) => (items.as_slice(), true),
        other => (std::slice::from_ref(other), false),
    };
    let mut columns: Vec<&str> = Vec::new();
    for object in objects {
        let Value::Map(pairs) = object else {
            return Err(BuilderError::new(format!(
                "insert: expected an object, got {}",
                Param::from(object).kind()
            )));
        };
        if !is_in_order(pairs, &columns) {
            let more = pairs.iter().map(|(key, _)| &**key).filter(|key| !columns.contains(key));
            columns.extend(more.collect::<Vec<_>>());
        }
    }
    let mut params = Vec::with_capacity(objects.len().saturating_mul(columns.len()));
    for object in objects {
        match object {
            Value::Map(pairs) if is_in_order(pairs, &columns) => {
                params.extend(pairs.iter().map(|(_, value)| Some(Param::from(value))));
            }
            _ => params.extend(columns.iter().map(|column| object.get(column).map(Param::from))),
        }
    }
    Ok(Verb::Insert { columns, values: params, rows: objects.len(), list })
}

/// Whether an object has these keys in this order, as nearly all of a list have.
fn is_in_order(pairs: &[(Box<str>, Value)], columns: &[&str]) -> bool {
    pairs.len() == columns.len() && pairs.iter().zip(columns).all(|((key, _), column)| **key == **column)
}

fn condition<'a>(item: &'a Value, wheres: &mut Vec<Where<'a>>) -> Result<(), BuilderError> {
    let (item, or) = match list("where", item)? {
        [Value::Str(kind), inner] if &**kind == "or" => (inner, true),
        _ => (item, false),
    };
    let mut found = conditions(item)?;
    if or && found.len() > 1 {
        found = vec![Condition::All(found)];
    }
    wheres.extend(found.into_iter().map(|condition| Where { or, condition }));
    Ok(())
}

fn conditions(item: &Value) -> Result<Vec<Condition<'_>>, BuilderError> {
    let items = list("where", item)?;
    let one = match items {
        [Value::Str(kind), Value::Str(column), value] if &**kind == "pair" => {
            Condition::Compare { column, operator: "=", value: Param::from(value) }
        }
        [Value::Str(kind), Value::Str(column), Value::Str(operator), value] if &**kind == "pair" => {
            Condition::Compare { column, operator, value: Param::from(value) }
        }
        [Value::Str(kind), Value::Str(column)] if matches!(&**kind, "null" | "notnull") => {
            Condition::Null { column, is: &**kind == "null" }
        }
        [Value::Str(kind), Value::Str(column), low, high] if &**kind == "between" => {
            Condition::Between { column, low: Param::from(low), high: Param::from(high) }
        }
        [Value::Str(kind), Value::Map(pairs)] if &**kind == "object" => {
            if pairs.is_empty() {
                // `update(...)` guarded by `where({})` would touch every row.
                return Err(BuilderError::new("where({}): the object is empty"));
            }
            return Ok(pairs
                .iter()
                .map(|(column, value)| Condition::Compare {
                    column,
                    operator: "=",
                    value: Param::from(value),
                })
                .collect());
        }
        [Value::Str(kind), ..] if &**kind == "lambda" => Condition::Predicate(lambda("where", item)?),
        [Value::Str(kind), column, ..] if &**kind == "pair" && !matches!(column, Value::Str(_)) => {
            return Err(BuilderError::new(format!(
                "where: the column's name is {}, expected text",
                Param::from(column).kind()
            )));
        }
        _ => return Err(BuilderError::new("where: expected a column and a value, an object or a lambda")),
    };
    Ok(vec![one])
}

/// `["lambda", tree, [captured, ...]]`
fn lambda<'a>(what: &str, item: &'a Value) -> Result<Tree<'a>, BuilderError> {
    match list(what, item)? {
        [Value::Str(kind), tree, Value::List(captured)] if &**kind == "lambda" => {
            Ok(Tree { tree, captured: captured.iter().map(Param::from).collect() })
        }
        _ => Err(BuilderError::new(format!("{what}: malformed lambda"))),
    }
}

/// `["lambda", ["named", [name, tree], ...], [captured, ...]]`
fn expressions<'a>(what: &str, item: &'a Value) -> Result<Vec<(&'a str, Tree<'a>)>, BuilderError> {
    let Tree { tree, captured } = lambda(what, item)?;
    let wrong = || BuilderError::new(format!("{what}: expected an object of names and expressions"));
    let pairs = match list(what, tree)? {
        [Value::Str(head), pairs @ ..] if &**head == "named" && !pairs.is_empty() => pairs,
        _ => return Err(wrong()),
    };
    let one = |pair: &'a Value| match pair.as_list() {
        Some([Value::Str(name), tree]) => Ok((&**name, Tree { tree, captured: captured.clone() })),
        _ => Err(wrong()),
    };
    pairs.iter().map(one).collect()
}

/// Whether a lambda gives several expressions.
fn is_named(item: &Value) -> bool {
    let tree = item.as_list().and_then(|parts| parts.get(1)).and_then(Value::as_list);
    tree.and_then(|tree| tree.first()).and_then(Value::as_str) == Some("named")
}

fn items<'a>(what: &str, value: &'a Value) -> Result<Vec<Item<'a>>, BuilderError> {
    let mut found = Vec::new();
    for item in list(what, value)? {
        match item {
            Value::List(_) if is_named(item) => {
                let named = expressions(what, item)?;
                found.extend(named.into_iter().map(|(name, tree)| Item::Expression(tree, Some(name))));
            }
            Value::List(_) => found.push(Item::Expression(lambda(what, item)?, None)),
            _ => found.push(Item::Column(text(what, item)?)),
        }
    }
    Ok(found)
}

fn join(item: &Value) -> Result<Join<'_>, BuilderError> {
    let wrong = || {
        BuilderError::new("join: expected a table, perhaps another name for it, and a lambda or two columns")
    };
    let [Value::Str(kind), Value::Str(table), alias, on @ ..] = list("join", item)? else {
        return Err(wrong());
    };
    let alias = match alias {
        Value::Null => None,
        alias => Some(text("join", alias)?),
    };
    let on = match on {
        [Value::Str(left), Value::Str(right)] => On::Columns(left, right),
        [tree @ Value::List(_)] => On::Predicate(lambda("join", tree)?),
        _ => return Err(wrong()),
    };
    Ok(Join { left: &**kind == "left", table, alias, on })
}

fn conflict(value: &Value) -> Result<Conflict<'_>, BuilderError> {
    let wrong = || {
        BuilderError::new(
            "onConflict: expected a column or a list of them, then \"ignore\", \"update\", a list of columns or an object",
        )
    };
    let [columns, action] = list("onConflict", value)? else { return Err(wrong()) };
    let action = match action {
        Value::Str(word) if &**word == "ignore" => ConflictAction::Ignore,
        Value::Str(word) if &**word == "update" => ConflictAction::Update,
        Value::List(_) => ConflictAction::Columns(texts("onConflict", action)?),
        Value::Map(pairs) => ConflictAction::Set(pairs.iter().map(|(k, v)| (&**k, Param::from(v))).collect()),
        _ => return Err(wrong()),
    };
    Ok(Conflict { columns: texts("onConflict", columns)?, action })
}

fn order(item: &Value) -> Result<Order<'_>, BuilderError> {
    let (by, direction) = match list("order", item)? {
        [by] => (by, "asc"),
        [by, Value::Str(direction)] => (by, &**direction),
        _ => return Err(BuilderError::new("order: expected a column, and \"asc\" or \"desc\"")),
    };
    let by = match by {
        Value::List(parts) if !matches!(parts.as_slice(), [Value::Str(kind), Value::List(_), Value::List(_)] if &**kind == "lambda") =>
        {
            return Err(BuilderError::new(
                "order takes one column: order(\"a\").order(\"b\", \"desc\") sorts by a, then by b",
            ));
        }
        Value::List(_) => Item::Expression(lambda("order", by)?, None),
        _ => Item::Column(text("order", by)?),
    };
    Ok(Order { by, direction })
}

fn list<'a>(what: &str, value: &'a Value) -> Result<&'a [Value], BuilderError> {
    value.as_list().ok_or_else(|| {
        BuilderError::new(format!("{what}: expected a list, got {}", Param::from(value).kind()))
    })
}

fn text<'a>(what: &str, value: &'a Value) -> Result<&'a str, BuilderError> {
    value
        .as_str()
        .ok_or_else(|| BuilderError::new(format!("{what}: expected text, got {}", Param::from(value).kind())))
}

fn texts<'a>(what: &str, value: &'a Value) -> Result<Vec<&'a str>, BuilderError> {
    list(what, value)?.iter().map(|item| text(what, item)).collect()
}
