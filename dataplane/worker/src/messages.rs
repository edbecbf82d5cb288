//! What travels through the rings between the two halves of a core.

use std::net::IpAddr;

use forebay_base::{ConnectionId, Monotonic};
use forebay_http::routes::Params;
use forebay_http::{OwnedRequest, Reply};

/// A request with everything its task needs; pooled, and large, hence boxed.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    /// The bytes, copied out of the receive buffer: so a task never holds one,
    /// and the same record serves both placements (docs/decisions/0002).
    pub(crate) request: OwnedRequest,
    /// What the route's `{params}` matched.
    pub(crate) params: Params,
    /// The client's address; none on a unix socket.
    pub(crate) peer: Option<IpAddr>,
    /// In split placement: where the answer is written. Its memory travels with the record.
    pub(crate) answer: Vec<u8>,
}

impl Incoming {
    /// Bytes of the request's body.
    pub(crate) fn body_bytes(&self) -> usize {
        self.request.view().body.len()
    }
}

/// Front to back: run this.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) connection: ConnectionId,
    /// Position of the request on its connection: answers leave in this order.
    pub(crate) sequence: u32,
    /// Index into the generation's entries.
    pub(crate) entry: u32,
    /// Which generation `entry` belongs to.
    pub(crate) generation: u64,
    pub(crate) reply: Reply,
    pub(crate) arrived: Monotonic,
    pub(crate) incoming: Box<Incoming>,
}

/// Back to front, in split placement: an answer, complete, in `incoming.answer`. Inline
/// answers are written straight into the connection's output.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) connection: ConnectionId,
    pub(crate) sequence: u32,
    pub(crate) keep_alive: bool,
    /// The record of the request, for reuse.
    pub(crate) incoming: Box<Incoming>,
}
