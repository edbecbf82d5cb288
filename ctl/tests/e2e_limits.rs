//! Hostile handlers: each ends with its documented answer, within its limit, while a
//! neighbour on the same core keeps getting answers, and the process survives all.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test; it measures time")]

mod e2e;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::{App, Client, Server, quantile};

/// Each work has limits that a debug build reaches soon.
const SCRIPT: &str = r#"
const small = { fuel: 20000000, wall: "20s", memory: "8MiB", stack_depth: 1000, fibers: 100, effects: 16 };
work("Hello").get("/hello", () => "Hello, World!");

work("Spin").get("/spin", () => { while (true) {} }).limits({ fuel: 20000000 });
work("SpinLong").get("/spin-long", () => { for (;;) {} }).limits({ fuel: 1000000000000, wall: "300ms" });
work("SpinCatch").get("/spin-catch", () => { for (;;) { try { for (;;) {} } catch (e) {} finally { continue; } } }).limits({ fuel: 20000000 });
work("Sleep").get("/sleep", () => { sleep("1h"); }).timeout("300ms");

work("Alloc").get("/alloc", () => { const a = []; for (;;) a.push({ a: 1, b: [1, 2, 3] }); }).limits({ memory: "8MiB" });
work("Text").get("/text", () => { let s = "x"; for (;;) s += s; }).limits({ memory: "8MiB" });
work("Repeat").get("/repeat", () => "x".repeat(1e9)).limits({ memory: "8MiB" });
work("Fill").get("/fill", () => new Array(4e9 - 1).fill(0).length).limits({ memory: "8MiB", fuel: 20000000 });
work("Map").get("/map", () => { const m = new Map(); for (let i = 0; ; i++) m.set("k" + i, i); }).limits({ memory: "8MiB" });
work("Big").get("/big", () => { let n = 2n; for (;;) n = n * n; }).limits({ memory: "8MiB", fuel: 20000000 });

work("BigText").get("/big-text", () => { let n = 1n; for (let i = 0; ; i++) { n = n << 1000n; if (n.toString().length < 0) return i; } });

work("Recurse").get("/recurse", () => { const f = n => 1 + f(n + 1); return f(0); });
work("RecurseCaught").get("/recurse-caught", () => { let depth = 0; const f = () => { depth++; f(); }; try { f(); } catch (e) { return { name: e.name, deep: depth > 500 }; } });
work("RecurseBack").get("/recurse-callback", () => { const f = () => [1].map(f); return f(); });
work("RecurseJson").get("/recurse-json", () => { let a = []; for (let i = 0; i < 100000; i++) a = [a]; return a; });
work("Circle").get("/circle", () => { const a = {}; a.a = a; return a; });

work("Promises").get("/promises", async () => { const f = async () => { await null; return f(); }; for (;;) f(); }).limits({ fuel: 20000000, memory: "8MiB", fibers: 100 });
work("Fibers").get("/fibers", async () => { const f = async () => { sleep(1000); }; for (;;) f(); }).limits({ fibers: 100 });
work("Ticks").get("/ticks", async () => { for (;;) await null; }).limits({ fuel: 20000000 });
work("Never").get("/never", async () => { await new Promise(() => {}); });
work("Effects").get("/effects", async () => { await Promise.all(Array.from({ length: 90 }, async () => sleep(1000))); }).limits({ effects: 16 });

work("Parse").post("/parse", () => payload().length);
work("ParseText").post("/parse-text", req => { try { JSON.parse(req.text()); return "parsed"; } catch (e) { return e.name; } });
work("Sort").get("/sort", () => { const a = Array.from({ length: 50000 }, (_, i) => i * 7919 % 50000); for (;;) a.sort(() => Math.random() - 0.5); }).limits({ fuel: 20000000 });
work("Join").get("/join", () => { const a = []; a.length = 4294967295; return a.join(",").length; }).limits({ fuel: 20000000, memory: "8MiB" });
work("Throw").get("/throw", () => { throw new Error("no secret"); });
work("ThrowOdd").get("/throw-odd", () => { throw { toString() { for (;;) {} } }; }).limits({ fuel: 20000000 });
work("Reject").get("/reject", async () => { Promise.reject(new Error("lost")); await Promise.reject(new TypeError("mine")); });
work("Header").get("/header", () => response("x", { headers: { "X-A": "a\r\nX-Evil: 1" } }));
"#;

