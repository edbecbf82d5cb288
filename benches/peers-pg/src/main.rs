//! PostgreSQL clients side by side against one server: CPU of the client's process per operation, answers verified.
//!
//! ```text
//!   cargo run --release --manifest-path benches/peers-pg/Cargo.toml [-- --seconds S --rounds N --only TEXT]
//! ```
//! Each measurement is a process of its own (`pg-peers one CLIENT SCENARIO ...`), so that getrusage(2) counts one
//! client and nothing else. Clients take turns within a round and the order turns from round to round, so that what
//! else the machine does hits all of them. Printed are medians over the rounds and the ratio to a named peer.
//!
//! | scenario | one operation |
//! |---|---|
//! | `id1`, `id16`, `id64` | a select by primary key, this many in flight |
//! | `id64g` | the same, ours proven to read and sharing Syncs |
//! | `q20` | one of 20 independent selects that start together, a Sync each |
//! | `q20g` | the same with one Sync (ours: as many as the proof of a read group allows) |
//! | `rows` | a result of 1000 rows x 7 columns, decoded: ours into values of the virtual machine |
//! | `copy` | one row of a binary COPY FROM STDIN |

mod forebay;
mod libpq;
mod server;
mod sqlx_client;
mod tokio_client;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is asked of every client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scenario {
    Id(usize),
    IdGroup(usize),
    Twenty { group: bool },
    Rows,
    Copy,
}

pub const SELECT: &str = "SELECT id, name, n FROM bench WHERE id = $1";
pub const BENCH_ROWS: i32 = 10_000;
pub const ROWS: &str = "SELECT a, b, c, d, e, f, g FROM rows7";
pub const COPY: &str = "COPY copied (a, b, c) FROM STDIN BINARY";
pub const COPY_ROWS: u64 = 200_000;

/// `n` of the row with this id.
pub fn expected(id: i32) -> i32 {
    id * 2
}

/// Counts operations inside the measured window.
pub struct Meter {
    warm_until: Instant,
    seconds: f64,
    start: Option<(Instant, Duration)>,
    pub ops: u64,
    end: Option<(Duration, Duration)>,
}

impl Meter {
    pub fn new(seconds: f64) -> Self {
        let warm_until = Instant::now() + Duration::from_secs_f64(seconds / 5.0);
        Self { warm_until, seconds, start: None, ops: 0, end: None }
    }

    /// After some operations; false once it is enough.
    pub fn add(&mut self, ops: u64) -> bool {
        match self.start {
            None => {
                let now = Instant::now();
                if now >= self.warm_until {
                    self.start = Some((now, cpu()));
                }
                true
            }
            Some(_) if self.end.is_some() => false,
            Some((start, before)) => {
                let first = self.ops / 64;
                self.ops += ops;
                // The clock is read every 64 operations only.
                if self.ops / 64 == first {
                    return true;
                }
                let wall = start.elapsed();
                if wall.as_secs_f64() < self.seconds {
                    return true;
                }
                self.end = Some((wall, cpu() - before));
                false
            }
        }
    }

    fn print(&self) {
        let (wall, cpu) = self.end.expect("measured to the end");
        println!("{} {} {}", self.ops, cpu.as_nanos(), wall.as_nanos());
    }
}

/// User and system time of this process.
fn cpu() -> Duration {
    // SAFETY: an all-zero rusage is a valid one, and getrusage(2) only writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage), 0);
        usage
    };
    let time = |t: libc::timeval| Duration::from_micros(t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64);
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn scenario(name: &str) -> Scenario {
    match name {
        "id1" => Scenario::Id(1),
        "id16" => Scenario::Id(16),
        "id64" => Scenario::Id(64),
        "id64g" => Scenario::IdGroup(64),
        "q20" => Scenario::Twenty { group: false },
        "q20g" => Scenario::Twenty { group: true },
        "rows" => Scenario::Rows,
        "copy" => Scenario::Copy,
        other => panic!("no scenario {other}"),
    }
}

