//! What a pooled task costs the engine: `cargo run --release -p forebay-engine --example task_cost [TASKS]`.
//!
//! A task from the pool, input parsed from bytes, answer written as bytes, the arena reset; 64 inputs in turn, every
//! answer compared. With TASKS it runs that many once (for callgrind); without, medians over rounds.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement: it may fail, and it reads the clock"
)]

use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_engine::{Blueprint, Entry, NoHost, RequestInput, Run, Vm, VmConfig};
use std::time::Instant;

struct Text(&'static str);

impl forebay_compiler::Loader for Text {
    fn load(&self, _: &str) -> Option<Box<str>> {
        Some(self.0.into())
    }
}

const INPUTS: usize = 64;

fn main() {
    let source = "let input = payload();\nreturn { ok: true, n: input.a + 1 };\n";
    let (module, _) = forebay_compiler::compile(&Text(source), "task.js").unwrap();
    let blueprint = Blueprint::load(&forebay_bytecode::verify(module).unwrap()).unwrap();
    let mut vm = Vm::new(VmConfig::default());
    let id = vm.adopt(&blueprint).unwrap();
    let limits = TaskLimits::default();
    let inputs: Vec<(Vec<u8>, Vec<u8>)> = (0..INPUTS)
        .map(|i| {
            let a = i * 7919 % 10_007;
            (format!("{{\"a\":{a}}}").into_bytes(), format!("{{\"ok\":true,\"n\":{}}}", a + 1).into_bytes())
        })
        .collect();
    let mut out = Vec::with_capacity(4096);
    let mut batch = |tasks: usize| {
        for at in 0..tasks {
            let (body, expect) = &inputs[at % INPUTS];
            out.clear();
            let input = RequestInput {
                method: "POST",
                content_type: Some("application/json"),
                body,
                ..RequestInput::empty()
            };
            let task = vm.start(id, Entry::Main, &input, &limits, TenantId(0), Monotonic(0)).unwrap();
            assert_eq!(vm.run(task, Monotonic(0), Timestamp(0), 200_000, &mut NoHost), Run::Done);
            vm.write_body(task, &mut out).unwrap();
            vm.finish(task);
            assert_eq!(out, *expect);
        }
    };
    if let Some(tasks) = std::env::args().nth(1).and_then(|a| a.parse().ok()) {
        return batch(tasks);
    }
    let mut times: Vec<f64> = (0..31)
        .map(|_| {
            let start = Instant::now();
            batch(65_536);
            start.elapsed().as_secs_f64() * 1e9 / 65_536.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{:.0} ns per task (median), {:.0} to {:.0}", times[15], times[0], times[30]);
}
