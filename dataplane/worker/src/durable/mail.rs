//! Signals, promises and joins: what a durable task waits for that others do.
//!
//! ```text
//!   a handler, HTTP, ctl ---> record on disk ---> Wake to the task's home ---+
//!   a durable task ---------> with its step's batch ---> Wake --------------+--> looks at the records of its waits
//!   a task's end -----------> its result on disk ---> Wake to who joins ----+
//! ```
//!
//! A wait is on disk before the records are looked at, and a record is on disk before the task is woken: whoever
//! comes second sees the other. What a crash leaves between the two, [`recover`] finds.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;

use forebay_base::limits::{
    TASK_PROMISES_MAX, TASK_RESULT_KEPT, TASK_SIGNAL_BYTES_MAX, TASK_SIGNALS_MAX, TASK_STEP_WRITES_MAX,
};
use forebay_base::value::codec;
use forebay_base::{TenantId, Timestamp, Value, ValueSource as _};
use forebay_bytecode::HostFn;
use forebay_engine::{EffectId, ErrorSpec, Host, TaskHandle, ValueRef};
use forebay_frames::{
    Batch, Outcome, Promise, Record, Signal, TaskId, Wait, WaitKind, join_key, join_of, joins_of,
    joins_prefix, live_key, promise_entry, promise_key, promises_of, promises_prefix, record_key, signal_key,
    signal_of, signals_of, signals_prefix,
};
use forebay_kv::{Item, PAGE_ITEMS_MAX, Space, Store};
use forebay_ring::Reactor;

use super::effects::Begun;
use super::{Asker, Known, Message, SaveKind, TaskRefused, Told};
use crate::back::Back;
use crate::effects::kv::{self, Refusal};
use crate::effects::{Call, milliseconds, resume};
use forebay_kv::Outcome as Written;

/// Marks keys of effects among those of requests.
pub(super) const SCRIPT: u64 = 1 << 63;
/// Orders the signals of this process; those of a former life come before.
static SEQUENCE: AtomicU64 = AtomicU64::new(1);

fn hidden() -> Space {
    Space::hidden(TenantId(0))
}

/// What a step of a task does to others, and has taken of what others did to it.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// Sent with the step's batch.
    outgoing: Vec<(TaskId, Signal)>,
    /// Taken: removed with the step's batch.
    consumed: BTreeSet<Vec<u8>>,
    /// Promises and joins.
    ops: Batch,
    promises: usize,
    /// To be woken when the batch is on disk.
    wakes: Vec<TaskId>,
}

impl Mail {
    /// Into the step's batch.
    pub(super) fn drain_into(&mut self, batch: &mut Batch) {
        for (id, signal) in self.outgoing.drain(..) {
            batch.keep(signal_key(&id, SEQUENCE.fetch_add(1, Ordering::Relaxed)), signal.encode(), None);
            self.wakes.push(id);
        }
        for key in std::mem::take(&mut self.consumed) {
            batch.drop(key);
        }
        batch.append(std::mem::take(&mut self.ops));
    }

    /// The step didn't happen: nobody is told of it.
    pub(super) fn unsend(&mut self) {
        self.outgoing.clear();
    }
}

/// Who is told how it went.
#[derive(Debug)]
pub(crate) enum Caller {
    /// A request or a script of this core or another.
    Asker(Asker),
    /// `forebay ctl`.
    Control(SyncSender<Result<(), TaskRefused>>),
    /// Nobody.
    Nobody,
}

/// What a wait was for.
enum Found {
    /// Encoded; none: undefined.
    Value(Option<Vec<u8>>),
    End(Outcome),
    TimedOut(String),
}

fn refused(status: u16, code: &'static str, detail: impl Into<String>) -> TaskRefused {
    TaskRefused { status, code, detail: detail.into() }
}

fn unavailable() -> TaskRefused {
    refused(503, "unavailable", "there is no data folder")
}

/// Everything below a prefix.
fn all(store: &Store, now: Timestamp, prefix: &[u8]) -> Result<Vec<Item>, String> {
    let mut items: Vec<Item> = Vec::new();
    loop {
        let after = items.last().map(|item| item.key().to_vec());
        let page = store
            .scan(now, hidden(), prefix, after.as_deref(), PAGE_ITEMS_MAX)
            .map_err(|error| error.to_string())?;
        let more = page.more && !page.items.is_empty();
        items.extend(page.items);
        if !more {
            return Ok(items);
        }
    }
}

