//! Durable tasks on the real server: started over HTTP, cut off by kill -9, put away and woken, steered by
//! `forebay ctl task`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test; it measures time")]

mod e2e;

use std::time::{Duration, Instant};

use e2e::{App, Counter, Server, ask, eventually, forebay};
use serde_json::{Value, json};

const SCRIPT: &str = r#"
work("Order").post("/orders", req => {
  const { n } = req.json();
  const seen = [kv.exists("order/" + n)];
  kv.set("order/" + n, "begun");
  seen.push(kv.get("order/" + n));
  sleep(200);
  seen.push(kv.incr("count"));
  for (let i = 0; i < 3; i++) { sleep(50); seen.push(i); }
  seen.push(kv.snx("once/" + n, 1), kv.cas("once/" + n, 1, 2), kv.cas("once/" + n, 1, 3));
  kv.set("order/" + n, "done");
  return { status: 201, n, seen };
}).durable();

work("Named").put("/named/{name}", req => { sleep("1d"); return "late"; }).durable({ id: "named-{name}" });

work("Long").post("/long", req => {
  const note = req.json().note;
  let step = 0;
  for (;;) { step++; sleep(20); if (kv.exists("stop/" + note)) break; }
  return { note, step };
}).durable();

work("Fails").post("/fails", () => { kv.set("left behind", 1); throw new TypeError("not today"); }).durable();
work("Parallel").post("/parallel", async () => {
  const parts = await Promise.all([30, 10, 20].map(async ms => { sleep(ms); kv.set("p/" + ms, ms); return kv.incr("par"); }));
  return { parts: parts.sort(), keys: kv.scan("p/").map(i => i.key) };
}).durable();
work("Refused").post("/refused", () => { db().table("x").insert({ a: 1 }); }).durable();
work("Get").get("/kv/{key}", req => kv.get(req.params.key) ?? "nothing");
work("Stop").post("/stop/{note}", req => { kv.set("stop/" + req.params.note, 1); return "ok"; });
work("Count").get("/count", () => kv.get("count") ?? 0);
"#;

/// Starts a task; where it is.
fn start(server: &Server, path: &str, body: &str) -> String {
    let answer = ask(server, "POST", path, body, &[]);
    assert_eq!(answer.status, 202, "{answer}");
    answer.header("location").unwrap().to_owned()
}

/// Its state, once it is over.
fn end(server: &Server, location: &str) -> Value {
    eventually("the task ends", || {
        let state = server.get(location).json();
        let over = ["done", "failed", "cancelled"].contains(&state["status"].as_str().unwrap());
        over.then_some(state)
    })
}

fn ctl(app: &App, arguments: &[&str]) -> (i32, String) {
    let run = forebay(app.path(), &[&["ctl", "task"], arguments].concat());
    (run.code, run.out)
}

fn show(app: &App, id: &str) -> Value {
    let (code, out) = ctl(app, &["show", id, "--json"]);
    assert_eq!(code, 0, "{out}");
    serde_json::from_str(&out).unwrap()
}

fn id_of(location: &str) -> &str {
    location.rsplit('/').next().unwrap()
}

#[test]
fn a_task_runs_to_its_end_whatever_is_killed() {
    let app = App::with(SCRIPT);
    for (kill_after, placement) in
        [(0, "inline"), (60, "split"), (230, "inline"), (330, "inline"), (9999, "split")]
    {
        let server = Server::serve(&app, &["--placement", placement]);
        let before: i64 = server.get("/count").json().as_i64().unwrap();
        let n = format!("{kill_after}-{placement}");
        let location = start(&server, "/orders", &json!({ "n": n }).to_string());
        std::thread::sleep(Duration::from_millis(kill_after.min(600)));
        server.kill();
        let server = Server::serve(&app, &[]);
        let state = end(&server, &location);
        assert_eq!(state["status"], "done", "{state}");
        assert_eq!(state["result"]["status"], 201, "{state}");
        let seen = json!([false, "begun", before + 1, 0, 1, 2, true, true, false]);
        assert_eq!(state["result"]["body"], json!({ "n": n, "seen": seen, "status": 201 }), "{state}");
        assert_eq!(server.get("/count").json(), json!(before + 1), "kv.incr happened once");
        assert_eq!(server.get(&format!("/kv/order%2F{n}")).text(), "done");
        server.stop();
    }
}

