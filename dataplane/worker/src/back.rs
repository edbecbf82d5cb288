//! The back half of a core: tasks. Jobs become runs of the machine, runs park at
//! effects, effects end and resume them, and a run's end becomes an answer.
//!
//! ```text
//!   ring --job--> begin --run a slice--> Done ------> answer
//!                            |  ^        Trap ------> answer (problem details)
//!                            |  |        SliceOver -> runnable, behind the others
//!                            v  |        Parked ----> waiting for effects
//!                         effects: kv | sql | http | sleep      (effects/)
//!                            |  ^
//!                            v  | resume
//!                      ring, store, database pool
//! ```
//!
//! **Fairness.** In a turn every runnable task gets one slice, then new jobs are taken
//! while there is room; a task whose slice is over waits for the next turn, one whose
//! effect could be answered at once goes on. Both halves of that have a bound in time, so
//! that long slices delay what the sockets and the disk have to say by little.
//!
//! **Time.** A run has one timer, for its wall time. Most runs are over long before: it is set only
//! when a run outlives its first slice and is no longer young, at once if its wall time is short.
//! Latencies are counted at the end of the turn, with one look at the clock.
//!
//! **Generations.** Jobs and runs name theirs. One that isn't current any more is let go
//! when the front half has moved on (`served`), every job that was in the ring by then has been
//! taken, and its last run is over.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::Read as _;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use forebay_base::limits::{DatabaseLimits, WorkerLimits};
use forebay_base::{ConnectionId, CoreId, Monotonic, TenantId};
use forebay_bus::Consumer;
use forebay_engine::{
    BlueprintId, Entry as VmEntry, ErrorReport, Headers, Host, LogLevel, RequestInput, Run as VmRun,
    StartError, TaskHandle, Trap, Vm, VmConfig,
};
use forebay_frames::{Live, TaskId};
use forebay_http::{DateCache, HeadView, Problem, Reply, ResponseWriter};
use forebay_kv::Store;
use forebay_ring::{Errno, Reactor, ReceiveBuffer, TimerId, Wait};

use crate::core::TICK;
use crate::durable::Durable;
use crate::effects::Effects;
use crate::generation::{Generation, LISTEN, Target};
use crate::mailbox::Mailbox;
use crate::messages::{Incoming, Job};
use crate::metrics::CoreMetrics;
use crate::slots::Slots;
use crate::testing::TestWorld;
use crate::tokens;
use crate::upstream::Rewrite;

/// Retry-After of a 503, seconds.
pub(crate) const RETRY_AFTER_S: u32 = 1;
/// A turn begins no further slice of an older task when this much of it has passed.
const SLICES_TIME: Duration = Duration::from_millis(1);
/// A turn begins no further job when this much of it has passed.
const JOBS_TIME: Duration = Duration::from_millis(2);
/// The clock is looked at once per this many jobs.
const JOBS_PER_LOOK: usize = 16;
/// A run gets its timer when it is older than this: far more than what most statements take.
const YOUNG_TIME: Duration = Duration::from_millis(10);
/// Unless it has less left than this: some turn comes within a second, and sees who is no longer young.
const SHORT_TIME: Duration = Duration::from_secs(4);
const _: () = assert!(SHORT_TIME.as_millis() > 2 * (YOUNG_TIME.as_millis() + TICK.as_millis()));
/// Handlers of events that run at once on the core that listens; others wait for their turn.
const EVENT_TASKS_MAX: usize = 64;
/// Effects answered at once after which a task goes on within its turn.
pub(crate) const STEPS_MAX: usize = 32;

/// Where log lines of scripts and of the worker go. Must not block.
pub trait Log: Send + Sync + fmt::Debug {
    /// One line.
    fn line(&self, level: Level, message: &str, fields: &[(&str, &dyn fmt::Display)]);
}

/// Level of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// What happens in normal operation.
    Info,
    /// What someone should look at some day.
    Warn,
    /// What someone should look at now.
    Error,
}

/// Wakes cores whose writes another core has committed.
#[derive(Debug, Default)]
pub struct StoreWakers {
    mailboxes: OnceLock<Vec<Arc<Mailbox>>>,
}

impl StoreWakers {
    pub(crate) fn set(&self, mailboxes: Vec<Arc<Mailbox>>) {
        let _ = self.mailboxes.set(mailboxes);
    }
}

impl forebay_kv::Wake for StoreWakers {
    fn wake(&self, core: CoreId) {
        if let Some(mailbox) = self.mailboxes.get().and_then(|all| all.get(usize::from(core.0))) {
            mailbox.wake();
        }
    }
}

