#![expect(clippy::cast_possible_truncation, reason = "test data is cut on purpose")]

use super::*;
use crate::rng::Rng;
use crate::value::{Value, ValueBuilder};
use proptest::prelude::*;

fn back(bytes: &[u8]) -> Result<Value, ValueError> {
    let mut builder = ValueBuilder::default();
    decode(bytes, &mut builder)?;
    Ok(builder.finish().expect("decode pushes one whole value"))
}

/// `shown` and its bytes stand in the examples of docs/formats/value.md, `value`
/// has those bytes, and they decode to what encodes to them again.
fn check(shown: &str, value: &Value, hex: &str) {
    let bytes = encode(value).unwrap();
    let have: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(have.join(" "), hex, "{shown}");
    let line = format!("| `{shown}` | `{hex}` |");
    assert!(include_str!("../../../../docs/formats/value.md").contains(&line), "not in the document: {line}");
    assert_eq!(encode(&back(&bytes).unwrap()).unwrap(), bytes, "{shown}");
}

#[test]
fn the_document_tells_the_truth() {
    let big = |s: &str| Value::BigInt(s.into());
    check("null", &Value::Null, "01");
    check("false", &Value::Bool(false), "02");
    check("true", &Value::Bool(true), "03");
    check("0", &Value::Int(0), "80");
    check("-0.0", &Value::Float(-0.0), "80");
    check("127.0", &Value::Float(127.0), "ff");
    check("128", &Value::Int(128), "04 80 02");
    check("-1", &Value::Int(-1), "04 01");
    check("9007199254740991", &Value::Int((1 << 53) - 1), "04 fe ff ff ff ff ff ff 1f");
    check("9007199254740992.0", &Value::Float(9_007_199_254_740_992.0), "05 00 00 00 00 00 00 40 43");
    check("1.5", &Value::Float(1.5), "05 00 00 00 00 00 00 f8 3f");
    check("NaN", &Value::Float(-f64::NAN), "05 00 00 00 00 00 00 f8 7f");
    check(
        "big 18446744073709551616",
        &big("18446744073709551616"),
        "06 14 31 38 34 34 36 37 34 34 30 37 33 37 30 39 35 35 31 36 31 36",
    );
    check("big 007", &big("007"), "87");
    check("decimal -01.50", &Value::Decimal("-01.50".into()), "07 05 2d 31 2e 35 30");
    check("\"\"", &Value::from(""), "40");
    check("\"né\"", &Value::from("né"), "43 6e c3 a9");
    check("bytes 00 ff", &Value::Bytes([0, 255].into()), "09 02 00 ff");
    check("timestamp 1", &Value::Timestamp(1), "0a 02");
    check("[]", &Value::List(vec![]), "20");
    check("[1, [null]]", &Value::List(vec![Value::Int(1), Value::List(vec![Value::Null])]), "22 81 21 01");
    let pairs = vec![("b".into(), Value::Int(1)), ("a".into(), "x".into()), ("b".into(), Value::Int(2))];
    check("{b: 1, a: \"x\", b: 2}", &Value::Map(pairs), "32 01 61 41 78 01 62 82");
}

