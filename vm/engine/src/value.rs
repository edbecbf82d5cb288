//! A script value in 64 bits.
//!
//! ```text
//!   bits < 0xFFF9_0000_0000_0000      a double (NaN is always 0x7FF8_0000_0000_0000)
//!   0xFFF9 | 0      | int32           an integer Number
//!   0xFFFA | 0      | 0..5            undefined, null, false, true, empty, hole
//!   0xFFFB | space  | word index      string
//!   0xFFFC | space  | word index      object (arrays and functions too)
//!   0xFFFD | space  | word index      symbol
//!   0xFFFE | space  | word index      BigInt
//!   0xFFFF | space  | word index      internal cell: captured variable, accessor pair, data
//! ```
//!
//! A reference names a space and a 64-bit word in it, never an address: an arena
//! can be copied, saved and mapped elsewhere as it is.
//! An integral double and the integer of the same value are the same Number; code
//! that compares must not compare bits alone ([`strict_equals_number`]).

use std::fmt;

const INT: u64 = 0xfff9 << 48;
const SPECIAL: u64 = 0xfffa << 48;
const STRING: u64 = 0xfffb << 48;
const OBJECT: u64 = 0xfffc << 48;
const SYMBOL: u64 = 0xfffd << 48;
const BIGINT: u64 = 0xfffe << 48;
const CELL: u64 = 0xffff << 48;
const TAG: u64 = 0xffff << 48;
const CANONICAL_NAN: u64 = 0x7ff8 << 48;

/// Where a reference points. The number is part of every saved reference.
pub(crate) mod space {
    /// The task's own arena: the only one that scripts change.
    pub(crate) const TASK: u8 = 0;
    /// The blueprint's heap: built by `init`, then frozen and shared by all cores.
    pub(crate) const BLUEPRINT: u8 = 1;
    /// Intrinsics: built once per process, then frozen.
    pub(crate) const INTRINSICS: u8 = 2;
    /// Interned property keys that one core has met at run time. Append-only.
    pub(crate) const WORKER: u8 = 3;
}

/// A reference: space (2 bits) and word index (32 bits).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Ref(u64);

impl Ref {
    #[inline(always)]
    pub(crate) const fn new(space: u8, index: u32) -> Self {
        Self((space as u64) << 32 | index as u64)
    }
    #[inline(always)]
    pub(crate) const fn space(self) -> u8 {
        ((self.0 >> 32) & 3) as u8
    }
    #[expect(clippy::cast_possible_truncation, reason = "the low half")]
    #[inline(always)]
    pub(crate) const fn index(self) -> u32 {
        self.0 as u32
    }
    #[inline(always)]
    pub(crate) const fn string(self) -> Value {
        Value(STRING | self.0)
    }
    #[inline(always)]
    pub(crate) const fn object(self) -> Value {
        Value(OBJECT | self.0)
    }
    #[inline(always)]
    pub(crate) const fn symbol(self) -> Value {
        Value(SYMBOL | self.0)
    }
    #[inline(always)]
    pub(crate) const fn bigint(self) -> Value {
        Value(BIGINT | self.0)
    }
    #[inline(always)]
    pub(crate) const fn cell(self) -> Value {
        Value(CELL | self.0)
    }
}

/// A script value. `==` compares bits: use the `ops` functions for JavaScript's equality.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub(crate) struct Value(u64);

#[expect(clippy::cast_possible_truncation, reason = "values are taken apart by their tags")]
impl Value {
    pub(crate) const UNDEFINED: Self = Self(SPECIAL);
    pub(crate) const NULL: Self = Self(SPECIAL | 1);
    pub(crate) const FALSE: Self = Self(SPECIAL | 2);
    pub(crate) const TRUE: Self = Self(SPECIAL | 3);
    /// A binding that is not initialised yet; also "no value" inside the engine.
    pub(crate) const EMPTY: Self = Self(SPECIAL | 4);
    /// A missing array element.
    pub(crate) const HOLE: Self = Self(SPECIAL | 5);
    pub(crate) const NAN: Self = Self(CANONICAL_NAN);
    pub(crate) const ZERO: Self = Self(INT);

    #[inline(always)]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
    #[inline(always)]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }
    #[inline(always)]
    pub(crate) const fn int(v: i32) -> Self {
        Self(INT | v as u32 as u64)
    }
    /// A double as it is: stays a double even if integral.
    #[inline(always)]
    pub(crate) fn double(v: f64) -> Self {
        if v.is_nan() { Self::NAN } else { Self(v.to_bits()) }
    }
    /// A Number, as an integer where that is the same value.
    #[inline(always)]
    pub(crate) fn number(v: f64) -> Self {
        let i = v as i32;
        if f64::from(i) == v && (i != 0 || v.is_sign_positive()) { Self::int(i) } else { Self::double(v) }
    }
    #[inline]
    pub(crate) fn from_u32(v: u32) -> Self {
        i32::try_from(v).map_or_else(|_| Self::double(f64::from(v)), Self::int)
    }
    #[inline]
    pub(crate) fn from_usize(v: usize) -> Self {
        i32::try_from(v).map_or_else(|_| Self::double(v as f64), Self::int)
    }
    #[inline(always)]
    pub(crate) const fn bool(v: bool) -> Self {
        Self(SPECIAL | 2 | v as u64)
    }

