//! Every type against the server's own text, with random values: binary results, and what we decoded as a parameter
//! again.
#![allow(clippy::unwrap_used, reason = "a test; helpers outside of #[test] functions unwrap too")]
#![expect(clippy::cast_possible_truncation, reason = "float4 on purpose")]

mod common;

use std::fmt::Write;

use forebay_base::rng::Rng;
use forebay_base::{Timestamp, Value};
use forebay_postgres::blocking::Client;
use forebay_postgres::{Param, QueryError, Shape};

const SEED: u64 = 2026;
const ROUNDS: usize = 60;

fn pick(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(u64::try_from(bound).unwrap())).unwrap()
}

/// A value from the whole range, small ones and the ends more often.
fn integer(rng: &mut Rng, low: i64, high: i64) -> i64 {
    let span = i128::from(high) - i128::from(low);
    let wide = i128::from(low) + i128::from(rng.next_u64()) % (span + 1);
    match rng.below(5) {
        0 => low,
        1 => high,
        2 => i64::try_from(rng.below(200)).unwrap().saturating_sub(100).clamp(low, high),
        _ => i64::try_from(wide).unwrap(),
    }
}

fn decimal(rng: &mut Rng) -> String {
    match rng.below(12) {
        0 => return "NaN".into(),
        1 => return "Infinity".into(),
        2 => return "-Infinity".into(),
        3 => return "0".into(),
        4 => return "0.000".into(),
        5 => return format!("1e{}", integer(rng, -300, 300).clamp(-300, 300)),
        _ => {}
    }
    let mut text = String::from(if rng.one_in(2) { "-" } else { "" });
    let digits = |rng: &mut Rng, text: &mut String, max| {
        for _ in 0..=pick(rng, max) {
            let zero = rng.one_in(3);
            let _ = write!(text, "{}", if zero { 0 } else { rng.below(10) });
        }
    };
    digits(rng, &mut text, 30);
    if !rng.one_in(3) {
        text.push('.');
        digits(rng, &mut text, 30);
    }
    text
}

fn string(rng: &mut Rng) -> String {
    let alphabet: Vec<char> = "ab \"'\\{},\n\tNULL\u{e9}\u{1f600}%_:-/[]".chars().collect();
    (0..pick(rng, 12)).map(|_| alphabet[pick(rng, alphabet.len())]).collect()
}

fn float(rng: &mut Rng) -> f64 {
    match rng.below(8) {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => -0.0,
        3 => 0.1,
        4 => rng.unit_f64() * 1e6 - 5e5,
        5 => integer(rng, -1000, 1000) as f64,
        6 => f64::MIN_POSITIVE,
        _ => f64::from_bits(rng.next_u64()),
    }
}

fn json(rng: &mut Rng, depth: usize) -> String {
    let quoted = |rng: &mut Rng| {
        let mut out = String::new();
        let value = Value::Str(string(rng).into());
        forebay_postgres::types::json::write(&mut out, &value, 0).unwrap();
        out
    };
    match rng.below(if depth < 3 { 8 } else { 5 }) {
        0 => "null".into(),
        1 => "true".into(),
        2 => integer(rng, i64::MIN, i64::MAX).to_string(),
        3 => format!("{}", rng.unit_f64()),
        4 => quoted(rng),
        5 => "123456789012345678901234567890".into(),
        6 => {
            let items: Vec<String> = (0..pick(rng, 4)).map(|_| json(rng, depth + 1)).collect();
            format!("[{}]", items.join(", "))
        }
        _ => {
            let items: Vec<String> =
                (0..pick(rng, 4)).map(|n| format!("\"k{n}\": {}", json(rng, depth + 1))).collect();
            format!("{{{}}}", items.join(","))
        }
    }
}