#[test]
fn other_spellings_are_refused() {
    let refused: &[&[u8]] = &[
        &[],
        &[0x00],
        &[0x0f],
        &[0x01, 0x01],
        &[INT, 0x00],
        &[INT, 0xfe, 0x01],
        &[INT, 0x81, 0x00],
        &[INT, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        &[INT, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0x00],
        &[FLOAT, 0, 0, 0, 0, 0, 0, 0, 0x80],
        &[FLOAT, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
        &[FLOAT, 1, 0, 0, 0, 0, 0, 0xf8, 0x7f],
        &[BIG_INT, 1, b'5'],
        &[BIG_INT, 1, b'-'],
        &[BIG_INT, 0],
        &[DECIMAL, 2, b'0', b'1'],
        &[DECIMAL, 2, b'1', b'.'],
        &[DECIMAL, 2, b'-', b'0'],
        &[TEXT, 1, b'a'],
        &[0x41, 0xff],
        &[0x42, b'a'],
        &[LIST, 1, 0x01],
        &[LIST, 16, 0x01],
        &[LIST, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x32, 1, b'b', 1, 1, b'a', 1],
        &[0x32, 1, b'a', 1, 1, b'a', 1],
    ];
    for bytes in refused {
        assert!(matches!(back(bytes), Err(ValueError::Malformed { .. })), "{bytes:02x?}: {:?}", back(bytes));
    }
    assert_eq!(back(&[SYMBOL, 1, b'a']), Err(ValueError::Unsupported("a symbol")));
    assert_eq!(back(&[ERROR, 1]), Err(ValueError::Unsupported("an error")));
    assert_eq!(encode(&Value::Undefined), Err(ValueError::Unsupported("undefined")));
    let text = Value::from("0123456789");
    let mut small = Encoder::with_limit(5);
    assert_eq!(text.emit(&mut small), Err(ValueError::TooLarge { limit: 5 }));
}

#[test]
fn nesting_is_bounded_on_both_sides() {
    let deep = |n: usize| {
        let mut encoder = Encoder::new();
        for _ in 0..n {
            encoder.begin_list(None)?;
        }
        for _ in 0..n {
            encoder.end_list()?;
        }
        encoder.finish()
    };
    assert_eq!(back(&deep(VALUE_DEPTH_MAX).unwrap()).map(|_| ()), Ok(()));
    assert_eq!(deep(VALUE_DEPTH_MAX + 1), Err(ValueError::TooDeep));
    assert_eq!(back(&[0x21; 100_000]), Err(ValueError::TooDeep));
}

#[test]
fn a_producers_bug_is_an_error() {
    let whole = |f: fn(&mut Encoder) -> Result<(), ValueError>| {
        let mut encoder = Encoder::new();
        f(&mut encoder).and_then(|()| encoder.finish())
    };
    assert!(whole(|_| Ok(())).is_err());
    assert!(whole(|e| e.null().and_then(|()| e.null())).is_err());
    assert!(whole(|e| e.begin_list(None)).is_err());
    assert!(whole(|e| e.begin_map(None).and_then(|()| e.null())).is_err());
    assert!(whole(|e| e.begin_map(None).and_then(|()| e.key("a")).and_then(|()| e.end_map())).is_err());
    assert!(whole(|e| e.begin_row(&["a".into()]).and_then(|()| e.end_row())).is_err());
    assert!(whole(ValueSink::end_list).is_err());
}

#[test]
fn a_row_is_a_sorted_map() {
    let columns: Vec<Box<str>> = vec!["b".into(), "a".into(), "b".into()];
    let mut encoder = Encoder::new();
    encoder.begin_row(&columns).unwrap();
    for v in 1..=3 {
        encoder.int(v).unwrap();
    }
    encoder.end_row().unwrap();
    let map = Value::Map(vec![("a".into(), Value::Int(2)), ("b".into(), Value::Int(3))]);
    assert_eq!(back(&encoder.finish().unwrap()), Ok(map));
}

#[test]
fn counters_are_read_without_a_sink() {
    for value in [0, 1, 127, 128, -1, i64::MIN, i64::MAX] {
        assert_eq!(decode_int(&encode_int(value)), Some(value));
        assert_eq!(encode_int(value), encode(&Value::Int(value)).unwrap());
    }
    assert_eq!(decode_int(&[INT, 0x00]), None);
    assert_eq!(decode_int(&[NULL]), None);
    assert_eq!(decode_int(&[]), None);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-300i64..300).prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        (-300i32..300).prop_map(|v| Value::Float(f64::from(v) / 2.0)),
        "-?[0-9]{1,40}".prop_map(|s| Value::BigInt(s.into())),
        "-?[0-9]{1,9}(\\.[0-9]{1,9})?".prop_map(|s| Value::Decimal(s.into())),
        ".{0,80}".prop_map(|s| Value::Str(s.into())),
        prop::collection::vec(any::<u8>(), 0..80).prop_map(|b| Value::Bytes(b.into())),
        any::<i64>().prop_map(Value::Timestamp),
    ];
    leaf.prop_recursive(4, 64, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::List),
            prop::collection::vec(("[a-c]{0,2}".prop_map(Into::into), inner), 0..20).prop_map(Value::Map),
        ]
    })
}

