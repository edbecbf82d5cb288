//! Bytecode that nobody compiled: mutated modules are refused, or run safely within their budgets. No panic, no hang, no
//! access outside of what is theirs.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    reason = "a test"
)]

use std::time::{Duration, Instant};

use forebay_base::limits::TaskLimits;
use forebay_base::value::ValueBuilder;
use forebay_base::{Monotonic, TenantId, Timestamp, Value, ValueSource as _};
use forebay_bytecode::module::{Capture, Const, ExceptionHandler};
use forebay_bytecode::{FunctionIndex, Instr, Module, Op, decode, disassemble, encode, verify};
use forebay_compiler::{SourceSet, compile};
use forebay_engine::{Blueprint, Entry, ErrorSpec, NoHost, RequestInput, Run, Vm, VmConfig};

/// Scripts whose modules are mutated: between them nearly every operation.
const SOURCES: &[&str] = &[
    // Arithmetic, loops, comparisons, switches, labels.
    "let s = 0; outer: for (let i = 0; i < 20; i++) { for (let j = i; j > 0; j--) { if (j % 3 === 0) continue outer; s += i * j - (i ^ j) % 5; } switch (i) { case 3: s++; break; case 4: default: s -= 2; } } let b = 2n ** 70n; do { s >>= 1; } while (s > 4); return [s, -b, ~s, !s, s ?? 1, typeof b, void 0, s > 1 ? 'a' : 'b'];",
    // Closures, cells, destructuring, spread, rest, defaults, optional chains, templates.
    "const make = (a, { b = 2, ...rest } = {}, ...more) => { let n = a; return { up: () => ++n, get n() { return n; }, set n(v) { n = v; }, ['k' + b]: [...more, ...Object.keys(rest)] }; }; const o = make(1, { c: 3 }, 4, 5); o.up(); o.n = o.n + 5; delete o.x; const [x, , y = 7] = [1, 2]; const f = () => o?.up?.(), { n: m } = o; return `${f()} ${x} ${y} ${o.k2.join('-')} ${o?.q?.z} ${m} ${'n' in o} ${o instanceof Object}`;",
    // Exceptions in every place.
    "const log = []; function f(n) { for (let i = 0; i < 3; i++) { try { if (n === i) throw new RangeError('r' + i); log.push(i); if (n === 9) return 'early'; } catch ({ message }) { log.push(message); if (n === 1) break; } finally { log.push('f'); if (n === 2) continue; } } return log.length; } return [f(0), f(1), f(2), f(9), log];",
    // Classes and private names.
    "class A { #n = 1; static s = 5; static { A.t = A.s + 1; } constructor(n) { this.#n = n; } get n() { return this.#n; } static make(n) { return new this(n); } has(o) { return #n in o; } add(k) { this.#n += k; return this; } } class B extends A { constructor(n) { super(n * 2); this.b = new.target.name; } add(k) { return super.add(k + 1); } } const b = B.make(4); return [b.add(2).n, b.b, b.has({}), A.t, B.s, b instanceof A];",
    // Generators, iteration, async, promises.
    "function* g(n) { try { for (let i = 0; i < n; i++) { const got = yield i; if (got) yield* [got, got]; } } finally { yield 'end'; } } const all = []; for (const v of g(4)) { all.push(v); if (v === 2) break; } const it = g(2); it.next(); all.push(it.next('x').value, it.return(7).value); async function* ag() { yield 1; yield await 2; } for await (const v of ag()) all.push(v); const a = async n => { await null; if (n > 2) throw new Error('no'); return n; }; all.push(await a(1)); try { await a(3); } catch (e) { all.push(e.message); } for (const k in { p: 1, q: 2 }) all.push(k); return [all, await Promise.all([1, 2].map(a))];",
    // Builtins that call back, regular expressions, JSON, Maps.
    "const m = new Map([[1, 'a'], [2, 'b']]); const r = [5, 1, 4].sort((x, y) => x - y).map((x, i) => x * i).filter(x => x).reduce((x, y) => x + y, 0); const t = 'a1b22'.replace(/[0-9]+/g, d => `<${d}>`); const { groups } = /(?<y>[0-9]{4})/.exec('in 2026'); return JSON.stringify({ r, t, y: groups.y, m: [...m].flat(), s: [...new Set('hello')], d: new Date(0).toISOString(), p: JSON.parse('{\"a\":[1,{\"b\":null}]}') });",
    // Host calls.
    "const n = kv.get('a'); kv.set('b', { n }); const rows = db().table('t').where('id', payload().id).order('id').get(); const made = db().table('t').insert({ a: 1 }).returning('id'); const one = db().table('t').where(r => r.a > n && r.b === payload().c).first(); const answer = http().get('http://example.com'); tx(() => db().table('t').delete().all()); kv.iterate('a', 0, 5, (k, v) => log(k, v)); sleep(5); const x = await Promise.all([1, 2].map(async k => kv.incr('c' + k))); return response({ n, rows, made, one, x, status: answer.status, u: uuid().length }, { status: 201, headers: { 'x-a': env('A') ?? 'none' } });",
    // Handler style: module variables, slots, several handlers.
    "import { twice, base as start } from 'lib/a.js'; const table = new Map([['k', [1, 2]]]); function sum(list) { return list.reduce((a, b) => a + b, start); } work('W').get('/w/{id}', req => ({ id: req.params.id, n: twice(sum(table.get('k'))) })).post('/w', async ({ query, headers }) => [query.a, headers.host, req_text(query)]); const req_text = q => Object.keys(q).length;",
];

