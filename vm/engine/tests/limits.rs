//! Hostile scripts: each ends within its limits with a clear error, gives way to others while it runs, and gives
//! its memory back. And the table of limits in docs/LIMITS.md against the code.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use forebay_base::limits::{TaskLimits, WorkerLimits};
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_bytecode::verify;
use forebay_compiler::{SourceSet, compile};
use forebay_engine::{Blueprint, Entry, NoHost, RequestInput, Run, Vm, VmConfig};
use std::sync::Mutex;

const SLICE: u64 = 200_000;
/// One looks at what the process keeps: the others wait.
static ALONE: Mutex<()> = Mutex::new(());

/// How a script ended, and the most fuel that one of its slices took.
struct End {
    text: String,
    longest_slice: u64,
    bytes: usize,
}

fn run(vm: &mut Vm, source: &str, limits: &TaskLimits) -> End {
    let (module, _) = compile(&SourceSet::one("test.js", source), "test.js")
        .unwrap_or_else(|errors| panic!("{source}\n{errors:?}"));
    let blueprint = Blueprint::load(&verify(module).unwrap()).unwrap();
    let id = vm.adopt(&blueprint).unwrap();
    let task = vm.start(id, Entry::Main, &RequestInput::empty(), limits, TenantId(0), Monotonic(0)).unwrap();
    let (mut used, mut longest_slice) = (0, 0);
    let text = loop {
        let run = vm.run(task, Monotonic(0), Timestamp(0), SLICE, &mut NoHost);
        let fuel = vm.usage(task).1;
        longest_slice = longest_slice.max(fuel - used);
        used = fuel;
        match run {
            Run::SliceOver => {}
            Run::Done => {
                let mut out = Vec::new();
                vm.write_body(task, &mut out).unwrap();
                break String::from_utf8(out).unwrap();
            }
            Run::Parked => break "parked".to_owned(),
            Run::Trap(trap) => {
                let report = vm.error(task);
                break format!("{}: {}: {}", trap.code(), report.name, report.message);
            }
        }
    };
    let bytes = vm.finish(task);
    assert!(vm.retire(id));
    End { text, longest_slice, bytes }
}