/// What tasks can reach; the same for every core.
#[derive(Clone)]
pub struct BackConfig {
    /// The key/value store.
    pub store: Option<Arc<Store>>,
    /// Given to the store when it was opened.
    pub wakers: Option<Arc<StoreWakers>>,
    /// The database; without one `db()` throws.
    pub database: Option<forebay_postgres::Config>,
    /// How many cores have a client of their own.
    pub cores: usize,
    /// Bounds of the database client.
    pub database_limits: DatabaseLimits,
    /// Further databases, for `db(name)`: name, where, bounds.
    pub more_databases: Arc<[(String, forebay_postgres::Config, DatabaseLimits)]>,
    /// `[dev.rewrite]`.
    pub rewrites: Arc<[Rewrite]>,
    /// Whether `http()` may reach private and loopback addresses.
    pub allow_private: bool,
    /// The address that the app itself listens on, once it does: where rewrites to a route go.
    pub own_address: Arc<OnceLock<std::net::SocketAddr>>,
    /// What `env()` may read.
    pub env: Arc<BTreeMap<String, String>>,
    /// Where lines go.
    pub log: Arc<dyn Log>,
    /// Error answers say what went wrong, with a code frame.
    pub dev: bool,
    /// Tells errors of scripts as code frames, in dev.
    pub explain: Option<Arc<Explain>>,
    /// The world of `forebay test`; one core only.
    pub test: Option<Arc<TestWorld>>,
}

/// Renders an error of a script with its module's sources.
pub type Explain = dyn Fn(&forebay_bytecode::Module, &ErrorReport) -> String + Send + Sync;

impl fmt::Debug for BackConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackConfig").field("dev", &self.dev).finish_non_exhaustive()
    }
}

/// Takes the answers that a back half writes.
pub(crate) trait Answers<R> {
    /// `write` appends one whole answer and says whether its connection lives on.
    fn answer(
        &mut self,
        reactor: &mut R,
        connection: ConnectionId,
        sequence: u32,
        incoming: Box<Incoming>,
        write: impl FnOnce(&mut Vec<u8>, &DateCache) -> bool,
    );
}

/// Everything a back half is made of; crosses to its thread.
pub(crate) struct Parts {
    core: CoreId,
    config: BackConfig,
    limits: WorkerLimits,
    generation: Arc<Generation>,
    jobs: (Consumer<Job>, Arc<AtomicU64>),
    metrics: Arc<CoreMetrics>,
    durable: DurableParts,
}

/// Mailboxes of all cores with effects, this life's number, and the durable tasks whose home this is.
pub(crate) struct DurableParts {
    pub(crate) homes: Arc<[Arc<Mailbox>]>,
    pub(crate) epoch: i64,
    pub(crate) tasks: Vec<(TaskId, Live)>,
    /// Rows in databases of tasks that are over.
    pub(crate) sweeps: Vec<([u8; 16], Vec<Box<str>>)>,
}

/// One core's tasks.
pub(crate) struct Back {
    pub(crate) core: CoreId,
    pub(crate) vm: Vm,
    pub(crate) limits: WorkerLimits,
    jobs: Consumer<Job>,
    /// Jobs taken from the ring so far.
    taken: u64,
    /// The generation that new jobs name, as the front half says.
    served: Arc<AtomicU64>,
    /// What it said when last looked at, and how many jobs have to be taken until none names an older one.
    settled: (u64, u64),
    /// Generations that are current, or that jobs or runs may name; oldest first.
    pub(crate) generations: VecDeque<Adopted>,
    pub(crate) runs: Slots<Run>,
    pub(crate) runnable: VecDeque<u64>,
    /// Runs without a timer so far, and since when they run; some are over. In the order of their time.
    young: VecDeque<(Monotonic, u64)>,
    pub(crate) effects: Effects,
    pub(crate) durable: Durable,
    pub(crate) host: TaskHost,
    pub(crate) metrics: Arc<CoreMetrics>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) dev: bool,
    explain: Option<Arc<Explain>>,
    pub(crate) draining: bool,
    /// Handlers of events that run.
    event_runs: usize,
    /// Arrivals of the requests that this turn has answered, each with how many share it.
    pub(crate) answered: Vec<(Monotonic, u64)>,
}

/// A generation with the numbers that this core's machine knows its blueprints by.
pub(crate) struct Adopted {
    pub(crate) generation: Arc<Generation>,
    /// None: the machine has no room for another blueprint.
    blueprints: Vec<Option<BlueprintId>>,
    /// Names of the works, by entry, for log lines: counted without a lock.
    works: Rc<[Box<str>]>,
    runs: usize,
}

/// A task that outlived its first slice.
pub(crate) struct Run {
    pub(crate) task: TaskHandle,
    pub(crate) whose: Whose,
    timer: Option<TimerId>,
    /// In `runnable`.
    pub(crate) queued: bool,
}

/// Whom a run is for.
pub(crate) enum Whose {
    /// A request, and which handler of which generation it runs.
    Client(Client),
    /// A durable task, by its key in `Durable`.
    Durable(u64),
}

pub(crate) struct Client {
    /// None: it is no request but an event, whose outcome only the log hears.
    origin: Option<Origin>,
    generation: u64,
    entry: u32,
    /// The end of its wall time.
    deadline: Monotonic,
}

impl Run {
    /// Of a durable task; whose it is is said as soon as that has a key.
    pub(crate) const fn durable(task: TaskHandle) -> Self {
        Self { task, whose: Whose::Durable(u64::MAX), timer: None, queued: false }
    }
}

/// Where the answer goes.
pub(crate) struct Origin {
    pub(crate) connection: ConnectionId,
    pub(crate) sequence: u32,
    pub(crate) reply: Reply,
    pub(crate) arrived: Monotonic,
    pub(crate) incoming: Box<Incoming>,
}

