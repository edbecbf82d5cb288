//! Transactions of the pool against a real server.
#![allow(clippy::unwrap_used, reason = "a test; helpers outside of #[test] functions unwrap too")]

mod common;
#[path = "common/driver.rs"]
mod driver;

use std::time::Duration;

use driver::Driver;
use forebay_base::Value;
use forebay_base::limits::DatabaseLimits;
use forebay_base::rng::Rng;
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
    // One whose BEGIN is on its way: the driver fails at an event for a sink that is gone.
    let early = d.begin();
    assert!(d.abandon(early));
    d.forget(early);
    d.until("free", |d| d.pool.stats().transactions == 0);
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

#[test]
fn the_end_comes_after_queries_that_are_not_sent_yet() {
    common::client().batch("create table e (id int)").unwrap();
    let mut d = driver(1);
    for commit in [false, true] {
        let t = begin(&mut d);
        // Never seen before: it waits for its statement while the end is asked for.
        let sql = format!("insert into e values ($1) -- {commit}");
        let query = d.start_in(t, &sql, &[Param::Int(1)], Shape::Affected);
        end(&mut d, t, commit).unwrap();
        assert_eq!(d.wait(query).unwrap().1, Value::Int(1));
        assert_eq!(count(&mut d, "e"), i64::from(commit));
    }
    // The task dies in between.
    let t = begin(&mut d);
    let query = d.start_in(t, "insert into e values (2) -- gone", &[], Shape::Affected);
    let ending = d.end(t, true);
    assert!(d.abandon(ending));
    for token in [query, ending] {
        d.sinks.0.remove(&token);
    }
    let t = begin(&mut d);
    end(&mut d, t, true).unwrap();
    assert_eq!(count(&mut d, "e"), 1);
    common::client().batch("drop table e").unwrap();
}

/// Random queries, transactions, abandoned tasks and broken connections: each query is answered once, and in the end
/// everything is free. Rerun with the seed that is printed.
#[test]
fn chaos() {
    for seed in [1, 2, 3, 110, 150] {
        println!("seed {seed}");
        chaos_with(seed);
    }
}

/// The task of a transaction dies: its queries go along.
fn give_up(d: &mut Driver, open: &mut Vec<(Token, Option<Token>)>, t: Token) {
    if d.abandon(t) {
        d.forget(t);
        open.retain(|(token, owner)| {
            let gone = *owner == Some(t) && !d.done.contains_key(token);
            if gone {
                d.forget(*token);
            }
            !gone
        });
    }
}

fn chaos_with(seed: u64) {
    let mut rng = Rng::new(seed);
    let acquire_timeout = Duration::from_millis(300);
    let limits = DatabaseLimits {
        transactions: 2,
        window: 8,
        queue: 20,
        statements: 4,
        result_bytes: 20_000,
        acquire_timeout,
        ..DatabaseLimits::default()
    };
    let mut d = Driver::new(common::config(), limits);
    if rng.one_in(2) {
        (d.read_bytes, d.write_bytes) = (11, 13);
    }
    let (mut open, mut transactions): (Vec<(Token, Option<Token>)>, Vec<Token>) = (Vec::new(), Vec::new());
    let mut sql = String::new();
    for _ in 0..1500 {
        sql.clear();
        sql.push_str(match rng.below(6) {
            0 => "select 1/0",
            1 => "select repeat('x', 30000)",
            2 => "select g, 'text' from generate_series(1, 40) g",
            3 => "select broken",
            4 => "select pg_sleep(0.002)",
            _ => "select 1",
        });
        // More texts than statements are kept.
        sql.push_str(["", " -- a", " -- b"][usize::try_from(rng.below(3)).unwrap()]);
        let delivery = if rng.one_in(2) { Delivery::Whole } else { Delivery::Streaming };
        match rng.below(100) {
            0..50 => open.push((d.start(&sql, &[], Shape::Rows, delivery), None)),
            50..60 => transactions.push(d.begin()),
            60..75 if !transactions.is_empty() => {
                let t = transactions[usize::try_from(rng.below(transactions.len() as u64)).unwrap()];
                open.push((d.start_in(t, &sql, &[], Shape::Rows), Some(t)));
            }
            75..85 if !transactions.is_empty() => {
                let t =
                    transactions.swap_remove(usize::try_from(rng.below(transactions.len() as u64)).unwrap());
                // Perhaps not begun yet: then it is refused, and begins later; the task would be gone by then.
                let ending = d.end(t, rng.one_in(2));
                d.until("the end", |d| d.done.contains_key(&ending));
                if d.done.remove(&ending).is_some_and(|result| result.is_err()) {
                    give_up(&mut d, &mut open, t);
                }
                d.done.remove(&t);
            }
            85..92 if !open.is_empty() => {
                let (token, _) = open.swap_remove(usize::try_from(rng.below(open.len() as u64)).unwrap());
                if d.done.remove(&token).is_none() {
                    assert!(d.abandon(token), "seed {seed}: {token:?} is neither done nor known");
                    d.forget(token);
                }
            }
            92 => d.break_one(rng.next_u64()),
            93 if !transactions.is_empty() => {
                let t =
                    transactions.swap_remove(usize::try_from(rng.below(transactions.len() as u64)).unwrap());
                give_up(&mut d, &mut open, t);
            }
            _ => d.turn(Duration::from_millis(1)),
        }
    }
    for t in transactions {
        give_up(&mut d, &mut open, t);
    }
    for (token, _) in open {
        let _ = d.wait(token);
    }
    d.until("all is free", |d| {
        let stats = d.pool.stats();
        stats.in_flight == 0 && stats.queued == 0 && stats.transactions == 0 && stats.ready >= 2
    });
    assert_eq!(d.run("select 1", &[], Shape::Scalar), Ok(Value::Int(1)));
    let t = begin(&mut d);
    end(&mut d, t, true).unwrap();
}
