//! The connections of one core: which query goes where, who waits, when to reconnect. Decides, and never sees a
//! socket: the owner does what [`Pool::poll_action`] says and reports what happened.
//!
//! ```text
//!   link:  Down --retry_at--> Dialing --handle_connected--> Starting --ReadyForQuery--> Ready
//!           ^                   |                              |                          |
//!           +------- failure, with backoff and jitter ---------+------ closed, FATAL -----+
//! ```
//! A query goes to the ready link with the fewest in flight, at most `window` on each, or to one where it can share a
//! Sync, and not behind a statement that takes its time while there is another link. What turned out to be slow on a
//! shared link runs on one of its own from then on. Beyond the window a query waits in a
//! bounded queue until its deadline, then it is [`QueryError::Unavailable`]. So a database that restarts is a pause
//! for those who can wait, and 503 for the rest. A query that was sent is never sent again by the pool: only its
//! caller knows whether that is safe.
//!
//! A transaction owns a connection of its own from BEGIN to COMMIT (`transaction.rs`): on a shared one another task's
//! write would be rolled back with it.
//!
//! All methods take `now`; [`Pool::next_deadline`] says when [`Pool::handle_timeout`] has work.

mod copying;
mod listen;
mod transaction;
mod upkeep;

pub use listen::{CHANNEL_BYTES_MAX, CHANNELS_MAX};

pub(crate) use transaction::literal;
pub use transaction::{Isolation, Mode, OVER, SETTINGS_BYTES_MAX, Settings};
pub use upkeep::CANCEL_AFTER;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use forebay_base::limits::DatabaseLimits;
use forebay_base::rng::Rng;
use forebay_base::{Monotonic, Value};

use crate::config::Config;
use crate::connection::{Connection, Job, Target, Use};
use crate::error::QueryError;
use crate::param::Param;
use crate::query::{Access, Delivery, Event, Receiver, Shape, Sql, Token};

/// Output that a link may hold back before it takes no more queries.
pub const LINK_OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// Wait after a first failure; doubles with each one that follows.
pub const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// How long the server may be silent about an abandoned query before its connection is given up: a statement without
/// end, or a server that is gone without a word, must not hold its places for ever.
pub const DRAIN_SILENCE_MAX: Duration = Duration::from_secs(10);
/// Statements that are remembered as slow.
const SLOW_STATEMENTS_MAX: usize = 256;
/// For how long. Then a statement may show on a shared link that it has become fast.
const SLOW_AGE_MAX: Duration = Duration::from_secs(60);
/// Longest wait between two attempts.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Names a connection of the pool for its owner. What arrives for an older generation is ignored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Link {
    /// 0 <= index < `DatabaseLimits::connections + transactions`.
    pub index: u32,
    /// Counts the attempts to connect this link; wraps.
    pub generation: u32,
}

/// What the owner has to do.
#[derive(Debug)]
pub enum Action {
    /// Connect to the host [`Pool::host_of`] this link; then [`Pool::handle_connected`] or [`Pool::handle_closed`].
    Connect {
        /// Which link.
        link: Link,
    },
    /// Send all of these bytes; then [`Pool::handle_sent`]. No other Send of this link comes before.
    Send {
        /// Which link.
        link: Link,
        /// The bytes; give them back, so that their memory is reused.
        bytes: Vec<u8>,
    },
    /// Close the transport, or give up connecting. Nothing more needs to be reported for this link.
    Close {
        /// Which link.
        link: Link,
    },
    /// Connect to the host of this link once more, send these bytes, wait for the end of the stream, then
    /// [`Pool::handle_cancelled`]; that too if it fails.
    Cancel {
        /// Whose statement is to be cancelled.
        link: Link,
        /// A CancelRequest.
        bytes: Vec<u8>,
    },
    /// Run this computation on another thread, then [`Pool::handle_job`].
    Compute {
        /// Which link.
        link: Link,
        /// About a millisecond of work.
        job: Job,
    },
}

