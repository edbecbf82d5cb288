// Scripts whose outcome must be node's. Each begins with a line `//--- name`.

//--- arithmetic
let a = 7, b = 2;
return [a + b, a - b, a * b, a / b, a % b, a ** b, a & b, a | b, a ^ b, a << b, a >> 1, -a >>> 28, -a, +"3", ~a, !a, a++ + ++a, a-- - --a, 2 ** -1, -0, 0.1 + 0.2, 1e21, 0xff, 1_000];

//--- comparison
return [1 == "1", 1 === "1", null == undefined, null == 0, NaN != NaN, 1 < 2, "a" <= "b", 2 > 1, 2 >= 3, "x" in { x: 1 }, [] instanceof Array, "b" > "a"];

//--- order of evaluation
const t = [];
const n = (i, v) => { t.push(i); return v; };
n(1, { f() { t.push("call"); } })[n(2, "f")](n(3), n(4));
n(5, {})[n(6, "x")] = n(7, 1);
n(8, 1) + n(9, 2) * n(10, 3);
return t;

//--- operands keep their value when a later operand assigns
let x = 1;
const r = [x + (x = 5), x, x++ + x, x + x++, (x = 3) + (x = 4), [x, x = 9, x], `${x}${x = 1}${x}`];
let o = { v: 1 }, i = 0;
const arr = [10, 20, 30];
arr[i] = i = 2;
o.v = (o = { v: 5 }).v + 1;
let y = 1; y += (y = 10);
let z = 2; z = z * (z = 3) + z;
let q = [1]; q = [...q, q.length];
let s = { a: 1 }; s = { ...s, b: s.a };
let c = 1; c = c ? c + 1 : c - 1;
let d = 5; d = d && d + 1; d = d || 3; d = d ?? 4;
let f = 3; f = -f; f = !f;
return [r, arr, o, y, z, q, s, c, d, f];

//--- self assignment in try keeps the old value
let x = 1;
const boom = () => { throw new Error("boom"); };
try { x = [2, boom()]; } catch { }
try { x = { a: 2, b: boom() }; } catch { }
try { x = x && boom(); } catch { }
try { x = `${3}${boom()}`; } catch { }
try { x += boom(); } catch { }
try { x = true ? [boom()] : 1; } catch { }
try { x = payload()?.a.b.c.d; } catch { }
return x;

//--- update operators
let x = 1, o = { v: 1, s: "5" }, a = [1];
const out = [x++, ++x, x--, --x, o.v++, ++o.v, o.v--, o.s++, o.s, a[0]++, ++a[0]];
x = x++; out.push(x);
x = x++ + x++; out.push(x);
let big = 5n; out.push(big++, ++big, -big, big ** 2n);
let s = "a"; s++; out.push(s);
let k = 0; const keys = { toString() { k++; return "v"; } };
o[keys] = 3; o[keys];
out.push(k, o);
return out;

//--- compound assignment
let x = 10; x += 5; x -= 3; x *= 2; x /= 4; x %= 4; x **= 3; x <<= 2; x >>= 1; x >>>= 0; x |= 8; x &= 12; x ^= 3;
const o = { a: 1 }; o.a += 2; o["a"] *= 5; o.b ??= 7; o.b ??= 8; o.a ||= 9; o.c ||= 3; o.a &&= 4; o.z &&= 1;
let u; u ??= 1; u ||= 2; u &&= 3;
let str = "a"; str += 1 + 2; str += [3];
let count = 0; const inc = () => { count += 2; return count; };
inc(); count += inc();
return [x, o, u, str, count];

//--- names of functions
const f = () => { }, g = function () { }, h = function named() { };
let k; k = () => { }; let l; l ??= () => { };
const { m = () => { } } = {}; const [n = function () { }] = [];
const o = { a: () => { }, b() { }, ["c"]: () => { }, get d() { return 1; }, async e() { } };
function p(q = () => { }) { return q.name; }
return [f.name, g.name, h.name, k.name, l.name, m.name, n.name, o.a.name, o.b.name, o.c.name, o.e.name, p(), (() => { }).name, p.length, ((a, b = 1, c) => { }).length, ((...a) => { }).length, (({ a }, [b]) => { }).length];

//--- closures capture by reference
let n = 0;
const inc = () => ++n;
const get = () => n;
inc(); inc(); n += 10;
const fs = [];
for (let i = 0; i < 3; i++) { fs.push(() => i); }
for (const i of [7, 8]) fs.push(() => i);
for (const k in { a: 1, b: 2 }) fs.push(() => k);
for (var v = 0; v < 2; v++) fs.push(() => v);
for (let i = 0; i < 2; i++) { fs.push(() => i++); fs.push(() => i); }
for (let i = 0, f = () => i; i < 2; i++) fs.push(f);
let j = 0;
while (j < 2) { const m = j * 10; let w = m; fs.push(() => w++ + m); j++; }
const late = () => after; let after = "later";
return [n, get(), fs.map(f => f()), fs.map(f => f()), late()];

//--- counters and private state
function counter(start = 0) { let n = start; return { inc: (by = 1) => n += by, get value() { return n; }, set value(v) { n = v; } }; }
const a = counter(), b = counter(5);
a.inc(); a.inc(3); b.inc(); b.value = 100; b.inc();
return [a.value, b.value];

//--- hoisting
const out = [early(), typeof later, typeof v];
function early() { return later2(); }
function later2() { return "hoisted"; }
var v = 1;
var later = 2;
{ out.push(inner()); function inner() { return "block"; } }
function even(n) { return n == 0 ? true : odd(n - 1); }
function odd(n) { return n == 0 ? false : even(n - 1); }
const twice = () => { function t() { return 1; } function t() { return 2; } return t(); };
out.push(even(10), odd(7), twice());
if (true) { function f2() { return f3(); } function f3() { return x3; } const x3 = 3; out.push(f2()); }
return out;

