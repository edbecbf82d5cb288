//! Number, Boolean, BigInt, Math, and the global functions on numbers and URIs.

use super::bignum::Int;
use super::{Kind, Native, locale, num, uri};
use crate::ctx::{Args, Ctx};
use crate::heap::kind;
use crate::ops::to_int32;
use crate::throw::{ErrorKind, Hint, Throw};
use crate::value::Value;

const fn on(on: &'static str, name: &'static str, length: u8, call: super::NativeFn) -> Native {
    Native { on, name, length, call, kind: Kind::Method }
}

const fn math(name: &'static str, length: u8, call: super::NativeFn) -> Native {
    on("Math", name, length, call)
}

pub(crate) const NATIVES: &[Native] = &[
    Native { on: "", name: "Number", length: 1, call: construct_number, kind: Kind::Constructor("number") },
    Native {
        on: "",
        name: "Boolean",
        length: 1,
        call: construct_boolean,
        kind: Kind::Constructor("boolean"),
    },
    Native { on: "", name: "BigInt", length: 1, call: construct_bigint, kind: Kind::Constructor("bigint") },
    on("", "parseInt", 2, parse_int),
    on("", "parseFloat", 1, parse_float),
    on("", "isNaN", 1, is_nan),
    on("", "isFinite", 1, is_finite),
    on("", "encodeURIComponent", 1, encode_component),
    on("", "encodeURI", 1, encode_uri),
    on("", "decodeURIComponent", 1, decode_component),
    on("", "decodeURI", 1, decode_uri),
    on("Number", "isInteger", 1, number_is_integer),
    on("Number", "isSafeInteger", 1, number_is_safe),
    on("Number", "isFinite", 1, number_is_finite),
    on("Number", "isNaN", 1, number_is_nan),
    on("Number.prototype", "toString", 1, number_to_string),
    on("Number.prototype", "toLocaleString", 0, number_to_locale),
    on("Number.prototype", "valueOf", 0, number_value_of),
    on("Number.prototype", "toFixed", 1, to_fixed),
    on("Number.prototype", "toPrecision", 1, to_precision),
    on("Number.prototype", "toExponential", 1, to_exponential),
    on("Number.prototype", "text", 0, number_to_string),
    on("Boolean.prototype", "toString", 0, boolean_to_string),
    on("Boolean.prototype", "valueOf", 0, boolean_value_of),
    on("Boolean.prototype", "text", 0, boolean_to_string),
    on("BigInt.prototype", "toString", 0, bigint_to_string),
    on("BigInt.prototype", "toLocaleString", 0, bigint_to_locale),
    on("BigInt.prototype", "valueOf", 0, bigint_value_of),
    on("BigInt.prototype", "text", 0, bigint_to_string),
    on("BigInt", "asIntN", 2, as_int_n),
    on("BigInt", "asUintN", 2, as_uint_n),
    math("abs", 1, |c, a| unary(c, a, f64::abs)),
    math("acos", 1, |c, a| unary(c, a, f64::acos)),
    math("acosh", 1, |c, a| unary(c, a, f64::acosh)),
    math("asin", 1, |c, a| unary(c, a, f64::asin)),
    math("asinh", 1, |c, a| unary(c, a, asinh)),
    math("atan", 1, |c, a| unary(c, a, f64::atan)),
    math("atan2", 2, atan2),
    math("atanh", 1, |c, a| unary(c, a, f64::atanh)),
    math("cbrt", 1, |c, a| unary(c, a, f64::cbrt)),
    math("ceil", 1, |c, a| unary(c, a, f64::ceil)),
    math("clz32", 1, clz32),
    math("cos", 1, |c, a| unary(c, a, f64::cos)),
    math("cosh", 1, |c, a| unary(c, a, f64::cosh)),
    math("exp", 1, |c, a| unary(c, a, f64::exp)),
    math("expm1", 1, |c, a| unary(c, a, f64::exp_m1)),
    math("floor", 1, |c, a| unary(c, a, f64::floor)),
    math("fround", 1, |c, a| unary(c, a, fround)),
    math("hypot", 2, hypot),
    math("imul", 2, imul),
    math("log", 1, |c, a| unary(c, a, f64::ln)),
    math("log10", 1, |c, a| unary(c, a, f64::log10)),
    math("log1p", 1, |c, a| unary(c, a, f64::ln_1p)),
    math("log2", 1, |c, a| unary(c, a, f64::log2)),
    math("max", 2, max),
    math("min", 2, min),
    math("pow", 2, pow),
    math("random", 0, random),
    math("round", 1, |c, a| unary(c, a, round)),
    math("sign", 1, |c, a| unary(c, a, sign)),
    math("sin", 1, |c, a| unary(c, a, f64::sin)),
    math("sinh", 1, |c, a| unary(c, a, f64::sinh)),
    math("sqrt", 1, |c, a| unary(c, a, f64::sqrt)),
    Native { on: "", name: "sumNumbers", length: 1, call: sum_numbers, kind: Kind::Helper },
    math("f16round", 1, |c, a| unary(c, a, num::f16_round)),
    math("tan", 1, |c, a| unary(c, a, f64::tan)),
    math("tanh", 1, |c, a| unary(c, a, f64::tanh)),
    math("trunc", 1, |c, a| unary(c, a, f64::trunc)),
];

