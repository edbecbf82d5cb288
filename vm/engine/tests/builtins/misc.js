new Error("m").message + new Error("m").name + new Error().message
`${new TypeError("x")}`
new Error("m", {cause: 5}).cause
"cause" in new Error("m")
Object.keys(new Error("m", {cause: 1}))
new RangeError("x") instanceof Error && new RangeError("x") instanceof RangeError
Error("x") instanceof Error
Error.prototype.toString.call({name: "N", message: "M"})
Error.prototype.toString.call({})
Error.prototype.toString.call(1)
Object.prototype.toString.call(new TypeError("x"))
[Error.length, AggregateError.length, TypeError.prototype.name, Error.prototype.message]
Object.getPrototypeOf(TypeError) === Error
typeof new Error("x").stack
(() => { try { null.x; } catch (e) { return e.name; } })()
(() => { try { undefined.x(); } catch (e) { return e instanceof TypeError; } })()
(() => { try { (5)(); } catch (e) { return e.name; } })()
(() => { try { throw {a: 1}; } catch ({a}) { return a; } })()
(() => { try { return 1; } finally { [].push(2); } })()
Symbol("a").toString() + Symbol("b").description
Symbol().description
Symbol.for("k") === Symbol.for("k") && Symbol.for("k") !== Symbol("k")
Symbol.keyFor(Symbol.for("q")) + Symbol.keyFor(Symbol("q"))
new Symbol()
Symbol("x") + ""
typeof Symbol.iterator + Symbol.iterator.toString()
Object(Symbol("x")).description
Object.getOwnPropertySymbols({[Symbol("a")]: 1, b: 2}).length
({[Symbol.iterator]() { let i = 0; return {next: () => ({value: i++, done: i > 3})}; }})[Symbol.iterator]().next()
[...{[Symbol.iterator]() { let i = 0; return {next: () => ({value: i++, done: i > 3})}; }}]
[...5]
(log => { for (const x of {[Symbol.iterator]: () => ({next: () => ({value: 1, done: false}), return: () => { log.push("r"); return {}; }})}) break; return log; })([])
(([a, , b = 5, ...c]) => [a, b, c])([1, 2, undefined, 4, 5])
(({a: {b = 2} = {}, ...r}) => [b, r])({c: 1})
((a, b = a + 1, ...c) => [a, b, c])(1, undefined, 3, 4)
[1, 2, 3].includes(2) ?? 5
null ?? undefined ?? 0
({a: null})?.a?.b
(a => { a ??= 5; a ||= 6; a &&= 7; return a; })(null)
typeof globalThis
globalThis.Math === Math
[typeof undefined, typeof null, typeof [], typeof (() => 1), typeof "", typeof 1, typeof true]
(x => { switch (x) { case 1: return "one"; default: return "other"; case 2: return "two"; } })(2)
(() => { outer: for (let i = 0; i < 3; i++) { for (let j = 0; j < 3; j++) { if (j === 1) continue outer; if (i === 2) break outer; } } return "ok"; })()
(() => { const fs = []; for (let i = 0; i < 3; i++) fs.push(() => i); return fs.map(f => f()); })()
void 0
(1, 2)
"a" in {a: 1}
delete ({a: 1}).a
isNaN(parseInt("x"))
[..."ab"].map((c, i) => c + i).join("")
(f => f(f, 10))((f, n) => (n < 2 ? n : f(f, n - 1) + f(f, n - 2)))
