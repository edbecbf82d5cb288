//! Effects: what a parked fiber waits for. Each kind has its file; this one keeps
//! the table of what waits, and which connection of ours is whose.
//!
//! ```text
//!   begin      take_effects(task) -> kv: answered at once, or submitted to the store
//!                                    sql: rendered, handed to the database pool
//!                                    http: handed to upstream
//!                                    sleep: a timer
//!   flush      the store's next commit, the pool's bytes, upstreams' bytes
//!   an event   -> Waiting by its key -> vm.resume -> `resumed` -> runnable
//! ```

mod bulk;
pub(crate) mod kv;
mod listen;
mod plans;
pub(crate) mod sql;
pub(crate) mod steps;
mod time;
mod tx;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use forebay_base::value::ValueBuilder;
use forebay_base::{
    ConnectionId, CoreId, Monotonic, TenantId, Timestamp, ValueError, ValueSink, ValueSource as _,
};
use forebay_bytecode::HostFn;
use forebay_engine::{Effect, EffectId, ErrorSpec, TaskHandle, Vm};
use forebay_kv::Completion;
use forebay_ring::{Errno, Reactor, ReceiveBuffer, TimerId};

use crate::back::{BackConfig, Log};
use crate::compute::Compute;
use crate::metrics::{CoreMetrics, EffectKind};
use crate::slots::{Counts, Slots};
use crate::testing::{Outside, TestWorld};
use crate::tokens;
use crate::upstream::{Answered, Upstream};

pub(crate) use listen::Heard;
pub(crate) use time::milliseconds;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Of which database, and which of its pool's links.
    Database(usize, forebay_postgres::pool::Link),
    /// Of which database, and whose statement it cancels.
    Cancel(usize, forebay_postgres::pool::Link),
    /// Key of an outbound connection.
    Upstream(u64),
}

/// By connections, whose numbers are ours.
pub(crate) type Owners = HashMap<ConnectionId, Owner, BuildHasherDefault<plans::Fold>>;

/// An effect in flight.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The run that waits, by its key in `Back::runs`.
    pub(crate) run: u64,
    pub(crate) task: TaskHandle,
    pub(crate) effect: EffectId,
    pub(crate) since: Monotonic,
    pub(crate) what: What,
}

/// What is in flight.
#[derive(Debug)]
pub(crate) enum What {
    Kv(kv::Pending),
    /// A statement of this database.
    Sql(usize, Option<std::rc::Rc<plans::Statement>>),
    /// A COPY of this database.
    Copy(usize, Box<bulk::Copy>),
    /// A step of a transaction of this database.
    Tx(usize, tx::Step),
    /// Nothing: a statement that a durable task couldn't begin, until the task is let go of.
    Later,
    /// A step of a durable task in this database.
    Step(usize),
    Http,
    Sleep(TimerId),
    /// An answer about a durable task; the one that was started.
    Task(Option<forebay_frames::TaskId>),
}

/// An effect about a durable task, which its home has to hear of.
#[derive(Debug)]
pub(crate) struct Ask {
    /// In [`Effects::waiting`].
    pub(crate) key: u64,
    pub(crate) run: u64,
    pub(crate) task: TaskHandle,
    pub(crate) effect: Effect,
    /// [`Call::once`].
    pub(crate) once: Option<Box<str>>,
}

