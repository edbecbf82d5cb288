//! Short flat objects take a shorter way in and out, by what was learned from the last ones (builtins/flat.rs): whatever
//! that was, the answer is the one of the general way.

use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_engine::{Blueprint, BlueprintId, Entry, NoHost, RequestInput, Run, Vm, VmConfig};

struct Text(String);

impl forebay_compiler::Loader for Text {
    fn load(&self, _: &str) -> Option<Box<str>> {
        Some(self.0.as_str().into())
    }
}

struct Bench {
    vm: Vm,
    id: BlueprintId,
}

impl Bench {
    fn new(source: &str) -> Self {
        let (module, _) = forebay_compiler::compile(&Text(source.into()), "t.js").expect("compiles");
        let module = forebay_bytecode::verify(module).expect("verifies");
        let blueprint = Blueprint::load(&module).expect("loads");
        let mut vm = Vm::new(VmConfig::default());
        let id = vm.adopt(&blueprint).expect("address space");
        Self { vm, id }
    }

    /// How it ends: status, body and fuel used.
    fn answer(&mut self, body: &[u8]) -> (String, u64) {
        let Self { vm, id } = self;
        let input = RequestInput { method: "POST", body, ..RequestInput::empty() };
        let limits = TaskLimits::default();
        let task = vm.start(*id, Entry::Main, &input, &limits, TenantId(0), Monotonic(0)).expect("starts");
        let run = vm.run(task, Monotonic(0), Timestamp(0), u64::MAX, &mut NoHost);
        let fuel = vm.usage(task).1;
        let mut out = b"before ".to_vec();
        let text = match run {
            Run::Done => {
                let head = vm.response(task).expect("an answer");
                match vm.write_body(task, &mut out) {
                    Ok(()) => {
                        format!("{} {:?} {}", head.status, head.body, String::from_utf8(out).expect("text"))
                    }
                    Err(error) => format!("{} {error}", head.status),
                }
            }
            other => format!("{other:?}"),
        };
        vm.finish(task);
        (text, fuel)
    }
}

/// Says all there is to a payload.
const DESCRIBE: &str = r#"
const p = payload();
const one = v => [typeof v, Object.is(v, -0) ? "-0" : typeof v === "bigint" ? String(v) : v, v === null];
return !p || typeof p !== "object" ? [one(p)] : [
    Object.getPrototypeOf(p) === Object.prototype, Object.isExtensible(p), Object.keys(p).length,
    ...Object.entries(p).map(([k, v]) => [k, ...one(v), typeof v === "string" ? v.length : 0]),
    JSON.stringify(Object.getOwnPropertyDescriptor(p, "a")), p.a, p.id, p.toString === Object.prototype.toString,
];
"#;

/// Compares bodies with the same ones behind so many spaces that they are read in the general way.
struct Readers {
    warm: Bench,
    general: Bench,
}

impl Readers {
    fn new() -> Self {
        Self { warm: Bench::new(DESCRIBE), general: Bench::new(DESCRIBE) }
    }

    fn check(&mut self, body: &[u8]) {
        let mut long = vec![b' '; 2000];
        long.extend_from_slice(body);
        let expected = self.general.answer(&long).0;
        for _ in 0..2 {
            let found = self.warm.answer(body).0;
            assert_eq!(found, expected, "{}", String::from_utf8_lossy(body));
        }
    }
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }
}

