//! A [`Query`] as text and parameters.

use forebay_base::Value;

use super::{
    Aggregate, BuilderError, Condition, ConflictAction, DIRECTIONS, Item, OPERATORS, On, Query, Set, Tree,
    Verb, Where, plan, predicate,
};
use crate::param::Param;
use crate::query::{Access, Shape};

/// Parameters of one statement: the Bind message counts them in 16 bits.
pub const PARAMETER_COUNT_MAX: usize = 65_535;

/// What a rendered statement is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rendered {
    /// The value that its result becomes.
    pub shape: Shape,
    /// Whether it writes.
    pub access: Access,
}

impl<'a> Query<'a> {
    /// Appends the statement to `sql` and its parameters to `params`; both are cleared first, so that a caller
    /// keeps their memory from one query to the next.
    ///
    /// # Errors
    /// What the module's text lists: undefined values, unknown operators, a list beside `<` and its kin, negative limits,
    /// update or delete without a condition, identifiers that can't be quoted.
    pub fn render(&self, sql: &mut String, params: &mut Vec<Param<'a>>) -> Result<Rendered, BuilderError> {
        sql.clear();
        params.clear();
        let mut out = Out { sql, params };
        let rendered = self.statement(&mut out)?;
        if out.params.len() > PARAMETER_COUNT_MAX {
            return Err(BuilderError::new(format!(
                "a statement has at most {PARAMETER_COUNT_MAX} values, this one has {}; insert in smaller lists",
                out.params.len()
            )));
        }
        Ok(rendered)
    }

    fn statement(&self, out: &mut Out<'_, 'a>) -> Result<Rendered, BuilderError> {
        let read = |shape| Rendered { shape, access: Access::Read };
        match &self.verb {
            Verb::Get => {
                self.select(out, false)?;
                Ok(read(Shape::Rows))
            }
            Verb::First => {
                self.select(out, true)?;
                Ok(read(Shape::First))
            }
            Verb::Count => {
                if self.is_plain() {
                    out.push("SELECT count(*) FROM ");
                    self.from(out)?;
                    self.conditions(out)?;
                } else {
                    out.push("SELECT count(*) FROM (");
                    self.rows(out)?;
                    out.push(") AS page");
                }
                Ok(read(Shape::Scalar))
            }
            Verb::Exists => {
                out.push("SELECT EXISTS (");
                self.rows(out)?;
                out.push(")");
                Ok(read(Shape::Scalar))
            }
            Verb::Aggregate { function, column } => {
                let name = match function {
                    Aggregate::Count => "count",
                    Aggregate::Sum => "sum",
                    Aggregate::Avg => "avg",
                    Aggregate::Min => "min",
                    Aggregate::Max => "max",
                };
                if !self.is_plain() {
                    return Err(BuilderError::new(format!(
                        "{name} takes no limit, offset, distinct, group or having; select it in a lambda"
                    )));
                }
                out.push("SELECT ");
                out.push(name);
                out.push("(");
                out.identifier(column)?;
                out.push(") FROM ");
                self.from(out)?;
                self.conditions(out)?;
                Ok(read(Shape::Scalar))
            }
            Verb::Insert { columns, values, rows, list } => {
                self.insert(out, columns, values, *rows)?;
                self.conflict(out, columns, values)?;
                self.written(out, if *list { Shape::Rows } else { Shape::First })
            }
            Verb::Update { set } => {
                self.guard("update")?;
                if set.is_empty() {
                    return Err(BuilderError::new("update({}) has nothing to set"));
                }
                out.push("UPDATE ");
                self.from(out)?;
                out.push(" SET ");
                for (index, (column, value)) in set.iter().enumerate() {
                    if index > 0 {
                        out.push(", ");
                    }
                    out.quoted(column)?;
                    out.push(" = ");
                    match value {
                        Set::Value(value) => out.value(*value, || format!("update: \"{column}\""))?,
                        Set::Expression(tree) => self.renderer(tree).value(out, tree.tree)?,
                    }
                }
                self.conditions(out)?;
                self.written(out, Shape::Rows)
            }
            Verb::Delete => {
                self.guard("delete")?;
                out.push("DELETE FROM ");
                self.from(out)?;
                self.conditions(out)?;
                self.written(out, Shape::Rows)
            }
        }
    }

