//! Scripts may change the built-in objects, and only they see it: a change belongs to its task, holds for
//! every way to look, and is gone with it, whatever the core has learned meanwhile.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]
use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_bytecode::verify;
use forebay_compiler::{SourceSet, compile};
use forebay_engine::{Blueprint, BlueprintId, Entry, NoHost, RequestInput, Run, TaskHandle, Vm, VmConfig};

struct Core {
    vm: Vm,
    id: BlueprintId,
}

impl Core {
    fn new(source: &str) -> Self {
        let (module, _) = compile(&SourceSet::one("test.js", source), "test.js")
            .unwrap_or_else(|e| panic!("{source}: {e:?}"));
        let blueprint = Blueprint::load(&verify(module).unwrap()).unwrap();
        let mut vm = Vm::new(VmConfig::default());
        let id = vm.adopt(&blueprint).unwrap();
        Self { vm, id }
    }

    fn start(&mut self, body: &str) -> TaskHandle {
        let request = RequestInput { method: "POST", body: body.as_bytes(), ..RequestInput::empty() };
        let limits = TaskLimits::default();
        self.vm.start(self.id, Entry::Main, &request, &limits, TenantId(0), Monotonic(0)).unwrap()
    }

    /// One slice; the body once it is done.
    fn slice(&mut self, task: TaskHandle, fuel: u64) -> Option<String> {
        match self.vm.run(task, Monotonic(0), Timestamp(0), fuel, &mut NoHost) {
            Run::SliceOver => None,
            Run::Done => {
                let mut out = Vec::new();
                self.vm.write_body(task, &mut out).unwrap();
                self.vm.finish(task);
                Some(String::from_utf8(out).unwrap())
            }
            other => {
                let report = self.vm.error(task);
                self.vm.finish(task);
                Some(format!("{other:?} {}: {}", report.name, report.message))
            }
        }
    }

    fn call(&mut self, body: &str) -> String {
        let task = self.start(body);
        loop {
            if let Some(text) = self.slice(task, 50_000) {
                return text;
            }
        }
    }
}

/// Changes, an expression, what it gives after the change; before and afterwards it gives what it did.
const CASES: &[(&str, &str, &str)] = &[
    ("Array.prototype.last = function () { return this[this.length - 1]; };", "[1, 2].last?.()", "2"),
    ("Array.prototype.map = function () { return 'mine'; };", "[1].map(x => x)", "mine"),
    ("Object.prototype.seen = 7;", "({}).seen", "7"),
    ("Object.prototype.seen = 7;", "[].seen", "7"),
    ("Object.prototype.seen = 7;", "''.seen", "7"),
    ("Object.prototype.seen = 7;", "Math.seen", "7"),
    ("Object.prototype.seen = 7; delete Object.prototype.seen;", "({}).seen", ""),
    (
        "Object.defineProperty(Object.prototype, 'self', { get() { return typeof this; }, configurable: true });",
        "({}).self",
        "object",
    ),
    (
        "let got; Object.defineProperty(Object.prototype, 'trap', { set(v) { got = v; }, configurable: true }); \
         const o = {}; o.trap = 5; globalThis.result = got + Object.keys(o).length;",
        "globalThis.result",
        "5",
    ),
    ("delete Array.prototype.map;", "typeof [].map", "undefined"),
    (
        "delete Array.prototype.map; Object.prototype.map = () => 'from below';",
        "[1].map(x => x)",
        "from below",
    ),
    ("Array.prototype.toString = () => 'mine';", "[1, 2] + ''", "mine"),
    ("Array.prototype[1] = 'proto';", "[0, , 2].join()", "0,proto,2"),
    ("Array.prototype[1] = 'proto';", "[0, , 2][1]", "proto"),
    ("Array.prototype[1] = 'proto';", "[0, , 2].indexOf('proto')", "1"),
    ("Array.prototype[1] = 'proto';", "[0, , 2].map(x => x)[1]", "proto"),
    ("Array.prototype[1] = 'proto';", "JSON.stringify([0, , 2])", "[0,\"proto\",2]"),
    ("Array.prototype[1] = 'proto';", "[...[0, , 2]].join()", "0,proto,2"),
    ("Array.prototype.push(9); const p = Array.prototype.length;", "[].concat(Array.prototype).join()", "9"),
    (
        "Array.prototype[Symbol.iterator] = () => ({ next: () => ({ done: true }) });",
        "[...[1, 2]].length",
        "0",
    ),
    (
        "String.prototype[Symbol.iterator] = () => ({ next: () => ({ done: true }) });",
        "[...'ab'].length",
        "0",
    ),
    (
        "Object.getPrototypeOf([].values()).next = () => ({ done: true });",
        "(() => { let n = 0; for (const x of [1, 2]) n++; return n; })()",
        "0",
    ),
    ("String.prototype.trim = () => 'mine';", "' a '.trim()", "mine"),
    ("String.prototype.shout = function () { return this.toUpperCase() + '!'; };", "'a'.shout?.()", "A!"),
    ("Number.prototype.double = function () { return this * 2; };", "(4).double?.()", "8"),
    ("Math.max = () => 'mine';", "Math.max(1, 2)", "mine"),
    ("Math.floor = () => 99;", "[3, 1, 2].reverse().join()", "2,1,3"),
    ("globalThis.Set = 5;", "[...new Map([[1, 2]]).keys()].join()", "1"),
    ("globalThis.parseInt = () => 'mine';", "parseInt('1')", "mine"),
    ("Object.setPrototypeOf(Array.prototype, { added: 3 });", "[].added", "3"),
    ("Object.setPrototypeOf(Array.prototype, null);", "typeof [].hasOwnProperty", "undefined"),
    ("Object.freeze(Array.prototype);", "Object.isFrozen(Array.prototype)", "true"),
    (
        "Object.preventExtensions(Math); try { Math.extra = 1; } catch (e) { globalThis.caught = e.name; }",
        "globalThis.caught",
        "TypeError",
    ),
    (
        "Object.defineProperty(Math, 'PI2', { value: 6, enumerable: true });",
        "Object.keys(Math).join()",
        "PI2",
    ),
    (
        "Object.defineProperty(Array.prototype, 'map', { enumerable: true });",
        "Object.keys(Array.prototype).join()",
        "map",
    ),
    ("Object.prototype.seen = 1;", "(() => { let s = ''; for (const k in {}) s += k; return s; })()", "seen"),
    ("Object.prototype.toJSON = () => 'mine';", "JSON.stringify({ a: 1 })", "\"mine\""),
    ("Date.prototype.toJSON = () => 'mine';", "JSON.stringify(new Date(0))", "\"mine\""),
    ("Function.prototype.call = () => 'mine';", "(() => 1).call()", "mine"),
    ("Error.prototype.name = 'Mine';", "String(new Error('x'))", "Mine: x"),
    ("TypeError.prototype.message = 'mine';", "new TypeError().message", "mine"),
    ("Object.prototype.valueOf = () => 42;", "({}) + 1", "43"),
    ("Array.prototype.map.extra = 'own';", "[].map.extra", "own"),
    ("Object.defineProperty(Array.prototype.map, 'name', { value: 'mine' });", "[].map.name", "mine"),
    ("for (let i = 0; i < 200; i++) Array.prototype['m' + i] = i;", "[].m199", "199"),
    ("const s = Symbol.for('x'); Array.prototype[s] = 1;", "[][Symbol.for('x')]", "1"),
];