//--- recursion and self names
function fact(n) { return n < 2 ? 1 : n * fact(n - 1); }
const fib = function f(n) { return n < 2 ? n : f(n - 1) + f(n - 2); };
const down = n => n == 0 ? "done" : down(n - 1);
function outer(n) { const again = () => n > 0 ? outer(n - 1) + 1 : 0; return again(); }
let g = function self() { return typeof self; };
function reassigned() { return 1; } reassigned = () => 2;
return [fact(10), fib(15), down(50), outer(5), g(), reassigned(), (function me(k) { return k ? [me.name, me(k - 1)] : []; })(2)];

//--- name of a function expression is constant
const f = function g() { g = 1; };
try { f(); return "no"; } catch (e) { return e.name; }

//--- temporal dead zone
const out = [];
const t = f => { try { out.push(f()); } catch (e) { out.push(e.name); } };
t(() => { x; let x = 1; });
t(() => { x = 1; let x; return x; });
t(() => { const f = () => y; f(); let y = 1; });
t(() => { const f = () => y; let y = 1; return f(); });
t(() => { let x = x + 1; });
t(() => { typeof z; let z; });
t(() => { for (const a of [a]) { } });
t(() => { for (let i = i; i < 1;) { } });
t(() => { switch (1) { case 0: let q = 1; break; case 1: return q; } });
t(() => { switch (0) { case 0: let q = 1; case 1: return q; } });
t((a = b, b = 1) => a);
t((a = 1, b = a) => a + b);
t((a = () => b, b = 2) => a());
t(({ a, c = a } = { a: 4 }) => [a, c]);
t(({ a = a } = {}) => a);
t(([a, b = a] = [1]) => [a, b]);
t(() => { let { a, b = a } = { a: 3 }; return b; });
t(() => { { f(); } function f() { return k; } let k = 1; return k; });
t(() => { const r = []; for (let i = 0; i < 2; i++) { try { r.push(k); } catch (e) { r.push(e.name); } let k = i; r.push(k); } return r; });
t(() => { let v; { v = 1; let w = v; return w; } });
t(() => { x++; let x = 0; });
t(() => { let a = (() => { try { return a; } catch { return "tdz"; } })(); return a; });
return out;

//--- constants can't be assigned
const c = 1; const out = [];
for (const f of [() => { c = 2; }, () => { c += 2; }, () => { c++; }, () => { [c] = [1]; }, () => { ({ c } = { c: 1 }); }, () => { for (c of [1]) { } }, () => { c ||= 5; return c; }, () => { c &&= 5; }])
  try { out.push(f()); } catch (e) { out.push(e.name); }
const log2 = []; try { c = log2.push("right side runs"); } catch { }
return [c, out, log2];

//--- destructuring objects
const { a, b: renamed, c = 3, d: { e, f = a } = {}, ...rest } = { a: 1, b: 2, d: { e: 5 }, x: 9, y: [1] };
const key = "dyn"; const { [key]: dyn = "default", [`${key}2`]: dyn2, ...others } = { dyn2: 2, z: 1 };
let p, q; ({ p, q: [q] = [7] } = { p: 1 });
const o = {}; ({ x: o.x, y: o["y"], ...o.rest } = { x: 1, y: 2, z: 3 });
const { length } = "hello"; const { 0: first, "quoted-name": qn = 1 } = ["zero"];
const f2 = ({ a, b = a * 2 }, [c2, , d2 = 4] = [], ...r) => [a, b, c2, d2, r];
const swap = { m: 1, n: 2 }; ({ m: swap.n, n: swap.m } = swap);
return [a, renamed, c, e, f, rest, dyn, dyn2, others, p, q, o, length, first, qn, f2({ a: 1 }, [3], 5, 6), f2({ a: 1, b: 0 }), swap];

//--- destructuring arrays
const [a, , b = 2, [c, ...d] = [], ...e] = [1, 9, undefined, "xyz", 5, 6];
let x = 1, y = 2; [x, y] = [y, x];
let arr = [3, 2, 1]; [arr[0], arr[2]] = [arr[2], arr[0]];
const [m, n] = new Map([[1, 2], [3, 4]]); const [s1, ...s2] = new Set([1, 2, 3]);
let t; const u = [t = 5, , ...[]] = [];
let v; const w = ([v] = [8, 9]);
const [] = [1]; const [z = z2(), z3 = z] = []; function z2() { return "z2"; }
let aa = [1]; [aa] = [aa.length + 1];
var bb = [4, 5]; var [bb] = bb;
return [a, b, c, d, e, x, y, arr, m, n, s1, s2, v, w, z, z3, aa, bb];

//--- destructuring null throws
const out = [];
for (const f of [() => { const { a } = null; }, () => { const { } = undefined; }, () => { const [a] = null; }, () => { const [a] = {}; }, () => { (({ a }) => a)(); }, () => { ({ a: 1 }.a.b.c); }, () => { const { a: { b } } = {}; }])
  try { f(); out.push("no error"); } catch (e) { out.push(e.name); }
return out;

