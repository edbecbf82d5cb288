//! What a serving process says about its database's schema at start, under the real binary.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test; it waits for PostgreSQL")]

mod e2e;

use e2e::{App, Postgres, Server, forebay};

const CONFIG: &str = "[database]\nurl = \"$E2E_DATABASE\"\n";

fn serve(app: &App, postgres: &Postgres) -> Server {
    Server::start("serve", app.path(), &[], &[("E2E_DATABASE", postgres.url())])
}

#[test]
fn serve_says_which_migrations_are_missing_and_applies_none() {
    let app = App::with("work(\"Hello\").get(\"/hello\", () => 1);\n");
    let postgres = Postgres::start(&app);
    app.write("forebay.toml", CONFIG);
    app.write("migrations/0001_item.sql", "create table item (id int8 primary key);\n");
    app.write("migrations/0002_more.sql", "create table more (id int8 primary key);\n");
    let server = serve(&app, &postgres);
    let line = server.wait_log("migrations are not applied");
    assert!(line.contains("0001_item.sql, 0002_more.sql") && line.contains("forebay db migrate"), "{line}");
    assert_eq!(server.get("/hello").line(), "200 1");
    server.stop();
    assert_eq!(postgres.psql("select count(*) from pg_class where relname in ('item', 'more')"), "0");
}

const SQL: &str = "-- name: person :one\nselect id, name, age from person where id = :id;\n
-- name: rename :exec\nupdate person set name = :name\nwhere id = :id;\n";

const BLUEPRINT: &str = r#"work("P").get("/p/{id}", req => sql.person({ id: req.params.id }));
work("Q").get("/q", () => db().table("person").where(p => p.age > 18).order("name").get());
"#;