/// Constants: attributes none.
pub(crate) const CONSTANTS: &[(&str, &str, f64)] = &[
    ("Number", "EPSILON", f64::EPSILON),
    ("Number", "MAX_SAFE_INTEGER", 9_007_199_254_740_991.0),
    ("Number", "MAX_VALUE", f64::MAX),
    ("Number", "MIN_SAFE_INTEGER", -9_007_199_254_740_991.0),
    ("Number", "MIN_VALUE", 5e-324),
    ("Number", "NEGATIVE_INFINITY", f64::NEG_INFINITY),
    ("Number", "NaN", f64::NAN),
    ("Number", "POSITIVE_INFINITY", f64::INFINITY),
    ("Math", "E", std::f64::consts::E),
    ("Math", "LN10", std::f64::consts::LN_10),
    ("Math", "LN2", std::f64::consts::LN_2),
    ("Math", "LOG10E", std::f64::consts::LOG10_E),
    ("Math", "LOG2E", std::f64::consts::LOG2_E),
    ("Math", "PI", std::f64::consts::PI),
    ("Math", "SQRT1_2", std::f64::consts::FRAC_1_SQRT_2),
    ("Math", "SQRT2", std::f64::consts::SQRT_2),
];

fn ascii(ctx: &mut Ctx<'_>, text: &str) -> Result<Value, Throw> {
    ctx.heap.new_string(text.as_bytes())
}

// ---- Number

fn construct_number(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let n = if a.count == 0 {
        Value::ZERO
    } else {
        let v = ctx.primitive_arg(a, 0, Hint::Number)?;
        if v.is_bigint() {
            Value::number(ctx.bigint(v).to_f64())
        } else {
            Value::number(ctx.to_number_primitive(v)?)
        }
    };
    ctx.box_if_made(a, n)
}

/// `this` as a primitive of the kind that `is` accepts, taken out of its object.
fn this_primitive(ctx: &Ctx<'_>, a: Args, is: fn(Value) -> bool, name: &str) -> Result<Value, Throw> {
    let v = ctx.this(a);
    let v = if ctx.is_kind(v, kind::BOXED) { ctx.heap.get(v.as_ref(), 4) } else { v };
    if is(v) { Ok(v) } else { Err(Throw::type_error(format!("{name} requires that 'this' be a {name}"))) }
}

fn this_number(ctx: &Ctx<'_>, a: Args) -> Result<f64, Throw> {
    Ok(this_primitive(ctx, a, Value::is_number, "Number")?.as_number().unwrap_or(f64::NAN))
}

fn number_value_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::number(this_number(ctx, a)?))
}

