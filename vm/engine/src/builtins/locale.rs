//! What scripts ask of locales: `toLocaleString("de-DE")`, `localeCompare(b, "en", { numeric: true })`.
//!
//! There is no data about locales here (ECMA-402). Numbers and dates are written as in en-US and UTC, text is sorted by the
//! root order. Whoever asks for something else gets a RangeError that says so: an answer of another locale would be
//! a wrong one that nobody sees. Arguments are plain text and plain objects: no getter is called.

use crate::ctx::{Args, Ctx};
use crate::object::{Key, Keys, Own};
use crate::throw::Throw;
use crate::value::Value;

/// Languages whose order is the root order.
const ROOT_ORDER: [&str; 8] = ["en", "de", "fr", "it", "nl", "pt", "id", "ms"];

/// The text of a value that is one.
fn text(ctx: &Ctx<'_>, v: Value) -> Option<String> {
    v.is_string().then(|| String::from_utf8_lossy(ctx.heap.str_bytes(v)).into_owned())
}

/// The locale that argument `at` asks for: the first one of a list.
pub(crate) fn wanted(ctx: &mut Ctx<'_>, a: Args, at: usize) -> Result<Option<String>, Throw> {
    let mut v = ctx.arg(a, at);
    if v.is_object() {
        v = ctx.mem.get_plain(v.as_ref(), Key::Index(0))?;
    }
    if v.is_undefined() {
        return Ok(None);
    }
    match text(ctx, v) {
        Some(locale) => Ok(Some(locale)),
        None => Err(Throw::type_error("Incorrect locale information provided")),
    }
}

/// Options of argument `at` that are set, by name.
fn options(ctx: &mut Ctx<'_>, a: Args, at: usize) -> Result<Vec<(String, Value)>, Throw> {
    let v = ctx.arg(a, at);
    if v.is_undefined() {
        return Ok(Vec::new());
    }
    if !v.is_object() {
        return Err(Throw::type_error("options must be an object"));
    }
    let mut keys = Vec::new();
    ctx.mem.own_keys(v.as_ref(), Keys { strings: true, symbols: false, only_enumerable: true }, &mut keys)?;
    let mut set = Vec::new();
    for key in keys {
        let Key::Atom(atom) = key else { continue };
        let Some(name) = text(ctx, atom) else { continue };
        match ctx.get_own(v.as_ref(), key)? {
            Own::Data(value, _) if value.is_undefined() => {}
            Own::Data(value, _) => set.push((name, value)),
            Own::Accessor(..) => return Err(Throw::type_error(format!("the option {name} is a getter"))),
            Own::None => {}
        }
    }
    Ok(set)
}

fn no_locale(locale: &str, known: &str) -> Throw {
    Throw::range_error(format!("the locale {locale:?} isn't known here, only {known}"))
}

fn no_option(ctx: &mut Ctx<'_>, name: &str, value: Value, known: &str) -> Result<Throw, Throw> {
    let value = ctx.mem.show(value)?;
    Ok(Throw::range_error(format!("the option {name}: {value} isn't known here, only {known}")))
}

/// Refuses what isn't written as in en-US.
fn only_american(ctx: &mut Ctx<'_>, a: Args) -> Result<(), Throw> {
    match wanted(ctx, a, 0)? {
        Some(locale) if !["en", "en-us"].contains(&&*locale.to_ascii_lowercase()) => {
            Err(no_locale(&locale, "en-US"))
        }
        _ => Ok(()),
    }
}

/// Arguments of a date's `toLocaleString` and its siblings.
pub(crate) fn check_date(ctx: &mut Ctx<'_>, a: Args) -> Result<(), Throw> {
    only_american(ctx, a)?;
    for (name, value) in options(ctx, a, 1)? {
        let is_utc = text(ctx, value)
            .is_some_and(|zone| ["utc", "etc/utc", "gmt"].contains(&&*zone.to_ascii_lowercase()));
        if name != "timeZone" || !is_utc {
            return Err(no_option(ctx, &name, value, "timeZone: \"UTC\"")?);
        }
    }
    Ok(())
}

/// How a number is written.
pub(crate) struct NumberForm {
    /// Fewest digits behind the point.
    pub(crate) least: usize,
    /// Most digits behind the point.
    pub(crate) most: usize,
    /// Commas between thousands.
    pub(crate) groups: bool,
}

