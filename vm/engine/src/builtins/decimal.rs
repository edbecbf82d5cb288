//! Decimal: exact decimal numbers, as SQL's numeric has them. The object holds its digits as a
//! string ("-12.50"; NaN, Infinity and -Infinity where SQL has them), so it prints as it came.
//!
//! The operators of the language don't take it: `+` of a Decimal and a Number would round
//! without saying so, and throws. `price.mul(3).add(fee)` is exact.

use super::bignum::{self, Int};
use super::{Kind, Native};
use crate::ctx::{Args, Ctx};
use crate::heap::kind;
use crate::mem::Mem;
use crate::throw::{Hint, Throw};
use crate::value::Value;
use std::cmp::Ordering;

const fn method(name: &'static str, length: u8, call: super::NativeFn) -> Native {
    Native { on: "Decimal.prototype", name, length, call, kind: Kind::Method }
}

pub(crate) const NATIVES: &[Native] = &[
    Native { on: "", name: "Decimal", length: 1, call: construct, kind: Kind::Constructor("decimal") },
    method("abs", 0, |c, a| {
        unary(c, a, |mut d| {
            d.digits.negative = false;
            d
        })
    }),
    method("add", 1, |c, a| binary(c, a, |x, y| Some(x.add(y)))),
    method("cmp", 1, cmp),
    method("div", 2, div),
    method("eq", 1, |c, a| compared(c, a, Ordering::is_eq)),
    method("gt", 1, |c, a| compared(c, a, Ordering::is_gt)),
    method("gte", 1, |c, a| compared(c, a, Ordering::is_ge)),
    method("lt", 1, |c, a| compared(c, a, Ordering::is_lt)),
    method("lte", 1, |c, a| compared(c, a, Ordering::is_le)),
    method("mul", 1, |c, a| binary(c, a, |x, y| Some(x.mul(y)))),
    method("neg", 0, |c, a| {
        unary(c, a, |mut d| {
            d.digits = d.digits.neg();
            d
        })
    }),
    method("round", 1, round),
    method("sub", 1, |c, a| binary(c, a, |x, y| Some(x.sub(y)))),
    method("text", 0, text),
    method("toFixed", 1, round_text),
    method("toNumber", 0, to_number),
    method("toString", 0, text),
    method("valueOf", 0, |c, a| Ok(c.this(a))),
    method("@@toPrimitive", 1, to_primitive),
];

/// Digits behind the point that a result may have. Beyond it: RangeError.
const SCALE_MAX: usize = 16_383;
/// Digits of the longest Decimal.
const DIGITS_MAX: usize = 32_768;

/// A finite Decimal: digits / 10^scale.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Decimal {
    digits: Int,
    scale: usize,
}

impl Decimal {
    /// Optional sign, digits, optional fraction, optional exponent.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
            None => (text, 0),
        };
        let negative = mantissa.starts_with('-');
        let mantissa = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.len() + fraction.len() > DIGITS_MAX || exponent.unsigned_abs() as usize > SCALE_MAX {
            return None;
        }
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let mut digits = Int::parse(&digits)?;
        digits.negative = negative && !digits.is_zero();
        let scale = i64::try_from(fraction.len()).ok()? - i64::from(exponent);
        let Ok(scale) = usize::try_from(scale) else {
            let up = usize::try_from(-scale).ok()?;
            return Some(Self { digits: digits.mul(&power(up)), scale: 0 });
        };
        (scale <= SCALE_MAX).then_some(Self { digits, scale })
    }

    pub(crate) fn to_text(&self) -> String {
        let digits = bignum::to_digits(&self.digits.limbs, 10);
        let padded = format!("{digits:0>width$}", width = self.scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - self.scale);
        let sign = if self.digits.negative { "-" } else { "" };
        if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }

    /// Both with the larger scale.
    fn aligned(&self, other: &Self) -> (Int, Int, usize) {
        let scale = self.scale.max(other.scale);
        let up = |d: &Self| d.digits.mul(&power(scale - d.scale));
        (up(self), up(other), scale)
    }

    fn add(&self, other: &Self) -> Self {
        let (x, y, scale) = self.aligned(other);
        Self { digits: x.add(&y), scale }
    }

    fn sub(&self, other: &Self) -> Self {
        let (x, y, scale) = self.aligned(other);
        Self { digits: x.sub(&y), scale }
    }

    fn mul(&self, other: &Self) -> Self {
        Self { digits: self.digits.mul(&other.digits), scale: self.scale + other.scale }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let (x, y, _) = self.aligned(other);
        x.compare(&y)
    }

    /// With `scale` digits behind the point; ties away from zero, as SQL's round does.
    fn round(&self, scale: usize) -> Self {
        if scale >= self.scale {
            return Self { digits: self.digits.mul(&power(scale - self.scale)), scale };
        }
        let unit = power(self.scale - scale);
        Self { digits: divide(&self.digits, &unit), scale }
    }

    /// The quotient with `scale` digits behind the point; none for division by zero.
    fn div(&self, other: &Self, scale: usize) -> Option<Self> {
        if other.digits.is_zero() {
            return None;
        }
        let above = self.digits.mul(&power(scale + other.scale));
        let below = other.digits.mul(&power(self.scale));
        Some(Self { digits: divide(&above, &below), scale })
    }
}