/// All effects of one core.
pub(crate) struct Effects {
    pub(crate) core: CoreId,
    pub(crate) waiting: Slots<Waiting>,
    /// Runs with effects in flight: how many.
    outstanding: Counts,
    /// Runs whose effect has ended since the last look.
    pub(crate) resumed: Vec<u64>,
    /// Answers of the store to what durable tasks have written.
    pub(crate) saved: Vec<Completion>,
    /// What scripts want of durable tasks: carried out before the turn's flush.
    pub(crate) asks: Vec<Ask>,
    taken: Vec<Effect>,
    kv: kv::Kv,
    cores: usize,
    /// The first is the one that `db()` means.
    databases: Vec<sql::Sql>,
    transactions: tx::Transactions,
    pub(crate) steps: steps::Steps,
    /// Runs of durable tasks: they never hear that the database is away for a while.
    pub(crate) patient: HashSet<u64>,
    /// Runs of durable tasks that are to be let go of, and why: the database doesn't do their statement for now, or
    /// nobody knows whether it did.
    pub(crate) uncertain: Vec<(u64, String)>,
    cursors: bulk::Cursors,
    plans: plans::Plans,
    upstream: Upstream,
    compute: Compute,
    owners: Owners,
    pub(crate) gathering: crate::gathering::Gathering,
    /// Notifications whose handlers haven't begun.
    pub(crate) heard: VecDeque<Heard>,
    /// CancelRequests whose connections are being made.
    cancels: Vec<(ConnectionId, Vec<u8>)>,
    metrics: Arc<CoreMetrics>,
    pub(crate) log: Arc<dyn Log>,
    test: Option<Arc<TestWorld>>,
}

/// An error for the script.
pub(crate) struct Fault<'a> {
    pub(crate) name: &'a str,
    pub(crate) message: &'a str,
    pub(crate) code: Option<&'a str>,
}

impl Effects {
    pub(crate) fn new<R: Reactor>(
        core: CoreId,
        config: &BackConfig,
        metrics: &Arc<CoreMetrics>,
        reactor: &mut R,
    ) -> Self {
        Self {
            core,
            waiting: Slots::new(),
            outstanding: Counts::default(),
            resumed: Vec::new(),
            saved: Vec::new(),
            asks: Vec::new(),
            taken: Vec::new(),
            kv: kv::Kv::new(config),
            cores: config.cores,
            databases: sql::Sql::all(core, config, reactor.now()),
            transactions: tx::Transactions::default(),
            steps: steps::Steps::default(),
            patient: HashSet::new(),
            uncertain: Vec::new(),
            cursors: bulk::Cursors::default(),
            plans: plans::Plans::default(),
            upstream: Upstream::new(config, reactor.waker()),
            compute: Compute::new(reactor.waker()),
            owners: Owners::default(),
            gathering: crate::gathering::Gathering::default(),
            heard: VecDeque::new(),
            cancels: Vec::new(),
            metrics: Arc::clone(metrics),
            log: Arc::clone(&config.log),
            test: config.test.clone(),
        }
    }

    /// The wall clock, or the one that a test has stopped.
    pub(crate) fn wall<R: Reactor>(&self, reactor: &R) -> Timestamp {
        self.test.as_ref().and_then(|test| test.clock()).unwrap_or_else(|| reactor.timestamp())
    }