    #[inline(always)]
    pub(crate) const fn is_int(self) -> bool {
        self.0 & TAG == INT
    }
    #[inline(always)]
    pub(crate) const fn is_double(self) -> bool {
        self.0 < INT
    }
    #[inline(always)]
    pub(crate) const fn is_number(self) -> bool {
        self.0 < SPECIAL
    }
    #[inline(always)]
    pub(crate) const fn is_string(self) -> bool {
        self.0 & TAG == STRING
    }
    #[inline(always)]
    pub(crate) const fn is_object(self) -> bool {
        self.0 & TAG == OBJECT
    }
    #[inline(always)]
    pub(crate) const fn is_symbol(self) -> bool {
        self.0 & TAG == SYMBOL
    }
    #[inline(always)]
    pub(crate) const fn is_bigint(self) -> bool {
        self.0 & TAG == BIGINT
    }
    #[inline(always)]
    pub(crate) const fn is_cell(self) -> bool {
        self.0 & TAG == CELL
    }
    #[inline(always)]
    pub(crate) fn is_undefined(self) -> bool {
        self == Self::UNDEFINED
    }
    #[inline(always)]
    pub(crate) fn is_null(self) -> bool {
        self == Self::NULL
    }
    #[inline(always)]
    pub(crate) const fn is_nullish(self) -> bool {
        self.0 & !1 == SPECIAL
    }
    #[inline(always)]
    pub(crate) const fn is_bool(self) -> bool {
        self.0 & !1 == SPECIAL | 2
    }
    #[inline(always)]
    pub(crate) fn is_empty(self) -> bool {
        self == Self::EMPTY
    }
    #[inline(always)]
    pub(crate) fn is_hole(self) -> bool {
        self == Self::HOLE
    }
    /// Both are integers.
    #[inline(always)]
    pub(crate) const fn both_int(a: Self, b: Self) -> bool {
        ((a.0 ^ INT) | (b.0 ^ INT)) >> 48 == 0
    }

    /// The integer; only if `is_int`.
    #[inline(always)]
    pub(crate) const fn as_int(self) -> i32 {
        self.0 as i32
    }
    /// The double; only if `is_double`.
    #[inline(always)]
    pub(crate) const fn as_double(self) -> f64 {
        f64::from_bits(self.0)
    }
    /// A Number of either form.
    #[inline(always)]
    pub(crate) fn as_number(self) -> Option<f64> {
        if self.is_int() {
            Some(f64::from(self.as_int()))
        } else if self.is_double() {
            Some(self.as_double())
        } else {
            None
        }
    }
    /// An array index: a Number that is an integer from 0 to 2^32 - 2.
    #[inline(always)]
    pub(crate) fn as_index(self) -> Option<u32> {
        if self.is_int() {
            return u32::try_from(self.as_int()).ok();
        }
        if self.is_double() {
            let d = self.as_double();
            let i = d as u32;
            return (f64::from(i) == d && i != u32::MAX).then_some(i);
        }
        None
    }
    /// The reference; only if `is_ref`.
    #[inline(always)]
    pub(crate) const fn as_ref(self) -> Ref {
        Ref(self.0 & 0x3_ffff_ffff)
    }
    /// The tag alone: equal for values of one representation.
    pub(crate) const fn tag(self) -> u16 {
        (self.0 >> 48) as u16
    }
}

/// `===` of two Numbers.
#[inline(always)]
pub(crate) fn strict_equals_number(a: Value, b: Value) -> bool {
    matches!((a.as_number(), b.as_number()), (Some(x), Some(y)) if x == y)
}

impl Default for Value {
    fn default() -> Self {
        Self::UNDEFINED
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(n) = self.as_number() {
            return write!(f, "{n}");
        }
        match *self {
            Self::UNDEFINED => f.write_str("undefined"),
            Self::NULL => f.write_str("null"),
            Self::FALSE => f.write_str("false"),
            Self::TRUE => f.write_str("true"),
            Self::EMPTY => f.write_str("<empty>"),
            Self::HOLE => f.write_str("<hole>"),
            _ => write!(f, "<{:x} {}:{}>", self.tag(), self.as_ref().space(), self.as_ref().index()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive() {
        for d in [0.0, -0.0, 1.5, -1.0, 2_147_483_647.0, 2_147_483_648.0, f64::INFINITY, f64::NEG_INFINITY] {
            let v = Value::number(d);
            assert_eq!(v.as_number().map(f64::to_bits), Some(d.to_bits()), "{d}");
        }
        assert!(Value::number(f64::from_bits(u64::MAX)).is_double());
        assert!(!Value::number(-0.0).is_int());
        assert_eq!(Value::double(4_294_967_294.0).as_index(), Some(u32::MAX - 1));
        assert_eq!(Value::double(4_294_967_295.0).as_index(), None);
        assert_eq!(Value::int(-1).as_index(), None);
    }

    #[test]
    fn kinds_are_disjoint() {
        assert!(Value::NULL.is_nullish() && Value::UNDEFINED.is_nullish() && !Value::FALSE.is_nullish());
        assert!(Value::TRUE.is_bool() && Value::FALSE.is_bool() && !Value::EMPTY.is_bool());
        assert!(!Value::UNDEFINED.is_number() && Value::NAN.is_double());
        let r = Ref::new(space::WORKER, u32::MAX);
        assert_eq!((r.object().as_ref().space(), r.string().as_ref().index()), (3, u32::MAX));
    }
}
