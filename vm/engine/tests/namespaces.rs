//! `import * as m` as a value: the module namespace object (ECMA-262 10.4.6).

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_bytecode::verify;
use forebay_compiler::{SourceSet, compile};
use forebay_engine::{Blueprint, Entry, LoadError, NoHost, RequestInput, Run, Vm, VmConfig};
use std::sync::Arc;

type Files<'a> = &'a [(&'a str, &'a str)];

fn load(main: &str, files: Files<'_>) -> Result<Arc<Blueprint>, String> {
    let set =
        files.iter().fold(SourceSet::one("blueprints/x.js", main), |set, (path, text)| set.with(path, text));
    let (module, _) = compile(&set, "blueprints/x.js")
        .map_err(|errors| format!("{}: {}", errors[0].code, errors[0].message))?;
    let bytes = forebay_bytecode::encode(&module);
    let module = forebay_bytecode::decode(&bytes).map_err(|e| e.to_string())?;
    Blueprint::load(&verify(module).map_err(|e| e.to_string())?).map_err(|e| match e {
        LoadError::Init(report) => format!("{}: {}", report.name, report.message),
        other => format!("{other:?}"),
    })
}

/// One request.
fn call(vm: &mut Vm, id: forebay_engine::BlueprintId) -> String {
    let (now, limits) = (Monotonic(0), TaskLimits::default());
    let task = vm.start(id, Entry::Main, &RequestInput::empty(), &limits, TenantId(0), now).unwrap();
    let answer = match vm.run(task, now, Timestamp(0), 1_000_000, &mut NoHost) {
        Run::Done => {
            let mut out = Vec::new();
            vm.write_body(task, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        }
        _ => vm.error(task).message.to_string(),
    };
    vm.finish(task);
    answer
}

/// What a script answers that imports from these files, or how it fails; every request gets the same answer.
fn run(main: &str, files: Files<'_>) -> String {
    let blueprint = match load(main, files) {
        Ok(blueprint) => blueprint,
        Err(error) => return error,
    };
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(&blueprint).unwrap();
    let answer = call(&mut vm, id);
    assert_eq!(call(&mut vm, id), answer, "the second request");
    answer
}

fn check(main: &str, files: Files<'_>, expected: &str) {
    assert_eq!(run(main, files), expected, "{main}");
}

/// A module with names whose order matters: U+FF5E comes behind the surrogates of U+20000.
const M: (&str, &str) = (
    "lib/m.js",
    "export let z = 1; export const a = [1]; export function f() { return 7; } export default 'd'; z = 2;
     const x = 5; export { x as '\u{ff5e}', x as '\u{20000}', x as 'B', x as '-1' }; export class C {}",
);
const IMPORT: &str = "import * as m from 'lib/m.js';
    const name = f => { try { return f(); } catch (e) { return e.name; } };";

fn check_m(body: &str, expected: &str) {
    check(&format!("{IMPORT} {body}"), &[M], expected);
    // The same while modules load: what is refused is refused by the object, not as it is shared.
    let text = format!("{IMPORT} export default (() => {{ {body} }})();");
    check("import seen from 'lib/t.js'; return seen;", &[M, ("lib/t.js", &text)], expected);
}

#[test]
fn what_it_looks_like() {
    check_m(
        "return Object.keys(m);",
        "[\"-1\",\"B\",\"C\",\"a\",\"default\",\"f\",\"z\",\"\u{20000}\",\"\u{ff5e}\"]",
    );
    check_m(
        "const show = k => { const d = Object.getOwnPropertyDescriptor(m, k); return [typeof d.value, d.writable, d.enumerable, d.configurable, Object.keys(d).length]; };
         return [typeof m, String(Object.prototype.toString.call(m)), Object.getPrototypeOf(m), m.z, show('z'), show('default'), show(Symbol.toStringTag), Object.getOwnPropertySymbols(m).length, Object.getOwnPropertyNames(m).length];",
        r#"["object","[object Module]",null,2,["number",true,true,false,4],["string",true,true,false,4],["string",false,false,false,4],1,9]"#,
    );
    check_m(
        "const k = 'z'; const { a, default: d, ...rest } = m; return [m[k], m['none'], m.f(), a, d, Object.keys(rest).length, 'z' in m, 'none' in m, Symbol.toStringTag in m, '0' in m];",
        r#"[2,null,7,[1],"d",7,true,false,true,false]"#,
    );
    check_m(
        "const seen = []; for (const k in m) seen.push(k); return [seen.join(), JSON.stringify(m), JSON.stringify({ ...m }), Object.entries(m).length, Object.values(m)[6], Object.hasOwn(m, 'a'), Object.prototype.propertyIsEnumerable.call(m, 'a')];",
        "[\"-1,B,C,a,default,f,z,\u{20000},\u{ff5e}\",\"{\\\"-1\\\":5,\\\"B\\\":5,\\\"a\\\":[1],\\\"default\\\":\\\"d\\\",\\\"z\\\":2,\\\"\u{20000}\\\":5,\\\"\u{ff5e}\\\":5}\",\"{\\\"-1\\\":5,\\\"B\\\":5,\\\"a\\\":[1],\\\"default\\\":\\\"d\\\",\\\"z\\\":2,\\\"\u{20000}\\\":5,\\\"\u{ff5e}\\\":5}\",9,2,true,true]",
    );
    check_m(
        "return m;",
        "{\"-1\":5,\"B\":5,\"a\":[1],\"default\":\"d\",\"z\":2,\"\u{20000}\":5,\"\u{ff5e}\":5}",
    );
    check_m(
        "const get = o => o.z; return [get(m), get(m), get({ z: 9 }), get(m), m === (() => m)(), { m }.m === m, new m.C() instanceof m.C, m?.z, m?.['a']];",
        r#"[2,2,9,2,true,true,true,2,[1]]"#,
    );
}

#[test]
fn nobody_changes_it() {
    let t = "\"TypeError\"";
    let tries = [
        "m.z = 2",
        "m.none = 1",
        "m['z'] = 3",
        "m[0] = 3",
        "m[Symbol.toStringTag] = 'x'",
        "m[Symbol.iterator] = 1",
        "m.z++",
        "delete m.z",
        "delete m[Symbol.toStringTag]",
        "Object.defineProperty(m, 'z', { value: 3 })",
        "Object.defineProperty(m, 'z', { writable: false })",
        "Object.defineProperty(m, 'z', { enumerable: false })",
        "Object.defineProperty(m, 'z', { configurable: true })",
        "Object.defineProperty(m, 'z', { get() {} })",
        "Object.defineProperty(m, 'none', { value: 3 })",
        "Object.defineProperty(m, 0, { value: 3 })",
        "Object.defineProperty(m, Symbol.toStringTag, { value: 'x' })",
        "Object.defineProperty(m, Symbol.toStringTag, { writable: true })",
        "Object.freeze(m)",
        "Object.setPrototypeOf(m, {})",
        "Object.assign(m, { z: 2 })",
        "({ z: m.z } = { z: 1 })",
        "Object.create(m).z = 1",
        "Object.create(m).none = 1",
        "Object.create(m)[0] = 1",
        "Object.create(Object.create(m)).none = 1",
        "const o = { __proto__: m, set() { super.z = 1; } }; o.set()",
        "m()",
        "new m()",
        "String(m)",
        "`${m}`",
        "Array.prototype.push.call(m, 1)",
        "Array.prototype.fill.call({ __proto__: m, length: 1 }, 0)",
        "m['map']()",
    ];
    let body: Vec<String> = tries.iter().map(|t| format!("name(() => {{ {t}; return {t:?}; }})")).collect();
    check_m(&format!("return [{}];", body.join(",")), &format!("[{}]", vec![t; tries.len()].join(",")));
    check_m(
        "const ok = [
            () => Object.defineProperty(m, 'z', { value: 2, writable: true, enumerable: true, configurable: false }) === m,
            () => Object.defineProperty(m, 'z', {}) === m,
            () => Object.defineProperty(m, Symbol.toStringTag, { value: 'Module', writable: false }) === m,
            () => delete m.none, () => delete m[0], () => delete m[Symbol.iterator],
            () => Object.setPrototypeOf(m, null) === m, () => Object.preventExtensions(m) === m, () => Object.seal(m) === m,
            () => Object.isSealed(m), () => !Object.isFrozen(m), () => !Object.isExtensible(m),
            () => Object.defineProperty(Object.create(m), 'z', { value: 4 }).z === 4, () => Object.create(m).z === 2,
            () => m.z === 2 && m[Symbol.toStringTag] === 'Module',
        ];
        return ok.map(name);",
        &format!("[{}]", ["true"; 15].join(",")),
    );
    // A site that has added properties to objects of the same shape still refuses.
    check_m(
        "const add = o => { o.q = 1; return o.q; }; const P = {}; const mk = () => Object.create(P);
         const out = [add(mk()), add(mk())]; Object.setPrototypeOf(P, m); out.push(name(() => add(mk())), name(() => add(Object.create(m))));
         return out;",
        r#"[1,1,"TypeError","TypeError"]"#,
    );
    check(
        "import * as m from 'lib/e.js'; return [Object.freeze(m) === m, Object.isFrozen(m), Object.keys(m)];",
        &[("lib/e.js", "")],
        "[true,true,[]]",
    );
}

