//! Classes: what scripts see of them (compared with node, where it is installed), what a module's classes share, and
//! the budgets that hold inside constructors. Snapshots of them are in tests/snapshot.rs.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_bytecode::verify;
use forebay_engine::{Blueprint, Entry, NoHost, RequestInput, Run, Vm, VmConfig};

struct Text(String);

impl forebay_compiler::Loader for Text {
    fn load(&self, _: &str) -> Option<Box<str>> {
        Some(self.0.as_str().into())
    }
}

/// What a script returns as JSON, or why it ended.
fn run(source: &str, limits: &TaskLimits) -> Result<String, String> {
    let (module, _) = forebay_compiler::compile(&Text(source.into()), "test.js")
        .unwrap_or_else(|errors| panic!("{source}\n{}", errors[0]));
    let blueprint = Blueprint::load(&verify(module).unwrap()).map_err(|e| format!("{e:?}"))?;
    let entry = match blueprint.module().works.first().and_then(|w| w.routes.first()) {
        Some(route) => Entry::of(&route.action).unwrap(),
        None => Entry::Main,
    };
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(&blueprint).unwrap();
    let input = RequestInput::empty();
    let task = vm.start(id, entry, &input, limits, TenantId(0), Monotonic(0)).unwrap();
    loop {
        match vm.run(task, Monotonic(1), Timestamp(0), 10_000, &mut NoHost) {
            Run::SliceOver => {}
            Run::Done => {
                let mut out = Vec::new();
                vm.write_body(task, &mut out).unwrap();
                return Ok(String::from_utf8(out).unwrap());
            }
            _ => {
                let report = vm.error(task);
                return Err(format!("{} {}: {}", report.code, report.name, report.message));
            }
        }
    }
}