/// 10^exponent.
fn power(exponent: usize) -> Int {
    let exponent = Int::from_i64(i64::try_from(exponent).unwrap_or(i64::MAX));
    Int::from_i64(10).pow(&exponent).unwrap_or_default()
}

/// The nearest whole quotient, ties away from zero.
fn divide(a: &Int, b: &Int) -> Int {
    let Some((quotient, rest)) = a.div_rem(b) else { return Int::default() };
    let twice = bignum::shl(&rest.limbs, 1);
    if bignum::compare(&twice, &b.limbs) == Ordering::Less {
        return quotient;
    }
    let away = Int::from_i64(if a.negative == b.negative { 1 } else { -1 });
    quotient.add(&away)
}

impl Mem<'_> {
    fn decimal_text(&mut self, v: Value) -> Result<String, Throw> {
        let text = self.heap.get(v.as_ref(), 4);
        self.heap.to_text(text)
    }
}

fn this_decimal(ctx: &Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.this(a);
    if ctx.is_kind(v, kind::DECIMAL) { Ok(v) } else { Err(Throw::type_error("this is not a Decimal")) }
}

/// A Decimal, a whole Number, a BigInt or a text as a Decimal. A Number with a fraction is
/// refused: 0.1 isn't what it looks like.
fn operand(ctx: &mut Ctx<'_>, v: Value) -> Result<Decimal, Throw> {
    let text = if ctx.is_kind(v, kind::DECIMAL) {
        ctx.mem.decimal_text(v)?
    } else if v.is_string() {
        ctx.heap.to_text(v)?
    } else if v.is_bigint() {
        ctx.bigint(v).to_text(10)
    } else if let Some(n) = v.as_number() {
        if n.fract() != 0.0 || n.abs() > 9_007_199_254_740_991.0 {
            return Err(Throw::type_error("a Number is inexact here: write the decimal as text, '0.1'"));
        }
        format!("{n}")
    } else {
        let shown = ctx.mem.show(v)?;
        return Err(Throw::type_error(format!("{shown} is not a decimal number")));
    };
    let len = text.len() as u64;
    ctx.heap.work += 4 + len * len / 64;
    Decimal::parse(&text).ok_or_else(|| {
        let short: String = text.chars().take(40).collect();
        Throw::range_error(format!("'{short}' is not a finite decimal number"))
    })
}

fn finish(ctx: &mut Ctx<'_>, d: &Decimal) -> Result<Value, Throw> {
    if d.scale > SCALE_MAX || d.digits.bits() > DIGITS_MAX * 4 {
        return Err(Throw::range_error("Decimal has too many digits"));
    }
    ctx.heap.work += (d.digits.limbs.len() * d.digits.limbs.len()) as u64;
    let text = d.to_text();
    ctx.mem.new_decimal(&text)
}

fn construct(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    let d = operand(ctx, v)?;
    let made = finish(ctx, &d)?;
    ctx.made(a, made)
}

fn unary(ctx: &mut Ctx<'_>, a: Args, f: fn(Decimal) -> Decimal) -> Result<Value, Throw> {
    let this = this_decimal(ctx, a)?;
    let d = f(operand(ctx, this)?);
    finish(ctx, &d)
}

fn operands(ctx: &mut Ctx<'_>, a: Args) -> Result<(Decimal, Decimal), Throw> {
    let (this, other) = (this_decimal(ctx, a)?, ctx.arg(a, 0));
    Ok((operand(ctx, this)?, operand(ctx, other)?))
}