//--- iterators are closed
const log1 = [];
const make = (n, extra = {}) => ({ [Symbol.iterator]() { let i = 0; return { next() { log1.push("next"); return { done: i >= n, value: i++ }; }, return(v) { log1.push("return"); return {}; }, ...extra }; } });
const [a, b] = make(5); const [c] = make(0); const [...d] = make(2); const [e, f, g] = make(2);
log1.push("loops");
for (const x of make(5)) { if (x == 1) break; }
for (const x of make(2)) { }
outer: for (const x of make(3)) { for (const y of make(3)) { if (y == 1) continue outer; if (x == 1) break outer; } }
const fn = () => { for (const x of make(3)) { return x; } };
log1.push(fn());
try { for (const x of make(3)) throw new Error("body"); } catch (e) { log1.push(e.message); }
try { const [p = (() => { throw new Error("default"); })()] = make(3, { next() { return { done: false, value: undefined }; } }); } catch (e) { log1.push(e.message); }
try { for (const x of make(3, { return() { throw new Error("in return"); } })) throw new Error("wins"); } catch (e) { log1.push(e.message); }
try { for (const x of make(3, { return() { throw new Error("in return"); } })) break; } catch (e) { log1.push(e.message); }
try { for (const x of make(3, { return() { return 1; } })) break; } catch (e) { log1.push(e.name); }
try { for (const x of make(3, { next() { throw new Error("in next"); } })) break; } catch (e) { log1.push(e.message); }
try { const [q] = make(3, { next() { throw new Error("in next 2"); } }); } catch (e) { log1.push(e.message); }
try { for (const { z } of make(3, { next() { return { done: false, value: null }; } })) { } } catch (e) { log1.push(e.name); }
for (const x of make(3)) { try { break; } catch { log1.push("not here"); } finally { log1.push("finally"); } }
const viaFinally = () => { for (const x of make(3)) { try { return "value"; } finally { log1.push("f"); } } };
log1.push(viaFinally());
try { for (const x of make(3, { return() { throw new Error("close"); } })) { try { break; } catch (e) { log1.push("wrong: inner catch"); } } } catch (e) { log1.push("right: " + e.message); }
for (const x of make(3)) { try { if (x == 1) continue; } finally { if (x == 2) break; } }
return log1;

//--- try, catch, finally
const out = [];
const run = f => { try { out.push(f()); } catch (e) { out.push("threw " + (e.message ?? e)); } };
run(() => { try { return 1; } finally { out.push("f1"); } });
run(() => { try { throw new Error("a"); } catch (e) { return e.message; } finally { out.push("f2"); } });
run(() => { try { throw new Error("b"); } finally { out.push("f3"); } });
run(() => { try { return 1; } finally { return 2; } });
run(() => { try { throw 1; } finally { return 3; } });
run(() => { try { throw 1; } catch { throw 2; } finally { out.push("f4"); } });
run(() => { for (let i = 0; i < 3; i++) { try { if (i == 1) continue; if (i == 2) break; out.push(i); } finally { out.push("i" + i); } } return "end"; });
run(() => { l: { try { break l; } finally { out.push("labelled"); } } return "after"; });
run(() => { try { try { return "inner"; } finally { out.push("f5"); } } finally { out.push("f6"); } });
run(() => { try { try { throw new Error("x"); } finally { throw new Error("y"); } } catch (e) { return e.message; } });
run(() => { let x = 1; try { return x; } finally { x = 2; } });
run(() => { while (true) { try { return "w"; } finally { break; } } return "broke"; });
run(() => { let n = 0; for (;;) { try { n++; if (n < 3) continue; return n; } finally { if (n == 3) n = 30; } } });
run(() => { try { } finally { out.push("empty"); } return 9; });
run(() => { try { throw { a: 1, b: [2] }; } catch ({ a, b: [c] }) { return [a, c]; } });
run(() => { try { null.x; } catch (e) { return e instanceof TypeError; } });
run(() => { const fs = []; for (let i = 0; i < 2; i++) { try { throw i; } catch (e) { fs.push(() => e); } } return fs.map(f => f()); });
run(() => { o: for (const a of [1, 2]) { for (const b of [1, 2]) { try { if (b == 2) continue o; out.push([a, b]); } finally { if (a == 2) break o; } } } return "o"; });
run(() => { try { return (() => { throw new Error("late"); })(); } catch (e) { return "caught " + e.message; } finally { out.push("z"); } });
run(() => { function f() { try { return "a"; } finally { try { throw 1; } catch { out.push("nested"); } } } return f(); });
return out;

//--- switch
const f = x => { const r = []; switch (x) { case 1: r.push("one"); case 2: r.push("two"); break; default: r.push("default"); case 3: r.push("three"); { break; } case 4: return ["four"]; } return r; };
const g = x => { switch (typeof x) { case "string": { const y = x.length; return y; } case "number": { const y = x * 2; return y; } } return null; };
const order = []; const n = v => { order.push(v); return v; };
switch (n(3)) { case n(1): case n(3): order.push("hit"); case n(4): order.push("fell"); break; case n(5): }
l: switch (1) { case 1: for (; ;) { break l; } }
switch (1) { } switch (9) { default: order.push("only default"); }
const h = x => { switch (x) { case 0: function inner() { return "hoisted"; } case 1: return inner(); } };
for (const x of [1, 2, 3]) { switch (x) { case 2: continue; } order.push("x" + x); }
return [f(1), f(2), f(3), f(4), f(5), f("1"), g("abc"), g(4), g(null), order, h(1), h(0)];

//--- loops
const out = [];
for (let i = 0; i < 3; i++) out.push(i);
for (let i = 5; i--;) { if (i == 3) continue; if (i == 1) break; out.push("d" + i); }
let w = 0; while (w < 3) w++; out.push(w);
do { w--; if (w == 1) continue; } while (w > 0); out.push(w);
for (const [k, v] of Object.entries({ a: 1, b: 2 })) out.push(k + v);
for (const k in { x: 1, y: 2 }) out.push(k);
for (const k in [7, 8]) out.push(k);
for (const k in "ab") out.push(k);
for (const k in null) out.push("never");
for (var q of "héß😀") out.push(q);
outer: for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) { if (j == 1) continue outer; if (i == 2) break outer; out.push([i, j]); }
let o = {}; for (o.x of [1, 2]); for (o["y"] in { z: 1 }); for ([o.p, o.q = 5] of [[1], [2, 3]]);
for (let i = 0, n = 2; i < n; i++, n += 0) out.push("c" + i);
for (; ;) { break; }
a: b: for (; ;) { break a; }
blk: { if (out.length) break blk; out.push("not here"); }
let s = 0; for (const x of [1, 2, 3]) { s += x; } out.push(s);
const it = [1, 2, 3][Symbol.iterator](); for (const x of it) { if (x == 1) break; } out.push([...it]);
return [out, o, q];

