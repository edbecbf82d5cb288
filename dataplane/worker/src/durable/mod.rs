//! Durable tasks of one core: those whose home it is. The records and what a batch of them says are
//! storage/frames' business; here they meet the machine, the store's commits, the clock and HTTP.
//!
//! ```text
//!   request ---> start.rs ---> home core: records on disk ---> 202, and the task runs
//!                                                                   |
//!   run.rs   a slice ---> parked at effects (effects.rs)            v
//!               ^            reads: at once      plain writes: kept for the step's batch
//!               |            http, sleep, cas:   held
//!               |                |
//!               |            one batch, synced ---> held effects leave the machine
//!               |                |
//!               |            only long waits left ---> put away (away.rs): an entry of `known`, perhaps a time in `timers`
//!               |                                           |
//!               +------------ load.rs: records -> task <----+ woken by time, by a message, by a restart
//! ```
//!
//! **Home.** The core that a task's name hashes to. All that is said about a task goes there as a [`Message`],
//! through the mailbox of the core or, at home, through `inbox`; so a task's things happen one after the other, without a lock.
//!
//! **Failure.** A batch that the store refuses or can't answer for leaves the loaded task worthless: it is let go of, and
//! loaded again a little later from what the store has. That is also what a restart does, so there is one path.

mod answers;
mod away;
mod body;
mod children;
mod control;
mod effects;
mod ending;
mod inspect;
mod load;
mod mail;
mod ready;
mod run;
mod sql;
mod start;
mod unwind;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use forebay_base::{CoreId, Monotonic, TenantId, Timestamp};
use forebay_engine::{Blueprint, BlueprintId, Effect, EffectId, Snapshot};
use forebay_frames::{Batch, Condition, Decided, Live, Status, Task, TaskId, Wait};
use forebay_kv::{Op, PAGE_ITEMS_MAX, Space, Store};
use forebay_ring::{Reactor, TimerId};

use crate::back::{Answers, Back, Origin};
use crate::effects::kv::SAVE;
use crate::effects::steps::StepName;
use crate::mailbox::{Command, Mailbox};
use crate::slots::Slots;
use crate::tokens;

pub use control::{TaskCommand, TaskRefused};
pub use inspect::TaskLook;
pub(crate) use mail::checked_name;
pub(crate) use start::StartRequest;

/// Tasks loaded in one turn.
const LOADS_PER_TURN: usize = 32;
/// How long a task that the store couldn't be written for is left alone, microseconds.
const AGAIN_MICROS: i64 = 1_000_000;
/// Seconds that code is kept adopted without a task.
const CODE_IDLE_SECONDS: u32 = 60;
/// The timer isn't set for longer: the wall clock may be moved.
const TIMER_MAX: std::time::Duration = std::time::Duration::from_secs(1);

/// What is said to a task's home, and what it answers.
#[derive(Debug)]
pub(crate) enum Message {
    /// Start it, or attach to it.
    Start(Box<StartRequest>),
    /// Say when it is over.
    Watch {
        /// The task.
        id: TaskId,
        /// Who asks.
        from: Asker,
    },
    /// Don't.
    Unwatch {
        /// The task.
        id: TaskId,
        /// Who had asked.
        from: Asker,
    },
    /// An answer for a request that waits here.
    Told {
        /// Of the request, in [`Durable::asked`].
        key: u64,
        /// The answer.
        told: Told,
    },
    /// Something has come for a task, or it may have.
    Wake {
        /// The task.
        id: TaskId,
    },
    /// Tell a task to end.
    Cancel {
        /// The task.
        id: TaskId,
        /// Who is told when that is on disk.
        caller: mail::Caller,
    },
    /// A signal from `forebay ctl task`.
    Signal {
        /// For whom.
        id: TaskId,
        /// The signal.
        signal: forebay_frames::Signal,
        /// Gets the answer.
        reply: SyncSender<Result<(), TaskRefused>>,
    },
    /// What does it hold?
    Inspect {
        /// The task.
        id: TaskId,
        /// Gets the answer.
        reply: SyncSender<Result<TaskLook, TaskRefused>>,
    },
    /// Change a variable.
    Set {
        /// The task.
        id: TaskId,
        /// The variable.
        name: Box<str>,
        /// What it will be.
        value: forebay_base::Value,
        /// Gets the answer.
        reply: SyncSender<Result<(), TaskRefused>>,
    },
    /// From `forebay ctl task`.
    Control {
        /// The task.
        id: TaskId,
        /// What to do.
        command: TaskCommand,
        /// Gets the answer.
        reply: SyncSender<Result<(), TaskRefused>>,
    },
}

