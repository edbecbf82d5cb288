//! A result of far too much is ended by its limit while others go on. (What streams through a cursor is in `copy.rs`.)
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test; helpers outside of #[test] functions unwrap too; it has a clock"
)]

mod common;
#[path = "common/driver.rs"]
mod driver;

use std::time::{Duration, Instant};

use driver::Driver;
use forebay_base::Value;
use forebay_base::limits::DatabaseLimits;
use forebay_postgres::{Delivery, Param, Shape};

fn limits(connections: usize) -> DatabaseLimits {
    DatabaseLimits { connections, result_bytes: 1 << 20, ..DatabaseLimits::default() }
}

#[test]
fn a_select_of_far_too_much_is_ended_by_its_limit_while_others_go_on() {
    let mut driver = Driver::new(common::config(), limits(2));
    driver.until("ready", |driver| driver.pool.stats().ready == 2);
    // Ten terabytes.
    let sql = "select generate_series(1, 10000000000) as n, repeat('x', 1024) as text";
    for delivery in [Delivery::Whole, Delivery::Streaming] {
        let started = Instant::now();
        let large = driver.start(sql, &[], Shape::Rows, delivery);
        let mut others = 0;
        while !driver.done.contains_key(&large) {
            let other = driver.run("select $1::int8 * 3", &[Param::Int(others)], Shape::Scalar).unwrap();
            assert_eq!(other, Value::Int(others * 3));
            others += 1;
            assert!(started.elapsed() < Duration::from_secs(20), "its limit doesn't end it");
        }
        let error = driver.wait(large).unwrap_err();
        assert_eq!(error.to_string(), "result is longer than 1048576 bytes");
        // The server stops, too, and every connection is of use again.
        driver.until("nothing runs", |driver| driver.pool.stats().in_flight == 0);
        let running =
            "select count(*) from pg_stat_activity where state = 'active' and query like '%generate_series%'
            and pid <> pg_backend_pid()";
        assert_eq!(driver.run(running, &[], Shape::Scalar).unwrap(), Value::Int(0));
        assert!(driver.pool.stats().ready >= 2);
    }
    assert!(driver.cancels >= 2);
    assert!(common::resident_bytes() < 200 << 20, "{} bytes", common::resident_bytes());
}
