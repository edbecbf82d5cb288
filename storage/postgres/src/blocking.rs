//! The connection's state machine over std sockets: migrations, the command line, tests. One query at a time, no
//! pool.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use forebay_base::limits::DatabaseLimits;
use forebay_base::value::ValueBuilder;
use forebay_base::{Value, ValueSink};

use crate::config::{Config, Host};
use crate::connection::{Connection, Described, Target, Use};
use crate::error::{QueryError, ServerError};
use crate::param::Param;
use crate::query::{Complete, Delivery, Event, Receiver, Shape, Sql, Token};

/// A transport of bytes.
trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection that one caller owns and waits for.
pub struct Client {
    stream: Box<dyn Stream>,
    connection: Connection,
    received: Vec<u8>,
    output: Vec<u8>,
    notices: Vec<ServerError>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// A receiver of one query.
struct One<'s>(&'s mut dyn ValueSink);

impl Receiver for One<'_> {
    fn sink(&mut self, _: Token) -> Option<&mut dyn ValueSink> {
        Some(self.0)
    }
}

/// Bytes per read.
const READ_BYTES: usize = 64 * 1024;
/// Notices kept until [`Client::take_notices`].
const NOTICES_MAX: usize = 256;

impl Client {
    /// Connects and authenticates, within the configuration's `connect_timeout`.
    ///
    /// # Errors
    /// [`QueryError::Unavailable`], with the address and the reason.
    pub fn connect(config: &Config) -> Result<Self, QueryError> {
        let config = Arc::new(config.clone());
        let mut failed: Option<(Target, QueryError)> = None;
        for target in Target::plan(&config, seed()) {
            match Self::attempt(&config, target) {
                Ok(client) => return Ok(client),
                // What the first attempt at a host said is worth more than what its fallback says.
                Err(_) if failed.as_ref().is_some_and(|(before, _)| before.same_host(&target)) => {}
                Err(error) => failed = Some((target, error)),
            }
        }
        Err(failed.map_or_else(|| QueryError::Unavailable("no host".into()), |(_, error)| error))
    }

    fn attempt(config: &Arc<Config>, target: Target) -> Result<Self, QueryError> {
        let unavailable =
            |e: io::Error| QueryError::Unavailable(format!("{}: {e}", config.address_of(target.host)).into());
        let (stream, timeouts) = open(config, target.host).map_err(unavailable)?;
        let limits = DatabaseLimits::default();
        let mut client = Self {
            stream,
            connection: Connection::new(Arc::clone(config), &limits, Use::Owned, target),
            received: vec![0; READ_BYTES],
            output: Vec::new(),
            notices: Vec::new(),
        };
        while !client.connection.is_ready() {
            client.turn(&mut One(&mut ValueBuilder::default()))?;
            if let Some(mut job) = client.connection.poll_job() {
                job.run();
                client.connection.handle_job(job);
            }
        }
        timeouts(None).map_err(unavailable)?;
        Ok(client)
    }