/// A task in an argument: its id, or a handle with it.
pub(super) fn task_arg(value: ValueRef<'_>, path: &str) -> Result<TaskId, Refusal> {
    let text = match value.as_str() {
        Some(text) => Some(text),
        None => value.get("id").and_then(|id| id.as_str()),
    };
    let text = text.ok_or(("TypeError", format!("{path}: the task is its id, or what task.start gave")))?;
    TaskId::new(text).map_err(|error| ("TypeError", format!("{path}: {error}")))
}

/// A signal's name: 1 to 128 bytes.
pub(crate) fn checked_name(name: &str) -> Result<Box<str>, String> {
    if name.is_empty() || name.len() > 128 {
        return Err("a signal's name has 1 to 128 bytes".into());
    }
    Ok(name.into())
}

/// The value of an argument, encoded; none if it is undefined.
fn encoded_arg(value: &ValueRef<'_>) -> Result<Option<Vec<u8>>, Refusal> {
    if value.is_undefined() {
        return Ok(None);
    }
    let bytes = kv::encoded(value)?;
    if bytes.len() > TASK_SIGNAL_BYTES_MAX {
        return Err(("RangeError", format!("the value has more than {TASK_SIGNAL_BYTES_MAX} bytes")));
    }
    Ok(Some(bytes))
}

fn until(options: &ValueRef<'_>, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
    let Some(time) = options.get("timeout").filter(|time| !time.is_undefined()) else { return Ok(None) };
    let millis = milliseconds(time).map_err(|error| ("TypeError", format!("timeout: {error}")))?;
    let micros = i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1000);
    Ok(Some(Timestamp(now.0.saturating_add(micros))))
}

/// Whether a task can be sent something.
fn can_take(store: &Store, now: Timestamp, id: &TaskId) -> Result<(), TaskRefused> {
    if !store.exists(now, hidden(), &live_key(id)) {
        let there = store.exists(now, hidden(), &record_key(id, Record::State));
        return Err(if there {
            refused(409, "task/over", format!("the task {id} is over"))
        } else {
            refused(404, "task/unknown", format!("there is no task {id}"))
        });
    }
    let waiting = store
        .scan(now, hidden(), &signals_of(id), None, TASK_SIGNALS_MAX)
        .map_err(|error| refused(503, "unavailable", error.to_string()))?;
    if waiting.items.len() >= TASK_SIGNALS_MAX {
        let detail = format!("{TASK_SIGNALS_MAX} signals wait for the task {id} already");
        return Err(refused(503, "task/signals", detail));
    }
    Ok(())
}

impl Back {
    /// What a durable task asks about tasks.
    pub(super) fn task_call<R: Reactor>(
        &mut self,
        reactor: &mut R,
        key: u64,
        call: &Call<'_>,
    ) -> Result<Begun, Refusal> {
        let path = call.effect.func.path();
        let named = |(name, message): Refusal| (name, format!("{path}: {message}"));
        let arg = |index| self.vm.arg(call.task, call.effect.id, index);
        match call.effect.func {
            HostFn::TaskId => {
                let id = self.durable.active.get_mut(key).map(|active| active.task.id.clone());
                self.effects.answer(&mut self.vm, call, &mut |sink| match &id {
                    Some(id) => sink.str(id.as_str()),
                    None => sink.undefined(),
                });
                Ok(Begun::Done)
            }
            HostFn::TaskStart | HostFn::TaskCancel => Ok(Begun::Held),
            HostFn::TaskSignal => self.signal_later(key, call),
            HostFn::TaskWait => {
                let name = arg(0);
                let name =
                    name.as_str().ok_or(("TypeError", format!("{path}: the name must be a string")))?;
                let name = checked_name(name).map_err(|message| named(("TypeError", message)))?;
                let until = until(&arg(1), call.timestamp).map_err(named)?;
                Ok(self.begin_wait(key, call, WaitKind::Signal, name, until))
            }
            HostFn::TaskPromiseMake => self.make_promise(key, call),
            HostFn::TaskPromiseWait => {
                let token: Box<str> = arg(0).as_str().unwrap_or_default().into();
                let until = until(&arg(1), call.timestamp).map_err(named)?;
                Ok(self.begin_wait(key, call, WaitKind::Promise, token, until))
            }
            HostFn::TaskJoin => {
                let id = task_arg(arg(0), path)?;
                let until = until(&arg(1), call.timestamp).map_err(named)?;
                let store = self.effects.store().ok_or(("UnavailableError", "no data folder".to_owned()))?;
                if !store.exists(call.timestamp, hidden(), &record_key(&id, Record::State)) {
                    return Err(("NotFoundError", format!("{path}: there is no task {id}")));
                }
                Ok(self.begin_wait(key, call, WaitKind::Join, id.as_str().into(), until))
            }
            _ => self.ending_call(reactor, key, call),
        }
    }

