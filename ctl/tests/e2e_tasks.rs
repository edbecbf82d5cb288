//! The language of durable tasks on the real server: signals, promises, children, cancelling, compensations,
//! another try; with kill -9 between any two steps.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test; it measures time")]

mod e2e;

use std::time::Duration;

use e2e::{App, Server, ask, eventually, forebay};
use serde_json::{Value, json};

const SCRIPT: &str = r#"
work("Waits").post("/waits", req => {
  const { count, timeout } = req.json();
  const seen = [task.id];
  for (let i = 0; i < count; i++) seen.push(task.wait("go", { timeout }) ?? "nothing");
  return { seen };
}).durable();

work("Sends").post("/sends/{to}", req => {
  for (let i = 0; i < 5; i++) { task.signal(req.params.to, "go", "s" + i); sleep(30); }
  return "sent";
}).durable();

work("Handler").post("/signal/{to}/{name}", req => {
  task.signal(req.params.to, req.params.name, req.json());
  return { id: task.id ?? "none" };
});

work("Promises").post("/promises", req => {
  const first = task.promise(), second = task.promise();
  kv.set("urls", [first.url, second.url]);
  const a = first.wait();
  kv.set("a", a);
  return { a, b: second.wait({ timeout: req.json().timeout }) ?? "nothing" };
}).durable();

work("Child").post("/child", () => {
  const { n, ms } = payload();
  kv.incr("children");
  sleep(ms);
  if (n < 0) throw new RangeError("negative: " + n);
  return { twice: n * 2 };
}).durable();
work("Parent").post("/parent", req => {
  const ms = req.json().ms;
  const children = [1, 2, 3].map(n => task.start("Child", { n, ms }));
  const results = children.map(child => task.join(child).twice);
  let error;
  const bad = task.start("Child", { n: -1, ms: 1 }, { id: "bad-" + task.id });
  try { task.join(bad.id); } catch (e) { error = e.name + ": " + e.message; }
  let late;
  const slow = task.start("Child", { n: 1, ms: 60000 });
  try { task.join(slow, { timeout: 30 }); } catch (e) { late = e.name; }
  task.cancel(slow);
  let cancelled;
  try { task.join(slow); } catch (e) { cancelled = e.name; }
  return { ids: children.map(c => c.id), results, error, late, cancelled };
}).durable();
work("Starter").post("/starter", () => task.start("Child", { n: 7, ms: 1 }));
work("Nobody").post("/nobody", () => { task.start("Nothing", 1); }).durable();

work("Saga").post("/saga", req => {
  const { how, key } = req.json();
  const note = what => kv.incr(key + "/" + what);
  note("begun");
  task.defer(() => { note("undo-1"); sleep(60); kv.set(key + "/last", "undo-1"); });
  sleep(60);
  task.defer(async () => { sleep(60); note("undo-2"); kv.set(key + "/first", "undo-2"); });
  sleep(60);
  if (how === "throw") { kv.set(key + "/lost", 1); throw new TypeError("no stock"); }
  try { task.wait("never"); } catch (e) { note("caught-" + e.name); throw e; } finally { note("finally"); }
}).durable();
work("Shrugs").post("/shrugs", () => {
  try { sleep("1d"); } catch (e) { sleep(20); return { name: e.name, code: e.code }; }
}).durable();

work("Tries").post("/tries", req => {
  const { key, need } = req.json();
  sleep(10);
  if (!kv.exists("allow/" + key)) { kv.set("lost/" + key, 1); throw new Error("not yet"); }
  return "worked";
}).retry(3, "40ms").durable();

work("Holds").post("/holds", req => {
  const list = [1, "two"];
  let count = 5;
  const add = () => { count++; };
  function inner(deep) { task.wait("go"); return deep; }
  add();
  const got = inner({ a: 1 });
  return { list, count, got };
}).durable();

