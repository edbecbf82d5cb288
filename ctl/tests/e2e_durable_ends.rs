//! Durable tasks that can't go on: a limit of a step is used up, or the database will never say what they have to know.
//! Compensations run, each once, whatever is killed; an error that lasts is thrown.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test; it measures time")]

mod e2e;

use std::time::Duration;

use e2e::{App, Postgres, Server, ask, eventually, forebay};
use serde_json::{Value, json};

const SCRIPT: &str = r#"
const use = how => {
  if (how === "fuel") for (;;) {}
  if (how === "memory") { const all = []; for (;;) all.push("x".repeat(100000) + all.length); }
  if (how === "stack") { const deeper = n => 1 + deeper(n + 1); deeper(0); }
  if (how === "fibers") { for (let i = 0; i < 100; i++) (async () => sleep("1d"))(); sleep("1d"); }
  if (how === "never") return new Promise(() => {});
};
work("Limits").post("/limits", req => {
  const { how, undo, key } = req.json();
  const note = what => kv.incr(key + "/" + what);
  const order = what => { const before = kv.get(key + "/order") ?? ""; kv.set(key + "/order", before + what); };
  note("begun");
  task.defer(() => { note("undo-1"); sleep(60); order("1"); });
  kv.set(key + "/kept", 1);
  task.defer(async () => { note("undo-2"); sleep(60); order("2"); await use(undo); note("beyond"); });
  task.defer(() => { order("3"); });
  kv.set(key + "/lost", 1);
  return use(how);
}).limits({ fuel: 5000000, memory: "2MiB", fibers: 20, stack_depth: 200 }).durable();

work("Throws").post("/throws", req => {
  const { undo, key } = req.json();
  task.defer(() => { kv.incr(key + "/undo-1"); });
  task.defer(async () => { await use(undo); });
  task.defer(() => { throw new RangeError("no way back"); });
  sleep(10);
  throw new TypeError("first");
}).limits({ fuel: 5000000, memory: "2MiB" }).durable();

work("Tried").post("/tried", req => {
  const { key } = req.json();
  task.defer(() => { kv.incr(key + "/undone"); });
  sleep(10);
  use("fuel");
}).limits({ fuel: 5000000 }).retry(1, "20ms").durable();

work("Slow").post("/slow", req => {
  const { how, key } = req.json();
  task.defer(() => { kv.incr(key + "/undo-1"); });
  task.defer(() => {
    let told = "nothing";
    try { sleep(400); } catch (e) { told = e.name; }
    kv.set(key + "/told", told);
    kv.incr(key + "/undo-2");
  });
  if (how === "throw") throw new TypeError("first");
  use(how);
}).limits({ fuel: 5000000 }).durable();

work("Named").put("/named/{name}", req => {
  sleep(5);
  if (!kv.exists("allow/" + req.params.name)) throw new Error("not yet");
  return "v1";
}).retry(30, "100ms").durable({ id: "named-{name}" });
work("Allow").post("/allow/{name}", req => { kv.set("allow/" + req.params.name, 1); });

work("Later").put("/later/{name}", req => { sleep(150); return { first: task.wait("go"), second: task.wait("go") }; })
  .durable({ id: "later-{name}" });

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
        let over = ["done", "failed", "cancelled", "paused"].contains(&state["status"].as_str().unwrap());
        over.then_some(state)
    })
}

fn show(app: &App, location: &str) -> Value {
    let id = location.rsplit('/').next().unwrap();
    let run = forebay(app.path(), &["ctl", "task", "show", id, "--json"]);
    assert_eq!(run.code, 0, "{} {}", run.out, run.err);
    serde_json::from_str(&run.out).unwrap()
}

fn kv(server: &Server, key: &str) -> String {
    server.get(&format!("/kv/{}", key.replace('/', "%2F"))).text().to_owned()
}

