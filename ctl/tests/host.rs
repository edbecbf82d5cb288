//! A whole life: prepare, serve, deploys from every side, drain. The test is the
//! hosting process itself, so it has no harness (signals go to the process).
#![expect(clippy::unwrap_used, reason = "a test")]

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use forebay_ctl::admin::client::ask;
use forebay_ctl::admin::{Control, ControlError};
use forebay_ctl::host::{Host, HostOptions, Service};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// A data path that counts. Files of the app steer it: `lib/broken` fails a deploy,
/// `lib/stuck` a drain, `lib/dead` is a thread that ended.
#[derive(Debug)]
struct Fake {
    app: std::path::PathBuf,
    deploys: AtomicUsize,
    drained: AtomicBool,
}

impl Fake {
    fn has(&self, name: &str) -> bool {
        self.app.join("lib").join(name).exists()
    }
}

impl Control for Fake {
    fn kv(&self, command: &Value) -> Result<Value, ControlError> {
        Ok(command.clone())
    }
    fn eval(&self, command: &Value) -> Result<Value, ControlError> {
        Ok(command.clone())
    }
    fn task(&self, command: &Value) -> Result<Value, ControlError> {
        Ok(command.clone())
    }
    fn status(&self) -> Value {
        json!({ "deploys": self.deploys.load(Ordering::SeqCst) })
    }
    fn routes(&self) -> Value {
        json!({})
    }
    fn metrics(&self) -> String {
        String::new()
    }
    fn topology(&self) -> Value {
        json!({})
    }
    fn deploy(&self) -> Result<Value, ControlError> {
        self.deploys.fetch_add(1, Ordering::SeqCst);
        if self.has("broken") {
            return Err(ControlError {
                status: 422,
                code: "deploy/compile",
                detail: "error: broken\n --> x".into(),
            });
        }
        Ok(json!({ "generation": "g" }))
    }
    fn drain(&self) -> Result<Value, ControlError> {
        self.drained.store(true, Ordering::SeqCst);
        Ok(json!({}))
    }
}

impl Service for Fake {
    fn finish(&self, timeout: Duration) -> bool {
        assert!(self.drained.load(Ordering::SeqCst));
        if self.has("stuck") {
            std::thread::sleep(timeout);
            return false;
        }
        true
    }
    fn is_alive(&self) -> bool {
        !self.has("dead")
    }
    fn summary(&self) -> String {
        format!("{} deploys", self.deploys.load(Ordering::SeqCst))
    }
}

/// The process under test.
fn host(app: &Path) -> std::process::ExitCode {
    let host = Host::prepare(false).unwrap();
    host.status("starting");
    if std::env::var_os("FOREBAY_TEST_DRAIN").unwrap() == "0" {
        std::thread::sleep(Duration::from_secs(60));
    }
    let service =
        Arc::new(Fake { app: app.to_owned(), deploys: AtomicUsize::new(0), drained: AtomicBool::new(false) });
    let options = HostOptions {
        app: app.to_owned(),
        admin: app.join("admin.sock"),
        watch: true,
        drain_timeout: Duration::from_secs(std::env::var("FOREBAY_TEST_DRAIN").unwrap().parse().unwrap()),
    };
    match host.run(service, &options) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            std::process::ExitCode::FAILURE
        }
    }
}

struct Bed {
    app: tempfile::TempDir,
    manager: UnixDatagram,
    child: Child,
}

impl Bed {
    /// 0 seconds: never comes to serve.
    fn start(drain_seconds: u32) -> Self {
        let app = tempfile::tempdir().unwrap();
        std::fs::create_dir(app.path().join("lib")).unwrap();
        let address = app.path().join("notify");
        let manager = UnixDatagram::bind(&address).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .env("FOREBAY_TEST_HOST", app.path())
            .env("FOREBAY_TEST_DRAIN", drain_seconds.to_string())
            .env("NOTIFY_SOCKET", address)
            .env("WATCHDOG_USEC", "200000")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let bed = Self { app, manager, child };
        bed.told("STATUS=starting");
        if drain_seconds > 0 {
            bed.told("READY=1\nSTATUS=0 deploys");
        }
        bed
    }