    /// Whether a row of the result is a row of the tables.
    fn is_plain(&self) -> bool {
        self.limit.is_none()
            && self.offset.is_none()
            && !self.distinct
            && self.group.is_empty()
            && self.having.is_empty()
    }

    /// The names of the tables, if there are several: then columns of lambdas carry them.
    fn tables(&self) -> Vec<&'a str> {
        if self.joins.is_empty() {
            return Vec::new();
        }
        let name = |table: &'a str, alias: Option<&'a str>| {
            alias.unwrap_or_else(|| table.rsplit_once('.').map_or(table, |(_, name)| name))
        };
        std::iter::once(name(self.table, self.alias))
            .chain(self.joins.iter().map(|join| name(join.table, join.alias)))
            .collect()
    }

    fn renderer<'r>(&self, tree: &'r Tree<'a>) -> predicate::Renderer<'r, 'a> {
        predicate::Renderer { captured: &tree.captured, tables: self.tables(), join: false }
    }

    /// The tables.
    fn from(&self, out: &mut Out<'_, 'a>) -> Result<(), BuilderError> {
        out.table(self.table)?;
        if let Some(alias) = self.alias {
            out.push(" AS ");
            out.quoted(alias)?;
        }
        let tables = self.tables();
        for (index, table) in tables.iter().enumerate() {
            if tables[..index].contains(table) {
                return Err(BuilderError::new(format!(
                    "\"{table}\" is there twice; give one another name: join(\"{table}\", \"other\", ...)"
                )));
            }
        }
        for (index, join) in self.joins.iter().enumerate() {
            out.push(if join.left { " LEFT JOIN " } else { " JOIN " });
            out.table(join.table)?;
            if let Some(alias) = join.alias {
                out.push(" AS ");
                out.quoted(alias)?;
            }
            out.push(" ON ");
            match &join.on {
                On::Columns(left, right) => {
                    out.identifier(left)?;
                    out.push(" = ");
                    out.identifier(right)?;
                }
                On::Predicate(tree) => {
                    let tables = tables[..(index + 2).min(tables.len())].to_vec();
                    let renderer = predicate::Renderer { captured: &tree.captured, tables, join: true };
                    renderer.condition(out, tree.tree, 0)?;
                }
            }
        }
        Ok(())
    }

    fn select(&self, out: &mut Out<'_, 'a>, first: bool) -> Result<(), BuilderError> {
        out.push(if self.distinct { "SELECT DISTINCT " } else { "SELECT " });
        self.items(out, &self.select)?;
        self.rest(out)?;
        self.page(out, first)
    }

    /// The same rows, for who counts them: their columns matter only where equal ones count once.
    fn rows(&self, out: &mut Out<'_, 'a>) -> Result<(), BuilderError> {
        if self.distinct {
            out.push("SELECT DISTINCT ");
            self.items(out, &self.select)?;
        } else {
            out.push("SELECT 1");
        }
        out.push(" FROM ");
        self.from(out)?;
        self.conditions(out)?;
        self.groups(out)?;
        self.page(out, false)
    }

    fn rest(&self, out: &mut Out<'_, 'a>) -> Result<(), BuilderError> {
        out.push(" FROM ");
        self.from(out)?;
        self.conditions(out)?;
        self.groups(out)?;
        for (index, order) in self.order.iter().enumerate() {
            out.push(if index == 0 { " ORDER BY " } else { ", " });
            match &order.by {
                Item::Column(column) => out.identifier(column)?,
                Item::Expression(tree, _) => self.renderer(tree).value(out, tree.tree)?,
            }
            out.push(match &*order.direction.to_ascii_lowercase() {
                "asc" => "",
                "desc" => " DESC",
                "asc nulls first" => " NULLS FIRST",
                "asc nulls last" => " NULLS LAST",
                "desc nulls first" => " DESC NULLS FIRST",
                "desc nulls last" => " DESC NULLS LAST",
                _ => {
                    return Err(BuilderError::new(format!(
                        "order: unknown direction \"{}\"; known are {}",
                        order.direction.escape_debug(),
                        DIRECTIONS.join(", ")
                    )));
                }
            });
        }
        Ok(())
    }

    fn groups(&self, out: &mut Out<'_, 'a>) -> Result<(), BuilderError> {
        for (index, item) in self.group.iter().enumerate() {
            out.push(if index == 0 { " GROUP BY " } else { ", " });
            match item {
                Item::Column(column) => out.identifier(column)?,
                Item::Expression(tree, _) => self.renderer(tree).value(out, tree.tree)?,
            }
        }
        self.fold(out, " HAVING ", &self.having)
    }

    fn items(&self, out: &mut Out<'_, 'a>, items: &[Item<'a>]) -> Result<(), BuilderError> {
        if items.is_empty() {
            out.push("*");
        }
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push(", ");
            }
            match item {
                Item::Column(column) => out.column(column)?,
                Item::Expression(tree, alias) => {
                    self.renderer(tree).selected(out, tree.tree)?;
                    if let Some(alias) = alias {
                        out.push(" AS ");
                        out.quoted(alias)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn conflict(
        &self,
        out: &mut Out<'_, 'a>,
        columns: &[&str],
        values: &[Option<Param<'a>>],
    ) -> Result<(), BuilderError> {
        let Some(conflict) = &self.conflict else { return Ok(()) };
        out.push(" ON CONFLICT");
        for (index, column) in conflict.columns.iter().enumerate() {
            out.push(if index == 0 { " (" } else { ", " });
            out.quoted(column)?;
        }
        if !conflict.columns.is_empty() {
            out.push(")");
        }
        let overwritten: Vec<&str> = match &conflict.action {
            ConflictAction::Ignore => {
                out.push(" DO NOTHING");
                return Ok(());
            }
            _ if conflict.columns.is_empty() => {
                return Err(BuilderError::new("onConflict: an update needs the columns of the unique index"));
            }
            ConflictAction::Update => {
                columns.iter().filter(|column| !conflict.columns.contains(column)).copied().collect()
            }
            ConflictAction::Columns(columns) => columns.clone(),
            ConflictAction::Set(pairs) => {
                if pairs.is_empty() {
                    return Err(BuilderError::new("onConflict: nothing to set"));
                }
                for (index, (column, value)) in pairs.iter().enumerate() {
                    out.push(if index == 0 { " DO UPDATE SET " } else { ", " });
                    out.quoted(column)?;
                    out.push(" = ");
                    out.value(*value, || format!("onConflict: \"{column}\""))?;
                }
                return Ok(());
            }
        };
        if overwritten.is_empty() {
            return Err(BuilderError::new(
                "onConflict: nothing to update; \"ignore\" leaves the row as it is",
            ));
        }
        let mut missing = (0..values.len()).filter(|at| values[*at].is_none());
        if let Some(at) = missing.find(|at| overwritten.contains(&columns[at % columns.len()])) {
            // The row that is there would lose what it has to the column's default.
            return Err(BuilderError::new(format!(
                "insert: object {} of the list has no \"{}\", which onConflict overwrites",
                at / columns.len() + 1,
                columns[at % columns.len()]
            )));
        }
        for (index, column) in overwritten.iter().enumerate() {
            out.push(if index == 0 { " DO UPDATE SET " } else { ", " });
            out.quoted(column)?;
            out.push(" = excluded.");
            out.quoted(column)?;
        }
        Ok(())
    }

    /// LIMIT and OFFSET as parameters, so that paging reuses one statement.
    fn page(&self, out: &mut Out<'_, 'a>, first: bool) -> Result<(), BuilderError> {
        let limit = self.limit.map(|limit| non_negative("limit", limit)).transpose()?;
        match limit {
            Some(Param::Int(0)) if first => out.push(" LIMIT 0"),
            _ if first => out.push(" LIMIT 1"),
            Some(limit) => {
                out.push(" LIMIT ");
                out.param(limit);
            }
            None => {}
        }
        if let Some(offset) = self.offset {
            let offset = non_negative("offset", offset)?;
            out.push(" OFFSET ");
            out.param(offset);
        }
        Ok(())
    }

    fn insert(
        &self,
        out: &mut Out<'_, 'a>,
        columns: &[&str],
        values: &[Option<Param<'a>>],
        rows: usize,
    ) -> Result<(), BuilderError> {
        if !self.wheres.is_empty() {
            return Err(BuilderError::new("insert takes no where"));
        }
        if rows == 0 || columns.len().checked_mul(rows) != Some(values.len()) {
            return Err(BuilderError::new("insert: a list needs at least one object"));
        }
        if values.len() > PARAMETER_COUNT_MAX {
            return Err(BuilderError::new(format!(
                "insert: {rows} rows of {} columns are more than {PARAMETER_COUNT_MAX} values; insert in smaller lists",
                columns.len()
            )));
        }
        out.push("INSERT INTO ");
        out.table(self.table)?;
        if columns.is_empty() {
            if rows > 1 {
                return Err(BuilderError::new("insert: a list of empty objects; insert them one by one"));
            }
            out.push(" DEFAULT VALUES");
            return Ok(());
        }
        for (index, column) in columns.iter().enumerate() {
            out.push(if index == 0 { " (" } else { ", " });
            out.quoted(column)?;
        }
        out.push(") VALUES ");
        for (row, values) in values.chunks(columns.len()).enumerate() {
            for (index, value) in values.iter().enumerate() {
                out.push(match (row, index) {
                    (0, 0) => "(",
                    (_, 0) => ", (",
                    _ => ", ",
                });
                match value {
                    Some(value) => out.value(*value, || format!("insert: \"{}\"", columns[index]))?,
                    None => out.push("DEFAULT"),
                }
            }
            out.push(")");
        }
        Ok(())
    }

    fn written(&self, out: &mut Out<'_, 'a>, shape: Shape) -> Result<Rendered, BuilderError> {
        if self.limit.is_some() || self.offset.is_some() || !self.order.is_empty() {
            return Err(BuilderError::new("insert, update and delete take no order, limit or offset"));
        }
        if !self.select.is_empty() {
            return Err(BuilderError::new("insert, update and delete take returning(...), not select(...)"));
        }
        if !self.joins.is_empty() || !self.group.is_empty() || !self.having.is_empty() || self.distinct {
            return Err(BuilderError::new(
                "insert, update and delete take no join, group, having or distinct",
            ));
        }
        if self.conflict.is_some() && !matches!(self.verb, Verb::Insert { .. }) {
            return Err(BuilderError::new("onConflict belongs to insert"));
        }
        if self.returning.is_empty() {
            return Ok(Rendered { shape: Shape::Affected, access: Access::Write });
        }
        out.push(" RETURNING ");
        self.items(out, &self.returning)?;
        Ok(Rendered { shape, access: Access::Write })
    }

    fn guard(&self, verb: &str) -> Result<(), BuilderError> {
        if self.wheres.is_empty() && !self.all {
            return Err(BuilderError::new(format!(
                "{verb} without where would change every row of \"{}\"; write all() if that is meant",
                self.table
            )));
        }
        Ok(())
    }

    fn conditions(&self, out: &mut Out<'_, 'a>) -> Result<(), BuilderError> {
        self.fold(out, " WHERE ", &self.wheres)
    }

    /// Conditions from left to right; parentheses only where there is an OR.
    fn fold(&self, out: &mut Out<'_, 'a>, word: &str, list: &[Where<'a>]) -> Result<(), BuilderError> {
        if list.is_empty() {
            return Ok(());
        }
        out.push(word);
        let grouped = list.iter().skip(1).any(|one| one.or);
        if grouped {
            (1..list.len()).for_each(|_| out.push("("));
        }
        for (index, one) in list.iter().enumerate() {
            if index > 0 {
                out.push(if one.or { " OR " } else { " AND " });
            }
            self.one_condition(out, &one.condition)?;
            if grouped && index > 0 {
                out.push(")");
            }
        }
        Ok(())
    }

    fn one_condition(&self, out: &mut Out<'_, 'a>, condition: &Condition<'a>) -> Result<(), BuilderError> {
        match condition {
            Condition::Compare { column, operator, value } => compare(out, column, operator, *value),
            Condition::Predicate(tree) => self.renderer(tree).condition(out, tree.tree, 0),
            Condition::Null { column, is } => {
                out.identifier(column)?;
                out.push(if *is { " IS NULL" } else { " IS NOT NULL" });
                Ok(())
            }
            Condition::Between { column, low, high } => {
                out.identifier(column)?;
                out.push(" BETWEEN ");
                for (index, side) in [low, high].into_iter().enumerate() {
                    if index > 0 {
                        out.push(" AND ");
                    }
                    if matches!(side, Param::List(_) | Param::Map(_) | Param::Null) {
                        return Err(BuilderError::new(format!(
                            "between(\"{column}\"): expected two values, got {}",
                            side.kind()
                        )));
                    }
                    out.value(*side, || format!("between(\"{column}\"): a value"))?;
                }
                Ok(())
            }
            Condition::All(list) => {
                out.push("(");
                for (index, one) in list.iter().enumerate() {
                    if index > 0 {
                        out.push(" AND ");
                    }
                    self.one_condition(out, one)?;
                }
                out.push(")");
                Ok(())
            }
        }
    }
}

/// `where(column, operator, value)`.
fn compare<'a>(
    out: &mut Out<'_, 'a>,
    column: &str,
    operator: &str,
    value: Param<'a>,
) -> Result<(), BuilderError> {
    let place = || format!("where(\"{column}\")");
    let operator_sql = match operator {
        "==" => "=",
        "!=" | "<>" => "!=",
        other => {
            OPERATORS.iter().find(|known| known.eq_ignore_ascii_case(other)).copied().ok_or_else(|| {
                BuilderError::new(format!(
                    "where(\"{column}\", \"{}\"): unknown operator; known are {}",
                    operator.escape_debug(),
                    OPERATORS.join(", ")
                ))
            })?
        }
    };
    if matches!(value, Param::Undefined) {
        return Err(BuilderError::new(format!("where(\"{column}\", undefined): the value is missing")));
    }
    match (operator_sql, value) {
        ("in" | "=", Param::List(list)) => {
            let or_null = has_null(list);
            out.push(if or_null { "(" } else { "" });
            out.identifier(column)?;
            out.push(" = ANY(");
            out.param(value);
            out.push(")");
            if or_null {
                out.push(" OR ");
                out.identifier(column)?;
                out.push(" IS NULL)");
            }
        }
        // `<> ALL` would find no row at all beside a null.
        ("not in", Param::List(list)) if has_null(list) => {
            out.push("((");
            out.identifier(column)?;
            out.push(" = ANY(");
            out.param(value);
            out.push(")) IS NOT TRUE AND ");
            out.identifier(column)?;
            out.push(" IS NOT NULL)");
        }
        ("not in", Param::List(_)) => {
            out.identifier(column)?;
            out.push(" <> ALL(");
            out.param(value);
            out.push(")");
        }
        ("!=", Param::List(list)) => {
            let but_null = has_null(list);
            out.push(if but_null { "((" } else { "(" });
            out.identifier(column)?;
            out.push(" = ANY(");
            out.param(value);
            out.push(")) IS NOT TRUE");
            if but_null {
                out.push(" AND ");
                out.identifier(column)?;
                out.push(" IS NOT NULL)");
            }
        }
        ("in" | "not in", _) => {
            return Err(BuilderError::new(format!(
                "{}: \"{operator_sql}\" takes a list, got {}",
                place(),
                value.kind()
            )));
        }
        (_, Param::List(_)) => {
            return Err(BuilderError::new(format!(
                "{}: \"{operator}\" with a list; use \"in\" to match any of its elements",
                place()
            )));
        }
        ("=", Param::Null) => {
            out.identifier(column)?;
            out.push(" IS NULL");
        }
        ("!=", Param::Null) => {
            out.identifier(column)?;
            out.push(" IS NOT NULL");
        }
        ("!=", _) => {
            out.identifier(column)?;
            out.push(" IS DISTINCT FROM ");
            out.param(value);
        }
        _ => {
            out.identifier(column)?;
            out.push(match operator_sql {
                "=" => " = ",
                "<" => " < ",
                "<=" => " <= ",
                ">" => " > ",
                ">=" => " >= ",
                "like" => " LIKE ",
                "ilike" => " ILIKE ",
                "not like" => " NOT LIKE ",
                _ => " NOT ILIKE ",
            });
            out.param(value);
        }
    }
    Ok(())
}

/// Whether a list has a null among its elements: null equals null here, but not in `= ANY`.
pub(super) fn has_null(list: &[Value]) -> bool {
    list.iter().any(|item| matches!(item, Value::Null))
}

fn non_negative<'a>(what: &str, value: Param<'a>) -> Result<Param<'a>, BuilderError> {
    let refused =
        |shown: String| BuilderError::new(format!("{what}({shown}): expected an integer, 0 or more"));
    match value {
        leaf if plan::number_of(&leaf).is_some() => Ok(leaf),
        Param::Int(v) if v >= 0 => Ok(value),
        Param::Int(v) => Err(refused(v.to_string())),
        #[expect(clippy::cast_possible_truncation, reason = "integral and below 2^53, as the guard says")]
        Param::Float(v) if v >= 0.0 && v.fract() == 0.0 && v <= 9_007_199_254_740_992.0 => {
            Ok(Param::Int(v as i64))
        }
        Param::Float(v) => Err(refused(v.to_string())),
        // As it comes out of a URL; what isn't a number is the client's fault then, not the script's.
        Param::Str(text) if !text.trim_start().starts_with('-') => {
            Ok(text.parse().ok().filter(|v| *v >= 0).map_or(value, Param::Int))
        }
        other => Err(refused(other.kind().to_owned())),
    }
}

/// `table` or `schema.table`, or a column, as an identifier of SQL: each part quoted.
///
/// # Errors
/// A part that is empty or has a NUL, or too many of them.
pub fn quote_name(name: &str) -> Result<String, BuilderError> {
    let (mut sql, mut params) = (String::new(), Vec::new());
    Out { sql: &mut sql, params: &mut params }.identifier(name)?;
    Ok(sql)
}

/// Text and parameters under construction.
pub(super) struct Out<'o, 'a> {
    pub(super) sql: &'o mut String,
    pub(super) params: &'o mut Vec<Param<'a>>,
}

impl<'a> Out<'_, 'a> {
    pub(super) fn push(&mut self, text: &str) {
        self.sql.push_str(text);
    }

    /// The next `$n`.
    pub(super) fn param(&mut self, value: Param<'a>) {
        self.params.push(value);
        let mut digits = [0u8; 20];
        let mut start = digits.len();
        let mut n = self.params.len();
        while n > 0 {
            start -= 1;
            digits[start] = b'0' + u8::try_from(n % 10).unwrap_or(0);
            n /= 10;
        }
        self.sql.push('$');
        self.sql.extend(digits[start..].iter().map(|d| char::from(*d)));
    }

    /// A parameter that must not be undefined.
    fn value(&mut self, value: Param<'a>, place: impl Fn() -> String) -> Result<(), BuilderError> {
        if matches!(value, Param::Undefined) {
            return Err(BuilderError::new(format!("{} is undefined; use null for SQL NULL", place())));
        }
        self.param(value);
        Ok(())
    }

    /// `column`, `table.column`, `table.*`, `*`; and ` as name`.
    fn column(&mut self, text: &str) -> Result<(), BuilderError> {
        let at = text.to_ascii_lowercase().rfind(" as ");
        let (column, alias) = at.map_or((text, None), |at| (&text[..at], Some(&text[at + 4..])));
        let column = column.trim();
        if column == "*" {
            self.push("*");
        } else if let Some(table) = column.strip_suffix(".*") {
            self.identifier(table)?;
            self.push(".*");
        } else {
            self.identifier(column)?;
        }
        if let Some(alias) = alias {
            if alias.contains(',') {
                return Err(BuilderError::new(format!(
                    "\"{}\" is one column and its name; write each column as a text of its own",
                    text.escape_debug()
                )));
            }
            self.push(" AS ");
            self.quoted(alias.trim())?;
        }
        Ok(())
    }

    fn table(&mut self, name: &str) -> Result<(), BuilderError> {
        if name.split('.').count() > 2 {
            return Err(BuilderError::new(format!(
                "table(\"{name}\"): expected \"table\" or \"schema.table\""
            )));
        }
        self.identifier(name)
    }

    /// `a.b.c`, each part quoted.
    pub(super) fn identifier(&mut self, name: &str) -> Result<(), BuilderError> {
        for (index, part) in name.split('.').enumerate() {
            if index > 0 {
                self.sql.push('.');
            }
            if index > 2 {
                return Err(BuilderError::new(format!("\"{}\" has too many dots", name.escape_debug())));
            }
            self.quoted(part)?;
        }
        Ok(())
    }

    /// One quoted identifier (manual: "Identifiers and Key Words"): `"` doubled, no NUL, not empty.
    pub(super) fn quoted(&mut self, part: &str) -> Result<(), BuilderError> {
        if part.is_empty() {
            return Err(BuilderError::new("an empty name; expected a table or column"));
        }
        if part.contains('\0') {
            return Err(BuilderError::new(format!(
                "the name \"{}\" has a NUL character",
                part.escape_debug()
            )));
        }
        self.sql.push('"');
        for (index, piece) in part.split('"').enumerate() {
            if index > 0 {
                self.sql.push_str("\"\"");
            }
            self.sql.push_str(piece);
        }
        self.sql.push('"');
        Ok(())
    }
}
