//! `db()`: a query object of the machine becomes SQL, goes to the core's pool, and its
//! rows are decoded straight into the arena of the task that waits.

use std::net::SocketAddr;
use std::rc::Rc;

use forebay_base::limits::DatabaseLimits;
use forebay_base::{CoreId, Monotonic, Value, ValueSink, ValueSource as _};
use forebay_engine::{ErrorSpec, Vm};
use forebay_postgres::config::Host;
use forebay_postgres::pool::{Action, Link, OVER, Pool};
use forebay_postgres::{Config, Delivery, Event, Param, QueryError, Receiver, Shape, Token};
use forebay_ring::{Close, Endpoint, Reactor, TimerId};

use super::tx::Step;
use super::{Call, Effects, Owner, Waiting, What, plans};
use crate::back::{BackConfig, Level};
use crate::slots::Slots;
use crate::tokens;

/// A database as one core sees it.
pub(crate) struct Sql {
    /// What `db(name)` calls it; empty: it is the one that `db()` means.
    label: String,
    /// Its place among the databases.
    number: usize,
    /// There while an address is known.
    pub(super) pool: Option<Pool>,
    endpoint: Result<Endpoint, String>,
    /// Of the hosts behind the first, as they were found at the start.
    others: Vec<Result<Endpoint, String>>,
    /// What it was made from: for a pool later on, and for the host's name.
    config: Option<(Config, DatabaseLimits, u64)>,
    name: Name,
    connections: Vec<(Link, forebay_base::ConnectionId)>,
    /// Sent, but not yet with the kernel: a COPY waits for that.
    unsent: Vec<(Link, Vec<u8>)>,
    /// Channels to listen to, and whether the pool knows.
    channels: (Vec<Box<str>>, bool),
    /// Room for connections, as the server says.
    room: Room,
    timer: Option<(Monotonic, TimerId)>,
    /// Whether the last thing that the log heard is that the database is away.
    away: bool,
}

/// Whether somebody has looked at how many connections the server takes.
#[derive(Debug)]
enum Room {
    Unknown,
    /// Asked: the answer, under construction.
    Asked(forebay_base::value::ValueBuilder),
    Known,
}