const KEYS: &[&str] = &[
    "a",
    "id",
    "name",
    "__proto__",
    "0",
    "17",
    "-0",
    "constructor",
    "toJSON",
    "status",
    "é",
    "a b",
    "",
    "a\\u0062",
    "x\\\"y",
    "a-key-that-is-longer-than-sixteen-bytes",
    "\u{7f}",
    "a-key-that-is-so-long-that-nobody-writes-it-by-what-was-learned-of-the-last-answer",
    "4294967295",
    "\\ud800",
];
const VALUES: &[&str] = &[
    "0",
    "1",
    "12",
    "123",
    "1234",
    "12345",
    "1234567",
    "12345678",
    "123456789",
    "2147483647",
    "2147483648",
    "4294967296",
    "999999999999999",
    "1000000000000000",
    "9007199254740993",
    "123456789012345678901234567890",
    "-0",
    "-1",
    "-17",
    "-2147483648",
    "-2147483649",
    "0.5",
    "-0.0",
    "1.0",
    "10.25",
    "3.141592653589793",
    "0.000001",
    "1e5",
    "1E+2",
    "1e400",
    "-1e400",
    "1e-400",
    "01",
    "00",
    "-",
    "-01",
    "1.",
    ".5",
    "1e",
    "1e+",
    "+1",
    "0x10",
    "NaN",
    "true",
    "false",
    "null",
    "tru",
    "truex",
    "True",
    "nul",
    "undefined",
    "\"\"",
    "\"x\"",
    "\"xy\"",
    "\"seven77\"",
    "\"eight888\"",
    "\"nine99999\"",
    "\"\\n\"",
    "\"a\\u0041\"",
    "\"é\"",
    "\"\u{1f600}\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "\"\u{1}\"",
    "\"\u{7f}\"",
    "\"tab\t\"",
    "\"sixteen bytes 16\"",
    "\"a string that is longer than what is put together before it goes out, that is sixty-four bytes\"",
    "\"open",
    "\"\\\"",
    "[]",
    "{}",
    "[1,2]",
    "{\"a\":1}",
    "[{\"a\":[]}]",
    "\"a\" \"b\"",
    "1 2",
    "",
];
const SPACES: &[&str] = &["", "", "", "", " ", "\n", "\t ", "\r\n", "\u{b}"];

/// A flat object, mostly.
fn body(random: &mut Random) -> Vec<u8> {
    let mut text = String::from(random.one(SPACES));
    text.push('{');
    // Few keys, so that forms come again.
    let keys = random.below(4) + usize::from(random.below(9) == 0) * 20;
    for at in 0..keys {
        if at > 0 {
            text += random.one(SPACES);
            text.push(',');
        }
        text += random.one(SPACES);
        let few = if random.below(3) == 0 { KEYS.len() } else { 3 };
        text += &format!("\"{}\"", random.one(&KEYS[..few]));
        text += random.one(SPACES);
        text.push(':');
        text += random.one(SPACES);
        text += random.one(VALUES);
    }
    text += random.one(SPACES);
    text.push('}');
    text += random.one(&["", "", "", "", "\n", " ", "}", ",", "x"]);
    text.into_bytes()
}