#[test]
fn one_name_is_one_task_on_every_core() {
    let app = App::with(SCRIPT);
    for (key, arguments) in [
        ("one", &["--cores", "0"][..]),
        ("two", &["--cores", "0,1"]),
        ("split", &["--cores", "0,1", "--placement", "split"]),
    ] {
        let server = Server::serve(&app, arguments);
        let body = json!({ "n": key }).to_string();
        let with_key = [("Idempotency-Key", key)];
        let first = ask(&server, "POST", "/orders", &body, &with_key);
        assert_eq!(
            (first.status, first.header("location").unwrap()),
            (202, &*format!("/_forebay/tasks/{key}"))
        );
        for _ in 0..8 {
            // Each on a connection of its own: some on the other core.
            let again = ask(&server, "POST", "/orders", &body, &with_key);
            assert_eq!((again.status, again.header("location")), (202, first.header("location")), "{again}");
            let other = ask(&server, "POST", "/orders", "{\"n\":0}", &with_key);
            assert_eq!(other.status, 409, "{other}");
            other.problem(409, "other_payload");
        }
        let waited =
            ask(&server, "POST", "/orders", &body, &[with_key[0], ("Prefer", "respond-async, wait=10")]);
        assert_eq!(waited.status, 201, "{waited}");
        assert_eq!(waited.json()["n"], json!(key));
        assert_eq!(waited.header("preference-applied"), Some("wait"));
        // Over: the same again, at once, and its state.
        let again = ask(&server, "POST", "/orders", &body, &[with_key[0], ("Prefer", "wait=10")]);
        assert_eq!(again.text(), waited.text());
        assert_eq!(ask(&server, "POST", "/orders", &body, &with_key).status, 202);
        // Options name it, too; what doesn't fit a name is refused.
        let named = ask(&server, "PUT", &format!("/named/{key}"), "", &[("Prefer", "wait=1")]);
        assert_eq!(named.header("location"), Some(&*format!("/_forebay/tasks/named-{key}")), "{named}");
        assert_eq!(named.status, 202, "a day is longer than a second");
        assert_eq!(ask(&server, "PUT", "/named/a%20b", "", &[]).status, 400);
        assert_eq!(server.get("/_forebay/tasks/nothing").status, 404);
        let state = ask(&server, "GET", &format!("/_forebay/tasks/named-{key}"), "", &[("Prefer", "wait=1")]);
        assert_eq!(state.status, 200);
        assert!(state.json()["blocked_on"].as_str().unwrap().starts_with("sleep until 20"), "{state}");
        let (code, out) = ctl(&app, &["kill", &format!("named-{key}")]);
        assert_eq!(code, 0, "{out}");
        assert_eq!(server.get(&format!("/_forebay/tasks/named-{key}")).json()["status"], "cancelled");
        server.stop();
    }
}

#[test]
fn tasks_are_steered_by_hand() {
    let app = App::with(SCRIPT);
    let server = Server::serve(&app, &[]);
    let location = start(&server, "/long", "{\"note\":\"steered\"}");
    let id = id_of(&location);
    eventually("it runs", || (server.get(&location).json()["step"].as_u64().unwrap() > 2).then_some(()));
    assert_eq!(ctl(&app, &["resume", id]).0, 1, "it isn't paused");
    let (code, out) = ctl(&app, &["pause", id]);
    assert_eq!(code, 0, "{out}");
    let paused = show(&app, id);
    assert_eq!(paused["status"], "paused", "{paused}");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(show(&app, id)["step"], paused["step"], "nothing happens while it is paused");
    server.kill();
    let server = Server::serve(&app, &[]);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(show(&app, id)["step"], paused["step"], "nor after a restart");
    let (code, out) = ctl(&app, &["ls", "--status", "paused"]);
    assert!(code == 0 && out.contains(id), "{out}");
    let (code, out) = ctl(&app, &["resume", "--all", "--rate", "1000"]);
    assert!(code == 0 && out.contains("resumed 1"), "{out}");
    eventually("it goes on", || (show(&app, id)["step"].as_u64() > paused["step"].as_u64()).then_some(()));
    server.post("/stop/steered", "");
    let state = end(&server, &location);
    assert!(state["result"]["body"]["step"].as_u64().unwrap() > 2, "{state}");
    assert_eq!(ctl(&app, &["pause", id]).0, 1, "it is over");
    assert_eq!(ctl(&app, &["show", "nobody"]).0, 1);

    let location = start(&server, "/long", "{\"note\":\"killed\"}");
    let (code, out) = ctl(&app, &["kill", id_of(&location)]);
    assert_eq!(code, 0, "{out}");
    assert_eq!(server.get(&location).json()["status"], "cancelled");
    server.stop();
}

