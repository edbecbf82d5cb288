//! Whole scripts through the host boundary: results (also through node, where it is
//! installed), limits, parking, sharing, allocations.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use forebay_base::limits::TaskLimits;
use forebay_base::value::ValueBuilder;
use forebay_base::{Monotonic, TenantId, Timestamp, Value, ValueSource};
use forebay_bytecode::{HostFn, verify};
use forebay_engine::{
    Blueprint, BlueprintId, Entry, ErrorSpec, NoHost, RequestInput, Run, TaskHandle, Trap, Vm, VmConfig,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
thread_local! {
    static COUNT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[expect(unsafe_code, reason = "an allocator that counts")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNT.with(std::cell::Cell::get) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Text(String);

impl forebay_compiler::Loader for Text {
    fn load(&self, _: &str) -> Option<Box<str>> {
        Some(self.0.as_str().into())
    }
}

fn load(source: &str) -> Arc<Blueprint> {
    let (module, _) = forebay_compiler::compile(&Text(source.into()), "test.js")
        .unwrap_or_else(|errors| panic!("{source}\n{errors:?}"));
    let module = verify(module).unwrap();
    Blueprint::load(&module).unwrap_or_else(|e| panic!("{source}\n{e:?}"))
}

struct Bench {
    vm: Vm,
    id: BlueprintId,
    limits: TaskLimits,
}

impl Bench {
    fn new(source: &str) -> Self {
        let mut vm = Vm::new(VmConfig::default());
        let id = vm.adopt(&load(source)).unwrap();
        Self { vm, id, limits: TaskLimits::default() }
    }

    fn start(&mut self, body: &str) -> TaskHandle {
        let input = RequestInput { method: "POST", body: body.as_bytes(), ..RequestInput::empty() };
        self.vm.start(self.id, Entry::Main, &input, &self.limits, TenantId(0), Monotonic(0)).unwrap()
    }

    /// Runs until the task ends or parks.
    fn run(&mut self, task: TaskHandle) -> Run {
        loop {
            match self.vm.run(task, Monotonic(1), Timestamp(0), 100_000, &mut NoHost) {
                Run::SliceOver => {}
                other => return other,
            }
        }
    }

    fn body(&mut self, task: TaskHandle) -> String {
        let mut out = Vec::new();
        self.vm.write_body(task, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Runs to the end; every effect is answered with its first argument.
    fn echo(&mut self, body: &str) -> Result<String, String> {
        let task = self.start(body);
        let mut effects = Vec::new();
        loop {
            match self.run(task) {
                Run::Parked => {
                    self.vm.take_effects(task, &mut effects);
                    for effect in effects.drain(..) {
                        let value = ValueBuilder::build(&self.vm.arg(task, effect.id, 0)).unwrap();
                        self.vm.resume(task, effect.id, &mut |sink| value.emit(sink)).unwrap();
                    }
                }
                Run::Done => {
                    let text = self.body(task);
                    self.vm.finish(task);
                    return Ok(text);
                }
                _ => {
                    let report = self.vm.error(task);
                    self.vm.finish(task);
                    return Err(format!("{} {}: {}", report.code, report.name, report.message));
                }
            }
        }
    }
}

/// A script without host calls, and what it returns as JSON.
const TABLE: &[(&str, &str)] = &[
    ("return [1 + 2, 7 % 3, -7 % 3, 2 ** 10, 7 / 2, 1 / 3]", "[3,1,-1,1024,3.5,0.3333333333333333]"),
    (
        "return [2147483647 + 1, -2147483648 - 1, 65536 * 65536, 1 << 31, -1 >>> 0]",
        "[2147483648,-2147483649,4294967296,-2147483648,4294967295]",
    ),
    (
        "return ['a' + 1, 1 + '2', `${1}${null}${[1, 2]}`, [] + {}, '5' * '2']",
        r#"["a1","12","1null1,2","[object Object]",10]"#,
    ),
    ("let s = 0; for (let i = 0; i < 1000; i++) { if (i % 2) continue; s += i; } return s", "249500"),
    (
        "const o = {a: 1}; o.b = 2; o['c'] = 3; delete o.a; return [o, Object.keys(o), 'b' in o]",
        r#"[{"b":2,"c":3},["b","c"],true]"#,
    ),
    (
        "const log = [], key = () => (log.push('key'), { toString() { log.push('text'); return 'k'; } }), rhs = () => log.push('rhs'); for (const f of [() => { null[key()] += rhs(); }, () => { null[key()]++; }, () => { delete null[key()]; }, () => { null[key()] ??= rhs(); }, () => { null[key()] = rhs(); }, () => { null[key()](rhs()); }]) try { f(); } catch (e) { log.push(e.name); } return log.join(' ')",
        "key TypeError key TypeError key TypeError key TypeError key rhs TypeError key TypeError",
    ),
    (
        "const a = [1, 2, 3]; a[5] = 6; a.length = 7; return [a.length, a.indexOf(6), a]",
        r#"[7,5,[1,2,3,null,null,6,null]]"#,
    ),
    (
        "const {a, ...r} = {a: 1, b: 2, c: 3}; const [x, , y = 9, ...z] = [1, 2, undefined, 4, 5]; return [a, r, x, y, z]",
        r#"[1,{"b":2,"c":3},1,9,[4,5]]"#,
    ),
    (
        "function f(a, b = a + 1, ...c) { return [a, b, c]; } return [f(1), f(1, 2, 3, 4), f.length, f.name]",
        r#"[[1,2,[]],[1,2,[3,4]],1,"f"]"#,
    ),
    (
        "const fs = []; for (let i = 0; i < 3; i++) fs.push(() => i++); return fs.map(f => f() + f())",
        "[1,3,5]",
    ),
    (
        "try { try { throw new TypeError('x'); } finally { var q = 1; } } catch (e) { return [e.name, e.message, e instanceof TypeError, e instanceof Error, q]; }",
        r#"["TypeError","x",true,true,1]"#,
    ),
    (
        "const f = () => { for (const x of [1, 2, 3]) { try { if (x === 2) return x; } finally { y.push(x); } } }; const y = []; return [f(), y]",
        "[2,[1,2]]",
    ),
    (
        "function P(x) { this.x = x; } P.prototype.get = function () { return this.x; }; const p = new P(4); return [p.get(), p instanceof P, p.constructor === P]",
        "[4,true,true]",
    ),
    (
        "const o = {get a() { return this.b * 2; }, set a(v) { this.b = v; }, b: 1}; o.a = 5; return [o.a, o.b]",
        "[10,5]",
    ),
    (
        "const o = {valueOf() { return 3; }, toString() { return 's'; }}; return [o + 1, o * 2, `${o}`, o > 2, [o] + '']",
        r#"[4,6,"s",true,"s"]"#,
    ),
    (
        "const it = {[Symbol.iterator]() { let n = 0; return {next: () => ({done: n > 2, value: n++})}; }}; return [[...it], Math.max(...it)]",
        "[[0,1,2],2]",
    ),
    (
        "return [typeof null, typeof undefined, typeof 1n, typeof (() => 1), null == undefined, NaN === NaN, '1' == 1]",
        r#"["object","undefined","bigint","function",true,false,true]"#,
    ),
    (
        "const r = []; const p = Promise.resolve(1).then(v => { r.push('t' + v); return v + 1; }); r.push('sync'); const v = await p; return [r, v]",
        r#"[["sync","t1"],2]"#,
    ),
    (
        "const r = []; (async () => { r.push(1); await null; r.push(3); })(); r.push(2); await null; await null; return r",
        "[1,2,3]",
    ),
    ("try { await Promise.reject(new Error('no')); } catch (e) { return e.message; }", "no"),
    (
        "const f = async x => { if (x > 1) throw new Error('e' + x); return x; }; return await Promise.allSettled([f(1), f(2)].map(p => p.catch(e => e.message)))",
        r#"[{"status":"fulfilled","value":1},{"status":"fulfilled","value":"e2"}]"#,
    ),
    ("return await Promise.race([new Promise(() => {}), Promise.resolve(7)])", "7"),
    (
        "try { await Promise.any([Promise.reject(1)]); } catch (e) { return [e.name, e.errors]; }",
        r#"["AggregateError",[1]]"#,
    ),
    (
        "const o = {}; for (let i = 0; i < 200; i++) o['k' + i] = i; let s = 0; for (const k in o) s += o[k]; return [s, Object.keys(o).length]",
        "[19900,200]",
    ),
    (
        "let s = ''; for (let i = 0; i < 1000; i++) s += 'ab'; return [s.length, s.slice(1, 5), s.at(-1)]",
        r#"[2000,"baba","b"]"#,
    ),
    (
        "return ['\\u{1F600}'.length, [...'a\\u{1F600}b'].length, String.fromCharCode(0xd83d) + String.fromCharCode(0xde00) === '\\u{1F600}']",
        "[2,3,true]",
    ),
    (
        "const a = []; a[4000000000] = 1; a[3] = 2; return [a.length, Object.keys(a)]",
        r#"[4000000001,["3","4000000000"]]"#,
    ),
    (
        "return [3, 1, 2].sort((a, b) => b - a).map(x => x * 2).filter(x => x > 2).reduce((a, b) => a + b, 0)",
        "10",
    ),
    (
        "label: for (let i = 0; i < 3; i++) { for (;;) { if (i === 1) break label; continue label; } } return 'ok'",
        "ok",
    ),
    (
        "return [0.1 + 0.2, 1e21, -0, 123456789012345680000, 5e-324]",
        "[0.30000000000000004,1e+21,0,123456789012345680000,5e-324]",
    ),
    // The first shape that the core learns.
    (
        "const l = []; for (let i = 0; i < 3; i++) { const o = {}; o.first = i; l.push(o); } return l",
        r#"[{"first":0},{"first":1},{"first":2}]"#,
    ),
    ("const f = function g(n) { return n ? n * g(n - 1) : 1; }; return f(10)", "3628800"),
    (
        "const m = new Map([[1, 'a'], ['1', 'b']]); m.set(NaN, 'c'); return [m.get(1), m.get('1'), m.get(NaN), m.size, [...m.keys()].length]",
        r#"["a","b","c",3,3]"#,
    ),
];

#[test]
fn scripts_return_what_they_should() {
    let mut wrong = Vec::new();
    for (source, expect) in TABLE {
        let found = Bench::new(source).echo("");
        if found.as_deref() != Ok(expect) {
            wrong.push(format!("{source}\n  expected {expect}\n  found    {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn node_agrees_with_the_table() {
    let mut script = String::from("'use strict';(async()=>{const out=[];\n");
    for (source, _) in TABLE {
        script.push_str(&format!("out.push(await (async () => {{ {source} }})());\n"));
    }
    script.push_str("for (const v of out) console.log(typeof v === 'string' ? v : JSON.stringify(v));})()");
    let Ok(output) = std::process::Command::new("node").arg("-e").arg(&script).output() else { return };
    let text = String::from_utf8(output.stdout).unwrap();
    for ((source, expect), found) in TABLE.iter().zip(text.lines()) {
        assert_eq!(found, *expect, "node differs for {source}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A script must end with this trap under small limits.
fn ends_with(source: &str, trap: Trap) {
    let mut bench = Bench::new(source);
    bench.limits = TaskLimits { fuel: 20_000_000, memory: 8 << 20, ..TaskLimits::default() };
    let task = bench.start("");
    assert_eq!(bench.run(task), Run::Trap(trap), "{source}: {:?}", bench.vm.error(task));
    bench.vm.finish(task);
    assert_eq!(bench.vm.tasks(), 0);
}

#[test]
fn hostile_scripts_end_within_their_limits() {
    ends_with("for (;;) {}", Trap::Fuel);
    ends_with("const f = () => f(); for (;;) { try { f(); } catch {} }", Trap::Fuel);
    ends_with("const a = []; for (;;) a.push({});", Trap::Memory);
    ends_with("let s = 'x'; for (;;) { s += s; s.charCodeAt(0); }", Trap::Memory);
    ends_with("return 'a'.repeat(2 ** 28)", Trap::Memory);
    ends_with("const a = new Array(1e9); return a.fill(0).length", Trap::Memory);
    ends_with("const f = async () => { await null; return f(); }; await f();", Trap::Memory);
    ends_with(
        "const go = () => Promise.resolve().then(go); go(); await new Promise(() => {});",
        Trap::Memory,
    );
    ends_with("await new Promise(() => {});", Trap::Deadlock);
    ends_with("const f = async n => { await null; }; for (;;) f();", Trap::Fibers);
    ends_with("return payload().x.y", Trap::Exception);
}

#[test]
fn recursion_throws_a_range_error_that_can_be_caught() {
    let source = "const f = n => f(n + 1) + 1; try { f(0); } catch (e) { return e.name; }";
    assert_eq!(Bench::new(source).echo("").as_deref(), Ok("RangeError"));
}

#[test]
fn wall_time_is_checked_between_slices() {
    let mut bench = Bench::new("for (;;) {}");
    bench.limits.wall_time = Duration::from_nanos(10);
    let task = bench.start("");
    assert_eq!(bench.vm.run(task, Monotonic(5), Timestamp(0), 1000, &mut NoHost), Run::SliceOver);
    assert_eq!(bench.vm.run(task, Monotonic(10), Timestamp(0), 1000, &mut NoHost), Run::Trap(Trap::WallTime));
    bench.vm.finish(task);
}

#[test]
fn host_calls_park_at_any_depth() {
    for (source, expect) in [
        ("return kv.get('a')", "a"),
        ("return [1, 2, 3].map(x => kv.get('k' + x))", r#"["k1","k2","k3"]"#),
        (
            "const r = []; [1, 2].forEach(x => { try { r.push(kv.get(x + 'a')); } finally { r.push(kv.get('f')); } }); return r",
            r#"["1a","f","2a","f"]"#,
        ),
        ("return await Promise.all([1, 2, 3].map(async x => kv.get('p' + x)))", r#"["p1","p2","p3"]"#),
        (
            "const f = async x => { const y = kv.get(x); await null; return y + kv.get(x); }; const a = f('x'), b = f('y'); return [await b, await a]",
            r#"["yy","xx"]"#,
        ),
        (
            "const o = {toString() { return kv.get('deep'); }}; return `${o}` + [3, 1, 2].sort((a, b) => (kv.get('s'), a - b)).join('')",
            "deep123",
        ),
        ("const o = {get x() { return kv.get('g'); }}; return o.x + {...o}.x", "gg"),
    ] {
        assert_eq!(Bench::new(source).echo("").as_deref(), Ok(expect), "{source}");
    }
}

#[test]
fn effects_overlap_and_errors_are_thrown_where_the_call_stands() {
    let source = "const f = async k => { try { return kv.get(k); } catch (e) { return e.name + e.code; } };
                  return await Promise.all(['a', 'b'].map(f))";
    let mut bench = Bench::new(source);
    let task = bench.start("");
    assert_eq!(bench.run(task), Run::Parked);
    let mut effects = Vec::new();
    bench.vm.take_effects(task, &mut effects);
    assert_eq!(effects.len(), 2, "both are in flight at once");
    assert_eq!(effects[0].func, HostFn::KvGet);
    assert_eq!(bench.vm.arg(task, effects[1].id, 0).as_str(), Some("b"));
    let spec = ErrorSpec { name: "KvError", message: "gone", code: Some("unavailable"), props: &[] };
    bench.vm.resume_error(task, effects[1].id, &spec).unwrap();
    let row: Vec<Box<str>> = vec!["id".into(), "name".into()];
    bench
        .vm
        .resume(task, effects[0].id, &mut |sink| {
            sink.begin_row(&row)?;
            sink.int(1)?;
            sink.str("n")?;
            sink.end_row()
        })
        .unwrap();
    assert_eq!(bench.run(task), Run::Done);
    assert_eq!(bench.body(task), r#"[{"id":1,"name":"n"},"KvErrorunavailable"]"#);
}

#[test]
fn queries_collect_their_calls() {
    let mut bench = Bench::new("return db().table('user').where('id', 7).get()");
    let task = bench.start("");
    assert_eq!(bench.run(task), Run::Parked);
    let mut effects = Vec::new();
    bench.vm.take_effects(task, &mut effects);
    let ops: Vec<_> = bench.vm.query(task, effects[0].id).collect();
    let names: Vec<&str> = ops.iter().map(|op| op.name).collect();
    assert_eq!(names, ["table", "where", "get"]);
    assert_eq!(ops[1].arg(1).as_i64(), Some(7));
    let sink = bench.vm.result_sink(task, effects[0].id).unwrap();
    Value::List(vec![Value::Int(1)]).emit(sink).unwrap();
    bench.vm.resume_with_result(task, effects[0].id).unwrap();
    assert_eq!(bench.run(task), Run::Done);
    assert_eq!(bench.body(task), "[1]");
}

#[test]
fn whole_results_wait_for_their_turn() {
    let mut bench =
        Bench::new("const f = async () => db().table('t').get(); return await Promise.all([f(), f()])");
    let tasks = [bench.start(""), bench.start("")];
    let mut waiting = Vec::new();
    for task in tasks {
        assert_eq!(bench.run(task), Run::Parked);
        let mut effects = Vec::new();
        bench.vm.take_effects(task, &mut effects);
        waiting.extend(effects.iter().map(|effect| (task, effect.id)));
    }
    // One batch of received bytes may hold the rows of many statements; that they are done is told afterwards.
    for (number, (task, effect)) in (0..).zip(&waiting) {
        bench.vm.result_sink(*task, *effect).unwrap().int(-1).unwrap();
        let sink = bench.vm.result_sink(*task, *effect).unwrap(); // starts over
        Value::List(vec![Value::Int(number)]).emit(sink).unwrap();
    }
    for (task, effect) in waiting.iter().rev() {
        bench.vm.resume_with_result(*task, *effect).unwrap();
    }
    assert!(bench.vm.resume_with_result(tasks[0], waiting[0].1).is_err(), "only once");
    for (task, expected) in tasks.into_iter().zip(["[[0],[1]]", "[[2],[3]]"]) {
        assert_eq!(bench.run(task), Run::Done);
        assert_eq!(bench.body(task), expected);
    }
}

#[test]
fn errors_of_the_host_have_the_place_of_the_call() {
    let mut bench = Bench::new("const f = () => kv.get('k');\nf();");
    let task = bench.start("");
    assert_eq!(bench.run(task), Run::Parked);
    let mut effects = Vec::new();
    bench.vm.take_effects(task, &mut effects);
    let spec = ErrorSpec { name: "KvError", message: "gone", code: None, props: &[] };
    bench.vm.resume_error(task, effects[0].id, &spec).unwrap();
    assert_eq!(bench.run(task), Run::Trap(Trap::Exception));
    let report = bench.vm.error(task);
    assert_eq!((&*report.name, &*report.message), ("KvError", "gone"));
    assert!(report.position.is_some_and(|(file, start, _)| (file, start) == (0, 16)), "{report:?}");
    let places: Vec<&str> =
        report.stack.lines().map(|line| line.split('(').next_back().unwrap_or(line)).collect();
    assert!(
        places.len() == 2 && places[0].contains(":1:17") && places[1].contains(":2:1"),
        "{}",
        report.stack
    );
}

#[test]
fn a_task_is_aborted_from_outside() {
    let mut bench = Bench::new("return kv.get('k')");
    let task = bench.start("");
    assert_eq!(bench.run(task), Run::Parked);
    bench.vm.abort(task, Trap::WallTime);
    assert_eq!(&*bench.vm.error(task).code, "wall_time_exceeded");
    bench.vm.finish(task);
    assert_eq!(bench.vm.tasks(), 0);
}

#[test]
fn bad_bodies_are_the_clients_fault() {
    let mut bench = Bench::new("return payload()");
    let task = bench.start("{\"a\":");
    assert_eq!(bench.run(task), Run::Trap(Trap::BadRequest));
    bench.vm.finish(task);
    assert_eq!(bench.echo("{\"n\":9007199254740993}").as_deref(), Ok("{\"n\":9007199254740993}"));
}

#[test]
fn two_tasks_interleave_without_seeing_each_other() {
    let source = "const p = payload(); let n = 0; for (let i = 0; i < 100000; i++) n += p.k; return n";
    let mut bench = Bench::new(source);
    let (a, b) = (bench.start("{\"k\":1}"), bench.start("{\"k\":2}"));
    let (mut ra, mut rb) = (Run::SliceOver, Run::SliceOver);
    let mut turns = 0;
    while ra == Run::SliceOver || rb == Run::SliceOver {
        for (task, run) in [(a, &mut ra), (b, &mut rb)] {
            if *run == Run::SliceOver {
                *run = bench.vm.run(task, Monotonic(0), Timestamp(0), 5000, &mut NoHost);
                turns += 1;
            }
        }
    }
    assert!(turns > 10);
    assert_eq!((bench.body(a), bench.body(b)), ("100000".to_owned(), "200000".to_owned()));
}

#[test]
fn a_blueprint_is_shared_by_threads_and_immutable() {
    let source = "const conf = {n: 1, list: [1, 2]};
                  work('S').get('/s', () => { try { conf.n = 2; } catch (e) { return [conf.n, conf.list.map(x => x + 1), e.message]; } })";
    let blueprint = load(source);
    let run = |blueprint: &Arc<Blueprint>| {
        let mut vm = Vm::new(VmConfig::default());
        let id = vm.adopt(blueprint).unwrap();
        let mut bench = Bench { vm, id, limits: TaskLimits::default() };
        for _ in 0..100 {
            let input = RequestInput::empty();
            let task = bench
                .vm
                .start(id, Entry::Handler(0), &input, &bench.limits, TenantId(0), Monotonic(0))
                .unwrap();
            assert_eq!(bench.run(task), Run::Done, "{:?}", bench.vm.error(task));
            let text = bench.body(task);
            assert!(text.starts_with("[1,[2,3],\"module objects are immutable"), "{text}");
            bench.vm.finish(task);
        }
        assert!(bench.vm.retire(id));
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| run(&blueprint));
        }
    });
}

#[test]
fn a_small_handler_allocates_nothing_in_steady_state() {
    let mut bench = Bench::new("let input = payload(); return {ok: true, n: input.a + 1}");
    let mut out = Vec::with_capacity(256);
    let mut once = |bench: &mut Bench| {
        let task = bench.start("{\"a\":41}");
        assert_eq!(bench.run(task), Run::Done);
        out.clear();
        bench.vm.write_body(task, &mut out).unwrap();
        bench.vm.finish(task);
    };
    (0..10).for_each(|_| once(&mut bench));
    COUNT.with(|c| c.set(true));
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..100).for_each(|_| once(&mut bench));
    let made = ALLOCATIONS.load(Ordering::Relaxed) - before;
    COUNT.with(|c| c.set(false));
    assert_eq!(out, b"{\"ok\":true,\"n\":42}");
    assert_eq!(made, 0, "allocations in 100 calls");
}
