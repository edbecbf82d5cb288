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

mod plan;
mod predicate;
mod render;
mod value;

pub use plan::{Number, Plan, Source, leaf, number_leaf};
pub use predicate::PREDICATE_DEPTH_MAX;
pub use render::{PARAMETER_COUNT_MAX, Rendered, quote_name};

use std::fmt;

use forebay_base::Value;

use crate::param::Param;

/// One chain of `db()`.
#[derive(Clone, Debug, Default)]
pub struct Query<'a> {
    /// `table` or `schema.table`; each part is quoted.
    pub table: &'a str,
    /// Another name for it in this statement.
    pub alias: Option<&'a str>,
    /// Further tables, in the order in which lambdas take their rows.
    pub joins: Vec<Join<'a>>,
    /// What to do.
    pub verb: Verb<'a>,
    /// Columns of get and first; empty or `*` is all.
    pub select: Vec<Item<'a>>,
    /// Equal rows count once.
    pub distinct: bool,
    /// Conditions; [`Where::or`] says how each is combined with those before it.
    pub wheres: Vec<Where<'a>>,
    /// Groups of rows.
    pub group: Vec<Item<'a>>,
    /// Conditions on groups.
    pub having: Vec<Where<'a>>,
    /// Sort keys, the first is the most significant.
    pub order: Vec<Order<'a>>,
    /// At most this many rows; a non-negative integer.
    pub limit: Option<Param<'a>>,
    /// Skips this many rows; a non-negative integer.
    pub offset: Option<Param<'a>>,
    /// Columns that insert, update and delete return; `*` is all; empty: they return a count.
    pub returning: Vec<Item<'a>>,
    /// What an insert does with a row that is there already.
    pub conflict: Option<Conflict<'a>>,
    /// The author's word that update or delete means every row.
    pub all: bool,
}

/// One more table.
#[derive(Clone, Debug)]
pub struct Join<'a> {
    /// Rows without a match stay, with nulls.
    pub left: bool,
    /// `table` or `schema.table`.
    pub table: &'a str,
    /// Another name for it in this statement.
    pub alias: Option<&'a str>,
    /// Which of its rows belong to which.
    pub on: On<'a>,
}

/// The condition of a join.
#[derive(Clone, Debug)]
pub enum On<'a> {
    /// Two columns that are equal.
    Columns(&'a str, &'a str),
    /// A compiled lambda. Columns compare as SQL does: null joins nothing.
    Predicate(Tree<'a>),
}

/// A compiled lambda: docs/formats/predicate.md.
#[derive(Clone, Debug)]
pub struct Tree<'a> {
    /// Condition or operand.
    pub tree: &'a Value,
    /// Values that the lambda captured, by their index in the tree.
    pub captured: Vec<Param<'a>>,
}

/// Something to select, group by or return.
#[derive(Clone, Debug)]
pub enum Item<'a> {
    /// `column`, `table.column`, `table.*`, `*`, each perhaps with ` as name`.
    Column(&'a str),
    /// An expression, with the name that its column gets.
    Expression(Tree<'a>, Option<&'a str>),
}

/// `onConflict`.
#[derive(Clone, Debug)]
pub struct Conflict<'a> {
    /// Columns of the unique index; empty: any.
    pub columns: Vec<&'a str>,
    /// What happens with the row.
    pub action: ConflictAction<'a>,
}

/// What an insert does with a row that is there already.
#[derive(Clone, Debug)]
pub enum ConflictAction<'a> {
    /// The row that is there stays as it is.
    Ignore,
    /// All columns of the insert but the index's own are overwritten.
    Update,
    /// These are overwritten with the values of the insert.
    Columns(Vec<&'a str>),
    /// These get these values.
    Set(Vec<(&'a str, Param<'a>)>),
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
    /// `count`, `sum`, `avg`, `min` or `max` of a column: [`crate::Shape::Scalar`], but for `count` null for no rows.
    Aggregate {
        /// Which.
        function: Aggregate,
        /// Of what.
        column: &'a str,
    },
    /// Inserts rows. Without `returning`: [`crate::Shape::Affected`]; with it, `First` for one row that was
    /// given as an object, else `Rows`.
    Insert {
        /// Column names, the keys of all objects in the order in which they first appear.
        columns: Vec<&'a str>,
        /// Values, row after row; `columns.len() * rows` of them. `None`: the object has no such key, the column gets its
        /// default.
        values: Vec<Option<Param<'a>>>,
        /// Number of rows. With no columns, a row is all defaults, and there is one.
        rows: usize,
        /// True if the script gave a list of objects.
        list: bool,
    },
    /// Sets columns: `Affected`, or with `returning`, `Rows`.
    Update {
        /// Columns and their new values.
        set: Vec<(&'a str, Set<'a>)>,
    },
    /// Deletes rows: `Affected`, or with `returning`, `Rows`.
    Delete,
}

/// What a column is set to.
#[derive(Clone, Debug)]
pub enum Set<'a> {
    /// A value.
    Value(Param<'a>),
    /// An expression over the row as it is: `update(r => ({ n: r.n + 1 }))`.
    Expression(Tree<'a>),
}

/// Functions of [`Verb::Aggregate`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aggregate {
    /// How many are not null.
    Count,
    /// The sum.
    Sum,
    /// The mean.
    Avg,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// A condition and how it is combined with those before it: `((a AND b) OR c) AND d`, from left to right.
#[derive(Clone, Debug)]
pub struct Where<'a> {
    /// It suffices.
    pub or: bool,
    /// What must hold.
    pub condition: Condition<'a>,
}

/// One condition.
#[derive(Clone, Debug)]
pub enum Condition<'a> {
    /// `where(column, value)` (operator `=`) and `where(column, operator, value)`.
    Compare {
        /// Column, or `table.column`.
        column: &'a str,
        /// One of [`OPERATORS`].
        operator: &'a str,
        /// Right-hand side.
        value: Param<'a>,
    },
    /// `isNull(column)`, `notNull(column)`.
    Null {
        /// Column, or `table.column`.
        column: &'a str,
        /// Whether null is wanted.
        is: bool,
    },
    /// `between(column, low, high)`, both included.
    Between {
        /// Column, or `table.column`.
        column: &'a str,
        /// Smallest value.
        low: Param<'a>,
        /// Largest value.
        high: Param<'a>,
    },
    /// All of these.
    All(Vec<Condition<'a>>),
    /// A compiled lambda.
    Predicate(Tree<'a>),
}

/// Operators of a pair. `in` and `not in` take a list.
pub const OPERATORS: [&str; 14] =
    ["=", "==", "!=", "<>", "<", "<=", ">", ">=", "like", "ilike", "not like", "not ilike", "in", "not in"];

/// One sort key.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// What is compared.
    pub by: Item<'a>,
    /// One of [`DIRECTIONS`].
    pub direction: &'a str,
}

/// Directions of a sort key.
pub const DIRECTIONS: [&str; 6] =
    ["asc", "desc", "asc nulls first", "asc nulls last", "desc nulls first", "desc nulls last"];

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
