//! The JSON reader remembers keys between the requests of a core: whatever the last bodies were, the next one is
//! read as if it were the first.

use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_engine::{Blueprint, BlueprintId, Entry, NoHost, RequestInput, Run, Vm, VmConfig};

struct Text;

impl forebay_compiler::Loader for Text {
    fn load(&self, _: &str) -> Option<Box<str>> {
        Some("return [payload(), Object.keys(payload())];\n".into())
    }
}

fn vm() -> (Vm, BlueprintId) {
    let (module, _) = forebay_compiler::compile(&Text, "t.js").expect("compiles");
    let module = forebay_bytecode::verify(module).expect("verifies");
    let blueprint = Blueprint::load(&module).expect("loads");
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(&blueprint).expect("address space");
    (vm, id)
}

fn answer((vm, id): &mut (Vm, BlueprintId), body: &str) -> String {
    let input = RequestInput { method: "POST", body: body.as_bytes(), ..RequestInput::empty() };
    let task = vm
        .start(*id, Entry::Main, &input, &TaskLimits::default(), TenantId(0), Monotonic(0))
        .expect("starts");
    let run = vm.run(task, Monotonic(0), Timestamp(0), u64::MAX, &mut NoHost);
    let mut out = Vec::new();
    match run {
        Run::Done => vm.write_body(task, &mut out).expect("an answer"),
        other => out.extend(format!("{other:?}").into_bytes()),
    }
    vm.finish(task);
    String::from_utf8(out).expect("text")
}

#[test]
fn a_body_is_read_as_if_it_were_the_first() {
    let long = "k".repeat(100);
    let bodies = [
        r#"{"a":1,"b":2}"#.to_owned(),
        r#"{"a":1,"b":2,"c":3}"#.to_owned(),
        r#"{"ab":1}"#.to_owned(),
        r#"{"a":1,"a":2}"#.to_owned(),
        r#"{"a":1,"b":{"a":1,"b":{"x":[{"y":1},{"y":2,"z":3},{"y":4}]}}}"#.to_owned(),
        r#"{"a\"":1}"#.to_owned(),
        r#"{"a":1,"1":2,"b":3}"#.to_owned(),
        r#"{"__proto__":1}"#.to_owned(),
        r#"{"a"b":1}"#.to_owned(),
        r#"{"a"#.to_owned(),
        r#"{"é":1,"a":2}"#.to_owned(),
        format!(r#"{{"{long}":1,"a":{{"{long}":2}}}}"#),
        r#"{}"#.to_owned(),
        r#"[{"a":1},{"b":2}]"#.to_owned(),
    ];
    let first: Vec<String> = bodies.iter().map(|body| answer(&mut vm(), body)).collect();
    let mut warm = vm();
    for (body, expect) in bodies.iter().zip(&first) {
        for (other, _) in bodies.iter().zip(0..) {
            answer(&mut warm, other);
            assert_eq!(answer(&mut warm, body), *expect, "{body} after {other}");
        }
    }
}
