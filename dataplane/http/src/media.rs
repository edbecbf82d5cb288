//! Media types (RFC 9110 section 8.3.1): what a request's body is.

use crate::parse::is_token_byte;

/// A parsed Content-Type, borrowed from the field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'a> {
    /// `application` in `application/json`, as sent; compare without regard to case.
    pub kind: &'a str,
    /// `json` in `application/json`, as sent.
    pub subtype: &'a str,
    /// What follows the first `;`.
    parameters: &'a str,
}

impl<'a> MediaType<'a> {
    /// Parses a field value. `None`: not `type/subtype *( ; name=value )`; answer 415.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let value = std::str::from_utf8(value).ok()?;
        let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
        let (kind, subtype) = essence.trim_matches([' ', '\t']).split_once('/')?;
        let token = |text: &str| !text.is_empty() && text.bytes().all(is_token_byte);
        let parsed = Self { kind, subtype, parameters };
        (token(kind) && token(subtype) && parsed.parameters().all(|parameter| parameter.is_some()))
            .then_some(parsed)
    }

    /// Whether this is `kind/subtype`, whatever its parameters.
    #[must_use]
    pub const fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }

    /// `application/json`, or any type with the suffix `+json` (RFC 6839).
    #[must_use]
    pub fn is_json(&self) -> bool {
        let suffix = self.subtype.len().checked_sub(5).and_then(|at| self.subtype.get(at..));
        self.is("application", "json") || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
    }

    /// `application/x-www-form-urlencoded`.
    #[must_use]
    pub const fn is_form(&self) -> bool {
        self.is("application", "x-www-form-urlencoded")
    }

    /// A parameter's value without quotes; escapes inside quotes stay as they are.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters().flatten().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether text of this type is UTF-8: no charset, `utf-8` or `us-ascii`. Otherwise answer 415.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        self.parameter("charset").is_none_or(|charset| {
            ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
        })
    }

    /// Each parameter, or `None` for one that is malformed; empty ones (`;;`) are skipped.
    fn parameters(&self) -> impl Iterator<Item = Option<(&'a str, &'a str)>> + use<'a> {
        let mut rest = self.parameters;
        std::iter::from_fn(move || {
            rest = rest.trim_start_matches([' ', '\t', ';']);
            if rest.is_empty() {
                return None;
            }
            let parsed = parameter(rest);
            rest = parsed.map_or("", |(_, _, rest)| rest);
            Some(parsed.map(|(name, value, _)| (name, value)))
        })
    }
}

/// `name=value` or `name="value"` at the start, up to `;` or the end, and what follows.
fn parameter(text: &str) -> Option<(&str, &str, &str)> {
    let (name, value) = text.split_once('=')?;
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        return None;
    }
    let (value, rest) = match value.strip_prefix('"') {
        Some(quoted) => {
            let mut escaped = false;
            let end = quoted.bytes().position(|byte| {
                let ends = byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                ends
            })?;
            (&quoted[..end], &quoted[end + 1..])
        }
        None => {
            let end = value.bytes().position(|byte| !is_token_byte(byte)).unwrap_or(value.len());
            if end == 0 {
                return None;
            }
            value.split_at(end)
        }
    };
    let rest = rest.trim_start_matches([' ', '\t']);
    (rest.is_empty() || rest.starts_with(';')).then_some((name, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        let parse = |value: &'static str| MediaType::parse(value.as_bytes());
        let json = parse("Application/JSON; Charset=\"UTF-8\" ; x=y;").unwrap();
        assert!(json.is_json() && json.is_utf8() && !json.is_form());
        assert_eq!(
            (json.parameter("X"), json.parameter("charset"), json.parameter("z")),
            (Some("y"), Some("UTF-8"), None)
        );
        assert!(parse("application/problem+json").unwrap().is_json());
        assert!(!parse("application/jsonp").unwrap().is_json());
        assert!(parse("application/x-www-form-urlencoded").unwrap().is_form());
        assert!(!parse("text/plain; charset=latin1").unwrap().is_utf8());
        assert_eq!(
            parse(r#"multipart/form-data; boundary="a\";b""#).unwrap().parameter("boundary"),
            Some(r#"a\";b"#)
        );
        for bad in [
            "",
            "json",
            "/json",
            "application/",
            "a/b/c",
            "a b/c",
            "a/b; x",
            "a/b; =y",
            "a/b; x=",
            "a/b; x=\"y",
            "a/b; x=y z",
            "a/é",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
