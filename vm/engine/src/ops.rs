//! Conversions and operators on primitives. Where an object has to become a
//! primitive first, scripts may run: that is the interpreter's business
//! (`interp/slow.rs`), and these functions never see an object, except where they say so.
#![expect(clippy::cast_possible_truncation, reason = "ranges are tested before each cast")]

use crate::builtins::bignum::Int;
use crate::builtins::num;
use crate::heap::kind;
use crate::mem::Mem;
use crate::string::SHORT_BYTES_MAX;
use crate::throw::Throw;
use crate::value::{Value, strict_equals_number};
use std::cmp::Ordering;

/// Binary operators on numerics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arith {
    Sub,
    Mul,
    Div,
    Rem,
    Pow,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    UShr,
}

/// ToInt32 (ECMA-262 7.1.6).
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 is what the operation is")]
pub(crate) fn to_int32(n: f64) -> i32 {
    let i = n as i64;
    if i != i64::MIN && i != i64::MAX {
        return i as i32;
    }
    if !n.is_finite() {
        return 0;
    }
    let m = n.trunc().rem_euclid(4_294_967_296.0);
    m as u32 as i32
}

/// `a % b`.
pub(crate) fn remainder(a: f64, b: f64) -> f64 {
    if b.is_infinite() && a.is_finite() { a } else { a % b }
}

/// `a ** b` as ECMAScript has it: 1 ** NaN and (+-1) ** Infinity are NaN.
pub(crate) fn power(a: f64, b: f64) -> f64 {
    if b.is_nan() || (a.abs() == 1.0 && b.is_infinite()) { f64::NAN } else { a.powf(b) }
}

fn arith_f64(op: Arith, a: f64, b: f64) -> Value {
    let shift = || to_int32(b).cast_unsigned() & 31;
    match op {
        Arith::Sub => Value::double(a - b),
        Arith::Mul => Value::double(a * b),
        Arith::Div => Value::number(a / b),
        Arith::Rem => Value::number(remainder(a, b)),
        Arith::Pow => Value::number(power(a, b)),
        Arith::And => Value::int(to_int32(a) & to_int32(b)),
        Arith::Or => Value::int(to_int32(a) | to_int32(b)),
        Arith::Xor => Value::int(to_int32(a) ^ to_int32(b)),
        Arith::Shl => Value::int(to_int32(a) << shift()),
        Arith::Shr => Value::int(to_int32(a) >> shift()),
        Arith::UShr => Value::from_u32(to_int32(a).cast_unsigned() >> shift()),
    }
}

