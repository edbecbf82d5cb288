//! What one request costs the engine: a task from the pool, input parsed from bytes, answer written as bytes, the
//! arena reset. 64 inputs in turn, so that nothing can be remembered from the last one; every answer is compared
//! with what it must be; heap allocations are counted.

use crate::engines::build;
use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_engine::{BlueprintId, Entry, NoHost, RequestInput, Run, Vm, VmConfig};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counts what goes through it.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands every request to the system's allocator unchanged; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

const POOLED: &str = "let input = payload();\nreturn { ok: true, n: input.a + 1 };\n";

const INPUTS: usize = 64;
const BATCH: usize = 64 * 1024;

struct Case {
    name: &'static str,
    text: String,
    entry: Entry,
    inputs: Vec<(Vec<u8>, Vec<u8>)>,
}

fn pooled() -> Case {
    let inputs = (0..INPUTS)
        .map(|i| {
            let a = i * 7919 % 10_007;
            (format!("{{\"a\":{a}}}").into_bytes(), format!("{{\"ok\":true,\"n\":{}}}", a + 1).into_bytes())
        })
        .collect();
    Case { name: "pooled isolated task", text: POOLED.into(), entry: Entry::Main, inputs }
}

/// The body of bodies/order.js as a handler of a request.
fn order() -> Case {
    let text = include_str!("../bodies/order.js");
    let handler = text.split("const INPUTS").next().unwrap_or("");
    let text = format!("{handler}\nwork(\"order\").post(\"/order\", req => handle(req.json()));\n");
    let inputs = (0..INPUTS)
        .map(|i| {
            let (price, quantity) = (10.5 + i as f64, (1 + i % 3) as f64);
            let (country, rate) = [("DE", 0.19), ("FR", 0.2), ("US", 0.07), ("XX", 0.0)][i & 3];
            let subtotal = price * quantity + 3.25 * 2.0 + 20.0;
            let discount = if subtotal > 100.0 { subtotal * 0.1 } else { 0.0 };
            let tax = (subtotal - discount) * rate;
            let total = ((subtotal - discount + tax) * 100.0).round() / 100.0;
            let body = format!(
                "{{\"id\":{id},\"customer\":\"c{i}\",\"country\":\"{country}\",\"items\":[{{\"sku\":\"a{i}\",\"price\":{price},\
                 \"quantity\":{quantity}}},{{\"sku\":\"b{i}\",\"price\":3.25,\"quantity\":2}},\
                 {{\"sku\":\"c{i}\",\"price\":20,\"quantity\":1}}]}}",
                id = 1000 + i
            );
            let answer = format!(
                "{{\"order\":{id},\"customer\":\"c{i}\",\"count\":{count},\"subtotal\":{subtotal},\"discount\":{discount},\
                 \"tax\":{tax},\"total\":{total},\"reference\":\"{country}-{id}\"}}",
                id = 1000 + i,
                count = quantity + 3.0
            );
            (body.into_bytes(), answer.into_bytes())
        })
        .collect();
    Case { name: "order handler as a task", text, entry: Entry::Handler(0), inputs }
}

fn one(
    vm: &mut Vm,
    id: BlueprintId,
    entry: Entry,
    body: &[u8],
    limits: &TaskLimits,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let input = RequestInput {
        method: "POST",
        content_type: Some("application/json"),
        body,
        ..RequestInput::empty()
    };
    let task =
        vm.start(id, entry, &input, limits, TenantId(0), Monotonic(0)).map_err(|e| format!("{e:?}"))?;
    let run = vm.run(task, Monotonic(0), Timestamp(0), 200_000, &mut NoHost);
    let result = if run == Run::Done {
        vm.write_body(task, out).map_err(|e| e.to_string())
    } else {
        Err(format!("{run:?}: {}", vm.error(task).message))
    };
    vm.finish(task);
    result
}

/// Measures and prints both cases.
pub fn run(rounds: usize) -> Result<(), String> {
    println!();
    for case in [pooled(), order()] {
        let mut vm = Vm::new(VmConfig::default());
        let id = vm.adopt(&build(case.text)?).ok_or("no address space")?;
        let limits = TaskLimits::default();
        let mut out = Vec::with_capacity(4096);
        for (body, expect) in &case.inputs {
            out.clear();
            one(&mut vm, id, case.entry, body, &limits, &mut out)?;
            if out != *expect {
                return Err(format!(
                    "{}: {} instead of {}",
                    case.name,
                    String::from_utf8_lossy(&out),
                    String::from_utf8_lossy(expect)
                ));
            }
        }
        let mut times = Vec::new();
        let mut allocations = 0;
        for _ in 0..=rounds * 3 {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            let start = Instant::now();
            for at in 0..BATCH {
                let (body, expect) = &case.inputs[at % INPUTS];
                out.clear();
                one(&mut vm, id, case.entry, body, &limits, &mut out)?;
                if out != *expect {
                    return Err(format!("{}: a wrong answer", case.name));
                }
            }
            times.push(start.elapsed().as_nanos() as f64 / BATCH as f64);
            allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        }
        times.remove(0);
        times.sort_by(f64::total_cmp);
        println!(
            "{}: {:.0} ns (least {:.0}, most {:.0}), {:.3} heap allocations per task",
            case.name,
            times[times.len() / 2],
            times[0],
            times[times.len() - 1],
            allocations as f64 / BATCH as f64
        );
    }
    Ok(())
}