#[test]
fn this_of_a_method_is_the_namespace() {
    let files = &[(
        "lib/m.js",
        "export function f() { return this; } export const arrow = () => 1; export const own = Object.prototype.hasOwnProperty; export const g = f; export default function () { return this; }",
    )];
    check(
        "import * as m from 'lib/m.js'; const k = 'f'; const f = m.f;
         return [m.f() === m, m.g() === m, m[k]() === m, m.default() === m, m.own('f'), m.own('no'), m.arrow(), f() === undefined, m.f?.() === m, (m.f)() === m, m.f.call(1) === 1];",
        files,
        "[true,true,true,true,true,false,1,true,true,true,true]",
    );
}

/// A class whose constructor returns one would give it private members, which no module object gets from a task.
#[test]
fn it_gets_no_private_members() {
    let class = |member: &str, of: &str| {
        format!(
            "class A {{ constructor(o) {{ return o; }} }} class B extends A {{ {member} static has(o) {{ return #x in o; }} }}
             {of} let seen; try {{ new B(m); seen = 'made'; }} catch (e) {{ seen = e.name; }} seen += B.has(m) + Object.keys(m).join();"
        )
    };
    for member in ["#x = 1;", "#x() {}", "get #x() { return 1; }", "set #x(v) {}"] {
        let body = class(member, "");
        check(
            &format!("import * as m from 'lib/m.js'; {body} return seen;"),
            &[("lib/m.js", "export const a = 1, b = 2;")],
            "TypeErrorfalsea,b",
        );
        let text = format!("import * as m from './b.js'; {body} export {{ seen }};");
        check(
            "import { seen } from 'lib/m.js'; return seen;",
            &[("lib/m.js", &text), ("lib/b.js", "export const a = 1, b = 2;")],
            "TypeErrorfalsea,b",
        );
    }
}

