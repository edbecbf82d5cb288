//! Parameter values, borrowed: integers and text reach the Bind message without
//! an allocation.

use forebay_base::Value;

/// One parameter as the script has it. [`crate::types::encode`] fits it to the
/// SQL type that the server gives the parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Param<'a> {
    /// `undefined`: always refused.
    Undefined,
    /// SQL NULL.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double. Fits an integer type if it is integral and within 2^53.
    Float(f64),
    /// An integer beyond 64 bits or an exact decimal: digits as in [`Value::Decimal`].
    Digits(&'a str),
    /// Text: parsed exactly into the parameter's SQL type.
    Str(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// A list: an array, or json.
    List(&'a [Value]),
    /// A map: json.
    Map(&'a [(Box<str>, Value)]),
}

impl Param<'_> {
    /// What a script would call it, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Digits(_) => "a decimal",
            Self::Str(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "a date",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }

    /// An owned copy, for a query that has to wait.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match *self {
            Self::Undefined => Value::Undefined,
            Self::Null => Value::Null,
            Self::Bool(v) => Value::Bool(v),
            Self::Int(v) => Value::Int(v),
            Self::Float(v) => Value::Float(v),
            Self::Digits(v) => Value::Decimal(v.into()),
            Self::Str(v) => Value::Str(v.into()),
            Self::Bytes(v) => Value::Bytes(v.into()),
            Self::Timestamp(v) => Value::Timestamp(v),
            Self::List(v) => Value::List(v.to_vec()),
            Self::Map(v) => Value::Map(v.to_vec()),
        }
    }
}

impl<'a> From<&'a Value> for Param<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Undefined => Self::Undefined,
            Value::Null => Self::Null,
            Value::Bool(v) => Self::Bool(*v),
            Value::Int(v) => Self::Int(*v),
            Value::Float(v) => Self::Float(*v),
            Value::BigInt(v) | Value::Decimal(v) => Self::Digits(v),
            Value::Str(v) => Self::Str(v),
            Value::Bytes(v) => Self::Bytes(v),
            Value::Timestamp(v) => Self::Timestamp(*v),
            Value::List(v) => Self::List(v),
            Value::Map(v) => Self::Map(v),
        }
    }
}

impl From<i64> for Param<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Param<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(value: &'a str) -> Self {
        Self::Str(value)
    }
}
