//! `db()`: a query object of the machine becomes SQL, goes to the core's pool, and its
//! rows are decoded straight into the arena of the task that waits.

use std::net::SocketAddr;

use forebay_base::limits::DatabaseLimits;
use forebay_base::value::{ValueBuilder, codec};
use forebay_base::{CoreId, Monotonic, Value, ValueSink};
use forebay_engine::{ErrorSpec, QueryOp, ValueRef, Vm};
use forebay_postgres::config::Host;
use forebay_postgres::pool::{Action, Link, Pool};
use forebay_postgres::{Config, Delivery, Event, Query, QueryError, Receiver, Token};
use forebay_ring::{Close, Endpoint, Reactor, TimerId};

use super::{Call, Effects, Fault, Owner, Waiting, What};
use crate::back::{BackConfig, Level};
use crate::slots::Slots;
use crate::tokens;

/// The database as one core sees it.
pub(crate) struct Sql {
    /// There while an address is known.
    pool: Option<Pool>,
    endpoint: Result<Endpoint, String>,
    /// What it was made from: for a pool later on, and for the host's name.
    config: Option<(Config, DatabaseLimits, u64)>,
    name: Name,
    connections: Vec<(Link, forebay_base::ConnectionId)>,
    timer: Option<(Monotonic, TimerId)>,
    text: String,
    /// Whether the last thing that the log heard is that the database is away.
    away: bool,
}

/// Whether the host's name is to be resolved (again).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Name {
    /// Its addresses are known, or it is none.
    Known,
    /// No address is known, or the one that is doesn't answer: a failover may have moved it.
    Wanted,
    /// The resolver is on it.
    Asked,
}

impl Sql {
    pub(crate) fn new(core: CoreId, config: &BackConfig, now: Monotonic) -> Self {
        let endpoint = match &config.database {
            Some(database) => endpoint_of(database),
            None => Err("no database is configured: [database] url in forebay.toml".into()),
        };
        let seed = u64::from(core.0) ^ now.0;
        let config = config.database.clone().map(|database| (database, config.database_limits.clone(), seed));
        let mut sql = Self {
            pool: None,
            name: if endpoint.is_ok() || config.is_none() { Name::Known } else { Name::Wanted },
            endpoint,
            config,
            connections: Vec::new(),
            timer: None,
            text: String::new(),
            away: false,
        };
        sql.make_pool(now);
        sql
    }

    /// Without an address nobody would carry out what a pool asks for.
    fn make_pool(&mut self, now: Monotonic) {
        if self.pool.is_none()
            && self.endpoint.is_ok()
            && let Some((config, limits, seed)) = &self.config
        {
            self.pool = Some(Pool::new(config.clone(), limits.clone(), *seed, now));
        }
    }

    /// Host and port, if they are to be resolved now.
    pub(crate) fn wants_address(&self) -> Option<(&str, u16)> {
        let (config, _, _) = self.config.as_ref().filter(|_| self.name == Name::Wanted)?;
        match &config.host {
            Host::Tcp(name) => Some((name, config.port)),
            Host::Unix(_) => None,
        }
    }

    pub(crate) fn asked(&mut self, asked: bool) {
        self.name = if asked { Name::Asked } else { Name::Wanted };
    }

    pub(crate) fn found(&mut self, found: Result<Vec<SocketAddr>, String>, now: Monotonic) {
        let first = found.and_then(|all| all.first().copied().ok_or_else(|| "no address".to_owned()));
        self.name = if first.is_ok() { Name::Known } else { Name::Wanted };
        match first {
            Ok(address) => self.endpoint = Ok(Endpoint::Tcp(address)),
            // An old address is better than none.
            Err(why) if self.endpoint.is_err() => self.endpoint = Err(why),
            Err(_) => {}
        }
        self.make_pool(now);
    }

    /// A connection couldn't be made.
    pub(crate) fn refused(&mut self, link: Link, cause: &str, now: Monotonic) {
        if self.name == Name::Known && matches!(self.endpoint, Ok(Endpoint::Tcp(_))) {
            self.name = Name::Wanted;
        }
        self.closed(link, cause, now);
    }

