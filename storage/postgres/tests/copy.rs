//! COPY and cursors against a real server: what comes back is what went in, a failure leaves nothing, and the
//! connection is as good as new.
#![allow(clippy::unwrap_used, reason = "a test; helpers outside of #[test] functions unwrap too")]

mod common;
#[path = "common/driver.rs"]
mod driver;

use std::rc::Rc;
use std::time::Duration;

use driver::{Copy, Driver};
use forebay_base::Value;
use forebay_base::limits::DatabaseLimits;
use forebay_postgres::blocking::Client;
use forebay_postgres::{Param, QueryError, Shape};

fn limits() -> DatabaseLimits {
    DatabaseLimits { connections: 1, transactions: 1, ..DatabaseLimits::default() }
}

fn driver() -> Driver {
    Driver::new(common::config(), limits())
}

fn copy_in(
    driver: &mut Driver,
    table: &str,
    columns: usize,
    rows: Vec<Vec<Value>>,
) -> Result<u64, QueryError> {
    let list: Vec<String> = (1..=columns).map(|n| format!("${n}")).collect();
    let types = format!("insert into {table} values ({})", list.join(","));
    let copy = Copy::In(format!("copy {table} from stdin"), Rc::new(rows), 0);
    let token = driver.copy(None, Some(&types), copy);
    driver.wait(token).map(|(complete, _)| complete.affected)
}

fn copy_out(driver: &mut Driver, select: &str) -> Result<Value, QueryError> {
    let copy = Copy::Out(format!("copy ({select}) to stdout"), Shape::Lists);
    let token = driver.copy(None, Some(select), copy);
    driver.wait(token).map(|(_, value)| value)
}

/// Nothing is left of a COPY: the one link for transactions takes the next.
fn still_good(driver: &mut Driver) {
    let transaction = driver.begin();
    driver.wait(transaction).unwrap();
    assert_eq!(driver.run_in(transaction, "select 1", &[], Shape::Scalar).unwrap(), Value::Int(1));
    let end = driver.end(transaction, true);
    driver.wait(end).unwrap();
    assert_eq!(driver.run("select 2", &[], Shape::Scalar).unwrap(), Value::Int(2));
}

#[test]
fn rows_go_in_and_come_out_in_binary_and_in_text() {
    let mut client = common::client();
    client
        .batch(
            "create type copied_mood as enum ('sad', 'so so');
             create table copied (a int4, b int8, c text, d bool, e float8, f numeric, g bytea, h uuid, i jsonb, \
             j timestamptz, k date, l int4[], m copied_mood, n int2, o float4, p json)",
        )
        .unwrap();
    let mut driver = driver();
    let dec = |text: &str| Value::Decimal(text.into());
    let row = |n: i64, f: Value, j: Value, k: Value| {
        vec![
            Value::Int(n),
            Value::Int(n * 10_000_000_000),
            Value::Str(format!("tab\t, line\n, back\\slash, {n}").into()),
            Value::Bool(n % 2 == 0),
            Value::Float(0.5),
            f,
            Value::Bytes([0, 255, b'\\', b'\n'].into()),
            "00112233-4455-6677-8899-aabbccddeeff".into(),
            Value::Map(vec![("k".into(), Value::List(vec![Value::Int(n), Value::Null]))]),
            j,
            k,
            Value::List(vec![Value::Int(n), Value::Null]),
            "so so".into(),
            Value::Int(-n),
            Value::Float(0.25),
            Value::List(vec![Value::Bool(true)]),
        ]
    };
    let stamp = Value::Timestamp(1_700_000_000_123_456);
    let rows: Vec<_> = (0..1500).map(|n| row(n, dec("-12345.6700"), stamp.clone(), Value::Null)).collect();
    // An array has no binary form of ours: the whole COPY is one in text.
    assert_eq!(copy_in(&mut driver, "copied", 16, rows.clone()).unwrap(), 1500);
    let columns = "a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p";
    let out = copy_out(&mut driver, &format!("select {columns} from copied order by a")).unwrap();
    let expect: Vec<Value> = rows.iter().map(|row| Value::List(row.clone())).collect();
    assert_eq!(out, Value::List(expect.clone()));
    // Without it everything is binary, but for a date that only the server can read, in the last row of several parts.
    client.batch("truncate copied; alter table copied drop column l").unwrap();
    let drop = |rows: &[Vec<Value>]| -> Vec<Vec<Value>> {
        rows.iter()
            .map(|row| row.iter().enumerate().filter(|(at, _)| *at != 11).map(|(_, v)| v.clone()).collect())
            .collect()
    };
    let mut rows = drop(&rows);
    rows.last_mut().unwrap()[10] = "epoch".into();
    assert_eq!(copy_in(&mut driver, "copied", 15, rows.clone()).unwrap(), 1500);
    let columns = columns.replace(", l", "");
    let out = copy_out(&mut driver, &format!("select {columns} from copied order by a")).unwrap();
    rows.last_mut().unwrap()[10] = "1970-01-01".into();
    assert_eq!(out, Value::List(rows.into_iter().map(Value::List).collect()));
    still_good(&mut driver);
    client.batch("drop table copied; drop type copied_mood").unwrap();
}

