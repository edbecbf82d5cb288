//! One connection as a state machine: bytes in, bytes out, events out. No socket, no clock.
//!
//! ```text
//!   [SSLRequest --S--> TLS handshake]
//!   Starting --ReadyForQuery--> [Probing] --> Ready --(error, FATAL, EOF)--> Closed
//!      \--SCRAM--> a Job for another thread --handle_job--> Starting
//! ```
//! Every query has a Sync of its own, so that one that fails takes no other with it, and an entry in a FIFO that
//! its ReadyForQuery takes out. An abandoned query keeps its place and its rows are dropped. Statements that are proven
//! to only read, and known to be fast, share one Sync while they wait to be sent (`group.rs`): what a failure skips is
//! sent again.
//!
//! ```text
//!   first use     Parse Describe Sync            FIFO: Prepare            the query waits at its statement
//!                 (SELECT ... pg_type)           FIFO: Catalog            only for types of this database
//!   afterwards    Bind Execute Sync              FIFO: Query
//!   proven        Bind Execute Bind Execute Sync FIFO: Query (unsynced), Query
//! ```
//! Rows are decoded where they were received: a [`Delivery::Whole`] result stays undecoded, as a range of the
//! received bytes, until its ReadyForQuery says that it is one (a deferred constraint fails after CommandComplete).
//! If it came in one piece, as nearly every result does, those bytes are the caller's own buffer.
//!
//! **Poolers.** Behind a pooler in transaction mode a statement may be bound on another session than the one it was
//! prepared on. When healing doesn't help against 26000, the connection sends every query with its text from then on
//! (an unnamed statement, parsed and bound under one Sync), and the description of the result is checked against what
//! the rows are decoded as.
//!
//! **Healing.** A statement that the server no longer knows (26000: DISCARD ALL, a pooler), whose result type changed
//! (0A000 from `RevalidateCachedQuery`: ALTER TABLE) or which lost its meaning (class 42) is prepared again and its
//! query repeated once: the error came before BindComplete, so nothing has run. If the parameters have other types
//! now, the query fails and the next one is right. Not inside a transaction, which the error has already aborted.

mod copying;
mod describe;
mod group;
mod ints;
mod receive;
mod rows;
mod scram;
mod secure;
mod shared;
mod startup;
mod statement;
mod wire;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use forebay_base::limits::DatabaseLimits;
use forebay_base::{Monotonic, Value};

use crate::config::{Config, Host, Session, SslMode};
use crate::error::{ParameterError, QueryError, ServerError};
use crate::param::Param;
use crate::query::{Access, Complete, Delivery, Event, Receiver, Shape, Sql, Token};
use crate::types::{Catalog, decode, encode};
use copying::{CopyOut, Copying};
use group::Proof;
use secure::Secure;
use startup::Auth;
use statement::{Description, Input, Prepared, State, Statements, Waiting};

pub use describe::{Described, DescribedColumn};
pub use group::GROUP_MAX;
pub use scram::{Job, SCRAM_ITERATIONS_MAX};
pub use wire::MESSAGE_BYTES_MAX;

/// ParameterStatus names kept; a server has about fifteen.
const PARAMETERS_MAX: usize = 64;

/// What may run on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Independent tasks share it: statements that would change it for others are refused, and a transaction left
    /// open ends the connection.
    Shared,
    /// One transaction after the other: what would outlive one is refused.
    Transaction,
    /// One owner: everything is its business.
    Owned,
}

/// What a CancelRequest needs.
#[derive(Clone, PartialEq, Eq)]
pub struct BackendKey {
    /// Process of the server, as in `pg_stat_activity.pid`.
    pub process_id: u32,
    /// Its secret: 4 bytes in protocol 3.0, 4 to 256 in 3.2.
    pub secret: Box<[u8]>,
}

impl std::fmt::Debug for BackendKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackendKey").field("process_id", &self.process_id).finish_non_exhaustive()
    }
}

impl BackendKey {
    /// The CancelRequest: the only message of a connection of its own, to the same address.
    #[must_use]
    pub fn cancel_request(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12 + self.secret.len());
        wire::cancel_request(&mut out, self.process_id, &self.secret);
        out
    }
}

/// One attempt: which host, how encrypted, which session will do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// Number of the host: [`Config::host`].
    pub host: usize,
    /// How the connection begins.
    pub encryption: Encryption,
    /// Which session will do.
    pub session: Session,
}

