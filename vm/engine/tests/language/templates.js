// Tagged templates: each case is a script's body; templates.txt has what Node answers.
//--- strings and values
const tag = (strings, ...values) => [strings, strings.raw, values, strings.length];
const x = 1;
return [tag`a`, tag``, tag`a${x}b${"y"}c`, tag`${x}${2}`, tag`line
two\n\u{41}`];
//--- raw and String.raw
return [String.raw`a\n${1}\x${2}`, String.raw({ raw: "abc" }, 1, 2, 3), String.raw`\u00e9${"é"}`, (s => s.raw[0])`\``, (s => s)`\u00e9`[0]];
//--- invalid escapes
const f = (s, ...v) => [s[0] === undefined, s.raw[0], s[1], v];
return [f`\u`, f`\xg${1}ok`, f`\u{110000}`, f`\01${2}fine\\`];
//--- one object per place, frozen
const same = s => s;
const at = () => same`a${1}b`;
const other = () => same`a${1}b`;
const d = Object.getOwnPropertyDescriptor(at(), "raw");
let e; try { at().push("x"); } catch (x) { e = x.name; }
let e2; try { at()[0] = "x"; } catch (x) { e2 = x.name; }
const made = []; for (let i = 0; i < 3; i++) made.push(same`loop`);
return [at() === at(), at() === other(), Object.isFrozen(at()), Object.isFrozen(at().raw), Array.isArray(at()), [d.writable, d.enumerable, d.configurable], e, e2, made[0] === made[2], Object.keys(at()), JSON.stringify(at())];
//--- this and callee
const o = { n: 5, m(s, ...v) { return [this.n, s.join("|"), v]; }, ["c"](s) { return this.n + s[0]; } };
const f = () => s => s[0] + "!";
class A { static #p(s) { return "private " + s[0]; } static go() { return this.#p`x`; } }
return [o.m`a${1}b`, o["c"]`z`, f()`q`, (0, o.m).call({ n: 6 }, ["r"]), A.go(), new (function (s) { this.s = s; }.bind(null, 1))().s, (() => s => t => s[0] + t[0])()`a``b`];
//--- order, yield, many
const log = [];
const t = s => { log.push("tag"); return (...a) => log.push(a.length); };
(log.push("callee"), t)`x`;
function* g() { return String.raw`${yield 1}-${yield 2}`; }
const it = g(); it.next(); it.next("a");
const call = (...a) => a.length;
return [log, it.next("b"), call`${1}${2}${3}`, typeof call`a`];
//--- not a function
let e; try { (5)`x`; } catch (x) { e = x.name; }
let e2; try { undefined`x`; } catch (x) { e2 = x.name; }
return [e, e2];