/// Script; what its end says.
const HOSTILE: &[(&str, &str)] = &[
    // Time.
    ("for (;;);", "fuel_exhausted"),
    ("for (;;) [1, 2, 3].map(x => x);", "exhausted"),
    ("const f = () => { for (;;) { try { f(); } catch { } } }; f();", "exhausted"),
    ("for (;;) { try { null.x; } catch { } }", "exhausted"),
    ("const o = { get x() { for (;;); } }; return o.x;", "fuel_exhausted"),
    ("const o = { get x() { return o.x; } }; return o.x;", "Maximum call stack"),
    ("const o = { valueOf() { return +o; } }; return +o;", "Maximum call stack"),
    ("const o = { toString() { return '' + o; } }; return '' + o;", "Maximum call stack"),
    ("const o = { toJSON() { return [o]; } }; return JSON.stringify(o);", "fuel_exhausted"),
    ("const o = { get a() { return { ...o }; } }; return { ...o };", "Maximum call stack"),
    (
        "const it = { [Symbol.iterator]() { return { next: () => ({ done: false }) }; } }; return [...it];",
        "exhausted",
    ),
    (
        "const it = { [Symbol.iterator]() { return { next: () => ({ done: false }) }; } }; for (const x of it);",
        "exhausted",
    ),
    ("const m = new Map([[0, 0]]); for (const k of m.keys()) { m.delete(k); m.set(k + 1, 0); }", "exhausted"),
    ("const s = new Set([0]); s.forEach(k => { s.add(k + 1); });", "exhausted"),
    ("return Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1);", "exhausted"),
    ("return Array.prototype.reverse.call({ length: 2 ** 53 - 1 });", "exhausted"),
    ("Array.prototype.push.apply([], { length: 1e9 });", "too many arguments"),
    ("return Math.max(...new Array(1e5));", "too many arguments"),
    // Memory.
    ("return new Array(1e9) + '';", "Invalid string length"),
    ("return 'a'.repeat(2 ** 30);", "Invalid string length"),
    ("return 'a'.repeat(2 ** 28);", "memory_exhausted"),
    ("let s = 'x'; for (;;) s += s;", "Invalid string length"),
    ("let s = 'x'; for (;;) { s += s; s.charCodeAt(0); }", "exhausted"),
    ("const a = []; for (;;) a.push(a);", "memory_exhausted"),
    ("const a = []; a[4294967294] = 1; return a.sort().length + a.concat(a).length;", ""),
    ("let a = [1]; for (;;) a = a.concat(a);", "memory_exhausted"),
    ("let a = [1]; for (;;) a = [...a, ...a];", "memory_exhausted"),
    ("const o = {}; for (let i = 0; ; i++) o['key' + i] = i;", "exhausted"),
    ("const m = new Map(); for (let i = 0; ; i++) m.set({}, i);", "memory_exhausted"),
    ("return 'ab'.padEnd(2 ** 28, 'xyz').length;", "memory_exhausted"),
    ("return 'a,'.repeat(4e6).split(',').length;", "memory_exhausted"),
    ("return 'x'.repeat(1e6).replaceAll('x', 'y'.repeat(1e6)).length;", ""),
    ("let n = 3n; for (;;) n *= n;", "Maximum BigInt size"),
    ("return (2n ** 65000n).toString().length;", "19567"),
    (
        "const f = n => { const big = new Array(1000).fill(n); return f(n + 1) + big.length; }; return f(0);",
        "exhausted",
    ),
    ("for (let i = 0; ; i++) globalThis['g' + i] = i;", "exhausted"),
    ("for (;;) Symbol.for('s' + Math.random());", "exhausted"),
    // Depth.
    ("const f = () => f(); f();", "Maximum call stack"),
    ("const f = () => [1].map(f); f();", "Maximum call stack"),
    ("return JSON.parse('['.repeat(1e6));", "RangeError"),
    ("let a = []; for (let i = 0; i < 2e4; i++) a = [a]; return JSON.stringify(a);", "RangeError"),
    (
        "let a = []; for (let i = 0; i < 2e4; i++) a = [a]; return a.flat(Infinity).length + a.join();",
        "RangeError",
    ),
    ("let o = {}; for (let i = 0; i < 3e4; i++) o = Object.create(o); return o.missing ?? 'none';", "none"),
    // Comparators and callbacks that lie.
    ("const a = Array.from({ length: 5000 }, (_, i) => i); a.sort(() => 1); return a.length;", "5000"),
    ("const a = Array.from({ length: 5000 }, (_, i) => i); a.sort(() => NaN); return a.length;", "5000"),
    ("const a = [3, 2, 1]; a.sort(() => { a.length = 0; a.push(9, 9); return 1; }); return a.length;", ""),
    ("const a = [1, 2, 3]; return a.map((x, i) => { a.length = 0; return x; }).length;", "3"),
    ("const a = [5]; a.forEach(x => a.push(x)); return a.length;", "2"),
    // Prototype games.
    ("Object.prototype.toJSON = () => { for (;;); }; return JSON.stringify({});", "fuel_exhausted"),
    ("Array.prototype.push = function () { for (;;); }; return [1].concat([2]).length;", "2"),
    ("Object.setPrototypeOf(Object.prototype, Array.prototype);", "TypeError"),
    ("const a = {}; const b = Object.create(a); Object.setPrototypeOf(a, b);", "Cyclic"),
    (
        "Object.defineProperty(Array.prototype, 0, { set() { for (;;); } }); const a = []; a[0] = 1;",
        "fuel_exhausted",
    ),
    ("Array.prototype[Symbol.iterator] = () => ({ next: () => ({}) }); return [...[1]];", "exhausted"),
    // Promises.
    (
        "const all = []; for (let i = 0; i < 1e6; i++) all.push(Promise.resolve(i)); return (await Promise.all(all)).length;",
        "",
    ),
    ("const f = () => Promise.resolve().then(f); await f();", "exhausted"),
    ("const f = async () => { await f(); }; await f();", "too_many_fibers"),
    ("const f = async () => { await null; await f(); }; await f();", "too_many_fibers"),
    ("await new Promise(() => {});", "never_settles"),
    ("await { then(resolve) { resolve(this); } };", "exhausted"),
];

/// Fuel by which a slice may be longer than what it was given: what one native does between two looks.
const OVERSHOOT_MAX: u64 = 3_000_000;
/// The same for the text of the largest BigInt, which takes some milliseconds.
const BIGINT_OVERSHOOT_MAX: u64 = 7_000_000;

#[test]
fn hostile_scripts_end_within_their_limits_and_give_way() {
    let _alone = ALONE.lock();
    let limits = TaskLimits { fuel: 8_000_000, memory: 4 << 20, ..TaskLimits::default() };
    let mut vm = Vm::new(VmConfig::default());
    let mut wrong = Vec::new();
    assert!(HOSTILE.len() >= 40);
    for (source, expect) in HOSTILE {
        let end = run(&mut vm, source, &limits);
        let overshoot = if source.contains("2n **") { BIGINT_OVERSHOOT_MAX } else { OVERSHOOT_MAX };
        let inside = end.bytes <= limits.memory + (1 << 20);
        if !end.text.contains(expect) || end.longest_slice > SLICE + overshoot || !inside {
            wrong.push(format!(
                "{source}\n   ended with {} (expected {expect}), a slice of {}, {} bytes",
                end.text, end.longest_slice, end.bytes
            ));
        }
        // The core goes on as if nothing had been.
        let after = run(&mut vm, "return [1, 2].map(x => x * 2).join();", &limits);
        assert_eq!(after.text, "2,4", "after {source}");
        assert!(after.bytes < 64 << 10, "after {source}: {}", after.bytes);
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), HOSTILE.len(), wrong.join("\n"));
    assert_eq!(vm.tasks(), 0);
}