#[test]
fn a_lock_file_stands_for_the_database_and_drift_is_told_at_start() {
    let app = App::with(BLUEPRINT);
    let mut postgres = Postgres::start(&app);
    postgres.psql("create table person (id int8 primary key, name text not null, age int4)");
    app.write("forebay.toml", &format!("[database]\nurl = \"{}\"\n", postgres.url()));
    app.write("sql/person.sql", SQL);
    let run = |arguments: &[&str]| forebay(app.path(), arguments);
    let pulled = run(&["db", "pull"]);
    assert!(pulled.code == 0 && pulled.out.contains("1 tables, 2 queries"), "{}{}", pulled.out, pulled.err);
    let lock = std::fs::read_to_string(app.path().join("forebay.lock.json")).unwrap();
    assert!(lock.contains(r#"{"name": "age", "nullable": true, "type": "int4"}"#), "{lock}");
    assert_eq!(run(&["db", "pull"]).out.lines().count(), 1, "the same bytes, no changes");
    assert_eq!(std::fs::read_to_string(app.path().join("forebay.lock.json")).unwrap(), lock);
    let good = run(&["check", "--database"]);
    assert!(good.code == 0 && good.out.contains("no problems"), "{}{}", good.out, good.err);

    // Errors of a named query, of a chain and of raw SQL, at their places.
    app.write("sql/person.sql", &SQL.replace("name, age", "nme, age").replace("set name", "set\n  nam"));
    app.write(
        "blueprints/more.js",
        "work(\"M\").get(\"/m\", () => db().table(\"person\").where(\"age\", \"like\", \"x\").get());\n\
         work(\"R\").get(\"/r\", () => db().raw(\"select 1, zip from person\"));\n",
    );
    let bad = run(&["check", "--database"]);
    for part in [
        "error[FB0608]: column \"nme\" does not exist [42703]",
        "sql/person.sql:2:12",
        "sql/person.sql:6:3",
        "error[FB0609]",
        "blueprints/more.js:1:27",
        "operator does not exist",
        "blueprints/more.js:2:47",
    ] {
        assert!(bad.code == 1 && bad.err.contains(part), "{part}: {}", bad.err);
    }
    let refused = run(&["db", "pull"]);
    assert!(refused.code == 1 && refused.err.contains("sql/person.sql:2:12"), "{}", refused.err);
    assert_eq!(std::fs::read_to_string(app.path().join("forebay.lock.json")).unwrap(), lock);
    app.remove("blueprints/more.js");

    // Without the database: names by the lock file, queries that it doesn't know.
    postgres.stop();
    let stale = run(&["check"]);
    assert!(
        stale.code == 1 && stale.err.contains("is not the one that forebay.lock.json describes"),
        "{}",
        stale.err
    );
    app.write("sql/person.sql", SQL);
    assert_eq!(run(&["check"]).code, 0);
    app.write("blueprints/main.js", &BLUEPRINT.replace("p.age", "p.agee"));
    let wrong = run(&["check", "--json"]);
    for part in ["FB0606", "blueprints/main.js", "did you mean `age`?", "\"line\":2"] {
        assert!(wrong.code == 1 && wrong.out.contains(part), "{part}: {}", wrong.out);
    }
    app.write("blueprints/main.js", BLUEPRINT);
    app.write("forebay.lock.json", "{}");
    let broken = run(&["check"]);
    assert!(broken.code == 1 && broken.err.contains("forebay.lock.json: no format"), "{}", broken.err);
    app.write("forebay.lock.json", &lock);

    // Drift.
    postgres.start_again();
    postgres.psql("alter table person rename age to years; alter table person add column city text");
    let server = Server::start("serve", app.path(), &[], &[]);
    server.wait_log("table person: column age is gone");
    server.wait_log("table person: column city is new");
    server.wait_log("the database refuses a named query");
    server.stop();
}

#[test]
fn in_dev_a_migration_brings_the_lock_file_up_to_date() {
    let app =
        App::with("work(\"C\").get(\"/c\", () => db().table(\"item\").where(i => i.n == 1).count());\n");
    app.write("forebay.toml", "[database]\nurl = \"private\"\n");
    app.write("migrations/0001_item.sql", "create table item (id int8 primary key);\n");
    app.write("forebay.lock.json", "{\"format\": 1, \"queries\": {}, \"tables\": {}, \"types\": {}}\n");
    app.write("migrations/0002_n.sql", "alter table item add n int4;\n");
    let server = Server::dev(&app, &[]);
    assert_eq!(server.get("/c").line(), "200 0");
    server.stop();
    assert!(std::fs::read_to_string(app.path().join("forebay.lock.json")).unwrap().contains("\"n\""));
}

#[test]
fn the_benchmarks_app_answers_what_its_harness_expects() {
    let app = App::empty();
    let sources = e2e::repository().join("benches/peers-http/forebay");
    for name in ["blueprints/tfb.js", "sql/tfb.sql", "forebay.toml"] {
        app.write(name, &std::fs::read_to_string(sources.join(name)).unwrap());
    }
    let postgres = Postgres::start(&app);
    postgres.psql(
        "create table world (id int4 primary key, randomnumber int4 not null);
         insert into world select g, g from generate_series(1, 10000) g;
         create table fortune (id int4 primary key, message text not null);
         insert into fortune values (1, 'a <b> & \"c\" ''d'), (2, 'Z')",
    );
    let server = Server::start("serve", app.path(), &[], &[("BENCH_DATABASE", postgres.url())]);
    for path in ["/db", "/db-shared"] {
        let row = server.get(path).json();
        assert!(row["id"] == row["randomnumber"] && row["id"].as_i64().is_some(), "{path}: {row}");
    }
    for path in ["/queries?q=20", "/queries-shared?q=20", "/updates?q=20"] {
        let rows = server.get(path).json();
        assert_eq!(rows.as_array().unwrap().len(), 20, "{path}: {rows}");
    }
    let answer = server.get("/fortunes");
    let page = answer.text();
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not in {page}"));
    assert!(at("<td>0</td><td>Additional fortune") < at("<td>2</td><td>Z</td>"));
    at("<td>1</td><td>a &lt;b&gt; &amp; &quot;c&quot; &#39;d</td>");
    server.stop();
}