impl Back {
    pub(crate) fn parts(
        core: CoreId,
        config: &BackConfig,
        limits: &WorkerLimits,
        generation: &Arc<Generation>,
        jobs: (Consumer<Job>, Arc<AtomicU64>),
        metrics: &Arc<CoreMetrics>,
        durable: DurableParts,
    ) -> Parts {
        Parts {
            durable,
            core,
            config: config.clone(),
            limits: limits.clone(),
            generation: Arc::clone(generation),
            jobs,
            metrics: Arc::clone(metrics),
        }
    }

    /// On the thread that will use it.
    pub(crate) fn new<R: Reactor>(parts: Parts, reactor: &mut R) -> Self {
        let Parts { core, config, limits, generation, jobs: (jobs, served), metrics, durable } = parts;
        let DurableParts { homes, epoch, tasks, sweeps } = durable;
        let vm = Vm::new(VmConfig { tasks: limits.tasks, ..VmConfig::default() });
        let mut back = Self {
            core,
            vm,
            limits,
            jobs,
            taken: 0,
            served,
            settled: (generation.id, 0),
            generations: VecDeque::new(),
            runs: Slots::new(),
            runnable: VecDeque::with_capacity(1024),
            young: VecDeque::new(),
            effects: Effects::new(core, &config, &metrics, reactor),
            durable: Durable::new(core, homes, epoch, tasks, sweeps),
            host: TaskHost::new(&config),
            metrics,
            log: config.log,
            dev: config.dev,
            explain: config.explain,
            draining: false,
            event_runs: 0,
            answered: Vec::with_capacity(64),
        };
        back.adopt(generation);
        back
    }

    /// New jobs may name this generation from now on.
    pub(crate) fn adopt(&mut self, generation: Arc<Generation>) {
        let blueprints = generation.blueprints.iter().map(|blueprint| self.vm.adopt(blueprint)).collect();
        let works = generation.entries.iter().map(|entry| entry.work.clone()).collect();
        if self.core == CoreId(0) {
            // One connection of the process listens.
            self.effects.listen(generation.listens.iter().map(|(channel, _)| channel.clone()).collect());
        }
        self.generations.push_back(Adopted { generation, blueprints, works, runs: 0 });
        self.retire();
    }

