//! What the people who run it do: deploy under load, drain, signals; what they read:
//! status, routes, metrics, topology, log lines.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test; it measures time")]

mod e2e;

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e::{App, Client, Server, eventually, forebay, request};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn version(n: u64) -> String {
    format!(
        "const n = {n};\nwork(\"Version\").get(\"/version\", () => ({{ n, check: n * 7 }})).version(\"1.0.{n}\");\n\
         work(\"Slow\").get(\"/slow/{{ms}}\", req => {{ sleep(Number(req.params.ms)); return \"slow \" + n; }});\n\
         work(\"Echo\").post(\"/echo\", req => req.json());\n"
    )
}

/// `forebay ctl`, or curl on the admin socket, by turns.
fn deploy(server: &Server, round: u64) -> (bool, String) {
    let socket = server.admin.to_str().unwrap();
    if round.is_multiple_of(2) {
        let run = forebay(std::path::Path::new("/"), &["ctl", "--admin", socket, "deploy"]);
        return (run.code == 0, run.out + &run.err);
    }
    let output = Command::new("curl")
        .args([
            "-s",
            "-m",
            "20",
            "-X",
            "POST",
            "-w",
            "\n%{http_code}",
            "--unix-socket",
            socket,
            "http://forebay/v1/deploy",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (text.ends_with("\n200"), text)
}

fn deploys_under_load(placement: &str) {
    const ROUNDS: u64 = 12;
    let app = App::with(&version(0));
    let server = Server::serve(&app, &["--placement", placement]);
    let (stop, requests) = (AtomicBool::new(false), AtomicU64::new(0));
    // Generations that may answer now.
    let (oldest, newest) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for lane in 0..4 {
            let (server, stop, requests, oldest, newest) = (&server, &stop, &requests, &oldest, &newest);
            scope.spawn(move || {
                let mut client = server.client();
                let mut last = 0;
                while !stop.load(Ordering::Relaxed) {
                    let low = oldest.load(Ordering::SeqCst);
                    let answer = if lane == 3 {
                        // Long-lived connections are one case, fresh ones another.
                        server.client().get("/version")
                    } else {
                        client.get("/version")
                    };
                    let high = newest.load(Ordering::SeqCst);
                    let value = answer.json();
                    let n = value["n"].as_u64().unwrap_or_else(|| panic!("{answer}"));
                    assert_eq!((answer.status, &value["check"]), (200, &json!(n * 7)), "{answer}");
                    assert!((low..=high).contains(&n), "generation {n}, not in {low}..={high}");
                    assert!(lane == 3 || n >= last, "a connection went back from {last} to {n}");
                    last = n;
                    requests.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let slow = scope.spawn(|| server.get("/slow/1500").line());
        std::thread::sleep(Duration::from_millis(100));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 1..=ROUNDS {
                if round % 4 == 3 {
                    // One that doesn't compile changes nothing.
                    app.write(
                        "blueprints/main.js",
                        "work(\"Version\").get(\"/version\", () => nothing_here);\n",
                    );
                    let (good, text) = deploy(&server, round);
                    assert!(!good && text.contains("main.js:1:"), "{text}");
                }
                newest.store(round, Ordering::SeqCst);
                app.write("blueprints/main.js", &version(round));
                let (good, text) = deploy(&server, round);
                assert!(good, "{text}");
                // It answers when every core has adopted it.
                oldest.store(round, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(20));
            }
        }));
        // What began before the deploys ends on the code that it began with.
        let slow = slow.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        assert_eq!(slow, "200 slow 0");
    });
    let requests = requests.load(Ordering::Relaxed);
    println!("{placement}: {ROUNDS} deploys during {requests} requests");
    assert!(requests > 100);
    let status = server.status();
    assert_eq!(status["generation"]["id"], json!(ROUNDS + 1));
    // Let go of: the current one, and at most the one before.
    eventually("old generations go", || {
        let status = server.status();
        let cores = status["cores"].as_array().unwrap();
        cores.iter().all(|core| core["generations"].as_u64().unwrap() <= 2).then_some(())
    });
    server.stop();
}

#[test]
fn deploys_under_load_drop_nothing_inline() {
    deploys_under_load("inline");
}

#[test]
fn deploys_under_load_drop_nothing_split() {
    deploys_under_load("split");
}

/// KiB of the code of a process that huge pages map, and whether its program's file is behind all of it (proc_pid_smaps(5)).
fn code_of(pid: nix::unistd::Pid) -> (u64, bool) {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let (mut code, mut kib, mut of_file) = (false, 0, true);
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("ShmemPmdMapped:" | "FilePmdMapped:"), Some(count)) if code => {
                kib += count.parse::<u64>().unwrap();
            }
            (Some(range), Some(permissions)) if range.contains('-') => {
                code = permissions == "r-xp" && (line.ends_with("/forebay") || line.contains("forebay-text"));
                of_file &= !line.contains("forebay-text");
            }
            _ => {}
        }
    }
    (kib, of_file)
}

