//! Received bytes to requests, one decoder per connection, without I/O.
//!
//! ```text
//!   receive buffer                                     decoder's own buffer ("held")
//!   | GET.. | GET.. | POST.. body | GE |    ---hold--> | GE |
//!     ^ request, borrowed in place   ^ partial: copied
//! ```
//!
//! A request that lies whole in the received bytes is borrowed from them: nothing
//! is copied or allocated. Only what is incomplete moves into a buffer from the
//! core's pool, which goes back to the pool once the buffer is used up. Chunked
//! bodies are joined in that buffer, in place.
//!
//! ```text
//!             head parsed, no body or body there
//!    +--------------------------------------------+--> Request
//!    |                                            |
//!   Head --- head parsed, body missing ---> Fixed or Chunked
//!    |                                            |
//!    +------------> Failed (an error is final) <--+
//! ```
//!
//! The loop around it:
//!
//! ```
//! # use forebay_http::decoder::{Decoded, Decoder, Scratch};
//! # use forebay_base::limits::HttpLimits;
//! let mut scratch = Scratch::default(); // one per core
//! let mut decoder = Decoder::new(&HttpLimits::default()); // one per connection
//! let mut input: &[u8] = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHo";
//! let mut seen = Vec::new();
//! loop {
//!     match decoder.decode(input, &mut scratch) {
//!         Ok(Decoded::Request(request)) => {
//!             seen.push(request.head.path().to_owned());
//!             input = &input[request.consumed..];
//!         }
//!         Ok(Decoded::Partial { send_continue: false }) => break, // all of `input` is consumed
//!         Ok(Decoded::Partial { send_continue: true }) => break,  // write `CONTINUE` first
//!         Err(error) => panic!("answer error.problem(), then close: {error}"),
//!     }
//! }
//! assert_eq!(seen, ["/a"]);
//! ```
//!
//! A caller that stops early, because the connection has had its share of the
//! turn or its request is still being answered, gives the rest to
//! [`Decoder::hold`] and later calls `decode(&[], ..)`.

use forebay_base::limits::HttpLimits;

use crate::chunked::{ChunkEvent, ChunkedDecoder};
use crate::error::RequestError;
use crate::head::{BodyLength, DecodeLimits, Head, Request};
use crate::parse::parse;

/// The interim answer to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Buffers that a core's pool keeps.
pub const POOL_BUFFERS_MAX: usize = 64;
/// Larger buffers are freed instead of kept.
pub const POOL_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Bytes that a decoder holds at most beyond one largest request: what a client
/// can have in flight when the caller stops reading.
pub const HELD_BYTES_EXTRA: usize = 256 * 1024;

/// What the decoders of one core share: a head to parse into and buffers.
///
/// A few words, so that it can be taken out of its owner and put back (`mem::take`)
/// for nothing; the head is allocated by the first request.
#[derive(Debug, Default)]
pub struct Scratch {
    head: Option<Box<Head>>,
    pool: Vec<Vec<u8>>,
}

impl Scratch {
    #[inline]
    fn head(&mut self) -> &mut Head {
        self.head.get_or_insert_default()
    }
}

/// The outcome of one [`Decoder::decode`].
#[derive(Clone, Copy, Debug)]
pub enum Decoded<'a> {
    /// A whole request. Call again behind [`Request::consumed`].
    Request(Request<'a>),
    /// All of the input is consumed and more bytes are needed.
    Partial {
        /// The client waits for [`CONTINUE`] before it sends its body; said once per request.
        send_continue: bool,
    },
}

/// What the decoder waits for: which timeout applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The first byte of a request (`idle_timeout`).
    Idle,
    /// The rest of a head (`header_timeout`).
    Head,
    /// The rest of a body (`body_timeout`).
    Body,
}

#[derive(Debug)]
enum State {
    /// `seen` bytes of the head were parsed already, without an end in them.
    Head {
        seen: usize,
    },
    /// The head is the first `head_bytes`; `body_bytes` follow.
    Fixed {
        head_bytes: usize,
        body_bytes: usize,
    },
    /// The head is the first `head_bytes`, followed by `body_bytes` decoded ones, then by raw ones.
    Chunked {
        head_bytes: usize,
        body_bytes: usize,
        chunks: ChunkedDecoder,
    },
    Failed(RequestError),
}