/// What a round trip makes of a value: the definition of "equal" that doesn't
/// share code with the encoder.
fn normal(value: Value) -> Value {
    match value {
        Value::Float(f) if f.fract() == 0.0 && f.abs() < 9_007_199_254_740_992.0 => Value::Int(f as i64),
        Value::Float(f) if f.is_nan() => Value::Str("NaN".into()),
        Value::BigInt(digits) => {
            let minus = digits.starts_with('-');
            let magnitude = digits.trim_start_matches('-').trim_start_matches('0');
            match digits.parse::<i64>() {
                Ok(v) => Value::Int(v),
                Err(_) => Value::BigInt(format!("{}{magnitude}", if minus { "-" } else { "" }).into()),
            }
        }
        Value::Decimal(digits) => {
            let minus = digits.starts_with('-') && digits.bytes().any(|b| matches!(b, b'1'..=b'9'));
            let magnitude = digits.trim_start_matches('-');
            let whole_len = magnitude.find('.').unwrap_or(magnitude.len());
            let zeros = magnitude[..whole_len].bytes().take_while(|b| *b == b'0').count().min(whole_len - 1);
            Value::Decimal(format!("{}{}", if minus { "-" } else { "" }, &magnitude[zeros..]).into())
        }
        Value::List(items) => Value::List(items.into_iter().map(normal).collect()),
        Value::Map(pairs) => {
            let sorted: std::collections::BTreeMap<_, _> = pairs.into_iter().collect();
            Value::Map(sorted.into_iter().map(|(k, v)| (k, normal(v))).collect())
        }
        other => other,
    }
}

proptest! {
    #[test]
    fn round_trip_is_the_normal_form(value in any_value()) {
        let bytes = encode(&value).unwrap();
        let again = back(&bytes).unwrap();
        prop_assert_eq!(normal(again.clone()), normal(value));
        prop_assert_eq!(encode(&again).unwrap(), bytes);
    }

    #[test]
    fn equal_values_have_equal_bytes(value in any_value()) {
        let spelled_otherwise = reverse_maps(normal_keep_nan(value.clone()));
        prop_assert_eq!(encode(&value).unwrap(), encode(&spelled_otherwise).unwrap());
    }
}

/// The same value with its maps back to front and its small integers as floats.
fn reverse_maps(value: Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.into_iter().map(reverse_maps).collect()),
        Value::Map(pairs) => Value::Map(pairs.into_iter().rev().map(|(k, v)| (k, reverse_maps(v))).collect()),
        Value::Int(i) if i.unsigned_abs() < 1 << 53 => Value::Float(i as f64),
        other => other,
    }
}

fn normal_keep_nan(value: Value) -> Value {
    match value {
        Value::Float(f) if f.is_nan() => value,
        Value::List(items) => Value::List(items.into_iter().map(normal_keep_nan).collect()),
        Value::Map(pairs) => {
            let last: std::collections::BTreeMap<_, _> = pairs.into_iter().collect();
            Value::Map(last.into_iter().map(|(k, v)| (k, normal_keep_nan(v))).collect())
        }
        other => normal(other),
    }
}

/// Mutated encodings never panic, and whatever still decodes encodes to itself.
#[test]
fn mutations_are_refused_or_canonical() {
    let seed = 0x7a1e;
    let mut rng = Rng::new(seed);
    let tree = Value::Map(vec![
        ("list".into(), Value::List((0..20).map(|i| Value::Int(i * 77)).collect())),
        ("text".into(), Value::Str("x".repeat(70).into())),
        ("f".into(), Value::Float(0.1)),
        ("d".into(), Value::Decimal("12.340".into())),
        ("big".into(), Value::BigInt("-99999999999999999999".into())),
        ("at".into(), Value::Timestamp(-5)),
        ("inner".into(), Value::Map(vec![("b".into(), Value::Bytes([1, 2].into()))])),
    ]);
    let good = encode(&tree).unwrap();
    let mut decoded = 0;
    for round in 0..200_000 {
        let mut bytes = good.clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(4) {
                0 => bytes[at] = rng.next_u64() as u8,
                1 => bytes[at] ^= 1 << rng.below(8),
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, rng.next_u64() as u8),
            }
        }
        if let Ok(value) = back(&bytes) {
            decoded += 1;
            assert_eq!(encode(&value).as_deref(), Ok(&bytes[..]), "seed {seed:#x} round {round}");
        }
    }
    assert!(decoded > 1000, "only {decoded} mutations decoded: the test lost its teeth");
}