    /// Lets go of generations that neither a run nor a job can name any more.
    fn retire(&mut self) {
        // Acquire: with the number we see every job that was published before.
        let served = self.served.load(Ordering::Acquire);
        if served != self.settled.0 {
            self.settled = (served, self.taken + self.jobs.len() as u64);
        }
        if self.taken >= self.settled.1
            && let Some(current) = self.generations.iter().position(|a| a.generation.id == served)
        {
            for index in (0..current).rev() {
                if self.generations[index].runs == 0
                    && let Some(old) = self.generations.remove(index)
                {
                    for id in old.blueprints.into_iter().flatten() {
                        self.vm.retire(id);
                    }
                }
            }
        }
        self.metrics.generations.set(self.generations.len() as u64);
    }

    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.durable_drain();
    }

    /// Nothing runs and nothing waits to be run.
    pub(crate) fn is_idle(&self) -> bool {
        self.runs.len() == 0 && self.jobs.is_empty() && self.effects.is_idle() && self.durable.is_idle()
    }

    /// The next turn must not sleep.
    pub(crate) fn has_work(&self) -> bool {
        !self.runnable.is_empty()
            || (!self.jobs.is_empty() && self.has_room())
            || !self.effects.saved.is_empty()
            || !self.effects.uncertain.is_empty()
            || self.may_begin_event()
            || self.durable.has_work(self.has_room_to_load())
    }

    /// How a turn without work sleeps.
    pub(crate) fn wait(&self, now: Monotonic) -> Wait {
        self.effects.gathering.distance(now).map_or(Wait::Forever, Wait::Gather)
    }

    /// Another task may start.
    pub(crate) fn has_room(&self) -> bool {
        self.runs.len() < self.limits.tasks
    }

    /// The core's share of a turn: a slice for every runnable task, new jobs, then
    /// what goes out: commits and statements. `start`: since when time counts.
    pub(crate) fn work<R: Reactor, A: Answers<R>>(
        &mut self,
        reactor: &mut R,
        answers: &mut A,
        start: Monotonic,
    ) {
        self.watch_older(reactor);
        self.durable_turn(reactor, answers);
        self.begin_events(reactor, answers);
        self.wake_resumed();
        for _ in 0..self.runnable.len() {
            let Some(key) = self.runnable.pop_front() else { break };
            self.slice(reactor, answers, key);
            if reactor.clock().since(start) > SLICES_TIME {
                break;
            }
        }
        // Those that wait now: what comes meanwhile has its turn after the sockets.
        let waiting = self.jobs.len();
        self.metrics.queue_depth.set(waiting as u64);
        for count in 1..=waiting {
            if !self.has_room() {
                break;
            }
            let Some(job) = self.jobs.pop() else { break };
            self.taken += 1;
            self.begin(reactor, answers, job);
            if count.is_multiple_of(JOBS_PER_LOOK) && reactor.clock().since(start) > JOBS_TIME {
                break;
            }
        }
        self.flush(reactor);
        if self.generations.len() > 1 {
            self.retire();
        }
        if !self.answered.is_empty() {
            let now = reactor.clock();
            for (arrived, count) in self.answered.drain(..) {
                self.metrics.latency.record_many(now.since(arrived), count);
            }
        }
    }

    /// Sends off what effects have queued, until nothing new comes of it.
    pub(crate) fn flush<R: Reactor>(&mut self, reactor: &mut R) {
        if !self.effects.asks.is_empty() {
            self.durable_asks(reactor);
        }
        let Self { effects, vm, .. } = self;
        effects.flush(reactor, vm);
        self.wake_resumed();
    }

    /// Runs whose effect has ended become runnable.
    pub(crate) fn wake_resumed(&mut self) {
        while let Some(key) = self.effects.resumed.pop() {
            if let Some(run) = self.runs.get_mut(key)
                && !run.queued
            {
                run.queued = true;
                self.runnable.push_back(key);
            }
        }
    }

    pub(crate) fn adopted(&self, id: u64) -> Option<usize> {
        self.generations.iter().rposition(|adopted| adopted.generation.id == id)
    }

    fn begin<R: Reactor, A: Answers<R>>(&mut self, reactor: &mut R, answers: &mut A, job: Job) {
        let Job { connection, sequence, entry, generation, reply, arrived, incoming } = job;
        let origin = Origin { connection, sequence, reply, arrived, incoming };
        let Some(index) = self.adopted(generation) else {
            return self.refuse(reactor, answers, origin, StartError::NoEntry);
        };
        let adopted = &self.generations[index];
        let route = &adopted.generation.entries[entry as usize];
        if route.durable.is_some() {
            return self.durable_request(reactor, answers, origin, generation, entry);
        }
        let Target::Script { blueprint, action } = &route.target else {
            if matches!(route.target, Target::Tasks) {
                return self.durable_look(reactor, answers, origin);
            }
            if matches!(route.target, Target::Posts) {
                return self.durable_post(reactor, answers, origin);
            }
            return self.refuse(reactor, answers, origin, StartError::NoEntry);
        };
        let Some(vm_entry) = VmEntry::of(action) else {
            return self.refuse(reactor, answers, origin, StartError::NoEntry);
        };
        let Some(id) = adopted.blueprints[*blueprint as usize] else {
            return self.refuse(reactor, answers, origin, StartError::Full);
        };
        let now = reactor.now();
        let deadline = arrived.after(route.limits.wall_time);
        if deadline <= now {
            // It has waited for as long as it may run: nobody waits for its answer any more.
            return self.refuse(reactor, answers, origin, StartError::Full);
        }
        let started = if route.blind {
            // It can't look at its request, which isn't there.
            self.vm.start(id, vm_entry, &RequestInput::empty(), &route.limits, TenantId(0), now)
        } else {
            let names = &adopted.generation.routes.routes()[entry as usize].names;
            start_with_request(&mut self.vm, id, vm_entry, &origin.incoming, names, &route.limits, now)
        };
        let task = match started {
            Ok(task) => task,
            Err(error) => return self.refuse(reactor, answers, origin, error),
        };
        self.host.works_for(&adopted.works, entry);
        let wall = self.effects.wall(reactor);
        match self.vm.run(task, now, wall, self.limits.slice_fuel, &mut self.host) {
            end @ (VmRun::Done | VmRun::Trap(_)) => {
                self.end(reactor, answers, task, origin, end, index, entry);
            }
            more => {
                self.generations[index].runs += 1;
                let client = Client { origin: Some(origin), generation, entry, deadline };
                let run = Run { task, whose: Whose::Client(client), timer: None, queued: false };
                let key = self.runs.insert(run);
                if deadline <= now.after(SHORT_TIME) {
                    self.watch(reactor, key);
                } else {
                    self.young.push_back((now, key));
                }
                self.metrics.tasks.set(self.runs.len() as u64);
                self.go_on(reactor, answers, key, more);
            }
        }
    }

    /// Sets the timer of a run.
    fn watch<R: Reactor>(&mut self, reactor: &mut R, key: u64) {
        if let Some(run) = self.runs.get_mut(key)
            && let Whose::Client(Client { deadline, .. }) = run.whose
        {
            run.timer = Some(reactor.set_timer(deadline, tokens::run(key)));
        }
    }

    /// Sets the timers of runs that are no longer young.
    fn watch_older<R: Reactor>(&mut self, reactor: &mut R) {
        let now = reactor.now();
        while let Some((since, key)) = self.young.front().copied()
            && since.after(YOUNG_TIME) <= now
        {
            self.young.pop_front();
            self.watch(reactor, key);
        }
    }

    fn slice<R: Reactor, A: Answers<R>>(&mut self, reactor: &mut R, answers: &mut A, key: u64) {
        let Some(run) = self.runs.get_mut(key) else { return };
        run.queued = false;
        let task = run.task;
        let (generation, entry) = match &run.whose {
            Whose::Client(client) => (client.generation, client.entry),
            Whose::Durable(active) => {
                let active = *active;
                return self.durable_slice(reactor, key, active);
            }
        };
        if let Some(index) = self.adopted(generation) {
            self.host.works_for(&self.generations[index].works, entry);
        }
        let end = self.run(reactor, task);
        self.go_on(reactor, answers, key, end);
    }

    pub(crate) fn run<R: Reactor>(&mut self, reactor: &R, task: TaskHandle) -> VmRun {
        let wall = self.effects.wall(reactor);
        self.vm.run(task, reactor.now(), wall, self.limits.slice_fuel, &mut self.host)
    }

    /// After a slice: the run ends, waits for its next slice or for effects, or goes on at
    /// once because what it asked for is there.
    fn go_on<R: Reactor, A: Answers<R>>(
        &mut self,
        reactor: &mut R,
        answers: &mut A,
        key: u64,
        mut how: VmRun,
    ) {
        let mut steps = 0;
        loop {
            if matches!(how, VmRun::Done | VmRun::Trap(_)) {
                return self.finish(reactor, answers, key, how);
            }
            let Self { runs, effects, vm, metrics, .. } = self;
            let Some(run) = runs.get_mut(key) else { return };
            let task = run.task;
            effects.begin(reactor, vm, key, task);
            if how == VmRun::Parked {
                let before = effects.resumed.len();
                effects.resumed.retain(|resumed| *resumed != key);
                if effects.resumed.len() == before {
                    break;
                }
                steps += 1;
                if steps <= STEPS_MAX {
                    how = self.run(reactor, task);
                    continue;
                }
            }
            metrics.slices.add(1);
            if !run.queued {
                run.queued = true;
                self.runnable.push_back(key);
            }
            break;
        }
        self.wake_resumed();
    }

    /// A run is over.
    fn finish<R: Reactor, A: Answers<R>>(&mut self, reactor: &mut R, answers: &mut A, key: u64, end: VmRun) {
        let Some(run) = self.runs.remove(key) else { return };
        if let Some(timer) = run.timer {
            reactor.cancel_timer(timer);
        }
        self.effects.abandon(reactor, key);
        // Durable runs end elsewhere (durable/run.rs).
        let Whose::Client(client) = run.whose else { return };
        let Client { origin, generation, entry, .. } = client;
        let index = self.adopted(generation).unwrap_or(self.generations.len() - 1);
        self.generations[index].runs = self.generations[index].runs.saturating_sub(1);
        self.metrics.tasks.set(self.runs.len() as u64);
        match origin {
            Some(origin) => self.end(reactor, answers, run.task, origin, end, index, entry),
            None => {
                self.event_runs -= 1;
                self.end_event(run.task, end, index, entry);
            }
        }
    }

    /// Starts the handlers of what was heard since.
    fn begin_events<R: Reactor, A: Answers<R>>(&mut self, reactor: &mut R, answers: &mut A) {
        while self.may_begin_event() {
            let Some(heard) = self.effects.heard.pop_front() else { return };
            let Some(adopted) = self.generations.back() else { return };
            let generation = Arc::clone(&adopted.generation);
            for (channel, entry) in &generation.listens {
                if heard.channel.as_ref().is_none_or(|heard| heard == channel) {
                    self.begin_event(reactor, answers, *entry, &heard.event(channel));
                }
            }
        }
    }

    /// Handlers of events run beside requests, not instead of them.
    fn may_begin_event(&self) -> bool {
        !self.effects.heard.is_empty()
            && self.event_runs < EVENT_TASKS_MAX
            && self.has_room()
            && !self.draining
    }

    fn begin_event<R: Reactor, A: Answers<R>>(
        &mut self,
        reactor: &mut R,
        answers: &mut A,
        entry: u32,
        event: &str,
    ) {
        let Some(index) = self.generations.len().checked_sub(1) else { return };
        let adopted = &self.generations[index];
        let route = &adopted.generation.entries[entry as usize];
        let Target::Script { blueprint, action } = &route.target else { return };
        let started = match (VmEntry::of(action), adopted.blueprints[*blueprint as usize]) {
            (Some(vm_entry), Some(id)) => {
                let input = RequestInput {
                    method: LISTEN,
                    path: &route.pattern,
                    content_type: Some("application/json"),
                    body: event.as_bytes(),
                    ..RequestInput::empty()
                };
                self.vm.start(id, vm_entry, &input, &route.limits, TenantId(0), reactor.now())
            }
            _ => Err(StartError::NoEntry),
        };
        let deadline = reactor.now().after(route.limits.wall_time);
        let (generation, works) = (adopted.generation.id, Rc::clone(&adopted.works));
        let task = match started {
            Ok(task) => task,
            Err(error) => {
                let error = format!("{error:?}");
                return self.log_failure(Level::Error, index, entry, &[("error", &error)]);
            }
        };
        self.host.work = Some((works, entry));
        match self.run(reactor, task) {
            end @ (VmRun::Done | VmRun::Trap(_)) => self.end_event(task, end, index, entry),
            more => {
                self.generations[index].runs += 1;
                self.event_runs += 1;
                let client = Client { origin: None, generation, entry, deadline };
                let key =
                    self.runs.insert(Run { task, whose: Whose::Client(client), timer: None, queued: false });
                self.watch(reactor, key);
                self.metrics.tasks.set(self.runs.len() as u64);
                self.go_on(reactor, answers, key, more);
            }
        }
    }

    /// What an event's handler returns is of no interest; what it throws is logged.
    fn end_event(&mut self, task: TaskHandle, end: VmRun, generation: usize, entry: u32) {
        if let VmRun::Trap(trap) = end {
            let report = if trap == Trap::WallTime {
                let message = "the handler took longer than its work may".into();
                ErrorReport { code: trap.code().into(), message, ..ErrorReport::default() }
            } else {
                self.vm.error(task)
            };
            let (status, _, _) = self.failure(trap, &report, generation, entry);
            if status < 500 {
                // No client did anything wrong.
                let error = format_args!("{}: {}", report.name, report.message);
                self.log_failure(Level::Error, generation, entry, &[("error", &error)]);
            }
        }
        self.vm.finish(task);
    }

    /// The wall time of a run is over.
    pub(crate) fn wall_time<R: Reactor, A: Answers<R>>(
        &mut self,
        reactor: &mut R,
        answers: &mut A,
        key: u64,
    ) {
        if let Some(run) = self.runs.get_mut(key) {
            self.vm.abort(run.task, Trap::WallTime);
            self.finish(reactor, answers, key, VmRun::Trap(Trap::WallTime));
        }
    }

    /// Writes the answer and gives the task back.
    #[expect(clippy::too_many_arguments, reason = "the parts of a run that is taken apart")]
    fn end<R: Reactor, A: Answers<R>>(
        &mut self,
        reactor: &mut R,
        answers: &mut A,
        task: TaskHandle,
        origin: Origin,
        end: VmRun,
        generation: usize,
        entry: u32,
    ) {
        let Origin { connection, sequence, mut reply, arrived, incoming } = origin;
        if self.draining {
            reply = reply.and_close();
        }
        let status = if let VmRun::Trap(trap) = end {
            let report = if trap == Trap::WallTime {
                // Found by our timer, not by the machine.
                let message = "the request took longer than its work may".into();
                ErrorReport { code: trap.code().into(), message, ..ErrorReport::default() }
            } else {
                self.vm.error(task)
            };
            let (status, code, detail) = self.failure(trap, &report, generation, entry);
            answers.answer(reactor, connection, sequence, incoming, |out, date| {
                let problem = Problem {
                    status,
                    code,
                    detail: &detail,
                    retry_after_s: (status == 503).then_some(RETRY_AFTER_S),
                    allow: None,
                };
                problem.write(out, reply, date);
                reply.keep_alive
            });
            status
        } else {
            let Self { vm, dev, .. } = self;
            let mut written = None;
            answers.answer(reactor, connection, sequence, incoming, |out, date| {
                let status = write_answer(vm, task, out, reply, date);
                if let Err((code, detail)) = &status {
                    let detail = if *dev { detail.as_str() } else { "" };
                    Problem::new(500, code, detail).write(out, reply, date);
                }
                written = Some(status);
                reply.keep_alive
            });
            match written {
                Some(Ok(status)) => status,
                Some(Err((code, detail))) => {
                    self.metrics.exceptions.add(1);
                    self.log_failure(Level::Error, generation, entry, &[("code", &code), ("error", &detail)]);
                    500
                }
                // The client has gone.
                None => self.vm.response(task).map_or(500, |head| head.status),
            }
        };
        self.metrics.answers[usize::from(status / 100).min(5)].add(1);
        match self.answered.last_mut() {
            Some((time, count)) if *time == arrived => *count += 1,
            _ => self.answered.push((arrived, 1)),
        }
        let arena = self.vm.finish(task);
        if arena as u64 > self.metrics.arena_bytes_max.get() {
            self.metrics.arena_bytes_max.set(arena as u64);
        }
    }

    /// Status, code and detail of a failed task; logs it, once.
    fn failure<'r>(
        &self,
        trap: Trap,
        report: &'r ErrorReport,
        generation: usize,
        entry: u32,
    ) -> (u16, &'r str, String) {
        let (status, code) = match (trap, &*report.name) {
            (Trap::Exception, "UnavailableError") => (503, "unavailable"),
            (Trap::Exception, "ParameterError") => (400, "bad_parameter"),
            _ => (trap.status(), &*report.code),
        };
        let adopted = &self.generations[generation].generation;
        if status >= 500 {
            if trap == Trap::Exception { &self.metrics.exceptions } else { &self.metrics.traps }.add(1);
            let level = if status == 503 { Level::Warn } else { Level::Error };
            // Traps have no name.
            let colon = if report.name.is_empty() { "" } else { ": " };
            let error = format_args!("{}{colon}{}", report.name, report.message);
            let fields: [(&str, &dyn fmt::Display); 3] =
                [("code", &report.code), ("error", &error), ("stack", &report.stack)];
            self.log_failure(level, generation, entry, &fields);
        }
        let detail = match (&self.explain, &adopted.entries[entry as usize].target) {
            (Some(explain), Target::Script { blueprint, .. }) if self.dev && status >= 500 => {
                explain(adopted.blueprints[*blueprint as usize].module(), report)
            }
            // What a client did wrong is told; what the script did wrong is the operator's.
            _ if status < 500 || self.dev => report.message.to_string(),
            _ => String::new(),
        };
        (status, code, detail)
    }

    fn log_failure(&self, level: Level, generation: usize, entry: u32, why: &[(&str, &dyn fmt::Display)]) {
        let route = &self.generations[generation].generation.entries[entry as usize];
        let name = format_args!("{} {}", route.method, route.pattern);
        let mut fields: Vec<(&str, &dyn fmt::Display)> = vec![("work", &route.work), ("route", &name)];
        fields.extend_from_slice(why);
        self.log.line(level, "request failed", &fields);
    }

    /// A request whose task can't start.
    pub(crate) fn refuse<R: Reactor, A: Answers<R>>(
        &mut self,
        reactor: &mut R,
        answers: &mut A,
        origin: Origin,
        error: StartError,
    ) {
        let Origin { connection, sequence, reply, incoming, .. } = origin;
        let problem = match error {
            StartError::Full | StartError::NoMemory => {
                self.metrics.shed.add(1);
                Problem::unavailable("overloaded", "too many tasks are running", RETRY_AFTER_S)
            }
            StartError::NoEntry => {
                Problem::unavailable("reloading", "the app has just been reloaded", RETRY_AFTER_S)
            }
            StartError::TooLarge => Problem::new(
                413,
                "too_large_for_task",
                "the request doesn't fit into the task's memory limit",
            ),
        };
        self.metrics.answers[usize::from(problem.status / 100).min(5)].add(1);
        answers.answer(reactor, connection, sequence, incoming, |out, date| {
            problem.write(out, reply, date);
            reply.keep_alive
        });
    }

    /// A connection of ours to a database or an upstream has news.
    pub(crate) fn connected<R: Reactor>(
        &mut self,
        reactor: &mut R,
        connection: ConnectionId,
        result: Result<(), Errno>,
    ) {
        self.effects.connected(reactor, &mut self.vm, connection, result);
    }

    pub(crate) fn received<R: Reactor>(
        &mut self,
        reactor: &mut R,
        connection: ConnectionId,
        buffer: ReceiveBuffer,
    ) {
        self.effects.received(reactor, &mut self.vm, connection, &buffer);
        reactor.release(buffer);
    }

    pub(crate) fn eof<R: Reactor>(&mut self, reactor: &mut R, connection: ConnectionId) {
        self.effects.eof(reactor, &mut self.vm, connection);
    }

    pub(crate) fn closed<R: Reactor>(&mut self, reactor: &mut R, connection: ConnectionId) {
        self.effects.closed(reactor, &mut self.vm, connection);
    }

    pub(crate) fn drained<R: Reactor>(&mut self, reactor: &mut R, connection: ConnectionId) {
        self.effects.drained(reactor, &mut self.vm, connection);
    }

    pub(crate) fn committed<R: Reactor>(
        &mut self,
        reactor: &mut R,
        result: Result<usize, Errno>,
        buffer: Vec<u8>,
    ) {
        self.effects.committed(reactor, &mut self.vm, result, buffer);
    }

    pub(crate) fn woken<R: Reactor>(&mut self, reactor: &mut R) {
        self.effects.woken(reactor, &mut self.vm);
    }

    pub(crate) fn slept(&mut self, key: u64) {
        self.effects.slept(&mut self.vm, key);
    }

    pub(crate) fn http_timeout<R: Reactor>(&mut self, reactor: &mut R, key: u64) {
        self.effects.http_timeout(reactor, &mut self.vm, key);
    }

    pub(crate) fn sql_timer<R: Reactor>(&mut self, reactor: &mut R, database: usize) {
        self.effects.sql_timer(reactor, &mut self.vm, database);
    }

    /// Once a second.
    pub(crate) fn tick<R: Reactor>(&mut self, reactor: &mut R) {
        self.retire();
        self.effects.tick(reactor);
        self.durable_tick(reactor);
    }

    /// No write of ours is under way: the thread may end.
    pub(crate) fn is_flushed(&self) -> bool {
        self.effects.is_flushed()
    }

    /// The thread can't go on.
    pub(crate) fn fatal(&self, message: &str, error: &dyn fmt::Display) {
        self.log.line(Level::Error, message, &[("core", &self.core), ("error", error)]);
    }
}