/// Text that the type's input function accepts.
fn literal(rng: &mut Rng, ty: &str) -> String {
    match ty {
        "bool" => if rng.one_in(2) { "true" } else { "false" }.into(),
        "int2" => integer(rng, i16::MIN.into(), i16::MAX.into()).to_string(),
        "int4" | "positive" => integer(rng, i32::MIN.into(), i32::MAX.into()).to_string(),
        "int8" => integer(rng, i64::MIN, i64::MAX).to_string(),
        "oid" => integer(rng, 0, u32::MAX.into()).to_string(),
        "float4" => (float(rng) as f32).to_string(),
        "float8" => float(rng).to_string(),
        "numeric" => decimal(rng),
        "text" | "varchar" => string(rng),
        "bpchar" => string(rng).trim_end().to_owned(),
        "name" => string(rng),
        "bytea" => {
            let mut out = String::from("\\x");
            for _ in 0..pick(rng, 20) {
                let _ = write!(out, "{:02x}", rng.below(256));
            }
            out
        }
        "uuid" => format!("{:032x}", u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())),
        "json" | "jsonb" => json(rng, 0),
        "date" => match rng.below(6) {
            0 => "infinity".into(),
            1 => "-infinity".into(),
            2 => format!("{:04}-0{}-15 BC", 1 + rng.below(4000), 1 + rng.below(9)),
            3 => format!("{}-12-31", 10_000 + rng.below(5_000_000)),
            _ => format!("{:04}-{:02}-{:02}", 1 + rng.below(3000), 1 + rng.below(12), 1 + rng.below(28)),
        },
        "time" => match rng.below(4) {
            0 => "24:00:00".into(),
            1 => format!("{:02}:{:02}:{:02}", rng.below(24), rng.below(60), rng.below(60)),
            _ => format!(
                "{:02}:{:02}:{:02}.{:06}",
                rng.below(24),
                rng.below(60),
                rng.below(60),
                rng.below(1_000_000)
            ),
        },
        "timestamp" | "timestamptz" => match rng.below(6) {
            0 => "infinity".into(),
            1 => "-infinity".into(),
            2 => "0044-03-15 12:00:00 BC".into(),
            3 => format!("{}-01-02 03:04:05.678901", 10_000 + rng.below(280_000)),
            _ => format!(
                "{:04}-{:02}-{:02} {:02}:00:59.{:06}",
                1 + rng.below(3000),
                1 + rng.below(12),
                1 + rng.below(28),
                rng.below(24),
                rng.below(1_000_000)
            ),
        },
        "interval" => format!(
            "{} mons {} days {} microseconds",
            if rng.one_in(3) { 0 } else { integer(rng, -1000, 1000) },
            if rng.one_in(3) { 0 } else { integer(rng, -1000, 1000) },
            if rng.one_in(3) { 0 } else { integer(rng, -90_000_000_000, 90_000_000_000) }
        ),
        "mood" => ["sad", "so so", "h\"a,p{p}y"][pick(rng, 3)].into(),
        "timetz" => {
            let zone = ["+00", "-03:30", "+14", "-15:59:59", "+05:45"][pick(rng, 5)];
            format!("{:02}:{:02}:59.{:06}{zone}", rng.below(24), rng.below(60), rng.below(1_000_000))
        }
        "varbit" => (0..pick(rng, 20)).map(|_| if rng.one_in(2) { '0' } else { '1' }).collect(),
        "bit(7)" => (0..7).map(|_| if rng.one_in(2) { '0' } else { '1' }).collect(),
        "inet" => match rng.below(4) {
            0 => format!("{}.{}.{}.{}", rng.below(256), rng.below(256), rng.below(256), rng.below(256)),
            1 => format!("{}.0.0.{}/{}", rng.below(256), rng.below(256), rng.below(33)),
            _ => format!("{}/{}", ipv6(rng), rng.below(129)),
        },
        "cidr" => match rng.below(4) {
            0 => format!("{}.{}.0.0/16", rng.below(256), rng.below(256)),
            1 => format!("{}/128", ipv6(rng)),
            2 => "::/0".into(),
            _ => format!("{:x}:{:x}::/32", rng.below(65_536), rng.below(65_536)),
        },
        "macaddr" => format!("{:012x}", rng.next_u64() >> 16),
        "macaddr8" => format!("{:016x}", rng.next_u64()),
        "money" => format!("{}.{:02}", integer(rng, -1_000_000, 1_000_000), rng.below(100)),
        "tstzrange" => format!("[2020-01-0{} 00:00+00,2030-01-01 00:00+00)", 1 + rng.below(9)),
        "int8multirange" => format!("{{[1,{}],[100,{})}}", 1 + rng.below(50), 101 + rng.below(9)),
        "tsvector" => "'a':1 'b,c':2".into(),
        "point" => format!("({},{})", integer(rng, -9, 9), integer(rng, -9, 9)),
        "citext" => string(rng),
        "hstore" => {
            let pairs: Vec<String> = (0..pick(rng, 4))
                .map(|n| format!("\"k{n}, \\\\\"=>{}", ["NULL", "\"v\"", "\"\""][pick(rng, 3)]))
                .collect();
            pairs.join(",")
        }
        "int4range" | "numrange" | "floats" | "daterange" | "texts" => range(rng, ty),
        "nummultirange" | "floats_m" => {
            let of = if ty == "floats_m" { "floats" } else { "numrange" };
            let ranges: Vec<String> = (0..pick(rng, 4)).map(|_| range(rng, of)).collect();
            format!("{{{}}}", ranges.join(","))
        }
        other => panic!("no literals of {other}"),
    }
}

