//! Messages as bytes (manual: "Message Formats"). A message is `type: u8, length: i32 (itself included), body`;
//! the startup message alone has no type.

use crate::config::Config;
use crate::error::ServerError;

/// Messages other than DataRow. Longer ones end the connection.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Starts a message of `kind` in `out`; [`end`] takes the result.
pub(crate) fn begin(out: &mut Vec<u8>, kind: u8) -> usize {
    out.push(kind);
    out.extend_from_slice(&[0; 4]);
    out.len() - 4
}

/// Writes the length of the message that [`begin`] started.
pub(crate) fn end(out: &mut [u8], start: usize) {
    // Our own messages: a parameter is bounded by 2 GiB, and `encode` checks it.
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

pub(crate) fn cstr(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// StartupMessage, protocol 3.0 or 3.2.
///
/// The session's settings make text and binary forms mean the same: UTF-8, ISO dates, and UTC, in which a
/// `timestamp` without a zone is read as well.
pub(crate) fn startup(out: &mut Vec<u8>, config: &Config) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(3u32 << 16 | u32::from(config.protocol.1)).to_be_bytes());
    let settings = [
        ("user", config.user.as_str()),
        ("database", &config.database),
        ("application_name", &config.application_name),
        ("options", &config.options),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO"),
        ("TimeZone", "UTC"),
    ];
    for (key, value) in settings {
        if !value.is_empty() {
            cstr(out, key);
            cstr(out, value);
        }
    }
    out.push(0);
    end(out, start);
}

/// SSLRequest: the server answers with one byte, `S` or `N`.
pub(crate) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

pub(crate) fn cancel_request(out: &mut Vec<u8>, process_id: u32, secret: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&80_877_102u32.to_be_bytes());
    out.extend_from_slice(&process_id.to_be_bytes());
    out.extend_from_slice(secret);
    end(out, start);
}

pub(crate) fn password(out: &mut Vec<u8>, text: &str) {
    let start = begin(out, b'p');
    cstr(out, text);
    end(out, start);
}

pub(crate) fn sasl_initial(out: &mut Vec<u8>, mechanism: &str, data: &[u8]) {
    let start = begin(out, b'p');
    cstr(out, mechanism);
    out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(data);
    end(out, start);
}

pub(crate) fn sasl_response(out: &mut Vec<u8>, data: &[u8]) {
    let start = begin(out, b'p');
    out.extend_from_slice(data);
    end(out, start);
}

pub(crate) fn close_statement(out: &mut Vec<u8>, name: &str) {
    let start = begin(out, b'C');
    out.push(b'S');
    cstr(out, name);
    end(out, start);
}

pub(crate) fn parse(out: &mut Vec<u8>, name: &str, sql: &str) {
    let start = begin(out, b'P');
    cstr(out, name);
    cstr(out, sql);
    out.extend_from_slice(&0u16.to_be_bytes());
    end(out, start);
}

pub(crate) fn describe_portal(out: &mut Vec<u8>, name: &str) {
    let start = begin(out, b'D');
    out.push(b'P');
    cstr(out, name);
    end(out, start);
}

/// Execute of a named portal up to a number of rows, and Sync.
pub(crate) fn execute_portal(out: &mut Vec<u8>, name: &str, rows: u32) {
    let start = begin(out, b'E');
    cstr(out, name);
    out.extend_from_slice(&rows.to_be_bytes());
    end(out, start);
    sync(out);
}

/// Close of a portal, and Sync.
pub(crate) fn close_portal(out: &mut Vec<u8>, name: &str) {
    let start = begin(out, b'C');
    out.push(b'P');
    cstr(out, name);
    end(out, start);
    sync(out);
}

/// Parse, Describe, Sync. The types of all parameters are the server's to infer.
pub(crate) fn prepare(out: &mut Vec<u8>, name: &str, sql: &str) {
    parse(out, name, sql);
    let start = begin(out, b'D');
    out.push(b'S');
    cstr(out, name);
    end(out, start);
    sync(out);
}

pub(crate) fn execute_and_sync(out: &mut Vec<u8>) {
    let start = begin(out, b'E');
    cstr(out, "");
    out.extend_from_slice(&0u32.to_be_bytes());
    end(out, start);
    sync(out);
}

