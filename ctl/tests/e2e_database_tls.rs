//! A database over TLS, under the real binary: authority, host name, channel binding, and everything that goes over
//! such a connection.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test; it waits for PostgreSQL")]

#[path = "../../storage/postgres/tests/common/mod.rs"]
mod cluster;
mod e2e;

use e2e::{App, Server, eventually};
use forebay_postgres::blocking::Client;

const HBA: &str = "hostssl all certified 127.0.0.1/32 cert\nhostssl all scram 127.0.0.1/32 scram-sha-256\n\
    hostssl all postgres 127.0.0.1/32 trust\n";

const SCRIPT: &str = r#"
work("Ssl").get("/ssl", () => db().raw(
  "select ssl, version, current_user::text as who, client_dn from pg_stat_ssl where pid = pg_backend_pid()")[0]);
work("Count").get("/count", () => db().table("item").count());
work("Copy").post("/copy", () => {
  const rows = [];
  for (let id = 1; id <= 20000; id++) rows.push([id, "text " + id]);
  const copied = db().table("item").copy(rows);
  const back = db().table("item").where("id", "<=", 20000).copyOut();
  return { copied, same: back.length === 20000 && back.every(([id, note]) => note === "text " + id) };
});
work("Large").get("/large", () => {
  const [{ text }] = db().raw("select string_agg(g::text, ',') as text from generate_series(1, 200000) g");
  const numbers = text.split(",");
  const rows = db().raw("select g, repeat('x', g % 100) as x from generate_series(1, 10000) g");
  return {
    length: text.length,
    same: numbers.length === 200000 && numbers.every((n, i) => n === String(i + 1)),
    rows: rows.length === 10000 && rows.every(({ g, x }, i) => g === i + 1 && x.length === g % 100),
  };
}).limits({ memory: "128MiB" });
work("Many").get("/many", async () => {
  const ids = [];
  for (let id = 1; id <= 200; id++) ids.push(id);
  const notes = await Promise.all(ids.map(async id => db().table("item").find(id).note));
  return notes.every((note, i) => note === "text " + (i + 1));
});
work("Undone").post("/undone", () => {
  try {
    tx(() => { db().table("item").insert({ id: 30001, note: "a" }); throw new Error("no"); });
  } catch (e) {
    return { message: e.message, there: db().table("item").where("id", 30001).exists() };
  }
});
work("Done").post("/done", () => tx(() => {
  db().table("item").insert({ id: 30002, note: "b" });
  return db().table("item").where("id", 30002).first().note;
}));
work("Tell").post("/tell/{what}", req => { db().notify("news", req.params.what); return "told"; });
work("Hear").listen("news", event => log("heard", event.gap ? "gap" : event.payload));
"#;

/// The binary with a database `host` whose address ends with these parameters.
fn serve(cluster: &cluster::Server, user: &str, host: &str, rest: &str) -> (App, Server) {
    let app = App::with(SCRIPT);
    app.write(
        "forebay.toml",
        "[database]\nurl = \"$E2E_DATABASE\"\nacquire_timeout = \"500ms\"\nconnections = 2\n",
    );
    let (port, folder) = (cluster.port.unwrap(), cluster.folder().display());
    let rest = rest.replace("=F/", &format!("={folder}/"));
    let url = format!("postgresql://{user}@{host}:{port}/postgres?{rest}");
    let server = Server::start("serve", app.path(), &[], &[("E2E_DATABASE", &url)]);
    (app, server)
}

fn start() -> cluster::Server {
    let cluster = cluster::Server::start_tls(HBA);
    Client::connect(&cluster.config())
        .unwrap()
        .batch(
            "set password_encryption = 'scram-sha-256'; create role scram login password 'secret';
             create role certified login; create table item (id int8 primary key, note text);
             grant all on item to scram, certified",
        )
        .unwrap();
    cluster
}

const SCRAM: &str = "scram:secret";

