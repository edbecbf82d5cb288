//! Text as WTF-8 bytes, seen as code units or as code points.
//!
//! A position is a byte offset. Seen as code units, a four-byte character at `at` has two:
//! its first half at `at`, its second half at `at + 2` (a continuation byte, where no other
//! character can start).

/// The code point at byte `at < bytes.len()`, and the bytes it takes.
#[inline]
#[must_use]
pub fn decode(bytes: &[u8], at: usize) -> (u32, usize) {
    let get = |i: usize| u32::from(bytes.get(at + i).copied().unwrap_or(0)) & 0x3f;
    let lead = u32::from(bytes[at]);
    match lead {
        0..0x80 => (lead, 1),
        0x80..0xe0 => ((lead & 0x1f) << 6 | get(1), 2),
        0xe0..0xf0 => ((lead & 0xf) << 12 | get(1) << 6 | get(2), 3),
        _ => ((lead & 7) << 18 | get(1) << 12 | get(2) << 6 | get(3), 4),
    }
}

/// Whether `at` stands between the halves of a four-byte character.
#[inline]
#[must_use]
pub fn is_half(bytes: &[u8], at: usize) -> bool {
    at < bytes.len() && bytes[at] & 0xc0 == 0x80
}

/// The `length` of the first `at` bytes in UTF-16 code units; `at` may be a half.
#[must_use]
pub fn units(bytes: &[u8], at: usize) -> usize {
    let at = at.min(bytes.len());
    let count: usize =
        bytes[..at].iter().map(|b| usize::from(b & 0xc0 != 0x80) + usize::from(*b >= 0xf0)).sum();
    count - usize::from(is_half(bytes, at))
}

/// The position `units` code units after position `from`, and how many were left at the end of the text.
#[must_use]
pub fn advance(bytes: &[u8], from: usize, units: usize) -> (usize, usize) {
    let (mut at, mut left) = (from, units);
    while left > 0 && at < bytes.len() {
        let (len, width) = match bytes[at] {
            0..0x80 => (1, 1),
            // The second half of a pair.
            0x80..0xc0 => (2, 1),
            0xc0..0xe0 => (2, 1),
            0xe0..0xf0 => (3, 1),
            _ if left == 1 => (2, 1),
            _ => (4, 2),
        };
        at = (at + len).min(bytes.len());
        left -= width;
    }
    (at, left)
}

/// How a matcher walks through text.
pub(crate) trait Walk {
    /// Every byte is a character.
    const ASCII: bool;
    /// Four-byte characters are two.
    const UNITS: bool;
    /// The character at `at`, and where the next one starts; none at the end.
    fn next(bytes: &[u8], at: usize) -> Option<(u32, usize)>;
    /// The character before `at`, and where it starts; none at the start.
    fn prev(bytes: &[u8], at: usize) -> Option<(u32, usize)>;
}

pub(crate) struct Ascii;
pub(crate) struct Units;
pub(crate) struct Points;

impl Walk for Ascii {
    const ASCII: bool = true;
    const UNITS: bool = false;
    #[inline(always)]
    fn next(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
        bytes.get(at).map(|b| (u32::from(*b), at + 1))
    }
    #[inline(always)]
    fn prev(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
        let at = at.checked_sub(1)?;
        bytes.get(at).map(|b| (u32::from(*b), at))
    }
}

impl Walk for Points {
    const ASCII: bool = false;
    const UNITS: bool = false;
    #[inline(always)]
    fn next(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
        match bytes.get(at) {
            None => None,
            Some(b) if *b < 0x80 => Some((u32::from(*b), at + 1)),
            Some(_) => {
                let (point, len) = decode(bytes, at);
                Some((point, (at + len).min(bytes.len())))
            }
        }
    }
    #[inline(always)]
    fn prev(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
        let mut start = at.checked_sub(1)?;
        if bytes[start] < 0x80 {
            return Some((u32::from(bytes[start]), start));
        }
        while start > 0 && bytes[start] & 0xc0 == 0x80 {
            start -= 1;
        }
        Some((decode(bytes, start).0, start))
    }
}

impl Walk for Units {
    const ASCII: bool = false;
    const UNITS: bool = true;
    #[inline(always)]
    fn next(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
        let lead = *bytes.get(at)?;
        match lead {
            0..0x80 => Some((u32::from(lead), at + 1)),
            0x80..0xc0 if at >= 2 => {
                let point = decode(bytes, at - 2).0;
                Some((0xdc00 + (point & 0x3ff), (at + 2).min(bytes.len())))
            }
            0xf0.. => {
                let point = decode(bytes, at).0;
                Some((0xd800 + (point.wrapping_sub(0x1_0000) >> 10 & 0x3ff), (at + 2).min(bytes.len())))
            }
            _ => {
                let (point, len) = decode(bytes, at);
                Some((point, (at + len).min(bytes.len())))
            }
        }
    }
    #[inline(always)]
    fn prev(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
        let last = at.checked_sub(1)?;
        if bytes[last] < 0x80 {
            return Some((u32::from(bytes[last]), last));
        }
        if is_half(bytes, at) {
            let start = at.checked_sub(2)?;
            let point = decode(bytes, start).0;
            return Some((0xd800 + (point.wrapping_sub(0x1_0000) >> 10 & 0x3ff), start));
        }
        let (point, start) = Points::prev(bytes, at)?;
        if point < 0x1_0000 {
            return Some((point, start));
        }
        Some((0xdc00 + (point & 0x3ff), start + 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_walk_both_ways() {
        let text = "aé€😀\u{10ffff}z".as_bytes();
        let expect: Vec<u16> = "aé€😀\u{10ffff}z".encode_utf16().collect();
        let (mut at, mut forward, mut places) = (0, Vec::new(), vec![0]);
        while let Some((unit, next)) = Units::next(text, at) {
            forward.push(u16::try_from(unit).expect("a unit"));
            at = next;
            places.push(at);
        }
        assert_eq!(forward, expect);
        for (n, place) in places.iter().enumerate() {
            assert_eq!(units(text, *place), n);
            assert_eq!(advance(text, 0, n), (*place, 0));
        }
        let mut backward = Vec::new();
        while let Some((unit, prev)) = Units::prev(text, at) {
            backward.push(u16::try_from(unit).expect("a unit"));
            at = prev;
        }
        backward.reverse();
        assert_eq!(backward, expect);
        assert_eq!(advance(text, 0, expect.len() + 3), (text.len(), 3));
    }
}