/// How a connection begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encryption {
    /// In plain text.
    Plain,
    /// With the question whether the server has TLS. `required`: it must.
    Ask {
        /// Whether a no ends the connection.
        required: bool,
    },
    /// With the handshake.
    Direct,
}

impl Target {
    /// The attempts that a configuration asks for, best first; `seed` shuffles the hosts if they are to be balanced.
    #[must_use]
    pub fn plan(config: &Config, seed: u64) -> Vec<Self> {
        let mut hosts: Vec<usize> = (0..config.host_count()).collect();
        if config.balance {
            let mut rng = forebay_base::rng::Rng::new(seed);
            for index in (1..hosts.len()).rev() {
                hosts.swap(index, usize::try_from(rng.below(index as u64 + 1)).unwrap_or(0));
            }
        }
        let encryptions: &[Encryption] = match (config.tls.mode, config.tls.direct) {
            (SslMode::Disable, _) => &[Encryption::Plain],
            (SslMode::Allow, _) => &[Encryption::Plain, Encryption::Ask { required: true }],
            (SslMode::Prefer, _) => &[Encryption::Ask { required: false }, Encryption::Plain],
            (SslMode::Require, false) => &[Encryption::Ask { required: true }],
            (SslMode::Require, true) => &[Encryption::Direct],
        };
        let passes: &[Session] = match &config.session {
            Session::PreferStandby => &[Session::Standby, Session::Any],
            other => std::slice::from_ref(other),
        };
        let mut plan = Vec::new();
        for session in passes {
            for &host in &hosts {
                // A unix socket is never encrypted, as in libpq.
                let unix = matches!(config.host(host).0, Host::Unix(_));
                let encryptions = if unix { &[Encryption::Plain] } else { encryptions };
                plan.extend(encryptions.iter().map(|&encryption| Self {
                    host,
                    encryption,
                    session: *session,
                }));
            }
        }
        plan
    }

    /// Whether another attempt differs by its encryption alone.
    #[must_use]
    pub fn same_host(&self, other: &Self) -> bool {
        self.host == other.host && self.session == other.session
    }
}

enum Phase {
    Starting(Auth),
    /// The server is asked whether it is the kind that will do.
    Probing,
    Ready,
    Closed(Box<str>),
}

/// One Sync on its way.
enum Entry {
    /// Parse, Describe, Sync.
    Prepare { id: u64, description: Description, error: Option<Box<ServerError>> },
    /// A simple query of `pg_type`, for the statement `id`.
    Catalog { id: u64, description: Description, wanted: Vec<u32>, error: Option<Box<ServerError>> },
    /// A simple query: is the server in recovery, does it accept writes?
    Session { standby: bool, read_only: bool, known: bool },
    /// A simple query of the catalog: does the statement `id` only read?
    Proof { id: u64, proven: bool },
    /// Parse, Describe, Sync, for somebody who asked.
    Describe { token: Token, described: Described, error: Option<Box<ServerError>> },
    /// Bind, Execute, Sync.
    Query(Running),
    /// COPY FROM STDIN. `refused`: why we ended it.
    CopyIn {
        token: Token,
        abandoned: bool,
        error: Option<Box<ServerError>>,
        refused: Option<QueryError>,
        affected: u64,
    },
    /// A simple query of any number of statements; rows are dropped.
    Simple {
        token: Token,
        abandoned: bool,
        error: Option<Box<ServerError>>,
        affected: u64,
        /// It is a COMMIT, which must not turn out to be a ROLLBACK.
        commit: bool,
        rolled_back: bool,
    },
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
    /// Its Sync follows it; else it shares that of a later entry.
    synced: bool,
    bound: bool,
    list_open: bool,
    complete: Complete,
    /// DataRows received and not decoded.
    pending: usize,
    result_bytes: usize,
    /// It opens this portal, or fetches from it.
    portal: Option<Portal>,
    /// It is a COPY TO STDOUT.
    copy: Option<CopyOut>,
    error: Option<QueryError>,
}