//--- functions and arguments
function d(a, b = a + 1, ...rest) { return [a, b, rest]; }
const spread = [2, 3];
const o = { v: 1, f() { return this.v; }, g: () => typeof this, h() { return (() => this.v)(); }, i() { return [1].map(() => this.v); }, j() { return { f: () => () => this }.f()() === this; } };
const { f } = o;
const out = [d(1), d(1, undefined, 3), d(...spread), d(0, ...spread, 4, ...[]), Math.max(...spread, 1), o.f(), o.g(), o.h(), o.i(), o.j(), o["f"](), (0, o.f) === o.f, [..."ab", ...[1]], new Array(...[1, 2])];
try { f(); } catch (e) { out.push(e.name); }
out.push((() => ({ a: 1 }))(), (() => { })(), (function () { return this; })(), ((a, b) => [a, b])(1, 2, 3), (a => a)(), f.call({ v: 5 }), d.apply(null, [1]), o.f.bind({ v: 6 })());
function Thing(x) { this.x = x; } Thing.prototype.get = function () { return this.x; };
const th = new Thing(4); out.push(th.get(), th instanceof Thing, new Thing(...[5]).x, new (function () { this.a = 1; })().a, new Thing(1).constructor === Thing, (new Date(0)).getTime());
function over() { return { other: 1 }; } out.push(new over());
try { new o.f(); } catch (e) { out.push(e.name); } try { new (() => 1)(); } catch (e) { out.push(e.name); }
return out;

//--- many arguments
const f = (...a) => a.length;
return [f(0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9)];

//--- objects
const k = "dyn", sym = Symbol("s"), x = 1;
const o = { x, "quoted key": 2, 3: "three", [k]: 4, [`${k}2`]: 5, [sym]: 6, m() { return this.x; }, get g() { return this._g ?? "unset"; }, set g(v) { this._g = v; },  ...{ spread: 1, x: 1 }, ...null, ..."hi", get [k + "3"]() { return 33; } };
o.g = 5; delete o.spread; delete o["quoted key"]; delete o.nothing;
const dup = { a: 1, a: 2, get a() { return 3; }, b: 1, set b(v) { } };
const order = []; const p = { [(order.push(1), "a")]: order.push(2), [(order.push(3), "b")]: order.push(4) };
return [o, o.m(), o[sym], o.g, o.dyn3, dup.a, dup.b, order, "x" in o, o?.x, o.nope?.a.b.c, delete o.x, o.x, Object.keys({ b: 1, 2: 1, a: 1, 1: 1 })];

//--- arrays
const a = [1, , 3, ...[4, , 5],];
a[10] = 1; a.length = 8; delete a[0];
return [a, a.length, 1 in a, [, ,].length, [[1, [2]], [], [[]]], Array.from({ length: 2 }, (_, i) => i * 2), [3, 1, 2].sort(), [1, 2, 3].map(x => x * 2).filter(x => x > 2).reduce((s, x) => s + x, 0)];

//--- optional chaining
const o = { a: { b: { c: () => 42, d: null, self() { return this === o.a.b; } } }, n: null, f: () => null, arr: [1] };
let calls = 0; const count = () => { calls++; return "a"; };
const out = [o?.a?.b?.c(), o.x?.y.z.w, o.n?.[count()].x(count()), o.a?.b.d?.e, o.a.b.nope?.(), o.f?.()?.x, o?.["a"]?.["b"].c?.(), o.arr?.[0], o.x?.[0], (o.x?.y)?.z, o.a?.b.self(), (o.a?.b).self(), (o.a?.b.self)(), o.a.b?.["self"](), o.a?.b.self?.()];
out.push(delete o?.n, delete o.zz?.y.z, "n" in o, calls, null?.x, undefined?.[1], ""?.length, typeof o.x?.y);
try { o.a.x.y; } catch (e) { out.push(e.name); } try { (o.x?.y).z; } catch (e) { out.push(e.name); } try { o.a?.nope(); } catch (e) { out.push(e.name); } try { (o.x?.y)(); } catch (e) { out.push(e.name); }
return out;

//--- logical operators
const f = v => { log(v); return v; };
return [f(0) && f(1), f(1) && f(2), f(0) || f(3), f(4) || f(5), f(null) ?? f(6), f(0) ?? f(7), f(1) && f(0) || f(8), !f(1), !!f("a"), (f(0) || f(2)) && f(3), f(0) ? f(1) : f(2) ? f(3) : f(4), (f(1), f(2))];

//--- conditions
const t = []; const y = v => (t.push(v), v);
if (y(1) && y(0) || y(2)) t.push("a"); else t.push("b");
if (!(y(0) || y(0)) && !y(0)) t.push("c");
if (y(0)) t.push("no"); else if (y(1)) t.push("elseif"); else t.push("no");
while (!(y(1) && y(1))) { } 
if ((y(0) ?? y(1)) || y(null)) t.push("no");
if (true) t.push("t"); if (false) t.push("f"); if (!false && true || y(5)) t.push("u");
y(1) && t.push("effect"); y(0) || t.push("effect2"); y(null) ?? t.push("effect3"); y(0) ? t.push("x") : t.push("y");
return t;

//--- templates
const a = 1, o = { toString() { return "O"; } }, n = null;
const long = `${a}${a}${a}${a}${a}${a}${a}${a}${a}${a}${a}${a}${a}${a}${a}${a}`;
return [`a${a}b`, ``, `${o}`, `${n} ${undefined} ${[1, 2]}`, `x${`y${`z${a}`}`}`, `line\nbreak\u{41}\x42`, `${a}` + 1, long, `${1 + 1}${"s"}`];

//--- typeof and void
return [typeof undeclared, typeof 1, typeof "", typeof null, typeof undefined, typeof {}, typeof (() => 1), typeof 1n, typeof Symbol(), typeof true, void 0, typeof typeof 1];

