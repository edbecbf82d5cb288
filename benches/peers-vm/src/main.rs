//! The engine beside its peers, in one paired run: the same bodies, rounds interleaved, one pinned core,
//! medians and spread. Every body returns a checksum; an engine whose checksum differs from
//! node's (or, without node, from QuickJS-ng's) fails the run.
//!
//! ```text
//! forebay-peers [--rounds N] [--kind NAME] [--engine NAME] [--no-tasks | --only-tasks] [--json]
//! ```
//!
//! Then what only an appliance needs: a pooled isolated task (bytes of JSON in, bytes of JSON out, 64 inputs in
//! turn), with its heap allocations counted, and the order handler as such a task.

mod engines;
mod tasks;

use engines::{Engine, Outcome};
use std::fmt::Write as _;

/// A body: its name, its text, and calls per round (so that a round takes some tens of milliseconds).
pub struct Kind {
    /// As the table names it.
    pub name: &'static str,
    /// JavaScript that defines `bench`.
    pub text: &'static str,
}

macro_rules! kinds {
    ($($name:literal $file:literal;)*) => {
        /// The kinds of docs/SPECIFICATION.md's engine figures.
        pub const KINDS: &[Kind] = &[$(Kind { name: $name, text: include_str!(concat!("../bodies/", $file, ".js")) }),*];
    };
}

kinds! {
    "arithmetic loop 1e7" "loop";
    "fib(30)" "fib";
    "property get/set 1e6" "property";
    "map/filter/reduce" "lists";
    "strings, templates" "strings";
    "JSON 1 KB x1000" "json_small";
    "JSON 100 KB x10" "json_large";
    "closures 1e5" "closures";
    "sort 1000 x20" "sort";
    "order handler x1000" "order";
    "Map and Set" "collections";
    "regular expressions" "regex";
    "classes" "classes";
    "generators" "generators";
}

struct Options {
    rounds: usize,
    kind: Option<String>,
    engine: Option<String>,
    tasks: bool,
    only_tasks: bool,
    json: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options { rounds: 5, kind: None, engine: None, tasks: true, only_tasks: false, json: false };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--rounds" => options.rounds = value()?.parse().map_err(|_| "--rounds needs a number")?,
            "--kind" => options.kind = Some(value()?),
            "--engine" => options.engine = Some(value()?),
            "--no-tasks" => options.tasks = false,
            "--only-tasks" => options.only_tasks = true,
            "--json" => options.json = true,
            _ => return Err(format!("unknown option {arg}")),
        }
    }
    options.rounds = options.rounds.clamp(1, 1000);
    Ok(options)
}