/// Pages that tasks touched are the kernel's again: what stays is a bounded part of one arena.
#[test]
fn memory_is_given_back() {
    let _alone = ALONE.lock();
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let line = text.lines().find(|l| l.starts_with("Rss:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
    };
    let limits = TaskLimits { memory: 256 << 20, ..TaskLimits::default() };
    let mut vm = Vm::new(VmConfig::default());
    run(&mut vm, "return 1;", &limits);
    let before = resident();
    for _ in 0..2 {
        let end = run(
            &mut vm,
            "const a = []; for (let i = 0; i < 1e6; i++) a.push({ i }); return a.length;",
            &limits,
        );
        assert_eq!(end.text, "1000000");
        assert!(end.bytes > 48 << 20);
    }
    let kept = resident().saturating_sub(before);
    assert!(kept < 32 << 20, "{kept} bytes stay");
}

/// Natives that go through much give way in the middle, and what they give is whole.
#[test]
fn long_natives_give_way() {
    let _alone = ALONE.lock();
    let limits = TaskLimits { fuel: 10_000_000_000, memory: 1 << 30, ..TaskLimits::default() };
    let mut vm = Vm::new(VmConfig { arena_reserve: 1 << 30, ..VmConfig::default() });
    let cases = [
        (
            "const a = []; for (let i = 0; i < 60000; i++) a.push((i * 7919) % 60000); a.sort(); return a[1] + ' ' + a[59999] + ' ' + a.every((v, i) => i === 0 || '' + a[i - 1] <= '' + v);",
            "1 9999 true",
        ),
        ("return 'äß '.repeat(100000).toUpperCase() === 'ÄSS '.repeat(100000);", "true"),
        (
            "const t = 'ΑΣ'.repeat(20000) + ' ' + 'ΑΣ'.repeat(20000); const l = t.toLowerCase(); return l.length + l.slice(-2) + l.slice(39998, 40002);",
            "80001ας",
        ),
        (
            "const a = new Array(300000).fill(7); const t = a.join('-'); return t.length + t.slice(0, 3);",
            "5999997-7",
        ),
        (
            "return 'ab'.repeat(200000).split('').length + ' ' + 'a,b,'.repeat(50000).split(',').length;",
            "400000 100001",
        ),
        (
            "const a = new Array(500000).fill('x'); a.push('y'); return a.indexOf('y') + ' ' + a.includes('z');",
            "500000 false",
        ),
        (
            "const q = []; let n = 0; for (let i = 0; i < 100000; i++) q.push(i); while (q.length) n += q.shift(); return n;",
            "4999950000",
        ),
        (
            "const t = '[' + '{\"a\":[1,2,{\"b\":\"x\"}],\"c\":null},'.repeat(100000) + '0]'; const v = JSON.parse(t); return v.length + ' ' + (JSON.stringify(v) === t) + JSON.stringify(v[99999]);",
            "100001 true{\"a\":[1,2,{\"b\":\"x\"}],\"c\":null}",
        ),
        (
            "const a = new Array(3000000); return JSON.stringify(a).length + JSON.stringify({ a: new Array(2000000).fill(() => 0) }, null, 1).slice(-9);",
            "15000001",
        ),
        (
            "const t = '[' + '1,'.repeat(2000000) + 'x]'; try { JSON.parse(t); } catch (e) { return e.message; }",
            "Unexpected token 'x' in JSON at position 4000001",
        ),
        (
            "const q = '[' + '7,'.repeat(200000) + '7]'; const one = async () => JSON.parse(q).length; const both = await Promise.all([one(), one()]); return both.join() + JSON.parse(q, (k, v) => v === 7 ? 8 : v)[5];",
            "200001,2000018",
        ),
        (
            "const t = 'ä€😀x'.repeat(20000); let n = 0; for (let i = 0; i < t.length; i++) n += t.charCodeAt(i) & 1; return n;",
            "",
        ),
    ];
    for (source, expect) in cases {
        let end = run(&mut vm, source, &limits);
        assert!(end.text.contains(expect), "{source}\n  {}", end.text);
        assert!(end.longest_slice < SLICE + 400_000, "{source}: a slice of {}", end.longest_slice);
    }
}

#[test]
fn the_table_of_limits_says_what_the_code_does() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/LIMITS.md")).unwrap();
    let TaskLimits { fuel, wall_time, memory, stack_depth, fibers, effects } = TaskLimits::default();
    let rows = [
        ("fuel", fuel.to_string()),
        ("wall_time", format!("{} s", wall_time.as_secs())),
        ("memory", memory.to_string()),
        ("stack_depth", stack_depth.to_string()),
        ("fibers", fibers.to_string()),
        ("effects", effects.to_string()),
    ];
    for (key, default) in rows {
        let found = text.lines().find(|l| l.contains(&format!("| {default} | `{key}` |")));
        let row = found.unwrap_or_else(|| panic!("no row for {key} = {default}"));
        // The code that it names is one that tasks end with.
        for code in row
            .split('`')
            .filter(|c| c.contains("exhausted") || c.contains("exceeded") || c.starts_with("too_many"))
        {
            assert!(forebay_engine::Trap::ALL.iter().any(|t| t.code() == code), "{code}");
        }
    }
    assert!(text.contains(&format!("`slice_fuel` ({})", WorkerLimits::default().slice_fuel)));
}