/// What must come of each path: status and one of the codes.
const GETS: &[(&str, u16, &[&str])] = &[
    ("/spin", 500, &["fuel_exhausted"]),
    ("/spin-long", 504, &["wall_time_exceeded"]),
    ("/spin-catch", 500, &["fuel_exhausted"]),
    ("/sleep", 504, &["wall_time_exceeded"]),
    ("/alloc", 500, &["memory_exhausted"]),
    ("/text", 500, &["memory_exhausted", "script_error"]),
    ("/repeat", 500, &["memory_exhausted", "script_error"]),
    ("/fill", 500, &["memory_exhausted", "script_error", "fuel_exhausted"]),
    ("/map", 500, &["memory_exhausted"]),
    ("/big", 500, &["memory_exhausted", "script_error", "fuel_exhausted"]),
    ("/big-text", 500, &["memory_exhausted", "script_error", "fuel_exhausted"]),
    ("/recurse", 500, &["script_error"]),
    ("/recurse-callback", 500, &["script_error"]),
    ("/recurse-json", 500, &["script_error", "bad_body"]),
    ("/circle", 500, &["script_error", "bad_body"]),
    ("/promises", 500, &["too_many_fibers", "memory_exhausted", "fuel_exhausted"]),
    ("/fibers", 500, &["too_many_fibers"]),
    ("/ticks", 500, &["fuel_exhausted"]),
    ("/never", 500, &["never_settles"]),
    ("/effects", 500, &["too_many_effects"]),
    ("/sort", 500, &["fuel_exhausted"]),
    ("/join", 500, &["memory_exhausted", "script_error", "fuel_exhausted"]),
    ("/throw", 500, &["script_error"]),
    ("/throw-odd", 500, &["script_error", "fuel_exhausted"]),
    ("/reject", 500, &["script_error"]),
    ("/header", 500, &["bad_header", "script_error"]),
];

/// A neighbour's requests while `work` runs: how long each took.
fn with_neighbour(server: &Server, work: impl FnOnce()) -> Vec<Duration> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let neighbour = scope.spawn(|| {
            let mut client = server.client();
            let mut times = Vec::new();
            loop {
                let (answer, time) = client.timed("/hello");
                assert_eq!(answer.line(), "200 Hello, World!");
                times.push(time);
                if stop.load(Ordering::Relaxed) {
                    return times;
                }
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        let times = neighbour.join().unwrap();
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        times
    })
}

#[track_caller]
fn check(client: &mut Client, path: &str, status: u16, codes: &[&str]) -> Duration {
    let start = Instant::now();
    let answer = client.get(path);
    let time = start.elapsed();
    let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
    assert!(codes.contains(&code.as_str()), "{path}: one of {codes:?}: {answer}");
    let detail = answer.problem(status, &code);
    // In production the client learns no more than the code.
    assert_eq!(detail, if code.starts_with("bad_") { detail.clone() } else { String::new() }, "{path}");
    time
}

