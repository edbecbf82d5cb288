//! Numbers to text and back, where `ryu_js` (which prints the shortest form) isn't the answer:
//! digits after the point, other radixes, and what scripts may write for a number.

use super::text;

/// `Number::toString(radix)` for 2 <= radix <= 36. Digits of a fraction stop where they
/// tell the number from its neighbours, as V8 does it (ECMA-262 leaves it open).
#[must_use]
pub fn to_radix(value: f64, radix: u32) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    if !value.is_finite() || value == 0.0 || radix == 10 {
        return ryu_js::Buffer::new().format(value).to_owned();
    }
    let base = f64::from(radix);
    let magnitude = value.abs();
    let mut integer = magnitude.floor();
    let mut fraction = magnitude - integer;
    // Half the distance to the next number: digits below it say nothing.
    let mut delta = (0.5 * (magnitude.next_up() - magnitude)).max(f64::from_bits(1));
    let mut after: Vec<u8> = Vec::new();
    if fraction >= delta {
        loop {
            fraction *= base;
            delta *= base;
            let digit = small(fraction);
            after.push(digit);
            fraction -= f64::from(digit);
            if (fraction > 0.5 || (fraction == 0.5 && digit & 1 == 1)) && fraction + delta > 1.0 {
                // Round up, with carry.
                loop {
                    match after.pop() {
                        None => {
                            integer += 1.0;
                            break;
                        }
                        Some(d) if u32::from(d) + 1 < radix => {
                            after.push(d + 1);
                            break;
                        }
                        Some(_) => {}
                    }
                }
                break;
            }
            if fraction < delta {
                break;
            }
        }
    }
    let mut before: Vec<u8> = Vec::new();
    // Digits that the number doesn't tell from its neighbours are zeros.
    while integer / base >= 9_007_199_254_740_992.0 {
        integer /= base;
        before.push(0);
    }
    loop {
        let remainder = integer % base;
        before.push(small(remainder));
        integer = (integer - remainder) / base;
        if integer <= 0.0 {
            break;
        }
    }
    let mut out = String::with_capacity(before.len() + after.len() + 2);
    if value < 0.0 {
        out.push('-');
    }
    out.extend(before.iter().rev().map(|d| char::from(DIGITS[usize::from(*d)])));
    if !after.is_empty() {
        out.push('.');
        out.extend(after.iter().map(|d| char::from(DIGITS[usize::from(*d)])));
    }
    out
}

/// A digit: the integer part of something below 36.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= value < 36")]
fn small(value: f64) -> u8 {
    value as u8
}

/// Binary digits behind the point of a finite number: also its decimal ones.
fn fraction_digits(value: f64) -> usize {
    let bits = value.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32;
    let mantissa = bits & ((1 << 52) - 1);
    let (mantissa, exponent) =
        if exponent == 0 { (mantissa, -1074) } else { (mantissa | 1 << 52, exponent - 1075) };
    if mantissa == 0 {
        return 0;
    }
    let exponent = exponent + mantissa.trailing_zeros().cast_signed();
    usize::try_from(-exponent).unwrap_or(0)
}

/// Adds one to the last digit of digits that may have a point among them.
fn increment(digits: &str) -> String {
    let mut bytes = digits.as_bytes().to_vec();
    for byte in bytes.iter_mut().rev() {
        match *byte {
            b'.' => {}
            b'9' => *byte = b'0',
            _ => {
                *byte += 1;
                return String::from_utf8_lossy(&bytes).into_owned();
            }
        }
    }
    format!("1{}", String::from_utf8_lossy(&bytes))
}

/// `toFixed(digits)` of a finite number below 1e21, digits <= 100. Ties go away from
/// zero (ECMA-262 section 21.1.3.3: "let n be the larger").
#[must_use]
pub fn to_fixed(value: f64, digits: usize) -> String {
    let magnitude = value.abs();
    if let Some(text) = short_fixed(magnitude, digits) {
        return if value < 0.0 { format!("-{text}") } else { text };
    }
    let text = if fraction_digits(magnitude) == digits + 1 {
        // A tie: the exact digits end in 5, one behind the last that is wanted.
        let exact = format!("{magnitude:.*}", digits + 1);
        let cut = exact.len() - 1;
        increment(exact[..cut].trim_end_matches('.'))
    } else {
        format!("{magnitude:.digits$}")
    };
    if value < 0.0 { format!("-{text}") } else { text }
}

