//! One connection as a state machine: bytes in, bytes out, events out. No socket, no clock.
//!
//! ```text
//!   Starting --ReadyForQuery--> Ready --(error, FATAL, EOF)--> Closed
//! ```
//! Every query has a Sync of its own, so that one that fails takes no other with it, and an entry in a FIFO that
//! its ReadyForQuery takes out. An abandoned query keeps its place and its rows are dropped.
//!
//! ```text
//!   first use     Parse Describe Sync            FIFO: Prepare            the query waits at its statement
//!                 (SELECT ... pg_type)           FIFO: Catalog            only for types of this database
//!   afterwards    Bind Execute Sync              FIFO: Query
//! ```
//! Rows are decoded where they were received: a [`Delivery::Whole`] result stays undecoded, as a range of the
//! received bytes, until its ReadyForQuery says that it is one (a deferred constraint fails after CommandComplete).
//! If it came in one piece, as nearly every result does, those bytes are the caller's own buffer.
//!
//! **Healing.** A statement that the server no longer knows (26000: DISCARD ALL, a pooler), whose result type changed
//! (0A000 from `RevalidateCachedQuery`: ALTER TABLE) or which lost its meaning (class 42) is prepared again and its
//! query repeated once: the error came before BindComplete, so nothing has run. If the parameters have other types
//! now, the query fails and the next one is right. Not inside a transaction, which the error has already aborted.

mod startup;
mod statement;
mod wire;

use std::collections::VecDeque;
use std::sync::Arc;

use forebay_base::limits::DatabaseLimits;
use forebay_base::{Value, ValueError, ValueSink};

use crate::config::Config;
use crate::error::{ParameterError, QueryError, ServerError};
use crate::param::Param;
use crate::query::{Access, Complete, Delivery, Event, Receiver, Shape, Sql, Token};
use crate::types::{CATALOG_QUERY, Catalog, CatalogRow, decode, encode};
use startup::Auth;
use statement::{Description, Input, Prepared, State, Statements, Waiting};
use wire::Body;

pub use startup::SCRAM_ITERATIONS_MAX;
pub use wire::MESSAGE_BYTES_MAX;

/// ParameterStatus names kept; a server has about fifteen.
const PARAMETERS_MAX: usize = 64;

/// What may run on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Independent tasks share it: statements that would change it for others are refused, and a transaction left
    /// open ends the connection.
    Shared,
    /// One owner: transactions are its business.
    Owned,
}

/// What a CancelRequest needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackendKey {
    /// Process of the server, as in `pg_stat_activity.pid`.
    pub process_id: u32,
    /// Its secret.
    pub secret: u32,
}

enum Phase {
    Starting(Auth),
    Ready,
    Closed(Box<str>),
}

/// One Sync on its way.
enum Entry {
    /// Parse, Describe, Sync.
    Prepare { id: u64, description: Description, error: Option<Box<ServerError>> },
    /// A simple query of `pg_type`, for the statement `id`.
    Catalog { id: u64, description: Description, wanted: Vec<u32>, error: Option<Box<ServerError>> },
    /// Bind, Execute, Sync.
    Query(Running),
    /// A simple query of any number of statements; rows are dropped.
    Simple { token: Token, abandoned: bool, error: Option<Box<ServerError>>, affected: u64 },
}

/// A query that was sent.
struct Running {
    token: Token,
    access: Access,
    shape: Shape,
    delivery: Delivery,
    prepared: Arc<Prepared>,
    /// Formats and values as in Bind, to repeat it.
    bytes: Vec<u8>,
    abandoned: bool,
    healed: bool,
    bound: bool,
    list_open: bool,
    complete: Complete,
    /// DataRows received and not decoded.
    pending: usize,
    result_bytes: usize,
    error: Option<QueryError>,
}

impl Running {
    fn drops_rows(&self) -> bool {
        self.abandoned || self.error.is_some() || self.shape == Shape::Affected
    }
}