//--- async functions
const order = [];
const sleep0 = () => Promise.resolve();
async function f(x) { order.push("start" + x); await sleep0(); order.push("end" + x); return x * 2; }
const p = [f(1), f(2)];
order.push("sync");
const r = await Promise.all(p);
const g = async x => { try { await Promise.reject(new Error("no")); } catch (e) { return e.message; } finally { order.push("fin"); } };
const h = async () => { throw new TypeError("t"); };
let caught; try { await h(); } catch (e) { caught = e.name; }
const o = { async m() { return this.v; }, v: 3 };
const vals = []; for (const x of [1, 2, 3]) vals.push(await f(x));
const nested = await (async () => { const a = await 1; const b = await (async () => (await 2) + a)(); return [a, b]; })();
const params = async (a = (() => { throw new Error("param"); })()) => a; let pe; try { await params(); } catch (e) { pe = e.message; }
const ret = await (async () => { for (const x of [1, 2]) { try { return await x; } finally { order.push("cleanup"); } } })();
let conc = ""; await Promise.all(["a", "b"].map(async s => { await null; conc += s; await null; conc += s; }));
let e2; try { await Promise.any([Promise.reject(1)]); } catch (e) { e2 = e.constructor.name; }
return [r, order, await g(), caught, await o.m(), vals, nested, pe, ret, conc, await 5, e2, await new Promise(ok => ok(6)), f.name, (async () => { })() instanceof Promise];

//--- ticks
const out = [];
(async () => { out.push("a1"); await null; out.push("a2"); await null; out.push("a3"); })();
(async () => { out.push("b1"); await (async () => { await null; })(); out.push("b2"); })();
Promise.resolve().then(() => out.push("p1")).then(() => out.push("p2")).then(() => out.push("p3"));
await null; out.push("m1"); await null; out.push("m2"); await null; await null; await null;
return out;

//--- host calls
kv.set("a", { n: 1 });
const v = kv.get("a");
log("x", 1);
const { a, b: [first] } = payload();
return [v, a, first, kv.del("a"), kv.get("a")];

//--- shadowing
let x = 1; const out = [];
{ let x = 2; { let x = 3; out.push(x); } out.push(x); }
out.push(x);
const f = x => { x = x + 1; { let x = 10; x++; } return x; };
function g(a, b) { var a; if (b) { var c = a; } return [a, c]; }
function h(a) { var a = 5; return (() => a)(); }
for (let x = 0; x < 1; x++) { let x = "inner"; out.push(x); }
try { throw 1; } catch (x) { let y = x; { let x = y + 1; out.push(x); } }
const k = (x, y = () => x) => { x = 9; return y(); };
function params(a, b = () => a) { a = 2; return b(); }
const m = function x() { let x = 5; return x; };
return [out, f(5), g(1, 2), g(3), h(1), k(1), params(1), m()];

//--- exceptions carry values
const out = [];
try { throw 1; } catch (e) { out.push(e); } try { throw null; } catch (e) { out.push(e); } try { throw undefined; } catch (e) { out.push(e); }
try { undefined(); } catch (e) { out.push(e.name); } try { null[0]; } catch (e) { out.push(e.name); } try { (void 0).x = 1; } catch (e) { out.push(e.name); }
try { Object.freeze([1]).push(2); } catch (e) { out.push(e.name); } try { Object.freeze({ a: 1 }).a = 2; } catch (e) { out.push(e.name); } try { delete Object.freeze({ a: 1 }).a; } catch (e) { out.push(e.name); }
try { 1n + 1; } catch (e) { out.push(e.name); } try { Symbol() + ""; } catch (e) { out.push(e.name); } try { [...1]; } catch (e) { out.push(e.name); } try { 1 in 1; } catch (e) { out.push(e.name); } try { ({}) instanceof 1; } catch (e) { out.push(e.name); }
return out;

//--- comma, labels, empty statements
let a = (1, 2, 3); ; ; let b; for (b = 0, a = 1; b < 2; b++, a *= 2);
x: { y: { break x; } a = "no"; }
return [a, b];

//--- deep closures
const make = a => b => c => d => { a += b; return [a, b, c, d, () => a]; };
const f = make(1)(2)(3); const [r1] = f(4); const r2 = f(5);
const obj = { v: 1, m() { const self = () => { const deeper = () => this.v; return deeper(); }; return self(); } };
const compose = (...fs) => x => fs.reduceRight((v, f) => f(v), x);
let total = 0; const add = n => { total += n; return { add, total }; };
return [r1, r2.slice(0, 4), r2[4](), obj.m(), compose(x => x + 1, x => x * 2)(5), add(1).add(2).add(3).total];

//--- captured parameters
const f = (a, b = 1, { c, d = c } = { c: 3 }, [e] = [4], ...g) => { const get = () => [a, b, c, d, e, g]; a = 10; c++; g.push(1); return get(); };
const each = (list, fn) => { for (let i = 0; i < list.length; i++) fn(list[i], i); };
const out = []; each(["x", "y"], (v, i) => { out.push(() => v + i); v = v + "!"; });
return [f(1), f(1, 2, { c: 5 }, [6], 7), out.map(f => f())];

//--- long chains
let s = ""; for (let i = 0; i < 3; i++) s = s + i + "," + (i + 1) + ";" + `${i}` + "|";
const n = 1 + 2 - 3 * 4 / 5 % 6 ** 2 + (7 - 8) - (9 - (10 - 11));
return [s, n, "a" + 1 + 2, 1 + 2 + "a", [1, 2, 3].map(x => x + 1).filter(x => x % 2).join("-").toUpperCase().length];

//--- big numbers
return [123456789012345678901234567890n, -5n, -(-5n), 0n, 2147483647, 2147483648, -2147483648, -2147483649, 1e308 * 10, -1e308 * 10, 0 / 0, 5e-324, 0.5, -0.5, 1 / -0, 0b101, 0o17, .5, 5., 1e3, NaN, Infinity];