impl Parts {
    pub(crate) const fn metrics(&self) -> &Arc<CoreMetrics> {
        &self.metrics
    }
}

fn start_with_request(
    vm: &mut Vm,
    id: BlueprintId,
    entry: VmEntry,
    incoming: &Incoming,
    names: &[Box<str>],
    limits: &forebay_base::limits::TaskLimits,
    now: Monotonic,
) -> Result<TaskHandle, StartError> {
    let request = incoming.request.view();
    let path = request.head.path();
    let decoded: Vec<_> = (0..incoming.params.len())
        .filter_map(|index| incoming.params.decoded(index, path).ok().flatten())
        .collect();
    let params: Vec<(&str, &str)> =
        names.iter().zip(&decoded).map(|(name, value)| (&**name, value.as_ref())).collect();
    let content_type = request.head.field("content-type").and_then(|value| std::str::from_utf8(value).ok());
    let mut ip = Ip::default();
    if let Some(peer) = incoming.peer {
        ip.write(peer);
    }
    let input = RequestInput {
        method: request.head.method_str(),
        path,
        query: request.head.query().unwrap_or(""),
        params: &params,
        headers: &HeadersOf(request.head),
        content_type,
        body: request.body,
        ip: ip.as_str(),
    };
    vm.start(id, entry, &input, limits, TenantId(0), now)
}

