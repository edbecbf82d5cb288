// for-in: each case is a script's body; for_in.txt has what Node answers.
//--- what is deleted before its turn is left out
const out = [];
const o = { a: 1, b: 2, c: 3, 7: "seven", d: 4 };
for (const k in o) { out.push(k, o[k]); if (k === "a") { delete o.b; delete o.d; } if (k === "7") delete o[7]; }
const l = [1, 2, 3, 4, 5];
for (const i in l) { out.push(i); if (i === "1") { l.length = 3; l.push("x"); delete l[2]; } }
const inherits = { __proto__: { b: "proto", hidden: 1 }, a: 1, b: 2, c: 3 };
for (const k in inherits) { out.push(k + inherits[k]); if (k === "a") { delete inherits.b; delete inherits.__proto__.hidden; } }
outer: for (const k in { x: 1, y: 2 }) { const p = { m: 1, n: 2, q: 3 }; for (const j in p) { if (j === "m") { delete p.n; continue; } out.push(k + j); if (k === "x") continue outer; } out.push("end" + k); }
return out;
//--- what has no keys to delete
const out = [];
for (const k in "abc") out.push(k);
for (const k in null) out.push("null");
for (const k in undefined) out.push("undefined");
for (const k in 5) out.push(k);
for (const k in true) out.push(k);
for (const k in Object("xy")) out.push(k);
for (const k in Object.freeze({ f: 1, g: 2 })) out.push(k);
for (const k in () => {}) out.push(k);
class C { x = 1; get y() { return 2; } static z = 3; }
for (const k in new C()) out.push(k);
for (const k in C) out.push(k);
return out;
//--- what is added is not asked for, what is replaced is
const out = [];
const o = { a: 1, b: 2 };
for (const k in o) { o["new" + k] = 1; out.push(k); if (k === "a") { delete o.b; o.b = 3; } }
const fs = []; const p = { one: 1, two: 2, three: 3 };
for (const k in p) { if (k === "one") delete p.two; fs.push(() => k); }
let v; for (v in p) if (v === "three") break;
const target = {}; for (target.key in p) out.push(target.key);
for (const [first, ...rest] in p) out.push(first, rest.join(""));
return [out, fs.map(f => f()), v, Object.keys(o)];