work("Allow").post("/allow/{key}", req => { kv.set("allow/" + req.params.key, 1); return "ok"; });
work("Plain").post("/plain/{what}", req => {
  const what = req.params.what;
  if (what === "wait") task.wait("x");
  if (what === "promise") task.promise();
  if (what === "join") task.join("x");
  if (what === "defer") task.defer(() => 1);
  if (what === "unknown") task.signal("nobody", "x");
});
work("Get").get("/kv/{key}", req => kv.get(req.params.key) ?? "nothing");
"#;

fn start(server: &Server, path: &str, body: &Value) -> String {
    let answer = ask(server, "POST", path, &body.to_string(), &[]);
    assert_eq!(answer.status, 202, "{answer}");
    answer.header("location").unwrap().to_owned()
}

fn end(server: &Server, location: &str) -> Value {
    eventually("the task ends", || {
        let state = server.get(location).json();
        let over = ["done", "failed", "cancelled"].contains(&state["status"].as_str().unwrap());
        over.then_some(state)
    })
}

fn waits_for(server: &Server, location: &str, what: &str) -> Value {
    eventually("it waits", || {
        let state = server.get(location).json();
        state["blocked_on"].as_str().is_some_and(|on| on.starts_with(what)).then_some(state)
    })
}

fn ctl(app: &App, arguments: &[&str]) -> (i32, String) {
    let run = forebay(app.path(), &[&["ctl", "task"], arguments].concat());
    (run.code, run.out)
}

fn id_of(location: &str) -> &str {
    location.rsplit('/').next().unwrap()
}

fn kv(server: &Server, key: &str) -> String {
    server.get(&format!("/kv/{}", key.replace('/', "%2F"))).text().to_owned()
}

/// A server whose process is killed and started anew at will.
struct Life<'a> {
    app: &'a App,
    server: Option<Server>,
    arguments: &'static [&'static str],
}