    pub(crate) fn connected(&mut self, link: Link, _now: Monotonic) {
        if let Some(pool) = &mut self.pool {
            pool.handle_connected(link);
        }
    }

    pub(crate) fn closed(&mut self, link: Link, cause: &str, now: Monotonic) {
        self.connections.retain(|(l, _)| *l != link);
        if let Some(pool) = &mut self.pool {
            pool.handle_closed(link, cause, now);
        }
    }

    pub(crate) fn sent(&mut self, _link: Link) {}

    pub(crate) fn abandon(&mut self, key: u64, now: Monotonic) {
        if let Some(pool) = &mut self.pool {
            pool.abandon(Token(key), now);
        }
    }
}

/// Where the pool's links connect to at first. Names are resolved here once, before the core
/// serves anyone; later on by the resolver's thread.
fn endpoint_of(config: &Config) -> Result<Endpoint, String> {
    use std::net::ToSocketAddrs as _;
    if let Some(path) = config.unix_socket() {
        return Ok(Endpoint::Unix(path));
    }
    match &config.host {
        Host::Tcp(name) => (name.as_str(), config.port)
            .to_socket_addrs()
            .map_err(|error| format!("{name}: {error}"))?
            .next()
            .map(Endpoint::Tcp)
            .ok_or_else(|| format!("{name}: no address")),
        Host::Unix(path) => Ok(Endpoint::Unix(path.clone())),
    }
}

/// The sinks of waiting tasks.
struct Sinks<'a> {
    vm: &'a mut Vm,
    waiting: &'a mut Slots<Waiting>,
}

impl Receiver for Sinks<'_> {
    fn sink(&mut self, token: Token) -> Option<&mut dyn ValueSink> {
        let waiting = self.waiting.get_mut(token.0)?;
        self.vm.result_sink(waiting.task, waiting.effect)
    }
}

impl Effects {
    pub(super) fn begin_sql(&mut self, vm: &mut Vm, call: &Call<'_>) {
        let tree = match describe(&vm.query(call.task, call.effect.id)) {
            Ok(tree) => tree,
            Err(message) => {
                return self.fail(vm, call, &Fault { name: "TypeError", message: &message, code: None });
            }
        };
        let key = self.wait(call, What::Sql);
        if let Err(fault) = self.send_query(&tree, key, call.now) {
            self.done(key);
            self.fail(vm, call, &Fault { name: fault.0, message: &fault.1, code: fault.2.as_deref() });
        }
    }

    fn send_query(
        &mut self,
        tree: &Value,
        key: u64,
        now: Monotonic,
    ) -> Result<(), (&'static str, String, Option<String>)> {
        let refused = |error: forebay_postgres::builder::BuilderError| ("TypeError", error.to_string(), None);
        let query = Query::from_value(tree).map_err(refused)?;
        let Sql { pool: Some(pool), endpoint: Ok(_), text, .. } = &mut self.sql else {
            let why = self.sql.endpoint.as_ref().err().map_or("", String::as_str);
            return Err(("UnavailableError", format!("database unavailable: {why}"), None));
        };
        let mut params = Vec::new();
        let rendered = query.render(text, &mut params).map_err(refused)?;
        let sql = forebay_postgres::Sql {
            text,
            hash: forebay_postgres::query::hash_text(text),
            access: rendered.access,
        };
        pool.query(Token(key), &sql, &params, rendered.shape, Delivery::Whole, now).map_err(|error| {
            let (name, message, code) = fault_of(&error);
            (name, message, code)
        })
    }

    pub(super) fn received_sql(&mut self, vm: &mut Vm, link: Link, bytes: &[u8], now: Monotonic) {
        let Self { sql, waiting, .. } = self;
        if let Some(pool) = &mut sql.pool {
            pool.handle_bytes(link, bytes, now, &mut Sinks { vm, waiting });
        }
    }

