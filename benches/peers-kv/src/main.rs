//! The log store beside LMDB (heed), redb, fjall, SQLite WAL and, with feature `rocksdb`, RocksDB, in one paired run.
//!
//! Every engine lives in a child process of its own, so that its memory is its own and a crash is a kill -9;
//! this process tells the children what to do, one at a time, row by row and round by round, so that a noisy
//! moment hits all of them. The rows' medians are printed, with the spread of the rounds.
//!
//! ```text
//! cargo run --release -- [--dir DIR] [--keys 1000000] [--ms 1000] [--rounds 3] [--overwrite 5] [--engines forebay,lmdb,...]
//! ```
//!
//! | row | one operation is |
//! |---|---|
//! | load | one of the keys, in random order, 1000 in a transaction or batch, without sync |
//! | get | a random key, as a read of its own; the value is checked |
//! | set, cas | a write without sync of a random key; cas reads, compares and writes |
//! | scan100 | 100 keys in order from a random one, keys and values checked |
//! | dur1, dur8, dur64 | a write; N of them share one commit and one sync |
//! | open | after kill -9: after the load, and after everything |
//! | disk | allocated bytes of the folder over bytes of keys and values, after every key was overwritten 5 times |
//! | memory | anonymous and file-backed, after everything |
//!
//! `cpu us` is CPU time of all the engine's threads per operation: on a machine with other work it compares
//! better than the clock. `device` is the floor: one write with O_DSYNC of as many bytes as the store's records, on prezeroed space.

mod child;
mod engines;
#[cfg(feature = "rocksdb")]
mod rocks;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

type Failure = Box<dyn std::error::Error>;

struct Options {
    dir: PathBuf,
    keys: u64,
    ms: u64,
    rounds: usize,
    overwrite: u64,
    engines: Vec<String>,
    rows: Vec<String>,
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == "--child") {
        return child::main(&args[1], Path::new(&args[2]), args[3].parse()?);
    }
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    let mut options = Options {
        dir: std::env::temp_dir().join(format!("peers-kv.{}", std::process::id())),
        keys: 1_000_000,
        ms: 1000,
        rounds: 3,
        overwrite: 5,
        engines: list("forebay,lmdb,redb,fjall,sqlite,device"),
        rows: list("get,set,cas,scan,dur 1,dur 8,dur 64"),
    };
    for pair in args.chunks(2) {
        let [name, value] = pair else { return Err("every option has a value".into()) };
        match name.as_str() {
            "--dir" => options.dir = value.into(),
            "--keys" => options.keys = value.parse()?,
            "--ms" => options.ms = value.parse()?,
            "--overwrite" => options.overwrite = value.parse()?,
            "--rounds" => options.rounds = value.parse()?,
            "--engines" => options.engines = list(value),
            "--rows" => options.rows = list(value),
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    std::fs::create_dir_all(&options.dir)?;
    let result = run(&options);
    std::fs::remove_dir_all(&options.dir)?;
    result
}

fn run(options: &Options) -> Result<(), Failure> {
    let mut table = Table::default();
    let mut peers = Vec::new();
    for engine in &options.engines {
        let mut peer = Peer::spawn(engine, options)?;
        let answer = peer.ask("load")?;
        table.add("load k/s", engine, answer[0]);
        peer.ask("dur 1 10")?;
        peer.crash()?;
        peer = Peer::spawn(engine, options)?;
        table.add("open after load ms", engine, peer.open_ms[0]);
        table.add("open after load cpu ms", engine, peer.open_ms[1]);
        peers.push(peer);
    }
    for _ in 0..options.rounds {
        for row in &options.rows {
            for peer in &mut peers {
                let answer = peer.ask(&format!("{row} {}", options.ms))?;
                let name = row.replace(' ', "");
                table.add(&format!("{name} k/s"), &peer.engine, answer[0]);
                table.add(&format!("{name} cpu us"), &peer.engine, answer[3]);
                if row.starts_with("dur") {
                    table.add(&format!("{name} p50 us"), &peer.engine, answer[1]);
                    table.add(&format!("{name} p99 us"), &peer.engine, answer[2]);
                }
            }
        }
    }
    for peer in peers.iter_mut().filter(|_| options.overwrite > 0) {
        let answer = peer.ask(&format!("overwrite {}", options.overwrite))?;
        table.add("overwrite k/s", &peer.engine, answer[0]);
        peer.ask("settle")?;
        let live = (options.keys * (child::KEY_BYTES + child::VALUE_BYTES) as u64) as f64;
        let disk = allocated(&options.dir.join(&peer.engine))?;
        table.add("disk / live bytes", &peer.engine, disk as f64 / live);
        let memory = peer.ask("memory")?;
        table.add("memory anon MB", &peer.engine, memory[0]);
        table.add("memory file MB", &peer.engine, memory[1]);
    }
    for peer in peers {
        let engine = peer.engine.clone();
        peer.crash()?;
        let peer = Peer::spawn(&engine, options)?;
        table.add("open at the end ms", &engine, peer.open_ms[0]);
        table.add("open at the end cpu ms", &engine, peer.open_ms[1]);
        peer.crash()?;
    }
    table.print(&options.engines);
    Ok(())
}

/// Allocated bytes of a folder's files.
fn allocated(folder: &Path) -> Result<u64, Failure> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() { allocated(&entry.path())? } else { meta.blocks() * 512 };
    }
    Ok(bytes)
}

