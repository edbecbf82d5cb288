//! The real binary as a child process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Answer, App, Client, SOON, eventually};

/// The binary under test. `FOREBAY_BIN` names another one (a release build, to measure).
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("FOREBAY_BIN").map_or_else(|| env!("CARGO_BIN_EXE_forebay").into(), Into::into)
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `forebay ARGUMENTS` in `folder`, with a limit of time.
#[track_caller]
pub(crate) fn forebay(folder: &Path, arguments: &[&str]) -> Run {
    run(Command::new(binary()).args(arguments).current_dir(folder))
}

/// Runs a line as a person types it; a failure to run is one of the test.
#[track_caller]
pub(crate) fn shell(folder: &Path, line: &str) -> Run {
    run(Command::new("sh").args(["-c", line]).current_dir(folder))
}

#[track_caller]
fn run(command: &mut Command) -> Run {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let read = |stream: Box<dyn std::io::Read + Send>| {
        std::thread::spawn(move || {
            let (mut stream, mut text) = (stream, Vec::new());
            let _ = stream.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let out = read(Box::new(child.stdout.take().unwrap()));
    let err = read(Box::new(child.stderr.take().unwrap()));
    let end = Instant::now() + 3 * SOON;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            let _ = kill(Pid::from_raw(-child.id().cast_signed()), Signal::SIGKILL);
            panic!("still runs after {:?}: {command:?}\n{}", 3 * SOON, err.join().unwrap());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Run {
        code: status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)),
        out: out.join().unwrap(),
        err: err.join().unwrap(),
    }
}

/// A running server. Dropping it kills it, and fails if that is the first failure of the test.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) admin: PathBuf,
    /// From exec to the line that it listens.
    pub(crate) ready_after: Duration,
    log: Arc<Mutex<Vec<String>>>,
    out: Arc<Mutex<Vec<String>>>,
    done: bool,
}

impl Server {
    /// `forebay serve APP --listen 127.0.0.1:0 ARGUMENTS`, once it listens.
    #[track_caller]
    pub(crate) fn serve(app: &App, arguments: &[&str]) -> Self {
        Self::start("serve", app.path(), arguments, &[])
    }

    /// `forebay dev`, once it has greeted.
    #[track_caller]
    pub(crate) fn dev(app: &App, arguments: &[&str]) -> Self {
        let server = Self::start("dev", app.path(), arguments, &[]);
        eventually("a greeting", || server.out().contains("Try:\n").then_some(()));
        server
    }

