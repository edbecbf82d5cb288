//! Date. Local time is UTC (date.rs says why), so each local method is its UTC sibling.
//! A date from the clock or the database keeps microseconds beyond its millisecond;
//! `text()` and JSON show them, arithmetic and setters drop them.

use super::date::{self, DAY_MS};
use super::{Kind, Native};
use crate::ctx::{Args, Ctx};
use crate::heap::kind;
use crate::known::Helper;
use crate::mem::Mem;
use crate::throw::{Hint, Throw};
use crate::value::{Ref, Value};

const fn on(on: &'static str, name: &'static str, length: u8, call: super::NativeFn) -> Native {
    Native { on, name, length, call, kind: Kind::Method }
}

const fn method(name: &'static str, length: u8, call: super::NativeFn) -> Native {
    on("Date.prototype", name, length, call)
}

pub(crate) const NATIVES: &[Native] = &[
    Native { on: "", name: "Date", length: 7, call: construct, kind: Kind::Constructor("date") },
    on("Date", "UTC", 7, utc),
    on("Date", "now", 0, now),
    on("Date", "parse", 1, parse),
    method("getTime", 0, get_time),
    method("valueOf", 0, get_time),
    method("getTimezoneOffset", 0, |c, a| field(c, a, |_| 0)),
    method("getFullYear", 0, |c, a| field(c, a, |f| f.year)),
    method("getUTCFullYear", 0, |c, a| field(c, a, |f| f.year)),
    method("getMonth", 0, |c, a| field(c, a, |f| f.month)),
    method("getUTCMonth", 0, |c, a| field(c, a, |f| f.month)),
    method("getDate", 0, |c, a| field(c, a, |f| f.day)),
    method("getUTCDate", 0, |c, a| field(c, a, |f| f.day)),
    method("getDay", 0, |c, a| field(c, a, |f| f.weekday)),
    method("getUTCDay", 0, |c, a| field(c, a, |f| f.weekday)),
    method("getHours", 0, |c, a| field(c, a, |f| f.hour)),
    method("getUTCHours", 0, |c, a| field(c, a, |f| f.hour)),
    method("getMinutes", 0, |c, a| field(c, a, |f| f.minute)),
    method("getUTCMinutes", 0, |c, a| field(c, a, |f| f.minute)),
    method("getSeconds", 0, |c, a| field(c, a, |f| f.second)),
    method("getUTCSeconds", 0, |c, a| field(c, a, |f| f.second)),
    method("getMilliseconds", 0, |c, a| field(c, a, |f| f.ms)),
    method("getUTCMilliseconds", 0, |c, a| field(c, a, |f| f.ms)),
    method("setTime", 1, set_time),
    method("setMilliseconds", 1, |c, a| set(c, a, 6, 1)),
    method("setUTCMilliseconds", 1, |c, a| set(c, a, 6, 1)),
    method("setSeconds", 2, |c, a| set(c, a, 5, 2)),
    method("setUTCSeconds", 2, |c, a| set(c, a, 5, 2)),
    method("setMinutes", 3, |c, a| set(c, a, 4, 3)),
    method("setUTCMinutes", 3, |c, a| set(c, a, 4, 3)),
    method("setHours", 4, |c, a| set(c, a, 3, 4)),
    method("setUTCHours", 4, |c, a| set(c, a, 3, 4)),
    method("setDate", 1, |c, a| set(c, a, 2, 1)),
    method("setUTCDate", 1, |c, a| set(c, a, 2, 1)),
    method("setMonth", 2, |c, a| set(c, a, 1, 2)),
    method("setUTCMonth", 2, |c, a| set(c, a, 1, 2)),
    method("setFullYear", 3, |c, a| set(c, a, 0, 3)),
    method("setUTCFullYear", 3, |c, a| set(c, a, 0, 3)),
    method("toISOString", 0, to_iso_string),
    method("toString", 0, |c, a| print(c, a, to_text)),
    method("toDateString", 0, |c, a| print(c, a, date::to_date_string)),
    method("toTimeString", 0, |c, a| print(c, a, date::to_time_string)),
    method("toUTCString", 0, |c, a| print(c, a, date::to_utc_string)),
    method("toLocaleString", 0, |c, a| {
        print_locale(c, a, |t| format!("{}, {}", date::to_locale_date(t), date::to_locale_time(t)))
    }),
    method("toLocaleDateString", 0, |c, a| print_locale(c, a, date::to_locale_date)),
    method("toLocaleTimeString", 0, |c, a| print_locale(c, a, date::to_locale_time)),
    method("text", 0, text),
    Native { on: "", name: "dateSetParts", length: 4, call: date_set_parts, kind: Kind::Helper },
    Native { on: "", name: "dateJson", length: 1, call: date_json, kind: Kind::Helper },
];

