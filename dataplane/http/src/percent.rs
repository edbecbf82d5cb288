//! Percent-encoding (RFC 3986 section 2.1), query strings and forms
//! (`application/x-www-form-urlencoded`, WHATWG URL section 5.1).
//!
//! Browsers' decoders replace what they can't read; we don't lose bytes silently:
//! a `%` without two hex digits and text that isn't UTF-8 are errors, and the
//! request gets 400.

use std::borrow::Cow;
use std::fmt;

/// Why encoded text can't be read. Always the client's fault: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodingError {
    /// A `%` that isn't followed by two hex digits.
    Escape {
        /// Offset of the `%`.
        offset: usize,
    },
    /// The decoded bytes aren't UTF-8.
    Utf8,
    /// A decoded NUL in a path.
    Nul,
    /// A segment of a path is `.` or `..`, plain or encoded.
    DotSegment,
}

impl EncodingError {
    /// Stable name, snake_case.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Escape { .. } => "bad_percent_encoding",
            Self::Utf8 => "bad_utf8",
            Self::Nul => "nul_in_path",
            Self::DotSegment => "dot_segment",
        }
    }

    /// What was wrong, for the person who sent it.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Escape { .. } => "a percent sign is not followed by two hex digits",
            Self::Utf8 => "percent-encoded text is not UTF-8",
            Self::Nul => "the path contains a NUL",
            Self::DotSegment => "a segment of the path is '.' or '..'",
        }
    }

    /// The 400 answer; the connection may live on, the request's framing was fine.
    #[must_use]
    pub const fn problem(self) -> crate::problem::Problem<'static> {
        crate::problem::Problem::new(400, self.code(), self.detail())
    }
}

impl fmt::Display for EncodingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())?;
        match self {
            Self::Escape { offset } => write!(f, " (at byte {offset})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for EncodingError {}

/// The byte of the escape that `bytes` begins with (`%2F`), if it is one.
#[inline]
fn escape(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [b'%', high, low, ..] => Some(hex(*high)? << 4 | hex(*low)?),
        _ => None,
    }
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Decodes a part of a path: escapes only, `+` is itself. Borrows if there is nothing to decode.
pub fn decode_path(raw: &str) -> Result<Cow<'_, str>, EncodingError> {
    decode(raw.as_bytes(), false)
}

fn decode(raw: &[u8], plus: bool) -> Result<Cow<'_, str>, EncodingError> {
    let special = |byte: &u8| *byte == b'%' || (plus && *byte == b'+');
    let Some(first) = raw.iter().position(special) else {
        return std::str::from_utf8(raw).map(Cow::Borrowed).map_err(|_| EncodingError::Utf8);
    };
    let mut decoded = Vec::with_capacity(raw.len());
    decoded.extend_from_slice(&raw[..first]);
    let mut at = first;
    while at < raw.len() {
        match raw[at] {
            b'%' => {
                decoded.push(escape(&raw[at..]).ok_or(EncodingError::Escape { offset: at })?);
                at += 3;
            }
            b'+' if plus => {
                decoded.push(b' ');
                at += 1;
            }
            byte => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| EncodingError::Utf8)
}

/// Whether `raw`, decoded, is `literal`. Allocates nothing.
pub(crate) fn decodes_to(raw: &[u8], literal: &[u8]) -> bool {
    let (mut at, mut matched) = (0, 0);
    while at < raw.len() {
        let (byte, len) = escape(&raw[at..]).map_or((raw[at], 1), |byte| (byte, 3));
        if literal.get(matched) != Some(&byte) {
            return false;
        }
        at += len;
        matched += 1;
    }
    matched == literal.len()
}

/// Checks a whole path: escapes well-formed, each run of them UTF-8, no NUL, no
/// dot segments. Allocates nothing.
#[inline]
pub fn check_path(path: &[u8]) -> Result<(), EncodingError> {
    // Without a branch per byte, so that it becomes SIMD.
    let worth_a_look = path.iter().fold(false, |found, byte| found | matches!(byte, b'%' | b'.' | 0x80..));
    if worth_a_look { check_path_slowly(path) } else { Ok(()) }
}

fn check_path_slowly(path: &[u8]) -> Result<(), EncodingError> {
    if std::str::from_utf8(path).is_err() {
        return Err(EncodingError::Utf8);
    }
    check_escapes(path)?;
    let dots = |segment: &[u8]| decodes_to(segment, b".") || decodes_to(segment, b"..");
    if path.split(|byte| *byte == b'/').any(dots) { Err(EncodingError::DotSegment) } else { Ok(()) }
}

fn check_escapes(bytes: &[u8]) -> Result<(), EncodingError> {
    let mut at = 0;
    while let Some(offset) = memchr::memchr(b'%', &bytes[at..]).map(|found| at + found) {
        at = offset;
        // A character is either plain or a run of escapes, never half of each.
        let mut character = [0; 4];
        let first = escape(&bytes[at..]).ok_or(EncodingError::Escape { offset: at })?;
        let len = match first {
            0 => return Err(EncodingError::Nul),
            1..=0x7f => 1,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return Err(EncodingError::Utf8),
        };
        for slot in &mut character[..len] {
            *slot = match bytes.get(at) {
                Some(b'%') => escape(&bytes[at..]).ok_or(EncodingError::Escape { offset: at })?,
                _ => return Err(EncodingError::Utf8),
            };
            at += 3;
        }
        if std::str::from_utf8(&character[..len]).is_err() {
            return Err(EncodingError::Utf8);
        }
    }
    Ok(())
}

/// One name or value of a query or form, still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded<'a>(pub &'a [u8]);

impl<'a> Encoded<'a> {
    /// The text, `+` read as a space. Borrows if there is nothing to decode.
    pub fn decode(self) -> Result<Cow<'a, str>, EncodingError> {
        decode(self.0, true)
    }
}