    /// Kept for the step's batch.
    fn signal_later(&mut self, key: u64, call: &Call<'_>) -> Result<Begun, Refusal> {
        let (id, signal) = self.signal_args(call)?;
        let store = self.effects.store().ok_or(("UnavailableError", "no data folder".to_owned()))?;
        can_take(store, call.timestamp, &id).map_err(|refused| (error_name(&refused), refused.detail))?;
        let Some(active) = self.durable.active.get_mut(key) else { return Ok(Begun::Done) };
        active.mail.outgoing.push((id, signal));
        if active.mail.outgoing.len() > TASK_STEP_WRITES_MAX {
            active.must_save = true;
            active.full.push(call.effect.id);
            return Ok(Begun::Done);
        }
        self.effects.answer(&mut self.vm, call, &mut |sink| sink.undefined());
        Ok(Begun::Done)
    }

    fn signal_args(&self, call: &Call<'_>) -> Result<(TaskId, Signal), Refusal> {
        let path = call.effect.func.path();
        let arg = |index| self.vm.arg(call.task, call.effect.id, index);
        let id = task_arg(arg(0), path)?;
        let name = arg(1);
        let name = name.as_str().ok_or(("TypeError", format!("{path}: the name must be a string")))?;
        let name = checked_name(name).map_err(|message| ("TypeError", format!("{path}: {message}")))?;
        let value = encoded_arg(&arg(2)).map_err(|(name, message)| (name, format!("{path}: {message}")))?;
        Ok((id, Signal { name, value }))
    }

    fn make_promise(&mut self, key: u64, call: &Call<'_>) -> Result<Begun, Refusal> {
        let mut bits = [0; 16];
        Host::random(&mut self.host, &mut bits);
        let token = TaskId::random(bits);
        let Some(active) = self.durable.active.get_mut(key) else { return Ok(Begun::Done) };
        let id = &active.task.id;
        let there = match self.effects.store() {
            Some(store) => store
                .scan(call.timestamp, hidden(), &promises_of(id), None, TASK_PROMISES_MAX)
                .map_or(0, |page| page.items.len()),
            None => 0,
        };
        if there + active.mail.promises >= TASK_PROMISES_MAX {
            return Err(("RangeError", format!("a task has at most {TASK_PROMISES_MAX} promises")));
        }
        let promise = Promise { task: id.clone(), value: None, settled: false };
        active.mail.ops.keep(promise_key(&token), promise.encode(), None);
        active.mail.ops.keep(promise_entry(id, &token), vec![1], None);
        active.mail.promises += 1;
        self.effects.answer(&mut self.vm, call, &mut |sink| sink.str(token.as_str()));
        Ok(Begun::Done)
    }

    /// Waits, unless what is waited for is there.
    fn begin_wait(
        &mut self,
        key: u64,
        call: &Call<'_>,
        kind: WaitKind,
        name: Box<str>,
        until: Option<Timestamp>,
    ) -> Begun {
        let wait = Wait { effect: call.effect.id.0, kind, name, until };
        if let Some(found) = self.seen(key, &wait, call.timestamp) {
            self.give(call.run, call.task, call.effect.id, &found);
        } else if let Some(active) = self.durable.active.get_mut(key) {
            if wait.kind == WaitKind::Join
                && let Ok(id) = TaskId::new(&wait.name)
            {
                active.mail.ops.keep(join_key(&id, &active.task.id), vec![1], None);
            }
            active.waits.push(wait);
            active.must_save = true;
        }
        Begun::Done
    }

