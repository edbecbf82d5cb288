//! A [`Query`] as text and parameters.

use super::{BuilderError, OPERATORS, Query, Verb, Where, predicate};
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
    /// What the module's text lists: undefined values, unknown operators, a list on the right of `==`, negative
    /// limits, update or delete without a condition, identifiers that can't be quoted.
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
            Verb::Count if self.limit.is_none() && self.offset.is_none() => {
                out.push("SELECT count(*) FROM ");
                out.table(self.table)?;
                self.conditions(out)?;
                Ok(read(Shape::Scalar))
            }
            Verb::Count => {
                out.push("SELECT count(*) FROM (SELECT 1 FROM ");
                out.table(self.table)?;
                self.conditions(out)?;
                self.page(out, false)?;
                out.push(") AS page");
                Ok(read(Shape::Scalar))
            }
            Verb::Exists => {
                out.push("SELECT EXISTS (SELECT 1 FROM ");
                out.table(self.table)?;
                self.conditions(out)?;
                self.page(out, false)?;
                out.push(")");
                Ok(read(Shape::Scalar))
            }
            Verb::Insert { columns, values, rows, list } => {
                self.insert(out, columns, values, *rows)?;
                self.written(out, if *list { Shape::Rows } else { Shape::First })
            }
            Verb::Update { set } => {
                self.guard("update")?;
                if set.is_empty() {
                    return Err(BuilderError::new("update({}) has nothing to set"));
                }
                out.push("UPDATE ");
                out.table(self.table)?;
                out.push(" SET ");
                for (index, (column, value)) in set.iter().enumerate() {
                    if index > 0 {
                        out.push(", ");
                    }
                    out.quoted(column)?;
                    out.push(" = ");
                    out.value(*value, || format!("update: \"{column}\""))?;
                }
                self.conditions(out)?;
                self.written(out, Shape::Rows)
            }
            Verb::Delete => {
                self.guard("delete")?;
                out.push("DELETE FROM ");
                out.table(self.table)?;
                self.conditions(out)?;
                self.written(out, Shape::Rows)
            }
        }
    }

    fn select(&self, out: &mut Out<'_, 'a>, first: bool) -> Result<(), BuilderError> {
        out.push("SELECT ");
        out.columns(&self.select)?;
        out.push(" FROM ");
        out.table(self.table)?;
        self.conditions(out)?;
        for (index, order) in self.order.iter().enumerate() {
            out.push(if index == 0 { " ORDER BY " } else { ", " });
            out.identifier(order.column)?;
            if order.descending {
                out.push(" DESC");
            }
        }
        self.page(out, first)
    }

    /// LIMIT and OFFSET as parameters, so that paging reuses one statement.
    fn page(&self, out: &mut Out<'_, 'a>, first: bool) -> Result<(), BuilderError> {
        let limit = self.limit.map(|limit| non_negative("limit", limit)).transpose()?;
        match limit {
            Some(0) if first => out.push(" LIMIT 0"),
            _ if first => out.push(" LIMIT 1"),
            Some(limit) => {
                out.push(" LIMIT ");
                out.param(Param::Int(limit));
            }
            None => {}
        }
        if let Some(offset) = self.offset {
            let offset = non_negative("offset", offset)?;
            out.push(" OFFSET ");
            out.param(Param::Int(offset));
        }
        Ok(())
    }

    fn insert(
        &self,
        out: &mut Out<'_, 'a>,
        columns: &[&str],
        values: &[Param<'a>],
        rows: usize,
    ) -> Result<(), BuilderError> {
        if !self.wheres.is_empty() {
            return Err(BuilderError::new("insert takes no where"));
        }
        if rows == 0 || columns.len().checked_mul(rows) != Some(values.len()) {
            return Err(BuilderError::new(
                "insert: a list needs at least one object, all with the same keys",
            ));
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
                out.value(*value, || format!("insert: \"{}\"", columns[index]))?;
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
        if self.returning.is_empty() {
            return Ok(Rendered { shape: Shape::Affected, access: Access::Write });
        }
        out.push(" RETURNING ");
        out.columns(&self.returning)?;
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
        for (index, condition) in self.wheres.iter().enumerate() {
            out.push(if index == 0 { " WHERE " } else { " AND " });
            match condition {
                Where::Compare { column, operator, value } => compare(out, column, operator, *value)?,
                Where::Predicate { tree, captured } => predicate::render(out, tree, captured)?,
            }
        }
        Ok(())
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
        other => OPERATORS.iter().find(|known| **known == other).copied().ok_or_else(|| {
            BuilderError::new(format!(
                "where(\"{column}\", \"{}\"): unknown operator; known are {}",
                operator.escape_debug(),
                OPERATORS.join(", ")
            ))
        })?,
    };
    if matches!(value, Param::Undefined) {
        return Err(BuilderError::new(format!("where(\"{column}\", undefined): the value is missing")));
    }
    match (operator_sql, value) {
        ("in" | "not in", Param::List(_)) => {
            out.identifier(column)?;
            out.push(if operator_sql == "in" { " = ANY(" } else { " <> ALL(" });
            out.param(value);
            out.push(")");
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

fn non_negative(what: &str, value: Param<'_>) -> Result<i64, BuilderError> {
    let refused =
        |shown: String| BuilderError::new(format!("{what}({shown}): expected an integer, 0 or more"));
    match value {
        Param::Int(v) if v >= 0 => Ok(v),
        Param::Int(v) => Err(refused(v.to_string())),
        #[expect(clippy::cast_possible_truncation, reason = "integral and below 2^53, as the guard says")]
        Param::Float(v) if v >= 0.0 && v.fract() == 0.0 && v <= 9_007_199_254_740_992.0 => Ok(v as i64),
        Param::Float(v) => Err(refused(v.to_string())),
        other => Err(refused(other.kind().to_owned())),
    }
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

    fn columns(&mut self, columns: &[&str]) -> Result<(), BuilderError> {
        if columns.is_empty() {
            self.push("*");
        }
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            if *column == "*" {
                self.push("*");
            } else {
                self.identifier(column)?;
            }
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
