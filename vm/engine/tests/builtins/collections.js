new Map([[1, "a"], ["1", "b"], [NaN, "c"]]).get(NaN)
new Map([[0, "zero"]]).get(-0)
Object.is([...new Map([[-0, 1]]).keys()][0], 0)
new Map([[1, 2], [1, 3]])
new Map([1])
new Map(5)
Map()
new Map(null).size
(m => [m.size, m.has("a"), m.delete("a"), m.delete("a"), m.size, m.set("b", 2) === m])(new Map([["a", 1]]))
(m => { m.clear(); return m.size; })(new Map([["a", 1]]))
[...new Map([["a", 1], ["b", 2]]).entries()]
[...new Map([["a", 1]]).values()]
(r => { new Map([["a", 1], ["b", 2]]).forEach((v, k, m) => r.push(v, k, m.size)); return r; })([])
(m => { const r = []; for (const [k] of m) { r.push(k); if (k < 3) { m.delete(k); m.set(k + 1, 0); } } return r; })(new Map([[0, 0]]))
(s => { const r = []; for (const k of s) { r.push(k); if (k === 1) s.delete(2); } return r; })(new Set([1, 2, 3]))
(s => { const r = []; for (const k of s) { r.push(k); s.delete(k); if (r.length < 3) s.add(k); } return r; })(new Set(["x"]))
(s => { const r = []; for (const k of s) { r.push(k); if (r.length === 1) { s.clear(); s.add("n"); } } return r; })(new Set(["a", "b"]))
(m => { const it = m.keys(); it.next(); for (let i = 0; i < 50; i++) m.set(i, i); m.delete("a"); m.delete("b"); return [it.next().value, it.next().value, m.size]; })(new Map([["a", 1], ["b", 2]]))
new Set([1, 1, "1", NaN, NaN, undefined, null])
new Set("hello").size
new Set([[], []]).size
(s => [s.add(1) === s, s.has(1), s.delete(1), s.size])(new Set())
Set.prototype.keys === Set.prototype.values && Set.prototype[Symbol.iterator] === Set.prototype.values
Map.prototype[Symbol.iterator] === Map.prototype.entries
Map.prototype.get.call(new Set(), 1)
Map.prototype.get.call({}, 1)
Set.prototype.add.call([], 1)
Object.prototype.toString.call(new Map().entries())
[...new Set([1, 2]).entries()]
new Map([[{}, 1]]).get({})
(k => new Map([[k, 1]]).get(k))({})
new Map([[1n, "x"]]).get(1n)
new Map([["a" + "b".repeat(60), 1]]).get("ab" + "b".repeat(59))
new Set([3, 1, 2]).forEach(x => x)
[...new Set([1, 2, 3])].filter(x => new Set([2, 3, 4]).has(x))
Object.fromEntries(new Map([["a", 1]]).entries())
JSON.stringify([new Map([[1, 2]]), new Set([1])])
[Map.length, Map.name, Map.prototype.set.length, new Map().size, Object.getOwnPropertyDescriptor(Map.prototype, "size").set]
(m => { for (let i = 0; i < 1000; i++) m.set(i, i * i); for (let i = 0; i < 1000; i += 2) m.delete(i); let s = 0; for (const v of m.values()) s += v; return [m.size, s]; })(new Map())
new Map([["x", 1]]).entries().next().value
[...new Map([[1, 2]])].flat()
