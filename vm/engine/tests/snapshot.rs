//! Snapshots: a task that is saved and restored in a fresh machine at every host call and every safepoint ends as one
//! that nobody touched; damaged records are refused or run safely; a file of old resumes.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use forebay_base::limits::TaskLimits;
use forebay_base::value::ValueBuilder;
use forebay_base::{Monotonic, TenantId, Timestamp, ValueSource};
use forebay_bytecode::verify;
use forebay_engine::{
    Blueprint, BlueprintId, Effect, Entry, NoHost, Packing, RecordKey, RequestInput, RestoreInput, Run,
    Snapshot, SnapshotError, TaskHandle, Vm, VmConfig,
};
use std::collections::BTreeMap;
use std::sync::Arc;

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

type Records = BTreeMap<RecordKey, Vec<u8>>;

/// A machine with one task.
struct Machine {
    vm: Vm,
    id: BlueprintId,
    task: TaskHandle,
    limits: TaskLimits,
    waiting: Vec<Effect>,
}

impl Machine {
    fn start(blueprint: &Arc<Blueprint>) -> Self {
        let mut vm = Vm::new(VmConfig::default());
        let id = vm.adopt(blueprint).unwrap();
        let limits = TaskLimits::default();
        let input = RequestInput {
            method: "POST",
            path: "/a",
            body: br#"{"n":3,"list":[1,{"deep":"x"}]}"#,
            params: &[("id", "7")],
            ..RequestInput::empty()
        };
        let module = blueprint.module();
        let entry = match module.works.first().and_then(|w| w.routes.first()) {
            Some(route) => Entry::of(&route.action).unwrap(),
            None => Entry::Main,
        };
        let task = vm.start(id, entry, &input, &limits, TenantId(0), Monotonic(0)).unwrap();
        Self { vm, id, task, limits, waiting: Vec::new() }
    }

    fn restore(blueprint: &Arc<Blueprint>, records: &Records) -> Result<Self, SnapshotError> {
        let mut vm = Vm::new(VmConfig::default());
        let id = vm.adopt(blueprint).unwrap();
        let limits = TaskLimits::default();
        let input =
            RestoreInput { limits: &limits, tenant: TenantId(0), now: Monotonic(5), fresh_wall_time: false };
        let task = vm.restore(id, records.iter().map(|(k, v)| (*k, v.as_slice())), &input)?;
        Ok(Self { vm, id, task, limits, waiting: Vec::new() })
    }

    fn save(&mut self, packing: Packing) -> Records {
        let mut snapshot = Snapshot::new();
        self.vm.snapshot(self.task, packing, Monotonic(5), &mut snapshot).unwrap();
        snapshot.records().map(|(key, bytes)| (key, bytes.to_vec())).collect()
    }

    fn step(&mut self, fuel: u64) -> Run {
        self.vm.run(self.task, Monotonic(6), Timestamp(1_700_000_000_123_456), fuel, &mut NoHost)
    }

    /// Answers the oldest effect with its first argument.
    fn answer_one(&mut self) -> bool {
        self.vm.take_effects(self.task, &mut self.waiting);
        if self.waiting.is_empty() {
            return false;
        }
        let effect = self.waiting.remove(0);
        let value = ValueBuilder::build(&self.vm.arg(self.task, effect.id, 0)).unwrap();
        self.vm.resume(self.task, effect.id, &mut |sink| value.emit(sink)).unwrap();
        true
    }

    fn result(&mut self, run: Run) -> String {
        match run {
            Run::Done => {
                let mut out = Vec::new();
                self.vm.write_body(self.task, &mut out).unwrap();
                String::from_utf8(out).unwrap()
            }
            _ => {
                let report = self.vm.error(self.task);
                format!("{} {}: {}", report.code, report.name, report.message)
            }
        }
    }
}

/// Runs a script without a pause; effects are answered one at a time, the oldest first.
fn undisturbed(blueprint: &Arc<Blueprint>) -> String {
    let mut m = Machine::start(blueprint);
    loop {
        match m.step(1_000_000) {
            Run::SliceOver => {}
            Run::Parked => assert!(m.answer_one()),
            run => return m.result(run),
        }
    }
}

/// The same, saved and restored in a new machine after every slice of `fuel`.
fn disturbed(blueprint: &Arc<Blueprint>, fuel: u64, packing: Packing, most: usize) -> (String, usize) {
    let mut m = Machine::start(blueprint);
    let mut moves = 0;
    loop {
        if moves < most {
            let records = m.save(packing);
            let mut next = Machine::restore(blueprint, &records).unwrap_or_else(|e| panic!("{e}"));
            let again = next.save(Packing::Keep);
            if packing == Packing::Keep {
                assert_eq!(records, again, "a restored task is saved as it was");
            }
            assert_eq!(m.vm.usage(m.task).1, next.vm.usage(next.task).1, "fuel");
            m = next;
            moves += 1;
        }
        match m.step(fuel) {
            Run::SliceOver => {}
            Run::Parked => assert!(m.answer_one(), "parked without an effect"),
            run => return (m.result(run), moves),
        }
    }
}

