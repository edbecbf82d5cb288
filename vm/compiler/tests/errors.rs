//! What the compiler refuses, where it puts the caret, and what it says.

use forebay_compiler::{SourceSet, compile};

/// Compiles `source`, in which `^` marks the place of the error (before the
/// offending text), and expects the first error to have this code and words.
fn check(source: &str, code: &str, words: &str) {
    check_file("blueprints/test.js", source, code, words);
}

fn check_file(path: &str, source: &str, code: &str, words: &str) {
    let place = source.find('¦').unwrap_or_else(|| panic!("no mark in {source}"));
    let text = source.replace('¦', "");
    let set = SourceSet::one(path, &text)
        .with("lib/tools.js", "export const one = 1; export function two() { return 2; } export default 3;")
        .with("lib/numbers.js", "export const one = 1; export { one as '1' };");
    let Err(errors) = compile(&set, path) else { panic!("this compiles: {text}") };
    let all = || errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let first = &errors[0];
    assert_eq!(first.code, code, "{text}\n{}", all());
    let frame = first.to_string();
    assert!(frame.contains(words), "{words:?} is not in\n{frame}");
    assert_eq!(first.place.start as usize, place, "the caret of\n{frame}");
}

/// Compiles `source` without errors.
fn accept(source: &str) {
    accept_file("blueprints/test.js", source);
}