#[test]
fn all_that_a_script_does_and_a_restart() {
    let cluster = start();
    let seen = |server: &Server| server.get("/ssl").line();
    let scram = r#"200 {"ssl":true,"version":"TLSv1.3","who":"scram","client_dn":null}"#;
    let certified = r#"200 {"ssl":true,"version":"TLSv1.3","who":"certified","client_dn":"/CN=certified"}"#;
    for (user, host, rest, expect) in [
        (SCRAM, "localhost", "sslmode=verify-full&sslrootcert=F/ca.crt&channel_binding=require", scram),
        (SCRAM, "127.0.0.1", "sslmode=verify-ca&sslrootcert=F/ca.crt&channel_binding=require", scram),
        (SCRAM, "127.0.0.1", "sslmode=require", scram),
        (
            "certified",
            "localhost",
            "sslmode=verify-full&sslrootcert=F/ca.crt&sslcert=F/client.crt&sslkey=F/client.key",
            certified,
        ),
    ] {
        let (_app, server) = serve(&cluster, user, host, rest);
        eventually("a connection", || (server.get("/count").status == 200).then_some(()));
        assert_eq!(seen(&server), expect, "{rest}");
        let mut client = server.client();
        assert_eq!(client.post("/copy", "").line(), r#"200 {"copied":20000,"same":true}"#, "{rest}");
        assert_eq!(
            client.get("/large").line(),
            r#"200 {"length":1288894,"same":true,"rows":true}"#,
            "{rest}"
        );
        assert_eq!(client.get("/many").line(), "200 true", "{rest}");
        assert_eq!(client.post("/undone", "").line(), r#"200 {"message":"no","there":false}"#, "{rest}");
        assert_eq!(client.post("/done", "").line(), "200 b", "{rest}");
        assert_eq!(client.get("/count").line(), "200 20001", "{rest}");
        // Nobody hears what is told before: the connection that listens is made while others answer requests already.
        eventually("it listens", || {
            let listens = "select 1 from pg_stat_activity where query like '%LISTEN \"news\"' and state = 'idle' and pid <> pg_backend_pid()";
            let rows = Client::connect(&cluster.config()).unwrap().rows(listens, &[]).unwrap();
            (rows.len() == 1).then_some(())
        });
        assert_eq!(client.post("/tell/before", "").line(), "200 told");
        server.wait_log("heard before");
        cluster.down();
        eventually("it is gone", || (client.get("/count").status == 503).then_some(()));
        cluster.up();
        eventually("it is back", || (client.get("/count").line() == "200 20001").then_some(()));
        server.wait_log("heard gap");
        assert_eq!(client.post("/tell/after", "").line(), "200 told");
        server.wait_log("heard after");
        assert_eq!(seen(&server), expect, "{rest}");
        drop(client);
        server.stop();
        Client::connect(&cluster.config()).unwrap().batch("truncate item").unwrap();
    }
}

#[test]
fn a_server_that_is_not_trusted_gets_no_query() {
    let cluster = start();
    let refused = |user: &str, host: &str, rest: &str, expect: &str| {
        let (_app, server) = serve(&cluster, user, host, rest);
        assert_eq!(server.get("/count").status, 503, "{host} {rest}");
        server.wait_log(expect);
        server.stop();
    };
    let stranger = "sslmode=verify-full&sslrootcert=F/stranger.crt";
    refused(SCRAM, "localhost", stranger, "TLS: invalid peer certificate: UnknownIssuer");
    let stranger = "sslmode=verify-ca&sslrootcert=F/stranger.crt";
    refused(SCRAM, "localhost", stranger, "TLS: invalid peer certificate: UnknownIssuer");
    let named = "sslmode=verify-full&sslrootcert=F/ca.crt";
    refused(SCRAM, "127.0.0.1", named, "TLS: invalid peer certificate: certificate not valid for name");
    // The other way round: it refuses who has no certificate, or the wrong password.
    refused("certified", "localhost", "sslmode=require", "connection requires a valid client certificate");
    refused("scram:wrong", "localhost", "sslmode=require&channel_binding=require", "28P01");
}

/// TLS without asking first, which servers of version 17 and later take.
#[test]
fn direct_negotiation() {
    let cluster = start();
    let (_app, server) = serve(&cluster, SCRAM, "localhost", "sslmode=require&sslnegotiation=direct");
    let version = Client::connect(&cluster.config()).unwrap().rows("show server_version_num", &[]).unwrap();
    let version = version[0].get("server_version_num").and_then(forebay_base::Value::as_str).unwrap();
    if version.parse::<u32>().unwrap() >= 170_000 {
        eventually("a connection", || (server.get("/count").status == 200).then_some(()));
    } else {
        assert_eq!(server.get("/count").status, 503);
        server.wait_log("sslnegotiation=direct needs PostgreSQL 17 or later");
    }
    server.stop();
}
