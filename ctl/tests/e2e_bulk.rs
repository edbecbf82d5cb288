//! COPY and cursors under the real binary: what goes in, what comes out, and that no connection stays behind.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test; it waits for PostgreSQL")]

mod e2e;

use e2e::{App, Client, Postgres, Server, eventually};

const SCRIPT: &str = r#"
const fail = f => { try { return f(); } catch (e) { return { name: e.name, code: e.code, message: e.message }; } };
const items = (n) => Array.from({ length: n }, (_, i) => ({ id: i + 1, name: "item " + (i + 1), price: i / 4, tags: ["a", null], at: new Date(0) }));

work("In").post("/in", () => db().table("item").copy(items(payload().n)));
work("Lists").post("/lists", () => db().table("pair").copy(payload()));
work("Named columns").post("/columns", () => db().table("pair").copy(payload(), { columns: ["b", "a"] }));
work("Wrong").post("/wrong", () => [
  fail(() => db().table("pair").copy([[1, "x"], [2]])),
  fail(() => db().table("pair").copy([{ a: 1, b: "x" }, { a: 2, c: "y" }])),
  fail(() => db().table("pair").copy([{ a: 1, b: "x" }, { a: 2 }])),
  fail(() => db().table("pair").copy([[1, undefined]])),
  fail(() => db().table("pair").copy([["one", "x"]])),
  fail(() => db().table("pair").copy({})),
  fail(() => db().table("pair").where("a", 1).copy([[1, "x"]])),
  fail(() => db().table("pair").copy([[1, "x"]], { separator: "," })),
  fail(() => db().table("nope").copy([[1, "x"]])),
  fail(() => db().table("pair").select("a").first().copyOut()),
].map(e => e.message));
work("Csv").post("/csv", () => ({ n: db().table("pair").copy(req.text(), { format: "csv", header: true, columns: ["a", "b"] }) }));
work("Out").get("/out", () => db().table("item").select("id", "name", "price", "tags", "at").where("id", "<=", 2).order("id").copyOut());
work("Out csv").get("/out.csv", () => db().table("pair").order("a").copyOut({ format: "csv", header: true }));
work("Named").post("/named", () => ({ n: sql.loadPairs(payload()), out: sql.dumpPairs(), csv: sql.dumpCsv() }));
work("In tx").post("/tx", () => fail(() => tx(() => {
  const n = db().table("pair").copy([[7, "seven"], [8, "eight"]]);
  const seen = db().table("pair").count();
  if (payload().fail) throw new Error("seen " + seen);
  return { n, seen };
})));
work("Each").get("/each", () => {
  let sum = 0;
  const n = db().table("item").order("id").each(row => { sum += row.id; }, { batch: 7 });
  return { n, sum };
});
work("Of").get("/of", () => {
  const seen = [];
  for (const row of db().table("item").select("id").order("id").cursor({ batch: 3 })) {
    if (row.id > 8) break;
    if (row.id % 4 === 0) seen.push(db().table("item").where("id", row.id).first().name);
  }
  return seen;
});
work("Cursor in tx").get("/cursor-tx", () => tx(() => {
  db().table("pair").insert({ a: 1, b: "mine" });
  const seen = [...db().table("pair").cursor({ batch: 1 })].map(r => r.b);
  const two = [db().table("item").select("id").order("id").cursor({ batch: 2 }), db().table("item").select("id").order("id", "desc").cursor({ batch: 2 })];
  const ids = [];
  for (let i = 0; i < 3; i++) for (const c of two) ids.push(c.next().value.id);
  return { seen, ids };
}));
work("Left").get("/left", () => {
  const cursor = db().table("item").cursor({ batch: 2 });
  return cursor.next().value.id > 0;
});
work("Throws").get("/throws", () => fail(() => { for (const row of db().table("item").cursor()) throw new Error("mine"); }));
work("Cursor wrong").get("/cursor-wrong", () => [
  fail(() => [...db().table("nope").cursor()]),
  fail(() => db().table("item").cursor({ batch: 0 })),
  fail(() => db().table("item").each()),
  fail(() => [...db().table("failing").cursor({ batch: 1 })]),
].map(e => e.message));
work("News").listen("news", event => { db().table("heard").insert({ c: event.channel, p: event.payload, gap: event.gap }); });
work("Fails").listen("fails", event => { throw new Error("mine: " + event.payload); });
work("Notify").post("/notify", () => { db().notify("news", "hello"); db().notify("news"); return "sent"; });
"#;

