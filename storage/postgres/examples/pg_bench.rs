//! Client CPU per single-row select by id, at 1, 16 and 64 queries in flight.
//!
//! `cargo run --release -p forebay-postgres --example pg_bench [URL [SECONDS]]`; without a URL it starts a private
//! server. The loop is poll(2), read, write over unix sockets: no io_uring, no VM. Each row is checked.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench: poll(2), getrusage(2) and a clock are its business"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use forebay_base::limits::DatabaseLimits;
use forebay_base::{Monotonic, ValueError, ValueSink};
use forebay_postgres::blocking::Client;
use forebay_postgres::{Action, Config, Delivery, Event, Link, Param, Pool, Receiver, Shape, Sql, Token};

/// Sums the integers of a row; what a sink costs at least.
#[derive(Default)]
struct Sum {
    total: i64,
    bytes: usize,
}

impl Receiver for Sum {
    fn sink(&mut self, _: Token) -> Option<&mut dyn ValueSink> {
        Some(self)
    }
}

type Done = Result<(), ValueError>;

impl ValueSink for Sum {
    fn undefined(&mut self) -> Done {
        panic!("a row is missing")
    }
    fn null(&mut self) -> Done {
        Ok(())
    }
    fn bool(&mut self, _: bool) -> Done {
        Ok(())
    }
    fn int(&mut self, value: i64) -> Done {
        self.total += value;
        Ok(())
    }
    fn float(&mut self, _: f64) -> Done {
        Ok(())
    }
    fn big_int(&mut self, _: &str) -> Done {
        Ok(())
    }
    fn decimal(&mut self, _: &str) -> Done {
        Ok(())
    }
    fn str(&mut self, value: &str) -> Done {
        self.bytes += value.len();
        Ok(())
    }
    fn bytes(&mut self, _: &[u8]) -> Done {
        Ok(())
    }
    fn timestamp(&mut self, _: i64) -> Done {
        Ok(())
    }
    fn begin_list(&mut self, _: Option<usize>) -> Done {
        Ok(())
    }
    fn end_list(&mut self) -> Done {
        Ok(())
    }
    fn begin_map(&mut self, _: Option<usize>) -> Done {
        Ok(())
    }
    fn key(&mut self, _: &str) -> Done {
        Ok(())
    }
    fn end_map(&mut self) -> Done {
        Ok(())
    }
    fn begin_row(&mut self, _: &[Box<str>]) -> Done {
        Ok(())
    }
    fn end_row(&mut self) -> Done {
        Ok(())
    }
}

const ROWS: i64 = 10_000;

fn cpu() -> (Duration, Duration) {
    // SAFETY: an all-zero rusage is a valid one, and getrusage(2) only writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage), 0);
        usage
    };
    let time = |t: libc::timeval| {
        Duration::from_micros(
            u64::try_from(t.tv_sec).unwrap() * 1_000_000 + u64::try_from(t.tv_usec).unwrap(),
        )
    };
    (time(usage.ru_utime), time(usage.ru_stime))
}

struct Bench {
    pool: Pool,
    sockets: Vec<Option<(Link, UnixStream)>>,
    start: Instant,
    sink: Sum,
    next: i64,
    expected: i64,
    done: u64,
}

impl Bench {
    fn now(&self) -> Monotonic {
        Monotonic(u64::try_from(self.start.elapsed().as_nanos()).unwrap())
    }

    fn select(&mut self, now: Monotonic, sql: &Sql<'_>) {
        self.next += 1;
        let id = self.next % ROWS;
        self.expected += id * 3;
        let token = Token(u64::try_from(self.next).unwrap());
        self.pool.query(token, sql, &[Param::Int(id)], Shape::First, Delivery::Whole, now).unwrap();
    }

    fn act(&mut self) {
        while let Some(action) = self.pool.poll_action() {
            match action {
                Action::Connect { link } => {
                    let stream = UnixStream::connect(self.pool.config().unix_socket().unwrap()).unwrap();
                    stream.set_nonblocking(true).unwrap();
                    self.sockets[link.index as usize] = Some((link, stream));
                    self.pool.handle_connected(link);
                }
                Action::Send { link, bytes } => {
                    let (_, stream) = self.sockets[link.index as usize].as_mut().unwrap();
                    stream.write_all(&bytes).unwrap();
                    self.pool.handle_sent(link, bytes);
                }
                Action::Close { .. } | Action::Cancel { .. } | Action::Compute { .. } => {
                    panic!("{:?}", self.pool.stats())
                }
            }
        }
    }

