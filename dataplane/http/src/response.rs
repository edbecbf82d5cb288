//! Answers, written straight into a connection's output.
//!
//! ```text
//!   HTTP/1.1 200 OK\r\n                         new(status)
//!   Content-Type: application/json\r\n          content_type, header
//!   Content-Length:         27\r\n              body(bytes): exact; begin_body: a gap, patched by finish
//!   Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n
//!   Connection: close\r\n                       only where it says something (RFC 9112 section 9.3)
//!   \r\n
//!   {"id":7}                                    body, or BodyWriter::out(); nothing for HEAD, 204, 304
//! ```
//!
//! There is no `Server` field. Several answers may stand in one output (pipelining).
//! An answer that is dropped before its end, by a `?` or a failing serializer, is
//! taken back whole: the output never holds half an answer.

use std::fmt;

use crate::date::{DateCache, LENGTH_AT, LENGTH_DIGITS};
use crate::head::{Head, Version};
use crate::method::{Method, reason};
use crate::parse::is_token_byte;

/// What an answer has to know of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The version of the request.
    pub version: Version,
    /// The request was a HEAD: headers as for GET, no body.
    pub head: bool,
    /// The connection lives on after this answer.
    pub keep_alive: bool,
}

impl Reply {
    /// For a decoded request.
    #[must_use]
    #[inline]
    pub const fn to(head: &Head) -> Self {
        Self {
            version: head.version(),
            head: matches!(head.method(), Method::Head),
            keep_alive: head.keep_alive(),
        }
    }

    /// For a request that couldn't be decoded: HTTP/1.1 and close.
    #[must_use]
    pub const fn closing() -> Self {
        Self { version: Version::Http11, head: false, keep_alive: false }
    }

    /// The same, but the connection closes.
    #[must_use]
    pub const fn and_close(mut self) -> Self {
        self.keep_alive = false;
        self
    }
}

/// Why a header of the script's isn't written. The caller's fault, not the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// The name isn't a token.
    Name,
    /// The value has CR, LF, NUL or another control byte (response splitting).
    Value,
    /// The field belongs to the connection: Content-Length, Transfer-Encoding,
    /// Connection, Keep-Alive, Upgrade, Trailer, TE, Proxy-Connection.
    Reserved,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "a header name may only have letters, digits and !#$%&'*+-.^_`|~",
            Self::Value => "a header value must not have control characters",
            Self::Reserved => "this header is set by the server",
        })
    }
}

impl std::error::Error for HeaderError {}

/// Checks one header field: name a token and not reserved, value without control
/// bytes but HTAB.
pub fn check_header(name: &str, value: &[u8]) -> Result<(), HeaderError> {
    const RESERVED: [&str; 8] = [
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "upgrade",
        "trailer",
        "te",
        "proxy-connection",
    ];
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        return Err(HeaderError::Name);
    }
    if value.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
        return Err(HeaderError::Value);
    }
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(HeaderError::Reserved);
    }
    Ok(())
}

/// Writes one answer: headers first, then exactly one of [`ResponseWriter::body`],
/// [`ResponseWriter::begin_body`], [`ResponseWriter::no_body`].
#[derive(Debug)]
#[must_use = "an answer needs its body"]
pub struct ResponseWriter<'a> {
    out: &'a mut Vec<u8>,
    date: &'a DateCache,
    reply: Reply,
    status: u16,
    /// Where the answer begins in `out`.
    start: usize,
    has_content_type: bool,
    has_date: bool,
    /// The answer is complete: dropping the writer leaves it.
    complete: bool,
}