    /// What a wait is for, if it is there, or its time is over.
    fn seen(&mut self, key: u64, wait: &Wait, now: Timestamp) -> Option<Found> {
        let store = self.effects.store()?;
        let active = self.durable.active.get_mut(key)?;
        let get = |key: &[u8]| store.get(now, hidden(), key).ok().flatten();
        let found = match wait.kind {
            WaitKind::Signal => take_signal(store, now, active, &wait.name).map(Found::Value),
            WaitKind::Promise => {
                let token = TaskId::new(&wait.name).ok()?;
                let promise = get(&promise_key(&token)).and_then(|bytes| Promise::decode(&bytes).ok());
                promise.filter(|promise| promise.settled).map(|promise| Found::Value(promise.value))
            }
            WaitKind::Join => {
                let id = TaskId::new(&wait.name).ok()?;
                // The result comes in one batch with the state that says so.
                get(&record_key(&id, Record::Result))
                    .and_then(|bytes| Outcome::decode(&bytes).ok())
                    .map(Found::End)
            }
            // Once what the compensations wrote is on disk.
            WaitKind::Ending => {
                return (&*wait.name == "over" && !active.must_save).then_some(Found::Value(None));
            }
            WaitKind::Sleep | WaitKind::Defer => return None,
        };
        found.or_else(|| {
            wait.until.filter(|until| *until <= now)?;
            Some(match wait.kind {
                WaitKind::Join => Found::TimedOut(format!("the task {} isn't over yet", wait.name)),
                _ => Found::Value(None),
            })
        })
    }

    /// Answers the waits for which there is something now.
    pub(super) fn end_mail(&mut self, run: u64, key: u64, task: TaskHandle, wall: Timestamp) {
        let Some(active) = self.durable.active.get_mut(key) else { return };
        if active.waits.is_empty() {
            return;
        }
        for wait in active.waits.clone() {
            let Some(found) = self.seen(key, &wait, wall) else { continue };
            self.drop_wait(key, &wait);
            self.give(run, task, EffectId(wait.effect), &found);
        }
    }

    /// Forgets a wait that has its answer.
    pub(super) fn drop_wait(&mut self, key: u64, wait: &Wait) {
        let Some(active) = self.durable.active.get_mut(key) else { return };
        active.waits.retain(|other| other.effect != wait.effect);
        let shared = |other: &Wait| other.kind == WaitKind::Join && other.name == wait.name;
        if wait.kind == WaitKind::Join
            && !active.waits.iter().any(shared)
            && let Ok(id) = TaskId::new(&wait.name)
        {
            active.mail.ops.drop(join_key(&id, &active.task.id));
        }
    }

    fn give(&mut self, run: u64, task: TaskHandle, effect: EffectId, found: &Found) {
        let mut throw = |name: &str, message: &str, code: &str| {
            let spec = ErrorSpec { name, message, code: Some(code), props: &[] };
            let _ = self.vm.resume_error(task, effect, &spec);
        };
        match found {
            Found::Value(Some(bytes)) => {
                resume(&mut self.vm, task, effect, &mut |sink| codec::decode(bytes, sink));
            }
            Found::Value(None) => resume(&mut self.vm, task, effect, &mut |sink| sink.undefined()),
            Found::TimedOut(message) => throw("TimeoutError", message, "timeout"),
            Found::End(Outcome::Cancelled) => {
                throw("TaskCancelled", "the task was cancelled", "task_cancelled");
            }
            Found::End(Outcome::Failed(failure)) => {
                let name = if failure.name.is_empty() { "Error" } else { &failure.name };
                throw(name, &failure.message, &failure.code);
            }
            Found::End(Outcome::Answer { content_type, body, .. }) => {
                let kind = content_type.as_deref().unwrap_or_default();
                let json = (kind == "application/json").then(|| super::body::parse(body)).flatten();
                resume(&mut self.vm, task, effect, &mut |sink| match (&json, std::str::from_utf8(body)) {
                    (Some(value), _) => value.emit(sink),
                    _ if kind.is_empty() => sink.undefined(),
                    (None, Ok(text)) if kind.starts_with("text/") => sink.str(text),
                    _ => sink.bytes(body),
                });
            }
        }
        self.effects.resumed.push(run);
    }

