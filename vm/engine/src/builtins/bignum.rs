//! Whole numbers of any size: BigInt and Decimal stand on it.
//!
//! A magnitude is a slice of 32-bit limbs, lowest first, no zero at the top; zero is
//! empty. An [`Int`] adds a sign. Schoolbook methods: the caller bounds sizes by
//! [`LIMBS_MAX`] and charges fuel for `cost` before it starts.
#![allow(clippy::cast_possible_truncation, reason = "ranges are tested before each cast")]

use std::cmp::Ordering;

/// Limbs of the largest number that a script can make: 65,536 bits. Beyond it: RangeError. The methods are quadratic
/// and none yields: a division or `toString` of a number of this size is what a core can be held up by (some ms).
pub const LIMBS_MAX: usize = 1 << 11;
/// Digits of the longest literal or text that is read as a number: fits into [`LIMBS_MAX`].
pub const DIGITS_MAX: usize = 19_700;

/// A whole number. Zero is never negative.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Int {
    /// Below zero.
    pub negative: bool,
    /// The magnitude, lowest limb first, without zeros at the top.
    pub limbs: Vec<u32>,
}

fn trim(limbs: &mut Vec<u32>) {
    while limbs.last() == Some(&0) {
        limbs.pop();
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
const fn low(wide: u64) -> u32 {
    wide as u32
}

/// Order of magnitudes.
#[must_use]
pub fn compare(a: &[u32], b: &[u32]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.iter().rev().cmp(b.iter().rev()))
}

/// a + b.
#[must_use]
pub fn add(a: &[u32], b: &[u32]) -> Vec<u32> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let mut out = Vec::with_capacity(long.len() + 1);
    let mut carry = 0u64;
    for (i, limb) in long.iter().enumerate() {
        let sum = u64::from(*limb) + u64::from(short.get(i).copied().unwrap_or(0)) + carry;
        out.push(low(sum));
        carry = sum >> 32;
    }
    if carry > 0 {
        out.push(low(carry));
    }
    out
}

/// a - b, where a >= b.
#[must_use]
pub fn sub(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut out = Vec::with_capacity(a.len());
    let mut borrow = 0i64;
    for (i, limb) in a.iter().enumerate() {
        let difference = i64::from(*limb) - i64::from(b.get(i).copied().unwrap_or(0)) - borrow;
        borrow = i64::from(difference < 0);
        out.push(low((difference + (borrow << 32)).cast_unsigned()));
    }
    trim(&mut out);
    out
}

/// a * b.
#[must_use]
pub fn mul(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut out = vec![0u32; a.len() + b.len()];
    for (i, x) in a.iter().enumerate() {
        let mut carry = 0u64;
        for (j, y) in b.iter().enumerate() {
            let sum = u64::from(*x) * u64::from(*y) + u64::from(out[i + j]) + carry;
            out[i + j] = low(sum);
            carry = sum >> 32;
        }
        out[i + b.len()] = low(carry);
    }
    trim(&mut out);
    out
}

/// Divides in place by a limb; the remainder.
pub fn div_small(a: &mut Vec<u32>, divisor: u32) -> u32 {
    let mut remainder = 0u64;
    for limb in a.iter_mut().rev() {
        let wide = remainder << 32 | u64::from(*limb);
        *limb = low(wide / u64::from(divisor));
        remainder = wide % u64::from(divisor);
    }
    trim(a);
    low(remainder)
}

/// Multiplies in place by a limb and adds one.
pub fn mul_add_small(a: &mut Vec<u32>, factor: u32, summand: u32) {
    let mut carry = u64::from(summand);
    for limb in a.iter_mut() {
        let wide = u64::from(*limb) * u64::from(factor) + carry;
        *limb = low(wide);
        carry = wide >> 32;
    }
    if carry > 0 {
        a.push(low(carry));
    }
}