impl<'a> Life<'a> {
    fn new(app: &'a App, arguments: &'static [&'static str]) -> Self {
        Self { app, server: Some(Server::serve(app, arguments)), arguments }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    fn kill(&mut self) {
        self.server.take().unwrap().kill();
        self.server = Some(Server::serve(self.app, self.arguments));
    }
}

const CORES: [&[&str]; 3] =
    [&["--cores", "0"], &["--cores", "0,1"], &["--cores", "0,1", "--placement", "split"]];

#[test]
fn signals_come_in_order_once_from_everywhere() {
    for arguments in CORES {
        let app = App::with(SCRIPT);
        let server = Server::serve(&app, arguments);
        let location = start(&server, "/waits", &json!({ "count": 6 }));
        let id = id_of(&location);
        waits_for(&server, &location, "signal go");
        // Another name doesn't wake it, and stays.
        assert_eq!(server.post(&format!("{location}/signals/other"), "1").status, 204);
        for (n, body) in ["\"a\"", "{\"b\":[1,2.5,null]}", ""].iter().enumerate() {
            let sent = ask(&server, "POST", &format!("{location}/signals/go"), body, &[]);
            assert_eq!(sent.status, 204, "{n}: {sent}");
        }
        let (code, out) = ctl(&app, &["signal", id, "go", "[\"ctl\"]"]);
        assert_eq!(code, 0, "{out}");
        let answer = ask(&server, "POST", &format!("/signal/{id}/go"), "\"handler\"", &[]);
        assert_eq!(answer.json(), json!({ "id": "none" }), "{answer}");
        assert_eq!(ask(&server, "POST", &format!("{location}/signals/go"), "nonsense", &[]).status, 400);
        let (code, out) = ctl(&app, &["signal", id, "go"]);
        assert_eq!(code, 0, "{out}");
        let state = end(&server, &location);
        let seen = json!([id, "a", { "b": [1, 2.5, null] }, "nothing", ["ctl"], "handler", "nothing"]);
        assert_eq!(state["result"]["body"]["seen"], seen, "{state}");
        // Over, or never there.
        assert_eq!(server.post(&format!("{location}/signals/go"), "1").status, 409);
        assert_eq!(server.post("/_forebay/tasks/nobody/signals/go", "1").status, 404);
        assert_eq!(ctl(&app, &["signal", "nobody", "go"]).0, 1);
        assert_eq!(ctl(&app, &["signal", id, "go", "{"]).0, 2);
        // A timeout is undefined.
        let location = start(&server, "/waits", &json!({ "count": 1, "timeout": 50 }));
        assert_eq!(end(&server, &location)["result"]["body"]["seen"][1], "nothing");
        for (what, message) in [
            ("wait", "task.wait is for durable tasks"),
            ("promise", "task.promise is for durable tasks"),
            ("join", "task.join is for durable tasks"),
            ("defer", "task.defer is for durable tasks"),
            ("unknown", ""),
        ] {
            let answer = server.post(&format!("/plain/{what}"), "");
            assert_eq!(answer.status, 500, "{what} {message}: {answer}");
        }
        server.stop();
        let out = forebay(app.path(), &["kv", "dump", ".forebay/data"]).out;
        assert!(!out.contains("sig:"), "nothing is left of what nobody waited for: {out}");
    }
}

#[test]
fn no_signal_is_lost_or_doubled_whatever_is_killed() {
    let app = App::with(SCRIPT);
    let mut life = Life::new(&app, &["--cores", "0,1"]);
    let location = start(life.server(), "/waits", &json!({ "count": 9 }));
    let id = id_of(&location).to_owned();
    waits_for(life.server(), &location, "signal go");
    life.kill();
    // Before it has gone on, after it has, while it waits.
    for n in 0..4 {
        let sent = ask(life.server(), "POST", &format!("{location}/signals/go"), &n.to_string(), &[]);
        assert_eq!(sent.status, 204, "{sent}");
        if n % 2 == 0 {
            std::thread::sleep(Duration::from_millis(n * 10));
        }
        life.kill();
    }
    // A durable task sends the others, killed between its steps.
    let sender = start(life.server(), &format!("/sends/{id}"), &json!({}));
    for ms in [10, 25, 40] {
        std::thread::sleep(Duration::from_millis(ms));
        life.kill();
    }
    assert_eq!(end(life.server(), &sender)["status"], "done");
    let state = end(life.server(), &location);
    let seen = json!([id, 0, 1, 2, 3, "s0", "s1", "s2", "s3", "s4"]);
    assert_eq!(state["result"]["body"]["seen"], seen, "{state}");
    life.server.take().unwrap().stop();
}

#[test]
fn promises_are_fulfilled_once() {
    for arguments in CORES {
        let app = App::with(SCRIPT);
        let mut life = Life::new(&app, arguments);
        let location = start(life.server(), "/promises", &json!({ "timeout": "1d" }));
        waits_for(life.server(), &location, "promise");
        let urls: Vec<String> = serde_json::from_str(&kv(life.server(), "urls")).unwrap();
        life.kill();
        let fulfill = |server: &Server, url: &str, body: &str| ask(server, "POST", url, body, &[]).status;
        assert_eq!(fulfill(life.server(), &urls[0], "nonsense"), 400);
        assert_eq!(fulfill(life.server(), &urls[0], "{\"paid\":true}"), 204);
        assert_eq!(fulfill(life.server(), &urls[0], "{\"paid\":false}"), 409);
        life.kill();
        assert_eq!(fulfill(life.server(), &urls[0], "1"), 409);
        assert_eq!(fulfill(life.server(), "/_forebay/promises/00000000000000000000000000000000", "1"), 404);
        eventually("it has the first", || (kv(life.server(), "a") != "nothing").then_some(()));
        assert_eq!(fulfill(life.server(), &urls[1], "[2]"), 204);
        let state = end(life.server(), &location);
        assert_eq!(state["result"]["body"], json!({ "a": { "paid": true }, "b": [2] }), "{state}");
        assert_eq!(fulfill(life.server(), &urls[1], "1"), 409, "its task is over");
        // Never fulfilled: undefined, and nobody can afterwards.
        let location = start(life.server(), "/promises", &json!({ "timeout": 40 }));
        eventually("new ones", || (!kv(life.server(), "urls").contains(&urls[0])).then_some(()));
        let urls: Vec<String> = serde_json::from_str(&kv(life.server(), "urls")).unwrap();
        assert_eq!(fulfill(life.server(), &urls[0], "0"), 204);
        let state = end(life.server(), &location);
        assert_eq!(state["result"]["body"]["b"], "nothing", "{state}");
        eventually("it is settled", || (fulfill(life.server(), &urls[1], "1") == 409).then_some(()));
        life.server.take().unwrap().stop();
    }
}

#[test]
fn children_start_once_and_are_joined() {
    for (n, arguments) in CORES.into_iter().enumerate() {
        let app = App::with(SCRIPT);
        let mut life = Life::new(&app, arguments);
        let location = start(life.server(), "/parent", &json!({ "ms": 60 }));
        if n > 0 {
            for ms in [5, 30, 60, 20, 90] {
                std::thread::sleep(Duration::from_millis(ms));
                life.kill();
            }
        }
        let state = end(life.server(), &location);
        let body = &state["result"]["body"];
        assert_eq!(body["results"], json!([2, 4, 6]), "{state}");
        assert_eq!(body["error"], "RangeError: negative: -1");
        assert_eq!((&body["late"], &body["cancelled"]), (&json!("TimeoutError"), &json!("TaskCancelled")));
        let first = body["ids"][0].as_str().unwrap();
        assert!(first.starts_with(&format!("{}-", id_of(&location))), "{first}");
        assert_eq!(kv(life.server(), "children"), "5", "each started once");
        // From a handler; of a work that isn't there.
        let child = life.server().post("/starter", "").json();
        let state = end(life.server(), &format!("/_forebay/tasks/{}", child["id"].as_str().unwrap()));
        assert_eq!(state["result"]["body"], json!({ "twice": 14 }));
        let state = end(life.server(), &start(life.server(), "/nobody", &json!({})));
        assert!(state["error"]["message"].as_str().unwrap().contains("doesn't exist"), "{state}");
        life.server.take().unwrap().stop();
    }
}

#[test]
fn compensations_run_last_in_first_out_whatever_is_killed() {
    for (round, kills) in [&[][..], &[40, 60, 50, 70, 30], &[150, 40, 40, 40]].into_iter().enumerate() {
        let app = App::with(SCRIPT);
        let mut life = Life::new(&app, CORES[round]);
        let kill = |life: &mut Life<'_>| {
            for ms in kills {
                std::thread::sleep(Duration::from_millis(*ms));
                life.kill();
            }
        };
        let failing = start(life.server(), "/saga", &json!({ "how": "throw", "key": "t" }));
        kill(&mut life);
        let state = end(life.server(), &failing);
        assert_eq!(state["status"], "failed", "{state}");
        assert_eq!(state["error"]["message"], "no stock", "{state}");
        let cancelled = start(life.server(), "/saga", &json!({ "how": "wait", "key": "c" }));
        waits_for(life.server(), &cancelled, "signal never");
        let (code, out) = ctl(&app, &["cancel", id_of(&cancelled)]);
        assert_eq!(code, 0, "{out}");
        kill(&mut life);
        assert_eq!(end(life.server(), &cancelled)["status"], "cancelled");
        for key in ["t", "c"] {
            for what in ["begun", "undo-1", "undo-2"] {
                assert_eq!(kv(life.server(), &format!("{key}/{what}")), "1", "{key} {what}: once");
            }
            assert_eq!(kv(life.server(), &format!("{key}/last")), "undo-1");
            assert_eq!(kv(life.server(), &format!("{key}/first")), "undo-2");
        }
        assert_eq!(kv(life.server(), "t/lost"), "nothing", "the step that threw didn't happen");
        assert_eq!(kv(life.server(), "c/caught-TaskCancelled"), "1");
        assert_eq!(kv(life.server(), "c/finally"), "1");
        assert_eq!(ctl(&app, &["cancel", id_of(&cancelled)]).0, 1, "it is over");
        assert_eq!(ctl(&app, &["cancel", "nobody"]).0, 1);
        life.server.take().unwrap().stop();
    }
}

#[test]
fn cancelling_is_told_once_and_may_be_caught() {
    let app = App::with(SCRIPT);
    let mut life = Life::new(&app, &[]);
    for paused in [false, true] {
        let location = start(life.server(), "/shrugs", &json!({}));
        waits_for(life.server(), &location, "sleep");
        if paused {
            assert_eq!(ctl(&app, &["pause", id_of(&location)]).0, 0);
            life.kill();
        }
        let (code, out) = ctl(&app, &["cancel", id_of(&location)]);
        assert_eq!(code, 0, "{out}");
        life.kill();
        let state = end(life.server(), &location);
        let body = json!({ "name": "TaskCancelled", "code": "task_cancelled" });
        assert_eq!((&state["status"], &state["result"]["body"]), (&json!("done"), &body), "{state}");
    }
    life.server.take().unwrap().stop();
}

#[test]
fn tries_back_off_and_are_spent_then_it_is_paused() {
    let app = App::with(SCRIPT);
    let mut life = Life::new(&app, &[]);
    // Allowed in time.
    let location = start(life.server(), "/tries", &json!({ "key": "early" }));
    eventually("it has failed once", || {
        server_reason(life.server(), &location).contains("try 2 of 4").then_some(())
    });
    life.server().post("/allow/early", "");
    assert_eq!(end(life.server(), &location)["result"]["body"], "worked");
    assert_eq!(kv(life.server(), "lost/early"), "nothing", "steps that threw didn't happen");
    // Not allowed: paused, and a restart doesn't change that.
    let location = start(life.server(), "/tries", &json!({ "key": "late" }));
    std::thread::sleep(Duration::from_millis(60));
    life.kill();
    let paused = eventually("its tries are spent", || {
        let state = life.server().get(&location).json();
        (state["status"] == "paused").then_some(state)
    });
    assert!(paused["reason"].as_str().unwrap().contains("Error: not yet (after 4 tries"), "{paused}");
    life.kill();
    assert_eq!(life.server().get(&location).json()["status"], "paused");
    assert_eq!(ctl(&app, &["retry", id_of(&location)]).0, 0);
    eventually("all its tries again", || {
        server_reason(life.server(), &location).contains("try 2 of 4").then_some(())
    });
    eventually("paused again", || (life.server().get(&location).json()["status"] == "paused").then_some(()));
    life.server().post("/allow/late", "");
    assert_eq!(ctl(&app, &["retry", id_of(&location)]).0, 0);
    assert_eq!(end(life.server(), &location)["result"]["body"], "worked");
    assert_eq!(ctl(&app, &["retry", id_of(&location)]).0, 1, "it is over");
    life.server.take().unwrap().stop();
}

#[test]
fn a_task_shows_what_it_holds_and_is_patched() {
    let app = App::with(SCRIPT);
    let mut life = Life::new(&app, &[]);
    let location = start(life.server(), "/holds", &json!({}));
    let id = id_of(&location).to_owned();
    waits_for(life.server(), &location, "signal go");
    life.kill();
    let shown = |app: &App| -> Value {
        let (code, out) = ctl(app, &["show", &id, "--json"]);
        assert_eq!(code, 0, "{out}");
        serde_json::from_str(&out).unwrap()
    };
    let task = shown(&app);
    let line = SCRIPT.lines().position(|line| line.contains("function inner")).unwrap() + 1;
    let at = task["waits_at"][0].as_str().unwrap();
    assert!(at.starts_with(&format!("blueprints/main.js:{line}:")) && at.contains("task.wait"), "{task}");
    let locals = task["locals"].as_object().unwrap();
    let of =
        |name: &str| locals.iter().find(|(path, _)| path.ends_with(name)).map(|(_, value)| value.clone());
    assert_eq!(of("list"), Some(json!([1, "two"])), "{task}");
    assert_eq!(of("count"), Some(json!(6)), "{task}");
    assert_eq!(of("inner.deep"), Some(json!({ "a": 1 })), "{task}");
    assert_eq!(ctl(&app, &["set", &id, "count", "40"]), (0, String::new()));
    assert_eq!(ctl(&app, &["set", &id, "inner.deep", "{\"b\":[2]}"]).0, 0);
    assert_eq!(ctl(&app, &["set", &id, "nothing", "1"]).0, 1, "there is no such variable");
    assert_eq!(ctl(&app, &["set", &id, "count", "{"]).0, 2, "no JSON");
    assert_eq!(ctl(&app, &["set", "nobody", "count", "1"]).0, 1);
    let (code, out) = ctl(&app, &["pause", "--all", "--rate", "1000"]);
    assert!(code == 0 && out.contains("paused 1"), "{out}");
    assert_eq!(ctl(&app, &["set", &id, "count", "41"]).0, 0, "also while it is paused");
    life.kill();
    assert_eq!(shown(&app)["locals"].as_object().unwrap().len(), locals.len());
    assert_eq!(ctl(&app, &["resume", &id]).0, 0);
    assert_eq!(ctl(&app, &["signal", &id, "go"]).0, 0);
    let state = end(life.server(), &location);
    let body = json!({ "list": [1, "two"], "count": 41, "got": { "b": [2] } });
    assert_eq!(state["result"]["body"], body, "{state}");
    life.server.take().unwrap().stop();
}

#[test]
fn every_printed_command_works() {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/TASKS.md")).unwrap();
    let app = App::with(SCRIPT);
    let server = Server::serve(&app, &[]);
    let blocks = docs.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut count = 0;
    for line in blocks.flat_map(str::lines) {
        let location = start(&server, "/holds", &json!({}));
        waits_for(&server, &location, "signal go");
        let line = line.replace("ID", id_of(&location)).replace(['[', ']', '\''], "");
        let words: Vec<&str> = line.split(' ').collect();
        let ["forebay", rest @ ..] = words.as_slice() else { panic!("{line}") };
        if matches!(rest.get(2), Some(&("resume" | "retry"))) {
            assert_eq!(ctl(&app, &["pause", id_of(&location)]).0, 0);
        }
        let run = forebay(app.path(), rest);
        assert_eq!(run.code, 0, "{line}: {} {}", run.out, run.err);
        count += 1;
        ctl(&app, &["kill", id_of(&location)]);
    }
    assert!(count >= 10, "{count} commands");
    server.stop();
}

/// The saga of the examples: an order that fails gives back what it took.
#[test]
fn the_saga_of_the_examples_undoes_what_it_did() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/saga/blueprints/order.js");
    let app = App::with(&std::fs::read_to_string(path).unwrap());
    let server = Server::serve(&app, &[]);
    assert_eq!(ask(&server, "PUT", "/stock/tea", "2", &[]).status, 200);
    let order = |number: &str| {
        let body = json!({ "item": "tea" }).to_string();
        let answer = ask(&server, "POST", &format!("/orders/{number}"), &body, &[]);
        assert_eq!(answer.status, 202, "{answer}");
        let location = answer.header("location").unwrap().to_owned();
        assert_eq!(location, format!("/_forebay/tasks/order-{number}"));
        waits_for(&server, &location, "signal payment");
        location
    };
    let stock = || server.get("/stock/tea").text().to_owned();
    let paid = order("1");
    assert_eq!(ask(&server, "POST", "/orders/1/payment", "{\"ok\":true}", &[]).status, 200);
    assert_eq!(end(&server, &paid)["result"]["body"]["shipped"], true);
    assert_eq!(stock(), "1");
    let refused = order("2");
    assert_eq!(stock(), "0");
    assert_eq!(ask(&server, "POST", "/orders/2/payment", "{\"ok\":false}", &[]).status, 200);
    let state = end(&server, &refused);
    assert_eq!((&state["status"], &state["error"]["message"]), (&json!("failed"), &json!("payment refused")));
    assert_eq!(stock(), "1", "given back");
    let cancelled = order("3");
    assert_eq!(ask(&server, "DELETE", "/orders/3", "", &[]).status, 200);
    assert_eq!(end(&server, &cancelled)["status"], "cancelled");
    assert_eq!(stock(), "1", "given back");
    server.stop();
}

fn server_reason(server: &Server, location: &str) -> String {
    server.get(location).json()["reason"].as_str().unwrap_or_default().to_owned()
}