#[test]
fn numerics_are_exact_in_binary() {
    common::client().batch("create table copied_numerics (n numeric)").unwrap();
    let mut driver = driver();
    let texts = [
        "0",
        "0.0",
        "-0.00",
        "1",
        "10000",
        "12345678",
        "0.0001",
        "0.00001",
        "-0.1000",
        "99999999.9999",
        "100000000000000000000000000000",
        "0.00000000000000000001",
        "-1234567890.0987654321",
        "000123.4500",
    ];
    let rows: Vec<Vec<Value>> = texts.iter().map(|text| vec![Value::Decimal((*text).into())]).collect();
    copy_in(&mut driver, "copied_numerics", 1, rows).unwrap();
    let mut client = common::client();
    for text in texts {
        let sql = "select count(*) from copied_numerics where n::text = $1::numeric::text";
        let found = client.query(sql, &[Param::Str(text)], Shape::Scalar).unwrap();
        assert_ne!(found, Value::Int(0), "{text}");
    }
    client.batch("drop table copied_numerics").unwrap();
}

#[test]
fn a_copy_that_fails_leaves_nothing_and_says_where() {
    let mut client = common::client();
    client.batch("create table failing (a int4 primary key, b date)").unwrap();
    let mut driver = driver();
    let good = |n: i64| vec![Value::Int(n), Value::Timestamp(0)];
    let mut check = |rows: Vec<Vec<Value>>, expect: &str| {
        let error = copy_in(&mut driver, "failing", 2, rows).unwrap_err();
        assert!(error.to_string().contains(expect), "{error}");
        let count = driver.run("select count(*) from failing", &[], Shape::Scalar).unwrap();
        assert_eq!(count, Value::Int(0), "{error}");
        still_good(&mut driver);
    };
    let many = |last: Vec<Value>| (0..20_000).map(good).chain([last]).collect::<Vec<_>>();
    check(many(good(1)), "duplicate key");
    check(many(vec![Value::Str("x".into()), Value::Null]), "column 1 (int4): not an integer");
    check(many(vec![Value::Int(5)]), "the row ends here");
    check(vec![vec![Value::Int(5), Value::Null, Value::Null]], "column 3: there is no such column");
    check(vec![vec![Value::Undefined, Value::Null]], "undefined");
    check(many(vec![Value::Int(-1), "never".into()]), "COPY failing, line 20001, column b");
    let token = driver.copy(None, Some("insert into missing values ($1)"), Copy::Stuck);
    assert!(driver.wait(token).unwrap_err().to_string().contains("missing"));
    let copy = Copy::Raw("select 1".into(), Rc::new(vec![1; 10]), 0);
    let token = driver.copy(None, None, copy);
    assert_eq!(driver.wait(token).unwrap_err(), QueryError::Refused("this is no COPY FROM STDIN"));
    let token = driver.copy(None, None, Copy::Out("copy failing from stdin".into(), Shape::Text));
    assert!(driver.wait(token).is_err());
    still_good(&mut driver);
    client.batch("drop table failing").unwrap();
}

