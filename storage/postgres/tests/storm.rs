//! A storm: random work (reads that share Syncs, writes, transactions, COPY in and out, cursors, LISTEN, statements that
//! are cancelled) while backends are killed, connections broken, the server restarted, its places taken, and, where the
//! kernel has network namespaces and tc(8), packets delayed and dropped. An oracle knows what every task may see: each answer belongs to its question, an acknowledged write is there exactly
//! once, a refused one isn't, a lost one is there once or not at all, a transaction and a COPY are whole, a notification
//! that is missing had a gap.
//!
//! `STORM_SECONDS=300 STORM_SEED=7 cargo test -p forebay-postgres --test storm` for longer; 30 s otherwise.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test; helpers outside of #[test] functions unwrap too; it has a clock"
)]

mod common;
#[path = "common/driver.rs"]
mod driver;
#[path = "common/splitter.rs"]
mod splitter;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::Server;
use driver::{Copy, Driver};
use forebay_base::limits::DatabaseLimits;
use forebay_base::rng::Rng;
use forebay_base::{Monotonic, Value};
use forebay_postgres::blocking::Client;
use forebay_postgres::config::Host;
use forebay_postgres::{Complete, Config, Delivery, Param, QueryError, Shape, Token};
use splitter::Splitter;

type Answer = Result<(Complete, Value), QueryError>;

/// What a task waits for.
enum Task {
    /// A read whose answer is this.
    Read(i64),
    /// `count` rows from `first` on.
    Rows { first: i64, count: i64 },
    /// It can only fail, with one of these codes.
    Fails(&'static [&'static str]),
    /// Too long for the limit.
    Large,
    /// Sleeps, then answers; the server's timeout may end it.
    Slow(i64),
    /// One row with this number.
    Insert(i64),
    /// This many rows with this number, or none.
    CopyIn { id: i64, rows: i64 },
    /// Lists from `first` on.
    CopyOut { first: i64, count: i64 },
    /// Rows from `next` to `last` in parts, in a transaction of its own.
    Cursor { transaction: Token, next: i64, last: i64, step: CursorStep },
    /// Two rows with this number, or none.
    Transaction { id: i64, transaction: Token, step: Step, commit: bool },
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Begin,
    First,
    Second,
    /// `true`: its statements went well.
    End(bool),
}

#[derive(Clone, Copy, PartialEq)]
enum CursorStep {
    Begin,
    Fetch,
    End,
}

/// What the table may hold of a number.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Exactly(i64),
    /// Nobody knows: none or this many.
    Maybe(i64),
}

struct Storm {
    driver: Driver,
    rng: Rng,
    tasks: BTreeMap<Token, Task>,
    /// Statements of transactions whose answers only say that they may go on.
    locks: BTreeSet<Token>,
    fates: BTreeMap<i64, Fate>,
    next: i64,
    counts: BTreeMap<&'static str, u64>,
    /// Tasks that were drawn; reads that were answered, and those of them that were answered right.
    drawn: u64,
    reads: (u64, u64),
    /// The last notification that was sent, and the last that was heard.
    sent: i64,
    heard: i64,
}

const LIMIT: usize = 300_000;

