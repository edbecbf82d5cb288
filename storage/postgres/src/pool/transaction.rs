//! Transactions: a connection from BEGIN to COMMIT or ROLLBACK.
//!
//! ```text
//!   begin(t) --a free link--> BEGIN --Done(t)--> query_in(t, ...)* --> end(t, ...) --Done--> the link is free
//!       \--none free--> waits, at most acquire_timeout            \-> abandon(t): ROLLBACK, no event
//! ```
//! The token of `begin` names the transaction. If its connection is lost its queries fail as on any other, and later
//! calls are refused: the server has rolled it back. A link is free again when the server has answered everything
//! and says that it is idle; one that says anything else is closed.

use forebay_base::Monotonic;

use super::{Action, Lane, Link, Pool, Queued, State, current, link_of};
use crate::error::QueryError;
use crate::param::Param;
use crate::query::{Delivery, Event, Shape, Sql, Token};

/// Isolation of a transaction (manual: "Transaction Isolation").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Isolation {
    /// Each statement sees what was committed before it.
    #[default]
    ReadCommitted,
    /// All statements see one snapshot; 40001 where that can't be kept.
    RepeatableRead,
    /// As if one transaction ran after the other; 40001 where that can't be kept.
    Serializable,
}

/// How a transaction begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mode {
    /// Its isolation.
    pub isolation: Isolation,
    /// Refuses writes.
    pub read_only: bool,
}

impl Mode {
    fn sql(self) -> &'static str {
        match (self.isolation, self.read_only) {
            (Isolation::ReadCommitted, false) => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
            (Isolation::ReadCommitted, true) => "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
            (Isolation::RepeatableRead, false) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE",
            (Isolation::RepeatableRead, true) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            (Isolation::Serializable, false) => "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE",
            (Isolation::Serializable, true) => "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
        }
    }
}

/// Settings that last until the transaction's end (`set_config(name, value, true)`), sent along with BEGIN.
pub type Settings<'a> = &'a [(&'a str, &'a str)];

/// Bytes of one transaction's settings, names and values. Beyond it: refused.
pub const SETTINGS_BYTES_MAX: usize = 64 * 1024;

/// BEGIN, and the settings in the same message.
fn begin_sql(mode: Mode, settings: Settings<'_>) -> Result<Box<str>, QueryError> {
    if settings.is_empty() {
        return Ok(mode.sql().into());
    }
    if settings.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > SETTINGS_BYTES_MAX {
        return Err(QueryError::Refused("the settings of a transaction are too long"));
    }
    let mut sql = String::from(mode.sql());
    for (index, (name, value)) in settings.iter().enumerate() {
        if name.contains('\0') || value.contains('\0') {
            return Err(QueryError::Refused("a setting has a NUL character"));
        }
        sql.push_str(if index == 0 { "; SELECT set_config(" } else { ", set_config(" });
        literal(&mut sql, name);
        sql.push_str(", ");
        literal(&mut sql, value);
        sql.push_str(", true)");
    }
    Ok(sql.into())
}

/// A string constant that reads the same whatever standard_conforming_strings says (manual: "String Constants With
/// C-Style Escapes"): quotes and backslashes doubled. The connection speaks UTF-8, so no byte of another character
/// looks like one.
pub(crate) fn literal(sql: &mut String, text: &str) {
    sql.push_str("E'");
    for c in text.chars() {
        if matches!(c, '\'' | '\\') {
            sql.push(c);
        }
        sql.push(c);
    }
    sql.push('\'');
}

/// Who needs a connection and has none.
pub(super) struct Begin {
    pub(super) token: Token,
    pub(super) job: Job,
    pub(super) deadline: Monotonic,
}

/// What for.
pub(super) enum Job {
    /// BEGIN, and its settings.
    Transaction(Box<str>),
    /// COPY: the statement that tells its columns' types, with its hash.
    Copy(Option<(Box<str>, u64)>),
    /// One statement behind which nobody should wait.
    Slow(Box<Queued>),
}

/// A call for a transaction that ended, or whose connection was lost: the server has rolled it back.
pub const OVER: QueryError = QueryError::Refused("the transaction is over");

impl Pool {
    /// Starts a transaction, or lets it wait for a connection. `Ok`: an [`Event::Done`] with `token` follows, which
    /// pushes no value; from then on `token` names the transaction.
    ///
    /// # Errors
    /// The queue is full, or `DatabaseLimits::transactions` is 0.
    pub fn begin(&mut self, token: Token, mode: Mode, now: Monotonic) -> Result<(), QueryError> {
        self.begin_with(token, mode, &[], now)
    }

