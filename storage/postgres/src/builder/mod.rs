//! `db().table("user").where(...).get()` as SQL. Pure: a description in, text and parameters out.
//!
//! - Identifiers are always quoted, values are always parameters (`$1`, `$2`, ... in order of appearance).
//! - Equal shapes give equal text, byte for byte, so that the statement cache hits. Only whether a compared
//!   value is null changes the text: `where("id", 7)` is `"id" = $1` and `where("id", null)` is `"id" IS NULL`,
//!   so that both use an index.
//! - `==` and `!=` are null-safe in pairs and in predicates. `update` and `delete` without a condition are
//!   refused unless [`Query::all`] is set; undefined is refused wherever it appears, with its column's name.
//!
//! docs/formats/predicate.md defines the trees that the JavaScript compiler makes of lambdas.

mod predicate;
mod render;
mod value;

pub use predicate::PREDICATE_DEPTH_MAX;
pub use render::{PARAMETER_COUNT_MAX, Rendered};

use std::fmt;

use forebay_base::Value;

use crate::param::Param;

/// One chain of `db()`.
#[derive(Clone, Debug, Default)]
pub struct Query<'a> {
    /// `table` or `schema.table`; each part is quoted.
    pub table: &'a str,
    /// What to do.
    pub verb: Verb<'a>,
    /// Columns of get and first; empty or `*` is all. `table.column` is split at the dot.
    pub select: Vec<&'a str>,
    /// Conditions, all of which hold.
    pub wheres: Vec<Where<'a>>,
    /// Sort keys, the first is the most significant.
    pub order: Vec<Order<'a>>,
    /// At most this many rows; a non-negative integer.
    pub limit: Option<Param<'a>>,
    /// Skips this many rows; a non-negative integer.
    pub offset: Option<Param<'a>>,
    /// Columns that insert, update and delete return; `*` is all; empty: they return a count.
    pub returning: Vec<&'a str>,
    /// The author's word that update or delete means every row.
    pub all: bool,
}

/// What a chain does at its end.
#[derive(Clone, Debug, Default)]
pub enum Verb<'a> {
    /// All rows: [`crate::Shape::Rows`].
    #[default]
    Get,
    /// One row or undefined: [`crate::Shape::First`].
    First,
    /// Number of rows: [`crate::Shape::Scalar`].
    Count,
    /// Whether there is a row: [`crate::Shape::Scalar`].
    Exists,
    /// Inserts rows. Without `returning`: [`crate::Shape::Affected`]; with it, `First` for one row that was
    /// given as an object, else `Rows`.
    Insert {
        /// Column names, the keys of the objects.
        columns: Vec<&'a str>,
        /// Values, row after row; `columns.len() * rows` of them.
        values: Vec<Param<'a>>,
        /// Number of rows. With no columns, a row is all defaults, and there is one.
        rows: usize,
        /// True if the script gave a list of objects.
        list: bool,
    },
    /// Sets columns: `Affected`, or with `returning`, `Rows`.
    Update {
        /// Columns and their new values.
        set: Vec<(&'a str, Param<'a>)>,
    },
    /// Deletes rows: `Affected`, or with `returning`, `Rows`.
    Delete,
}

/// One condition.
#[derive(Clone, Debug)]
pub enum Where<'a> {
    /// `where(column, value)` (operator `=`) and `where(column, operator, value)`.
    Compare {
        /// Column, or `table.column`.
        column: &'a str,
        /// One of [`OPERATORS`].
        operator: &'a str,
        /// Right-hand side.
        value: Param<'a>,
    },
    /// A compiled lambda.
    Predicate {
        /// The tree (docs/formats/predicate.md).
        tree: &'a Value,
        /// Values that the lambda captured, by their index in the tree.
        captured: Vec<Param<'a>>,
    },
}

/// Operators of a pair. `in` and `not in` take a list.
pub const OPERATORS: [&str; 14] =
    ["=", "==", "!=", "<>", "<", "<=", ">", ">=", "like", "ilike", "not like", "not ilike", "in", "not in"];

/// One sort key.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Column, or `table.column`.
    pub column: &'a str,
    /// Largest first.
    pub descending: bool,
}

/// Why a chain has no SQL. The script's fault, except where a value came from its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuilderError {
    /// What the script reads, such as `where("age", undefined): ...`.
    pub message: String,
}

impl BuilderError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for BuilderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

impl std::error::Error for BuilderError {}
