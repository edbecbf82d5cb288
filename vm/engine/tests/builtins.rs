//! The built-in objects against what ECMAScript says: each line of `builtins/*.js` is an
//! expression, `builtins/expected.txt` says what Node prints for it
//! (`node vm/engine/tests/builtins/expect.mjs` writes it).

use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_bytecode::verify;
use forebay_compiler::{SourceSet, compile};
use forebay_engine::{Blueprint, Entry, NoHost, RequestInput, Run, Vm, VmConfig};

/// Prints a value so that different ones print differently.
const SHOW: &str = include_str!("builtins/show.js");

/// Runs a script's body; its response body, or what ended it.
fn run(source: &str, limits: &TaskLimits) -> Result<String, String> {
    let (module, _) = compile(&SourceSet::one("test.js", source), "test.js")
        .map_err(|errors| format!("build: {}", errors.first().map_or("", |e| &e.message)))?;
    let module = verify(module).map_err(|e| e.to_string())?;
    let blueprint = Blueprint::load(&module).map_err(|e| format!("{e:?}"))?;
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(&blueprint).ok_or("not adopted")?;
    let now = Monotonic(0);
    let task = vm
        .start(id, Entry::Main, &RequestInput::empty(), limits, TenantId(0), now)
        .map_err(|e| format!("{e:?}"))?;
    loop {
        match vm.run(task, now, Timestamp(1_700_000_000_123_456), 100_000, &mut NoHost) {
            Run::SliceOver => {}
            Run::Done => break,
            Run::Parked => return Err("parked".to_owned()),
            Run::Trap(trap) => {
                let report = vm.error(task);
                return Err(format!("{}: {}: {}", trap.code(), report.name, report.message));
            }
        }
    }
    let mut out = Vec::new();
    vm.write_body(task, &mut out).map_err(|e| e.to_string())?;
    vm.finish(task);
    String::from_utf8(out).map_err(|e| e.to_string())
}

/// What each expression prints, in one task for all.
fn evaluate(expressions: &[&str]) -> Result<Vec<String>, String> {
    let mut source = format!("{SHOW}\nconst results = [];\n");
    for expression in expressions {
        source.push_str(&format!(
            "try {{ results.push(show({expression})); }} catch (e) {{ results.push(failure(e)); }}\n"
        ));
    }
    source.push_str("return results.join('\\u0001');\n");
    let text = run(&source, &TaskLimits::default())?;
    Ok(text.split('\u{1}').map(str::to_owned).collect())
}

