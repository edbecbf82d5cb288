//! What a database has and what statements give: tables, columns and types of the catalog; parameters, columns and
//! nullability of a statement that doesn't run. For `forebay db pull`, `forebay check` and the look at start.
//!
//! A column of a result can't be null if it is a column of a table that says NOT NULL, and no outer join, grouping set
//! or set operation stands between; the plan says which (EXPLAIN VERBOSE, generic). Whatever isn't certain is nullable.

use std::collections::{BTreeMap, HashMap, HashSet};

use forebay_base::Value;

use crate::blocking::Client;
use crate::error::QueryError;

/// Tables, views and types of one database. Two that are equal give the same lock file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// By name: `person` where the search path finds it, else `other.person`.
    pub tables: BTreeMap<String, Table>,
    /// Types that aren't the server's own, by name, as far as columns and statements use them.
    pub types: BTreeMap<String, UserType>,
}

/// A table, a view, a foreign table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// In their order.
    pub columns: Vec<Column>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Name of its type, such as `int8` or `text[]`.
    pub type_name: String,
    /// Whether it may be null.
    pub nullable: bool,
    /// Whether an insert may leave it out although it isn't nullable.
    pub has_default: bool,
    /// Whether nobody can write it.
    pub generated: bool,
}

/// A type that somebody made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserType {
    /// Its labels, in their order.
    Enum(Vec<String>),
    /// Name of the type that it restricts.
    Domain(String),
    /// Whatever else: composites, ranges, types of extensions.
    Other,
}

/// What a statement takes and gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// Names of the parameters' types, in order.
    pub params: Vec<String>,
    /// Columns; `None` if it has no result.
    pub columns: Option<Vec<ResultColumn>>,
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name.
    pub name: String,
    /// Name of its type.
    pub type_name: String,
    /// Whether it may be null, as far as anybody knows.
    pub nullable: bool,
}

/// A row of `pg_type`.
struct TypeRow {
    name: String,
    /// Of an array: the element's OID; else 0.
    element: u32,
    /// Of a domain: OID of the type that it restricts; else 0.
    base: u32,
    is_user: bool,
    labels: Option<Vec<String>>,
}

/// Looks at one database; what it saw of types and tables it keeps.
pub struct Inspector {
    types: HashMap<u32, TypeRow>,
    /// (table, number of the column): it is NOT NULL.
    not_null: HashSet<(u32, u16)>,
    used: HashSet<u32>,
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspector").field("types", &self.types.len()).finish_non_exhaustive()
    }
}

const TYPES: &str = "SELECT t.oid::int8 AS oid, \
    CASE WHEN pg_type_is_visible(t.oid) THEN t.typname::text ELSE n.nspname || '.' || t.typname END AS name, \
    (CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END)::int8 AS element, t.typbasetype::int8 AS base, \
    (t.oid >= 16384) AS is_user, \
    (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid) AS labels \
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace";

const COLUMNS: &str = "SELECT n.nspname::text AS schema, c.relname::text AS relation, pg_table_is_visible(c.oid) AS visible, \
    c.oid::int8 AS oid, a.attnum::int8 AS number, a.attname::text AS name, a.atttypid::int8 AS type, \
    a.attnotnull AS not_null, (a.atthasdef OR a.attidentity <> '') AS has_default, \
    (a.attgenerated <> '' OR a.attidentity = 'a') AS generated \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
    AND n.nspname !~ '^pg_(toast|temp)' AND NOT (n.nspname = 'public' AND c.relname = 'forebay_migrations') \
    ORDER BY n.nspname, c.relname, a.attnum";