impl Storm {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn start(&mut self) {
        self.next += 1;
        self.drawn += 1;
        let n = self.next;
        let driver = &mut self.driver;
        let whole = Delivery::Whole;
        let delivery = if self.rng.one_in(3) { Delivery::Streaming } else { whole };
        let (token, task) = match self.rng.below(KINDS) {
            // Several at once: a connection has to live through a few of them before they share Syncs.
            0..8 => {
                let sql = "select $1::int8 * 3";
                for _ in 0..self.rng.below(16) {
                    let token = driver.start(sql, &[Param::Int(self.next)], Shape::Scalar, whole);
                    self.tasks.insert(token, Task::Read(self.next * 3));
                    self.next += 1;
                }
                let n = self.next;
                (driver.start(sql, &[Param::Int(n)], Shape::Scalar, whole), Task::Read(n * 3))
            }
            8..11 => {
                let count = i64::try_from(self.rng.below(300)).unwrap();
                let sql = "select g from generate_series($1::int8, $1::int8 + $2::int8 - 1) g";
                let params = [Param::Int(n), Param::Int(count)];
                (driver.start(sql, &params, Shape::Rows, delivery), Task::Rows { first: n, count })
            }
            11 => (
                driver.start("select 1 / ($1::int8 - $1::int8)", &[Param::Int(n)], Shape::Scalar, whole),
                Task::Fails(&["22012"]),
            ),
            12 => (
                driver.start(
                    "select repeat('x', 400000 + $1::int4 % 9)",
                    &[Param::Int(n)],
                    Shape::Scalar,
                    delivery,
                ),
                Task::Large,
            ),
            13 => {
                let sql = "select $1::int8 from pg_sleep($2)";
                let seconds = if self.rng.one_in(10) { 1.0 } else { 0.03 };
                let params = [Param::Int(n), Param::Float(seconds)];
                (driver.start(sql, &params, Shape::Scalar, whole), Task::Slow(n))
            }
            14..17 => {
                self.fates.insert(n, Fate::Maybe(1));
                let sql = "insert into storm values ($1)";
                (driver.start(sql, &[Param::Int(n)], Shape::Affected, whole), Task::Insert(n))
            }
            20 => {
                // Sometimes more than one part.
                let rows =
                    if self.rng.one_in(4) { 9000 } else { 1 + i64::try_from(self.rng.below(50)).unwrap() };
                self.fates.insert(n, Fate::Maybe(rows));
                let list = Rc::new(vec![vec![Value::Int(n)]; usize::try_from(rows).unwrap()]);
                let copy = Copy::In("copy storm from stdin".into(), list, 0);
                (driver.copy(None, Some("insert into storm values ($1)"), copy), Task::CopyIn { id: n, rows })
            }
            21 => {
                let count = i64::try_from(self.rng.below(2000)).unwrap();
                let select = format!("select g from generate_series({n}::int8, {}) g", n + count - 1);
                let copy = Copy::Out(format!("copy ({select}) to stdout"), Shape::Lists);
                let types = Some("select g from generate_series(1::int8, 2) g");
                (driver.copy(None, types, copy), Task::CopyOut { first: n, count })
            }
            22 => {
                let transaction = driver.begin();
                let last = n + i64::try_from(self.rng.below(120)).unwrap();
                (transaction, Task::Cursor { transaction, next: n, last, step: CursorStep::Begin })
            }
            _ => {
                self.fates.insert(n, Fate::Exactly(0));
                let transaction = driver.begin();
                let commit = !self.rng.one_in(4);
                (transaction, Task::Transaction { id: n, transaction, step: Step::Begin, commit })
            }
        };
        self.tasks.insert(token, task);
    }

    /// A failure that the storm itself explains.
    fn excused(&mut self, error: &QueryError) {
        match error {
            QueryError::Unavailable(_) => self.count("unavailable"),
            QueryError::Lost { .. } => self.count("lost"),
            QueryError::Server(error) => {
                // The server shuts down, starts up, was told to stop, has no place, ran out of time, found a deadlock.
                let known = ["57P01", "57P02", "57P03", "53300", "57014", "40P01"];
                assert!(known.contains(&&*error.code), "{error}");
                self.count("refused by the server");
            }
            other => panic!("{other}"),
        }
    }

