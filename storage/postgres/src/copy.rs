//! COPY: many rows as one stream, in binary where every value has a binary form of ours, else as COPY's text.
//!
//! ```text
//!   COPY t (a, b) FROM STDIN (FORMAT binary)      Query, CopyData..., CopyDone   in one go: nothing is waited for
//!   CopyData: "PGCOPY\n\xff\r\n\0" flags:u32 0:u32 { fields:u16 { length:i32 bytes }* }* -1:i16
//! ```
//! The types of the columns are asked for once per statement and connection (Parse and Describe of an INSERT with the
//! same columns). A value whose text only the server can read (`'tomorrow'` for a date) makes the whole COPY one in
//! text, so that a string means what it means in SQL; that is decided before the first byte leaves.
//!
//! Source: PostgreSQL manual, "COPY", sections "Text Format" and "Binary Format".

use forebay_base::Value;

use crate::error::{ParameterError, QueryError};
use crate::param::Param;
use crate::types::{self, Scalar, Type, encode};

/// Bytes of CopyData that are made at once: the next ones when these are with the kernel.
pub const CHUNK_BYTES: usize = 32 * 1024;
/// Capacity of the buffer that they are made in: with room for the row that fills it, and no more than what a transport keeps
/// for reuse: one that has more is given back to the allocator with every chunk.
pub(crate) const BUFFER_BYTES: usize = 64 * 1024;

/// What begins a COPY in binary: signature, flags, length of the extension.
pub(crate) const HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// How rows travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Values as the types' `recv` functions read them.
    Binary,
    /// Lines with tabs, as the types' input functions read them.
    Text,
    /// What the caller has is what the server gets.
    Raw,
}

impl Format {
    /// What follows the command.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Binary => " (FORMAT binary)",
            Self::Text | Self::Raw => "",
        }
    }
}

/// The rows of a COPY FROM STDIN.
pub trait CopySource {
    /// Appends rows until `writer` is full or there are no more; true if there are more.
    ///
    /// # Errors
    /// Whatever [`CopyWriter::value`] says, or a reason of its own: nothing is copied then.
    fn fill(&mut self, writer: &mut CopyWriter<'_>) -> Result<bool, QueryError>;

    /// Begins anew: the rows are wanted in another format.
    fn rewind(&mut self);
}

/// Takes rows, one value after the other.
pub struct CopyWriter<'a> {
    /// Taken while it is written to, which saves an indirection on every value.
    out: Vec<u8>,
    start: usize,
    types: &'a [Type],
    column: usize,
    format: Format,
    /// A value has no binary form of ours.
    needs_text: bool,
    scratch: &'a mut encode::Scratch,
}

impl std::fmt::Debug for CopyWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyWriter").field("format", &self.format).finish_non_exhaustive()
    }
}

impl<'a> CopyWriter<'a> {
    pub(crate) fn new(
        out: Vec<u8>,
        types: &'a [Type],
        format: Format,
        scratch: &'a mut encode::Scratch,
    ) -> Self {
        let start = out.len();
        Self { out, start, types, column: 0, format, needs_text: false, scratch }
    }

    /// What was written, behind what was there, and whether only text will do.
    pub(crate) fn finish(self) -> (Vec<u8>, bool) {
        (self.out, self.needs_text)
    }