    /// At home: something has come for a task.
    pub(super) fn durable_wake<R: Reactor>(&mut self, reactor: &mut R, id: TaskId) {
        match self.durable.known.get(&id).copied() {
            Some(Known::Away(_)) => self.durable.make_ready(id),
            Some(Known::Active(key)) => {
                let Some(active) = self.durable.active.get_mut(key) else { return };
                // Otherwise it looks when its batch is on disk.
                if !active.saving
                    && let Some(run) = active.run
                    && let Some(task) = self.runs.get_mut(run).map(|run| run.task)
                {
                    self.end_mail(run, key, task, reactor.timestamp());
                }
            }
            Some(Known::Ready | Known::Busy | Known::Paused) => {}
            None => self.sweep(reactor, &id),
        }
    }

    /// A task is over: those who wait for that are told, and what came for it is removed.
    pub(super) fn mail_over<R: Reactor>(&mut self, reactor: &mut R, id: &TaskId) {
        let Some(store) = self.effects.store() else { return };
        let joins = all(store, reactor.timestamp(), &joins_of(id)).unwrap_or_default();
        for (_, waiter) in joins.iter().filter_map(|item| join_of(item.key())) {
            self.wake_task(waiter);
        }
        self.sweep(reactor, id);
    }

    pub(super) fn wake_task(&mut self, id: TaskId) {
        let home = id.home(self.durable.cores());
        self.durable.send(home, Message::Wake { id });
    }

    pub(super) fn wake_tasks(&mut self, key: u64) {
        let Some(active) = self.durable.active.get_mut(key) else { return };
        let wakes = std::mem::take(&mut active.mail.wakes);
        active.mail.promises = 0;
        for id in wakes {
            self.wake_task(id);
        }
    }

    /// Removes what is left for a task that is over.
    fn sweep<R: Reactor>(&mut self, reactor: &mut R, id: &TaskId) {
        let Some(store) = self.effects.store() else { return };
        let now = reactor.timestamp();
        let mut batch = Batch::new();
        for item in all(store, now, &signals_of(id)).unwrap_or_default() {
            batch.drop(item.key().to_vec());
        }
        let prefix = promises_of(id);
        for item in all(store, now, &prefix).unwrap_or_default() {
            settle(store, now, &prefix, item.key(), &mut batch);
        }
        if !batch.is_empty() {
            // What fails here, a restart finds.
            self.durable_save(reactor, SaveKind::Sweep, batch, Vec::new());
        }
    }

    /// Waits of an ended task: nobody is to be woken for them.
    pub(super) fn unjoin(id: &TaskId, waits: &[Wait], batch: &mut Batch) {
        for wait in waits.iter().filter(|wait| wait.kind == WaitKind::Join) {
            if let Ok(other) = TaskId::new(&wait.name) {
                batch.drop(join_key(&other, id));
            }
        }
    }

    /// Effects of handlers and durable tasks that are about other tasks.
    pub(crate) fn durable_asks<R: Reactor>(&mut self, reactor: &mut R) {
        for ask in std::mem::take(&mut self.effects.asks) {
            let caller = Asker { core: self.core, key: ask.key | SCRIPT };
            let call = Call {
                run: ask.run,
                task: ask.task,
                effect: &ask.effect,
                now: reactor.now(),
                timestamp: reactor.timestamp(),
                tenant: TenantId(0),
                once: ask.once.as_deref(),
            };
            let done = match ask.effect.func {
                HostFn::TaskSignal => self.signal_args(&call).map(|(id, signal)| {
                    self.post_signal(reactor, id, signal, Caller::Asker(caller));
                }),
                HostFn::TaskCancel => {
                    let arg = self.vm.arg(call.task, call.effect.id, 0);
                    task_arg(arg, call.effect.func.path()).map(|id| {
                        let home = id.home(self.durable.cores());
                        self.durable.send(home, Message::Cancel { id, caller: Caller::Asker(caller) });
                    })
                }
                _ => self.start_child(&call, caller),
            };
            if let Err((name, message)) = done
                && self.effects.done(ask.key).is_some()
            {
                let spec = ErrorSpec { name, message: &message, code: None, props: &[] };
                let _ = self.vm.resume_error(ask.task, ask.effect.id, &spec);
            }
        }
    }