fn text(row: &Value, key: &str) -> String {
    row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(row: &Value, key: &str) -> u32 {
    match row.get(key) {
        Some(Value::Int(n)) => u32::try_from(*n).unwrap_or(0),
        _ => 0,
    }
}

fn yes(row: &Value, key: &str) -> bool {
    matches!(row.get(key), Some(Value::Bool(true)))
}

impl Inspector {
    /// Reads the types.
    ///
    /// # Errors
    /// What the server says.
    pub fn new(client: &mut Client) -> Result<Self, QueryError> {
        let mut types = HashMap::new();
        for row in client.rows(TYPES, &[])? {
            let labels = match row.get("labels") {
                Some(Value::List(list)) => {
                    Some(list.iter().map(|label| label.as_str().unwrap_or_default().to_owned()).collect())
                }
                _ => None,
            };
            types.insert(
                number(&row, "oid"),
                TypeRow {
                    name: text(&row, "name"),
                    element: number(&row, "element"),
                    base: number(&row, "base"),
                    is_user: yes(&row, "is_user"),
                    labels,
                },
            );
        }
        Ok(Self { types, not_null: HashSet::new(), used: HashSet::new() })
    }

    /// Reads the tables. [`Schema::types`] has the types of their columns, and of the statements so far.
    ///
    /// # Errors
    /// What the server says.
    pub fn schema(&mut self, client: &mut Client) -> Result<Schema, QueryError> {
        let mut tables: BTreeMap<String, Table> = BTreeMap::new();
        self.not_null.clear();
        for row in client.rows(COLUMNS, &[])? {
            let (schema, relation) = (text(&row, "schema"), text(&row, "relation"));
            let key = if yes(&row, "visible") { relation } else { format!("{schema}.{relation}") };
            let table = tables.entry(key).or_insert_with(|| Table { schema, columns: Vec::new() });
            let attribute = u16::try_from(number(&row, "number")).unwrap_or(0);
            if attribute == 0 {
                continue;
            }
            let not_null = yes(&row, "not_null");
            if not_null {
                self.not_null.insert((number(&row, "oid"), attribute));
            }
            let generated = yes(&row, "generated");
            table.columns.push(Column {
                name: text(&row, "name"),
                type_name: self.type_name(number(&row, "type")),
                nullable: !not_null,
                has_default: yes(&row, "has_default") || generated,
                generated,
            });
        }
        Ok(Schema { tables, types: self.user_types() })
    }

    /// Types that somebody made and something so far used.
    #[must_use]
    pub fn user_types(&mut self) -> BTreeMap<String, UserType> {
        let mut types = BTreeMap::new();
        let mut todo: Vec<u32> = self.used.iter().copied().collect();
        while let Some(oid) = todo.pop() {
            let Some(row) = self.types.get(&oid).filter(|row| row.is_user) else { continue };
            let kind = match &row.labels {
                _ if row.element != 0 => {
                    todo.push(row.element);
                    continue;
                }
                Some(labels) => UserType::Enum(labels.clone()),
                None if row.base != 0 => {
                    todo.push(row.base);
                    UserType::Domain(self.name_of(row.base))
                }
                None => UserType::Other,
            };
            types.insert(row.name.clone(), kind);
        }
        types
    }

    /// What a statement takes and gives. It doesn't run.
    ///
    /// # Errors
    /// What the server says, with a position in the text.
    pub fn statement(&mut self, client: &mut Client, sql: &str) -> Result<Statement, QueryError> {
        let described = client.describe(sql)?;
        let params: Vec<String> = described.params.iter().map(|oid| self.type_name(*oid)).collect();
        let Some(columns) = described.columns else { return Ok(Statement { params, columns: None }) };
        let plan =
            columns.iter().any(|c| c.table != 0).then(|| Self::plan(client, sql, params.len())).flatten();
        let plan = plan.map(|plan| Plan::of(&plan));
        let columns = columns.into_iter().enumerate().map(|(index, column)| {
            let certain = match &plan {
                Some(plan) if column.table == 0 => plan.is_count(index),
                Some(plan) => {
                    self.not_null.contains(&(column.table, column.attribute)) && plan.is_untouched(index)
                }
                None => false,
            };
            let type_name = self.type_name(column.type_oid);
            ResultColumn { name: column.name.into(), type_name, nullable: !certain }
        });
        Ok(Statement { params, columns: Some(columns.collect()) })
    }

    /// The plan for whatever the parameters are; `None` where the statement has none. Version 16 has EXPLAIN
    /// (GENERIC_PLAN), which doesn't take its parameters by the extended protocol that our rows come with.
    fn plan(client: &mut Client, sql: &str, params: usize) -> Option<Value> {
        let list = vec!["NULL"; params].join(", ");
        let list = if params == 0 { String::new() } else { format!("({list})") };
        let prepared = client
            .batch("SET plan_cache_mode = force_generic_plan")
            .and_then(|()| client.batch(&format!("PREPARE forebay_inspect AS {sql}")));
        let rows = prepared.and_then(|()| {
            client.rows(&format!("EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE forebay_inspect{list}"), &[])
        });
        let _ = client.batch("DEALLOCATE forebay_inspect");
        let row = rows.ok()?.into_iter().next()?;
        let Value::Map(fields) = row else { return None };
        let Value::List(list) = fields.into_iter().next()?.1 else { return None };
        list.into_iter().next()?.get("Plan").cloned()
    }

    fn type_name(&mut self, oid: u32) -> String {
        self.used.insert(oid);
        self.name_of(oid)
    }

    fn name_of(&self, oid: u32) -> String {
        match self.types.get(&oid) {
            Some(row) if row.element != 0 => format!("{}[]", self.name_of(row.element)),
            Some(row) => row.name.clone(),
            None => "unknown".to_owned(),
        }
    }
}

/// What a plan says about nulls.
#[derive(Debug, Default)]
struct Plan {
    /// Expressions of the result's columns, as EXPLAIN writes them.
    output: Vec<String>,
    /// Names of tables that are read.
    scanned: HashSet<String>,
    /// Names of all that an outer join may fill with nulls.
    nullable: HashSet<String>,
    /// There is an outer join somewhere.
    outer: bool,
    /// There is something after which a column is not its table's any more.
    mixed: bool,
}

impl Plan {
    fn of(plan: &Value) -> Self {
        let mut found = Self::default();
        if let Some(Value::List(output)) = plan.get("Output") {
            found.output = output.iter().map(|item| item.as_str().unwrap_or_default().to_owned()).collect();
        }
        found.node(plan, false);
        found
    }

    fn node(&mut self, node: &Value, nullable: bool) {
        let field = |key: &str| node.get(key).and_then(Value::as_str).unwrap_or_default();
        self.mixed |= node.get("Grouping Sets").is_some()
            || matches!(field("Node Type"), "SetOp" | "Recursive Union" | "Append" | "Merge Append");
        if let Some(alias) = node.get("Alias").and_then(Value::as_str) {
            if node.get("Relation Name").is_some() {
                self.scanned.insert(alias.to_owned());
            }
            if nullable {
                self.nullable.insert(alias.to_owned());
            }
        }
        let (left, right) = match field("Join Type") {
            "Left" => (false, true),
            "Right" => (true, false),
            "Full" => (true, true),
            _ => (false, false),
        };
        self.outer |= left || right;
        let Some(Value::List(children)) = node.get("Plans") else { return };
        for child in children {
            let side = match child.get("Parent Relationship").and_then(Value::as_str) {
                Some("Outer") => left,
                Some("Inner") => right,
                _ => false,
            };
            self.node(child, nullable || side);
        }
    }

    /// Whether this column's nulls are those of its table.
    fn is_untouched(&self, index: usize) -> bool {
        if self.mixed {
            return false;
        }
        if !self.outer {
            return true;
        }
        let Some((alias, column)) = self.output.get(index).and_then(|text| text.split_once('.')) else {
            return false;
        };
        let alias = alias.trim_matches('"');
        let is_plain = !column.contains(['.', ' ', '(', ')', ':']);
        is_plain && self.scanned.contains(alias) && !self.nullable.contains(alias)
    }

    /// Whether this column is `count(...)`, which is a number even for no rows.
    fn is_count(&self, index: usize) -> bool {
        let Some(text) = self.output.get(index) else { return false };
        let inner = text.strip_prefix("count(").and_then(|rest| rest.strip_suffix(')'));
        !self.mixed && !self.outer && inner.is_some_and(|inner| !inner.contains(['(', ')']))
    }
}
