//! `forebay.lock.json`: what an app's database has, so that a build needs no database. `forebay db pull` writes it,
//! builds and `forebay check` read it, a serving process compares it with its database at start. docs/formats/lock.md
//! has the format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use forebay_compiler::sqlfile::NamedQuery;
use forebay_postgres::inspect::{Column, ResultColumn, Schema, Statement, Table, UserType};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// In the app's folder.
pub const FILE: &str = "forebay.lock.json";
/// Bytes of one. Beyond it: an error.
pub const LOCK_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The format's number.
const FORMAT: u64 = 1;
/// Differences that are told; the rest is a number.
const DIFFERENCES_MAX: usize = 20;

/// What a database has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// Tables and types.
    pub schema: Schema,
    /// Named queries by name.
    pub queries: BTreeMap<String, Query>,
}

/// A named query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// File, relative to the app's folder.
    pub file: String,
    /// `one`, `opt`, `many` or `exec`.
    pub kind: String,
    /// [`digest`] of it.
    pub sha256: String,
    /// Name and type of each parameter, in order.
    pub params: Vec<(String, String)>,
    /// Columns; `None` if it has no result.
    pub columns: Option<Vec<ResultColumn>>,
}

/// SHA-256 of a query's kind and text, in hex: whether it is the one that the lock file describes.
#[must_use]
pub fn digest(query: &NamedQuery) -> String {
    let mut hash = Sha256::new();
    hash.update(query.kind.name());
    hash.update([0]);
    for param in &query.params {
        hash.update(param);
        hash.update([0]);
    }
    hash.update(&query.text);
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Query {
    /// What is written down of a query and what the server said about it.
    #[must_use]
    pub fn of(query: &NamedQuery, statement: Statement) -> Self {
        Self {
            file: query.file.to_string(),
            kind: query.kind.name().to_owned(),
            sha256: digest(query),
            params: query.params.iter().cloned().zip(statement.params).collect(),
            columns: statement.columns,
        }
    }
}

impl Lock {
    /// The app's lock file; `None` if it has none.
    ///
    /// # Errors
    /// A sentence: it can't be read, or isn't one.
    pub fn load(app: &Path) -> Result<Option<Self>, String> {
        let path = app.join(FILE);
        let failed = |why: &dyn std::fmt::Display| {
            format!("{}: {why}; `forebay db pull` writes it anew", path.display())
        };
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&error)),
            Ok(data) if data.len() > LOCK_BYTES_MAX => {
                return Err(failed(&format_args!("longer than {LOCK_BYTES_MAX} bytes")));
            }
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(&path).map_err(|error| failed(&error))?;
        Self::parse(&text).map(Some).map_err(|error| failed(&error))
    }

    /// Reads the format.
    ///
    /// # Errors
    /// A sentence that says what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match value.get("format").and_then(Value::as_u64) {
            Some(FORMAT) => {}
            Some(other) => return Err(format!("format {other}, and this forebay reads {FORMAT}")),
            None => return Err("no format".to_owned()),
        }
        let mut lock = Self::default();
        for (name, table) in object(&value, "tables")? {
            let columns = list(table, "columns")?.iter().map(|column| {
                Ok(Column {
                    name: text_of(column, "name")?,
                    type_name: text_of(column, "type")?,
                    nullable: flag(column, "nullable"),
                    has_default: flag(column, "default"),
                    generated: flag(column, "generated"),
                })
            });
            let columns =
                columns.collect::<Result<_, String>>().map_err(|why| format!("table {name}: {why}"))?;
            lock.schema.tables.insert(name.clone(), Table { schema: text_of(table, "schema")?, columns });
        }
        for (name, kind) in object(&value, "types")? {
            let kind = match (kind.get("enum"), kind.get("domain")) {
                (Some(Value::Array(labels)), _) => {
                    UserType::Enum(labels.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                }
                (_, Some(Value::String(base))) => UserType::Domain(base.clone()),
                _ => UserType::Other,
            };
            lock.schema.types.insert(name.clone(), kind);
        }
        for (name, query) in object(&value, "queries")? {
            let wrong = |why: String| format!("query {name}: {why}");
            let columns = match query.get("columns") {
                None | Some(Value::Null) => None,
                Some(_) => Some(
                    list(query, "columns")
                        .map_err(wrong)?
                        .iter()
                        .map(|column| {
                            Ok(ResultColumn {
                                name: text_of(column, "name")?,
                                type_name: text_of(column, "type")?,
                                nullable: flag(column, "nullable"),
                            })
                        })
                        .collect::<Result<_, String>>()
                        .map_err(wrong)?,
                ),
            };
            let params = list(query, "params").map_err(wrong)?.iter();
            let params = params.map(|param| Ok((text_of(param, "name")?, text_of(param, "type")?)));
            let field = |key| text_of(query, key).map_err(wrong);
            lock.queries.insert(
                name.clone(),
                Query {
                    file: field("file")?,
                    kind: field("kind")?,
                    sha256: field("sha256")?,
                    params: params.collect::<Result<_, String>>().map_err(wrong)?,
                    columns,
                },
            );
        }
        Ok(lock)
    }

    /// Writes the format: the same bytes for the same database, a line for each column, for the eyes of a review.
    #[must_use]
    pub fn to_text(&self) -> String {
        let column = |name: &str, type_name: &str, flags: &[(&str, bool)]| {
            let mut map = Map::new();
            for (key, _) in flags.iter().filter(|(key, yes)| *yes && *key < "name") {
                map.insert((*key).to_owned(), json!(true));
            }
            map.insert("name".to_owned(), json!(name));
            for (key, _) in flags.iter().filter(|(key, yes)| *yes && *key > "name") {
                map.insert((*key).to_owned(), json!(true));
            }
            map.insert("type".to_owned(), json!(type_name));
            Value::Object(map)
        };
        let tables: Map<String, Value> = self
            .schema
            .tables
            .iter()
            .map(|(name, table)| {
                let columns: Vec<Value> = table
                    .columns
                    .iter()
                    .map(|c| {
                        let flags = [
                            ("default", c.has_default),
                            ("generated", c.generated),
                            ("nullable", c.nullable),
                        ];
                        column(&c.name, &c.type_name, &flags)
                    })
                    .collect();
                (name.clone(), json!({ "columns": columns, "schema": table.schema }))
            })
            .collect();
        let types: Map<String, Value> = self
            .schema
            .types
            .iter()
            .map(|(name, kind)| {
                let value = match kind {
                    UserType::Enum(labels) => json!({ "enum": labels }),
                    UserType::Domain(base) => json!({ "domain": base }),
                    UserType::Other => json!({}),
                };
                (name.clone(), value)
            })
            .collect();
        let queries: Map<String, Value> = self
            .queries
            .iter()
            .map(|(name, query)| {
                let columns = query.columns.as_ref().map(|columns| {
                    columns
                        .iter()
                        .map(|c| column(&c.name, &c.type_name, &[("nullable", c.nullable)]))
                        .collect::<Vec<_>>()
                });
                let params: Vec<Value> =
                    query.params.iter().map(|(name, type_name)| column(name, type_name, &[])).collect();
                let value = json!({
                    "columns": columns, "file": query.file, "kind": query.kind, "params": params,
                    "sha256": query.sha256,
                });
                (name.clone(), value)
            })
            .collect();
        let mut text = String::new();
        print(
            &json!({ "format": FORMAT, "queries": queries, "tables": tables, "types": types }),
            0,
            &mut text,
        );
        text.push('\n');
        text
    }

    /// What the compiler wants to know.
    #[must_use]
    pub fn names(&self) -> forebay_compiler::schema::Schema {
        names(&self.schema)
    }

    /// What `other` has that this one hasn't, or has differently: one line each, at most a few.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        each(&self.schema.tables, &other.schema.tables, "table", &mut lines, |name, old, new, lines| {
            let by_name = |table: &Table| -> BTreeMap<String, Column> {
                table.columns.iter().map(|column| (column.name.clone(), column.clone())).collect()
            };
            each(
                &by_name(old),
                &by_name(new),
                &format!("table {name}: column"),
                lines,
                |column, old, new, lines| {
                    lines.push(format!(
                        "table {name}: column {column} is {}, was {}",
                        shown(new),
                        shown(old)
                    ));
                },
            );
        });
        each(&self.schema.types, &other.schema.types, "type", &mut lines, |name, old, new, lines| {
            lines.push(format!("type {name} is {new:?}, was {old:?}"));
        });
        each(&self.queries, &other.queries, "query", &mut lines, |name, old, new, lines| {
            let what = if old.params != new.params {
                "takes other parameters"
            } else if old.columns != new.columns {
                "gives other columns"
            } else {
                "was changed"
            };
            lines.push(format!("query {name} ({}) {what}", new.file));
        });
        let more = lines.len().saturating_sub(DIFFERENCES_MAX);
        if more > 0 {
            lines.truncate(DIFFERENCES_MAX);
            lines.push(format!("and {more} more"));
        }
        lines
    }
}

