//! `make bench-db`: what a request costs whose answer is in PostgreSQL, beside axum + deadpool-postgres,
//! may_minihttp + may_postgres and fastify + pg, all in front of the same server.
//!
//! TechEmpower's db, queries(20), fortunes and updates(20), a Sync per query as its rules ask; where ours share a Sync,
//! the row says so. Servers on CPU 0, client and PostgreSQL on CPU 1, TCP between all, rounds interleaved. The figure is CPU per request
//! of the server's processes (user and system); PostgreSQL's own is not in it, and is shown beside it. Every answer is
//! parsed: rows must be those of the table, fortunes the whole page byte for byte; what an update answered is looked up
//! in the table.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::client::{self, Exchange, Expect, Load, Outcome};
use crate::server::{self, Server};
use crate::{machine, median};

/// Arguments of `forebay-bench database`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct DatabaseArgs {
    /// Interleaved rounds; the table shows medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load per server, kind and round.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Keep-alive connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Folder of the release binary `forebay`.
    #[arg(long, default_value = "target/release")]
    bin: PathBuf,
    /// Folder of the peers' release binaries.
    #[arg(long, default_value = "benches/peers-http/target/release")]
    peers: PathBuf,
    /// Folder of the peers' sources: fastify's server, our app.
    #[arg(long, default_value = "benches/peers-http")]
    sources: PathBuf,
    /// Only these kinds, as in db,queries
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<String>,
    /// Only these servers, as in forebay,may
    #[arg(long, value_delimiter = ',')]
    servers: Vec<String>,
    /// Connections of axum's and fastify's pools.
    #[arg(long, default_value_t = 16)]
    pool: usize,
    /// Pipelined connections of may_postgres and of forebay.
    #[arg(long, default_value_t = 2)]
    pipelines: usize,
    /// Print one JSON object per row as well.
    #[arg(long)]
    json: bool,
}

struct Kind {
    name: &'static str,
    path: &'static str,
    expect: fn() -> Expect,
    /// Only ours has it.
    only_ours: bool,
}

const KINDS: [Kind; 6] = [
    Kind { name: "db", path: "/db", expect: || Expect::Checked(one_world), only_ours: false },
    Kind {
        name: "db, shared Sync",
        path: "/db-shared",
        expect: || Expect::Checked(one_world),
        only_ours: true,
    },
    Kind { name: "queries 20", path: "/queries?q=20", expect: || Expect::Checked(twenty), only_ours: false },
    Kind {
        name: "queries 20, shared Sync",
        path: "/queries-shared?q=20",
        expect: || Expect::Checked(twenty),
        only_ours: true,
    },
    Kind { name: "fortunes", path: "/fortunes", expect: || Expect::Bytes(fortunes()), only_ours: false },
    // Last: they change what the others read.
    Kind {
        name: "updates 20",
        path: "/updates?q=20",
        expect: || Expect::Checked(twenty_new),
        only_ours: false,
    },
];

/// What CPU per request must be at most, as a part of each peer's.
const GOALS: [(&str, f64); 3] = [("may", 0.9), ("axum", 0.5), ("fastify", 0.25)];

const WORLDS: i64 = 10_000;

/// What the table has before any update.
fn number_of(id: i64) -> i64 {
    id * 7919 % WORLDS + 1
}

fn world(value: &serde_json::Value) -> Result<(i64, i64), String> {
    let field = |key: &str| value[key].as_i64().filter(|n| (1..=WORLDS).contains(n)).ok_or("no such row");
    match value.as_object().map(serde_json::Map::len) {
        Some(2) => Ok((field("id")?, field("randomnumber")?)),
        _ => Err("not a row of two columns".to_owned()),
    }
}

fn one_world(body: &[u8]) -> Result<(), String> {
    let value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let (id, number) = world(&value)?;
    if number == number_of(id) { Ok(()) } else { Err("another row's number".to_owned()) }
}

fn rows(body: &[u8]) -> Result<Vec<(i64, i64)>, String> {
    let value: serde_json::Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let list = value.as_array().filter(|list| list.len() == 20).ok_or("not a list of 20")?;
    list.iter().map(world).collect()
}

fn twenty(body: &[u8]) -> Result<(), String> {
    let good = rows(body)?.iter().all(|(id, number)| *number == number_of(*id));
    if good { Ok(()) } else { Err("another row's number".to_owned()) }
}

fn twenty_new(body: &[u8]) -> Result<(), String> {
    rows(body).map(|_| ())
}