impl Mem<'_> {
    /// A Date of a time value, with the microseconds beyond it.
    pub(crate) fn new_date(&mut self, time: f64, micros: i32) -> Result<Value, Throw> {
        let r = self.new_object_of(kind::DATE, self.local.known.date, 2)?;
        self.heap.set(r, 4, Value::number(time));
        self.heap.set(r, 5, Value::int(micros));
        Ok(r.object())
    }
}

fn this_date(ctx: &Ctx<'_>, a: Args) -> Result<Ref, Throw> {
    let v = ctx.this(a);
    if ctx.is_kind(v, kind::DATE) {
        Ok(v.as_ref())
    } else {
        Err(Throw::type_error("this is not a Date object."))
    }
}

fn time_of(ctx: &Ctx<'_>, date: Ref) -> f64 {
    ctx.heap.get(date, 4).as_number().unwrap_or(f64::NAN)
}

fn to_text(time: f64) -> String {
    format!("{} {}", date::to_date_string(time), date::to_time_string(time))
}

/// The clock, in microseconds.
fn clock(ctx: &Ctx<'_>) -> i64 {
    ctx.clock.wall.0
}

fn construct(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    if !a.construct {
        let text = to_text(clock(ctx).div_euclid(1000) as f64);
        return ctx.heap.new_string(text.as_bytes());
    }
    let made = match a.count {
        0 => {
            let now = clock(ctx).div_euclid(1000) as f64;
            ctx.mem.new_date(now, 0)
        }
        1 => {
            let v = ctx.arg(a, 0);
            if ctx.is_kind(v, kind::DATE) {
                let micros = ctx.heap.get(v.as_ref(), 5).as_int();
                let time = time_of(ctx, v.as_ref());
                let made = ctx.mem.new_date(time, micros)?;
                return ctx.made(a, made);
            }
            let v = ctx.primitive_arg(a, 0, Hint::Default)?;
            let time = if v.is_string() {
                let text = ctx.heap.to_text(v)?;
                parse_text(ctx, &text)
            } else {
                date::time_clip(ctx.to_number_primitive(v)?)
            };
            ctx.mem.new_date(time, 0)
        }
        _ => {
            let time = from_parts(ctx, a)?;
            ctx.mem.new_date(time, 0)
        }
    }?;
    ctx.made(a, made)
}

/// Longest text that `Date.parse` looks at, bytes.
const TEXT_BYTES_MAX: usize = 256;

fn parse_text(ctx: &mut Ctx<'_>, text: &str) -> f64 {
    ctx.heap.work += 16;
    if text.len() > TEXT_BYTES_MAX { f64::NAN } else { date::parse(text) }
}

/// Year, month, day, hours, minutes, seconds, milliseconds of the arguments.
fn from_parts(ctx: &mut Ctx<'_>, a: Args) -> Result<f64, Throw> {
    let mut parts = [f64::NAN, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
    for (i, part) in parts.iter_mut().enumerate().take(a.count.max(1)) {
        *part = ctx.num_arg(a, i)?;
    }
    let [year, month, day, hour, minute, second, ms] = parts;
    let day = date::make_day(date::full_year(year), month, day);
    Ok(date::time_clip(date::make_date(day, date::make_time(hour, minute, second, ms))))
}

fn utc(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::number(from_parts(ctx, a)?))
}

fn now(ctx: &mut Ctx<'_>, _: Args) -> Result<Value, Throw> {
    Ok(Value::number(clock(ctx).div_euclid(1000) as f64))
}

fn parse(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_arg(a, 0)?;
    let text = ctx.heap.to_text(s)?;
    Ok(Value::number(parse_text(ctx, &text)))
}

fn get_time(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let date = this_date(ctx, a)?;
    Ok(Value::number(time_of(ctx, date)))
}

fn field(ctx: &mut Ctx<'_>, a: Args, of: fn(date::Fields) -> i64) -> Result<Value, Throw> {
    let date = this_date(ctx, a)?;
    let time = time_of(ctx, date);
    Ok(if time.is_nan() { Value::NAN } else { Value::number(of(date::fields(time)) as f64) })
}

fn store(ctx: &mut Ctx<'_>, date: Ref, time: f64) -> Result<Value, Throw> {
    ctx.check_mutable(date)?;
    let time = Value::number(date::time_clip(time));
    ctx.heap.set(date, 4, time);
    ctx.heap.set(date, 5, Value::ZERO);
    Ok(time)
}