/// An address as text. The longest: `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`.
struct Ip {
    text: [u8; 45],
    len: usize,
}

impl Default for Ip {
    fn default() -> Self {
        Self { text: [0; 45], len: 0 }
    }
}

impl Ip {
    /// As `Display` writes it, without what that does for padding.
    fn write(&mut self, ip: std::net::IpAddr) {
        let std::net::IpAddr::V4(v4) = ip else {
            let mut rest = &mut self.text[..];
            let whole = rest.len();
            // What is too long doesn't exist.
            let _ = std::io::Write::write_fmt(&mut rest, format_args!("{ip}"));
            self.len = whole - rest.len();
            return;
        };
        for (place, part) in v4.octets().into_iter().enumerate() {
            if place > 0 {
                self.push(b'.');
            }
            if part >= 100 {
                self.push(b'0' + part / 100);
            }
            if part >= 10 {
                self.push(b'0' + part / 10 % 10);
            }
            self.push(b'0' + part % 10);
        }
    }

    fn push(&mut self, byte: u8) {
        self.text[self.len] = byte;
        self.len += 1;
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.len]).unwrap_or_default()
    }
}

struct HeadersOf<'a>(HeadView<'a>);

impl Headers for HeadersOf<'_> {
    fn each(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        self.0.raw_fields().for_each(|(name, value)| each(name, value));
    }
}

