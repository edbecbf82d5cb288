//! COPY and cursors: what needs a connection for longer than one statement.
//!
//! ```text
//!   copy(t)  --a free link, types known--> Event::Copy(t) --> copy_in(t, ...) [Event::CopyMore(t) --> copy_more(t, ...)]*
//!                                                         \-> copy_out(t, ...)                    --> Event::Done(t)
//!   begin(t) --Done(t)--> open_cursor(t, q, n, ...) --Done(q)--> fetch(t, q', n)* --> close_cursor or end
//! ```
//! Outside of a transaction a COPY has a link to itself, from the lane of transactions; inside, it has the
//! transaction's, and whatever else that would send meanwhile is refused. Rows are made when the link has room for
//! them, at most [`crate::copy::CHUNK_BYTES`] at a time.

use forebay_base::Monotonic;

use super::transaction::{Begin, Job, OVER};
use super::{Lane, Pool, State, link_of};
use crate::connection::Connection;
use crate::copy::CopySource;
use crate::error::QueryError;
use crate::param::Param;
use crate::query::{Event, Shape, Sql, Token};

impl Pool {
    /// Takes a connection for a COPY: that of `transaction`, or one of its own once there is one. `Ok`: an
    /// [`crate::Event::Copy`] with `token` follows, or an [`crate::Event::Done`] with the reason why not. For `types` see
    /// [`Connection::start_copy`].
    ///
    /// # Errors
    /// As [`Pool::begin`] and [`Connection::start_copy`].
    pub fn copy(
        &mut self,
        transaction: Option<Token>,
        token: Token,
        types: Option<&Sql<'_>>,
        now: Monotonic,
    ) -> Result<(), QueryError> {
        if let Some(transaction) = transaction {
            self.totals.queries += 1;
            let index = self.owned(transaction).ok_or(OVER)?;
            let State::Open { connection, .. } = &mut self.links[index].state else { return Err(OVER) };
            let started = connection.start_copy(token, types);
            self.drain_events(index);
            return started;
        }
        if self.limits.transactions == 0 {
            return Err(QueryError::Refused("the configuration has no connections for COPY (transactions)"));
        }
        if self.begins.len() >= self.limits.queue {
            self.totals.unavailable += 1;
            return Err(QueryError::Unavailable(self.why("the queue of transactions is full").into()));
        }
        self.totals.queries += 1;
        let job = Job::Copy(types.map(|sql| (sql.text.into(), sql.hash)));
        self.begins.push_back(Begin { token, job, deadline: now.after(self.limits.acquire_timeout) });
        self.start_begins(now);
        Ok(())
    }

    /// As [`Connection::copy_in`], at an [`crate::Event::Copy`].
    ///
    /// # Errors
    /// As that; the connection is free again, and no event follows. A connection that was lost meanwhile is none: its
    /// [`crate::Event::Done`] follows.
    pub fn copy_in(
        &mut self,
        token: Token,
        command: &str,
        source: &mut dyn CopySource,
        now: Monotonic,
    ) -> Result<(), QueryError> {
        self.on_copy(token, now, |connection| connection.copy_in(token, command, source))
    }

    /// As [`Connection::copy_out`], at an [`crate::Event::Copy`].
    ///
    /// # Errors
    /// As that; the connection is free again, and no event follows.
    pub fn copy_out(
        &mut self,
        token: Token,
        command: &str,
        shape: Shape,
        now: Monotonic,
    ) -> Result<(), QueryError> {
        self.on_copy(token, now, |connection| connection.copy_out(token, command, shape))
    }

    /// As [`Connection::copy_more`], at an [`crate::Event::CopyMore`].
    pub fn copy_more(&mut self, token: Token, source: &mut dyn CopySource) {
        if let Some((_, connection)) = self.copying(token) {
            connection.copy_more(token, source);
        }
    }

    /// True if the next rows of a COPY wait for this link to be with the kernel: its owner reports
    /// [`Pool::handle_sent`] then, and not before.
    #[must_use]
    pub fn is_copying(&self, link: super::Link) -> bool {
        usize::try_from(link.index).ok().and_then(|index| self.links.get(index)).is_some_and(
            |slot| matches!(&slot.state, State::Open { connection, .. } if connection.copy_token().is_some()),
        )
    }

    fn on_copy(
        &mut self,
        token: Token,
        now: Monotonic,
        act: impl FnOnce(&mut Connection) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let Some((index, connection)) = self.copying(token) else {
            // It was lost behind the event that its owner acts on.
            let told = self.events.iter().any(|e| matches!(e, Event::Done { token: t, .. } if *t == token));
            let lost = QueryError::Unavailable("the connection of the COPY was lost".into());
            return if told { Ok(()) } else { Err(lost) };
        };
        let acted = act(connection);
        if acted.is_err() && self.links[index].lane == Lane::Copying(token) {
            self.links[index].lane = Lane::Ending;
            let link = link_of(index, self.links[index].generation);
            self.dispatch_transactions(link, now);
        }
        acted
    }

    fn copying(&mut self, token: Token) -> Option<(usize, &mut Connection)> {
        self.links.iter_mut().enumerate().find_map(|(index, slot)| match &mut slot.state {
            State::Open { connection, .. } if connection.copy_token() == Some(token) => {
                Some((index, &mut **connection))
            }
            _ => None,
        })
    }

    fn owned(&self, transaction: Token) -> Option<usize> {
        self.links.iter().position(|slot| slot.lane == Lane::Owned(transaction))
    }

    fn of_transaction(&mut self, transaction: Token) -> Result<&mut Connection, QueryError> {
        let index = self.owned(transaction).ok_or(OVER)?;
        match &mut self.links[index].state {
            State::Open { connection, .. } => Ok(connection),
            _ => Err(OVER),
        }
    }

    /// As [`Connection::open_cursor`], inside `transaction`.
    ///
    /// # Errors
    /// As that; [`OVER`].
    pub fn open_cursor(
        &mut self,
        transaction: Token,
        token: Token,
        (number, rows): (u32, u32),
        sql: &Sql<'_>,
        params: &[Param<'_>],
    ) -> Result<(), QueryError> {
        self.totals.queries += 1;
        self.of_transaction(transaction)?.open_cursor(token, number, rows, sql, params)
    }

    /// As [`Connection::fetch`], inside `transaction`.
    ///
    /// # Errors
    /// As that; [`OVER`].
    pub fn fetch(
        &mut self,
        transaction: Token,
        token: Token,
        (number, rows): (u32, u32),
    ) -> Result<(), QueryError> {
        self.totals.queries += 1;
        self.of_transaction(transaction)?.fetch(token, number, rows)
    }

    /// Closes a cursor of `transaction`, if that is still there; no event follows.
    pub fn close_cursor(&mut self, transaction: Token, number: u32) {
        if let Ok(connection) = self.of_transaction(transaction) {
            connection.close_cursor(number);
        }
    }

    /// What a connection has to say without having received anything.
    pub(super) fn drain_events(&mut self, index: usize) {
        if let State::Open { connection, .. } = &mut self.links[index].state {
            while let Some(event) = connection.poll_event() {
                self.events.push_back(event);
            }
        }
    }
}
