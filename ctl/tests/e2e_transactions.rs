//! `tx(fn)` under the real binary: what is committed, what is rolled back, and that no connection stays behind.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test; it waits for PostgreSQL")]

mod e2e;

use e2e::{App, Client, Postgres, Server, eventually};

const SCRIPT: &str = r#"
const add = (n) => db().table("item").insert({ n });
const fail = (name, f) => { try { return f(); } catch (e) { return { name: e.name, code: e.code, message: e.message }; } };

work("Plain").post("/plain", req => tx(() => { add(1); add(2); return { n: db().table("item").count() }; }));
work("Throws").post("/throws", () => fail("x", () => tx(() => { add(1); throw new TypeError("mine"); })));
work("Statement").post("/statement", () => fail("x", () => tx(() => { add(1); add(null); })));
work("Swallowed").post("/swallowed", () => fail("x", () => tx(() => { add(1); try { add(null); } catch {} return 1; })));
work("Query").post("/query", () => tx(() => { add(7); return db().table("item").select("n"); }));
work("Async").post("/async", async () => await tx(async () => {
  const add2 = async n => { add(n); await null; return add(n + 1); };
  await Promise.all([10, 20].map(add2));
  await Promise.resolve(1).then(() => add(30));
  return { n: db().table("item").count(), outside: await (async () => db().table("item").count())() };
}));
work("Rejected").post("/rejected", async () => fail("x", () => tx(async () => { add(1); await null; throw new Error("later"); })));
work("Nested").post("/nested", () => tx(() => {
  add(1);
  const inner = fail("x", () => tx(() => { add(2); tx(() => add(3)); throw new RangeError("inner"); }));
  tx(() => { add(4); });
  return { inner: inner.name, n: db().table("item").select("n").order("n").get().map(r => r.n) };
}));
work("Overtaken").post("/overtaken", () => tx(() => {
  tx(() => add(1));
  const inner = fail("x", () => tx(() => add(null)));
  add(2);
  return { inner: inner.name, n: db().table("item").count() };
}));
work("Siblings").post("/siblings", () => fail("x", () => tx(async () => {
  await Promise.all([1, 2].map(async n => tx(() => { add(n); sleep(20); })));
})));
work("Options").post("/options", () => fail("x", () => tx(() => add(1), payload())));
work("Inside").post("/inside", () => tx(() => {
  return db().table("setting").first();
}, payload()));
work("Tenant").get("/tenant", () => db().table("setting").select("t").first());
work("Fuel").limits({ fuel: 2000000 }).post("/fuel", () => tx(() => { add(1); for (;;) {} }));
work("Late").timeout("300ms").post("/late", () => tx(() => { add(1); sleep("30s"); }));
work("Slow").post("/slow", () => tx(() => { add(1); sleep("30s"); }));
work("Leaver").timeout("1s").post("/leaver", () => tx(() => { add(1); sleep("30s"); }));
work("Stray").post("/stray", () => fail("x", () => {
  let late;
  tx(() => { add(1); late = (async () => { sleep(50); return add(2); })(); });
  return (async () => await late)();
}));
work("StrayAwait").post("/stray-await", async () => {
  let late;
  tx(() => { add(1); late = (async () => { sleep(50); return add(2); })(); });
  try { await late; return "no"; } catch (e) { return { name: e.name, message: e.message }; }
});
work("Retry").post("/retry", () => {
  let runs = 0;
  const n = tx(() => {
    runs++;
    const n = db().table("counter").where("id", 1).first().n;
    sleep(30);
    db().table("counter").where("id", 1).update({ n: n + 1 });
    return n;
  }, { isolation: "serializable", retry: 10 });
  return { n, runs };
});
work("Once").post("/once", () => fail("x", () => tx(() => {
  const n = db().table("counter").where("id", 1).first().n;
  sleep(payload().ms);
  db().table("counter").where("id", 1).update({ n: n + 1 });
  return n;
}, { isolation: "repeatable read" })));
work("Other").post("/other", () => {
  db("other").table("far").insert({ n: 1 });
  const inside = tx(() => { db().table("far").insert({ n: 2 }); return db("other").table("far").count(); }, { database: "other" });
  const wrong = fail("x", () => tx(() => db("other").table("far").count()));
  return { inside, wrong: wrong.message, outside: db("other").table("far").count(), none: fail("x", () => db("nope").table("far").count()).message };
});
"#;

