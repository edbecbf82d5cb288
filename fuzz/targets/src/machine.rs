//! What becomes code: bytecode files, snapshots, blueprints.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId, Timestamp};
use forebay_bytecode::format::{HEADER_BYTES, MAGIC, VERSION};
use forebay_bytecode::{decode, disassemble, encode, verify};
use forebay_compiler::{SourceSet, compile};
use forebay_engine::{
    Blueprint, Entry, NoHost, Packing, RecordKey, RequestInput, RestoreInput, Run, Snapshot, TaskHandle, Vm,
    VmConfig,
};
use sha2::{Digest as _, Sha256};

/// Little enough that one input takes milliseconds.
fn limits() -> TaskLimits {
    TaskLimits {
        fuel: 20_000,
        memory: 4 << 20,
        stack_depth: 200,
        fibers: 50,
        effects: 50,
        wall_time: Duration::from_secs(60),
    }
}

/// Runs a task to its end or for a while; every effect gets a number.
fn drive(vm: &mut Vm, task: TaskHandle) {
    let mut effects = Vec::new();
    for _ in 0..50 {
        match vm.run(task, Monotonic(6), Timestamp(0), 2_000, &mut NoHost) {
            Run::SliceOver => {}
            Run::Parked => {
                vm.take_effects(task, &mut effects);
                let Some(effect) = effects.pop() else { break };
                let _ = vm.resume(task, effect.id, &mut |sink| sink.int(1));
            }
            Run::Done => {
                let _ = vm.write_body(task, &mut Vec::new());
                break;
            }
            Run::Trap(_) => {
                let _ = vm.error(task);
                break;
            }
        }
    }
    vm.finish(task);
}

/// A bytecode file with a right header: `data` is one, or what stands behind its header.
fn sealed(data: &[u8]) -> Vec<u8> {
    let body = if data.starts_with(&MAGIC) { data.get(HEADER_BYTES..).unwrap_or_default() } else { data };
    let mut file = Vec::with_capacity(HEADER_BYTES + body.len());
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.extend_from_slice(&[0; 6]);
    file.extend_from_slice(&(body.len() as u64).to_le_bytes());
    let mut hash = Sha256::new();
    hash.update(&file);
    hash.update(body);
    file.extend_from_slice(&hash.finalize());
    file.extend_from_slice(body);
    file
}

/// A bytecode file: refused, or verified and run within its budgets.
pub fn bytecode(data: &[u8]) {
    let _ = decode(data);
    let Ok(module) = decode(&sealed(data)) else { return };
    let Ok(verified) = verify(module) else { return };
    let bytes = encode(&verified);
    assert!(decode(&bytes).is_ok_and(|again| encode(&again) == bytes), "what was read is written as it was");
    let _ = disassemble(&verified);
    let Ok(blueprint) = Blueprint::load(&verified) else { return };
    let mut vm = Vm::new(VmConfig { tasks: 2, ..VmConfig::default() });
    let Some(id) = vm.adopt(&blueprint) else { return };
    let handlers = blueprint.module().handler_slots.min(4);
    for entry in (0..handlers).map(Entry::Handler).chain([Entry::Main]) {
        let input = RequestInput { method: "POST", path: "/a", body: b"{\"n\":3}", ..RequestInput::empty() };
        if let Ok(task) = vm.start(id, entry, &input, &limits(), TenantId(0), Monotonic(0)) {
            drive(&mut vm, task);
        }
    }
}

/// Scripts that reach much of the machine.
const SCRIPTS: [&str; 3] = [
    "const make = (a, { b = 2, ...rest } = {}) => ({ up: () => ++a, get n() { return a; }, k: [...Object.keys(rest)] }); const o = make(1, { c: 3 }); o.up(); const m = new Map([[o, kv.get('a')]]); let t = ''; for (const [k, v] of m) t += k.n + v; await null; kv.set('b', { t, o: [1.5, 2n, new Date(0)] }); try { null.x; } catch (e) { t += e.message; } return [t, sleep(5)];",
    "function* g(n) { try { for (let i = 0; i < n; i++) yield i; } finally { kv.get('end'); } } class A { #n = 1; get n() { return this.#n; } } const all = [...g(3), new A().n]; for (const v of g(4)) { all.push(kv.incr('k' + v)); if (v === 2) break; } return all.map(x => x * 2).sort((a, b) => b - a);",
    "work('W').get('/w/{id}', req => ({ id: req.params.id, rows: db().table('t').where(r => r.a > 3).get() }));",
];

