//! json text into a sink (RFC 8259, strict), and a value as json text.
//!
//! Integers stay exact: within 64 bits [`ValueSink::int`], beyond [`ValueSink::big_int`]; a number with a fraction
//! or an exponent is a double, as in a script.

use std::fmt::Write;

use forebay_base::limits::VALUE_DEPTH_MAX;
use forebay_base::{Value, ValueError, ValueSink};

use super::calendar;

/// Parses one json text and pushes it into `sink`.
///
/// # Errors
/// [`ValueError::Malformed`] with the offset of the byte that can't be, [`ValueError::TooDeep`], or what the sink
/// refuses.
pub fn parse(bytes: &[u8], sink: &mut dyn ValueSink) -> Result<(), ValueError> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => return Err(ValueError::Malformed { offset: e.valid_up_to(), expected: "UTF-8" }),
    };
    let mut parser = Parser { text, at: 0, scratch: String::new() };
    parser.space();
    parser.value(sink, 0)?;
    parser.space();
    if parser.at == text.len() { Ok(()) } else { Err(parser.expected("the end of the json text")) }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    /// Unescaped strings.
    scratch: String,
}

impl<'t> Parser<'t> {
    fn expected(&self, expected: &'static str) -> ValueError {
        ValueError::Malformed { offset: self.at, expected }
    }

    fn peek(&self) -> u8 {
        // 0 stands for the end: a NUL byte is nowhere valid in json.
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn value(&mut self, sink: &mut dyn ValueSink, depth: usize) -> Result<(), ValueError> {
        match self.peek() {
            b'{' | b'[' if depth >= VALUE_DEPTH_MAX => Err(ValueError::TooDeep),
            b'{' => self.map(sink, depth),
            b'[' => self.list(sink, depth),
            b'"' => sink.str(self.string()?),
            b'-' | b'0'..=b'9' => self.number(sink),
            _ => {
                for (word, bool) in [("true", Some(true)), ("false", Some(false)), ("null", None)] {
                    if self.text[self.at..].starts_with(word) {
                        self.at += word.len();
                        return match bool {
                            Some(value) => sink.bool(value),
                            None => sink.null(),
                        };
                    }
                }
                Err(self.expected("a json value"))
            }
        }
    }

    fn map(&mut self, sink: &mut dyn ValueSink, depth: usize) -> Result<(), ValueError> {
        self.at += 1;
        sink.begin_map(None)?;
        self.space();
        if self.peek() != b'}' {
            loop {
                if self.peek() != b'"' {
                    return Err(self.expected("a key"));
                }
                sink.key(self.string()?)?;
                self.space();
                if self.peek() != b':' {
                    return Err(self.expected("\":\""));
                }
                self.at += 1;
                self.space();
                self.value(sink, depth + 1)?;
                self.space();
                match self.peek() {
                    b',' => self.at += 1,
                    b'}' => break,
                    _ => return Err(self.expected("\",\" or \"}\"")),
                }
                self.space();
            }
        }
        self.at += 1;
        sink.end_map()
    }

    fn list(&mut self, sink: &mut dyn ValueSink, depth: usize) -> Result<(), ValueError> {
        self.at += 1;
        sink.begin_list(None)?;
        self.space();
        if self.peek() != b']' {
            loop {
                self.value(sink, depth + 1)?;
                self.space();
                match self.peek() {
                    b',' => self.at += 1,
                    b']' => break,
                    _ => return Err(self.expected("\",\" or \"]\"")),
                }
                self.space();
            }
        }
        self.at += 1;
        sink.end_list()
    }

    fn number(&mut self, sink: &mut dyn ValueSink) -> Result<(), ValueError> {
        let start = self.at;
        let mut integer = true;
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            integer = false;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            integer = false;
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        if integer && text != "-0" {
            return match text.parse() {
                Ok(value) => sink.int(value),
                Err(_) => sink.big_int(text),
            };
        }
        sink.float(text.parse().map_err(|_| self.expected("a number"))?)
    }

    fn digits(&mut self) -> Result<(), ValueError> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    /// A string, borrowed from the text where it has no escapes.
    fn string(&mut self) -> Result<&str, ValueError> {
        self.at += 1;
        let start = self.at;
        self.plain();
        if self.peek() == b'"' {
            let text: &'t str = &self.text[start..self.at];
            self.at += 1;
            return Ok(text);
        }
        self.scratch.clear();
        self.scratch.push_str(&self.text[start..self.at]);
        loop {
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(&self.scratch);
                }
                b'\\' => {
                    self.at += 1;
                    self.escape()?;
                }
                _ => return Err(self.expected("the rest of a string")),
            }
            let from = self.at;
            self.plain();
            self.scratch.push_str(&self.text[from..self.at]);
        }
    }

    /// Skips what stands for itself in a string.
    fn plain(&mut self) {
        while !matches!(self.peek(), 0..=0x1f | b'"' | b'\\') {
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Result<(), ValueError> {
        let escaped = match self.peek() {
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                let high = self.hex()?;
                let code = if (0xd800..0xdc00).contains(&high) && self.text[self.at..].starts_with("\\u") {
                    let back = self.at;
                    self.at += 2;
                    let low = self.hex()?;
                    if (0xdc00..0xe000).contains(&low) {
                        0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                    } else {
                        self.at = back;
                        high
                    }
                } else {
                    high
                };
                // Half a surrogate pair: json (not jsonb) keeps it, UTF-8 can't.
                self.scratch.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                return Ok(());
            }
            _ => return Err(self.expected("an escape")),
        };
        self.at += 1;
        self.scratch.push(escaped);
        Ok(())
    }

    fn hex(&mut self) -> Result<u32, ValueError> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).unwrap_or_default();
        let mut code = 0;
        for digit in digits {
            code = code * 16
                + char::from(*digit).to_digit(16).ok_or_else(|| self.expected("four hex digits"))?;
        }
        if digits.len() < 4 {
            return Err(self.expected("four hex digits"));
        }
        self.at += 4;
        Ok(code)
    }
}

