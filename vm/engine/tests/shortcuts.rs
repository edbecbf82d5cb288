//! Short ways of the engine give what the long ways give: `Promise.all` of a list is native where nobody can tell, and
//! the writer of bodies knows the keys of a shape as text.

use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_engine::{Blueprint, Entry, NoHost, RequestInput, Run, Vm, VmConfig};

struct Text(String);

impl forebay_compiler::Loader for Text {
    fn load(&self, _: &str) -> Option<Box<str>> {
        Some(self.0.as_str().into())
    }
}

/// The answers of one machine to as many requests, in slices of `fuel`.
fn answers(source: &str, requests: usize, fuel: u64) -> Vec<String> {
    let (module, _) = forebay_compiler::compile(&Text(source.to_owned()), "t.js").expect("compiles");
    let module = forebay_bytecode::verify(module).expect("verifies");
    let blueprint = Blueprint::load(&module).expect("loads");
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(&blueprint).expect("address space");
    let mut answer = || {
        let input = RequestInput::empty();
        let limits = TaskLimits::default();
        let task = vm.start(id, Entry::Main, &input, &limits, TenantId(0), Monotonic(0)).expect("starts");
        let run = loop {
            match vm.run(task, Monotonic(0), Timestamp(0), fuel, &mut NoHost) {
                Run::SliceOver => {}
                other => break other,
            }
        };
        let mut out = Vec::new();
        match run {
            Run::Done => vm.write_body(task, &mut out).expect("an answer"),
            _ => out.extend(format!("{run:?}: {:?}", vm.error(task)).into_bytes()),
        }
        vm.finish(task);
        String::from_utf8(out).expect("text")
    };
    (0..requests).map(|_| answer()).collect()
}

fn check(source: &str, expect: &str) {
    for fuel in [u64::MAX, 50] {
        for answer in answers(source, 3, fuel) {
            assert_eq!(answer, expect, "{source}");
        }
    }
}

/// A Set of the same elements goes the long way.
const ORDER: &str = "
const run = async (elements, all) => {
  const log = [];
  const ticks = async (n, v, fail) => { for (let i = 0; i < n; i++) await 0; log.push('settles ' + v); if (fail) throw v; return v; };
  const list = elements(ticks);
  const clock = (async () => { for (let i = 0; i < 12; i++) { await 0; log.push(i); } })();
  const whole = all(list);
  whole.then(v => log.push(v), e => log.push('rejected ' + e));
  log.push('made');
  await clock;
  return log;
};
const both = async elements => {
  const [list, set] = [await run(elements, l => Promise.all(l)), await run(elements, l => Promise.all(new Set(l)))];
  return JSON.stringify(list) === JSON.stringify(set) && list.length > 13 ? true : [list, set];
};";

#[test]
fn promise_all_keeps_its_order() {
    let cases = [
        "[t(3, 'a'), 1, t(1, 'b'), t(2, 'c'), Promise.resolve('d'), undefined, null, 'x']",
        "[1, 2, 3]",
        "[t(0, 'now')]",
        "[t(3, 'a'), t(2, 'b', true), t(1, 'c', true), 4]",
        "[Promise.reject('first'), t(2, 'late', true)]",
        // Thenables, accessors and subclasses go the long way, both times.
        "[t(1, 'a'), { then(f) { f('thenable'); } }]",
        "[t(1, 'a'), class extends Promise {}.resolve('sub')]",
    ];
    for elements in cases {
        check(&format!("{ORDER} return await both(t => {elements});"), "true");
    }
}

#[test]
fn promise_all_of_what_was_changed_goes_the_long_way() {
    check(
        "let n = 0; const then = Promise.prototype.then;
         Promise.prototype.then = function (...a) { n++; return then.apply(this, a); };
         const all = Promise.all([Promise.resolve(1), 2]); const called = n; return [await all, called];",
        "[[1,2],2]",
    );
    check(
        "Array.prototype[Symbol.iterator] = function* () { yield 7; }; const v = await Promise.all([1, 2]); return v.length + ':' + v[0];",
        "1:7",
    );
    check(
        "const l = [1, , 3]; const v = await Promise.all(l); return [v.length, v[1] === undefined, 1 in v];",
        "[3,true,true]",
    );
    check(
        "const l = [1]; l[Symbol.iterator] = function* () { yield 5; yield 6; }; return await Promise.all(l);",
        "[5,6]",
    );
    // The values are a thenable when they are all there.
    check(
        "const all = Promise.all([1, 2]); Object.defineProperty(Array.prototype, 'then', { get() { return f => f('then ' + this.join()); }, configurable: true });
         const v = await all; delete Array.prototype.then; return { v };",
        r#"{"v":"then 1,2"}"#,
    );
}

#[test]
fn promise_all_of_many() {
    for count in [0, 1, 1023, 1024, 1025, 3000] {
        let source = format!(
            "const f = async n => {{ await null; return n; }};
             const v = await Promise.all(Array.from({{ length: {count} }}, (_, i) => i % 2 ? i : i % 50 ? Promise.resolve(i) : f(i)));
             return [v.length, v.every((n, i) => n === i)];"
        );
        check(&source, &format!("[{count},true]"));
    }
}