/// A request that waits for its answer on its own core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asker {
    core: CoreId,
    key: u64,
}

/// What a home answers.
#[derive(Debug)]
pub(crate) enum Told {
    /// The task is on disk.
    Known,
    /// It is over: its result is on disk.
    Over,
    /// What was posted is on disk.
    Sent,
    /// It isn't started.
    Refused(TaskRefused),
}

/// What a core knows of durable tasks.
pub(crate) struct Durable {
    core: CoreId,
    /// Of all cores, by number.
    homes: Arc<[Arc<Mailbox>]>,
    /// Which life of the process this is.
    epoch: i64,
    /// Tasks of this home that aren't over.
    known: HashMap<TaskId, Known>,
    /// When those that were put away wake, wall time in microseconds.
    timers: BTreeSet<(i64, TaskId)>,
    timer: Option<(i64, TimerId)>,
    /// Tasks to be loaded when there is room.
    ready: ready::Ready,
    active: Slots<Active>,
    /// Batches under way, by token.
    saves: HashMap<u64, Save>,
    last_save: u64,
    codes: HashMap<[u8; 32], Code>,
    /// Requests that came in here and wait for a home's answer.
    asked: Slots<Asked>,
    /// Who wants to know when a task of this home is over.
    waiters: HashMap<TaskId, Vec<Asker>>,
    /// Tasks of which the database is asked whether their transaction was committed.
    looks: HashMap<u64, TaskId>,
    last_look: u64,
    sweeps: sql::Sweeps,
    /// Tasks that have asked the database in vain since their last step.
    without_database: HashMap<TaskId, away::WithoutDatabase>,
    inbox: VecDeque<Message>,
    /// Reused for every suspension.
    snapshot: Snapshot,
    taken: Vec<Effect>,
    draining: bool,
}

/// How a task that isn't over is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// Put away, until this time (in `timers`) or until something wakes it.
    Away(Option<i64>),
    /// Put away until someone says that it may go on.
    Paused,
    /// In `ready`.
    Ready,
    /// Loaded: its key in `active`.
    Active(u64),
    /// Put away, while a batch about it is under way.
    Busy,
}

/// A loaded task.
struct Active {
    /// Its run, in `Back::runs`; none once it is over in all but the last batch.
    run: Option<u64>,
    task: Task,
    /// Its work's name, as the log wants it.
    works: Rc<[Box<str>]>,
    /// Effects that leave the machine when the next batch is on disk.
    held: Vec<Effect>,
    /// cas, snx and incr that end the step.
    conditions: Vec<(EffectId, Condition)>,
    /// Long waits that haven't ended.
    waits: Vec<Wait>,
    /// Writes that have made the step too large: answered when it is on disk.
    full: Vec<EffectId>,
    /// The end of its transaction, which waits for "committing" to be on disk.
    commit: Option<EffectId>,
    /// One of those waits isn't on disk yet, or the step has written so much that it has to end.
    must_save: bool,
    /// It has run since the last batch.
    dirty: bool,
    /// A suspension or the end is being written: it doesn't run meanwhile.
    saving: bool,
    /// Something that it waited for came meanwhile.
    resumed: bool,
    /// It goes on from its records: they were packed.
    repack: bool,
    /// Conflicts of the batch under way.
    tries: u32,
    /// What someone wants of it.
    order: Option<(TaskCommand, SyncSender<Result<(), TaskRefused>>)>,
    /// Requests that wait for its first batch.
    askers: Vec<Asker>,
    started: bool,
    /// What its step does to others, and has taken of them.
    mail: mail::Mail,
    /// Who wants it to end.
    cancels: Vec<mail::Caller>,
    /// Those of them whom the batch under way has heard.
    heard: Vec<mail::Caller>,
}

impl Active {
    /// What the database calls this step of the task.
    fn step_name(&self, effect: EffectId, again: bool) -> StepName {
        let task = self.task.id.as_str().into();
        StepName { number: self.task.state.number, task, effect: effect.0, again }
    }
}

/// A batch under way.
struct Save {
    kind: SaveKind,
    /// To be submitted again, if a condition has to be decided anew.
    batch: Batch,
    decided: Vec<Decided>,
}

enum SaveKind {
    /// The first, of this active task.
    Start(u64),
    /// A suspension.
    Suspend(u64),
    /// The end of a transaction, not yet committed.
    Commit(u64),
    /// The end; how it went, for the log.
    Finish(u64),
    /// Rows of tasks that are over are gone.
    Swept,
    /// Of a task that is put away.
    Turn { id: TaskId, then: Known, over: bool, reply: Option<SyncSender<Result<(), TaskRefused>>> },
    /// A signal, or a promise's value, for this task.
    Post { wake: TaskId, caller: mail::Caller },
    /// Of a task that is put away: it shall end, or have another try.
    Turned { id: TaskId, wake: ending::Then, caller: mail::Caller },
    /// What is left of a task that is over.
    Sweep,
}