/// xorshift64*: the same mutations for the same seed.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n.max(1)
    }

    /// A number near what is likely to be a bound.
    fn edge(&mut self, bound: usize) -> u32 {
        let near = [0, 1, bound.saturating_sub(1), bound, bound + 1, 255, 65_535, self.below(bound + 2)];
        near[self.below(near.len())] as u32
    }
}

/// Says how to run a failure again.
struct Told(u64, String);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "FOREBAY_SEED={} cargo test -p forebay-engine --test bytecode_fuzz\n{}",
                self.0, self.1
            );
        }
    }
}

fn modules() -> Vec<Module> {
    let lib = "export const twice = n => n * 2; export let base = 1; base += 2;";
    let build = |text: &&str| {
        let sources = SourceSet::one("a.js", text).with("lib/a.js", lib);
        compile(&sources, "a.js").unwrap_or_else(|errors| panic!("{}", errors[0])).0
    };
    SOURCES.iter().map(build).collect()
}

fn mutate_instr(instr: Instr, others: &[Instr], random: &mut Seeded) -> Instr {
    let word = instr.0;
    Instr(match random.below(8) {
        // The operands of another instruction under this operation, and the other way round.
        0 => word & 0xff | others[random.below(others.len())].0 & !0xff,
        1 => others[random.below(others.len())].0 & 0xff | word & !0xff,
        2 => word & !0xff | u64::from(Op::ALL[random.below(Op::ALL.len())] as u8),
        3 => word ^ 1 << random.below(64),
        // One of the 16-bit operands.
        4 => {
            let shift = 16 * (1 + random.below(3));
            word & !(0xffff << shift) | (random.next() & 0x3f) << shift
        }
        5 => {
            let shift = 8 * random.below(8);
            word & !(0xff << shift) | (random.next() & 0xff) << shift
        }
        6 => others[random.below(others.len())].0,
        _ => word & 0xffff_ffff | u64::from(random.edge(64)) << 32,
    })
}

