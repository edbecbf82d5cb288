//! What a serving process says about its database's schema at start, under the real binary.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test; it waits for PostgreSQL")]

mod e2e;

use e2e::{App, Postgres, Server};

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
