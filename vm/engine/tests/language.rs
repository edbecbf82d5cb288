//! The language against Node: each case of `language/*.js` is a script's body, the file of the same name in `.txt`
//! says what Node returns for it (`node vm/engine/tests/language/expect.mjs` writes it).

use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_bytecode::verify;
use forebay_compiler::{SourceSet, compile};
use forebay_engine::{Blueprint, Entry, NoHost, RequestInput, Run, Vm, VmConfig};

/// Runs a script's body in slices of `fuel`; what it returns as JSON, or the name of what it threw.
fn run(source: &str, fuel: u64) -> Result<String, String> {
    let (module, _) = compile(&SourceSet::one("test.js", source), "test.js")
        .map_err(|errors| format!("build: {}", errors.first().map_or("", |e| &e.message)))?;
    let module = verify(module).map_err(|e| e.to_string())?;
    let blueprint = Blueprint::load(&module).map_err(|e| format!("{e:?}"))?;
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(&blueprint).ok_or("not adopted")?;
    let now = Monotonic(0);
    let input = RequestInput::empty();
    let task = vm
        .start(id, Entry::Main, &input, &TaskLimits::default(), TenantId(0), now)
        .map_err(|e| format!("{e:?}"))?;
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
    vm.finish(task);
    String::from_utf8(out).map_err(|e| e.to_string())
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
fn async_generators() {
    check(include_str!("language/async_generators.js"), include_str!("language/async_generators.txt"));
}

#[test]
fn templates() {
    check(include_str!("language/templates.js"), include_str!("language/templates.txt"));
}