/// A module that tasks run, adopted apart from any generation.
struct Code {
    blueprint: Arc<Blueprint>,
    id: BlueprintId,
    tasks: usize,
    idle_seconds: u32,
}

/// A request that waits.
struct Asked {
    origin: Origin,
    id: TaskId,
    /// Started a task, rather than asking for one.
    starts: bool,
    /// How long it waits for the end.
    wait: Option<std::time::Duration>,
    timer: Option<TimerId>,
}

/// What a restart finds.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// This life's number.
    pub(crate) epoch: i64,
    /// Live tasks, by home.
    pub(crate) tasks: Vec<Vec<(TaskId, Live)>>,
    /// Rows of tasks that are over: their numbers, and where the rows are.
    pub(crate) sweeps: Vec<([u8; 16], Vec<Box<str>>)>,
}

/// Reads the index of live tasks and removes code that none of them runs. Before any core starts.
pub(crate) fn recover(store: &Arc<Store>, now: Timestamp, cores: u16) -> Result<Recovered, String> {
    let space = Space::hidden(TenantId(0));
    let text = |error: &dyn std::fmt::Display| format!("durable tasks: {error}");
    let tasks = (0..cores).map(|_| Vec::new()).collect();
    let mut found = Recovered { epoch: 0, tasks, sweeps: Vec::new() };
    let mut codes = BTreeSet::new();
    let each = |prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])| -> Result<(), String> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = store
                .scan(now, space, prefix, after.as_deref(), PAGE_ITEMS_MAX)
                .map_err(|error| text(&error))?;
            for item in &page.items {
                each(item.key(), &item.value);
            }
            match page.items.last() {
                Some(last) if page.more => after = Some(last.key().to_vec()),
                _ => return Ok(()),
            }
        }
    };
    let prefix = forebay_frames::live_prefix();
    each(prefix, &mut |key, value| {
        let id = key.get(prefix.len()..).and_then(|id| std::str::from_utf8(id).ok());
        let id = id.and_then(|id| TaskId::new(id).ok());
        if let (Some(id), Some(live)) = (id, Live::decode(value)) {
            codes.insert(forebay_frames::code_key(&live.code));
            found.tasks[usize::from(id.home(cores))].push((id, live));
        }
    })?;
    each(forebay_frames::sweep_prefix(), &mut |key, value| {
        let mut builder = forebay_base::value::ValueBuilder::default();
        let read =
            forebay_base::value::codec::decode(value, &mut builder).ok().and_then(|()| builder.finish());
        let names = read.as_ref().and_then(forebay_base::Value::as_list).unwrap_or_default();
        let names = names.iter().filter_map(|name| name.as_str().map(Into::into)).collect();
        if let Some(number) = forebay_frames::swept(key) {
            found.sweeps.push((number, names));
        }
    })?;
    let mut unused = Vec::new();
    each(b"code:", &mut |key, _| {
        if !codes.contains(key) {
            unused.push(key.to_vec());
        }
    })?;
    let mail = mail::recover(store, now, &mut found)?;
    // Counted only where there are tasks: a folder without stays as it is.
    if found.tasks.iter().all(Vec::is_empty) && unused.is_empty() && mail.is_empty() {
        found.epoch = 1;
        return Ok(found);
    }
    let mut ops = vec![Op::Incr { key: forebay_frames::epoch_key(), by: 1 }];
    ops.extend(unused.iter().map(|key| Op::Del { key }));
    ops.extend(mail.ops(TenantId(0)).into_iter().map(|(_, op)| op));
    for ops in ops.chunks(forebay_kv::BATCH_OPS_MAX) {
        let answer = store.write_from_outside(now, space, ops).map_err(|error| text(&error))?;
        found.epoch = answer.number.unwrap_or(found.epoch);
    }
    Ok(found)
}

