//! JSON from outside as a value: bodies of signals and completions, results of tasks.

use forebay_base::Value;
use forebay_base::limits::VALUE_DEPTH_MAX;

/// A JSON text; none if it isn't one, or nested too deep. Integers keep all digits of 64 bits.
pub(crate) fn parse(text: &[u8]) -> Option<Value> {
    value(&serde_json::from_slice(text).ok()?, 0)
}

fn value(json: &serde_json::Value, depth: usize) -> Option<Value> {
    use serde_json::Value as Json;
    if depth > VALUE_DEPTH_MAX {
        return None;
    }
    Some(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::BigInt(number.to_string().into()),
            (None, None) => Value::Float(number.as_f64()?),
        },
        Json::String(text) => Value::Str(text.as_str().into()),
        Json::Array(items) => {
            Value::List(items.iter().map(|item| value(item, depth + 1)).collect::<Option<_>>()?)
        }
        Json::Object(fields) => Value::Map(
            fields
                .iter()
                .map(|(name, item)| Some((name.as_str().into(), value(item, depth + 1)?)))
                .collect::<Option<_>>()?,
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_becomes_values_or_nothing() {
        assert_eq!(
            parse(br#"{"a":[1,-2,1.5,true,null,"x",18446744073709551615]}"#),
            Some(Value::Map(vec![(
                "a".into(),
                Value::List(vec![
                    Value::Int(1),
                    Value::Int(-2),
                    Value::Float(1.5),
                    Value::Bool(true),
                    Value::Null,
                    "x".into(),
                    Value::BigInt("18446744073709551615".into()),
                ])
            )]))
        );
        for bad in [&b""[..], b"{", b"nope", b"\xff", b"1 2"] {
            assert_eq!(parse(bad), None);
        }
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        assert_eq!(parse(&deep), None);
    }
}