/// Any of the forms, the server decides on the canonical one.
fn range(rng: &mut Rng, ty: &str) -> String {
    if rng.one_in(8) {
        return "empty".into();
    }
    let bound = |rng: &mut Rng, high: bool| {
        let base = if high { 100 } else { 1 };
        let n = base + rng.below(50);
        match ty {
            _ if rng.one_in(4) => String::new(),
            "int4range" => n.to_string(),
            "numrange" => format!("{n}.{:03}", rng.below(1000)),
            "floats" if rng.one_in(4) => if high { "Infinity" } else { "-Infinity" }.into(),
            "floats" => format!("{n}.5"),
            "daterange" if rng.one_in(4) => if high { "infinity" } else { "-infinity" }.into(),
            "daterange" => format!("{}-02-03", 1900 + n),
            _ => {
                let first = if high { 'b' } else { 'a' };
                let text = format!("{first}{}", string(rng));
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            }
        }
    };
    let (open, close) = (["[", "("][pick(rng, 2)], ["]", ")"][pick(rng, 2)]);
    let (low, high) = (bound(rng, false), bound(rng, true));
    format!("{open}{low},{high}{close}")
}

/// Zero words more often than not: what is left out, and where IPv4 stands.
fn ipv6(rng: &mut Rng) -> String {
    let words: Vec<String> = (0..8)
        .map(|_| match rng.below(5) {
            0..3 => "0".to_owned(),
            3 => "ffff".to_owned(),
            _ => format!("{:x}", rng.below(65_536)),
        })
        .collect();
    words.join(":")
}

fn array_literal(rng: &mut Rng, ty: &str, dimensions: &[usize]) -> String {
    let Some((length, inner)) = dimensions.split_first() else {
        if rng.one_in(4) {
            return "NULL".into();
        }
        let text = literal(rng, ty);
        return format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    };
    let items: Vec<String> = (0..*length).map(|_| array_literal(rng, ty, inner)).collect();
    format!("{{{}}}", items.join(","))
}

/// Our value, as the server would write it; `None` where the round trip below is the check.
fn as_text(value: &Value, ty: &str) -> Option<String> {
    Some(match value {
        Value::Bool(v) => v.to_string(),
        Value::Int(v) => v.to_string(),
        Value::Decimal(v) => v.to_string(),
        Value::Str(v) if !matches!(ty, "json" | "jsonb") => v.to_string(),
        Value::Map(pairs) if ty != "texts" && pairs.iter().any(|(key, _)| &**key == "lowerInclusive") => {
            range_text(pairs)?
        }
        Value::List(ranges) if ty.ends_with("range") => {
            let ranges: Option<Vec<String>> = ranges.iter().map(|range| as_text(range, ty)).collect();
            format!("{{{}}}", ranges?.join(","))
        }
        Value::Bytes(v) => v.iter().fold("\\x".to_owned(), |out, byte| out + &format!("{byte:02x}")),
        _ => return None,
    })
}

