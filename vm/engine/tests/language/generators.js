// Generators: each case is a script's body; generators.txt has what Node answers.
//--- values, return, completion
function* g() { const a = yield 1; const b = yield a + 1; return [a, b]; }
const it = g();
return [it.next("ignored"), it.next(10), it.next(20), it.next(30), [...g()], typeof it, String(it)];
//--- it is an iterator
function* g() { yield* [1, 2, 3]; yield 4; }
const it = g();
const [a, , ...rest] = g();
let sum = 0;
for (const x of g()) { if (x === 4) break; sum += x; }
return [it[Symbol.iterator]() === it, a, rest, sum, Math.max(...g()), Array.from(g(), x => x * 2), new Set(g()).size, new Map([[1, 2]].values()).get(1)];
//--- endless ones, closed
const log = [];
function* naturals(name) { try { for (let i = 0; ; i++) yield i; } finally { log.push(name); } }
for (const x of naturals("break")) if (x > 3) break;
const [p, q] = naturals("pattern");
const f = () => { for (const x of naturals("return")) if (x === 5) return x; };
try { for (const x of naturals("throw")) throw new Error("x" + x); } catch (e) { log.push(e.message); }
outer: for (const a of naturals("outer")) { for (const b of naturals("inner")) { if (b > a) continue outer; if (a > 1) break outer; } }
return [p, q, f(), log];
//--- return and throw
const log = [];
function* g() {
  try { log.push("start"); const x = yield 1; log.push(x); yield 2; } catch (e) { log.push("caught " + e); yield 3; } finally { log.push("finally"); yield 4; log.push("after"); }
  yield 5;
}
const one = g();
const r1 = [one.return(7), one.next()];
const two = g(); two.next();
const r2 = [two.return(8), two.next(), two.next()];
const three = g(); three.next();
const r3 = [three.throw("boom"), three.next(), three.next(), three.next(), three.next()];
const four = g();
let r4; try { four.throw(new RangeError("early")); } catch (e) { r4 = [e.name, four.next()]; }
const five = g(); five.next(); five.return(1);
let r5; try { five.throw(new Error("again")); } catch (e) { r5 = [e.message, five.next()]; }
return [r1, r2, r3, r4, r5, log];
//--- return overridden in finally
function* g() { try { yield 1; } finally { return "f"; } }
function* h() { try { yield 1; } finally { yield "cleanup"; } }
function* k() { for (;;) { try { yield 1; } finally { break; } } return "left"; }
const a = g(); a.next();
const b = h(); b.next();
const c = k(); c.next();
return [a.return(5), a.next(), b.return(6), b.next(), b.next(), c.return(7)];
//--- yield* passes everything on
const log = [];
const inner = {
  [Symbol.iterator]() { return this; },
  next(v) { log.push(["next", v]); return { value: v, done: v === "end" }; },
  return(v) { log.push(["return", v]); return { value: "r" + v, done: v !== "no" }; },
  throw(v) { log.push(["throw", v]); return { value: "t" + v, done: v === "end" }; },
};
function* g() { const r = yield* inner; log.push(["result", r]); return r; }
const a = g();
const ra = [a.next(1), a.next(2), a.throw(3), a.return("no"), a.next("end"), a.next()];
const b = g(); b.next();
const rb = [b.throw("end"), b.next()];
const c = g(); c.next();
const rc = [c.return(4), c.next()];
return [ra, rb, rc, log];
//--- yield* over what has no return or throw
const log = [];
const bare = { [Symbol.iterator]: () => ({ next: () => ({ value: 1, done: false }) }) };
const closes = { [Symbol.iterator]: () => ({ next: () => ({ value: 1, done: false }), return() { log.push("closed"); return {}; } }) };
function* g(x) { try { yield* x; } catch (e) { log.push(e.name); return "caught"; } }
const a = g(bare); a.next();
const b = g(closes); b.next();
const c = g(bare); c.next();
const bad = { [Symbol.iterator]: () => ({ next: () => 5 }) };
return [a.return(9), a.next(), b.throw("x"), c.throw("y"), g(bad).next(), g("ab").next(), [...g("xyz")], g(null).next(), log];
//--- yield* hands on result objects as they are
const result = { value: 1, done: false, extra: true };
let n = 0;
const inner = { [Symbol.iterator]: () => ({ next: () => (n++ < 1 ? result : { done: true, get value() { return "last"; } }) }) };
function* g() { return yield* inner; }
const it = g();
const same = it.next() === result;
n = 0;
const seen = [];
const lazy = { [Symbol.iterator]: () => ({ next: () => ({ get done() { seen.push("done"); return n++ > 1; }, get value() { seen.push("value"); return n; } }) }) };
for (const x of (function* () { yield* lazy; })()) seen.push(x);
return [same, it.next(), it.next(), seen];
//--- deep delegation
function* tree(d) { if (d > 0) { yield* tree(d - 1); yield d; yield* tree(d - 1); } }
let n = 0;
for (const x of tree(7)) n += x;
return [n, [...tree(3)]];
//--- parameters are bound at the call
const log = [];
function* g(a = log.push("default"), { b } = { b: 2 }, ...c) { log.push("body"); yield [a, b, c, arguments.length]; }
const it = g(undefined, { b: 5 }, 6, 7);
log.push("made");
let e1; try { (function* ({ x }) {})(null); } catch (e) { e1 = e.name; }
let e2; try { (function* (x = (() => { throw new RangeError(); })()) {})(); } catch (e) { e2 = e.name; }
return [it.next(), log, e1, e2];
//--- running
function* g() { try { it.next(); } catch (e) { yield e.name; } try { it.return(1); } catch (e) { yield e.name; } }
const it = g();
return [it.next(), it.next(), it.next()];
//--- methods, this, closures, capture
const o = { n: 5, *m(k) { for (let i = 0; i < this.n; i++) yield () => i * k; }, *[Symbol.iterator]() { yield this.n; }, async: 1, get: 2 };
const fs = [...o.m(3)];
const counter = (function* () { let n = 0; const get = () => n; for (;;) { n += yield get; } })();
const get = counter.next().value;
counter.next(5); counter.next(6);
return [fs.map(f => f()), [...o], get()];
//--- prototypes
const GF = Object.getPrototypeOf(function* () {});
const GP = GF.prototype;
function* g() {}
const it = g();
const own = { x: 1 };
g.prototype = own;
const d = (o, k) => { const { writable, enumerable, configurable } = Object.getOwnPropertyDescriptor(o, k); return [writable, enumerable, configurable]; };
const fn = function* named(a, b) {};
let made; try { new fn(); } catch (e) { made = e.name; }
const tag = Object.prototype.toString;
const result = [
  Object.getPrototypeOf(it) === own, Object.getPrototypeOf(g()) === own, Object.getPrototypeOf(GF) === Function.prototype,
  GP.constructor === GF, GF.constructor.name, d(GF, "prototype"), d(GP, "constructor"), d(GP, "next"), d(fn, "prototype"), Object.getOwnPropertyNames(fn.prototype),
  tag.call(it), tag.call(fn), GF[Symbol.toStringTag], GP.next.length, GP.return.length, GP.throw.name, made, fn.name, fn.length,
  Object.getPrototypeOf(fn.prototype) === GP, Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())) === Object.getPrototypeOf(GP),
];
g.prototype = null;
result.push(Object.getPrototypeOf(g()) === GP);
return result;
//--- wrong receivers
const GP = Object.getPrototypeOf(function* () {}).prototype;
const out = [];
for (const v of [undefined, {}, 5, [].values(), function* () {}]) for (const m of ["next", "return", "throw"]) { try { GP[m].call(v); out.push("no"); } catch (e) { out.push(e.name); } }
return out;
//--- yield as an operand
function* g() { const o = { a: yield 1, [yield 2]: yield 3 }; const t = `${yield 4}-${yield 5}`; const l = [yield 6, ...(yield 7)]; return [o, t, l, (yield 8) + (yield 9), (yield 10) ? yield 11 : yield 12]; }
const it = g();
const out = [];
let r = it.next();
const sent = ["A", "key", "B", "x", "y", "first", [1, 2], 10, 32, false, "yes"];
for (let i = 0; !r.done; i++) { out.push(r.value); r = it.next(sent[i]); }
return [out, r.value];
//--- destructuring assignment with yield
const log = [];
function* src() { try { yield 1; yield 2; yield 3; } finally { log.push("closed"); } }
function* g() { let a, b; [a = yield "never", b = yield "x"] = [undefined, 5]; ({ a = yield "d" } = {}); return [a, b]; }
const it = g();
const steps = [it.next(), it.next("got"), it.next("more")];
function* h() { let x; [x, (yield "key")[0]] = src(); return x; }
const k = h(); k.next();
return [steps, k.return("r"), log];
//--- switch, labels, nested try
function* g() {
  outer: for (let i = 0; i < 4; i++) {
    switch (yield i) { case "skip": continue outer; case "stop": break outer; default: try { yield "in"; continue; } finally { yield "fin"; } }
  }
  return "end";
}
const it = g();
return [it.next(), it.next("skip"), it.next("x"), it.next(), it.next(), it.next("stop"), it.next()];
//--- many at once
function* count(n) { for (let i = 0; i < n; i++) yield i; }
const all = Array.from({ length: 300 }, (_, i) => count(i));
let sum = 0;
for (let round = 0; round < 50; round++) for (const it of all) { const r = it.next(); if (!r.done) sum += r.value; }
return sum;
//--- fibonacci, pipelines
function* fib() { let [a, b] = [0, 1]; for (;;) { yield a; [a, b] = [b, a + b]; } }
function* take(n, it) { if (n <= 0) return; for (const x of it) { yield x; if (--n <= 0) return; } }
function* map(f, it) { for (const x of it) yield f(x); }
function* filter(f, it) { for (const x of it) if (f(x)) yield x; }
return [...take(10, map(x => x * x, filter(x => x % 2, fib())))];
//--- spread into calls and new
function* g() { yield 1; yield 2; }
function C(...a) { this.a = a; }
return [Math.max(...g(), ...g()), new C(...g(), 3).a, [0, ...g(), ...g()], Object.fromEntries((function* () { yield ["a", 1]; })())];
//--- errors inside end it
function* g() { yield 1; null.x; yield 2; }
const it = g(); it.next();
let e1; try { it.next(); } catch (e) { e1 = e.name; }
function* h() { yield* g(); }
const d = h(); d.next();
let e2; try { d.next(); } catch (e) { e2 = e.name; }
let e3; try { for (const x of g()) {} } catch (e) { e3 = e.name; }
return [e1, it.next(), e2, d.next(), e3];
//--- replaced next is what loops call
const GP = Object.getPrototypeOf(function* () {}).prototype;
function* g() { yield 1; yield 2; }
const it = g();
it.next = function () { return { value: "own", done: this.n++ > 1 }; };
it.n = 0;
return [[...it], [...g()]];
//--- classes
class Tree {
  #left; #right;
  constructor(v, l, r) { this.v = v; this.#left = l; this.#right = r; }
  *[Symbol.iterator]() { if (this.#left) yield* this.#left; yield this.v; if (this.#right) yield* this.#right; }
  static *range(n) { for (let i = 0; i < n; i++) yield i; }
  async *later() { for (const x of this) yield x; }
  *#hidden() { yield "h"; }
  hidden() { return [...this.#hidden()]; }
}
class Sub extends Tree { *[Symbol.iterator]() { yield "sub"; yield* super[Symbol.iterator](); } *m(x = new.target) { yield [x, new.target]; } }
const t = new Sub(2, new Tree(1), new Tree(3));
const later = [];
for await (const x of t.later()) later.push(x);
function* keys() { class K { [yield "key"]() { return 1; } static s = 5; } return new K().made() + K.s; }
const k = keys(); k.next();
return [[...t], [...Tree.range(3)], later, t.hidden(), t.m().next().value, k.next("made")];
//--- loops and next() in turn on one generator
function* g() { let got = []; for (let i = 0; i < 8; i++) { const x = yield i; got.push(x === undefined ? "-" : x); } return got.join(""); }
const it = g();
const out = [it.next("x").value, it.next("a").value];
const rest = { [Symbol.iterator]: () => ({ next: () => it.next(), return() { return {}; } }) };
for (const x of rest) { out.push(x); if (x === 3) break; }
out.push(it.next("b").value);
function* through(inner) { for (const x of inner) out.push(yield "t" + x); }
const outer = through({ [Symbol.iterator]: () => it });
out.push(outer.next("y").value, outer.next("c").value);
out.push(it.next("d").value, it.next("e"), [...it], outer.next("z"));
return out;
//--- a loop over itself, a next() of its own, and generators that throw in the middle of a loop
const out = [];
function* self() { try { for (const x of me) out.push(x); } catch (e) { yield e.name; } yield 2; }
const me = self();
for (const x of me) out.push(x);
function* g() { yield 1; yield 2; throw new Error("end"); }
const own = g();
own.next = () => ({ value: out.length, done: out.length > 5 });
for (const x of own) out.push(x);
try { for (const x of g()) out.push(x * 10); } catch (e) { out.push(e.message); }
const over = g(); try { for (const x of over) if (x === 2) throw new Error("body"); } catch (e) { out.push(e.message, over.next()); }
function* deep(n) { if (n > 0) for (const x of deep(n - 1)) yield x + 1; else { yield 0; yield 100; } }
for (const x of deep(50)) out.push(x);
function* grab() { const kept = []; for (let i = 0; i < 3; i++) { const list = Array.from({ length: 5 }, (_, k) => k * i); kept.push(list.length); yield list; } return kept; }
const all = []; for (const list of grab()) { for (const x of list) all.push(x); }
return [out, all];
//--- bodies that need the room in which a generator's registers stand between two turns
const out = [];
function* count(n, mark) { const a = [mark, mark + 1]; try { for (let i = 0; i < n; i++) { const b = a[0] * 10 + i; yield b; a[0]++; } } finally { out.push("end" + a[0]); } }
const small = x => x + 1;
const wide = (a, b, c, d, e, f, g, h) => { const list = [a, b, c, d, e, f, g, h, a + b, c + d, e + f, g + h, [a, [b, [c, [d, [e, [f, [g, [h]]]]]]]]]; return list.flat(9).reduce((x, y) => x + y, 0); };
const deep = n => n === 0 ? 0 : 1 + deep(n - 1);
for (const x of count(4, 1)) out.push(small(x));
for (const x of count(4, 2)) out.push(wide(x, 1, 2, 3, 4, 5, 6, 7));
for (const x of count(4, 3)) out.push(deep(x * 10));
for (const x of count(5, 4)) out.push(x % 2 ? deep(x) : x);
for (const x of count(3, 5)) for (const y of count(3, 6)) { out.push(x * y); if (y === 61) deep(200); }
for (const x of count(3, 7)) for (const y of count(2, 8)) for (const z of count(2, 9)) out.push([x, y, z].map(v => small(v)).sort((a, b) => b - a).join());
for (const x of count(3, 1)) { const [p, q] = count(9, 2); out.push(Math.max(...count(3, x)), p + q, `${x}${[...count(2, 0)]}`); }
return out;
//--- generators that are left between two turns, and taken up elsewhere
const out = [];
function* count(n) { let got = 0; try { for (let i = 0; i < n; i++) got += (yield i) ?? 1; } finally { out.push("got" + got); } }
const open = g => ({ [Symbol.iterator]: () => ({ __proto__: g, next: () => g.next(), return: undefined }) });
const first = g => { for (const x of g) return x; };
const keeps = g => { g.return = v => ({ value: v, done: true }); return g; };
const a = keeps(count(9)), b = keeps(count(9)), c = keeps(count(9));
for (const x of a) { out.push(x); if (x === 2) break; }
for (const x of b) { out.push(x, a.next().value); if (x === 1) break; }
out.push(first(a), first(b), first(c), first(a));
const deeper = (g, n) => { if (n === 0) { for (const x of g) { out.push(x); if (x % 2) break; } return; } deeper(g, n - 1); out.push(n); };
for (const x of a) { out.push("a" + x); if (x > 6) break; }
deeper(b, 3); deeper(c, 1); deeper(b, 0);
for (const x of c) { for (const y of b) { out.push(x * 10 + y); if (y & 1) break; } if (x > 4) break; }
try { for (const x of c) for (const y of b) throw new Error("t" + x + y); } catch (e) { out.push(e.message); }
delete a.return; out.push(a.return("r"), a.next(), [...b], [...c]);
const own = count(6); for (const x of own) { out.push(x); if (x === 1) out.push(own.next(5).value); if (x === 3) out.push(own.return("x").value); }
const thrown = count(6); try { for (const x of thrown) if (x === 2) thrown.throw(new Error("in")); } catch (e) { out.push(e.message); }
return out;
//--- what a loop awaits between two turns
const out = [];
function* count(n) { for (let i = 0; i < n; i++) { const x = i * 2; yield x; out.push("after" + x); } }
const work = async x => { for (const y of count(2)) { await null; out.push(x + ":" + y); } return x; };
for (const x of count(3)) { out.push(await work(x)); }
await Promise.all([1, 2].map(async n => { for (const x of count(2)) { for (const y of count(2)) { await null; out.push([n, x, y]); } } }));
async function* double(g) { for (const x of g) yield x * 2; }
for await (const x of double(count(3))) for (const y of count(2)) out.push(x + y);
return out;