/// Transactions waiting for a connection beyond which no durable task is loaded: a restart wakes its tasks by and by.
const WOKEN_MAX: usize = 64;
/// Durable tasks that wait for a connection of a database that is away.
const PROBES_MAX: usize = 8;
/// The token of the question; no effect has it.
const ROOM: Token = Token(u64::MAX - 1);
/// The least of what the server leaves to ordinary roles, what the database and what the role may have.
const ROOM_QUERY: &str = "SELECT least(current_setting('max_connections')::int8 \
    - current_setting('superuser_reserved_connections')::int8, CASE WHEN NOT r.rolsuper THEN nullif(d.datconnlimit, -1) END, \
    CASE WHEN NOT r.rolsuper THEN nullif(r.rolconnlimit, -1) END) \
    FROM pg_catalog.pg_database d, pg_catalog.pg_roles r \
    WHERE d.datname = current_database() AND r.rolname = current_user";

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
    /// The database of `db()` first, whether there is one or not, then those with names.
    pub(crate) fn all(core: CoreId, config: &BackConfig, now: Monotonic) -> Vec<Self> {
        let first = (String::new(), config.database.clone(), config.database_limits.clone());
        let more = config
            .more_databases
            .iter()
            .map(|(label, database, limits)| (label.clone(), Some(database.clone()), limits.clone()));
        std::iter::once(first)
            .chain(more)
            .enumerate()
            .map(|(number, (label, database, limits))| Self::new(core, number, label, database, limits, now))
            .collect()
    }

    fn new(
        core: CoreId,
        number: usize,
        label: String,
        database: Option<Config>,
        limits: DatabaseLimits,
        now: Monotonic,
    ) -> Self {
        let others = database.as_ref().map_or(Vec::new(), |config| {
            (1..config.host_count()).map(|host| endpoint_of(config, host)).collect()
        });
        let endpoint = match &database {
            Some(database) => endpoint_of(database, 0),
            None => Err("no database is configured: [database] url in forebay.toml".into()),
        };
        let seed = u64::from(core.0) ^ now.0 ^ (number as u64) << 32;
        let config = database.map(|database| (database, limits, seed));
        let mut sql = Self {
            label,
            number,
            pool: None,
            name: if endpoint.is_ok() || config.is_none() { Name::Known } else { Name::Wanted },
            endpoint,
            others,
            config,
            connections: Vec::new(),
            unsent: Vec::new(),
            channels: (Vec::new(), true),
            room: if number == 0 && core == CoreId(0) { Room::Unknown } else { Room::Known },
            timer: None,
            away: false,
        };
        sql.make_pool(now);
        sql
    }

    /// Without an address nobody would carry out what a pool asks for.
    fn make_pool(&mut self, now: Monotonic) {
        if self.pool.is_none()
            && (self.endpoint.is_ok() || self.others.iter().any(Result::is_ok))
            && let Some((config, limits, seed)) = &self.config
        {
            self.pool = Some(Pool::new(config.clone(), limits.clone(), *seed, now));
        }
    }

    /// What it should listen to from now on; whether it can.
    pub(super) fn set_channels(&mut self, channels: Vec<Box<str>>) -> Result<(), &'static str> {
        if channels == self.channels.0 {
            return Ok(());
        }
        self.channels = (channels, false);
        if self.config.is_some() { Ok(()) } else { Err("no database is configured") }
    }

    /// Tells the pool, once there is one.
    fn listen(&mut self, now: Monotonic) -> Result<(), QueryError> {
        let Some(pool) = self.pool.as_mut().filter(|_| !self.channels.1) else { return Ok(()) };
        self.channels.1 = true;
        let channels: Vec<&str> = self.channels.0.iter().map(|channel| &**channel).collect();
        pool.listen(&channels, now)
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
        self.unsent.retain(|(l, _)| *l != link);
        if let Some(pool) = &mut self.pool {
            pool.handle_closed(link, cause, now);
        }
    }

    pub(crate) fn cancelled(&mut self, link: Link, now: Monotonic) {
        if let Some(pool) = &mut self.pool {
            pool.handle_cancelled(link, now);
        }
    }

    pub(crate) fn computed(&mut self, link: Link, job: forebay_postgres::connection::Job, now: Monotonic) {
        if let Some(pool) = &mut self.pool {
            pool.handle_job(link, job, now);
        }
    }

    /// Whether somebody waits to hear that bytes are with the kernel.
    pub(super) fn awaits_sending(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub(crate) fn sent(&mut self, link: Link) {
        if let Some(index) = self.unsent.iter().position(|(of, _)| *of == link)
            && let Some(pool) = &mut self.pool
        {
            let (_, bytes) = self.unsent.swap_remove(index);
            pool.handle_sent(link, bytes);
        }
    }

    pub(crate) fn abandon(&mut self, key: u64, now: Monotonic) {
        if let Some(pool) = &mut self.pool {
            pool.abandon(Token(key), now);
        }
    }
}

/// Where the pool's links connect to at first. Names are resolved here once, before the core
/// serves anyone; later on by the resolver's thread.
fn endpoint_of(config: &Config, host: usize) -> Result<Endpoint, String> {
    use std::net::ToSocketAddrs as _;
    match config.host(host) {
        (Host::Tcp(name), port, _) => (name.as_str(), port)
            .to_socket_addrs()
            .map_err(|error| format!("{name}: {error}"))?
            .next()
            .map(Endpoint::Tcp)
            .ok_or_else(|| format!("{name}: no address")),
        (Host::Unix(folder), port, _) => Ok(Endpoint::Unix(folder.join(format!(".s.PGSQL.{port}")))),
    }
}

/// The sinks of waiting tasks.
struct Sinks<'a> {
    vm: &'a mut Vm,
    waiting: &'a mut Slots<Waiting>,
    steps: &'a mut super::steps::Steps,
    room: &'a mut Room,
}

impl Receiver for Sinks<'_> {
    fn sink(&mut self, token: Token) -> Option<&mut dyn ValueSink> {
        if token == ROOM {
            return match self.room {
                Room::Asked(answer) => Some(answer),
                _ => None,
            };
        }
        if self.steps.owns(token) {
            return self.steps.sink(token);
        }
        let waiting = self.waiting.get_mut(token.0)?;
        self.vm.result_sink(waiting.task, waiting.effect)
    }
}

impl Effects {
    /// Whether a query only reads, as far as its text shows. One that can't be rendered is no write either.
    pub(crate) fn only_reads(&mut self, vm: &Vm, call: &Call<'_>) -> bool {
        let mut leaves = Vec::new();
        self.plans.of(vm.query(call.task, call.effect.id), &mut leaves).map_or(true, |statement| {
            statement.shown || statement.plan.access == forebay_postgres::Access::Read
        })
    }