#[test]
fn the_code_is_on_huge_pages_unless_told_otherwise() {
    let app = App::with(&version(1));
    for wanted in [true, false] {
        app.write("forebay.toml", &format!("huge_pages = {wanted}\n"));
        let server = Server::serve(&app, &[]);
        let (kib, of_file) = code_of(server.pid());
        let log = server.log_lines();
        let line = |text: &str| log.iter().find(|line| line["msg"] == text).cloned();
        match (line("the code is on huge pages"), line("the code stays on small pages")) {
            (Some(line), None) if wanted => {
                let told = line["text"].as_str().unwrap().to_owned();
                let mib: u64 = told.split(' ').next().unwrap().parse().unwrap();
                assert!(mib >= 2 && kib == mib * 1024, "{told}, in smaps {kib} KiB");
                assert_eq!(of_file, !told.ends_with(", copied"), "{told}");
            }
            // Linux before 6.1, one without huge pages, or with none that is free.
            (None, Some(line)) if wanted => {
                println!("{line}");
                assert!(line["why"].as_str().unwrap().contains("madvise: "), "{line}");
                assert!(of_file);
            }
            // The kernel may have mapped large folios of the file by itself.
            (None, None) if !wanted => assert!(of_file),
            other => panic!("{other:?}"),
        }
        assert_eq!(server.get("/version").status, 200);
        server.stop();
    }
}

#[test]
fn a_first_generation_that_fails_refuses_to_start() {
    let app = App::with("work(\"A\").get(\"/a\", () => nope);\n");
    app.write("blueprints/b.js", "work(\"B\").gett(\"/b\", () => 1);\n");
    let run = Server::try_start("serve", app.path(), &[], &[]).expect_err("refused");
    assert_eq!(run.code, 1);
    for part in ["blueprints/main.js:1:27", "blueprints/b.js:1:11", "did you mean `get`", "2 problems"] {
        assert!(run.err.contains(part), "{part:?} not in\n{}", run.err);
    }
}

