//! may_minihttp and may_postgres: `peer-may ADDRESS CONNINFO POOL`. One worker thread, as the harness gives each server
//! one core. Connections are shared and pipelined, a Sync per query; statements are prepared once. Each HTTP connection
//! has a client of its own on one of them, as that client's documentation wants it.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use may_minihttp::{HttpService, HttpServiceFactory, Request, Response};
use may_postgres::{Client, Statement};
use oorandom::Rand32;
use serde::Serialize;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Serialize)]
struct World {
    id: i32,
    randomnumber: i32,
}

struct Statements {
    world: Statement,
    fortunes: Statement,
    update: Statement,
}

#[derive(Clone)]
struct Database {
    client: Client,
    statements: Arc<Statements>,
}

impl Database {
    fn connect(conninfo: &str) -> Self {
        let client = may_postgres::connect(conninfo).expect("a connection");
        let prepare = |sql| client.prepare(sql).expect("a statement");
        let world = prepare("SELECT id, randomnumber FROM world WHERE id = $1");
        let fortunes = prepare("SELECT id, message FROM fortune");
        let update = prepare(
            "UPDATE world SET randomnumber = w.r FROM (SELECT unnest($1::int4[]) AS i, unnest($2::int4[]) AS r) w \
             WHERE world.id = w.i",
        );
        Self { client, statements: Arc::new(Statements { world, fortunes, update }) }
    }

    fn worlds(&self, count: usize, random: &mut Rand32) -> Result<Vec<World>, may_postgres::Error> {
        let mut sent = Vec::with_capacity(count);
        for _ in 0..count {
            let id = number(random);
            sent.push(self.client.query_raw(&self.statements.world, &[&id])?);
        }
        let mut list = Vec::with_capacity(count);
        for mut rows in sent {
            let row = rows.next().expect("a row")?;
            list.push(World { id: row.get(0), randomnumber: row.get(1) });
        }
        Ok(list)
    }

    fn update(&self, count: usize, random: &mut Rand32) -> Result<Vec<World>, may_postgres::Error> {
        let mut list = self.worlds(count, random)?;
        list.sort_by_key(|world| world.id);
        for world in &mut list {
            world.randomnumber = number(random);
        }
        let ids: Vec<i32> = list.iter().map(|world| world.id).collect();
        let numbers: Vec<i32> = list.iter().map(|world| world.randomnumber).collect();
        self.client.execute(&self.statements.update, &[&ids, &numbers])?;
        Ok(list)
    }

    fn fortunes(&self) -> Result<Vec<u8>, may_postgres::Error> {
        let mut list = vec![(0, "Additional fortune added at request time.".to_owned())];
        for row in self.client.query_raw(&self.statements.fortunes, &[])? {
            let row = row?;
            list.push((row.get(0), row.get(1)));
        }
        list.sort_by(|a, b| a.1.cmp(&b.1));
        let mut html = String::with_capacity(2048);
        html.push_str("<!DOCTYPE html><html><head><title>Fortunes</title></head><body><table><tr><th>id</th><th>message</th></tr>");
        for (id, message) in &list {
            let _ = write!(html, "<tr><td>{id}</td><td>");
            escape(&mut html, message);
            html.push_str("</td></tr>");
        }
        html.push_str("</table></body></html>");
        Ok(html.into_bytes())
    }
}

fn number(random: &mut Rand32) -> i32 {
    (random.rand_u32() % 10_000 + 1) as i32
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

struct Service {
    database: Database,
    random: Rand32,
}

impl HttpService for Service {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        let failed = |error: may_postgres::Error| io::Error::other(error.to_string());
        let (path, count) = match request.path().split_once("?q=") {
            Some((path, count)) => (path, count.parse().unwrap_or(1).clamp(1, 500)),
            None => (request.path(), 1),
        };
        match path {
            "/db" => {
                response.header("Content-Type: application/json");
                let list = self.database.worlds(1, &mut self.random).map_err(failed)?;
                response.body_vec(serde_json::to_vec(&list[0])?);
            }
            "/queries" => {
                response.header("Content-Type: application/json");
                let list = self.database.worlds(count, &mut self.random).map_err(failed)?;
                response.body_vec(serde_json::to_vec(&list)?);
            }
            "/updates" => {
                response.header("Content-Type: application/json");
                let list = self.database.update(count, &mut self.random).map_err(failed)?;
                response.body_vec(serde_json::to_vec(&list)?);
            }
            "/fortunes" => {
                response.header("Content-Type: text/html; charset=utf-8");
                response.body_vec(self.database.fortunes().map_err(failed)?);
            }
            _ => {
                response.status_code(404, "Not Found");
            }
        }
        Ok(())
    }
}

struct Factory {
    pool: Vec<Database>,
}

impl HttpServiceFactory for Factory {
    type Service = Service;

    fn new_service(&self, id: usize) -> Service {
        Service { database: self.pool[id % self.pool.len()].clone(), random: Rand32::new(id as u64) }
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().expect("peer-may ADDRESS CONNINFO POOL");
    let (address, conninfo, size) = (next(), next(), next());
    may::config().set_workers(1).set_pool_capacity(1000).set_stack_size(0x2000);
    let size: usize = size.parse().expect("a number of connections");
    // In coroutines, so that their sockets belong to the worker.
    let connect = |_| {
        let conninfo = conninfo.clone();
        may::go!(move || Database::connect(&conninfo)).join().expect("a connection")
    };
    let server = Factory { pool: (0..size).map(connect).collect() };
    server.start(address).expect("an address").join().expect("serves");
}