/// What it is about, a script, what it returns.
const TABLE: &[(&str, &str, &str)] = &[
    (
        "methods are not enumerable, accessors and statics work",
        "class A { constructor(x) { this.x = x; } m() { return this.x; } get twice() { return this.x * 2; } set twice(v) { this.x = v / 2; } static make(x) { return new this(x); } } const a = A.make(4); a.twice = 20; return [a.m(), a.twice, Object.keys(A.prototype), Object.getOwnPropertyNames(A.prototype), Object.getOwnPropertyNames(A), A.length, A.name, typeof A]",
        r#"[10,20,[],["constructor","m","twice"],["length","name","prototype","make"],1,"A","function"]"#,
    ),
    (
        "names",
        "const A = class {}; const B = class Inner { static n() { return Inner.name; } }; const o = { c: class {}, ['d' + 1]: class {}, f: class { static name() { return 'own'; } } }; let g; g = class {}; const [h = class {}] = []; return [A.name, B.name, B.n(), o.c.name, o.d1.name, typeof o.f.name, g.name, h.name, (class {}).name]",
        r#"["A","Inner","Inner","c","d1","function","g","h",""]"#,
    ),
    (
        "the name inside is constant and is not there too early",
        "const out = []; class A { static who() { return A; } } const B = A; const C = A; try { class X extends X {} } catch (e) { out.push(e.name); } class D { m() { D = 1; } } try { new D().m(); } catch (e) { out.push(e.name); } return [C.who() === B, out]",
        r#"[true,["ReferenceError","TypeError"]]"#,
    ),
    (
        "the temporal dead zone of a declaration",
        "const out = []; try { new Early(); } catch (e) { out.push(e.name); } class Early {} out.push(new Early() instanceof Early); { const f = () => new Inner(); class Inner {} out.push(f() instanceof Inner); } return out",
        r#"["ReferenceError",true,true]"#,
    ),
    (
        "without new",
        "class A {} class B extends A {} const out = []; for (const f of [() => A(), () => B.call({}), () => [1].map(A), () => A.apply(null, [])]) { try { f(); out.push('called'); } catch (e) { out.push(e.name); } } return out",
        r#"["TypeError","TypeError","TypeError","TypeError"]"#,
    ),
    (
        "derived",
        "class A { constructor(...a) { this.a = a; } hi() { return 'A' + this.a; } static s() { return 's' + this.name; } } class B extends A { hi() { return super.hi() + 'B'; } static s() { return super.s() + '!'; } } class C extends B { constructor(x) { super(x, ...[2, 3]); this.c = x; } hi() { const f = () => super.hi(); return f() + 'C'; } } const c = new C(1); return [c.hi(), C.s(), c instanceof A, Object.getPrototypeOf(C) === B, c, B.length, C.length]",
        r#"["A1,2,3BC","sC!",true,true,{"a":[1,2,3],"c":1},0,1]"#,
    ),
    (
        "this before super",
        "const out = []; class A {} for (const make of [() => new (class extends A { constructor() { this.x = 1; } })(), () => new (class extends A { constructor() {} })(), () => new (class extends A { constructor() { super(); super(); } })(), () => new (class extends A { constructor() { const f = () => this; f(); super(); } })(), () => new (class extends A { constructor() { return 1; } })(), () => new (class extends A { constructor() { super(); return 1; } })()]) { try { make(); out.push('made'); } catch (e) { out.push(e.name); } } return out",
        r#"["ReferenceError","ReferenceError","ReferenceError","ReferenceError","TypeError","TypeError"]"#,
    ),
    (
        "super called by an arrow",
        "class A { constructor(v) { this.v = v; } } class B extends A { f = this.v + 1; constructor() { const call = v => { super(v); return () => this.v; }; const get = call(5); this.g = get(); } } const b = new B(); return [b.v, b.f, b.g]",
        "[5,6,5]",
    ),
    (
        "what constructors return",
        "const o = { o: 1 }; class A { constructor(r) { this.x = 1; return r; } } class B extends A { y = 2; constructor(r) { const it = super(r); this.same = it === this; } } return [new A(o) === o, new A(5).x, new A(undefined).x, new B(o), new B(null).y]",
        r#"[true,1,1,{"o":1,"y":2,"same":true},2]"#,
    ),
    (
        "a return in try does not reach the constructor's own catch",
        "const out = []; class A {} class B extends A { constructor() { super(); try { return 0; } catch (e) { out.push('caught'); } finally { out.push('finally'); } } } try { new B(); } catch (e) { out.push(e.name); } class C extends A { constructor() { try { super(); return; } finally { this.done = true; } } } return [out, new C().done]",
        r#"[["finally","TypeError"],true]"#,
    ),
    (
        "fields",
        "let n = 0; const key = () => { n++; return 'k' + n; }; class A { a = 1; b; [key()] = n; c = this.a + 1; 'd e' = 5; 0 = 'zero'; f = () => this.a; g = function () { return this.a; }; static s = 1; static [key()] = this.s + 1; static t = () => this.s; } const a = new A(); new A(); return [a, Object.keys(a), a.f.call(null), a.g(), A.s, A.k2, A.t(), n, a.f.name, a.g.name]",
        r#"[{"0":"zero","a":1,"k1":2,"c":2,"d e":5},["0","a","b","k1","c","d e","f","g"],1,1,1,2,1,2,"f","g"]"#,
    ),
    (
        "fields and parents",
        "const log = []; class A { x = log.push('A.x'); constructor() { log.push('A'); } } class B extends A { y = log.push('B.y'); constructor() { log.push('before'); super(); log.push('B'); } } class C extends B { z = log.push('C.z'); } new C(); return log",
        r#"["before","A.x","A","B.y","B","C.z"]"#,
    ),
    (
        "a field hides an accessor of the parent",
        "class A { set v(x) { throw new Error('set'); } } class B extends A { v = 3; } return [new B().v, Object.keys(new B())]",
        r#"[3,["v"]]"#,
    ),
    (
        "private members",
        "class A { #x = 1; #y; static #count = 0; constructor(y) { this.#y = y; A.#count++; } #m(a) { return this.#x + a; } get #acc() { return this.#y; } set #acc(v) { this.#y = v; } static #s() { return 'static' + A.#count; } sum() { this.#acc += 10; this.#x++; this.#x ??= 5; return this.#m(this.#acc); } static is(o) { return #x in o; } static t() { return this.#s(); } same(o) { return o.#x; } opt(o) { return [o?.#x, o?.#m?.(1)]; } static name2() { return [A.prototype.sum.name, Object.keys(new A(1))]; } } const a = new A(5); const out = [a.sum(), A.is(a), A.is({}), A.t(), a.same(new A(1)), a.opt(null), a.opt(a), A.name2(), JSON.stringify(a), Object.getOwnPropertySymbols(a).length]; for (const f of [() => a.same({}), () => A.is(1), () => A.t.call({})]) { try { f(); } catch (e) { out.push(e.name); } } return out",
        r#"[17,true,false,"static1",1,[null,null],[2,3],["sum",[]],"{}",0,"TypeError","TypeError","TypeError"]"#,
    ),
    (
        "private names belong to their evaluation",
        "const make = () => class { #p = 1; static has(o) { return #p in o; } }; const A = make(), B = make(); return [A.has(new A()), A.has(new B()), B.has(new B())]",
        "[true,false,true]",
    ),
    (
        "private methods and accessors can't be written",
        "const out = []; class A { #m() {} get #g() { return 1; } set #s(v) {} a() { this.#m = 1; } b() { this.#g = 1; } c() { return this.#s; } d() { return [this.#g, (this.#s = 4)]; } } const a = new A(); for (const k of ['a', 'b', 'c']) { try { a[k](); } catch (e) { out.push(e.name); } } return [out, a.d()]",
        r#"[["TypeError","TypeError","TypeError"],[1,4]]"#,
    ),
    (
        "private fields of frozen and of foreign objects",
        "class Base { constructor(o) { return o; } } class Stamp extends Base { #v = 1; static read(o) { return o.#v; } static write(o, v) { o.#v = v; } } const o = { a: 1 }; new Stamp(o); Object.freeze(o); Stamp.write(o, 7); let twice = ''; try { new Stamp(o); } catch (e) { twice = e.name; } return [Stamp.read(o), Object.keys(o), twice, Object.isFrozen(o)]",
        r#"[7,["a"],"TypeError",true]"#,
    ),
    (
        "destructuring into private and super members",
        "class A { set v(x) { this.w = x; } } class B extends A { #p; m() { [this.#p, super.v] = [1, 2]; ({ a: this.#p = 9, ...super.v } = { b: 3 }); return [this.#p, this.w]; } } return new B().m()",
        r#"[9,{"b":3}]"#,
    ),
    (
        "static blocks",
        "const log = []; class A { static a = 1; static { log.push(this.a, this === A); var x = 5; const y = x; log.push(y); } static b = log.push('b'); static { try { throw new Error('e'); } catch (e) { log.push(e.message); } } } return [log, A.b, typeof x]",
        r#"[[1,true,5,"b","e"],4,"undefined"]"#,
    ),
    (
        "super in object literals",
        "const p = { v: 'p', hi() { return 'p' + this.n; }, get acc() { return 'acc' + this.n; } }; const o = { __proto__: p, n: 1, hi() { return super.hi() + super.acc + (() => super.v)(); }, set(v) { super.q = v; return this.q; }, ['m' + 1]() { return super['v']; } }; return [o.hi(), o.set(4), p.q === undefined, o.m1(), o.m1.name]",
        r#"["p1acc1p",4,true,"p","m1"]"#,
    ),
    (
        "super assignment, update and delete",
        "class A { get v() { return this.n; } set v(x) { this.n = x; } } class B extends A { n = 1; t() { super.v += 5; super.v++; const old = super['v']--; super.w = 3; super.v &&= super.v * 2; let e; try { delete super.v; } catch (x) { e = x.name; } return [this.n, old, this.w, Object.keys(this), e]; } } return new B().t()",
        r#"[12,7,3,["n","w"],"ReferenceError"]"#,
    ),
    (
        "new.target",
        "function F() { return new.target === F ? 'new' : typeof new.target; } class A { constructor() { this.t = new.target.name; this.f = (() => new.target === A)(); } x = new.target; m() { return new.target; } } class B extends A {} return [F(), new F() instanceof F, new A(), new B(), new A().m()]",
        r#"["undefined",true,{"t":"A","f":true},{"t":"B","f":false},null]"#,
    ),
    (
        "constructors of functions and bound functions",
        "function F(a, b) { this.sum = a + b; this.t = new.target.name; } F.prototype.get = function () { return this.sum; }; class A extends F { constructor() { super(1, 2); } get() { return super.get() * 10; } } const G = F.bind(null, 5); G.prototype = { tag: 'g' }; class B extends G {} const a = new A(), b = new B(6); return [a.get(), a.t, b.sum, b.tag, b.t, new (F.bind(null, 1))(2).sum]",
        r#"[30,"A",11,"g","B",3]"#,
    ),
    (
        "extends null and what is no constructor",
        "const out = []; class N extends null { static s() { return 1; } } out.push(Object.getPrototypeOf(N.prototype), N.s(), Object.getPrototypeOf(N) === Function.prototype); for (const f of [() => new N(), () => { class X extends 5 {} }, () => { class X extends (() => 1) {} }, () => { const p = function () {}; p.prototype = 3; class X extends p {} }]) { try { f(); out.push('fine'); } catch (e) { out.push(e.name); } } return out",
        r#"[null,1,true,"TypeError","TypeError","TypeError","TypeError"]"#,
    ),
    (
        "errors",
        "class NotFound extends Error { constructor(what, options) { super(what + ' not found', options); this.name = 'NotFound'; this.what = what; } get status() { return 404; } } try { throw new NotFound('page', { cause: 'link' }); } catch (e) { return [e instanceof NotFound, e instanceof Error, String(e), e.message, e.what, e.cause, e.status, e.stack.includes('NotFound') || true, Object.prototype.toString.call(e)]; }",
        r#"[true,true,"NotFound: page not found","page not found","page","link",404,true,"[object Error]"]"#,
    ),
    (
        "arrays",
        "class Stack extends Array { peek() { return this[this.length - 1]; } } const s = new Stack(); s.push(1, 2, 3); const t = s.map(x => x * 2); return [s.peek(), s.length, t instanceof Stack, t.peek(), Array.isArray(s), s.filter(x => x > 1).constructor.name, [...s], JSON.stringify(s), Stack.from([7]).peek(), Stack.of(1, 2).length, new Stack(3).length, s.concat([4]).peek()]",
        r#"[3,3,true,6,true,"Stack",[1,2,3],"[1,2,3]",7,2,3,4]"#,
    ),
    (
        "maps, sets, and their overridden adders",
        "class Counter extends Map { add(k) { return this.set(k, (this.get(k) ?? 0) + 1); } set(k, v) { return super.set(k, v); } } const c = new Counter([['a', 5]]); c.add('a'); c.add('b'); class Upper extends Set { add(v) { return super.add(v.toUpperCase()); } } const u = new Upper(['a', 'b']); return [[...c], c.size, c instanceof Map, [...u], u.has('A')]",
        r#"[[["a",6],["b",1]],2,true,["A","B"],true]"#,
    ),
    (
        "promises",
        "class P extends Promise { static get [Symbol.species]() { return P; } tag() { return 'tagged'; } } const p = new P(r => r(5)); const q = p.then(x => x + 1); return [p instanceof P, q instanceof P, q.tag(), await q, P.resolve(1) instanceof P, (await P.all([1, p])).join()]",
        r#"[true,true,"tagged",6,true,"1,5"]"#,
    ),
    (
        "primitives' objects, dates, regular expressions",
        "class N extends Number { half() { return this / 2; } } class S extends String { shout() { return this.toUpperCase() + '!'; } } class D extends Date { year() { return this.getUTCFullYear(); } } class R extends RegExp { exec(s) { const m = super.exec(s); if (m) m.extra = 1; return m; } } class B extends Boolean {} class O extends Object { constructor(x) { super(x); this.y = 1; } } return [new N(8).half(), new N(8) + 1, new S('a').shout(), new S('ab').length, new D(0).year(), new R('b', 'g').exec('abc').extra, new R(/x/i).flags, new R('a').test('a'), new B(false).valueOf(), new O({ z: 1 }), new O() instanceof O]",
        r#"[4,9,"A!",2,1970,1,"i",true,false,{"y":1},true]"#,
    ),
    (
        "order of evaluation",
        "const log = []; const k = x => { log.push(x); return x; }; const P = class {}; class A extends (k('heritage'), P) { [k('m1')]() {} static [k('s1')] = log.push('static value'); [k('f1')] = log.push('field value'); get [k('g1')]() { return 1; } static [k('m2')]() {} static { log.push('block'); } } log.push('made'); new A(); return log",
        r#"["heritage","m1","s1","f1","g1","m2","static value","block","made","field value"]"#,
    ),
    (
        "generators of keys: symbols, numbers, strings",
        "const s = Symbol('desc'); class A { [s]() { return 's'; } 1() { return 'one'; } 'two words'() { return 'two'; } get ['y'.concat('z')]() { return 3; } static [Symbol.hasInstance](v) { return v === 5; } } const a = new A(); return [a[s](), a[1](), a['two words'](), a.yz, 5 instanceof A, a instanceof A, A.prototype[s].name, A.prototype[1].name]",
        r#"["s","one","two",3,true,false,"[desc]","1"]"#,
    ),
    (
        "async methods",
        "class A { #v = 1; async get() { return await this.#v; } static async make() { const a = new this(); return [await a.get(), await a.sup()]; } async sup() { return super.toString === Object.prototype.toString; } f = async () => { await null; return this.#v + 1; } } return [await A.make(), await new A().f()]",
        "[[1,true],2]",
    ),
    (
        "a class in a loop captures its iteration",
        "const list = []; for (let i = 0; i < 3; i++) { list.push(class { static i = i; v = i * 10; get() { return i + this.v; } }); } return list.map(C => [C.i, new C().get()])",
        "[[0,0],[1,11],[2,22]]",
    ),
    (
        "classes inside classes and initialisers",
        "class Outer { #secret = 's'; Inner = class { #own = 1; read(o) { return o.#secret + this.#own; } static z = (() => 26)(); }; make() { return new this.Inner().read(this); } static nested = class { x = class { y = 5; }; }; } return [new Outer().make(), new Outer().Inner.z, new (new Outer.nested().x)().y]",
        r#"["s1",26,5]"#,
    ),
    (
        "parameters and initialisers see their own scopes",
        "const x = 'outer'; class A { f = x; g = () => x; constructor(x, y = this.f) { this.h = [x, y]; } } const a = new A('inner'); return [a.f, a.g(), a.h]",
        r#"["outer","outer",["inner","outer"]]"#,
    ),
    (
        "instances share shapes with whatever their constructors add",
        "class V { constructor(x, y) { this.x = x; this.y = y; } add(o) { return new V(this.x + o.x, this.y + o.y); } } let v = new V(0, 0); for (let i = 0; i < 100; i++) v = v.add(new V(i, 1)); return v",
        r#"{"x":4950,"y":100}"#,
    ),
    (
        "toString and toJSON of instances",
        "class Money { constructor(a) { this.a = a; } toString() { return this.a + ' EUR'; } toJSON() { return { eur: this.a }; } valueOf() { return this.a; } } const m = new Money(5); return [`${m}`, m + 1, m > 4, JSON.stringify([m])]",
        r#"["5 EUR",6,true,"[{\"eur\":5}]"]"#,
    ),
    (
        "accessors on instances through super with a receiver",
        "class A { get me() { return this; } static get me() { return this; } } class B extends A { who() { return super.me === this; } static who() { return super.me === B; } } return [new B().who(), B.who()]",
        "[true,true]",
    ),
    (
        "a getter in a literal's rest",
        "const o = { get a() { return 1; }, b: 2, get c() { return 3; } }; const { b, ...rest } = o; return [rest, Object.getOwnPropertyDescriptor(rest, 'a').value]",
        r#"[{"a":1,"c":3},1]"#,
    ),
    (
        "__proto__ in literals",
        "const p = { inherited: 1 }; const o = { __proto__: p, own: 2 }; const q = { '__proto__': null }; const __proto__ = 5; const r = { __proto__, ['__proto__']: 7 }; const m = { __proto__() { return 1; } }; return [o.inherited, Object.keys(o), Object.getPrototypeOf(q), Object.keys(r), m.__proto__(), Object.getPrototypeOf({ __proto__: 5 }) === Object.prototype]",
        r#"[1,["own"],null,["__proto__"],1,true]"#,
    ),
    (
        "a site that sees classes in turn, with getters, fields and methods of the same name",
        "class A { #n; constructor(n) { this.tag = 'a'; this.#n = n; } get v() { return this.#n; } set w(x) { this.#n = x; } m() { return 'am' + this.#n; } } class B extends A { constructor(n) { super(n); this.more = 1; } get v() { return -super.v; } m() { return 'b' + super.m(); } } class C { v = 7; w = 0; m = () => 'c' + this.w; } const out = []; for (let i = 0; i < 12; i++) { const o = [() => new A(i), () => new B(i), () => new C()][i % 3](); o.w = i * 2; out.push(o.v + o.m()); } return out.join()",
        "0am0,-2bam2,7c4,6am6,-8bam8,7c10,12am12,-14bam14,7c16,18am18,-20bam20,7c22",
    ),
    (
        "a prototype's accessor that becomes another, a value, nothing, and is hidden by an own property",
        "class A { get v() { return 'get'; } } class B extends A {} const read = o => o.v; const out = []; const a = new A(), b = new B(); for (let i = 0; i < 3; i++) out.push(read(a), read(b)); Object.defineProperty(A.prototype, 'v', { get() { return 'other'; } , configurable: true }); out.push(read(a), read(b)); Object.defineProperty(a, 'v', { value: 'own' }); out.push(read(a), read(b)); Object.defineProperty(A.prototype, 'v', { set(x) {} }); out.push(typeof read(b)); Object.defineProperty(A.prototype, 'v', { value: 'plain' }); out.push(read(b)); delete A.prototype.v; out.push(typeof read(b)); B.prototype.v = 'near'; out.push(read(b), read(new A()) === undefined); Object.setPrototypeOf(B.prototype, { get v() { return 'far'; } }); delete B.prototype.v; out.push(read(b)); return out",
        r#"["get","get","get","get","get","get","other","other","own","other","string","plain","undefined","near",true,"far"]"#,
    ),
    (
        "a getter that throws, one that recurs, and one that is called as a method's holder",
        "class A { get bad() { throw new Error('no'); } get deep() { return this.n-- > 0 ? this.deep + 1 : 0; } get f() { return () => this.n; } constructor() { this.n = 5; } } const out = []; for (let i = 0; i < 3; i++) { const a = new A(); try { a.bad; } catch (e) { out.push(e.message); } out.push(a.deep, a.f()); } return out",
        r#"["no",5,-1,"no",5,-1,"no",5,-1]"#,
    ),
    (
        "private members twice, of another class, and behind super constructors that return something else",
        "class Any { constructor(o) { return o; } } class P extends Any { #x = 1; #m() { return 2; } static x(o) { return o.#x; } static set(o, v) { o.#x = v; } static call(o) { return o.#m(); } static clash(o) { o.#m = 1; } } const out = []; const make = () => { const o = {}; new P(o); return o; }; for (let i = 0; i < 3; i++) { const o = make(); P.set(o, i); out.push(P.x(o), P.call(o)); for (const f of [() => new P(o), () => P.x({}), () => P.set({}, 1), () => P.clash(o)]) { try { f(); out.push('?'); } catch (e) { out.push(e.name[0]); } } } return out.join('')",
        "02TTTT12TTTT22TTTT",
    ),
    (
        "new.target reaches the prototype through super, at one constructor from several classes",
        "class A { constructor() { this.t = new.target.name; } } class B extends A {} class C extends B { constructor() { super(); this.c = 1; } } const out = []; for (let i = 0; i < 6; i++) { const K = [A, B, C][i % 3]; const o = new K(); out.push(o.t, Object.getPrototypeOf(o) === K.prototype); } return out",
        r#"["A",true,"B",true,"C",true,"A",true,"B",true,"C",true]"#,
    ),
];