const TABLES: &str =
    "create table item (id int4 primary key, name text, price numeric, tags text[], at timestamptz);
create table pair (a int4, b text);
create table heard (c text, p text, gap bool);
create view failing as select 1 / (2 - g) as x from generate_series(1, 3) g;";

const QUERIES: &str = "-- name: loadPairs :copy\nCOPY pair (a, b) FROM STDIN;\n\n-- name: dumpPairs :copy\n\
COPY (SELECT b, a FROM pair ORDER BY a) TO STDOUT;\n\n-- name: dumpCsv :copy\nCOPY pair (a) TO STDOUT (FORMAT csv)\n";

struct World {
    // Drop order: clients, then the server, then its database.
    client: Client,
    _server: Server,
    postgres: Postgres,
    _app: App,
}

impl World {
    fn start() -> Self {
        let app = App::with(SCRIPT);
        app.write("sql/pairs.sql", QUERIES);
        let postgres = Postgres::start(&app);
        postgres.psql(TABLES);
        app.write(
            "forebay.toml",
            "[database]\nurl = \"$E2E_DATABASE\"\ntransactions = 1\nacquire_timeout = \"2s\"\n",
        );
        let server =
            Server::start("serve", app.path(), &["--cores", "0"], &[("E2E_DATABASE", postgres.url())]);
        Self { client: server.client(), _server: server, postgres, _app: app }
    }

    #[track_caller]
    fn post(&mut self, path: &str, body: &str, expect: &str) {
        assert_eq!(self.client.post(path, body).line(), expect, "{path} {body}");
    }

    #[track_caller]
    fn get(&mut self, path: &str, expect: &str) {
        assert_eq!(self.client.get(path).line(), expect, "{path}");
    }

    /// Nobody holds the one connection for transactions.
    fn nothing_left(&self) {
        eventually("no transaction is open", || {
            let open = "select count(*) from pg_stat_activity where state like 'idle in transaction%'";
            (self.postgres.psql(open) == "0").then_some(())
        });
    }
}

