//! Our client as a worker drives it: the pool, over the io_uring reactor, rows into values of the virtual machine
//! (`rows`) or checked by a sink (`id`, `q20`).

use std::sync::Arc;

use forebay_base::limits::{DatabaseLimits, TaskLimits};
use forebay_base::{ConnectionId, Monotonic, TenantId, Timestamp, ValueError, ValueSink};
use forebay_engine::{
    Blueprint, BlueprintId, EffectId, Entry, NoHost, RequestInput, Run, TaskHandle, Vm, VmConfig,
};
use forebay_postgres::copy::{CopySource, CopyWriter};
use forebay_postgres::{Action, Delivery, Event, Link, Param, Pool, QueryError, Receiver, Shape, Sql, Token};
use forebay_ring::{Endpoint, Event as RingEvent, Reactor, Transport, UringReactor, Wait};

use crate::{BENCH_ROWS, COPY_ROWS, Meter, ROWS, SELECT, Scenario, expected, server};

/// Checks rows of `SELECT`: id, name and n of the row that its token asked for.
#[derive(Default)]
struct Check {
    id: i64,
    column: usize,
}

impl Receiver for Check {
    fn sink(&mut self, token: Token) -> Option<&mut dyn ValueSink> {
        self.id = (token.0 >> 32) as i64;
        self.column = 0;
        Some(self)
    }
}

type Done = Result<(), ValueError>;

impl ValueSink for Check {
    fn undefined(&mut self) -> Done {
        panic!("a row is missing")
    }
    fn null(&mut self) -> Done {
        panic!("NULL")
    }
    fn bool(&mut self, _: bool) -> Done {
        Ok(())
    }
    fn int(&mut self, value: i64) -> Done {
        let expect = if self.column == 0 { self.id } else { i64::from(expected(self.id as i32)) };
        assert_eq!(value, expect);
        self.column += 1;
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
        assert!(value.len() > 5);
        self.column += 1;
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
        assert_eq!(self.column, 3);
        Ok(())
    }
}

/// The sockets of a pool on the reactor, as the worker has them.
struct Driver {
    reactor: UringReactor,
    pool: Pool,
    endpoint: Endpoint,
    links: Vec<(Link, ConnectionId)>,
    /// Of a COPY: not with the kernel yet.
    unsent: Option<(Link, Vec<u8>)>,
}

impl Driver {
    fn new(folder: &str, connections: usize) -> Self {
        let config = server::config(folder);
        let endpoint = Endpoint::Unix(config.unix_socket().unwrap());
        let reactor =
            UringReactor::new(forebay_ring::Config { connections: 64, ..Default::default() }).unwrap();
        let limits = DatabaseLimits { connections, window: 64, ..DatabaseLimits::default() };
        let pool = Pool::new(config, limits, 1, reactor.now());
        Self { reactor, pool, endpoint, links: Vec::new(), unsent: None }
    }

    fn act(&mut self) {
        while let Some(action) = self.pool.poll_action() {
            match action {
                Action::Connect { link } => {
                    let connection = self.reactor.connect(&self.endpoint).unwrap();
                    self.links.push((link, connection));
                }
                Action::Send { link, mut bytes } => {
                    let (_, connection) = self.links.iter().find(|(l, _)| *l == link).unwrap();
                    self.reactor.output(*connection).unwrap().append(&mut bytes);
                    if self.pool.is_copying(link) {
                        self.unsent = Some((link, bytes));
                    } else {
                        self.pool.handle_sent(link, bytes);
                    }
                }
                Action::Close { .. } | Action::Cancel { .. } | Action::Compute { .. } => panic!("{:?}", self.pool.stats()),
            }
        }
    }