/// Files that are right.
#[must_use]
pub fn bytecode_seeds() -> Vec<Vec<u8>> {
    let build = |text: &&str| {
        let module = compile(&SourceSet::one("a.js", text), "a.js").ok()?.0;
        let verified = verify(module).ok()?;
        Some(encode(&verified))
    };
    SCRIPTS.iter().filter_map(build).collect()
}

type Records = Vec<(RecordKey, Vec<u8>)>;

/// A blueprint, and its task as it was at each stop.
fn stops() -> &'static Option<(Arc<Blueprint>, Vec<Records>)> {
    static STOPS: OnceLock<Option<(Arc<Blueprint>, Vec<Records>)>> = OnceLock::new();
    STOPS.get_or_init(|| {
        let module = compile(&SourceSet::one("a.js", SCRIPTS[0]), "a.js").ok()?.0;
        let blueprint = Blueprint::load(&verify(module).ok()?).ok()?;
        let mut vm = Vm::new(VmConfig::default());
        let id = vm.adopt(&blueprint)?;
        let input = RequestInput::empty();
        let task = vm.start(id, Entry::Main, &input, &limits(), TenantId(0), Monotonic(0)).ok()?;
        let (mut states, mut effects) = (Vec::new(), Vec::new());
        for _ in 0..16 {
            let mut snapshot = Snapshot::new();
            vm.snapshot(task, Packing::Keep, Monotonic(5), &mut snapshot).ok()?;
            states.push(snapshot.records().map(|(key, bytes)| (key, bytes.to_vec())).collect());
            match vm.run(task, Monotonic(6), Timestamp(0), 40, &mut NoHost) {
                Run::SliceOver => {}
                Run::Parked => {
                    vm.take_effects(task, &mut effects);
                    let Some(effect) = effects.pop() else { break };
                    let _ = vm.resume(task, effect.id, &mut |sink| sink.int(1));
                }
                Run::Done | Run::Trap(_) => break,
            }
        }
        Some((blueprint, states))
    })
}

/// Records of a task with changes in them, whose checksums are right: refused, or run within their budgets.
///
/// # Panics
/// If the task can't be made that is changed: then nothing would be tested.
pub fn snapshot(data: &[u8]) {
    let Some((blueprint, states)) = stops() else { panic!("no task to save") };
    let Some((which, edits)) = data.split_first() else { return };
    let mut records = states[usize::from(*which) % states.len()].clone();
    let mut files: Vec<&mut Vec<u8>> = records.iter_mut().map(|(_, bytes)| bytes).collect();
    crate::change(&mut files, edits);
    forebay_engine::snapshot::reseal(&mut records);
    let mut vm = Vm::new(VmConfig { tasks: 2, ..VmConfig::default() });
    let Some(id) = vm.adopt(blueprint) else { return };
    let limits = limits();
    let input =
        RestoreInput { limits: &limits, tenant: TenantId(0), now: Monotonic(5), fresh_wall_time: true };
    if let Ok(task) = vm.restore(id, records.iter().map(|(key, bytes)| (*key, bytes.as_slice())), &input) {
        let _ = vm.snapshot(task, Packing::Keep, Monotonic(6), &mut Snapshot::new());
        drive(&mut vm, task);
    }
}

/// A blueprint: refused with a diagnostic, or a module that the verifier accepts.
///
/// # Panics
/// If the verifier refuses what the compiler made.
pub fn script(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for name in ["a.js", "a.ts", "a.sxs"] {
        match compile(&SourceSet::one(name, &text), name) {
            Ok((module, _)) => {
                if let Err(error) = verify(module) {
                    panic!("{name}: {error}");
                }
            }
            Err(diagnostics) => assert!(!diagnostics.is_empty(), "refused, and nobody says why"),
        }
    }
}

/// Blueprints that are right, of each language.
#[must_use]
pub fn script_seeds() -> Vec<Vec<u8>> {
    let others = [
        "type A<T> = { [K in keyof T]?: T[K] }; const f = <T,>(x: T): T => x!; export {}; return f<number>(3) as any satisfies unknown;",
        "(work \"A\" (post \"/a/{id}\"))\n(let $x (core/kv/get (param \"id\")))\n(each $y (list 1 -2.5 true) { (while false 1) })\n(response 201 (map \"x\" (at $x \"a\" 0) \"y\" (or $x 1)))",
    ];
    SCRIPTS.iter().chain(&others).map(|text| text.as_bytes().to_vec()).collect()
}