/// Writes what a task returned; says with which status. On an error, its code and detail,
/// nothing is written.
fn write_answer(
    vm: &mut Vm,
    task: TaskHandle,
    out: &mut Vec<u8>,
    reply: Reply,
    date: &DateCache,
) -> Result<u16, (&'static str, String)> {
    let Some(head) = vm.response(task) else {
        return Err(("no_answer", "the task ended without an answer".into()));
    };
    let mut response = ResponseWriter::new(out, reply, head.status, date);
    if head.has_headers {
        let mut bad = None;
        vm.response_headers(task, &mut |name, value| {
            if let Err(error) = response.header(name, value.as_bytes()) {
                bad.get_or_insert_with(|| format!("header {name:?}: {error}"));
            }
        });
        if let Some(detail) = bad {
            return Err(("bad_header", detail));
        }
    }
    // A header of the script's goes before the kind's.
    let Some(content_type) = head.body.content_type() else {
        response.no_body();
        return Ok(head.status);
    };
    response.content_type(content_type);
    let mut body = response.begin_body();
    vm.write_body(task, body.out()).map_err(|error| ("bad_body", error.to_string()))?;
    body.finish();
    Ok(head.status)
}

/// What scripts ask for at once.
pub(crate) struct TaskHost {
    log: Arc<dyn Log>,
    env: Arc<BTreeMap<String, String>>,
    urandom: Option<std::io::BufReader<std::fs::File>>,
    /// Whose task runs.
    pub(crate) work: Option<(Rc<[Box<str>]>, u32)>,
    test: Option<Arc<TestWorld>>,
}

