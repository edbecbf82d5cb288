//! Text as the VM keeps it, seen as ECMAScript sees it.
//!
//! A string is WTF-8: UTF-8 in which a surrogate without its partner is three bytes
//! `ED A0..BF xx`; a pair is always one four-byte character (Sapin, "The WTF-8 encoding").
//! Scripts count, cut and compare UTF-16 code units; these functions translate. Where a
//! caller knows that the bytes are ASCII, offsets are indexes and none of this is needed.
//!
//! All input is WTF-8 that the VM made: a truncated character at the end can't occur.
#![allow(clippy::cast_possible_truncation, reason = "ranges are tested before each cast")]

use std::borrow::Cow;
use std::cmp::Ordering;

/// The code point at byte `at`, and the bytes it takes. `at` is a character boundary
/// before the end.
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

/// The code points, surrogates without a partner among them.
pub fn code_points(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        let (point, len) = decode(bytes, at);
        at += len;
        Some(point)
    })
}

/// The UTF-16 code units.
pub fn units(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    code_points(bytes).flat_map(|point| {
        let (first, second) = split(point);
        std::iter::once(first).chain(second)
    })
}

/// A code point as one or two code units.
#[expect(clippy::cast_possible_truncation, reason = "code points have 21 bits")]
fn split(point: u32) -> (u16, Option<u16>) {
    if point < 0x1_0000 {
        (point as u16, None)
    } else {
        let high = 0xd800 + ((point - 0x1_0000) >> 10);
        let low = 0xdc00 + ((point - 0x1_0000) & 0x3ff);
        (high as u16, Some(low as u16))
    }
}

/// The `length` of the string: its UTF-16 code units.
#[must_use]
pub fn utf16_len(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const PAIRS: u64 = 0x00ff_00ff_00ff_00ff;
    /// Words whose counts, at most two a byte, fit into a byte each.
    const WORDS: usize = 127;
    // Every character but its continuation bytes counts; a four-byte one is a pair.
    let count = |b: &u8| usize::from(b & 0xc0 != 0x80) + usize::from(*b >= 0xf0);
    let (words, tail) = bytes.as_chunks::<8>();
    let mut units: usize = tail.iter().map(count).sum();
    for words in words.chunks(WORDS) {
        let mut counts = 0;
        for word in words {
            let w = u64::from_le_bytes(*word);
            let continues = w >> 7 & !(w >> 6);
            let four = w >> 7 & w >> 6 & w >> 5 & w >> 4;
            counts += (!continues & ONES) + (four & ONES);
        }
        let pairs = (counts & PAIRS) + (counts >> 8 & PAIRS);
        units += (pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48) as usize;
    }
    units
}

/// Whether a byte is among these.
#[must_use]
#[inline]
pub fn has_byte(bytes: &[u8], byte: u8) -> bool {
    // Sixteen at once; without a way out inside, so that they are compared in one register.
    let among = |chunk: &[u8; 16]| chunk.iter().fold(false, |found, b| found | (*b == byte));
    if bytes.len() > 256 {
        return memchr::memchr(byte, bytes).is_some();
    }
    let Some(last) = bytes.last_chunk::<16>() else { return has_byte_short(bytes, byte) };
    let (chunks, _) = bytes.as_chunks::<16>();
    chunks.iter().any(among) || among(last)
}

/// The same of fewer than 16: as words, in which a difference to `byte` is a byte of 0.
#[inline(always)]
fn has_byte_short(bytes: &[u8], byte: u8) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let differs = |word: u64| word ^ (ONES * u64::from(byte));
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7) != 0;
    match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) => [first, last].iter().any(|w| has_zero(differs(u64::from_le_bytes(**w)))),
        _ => bytes.contains(&byte),
    }
}