/// Requests in flight, one idle connection; `end` starts the drain.
fn drained_by(placement: &str, end: impl FnOnce(&Server)) {
    let app = App::with(&version(0));
    let mut server = Server::serve(&app, &["--placement", placement]);
    let mut idle = server.client();
    assert_eq!(idle.get("/version").status, 200);
    let mut busy: Vec<Client> = (0..4).map(|_| server.client()).collect();
    for client in &mut busy {
        client.send(&request("GET", "/slow/600", None));
    }
    eventually("tasks", || (server.metrics()["forebay_tasks"] == 4.0).then_some(()));
    let start = Instant::now();
    end(&server);
    for client in &mut busy {
        let answer = client.answer("GET");
        assert_eq!(answer.line(), "200 slow 0");
        assert_eq!(answer.header("connection"), Some("close"), "{answer}");
        client.expect_end();
    }
    idle.expect_end();
    assert_eq!(server.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(Client::try_connect(server.address).is_err(), "nobody listens any more");
    assert!(!server.admin.exists());
    let log = server.log();
    for said in ["draining", "drained", "stopped"] {
        assert!(log.contains(&format!("\"msg\":\"{said}\"")), "{said} not in {log}");
    }
}

#[test]
fn sigterm_lets_requests_end() {
    drained_by("inline", |server| server.signal(Signal::SIGTERM));
    drained_by("split", |server| server.signal(Signal::SIGTERM));
}

#[test]
fn ctl_drain_lets_requests_end() {
    drained_by("inline", |server| {
        let run =
            forebay(std::path::Path::new("/"), &["ctl", "--admin", server.admin.to_str().unwrap(), "drain"]);
        assert_eq!(run.code, 0, "{}", run.err);
    });
}

#[test]
fn a_second_sigterm_ends_it_at_once() {
    let app = App::with(&version(0));
    let mut server = Server::serve(&app, &[]);
    let mut client = server.client();
    client.send(&request("GET", "/slow/20000", None));
    eventually("a task", || (server.metrics()["forebay_tasks"] == 1.0).then_some(()));
    server.signal(Signal::SIGTERM);
    server.wait_log("draining");
    let start = Instant::now();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(server.log().contains("second signal"), "{}", server.log());
}

#[test]
fn sighup_deploys() {
    let app = App::with(&version(0));
    let server = Server::serve(&app, &[]);
    app.write("blueprints/main.js", &version(5));
    server.signal(Signal::SIGHUP);
    eventually("the new code", || (server.get("/version").json()["n"] == 5).then_some(()));
    app.write("blueprints/main.js", "(");
    server.signal(Signal::SIGHUP);
    let line = server.wait_log("not deployed");
    assert!(line.contains("deploy/compile"), "{line}");
    assert_eq!(server.get("/version").json()["n"], 5);
    server.stop();
}

#[test]
fn what_the_admin_socket_tells() {
    let app = App::with(&version(3));
    app.write("blueprints/page.js", "work(\"Page\").get(\"/page\").redirect(\"/version\", 302);\n");
    let server = Server::serve(&app, &[]);
    assert_eq!(server.get("/page").header("location"), Some("/version"));
    let status = server.status();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["mode"], "serve");
    assert_eq!(status["generation"]["id"], 1);
    assert_eq!(status["generation"]["routes"], 4);
    assert_eq!(status["generation"]["hash"].as_str().unwrap().len(), 16);
    assert_eq!(status["listen"], json!([server.address.to_string()]));
    assert!(status["uptime_seconds"].as_f64().unwrap() < 60.0);
    assert_eq!(status["store"]["unavailable"], Value::Null);
    for key in
        ["requests", "connections", "tasks", "queue", "p50_us", "p99_us", "database_ready", "generations"]
    {
        assert!(status["cores"][0][key].is_number(), "{key}: {status}");
    }
    let (_, routes) = server.ask("GET", "/v1/routes");
    let routes: Value = serde_json::from_str(&routes).unwrap();
    assert_eq!(
        routes["routes"][0],
        json!({ "method": "GET", "path": "/version", "blueprint": "blueprints/main.js", "work": "Version", "version": "1.0.3" })
    );
    let (_, topology) = server.ask("GET", "/v1/topology");
    let topology: Value = serde_json::from_str(&topology).unwrap();
    assert!(topology["topology"].is_object() && topology["plan"].is_object(), "{topology}");
    // As people see them.
    for (command, expected) in [
        ("status", "generation"),
        ("routes", "/version"),
        ("topology", "cpus"),
        ("metrics", "forebay_requests_total"),
    ] {
        let run = forebay(app.path(), &["ctl", command]);
        assert!(run.code == 0 && run.out.contains(expected), "{command}: {}{}", run.out, run.err);
    }
    server.stop();
}