    /// Runs one statement and returns its one value, by `shape`.
    ///
    /// # Errors
    /// What [`QueryError`] says.
    pub fn query(&mut self, sql: &str, params: &[Param<'_>], shape: Shape) -> Result<Value, QueryError> {
        let mut builder = ValueBuilder::default();
        self.query_into(sql, params, shape, &mut builder)?;
        Ok(builder.finish().unwrap_or_default())
    }

    /// Runs one statement and returns its rows.
    ///
    /// # Errors
    /// What [`QueryError`] says.
    pub fn rows(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Value>, QueryError> {
        match self.query(sql, params, Shape::Rows)? {
            Value::List(rows) => Ok(rows),
            _ => Ok(Vec::new()),
        }
    }

    /// Runs one statement and returns how many rows it touched.
    ///
    /// # Errors
    /// What [`QueryError`] says.
    pub fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, QueryError> {
        let mut builder = ValueBuilder::default();
        Ok(self.query_into(sql, params, Shape::Affected, &mut builder)?.affected)
    }

    /// Runs one statement; its one value goes to `sink`.
    ///
    /// # Errors
    /// What [`QueryError`] says.
    pub fn query_into(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        shape: Shape,
        sink: &mut dyn ValueSink,
    ) -> Result<Complete, QueryError> {
        self.connection.query(Token(0), &Sql::new(sql), params, shape, Delivery::Streaming)?;
        self.finish(&mut One(sink))
    }

    /// What a statement would give; it doesn't run.
    ///
    /// # Errors
    /// What [`QueryError`] says; the server's error has a position in the text.
    pub fn describe(&mut self, sql: &str) -> Result<Described, QueryError> {
        self.connection.describe(Token(0), sql)?;
        self.finish(&mut One(&mut ValueBuilder::default()))?;
        Ok(self.connection.take_described().unwrap_or_default())
    }

    /// Runs any number of statements separated by semicolons; rows are dropped. Without BEGIN they are one
    /// transaction (manual: "Multiple Statements in a Simple Query").
    ///
    /// # Errors
    /// What [`QueryError`] says.
    pub fn batch(&mut self, sql: &str) -> Result<(), QueryError> {
        self.connection.simple(Token(0), sql)?;
        self.finish(&mut One(&mut ValueBuilder::default())).map(|_| ())
    }

    /// Runs `body` in a transaction: COMMIT if it returns `Ok`, else ROLLBACK.
    ///
    /// # Errors
    /// Its own, or that of BEGIN or COMMIT.
    pub fn transaction<T, E: From<QueryError>>(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.batch("BEGIN")?;
        match body(self) {
            Ok(value) => {
                // COMMIT of a failed transaction is a ROLLBACK that doesn't say so.
                if self.connection.status() == b'E' {
                    self.batch("ROLLBACK")?;
                    let why =
                        QueryError::Refused("a statement in the transaction failed; it was rolled back");
                    return Err(why.into());
                }
                self.batch("COMMIT")?;
                Ok(value)
            }
            Err(error) => {
                // If this fails the connection is gone, and the transaction with it.
                let _ = self.batch("ROLLBACK");
                Err(error)
            }
        }
    }

    /// The connection, for what it knows about the server.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Notices since the last call.
    pub fn take_notices(&mut self) -> Vec<ServerError> {
        std::mem::take(&mut self.notices)
    }

    fn finish(&mut self, receiver: &mut dyn Receiver) -> Result<Complete, QueryError> {
        loop {
            while let Some(event) = self.connection.poll_event() {
                match event {
                    Event::Done { result, .. } => return result,
                    Event::Notice(notice) if self.notices.len() < NOTICES_MAX => self.notices.push(*notice),
                    // Nobody asks for the others here.
                    _ => {}
                }
            }
            self.turn(receiver)?;
        }
    }

    /// Sends what there is, then receives once. `Err` only where no event will tell.
    fn turn(&mut self, receiver: &mut dyn Receiver) -> Result<(), QueryError> {
        if let Err(e) = self.exchange(receiver) {
            self.connection.handle_closed(&e.to_string());
        }
        match self.connection.closed() {
            // The query's own event says it better.
            Some(cause) if self.connection.in_flight() == 0 && !self.connection.has_events() => {
                Err(QueryError::Unavailable(cause.into()))
            }
            _ => Ok(()),
        }
    }

    fn exchange(&mut self, receiver: &mut dyn Receiver) -> io::Result<()> {
        self.output.clear();
        if self.connection.take_output(&mut self.output) {
            self.stream.write_all(&self.output)?;
        }
        if self.connection.closed().is_some() {
            return Ok(());
        }
        let count = loop {
            match self.stream.read(&mut self.received) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if count == 0 {
            self.connection.handle_closed("the server closed the connection");
        } else {
            self.connection.handle_bytes(&self.received[..count], receiver);
        }
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.terminate();
        self.output.clear();
        if self.connection.take_output(&mut self.output) {
            let _ = self.stream.write_all(&self.output);
        }
    }
}

/// Sets or clears the timeouts of a stream.
type Timeouts = Box<dyn Fn(Option<Duration>) -> io::Result<()>>;

/// Where the shuffle of balanced hosts starts: different in each process.
fn seed() -> u64 {
    u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn open(config: &Config, host: usize) -> io::Result<(Box<dyn Stream>, Timeouts)> {
    let limit = Some(config.connect_timeout);
    let (name, port, _) = config.host(host);
    match name {
        Host::Unix(folder) => {
            let stream = UnixStream::connect(folder.join(format!(".s.PGSQL.{port}")))?;
            let other = stream.try_clone()?;
            let timeouts: Timeouts = Box::new(move |limit| {
                other.set_read_timeout(limit)?;
                other.set_write_timeout(limit)
            });
            timeouts(limit)?;
            Ok((Box::new(stream), timeouts))
        }
        Host::Tcp(name) => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in (name.as_str(), port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, config.connect_timeout) {
                    Ok(stream) => {
                        stream.set_nodelay(true)?;
                        let other = stream.try_clone()?;
                        let timeouts: Timeouts = Box::new(move |limit| {
                            other.set_read_timeout(limit)?;
                            other.set_write_timeout(limit)
                        });
                        timeouts(limit)?;
                        return Ok((Box::new(stream), timeouts));
                    }
                    Err(e) => last = e,
                }
            }
            Err(last)
        }
    }
}