enum State {
    Down {
        retry_at: Monotonic,
    },
    Dialing {
        deadline: Monotonic,
    },
    /// `deadline`: of becoming ready, later of hearing about an abandoned query.
    Open {
        connection: Box<Connection>,
        deadline: Option<Monotonic>,
        sending: bool,
    },
}

/// Who may use a link.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// Every query without a transaction.
    Shared,
    /// The next transaction.
    Free,
    /// The transaction that this token began.
    Owned(Token),
    /// Its COMMIT or ROLLBACK is asked for, under the token `end`, and waits for queries that wait for their statements.
    Finishing { end: Token, commit: bool },
    /// The COPY of this token, until its end.
    Copying(Token),
    /// Nobody until the server has answered everything.
    Ending,
    /// LISTEN.
    Listener,
}

struct Slot {
    lane: Lane,
    generation: u32,
    failures: u32,
    /// Which of the attempts of `plan` is under way, or comes next.
    attempt: usize,
    state: State,
    /// The send buffer, while the owner doesn't have it.
    buffer: Vec<u8>,
    upkeep: upkeep::Upkeep,
}

impl Slot {
    fn new(lane: Lane, retry_at: Monotonic) -> Self {
        Self {
            lane,
            generation: 0,
            failures: 0,
            attempt: 0,
            state: State::Down { retry_at },
            buffer: Vec::new(),
            upkeep: upkeep::Upkeep::default(),
        }
    }
}

/// A query without a place.
struct Queued {
    token: Token,
    text: Box<str>,
    hash: u64,
    access: Access,
    params: Vec<Value>,
    shape: Shape,
    delivery: Delivery,
    deadline: Monotonic,
}

/// The pool's state and totals, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Links that take queries.
    pub ready: usize,
    /// Links that are being connected or authenticated.
    pub connecting: usize,
    /// Links that wait for their next attempt.
    pub down: usize,
    /// Transactions that have a connection.
    pub transactions: usize,
    /// Queries on links.
    pub in_flight: usize,
    /// Queries that wait for a place.
    pub queued: usize,
    /// Queries accepted since the start.
    pub queries: u64,
    /// Of those, the ones that ended in an error.
    pub errors: u64,
    /// Queries that shared the Sync of one before them.
    pub joined: u64,
    /// Refused or given up for want of a place.
    pub unavailable: u64,
    /// Connections that became ready.
    pub connects: u64,
    /// Connections that were replaced for their age.
    pub retired: u64,
    /// Connections that ended, and attempts that failed.
    pub disconnects: u64,
    /// Why the last one did.
    pub last_failure: Option<Box<str>>,
}

