//! The other side: requests that scripts send (`http().get(...)`) and their
//! answers, sans-IO. One request at a time per connection.
//!
//! ```text
//!   ClientRequest --write--> bytes          bytes --decode--> ResponseDecoder --response--> ResponseView
//!
//!   Head --1xx--> Head --no body--------------> Done
//!                  |---Content-Length--> Fixed --^
//!                  |---chunked-------> Chunked --^
//!                  `---neither----> UntilClose --end of stream--^
//! ```
//!
//! An answer is as untrusted as a request: the same strictness, bounds on
//! everything, and what is wrong is the upstream's fault (502 to our client).

use std::fmt;
use std::mem::MaybeUninit;

use forebay_base::limits::HEADER_COUNT_MAX;

use crate::chunked::{ChunkEvent, ChunkedDecoder};
use crate::error::RequestError;
use crate::head::{Field, HEAD_BYTES_MAX, Span};
use crate::method::Method;
use crate::parse::decimal;
use crate::response::{HeaderError, check_header};
use crate::url::Url;

/// Interim (1xx) answers that are skipped before the final one.
pub const INTERIM_COUNT_MAX: usize = 16;

/// A request to send.
#[derive(Clone, Copy, Debug)]
pub struct ClientRequest<'a> {
    /// The method; not `Other` and not `CONNECT`.
    pub method: Method,
    /// Where to.
    pub url: Url<'a>,
    /// Extra headers, in order. Host, framing and connection headers are ours.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The body; `None` sends no Content-Length unless the method expects one.
    pub body: Option<&'a [u8]>,
    /// Whether the connection may be used again.
    pub keep_alive: bool,
}

impl ClientRequest<'_> {
    /// Appends the whole request. Nothing is written on an error; the error names
    /// what is wrong with a header.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), HeaderError> {
        let method = self.method.as_str();
        if method.is_empty() || self.method == Method::Connect {
            return Err(HeaderError::Name);
        }
        for (name, value) in self.headers {
            check_header(name, value)?;
            if name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case("expect") {
                return Err(HeaderError::Reserved);
            }
        }
        out.extend_from_slice(method.as_bytes());
        out.push(b' ');
        self.url.write_target(out);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let mut field = |name: &[u8], value: &[u8]| {
            for part in [name, b": ", value, b"\r\n"] {
                out.extend_from_slice(part);
            }
        };
        field(b"Host", self.url.authority.as_bytes());
        for (name, value) in self.headers {
            field(name.as_bytes(), value.trim_ascii());
        }
        // RFC 9110 section 8.6: a method that has a meaning for content says so when there is none.
        let expects_body = matches!(self.method, Method::Post | Method::Put | Method::Patch);
        let body = self.body.or(expects_body.then_some(b""));
        if let Some(body) = body {
            field(b"Content-Length", itoa::Buffer::new().format(body.len()).as_bytes());
        }
        if !self.keep_alive {
            field(b"Connection", b"close");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body.unwrap_or_default());
        Ok(())
    }
}

/// Limits of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseLimits {
    /// Status line and headers, bytes; at most [`HEAD_BYTES_MAX`].
    pub head_bytes: usize,
    /// Body, bytes, decoded.
    pub body_bytes: usize,
}

impl Default for ResponseLimits {
    fn default() -> Self {
        Self { head_bytes: 32 * 1024, body_bytes: 16 * 1024 * 1024 }
    }
}

/// What is wrong with an answer: the upstream's fault, and the connection must close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// The head isn't HTTP/1.x.
    Head,
    /// The head is larger than the limit, or has more than `HEADER_COUNT_MAX` fields.
    HeadTooLarge,
    /// Where the body ends is in doubt: two lengths, a length beside a coding, an unknown coding.
    Framing,
    /// The chunked coding is malformed.
    Chunked(RequestError),
    /// The body is larger than the limit.
    BodyTooLarge,
    /// 101, which nobody asked for.
    Upgrade,
    /// More than [`INTERIM_COUNT_MAX`] interim answers.
    TooManyInterim,
    /// The stream ended before the answer did.
    CutShort,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "the answer's head is malformed",
            Self::HeadTooLarge => "the answer's head is too large",
            Self::Framing => "the answer's length is ambiguous",
            Self::Chunked(error) => error.detail(),
            Self::BodyTooLarge => "the answer's body is too large",
            Self::Upgrade => "the server switched protocols unasked",
            Self::TooManyInterim => "too many interim answers",
            Self::CutShort => "the connection closed before the answer was complete",
        })
    }
}

impl std::error::Error for ResponseError {}

/// The outcome of one [`ResponseDecoder::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All of the input is consumed and the answer isn't complete.
    More,
    /// The answer is complete: see [`ResponseDecoder::response`].
    Done {
        /// Bytes of the input that belonged to it. If less than all, the server
        /// sent what nobody asked for: close the connection.
        consumed: usize,
    },
}

