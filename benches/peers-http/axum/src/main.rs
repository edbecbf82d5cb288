//! axum and deadpool-postgres: `peer-axum ADDRESS CONNINFO POOL`. One thread, as the harness gives each server one core.
//!
//! The four kinds of TechEmpower that need a database. Statements are prepared once per connection, the reads of one
//! request go out together with a Sync each, as tokio-postgres does by itself.

use std::fmt::Write as _;

use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio_postgres::NoTls;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WORLD: &str = "SELECT id, randomnumber FROM world WHERE id = $1";
const FORTUNES: &str = "SELECT id, message FROM fortune";
const UPDATE: &str = "UPDATE world SET randomnumber = w.r FROM (SELECT unnest($1::int4[]) AS i, unnest($2::int4[]) AS r) w \
                      WHERE world.id = w.i";

#[derive(Serialize)]
struct World {
    id: i32,
    randomnumber: i32,
}

#[derive(Deserialize)]
struct Count {
    q: Option<usize>,
}

fn ids(count: usize) -> Vec<i32> {
    let mut random = SmallRng::from_rng(&mut rand::rng());
    (0..count).map(|_| random.random_range(1..=10_000)).collect()
}

async fn worlds(pool: &Pool, count: usize) -> Vec<World> {
    let client = pool.get().await.expect("a connection");
    let statement = client.prepare_cached(WORLD).await.expect("a statement");
    let each = ids(count).into_iter().map(|id| {
        let (client, statement) = (&client, &statement);
        async move {
            let row = client.query_one(statement, &[&id]).await.expect("a row");
            World { id: row.get(0), randomnumber: row.get(1) }
        }
    });
    futures_util::future::join_all(each).await
}

async fn db(State(pool): State<Pool>) -> Json<World> {
    let mut list = worlds(&pool, 1).await;
    Json(list.remove(0))
}

async fn queries(State(pool): State<Pool>, Query(count): Query<Count>) -> Json<Vec<World>> {
    Json(worlds(&pool, count.q.unwrap_or(1).clamp(1, 500)).await)
}

async fn updates(State(pool): State<Pool>, Query(count): Query<Count>) -> Json<Vec<World>> {
    let count = count.q.unwrap_or(1).clamp(1, 500);
    let mut list = worlds(&pool, count).await;
    list.sort_by_key(|world| world.id);
    let fresh = ids(count);
    for (world, number) in list.iter_mut().zip(&fresh) {
        world.randomnumber = *number;
    }
    let client = pool.get().await.expect("a connection");
    let statement = client.prepare_cached(UPDATE).await.expect("a statement");
    let keys: Vec<i32> = list.iter().map(|world| world.id).collect();
    client.execute(&statement, &[&keys, &fresh]).await.expect("an update");
    Json(list)
}

async fn fortunes(State(pool): State<Pool>) -> Response {
    let client = pool.get().await.expect("a connection");
    let statement = client.prepare_cached(FORTUNES).await.expect("a statement");
    let rows = client.query(&statement, &[]).await.expect("rows");
    let mut list: Vec<(i32, &str)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    list.push((0, "Additional fortune added at request time."));
    list.sort_by_key(|(_, message)| *message);
    let mut html = String::with_capacity(2048);
    html.push_str("<!DOCTYPE html><html><head><title>Fortunes</title></head><body><table><tr><th>id</th><th>message</th></tr>");
    for (id, message) in list {
        let _ = write!(html, "<tr><td>{id}</td><td>");
        escape(&mut html, message);
        html.push_str("</td></tr>");
    }
    html.push_str("</table></body></html>");
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], Html(html)).into_response()
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().expect("peer-axum ADDRESS CONNINFO POOL");
    let (address, conninfo, size) = (next(), next(), next());
    let config = conninfo.parse().expect("a connection string");
    let manager =
        Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    let size = size.parse().expect("a number of connections");
    let pool = Pool::builder(manager).max_size(size).build().expect("a pool");
    let app = axum::Router::new()
        .route("/db", get(db))
        .route("/queries", get(queries))
        .route("/updates", get(updates))
        .route("/fortunes", get(fortunes))
        .with_state(pool);
    let listener = tokio::net::TcpListener::bind(&address).await.expect("an address");
    axum::serve(listener, app).await.expect("serves");
}
