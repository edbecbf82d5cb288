//! PostgreSQL that isn't there, comes, breaks and heals, under the real binary.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test; it measures time")]

mod e2e;

use std::time::{Duration, Instant};

use e2e::{Answer, App, Postgres, Server, eventually};
use serde_json::json;

const SCRIPT: &str = r#"
work("Hello").get("/hello", () => "Hello, World!");
work("Count").get("/count", () => db().table("item").count());
work("Add").post("/add", req => {
  const { id, owner = 1 } = req.json();
  return db().table("item").insert({ id, owner }).returning("id");
});
work("AddOnce").post("/add-once", req => {
  try {
    db().table("item").insert(req.json());
    return { added: true };
  } catch (e) {
    return { added: false, name: e.name, code: e.code, constraint: e.constraint, table: e.table };
  }
});
work("Slow").get("/slow", () => db().table("slow").first());
work("SlowCaught").get("/slow-caught", () => { try { return db().table("slow").first(); } catch (e) { return { name: e.name, code: e.code }; } });
"#;

const TABLES: &str = "create table owner (id int8 primary key); insert into owner values (1);
create table item (id int8 primary key, owner int8 not null references owner (id), note text check (length(note) < 5));
create view slow as select 1 as id, pg_sleep(2)::text as nothing;";

fn start(app: &App, url: &str) -> Server {
    app.write(
        "forebay.toml",
        "[database]\nurl = \"$E2E_DATABASE\"\nacquire_timeout = \"500ms\"\nconnections = 2\n",
    );
    Server::start("serve", app.path(), &[], &[("E2E_DATABASE", url)])
}

#[track_caller]
fn unavailable(answer: &Answer) {
    let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
    answer.problem(503, &code);
    let retry = answer.header("retry-after").unwrap_or_else(|| panic!("no Retry-After: {answer}"));
    assert!(retry.parse::<u32>().unwrap() >= 1);
}

#[test]
fn a_database_that_comes_late_and_goes_and_comes() {
    let app = App::with(SCRIPT);
    let mut postgres = Postgres::start(&app);
    postgres.psql(TABLES);
    postgres.stop();
    let server = start(&app, postgres.url());
    let mut client = server.client();
    for _ in 0..5 {
        let (answer, time) = client.timed("/count");
        unavailable(&answer);
        assert!(time < Duration::from_secs(5), "{time:?}");
        let (answer, time) = client.timed("/hello");
        assert_eq!(answer.line(), "200 Hello, World!");
        assert!(time < Duration::from_secs(1), "{time:?}");
    }
    server.wait_log("the database is unavailable");
    for round in 0..3 {
        postgres.start_again();
        let start = Instant::now();
        eventually("it heals by itself", || {
            (client.get("/count").line() == format!("200 {round}")).then_some(())
        });
        println!("healed after {:?}", start.elapsed());
        assert_eq!(client.post("/add", &json!({ "id": round }).to_string()).status, 200);
        eventually("ready", || (server.metrics()["forebay_database_ready"] >= 1.0).then_some(()));
        postgres.stop();
        eventually("gone", || (client.get("/count").status == 503).then_some(()));
        unavailable(&client.get("/count"));
        assert_eq!(client.get("/hello").line(), "200 Hello, World!");
    }
    server.wait_log("the database is available again");
    drop(client);
    server.stop();
}

#[test]
fn a_violated_constraint_can_be_caught_with_its_sqlstate() {
    let app = App::with(SCRIPT);
    let postgres = Postgres::start(&app);
    postgres.psql(TABLES);
    let server = start(&app, postgres.url());
    let mut client = server.client();
    assert_eq!(client.post("/add-once", "{\"id\":1,\"owner\":1}").line(), "200 {\"added\":true}");
    let mut check = |body: &str, code: &str, constraint: &str| {
        let answer = client.post("/add-once", body).json();
        let expected = json!({ "added": false, "name": "DatabaseError", "code": code, "constraint": constraint, "table": "item" });
        assert_eq!(answer, expected, "{body}");
    };
    check("{\"id\":1,\"owner\":1}", "23505", "item_pkey");
    check("{\"id\":2,\"owner\":9}", "23503", "item_owner_fkey");
    check("{\"id\":2,\"owner\":1,\"note\":\"too long\"}", "23514", "item_note_check");
    // Not caught: the script failed.
    let answer = client.post("/add", "{\"id\":1}");
    assert_eq!(answer.problem(500, "script_error"), "");
    let line = server.wait_log("request failed");
    assert!(line.contains("item_pkey"), "{line}");
    // A value that can't be the column's type is the client's fault.
    assert_eq!(client.post("/add", "{\"id\":\"seven\"}").status, 400);
    assert_eq!(client.post("/add", "{\"id\":7}").line(), "200 {\"id\":7}");
    assert_eq!(client.post("/add", "{\"id\":\"8\"}").line(), "200 {\"id\":8}");
    // A column, a table that isn't there.
    assert_eq!(client.post("/add-once", "{\"id\":9,\"owner\":1,\"nope\":1}").json()["code"], "42703");
    assert_eq!(postgres.psql("select string_agg(id::text, ',' order by id) from item"), "1,7,8");
    drop(client);
    server.stop();
}

#[test]
fn a_backend_killed_in_the_middle_of_a_query() {
    let app = App::with(SCRIPT);
    let postgres = Postgres::start(&app);
    postgres.psql(TABLES);
    let server = start(&app, postgres.url());
    assert_eq!(server.get("/count").line(), "200 0");
    let mut answers = Vec::new();
    for path in ["/slow", "/slow-caught"] {
        let mut client = server.client();
        client.send(&e2e::request("GET", path, None));
        eventually("the query runs", || {
            let count = postgres.psql("select count(*) from pg_stat_activity where state = 'active' and query like '%slow%' and pid <> pg_backend_pid()");
            (count == "1").then_some(())
        });
        let others =
            "from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'";
        postgres.psql(&format!("select pg_terminate_backend(pid) {others}"));
        answers.push(client.answer("GET"));
    }
    unavailable(&answers[0]);
    let caught = answers[1].json();
    assert_eq!(answers[1].status, 200, "{}", answers[1]);
    assert!(caught["name"] == "UnavailableError" || caught["code"] == "57P01", "{caught}");
    eventually("it heals", || (server.get("/count").line() == "200 0").then_some(()));
    // Clients that leave in the middle of a query leave nothing behind.
    for _ in 0..5 {
        server.client().send(&e2e::request("GET", "/slow", None));
    }
    eventually("queries begin", || {
        (server.metrics()["forebay_effects_total{kind=\"sql\"}"] >= 5.0).then_some(())
    });
    assert_eq!(server.get("/hello").line(), "200 Hello, World!");
    server.stop();
}

#[test]
fn an_app_without_a_database_says_so() {
    let app = App::with(SCRIPT);
    let server = Server::serve(&app, &[]);
    assert_eq!(server.get("/hello").line(), "200 Hello, World!");
    unavailable(&server.get("/count"));
    let line = server.wait_log("request failed");
    assert!(line.contains("[database]"), "{line}");
    server.stop();
    app.write("forebay.toml", "[database]\nurl = \"private\"\n");
    let run = Server::try_start("serve", app.path(), &[], &[]).expect_err("refused");
    assert!(run.code == 1 && run.err.contains("forebay dev"), "{}", run.err);
    app.write("forebay.toml", "[database]\nurl = \"$E2E_NOT_SET\"\n");
    let run = Server::try_start("serve", app.path(), &[], &[]).expect_err("refused");
    assert!(run.code == 1 && run.err.contains("E2E_NOT_SET"), "{}", run.err);
}
