//! kill -9 under durable tasks of ten steps, with effects in PostgreSQL, over HTTP and in the store. The oracle is
//! outside: the tables and a server that counts keys. Every task that was acknowledged comes to its end, each
//! SQL effect happened exactly once, no step is lost.
//!
//! `FOREBAY_KILLS=1000 cargo test -p forebay-ctl --test e2e_durable_crash` for longer.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test; it measures time")]

mod e2e;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::{App, Client, Counter, Postgres, Random, Server};
use serde_json::{Value, json};

const KILLS: usize = 20;
const CLIENTS: usize = 3;
/// How long no flow may end while some haven't.
const PATIENCE: Duration = Duration::from_secs(60);

const SCRIPT: &str = r#"
work("Flow").put("/flow/{flow}", req => {
  const flow = req.params.flow;
  const seen = [];
  for (let step = 0; step < 10; step++) {
    if (step % 5 === 0) {
      seen.push(db().table("done").insert({ flow, step }).returning("step").step);
    } else if (step % 5 === 1) {
      seen.push(http().post("http://counter.test/x", { flow, step }).status === 200 ? step : -1);
    } else if (step % 5 === 2) {
      seen.push(tx(() => {
        db().table("done").insert({ flow, step });
        kv.set("in/" + flow + "/" + step, step);
        db().table("total").where("id", 1).update(t => ({ n: t.n + 1 }));
        return step;
      }));
    } else if (step % 5 === 3) {
      kv.incr("count");
      seen.push(step);
    } else {
      kv.set("plain/" + flow + "/" + step, step);
      sleep(step);
      seen.push(kv.get("plain/" + flow + "/" + step));
    }
  }
  return { flow, seen, inside: kv.scan("in/" + flow + "/").map(i => i.value) };
}).durable({ id: "flow-{flow}" });
work("Count").get("/count", () => kv.get("count") ?? 0);
"#;

/// Starts tasks until the server dies. Those that were acknowledged are kept, and those that may have been.
fn start(
    address: SocketAddr,
    client: usize,
    round: usize,
    stop: &AtomicBool,
    kept: &Mutex<BTreeMap<String, bool>>,
) {
    let Ok(mut connection) = Client::try_connect(address) else { return };
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let flow = format!("{round}-{client}-{n}");
        kept.lock().unwrap().insert(flow.clone(), false);
        let request = format!("PUT /flow/{flow} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
        let sent = connection.try_send(request.as_bytes()).and_then(|()| connection.try_answer("PUT"));
        let Ok(answer) = sent else { return };
        assert_eq!(answer.status, 202, "{answer}");
        kept.lock().unwrap().insert(flow, true);
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Waits for the end of all flows for as long as some end: their last states, and how many never began.
fn all_ended(client: &mut Client, kept: BTreeMap<String, bool>) -> (Vec<Value>, usize) {
    let mut open: Vec<(String, bool)> = kept.into_iter().collect();
    let (mut states, mut unheard) = (Vec::new(), 0);
    let (begin, mut progress) = (Instant::now(), Instant::now());
    let mut last = Value::Null;
    for pass in 0.. {
        let before = open.len();
        open.retain(|(flow, acknowledged)| {
            let answer = client.get(&format!("/_forebay/tasks/flow-{flow}"));
            if answer.status == 404 && !acknowledged {
                unheard += 1;
                return false;
            }
            assert_eq!(answer.status, 200, "{flow} was acknowledged: {answer}");
            let state = answer.json();
            if ["running", "initialized"].contains(&state["status"].as_str().unwrap()) {
                last = state;
                return true;
            }
            states.push(state);
            false
        });
        if open.is_empty() {
            break;
        }
        if pass == 0 || open.len() < before {
            println!("{:?}: {} ended, {} haven't", begin.elapsed(), states.len(), open.len());
        }
        if open.len() < before {
            progress = Instant::now();
        }
        assert!(
            progress.elapsed() < PATIENCE,
            "no flow has ended for {PATIENCE:?}; {} haven't, such as {last}",
            open.len()
        );
        std::thread::sleep(Duration::from_secs(1));
    }
    (states, unheard)
}

#[test]
fn every_flow_ends_and_each_of_its_effects_happened_once() {
    let kills = std::env::var("FOREBAY_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let mut random = Random::new("every_flow_ends_and_each_of_its_effects_happened_once");
    let app = App::with(SCRIPT);
    let postgres = Postgres::start(&app);
    postgres.psql("CREATE TABLE done (flow text, step int); CREATE TABLE total (id int, n int); INSERT INTO total VALUES (1, 0)");
    let counter = Counter::start();
    app.write(
        "forebay.toml",
        &format!(
            "[database]\nurl = \"$DATABASE_URL\"\n[dev.rewrite]\n\"http://counter.test\" = \"http://{}\"\n",
            counter.address
        ),
    );
    let env = [("DATABASE_URL", postgres.url())];
    let kept = Mutex::new(BTreeMap::new());
    let begin = Instant::now();
    for round in 0..kills {
        let placement = if round % 4 == 3 { "split" } else { "inline" };
        let server = Server::start("dev", app.path(), &["--placement", placement], &env);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (stop, kept, address) = (&stop, &kept, server.address);
                scope.spawn(move || start(address, client, round, stop, kept));
            }
            std::thread::sleep(Duration::from_millis(20 + random.below(250)));
            stop.store(true, Ordering::Relaxed);
            if random.below(2) == 0 {
                std::thread::sleep(Duration::from_millis(random.below(100)));
            }
            server.kill();
        });
    }
    let killing = begin.elapsed();
    println!("statements so far: {}", postgres.psql("SELECT count(*) FROM done"));
    let started = Instant::now();
    let server = Server::start("dev", app.path(), &[], &env);
    println!("{kills} kills in {killing:?}, the last start took {:?}", started.elapsed());
    let mut client = server.client();
    let (states, unheard) = all_ended(&mut client, kept.into_inner().unwrap());
    let ended = states.len();
    for state in &states {
        assert_eq!(state["status"], "done", "{state}");
        let body = &state["result"]["body"];
        assert_eq!(body["seen"], json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), "{state}");
        assert_eq!(
            body["inside"],
            json!([2, 7]),
            "what a transaction wrote to the store came with it: {state}"
        );
    }
    let wrong = postgres.psql(
        "SELECT flow, step, count(*) FROM done GROUP BY flow, step HAVING count(*) <> 1 \
         UNION ALL SELECT flow, -1, count(*) FROM done GROUP BY flow HAVING count(*) <> 4",
    );
    assert_eq!(wrong, "", "each statement exactly once");
    assert_eq!(postgres.psql("SELECT count(DISTINCT flow) FROM done").trim(), ended.to_string());
    assert_eq!(
        postgres.psql("SELECT n FROM total").trim(),
        (2 * ended).to_string(),
        "each transaction exactly once"
    );
    assert_eq!(client.get("/count").json(), json!(2 * ended), "each kv.incr exactly once");
    let mut keys = counter.keys.lock().unwrap().clone();
    let sent = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 2 * ended, "each request under one key");
    println!(
        "{kills} kills in {:?}: {ended} flows of 10 steps ended, {unheard} never began; {sent} requests for {} keys",
        begin.elapsed(),
        keys.len()
    );
    drop(client);
    // The rows that said so go when the tasks are over.
    e2e::eventually("the rows of steps are removed", || {
        (postgres.psql("SELECT count(*) FROM forebay_steps").trim() == "0").then_some(())
    });
    server.stop();
}