fn radix_arg(ctx: &mut Ctx<'_>, a: Args) -> Result<u32, Throw> {
    let radix = if ctx.arg(a, 0).is_undefined() { 10.0 } else { ctx.int_arg(a, 0)? };
    if !(2.0..=36.0).contains(&radix) {
        return Err(Throw::range_error("toString() radix must be between 2 and 36"));
    }
    Ok(to_int32(radix).unsigned_abs())
}

fn number_to_string(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let n = this_number(ctx, a)?;
    let radix = radix_arg(ctx, a)?;
    if radix == 10 {
        return ctx.to_string(Value::number(n));
    }
    ctx.heap.work += 16;
    ascii(ctx, &num::to_radix(n, radix))
}

/// The en-US form: groups of three, at most three digits behind the point, or as many as are asked for.
fn number_to_locale(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let n = this_number(ctx, a)?;
    let form = locale::number_form(ctx, a)?;
    if !n.is_finite() {
        return ctx.heap.new_string(if n.is_nan() {
            b"NaN"
        } else if n > 0.0 {
            "\u{221e}".as_bytes()
        } else {
            "-\u{221e}".as_bytes()
        });
    }
    // All digits that say which number it is, never an exponent.
    let (whole, fraction) = rounded(&format!("{}", n.abs()), form.most);
    let mut out = String::new();
    if n.is_sign_negative() {
        out.push('-');
    }
    out.push_str(&if form.groups { locale::group(&whole) } else { whole });
    let kept = fraction.trim_end_matches('0').len().max(form.least);
    if kept > 0 {
        out.push('.');
        out.push_str(&fraction);
        let end = out.len() - fraction.len() + kept;
        out.truncate(end);
        out.extend(std::iter::repeat_n('0', end - out.len()));
    }
    ascii(ctx, &out)
}

/// The digits before and behind the point of a decimal, at most `most` behind it; a half goes up, as in ECMA-402.
fn rounded(decimal: &str, most: usize) -> (String, String) {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    let kept = &fraction[..fraction.len().min(most)];
    let mut carry = fraction.as_bytes().get(most).is_some_and(|digit| *digit >= b'5');
    let mut digits: Vec<u8> = whole.bytes().chain(kept.bytes()).collect();
    for digit in digits.iter_mut().rev() {
        if !carry {
            break;
        }
        carry = *digit == b'9';
        *digit = if carry { b'0' } else { *digit + 1 };
    }
    if carry {
        digits.insert(0, b'1');
    }
    let mut whole = String::from_utf8_lossy(&digits).into_owned();
    let fraction = whole.split_off(digits.len() - kept.len());
    (whole, fraction)
}

/// A count of digits in `low..=100`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= n <= 100")]
fn digits_arg(ctx: &mut Ctx<'_>, a: Args, low: f64, name: &str) -> Result<usize, Throw> {
    let n = ctx.int_arg(a, 0)?;
    if (low..=100.0).contains(&n) {
        return Ok(n as usize);
    }
    Err(Throw::range_error(format!("{name}() argument must be between {low} and 100")))
}

fn to_fixed(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let n = this_number(ctx, a)?;
    let digits = digits_arg(ctx, a, 0.0, "toFixed")?;
    if !n.is_finite() || n.abs() >= 1e21 {
        return ctx.to_string(Value::number(n));
    }
    ctx.heap.work += 16;
    ascii(ctx, &num::to_fixed(n, digits))
}

fn to_precision(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let n = this_number(ctx, a)?;
    if ctx.arg(a, 0).is_undefined() {
        return ctx.to_string(Value::number(n));
    }
    let p = ctx.int_arg(a, 0)?;
    if !n.is_finite() {
        return ctx.to_string(Value::number(n));
    }
    let _ = p;
    let digits = digits_arg(ctx, a, 1.0, "toPrecision")?;
    ctx.heap.work += 16;
    ascii(ctx, &num::to_precision(n, digits))
}

fn to_exponential(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let n = this_number(ctx, a)?;
    let given = !ctx.arg(a, 0).is_undefined();
    ctx.int_arg(a, 0)?;
    if !n.is_finite() {
        return ctx.to_string(Value::number(n));
    }
    let digits = digits_arg(ctx, a, 0.0, "toExponential")?;
    ctx.heap.work += 16;
    ascii(ctx, &num::to_exponential(n, given.then_some(digits)))
}