const TABLES: &str = "create table item (n int8 not null); create table counter (id int8 primary key, n int8 not null);
insert into counter values (1, 0);
create view setting as select current_setting('transaction_isolation') as i, current_setting('transaction_read_only') as r,
current_setting('app.tenant', true) as t;";

struct World {
    // Drop order: clients, then the server, then its database.
    client: Client,
    server: Server,
    postgres: Postgres,
    _app: App,
}

impl World {
    fn start(transactions: usize) -> Self {
        let app = App::with(SCRIPT);
        let postgres = Postgres::start(&app);
        postgres.psql(TABLES);
        postgres.psql("create database other");
        let (server, _) = postgres.url().rsplit_once('/').unwrap();
        let other = format!("{server}/other");
        e2e::psql(&other, "create table far (n int8 not null)");
        app.write(
            "forebay.toml",
            &format!(
                "[database]\nurl = \"$E2E_DATABASE\"\ntransactions = {transactions}\nacquire_timeout = \"2s\"\n\
                 [database.other]\nurl = \"$E2E_OTHER\"\nconnections = 1\ntransactions = 1\n"
            ),
        );
        let env = [("E2E_DATABASE", postgres.url()), ("E2E_OTHER", &*other)];
        let server = Server::start("serve", app.path(), &["--cores", "0"], &env);
        Self { client: server.client(), server, postgres, _app: app }
    }

    #[track_caller]
    fn check(&mut self, path: &str, body: &str, expect: &str) {
        assert_eq!(self.client.post(path, body).line(), expect, "{path} {body}");
    }

    fn items(&self) -> String {
        self.postgres.psql("select coalesce(string_agg(n::text, ',' order by n), '') from item")
    }

    #[track_caller]
    fn left_behind(&self, items: &str) {
        assert_eq!(self.items(), items);
        eventually("no transaction is open", || {
            let open = "select count(*) from pg_stat_activity where state like 'idle in transaction%'";
            (self.postgres.psql(open) == "0").then_some(())
        });
        self.postgres.psql("truncate item");
    }
}