/// See the module's text.
pub struct Connection {
    phase: Phase,
    usage: Use,
    config: Arc<Config>,
    result_bytes_max: usize,
    out: Vec<u8>,
    /// Received and not consumed: an incomplete message, or an incomplete whole result.
    carry: Vec<u8>,
    /// Bytes of `carry` that are scanned already.
    scanned: usize,
    /// The rest of a message that is being dropped.
    skip: usize,
    fifo: VecDeque<Entry>,
    /// Entries of `fifo` that are about statements, not queries.
    preparing: usize,
    /// Queries that wait for their statement.
    waiting: usize,
    statements: Statements,
    catalog: Catalog,
    parameters: Vec<(Box<str>, Box<str>)>,
    backend: Option<BackendKey>,
    /// Of the last ReadyForQuery: `I` idle, `T` in a transaction, `E` in a failed one; 0 before the first.
    status: u8,
    /// A FATAL error, which explains the end of the connection that follows it.
    fatal: Option<Box<ServerError>>,
    events: VecDeque<Event>,
    spare: Vec<Vec<u8>>,
    encode: encode::Scratch,
    decode: decode::Scratch,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("ready", &self.is_ready())
            .field("in_flight", &self.in_flight())
            .field("statements", &self.statements.len())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection whose transport is open; the StartupMessage waits in its output.
    #[must_use]
    pub fn new(config: Arc<Config>, limits: &DatabaseLimits, usage: Use) -> Self {
        let mut out = Vec::new();
        wire::startup(&mut out, &config);
        Self {
            phase: Phase::Starting(Auth::Start),
            usage,
            config,
            result_bytes_max: limits.result_bytes,
            out,
            carry: Vec::new(),
            scanned: 0,
            skip: 0,
            fifo: VecDeque::new(),
            preparing: 0,
            waiting: 0,
            statements: Statements::new(limits.statements),
            catalog: Catalog::default(),
            parameters: Vec::new(),
            backend: None,
            status: 0,
            fatal: None,
            events: VecDeque::new(),
            spare: Vec::new(),
            encode: encode::Scratch::default(),
            decode: decode::Scratch::default(),
        }
    }

    /// True from the first ReadyForQuery to the end.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Why the connection is over, once it is: the owner closes the transport.
    #[must_use]
    pub fn closed(&self) -> Option<&str> {
        match &self.phase {
            Phase::Closed(cause) => Some(cause),
            _ => None,
        }
    }