/// Quotient, towards zero, and remainder of magnitudes; `b` is not zero (Knuth, TAOCP 2,
/// 4.3.1, algorithm D).
#[must_use]
pub fn div_rem(a: &[u32], b: &[u32]) -> (Vec<u32>, Vec<u32>) {
    if compare(a, b) == Ordering::Less {
        return (Vec::new(), a.to_vec());
    }
    if let [divisor] = b {
        let mut quotient = a.to_vec();
        let mut remainder = vec![div_small(&mut quotient, *divisor)];
        trim(&mut remainder);
        return (quotient, remainder);
    }
    let shift = b[b.len() - 1].leading_zeros() as usize;
    let b = shl(b, shift);
    let mut a = shl(a, shift);
    a.push(0);
    while a.len() < b.len() + 1 {
        a.push(0);
    }
    let n = b.len();
    let top = u64::from(b[n - 1]);
    let second = u64::from(b[n - 2]);
    let mut quotient = vec![0u32; a.len() - n];
    for j in (0..a.len() - n).rev() {
        let wide = u64::from(a[j + n]) << 32 | u64::from(a[j + n - 1]);
        let (mut digit, mut rest) = (wide / top, wide % top);
        while digit >> 32 != 0 || digit * second > (rest << 32 | u64::from(a[j + n - 2])) {
            digit -= 1;
            rest += top;
            if rest >> 32 != 0 {
                break;
            }
        }
        let (mut borrow, mut carry) = (0i64, 0u64);
        for (i, limb) in b.iter().enumerate() {
            let product = digit * u64::from(*limb) + carry;
            carry = product >> 32;
            let difference = i64::from(a[i + j]) - i64::from(low(product)) - borrow;
            borrow = i64::from(difference < 0);
            a[i + j] = low((difference + (borrow << 32)).cast_unsigned());
        }
        let difference = i64::from(a[j + n]) - carry.cast_signed() - borrow;
        a[j + n] = low(difference.cast_unsigned());
        if difference < 0 {
            digit -= 1;
            let mut carry = 0u64;
            for (i, limb) in b.iter().enumerate() {
                let sum = u64::from(a[i + j]) + u64::from(*limb) + carry;
                a[i + j] = low(sum);
                carry = sum >> 32;
            }
            a[j + n] = low(u64::from(a[j + n]) + carry);
        }
        quotient[j] = low(digit);
    }
    trim(&mut quotient);
    a.truncate(n);
    trim(&mut a);
    (quotient, shr(&a, shift).0)
}

/// a << bits.
#[must_use]
pub fn shl(a: &[u32], bits: usize) -> Vec<u32> {
    if a.is_empty() {
        return Vec::new();
    }
    let mut out = vec![0; bits / 32];
    let shift = bits % 32;
    let mut carry = 0u64;
    for limb in a {
        let wide = u64::from(*limb) << shift | carry;
        out.push(low(wide));
        carry = wide >> 32;
    }
    out.push(low(carry));
    trim(&mut out);
    out
}

/// a >> bits, and whether a bit that was set fell off.
#[must_use]
pub fn shr(a: &[u32], bits: usize) -> (Vec<u32>, bool) {
    let skip = (bits / 32).min(a.len());
    let shift = bits % 32;
    let mut lost = a[..skip].iter().any(|limb| *limb != 0);
    let kept = &a[skip..];
    if let Some(first) = kept.first() {
        lost |= first & ((1u32 << shift) - 1) != 0;
    }
    let mut out: Vec<u32> = (0..kept.len())
        .map(|i| low((u64::from(kept.get(i + 1).copied().unwrap_or(0)) << 32 | u64::from(kept[i])) >> shift))
        .collect();
    trim(&mut out);
    (out, lost)
}