/// Where code unit `index` starts: the byte offset of its character, and whether it is
/// the second half of a pair. At or beyond the end: `(bytes.len(), false)`.
#[must_use]
pub fn locate(bytes: &[u8], index: usize) -> (usize, bool) {
    let mut unit = 0;
    let mut at = 0;
    while at < bytes.len() {
        if unit == index {
            return (at, false);
        }
        let len = match bytes[at] {
            0..0x80 => 1,
            0x80..0xe0 => 2,
            0xe0..0xf0 => 3,
            _ => 4,
        };
        unit += 1 + usize::from(len == 4);
        if unit > index {
            return (at, true);
        }
        at += len;
    }
    (bytes.len(), false)
}

/// The code unit at `index`.
#[must_use]
pub fn unit_at(bytes: &[u8], index: usize) -> Option<u16> {
    located_unit(bytes, locate(bytes, index))
}

/// The code unit at a place that `locate` has found.
#[must_use]
pub fn located_unit(bytes: &[u8], (at, second): (usize, bool)) -> Option<u16> {
    if at >= bytes.len() {
        return None;
    }
    let (first, low) = split(decode(bytes, at).0);
    if second { low } else { Some(first) }
}

/// The code point that starts at code unit `index`, as `codePointAt` defines it.
#[must_use]
pub fn code_point_at(bytes: &[u8], index: usize) -> Option<u32> {
    located_point(bytes, locate(bytes, index))
}

/// The code point at a place that `locate` has found.
#[must_use]
pub fn located_point(bytes: &[u8], (at, second): (usize, bool)) -> Option<u32> {
    if at >= bytes.len() {
        return None;
    }
    let point = decode(bytes, at).0;
    if second { split(point).1.map(u32::from) } else { Some(point) }
}

/// Appends a code unit, joining it with a first half that stands at the end.
pub fn push_unit(out: &mut Vec<u8>, unit: u16) {
    push_point(out, u32::from(unit));
}

/// Appends a code point up to 10FFFF, surrogates included, joining halves.
#[expect(clippy::cast_possible_truncation, reason = "bits are cut into bytes")]
pub fn push_point(out: &mut Vec<u8>, point: u32) {
    let point = match point {
        0xdc00..0xe000 => match take_high(out) {
            Some(high) => 0x1_0000 + ((high - 0xd800) << 10) + (point - 0xdc00),
            None => point,
        },
        _ => point,
    };
    match point {
        0..0x80 => out.push(point as u8),
        0x80..0x800 => out.extend([0xc0 | (point >> 6) as u8, 0x80 | (point & 0x3f) as u8]),
        0x800..0x1_0000 => out.extend([
            0xe0 | (point >> 12) as u8,
            0x80 | (point >> 6 & 0x3f) as u8,
            0x80 | (point & 0x3f) as u8,
        ]),
        _ => out.extend([
            0xf0 | (point >> 18 & 7) as u8,
            0x80 | (point >> 12 & 0x3f) as u8,
            0x80 | (point >> 6 & 0x3f) as u8,
            0x80 | (point & 0x3f) as u8,
        ]),
    }
}

/// Takes a first half off the end.
fn take_high(out: &mut Vec<u8>) -> Option<u32> {
    let at = out.len().checked_sub(3)?;
    if out[at] == 0xed && (0xa0..0xb0).contains(&out[at + 1]) {
        let high = decode(out, at).0;
        out.truncate(at);
        return Some(high);
    }
    None
}

/// Whether the text starts with a second half (and so may join what stands before it).
#[must_use]
pub fn starts_low(bytes: &[u8]) -> bool {
    bytes.len() >= 3 && bytes[0] == 0xed && bytes[1] >= 0xb0
}

/// Whether the text ends with a first half.
#[must_use]
pub fn ends_high(bytes: &[u8]) -> bool {
    let Some(at) = bytes.len().checked_sub(3) else { return false };
    bytes[at] == 0xed && (0xa0..0xb0).contains(&bytes[at + 1])
}