    fn answered(&mut self, token: Token, answer: Answer) {
        if self.locks.remove(&token) {
            return;
        }
        let Some(task) = self.tasks.remove(&token) else { panic!("an answer that nobody waits for") };
        if matches!(task, Task::Read(_)) {
            self.reads.0 += 1;
            self.reads.1 += u64::from(answer.is_ok());
        }
        match (task, answer) {
            (Task::Read(expect) | Task::Slow(expect), Ok((_, value))) => {
                assert_eq!(value, Value::Int(expect));
                self.count("right");
            }
            (Task::Rows { first, count }, Ok((complete, value))) => {
                let Value::List(rows) = value else { panic!("{value:?}") };
                assert_eq!(rows.len(), usize::try_from(count).unwrap());
                assert_eq!(complete.rows, rows.len() as u64);
                for (row, n) in rows.iter().zip(first..) {
                    assert_eq!(row.get("g"), Some(&Value::Int(n)));
                }
                self.count("right");
            }
            (Task::Fails(codes), Err(QueryError::Server(error))) if codes.contains(&&*error.code) => {
                self.count("right");
            }
            (Task::Large, Err(QueryError::ResultTooLarge { limit: LIMIT })) => self.count("right"),
            (Task::Fails(_) | Task::Large, Ok((_, value))) => {
                panic!("an answer where there is none: {value:?}")
            }
            (Task::Insert(id), answer) => {
                let fate = match &answer {
                    Ok((complete, _)) => {
                        assert_eq!(complete.affected, 1);
                        self.count("right");
                        Fate::Exactly(1)
                    }
                    Err(QueryError::Lost { unknown_outcome: true, .. }) => Fate::Maybe(1),
                    Err(_) => Fate::Exactly(0),
                };
                self.fates.insert(id, fate);
                if let Err(error) = answer {
                    self.excused(&error);
                }
            }
            (Task::CopyIn { id, rows }, answer) => {
                let fate = match &answer {
                    Ok((complete, _)) => {
                        assert_eq!(complete.affected, u64::try_from(rows).unwrap());
                        self.count("copied in");
                        Fate::Exactly(rows)
                    }
                    Err(QueryError::Lost { unknown_outcome: true, .. }) => Fate::Maybe(rows),
                    Err(_) => Fate::Exactly(0),
                };
                self.fates.insert(id, fate);
                if let Err(error) = answer {
                    self.excused(&error);
                }
            }
            (Task::CopyOut { first, count }, Ok((_, value))) => {
                let expect = (first..first + count).map(|n| Value::List(vec![Value::Int(n)])).collect();
                assert_eq!(value, Value::List(expect));
                self.count("copied out");
            }
            (Task::Cursor { transaction, next, last, step }, answer) => {
                self.cursor(transaction, next, last, step, answer);
            }
            (Task::Transaction { id, transaction, step, commit }, answer) => {
                self.transaction(id, transaction, step, commit, answer);
            }
            (_, Err(error)) => self.excused(&error),
        }
    }

    fn transaction(&mut self, id: i64, transaction: Token, step: Step, commit: bool, answer: Answer) {
        let insert = "insert into storm values ($1)";
        let lock = "update locks set n = n + 1 where id = $1";
        let (token, step) = match (step, answer) {
            // A transaction that doesn't begin needs no end.
            (Step::Begin, Err(error)) => return self.excused(&error),
            (Step::Begin, Ok(_)) if self.rng.one_in(20) => {
                let now = self.driver.now();
                assert!(self.driver.pool.abandon(transaction, now));
                return self.count("abandoned");
            }
            (Step::Begin, Ok(_)) => {
                let param = [Param::Int(id)];
                (self.driver.start_in(transaction, insert, &param, Shape::Affected), Step::First)
            }
            (Step::First, Ok(_)) => {
                // Two locks in a random order: sometimes a deadlock.
                let (a, b) = if self.rng.one_in(2) { (1, 2) } else { (2, 1) };
                for row in [a, b] {
                    let token = self.driver.start_in(transaction, lock, &[Param::Int(row)], Shape::Affected);
                    self.locks.insert(token);
                }
                let param = [Param::Int(id)];
                (self.driver.start_in(transaction, insert, &param, Shape::Affected), Step::Second)
            }
            (Step::Second, Ok(_)) => {
                if commit {
                    self.fates.insert(id, Fate::Maybe(2));
                }
                (self.driver.end(transaction, commit), Step::End(true))
            }
            (Step::First | Step::Second, Err(error)) => {
                if !matches!(&error, QueryError::Server(e) if &*e.code == "25P02")
                    && !matches!(error, QueryError::Refused(_))
                {
                    self.excused(&error);
                }
                (self.driver.end(transaction, false), Step::End(false))
            }
            (Step::End(well), answer) => {
                let fate = match &answer {
                    Ok(_) if well && commit => Fate::Exactly(2),
                    Err(QueryError::Lost { unknown_outcome: true, .. }) if well && commit => Fate::Maybe(2),
                    _ => Fate::Exactly(0),
                };
                self.fates.insert(id, fate);
                match answer {
                    Ok(_) => self.count("right"),
                    // It was lost before.
                    Err(QueryError::Refused(_)) => self.count("over"),
                    Err(error) => self.excused(&error),
                }
                return;
            }
        };
        self.tasks.insert(token, Task::Transaction { id, transaction, step, commit });
    }

