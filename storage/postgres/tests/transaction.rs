//! Transactions of the pool against a real server.
#![allow(clippy::unwrap_used, reason = "a test; helpers outside of #[test] functions unwrap too")]

mod common;
#[path = "common/driver.rs"]
mod driver;

use std::time::Duration;

use driver::Driver;
use forebay_base::Value;
use forebay_base::limits::DatabaseLimits;
use forebay_postgres::{Delivery, Param, QueryError, Shape, Token};

fn driver(transactions: usize) -> Driver {
    let acquire_timeout = Duration::from_millis(500);
    Driver::new(
        common::config(),
        DatabaseLimits { transactions, acquire_timeout, ..DatabaseLimits::default() },
    )
}

fn begin(driver: &mut Driver) -> Token {
    let transaction = driver.begin();
    driver.wait(transaction).unwrap();
    transaction
}

fn end(driver: &mut Driver, transaction: Token, commit: bool) -> Result<(), QueryError> {
    let token = driver.end(transaction, commit);
    driver.wait(token).map(|_| ())
}

fn count(driver: &mut Driver, table: &str) -> i64 {
    match driver.run(&format!("select count(*) from {table}"), &[], Shape::Scalar) {
        Ok(Value::Int(count)) => count,
        other => panic!("{other:?}"),
    }
}

#[test]
fn commit_rollback_and_a_commit_that_is_none() {
    common::client().batch("create table a (id int primary key)").unwrap();
    let mut d = driver(2);
    let insert = "insert into a values ($1)";

    let t = begin(&mut d);
    d.run_in(t, insert, &[Param::Int(1)], Shape::Affected).unwrap();
    assert_eq!(count(&mut d, "a"), 0, "others don't see it");
    assert_eq!(d.run_in(t, "select count(*) from a", &[], Shape::Scalar), Ok(Value::Int(1)));
    end(&mut d, t, true).unwrap();
    assert_eq!(count(&mut d, "a"), 1);

    let t = begin(&mut d);
    d.run_in(t, insert, &[Param::Int(2)], Shape::Affected).unwrap();
    end(&mut d, t, false).unwrap();
    assert_eq!(count(&mut d, "a"), 1);
    assert_eq!(
        d.run_in(t, "select 1", &[], Shape::Scalar),
        Err(QueryError::Refused("the transaction is over"))
    );
    assert!(end(&mut d, t, true).is_err());

    // A failed statement that the script swallowed.
    let t = begin(&mut d);
    d.run_in(t, insert, &[Param::Int(3)], Shape::Affected).unwrap();
    assert!(d.run_in(t, insert, &[Param::Int(3)], Shape::Affected).is_err());
    let error = end(&mut d, t, true).unwrap_err();
    assert!(matches!(error, QueryError::Refused(why) if why.contains("rolled back")), "{error}");
    // Savepoints work, and what would escape doesn't.
    let t = begin(&mut d);
    for sql in ["savepoint s", "insert into a values (4)", "rollback to s", "set local work_mem = '1MB'"] {
        d.run_in(t, sql, &[], Shape::Affected).unwrap();
    }
    for sql in ["commit", "rollback", "begin", "set work_mem = '1MB'", "listen x", "rollback and chain"] {
        assert!(matches!(d.run_in(t, sql, &[], Shape::Affected), Err(QueryError::Refused(_))), "{sql}");
    }
    d.run_in(t, insert, &[Param::Int(5)], Shape::Affected).unwrap();
    end(&mut d, t, true).unwrap();
    assert_eq!(count(&mut d, "a"), 2);
    assert_eq!(d.pool.stats().transactions, 0);
    common::client().batch("drop table a").unwrap();
}

#[test]
fn a_shared_query_is_not_rolled_back_with_a_transaction() {
    common::client().batch("create table b (id int)").unwrap();
    let mut d = driver(1);
    let t = begin(&mut d);
    let inside: Vec<Token> = (0..20)
        .map(|n| d.start_in(t, "insert into b values ($1)", &[Param::Int(n)], Shape::Affected))
        .collect();
    let outside: Vec<Token> = (100..120)
        .map(|n| d.start("insert into b values ($1)", &[Param::Int(n)], Shape::Affected, Delivery::Whole))
        .collect();
    for token in inside.into_iter().chain(outside) {
        d.wait(token).unwrap();
    }
    end(&mut d, t, false).unwrap();
    assert_eq!(count(&mut d, "b where id >= 100"), 20);
    assert_eq!(count(&mut d, "b where id < 100"), 0);
    common::client().batch("drop table b").unwrap();
}

#[test]
fn transactions_wait_for_a_connection_and_give_up_in_time() {
    let mut d = driver(2);
    let (a, b) = (begin(&mut d), begin(&mut d));
    let waiting = d.begin();
    let late = d.begin();
    assert_eq!(d.pool.stats().transactions, 2);
    end(&mut d, a, true).unwrap();
    d.wait(waiting).unwrap();
    let error = d.wait(late).unwrap_err();
    assert!(matches!(&error, QueryError::Unavailable(why) if why.contains("transaction")), "{error}");
    end(&mut d, waiting, true).unwrap();
    end(&mut d, b, false).unwrap();
    let mut none = driver(0);
    let refused = none.begin();
    assert!(matches!(none.wait(refused), Err(QueryError::Refused(_))));
}

#[test]
fn an_abandoned_transaction_is_rolled_back_and_its_connection_serves_the_next() {
    common::client().batch("create table c (id int)").unwrap();
    let mut d = driver(1);
    let t = begin(&mut d);
    d.run_in(t, "insert into c values (1)", &[], Shape::Affected).unwrap();
    let pending = d.start_in(t, "insert into c values (2)", &[], Shape::Affected);
    let unprepared = d.start_in(t, "insert into c values (3)", &[], Shape::Affected);
    assert!(d.abandon(t));
    for token in [pending, unprepared] {
        d.sinks.0.remove(&token);
    }
    let next = begin(&mut d);
    assert_eq!(d.run_in(next, "select count(*) from c", &[], Shape::Scalar), Ok(Value::Int(0)));
    end(&mut d, next, true).unwrap();
    // One that never got a connection.
    let holder = begin(&mut d);
    let waiting = d.begin();
    assert!(d.abandon(waiting));
    d.sinks.0.remove(&waiting);
    end(&mut d, holder, true).unwrap();
    d.until("free", |d| d.pool.stats().transactions == 0);
    common::client().batch("drop table c").unwrap();
}

#[test]
fn a_lost_connection_ends_its_transaction() {
    let mut d = driver(1);
    let t = begin(&mut d);
    let pid = d.run_in(t, "select pg_backend_pid()", &[], Shape::Scalar).unwrap();
    let Value::Int(pid) = pid else { panic!("{pid:?}") };
    let token = d.start_in(t, "select pg_sleep(30)", &[], Shape::Rows);
    d.turn(Duration::from_millis(50));
    common::client().execute("select pg_terminate_backend($1)", &[Param::Int(pid)]).unwrap();
    assert!(matches!(d.wait(token), Err(QueryError::Lost { .. } | QueryError::Unavailable(_))));
    assert_eq!(
        d.run_in(t, "select 1", &[], Shape::Scalar),
        Err(QueryError::Refused("the transaction is over"))
    );
    let t = begin(&mut d);
    end(&mut d, t, true).unwrap();
}
