//! `make bench`: what a request costs, beside nginx and beside the floor.
//!
//! Server on CPU 0, client on CPU 1, rounds interleaved, medians over rounds, every
//! answer's status and body verified. The figure is **server CPU per request**: user
//! and system time of all threads of the server's processes, divided by the
//! answers that were right. Requests per second are partly the client's limit.
//!
//! The floor is `floor`, an example of dataplane/ring: a bare loop on the same
//! ring that answers a static string.

mod client;
mod database;
mod durable;
mod server;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Parser;
use client::{Exchange, Expect, Load, Outcome};
use server::Server;

#[derive(Parser, Debug)]
#[command(about = "Paired benchmarks over real sockets; every answer verified.")]
struct Args {
    /// Something else to measure.
    #[command(subcommand)]
    command: Option<Bench>,
    /// Interleaved rounds; the table shows medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load per server, kind and round.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Requests per second of the open-loop rows.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Keep-alive connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Folder of the release binaries.
    #[arg(long, default_value = "target/release")]
    bin: PathBuf,
    /// Print one JSON object per row as well.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Bench {
    /// TechEmpower's db, queries, fortunes and updates, beside other servers in front of the same PostgreSQL
    Database(database::DatabaseArgs),
    /// A durable task's step beside the device's floor, memory of parked tasks
    Durable(durable::DurableArgs),
}

/// One row of the table: a way of asking.
struct Kind {
    name: &'static str,
    path: &'static str,
    body: &'static str,
    pipeline: usize,
    open_loop: bool,
}

const HELLO: &str = "Hello, World!";
const JSON: &str = r#"{"message":"Hello, World!"}"#;
const KINDS: &[Kind] = &[
    Kind { name: "hello, saturated", path: "/hello", body: HELLO, pipeline: 1, open_loop: false },
    Kind { name: "hello, 16 pipelined", path: "/hello", body: HELLO, pipeline: 16, open_loop: false },
    Kind { name: "hello, open loop", path: "/hello", body: HELLO, pipeline: 1, open_loop: true },
    Kind { name: "json, saturated", path: "/hello.json", body: JSON, pipeline: 1, open_loop: false },
    Kind { name: "json, 16 pipelined", path: "/hello.json", body: JSON, pipeline: 16, open_loop: false },
];

fn main() {
    let args = Args::parse();
    let result = match &args.command {
        Some(Bench::Database(args)) => database::bench(args),
        Some(Bench::Durable(args)) => durable::bench(args),
        None => bench(&args),
    };
    if let Err(message) = result {
        eprintln!("bench: {message}");
        std::process::exit(1);
    }
}

fn bench(args: &Args) -> Result<(), String> {
    let work = std::env::temp_dir().join(format!("forebay-bench-{}", std::process::id()));
    fs::create_dir_all(&work).map_err(|e| format!("{}: {e}", work.display()))?;
    machine();
    let servers = start_servers(args, &work)?;
    server::pin_to(1);

    // rows[kind][server] = CPU nanoseconds per request, one per round.
    let mut cpu = vec![vec![Vec::new(); servers.len()]; KINDS.len()];
    let mut last: Vec<Vec<Option<Outcome>>> =
        KINDS.iter().map(|_| servers.iter().map(|_| None).collect()).collect();
    let total = args.rounds * KINDS.len() * servers.len();
    let mut done = 0;
    for round in 0..args.rounds {
        for (k, kind) in KINDS.iter().enumerate() {
            // The order turns with the round, so that no one always runs first.
            for offset in 0..servers.len() {
                let s = (offset + round) % servers.len();
                done += 1;
                eprint!("\r[{done}/{total}] {:<24} {:<12}", kind.name, servers[s].name);
                if let Some(outcome) = measure(args, kind, &servers[s], &mut cpu[k][s])? {
                    last[k][s] = Some(outcome);
                }
            }
        }
    }
    eprint!("\r{:60}\r", "");
    report(args, &servers, &cpu, &last);
    perf_counters(&servers[0], args);
    drop(servers);
    tasks(args, &work)?;
    store(args, &work)?;
    let _ = fs::remove_dir_all(&work);
    Ok(())
}