fn is_integral(v: Value) -> bool {
    v.as_number().is_some_and(|n| n.is_finite() && n.fract() == 0.0)
}

fn number_is_integer(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::bool(is_integral(ctx.arg(a, 0))))
}

fn number_is_safe(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    let small = v.as_number().is_some_and(|n| n.abs() <= 9_007_199_254_740_991.0);
    Ok(Value::bool(is_integral(v) && small))
}

fn number_is_finite(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::bool(ctx.arg(a, 0).as_number().is_some_and(f64::is_finite)))
}

fn number_is_nan(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::bool(ctx.arg(a, 0).as_number().is_some_and(f64::is_nan)))
}

fn parse_int(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_arg(a, 0)?;
    let radix = to_int32(ctx.num_arg(a, 1)?);
    ctx.heap.work += ctx.heap.string_bytes_len(s) as u64 / 4;
    Ok(Value::number(num::parse_int(ctx.heap.str_bytes(s), radix)))
}

fn parse_float(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_arg(a, 0)?;
    ctx.heap.work += ctx.heap.string_bytes_len(s) as u64 / 4;
    Ok(Value::number(num::parse_float(ctx.heap.str_bytes(s))))
}

fn is_nan(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::bool(ctx.num_arg(a, 0)?.is_nan()))
}

fn is_finite(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::bool(ctx.num_arg(a, 0)?.is_finite()))
}

/// `sumNumbers(list)`: Math.sumPrecise of an array of Numbers.
fn sum_numbers(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let list = ctx.arg(a, 0).as_ref();
    let mut sum = num::ExactSum::default();
    for i in 0..ctx.array_len(list) {
        sum.add(ctx.dense_element(list, i).and_then(Value::as_number).unwrap_or(f64::NAN));
    }
    ctx.heap.work += u64::from(ctx.array_len(list)) * 4;
    Ok(Value::number(sum.total()))
}

// ---- URIs

fn escape(
    ctx: &mut Ctx<'_>,
    a: Args,
    component: bool,
    how: fn(&[u8], bool) -> Option<Vec<u8>>,
) -> Result<Value, Throw> {
    let s = ctx.str_arg(a, 0)?;
    let bytes = ctx.heap.str_bytes(s);
    // Each byte becomes at most three.
    ctx.heap.check_room(bytes.len() * 3)?;
    let out = how(bytes, component).ok_or_else(|| Throw::Error(ErrorKind::Uri, "URI malformed".into()))?;
    ctx.heap.work += out.len() as u64 / 4;
    ctx.heap.new_string(&out)
}

fn encode_component(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    escape(ctx, a, true, uri::encode)
}

fn encode_uri(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    escape(ctx, a, false, uri::encode)
}

fn decode_component(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    escape(ctx, a, true, uri::decode)
}

fn decode_uri(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    escape(ctx, a, false, uri::decode)
}

// ---- Boolean

fn construct_boolean(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = Value::bool(ctx.truthy(ctx.arg(a, 0)));
    ctx.box_if_made(a, v)
}

fn boolean_value_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    this_primitive(ctx, a, Value::is_bool, "Boolean")
}

fn boolean_to_string(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = this_primitive(ctx, a, Value::is_bool, "Boolean")?;
    ctx.to_string(v)
}

// ---- BigInt

/// ToBigInt of a primitive.
fn to_bigint(ctx: &mut Ctx<'_>, v: Value) -> Result<Value, Throw> {
    if v.is_bigint() {
        return Ok(v);
    }
    if v.is_bool() {
        return ctx.new_bigint(&Int::from_i64(i64::from(v == Value::TRUE)));
    }
    if v.is_string() {
        let flat = ctx.heap.flat(v)?;
        let digits = ctx.heap.string_bytes_len(flat) as u64;
        ctx.heap.work += digits * digits / 81;
        let parsed = Int::parse_script(ctx.heap.str_bytes(flat));
        return match parsed {
            Some(int) => ctx.new_bigint(&int),
            None => {
                let text = ctx.mem.show(v)?;
                Err(Throw::syntax_error(format!("Cannot convert {text} to a BigInt")))
            }
        };
    }
    let text = ctx.mem.show(v)?;
    Err(Throw::type_error(format!("Cannot convert {text} to a BigInt")))
}

