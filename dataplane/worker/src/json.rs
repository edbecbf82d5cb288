//! A value as JSON text, for the bodies of outbound requests. (Answers to clients are
//! written by the machine itself, straight from its arena.)

use std::io::Write as _;

use forebay_base::{ValueError, ValueSink};

/// Writes one value. What JSON doesn't have becomes what `JSON.stringify` makes of it, or text.
#[derive(Debug, Default)]
pub(crate) struct JsonWriter {
    out: Vec<u8>,
    /// Of each open list or map: whether it has an element already.
    open: Vec<bool>,
    after_key: bool,
}

impl JsonWriter {
    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }

    fn separate(&mut self) {
        if self.after_key {
            self.after_key = false;
        } else if let Some(begun) = self.open.last_mut() {
            if *begun {
                self.out.push(b',');
            }
            *begun = true;
        }
    }

    fn raw(&mut self, text: &str) -> Result<(), ValueError> {
        self.separate();
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.out.push(b'"');
        for byte in text.bytes() {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                0..0x20 => {
                    let _ = write!(self.out, "\\u{byte:04x}");
                }
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }

    fn begin(&mut self, bracket: u8) -> Result<(), ValueError> {
        if self.open.len() >= forebay_base::limits::VALUE_DEPTH_MAX {
            return Err(ValueError::TooDeep);
        }
        self.separate();
        self.out.push(bracket);
        self.open.push(false);
        Ok(())
    }

    fn end(&mut self, bracket: u8) -> Result<(), ValueError> {
        self.open.pop();
        self.out.push(bracket);
        Ok(())
    }
}

impl ValueSink for JsonWriter {
    fn undefined(&mut self) -> Result<(), ValueError> {
        self.raw("null")
    }
    fn null(&mut self) -> Result<(), ValueError> {
        self.raw("null")
    }
    fn bool(&mut self, value: bool) -> Result<(), ValueError> {
        self.raw(if value { "true" } else { "false" })
    }
    fn int(&mut self, value: i64) -> Result<(), ValueError> {
        self.separate();
        let _ = write!(self.out, "{value}");
        Ok(())
    }
    fn float(&mut self, value: f64) -> Result<(), ValueError> {
        if !value.is_finite() {
            return self.null();
        }
        self.separate();
        let _ = write!(self.out, "{value}");
        Ok(())
    }
    fn big_int(&mut self, digits: &str) -> Result<(), ValueError> {
        self.raw(digits)
    }
    fn decimal(&mut self, digits: &str) -> Result<(), ValueError> {
        if digits.ends_with(|c: char| c.is_ascii_digit()) { self.raw(digits) } else { self.str(digits) }
    }
    fn str(&mut self, value: &str) -> Result<(), ValueError> {
        self.separate();
        self.text(value);
        Ok(())
    }
    fn bytes(&mut self, _: &[u8]) -> Result<(), ValueError> {
        Err(ValueError::Unsupported("a byte string in JSON"))
    }
    fn timestamp(&mut self, _: i64) -> Result<(), ValueError> {
        Err(ValueError::Unsupported("a Date in the body of a request (use .text())"))
    }
    fn begin_list(&mut self, _: Option<usize>) -> Result<(), ValueError> {
        self.begin(b'[')
    }
    fn end_list(&mut self) -> Result<(), ValueError> {
        self.end(b']')
    }
    fn begin_map(&mut self, _: Option<usize>) -> Result<(), ValueError> {
        self.begin(b'{')
    }
    fn key(&mut self, key: &str) -> Result<(), ValueError> {
        self.separate();
        self.text(key);
        self.out.push(b':');
        self.after_key = true;
        Ok(())
    }
    fn end_map(&mut self) -> Result<(), ValueError> {
        self.end(b'}')
    }
    fn begin_row(&mut self, _: &[Box<str>]) -> Result<(), ValueError> {
        // Rows come from SQL results; a script's value has none.
        Err(ValueError::Unsupported("a row"))
    }
    fn end_row(&mut self) -> Result<(), ValueError> {
        Err(ValueError::Unsupported("a row"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_base::{Value, ValueSource as _};

    #[test]
    fn values_become_json() {
        let value = Value::Map(vec![
            ("a\n\"".into(), Value::List(vec![1.into(), Value::Float(1.5), Value::Null, "é\u{1}".into()])),
            ("b".into(), Value::Map(vec![])),
            ("c".into(), Value::Decimal("1.20".into())),
        ]);
        let mut writer = JsonWriter::default();
        value.emit(&mut writer).unwrap();
        let text = String::from_utf8(writer.finish()).unwrap();
        assert_eq!(text, r#"{"a\n\"":[1,1.5,null,"é\u0001"],"b":{},"c":1.20}"#);
    }
}