/// Appends text, joining halves that meet.
pub fn push_text(out: &mut Vec<u8>, bytes: &[u8]) {
    if starts_low(bytes) && ends_high(out) {
        push_point(out, decode(bytes, 0).0);
        out.extend_from_slice(&bytes[3..]);
    } else {
        out.extend_from_slice(bytes);
    }
}

/// Code units `from..to`. A cut through a pair leaves its half.
#[must_use]
pub fn slice(bytes: &[u8], from: usize, to: usize) -> Cow<'_, [u8]> {
    if from >= to {
        return Cow::Borrowed(&[]);
    }
    let place = locate(bytes, from);
    let units_before = from - usize::from(place.1);
    let (at, inside) = locate(&bytes[place.0..], to - units_before);
    slice_between(bytes, place, (place.0 + at, inside))
}

/// The units between two places that `locate` has found.
#[must_use]
pub fn slice_between(
    bytes: &[u8],
    (start, start_inside): (usize, bool),
    (end, end_inside): (usize, bool),
) -> Cow<'_, [u8]> {
    if !start_inside && !end_inside {
        return Cow::Borrowed(&bytes[start..end]);
    }
    let mut out = Vec::with_capacity(end - start + 6);
    let mut begin = start;
    if start_inside {
        let (point, len) = decode(bytes, start);
        if let Some(low) = split(point).1 {
            push_unit(&mut out, low);
        }
        begin += len;
    }
    if begin <= end {
        out.extend_from_slice(&bytes[begin..end]);
    }
    if end_inside && begin <= end {
        push_unit(&mut out, split(decode(bytes, end).0).0);
    }
    Cow::Owned(out)
}

/// Order of the code units, which is what `<` compares; differs from the order of bytes where
/// one side has a four-byte character and the other one above DFFF.
#[must_use]
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let Some(at) = a.iter().zip(b).position(|(x, y)| x != y) else {
        return a.len().cmp(&b.len());
    };
    let (x, y) = (a[at], b[at]);
    if x.max(y) >= 0xf0 && x.min(y) >= 0xed {
        return units(&a[at..]).cmp(units(&b[at..]));
    }
    x.cmp(&y)
}

/// Index in code units of the first `needle` at or after code unit `from`.
#[must_use]
pub fn index_of(hay: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    if starts_low(needle) || ends_high(needle) {
        let (hay, needle): (Vec<u16>, Vec<u16>) = (units(hay).collect(), units(needle).collect());
        return (from..=hay.len().checked_sub(needle.len())?).find(|at| hay[*at..].starts_with(&needle));
    }
    let (mut start, inside) = locate(hay, from);
    if needle.is_empty() {
        return Some(from.min(utf16_len(hay)));
    }
    let mut before = from;
    if inside {
        start += 4;
        before += 1;
    }
    let found = find_bytes(&hay[start..], needle)?;
    Some(before + utf16_len(&hay[start..start + found]))
}

/// Index in code units of the last `needle` that starts at or before code unit `from`.
#[must_use]
pub fn last_index_of(hay: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    if starts_low(needle) || ends_high(needle) {
        let (hay, needle): (Vec<u16>, Vec<u16>) = (units(hay).collect(), units(needle).collect());
        let last = hay.len().checked_sub(needle.len())?.min(from);
        return (0..=last).rev().find(|at| hay[*at..].starts_with(&needle));
    }
    if needle.is_empty() {
        return Some(from.min(utf16_len(hay)));
    }
    let end = (locate(hay, from).0 + needle.len()).min(hay.len());
    let found = memchr::memmem::rfind(&hay[..end], needle)?;
    Some(utf16_len(&hay[..found]))
}

/// Byte offset of the first `needle`. Right where the needle is whole characters.
#[must_use]
pub fn find_bytes(hay: &[u8], needle: &[u8]) -> Option<usize> {
    match needle {
        [] => Some(0),
        [byte] => memchr::memchr(*byte, hay),
        // Below that a searcher takes longer to make than it saves.
        [first, ..] if hay.len() <= 256 && needle.len() <= 32 => {
            let last = hay.len().checked_sub(needle.len())?;
            let mut from = 0;
            while let Some(at) = memchr::memchr(*first, &hay[from..=last]) {
                if hay[from + at..].starts_with(needle) {
                    return Some(from + at);
                }
                from += at + 1;
                if from > last {
                    break;
                }
            }
            None
        }
        _ => memchr::memmem::find(hay, needle),
    }
}