fn start_servers(args: &Args, work: &Path) -> Result<Vec<Server>, String> {
    let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let app = work.join("app");
    fs::create_dir_all(app.join("blueprints")).map_err(|e| e.to_string())?;
    let source = "work(\"Hello\").get(\"/hello\", () => \"Hello, World!\");\n\
                  work(\"HelloJson\").get(\"/hello.json\", () => ({ message: \"Hello, World!\" }));\n";
    fs::write(app.join("blueprints/hello.js"), source).map_err(|e| e.to_string())?;
    let data = work.join("data");
    let socket = work.join("admin.sock");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut servers = vec![Server::start(
        "forebay",
        &args.bin.join("forebay"),
        &[
            "serve",
            &text(&app),
            "--listen",
            "127.0.0.1:18081",
            "--data",
            &text(&data),
            "--admin",
            &text(&socket),
            "--cores",
            "0",
        ],
        loopback(18081),
    )?];
    let floor = args.bin.join("examples/floor");
    servers.push(Server::start("floor", &floor, &["127.0.0.1:18082"], loopback(18082))?);
    match nginx(work)? {
        Some(server) => servers.push(server),
        None => println!("nginx is not installed: no rows for it (apt-get install nginx-light)"),
    }
    Ok(servers)
}

fn nginx(work: &Path) -> Result<Option<Server>, String> {
    let Some(program) = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().map(Path::new).find(|p| p.exists())
    else {
        return Ok(None);
    };
    let prefix = work.to_string_lossy();
    let config = include_str!("../nginx.conf").replace("PREFIX", &prefix).replace("PORT", "18083");
    let path = work.join("nginx.conf");
    fs::write(&path, config).map_err(|e| e.to_string())?;
    let args = ["-p", &prefix, "-c", &path.to_string_lossy()];
    Server::start("nginx", program, &args, SocketAddr::from(([127, 0, 0, 1], 18083))).map(Some)
}

/// One measurement; `None` for what a server doesn't answer (the floor knows no JSON).
fn measure(args: &Args, kind: &Kind, server: &Server, cpu: &mut Vec<f64>) -> Result<Option<Outcome>, String> {
    if server.name == "floor" && kind.path != "/hello" {
        return Ok(None);
    }
    let exchange = Exchange {
        request: format!("GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", kind.path).into_bytes(),
        body: Expect::Bytes(kind.body.into()),
    };
    let load = Load {
        connections: args.connections,
        pipeline: kind.pipeline,
        rate: kind.open_loop.then_some(args.rate),
        time: Duration::from_secs_f64(args.seconds),
    };
    let warm_up = Load { time: Duration::from_millis(200), ..load };
    let named = |e| format!("{}, {}: {e}", server.name, kind.name);
    client::run(server.addr, &exchange, warm_up).map_err(named)?;
    let before = server.cpu_nanos();
    let outcome = client::run(server.addr, &exchange, load).map_err(named)?;
    let used = server.cpu_nanos() - before;
    cpu.push(used as f64 / outcome.verified.max(1) as f64);
    Ok(Some(outcome))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(args: &Args, servers: &[Server], cpu: &[Vec<Vec<f64>>], last: &[Vec<Option<Outcome>>]) {
    println!("\nserver CPU per request, us: median of {} rounds (lowest .. highest)", args.rounds);
    println!("| load | server | us/request | of nginx | of floor | requests/s | p50 us | p99 us |");
    println!("|---|---|---|---|---|---|---|---|");
    for (k, kind) in KINDS.iter().enumerate() {
        let of = |name: &str| {
            let s = servers.iter().position(|server| server.name == name)?;
            (!cpu[k][s].is_empty()).then(|| median(&cpu[k][s]))
        };
        let ratio = |value: f64, base: Option<f64>| {
            base.map_or_else(|| "-".to_owned(), |base| format!("{:.2}", value / base))
        };
        for (s, server) in servers.iter().enumerate() {
            let values = &cpu[k][s];
            let Some(outcome) = &last[k][s] else { continue };
            let value = median(values);
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(0.0, f64::max);
            let rate = outcome.verified as f64 / outcome.elapsed.as_secs_f64();
            let (p50, p99) =
                (outcome.latency.value_at_quantile(0.5), outcome.latency.value_at_quantile(0.99));
            println!(
                "| {} | {} | {:.2} ({:.2} .. {:.2}) | {} | {} | {rate:.0} | {p50} | {p99} |",
                kind.name,
                server.name,
                value / 1e3,
                low / 1e3,
                high / 1e3,
                ratio(value, of("nginx")),
                ratio(value, of("floor")),
            );
            if args.json {
                println!(
                    "{}",
                    serde_json::json!({
                        "load": kind.name, "server": server.name, "cpu_ns": value, "rounds": values,
                        "requests_per_second": rate, "p50_us": p50, "p99_us": p99,
                        "resident_bytes": server.resident_bytes(),
                    })
                );
            }
        }
    }
}

/// Scripts and their answer: what a pooled task costs without a socket. `forebay run --bench`
/// parses the payload's bytes, runs, writes the answer's bytes and resets the arena.
const TASKS: &[(&str, &str, &str, &str)] = &[
    ("constant", "return \"Hello, World!\";", "{}", "Hello, World!"),
    ("add", "const i = payload(); return { ok: true, n: i.a + 1 };", r#"{"a":41}"#, r#"{"ok":true,"n":42}"#),
    (
        "order",
        "const { items, tax } = payload();\n\
         const lines = items.filter(i => i.quantity > 0).map(i => ({ sku: i.sku, sum: i.price * i.quantity }));\n\
         const net = lines.reduce((sum, line) => sum + line.sum, 0);\n\
         return { lines, net, total: net + net * tax / 100 };",
        r#"{"tax":10,"items":[{"sku":"a","price":3,"quantity":2},{"sku":"b","price":5,"quantity":0},{"sku":"c","price":7,"quantity":1}]}"#,
        r#"{"lines":[{"sku":"a","sum":6},{"sku":"c","sum":7}],"net":13,"total":14.3}"#,
    ),
];

fn tasks(args: &Args, work: &Path) -> Result<(), String> {
    println!("\npooled task, payload parsed and answer written: median of {} runs", args.rounds);
    println!("| body | ns/task (lowest .. highest) | fuel | arena bytes |");
    println!("|---|---|---|---|");
    let forebay = args.bin.join("forebay");
    for (name, source, payload, answer) in TASKS {
        let file = work.join(format!("{name}.js"));
        fs::write(&file, source).map_err(|e| e.to_string())?;
        let run = |bench: &[&str]| -> Result<String, String> {
            let output = Command::new(&forebay)
                .arg("run")
                .arg(&file)
                .args(["--payload", payload])
                .args(bench)
                .output()
                .map_err(|e| format!("{}: {e}", forebay.display()))?;
            if output.status.success() {
                Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
            } else {
                Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)))
            }
        };
        let got = run(&[])?;
        if got != *answer {
            return Err(format!("{name} answers {got}, not {answer}"));
        }
        let mut nanos = Vec::new();
        let mut last = serde_json::Value::Null;
        for _ in 0..args.rounds {
            last = serde_json::from_str(&run(&["--bench", "0.5"])?).map_err(|e| e.to_string())?;
            nanos.push(last["ns_per_call"].as_f64().unwrap_or(f64::NAN));
        }
        let low = nanos.iter().copied().fold(f64::INFINITY, f64::min);
        let high = nanos.iter().copied().fold(0.0, f64::max);
        println!(
            "| {name} | {:.0} ({low:.0} .. {high:.0}) | {} | {} |",
            median(&nanos),
            last["fuel_per_call"],
            last["arena_bytes"]
        );
    }
    Ok(())
}