/// Tables and columns for the compiler.
#[must_use]
pub fn names(schema: &Schema) -> forebay_compiler::schema::Schema {
    let tables = schema.tables.iter().map(|(name, table)| {
        let columns = table.columns.iter().map(|column| column.name.clone()).collect();
        (name.clone(), forebay_compiler::schema::Table { schema: table.schema.clone(), columns })
    });
    forebay_compiler::schema::Schema { tables: tables.collect() }
}

fn shown(column: &Column) -> String {
    let null = if column.nullable { "" } else { " not null" };
    let default = if column.has_default { " with a default" } else { "" };
    format!("{}{null}{default}", column.type_name)
}

/// Calls `both` for what differs; writes down what only one side has.
fn each<T: PartialEq>(
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    what: &str,
    lines: &mut Vec<String>,
    mut both: impl FnMut(&str, &T, &T, &mut Vec<String>),
) {
    for (name, value) in old {
        match new.get(name) {
            None => lines.push(format!("{what} {name} is gone")),
            Some(other) if other != value => both(name, value, other, lines),
            Some(_) => {}
        }
    }
    for name in new.keys().filter(|name| !old.contains_key(*name)) {
        lines.push(format!("{what} {name} is new"));
    }
}

fn object<'v>(value: &'v Value, key: &str) -> Result<&'v Map<String, Value>, String> {
    value.get(key).and_then(Value::as_object).ok_or_else(|| format!("no object {key}"))
}

