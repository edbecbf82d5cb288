//! `req` is made by what was learned of the last one: whatever that was, it is what a machine that has learned nothing
//! makes. And which handlers can see their request at all.

use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_engine::{Blueprint, BlueprintId, Entry, NoHost, RequestInput, Run, Vm, VmConfig};
use std::sync::Arc;

struct Text(&'static str);

impl forebay_compiler::Loader for Text {
    fn load(&self, _: &str) -> Option<Box<str>> {
        Some(self.0.into())
    }
}

fn load(source: &'static str) -> Arc<Blueprint> {
    let (module, _) = forebay_compiler::compile(&Text(source), "t.js").expect("compiles");
    Blueprint::load(&forebay_bytecode::verify(module).expect("verifies")).expect("loads")
}

/// The body of handler `slot` for these headers.
fn answer(vm: &mut Vm, id: BlueprintId, slot: u32, headers: &[(&str, &str)]) -> String {
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let input = RequestInput {
        path: "/a/7",
        query: "q=1&name=x+y%21&plain=z",
        params: &[("id", "7")],
        headers: &headers,
        ip: "127.0.0.1",
        ..RequestInput::empty()
    };
    let limits = TaskLimits::default();
    let task =
        vm.start(id, Entry::Handler(slot), &input, &limits, TenantId(0), Monotonic(0)).expect("starts");
    assert_eq!(vm.run(task, Monotonic(0), Timestamp(0), u64::MAX, &mut NoHost), Run::Done);
    let mut out = Vec::new();
    vm.write_body(task, &mut out).expect("a body");
    vm.finish(task);
    String::from_utf8(out).expect("text")
}

const SHOWS: &str = r#"
work("Shows").get("/a/{id}", req => {
    req.later = Object.keys(req);
    req.headers.later = Object.keys(req.headers).length;
    return { req, own: Object.getOwnPropertyDescriptor(req, "path"), plain: Object.getPrototypeOf(req.headers) === Object.prototype };
});
"#;

#[test]
fn what_was_learned_of_other_requests_shows_nowhere() {
    let blueprint = load(SHOWS);
    let machine = || {
        let mut vm = Vm::new(VmConfig::default());
        let id = vm.adopt(&blueprint).expect("address space");
        (vm, id)
    };
    let many: Vec<(String, String)> = (0..40).map(|n| (format!("x-{n}"), n.to_string())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
    let requests: [&[(&str, &str)]; 12] = [
        &[("host", "a"), ("accept", "*/*")],
        &[("host", "b"), ("accept", "text/html")],
        &[("accept", "*/*"), ("host", "b")],
        &[("host", "c")],
        &[],
        &[("host", "d"), ("x", "1"), ("x", "2")],
        &[("host", "d"), ("x", "1")],
        &[("host", "e"), ("7", "seven"), ("8", "eight")],
        &[("host", "f"), ("cookie", "a=b; c=d%20e")],
        &[("host", "g"), ("cookie", "a=\u{e9}")],
        &many[..32],
        &many,
    ];
    let (mut vm, id) = machine();
    for first in requests {
        for second in requests {
            answer(&mut vm, id, 0, first);
            let (mut fresh, same) = machine();
            assert_eq!(
                answer(&mut vm, id, 0, second),
                answer(&mut fresh, same, 0, second),
                "{first:?} {second:?}"
            );
        }
    }
    let shown = answer(&mut vm, id, 0, &[("host", "a"), ("x", "1"), ("x", "2"), ("cookie", "k=v")]);
    let expect = concat!(
        r#"{"req":{"method":"GET","path":"/a/7","ip":"127.0.0.1","params":{"id":"7"},"#,
        r#""query":{"q":"1","name":"x y!","plain":"z"},"headers":{"host":"a","x":"1, 2","cookie":"k=v","later":3},"#,
        r#""cookies":{"k":"v"},"later":["method","path","ip","params","query","headers","cookies"]},"#,
        r#""own":{"value":"/a/7","writable":true,"enumerable":true,"configurable":true},"plain":true}"#,
    );
    assert_eq!(shown, expect);
}

#[test]
fn a_handler_sees_its_request_if_it_takes_it_or_anyone_asks_for_it() {
    let sees = |source| {
        let blueprint = load(source);
        let slots = blueprint.module().handler_slots;
        (0..slots).map(|slot| blueprint.sees_request(Entry::Handler(slot))).collect::<Vec<_>>()
    };
    let two = |one| [vec![true], one].concat();
    let mixed = r#"work("A").get("/a", req => req.path); work("B").get("/b", () => 1);"#;
    assert_eq!(sees(mixed), two(vec![false]));
    let rest = r#"work("A").get("/a", (...all) => all.length); work("B").get("/b", function () { return arguments.length; });"#;
    assert_eq!(sees(rest), two(vec![true]));
    let asks = r#"const f = () => payload(); work("A").get("/a", () => f()); work("B").get("/b", () => 1);"#;
    assert_eq!(sees(asks), two(vec![true]));
    // A handler that doesn't look gets on without one.
    let blueprint = load(mixed);
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(&blueprint).expect("address space");
    assert_eq!(answer(&mut vm, id, 0, &[]), "/a/7");
    assert_eq!(answer(&mut vm, id, 1, &[]), "1");
}
