//! Names of tasks: part of keys, URLs and headers, so of characters that none of them has to escape.

use std::fmt;
use std::sync::Arc;

/// Characters of a task's name at most.
pub const ID_BYTES_MAX: usize = 128;

/// A task's name: 1 to [`ID_BYTES_MAX`] characters that a URL has for free (RFC 3986 section 2.3:
/// letters, digits, `-`, `.`, `_`, `~`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskId(Arc<str>);

/// Why a text can't name a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdError;

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a task's id has 1 to {ID_BYTES_MAX} characters: letters, digits, - . _ ~")
    }
}

impl std::error::Error for IdError {}

impl TaskId {
    /// Checks a name.
    ///
    /// # Errors
    /// [`IdError`].
    pub fn new(text: &str) -> Result<Self, IdError> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        if text.is_empty() || text.len() > ID_BYTES_MAX || !text.bytes().all(good) {
            return Err(IdError);
        }
        Ok(Self(text.into()))
    }

    /// The value of a header Idempotency-Key: a string in quotes (RFC 8941 section 3.3.3), as the draft has it,
    /// or the bare name that most clients send.
    ///
    /// # Errors
    /// [`IdError`].
    pub fn of_header(value: &[u8]) -> Result<Self, IdError> {
        let text = std::str::from_utf8(value).map_err(|_| IdError)?.trim();
        let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        Self::new(bare)
    }

    /// A name that nobody can guess, of 128 random bits.
    #[must_use]
    pub fn random(bits: [u8; 16]) -> Self {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(32);
        for byte in bits {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which of `cores` the task belongs to. Changes with the number of cores, which changes only between
    /// two lives of the process.
    #[must_use]
    pub fn home(&self, cores: u16) -> u16 {
        // FNV-1a: any even spread will do.
        let hash = self
            .0
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        u16::try_from((hash >> 32) % u64::from(cores.max(1))).unwrap_or(0)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |text: &str, good: bool| assert_eq!(TaskId::new(text).is_ok(), good, "{text}");
        check("order-17_a.b~c", true);
        check(&"x".repeat(ID_BYTES_MAX), true);
        for bad in ["", "a:b", "a/b", "a b", "ä", &"x".repeat(ID_BYTES_MAX + 1)] {
            check(bad, false);
        }
        assert_eq!(TaskId::of_header(b" \"abc\" "), TaskId::new("abc"));
        assert_eq!(TaskId::of_header(b"abc"), TaskId::new("abc"));
        assert_eq!(TaskId::of_header(b"\"a\"b"), Err(IdError));
        assert_eq!(TaskId::of_header(b"\xff"), Err(IdError));
    }

    #[test]
    fn homes_are_spread() {
        let mut counts = [0; 4];
        for n in 0..4000u32 {
            let mut bits = [0; 16];
            bits[..4].copy_from_slice(&n.to_le_bytes());
            counts[usize::from(TaskId::random(bits).home(4))] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        assert_eq!(TaskId::new("x").unwrap().home(1), 0);
    }
}