#[test]
fn text_and_csv_go_as_they_are() {
    let mut client = common::client();
    client.batch("create table csv (a int4, b text)").unwrap();
    let mut driver = driver();
    let mut body = String::from("a,b\n");
    for n in 0..30_000 {
        body.push_str(&format!("{n},\"text, {n}\"\n"));
    }
    let command = "copy csv (a, b) from stdin (format csv, header true)";
    let token = driver.copy(None, None, Copy::Raw(command.into(), Rc::new(body.clone().into_bytes()), 0));
    assert_eq!(driver.wait(token).unwrap().0.affected, 30_000);
    let command =
        "copy (select a, b from csv order by a) to stdout (format csv, header true, force_quote (b))";
    let token = driver.copy(None, None, Copy::Out(command.into(), Shape::Text));
    assert_eq!(driver.wait(token).unwrap().1, Value::Str(body.into()));
    let token = driver.copy(None, None, Copy::Out("copy (select where false) to stdout".into(), Shape::Text));
    assert_eq!(driver.wait(token).unwrap().1, "".into());
    client.batch("drop table csv").unwrap();
}

#[test]
fn a_backend_killed_in_mid_copy_is_an_error_and_nothing_else() {
    let server = common::Server::start();
    let config = forebay_postgres::Config { application_name: "killed".into(), ..server.config() };
    let mut admin = Client::connect(&server.config()).unwrap();
    admin.batch("create table killed (a int4, b text)").unwrap();
    let mut driver = Driver::new(config, limits());
    let rows: Vec<Vec<Value>> = (0..400_000)
        .map(|n| vec![Value::Int(n), "a row that is somewhat longer than others".into()])
        .collect();
    let copy = Copy::In("copy killed from stdin".into(), Rc::new(rows), 0);
    let token = driver.copy(None, Some("insert into killed values ($1, $2)"), copy);
    let running =
        "select count(*) from pg_stat_activity where application_name = 'killed' and query like 'copy%'";
    driver.write_bytes = 1000;
    driver.until("the COPY runs", |_| admin.query(running, &[], Shape::Scalar).unwrap() == Value::Int(1));
    admin
        .batch("select pg_terminate_backend(pid) from pg_stat_activity where query like 'copy killed%'")
        .unwrap();
    driver.write_bytes = usize::MAX;
    let error = driver.wait(token).unwrap_err();
    assert!(matches!(error, QueryError::Lost { unknown_outcome: true, .. }), "{error}");
    assert_eq!(admin.query("select count(*) from killed", &[], Shape::Scalar).unwrap(), Value::Int(0));
    still_good(&mut driver);
    // Given up in the middle: the same connection goes on.
    let rows: Vec<Vec<Value>> = (0..400_000).map(|n| vec![Value::Int(n), Value::Null]).collect();
    let copy = Copy::In("copy killed from stdin".into(), Rc::new(rows), 0);
    let token = driver.copy(None, Some("insert into killed values ($1, $2)"), copy);
    driver.write_bytes = 1000;
    for _ in 0..20 {
        driver.turn(Duration::from_millis(1));
    }
    driver.write_bytes = usize::MAX;
    let before = driver.pool.stats().connects;
    assert!(driver.abandon(token));
    driver.forget(token);
    still_good(&mut driver);
    assert_eq!(driver.pool.stats().connects, before);
    assert_eq!(admin.query("select count(*) from killed", &[], Shape::Scalar).unwrap(), Value::Int(0));
}

#[test]
fn a_copy_is_part_of_its_transaction() {
    let mut client = common::client();
    client.batch("create table within (a int4)").unwrap();
    let mut driver = driver();
    for commit in [false, true] {
        let transaction = driver.begin();
        driver.wait(transaction).unwrap();
        let rows: Vec<Vec<Value>> = (0..50_000).map(|n| vec![Value::Int(n)]).collect();
        let copy = Copy::In("copy within from stdin".into(), Rc::new(rows), 0);
        let token = driver.copy(Some(transaction), Some("insert into within values ($1)"), copy);
        // Behind an open COPY it would end the connection. The first time it is still ahead of it, as the types of its
        // columns aren't known yet; but its own statement isn't either.
        let behind = driver.start_in(transaction, "select 1", &[], Shape::Scalar);
        assert_eq!(driver.wait(token).unwrap().0.affected, 50_000);
        let refused = QueryError::Refused("a COPY is under way on this connection");
        let expect = if commit { Err(refused) } else { Ok(Value::Int(1)) };
        assert_eq!(driver.wait(behind).map(|(_, value)| value), expect);
        let count = driver.run_in(transaction, "select count(*) from within", &[], Shape::Scalar).unwrap();
        assert_eq!(count, Value::Int(50_000));
        let end = driver.end(transaction, commit);
        driver.wait(end).unwrap();
        let count = driver.run("select count(*) from within", &[], Shape::Scalar).unwrap();
        assert_eq!(count, Value::Int(if commit { 50_000 } else { 0 }));
    }
    // ROLLBACK in the middle of one.
    let transaction = driver.begin();
    driver.wait(transaction).unwrap();
    let rows: Vec<Vec<Value>> = (0..500_000).map(|n| vec![Value::Int(n)]).collect();
    let copy = Copy::In("copy within from stdin".into(), Rc::new(rows), 0);
    let token = driver.copy(Some(transaction), Some("insert into within values ($1)"), copy);
    driver.turn(Duration::from_millis(1));
    assert!(driver.abandon(transaction));
    driver.forget(token);
    still_good(&mut driver);
    client.batch("drop table within").unwrap();
}

