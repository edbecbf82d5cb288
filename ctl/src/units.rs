//! Durations and sizes as people write them: `"30s"`, `"250ms"`, `"64MiB"`.
//! Shared by `forebay.toml` and the command line. A duration always has a unit;
//! a size may be a plain number of bytes.

use std::time::Duration;

const DURATION_UNITS: &[(&str, u64)] = &[
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];

const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Parses `"30s"`, `"1.5s"`, `"250ms"`, `"100us"`, `"5m"`, `"1h"`, `"7d"`.
///
/// # Errors
/// A sentence that says what a duration looks like, or that it is out of range
/// (more than 584 years of nanoseconds).
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let Some(&(_, nanos)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(if unit.is_empty() && !number.is_empty() {
            format!("a duration needs a unit: \"{number}s\" or \"{number}ms\"")
        } else {
            "not a duration; write a number and one of us, ms, s, m, h, d, as in \"30s\"".to_owned()
        });
    };
    scale(number, nanos).map(Duration::from_nanos).ok_or_else(|| "not a duration, or out of range".to_owned())
}

/// Parses `"64MiB"`, `"1.5GiB"`, `"16KiB"`, `"10MB"` (decimal) or `"4096"`.
///
/// # Errors
/// A sentence that says what a size looks like, or that it is out of range.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let bytes = if unit.is_empty() {
        1
    } else {
        let Some(&(_, bytes)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(
                "not a size; write a number and one of B, KiB, MiB, GiB, kB, MB, GB, as in \"64MiB\""
                    .to_owned(),
            );
        };
        bytes
    };
    scale(number, bytes).ok_or_else(|| "not a size, or out of range".to_owned())
}

/// A size in the largest binary unit that divides it: `64MiB`, `1000B`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// Number and unit; whitespace between them is allowed.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..at], text[at..].trim_start())
}

/// `number` times `unit`, exactly: a fraction that isn't whole in the unit is cut.
fn scale(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let scaled = u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit);
    let power = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    whole.checked_add(u64::try_from(scaled / power).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, nanos: Option<u128>| {
            assert_eq!(duration(text).ok().map(|d| d.as_nanos()), nanos, "{text}");
        };
        check("30s", Some(30_000_000_000));
        check("1.5s", Some(1_500_000_000));
        check("250ms", Some(250_000_000));
        check("100us", Some(100_000));
        check("5m", Some(300_000_000_000));
        check("7 d", Some(7 * 86_400_000_000_000));
        check("0s", Some(0));
        for bad in
            ["", "30", "s", "-1s", "1.s", ".5s", "1..2s", "30S", "30 seconds", "99999999999999d", "1s2"]
        {
            check(bad, None);
        }
        assert!(duration("30").unwrap_err().contains("\"30s\""));
    }

    #[test]
    fn sizes() {
        let check = |text: &str, bytes: Option<u64>| assert_eq!(size(text).ok(), bytes, "{text}");
        check("64MiB", Some(64 << 20));
        check("1.5GiB", Some(3 << 29));
        check("4096", Some(4096));
        check("10MB", Some(10_000_000));
        check("12 KiB", Some(12 << 10));
        for bad in ["", "MiB", "-1", "64mib", "64M", "1e3", "99999999999GiB"] {
            check(bad, None);
        }
        assert_eq!(show_size(64 << 20), "64MiB");
        assert_eq!(show_size(1000), "1000B");
        assert_eq!(show_size(0), "0B");
    }
}