/// Changes one thing in a module.
fn mutate(module: &mut Module, random: &mut Seeded) {
    let functions = module.functions.len();
    let constants = module.constants.len();
    let all: Vec<Instr> = module.functions.iter().flat_map(|f| f.code.iter().copied()).collect();
    let f = random.below(functions);
    match random.below(20) {
        0..=9 => {
            let code = &mut module.functions[f].code;
            let at = random.below(code.len());
            code[at] = mutate_instr(code[at], &all, random);
        }
        10 => {
            let code = &mut module.functions[f].code;
            let (a, b) = (random.below(code.len()), random.below(code.len()));
            code.swap(a, b);
        }
        11 => {
            let function = &mut module.functions[f];
            match random.below(8) {
                0 => function.registers = random.edge(usize::from(function.registers)) as u16,
                1 => function.parameters = random.edge(usize::from(function.parameters)) as u16,
                2 => function.flags ^= 1 << random.below(8),
                3 => function.rest = Some(random.edge(usize::from(function.registers)) as u16),
                4 => function.site_base = random.edge(module.sites.len()),
                5 => function.site_count = random.edge(function.site_count as usize),
                6 => function.name = random.edge(constants),
                _ => function.length = random.edge(4) as u16,
            }
        }
        12 => {
            let registers = usize::from(module.functions[f].registers);
            let capture = if random.below(2) == 0 {
                Capture::Register(random.edge(registers) as u16)
            } else {
                Capture::Upvalue(random.edge(4) as u16)
            };
            let captures = &mut module.functions[f].captures;
            match random.below(3) {
                0 => captures.push(capture),
                1 => drop(captures.pop()),
                _ => captures.iter_mut().for_each(|c| *c = capture),
            }
        }
        13 => {
            let length = module.functions[f].code.len();
            let registers = usize::from(module.functions[f].registers);
            module.functions[f].handlers.push(ExceptionHandler {
                start: random.edge(length),
                end: random.edge(length),
                target: random.edge(length),
                register: random.edge(registers) as u16,
            });
        }
        14 => {
            let (a, b) = (random.below(constants), random.below(constants));
            module.constants.swap(a, b);
        }
        15 if constants > 0 => {
            module.constants[random.below(constants)] = match random.below(5) {
                0 => Const::Number(f64::from_bits(random.next())),
                1 => Const::BigInt("123456789012345678901234567890".into()),
                2 => Const::Str("0".into()),
                3 => Const::Data(random.next().to_le_bytes().to_vec().into()),
                _ => Const::Number(f64::from(random.edge(1000))),
            };
        }
        16 if !module.sites.is_empty() => {
            let at = random.below(module.sites.len());
            module.sites[at] = random.edge(constants);
        }
        17 => module.main = Some(FunctionIndex(random.edge(functions))),
        18 => module.uses = random.next() as u32 & 0xff,
        _ => {
            let (a, b) = (random.below(functions), f);
            let code = module.functions[a].code.clone();
            module.functions[b].code = code;
        }
    }
}

fn limits() -> TaskLimits {
    TaskLimits {
        fuel: 300_000,
        memory: 4 << 20,
        stack_depth: 200,
        fibers: 50,
        effects: 50,
        wall_time: Duration::from_secs(60),
    }
}