fn list<'v>(value: &'v Value, key: &str) -> Result<&'v Vec<Value>, String> {
    value.get(key).and_then(Value::as_array).ok_or_else(|| format!("no list {key}"))
}

fn text_of(value: &Value, key: &str) -> Result<String, String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| format!("no text {key}"))
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// JSON with one line for whatever holds only scalars.
fn print(value: &Value, depth: usize, out: &mut String) {
    let is_flat = |value: &Value| match value {
        Value::Array(items) => items.iter().all(|item| !item.is_array() && !item.is_object()),
        Value::Object(fields) => fields.values().all(|field| !field.is_array() && !field.is_object()),
        _ => true,
    };
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    match value {
        value if is_flat(value) => {
            let text = value.to_string();
            match value {
                // A space behind each colon and comma that isn't in a string.
                Value::Object(_) | Value::Array(_) => spaced(&text, out),
                _ => out.push_str(&text),
            }
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                line(out, depth + 1);
                print(item, depth + 1, out);
            }
            line(out, depth);
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (index, (key, field)) in fields.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                line(out, depth + 1);
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push_str(": ");
                print(field, depth + 1, out);
            }
            line(out, depth);
            out.push('}');
        }
        _ => {}
    }
}

fn spaced(text: &str, out: &mut String) {
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        out.push(c);
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            ':' | ',' if !in_string => out.push(' '),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Lock {
        let manual = include_str!("../../docs/formats/lock.md");
        let start = manual.find("```json\n").unwrap() + 8;
        let end = start + manual[start..].find("```").unwrap();
        let lock = Lock::parse(&manual[start..end]).unwrap();
        assert_eq!(lock.to_text(), &manual[start..end], "the manual's example");
        lock
    }

    #[test]
    fn the_manuals_example_is_read_and_written_byte_for_byte() {
        let lock = example();
        let person = &lock.schema.tables["person"];
        assert!(person.columns[0].has_default && !person.columns[0].nullable && person.columns[2].nullable);
        assert_eq!(lock.schema.types["mood"], UserType::Enum(vec!["happy".to_owned(), "so: so".to_owned()]));
        assert_eq!(lock.queries["rename"].columns, None);
        assert_eq!(lock.names().table("public.person").unwrap().columns.len(), 3);
        assert!(lock.names().table("other.person").is_none());
    }

    #[test]
    fn what_is_no_lock_file_is_refused() {
        for (text, why) in [
            ("", "EOF"),
            ("{}", "no format"),
            (r#"{"format": 2}"#, "format 2"),
            (r#"{"format": 1}"#, "no object tables"),
            (
                r#"{"format": 1, "tables": {"a": {"columns": [{}]}}, "types": {}, "queries": {}}"#,
                "table a: no text name",
            ),
            (r#"{"format": 1, "tables": {}, "types": {}, "queries": {"q": {}}}"#, "query q: no list params"),
        ] {
            let error = Lock::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn differences_name_tables_columns_and_queries() {
        let (old, mut new) = (example(), example());
        assert!(old.differences(&new).is_empty());
        let person = new.schema.tables.get_mut("person").unwrap();
        person.columns[1].type_name = "int8".to_owned();
        person.columns.remove(2);
        new.schema.tables.insert("fresh".to_owned(), Table::default());
        new.queries.get_mut("rename").unwrap().params[0].1 = "text".to_owned();
        assert_eq!(
            old.differences(&new),
            [
                "table person: column age is gone",
                "table person: column name is int8 not null, was text not null",
                "table fresh is new",
                "query rename (sql/person.sql) takes other parameters",
            ]
        );
        let empty = Lock::default();
        let mut many = Lock::default();
        for number in 0..30 {
            many.schema.tables.insert(format!("t{number}"), Table::default());
        }
        assert_eq!(empty.differences(&many).last().unwrap(), "and 10 more");
    }
}