impl TaskHost {
    fn new(config: &BackConfig) -> Self {
        // urandom(4): read in blocks of 8 KiB, not a system call per uuid().
        let urandom = std::fs::File::open("/dev/urandom").ok().map(std::io::BufReader::new);
        let test = config.test.clone();
        Self { log: Arc::clone(&config.log), env: Arc::clone(&config.env), urandom, work: None, test }
    }

    /// Says whose task runs.
    #[inline]
    fn works_for(&mut self, works: &Rc<[Box<str>]>, entry: u32) {
        match &mut self.work {
            Some((known, of)) if Rc::ptr_eq(known, works) => *of = entry,
            work => *work = Some((Rc::clone(works), entry)),
        }
    }
}

impl Host for TaskHost {
    fn log(&mut self, level: LogLevel, line: &str) {
        let level = match level {
            LogLevel::Info => Level::Info,
            LogLevel::Warn => Level::Warn,
            LogLevel::Error => Level::Error,
        };
        let work = self.work.as_ref().map_or("", |(works, entry)| &*works[*entry as usize]);
        self.log.line(level, line, &[("work", &work)]);
    }

    fn env(&mut self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    fn cover(&mut self, file: &str, offset: u32) {
        if let Some(test) = &self.test {
            test.cover(file, offset);
        }
    }

    fn random(&mut self, out: &mut [u8]) {
        if self.urandom.as_mut().is_none_or(|file| file.read_exact(out).is_err()) {
            // Never a predictable secret: a machine without urandom(4) is not one to serve on.
            self.log.line(Level::Error, "/dev/urandom can't be read: ending the process", &[]);
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_look_as_display_writes_them() {
        let long = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        for text in ["0.0.0.0", "127.0.0.1", "255.100.99.10", "1.20.203.9", "::1", "2001:db8::7:0", long] {
            let ip: std::net::IpAddr = text.parse().unwrap();
            let mut out = Ip::default();
            out.write(ip);
            assert_eq!(out.as_str(), ip.to_string());
        }
    }
}