/// The Sync message.
pub(crate) const SYNC: [u8; 5] = *b"S\0\0\0\x04";

pub(crate) fn sync(out: &mut Vec<u8>) {
    out.extend_from_slice(&SYNC);
}

pub(crate) fn simple(out: &mut Vec<u8>, sql: &str) {
    let start = begin(out, b'Q');
    cstr(out, sql);
    end(out, start);
}

pub(crate) fn terminate(out: &mut Vec<u8>) {
    let start = begin(out, b'X');
    end(out, start);
}

/// A received message's type and its whole length in bytes, type included; `None` until five bytes are there.
/// `Err` for a length that can't be.
pub(crate) fn head(bytes: &[u8]) -> Option<Result<(u8, usize), &'static str>> {
    let (head, _) = bytes.split_first_chunk::<5>()?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length < 4 || length > i32::MAX as usize {
        return Some(Err("a message with an impossible length"));
    }
    Some(Ok((head[0], length + 1)))
}

/// Reads a body from the front; `None` where it ends too early.
pub(crate) struct Body<'b>(pub(crate) &'b [u8]);

impl<'b> Body<'b> {
    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        let (first, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*first))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*first))
    }

    /// Bytes up to a NUL, which is skipped.
    pub(crate) fn cstr(&mut self) -> Option<&'b [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(text)
    }

    /// As [`Body::cstr`], with what isn't UTF-8 replaced: before the session's encoding is set the server answers
    /// in its own.
    pub(crate) fn text(&mut self) -> Option<Box<str>> {
        self.cstr().map(|bytes| String::from_utf8_lossy(bytes).into())
    }
}

/// Body of an ErrorResponse or NoticeResponse.
pub(crate) fn server_error(body: &[u8]) -> Option<ServerError> {
    let mut error = ServerError::default();
    let mut body = Body(body);
    loop {
        let field = body.u8()?;
        if field == 0 {
            return Some(error);
        }
        let text = body.text()?;
        match field {
            // S is localized and comes first; V (9.6 and later) isn't.
            b'S' if error.severity.is_empty() => error.severity = text,
            b'V' => error.severity = text,
            b'C' => error.code = text,
            b'M' => error.message = text,
            b'D' => error.detail = text,
            b'H' => error.hint = text,
            b'P' => error.position = text.parse().unwrap_or(0),
            b'W' => error.context = text,
            b's' => error.schema = text,
            b't' => error.table = text,
            b'c' => error.column = text,
            b'd' => error.data_type = text,
            b'n' => error.constraint = text,
            b'R' => error.routine = text,
            _ => {}
        }
    }
}

/// The count in a CommandComplete tag: `INSERT 0 5`, `UPDATE 5`, `SELECT 5`; 0 without one.
pub(crate) fn tag_count(body: &[u8]) -> u64 {
    let tag = body.strip_suffix(&[0]).unwrap_or(body);
    let (mut count, mut scale) = (0u64, 1u64);
    for byte in tag.iter().rev() {
        match byte {
            b'0'..=b'9' => {
                let digit = u64::from(byte - b'0').checked_mul(scale);
                match digit.and_then(|digit| count.checked_add(digit)) {
                    Some(sum) => count = sum,
                    None => return 0,
                }
                scale = scale.saturating_mul(10);
            }
            b' ' => return count,
            _ => return 0,
        }
    }
    count
}

/// The BindComplete message.
pub(crate) const BIND_COMPLETE: [u8; 5] = *b"2\0\0\0\x04";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_counts_by_its_last_word() {
        let check = |tag: &str, expect: u64| {
            assert_eq!(tag_count(tag.as_bytes()), expect, "{tag:?}");
            assert_eq!(tag_count(format!("{tag}\0").as_bytes()), expect, "{tag:?}");
        };
        check("SELECT 1", 1);
        check("INSERT 0 1234567", 1_234_567);
        check("UPDATE 0", 0);
        check("COPY 18446744073709551615", u64::MAX);
        check("COPY 18446744073709551616", 0);
        check("COPY 99999999999999999999999", 0);
        check("CREATE TABLE", 0);
        check("X7", 0);
        check("X 7a", 0);
        check("SELECT ", 0);
        check("7", 7);
        check("", 0);
    }
}