#[test]
fn what_is_committed_and_what_is_not() {
    let mut world = World::start(1);
    world.check("/plain", "", "200 {\"n\":2}");
    world.left_behind("1,2");
    world.check("/throws", "", "200 {\"name\":\"TypeError\",\"message\":\"mine\"}");
    world.left_behind("");
    let answer = world.client.post("/statement", "").json();
    assert_eq!(answer["code"], "23502", "{answer}");
    world.left_behind("");
    let answer = world.client.post("/swallowed", "").json();
    assert_eq!(answer["name"], "TransactionError", "{answer}");
    world.left_behind("");
    world.check("/query", "", "200 [{\"n\":7}]");
    world.left_behind("7");
    world.check("/async", "", "200 {\"n\":5,\"outside\":5}");
    world.left_behind("10,11,20,21,30");
    let answer = world.client.post("/rejected", "");
    assert_eq!(answer.status, 200, "{answer}");
    world.left_behind("");
    world.check("/nested", "", "200 {\"inner\":\"RangeError\",\"n\":[1,4]}");
    world.left_behind("1,4");
    // RELEASE is known to the server and ROLLBACK TO is new: they keep their order.
    world.check("/overtaken", "", "200 {\"inner\":\"DatabaseError\",\"n\":2}");
    world.left_behind("1,2");
    let answer = world.client.post("/siblings", "").json();
    assert_eq!(answer["name"], "TransactionError", "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("nested transaction is open"), "{answer}");
    world.left_behind("");
    let answer = world.client.post("/stray-await", "").json();
    assert_eq!(answer["name"], "TransactionError", "{answer}");
    world.left_behind("1");
}

#[test]
fn options_and_settings_of_one_transaction() {
    let mut world = World::start(1);
    world.check("/inside", "{}", "200 {\"i\":\"read committed\",\"r\":\"off\",\"t\":null}");
    world.check(
        "/inside",
        r#"{"isolation":"serializable","readOnly":true,"set":{"app.tenant":"o'br\\ien; select 1"}}"#,
        r#"200 {"i":"serializable","r":"on","t":"o'br\\ien; select 1"}"#,
    );
    // Gone with its transaction, on that connection, too.
    world.check("/inside", "{}", "200 {\"i\":\"read committed\",\"r\":\"off\",\"t\":\"\"}");
    assert_eq!(world.client.get("/tenant").line(), "200 {\"t\":null}");
    let mut check = |body: &str, expect: &str| {
        let answer = world.client.post("/options", body).json();
        assert!(answer["message"].as_str().unwrap_or_default().contains(expect), "{body}: {answer}");
    };
    check(r#"{"isolation":"snapshot"}"#, "isolation is");
    check(r#"{"readonly":true}"#, "unknown option");
    check(r#"{"readOnly":true}"#, "read-only transaction");
    check(r#"{"retry":-1}"#, "retry is");
    check(r#"{"retry":1.5}"#, "retry is");
    check(r#"{"set":{"app.x":[1]}}"#, "expected text");
    check(r#"{"set":{"no such setting":"1"}}"#, "no such setting");
    check(r#"{"database":"nope"}"#, "nope");
    world.left_behind("");
    world.check("/plain", "", "200 {\"n\":2}");
}

#[test]
fn whatever_ends_a_task_rolls_back() {
    let mut world = World::start(1);
    for _ in 0..3 {
        let answer = world.client.post("/fuel", "");
        assert_eq!(answer.status, 500, "{answer}");
        let answer = world.client.post("/late", "");
        assert_eq!(answer.status, 504, "{answer}");
        let mut gone = world.server.client();
        gone.send(&e2e::request("POST", "/leaver", Some("")));
        eventually("it has begun", || {
            let open = "select count(*) from pg_stat_activity where state = 'idle in transaction'";
            (world.postgres.psql(open) == "1").then_some(())
        });
        // Its task is not cut short, but its time is bounded.
        drop(gone);
        world.left_behind("");
    }
    // The only connection for transactions serves on.
    world.check("/plain", "", "200 {\"n\":2}");
    world.left_behind("1,2");
    // A backend killed in mid-transaction: an error that can be retried, and a new connection.
    let mut slow = world.server.client();
    slow.send(&e2e::request("POST", "/slow", Some("")));
    eventually("it has begun", || {
        let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity where state = 'idle in transaction'";
        (world.postgres.psql(kill) == "1").then_some(())
    });
    world.check("/plain", "", "200 {\"n\":2}");
    world.left_behind("1,2");
}

#[test]
fn collisions_are_retried_where_that_was_asked_for() {
    let world = World::start(4);
    let runs: usize = std::thread::scope(|scope| {
        let each = |_| {
            scope.spawn(|| {
                let answer = world.server.client().post("/retry", "");
                assert_eq!(answer.status, 200, "{answer}");
                usize::try_from(answer.json()["runs"].as_u64().unwrap()).unwrap()
            })
        };
        let threads: Vec<_> = (0..4).map(each).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(world.postgres.psql("select n from counter"), "4");
    assert!(runs > 4, "nobody collided");
    // Without retry the script sees it.
    let lost = std::thread::scope(|scope| {
        let long = scope.spawn(|| world.server.client().post("/once", "{\"ms\":600}").json());
        std::thread::sleep(std::time::Duration::from_millis(200));
        let short = world.server.client().post("/once", "{\"ms\":0}");
        assert_eq!(short.line(), "200 4");
        long.join().unwrap()
    });
    assert_eq!(lost["code"], "40001", "{lost}");
    world.left_behind("");
}

#[test]
fn several_databases() {
    let mut world = World::start(1);
    let answer = world.client.post("/other", "").json();
    assert_eq!((&answer["inside"], &answer["outside"]), (&2.into(), &2.into()), "{answer}");
    assert!(answer["wrong"].as_str().unwrap().contains("of another database"), "{answer}");
    assert!(answer["none"].as_str().unwrap().contains("[database.nope]"), "{answer}");
}
