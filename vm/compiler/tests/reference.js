// A reference machine for tests: runs bytecode with node's own operators, so that
// what the compiler made of a script can be compared with the script itself.
// Input (stdin): [{name, source, module}]. Output: one line per case that differs.
'use strict';
const util = require('util');
// Cases may leave promises rejected.
process.on('unhandledRejection', () => {});
// What the two sides can't have in common: sources of functions, words of errors.
Function.prototype.toString = () => 'function';
Error.prototype.toString = function () { return this.name; };
const EMPTY = Symbol('empty');
class Cell { constructor(v) { this.cell = v; } }
const fail = (E, m) => { throw new E(m); };
const AsyncFunction = (async () => {}).constructor;

function machine(m, host) {
  const slots = m.slots.map(() => EMPTY);
  for (const [i, c] of m.constants.entries()) {
    if (!c || !c.$template) continue;
    const object = c.$template.map(([cooked]) => cooked === null ? undefined : m.constants[cooked]);
    Object.defineProperty(object, 'raw', { value: Object.freeze(c.$template.map(([, raw]) => m.constants[raw])) });
    m.constants[i] = Object.freeze(object);
  }
  const handlers = [];
  function closure(index, ups) {
    const f = m.functions[index];
    const start = (self, thisValue, args, target) => {
      const it = exec(f, self, thisValue, args, ups, target);
      if (!(f.flags & 1)) { const r = it.next(); if (!r.done) throw new Error('await in a plain function'); return r.value; }
      return drive(it);
    };
    let fn;
    if (f.flags & 2) fn = (...args) => start(fn, undefined, args);
    else if (f.flags & (4 | 1)) fn = { m(...args) { return start(fn, this, args); } }.m;
    else if (f.flags & 8) fn = { m(...args) { return start(fn, this, args); } }.m;
    else if (f.flags & 256) fn = function (...args) { return new.target ? start(fn, EMPTY, args, new.target) : fail(TypeError, 'a class'); };
    else fn = function (...args) { return start(fn, this, args, new.target); };
    Object.defineProperty(fn, 'name', { value: m.constants[f.name], configurable: true });
    Object.defineProperty(fn, 'length', { value: f.length, configurable: true });
    return fn;
  }
  async function drive(it) {
    let r = it.next();
    while (!r.done) {
      let v, threw = false;
      try { v = await r.value; } catch (e) { threw = true; v = e; }
      r = threw ? it.throw(v) : it.next(v);
    }
    return r.value;
  }
  const check = (v, name) => v === EMPTY ? fail(ReferenceError, `Cannot access '${name}' before initialization`) : v;
  const define = (o, k, v) => Object.defineProperty(o, k, { value: v, writable: true, enumerable: true, configurable: true });
  // A constructor's `this`: a register, or a cell that arrows share.
  const thisOf = place => { const v = place instanceof Cell ? place.cell : place; return v === EMPTY ? fail(ReferenceError, 'no this') : v; };
  const member = (name, o) => name.members.get(o) ?? fail(TypeError, `no ${name.text}`);
  function* exec(f, self, thisValue, args, ups, target) {
    const r = new Array(f.registers).fill(undefined);
    r[0] = thisValue;
    for (let i = 0; i < f.parameters; i++) r[i + 1] = args[i];
    if (f.rest != null) r[f.rest] = args.slice(f.parameters);
    if (f.flags & 64) r[1 + f.parameters + (f.rest != null)] = (function () { return arguments; })(...args);
    if (f.flags & (256 | 512)) r[1 + f.parameters + (f.rest != null) + !!(f.flags & 64)] = target;
    const K = m.constants, site = c => K[m.sites[f.site_base + c]];
    const range = (b, n) => r.slice(b, b + n);
    let pc = 0, steps = 0;
    for (;;) {
      const at = pc;
      const [op, n, a, b, c, bx, sbx] = f.code[pc++];
      try {
        if (++steps > 3e6) throw new Error('runs for ever');
        switch (op) {
          case 'LoadUndefined': r[a] = undefined; break;
          case 'LoadNull': r[a] = null; break;
          case 'LoadTrue': r[a] = true; break;
          case 'LoadFalse': r[a] = false; break;
          case 'LoadInt': r[a] = sbx; break;
          case 'LoadConst': r[a] = K[bx]; break;
          case 'LoadEmpty': r[a] = EMPTY; break;
          case 'Move': r[a] = r[b]; break;
          case 'CheckInit': check(r[a], K[bx]); break;
          case 'LoadGlobal': r[a] = globalThis[m.globals[bx]]; break;
          case 'NewCell': r[a] = new Cell(r[b]); break;
          case 'GetCell': r[a] = check(r[b].cell, '?'); break;
          case 'SetCell': check(r[a].cell, '?'); r[a].cell = r[b]; break;
          case 'InitCell': r[a].cell = r[b]; break;
          case 'Closure': {
            const g = m.functions[bx];
            r[a] = closure(bx, g.captures.map(([kind, i]) => kind === 'r' ? r[i] : ups[i]));
            break;
          }
          case 'GetUpvalue': r[a] = ups[b]; break;
          case 'GetUpCell': r[a] = check(ups[b].cell, '?'); break;
          case 'SetUpCell': check(ups[b].cell, '?'); ups[b].cell = r[a]; break;
          case 'GetModule': r[a] = check(slots[bx], '?'); break;
          case 'SetModule': slots[bx] = r[a]; break;
          case 'SetHandler': handlers[bx] = r[a]; break;
          case 'Add': r[a] = r[b] + r[c]; break;
          case 'Sub': r[a] = r[b] - r[c]; break;
          case 'Mul': r[a] = r[b] * r[c]; break;
          case 'Div': r[a] = r[b] / r[c]; break;
          case 'Rem': r[a] = r[b] % r[c]; break;
          case 'Pow': r[a] = r[b] ** r[c]; break;
          case 'BitAnd': r[a] = r[b] & r[c]; break;
          case 'BitOr': r[a] = r[b] | r[c]; break;
          case 'BitXor': r[a] = r[b] ^ r[c]; break;
          case 'Shl': r[a] = r[b] << r[c]; break;
          case 'Shr': r[a] = r[b] >> r[c]; break;
          case 'UShr': r[a] = r[b] >>> r[c]; break;
          case 'Neg': r[a] = -r[b]; break;
          case 'ToNumber': r[a] = +r[b]; break;
          case 'ToNumeric': { let x = r[b]; r[a] = x++; r[a] = x - (typeof x === 'bigint' ? 1n : 1); x = r[b]; r[a] = x++; break; }
          case 'Inc': { let x = r[b]; r[a] = ++x; break; }
          case 'Dec': { let x = r[b]; r[a] = --x; break; }
          case 'BitNot': r[a] = ~r[b]; break;
          case 'Not': r[a] = !r[b]; break;
          case 'TypeOf': r[a] = typeof r[b]; break;
          case 'Eq': r[a] = r[b] == r[c]; break;
          case 'Ne': r[a] = r[b] != r[c]; break;
          case 'StrictEq': r[a] = r[b] === r[c]; break;
          case 'StrictNe': r[a] = r[b] !== r[c]; break;
          case 'Lt': r[a] = r[b] < r[c]; break;
          case 'Le': r[a] = r[b] <= r[c]; break;
          case 'Gt': r[a] = r[b] > r[c]; break;
          case 'Ge': r[a] = r[b] >= r[c]; break;
          case 'In': r[a] = n === 1 && Object(r[c]) !== r[c] ? true : r[b] in r[c]; break;
          case 'InstanceOf': r[a] = r[b] instanceof r[c]; break;
          case 'Concat': r[a] = range(b, n).map(x => `${x}`).join(''); break;
          case 'Jump': case 'Loop': pc += sbx; break;
          case 'JumpIfTrue': if (r[a]) pc += sbx; break;
          case 'JumpIfFalse': if (!r[a]) pc += sbx; break;
          case 'JumpIfNullish': if (r[a] == null) pc += sbx; break;
          case 'JumpIfNotNullish': if (r[a] != null) pc += sbx; break;
          case 'JumpIfNotUndefined': if (r[a] !== undefined) pc += sbx; break;
          case 'JumpIfEmpty': if (r[a] === EMPTY) pc += sbx; break;
          case 'Return': return r[a];
          case 'Throw': throw r[a];
          case 'ThrowTypeError': throw new TypeError(K[bx]);
          case 'ThrowReferenceError': throw new ReferenceError(K[bx]);
          case 'Await': r[a] = yield r[b]; break;
          case 'GetField': r[a] = r[b][site(c)]; break;
          case 'SetField': r[a][site(c)] = r[b]; break;
          case 'GetElem': r[a] = r[b][r[c]]; break;
          case 'SetElem': r[a][r[b]] = r[c]; break;
          case 'DeleteField': r[a] = delete r[b][site(c)]; break;
          case 'DeleteElem': r[a] = delete r[b][r[c]]; break;
          case 'GetMethod': { const o = r[b]; const g = o[site(c)]; r[a] = g; r[a + 1] = o; break; }
          case 'NewObject': r[a] = {}; break;
          case 'DefField': define(r[a], site(c), r[b]); break;
          case 'DefElem': Object.defineProperty(r[a], r[b], { value: r[c], writable: true, enumerable: !n, configurable: true }); break;
          case 'DefGetter': Object.defineProperty(r[a], r[b], { get: r[c], enumerable: !n, configurable: true }); break;
          case 'DefSetter': Object.defineProperty(r[a], r[b], { set: r[c], enumerable: !n, configurable: true }); break;
          case 'ObjectSpread': for (const k of r[b] == null ? [] : Reflect.ownKeys(Object(r[b]))) if (Object.getOwnPropertyDescriptor(Object(r[b]), k)?.enumerable) define(r[a], k, r[b][k]); break;
          case 'ObjectRest': { const keys = range(c, n).map(k => typeof k === 'symbol' ? k : String(k)); const o = {}; for (const k of Reflect.ownKeys(Object(r[b]))) if (!keys.includes(k) && Object.getOwnPropertyDescriptor(Object(r[b]), k)?.enumerable) define(o, k, r[b][k]); r[a] = o; break; }
          case 'NewArray': r[a] = []; break;
          case 'ArrayPush': define(r[a], r[a].length, r[b]); break;
          case 'ArrayHole': r[a].length++; break;
          case 'ArraySpread': for (const x of r[b]) define(r[a], r[a].length, x); break;
          case 'GetIterator': { const o = r[b]; const g = o[Symbol.iterator]; if (typeof g !== 'function') fail(TypeError, 'not iterable'); const it = g.call(o); if (Object(it) !== it) fail(TypeError, 'not an object'); const next = it.next; r[a] = it; r[a + 1] = next; r[a + 2] = undefined; break; }
          case 'IteratorNext': {
            if (r[a] === undefined) { r[a + 2] = undefined; pc += sbx; break; }
            const it = r[a]; r[a] = undefined;
            const res = r[a + 1].call(it);
            if (Object(res) !== res) fail(TypeError, 'not an object');
            if (res.done) { r[a + 2] = undefined; pc += sbx; break; }
            const v = res.value; r[a] = it; r[a + 2] = v;
            break;
          }
          case 'IteratorClose': {
            if (r[a] === undefined) break;
            const it = r[a]; r[a] = undefined;
            const g = it.return;
            if (g != null) { const res = g.call(it); if (Object(res) !== res) fail(TypeError, 'not an object'); }
            break;
          }
          case 'ForInKeys': { const keys = []; if (r[b] != null) for (const k in Object(r[b])) keys.push(k); r[a] = keys; break; }
          case 'Call': { const g = r[b]; if (typeof g !== 'function') fail(TypeError, 'not a function'); r[a] = Reflect.apply(g, r[b + 1], range(b + 2, n)); break; }
          case 'CallSpread': { const g = r[b]; if (typeof g !== 'function') fail(TypeError, 'not a function'); r[a] = Reflect.apply(g, r[b + 1], [...r[b + 2]]); break; }
          case 'New': { if (typeof r[b] !== 'function') fail(TypeError, 'not a constructor'); r[a] = Reflect.construct(r[b], range(b + 2, n)); break; }
          case 'NewSpread': { if (typeof r[b] !== 'function') fail(TypeError, 'not a constructor'); r[a] = Reflect.construct(r[b], r[b + 2]); break; }
          case 'HostCall': r[a] = host[m.hosts[c]](...range(b, n)); break;
          case 'QueryEnd': r[a] = r[b]; break;
          case 'ThrowIfNotObject': if (r[a] == null) fail(TypeError, 'cannot destructure'); break;
          case 'ToPropertyKey': { const x = r[b]; if (typeof x === 'number' || typeof x === 'symbol') r[a] = x; else { const probe = {}; probe[x] = 1; r[a] = Reflect.ownKeys(probe)[0]; } break; }
          case 'NewRegExp': { const [, text, flags] = /^\/(.*)\/(\w*)$/s.exec(K[bx]); r[a] = new RegExp(text, flags); break; }
          case 'LoadCallee': r[a] = self; break;
          case 'CheckThis': thisOf(r[a]); break;
          case 'BindThis': {
            if (r[a] === EMPTY) r[a] = r[b];
            else if (r[a] instanceof Cell && r[a].cell === EMPTY) r[a].cell = r[b];
            else fail(ReferenceError, 'super twice');
            break;
          }
          case 'CheckReturn': {
            if (Object(r[b]) === r[b]) r[a] = r[b];
            else if (n && r[b] !== undefined) fail(TypeError, 'no object');
            else r[a] = thisOf(r[c]);
            break;
          }
          case 'CreateThis': r[a] = Object.create(r[b].prototype); break;
          case 'GetProto': r[a] = Object.getPrototypeOf(r[b]); break;
          case 'SetProto': if (r[b] === null || Object(r[b]) === r[b]) Object.setPrototypeOf(r[a], r[b]); break;
          case 'GetSuper': case 'GetSuperField': {
            const o = r[b + 1] ?? fail(TypeError, 'no super');
            r[a] = Reflect.get(o, op === 'GetSuper' ? r[c] : site(c), r[b]);
            break;
          }
          case 'SetSuper': {
            const o = r[a + 1] ?? fail(TypeError, 'no super');
            if (!Reflect.set(o, r[b], r[c], r[a])) fail(TypeError, 'read only');
            break;
          }
          case 'SuperCall': case 'SuperCallSpread': {
            if (typeof r[b] !== 'function' || !r[b].prototype) fail(TypeError, 'not a constructor');
            r[a] = Reflect.construct(r[b], op === 'SuperCall' ? range(b + 2, n) : r[b + 2], r[b + 1]);
            break;
          }
          case 'CheckHeritage': if (r[a] !== null) { if (typeof r[a] !== 'function') fail(TypeError, 'heritage'); Reflect.construct(Object, [], r[a]); } break;
          case 'NewProto': r[a] = r[b] === null || Object(r[b]) === r[b] ? Object.create(r[b]) : fail(TypeError, 'prototype'); break;
          case 'DefClass': {
            if (n && r[c] !== null) Object.setPrototypeOf(r[a], r[c]);
            Object.defineProperty(r[a], 'prototype', { value: r[b], writable: false });
            Object.defineProperty(r[b], 'constructor', { value: r[a], writable: true, enumerable: false, configurable: true });
            break;
          }
          case 'NameFunction': {
            const k = r[b];
            const text = typeof k === 'symbol' ? (k.description === undefined ? '' : `[${k.description}]`) : String(k);
            Object.defineProperty(r[a], 'name', { value: ['', 'get ', 'set '][n] + text, configurable: true });
            break;
          }
          case 'NewPrivate': r[a] = { text: K[bx], members: new WeakMap() }; break;
          case 'GetPrivate': { const p = member(r[c], r[b]); r[a] = p.accessor ? (p.get ?? fail(TypeError, 'no getter')).call(r[b]) : p.value; break; }
          case 'SetPrivate': {
            const p = member(r[b], r[a]);
            if (p.accessor) (p.set ?? fail(TypeError, 'no setter')).call(r[a], r[c]);
            else if (p.method) fail(TypeError, 'a method');
            else p.value = r[c];
            break;
          }
          case 'DefPrivate': {
            const { members } = r[b], p = members.get(r[a]);
            const half = n === 2 ? 'get' : 'set';
            if (p && (n < 2 || p[half])) fail(TypeError, 'twice');
            members.set(r[a], n < 2 ? { value: r[c], method: n === 1 } : { ...p, accessor: true, [half]: r[c] });
            break;
          }
          case 'HasPrivate': r[a] = Object(r[c]) === r[c] ? r[b].members.has(r[c]) : fail(TypeError, 'in'); break;
          default: throw new Error(`unknown ${op}`);
        }
      } catch (e) {
        const h = f.handlers.find(h => h[0] <= at && at < h[1]);
        if (!h) throw e;
        r[h[3]] = e;
        pc = h[2];
      }
    }
  }
  return { run: index => closure(index, [])(), handlers };
}