    /// The next message to the service manager that is no watchdog's.
    fn told(&self, expected: &str) {
        loop {
            let mut buffer = [0; 300];
            let length = self.manager.recv(&mut buffer).expect(expected);
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            if text != "WATCHDOG=1" {
                assert!(text.starts_with(expected), "{text:?} is not {expected:?}");
                return;
            }
        }
    }

    fn told_deploy(&self, count: usize) {
        self.told("RELOADING=1\nMONOTONIC_USEC=");
        self.told(&format!("READY=1\nSTATUS={count} deploys"));
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    fn file(&self, name: &str) {
        std::fs::write(self.app.path().join("lib").join(name), "x").unwrap();
    }

    /// Exit code and log.
    fn end(self) -> (Option<i32>, String) {
        let output = self.child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

fn a_whole_life() {
    let bed = Bed::start(1);
    let socket = bed.app.path().join("admin.sock");
    bed.signal(Signal::SIGHUP);
    bed.told_deploy(1);
    bed.file("saved.js");
    bed.told_deploy(2);
    assert_eq!(ask(&socket, "POST", "/v1/deploy").unwrap().status, 200);
    bed.told_deploy(3);
    bed.file("broken");
    bed.told_deploy(4);
    assert_eq!(ask(&socket, "POST", "/v1/deploy").unwrap().status, 422);
    bed.told_deploy(5);
    assert!(ask(&socket, "GET", "/v1/status").unwrap().body.contains("\"deploys\":5"));
    assert_eq!(ask(&socket, "POST", "/v1/drain").unwrap().status, 200);
    bed.told("STOPPING=1");
    let (code, log) = bed.end();
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let said = |text: &str| lines.iter().filter(|line| line["msg"] == text).count();
    assert_eq!((said("deployed"), said("drained")), (3, 1), "{log}");
    assert!(lines.iter().any(|line| line["detail"] == "error: broken\n --> x"), "{log}");
    assert!(!socket.exists());
}

fn sigterm_drains_and_a_slow_drain_is_a_failure() {
    let bed = Bed::start(1);
    bed.signal(Signal::SIGTERM);
    bed.told("STOPPING=1");
    assert_eq!(bed.end().0, Some(0));
    let bed = Bed::start(1);
    bed.file("stuck");
    bed.told_deploy(1);
    bed.signal(Signal::SIGTERM);
    let (code, log) = bed.end();
    assert!(code == Some(1) && log.contains("still ran after 1 s"), "{log}");
}

fn a_second_signal_exits_at_once() {
    let bed = Bed::start(60);
    bed.file("stuck");
    bed.told_deploy(1);
    bed.signal(Signal::SIGINT);
    bed.told("STOPPING=1");
    bed.signal(Signal::SIGINT);
    let (code, log) = bed.end();
    assert!(code == Some(1) && log.contains("second signal"), "{log}");
}

fn a_signal_while_starting_exits_at_once() {
    let bed = Bed::start(0);
    bed.signal(Signal::SIGHUP);
    bed.signal(Signal::SIGINT);
    let (code, log) = bed.end();
    assert!(code == Some(1) && log.contains("while starting"), "{log}");
}

fn a_dead_core_ends_the_process() {
    let bed = Bed::start(60);
    bed.file("dead");
    let (code, log) = bed.end();
    assert!(code == Some(1) && log.contains("has ended"), "{log}");
}

fn main() -> std::process::ExitCode {
    if let Some(app) = std::env::var_os("FOREBAY_TEST_HOST") {
        return host(Path::new(&app));
    }
    let tests: [(&str, fn()); 5] = [
        ("a_signal_while_starting_exits_at_once", a_signal_while_starting_exits_at_once),
        ("a_whole_life", a_whole_life),
        ("sigterm_drains_and_a_slow_drain_is_a_failure", sigterm_drains_and_a_slow_drain_is_a_failure),
        ("a_second_signal_exits_at_once", a_second_signal_exits_at_once),
        ("a_dead_core_ends_the_process", a_dead_core_ends_the_process),
    ];
    // What cargo-nextest asks of a test binary ("Custom test harnesses").
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        if !arguments.iter().any(|argument| argument == "--ignored") {
            tests.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return std::process::ExitCode::SUCCESS;
    }
    let names: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    for (name, test) in tests {
        if names.is_empty() || names.iter().any(|wanted| *wanted == name) {
            test();
            println!("test {name} ... ok");
        }
    }
    std::process::ExitCode::SUCCESS
}
