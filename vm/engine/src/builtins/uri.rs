//! `encodeURIComponent` and its three siblings (ECMA-262 section 19.2.6), over WTF-8.

use super::text;

/// Left as they are by `encodeURIComponent`, besides letters and digits.
const MARKS: &[u8] = b"-_.!~*'()";
/// Left as they are by `encodeURI` too; `decodeURI` leaves their escapes.
const RESERVED: &[u8] = b";/?:@&=+$,#";

/// Escapes. None (URIError) for a surrogate without its partner. `component`: reserved
/// characters are escaped too.
#[must_use]
pub fn encode(source: &[u8], component: bool) -> Option<Vec<u8>> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if !text::is_well_formed(source) {
        return None;
    }
    let mut out = Vec::with_capacity(source.len());
    for byte in source {
        let plain =
            byte.is_ascii_alphanumeric() || MARKS.contains(byte) || (!component && RESERVED.contains(byte));
        if plain {
            out.push(*byte);
        } else {
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    Some(out)
}

/// Resolves escapes. None (URIError) for one that isn't UTF-8.
#[must_use]
pub fn decode(source: &[u8], component: bool) -> Option<Vec<u8>> {
    let escape = |at: usize| -> Option<u8> {
        let [b'%', high, low] = source.get(at..at + 3)? else { return None };
        let digit = |b: u8| char::from(b).to_digit(16);
        u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
    };
    let mut out = Vec::with_capacity(source.len());
    let mut at = 0;
    while at < source.len() {
        if source[at] != b'%' {
            out.push(source[at]);
            at += 1;
            continue;
        }
        let first = escape(at)?;
        let len = match first {
            0..0x80 => 1,
            0xc2..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf5 => 4,
            _ => return None,
        };
        if len == 1 && !component && RESERVED.contains(&first) {
            out.extend_from_slice(&source[at..at + 3]);
        } else {
            let mut bytes = [first, 0, 0, 0];
            for (i, byte) in bytes.iter_mut().enumerate().take(len).skip(1) {
                *byte = escape(at + 3 * i)?;
            }
            std::str::from_utf8(&bytes[..len]).ok()?;
            out.extend_from_slice(&bytes[..len]);
        }
        at += 3 * len;
    }
    Some(out)
}