    /// How many values a row has.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.types.len()
    }

    /// It is time to stop: the rest comes later.
    #[must_use]
    #[inline]
    pub fn is_full(&self) -> bool {
        self.out.len() - self.start >= CHUNK_BYTES
    }

    /// Begins a row.
    #[inline(always)]
    pub fn begin_row(&mut self) {
        self.column = 0;
        if self.format == Format::Binary {
            // RowDescription and ParameterDescription count in 16 bits.
            let count = u16::try_from(self.types.len()).unwrap_or(u16::MAX);
            self.out.extend_from_slice(&count.to_be_bytes());
        }
    }

    /// The next value of the row.
    ///
    /// # Errors
    /// One that its column's type can't hold, or one too many.
    #[inline(always)]
    pub fn value(&mut self, param: &Param<'_>) -> Result<(), QueryError> {
        match *param {
            Param::Int(v) => self.int(v),
            Param::Str(v) => self.text(v),
            ref other => self.other_value(other),
        }
    }

    /// Encoding of the next column, if it is binary and no array.
    #[inline(always)]
    fn binary(&self) -> Option<Scalar> {
        match self.types.get(self.column) {
            Some(ty) if !ty.array && self.format == Format::Binary => Some(ty.scalar),
            _ => None,
        }
    }

    /// As [`CopyWriter::value`] of an integer. No parameter is made of it where it has its binary form: that would be
    /// written and read again at once.
    ///
    /// # Errors
    /// As that.
    #[inline(always)]
    pub fn int(&mut self, value: i64) -> Result<(), QueryError> {
        match (self.binary(), i32::try_from(value)) {
            (Some(Scalar::Int4), Ok(narrow)) => {
                self.out.extend_from_slice(&(4 << 32 | u64::from(narrow.cast_unsigned())).to_be_bytes());
            }
            (Some(Scalar::Int8), _) => {
                let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
                self.out.extend_from_slice(&[0, 0, 0, 8, a, b, c, d, e, f, g, h]);
            }
            _ => return self.other_value(&Param::Int(value)),
        }
        self.column += 1;
        Ok(())
    }

    /// As [`CopyWriter::value`] of text.
    ///
    /// # Errors
    /// As that.
    #[inline(always)]
    pub fn text(&mut self, value: &str) -> Result<(), QueryError> {
        // A NUL is for the server to refuse: it says where.
        if self.binary() != Some(Scalar::Text) || value.len() >= CHUNK_BYTES {
            return self.other_value(&Param::Str(value));
        }
        let length = u32::try_from(value.len()).unwrap_or(0);
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(value.as_bytes());
        self.column += 1;
        Ok(())
    }

    #[inline(never)]
    fn other_value(&mut self, param: &Param<'_>) -> Result<(), QueryError> {
        let Some(ty) = self.types.get(self.column).copied() else {
            return Err(refused(self.column, None, "there is no such column"));
        };
        if matches!(param, Param::Undefined) {
            return Err(refused(self.column, Some(ty), "undefined; use null for SQL NULL"));
        }
        let made = match self.format {
            Format::Binary => match encode::copy_binary(param, ty, self.scratch, &mut self.out) {
                Ok(false) => {
                    self.needs_text = true;
                    return Err(QueryError::Refused("a value has no binary form"));
                }
                made => made,
            },
            Format::Text => {
                if self.column > 0 {
                    self.out.push(b'\t');
                }
                encode::copy_text(param, ty, self.scratch, &mut self.out).map(|()| true)
            }
            Format::Raw => Err("a COPY of text takes no values".into()),
        };
        made.map_err(|reason| refused(self.column, Some(ty), &reason))?;
        self.column += 1;
        Ok(())
    }

    /// Ends a row.
    ///
    /// # Errors
    /// Values that are missing.
    #[inline(always)]
    pub fn end_row(&mut self) -> Result<(), QueryError> {
        if self.column != self.types.len() {
            return Err(refused(self.column, None, "the row ends here, but has more columns"));
        }
        if self.format == Format::Text {
            self.out.push(b'\n');
        }
        Ok(())
    }

    /// Bytes as they are, for a COPY whose format the caller has chosen.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}

fn refused(column: usize, ty: Option<Type>, reason: &str) -> QueryError {
    let of = ty.map_or(String::new(), |ty| format!(" ({})", types::name(ty.oid)));
    ParameterError {
        index: 0,
        type_name: Box::default(),
        reason: format!("COPY, column {}{of}: {reason}", column + 1).into(),
    }
    .into()
}

/// Whether a value of this type either has a binary form or is an error, whatever it is: then the format needs no look
/// at all rows.
pub(crate) fn is_definite(ty: Type) -> bool {
    let plain = matches!(
        ty.scalar,
        Scalar::Int2
            | Scalar::Int4
            | Scalar::Int8
            | Scalar::Oid
            | Scalar::Text
            | Scalar::Json
            | Scalar::Jsonb
    );
    plain && !ty.array
}

/// Rows that are there as values.
#[derive(Debug)]
pub struct Rows<'a> {
    rows: &'a [Vec<Value>],
    next: usize,
}

impl<'a> Rows<'a> {
    /// A source of these rows, from `next` on.
    #[must_use]
    pub fn new(rows: &'a [Vec<Value>], next: usize) -> Self {
        Self { rows, next }
    }

