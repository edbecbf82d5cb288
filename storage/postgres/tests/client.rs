//! One connection: authentication, fragmentation, transactions, migrations.
#![allow(clippy::unwrap_used, reason = "a test; helpers outside of #[test] functions unwrap too")]

mod common;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use forebay_base::limits::DatabaseLimits;
use forebay_base::value::ValueBuilder;
use forebay_base::{Value, ValueSink};
use forebay_postgres::blocking::Client;
use forebay_postgres::config::Session;
use forebay_postgres::connection::{Connection, Encryption, Target, Use};
use forebay_postgres::migrate::{MigrateError, Options, State, migrate, rollback, status};
use forebay_postgres::{Config, Delivery, Event, Param, QueryError, Receiver, Shape, Sql, Token};

#[test]
fn authentication() {
    let mut admin = common::client();
    admin
        .batch(
            "set password_encryption = 'scram-sha-256'; create role scram login password 'p\u{e4}ss';
             create role clear login password 'clear';
             set password_encryption = 'md5'; create role md5 login password 'md5'",
        )
        .unwrap();
    let check = |user: &str, password: Option<&str>, expect: &str| {
        let config = Config {
            user: user.to_owned(),
            database: "postgres".to_owned(),
            password: password.map(str::to_owned),
            ..common::config()
        };
        let got = match Client::connect(&config) {
            Ok(mut client) => match client.query("select current_user::text", &[], Shape::Scalar) {
                Ok(Value::Str(user)) => user.to_string(),
                other => format!("{other:?}"),
            },
            Err(error) => error.to_string(),
        };
        assert!(got.contains(expect), "{user} {password:?}: got {got:?}, expected {expect:?}");
    };
    check("postgres", None, "postgres");
    check("scram", Some("p\u{e4}ss"), "scram");
    check("md5", Some("md5"), "md5");
    check("clear", Some("clear"), "clear");
    for user in ["scram", "md5", "clear"] {
        check(user, Some("wrong"), "28P01");
        check(user, None, "asks for a password");
    }
    check("nobody-here", None, "28000");
}