/// Scripts whose state is of every kind. `f(x)` is a host call that answers x.
const CORPUS: &[(&str, &str)] = &[
    (
        "closures",
        "let n = 0; const up = () => ++n; const list = []; for (let i = 0; i < 5; i++) { list.push(() => i + up()); kv.get('k'); } return list.map(f => f());",
    ),
    (
        "regular expressions",
        "const r = /(?<d>\\d)-/g; r.lastIndex = 2; kv.get('k'); const list = [r.lastIndex, r.flags, r.source]; for (let m; (m = r.exec('a1-b2-c')); ) list.push(m.groups.d + kv.get('m')); return list",
    ),
    ("map", "return [1,2,3].map(x => kv.get('v' + x) + x)"),
    ("sort", "const l = [5,3,9,1,7,2]; l.sort((a, b) => { kv.get('k'); return a - b; }); return l"),
    (
        "sort of more than one run",
        "const l = []; let x = 7; for (let i = 0; i < 150; i++) { x = (x * 1103515245 + 12345) % 2147483648; l.push({ k: x % 50, i }); } let n = 0; l.sort((a, b) => { if (++n % 97 === 0) kv.get('k'); return a.k - b.k; }); return [n, l.map(o => o.k * 1000 + o.i)]",
    ),
    (
        "comparators that answer objects",
        "const l = [5, 3, undefined, 9, 1]; const r = l.toSorted((a, b) => ({ valueOf() { kv.get('k'); return b - a; } })); return [r, l.sort(), l]",
    ),
    (
        "an array that its comparator and its callback change",
        "const l = [4, 3, 2, 1]; let n = 0; l.sort((a, b) => { if (n++ == 1) { l.length = 1; kv.get('k'); } return a - b; }); const m = l.map((x, i, a) => { if (i == 0) { a.length = 3; Object.defineProperty(a, 1, { get() { return kv.get('g') + 5; } }); } return x + kv.get('m'); }); return [l.length, m]",
    ),
    (
        "callbacks of every kind",
        "const l = [1, 2, 3, 4]; const at = x => { kv.get('f'); return x > 2; }; const out = []; l.forEach(x => { out.push(x + kv.get('e')); }); return [out, l.some(at), l.every(at), l.find(at), l.findIndex(at), l.findLast(at), l.findLastIndex(at), l.reduceRight((a, x) => a + kv.get('r') + x, 'z'), l.map(x => l.filter(y => kv.get('n') !== 'q' && y > x).map(y => x * y)), await Promise.all(l.map(async x => { await null; return x + kv.get('p'); }))]",
    ),
    (
        "reduce and filter",
        "return [1,2,3,4].filter(x => kv.exists('x') && x % 2).reduce((a, x) => { kv.get('r'); return a + x; }, 0)",
    ),
    (
        "try finally",
        "const log = []; function f() { try { kv.get('a'); throw new TypeError('bad'); } catch (e) { log.push(e.message, e instanceof TypeError, kv.get('b')); return 'r'; } finally { log.push(kv.get('c')); } } log.push(f()); return log",
    ),
    (
        "promise all",
        "const one = async id => { const v = kv.get('p' + id); await null; return v + kv.get('q' + id); }; return await Promise.all([1,2,3].map(one))",
    ),
    (
        "promise race and allSettled",
        "const f = async x => { kv.get(x); if (x == 'b') throw new Error('no ' + x); return x; }; const r = await Promise.allSettled(['a','b','c'].map(f)); return [r.map(s => s.status + (s.value ?? s.reason.message)), await Promise.race([f('x'), f('y')])]",
    ),
    (
        "then chains",
        "const p = new Promise(r => r(kv.get('t'))); const q = p.then(x => x + 1).then(x => { kv.get('u'); return [x]; }); return await q.then(([x]) => x)",
    ),
    (
        "cycles and sharing",
        "const a = { n: 1 }; a.self = a; const b = [a, a, { a }]; kv.get('k'); b[0].n = 5; return [b[1].n, b[2].a === a, a.self.self === b[0]]",
    ),
    (
        "map iteration",
        "const m = new Map([['a', 1], ['b', 2], [3, 'c'], [NaN, 4], [10n, 5]]); const out = []; for (const [k, v] of m) { kv.get('k'); out.push(String(k), v); if (k === 'a') { m.delete('b'); m.set('z', 26); } } return [out, m.get(NaN), m.get(10n), m.size, [...m.keys()].map(String)]",
    ),
    (
        "set iteration",
        "const s = new Set([1, 'x', -0]); const out = []; s.forEach(v => { kv.get('k'); out.push(v); if (out.length == 1) { s.add('new'); s.delete('x'); } }); return [out, s.has(0), s.has('new')]",
    ),
    (
        "map grows while it is walked",
        "const m = new Map(); for (let i = 0; i < 4; i++) m.set('k' + i, i); let n = 0; for (const [k, v] of m) { kv.get('a'); if (n++ < 20) { m.delete(k); m.set('n' + n, n); } if (n == 9) m.clear(); } return [n, m.size]",
    ),
    (
        "destructuring",
        "const { a, b: { c = kv.get('d'), ...rest }, ...others } = { a: 1, b: { e: 2, f: 3 }, g: 4, h: 5 }; const [x, , y = kv.get('y'), ...z] = [1, 2, undefined, 4, 5]; return [a, c, rest, others, x, y, z]",
    ),
    (
        "getters and setters",
        "const o = { get x() { return kv.get('got'); }, set x(v) { this.y = kv.get('set' + v); } }; o.x = 5; kv.get('k'); const p = { ...o }; Object.defineProperty(p, 'hid', { value: 7, enumerable: false }); return [o.x, o.y, p.x, Object.keys(p), p.hid]",
    ),
    (
        "strings",
        "let s = ''; for (let i = 0; i < 40; i++) { s += 'part ' + i + '; '; if (i % 7 == 0) kv.get('k'); } let t = 'ä€😀'; for (const c of t) { kv.get('c'); s += c; } return [s.length, s, t + s.slice(3, 20), `${s.length} ${{ toString() { return kv.get('str'); } }}`]",
    ),
    (
        "lone surrogates",
        "let s = '😀'; const parts = [s[0], s[1]]; kv.get('k'); return [parts[0] + parts[1] === s, (parts[0] + 'x').length, parts.map(p => p.charCodeAt(0))]",
    ),
    (
        "numbers",
        "const b = 2n ** 100n; const d = new Decimal('12.345'); const t = new Date(86400000); const i = [0.1, -0, NaN, Infinity, 2 ** 31, -(2 ** 31)]; kv.get('k'); return [b * 3n, d.add(new Decimal('0.005')).toString(), t.toISOString(), i.map(x => Object.is(x, -0) ? '-0' : String(x))]",
    ),
    (
        "symbols",
        "const s = Symbol('mine'); const o = { [s]: 1, [Symbol.iterator]: function() { let n = 0; return { next: () => { kv.get('n'); return { value: n, done: n++ > 2 }; } }; } }; const r = Symbol.for('reg'); kv.get('k'); return [o[s], [...o], r === Symbol.for('reg'), Symbol.keyFor(r), s.toString()]",
    ),
    (
        "dictionaries",
        "const o = {}; for (let i = 0; i < 80; i++) { o['key' + i] = i; } delete o.key3; kv.get('k'); o.key3 = 'again'; o.more = 1; const n = Object.freeze({ a: { b: 1 } }); kv.get('l'); let e = ''; try { n.a = 2; } catch (x) { e = x.name; } return [Object.keys(o).length, Object.keys(o).slice(-2), o.key79, e]",
    ),
    (
        "sparse arrays",
        "const a = [1, , 3]; a[100000] = 'far'; kv.get('k'); a[5] = 5; a.length = 50000; kv.get('l'); const h = [1, , 3]; kv.get('m'); return [a.length, Object.keys(a), 1 in h, h]",
    ),
    (
        "bound functions",
        "function f(a, b, c) { return [this.t, a, b, c, kv.get('k')]; } const g = f.bind({ t: 'this' }, 1).bind(null, 2); kv.get('l'); return [g(3), g.name, g.length]",
    ),
    (
        "constructors",
        "function P(x) { this.x = x; kv.get('in'); } P.prototype.get = function() { return this.x + kv.get('g'); }; const p = new P(4); kv.get('k'); return [p.get(), p instanceof P, Object.getPrototypeOf(p) === P.prototype, P.name]",
    ),
    (
        "conversions",
        "const v = x => ({ valueOf() { kv.get('v'); return x; } }); return [v(1) + v(2), v(3) < v(4), -v(5), { 6: 'six' }[{ toString() { return kv.get('6'); } }], Math.max(v(7), v(8)), 'abcdef'.slice(v(2), v(4)), v(1) == 1, `${v('x')}`]",
    ),
    (
        "iterators",
        "const it = [1,2,3,4].values(); it.next(); kv.get('k'); const e = Object.entries({ a: 1, b: 2 }); const [x] = it; kv.get('l'); return [[...it], x, e, Array.from({ length: 3 }, (_, i) => kv.get('i') + i)]",
    ),
    (
        "json",
        "const text = JSON.stringify({ a: [1, { toJSON() { return kv.get('j'); } }], b: 'ü' }, null, 1); const back = JSON.parse('{\"x\":{\"y\":[1,2]}}', (k, v) => { kv.get('r'); return typeof v == 'number' ? v * 2 : v; }); return [text, back]",
    ),
    (
        "replace",
        "return ['a-b-c'.replaceAll('-', m => kv.get(m) + '+'), 'x'.replace('x', () => kv.get('y'))]",
    ),
    (
        "request",
        "const p = payload(); kv.get('k'); return [p.n, p.list[1].deep, payload() === p, req.method, req.params.id, req === req, kv.get('l')]",
    ),
    ("query", "const q = db().table('t').where('a', 1); kv.get('k'); return typeof q"),
    ("random", "const a = Math.random(); kv.get('k'); return a != Math.random()"),
    (
        "errors",
        "const e = new RangeError('r', { cause: new Error('c') }); kv.get('k'); return [e.name, e.message, e.cause.message, e.stack.includes('test.js'), String(new AggregateError([e], 'many'))]",
    ),
    ("uncaught", "const f = async () => { kv.get('k'); null.x; }; await f()"),
    ("recursion", "function fib(n) { return n < 2 ? kv.get(n) : fib(n - 1) + fib(n - 2); } return fib(6)"),
    (
        "rest and spread",
        "const f = (...a) => { kv.get('k'); return a.length + a[0]; }; return [f(...[1,2,3]), f(...'ab'), Math.max(...new Set([1, 9, 3])), new Date(...[2020, 1, 2]).getTime() > 0]",
    ),
    (
        "arguments",
        "function f(a) { kv.get('a'); const g = () => arguments; kv.get('b'); g()[1] = 'x'; delete g()[2]; return [...arguments, g().length, String(g()), kv.get('c')]; } return f(1, 2, 3)",
    ),
    (
        "generators",
        "function* g(a, ...b) { try { const x = yield kv.get('a') + a; yield [x, kv.get('b'), ...b]; yield* [1, 2]; } finally { kv.get('c'); } return kv.get('d'); } const it = g(1, 2); const idle = g(9); const over = g(); over.return(); const r = [it.next()]; kv.get('e'); r.push(it.next('sent')); kv.get('f'); r.push(it.next(), it.next(), it.next(), it.next(), idle.next().value, over.next()); const other = g(5); other.next(); kv.get('g'); r.push(other.return('r')); try { other.throw(new Error('x')); } catch (e) { r.push(e.message); } return r",
    ),
    (
        "generators in loops",
        "function* count(n) { for (let i = 0; i < n; i++) { yield i + kv.get('n'); } } function* twice(it) { for (const x of it) { yield x; yield* count(1); } } let out = []; for (const x of twice(count(2))) { kv.get('x'); out.push(x); } const [a, ...rest] = twice(count(2)); const f = () => { for (const x of count(9)) if (x == kv.get('q')) return x; return 'none'; }; return [out, a, rest, [...count(3)], f(), Math.max(...count(2))]",
    ),
    (
        "generators that stand on the stack between two turns",
        "function* g(n, k) { const own = [k]; try { for (let i = 0; i < n; i++) { if (i === k) kv.get('in'); yield own[0] + i; } } finally { kv.get('end' + k); } } const deep = n => n === 0 ? kv.get('d').length : deep(n - 1); function* pass(it) { for (const x of it) { yield x; if (x % 3 === 0) kv.get('p'); } } const out = []; for (const x of pass(pass(g(5, 2)))) { out.push(x); for (const y of g(3, 1)) { if (y === 2) out.push(deep(x)); out.push(y); } if (x === 5) kv.get('x'); } for (const x of g(9, 3)) { if (x > 5) break; out.push(x); } return out",
    ),
    (
        "walks over tables and arrays",
        "const m = new Map([[1, 'a'], [2, 'b'], [3, 'c']]); const out = []; for (const [k, v] of m) { out.push(k + v + kv.get('m')); if (k === 1) m.delete(2); } for (const v of new Set([4, 5])) out.push(v, kv.get('s')); for (const [i, v] of ['x', 'y'].entries()) out.push(i + v + kv.get('e')); const it = m.values(); for (const v of it) { kv.get('b'); break; } return [out, kv.get('z'), [...it]]",
    ),
    (
        "async generators",
        "async function* g(n) { try { for (let i = 0; i < n; i++) { const s = yield kv.get('v' + i); if (s) { await null; kv.get(s); } } } finally { kv.get('closed'); await null; } return 'end'; } const it = g(3); const all = [it.next(), it.next('s'), it.next(), it.next(), it.next()]; kv.get('queued'); const out = []; for await (const x of g(2)) { out.push(x, kv.get('in')); } for await (const x of g(5)) { if (x == 'v1') break; out.push(x); } const back = g(4); await back.next(); const ends = Promise.allSettled([back.return(Promise.resolve('r')), back.next(), back.throw(new Error('t')), back.return('again')]); kv.get('between'); return [await Promise.all(all), out, (await ends).map(r => r.value ?? r.reason.message)]",
    ),
    (
        "delegating async generators",
        "async function* inner() { try { yield kv.get('a'); yield Promise.resolve(2); } catch (e) { yield 'caught ' + e; } } async function* outer() { yield* inner(); yield* [Promise.resolve(3), kv.get('b')]; } const out = []; for await (const x of outer()) out.push(x); const it = outer(); await it.next(); kv.get('c'); out.push(await it.throw('oops'), await it.next()); return out",
    ),
    (
        "tagged templates",
        "const tag = (s, ...v) => { kv.get('t'); return [s, s.raw[0], Object.isFrozen(s), v]; }; const at = () => tag`a\\n${kv.get('v')}b`; const x = at(); kv.get('k'); const y = at(); return [x, x[0] === y[0], y[0].raw === x[0].raw]",
    ),
    (
        "labels and for in",
        "const out = []; outer: for (const k in { a: 1, b: 2, c: 3 }) { for (const i of [1, 2]) { kv.get('k'); if (k == 'b') continue outer; if (k == 'c') break outer; out.push(k + i); } } return out",
    ),
    (
        "await in parallel",
        "let n = 0; const w = async () => { for (let i = 0; i < 3; i++) { await null; n += kv.get(1); } return n; }; const p = [w(), w(), w()]; kv.get('main'); return [await p[2], await p[0], await p[1], n]",
    ),
    ("sleep", "sleep(5); const t = now(); kv.set('a', { b: [1, null, true] }); return typeof t"),
    ("http", "const r = http().get('http://x/'); return typeof r"),
    (
        "class constructors",
        "class A { x = kv.get('field'); constructor(v) { kv.get('in A'); this.v = v; } hi() { return this.v + kv.get('hi'); } static s() { return kv.get('s') + this.name; } } class B extends A { y = this.x + kv.get('y'); constructor(...a) { const up = () => super(...a); kv.get('before'); up(); this.z = kv.get('z'); } hi() { return super.hi() + kv.get('B'); } static s() { return super.s() + '!'; } get g() { return kv.get('g') + super.v; } set g(v) { this.w = v + kv.get('set'); } } const b = new B(4); b.g = 2; kv.get('k'); return [b, b.hi(), B.s(), b.g, b instanceof A]",
    ),
    (
        "private members",
        "class A { #x = kv.get('x'); #n = 0; static #made = 0; static { kv.get('static'); A.#made = 1; } static y = kv.get('y') + A.#made; #m(v) { return this.#x + v + kv.get('m'); } get #acc() { kv.get('acc'); return this.#n; } set #acc(v) { kv.get('set'); this.#n = v; } run() { this.#acc += 5; this.#n++; return [this.#m('a'), this.#acc, #x in this]; } static of() { const a = new A(); A.#made++; return [a.run(), A.#made]; } } const first = new A(); kv.get('k'); return [A.of(), first.run(), A.y, Object.keys(first)]",
    ),
    (
        "classes of built-ins",
        "class E extends Error { constructor(m) { super(m, { cause: kv.get('c') }); this.code = kv.get('code'); } } class L extends Array { sum() { return this.reduce((a, b) => a + b + kv.get(0), 0); } } class M extends Map { set(k, v) { kv.get('set'); return super.set(k, v); } } class P extends Promise {} const l = L.of(1, 2, 3); const m = new M([['a', 1], ['b', 2]]); const p = new P(r => { kv.get('p'); r(5); }); let e; try { throw new E('bad'); } catch (x) { e = x; } kv.get('k'); return [String(e), e.cause, e.code, e instanceof E, l.map(x => x + kv.get(1)).sum(), [...m], await p.then(x => x + 1)]",
    ),
    (
        "a class that waits while it is made",
        "const key = x => kv.get(x); const make = n => class extends (kv.get('heritage'), Object) { [key('m' + n)]() { return n; } static [key('s')] = kv.get('value') + n; [key('f')] = kv.get('init'); #p = n; read() { return this.#p; } }; const list = [make(1), make(2)]; kv.get('k'); return list.map(C => { const c = new C(); return [Object.keys(c), Object.getOwnPropertyNames(C.prototype), C.s, c.read()]; })",
    ),
    (
        "new.target",
        "function F(v) { kv.get('F'); this.n = new.target.name; this.v = v; } class A extends F { constructor() { super(kv.get('arg')); this.t = (() => new.target === A)(); } } const o = { __proto__: { hi() { return kv.get('hi') + this.n; } }, n: 1, hi() { return super.hi() + kv.get('o'); } }; const a = new A(); kv.get('k'); return [a, o.hi(), new F(2).n]",
    ),
    (
        "module state",
        "const table = { a: { list: [1, { x: 'y' }] }, get z() { return 26; } }; const m = new Map([['k', { v: 1 }]]); const sym = Symbol('s'); class Shape { #sides = 4; static made = new Shape(); static is(v) { return #sides in v; } get sides() { return this.#sides + kv.get(0); } } const fns = [x => x + 1, function named(x) { return x * 2; }]; const big = 10n ** 30n; const joined = ['a', 'b'].join('-') + 'c'.repeat(60); work('W').post('/a', req => { const inner = table.a.list[1]; const f = fns[1]; const o = { [sym]: 1 }; const it = m.entries(); kv.get('k'); const again = [inner === table.a.list[1], f === fns[1], f(4), o[sym], big + 1n, joined.length, table.z, new Shape().sides, Shape.is(Shape.made), it.next().value[1].v, req.params.id]; kv.get('l'); return again; })",
    ),
];