    pub(super) fn begin_sql(&mut self, vm: &mut Vm, call: &Call<'_>) {
        if let Err(refusal) = self.send_query(vm, call) {
            self.refuse(vm, call, &refusal);
        }
    }

    fn send_query(&mut self, vm: &mut Vm, call: &Call<'_>) -> Result<(), Refusal> {
        let wrong = |message: String| ("TypeError", message, None);
        let query = vm.query_call(call.task, call.effect.id);
        let place = (query.database, query.transaction);
        let mut few = [Param::Null; plans::FEW];
        if let Some((statement, count)) = self.plans.of_lambda(&query.ops, &mut few) {
            let statement = Rc::clone(statement);
            return self.send_statement(call, place, &statement, &few[..count]);
        }
        let mut leaves = Vec::new();
        let statement = self.plans.of(query.ops, &mut leaves).map_err(wrong)?;
        let owned = plans::owned(&leaves).map_err(wrong)?;
        let mut params = Vec::with_capacity(statement.plan.sources.len());
        plans::parameters(&statement.plan, &leaves, &owned, &mut params);
        if statement.shown {
            let shown = Value::Map(vec![
                ("sql".into(), Value::Str(statement.plan.text.clone())),
                ("params".into(), Value::List(params.iter().map(Param::to_value).collect())),
            ]);
            drop(params);
            drop(leaves);
            self.answer(vm, call, &mut |sink| shown.emit(sink));
            return Ok(());
        }
        self.send_statement(call, place, &statement, &params)
    }