/// Appends `value` as json text, as `JSON.stringify` does: undefined members are left out, undefined elements, NaN
/// and infinities are null. Decimals and big integers are digits, timestamps are RFC 3339 text.
///
/// # Errors
/// Bytes, and nesting beyond [`VALUE_DEPTH_MAX`].
pub fn write(out: &mut String, value: &Value, depth: usize) -> Result<(), ValueError> {
    match value {
        Value::Undefined | Value::Null => out.push_str("null"),
        Value::Bool(v) => out.push_str(if *v { "true" } else { "false" }),
        Value::Int(v) => {
            let _ = write!(out, "{v}");
        }
        Value::Float(v) if v.is_finite() => write_float(out, *v),
        Value::Float(_) => out.push_str("null"),
        Value::BigInt(v) | Value::Decimal(v) => {
            // NaN and Infinity have no digits.
            out.push_str(if v.ends_with(|c: char| c.is_ascii_digit()) { v } else { "null" });
        }
        Value::Str(v) => write_string(out, v),
        Value::Bytes(_) => return Err(ValueError::Unsupported("bytes in json")),
        Value::Timestamp(v) => {
            out.push('"');
            calendar::write_timestamp(out, *v);
            out.push('"');
        }
        Value::List(items) => write_list(out, items, depth)?,
        Value::Map(pairs) => write_map(out, pairs, depth)?,
    }
    Ok(())
}

/// Appends a list as json text; see [`write()`].
///
/// # Errors
/// As [`write()`].
pub fn write_list(out: &mut String, items: &[Value], depth: usize) -> Result<(), ValueError> {
    if depth >= VALUE_DEPTH_MAX {
        return Err(ValueError::TooDeep);
    }
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item, depth + 1)?;
    }
    out.push(']');
    Ok(())
}

/// Appends a map as json text; see [`write()`].
///
/// # Errors
/// As [`write()`].
pub fn write_map(out: &mut String, pairs: &[(Box<str>, Value)], depth: usize) -> Result<(), ValueError> {
    if depth >= VALUE_DEPTH_MAX {
        return Err(ValueError::TooDeep);
    }
    out.push('{');
    let mut first = true;
    for (key, value) in pairs.iter().filter(|(_, value)| *value != Value::Undefined) {
        if !first {
            out.push(',');
        }
        first = false;
        write_string(out, key);
        out.push(':');
        write(out, value, depth + 1)?;
    }
    out.push('}');
    Ok(())
}

/// Appends a string in quotes.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends a finite double in the shortest digits that read back as the same, with an exponent where plain digits
/// would be long.
pub(crate) fn write_float(out: &mut String, value: f64) {
    let magnitude = value.abs();
    let _ = if magnitude != 0.0 && !(1e-7..1e21).contains(&magnitude) {
        write!(out, "{value:e}")
    } else {
        write!(out, "{value}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_base::value::ValueBuilder;

    /// Parses and writes again; the text of an error where it fails.
    fn check(text: &str, expect: &str) {
        let mut builder = ValueBuilder::default();
        let got = match parse(text.as_bytes(), &mut builder) {
            Ok(()) => {
                let mut out = String::new();
                write(&mut out, &builder.finish().unwrap(), 0).unwrap();
                out
            }
            Err(e) => e.to_string(),
        };
        assert_eq!(got, expect, "{text:?}");
    }

    #[test]
    fn values_survive() {
        check(r#" {"a" : [1, -2.5, true, null, "x"], "b":{}} "#, r#"{"a":[1,-2.5,true,null,"x"],"b":{}}"#);
        check("[]", "[]");
        check("9223372036854775808", "9223372036854775808");
        check("-9223372036854775808", "-9223372036854775808");
        check("1e400", "null");
        check("-0", "-0");
        check(r#""\u00e9\ud83d\ude00\n\u0001\/""#, "\"\u{e9}\u{1f600}\\n\\u0001/\"");
        check(r#""\ud83dx""#, "\"\u{fffd}x\"");
        check(r#""\ud83d\u0041""#, "\"\u{fffd}A\"");
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "tru",
            "[1,]",
            "[1 2]",
            "{\"a\"}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\u{1}\"",
            "[1]]",
            "nul\0",
            "{\"a\":1,}",
            "--1",
            "\"\\u00",
        ] {
            let mut builder = ValueBuilder::default();
            assert!(parse(text.as_bytes(), &mut builder).is_err(), "{text:?}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(parse(deep.as_bytes(), &mut ValueBuilder::default()), Err(ValueError::TooDeep));
        assert!(parse(b"\"\xff\"", &mut ValueBuilder::default()).is_err());
    }
}
