// Async generators and `for await`: each case is a script's body; async_generators.txt has what Node answers.
//--- values and completion
async function* g() { const a = yield 1; const b = yield Promise.resolve(a + 1); return Promise.resolve([a, b]); }
const it = g();
return [await it.next("x"), await it.next(10), await it.next(20), await it.next(30), String(it), it[Symbol.asyncIterator]() === it];
//--- requests queue
const log = [];
async function* g() { for (let i = 0; i < 3; i++) { await null; log.push("at " + i); yield i; } return "end"; }
const it = g();
const all = await Promise.all([it.next(), it.next(), it.next(), it.next(), it.next()]);
return [all, log];
//--- return and throw in the queue
async function* g() { try { yield 1; yield 2; } finally { await null; } }
const it = g();
const results = await Promise.allSettled([it.next(), it.return("r"), it.next(), it.throw(new Error("late")), it.return(Promise.resolve("again"))]);
return results.map(r => r.status === "fulfilled" ? r.value : r.reason.message);
//--- before it starts
async function* g() { yield 1; }
const a = g(); const b = g(); const c = g();
const out = [await a.return(5), await a.next()];
try { await b.throw(new RangeError("x")); } catch (e) { out.push(e.name, await b.next()); }
try { await c.return(Promise.reject(new TypeError("rejected"))); } catch (e) { out.push(e.name, await c.next()); }
return out;
//--- exceptions reject and end it
async function* g() { yield 1; throw new Error("inside"); }
const it = g();
const out = [await it.next()];
for (let i = 0; i < 2; i++) { try { out.push(await it.next()); } catch (e) { out.push(e.message); } }
async function* h() { try { yield Promise.reject(new Error("yielded")); } catch (e) { yield "caught " + e.message; } }
return [out, await h().next()];
//--- throw is caught where it yields
async function* g() { for (;;) { try { yield "ready"; } catch (e) { yield "caught " + e; } } }
const it = g();
return [await it.next(), await it.throw("a"), await it.next(), await it.throw("b"), await it.return("done"), await it.next()];
//--- for await over async generators, arrays of promises, generators
async function* g() { yield 1; yield Promise.resolve(2); }
const out = [];
for await (const x of g()) out.push(x);
for await (const x of [Promise.resolve("p"), "q"]) out.push(x);
for await (const x of (function* () { yield Promise.resolve("s"); yield "t"; })()) out.push(x);
for await (const [a, { b = 5 }] of [[1, {}], Promise.resolve([2, { b: 6 }])]) out.push([a, b]);
for await (const c of "hi") out.push(c);
return out;
//--- for await closes
const log = [];
async function* g(name) { try { for (let i = 0; ; i++) yield i; } finally { log.push("closing " + name); await null; log.push("closed " + name); } }
for await (const x of g("break")) { if (x > 1) break; }
const f = async () => { for await (const x of g("return")) return x; };
log.push(await f());
try { for await (const x of g("throw")) throw new Error("body"); } catch (e) { log.push(e.message); }
outer: for (const a of [1, 2]) { for await (const x of g("label" + a)) { continue outer; } }
return log;
//--- for await and what return answers
const log = [];
const make = (ret) => ({ [Symbol.asyncIterator]: () => ({ next: async () => ({ value: 1, done: false }), return: ret }) });
for await (const x of make(async () => ({}))) break;
try { for await (const x of make(async () => 5)) break; } catch (e) { log.push(e.name); }
try { for await (const x of make(async () => { throw new RangeError("r"); })) break; } catch (e) { log.push(e.name); }
try { for await (const x of make(async () => { throw new RangeError("r"); })) throw new Error("body"); } catch (e) { log.push(e.message); }
try { for await (const x of make(async () => 5)) throw new Error("body"); } catch (e) { log.push(e.message); }
try { for await (const x of { [Symbol.asyncIterator]: () => ({ next: () => 5 }) }) break; } catch (e) { log.push(e.name); }
try { for await (const x of {}) break; } catch (e) { log.push(e.name); }
try { for await (const x of { [Symbol.asyncIterator]: () => 5 }) break; } catch (e) { log.push(e.name); }
for await (const x of make(undefined)) break;
return log;
//--- yield* over async and sync iterators
const log = [];
async function* inner() { try { const x = yield 1; log.push(x); yield 2; return "result"; } finally { log.push("finally"); } }
async function* g() { const r = yield* inner(); yield r; yield* [Promise.resolve(3), 4]; return yield* (function* () { yield 5; return 6; })(); }
const it = g();
const out = [await it.next(), await it.next("sent"), await it.next()];
for await (const x of it) out.push(x);
const early = g(); await early.next();
out.push(await early.return("stop"), await early.next());
const thrown = g(); await thrown.next();
try { await thrown.throw(new Error("t")); } catch (e) { out.push(e.message); }
return [out, log];
//--- yield* without throw or return
const log = [];
const bare = { [Symbol.asyncIterator]: () => ({ next: async () => ({ value: 1, done: false }) }) };
async function* g() { try { yield* bare; } catch (e) { log.push(e.name); return "caught"; } }
const a = g(); await a.next();
const b = g(); await b.next();
const c = g(); await c.next();
return [await a.throw("x"), await b.return("r"), await c.return(Promise.resolve("p")), log];
//--- order against other jobs
const log = [];
async function* g() { log.push("start"); yield 1; log.push("middle"); yield 2; log.push("end"); }
const it = g();
log.push("made");
const p1 = it.next().then(r => log.push(["first", r.value]));
log.push("asked");
const p2 = it.next().then(r => log.push(["second", r.value]));
Promise.resolve().then(() => log.push("tick 1")).then(() => log.push("tick 2")).then(() => log.push("tick 3")).then(() => log.push("tick 4")).then(() => log.push("tick 5"));
await p1; await p2;
await it.next();
return log;
//--- ticks of return
const log = [];
async function* g() { try { yield 1; } finally { log.push("finally"); } }
const it = g();
await it.next();
const p = it.return(Promise.resolve("v")).then(r => log.push(["returned", r.value, r.done]));
Promise.resolve().then(() => log.push("t1")).then(() => log.push("t2")).then(() => log.push("t3")).then(() => log.push("t4")).then(() => log.push("t5"));
await p;
for (let i = 0; i < 6; i++) await null;
return log;
//--- ticks of for await
const log = [];
const loop = async () => { for await (const x of [1, 2]) log.push(x); log.push("done"); };
const p = loop();
let q = Promise.resolve();
for (let i = 0; i < 10; i++) q = q.then(() => log.push("t" + i));
await p; await q;
return log;
//--- parameters are bound at the call
const log = [];
async function* g(a = log.push("default"), ...rest) { log.push("body"); yield [a, rest, arguments.length]; }
const it = g(undefined, 2);
log.push("made");
let name; try { (async function* ({ x }) {})(null); } catch (e) { name = e.name; }
return [await it.next(), log, name];
//--- wrong receivers reject
const AP = Object.getPrototypeOf(async function* () {}).prototype;
const out = [];
for (const v of [undefined, {}, (function* () {})()]) for (const m of ["next", "return", "throw"]) out.push(await AP[m].call(v, 1).then(() => "no", e => e.name));
return out;
//--- prototypes
const AF = Object.getPrototypeOf(async function* () {});
const AP = AF.prototype;
const f = async function* named(a) {};
let made; try { new f(); } catch (e) { made = e.name; }
return [
  AF.constructor.name, AF[Symbol.toStringTag], AP[Symbol.toStringTag], AP.constructor === AF, Object.getPrototypeOf(AF) === Function.prototype,
  Object.getPrototypeOf(f.prototype) === AP, Object.getPrototypeOf(f()) === f.prototype, AP.next.length, typeof Object.getPrototypeOf(AP)[Symbol.asyncIterator],
  Object.getPrototypeOf(AP)[Symbol.asyncIterator].name, made, f.name, f.length, Object.getOwnPropertyNames(f),
];
//--- methods, this, many
const o = { n: 3, async *m() { for (let i = 0; i < this.n; i++) yield i * 2; }, async *[Symbol.asyncIterator]() { yield* this.m(); } };
const out = [];
for await (const x of o) out.push(x);
async function* count(n) { for (let i = 0; i < n; i++) yield i; }
let sum = 0;
for await (const x of count(2000)) sum += x;
return [out, sum];
//--- a request while it runs
let inner;
async function* g() { inner = it.next(); yield 1; yield 2; }
const it = g();
return [await it.next(), await inner, await it.next()];
//--- return of a thenable and of what fails
async function* g() { yield 1; }
const a = g(); await a.next();
const b = g(); await b.next();
const out = [await a.return({ then(f) { f("thenable"); } })];
try { await b.return(Promise.reject(new Error("bad"))); } catch (e) { out.push(e.message, await b.next()); }
async function* h() { try { yield 1; } catch (e) { yield "saw " + e.message; } }
const c = h(); await c.next();
out.push(await c.return(Promise.reject(new Error("awaited"))), await c.next());
return out;