#[test]
fn metrics_add_up() {
    let app = App::with(
        "work(\"A\").get(\"/a\", () => { kv.set(\"a\", 1); return kv.get(\"a\"); });\n\
         work(\"T\").get(\"/t\", () => { throw new Error(\"x\"); });\n\
         work(\"L\").get(\"/l\", () => { for (;;) {} }).limits({ fuel: 100000 });\n\
         work(\"N\").get(\"/n\", () => ({ status: 404 }));\n\
         work(\"S\").get(\"/s\", () => { sleep(1); });\n\
         work(\"R\").get(\"/r\").redirect(\"/a\", 302);\n",
    );
    let server = Server::serve(&app, &[]);
    let before = server.metrics();
    let mut client = server.client();
    let mut expected = std::collections::BTreeMap::new();
    let paths = ["/a", "/t", "/l", "/n", "/s", "/r", "/nope"];
    for round in 0..70 {
        if round % 10 == 0 {
            client = server.client();
        }
        let answer = client.get(paths[round % paths.len()]);
        *expected
            .entry(format!("forebay_requests_total{{class=\"{}xx\"}}", answer.status / 100))
            .or_insert(0.0) += 1.0;
    }
    let mut bad = server.client();
    bad.send(b"nonsense\r\n\r\n");
    assert_eq!(bad.answer("GET").status, 400);
    *expected.get_mut("forebay_requests_total{class=\"4xx\"}").unwrap() += 1.0;
    drop((client, bad));
    server.check_clean();
    let after = server.metrics();
    let grown = |name: &str| after[name] - before.get(name).copied().unwrap_or(0.0);
    for (name, count) in &expected {
        assert_eq!(grown(name), *count, "{name}");
    }
    assert_eq!(expected.values().sum::<f64>(), 71.0);
    assert_eq!(grown("forebay_exceptions_total"), 10.0);
    assert_eq!(grown("forebay_traps_total"), 10.0);
    assert_eq!(grown("forebay_refused_total"), 1.0);
    assert_eq!(grown("forebay_effects_total{kind=\"kv\"}"), 20.0);
    assert_eq!(grown("forebay_effects_total{kind=\"sleep\"}"), 10.0);
    // Requests that reached a script: all but redirects, refusals and paths without a route.
    assert_eq!(grown("forebay_request_duration_seconds_count"), 50.0);
    assert!(grown("forebay_kv_sync_seconds_count") >= 1.0);
    // Once a second.
    eventually("bytes are counted", || {
        let metrics = server.metrics();
        let (received, sent) = (metrics["forebay_received_bytes_total"], metrics["forebay_sent_bytes_total"]);
        (received > 70.0 * 30.0 && sent > 70.0 * 60.0).then_some(())
    });
    assert_eq!(after["forebay_kv_keys"], 1.0);
    assert_eq!(after["forebay_log_lines_dropped_total"], 0.0);
    let status = server.status();
    let requests: u64 =
        status["cores"].as_array().unwrap().iter().map(|c| c["requests"].as_u64().unwrap()).sum();
    assert_eq!(requests, 71);
    server.stop();
}

#[test]
fn every_log_line_is_one_object() {
    let app = App::with(
        "work(\"L\").get(\"/l\", () => {\n  log(\"two\\nlines\", \"quote\\\"\", \"é😀\", { a: [1, null] }, \"\\u0000\\u001b[31m\");\n\
         log.warn(\"w\".repeat(100000));\n  log.error(undefined, 1n, new Error(\"e\"));\n  return 1;\n});\n\
         work(\"T\").get(\"/t\", () => { throw new Error(\"many\\nlines\\u0007\"); });\n",
    );
    let server = Server::serve(&app, &[]);
    for _ in 0..20 {
        assert_eq!(server.get("/l").status, 200);
        assert_eq!(server.get("/t").status, 500);
    }
    eventually("the last lines", || (server.log().matches("request failed").count() == 20).then_some(()));
    let lines = server.log_lines();
    let of = |level: &str| lines.iter().filter(|l| l["level"] == level && l["work"] == "L").count();
    assert_eq!((of("info"), of("warn"), of("error")), (20, 20, 20));
    let first = lines.iter().find(|line| line["work"] == "L").unwrap();
    let text = first["msg"].as_str().unwrap();
    assert!(text.contains("two\nlines") && text.contains("é😀") && text.contains("quote\""), "{text}");
    assert!(lines.iter().all(|line| line.to_string().len() < 10_000), "long lines are cut");
    let failed = lines.iter().find(|line| line["msg"] == "request failed").unwrap();
    assert_eq!(
        (&failed["work"], &failed["route"], &failed["code"]),
        (&json!("T"), &json!("GET /t"), &json!("script_error"))
    );
    server.stop();
}