fn construct_bigint(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    if a.construct {
        return Err(Throw::type_error("BigInt is not a constructor"));
    }
    let v = ctx.primitive_arg(a, 0, Hint::Number)?;
    if let Some(n) = v.as_number() {
        let int = Int::from_f64(n).ok_or_else(|| {
            Throw::range_error(format!(
                "The number {n} cannot be converted to a BigInt because it is not an integer"
            ))
        })?;
        return ctx.new_bigint(&int);
    }
    to_bigint(ctx, v)
}

fn bigint_value_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    this_primitive(ctx, a, Value::is_bigint, "BigInt")
}

fn bigint_to_string(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = this_primitive(ctx, a, Value::is_bigint, "BigInt")?;
    let radix = radix_arg(ctx, a)?;
    let int = ctx.bigint(v);
    ctx.heap.work += (int.limbs.len() * int.limbs.len()) as u64;
    ascii(ctx, &int.to_text(radix))
}

fn bigint_to_locale(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = this_primitive(ctx, a, Value::is_bigint, "BigInt")?;
    let form = locale::number_form(ctx, a)?;
    let int = ctx.bigint(v);
    ctx.heap.work += (int.limbs.len() * int.limbs.len()) as u64;
    let text = int.to_text(10);
    let (sign, digits) = text.strip_prefix('-').map_or(("", &*text), |digits| ("-", digits));
    let whole = if form.groups { locale::group(digits) } else { digits.to_owned() };
    let zeros = if form.least > 0 { format!(".{:0<1$}", "", form.least) } else { String::new() };
    ascii(ctx, &format!("{sign}{whole}{zeros}"))
}

/// The low bits as an unsigned number, the number itself, and how many bits.
fn low_bits(ctx: &mut Ctx<'_>, a: Args) -> Result<(Int, i64), Throw> {
    let bits = ctx.int_arg(a, 0)?;
    if !(0.0..=9_007_199_254_740_991.0).contains(&bits) {
        return Err(Throw::range_error("Invalid value: not (convertible to) a safe integer"));
    }
    let v = ctx.primitive_arg(a, 1, Hint::Number)?;
    if v.is_number() {
        return Err(Throw::type_error("Cannot convert a Number to a BigInt"));
    }
    let v = to_bigint(ctx, v)?;
    let int = ctx.bigint(v);
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
    let bits = bits as i64;
    ctx.heap.work += int.limbs.len() as u64;
    if usize::try_from(bits).unwrap_or(usize::MAX) > int.bits() + 1 && !int.negative {
        return Ok((int, bits));
    }
    let modulus = Int::from_i64(1).shift(bits);
    let modulus = modulus.ok_or_else(|| Throw::range_error("Maximum BigInt size exceeded"))?;
    let (_, rest) = int.div_rem(&modulus).unwrap_or_default();
    Ok((if rest.negative { rest.add(&modulus) } else { rest }, bits))
}

fn as_uint_n(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (int, _) = low_bits(ctx, a)?;
    ctx.new_bigint(&int)
}

fn as_int_n(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (int, bits) = low_bits(ctx, a)?;
    let signed = match Int::from_i64(1).shift(bits) {
        Some(modulus) if bits > 0 && int.bits() == usize::try_from(bits).unwrap_or(0) => int.sub(&modulus),
        _ => int,
    };
    ctx.new_bigint(&signed)
}

// ---- Math

fn unary(ctx: &mut Ctx<'_>, a: Args, f: impl Fn(f64) -> f64) -> Result<Value, Throw> {
    Ok(Value::number(f(ctx.num_arg(a, 0)?)))
}

/// The same of a Number, else EMPTY (quick.rs).
#[inline(always)]
pub(super) fn quick_unary(v: Value, f: impl Fn(f64) -> f64) -> Value {
    v.as_number().map_or(Value::EMPTY, |n| Value::number(f(n)))
}