    /// Queries that were accepted and are not done, abandoned ones included.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.fifo.len() - self.preparing + self.waiting
    }

    /// Bytes that wait to be sent.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.out.len()
    }

    /// Bytes received that wait for the rest of a message or of a whole result.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.carry.len()
    }

    /// Transaction status of the last ReadyForQuery: `b'I'`, `b'T'` or `b'E'`; 0 before the first.
    #[must_use]
    pub fn status(&self) -> u8 {
        self.status
    }

    /// A setting that the server reported, such as `server_version`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| &**key == name).map(|(_, value)| &**value)
    }

    /// The key for a CancelRequest, once it is known.
    #[must_use]
    pub fn backend_key(&self) -> Option<BackendKey> {
        self.backend
    }

    /// Prepared statements of this connection.
    #[must_use]
    pub fn statement_count(&self) -> usize {
        self.statements.len()
    }

    /// Swaps the pending output into `buffer`, which must be empty and whose memory is reused; false if there is
    /// none. The bytes are the caller's to send, in order.
    pub fn take_output(&mut self, buffer: &mut Vec<u8>) -> bool {
        debug_assert!(buffer.is_empty(), "the caller still has unsent bytes");
        if self.out.is_empty() {
            return false;
        }
        std::mem::swap(&mut self.out, buffer);
        true
    }

    /// True if [`Connection::poll_event`] has something.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Starts a query. `Ok`: exactly one [`Event::Done`] with `token` follows, unless it is abandoned.
    ///
    /// # Errors
    /// A parameter that doesn't fit, a statement that isn't allowed here, a connection that isn't ready; then nothing
    /// was sent and no event follows.
    pub fn query(
        &mut self,
        token: Token,
        sql: &Sql<'_>,
        params: &[Param<'_>],
        shape: Shape,
        delivery: Delivery,
    ) -> Result<(), QueryError> {
        self.check_ready()?;
        let prepared = match self.statements.find(sql.hash, sql.text) {
            Some(slot) => match &mut slot.state {
                State::Ready(prepared) => Arc::clone(prepared),
                State::Preparing(waiting) => {
                    waiting.push(wait(token, sql.access, shape, delivery, params)?);
                    self.waiting += 1;
                    return Ok(());
                }
            },
            None => {
                if self.usage == Use::Shared {
                    refuse_on_shared(sql.text)?;
                }
                if sql.text.contains('\0') {
                    return Err(QueryError::Refused("the statement's text has a NUL character"));
                }
                return self.prepare(sql, wait(token, sql.access, shape, delivery, params)?);
            }
        };
        self.bind(token, sql.access, shape, delivery, prepared, params)
    }

    /// Runs any number of statements without parameters; their rows are dropped. The simple query protocol, for
    /// migrations and transaction control on an owned connection.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn simple(&mut self, token: Token, sql: &str) -> Result<(), QueryError> {
        self.check_ready()?;
        if self.usage == Use::Shared {
            return Err(QueryError::Refused("several statements at once, on a shared connection"));
        }
        if sql.contains('\0') {
            return Err(QueryError::Refused("the statement's text has a NUL character"));
        }
        wire::simple(&mut self.out, sql);
        self.fifo.push_back(Entry::Simple { token, abandoned: false, error: None, affected: 0 });
        Ok(())
    }

    /// Forgets a query: no event follows, its sink isn't asked for again. It keeps its place until the server has
    /// answered. False if no query has this token.
    pub fn abandon(&mut self, token: Token) -> bool {
        if self.statements.abandon(token) {
            self.waiting -= 1;
            return true;
        }
        self.fifo.iter_mut().any(|entry| match entry {
            Entry::Query(running) if running.token == token => {
                running.abandoned = true;
                true
            }
            Entry::Simple { token: t, abandoned, .. } if *t == token => {
                *abandoned = true;
                true
            }
            _ => false,
        })
    }

    /// Says goodbye (Terminate); the owner sends it and closes the transport.
    pub fn terminate(&mut self) {
        if self.is_ready() {
            wire::terminate(&mut self.out);
        }
    }

    /// Handles received bytes, in any fragmentation. Rows go to the sinks of `receiver`.
    pub fn handle_bytes(&mut self, bytes: &[u8], receiver: &mut dyn Receiver) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        let bytes = &bytes[skipped..];
        if bytes.is_empty() || self.closed().is_some() {
            return;
        }
        let mut carry = std::mem::take(&mut self.carry);
        let consumed = if carry.is_empty() {
            let consumed = self.process(bytes, receiver);
            carry.extend_from_slice(&bytes[consumed..]);
            consumed
        } else {
            carry.extend_from_slice(bytes);
            let consumed = self.process(&carry, receiver);
            carry.drain(..consumed);
            consumed
        };
        self.scanned -= consumed.min(self.scanned);
        // A long result shouldn't keep its memory for ever.
        if carry.is_empty() && carry.capacity() > 1024 * 1024 {
            carry = Vec::new();
        }
        self.carry = carry;
    }

    /// The transport ended. Every query that isn't done fails.
    pub fn handle_closed(&mut self, cause: &str) {
        let cause = match &self.fatal {
            Some(error) => error.to_string(),
            None => cause.to_owned(),
        };
        self.close(cause);
    }

    fn check_ready(&self) -> Result<(), QueryError> {
        match &self.phase {
            Phase::Ready => Ok(()),
            Phase::Starting(_) => Err(QueryError::Unavailable("the connection is being made".into())),
            Phase::Closed(cause) => Err(QueryError::Unavailable(cause.clone())),
        }
    }

    fn prepare(&mut self, sql: &Sql<'_>, waiting: Waiting) -> Result<(), QueryError> {
        match self.statements.insert(sql, waiting) {
            Ok((slot, closed)) => {
                if let Some(id) = closed {
                    wire::close_statement(&mut self.out, &statement::name(id));
                }
                wire::prepare(&mut self.out, &statement::name(slot.id), sql.text);
                let id = slot.id;
                self.fifo.push_back(Entry::Prepare { id, description: Description::default(), error: None });
                self.preparing += 1;
                self.waiting += 1;
                Ok(())
            }
            Err(_) => Err(QueryError::Unavailable("too many statements are being prepared".into())),
        }
    }

    fn bind(
        &mut self,
        token: Token,
        access: Access,
        shape: Shape,
        delivery: Delivery,
        prepared: Arc<Prepared>,
        params: &[Param<'_>],
    ) -> Result<(), QueryError> {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        let scratch = &mut self.encode;
        prepared.bind(&mut self.out, |out| {
            let start = out.len();
            encode_params(&prepared, params, scratch, out)?;
            bytes.extend_from_slice(&out[start..]);
            Ok::<_, ParameterError>(())
        })?;
        self.push_running(token, access, shape, delivery, prepared, bytes, false);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one record, from its two makers")]
    fn push_running(
        &mut self,
        token: Token,
        access: Access,
        shape: Shape,
        delivery: Delivery,
        prepared: Arc<Prepared>,
        bytes: Vec<u8>,
        healed: bool,
    ) {
        let complete = Complete { has_columns: prepared.has_columns, ..Complete::default() };
        self.fifo.push_back(Entry::Query(Running {
            token,
            access,
            shape,
            delivery,
            prepared,
            bytes,
            abandoned: false,
            healed,
            bound: false,
            list_open: false,
            complete,
            pending: 0,
            result_bytes: 0,
            error: None,
        }));
    }

    /// Scans `buffer` from where the last call ended; returns how many of its bytes are done with.
    fn process(&mut self, buffer: &[u8], receiver: &mut dyn Receiver) -> usize {
        let mut at = self.scanned;
        // Start of the rows that aren't decoded: everything from here on stays. What a former call left scanned
        // is there for its rows.
        let mut rows_at = if at > 0 { 0 } else { usize::MAX };
        while !self.is_closed() {
            let (kind, length) = match wire::head(&buffer[at..]) {
                None => break,
                Some(Ok(head)) => head,
                Some(Err(what)) => {
                    self.close(format!("protocol: {what}"));
                    break;
                }
            };
            if kind == b'D' {
                let dropped = match self.fifo.front_mut() {
                    Some(Entry::Query(running)) => {
                        if running.error.is_none() && running.result_bytes + length > self.result_bytes_max {
                            running.error = Some(QueryError::ResultTooLarge { limit: self.result_bytes_max });
                        }
                        if running.drops_rows() {
                            running.pending = 0;
                            rows_at = usize::MAX;
                        }
                        running.drops_rows()
                    }
                    Some(Entry::Simple { .. }) => true,
                    _ => false,
                };
                if dropped {
                    // Nothing of this row is needed: not even its memory.
                    let here = length.min(buffer.len() - at);
                    self.skip = length - here;
                    at += here;
                    continue;
                }
                if let Some(Entry::Query(running)) = self.fifo.front_mut() {
                    if buffer.len() - at < length {
                        break;
                    }
                    running.result_bytes += length;
                    running.pending += 1;
                    rows_at = rows_at.min(at);
                    at += length;
                    continue;
                }
            }
            if length > MESSAGE_BYTES_MAX {
                self.close(format!("protocol: a message of {length} bytes"));
                break;
            }
            let Some(message) = buffer.get(at..at + length) else { break };
            let body = &message[5..];
            if kind == b'Z' {
                let rows = rows_at.min(at)..at;
                rows_at = usize::MAX;
                self.ready_for_query(body, &buffer[rows], receiver);
            } else if self.message(kind, body).is_none() {
                self.close(format!("protocol: unexpected or malformed message '{}'", kind.escape_ascii()));
            }
            at += length;
        }
        if let Some(Entry::Query(running)) = self.fifo.front_mut()
            && running.delivery == Delivery::Streaming
            && running.pending > 0
        {
            deliver(running, &buffer[rows_at.min(at)..at], &mut self.decode, receiver);
            rows_at = usize::MAX;
        }
        if self.is_closed() {
            self.scanned = 0;
            return buffer.len();
        }
        self.scanned = at;
        rows_at.min(at)
    }

    fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed(_))
    }

    /// Any message but DataRow of a query and ReadyForQuery. `None`: it isn't allowed here, or malformed.
    fn message(&mut self, kind: u8, body: &[u8]) -> Option<()> {
        match kind {
            b'E' => {
                let error = wire::server_error(body)?;
                self.error(Box::new(error))
            }
            b'N' => {
                let notice = wire::server_error(body)?;
                // A statement may raise as many as it likes; nobody reads more than these.
                if self.events.len() < EVENTS_MAX {
                    self.events.push_back(Event::Notice(Box::new(notice)));
                }
                Some(())
            }
            b'S' => {
                let mut body = Body(body);
                let (name, value) = (body.text()?, body.text()?);
                match self.parameters.iter().position(|(key, _)| *key == name) {
                    Some(index) => self.parameters[index].1 = value,
                    None if self.parameters.len() < PARAMETERS_MAX => self.parameters.push((name, value)),
                    None => {}
                }
                Some(())
            }
            // NotificationResponse: nobody listens yet.
            b'A' => Some(()),
            _ if matches!(self.phase, Phase::Starting(_)) => self.starting(kind, body),
            _ => self.answer(kind, body),
        }
    }

    fn starting(&mut self, kind: u8, body: &[u8]) -> Option<()> {
        match kind {
            b'R' => {
                let Phase::Starting(auth) = &mut self.phase else { return None };
                let auth = std::mem::replace(auth, Auth::Start);
                match auth.handle(body, &self.config.user, self.config.password.as_deref(), &mut self.out) {
                    Ok(next) => self.phase = Phase::Starting(next),
                    Err(why) => self.close(format!("authentication: {why}")),
                }
                Some(())
            }
            b'K' => {
                let mut body = Body(body);
                self.backend = Some(BackendKey { process_id: body.u32()?, secret: body.u32()? });
                Some(())
            }
            // NegotiateProtocolVersion: 3.0 is the least there is, so only an option can be unknown.
            b'v' => {
                self.close("the server doesn't know protocol 3.0 or an option of ours".to_owned());
                Some(())
            }
            _ => None,
        }
    }

    /// A message about the query at the head of the FIFO.
    fn answer(&mut self, kind: u8, body: &[u8]) -> Option<()> {
        match self.fifo.front_mut()? {
            Entry::Query(running) => match kind {
                b'2' => running.bound = true,
                b'C' => running.complete.affected = wire::tag_count(body),
                b'I' => {}
                b'3' => {}
                _ => return None,
            },
            Entry::Prepare { description, .. } => match kind {
                b'1' | b'3' | b'n' => {}
                b't' => {
                    let mut body = Body(body);
                    let count = body.u16()?;
                    for _ in 0..count {
                        description.params.push(body.u32()?);
                    }
                }
                b'T' => {
                    description.has_columns = true;
                    let mut body = Body(body);
                    let count = body.u16()?;
                    for _ in 0..count {
                        let name = body.text()?;
                        // Table, attribute number; then type; then its size, modifier and format.
                        body.u32()?;
                        body.u16()?;
                        let oid = body.u32()?;
                        body.u16()?;
                        body.u32()?;
                        body.u16()?;
                        description.columns.push((name, oid));
                    }
                }
                _ => return None,
            },
            Entry::Catalog { .. } => match kind {
                b'T' | b'C' => {}
                b'D' => {
                    let row = catalog_row(body)?;
                    self.catalog.insert(&row);
                }
                _ => return None,
            },
            Entry::Simple { affected, .. } => match kind {
                b'C' => *affected = wire::tag_count(body),
                b'T' | b'I' | b'H' | b'd' | b'c' => {}
                b'G' => {
                    let start = wire::begin(&mut self.out, b'f');
                    wire::cstr(&mut self.out, "COPY FROM STDIN isn't supported");
                    wire::end(&mut self.out, start);
                }
                _ => return None,
            },
        }
        Some(())
    }

    fn error(&mut self, error: Box<ServerError>) -> Option<()> {
        if error.is_fatal() || matches!(self.phase, Phase::Starting(_)) {
            let cause = error.to_string();
            self.fatal = Some(error);
            self.close(cause);
            return Some(());
        }
        match self.fifo.front_mut()? {
            Entry::Query(running) => {
                // The first error counts; what we refused already stays refused.
                if running.error.is_none() {
                    running.error =
                        Some(if running.bound { QueryError::Server(error) } else { bind_error(error) });
                }
            }
            Entry::Prepare { error: slot, .. }
            | Entry::Catalog { error: slot, .. }
            | Entry::Simple { error: slot, .. } => {
                slot.get_or_insert(error);
            }
        }
        Some(())
    }

    /// The answer to a Sync is complete. `rows` are the received bytes from the first undecoded DataRow on.
    fn ready_for_query(&mut self, body: &[u8], rows: &[u8], receiver: &mut dyn Receiver) {
        let [status @ (b'I' | b'T' | b'E')] = *body else {
            self.close("protocol: a malformed ReadyForQuery".to_owned());
            return;
        };
        self.status = status;
        if let Phase::Starting(auth) = &self.phase {
            if matches!(auth, Auth::Done) {
                self.phase = Phase::Ready;
            } else {
                self.close("protocol: ready before authentication".to_owned());
            }
            return;
        }
        let left_open = self.usage == Use::Shared && status != b'I';
        match self.fifo.pop_front() {
            None => self.close("protocol: ReadyForQuery without a query".to_owned()),
            Some(Entry::Query(running)) => self.finish(running, rows, left_open, receiver),
            Some(Entry::Prepare { id, description, error }) => {
                self.preparing -= 1;
                self.described(id, description, error);
            }
            Some(Entry::Catalog { id, description, wanted, error }) => {
                self.preparing -= 1;
                for oid in wanted {
                    self.catalog.insert_unknown(oid);
                }
                self.described(id, description, error);
            }
            Some(Entry::Simple { token, abandoned, error, affected }) => {
                if !abandoned {
                    let result = match error {
                        Some(error) => Err(QueryError::Server(error)),
                        None => Ok(Complete { affected, ..Complete::default() }),
                    };
                    self.events.push_back(Event::Done { token, result });
                }
            }
        }
        if left_open {
            self.close("a statement left a transaction open on a shared connection".to_owned());
        }
    }

    fn finish(&mut self, mut running: Running, rows: &[u8], left_open: bool, receiver: &mut dyn Receiver) {
        if left_open && running.error.is_none() {
            running.error = Some(QueryError::Refused("it leaves a transaction open on a shared connection"));
        }
        if let Some(QueryError::Server(error)) = &running.error
            && !running.abandoned
            && !running.bound
            && is_stale(error)
        {
            let error = error.clone();
            if !running.healed && self.status == b'I' {
                self.heal(running, error);
                return;
            }
            // Inside a transaction: this query fails, the next use prepares again.
            if let Some(slot) = self.statements.remove(running.prepared.id) {
                self.requeue(slot);
            }
        }
        if !running.drops_rows() && running.pending > 0 {
            deliver(&mut running, rows, &mut self.decode, receiver);
        }
        if running.error.is_none() && !running.abandoned {
            conclude(&mut running, receiver);
        }
        let Running { token, abandoned, error, complete, bytes, .. } = running;
        if self.spare.len() < SPARE_MAX && bytes.capacity() <= SPARE_BYTES_MAX {
            self.spare.push(bytes);
        }
        if !abandoned {
            let result = error.map_or(Ok(complete), Err);
            self.events.push_back(Event::Done { token, result });
        }
    }

    /// Repeats a query whose statement went stale, once that is prepared again.
    fn heal(&mut self, running: Running, error: Box<ServerError>) {
        let Running { token, access, shape, delivery, prepared, bytes, .. } = running;
        let waiting = Waiting {
            token,
            access,
            shape,
            delivery,
            input: Input::Encoded { old: Arc::clone(&prepared), bytes, error },
        };
        let sql = Sql { text: &prepared.text, hash: prepared.hash, access };
        let fresh = match self.statements.find(sql.hash, sql.text) {
            None => None,
            Some(slot) if slot.id == prepared.id => {
                self.statements.remove(prepared.id);
                wire::close_statement(&mut self.out, &statement::name(prepared.id));
                None
            }
            Some(slot) => match &mut slot.state {
                State::Ready(fresh) => Some(Arc::clone(fresh)),
                State::Preparing(list) => {
                    list.push(waiting);
                    self.waiting += 1;
                    return;
                }
            },
        };
        match fresh {
            // Another query that failed on the old one has done it already.
            Some(fresh) => self.start(waiting, &fresh),
            None => {
                if let Err(error) = self.prepare(&sql, waiting) {
                    self.events.push_back(Event::Done { token, result: Err(error) });
                }
            }
        }
    }

    /// Queries that wait at a slot that goes away fail; there are none unless it was being prepared.
    fn requeue(&mut self, slot: statement::Slot) {
        wire::close_statement(&mut self.out, &statement::name(slot.id));
        if let State::Preparing(list) = slot.state {
            for waiting in list {
                self.waiting -= 1;
                let result = Err(QueryError::Unavailable("its statement went away".into()));
                self.events.push_back(Event::Done { token: waiting.token, result });
            }
        }
    }

    /// A statement is described, or failed to be: its queries start, or fail.
    fn described(&mut self, id: u64, description: Description, error: Option<Box<ServerError>>) {
        if let Some(error) = error {
            if let Some(statement::Slot { state: State::Preparing(list), .. }) = self.statements.remove(id) {
                for waiting in list {
                    self.waiting -= 1;
                    let result = Err(QueryError::Server(error.clone()));
                    self.events.push_back(Event::Done { token: waiting.token, result });
                }
            }
            return;
        }
        let mut wanted: Vec<u32> = description
            .params
            .iter()
            .chain(description.columns.iter().map(|(_, oid)| oid))
            .copied()
            .filter(|oid| self.catalog.get(*oid).is_none())
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        if !wanted.is_empty() {
            let list: Vec<String> = wanted.iter().map(u32::to_string).collect();
            wire::simple(&mut self.out, &format!("{CATALOG_QUERY}{})", list.join(",")));
            self.fifo.push_back(Entry::Catalog { id, description, wanted, error: None });
            self.preparing += 1;
            return;
        }
        let Some(slot) = self.statements.by_id(id) else { return };
        let prepared = Arc::new(finalize(slot, description, &self.catalog));
        let State::Preparing(list) = std::mem::replace(&mut slot.state, State::Ready(Arc::clone(&prepared)))
        else {
            return;
        };
        for waiting in list {
            self.waiting -= 1;
            self.start(waiting, &prepared);
        }
    }

    fn start(&mut self, waiting: Waiting, prepared: &Arc<Prepared>) {
        let Waiting { token, access, shape, delivery, input } = waiting;
        let result = match input {
            Input::Values(values) => {
                let params: Vec<Param<'_>> = values.iter().map(Param::from).collect();
                self.bind(token, access, shape, delivery, Arc::clone(prepared), &params)
            }
            Input::Encoded { old, bytes, .. } if old.params == prepared.params => {
                let written = prepared.bind(&mut self.out, |out| {
                    out.extend_from_slice(&bytes);
                    Ok::<_, QueryError>(())
                });
                self.push_running(token, access, shape, delivery, Arc::clone(prepared), bytes, true);
                written
            }
            Input::Encoded { error, .. } => Err(QueryError::Server(error)),
        };
        if let Err(error) = result {
            self.events.push_back(Event::Done { token, result: Err(error) });
        }
    }

    fn close(&mut self, cause: String) {
        if self.is_closed() {
            return;
        }
        let cause: Box<str> = cause.into();
        self.phase = Phase::Closed(cause.clone());
        self.out.clear();
        for entry in std::mem::take(&mut self.fifo) {
            let lost =
                |access| QueryError::Lost { unknown_outcome: access == Access::Write, cause: cause.clone() };
            let (token, error) = match entry {
                Entry::Query(Running { abandoned: true, .. }) | Entry::Simple { abandoned: true, .. } => {
                    continue;
                }
                Entry::Query(running) => {
                    (running.token, running.error.unwrap_or_else(|| lost(running.access)))
                }
                Entry::Simple { token, error, .. } => {
                    (token, error.map_or_else(|| lost(Access::Write), QueryError::Server))
                }
                Entry::Prepare { .. } | Entry::Catalog { .. } => continue,
            };
            self.events.push_back(Event::Done { token, result: Err(error) });
        }
        for waiting in self.statements.drain_waiting() {
            let result = Err(QueryError::Unavailable(cause.clone()));
            self.events.push_back(Event::Done { token: waiting.token, result });
        }
        self.waiting = 0;
        self.preparing = 0;
    }
}