//--- order handler
const input = { user_id: 7, items: [{ sku: "a", qty: 2, price: 9.5 }, { sku: "b", qty: 1, price: 100 }] };
function total(items) { let sum = 0; for (const { qty, price = 0 } of items) { if (!qty) continue; sum += qty * price; } return sum; }
const errors = [];
if (!Number.isInteger(input.user_id)) errors.push("user_id");
const t = total(input.items);
if (errors.length) { return { status: 400, errors }; }
const bySku = Object.fromEntries(input.items.map(({ sku, ...rest }) => [sku, rest]));
return { status: t > 100 ? 201 : 200, total: t, bySku, note: `${input.items.length} items, ${t.toFixed(2)}` };

//--- names in parameter lists see what is declared further down
var w2 = 5;
const f = () => { const g = (a = w2) => a; var w2 = 7; return g(); };
const h = () => { const g = (a = () => k) => a(); let k = 7; return g(); };
const k = 1;
const m = () => { const g = ({ a = n } = {}) => a; return g().name; function n() { } };
const n = 1;
const c = () => { try { throw {}; } catch ({ a = w2 }) { var q = a; } var w2 = 7; return q; };
const e = (a = w2) => { var w2 = 8; return [a, w2]; };
const t = () => { try { const g = (a = late) => a; g(); let late = 1; } catch (e) { return e.name; } };
const late = 3;
const d = () => { try { throw { a: 4 }; } catch ({ a, b = a }) { return b; } };
const a = "outer";
return [f(), h(), m(), c(), e(), t(), d()];

//--- class: methods are not enumerable, accessors and statics work
class A { constructor(x) { this.x = x; } m() { return this.x; } get twice() { return this.x * 2; } set twice(v) { this.x = v / 2; } static make(x) { return new this(x); } } const a = A.make(4); a.twice = 20; return [a.m(), a.twice, Object.keys(A.prototype), Object.getOwnPropertyNames(A.prototype), Object.getOwnPropertyNames(A), A.length, A.name, typeof A]

//--- class: names
const A = class {}; const B = class Inner { static n() { return Inner.name; } }; const o = { c: class {}, ['d' + 1]: class {}, f: class { static name() { return 'own'; } } }; let g; g = class {}; const [h = class {}] = []; return [A.name, B.name, B.n(), o.c.name, o.d1.name, typeof o.f.name, g.name, h.name, (class {}).name]

//--- class: the name inside is constant and is not there too early
const out = []; class A { static who() { return A; } } const B = A; const C = A; try { class X extends X {} } catch (e) { out.push(e.name); } class D { m() { D = 1; } } try { new D().m(); } catch (e) { out.push(e.name); } return [C.who() === B, out]

//--- class: the temporal dead zone of a declaration
const out = []; try { new Early(); } catch (e) { out.push(e.name); } class Early {} out.push(new Early() instanceof Early); { const f = () => new Inner(); class Inner {} out.push(f() instanceof Inner); } return out

//--- class: without new
class A {} class B extends A {} const out = []; for (const f of [() => A(), () => B.call({}), () => [1].map(A), () => A.apply(null, [])]) { try { f(); out.push('called'); } catch (e) { out.push(e.name); } } return out

//--- class: derived
class A { constructor(...a) { this.a = a; } hi() { return 'A' + this.a; } static s() { return 's' + this.name; } } class B extends A { hi() { return super.hi() + 'B'; } static s() { return super.s() + '!'; } } class C extends B { constructor(x) { super(x, ...[2, 3]); this.c = x; } hi() { const f = () => super.hi(); return f() + 'C'; } } const c = new C(1); return [c.hi(), C.s(), c instanceof A, Object.getPrototypeOf(C) === B, c, B.length, C.length]

//--- class: this before super
const out = []; class A {} for (const make of [() => new (class extends A { constructor() { this.x = 1; } })(), () => new (class extends A { constructor() {} })(), () => new (class extends A { constructor() { super(); super(); } })(), () => new (class extends A { constructor() { const f = () => this; f(); super(); } })(), () => new (class extends A { constructor() { return 1; } })(), () => new (class extends A { constructor() { super(); return 1; } })()]) { try { make(); out.push('made'); } catch (e) { out.push(e.name); } } return out

//--- class: super called by an arrow
class A { constructor(v) { this.v = v; } } class B extends A { f = this.v + 1; constructor() { const call = v => { super(v); return () => this.v; }; const get = call(5); this.g = get(); } } const b = new B(); return [b.v, b.f, b.g]

//--- class: what constructors return
const o = { o: 1 }; class A { constructor(r) { this.x = 1; return r; } } class B extends A { y = 2; constructor(r) { const it = super(r); this.same = it === this; } } return [new A(o) === o, new A(5).x, new A(undefined).x, new B(o), new B(null).y]

//--- class: a return in try does not reach the constructor's own catch
const out = []; class A {} class B extends A { constructor() { super(); try { return 0; } catch (e) { out.push('caught'); } finally { out.push('finally'); } } } try { new B(); } catch (e) { out.push(e.name); } class C extends A { constructor() { try { super(); return; } finally { this.done = true; } } } return [out, new C().done]

//--- class: fields
let n = 0; const key = () => { n++; return 'k' + n; }; class A { a = 1; b; [key()] = n; c = this.a + 1; 'd e' = 5; 0 = 'zero'; f = () => this.a; g = function () { return this.a; }; static s = 1; static [key()] = this.s + 1; static t = () => this.s; } const a = new A(); new A(); return [a, Object.keys(a), a.f.call(null), a.g(), A.s, A.k2, A.t(), n, a.f.name, a.g.name]

//--- class: fields and parents
const seen = []; class A { x = seen.push('A.x'); constructor() { seen.push('A'); } } class B extends A { y = seen.push('B.y'); constructor() { seen.push('before'); super(); seen.push('B'); } } class C extends B { z = seen.push('C.z'); } new C(); return seen

//--- class: a field hides an accessor of the parent
class A { set v(x) { throw new Error('set'); } } class B extends A { v = 3; } return [new B().v, Object.keys(new B())]