    #[track_caller]
    pub(crate) fn start(command: &str, app: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Self {
        match Self::try_start(command, app, arguments, env) {
            Ok(server) => server,
            Err(run) => panic!("forebay {command} ended with {}:\n{}{}", run.code, run.out, run.err),
        }
    }

    /// As `start`; if the process ends before it listens, how it did.
    #[track_caller]
    pub(crate) fn try_start(
        command: &str,
        app: &Path,
        arguments: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Self, Run> {
        let mut line = Command::new(binary());
        line.arg(command).arg(app);
        if !arguments.contains(&"--listen") {
            line.args(["--listen", "127.0.0.1:0"]);
        }
        line.args(arguments).envs(env.iter().copied());
        line.env_remove("RUNTIME_DIRECTORY").env_remove("NOTIFY_SOCKET");
        // Ctrl-C on the terminal of the tests is not for it.
        line.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = line.spawn().unwrap_or_else(|error| panic!("{line:?}: {error}"));
        let log = gather(child.stderr.take().unwrap());
        let out = gather(child.stdout.take().unwrap());
        let end = Instant::now() + 3 * SOON;
        loop {
            // Looked at first: what it said before it ended is there then.
            let ended = child.try_wait().unwrap();
            let listening = log.lock().unwrap().iter().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                let address = line["address"].as_str()?.to_owned();
                (line["msg"] == "listening").then(|| (address, line["admin"].clone()))
            });
            if let Some((address, admin)) = listening {
                let address = address.parse().unwrap_or_else(|_| panic!("address {address:?}"));
                let admin: PathBuf = admin.as_str().unwrap().into();
                let ready_after = start.elapsed();
                // Requests are answered a moment before the admin socket is there.
                eventually("the admin socket", || UnixStream::connect(&admin).ok());
                return Ok(Self { child, address, admin, ready_after, log, out, done: false });
            }
            if let Some(status) = ended {
                // The readers see the end of the pipes a moment later.
                std::thread::sleep(Duration::from_millis(50));
                let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
                return Err(Run { code, out: text(&out), err: text(&log) });
            }
            if Instant::now() > end {
                let _ = child.kill();
                panic!("it doesn't listen: {line:?}\n{}", text(&log));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// One GET on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> super::Answer {
        self.client().get(path)
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &str) -> super::Answer {
        self.client().post(path, body)
    }

    /// stderr so far.
    pub(crate) fn log(&self) -> String {
        text(&self.log)
    }

    /// stdout so far.
    pub(crate) fn out(&self) -> String {
        text(&self.out)
    }

    /// The log as objects: each line must be one.
    #[track_caller]
    pub(crate) fn log_lines(&self) -> Vec<Value> {
        let lines = self.log.lock().unwrap();
        lines
            .iter()
            .map(|line| {
                let value: Value =
                    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in the line {line:?}"));
                assert!(
                    value["ts"].is_string() && value["level"].is_string() && value["msg"].is_string(),
                    "{line}"
                );
                value
            })
            .collect()
    }

    /// Waits for a line of the log that contains `what`.
    #[track_caller]
    pub(crate) fn wait_log(&self, what: &str) -> String {
        eventually(&format!("the log says {what:?}"), || {
            self.log.lock().unwrap().iter().find(|line| line.contains(what)).cloned()
        })
    }

    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let reply = forebay_ctl::admin::client::ask(&self.admin, method, path)
            .unwrap_or_else(|error| panic!("admin socket: {error}"));
        (reply.status, reply.body)
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let (status, body) = self.ask("GET", "/v1/status");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Samples of /v1/metrics, summed over cores: by name and the labels but `core`.
    #[track_caller]
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let (status, body) = self.ask("GET", "/v1/metrics");
        assert_eq!(status, 200, "{body}");
        let mut sums = BTreeMap::new();
        for line in body.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line:?}"));
            let name = match name.split_once('{') {
                Some((name, labels)) => {
                    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line:?}"));
                    let labels: Vec<_> =
                        labels.split(',').filter(|label| !label.starts_with("core=")).collect();
                    if labels.is_empty() {
                        name.to_owned()
                    } else {
                        format!("{name}{{{}}}", labels.join(","))
                    }
                }
                None => name.to_owned(),
            };
            *sums.entry(name).or_insert(0.0) += value;
        }
        sums
    }

    /// Nothing is left of the requests so far: no tasks, connections, statements. Call
    /// it when the test's own connections are closed.
    #[track_caller]
    pub(crate) fn check_clean(&self) {
        self.check_clean_but(0);
    }

    /// As `check_clean`; `kept` connections may be left: those that the app keeps to itself
    /// for outbound requests that a rewrite leads back.
    #[track_caller]
    pub(crate) fn check_clean_but(&self, kept: u32) {
        const LEVELS: [&str; 5] = [
            "forebay_connections",
            "forebay_tasks",
            "forebay_queue_depth",
            "forebay_database_in_flight",
            "forebay_database_queued",
        ];
        let mut last = String::new();
        let end = Instant::now() + SOON;
        while Instant::now() < end {
            let metrics = self.metrics();
            let left: Vec<_> = LEVELS
                .iter()
                .filter(|name| metrics[**name] > if **name == LEVELS[0] { f64::from(kept) } else { 0.0 })
                .collect();
            if left.is_empty() {
                return;
            }
            last = left
                .iter()
                .map(|name| format!("{name} = {}", metrics[**name]))
                .collect::<Vec<_>>()
                .join(", ");
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("left over: {last}");
    }

    /// VmRSS without pages of files (the store's map), from proc_pid_status(5).
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for its end by itself.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = eventually("the process ends", || child.try_wait().unwrap());
        self.done = true;
        status
    }

    /// A clean end: nothing left over, SIGTERM, exit code 0, no child process alive.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.check_clean();
        self.end();
    }

    /// As `stop`, of a server that keeps connections to itself.
    #[track_caller]
    pub(crate) fn stop_but(self, kept: u32) {
        self.check_clean_but(kept);
        self.end();
    }

    fn end(mut self) {
        let children = self.children();
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "exit of a drained server: {status}");
        for (pid, name) in children {
            eventually(&format!("{name} ({pid}) ends with its server"), || (!is_alive(pid)).then_some(()));
        }
        assert!(!self.admin.exists(), "the admin socket is left behind");
    }

    /// SIGKILL, as a crash.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        let status = self.wait();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
    }

    /// Processes below this one: pid and name.
    pub(crate) fn children(&self) -> Vec<(Pid, String)> {
        let mut found = vec![(self.pid(), String::new())];
        let mut next = 0;
        let all: Vec<_> = processes();
        while next < found.len() {
            let parent = found[next].0;
            found.extend(all.iter().filter(|p| p.1 == parent).map(|p| (p.0, p.2.clone())));
            next += 1;
        }
        found.split_off(1)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.done {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the server ({}) ---\n{}---", self.address, text(&self.log));
        }
    }
}

fn text(lines: &Mutex<Vec<String>>) -> String {
    lines.lock().unwrap().iter().fold(String::new(), |text, line| text + line + "\n")
}

/// Collects lines on a thread until the stream ends.
fn gather(stream: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { return };
            to.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
        }
    });
    lines
}

/// A zombie is dead.
pub(crate) fn is_alive(pid: Pid) -> bool {
    stat(pid).is_some_and(|(_, _, state)| state != 'Z')
}

fn processes() -> Vec<(Pid, Pid, String)> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?);
        let (name, parent, _) = stat(pid)?;
        Some((pid, parent, name))
    })
    .collect()
}

/// Name, parent and state, from proc_pid_stat(5).
fn stat(pid: Pid) -> Option<(String, Pid, char)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (start, end) = (text.find('(')?, text.rfind(')')?);
    let mut rest = text[end + 2..].split(' ');
    let state = rest.next()?.chars().next()?;
    let parent = Pid::from_raw(rest.next()?.parse().ok()?);
    Some((text[start + 1..end].to_owned(), parent, state))
}

/// One request on a connection of its own, its body as JSON.
pub(crate) fn ask(server: &Server, method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
    let mut client = server.client();
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n", body.len());
    if !body.is_empty() {
        text.push_str("Content-Type: application/json\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    client.send(format!("{text}\r\n{body}").as_bytes());
    client.answer(method)
}