#[test]
fn rows_go_in_and_come_out() {
    let mut world = World::start();
    world.post("/in", r#"{"n":0}"#, "200 0");
    world.post("/in", r#"{"n":5000}"#, "200 5000");
    assert_eq!(
        world.postgres.psql("select count(*), sum(id), max(price), max(at) from item"),
        "5000|12502500|1249.75|1970-01-01 00:00:00+00"
    );
    let again = world.client.post("/in", r#"{"n":5000}"#);
    assert_eq!(again.status, 500, "{again}");
    world.get(
        "/out",
        r#"200 [[1,"item 1",0,["a",null],"1970-01-01T00:00:00.000Z"],[2,"item 2",0.25,["a",null],"1970-01-01T00:00:00.000Z"]]"#,
    );
    world.post("/lists", r#"[[1,"x"],[2,null],["3","tab\t"]]"#, "200 3");
    world.post("/columns", r#"[["y",4]]"#, "200 1");
    world.post("/csv", "a,b\n5,\"five, six\"\n6,\n", "200 {\"n\":2}");
    let bad = world.client.post("/csv", "a,b\nfive,x\n");
    assert_eq!(bad.status, 400, "{bad}");
    assert!(bad.to_string().contains("COPY pair, line 2, column a"), "{bad}");
    assert_eq!(
        world.postgres.psql("select string_agg(a || coalesce(b, '-'), ',' order by a) from pair"),
        "1x,2-,3tab\t,4y,5five, six,6-"
    );
    world.get("/out.csv", "200 a,b\n1,x\n2,\n3,tab\t\n4,y\n5,\"five, six\"\n6,\n");
    world.postgres.psql("truncate pair");
    world.post(
        "/named",
        r#"[{"b":"x","a":1},{"a":2,"b":"y"}]"#,
        r#"200 {"n":2,"out":[["x",1],["y",2]],"csv":"1\n2\n"}"#,
    );
    world.post("/tx", r#"{"fail":true}"#, r#"200 {"name":"Error","message":"seen 4"}"#);
    assert_eq!(world.postgres.psql("select count(*) from pair"), "2");
    world.post("/tx", "{}", r#"200 {"n":2,"seen":4}"#);
    let wrong = world.client.post("/wrong", "").json();
    let expect = [
        "row 2: COPY, column 2: the row ends here",
        "it has \"c\"",
        "it has no \"b\"",
        "column 2 (text): undefined",
        "column 1 (int4): not an integer",
        "expected a list of rows, or text",
        "it takes table(name) alone, not where()",
        "unknown option \"separator\"",
        "\"nope\" does not exist",
        "copyOut",
    ];
    for (index, expect) in expect.iter().enumerate() {
        let got = wrong[index].as_str().unwrap_or_default();
        assert!(got.contains(expect), "{index}: {got:?}, expected {expect:?}");
    }
    assert_eq!(world.postgres.psql("select count(*) from pair"), "4");
    world.nothing_left();
}

#[test]
fn notifications_reach_their_handlers_and_a_gap_is_told() {
    let mut world = World::start();
    let heard = |world: &World, expect: &str| {
        eventually(expect, || {
            let sql =
                "select string_agg(c || ':' || coalesce(p, '-') || ':' || gap, ',' order by p) from heard";
            (world.postgres.psql(sql) == expect).then_some(())
        });
        world.postgres.psql("truncate heard");
    };
    let listens = "select count(*) from pg_stat_activity where query like 'UNLISTEN%' and state = 'idle'";
    eventually("it listens", || (world.postgres.psql(listens) == "1").then_some(()));
    world.post("/notify", "", "200 sent");
    heard(&world, "news::false,news:hello:false");
    world.postgres.psql("notify fails, 'x'; notify unknown; notify news, 'from outside'");
    heard(&world, "news:from outside:false");
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity where query like 'UNLISTEN%'";
    assert_eq!(world.postgres.psql(kill), "1");
    heard(&world, "news:-:true");
    world.postgres.psql("notify news, 'again'");
    heard(&world, "news:again:false");
}

#[test]
fn cursors_read_in_parts_and_leave_nothing_open() {
    let mut world = World::start();
    world.post("/in", r#"{"n":100}"#, "200 100");
    for _ in 0..3 {
        world.get("/each", r#"200 {"n":100,"sum":5050}"#);
        world.get("/of", r#"200 ["item 4","item 8"]"#);
        world.nothing_left();
        world.get("/left", "200 true");
        world.nothing_left();
        world.get("/throws", r#"200 {"name":"Error","message":"mine"}"#);
        world.nothing_left();
    }
    world.get("/cursor-tx", r#"200 {"seen":["mine"],"ids":[1,100,2,99,3,98]}"#);
    world.nothing_left();
    let wrong = world.client.get("/cursor-wrong").json();
    for (index, expect) in
        ["\"nope\" does not exist", "batch is", "is a function", "division by zero"].iter().enumerate()
    {
        let got = wrong[index].as_str().unwrap_or_default();
        assert!(got.contains(expect), "{index}: {got:?}, expected {expect:?}");
    }
    world.nothing_left();
    world.get("/each", r#"200 {"n":100,"sum":5050}"#);
}