#[test]
fn a_server_that_skips_its_proof_is_refused() {
    // AuthenticationSASL, then AuthenticationOk and ReadyForQuery without the exchange.
    let config = Arc::new(Config { password: Some("x".to_owned()), ..common::config() });
    let mut connection = Connection::new(config, &DatabaseLimits::default(), Use::Owned, PLAIN);
    let mut bytes = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0".to_vec();
    bytes.extend(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
    connection.handle_bytes(&bytes, &mut Sinks::default());
    assert!(connection.closed().unwrap().contains("before it proved"), "{:?}", connection.closed());
}

const PLAIN: Target = Target { host: 0, encryption: Encryption::Plain, session: Session::Any };

/// Sinks, and how often each was asked for.
#[derive(Default)]
struct Sinks(HashMap<Token, ValueBuilder>, HashMap<Token, usize>);

impl Receiver for Sinks {
    fn sink(&mut self, token: Token) -> Option<&mut dyn ValueSink> {
        *self.1.entry(token).or_default() += 1;
        Some(self.0.entry(token).or_default())
    }
}

/// Every answer that matters: rows, none, errors at each stage, types of this database, arrays, json, notices.
fn ask(connection: &mut Connection, delivery: Delivery) {
    let queries: [(&str, &[Param<'_>], Shape); 9] = [
        (
            "select g, 'text ' || g, array[g, null] from generate_series(1, $1) g",
            &[Param::Int(9)],
            Shape::Rows,
        ),
        ("select 1/($1::int8 - 1)", &[Param::Int(1)], Shape::Scalar),
        ("select no_such_column", &[], Shape::Rows),
        (
            "select $1::mood, array['sad'::mood], '{\"a\": [1, 2.5]}'::jsonb",
            &[Param::Str("ok")],
            Shape::First,
        ),
        ("select $1::uuid", &[Param::Str("x")], Shape::Scalar),
        ("select from generate_series(1, 0)", &[], Shape::First),
        ("update pg_class set relname = relname where false", &[], Shape::Affected),
        ("do $$ begin raise notice 'hello'; end $$", &[], Shape::Rows),
        ("select 10 / (5 - g) from generate_series(1, $1) g", &[Param::Int(9)], Shape::Rows),
    ];
    for (index, (sql, params, shape)) in queries.iter().enumerate() {
        let token = Token(u64::try_from(index).unwrap());
        connection.query(token, &Sql::new(sql), params, *shape, delivery).unwrap();
        let again = Token(token.0 + 100);
        connection.query(again, &Sql::new(sql), params, *shape, delivery).unwrap();
    }
}

/// Events and values, as text.
fn outcome(connection: &mut Connection, mut sinks: Sinks, delivery: Delivery) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(event) = connection.poll_event() {
        if let (Event::Done { token, result }, Delivery::Whole) = (&event, delivery) {
            let asked = sinks.1.get(token).copied().unwrap_or(0);
            assert_eq!(asked, usize::from(result.is_ok()), "a whole result is pushed in one go: {event:?}");
        }
        if let Event::Done { token, result: Ok(_) } = &event {
            lines.push(format!("{token:?} = {:?}", sinks.0.remove(token).and_then(ValueBuilder::finish)));
        }
        lines.push(format!("{event:?}"));
    }
    lines
}

/// A live session, recorded; then replayed with its bytes split at every place, and one by one.
#[test]
fn any_fragmentation_gives_the_same_events() {
    common::client().batch("create type mood as enum ('sad', 'ok')").unwrap();
    let config = Arc::new(common::config());
    for delivery in [Delivery::Whole, Delivery::Streaming] {
        let mut stream = UnixStream::connect(config.unix_socket().unwrap()).unwrap();
        let mut connection =
            Connection::new(Arc::clone(&config), &DatabaseLimits::default(), Use::Owned, PLAIN);
        let mut sinks = Sinks::default();
        let (mut startup, mut rest) = (Vec::new(), Vec::new());
        let mut buffer = vec![0; 65536];
        loop {
            let mut out = Vec::new();
            connection.take_output(&mut out);
            stream.write_all(&out).unwrap();
            let was_ready = connection.is_ready();
            if was_ready && connection.in_flight() == 0 {
                break;
            }
            let count = stream.read(&mut buffer).unwrap();
            connection.handle_bytes(&buffer[..count], &mut sinks);
            if was_ready { &mut rest } else { &mut startup }.extend_from_slice(&buffer[..count]);
            if !was_ready && connection.is_ready() {
                ask(&mut connection, delivery);
            }
        }
        let expected = outcome(&mut connection, sinks, delivery);
        assert!(expected.len() > 25, "{expected:#?}");

        let replay = |startup: &[&[u8]], rest: &mut dyn Iterator<Item = &[u8]>| {
            let mut connection =
                Connection::new(Arc::clone(&config), &DatabaseLimits::default(), Use::Owned, PLAIN);
            let mut sinks = Sinks::default();
            for piece in startup {
                connection.handle_bytes(piece, &mut sinks);
            }
            assert!(connection.is_ready());
            ask(&mut connection, delivery);
            for piece in rest {
                connection.handle_bytes(piece, &mut sinks);
            }
            assert_eq!(connection.in_flight(), 0);
            outcome(&mut connection, sinks, delivery)
        };
        for at in 0..startup.len() {
            let (a, b) = startup.split_at(at);
            assert_eq!(replay(&[a, b], &mut [&rest[..]].into_iter()), expected, "startup split at {at}");
        }
        for at in 0..rest.len() {
            let (a, b) = rest.split_at(at);
            assert_eq!(replay(&[&startup], &mut [a, b].into_iter()), expected, "split at {at}, {delivery:?}");
        }
        for size in [1, 2, 3, 5, 7] {
            let mut pieces = rest.chunks(size);
            assert_eq!(replay(&[&startup], &mut pieces), expected, "pieces of {size}, {delivery:?}");
        }

        // The same session with a byte changed: anything may come out, but no panic and no endless loop.
        let seed = 3;
        let mut rng = forebay_base::rng::Rng::new(seed);
        for _ in 0..3000 {
            let mut bytes = rest.clone();
            for _ in 0..=rng.below(2) {
                let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
                bytes[at] = rng.next_u64().to_le_bytes()[0];
            }
            let mut connection =
                Connection::new(Arc::clone(&config), &DatabaseLimits::default(), Use::Owned, PLAIN);
            let mut sinks = Sinks::default();
            connection.handle_bytes(&startup, &mut sinks);
            ask(&mut connection, delivery);
            connection.handle_bytes(&bytes, &mut sinks);
            connection.handle_closed("end");
            let done = std::iter::from_fn(|| connection.poll_event())
                .filter(|event| matches!(event, Event::Done { .. }))
                .count();
            assert_eq!(done, 18, "each query is answered once");
        }
    }
    common::client().batch("drop type mood").unwrap();
}

#[test]
fn errors_carry_their_fields_and_positions() {
    let mut client = common::client();
    let Err(QueryError::Server(error)) = client.rows("select 1 +\n nonsense", &[]) else { panic!() };
    assert_eq!((&*error.code, error.position, &*error.severity), ("42703", 13, "ERROR"));
    client.batch("create table f (a int not null, b int check (b > 0))").unwrap();
    let Err(QueryError::Server(error)) = client.rows("insert into f values (null, 1)", &[]) else { panic!() };
    assert_eq!((&*error.code, &*error.table, &*error.column), ("23502", "f", "a"));
    let Err(QueryError::Server(error)) = client.rows("insert into f values (1, 0)", &[]) else { panic!() };
    assert_eq!((&*error.code, &*error.constraint), ("23514", "f_b_check"));
    client.batch("drop table f; do $$ begin raise warning 'careful' using hint = 'look'; end $$").unwrap();
    let notices = client.take_notices();
    assert_eq!((&*notices[0].message, &*notices[0].hint), ("careful", "look"));
}

#[test]
fn transactions_of_an_owned_connection() {
    let mut client = common::client();
    client.batch("create table tx (a int)").unwrap();
    let insert = |client: &mut Client, a| client.execute("insert into tx values ($1)", &[Param::Int(a)]);
    client.transaction(|c| insert(c, 1)).unwrap();
    let failed: Result<(), QueryError> = client.transaction(|c| {
        insert(c, 2)?;
        c.rows("select 1/0", &[]).map(|_| ())
    });
    assert!(failed.is_err());
    let swallowed = client.transaction(|c| {
        insert(c, 3)?;
        let _ = c.rows("select 1/0", &[]);
        Ok::<_, QueryError>(())
    });
    assert!(matches!(swallowed, Err(QueryError::Refused(_))));
    assert_eq!(client.query("select count(*) from tx", &[], Shape::Scalar).unwrap(), Value::Int(1));
    let copy = client.batch("copy tx from stdin");
    assert!(matches!(&copy, Err(QueryError::Server(e)) if &*e.code == "57014"), "{copy:?}");
    client.batch("copy tx to stdout; drop table tx").unwrap();
}

#[test]
fn migrations_run_once_and_history_is_not_edited() {
    let mut client = common::client();
    client.batch("create database migrate").unwrap();
    let mut client = Client::connect(&Config { database: "migrate".to_owned(), ..common::config() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, sql: &str| std::fs::write(folder.path().join(name), sql).unwrap();
    let names = |applied: Vec<forebay_postgres::migrate::Applied>| {
        applied.into_iter().map(|a| a.name).collect::<Vec<_>>()
    };
    let mut lines = Vec::new();
    let mut run = |client: &mut Client| {
        migrate(client, folder.path(), &Options::default(), &mut |line| lines.push(line.to_owned()))
    };

    assert_eq!(names(run(&mut client).unwrap()), [""; 0]);
    put("002_b.sql", "insert into a values (1); insert into a values (2);");
    put("001_a.sql", "create table a (id int);");
    put("README.md", "not a migration");
    let before = status(&mut client, folder.path()).unwrap();
    assert!(before.iter().all(|line| line.state == State::Pending) && before.len() == 2);
    assert_eq!(names(run(&mut client).unwrap()), ["001_a.sql", "002_b.sql"]);
    assert_eq!(names(run(&mut client).unwrap()), [""; 0]);

    // A failure rolls all of its file back and names the line.
    put("003_c.sql", "insert into a values (3);\ninsert into\n  nowhere values (1);");
    let error = run(&mut client).unwrap_err().to_string();
    assert!(error.contains("003_c.sql:3: ") && error.contains("42P01"), "{error}");
    put("003_c.sql", "insert into a values (3);\ncommit;");
    let error = run(&mut client).unwrap_err().to_string();
    assert!(error.contains("003_c.sql:2: ") && error.contains("contains COMMIT"), "{error}");
    assert_eq!(
        client.query("select count(*) from a where id = 3", &[], Shape::Scalar).unwrap(),
        Value::Int(0)
    );
    put("003_c.sql", "\u{feff}-- saved by an editor\ndelete from a where id = 3;");
    assert_eq!(names(run(&mut client).unwrap()), ["003_c.sql"]);
    assert_eq!(client.query("select count(*) from a", &[], Shape::Scalar).unwrap(), Value::Int(2));

    // Edited history.
    put("002_b.sql", "insert into a values (9);");
    put("0015_late.sql", "select 1");
    std::fs::remove_file(folder.path().join("001_a.sql")).unwrap();
    let error = run(&mut client).unwrap_err();
    assert!(matches!(error, MigrateError::History(_)));
    let error = error.to_string();
    for part in
        ["002_b.sql: was edited", "001_a.sql: was applied and its file is gone", "0015_late.sql: is new"]
    {
        assert!(error.contains(part), "{error}");
    }
    assert!(lines.iter().any(|line| line.starts_with("applied 001_a.sql (")), "{lines:?}");
}

/// A database of its own, a folder with these files, and the lines that were told.
fn migrations(database: &str, files: &[(&str, &str)]) -> (Client, tempfile::TempDir) {
    common::client().batch(&format!("create database {database}")).unwrap();
    let config = Config { database: database.to_owned(), ..common::config() };
    let folder = tempfile::tempdir().unwrap();
    for (name, sql) in files {
        std::fs::write(folder.path().join(name), sql).unwrap();
    }
    (Client::connect(&config).unwrap(), folder)
}

#[test]
fn migrations_go_back_as_their_down_parts_say() {
    let (mut client, folder) = migrations(
        "rollback",
        &[
            ("1_a.sql", "create table a (id int);"),
            ("2_b.sql", "create table b (id int);\n-- forebay: down\ndrop table b;\n"),
            ("3_c.sql", "create table c (id int);"),
            ("3_c.down.sql", "drop table c;"),
        ],
    );
    let back = |client: &mut Client, steps| {
        rollback(client, folder.path(), steps, &Options::default(), &mut |_| {}).map_err(|e| e.to_string())
    };
    let tables = |client: &mut Client| {
        let sql = "select coalesce(string_agg(relname, '' order by relname), '') from pg_class where relname in ('a','b','c')";
        let tables = client.query(sql, &[], Shape::Scalar).unwrap();
        tables.as_str().unwrap().to_owned()
    };
    assert_eq!(back(&mut client, 1).unwrap(), [""; 0]);
    migrate(&mut client, folder.path(), &Options::default(), &mut |_| {}).unwrap();
    // Nothing runs unless all of them can be undone.
    let error = back(&mut client, 3).unwrap_err();
    assert!(error.contains("1_a.sql can't be rolled back") && error.contains("1_a.down.sql"), "{error}");
    assert_eq!(tables(&mut client), "abc");
    assert_eq!(back(&mut client, 2).unwrap(), ["3_c.sql", "2_b.sql"]);
    assert_eq!(tables(&mut client), "a");
    let done = migrate(&mut client, folder.path(), &Options::default(), &mut |_| {}).unwrap();
    assert_eq!(done.len(), 2);
    assert_eq!(tables(&mut client), "abc");
    // A failure in a down part undoes itself and names its line; the record stays.
    std::fs::write(folder.path().join("3_c.down.sql"), "drop table c;\ndrop table nowhere;").unwrap();
    let error = back(&mut client, 1).unwrap_err();
    assert!(error.starts_with("3_c.down.sql") && error.contains("42P01"), "{error}");
    assert_eq!(tables(&mut client), "abc");
    let error = back(&mut client, 9).unwrap_err();
    assert!(error.contains("1_a.sql"), "{error}");
    std::fs::write(folder.path().join("9_x.down.sql"), "").unwrap();
    assert!(back(&mut client, 1).unwrap_err().contains("no migration that this undoes"));
}

#[test]
fn a_migration_without_a_transaction_runs_statement_by_statement() {
    let (mut client, folder) = migrations(
        "stepwise",
        &[
            ("1_a.sql", "create table a (id int); insert into a values (1), (1);"),
            (
                "2_b.sql",
                "-- forebay: no-transaction\ncreate index concurrently i on a (id);\n\ncreate unique index\n  concurrently u on a (id);",
            ),
        ],
    );
    let run = |client: &mut Client| migrate(client, folder.path(), &Options::default(), &mut |_| {});
    let error = run(&mut client).unwrap_err();
    assert!(matches!(error, MigrateError::Partly { line: 4, done: 1, .. }), "{error:?}");
    assert!(
        error.to_string().contains("2_b.sql:4: ") && error.to_string().contains("first 1 statements"),
        "{error}"
    );
    let index = "select count(*) from pg_class where relname = 'i'";
    assert_eq!(client.query(index, &[], Shape::Scalar).unwrap(), Value::Int(1));
    std::fs::write(
        folder.path().join("2_b.sql"),
        "-- forebay: no-transaction\ncreate index concurrently if not exists i on a (id); select 1; begin;",
    )
    .unwrap();
    let error = run(&mut client).unwrap_err().to_string();
    assert!(error.contains("begins a transaction"), "{error}");
    std::fs::write(
        folder.path().join("2_b.sql"),
        "-- forebay: no-transaction\ncreate index concurrently if not exists i on a (id);",
    )
    .unwrap();
    assert_eq!(run(&mut client).unwrap().len(), 1);
}

#[test]
fn a_migration_waits_for_its_lock_a_little_and_tries_again() {
    let (mut client, folder) = migrations("locks", &[("1_a.sql", "create table a (id int);")]);
    let options = Options {
        lock_timeout: std::time::Duration::from_millis(50),
        retries: 1,
        pause: std::time::Duration::from_millis(50),
    };
    migrate(&mut client, folder.path(), &options, &mut |_| {}).unwrap();
    std::fs::write(folder.path().join("2_b.sql"), "create table z (id int); alter table a add b int;")
        .unwrap();
    let mut other = Client::connect(&Config { database: "locks".to_owned(), ..common::config() }).unwrap();
    other.batch("begin; lock table a in access share mode").unwrap();
    let mut lines = Vec::new();
    let error = migrate(&mut client, folder.path(), &options, &mut |line| lines.push(line.to_owned()));
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("2_b.sql") && error.contains("55P03"), "{error}");
    assert!(lines.len() == 1 && lines[0].contains("no lock within 50 ms"), "{lines:?}");
    // Whoever holds it goes away between two tries.
    let mut held = Some(other);
    let patient = Options { retries: 2, ..options };
    let done = migrate(&mut client, folder.path(), &patient, &mut |_| drop(held.take())).unwrap();
    assert_eq!(done.len(), 1);
    let sql = "select count(*) from pg_class where relname = 'z'";
    assert_eq!(client.query(sql, &[], Shape::Scalar).unwrap(), Value::Int(1));
}

/// TCP, by way of a proxy: the server of the tests has none.
#[test]
#[expect(clippy::disallowed_methods, reason = "the proxy's two directions")]
fn tcp_and_a_port_where_nobody_listens() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let path = common::config().unix_socket().unwrap();
    let proxy = std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = UnixStream::connect(path).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let up = std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
        let _ = std::io::copy(&mut &server, &mut &client);
        up.join().unwrap();
    });
    let config = Config::parse(&format!("postgres://postgres@127.0.0.1:{port}/postgres"), &|_| None).unwrap();
    let mut client = Client::connect(&config).unwrap();
    assert_eq!(client.query("select 7", &[], Shape::Scalar).unwrap(), Value::Int(7));
    drop(client);
    proxy.join().unwrap();
    let error = Client::connect(&config).unwrap_err().to_string();
    assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("refused"), "{error}");
}