/// Decimal digits (only digits) as a magnitude.
#[must_use]
pub fn from_digits(digits: &[u8], radix: u32) -> Vec<u32> {
    let mut out = Vec::new();
    // As many digits at once as fit into a limb.
    let mut group = 1;
    while u64::from(radix).pow(group + 1) <= u64::from(u32::MAX) {
        group += 1;
    }
    let first = digits.len() % group as usize;
    let mut push = |chunk: &[u8]| {
        let value = chunk.iter().fold(0u32, |sum, d| {
            sum.wrapping_mul(radix).wrapping_add(char::from(*d).to_digit(radix).unwrap_or(0))
        });
        mul_add_small(&mut out, radix.pow(u32::try_from(chunk.len()).unwrap_or(0)), value);
    };
    if first > 0 {
        push(&digits[..first]);
    }
    digits[first..].chunks(group as usize).for_each(push);
    trim(&mut out);
    out
}

/// The magnitude as digits.
#[must_use]
pub fn to_digits(limbs: &[u32], radix: u32) -> String {
    if limbs.is_empty() {
        return "0".to_owned();
    }
    let mut group = 1;
    while u64::from(radix).pow(group + 1) <= u64::from(u32::MAX) {
        group += 1;
    }
    let divisor = radix.pow(group);
    let mut rest = limbs.to_vec();
    let mut out = Vec::new();
    while !rest.is_empty() {
        let mut chunk = div_small(&mut rest, divisor);
        for _ in 0..group {
            out.push(char::from_digit(chunk % radix, radix).unwrap_or('0'));
            chunk /= radix;
        }
    }
    while out.last() == Some(&'0') {
        out.pop();
    }
    out.iter().rev().collect()
}

impl Int {
    fn new(negative: bool, limbs: Vec<u32>) -> Self {
        Self { negative: negative && !limbs.is_empty(), limbs }
    }

