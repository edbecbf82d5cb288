//! Days, times and their texts (ECMA-262 section 21.4). Local time is UTC in this
//! appliance: a server's answers must not depend on where it stands.
//!
//! A time value is milliseconds since 1970-01-01T00:00:00Z as a double, NaN if invalid;
//! `Date` objects keep microseconds beside it, which these functions ignore.

/// Milliseconds of a day.
pub const DAY_MS: f64 = 86_400_000.0;
/// The largest time value, either way.
pub const TIME_MAX: f64 = 8.64e15;

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A valid time value, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fields {
    /// Astronomical: 0 is 1 BC.
    pub year: i64,
    /// 0 to 11.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59.
    pub second: i64,
    /// 0 to 999.
    pub ms: i64,
    /// 0 (Sunday) to 6.
    pub weekday: i64,
}

/// Takes a finite time value apart.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "time values are whole and below 2^53")]
pub fn fields(time: f64) -> Fields {
    let time = time as i64;
    let days = time.div_euclid(86_400_000);
    let ms = time.rem_euclid(86_400_000);
    let (year, month, day) = civil(days);
    Fields {
        year,
        month,
        day,
        hour: ms / 3_600_000,
        minute: ms / 60_000 % 60,
        second: ms / 1000 % 60,
        ms: ms % 1000,
        weekday: (days + 4).rem_euclid(7),
    }
}

/// Year, month from 0, day of a day number (Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = (mp + 2) % 12;
    (yoe + era * 400 + i64::from(month < 2), month, day)
}

/// Day number of the first of a month (from 0) in a year.
fn first_of(year: i64, month: i64) -> i64 {
    let y = if month < 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * ((month + 10) % 12) + 2) / 5;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// MakeTime.
#[must_use]
pub fn make_time(hour: f64, minute: f64, second: f64, ms: f64) -> f64 {
    if !(hour.is_finite() && minute.is_finite() && second.is_finite() && ms.is_finite()) {
        return f64::NAN;
    }
    hour.trunc() * 3_600_000.0 + minute.trunc() * 60_000.0 + second.trunc() * 1000.0 + ms.trunc()
}

/// MakeDay: the day number; months and days beyond their range carry over.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "bounded before")]
pub fn make_day(year: f64, month: f64, date: f64) -> f64 {
    if !(year.is_finite() && month.is_finite() && date.is_finite()) {
        return f64::NAN;
    }
    let (year, month) = (year.trunc(), month.trunc());
    let year = year + (month / 12.0).floor();
    if year.abs() > 400_000.0 {
        return f64::NAN;
    }
    let month = month.rem_euclid(12.0);
    first_of(year as i64, month as i64) as f64 + date.trunc() - 1.0
}

/// MakeDate.
#[must_use]
pub fn make_date(day: f64, time: f64) -> f64 {
    let date = day * DAY_MS + time;
    if date.is_finite() { date } else { f64::NAN }
}

/// TimeClip.
#[must_use]
pub fn time_clip(time: f64) -> f64 {
    if time.abs() <= TIME_MAX { time.trunc() + 0.0 } else { f64::NAN }
}

/// The year that a two-digit one means to the constructor.
#[must_use]
pub fn full_year(year: f64) -> f64 {
    let whole = year.trunc();
    if (0.0..=99.0).contains(&whole) { 1900.0 + whole } else { year }
}

/// `toISOString` of a finite time value.
#[must_use]
pub fn to_iso(time: f64) -> String {
    let f = fields(time);
    let year = match f.year {
        0..=9999 => format!("{:04}", f.year),
        y => format!("{}{:06}", if y < 0 { '-' } else { '+' }, y.abs()),
    };
    let Fields { month, day, hour, minute, second, ms, .. } = f;
    format!("{year}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z", month + 1)
}

/// The same with the microseconds beyond the millisecond, where there are any: what JSON says.
#[must_use]
pub fn to_iso_micros(time: f64, micros: f64) -> String {
    let mut text = to_iso(time);
    if (1.0..1000.0).contains(&micros) {
        text.pop();
        text.push_str(&format!("{:03}Z", micros.trunc()));
    }
    text
}