    fn cursor(&mut self, transaction: Token, mut next: i64, last: i64, step: CursorStep, answer: Answer) {
        const PART: u32 = 25;
        let rows = match (step, answer) {
            (CursorStep::Begin, Err(error)) => return self.excused(&error),
            (CursorStep::End, Ok(_)) => return self.count("cursors"),
            (CursorStep::End, Err(QueryError::Refused(_))) => return self.count("over"),
            (CursorStep::End, Err(error)) => return self.excused(&error),
            (CursorStep::Fetch, Err(error)) => {
                if !matches!(error, QueryError::Refused(_)) {
                    self.excused(&error);
                }
                Vec::new()
            }
            (CursorStep::Begin, Ok(_)) => {
                let sql = "select g from generate_series($1::int8, $2::int8) g";
                let params = [Param::Int(next), Param::Int(last)];
                let token = self.driver.fetch(transaction, (1, PART), Some((sql, &params)));
                let task = Task::Cursor { transaction, next, last, step: CursorStep::Fetch };
                self.tasks.insert(token, task);
                return;
            }
            (CursorStep::Fetch, Ok((_, Value::List(rows)))) => {
                let whole = rows.len() == PART as usize;
                assert!(whole || next + i64::try_from(rows.len()).unwrap() == last + 1, "a part is missing");
                rows
            }
            (CursorStep::Fetch, Ok((_, other))) => panic!("{other:?}"),
        };
        for row in &rows {
            assert_eq!(row.get("g"), Some(&Value::Int(next)));
            next += 1;
        }
        // Some are left before their end.
        let more = rows.len() == PART as usize && !self.rng.one_in(8);
        let (token, step) = match more {
            true => (self.driver.fetch(transaction, (1, PART), None), CursorStep::Fetch),
            false => (self.driver.end(transaction, !rows.is_empty()), CursorStep::End),
        };
        self.tasks.insert(token, Task::Cursor { transaction, next, last, step });
    }

    /// Notifications come in their order, none twice; one that is missing had a gap.
    fn listen(&mut self) {
        for line in std::mem::take(&mut self.driver.heard) {
            match line.strip_prefix("storm ") {
                Some(number) => {
                    let number: i64 = number.parse().unwrap();
                    let expect = if self.heard == i64::MAX { number } else { self.heard + 1 };
                    assert_eq!(number, expect, "a notification is missing, and nobody said so");
                    self.heard = number;
                    self.count("heard");
                }
                None => {
                    // What was sent until now may be lost; what comes is newer.
                    self.count(if line.ends_with("true") { "gaps" } else { "listening" });
                    self.heard = i64::MAX;
                }
            }
        }
    }

    /// Sends the next notification, if somebody listens.
    fn notify(&mut self, config: &Config) {
        let next = self.sent + 1;
        let Ok(mut client) = Client::connect(config) else { return };
        if client.batch(&format!("notify storm, '{next}'")).is_ok() {
            self.sent = next;
        } else {
            // Nobody knows; the next number tells.
            self.heard = i64::MAX;
        }
    }

    fn collect(&mut self) {
        self.listen();
        for (token, answer) in std::mem::take(&mut self.driver.done) {
            self.answered(token, answer);
        }
    }