#[test]
fn a_cursor_gives_its_rows_in_parts() {
    let mut driver = driver();
    let transaction = driver.begin();
    driver.wait(transaction).unwrap();
    let sql = "select g, repeat('x', 1000) from generate_series(1, $1::int4) g";
    let check = |driver: &mut Driver, rows: i64, part: u32, expect: &[usize]| {
        let mut got = Vec::new();
        let params = [Param::Int(rows)];
        let mut first = Some((sql, &params[..]));
        loop {
            got.push(driver.rows_of(transaction, (7, part), first.take()).unwrap());
            if got.last().is_some_and(|n| *n < part as usize) {
                break;
            }
        }
        assert_eq!(got, expect);
        driver.pool.close_cursor(transaction, 7);
    };
    check(&mut driver, 250, 100, &[100, 100, 50]);
    check(&mut driver, 200, 100, &[100, 100, 0]);
    check(&mut driver, 0, 100, &[0]);
    check(&mut driver, 3, 1, &[1, 1, 1, 0]);
    // Two at once, other statements in between.
    assert_eq!(driver.rows_of(transaction, (1, 10), Some((sql, &[Param::Int(15)]))).unwrap(), 10);
    assert_eq!(driver.rows_of(transaction, (2, 10), Some((sql, &[Param::Int(25)]))).unwrap(), 10);
    assert_eq!(driver.run_in(transaction, "select 1", &[], Shape::Scalar).unwrap(), Value::Int(1));
    assert_eq!(driver.rows_of(transaction, (1, 10), None).unwrap(), 5);
    assert_eq!(driver.rows_of(transaction, (2, 10), None).unwrap(), 10);
    driver.pool.close_cursor(transaction, 2);
    let error = driver.rows_of(transaction, (2, 10), None).unwrap_err();
    assert_eq!(error, QueryError::Refused("the cursor is closed"));
    let end = driver.end(transaction, true);
    driver.wait(end).unwrap();
    still_good(&mut driver);
}

#[test]
fn a_gigabyte_goes_through_a_cursor_in_bounded_memory() {
    // A tenth of it unless `STORM_SECONDS` asks for long runs.
    let parts = if std::env::var_os("STORM_SECONDS").is_some() { 1024 } else { 100 };
    let limits = DatabaseLimits { result_bytes: 4 << 20, ..limits() };
    let mut driver = Driver::new(common::config(), limits);
    let transaction = driver.begin();
    driver.wait(transaction).unwrap();
    let sql = "select repeat('x', 65536) from generate_series(1, $1::int4)";
    let params = [Param::Int(parts * 16)];
    let mut first = Some((sql, &params[..]));
    let (mut rows, mut before) = (0, 0);
    loop {
        let got = driver.rows_of(transaction, (1, 16), first.take()).unwrap();
        rows += got;
        // What the first parts took is all that it takes.
        if rows == 16 * 16 {
            before = common::resident_bytes();
        }
        if got < 16 {
            break;
        }
    }
    assert_eq!(rows, usize::try_from(parts).unwrap() * 16);
    let more = common::resident_bytes() - before;
    eprintln!("{rows} rows of 64 KiB: {more} bytes of memory more than after 256 of them");
    assert!(more < 32 << 20, "{more} bytes");
    let end = driver.end(transaction, true);
    driver.wait(end).unwrap();
}