impl Durable {
    pub(crate) fn new(
        core: CoreId,
        homes: Arc<[Arc<Mailbox>]>,
        epoch: i64,
        tasks: Vec<(TaskId, Live)>,
        sweeps: Vec<([u8; 16], Vec<Box<str>>)>,
    ) -> Self {
        let mut durable = Self {
            core,
            homes,
            epoch,
            known: HashMap::with_capacity(tasks.len()),
            timers: BTreeSet::new(),
            timer: None,
            ready: ready::Ready::default(),
            active: Slots::new(),
            saves: HashMap::new(),
            last_save: 0,
            codes: HashMap::new(),
            asked: Slots::new(),
            waiters: HashMap::new(),
            looks: HashMap::new(),
            last_look: 0,
            sweeps: sql::Sweeps { tasks: sweeps, ..sql::Sweeps::default() },
            without_database: HashMap::new(),
            inbox: VecDeque::new(),
            snapshot: Snapshot::new(),
            taken: Vec::new(),
            draining: false,
        };
        let mut left = Vec::new();
        for (id, live) in tasks {
            match live.status {
                Status::Paused => {
                    durable.known.insert(id, Known::Paused);
                }
                _ if live.waiting => durable.put_away(id, live.wake),
                _ => {
                    durable.known.insert(id.clone(), Known::Ready);
                    left.push(id);
                }
            }
        }
        durable.ready = ready::Ready::after_restart(left, epoch);
        durable
    }

    fn cores(&self) -> u16 {
        u16::try_from(self.homes.len()).unwrap_or(u16::MAX)
    }

    /// Says something to a core.
    fn send(&mut self, core: u16, message: Message) {
        if core == self.core.0 {
            self.inbox.push_back(message);
        } else if let Some(home) = self.homes.get(usize::from(core)) {
            home.send(Command::Durable(message));
        }
    }

    fn tell(&mut self, asker: Asker, told: Told) {
        self.send(asker.core.0, Message::Told { key: asker.key, told });
    }

    /// The task leaves only an entry behind.
    fn put_away(&mut self, id: TaskId, wake: Option<i64>) {
        if let Some(wake) = wake {
            self.timers.insert((wake, id.clone()));
        }
        self.known.insert(id, Known::Away(wake));
    }

    /// It will be loaded when there is room.
    fn make_ready(&mut self, id: TaskId) {
        if let Some(Known::Away(Some(wake))) = self.known.insert(id.clone(), Known::Ready) {
            self.timers.remove(&(wake, id.clone()));
        }
        self.ready.push(id);
    }

    /// Takes it out of `timers`; says how it was.
    fn take_known(&mut self, id: &TaskId, now: Known) -> Option<Known> {
        let before = self.known.insert(id.clone(), now);
        if let Some(Known::Away(Some(wake))) = before {
            self.timers.remove(&(wake, id.clone()));
        }
        before
    }

    fn next_token(&mut self) -> u64 {
        self.last_save += 1;
        SAVE | self.last_save
    }

    /// The next turn must not sleep. `room`: another task can be loaded.
    pub(crate) fn has_work(&self, room: bool) -> bool {
        !self.inbox.is_empty() || (room && !self.draining && !self.ready.is_empty())
    }

    /// Nothing is being written and nobody waits for an answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.saves.is_empty() && self.asked.len() == 0 && self.inbox.is_empty()
    }

    /// Code that a generation has, adopted for tasks.
    fn adopt(&mut self, vm: &mut forebay_engine::Vm, blueprint: &Arc<Blueprint>) -> Option<[u8; 32]> {
        let hash = blueprint.content_hash();
        if let Entry::Vacant(place) = self.codes.entry(hash) {
            let id = vm.adopt(blueprint)?;
            place.insert(Code { blueprint: Arc::clone(blueprint), id, tasks: 0, idle_seconds: 0 });
        }
        Some(hash)
    }

    fn release_code(&mut self, hash: &[u8; 32]) {
        if let Some(code) = self.codes.get_mut(hash) {
            code.tasks = code.tasks.saturating_sub(1);
            code.idle_seconds = 0;
        }
    }
}

impl Back {
    /// What has come for durable tasks since the last look: messages, batches, wakes. Before the slices.
    pub(crate) fn durable_turn<R: Reactor, A: Answers<R>>(&mut self, reactor: &mut R, answers: &mut A) {
        while let Some(message) = self.durable.inbox.pop_front() {
            self.durable_message(reactor, answers, message);
        }
        let mut saved = std::mem::take(&mut self.effects.saved);
        for completion in saved.drain(..) {
            self.durable_saved(reactor, completion);
        }
        if self.effects.saved.is_empty() {
            self.effects.saved = saved;
        }
        self.durable_sql_turn(reactor);
        self.wake_due(reactor);
        // None of those has asked the database for anything before its slice.
        for _ in 0..LOADS_PER_TURN.min(self.effects.room_to_begin()) {
            if self.durable.draining || !self.has_room_to_load() {
                break;
            }
            let Some(id) = self.durable.ready.pop() else { break };
            if self.durable.known.get(&id) == Some(&Known::Ready) {
                self.durable_load(reactor, id);
            }
        }
        // Answers of a home that is this core.
        while let Some(message) = self.durable.inbox.pop_front() {
            self.durable_message(reactor, answers, message);
        }
        self.metrics.tasks.set(self.runs.len() as u64);
    }