/// A cursor of a transaction: its rows come in parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Portal {
    number: u32,
    /// Rows per part; not 0, which would be all.
    rows: u32,
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
    target: Target,
    /// TLS, or nothing.
    secure: Secure,
    /// What SCRAM can be bound to, once the handshake is over.
    secure_end_point: Option<Vec<u8>>,
    /// A computation for another thread.
    job: Option<Job>,
    /// Minor version of protocol 3 that the server speaks.
    minor: u16,
    was_ready: bool,
    /// Part of the names of its statements.
    tag: u64,
    /// Every query carries its text: whoever is at the other end doesn't keep statements for us.
    unnamed: bool,
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
    /// Members of the group whose Sync is the end of `out`, and where that end is. 0: nobody can join.
    group: usize,
    group_end: usize,
    /// How long its members take together, by their averages.
    group_time: Duration,
    /// As of the last [`Connection::advance`].
    now: Monotonic,
    /// Since when the server is at work for the head of the FIFO, as far as we know.
    busy_since: Monotonic,
    /// Queries that joined the Sync of one before them.
    joined: u64,
    /// Hashes of statements that turned out to be slow, for the pool.
    slow: Vec<u64>,
    /// Of the last [`Connection::describe`].
    last_described: Option<Described>,
    /// The COPY that has this connection.
    copying: Option<Copying>,
    /// Open cursors, with what their rows look like.
    portals: Vec<(u32, Arc<Prepared>)>,
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
    pub fn new(config: Arc<Config>, limits: &DatabaseLimits, usage: Use, target: Target) -> Self {
        let mut out = Vec::new();
        wire::startup(&mut out, &config);
        let (secure, phase) = match Secure::new(&config, target) {
            Ok(secure) => (secure, Phase::Starting(Auth::Start)),
            Err(cause) => (Secure::Plain, Phase::Closed(cause.into())),
        };
        Self {
            phase,
            usage,
            target,
            secure,
            secure_end_point: None,
            job: None,
            minor: config.protocol.1,
            was_ready: false,
            tag: 0,
            unnamed: config.unnamed,
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
            group: 0,
            group_end: 0,
            group_time: Duration::ZERO,
            now: Monotonic::default(),
            busy_since: Monotonic::default(),
            joined: 0,
            slow: Vec::new(),
            last_described: None,
            copying: None,
            portals: Vec::new(),
        }
    }

    /// Tells the time: what follows happens at `now`. Without it statements have no speed, so none shares its Sync.
    pub fn advance(&mut self, now: Monotonic) {
        self.now = now;
    }

    /// True if a read that is queried now would share the Sync of one that waits to be sent.
    #[must_use]
    pub fn has_open_group(&self) -> bool {
        self.group > 0 && self.group < GROUP_MAX && self.group_time < group::GROUP_TIME_MAX
    }

    /// Queries so far that shared the Sync of one before them.
    #[must_use]
    pub fn joined(&self) -> u64 {
        self.joined
    }

    /// True if the server has been at work for the head of the FIFO for longer than a fast statement takes: others
    /// should go elsewhere.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        !self.fifo.is_empty() && self.busy_since.after(SLOW_MIN) < self.now
    }

    /// The next hash of a statement that takes longer than [`SLOW_MIN`].
    pub fn poll_slow(&mut self) -> Option<u64> {
        self.slow.pop()
    }

    /// True from the first ReadyForQuery to the end.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// True if it has ever been ready.
    #[must_use]
    pub fn was_ready(&self) -> bool {
        self.was_ready
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

    /// Of these, queries that wait for their statement to be prepared: they are not sent yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Bytes that wait to be sent.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.out.len() + self.secure.output_len()
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
    pub fn backend_key(&self) -> Option<&BackendKey> {
        self.backend.as_ref()
    }

    /// Minor version of protocol 3 that was agreed on, once the connection is ready.
    #[must_use]
    pub fn protocol_minor(&self) -> u16 {
        self.minor
    }

    /// True if every query carries its text, as there is a pooler in between or the configuration says so.
    #[must_use]
    pub fn is_unnamed(&self) -> bool {
        self.unnamed
    }

    /// From now on every query carries its text.
    pub(crate) fn send_texts(&mut self) {
        self.unnamed = true;
    }

    /// Whether the bytes are encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.secure.is_encrypted()
    }

    /// Which host, and how.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// A computation that takes about a millisecond: run it on another thread, then [`Connection::handle_job`].
    pub fn poll_job(&mut self) -> Option<Job> {
        self.job.take()
    }

    /// The computation is done.
    pub fn handle_job(&mut self, done: Job) {
        if let Phase::Starting(auth @ Auth::Computing) = &mut self.phase {
            match done.finish(&mut self.out) {
                Ok(next) => *auth = next,
                Err(why) => self.close(format!("authentication: {why}")),
            }
        }
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
        if !self.secure.is_plain() {
            self.group = 0;
            return self.secure.take_output(&mut self.out, buffer);
        }
        if self.out.is_empty() {
            return false;
        }
        std::mem::swap(&mut self.out, buffer);
        self.group = 0;
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

    /// Moves all events to the end of `events`, as [`Connection::poll_event`] would one by one.
    pub(crate) fn append_events(&mut self, events: &mut VecDeque<Event>) {
        events.append(&mut self.events);
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
        self.check_free()?;
        self.query_with(token, sql, params, shape, delivery, None)
    }

    /// Opens a cursor and gets its first `rows` rows, as [`Shape::Rows`]; the next ones by [`Connection::fetch`]. Only in a
    /// transaction, and `number` is the caller's to choose. Fewer rows than asked for: there are no more.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn open_cursor(
        &mut self,
        token: Token,
        number: u32,
        rows: u32,
        sql: &Sql<'_>,
        params: &[Param<'_>],
    ) -> Result<(), QueryError> {
        self.check_free()?;
        let portal = Portal { number, rows: rows.max(1) };
        self.query_with(token, sql, params, Shape::Rows, Delivery::Whole, Some(portal))
    }

    /// The next `rows` rows of a cursor.
    ///
    /// # Errors
    /// As [`Connection::query`]; there is no such cursor.
    pub fn fetch(&mut self, token: Token, number: u32, rows: u32) -> Result<(), QueryError> {
        self.check_free()?;
        let Some((_, prepared)) = self.portals.iter().find(|(open, _)| *open == number) else {
            return Err(QueryError::Refused("the cursor is closed"));
        };
        let prepared = Arc::clone(prepared);
        let portal = Portal { number, rows: rows.max(1) };
        wire::execute_portal(&mut self.out, &portal_name(number), portal.rows);
        let mut running =
            running_of(token, Access::Write, Shape::Rows, Delivery::Whole, prepared, Vec::new(), true);
        (running.portal, running.bound) = (Some(portal), true);
        self.push_running(running);
        Ok(())
    }

    /// Closes a cursor; no event follows.
    pub fn close_cursor(&mut self, number: u32) {
        self.portals.retain(|(open, _)| *open != number);
        if self.check_free().is_ok() {
            wire::close_portal(&mut self.out, &portal_name(number));
            self.push_simple(Token(0), false);
            if let Some(Entry::Simple { abandoned, .. }) = self.fifo.back_mut() {
                *abandoned = true;
            }
        }
    }

    /// Asks the server for a sign of life; no event follows.
    pub fn ping(&mut self) {
        if self.check_free().is_ok() {
            wire::simple(&mut self.out, "");
            self.push_simple(Token(0), false);
            if let Some(Entry::Simple { abandoned, .. }) = self.fifo.back_mut() {
                *abandoned = true;
            }
        }
    }

    fn query_with(
        &mut self,
        token: Token,
        sql: &Sql<'_>,
        params: &[Param<'_>],
        shape: Shape,
        delivery: Delivery,
        portal: Option<Portal>,
    ) -> Result<(), QueryError> {
        let mut ask = None;
        let (prepared, groupable) = match self.statements.find(sql.hash, sql.text) {
            Some(slot) => match &mut slot.state {
                State::Ready(prepared) => {
                    let shared = self.usage == Use::Shared && sql.access == Access::Read;
                    let groupable = if shared { slot.merit.may_share(self.now) } else { None };
                    if shared && slot.merit.wants_proof(self.now) {
                        slot.merit.proof = Proof::Asked;
                        ask = Some(slot.id);
                    }
                    (Arc::clone(prepared), groupable)
                }
                State::Preparing(waiting) => {
                    waiting.push(wait(token, sql.access, shape, delivery, portal, params)?);
                    self.waiting += 1;
                    return Ok(());
                }
            },
            None => {
                shared::refuse(sql.text, self.usage)?;
                if sql.text.contains('\0') {
                    return Err(QueryError::Refused("the statement's text has a NUL character"));
                }
                return self.prepare(sql, wait(token, sql.access, shape, delivery, portal, params)?);
            }
        };
        if let Some(id) = ask {
            self.ask_for_proof(id, &prepared);
        }
        self.bind((token, sql.access, shape, delivery, portal), prepared, params, groupable)
    }

    /// Asks the catalog whether this statement only reads; what its text or its types say already needs no question.
    fn ask_for_proof(&mut self, id: u64, prepared: &Prepared) {
        // A type of a user may run a function to read its text.
        let plain = prepared.params.iter().all(|ty| ty.oid < crate::types::FIRST_USER_OID);
        let question = if plain { group::question(&prepared.text) } else { None };
        match question {
            Some(question) => {
                self.start_busy();
                wire::simple(&mut self.out, &question);
                self.fifo.push_back(Entry::Proof { id, proven: false });
                self.preparing += 1;
            }
            None => {
                if let Some(slot) = self.statements.by_id(id) {
                    slot.merit.prove(false, self.now);
                }
            }
        }
    }

    /// Something will be sent to a server that has nothing to do.
    fn start_busy(&mut self) {
        if self.fifo.is_empty() {
            self.busy_since = self.now;
        }
    }

    /// Runs any number of statements without parameters; their rows are dropped. The simple query protocol, for
    /// migrations and transaction control on an owned connection.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn simple(&mut self, token: Token, sql: &str) -> Result<(), QueryError> {
        self.check_free()?;
        if self.usage == Use::Shared {
            return Err(QueryError::Refused("several statements at once, on a shared connection"));
        }
        if sql.contains('\0') {
            return Err(QueryError::Refused("the statement's text has a NUL character"));
        }
        wire::simple(&mut self.out, sql);
        self.push_simple(token, false);
        Ok(())
    }

    /// Sends COMMIT or ROLLBACK. A COMMIT that the server answers with ROLLBACK, as a statement before it failed, is
    /// [`QueryError::Refused`].
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn end_transaction(&mut self, token: Token, commit: bool) -> Result<(), QueryError> {
        self.check_ready()?;
        self.copy_fail(None);
        self.copying = None;
        self.portals.clear();
        wire::simple(&mut self.out, if commit { "COMMIT" } else { "ROLLBACK" });
        self.push_simple(token, commit);
        Ok(())
    }

    fn push_simple(&mut self, token: Token, commit: bool) {
        let (abandoned, error, affected, rolled_back) = (false, None, 0, false);
        self.start_busy();
        self.fifo.push_back(Entry::Simple { token, abandoned, error, affected, commit, rolled_back });
    }

    /// Forgets a query: no event follows, its sink isn't asked for again. It keeps its place until the server has
    /// answered. False if no query has this token.
    pub fn abandon(&mut self, token: Token) -> bool {
        if self.statements.abandon(token) {
            self.waiting -= 1;
            return true;
        }
        if self.copy_token() == Some(token) {
            self.copy_fail(None);
            self.copying = None;
            self.abandon_entry(token);
            return true;
        }
        self.abandon_entry(token)
    }

    fn abandon_entry(&mut self, token: Token) -> bool {
        self.fifo.iter_mut().any(|entry| match entry {
            Entry::Query(running) if running.token == token => {
                running.abandoned = true;
                true
            }
            Entry::Simple { token: t, abandoned, .. } | Entry::CopyIn { token: t, abandoned, .. }
                if *t == token =>
            {
                *abandoned = true;
                true
            }
            _ => false,
        })
    }

    /// Forgets every query, as [`Connection::abandon`] does one.
    pub fn abandon_all(&mut self) {
        self.statements.drain_waiting();
        self.waiting = 0;
        self.copy_fail(None);
        self.copying = None;
        for entry in &mut self.fifo {
            match entry {
                Entry::Query(running) => running.abandoned = true,
                Entry::Simple { abandoned, .. } | Entry::CopyIn { abandoned, .. } => *abandoned = true,
                Entry::Prepare { .. }
                | Entry::Describe { .. }
                | Entry::Catalog { .. }
                | Entry::Proof { .. }
                | Entry::Session { .. } => {}
            }
        }
    }

    /// True if the server is at work for a query that was abandoned: all others wait for it.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        matches!(
            self.fifo.front(),
            Some(
                Entry::Query(Running { abandoned: true, .. })
                    | Entry::Simple { abandoned: true, .. }
                    | Entry::CopyIn { abandoned: true, .. }
            )
        )
    }

    /// The CancelRequest for the abandoned query that the server is at work for, if there is one and nothing else could
    /// be hit: behind it there is nothing, or only the ROLLBACK of its own transaction, whose failure ends this
    /// connection alone. Not on an encrypted connection: the request would show its key.
    #[must_use]
    pub fn cancel_request(&self) -> Option<Vec<u8>> {
        let alone = match self.fifo.len() {
            1 => true,
            2 => {
                self.usage == Use::Transaction
                    && matches!(self.fifo[1], Entry::Simple { abandoned: true, .. })
            }
            _ => false,
        };
        let runs = matches!(self.fifo.front(), Some(Entry::Query(Running { abandoned: true, .. })));
        if !alone || !runs || self.waiting > 0 || self.is_encrypted() {
            return None;
        }
        self.backend.as_ref().map(BackendKey::cancel_request)
    }

    /// Says goodbye (Terminate); the owner sends it and closes the transport.
    pub fn terminate(&mut self) {
        if self.is_ready() {
            wire::terminate(&mut self.out);
        }
    }

    /// Handles received bytes, in any fragmentation. Rows go to the sinks of `receiver`.
    pub fn handle_bytes(&mut self, bytes: &[u8], receiver: &mut dyn Receiver) {
        if self.secure.is_plain() {
            return self.handle_plain(bytes, receiver);
        }
        if self.closed().is_some() {
            return;
        }
        let config = Arc::clone(&self.config);
        let mut secure = std::mem::replace(&mut self.secure, Secure::Plain);
        let result = secure.handle_bytes(bytes, &config, self.target, &mut |plain, end_point| {
            if self.secure_end_point.is_none() {
                self.secure_end_point = end_point();
            }
            self.handle_plain(plain, receiver);
        });
        self.secure = secure;
        if let Err(cause) = result {
            self.close(cause);
        }
    }

    fn handle_plain(&mut self, bytes: &[u8], receiver: &mut dyn Receiver) {
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
            None if self.secure.is_unanswered() => format!("{cause} ({})", secure::DIRECT),
            None => cause.to_owned(),
        };
        self.close(cause);
    }

    /// Ready, and no COPY in the way: what follows an open COPY FROM would end the connection.
    fn check_free(&self) -> Result<(), QueryError> {
        self.check_ready()?;
        match self.copying {
            Some(_) => Err(QueryError::Refused("a COPY is under way on this connection")),
            None => Ok(()),
        }
    }

    fn check_ready(&self) -> Result<(), QueryError> {
        match &self.phase {
            Phase::Ready => Ok(()),
            Phase::Starting(_) | Phase::Probing => {
                Err(QueryError::Unavailable("the connection is being made".into()))
            }
            Phase::Closed(cause) => Err(QueryError::Unavailable(cause.clone())),
        }
    }

    fn prepare(&mut self, sql: &Sql<'_>, waiting: Waiting) -> Result<(), QueryError> {
        match self.statements.insert(sql, waiting) {
            Ok((slot, closed)) => {
                if let Some(id) = closed {
                    wire::close_statement(&mut self.out, &statement::name(self.tag, id));
                }
                wire::prepare(&mut self.out, &statement::name(self.tag, slot.id), sql.text);
                let id = slot.id;
                self.start_busy();
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
        (token, access, shape, delivery, portal): (Token, Access, Shape, Delivery, Option<Portal>),
        prepared: Arc<Prepared>,
        params: &[Param<'_>],
        groupable: Option<Duration>,
    ) -> Result<(), QueryError> {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        let joins = groupable.is_some() && self.has_open_group() && self.group_end == self.out.len();
        if joins {
            self.out.truncate(self.group_end - wire::SYNC.len());
        }
        let ints =
            if portal.is_none() && !self.unnamed { prepared.bind_ints(&mut self.out, params) } else { None };
        let scratch = &mut self.encode;
        let bound = if let Some(range) = ints {
            bytes.extend_from_slice(&self.out[range]);
            Ok(())
        } else {
            prepared.bind(&mut self.out, self.unnamed, portal, |out| {
                let start = out.len();
                encode_params(&prepared, params, scratch, out)?;
                bytes.extend_from_slice(&out[start..]);
                Ok::<_, QueryError>(())
            })
        };
        if let Err(error) = bound {
            if joins {
                self.out.extend_from_slice(&wire::SYNC);
            }
            return Err(error);
        }
        let before = if joins { (self.group, self.group_time) } else { (0, Duration::ZERO) };
        self.group = before.0 + usize::from(groupable.is_some());
        self.group_time = before.1 + groupable.unwrap_or_default();
        self.group_end = self.out.len();
        if joins && let Some(Entry::Query(before)) = self.fifo.back_mut() {
            before.synced = false;
            self.joined += 1;
        }
        if let Some(portal) = portal {
            self.portals.retain(|(open, _)| *open != portal.number);
            self.portals.push((portal.number, Arc::clone(&prepared)));
        }
        let running = running_of(token, access, shape, delivery, prepared, bytes, false);
        self.push_running(Running { portal, ..running });
        Ok(())
    }

    #[inline(always)]
    fn push_running(&mut self, running: Running) {
        self.start_busy();
        self.fifo.push_back(Entry::Query(running));
    }

    fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed(_))
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
                Entry::Query(Running { abandoned: true, .. })
                | Entry::Simple { abandoned: true, .. }
                | Entry::CopyIn { abandoned: true, .. } => {
                    continue;
                }
                Entry::CopyIn { token, error, refused, .. } => {
                    self.copying = None;
                    let server = error.map(QueryError::Server);
                    (token, refused.or(server).unwrap_or_else(|| lost(Access::Write)))
                }
                Entry::Query(running) => {
                    (running.token, running.error.unwrap_or_else(|| lost(running.access)))
                }
                Entry::Simple { token, error, .. } => {
                    (token, error.map_or_else(|| lost(Access::Write), QueryError::Server))
                }
                Entry::Describe { token, .. } => (token, lost(Access::Read)),
                Entry::Prepare { .. }
                | Entry::Catalog { .. }
                | Entry::Proof { .. }
                | Entry::Session { .. } => continue,
            };
            self.events.push_back(Event::Done { token, result: Err(error) });
        }
        if let Some(copying) = self.copying.take() {
            // It has begun nothing yet.
            let result = Err(QueryError::Unavailable(cause.clone()));
            self.events.push_back(Event::Done { token: copying.token, result });
        }
        for waiting in self.statements.drain_waiting() {
            let result = Err(QueryError::Unavailable(cause.clone()));
            self.events.push_back(Event::Done { token: waiting.token, result });
        }
        self.waiting = 0;
        self.preparing = 0;
    }
}

