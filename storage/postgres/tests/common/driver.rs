//! What a worker does for its pool, with poll(2) and unix sockets: connects, sends, receives, collects results.
#![allow(
    dead_code,
    unreachable_pub,
    unsafe_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    reason = "a helper of tests and of the bench: poll(2) and a clock are its business"
)]

use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use forebay_base::limits::DatabaseLimits;
use forebay_base::value::ValueBuilder;
use forebay_base::{Monotonic, Value, ValueSink};
use forebay_postgres::copy::{Bytes, Rows};
use forebay_postgres::pool::Mode;
use forebay_postgres::{
    Action, Complete, Config, Delivery, Event, Link, Param, Pool, QueryError, Receiver, Shape, Sql, Token,
};

/// A unix socket, or TCP where the configuration has an address.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    fn connect(config: &Config) -> std::io::Result<Self> {
        if let Some(path) = config.unix_socket() {
            return UnixStream::connect(path).map(Self::Unix);
        }
        let forebay_postgres::config::Host::Tcp(host) = &config.host else { unreachable!() };
        let address = format!("{host}:{}", config.port).parse().unwrap();
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    fn set_nonblocking(&self) {
        match self {
            Self::Unix(stream) => stream.set_nonblocking(true).unwrap(),
            Self::Tcp(stream) => stream.set_nonblocking(true).unwrap(),
        }
    }

    fn as_raw_fd(&self) -> i32 {
        match self {
            Self::Unix(stream) => stream.as_raw_fd(),
            Self::Tcp(stream) => stream.as_raw_fd(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Socket {
    stream: Stream,
    sending: Option<(Vec<u8>, usize)>,
}

/// Sinks by token. A task that is gone has none.
#[derive(Default)]
pub struct Sinks(pub HashMap<Token, ValueBuilder>);

impl Receiver for Sinks {
    fn sink(&mut self, token: Token) -> Option<&mut dyn ValueSink> {
        self.0.get_mut(&token).map(|sink| sink as &mut dyn ValueSink)
    }
}

pub struct Driver {
    pub pool: Pool,
    sockets: HashMap<Link, Socket>,
    start: Instant,
    next: u64,
    pub sinks: Sinks,
    no_value: HashSet<Token>,
    pub done: HashMap<Token, Result<(Complete, Value), QueryError>>,
    /// Largest read and write: small ones split everything.
    pub read_bytes: usize,
    pub write_bytes: usize,
    buffer: Vec<u8>,
    /// Time stands still: then nothing is slow, however loaded the machine is.
    pub frozen: Option<Monotonic>,
    copies: HashMap<Token, Copy>,
    /// Notifications, and `Listening` as text.
    pub heard: Vec<String>,
    /// CancelRequests that were sent.
    pub cancels: usize,
    /// All connections are lost before the next COPY is asked for its rows.
    pub breaks_copy: bool,
}

/// A COPY under way.
pub enum Copy {
    /// Command, rows, how many of them are sent.
    In(String, std::rc::Rc<Vec<Vec<Value>>>, usize),
    /// Command, data, how much of it is sent.
    Raw(String, std::rc::Rc<Vec<u8>>, usize),
    /// Command.
    Out(String, Shape),
    /// Nothing is asked of it: it stays as it is.
    Stuck,
}

impl Driver {
    pub fn new(config: Config, limits: DatabaseLimits) -> Self {
        Self {
            pool: Pool::new(config, limits, 1, Monotonic(0)),
            sockets: HashMap::new(),
            start: Instant::now(),
            next: 1,
            sinks: Sinks::default(),
            no_value: HashSet::new(),
            done: HashMap::new(),
            read_bytes: 64 * 1024,
            write_bytes: usize::MAX,
            buffer: vec![0; 64 * 1024],
            frozen: None,
            copies: HashMap::new(),
            heard: Vec::new(),
            cancels: 0,
            breaks_copy: false,
        }
    }

    /// Starts a COPY. `types` as in `Pool::copy`.
    pub fn copy(&mut self, transaction: Option<Token>, types: Option<&str>, copy: Copy) -> Token {
        let (token, now) = (self.token(matches!(copy, Copy::Out(..))), self.now());
        self.copies.insert(token, copy);
        let started = self.pool.copy(transaction, token, types.map(Sql::new).as_ref(), now);
        if started.is_err() {
            self.copies.remove(&token);
        }
        let token = self.started(token, started);
        self.collect();
        token
    }

    /// Opens a cursor or, without a statement, fetches from it; how many rows came.
    pub fn rows_of(
        &mut self,
        transaction: Token,
        cursor: (u32, u32),
        sql: Option<(&str, &[Param<'_>])>,
    ) -> Result<usize, QueryError> {
        let token = self.fetch(transaction, cursor, sql);
        match self.wait(token)?.1 {
            Value::List(rows) => Ok(rows.len()),
            other => panic!("{other:?}"),
        }
    }

    /// As [`Driver::rows_of`], without waiting.
    pub fn fetch(
        &mut self,
        transaction: Token,
        cursor: (u32, u32),
        sql: Option<(&str, &[Param<'_>])>,
    ) -> Token {
        let token = self.token(true);
        let started = match sql {
            Some((sql, params)) => self.pool.open_cursor(transaction, token, cursor, &Sql::new(sql), params),
            None => self.pool.fetch(transaction, token, cursor),
        };
        self.started(token, started)
    }

    pub fn now(&self) -> Monotonic {
        if let Some(now) = self.frozen {
            return now;
        }
        Monotonic(u64::try_from(self.start.elapsed().as_nanos()).unwrap())
    }

    /// Starts a query; an error at once is an answer too.
    pub fn start(&mut self, sql: &str, params: &[Param<'_>], shape: Shape, delivery: Delivery) -> Token {
        let (token, now) = (self.token(true), self.now());
        let sql = if sql.starts_with("select") { Sql::read(sql) } else { Sql::new(sql) };
        let started = self.pool.query(token, &sql, params, shape, delivery, now);
        self.started(token, started)
    }

    fn token(&mut self, value: bool) -> Token {
        let token = Token(self.next);
        self.next += 1;
        self.sinks.0.insert(token, ValueBuilder::default());
        if !value {
            self.no_value.insert(token);
        }
        token
    }

    fn started(&mut self, token: Token, started: Result<(), QueryError>) -> Token {
        if let Err(error) = started {
            self.sinks.0.remove(&token);
            self.no_value.remove(&token);
            self.done.insert(token, Err(error));
        }
        token
    }

    pub fn begin(&mut self) -> Token {
        let (token, now) = (self.token(false), self.now());
        let started = self.pool.begin(token, Mode::default(), now);
        self.started(token, started)
    }

    pub fn end(&mut self, transaction: Token, commit: bool) -> Token {
        let token = self.token(false);
        let ended = self.pool.end(transaction, token, commit);
        self.started(token, ended)
    }

    pub fn start_in(&mut self, transaction: Token, sql: &str, params: &[Param<'_>], shape: Shape) -> Token {
        let token = self.token(true);
        let started = self.pool.query_in(transaction, token, &Sql::new(sql), params, shape, Delivery::Whole);
        self.started(token, started)
    }

    pub fn run_in(
        &mut self,
        transaction: Token,
        sql: &str,
        params: &[Param<'_>],
        shape: Shape,
    ) -> Result<Value, QueryError> {
        let token = self.start_in(transaction, sql, params, shape);
        self.wait(token).map(|(_, value)| value)
    }

    /// The task of an abandoned query takes its sink along.
    pub fn forget(&mut self, token: Token) {
        self.sinks.0.remove(&token);
        self.no_value.remove(&token);
    }

    /// Breaks a connection, as the network does.
    pub fn break_one(&mut self, which: u64) {
        let mut links: Vec<Link> = self.sockets.keys().copied().collect();
        links.sort_by_key(|link| link.index);
        if let Some(link) = links.get(usize::try_from(which % 64).unwrap() % links.len().max(1)) {
            self.close(*link, "broken by the test");
            self.collect();
        }
    }

    pub fn abandon(&mut self, token: Token) -> bool {
        let now = self.now();
        self.pool.abandon(token, now)
    }

    /// Runs one query to its end.
    pub fn run(&mut self, sql: &str, params: &[Param<'_>], shape: Shape) -> Result<Value, QueryError> {
        let token = self.start(sql, params, shape, Delivery::Whole);
        self.wait(token).map(|(_, value)| value)
    }

    pub fn wait(&mut self, token: Token) -> Result<(Complete, Value), QueryError> {
        let limit = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(result) = self.done.remove(&token) {
                return result;
            }
            assert!(Instant::now() < limit, "{token:?} isn't answered: {:?}", self.pool);
            self.turn(Duration::from_millis(100));
        }
    }

    pub fn until(&mut self, what: &str, mut reached: impl FnMut(&mut Self) -> bool) {
        let limit = Instant::now() + Duration::from_secs(60);
        while !reached(self) {
            assert!(Instant::now() < limit, "{what}: not within 60 s: {:?}", self.pool);
            self.turn(Duration::from_millis(20));
        }
    }

    /// Actions, at most one wait, what arrived.
    pub fn turn(&mut self, wait: Duration) {
        let now = self.now();
        self.pool.handle_timeout(now);
        self.act();
        let mut links = Vec::with_capacity(self.sockets.len());
        let mut polls = Vec::with_capacity(self.sockets.len());
        for (link, socket) in &self.sockets {
            let out = if socket.sending.is_some() { libc::POLLOUT } else { 0 };
            links.push(*link);
            polls.push(libc::pollfd {
                fd: socket.stream.as_raw_fd(),
                events: libc::POLLIN | out,
                revents: 0,
            });
        }
        let left = Duration::from_nanos(self.pool.next_deadline().0.saturating_sub(now.0));
        let wait = if self.done.is_empty() { wait.min(left) } else { Duration::ZERO };
        let millis = wait.as_micros().div_ceil(1000) as i32;
        // SAFETY: `polls` is an array of this length and lives over the call.
        unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, millis) };
        for (link, poll) in links.into_iter().zip(polls) {
            if poll.revents & libc::POLLOUT != 0 {
                self.write(link);
            }
            if poll.revents & !libc::POLLOUT != 0 {
                self.read(link);
            }
        }
        self.collect();
    }

    pub fn act(&mut self) {
        while let Some(action) = self.pool.poll_action() {
            match action {
                Action::Connect { link } => match Stream::connect(self.pool.config()) {
                    Ok(stream) => {
                        stream.set_nonblocking();
                        self.sockets.insert(link, Socket { stream, sending: None });
                        self.pool.handle_connected(link);
                    }
                    Err(e) => {
                        let now = self.now();
                        self.pool.handle_closed(link, &e.to_string(), now);
                    }
                },
                Action::Send { link, bytes } => {
                    let socket = self.sockets.get_mut(&link).unwrap();
                    assert!(socket.sending.is_none(), "one send at a time");
                    socket.sending = Some((bytes, 0));
                    self.write(link);
                }
                Action::Close { link } => {
                    self.sockets.remove(&link);
                }
                Action::Cancel { link, bytes } => {
                    self.cancels += 1;
                    if let Ok(mut stream) = Stream::connect(self.pool.config()) {
                        let _ = stream.write_all(&bytes);
                        let _ = stream.read_to_end(&mut Vec::new());
                    }
                    let now = self.now();
                    self.pool.handle_cancelled(link, now);
                }
                Action::Compute { link, mut job } => {
                    job.run();
                    let now = self.now();
                    self.pool.handle_job(link, job, now);
                }
            }
        }
        self.collect();
    }

    fn write(&mut self, link: Link) {
        let Some(socket) = self.sockets.get_mut(&link) else { return };
        let Some((bytes, sent)) = &mut socket.sending else { return };
        let end = bytes.len().min(sent.saturating_add(self.write_bytes));
        match socket.stream.write(&bytes[*sent..end]) {
            Ok(count) => *sent += count,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return self.close(link, &e.to_string()),
        }
        if *sent == bytes.len()
            && let Some((bytes, _)) = socket.sending.take()
        {
            self.pool.handle_sent(link, bytes);
        }
    }

    fn read(&mut self, link: Link) {
        let Some(socket) = self.sockets.get_mut(&link) else { return };
        match socket.stream.read(&mut self.buffer[..self.read_bytes]) {
            Ok(0) => self.close(link, "end of stream"),
            Ok(count) => {
                let now = self.now();
                self.pool.handle_bytes(link, &self.buffer[..count], now, &mut self.sinks);
                if self.pool.next_deadline() <= now {
                    self.pool.handle_timeout(now);
                }
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => self.close(link, &e.to_string()),
        }
    }

    fn close(&mut self, link: Link, cause: &str) {
        self.sockets.remove(&link);
        let now = self.now();
        self.pool.handle_closed(link, cause, now);
    }

    fn collect(&mut self) {
        while let Some(event) = self.pool.poll_event() {
            match event {
                Event::Copy { token } => {
                    if std::mem::take(&mut self.breaks_copy) {
                        let links: Vec<Link> = self.sockets.keys().copied().collect();
                        links.into_iter().for_each(|link| self.close(link, "broken by the test"));
                    }
                    let Some(copy) = self.copies.get_mut(&token) else { continue };
                    let now = Monotonic(u64::try_from(self.start.elapsed().as_nanos()).unwrap());
                    let started = match copy {
                        Copy::In(command, rows, next) => {
                            let rows = std::rc::Rc::clone(rows);
                            let mut source = Rows::new(&rows, 0);
                            let started = self.pool.copy_in(token, command, &mut source, now);
                            *next = source.written();
                            started
                        }
                        Copy::Raw(command, bytes, next) => {
                            let bytes = std::rc::Rc::clone(bytes);
                            let mut source = Bytes::new(&bytes, 0);
                            let started = self.pool.copy_in(token, command, &mut source, now);
                            *next = source.written();
                            started
                        }
                        Copy::Out(command, shape) => self.pool.copy_out(token, command, *shape, now),
                        Copy::Stuck => Ok(()),
                    };
                    self.started(token, started);
                }
                Event::CopyMore { token } => match self.copies.get_mut(&token) {
                    Some(Copy::In(_, rows, next)) => {
                        let mut source = Rows::new(rows, *next);
                        self.pool.copy_more(token, &mut source);
                        *next = source.written();
                    }
                    Some(Copy::Raw(_, bytes, next)) => {
                        let mut source = Bytes::new(bytes, *next);
                        self.pool.copy_more(token, &mut source);
                        *next = source.written();
                    }
                    _ => {}
                },
                Event::Notification(n) => self.heard.push(format!("{} {}", n.channel, n.payload)),
                Event::Listening { gap } => self.heard.push(format!("listening, gap: {gap}")),
                Event::Notice(_) => {}
                Event::Done { token, result } => self.ended(token, result),
            }
        }
    }

    fn ended(&mut self, token: Token, result: Result<Complete, QueryError>) {
        self.copies.remove(&token);
        let sink = self.sinks.0.remove(&token).expect("one answer for each query");
        // BEGIN, COMMIT and ROLLBACK push none.
        let value = sink.finish();
        let value = if self.no_value.remove(&token) {
            assert_eq!(value, None);
            Value::Undefined
        } else if result.is_ok() {
            value.expect("exactly one value")
        } else {
            Value::Undefined
        };
        let result = result.map(|complete| (complete, value));
        assert!(self.done.insert(token, result).is_none(), "{token:?} is answered twice");
    }
}
