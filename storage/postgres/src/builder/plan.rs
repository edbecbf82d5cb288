//! A rendered statement that waits for its values: what a cache of shapes keeps.
//!
//! Two chains of the same shape give the same text, and their values stand in the same places. Who keeps [`Plan`]s
//! builds the query once with [`leaf`]s in place of values (null, lists, maps, booleans and undefined keep their
//! kind: the text depends on it), and later only puts values where [`Source::Leaf`] says.

use forebay_base::Value;

use super::{BuilderError, Query};
use crate::param::Param;
use crate::query::{Access, Shape, hash_text};

/// Leaves are dates before any that PostgreSQL has; literals of a tree are never dates.
const FIRST: i64 = i64::MIN;
/// Leaves of one plan.
const LEAVES_MAX: i64 = 65_536;

/// Stands for value `number` of a query.
#[must_use]
pub fn leaf(number: u16) -> Value {
    Value::Timestamp(FIRST + i64::from(number))
}

/// The number of a leaf.
pub(super) fn number_of(param: &Param<'_>) -> Option<u16> {
    let micros = match param {
        Param::Timestamp(micros) => *micros,
        Param::List([Value::Timestamp(micros)]) => *micros,
        Param::Map([(_, Value::Timestamp(micros))]) => *micros,
        _ => return None,
    };
    (micros < FIRST + LEAVES_MAX).then(|| u16::try_from(micros - FIRST).ok()).flatten()
}

/// Where a parameter comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Value of the chain, by its number.
    Leaf(u16),
    /// The same every time.
    Constant(Value),
}

/// A statement without its values.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its text.
    pub text: Box<str>,
    /// [`hash_text`] of it.
    pub hash: u64,
    /// The value that its result becomes.
    pub shape: Shape,
    /// Whether it writes.
    pub access: Access,
    /// Its parameters, in order.
    pub sources: Box<[Source]>,
}

impl Plan {
    /// Renders a query. `planned`: its values are leaves.
    ///
    /// # Errors
    /// As [`Query::render`]; the message may show a leaf where a value would be.
    pub fn of(query: &Query<'_>, planned: bool) -> Result<Self, BuilderError> {
        let (mut text, mut params) = (String::new(), Vec::new());
        let rendered = query.render(&mut text, &mut params)?;
        let mut plan = Self::raw(&text, params.into_iter(), planned);
        (plan.shape, plan.access) = (rendered.shape, rendered.access);
        Ok(plan)
    }

    /// A statement that was written by hand; it may write.
    pub fn raw<'p>(text: &str, params: impl Iterator<Item = Param<'p>>, planned: bool) -> Self {
        let source = |param: Param<'p>| match number_of(&param).filter(|_| planned) {
            Some(number) => Source::Leaf(number),
            None => Source::Constant(param.to_value()),
        };
        Self {
            hash: hash_text(text),
            text: text.into(),
            shape: Shape::Rows,
            access: Access::Write,
            sources: params.map(source).collect(),
        }
    }

    /// Another text for the same parameters.
    pub fn set_text(&mut self, text: String) {
        self.hash = hash_text(&text);
        self.text = text.into();
    }
}
