//! Read groups and the lane of slow statements, against a real server.
#![allow(clippy::unwrap_used, reason = "a test; helpers outside of #[test] functions unwrap too")]

mod common;
#[path = "common/driver.rs"]
mod driver;

use std::time::Duration;

use driver::Driver;
use forebay_base::limits::DatabaseLimits;
use forebay_base::{Monotonic, Value};
use forebay_postgres::{Delivery, Param, QueryError, Shape, Token};

/// One shared link, and a clock that stands still: whether statements share a Sync is decided by proof alone.
fn driver() -> Driver {
    let mut driver =
        Driver::new(common::config(), DatabaseLimits { connections: 1, ..DatabaseLimits::default() });
    driver.until("ready", |driver| driver.pool.stats().ready == 1);
    driver.frozen = Some(driver.now());
    driver
}

/// Runs `sql` often enough that it is proven or refuted.
fn warm(driver: &mut Driver, sql: &str, params: &[Param<'_>]) {
    for _ in 0..12 {
        driver.run(sql, params, Shape::Scalar).unwrap();
    }
}

/// Starts `sql` with each of `values` at once; its answers in order.
fn at_once(driver: &mut Driver, sql: &str, values: &[i64]) -> Vec<Result<Value, QueryError>> {
    let tokens: Vec<Token> =
        values.iter().map(|n| driver.start(sql, &[Param::Int(*n)], Shape::Scalar, Delivery::Whole)).collect();
    tokens.into_iter().map(|token| driver.wait(token).map(|(_, value)| value)).collect()
}

fn divide(driver: &mut Driver) {
    let sql = "select 1000 / $1::int4";
    warm(driver, sql, &[Param::Int(1)]);
    let before = driver.pool.stats().joined;
    let values: Vec<i64> = (1..=40).collect();
    for (answer, n) in at_once(driver, sql, &values).into_iter().zip(values) {
        assert_eq!(answer.unwrap(), Value::Int(1000 / n));
    }
    // Groups of 32 and 8.
    assert_eq!(driver.pool.stats().joined - before, 38);
    // The first, one in the middle, two in a row, the last of a group: each fails alone.
    let values = [0, 1, 2, 0, 4, 0, 0, 7, 8, 9, 10, 0, 12, 13, 14, 0, 0];
    for (answer, n) in at_once(driver, sql, &values).into_iter().zip(values) {
        match (n, answer) {
            (0, Err(QueryError::Server(error))) => assert_eq!(&*error.code, "22012"),
            (n, answer) => assert_eq!(answer.unwrap(), Value::Int(1000 / n)),
        }
    }
}

#[test]
fn proven_reads_share_a_sync_and_a_failure_takes_no_other_with_it() {
    divide(&mut driver());
}

#[test]
fn groups_come_in_any_pieces() {
    let mut driver = driver();
    (driver.read_bytes, driver.write_bytes) = (1, 3);
    divide(&mut driver);
}

#[test]
fn what_may_write_or_lock_never_shares() {
    common::client()
        .batch(
            "create table g_log (n int8); create sequence g_seq;
             create function g_write(n int8) returns int8 language sql volatile as
               'insert into g_log values (n) returning n';
             create view g_view as select g_write(1) as n;
             create table g_policy (n int8); insert into g_policy values (1);
             alter table g_policy enable row level security;
             create domain g_domain as int8 check (value > 0)",
        )
        .unwrap();
    let mut driver = driver();
    for sql in [
        "select g_write($1::int8)",
        "select nextval('g_seq') + $1::int8",
        "select n + $1::int8 from g_view",
        "select n + $1::int8 from g_policy",
        "select $1::int8::g_domain",
        "select g_write(n) from (select $1::int8 as n) s",
        "with w as (insert into g_log values ($1) returning n) select n from w",
        "insert into g_log values ($1::int8) returning n",
        "select n + $1::int8 from g_policy for update",
        "select random()::int4 + $1::int8",
    ] {
        warm(&mut driver, sql, &[Param::Int(1)]);
        for answer in at_once(&mut driver, sql, &[1, 2, 3, 4]) {
            assert_ne!(answer.unwrap(), Value::Null);
        }
        assert_eq!(driver.pool.stats().joined, 0, "{sql}");
    }
}

/// A read that fails behind an insert must not take the insert back.
#[test]
fn a_write_between_reads_stands_alone() {
    common::client().batch("create table g_mixed (n int8)").unwrap();
    let mut driver = driver();
    let (read, write) = ("select 1 / $1::int4", "insert into g_mixed values ($1)");
    warm(&mut driver, read, &[Param::Int(1)]);
    warm(&mut driver, write, &[Param::Int(0)]);
    let mut tokens = Vec::new();
    for n in 0..30 {
        let sql = if n % 3 == 1 { write } else { read };
        let value = if n % 3 == 2 { 0 } else { n + 1 };
        tokens.push((n, driver.start(sql, &[Param::Int(value)], Shape::Affected, Delivery::Whole)));
    }
    for (n, token) in tokens {
        assert_eq!(driver.wait(token).is_err(), n % 3 == 2, "{n}");
    }
    assert!(driver.pool.stats().joined > 0);
    let count = driver.run("select count(*) from g_mixed where n > 0", &[], Shape::Scalar).unwrap();
    assert_eq!(count, Value::Int(10));
}

#[test]
fn a_group_heals_when_its_table_changes() {
    common::client().batch("create table g_heal (a int8); insert into g_heal values (7)").unwrap();
    let mut driver = driver();
    let sql = "select * from g_heal where $1::int8 is not null";
    warm(&mut driver, sql, &[Param::Int(1)]);
    common::client().batch("alter table g_heal alter a type text").unwrap();
    for answer in at_once(&mut driver, sql, &[1, 2, 3, 4, 5]) {
        assert_eq!(answer.unwrap(), Value::from("7"));
    }
}

#[test]
fn a_proof_ages() {
    common::client().batch("create table g_age (n int8); insert into g_age values (5)").unwrap();
    let mut driver = driver();
    let sql = "select n + $1 from g_age";
    warm(&mut driver, sql, &[Param::Int(1)]);
    at_once(&mut driver, sql, &[1, 2, 3, 4]);
    assert_eq!(driver.pool.stats().joined, 3);
    common::client()
        .batch(
            "create function g_age_f() returns int8 language sql volatile as 'select 6::int8';
             begin; drop table g_age; create view g_age as select g_age_f() as n; commit",
        )
        .unwrap();
    driver.frozen = driver.frozen.map(|now| now.after(Duration::from_secs(120)));
    let joined = driver.pool.stats().joined;
    warm(&mut driver, sql, &[Param::Int(1)]);
    for (answer, n) in at_once(&mut driver, sql, &[1, 2, 3, 4]).into_iter().zip(1..) {
        assert_eq!(answer.unwrap(), Value::Int(6 + n));
    }
    assert_eq!(driver.pool.stats().joined, joined);
}

#[test]
fn a_slow_statement_gets_a_connection_of_its_own() {
    let mut driver =
        Driver::new(common::config(), DatabaseLimits { connections: 1, ..DatabaseLimits::default() });
    let slow = "select pg_sleep($1)::text";
    driver.run(slow, &[Param::Float(0.2)], Shape::Scalar).unwrap();
    // Two more of it don't hold up the others.
    let sleeping: Vec<Token> =
        (0..2).map(|_| driver.start(slow, &[Param::Float(30.0)], Shape::Scalar, Delivery::Whole)).collect();
    for n in 0..100 {
        assert_eq!(driver.run("select $1::int4", &[Param::Int(n)], Shape::Scalar).unwrap(), Value::Int(n));
    }
    driver.until("both sleep", |driver| driver.pool.stats().transactions == 2);
    assert!(driver.done.is_empty());
    for token in sleeping {
        assert!(driver.abandon(token));
        driver.forget(token);
    }
    assert_ne!(driver.now(), Monotonic(0));
}