fn check(name: &str, cases: &str, expected: &str) {
    let cases: Vec<&str> = cases.lines().filter(|l| !l.is_empty() && !l.starts_with("//")).collect();
    let expected: Vec<&str> = expected.lines().collect();
    assert_eq!(cases.len(), expected.len(), "{name}: run node vm/engine/tests/builtins/expect.mjs");
    let mut wrong = Vec::new();
    for (cases, expected) in cases.chunks(40).zip(expected.chunks(40)) {
        let found = evaluate(cases).unwrap_or_else(|whole| {
            // Something ends the task: find it.
            cases
                .iter()
                .map(|c| evaluate(&[c]).map_or_else(|e| format!("{e} ({whole})"), |v| v.concat()))
                .collect()
        });
        for ((case, found), expect) in cases.iter().zip(&found).zip(expected) {
            if found != expect {
                wrong.push(format!("{case}\n     found {found}\n  expected {expect}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{name}: {} of {} differ\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

macro_rules! tables {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            check(
                stringify!($name),
                include_str!(concat!("builtins/", stringify!($name), ".js")),
                include_str!(concat!("builtins/", stringify!($name), ".txt")),
            );
        }
    )*};
}

tables! { array object string regexp number collections json date misc generated }

/// What Node doesn't have, or this appliance does in its own way: `expression => what it prints`.
#[test]
fn own() {
    let lines = include_str!("builtins/own.list").lines();
    let pairs: Vec<(&str, &str)> = lines.filter_map(|l| l.rsplit_once(" => ")).collect();
    let cases: Vec<&str> = pairs.iter().map(|p| p.0).collect();
    let expected: Vec<&str> = pairs.iter().map(|p| p.1).collect();
    check("own", &cases.join("\n"), &expected.join("\n"));
}

/// A host call parks inside any callback of a built-in, and its value comes back there.
#[test]
fn a_callback_may_wait() {
    let source = "const double = x => kv.get('' + x) * 2;
        const sorted = [3, 1, 2].sort((a, b) => kv.get('' + a) - kv.get('' + b));
        const text = 'a1b1'.replaceAll('1', () => kv.get('7'));
        const parsed = JSON.parse('[1,[2]]', (k, v) => (typeof v === 'number' ? double(v) : v));
        return [[1, 2, 3].map(double), sorted, text, parsed, [...new Map([[4, 0]]).keys()].reduce((s, k) => s + double(k), 0)];";
    let (module, _) = compile(&SourceSet::one("test.js", source), "test.js").unwrap();
    let blueprint = Blueprint::load(&verify(module).unwrap()).unwrap();
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(&blueprint).unwrap();
    let now = Monotonic(0);
    let limits = TaskLimits::default();
    let task = vm.start(id, Entry::Main, &RequestInput::empty(), &limits, TenantId(0), now).unwrap();
    let mut effects = Vec::new();
    let mut parked = 0;
    loop {
        match vm.run(task, now, Timestamp(0), 1000, &mut NoHost) {
            Run::SliceOver => {}
            Run::Done => break,
            Run::Parked => {
                vm.take_effects(task, &mut effects);
                for effect in effects.drain(..) {
                    let key: i64 = vm.arg(task, effect.id, 0).as_str().unwrap().parse().unwrap();
                    vm.resume(task, effect.id, &mut |sink| sink.int(key * 10)).unwrap();
                    parked += 1;
                }
            }
            Run::Trap(trap) => panic!("{trap:?} {:?}", vm.error(task)),
        }
    }
    let mut out = Vec::new();
    vm.write_body(task, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "[[20,40,60],[1,2,3],\"a70b70\",[20,[40]],80]");
    assert!(parked >= 12, "{parked}");
}

/// A search that is longer than a slice goes on in the next one, with the same result; another
/// task may search meanwhile.
#[test]
fn a_search_outlives_its_slice() {
    let source = "const text = 'aab'.repeat(3000) + 'é';
        const list = [];
        text.replace(/a+(?=b)|é/g, (m, at) => { if (at % 1000 === 0) list.push(m.length + at); return m; });
        return [list.length, text.match(/b/g).length, text.split(/b/).length, text.replace(/(a)(a)/g, '$2').length,
            text.search(/é/), /(?:(a)|b)+(x?)é$/.exec(text).index, [...text.matchAll(/ab/g)].length, /^(?:\\w\\w?)+c/.test(text)];";
    let expected = "[4,3000,3001,6001,9000,0,3000,false]";
    for slice in [1_000_000_000, 5000] {
        let (module, _) = compile(&SourceSet::one("test.js", source), "test.js").unwrap();
        let blueprint = Blueprint::load(&verify(module).unwrap()).unwrap();
        let mut vm = Vm::new(VmConfig::default());
        let id = vm.adopt(&blueprint).unwrap();
        let (now, limits) = (Monotonic(0), TaskLimits::default());
        let tasks: Vec<_> = (0..2)
            .map(|_| vm.start(id, Entry::Main, &RequestInput::empty(), &limits, TenantId(0), now).unwrap())
            .collect();
        let (mut done, mut slices) = ([false; 2], 0);
        while done != [true; 2] {
            for (task, done) in tasks.iter().zip(&mut done) {
                if *done {
                    continue;
                }
                match vm.run(*task, now, Timestamp(0), slice, &mut NoHost) {
                    Run::SliceOver => slices += 1,
                    Run::Done => *done = true,
                    other => panic!("{other:?} {:?}", vm.error(*task)),
                }
            }
        }
        assert_eq!(slices > 20, slice < 10_000, "{slices} slices of {slice}");
        for task in tasks {
            let mut out = Vec::new();
            vm.write_body(task, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected, "slices of {slice}");
        }
    }
}

/// What a hostile script gets: an error or a trap, within the limits, and soon.
fn ends_with(source: &str, expect: &str) {
    let limits = TaskLimits { fuel: 20_000_000, memory: 16 << 20, ..TaskLimits::default() };
    let found = match run(source, &limits) {
        Ok(body) => body,
        Err(error) => error,
    };
    assert!(found.contains(expect), "{source}\n  found {found}\n  expected {expect}");
}

#[test]
fn hostile_scripts_end_within_their_limits() {
    ends_with("return 'a'.repeat(2 ** 30)", "Invalid string length");
    ends_with("return '1'.repeat(1 << 16).replace(/(.+)/g, '$1'.repeat(1 << 16)).length", "memory_exhausted");
    ends_with("return '1'.repeat(1 << 16).replace('1', '$`$\\''.repeat(1 << 16)).length", "exhausted");
    ends_with("return 'a'.repeat(2 ** 28)", "memory_exhausted");
    ends_with("return 'ab'.padEnd(2 ** 31)", "Invalid string length");
    ends_with("return new Array(1e9) + ''", "Invalid string length");
    ends_with("return new Array(1e8).join('ab')", "memory_exhausted");
    ends_with("return new Array(1e9).fill(0).length", "memory_exhausted");
    ends_with("return new Array(4e9).map(x => x)", "fuel_exhausted");
    ends_with("let s = 'x'; for (;;) s += s;", "Invalid string length");
    ends_with("const a = []; for (;;) a.push(a.length);", "exhausted");
    ends_with("let a = ['xxxxxxxxxx']; for (;;) a = [a.join(), a.join()];", "exhausted");
    ends_with(
        "const a = []; for (let i = 0; i < 1000; i++) a.push(i); a.sort(() => -1); return a.length",
        "1000",
    );
    ends_with(
        "const a = []; for (let i = 0; i < 1000; i++) a.push(i); a.sort(() => Math.random() - 0.5); return a.length",
        "1000",
    );
    ends_with("return /^(?:(a+)+)\\1b$/.test('a'.repeat(5000))", "exhausted");
    ends_with("return /(a|aa)+$/.test('a'.repeat(30000) + 'b')", "false");
    ends_with("return /(.*)*x/.test('a'.repeat(30000))", "false");
    ends_with("return /(?=(a*)*b)c|(a*)*d/.test('a'.repeat(3000))", "e");
    ends_with("let s = 'a'; for (;;) s = s.replace(/a/g, '$&$&');", "exhausted");
    ends_with("return 'a'.repeat(1e6).replace(/a/g, 'x'.repeat(1e4)).length", "memory_exhausted");
    ends_with("return 'ab'.repeat(1e6).split(/(?:)/).length", "exhausted");
    ends_with("return new RegExp('(?:'.repeat(1e5)).source", "SyntaxError");
    ends_with("return new RegExp('a{1000}'.repeat(1e4)).test('a')", "SyntaxError");
    ends_with("for (let i = 0; ; i++) new RegExp('a' + i)", "exhausted");
    ends_with("return JSON.parse('['.repeat(1e6))", "RangeError");
    ends_with("return JSON.stringify(JSON.parse('[' .repeat(4000) + ']'.repeat(4000))).length", "8000");
    ends_with("const a = []; a.push(a); return JSON.stringify(a)", "circular");
    ends_with("const a = {}; a.b = {c: a}; return JSON.stringify(a)", "circular");
    ends_with("let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return JSON.stringify(a)", "RangeError");
    ends_with("let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return a + ''", "RangeError");
    ends_with("let n = 3n; for (;;) n = n * n;", "Maximum BigInt size");
    ends_with("return Array.from({length: 1e9}).length", "exhausted");
    ends_with("const m = new Map(); for (const k of m.set(0, 0).keys()) m.set(k + 1, 0);", "exhausted");
    ends_with(
        "return 'a'.repeat(1e6).split('').length * 0 + 'x'.repeat(1e6).replaceAll('x', 'y'.repeat(1e6))",
        "",
    );
}
