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

/// Natives with a short form (builtins/quick.rs) beside the same natives called otherwise.
const METHODS: &str = r#"
function bench() {
  let rope = "";
  for (let i = 0; i < 40; i++) rope += "0123456789".slice(i % 3) + i;
  const texts = ["", "x", "axb", "\u00e9x", "\u{1f600}x", "\ud83d", "\ude00x", "a".repeat(300) + "x", "y".repeat(16), rope];
  const out = [];
  const same = (name, a, b) => {
    if (!Object.is(a, b)) throw new Error(`${name}: ${a}, but ${b}`);
    out.push(a);
  };
  for (const t of texts) {
    for (const s of ["x", "", "39", "\u00e9", "\ude00", "\ud83d", "ab", "yyy", undefined, 3]) {
      same("includes", t.includes(s), "".includes.call(t, s));
      same("indexOf", t.indexOf(s), "".indexOf.call(t, s));
      same("startsWith", t.startsWith(s), "".startsWith.call(t, s));
    }
    same("includes", t.includes("x"), "".includes.call(t, "x"));
    same("indexOf", t.indexOf("x"), "".indexOf.call(t, "x"));
    same("startsWith", t.startsWith("a"), "".startsWith.call(t, "a"));
    for (const i of [0, 1, -1, 2.5, 400, "1", undefined]) same("charCodeAt", t.charCodeAt(i), "".charCodeAt.call(t, i));
    same("charCodeAt", t.charCodeAt(), "".charCodeAt.call(t));
    same("replaceAll", t.replaceAll("x", "<&>"), t.split("x").join("<&>"));
    same("replaceAll", t.replaceAll("3", ""), t.split("3").join(""));
    same("template", `<${t}|${t.length}|${-7}|${0}>`, "<" + t + "|" + t.length + "|" + -7 + "|" + 0 + ">");
    same("template", `${t}${t}`, [t, t].join(""));
    same("again", `${t}\ude00`.length, t.length + 1);
  }
  for (const t of [["x"], { includes: s => s + "!" }]) out.push(t.includes("x"));
  for (const n of [0.5, -0.5, -0, 0, 1, 2147483647.5, 2147483648, -2147483648, -2147483648.5, 1e21, NaN, Infinity, "3.5", null, [7.5]]) {
    for (const f of ["floor", "ceil", "abs", "sqrt"]) same(f, Math[f](n), Math[f].call(null, n));
    same("floor", Math.floor(n), Math.floor.call(null, n));
  }
  same("floor", Math.floor(), NaN);
  const numbers = [Math.random(), Math.random(), Math.random.call(null)];
  same("random", new Set(numbers).size, 3);
  const list = [];
  for (let i = 1; i < 20; i++) same("push", list.push(i), i);
  same("push", list.push(), 19);
  same("push", list.push(1, 2), 21);
  try { Object.freeze(list).push(3); } catch (e) { out.push(e.name); }
  const words = ["\u{1f600}b", "\uffee", "\u{1f600}a", "abcdefgh2", "abcdefgh1", "abcdefgh", "", "a\0", "a", "\ud800", "zz"];
  const sorted = words.map(w => ({ w })).sort((a, b) => (a.w < b.w ? -1 : a.w > b.w ? 1 : 0)).map(o => o.w);
  same("sort", sorted.join("|"), [...words].sort().join("|"));
  same("sort", words.slice(3, 7).map(w => ({ w })).sort((a, b) => (a.w < b.w ? -1 : 1)).map(o => o.w).join("|"), "|abcdefgh|abcdefgh1|abcdefgh2");
  String.prototype.includes = function (s) { return `mine ${this} ${s}`; };
  same("patched", "abc".includes("b"), "mine abc b");
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
    assert!(check("methods", METHODS));
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