impl<'a> ResponseWriter<'a> {
    /// Begins an answer at the end of `out`. `status` is 200 to 599; anything else is written as 500.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, reply: Reply, status: u16, date: &'a DateCache) -> Self {
        let status = if matches!(status, 200..=599) { status } else { 500 };
        let start = out.len();
        out.reserve(256);
        if status == 200 {
            out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        } else {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
            out.push(b' ');
            out.extend_from_slice(reason(status).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Self { out, date, reply, status, start, has_content_type: false, has_date: false, complete: false }
    }

    /// Sets the media type unless a header has set it already. A value of ours (a
    /// constant, a file's type): one with control bytes is left out. What a script
    /// names goes through [`ResponseWriter::header`], which says what is wrong.
    #[inline]
    pub fn content_type(&mut self, value: &str) {
        // No branch per byte, so that it becomes SIMD.
        let bad = value.bytes().fold(false, |bad, byte| bad | (byte < b' ') | (byte == 0x7f));
        debug_assert!(!bad, "a media type of ours has control bytes");
        if !self.has_content_type && !bad {
            self.has_content_type = true;
            self.field(b"Content-Type: ", value.as_bytes());
        }
    }

    /// Adds a field of the script's. Nothing is written on an error.
    ///
    /// A second Content-Type or Date is dropped; other fields may repeat.
    pub fn header(&mut self, name: &str, value: &[u8]) -> Result<(), HeaderError> {
        check_header(name, value)?;
        for (single, seen) in [("content-type", &mut self.has_content_type), ("date", &mut self.has_date)] {
            if name.eq_ignore_ascii_case(single) && std::mem::replace(seen, true) {
                return Ok(());
            }
        }
        self.out.extend_from_slice(name.as_bytes());
        self.field(b": ", value.trim_ascii());
        Ok(())
    }

    /// Adds a field of ours with a number.
    pub fn header_int(&mut self, name: &'static str, value: u64) {
        self.out.extend_from_slice(name.as_bytes());
        self.field(b": ", itoa::Buffer::new().format(value).as_bytes());
    }

    /// Ends the answer with a body that is there already.
    #[inline]
    pub fn body(mut self, body: &[u8]) {
        if self.has_no_body() {
            return self.no_body();
        }
        self.field(b"Content-Length: ", itoa::Buffer::new().format(body.len()).as_bytes());
        self.end_head();
        if !self.reply.head {
            self.out.extend_from_slice(body);
        }
        self.complete = true;
    }

    /// Ends the answer without a body: with Content-Length: 0 unless the status is 204 or 304.
    pub fn no_body(mut self) {
        if !matches!(self.status, 204 | 304) {
            self.field(b"Content-Length: ", b"0");
        }
        self.end_head();
        self.complete = true;
    }

    /// Ends the headers; the body is then appended to [`BodyWriter::out`] and its
    /// length filled in by [`BodyWriter::finish`]. A gap of ten digits: bodies below 10 GB.
    #[inline]
    pub fn begin_body(mut self) -> BodyWriter<'a> {
        let with_length = !self.has_no_body();
        if with_length && !self.has_date && self.reply.keep_alive && self.reply.version == Version::Http11 {
            // Nothing differs between such heads from here on.
            let length_at = self.out.len() + LENGTH_AT;
            self.out.extend_from_slice(self.date.head_end());
            return BodyWriter { body_at: self.out.len(), length_at: Some(length_at), head: self };
        }
        if with_length {
            self.field(b"Content-Length: ", &[b' '; LENGTH_DIGITS]);
        } else if self.status == 205 {
            self.field(b"Content-Length: ", b"0");
        }
        let length_at = self.out.len() - 2 - LENGTH_DIGITS;
        self.end_head();
        let body_at = self.out.len();
        BodyWriter { body_at, length_at: with_length.then_some(length_at), head: self }
    }

    /// Ends the headers of an answer whose body is sent by other means (a file
    /// range), `body_bytes` long. Nothing may follow for HEAD: returns whether the body is to be sent.
    pub fn body_elsewhere(mut self, body_bytes: u64) -> bool {
        if self.has_no_body() {
            self.no_body();
            return false;
        }
        self.field(b"Content-Length: ", itoa::Buffer::new().format(body_bytes).as_bytes());
        self.end_head();
        self.complete = true;
        !self.reply.head
    }

    /// 204, 205 and 304 never have a body (RFC 9110 sections 15.3.5, 15.3.6, 15.4.5); one that is given is dropped.
    #[inline]
    const fn has_no_body(&self) -> bool {
        matches!(self.status, 204 | 205 | 304)
    }

    #[inline]
    fn end_head(&mut self) {
        if !self.has_date {
            self.field(b"Date: ", self.date.as_bytes());
        }
        match (self.reply.keep_alive, self.reply.version) {
            (true, Version::Http11) => {}
            (true, Version::Http10) => self.field(b"Connection: ", b"keep-alive"),
            (false, _) => self.field(b"Connection: ", b"close"),
        }
        self.out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
    }
}

impl Drop for ResponseWriter<'_> {
    fn drop(&mut self) {
        if !self.complete {
            self.out.truncate(self.start);
        }
    }
}

/// The body of an answer whose length isn't known yet. Dropped without
/// [`BodyWriter::finish`], the whole answer is taken back and another may be written.
#[derive(Debug)]
#[must_use = "finish patches the length"]
pub struct BodyWriter<'a> {
    head: ResponseWriter<'a>,
    body_at: usize,
    /// Where the gap is; `None` for a status that has no body.
    length_at: Option<usize>,
}

impl BodyWriter<'_> {
    /// The output: append the body, touch nothing before it.
    #[inline]
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.head.out
    }

    /// Bytes of the body so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.out.len() - self.body_at
    }

    /// Whether the body is empty so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the whole answer back, headers included; the same as dropping it.
    pub fn abort(self) {}

    /// Fills in the length, right-aligned: the blanks before it are optional
    /// whitespace (RFC 9110 section 5.5). HEAD, 204, 205 and 304 lose their body.
    #[inline]
    pub fn finish(mut self) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(self.len()).as_bytes();
        if let Some(at) = self.length_at {
            let gap = &mut self.head.out[at..at + LENGTH_DIGITS];
            gap[LENGTH_DIGITS - digits.len()..].copy_from_slice(digits);
        }
        if self.length_at.is_none() || self.head.reply.head {
            self.head.out.truncate(self.body_at);
        }
        self.head.complete = true;
    }
}