    /// Results to their tasks.
    pub(super) fn settle_sql(&mut self, vm: &mut Vm, now: Monotonic) {
        loop {
            let Some(event) = self.sql.pool.as_mut().and_then(Pool::poll_event) else { return };
            match event {
                Event::Done { token, result } => {
                    let Some(waiting) = self.done(token.0) else { continue };
                    self.metrics.sql.record(now.since(waiting.since));
                    match result {
                        Ok(_) => {
                            if let Err(error) = vm.resume_with_result(waiting.task, waiting.effect) {
                                super::unfit(vm, waiting.task, waiting.effect, &error);
                            }
                        }
                        Err(error) => throw(vm, &waiting, &error),
                    }
                }
                Event::Notice(notice) => {
                    self.log.line(Level::Warn, "database notice", &[("notice", &notice)]);
                }
            }
        }
    }

    /// Does what the pool asks for, until it asks no more.
    pub(super) fn flush_sql<R: Reactor>(&mut self, reactor: &mut R, vm: &mut Vm) {
        let now = reactor.now();
        if self.sql.pool.as_ref().is_some_and(|pool| pool.next_deadline() <= now) {
            self.sql_deadline(vm, now);
        }
        let Self { sql, owners, .. } = self;
        let Sql { pool: Some(pool), endpoint: Ok(endpoint), connections, .. } = sql else { return };
        while let Some(action) = pool.poll_action() {
            match action {
                Action::Connect { link } => match reactor.connect(endpoint) {
                    Ok(connection) => {
                        owners.insert(connection, Owner::Database(link));
                        connections.push((link, connection));
                    }
                    Err(error) => pool.handle_closed(link, &error.to_string(), now),
                },
                Action::Send { link, bytes } => {
                    let connection = connections.iter().find(|(l, _)| *l == link).map(|(_, c)| *c);
                    if let Some(output) = connection.and_then(|connection| reactor.output(connection)) {
                        output.push(&bytes);
                    }
                    pool.handle_sent(link, bytes);
                }
                Action::Close { link } => {
                    if let Some(index) = connections.iter().position(|(l, _)| *l == link) {
                        let (_, connection) = connections.swap_remove(index);
                        owners.remove(&connection);
                        // Broken, silent or of no use: nothing that it could still say matters.
                        reactor.close(connection, Close::Now);
                    }
                }
            }
        }
        let due = pool.next_deadline();
        if sql.timer.is_none_or(|(at, _)| due < at) && due != Monotonic::NEVER {
            if let Some((_, timer)) = sql.timer.take() {
                reactor.cancel_timer(timer);
            }
            sql.timer = Some((due, reactor.set_timer(due, tokens::DATABASE)));
        }
        self.settle_sql(vm, now);
    }

    /// The pool's timer has fired.
    pub(crate) fn sql_timer<R: Reactor>(&mut self, reactor: &mut R, vm: &mut Vm) {
        self.sql.timer = None;
        self.sql_deadline(vm, reactor.now());
        self.flush_sql(reactor, vm);
    }

    fn sql_deadline(&mut self, vm: &mut Vm, now: Monotonic) {
        if let Some(pool) = &mut self.sql.pool {
            pool.handle_timeout(now);
        }
        self.settle_sql(vm, now);
    }

    pub(super) fn sql_gauges(&mut self) {
        let (Some(pool), metrics) = (&self.sql.pool, &self.metrics) else { return };
        let stats = pool.stats();
        metrics.database_ready.set(stats.ready as u64);
        metrics.database_in_flight.set(stats.in_flight as u64);
        metrics.database_queued.set(stats.queued as u64);
        let away = stats.ready == 0 && stats.last_failure.is_some();
        if away != self.sql.away {
            self.sql.away = away;
            let cause = stats.last_failure.unwrap_or_default();
            if away {
                self.log.line(Level::Error, "the database is unavailable", &[("cause", &cause)]);
            } else {
                self.log.line(Level::Info, "the database is available again", &[]);
            }
        }
    }
}

