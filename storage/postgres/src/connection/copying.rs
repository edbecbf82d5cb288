//! COPY on a connection that nobody else uses meanwhile.
//!
//! ```text
//!   start_copy --types known--> Event::Copy --copy_in---> [Event::CopyMore --copy_more--]* CopyDone ... Done
//!                                      \----copy_out----> rows, as those of a query ................... Done
//! ```
//! Everything goes out behind the Query message without waiting for CopyInResponse: what the server has refused the
//! COPY for, it says in an ErrorResponse, and CopyData behind that it ignores (manual: "COPY Operations"). A query
//! behind an open COPY FROM would end the connection, so there is none: others are refused until CopyDone is written.

use std::sync::Arc;

use forebay_base::ValueError;
use forebay_base::ValueSink;

use super::statement::{Input, Prepared, State, Waiting};
use super::wire::{self, Body};
use super::{Connection, Entry, Running, shared};
use crate::copy::{BUFFER_BYTES, CopySource, CopyWriter, Format, HEADER, is_definite};
use crate::error::QueryError;
use crate::query::{Access, Complete, Delivery, Event, Shape, Sql, Token};
use crate::types::decode;

/// A COPY that has this connection.
pub(super) struct Copying {
    pub(super) token: Token,
    /// The statement that tells the columns' types.
    prepared: Option<Arc<Prepared>>,
    /// [`Event::Copy`] was given: nothing is ahead of it any more.
    announced: bool,
    /// CopyData goes on.
    open: bool,
    format: Format,
}

/// How rows come out of a COPY TO STDOUT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CopyOut {
    /// Tuples; `true`: the header is still to come.
    Binary(bool),
    /// Whatever the command says.
    Raw,
}

const BUSY: QueryError = QueryError::Refused("a COPY is under way on this connection");

impl Connection {
    /// Takes the connection for a COPY. `Ok`: an [`Event::Copy`] follows once the types of its columns are known, then
    /// [`Connection::copy_in`], [`Connection::copy_out`] or [`Connection::abandon`] is due; or an [`Event::Done`] with
    /// the reason why not. `types`: a statement with a parameter for each column to copy in, or a column for each to
    /// copy out; without one the data is [`Format::Raw`].
    ///
    /// # Errors
    /// As [`Connection::query`]; another COPY has the connection.
    pub fn start_copy(&mut self, token: Token, types: Option<&Sql<'_>>) -> Result<(), QueryError> {
        self.check_ready()?;
        if self.copying.is_some() {
            return Err(BUSY);
        }
        let Some(sql) = types else {
            self.copy_starts(token, None);
            return Ok(());
        };
        let waiting = Waiting {
            token,
            access: Access::Read,
            shape: Shape::Rows,
            delivery: Delivery::Whole,
            portal: None,
            input: Input::Types,
        };
        let prepared = match self.statements.find(sql.hash, sql.text) {
            Some(slot) => match &mut slot.state {
                State::Ready(prepared) => Arc::clone(prepared),
                State::Preparing(list) => {
                    list.push(waiting);
                    self.waiting += 1;
                    return Ok(());
                }
            },
            None => {
                shared::refuse(sql.text, self.usage)?;
                if sql.text.contains('\0') {
                    return Err(QueryError::Refused("the statement's text has a NUL character"));
                }
                return self.prepare(sql, waiting);
            }
        };
        self.copy_starts(token, Some(prepared));
        Ok(())
    }

    pub(super) fn copy_starts(&mut self, token: Token, prepared: Option<Arc<Prepared>>) {
        let event = if self.copying.is_some() {
            Event::Done { token, result: Err(BUSY) }
        } else {
            self.copying =
                Some(Copying { token, prepared, announced: false, open: false, format: Format::Raw });
            return self.announce_copy();
        };
        self.events.push_back(event);
    }

    /// A COPY begins when everything before it is answered: what that still sends (a statement that gets ready, a look
    /// into the catalog) would come in the middle of its data. What comes after is refused meanwhile.
    pub(super) fn announce_copy(&mut self) {
        if let Some(copying) = &mut self.copying
            && !copying.announced
            && self.fifo.is_empty()
            && self.waiting == 0
        {
            copying.announced = true;
            self.events.push_back(Event::Copy { token: copying.token });
        }
    }

    /// The token of the COPY that has this connection.
    #[must_use]
    pub fn copy_token(&self) -> Option<Token> {
        self.copying.as_ref().map(|copying| copying.token)
    }