#[test]
fn failures_are_told_and_leave_nothing_behind() {
    let app = App::with(SCRIPT);
    let server = Server::serve(&app, &[]);
    let state = end(&server, &start(&server, "/fails", ""));
    assert_eq!(state["status"], "failed");
    assert_eq!(state["error"]["name"], "TypeError", "{state}");
    assert_eq!(state["error"]["message"], "not today", "{state}");
    assert_eq!(server.get("/kv/left%20behind").text(), "nothing", "the step that threw didn't happen");
    let waited = ask(&server, "POST", "/fails", "", &[("Prefer", "wait=5")]);
    assert_eq!(waited.status, 500, "{waited}");
    let state = end(&server, &start(&server, "/refused", ""));
    let message = state["error"]["message"].as_str().unwrap();
    assert!(message.contains("no database is configured"), "{state}");
    let waited = ask(&server, "POST", "/parallel", "", &[("Prefer", "wait=5")]);
    assert_eq!(waited.json(), json!({ "parts": [1, 2, 3], "keys": ["p/10", "p/20", "p/30"] }), "{waited}");
    server.stop();
}

#[test]
fn a_task_stays_on_the_code_that_it_began_with() {
    let app = App::with(SCRIPT);
    let server = Server::serve(&app, &[]);
    let location = start(&server, "/long", "{\"note\":\"pinned\"}");
    app.write("blueprints/main.js", &SCRIPT.replace("return { note, step };", "return 'new code';"));
    assert_eq!(server.ask("POST", "/v1/deploy").0, 200);
    server.kill();
    // The next life has never compiled the old code.
    let server = Server::serve(&app, &[]);
    let new = start(&server, "/long", "{\"note\":\"pinned\",\"new\":1}");
    server.post("/stop/pinned", "");
    assert_eq!(end(&server, &location)["result"]["body"]["note"], "pinned");
    assert_eq!(end(&server, &new)["result"]["body"], "new code");
    server.stop();
}

#[test]
fn requests_of_a_task_carry_keys_that_a_restart_repeats() {
    let counter = Counter::start();
    let app = App::with(
        r#"
work("Calls").post("/calls", req => {
  const seen = [];
  for (let i = 0; i < 20; i++) seen.push(http().post("http://counter.test/x", { i }).status);
  return { seen };
}).durable();
"#,
    );
    app.write(
        "forebay.toml",
        &format!("[dev.rewrite]\n\"http://counter.test\" = \"http://{}\"\n", counter.address),
    );
    let dev = || Server::start("dev", app.path(), &[], &[]);
    let mut server = dev();
    let location = start(&server, "/calls", "{}");
    let begin = Instant::now();
    for kill_at in [3, 7, 12] {
        eventually("it gets on", || (counter.keys.lock().unwrap().len() > kill_at).then_some(()));
        server.kill();
        server = dev();
    }
    let state = end(&server, &location);
    assert_eq!(state["result"]["body"]["seen"], json!(vec![200; 20]), "{state}");
    let mut keys = counter.keys.lock().unwrap().clone();
    let sent = keys.len();
    keys.sort();
    keys.dedup();
    let id = id_of(&location);
    assert_eq!(keys.len(), 20, "every step once, whatever was sent again: {keys:?}");
    assert!(keys.iter().all(|key| key.starts_with(&format!("{id}-"))), "{keys:?}");
    println!("{sent} requests for 20 steps over 3 kills, {:?}", begin.elapsed());
    server.stop();
}
