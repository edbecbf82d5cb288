//! Tasks that make far more garbage than their memory: what lives moves to a fresh arena, and nobody notices.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use forebay_base::limits::{EVACUATED_BYTES_MAX, TaskLimits};
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_bytecode::verify;
use forebay_compiler::{SourceSet, compile};
use forebay_engine::{Blueprint, Entry, NoHost, RequestInput, Run, Vm, VmConfig};

const MIB: usize = 1024 * 1024;

/// Runs a script with this much memory; host calls are answered with 1, one turn late, in the reverse order. Its
/// answer or the code of its end, and its fuel.
fn run(source: &str, memory: usize, slice: u64) -> (String, u64) {
    let (module, _) = compile(&SourceSet::one("test.js", source), "test.js")
        .unwrap_or_else(|errors| panic!("{source}\n{errors:?}"));
    let blueprint = Blueprint::load(&verify(module).unwrap()).unwrap();
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(&blueprint).unwrap();
    let limits = TaskLimits { memory, fuel: 1 << 40, ..TaskLimits::default() };
    let task = vm.start(id, Entry::Main, &RequestInput::empty(), &limits, TenantId(0), Monotonic(0)).unwrap();
    let mut effects = Vec::new();
    let text = loop {
        match vm.run(task, Monotonic(0), Timestamp(0), slice, &mut NoHost) {
            Run::SliceOver => {}
            Run::Done => {
                let mut out = Vec::new();
                vm.write_body(task, &mut out).unwrap();
                break String::from_utf8(out).unwrap();
            }
            Run::Parked => {
                vm.take_effects(task, &mut effects);
                let effect = effects.pop().unwrap();
                vm.resume(task, effect.id, &mut |sink| sink.int(1)).unwrap();
            }
            Run::Trap(trap) => break trap.code().to_owned(),
        }
    };
    let fuel = vm.usage(task).1;
    vm.finish(task);
    assert_eq!(vm.tasks(), 0);
    assert!(vm.retire(id), "every task that a move made is gone");
    (text, fuel)
}

/// Each makes some 2 MiB of garbage or more beside little that lives.
const LONG: &[&str] = &[
    "let n = 0; for (let i = 0; i < 60000; i++) { const o = { i, s: [i] }; n += o.s[0]; } return n;",
    "let s = 0; for (let i = 0; i < 3000; i++) s += ('row ' + i).repeat(200).length; return s;",
    "const m = new Map(); for (let i = 0; i < 40000; i++) { m.set(i % 50, { i }); m.delete((i + 7) % 50); }
     let n = 0; for (const [k, v] of m) n += k + v.i; return n;",
    "const f = k => { let c = 0; return () => c += k; }; const keep = [1, 2, 3].map(f); let n = 0;
     for (let i = 0; i < 30000; i++) { const g = f(i); g(); n += keep[i % 3]() % 7; } return n;",
    "const deep = n => n ? deep(n - 1) + Array.from({ length: 300 }, (_, i) => i).reduce((a, b) => a + b) : 0;
     let n = 0; for (let i = 0; i < 10; i++) n += deep(50); return n;",
    "const one = async i => { await null; return { i }.i; };
     return (async () => { let n = 0; for (let i = 0; i < 8000; i++) n += await one(i); return n; })();",
    "let n = 0; for (let i = 0; i < 5000; i++) { n += kv.get('k' + i) + 'x'.repeat(500).length; } return n;",
    "let n = 0; for (let i = 0; i < 300; i++) {
       const all = (async () => (await Promise.all([1, 2, 3].map(async j => kv.get('k' + j) + 'y'.repeat(3000).length))))();
       n += (await all).length; } return n;",
    "let t = ''; for (let i = 0; i < 400; i++) { t = JSON.parse(JSON.stringify({ t: 'abc', list: Array(300).fill(i) })).t; }
     return t;",
    "const o = { a: 1 }; const p = { toJSON() { return [o]; } }; let n = 0;
     for (let i = 0; i < 3000; i++) n += JSON.stringify([p, o, p]).length + JSON.stringify(p).length; return n;",
    "let n = 0; try { for (let i = 0; ; i++) { if (i === 20000) throw { i, pad: [] }; n += [i, i, i].length; } }
     catch (e) { return n + e.i; }",
];

#[test]
fn garbage_is_left_behind() {
    for source in LONG {
        // Large enough that nothing moves: what it must come to.
        let (expect, fuel) = run(source, 1 << 30, 200_000);
        assert!(!expect.contains("exhausted"), "{source}: {expect}");
        assert_eq!(run(source, MIB, 200_000).0, expect, "{source}");
        // Moves cost no fuel, and hide none.
        let (again, with_moves) = run(source, MIB / 2, 1000);
        assert_eq!(again, expect, "{source}");
        assert!(with_moves.abs_diff(fuel) <= fuel / 50, "{source}: {fuel} then {with_moves}");
    }
}

#[test]
fn what_lives_stays_within_the_limit() {
    for source in [
        "const a = []; for (let i = 0; ; i++) a.push({ i });",
        "let s = 'x'; for (;;) { s += s; s.charCodeAt(0); }",
        "const m = new Map(); for (let i = 0; ; i++) m.set('key ' + i, i);",
    ] {
        assert_eq!(run(source, MIB, 200_000).0, "memory_exhausted", "{source}");
    }
    // More lives than is moved: garbage counts then.
    let many = EVACUATED_BYTES_MAX / 8;
    let source = format!("const a = Array({many}).fill(0.5); for (let i = 0; ; i++) a[i % 7] = {{ i }};");
    assert_eq!(run(&source, 8 * EVACUATED_BYTES_MAX, 200_000).0, "memory_exhausted");
}
