//! What a connection, the pool and their callers have in common: the statement,
//! its token, what its result looks like, and who receives it.

use forebay_base::ValueSink;

use crate::error::{QueryError, ServerError};

/// Names a query for its caller; unique among the queries that are not done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Token(pub u64);

/// Whether a statement can change data, as far as its author says. Decides only
/// how the loss of its connection is reported, and whether one whose result is too large is told at once and cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Access {
    /// Known to only read.
    Read,
    /// May write: the default.
    #[default]
    Write,
}

/// A statement's text with its hash, computed once.
#[derive(Clone, Copy, Debug)]
pub struct Sql<'a> {
    /// One statement with `$1`, `$2`, ... for its parameters.
    pub text: &'a str,
    /// [`hash_text`] of `text`.
    pub hash: u64,
    /// What is known about its effects.
    pub access: Access,
}

impl<'a> Sql<'a> {
    /// A statement that may write.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { text, hash: hash_text(text), access: Access::Write }
    }

    /// A statement that only reads.
    #[must_use]
    pub fn read(text: &'a str) -> Self {
        Self { text, hash: hash_text(text), access: Access::Read }
    }
}

/// The key of the statement cache: eight bytes per step, multiply and fold. The
/// text itself is compared on every hit, so a collision costs time only.
#[must_use]
pub fn hash_text(text: &str) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    fn fold(a: u64, b: u64) -> u64 {
        let wide = u128::from(a ^ K) * u128::from(b ^ 0xe703_7ed1_a0b4_28db);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves are folded on purpose")]
        let folded = wide as u64 ^ (wide >> 64) as u64;
        folded
    }
    let mut hash = text.len() as u64;
    let (words, tail) = text.as_bytes().as_chunks::<8>();
    for word in words {
        hash = fold(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    fold(hash, u64::from_le_bytes(last))
}

/// The one value that a successful query pushes into its sink.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Shape {
    /// A list of rows; an empty list for a statement that returns none.
    #[default]
    Rows,
    /// The first row, or undefined.
    First,
    /// The first column of the first row, or undefined.
    Scalar,
    /// How many rows the command touched (its CommandComplete tag), as an integer; rows are dropped.
    Affected,
    /// A list of rows, each a list of its columns' values: of a COPY.
    Lists,
    /// What a COPY sends, as text.
    Text,
}

/// When rows are pushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Delivery {
    /// When the whole result is there: [`Receiver::sink`] is called once, and never for a query that
    /// fails on the server. The undecoded bytes wait in the connection, at most `result_bytes`.
    #[default]
    Whole,
    /// At the end of each batch of received bytes: the sink is asked for once per batch, and has to
    /// remember the open list in between. Nothing waits in the connection but an incomplete message.
    Streaming,
}

/// Who has the sinks: the worker, with its table of tasks.
pub trait Receiver {
    /// The sink of this query, or `None` if its task is gone (the rows are dropped).
    fn sink(&mut self, token: Token) -> Option<&mut dyn ValueSink>;
}

/// How a query ended well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Complete {
    /// Rows pushed into the sink.
    pub rows: u64,
    /// The number in the CommandComplete tag; 0 for commands without one.
    pub affected: u64,
    /// True if the statement has a result (a SELECT, or RETURNING), even an empty one.
    pub has_columns: bool,
}

/// A NotificationResponse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The channel's name.
    pub channel: Box<str>,
    /// Up to 8,000 bytes of text; may be empty.
    pub payload: Box<str>,
    /// Process of the server whose session sent it.
    pub process_id: u32,
}

/// What came out of a connection.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// The query is over. On `Ok` exactly one value was pushed into its sink (none for BEGIN, COMMIT, ROLLBACK). On an error with
    /// [`Delivery::Streaming`] the sink may hold an unfinished list, which the caller drops.
    Done {
        /// Which query.
        token: Token,
        /// Its end.
        result: Result<Complete, QueryError>,
    },
    /// A COPY has its connection and knows the types of its columns: [`crate::Pool::copy_in`], [`crate::Pool::copy_out`]
    /// or [`crate::Pool::abandon`] is due.
    Copy {
        /// Whose.
        token: Token,
    },
    /// The next rows of a COPY are wanted: [`crate::Pool::copy_more`].
    CopyMore {
        /// Whose.
        token: Token,
    },
    /// NOTIFY, on a channel that is listened to.
    Notification(Box<Notification>),
    /// All channels are listened to. `gap`: they were before, and what was sent in between is lost.
    Listening {
        /// Whether something may have been missed.
        gap: bool,
    },
    /// A warning or notice of the server, for the log.
    Notice(Box<ServerError>),
}
