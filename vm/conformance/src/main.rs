//! `test262 --root DIR`: the engine against a checkout of tc39/test262.
//!
//! ```text
//!   main ----- paths, one a line -----> worker process    runs each test in a world of its own
//!        <---- outcome, one a line ----                   (vm, blueprint, arena), fuel and memory capped
//! ```
//!
//! A worker that dies or doesn't answer is killed and replaced: its test is to blame, the run
//! goes on. Failing paths go to a file with a reason each; the last line is the result.
//!
//! | file | what it holds |
//! |---|---|
//! | `metadata` | the head of a test |
//! | `subset` | which tests count |
//! | `run` | one test |

mod metadata;
mod run;
mod subset;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use metadata::Metadata;
use run::{Outcome, Runner};

const USAGE: &str = "usage: cargo xtask test262 --root DIR [--list FILE] [--jobs N] [--filter SUBSTRING] \
[--all] [--failures FILE]

  --root DIR        a checkout of tc39/test262
  --list FILE       run these tests (paths below test/, one a line) instead of the subset
  --filter TEXT     only tests whose path contains TEXT
  --jobs N          worker processes (default: the machine's processors)
  --all             all files of the suite: they may fail, but not crash, hang or take memory without end
  --failures FILE   where failing paths and reasons go (default: test262-failures.txt)";

/// A worker that says nothing for so long hangs: the engine's own limits are lower.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Resident memory of a worker after a test, beyond which memory leaks.
const RESIDENT_BYTES_MAX: u64 = 3 << 30;

#[derive(Default)]
struct Arguments {
    root: PathBuf,
    list: Option<PathBuf>,
    filter: String,
    jobs: usize,
    all: bool,
    failures: PathBuf,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, root] = &words[..]
        && flag == "--worker"
    {
        return worker(Path::new(root));
    }
    let Some(arguments) = parse(&words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run_all(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(words: &[String]) -> Option<Arguments> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut a = Arguments { jobs, failures: "test262-failures.txt".into(), ..Arguments::default() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--all" => a.all = true,
            "--root" => a.root = words.next()?.into(),
            "--list" => a.list = Some(words.next()?.into()),
            "--filter" => a.filter.clone_from(words.next()?),
            "--failures" => a.failures = words.next()?.into(),
            "--jobs" => a.jobs = words.next()?.parse().ok().filter(|n| (1..=256).contains(n))?,
            _ => return None,
        }
    }
    (!a.root.as_os_str().is_empty()).then_some(a)
}

/// Paths below `test/` that this run is about, in order.
fn selection(a: &Arguments) -> Result<Vec<String>, String> {
    let mut paths = Vec::new();
    if let Some(list) = &a.list {
        let text = std::fs::read_to_string(list).map_err(|e| format!("{}: {e}", list.display()))?;
        let first = |line: &str| line.split('\t').next().unwrap_or("").trim().to_owned();
        paths.extend(text.lines().map(first).filter(|p| !p.is_empty()));
    } else {
        let top = a.root.join("test");
        walk(&top, &top, &mut paths)?;
        paths.sort();
        if !a.all {
            let in_subset = |path: &String| match std::fs::read(top.join(path)) {
                Ok(bytes) => {
                    let metadata = Metadata::of(&String::from_utf8_lossy(&bytes));
                    subset::left_out(path, &metadata).is_none()
                }
                Err(_) => true,
            };
            paths.retain(in_subset);
        }
    }
    paths.retain(|path| path.contains(&a.filter));
    if paths.is_empty() { Err("no test matches".into()) } else { Ok(paths) }
}

fn walk(top: &Path, at: &Path, out: &mut Vec<String>) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", at.display());
    for entry in std::fs::read_dir(at).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            walk(top, &path, out)?;
        } else if let Some(name) = path.strip_prefix(top).ok().and_then(Path::to_str)
            && name.ends_with(".js")
            && !name.ends_with("_FIXTURE.js")
        {
            out.push(name.to_owned());
        }
    }
    Ok(())
}

fn run_all(a: &Arguments) -> Result<bool, String> {
    let paths = selection(a)?;
    let next = AtomicUsize::new(0);
    let results: Mutex<BTreeMap<usize, Outcome>> = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..a.jobs.min(paths.len()) {
            scope.spawn(|| {
                let mut worker = None;
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(path) = paths.get(at) else { break };
                    let outcome = ask(&mut worker, &a.root, path);
                    if let Ok(mut results) = results.lock() {
                        results.insert(at, outcome);
                    }
                }
            });
        }
    });
    let results = results.into_inner().map_err(|e| e.to_string())?;
    report(a, &paths, &results)
}

