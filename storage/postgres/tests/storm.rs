//! A storm: random work while backends are killed, connections broken, the server restarted and its places taken.
//! An oracle knows what every task may see: each answer belongs to its question, an acknowledged write is there exactly
//! once, a refused one isn't, a lost one is there once or not at all, a transaction is whole.
//!
//! `STORM_SECONDS=300 STORM_SEED=7 cargo test -p forebay-postgres --test storm` for longer; 8 s otherwise.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test; helpers outside of #[test] functions unwrap too; it has a clock"
)]

mod common;
#[path = "common/driver.rs"]
mod driver;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::Server;
use driver::Driver;
use forebay_base::Value;
use forebay_base::limits::DatabaseLimits;
use forebay_base::rng::Rng;
use forebay_postgres::blocking::Client;
use forebay_postgres::{Complete, Config, Delivery, Param, QueryError, Shape, Token};

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
}

const LIMIT: usize = 300_000;

impl Storm {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn start(&mut self) {
        self.next += 1;
        let n = self.next;
        let driver = &mut self.driver;
        let whole = Delivery::Whole;
        let delivery = if self.rng.one_in(3) { Delivery::Streaming } else { whole };
        let (token, task) = match self.rng.below(20) {
            0..8 => {
                let sql = "select $1::int8 * 3";
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

    fn collect(&mut self) {
        for (token, answer) in std::mem::take(&mut self.driver.done) {
            self.answered(token, answer);
        }
    }

    /// The task is gone; its row may come or not, but never to somebody else.
    fn abandon_one(&mut self) {
        let which = usize::try_from(self.rng.below(64)).unwrap();
        let Some(token) = self.tasks.keys().nth(which).copied() else { return };
        if !matches!(self.tasks[&token], Task::Read(_) | Task::Slow(_) | Task::Rows { .. } | Task::Large) {
            return;
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
fn chaos(storm: &mut Storm, server: &Server, config: &Config, held: &mut Vec<Client>) {
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

#[test]
fn nobody_gets_anothers_answer_and_nothing_is_lost() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (seconds, seed) = (number("STORM_SECONDS").unwrap_or(8), number("STORM_SEED").unwrap_or(1));
    eprintln!("STORM_SECONDS={seconds} STORM_SEED={seed} cargo test -p forebay-postgres --test storm");
    let server = Server::start();
    let admin = server.config();
    Client::connect(&admin)
        .unwrap()
        .batch("create table storm (n int8); create table locks (id int4, n int8); insert into locks values (1, 0), (2, 0)")
        .unwrap();
    let options = "-c statement_timeout=600ms -c deadlock_timeout=50ms".to_owned();
    let config = Config { application_name: "storm".into(), options, ..admin.clone() };
    let limits = DatabaseLimits {
        connections: 3,
        transactions: 4,
        result_bytes: LIMIT,
        acquire_timeout: Duration::from_secs(1),
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
    };
    let (start, mut held, mut next_chaos) = (Instant::now(), Vec::new(), Duration::from_millis(500));
    while start.elapsed() < Duration::from_secs(seconds) {
        while storm.tasks.len() < 60 {
            storm.start();
        }
        storm.driver.turn(Duration::from_millis(5));
        storm.collect();
        if storm.rng.one_in(20) {
            storm.abandon_one();
        }
        if start.elapsed() >= next_chaos {
            next_chaos += Duration::from_millis(200);
            chaos(&mut storm, &server, &admin, &mut held);
        }
    }
    drop(held);
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
    eprintln!("{:?} {:?}", storm.counts, storm.driver.pool.stats());
    assert!(storm.counts["right"] > 100);
}