    /// The task is gone; its row may come or not, but never to somebody else.
    fn abandon_one(&mut self) {
        let which = usize::try_from(self.rng.below(64)).unwrap();
        let Some(token) = self.tasks.keys().nth(which).copied() else { return };
        match self.tasks[&token] {
            Task::Read(_) | Task::Slow(_) | Task::Rows { .. } | Task::Large | Task::CopyOut { .. } => {}
            // Its last byte may have left.
            Task::CopyIn { id, rows } => {
                self.fates.insert(id, Fate::Maybe(rows));
            }
            _ => return,
        }
        // Not if its answer is waiting to be collected.
        if self.driver.abandon(token) {
            self.driver.forget(token);
            self.tasks.remove(&token);
            self.count("abandoned");
        }
    }

    fn check_table(&mut self, config: &Config) {
        let mut client = Client::connect(config).unwrap();
        let rows = client.rows("select n, count(*) as c from storm group by n", &[]).unwrap();
        let mut found: BTreeMap<i64, i64> = BTreeMap::new();
        for row in rows {
            let (Some(Value::Int(n)), Some(Value::Int(c))) = (row.get("n"), row.get("c")) else {
                panic!("{row:?}")
            };
            found.insert(*n, *c);
        }
        for (id, fate) in &self.fates {
            let count = found.remove(id).unwrap_or(0);
            match fate {
                Fate::Exactly(expect) => assert_eq!(count, *expect, "number {id}"),
                Fate::Maybe(most) => assert!(count == 0 || count == *most, "number {id}: {count} of {most}"),
            }
        }
        assert_eq!(found, BTreeMap::new(), "rows that nobody wrote");
    }
}

/// One thing that goes wrong, or none.
fn chaos(storm: &mut Storm, server: &Server, config: &Config, held: &mut Vec<Client>, netem: bool) {
    if netem {
        // Delay and loss, or none: what is in flight has to cope with both and with the change.
        let list = faults();
        let fault = list.get(usize::try_from(storm.rng.below(2 * list.len() as u64)).unwrap());
        network(fault.copied());
        if fault.is_some() {
            storm.count("network faults");
        }
    }
    match storm.rng.below(10) {
        0..3 => {
            let sql = "select pg_terminate_backend(pid) from pg_stat_activity
                 where application_name = 'storm' order by random() limit 1";
            if Client::connect(config).is_ok_and(|mut client| client.rows(sql, &[]).is_ok()) {
                storm.count("backends killed");
            }
        }
        3..5 => {
            let which = storm.rng.next_u64();
            storm.driver.break_one(which);
            storm.count("connections broken");
        }
        5 => {
            held.clear();
            while held.len() < 70
                && let Ok(client) = Client::connect(config)
            {
                held.push(client);
            }
            storm.count("places taken");
        }
        6 => {
            held.clear();
            server.down();
            server.up();
            storm.count("restarts");
        }
        _ => held.clear(),
    }
}

fn command(line: &str) -> bool {
    let mut words = line.split(' ');
    let output = std::process::Command::new(words.next().unwrap()).args(words).output();
    output.is_ok_and(|output| output.status.success())
}

/// What the network of this namespace does to packets from now on: a queueing discipline, or `down`.
fn network(fault: Option<&str>) -> bool {
    let up = command("ip link set lo up");
    match fault {
        Some("down") => command("ip link set lo down"),
        Some(fault) => up && command(&format!("tc qdisc replace dev lo root {fault}")),
        None => {
            let _ = command("tc qdisc del dev lo root");
            up
        }
    }
}

