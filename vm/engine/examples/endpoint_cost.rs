//! What endpoints of a database cost the engine: `cargo run --release -p forebay-engine --example endpoint_cost [KIND TASKS]`.
//!
//! The blueprint is the one that the benchmark of other servers runs (benches/peers-http/forebay); rows come from here, packed as
//! the client of PostgreSQL hands them over. From the start of the task to its end: the effect read, its rows given, the
//! answer written and compared. With KIND (db, fortunes) and TASKS it runs that many once, for callgrind: the difference
//! of two numbers of tasks is without what the process needs to start. Without, medians over rounds.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement: it may fail, and it reads the clock"
)]

use forebay_base::limits::TaskLimits;
use forebay_base::value::Field;
use forebay_base::value::packed::{Packed, PackedRows};
use forebay_base::{Monotonic, TenantId, Timestamp, ValueError};
use forebay_bytecode::module::Action;
use forebay_engine::{Blueprint, BlueprintId, Entry, NoHost, RequestInput, Run, Vm, VmConfig};
use std::path::{Path, PathBuf};
use std::time::Instant;

struct App(PathBuf);

impl forebay_compiler::Loader for App {
    fn load(&self, path: &str) -> Option<Box<str>> {
        std::fs::read_to_string(self.0.join(path)).ok().map(Into::into)
    }
    fn queries(&self) -> Vec<String> {
        vec!["sql/tfb.sql".into()]
    }
}

const FORTUNES: [&str; 12] = [
    "fortune: No such file or directory",
    "A computer scientist is someone who fixes things that aren't broken.",
    "After enough decimal places, nobody gives a damn.",
    "A bad random number generator: 1, 1, 1, 1, 1, 4.33e+67, 1, 1, 1",
    "A computer program does what you tell it to do, not what you want it to do.",
    "Emacs is a nice operating system, but I prefer UNIX. \u{2014} Tom Christaensen",
    "Any program that runs right is obsolete.",
    "A list is only as strong as its weakest link. \u{2014} Donald Knuth",
    "Feature: A bug with seniority.",
    "Computers make very fast, very accurate mistakes.",
    "<script>alert(\"This should not be displayed in a browser alert box.\");</script>",
    "フレームワークのベンチマーク",
];

/// The page that they make.
fn page() -> Vec<u8> {
    let mut rows: Vec<(usize, &str)> = FORTUNES.iter().enumerate().map(|(n, text)| (n + 1, *text)).collect();
    rows.push((0, "Additional fortune added at request time."));
    rows.sort_by_key(|(_, text)| *text);
    let mut html = "<!DOCTYPE html><html><head><title>Fortunes</title></head><body><table><tr><th>id</th><th>message</th></tr>".to_owned();
    for (id, text) in rows {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let text = text.replace('"', "&quot;").replace('\'', "&#39;");
        html.push_str(&format!("<tr><td>{id}</td><td>{text}</td></tr>"));
    }
    html.push_str("</table></body></html>");
    html.into_bytes()
}

/// Columns behind each other, each behind its length.
fn row(columns: &[&[u8]]) -> Vec<u8> {
    let mut row = Vec::new();
    for bytes in columns {
        row.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
        row.extend_from_slice(bytes);
    }
    row
}

struct Rows<'b>(&'b [Vec<u8>]);

impl<'b> PackedRows<'b> for Rows<'b> {
    fn next_row(&mut self) -> Option<&'b [u8]> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }
    fn other(&mut self, _: usize, _: &'b [u8]) -> Result<(Field<'b>, &str), ValueError> {
        Err(ValueError::Unsupported("no such columns here"))
    }
}

struct Bench {
    vm: Vm,
    id: BlueprintId,
    entry: Entry,
    limits: TaskLimits,
    out: Vec<u8>,
    effects: Vec<forebay_engine::Effect>,
    columns: Vec<Box<str>>,
    kinds: Vec<Packed>,
    fortunes: Vec<Vec<u8>>,
    expected: Vec<u8>,
    is_list: bool,
}

