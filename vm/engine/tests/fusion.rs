//! Superinstructions change nothing but time: every body of the benches, shortened, gives the same answer for the
//! same fuel with and without them, in long slices and in ones so short that it stops at every safepoint.

use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_engine::{Blueprint, Entry, NoHost, RequestInput, Run, Vm, VmConfig};
use std::path::Path;
use std::sync::Arc;

struct Text(String);

impl forebay_compiler::Loader for Text {
    fn load(&self, _: &str) -> Option<Box<str>> {
        Some(self.0.as_str().into())
    }
}

/// Operands that are not what a superinstruction hopes for, in each of its places.
const ODD: &str = r#"
function bench() {
  const odd = [0, -0, 1, -1, 7, 2147483647, -2147483648, 1.5, NaN, "3", "x", null, undefined, true, [2], { valueOf: () => 4 }];
  const out = [];
  for (const x of odd) {
    out.push(x < 3, x <= 3, x > 3, x >= 3, x === 7, x !== 7, x === undefined, x !== undefined);
    let s = "";
    if (x < 3) s += "a";
    if (x <= 1) s += "b";
    if (x > 3) s += "c";
    if (x >= 4) s += "d";
    if (x === 7) s += "e";
    if (x !== 1) s += "f";
    if (x === undefined) s += "g";
    if (x !== undefined) s += "h";
    out.push(s, x + 1, x - 1, x * 3, x * 0, x % 5, x & 6);
    let y = x;
    try { y++; } catch (e) { s += e.message; }
    let z = x;
    out.push(z++, z, y);
    for (const w of odd) {
      let t = "";
      if (x < w) t += "1";
      if (x <= w) t += "2";
      if (x > w) t += "3";
      if (x >= w) t += "4";
      if (x === w) t += "5";
      if (x !== w) t += "6";
      out.push(t, ((a, b) => a + b)(x, w));
    }
    out.push(((o) => o?.length)(x));
    try { out.push((o => o.length)(x)); } catch (e) { out.push(e.message); }
    if (!(x < -9)) try { for (let i = x; i < 3; i++) out.push(i); } catch (e) { out.push(e.message); }
  }
  return out.map(v => (Object.is(v, -0) ? "-0" : String(v))).join();
}
"#;

fn run(blueprint: &Arc<Blueprint>, slice: u64) -> (String, u64) {
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(blueprint).expect("address space");
    let (input, limits) = (RequestInput::empty(), TaskLimits::default());
    let task = vm.start(id, Entry::Handler(0), &input, &limits, TenantId(0), Monotonic(0)).expect("starts");
    loop {
        match vm.run(task, Monotonic(0), Timestamp(0), slice, &mut NoHost) {
            Run::SliceOver => {}
            Run::Done => break,
            other => panic!("{other:?}: {:?}", vm.error(task)),
        }
    }
    let fuel = vm.usage(task).1;
    let mut body = Vec::new();
    vm.write_body(task, &mut body).expect("an answer");
    vm.finish(task);
    (String::from_utf8(body).expect("text"), fuel)
}

fn check(name: &str, text: &str) -> bool {
    let text = format!("{text}\nwork(\"bench\").post(\"/bench\", () => String(bench()));\n");
    let Ok((module, _)) = forebay_compiler::compile(&Text(text), "bench.js") else { return false };
    let module = forebay_bytecode::verify(module).expect("the compiler's code is right");
    let fused = Blueprint::load(&module).expect("loads");
    let plain = Blueprint::load_unfused(&module).expect("loads");
    let expect = run(&plain, u64::MAX);
    assert_eq!(run(&fused, u64::MAX), expect, "{name}");
    // In short slices natives overdraw differently, so only the answers are compared.
    assert_eq!(run(&fused, 40).0, expect.0, "{name} in short slices");
    assert_eq!(run(&plain, 40).0, expect.0, "{name} unfused in short slices");
    true
}

#[test]
fn fused_code_does_what_its_parts_do() {
    assert!(check("odd operands", ODD));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/peers-vm/bodies");
    let mut ran = 0;
    for entry in std::fs::read_dir(&folder).expect("the bodies of the benches") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("text");
        let short = text
            .replace("10000000", "3000")
            .replace("1000000;", "1000;")
            .replace("fib(30)", "fib(13)")
            .replace("i < 100000;", "i < 200;")
            .replace("i < 50000;", "i < 100;")
            .replace("i < 20000;", "i < 300;")
            .replace("i < 10000;", "i < 100;")
            .replace("round < 200;", "round < 2;")
            .replace("round < 40;", "round < 2;")
            .replace("round < 30;", "round < 1;")
            .replace("round < 20;", "round < 2;")
            .replace("i < 1000; i++) {\n    const order", "i < 20; i++) {\n    const order")
            .replace("i < 10; i++) {\n    const data", "i < 2; i++) {\n    const data");
        ran += usize::from(check(&path.display().to_string(), &short));
    }
    assert!(ran >= 11, "only {ran} bodies were built");
}