/// See the module's text.
pub struct Pool {
    config: Arc<Config>,
    /// The attempts that make up one try to connect: hosts, with and without TLS.
    plan: Vec<Target>,
    limits: DatabaseLimits,
    /// Those that all share come first.
    links: Vec<Slot>,
    /// How many that are.
    shared: usize,
    queue: VecDeque<Queued>,
    /// Transactions and slow statements that wait for a connection of their own.
    begins: VecDeque<transaction::Begin>,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
    rng: Rng,
    /// Where the search for output goes on.
    turn: usize,
    /// The link that got the last query.
    joining: usize,
    /// Statements that turned out to be slow on a shared link, and when.
    slow: HashMap<u64, Monotonic>,
    listener: listen::Listener,
    totals: PoolStats,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool whose links all want to connect at once. `seed` decides the jitter.
    #[must_use]
    pub fn new(config: Config, limits: DatabaseLimits, seed: u64, now: Monotonic) -> Self {
        let mut pool = Self {
            plan: Target::plan(&config, seed),
            config: Arc::new(config),
            links: Vec::new(),
            shared: limits.connections.max(1),
            queue: VecDeque::new(),
            begins: VecDeque::new(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
            rng: Rng::new(seed),
            turn: 0,
            joining: 0,
            slow: HashMap::new(),
            listener: listen::Listener::default(),
            totals: PoolStats::default(),
            limits,
        };
        for _ in 0..pool.shared {
            pool.links.push(Slot::new(Lane::Shared, now));
        }
        for _ in 0..pool.limits.transactions {
            pool.links.push(Slot::new(Lane::Free, Monotonic::NEVER));
        }
        pool.handle_timeout(now);
        pool
    }

    /// Where the links connect to.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Which host this link connects to, by its number ([`Config::host`]).
    #[must_use]
    pub fn host_of(&self, link: Link) -> usize {
        let slot = usize::try_from(link.index).ok().and_then(|index| self.links.get(index));
        slot.and_then(|slot| self.plan.get(slot.attempt)).map_or(0, |target| target.host)
    }

    /// Starts a query, or lets it wait for a place. `Ok`: exactly one [`Event::Done`] with `token` follows, unless
    /// it is abandoned.
    ///
    /// # Errors
    /// A parameter that doesn't fit, a statement that isn't allowed on a shared connection, a queue that is full:
    /// then no event follows.
    pub fn query(
        &mut self,
        token: Token,
        sql: &Sql<'_>,
        params: &[Param<'_>],
        shape: Shape,
        delivery: Delivery,
        now: Monotonic,
    ) -> Result<(), QueryError> {
        if !self.slow.is_empty() && self.is_slow(sql.hash, now) && self.limits.transactions > 0 {
            return self.query_slow(token, sql, params, shape, delivery, now);
        }
        if self.queue.is_empty()
            && let Some(connection) = self.place_for(sql.access, now)
        {
            connection.query(token, sql, params, shape, delivery)?;
            self.totals.queries += 1;
            return Ok(());
        }
        if self.queue.len() >= self.limits.queue {
            self.totals.unavailable += 1;
            return Err(QueryError::Unavailable(self.why("the queue is full").into()));
        }
        self.totals.queries += 1;
        self.queue.push_back(self.queued(token, sql, params, shape, delivery, now));
        Ok(())
    }

    fn queued(
        &self,
        token: Token,
        sql: &Sql<'_>,
        params: &[Param<'_>],
        shape: Shape,
        delivery: Delivery,
        now: Monotonic,
    ) -> Queued {
        Queued {
            token,
            text: sql.text.into(),
            hash: sql.hash,
            access: sql.access,
            params: params.iter().map(Param::to_value).collect(),
            shape,
            delivery,
            deadline: now.after(self.limits.acquire_timeout),
        }
    }

    /// Whether this statement turned out to be slow lately.
    fn is_slow(&mut self, hash: u64, now: Monotonic) -> bool {
        match self.slow.get(&hash) {
            Some(since) if now.since(*since) < SLOW_AGE_MAX => true,
            Some(_) => {
                self.slow.remove(&hash);
                false
            }
            None => false,
        }
    }

    /// Forgets a query: no event follows. What was sent drains in its place; if the server is silent about it for
    /// [`DRAIN_SILENCE_MAX`], its connection ends. The token of a transaction takes all of its queries along, and
    /// rolls it back. False if there is no such query.
    pub fn abandon(&mut self, token: Token, now: Monotonic) -> bool {
        if let Some(index) = self.queue.iter().position(|queued| queued.token == token) {
            self.queue.remove(index);
            return true;
        }
        if self.abandon_begin(token, now) {
            return true;
        }
        self.links.iter_mut().any(|slot| match &mut slot.state {
            State::Open { connection, deadline, .. } => {
                let found = connection.abandon(token);
                if connection.is_draining() && deadline.is_none() {
                    *deadline = Some(now.after(DRAIN_SILENCE_MAX));
                }
                if found {
                    slot.upkeep.abandoned(now);
                }
                found
            }
            _ => false,
        })
    }

    /// The next thing to do. Call until `None` after every other method.
    pub fn poll_action(&mut self) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        for _ in 0..self.links.len() {
            let index = self.turn;
            self.turn = if index + 1 < self.links.len() { index + 1 } else { 0 };
            let slot = &mut self.links[index];
            if let State::Open { connection, sending: sending @ false, .. } = &mut slot.state {
                slot.buffer.clear();
                if let Some(job) = connection.poll_job() {
                    return Some(Action::Compute { link: link_of(index, slot.generation), job });
                }
                if connection.take_output(&mut slot.buffer) {
                    *sending = true;
                    let bytes = std::mem::take(&mut slot.buffer);
                    return Some(Action::Send { link: link_of(index, slot.generation), bytes });
                }
            }
        }
        None
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if matches!(event, Event::Done { result: Err(_), .. }) {
            self.totals.errors += 1;
        }
        Some(event)
    }

    /// The transport of this link is open.
    pub fn handle_connected(&mut self, link: Link) {
        let (config, limits) = (Arc::clone(&self.config), &self.limits);
        if let Some(slot) = current(&mut self.links, link)
            && let State::Dialing { deadline } = slot.state
        {
            let usage = match slot.lane {
                Lane::Shared => Use::Shared,
                Lane::Listener => Use::Owned,
                _ => Use::Transaction,
            };
            let target = self.plan[slot.attempt];
            let connection = Box::new(Connection::new(config, limits, usage, target));
            slot.state = State::Open { connection, deadline: Some(deadline), sending: false };
        }
    }

    /// The last Send of this link is done; `buffer` is its memory.
    pub fn handle_sent(&mut self, link: Link, buffer: Vec<u8>) {
        if let Some(slot) = current(&mut self.links, link)
            && let State::Open { connection, sending, .. } = &mut slot.state
        {
            *sending = false;
            if let Some(token) = connection.wants_more() {
                self.events.push_back(Event::CopyMore { token });
            }
            if buffer.capacity() <= LINK_OUTPUT_BYTES_MAX {
                slot.buffer = buffer;
            }
        }
    }

    /// The computation of this link is done.
    pub fn handle_job(&mut self, link: Link, job: Job, now: Monotonic) {
        if let Some(slot) = current(&mut self.links, link)
            && let State::Open { connection, .. } = &mut slot.state
        {
            connection.handle_job(job);
            self.close_if_over(link, now);
        }
    }

    /// Bytes of this link arrived; rows go to the sinks of `receiver`.
    pub fn handle_bytes(&mut self, link: Link, bytes: &[u8], now: Monotonic, receiver: &mut dyn Receiver) {
        let Some(slot) = current(&mut self.links, link) else { return };
        let State::Open { connection, deadline, .. } = &mut slot.state else { return };
        let was_ready = connection.is_ready();
        slot.upkeep.heard_at = now;
        connection.advance(now);
        connection.handle_bytes(bytes, receiver);
        while let Some(hash) = connection.poll_slow() {
            if slot.lane == Lane::Shared && self.slow.len() < SLOW_STATEMENTS_MAX {
                self.slow.insert(hash, now);
            }
        }
        if slot.lane == Lane::Shared && !connection.is_draining() {
            // None of them is about more than its query.
            connection.append_events(&mut self.events);
        }
        while let Some(event) = connection.poll_event() {
            if let Event::Done { token, result: Err(_) } = &event
                && slot.lane == Lane::Owned(*token)
            {
                // BEGIN itself failed: nobody will end this transaction.
                slot.lane = Lane::Ending;
            }
            if let Event::Done { result: Err(QueryError::ResultTooLarge { .. }), .. } = &event
                && connection.is_draining()
            {
                slot.upkeep.abandoned(now);
            }
            if let Event::Done { token, .. } = &event
                && slot.lane == Lane::Copying(*token)
            {
                slot.lane = Lane::Ending;
            }
            if slot.lane == Lane::Listener {
                self.listener.event(event, &mut self.events);
                continue;
            }
            self.events.push_back(event);
        }
        let sends_texts = connection.is_unnamed();
        if let Some(cause) = connection.closed() {
            let cause: Box<str> = cause.into();
            self.actions.push_back(Action::Close { link });
            self.down(link, cause, now);
        } else if connection.is_ready() {
            if !was_ready {
                slot.failures = 0;
                self.totals.connects += 1;
                slot.upkeep.ready(now, self.limits.lifetime, &mut self.rng);
                if slot.lane == Lane::Listener {
                    self.listener.start(connection);
                }
            }
            *deadline = connection.is_draining().then(|| now.after(DRAIN_SILENCE_MAX));
        }
        if sends_texts && !self.config.unnamed {
            self.behind_a_pooler();
        }
        self.dispatch(now);
        self.dispatch_transactions(link, now);
        self.recycle(link, now);
    }

    /// A connection has noticed that somebody in between keeps no statements: the others needn't fail to notice, too.
    fn behind_a_pooler(&mut self) {
        Arc::make_mut(&mut self.config).unnamed = true;
        for slot in &mut self.links {
            if let State::Open { connection, .. } = &mut slot.state {
                connection.send_texts();
            }
        }
    }

    /// Closes a link whose connection has ended by itself.
    fn close_if_over(&mut self, link: Link, now: Monotonic) {
        if let Some(slot) = current(&mut self.links, link)
            && let State::Open { connection, .. } = &slot.state
            && let Some(cause) = connection.closed()
        {
            let cause: Box<str> = cause.into();
            self.actions.push_back(Action::Close { link });
            self.down(link, cause, now);
        }
    }

    /// The transport ended, or couldn't be opened.
    pub fn handle_closed(&mut self, link: Link, cause: &str, now: Monotonic) {
        if current(&mut self.links, link).is_some() {
            self.down(link, cause.into(), now);
        }
    }

    /// Connects what is due, gives up what takes too long.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        self.look_after(now);
        for index in 0..self.links.len() {
            let slot = &mut self.links[index];
            match slot.state {
                State::Down { retry_at } if retry_at <= now => {
                    slot.generation = slot.generation.wrapping_add(1);
                    slot.state = State::Dialing { deadline: now.after(self.config.connect_timeout) };
                    self.actions.push_back(Action::Connect { link: link_of(index, slot.generation) });
                }
                State::Dialing { deadline } | State::Open { deadline: Some(deadline), .. }
                    if deadline <= now =>
                {
                    let link = link_of(index, slot.generation);
                    let cause = match &slot.state {
                        State::Open { connection, .. } if connection.is_ready() => {
                            "the server is silent about an abandoned query or a sign of life"
                        }
                        _ => "no connection within connect_timeout",
                    };
                    self.actions.push_back(Action::Close { link });
                    self.down(link, cause.into(), now);
                }
                _ => {}
            }
        }
        // One timeout for all: the queue is in the order of its deadlines.
        while self.queue.front().is_some_and(|queued| queued.deadline <= now) {
            if let Some(queued) = self.queue.pop_front() {
                self.totals.unavailable += 1;
                let result = Err(QueryError::Unavailable(self.why("no place in time").into()));
                self.events.push_back(Event::Done { token: queued.token, result });
            }
        }
        while self.begins.front().is_some_and(|begin| begin.deadline <= now) {
            if let Some(begin) = self.begins.pop_front() {
                self.totals.unavailable += 1;
                let result = Err(QueryError::Unavailable(
                    self.why("no connection in time for a transaction or a slow statement").into(),
                ));
                self.events.push_back(Event::Done { token: begin.token, result });
            }
        }
    }

    /// When [`Pool::handle_timeout`] is due; [`Monotonic::NEVER`] if nothing waits.
    #[must_use]
    pub fn next_deadline(&self) -> Monotonic {
        let queue = self.queue.front().map_or(Monotonic::NEVER, |queued| queued.deadline);
        let begin = self.begins.front().map_or(Monotonic::NEVER, |begin| begin.deadline);
        let mut due = queue.min(begin);
        for slot in &self.links {
            match slot.state {
                State::Down { retry_at: at } | State::Dialing { deadline: at } => due = due.min(at),
                State::Open { deadline, .. } => {
                    due = due.min(deadline.unwrap_or(Monotonic::NEVER)).min(self.upkeep_due(slot));
                }
            }
        }
        due
    }

    /// How many wait for a connection of their own.
    #[must_use]
    pub fn begins_waiting(&self) -> usize {
        self.begins.len()
    }

    /// How many more may: beyond that they are refused.
    #[must_use]
    pub fn begins_room(&self) -> usize {
        self.limits.queue.saturating_sub(self.begins.len())
    }

    /// Whether the server was tried, and none of the connections is there.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.totals.last_failure.is_some()
            && !self
                .links
                .iter()
                .any(|slot| matches!(&slot.state, State::Open { connection, .. } if connection.is_ready()))
    }

