//! A request's head: where everything is, as offsets into the head's bytes.
//!
//! ```text
//!   GET /v1/users/7?full=1 HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n
//!   |   |          |                   |     |
//!   |   path       query               name  value    each a Span {start, len}
//! ```
//!
//! A [`Head`] borrows nothing: it can go to another thread together with a copy
//! of its bytes ([`OwnedRequest`]). A [`HeadView`] is the two together. Nothing in
//! either says HTTP/1.1 except [`Version`]: a later protocol writes its fields as
//! text into a buffer of its own and points the spans there. The bytes become a head
//! in `parse.rs`.

use std::fmt;
use std::ops::Deref;

use forebay_base::limits::{HEADER_COUNT_MAX, HttpLimits};

use crate::method::Method;

/// Most bytes of a head, whatever the configuration says: offsets are 16 bits.
pub const HEAD_BYTES_MAX: usize = u16::MAX as usize;

/// A range of the head's bytes. start + len <= head bytes <= [`HEAD_BYTES_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u16,
    /// Length in bytes.
    pub len: u16,
}

impl Span {
    /// The bytes of this range; empty if `bytes` isn't what the span was made for.
    #[must_use]
    #[inline]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        let start = usize::from(self.start);
        bytes.get(start..start + usize::from(self.len)).unwrap_or_default()
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "heads are shorter than HEAD_BYTES_MAX: `parse` cuts there"
    )]
    pub(crate) const fn new(start: usize, len: usize) -> Self {
        Self { start: start as u16, len: len as u16 }
    }

    /// Where `part`, a subslice of `bytes`, lies in it.
    #[inline]
    pub(crate) fn within(part: &[u8], bytes: &[u8]) -> Self {
        Self::new(part.as_ptr() as usize - bytes.as_ptr() as usize, part.len())
    }
}

/// Protocol version of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunked answers, keep-alive only when asked for.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

/// How the body's end is known (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyLength {
    /// No body.
    #[default]
    None,
    /// Content-Length, bytes; 0 is [`BodyLength::None`] with the field present.
    Fixed(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: Span,
    pub(crate) value: Span,
}

/// A parsed head: facts and spans, reusable. A few hundred bytes, of which only
/// the fields in use are ever written or copied.
#[derive(Debug)]
pub struct Head {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) body: BodyLength,
    pub(crate) keep_alive: bool,
    pub(crate) expect_continue: bool,
    pub(crate) method_span: Span,
    pub(crate) target: Span,
    pub(crate) authority: Span,
    pub(crate) path: Span,
    pub(crate) query: Option<Span>,
    pub(crate) field_count: usize,
    /// Valid up to `field_count`; what lies behind is left over from earlier requests.
    pub(crate) fields: [Field; HEADER_COUNT_MAX],
}

impl Default for Head {
    fn default() -> Self {
        Self {
            method: Method::default(),
            version: Version::default(),
            body: BodyLength::None,
            keep_alive: false,
            expect_continue: false,
            method_span: Span::default(),
            target: Span::default(),
            authority: Span::default(),
            path: Span::default(),
            query: None,
            field_count: 0,
            fields: [Field::default(); HEADER_COUNT_MAX],
        }
    }
}

impl Clone for Head {
    fn clone(&self) -> Self {
        let mut head = Self::default();
        head.clone_from(self);
        head
    }

    /// Copies the fields in use only.
    fn clone_from(&mut self, from: &Self) {
        let Self {
            method,
            version,
            body,
            keep_alive,
            expect_continue,
            method_span,
            target,
            authority,
            path,
            query,
            field_count,
            fields,
        } = self;
        *method = from.method;
        *version = from.version;
        *body = from.body;
        *keep_alive = from.keep_alive;
        *expect_continue = from.expect_continue;
        *method_span = from.method_span;
        *target = from.target;
        *authority = from.authority;
        *path = from.path;
        *query = from.query;
        *field_count = from.field_count;
        fields[..from.field_count].copy_from_slice(&from.fields[..from.field_count]);
    }
}

impl Head {
    /// The method.
    #[must_use]
    #[inline]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The version the client spoke.
    #[must_use]
    #[inline]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// How the body is framed.
    #[must_use]
    #[inline]
    pub const fn body(&self) -> BodyLength {
        self.body
    }

    /// Whether the client lets the connection live on (RFC 9112 section 9.3).
    #[must_use]
    #[inline]
    pub const fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the client waits for `100 Continue` before it sends the body;
    /// never true in HTTP/1.0 or without a body (RFC 9110 section 10.1.1).
    #[must_use]
    #[inline]
    pub const fn expect_continue(&self) -> bool {
        self.expect_continue
    }

    /// Number of header fields.
    #[must_use]
    #[inline]
    pub const fn field_count(&self) -> usize {
        self.field_count
    }

    /// The head with the bytes it was parsed from.
    #[must_use]
    #[inline]
    pub const fn view<'a>(&'a self, bytes: &'a [u8]) -> HeadView<'a> {
        HeadView { head: self, bytes }
    }
}

/// A head and its bytes: what is said of [`Head`] can be asked here too.
#[derive(Clone, Copy)]
pub struct HeadView<'a> {
    /// The facts and offsets.
    pub head: &'a Head,
    /// What the offsets point into: the head from its first byte to the empty line.
    pub bytes: &'a [u8],
}