fn report(a: &Arguments, paths: &[String], results: &BTreeMap<usize, Outcome>) -> Result<bool, String> {
    let (mut passed, mut broken) = (0usize, 0usize);
    let mut failures = String::new();
    let mut by_directory: BTreeMap<String, usize> = BTreeMap::new();
    for (at, outcome) in results {
        let (label, why) = match outcome {
            Outcome::Passed => {
                passed += 1;
                continue;
            }
            Outcome::Failed(why) => ("", why),
            Outcome::Broken(why) => {
                broken += 1;
                ("BROKEN ", why)
            }
        };
        let path = &paths[*at];
        if a.all && label.is_empty() {
            continue;
        }
        let _ = writeln!(failures, "{path}\t{label}{why}");
        let parents = path.rsplit_once('/').map_or("", |(parents, _)| parents);
        let directory = parents.split('/').take(3).collect::<Vec<_>>().join("/");
        *by_directory.entry(directory).or_default() += 1;
    }
    std::fs::write(&a.failures, failures).map_err(|e| format!("{}: {e}", a.failures.display()))?;
    for (directory, count) in &by_directory {
        println!("{count:6}  {directory}");
    }
    let percent = |part: usize| part as f64 * 100.0 / paths.len() as f64;
    if a.all {
        println!("test262: {broken} of {} files crash, hang or exhaust a budget", paths.len());
    }
    println!("test262: {passed} of {} passed ({:.2}%)", paths.len(), percent(passed));
    let mut plain = (0usize, 0usize);
    for (at, outcome) in results {
        let source = std::fs::read(a.root.join("test").join(&paths[*at])).unwrap_or_default();
        if !subset::makes_code(&String::from_utf8_lossy(&source)) {
            plain = (plain.0 + usize::from(matches!(outcome, Outcome::Passed)), plain.1 + 1);
        }
    }
    let share = plain.0 as f64 * 100.0 / plain.1.max(1) as f64;
    println!("test262: {} of {} passed ({share:.2}%) of those that make no code from text", plain.0, plain.1);
    Ok(if a.all { broken == 0 } else { passed == paths.len() })
}

// Worker processes.

struct Worker {
    child: Child,
    input: ChildStdin,
    output: Receiver<String>,
}

impl Worker {
    fn start(root: &Path) -> Result<Self, String> {
        let me = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut child = Command::new(me)
            .arg("--worker")
            .arg(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("a worker process can't be started: {e}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a worker process without pipes".into());
        };
        let (sender, receiver) = channel();
        #[expect(clippy::disallowed_methods, reason = "a tool of developers: the thread ends with its pipe")]
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, input, output: receiver })
    }

    fn end(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets a worker run one test; replaces workers that die or hang.
fn ask(slot: &mut Option<Worker>, root: &Path, path: &str) -> Outcome {
    let mut worker = match slot.take().map_or_else(|| Worker::start(root), Ok) {
        Ok(worker) => worker,
        Err(error) => return Outcome::Broken(error),
    };
    if writeln!(worker.input, "{path}").and_then(|()| worker.input.flush()).is_err() {
        worker.end();
        return Outcome::Broken("the worker process is gone".into());
    }
    let answer = worker.output.recv_timeout(ANSWER_TIMEOUT);
    match answer {
        Ok(line) => {
            let mut parts = line.splitn(2, '\t');
            let outcome = match (parts.next(), parts.next().unwrap_or("").to_owned()) {
                (Some("passed"), _) => Outcome::Passed,
                (Some("failed"), why) => Outcome::Failed(why),
                (_, why) => Outcome::Broken(why),
            };
            *slot = Some(worker);
            outcome
        }
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
            worker.end();
            Outcome::Broken("hangs".into())
        }
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
            worker.end();
            Outcome::Broken("crashes the process".into())
        }
    }
}

/// The worker's side: paths in, outcomes out.
fn worker(root: &Path) -> ExitCode {
    let mut runner = Runner::new(root);
    let mut out = std::io::stdout();
    for path in std::io::stdin().lines().map_while(Result::ok) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runner.run(&path)))
            .unwrap_or_else(|_| Outcome::Broken("panics".into()));
        let outcome = match resident_bytes() {
            Some(bytes) if bytes > RESIDENT_BYTES_MAX => {
                Outcome::Broken(format!("{} MiB stay resident", bytes >> 20))
            }
            _ => outcome,
        };
        let line = match outcome {
            Outcome::Passed => "passed".to_owned(),
            Outcome::Failed(why) => format!("failed\t{why}"),
            Outcome::Broken(why) => format!("broken\t{why}"),
        };
        if writeln!(out, "{}", line.replace('\n', " ")).and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

/// proc(5), /proc/self/statm: resident pages are the second number.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    text.split_whitespace().nth(1)?.parse::<u64>().ok().map(|pages| pages * 4096)
}