/// `Math.floor` of a Number, else EMPTY.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "tested before")]
pub(super) fn quick_floor(v: Value) -> Value {
    if v.is_int() {
        return v;
    }
    if v.is_double() && (1.0..2_147_483_648.0).contains(&v.as_double()) {
        return Value::int(v.as_double() as i32);
    }
    quick_unary(v, f64::floor)
}

/// Towards plus infinity on ties; -0 stays, and so do small negatives.
fn round(n: f64) -> f64 {
    let floor = n.floor();
    if n - floor >= 0.5 { (floor + 1.0).copysign(n) } else { floor.copysign(n) }
}

fn sign(n: f64) -> f64 {
    if n == 0.0 || n.is_nan() { n } else { n.signum() }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to single precision is what it is for")]
fn fround(n: f64) -> f64 {
    f64::from(n as f32)
}

fn asinh(n: f64) -> f64 {
    if n == 0.0 || n.is_infinite() { n } else { n.asinh() }
}

fn atan2(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let y = ctx.num_arg(a, 0)?;
    let x = ctx.num_arg(a, 1)?;
    Ok(Value::number(y.atan2(x)))
}

fn clz32(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::from_u32(to_int32(ctx.num_arg(a, 0)?).leading_zeros()))
}

fn imul(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (x, y) = (ctx.num_arg(a, 0)?, ctx.num_arg(a, 1)?);
    Ok(Value::int(to_int32(x).wrapping_mul(to_int32(y))))
}

fn pow(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (x, y) = (ctx.num_arg(a, 0)?, ctx.num_arg(a, 1)?);
    Ok(Value::number(crate::ops::power(x, y)))
}

fn max(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    extreme(ctx, a, f64::NEG_INFINITY, |n, best| {
        n > best || (n == 0.0 && best == 0.0 && !n.is_sign_negative())
    })
}

fn min(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    extreme(ctx, a, f64::INFINITY, |n, best| n < best || (n == 0.0 && best == 0.0 && n.is_sign_negative()))
}

fn extreme(ctx: &mut Ctx<'_>, a: Args, start: f64, better: fn(f64, f64) -> bool) -> Result<Value, Throw> {
    let mut best = start;
    for i in 0..a.count {
        let n = ctx.num_arg(a, i)?;
        if n.is_nan() || better(n, best) && !best.is_nan() {
            best = n;
        }
    }
    ctx.heap.work += a.count as u64 / 4;
    Ok(Value::number(best))
}

/// Scaled by the largest, with a compensated sum, as V8 does it.
fn hypot(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let mut numbers = Vec::with_capacity(a.count);
    for i in 0..a.count {
        numbers.push(ctx.num_arg(a, i)?.abs());
    }
    if numbers.iter().any(|n| n.is_infinite()) {
        return Ok(Value::double(f64::INFINITY));
    }
    if numbers.iter().any(|n| n.is_nan()) {
        return Ok(Value::NAN);
    }
    let largest = numbers.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return Ok(Value::ZERO);
    }
    let (mut sum, mut compensation) = (0.0, 0.0);
    for n in numbers {
        let scaled = n / largest;
        let summand = scaled * scaled - compensation;
        let preliminary = sum + summand;
        compensation = (preliminary - sum) - summand;
        sum = preliminary;
    }
    Ok(Value::number(sum.sqrt() * largest))
}

/// `SplitMix64` over a seed from the host.
fn random(ctx: &mut Ctx<'_>, _: Args) -> Result<Value, Throw> {
    Ok(next_random(ctx))
}

pub(super) fn next_random(ctx: &mut Ctx<'_>) -> Value {
    if ctx.task.random == 0 {
        let mut seed = [0; 8];
        ctx.host.random(&mut seed);
        ctx.task.random = u64::from_le_bytes(seed) | 1;
    }
    ctx.task.random = ctx.task.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = ctx.task.random;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    Value::double((z >> 11) as f64 * (1.0 / (1u64 << 53) as f64))
}