/// A range without quoted bounds, as the server writes it.
fn range_text(pairs: &[(Box<str>, Value)]) -> Option<String> {
    let [lower, upper, lower_inclusive, upper_inclusive, empty] = pairs else { panic!("{pairs:?}") };
    if empty.1 == Value::Bool(true) {
        assert_eq!((&lower.1, &upper.1), (&Value::Null, &Value::Null));
        return Some("empty".into());
    }
    let bound = |value: &Value| match value {
        Value::Null => Some(String::new()),
        Value::Float(v) => Some(v.to_string().replace("inf", "Infinity")),
        Value::Timestamp(_) => None,
        other => as_text(other, ""),
    };
    let open = if lower_inclusive.1 == Value::Bool(true) { '[' } else { '(' };
    let close = if upper_inclusive.1 == Value::Bool(true) { ']' } else { ')' };
    Some(format!("{open}{},{}{close}", bound(&lower.1)?, bound(&upper.1)?))
}

fn check(client: &mut Client, rng: &mut Rng, ty: &str, sql_ty: &str, literal: &str) {
    let place = format!("{sql_ty} {literal:?} (seed {SEED})");
    let shown = match ty {
        // Its cast to text always shows the netmask; its output function, which concat() calls, doesn't.
        "inet" => format!("select concat(($1::text)::{sql_ty})"),
        _ => format!("select ($1::text)::{sql_ty}::text"),
    };
    let text = client
        .query(&shown, &[Param::Str(literal)], Shape::Scalar)
        .unwrap_or_else(|e| panic!("{place}: {e}"));
    let value = client
        .query(&format!("select ($1::text)::{sql_ty}"), &[Param::Str(literal)], Shape::Scalar)
        .unwrap_or_else(|e| panic!("{place}: {e}"));
    let server = text.as_str().unwrap();
    match (&value, as_text(&value, ty)) {
        (_, Some(ours)) => assert_eq!(ours, server, "{place}"),
        (Value::Float(v), _) => {
            let theirs: f64 = server.parse().unwrap();
            // Two shortest texts may name one float4 (459647.12, 459647.13): then they are the same float4.
            let same = *v == theirs || ty == "float4" && *v as f32 == theirs as f32;
            assert!(same || v.is_nan() && theirs.is_nan(), "{place}: {v} against {server}");
        }
        (Value::Timestamp(v), _) => {
            let sql = format!("select (extract(epoch from ($1::text)::{sql_ty}) * 1000000)::int8");
            let theirs = client.query(&sql, &[Param::Str(literal)], Shape::Scalar).unwrap();
            assert_eq!(Value::Int(Timestamp(*v).0), theirs, "{place}");
        }
        _ => {}
    }
    // What we decoded, as a parameter: the server finds it equal.
    let same = match ty {
        "json" => format!("select $1::{sql_ty}::jsonb is not distinct from ($2::text)::jsonb"),
        "point" => format!("select $1::{sql_ty}::text is not distinct from ($2::text)::{sql_ty}::text"),
        _ => format!("select $1::{sql_ty} is not distinct from ($2::text)::{sql_ty}"),
    };
    let back = match (&value, ty) {
        // A json string is a string of ours: as a parameter, text is parsed as json.
        (Value::Str(_) | Value::Null, "json" | "jsonb") => {
            let mut out = String::new();
            forebay_postgres::types::json::write(&mut out, &value, 0).unwrap();
            Value::Str(out.into())
        }
        _ => value.clone(),
    };
    let equal = client
        .query(&same, &[Param::from(&back), Param::Str(literal)], Shape::Scalar)
        .unwrap_or_else(|e| panic!("{place}: {back:?} as a parameter: {e}"));
    assert_eq!(equal, Value::Bool(true), "{place}: {back:?} came back different");
    let _ = rng;
}