/// netem where the kernel has it; else a token bucket, which delays what is too much and drops what is far too much.
/// Without the link every packet is lost.
fn faults() -> &'static [&'static str] {
    static FAULTS: std::sync::OnceLock<&[&str]> = std::sync::OnceLock::new();
    FAULTS.get_or_init(|| {
        let all: [&[&str]; 2] = [
            &["netem delay 4ms 3ms", "netem loss 4%", "netem delay 20ms loss 2%", "down"],
            &["tbf rate 8mbit burst 4kb latency 20ms", "tbf rate 20mbit burst 4kb latency 300ms", "down"],
        ];
        let found = all.into_iter().find(|faults| network(Some(faults[0]))).unwrap_or_default();
        network(None);
        found
    })
}

/// Puts this thread, and the processes that it starts, into a network of their own. False where that isn't allowed or
/// the kernel can't do anything to packets.
#[expect(unsafe_code, reason = "unshare(2) has no wrapper in std")]
fn own_network() -> bool {
    // SAFETY: it changes the namespace of this thread and touches no memory.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return false;
    }
    // Small packets: a token bucket drops those that are larger than it is.
    network(None) && command("ip link set lo mtu 1500") && !faults().is_empty()
}

#[test]
fn nobody_gets_anothers_answer_and_nothing_is_lost() {
    storm(Network::Unix);
}

#[test]
fn nor_where_every_read_comes_in_pieces() {
    storm(Network::Pieces);
}

#[test]
fn nor_where_packets_are_delayed_and_dropped() {
    if !own_network() {
        eprintln!("no network namespace of our own here, or no tc: not run");
        return;
    }
    storm(Network::Faulty);
}

/// What is between client and server.
#[derive(Clone, Copy, PartialEq)]
enum Network {
    Unix,
    /// A proxy that splits.
    Pieces,
    /// TCP whose packets are delayed and dropped.
    Faulty,
}

/// How long, and the seed.
fn settings() -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    (number("STORM_SECONDS").unwrap_or(30), number("STORM_SEED").unwrap_or(1))
}

