//! Days and microseconds as PostgreSQL writes them (ISO DateStyle, `postgres` IntervalStyle).

use std::fmt::Write;

/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
pub const EPOCH_DAYS: i64 = 10_957;
/// Microseconds from 1970-01-01T00:00:00Z to PostgreSQL's epoch.
pub const EPOCH_MICROS: i64 = EPOCH_DAYS * DAY_MICROS;
/// Microseconds of a day.
pub const DAY_MICROS: i64 = 86_400_000_000;

/// Year, month and day of a day counted from 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`). Year 0 is 1 BC.
#[must_use]
pub fn civil(days: i64) -> (i64, u8, u8) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
}

/// Appends `YYYY-MM-DD`, with ` BC` before year 1.
pub fn write_date(out: &mut String, days: i64) {
    let (year, month, day) = civil(days);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    let _ = write!(out, "{year:04}-{month:02}-{day:02}{era}");
}

/// Appends `HH:MM:SS` with the fraction's trailing zeros left out. 0 <= micros <= one day.
pub fn write_time(out: &mut String, micros: i64) {
    let seconds = micros / 1_000_000;
    let _ = write!(out, "{:02}:{:02}:", seconds / 3600, seconds / 60 % 60);
    write_seconds(out, (seconds % 60).unsigned_abs(), (micros % 1_000_000).unsigned_abs());
}

fn write_seconds(out: &mut String, seconds: u64, micros: u64) {
    let _ = write!(out, "{seconds:02}");
    if micros != 0 {
        let start = out.len() + 1;
        let _ = write!(out, ".{micros:06}");
        let trimmed = out.trim_end_matches('0').len().max(start);
        out.truncate(trimmed);
    }
}

/// Appends `YYYY-MM-DDTHH:MM:SS[.ffffff]Z` (RFC 3339; years beyond 9999 and before 1 as PostgreSQL reads them).
pub fn write_timestamp(out: &mut String, unix_micros: i64) {
    let days = unix_micros.div_euclid(DAY_MICROS);
    let (year, month, day) = civil(days);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T");
    write_time(out, unix_micros.rem_euclid(DAY_MICROS));
    out.push('Z');
    out.push_str(era);
}

/// Appends an interval as `1 year 2 mons -3 days +04:05:06.789` (the server's `EncodeInterval`,
/// `INTSTYLE_POSTGRES`).
pub fn write_interval(out: &mut String, months: i32, days: i32, micros: i64) {
    let mut empty = true;
    let mut before = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        let space = if empty { "" } else { " " };
        let plus = if before && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        let _ = write!(out, "{space}{plus}{value} {unit}{plural}");
        before = value < 0;
        empty = false;
    }
    if empty || micros != 0 {
        let space = if empty { "" } else { " " };
        let sign = if micros < 0 {
            "-"
        } else if before {
            "+"
        } else {
            ""
        };
        let micros = micros.unsigned_abs();
        let seconds = micros / 1_000_000;
        let _ = write!(out, "{space}{sign}{:02}:{:02}:", seconds / 3600, seconds / 60 % 60);
        write_seconds(out, seconds % 60, micros % 1_000_000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times() {
        let date = |days| {
            let mut out = String::new();
            write_date(&mut out, days);
            out
        };
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(EPOCH_DAYS + 59), "2000-02-29");
        assert_eq!(date(-719_528), "0001-01-01 BC");
        let stamp = |micros| {
            let mut out = String::new();
            write_timestamp(&mut out, micros);
            out
        };
        assert_eq!(stamp(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(stamp(1_500_000), "1970-01-01T00:00:01.5Z");
        assert!(stamp(i64::MAX).starts_with("294247-01-10T"));
        stamp(i64::MIN);
    }
}