fn throw(vm: &mut Vm, waiting: &Waiting, error: &QueryError) {
    let (name, message, code) = fault_of(error);
    let text = |text: &str| Value::Str(text.into());
    let mut props = Vec::new();
    if let QueryError::Server(server) = error {
        for (key, value) in [
            ("detail", &server.detail),
            ("hint", &server.hint),
            ("schema", &server.schema),
            ("table", &server.table),
            ("column", &server.column),
            ("constraint", &server.constraint),
        ] {
            if !value.is_empty() {
                props.push((key, text(value)));
            }
        }
    }
    let spec = ErrorSpec { name, message: &message, code: code.as_deref(), props: &props };
    let _ = vm.resume_error(waiting.task, waiting.effect, &spec);
}

/// Name, message and code of the exception that a script sees.
fn fault_of(error: &QueryError) -> (&'static str, String, Option<String>) {
    match error {
        QueryError::Server(server) => {
            ("DatabaseError", server.message.to_string(), Some(server.code.to_string()))
        }
        QueryError::Parameter(_) => ("ParameterError", error.to_string(), Some("22P02".into())),
        QueryError::Unavailable(_) => ("UnavailableError", error.to_string(), None),
        QueryError::Lost { unknown_outcome: true, .. } => {
            ("UnavailableError", error.to_string(), Some("08007".into()))
        }
        QueryError::Lost { .. } => ("UnavailableError", error.to_string(), Some("08006".into())),
        QueryError::Value(_) | QueryError::ResultTooLarge { .. } => ("RangeError", error.to_string(), None),
        QueryError::Refused(_) => ("TypeError", error.to_string(), None),
    }
}

/// The chain's calls as the map that `Query::from_value` reads.
fn describe(ops: &[QueryOp<'_>]) -> Result<Value, String> {
    let mut map: Vec<(Box<str>, Value)> = Vec::new();
    let mut wheres = Vec::new();
    let mut order = Vec::new();
    for op in ops {
        let name = op.name;
        let tree =
            |value: &ValueRef<'_>| ValueBuilder::build(value).map_err(|error| format!("{name}: {error}"));
        let args: Vec<Value> = match name {
            // The predicate is data, the rest are captured values.
            "%where" => op.args.iter().skip(1).map(tree).collect::<Result<_, _>>()?,
            _ => op.args.iter().map(tree).collect::<Result<_, _>>()?,
        };
        let mut set = |key: &str, value: Value| map.push((key.into(), value));
        let columns = |args: Vec<Value>| match <[Value; 1]>::try_from(args) {
            Ok([Value::List(items)]) => Value::List(items),
            Ok([one]) => Value::List(vec![one]),
            Err(many) => Value::List(many),
        };
        let first = |args: Vec<Value>| args.into_iter().next().unwrap_or(Value::Undefined);
        match name {
            "table" | "from" => set("table", first(args)),
            "%where" => {
                let predicate = op.args.first().and_then(|data| data.as_bytes()).unwrap_or_default();
                let mut builder = ValueBuilder::default();
                codec::decode(predicate, &mut builder).map_err(|error| format!("where: {error}"))?;
                let predicate = builder.finish().unwrap_or_default();
                wheres.push(Value::List(vec!["lambda".into(), predicate, Value::List(args)]));
            }
            "where" => {
                let kind = if matches!(args.as_slice(), [Value::Map(_)]) { "object" } else { "pair" };
                let mut items = vec![Value::from(kind)];
                items.extend(args);
                wheres.push(Value::List(items));
            }
            "order" => {
                let mut items = args;
                if items.len() == 1 {
                    items.push("asc".into());
                }
                order.push(Value::List(items));
            }
            "select" | "returning" => set(name, columns(args)),
            "limit" | "offset" => set(name, first(args)),
            "all" => set("all", Value::Bool(true)),
            "get" | "first" | "count" | "exists" | "delete" => set("verb", name.into()),
            "insert" | "update" => {
                set("verb", name.into());
                set("values", first(args));
            }
            other => return Err(format!("db(): {other} can't be used here")),
        }
    }
    if !wheres.is_empty() {
        map.push(("where".into(), Value::List(wheres)));
    }
    if !order.is_empty() {
        map.push(("order".into(), Value::List(order)));
    }
    if !map.iter().any(|(key, _)| &**key == "verb") {
        map.push(("verb".into(), "get".into()));
    }
    Ok(Value::Map(map))
}
