//! sqlx: a pool of 16 connections on a current-thread runtime (it doesn't pipeline), statements cached.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::future::join_all;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::{BENCH_ROWS, Meter, ROWS, SELECT, Scenario, expected};

async fn select(pool: &PgPool, id: i32) {
    let (got, name, n): (i32, String, i32) = sqlx::query_as(SELECT).bind(id).fetch_one(pool).await.unwrap();
    assert!(got == id && n == expected(id) && name.len() > 5);
}

pub fn run(what: Scenario, folder: &str, meter: &mut Meter) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = PgConnectOptions::new().socket(folder).username("postgres").database("postgres");
        let connections = match what {
            Scenario::Id(n) | Scenario::IdGroup(n) => n.min(16),
            _ => 16,
        };
        let pool = PgPoolOptions::new()
            .max_connections(connections as u32)
            .min_connections(connections as u32)
            .test_before_acquire(false)
            .connect_with(options)
            .await
            .unwrap();
        match what {
            Scenario::Id(in_flight) | Scenario::IdGroup(in_flight) => {
                let next = Rc::new(RefCell::new(0));
                let meter = Rc::new(RefCell::new(meter));
                join_all((0..in_flight).map(|_| {
                    let (next, meter, pool) = (Rc::clone(&next), Rc::clone(&meter), pool.clone());
                    async move {
                        loop {
                            let id = {
                                let mut next = next.borrow_mut();
                                *next = (*next + 1) % BENCH_ROWS;
                                *next
                            };
                            select(&pool, id).await;
                            if !meter.borrow_mut().add(1) {
                                return;
                            }
                        }
                    }
                }))
                .await;
            }
            Scenario::Twenty { .. } => {
                let mut id = 0;
                loop {
                    join_all((0..20).map(|i| select(&pool, (id + i) % BENCH_ROWS))).await;
                    id = (id + 20) % BENCH_ROWS;
                    if !meter.add(20) {
                        return;
                    }
                }
            }
            Scenario::Rows => loop {
                let rows: Vec<(i32, i64, String, String, bool, f64, i16)> =
                    sqlx::query_as(ROWS).fetch_all(&pool).await.unwrap();
                assert!(rows.len() == 1000 && rows[999].0 == 1000 && rows[999].3 == "second text 1000");
                if !meter.add(1) {
                    return;
                }
            },
            Scenario::Copy => panic!("sqlx has no binary COPY encoder"),
        }
    });
}