    /// Nothing that must reach the disk or a peer is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.len() == 0 && !self.kv.commit_in_flight()
    }

    /// No write of the store is under way here.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.kv.commit_in_flight()
    }

    /// Once a second.
    pub(crate) fn tick<R: Reactor>(&mut self, reactor: &mut R) {
        self.sql_gauges();
        for (database, sql) in self.databases.iter_mut().enumerate() {
            if let Some((host, port)) = sql.wants_address() {
                let asked = self.upstream.ask_for_database(database, host, port);
                sql.asked(asked);
            }
        }
        self.upstream.tick(reactor);
        self.kv.look();
    }

    /// Carries out what a run asked for since it was last looked at.
    pub(crate) fn begin<R: Reactor>(&mut self, reactor: &mut R, vm: &mut Vm, run: u64, task: TaskHandle) {
        let mut taken = std::mem::take(&mut self.taken);
        taken.clear();
        vm.take_effects(task, &mut taken);
        let (now, timestamp) = (reactor.now(), self.wall(reactor));
        let tenant = self.test.as_ref().map_or(TenantId(0), |test| test.tenant());
        for effect in &taken {
            let call = Call { run, task, effect, now, timestamp, tenant, once: None };
            self.begin_one(reactor, vm, &call);
        }
        self.taken = taken;
        self.answer_unsynced(reactor, vm);
    }

    /// Carries out one effect.
    pub(crate) fn begin_one<R: Reactor>(&mut self, reactor: &mut R, vm: &mut Vm, call: &Call<'_>) {
        let kind = match call.effect.func {
            HostFn::Sleep => {
                self.begin_sleep(reactor, vm, call);
                EffectKind::Sleep
            }
            HostFn::Query => {
                self.begin_sql(vm, call);
                EffectKind::Sql
            }
            HostFn::TxBegin => {
                self.begin_tx(vm, call);
                EffectKind::Sql
            }
            HostFn::TxEnd => {
                self.end_tx(vm, call);
                EffectKind::Sql
            }
            HostFn::CopyIn | HostFn::CopyOut => {
                self.begin_copy(vm, call, call.effect.func == HostFn::CopyOut);
                EffectKind::Sql
            }
            HostFn::CursorOpen => {
                self.open_cursor(vm, call);
                EffectKind::Sql
            }
            HostFn::CursorFetch => {
                self.fetch_cursor(vm, call);
                EffectKind::Sql
            }
            HostFn::CursorClose => {
                self.close_cursor(vm, call);
                EffectKind::Sql
            }
            HostFn::HttpRequest => {
                self.begin_http(reactor, vm, call);
                EffectKind::Http
            }
            HostFn::TaskId => return self.answer(vm, call, &mut |sink| sink.undefined()),
            HostFn::TaskSignal | HostFn::TaskStart | HostFn::TaskCancel => {
                let key = self.wait(call, What::Task(None));
                let once = call.once.map(Into::into);
                self.asks.push(Ask { key, run: call.run, task: call.task, effect: *call.effect, once });
                return;
            }
            HostFn::TaskWait
            | HostFn::TaskPromiseMake
            | HostFn::TaskPromiseWait
            | HostFn::TaskJoin
            | HostFn::TaskDeferWait
            | HostFn::TaskDeferDone
            | HostFn::TaskFailed
            | HostFn::TaskDeferKept => return self.only_durable(vm, call),
            _ => {
                self.begin_kv(vm, call);
                EffectKind::Kv
            }
        };
        self.metrics.effects[kind as usize].add(1);
    }

    /// What a handler that isn't durable can't do.
    fn only_durable(&mut self, vm: &mut Vm, call: &Call<'_>) {
        let name = match call.effect.func {
            HostFn::TaskPromiseMake | HostFn::TaskPromiseWait => "task.promise",
            HostFn::TaskDeferWait | HostFn::TaskDeferDone | HostFn::TaskDeferKept | HostFn::TaskFailed => {
                "task.defer"
            }
            other => other.path(),
        };
        let message = format!("{name} is for durable tasks: work(...).post(...).durable()");
        self.fail(vm, call, &Fault { name: "TypeError", message: &message, code: None });
    }

    fn answer_unsynced<R: Reactor>(&mut self, reactor: &R, vm: &mut Vm) {
        if self.kv.is_answered() {
            // Without `sync` the answer is there already.
            self.complete_kv(vm, reactor);
        }
    }

    fn begin_sleep<R: Reactor>(&mut self, reactor: &mut R, vm: &mut Vm, call: &Call<'_>) {
        let time = vm.arg(call.task, call.effect.id, 0);
        match milliseconds(time) {
            // In a test with a stopped clock, time passes at once.
            Ok(millis) if self.test.as_ref().is_some_and(|test| test.advance(micros_of(millis))) => {
                self.answer(vm, call, &mut |sink| sink.undefined());
            }
            Ok(millis) => {
                // The timer's token is the effect's key, and the effect knows its timer.
                let deadline = call.now.after(std::time::Duration::from_millis(millis));
                let key = self.wait(call, What::Http);
                let timer = reactor.set_timer(deadline, tokens::sleep(key));
                if let Some(waiting) = self.waiting.get_mut(key) {
                    waiting.what = What::Sleep(timer);
                }
            }
            Err(message) => {
                let message = format!("sleep: {message}");
                self.fail(vm, call, &Fault { name: "TypeError", message: &message, code: None });
            }
        }
    }

    /// A `sleep()` is over.
    pub(crate) fn slept(&mut self, vm: &mut Vm, key: u64) {
        if let Some(waiting) = self.done(key) {
            resume(vm, waiting.task, waiting.effect, &mut |sink| sink.undefined());
        }
    }

    fn begin_http<R: Reactor>(&mut self, reactor: &mut R, vm: &mut Vm, call: &Call<'_>) {
        let mut instead = None;
        if let Some(test) = &self.test {
            let arg = |index| vm.arg(call.task, call.effect.id, index);
            let (method, url) = (arg(0).as_str().unwrap_or_default(), arg(1).as_str().unwrap_or_default());
            let body = ValueBuilder::build(&arg(2)).unwrap_or_default();
            match test.outbound(method, url, &body) {
                Outside::Answer(status, headers, body) => {
                    let answer = Answered { status, headers, body };
                    return self.answer(vm, call, &mut |sink| answer.emit(sink));
                }
                Outside::Fail(message) => {
                    return self.fail(vm, call, &Fault { name: "HttpError", message: &message, code: None });
                }
                Outside::Send(url) => instead = Some(url),
            }
        }
        let key = self.wait(call, What::Http);
        let Self { upstream, owners, .. } = self;
        let outcome = upstream.begin(reactor, vm, call, key, owners, instead);
        if let Err(message) = outcome {
            self.done(key);
            self.fail(vm, call, &Fault { name: "HttpError", message: &message, code: None });
        } else {
            self.settle_http(vm);
        }
    }

    /// Hands finished outbound requests to their tasks.
    fn settle_http(&mut self, vm: &mut Vm) {
        while let Some((key, result)) = self.upstream.finished.pop() {
            let Some(waiting) = self.done(key) else { continue };
            match result {
                Ok(response) => {
                    resume(vm, waiting.task, waiting.effect, &mut |sink| response.emit(sink));
                }
                Err(message) => {
                    let spec = ErrorSpec { name: "HttpError", message: &message, code: None, props: &[] };
                    let _ = vm.resume_error(waiting.task, waiting.effect, &spec);
                }
            }
        }
    }

    /// How many effects of a run are in flight.
    pub(crate) fn in_flight(&self, run: u64) -> u32 {
        self.outstanding.get(run)
    }

    /// Puts an effect into the table of those in flight.
    pub(crate) fn wait(&mut self, call: &Call<'_>, what: What) -> u64 {
        self.outstanding.add(call.run);
        self.gathering.begun(&what, call.now);
        self.waiting.insert(Waiting {
            run: call.run,
            task: call.task,
            effect: call.effect.id,
            since: call.now,
            what,
        })
    }

    /// Takes an effect out of the table; its run will be looked at.
    pub(crate) fn done(&mut self, key: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(key)?;
        self.gathering.ended(&waiting.what);
        self.outstanding.subtract(waiting.run);
        self.resumed.push(waiting.run);
        Some(waiting)
    }

    /// Takes back an effect that could not be begun, before it is answered.
    fn unwait(&mut self, key: u64) {
        if self.done(key).is_some() {
            self.resumed.pop();
        }
    }

    /// Answers an effect that never waited.
    pub(crate) fn answer(&mut self, vm: &mut Vm, call: &Call<'_>, value: Build<'_>) {
        resume(vm, call.task, call.effect.id, value);
        self.resumed.push(call.run);
    }

    /// Throws at an effect that never waited.
    pub(crate) fn fail(&mut self, vm: &mut Vm, call: &Call<'_>, fault: &Fault<'_>) {
        let spec = ErrorSpec { name: fault.name, message: fault.message, code: fault.code, props: &[] };
        let _ = vm.resume_error(call.task, call.effect.id, &spec);
        self.resumed.push(call.run);
    }

    /// A run is over: whatever it still has in flight is of no interest any more.
    pub(crate) fn abandon<R: Reactor>(&mut self, reactor: &mut R, run: u64) {
        if self.transactions.any() {
            self.abandon_transactions(run, reactor.now());
        }
        if self.cursors.any() {
            for (database, root) in self.cursors.abandon(run) {
                if let Some(sql) = self.databases.get_mut(database) {
                    sql.abandon(root, reactor.now());
                }
            }
        }
        if self.outstanding.take(run) == 0 {
            return;
        }
        let keys: Vec<u64> = self.waiting.keys().collect();
        for key in keys {
            if self.waiting.get_mut(key).is_some_and(|waiting| waiting.run == run)
                && let Some(waiting) = self.waiting.remove(key)
            {
                self.gathering.ended(&waiting.what);
                match waiting.what {
                    What::Sql(database, _)
                    | What::Copy(database, _)
                    | What::Tx(database, _)
                    | What::Step(database) => {
                        self.steps.forget(key);
                        if let Some(sql) = self.databases.get_mut(database) {
                            sql.abandon(key, reactor.now());
                        }
                    }
                    What::Http => self.upstream.abandon(reactor, key),
                    What::Sleep(timer) => {
                        reactor.cancel_timer(timer);
                    }
                    // The write happens; its answer finds nobody.
                    What::Kv(_) | What::Task(_) | What::Later => {}
                }
            }
        }
    }

    /// Sends off what has been queued: to the disk, the database and upstreams.
    pub(crate) fn flush<R: Reactor>(&mut self, reactor: &mut R, vm: &mut Vm) {
        self.flush_kv(reactor, vm);
        self.flush_sql(reactor, vm);
        self.settle_http(vm);
    }

    pub(crate) fn connected<R: Reactor>(
        &mut self,
        reactor: &mut R,
        vm: &mut Vm,
        connection: ConnectionId,
        result: Result<(), Errno>,
    ) {
        match self.owners.get(&connection) {
            Some(Owner::Database(database, link)) => {
                let (database, link) = (*database, *link);
                if let Err(errno) = result {
                    self.owners.remove(&connection);
                    self.databases[database].refused(link, &errno.to_string(), reactor.now());
                } else {
                    self.databases[database].connected(link, reactor.now());
                }
                self.settle_sql(vm, database, reactor.now());
            }
            Some(Owner::Cancel(database, link)) => {
                let (database, link) = (*database, *link);
                let bytes = self.cancels.iter().position(|(id, _)| *id == connection);
                let bytes = bytes.map(|at| self.cancels.swap_remove(at).1);
                match (result, bytes, reactor.output(connection)) {
                    (Ok(()), Some(bytes), Some(output)) => output.push(&bytes),
                    _ => {
                        self.owners.remove(&connection);
                        self.databases[database].cancelled(link, reactor.now());
                    }
                }
            }
            Some(Owner::Upstream(key)) => {
                let key = *key;
                if result.is_err() {
                    self.owners.remove(&connection);
                }
                self.upstream.connected(reactor, key, result.map_err(|errno| errno.to_string()));
                self.settle_http(vm);
            }
            None => {}
        }
    }

    pub(crate) fn received<R: Reactor>(
        &mut self,
        reactor: &mut R,
        vm: &mut Vm,
        connection: ConnectionId,
        buffer: &ReceiveBuffer,
    ) {
        match self.owners.get(&connection) {
            Some(Owner::Database(database, link)) => {
                let (database, link) = (*database, *link);
                let now = reactor.now();
                self.received_sql(vm, database, link, reactor.buffers().bytes(buffer), now);
                self.settle_sql(vm, database, now);
            }
            Some(Owner::Upstream(key)) => {
                let key = *key;
                self.upstream.received(reactor, key, buffer);
                self.settle_http(vm);
            }
            // The server says nothing to a CancelRequest.
            Some(Owner::Cancel(..)) | None => {}
        }
    }

    pub(crate) fn eof<R: Reactor>(&mut self, reactor: &mut R, vm: &mut Vm, connection: ConnectionId) {
        match self.owners.get(&connection) {
            Some(Owner::Database(..) | Owner::Cancel(..)) => {
                reactor.close(connection, forebay_ring::Close::Now);
            }
            Some(Owner::Upstream(key)) => {
                let key = *key;
                self.upstream.eof(reactor, key);
                self.settle_http(vm);
            }
            None => {}
        }
    }

    pub(crate) fn closed<R: Reactor>(&mut self, reactor: &mut R, vm: &mut Vm, connection: ConnectionId) {
        match self.owners.remove(&connection) {
            Some(Owner::Database(database, link)) => {
                self.databases[database].closed(link, "the connection was closed", reactor.now());
                self.settle_sql(vm, database, reactor.now());
            }
            Some(Owner::Cancel(database, link)) => {
                self.databases[database].cancelled(link, reactor.now());
                self.settle_sql(vm, database, reactor.now());
            }
            Some(Owner::Upstream(key)) => {
                let Self { upstream, owners, .. } = self;
                upstream.closed(reactor, key, owners);
                self.settle_http(vm);
            }
            None => {}
        }
    }

    /// All output of a connection is with the kernel.
    pub(crate) fn drained<R: Reactor>(&mut self, reactor: &mut R, vm: &mut Vm, connection: ConnectionId) {
        if let Some(Owner::Database(database, link)) = self.owners.get(&connection) {
            let (database, link) = (*database, *link);
            if !self.databases[database].awaits_sending() {
                return;
            }
            self.databases[database].sent(link);
            self.settle_sql(vm, database, reactor.now());
            self.flush_sql(reactor, vm);
        }
    }

    /// The deadline of an outbound request.
    pub(crate) fn http_timeout<R: Reactor>(&mut self, reactor: &mut R, vm: &mut Vm, key: u64) {
        self.upstream.timeout(reactor, key);
        self.settle_http(vm);
    }

    /// Another thread has called: names were resolved, commits of other cores are done.
    pub(crate) fn woken<R: Reactor>(&mut self, reactor: &mut R, vm: &mut Vm) {
        let Self { upstream, owners, .. } = self;
        upstream.resolved(reactor, owners);
        while let Some((database, found)) = self.upstream.databases.pop() {
            if let Some(sql) = self.databases.get_mut(database) {
                sql.found(found, reactor.now());
            }
        }
        while let Some((database, link, job)) = self.compute.take() {
            if let Some(sql) = self.databases.get_mut(database) {
                sql.computed(link, job, reactor.now());
            }
        }
        self.settle_http(vm);
        self.complete_kv(vm, reactor);
    }
}