    /// One turn of the reactor; bytes go to the pool.
    fn turn(&mut self, receiver: &mut dyn Receiver) {
        self.act();
        self.reactor.turn(Wait::Forever).unwrap();
        let now = self.reactor.now();
        while let Some(event) = self.reactor.next_event() {
            let link_of = |id| self.links.iter().find(|(_, c)| *c == id).unwrap().0;
            match event {
                RingEvent::Connected { connection, result } => {
                    result.unwrap();
                    self.pool.handle_connected(link_of(connection));
                }
                RingEvent::Received { connection, buffer } => {
                    let bytes = self.reactor.buffers().bytes(&buffer);
                    self.pool.handle_bytes(link_of(connection), bytes, now, receiver);
                    self.reactor.release(buffer);
                }
                RingEvent::Drained { .. } => {
                    if let Some((link, bytes)) = self.unsent.take() {
                        self.pool.handle_sent(link, bytes);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        if self.pool.next_deadline() <= now {
            self.pool.handle_timeout(now);
        }
    }

    fn ready(&mut self, connections: usize) {
        while self.pool.stats().ready < connections {
            self.turn(&mut Check::default());
        }
    }
}

pub fn run(what: Scenario, folder: &str, meter: &mut Meter) {
    match what {
        Scenario::Id(in_flight) => select(folder, in_flight, true, Sql::new(SELECT), meter),
        Scenario::IdGroup(in_flight) => select(folder, in_flight, true, Sql::read(SELECT), meter),
        // What isn't known to be a read never shares its Sync.
        Scenario::Twenty { group: false } => select(folder, 20, false, Sql::new(SELECT), meter),
        Scenario::Twenty { group: true } => select(folder, 20, false, Sql::read(SELECT), meter),
        Scenario::Rows => rows(folder, meter),
        Scenario::Copy => copy(folder, meter),
    }
}

/// Rows made up as they are written, as the peers' are.
struct Made {
    next: u64,
}

impl CopySource for Made {
    fn fill(&mut self, writer: &mut CopyWriter<'_>) -> Result<bool, QueryError> {
        while self.next < COPY_ROWS {
            if writer.is_full() {
                return Ok(true);
            }
            let row = self.next as i64;
            writer.begin_row();
            writer.value(&Param::Int(row))?;
            writer.value(&Param::Int(row))?;
            writer.value(&Param::Str("a row of text"))?;
            writer.end_row()?;
            self.next += 1;
        }
        Ok(false)
    }

    fn rewind(&mut self) {
        self.next = 0;
    }
}

/// One COPY after the other on a connection of its own, the next rows when the last are with the kernel.
fn copy(folder: &str, meter: &mut Meter) {
    let mut driver = Driver::new(folder, 1);
    driver.ready(1);
    let types = Sql::new("INSERT INTO copied (a, b, c) VALUES ($1, $2, $3)");
    let mut check = Check::default();
    loop {
        let now = driver.reactor.now();
        let token = Token(7);
        driver
            .pool
            .query(token, &Sql::new("TRUNCATE copied"), &[], Shape::Affected, Delivery::Whole, now)
            .unwrap();
        let mut source = Made { next: 0 };
        let mut count = None;
        let mut truncated = false;
        while count.is_none() {
            driver.turn(&mut check);
            let now = driver.reactor.now();
            while let Some(event) = driver.pool.poll_event() {
                match event {
                    Event::Done { result, .. } if !truncated => {
                        result.unwrap();
                        truncated = true;
                        driver.pool.copy(None, token, Some(&types), now).unwrap();
                    }
                    Event::Copy { token } => {
                        driver
                            .pool
                            .copy_in(token, "COPY copied (a, b, c) FROM STDIN", &mut source, now)
                            .unwrap();
                    }
                    Event::CopyMore { token } => driver.pool.copy_more(token, &mut source),
                    Event::Done { result, .. } => count = Some(result.unwrap().affected),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(count, Some(COPY_ROWS));
        if !meter.add(COPY_ROWS) {
            return;
        }
    }
}

/// Keeps `in_flight` selects under way, refilled one by one or all at once.
fn select(folder: &str, in_flight: usize, refill: bool, sql: Sql<'_>, meter: &mut Meter) {
    let connections = if in_flight == 1 { 1 } else { 4 };
    let mut driver = Driver::new(folder, connections);
    driver.ready(connections);
    let mut check = Check::default();
    let (mut next, mut serial, mut flying) = (0, 0u64, 0);
    loop {
        if refill || flying == 0 {
            let now = driver.reactor.now();
            while flying < in_flight {
                next = (next + 1) % BENCH_ROWS;
                serial = (serial + 1) & 0xffff_ffff;
                let token = Token((next as u64) << 32 | serial);
                let id = [Param::Int(i64::from(next))];
                driver.pool.query(token, &sql, &id, Shape::First, Delivery::Whole, now).unwrap();
                flying += 1;
            }
        }
        driver.turn(&mut check);
        let mut done = 0;
        while let Some(event) = driver.pool.poll_event() {
            if let Event::Done { result, .. } = event {
                assert_eq!(result.unwrap().rows, 1);
                done += 1;
            }
        }
        flying -= done;
        if done > 0 && !meter.add(done as u64) {
            return;
        }
    }
}

struct Text;

impl forebay_compiler::Loader for Text {
    fn load(&self, _: &str) -> Option<Box<str>> {
        Some("let rows = db().table(\"rows7\").get(); return rows.length + \" \" + rows[999].d;".into())
    }
}

/// The task that waits for rows.
struct Machine {
    vm: Vm,
    id: BlueprintId,
    waiting: Option<(TaskHandle, EffectId)>,
}

impl Machine {
    fn new() -> Self {
        let (module, _) = forebay_compiler::compile(&Text, "rows.js").unwrap();
        let blueprint: Arc<Blueprint> = Blueprint::load(&forebay_bytecode::verify(module).unwrap()).unwrap();
        let mut vm = Vm::new(VmConfig::default());
        let id = vm.adopt(&blueprint).unwrap();
        Self { vm, id, waiting: None }
    }

    fn start(&mut self) {
        let (input, limits) = (RequestInput::empty(), TaskLimits::default());
        let task = self.vm.start(self.id, Entry::Main, &input, &limits, TenantId(0), Monotonic(0)).unwrap();
        assert_eq!(self.vm.run(task, Monotonic(1), Timestamp(0), 100_000, &mut NoHost), Run::Parked);
        let mut effects = Vec::new();
        self.vm.take_effects(task, &mut effects);
        self.waiting = Some((task, effects[0].id));
    }

    fn end(&mut self) {
        let (task, effect) = self.waiting.take().unwrap();
        self.vm.resume_with_result(task, effect).unwrap();
        assert_eq!(self.vm.run(task, Monotonic(1), Timestamp(0), 100_000, &mut NoHost), Run::Done);
        let mut body = Vec::new();
        self.vm.write_body(task, &mut body).unwrap();
        assert_eq!(body, b"1000 second text 1000");
        self.vm.finish(task);
    }
}

impl Receiver for Machine {
    fn sink(&mut self, _: Token) -> Option<&mut dyn ValueSink> {
        let (task, effect) = self.waiting?;
        self.vm.result_sink(task, effect)
    }
}

/// One result after the other into a task of the virtual machine, which looks at it and ends.
fn rows(folder: &str, meter: &mut Meter) {
    let mut driver = Driver::new(folder, 1);
    driver.ready(1);
    let sql = Sql::read(ROWS);
    let mut machine = Machine::new();
    loop {
        machine.start();
        let now = driver.reactor.now();
        driver.pool.query(Token(1), &sql, &[], Shape::Rows, Delivery::Whole, now).unwrap();
        let result = loop {
            driver.turn(&mut machine);
            if let Some(Event::Done { result, .. }) = driver.pool.poll_event() {
                break result;
            }
        };
        assert_eq!(result.unwrap().rows, 1000);
        machine.end();
        if !meter.add(1) {
            return;
        }
    }
}