/// The store beside the device's floor: an example of storage/kv, which prints its own table.
fn store(args: &Args, work: &Path) -> Result<(), String> {
    println!("\nkey/value store, in the same run as the device's floor");
    let bench = args.bin.join("examples/kv_bench");
    let status = Command::new(&bench)
        .arg(work.join("kv"))
        .status()
        .map_err(|e| format!("{}: {e}", bench.display()))?;
    if status.success() { Ok(()) } else { Err(format!("kv_bench ended with {status}")) }
}

fn machine() {
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "machine: {cpus} CPUs, {}, kernel {}",
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim()
    );
    if cpus < 2 {
        println!("one CPU only: client and server share it, figures are not comparable");
    }
}

/// Hardware counters of the server while it answers, where the machine has them.
fn perf_counters(server: &Server, args: &Args) {
    let probe = Command::new("perf").args(["stat", "-e", "instructions", "true"]).output();
    let supported = match &probe {
        Err(_) => Err("perf is not installed (apt-get install linux-perf)"),
        Ok(out) if String::from_utf8_lossy(&out.stderr).contains("<not supported>") => {
            Err("this machine has no hardware counters")
        }
        Ok(out) if !out.status.success() => Err("perf may not count here (kernel.perf_event_paranoid)"),
        Ok(_) => Ok(()),
    };
    if let Err(why) = supported {
        println!("\nperf stat: not supported here: {why}");
        return;
    }
    let pid = server.pid().to_string();
    let events = "instructions,cycles,cache-misses,branch-misses";
    let Ok(perf) = Command::new("perf")
        .args(["stat", "-e", events, "-p", &pid, "--timeout", "2000"])
        .stderr(std::process::Stdio::piped())
        .spawn()
    else {
        return;
    };
    let mut sink = Vec::new();
    let outcome = measure(&Args { seconds: 2.5, ..copy(args) }, &KINDS[0], server, &mut sink);
    if let (Ok(Some(outcome)), Ok(output)) = (outcome, perf.wait_with_output()) {
        let rate = outcome.verified as f64 / outcome.elapsed.as_secs_f64();
        println!("\nperf stat of {} for 2 s at {rate:.0} requests/s:", server.name);
        println!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
}

fn copy(args: &Args) -> Args {
    Args { command: None, bin: args.bin.clone(), ..*args }
}