/// ECMAScript's WhiteSpace and LineTerminator (ECMA-262 section 12.2, 12.3).
#[must_use]
pub fn is_space(point: u32) -> bool {
    matches!(point, 9..=13 | 0x20 | 0xa0 | 0x1680 | 0x2000..=0x200a | 0x2028 | 0x2029 | 0x202f | 0x205f
        | 0x3000 | 0xfeff)
}

/// Without white space at the start.
#[must_use]
pub fn trim_start(bytes: &[u8]) -> &[u8] {
    let mut at = 0;
    while at < bytes.len() {
        let (point, len) = decode(bytes, at);
        if !is_space(point) {
            break;
        }
        at += len;
    }
    &bytes[at..]
}

/// Without white space at the end.
#[must_use]
pub fn trim_end(bytes: &[u8]) -> &[u8] {
    let mut end = bytes.len();
    while end > 0 {
        let mut at = end - 1;
        while at > 0 && bytes[at] & 0xc0 == 0x80 {
            at -= 1;
        }
        if !is_space(decode(bytes, at).0) {
            break;
        }
        end = at;
    }
    &bytes[..end]
}

/// Upper case, the full Unicode mapping; what isn't text stays.
#[must_use]
pub fn upper(bytes: &[u8]) -> Vec<u8> {
    map_text(bytes, |text| text.to_uppercase())
}

/// Lower case, the full Unicode mapping with the final sigma.
#[must_use]
pub fn lower(bytes: &[u8]) -> Vec<u8> {
    map_text(bytes, |text| text.to_lowercase())
}

/// The text in a normalization form (UAX 15), `NFC` where it is none of the others.
#[must_use]
pub fn normalize(bytes: &[u8], form: &[u8]) -> Vec<u8> {
    use unicode_normalization::UnicodeNormalization;
    map_text(bytes, |text| match form {
        b"NFD" => text.nfd().collect(),
        b"NFKC" => text.nfkc().collect(),
        b"NFKD" => text.nfkd().collect(),
        _ => text.nfc().collect(),
    })
}

/// Bytes around a piece that its lower case may depend on: a sigma looks for letters on both sides.
const CASE_CONTEXT: usize = 128;

/// Bytes `from..to` of a text in lower case. Only a sigma's depends on what stands around it, and both its
/// forms are as long, so what the surroundings become can be cut off again.
#[must_use]
pub fn lower_part(bytes: &[u8], from: usize, to: usize) -> Vec<u8> {
    let boundary = |mut at: usize| {
        while at > 0 && at < bytes.len() && bytes[at] & 0xc0 == 0x80 {
            at -= 1;
        }
        at
    };
    let before = boundary(from.saturating_sub(CASE_CONTEXT));
    let after = boundary((to + CASE_CONTEXT).min(bytes.len()));
    let mut all = lower(&bytes[before..after]);
    all.truncate(all.len() - lower(&bytes[to..after]).len());
    all.drain(..lower(&bytes[before..from]).len());
    all
}

fn map_text(bytes: &[u8], map: impl Fn(&str) -> String) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.extend_from_slice(map(chunk.valid()).as_bytes());
        out.extend_from_slice(chunk.invalid());
    }
    out
}

