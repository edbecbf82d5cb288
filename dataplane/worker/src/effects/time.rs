//! Durations as scripts write them: milliseconds, or text such as `'30s'`.

use forebay_engine::ValueRef;

/// Longest duration that a script may name: 100 years.
const MILLIS_MAX: f64 = 100.0 * 365.25 * 86_400_000.0;

/// Milliseconds of a number or of text with a unit.
pub(crate) fn milliseconds(value: ValueRef<'_>) -> Result<u64, String> {
    if let Some(number) = value.as_f64() {
        return check(number);
    }
    match value.as_str() {
        Some(text) => parse(text),
        None => Err("expected milliseconds or a time such as '30s'".into()),
    }
}

fn check(millis: f64) -> Result<u64, String> {
    if !(0.0..=MILLIS_MAX).contains(&millis) {
        return Err(format!("{millis} is not a time from 0 to 100 years"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    let whole = millis.ceil() as u64;
    Ok(whole)
}

fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a time such as '250ms', '30s', '5m', '12h' or '7d'");
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let factor = match unit {
        "ms" => 1.0,
        "s" => 1e3,
        "m" | "min" => 60e3,
        "h" => 3600e3,
        "d" => 86_400e3,
        _ => return Err(wrong()),
    };
    check(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact_or_refused() {
        for (text, millis) in
            [("250ms", 250), ("30s", 30_000), ("1.5 s", 1500), ("5m", 300_000), ("2d", 172_800_000)]
        {
            assert_eq!(parse(text), Ok(millis), "{text}");
        }
        for text in ["", "s", "-1s", "1w", "1e300h", "nans", "10", "1s2"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