fn set_time(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let date = this_date(ctx, a)?;
    let time = ctx.num_arg(a, 0)?;
    store(ctx, date, time)
}

/// Sets parts from `first` on (0 year ... 6 milliseconds) to up to `most` arguments.
fn set(ctx: &mut Ctx<'_>, a: Args, first: usize, most: usize) -> Result<Value, Throw> {
    let date = this_date(ctx, a)?;
    let args: Vec<Value> = ctx.args(a).iter().copied().take(most).collect();
    if args.iter().any(|v| v.is_object()) {
        let script = ctx.local.known.helpers[Helper::DateSet as usize];
        let time = ctx.heap.get(date, 4);
        let mut all = vec![ctx.this(a), Value::from_usize(first), Value::from_usize(most), time];
        all.extend(args);
        return ctx.tail_call(script, Value::UNDEFINED, &all);
    }
    let mut given = Vec::with_capacity(most);
    for i in 0..a.count.clamp(1, most) {
        given.push(ctx.num_arg(a, i)?);
    }
    let time = time_of(ctx, date);
    set_parts(ctx, date, first, time, &given)
}

/// `dateSetParts(date, first, most, time, ...parts)`: what is left once the parts are numbers.
fn date_set_parts(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let date = ctx.arg(a, 0);
    if !ctx.is_kind(date, kind::DATE) {
        return Err(Throw::type_error("this is not a Date object."));
    }
    let first = ctx.arg(a, 1).as_index().unwrap_or(0) as usize;
    let time = ctx.arg(a, 3).as_number().unwrap_or(f64::NAN);
    let mut given = Vec::new();
    for i in 4..a.count {
        given.push(ctx.num_arg(a, i)?);
    }
    set_parts(ctx, date.as_ref(), first.min(6), time, &given)
}

fn set_parts(
    ctx: &mut Ctx<'_>,
    date: Ref,
    first: usize,
    mut time: f64,
    given: &[f64],
) -> Result<Value, Throw> {
    if time.is_nan() {
        // Only a year makes an invalid date valid (ECMA-262 section 21.4.4.21).
        if first > 0 {
            return Ok(Value::NAN);
        }
        time = 0.0;
    }
    let f = date::fields(time);
    let mut parts = [f.year, f.month, f.day, f.hour, f.minute, f.second, f.ms].map(|n| n as f64);
    for (part, new) in parts[first..].iter_mut().zip(given) {
        *part = *new;
    }
    let [year, month, day, hour, minute, second, ms] = parts;
    let day = if first <= 2 { date::make_day(year, month, day) } else { (time / DAY_MS).floor() };
    store(ctx, date, date::make_date(day, date::make_time(hour, minute, second, ms)))
}

fn to_iso_string(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let date = this_date(ctx, a)?;
    let time = time_of(ctx, date);
    if time.is_nan() {
        return Err(Throw::range_error("Invalid time value"));
    }
    ctx.heap.new_string(date::to_iso(time).as_bytes())
}

fn print_locale(ctx: &mut Ctx<'_>, a: Args, form: fn(f64) -> String) -> Result<Value, Throw> {
    this_date(ctx, a)?;
    super::locale::check_date(ctx, a)?;
    print(ctx, a, form)
}

fn print(ctx: &mut Ctx<'_>, a: Args, form: fn(f64) -> String) -> Result<Value, Throw> {
    let date = this_date(ctx, a)?;
    let time = time_of(ctx, date);
    let text = if time.is_nan() { "Invalid Date".to_owned() } else { form(time) };
    ctx.heap.new_string(text.as_bytes())
}

/// ISO, with microseconds where there are any.
fn micros_text(ctx: &mut Ctx<'_>, date: Ref) -> Result<Value, Throw> {
    let time = time_of(ctx, date);
    if time.is_nan() {
        return ctx.heap.new_string(b"Invalid Date");
    }
    let micros = ctx.heap.get(date, 5).as_number().unwrap_or(0.0);
    ctx.heap.new_string(date::to_iso_micros(time, micros).as_bytes())
}

fn text(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let date = this_date(ctx, a)?;
    micros_text(ctx, date)
}

/// `dateJson(v)`: the text of a valid Date, undefined of anything else.
fn date_json(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if ctx.is_kind(v, kind::DATE) && !time_of(ctx, v.as_ref()).is_nan() {
        return micros_text(ctx, v.as_ref());
    }
    Ok(Value::UNDEFINED)
}