//--- class: private members
class A { #x = 1; #y; static #count = 0; constructor(y) { this.#y = y; A.#count++; } #m(a) { return this.#x + a; } get #acc() { return this.#y; } set #acc(v) { this.#y = v; } static #s() { return 'static' + A.#count; } sum() { this.#acc += 10; this.#x++; this.#x ??= 5; return this.#m(this.#acc); } static is(o) { return #x in o; } static t() { return this.#s(); } same(o) { return o.#x; } opt(o) { return [o?.#x, o?.#m?.(1)]; } static name2() { return [A.prototype.sum.name, Object.keys(new A(1))]; } } const a = new A(5); const out = [a.sum(), A.is(a), A.is({}), A.t(), a.same(new A(1)), a.opt(null), a.opt(a), A.name2(), JSON.stringify(a), Object.getOwnPropertySymbols(a).length]; for (const f of [() => a.same({}), () => A.is(1), () => A.t.call({})]) { try { f(); } catch (e) { out.push(e.name); } } return out

//--- class: private names belong to their evaluation
const make = () => class { #p = 1; static has(o) { return #p in o; } }; const A = make(), B = make(); return [A.has(new A()), A.has(new B()), B.has(new B())]

//--- class: private methods and accessors can't be written
const out = []; class A { #m() {} get #g() { return 1; } set #s(v) {} a() { this.#m = 1; } b() { this.#g = 1; } c() { return this.#s; } d() { return [this.#g, (this.#s = 4)]; } } const a = new A(); for (const k of ['a', 'b', 'c']) { try { a[k](); } catch (e) { out.push(e.name); } } return [out, a.d()]

//--- class: private fields of frozen and of foreign objects
class Base { constructor(o) { return o; } } class Stamp extends Base { #v = 1; static read(o) { return o.#v; } static write(o, v) { o.#v = v; } } const o = { a: 1 }; new Stamp(o); Object.freeze(o); Stamp.write(o, 7); let twice = ''; try { new Stamp(o); } catch (e) { twice = e.name; } return [Stamp.read(o), Object.keys(o), twice, Object.isFrozen(o)]

//--- class: destructuring into private and super members
class A { set v(x) { this.w = x; } } class B extends A { #p; m() { [this.#p, super.v] = [1, 2]; ({ a: this.#p = 9, ...super.v } = { b: 3 }); return [this.#p, this.w]; } } return new B().m()

//--- class: static blocks
const seen = []; class A { static a = 1; static { seen.push(this.a, this === A); var x = 5; const y = x; seen.push(y); } static b = seen.push('b'); static { try { throw new Error('e'); } catch (e) { seen.push(e.message); } } } return [seen, A.b, typeof x]

//--- class: super in object literals
const p = { v: 'p', hi() { return 'p' + this.n; }, get acc() { return 'acc' + this.n; } }; const o = { __proto__: p, n: 1, hi() { return super.hi() + super.acc + (() => super.v)(); }, set(v) { super.q = v; return this.q; }, ['m' + 1]() { return super['v']; } }; return [o.hi(), o.set(4), p.q === undefined, o.m1(), o.m1.name]

//--- class: super assignment, update and delete
class A { get v() { return this.n; } set v(x) { this.n = x; } } class B extends A { n = 1; t() { super.v += 5; super.v++; const old = super['v']--; super.w = 3; super.v &&= super.v * 2; let e; try { delete super.v; } catch (x) { e = x.name; } return [this.n, old, this.w, Object.keys(this), e]; } } return new B().t()

//--- class: new.target
function F() { return new.target === F ? 'new' : typeof new.target; } class A { constructor() { this.t = new.target.name; this.f = (() => new.target === A)(); } x = new.target; m() { return new.target; } } class B extends A {} return [F(), new F() instanceof F, new A(), new B(), new A().m()]

//--- class: constructors of functions and bound functions
function F(a, b) { this.sum = a + b; this.t = new.target.name; } F.prototype.get = function () { return this.sum; }; class A extends F { constructor() { super(1, 2); } get() { return super.get() * 10; } } const G = F.bind(null, 5); G.prototype = { tag: 'g' }; class B extends G {} const a = new A(), b = new B(6); return [a.get(), a.t, b.sum, b.tag, b.t, new (F.bind(null, 1))(2).sum]

//--- class: extends null and what is no constructor
const out = []; class N extends null { static s() { return 1; } } out.push(Object.getPrototypeOf(N.prototype), N.s(), Object.getPrototypeOf(N) === Function.prototype); for (const f of [() => new N(), () => { class X extends 5 {} }, () => { class X extends (() => 1) {} }, () => { const p = function () {}; p.prototype = 3; class X extends p {} }]) { try { f(); out.push('fine'); } catch (e) { out.push(e.name); } } return out

//--- class: errors
class NotFound extends Error { constructor(what, options) { super(what + ' not found', options); this.name = 'NotFound'; this.what = what; } get status() { return 404; } } try { throw new NotFound('page', { cause: 'link' }); } catch (e) { return [e instanceof NotFound, e instanceof Error, String(e), e.message, e.what, e.cause, e.status, e.stack.includes('NotFound') || true, Object.prototype.toString.call(e)]; }

//--- class: arrays
class Stack extends Array { peek() { return this[this.length - 1]; } } const s = new Stack(); s.push(1, 2, 3); const t = s.map(x => x * 2); return [s.peek(), s.length, t instanceof Stack, t.peek(), Array.isArray(s), s.filter(x => x > 1).constructor.name, [...s], JSON.stringify(s), Stack.from([7]).peek(), Stack.of(1, 2).length, new Stack(3).length, s.concat([4]).peek()]

//--- class: maps, sets, and their overridden adders
class Counter extends Map { add(k) { return this.set(k, (this.get(k) ?? 0) + 1); } set(k, v) { return super.set(k, v); } } const c = new Counter([['a', 5]]); c.add('a'); c.add('b'); class Upper extends Set { add(v) { return super.add(v.toUpperCase()); } } const u = new Upper(['a', 'b']); return [[...c], c.size, c instanceof Map, [...u], u.has('A')]

//--- class: promises
class P extends Promise { static get [Symbol.species]() { return P; } tag() { return 'tagged'; } } const p = new P(r => r(5)); const q = p.then(x => x + 1); return [p instanceof P, q instanceof P, q.tag(), await q, P.resolve(1) instanceof P, (await P.all([1, p])).join()]

//--- class: primitives' objects, dates, regular expressions
class N extends Number { half() { return this / 2; } } class S extends String { shout() { return this.toUpperCase() + '!'; } } class D extends Date { year() { return this.getUTCFullYear(); } } class R extends RegExp { exec(s) { const m = super.exec(s); if (m) m.extra = 1; return m; } } class B extends Boolean {} class O extends Object { constructor(x) { super(x); this.y = 1; } } return [new N(8).half(), new N(8) + 1, new S('a').shout(), new S('ab').length, new D(0).year(), new R('b', 'g').exec('abc').extra, new R(/x/i).flags, new R('a').test('a'), new B(false).valueOf(), new O({ z: 1 }), new O() instanceof O]

//--- class: order of evaluation
const seen = []; const k = x => { seen.push(x); return x; }; const P = class {}; class A extends (k('heritage'), P) { [k('m1')]() {} static [k('s1')] = seen.push('static value'); [k('f1')] = seen.push('field value'); get [k('g1')]() { return 1; } static [k('m2')]() {} static { seen.push('block'); } } seen.push('made'); new A(); return seen

//--- class: generators of keys: symbols, numbers, strings
const s = Symbol('desc'); class A { [s]() { return 's'; } 1() { return 'one'; } 'two words'() { return 'two'; } get ['y'.concat('z')]() { return 3; } static [Symbol.hasInstance](v) { return v === 5; } } const a = new A(); return [a[s](), a[1](), a['two words'](), a.yz, 5 instanceof A, a instanceof A, A.prototype[s].name, A.prototype[1].name]

//--- class: async methods
class A { #v = 1; async get() { return await this.#v; } static async make() { const a = new this(); return [await a.get(), await a.sup()]; } async sup() { return super.toString === Object.prototype.toString; } f = async () => { await null; return this.#v + 1; } } return [await A.make(), await new A().f()]

//--- class: a class in a loop captures its iteration
const list = []; for (let i = 0; i < 3; i++) { list.push(class { static i = i; v = i * 10; get() { return i + this.v; } }); } return list.map(C => [C.i, new C().get()])

//--- class: classes inside classes and initialisers
class Outer { #secret = 's'; Inner = class { #own = 1; read(o) { return o.#secret + this.#own; } static z = (() => 26)(); }; make() { return new this.Inner().read(this); } static nested = class { x = class { y = 5; }; }; } return [new Outer().make(), new Outer().Inner.z, new (new Outer.nested().x)().y]

//--- class: parameters and initialisers see their own scopes
const x = 'outer'; class A { f = x; g = () => x; constructor(x, y = this.f) { this.h = [x, y]; } } const a = new A('inner'); return [a.f, a.g(), a.h]

//--- class: instances share shapes with whatever their constructors add
class V { constructor(x, y) { this.x = x; this.y = y; } add(o) { return new V(this.x + o.x, this.y + o.y); } } let v = new V(0, 0); for (let i = 0; i < 100; i++) v = v.add(new V(i, 1)); return v

//--- class: toString and toJSON of instances
class Money { constructor(a) { this.a = a; } toString() { return this.a + ' EUR'; } toJSON() { return { eur: this.a }; } valueOf() { return this.a; } } const m = new Money(5); return [`${m}`, m + 1, m > 4, JSON.stringify([m])]

//--- class: accessors on instances through super with a receiver
class A { get me() { return this; } static get me() { return this; } } class B extends A { who() { return super.me === this; } static who() { return super.me === B; } } return [new B().who(), B.who()]

//--- class: a getter in a literal's rest
const o = { get a() { return 1; }, b: 2, get c() { return 3; } }; const { b, ...rest } = o; return [rest, Object.getOwnPropertyDescriptor(rest, 'a').value]

//--- class: __proto__ in literals
const p = { inherited: 1 }; const o = { __proto__: p, own: 2 }; const q = { '__proto__': null }; const __proto__ = 5; const r = { __proto__, ['__proto__']: 7 }; const m = { __proto__() { return 1; } }; return [o.inherited, Object.keys(o), Object.getPrototypeOf(q), Object.keys(r), m.__proto__(), Object.getPrototypeOf({ __proto__: 5 }) === Object.prototype]
//--- arguments
function f(a, b = arguments.length, ...rest) { const inner = () => arguments[0]; return [a, b, rest, inner(), arguments.length, [...arguments]]; }
const o = { m() { return (() => () => arguments.length)()(); } };
function late() { return [typeof arguments, function () { return arguments[0]; }(1)]; }
return [f(), f(1, 2, 3, 4), o.m(1, 2), late(9)];

//--- tagged templates
const tag = (s, ...v) => [s, s.raw, v];
const o = { n: 1, f(s) { return this.n + s.raw[0]; } };
const same = () => (s => s)`x`;
return [tag`a${1}\n${2}\u{62}`, o.f`\x`, same() === same(), tag`\u`[0][0], String.raw`\t${o.n}`];

//--- half surrogate pairs in literals
const o = { '\ud83d': 1, ['\ude00x']: 2 }; const k = '\ud83d';
return ['\ud83d'.length, '\ud83d' + '\ude00' === '\u{1F600}', '\ud83d\ude00'.length, `a\ud83d${''}\ude00b`.length, o[k], o['\ude00' + 'x'], '\ufffd\ud83d'.charCodeAt(1), '\ud83d\u{de00}' === '\u{1F600}', [...'\ude00\ud83d'].length, '\udead\ud83d!'.split('').map(c => c.charCodeAt(0))];
