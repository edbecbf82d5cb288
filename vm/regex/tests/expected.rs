//! Patterns against what node says about them (expected.json, written by generate.js).
#![expect(clippy::unwrap_used, reason = "a test")]

use forebay_regex::{Flags, Matcher, Program, Step, text};
use serde_json::Value;

/// WTF-8 of a JSON text whose escapes may be lone surrogates: serde_json refuses those, so the file
/// is read as raw JSON and strings are decoded here.
fn wtf8(raw: &str) -> Vec<u8> {
    let units: Vec<u16> = {
        let mut out = Vec::new();
        let mut chars = raw.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                out.extend_from_slice(c.encode_utf16(&mut [0; 2]));
                continue;
            }
            match chars.next().unwrap() {
                'n' => out.push(0xa),
                'r' => out.push(0xd),
                't' => out.push(9),
                'b' => out.push(8),
                'f' => out.push(0xc),
                'u' => {
                    let hex: String = chars.by_ref().take(4).collect();
                    out.push(u16::from_str_radix(&hex, 16).unwrap());
                }
                other => out.extend_from_slice(other.encode_utf16(&mut [0; 2])),
            }
        }
        out
    };
    let mut bytes = Vec::new();
    for c in char::decode_utf16(units) {
        match c {
            Ok(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(half) => {
                let unit = half.unpaired_surrogate();
                bytes.extend([
                    0xe0 | (unit >> 12) as u8,
                    0x80 | (unit >> 6 & 0x3f) as u8,
                    0x80 | (unit & 0x3f) as u8,
                ]);
            }
        }
    }
    bytes
}

/// Raw JSON with every backslash of a string doubled, so that serde_json keeps escapes as they are.
fn parse(json: &str) -> Value {
    let mut out = String::with_capacity(json.len() * 2);
    let mut chars = json.chars();
    while let Some(c) = chars.next() {
        out.push(c);
        if c == '\\' {
            out.push('\\');
            match chars.next().unwrap() {
                // A quote or a backslash of the text: written so that the string goes on.
                '"' => out.push_str("u0022"),
                '\\' => out.push_str("u005c"),
                other => out.push(other),
            }
        }
    }
    serde_json::from_str(&out).unwrap()
}