#[test]
fn hostile_handlers_end_within_their_limits_and_harm_nobody() {
    let app = App::with(SCRIPT);
    let server = Server::serve(&app, &["--cores", "0"]);
    let mut report = Vec::new();
    let mut client = server.client();
    assert_eq!(client.get("/recurse-caught").line(), r#"200 {"name":"RangeError","deep":true}"#);
    for (path, status, codes) in GETS {
        let mut own = Duration::ZERO;
        let mut times = with_neighbour(&server, || own = check(&mut client, path, *status, codes));
        let (p99, max) = (quantile(&mut times, 0.99), times[times.len() - 1]);
        report.push(format!(
            "{path:<20} ended after {own:>10.1?}; {:>5} hellos meanwhile: p99 {p99:>9.1?} max {max:>9.1?}",
            times.len()
        ));
        assert!(own < Duration::from_secs(30), "{path}: {own:?}");
        assert!(p99 < Duration::from_secs(1), "{path}: p99 of the neighbour {p99:?}");
    }
    println!("{}", report.join("\n"));
    drop(client);
    // All at once, twice.
    with_neighbour(&server, || {
        std::thread::scope(|scope| {
            for (path, status, codes) in GETS.iter().chain(GETS) {
                let server = &server;
                scope.spawn(move || check(&mut server.client(), path, *status, codes));
            }
        });
    });
    assert!(server.metrics()["forebay_traps_total"] >= 2.0 * 12.0);
    // Memory goes back: far below what all of them together were allowed.
    let resident = server.resident_bytes() >> 20;
    println!("resident afterwards: {resident} MiB");
    assert!(resident < 256, "{resident} MiB");
    let secret = server.get("/throw");
    assert!(!secret.text().contains("secret"), "{secret}");
    server.wait_log("no secret");
    server.log_lines();
    server.stop();
}

#[test]
fn bodies_made_to_explode_are_refused() {
    let app = App::with(SCRIPT);
    app.write("forebay.toml", "[limits]\nbody_bytes = \"4MiB\"\n");
    let server = Server::serve(&app, &["--cores", "0"]);
    let deep =
        |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let bodies = [
        deep("[", "]", 100_000),
        deep("{\"a\":", "}", 100_000),
        "[".repeat(1_000_000),
        "{\"a\":".repeat(500_000),
        "1".repeat(1_000_000) + "x",
        "\"\\ud800".to_owned(),
        "\u{0}".to_owned(),
        "[1,]".to_owned(),
        "{\"a\":1,}".to_owned(),
        "nul".to_owned(),
        "1 1".to_owned(),
    ];
    let mut times = with_neighbour(&server, || {
        let mut client = server.client();
        for body in &bodies {
            client.post("/parse", body).problem(400, "bad_request");
            let text = client.post("/parse-text", body);
            let name = text.text().to_owned();
            assert!(text.status == 200 && (name == "SyntaxError" || name == "RangeError"), "{text}");
        }
        // Large but honest; keys that repeat; numbers at their edges.
        let list = format!("[{}1]", "1,".repeat(200_000));
        assert_eq!(client.post("/parse", &list).line(), "200 200001");
        assert_eq!(client.post("/parse-text", "{\"__proto__\":{\"a\":1},\"__proto__\":2}").text(), "parsed");
        assert_eq!(client.post("/parse-text", "1e999").text(), "parsed");
        let fields: String = (0..100_000).map(|n| format!("\"k{n}\":{n},")).collect();
        assert_eq!(client.post("/parse-text", &format!("{{{fields}\"z\":0}}")).text(), "parsed");
    });
    println!("neighbour of {} bodies: p99 {:?}", bodies.len(), quantile(&mut times, 0.99));
    server.stop();
}

#[test]
fn a_full_core_sheds_instead_of_growing() {
    let app = App::with(
        "work(\"Slow\").get(\"/slow\", () => { sleep(300); return 1; });\nwork(\"Hello\").get(\"/hello\", () => \"hi\");\n",
    );
    app.write("forebay.toml", "[worker]\ntasks = 8\nrequest_queue = 16\n[limits]\nconnections = 64\n");
    let server = Server::serve(&app, &["--cores", "0"]);
    let mut clients: Vec<Client> = (0..48).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send(&e2e::request("GET", "/slow", None));
    }
    let (mut good, mut shed) = (0, 0);
    for client in &mut clients {
        let answer = client.answer("GET");
        if answer.status == 200 {
            good += 1;
        } else {
            answer.problem(503, "overloaded");
            assert!(answer.header("retry-after").is_some());
            shed += 1;
        }
    }
    assert!(good >= 8 + 8 && shed >= 1, "{good} answered, {shed} shed");
    // More connections than there may be: the newest is told.
    let more: Vec<Client> = (0..16).map(|_| server.client()).collect();
    let mut extra = server.client();
    extra.answer("GET").problem(503, "too_many_connections");
    extra.expect_end();
    drop((more, clients, extra));
    server.check_clean();
    assert_eq!(server.get("/hello").line(), "200 hi");
    server.stop();
}