/// Whether there is no surrogate without a partner.
#[must_use]
pub fn is_well_formed(bytes: &[u8]) -> bool {
    // Only what stands between the first and the last byte beyond ASCII needs a look.
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let is_high = |word: &&[u8; 8]| u64::from_le_bytes(**word) & HIGH != 0;
    let (words, tail) = bytes.as_chunks::<8>();
    let Some(first) = words.iter().position(|word| is_high(&word)) else {
        return std::str::from_utf8(tail).is_ok();
    };
    // From the end, where the words have other places.
    let (_, words) = bytes[first * 8..].as_rchunks::<8>();
    let behind = words.iter().rev().take_while(|word| !is_high(word)).count();
    std::str::from_utf8(&bytes[first * 8..bytes.len() - behind * 8]).is_ok()
}

/// As UTF-8: each surrogate without a partner becomes U+FFFD.
#[must_use]
pub fn well_formed(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(code_points(bytes).map(|p| char::from_u32(p).unwrap_or('\u{fffd}')).collect())
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "small test values")]
mod tests {
    use super::*;
    use forebay_base::rng::Rng;

    #[test]
    fn a_byte_is_found_wherever_it_is() {
        for len in 0..300usize {
            let mut text: Vec<u8> = (0..len).map(|i| b'a' + (i % 20) as u8).collect();
            for byte in [0, b'z', 0x80, 0xff] {
                assert!(!has_byte(&text, byte), "{len}");
            }
            for at in 0..len {
                let before = std::mem::replace(&mut text[at], [0, b'z', 0x80, 0xff][at % 4]);
                let byte = text[at];
                assert!(has_byte(&text, byte), "{at} of {len}");
                assert!(!has_byte(&text, b'y') || text.contains(&b'y'));
                text[at] = before;
            }
        }
    }

    fn from_units(units: &[u16]) -> Vec<u8> {
        let mut out = Vec::new();
        for unit in units {
            push_unit(&mut out, *unit);
        }
        out
    }

    /// Every function against the same on UTF-16.
    #[test]
    fn it_is_utf16_that_scripts_see() {
        const UNITS: [u16; 12] =
            [0x61, 0x62, 0x20, 0xe9, 0x7ff, 0x20ac, 0xd83d, 0xde00, 0xd800, 0xdfff, 0xe000, 0xffff];
        for seed in 0..3000 {
            let mut rng = Rng::new(seed);
            let any = |rng: &mut Rng, max: u64| -> Vec<u16> {
                (0..rng.below(max)).map(|_| UNITS[rng.below(12) as usize]).collect()
            };
            let (a, b) = (any(&mut rng, 12), any(&mut rng, 4));
            let (x, y) = (from_units(&a), from_units(&b));
            assert_eq!(units(&x).collect::<Vec<_>>(), a, "seed {seed}");
            assert_eq!(utf16_len(&x), a.len());
            let long: Vec<u16> = a.iter().copied().cycle().take(a.len() * 97).collect();
            assert_eq!(utf16_len(&from_units(&long)), units(&from_units(&long)).count(), "seed {seed}");
            assert_eq!(compare(&x, &y), a.cmp(&b), "seed {seed}");
            let mut both = x.clone();
            push_text(&mut both, &y);
            assert_eq!(both, from_units(&[&a[..], &b].concat()), "seed {seed}");
            for i in 0..=a.len() {
                assert_eq!(unit_at(&x, i), a.get(i).copied());
                let padded = [&b"plain text"[..i % 11], &x, &b"and some more"[..(i * 5) % 14]].concat();
                assert_eq!(is_well_formed(&padded), std::str::from_utf8(&padded).is_ok(), "seed {seed}");
                for j in i..=a.len() {
                    assert_eq!(slice(&x, i, j), from_units(&a[i..j]), "seed {seed} {i}..{j}");
                }
                let first = (i..=a.len()).find(|at| a[*at..].starts_with(&b));
                assert_eq!(index_of(&x, &y, i), first, "seed {seed} from {i}: {a:x?} {b:x?}");
                let last = (0..=i).rev().find(|at| a[*at..].starts_with(&b));
                assert_eq!(last_index_of(&x, &y, i), last, "seed {seed} from {i}: {a:x?} {b:x?}");
            }
        }
    }
}
