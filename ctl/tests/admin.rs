//! The admin socket from outside: our client, curl, and peers that misbehave.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forebay_ctl::admin::client::ask;
use forebay_ctl::admin::server::AdminServer;
use forebay_ctl::admin::{BODY_BYTES_MAX, Control, ControlError, PEERS_MAX};
use forebay_ctl::log::{Logger, Style};
use serde_json::{Value, json};

#[derive(Default)]
struct Fake {
    drains: AtomicUsize,
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
        json!({ "version": "0.1.0", "cores": [{ "core": 0, "tasks": 3 }] })
    }
    fn routes(&self) -> Value {
        json!({ "routes": [{ "method": "GET", "path": "/hello", "blueprint": "Hello" }] })
    }
    fn metrics(&self) -> String {
        let mut metrics = forebay_ctl::metrics::Metrics::default();
        metrics.gauge("forebay_tasks", "Tasks.").count(&[], 3);
        metrics.finish()
    }
    fn topology(&self) -> Value {
        forebay_tuning::Topology::detect().describe()
    }
    fn deploy(&self) -> Result<Value, ControlError> {
        Err(ControlError {
            status: 422,
            code: "deploy/compile",
            detail: "error: line one\n  line two".into(),
        })
    }
    fn drain(&self) -> Result<Value, ControlError> {
        self.drains.fetch_add(1, Ordering::SeqCst);
        Ok(json!({ "draining": true }))
    }
}

struct Bed {
    _folder: tempfile::TempDir,
    path: PathBuf,
    fake: Arc<Fake>,
    server: AdminServer,
}

fn start(path: &Path, fake: &Arc<Fake>) -> std::io::Result<AdminServer> {
    let control: Arc<dyn Control> = Arc::clone(fake) as _;
    AdminServer::start(path, control, Logger::start(Style::Json, std::io::sink()).unwrap())
}

fn bed(name: &str) -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let fake = Arc::new(Fake::default());
    let server = start(&path, &fake).unwrap();
    Bed { _folder: folder, path, fake, server }
}

/// Sends raw bytes, gives back all that comes.
fn raw(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(bytes).unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn every_route_answers() {
    let bed = bed("a/admin.sock");
    let get = |path: &str| ask(&bed.path, "GET", path).unwrap();
    assert_eq!(std::fs::metadata(&bed.path).unwrap().permissions().mode() & 0o777, 0o660);
    assert!(get("/v1/status").body.contains("\"tasks\":3"));
    assert!(get("/v1/status?x=1").body.contains("0.1.0"));
    assert!(get("/v1/routes").body.contains("/hello"));
    assert!(get("/v1/topology").body.contains("\"cpus\""));
    assert!(get("/v1/metrics").body.ends_with("forebay_tasks 3\n"));
    assert_eq!(ask(&bed.path, "POST", "/v1/drain").unwrap().status, 200);
    assert_eq!(bed.fake.drains.load(Ordering::SeqCst), 1);
    let refused = ask(&bed.path, "POST", "/v1/deploy").unwrap();
    let problem: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!((refused.status, &problem["code"]), (422, &json!("deploy/compile")));
    assert_eq!(get("/v1/nope").status, 404);
    assert_eq!(get("/v1/drain").status, 405);
    assert!(raw(&bed.path, b"DELETE /v1/status HTTP/1.1\r\n\r\n").contains("\r\nAllow: GET\r\n"));
}

#[test]
fn curl_works() {
    let bed = bed("admin.sock");
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-s", "-w", "%{http_code}", "--unix-socket"]).arg(&bed.path).args(arguments);
        match command.output() {
            Ok(output) => Some(String::from_utf8(output.stdout).unwrap()),
            Err(_) => None, // no curl on this machine
        }
    };
    let Some(status) = curl(&["http://forebay/v1/status"]) else { return };
    assert!(status.ends_with("200") && status.contains("0.1.0"), "{status}");
    // A body, and one that makes curl ask first (Expect: 100-continue).
    let body = "x".repeat(BODY_BYTES_MAX);
    assert!(curl(&["-d", &body[..100], "http://forebay/v1/drain"]).unwrap().ends_with("200"));
    assert!(
        curl(&["-H", "Expect: 100-continue", "-d", &body, "http://forebay/v1/drain"])
            .unwrap()
            .ends_with("200")
    );
}