fn name<'a>(names: &[&'a str], index: i64) -> &'a str {
    usize::try_from(index).ok().and_then(|i| names.get(i)).copied().unwrap_or("")
}

/// At least four digits, a sign before it where negative.
fn year_text(year: i64) -> String {
    format!("{}{:04}", if year < 0 { "-" } else { "" }, year.abs())
}

/// `toDateString` of a finite time value.
#[must_use]
pub fn to_date_string(time: f64) -> String {
    let f = fields(time);
    let (weekday, month) = (name(&DAYS, f.weekday), name(&MONTHS, f.month));
    format!("{weekday} {month} {:02} {}", f.day, year_text(f.year))
}

/// `toTimeString` of a finite time value.
#[must_use]
pub fn to_time_string(time: f64) -> String {
    let f = fields(time);
    format!("{:02}:{:02}:{:02} GMT+0000 (Coordinated Universal Time)", f.hour, f.minute, f.second)
}

/// `toUTCString` of a finite time value.
#[must_use]
pub fn to_utc_string(time: f64) -> String {
    let f = fields(time);
    let (weekday, month) = (name(&DAYS, f.weekday), name(&MONTHS, f.month));
    let year = year_text(f.year);
    format!("{weekday}, {:02} {month} {year} {:02}:{:02}:{:02} GMT", f.day, f.hour, f.minute, f.second)
}

/// `toLocaleDateString`: the en-US form.
#[must_use]
pub fn to_locale_date(time: f64) -> String {
    let f = fields(time);
    format!("{}/{}/{}", f.month + 1, f.day, f.year)
}

/// `toLocaleTimeString`: the en-US form.
#[must_use]
pub fn to_locale_time(time: f64) -> String {
    let f = fields(time);
    let half = if f.hour < 12 { "AM" } else { "PM" };
    format!("{}:{:02}:{:02} {half}", (f.hour + 11) % 12 + 1, f.minute, f.second)
}

/// `Date.parse`: the ISO format, else the forms that people write (what V8 takes, as far as
/// it is sane). NaN where it is neither.
#[must_use]
pub fn parse(text: &str) -> f64 {
    let text = text.trim();
    parse_iso(text.as_bytes()).unwrap_or_else(|| parse_common(text).unwrap_or(f64::NAN))
}

/// Reads from the front of bytes.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    /// Exactly `count` digits.
    fn digits(&mut self, count: usize) -> Option<f64> {
        let digits = self.0.get(..count)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.0 = &self.0[count..];
        Some(digits.iter().fold(0.0, |sum, d| sum * 10.0 + f64::from(d - b'0')))
    }

    /// Milliseconds after the point: three digits count, the others are dropped.
    fn fraction(&mut self) -> Option<f64> {
        let count = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        let ms = (0..3).fold(0.0, |sum, i| sum * 10.0 + digits.get(i).map_or(0.0, |d| f64::from(d - b'0')));
        (count > 0).then_some(ms)
    }
}

