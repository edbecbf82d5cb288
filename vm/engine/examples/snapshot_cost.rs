//! What a suspension and a resumption cost: `cargo run --release -p forebay-engine --example snapshot_cost [KB [suspend|restore N]]`.
//!
//! A task with about 2 KB (or KB) of live state parks; its records are written and compared with the last ones, and a
//! second machine makes the task from them. No store. Medians over rounds, nanoseconds.
//!
//! With `suspend N` or `restore N` it does that N times and measures nothing: instructions under callgrind of two
//! values of N give those of one.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement: it may fail, and it reads the clock"
)]

use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_engine::{
    Blueprint, Entry, NoHost, Packing, RequestInput, RestoreInput, Run, Snapshot, Vm, VmConfig,
};
use std::time::Instant;

struct Text(String);

impl forebay_compiler::Loader for Text {
    fn load(&self, _: &str) -> Option<Box<str>> {
        Some(self.0.as_str().into())
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let kb: usize = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(2);
    let rows = kb * 6;
    let source = format!(
        "const user = {{ id: 7, name: 'somebody', mail: 'somebody@example.org', tags: ['a', 'b'] }};
         const cart = []; for (let i = 0; i < {rows}; i++) cart.push({{ sku: 'sku-' + i, count: i, price: i * 1.5 }});
         let step = 0; const next = x => step += x;
         while (true) {{ next(kv.get('k')); cart[step % 5].count = step; }}"
    );
    let (module, _) = forebay_compiler::compile(&Text(source), "cost.js").unwrap();
    let blueprint = Blueprint::load(&forebay_bytecode::verify(module).unwrap()).unwrap();
    let mut from = Vm::new(VmConfig::default());
    let mut to = Vm::new(VmConfig::default());
    let (id, other) = (from.adopt(&blueprint).unwrap(), to.adopt(&blueprint).unwrap());
    let limits = TaskLimits { fuel: u64::MAX, ..TaskLimits::default() };
    let input = RequestInput::empty();
    let mut task = from.start(id, Entry::Main, &input, &limits, TenantId(0), Monotonic(0)).unwrap();
    let mut snapshot = Snapshot::new();
    let mut last: Vec<u8> = Vec::new();
    let restore =
        RestoreInput { limits: &limits, tenant: TenantId(0), now: Monotonic(0), fresh_wall_time: true };
    let (mut suspend, mut resume, mut changed) = (Vec::new(), Vec::new(), 0);
    let mut effects = Vec::new();
    let mut arguments = std::env::args().skip(2);
    if let (Some(what), Some(count)) = (arguments.next(), arguments.next()) {
        while from.run(task, Monotonic(1), Timestamp(0), 1 << 20, &mut NoHost) != Run::Parked {}
        from.snapshot(task, Packing::Keep, Monotonic(1), &mut snapshot).unwrap();
        for _ in 0..count.parse::<u32>().unwrap() {
            if what == "suspend" {
                from.snapshot(task, Packing::Keep, Monotonic(1), &mut snapshot).unwrap();
            } else {
                let restored = to.restore(other, snapshot.records(), &restore).unwrap();
                to.finish(restored);
            }
        }
        snapshot.records().for_each(|(key, bytes)| println!("{key:?}: {} B", bytes.len()));
        return;
    }
    for round in 0..60 {
        // As a store does now and then: the task goes on from a packed snapshot.
        if round > 0 {
            from.snapshot(task, Packing::Pack, Monotonic(1), &mut snapshot).unwrap();
            from.finish(task);
            task = from.restore(id, snapshot.records(), &restore).unwrap();
            from.take_effects(task, &mut effects);
            from.resume(task, effects.pop().unwrap().id, &mut |sink| sink.int(1)).unwrap();
        }
        let (mut a, mut b) = (0.0, 0.0);
        const INNER: u32 = 200;
        for inner in 0..INNER {
            while from.run(task, Monotonic(1), Timestamp(0), 1 << 20, &mut NoHost) != Run::Parked {}
            let start = Instant::now();
            from.snapshot(task, Packing::Keep, Monotonic(1), &mut snapshot).unwrap();
            a += start.elapsed().as_secs_f64();
            let start = Instant::now();
            let restored = to.restore(other, snapshot.records(), &restore).unwrap();
            b += start.elapsed().as_secs_f64();
            to.finish(restored);
            if inner + 1 < INNER {
                from.take_effects(task, &mut effects);
                let effect = effects.pop().unwrap();
                from.resume(task, effect.id, &mut |sink| sink.int(1)).unwrap();
            }
        }
        if round > 4 {
            suspend.push(a / f64::from(INNER) * 1e9);
            resume.push(b / f64::from(INNER) * 1e9);
        }
        let whole: Vec<u8> = snapshot.records().flat_map(|(_, bytes)| bytes.to_vec()).collect();
        changed = whole.iter().zip(&last).filter(|(x, y)| x != y).count();
        last = whole;
    }
    let (live, used) = snapshot.live_and_used();
    println!(
        "live {live} B of {used} B, {} records, {} B, {changed} B differ from the last | suspend {:.0} ns, restore {:.0} ns, both {:.2} us",
        snapshot.records().count(),
        last.len(),
        median(suspend.clone()),
        median(resume.clone()),
        (median(suspend) + median(resume)) / 1000.0
    );
}
