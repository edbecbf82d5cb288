//! `forebay-bench durable`: what a step of a durable task costs beside one synced write of the same device, what a
//! parked task costs in memory, and whether a task's age matters.
//!
//! ```text
//!   floor   synced writes of as many bytes as a step took, through a ring of their own, into a file that was written
//!           before; their p50, before and after the tasks. Beside it one aligned block of 4 KiB with O_DSYNC
//!   steps   tasks of STEPS kv.incr each, one after the other: start, STEPS suspensions, end are STEPS + 2 syncs
//!   age     one task of many steps: the time of its first thousand beside that of its last
//!   parked  tasks that sleep for a month, started over pipelined connections: anonymous memory before and after
//! ```
//!
//! Every answer is checked: the counters must have counted each step once, every start must answer 202.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use forebay_ring::{Disk as _, Durability, Event, Reactor as _, UringReactor, Wait};
use nix::fcntl::OFlag;

use crate::machine;
use crate::server::Server;

/// Arguments of `forebay-bench durable`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct DurableArgs {
    /// Tasks whose steps are timed.
    #[arg(long, default_value_t = 100)]
    tasks: usize,
    /// Steps of the task that grows old, at least 2,000.
    #[arg(long, default_value_t = 20_000)]
    age: usize,
    /// Tasks that are parked.
    #[arg(long, default_value_t = 100_000)]
    parked: usize,
    /// Folder of the release binary `forebay`.
    #[arg(long, default_value = "target/release")]
    bin: PathBuf,
    /// Where the data folder and the floor's file are made: a disk, not memory.
    #[arg(long, default_value = "target")]
    folder: PathBuf,
}

const STEPS: usize = 50;
const BLOCK: usize = 1000;
const PIPELINED: usize = 64;
const FLOOR_WRITES: u32 = 2000;
const BLOCK_BYTES: usize = 4096;
/// The floor is taken in a warm ring: the first writes don't count.
const FLOOR_WARM: u32 = 100;

const APP: &str = r#"
work("Steps").post("/steps/{name}", req => {
  for (let i = 0; i < 50; i++) kv.incr("steps/" + req.params.name);
  return kv.get("steps/" + req.params.name);
}).durable();
work("Age").post("/age/{blocks}", req => {
  const blocks = parseInt(req.params.blocks);
  const times = [];
  for (let block = 0; block < blocks; block++) {
    const start = now().getTime();
    for (let i = 0; i < 1000; i++) kv.incr("age");
    times.push(now().getTime() - start);
  }
  return { count: kv.get("age"), times };
}).durable().timeout("10m");
work("Parked").post("/parked", () => {
  const order = payload();
  sleep("30d");
  return order;
}).durable();
"#;

/// Measures and prints all of it.
pub(crate) fn bench(args: &DurableArgs) -> Result<(), String> {
    machine();
    fs::create_dir_all(&args.folder).map_err(|e| format!("{}: {e}", args.folder.display()))?;
    let work = args.folder.join(format!("bench-durable-{}", std::process::id()));
    fs::create_dir_all(work.join("app/blueprints")).map_err(|e| format!("{}: {e}", work.display()))?;
    let result = measure(args, &work);
    let _ = fs::remove_dir_all(&work);
    result
}