fn accept_file(path: &str, source: &str) {
    let set = SourceSet::one(path, source)
        .with("lib/tools.js", "export const one = 1; export function two() { return 2; } export default 3;")
        .with("lib/numbers.js", "export const one = 1; export { one as '1' };");
    if let Err(errors) = compile(&set, path) {
        panic!("{source}\n{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn syntax() {
    check("let x = ¦;", "FB0101", "Unexpected token");
    check("let x = 1; let ¦x = 2;", "FB0101", "already been declared");
    check("for (;;) { function f() { ¦break; } }", "FB0101", "break");
    check("¦with (a) { }", "FB0101", "with");
    check("delete ¦x;", "FB0101", "elete");
    check("const ¦x;", "FB0101", "initializ");
}

#[test]
fn names() {
    check("return ¦paylod();", "FB0201", "did you mean `payload`?");
    check("const total = 1; return ¦totl;", "FB0201", "did you mean `total`?");
    check("return ¦frobnicate;", "FB0201", "`frobnicate` is not defined");
    check("return ¦console.log(1);", "FB0202", "log(...)");
    check("return ¦fetch('x');", "FB0202", "http().get(url)");
    check("return ¦arguments;", "FB0202", "...args");
    check("const f = () => ¦arguments; return f();", "FB0202", "...args");
    check("function f() { ¦arguments = 1; }", "FB0101", "arguments");
    accept("function f() { const g = () => arguments; return g(typeof arguments); } return f();");
    check("return ¦eval('1');", "FB0202", "deployed");
    check("¦payload = 1;", "FB0206", "built in");
    check("¦Math = 1;", "FB0206", "built in");
    check("¦undefinedVariable = 1;", "FB0201", "not defined");
    check("kv.¦gte('x');", "FB0406", "did you mean `get`?");
    check("kv.¦frobnicate('x');", "FB0406", "there are get, set");
    check("const store = ¦kv;", "FB0405", "`kv` is not a value");
    check("const f = ¦kv.get;", "FB0405", "`x => kv.get(x)`");
    check("[1].forEach(¦log);", "FB0405", "`log` is not a value");
    check("const s = ¦kv['get']('x');", "FB0405", "not a value");
    check("¦kv.get = 1;", "FB0206", "can't be changed");
    check("return ¦event.pub('x');", "FB0401", "not built yet");
    check("return ¦crypto.hash('x');", "FB0401", "not built yet");
    check("return new ¦Function('x');", "FB0202", "deployed");
    accept("const kv = { get() { return 1; } }; const log = x => x; return log(kv.get());");
    accept("return typeof nothing === 'undefined' && typeof payload() === 'object';");
    accept("function now() { return 1; } return now(1, 2, 3);");
}

#[test]
fn unsupported() {
    check("¦@f class A {}", "FB0301", "decorators");
    check("class A { ¦accessor x = 1; }", "FB0301", "`accessor` fields");
    check_file(
        "blueprints/x.ts",
        "class A { constructor(¦private x: number) {} }",
        "FB0301",
        "parameter properties are not supported",
    );
    check("function* g(a = ¦yield) {}", "FB0101", "yield");
    check("function f(x) { for ¦await (const y of x) {} }", "FB0101", "await");
    accept(
        "function* g() { yield; yield* g(); } const o = { async *h() { for await (const x of g()) yield x; } };",
    );
    check("return /(¦/.test('x');", "FB0302", "this regular expression is invalid");
    check("return ¦/x/v.test('x');", "FB0302", "flag");
    check("return ¦log`x`;", "FB0405", "`log` is not a value");
    check("return `¦\\u`;", "FB0101", "escape");
    check("return ¦import('x');", "FB0301", "import()");
    check("return ¦import.meta;", "FB0301", "import.meta");
    check("function f(a, b = () => a) { var ¦a = 2; return b(); }", "FB0304", "captured");
    check_file("blueprints/x.ts", "¦enum A { B }", "FB0301", "enum");
    check_file("blueprints/x.ts", "¦namespace A { export const b = 1; }", "FB0301", "namespace");
    check_file("blueprints/x.ts", "function f(¦private x: number) {}", "FB0101", "modifier cannot appear");
}

#[test]
fn typescript_types_vanish() {
    accept_file(
        "blueprints/x.ts",
        "interface User { id: number; name?: string }
         type Id = User['id'] | null;
         import type { Nothing } from 'nowhere';
         declare const later: string;
         function f<T extends User>(this: void, user: T, ...rest: Id[]): user is T { return !!user!.id; }
         const u = { id: 1 } as const satisfies { id: number };
         let g: (x: number) => string = (x: number): string => `${x}`;
         let h = <T,>(x: T) => x;
         const { id }: { id: Id } = u;
         return (f(u as unknown as User) as boolean) ? g(id!) : h<number>(2);",
    );
}

#[test]
fn host_calls() {
    check("return payload(¦1);", "FB0404", "`payload` takes no arguments");
    check("¦kv.get();", "FB0404", "`kv.get` takes 1 argument");
    check("¦kv.set('a');", "FB0404", "takes 2 to 3 arguments");
    check("kv.get('a', ¦'b');", "FB0404", "takes 1 argument");
    check("log(¦...[1]);", "FB0403", "no spread");
    check("return ¦req();", "FB0403", "`req` isn't a function");
    check("const a = await Promise.all([¦kv.get('a'), 1]);", "FB0407", "async () => kv.get('a')");
    check("const a = await Promise.race([¦http().get('a')]);", "FB0407", "async () =>");
    check("const a = await Promise.all([¦db().table('a').get()]);", "FB0407", "async () =>");
    check("kv.get('a').¦then(x => x);", "FB0407", "a value, not a promise");
    check("http().get('a').¦then(x => x);", "FB0407", "a value, not a promise");
    accept("const a = await Promise.all([1, 2].map(async x => kv.get('a' + x))); return a;");
    accept("const a = await Promise.all([(async () => kv.get('a'))()]); return a;");
    accept("return await kv.get('a');");
}

#[test]
fn styles() {
    // Handler style: the top level runs at load.
    let handler = "work('A').get('/', () => 1);";
    check(&format!("{handler} const t = ¦now();"), "FB0402", "while the module loads");
    check(&format!("{handler} const t = ¦kv.get('x');"), "FB0402", "while the module loads");
    check(&format!("{handler} const t = ¦Math.random();"), "FB0402", "while the module loads");
    check(&format!("{handler} const t = ¦Date.now();"), "FB0402", "while the module loads");
    check(&format!("{handler} const t = ¦new Date();"), "FB0402", "while the module loads");
    check(&format!("{handler} ¦await 1;"), "FB0402", "can't wait");
    check(&format!("{handler} ¦return 1;"), "FB0104", "outside a function");
    check("let n = 0; work('A').get('/', () => { ¦n++; });", "FB0204", "kv");
    check("let n = 0; work('A').get('/', () => { ¦n = 1; });", "FB0204", "kv");
    check("let n = 0; work('A').get('/', () => { [¦n] = [1]; });", "FB0204", "kv");
    check(
        "{ let n = 0; work2 = 1; } work('A').get('/', () => 1);".replace("work2", "¦work2").as_str(),
        "FB0201",
        "work2",
    );
    accept(&format!("{handler} const t = new Date(0); let n = 0; n += 1; const f = () => now();"));
    // Script style: the same is a request's own.
    accept("let n = 0; const f = () => { n++; }; f(); await 1; return [n, now(), Math.random()];");
    accept("const w = work('A').router('POST', '/a').version('1').timeout('30s'); return payload();");
    check("import { ¦three } from 'lib/tools.js';", "FB0704", "it exports default, one, two");
    check("¦export const x = 1;", "FB0705", "a script exports nothing");
}

#[test]
fn works() {
    check("work('A').¦gett('/', () => 1);", "FB0504", "did you mean `get`?");
    check("work('A').¦cron('x');", "FB0504", "no method `cron`");
    check("work('A').post('/a', () => 1).durable(¦1);", "FB0503", "object literal");
    check("work('A').post('/a', () => 1).durable({¦ttl: 1});", "FB0503", "no option `ttl`");
    check("work('A').post('/a', () => 1).durable({id: ¦'a b'});", "FB0503", "letters, digits");
    check("work('A').post('/a', () => 1).¦retry(2);", "FB0512", "only durable works");
    check("work('A').post('/a', () => 1).retry(¦1.5).durable();", "FB0503", "a whole number");
    check("work('A').post('/a', () => 1).retry(1, ¦'soon').durable();", "FB0503", "a duration");
    check("work('A').¦post('/a', () => 1).static('1h').durable();", "FB0512", "no `static()`");
    check("work('A').¦listen('a', () => 1).durable();", "FB0512", "LISTEN can't start");
    check("work('A').post('/a', () => ¦task.id());", "FB0403", "`task.id` isn't a function");
    check("work('A').post('/a', () => task.¦idd);", "FB0406", "`id`");
    check("work('A').¦get('/a', () => 1).durable();", "FB0512", "GET can't start a durable task");
    check("work('A').¦post('/a', () => 1).durable({id: 'x-{n}'});", "FB0512", "no parameter `{n}`");
    check("work('A').¦every('1s', () => 1);", "FB0505", "not built yet");
    check("const p = '/'; work('A').get(¦p, () => 1);", "FB0503", "constant string");
    check("work('A').get(¦'users', () => 1);", "FB0509", "begins with `/`");
    check("work('A').get(¦'/:id', () => 1);", "FB0509", "{id}");
    check("work('A').get('/a', () => 1).¦get('/a', () => 2);", "FB0510", "two routes GET /a");
    check("work('A').get('/{a}', () => 1).¦get('/{b}', () => 2);", "FB0510", "two routes");
    check("work('A').get('/a', () => 1); ¦work('A').get('/b', () => 2);", "FB0507", "two works \"A\"");
    check("work('A').¦get('/a'); work('B').get('/b', () => 1);", "FB0506", "nothing answers GET /a");
    check("work('A').¦handle(() => 1);", "FB0506", "answers no route");
    check("work('A').router(¦'FETCH', '/a');", "FB0508", "not an HTTP method");
    check("work('A').timeout(¦'soon').get('/', () => 1);", "FB0503", "duration");
    check("work('A').limits({ ¦fule: 1 }).get('/', () => 1);", "FB0503", "did you mean `fuel`?");
    check("work('A').get('/', ¦'hello');", "FB0503", "a handler is a function");
    check("work('A').get('/a').file(¦'../secret');", "FB0503", "not a path below");
    check("work('A').get('/a').redirect('/b', ¦200);", "FB0503", "not a status of a redirect");
    check("const w = work('A').get('/a'); return ¦w;", "FB0502", "known at build time");
    check("function f() { return ¦work('A'); }", "FB0501", "read at build time");
    check(
        "work().¦get('/', () => 1);".replace("work().¦", "¦work().").as_str(),
        "FB0503",
        "a work has a name",
    );
    accept("const w = work('A'); w.get('/a', req => req.params); w.post('/b', async () => 1).timeout(500);");
    accept(
        "work('A').get('/old').redirect('/new', 301); work('B').get('/x').assets('public').static('24h');",
    );
    accept(
        "work('A').get('/a').post('/a').handle(req => 1).limits({ fuel: 1000, memory: '8MB', wall: '2s' });",
    );
}

#[test]
fn queries() {
    let check = |lambda: &str, code, words| {
        check(&format!("const min = 1; return db().table('a').where({lambda}).get();"), code, words);
    };
    check("u => ¦u.name.length", "FB0602", "no condition that SQL has");
    check(
        "u => u.name.¦charAt(0) == 'x'".replace("u.name.¦", "¦u.name.").as_str(),
        "FB0602",
        "no form in SQL",
    );
    check("u => u.age > ¦Math.max(u.x, 1)", "FB0602", "no form in SQL");
    check("u => ¦u.a ?? u.b", "FB0602", "no condition");
    check("u => ¦u.a ** 2 > 4", "FB0602", "`**`");
    check("u => ¦{ return u.age > 1; }", "FB0601", "not a block");
    check("¦function (u) { return u.age > 1; }", "FB0601", "an arrow");
    check("¦() => true", "FB0601", "takes rows");
    check("({ ¦a = 1 }) => a == 1", "FB0601", "plain name");
    check("u => ¦(x => x)(u.a)", "FB0602", "no form in SQL");
    for good in [
        "u => u.age > 18 && u.role == min",
        "({ age, role: r }) => age > 18 || r === 'admin' || !(age < min + 1)",
        "u => [1, 2, min].includes(u.kind) && !u.banned",
        "u => u['odd name'] !== null && u.price * 2 + 1 >= -min",
        "u => u.at > payload().since",
        "u => u.first + ' ' + u.last == `${u.name}${min}`",
        "(u, v) => u.id == v.id && (u.a ?? v.a) > 1",
        "u => min ? u.age > min : u.name == null",
        "u => (u.a > 1 ? u.b : !u.c) || u.d",
        "u => u.name.trim().length > 3 && u.name.startsWith(min) && (u.a ? u.b : -u.c) < 1",
    ] {
        accept(&format!("const min = 1; return db().table('a').where({good}).first();"));
    }
}

/// A lambda may follow a variable that holds nothing but queries; what else has a `where` is called as it is.
#[test]
fn queries_in_variables() {
    for query in ["q", "q.limit(1)", "q.where('b', 2)", "(q)"] {
        let start = "let q = db().table('a'); if (payload().b) q = q.where('b', 1); if (payload().c) q = q.where(u => u.c > 1);";
        check(
            &format!("{start} return {query}.where(¦function (u) {{ return u.a; }}).get();"),
            "FB0601",
            "an arrow",
        );
        check(&format!("{start} return {query}.where(u => ¦u.a ** 2).get();"), "FB0602", "SQL");
        accept(&format!("{start} const n = 1; return {query}.where(u => u.a > n).get();"));
    }
    check("const t = db(); const q = t.table('a'); return q.where(¦() => 1).get();", "FB0601", "takes rows");
    for other in [
        "let q = db().table('a'); q = payload();",
        "let q = db().table('a'); [q] = [1];",
        "let q = db().table('a'); q ??= 1;",
        "for (let q of [db().table('a')])",
        "const [q] = [db().table('a')];",
        "let q; q = db().table('a');",
        "const q = db().table('a').get();",
        "const q = { where(f) { return f(2); } };",
        "function f(q) { return q.where(() => 1); }; let q = 1;",
    ] {
        accept(&format!("{other} q.where(() => {{ return Math.abs(-1); }});"));
    }
}

/// What other platforms have is refused by name, with what there is instead.
#[test]
fn what_people_bring_along() {
    check("return ¦structuredClone({});", "FB0202", "JSON.parse(JSON.stringify(x))");
    check("return new ¦URL('http://x');", "FB0202", "req.query");
    check("return new ¦TextEncoder();", "FB0202", "UTF-8");
    check("return new ¦Float64Array(3);", "FB0202", "doesn't have it");
    check("return new ¦Intl.NumberFormat('en');", "FB0202", "toLocaleString");
    check("return ¦/[a--b]/v.test('a');", "FB0302", "the flag `v` is not supported");
    check("const f = (a¦: number) => a; return f(1);", "FB0101", "end in .ts");
    check("interface¦ A { }", "FB0101", "end in .ts");
    check("return ¦<p>x</p>;", "FB0101", "html(");
    check_file("test.ts", "let a: string = ¦;", "FB0101", "Unexpected token");
    check_file("test.ts", "export type A = 1; ¦export const x = 1;", "FB0705", "a script exports nothing");
    accept_file(
        "test.ts",
        "export {}; export type A = 1; export interface B { } export type { A as C }; export default interface D { } return 1;",
    );
    accept_file("test.ts", "export {}; export type A = 1; work('A').get('/', () => 1);");
}

#[test]
fn imports() {
    check("import { ¦oen } from 'lib/tools.js'; return oen;", "FB0704", "did you mean `one`?");
    check("import x from ¦'lodash';", "FB0702", "no packages");
    check("import x from ¦'lib/tool.js';", "FB0701", "did you mean `lib/tools.js`?");
    check("import x from ¦'lib/tools';", "FB0703", "did you mean \"lib/tools.js\"?");
    check("import x from ¦'../secret.js';", "FB0703", "below lib/");
    check("import * as t from 'lib/tools.js'; return t.¦oen;", "FB0704", "did you mean `one`?");
    accept("import * as t from 'lib/tools.js'; const k = 'one'; return [t, t[k], { t }, typeof t];");
    check("import * as n from 'lib/numbers.js'; return ¦n;", "FB0706", "namespace");
    check("import * as n from 'lib/numbers.js'; return ¦n['one'];", "FB0706", "namespace");
    accept("import * as n from 'lib/numbers.js'; return n.one;");
    check("import { one } from 'lib/tools.js'; ¦one = 2;", "FB0205", "imported");
    accept(
        "import three, { one, two as deux } from '../lib/tools.js'; import * as t from 'lib/tools.js'; return [three, one, deux(), t.two(), t.one];",
    );
}

#[test]
fn module_cycles_and_re_exports_are_linked() {
    let set = SourceSet::new()
        .with("blueprints/a.js", "import { f, g as h } from 'lib/a.js'; return [f(1), h];")
        .with("lib/a.js", "import { g } from './b.js'; export function f(x) { return x ? g() : 0; } export * from './b.js';")
        .with("lib/b.js", "import { f } from './a.js'; export function g() { return f(0); } export { f as again } from './a.js';");
    let (module, warnings) = compile(&set, "blueprints/a.js").unwrap();
    assert_eq!((module.files.len(), warnings.len()), (3, 0));
    assert!(module.init.is_some() && module.main.is_some());
}

#[test]
fn exports_that_lead_nowhere_or_to_two_places() {
    let first = |a: &str, b: &str, c: &str| {
        let set = SourceSet::new()
            .with("blueprints/x.js", "import { x } from 'lib/a.js'; return x;")
            .with("lib/a.js", a)
            .with("lib/b.js", b)
            .with("lib/c.js", c);
        match compile(&set, "blueprints/x.js") {
            Ok(_) => "fine".to_owned(),
            Err(errors) => {
                let hint = errors[0].hint.clone().unwrap_or_default();
                format!("{} {:?}: {} ({hint})", errors[0].file, errors[0].line_column(), errors[0].message)
            }
        }
    };
    let stars = "export * from './b.js'; export * from './c.js';";
    assert_eq!(
        first(stars, "export const x = 1;", "export const x = 2;"),
        "blueprints/x.js (1, 10): `lib/a.js` has two exports `x` (import it from `lib/b.js` or from `lib/c.js`)"
    );
    assert_eq!(first(stars, "export const x = 1;", "export { x } from './b.js';"), "fine");
    assert_eq!(first(&format!("{stars} export const x = 0;"), "export let x;", "export let x;"), "fine");
    assert_eq!(
        first("export const x = 1; export { yy } from './b.js';", "export const y = 1;", ""),
        "lib/a.js (1, 30): `lib/b.js` has no export `yy` (did you mean `y`?)"
    );
    assert_eq!(
        first("export { x } from './b.js';", "export { x } from './a.js';", ""),
        "blueprints/x.js (1, 10): `lib/a.js` has no export `x` (it exports x)"
    );
}

#[test]
fn all_errors_of_a_file_are_reported_up_to_a_bound() {
    let source: String = (0..100).map(|i| format!("unknown{i}();\n")).collect();
    let errors = compile(&SourceSet::one("a.js", &source), "a.js").unwrap_err();
    assert_eq!(errors.len(), 20);
    assert_eq!(errors[3].line_column(), (4, 1));
}

#[test]
fn warnings_do_not_stop_the_build() {
    let (_, warnings) = compile(&SourceSet::one("a.js", "const x = 1; x = 2;"), "a.js").unwrap();
    assert_eq!(warnings[0].code, "FB0203");
}

#[test]
fn deep_sources_are_refused_or_compiled_but_never_crash() {
    let mega = 1 << 20;
    let deep: Vec<(&str, String)> = vec![
        ("[", "[".repeat(mega)),
        ("(", "(".repeat(mega)),
        ("{", "{".repeat(mega)),
        ("!", "!".repeat(mega)),
        ("x = [", format!("x = {}", "[".repeat(mega))),
        ("`${", "`${".repeat(mega / 3)),
        ("a.", format!("payload().{}a", "a.".repeat(mega / 2))),
        ("()", format!("payload{}", "()".repeat(mega / 2))),
        ("+1", format!("return 1{}", "+1".repeat(mega / 2))),
        ("a=", format!("let a; {}1", "a=".repeat(mega / 2))),
        ("?:", format!("return {}1{}", "1?".repeat(mega / 4), ":1".repeat(mega / 4))),
        ("=>", format!("return {}1", "x=>".repeat(mega / 3))),
        ("else if", format!("{}{{}}", "if (1) {} else ".repeat(mega / 15))),
        ("**", format!("return 1{}", "**1".repeat(mega / 3))),
        ("new", format!("return {} Date", "new ".repeat(mega / 4))),
        ("label", format!("{};", "a:".repeat(mega / 2))),
        ("while", format!("{};", "while(0)".repeat(mega / 8))),
        ("${}", format!("return {}1{}", "`${".repeat(2000), "}`".repeat(2000))),
        ("&&", format!("return 1{}", "&&1".repeat(mega / 3))),
        ("?.", format!("return payload(){}", "?.a".repeat(mega / 3))),
        ("{}+", format!("return {}1", "{}+".repeat(mega / 3))),
        ("{}?", format!("return {}1", "{}?{}:".repeat(mega / 6))),
    ];
    for (name, text) in deep {
        let errors = compile(&SourceSet::one("a.js", &text), "a.js").err();
        println!("{name}: {:?}", errors.map(|e| (e[0].code, e[0].line_column())));
    }
    // What the bounds let through must fit the stack.
    for n in [100, 400, 480, 1900, 9000] {
        for (open, close) in [
            ("[", "]"),
            ("(", ")"),
            ("!", ""),
            ("({a:", "})"),
            ("(()=>", ")()"),
            ("f(", ")"),
            ("{", "}"),
            ("if(1)", ";"),
            ("1?1:", "0"),
            ("x=>", ""),
        ] {
            let text = format!("function f(x) {{}} let y = {}1{}", open.repeat(n), close.repeat(n));
            let statement = format!("{}1{}", open.repeat(n), close.repeat(n));
            for text in [text, statement] {
                let _ = compile(&SourceSet::one("a.ts", &text), "a.ts");
            }
        }
    }
}

#[test]
fn large_functions_are_compiled_or_refused() {
    let many = |n: usize, item: &str| item.repeat(n);
    accept(&format!("return [{}];", many(20_000, "1,")));
    accept(&format!("return Math.max({});", many(1000, "1,")));
    accept(&format!("const x = 1; return `{}`;", many(700, "a${x}")));
    accept(&(0..5000).map(|i| format!("let v{i} = {i};\n")).collect::<String>());
    check(
        &format!("¦{}", (0..70_000).map(|i| format!("let v{i}=0;")).collect::<String>()),
        "FB0804",
        "too many registers",
    );
    check(&format!("¦const x = payload();{}", many(66_000, "x.a;")), "FB0804", "too many registers");
}