/// The Date Time String Format (ECMA-262 section 21.4.1.32); a space for `T` is left to the
/// other parser.
fn parse_iso(bytes: &[u8]) -> Option<f64> {
    let mut s = Scan(bytes);
    let year = if s.eat(b'+') {
        s.digits(6)?
    } else if s.eat(b'-') {
        let year = s.digits(6)?;
        if year == 0.0 {
            return Some(f64::NAN);
        }
        -year
    } else {
        s.digits(4)?
    };
    let (mut month, mut day) = (1.0, 1.0);
    if s.eat(b'-') {
        month = s.digits(2)?;
        if s.eat(b'-') {
            day = s.digits(2)?;
        }
    }
    let (mut hour, mut minute, mut second, mut ms, mut offset) = (0.0, 0.0, 0.0, 0.0, 0.0);
    if s.eat(b'T') || s.eat(b't') {
        hour = s.digits(2)?;
        if !s.eat(b':') {
            return None;
        }
        minute = s.digits(2)?;
        if s.eat(b':') {
            second = s.digits(2)?;
            if s.eat(b'.') || s.eat(b',') {
                ms = s.fraction()?;
            }
        }
        if !s.eat(b'Z') && !s.eat(b'z') && !s.0.is_empty() {
            let sign = if s.eat(b'+') {
                1.0
            } else if s.eat(b'-') {
                -1.0
            } else {
                return None;
            };
            let hours = s.digits(2)?;
            s.eat(b':');
            let minutes = s.digits(2)?;
            if hours > 23.0 || minutes > 59.0 {
                return None;
            }
            offset = sign * (hours * 60.0 + minutes);
        }
    }
    let midnight = hour == 24.0 && minute == 0.0 && second == 0.0 && ms == 0.0;
    let good = s.0.is_empty()
        && (1.0..=12.0).contains(&month)
        // As V8: the 31st of any month carries over.
        && (1.0..=31.0).contains(&day)
        && (hour <= 23.0 || midnight)
        && minute <= 59.0
        && second <= 59.0;
    if !good {
        return if s.0.is_empty() { Some(f64::NAN) } else { None };
    }
    let time = make_time(hour, minute, second, ms) - offset * 60_000.0;
    Some(time_clip(make_date(make_day(year, month - 1.0, day), time)))
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Token<'a> {
    /// Value, how many digits.
    Number(f64, usize),
    Word(&'a str),
    Sign(char),
}

/// "Tue, 1 Feb 2022 10:00:00 GMT", "Feb 1, 2022", "2022/02/01 10:00 PM", "2022-02-01 10:00:00.5+02:00".
fn parse_common(text: &str) -> Option<f64> {
    let tokens = tokens(text)?;
    let mut dates: Vec<(f64, usize)> = Vec::new();
    let mut month: Option<(f64, usize)> = None;
    let mut time: Option<[f64; 4]> = None;
    let (mut afternoon, mut offset) = (None, None);
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at] {
            Token::Number(value, digits) => {
                let is_colon = |i: usize| matches!(tokens.get(i), Some(Token::Sign(':')));
                if is_colon(at + 1) && time.is_none() {
                    let mut parts = [value, 0.0, 0.0, 0.0];
                    let mut filled = 1;
                    while filled < 3 && is_colon(at + 1) {
                        let Some(Token::Number(next, _)) = tokens.get(at + 2) else { return None };
                        parts[filled] = *next;
                        filled += 1;
                        at += 2;
                    }
                    if matches!(tokens.get(at + 1), Some(Token::Sign('.')))
                        && let Some(Token::Number(fraction, digits)) = tokens.get(at + 2)
                    {
                        let scale = 10f64.powi(3 - i32::try_from(*digits).ok()?);
                        parts[3] = (fraction * scale).trunc();
                        at += 2;
                    }
                    time = Some(parts);
                } else if dates.len() < 3 {
                    dates.push((value, digits));
                } else {
                    return None;
                }
            }
            Token::Word(word) => {
                let lower = word.to_ascii_lowercase();
                let prefix = lower.get(..3).unwrap_or(&lower);
                let known = |names: &[&str]| names.iter().position(|n| n.eq_ignore_ascii_case(prefix));
                if let Some(index) = known(&MONTHS) {
                    month = Some((index as f64, dates.len()));
                } else if lower == "am" || lower == "pm" {
                    afternoon = Some(lower == "pm");
                } else if matches!(&*lower, "z" | "utc" | "gmt" | "ut") {
                    offset = Some(0.0);
                } else if known(&DAYS).is_some() || (lower == "t" && !dates.is_empty()) {
                    // A weekday says nothing new; T stands between date and time.
                } else if let Some(hours) = zone(&lower) {
                    offset = Some(hours * 60.0);
                } else if time.is_some() || !dates.is_empty() || month.is_some() {
                    return None;
                }
            }
            Token::Sign(sign @ ('+' | '-')) if time.is_some() || offset.is_some() => {
                let Some(Token::Number(value, digits)) = tokens.get(at + 1) else { return None };
                at += 1;
                let mut minutes =
                    if *digits <= 2 { value * 60.0 } else { (value / 100.0).trunc() * 60.0 + value % 100.0 };
                if let (Some(Token::Sign(':')), Some(Token::Number(more, _))) =
                    (tokens.get(at + 1), tokens.get(at + 2))
                {
                    minutes = value * 60.0 + more;
                    at += 2;
                }
                offset = Some(if sign == '-' { -minutes } else { minutes });
            }
            Token::Sign('+' | ':') => return None,
            Token::Sign(_) => {}
        }
        at += 1;
    }
    let (year, month, day) = match (month, dates.as_slice()) {
        (Some((month, 0)), [day, year]) | (Some((month, 1)), [day, year]) if day.0 <= 31.0 => {
            (short_year(*year), month, day.0)
        }
        (Some((month, _)), [year, day]) => (short_year(*year), month, day.0),
        (Some((month, _)), [day]) if day.0 <= 31.0 => (2001.0, month, day.0),
        (Some((month, _)), [year]) => (short_year(*year), month, 1.0),
        (None, [year, month, day]) if year.1 >= 3 || year.0 > 31.0 => {
            (short_year(*year), month.0 - 1.0, day.0)
        }
        (None, [month, day, year]) => (short_year(*year), month.0 - 1.0, day.0),
        (None, [year, month]) if year.0 > 31.0 => (short_year(*year), month.0 - 1.0, 1.0),
        (None, [month, day]) => (2001.0, month.0 - 1.0, day.0),
        (None, [month]) if (1.0..=12.0).contains(&month.0) && time.is_none() => (2001.0, month.0 - 1.0, 1.0),
        (None, [year]) if year.0 > 31.0 && time.is_none() => (short_year(*year), 0.0, 1.0),
        _ => return None,
    };
    let [mut hour, minute, second, ms] = time.unwrap_or_default();
    if let Some(afternoon) = afternoon {
        if !(1.0..=12.0).contains(&hour) {
            return None;
        }
        hour = hour % 12.0 + if afternoon { 12.0 } else { 0.0 };
    }
    let midnight = hour == 24.0 && minute == 0.0 && second == 0.0 && ms == 0.0;
    let good = (0.0..=11.0).contains(&month)
        && (1.0..=31.0).contains(&day)
        && (hour <= 23.0 || midnight)
        && minute <= 59.0
        && second <= 59.0;
    let time = make_time(hour, minute, second, ms) - offset.unwrap_or(0.0) * 60_000.0;
    good.then(|| time_clip(make_date(make_day(year, month, day), time)))
}