#[test]
fn requests_in_pieces_and_nonsense() {
    let bed = bed("admin.sock");
    let request = b"POST /v1/drain HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    for cut in 1..request.len() {
        let mut stream = UnixStream::connect(&bed.path).unwrap();
        stream.write_all(&request[..cut]).unwrap();
        std::thread::sleep(std::time::Duration::from_micros(300));
        stream.write_all(&request[cut..]).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "cut at {cut}: {text}");
    }
    let check = |bytes: &[u8], status: &str| {
        let text = raw(&bed.path, bytes);
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {text}");
    };
    check(b"\x16\x03\x01 hello\r\n\r\n", "400");
    check(b"GET /v1/status HTTP/1.1\r\nContent-Length: x\r\n\r\n", "400");
    check(b"POST /v1/drain HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", "413");
    check(b"POST /v1/drain HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "411");
    check(format!("GET /{} HTTP/1.1\r\n", "x".repeat(12_000)).as_bytes(), "431");
    check(format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(40)).as_bytes(), "431");
    // Gone before it asked: the server goes on.
    drop(UnixStream::connect(&bed.path).unwrap());
    check(b"GET /v1/status HTTP/1.1\r\n\r\n", "200");
}

#[test]
fn too_many_peers_are_told() {
    let bed = bed("admin.sock");
    let mut idle: Vec<_> = (0..PEERS_MAX).map(|_| UnixStream::connect(&bed.path).unwrap()).collect();
    let mut extra = UnixStream::connect(&bed.path).unwrap();
    let mut text = String::new();
    extra.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    idle.clear();
    // The seats come back.
    for _ in 0..100 {
        if ask(&bed.path, "GET", "/v1/status").is_ok_and(|reply| reply.status == 200) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("seats were not given back");
}

#[test]
fn one_server_a_socket_and_stale_ones_are_replaced() {
    let bed = bed("admin.sock");
    assert_eq!(start(&bed.path, &bed.fake).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    drop(bed.server);
    assert!(!bed.path.exists());
    // What a crash leaves: a socket that nobody listens on.
    drop(std::os::unix::net::UnixListener::bind(&bed.path).unwrap());
    let server = start(&bed.path, &bed.fake).unwrap();
    assert_eq!(ask(&bed.path, "GET", "/v1/status").unwrap().status, 200);
    drop(server);
    std::fs::write(&bed.path, "data").unwrap();
    assert!(start(&bed.path, &bed.fake).is_err());
    assert_eq!(std::fs::read(&bed.path).unwrap(), b"data");
}

#[test]
fn paths_longer_than_a_socket_address_work() {
    let bed = bed(&format!("{}/admin.sock", "long-folder-name/".repeat(12)));
    assert!(bed.path.as_os_str().len() > 200);
    assert_eq!(ask(&bed.path, "GET", "/v1/status").unwrap().status, 200);
    drop(bed.server);
    assert!(!bed.path.exists());
}

#[test]
fn strangers_are_refused() {
    if !nix::unistd::geteuid().is_root() {
        return; // only root can be somebody else
    }
    let bed = bed("admin.sock");
    // Everybody may reach it, so that it is SO_PEERCRED that refuses.
    let folder = bed.path.parent().unwrap();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&bed.path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let mut command = Command::new("curl");
    command.args(["-s", "--unix-socket"]).arg(&bed.path).arg("http://forebay/v1/status");
    std::os::unix::process::CommandExt::uid(&mut command, 65_534);
    std::os::unix::process::CommandExt::gid(&mut command, 65_534);
    let Ok(output) = command.output() else { return };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("admin/forbidden"), "{text}");
}

#[test]
fn the_command_prints_tables_json_and_failures() {
    let bed = bed("admin.sock");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_forebay"))
            .args(["ctl", "--admin"])
            .arg(&bed.path)
            .args(arguments)
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, out, _) = run(&["routes"]);
    assert!(code == 0 && out.contains("METHOD") && out.contains("/hello"), "{out}");
    let (code, out, _) = run(&["status", "--json"]);
    assert!(code == 0 && serde_json::from_str::<Value>(&out).unwrap()["version"] == "0.1.0", "{out}");
    let (code, out, _) = run(&["metrics"]);
    assert!(code == 0 && out.ends_with("forebay_tasks 3\n"), "{out}");
    let (code, _, err) = run(&["deploy"]);
    assert!(code == 1 && err.contains("  line two"), "{err}");
    let (code, out, _) = run(&["deploy", "--json"]);
    assert!(code == 1 && out.contains("deploy/compile"), "{out}");
    assert_eq!(run(&["nope"]).0, 2);
    let gone = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["ctl", "--admin", "/nonexistent", "status"])
        .output()
        .unwrap();
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8(gone.stderr).unwrap().contains("no forebay answers at /nonexistent"));
}