    /// The COPY whose next rows are wanted: everything before is with the transport.
    #[must_use]
    pub fn wants_more(&self) -> Option<Token> {
        self.copying.as_ref().filter(|copying| copying.open && self.output_len() == 0).map(|c| c.token)
    }

    /// Sends `command`, a COPY FROM STDIN without a format of its own unless it is raw, and rows of `source`. `Ok`: an
    /// [`Event::CopyMore`] for each further part, then an [`Event::Done`], which pushes no value.
    ///
    /// # Errors
    /// What the source says; nothing was sent, and no event follows.
    pub fn copy_in(
        &mut self,
        token: Token,
        command: &str,
        source: &mut dyn CopySource,
    ) -> Result<(), QueryError> {
        self.check_ready()?;
        if self.copy_token() != Some(token) {
            return Err(BUSY);
        }
        let Some(copying) = self.copying.take() else { return Err(BUSY) };
        if command.contains('\0') {
            return Err(QueryError::Refused("the statement's text has a NUL character"));
        }
        let prepared = copying.prepared.as_deref();
        let types = prepared.map_or(&[][..], |prepared| &prepared.params);
        let mut format = match prepared {
            None => Format::Raw,
            Some(_) if types.iter().all(|ty| ty.is_binary()) => Format::Binary,
            Some(_) => Format::Text,
        };
        let mut checked = types.iter().all(|ty| is_definite(*ty));
        let start = self.out.len();
        let more = loop {
            self.out.truncate(start);
            wire::simple(&mut self.out, &format!("{command}{}", format.option()));
            let data = wire::begin(&mut self.out, b'd');
            if format == Format::Binary {
                self.out.extend_from_slice(&HEADER);
            }
            let (mut filled, mut needs_text) = self.fill(types, format, source);
            let end = self.out.len();
            if matches!(filled, Ok(true)) && format == Format::Binary && !checked {
                // All other rows, to throw them away: afterwards the format can't change any more.
                while matches!(filled, Ok(true)) && !needs_text {
                    (filled, needs_text) = self.fill(types, format, source);
                    self.out.truncate(end);
                }
                checked = true;
                source.rewind();
                if filled.is_ok() {
                    continue;
                }
            }
            if needs_text {
                (format, checked) = (Format::Text, true);
                source.rewind();
                continue;
            }
            match filled {
                Ok(more) => {
                    wire::end(&mut self.out, data);
                    break more;
                }
                Err(error) => {
                    self.out.truncate(start);
                    return Err(error);
                }
            }
        };
        self.start_busy();
        self.fifo.push_back(Entry::CopyIn {
            token,
            abandoned: false,
            error: None,
            refused: None,
            affected: 0,
        });
        if more {
            self.copying = Some(Copying { open: true, format, ..copying });
        } else {
            copy_done(&mut self.out, format);
        }
        Ok(())
    }

    /// One part of a source; and whether it can't go on in this format.
    fn fill(
        &mut self,
        types: &[crate::types::Type],
        format: Format,
        source: &mut dyn CopySource,
    ) -> (Result<bool, QueryError>, bool) {
        let mut out = std::mem::take(&mut self.out);
        out.reserve_exact(BUFFER_BYTES.saturating_sub(out.len()));
        let mut writer = CopyWriter::new(out, types, format, &mut self.encode);
        let filled = source.fill(&mut writer);
        let (out, needs_text) = writer.finish();
        self.out = out;
        (filled, needs_text)
    }

    /// The next rows, after an [`Event::CopyMore`]. An error of the source ends the COPY and comes as its
    /// [`Event::Done`].
    pub fn copy_more(&mut self, token: Token, source: &mut dyn CopySource) {
        let Some(copying) = self.copying.as_ref().filter(|c| c.open && c.token == token) else { return };
        let (prepared, format) = (copying.prepared.clone(), copying.format);
        let types = prepared.as_deref().map_or(&[][..], |prepared| &prepared.params);
        let start = self.out.len();
        let data = wire::begin(&mut self.out, b'd');
        match self.fill(types, format, source).0 {
            Ok(more) => {
                wire::end(&mut self.out, data);
                if !more {
                    copy_done(&mut self.out, format);
                    self.copying = None;
                }
            }
            Err(error) => {
                self.out.truncate(start);
                self.copy_fail(Some(error));
            }
        }
    }