    /// How many of them are written.
    #[must_use]
    pub fn written(&self) -> usize {
        self.next
    }
}

impl CopySource for Rows<'_> {
    fn fill(&mut self, writer: &mut CopyWriter<'_>) -> Result<bool, QueryError> {
        while let Some(row) = self.rows.get(self.next) {
            if writer.is_full() {
                return Ok(true);
            }
            writer.begin_row();
            row.iter().try_for_each(|value| writer.value(&Param::from(value)))?;
            writer.end_row()?;
            self.next += 1;
        }
        Ok(false)
    }

    fn rewind(&mut self) {
        self.next = 0;
    }
}

/// Bytes that are a COPY's data already: text or CSV.
#[derive(Debug)]
pub struct Bytes<'a> {
    bytes: &'a [u8],
    next: usize,
}

impl<'a> Bytes<'a> {
    /// A source of these bytes, from `next` on.
    #[must_use]
    pub fn new(bytes: &'a [u8], next: usize) -> Self {
        Self { bytes, next }
    }

    /// How many of them are written.
    #[must_use]
    pub fn written(&self) -> usize {
        self.next
    }
}

impl CopySource for Bytes<'_> {
    fn fill(&mut self, writer: &mut CopyWriter<'_>) -> Result<bool, QueryError> {
        let rest = self.bytes.get(self.next..).unwrap_or_default();
        let now = &rest[..rest.len().min(CHUNK_BYTES)];
        writer.raw(now);
        self.next += now.len();
        Ok(self.next < self.bytes.len())
    }

    fn rewind(&mut self) {
        self.next = 0;
    }
}

/// A statement of the builder with its parameters written into it: COPY takes none. Each becomes a constant without a
/// type of its own, which the server reads as it would the parameter.
///
/// # Errors
/// A parameter that has no such form (a list, an object, undefined), or that the text doesn't have.
pub fn inline(text: &str, params: &[Param<'_>]) -> Result<String, QueryError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['$', '\'', '"']) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        let quote = &found[..1];
        if quote != "$" {
            // A quoted name or text; a doubled quote begins the next.
            let end = found[1..].find(quote).map_or(found.len(), |end| end + 2);
            out.push_str(&found[..end]);
            rest = &found[end..];
            continue;
        }
        let digits = found[1..].bytes().take_while(u8::is_ascii_digit).count();
        let number: usize = found[1..=digits].parse().unwrap_or(0);
        let param = number.checked_sub(1).and_then(|index| params.get(index));
        let made = match param {
            Some(Param::Null) => None,
            Some(Param::Bool(v)) => Some(v.to_string()),
            Some(Param::Str(v) | Param::Digits(v)) => Some((*v).to_owned()),
            Some(param @ (Param::Int(_) | Param::Float(_) | Param::Timestamp(_) | Param::Bytes(_))) => {
                Some(encode::text(param))
            }
            _ => {
                let kind = param.map_or("nothing", Param::kind);
                let reason = format!("COPY: {kind} can't be a value of its query; use get()").into();
                return Err(ParameterError { index: 0, type_name: Box::default(), reason }.into());
            }
        };
        match made {
            None => out.push_str("NULL"),
            Some(made) if made.contains('\0') => {
                return Err(QueryError::Refused("COPY: text with a NUL character"));
            }
            Some(made) => {
                // Not part of a name or number in front of it.
                out.push(' ');
                crate::pool::literal(&mut out, &made);
            }
        }
        rest = &found[1 + digits..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_constants_outside_of_quotes() {
        let check = |text: &str, params: &[Param<'_>], expect: &str| {
            assert_eq!(inline(text, params).unwrap(), expect);
        };
        let params = [Param::Int(-1), Param::Str("it's \\ $1"), Param::Null, Param::Bool(true)];
        check("a = $1 and b=$2 or $3", &params, "a =  E'-1' and b= E'it''s \\\\ $1' or NULL");
        check("\"a$1\" = '$2''$1' and $4", &params, "\"a$1\" = '$2''$1' and  E'true'");
        assert!(inline("$1", &[Param::List(&[])]).is_err());
        assert!(inline("$2", &[Param::Int(1)]).is_err());
        assert!(inline("'open $1", &[]).is_ok());
    }
}
