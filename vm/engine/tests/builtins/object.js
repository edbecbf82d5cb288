Object.keys({b: 1, a: 2, 1: 3, 0: 4})
Object.values("ab")
Object.entries({x: 1, y: [2]})
Object.entries([7, 8])
Object.keys(null)
Object.keys(5)
Object.assign({a: 1}, null, {b: 2}, "xy", undefined, {a: 3})
Object.assign({}, {get a() { return 5; }})
Object.fromEntries([["a", 1], ["b", 2]])
Object.fromEntries(new Map([["k", "v"]]))
Object.fromEntries([1])
Object.fromEntries()
(o => [Object.isFrozen(o), Object.isSealed(o), Object.isExtensible(o)])(Object.freeze({a: 1}))
(o => [Object.isFrozen(o), Object.isSealed(o), Object.isExtensible(o)])(Object.seal({a: 1}))
(o => [Object.isFrozen(o), Object.isSealed(o), Object.isExtensible(o)])(Object.preventExtensions({a: 1}))
[Object.isFrozen({}), Object.isFrozen(1), Object.isSealed("x"), Object.isExtensible(1)]
(o => { o.b = 1; })(Object.preventExtensions({a: 1}))
(o => { o.a = 2; return o; })(Object.seal({a: 1}))
(o => { o.a = 2; })(Object.freeze({a: 1}))
(o => { delete o.a; })(Object.seal({a: 1}))
Object.create({x: 1}).x
Object.create(null, {a: {value: 1, enumerable: true}})
Object.create(5)
Object.getPrototypeOf([]) === Array.prototype
Object.getPrototypeOf("x") === String.prototype
Object.getPrototypeOf(null)
Object.setPrototypeOf({a: 1}, {b: 2}).b
Object.setPrototypeOf({}, 5)
(a => { const b = Object.create(a); Object.setPrototypeOf(a, b); })({})
Object.defineProperty({}, "x", {value: 1}).x
Object.getOwnPropertyDescriptor(Object.defineProperty({}, "x", {value: 1}), "x")
Object.getOwnPropertyDescriptor({get a() { return 1; }}, "a").get.name
Object.getOwnPropertyDescriptor({a: 1}, "b")
Object.getOwnPropertyDescriptors({a: 1, get b() { return 2; }}).b.enumerable
Object.defineProperties({}, {a: {get: () => 3}, b: {value: 2, enumerable: true}})
Object.defineProperty({}, "x", {get: 5})
Object.defineProperty({}, "x", {get: () => 1, value: 2})
Object.defineProperty({}, "x", 5)
Object.defineProperty(1, "x", {value: 1})
(o => { Object.defineProperty(o, "x", {value: 1}); o.x = 2; })({})
(o => { Object.defineProperty(o, "x", {value: 1}); Object.defineProperty(o, "x", {value: 2}); })({})
(o => { Object.defineProperty(o, "x", {value: 1, configurable: true}); return Object.defineProperty(o, "x", {value: 2}).x; })({})
Object.getOwnPropertyNames({b: 1, a: 2})
Object.hasOwn({a: 1}, "a")
Object.hasOwn("ab", "length")
Object.is(NaN, NaN) && !Object.is(0, -0)
({a: 1}).hasOwnProperty("a")
({}).propertyIsEnumerable("toString")
[1].propertyIsEnumerable("length")
Array.prototype.isPrototypeOf([])
Object.prototype.isPrototypeOf(Object.create(null))
[({}).toString(), Object.prototype.toString.call(null), Object.prototype.toString.call(undefined), Object.prototype.toString.call(1), Object.prototype.toString.call([]), Object.prototype.toString.call(() => 1), Object.prototype.toString.call(new Date(0)), Object.prototype.toString.call(new Map()), Object.prototype.toString.call(JSON), Object.prototype.toString.call(new Error("x")), Object.prototype.toString.call(Symbol("a")), Object.prototype.toString.call(1n)]
Object.prototype.toString.call({[Symbol.toStringTag]: "Mine"})
Object.prototype.toString.call({get [Symbol.toStringTag]() { return "G"; }})
({}).toLocaleString()
({valueOf() { return 7; }}) + 1
({toString() { return "t"; }}) + 1
`${{toString: () => "t", valueOf: () => 1}}`
({[Symbol.toPrimitive]: h => h}) + ""
`${({[Symbol.toPrimitive]: h => h})}`
+({[Symbol.toPrimitive]: h => (h === "number" ? 4 : 0)})
({}) + 1
[] == ""
[1] == 1
({}) == "[object Object]"
new Object(1) + 1
typeof new Object("x")
Object(1n) + 1n
(o => { for (const k in o) return k; })({z: 1})
(r => { for (const k in Object.create({b: 1}, {a: {value: 1, enumerable: true}})) r.push(k); return r; })([])
({...{a: 1, b: 2}, ...null, ..."hi"})
(({a, ...rest}) => rest)({a: 1, b: 2, c: 3})
Object.keys(Object.assign(Object.create({p: 1}), {q: 2}))
(f => [f.name, f.length, typeof f.call])(function abc(a, b) {})
(function () { return this; }).call(5)
(function (a, b) { return a + b; }).apply(null, [1, 2])
(function (a, b) { return a + b; }).apply(null, {length: 2, 0: 3, 1: 4})
Math.max.apply(null, [1, 9, 3])
(function (a, b) { return [this.x, a, b]; }).bind({x: 1}, 2)(3)
(f => [f.name, f.length])((function foo(a, b, c) {}).bind(null, 1))
(() => 1).call.call(x => x * 2, null, 4)
Function.prototype.call.call(1)
(function () {}).bind(null).name
(f => new f(5).x)(function (x) { this.x = x; })
(f => new (f.bind(null, 7))().x)(function (x) { this.x = x; })
((function F() {})) instanceof Function
(F => new F() instanceof F)(function () {})
[] instanceof Object
Object.create(Array.prototype) instanceof Array
({}) instanceof 5
({}) instanceof (() => 1)
new (() => 1)()
new [].map()
[Object.name, Object.length, Object.keys.length, Object.assign.length, Object.prototype.hasOwnProperty.name]