fn storm(between: Network) {
    let (seconds, seed) = settings();
    let netem = between == Network::Faulty;
    eprintln!("STORM_SECONDS={seconds} STORM_SEED={seed} cargo test -p forebay-postgres --test storm");
    let server = if netem { Server::start_tcp(5432) } else { Server::start() };
    let admin = server.config();
    Client::connect(&admin)
        .unwrap()
        .batch("create table storm (n int8); create table locks (id int4, n int8); insert into locks values (1, 0), (2, 0)")
        .unwrap();
    let options = "-c statement_timeout=600ms -c deadlock_timeout=50ms".to_owned();
    let mut config = Config { application_name: "storm".into(), options, ..admin.clone() };
    if netem {
        config.host = Host::Tcp("127.0.0.1".into());
    }
    let splitter = (between == Network::Pieces).then(|| {
        let splitter = Splitter::start(&admin.unix_socket().unwrap(), seed);
        config.host = Host::Unix(splitter.folder.path().to_owned());
        splitter
    });
    let limits = DatabaseLimits {
        connections: 3,
        transactions: 4,
        result_bytes: LIMIT,
        acquire_timeout: Duration::from_secs(1),
        lifetime: Duration::from_secs(3),
        idle_check: Duration::from_millis(500),
        ..DatabaseLimits::default()
    };
    let mut storm = Storm {
        driver: Driver::new(config, limits),
        rng: Rng::new(seed),
        tasks: BTreeMap::new(),
        locks: BTreeSet::new(),
        fates: BTreeMap::new(),
        next: 0,
        counts: BTreeMap::new(),
        drawn: 0,
        reads: (0, 0),
        sent: 0,
        heard: i64::MAX,
    };
    storm.driver.pool.listen(&["storm"], Monotonic(0)).unwrap();
    let (start, mut held, mut next_chaos) = (Instant::now(), Vec::new(), Duration::from_millis(500));
    while start.elapsed() < Duration::from_secs(seconds) {
        while storm.tasks.len() < 60 {
            storm.start();
        }
        if splitter.is_some() {
            storm.driver.read_bytes = 1 << storm.rng.below(17);
        }
        storm.driver.turn(Duration::from_millis(5));
        storm.collect();
        if storm.rng.one_in(20) {
            storm.abandon_one();
        }
        if start.elapsed() >= next_chaos {
            next_chaos += Duration::from_millis(200);
            chaos(&mut storm, &server, &admin, &mut held, netem);
        }
        if storm.rng.one_in(30) {
            storm.notify(&admin);
        }
    }
    drop(held);
    storm.driver.read_bytes = 64 * 1024;
    if netem {
        network(None);
    }
    // Every task is answered, every connection comes back, nothing is left over.
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        storm.driver.turn(Duration::from_millis(5));
        storm.collect();
        let stats = storm.driver.pool.stats();
        let idle = stats.in_flight == 0 && stats.queued == 0 && stats.transactions == 0;
        if storm.tasks.is_empty() && storm.locks.is_empty() && idle && stats.ready >= 3 {
            break;
        }
        assert!(Instant::now() < limit, "{} tasks are stuck: {stats:?}", storm.tasks.len());
    }
    assert!(storm.driver.sinks.0.is_empty());
    storm.check_table(&admin);
    let stats = storm.driver.pool.stats();
    eprintln!("{:?} {} cancelled {stats:?}", storm.counts, storm.driver.cancels);
    assert!(storm.counts["right"] > 100);
    // Where every answer is late no statement is fast enough to share (groups in pieces: `groups.rs`).
    assert!(stats.joined > 0 || between != Network::Unix, "no read shared a Sync: {stats:?}");
    if let Some(splitter) = splitter {
        let pieces = splitter.pieces.load(std::sync::atomic::Ordering::Relaxed);
        eprintln!("{pieces} pieces");
        assert!(pieces > 10_000);
    }
    let count = |what: &str| storm.counts.get(what).copied().unwrap_or(0);
    let (all, right) = storm.reads;
    for (what, turns) in [("copied in", 3), ("copied out", 3), ("cursors", 8)] {
        let expected = expected(storm.drawn, all, right, turns);
        eprintln!("{what}: {} of some {expected:.0} expected", count(what));
        assert!(!is_missing(expected, count(what)), "nothing was {what}: {:?}", storm.counts);
    }
    let blows = ["backends killed", "connections broken", "restarts"].map(count).iter().sum::<u64>();
    let heard = expected(u64::try_from(storm.sent).unwrap() * KINDS, all, right, 1);
    assert!(!is_missing(heard, count("heard")), "nothing was heard of {}: {:?}", storm.sent, storm.counts);
    assert!(blows < 20 || count("lost") > 0, "nothing was lost: {:?}", storm.counts);
    // Whether anything was unavailable is the machine's matter: a restart may take less time than a statement waits for a
    // connection. `pool.rs` has servers that stay away.
}

/// Kinds of tasks that [`Storm::start`] draws from, each as likely.
const KINDS: u64 = 24;

/// How many tasks of one kind should have come to their end: as many as were drawn, if each of the `turns` that such a
/// task waits for goes as well as one read does. On a machine where most reads are late that is next to nothing.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn expected(drawn: u64, reads: u64, right: u64, turns: i32) -> f64 {
    drawn as f64 / KINDS as f64 * (right as f64 / reads.max(1) as f64).powi(turns)
}

/// None of a kind, where chance can't be the reason.
fn is_missing(expected: f64, found: u64) -> bool {
    found == 0 && expected >= 10.0
}

#[test]
fn a_kind_that_never_comes_to_its_end_is_missed_where_enough_was_asked_for() {
    // A run of 30 s as they are: 5000 tasks, nine reads of ten right.
    assert!(is_missing(expected(5000, 2000, 1800, 8), 0));
    assert!(is_missing(expected(5000, 2000, 1800, 3), 0));
    assert!(!is_missing(expected(5000, 2000, 1800, 8), 1));
    // A starved machine: few were drawn, half of the reads in time.
    assert!(!is_missing(expected(400, 150, 70, 8), 0));
    assert!(is_missing(expected(5000, 2000, 1000, 3), 0));
    assert!(!is_missing(expected(0, 0, 0, 3), 0));
}
