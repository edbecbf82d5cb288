//! The Date field's text, made once per second (RFC 9110 section 5.6.7, IMF-fixdate).

use forebay_base::Timestamp;

/// `Sun, 06 Nov 1994 08:49:37 GMT`, kept until the second changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateCache {
    second: i64,
    text: [u8; 29],
    /// See [`DateCache::head_end`].
    head_end: [u8; HEAD_END_BYTES],
}

/// Digits of the gap in [`DateCache::head_end`]: bodies below 10 GB.
pub(crate) const LENGTH_DIGITS: usize = 10;
/// Bytes before that gap.
pub(crate) const LENGTH_AT: usize = 16;
const HEAD_END: &[u8] = b"Content-Length:           \r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";
const HEAD_END_BYTES: usize = HEAD_END.len();
const DATE_AT: usize = HEAD_END_BYTES - 29 - 4;

impl DateCache {
    /// The text of `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self::of(now.millis().div_euclid(1000))
    }

    fn of(second: i64) -> Self {
        let text = imf_fixdate(second);
        let mut head_end = [0; HEAD_END_BYTES];
        head_end.copy_from_slice(HEAD_END);
        head_end[DATE_AT..DATE_AT + text.len()].copy_from_slice(&text);
        Self { second, text, head_end }
    }

    /// Follows the clock: call it once per turn. Does nothing within the same second.
    #[inline]
    pub fn update(&mut self, now: Timestamp) {
        let second = now.millis().div_euclid(1000);
        if second != self.second {
            *self = Self::of(second);
        }
    }

    /// 29 ASCII bytes.
    #[must_use]
    #[inline]
    pub const fn as_bytes(&self) -> &[u8; 29] {
        &self.text
    }

    /// How most heads end: Content-Length with a gap of [`LENGTH_DIGITS`] blanks at [`LENGTH_AT`], Date, the empty line.
    #[inline]
    pub(crate) const fn head_end(&self) -> &[u8; HEAD_END_BYTES] {
        &self.head_end
    }
}

/// Years outside 0000 to 9999 show as the nearest of them: the form has four digits.
fn imf_fixdate(second: i64) -> [u8; 29] {
    const YEAR_0: i64 = -62_167_219_200;
    const YEAR_9999: i64 = 253_402_300_799;
    const DAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed";
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let second = second.clamp(YEAR_0, YEAR_9999);
    let (day, of_day) = (second.div_euclid(86_400), second.rem_euclid(86_400));

    // Days to civil date (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"): years start in March.
    let shifted = day + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 2 } else { march_month - 10 };
    let year = year_of_era + era * 400 + i64::from(month < 2);

    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    // 0 <= index: `rem_euclid` and the algorithm's ranges.
    let index = |value: i64| usize::try_from(value).unwrap_or(0);
    let weekday = index(day.rem_euclid(7)) * 3;
    text[..3].copy_from_slice(&DAYS[weekday..weekday + 3]);
    let name = index(month) * 3;
    text[8..11].copy_from_slice(&MONTHS[name..name + 3]);
    let mut two = |at: usize, value: i64| {
        text[at] = b'0' + (value / 10 % 10) as u8;
        text[at + 1] = b'0' + (value % 10) as u8;
    };
    two(5, day_of_month);
    two(12, year / 100);
    two(14, year % 100);
    two(17, of_day / 3600);
    two(20, of_day / 60 % 60);
    two(23, of_day % 60);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(second: i64, expect: &str) {
        let date = DateCache::new(Timestamp(second * 1_000_000 + 999_999));
        assert_eq!(std::str::from_utf8(date.as_bytes()), Ok(expect), "second {second}");
        let blanks = " ".repeat(LENGTH_DIGITS);
        let end = format!("Content-Length: {blanks}\r\nDate: {expect}\r\n\r\n");
        assert_eq!(std::str::from_utf8(date.head_end()), Ok(&*end));
        assert!(end[LENGTH_AT..].starts_with(&blanks));
    }

    #[test]
    fn dates() {
        check(0, "Thu, 01 Jan 1970 00:00:00 GMT");
        check(784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"); // RFC 9110's own example
        check(951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT");
        check(1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT");
        check(4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT");
        check(-1, "Wed, 31 Dec 1969 23:59:59 GMT");
        check(i64::MAX / 1_000_001, "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn the_text_changes_with_the_second() {
        let mut date = DateCache::new(Timestamp(0));
        date.update(Timestamp(999_999));
        assert_eq!(date, DateCache::new(Timestamp(0)));
        date.update(Timestamp(1_000_000));
        assert_eq!(&date.as_bytes()[17..25], b"00:00:01");
    }
}