const SHAPES: &str = r#"
const f = () => {
  const shown = (name, g) => { try { return g(); } catch (e) { return [e.name, e.code, e.message]; } };
  db().table("t").where("a", ">", 0).delete();
  const n = db().table("t").insert({ a: 1, b: "x" });
  const rows = db().table("t").insert([{ a: 2, b: null }, { a: 3, b: "z" }]).returning("a", "b");
  const one = db().table("t").insert({ a: 4, b: "9007199254740993" }).returning("a");
  const none = db().table("t").where("a", 99).update({ b: "y" });
  const twice = shown("twice", () => db().table("t").insert({ a: 1, b: "again" }));
  const inside = tx(() => { db().table("t").insert({ a: 5, b: "t" }); return db().table("t").count(); });
  const thrown = shown("thrown", () => tx(() => { db().table("t").insert({ a: 6, b: "t" }); throw new RangeError("no"); }));
  const nested = tx(() => { tx(() => db().table("t").insert({ a: 7, b: "t" })); return db().table("t").count(); });
  const late = shown("late", () => tx(() => { db().table("late").insert({ a: 999 }); }));
  return { n, rows, one, none, twice, inside, thrown, nested, late, all: db().table("t").order("a").select("a").get().map(r => r.a) };
};
work("Plain").post("/plain", f);
work("Durable").post("/durable", f).durable();
work("Inside").post("/inside", () => { tx(() => { sleep(10); }); }).durable();
"#;

#[test]
fn statements_of_a_durable_task_answer_as_any_others() {
    let app = App::with(SHAPES);
    let postgres = Postgres::start(&app);
    postgres.psql(
        "CREATE TABLE t (a int PRIMARY KEY, b text); \
         CREATE TABLE late (a int, CONSTRAINT c FOREIGN KEY (a) REFERENCES t (a) DEFERRABLE INITIALLY DEFERRED); \
         INSERT INTO t VALUES (0, 'kept'); DELETE FROM t WHERE a = 1",
    );
    app.write("forebay.toml", "[database]\nurl = \"$DATABASE_URL\"\n");
    let server = Server::start("serve", app.path(), &[], &[("DATABASE_URL", postgres.url())]);
    let post = |path: &str| {
        let mut client = server.client();
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: test\r\nPrefer: wait=20\r\nContent-Length: 0\r\n\r\n");
        client.send(request.as_bytes());
        client.answer("POST")
    };
    let plain = post("/plain");
    assert_eq!(plain.status, 200, "{plain}");
    let durable = post("/durable");
    assert_eq!(durable.json(), plain.json());
    assert_eq!(plain.json()["all"], json!([0, 1, 2, 3, 4, 5, 7]), "{plain}");
    let inside = post("/inside");
    assert_eq!(inside.status, 500, "{inside}");
    assert!(server.log().contains("sleep isn't possible inside of tx()"), "{}", server.log());
    server.stop();
}