/// `m.x` and calls of functions that can't tell leave no object behind.
#[test]
fn one_is_made_only_where_it_is_a_value() {
    let made = |main: &str| {
        let text = "export const x = 1; export const arrow = () => 1; export function f() { return (function () { return this; })(); } export class C { m() { return this; } } export function g() { return () => this; } export let h = () => 1; h = () => 2; export const p = f;";
        let set =
            SourceSet::one("blueprints/x.js", format!("import * as m from 'lib/m.js'; {main}").as_str())
                .with("lib/m.js", text);
        let (module, _) = compile(&set, "blueprints/x.js").unwrap();
        module.constants.iter().any(|c| matches!(c, forebay_bytecode::Const::Namespace { .. }))
    };
    assert!(!made("return [m.x, m.arrow(), m.f(), new m.C(), m.f, m?.x];"));
    for main in ["return m;", "return m.g();", "return m.h();", "return m.p();", "return m['x'];"] {
        assert!(made(main), "{main}");
    }
}

#[test]
fn bindings_are_live_while_modules_load() {
    let files: Files<'_> = &[
        (
            "lib/a.js",
            "import { peek, early, log } from './b.js'; import * as me from './a.js'; export let n = 1; export const x = 5; log.push(peek()); n = 2; log.push(peek(), me.n, me['n']); { n++; } log.push(peek(), JSON.stringify(me)); export { early, log }; export var v; export function f() {}",
        ),
        (
            "lib/b.js",
            "import * as a from './a.js'; export const log = []; export const peek = () => ({ ...a }).n;
             const name = f => { try { return String(f()); } catch (e) { return `${e.name}: ${e.message}`; } };
             export const early = [
                () => a.n, () => a['n'], () => Object.keys(a), () => ({ ...a }), () => JSON.stringify(a), () => Object.entries(a), () => Object.values(a),
                () => { for (const k in a) return k; }, () => Object.getOwnPropertyDescriptor(a, 'n'), () => Object.hasOwn(a, 'n'),
                () => Object.prototype.propertyIsEnumerable.call(a, 'n'), () => Object.seal(a), () => Object.assign({}, a), () => Object.create(a).n, () => { const { n } = a; },
                () => 'n' in a, () => 'q' in a, () => Object.getOwnPropertyNames(a), () => { delete a.n; }, () => { a.n = 1; }, () => Object.preventExtensions(a) === a,
                () => typeof a.f, () => a.v, () => a['q'], () => Object.getOwnPropertyDescriptor(a, 'v').writable, () => a['__lookupGetter__'], () => Object.prototype.__lookupGetter__.call(a, 'v'), () => typeof a,
            ].map(name);",
        ),
    ];
    let main = "import { log, early } from 'lib/a.js'; return [log, early];";
    let found = run(main, files);
    let n = "ReferenceError: Cannot access 'n' before initialization";
    let early: Vec<String> = [
        vec![n; 2],
        // The first of a, early, f, log, n, v, x that has no value yet.
        vec!["ReferenceError: Cannot access 'early' before initialization"; 6],
        vec![n; 3],
        vec!["ReferenceError: Cannot access 'early' before initialization"; 2],
        vec![n; 2],
        vec!["true", "false", "early,f,log,n,v,x"],
        vec!["TypeError: Cannot delete property 'n' of [object Module]"],
        vec!["TypeError: Cannot assign to read only property 'n' of object '[object Module]'", "true"],
        vec!["function", "undefined", "undefined", "true", "undefined", "undefined", "object"],
    ]
    .concat()
    .iter()
    .map(|s| format!("{s:?}"))
    .collect();
    let log = "1,2,2,2,3";
    assert!(found.starts_with(&format!("[[{log},")), "{found}");
    let rest = found.split_once("],[").unwrap_or_default().1;
    assert!(found.ends_with(&format!("[{}]]", early.join(","))), "{}\n{rest}", early.join(","));
}