    /// Optional `-`, decimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(Self::new(digits.len() != text.len(), from_digits(digits.as_bytes(), 10)))
    }

    /// StringToBigInt (ECMA-262 section 7.1.14): white space around it, 0x 0o 0b, a sign only on decimals.
    #[must_use]
    pub fn parse_script(source: &[u8]) -> Option<Self> {
        let trimmed = super::text::trim_end(super::text::trim_start(source));
        let (negative, digits, radix) = match trimmed {
            [] => return Some(Self::default()),
            [b'0', b'x' | b'X', rest @ ..] => (false, rest, 16),
            [b'0', b'o' | b'O', rest @ ..] => (false, rest, 8),
            [b'0', b'b' | b'B', rest @ ..] => (false, rest, 2),
            [b'-', rest @ ..] => (true, rest, 10),
            [b'+', rest @ ..] => (false, rest, 10),
            rest => (false, rest, 10),
        };
        let good = !digits.is_empty()
            && digits.len() <= DIGITS_MAX
            && digits.iter().all(|b| char::from(*b).is_digit(radix));
        good.then(|| Self::new(negative, from_digits(digits, radix)))
    }

    /// As digits, with `-` below zero.
    #[must_use]
    pub fn to_text(&self, radix: u32) -> String {
        let digits = to_digits(&self.limbs, radix);
        if self.negative { format!("-{digits}") } else { digits }
    }

    /// A double that is a whole number.
    #[must_use]
    pub fn from_f64(value: f64) -> Option<Self> {
        if !value.is_finite() || value.fract() != 0.0 {
            return None;
        }
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as usize;
        if exponent == 0 {
            return Some(Self::default());
        }
        let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
        let limbs = [low(mantissa), low(mantissa >> 32)];
        let limbs =
            if exponent >= 1075 { shl(&limbs, exponent - 1075) } else { shr(&limbs, 1075 - exponent).0 };
        Some(Self::new(value < 0.0, limbs))
    }

    /// The nearest double, ties to even.
    #[must_use]
    pub fn to_f64(&self) -> f64 {
        let bits = self.bits();
        let magnitude = if bits <= 64 {
            let at = |i: usize| u64::from(self.limbs.get(i).copied().unwrap_or(0));
            (at(1) << 32 | at(0)) as f64
        } else if bits > 1024 {
            f64::INFINITY
        } else {
            let (top, lost) = shr(&self.limbs, bits - 64);
            let kept = u64::from(top[1]) << 32 | u64::from(top[0]) | u64::from(lost);
            // Two factors: 2^960 is a double, the product overflows to infinity as it should.
            kept as f64 * 2f64.powi(i32::try_from(bits - 64).unwrap_or(i32::MAX))
        };
        if self.negative { -magnitude } else { magnitude }
    }

    /// An integer of 64 bits.
    #[must_use]
    pub fn from_i64(value: i64) -> Self {
        let magnitude = value.unsigned_abs();
        let mut limbs = vec![low(magnitude), low(magnitude >> 32)];
        trim(&mut limbs);
        Self::new(value < 0, limbs)
    }

    /// The value, if it fits.
    #[must_use]
    pub fn to_i64(&self) -> Option<i64> {
        let at = |i: usize| u64::from(self.limbs.get(i).copied().unwrap_or(0));
        if self.limbs.len() > 2 {
            return None;
        }
        let magnitude = i128::from(at(1) << 32 | at(0));
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }

    /// Bits of the magnitude.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.limbs.last().map_or(0, |top| self.limbs.len() * 32 - top.leading_zeros() as usize)
    }

    /// Zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.limbs.is_empty()
    }

    /// -self.
    #[must_use]
    pub fn neg(&self) -> Self {
        Self::new(!self.negative, self.limbs.clone())
    }

    /// self + other.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        if self.negative == other.negative {
            return Self::new(self.negative, add(&self.limbs, &other.limbs));
        }
        match compare(&self.limbs, &other.limbs) {
            Ordering::Less => Self::new(other.negative, sub(&other.limbs, &self.limbs)),
            _ => Self::new(self.negative, sub(&self.limbs, &other.limbs)),
        }
    }

    /// self - other.
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        self.add(&other.neg())
    }

    /// self * other.
    #[must_use]
    pub fn mul(&self, other: &Self) -> Self {
        Self::new(self.negative != other.negative, mul(&self.limbs, &other.limbs))
    }

    /// Quotient towards zero and remainder with the sign of self; None if other is zero.
    #[must_use]
    pub fn div_rem(&self, other: &Self) -> Option<(Self, Self)> {
        if other.is_zero() {
            return None;
        }
        let (quotient, remainder) = div_rem(&self.limbs, &other.limbs);
        Some((Self::new(self.negative != other.negative, quotient), Self::new(self.negative, remainder)))
    }

    /// self to the power of `exponent`; None if it would be larger than [`LIMBS_MAX`].
    #[must_use]
    pub fn pow(&self, exponent: &Self) -> Option<Self> {
        if exponent.is_zero() {
            return Some(Self::from_i64(1));
        }
        let odd = exponent.limbs[0] & 1 == 1;
        if self.bits() <= 1 {
            return Some(Self::new(self.negative && odd, self.limbs.clone()));
        }
        let mut count = usize::try_from(exponent.to_i64()?).ok()?;
        if (self.bits() - 1).checked_mul(count)? > LIMBS_MAX * 32 {
            return None;
        }
        let (mut result, mut square) = (Self::from_i64(1), self.clone());
        loop {
            if count & 1 == 1 {
                result = result.mul(&square);
            }
            count >>= 1;
            if count == 0 {
                return Some(result);
            }
            square = square.mul(&square);
        }
    }

    /// self << bits (>> where negative, towards minus infinity); None beyond [`LIMBS_MAX`].
    #[must_use]
    pub fn shift(&self, bits: i64) -> Option<Self> {
        let count = usize::try_from(bits.unsigned_abs()).unwrap_or(usize::MAX);
        if bits >= 0 {
            if self.is_zero() {
                return Some(self.clone());
            }
            let fits = self.bits().checked_add(count).is_some_and(|sum| sum <= LIMBS_MAX * 32);
            return fits.then(|| Self::new(self.negative, shl(&self.limbs, count)));
        }
        let (limbs, lost) = shr(&self.limbs, count);
        let shifted = Self::new(self.negative, limbs);
        if self.negative && lost { Some(shifted.sub(&Self::from_i64(1))) } else { Some(shifted) }
    }

    /// A bitwise operation on two's complement of endless width.
    #[must_use]
    pub fn bitwise(&self, other: &Self, op: impl Fn(u32, u32) -> u32) -> Self {
        let len = self.limbs.len().max(other.limbs.len()) + 1;
        let (a, b) = (self.twos_complement(len), other.twos_complement(len));
        let mut out: Vec<u32> = a.iter().zip(&b).map(|(x, y)| op(*x, *y)).collect();
        let negative = out[len - 1] >> 31 == 1;
        if negative {
            negate(&mut out);
        }
        trim(&mut out);
        Self::new(negative, out)
    }

    fn twos_complement(&self, len: usize) -> Vec<u32> {
        let mut limbs = self.limbs.clone();
        limbs.resize(len, 0);
        if self.negative {
            negate(&mut limbs);
        }
        limbs
    }

    /// Order of the values.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => compare(&self.limbs, &other.limbs),
            (true, true) => compare(&other.limbs, &self.limbs),
        }
    }

    /// Order against a double; None for NaN.
    #[must_use]
    pub fn compare_f64(&self, other: f64) -> Option<Ordering> {
        if other.is_nan() {
            return None;
        }
        if other.is_infinite() {
            return Some(if other > 0.0 { Ordering::Less } else { Ordering::Greater });
        }
        let whole = other.trunc();
        let order = self.compare(&Self::from_f64(whole)?);
        Some(order.then_with(|| whole.partial_cmp(&other).unwrap_or(Ordering::Equal)))
    }
}

