//! The pool against a real server: pipelining, failures, healing, bounds.
#![allow(clippy::unwrap_used, reason = "a test; helpers outside of #[test] functions unwrap too")]

mod common;
#[path = "common/driver.rs"]
mod driver;

use std::time::Duration;

use driver::Driver;
use forebay_base::Value;
use forebay_base::limits::DatabaseLimits;
use forebay_postgres::pool::{CANCEL_AFTER, DRAIN_SILENCE_MAX};
use forebay_postgres::{Delivery, Param, QueryError, Shape, Token};

fn limits() -> DatabaseLimits {
    DatabaseLimits::default()
}

fn code(error: &QueryError) -> &str {
    match error {
        QueryError::Server(error) => &error.code,
        _ => "",
    }
}

/// 200 queries over 2 connections, good and bad mixed: each gets its own answer.
fn storm(driver: &mut Driver, delivery: Delivery) {
    let mut expected: Vec<(Token, i64)> = Vec::new();
    for n in 0..200i64 {
        let token = match n % 5 {
            0 => driver.start("select 1 / ($1::int8 - $1::int8)", &[Param::Int(n)], Shape::Scalar, delivery),
            1 => driver.start("select nonsense", &[], Shape::Scalar, delivery),
            2 => driver.start("select $1::uuid", &[Param::Str("not a uuid")], Shape::Scalar, delivery),
            3 => driver.start(
                "select g + $1 from generate_series(1, 3) g",
                &[Param::Int(n)],
                Shape::Rows,
                delivery,
            ),
            _ => driver.start("select $1::int8 * 2", &[Param::Int(n)], Shape::Scalar, delivery),
        };
        expected.push((token, n));
    }
    for (token, n) in expected {
        let result = driver.wait(token);
        match n % 5 {
            0 => assert_eq!(code(&result.unwrap_err()), "22012"),
            1 => assert_eq!(code(&result.unwrap_err()), "42703"),
            2 => {
                let error = result.unwrap_err();
                assert!(matches!(&error, QueryError::Parameter(_)), "{error}");
                assert!(error.to_string().contains("invalid input syntax for type uuid"), "{error}");
            }
            3 => {
                let row = |g: i64| Value::Map(vec![("?column?".into(), Value::Int(n + g))]);
                assert_eq!(result.unwrap().1, Value::List(vec![row(1), row(2), row(3)]));
            }
            _ => assert_eq!(result.unwrap().1, Value::Int(n * 2)),
        }
    }
}

#[test]
fn each_of_200_pipelined_queries_gets_its_own_answer() {
    let mut driver = Driver::new(common::config(), limits());
    storm(&mut driver, Delivery::Whole);
    storm(&mut driver, Delivery::Streaming);
    let stats = driver.pool.stats();
    assert_eq!((stats.ready, stats.in_flight, stats.queued, stats.queries), (2, 0, 0, 400));
}

#[test]
fn tiny_reads_and_writes_change_nothing() {
    for (read, write) in [(1, 1), (3, 7), (17, 5)] {
        let mut driver = Driver::new(common::config(), limits());
        (driver.read_bytes, driver.write_bytes) = (read, write);
        storm(&mut driver, Delivery::Whole);
        storm(&mut driver, Delivery::Streaming);
    }
}

#[test]
fn large_results_behind_each_other_do_not_stall() {
    let mut driver = Driver::new(common::config(), limits());
    let sql = "select repeat('x', 100000 + $1::int4)";
    let tokens: Vec<Token> =
        (0..200).map(|n| driver.start(sql, &[Param::Int(n)], Shape::Scalar, Delivery::Whole)).collect();
    for (token, n) in tokens.into_iter().zip(0usize..) {
        let (_, value) = driver.wait(token).unwrap();
        assert_eq!(value.as_str().unwrap().len(), 100_000 + n);
    }
}

#[test]
fn a_killed_backend_fails_what_is_in_flight_and_heals() {
    let mut driver = Driver::new(common::config(), DatabaseLimits { connections: 1, ..limits() });
    let pid = driver.run("select pg_backend_pid()", &[], Shape::Scalar).unwrap();
    let Value::Int(pid) = pid else { panic!("{pid:?}") };
    // Prepared, so that they are in flight and don't wait for their statement.
    driver.run("select pg_sleep($1)", &[Param::Float(0.0)], Shape::Rows).unwrap();
    driver.run("update pg_class set relname = relname where false", &[], Shape::Affected).unwrap();
    let read = driver.start("select pg_sleep($1)", &[Param::Float(30.0)], Shape::Rows, Delivery::Whole);
    let write = driver.start(
        "update pg_class set relname = relname where false",
        &[],
        Shape::Affected,
        Delivery::Whole,
    );
    let unprepared = driver.start("select 3", &[], Shape::Scalar, Delivery::Whole);
    driver.turn(Duration::from_millis(50));
    common::client().execute("select pg_terminate_backend($1)", &[Param::Int(pid)]).unwrap();
    let error = driver.wait(read).unwrap_err();
    assert!(
        matches!(&error, QueryError::Lost { unknown_outcome: false, cause } if cause.contains("57P01")),
        "{error}"
    );
    let error = driver.wait(write).unwrap_err();
    assert!(matches!(error, QueryError::Lost { unknown_outcome: true, .. }), "{error}");
    let error = driver.wait(unprepared).unwrap_err();
    assert!(matches!(error, QueryError::Unavailable(_)), "{error}");
    assert_eq!(driver.run("select 4", &[], Shape::Scalar), Ok(Value::Int(4)));
    let stats = driver.pool.stats();
    assert_eq!((stats.connects, stats.disconnects), (2, 1));
    assert!(stats.last_failure.unwrap().contains("57P01"));
}

