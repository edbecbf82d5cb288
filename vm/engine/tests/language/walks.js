// Loops over what walks arrays, Maps and Sets: each case is a script's body; walks.txt has what Node answers.
//--- keys, values, entries
const m = new Map([["a", 1], ["b", 2]]), s = new Set(["x", "y"]), l = ["p", , "q"];
const out = [];
for (const it of [m, m.keys(), m.values(), m.entries(), s, s.keys(), s.values(), s.entries(), l.keys(), l.values(), l.entries()]) for (const v of it) out.push(v);
for (const [k, v] of m) out.push(k + v);
for (const [i, v] of l.entries()) out.push(i + String(v));
return [out, [...m.keys()], Array.from(s.entries()), Math.max(...m.values()), new Map(m.entries()).size];
//--- what changes during the walk
const out = [];
const m = new Map([[1, "a"], [2, "b"], [3, "c"]]);
for (const [k, v] of m) { out.push(k + v); if (k === 1) { m.delete(2); m.set(4, "d"); } if (k === 4) m.set(1, "z"); }
const s = new Set([1, 2, 3]);
for (const v of s.values()) { out.push(v); if (v < 3) { s.delete(v); s.add(v + 10); } }
const l = [1, 2, 3];
for (const v of l.values()) { out.push(v); if (l.length < 6) l.push(v * 10); if (v === 3) l.length = 4; }
for (const k of m.keys()) { if (k === 1) m.clear(); out.push(k); }
const big = []; big[5] = 5; big[100000] = 1; big.length = 7;
for (const [i, v] of big.entries()) out.push(i, v);
Array.prototype[1] = "inherited"; for (const v of [0, , 2].values()) out.push(v); delete Array.prototype[1];
const arguments_ = (function () { return arguments; })(7, 8); for (const v of Array.prototype.values.call(arguments_)) out.push(v);
for (const v of Array.prototype.entries.call("st")) out.push(v);
return out;
//--- left and taken up again, and over
const out = [];
const it = new Map([[1, 1], [2, 2], [3, 3], [4, 4]]).keys();
for (const k of it) { out.push(k); if (k === 2) break; }
out.push(it.next()); for (const k of it) out.push(k); for (const k of it) out.push("never"); out.push(it.next());
const l = [1, 2], a = l.values(); for (const v of a) out.push(v); l.push(3); for (const v of a) out.push("never"); out.push(a.next().done);
return out;
//--- a next of another kind, of its own, and a changed one
const out = [];
const bad = new Set([1]).values(); bad.next = new Map().keys().next;
try { for (const v of bad) out.push(v); } catch (e) { out.push(e.name); }
const own = new Set([1, 2]).values(); let n = 0; own.next = () => ({ value: n, done: n++ > 2 }); for (const v of own) out.push(v);
const bound = new Set([1, 2]).values(), other = new Set([8, 9]).values(); bound.next = other.next.bind(other); for (const v of bound) out.push(v);
const proto = Object.getPrototypeOf(new Map().keys()), next = proto.next;
proto.next = function () { const r = next.call(this); return r.done ? r : { value: r.value * 2, done: false }; };
for (const k of new Map([[1, 1], [2, 2]]).keys()) out.push(k);
proto.next = next; for (const k of new Map([[3, 1]]).keys()) out.push(k);
const inherits = { __proto__: new Set([5]).values() }; inherits[Symbol.iterator] = function () { return this; };
try { for (const v of inherits) out.push(v); } catch (e) { out.push(e.name); }
return out;