#[test]
fn bodies_of_any_shape() {
    check(
        r#"const odd = { 'a"b': 1, 'c\\d': 2, 'é\n': 3, '\u{1}': 4 };
           const holes = { a: undefined, b: () => 1, c: Symbol('s'), d: undefined, e: 5, f: undefined };
           const hidden = Object.defineProperty({ a: 1, b: 2 }, 'x', { value: 9, enumerable: false });
           const symbol = { [Symbol('s')]: 1, a: 1 };
           return { odd, holes, none: { a: undefined }, hidden, symbol, n: [null, true, false, -1, 10, 2147483647, 1.5, 1e21, NaN, 12345678901n],
             deep: { a: { a: { a: { b: [] } } } }, text: 'plain text of some length "quoted" \\ \u2028 é \ud800', empty: {} };"#,
        concat!(
            r#"{"odd":{"a\"b":1,"c\\d":2,"é\n":3,"\u0001":4},"holes":{"e":5},"none":{},"hidden":{"a":1,"b":2},"symbol":{"a":1},"#,
            r#""n":[null,true,false,-1,10,2147483647,1.5,1e+21,null,12345678901],"deep":{"a":{"a":{"a":{"b":[]}}}},"#,
            "\"text\":\"plain text of some length \\\"quoted\\\" \\\\ \u{2028} é \\ud800\",\"empty\":{}}"
        ),
    );
}

/// More shapes than there are places for the texts of their keys, inside each other and in turn.
#[test]
fn bodies_of_more_shapes_than_are_remembered() {
    let (mut value, mut expect) = ("0".to_owned(), "0".to_owned());
    for n in 0..100 {
        value = format!("{{ k{n}: 1, in{n}: {value}, z{n}: [{{ k{n}: '{n}', q{n}: {n} }}] }}");
        expect = format!(r#"{{"k{n}":1,"in{n}":{expect},"z{n}":[{{"k{n}":"{n}","q{n}":{n}}}]}}"#);
    }
    check(&format!("return {value};"), &expect);
}

/// A body of megabytes is read in slices, between which a neighbour on the same core is served, with a body of its own.
#[test]
fn a_long_body_lets_neighbours_have_their_turn() {
    let scripts = [
        "const p = payload(); return { n: p.length, last: p[p.length - 1], same: p === payload() };",
        "return req.json().length;",
        "const n = (() => { try { return payload().length; } finally { log('done'); } })(); return [n, await (async () => payload().length)()];",
    ];
    let item = r#"{"id":1234,"name":"somebody","tags":["a","b"],"price":1.25,"é":"ü"}"#;
    let body = format!("[{}{item}]", format!("{item},").repeat(30_000));
    let expect = [
        r#"{"n":30001,"last":{"id":1234,"name":"somebody","tags":["a","b"],"price":1.25,"é":"ü"},"same":true}"#,
        "30001",
        "[30001,30001]",
    ];
    for (script, expect) in scripts.iter().zip(expect) {
        let mut vm = Vm::new(VmConfig::default());
        let mut load = |source: &str| {
            let (module, _) = forebay_compiler::compile(&Text(source.to_owned()), "t.js").expect("compiles");
            let module = forebay_bytecode::verify(module).expect("verifies");
            vm.adopt(&Blueprint::load(&module).expect("loads")).expect("address space")
        };
        let (id, other) = (load(script), load("return { n: payload().n + 1 };"));
        let limits = TaskLimits { memory: 64 << 20, ..TaskLimits::default() };
        let start = |vm: &mut Vm, id, body: &str| {
            let input = RequestInput { method: "POST", body: body.as_bytes(), ..RequestInput::empty() };
            vm.start(id, Entry::Main, &input, &limits, TenantId(0), Monotonic(0)).expect("starts")
        };
        let long = start(&mut vm, id, &body);
        let (mut slices, mut used) = (0, 0);
        while vm.run(long, Monotonic(0), Timestamp(0), 10_000, &mut NoHost) == Run::SliceOver {
            slices += 1;
            let fuel = vm.usage(long).1;
            assert!(fuel - used < 40_000, "{script}: a slice of {}", fuel - used);
            used = fuel;
            let short = start(&mut vm, other, &format!("{{\"n\":{slices}}}"));
            assert_eq!(vm.run(short, Monotonic(0), Timestamp(0), 10_000, &mut NoHost), Run::Done);
            let mut out = Vec::new();
            vm.write_body(short, &mut out).expect("an answer");
            assert_eq!(out, format!("{{\"n\":{}}}", slices + 1).into_bytes());
            vm.finish(short);
        }
        let mut out = Vec::new();
        vm.write_body(long, &mut out)
            .unwrap_or_else(|error| panic!("{script}: {error} {:?}", vm.error(long)));
        assert_eq!(String::from_utf8_lossy(&out), expect, "{script}");
        assert!(slices > 10, "{script}: {slices} slices");
        vm.finish(long);
        // What isn't JSON to its end is the client's fault, as in one piece.
        let cut = start(&mut vm, id, &body[..body.len() - 1]);
        let end = loop {
            match vm.run(cut, Monotonic(0), Timestamp(0), 10_000, &mut NoHost) {
                Run::SliceOver => {}
                end => break end,
            }
        };
        assert_eq!(end, Run::Trap(forebay_engine::Trap::BadRequest), "{script}");
        vm.finish(cut);
    }
}