fn measure(args: &DurableArgs, work: &Path) -> Result<(), String> {
    fs::write(work.join("app/blueprints/durable.js"), APP).map_err(|e| e.to_string())?;
    let text = |name: &str| work.join(name).to_string_lossy().into_owned();
    let addr = SocketAddr::from(([127, 0, 0, 1], 18085));
    let (app, data, socket) = (text("app"), text("data"), text("admin.sock"));
    let server = Server::start(
        "forebay",
        &args.bin.join("forebay"),
        &["serve", &app, "--listen", "127.0.0.1:18085", "--data", &data, "--admin", &socket, "--cores", "0"],
        addr,
    )?;
    let mut client = Client::connect(addr)?;
    let mut run = |tasks: usize, name: &str| -> Result<Vec<f64>, String> {
        let mut steps = Vec::with_capacity(tasks);
        for task in 0..tasks {
            let (answer, time) =
                client.timed(&post(&format!("/steps/{name}{task}"), "Prefer: wait=60\r\n", ""))?;
            if answer != STEPS.to_string() {
                return Err(format!("a task of {STEPS} steps counted {answer}"));
            }
            steps.push(time.as_secs_f64() * 1e6 / (STEPS + 2) as f64);
        }
        Ok(steps)
    };
    // How much a step writes is known after some of them.
    let empty = logged(Path::new(&data))?;
    let warm = args.tasks.div_ceil(10);
    run(warm, "warm")?;
    let written = logged(Path::new(&data))?.saturating_sub(empty);
    let bytes = usize::try_from(written).unwrap_or(usize::MAX).div_ceil(warm * (STEPS + 2));
    let (before, block_before) = (floor(work, bytes)?, block_floor(work)?);
    let mut steps = run(args.tasks, "timed")?;
    let (after, block_after) = (floor(work, bytes)?, block_floor(work)?);
    let step = median(&mut steps);
    println!("floor, {bytes} bytes through a ring  {before:8.1} us before, {after:.1} after");
    println!("one block of 4 KiB, O_DSYNC   {block_before:8.1} us before, {block_after:.1} after");
    println!(
        "a step (suspend, sync, go on) {step:8.1} us, {:.2} of the floor, {:.2} of the block",
        step / before.midpoint(after),
        step / block_before.midpoint(block_after)
    );

    let blocks = (args.age / BLOCK).max(2);
    let (answer, _) = client.timed(&post(&format!("/age/{blocks}"), "Prefer: wait=60\r\n", ""))?;
    let value: serde_json::Value = serde_json::from_str(&answer).map_err(|e| format!("{e}: {answer}"))?;
    let count = value["count"].as_u64();
    if count != Some((blocks * BLOCK) as u64) {
        return Err(format!("{} steps counted {count:?}", blocks * BLOCK));
    }
    let times: Vec<u64> =
        value["times"].as_array().into_iter().flatten().filter_map(|t| t.as_u64()).collect();
    let (first, last) = (times.first().copied().unwrap_or(0), times.last().copied().unwrap_or(0));
    println!(
        "the first {BLOCK} steps of a task {first:7} ms; its last {BLOCK} of {}: {last} ms",
        blocks * BLOCK
    );

    let empty = anonymous(server.pid())?;
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    let start = Instant::now();
    let burst =
        post("/parked", "Content-Type: application/json\r\n", r#"{"order":17,"item":"tea","amount":2}"#)
            .repeat(PIPELINED);
    let rounds = args.parked.div_ceil(PIPELINED);
    for _ in 0..rounds {
        client.send(&burst)?;
        for _ in 0..PIPELINED {
            let (head, _) = client.receive()?;
            if !head.starts_with("HTTP/1.1 202 ") {
                return Err(format!("unexpected answer: {head}"));
            }
        }
    }
    let parked = rounds * PIPELINED;
    let rate = parked as f64 / start.elapsed().as_secs_f64();
    // The last ones go to sleep.
    std::thread::sleep(Duration::from_secs(2));
    let full = anonymous(server.pid())?;
    let each = full.saturating_sub(empty) as f64 / parked as f64;
    println!(
        "{parked} tasks asleep          {each:8.0} bytes of anonymous memory each; {rate:.0} started a second"
    );
    Ok(())
}

fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: bench\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Bytes of the log that were written: its segments without the zeros at their ends.
fn logged(data: &Path) -> Result<u64, String> {
    let files = || -> std::io::Result<u64> {
        let mut bytes = 0;
        for entry in fs::read_dir(data)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "seg") {
                let segment = fs::read(path)?;
                bytes += segment.iter().rposition(|&b| b != 0).map_or(0, |last| last as u64 + 1);
            }
        }
        Ok(bytes)
    };
    files().map_err(|e| format!("{}: {e}", data.display()))
}

/// A file of `bytes` that were written before and are on the disk.
fn prewritten(path: &Path, bytes: usize) -> std::io::Result<()> {
    const PIECE: usize = 64 * 1024;
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    for at in (0..bytes).step_by(PIECE) {
        file.write_all_at(&[0; PIECE], at as u64)?;
    }
    file.sync_all()
}

