//! What arrives: messages out of bytes, answers to the queries in flight, healing.

use std::sync::Arc;

use forebay_base::ValueError;

use super::ints::Ints;
use super::startup::{Auth, Credentials};
use super::statement::{self, Description, Input, Prepared, State, Waiting};
use super::wire::{self, Body};
use super::{
    BackendKey, Connection, EVENTS_MAX, Entry, MESSAGE_BYTES_MAX, PARAMETERS_MAX, Phase, Running,
    SLOW_HASHES_MAX, SPARE_BYTES_MAX, SPARE_MAX, Use, rows, running_of,
};
use crate::config::Session;
use crate::error::{ParameterError, QueryError, ServerError};
use crate::param::Param;
use crate::query::{Access, Complete, Delivery, Event, Notification, Receiver, Sql, hash_text};
use crate::types::{CATALOG_QUERY, Catalog, CatalogRow, Scalar, Type, decode};

/// What a script reads whose COMMIT wasn't one.
const ROLLED_BACK: &str = "a statement of the transaction failed, so it was rolled back";

/// Bytes of a cancel key's secret (manual: "Message Formats", BackendKeyData).
const SECRET_BYTES_MAX: usize = 256;
/// In recovery? Refusing writes?
const SESSION_QUERY: &str =
    "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')";