impl Bench {
    fn new(kind: &str) -> Self {
        let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/peers-http/forebay");
        let (module, _) = forebay_compiler::compile(&App(app), "blueprints/tfb.js").unwrap();
        let path = format!("/{kind}");
        let mut routes = module.works.iter().flat_map(|work| &work.routes);
        let action: Action = routes.find(|route| *route.pattern == *path).unwrap().action.clone();
        let blueprint = Blueprint::load(&forebay_bytecode::verify(module).unwrap()).unwrap();
        let mut vm = Vm::new(VmConfig::default());
        let id = vm.adopt(&blueprint).unwrap();
        let is_list = kind == "fortunes";
        let (columns, text) =
            if is_list { (["id", "message"], Packed::Text) } else { (["id", "randomnumber"], Packed::Int4) };
        let fortunes = FORTUNES.iter().zip(1i32..);
        Self {
            vm,
            id,
            entry: Entry::of(&action).unwrap(),
            limits: TaskLimits::default(),
            out: Vec::with_capacity(1 << 14),
            effects: Vec::new(),
            columns: columns.map(Into::into).to_vec(),
            kinds: vec![Packed::Int4, text],
            fortunes: fortunes.map(|(text, id)| row(&[&id.to_be_bytes(), text.as_bytes()])).collect(),
            expected: page(),
            is_list,
        }
    }

    fn run(&mut self) {
        let (vm, now, wall) = (&mut self.vm, Monotonic(0), Timestamp(0));
        let input = RequestInput::empty();
        let task = vm.start(self.id, self.entry, &input, &self.limits, TenantId(0), now).unwrap();
        assert_eq!(vm.run(task, now, wall, 200_000, &mut NoHost), Run::Parked);
        self.effects.clear();
        vm.take_effects(task, &mut self.effects);
        let effect = self.effects[0].id;
        // What a worker asks of a named query: its text's data, and its values.
        let query = vm.query(task, effect).next().unwrap();
        let data = query.arg(0).as_bytes().unwrap();
        assert!(data.len() > 10);
        let id = query.arg(2).as_i64();
        if self.is_list {
            let sink = vm.result_sink(task, effect).unwrap();
            sink.begin_list(Some(self.fortunes.len())).unwrap();
            sink.packed(&self.columns, &self.kinds, &mut Rows(&self.fortunes)).unwrap();
            sink.end_list().unwrap();
        } else {
            let id = i32::try_from(id.unwrap()).unwrap();
            assert!((1..=10_000).contains(&id));
            let columns = [id.to_be_bytes(), (id * 7919 % 10_000 + 1).to_be_bytes()];
            let mut packed = [0; 16];
            for (place, bytes) in packed.chunks_exact_mut(8).zip(columns) {
                place[3] = 4;
                place[4..].copy_from_slice(&bytes);
            }
            let sink = vm.result_sink(task, effect).unwrap();
            sink.packed(&self.columns, &self.kinds, &mut One(Some(&packed))).unwrap();
            self.expected.clear();

            self.expected.extend_from_slice(b"{\"id\":");
            self.expected.extend_from_slice(id.to_string().as_bytes());
            self.expected.extend_from_slice(b",\"randomnumber\":");
            self.expected.extend_from_slice((id * 7919 % 10_000 + 1).to_string().as_bytes());
            self.expected.push(b'}');
        }
        vm.resume_with_result(task, effect).unwrap();
        assert_eq!(vm.run(task, now, wall, 200_000, &mut NoHost), Run::Done);
        assert_eq!(vm.response(task).unwrap().status, 200);
        self.out.clear();
        vm.write_body(task, &mut self.out).unwrap();
        vm.finish(task);
        assert!(self.out == self.expected, "{}", String::from_utf8_lossy(&self.out));
    }
}

struct One<'b>(Option<&'b [u8]>);

impl<'b> PackedRows<'b> for One<'b> {
    fn next_row(&mut self) -> Option<&'b [u8]> {
        self.0.take()
    }
    fn other(&mut self, _: usize, _: &'b [u8]) -> Result<(Field<'b>, &str), ValueError> {
        Err(ValueError::Unsupported("no such columns here"))
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [kind, tasks] = &args[..] {
        let mut bench = Bench::new(kind);
        (0..tasks.parse().unwrap()).for_each(|_| bench.run());
        return;
    }
    for kind in ["db", "fortunes"] {
        let mut bench = Bench::new(kind);
        let mut times: Vec<f64> = (0..31)
            .map(|_| {
                let start = Instant::now();
                (0..8192).for_each(|_| bench.run());
                start.elapsed().as_secs_f64() * 1e9 / 8192.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{kind}: {:.0} ns per task (median), {:.0} to {:.0}", times[15], times[0], times[30]);
    }
}