/// 0: every safepoint. The corpus is short enough to do them all, and slow enough in debug builds to thin the longest.
#[test]
fn every_safepoint_and_host_call() {
    for (name, source) in CORPUS {
        let blueprint = load(source);
        let expected = undisturbed(&blueprint);
        let (found, moves) = disturbed(&blueprint, 1, Packing::Keep, usize::MAX);
        assert_eq!(found, expected, "{name}, after {moves} moves");
        assert!(moves >= 2, "{name} was never saved");
    }
}

/// A parked task holds namespace objects: they are the blueprint's, in the next machine, too.
#[test]
fn namespace_objects() {
    let main = "import * as m from 'lib/m.js'; import { inner } from 'lib/m.js';
        work('W').post('/a', () => { const held = { m, child: Object.create(m), k: Object.keys(m) }; const get = o => o.x; const seen = [get(m)]; kv.get('a');
        seen.push(held.m === m, get(held.m), held.child.f(), kv.get('b'), get(held.child), m.inner === inner, held.m.inner.y, held.k);
        for (const k in held.m) { kv.get(k); seen.push(typeof held.m[k]); }
        try { held.m.x = 1; } catch (e) { seen.push(e.name, kv.get('c')); } try { held.child.q = 1; } catch (e) { seen.push(e.name); } return seen; })";
    let set = forebay_compiler::SourceSet::one("test.js", main)
        .with("lib/m.js", "export const x = { deep: 1 }; export function f() { return this.x; } export * as inner from './n.js';")
        .with("lib/n.js", "export let y = 2;");
    let (module, _) = forebay_compiler::compile(&set, "test.js").unwrap();
    let blueprint = Blueprint::load(&verify(module).unwrap()).unwrap();
    let expected = undisturbed(&blueprint);
    assert_eq!(
        expected,
        r#"[{"deep":1},true,{"deep":1},{"deep":1},"b",{"deep":1},true,2,["f","inner","x"],"function","object","object","TypeError","c","TypeError"]"#
    );
    for (packing, fuel) in [(Packing::Keep, 1), (Packing::Pack, 7), (Packing::Pack, 100_000)] {
        let (found, moves) = disturbed(&blueprint, fuel, packing, usize::MAX);
        assert_eq!(found, expected, "slices of {fuel}");
        assert!(moves > 5, "{moves}");
    }
}