/// Decodes the requests of one connection.
#[derive(Debug)]
pub struct Decoder {
    limits: DecodeLimits,
    state: State,
    /// Bytes that no single receive held whole. Empty in the steady state.
    held: Vec<u8>,
    /// Where the current request begins in `held`. at <= held.len().
    at: usize,
    /// An empty line before the current request was skipped already.
    skipped_line: bool,
    /// See [`Decoder::awaits_continue`].
    awaits_continue: bool,
}

/// What the start of some bytes is.
enum Start {
    /// No whole head; `skip` bytes of an empty line don't belong to it.
    More { skip: usize },
    /// A head of `head_bytes` behind `skip` bytes.
    Head { skip: usize, head_bytes: usize },
}

impl Decoder {
    /// A decoder for a new connection. Allocates nothing.
    #[must_use]
    pub fn new(limits: &HttpLimits) -> Self {
        Self {
            limits: DecodeLimits::from(limits),
            state: State::Head { seen: 0 },
            held: Vec::new(),
            at: 0,
            skipped_line: false,
            awaits_continue: false,
        }
    }

    /// Decodes the next request of what is held and `input`.
    ///
    /// An error is final: the same comes back from every later call.
    #[inline]
    pub fn decode<'a>(
        &'a mut self,
        input: &'a [u8],
        scratch: &'a mut Scratch,
    ) -> Result<Decoded<'a>, RequestError> {
        if self.at == self.held.len() {
            self.decode_input(input, scratch)
        } else {
            self.decode_held(input, scratch)
        }
    }

    /// Keeps `input` for a later `decode(&[], ..)`.
    pub fn hold(&mut self, input: &[u8], scratch: &mut Scratch) -> Result<(), RequestError> {
        if input.is_empty() {
            return Ok(());
        }
        if self.at == self.held.len() {
            self.recycle(scratch);
            self.held = scratch.pool.pop().unwrap_or_default();
        }
        if self.at > 0 {
            self.held.drain(..self.at);
            self.at = 0;
        }
        let bound = self.limits.head_bytes + self.limits.body_bytes + HELD_BYTES_EXTRA;
        if self.held.len() + input.len() > bound {
            return self.fail(RequestError::PipelineTooLong);
        }
        self.held.extend_from_slice(input);
        Ok(())
    }

    /// Bytes kept in the decoder's own buffer that no request has used yet.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held.len() - self.at
    }

    /// Whether it has no buffer of its own either, as when all was borrowed.
    #[must_use]
    #[inline]
    pub const fn is_blank(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether the client still waits for [`CONTINUE`]: none of its body has come.
    /// For a caller that couldn't write it at once, because answers to earlier
    /// requests have to go first.
    #[must_use]
    pub const fn awaits_continue(&self) -> bool {
        self.awaits_continue
    }

    /// What the decoder waits for. At the end of the stream anything but
    /// [`Phase::Idle`] is a request cut short.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self.state {
            State::Fixed { .. } | State::Chunked { .. } => Phase::Body,
            State::Head { .. } if self.held() > 0 => Phase::Head,
            State::Head { .. } | State::Failed(_) => Phase::Idle,
        }
    }

    /// Gives the buffer back to the pool and becomes as new: when the connection is closed.
    pub fn reset(&mut self, scratch: &mut Scratch) {
        self.at = self.held.len();
        self.recycle(scratch);
        self.state = State::Head { seen: 0 };
        self.skipped_line = false;
        self.awaits_continue = false;
    }

    /// The fast path: nothing is held, requests are borrowed from `input`.
    #[inline]
    fn decode_input<'a>(
        &'a mut self,
        input: &'a [u8],
        scratch: &'a mut Scratch,
    ) -> Result<Decoded<'a>, RequestError> {
        self.recycle(scratch);
        if let State::Failed(error) = self.state {
            return Err(error);
        }
        if input.is_empty() {
            return Ok(Decoded::Partial { send_continue: false });
        }
        let (skip, head_bytes) = match start(input, &self.limits, &mut self.skipped_line, scratch.head()) {
            Ok(Start::Head { skip, head_bytes }) => (skip, head_bytes),
            Ok(Start::More { skip }) => {
                let rest = &input[skip..];
                self.hold(rest, scratch)?;
                self.state = State::Head { seen: rest.len() };
                return Ok(Decoded::Partial { send_continue: false });
            }
            Err(error) => return self.fail(error),
        };
        if let Some(body_bytes) = self.fixed_body(scratch.head().body())? {
            let end = skip + head_bytes + body_bytes;
            if end <= input.len() {
                self.skipped_line = false;
                let (head, body) = input[skip..end].split_at(head_bytes);
                return Ok(Decoded::Request(Request {
                    head: scratch.head().view(head),
                    body,
                    consumed: end,
                }));
            }
        }
        self.hold(&input[skip..], scratch)?;
        self.begin_body(head_bytes, input.len(), scratch)
    }

    /// The slow path: the request begins in what is held.
    fn decode_held<'a>(
        &'a mut self,
        input: &[u8],
        scratch: &'a mut Scratch,
    ) -> Result<Decoded<'a>, RequestError> {
        if let State::Failed(error) = self.state {
            return Err(error);
        }
        self.hold(input, scratch)?;
        match self.state {
            State::Head { seen } => {
                let bytes = &self.held[self.at..];
                // Parse again when a line ended, or the bytes doubled: linear work for a client that sends byte by byte.
                let worth = seen == 0
                    || bytes.len() >= (2 * seen).min(self.limits.head_bytes)
                    || memchr::memchr(b'\n', &bytes[seen..]).is_some();
                if !worth {
                    return Ok(Decoded::Partial { send_continue: false });
                }
                match start(bytes, &self.limits, &mut self.skipped_line, scratch.head()) {
                    Ok(Start::Head { skip, head_bytes }) => {
                        self.at += skip;
                        self.begin_body(head_bytes, input.len(), scratch)
                    }
                    Ok(Start::More { skip }) => {
                        self.at += skip;
                        self.state = State::Head { seen: self.held() };
                        Ok(Decoded::Partial { send_continue: false })
                    }
                    Err(error) => self.fail(error),
                }
            }
            State::Fixed { head_bytes, .. } | State::Chunked { head_bytes, .. } => {
                self.continue_body(head_bytes, false, input.len(), scratch)
            }
            State::Failed(error) => Err(error),
        }
    }

    /// The head at `held[at..]` was just parsed into the scratch.
    fn begin_body<'a>(
        &'a mut self,
        head_bytes: usize,
        consumed: usize,
        scratch: &'a mut Scratch,
    ) -> Result<Decoded<'a>, RequestError> {
        self.skipped_line = false;
        self.state = match self.fixed_body(scratch.head().body())? {
            Some(body_bytes) => State::Fixed { head_bytes, body_bytes },
            None => State::Chunked {
                head_bytes,
                body_bytes: 0,
                chunks: ChunkedDecoder::new(self.limits.body_bytes),
            },
        };
        self.awaits_continue = scratch.head().expect_continue() && self.held() == head_bytes;
        if self.awaits_continue {
            return Ok(Decoded::Partial { send_continue: true });
        }
        self.continue_body(head_bytes, true, consumed, scratch)
    }

    /// Looks for the end of the body. `parsed`: the scratch still has this request's head.
    fn continue_body<'a>(
        &'a mut self,
        head_bytes: usize,
        parsed: bool,
        consumed: usize,
        scratch: &'a mut Scratch,
    ) -> Result<Decoded<'a>, RequestError> {
        let body_at = self.at + head_bytes;
        self.awaits_continue &= self.held.len() == body_at;
        let (body_end, end) = match &mut self.state {
            State::Fixed { body_bytes, .. } => {
                let end = body_at + *body_bytes;
                if self.held.len() < end {
                    return Ok(Decoded::Partial { send_continue: false });
                }
                (end, end)
            }
            State::Chunked { body_bytes, chunks, .. } => {
                match join(&mut self.held, body_at, body_bytes, chunks) {
                    Ok(Some(end)) => (body_at + *body_bytes, end),
                    Ok(None) => return Ok(Decoded::Partial { send_continue: false }),
                    Err(error) => return self.fail(error),
                }
            }
            State::Head { .. } | State::Failed(_) => return self.fail(RequestError::RequestLine),
        };
        let head = &self.held[self.at..body_at];
        if !parsed {
            // Other connections have used the scratch since: a second parse is cheaper than a head per connection.
            parse(head, &self.limits, scratch.head())?;
        }
        self.at = end;
        self.state = State::Head { seen: 0 };
        let body = &self.held[body_at..body_end];
        Ok(Decoded::Request(Request { head: scratch.head().view(head), body, consumed }))
    }

    /// Bytes of a body whose length is known and within the limit; `None` if it is chunked.
    #[inline]
    fn fixed_body(&mut self, body: BodyLength) -> Result<Option<usize>, RequestError> {
        match body {
            BodyLength::None => Ok(Some(0)),
            BodyLength::Chunked => Ok(None),
            BodyLength::Fixed(bytes) => match usize::try_from(bytes) {
                Ok(bytes) if bytes <= self.limits.body_bytes => Ok(Some(bytes)),
                _ => self.fail(RequestError::BodyTooLarge),
            },
        }
    }

    /// Gives a used-up buffer back.
    #[inline]
    fn recycle(&mut self, scratch: &mut Scratch) {
        if !self.held.is_empty() {
            let mut buffer = std::mem::take(&mut self.held);
            self.at = 0;
            if buffer.capacity() <= POOL_BUFFER_BYTES_MAX && scratch.pool.len() < POOL_BUFFERS_MAX {
                buffer.clear();
                scratch.pool.push(buffer);
            }
        }
    }

    #[cold]
    fn fail<T>(&mut self, error: RequestError) -> Result<T, RequestError> {
        self.state = State::Failed(error);
        Err(error)
    }
}