function world() {
  const lines = [];
  const store = new Map();
  const kv = { get: k => store.get(k), set: (k, v) => { store.set(k, v); }, del: k => store.delete(k) };
  const log = (...x) => { lines.push(util.inspect(x, { depth: 9 })); };
  const payload = () => ({ a: 1, b: [1, 2, 3], c: { d: 'x' } });
  return { lines, store, kv, log, payload, host: { log, payload, 'kv.get': kv.get, 'kv.set': kv.set, 'kv.del': kv.del } };
}

async function outcome(w, run) {
  let end;
  try { end = 'value ' + util.inspect(await run(), { depth: 9, showHidden: false, getters: true }); }
  catch (e) { end = "error " + (e instanceof Error ? e.name : util.inspect(e)); }
  await new Promise(r => setImmediate(r));
  return (w.lines.join('\n') + '\n' + end).replaceAll('[AsyncFunction', '[Function').replace(/\n\s*at .*/g, '').replace(/(\w*Error): .*/g, '$1').replace(/\s+/g, ' ');
}

(async () => {
  const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'), (k, v) => v && v.$units ? String.fromCharCode(...v.$units) : v && v.$private ? { text: v.$private, members: new WeakMap() } : v && v.$number ? Number(v.$number) : v && v.$bigint ? BigInt(v.$bigint) : v);
  for (const { name, source, module } of cases) {
    const w1 = world();
    let expected;
    try {
      const f = new AsyncFunction('log', 'payload', 'kv', '"use strict";\n' + source);
      expected = await outcome(w1, () => f(w1.log, w1.payload, w1.kv));
    } catch (e) { expected = 'node refuses: ' + e; }
    const w2 = world();
    const actual = await outcome(w2, () => machine(module, w2.host).run(module.main));
    console.log(JSON.stringify({ name, same: expected === actual, expected, actual }));
  }
})();