#[test]
fn a_server_that_is_away_is_503_and_comes_back() {
    let server = common::Server::start();
    let limits = DatabaseLimits { acquire_timeout: Duration::from_millis(300), ..limits() };
    let mut driver = Driver::new(server.config(), limits.clone());
    assert_eq!(driver.run("select 1", &[], Shape::Scalar), Ok(Value::Int(1)));
    server.down();
    driver.until("the pool sees it", |d| d.pool.stats().down == 2);
    let error = driver.run("select 1", &[], Shape::Scalar).unwrap_err();
    assert!(matches!(&error, QueryError::Unavailable(why) if why.contains("no connection")), "{error}");
    // A pool that starts without its database.
    let mut second = Driver::new(server.config(), limits);
    assert!(matches!(second.run("select 1", &[], Shape::Scalar), Err(QueryError::Unavailable(_))));
    server.up();
    for driver in [&mut driver, &mut second] {
        driver.until("the pool heals", |d| d.pool.stats().ready == 2);
        assert_eq!(driver.run("select 1", &[], Shape::Scalar), Ok(Value::Int(1)));
    }
}

#[test]
fn stale_statements_are_prepared_again() {
    let mut admin = common::client();
    admin.batch("create table heal (id int8 primary key, a int4); insert into heal values (1, 2)").unwrap();
    let mut driver = Driver::new(common::config(), DatabaseLimits { connections: 1, ..limits() });
    let sql = "select * from heal where id = $1";
    let one = [Param::Int(1)];
    let columns = |value: Value| match value {
        Value::Map(pairs) => pairs.into_iter().map(|(key, _)| key.into_string()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(columns(driver.run(sql, &one, Shape::First).unwrap()), ["id", "a"]);
    admin.batch("alter table heal add column b text default 'x'").unwrap();
    // Many at once: the first to fail prepares, the others use it.
    let tokens: Vec<Token> =
        (0..20).map(|_| driver.start(sql, &one, Shape::First, Delivery::Whole)).collect();
    for token in tokens {
        assert_eq!(columns(driver.wait(token).unwrap().1), ["id", "a", "b"]);
    }
    // 26000: the server forgot everything.
    driver.run("do $$ begin execute 'deallocate all'; end $$", &[], Shape::Affected).unwrap();
    let tokens: Vec<Token> =
        (0..20).map(|_| driver.start(sql, &one, Shape::First, Delivery::Whole)).collect();
    for token in tokens {
        assert_eq!(columns(driver.wait(token).unwrap().1), ["id", "a", "b"]);
    }
    // Parameters of another type than before can't be repeated as they were.
    admin.batch("alter table heal alter column id type text").unwrap();
    assert!(driver.run(sql, &one, Shape::First).is_err());
    assert_eq!(columns(driver.run(sql, &[Param::Str("1")], Shape::First).unwrap()), ["id", "a", "b"]);
    admin.batch("drop table heal").unwrap();
}

#[test]
fn an_abandoned_query_keeps_its_place_and_drains() {
    let mut driver = Driver::new(common::config(), DatabaseLimits { connections: 1, ..limits() });
    let sql = "select repeat('x', 10000) from generate_series(1, $1)";
    driver.run(sql, &[Param::Int(1)], Shape::Rows).unwrap();
    for delivery in [Delivery::Whole, Delivery::Streaming] {
        let gone = driver.start(sql, &[Param::Int(500)], Shape::Rows, delivery);
        let after = driver.start("select 7", &[], Shape::Scalar, Delivery::Whole);
        driver.turn(Duration::from_millis(100));
        assert!(driver.abandon(gone));
        driver.sinks.0.remove(&gone);
        assert_eq!(driver.wait(after).unwrap().1, Value::Int(7));
        assert!(!driver.abandon(gone));
        // One that still waits for its statement, and one that has only a sink less.
        let text = format!("select 8 -- {delivery:?}");
        let waiting = driver.start(&text, &[], Shape::Scalar, delivery);
        assert!(driver.abandon(waiting));
        let orphan = driver.start(sql, &[Param::Int(3)], Shape::Rows, delivery);
        driver.sinks.0.remove(&orphan);
        assert_eq!(driver.run("select 9", &[], Shape::Scalar), Ok(Value::Int(9)));
        // On a loaded machine the orphan is a slow statement by now, on a connection of its own.
        driver.until("it has drained", |driver| driver.pool.stats().in_flight == 0);
    }
}

#[test]
fn bounds_are_named_outcomes() {
    let small = DatabaseLimits {
        connections: 1,
        transactions: 0,
        window: 2,
        queue: 3,
        result_bytes: 100_000,
        statements: 3,
        acquire_timeout: Duration::from_millis(200),
        ..limits()
    };
    let mut driver = Driver::new(common::config(), small);
    // The result's size: in small rows, and in one large one.
    for sql in ["select repeat('x', 1000) from generate_series(1, 1000)", "select repeat('x', 10000000)"] {
        for delivery in [Delivery::Whole, Delivery::Streaming] {
            let token = driver.start(sql, &[], Shape::Rows, delivery);
            assert_eq!(driver.wait(token), Err(QueryError::ResultTooLarge { limit: 100_000 }));
        }
    }
    // Statements: ten texts through three places, twice.
    for n in (0..10).chain(0..10) {
        let value = driver.run(&format!("select {n}::int8"), &[], Shape::Scalar);
        assert_eq!(value, Ok(Value::Int(n)));
    }
    let count = "select count(*) from pg_prepared_statements";
    assert_eq!(driver.run(count, &[], Shape::Scalar), Ok(Value::Int(3)));
    // Window, queue, deadline.
    let sleep = "select pg_sleep(1)";
    let tokens: Vec<Token> = (0..5).map(|_| driver.start(sleep, &[], Shape::Rows, Delivery::Whole)).collect();
    let full = driver.start(sleep, &[], Shape::Rows, Delivery::Whole);
    let error = driver.wait(full).unwrap_err();
    assert!(matches!(&error, QueryError::Unavailable(why) if why.contains("queue is full")), "{error}");
    let results: Vec<_> = tokens.into_iter().map(|token| driver.wait(token)).collect();
    assert!(results[..2].iter().all(Result::is_ok), "{results:?}");
    for late in &results[2..] {
        assert!(matches!(late, Err(QueryError::Unavailable(why)) if why.contains("in time")), "{late:?}");
    }
}

#[test]
fn what_would_change_a_shared_connection_is_refused() {
    let mut driver = Driver::new(common::config(), limits());
    driver.until("ready", |d| d.pool.stats().ready == 2);
    for sql in [
        "begin",
        "  /* a /* nested */ comment */ COMMIT",
        "-- x\nset search_path = x",
        "listen a",
        "copy t from stdin",
        ";start transaction",
        "discard all",
        "declare c cursor for select 1",
    ] {
        let error = driver.run(sql, &[], Shape::Affected).unwrap_err();
        assert!(matches!(error, QueryError::Refused(_)), "{sql}: {error}");
    }
    assert!(matches!(driver.run("select 1; select 2", &[], Shape::Rows), Err(QueryError::Server(_))));
}

#[test]
fn a_constraint_that_fails_at_commit_delivers_nothing() {
    let mut admin = common::client();
    admin
        .batch("create table d (id int primary key deferrable initially deferred); insert into d values (1)")
        .unwrap();
    let mut driver = Driver::new(common::config(), limits());
    let error = driver.run("insert into d values (1) returning id", &[], Shape::Rows).unwrap_err();
    assert_eq!(code(&error), "23505");
    let QueryError::Server(error) = error else { panic!() };
    assert_eq!((&*error.table, &*error.constraint, &*error.schema), ("d", "d_pkey", "public"));
    assert!(error.detail.contains("already exists"));
    admin.batch("drop table d").unwrap();
}

#[test]
fn an_abandoned_query_without_end_costs_its_connection() {
    let mut driver = Driver::new(common::config(), DatabaseLimits { connections: 1, ..limits() });
    let sql = "select pg_sleep($1)";
    driver.run(sql, &[Param::Int(0)], Shape::Rows).unwrap();
    let endless = driver.start(sql, &[Param::Int(60)], Shape::Rows, Delivery::Whole);
    let behind = driver.start(sql, &[Param::Int(0)], Shape::Rows, Delivery::Whole);
    driver.turn(Duration::from_millis(20));
    let now = driver.now();
    assert!(driver.pool.abandon(endless, now));
    driver.sinks.0.remove(&endless);
    // It isn't alone, so it can't be cancelled.
    driver.pool.handle_timeout(now.after(CANCEL_AFTER));
    let deadline = driver.pool.next_deadline();
    assert_eq!(deadline, now.after(DRAIN_SILENCE_MAX));
    driver.pool.handle_timeout(deadline);
    let error = driver.wait(behind).unwrap_err();
    assert!(matches!(&error, QueryError::Lost { cause, .. } if cause.contains("silent")), "{error}");
    // The clock of this test ran ahead: so does the first reconnect.
    driver.pool.handle_timeout(deadline.after(Duration::from_secs(1)));
    assert_eq!(driver.run("select 1", &[], Shape::Scalar), Ok(Value::Int(1)));
}