    /// The pool's state, for metrics.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let mut stats = PoolStats { queued: self.queue.len() + self.begins.len(), ..self.totals.clone() };
        for slot in &self.links {
            stats.transactions +=
                usize::from(!matches!(slot.lane, Lane::Shared | Lane::Free | Lane::Listener));
            match &slot.state {
                State::Open { connection, .. } => {
                    stats.in_flight += connection.in_flight();
                    stats.joined += connection.joined();
                    if connection.is_ready() {
                        stats.ready += 1;
                    } else {
                        stats.connecting += 1;
                    }
                }
                State::Dialing { .. } => stats.connecting += 1,
                // Not needed so far.
                State::Down { retry_at: Monotonic::NEVER } => {}
                State::Down { .. } => stats.down += 1,
            }
        }
        stats
    }

    /// As [`Pool::place`], but a read stays where the last one went while that has an open group, without a look at
    /// the other links: none is better.
    fn place_for(&mut self, access: Access, now: Monotonic) -> Option<&mut Connection> {
        let window = self.limits.window.max(1);
        let joins = access == Access::Read
            && self.links.get(self.joining).is_some_and(|slot| match &slot.state {
                State::Open { connection, .. } => {
                    connection.has_open_group()
                        && connection.is_ready()
                        && connection.in_flight() < window
                        && connection.output_len() < LINK_OUTPUT_BYTES_MAX
                        && slot.lane == Lane::Shared
                        && !slot.upkeep.is_cancelling()
                        && !slot.upkeep.is_retiring()
                        && !connection.is_draining()
                        && !connection.is_stalled()
                }
                _ => false,
            });
        if !joins {
            return self.place(now);
        }
        match &mut self.links[self.joining].state {
            State::Open { connection, .. } => {
                connection.advance(now);
                Some(connection)
            }
            _ => None,
        }
    }

    /// The ready link that a query can join best, if one has a place.
    fn place(&mut self, now: Monotonic) -> Option<&mut Connection> {
        let window = self.limits.window.max(1);
        let mut best = None;
        for (index, slot) in self.links[..self.shared].iter_mut().enumerate() {
            let State::Open { connection, .. } = &mut slot.state else { continue };
            // Nothing may follow a statement that is being cancelled: it could be hit in its place.
            if slot.upkeep.is_cancelling() {
                continue;
            }
            connection.advance(now);
            let in_flight = connection.in_flight();
            if in_flight >= window
                || !connection.is_ready()
                || connection.output_len() >= LINK_OUTPUT_BYTES_MAX
            {
                continue;
            }
            let stalled = connection.is_stalled() || connection.is_draining();
            let rank = (slot.upkeep.is_retiring(), stalled, !connection.has_open_group(), in_flight);
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, index));
            }
        }
        let (_, index) = best?;
        self.joining = index;
        match &mut self.links[index].state {
            State::Open { connection, .. } => Some(connection),
            _ => None,
        }
    }

    /// Gives places to those who wait.
    fn dispatch(&mut self, now: Monotonic) {
        while !self.queue.is_empty() {
            if self.place(now).is_none() {
                return;
            }
            let Some(queued) = self.queue.pop_front() else { return };
            let sql = Sql { text: &queued.text, hash: queued.hash, access: queued.access };
            let params: Vec<Param<'_>> = queued.params.iter().map(Param::from).collect();
            let started = match self.place(now) {
                Some(connection) => {
                    connection.query(queued.token, &sql, &params, queued.shape, queued.delivery)
                }
                None => Err(QueryError::Unavailable("no place".into())),
            };
            if let Err(error) = started {
                self.events.push_back(Event::Done { token: queued.token, result: Err(error) });
            }
        }
    }

    fn down(&mut self, link: Link, cause: Box<str>, now: Monotonic) {
        let Some(slot) = current(&mut self.links, link) else { return };
        let was_ready = matches!(&slot.state, State::Open { connection, .. } if connection.was_ready());
        slot.attempt = if was_ready { 0 } else { slot.attempt + 1 };
        let retry_at = if slot.attempt > 0 && slot.attempt < self.plan.len() {
            // The next host, or this one otherwise encrypted, is worth a try at once.
            now
        } else {
            slot.attempt = 0;
            // The counter starts over when a connection becomes ready.
            slot.failures = slot.failures.saturating_add(1);
            let wait = BACKOFF_MIN.saturating_mul(1 << (slot.failures - 1).min(16)).min(BACKOFF_MAX);
            let half = u64::try_from(wait.as_nanos() / 2).unwrap_or(u64::MAX);
            now.after(Duration::from_nanos(half + self.rng.below(half)))
        };
        slot.generation = slot.generation.wrapping_add(1);
        let finishing = match slot.lane {
            Lane::Finishing { end, .. } => Some(end),
            _ => None,
        };
        if !matches!(slot.lane, Lane::Shared | Lane::Listener) {
            slot.lane = Lane::Free;
        }
        slot.upkeep = upkeep::Upkeep::default();
        let mut last = cause;
        if let State::Open { mut connection, .. } =
            std::mem::replace(&mut slot.state, State::Down { retry_at })
        {
            self.totals.joined += connection.joined();
            connection.handle_closed(&last);
            while let Some(event) = connection.poll_event() {
                if slot.lane == Lane::Listener {
                    self.listener.event(event, &mut self.events);
                } else {
                    self.events.push_back(event);
                }
            }
            // The server's own words, where it had any.
            if let Some(cause) = connection.closed() {
                last = cause.into();
            }
        }
        if let Some(token) = finishing {
            // Its COMMIT was never sent.
            let result = Err(QueryError::Lost { unknown_outcome: false, cause: last.clone() });
            self.events.push_back(Event::Done { token, result });
        }
        self.totals.disconnects += 1;
        self.totals.last_failure = Some(last);
    }

    /// `what`, and if no link is ready, why not.
    fn why(&self, what: &str) -> String {
        let ready = self
            .links
            .iter()
            .any(|slot| matches!(&slot.state, State::Open { connection, .. } if connection.is_ready()));
        match &self.totals.last_failure {
            Some(cause) if !ready => format!("{what}, no connection: {cause}"),
            _ => what.to_owned(),
        }
    }
}

fn link_of(index: usize, generation: u32) -> Link {
    Link { index: u32::try_from(index).unwrap_or(u32::MAX), generation }
}

/// The slot of this link, if its generation is the one in use.
fn current(links: &mut [Slot], link: Link) -> Option<&mut Slot> {
    let slot = links.get_mut(usize::try_from(link.index).ok()?)?;
    (slot.generation == link.generation && !matches!(slot.state, State::Down { .. })).then_some(slot)
}