#[test]
fn packed_and_with_other_slices() {
    for (name, source) in CORPUS {
        let blueprint = load(source);
        let expected = undisturbed(&blueprint);
        for fuel in [7, 100_000] {
            let (found, moves) = disturbed(&blueprint, fuel, Packing::Pack, usize::MAX);
            assert_eq!(found, expected, "{name}, fuel {fuel}, after {moves} moves");
        }
    }
}

#[test]
fn a_core_that_has_no_room_for_shapes_and_keys() {
    let blueprint = load(
        "const o = {}; for (let i = 0; i < 6; i++) { o['key' + i] = i; } const p = { a: o, get g() { return 5; } }; kv.get('k'); o.key9 = 9; return [o, p.a === o, p.g, Object.keys(p)]",
    );
    let expected = undisturbed(&blueprint);
    let mut m = Machine::start(&blueprint);
    assert_eq!(m.step(100_000), Run::Parked);
    let records = m.save(Packing::Keep);
    // Another core has learned all that it can from other tasks.
    let filler = "const o = {}; for (let i = 0; i < 60; i++) { for (let j = 0; j < 300; j++) { const p = {}; p['f' + i] = 1; p['g' + j] = 1; } } for (let i = 0; i < 5000; i++) o['k' + i] = 1; return 1";
    let full = load(&format!(
        "if (payload().fill) {{ {filler} }} {}",
        "const o = {}; for (let i = 0; i < 6; i++) { o['key' + i] = i; } const p = { a: o, get g() { return 5; } }; kv.get('k'); o.key9 = 9; return [o, p.a === o, p.g, Object.keys(p)]"
    ));
    let expected_full = undisturbed(&full);
    assert_eq!(expected, expected_full);
    let mut first = Machine::start(&full);
    assert_eq!(first.step(100_000), Run::Parked);
    let records_full = first.save(Packing::Keep);
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(&full).unwrap();
    let limits = TaskLimits::default();
    let body = br#"{"fill":true}"#;
    let input = RequestInput { method: "POST", body, ..RequestInput::empty() };
    let task = vm.start(id, Entry::Main, &input, &limits, TenantId(0), Monotonic(0)).unwrap();
    while vm.run(task, Monotonic(1), Timestamp(0), 1_000_000, &mut NoHost) == Run::SliceOver {}
    vm.finish(task);
    let restore =
        RestoreInput { limits: &limits, tenant: TenantId(0), now: Monotonic(5), fresh_wall_time: true };
    let task = vm.restore(id, records_full.iter().map(|(k, v)| (*k, v.as_slice())), &restore).unwrap();
    let mut m = Machine { vm, id, task, limits, waiting: Vec::new() };
    assert!(m.answer_one());
    let again = m.save(Packing::Keep);
    let mut m = Machine::restore(&full, &again).unwrap();
    let run = m.step(1_000_000);
    assert_eq!(m.result(run), expected);
    drop(records);
}