#[derive(Debug)]
enum State {
    /// `seen` bytes of the head were parsed without an end.
    Head {
        seen: usize,
    },
    Fixed {
        left: usize,
    },
    Chunked(ChunkedDecoder),
    UntilClose,
    Done,
    Failed(ResponseError),
}

/// Decodes one answer.
#[derive(Debug)]
pub struct ResponseDecoder {
    limits: ResponseLimits,
    /// The request was a HEAD: no body whatever the fields say.
    head_request: bool,
    state: State,
    interim_count: usize,
    /// The head's bytes, then the decoded body.
    buffer: Vec<u8>,
    head_bytes: usize,
    status: u16,
    keep_alive: bool,
    fields: Vec<Field>,
}

impl ResponseDecoder {
    /// A decoder for the answer to a request with `method`.
    #[must_use]
    pub fn new(method: Method, limits: ResponseLimits) -> Self {
        Self {
            limits: ResponseLimits { head_bytes: limits.head_bytes.min(HEAD_BYTES_MAX), ..limits },
            head_request: method == Method::Head,
            state: State::Head { seen: 0 },
            interim_count: 0,
            buffer: Vec::new(),
            head_bytes: 0,
            status: 0,
            keep_alive: false,
            fields: Vec::new(),
        }
    }

    /// Decodes received bytes. An error is final.
    pub fn decode(&mut self, input: &[u8]) -> Result<Progress, ResponseError> {
        let mut rest = input;
        while let State::Head { seen } = self.state {
            match self.head(rest, seen) {
                Ok(Some(used)) => rest = &rest[used..],
                Ok(None) => return Ok(Progress::More),
                Err(error) => return self.fail(error),
            }
        }
        match self.body(rest) {
            Ok(Some(used)) => {
                self.state = State::Done;
                Ok(Progress::Done { consumed: input.len() - rest.len() + used })
            }
            Ok(None) => Ok(Progress::More),
            Err(error) => self.fail(error),
        }
    }

    /// The stream ended. Only a body without a length may end so.
    pub fn finish(&mut self) -> Result<(), ResponseError> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Failed(error) => Err(error),
            _ => self.fail(ResponseError::CutShort),
        }
    }

    /// The answer, once it is complete.
    #[must_use]
    pub fn response(&self) -> Option<ResponseView<'_>> {
        matches!(self.state, State::Done).then_some(ResponseView { decoder: self })
    }

    /// Whether nothing has arrived: if the connection closes now, the request may be tried on another one.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        matches!(self.state, State::Head { seen: 0 }) && self.interim_count == 0
    }

    /// Takes bytes up to the end of the head, and says how many; `None` if it hasn't come yet.
    fn head(&mut self, input: &[u8], seen: usize) -> Result<Option<usize>, ResponseError> {
        let before = self.buffer.len();
        let room = self.limits.head_bytes - before;
        self.buffer.extend_from_slice(&input[..input.len().min(room)]);
        let bytes = &self.buffer[..];
        let worth = seen == 0
            || bytes.len() >= (2 * seen).min(self.limits.head_bytes)
            || memchr::memchr(b'\n', &bytes[before..]).is_some();
        if !worth {
            return Ok(None);
        }
        if matches!(bytes.first(), Some(b'\r' | b'\n')) {
            return Err(ResponseError::Head); // httparse would skip empty lines
        }
        let mut storage = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; HEADER_COUNT_MAX];
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let head_bytes = match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut storage) {
            Ok(httparse::Status::Complete(n)) => n,
            Ok(httparse::Status::Partial) if bytes.len() >= self.limits.head_bytes => {
                return Err(ResponseError::HeadTooLarge);
            }
            Ok(httparse::Status::Partial) => {
                self.state = State::Head { seen: bytes.len() };
                return Ok(None);
            }
            Err(httparse::Error::TooManyHeaders) => return Err(ResponseError::HeadTooLarge),
            Err(_) => return Err(ResponseError::Head),
        };
        let bytes = &bytes[..head_bytes];
        let (Some(status @ 100..=999), Some(version)) = (parsed.code, parsed.version) else {
            return Err(ResponseError::Head);
        };
        let framing = Framing::read(parsed.headers, bytes, &mut self.fields)?;
        let used = head_bytes - before;
        self.status = status;
        self.keep_alive = !framing.close && (version == 1 || framing.keep_alive);
        self.head_bytes = head_bytes;
        self.state = match status {
            101 => return Err(ResponseError::Upgrade),
            100..=199 => {
                self.interim_count += 1;
                if self.interim_count > INTERIM_COUNT_MAX {
                    return Err(ResponseError::TooManyInterim);
                }
                self.buffer.clear();
                self.state = State::Head { seen: 0 };
                return Ok(Some(used));
            }
            // RFC 9112 section 6.3, items 1 and 2.
            204 | 304 => State::Fixed { left: 0 },
            _ if self.head_request => State::Fixed { left: 0 },
            _ => match (framing.chunked, framing.content_length) {
                (true, Some(_)) => return Err(ResponseError::Framing),
                (true, None) if version == 0 => return Err(ResponseError::Framing),
                (true, None) => State::Chunked(ChunkedDecoder::new(self.limits.body_bytes)),
                (false, Some(bytes)) => match usize::try_from(bytes) {
                    Ok(left) if left <= self.limits.body_bytes => State::Fixed { left },
                    _ => return Err(ResponseError::BodyTooLarge),
                },
                (false, None) => {
                    self.keep_alive = false;
                    State::UntilClose
                }
            },
        };
        self.buffer.truncate(head_bytes);
        Ok(Some(used))
    }

    /// Takes bytes of the body. `Some(used)`: it is complete.
    fn body(&mut self, input: &[u8]) -> Result<Option<usize>, ResponseError> {
        match &mut self.state {
            State::Fixed { left } => {
                let used = input.len().min(*left);
                *left -= used;
                self.buffer.extend_from_slice(&input[..used]);
                Ok((*left == 0).then_some(used))
            }
            State::Chunked(chunks) => {
                let mut at = 0;
                loop {
                    match chunks.decode(&input[at..]) {
                        Ok(ChunkEvent::Data(range)) => {
                            self.buffer.extend_from_slice(&input[at + range.start..at + range.end]);
                            at += range.end;
                        }
                        Ok(ChunkEvent::End { consumed }) => return Ok(Some(at + consumed)),
                        Ok(ChunkEvent::More) => return Ok(None),
                        Err(RequestError::BodyTooLarge) => return Err(ResponseError::BodyTooLarge),
                        Err(error) => return Err(ResponseError::Chunked(error)),
                    }
                }
            }
            State::UntilClose => {
                if self.buffer.len() - self.head_bytes + input.len() > self.limits.body_bytes {
                    return Err(ResponseError::BodyTooLarge);
                }
                self.buffer.extend_from_slice(input);
                Ok(None)
            }
            State::Done => Ok(Some(0)),
            State::Failed(error) => Err(*error),
            State::Head { .. } => Ok(None),
        }
    }

    fn fail<T>(&mut self, error: ResponseError) -> Result<T, ResponseError> {
        self.state = State::Failed(error);
        Err(error)
    }
}

