//! Why a request is refused. Every variant is the peer's fault, has a status, a
//! stable code and a sentence; none is ever a panic. docs/SPECIFICATION.md
//! promises the codes.
//!
//! All of these are found before a request is whole, so that where the next one
//! starts is in doubt, or its body unread: the connection closes after the answer.

use std::fmt;

use crate::problem::Problem;

macro_rules! request_errors {
    ($($(#[doc = $doc:literal])* $name:ident = $status:literal $code:literal $detail:literal;)*) => {
        /// A refused request. See the module's text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RequestError {
            $($(#[doc = $doc])* $name,)*
        }

        impl RequestError {
            /// Every variant, for tests and for the table in the docs.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Status code of the answer, 400 to 599.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Stable name of the error, snake_case.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What was wrong, for the person who sent it.
            #[must_use]
            pub const fn detail(self) -> &'static str {
                match self { $(Self::$name => $detail,)* }
            }
        }
    };
}

request_errors! {
    /// The method isn't a token (RFC 9110 section 9.1), or something precedes it.
    Method = 400 "bad_method" "the request line does not start with a method";
    /// Not origin-form, absolute-form (http, https) or, for OPTIONS, `*` (RFC 9112 section 3.2).
    Target = 400 "bad_target" "the request target is not a path, an http URL or, for OPTIONS, an asterisk";
    /// Not `HTTP/` DIGIT `.` DIGIT.
    RequestLine = 400 "bad_request_line" "the request line is not 'method target version'";
    /// A well-formed version other than 1.0 and 1.1.
    Version = 505 "version_not_supported" "only HTTP/1.1 and HTTP/1.0 are spoken here";
    /// LF without CR before it, or CR without LF after it.
    LineEnd = 400 "bad_line_end" "every line of the head ends with CR LF";
    /// A field name that isn't a token.
    FieldName = 400 "bad_header_name" "a header name contains a byte that is not allowed, or has no colon";
    /// Whitespace between field name and colon (RFC 9112 section 5.1).
    FieldNameSpace = 400 "space_before_colon" "whitespace between a header name and its colon";
    /// A line that starts with whitespace (obs-fold, RFC 9112 section 5.2).
    FieldFold = 400 "folded_header" "a header line starts with whitespace";
    /// A control byte in a field value.
    FieldValue = 400 "bad_field_value" "a header value contains a control byte";
    /// No Host in HTTP/1.1 (RFC 9112 section 3.2).
    HostMissing = 400 "host_missing" "an HTTP/1.1 request needs a Host header";
    /// More than one Host.
    HostRepeated = 400 "host_repeated" "more than one Host header";
    /// Empty, or not `host [":" port]`.
    HostInvalid = 400 "bad_host" "the Host header is not 'host' or 'host:port'";
    /// Not a number of digits, a list, or beyond 64 bits.
    ContentLength = 400 "bad_content_length" "Content-Length is not one decimal number";
    /// More than one Content-Length, even if they agree.
    ContentLengthRepeated = 400 "content_length_repeated" "more than one Content-Length header";
    /// Content-Length together with Transfer-Encoding (RFC 9112 section 6.3, item 3).
    LengthAndCoding = 400 "length_and_coding" "Content-Length together with Transfer-Encoding";
    /// chunked isn't the final coding, or it comes twice, or in two fields, or in HTTP/1.0.
    TransferEncoding = 400 "bad_transfer_encoding" "Transfer-Encoding is not exactly 'chunked'";
    /// A coding before a final chunked (RFC 9112 section 6.1: 501).
    TransferCoding = 501 "transfer_coding_unknown" "the only transfer coding understood here is 'chunked'";
    /// A member of Expect other than 100-continue.
    Expectation = 417 "expectation_failed" "the only expectation understood here is '100-continue'";
    /// A chunk-size line that isn't 1 to 16 hex digits, an optional extension and CR LF.
    ChunkSize = 400 "bad_chunk_size" "a chunk does not start with its size in hex";
    /// A chunk whose data isn't followed by CR LF.
    ChunkEnd = 400 "bad_chunk_end" "a chunk's data is not followed by CR LF";
    /// Chunk extensions beyond [`crate::chunked::EXTENSION_BYTES_MAX`].
    ChunkExtension = 400 "chunk_extension" "chunk extensions are malformed or too long";
    /// A malformed trailer field.
    Trailer = 400 "bad_trailer" "a trailer field is malformed";
    /// Trailers beyond [`crate::chunked::TRAILER_BYTES_MAX`].
    TrailerTooLarge = 431 "trailer_too_large" "the trailer fields are too large";
    /// The target is longer than `uri_bytes`.
    UriTooLong = 414 "uri_too_long" "the request target is too long";
    /// The head is larger than `request_head_bytes`.
    HeadTooLarge = 431 "head_too_large" "the request head is too large";
    /// More fields than `header_count`.
    TooManyFields = 431 "too_many_headers" "the request has too many headers";
    /// The body is larger than `body_bytes`, by its Content-Length or by its chunks.
    BodyTooLarge = 413 "body_too_large" "the request body is too large";
    /// The client didn't finish its head or body in time; told by the caller's timers.
    Timeout = 408 "request_timeout" "the request did not arrive in time";
    /// More pipelined bytes than [`crate::decoder::HELD_BYTES_EXTRA`] allows: the caller should have stopped reading.
    PipelineTooLong = 503 "pipeline_too_long" "too many requests wait on this connection";
}

impl RequestError {
    /// Whether the connection closes after the answer: always, see the module's text.
    #[must_use]
    pub const fn closes(self) -> bool {
        true
    }

    /// The answer's body.
    #[must_use]
    pub const fn problem(self) -> Problem<'static> {
        Problem::new(self.status(), self.code(), self.detail())
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status(), self.code(), self.detail())
    }
}

impl std::error::Error for RequestError {}
