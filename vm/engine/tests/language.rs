//! The language against Node: each case of `language/*.js` is a script's body, the file of the same name in `.txt`
//! says what Node returns for it (`node vm/engine/tests/language/expect.mjs` writes it).

use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_bytecode::verify;
use forebay_compiler::{SourceSet, compile};
use forebay_engine::{Blueprint, Entry, NoHost, RequestInput, Run, Vm, VmConfig};

/// Runs a script's body in slices of `fuel`; what it returns as JSON, or the name of what it threw.
fn run(source: &str, fuel: u64) -> Result<String, String> {
    measured(source, fuel, &TaskLimits::default()).map(|(text, _)| text)
}

/// The same, with the bytes and the fuel that it took.
fn measured(source: &str, fuel: u64, limits: &TaskLimits) -> Result<(String, (usize, u64)), String> {
    let (module, _) = compile(&SourceSet::one("test.js", source), "test.js")
        .map_err(|errors| format!("build: {}", errors.first().map_or("", |e| &e.message)))?;
    let module = verify(module).map_err(|e| e.to_string())?;
    let blueprint = Blueprint::load(&module).map_err(|e| format!("{e:?}"))?;
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(&blueprint).ok_or("not adopted")?;
    let now = Monotonic(0);
    let input = RequestInput::empty();
    let task = vm.start(id, Entry::Main, &input, limits, TenantId(0), now).map_err(|e| format!("{e:?}"))?;
    loop {
        match vm.run(task, now, Timestamp(1_700_000_000_123_456), fuel, &mut NoHost) {
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
    let usage = vm.usage(task);
    vm.finish(task);
    Ok((String::from_utf8(out).map_err(|e| e.to_string())?, usage))
}

fn check(cases: &str, expected: &str) {
    let mut wrong = Vec::new();
    let cases: Vec<&str> = cases.split("//--- ").skip(1).collect();
    assert_eq!(cases.len(), expected.lines().count(), "run node vm/engine/tests/language/expect.mjs");
    for (case, expect) in cases.iter().zip(expected.lines()) {
        let (name, source) = case.split_once('\n').unwrap_or((case, ""));
        for fuel in [1_000_000, 3] {
            let found = run(source, fuel);
            if found.as_deref() != Ok(expect) {
                wrong.push(format!("{name}, slices of {fuel}\n  expected {expect}\n  found    {found:?}"));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn arguments() {
    check(include_str!("language/arguments.js"), include_str!("language/arguments.txt"));
}

#[test]
fn generators() {
    check(include_str!("language/generators.js"), include_str!("language/generators.txt"));
}

#[test]
fn for_in() {
    check(include_str!("language/for_in.js"), include_str!("language/for_in.txt"));
}

#[test]
fn walks() {
    check(include_str!("language/walks.js"), include_str!("language/walks.txt"));
}

#[test]
fn awaits() {
    check(include_str!("language/awaits.js"), include_str!("language/awaits.txt"));
}

#[test]
fn async_generators() {
    check(include_str!("language/async_generators.js"), include_str!("language/async_generators.txt"));
}

#[test]
fn templates() {
    check(include_str!("language/templates.js"), include_str!("language/templates.txt"));
}

#[test]
fn generators_cost_what_they_run() {
    // A loop makes no result objects, and nothing else that stays.
    let source = "function* count(n) { for (let i = 0; i < n; i++) yield i; } let s = 0; for (const x of count(100000)) s += x; return s;";
    let limits = TaskLimits::default();
    let (sum, (bytes, fuel)) = measured(source, 1_000_000, &limits).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(sum, "4999950000");
    assert!(bytes < 100_000, "{bytes} bytes for 100000 values");
    assert!(fuel < 100_000 * 40, "{fuel} fuel for 100000 values");
    // Code that the generator doesn't reach isn't paid for, however often it stops.
    let tail = "n += 1; ".repeat(1000);
    let source = format!(
        "function* g() {{ let n = 0; for (;;) {{ if (yield n++) break; }} {tail} return n; }} const it = g(); for (let i = 0; i < 1000; i++) it.next(); return it.next(true).value;"
    );
    let (n, (_, fuel)) = measured(&source, 1_000_000, &limits).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(n, "2000");
    assert!(fuel < 100_000, "{fuel} fuel");
}

#[test]
fn generators_end_within_the_limits_of_their_task() {
    let limits = TaskLimits { fuel: 3_000_000, memory: 4 << 20, ..TaskLimits::default() };
    let trap = |source: &str| {
        measured(source, 1_000_000, &limits).err().map(|e| e.split(':').next().unwrap_or("").to_owned())
    };
    assert_eq!(
        trap("function* g() { for (;;) yield; } for (const x of g()) {}").as_deref(),
        Some("fuel_exhausted")
    );
    assert_eq!(trap("function* g() { for (;;) yield* g(); } [...g()]").as_deref(), Some("script_error"));
    assert_eq!(
        trap(
            "function* g() { yield; } const all = []; for (;;) { const it = g(); it.next(); all.push(it); }"
        )
        .as_deref(),
        Some("memory_exhausted")
    );
    assert_eq!(
        trap("async function* g() { for (;;) yield 1; } const it = g(); for (;;) it.next();").as_deref(),
        Some("memory_exhausted")
    );
    // Suspended ones are no fibers: thousands may wait.
    let many = "function* g() { yield 1; } async function* h() { yield 1; } const all = []; for (let i = 0; i < 2000; i++) { const it = g(); it.next(); const ait = h(); await ait.next(); all.push(it, ait); } return all.length;";
    assert_eq!(run(many, 1_000_000).as_deref(), Ok("4000"));
}
