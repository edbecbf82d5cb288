//! What keeps a pool's connections good: age, signs of life, cancelling, LISTEN, deadlines.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test; helpers outside of #[test] functions unwrap too; it has a clock"
)]

mod common;
#[path = "common/driver.rs"]
mod driver;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use driver::Driver;
use forebay_base::limits::DatabaseLimits;
use forebay_base::rng::Rng;
use forebay_base::{Monotonic, Value};
use forebay_postgres::blocking::Client;
use forebay_postgres::pool::DRAIN_SILENCE_MAX;
use forebay_postgres::{Config, Delivery, Param, QueryError, Shape};

const WHOLE: Delivery = Delivery::Whole;

fn named(name: &str) -> Config {
    Config { application_name: name.into(), ..common::config() }
}

fn pids(client: &mut Client, name: &str) -> BTreeSet<i64> {
    let sql = "select pid from pg_stat_activity where application_name = $1";
    let rows = client.rows(sql, &[Param::Str(name)]).unwrap();
    rows.iter()
        .filter_map(|row| if let Some(Value::Int(pid)) = row.get("pid") { Some(*pid) } else { None })
        .collect()
}

#[test]
fn connections_are_replaced_when_their_time_is_over_and_nobody_notices() {
    let lifetime = Duration::from_millis(200);
    let limits = DatabaseLimits { connections: 2, lifetime, ..DatabaseLimits::default() };
    let mut driver = Driver::new(named("aging"), limits);
    let mut client = common::client();
    let mut seen = BTreeSet::new();
    let (start, mut n) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_millis(1500) || seen.len() < 6 {
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", driver.pool);
        // Never idle: ten at a time.
        let tokens: Vec<_> = (0..10)
            .map(|_| {
                n += 1;
                (n, driver.start("select $1::int8 + 1", &[Param::Int(n)], Shape::Scalar, WHOLE))
            })
            .collect();
        for (n, token) in tokens {
            assert_eq!(driver.wait(token).unwrap().1, Value::Int(n + 1));
        }
        seen.append(&mut pids(&mut client, "aging"));
    }
    let stats = driver.pool.stats();
    assert!(stats.retired >= 4, "{stats:?}");
    assert_eq!((stats.disconnects, stats.errors), (0, 0), "{stats:?}");
    // A transaction is never cut short by the age of its connection.
    let transaction = driver.begin();
    driver.wait(transaction).unwrap();
    std::thread::sleep(2 * lifetime);
    driver.turn(Duration::ZERO);
    assert_eq!(driver.run_in(transaction, "select 5", &[], Shape::Scalar), Ok(Value::Int(5)));
    let end = driver.end(transaction, true);
    driver.wait(end).unwrap();
}

#[test]
fn an_idle_connection_is_asked_and_one_that_is_dead_goes() {
    let idle_check = Duration::from_secs(30);
    let limits = DatabaseLimits { connections: 1, idle_check, ..DatabaseLimits::default() };
    let mut driver = Driver::new(named("idle"), limits);
    driver.run("select 1", &[], Shape::Scalar).unwrap();
    let mut client = common::client();
    let before = pids(&mut client, "idle");
    let mut now = Monotonic::default().after(Duration::from_secs(100));
    driver.frozen = Some(now);
    driver.run("select 2", &[], Shape::Scalar).unwrap();
    assert_eq!(driver.pool.next_deadline(), now.after(idle_check));
    now = now.after(idle_check);
    driver.frozen = Some(now);
    driver.turn(Duration::ZERO);
    driver.until("the answer", |driver| driver.pool.stats().in_flight == 0);
    assert_eq!(pids(&mut client, "idle"), before);
    // The server's process stops: neither an answer nor an end of the stream.
    let pid = i32::try_from(*before.first().unwrap()).unwrap();
    let signal = |signal: i32| {
        let status =
            std::process::Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status();
        assert!(status.unwrap().success());
    };
    signal(libc::SIGSTOP);
    now = now.after(idle_check);
    driver.frozen = Some(now);
    driver.turn(Duration::ZERO);
    now = now.after(DRAIN_SILENCE_MAX);
    driver.frozen = Some(now);
    driver.turn(Duration::ZERO);
    let stats = driver.pool.stats();
    signal(libc::SIGCONT);
    assert_eq!((stats.disconnects, stats.ready), (1, 0), "{stats:?}");
    assert!(stats.last_failure.unwrap().contains("sign of life"));
    driver.frozen = Some(now.after(Duration::from_secs(1)));
    assert_eq!(driver.run("select 3", &[], Shape::Scalar), Ok(Value::Int(3)));
}

