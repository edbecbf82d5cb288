//! How a task ended: its answer as HTTP would have it, or its error. Kept in `result` until it expires.

use forebay_base::value::ValueBuilder;
use forebay_base::value::codec;
use forebay_base::{Value, ValueSource};

use crate::state::BadRecord;

/// The end of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What the handler returned.
    Answer {
        /// 200 to 599.
        status: u16,
        /// None: no body.
        content_type: Option<Box<str>>,
        /// Header fields that the script set.
        headers: Vec<(Box<str>, Box<str>)>,
        /// The body.
        body: Vec<u8>,
    },
    /// Why there is none.
    Failed(Failure),
    /// Someone ended it.
    Cancelled,
}

/// An error that ended a task.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Failure {
    /// Stable: `script_error`, `fuel_exhausted`, ...
    pub code: Box<str>,
    /// `TypeError`, ...; empty for limits.
    pub name: Box<str>,
    /// For people.
    pub message: Box<str>,
    /// `at name (file:line:column)` lines.
    pub stack: Box<str>,
}

impl Outcome {
    /// The record's bytes.
    ///
    /// # Errors
    /// If the body is larger than a value of the store may be.
    pub fn encode(&self) -> Result<Vec<u8>, forebay_base::ValueError> {
        let text = |text: &str| Value::Str(text.into());
        let map = match self {
            Self::Answer { status, content_type, headers, body } => {
                let pair = |(name, value): &(Box<str>, Box<str>)| Value::List(vec![text(name), text(value)]);
                Value::Map(vec![
                    ("status".into(), Value::Int(i64::from(*status))),
                    ("type".into(), content_type.as_deref().map_or(Value::Null, text)),
                    ("headers".into(), Value::List(headers.iter().map(pair).collect())),
                    ("body".into(), Value::Bytes(body.as_slice().into())),
                ])
            }
            Self::Failed(failure) => Value::Map(vec![
                ("code".into(), text(&failure.code)),
                ("name".into(), text(&failure.name)),
                ("message".into(), text(&failure.message)),
                ("stack".into(), text(&failure.stack)),
            ]),
            Self::Cancelled => Value::Map(Vec::new()),
        };
        codec::encode(&map as &dyn ValueSource)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`BadRecord`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let bad = || BadRecord("result");
        let mut builder = ValueBuilder::default();
        codec::decode(bytes, &mut builder).map_err(|_| bad())?;
        let map = builder.finish().ok_or_else(bad)?;
        let text = |value: Option<&Value>| -> Result<Box<str>, BadRecord> {
            value.and_then(Value::as_str).map(Into::into).ok_or_else(bad)
        };
        if let Some(code) = map.get("code") {
            return Ok(Self::Failed(Failure {
                code: text(Some(code))?,
                name: text(map.get("name"))?,
                message: text(map.get("message"))?,
                stack: text(map.get("stack"))?,
            }));
        }
        let Some(status) = map.get("status") else { return Ok(Self::Cancelled) };
        let Value::Int(status) = status else { return Err(bad()) };
        let status = u16::try_from(*status).ok().filter(|s| (200..600).contains(s)).ok_or_else(bad)?;
        let mut headers = Vec::new();
        for pair in map.get("headers").and_then(Value::as_list).ok_or_else(bad)? {
            let [name, value] = pair.as_list().ok_or_else(bad)? else { return Err(bad()) };
            headers.push((text(Some(name))?, text(Some(value))?));
        }
        let content_type = match map.get("type") {
            Some(Value::Null) => None,
            other => Some(text(other)?),
        };
        let Some(Value::Bytes(body)) = map.get("body") else { return Err(bad()) };
        Ok(Self::Answer { status, content_type, headers, body: body.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_come_back() {
        for outcome in [
            Outcome::Answer {
                status: 201,
                content_type: Some("application/json".into()),
                headers: vec![("X-A".into(), "b".into())],
                body: b"{}".to_vec(),
            },
            Outcome::Answer { status: 204, content_type: None, headers: vec![], body: vec![] },
            Outcome::Failed(Failure {
                code: "script_error".into(),
                message: "no".into(),
                ..Failure::default()
            }),
            Outcome::Cancelled,
        ] {
            let bytes = outcome.encode().unwrap();
            assert_eq!(Outcome::decode(&bytes), Ok(outcome));
            for at in 0..bytes.len() {
                assert!(Outcome::decode(&bytes[..at]).is_err());
            }
        }
    }
}