/// Notices that wait to be polled.
const EVENTS_MAX: usize = 1024;
/// Parameter buffers kept for reuse, and the largest of them.
const SPARE_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 4096;

fn wait(
    token: Token,
    access: Access,
    shape: Shape,
    delivery: Delivery,
    params: &[Param<'_>],
) -> Result<Waiting, QueryError> {
    if let Some(index) = params.iter().position(|param| matches!(param, Param::Undefined)) {
        return Err(undefined(index).into());
    }
    let values: Vec<Value> = params.iter().map(Param::to_value).collect();
    Ok(Waiting { token, access, shape, delivery, input: Input::Values(values) })
}

fn undefined(index: usize) -> ParameterError {
    ParameterError {
        index: u16::try_from(index + 1).unwrap_or(0),
        type_name: Box::default(),
        reason: format!("${} is undefined; use null for SQL NULL", index + 1).into(),
    }
}

/// Appends `uint16 formats[], uint16 count, values` of Bind.
fn encode_params(
    prepared: &Prepared,
    params: &[Param<'_>],
    scratch: &mut encode::Scratch,
    out: &mut Vec<u8>,
) -> Result<(), ParameterError> {
    if params.len() != prepared.params.len() {
        return Err(ParameterError {
            index: 0,
            type_name: Box::default(),
            reason: format!("the statement has {} parameters, got {}", prepared.params.len(), params.len())
                .into(),
        });
    }
    // Not more than 65,535: ParameterDescription counts them in 16 bits.
    let count = u16::try_from(params.len()).unwrap_or(u16::MAX).to_be_bytes();
    out.extend_from_slice(&count);
    for (param, ty) in params.iter().zip(&prepared.params) {
        out.extend_from_slice(&encode::format(param, *ty).to_be_bytes());
    }
    out.extend_from_slice(&count);
    for ((param, ty), index) in params.iter().zip(&prepared.params).zip(1u16..) {
        if matches!(param, Param::Undefined) {
            return Err(undefined(usize::from(index) - 1));
        }
        encode::value(param, *ty, index, scratch, out)?;
    }
    Ok(())
}

/// Makes a statement of its description; the catalog knows its types.
fn finalize(slot: &statement::Slot, description: Description, catalog: &Catalog) -> Prepared {
    let resolve = |oid: u32| {
        catalog.get(oid).unwrap_or(crate::types::Type {
            oid,
            scalar: crate::types::Scalar::Other,
            array: false,
        })
    };
    let types: Box<[_]> = description.columns.iter().map(|(_, oid)| resolve(*oid)).collect();
    let mut prefix = vec![b'B', 0, 0, 0, 0, 0];
    wire::cstr(&mut prefix, &statement::name(slot.id));
    let mut formats = Vec::new();
    if types.iter().all(|ty| ty.is_binary()) {
        formats.extend_from_slice(&[0, 1, 0, 1]);
    } else {
        formats.extend_from_slice(&u16::try_from(types.len()).unwrap_or(u16::MAX).to_be_bytes());
        for ty in &types {
            formats.extend_from_slice(&u16::from(ty.is_binary()).to_be_bytes());
        }
    }
    let mut suffix = Vec::new();
    wire::execute_and_sync(&mut suffix);
    Prepared {
        id: slot.id,
        text: Arc::clone(&slot.text),
        hash: slot.hash,
        params: description.params.iter().map(|oid| resolve(*oid)).collect(),
        has_columns: description.has_columns,
        columns: description.columns.into_iter().map(|(name, _)| name).collect(),
        types,
        prefix: prefix.into(),
        formats: formats.into(),
        suffix: suffix.into(),
    }
}

/// Pushes the DataRows of `rows` into the query's sink; other messages in between are skipped, they are handled
/// already.
fn deliver(running: &mut Running, rows: &[u8], scratch: &mut decode::Scratch, receiver: &mut dyn Receiver) {
    let pending = std::mem::take(&mut running.pending);
    let Some(sink) = receiver.sink(running.token) else {
        running.abandoned = true;
        return;
    };
    if let Err(error) = push_rows(running, rows, pending, scratch, sink) {
        running.error = Some(QueryError::Value(error));
    }
}

fn push_rows(
    running: &mut Running,
    mut rows: &[u8],
    pending: usize,
    scratch: &mut decode::Scratch,
    sink: &mut dyn ValueSink,
) -> Result<(), ValueError> {
    let malformed = ValueError::Malformed { offset: 0, expected: "a DataRow" };
    if running.shape == Shape::Rows && !running.list_open {
        sink.begin_list((running.delivery == Delivery::Whole).then_some(pending))?;
        running.list_open = true;
    }
    let prepared = &*running.prepared;
    while let Some(Ok((kind, length))) = wire::head(rows) {
        let (message, rest) = rows.split_at_checked(length).ok_or(malformed.clone())?;
        rows = rest;
        if kind != b'D' {
            continue;
        }
        if running.shape != Shape::Rows && running.complete.rows > 0 {
            break;
        }
        let mut body = Body(&message[5..]);
        if body.u16().map(usize::from) != Some(prepared.types.len()) {
            return Err(malformed);
        }
        let mut fields = body.0;
        if running.shape == Shape::Scalar {
            match prepared.types.first() {
                Some(ty) => {
                    let field = decode::field(&mut fields).ok_or(malformed.clone())?;
                    decode::column(*ty, field, scratch, sink)?;
                }
                None => sink.undefined()?,
            }
        } else {
            sink.begin_row(&prepared.columns)?;
            for ty in &prepared.types {
                let field = decode::field(&mut fields).ok_or(malformed.clone())?;
                decode::column(*ty, field, scratch, sink)?;
            }
            if !fields.is_empty() {
                return Err(malformed);
            }
            sink.end_row()?;
        }
        running.complete.rows += 1;
    }
    Ok(())
}

/// Pushes what is left of the one value of a query that went well.
fn conclude(running: &mut Running, receiver: &mut dyn Receiver) {
    let missing = running.complete.rows == 0;
    if matches!(running.shape, Shape::First | Shape::Scalar) && !missing {
        return;
    }
    let Some(sink) = receiver.sink(running.token) else {
        running.abandoned = true;
        return;
    };
    let pushed = match running.shape {
        Shape::Rows if running.list_open => sink.end_list(),
        Shape::Rows => sink.begin_list(Some(0)).and_then(|()| sink.end_list()),
        Shape::First | Shape::Scalar => sink.undefined(),
        Shape::Affected => sink.int(i64::try_from(running.complete.affected).unwrap_or(i64::MAX)),
    };
    if let Err(error) = pushed {
        running.error = Some(QueryError::Value(error));
    }
}

/// An error before BindComplete that comes from what the statement was when it was prepared: the server doesn't
/// know it any more, its result type changed, or with the parameter types of then it has no meaning now (class 42
/// without 42501, insufficient privilege: a column's type changed from int8 to text, say).
fn is_stale(error: &ServerError) -> bool {
    match &*error.code {
        "26000" => true,
        "0A000" => &*error.routine == "RevalidateCachedQuery",
        code => code.starts_with("42") && code != "42501",
    }
}

/// An error before BindComplete: mostly a value that the input function of its type refused.
fn bind_error(error: Box<ServerError>) -> QueryError {
    let refused = matches!(
        &*error.code,
        "22P02"
            | "22P03"
            | "22P05"
            | "22003"
            | "22007"
            | "22008"
            | "22015"
            | "22021"
            | "22023"
            | "22032"
            | "2202E"
    );
    if !refused {
        return QueryError::Server(error);
    }
    // `unnamed portal parameter $2 = '...'`, in whatever language.
    let index = error.context.split('$').nth(1).map_or(0, |rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().unwrap_or(0)
    });
    ParameterError { index, type_name: Box::default(), reason: error.message }.into()
}

/// Statements that would change a shared connection for the next task, by their first word.
fn refuse_on_shared(sql: &str) -> Result<(), QueryError> {
    let word = first_word(sql);
    let is = |words: &[&str]| words.iter().any(|w| w.eq_ignore_ascii_case(word));
    let why = if is(&["BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"]) {
        "transaction control needs a connection of its own (tx)"
    } else if is(&["SET", "RESET", "DISCARD", "PREPARE", "DEALLOCATE", "LOAD"]) {
        "it changes the session, which other tasks share"
    } else if is(&["LISTEN", "UNLISTEN"]) {
        "LISTEN needs a connection of its own"
    } else if is(&["DECLARE", "FETCH", "MOVE", "CLOSE"]) {
        "cursors need a transaction"
    } else if is(&["COPY"]) {
        "COPY isn't supported here"
    } else {
        return Ok(());
    };
    Err(QueryError::Refused(why))
}

/// The first word of a statement, behind spaces, comments and semicolons.
fn first_word(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ';' || c == '(');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if rest.starts_with("/*") {
            rest = skip_comment(rest);
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            return &rest[..end];
        }
    }
}

/// What follows a block comment, which may contain others (manual: "Comments").
fn skip_comment(sql: &str) -> &str {
    let mut depth = 0usize;
    let mut rest = sql;
    while let Some(at) = rest.find(['/', '*']) {
        rest = &rest[at..];
        if let Some(inner) = rest.strip_prefix("/*") {
            depth += 1;
            rest = inner;
        } else if let Some(after) = rest.strip_prefix("*/") {
            depth -= 1;
            rest = after;
            if depth == 0 {
                return rest;
            }
        } else {
            rest = &rest[1..];
        }
    }
    ""
}

/// A DataRow of [`CATALOG_QUERY`], in text format.
fn catalog_row(body: &[u8]) -> Option<CatalogRow> {
    let mut body = Body(body);
    if body.u16()? != 6 {
        return None;
    }
    let mut fields = body.0;
    let mut next = || decode::field(&mut fields)?.and_then(|bytes| std::str::from_utf8(bytes).ok());
    Some(CatalogRow {
        oid: next()?.parse().ok()?,
        kind: *next()?.as_bytes().first()?,
        base: next()?.parse().ok()?,
        element: next()?.parse().ok()?,
        element_kind: *next()?.as_bytes().first()?,
        element_base: next()?.parse().ok()?,
    })
}