/// The same of numbers below 2^52 in exact integers: the mantissa times 10^digits, divided by a power of two.
fn short_fixed(magnitude: f64, digits: usize) -> Option<String> {
    let bits = magnitude.to_bits();
    let exponent = i32::try_from(bits >> 52).ok()? - 1075;
    if exponent >= 0 || digits > 22 {
        return None;
    }
    // Those without the leading bit are so small that they are 0 all the same.
    let mantissa = u128::from(bits & ((1 << 52) - 1) | 1 << 52);
    let scaled = mantissa * 10u128.pow(u32::try_from(digits).ok()?);
    let shift = exponent.unsigned_abs();
    // Ties go up; `scaled` is below 2^127.
    let rounded = if shift > 127 { 0 } else { (scaled + (1 << (shift - 1))) >> shift };
    let mut buffer = itoa::Buffer::new();
    let text = match u64::try_from(rounded) {
        Ok(small) => buffer.format(small),
        Err(_) => return None,
    };
    if digits == 0 {
        return Some(text.to_owned());
    }
    let mut out = String::with_capacity(text.len().max(digits + 1) + 1);
    for _ in text.len()..=digits {
        out.push('0');
    }
    out.push_str(text);
    out.insert(out.len() - digits, '.');
    Some(out)
}

/// `digits` significant decimal digits and the exponent of the first one; the number is
/// finite and not negative. Ties upwards.
fn significant(value: f64, digits: usize) -> (String, i32) {
    let split = |text: &str| {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        (mantissa.replace('.', ""), exponent.parse::<i32>().unwrap_or(0))
    };
    let (longer, exponent) = split(&format!("{value:.digits$e}"));
    if longer.ends_with('5') {
        // 767 digits are the most that a double has.
        let (exact, _) = split(&format!("{value:.780e}"));
        if exact.trim_end_matches('0').len() == digits + 1 {
            let mut rounded = increment(&longer[..digits]);
            let carried = rounded.len() > digits;
            rounded.truncate(digits);
            return (rounded, exponent + i32::from(carried));
        }
    }
    split(&format!("{value:.*e}", digits - 1))
}

fn sign_of(value: f64) -> &'static str {
    if value < 0.0 { "-" } else { "" }
}

fn exponential(sign: &str, digits: &str, exponent: i32) -> String {
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let plus = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{point}{rest}e{plus}{}", exponent.unsigned_abs())
}

/// The shortest digits that tell the number, and the exponent of the first one. (Rust's own
/// shortest form resolves ties between two equally short ones differently.)
fn shortest(value: f64) -> (String, i32) {
    let mut buffer = ryu_js::Buffer::new();
    let text = buffer.format_finite(value);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    if digits.is_empty() {
        return ("0".to_owned(), 0);
    }
    let zeros = all.len() - digits.len();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let first = i32::try_from(whole.len()).unwrap_or(0) - 1 - i32::try_from(zeros).unwrap_or(0) + exponent;
    (digits.trim_end_matches('0').to_owned(), first)
}

/// `toExponential(digits)` of a finite number, digits <= 100; without digits as many as it takes.
#[must_use]
pub fn to_exponential(value: f64, digits: Option<usize>) -> String {
    let magnitude = value.abs();
    let (text, exponent) = match digits {
        Some(digits) => significant(magnitude, digits + 1),
        None => shortest(magnitude),
    };
    exponential(sign_of(value), &text, exponent)
}