impl Deref for HeadView<'_> {
    type Target = Head;

    #[inline]
    fn deref(&self) -> &Head {
        self.head
    }
}

impl<'a> HeadView<'a> {
    /// The method's text, also of [`Method::Other`]. A token.
    #[must_use]
    pub fn method_str(&self) -> &'a str {
        self.text(self.head.method_span)
    }

    /// The request target as sent. ASCII, without control bytes and `#`.
    #[must_use]
    pub fn target(&self) -> &'a str {
        self.text(self.head.target)
    }

    /// The path as sent: begins with `/`, or is `*`. Percent-encoding is intact;
    /// the route table decodes it.
    #[must_use]
    #[inline]
    pub fn path(&self) -> &'a str {
        if self.head.path.len == 0 { "/" } else { self.text(self.head.path) }
    }

    /// [`HeadView::path`] as bytes: what the route table takes.
    #[must_use]
    #[inline]
    pub fn path_bytes(&self) -> &'a [u8] {
        if self.head.path.len == 0 { b"/" } else { self.head.path.of(self.bytes) }
    }

    /// The query behind `?`, as sent; `None` without a `?`.
    #[must_use]
    #[inline]
    pub fn query(&self) -> Option<&'a str> {
        self.head.query.map(|span| self.text(span))
    }

    /// Whom the request is for: the target's authority, else the Host field.
    /// `host` or `host:port`, validated; `None` only in HTTP/1.0.
    #[must_use]
    pub fn authority(&self) -> Option<&'a str> {
        (self.head.authority.len != 0).then(|| self.text(self.head.authority))
    }

    /// Header fields in the order they came: name as sent, value without
    /// surrounding whitespace (any bytes but controls).
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let Self { head, bytes } = *self;
        let used = &head.fields[..head.field_count];
        used.iter().map(move |field| (text(field.name, bytes), field.value.of(bytes)))
    }

    /// The first field with this name, without regard to case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.field_all(name).next()
    }

    /// Every field with this name, in order.
    pub fn field_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let Self { head, bytes } = *self;
        head.fields[..head.field_count]
            .iter()
            .filter(move |field| {
                usize::from(field.name.len) == name.len()
                    && field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes())
            })
            .map(move |field| field.value.of(bytes))
    }

    #[inline]
    fn text(&self, span: Span) -> &'a str {
        text(span, self.bytes)
    }
}

impl fmt::Debug for HeadView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({} fields)", self.method_str(), self.target(), self.head.field_count)
    }
}

/// `parse` has checked that these bytes are ASCII.
#[inline]
fn text(span: Span, bytes: &[u8]) -> &str {
    std::str::from_utf8(span.of(bytes)).unwrap_or_default()
}

/// A whole request, borrowed from the receive buffer or from the decoder.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The head.
    pub head: HeadView<'a>,
    /// The body, chunks joined; `body.len() <= body_bytes`.
    pub body: &'a [u8],
    /// Bytes of this call's input that belong to this request or to what was
    /// before it; continue behind them.
    pub consumed: usize,
}

/// A request with a copy of its bytes: what crosses threads and what waits in a
/// queue. Reusable without allocating once it has grown.
#[derive(Clone, Debug, Default)]
pub struct OwnedRequest {
    head: Head,
    /// The head's bytes, then the body.
    bytes: Vec<u8>,
    head_bytes: usize,
}

impl OwnedRequest {
    /// Copies `request` into this one.
    pub fn assign(&mut self, request: &Request<'_>) {
        self.head.clone_from(request.head.head);
        self.bytes.clear();
        self.bytes.reserve(request.head.bytes.len() + request.body.len());
        self.bytes.extend_from_slice(request.head.bytes);
        self.bytes.extend_from_slice(request.body);
        self.head_bytes = request.head.bytes.len();
    }

    /// Forgets the request: what [`OwnedRequest::view`] gives has no bytes.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.head_bytes = 0;
    }

    /// The request again; its `consumed` is 0.
    #[must_use]
    pub fn view(&self) -> Request<'_> {
        let (head, body) = self.bytes.split_at(self.head_bytes);
        Request { head: self.head.view(head), body, consumed: 0 }
    }

    /// Frees the buffer if it has grown beyond `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.bytes.truncate(0);
        self.head_bytes = 0;
        self.bytes.shrink_to(bytes);
    }
}

/// The part of [`HttpLimits`] that decoding needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// See [`HttpLimits::request_head_bytes`]; at most [`HEAD_BYTES_MAX`].
    pub head_bytes: usize,
    /// See [`HttpLimits::uri_bytes`].
    pub uri_bytes: usize,
    /// See [`HttpLimits::header_count`]; at most [`HEADER_COUNT_MAX`].
    pub field_count: usize,
    /// See [`HttpLimits::body_bytes`].
    pub body_bytes: usize,
}

impl From<&HttpLimits> for DecodeLimits {
    fn from(limits: &HttpLimits) -> Self {
        Self {
            head_bytes: limits.request_head_bytes.min(HEAD_BYTES_MAX),
            uri_bytes: limits.uri_bytes,
            field_count: limits.header_count.min(HEADER_COUNT_MAX),
            body_bytes: limits.body_bytes,
        }
    }
}