const WAITING: &str = r#"
work("Later").put("/later/{flow}", req => {
  const flow = req.params.flow;
  sleep(Number(req.query.ms));
  const seen = db().table("done").where("flow", flow).count();
  db().table("done").insert({ flow, step: 0 });
  const inside = tx(() => {
    db().table("done").insert({ flow, step: 1 });
    return db().table("done").where("flow", flow).count();
  });
  return { seen, inside };
}).durable({ id: "later-{flow}" });
work("Free").put("/free", () => { sleep(1); return "free"; }).durable({ id: "free" });
"#;

/// Starts a task of `WAITING`.
fn later(client: &mut Client, flow: usize, query: &str) {
    let answer = client.ask("PUT", &format!("/later/{flow}?{query}"), Some(""));
    assert_eq!(answer.status, 202, "{answer}");
}

/// Looks at a task until it is over.
fn over(client: &mut Client, id: &str) -> Value {
    e2e::eventually(&format!("{id} ends"), || {
        let answer = client.get(&format!("/_forebay/tasks/{id}"));
        assert_eq!(answer.status, 200, "{id}: {answer}");
        let state = answer.json();
        (!["running", "initialized"].contains(&state["status"].as_str().unwrap())).then_some(state)
    })
}

fn all_done_once(postgres: &Postgres, client: &mut Client, flows: usize) {
    for flow in 0..flows {
        let state = over(client, &format!("later-{flow}"));
        assert_eq!(state["status"], "done", "{state}");
        assert_eq!(state["result"]["body"], json!({ "seen": 0, "inside": 2 }), "{state}");
    }
    assert_eq!(
        postgres.psql("SELECT count(*), count(DISTINCT (flow, step)) FROM done"),
        format!("{0}|{0}", 2 * flows)
    );
}

#[test]
fn a_restart_wakes_more_tasks_than_have_a_place_at_the_database() {
    const FLOWS: usize = 400;
    let app = App::with(WAITING);
    let postgres = Postgres::start(&app);
    postgres.psql("CREATE TABLE done (flow text, step int)");
    let env = [("DATABASE_URL", postgres.url())];
    // Fewer places than are woken at a time, too: those who find none ask again.
    for (queue, kept) in [(1024, "long"), (4, "short")] {
        app.write("forebay.toml", &format!("[database]\nurl = \"$DATABASE_URL\"\nqueue = {queue}\n"));
        let server = Server::start("dev", app.path(), &[], &env);
        let mut client = server.client();
        for flow in 0..FLOWS {
            let id = if kept == "long" { flow } else { FLOWS + flow };
            later(&mut client, id, "ms=1500");
        }
        drop(client);
        server.kill();
        std::thread::sleep(Duration::from_millis(1600));
        let server = Server::start("dev", app.path(), &[], &env);
        let flows = if kept == "long" { FLOWS } else { 2 * FLOWS };
        all_done_once(&postgres, &mut server.client(), flows);
        assert!(!server.log().contains("durable task failed"), "{}", server.log());
        server.kill();
    }
}

#[test]
fn tasks_wait_for_a_database_that_is_away() {
    const FLOWS: usize = 60;
    let app = App::with(WAITING);
    let mut postgres = Postgres::start(&app);
    postgres.psql("CREATE TABLE done (flow text, step int)");
    app.write("forebay.toml", "[database]\nurl = \"$DATABASE_URL\"\n");
    let url = postgres.url().to_owned();
    let server = Server::start("dev", app.path(), &[], &[("DATABASE_URL", &url)]);
    let mut client = server.client();
    for flow in 0..FLOWS {
        // Some are in the middle of it when the server stops, and some get there when it isn't there.
        later(&mut client, flow, if flow % 2 == 0 { "ms=300" } else { "ms=4000" });
    }
    postgres.stop();
    let last = format!("later-{}", FLOWS - 1);
    let shown = e2e::eventually("a task says that it waits for the database", || {
        std::thread::sleep(Duration::from_millis(100));
        let run = e2e::forebay(app.path(), &["ctl", "task", "show", &last, "--json"]);
        let shown: Value = serde_json::from_str(&run.out).ok()?;
        shown["waits_for_database"].is_string().then_some(shown)
    });
    assert_eq!(shown["status"], "running", "{shown}");
    let free = client.ask("PUT", "/free", Some(""));
    assert_eq!(free.status, 202, "{free}");
    assert_eq!(over(&mut client, "free")["status"], "done", "what needs no database goes on");
    postgres.start_again();
    all_done_once(&postgres, &mut client, FLOWS);
    drop(client);
    server.stop();
}