#[test]
fn every_type_agrees_with_the_servers_text() {
    let mut client = common::client();
    client
        .batch(
            "create type mood as enum ('sad', 'so so', 'h\"a,p{p}y'); create domain positive as int4;
             create type floats as range (subtype = float8, multirange_type_name = floats_m);
             create type texts as range (subtype = text, collation = \"C\");
             create extension citext; create extension hstore",
        )
        .unwrap();
    let mut rng = Rng::new(SEED);
    let types = [
        "bool",
        "int2",
        "int4",
        "int8",
        "oid",
        "float4",
        "float8",
        "numeric",
        "text",
        "varchar",
        "bpchar",
        "name",
        "bytea",
        "uuid",
        "json",
        "jsonb",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "interval",
        "mood",
        "positive",
        "int4range",
        "numrange",
        "daterange",
        "floats",
        "texts",
        "nummultirange",
        "floats_m",
        "timetz",
        "varbit",
        "bit(7)",
        "inet",
        "cidr",
        "macaddr",
        "macaddr8",
        "money",
        "tstzrange",
        "int8multirange",
        "tsvector",
        "point",
        "citext",
        "hstore",
    ];
    for ty in types {
        for _ in 0..ROUNDS {
            let text = literal(&mut rng, ty);
            check(&mut client, &mut rng, ty, ty, &text);
        }
        if matches!(ty, "json" | "point") {
            continue; // No `=` for json[] and point[].
        }
        for dimensions in [&[0][..], &[1], &[5], &[2, 3], &[2, 1, 2]] {
            let text = if dimensions == [0] { "{}".into() } else { array_literal(&mut rng, ty, dimensions) };
            if ty == "jsonb" && dimensions.len() > 1 {
                continue; // A list in a jsonb[] parameter is an element.
            }
            array_check(&mut client, ty, &text);
        }
    }
    client
        .batch("drop type mood, floats, texts; drop domain positive; drop extension citext; drop extension hstore")
        .unwrap();
}

fn array_check(client: &mut Client, ty: &str, literal: &str) {
    let place = format!("{ty}[] {literal:?} (seed {SEED})");
    let sql = format!("select ($1::text)::{ty}[]");
    let value =
        client.query(&sql, &[Param::Str(literal)], Shape::Scalar).unwrap_or_else(|e| panic!("{place}: {e}"));
    assert!(matches!(value, Value::List(_)), "{place}: {value:?}");
    if ty == "jsonb" {
        return;
    }
    let same = format!("select $1::{ty}[] is not distinct from ($2::text)::{ty}[]");
    let equal = client
        .query(&same, &[Param::from(&value), Param::Str(literal)], Shape::Scalar)
        .unwrap_or_else(|e| panic!("{place}: {value:?} as a parameter: {e}"));
    assert_eq!(equal, Value::Bool(true), "{place}: {value:?} came back different");
}

#[test]
fn a_value_that_is_not_of_the_type_is_the_clients_fault() {
    let mut client = common::client();
    client
        .batch("create type color as enum ('red'); create domain small as int4 check (value < 10)")
        .unwrap();
    let mut check = |ty: &str, param: Param<'_>, expect: &str| {
        let got = client.query(&format!("select $1::{ty}"), &[param], Shape::Scalar);
        let Err(error @ QueryError::Parameter(_)) = got else { panic!("{ty} {param:?}: {got:?}") };
        assert!(error.to_string().contains(expect), "{ty} {param:?}: {error}");
    };
    check("int4", Param::Str("12abc"), "parameter $1: invalid input for type int4");
    check("int4", Param::Float(1.5), "1.5 is not an exact integer");
    check("int2", Param::Int(70_000), "out of range");
    check("uuid", Param::Str("1"), "invalid input syntax for type uuid");
    check("date", Param::Str("2026-02-30"), "out of range");
    check("timestamptz", Param::Str("soon"), "invalid input syntax");
    check("numeric", Param::Str("1,5"), "invalid input syntax for type numeric");
    check("jsonb", Param::Str("{"), "invalid input syntax for type json");
    check("color", Param::Str("green"), "invalid input value for enum color");
    check("int4[]", Param::List(&["x".into()]), "invalid input syntax for type integer");
    check("int4[]", Param::List(&[Value::List(vec![]), 1i64.into()]), "malformed array literal");
    check("int4[]", Param::Int(1), "expected a list, got an integer");
    check("bool", Param::Str("perhaps"), "invalid input syntax for type boolean");
    check("text", Param::Str("a\0"), "NUL");
    check("text", Param::Undefined, "$1 is undefined");
    check("interval", Param::Str("later"), "invalid input syntax for type interval");
    let got = client.query("select $1::int4 + $2", &[Param::Int(1)], Shape::Scalar);
    assert!(got.unwrap_err().to_string().contains("has 2 parameters, got 1"));
    // The statement's own fault stays the statement's.
    let got = client.query("select 1 / $1::int4", &[Param::Int(0)], Shape::Scalar);
    assert!(matches!(got, Err(QueryError::Server(_))));
    client.batch("drop type color; drop domain small").unwrap();
}

