//! A rendered statement that waits for its values: what a cache of shapes keeps.
//!
//! Two chains of the same shape give the same text, and their values stand in the same places. Who keeps [`Plan`]s
//! builds the query once with [`leaf`]s in place of values (null, lists, those with a null, maps, booleans and undefined keep
//! their kind: the text depends on it), and later only puts values where [`Source::Leaf`] says.

use forebay_base::Value;

use super::{BuilderError, Query};
use crate::param::Param;
use crate::query::{Access, Shape, hash_text};

/// Leaves are dates before any that PostgreSQL has; literals of a tree are never dates. Those of each [`Number`] have a
/// range of their own behind the others'.
const FIRST: i64 = i64::MIN;
/// Leaves of one plan.
const LEAVES_MAX: i64 = 65_536;

/// What is known of a number before its value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Number {
    /// A whole one within 32 bits.
    Short,
    /// A whole one within 64 bits.
    Long,
    /// Any other.
    Fraction,
}

impl Number {
    const ALL: [Self; 3] = [Self::Short, Self::Long, Self::Fraction];

    /// What a Number of a script is; `None` if it is no number at all or infinite.
    #[must_use]
    pub fn of(value: f64) -> Option<Self> {
        match value {
            _ if !value.is_finite() => None,
            _ if value.fract() != 0.0 || value.abs() > 9_007_199_254_740_992.0 => Some(Self::Fraction),
            _ if value.abs() < 2_147_483_648.0 => Some(Self::Short),
            _ => Some(Self::Long),
        }
    }

    /// Of a parameter.
    pub(super) fn of_param(param: &Param<'_>) -> Option<Self> {
        match param {
            Param::Int(value) => Some(if i32::try_from(*value).is_ok() { Self::Short } else { Self::Long }),
            Param::Float(value) => Self::of(*value),
            Param::Digits(_) => Some(Self::Fraction),
            Param::Timestamp(micros) => {
                let range = micros.checked_sub(FIRST)?.checked_div(LEAVES_MAX)?.checked_sub(1)?;
                usize::try_from(range).ok().and_then(|range| Self::ALL.get(range)).copied()
            }
            _ => None,
        }
    }
}

/// Stands for value `number` of a query.
#[must_use]
pub fn leaf(number: u16) -> Value {
    Value::Timestamp(FIRST + i64::from(number))
}

/// Stands for value `number` of a query, which is a number.
#[must_use]
pub fn number_leaf(number: u16, what: Number) -> Value {
    let range = match what {
        Number::Short => 1,
        Number::Long => 2,
        Number::Fraction => 3,
    };
    Value::Timestamp(FIRST + range * LEAVES_MAX + i64::from(number))
}

/// The number of a leaf.
pub(super) fn number_of(param: &Param<'_>) -> Option<u16> {
    let micros = match param {
        Param::Timestamp(micros) => *micros,
        Param::List([Value::Timestamp(micros)] | [Value::Timestamp(micros), Value::Null]) => *micros,
        Param::Map([(_, Value::Timestamp(micros))]) => *micros,
        _ => return None,
    };
    (micros < FIRST + 4 * LEAVES_MAX).then(|| u16::try_from((micros - FIRST) % LEAVES_MAX).ok()).flatten()
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
