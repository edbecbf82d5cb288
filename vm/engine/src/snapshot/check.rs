//! Rules that the engine's own values keep and bytes from a disk may break.

use crate::heap::kind;
use crate::value::Value;

/// UTF-8, but for surrogates that stand alone (WTF-8): no pair of two.
pub(super) fn is_wtf8(mut bytes: &[u8]) -> bool {
    let mut after_high = false;
    loop {
        let valid = match std::str::from_utf8(bytes) {
            Ok(_) => return true,
            Err(error) => error.valid_up_to(),
        };
        after_high &= valid == 0;
        match bytes[valid..] {
            [0xed, second @ 0xa0..=0xbf, 0x80..=0xbf, ..] => {
                let high = second < 0xb0;
                if after_high && !high {
                    return false;
                }
                after_high = high;
            }
            _ => return false,
        }
        bytes = &bytes[valid + 3..];
    }
}

/// Whether bits are a Number or one of the constants, in the one form that the engine makes.
pub(super) fn is_plain(v: Value) -> bool {
    let bits = v.bits();
    if v.is_double() {
        return !v.as_double().is_nan() || v == Value::NAN;
    }
    if v.is_int() {
        return bits >> 32 & 0xffff == 0;
    }
    v.tag() == Value::NULL.tag() && bits & 0xffff_ffff_ffff <= Value::HOLE.bits() & 0xffff_ffff_ffff
}

/// Whether a value's tag is that of a reference to this kind of cell.
pub(super) fn fits(v: Value, kind: u8) -> bool {
    match kind {
        kind::STRING | kind::ROPE => v.is_string(),
        kind::SYMBOL => v.is_symbol(),
        kind::BIGINT => v.is_bigint(),
        kind if kind >= kind::OBJECT => v.is_object(),
        0 => false,
        _ => v.is_cell(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surrogates_stand_alone() {
        assert!(is_wtf8(b"abc") && is_wtf8("ä€😀".as_bytes()) && is_wtf8(b""));
        assert!(is_wtf8(b"\xed\xa0\x80") && is_wtf8(b"\xed\xb0\x80\xed\xa0\x80x"));
        assert!(is_wtf8(b"\xed\xa0\x80x\xed\xb0\x80"));
        assert!(!is_wtf8(b"\xed\xa0\x80\xed\xb0\x80"), "a pair is one code point");
        assert!(!is_wtf8(b"\xed\xa0") && !is_wtf8(b"\xff") && !is_wtf8(b"a\xc0\x80"));
    }
}