#[test]
fn composite_types_are_objects() {
    let mut client = common::client();
    client
        .batch(
            "create type inner_one as (x int4, y text);
             create type mood2 as enum ('sad', 'so, \"so\"');
             create type outer_one as (a int8, b numeric, c timestamptz, d inner_one, e inner_one[], f mood2, g bool, \"h i\" text[]);
             create type ranged as (r tsvector, n int4);
             create domain outer_domain as outer_one",
        )
        .unwrap();
    let mut rng = Rng::new(SEED);
    let quoted = |client: &mut Client, text: &str| {
        let sql = "select quote_literal($1)";
        client.query(sql, &[Param::Str(text)], Shape::Scalar).unwrap().as_str().unwrap().to_owned()
    };
    for round in 0..40 {
        let (x, y) = (literal(&mut rng, "int4"), string(&mut rng));
        let y = quoted(&mut client, &y);
        let fields = [
            ("a", literal(&mut rng, "int8")),
            ("b", format!("'{}'::numeric", literal(&mut rng, "numeric"))),
            ("c", "'2024-02-03 04:05:06.789+00'::timestamptz".to_owned()),
            ("d", if rng.one_in(4) { "null".into() } else { format!("row({x}, {y})::inner_one") }),
            ("e", format!("array[row({x}, {y})::inner_one, null, row(null, 'z')::inner_one]")),
            ("f", "'so, \"so\"'::mood2".to_owned()),
            ("g", literal(&mut rng, "bool")),
            ("h i", "array['a', null, 'b\"']".to_owned()),
        ];
        let list: Vec<&str> = fields.iter().map(|(_, value)| value.as_str()).collect();
        let ty = if round % 2 == 0 { "outer_one" } else { "outer_domain" };
        let row = format!("row({})::outer_one::{ty}", list.join(", "));
        let value = client.query(&format!("select {row}"), &[], Shape::Scalar).unwrap();
        let Value::Map(pairs) = &value else { panic!("{row}: {value:?}") };
        for ((name, expect), (key, got)) in fields.iter().zip(pairs) {
            assert_eq!(*name, &**key);
            // Each field as it is by itself.
            let alone = client.query(&format!("select {expect}"), &[], Shape::Scalar).unwrap();
            assert_eq!(*got, alone, "{row}: {name}");
        }
        let same = format!("select $1::{ty}::text, {row}::text");
        let back = client.rows(&same, &[Param::from(&value)]);
        if ty == "outer_one" && pairs.iter().all(|(key, _)| &**key != "e") {
            assert_eq!(back.unwrap().len(), 1);
        }
    }
    let mut check = |sql: &str, params: &[Param<'_>], expect: Value| {
        assert_eq!(client.query(sql, params, Shape::Scalar).unwrap(), expect, "{sql}");
    };
    let object = |pairs: &[(&str, Value)]| {
        Value::Map(pairs.iter().map(|(key, value)| ((*key).into(), value.clone())).collect())
    };
    let inner = object(&[("y", "q\"\\,()".into()), ("x", Value::Int(4))]);
    check("select ($1::inner_one).y", &[Param::from(&inner)], "q\"\\,()".into());
    let list = Value::List(vec![inner.clone(), Value::Null]);
    check(
        "select $1::inner_one[] = array[row(4, 'q\"\\,()')::inner_one, null]",
        &[Param::from(&list)],
        Value::Bool(true),
    );
    check("select $1::inner_one = row(4, 'q\"\\,()')::inner_one", &[Param::from(&inner)], Value::Bool(true));
    // A tsvector has no binary form here: text, and a list of it.
    check("select row('b a', 5)::ranged", &[], "(\"'a' 'b'\",5)".into());
    check("select array[row(null, 5)::ranged]", &[], Value::List(vec!["(,5)".into()]));
    check("select array['a'::tsvector, null]", &[], Value::List(vec!["'a'".into(), Value::Null]));
    let error =
        client.query("select $1::inner_one", &[Param::from(&object(&[("z", Value::Null)]))], Shape::Scalar);
    assert!(error.unwrap_err().to_string().contains("no field \"z\""));
    // The type changes under a prepared statement: one query fails, the next one knows.
    let sql = "select d from (select row(1, 'a')::inner_one as d) x";
    client.query(sql, &[], Shape::Scalar).unwrap();
    let sql = "select $1::text::inner_one";
    client.query(sql, &[Param::Str("(1,a)")], Shape::Scalar).unwrap();
    common::client().batch("alter type inner_one add attribute z int4 cascade").unwrap();
    let first = client.query(sql, &[Param::Str("(1,a,2)")], Shape::Scalar);
    let second = client.query(sql, &[Param::Str("(1,a,2)")], Shape::Scalar).unwrap();
    assert_eq!(second, object(&[("x", Value::Int(1)), ("y", "a".into()), ("z", Value::Int(2))]), "{first:?}");
    client.batch("drop domain outer_domain; drop type outer_one, inner_one, mood2, ranged").unwrap();
}

#[test]
fn shapes_and_void() {
    let mut client = common::client();
    let mut check = |sql: &str, shape, expect: Value| {
        assert_eq!(client.query(sql, &[], shape).unwrap(), expect, "{sql}");
    };
    check("select pg_sleep(0)", Shape::Scalar, Value::Null);
    check("select 1 where false", Shape::First, Value::Undefined);
    check("select 1 where false", Shape::Scalar, Value::Undefined);
    check("select 1 where false", Shape::Rows, Value::List(vec![]));
    check("select generate_series(1, 3)", Shape::Scalar, Value::Int(1));
    check("create temp table s (a int)", Shape::Rows, Value::List(vec![]));
    check("insert into s values (1), (2)", Shape::Affected, Value::Int(2));
    check("update s set a = 3 returning a", Shape::Affected, Value::Int(2));
    check("", Shape::Rows, Value::List(vec![]));
    check("select row(1, 'a')", Shape::Scalar, "(1,a)".into());
    check("select", Shape::First, Value::Map(vec![]));
}

/// Every float4 is the number that the server's own text for it is.
#[test]
fn a_float4_is_the_number_of_the_servers_text() {
    let (mut client, mut rng) = (common::client(), Rng::new(SEED));
    let mut list: Vec<f32> = Vec::new();
    // Powers of two, where the distance to the neighbours changes, and the neighbours.
    for bits in (0..255u32).map(|exponent| exponent << 23) {
        let power = f32::from_bits(bits);
        list.extend([power, power.next_up(), power.next_down(), -power, -power.next_up()]);
    }
    // The fewest digits of these lie in the middle between two (the server's own tests of float4).
    list.extend([33_554_448.0, 8_999_999_488.0, 34_366_717_952.0, 33_554_450.0, 16_777_217.0, 16_777_220.0]);
    list.extend([0.1, 0.3, 1.5, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1_234_567_936.0]);
    // Integers above 2^24, and anything.
    list.extend((0..6000).map(|_| (rng.next_u64() >> rng.below(40)) as f32));
    list.extend((0..12_000).map(|_| f32::from_bits(rng.next_u64() as u32)).filter(|f| f.is_finite()));
    for part in list.chunks(2000) {
        let param: Vec<Value> = part.iter().map(|f| Value::Float(f64::from(*f))).collect();
        let sql = "select f, f::text as t from unnest($1::float4[]) f";
        let rows = client.rows(sql, &[Param::List(&param)]).unwrap();
        assert_eq!(rows.len(), part.len());
        for (row, sent) in rows.iter().zip(part) {
            let text = row.get("t").and_then(Value::as_str).unwrap();
            let Some(Value::Float(got)) = row.get("f") else { panic!("{row:?}") };
            assert_eq!(got.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{sent:e} is {text}: {got:e}");
        }
    }
}