#[test]
fn compensations_run_when_a_limit_is_used_up() {
    let app = App::with(SCRIPT);
    let mut server = Server::serve(&app, &[]);
    for (how, code) in [
        ("fuel", "fuel_exhausted"),
        ("memory", "memory_exhausted"),
        ("fibers", "too_many_fibers"),
        ("never", "never_settles"),
        // Catchable, and caught by nobody.
        ("stack", "script_error"),
    ] {
        for kills in [0, 3] {
            let key = format!("{how}-{kills}");
            let location = start(&server, "/limits", &json!({ "how": how, "key": key }));
            for _ in 0..kills {
                std::thread::sleep(Duration::from_millis(45));
                server.kill();
                server = Server::serve(&app, &[]);
            }
            let state = end(&server, &location);
            assert_eq!(
                (&state["status"], &state["error"]["code"]),
                (&json!("failed"), &json!(code)),
                "{state}"
            );
            assert_eq!(state["compensations_failed"], Value::Null, "{state}");
            for what in ["begun", "undo-1", "undo-2", "beyond", "kept"] {
                assert_eq!(kv(&server, &format!("{key}/{what}")), "1", "{key}/{what}: once");
            }
            assert_eq!(kv(&server, &format!("{key}/order")), "321", "{key}");
            assert_eq!(kv(&server, &format!("{key}/lost")), "nothing", "{key}: the step didn't happen");
        }
    }
    server.stop();
}

#[test]
fn a_compensation_that_uses_up_a_limit_is_given_up_and_the_others_run() {
    let app = App::with(SCRIPT);
    let mut server = Server::serve(&app, &[]);
    for (undo, code) in
        [("fuel", "fuel_exhausted"), ("memory", "memory_exhausted"), ("never", "never_settles")]
    {
        for kills in [0, 2] {
            let key = format!("{undo}-{kills}");
            let limits = start(&server, "/limits", &json!({ "how": "fuel", "undo": undo, "key": key }));
            let throws = start(&server, "/throws", &json!({ "undo": undo, "key": format!("t-{key}") }));
            for _ in 0..kills {
                std::thread::sleep(Duration::from_millis(70));
                server.kill();
                server = Server::serve(&app, &[]);
            }
            let state = end(&server, &limits);
            assert_eq!(state["error"]["code"], "fuel_exhausted", "the first reason: {state}");
            assert_eq!(
                kv(&server, &format!("{key}/order")),
                "31",
                "{key}: the step that couldn't end didn't happen"
            );
            for (what, times) in [("undo-1", "1"), ("undo-2", "1"), ("beyond", "nothing")] {
                assert_eq!(kv(&server, &format!("{key}/{what}")), times, "{key}/{what}");
            }
            let failed = show(&app, &limits)["compensations_failed"].clone();
            assert_eq!(failed.as_array().map(Vec::len), Some(1), "{failed}");
            assert!(failed[0].as_str().unwrap().starts_with(code), "{failed}");
            let state = end(&server, &throws);
            assert_eq!(
                (&state["error"]["name"], &state["error"]["message"]),
                (&json!("TypeError"), &json!("first"))
            );
            assert_eq!(kv(&server, &format!("t-{key}/undo-1")), "1", "{state}");
            let failed = show(&app, &throws)["compensations_failed"].clone();
            let failed: Vec<&str> = failed.as_array().unwrap().iter().map(|e| e.as_str().unwrap()).collect();
            assert!(failed.contains(&"RangeError: no way back"), "{failed:?}");
            assert!(failed.iter().any(|error| error.starts_with(code)) && failed.len() == 2, "{failed:?}");
        }
    }
    server.stop();
}

#[test]
fn who_is_cancelled_in_the_middle_of_a_compensation_is_undone_all_the_same() {
    let app = App::with(SCRIPT);
    let mut server = Server::serve(&app, &[]);
    for (how, code) in [("throw", "script_error"), ("fuel", "fuel_exhausted")] {
        for kill in [false, true] {
            let key = format!("{how}-{kill}");
            let location = start(&server, "/slow", &json!({ "how": how, "key": key }));
            eventually("a compensation sleeps", || {
                let state = server.get(&location).json();
                state["blocked_on"].as_str().is_some_and(|on| on.contains("sleep")).then_some(())
            });
            let id = location.rsplit('/').next().unwrap();
            let run = forebay(app.path(), &["ctl", "task", "cancel", id]);
            assert_eq!(run.code, 0, "{} {}", run.out, run.err);
            if kill {
                server.kill();
                server = Server::serve(&app, &[]);
            }
            let state = end(&server, &location);
            assert_eq!(
                (&state["status"], &state["error"]["code"]),
                (&json!("failed"), &json!(code)),
                "{state}"
            );
            for (what, value) in [("undo-1", "1"), ("undo-2", "1"), ("told", "nothing")] {
                assert_eq!(kv(&server, &format!("{key}/{what}")), value, "{key}/{what}");
            }
        }
    }
    server.stop();
}

