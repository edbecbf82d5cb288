//! Error answers as problem details (RFC 9457, `application/problem+json`).
//!
//! `{"title":"Not Found","status":404,"code":"no_route","detail":"..."}`. There is
//! no `type`: it means `about:blank`, whose title is the status' phrase. `code` is
//! our extension member: stable, for programs; `detail` is for people.

use crate::date::DateCache;
use crate::method::reason;
use crate::response::{Reply, ResponseWriter};

/// One error answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem<'a> {
    /// Status code, 400 to 599.
    pub status: u16,
    /// Stable name, snake_case.
    pub code: &'a str,
    /// What happened to this request; may be empty.
    pub detail: &'a str,
    /// Retry-After, seconds (RFC 9110 section 10.2.3); for 503 and 429.
    pub retry_after_s: Option<u32>,
    /// Allow, as `GET, HEAD` (RFC 9110 section 10.2.1); 405 must have it.
    pub allow: Option<&'a str>,
}

impl<'a> Problem<'a> {
    /// A problem without extra headers.
    #[must_use]
    pub const fn new(status: u16, code: &'a str, detail: &'a str) -> Self {
        Self { status, code, detail, retry_after_s: None, allow: None }
    }

    /// 404: no route has this path.
    #[must_use]
    pub const fn not_found() -> Problem<'static> {
        Problem::new(404, "no_route", "nothing is served under this path")
    }

    /// 405: the path has routes, none for this method. `allow` as `GET, HEAD`.
    #[must_use]
    pub const fn method_not_allowed(allow: &'a str) -> Self {
        let mut problem = Self::new(405, "method_not_allowed", "this path does not answer this method");
        problem.allow = Some(allow);
        problem
    }

    /// 503 with Retry-After: a queue, a pool or the database is full or away.
    #[must_use]
    pub const fn unavailable(code: &'a str, detail: &'a str, retry_after_s: u32) -> Self {
        let mut problem = Self::new(503, code, detail);
        problem.retry_after_s = Some(retry_after_s);
        problem
    }

    /// Appends the whole answer to a connection's output.
    pub fn write(&self, out: &mut Vec<u8>, reply: Reply, date: &DateCache) {
        let mut response = ResponseWriter::new(out, reply, self.status, date);
        response.content_type("application/problem+json");
        if let Some(seconds) = self.retry_after_s {
            response.header_int("Retry-After", u64::from(seconds));
        }
        if let Some(allow) = self.allow {
            // Our own list of method names: always a valid value.
            let _ = response.header("Allow", allow.as_bytes());
        }
        let mut body = response.begin_body();
        self.write_json(body.out());
        body.finish();
    }

    /// Appends the JSON object alone.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"title\":");
        let title = reason(self.status);
        write_json_str(out, if title.is_empty() { "Error" } else { title });
        out.extend_from_slice(b",\"status\":");
        out.extend_from_slice(itoa::Buffer::new().format(self.status).as_bytes());
        out.extend_from_slice(b",\"code\":");
        write_json_str(out, self.code);
        if !self.detail.is_empty() {
            out.extend_from_slice(b",\"detail\":");
            write_json_str(out, self.detail);
        }
        out.push(b'}');
    }
}

/// Appends `text` as a JSON string (RFC 8259 section 7).
fn write_json_str(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            0..=0x1f => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
