//! Modules: the order of top levels, cycles, live bindings, what is there too early (ECMA-262 16.2.1).

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_bytecode::verify;
use forebay_compiler::{SourceSet, compile};
use forebay_engine::{Blueprint, Entry, LoadError, NoHost, RequestInput, Run, Vm, VmConfig};

/// What a script answers that imports from these files; or how its modules fail to load.
fn run(main: &str, files: &[(&str, &str)]) -> Result<String, String> {
    let set =
        files.iter().fold(SourceSet::one("blueprints/x.js", main), |set, (path, text)| set.with(path, text));
    let (module, _) =
        compile(&set, "blueprints/x.js").map_err(|errors| format!("build: {}", errors[0].message))?;
    let blueprint = Blueprint::load(&verify(module).unwrap()).map_err(|e| match e {
        LoadError::Init(report) => format!("{}: {}", report.name, report.message),
        other => format!("{other:?}"),
    })?;
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(&blueprint).unwrap();
    let (now, limits) = (Monotonic(0), TaskLimits::default());
    let task = vm.start(id, Entry::Main, &RequestInput::empty(), &limits, TenantId(0), now).unwrap();
    match vm.run(task, now, Timestamp(0), 1_000_000, &mut NoHost) {
        Run::Done => {
            let mut out = Vec::new();
            vm.write_body(task, &mut out).unwrap();
            Ok(String::from_utf8(out).unwrap())
        }
        _ => Err(vm.error(task).message.to_string()),
    }
}

fn check(main: &str, files: &[(&str, &str)], expected: &str) {
    assert_eq!(run(main, files).unwrap_or_else(|e| e), expected, "{files:?}");
}

const LOG: (&str, &str) = ("lib/log.js", "export const log = [];");

#[test]
fn top_levels_run_once_imports_first_in_the_order_of_the_text() {
    let files = &[
        LOG,
        ("lib/a.js", "import './b.js'; import './c.js'; import { log } from './log.js'; log.push('a');"),
        ("lib/b.js", "import './d.js'; import { log } from './log.js'; log.push('b');"),
        ("lib/c.js", "import './d.js'; import { log } from './log.js'; log.push('c');"),
        ("lib/d.js", "import { log } from './log.js'; log.push('d');"),
    ];
    check("import 'lib/a.js'; import { log } from 'lib/log.js'; return log;", files, r#"["d","b","c","a"]"#);
}

#[test]
fn functions_of_a_cycle_exist_before_its_top_levels_run() {
    let files = &[
        (
            "lib/a.js",
            "import { fromB } from './b.js'; export function f(n) { return n > 0 ? g(n - 1) : 'a'; } import { g } from './b.js'; export const seen = fromB; export default function () { return 'default'; }",
        ),
        (
            "lib/b.js",
            "import { f } from './a.js'; import d from './a.js'; export function g(n) { return n > 0 ? f(n - 1) : 'b'; } export const fromB = [f(2), f(3), typeof f, d(), d.name];",
        ),
    ];
    check(
        "import { seen, f } from 'lib/a.js'; return [seen, f(1)];",
        files,
        r#"[["a","b","function","default","default"],"b"]"#,
    );
}

#[test]
fn imports_are_the_variables_themselves() {
    let files = &[
        (
            "lib/a.js",
            "import { peek, again } from './b.js'; export let n = 1; const first = peek(); n = 2; n++; export const seen = [first, peek(), again()]; export { n as renamed };",
        ),
        (
            "lib/b.js",
            "import { n, renamed } from './a.js'; import * as all from './a.js'; export function peek() { return n; } export const again = () => [renamed, all.n];",
        ),
    ];
    check("import { seen, n } from 'lib/a.js'; return [seen, n];", files, "[[1,3,[3,3]],3]");
}

#[test]
fn what_is_read_before_its_turn_throws() {
    let early = |declaration: &str| {
        let a = format!("import './b.js'; {declaration}");
        let files = [
            ("lib/a.js", a.as_str()),
            ("lib/b.js", "import { x } from './a.js'; export const y = typeof x;"),
        ];
        run("import 'lib/a.js'; import { y } from 'lib/b.js'; return y;", &files)
    };
    let refused = Err("ReferenceError: Cannot access 'x' before initialization".to_owned());
    assert_eq!(early("export const x = 1;"), refused);
    assert_eq!(early("export let x;"), refused);
    assert_eq!(early("export class x {}"), refused);
    assert_eq!(
        early("const y = 1; export { y as x };"),
        Err("ReferenceError: Cannot access 'y' before initialization".to_owned())
    );
    assert_eq!(early("export var x = 1;"), Ok("undefined".to_owned()));
    assert_eq!(early("export function x() {}"), Ok("function".to_owned()));
    assert_eq!(early("export function* x() {}"), Ok("function".to_owned()));
}

#[test]
fn a_module_may_import_itself_and_cycles_may_be_long() {
    check(
        "import { f } from 'lib/a.js'; return f();",
        &[(
            "lib/a.js",
            "import * as me from './a.js'; import { g as again } from './a.js'; export function g() { return 7; } export const f = () => [me.g(), again()];",
        )],
        "[7,7]",
    );
    let files = &[
        LOG,
        (
            "lib/a.js",
            "import './b.js'; import { log } from './log.js'; log.push('a'); export function fa() { return 'fa'; }",
        ),
        ("lib/b.js", "import './c.js'; import { log } from './log.js'; log.push('b');"),
        ("lib/c.js", "import { fa } from './a.js'; import { log } from './log.js'; log.push('c' + fa());"),
    ];
    check("import 'lib/b.js'; import { log } from 'lib/log.js'; return log;", files, r#"["a","cfa","b"]"#);
}

#[test]
fn re_exports_lead_to_the_variable() {
    let files = &[
        (
            "lib/a.js",
            "export * from './b.js'; export { x as y, default as d } from './b.js'; export * as all from './b.js'; export const own = 1;",
        ),
        ("lib/b.js", "export let x = 1; x = 2; export default x; x = 3; export * from './a.js';"),
    ];
    check(
        "import { x, y, d, own, all } from 'lib/a.js'; import * as b from 'lib/b.js'; return [x, y, d, own, all.x, b.own];",
        files,
        "[3,3,2,1,3,1]",
    );
}

#[test]
fn what_a_module_makes_is_shared_and_stays_as_it_is() {
    let files = &[(
        "lib/a.js",
        "export const g = (function* () { yield 1; })(); export const it = [1, 2].values(); export const m = new Map([[1, 2]]).entries(); export const s = 'ab'[Symbol.iterator](); export const settled = Promise.resolve(5); const hold = {}; export const pending = new Promise(r => { hold.settle = r; }); export const settle = hold.settle; export const ag = (async function* () { yield 1; })(); export const re = /a/g; export const mapped = [1].values().map(x => x);",
    )];
    let main = "import { g, it, m, s, settled, settle, pending, ag, re, mapped } from 'lib/a.js';
        const out = [await settled, await settled.then(x => x + 1)];
        const tries = [() => g.next(), () => g.return(1), () => { for (const x of g) {} }, () => it.next(), () => m.next(), () => s.next(), () => [...it], () => mapped.next(), () => settle(1), () => pending.then(() => {}), () => re.exec('a')];
        for (const f of tries) { try { f(); out.push('no'); } catch (e) { out.push(e.name); } }
        try { await ag.next(); } catch (e) { out.push(e.name); }
        try { await pending; } catch (e) { out.push(e.name); }
        return out;";
    let t = r#""TypeError""#;
    let expected = format!("[5,6,{}]", vec![t; 13].join(","));
    check(main, files, &expected);
}
