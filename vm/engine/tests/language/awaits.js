// What `await` asks of a promise: each case is a script's body; awaits.txt has what Node answers.
//--- how often `then` is called, own and inherited
const log = [];
const orig = Promise.prototype.then;
let calls = 0;
const own = v => { const p = Promise.resolve(v); p.then = function (a, b) { calls++; return orig.call(this, a, b); }; return p; };
class Sub extends Promise { then(a, b) { calls++; return super.then(a, b); } }
const ctor = v => { const p = own(v); p.constructor = Sub; return p; };
const tests = {
  await_own: async () => { await own(1); },
  await_own_constructor: async () => { await ctor(1); },
  await_sub: async () => { await Sub.resolve(1); },
  return_own: async () => own(1),
  return_await_own: async () => await own(1),
  await_of_return_own: async () => { await (async () => own(1))(); },
  thenable: async () => { await { then(a) { calls++; a(1); } }; },
  for_await: async () => { for await (const x of [own(1), own(2)]); },
  gen_yield: async () => { async function* g() { yield own(1); } for await (const x of g()); },
  gen_return: async () => { async function* g() { return own(1); } await g().next(); },
  gen_over_return: async () => { async function* g() { } const it = g(); await it.next(); await it.return(own(1)); },
  gen_start_return: async () => { async function* g() { } const it = g();  await it.return(own(1)); },
  gen_susp_return: async () => { async function* g() { yield 1 } const it = g(); await it.next(); await it.return(own(1)); },
  gen_delegate: async () => { async function* g() { yield* [own(1)] } const it = g(); await it.next(); await it.next(); },
  all: async () => { await Promise.all([own(1), own(2)]); },
  race: async () => { await Promise.race([own(1), own(2)]); },
  resolve: async () => { await Promise.resolve(own(1)); },
  new_p: async () => { await new Promise(r => r(own(1))); },
  then_ret: async () => { await Promise.resolve(0).then(() => own(1)); },
  fin: async () => { await Promise.resolve(0).finally(() => own(1)); },
  getter_then: async () => { const p = Promise.resolve(1); Object.defineProperty(p, "then", { get() { calls += 10; return orig; } }); await p; },
  proto_null: async () => { const p = own(1); Object.setPrototypeOf(p, null); await p; },
  ctor_undef: async () => { const p = own(1); p.constructor = undefined; await p; },
};
for (const name of Object.keys(tests)) {
  calls = 0;
  let r; try { r = tests[name](); } catch (e) { log.push(name + " threw " + e); }
  await r;
  log.push(name + "=" + calls);
}
Promise.prototype.then = function (a, b) { calls++; return orig.call(this, a, b); };
for (const name of Object.keys(tests)) {
  calls = 0;
  const r = tests[name](); 
  await new Promise(d => orig.call(r, d, d));
  log.push("P." + name + "=" + calls);
}
Promise.prototype.then = orig;
return log;
//--- in which order what was awaited goes on
const log = [];
const orig = Promise.prototype.then;
const own = v => { const p = Promise.resolve(v); p.then = (a, b) => orig.call(p, a, b); return p; };
const run = async (name, f) => { for (let i = 0; i < 3; i++) { await f(i); log.push(name + i); } };
await Promise.all([run("own", own), run("plain", x => Promise.resolve(x)), run("value", x => x), run("thenable", x => ({ then(f) { f(x); } })), run("returned", async x => own(x))]);
return log;