/// Scenario, unit, the peer that ratios are against, everyone who runs.
const PLAN: [(&str, &str, &str, &[&str]); 8] = [
    ("id1", "us", "libpq", &["forebay", "tokio", "tokio-pool", "sqlx", "libpq"]),
    ("id16", "us", "tokio", &["forebay", "tokio", "tokio-pool", "sqlx", "libpq"]),
    ("id64", "us", "tokio", &["forebay", "tokio", "tokio-pool", "sqlx", "libpq"]),
    ("id64g", "us", "tokio", &["forebay", "tokio"]),
    ("q20", "us", "tokio", &["forebay", "tokio", "sqlx", "libpq"]),
    ("q20g", "us", "tokio", &["forebay", "tokio", "libpq"]),
    ("rows", "us", "tokio", &["forebay", "tokio", "sqlx", "libpq"]),
    ("copy", "ns", "tokio", &["forebay", "tokio", "libpq"]),
];

fn one(client: &str, scenario_name: &str, seconds: f64, folder: &str) {
    let mut meter = Meter::new(seconds);
    let what = scenario(scenario_name);
    match client {
        "forebay" => forebay::run(what, folder, &mut meter),
        "tokio" => tokio_client::run(what, folder, false, &mut meter),
        "tokio-pool" => tokio_client::run(what, folder, true, &mut meter),
        "sqlx" => sqlx_client::run(what, folder, &mut meter),
        "libpq" => libpq::run(what, folder, &mut meter),
        other => panic!("no client {other}"),
    }
    meter.print();
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == "one") {
        return one(&args[1], &args[2], args[3].parse().unwrap(), &args[4]);
    }
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1)).cloned();
    let seconds = option("--seconds").unwrap_or("1".into());
    let rounds: usize = option("--rounds").map_or(5, |text| text.parse().unwrap());
    let only = option("--only").unwrap_or_default();
    let clients = option("--clients").unwrap_or_default();
    let server = server::Server::start();
    let me = std::env::current_exe().unwrap();
    for (name, unit, base, everyone) in PLAN {
        if !only.is_empty() && !only.split(',').any(|o| o == name) {
            continue;
        }
        let mut results: BTreeMap<&str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
        let chosen: Vec<&str> = everyone
            .iter()
            .filter(|c| clients.is_empty() || clients.split(',').any(|o| o == **c))
            .copied()
            .collect();
        for round in 0..rounds {
            for turn in 0..chosen.len() {
                let client = chosen[(turn + round) % chosen.len()];
                let output = std::process::Command::new(&me)
                    .args(["one", client, name, &seconds, server.folder()])
                    .output()
                    .unwrap();
                let text = String::from_utf8_lossy(&output.stdout);
                let numbers: Vec<f64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
                let [ops, cpu, wall] = numbers[..] else {
                    panic!("{client} {name}: {}", String::from_utf8_lossy(&output.stderr))
                };
                let scale = if unit == "us" { 1000.0 } else { 1.0 };
                let entry = results.entry(client).or_default();
                entry.0.push(cpu / ops / scale);
                entry.1.push(ops / wall * 1e9);
            }
        }
        let base_cpu = results.get(base).map(|(cpu, _)| median(&mut cpu.clone()));
        println!("{name}: client CPU per operation, {rounds} rounds of {seconds} s");
        for client in chosen {
            let (cpu, rate) = results.get_mut(client).unwrap();
            let (middle, rate) = (median(cpu), median(rate));
            let ratio = base_cpu.map_or(String::new(), |b| format!("  {:.2} of {base}", middle / b));
            println!(
                "  {client:<11} {middle:>8.2} {unit}  [{:.2} .. {:.2}]  {rate:>9.0}/s{ratio}",
                cpu[0],
                cpu[cpu.len() - 1]
            );
        }
    }
}
