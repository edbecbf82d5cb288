//! Sans-IO HTTP/1.1 and the route table: bytes in, requests out, answers into a
//! buffer. No socket, clock or thread is known here.
//!
//! | module | what it holds |
//! |---|---|
//! | [`decoder`] | received bytes to requests: framing, limits, pipelining |
//! | [`head`] | a request's head as offsets; requests that can move across threads |
//! | [`chunked`] | the chunked coding, for requests and answers |
//! | [`error`] | why a request is refused |
//! | [`routes`] | the route table of a generation |
//! | [`response`] | writing answers; [`problem`]: error answers; [`date`]: the Date field |
//! | [`percent`] | percent-encoding; query strings and forms |
//! | [`media`] | media types; [`cookie`]: the Cookie field |
//! | [`url`] | `http://` URLs; [`client`]: requests that we send and their answers |
//!
//! RFC 9110 is the meaning, RFC 9112 the framing. Zero allocations per request in
//! the steady state (`tests/allocations.rs`).

pub mod chunked;
pub mod client;
pub mod cookie;
pub mod date;
pub mod decoder;
pub mod error;
pub mod head;
pub mod media;
pub mod method;
mod parse;
pub mod percent;
pub mod problem;
pub mod response;
pub mod routes;
pub mod url;

pub use date::DateCache;
pub use decoder::{CONTINUE, Decoded, Decoder, Phase, Scratch};
pub use error::RequestError;
pub use head::{BodyLength, Head, HeadView, OwnedRequest, Request, Version};
pub use method::Method;
pub use problem::Problem;
pub use response::{BodyWriter, HeaderError, Reply, ResponseWriter};
pub use routes::{Lookup, Params, Route, RouteTable};