/// What an answer's fields say about its end.
#[derive(Default)]
struct Framing {
    content_length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Framing {
    fn read(
        headers: &[httparse::Header<'_>],
        bytes: &[u8],
        fields: &mut Vec<Field>,
    ) -> Result<Self, ResponseError> {
        let mut framing = Self::default();
        fields.clear();
        for header in headers {
            let name = Span::within(header.name.as_bytes(), bytes);
            let start = usize::from(name.start);
            if bytes[start - 2..start] != *b"\r\n" {
                return Err(ResponseError::Head);
            }
            fields.push(Field { name, value: Span::within(header.value, bytes) });
            if header.name.eq_ignore_ascii_case("content-length") {
                let length = decimal(header.value).ok_or(ResponseError::Framing)?;
                if framing.content_length.replace(length).is_some() {
                    return Err(ResponseError::Framing);
                }
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                let known = header.value.eq_ignore_ascii_case(b"chunked");
                if std::mem::replace(&mut framing.chunked, true) || !known {
                    return Err(ResponseError::Framing);
                }
            } else if header.name.eq_ignore_ascii_case("connection") {
                for option in header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    framing.close |= option.eq_ignore_ascii_case(b"close");
                    framing.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
        }
        if bytes.ends_with(b"\r\n\r\n") { Ok(framing) } else { Err(ResponseError::Head) }
    }
}

/// A complete answer.
#[derive(Clone, Copy, Debug)]
pub struct ResponseView<'a> {
    decoder: &'a ResponseDecoder,
}

impl<'a> ResponseView<'a> {
    /// Status code, 200 to 999 (RFC 9110 section 15 asks to read x99 beyond 599 as a server error).
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.decoder.status
    }

    /// The body, decoded.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        &self.decoder.buffer[self.decoder.head_bytes..]
    }

    /// Whether the connection can be used again.
    #[must_use]
    pub const fn keep_alive(&self) -> bool {
        self.decoder.keep_alive
    }

    /// The fields in order: name as sent, value without surrounding whitespace.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let decoder = self.decoder;
        decoder.fields.iter().map(|field| {
            let name = std::str::from_utf8(field.name.of(&decoder.buffer)).unwrap_or_default();
            (name, field.value.of(&decoder.buffer))
        })
    }

    /// The first field with this name, without regard to case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}