/// Hours of the zones that RFC 2822 section 4.3 names.
fn zone(name: &str) -> Option<f64> {
    Some(match name {
        "edt" => -4.0,
        "est" | "cdt" => -5.0,
        "cst" | "mdt" => -6.0,
        "mst" | "pdt" => -7.0,
        "pst" => -8.0,
        _ => return None,
    })
}

/// 0 to 49 are of this century, 50 to 99 of the last.
fn short_year((year, digits): (f64, usize)) -> f64 {
    match year {
        y if digits > 2 || y > 99.0 => y,
        y if y < 50.0 => 2000.0 + y,
        y => 1900.0 + y,
    }
}

/// Comments in parentheses, commas and white space are skipped.
fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let (mut at, mut depth) = (0, 0usize);
    while at < bytes.len() {
        let run = |test: fn(&u8) -> bool| bytes[at..].iter().take_while(|b| test(b)).count();
        match bytes[at] {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            b'0'..=b'9' => {
                let len = run(u8::is_ascii_digit);
                if len > 9 {
                    return None;
                }
                tokens.push(Token::Number(text[at..at + len].parse().ok()?, len));
                at += len;
                continue;
            }
            b'a'..=b'z' | b'A'..=b'Z' => {
                let len = run(u8::is_ascii_alphabetic);
                tokens.push(Token::Word(&text[at..at + len]));
                at += len;
                continue;
            }
            // A year before 1, as `toString` writes it.
            b'-' if bytes[..at].ends_with(b" ")
                && bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count() >= 4
                && tokens.iter().any(|t| matches!(t, Token::Word(_)))
                && !tokens.contains(&Token::Sign(':')) =>
            {
                let len = 1 + bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
                tokens.push(Token::Number(text.get(at..at + len.min(9))?.parse().ok()?, len));
                at += len;
                continue;
            }
            b'+' | b'-' | b':' | b'.' | b'/' => tokens.push(Token::Sign(char::from(bytes[at]))),
            b',' | b' ' | b'\t' | b'\n' | b'\r' => {}
            _ => return None,
        }
        at += 1;
    }
    Some(tokens)
}