    /// Ends an open COPY FROM STDIN, so that nothing of it stays.
    pub(super) fn copy_fail(&mut self, why: Option<QueryError>) {
        let Some(Copying { token, open: true, .. }) = self.copying.take() else { return };
        let start = wire::begin(&mut self.out, b'f');
        wire::cstr(&mut self.out, "given up by the client");
        wire::end(&mut self.out, start);
        for entry in &mut self.fifo {
            if let Entry::CopyIn { token: of, refused, .. } = entry
                && *of == token
            {
                *refused = why;
                return;
            }
        }
    }

    /// Sends `command`, a COPY TO STDOUT without a format of its own unless its data is wanted as it is
    /// ([`Shape::Text`]). An [`Event::Done`] follows, as after a query.
    ///
    /// # Errors
    /// A column whose values only the server can write: it has to be cast to text.
    pub fn copy_out(&mut self, token: Token, command: &str, shape: Shape) -> Result<(), QueryError> {
        self.check_ready()?;
        if self.copy_token() != Some(token) {
            return Err(BUSY);
        }
        let Some(copying) = self.copying.take() else { return Err(BUSY) };
        if command.contains('\0') {
            return Err(QueryError::Refused("the statement's text has a NUL character"));
        }
        let (format, out) = match copying.prepared {
            Some(_) => (Format::Binary, CopyOut::Binary(true)),
            None => (Format::Raw, CopyOut::Raw),
        };
        let prepared = copying.prepared.unwrap_or_else(|| Arc::new(Prepared::nothing()));
        if let Some(at) = prepared.types.iter().position(|ty| !ty.is_binary()) {
            let column = prepared.columns.get(at).map_or("", |name| name);
            return Err(QueryError::Parameter(Box::new(crate::ParameterError {
                index: 0,
                type_name: Box::default(),
                reason: format!(
                    "COPY: column \"{column}\" has a type whose binary form isn't known here; select it as text (\"{column}\"::text), or use get()"
                )
                .into(),
            })));
        }
        wire::simple(&mut self.out, &format!("{command}{}", format.option()));
        self.push_running(Running {
            token,
            access: Access::Read,
            shape,
            delivery: Delivery::Whole,
            complete: Complete { has_columns: true, ..Complete::default() },
            prepared,
            bytes: Vec::new(),
            abandoned: false,
            // Nothing was prepared that could be stale.
            healed: true,
            synced: true,
            bound: true,
            list_open: false,
            pending: 0,
            result_bytes: 0,
            portal: None,
            copy: Some(out),
            error: None,
        });
        Ok(())
    }
}

fn copy_done(out: &mut Vec<u8>, format: Format) {
    if format == Format::Binary {
        let start = wire::begin(out, b'd');
        out.extend_from_slice(&(-1i16).to_be_bytes());
        wire::end(out, start);
    }
    let start = wire::begin(out, b'c');
    wire::end(out, start);
}

/// The tuples of one CopyData, as lists.
pub(super) fn push_tuples(
    running: &mut Running,
    data: &[u8],
    scratch: &mut decode::Scratch,
    sink: &mut dyn ValueSink,
) -> Result<(), ValueError> {
    let malformed = ValueError::Malformed { offset: 0, expected: "a tuple of COPY" };
    let mut body = Body(data);
    if running.copy == Some(CopyOut::Binary(true)) {
        let head = data.strip_prefix(&HEADER[..11]).ok_or(malformed.clone())?;
        body = Body(head);
        let (flags, extension) = body.u32().zip(body.u32()).ok_or(malformed.clone())?;
        // Bits 16 to 31 are critical, and none is defined.
        if flags >> 16 != 0 {
            return Err(malformed);
        }
        body.0 = body.0.get(extension as usize..).ok_or(malformed.clone())?;
        running.copy = Some(CopyOut::Binary(false));
    }
    while !body.0.is_empty() {
        match body.u16().map(usize::from) {
            Some(0xffff) => continue,
            Some(count) if count == running.prepared.types.len() => {}
            _ => return Err(malformed),
        }
        sink.begin_list(Some(running.prepared.types.len()))?;
        for ty in &running.prepared.types {
            let field = decode::field(&mut body.0).ok_or(malformed.clone())?;
            decode::column(*ty, field, scratch, sink)?;
        }
        sink.end_list()?;
        running.complete.rows += 1;
    }
    Ok(())
}