fn micros_of(millis: u64) -> i64 {
    i64::try_from(millis.saturating_mul(1000)).unwrap_or(i64::MAX)
}

/// Pushes an effect's result.
type Build<'a> = &'a mut dyn FnMut(&mut dyn ValueSink) -> Result<(), ValueError>;

/// Answers an effect; with an exception if the value doesn't fit into the task.
pub(crate) fn resume(vm: &mut Vm, task: TaskHandle, effect: EffectId, build: Build<'_>) {
    if let Err(error) = vm.resume(task, effect, build) {
        unfit(vm, task, effect, &error);
    }
}

/// A result couldn't be handed over: without an exception its fiber would wait forever.
#[cold]
fn unfit(vm: &mut Vm, task: TaskHandle, effect: EffectId, error: &dyn std::fmt::Display) {
    let message = error.to_string();
    let spec = ErrorSpec { name: "RangeError", message: &message, ..ErrorSpec::default() };
    let _ = vm.resume_error(task, effect, &spec);
}

/// One effect as it is begun.
pub(crate) struct Call<'a> {
    pub(crate) run: u64,
    pub(crate) task: TaskHandle,
    pub(crate) effect: &'a Effect,
    pub(crate) now: Monotonic,
    pub(crate) timestamp: Timestamp,
    pub(crate) tenant: TenantId,
    /// Names the effect for whoever carries it out, so that it is done once: Idempotency-Key.
    pub(crate) once: Option<&'a str>,
}
