//! Bytes of records: fixed little-endian words and varints, with a reader that never trusts a length.

use super::SnapshotError;

/// Appends to a record.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn u8(&mut self, v: u8) {
        self.0.push(v);
    }
    pub(super) fn flag(&mut self, v: bool) {
        self.0.push(u8::from(v));
    }
    pub(super) fn u32(&mut self, v: u32) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    pub(super) fn u64(&mut self, v: u64) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    /// LEB128: seven bits a byte, lowest first.
    pub(super) fn varint(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.0.push(v.to_le_bytes()[0] | 0x80);
            v >>= 7;
        }
        self.0.push(v.to_le_bytes()[0]);
    }
    pub(super) fn len(&mut self, v: usize) {
        self.varint(v as u64);
    }
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.0.extend_from_slice(bytes);
    }
}

/// Reads a record from its start.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

type Read<T> = Result<T, SnapshotError>;

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything was read.
    pub(super) fn done(&self, of: &'static str) -> Read<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(SnapshotError::Malformed(of)) }
    }

    pub(super) fn take(&mut self, len: usize) -> Read<&'a [u8]> {
        if len > self.rest.len() {
            return Err(SnapshotError::Malformed("a record ends too early"));
        }
        let (bytes, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(super) fn u8(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }
    pub(super) fn flag(&mut self) -> Read<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(SnapshotError::Malformed("a flag is neither 0 nor 1")),
        }
    }
    pub(super) fn u32(&mut self) -> Read<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    pub(super) fn u64(&mut self) -> Read<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    pub(super) fn varint(&mut self) -> Read<u64> {
        let mut v = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            v |= bits << shift;
            if byte & 0x80 == 0 {
                // One encoding per number, so that equal records have equal bytes.
                if byte == 0 && shift > 0 {
                    break;
                }
                return Ok(v);
            }
        }
        Err(SnapshotError::Malformed("a number is not in its one form"))
    }
    pub(super) fn int32(&mut self) -> Read<u32> {
        u32::try_from(self.varint()?).map_err(|_| SnapshotError::Malformed("a number is too large"))
    }
    /// A count of things that take at least `each` bytes: so it can't ask for more memory than there are bytes.
    pub(super) fn count(&mut self, each: usize) -> Read<usize> {
        let n = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        if n > self.rest.len() / each.max(1) {
            return Err(SnapshotError::Malformed("a count is beyond its record"));
        }
        Ok(n)
    }
    pub(super) fn bytes(&mut self) -> Read<&'a [u8]> {
        let len = self.count(1)?;
        self.take(len)
    }
    pub(super) fn text(&mut self) -> Read<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| SnapshotError::Malformed("a name is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        for v in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX] {
            let mut out = Vec::new();
            Writer(&mut out).varint(v);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.varint(), Ok(v));
            assert!(reader.is_done());
        }
        for bad in [&[0x80, 0][..], &[0xff; 10], &[0x80], &[]] {
            assert!(Reader::new(bad).varint().is_err(), "{bad:?}");
        }
        assert!(Reader::new(&[200, 1, 0]).count(1).is_err());
    }
}