fn answer(program: &Program, input: &[u8], sticky: bool) -> Value {
    let mut matcher = Matcher::new();
    matcher.start(program, input, input.is_ascii(), 0, sticky, 1 << 24);
    let mut budget = 10_000_000;
    match matcher.step(program, input, &mut budget) {
        Step::NoMatch => Value::Null,
        Step::Match => (0..program.groups())
            .map(|g| {
                matcher.group(g).map_or(Value::Null, |(from, to)| {
                    serde_json::json!([text::units(input, from), text::units(input, to)])
                })
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

/// Newer than the node that wrote the table: modifiers, names that stand twice.
fn is_newer(pattern: &str) -> bool {
    ["(?<a>b)|(?<a>c)", "(?:(?<a>b)|(?<a>c))(?<a>d)", "(?i:a)b", "(?-i:a)b"].contains(&pattern)
        || pattern.matches("(?<a>").count() > 1
}

#[test]
fn as_node_says() {
    let table = parse(include_str!("expected.json"));
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in table["cases"].as_array().unwrap() {
        let (pattern, flags) = (case[0].as_str().unwrap(), case[1].as_str().unwrap());
        let bytes = wtf8(pattern);
        if is_newer(&String::from_utf8_lossy(&bytes)) {
            continue;
        }
        let program = Flags::parse(flags).and_then(|f| Program::compile(&bytes, f).ok());
        let expect = &case[3];
        count += 1;
        let Some(program) = program else {
            if expect != "error" {
                wrong.push(format!("/{pattern}/{flags} is refused"));
            }
            continue;
        };
        if expect == "error" {
            wrong.push(format!("/{pattern}/{flags} is not refused"));
            continue;
        }
        let texts = table["texts"][case[2].as_str().unwrap()].as_array().unwrap();
        for (text, expect) in texts.iter().zip(expect.as_array().unwrap()) {
            let got = answer(&program, &wtf8(text.as_str().unwrap()), program.flags().sticky);
            if got != *expect {
                wrong.push(format!("/{pattern}/{flags} on {text}: {got}, not {expect}"));
            }
        }
    }
    assert!(count > 800);
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn check(pattern: &str, flags: &str, input: &str, expect: Option<&[Option<&str>]>) {
    let program = Program::compile(pattern.as_bytes(), Flags::parse(flags).unwrap()).unwrap();
    let mut matcher = Matcher::new();
    matcher.start(&program, input.as_bytes(), false, 0, false, 1 << 20);
    let mut budget = 1_000_000;
    let step = matcher.step(&program, input.as_bytes(), &mut budget);
    assert_eq!(step == Step::Match, expect.is_some(), "/{pattern}/{flags} on {input:?}: {step:?}");
    for (n, group) in expect.unwrap_or_default().iter().enumerate() {
        assert_eq!(matcher.group(n).map(|(a, b)| &input[a..b]), *group, "/{pattern}/{flags} group {n}");
    }
}

#[test]
fn newer_than_the_table() {
    check("(?<a>b)|(?<a>c)", "", "c", Some(&[Some("c"), None, Some("c")]));
    check("(?:(?<a>x)|(?<a>y))\\k<a>", "", "xyy", Some(&[Some("yy"), None, Some("y")]));
    check("(?:(?:(?<a>x)|(?<a>y))\\k<a>)+", "", "xxyy", Some(&[Some("xxyy"), None, Some("y")]));
    check("(?i:a)b", "", "Ab", Some(&[Some("Ab")]));
    check("(?i:a)b", "", "AB", None);
    check("(?-i:a)b", "i", "aB", Some(&[Some("aB")]));
    check("(?-i:a)b", "i", "AB", None);
    check("(?s:.)(?m-s:.^)", "", "\na", None);
    for bad in ["(?:(?<a>b)|(?<a>c))(?<a>d)", "(?<a>b)(?<a>c)", "(?ii:a)", "(?-:a)", "(?i-i:a)"] {
        assert!(Program::compile(bad.as_bytes(), Flags::default()).is_err(), "/{bad}/");
    }
}

/// Catastrophic patterns: those without backreferences take linear time; the others end by budget.
#[test]
fn hostile_patterns_end() {
    let long = "a".repeat(20_000);
    for pattern in [
        "(a+)+b",
        "(a*)*b",
        "(a|a)*b",
        "(a|aa)+b",
        "(?:a?){20}a{20}b",
        "a*a*a*a*a*b",
        "(.*)(.*)(.*)b",
        "(?:a+)+?b",
        "((a+)*)*b",
    ] {
        let program = Program::compile(pattern.as_bytes(), Flags::default()).unwrap();
        let mut matcher = Matcher::new();
        // Something that the search for the required "b" can't rule out.
        let input = format!("{long}\n\nb");
        matcher.start(&program, input.as_bytes(), true, 0, true, 64 << 20);
        let (mut total, mut steps) = (0, 0);
        loop {
            let mut budget = 100_000;
            let step = matcher.step(&program, input.as_bytes(), &mut budget);
            total += 100_000 - budget;
            steps += 1;
            match step {
                Step::OutOfBudget => assert!(total < 80_000_000, "/{pattern}/ is not linear"),
                Step::NoMatch => break,
                other => panic!("/{pattern}/: {other:?}"),
            }
        }
        assert!(steps > 1, "/{pattern}/ did not stop in the middle");
    }
    let program = Program::compile(b"(a*)*\\1b", Flags::default()).unwrap();
    let mut matcher = Matcher::new();
    matcher.start(&program, long.as_bytes(), true, 0, true, 1 << 20);
    let mut total = 0;
    let end = loop {
        let mut budget = 10_000;
        match matcher.step(&program, long.as_bytes(), &mut budget) {
            Step::OutOfBudget if total < 5_000_000 => total += 10_000 - budget,
            other => break other,
        }
        assert!(matcher.memory() < 4 << 20);
    };
    assert!(matches!(end, Step::OutOfBudget | Step::OutOfMemory | Step::NoMatch), "{end:?}");
}
