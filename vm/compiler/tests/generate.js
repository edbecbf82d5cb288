// Random scripts for the comparison with node: `node generate.js SEED COUNT` prints
// them in the form of cases.js. They mix closures, loops, patterns, exceptions and
// assignments inside expressions, and stop by themselves: `tick` throws when a
// budget is used up. `note` logs a value, so that the order of effects counts, too.
'use strict';
let seed = +process.argv[2] || 1, N = +process.argv[3] || 300;
const rnd = n => { seed = (seed + 0x6D2B79F5) | 0; let t = Math.imul(seed ^ (seed >>> 15), 1 | seed); t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t; return ((t ^ (t >>> 14)) >>> 0) % n; };
const pick = a => a[rnd(a.length)];
let scopes, depth, uid, loops, inFn, inAsync, stmts;
const vars = k => scopes.flatMap(s => s).filter(v => !k || v.k === k);
const fresh = k => { const v = { n: 'v' + uid++, k }; scopes[scopes.length - 1].push(v); return v.n; };
const anyVar = () => { const v = vars(); return v.length ? pick(v).n : '1'; };
const letVar = () => { const v = vars('let'); return v.length ? pick(v).n : null; };
function expr(d = 0) {
  if (d > 3) return pick(['1', '0', '"s"', 'null', 'undefined', 'true', '3.5', anyVar(), anyVar(), anyVar()]);
  const e = () => expr(d + 1);
  switch (rnd(32)) {
    case 0: case 1: case 2: return anyVar();
    case 3: return `(${e()} ${pick(['+', '-', '*', '<', '==', '===', '!=', '>=', '&', '|', '%'])} ${e()})`;
    case 4: return `(${e()} + ${e()})`;
    case 5: return `(${e()} ${pick(['&&', '||'])} ${e()})`;
    case 6: return `(${e()} ?? ${e()})`;
    case 7: return `(${e()} ? ${e()} : ${e()})`;
    case 8: return `[${e()}, ${e()}]`;
    case 9: return `[${e()}, ...[${e()}, ${e()}]]`;
    case 10: return `({a: ${e()}, b: ${e()}, ...${pick(['null', '{c: ' + e() + '}'])}})`;
    case 11: { const v = letVar(); return v ? `(${v} ${pick(['=', '=', '+=', '||=', '??=', '&&='])} ${e()})` : e(); }
    case 12: { const v = letVar(); return v ? pick([`${v}++`, `++${v}`, `${v}--`]) : e(); }
    case 13: return `\`<${'${' + e() + '}'}${'${' + e() + '}'}>\``;
    case 14: return `${anyVar()}?.a?.[${e()}]`;
    case 15: return `${anyVar()}?.b?.(${e()})`;
    case 16: return `(typeof ${e()})`;
    case 17: return `(!${e()})`;
    case 18: return fn(d);
    case 19: case 20: return `t(${fn(d)})`;
    case 21: return `call(${e()}, ${e()})`;
    case 22: { const a = letVar(), b = letVar(); return a && b ? `([${a}, ${b} = ${e()}] = arr(${e()}))` : e(); }
    case 23: { const a = letVar(); return a ? `({a: ${a} = ${e()}} = obj(${e()}))` : e(); }
    case 24: return `(${e()}, ${e()})`;
    case 25: return `[${e()}].map(${fn(d)})`;
    case 26: return `note(${e()})`;
    case 27: { const v = letVar(); return v ? `[${v}, ${v} = ${e()}, ${v}]` : e(); }
    case 28: { const v = letVar(); return v ? `({x: ${v}, y: ${v}++, z: ${v}})` : e(); }
    case 29: return inAsync ? `(await ${e()})` : e();
    case 30: return `call(...[${fn(d)}, ${e()}])`;
    default: return `{a: ${e()}}.a`.replace(/^/, '(').replace(/\.a$/, ').a');
  }
}
function fn(d) {
  const save = [scopes, loops, inFn, inAsync]; scopes = [...scopes, []]; loops = []; inFn = true; inAsync = rnd(6) == 0;
  const as = inAsync ? 'async ' : '';
  const keepAsync = inAsync; inAsync = false;
  const p = pick([() => fresh('let'), () => { const x = fresh('let'); const y = `${fresh('let')}`; return `${x}, ${y} = ${expr(d + 2)}`; }, () => '', () => { const r = fresh('let'); return `...${r}`; }, () => { const a = fresh('let'); const b = fresh('let'); return `{a: ${a} = ${expr(d + 2)}, ...${b}} = {a: ${expr(d + 2)}}`; }, () => { const a = fresh('let'); return `[${a}] = [${expr(d + 2)}]`; }])();
  inAsync = keepAsync;
  let r;
  if (depth > 2 || rnd(2)) r = `(${as}(${p}) => (${expr(d + 1)}))`;
  else { depth++; r = rnd(2) ? `(${as}(${p}) => {${block(2)} return ${expr(d + 1)};})` : `(${as}function ${rnd(3) ? '' : 'self'}(${p}) {${block(2)} return ${expr(d + 1)};})`; depth--; }
  [scopes, loops, inFn, inAsync] = save;
  return r;
}
function block(n) { scopes.push([]); let s = ''; const hoisted = rnd(5) == 0 ? fresh('fn') : null; for (let i = 0; i < 1 + rnd(n); i++) s += stmt() + '\n'; if (hoisted) { const save = [scopes, loops, inFn, inAsync]; scopes = [...scopes, []]; loops = []; inFn = true; inAsync = false; const p = fresh('let'); s += `function ${hoisted}(${p}) { ${depth < 3 ? (depth++, block(1) + (depth--, '')) : ''} return ${expr(2)}; }\n`;[scopes, loops, inFn, inAsync] = save; } scopes.pop(); return s; }
function stmt() {
  if (stmts++ > 60) return `note(${expr(2)});`;
  const nest = depth < 4;
  switch (rnd(nest ? 24 : 8)) {
    case 0: case 1: { const e = expr(); return `let ${fresh('let')} = ${e};`; }
    case 2: { const e = expr(); return `const ${fresh('const')} = ${e};`; }
    case 3: case 4: return `note(${expr()});`;
    case 5: return `${expr()};`.replace(/^(\{|function|\()/, ';$1');
    case 6: { const e = expr(); const a = fresh('let'), b = fresh('let'); return pick([`let [${a}, ${b} = ${expr(2)}] = arr(${e});`, `let {a: ${a}, ...${b}} = obj(${e});`, `let {a: ${a} = ${expr(2)}, b: ${b} = ${a}} = obj(${e});`]); }
    case 7: if (loops.length && rnd(2)) return pick(['break;', 'continue;', `break ${pick(loops)};`, `continue ${pick(loops)};`]); return rnd(3) ? `if (${expr(2)}) throw ${expr(2)};` : inFn ? `if (${expr(2)}) return ${expr()};` : 'note(0);';
    case 8: case 9: depth++; { const r = `if (${expr(1)}) {${block(3)}} else {${block(2)}}`; depth--; return r; }
    case 10: case 11: case 12: case 13: { depth++; const l = 'L' + uid++; const head = pick(['for', 'of', 'in', 'while', 'do', 'ofd']); loops.push(l); scopes.push([]); let r; const guard = 'tick();';
      if (head === 'for') { const i = fresh('let'); r = `${l}: for (let ${i} = 0; ${i} < 3; ${i}++) {${guard}${block(3)}}`; }
      else if (head === 'of') { const e = expr(2); const i = fresh(pick(['let', 'const'])); const k = scopes[scopes.length - 1][0].k; r = `${l}: for (${k} ${i} of it(${e})) {${guard}${block(3)}}`; }
      else if (head === 'ofd') { const e = expr(2); const i = fresh('let'), j = fresh('let'); r = `${l}: for (let [${i}, ${j} = ${expr(2)}] of [arr(${e}), [1]]) {${guard}${block(3)}}`; }
      else if (head === 'in') { const e = expr(2); const i = fresh('const'); r = `${l}: for (const ${i} in obj(${e})) {${guard}${block(3)}}`; }
      else if (head === 'while') r = `${l}: while (more() && ${expr(2)}) {${guard}${block(2)}}`;
      else r = `${l}: do {${guard}${block(2)}} while (more() && ${expr(2)});`;
      scopes.pop(); loops.pop(); depth--; return r; }
    case 14: case 15: case 16: case 17: case 18: { depth++; let r = `try {${block(3)}}`; const c = rnd(3); if (c != 1) { scopes.push([]); const e = fresh('let'); r += ` catch (${e}) {${block(2)}}`; scopes.pop(); } if (c != 0) r += ` finally {${block(2)}}`; depth--; return r; }
    case 19: case 20: { depth++; scopes.push([]); const d = expr(2); const r = `switch (${d}) { case ${expr(3)}: {${block(2)}} case ${expr(3)}: {${block(1)}} ${loops.length && rnd(2) ? 'break;' : ''} default: {${block(1)}} case 1: {${block(1)}} }`; scopes.pop(); depth--; return r; }
    case 21: { depth++; const r = `{${block(3)}}`; depth--; return r; }
    case 22: { const v = letVar(); return v ? `fs.push(() => ${v}, x => { ${v} = x; });` : ';'; }
    default: { const e = expr(1); return `var ${'w' + rnd(3)} = ${e};`; }
  }
}
const prelude = `let budget = 400; const tick = () => { if (budget-- < 0) throw "budget"; }; const more = () => budget-- > 380;
const fs = []; const note = x => { if (budget-- < 0) return x; log(typeof x === "function" ? "fn" : x); return x; };
const call = (f, x) => typeof f === "function" ? (tick(), f(x)) : f; const t = f => { try { tick(); return f(1, 2); } catch (e) { return typeof e === "object" && e !== null && e.name ? e.name : e; } };
const arr = x => Array.isArray(x) ? x : [x, 2]; const obj = x => typeof x === "object" && x !== null ? x : { a: x, z: 1 };
const it = x => ({ [Symbol.iterator]() { let i = 0; const a = arr(x); return { next() { return i < a.length ? { value: a[i++], done: false } : { value: undefined, done: true }; }, return() { log("closed"); return {}; } }; } });
`;
for (let i = 0; i < N; i++) {
  scopes = [[{ n: 'w0', k: 'let' }, { n: 'w1', k: 'let' }, { n: 'w2', k: 'let' }]]; depth = 0; uid = 0; loops = []; inFn = true; inAsync = rnd(3) == 0; stmts = 0; const s0 = seed;
  let body = ''; scopes.push([]); for (let k = 0; k < 6; k++) body += stmt() + '\n'; 
  console.log(`\n//--- fuzz ${s0}\n${prelude}var w0, w1, w2;\n${body}\nfs.forEach((f, i) => { if (fs.length < 50) call(f, i); }); return [w0, w1, w2, fs.slice(0, 50).filter((_, i) => i % 2 == 0).map(f => { try { return f(); } catch (e) { return e.name; } })];`);
}