/// A machine remembers what imports records say: of equal bytes only.
#[test]
fn imports_of_equal_length_are_not_taken_for_each_other() {
    let blueprint = load("const o = { zebra: 1, b: 'x' }; kv.get('k'); o.c = o.b; return Object.keys(o)");
    let mut m = Machine::start(&blueprint);
    assert_eq!(m.step(1000), Run::Parked);
    let zebra: Vec<_> = m.save(Packing::Keep).into_iter().collect();
    let mut tiger = zebra.clone();
    let imports =
        tiger.iter_mut().find(|(key, _)| *key == RecordKey::Imports).map(|(_, bytes)| bytes).unwrap();
    let at = imports.windows(5).position(|text| text == b"zebra").unwrap();
    imports[at..at + 5].copy_from_slice(b"tiger");
    forebay_engine::snapshot::reseal(&mut tiger);
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(&blueprint).unwrap();
    let limits = TaskLimits::default();
    let input =
        RestoreInput { limits: &limits, tenant: TenantId(0), now: Monotonic(5), fresh_wall_time: false };
    for (records, key) in [(&zebra, "zebra"), (&zebra, "zebra"), (&tiger, "tiger"), (&zebra, "zebra")] {
        let records: Records = records.iter().cloned().collect();
        let task = vm.restore(id, records.iter().map(|(k, v)| (*k, v.as_slice())), &input).unwrap();
        m = Machine { vm, id, task, limits: limits.clone(), waiting: Vec::new() };
        assert_eq!(m.save(Packing::Keep), records);
        assert!(m.answer_one());
        let run = m.step(1000);
        assert_eq!(m.result(run), format!(r#"["{key}","b","c"]"#));
        // What one task has added isn't the next one's.
        m.vm.finish(task);
        vm = m.vm;
    }
}

#[test]
fn a_small_step_changes_few_records() {
    let blueprint = load(
        "const rows = []; for (let i = 0; i < 300; i++) rows.push({ id: i, name: 'row ' + i }); let n = 0; while (true) { kv.get('k'); n++; rows[n % 3].id = n; }",
    );
    let mut m = Machine::start(&blueprint);
    let mut last = Records::new();
    for step in 0..6 {
        while m.step(1_000_000) == Run::SliceOver {}
        let records = m.save(Packing::Keep);
        let changed: usize =
            records.iter().filter(|(k, v)| last.get(k) != Some(v)).map(|(_, v)| v.len()).sum();
        let whole: usize = records.values().map(Vec::len).sum();
        assert!(whole > 20_000, "{whole}");
        assert!(step < 2 || changed < whole / 5, "step {step}: {changed} of {whole} bytes changed");
        last = records;
        assert!(m.answer_one());
    }
}

#[test]
fn packing_drops_garbage() {
    let blueprint = load(
        "let keep = []; for (let i = 0; i < 20; i++) { kv.get('k'); 'x'.repeat(10000 + i); keep.push(i); } return keep",
    );
    let expected = undisturbed(&blueprint);
    let mut m = Machine::start(&blueprint);
    let mut most = 0;
    loop {
        match m.step(100_000) {
            Run::Parked => {
                let records = m.save(Packing::Pack);
                m = Machine::restore(&blueprint, &records).unwrap();
                most = most.max(m.vm.usage(m.task).0);
                assert!(m.answer_one());
            }
            Run::SliceOver => {}
            run => {
                assert_eq!(m.result(run), expected);
                break;
            }
        }
    }
    assert!(most < 16_000, "{most} bytes are kept");
}

/// xorshift64*: the same mutations for the same seed.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % n.max(1)
    }
}