/// p50 of synced writes of `bytes` one after the other, microseconds: the interface and the flags that the store's
/// commits have, with nothing around them.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn floor(work: &Path, bytes: usize) -> Result<f64, String> {
    let path = work.join("floor");
    let writes = FLOOR_WARM + FLOOR_WRITES;
    let written = || -> std::io::Result<Vec<f64>> {
        prewritten(&path, writes as usize * bytes)?;
        let mut reactor = UringReactor::new(forebay_ring::Config::default())?;
        let file = OpenOptions::new().write(true).open(&path)?;
        let file = forebay_ring::File::from(file);
        let mut block = vec![0x5a; bytes];
        let mut times = Vec::new();
        for write in 0..writes {
            let start = Instant::now();
            reactor.write_at(&file, u64::from(write) * bytes as u64, block, Durability::Synced, 1);
            block = loop {
                reactor.turn(Wait::Forever)?;
                if let Some(Event::Disk { result, buffer, .. }) = reactor.next_event() {
                    if result.map_err(|e| std::io::Error::from_raw_os_error(e.0))? != bytes {
                        return Err(std::io::ErrorKind::WriteZero.into());
                    }
                    break buffer;
                }
            };
            if write >= FLOOR_WARM {
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        Ok(times)
    };
    written().map(|mut times| median(&mut times)).map_err(|e| format!("{}: {e}", path.display()))
}

/// p50 of synced writes of an aligned block each, without a ring, microseconds.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn block_floor(work: &Path) -> Result<f64, String> {
    let path = work.join("floor");
    let written = || -> std::io::Result<Vec<f64>> {
        prewritten(&path, FLOOR_WRITES as usize * BLOCK_BYTES)?;
        let block = [0x5a; BLOCK_BYTES];
        let file = OpenOptions::new().write(true).custom_flags(OFlag::O_DSYNC.bits()).open(&path)?;
        let mut times = Vec::new();
        for at in 0..u64::from(FLOOR_WRITES) {
            let start = Instant::now();
            file.write_all_at(&block, at * BLOCK_BYTES as u64)?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        Ok(times)
    };
    written().map(|mut times| median(&mut times)).map_err(|e| format!("{}: {e}", path.display()))
}

/// Anonymous resident memory of a process, bytes (proc(5), RssAnon).
fn anonymous(pid: u32) -> Result<u64, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|e| e.to_string())?;
    text.lines()
        .find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| "no RssAnon in /proc/PID/status".to_owned())
}

/// One connection; answers in the order of the requests.
struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    fn connect(addr: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(addr).map_err(|e| e.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(70))).map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        Ok(Self { stream, input: Vec::new() })
    }

    fn send(&mut self, request: &[u8]) -> Result<(), String> {
        self.stream.write_all(request).map_err(|e| format!("send: {e}"))
    }

    /// The body of a 200, and how long it took.
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    fn timed(&mut self, request: &[u8]) -> Result<(String, Duration), String> {
        let start = Instant::now();
        self.send(request)?;
        let (head, body) = self.receive()?;
        if head.starts_with("HTTP/1.1 200 ") {
            Ok((body, start.elapsed()))
        } else {
            Err(format!("unexpected answer: {head}\n{body}"))
        }
    }

    /// The next answer: head and body.
    fn receive(&mut self) -> Result<(String, String), String> {
        let mut chunk = [0; 64 * 1024];
        loop {
            if let Some(head) = memchr::memmem::find(&self.input, b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&self.input[..head]).into_owned();
                let length = crate::client::content_length(&self.input[..head]).unwrap_or(0);
                let end = head + 4 + length;
                if self.input.len() >= end {
                    let body = String::from_utf8_lossy(&self.input[head + 4..end]).into_owned();
                    self.input.drain(..end);
                    return Ok((text, body));
                }
            }
            match self.stream.read(&mut chunk).map_err(|e| format!("recv: {e}"))? {
                0 => return Err("the server closed the connection".into()),
                count => self.input.extend_from_slice(&chunk[..count]),
            }
        }
    }
}
