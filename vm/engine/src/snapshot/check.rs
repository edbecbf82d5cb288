//! Rules that the engine's own values keep and bytes from a disk may break.

use crate::heap::kind;
use crate::value::Value;

/// Whether bits are a Number or one of the constants, in the one form that the engine makes.
#[inline(always)]
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
#[inline(always)]
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