fn main() -> std::process::ExitCode {
    match options().and_then(|o| run(&o)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("forebay-peers: {message}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// Pins this process (and the children it starts) to the core it runs on.
fn pin() {
    // SAFETY: sched_setaffinity(2) reads a mask of the given size; the mask is ours and initialised.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(usize::try_from(libc::sched_getcpu()).unwrap_or(0), &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// Times of one kind on one engine, milliseconds.
#[derive(Default, Clone)]
struct Row {
    times: Vec<f64>,
    refused: Option<String>,
    checksum: Option<String>,
}

impl Row {
    fn median(&self) -> Option<f64> {
        let mut sorted = self.times.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
    /// Largest over smallest, in percent beyond 1.
    fn spread(&self) -> f64 {
        let (low, high) = self.times.iter().fold((f64::INFINITY, 0.0f64), |(l, h), t| (l.min(*t), h.max(*t)));
        if low > 0.0 { (high / low - 1.0) * 100.0 } else { 0.0 }
    }
}

fn run(options: &Options) -> Result<(), String> {
    pin();
    if options.only_tasks {
        return tasks::run(options.rounds);
    }
    let chosen: Vec<&Kind> = KINDS
        .iter()
        .filter(|k| options.kind.as_ref().is_none_or(|name| k.name.contains(name.as_str())))
        .collect();
    let mut engines: Vec<Box<dyn Engine>> = engines::all();
    engines.retain(|e| options.engine.as_ref().is_none_or(|name| e.name().contains(name.as_str())));
    let mut rows = vec![vec![Row::default(); engines.len()]; chosen.len()];
    for (kind, row) in chosen.iter().zip(&mut rows) {
        for (engine, cell) in engines.iter_mut().zip(row.iter_mut()) {
            if let Err(why) = engine.load(kind) {
                cell.refused = Some(why);
            }
        }
        // One round to warm up, then the measured ones; the engines take turns within each.
        for round in 0..=options.rounds {
            for (engine, cell) in engines.iter_mut().zip(row.iter_mut()) {
                if cell.refused.is_some() {
                    continue;
                }
                match engine.call() {
                    Ok(Outcome { ms, checksum }) => {
                        if round > 0 {
                            cell.times.push(ms);
                        }
                        cell.checksum = Some(checksum);
                    }
                    Err(why) => cell.refused = Some(why),
                }
            }
        }
    }
    print_table(&chosen, &engines, &rows, options.json);
    let wrong = disagreements(&chosen, &engines, &rows);
    if options.tasks && options.engine.is_none() && options.kind.is_none() {
        tasks::run(options.rounds)?;
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

fn disagreements(kinds: &[&Kind], engines: &[Box<dyn Engine>], rows: &[Vec<Row>]) -> String {
    let mut wrong = String::new();
    for (kind, row) in kinds.iter().zip(rows) {
        let mut expected: Option<(&str, &str)> = None;
        for (engine, cell) in engines.iter().zip(row).rev() {
            let Some(sum) = &cell.checksum else { continue };
            match expected {
                None => expected = Some((engine.name(), sum)),
                Some((whose, e)) if e != sum => {
                    let _ = writeln!(wrong, "{}: {} says {sum}, {whose} says {e}", kind.name, engine.name());
                }
                Some(_) => {}
            }
        }
    }
    wrong
}

fn print_table(kinds: &[&Kind], engines: &[Box<dyn Engine>], rows: &[Vec<Row>], json: bool) {
    print!("{:<22}", "ms (spread)");
    for engine in engines {
        print!("{:>20}", engine.name());
    }
    println!();
    for (kind, row) in kinds.iter().zip(rows) {
        print!("{:<22}", kind.name);
        for cell in row {
            match (cell.median(), &cell.refused) {
                (Some(ms), None) => print!("{:>20}", format!("{ms:.2} ({:.0}%)", cell.spread())),
                _ => print!("{:>20}", "not built"),
            }
        }
        println!();
        for (engine, cell) in engines.iter().zip(row) {
            if let Some(why) = &cell.refused {
                println!("    {}: {}", engine.name(), why.lines().next().unwrap_or(""));
            }
            if json && let Some(ms) = cell.median() {
                println!(
                    "{{\"kind\":\"{}\",\"engine\":\"{}\",\"ms\":{ms:.4},\"spread_percent\":{:.1}}}",
                    kind.name,
                    engine.name(),
                    cell.spread()
                );
            }
        }
    }
    // How often the first engine is faster than each other, over the kinds that both ran.
    for (at, other) in engines.iter().enumerate().skip(1) {
        let ratios: Vec<(f64, &str)> = rows
            .iter()
            .zip(kinds)
            .filter_map(|(row, kind)| Some((row[at].median()? / row[0].median()?, kind.name)))
            .collect();
        if ratios.is_empty() {
            continue;
        }
        let geomean = (ratios.iter().map(|r| r.0.ln()).sum::<f64>() / ratios.len() as f64).exp();
        let least = ratios.iter().min_by(|a, b| a.0.total_cmp(&b.0)).map_or((0.0, ""), |r| *r);
        println!(
            "{} against {}: {geomean:.2} times as fast in geomean over {} kinds, least {:.2} ({})",
            engines[0].name(),
            other.name(),
            ratios.len(),
            least.0,
            least.1
        );
    }
}
