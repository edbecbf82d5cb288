//! What a statement would give, without running it: Parse and Describe of the unnamed statement. For the tools that
//! check an app's statements; on a connection that one caller owns.

use super::wire::{self, Body};
use super::{Connection, Entry};
use crate::error::QueryError;
use crate::query::Token;

/// What the server says about a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Type OIDs of the parameters, in order.
    pub params: Vec<u32>,
    /// Columns of the result; `None` if it has none at all, as an INSERT without RETURNING.
    pub columns: Option<Vec<DescribedColumn>>,
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedColumn {
    /// Its name.
    pub name: Box<str>,
    /// OID of the table that it comes from; 0 for an expression.
    pub table: u32,
    /// Number of that table's column, from 1; 0 for an expression.
    pub attribute: u16,
    /// OID of its type.
    pub type_oid: u32,
}

impl Connection {
    /// Asks what a statement would give. An [`crate::query::Event::Done`] follows; then
    /// [`Connection::take_described`] has the answer.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn describe(&mut self, token: Token, sql: &str) -> Result<(), QueryError> {
        self.check_ready()?;
        if sql.contains('\0') {
            return Err(QueryError::Refused("the statement's text has a NUL character"));
        }
        wire::prepare(&mut self.out, "", sql);
        self.start_busy();
        self.fifo.push_back(Entry::Describe { token, described: Described::default(), error: None });
        Ok(())
    }

    /// The last description that came.
    pub fn take_described(&mut self) -> Option<Described> {
        self.last_described.take()
    }
}

/// A ParameterDescription or a RowDescription.
pub(super) fn answer(described: &mut Described, kind: u8, body: &[u8]) -> Option<()> {
    let mut body = Body(body);
    match kind {
        b'1' | b'3' | b'n' => {}
        b't' => {
            for _ in 0..body.u16()? {
                described.params.push(body.u32()?);
            }
        }
        b'T' => {
            let mut columns = Vec::new();
            for _ in 0..body.u16()? {
                let name = body.text()?;
                let (table, attribute, type_oid) = (body.u32()?, body.u16()?, body.u32()?);
                // Size, modifier, format.
                body.u16()?;
                body.u32()?;
                body.u16()?;
                columns.push(DescribedColumn { name, table, attribute, type_oid });
            }
            described.columns = Some(columns);
        }
        _ => return None,
    }
    Some(())
}