/// A child process with one engine.
struct Peer {
    engine: String,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// By the clock, and CPU time of all threads.
    open_ms: [f64; 2],
}

impl Peer {
    fn spawn(engine: &str, options: &Options) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--child", engine])
            .arg(options.dir.join(engine))
            .arg(options.keys.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (to, from) = (child.stdin.take().ok_or("no pipe")?, child.stdout.take().ok_or("no pipe")?);
        let mut peer =
            Self { engine: engine.to_owned(), child, to, from: BufReader::new(from), open_ms: [0.0; 2] };
        let answer = peer.answer()?;
        peer.open_ms = [answer[0], answer[1]];
        Ok(peer)
    }

    fn ask(&mut self, command: &str) -> Result<Vec<f64>, Failure> {
        writeln!(self.to, "{command}")?;
        self.answer().map_err(|e| format!("{}: {command}: {e}", self.engine).into())
    }

    fn answer(&mut self) -> Result<Vec<f64>, Failure> {
        let mut line = String::new();
        if self.from.read_line(&mut line)? == 0 {
            return Err("the child ended".into());
        }
        Ok(line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    }

    fn crash(mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

#[derive(Default)]
struct Table {
    rows: Vec<String>,
    cells: BTreeMap<(String, String), Vec<f64>>,
}

impl Table {
    fn add(&mut self, row: &str, engine: &str, value: f64) {
        if !self.rows.iter().any(|r| r == row) {
            self.rows.push(row.to_owned());
        }
        self.cells.entry((row.to_owned(), engine.to_owned())).or_default().push(value);
    }

    fn print(&self, engines: &[String]) {
        print!("{:20}", "");
        engines.iter().for_each(|e| print!(" {e:>20}"));
        println!();
        for row in &self.rows {
            print!("{row:20}");
            for engine in engines {
                let cell = self.cells.get(&(row.clone(), engine.clone()));
                let text = cell.map_or("-".to_owned(), |values| {
                    let mut values = values.clone();
                    values.sort_by(f64::total_cmp);
                    let median = values[values.len() / 2];
                    let digits = if median < 10.0 { 2 } else { 0 };
                    match values.len() {
                        1 => format!("{median:.digits$}"),
                        n => {
                            format!("{median:.digits$} ({:.digits$}..{:.digits$})", values[0], values[n - 1])
                        }
                    }
                });
                print!(" {text:>20}");
            }
            println!();
        }
    }
}