#[test]
fn an_abandoned_statement_that_is_alone_is_cancelled_and_no_other() {
    let limits = DatabaseLimits { connections: 1, transactions: 1, ..DatabaseLimits::default() };
    let mut driver = Driver::new(common::config(), limits);
    let sleep = "select pg_sleep($1)";
    driver.run(sleep, &[Param::Float(0.0)], Shape::Scalar).unwrap();
    let start = Instant::now();
    let endless = driver.start(sleep, &[Param::Float(30.0)], Shape::Scalar, WHOLE);
    driver.turn(Duration::from_millis(5));
    assert!(driver.abandon(endless));
    driver.forget(endless);
    driver.until("the cancelling", |driver| driver.pool.stats().in_flight == 0 && driver.cancels == 1);
    assert_eq!(driver.run("select 1", &[], Shape::Scalar), Ok(Value::Int(1)));
    // Of a transaction: its connection is free again.
    let transaction = driver.begin();
    driver.wait(transaction).unwrap();
    let endless = driver.start_in(transaction, sleep, &[Param::Float(30.0)], Shape::Scalar);
    driver.turn(Duration::from_millis(5));
    assert!(driver.abandon(transaction));
    driver.forget(endless);
    let next = driver.begin();
    driver.wait(next).unwrap();
    assert_eq!(driver.run_in(next, "select 2", &[], Shape::Scalar), Ok(Value::Int(2)));
    let end = driver.end(next, true);
    driver.wait(end).unwrap();
    assert_eq!(driver.cancels, 2);
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert_eq!(driver.pool.stats().disconnects, 0);
    // One with another's statement behind it drains.
    let long = driver.start(sleep, &[Param::Float(0.4)], Shape::Scalar, WHOLE);
    let behind = driver.start("select 3", &[], Shape::Scalar, WHOLE);
    driver.turn(Duration::from_millis(5));
    assert!(driver.abandon(long));
    driver.forget(long);
    assert_eq!(driver.wait(behind).unwrap().1, Value::Int(3));
    assert_eq!(driver.cancels, 2);
}

#[test]
fn a_cancelling_never_hits_the_next_statement() {
    let limits = DatabaseLimits { connections: 1, ..DatabaseLimits::default() };
    let mut driver = Driver::new(common::config(), limits);
    let seed = 11;
    let mut rng = Rng::new(seed);
    let sleep = "select pg_sleep($1)::text || $2";
    driver.run(sleep, &[Param::Float(0.0), Param::Str("")], Shape::Scalar).unwrap();
    for round in 0..60 {
        // About as long as an abandoned statement may go on: it ends just before, during and after its cancelling.
        let seconds = 0.03 + rng.unit_f64() * 0.05;
        let gone = driver.start(sleep, &[Param::Float(seconds), Param::Str("")], Shape::Scalar, WHOLE);
        driver.turn(Duration::from_millis(2));
        assert!(driver.abandon(gone));
        driver.forget(gone);
        let wait = Duration::from_millis(rng.below(60));
        let until = Instant::now() + wait;
        while Instant::now() < until {
            driver.turn(Duration::from_millis(1));
        }
        let text = round.to_string();
        let next = driver.start(sleep, &[Param::Float(0.01), Param::Str(&text)], Shape::Scalar, WHOLE);
        assert_eq!(driver.wait(next).unwrap().1, Value::Str(text.into()), "round {round}, seed {seed}");
    }
    assert!(driver.cancels > 5, "{} of 60 were cancelled", driver.cancels);
}

#[test]
fn a_deadline_counts_the_time_in_the_queue() {
    let limits = DatabaseLimits {
        connections: 1,
        window: 1,
        acquire_timeout: Duration::from_millis(150),
        ..DatabaseLimits::default()
    };
    let mut driver = Driver::new(common::config(), limits);
    let ahead = driver.start("select pg_sleep(0.6)", &[], Shape::Scalar, WHOLE);
    driver.turn(Duration::from_millis(20));
    let start = Instant::now();
    let queued = driver.start("select 1", &[], Shape::Scalar, WHOLE);
    let error = driver.wait(queued).unwrap_err();
    assert!(matches!(error, QueryError::Unavailable(_)), "{error}");
    assert!(start.elapsed() >= Duration::from_millis(150) && start.elapsed() < Duration::from_millis(550));
    driver.wait(ahead).unwrap();
}

#[test]
fn a_listener_hears_and_says_when_it_may_have_missed_something() {
    let mut driver =
        Driver::new(named("listener"), DatabaseLimits { connections: 1, ..DatabaseLimits::default() });
    let mut client = common::client();
    let heard = |driver: &mut Driver, expect: &str| {
        driver.until(expect, |driver| driver.heard.iter().any(|line| line == expect));
        driver.heard.clear();
    };
    let now = driver.now();
    assert!(driver.pool.listen(&[""], now).is_err());
    assert!(driver.pool.listen(&["x".repeat(64).as_str()], now).is_err());
    driver.pool.listen(&["news", "Odd \"name\""], now).unwrap();
    heard(&mut driver, "listening, gap: false");
    client.batch("notify news, 'one'; notify \"Odd \"\"name\"\"\"; notify other, 'x'").unwrap();
    driver.until("both", |driver| driver.heard.len() == 2);
    assert_eq!(driver.heard, ["news one", "Odd \"name\" "]);
    driver.heard.clear();
    // Its connection is lost: what is sent meanwhile is gone, and that is said.
    let kill = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'listener' and query like 'UNLISTEN%'";
    client.batch(kill).unwrap();
    client.batch("notify news, 'lost'").unwrap();
    heard(&mut driver, "listening, gap: true");
    client.batch("notify news, 'two'").unwrap();
    heard(&mut driver, "news two");
    // Others from now on.
    let now = driver.now();
    driver.pool.listen(&["other"], now).unwrap();
    heard(&mut driver, "listening, gap: false");
    client.batch("notify news, 'no'; notify other, 'yes'").unwrap();
    driver.until("other", |driver| !driver.heard.is_empty());
    assert_eq!(driver.heard, ["other yes"]);
    let now = driver.now();
    driver.pool.listen(&[], now).unwrap();
    driver.turn(Duration::from_millis(5));
    assert_eq!(driver.run("select 1", &[], Shape::Scalar), Ok(Value::Int(1)));
    driver.until("its connection ends", |_| pids(&mut client, "listener").len() == 1);
}