#[test]
fn a_short_body_is_read_as_any_other() {
    let mut readers = Readers::new();
    // The same keys with each value, so that the form is known when the value comes.
    for value in VALUES {
        for form in ["{\"a\":@}", "{\"a\": @, \"id\": 7}", "{\"id\":\"s\",\"a\":@}\n", "{\"a\":@,\"a\":1}"] {
            readers.check(form.replace('@', "1").as_bytes());
            readers.check(form.replace('@', value).as_bytes());
        }
    }
    for key in KEYS {
        readers.check(format!("{{\"{key}\":1}}").as_bytes());
        readers.check(format!("{{\"a\":1,\"{key}\":\"v\"}}").as_bytes());
        readers.check(format!("{{\"{key}\":1,\"{key}\":2}}").as_bytes());
    }
    let seed = std::env::var("FOREBAY_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed_u64);
    println!("FOREBAY_SEED={seed} cargo test -p forebay-engine --test flat_bodies");
    let mut random = Random(seed);
    for _ in 0..4000 {
        let body = body(&mut random);
        readers.check(&body);
    }
}

#[test]
fn a_body_that_was_cut_or_changed_is_read_as_any_other() {
    let mut readers = Readers::new();
    for text in [
        "{\"a\":123}",
        "{\"id\":17,\"a\":\"some text\",\"ok\":true,\"none\":null}",
        "{ \"a\" : -1.5 , \"id\" : false }\n",
        "{\"order\":\"A-17\",\"amount\":12345678,\"price\":19.95,\"note\":\"a text of more than eight bytes\"}",
    ] {
        let text = text.as_bytes();
        for at in 0..text.len() {
            readers.check(text);
            readers.check(&text[..at]);
            let mut doubled = text[..at].to_vec();
            doubled.extend_from_slice(&text[at.saturating_sub(1)..]);
            readers.check(&doubled);
            for byte in b"\"\\{}[],: 09ae.-\0\x1f\x7f\x80\xc3\xff" {
                let mut changed = text.to_vec();
                changed[at] = *byte;
                readers.check(&changed);
            }
        }
    }
}

/// A task costs the same fuel whatever was learned before it.
#[test]
fn fuel_doesnt_depend_on_what_was_learned() {
    let mut bench = Bench::new(DESCRIBE);
    for body in [
        "{\"a\":1,\"b\":\"text of some length, so that it is charged for\",\"c\":[1]}",
        "{\"a\":1,\"b\":\"two words\"}",
    ] {
        let fuels: Vec<u64> = (0..20).map(|_| bench.answer(body.as_bytes()).1).collect();
        // The first of a core teaches the sites.
        assert!(fuels[1..].windows(2).all(|w| w[0] == w[1]), "{fuels:?}");
    }
}

/// What one task was given is not in the answer of the next, wherever reading that one's body stopped.
#[test]
fn nothing_of_a_body_is_seen_by_the_next_task() {
    let mut bench = Bench::new("const p = payload(); return {all: JSON.stringify(p), b: p.b, c: p.c};");
    let secret = "{\"a\":\"hunter2hunter2\",\"b\":\"hunter2\",\"c\":\"hunter2hunter2hunter2hunter2\"}";
    for next in [
        "{\"a\":\"\",\"b\":1,\"c\":2}",
        "{\"a\":\"\",\"b\":1,\"c\":[]}",
        "{\"a\":\"x\"",
        "{\"a\":1,\"b\":\"",
        "{}",
        "{\"a\":1}",
    ] {
        for _ in 0..3 {
            assert!(bench.answer(secret.as_bytes()).0.contains("hunter2"));
            let answer = bench.answer(next.as_bytes()).0;
            assert!(!answer.contains("hunter2"), "{next}: {answer}");
        }
    }
}

/// Answers and what JSON.stringify says of the same object, which asks in the general way.
#[test]
fn a_short_answer_is_written_as_any_other() {
    let values = [
        "0",
        "7",
        "42",
        "100",
        "999",
        "1000",
        "9999",
        "10000",
        "2147483647",
        "-1",
        "-2147483648",
        "2147483648",
        "0.1",
        "-0",
        "1e21",
        "NaN",
        "Infinity",
        "5e-324",
        "true",
        "false",
        "null",
        "undefined",
        "() => 1",
        "Symbol()",
        "''",
        "'x'",
        "'plain text'",
        "'a \"quote\" and a \\\\ and \\n'",
        "'\\u0000\\u001f\\u007f'",
        "'é'",
        "'\\ud800'",
        "'\\u{1f600}'",
        "'<script>'",
        "'a'.repeat(64)",
        "'a'.repeat(65)",
        "'ab' + String(1.5) + 'x'.repeat(700)",
        "'é'.repeat(70)",
        "[]",
        "[1]",
        "{}",
        "{a: 1}",
        "new Date(0)",
        "/x/",
        "new Map",
        "Object.create(null)",
        "Object(1)",
        "Object('s')",
        "{toJSON() { return 1 }}",
    ];
    let mut sources = vec![
        "{}".to_owned(),
        "{['a-key-that-is-longer-than-sixteen-bytes-and-than-thirty-two']: 1, b: 2}".into(),
        "{['k'.repeat(90)]: 1}".into(),
        "{'q\"\\\\': 1, 'é': 2, '\\ud800': 3}".into(),
        "{1: 2, a: 3}".into(),
        "{toJSON: 1}".into(),
        "{toJSON: () => 7}".into(),
        "{get a() { return 1 }}".into(),
        "{[Symbol()]: 1, a: 2}".into(),
        "Object.freeze({a: 1})".into(),
        "Object.create({a: 1})".into(),
        "Object.create(null)".into(),
        "Object.defineProperty({a: 1}, 'b', {value: 2})".into(),
        "Object.defineProperty({a: 1, b: 1}, 'b', {enumerable: false})".into(),
        "(() => { const o = {a: 1, b: 2}; delete o.a; return o })()".into(),
        "(() => { const o = {a: 1}; o.b = 2; o.c = 3; o.d = 4; o.e = 5; return o })()".into(),
        "(() => { Object.prototype.toJSON = () => 'x'; return {a: 1} })()".into(),
        "new (class A { x = 1 })".into(),
        "(function () { return arguments })(1, 2)".into(),
        format!("{{{}}}", (0..40).map(|i| format!("k{i}: {i}")).collect::<Vec<_>>().join(", ")),
        format!("{{{}}}", (0..20).map(|i| format!("k{i}: 'text {i}'")).collect::<Vec<_>>().join(", ")),
    ];
    for value in values {
        sources.push(format!("{{a: {value}}}"));
        sources.push(format!("{{first: {value}, ok: true, n: 12}}"));
        sources.push(format!("{{ok: false, n: 1234, last: {value}}}"));
    }
    for source in &sources {
        // The list is written in the general way, in a machine of its own.
        let list = Bench::new(&format!("const v = {source};\nreturn [v];\n")).answer(b"").0;
        let mut bench = Bench::new(&format!("const v = {source};\nreturn v;\n"));
        for _ in 0..3 {
            let found = bench.answer(b"").0;
            let expected =
                match list.strip_prefix("200 Json before [").and_then(|list| list.strip_suffix(']')) {
                    Some(text) => format!("200 Json before {text}"),
                    None => list.clone(),
                };
            assert_eq!(found, expected, "{source}");
        }
    }
    // All of them in one machine, in turn: what is learned of one is asked for the next.
    let cases: Vec<String> =
        sources.iter().enumerate().map(|(i, s)| format!("case {i}: return {s};")).collect();
    let alone: Vec<String> =
        (0..sources.len()).map(|i| Bench::new(&format!("return {};", sources[i])).answer(b"").0).collect();
    let mut bench = Bench::new(&format!("switch (payload().i) {{ {} }}", cases.join("\n")));
    let mut random = Random(0x5eed);
    for _ in 0..3000 {
        let i = random.below(sources.len());
        assert_eq!(bench.answer(format!("{{\"i\":{i}}}").as_bytes()).0, alone[i], "{}", sources[i]);
    }
}

#[test]
fn a_short_answer_has_its_status() {
    for (source, expect) in [
        (
            "return {status: 404, error: 'no such thing'};",
            "404 Json before {\"status\":404,\"error\":\"no such thing\"}",
        ),
        ("return {status: 204, a: 1};", "204 Empty before "),
        ("return {status: 304};", "304 Empty before "),
        ("return {status: 199};", "200 Json before {\"status\":199}"),
        ("return {status: 600};", "200 Json before {\"status\":600}"),
        ("return {status: -1};", "200 Json before {\"status\":-1}"),
        ("return {status: 65936};", "200 Json before {\"status\":65936}"),
        ("return {status: 404.5};", "200 Json before {\"status\":404.5}"),
        ("return {status: 808 / 2};", "404 Json before {\"status\":404}"),
        ("return {status: 'paid'};", "200 Json before {\"status\":\"paid\"}"),
        ("return {a: 1, status: 201};", "201 Json before {\"a\":1,\"status\":201}"),
        ("const o = {status: 404}; return o;", "200 Json before {\"status\":404}"),
        ("const o = {status: 204, a: 1}; return o;", "200 Json before {\"status\":204,\"a\":1}"),
    ] {
        let mut bench = Bench::new(source);
        for _ in 0..3 {
            assert_eq!(bench.answer(b"").0, expect, "{source}");
        }
    }
}