/// Changes a record as a bad disk or a bad neighbour would, with the checksums made right again.
fn mutate(records: &mut [(RecordKey, Vec<u8>)], random: &mut Seeded) {
    for _ in 0..=random.below(3) {
        let at = random.below(records.len());
        let others = records[random.below(records.len())].1.clone();
        let bytes = &mut records[at].1;
        if bytes.is_empty() {
            continue;
        }
        let place = random.below(bytes.len());
        match random.below(8) {
            0 => bytes[place] ^= 1 << random.below(8),
            1 => bytes[place] = [0, 1, 2, 0x7f, 0x80, 0xff][random.below(6)],
            2 => drop(bytes.remove(place)),
            3 => bytes.insert(place, u8::try_from(random.below(256)).unwrap()),
            4 => bytes.truncate(place),
            // A word of another record: references of the right form to the wrong places.
            5 | 6 => {
                let from = random.below(others.len() / 8 + 1) * 8;
                let to = place / 8 * 8;
                if let (Some(word), Some(target)) = (others.get(from..from + 8), bytes.get_mut(to..to + 8)) {
                    target.copy_from_slice(word);
                }
            }
            _ => {
                if let Some(word) = bytes.get_mut(place / 8 * 8..place / 8 * 8 + 4) {
                    word.copy_from_slice(&u32::try_from(random.below(600)).unwrap().to_le_bytes());
                }
            }
        }
    }
    forebay_engine::snapshot::reseal(records);
}

