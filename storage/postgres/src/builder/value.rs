//! A [`Query`] from a value, as the engine's host call passes it.
//!
//! ```text
//! { table: "user", verb: "get" | "first" | "count" | "exists" | "insert" | "update" | "delete",
//!   select: ["id", ...],
//!   where: [ ["pair", column, value] | ["pair", column, operator, value]
//!          | ["object", {column: value, ...}] | ["lambda", tree, [captured, ...]] , ...],
//!   order: [ [column, "asc" | "desc"], ... ], limit: n, offset: n,
//!   values: {...} | [{...}, ...], returning: ["id", ...], all: true }
//! ```
//!
//! Only `table` and `verb` are needed. Nothing is copied but the lists.

use forebay_base::Value;

use super::{BuilderError, Order, Query, Verb, Where};
use crate::param::Param;

impl<'a> Query<'a> {
    /// Reads the map that the module's text shows.
    ///
    /// # Errors
    /// An unknown key or verb, a value of another kind than shown, objects of a list with different keys.
    pub fn from_value(value: &'a Value) -> Result<Self, BuilderError> {
        let Value::Map(pairs) = value else {
            return Err(BuilderError::new("query: expected a map"));
        };
        let mut query = Self::default();
        let mut verb = "";
        let mut values = None;
        for (key, value) in pairs {
            match &**key {
                "table" => query.table = text("table", value)?,
                "verb" => verb = text("verb", value)?,
                "select" => query.select = texts("select", value)?,
                "returning" => query.returning = texts("returning", value)?,
                "limit" => query.limit = Some(Param::from(value)),
                "offset" => query.offset = Some(Param::from(value)),
                "all" => query.all = matches!(value, Value::Bool(true)),
                "values" => values = Some(value),
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
            ("count", None) => Verb::Count,
            ("exists", None) => Verb::Exists,
            ("delete", None) => Verb::Delete,
            ("insert", Some(values)) => insert(values)?,
            ("update", Some(Value::Map(pairs))) => {
                Verb::Update { set: pairs.iter().map(|(k, v)| (&**k, Param::from(v))).collect() }
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
    let mut params = Vec::new();
    for (row, object) in objects.iter().enumerate() {
        let Value::Map(pairs) = object else {
            return Err(BuilderError::new(format!(
                "insert: expected an object, got {}",
                Param::from(object).kind()
            )));
        };
        if row == 0 {
            columns = pairs.iter().map(|(key, _)| &**key).collect();
        }
        if pairs.len() != columns.len() {
            return Err(different_keys(row));
        }
        for column in &columns {
            let value = object.get(column).ok_or_else(|| different_keys(row))?;
            params.push(Param::from(value));
        }
    }
    Ok(Verb::Insert { columns, values: params, rows: objects.len(), list })
}

fn different_keys(row: usize) -> BuilderError {
    BuilderError::new(format!("insert: object {} of the list has other keys than the first", row + 1))
}

fn condition<'a>(item: &'a Value, wheres: &mut Vec<Where<'a>>) -> Result<(), BuilderError> {
    let items = list("where", item)?;
    match items {
        [Value::Str(kind), Value::Str(column), value] if &**kind == "pair" => {
            wheres.push(Where::Compare { column, operator: "=", value: Param::from(value) });
        }
        [Value::Str(kind), Value::Str(column), Value::Str(operator), value] if &**kind == "pair" => {
            wheres.push(Where::Compare { column, operator, value: Param::from(value) });
        }
        [Value::Str(kind), Value::Map(pairs)] if &**kind == "object" => {
            if pairs.is_empty() {
                // `update(...)` guarded by `where({})` would touch every row.
                return Err(BuilderError::new("where({}): the object is empty"));
            }
            for (column, value) in pairs {
                wheres.push(Where::Compare { column, operator: "=", value: Param::from(value) });
            }
        }
        [Value::Str(kind), tree, Value::List(captured)] if &**kind == "lambda" => {
            wheres.push(Where::Predicate { tree, captured: captured.iter().map(Param::from).collect() });
        }
        [Value::Str(kind), column, ..] if &**kind == "pair" && !matches!(column, Value::Str(_)) => {
            return Err(BuilderError::new(format!(
                "where: the column's name is {}, expected text",
                Param::from(column).kind()
            )));
        }
        _ => return Err(BuilderError::new("where: expected a column and a value, an object or a lambda")),
    }
    Ok(())
}

fn order(item: &Value) -> Result<Order<'_>, BuilderError> {
    match list("order", item)? {
        [Value::Str(column)] => Ok(Order { column, descending: false }),
        [Value::Str(column), Value::Str(direction)] if matches!(&**direction, "asc" | "desc") => {
            Ok(Order { column, descending: &**direction == "desc" })
        }
        _ => Err(BuilderError::new("order: expected a column, and \"asc\" or \"desc\"")),
    }
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