    /// To the database of this name, in the transaction of this number.
    fn send_statement(
        &mut self,
        call: &Call<'_>,
        (label, number): (Option<&str>, u32),
        statement: &Rc<plans::Statement>,
        params: &[Param<'_>],
    ) -> Result<(), Refusal> {
        let (database, inside) = self.place_of_query(label, number, call.run)?;
        // In a test: a failed statement spoils neither its transaction nor that of its requests.
        let guarded = inside.is_some() && (number == 0 || self.transactions.is_around(call.run, number));
        if guarded && self.queue_behind_guarded(call) {
            return Ok(());
        }
        let plan = &statement.plan;
        let sql = forebay_postgres::Sql { text: &plan.text, hash: plan.hash, access: plan.access };
        let must_exist = statement.must_exist.is_some().then(|| Rc::clone(statement));
        let key = self.wait(call, What::Sql(database, must_exist));
        if let Some(root) = inside.filter(|_| guarded)
            && let Err(refusal) = self.guard(key, database, root)
        {
            self.unwait(key);
            return Err(refusal);
        }
        let sent = self.pool(database).and_then(|pool| {
            match inside {
                None => pool.query(Token(key), &sql, params, plan.shape, Delivery::Whole, call.now),
                Some(root) => pool.query_in(root, Token(key), &sql, params, plan.shape, Delivery::Whole),
            }
            .map_err(|error| if error == OVER { super::tx::lost() } else { refusal_of(error) })
        });
        if sent.is_err() {
            self.unwait(key);
        }
        sent
    }

    /// What `db(name)` calls a database.
    pub(crate) fn label_of(&self, database: usize) -> &str {
        self.databases.get(database).map_or("", |sql| &sql.label)
    }

    /// Which database a query of `db(label)` is of, and in which transaction; `number` is that of its fiber.
    pub(super) fn place_of_query(
        &self,
        label: Option<&str>,
        number: u32,
        run: u64,
    ) -> Result<(usize, Option<Token>), Refusal> {
        let ended = |why: &str| ("TransactionError", format!("db: {why}"), None);
        if number == 0 {
            let database = self.database(label)?;
            // Another database than the test's has no transaction around it.
            let around = self.around(run).map_err(ended)?.filter(|(around, _)| *around == database);
            return Ok((database, around.map(|(_, root)| root)));
        }
        let (database, root) = self.transactions.of(number, run).map_err(ended)?;
        match label {
            Some(label) if self.databases[database].label != label => {
                let why = format!("db({label:?}): the transaction here is of another database");
                Err(("TransactionError", why, None))
            }
            _ => Ok((database, Some(root))),
        }
    }

    /// The number of a database: of `db()`, or of `db(label)`.
    pub(super) fn database(&self, label: Option<&str>) -> Result<usize, Refusal> {
        // The first has no name.
        let Some(label) = label else { return Ok(0) };
        self.databases.iter().position(|sql| sql.label == label).ok_or_else(|| {
            let known: Vec<&str> = self.databases.iter().skip(1).map(|sql| &*sql.label).collect();
            let known =
                if known.is_empty() { "there is none with a name".to_owned() } else { known.join(", ") };
            let message = format!("db({label:?}): no [database.{label}] in forebay.toml; {known}");
            ("TypeError", message, None)
        })
    }

    /// Its pool, once its address is known.
    pub(super) fn pool(&mut self, database: usize) -> Result<&mut Pool, Refusal> {
        match self.databases.get_mut(database) {
            Some(Sql { pool: Some(pool), .. }) => Ok(pool),
            sql => {
                // Its host may have an address later on; without a configuration nothing will ever come.
                let code = sql.as_ref().filter(|sql| sql.config.is_some()).map(|_| NOT_SENT.to_owned());
                let why = sql.and_then(|sql| sql.endpoint.as_ref().err()).map_or("", String::as_str);
                Err(("UnavailableError", format!("database unavailable: {why}"), code))
            }
        }
    }

    pub(super) fn received_sql(
        &mut self,
        vm: &mut Vm,
        database: usize,
        link: Link,
        bytes: &[u8],
        now: Monotonic,
    ) {
        let Self { databases, waiting, steps, .. } = self;
        if let Some(Sql { pool: Some(pool), room, .. }) = databases.get_mut(database) {
            pool.handle_bytes(link, bytes, now, &mut Sinks { vm, waiting, steps, room });
        }
    }

    /// Results to their tasks.
    pub(super) fn settle_sql(&mut self, vm: &mut Vm, database: usize, now: Monotonic) {
        loop {
            let Some(event) =
                self.databases.get_mut(database).and_then(|sql| sql.pool.as_mut()).and_then(Pool::poll_event)
            else {
                return;
            };
            match event {
                Event::Done { token: ROOM, .. } => self.compare_room(database),
                Event::Done { token, result } if self.steps.owns(token) => {
                    self.step_answered(vm, token, result, now);
                }
                Event::Done { token, result } => {
                    self.unguard(token.0, result.is_ok());
                    self.begin_queued(vm, now);
                    // Asked whatever came: the end of a transaction is watched once.
                    let (watched, never) = self.was_committing(token.0);
                    if let (Err(QueryError::Refused(_)), Some((name, message, code))) = (&result, never) {
                        // Rolled back, because its row can't be written.
                        let Some(waiting) = self.done(token.0) else { continue };
                        if let What::Tx(_, step) = waiting.what {
                            self.tx_done(step, false);
                        }
                        let spec = ErrorSpec { name, message: &message, code: code.as_deref(), props: &[] };
                        let _ = vm.resume_error(waiting.task, waiting.effect, &spec);
                        continue;
                    }
                    if let Err(error) = &result
                        && self.waits_for_database(token.0, watched, error)
                    {
                        continue;
                    }
                    let Some(waiting) = self.done(token.0) else { continue };
                    let took = now.since(waiting.since);
                    self.metrics.sql.record(took);
                    self.gathering.answered(&waiting.what, took);
                    let outcome = match &waiting.what {
                        What::Sql(_, Some(statement)) if matches!(&result, Ok(done) if done.rows == 0) => {
                            let name = statement.must_exist.as_deref().unwrap_or_default();
                            let message = format!("sql.{name}: no row, and `:one` promises one");
                            let spec = ErrorSpec {
                                name: "NotFoundError",
                                message: &message,
                                code: None,
                                props: &[],
                            };
                            let _ = vm.resume_error(waiting.task, waiting.effect, &spec);
                            continue;
                        }
                        What::Tx(_, Step::CursorEnd) if matches!(result, Err(QueryError::Refused(_))) => {
                            // A statement of it has failed, and said so.
                            Ok(Some(None))
                        }
                        What::Tx(_, step) => {
                            let number = self.tx_done(*step, result.is_ok());
                            result.map(|_| Some(number.map(i64::from)))
                        }
                        What::Copy(_, copy) if !copy.gives_rows() => {
                            result.map(|done| Some(i64::try_from(done.affected).ok()))
                        }
                        _ => result.map(|_| None),
                    };
                    match outcome {
                        Ok(None) => {
                            if let Err(error) = vm.resume_with_result(waiting.task, waiting.effect) {
                                super::unfit(vm, waiting.task, waiting.effect, &error);
                            }
                        }
                        Ok(Some(number)) => {
                            super::resume(vm, waiting.task, waiting.effect, &mut |sink| match number {
                                Some(number) => sink.int(number),
                                None => sink.undefined(),
                            });
                        }
                        // COMMIT, answered with ROLLBACK.
                        Err(QueryError::Refused(message)) if matches!(waiting.what, What::Tx(..)) => {
                            let spec =
                                ErrorSpec { name: "TransactionError", message, code: None, props: &[] };
                            let _ = vm.resume_error(waiting.task, waiting.effect, &spec);
                        }
                        Err(error) => throw(vm, &waiting, &error),
                    }
                }
                Event::Copy { token } => self.copy_goes_on(vm, database, token, true, now),
                Event::CopyMore { token } => self.copy_goes_on(vm, database, token, false, now),
                Event::Notification(notification) => self.notified(*notification),
                Event::Listening { gap } => self.listening(gap),
                Event::Notice(notice) => {
                    self.log.line(Level::Warn, "database notice", &[("notice", &notice)]);
                }
            }
        }
    }

    /// A statement of a durable task failed: true if its script doesn't hear of it, because the task is let go of.
    /// `commits`: it was the end of a transaction, about which nobody may guess.
    fn waits_for_database(&mut self, key: u64, commits: bool, error: &QueryError) -> bool {
        // One that stops may say so behind a COMMIT.
        let unknown = commits && !matches!(error, QueryError::Server(error) if !stops(&error.code));
        let Some(run) = self.waiting.get_mut(key).map(|waiting| waiting.run) else { return false };
        let waits = unknown || self.patient.contains(&run) && passes(&fault_of(error));
        if !waits {
            return false;
        }
        // It stays in flight until the task is let go of: nobody takes it for one that rests.
        self.uncertain.push((run, error.to_string()));
        true
    }

    /// How many tasks may be woken to wait for a connection of their own: those for whom there is no place would only be
    /// refused, and come again later than others. Whoever asks while the database is away doesn't stand in line.
    pub(crate) fn room_to_begin(&self) -> usize {
        let pools = self.databases.iter().filter_map(|sql| sql.pool.as_ref());
        let room = |pool: &Pool| match pool.begins_waiting() {
            0 => WOKEN_MAX.min(pool.begins_room().max(1)),
            waiting => WOKEN_MAX.saturating_sub(waiting).min(pool.begins_room()),
        };
        pools.filter(|pool| !pool.is_away()).map(room).min().unwrap_or(WOKEN_MAX)
    }

    /// While the database is away only a few tasks ask whether it is back: the others needn't stand in line for that.
    pub(super) fn asks_in_vain(&mut self, run: u64, database: usize) -> Result<(), Refusal> {
        let patient = self.patient.contains(&run);
        let pool = self.pool(database)?;
        if patient && pool.is_away() && pool.begins_waiting() >= PROBES_MAX {
            let why = pool.stats().last_failure.unwrap_or_default();
            let message = format!("database unavailable: {why}");
            return Err(("UnavailableError", message, Some(NOT_SENT.into())));
        }
        Ok(())
    }

    /// What calls have settled at once.
    pub(super) fn settle_sql_all(&mut self, vm: &mut Vm, now: Monotonic) {
        for database in 0..self.databases.len() {
            self.settle_sql(vm, database, now);
        }
    }

    /// Does what the pools ask for, until they ask no more.
    pub(super) fn flush_sql<R: Reactor>(&mut self, reactor: &mut R, vm: &mut Vm) {
        for database in 0..self.databases.len() {
            self.flush_database(reactor, vm, database);
        }
    }

    fn flush_database<R: Reactor>(&mut self, reactor: &mut R, vm: &mut Vm, database: usize) {
        let now = reactor.now();
        if let Err(error) = self.databases[database].listen(now) {
            self.log.line(Level::Error, "listen: nobody will hear notifications", &[("cause", &error)]);
        }
        self.ask_for_room(database, now);
        let mut due = self.databases[database].pool.as_ref().map(Pool::next_deadline);
        if due.is_some_and(|due| due <= now) {
            self.sql_deadline(vm, database, now);
            due = None;
        }
        let Self { databases, owners, cancels, compute, .. } = self;
        let sql = &mut databases[database];
        let Sql { pool: Some(pool), endpoint, others, connections, unsent, .. } = sql else { return };
        while let Some(action) = pool.poll_action() {
            if !matches!(action, Action::Send { .. }) {
                due = None;
            }
            match action {
                Action::Connect { link } => {
                    let host = pool.host_of(link);
                    let endpoint = host.checked_sub(1).and_then(|at| others.get(at)).unwrap_or(endpoint);
                    let connected = match endpoint {
                        Ok(endpoint) => reactor.connect(endpoint).map_err(|error| error.to_string()),
                        Err(why) => Err(why.clone()),
                    };
                    match connected {
                        Ok(connection) => {
                            owners.insert(connection, Owner::Database(database, link));
                            connections.push((link, connection));
                        }
                        Err(why) => pool.handle_closed(link, &why, now),
                    }
                }
                Action::Cancel { link, bytes } => {
                    let host = pool.host_of(link);
                    let endpoint = host.checked_sub(1).and_then(|at| others.get(at)).unwrap_or(endpoint);
                    let connected = endpoint.as_ref().ok().and_then(|at| reactor.connect(at).ok());
                    match connected {
                        Some(connection) => {
                            owners.insert(connection, Owner::Cancel(database, link));
                            cancels.push((connection, bytes));
                        }
                        None => pool.handle_cancelled(link, now),
                    }
                }
                Action::Compute { link, job } => {
                    if let Some(done) = compute.start(database, link, job) {
                        pool.handle_job(link, done, now);
                    }
                }
                Action::Send { link, mut bytes } => {
                    let connection = connections.iter().find(|(l, _)| *l == link).map(|(_, c)| *c);
                    match connection.and_then(|connection| reactor.output(connection)) {
                        Some(output) => {
                            output.append(&mut bytes);
                            if pool.is_copying(link) {
                                unsent.push((link, bytes));
                            } else {
                                pool.handle_sent(link, bytes);
                            }
                        }
                        None => pool.handle_sent(link, bytes),
                    }
                }
                Action::Close { link } => {
                    unsent.retain(|(l, _)| *l != link);
                    if let Some(index) = connections.iter().position(|(l, _)| *l == link) {
                        let (_, connection) = connections.swap_remove(index);
                        owners.remove(&connection);
                        // Broken, silent or of no use: nothing that it could still say matters.
                        reactor.close(connection, Close::Now);
                    }
                }
            }
        }
        // Sending moves none of them.
        let due = due.unwrap_or_else(|| pool.next_deadline());
        if sql.timer.is_none_or(|(at, _)| due < at) && due != Monotonic::NEVER {
            if let Some((_, timer)) = sql.timer.take() {
                reactor.cancel_timer(timer);
            }
            sql.timer = Some((due, reactor.set_timer(due, tokens::database(database))));
        }
        self.settle_sql(vm, database, now);
    }

    /// Once, when the first connection is ready.
    fn ask_for_room(&mut self, database: usize, now: Monotonic) {
        let sql = &mut self.databases[database];
        let Some(pool) = sql.pool.as_mut().filter(|_| matches!(sql.room, Room::Unknown)) else { return };
        if pool.stats().ready == 0 {
            return;
        }
        let question = forebay_postgres::Sql::read(ROOM_QUERY);
        sql.room = match pool.query(ROOM, &question, &[], Shape::Scalar, Delivery::Whole, now) {
            Ok(()) => Room::Asked(forebay_base::value::ValueBuilder::default()),
            Err(_) => Room::Known,
        };
    }

    /// Says what to change if all cores together may open more connections than there is room for.
    fn compare_room(&mut self, database: usize) {
        let Self { databases, log, cores, .. } = self;
        let sql = &mut databases[database];
        let answer = match std::mem::replace(&mut sql.room, Room::Known) {
            Room::Asked(answer) => answer.finish(),
            _ => None,
        };
        let (Some(Value::Int(room)), Some((_, limits, _))) = (answer, &sql.config) else { return };
        let each = limits.connections.max(1) + limits.transactions;
        let wanted = each * *cores + usize::from(!sql.channels.0.is_empty());
        if i64::try_from(wanted).is_ok_and(|wanted| wanted <= room) {
            return;
        }
        let fits = usize::try_from(room).unwrap_or(0) / (*cores).max(1);
        let advice = format!(
            "lower [database] connections and transactions to {fits} together, or raise max_connections by {}",
            wanted.saturating_sub(usize::try_from(room).unwrap_or(0))
        );
        let fields: [(&str, &dyn std::fmt::Display); 4] =
            [("wanted", &wanted), ("cores", cores), ("room", &room), ("change", &advice)];
        log.line(Level::Warn, "the database takes fewer connections than this app may open", &fields);
    }

    /// A pool's timer has fired.
    pub(crate) fn sql_timer<R: Reactor>(&mut self, reactor: &mut R, vm: &mut Vm, database: usize) {
        if let Some(sql) = self.databases.get_mut(database) {
            sql.timer = None;
            self.sql_deadline(vm, database, reactor.now());
            self.flush_sql(reactor, vm);
        }
    }

    fn sql_deadline(&mut self, vm: &mut Vm, database: usize, now: Monotonic) {
        if let Some(pool) = &mut self.databases[database].pool {
            pool.handle_timeout(now);
        }
        self.settle_sql(vm, database, now);
    }

    /// Sums over all databases; each tells the log by its name when it goes and comes.
    pub(super) fn sql_gauges(&mut self) {
        let Self { databases, metrics, log, .. } = self;
        let (mut ready, mut in_flight, mut queued) = (0, 0, 0);
        for sql in databases {
            let Some(pool) = &sql.pool else { continue };
            let stats = pool.stats();
            ready += stats.ready;
            in_flight += stats.in_flight;
            queued += stats.queued;
            let away = stats.ready == 0 && stats.last_failure.is_some();
            if away == sql.away {
                continue;
            }
            sql.away = away;
            let cause = stats.last_failure.unwrap_or_default();
            let mut fields: Vec<(&str, &dyn std::fmt::Display)> = Vec::new();
            if sql.number != 0 {
                fields.push(("database", &sql.label));
            }
            if away {
                fields.push(("cause", &cause));
                log.line(Level::Error, "the database is unavailable", &fields);
            } else {
                log.line(Level::Info, "the database is available again", &fields);
            }
        }
        metrics.database_ready.set(ready as u64);
        metrics.database_in_flight.set(in_flight as u64);
        metrics.database_queued.set(queued as u64);
    }
}

/// Name, message and code of an exception for a script.
pub(crate) type Refusal = (&'static str, String, Option<String>);

/// The statement was never sent (SQLSTATE class 08, "unable to establish connection").
pub(super) const NOT_SENT: &str = "08001";

/// Whether it is only for a while that the database doesn't do it: no place, no connection, one that was lost, a server
/// that starts, stops or is full. Not so without a database in the configuration.
pub(super) fn passes((name, _, code): &Refusal) -> bool {
    let code = code.as_deref().unwrap_or_default();
    match *name {
        "UnavailableError" => matches!(code, NOT_SENT | "08006" | "08007"),
        "DatabaseError" => stops(code),
        _ => false,
    }
}

/// Codes of a server that starts, stops, or has no connection left (the PostgreSQL manual's appendix A).
pub(super) fn stops(code: &str) -> bool {
    matches!(code, "57P01" | "57P02" | "57P03" | "53300")
}

/// As the script sees it.
pub(super) fn refusal_of(error: QueryError) -> Refusal {
    fault_of(&error)
}

pub(super) fn throw(vm: &mut Vm, waiting: &Waiting, error: &QueryError) {
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
fn fault_of(error: &QueryError) -> Refusal {
    match error {
        QueryError::Server(server) => {
            ("DatabaseError", server.message.to_string(), Some(server.code.to_string()))
        }
        QueryError::Parameter(_) => ("ParameterError", error.to_string(), Some("22P02".into())),
        QueryError::Unavailable(_) => ("UnavailableError", error.to_string(), Some(NOT_SENT.into())),
        QueryError::Crowded(_) => ("UnavailableError", error.to_string(), None),
        QueryError::Lost { unknown_outcome: true, .. } => {
            ("UnavailableError", error.to_string(), Some("08007".into()))
        }
        QueryError::Lost { .. } => ("UnavailableError", error.to_string(), Some("08006".into())),
        QueryError::Value(_) | QueryError::ResultTooLarge { .. } => ("RangeError", error.to_string(), None),
        QueryError::Refused(_) | QueryError::Values { .. } => ("TypeError", error.to_string(), None),
    }
}