/// `FOREBAY_FUZZ=n` makes n times as many mutations.
#[test]
fn mutated_records_are_refused_or_run_safely() {
    let rounds: u64 = std::env::var("FOREBAY_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let (mut refused, mut ran) = (0, 0);
    for (number, (_, source)) in (1u64..).zip(CORPUS) {
        let blueprint = load(source);
        let mut m = Machine::start(&blueprint);
        let mut states = Vec::new();
        for _ in 0..24 {
            states.push(m.save(Packing::Keep));
            match m.step(40) {
                Run::SliceOver => {}
                Run::Parked => assert!(m.answer_one()),
                _ => break,
            }
        }
        let mut vm = Vm::new(VmConfig::default());
        let id = vm.adopt(&blueprint).unwrap();
        let limits = TaskLimits { fuel: 20_000, memory: 4 << 20, ..TaskLimits::default() };
        let input =
            RestoreInput { limits: &limits, tenant: TenantId(0), now: Monotonic(5), fresh_wall_time: true };
        for round in 0..60 * rounds {
            let seed = number << 32 | round | 1 << 60;
            let mut random = Seeded(seed);
            let state = &states[random.below(states.len())];
            let mut records: Vec<_> = state.iter().map(|(k, v)| (*k, v.clone())).collect();
            mutate(&mut records, &mut random);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let Ok(task) = vm.restore(id, records.iter().map(|(k, v)| (*k, v.as_slice())), &input) else {
                    return false;
                };
                let mut effects = Vec::new();
                for _ in 0..50 {
                    match vm.run(task, Monotonic(6), Timestamp(0), 2000, &mut NoHost) {
                        Run::SliceOver => {}
                        Run::Parked => {
                            vm.take_effects(task, &mut effects);
                            let Some(effect) = effects.pop() else { break };
                            let _ = vm.resume(task, effect.id, &mut |sink| sink.int(1));
                        }
                        Run::Done => {
                            let mut out = Vec::new();
                            let _ = vm.write_body(task, &mut out);
                            break;
                        }
                        Run::Trap(_) => {
                            let _ = vm.error(task);
                            break;
                        }
                    }
                    let _ = vm.snapshot(task, Packing::Keep, Monotonic(6), &mut Snapshot::new());
                }
                vm.finish(task);
                true
            }));
            match result {
                Ok(true) => ran += 1,
                Ok(false) => refused += 1,
                Err(_) => panic!("seed {seed:#x} of script {number}: {source}"),
            }
        }
    }
    assert!(refused > 500 && ran > 100, "{refused} refused, {ran} ran");
}