    /// A home has answered a script.
    pub(super) fn script_told(&mut self, key: u64, told: Told) {
        let key = key & !SCRIPT;
        let Some(waiting) = self.effects.done(key) else { return };
        let crate::effects::What::Task(started) = waiting.what else { return };
        match told {
            Told::Refused(refused) => {
                let spec = ErrorSpec {
                    name: error_name(&refused),
                    message: &refused.detail,
                    code: Some(refused.code),
                    props: &[],
                };
                let _ = self.vm.resume_error(waiting.task, waiting.effect, &spec);
            }
            Told::Known | Told::Over | Told::Sent => {
                resume(&mut self.vm, waiting.task, waiting.effect, &mut |sink| match &started {
                    Some(id) => Value::Map(vec![("id".into(), Value::Str(id.as_str().into()))]).emit(sink),
                    None => sink.undefined(),
                });
            }
        }
    }

    pub(super) fn call_back(&mut self, caller: Caller, told: Result<(), TaskRefused>) {
        match caller {
            Caller::Asker(asker) => {
                self.durable.tell(asker, told.map_or_else(Told::Refused, |()| Told::Sent));
            }
            Caller::Control(reply) => {
                let _ = reply.try_send(told);
            }
            Caller::Nobody => {}
        }
    }

    /// Writes a signal of somebody who isn't a durable task.
    pub(super) fn post_signal<R: Reactor>(
        &mut self,
        reactor: &mut R,
        id: TaskId,
        signal: Signal,
        caller: Caller,
    ) {
        let able = match self.effects.store() {
            Some(store) => can_take(store, reactor.timestamp(), &id),
            None => Err(unavailable()),
        };
        if let Err(why) = able {
            return self.call_back(caller, Err(why));
        }
        let mut batch = Batch::new();
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        batch.keep(signal_key(&id, sequence), signal.encode(), None);
        self.durable_save(reactor, SaveKind::Post { wake: id, caller }, batch, Vec::new());
    }

    /// Fulfills a promise.
    pub(super) fn post_promise<R: Reactor>(
        &mut self,
        reactor: &mut R,
        token: &TaskId,
        value: Option<Vec<u8>>,
        caller: Caller,
    ) {
        let now = reactor.timestamp();
        let key = promise_key(token);
        let found = match self.effects.store() {
            Some(store) => store.get(now, hidden(), &key).map_err(|error| error.to_string()),
            None => Err("there is no data folder".into()),
        };
        let bytes = match found {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                return self.call_back(caller, Err(refused(404, "no_promise", "there is no such promise")));
            }
            Err(why) => return self.call_back(caller, Err(refused(503, "unavailable", why))),
        };
        let mut promise = match Promise::decode(&bytes) {
            Ok(promise) if promise.settled => return self.call_back(caller, Err(settled())),
            Ok(promise) => promise,
            Err(error) => return self.call_back(caller, Err(refused(500, "damaged", error.to_string()))),
        };
        promise.settled = true;
        promise.value = value;
        let mut batch = Batch::new();
        batch.change(key, Some(bytes.to_vec()), Some(promise.encode()), None);
        self.durable_save(reactor, SaveKind::Post { wake: promise.task, caller }, batch, Vec::new());
    }

    /// The store has answered what was posted.
    pub(super) fn mail_saved<R: Reactor>(&mut self, reactor: &mut R, kind: SaveKind, how: &Written) {
        let told = match how {
            Written::Ok => Ok(()),
            Written::Conflict => Err(settled()),
            Written::Unavailable(why) => Err(refused(503, "unavailable", why.to_string())),
            Written::Unknown | Written::NotCounter => {
                Err(refused(503, "unavailable", "the disk failed: it may have happened"))
            }
        };
        self.mail_answered(reactor, kind, told);
    }

    pub(super) fn mail_answered<R: Reactor>(
        &mut self,
        reactor: &mut R,
        kind: SaveKind,
        told: Result<(), TaskRefused>,
    ) {
        match kind {
            SaveKind::Post { wake, caller } => {
                if told.is_ok() {
                    self.wake_task(wake);
                }
                self.call_back(caller, told);
            }
            SaveKind::Turned { id, wake, caller } => self.ending_saved(reactor, id, wake, caller, told),
            _ => {}
        }
    }
}

