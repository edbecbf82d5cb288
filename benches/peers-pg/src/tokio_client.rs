//! tokio-postgres on a current-thread runtime: one pipelined connection that all tasks share, or a pool of
//! connections with one query at a time on each.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, Statement};

use crate::{BENCH_ROWS, COPY, COPY_ROWS, Meter, ROWS, SELECT, Scenario, expected};

async fn connect(folder: &str) -> Client {
    let config = format!("host={folder} user=postgres dbname=postgres");
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    tokio::spawn(async move { connection.await.unwrap() });
    client
}

async fn select(client: &Client, statement: &Statement, id: i32) {
    let row = client.query_one(statement, &[&id]).await.unwrap();
    let (got, name, n): (i32, &str, i32) = (row.get(0), row.get(1), row.get(2));
    assert!(got == id && n == expected(id) && name.len() > 5);
}

pub fn run(what: Scenario, folder: &str, pooled: bool, meter: &mut Meter) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match what {
            Scenario::Id(in_flight) | Scenario::IdGroup(in_flight) => {
                let connections = if pooled { in_flight.min(16) } else { 1 };
                let mut clients = Vec::new();
                for _ in 0..connections {
                    let client = connect(folder).await;
                    let statement = client.prepare(SELECT).await.unwrap();
                    clients.push(Rc::new((client, statement)));
                }
                let next = Rc::new(RefCell::new(0));
                let meter = Rc::new(RefCell::new(meter));
                let tasks = if pooled { connections } else { in_flight };
                join_all((0..tasks).map(|task| {
                    let client = Rc::clone(&clients[task % connections]);
                    let (next, meter) = (Rc::clone(&next), Rc::clone(&meter));
                    async move {
                        loop {
                            let id = {
                                let mut next = next.borrow_mut();
                                *next = (*next + 1) % BENCH_ROWS;
                                *next
                            };
                            select(&client.0, &client.1, id).await;
                            if !meter.borrow_mut().add(1) {
                                return;
                            }
                        }
                    }
                }))
                .await;
            }
            Scenario::Twenty { .. } => {
                let client = connect(folder).await;
                let statement = client.prepare(SELECT).await.unwrap();
                let mut id = 0;
                loop {
                    let all: FuturesUnordered<_> =
                        (0..20).map(|i| select(&client, &statement, (id + i) % BENCH_ROWS)).collect();
                    all.collect::<Vec<()>>().await;
                    id = (id + 20) % BENCH_ROWS;
                    if !meter.add(20) {
                        return;
                    }
                }
            }
            Scenario::Rows => {
                let client = connect(folder).await;
                let statement = client.prepare(ROWS).await.unwrap();
                loop {
                    let rows = client.query(&statement, &[]).await.unwrap();
                    let rows: Vec<(i32, i64, String, String, bool, f64, i16)> = rows
                        .iter()
                        .map(|r| (r.get(0), r.get(1), r.get(2), r.get(3), r.get(4), r.get(5), r.get(6)))
                        .collect();
                    assert!(rows.len() == 1000 && rows[999].0 == 1000 && rows[999].3 == "second text 1000");
                    if !meter.add(1) {
                        return;
                    }
                }
            }
            Scenario::Copy => {
                let client = connect(folder).await;
                let mut ops = 0;
                loop {
                    client.batch_execute("truncate copied").await.unwrap();
                    let sink = client.copy_in(COPY).await.unwrap();
                    let writer = BinaryCopyInWriter::new(sink, &[Type::INT4, Type::INT8, Type::TEXT]);
                    futures_util::pin_mut!(writer);
                    for row in 0..COPY_ROWS {
                        let text = "a row of text";
                        writer.as_mut().write(&[&(row as i32), &(row as i64), &text]).await.unwrap();
                    }
                    let count = writer.finish().await.unwrap();
                    assert_eq!(count, COPY_ROWS);
                    ops += count;
                    if !meter.add(count) {
                        assert!(ops > 0);
                        return;
                    }
                }
            }
        }
    });
}