/// The pairs of a query string or form body, in order, repeated names included.
///
/// `a=1&b` gives (a, 1), (b, ""); empty pieces (`&&`) are skipped.
#[derive(Clone, Debug)]
pub struct FormPairs<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> FormPairs<'a> {
    /// Iterates over a query (without its `?`) or a body.
    #[must_use]
    pub const fn new(text: &'a [u8]) -> Self {
        Self { rest: Some(text) }
    }
}

impl<'a> Iterator for FormPairs<'a> {
    type Item = (Encoded<'a>, Encoded<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.rest?;
            let piece = match memchr::memchr(b'&', rest) {
                Some(end) => {
                    self.rest = Some(&rest[end + 1..]);
                    &rest[..end]
                }
                None => {
                    self.rest = None;
                    rest
                }
            };
            if piece.is_empty() {
                continue;
            }
            let (name, value) = match memchr::memchr(b'=', piece) {
                Some(equals) => (&piece[..equals], &piece[equals + 1..]),
                None => (piece, &b""[..]),
            };
            return Some((Encoded(name), Encoded(value)));
        }
    }
}

/// Appends `text` with everything but RFC 3986's unreserved characters escaped:
/// safe in a path segment, a query's name or value, and a form.
pub fn encode_component(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_pairs(query: &str, expect: &[(&str, &str)]) {
        let pairs: Result<Vec<_>, _> = FormPairs::new(query.as_bytes())
            .map(|(name, value)| Ok::<_, EncodingError>((name.decode()?, value.decode()?)))
            .collect();
        let pairs = pairs.unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, expect, "{query}");
    }

    #[test]
    fn pairs() {
        check_pairs("", &[]);
        check_pairs("a", &[("a", "")]);
        check_pairs("a=1&b=2&a=3", &[("a", "1"), ("b", "2"), ("a", "3")]);
        check_pairs("&&a==b=&&", &[("a", "=b=")]);
        check_pairs("=x", &[("", "x")]);
        check_pairs("na%20me=a+b%2Bc%26d", &[("na me", "a b+c&d")]);
        check_pairs("%C3%A9=%E2%82%AC%00", &[("é", "€\0")]);
        check_pairs("é=ü", &[("é", "ü")]);
    }

    #[test]
    fn bad_encodings_are_errors() {
        let decode = |text: &'static str| Encoded(text.as_bytes()).decode();
        for (text, offset) in [("%", 0), ("a%", 1), ("a%2", 1), ("%2g", 0), ("%%20", 0), ("+%+1", 1)] {
            assert_eq!(decode(text), Err(EncodingError::Escape { offset }), "{text}");
        }
        assert_eq!(decode("%ff"), Err(EncodingError::Utf8));
        assert_eq!(decode("%C3"), Err(EncodingError::Utf8));
        assert_eq!(Encoded(b"\xff").decode(), Err(EncodingError::Utf8));
    }

    #[test]
    fn paths() {
        for good in
            ["/", "/a/b", "/caf%C3%A9", "/a%2Fb", "/.hidden", "/a..b", "/...", "/%F0%9F%98%80", "*", "/a+b"]
        {
            assert_eq!(check_path(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in ["/..", "/a/../b", "/./a", "/a/.", "/%2e", "/%2E%2e/x", "/.%2e"] {
            assert_eq!(check_path(bad.as_bytes()), Err(EncodingError::DotSegment), "{bad}");
        }
        for bad in ["/%ff", "/%C3", "/%C3a", "/%C3/%A9", "/%ed%a0%80", "/%C0%AF", "/%80", "/%F0%9F%98"] {
            assert_eq!(check_path(bad.as_bytes()), Err(EncodingError::Utf8), "{bad}");
        }
        assert_eq!(check_path(b"/a%00"), Err(EncodingError::Nul));
        assert_eq!(check_path(b"/a%4"), Err(EncodingError::Escape { offset: 2 }));
        assert_eq!(check_path(b"/%C3%A"), Err(EncodingError::Escape { offset: 4 }));
        assert_eq!(decode_path("a+b%2Fc").as_deref(), Ok("a+b/c"));
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let text: String = (0..=0x2ff).filter_map(char::from_u32).collect();
        let mut encoded = Vec::new();
        encode_component(&mut encoded, text.as_bytes());
        assert!(encoded.is_ascii());
        assert_eq!(Encoded(&encoded).decode().as_deref(), Ok(&*text));
        assert!(decodes_to(&encoded, text.as_bytes()));
        assert!(!decodes_to(&encoded, &text.as_bytes()[1..]));
    }
}
