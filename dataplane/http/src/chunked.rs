//! The chunked transfer coding (RFC 9112 section 7.1), as a state machine that
//! can stop at any byte. Requests and answers share it.
//!
//! ```text
//!        hex       ;...            CR LF        data           CR LF
//!  Size ------> Extension -------> SizeLf ----> Data --------> DataCr, DataLf --> Size
//!                                     \ size 0
//!                                      > Trailer lines -- empty line --> End
//! ```
//!
//! Extensions and trailers are read, bounded, and thrown away (RFC 9112 sections
//! 7.1.1 and 7.1.2 allow both). Whitespace between size and extension, bare CR or
//! LF anywhere, and sizes beyond 64 bits are refused.

use std::ops::Range;

use crate::error::RequestError;
use crate::parse::is_token_byte;

/// Bytes of all chunk extensions of one body.
pub const EXTENSION_BYTES_MAX: usize = 4 * 1024;
/// Bytes of all trailer fields of one body.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Hex digits of one chunk size: 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

/// What the next bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChunkEvent {
    /// `input[range]` is data of the body. Go on behind it.
    Data(Range<usize>),
    /// The body ended before `input[consumed]`.
    End {
        /// Bytes of the input that belong to this body.
        consumed: usize,
    },
    /// The input is used up.
    More,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size {
        digits: u8,
    },
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

/// Decodes one chunked body.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// Of the chunk: its size while it is read, then what is left of it.
    left: u64,
    /// Data bytes announced so far, this chunk included.
    announced: u64,
    body_bytes_max: u64,
    extension_bytes: usize,
    trailer_bytes: usize,
}

impl ChunkedDecoder {
    /// A decoder that refuses a body larger than `body_bytes_max`, as soon as a chunk announces it.
    #[must_use]
    pub fn new(body_bytes_max: usize) -> Self {
        Self {
            state: State::Size { digits: 0 },
            left: 0,
            announced: 0,
            body_bytes_max: body_bytes_max as u64,
            extension_bytes: 0,
            trailer_bytes: 0,
        }
    }

    /// Decodes up to the next piece of data in `input`. After `Data(range)` call
    /// again with what lies behind `range.end`.
    pub fn decode(&mut self, input: &[u8]) -> Result<ChunkEvent, RequestError> {
        let mut at = 0;
        while at < input.len() {
            let byte = input[at];
            if self.state == State::Data {
                let ready = self.left.min((input.len() - at) as u64);
                self.left -= ready;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                // Fits: `ready` is at most a slice's length.
                let end = at + usize::try_from(ready).unwrap_or(usize::MAX);
                return Ok(ChunkEvent::Data(at..end));
            }
            at += 1;
            self.state = self.step(byte)?;
            if self.state == State::End {
                return Ok(ChunkEvent::End { consumed: at });
            }
        }
        Ok(ChunkEvent::More)
    }

    /// One byte that isn't data.
    fn step(&mut self, byte: u8) -> Result<State, RequestError> {
        Ok(match (self.state, byte) {
            (State::Size { digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == SIZE_DIGITS_MAX {
                    return Err(RequestError::ChunkSize);
                }
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                self.left = self.left << 4 | u64::from(digit);
                State::Size { digits: digits + 1 }
            }
            (State::Size { digits: 1.. }, b'\r') => State::SizeLf,
            (State::Size { digits: 1.. }, b';') => State::Extension,
            (State::Size { .. }, _) => return Err(RequestError::ChunkSize),

            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, b'\t' | b' '..=0x7e | 0x80..) => {
                self.extension_bytes += 1;
                if self.extension_bytes > EXTENSION_BYTES_MAX {
                    return Err(RequestError::ChunkExtension);
                }
                State::Extension
            }
            (State::Extension, _) => return Err(RequestError::ChunkExtension),

            (State::SizeLf, b'\n') if self.left == 0 => State::Trailer,
            (State::SizeLf, b'\n') => {
                self.announced = self.announced.saturating_add(self.left);
                if self.announced > self.body_bytes_max {
                    return Err(RequestError::BodyTooLarge);
                }
                State::Data
            }
            (State::SizeLf, _) => return Err(RequestError::ChunkSize),

            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { digits: 0 },
            (State::DataCr | State::DataLf, _) => return Err(RequestError::ChunkEnd),

            (State::Trailer, b'\r') => State::EndLf,
            (State::EndLf, b'\n') => State::End,
            (State::Trailer | State::TrailerName, _) if is_token_byte(byte) => {
                self.count_trailer()?;
                State::TrailerName
            }
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, b'\t' | b' '..=0x7e | 0x80..) => {
                self.count_trailer()?;
                State::TrailerValue
            }
            (State::TrailerLf, b'\n') => State::Trailer,
            (
                State::Trailer | State::TrailerName | State::TrailerValue | State::TrailerLf | State::EndLf,
                _,
            ) => {
                return Err(RequestError::Trailer);
            }

            (State::Data | State::End, _) => self.state, // `decode` returns before either steps
        })
    }

    fn count_trailer(&mut self) -> Result<(), RequestError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES_MAX { Err(RequestError::TrailerTooLarge) } else { Ok(()) }
    }
}