impl Connection {
    /// Scans `buffer` from where the last call ended; returns how many of its bytes are done with.
    pub(super) fn process(&mut self, buffer: &[u8], receiver: &mut dyn Receiver) -> usize {
        let mut at = self.scanned;
        // Start of the rows that aren't decoded: everything from here on stays. What a former call left scanned
        // is there for its rows.
        let mut rows_at = if at > 0 { 0 } else { usize::MAX };
        while !self.is_closed() {
            // The first answer to nearly every query.
            if buffer[at..].starts_with(&wire::BIND_COMPLETE)
                && let Some(Entry::Query(running)) = self.fifo.front_mut()
            {
                running.bound = true;
                at += wire::BIND_COMPLETE.len();
                continue;
            }
            let (kind, length) = match wire::head(&buffer[at..]) {
                None => break,
                Some(Ok(head)) => head,
                Some(Err(what)) => {
                    self.close(format!("protocol: {what}"));
                    break;
                }
            };
            let is_row = kind == b'D'
                || kind == b'd'
                    && matches!(self.fifo.front(), Some(Entry::Query(running)) if running.copy.is_some());
            if is_row {
                let dropped = match self.fifo.front_mut() {
                    Some(Entry::Query(running)) => {
                        if running.error.is_none() && running.result_bytes + length > self.result_bytes_max {
                            let error = QueryError::ResultTooLarge { limit: self.result_bytes_max };
                            // The rest may be without end. Of a read nobody needs to know how it ends; a write and a
                            // transaction must not be cancelled under their task.
                            let alone = self.usage != Use::Owned && self.status == b'I';
                            let reads = running.access == Access::Read && running.copy.is_none();
                            if alone && reads && !running.abandoned {
                                running.abandoned = true;
                                let result = Err(error.clone());
                                self.events.push_back(Event::Done { token: running.token, result });
                            }
                            running.error = Some(error);
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
                    if kind == b'D' {
                        at += more_rows(running, &buffer[at..], self.result_bytes_max);
                    }
                    continue;
                }
            }
            if length > MESSAGE_BYTES_MAX {
                self.close(format!("protocol: a message of {length} bytes"));
                break;
            }
            let Some(message) = buffer.get(at..at + length) else { break };
            let body = &message[5..];
            let unsynced = match self.fifo.front_mut() {
                // The end of nearly every query.
                Some(Entry::Query(running)) if kind == b'C' && running.synced => {
                    running.complete.affected = wire::tag_count(body);
                    at += length;
                    continue;
                }
                Some(Entry::Query(running)) => !running.synced,
                _ => false,
            };
            if unsynced && matches!(kind, b'C' | b'I') && self.end_of_member(kind, body).is_some() {
                // A member of a group is done here: it is proven to only read, so nothing can undo it.
                let rows = &buffer[rows_at.min(at)..at];
                rows_at = usize::MAX;
                if !self.finish_front(rows, receiver)
                    && let Some(Entry::Query(running)) = self.fifo.pop_front()
                {
                    self.finish(running, rows, false, receiver);
                }
            } else if kind == b'Z' {
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
            rows::deliver(running, &buffer[rows_at.min(at)..at], &mut self.decode, receiver);
            rows_at = usize::MAX;
        }
        if self.is_closed() {
            self.scanned = 0;
            return buffer.len();
        }
        self.scanned = at;
        rows_at.min(at)
    }

    /// The answer to a member of a group ends at its CommandComplete.
    fn end_of_member(&mut self, kind: u8, body: &[u8]) -> Option<()> {
        match (kind, self.fifo.front_mut()) {
            (b'C', Some(Entry::Query(running))) => running.complete.affected = wire::tag_count(body),
            _ => return self.message(kind, body),
        }
        Some(())
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
            b'A' => {
                let mut body = Body(body);
                let (process_id, channel, payload) = (body.u32()?, body.text()?, body.text()?);
                if self.events.len() < EVENTS_MAX {
                    let notification = Notification { channel, payload, process_id };
                    self.events.push_back(Event::Notification(Box::new(notification)));
                }
                Some(())
            }
            _ if matches!(self.phase, Phase::Starting(_)) => self.starting(kind, body),
            _ => self.answer(kind, body),
        }
    }

    fn starting(&mut self, kind: u8, body: &[u8]) -> Option<()> {
        match kind {
            b'R' => {
                let Phase::Starting(auth) = &mut self.phase else { return None };
                let auth = std::mem::replace(auth, Auth::Start);
                let credentials = Credentials {
                    user: &self.config.user,
                    password: self.config.host(self.target.host).2,
                    binding: self.config.channel_binding,
                    end_point: self.secure_end_point.clone(),
                };
                match auth.handle(body, credentials, &mut self.out, &mut self.job) {
                    Ok(next) => self.phase = Phase::Starting(next),
                    Err(why) => self.close(format!("authentication: {why}")),
                }
                Some(())
            }
            b'K' => {
                let mut body = Body(body);
                let process_id = body.u32()?;
                if !(4..=SECRET_BYTES_MAX).contains(&body.0.len()) || (self.minor < 2 && body.0.len() != 4) {
                    return None;
                }
                self.backend = Some(BackendKey { process_id, secret: body.0.into() });
                Some(())
            }
            // NegotiateProtocolVersion: the newest minor version that the server speaks, and options that it doesn't
            // know, of which we send none.
            b'v' => {
                let mut body = Body(body);
                let (version, options) = (body.u32()?, body.u32()?);
                let minor = u16::try_from(version & 0xffff).ok()?;
                // Before version 18 the server sent the minor version alone.
                if !matches!(version >> 16, 0 | 3) || options != 0 || minor >= self.minor {
                    return None;
                }
                if minor < self.config.protocol.0 {
                    self.close(format!("the server speaks protocol 3.{minor} at best"));
                }
                self.minor = minor;
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
                // Of an unnamed statement: the rows must be what they are decoded as.
                b'1' | b'n' => {}
                b'T' => {
                    let oids = running.prepared.types.iter().map(|ty| ty.oid);
                    if !oids.eq(columns(body)?.into_iter().map(|(_, oid)| oid)) {
                        let expected = "the result that was described: a table has changed";
                        let changed = ValueError::Malformed { offset: 0, expected };
                        running.error = Some(QueryError::Value(changed));
                    }
                }
                // EmptyQueryResponse; CloseComplete of a Close without a Sync of its own; PortalSuspended.
                b'I' | b'3' | b's' => {}
                // CopyOutResponse, CopyDone.
                b'H' | b'c' if running.copy.is_some() => {}
                // The server waits for data that nobody has.
                b'G' if running.copy.is_some() => {
                    let start = wire::begin(&mut self.out, b'f');
                    wire::cstr(&mut self.out, "this is no COPY TO STDOUT");
                    wire::end(&mut self.out, start);
                }
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
                    description.columns = columns(body)?;
                }
                _ => return None,
            },
            Entry::Describe { described, .. } => super::describe::answer(described, kind, body)?,
            Entry::Session { standby, read_only, known } => match kind {
                b'T' | b'C' => {}
                b'D' => {
                    let mut fields = body.get(2..)?;
                    let mut next = || decode::field(&mut fields)?;
                    (*standby, *read_only) = (next()? == b"t", next()? == b"on");
                    *known = true;
                }
                _ => return None,
            },
            Entry::Proof { proven, .. } => match kind {
                b'T' | b'C' | b'3' => {}
                b'D' => *proven = body == b"\0\x01\0\0\0\x01t",
                _ => return None,
            },
            Entry::Catalog { .. } => match kind {
                b'T' | b'C' | b'3' => {}
                b'D' => {
                    let row = catalog_row(body)?;
                    self.catalog.insert(&row);
                }
                _ => return None,
            },
            Entry::CopyIn { affected, refused, .. } => match kind {
                b'C' => *affected = wire::tag_count(body),
                b'G' | b'3' => {}
                // Another statement than a COPY FROM STDIN has run.
                b'T' | b'D' | b'H' | b'd' | b'c' | b'I' => {
                    *refused = Some(QueryError::Refused("this is no COPY FROM STDIN"));
                }
                _ => return None,
            },
            Entry::Simple { affected, rolled_back, .. } => match kind {
                b'C' => {
                    *affected = wire::tag_count(body);
                    *rolled_back = body == b"ROLLBACK\0";
                }
                b'T' | b'I' | b'H' | b'd' | b'c' | b'3' => {}
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
            // No proof, then.
            Entry::Proof { proven, .. } => *proven = false,
            Entry::Session { known, .. } => *known = false,
            Entry::Prepare { error: slot, .. }
            | Entry::Describe { error: slot, .. }
            | Entry::CopyIn { error: slot, .. }
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
                self.settle_session();
            } else {
                self.close("protocol: ready before authentication".to_owned());
            }
            return;
        }
        let left_open = self.usage == Use::Shared && status != b'I';
        let synced = matches!(self.fifo.front(), Some(Entry::Query(running)) if running.synced);
        if synced && !left_open && self.finish_front(rows, receiver) {
            return self.announce_copy();
        }
        match self.fifo.pop_front() {
            None => self.close("protocol: ReadyForQuery without a query".to_owned()),
            Some(Entry::Query(running)) => {
                let skipped = if running.synced { Vec::new() } else { self.take_skipped() };
                self.finish(running, rows, left_open, receiver);
                for running in skipped {
                    self.send_again(running);
                }
            }
            Some(Entry::Session { standby, read_only, known }) => {
                self.preparing -= 1;
                if known {
                    self.judge_session(standby, read_only);
                } else {
                    self.close("the server doesn't say whether it is a standby".to_owned());
                }
            }
            Some(Entry::Proof { id, proven }) => {
                self.preparing -= 1;
                self.busy_since = self.now;
                if let Some(slot) = self.statements.by_id(id) {
                    slot.merit.prove(proven, self.now);
                }
            }
            Some(Entry::Describe { token, described, error }) => {
                let result = match error {
                    Some(error) => Err(QueryError::Server(error)),
                    None => Ok(Complete { has_columns: described.columns.is_some(), ..Complete::default() }),
                };
                self.last_described = Some(described);
                self.events.push_back(Event::Done { token, result });
            }
            Some(Entry::Prepare { id, description, error }) => {
                self.preparing -= 1;
                self.busy_since = self.now;
                self.described(id, description, error);
            }
            Some(Entry::Catalog { id, description, wanted, error }) => {
                self.preparing -= 1;
                for oid in wanted {
                    self.catalog.insert_unknown(oid);
                }
                let composites = self.catalog.composites();
                self.encode.composites = std::sync::Arc::clone(&composites);
                self.decode.composites = composites;
                self.described(id, description, error);
            }
            Some(Entry::CopyIn { token, abandoned, error, refused, affected }) => {
                self.busy_since = self.now;
                if self.copy_token() == Some(token) {
                    // The server ended it before we did; CopyData that is still on its way, it ignores.
                    self.copying = None;
                }
                if !abandoned {
                    let result = match (refused, error) {
                        (Some(refused), _) => Err(refused),
                        (None, Some(error)) => Err(copy_error(error)),
                        (None, None) => Ok(Complete { affected, ..Complete::default() }),
                    };
                    self.events.push_back(Event::Done { token, result });
                }
            }
            Some(Entry::Simple { token, abandoned, error, affected, commit, rolled_back }) => {
                if !abandoned {
                    let result = match error {
                        Some(error) => Err(QueryError::Server(error)),
                        None if commit && rolled_back => Err(QueryError::Refused(ROLLED_BACK)),
                        None => Ok(Complete { affected, ..Complete::default() }),
                    };
                    self.events.push_back(Event::Done { token, result });
                }
            }
        }
        self.announce_copy();
        if left_open {
            self.close("a statement left a transaction open on a shared connection".to_owned());
        }
    }

    /// Authenticated: is this the kind of server that is wanted? It says so by itself since version 14; a pooler may
    /// not, and is asked.
    fn settle_session(&mut self) {
        if self.target.session == Session::Any || self.target.session == Session::PreferStandby {
            return self.become_ready();
        }
        let on = |name: &str| self.parameter(name).map(|value| value == "on");
        match (on("in_hot_standby"), on("default_transaction_read_only")) {
            (Some(standby), Some(read_only)) => self.judge_session(standby, standby || read_only),
            _ => {
                self.phase = Phase::Probing;
                wire::simple(&mut self.out, SESSION_QUERY);
                self.fifo.push_back(Entry::Session { standby: false, read_only: false, known: false });
                self.preparing += 1;
            }
        }
    }

    fn judge_session(&mut self, standby: bool, read_only: bool) {
        let refused = match self.target.session {
            Session::Any | Session::PreferStandby => None,
            Session::ReadWrite => read_only.then_some("the server is read-only, wanted is read-write"),
            Session::ReadOnly => (!read_only).then_some("the server accepts writes, wanted is read-only"),
            Session::Primary => standby.then_some("the server is a standby, wanted is a primary"),
            Session::Standby => (!standby).then_some("the server is a primary, wanted is a standby"),
        };
        match refused {
            Some(why) => self.close(format!("target_session_attrs: {why}")),
            None => self.become_ready(),
        }
    }

    fn become_ready(&mut self) {
        self.phase = Phase::Ready;
        self.was_ready = true;
        let key =
            self.backend.as_ref().map_or(String::new(), |key| format!("{} {:?}", key.process_id, key.secret));
        self.tag = hash_text(&key);
    }

    /// The members of a group behind the one that failed, up to the group's Sync: the server skipped them.
    fn take_skipped(&mut self) -> Vec<Running> {
        let mut skipped = Vec::new();
        while let Some(Entry::Query(_)) = self.fifo.front()
            && let Some(Entry::Query(running)) = self.fifo.pop_front()
        {
            let last = running.synced;
            if !running.abandoned {
                skipped.push(running);
            }
            if last {
                break;
            }
        }
        skipped
    }

    /// Sends a member of a group that never ran, now with a Sync of its own.
    fn send_again(&mut self, running: Running) {
        let Running { token, access, shape, delivery, prepared, bytes, healed, portal, .. } = running;
        let written = prepared.bind(&mut self.out, self.unnamed, portal, |out| {
            out.extend_from_slice(&bytes);
            Ok::<_, QueryError>(())
        });
        match written {
            Ok(()) => {
                let again = running_of(token, access, shape, delivery, prepared, bytes, healed);
                self.push_running(Running { portal, ..again });
            }
            Err(error) => self.events.push_back(Event::Done { token, result: Err(error) }),
        }
    }

    /// The server is done with a statement: how long was it at work?
    fn record_speed(&mut self, prepared: &Prepared) {
        let took = self.now.since(self.busy_since);
        self.busy_since = self.now;
        if let Some(slot) = self.statements.find_quietly(prepared.hash, prepared.id)
            && slot.merit.record(took)
            && self.slow.len() < SLOW_HASHES_MAX
        {
            self.slow.push(prepared.hash);
        }
    }

    /// The query at the head of the FIFO is over, and went well: it is done with where it is. False if there is more to
    /// say about it, which [`Connection::finish`] does.
    fn finish_front(&mut self, rows: &[u8], receiver: &mut dyn Receiver) -> bool {
        let Some(Entry::Query(running)) = self.fifo.front_mut() else { return false };
        if running.error.is_some() {
            return false;
        }
        rows::finish(running, rows, &mut self.decode, receiver);
        if running.error.is_some() {
            return false;
        }
        let took = self.now.since(self.busy_since);
        self.busy_since = self.now;
        if let Some(slot) = self.statements.find_quietly(running.prepared.hash, running.prepared.id)
            && slot.merit.record(took)
            && self.slow.len() < SLOW_HASHES_MAX
        {
            self.slow.push(running.prepared.hash);
        }
        if self.spare.len() < SPARE_MAX && running.bytes.capacity() <= SPARE_BYTES_MAX {
            self.spare.push(std::mem::take(&mut running.bytes));
        }
        if !running.abandoned {
            self.events.push_back(Event::Done { token: running.token, result: Ok(running.complete) });
        }
        self.fifo.pop_front();
        true
    }

    fn finish(&mut self, mut running: Running, rows: &[u8], left_open: bool, receiver: &mut dyn Receiver) {
        self.record_speed(&running.prepared);
        if left_open && running.error.is_none() {
            running.error = Some(QueryError::Refused("it leaves a transaction open on a shared connection"));
        }
        if let Some(QueryError::Server(error)) = &running.error
            && !running.abandoned
            && !running.bound
            && is_stale(error)
        {
            let error = error.clone();
            if &*error.code == "26000" && (running.healed || self.unnamed || self.status != b'I') {
                // Prepared a moment ago, and unknown again: somebody in between doesn't keep statements for us. One that
                // was sent with its text can't come here again.
                self.unnamed = true;
                if self.status == b'I' {
                    return self.send_again(running);
                }
            }
            if !running.healed && self.status == b'I' {
                self.heal(running, error);
                return;
            }
            // Inside a transaction: this query fails, the next use prepares again.
            if let Some(slot) = self.statements.remove(running.prepared.id) {
                self.requeue(slot);
            }
        }
        rows::finish(&mut running, rows, &mut self.decode, receiver);
        let changed = matches!(&running.error, Some(QueryError::Value(ValueError::Malformed { expected, .. }))
            if *expected == decode::COMPOSITE_CHANGED);
        if changed {
            // This query has failed; whoever comes next finds out what the type is like now.
            self.catalog.forget_composites();
            if let Some(slot) = self.statements.remove(running.prepared.id) {
                self.requeue(slot);
            }
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
        let Running { token, access, shape, delivery, prepared, bytes, portal, .. } = running;
        let waiting = Waiting {
            token,
            access,
            shape,
            delivery,
            portal,
            input: Input::Encoded { old: Arc::clone(&prepared), bytes, error },
        };
        let sql = Sql { text: &prepared.text, hash: prepared.hash, access };
        let fresh = match self.statements.find(sql.hash, sql.text) {
            None => None,
            Some(slot) if slot.id == prepared.id => {
                self.statements.remove(prepared.id);
                wire::close_statement(&mut self.out, &statement::name(self.tag, prepared.id));
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
        wire::close_statement(&mut self.out, &statement::name(self.tag, slot.id));
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
        let mut wanted: Vec<u32> = Vec::new();
        for oid in description.params.iter().chain(description.columns.iter().map(|(_, oid)| oid)) {
            self.catalog.missing(*oid, 0, &mut wanted);
        }
        wanted.sort_unstable();
        wanted.dedup();
        if !wanted.is_empty() {
            let list: Vec<String> = wanted.iter().map(u32::to_string).collect();
            wire::simple(&mut self.out, &format!("{CATALOG_QUERY}{})", list.join(",")));
            self.start_busy();
            self.fifo.push_back(Entry::Catalog { id, description, wanted, error: None });
            self.preparing += 1;
            return;
        }
        let Some(slot) = self.statements.by_id(id) else { return };
        let prepared = Arc::new(finalize(slot, self.tag, description, &self.catalog));
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
        let Waiting { token, access, shape, delivery, portal, input } = waiting;
        let result = match input {
            Input::Values(values) => {
                let params: Vec<Param<'_>> = values.iter().map(Param::from).collect();
                self.bind((token, access, shape, delivery, portal), Arc::clone(prepared), &params, None)
            }
            Input::Types => {
                self.copy_starts(token, Some(Arc::clone(prepared)));
                Ok(())
            }
            Input::Encoded { old, bytes, .. } if old.params == prepared.params => {
                let written = prepared.bind(&mut self.out, self.unnamed, portal, |out| {
                    out.extend_from_slice(&bytes);
                    Ok::<_, QueryError>(())
                });
                let again = running_of(token, access, shape, delivery, Arc::clone(prepared), bytes, true);
                self.push_running(Running { portal, ..again });
                written
            }
            Input::Encoded { error, .. } => Err(QueryError::Server(error)),
        };
        if let Err(error) = result {
            self.events.push_back(Event::Done { token, result: Err(error) });
        }
    }
}

/// Counts whole DataRows at the front of `bytes` that fit below the limit; how many bytes they are.
fn more_rows(running: &mut Running, bytes: &[u8], limit: usize) -> usize {
    let mut at = 0;
    while let Some((&[b'D', a, b, c, d], rest)) = bytes[at..].split_first_chunk::<5>() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let fits = (4..=rest.len() + 4).contains(&length) && running.result_bytes + length < limit;
        if !fits {
            break;
        }
        running.result_bytes += length + 1;
        running.pending += 1;
        at += length + 1;
    }
    at
}

/// Makes a statement of its description; the catalog knows its types.
fn finalize(slot: &statement::Slot, tag: u64, description: Description, catalog: &Catalog) -> Prepared {
    let resolve = |oid: u32| catalog.get(oid).unwrap_or(Type { oid, scalar: Scalar::Other, array: false });
    let types: Box<[_]> = description.columns.iter().map(|(_, oid)| resolve(*oid)).collect();
    let mut prefix = vec![b'B', 0, 0, 0, 0, 0];
    wire::cstr(&mut prefix, &statement::name(tag, slot.id));
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
    let params: Box<[Type]> = description.params.iter().map(|oid| resolve(*oid)).collect();
    Prepared {
        id: slot.id,
        text: Arc::clone(&slot.text),
        hash: slot.hash,
        ints: Ints::new(&prefix, &params, &formats, &suffix),
        params,
        has_columns: description.has_columns,
        plain: types.iter().all(|ty| decode::is_plain(*ty)),
        kinds: types.iter().map(|ty| decode::packed(*ty)).collect(),
        columns: description.columns.into_iter().map(|(name, _)| name).collect(),
        types,
        prefix: prefix.into(),
        formats: formats.into(),
        suffix: suffix.into(),
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

/// An error of a COPY FROM STDIN: data that a column can't hold is the caller's fault, and the server says where
/// (`COPY t, line 3, column a: "x"`).
fn copy_error(error: Box<ServerError>) -> QueryError {
    let data = matches!(&*error.code, "22P04" | "22P02" | "22P03" | "22003" | "22007" | "22008" | "22021");
    if !data {
        return QueryError::Server(error);
    }
    // The value itself may be a secret: only the place is told.
    let place = error.context.lines().next().unwrap_or_default().split(": ").next().unwrap_or_default();
    let reason = format!("{} ({place})", error.message).into();
    ParameterError { index: 0, type_name: Box::default(), reason }.into()
}

/// Names and types of a RowDescription.
fn columns(body: &[u8]) -> Option<Vec<(Box<str>, u32)>> {
    let mut body = Body(body);
    let count = body.u16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let name = body.text()?;
        // Table, attribute number; then type; then its size, modifier and format.
        body.u32()?;
        body.u16()?;
        let oid = body.u32()?;
        body.u16()?;
        body.u32()?;
        body.u16()?;
        columns.push((name, oid));
    }
    Some(columns)
}

/// A DataRow of [`CATALOG_QUERY`], in text format.
fn catalog_row(body: &[u8]) -> Option<CatalogRow> {
    let mut body = Body(body);
    if body.u16()? != 9 {
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
        extension: next()?.into(),
        subtype: next()?.parse().ok()?,
        fields: {
            let text = next()?;
            let field = |field: &str| {
                let (oid, name) = field.split_once(' ')?;
                Some((name.into(), oid.parse().ok()?))
            };
            text.split('\x01').filter(|field| !field.is_empty()).map(field).collect::<Option<_>>()?
        },
    })
}