#[test]
fn stars_and_namespaces_of_namespaces() {
    let files: Files<'_> = &[
        (
            "lib/a.js",
            "export * from './b.js'; export * from './c.js'; export * as b from './b.js'; import * as c from './c.js'; export { c }; export { default as d } from './b.js'; import * as me from './a.js'; export { me }; export default c;",
        ),
        (
            "lib/b.js",
            "export const x = 1; export const both = 1; export default 'b'; export const own = 'b';",
        ),
        (
            "lib/c.js",
            "import * as b from './b.js'; export const y = 2; export const both = 2; export { own } from './b.js'; export { b };",
        ),
    ];
    check(
        "import * as a from 'lib/a.js'; import { b, c } from 'lib/a.js'; import d, * as again from 'lib/a.js';
         return [Object.keys(a), Object.keys(b), Object.keys(a.c), a.me === a, a.me.me.x, a.b === b, a.c === c, c.b === b, b.x, a.b.x, a.c.b.x, a.default === c, d === c, again === a, a.d, a['own']];",
        files,
        r#"[["b","c","d","default","me","own","x","y"],["both","default","own","x"],["b","both","own","y"],true,1,true,true,true,1,1,1,true,true,true,"b","b"]"#,
    );
}

#[test]
fn types_are_no_properties() {
    let files: Files<'_> = &[(
        "lib/m.ts",
        "export default interface T { a: number } export type U = T; export interface V {} export const x: number = 1; type W = 1; export type { W };",
    )];
    check("import * as m from 'lib/m.ts'; return Object.getOwnPropertyNames(m);", files, r#"["x"]"#);
}

#[test]
fn numbers_as_names_are_refused() {
    let files: Files<'_> = &[("lib/m.js", "const x = 1; export { x as '10', x as y };")];
    let refused =
        "FB0706: a namespace with a number for a name can't be used as a value: `lib/m.js` exports \"10\"";
    check("import * as m from 'lib/m.js'; return m;", files, refused);
    check("import * as m from 'lib/m.js'; return [m.y];", files, "[1]");
}

#[test]
fn large_ones() {
    let names: Vec<String> = (0..3000).map(|i| format!("export let v{i} = {i};")).collect();
    let text = names.join(" ");
    check(
        "import * as m from 'lib/m.js'; const get = o => o.v77; return [Object.keys(m).length, m['v2999'], get(m), get(m), Object.keys(m)[2], Object.getOwnPropertyDescriptor(m, 'v5').writable];",
        &[("lib/m.js", &text)],
        r#"[3000,2999,77,77,"v10",true]"#,
    );
}