/// Finds a head at the start of `bytes`, behind at most one empty line (RFC 9112
/// section 2.2: clients of old put one behind a body).
#[inline]
fn start(
    bytes: &[u8],
    limits: &DecodeLimits,
    skipped_line: &mut bool,
    head: &mut Head,
) -> Result<Start, RequestError> {
    let skip = match bytes {
        [b'\r', b'\n', ..] if !*skipped_line => {
            *skipped_line = true;
            2
        }
        [b'\r'] if !*skipped_line => return Ok(Start::More { skip: 0 }),
        [b'\r' | b'\n', ..] => return Err(RequestError::Method),
        _ => 0,
    };
    let bytes = &bytes[skip..];
    match bytes.first() {
        None => Ok(Start::More { skip }),
        Some(b'\r' | b'\n') => Err(RequestError::Method),
        Some(_) => Ok(match parse(bytes, limits, head)? {
            Some(head_bytes) => Start::Head { skip, head_bytes },
            None => Start::More { skip },
        }),
    }
}

/// Decodes the raw bytes from `body_at + body_bytes` on and moves their data down
/// behind the body. `Some(end)`: the body is whole and its raw bytes ended before
/// `end`. `None`: everything raw is used up and cut off.
fn join(
    held: &mut Vec<u8>,
    body_at: usize,
    body_bytes: &mut usize,
    chunks: &mut ChunkedDecoder,
) -> Result<Option<usize>, RequestError> {
    let mut read = body_at + *body_bytes;
    loop {
        match chunks.decode(&held[read..])? {
            ChunkEvent::Data(range) => {
                held.copy_within(read + range.start..read + range.end, body_at + *body_bytes);
                *body_bytes += range.len();
                read += range.end;
            }
            ChunkEvent::End { consumed } => return Ok(Some(read + consumed)),
            ChunkEvent::More => {
                held.truncate(body_at + *body_bytes);
                return Ok(None);
            }
        }
    }
}
