//! Compiled lambdas (docs/formats/predicate.md) as SQL conditions.
//!
//! SQL's third truth value must not leak: in a script `!(age > 18)` holds where age is null. A comparison that
//! SQL finds unknown counts as false everywhere, so `and`, `or` and WHERE need nothing, and `not p` is
//! `(p) IS NOT TRUE`.

use forebay_base::Value;

use super::BuilderError;
use super::plan::Number;
use super::render::{Out, has_null};
use crate::param::Param;

/// Nesting of a predicate. The compiler's trees come from source text, which is bounded; this is for trees from
/// elsewhere.
pub const PREDICATE_DEPTH_MAX: usize = 64;

/// What stands on one side of an operator.
#[derive(Clone, Copy)]
enum Operand<'a> {
    /// A column, or arithmetic: needs SQL.
    Expression,
    /// Known now: a captured value or a literal.
    Known(Param<'a>),
}

/// Trees of one lambda.
pub(super) struct Renderer<'c, 'a> {
    pub(super) captured: &'c [Param<'a>],
    /// The tables whose rows the lambda takes, if they are several.
    pub(super) tables: Vec<&'a str>,
    /// Of a join: columns compare as SQL does, which is what lets it use an index or a hash.
    pub(super) join: bool,
}

fn malformed(what: impl std::fmt::Display) -> BuilderError {
    BuilderError::new(format!("where: malformed predicate: {what}"))
}

/// `["head", ...]`
fn node(tree: &Value) -> Result<(&str, &[Value]), BuilderError> {
    let items = tree.as_list().ok_or_else(|| malformed("expected a list"))?;
    match items.split_first() {
        Some((Value::Str(head), rest)) => Ok((head, rest)),
        _ => Err(malformed("expected a list that starts with an operator")),
    }
}

fn pair<'t>(head: &str, rest: &'t [Value]) -> Result<(&'t Value, &'t Value), BuilderError> {
    match rest {
        [x, y] => Ok((x, y)),
        _ => Err(malformed(format_args!("\"{head}\" takes two operands, got {}", rest.len()))),
    }
}