/// The probe's sites are warm from clean tasks when the changed one comes, and from it when the next comes.
#[test]
fn changes_of_builtins_belong_to_their_task() {
    let mut wrong = Vec::new();
    for (change, probe, expect) in CASES {
        let source = format!(
            "const change = payload().change;
             const probe = () => {{ try {{ return '' + (({probe}) ?? ''); }} catch (e) {{ return e.name; }} }};
             if (change) {{ probe(); {change} }}
             const first = probe();
             return first === probe() ? first : 'unstable';"
        );
        let mut core = Core::new(&source);
        let before = core.call("{}");
        core.call("{}");
        for round in 0..3 {
            let changed = core.call("{\"change\":true}");
            let after = core.call("{}");
            if changed != *expect || after != before {
                wrong.push(format!(
                    "{change} {probe}\n   round {round}: changed {changed}, expected {expect}; before {before}, after {after}"
                ));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

/// Slices of a task that changes what a loop calls, and of one that doesn't, take turns on one core.
#[test]
fn changed_and_unchanged_tasks_take_turns() {
    let source = "const { change } = payload();
        const list = [3, 4];
        let sum = 0;
        for (let i = 0; i < 20000; i++) {
            if (change && i === 100) Array.prototype.at = () => 10;
            if (change && i === 10000) Object.prototype.extra = 1;
            sum += list.at(0) + (list.extra ?? 0) + Math.abs(-1);
        }
        return sum;";
    let mut core = Core::new(source);
    let (plain, patched) = ("80000".to_owned(), (100 * 4 + 9900 * 11 + 10_000 * 12).to_string());
    for _ in 0..3 {
        let tasks = [core.start("{}"), core.start("{\"change\":true}"), core.start("{}")];
        let mut bodies = [None, None, None];
        while bodies.iter().any(Option::is_none) {
            for (task, body) in tasks.iter().zip(&mut bodies) {
                if body.is_none() {
                    *body = core.slice(*task, 3_000);
                }
            }
        }
        assert_eq!(bodies, [Some(plain.clone()), Some(patched.clone()), Some(plain.clone())]);
    }
}

/// The shared objects of a module stay immutable, and so do the built-in ones while it loads.
#[test]
fn what_requests_share_stays_fixed() {
    let mut core =
        Core::new("try { Object.prototype.x = 1; } catch (e) { return e.message; } return 'done';");
    assert_eq!(core.call("{}"), "done");
    let source = "Array.prototype.x = 1; work('A').get('/a', () => 1);";
    let (module, _) = compile(&SourceSet::one("test.js", source), "test.js").unwrap();
    let error = Blueprint::load(&verify(module).unwrap()).unwrap_err();
    assert!(format!("{error:?}").contains("while a module loads"), "{error:?}");
}

/// What a task adds to built-in objects counts against its memory.
#[test]
fn growing_a_builtin_is_bounded() {
    let mut core = Core::new("for (let i = 0; ; i++) Array.prototype['key' + i] = i;");
    let end = core.call("{}");
    assert!(end.contains("Memory") || end.contains("Fuel"), "{end}");
    let mut core = Core::new("for (let i = 0; ; i++) Array.prototype.push(i);");
    let end = core.call("{}");
    assert!(end.contains("Memory") || end.contains("Fuel"), "{end}");
}