/// `toPrecision(precision)` of a finite number, 1 <= precision <= 100.
#[must_use]
pub fn to_precision(value: f64, precision: usize) -> String {
    let sign = sign_of(value);
    let (digits, exponent) = significant(value.abs(), precision);
    let places = i32::try_from(precision).unwrap_or(i32::MAX);
    if exponent < -6 || exponent >= places {
        return exponential(sign, &digits, exponent);
    }
    match usize::try_from(exponent) {
        Ok(e) if e + 1 == precision => format!("{sign}{digits}"),
        Ok(e) => format!("{sign}{}.{}", &digits[..=e], &digits[e + 1..]),
        Err(_) => format!("{sign}0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1)),
    }
}

/// Bytes of the longest decimal literal at the start: digits, a point, an exponent. No sign. 0 if none.
fn decimal_prefix(bytes: &[u8]) -> usize {
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let before = digits(0);
    let mut end = before;
    let mut any = before;
    if bytes.get(end) == Some(&b'.') {
        let after = digits(end + 1);
        any += after;
        if any > 0 {
            end += 1 + after;
        }
    }
    if any == 0 {
        return 0;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = bytes.get(end + 1 + sign..).map_or(0, |_| digits(end + 1 + sign));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    end
}

fn parse_decimal(bytes: &[u8]) -> f64 {
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

fn split_sign(bytes: &[u8]) -> (f64, &[u8]) {
    match bytes {
        [b'-', rest @ ..] => (-1.0, rest),
        [b'+', rest @ ..] => (1.0, rest),
        _ => (1.0, bytes),
    }
}

/// `parseFloat`.
#[must_use]
pub fn parse_float(source: &[u8]) -> f64 {
    let (sign, rest) = split_sign(text::trim_start(source));
    if rest.starts_with(b"Infinity") {
        return sign * f64::INFINITY;
    }
    match decimal_prefix(rest) {
        0 => f64::NAN,
        len => sign * parse_decimal(&rest[..len]),
    }
}

/// `parseInt`; `radix` as ToInt32 gave it, 0 for "not said".
#[must_use]
pub fn parse_int(source: &[u8], radix: i32) -> f64 {
    let (sign, mut rest) = split_sign(text::trim_start(source));
    let prefixed = matches!(rest, [b'0', b'x' | b'X', ..]);
    let radix = match radix {
        0 if prefixed => 16,
        0 => 10,
        2..=36 => radix.unsigned_abs(),
        _ => return f64::NAN,
    };
    if radix == 16 && prefixed {
        rest = &rest[2..];
    }
    let digits = rest.iter().take_while(|b| char::from(**b).is_digit(radix)).count();
    match digits {
        0 => f64::NAN,
        _ => sign * integer_of(&rest[..digits], radix),
    }
}

/// Digits of a radix as the nearest double.
fn integer_of(digits: &[u8], radix: u32) -> f64 {
    if radix == 10 {
        return parse_decimal(digits);
    }
    let value = |b: &u8| char::from(*b).to_digit(radix).unwrap_or(0);
    if !radix.is_power_of_two() {
        // In parts that fit into 32 bits, rounding once per part: what V8 does where ECMA-262 allows
        // an approximation.
        let (mut sum, mut part, mut multiplier) = (0.0, 0u32, 1u32);
        for digit in digits.iter().map(value) {
            if multiplier * radix > u32::MAX / 36 {
                sum = sum * f64::from(multiplier) + f64::from(part);
                (part, multiplier) = (0, 1);
            }
            part = part * radix + digit;
            multiplier *= radix;
        }
        return sum * f64::from(multiplier) + f64::from(part);
    }
    // Exact: 64 bits, an exponent, and whether anything was lost below.
    let bits = radix.trailing_zeros();
    let (mut kept, mut exponent, mut lost) = (0u64, 0i32, false);
    for digit in digits.iter().map(value) {
        for bit in (0..bits).rev().map(|i| u64::from(digit >> i & 1)) {
            if kept >> 63 == 0 {
                kept = kept << 1 | bit;
            } else {
                exponent = exponent.saturating_add(1);
                lost |= bit == 1;
            }
        }
    }
    // The lowest of 64 bits is far below the rounding position: it can carry "there is more".
    (kept | u64::from(lost)) as f64 * 2f64.powi(exponent)
}

/// StringToNumber (ECMA-262 section 7.1.4.1.1): what `Number(text)` and `+text` are.
#[must_use]
pub fn string_to_number(source: &[u8]) -> f64 {
    let trimmed = text::trim_end(text::trim_start(source));
    let radix = match trimmed {
        [] => return 0.0,
        [b'0', b'x' | b'X', ..] => 16,
        [b'0', b'o' | b'O', ..] => 8,
        [b'0', b'b' | b'B', ..] => 2,
        _ => 10,
    };
    if radix != 10 {
        let digits = &trimmed[2..];
        let all = !digits.is_empty() && digits.iter().all(|b| char::from(*b).is_digit(radix));
        return if all { integer_of(digits, radix) } else { f64::NAN };
    }
    let (sign, rest) = split_sign(trimmed);
    if rest == b"Infinity" {
        return sign * f64::INFINITY;
    }
    match decimal_prefix(rest) {
        0 => f64::NAN,
        len if len == rest.len() => sign * parse_decimal(rest),
        _ => f64::NAN,
    }
}

/// A sum of doubles without rounding but at its end: a fixed-point number of 2^-1074, in limbs of 32 bits that
/// carry late. Range: 2^31 addends of any size.
pub struct ExactSum {
    limbs: [i64; LIMBS],
    /// Numbers since the last carry.
    added: u32,
    infinities: (bool, bool),
    nan: bool,
    /// Only -0 so far, or nothing.
    minus_zero: bool,
}

/// Bits from 2^-1074 to 2^1024, and room for carries.
const LIMBS: usize = 68;

impl Default for ExactSum {
    fn default() -> Self {
        Self { limbs: [0; LIMBS], added: 0, infinities: (false, false), nan: false, minus_zero: true }
    }
}

impl ExactSum {
    /// Adds a number.
    #[expect(clippy::cast_possible_truncation, reason = "a limb is the low half")]
    pub fn add(&mut self, n: f64) {
        if !n.is_finite() {
            self.nan |= n.is_nan();
            self.infinities.0 |= n == f64::INFINITY;
            self.infinities.1 |= n == f64::NEG_INFINITY;
            return;
        }
        self.minus_zero &= n == 0.0 && n.is_sign_negative();
        let bits = n.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as usize;
        let fraction = bits & 0xf_ffff_ffff_ffff;
        // The value is `mantissa * 2^(shift - 1074)`.
        let (mantissa, shift) =
            if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        let sign = if n.is_sign_negative() { -1 } else { 1 };
        let wide = u128::from(mantissa) << (shift % 32);
        for part in 0..3 {
            let limb = (wide >> (32 * part)) as u32;
            self.limbs[shift / 32 + part] += sign * i64::from(limb);
        }
        self.added += 1;
        if self.added == 1 << 30 {
            self.carry();
        }
    }

    /// Brings all limbs but the last into 0..2^32.
    fn carry(&mut self) {
        self.added = 0;
        for at in 0..LIMBS - 1 {
            let carry = self.limbs[at] >> 32;
            self.limbs[at] &= 0xffff_ffff;
            self.limbs[at + 1] += carry;
        }
    }

    /// The sum, rounded once.
    #[must_use]
    pub fn total(mut self) -> f64 {
        if self.nan || (self.infinities.0 && self.infinities.1) {
            return f64::NAN;
        }
        if self.infinities.0 || self.infinities.1 {
            return if self.infinities.0 { f64::INFINITY } else { f64::NEG_INFINITY };
        }
        if self.minus_zero {
            return -0.0;
        }
        self.carry();
        let negative = self.limbs[LIMBS - 1] < 0;
        if negative {
            self.limbs.iter_mut().for_each(|l| *l = -*l);
            self.carry();
        }
        let Some(top) = self.limbs.iter().rposition(|l| *l != 0) else { return 0.0 };
        let bit = |at: usize| self.limbs[at / 32] >> (at % 32) & 1;
        let high = top * 32 + (63 - self.limbs[top].leading_zeros() as usize);
        // 53 bits from the highest on; below 2^-1022 fewer.
        let low = high.saturating_sub(52);
        let mut mantissa = (low..=high).rev().fold(0u64, |m, at| m << 1 | bit(at).cast_unsigned());
        if low > 0 && bit(low - 1) == 1 {
            let sticky = (0..low - 1).any(|at| bit(at) == 1);
            if sticky || mantissa & 1 == 1 {
                mantissa += 1;
            }
        }
        // `mantissa * 2^(low - 1074)`: as bits, the mantissa's top bit adds one to the exponent field.
        let value = if high > 2097 { f64::INFINITY } else { f64::from_bits(((low as u64) << 52) + mantissa) };
        if negative { -value } else { value }
    }
}

/// Rounds to the nearest half-precision number, ties to even (IEEE 754 binary16).
#[must_use]
pub fn f16_round(n: f64) -> f64 {
    if n.is_nan() || n.is_infinite() || n == 0.0 {
        return n;
    }
    let size = n.abs();
    if size >= 65520.0 {
        return f64::INFINITY.copysign(n);
    }
    // The distance of neighbours: 2^-24 below 2^-14, else 2^(exponent - 10).
    let exponent = ((size.to_bits() >> 52) as i32 - 1023).max(-14);
    let step = f64::from_bits(((exponent - 10 + 1023) as u64) << 52);
    ((size / step).round_ties_even() * step).copysign(n)
}