impl<'a> Renderer<'_, 'a> {
    /// As [`Self::value`], of which nothing else gives the type: a constant number is one, and no text.
    pub(super) fn selected(&self, out: &mut Out<'_, 'a>, tree: &'a Value) -> Result<(), BuilderError> {
        let (head, _) = node(tree)?;
        if CONDITIONS.contains(&head) { self.condition(out, tree, 0) } else { self.typed(out, tree, tree, 0) }
    }

    /// Something to sort by or to set a column to: an operand, or the truth of a condition.
    pub(super) fn value(&self, out: &mut Out<'_, 'a>, tree: &'a Value) -> Result<(), BuilderError> {
        let (head, _) = node(tree)?;
        if CONDITIONS.contains(&head) {
            self.condition(out, tree, 0)
        } else {
            self.operand(out, tree, tree, 0)
        }
    }

    pub(super) fn condition(
        &self,
        out: &mut Out<'_, 'a>,
        tree: &'a Value,
        depth: usize,
    ) -> Result<(), BuilderError> {
        if depth > PREDICATE_DEPTH_MAX {
            return Err(malformed(format_args!("nested deeper than {PREDICATE_DEPTH_MAX}")));
        }
        let (head, rest) = node(tree)?;
        match head {
            "and" | "or" => {
                if rest.len() < 2 {
                    return Err(malformed(format_args!("\"{head}\" takes two or more conditions")));
                }
                out.push("(");
                for (index, item) in rest.iter().enumerate() {
                    if index > 0 {
                        out.push(if head == "and" { " AND " } else { " OR " });
                    }
                    self.condition(out, item, depth + 1)?;
                }
                out.push(")");
                Ok(())
            }
            "not" => self.negation(out, rest, depth),
            "==" | "!=" => {
                let (x, y) = pair(head, rest)?;
                self.equality(out, head, x, y, depth)
            }
            "<" | "<=" | ">" | ">=" | "like" | "ilike" => {
                let (x, y) = pair(head, rest)?;
                self.known_refused(x, y, head, |p| matches!(p, Param::List(_) | Param::Map(_)))?;
                out.push("(");
                self.operand(out, x, y, depth + 1)?;
                out.push(match head {
                    "<" => " < ",
                    "<=" => " <= ",
                    ">" => " > ",
                    ">=" => " >= ",
                    "like" => " LIKE ",
                    _ => " ILIKE ",
                });
                self.operand(out, y, x, depth + 1)?;
                out.push(")");
                Ok(())
            }
            "in" => {
                let (x, list) = pair(head, rest)?;
                match self.classify(list)? {
                    Operand::Known(value @ Param::List(_)) => self.any(out, x, value, true, depth),
                    Operand::Known(other) => Err(BuilderError::new(format!(
                        "{}: \"in\" takes a list, got {}",
                        place(x),
                        other.kind()
                    ))),
                    Operand::Expression => {
                        // An array column: `["in", x, ["col", "tags"]]`.
                        self.operand(out, x, list, depth + 1)?;
                        out.push(" = ANY(");
                        self.operand(out, list, x, depth + 1)?;
                        out.push(")");
                        Ok(())
                    }
                }
            }
            "starts" | "ends" | "contains" => {
                let (x, y) = pair(head, rest)?;
                self.known_refused(x, y, head, |p| !matches!(p, Param::Str(_) | Param::Null) && !is_leaf(p))?;
                out.push(match head {
                    "starts" => "starts_with(",
                    "ends" => "(right(",
                    _ => "(strpos(",
                });
                self.operand(out, x, y, depth + 1)?;
                match head {
                    "starts" => {
                        out.push(", ");
                        self.operand(out, y, x, depth + 1)?;
                        out.push(")");
                    }
                    "ends" => {
                        out.push(", char_length(");
                        self.text(out, y, x, depth + 1)?;
                        out.push(")) = ");
                        self.text(out, y, x, depth + 1)?;
                        out.push(")");
                    }
                    _ => {
                        out.push(", ");
                        self.operand(out, y, x, depth + 1)?;
                        out.push(") > 0)");
                    }
                }
                Ok(())
            }
            "col" => self.operand(out, tree, tree, depth + 1),
            "param" | "lit" => match self.known(head, rest)? {
                Param::Bool(true) => {
                    out.push("TRUE");
                    Ok(())
                }
                Param::Bool(false) | Param::Null => {
                    out.push("FALSE");
                    Ok(())
                }
                other => {
                    Err(BuilderError::new(format!("where: {} is not a condition; compare it", other.kind())))
                }
            },
            other => Err(malformed(format_args!("unknown operator \"{}\"", other.escape_debug()))),
        }
    }

    fn negation(&self, out: &mut Out<'_, 'a>, rest: &'a [Value], depth: usize) -> Result<(), BuilderError> {
        let [inner] = rest else {
            return Err(malformed("\"not\" takes one condition"));
        };
        let (head, operands) = node(inner)?;
        match head {
            "==" | "!=" => {
                let (x, y) = pair(head, operands)?;
                self.equality(out, if head == "==" { "!=" } else { "==" }, x, y, depth)
            }
            _ => {
                out.push("(");
                self.condition(out, inner, depth + 1)?;
                out.push(" IS NOT TRUE)");
                Ok(())
            }
        }
    }

    /// `==` and `!=`. A side that is known decides the form: `IS NULL`, or for equality `=`, which is the one
    /// that uses an index; two expressions compare with `IS [NOT] DISTINCT FROM`.
    fn equality(
        &self,
        out: &mut Out<'_, 'a>,
        head: &str,
        x: &'a Value,
        y: &'a Value,
        depth: usize,
    ) -> Result<(), BuilderError> {
        let equal = head == "==";
        self.known_refused(x, y, head, |_| false)?;
        let (left, right) = (self.classify(x)?, self.classify(y)?);
        let (expression, value) = match (left, right) {
            (Operand::Expression, Operand::Known(value)) => (x, value),
            (Operand::Known(value), Operand::Expression) => (y, value),
            (Operand::Known(a), Operand::Known(b)) => {
                return Err(BuilderError::new(format!(
                    "where: \"{head}\" compares {} with {}, and neither is a column",
                    a.kind(),
                    b.kind()
                )));
            }
            (Operand::Expression, Operand::Expression) => {
                out.push("(");
                self.operand(out, x, y, depth + 1)?;
                out.push(match (equal, self.join) {
                    (true, true) => " = ",
                    (true, false) => " IS NOT DISTINCT FROM ",
                    (false, _) => " IS DISTINCT FROM ",
                });
                self.operand(out, y, x, depth + 1)?;
                out.push(")");
                return Ok(());
            }
        };
        if matches!(value, Param::List(_)) {
            return self.any(out, expression, value, equal, depth);
        }
        out.push("(");
        self.operand(out, expression, expression, depth + 1)?;
        if matches!(value, Param::Null) {
            out.push(if equal { " IS NULL" } else { " IS NOT NULL" });
        } else {
            out.push(if equal { " = " } else { " IS DISTINCT FROM " });
            out.param(value);
        }
        out.push(")");
        Ok(())
    }

    /// Whether `x` equals any element of a list, or none of them; null equals null.
    fn any(
        &self,
        out: &mut Out<'_, 'a>,
        x: &'a Value,
        list: Param<'a>,
        equal: bool,
        depth: usize,
    ) -> Result<(), BuilderError> {
        let or_null = matches!(list, Param::List(items) if has_null(items));
        out.push(match (equal, or_null) {
            (true, false) => "",
            (true, true) | (false, false) => "(",
            (false, true) => "((",
        });
        self.operand(out, x, x, depth + 1)?;
        out.push(" = ANY(");
        out.param(list);
        out.push(if equal { ")" } else { ")) IS NOT TRUE" });
        if or_null {
            out.push(if equal { " OR " } else { " AND " });
            self.operand(out, x, x, depth + 1)?;
            out.push(if equal { " IS NULL)" } else { " IS NOT NULL)" });
        }
        Ok(())
    }

    /// A column, arithmetic, or a known value as a parameter. `other` is the operand beside it, for messages.
    fn operand(
        &self,
        out: &mut Out<'_, 'a>,
        tree: &'a Value,
        other: &'a Value,
        depth: usize,
    ) -> Result<(), BuilderError> {
        if depth > PREDICATE_DEPTH_MAX {
            return Err(malformed(format_args!("nested deeper than {PREDICATE_DEPTH_MAX}")));
        }
        let (head, rest) = node(tree)?;
        match (head, rest) {
            ("col", [Value::Str(column)]) => {
                if let Some(table) = self.tables.first() {
                    out.quoted(table)?;
                    out.push(".");
                }
                out.quoted(column)
            }
            ("col", [Value::Int(row), Value::Str(column)]) => {
                let table = usize::try_from(*row).ok().and_then(|row| self.tables.get(row));
                match table {
                    Some(table) => {
                        out.quoted(table)?;
                        out.push(".");
                    }
                    // The only table there is.
                    None if *row == 0 => {}
                    None => {
                        return Err(BuilderError::new(format!(
                            "a lambda takes row {} of the query, which has {} table{} there",
                            row + 1,
                            self.tables.len().max(1),
                            if self.tables.len() > 1 { "s" } else { "" }
                        )));
                    }
                }
                out.quoted(column)
            }
            ("col", [Value::Str(table), Value::Str(column)]) => {
                out.quoted(table)?;
                out.push(".");
                out.quoted(column)
            }
            ("param" | "lit", _) => {
                let value = self.known(head, rest)?;
                if matches!(value, Param::Undefined) {
                    return Err(undefined(other));
                }
                out.param(value);
                Ok(())
            }
            ("+" | "-" | "*" | "/" | "%", _) => {
                let (x, y) = pair(head, rest)?;
                out.push("(");
                self.factor(out, x, y, head, depth)?;
                // Integer division truncates in SQL and doesn't in a script; numeric is exact for both.
                out.push(match head {
                    "+" => " + ",
                    "-" => " - ",
                    "*" => " * ",
                    "/" => "::numeric / ",
                    _ => " % ",
                });
                self.factor(out, y, x, head, depth)?;
                out.push(")");
                Ok(())
            }
            ("concat", _) => {
                let (x, y) = pair(head, rest)?;
                out.push("(");
                self.text(out, x, y, depth + 1)?;
                out.push(" || ");
                self.text(out, y, x, depth + 1)?;
                out.push(")");
                Ok(())
            }
            ("coalesce", _) => {
                let (x, y) = pair(head, rest)?;
                out.push("coalesce(");
                self.operand(out, x, y, depth + 1)?;
                out.push(", ");
                self.operand(out, y, x, depth + 1)?;
                out.push(")");
                Ok(())
            }
            ("case", [condition, x, y]) => {
                out.push("CASE WHEN ");
                self.condition(out, condition, depth + 1)?;
                // Parameters alone would be text.
                let typed = self.is_constant(x, depth)? && self.is_constant(y, depth)?;
                for (word, branch, other) in [(" THEN ", x, y), (" ELSE ", y, x)] {
                    out.push(word);
                    if typed {
                        self.typed(out, branch, other, depth + 1)?;
                    } else {
                        self.branch(out, branch, other, depth + 1)?;
                    }
                }
                out.push(" END");
                Ok(())
            }
            ("length", [x]) => {
                // A script counts UTF-16 units: two for what lies beyond the first plane.
                out.push("(char_length(");
                self.text(out, x, other, depth + 1)?;
                out.push(") + char_length(regexp_replace(");
                self.text(out, x, other, depth + 1)?;
                out.push(", E'[^\\U00010000-\\U0010ffff]', '', 'g')))");
                Ok(())
            }
            ("count", []) => {
                out.push("count(*)");
                Ok(())
            }
            (_, [x]) if let Some((before, after)) = function(head) => {
                out.push(before);
                self.typed(out, x, other, depth + 1)?;
                out.push(after);
                Ok(())
            }
            _ => Err(malformed(format_args!("\"{}\" is not an operand", head.escape_debug()))),
        }
    }

    /// A branch of `condition ? x : y`, which may be a condition itself.
    fn branch(
        &self,
        out: &mut Out<'_, 'a>,
        tree: &'a Value,
        other: &'a Value,
        depth: usize,
    ) -> Result<(), BuilderError> {
        let (head, _) = node(tree)?;
        if CONDITIONS.contains(&head) {
            self.condition(out, tree, depth)
        } else {
            self.operand(out, tree, other, depth)
        }
    }

    /// A side of arithmetic. `p.count * 1.5` is no integer where count is one, which the server would conclude.
    fn factor(
        &self,
        out: &mut Out<'_, 'a>,
        tree: &'a Value,
        other: &'a Value,
        operator: &str,
        depth: usize,
    ) -> Result<(), BuilderError> {
        self.operand(out, tree, other, depth + 1)?;
        if let Operand::Known(value) = self.classify(tree)?
            && operator != "/"
            && Number::of_param(&value) == Some(Number::Fraction)
        {
            out.push("::numeric");
        }
        Ok(())
    }

    /// An operand; a number or a boolean that is known is one for the server, too.
    fn typed(
        &self,
        out: &mut Out<'_, 'a>,
        tree: &'a Value,
        other: &'a Value,
        depth: usize,
    ) -> Result<(), BuilderError> {
        self.operand(out, tree, other, depth)?;
        if let Operand::Known(value) = self.classify(tree)? {
            out.push(match (Number::of_param(&value), value) {
                (Some(Number::Short), _) => "::int4",
                (Some(Number::Long), _) => "::int8",
                (Some(Number::Fraction), _) => "::numeric",
                (None, Param::Bool(_)) => "::bool",
                _ => "",
            });
        }
        Ok(())
    }

    /// Whether it is a known number, boolean or null, or one of such by a condition.
    fn is_constant(&self, tree: &'a Value, depth: usize) -> Result<bool, BuilderError> {
        if depth > PREDICATE_DEPTH_MAX {
            return Ok(false);
        }
        if let ("case", [_, x, y]) = node(tree)? {
            return Ok(self.is_constant(x, depth + 1)? && self.is_constant(y, depth + 1)?);
        }
        Ok(match self.classify(tree)? {
            Operand::Known(Param::Null | Param::Bool(_)) => true,
            Operand::Known(value) => Number::of_param(&value).is_some(),
            Operand::Expression => false,
        })
    }

    /// An operand that is text: a parameter alone gives the server nothing to conclude that from.
    fn text(
        &self,
        out: &mut Out<'_, 'a>,
        tree: &'a Value,
        other: &'a Value,
        depth: usize,
    ) -> Result<(), BuilderError> {
        self.operand(out, tree, other, depth)?;
        if let Operand::Known(_) = self.classify(tree)? {
            out.push("::text");
        }
        Ok(())
    }

    fn classify(&self, tree: &'a Value) -> Result<Operand<'a>, BuilderError> {
        let (head, rest) = node(tree)?;
        match head {
            "param" | "lit" => Ok(Operand::Known(self.known(head, rest)?)),
            _ => Ok(Operand::Expression),
        }
    }

    fn known(&self, head: &str, rest: &'a [Value]) -> Result<Param<'a>, BuilderError> {
        match (head, rest) {
            ("lit", [value]) => Ok(Param::from(value)),
            ("param", [Value::Int(index)]) => usize::try_from(*index)
                .ok()
                .and_then(|index| self.captured.get(index))
                .copied()
                .ok_or_else(|| malformed(format_args!("no captured value {index}"))),
            _ => Err(malformed(format_args!("\"{head}\" takes one value"))),
        }
    }

    /// Refuses undefined, and what `refused` says, on either side.
    fn known_refused(
        &self,
        x: &'a Value,
        y: &'a Value,
        head: &str,
        refused: impl Fn(&Param<'a>) -> bool,
    ) -> Result<(), BuilderError> {
        for (side, other) in [(x, y), (y, x)] {
            match self.classify(side)? {
                Operand::Known(Param::Undefined) => return Err(undefined(other)),
                Operand::Known(value) if refused(&value) => {
                    return Err(BuilderError::new(format!(
                        "{}: \"{head}\" with {}{}",
                        place(other),
                        value.kind(),
                        if matches!(value, Param::List(_)) {
                            "; use \"in\" to match any of its elements"
                        } else {
                            ""
                        }
                    )));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Nodes that are true or false.
const CONDITIONS: [&str; 15] = [
    "and", "or", "not", "==", "!=", "<", "<=", ">", ">=", "in", "like", "ilike", "starts", "ends", "contains",
];

fn is_leaf(param: &Param<'_>) -> bool {
    super::plan::number_of(param).is_some()
}

/// What stands around the one operand of a function. JavaScript's white space (ECMA-262 "WhiteSpace" and
/// "LineTerminator") is more than SQL's.
fn function(head: &str) -> Option<(&'static str, &'static str)> {
    macro_rules! spaces {
        () => {
            ", E' \\t\\n\\u000b\\f\\r\\u00a0\\u1680\\u2000\\u2001\\u2002\\u2003\\u2004\\u2005\\u2006\\u2007\\u2008\\u2009\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff')"
        };
    }
    Some(match head {
        "lower" => ("lower(", ")"),
        "upper" => ("upper(", ")"),
        "trim" => ("btrim(", spaces!()),
        "trimStart" => ("ltrim(", spaces!()),
        "trimEnd" => ("rtrim(", spaces!()),
        "count" => ("count(", ")"),
        "countDistinct" => ("count(DISTINCT ", ")"),
        "sum" => ("sum(", ")"),
        "avg" => ("avg(", ")"),
        "min" => ("min(", ")"),
        "max" => ("max(", ")"),
        "neg" => ("(- ", ")"),
        _ => return None,
    })
}

fn undefined(other: &Value) -> BuilderError {
    BuilderError::new(format!("{}: compared with undefined; the value is missing", place(other)))
}

/// The column that an operand is about, for messages.
fn place(tree: &Value) -> String {
    fn column(tree: &Value, depth: usize) -> Option<&str> {
        let (head, rest) = node(tree).ok()?;
        match (head, rest.last()) {
            ("col", Some(Value::Str(name))) => Some(name),
            ("param" | "lit", _) => None,
            _ if depth < PREDICATE_DEPTH_MAX => rest.iter().find_map(|item| column(item, depth + 1)),
            _ => None,
        }
    }
    match column(tree, 0) {
        Some(name) => format!("where(\"{name}\")"),
        None => "where".to_owned(),
    }
}