const FORTUNES: [&str; 12] = [
    "fortune: No such file or directory",
    "A computer scientist is someone who fixes things that aren't broken.",
    "After enough decimal places, nobody gives a damn.",
    "A bad random number generator: 1, 1, 1, 1, 1, 4.33e+67, 1, 1, 1",
    "A computer program does what you tell it to do, not what you want it to do.",
    "Emacs is a nice operating system, but I prefer UNIX. — Tom Christaensen",
    "Any program that runs right is obsolete.",
    "A list is only as strong as its weakest link. — Donald Knuth",
    "Feature: A bug with seniority.",
    "Computers make very fast, very accurate mistakes.",
    "<script>alert(\"This should not be displayed in a browser alert box.\");</script>",
    "フレームワークのベンチマーク",
];

/// The whole page.
fn fortunes() -> Vec<u8> {
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

/// Where the database listens: TCP, since may_postgres knows no unix sockets.
const DATABASE_PORT: &str = "18090";

/// A PostgreSQL for the run, on CPU 1 and loopback; ended when dropped.
struct Postgres {
    bin: PathBuf,
    folder: PathBuf,
}

impl Postgres {
    fn start(work: &Path) -> Result<Self, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let fixed =
            ["18", "17", "16", "15", "14"].map(|v| PathBuf::from(format!("/usr/lib/postgresql/{v}/bin")));
        let bin = std::env::split_paths(&path)
            .chain(fixed)
            .find(|folder| ["initdb", "pg_ctl", "psql"].iter().all(|name| folder.join(name).is_file()))
            .ok_or("PostgreSQL's initdb, pg_ctl and psql are not installed")?;
        let folder = work.join("pg");
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let server = Self { bin, folder };
        if nix_is_root() {
            run(Command::new("chown").arg("-R").arg("postgres").arg(work))?;
        }
        run(server
            .command("initdb")
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(server.folder.join("data")))?;
        let options = format!(
            "-F -h 127.0.0.1 -p {DATABASE_PORT} -k {} -c max_connections=200 -c shared_buffers=128MB -c synchronous_commit=off -c autovacuum=off -c jit=off",
            server.folder.display()
        );
        run(server
            .command("pg_ctl")
            .args(["start", "-w", "-D"])
            .arg(server.folder.join("data"))
            .args(["-o", &options]))?;
        Ok(server)
    }

    /// initdb refuses to run as root: then everything runs as `postgres`.
    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let mut command = Command::new("taskset");
        command.args(["-c", "1"]);
        if nix_is_root() {
            command.args(["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        }
        command.arg(program).current_dir("/").stdin(Stdio::null());
        command
    }

    /// CPU time of all its processes, nanoseconds.
    fn cpu_nanos(&self) -> u64 {
        let pid = fs::read_to_string(self.folder.join("data/postmaster.pid")).ok();
        let pid = pid.and_then(|text| text.lines().next()?.trim().parse().ok());
        pid.map_or(0, server::tree_nanos)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = run(self
            .command("pg_ctl")
            .args(["stop", "-m", "immediate", "-w", "-D"])
            .arg(self.folder.join("data")));
    }
}

fn nix_is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn run(command: &mut Command) -> Result<String, String> {
    // A daemon would keep a pipe open: its words go to a file.
    let out = std::env::temp_dir().join(format!("forebay-bench-{}.out", std::process::id()));
    let file = fs::File::create(&out).map_err(|error| error.to_string())?;
    let other = file.try_clone().map_err(|error| error.to_string())?;
    let status =
        command.stdout(file).stderr(other).status().map_err(|error| format!("{command:?}: {error}"))?;
    let text = fs::read_to_string(&out).unwrap_or_default();
    let _ = fs::remove_file(&out);
    if status.success() { Ok(text) } else { Err(format!("{command:?}: {status}\n{text}")) }
}

fn psql(sql: &str) -> Result<String, String> {
    let mut command = Command::new("psql");
    command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres"]);
    run(command.args(["-h", "127.0.0.1", "-p", DATABASE_PORT, "-c", sql]))
}

fn tables() -> String {
    let mut sql = format!(
        "DROP TABLE IF EXISTS world, fortune;
         CREATE TABLE world (id int4 PRIMARY KEY, randomnumber int4 NOT NULL);
         INSERT INTO world SELECT g, g * 7919 % {WORLDS} + 1 FROM generate_series(1, {WORLDS}) g;
         CREATE TABLE fortune (id int4 PRIMARY KEY, message text NOT NULL);"
    );
    for (number, text) in FORTUNES.iter().enumerate() {
        sql.push_str(&format!(
            "INSERT INTO fortune VALUES ({}, '{}');",
            number + 1,
            text.replace('\'', "''")
        ));
    }
    sql.push_str("ANALYZE world; ANALYZE fortune;");
    sql
}

/// Runs all of it.
pub(crate) fn bench(args: &DatabaseArgs) -> Result<(), String> {
    let work = std::env::temp_dir().join(format!("forebay-bench-db-{}", std::process::id()));
    fs::create_dir_all(&work).map_err(|e| format!("{}: {e}", work.display()))?;
    machine();
    let postgres = Postgres::start(&work)?;
    psql(&tables())?;
    println!("{}", psql("SELECT split_part(version(), ' (', 1)")?.trim());
    let servers = start(args, &work)?;
    server::pin_to(1);
    println!(
        "\nserver CPU per request, us: median of {} rounds (lowest .. highest); {} connections",
        args.rounds, args.connections
    );
    println!(
        "| kind | server | us/request | of may | of axum | of fastify | requests/s | p50 us | p99 us | PostgreSQL us/request |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for kind in &KINDS {
        let word = kind.name.split([' ', ',']).next().unwrap_or_default();
        if args.kinds.is_empty() || args.kinds.iter().any(|wanted| wanted == word) {
            measure_kind(args, kind, &servers, &postgres)?;
        }
    }
    drop(servers);
    drop(postgres);
    let _ = fs::remove_dir_all(&work);
    Ok(())
}

fn start(args: &DatabaseArgs, work: &Path) -> Result<Vec<Server>, String> {
    let wanted = |name: &str| args.servers.is_empty() || args.servers.iter().any(|one| one == name);
    let address = |port: u16| (format!("127.0.0.1:{port}"), SocketAddr::from(([127, 0, 0, 1], port)));
    let conninfo = format!("host=127.0.0.1 port={DATABASE_PORT} user=postgres dbname=postgres");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (pool, pipelines) = (args.pool.to_string(), args.pipelines.to_string());
    let mut servers = Vec::new();
    if wanted("forebay") {
        let (listen, addr) = address(18091);
        let app = work.join("app");
        copy(&args.sources.join("forebay"), &app)?;
        let config = app.join("forebay.toml");
        let toml = fs::read_to_string(&config).map_err(|error| error.to_string())?;
        fs::write(&config, format!("{toml}connections = {pipelines}\n"))
            .map_err(|error| error.to_string())?;
        let (data, admin) = (text(&work.join("data")), text(&work.join("admin.sock")));
        let arguments =
            ["serve", &text(&app), "--listen", &listen, "--data", &data, "--admin", &admin, "--cores", "0"];
        let env = [("BENCH_DATABASE", conninfo.as_str())];
        servers.push(Server::start_with("forebay", &args.bin.join("forebay"), &arguments, addr, &env)?);
    }
    for (name, program, port, size) in
        [("may", "peer-may", 18092, &pipelines), ("axum", "peer-axum", 18093, &pool)]
    {
        let path = args.peers.join(program);
        if !wanted(name) {
            continue;
        }
        if !path.is_file() {
            println!("{name}: {} is not built, no rows for it", path.display());
            continue;
        }
        let (listen, addr) = address(port);
        servers.push(Server::start(name, &path, &[&listen, &conninfo, size], addr)?);
    }
    let script = args.sources.join("fastify/server.js");
    if wanted("fastify") {
        if args.sources.join("fastify/node_modules").is_dir() {
            let (listen, addr) = address(18094);
            let arguments = [&text(&script), listen.as_str(), &conninfo, &pool];
            servers.push(Server::start("fastify", Path::new("node"), &arguments, addr)?);
        } else {
            println!("fastify: its packages are not installed (npm ci), no rows for it");
        }
    }
    Ok(servers)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let named = |error: std::io::Error| format!("{}: {error}", from.display());
    fs::create_dir_all(to).map_err(named)?;
    for entry in fs::read_dir(from).map_err(named)?.flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target).map_err(named)?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Row {
    cpu: Vec<f64>,
    postgres: Vec<f64>,
    last: Option<Outcome>,
}

fn measure_kind(
    args: &DatabaseArgs,
    kind: &Kind,
    servers: &[Server],
    postgres: &Postgres,
) -> Result<(), String> {
    let takers: Vec<&Server> =
        servers.iter().filter(|server| !kind.only_ours || server.name == "forebay").collect();
    let mut rows: Vec<Row> = takers.iter().map(|_| Row::default()).collect();
    let exchange = Exchange {
        request: format!("GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", kind.path).into_bytes(),
        body: (kind.expect)(),
    };
    let load = Load {
        connections: args.connections,
        pipeline: 1,
        rate: None,
        time: Duration::from_secs_f64(args.seconds),
    };
    for round in 0..args.rounds {
        // The order turns with the round, so that no one always runs first.
        for offset in 0..takers.len() {
            let index = (offset + round) % takers.len();
            let server = takers[index];
            let named = |error| format!("{}, {}: {error}", server.name, kind.name);
            if round == 0 {
                client::run(server.addr, &exchange, Load { time: Duration::from_millis(600), ..load })
                    .map_err(named)?;
                if kind.path.starts_with("/updates") {
                    check_update(server).map_err(named)?;
                }
            }
            client::run(server.addr, &exchange, Load { time: Duration::from_millis(100), ..load })
                .map_err(named)?;
            let before = (server.cpu_nanos(), postgres.cpu_nanos());
            let outcome = client::run(server.addr, &exchange, load).map_err(named)?;
            let after = (server.cpu_nanos(), postgres.cpu_nanos());
            let per = |nanos: u64| nanos as f64 / outcome.verified.max(1) as f64 / 1e3;
            rows[index].cpu.push(per(after.0 - before.0));
            rows[index].postgres.push(per(after.1.saturating_sub(before.1)));
            rows[index].last = Some(outcome);
        }
    }
    report(args, kind, &takers, &rows);
    Ok(())
}

/// What one request answered is in the table.
fn check_update(server: &Server) -> Result<(), String> {
    let body = client::get(server.addr, "/updates?q=20")?;
    for (id, number) in rows(&body)? {
        let found = psql(&format!("SELECT randomnumber FROM world WHERE id = {id}"))?;
        // Of an id that came twice, either number.
        let again = rows(&body)?.iter().filter(|(other, _)| *other == id).count() > 1;
        if found.trim() != number.to_string() && !again {
            return Err(format!("row {id} is {}, not {number} as answered", found.trim()));
        }
    }
    Ok(())
}

fn report(args: &DatabaseArgs, kind: &Kind, servers: &[&Server], rows: &[Row]) {
    let of = |name: &str| {
        let index = servers.iter().position(|server| server.name == name)?;
        Some(median(&rows[index].cpu))
    };
    for (server, row) in servers.iter().zip(rows) {
        let Some(outcome) = &row.last else { continue };
        let value = median(&row.cpu);
        let low = row.cpu.iter().copied().fold(f64::INFINITY, f64::min);
        let high = row.cpu.iter().copied().fold(0.0, f64::max);
        let ratios: Vec<String> = GOALS
            .iter()
            .map(|(peer, _)| of(peer).map_or_else(|| "-".to_owned(), |base| format!("{:.2}", value / base)))
            .collect();
        let rate = outcome.verified as f64 / outcome.elapsed.as_secs_f64();
        let (p50, p99) = (outcome.latency.value_at_quantile(0.5), outcome.latency.value_at_quantile(0.99));
        println!(
            "| {} | {} | {value:.2} ({low:.2} .. {high:.2}) | {} | {rate:.0} | {p50} | {p99} | {:.2} |",
            kind.name,
            server.name,
            ratios.join(" | "),
            median(&row.postgres)
        );
        if args.json {
            println!(
                "{}",
                serde_json::json!({
                    "kind": kind.name, "server": server.name, "cpu_us": value, "rounds": row.cpu,
                    "requests_per_second": rate, "postgres_us": median(&row.postgres),
                    "resident_bytes": server.resident_bytes(),
                })
            );
        }
    }
    if kind.name == "db" {
        for (peer, goal) in GOALS {
            if let (Some(ours), Some(theirs)) = (of("forebay"), of(peer)) {
                let verdict = if ours / theirs <= goal { "met" } else { "not met" };
                println!("goal: at most {goal} of {peer}: {:.2}, {verdict}", ours / theirs);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_of_the_table_count() {
        let good = format!(r#"{{"id":7,"randomnumber":{}}}"#, number_of(7));
        assert_eq!(one_world(good.as_bytes()), Ok(()));
        for bad in [r#"{"id":7,"randomnumber":1}"#, r#"{"id":7}"#, "[]", "", r#"{"id":0,"randomnumber":1}"#] {
            assert!(one_world(bad.as_bytes()).is_err(), "{bad}");
        }
        let list = format!("[{}]", vec![good.as_str(); 20].join(","));
        assert_eq!(twenty(list.as_bytes()), Ok(()));
        assert!(twenty(good.as_bytes()).is_err());
        assert!(twenty(format!("[{}]", vec![good.as_str(); 19].join(",")).as_bytes()).is_err());
        let page = String::from_utf8(fortunes()).unwrap();
        assert!(page.contains("&lt;script&gt;alert(&quot;This") && page.contains("aren&#39;t"), "{page}");
        assert!(page.find("<td>0</td>").unwrap() < page.find("フレーム").unwrap());
    }
}
