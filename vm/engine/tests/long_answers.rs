//! An answer of megabytes is written in pieces, between which other tasks have their turn.

use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_engine::{
    Blueprint, BlueprintId, Entry, NoHost, RequestInput, Run, TaskHandle, Trap, Vm, VmConfig,
};
use std::time::Duration;

struct Text(&'static str);

impl forebay_compiler::Loader for Text {
    fn load(&self, _: &str) -> Option<Box<str>> {
        Some(self.0.into())
    }
}

/// Fuel of a slice: less than a piece of the answer costs.
const SLICE: u64 = 2_000;

struct Bench {
    vm: Vm,
    id: BlueprintId,
    limits: TaskLimits,
}

impl Bench {
    fn new(source: &'static str) -> Self {
        let (module, _) = forebay_compiler::compile(&Text(source), "t.js").expect("compiles");
        let module = forebay_bytecode::verify(module).expect("verifies");
        let blueprint = Blueprint::load(&module).expect("loads");
        let mut vm = Vm::new(VmConfig::default());
        let id = vm.adopt(&blueprint).expect("address space");
        Self { vm, id, limits: TaskLimits::default() }
    }

    fn start(&mut self, body: &str) -> TaskHandle {
        let input = RequestInput { method: "POST", body: body.as_bytes(), ..RequestInput::empty() };
        self.vm.start(self.id, Entry::Main, &input, &self.limits, TenantId(0), Monotonic(0)).expect("starts")
    }

    fn slice(&mut self, task: TaskHandle, fuel: u64) -> Run {
        self.vm.run(task, Monotonic(0), Timestamp(0), fuel, &mut NoHost)
    }

    fn body(&mut self, task: TaskHandle) -> Result<String, String> {
        let mut out = b"head ".to_vec();
        self.vm.write_body(task, &mut out).map_err(|error| error.to_string())?;
        let text = String::from_utf8(out).expect("text");
        Ok(text.strip_prefix("head ").expect("what was there before").to_owned())
    }

    /// The answer in short slices: how many there were after the one in which the handler itself had ended, and the text.
    fn in_slices(&mut self, body: &str) -> (usize, Result<String, String>) {
        let task = self.start(body);
        let mut slices = 0;
        let mut fuel = u64::MAX / 4;
        // The handler ends in the first: it has all the fuel there is, and so has the answer.
        if body.contains("short") {
            fuel = SLICE;
        }
        loop {
            match self.slice(task, fuel) {
                Run::SliceOver => slices += 1,
                Run::Done => break,
                other => panic!("{other:?}"),
            }
        }
        let text = self.body(task);
        self.vm.finish(task);
        (slices, text)
    }
}

const ROWS: &str = "
const {rows, odd} = payload();
const list = [];
for (let i = 0; i < rows; i++) list.push({id: i, name: `row ${i}`, price: i / 4, tags: ['a', 'b'], none: undefined});
return odd === 'getter' ? [list, {get a() { return 1 }}] : odd === 'ring' ? (list.push(list), list)
    : odd === 'big' ? {list, big: 12345678901234567890n} : odd === 'head' ? response(list, {status: 201}) : list;
";

/// The same text in one slice and in many.
#[test]
fn pieces_make_the_same_text() {
    let mut bench = Bench::new(ROWS);
    for odd in ["", "getter", "ring", "big", "head"] {
        let (none, whole) = bench.in_slices(&format!("{{\"rows\":20000,\"odd\":\"{odd}\"}}"));
        assert_eq!(none, 0);
        let (some, pieces) = bench.in_slices(&format!("{{\"rows\":20000,\"odd\":\"{odd}\",\"short\":1}}"));
        assert!(some > 10, "{some} slices");
        assert_eq!(pieces, whole, "{odd}");
        match (odd, whole) {
            ("getter" | "ring", whole) => assert!(whole.is_err()),
            (_, whole) => {
                let whole = whole.expect("a body");
                assert!(
                    whole.len() > 1_000_000
                        && whole.contains("{\"id\":19999,\"name\":\"row 19999\",\"price\":4999.75,")
                );
            }
        }
    }
}

/// What holds the core is a piece, not the answer: so many slices, and another task ends between two of them.
#[test]
fn a_large_answer_doesnt_hold_another_task() {
    let mut bench = Bench::new(ROWS);
    let large = bench.start("{\"rows\":50000}");
    // The handler runs to its end; then its answer is begun.
    let mut slices = 0;
    while bench.vm.response(large).is_none() {
        assert_eq!(bench.slice(large, SLICE), Run::SliceOver);
        slices += 1;
    }
    assert!(slices > 100, "{slices} slices of the handler");
    let fuel = bench.vm.usage(large).1;
    let mut turns = 0;
    loop {
        let small = bench.start("{\"rows\":1}");
        assert_eq!(bench.slice(small, 200_000), Run::Done);
        assert_eq!(
            bench.body(small).expect("a body"),
            "[{\"id\":0,\"name\":\"row 0\",\"price\":0,\"tags\":[\"a\",\"b\"]}]"
        );
        bench.vm.finish(small);
        turns += 1;
        match bench.slice(large, SLICE) {
            Run::SliceOver => {}
            Run::Done => break,
            other => panic!("{other:?}"),
        }
    }
    let text = bench.body(large).expect("a body");
    assert!(turns > text.len() / 65_536 / 2, "{turns} turns for {} bytes", text.len());
    // Writing is not charged to the task, as it is not where the worker asks for the body.
    assert_eq!(bench.vm.usage(large).1, fuel);
    bench.vm.finish(large);
}

/// A list of the module's own takes no memory of the task, and is as long.
#[test]
fn what_the_module_has_is_written_in_pieces_too() {
    let mut bench = Bench::new(
        "const table = Array.from({length: 20000}, (_, i) => ({i, text: `row ${i}`}));
         work('T').get('/t', () => ({n: table.length, table}));",
    );
    let input = RequestInput::empty();
    let task = bench
        .vm
        .start(bench.id, Entry::Handler(0), &input, &bench.limits, TenantId(0), Monotonic(0))
        .expect("starts");
    let mut slices = 0;
    while bench.slice(task, SLICE) == Run::SliceOver {
        slices += 1;
    }
    let text = bench.body(task).expect("a body");
    assert!(
        text.starts_with("{\"n\":20000,\"table\":[{\"i\":0,\"text\":\"row 0\"},") && text.ends_with("}]}")
    );
    assert!(slices >= 5, "{slices} slices for {} bytes", text.len());
    bench.vm.finish(task);
}

/// Wall time ends it between two pieces; what was written is gone, and the slot's next task has nothing of it.
#[test]
fn a_long_answer_ends_with_its_time() {
    let mut bench = Bench::new(ROWS);
    bench.limits.wall_time = Duration::from_secs(1);
    let task = bench.start("{\"rows\":20000}");
    while bench.vm.response(task).is_none() {
        assert_eq!(bench.slice(task, SLICE), Run::SliceOver);
    }
    let late = Monotonic(0).after(Duration::from_secs(2));
    assert_eq!(bench.vm.run(task, late, Timestamp(0), SLICE, &mut NoHost), Run::Trap(Trap::WallTime));
    bench.vm.finish(task);
    let next = bench.start("{\"rows\":1}");
    assert_eq!(next.slot, task.slot);
    assert_eq!(bench.slice(next, 200_000), Run::Done);
    assert_eq!(bench.body(next).expect("a body").len(), 52);
    bench.vm.finish(next);
}