    /// As [`Pool::begin`], with settings for its duration, in the same round trip.
    ///
    /// # Errors
    /// As [`Pool::begin`]; settings that are too long or have a NUL.
    pub fn begin_with(
        &mut self,
        token: Token,
        mode: Mode,
        settings: Settings<'_>,
        now: Monotonic,
    ) -> Result<(), QueryError> {
        let sql = begin_sql(mode, settings)?;
        if self.limits.transactions == 0 {
            return Err(QueryError::Refused("the configuration has no connections for transactions"));
        }
        if self.begins.len() >= self.limits.queue {
            self.totals.unavailable += 1;
            return Err(QueryError::Unavailable(self.why("the queue of transactions is full").into()));
        }
        let deadline = now.after(self.limits.acquire_timeout);
        self.begins.push_back(Begin { token, job: Job::Transaction(sql), deadline });
        self.start_begins(now);
        Ok(())
    }

    /// A statement that is known to be slow: alone on a connection.
    pub(super) fn query_slow(
        &mut self,
        token: Token,
        sql: &Sql<'_>,
        params: &[Param<'_>],
        shape: Shape,
        delivery: Delivery,
        now: Monotonic,
    ) -> Result<(), QueryError> {
        if self.begins.len() >= self.limits.queue {
            self.totals.unavailable += 1;
            return Err(QueryError::Unavailable(self.why("the queue of slow statements is full").into()));
        }
        self.totals.queries += 1;
        let queued = self.queued(token, sql, params, shape, delivery, now);
        let deadline = queued.deadline;
        self.begins.push_back(Begin { token, job: Job::Slow(Box::new(queued)), deadline });
        self.start_begins(now);
        Ok(())
    }

    /// As [`Pool::query`], inside `transaction`.
    ///
    /// # Errors
    /// As [`Pool::query`]; [`QueryError::Refused`] if the transaction is over.
    pub fn query_in(
        &mut self,
        transaction: Token,
        token: Token,
        sql: &Sql<'_>,
        params: &[Param<'_>],
        shape: Shape,
        delivery: Delivery,
    ) -> Result<(), QueryError> {
        let window = self.limits.window.max(1);
        for slot in &mut self.links {
            if let (Lane::Owned(owner), State::Open { connection, .. }) = (slot.lane, &mut slot.state)
                && owner == transaction
            {
                if connection.in_flight() >= window {
                    return Err(QueryError::Crowded("too many queries at once in one transaction"));
                }
                connection.query(token, sql, params, shape, delivery)?;
                self.totals.queries += 1;
                return Ok(());
            }
        }
        Err(OVER)
    }

    /// Sends statements of transaction control (SAVEPOINT, RELEASE, ROLLBACK TO), several with `;` between them, on the
    /// connection of `transaction`. They are not prepared, so that none overtakes another that is being prepared.
    ///
    /// # Errors
    /// As [`Pool::query_in`].
    pub fn control_in(&mut self, transaction: Token, token: Token, sql: &str) -> Result<(), QueryError> {
        for slot in &mut self.links {
            if let (Lane::Owned(owner), State::Open { connection, .. }) = (slot.lane, &mut slot.state)
                && owner == transaction
            {
                connection.simple(token, sql)?;
                self.totals.queries += 1;
                return Ok(());
            }
        }
        Err(OVER)
    }

    /// Ends `transaction` by COMMIT or ROLLBACK, behind its queries. `Ok`: an [`Event::Done`] with `token` follows,
    /// which pushes no value. A COMMIT that the server turned into a ROLLBACK, because a statement had failed, is an
    /// error.
    ///
    /// # Errors
    /// [`QueryError::Refused`] if the transaction is over.
    pub fn end(&mut self, transaction: Token, token: Token, commit: bool) -> Result<(), QueryError> {
        for slot in &mut self.links {
            if let (Lane::Owned(owner), State::Open { connection, .. }) = (slot.lane, &mut slot.state)
                && owner == transaction
            {
                if connection.waiting() > 0 {
                    // Sent now, it would overtake them.
                    slot.lane = Lane::Finishing { end: token, commit };
                } else {
                    connection.end_transaction(token, commit)?;
                    slot.lane = Lane::Ending;
                }
                return Ok(());
            }
        }
        Err(OVER)
    }

    /// Gives a transaction up with all of its queries: its task is gone. True if `token` named one, waiting or open.
    pub(super) fn abandon_begin(&mut self, token: Token, now: Monotonic) -> bool {
        if let Some(index) = self.begins.iter().position(|begin| begin.token == token) {
            self.begins.remove(index);
            return true;
        }
        let mut freed = None;
        for (index, slot) in self.links.iter_mut().enumerate() {
            if let (
                Lane::Owned(owner) | Lane::Finishing { end: owner, .. },
                State::Open { connection, deadline, .. },
            ) = (slot.lane, &mut slot.state)
                && owner == token
            {
                // Ready, as it has an owner: it can't be refused. Then everything of the token is abandoned, BEGIN
                // too, if it is still on its way.
                let _ = connection.end_transaction(token, false);
                connection.abandon_all();
                slot.lane = Lane::Ending;
                slot.upkeep.abandoned(now);
                if connection.is_draining() && deadline.is_none() {
                    *deadline = Some(now.after(super::DRAIN_SILENCE_MAX));
                }
                return true;
            }
            if let (Lane::Copying(owner), State::Open { connection, deadline, .. }) =
                (slot.lane, &mut slot.state)
                && owner == token
            {
                // What is open ends with CopyFail.
                connection.abandon(token);
                slot.lane = Lane::Ending;
                if connection.is_draining() && deadline.is_none() {
                    *deadline = Some(now.after(super::DRAIN_SILENCE_MAX));
                }
                freed = Some(link_of(index, slot.generation));
                break;
            }
        }
        match freed {
            Some(link) => {
                self.dispatch_transactions(link, now);
                true
            }
            None => false,
        }
    }

    /// After bytes on `link`: frees it if its transaction is over, and starts who waits.
    pub(super) fn dispatch_transactions(&mut self, link: Link, now: Monotonic) {
        if let Some(slot) = current(&mut self.links, link)
            && let (Lane::Finishing { end, commit }, State::Open { connection, .. }) =
                (slot.lane, &mut slot.state)
            && connection.waiting() == 0
        {
            slot.lane = Lane::Ending;
            if let Err(error) = connection.end_transaction(end, commit) {
                self.events.push_back(Event::Done { token: end, result: Err(error) });
            }
        }
        if let Some(slot) = current(&mut self.links, link)
            && slot.lane == Lane::Ending
            && let State::Open { connection, .. } = &slot.state
            && connection.in_flight() == 0
        {
            if slot.upkeep.is_cancelling() {
                // What comes next could be hit in its place: not before the cancelling is over.
            } else if connection.status() == b'I' {
                slot.lane = Lane::Free;
            } else {
                self.actions.push_back(Action::Close { link });
                self.down(link, "a transaction was left open".into(), now);
            }
        }
        self.start_begins(now);
    }

    /// Gives free links to those who wait, and connects one more if there are too few.
    pub(super) fn start_begins(&mut self, now: Monotonic) {
        if self.begins.is_empty() {
            return;
        }
        while !self.begins.is_empty() {
            let free = self.links.iter_mut().enumerate().find_map(|(index, slot)| {
                match (&slot.lane, &mut slot.state) {
                    (Lane::Free, State::Open { connection, .. }) if connection.is_ready() => {
                        Some((index, &mut slot.lane, connection))
                    }
                    _ => None,
                }
            });
            let Some((index, lane, connection)) = free else { break };
            let Some(Begin { token, job, .. }) = self.begins.pop_front() else { break };
            let started = match &job {
                Job::Transaction(sql) => connection.simple(token, sql).map(|()| *lane = Lane::Owned(token)),
                Job::Copy(types) => {
                    let sql = types.as_ref().map(|(text, hash)| Sql {
                        text,
                        hash: *hash,
                        access: crate::query::Access::Read,
                    });
                    connection.start_copy(token, sql.as_ref()).map(|()| *lane = Lane::Copying(token))
                }
                Job::Slow(queued) => {
                    let sql = Sql { text: &queued.text, hash: queued.hash, access: queued.access };
                    let params: Vec<Param<'_>> = queued.params.iter().map(Param::from).collect();
                    connection
                        .query(token, &sql, &params, queued.shape, queued.delivery)
                        .map(|()| *lane = Lane::Ending)
                }
            };
            if let Err(error) = started {
                self.events.push_back(Event::Done { token, result: Err(error) });
            }
            self.drain_events(index);
        }
        let coming = self
            .links
            .iter()
            .filter(|slot| slot.lane == Lane::Free)
            .filter(|slot| !matches!(slot.state, State::Down { retry_at: Monotonic::NEVER }))
            .count();
        for index in 0..self.links.len() {
            let slot = &mut self.links[index];
            if coming < self.begins.len()
                && slot.lane == Lane::Free
                && matches!(slot.state, State::Down { retry_at: Monotonic::NEVER })
            {
                slot.generation = slot.generation.wrapping_add(1);
                slot.state = State::Dialing { deadline: now.after(self.config.connect_timeout) };
                self.actions.push_back(Action::Connect { link: link_of(index, slot.generation) });
                break;
            }
        }
    }
}