#[test]
fn a_name_is_one_task_and_one_code_while_it_is_tried_again() {
    let app = App::with(SCRIPT);
    let mut server = Server::serve(&app, &[]);
    let location = put(&server, "/named/a");
    eventually("it waits for another try", || {
        server.get(&location).json()["reason"].as_str().is_some_and(|why| why.contains("try 2")).then_some(())
    });
    assert_eq!(put(&server, "/named/a"), location, "the same again is the same task");
    let other = ask(&server, "PUT", "/named/a", "something else", &[]);
    assert_eq!(other.status, 409, "{other}");
    // Another version of the script, and another life.
    server.kill();
    app.write("blueprints/main.js", &SCRIPT.replace("\"v1\"", "\"v2\""));
    server = Server::serve(&app, &[]);
    assert_eq!(put(&server, "/named/a"), location);
    assert_eq!(ask(&server, "PUT", "/named/a", "something else", &[]).status, 409);
    server.post("/allow/a", "");
    assert_eq!(end(&server, &location)["result"]["body"], "v1", "the code that it began with");
    server.post("/allow/b", "");
    let location = put(&server, "/named/b");
    assert_eq!(end(&server, &location)["result"]["body"], "v2");
    server.stop();
}

#[test]
fn signals_that_come_before_the_wait_are_kept() {
    let app = App::with(SCRIPT);
    let mut server = Server::serve(&app, &[]);
    let location = put(&server, "/later/a");
    for value in ["1", "2"] {
        assert_eq!(server.post(&format!("{location}/signals/go"), value).status, 204);
        server.kill();
        server = Server::serve(&app, &[]);
    }
    assert_eq!(end(&server, &location)["result"]["body"], json!({ "first": 1, "second": 2 }));
    server.stop();
}

#[test]
fn with_tries_left_nothing_is_undone() {
    let app = App::with(SCRIPT);
    let server = Server::serve(&app, &[]);
    let location = start(&server, "/tried", &json!({ "key": "tried" }));
    let state = end(&server, &location);
    assert_eq!(state["status"], "paused", "{state}");
    assert_eq!(kv(&server, "tried/undone"), "nothing");
    server.stop();
}

const RIGHTS: &str = r#"
const shown = g => { try { return g(); } catch (e) { return [e.name, e.code, e.message]; } };
work("One").put("/one/{n}", req => shown(() => { db().table("done").insert({ n: req.params.n }); return "did"; }))
  .durable({ id: "one-{n}" });
work("Tx").put("/tx/{n}", req => shown(() => tx(() => { db().table("done").insert({ n: req.params.n }); return "did"; })))
  .durable({ id: "tx-{n}" });
work("Bulk").put("/bulk/{n}", req => {
  const seen = [
    shown(() => db().table("done").copy([{ n: "a" }])),
    shown(() => db().table("done").copyOut()),
    shown(() => { for (const row of db().table("done").cursor()) return row; }),
    shown(() => db().table("done").each(() => 1)),
    shown(() => tx(() => db().table("done").copy([{ n: "a" }]))),
  ];
  db().table("done").insert({ n: "still" });
  return { seen, count: db().table("done").count() };
}).durable();
"#;

/// A role of the script: what it must not do with `forebay_steps` is what a test takes away from it.
fn with_role(app: &App) -> (Postgres, String) {
    let postgres = Postgres::start(app);
    for statement in [
        "CREATE ROLE script LOGIN PASSWORD 'script'",
        "CREATE TABLE done (n text)",
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.n LIKE 'slow%' THEN PERFORM pg_sleep(1); END IF; RETURN NEW; END $$",
        "CREATE TRIGGER slow BEFORE INSERT ON done FOR EACH ROW EXECUTE FUNCTION slow()",
        "GRANT ALL ON done TO script",
        "CREATE TABLE late (n text)",
    ] {
        postgres.psql(statement);
    }
    app.write("forebay.toml", "[database]\nurl = \"$DATABASE_URL\"\n");
    let url = as_script(postgres.url());
    (postgres, url)
}

/// The URL with the role's name.
fn as_script(url: &str) -> String {
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")).unwrap();
    let rest = rest.split_once('@').filter(|(user, _)| !user.contains('/')).map_or(rest, |(_, rest)| rest);
    format!("postgres://script:script@{rest}")
}