#[test]
fn what_is_refused() {
    let blueprint = load("return kv.get('k') + payload().n");
    let mut m = Machine::start(&blueprint);
    assert_eq!(m.step(1000), Run::Parked);
    let records = m.save(Packing::Keep);

    let other = load("return kv.get('k') + payload().n + 1");
    let refused = Machine::restore(&other, &records).err();
    assert!(matches!(refused, Some(SnapshotError::OtherBlueprint { .. })), "{refused:?}");

    let mut missing = records.clone();
    missing.remove(&RecordKey::Fiber(0));
    assert_eq!(Machine::restore(&blueprint, &missing).err(), Some(SnapshotError::Checksum));
    missing.remove(&RecordKey::Task);
    assert_eq!(Machine::restore(&blueprint, &missing).err(), Some(SnapshotError::Missing(RecordKey::Task)));

    let mut m = Machine::restore(&blueprint, &records).unwrap();
    assert!(m.answer_one());
    let mut mixed = m.save(Packing::Keep);
    mixed.insert(RecordKey::Fiber(0), records[&RecordKey::Fiber(0)].clone());
    mixed.insert(RecordKey::Frame(0, 0), records[&RecordKey::Frame(0, 0)].clone());
    mixed.insert(RecordKey::Heap(0), records[&RecordKey::Heap(0)].clone());
    let refused = Machine::restore(&blueprint, &mixed).map(|_| ()).err();
    assert!(mixed == m.save(Packing::Keep) || refused == Some(SnapshotError::Checksum), "{refused:?}");

    while m.step(1000) == Run::SliceOver {}
    let mut out = Snapshot::new();
    assert_eq!(m.vm.snapshot(m.task, Packing::Keep, Monotonic(0), &mut out), Err(SnapshotError::NoTask));
    assert_eq!(m.limits, TaskLimits::default());
    assert!(m.vm.blueprint(m.id).is_some());
}

#[test]
fn the_wall_time_that_is_left_is_left() {
    let blueprint = load("return kv.get('k')");
    let mut m = Machine::start(&blueprint);
    assert_eq!(m.step(1000), Run::Parked);
    let mut out = Snapshot::new();
    m.vm.snapshot(m.task, Packing::Keep, Monotonic(29_000_000_000), &mut out).unwrap();
    let limits = TaskLimits::default();
    let input = |fresh| RestoreInput {
        limits: &limits,
        tenant: TenantId(0),
        now: Monotonic(7_000_000_000_000),
        fresh_wall_time: fresh,
    };
    for (fresh, seconds, run) in
        [(false, 2, Run::Trap(forebay_engine::Trap::WallTime)), (true, 2, Run::Parked)]
    {
        let task = m.vm.restore(m.id, out.records(), &input(fresh)).unwrap();
        let now = Monotonic(7_000_000_000_000 + seconds * 1_000_000_000);
        assert_eq!(m.vm.run(task, now, Timestamp(0), 1000, &mut NoHost), run, "fresh: {fresh}");
    }
}

/// What the golden file was made from; it holds what the compiler made of it then.
const GOLDEN: &str = "const log = []; const sym = Symbol('s'); class_();
function class_() { log.push('hoisted'); }
function P(x) { this.x = x; } P.prototype.get = function() { return this.x + kv.get('g'); };
const m = new Map([['a', { n: 1 }], ['b', 2n ** 70n]]); const o = { [sym]: 1, get g() { return m.size; }, 'odd key': [1, , 3] }; o.self = o;
const wait = async id => { const v = kv.get('p' + id); await null; log.push(v); return v; };
const p = [wait(1), wait(2)].map(x => x);
let text = ''; for (let i = 0; i < 9; i++) text += 'part ' + i + ', which makes a rope; ';
try { for (const [k, v] of m) { log.push(k, String(kv.get(k))); } throw new RangeError(kv.get('message')); }
catch (e) { log.push(e.name, e.message, await p[1], await p[0]); } finally { log.push(kv.get('finally')); }
return [log, o.self === o, o.g, o[sym], o['odd key'], text.length, new P(3).get(), new Date(86400000).toISOString(), new Decimal('1.50').toString(), payload().n, m.get('b')];";

/// The files of tests/golden/ were written by earlier versions; they resume in every later one. Until the first
/// release `FOREBAY_GOLDEN=1 cargo test -p forebay-engine --test snapshot golden` may write them anew.
#[test]
fn golden_snapshots_resume() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let read = |name: String| std::fs::read(folder.join(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    if std::env::var_os("FOREBAY_GOLDEN").is_some() {
        let blueprint = load(GOLDEN);
        let mut m = Machine::start(&blueprint);
        std::fs::write(folder.join("1.module"), forebay_bytecode::encode(blueprint.module())).unwrap();
        std::fs::write(folder.join("1.result"), undisturbed(&blueprint)).unwrap();
        for park in 1.. {
            match m.step(1_000_000) {
                Run::Parked => {
                    let mut snapshot = Snapshot::new();
                    m.vm.snapshot(m.task, Packing::Keep, Monotonic(5), &mut snapshot).unwrap();
                    std::fs::write(folder.join(format!("1.{park}.snapshot")), snapshot.to_file()).unwrap();
                    assert!(m.answer_one());
                }
                Run::SliceOver => {}
                _ => break,
            }
        }
    }
    let module = forebay_bytecode::decode(&read("1.module".into())).unwrap();
    let blueprint = Blueprint::load(&verify(module).unwrap()).unwrap();
    let expected = String::from_utf8(read("1.result".into())).unwrap();
    let mut files = 0;
    for park in 1..20 {
        let name = format!("1.{park}.snapshot");
        if !folder.join(&name).exists() {
            continue;
        }
        let file = read(name.clone());
        let records = Snapshot::records_of_file(&file).unwrap();
        let records: Records = records.into_iter().map(|(key, bytes)| (key, bytes.to_vec())).collect();
        let mut m = Machine::restore(&blueprint, &records).unwrap_or_else(|e| panic!("{name}: {e}"));
        let result = loop {
            match m.step(1_000_000) {
                Run::Parked => assert!(m.answer_one()),
                Run::SliceOver => {}
                run => break m.result(run),
            }
        };
        assert_eq!(result, expected, "{name}");
        files += 1;
    }
    assert!(files >= 5, "{files} golden files");
}
