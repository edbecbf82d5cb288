//! What can go wrong with a query, by who must act: the caller's data (400), the
//! script's limits (500), the statement (500), the database's absence (503).

use std::fmt;

use forebay_base::ValueError;

/// An ErrorResponse or NoticeResponse (manual: "Error and Notice Message Fields").
/// Fields that the server left out are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    /// `ERROR`, `FATAL`, `PANIC`, `WARNING`, `NOTICE`, ...: never localized (field V).
    pub severity: Box<str>,
    /// SQLSTATE, five characters (field C; manual: "PostgreSQL Error Codes").
    pub code: Box<str>,
    /// Primary message (M).
    pub message: Box<str>,
    /// Detail (D).
    pub detail: Box<str>,
    /// Hint (H).
    pub hint: Box<str>,
    /// Position in the statement's text, in characters from 1; 0 if absent (P).
    pub position: u32,
    /// Context, such as the stack of PL/pgSQL functions (W).
    pub context: Box<str>,
    /// Schema (s).
    pub schema: Box<str>,
    /// Table (t).
    pub table: Box<str>,
    /// Column (c).
    pub column: Box<str>,
    /// Data type (d).
    pub data_type: Box<str>,
    /// Constraint (n).
    pub constraint: Box<str>,
    /// Source routine of the server (R): the one field that names a cause independent of language.
    pub routine: Box<str>,
}

impl ServerError {
    /// True for the classes after which the server ends the connection.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(&*self.severity, "FATAL" | "PANIC")
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.severity, self.code, self.message)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        if !self.hint.is_empty() {
            write!(f, " (hint: {})", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for ServerError {}

/// A parameter that doesn't fit the SQL type which the statement gives it. The
/// worker answers 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterError {
    /// Number of the parameter, `$1` is 1; 0 where the server didn't say which one.
    pub index: u16,
    /// Name of the SQL type, such as `int4`; empty where the server's message has it.
    pub type_name: Box<str>,
    /// What is wrong with the value. Never the value itself: it may be a secret.
    pub reason: Box<str>,
}

impl fmt::Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.index == 0 {
            return write!(f, "parameter: {}", self.reason);
        }
        if self.type_name.is_empty() {
            return write!(f, "parameter ${}: {}", self.index, self.reason);
        }
        write!(f, "parameter ${}: invalid input for type {}: {}", self.index, self.type_name, self.reason)
    }
}

impl std::error::Error for ParameterError {}

/// Why a query has no result.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryError {
    /// The server refused or aborted the statement. Nothing of it took effect.
    Server(Box<ServerError>),
    /// A value can't be a parameter of this statement: the client's fault, 400.
    Parameter(Box<ParameterError>),
    /// Fewer or more values than the statement has parameters: the script's fault.
    Values {
        /// Parameters of the statement.
        wanted: usize,
        /// Values that it was given.
        got: usize,
    },
    /// The receiver refused the result (arena budget, depth). The statement itself took effect.
    Value(ValueError),
    /// The result is longer than `DatabaseLimits::result_bytes`. The statement itself took effect.
    ResultTooLarge {
        /// The bound, in bytes.
        limit: usize,
    },
    /// Never sent: no connection, no place in time, the queue is full. Safe to retry: 503.
    Unavailable(Box<str>),
    /// More statements at once than the connection of one transaction takes: its own doing, another time is no better.
    Crowded(&'static str),
    /// The connection died while the query was in flight. A read can be retried; of a write nobody
    /// knows whether it took effect.
    Lost {
        /// True if the statement may have changed data.
        unknown_outcome: bool,
        /// What ended the connection.
        cause: Box<str>,
    },
    /// The statement isn't allowed here (BEGIN on a shared connection, COPY): the script's fault.
    Refused(&'static str),
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(e) => e.fmt(f),
            Self::Parameter(e) => e.fmt(f),
            Self::Values { wanted, got } => {
                let s = if *wanted == 1 { "" } else { "s" };
                write!(
                    f,
                    "the statement has {wanted} parameter{s}, got {got} value{}",
                    if *got == 1 { "" } else { "s" }
                )
            }
            Self::Value(e) => write!(f, "result: {e}"),
            Self::ResultTooLarge { limit } => write!(f, "result is longer than {limit} bytes"),
            Self::Unavailable(why) => write!(f, "database unavailable: {why}"),
            Self::Crowded(why) => write!(f, "database unavailable: {why}"),
            Self::Lost { unknown_outcome: true, cause } => {
                write!(f, "database connection lost, whether the statement took effect is unknown: {cause}")
            }
            Self::Lost { unknown_outcome: false, cause } => {
                write!(f, "database connection lost: {cause}")
            }
            Self::Refused(why) => write!(f, "statement refused: {why}"),
        }
    }
}

impl std::error::Error for QueryError {}

impl From<ServerError> for QueryError {
    fn from(error: ServerError) -> Self {
        Self::Server(Box::new(error))
    }
}

impl From<ParameterError> for QueryError {
    fn from(error: ParameterError) -> Self {
        Self::Parameter(Box::new(error))
    }
}