const STEPS: &str = "CREATE TABLE IF NOT EXISTS forebay_steps (task uuid NOT NULL, step bigint NOT NULL, name text NOT NULL, \
    result bytea NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (task, step))";

fn put(server: &Server, path: &str) -> String {
    let answer = ask(server, "PUT", path, "", &[]);
    assert_eq!(answer.status, 202, "{answer}");
    answer.header("location").unwrap().to_owned()
}

/// What the script was told.
fn told(server: &Server, location: &str) -> Value {
    let state = end(server, location);
    assert_eq!(state["status"], "done", "{state}");
    state["result"]["body"].clone()
}

#[track_caller]
fn denied(told: &Value, what: &str) {
    assert_eq!((&told[0], &told[1]), (&json!("DatabaseError"), &json!("42501")), "{told}");
    assert!(told[2].as_str().unwrap().contains(what), "{told}");
}

#[test]
fn a_role_without_rights_to_the_steps_is_told_so() {
    let app = App::with(RIGHTS);
    let (postgres, url) = with_role(&app);
    let server = Server::start("serve", app.path(), &[], &[("DATABASE_URL", &url)]);
    // No table, and no right to make one.
    denied(&told(&server, &put(&server, "/one/a")), "permission denied for schema public");
    denied(&told(&server, &put(&server, "/tx/a")), "permission denied for schema public");
    // It may look, but not write.
    postgres.psql(STEPS);
    postgres.psql("GRANT SELECT, DELETE ON forebay_steps TO script");
    denied(&told(&server, &put(&server, "/one/b")), "permission denied for table forebay_steps");
    denied(&told(&server, &put(&server, "/tx/b")), "permission denied for table forebay_steps");
    assert_eq!(postgres.psql("SELECT count(*) FROM done"), "0", "nothing happened without its row");
    postgres.psql("GRANT INSERT ON forebay_steps TO script");
    assert_eq!(told(&server, &put(&server, "/one/c")), "did");
    assert_eq!(told(&server, &put(&server, "/tx/c")), "did");
    assert_eq!(postgres.psql("SELECT count(*) FROM done"), "2");
    // COPY and cursors aren't for durable tasks; what follows is.
    let bulk = told(&server, &put(&server, "/bulk/d"));
    assert_eq!(bulk["count"], 3, "{bulk}");
    for refused in bulk["seen"].as_array().unwrap() {
        assert_eq!(refused[0], "TypeError", "{bulk}");
        assert!(
            refused[2].as_str().unwrap().contains("copy and cursors aren't possible in a durable task"),
            "{bulk}"
        );
    }
    server.stop();
}

#[test]
fn a_step_that_can_never_be_looked_up_is_told_so_after_a_restart() {
    let app = App::with(RIGHTS);
    let (postgres, url) = with_role(&app);
    postgres.psql(STEPS);
    postgres.psql("GRANT ALL ON forebay_steps TO script");
    // The end of a transaction takes long, too.
    postgres.psql(
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON done DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    let env = [("DATABASE_URL", &*url)];
    let server = Server::start("serve", app.path(), &[], &env);
    let one = put(&server, "/one/slow-1");
    eventually("the statement is carried out", || {
        let active =
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'INSERT%done%'";
        (postgres.psql(active) == "1").then_some(())
    });
    server.kill();
    postgres.psql("REVOKE ALL ON forebay_steps FROM script");
    let server = Server::start("serve", app.path(), &[], &env);
    denied(&told(&server, &one), "can't be looked up");
    // As it is for `tx`, which was committed, or not.
    postgres.psql("GRANT ALL ON forebay_steps TO script");
    let tx = put(&server, "/tx/slow-2");
    eventually("the transaction ends", || {
        let active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COMMIT%'";
        (postgres.psql(active) == "1").then_some(())
    });
    server.kill();
    postgres.psql("REVOKE ALL ON forebay_steps FROM script");
    let server = Server::start("serve", app.path(), &[], &env);
    denied(&told(&server, &tx), "can't be looked up");
    // With its rights back it goes on where it was.
    postgres.psql("GRANT ALL ON forebay_steps TO script");
    let tx = put(&server, "/tx/slow-3");
    std::thread::sleep(Duration::from_millis(300));
    server.kill();
    let server = Server::start("serve", app.path(), &[], &env);
    assert_eq!(told(&server, &tx), "did");
    assert_eq!(postgres.psql("SELECT count(*) FROM done WHERE n = 'slow-3'"), "1");
    server.stop();
}