fn binary(ctx: &mut Ctx<'_>, a: Args, f: fn(&Decimal, &Decimal) -> Option<Decimal>) -> Result<Value, Throw> {
    let (x, y) = operands(ctx, a)?;
    ctx.heap.work += (x.digits.limbs.len() * y.digits.limbs.len()) as u64;
    let result = f(&x, &y).ok_or_else(|| Throw::range_error("Division by zero"))?;
    finish(ctx, &result)
}

fn cmp(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (x, y) = operands(ctx, a)?;
    Ok(Value::int(x.compare(&y) as i32))
}

fn compared(ctx: &mut Ctx<'_>, a: Args, is: fn(Ordering) -> bool) -> Result<Value, Throw> {
    let (x, y) = operands(ctx, a)?;
    Ok(Value::bool(is(x.compare(&y))))
}

/// Digits behind the point from argument `i`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn scale_arg(ctx: &mut Ctx<'_>, a: Args, i: usize, default: usize) -> Result<usize, Throw> {
    if ctx.arg(a, i).is_undefined() {
        return Ok(default);
    }
    let n = ctx.int_arg(a, i)?;
    if (0.0..=SCALE_MAX as f64).contains(&n) {
        return Ok(n as usize);
    }
    Err(Throw::range_error(format!("digits must be between 0 and {SCALE_MAX}")))
}

/// `div(other, digits)`: without digits the larger scale of the two, at least 16.
fn div(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (x, y) = operands(ctx, a)?;
    let scale = scale_arg(ctx, a, 1, x.scale.max(y.scale).max(16))?;
    ctx.heap.work += ((scale / 9 + x.digits.limbs.len() + y.digits.limbs.len()) as u64).pow(2);
    let result = x.div(&y, scale).ok_or_else(|| Throw::range_error("Division by zero"))?;
    finish(ctx, &result)
}

fn rounded(ctx: &mut Ctx<'_>, a: Args) -> Result<Decimal, Throw> {
    let this = this_decimal(ctx, a)?;
    let scale = scale_arg(ctx, a, 0, 0)?;
    ctx.heap.work += (scale as u64 / 9).pow(2);
    Ok(operand(ctx, this)?.round(scale))
}

fn round(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let d = rounded(ctx, a)?;
    finish(ctx, &d)
}

fn round_text(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let text = rounded(ctx, a)?.to_text();
    ctx.heap.new_string(text.as_bytes())
}

fn text(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let this = this_decimal(ctx, a)?;
    Ok(ctx.heap.get(this.as_ref(), 4))
}

fn to_number(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let this = this_decimal(ctx, a)?;
    let text = ctx.mem.decimal_text(this)?;
    Ok(Value::number(super::num::string_to_number(text.as_bytes())))
}

/// As text where text is wanted; elsewhere it would lose digits without saying so.
fn to_primitive(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let this = this_decimal(ctx, a)?;
    let hint = ctx.primitive_arg(a, 0, Hint::String)?;
    if hint == ctx.local.known.string_ {
        return Ok(ctx.heap.get(this.as_ref(), 4));
    }
    Err(Throw::type_error(
        "a Decimal doesn't mix with operators: use .add(), .mul(), .cmp(), .toNumber() or .text()",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_exact() {
        let d = |text: &str| Decimal::parse(text).unwrap();
        let check = |found: Decimal, expect: &str| assert_eq!(found.to_text(), expect);
        check(d("0.1").add(&d("0.2")), "0.3");
        check(d("-1.50").sub(&d("0.5")), "-2.00");
        check(d("19.99").mul(&d("3")), "59.97");
        check(d("0.05").mul(&d("-0.05")), "-0.0025");
        check(d("1").div(&d("3"), 5).unwrap(), "0.33333");
        check(d("-2").div(&d("3"), 2).unwrap(), "-0.67");
        check(d("2.345").round(2), "2.35");
        check(d("-2.345").round(2), "-2.35");
        check(d("2.344").round(0), "2");
        check(d("7").round(3), "7.000");
        check(d("1.5e3"), "1500");
        check(d("15e-1"), "1.5");
        check(d("-0.00"), "0.00");
        assert_eq!(d("1.10").compare(&d("1.1")), Ordering::Equal);
        assert!(Decimal::parse("NaN").is_none() && Decimal::parse("1.2.3").is_none());
    }
}