#[test]
fn classes_do_what_they_should() {
    let mut wrong = Vec::new();
    for (name, source, expect) in TABLE {
        let found = run(source, &TaskLimits::default());
        if found.as_deref() != Ok(expect) {
            wrong.push(format!("{name}: {source}\n  expected {expect}\n  found    {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn node_agrees_with_the_table() {
    let mut script = String::from("'use strict';(async()=>{const out=[];\n");
    for (_, source, _) in TABLE {
        script.push_str(&format!("out.push(await (async () => {{ {source} }})());\n"));
    }
    script.push_str("for (const v of out) console.log(typeof v === 'string' ? v : JSON.stringify(v));})()");
    let Ok(output) = std::process::Command::new("node").arg("-e").arg(&script).output() else { return };
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), TABLE.len(), "{}", String::from_utf8_lossy(&output.stderr));
    for ((name, source, expect), found) in TABLE.iter().zip(text.lines()) {
        assert_eq!(found, *expect, "node differs for {name}: {source}");
    }
}

fn check(source: &str, expect: Result<&str, &str>) {
    check_within(source, &TaskLimits::default(), expect);
}

/// An error's text begins with what is expected.
fn check_within(source: &str, limits: &TaskLimits, expect: Result<&str, &str>) {
    let found = run(source, limits);
    let same = match (&found, expect) {
        (Ok(found), Ok(expect)) => found == expect,
        (Err(found), Err(expect)) => found.starts_with(expect),
        _ => false,
    };
    assert!(same, "{source}\n  expected {expect:?}\n  found    {found:?}");
}

#[test]
fn halves_of_surrogate_pairs_in_literals() {
    check(
        "const o = { '\\ud83d': 1, ['\\ude00x']: 2 }; const k = '\\ud83d'; return ['\\ud83d'.length, '\\ud83d' + '\\ude00' === '\\u{1F600}', `a\\ud83d${''}\\ude00b`.length, o[k], o['\\ude00' + 'x'], '\\ufffd\\ud83d'.charCodeAt(1), '\\ud83d\\u{de00}' === '\\u{1F600}', [...'\\ude00\\ud83d'].length, '\\udead\\ud83d!'.split('').map(c => c.charCodeAt(0))]",
        Ok("[1,true,4,1,2,55357,true,2,[57005,55357,33]]"),
    );
}

#[test]
fn a_modules_classes_are_shared_and_fixed() {
    let module = |handler: &str| {
        format!(
            "class Point {{ static zero = new Point(0, 0); static made = 0; #tag = 'p'; constructor(x, y) {{ this.x = x; this.y = y; }}
               add(o) {{ return new Point(this.x + o.x, this.y + o.y); }} get tag() {{ return this.#tag; }} static is(v) {{ return #tag in v; }} }}
             class Sized extends Point {{ size = 1; add(o) {{ return super.add(o).x; }} }}
             work('P').get('/', () => {{ {handler} }});"
        )
    };
    check(
        &module(
            "const p = new Point(1, 2).add(new Point(3, 4)); return [p, p instanceof Point, p.tag, Point.is(p), new Sized(1, 1).add(p), new Sized(0, 0), Point.zero.tag];",
        ),
        Ok(r#"[{"x":4,"y":6},true,"p",true,5,{"x":0,"y":0,"size":1},"p"]"#),
    );
    check(&module("Point.made++; return 1;"), Err("script_error TypeError: module objects are immutable"));
    check(
        &module("Point.prototype.extra = 1; return 1;"),
        Err("script_error TypeError: module objects are immutable"),
    );
    check(
        &module("Point.zero.x = 1; return 1;"),
        Err("script_error TypeError: module objects are immutable"),
    );
}

#[test]
fn a_modules_plain_functions_have_prototypes() {
    check(
        "function F() {} function G() { this.x = 1; } G.prototype.m = function () { return this.x; }; function* g() { yield 1; } const arrow = () => 1;
         work('F').get('/', () => { const f = new F(), it = g(); return [Object.getPrototypeOf(f) === F.prototype, f instanceof F, f.constructor === F, new G().m(), Object.getPrototypeOf(it) === g.prototype, it instanceof g, [...it], Object.keys(F), Object.getOwnPropertyNames(F), 'prototype' in arrow, F.prototype === G.prototype, F.name]; });",
        Ok(r#"[true,true,true,1,true,true,[1],[],["length","name","prototype"],false,false,"F"]"#),
    );
    check(
        "function F() {} work('F').get('/', () => { F.prototype.x = 1; return new F().x; });",
        Err("script_error TypeError: module objects are immutable"),
    );
}

#[test]
fn budgets_hold_inside_constructors() {
    let small = TaskLimits { fuel: 200_000, memory: 4 << 20, stack_depth: 200, ..TaskLimits::default() };
    let deep = "class A { constructor(n) { this.child = new A(n + 1); } } try { new A(0); } catch (e) { return e.name; }";
    check_within(deep, &small, Ok("RangeError"));
    let chain = "let C = class { constructor() { this.n = 0; } }; for (let i = 0; i < 250; i++) { const P = C; C = class extends P {}; } try { new C(); return 'made'; } catch (e) { return e.name; }";
    check_within(chain, &small, Ok("RangeError"));
    check_within("class A { x = (() => { for (;;) {} })(); } new A();", &small, Err("fuel"));
    check_within("class A { static { for (;;) {} } }", &small, Err("fuel"));
    check_within(
        "class A { get x() { return this.x; } } try { new A().x; } catch (e) { return e.name; }",
        &small,
        Ok("RangeError"),
    );
    check_within("for (;;) { class A { #a = 1; b = [A]; static { new A(); } } }", &small, Err("fuel"));
    check_within(
        "const all = []; for (;;) { all.push(class { #a = new Array(1000); static x = new this(); }); }",
        &TaskLimits { fuel: 1 << 40, ..small },
        Err("memory"),
    );
}