/// A statement whose average is above this is slow: it belongs on a connection of its own, where nobody waits behind it.
pub const SLOW_MIN: Duration = Duration::from_millis(50);
/// Hashes of slow statements that wait to be polled.
const SLOW_HASHES_MAX: usize = 64;
/// Notices that wait to be polled.
const EVENTS_MAX: usize = 1024;
/// Parameter buffers kept for reuse, and the largest of them.
const SPARE_MAX: usize = 256;
const SPARE_BYTES_MAX: usize = 4096;

fn wait(
    token: Token,
    access: Access,
    shape: Shape,
    delivery: Delivery,
    portal: Option<Portal>,
    params: &[Param<'_>],
) -> Result<Waiting, QueryError> {
    if let Some(index) = params.iter().position(|param| matches!(param, Param::Undefined)) {
        return Err(undefined(index).into());
    }
    let values: Vec<Value> = params.iter().map(Param::to_value).collect();
    Ok(Waiting { token, access, shape, delivery, portal, input: Input::Values(values) })
}

#[inline(always)]
fn running_of(
    token: Token,
    access: Access,
    shape: Shape,
    delivery: Delivery,
    prepared: Arc<Prepared>,
    bytes: Vec<u8>,
    healed: bool,
) -> Running {
    Running {
        token,
        access,
        shape,
        delivery,
        complete: Complete { has_columns: prepared.has_columns, ..Complete::default() },
        prepared,
        bytes,
        abandoned: false,
        healed,
        synced: true,
        bound: false,
        list_open: false,
        pending: 0,
        result_bytes: 0,
        portal: None,
        copy: None,
        error: None,
    }
}

fn portal_name(number: u32) -> String {
    format!("c{number}")
}

fn undefined(index: usize) -> ParameterError {
    ParameterError {
        index: 0,
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
) -> Result<(), QueryError> {
    if params.len() != prepared.params.len() {
        return Err(QueryError::Values { wanted: prepared.params.len(), got: params.len() });
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
            return Err(undefined(usize::from(index) - 1).into());
        }
        encode::value(param, *ty, index, scratch, out)?;
    }
    Ok(())
}