fn settled() -> TaskRefused {
    refused(409, "promise_settled", "the promise was fulfilled before, or its task is over")
}

/// What a refusal is for a script.
pub(super) const fn error_name(refused: &TaskRefused) -> &'static str {
    match refused.status {
        404 => "NotFoundError",
        409 => "ConflictError",
        503 => "UnavailableError",
        _ => "TypeError",
    }
}

/// The first signal of a name that the step hasn't taken yet; inside: its value, none for undefined.
fn take_signal(
    store: &Store,
    now: Timestamp,
    active: &mut super::Active,
    name: &str,
) -> Option<Option<Vec<u8>>> {
    let prefix = signals_of(&active.task.id);
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(now, hidden(), &prefix, after.as_deref(), PAGE_ITEMS_MAX).ok()?;
        for item in &page.items {
            let Ok(signal) = Signal::decode(&item.value) else { continue };
            if &*signal.name == name && active.mail.consumed.insert(item.key().to_vec()) {
                return Some(signal.value);
            }
        }
        after = Some(page.items.last().filter(|_| page.more)?.key().to_vec());
    }
}

/// A promise whose task is over: whoever comes too late is told so for a while.
fn settle(store: &Store, now: Timestamp, prefix: &[u8], entry: &[u8], batch: &mut Batch) {
    batch.drop(entry.to_vec());
    let token = entry.get(prefix.len()..).and_then(|token| std::str::from_utf8(token).ok());
    let Some(key) = token.and_then(|token| TaskId::new(token).ok()).map(|token| promise_key(&token)) else {
        return;
    };
    let promise = store.get(now, hidden(), &key).ok().flatten();
    if let Some(mut promise) = promise.and_then(|bytes| Promise::decode(&bytes).ok()) {
        promise.settled = true;
        promise.value = None;
        let kept = i64::try_from(TASK_RESULT_KEPT.as_micros()).unwrap_or(i64::MAX);
        batch.keep(key, promise.encode(), Some(Timestamp(now.0.saturating_add(kept))));
    }
}

/// What a crash has left between a record and the task that waits for it: tasks that have to look, and records
/// whose task is over. Before any core starts.
pub(super) fn recover(store: &Store, now: Timestamp, found: &mut super::Recovered) -> Result<Batch, String> {
    let mut places = HashMap::new();
    for (core, tasks) in found.tasks.iter().enumerate() {
        for (at, (id, _)) in tasks.iter().enumerate() {
            places.insert(id.clone(), (core, at));
        }
    }
    let mut batch = Batch::new();
    let mut look = Vec::new();
    for item in all(store, now, signals_prefix())? {
        let Some((id, sequence)) = signal_of(item.key()) else { continue };
        SEQUENCE.fetch_max(sequence.saturating_add(1), Ordering::Relaxed);
        if places.contains_key(&id) { look.push(id) } else { batch.drop(item.key().to_vec()) }
    }
    for item in all(store, now, joins_prefix())? {
        let Some((id, waiter)) = join_of(item.key()) else { continue };
        if !places.contains_key(&waiter) {
            batch.drop(item.key().to_vec());
        } else if !places.contains_key(&id) {
            look.push(waiter);
        }
    }
    for item in all(store, now, b"pt:")? {
        let text = std::str::from_utf8(item.key()).unwrap_or_default();
        let id = text.split(':').nth(1).and_then(|id| TaskId::new(id).ok());
        if let Some(id) = id.filter(|id| !places.contains_key(id)) {
            settle(store, now, &promises_of(&id), item.key(), &mut batch);
        }
    }
    for item in all(store, now, promises_prefix())? {
        if let Ok(promise) = Promise::decode(&item.value)
            && promise.settled
            && places.contains_key(&promise.task)
        {
            look.push(promise.task);
        }
    }
    for id in look {
        if let Some((core, at)) = places.get(&id) {
            // Not put away: loaded, so that it looks.
            found.tasks[*core][*at].1.waiting = false;
        }
    }
    Ok(batch)
}