/// Arguments of a number's `toLocaleString`.
pub(crate) fn number_form(ctx: &mut Ctx<'_>, a: Args) -> Result<NumberForm, Throw> {
    only_american(ctx, a)?;
    let (mut least, mut most, mut groups) = (None, None, true);
    for (name, value) in options(ctx, a, 1)? {
        let digits = value.as_number().filter(|n| n.fract() == 0.0 && (0.0..=20.0).contains(n));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, 0 to 20")]
        let digits = digits.map(|n| n as usize);
        match (&*name, digits) {
            ("minimumFractionDigits", Some(n)) => least = Some(n),
            ("maximumFractionDigits", Some(n)) => most = Some(n),
            ("useGrouping", _) if value == Value::bool(true) || value == Value::bool(false) => {
                groups = value == Value::bool(true);
            }
            ("style", _) if text(ctx, value).as_deref() == Some("decimal") => {}
            _ => {
                let known = "minimumFractionDigits and maximumFractionDigits from 0 to 20, useGrouping: true or false";
                return Err(no_option(ctx, &name, value, known)?);
            }
        }
    }
    // ECMA-402 SetNumberFormatDigitOptions: 0 to 3 for a decimal number, and each gives way to the other.
    let (least, most) = match (least, most) {
        (None, None) => (0, 3),
        (Some(least), None) => (least, least.max(3)),
        (None, Some(most)) => (0, most),
        (Some(least), Some(most)) => (least, most),
    };
    if least > most {
        return Err(Throw::range_error("minimumFractionDigits is greater than maximumFractionDigits"));
    }
    Ok(NumberForm { least, most, groups })
}

/// `1234567` as `1,234,567`.
pub(crate) fn group(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.char_indices() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What two texts are compared by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Order {
    /// Accents make a difference.
    pub(crate) accents: bool,
    /// So does the case of letters.
    pub(crate) case: bool,
    /// Runs of digits are numbers: 2 before 10.
    pub(crate) numeric: bool,
}

impl Order {
    /// Without options.
    pub(crate) const ROOT: Self = Self { accents: true, case: true, numeric: false };
}

/// Arguments 1 and 2 of `localeCompare`.
pub(crate) fn order(ctx: &mut Ctx<'_>, a: Args) -> Result<Order, Throw> {
    let mut order = Order::ROOT;
    if ctx.arg(a, 1).is_undefined() && ctx.arg(a, 2).is_undefined() {
        return Ok(order);
    }
    if let Some(locale) = wanted(ctx, a, 1)? {
        let lower = locale.to_ascii_lowercase();
        let language = lower.split('-').next().unwrap_or("");
        if !ROOT_ORDER.contains(&language) || lower.contains("-u-") || lower == "fr-ca" {
            return Err(no_locale(&locale, "those that sort by the root order: en, de, fr, it, nl, pt"));
        }
    }
    for (name, value) in options(ctx, a, 2)? {
        let said = text(ctx, value);
        match (&*name, said.as_deref()) {
            ("sensitivity", Some("base")) => (order.accents, order.case) = (false, false),
            ("sensitivity", Some("accent")) => (order.accents, order.case) = (true, false),
            ("sensitivity", Some("case")) => (order.accents, order.case) = (false, true),
            ("sensitivity", Some("variant"))
            | ("usage", Some("sort"))
            | ("caseFirst", Some("lower" | "false")) => {}
            ("numeric", None) if value == Value::bool(true) => order.numeric = true,
            ("numeric" | "ignorePunctuation", None) if value == Value::bool(false) => {}
            _ => {
                let known = "sensitivity: base, accent, case or variant, numeric: true or false";
                return Err(no_option(ctx, &name, value, known)?);
            }
        }
    }
    Ok(order)
}

/// Arguments of `toLocaleLowerCase` and `toLocaleUpperCase`: three languages have letters of their own.
pub(crate) fn check_case(ctx: &mut Ctx<'_>, a: Args) -> Result<(), Throw> {
    match wanted(ctx, a, 0)? {
        Some(locale) => {
            let lower = locale.to_ascii_lowercase();
            if ["tr", "az", "lt"].contains(&lower.split('-').next().unwrap_or("")) {
                return Err(no_locale(&locale, "those without letters of their own"));
            }
            Ok(())
        }
        None => Ok(()),
    }
}