impl Mem<'_> {
    /// Truthiness of any value.
    #[inline]
    pub(crate) fn truthy(&self, v: Value) -> bool {
        if v.is_bool() {
            return v == Value::TRUE;
        }
        if v.is_int() {
            return v.as_int() != 0;
        }
        if v.is_double() {
            let d = v.as_double();
            return d != 0.0 && !d.is_nan();
        }
        if v.is_string() {
            return self.heap.string_len(v) != 0;
        }
        if v.is_bigint() {
            return self.heap.header(v.as_ref()) >> 32 != 0;
        }
        v.is_object() || v.is_symbol()
    }

    /// `typeof` of any value.
    pub(crate) fn type_of(&self, v: Value) -> Value {
        let known = &self.local.known;
        if v.is_number() {
            known.number_
        } else if v.is_string() {
            known.string_
        } else if v.is_object() {
            if self.is_callable(v) { known.function_ } else { known.object_ }
        } else if v.is_bool() {
            known.boolean_
        } else if v.is_symbol() {
            known.symbol_
        } else if v.is_bigint() {
            known.bigint_
        } else if v.is_null() {
            known.object_
        } else {
            known.undefined_
        }
    }

    /// ToString of a primitive.
    pub(crate) fn to_string(&mut self, v: Value) -> Result<Value, Throw> {
        if v.is_string() {
            return Ok(v);
        }
        if v.is_int() {
            let n = v.as_int();
            if (0..10).contains(&n) {
                return Ok(self.local.known.chars[(48 + n) as usize]);
            }
            return self.heap.int_to_string(n);
        }
        if v.is_double() {
            return self.heap.number_to_string(v.as_double());
        }
        let known = &self.local.known;
        match v {
            Value::UNDEFINED => Ok(known.undefined_),
            Value::NULL => Ok(known.null_),
            Value::TRUE => Ok(known.true_),
            Value::FALSE => Ok(known.false_),
            _ if v.is_symbol() => Err(Throw::type_error("Cannot convert a Symbol value to a string")),
            _ if v.is_bigint() => {
                let digits = self.bigint(v).to_text(10);
                self.heap.work += digits.len() as u64;
                self.heap.new_string(digits.as_bytes())
            }
            _ => Err(Throw::type_error("Cannot convert object to primitive value")),
        }
    }

    /// `Symbol(description)`.
    pub(crate) fn symbol_text(&mut self, v: Value) -> Result<String, Throw> {
        let description = self.heap.get(v.as_ref(), 1);
        let text = if description.is_string() { self.heap.to_text(description)? } else { String::new() };
        Ok(format!("Symbol({text})"))
    }

    /// A new symbol; the description is a string or undefined.
    pub(crate) fn new_symbol(&mut self, description: Value) -> Result<Value, Throw> {
        let r = self.heap.alloc(2, u64::from(kind::SYMBOL))?;
        self.heap.set(r, 1, description);
        Ok(r.symbol())
    }

    /// ToNumber of a primitive.
    pub(crate) fn to_number_primitive(&mut self, v: Value) -> Result<f64, Throw> {
        if let Some(n) = v.as_number() {
            return Ok(n);
        }
        match v {
            Value::UNDEFINED => Ok(f64::NAN),
            Value::NULL | Value::FALSE => Ok(0.0),
            Value::TRUE => Ok(1.0),
            _ if v.is_string() => {
                let flat = self.heap.flat(v)?;
                let bytes = self.heap.str_bytes(flat);
                let n = num::string_to_number(bytes);
                self.heap.work += self.heap.string_bytes_len(flat) as u64 / 8;
                Ok(n)
            }
            _ if v.is_symbol() => Err(Throw::type_error("Cannot convert a Symbol value to a number")),
            _ if v.is_bigint() => Err(Throw::type_error("Cannot convert a BigInt value to a number")),
            _ => Err(Throw::type_error("Cannot convert object to primitive value")),
        }
    }

    /// ToNumeric of a primitive: a Number or BigInt value.
    pub(crate) fn to_numeric(&mut self, v: Value) -> Result<Value, Throw> {
        if v.is_number() || v.is_bigint() { Ok(v) } else { Ok(Value::number(self.to_number_primitive(v)?)) }
    }

    /// `a + b` of primitives.
    pub(crate) fn add(&mut self, a: Value, b: Value) -> Result<Value, Throw> {
        if a.is_string() || b.is_string() {
            if (a.is_int() || b.is_int())
                && let Some(text) = self.heap.join(&[a, b], SHORT_BYTES_MAX)?
            {
                return Ok(text);
            }
            let (a, b) = (self.to_string(a)?, self.to_string(b)?);
            return self.heap.concat(a, b);
        }
        let (a, b) = (self.to_numeric(a)?, self.to_numeric(b)?);
        match (a.as_number(), b.as_number()) {
            (Some(x), Some(y)) => Ok(Value::number(x + y)),
            (None, None) => {
                let sum = self.bigint(a).add(&self.bigint(b));
                self.new_bigint(&sum)
            }
            _ => Err(mixed()),
        }
    }

    /// Any other binary arithmetic operator on primitives.
    pub(crate) fn arith(&mut self, op: Arith, a: Value, b: Value) -> Result<Value, Throw> {
        let (a, b) = (self.to_numeric(a)?, self.to_numeric(b)?);
        match (a.as_number(), b.as_number()) {
            (Some(x), Some(y)) => Ok(arith_f64(op, x, y)),
            (None, None) => self.arith_bigint(op, a, b),
            _ => Err(mixed()),
        }
    }

    fn arith_bigint(&mut self, op: Arith, a: Value, b: Value) -> Result<Value, Throw> {
        let (a, b) = (self.bigint(a), self.bigint(b));
        let bits = a.bits().saturating_add(b.bits());
        let too_big = || Throw::range_error("Maximum BigInt size exceeded");
        if op == Arith::Mul && bits > BIGINT_BITS_MAX {
            return Err(too_big());
        }
        // A step of the schoolbook takes half as long as an instruction.
        let (x, y) = (a.bits() as u64 / 32 + 1, b.bits() as u64 / 32 + 1);
        self.heap.work +=
            if matches!(op, Arith::Mul | Arith::Div | Arith::Rem) { x * y / 2 + 1 } else { x + y };
        let result = match op {
            Arith::Sub => a.sub(&b),
            Arith::Mul => a.mul(&b),
            Arith::Div | Arith::Rem => {
                let (q, r) = a.div_rem(&b).ok_or_else(|| Throw::range_error("Division by zero"))?;
                if op == Arith::Div { q } else { r }
            }
            Arith::Pow => {
                if b.compare(&Int::from_i64(0)) == Ordering::Less {
                    return Err(Throw::range_error("Exponent must be non-negative"));
                }
                let exponent = b.to_f64();
                if a.bits() > 1 && (a.bits() - 1) as f64 * exponent > BIGINT_BITS_MAX as f64 {
                    return Err(too_big());
                }
                let work = a.bits() as f64 * exponent / 32.0;
                self.heap.work += (work * work / 8.0) as u64;
                a.pow(&b).ok_or_else(too_big)?
            }
            Arith::And => a.bitwise(&b, |x, y| x & y),
            Arith::Or => a.bitwise(&b, |x, y| x | y),
            Arith::Xor => a.bitwise(&b, |x, y| x ^ y),
            Arith::Shl | Arith::Shr => {
                let by = b.to_i64().ok_or_else(too_big)?;
                let by = if op == Arith::Shl { by } else { by.saturating_neg() };
                if by > BIGINT_BITS_MAX as i64 {
                    return Err(too_big());
                }
                a.shift(by).ok_or_else(too_big)?
            }
            Arith::UShr => {
                return Err(Throw::type_error("BigInts have no unsigned right shift, use >> instead"));
            }
        };
        self.new_bigint(&result)
    }

    /// A BigInt in the arena: sign and 32-bit limbs.
    pub(crate) fn new_bigint(&mut self, n: &Int) -> Result<Value, Throw> {
        let count = n.limbs.len();
        let words = 1 + u32::try_from(count.div_ceil(2)).unwrap_or(u32::MAX - 1);
        let sign = if n.negative { 1 << 8 } else { 0 };
        let r = self.heap.alloc(words, u64::from(kind::BIGINT) | sign | (count as u64) << 32)?;
        let out = self.heap.bytes_mut(r, 1, count * 4);
        for (chunk, limb) in out.chunks_exact_mut(4).zip(&n.limbs) {
            chunk.copy_from_slice(&limb.to_le_bytes());
        }
        Ok(r.bigint())
    }

    /// The BigInt of a value that is one.
    pub(crate) fn bigint(&self, v: Value) -> Int {
        self.heap.read_bigint(v)
    }

    /// `===` of any values.
    pub(crate) fn strict_equals(&mut self, a: Value, b: Value) -> Result<bool, Throw> {
        if a.is_number() {
            return Ok(strict_equals_number(a, b));
        }
        if a == b {
            return Ok(true);
        }
        if a.is_string() && b.is_string() {
            return self.heap.string_equals(a, b);
        }
        if a.is_bigint() && b.is_bigint() {
            return Ok(self.bigint(a).compare(&self.bigint(b)) == Ordering::Equal);
        }
        Ok(false)
    }

    /// SameValue.
    pub(crate) fn same_value(&mut self, a: Value, b: Value) -> Result<bool, Throw> {
        match (a.as_number(), b.as_number()) {
            (Some(x), Some(y)) => {
                Ok((x.is_nan() && y.is_nan()) || (x == y && x.is_sign_negative() == y.is_sign_negative()))
            }
            _ => self.strict_equals(a, b),
        }
    }

    /// `==` of primitives, or of two objects.
    pub(crate) fn loose_equals(&mut self, a: Value, b: Value) -> Result<bool, Throw> {
        if a.is_nullish() || b.is_nullish() {
            return Ok(a.is_nullish() && b.is_nullish());
        }
        if a.tag() == b.tag() || (a.is_number() && b.is_number()) {
            return self.strict_equals(a, b);
        }
        if a.is_symbol() || b.is_symbol() || a.is_object() || b.is_object() {
            return Ok(false);
        }
        if a.is_bigint() || b.is_bigint() {
            let (big, other) = if a.is_bigint() { (a, b) } else { (b, a) };
            if other.is_string() {
                let flat = self.heap.flat(other)?;
                let parsed = Int::parse_script(self.heap.str_bytes(flat));
                return Ok(parsed.is_some_and(|p| p.compare(&self.bigint(big)) == Ordering::Equal));
            }
            let n = self.to_number_primitive(other)?;
            return Ok(self.bigint(big).compare_f64(n) == Some(Ordering::Equal));
        }
        Ok(self.to_number_primitive(a)? == self.to_number_primitive(b)?)
    }

    /// Order of two primitives as `<` sees it; none if one is NaN.
    pub(crate) fn compare(&mut self, a: Value, b: Value) -> Result<Option<Ordering>, Throw> {
        if a.is_string() && b.is_string() {
            return self.heap.string_order(a, b).map(Some);
        }
        if a.is_bigint() || b.is_bigint() {
            return self.compare_bigint(a, b);
        }
        let (x, y) = (self.to_number_primitive(a)?, self.to_number_primitive(b)?);
        Ok(x.partial_cmp(&y))
    }

    fn compare_bigint(&mut self, a: Value, b: Value) -> Result<Option<Ordering>, Throw> {
        if a.is_bigint() && b.is_bigint() {
            return Ok(Some(self.bigint(a).compare(&self.bigint(b))));
        }
        let (big, other, flip) = if a.is_bigint() { (a, b, false) } else { (b, a, true) };
        let order = if other.is_string() {
            let flat = self.heap.flat(other)?;
            Int::parse_script(self.heap.str_bytes(flat)).map(|n| self.bigint(big).compare(&n))
        } else {
            let n = self.to_number_primitive(other)?;
            self.bigint(big).compare_f64(n)
        };
        Ok(if flip { order.map(Ordering::reverse) } else { order })
    }

    /// `-v` of a numeric.
    pub(crate) fn negate(&mut self, v: Value) -> Result<Value, Throw> {
        if v.is_bigint() {
            let n = self.bigint(v).neg();
            return self.new_bigint(&n);
        }
        Ok(Value::number(-self.to_number_primitive(v)?))
    }

    /// `v + by` of a numeric, by = 1 or -1.
    pub(crate) fn increment(&mut self, v: Value, by: i32) -> Result<Value, Throw> {
        if v.is_bigint() {
            let n = self.bigint(v).add(&Int::from_i64(i64::from(by)));
            return self.new_bigint(&n);
        }
        Ok(Value::number(self.to_number_primitive(v)? + f64::from(by)))
    }

    /// `~v` of a numeric.
    pub(crate) fn bit_not(&mut self, v: Value) -> Result<Value, Throw> {
        if v.is_bigint() {
            let n = self.bigint(v).neg().sub(&Int::from_i64(1));
            return self.new_bigint(&n);
        }
        Ok(Value::int(!to_int32(self.to_number_primitive(v)?)))
    }
}

/// Largest BigInt, bits. Beyond it: RangeError.
const BIGINT_BITS_MAX: usize = crate::builtins::bignum::LIMBS_MAX * 32;

fn mixed() -> Throw {
    Throw::type_error("Cannot mix BigInt and other types, use explicit conversions")
}

impl crate::heap::Heap {
    /// The BigInt of a value that is one.
    pub(crate) fn read_bigint(&self, v: Value) -> Int {
        let r = v.as_ref();
        let header = self.header(r);
        let bytes = self.bytes(r, 1, (header >> 32) as usize * 4);
        let limbs = bytes
            .chunks_exact(4)
            .map(|c| {
                let mut limb = [0; 4];
                limb.copy_from_slice(c);
                u32::from_le_bytes(limb)
            })
            .collect();
        Int { negative: header & 1 << 8 != 0, limbs }
    }
}