fn negate(limbs: &mut [u32]) {
    let mut carry = true;
    for limb in limbs {
        let (sum, over) = (!*limb).overflowing_add(u32::from(carry));
        *limb = sum;
        carry = over;
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "small test values")]
mod tests {
    use super::*;
    use forebay_base::rng::Rng;

    #[test]
    fn it_agrees_with_128_bits() {
        for seed in 0..20_000 {
            let mut rng = Rng::new(seed);
            let any = |rng: &mut Rng| {
                let shift = rng.below(127);
                let wide = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
                (wide >> 1).cast_signed() >> shift
            };
            let int = |v: i128| Int::parse(&v.to_string()).unwrap();
            let (a, b) = (any(&mut rng) >> 1, any(&mut rng) >> 1);
            let a = if rng.one_in(2) { -a } else { a };
            let b = if rng.one_in(2) { -b } else { b };
            let (x, y) = (int(a), int(b));
            let same = |found: Int, expect: i128, what: &str| {
                assert_eq!(found.to_text(10), expect.to_string(), "seed {seed} {what} {a} {b}");
            };
            same(x.add(&y), a + b, "+");
            same(x.sub(&y), a - b, "-");
            if let Some(product) = a.checked_mul(b) {
                same(x.mul(&y), product, "*");
            }
            if b != 0 {
                let (q, r) = x.div_rem(&y).unwrap();
                same(q.clone(), a / b, "/");
                same(r.clone(), a % b, "%");
                // Larger than 128 bits: the product comes back.
                let wide = x.mul(&y).mul(&x).add(&r);
                let (q, r) = wide.div_rem(&y).unwrap();
                assert_eq!(q.mul(&y).add(&r), wide, "seed {seed}");
            }
            same(x.bitwise(&y, |p, q| p & q), a & b, "&");
            same(x.bitwise(&y, |p, q| p | q), a | b, "|");
            same(x.bitwise(&y, |p, q| p ^ q), a ^ b, "^");
            same(x.shift(-3).unwrap(), a >> 3, ">>");
            assert_eq!(x.compare(&y), a.cmp(&b));
            assert_eq!(x.to_f64().to_bits(), (a as f64).to_bits(), "seed {seed} {a}");
            assert_eq!(Int::from_f64(a as f64).unwrap().to_text(10), (a as f64 as i128).to_string());
            assert_eq!(from_digits(to_digits(&x.limbs, 36).as_bytes(), 36), x.limbs);
        }
    }
}