    /// Requests have their share of the places, too, and tasks that a restart wakes stand in line for the database by and by.
    pub(crate) fn has_room_to_load(&self) -> bool {
        self.runs.len() < self.limits.tasks / 4 * 3 && self.effects.room_to_begin() > 0
    }

    pub(crate) fn durable_message<R: Reactor, A: Answers<R>>(
        &mut self,
        reactor: &mut R,
        answers: &mut A,
        message: Message,
    ) {
        match message {
            Message::Start(request) => self.durable_start(reactor, *request),
            Message::Watch { id, from } => {
                if self.durable.known.contains_key(&id) {
                    self.durable.waiters.entry(id).or_default().push(from);
                    self.durable.tell(from, Told::Known);
                } else {
                    self.durable.tell(from, Told::Over);
                }
            }
            Message::Unwatch { id, from } => {
                if let Some(waiters) = self.durable.waiters.get_mut(&id) {
                    waiters.retain(|waiter| *waiter != from);
                    if waiters.is_empty() {
                        self.durable.waiters.remove(&id);
                    }
                }
            }
            Message::Told { key, told } => self.durable_told(reactor, answers, key, told),
            Message::Wake { id } => self.durable_wake(reactor, id),
            Message::Cancel { id, caller } => self.ask_to_end(reactor, id, caller),
            Message::Signal { id, signal, reply } => {
                self.post_signal(reactor, id, signal, mail::Caller::Control(reply));
            }
            Message::Inspect { id, reply } => self.durable_inspect(reactor, &id, &reply),
            Message::Set { id, name, value, reply } => self.durable_set(reactor, id, &name, &value, reply),
            Message::Control { id, command: TaskCommand::Cancel, reply } => {
                self.ask_to_end(reactor, id, mail::Caller::Control(reply));
            }
            Message::Control { id, command: TaskCommand::Retry, reply } => {
                self.retry_now(reactor, id, mail::Caller::Control(reply));
            }
            Message::Control { id, command, reply } => self.durable_control(reactor, id, command, reply),
        }
    }

    /// Tasks whose time has come become ready; the timer is set for the next.
    fn wake_due<R: Reactor>(&mut self, reactor: &mut R) {
        let now = reactor.timestamp().0;
        while let Some((wake, id)) = self.durable.timers.first() {
            if *wake > now {
                break;
            }
            let id = id.clone();
            self.durable.make_ready(id);
        }
        let next = self.durable.timers.first().map(|(wake, _)| *wake);
        let Some(next) = next else { return };
        if self.durable.timer.is_some_and(|(set, _)| set <= next) {
            return;
        }
        if let Some((_, timer)) = self.durable.timer.take() {
            reactor.cancel_timer(timer);
        }
        let micros = u64::try_from(next.saturating_sub(now)).unwrap_or(0);
        let after = std::time::Duration::from_micros(micros).min(TIMER_MAX);
        let timer = reactor.set_timer(reactor.now().after(after), tokens::WAKE);
        self.durable.timer = Some((next, timer));
    }

    /// The timer of `wake_due` has fired: it looks again at the turn's end.
    pub(crate) fn durable_timer(&mut self) {
        self.durable.timer = None;
    }

    /// Once a second: code that no task runs any more is let go of.
    pub(crate) fn durable_tick<R: Reactor>(&mut self, reactor: &R) {
        self.durable_sweep(reactor);
        let Self { durable, vm, .. } = self;
        durable.codes.retain(|_, code| {
            code.idle_seconds = if code.tasks == 0 { code.idle_seconds + 1 } else { 0 };
            code.idle_seconds < CODE_IDLE_SECONDS || !vm.retire(code.id)
        });
    }

    /// Nothing new is loaded, and nobody is kept waiting.
    pub(crate) fn durable_drain(&mut self) {
        self.durable.draining = true;
        let asked: Vec<u64> = self.durable.asked.keys().collect();
        for key in asked {
            if let Some(asked) = self.durable.asked.get_mut(key)
                && asked.wait.take().is_some()
                && asked.timer.is_some()
            {
                // Known already: answered as if its time were over.
                self.durable.inbox.push_back(Message::Told { key, told: Told::Known });
            }
        }
    }

    pub(crate) fn now_of<R: Reactor>(reactor: &R) -> (Monotonic, Timestamp) {
        (reactor.now(), reactor.timestamp())
    }
}