    /// Waits, receives, and starts a query for each that is done.
    fn turn(&mut self, sql: &Sql<'_>, buffer: &mut [u8], refill: bool) {
        self.act();
        let mut polls: Vec<libc::pollfd> = self
            .sockets
            .iter()
            .flatten()
            .map(|(_, stream)| libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLIN, revents: 0 })
            .collect();
        // SAFETY: `polls` is an array of this length and lives over the call.
        let ready = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, 5000) };
        assert!(ready > 0, "no answer: {:?}", self.pool.stats());
        let now = self.now();
        for index in 0..self.sockets.len() {
            let Some((link, stream)) = &mut self.sockets[index] else { continue };
            if !polls.iter().any(|p| p.fd == stream.as_raw_fd() && p.revents != 0) {
                continue;
            }
            let count = match stream.read(buffer) {
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::WouldBlock => continue,
                Err(e) => panic!("{e}"),
            };
            assert!(count > 0, "the server closed the connection");
            self.pool.handle_bytes(*link, &buffer[..count], now, &mut self.sink);
        }
        while let Some(event) = self.pool.poll_event() {
            if let Event::Done { result, .. } = event {
                result.unwrap();
                self.done += 1;
                if refill {
                    self.select(now, sql);
                }
            }
        }
    }
}

fn run(config: &Config, in_flight: usize, connections: usize, seconds: f64) {
    let limits = DatabaseLimits { connections, window: 64, ..DatabaseLimits::default() };
    let mut bench = Bench {
        pool: Pool::new(config.clone(), limits, 1, Monotonic(0)),
        sockets: (0..connections).map(|_| None).collect(),
        start: Instant::now(),
        sink: Sum::default(),
        next: 0,
        expected: 0,
        done: 0,
    };
    let sql = Sql::read("SELECT \"id\", \"name\", \"n\" FROM \"bench\" WHERE \"id\" = $1");
    let mut buffer = vec![0; 64 * 1024];
    while bench.pool.stats().ready < connections {
        bench.turn(&sql, &mut buffer, false);
    }
    for _ in 0..in_flight {
        let now = bench.now();
        bench.select(now, &sql);
    }
    let warm = Instant::now();
    while warm.elapsed().as_secs_f64() < seconds / 10.0 {
        bench.turn(&sql, &mut buffer, true);
    }
    let (before, done, start) = (cpu(), bench.done, Instant::now());
    while start.elapsed().as_secs_f64() < seconds {
        for _ in 0..64 {
            bench.turn(&sql, &mut buffer, true);
        }
    }
    let (wall, after, count) = (start.elapsed(), cpu(), bench.done - done);
    while bench.pool.stats().in_flight > 0 {
        bench.turn(&sql, &mut buffer, false);
    }
    assert_eq!(bench.sink.total, bench.expected, "every row is the one asked for");
    let micros = |a: Duration, b: Duration| (a - b).as_secs_f64() * 1e6 / count as f64;
    println!(
        "c={in_flight:<3} connections={connections} {count:>9} selects  {:>8.0} q/s  client CPU {:.2} us/q (user {:.2}, system {:.2})",
        count as f64 / wall.as_secs_f64(),
        micros(after.0, before.0) + micros(after.1, before.1),
        micros(after.0, before.0),
        micros(after.1, before.1),
    );
}

fn main() {
    let mut args = std::env::args().skip(1);
    let mut server = None;
    let config = match args.next() {
        Some(url) => Config::parse(&url, &|name| std::env::var(name).ok()).unwrap(),
        None => server.insert(common::Server::start()).config(),
    };
    let seconds = args.next().map_or(3.0, |text| text.parse().unwrap());
    Client::connect(&config)
        .unwrap()
        .batch(&format!(
            "drop table if exists bench; create table bench (id int4 primary key, name text, n int4);
             insert into bench select g, 'name ' || g, 2 * g from generate_series(0, {}) g; analyze bench",
            ROWS - 1
        ))
        .unwrap();
    for (in_flight, connections) in [(1, 1), (16, 2), (64, 2), (16, 4), (64, 4)] {
        run(&config, in_flight, connections, seconds);
    }
}
