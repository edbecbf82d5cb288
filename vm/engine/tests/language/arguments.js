// `arguments`: each case is a script's body; arguments.txt has what Node answers.
//--- length and elements
function f(a, b) { return [arguments.length, arguments[0], arguments[2], a, b, Array.isArray(arguments)]; }
return [f(), f(1), f(1, 2, 3), f(...[1, 2, 3, 4]), f.call(null, 5), f.apply(null, [6, 7])];
//--- in default parameters, and beside them
function g(x = arguments.length, y = arguments[0]) { return [x, y, arguments.length]; }
function h(a, ...rest) { return [arguments.length, rest, arguments[1], a]; }
return [g(), g(undefined, 1), g(5), h(), h(1, 2, 3), g.length, h.length];
//--- through arrows
function f() { const inner = () => () => arguments[1]; return inner()(); }
function g(x = () => arguments) { return x().length; }
function outer() { function inner() { return arguments.length; } return [arguments.length, inner(1, 2, 3), (() => arguments.length)()]; }
return [f(1, "two"), g(undefined, 2, 3), outer("a", "b")];
//--- it is not mapped
function f(a, b) { a = 9; arguments[1] = 7; return [a, b, arguments[0], arguments[1]]; }
return [f(1, 2)];
//--- what it looks like
function f() {
  const show = (o, k) => { const d = Object.getOwnPropertyDescriptor(o, k); return [typeof d.value, d.writable, d.enumerable, d.configurable, typeof d.get, d.get === d.set]; };
  return [
    Object.getOwnPropertyNames(arguments), Object.keys(arguments), JSON.stringify(arguments), String(arguments),
    show(arguments, "length"), show(arguments, "callee"), show(arguments, Symbol.iterator), show(arguments, "0"),
    Object.getPrototypeOf(arguments) === Object.prototype, typeof arguments, arguments[Symbol.iterator] === Array.prototype.values,
  ];
}
return f("a", "b");
//--- callee throws, and only one function does
function f() { return Object.getOwnPropertyDescriptor(arguments, "callee").get; }
const thrower = f();
const names = [];
for (const t of [() => thrower(), () => { (function () { arguments.callee; })(); }, () => { (function () { arguments.callee = 1; })(); }, () => { thrower.x = 1; }]) {
  try { t(); names.push("no"); } catch (e) { names.push(e.name); }
}
return [names, f() === thrower, thrower.length, thrower.name, Object.isFrozen(thrower), Object.getOwnPropertyDescriptor(Function.prototype, "caller").get === thrower];
//--- iterated, spread, sliced
function f() { let n = 0; for (const x of arguments) n += x; return [n, [...arguments], Array.from(arguments), Array.prototype.slice.call(arguments, 1), Math.max(...arguments)]; }
return [f(), f(3, 1, 2)];
//--- changed like any object
function f() {
  arguments.length = 1; arguments[5] = "five"; delete arguments[0]; arguments.extra = true;
  const keys = Object.keys(arguments);
  Object.freeze(arguments);
  try { arguments[5] = 1; } catch (e) { keys.push(e.name); }
  return [keys, arguments.length, 0 in arguments, [...arguments]];
}
return f("a", "b", "c");
//--- of methods, accessors, constructors, callbacks
const o = { m() { return arguments.length; }, get g() { return arguments.length; }, set s(v) { this.t = arguments[0] + arguments.length; } };
function C() { this.n = arguments.length; }
o.s = 5;
return [o.m(1, 2), o.g, o.t, new C(1, 2, 3).n, [7, 8].map(function () { return arguments.length; }), "ab".replace(/b/, function () { return [...arguments].join(); })];
//--- of async functions
async function f(a) { await null; return [arguments.length, arguments[1], a]; }
const g = async () => 1;
return [await f(1, 2), await g()];
//--- more of them than parameters, many
function f() { return [arguments.length, arguments[9999]]; }
return f(...Array.from({ length: 10000 }, (_, i) => i));
//--- recursion and closures keep their own
function f(n) { const mine = () => arguments[0]; return n > 0 ? [mine(), ...f(n - 1)] : [mine()]; }
return f(4);