/// Runs every entry of a module; the host answers with whatever it likes.
fn run(vm: &mut Vm, blueprint: &std::sync::Arc<Blueprint>, random: &mut Seeded) {
    let Some(id) = vm.adopt(blueprint) else { return };
    let slots = blueprint.module().handler_slots.min(4);
    let entries = (0..slots).map(Entry::Handler).chain([Entry::Main]);
    let headers = vec![("host".to_owned(), "h".to_owned()), ("cookie".to_owned(), "a=b".to_owned())];
    let input = RequestInput {
        method: "POST",
        path: "/w/7",
        query: "a=1&b=2",
        params: &[("id", "7")],
        headers: &headers,
        content_type: Some("application/json"),
        body: b"{\"id\":7,\"c\":[1]}",
        ip: "127.0.0.1",
    };
    for entry in entries {
        let Ok(task) = vm.start(id, entry, &input, &limits(), TenantId(0), Monotonic(0)) else { continue };
        let mut effects = Vec::new();
        for _ in 0..2000 {
            match vm.run(task, Monotonic(0), Timestamp(0), 50_000, &mut NoHost) {
                Run::Done => {
                    let mut out = Vec::new();
                    let _ = vm.response(task);
                    vm.response_headers(task, &mut |_, _| {});
                    let _ = vm.write_body(task, &mut out);
                    break;
                }
                Run::SliceOver => {}
                Run::Parked => {
                    effects.clear();
                    vm.take_effects(task, &mut effects);
                    for effect in &effects {
                        for index in 0..vm.arg_count(task, effect.id) {
                            let _ = ValueBuilder::build(&vm.arg(task, effect.id, index));
                        }
                        vm.query(task, effect.id).for_each(drop);
                        let value = match random.below(6) {
                            0 => Value::Undefined,
                            1 => Value::Int(random.next().cast_signed()),
                            2 => Value::Str("text".into()),
                            3 => Value::List(vec![Value::Map(vec![("id".into(), Value::Int(1))])]),
                            _ => Value::Null,
                        };
                        if random.below(5) == 0 {
                            let spec = ErrorSpec { name: "HostError", message: "no", ..ErrorSpec::default() };
                            let _ = vm.resume_error(task, effect.id, &spec);
                        } else {
                            let _ = vm.resume(task, effect.id, &mut |sink| value.emit(sink));
                        }
                    }
                }
                Run::Trap(_) => {
                    let _ = vm.error(task);
                    break;
                }
            }
        }
        vm.finish(task);
    }
    vm.retire(id);
}

/// `FOREBAY_FUZZ=n` makes n times as many mutations, `FOREBAY_SEED` repeats one.
#[test]
fn mutated_modules_are_refused_or_run_safely() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let originals = modules();
    let rounds = number("FOREBAY_FUZZ").unwrap_or(1) * 2500;
    let seeds: Vec<u64> = match number("FOREBAY_SEED") {
        Some(seed) => vec![seed],
        None => (1..=rounds).collect(),
    };
    let (mut refused, mut ran) = (0, 0);
    let mut slowest = Duration::ZERO;
    let mut vm = Vm::new(VmConfig { tasks: 4, ..VmConfig::default() });
    for seed in seeds {
        let mut told = Told(seed, String::new());
        let mut random = Seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            random.next();
        }
        let mut module = originals[random.below(originals.len())].clone();
        for _ in 0..=random.below(3) {
            mutate(&mut module, &mut random);
        }
        let start = Instant::now();
        match verify(module.clone()) {
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
            Ok(verified) => {
                // Whatever runs can be written, read and shown.
                if seed % 16 == 0 {
                    let bytes = encode(&verified);
                    assert_eq!(encode(&decode(&bytes).unwrap()), bytes);
                    assert!(disassemble(&verified).contains("function"));
                }
                told.1 = "it was accepted by the verifier".to_owned();
                if let Ok(blueprint) = Blueprint::load(&verified) {
                    ran += 1;
                    run(&mut vm, &blueprint, &mut random);
                }
            }
        }
        let took = start.elapsed();
        slowest = slowest.max(took);
        assert!(took < Duration::from_secs(60), "a hang: {took:?}");
    }
    println!("{refused} refused, {ran} ran, the slowest took {slowest:?}");
    assert!(number("FOREBAY_SEED").is_some() || refused > 500 && ran > 500, "{refused} refused, {ran} ran");
    assert_eq!(vm.tasks(), 0);
}

#[test]
fn the_sources_run_when_nothing_is_mutated() {
    let mut vm = Vm::new(VmConfig::default());
    for module in modules() {
        let blueprint = Blueprint::load(&verify(module).unwrap()).unwrap();
        run(&mut vm, &blueprint, &mut Seeded(7));
    }
}
