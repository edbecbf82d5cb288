//! From records to a running task: after a restart, when its time has come, when someone says so.

use forebay_base::value::codec;
use forebay_base::{TenantId, Timestamp};
use forebay_bytecode::{HostFn, verify};
use forebay_engine::{Blueprint, RestoreInput, SnapshotError};
use forebay_frames::{LoadError, Loaded, Status, Task, TaskId, code_key, prefix};
use forebay_kv::{Item, PAGE_ITEMS_MAX, Space, Store};
use forebay_ring::Reactor;
use std::rc::Rc;
use std::sync::Arc;

use super::{AGAIN_MICROS, Active, Known, SaveKind};
use crate::back::{Back, Level, Run, Whose};
use crate::effects::sql::Refusal;
use crate::effects::steps::StepName;
use crate::effects::{Call, Fault};
use forebay_frames::Decided;

/// All records of a task. Only its home writes them, so several pages are of one moment.
pub(super) fn records(store: &Store, now: Timestamp, id: &TaskId) -> Result<Vec<Item>, String> {
    let prefix = prefix(id);
    let space = Space::hidden(TenantId(0));
    let mut items: Vec<Item> = Vec::new();
    loop {
        let after = items.last().map(|item| item.key().to_vec());
        let page = store
            .scan(now, space, &prefix, after.as_deref(), PAGE_ITEMS_MAX)
            .map_err(|error| error.to_string())?;
        let more = page.more;
        items.extend(page.items);
        if !more {
            return Ok(items);
        }
    }
}

/// What is known of the transaction that a task was committing when it was let go of.
#[derive(Debug)]
pub(super) enum After {
    /// There was none, or it is as if it had not been.
    NotCommitted,
    /// It was.
    Committed,
    /// Nobody will ever say: `tx` throws this.
    NeverKnown(Refusal),
}

impl Back {
    /// A task's records, put together.
    pub(super) fn durable_read(&self, now: Timestamp, id: &TaskId) -> Result<Option<Loaded>, String> {
        let Some(store) = self.effects.store() else { return Err("there is no data folder".into()) };
        let items = records(store, now, id)?;
        match Task::load(id.clone(), items.iter().map(|item| (item.key(), &*item.value))) {
            Ok(loaded) => Ok(Some(loaded)),
            Err(LoadError::Missing) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Loads a task that is `Ready`.
    pub(super) fn durable_load<R: Reactor>(&mut self, reactor: &mut R, id: TaskId) {
        let now = reactor.timestamp();
        let loaded = match self.durable_read(now, &id) {
            Ok(Some(loaded)) => loaded,
            Ok(None) => {
                self.durable.known.remove(&id);
                return;
            }
            Err(why) => {
                self.log.line(Level::Error, "a durable task can't be read", &[("task", &id), ("why", &why)]);
                self.durable.known.insert(id, Known::Paused);
                return;
            }
        };
        if loaded.outcome.is_some() || loaded.task.state.status.is_over() {
            self.durable.known.remove(&id);
            return;
        }
        if loaded.task.state.status == Status::Paused {
            self.durable.known.insert(id, Known::Paused);
            return;
        }
        if let (Some((effect, database)), Some(_)) = (&loaded.task.state.committing, &loaded.commit) {
            let name = StepName {
                number: loaded.task.state.number,
                task: id.as_str().into(),
                effect: *effect,
                again: true,
            };
            return self.durable_ask(reactor, id, database, name);
        }
        self.durable_revive(reactor, loaded, After::NotCommitted);
    }

    /// Loads a task whose last transaction was committed, or not.
    pub(super) fn durable_load_after<R: Reactor>(&mut self, reactor: &mut R, id: TaskId, after: After) {
        match self.durable_read(reactor.timestamp(), &id) {
            Ok(Some(loaded)) => self.durable_revive(reactor, loaded, after),
            _ => self.durable.put_away(id, Some(reactor.timestamp().0 + AGAIN_MICROS)),
        }
    }

    /// The code that a task runs, adopted.
    pub(super) fn durable_code(&mut self, now: Timestamp, hash: &[u8; 32]) -> Result<(), String> {
        if self.durable.codes.contains_key(hash) {
            return Ok(());
        }
        let current = self
            .generations
            .iter()
            .rev()
            .flat_map(|adopted| &adopted.generation.blueprints)
            .find(|blueprint| blueprint.content_hash() == *hash)
            .cloned();
        let blueprint = match current {
            Some(blueprint) => blueprint,
            None => self.stored_code(now, hash)?,
        };
        let Self { durable, vm, .. } = self;
        durable.adopt(vm, &blueprint).map(|_| ()).ok_or_else(|| "no room for its code".into())
    }

    fn stored_code(&self, now: Timestamp, hash: &[u8; 32]) -> Result<Arc<Blueprint>, String> {
        let store = self.effects.store().ok_or("there is no data folder")?;
        read_code(store, now, hash)
    }

    /// Makes a run of what was read.
    fn durable_revive<R: Reactor>(&mut self, reactor: &mut R, loaded: Loaded, after: After) {
        let (now, wall) = Self::now_of(reactor);
        let Loaded { task: mut frames, answers, commit, .. } = loaded;
        let commit = commit.filter(|_| matches!(after, After::Committed));
        let id = frames.id.clone();
        let hash = frames.state.code;
        if let Err(why) = self.durable_code(wall, &hash) {
            return self.durable_pause_away(reactor, id, &why);
        }
        let mut limits = self.limits_of(&hash, &frames.state.work);
        if frames.state.unwind.is_some() {
            limits = super::unwind::more(limits);
        }
        let Self { durable, vm, .. } = self;
        let Some(code) = durable.codes.get_mut(&hash) else { return };
        let input = RestoreInput { limits: &limits, tenant: TenantId(0), now, fresh_wall_time: true };
        let restored = match &commit {
            Some(commit) => {
                let parts = commit.parts.iter();
                vm.restore(code.id, parts.map(|(part, b)| (super::run::key_of(*part), &**b)), &input)
            }
            None => {
                let parts = frames.parts();
                vm.restore(code.id, parts.map(|(part, b)| (super::run::key_of(part), b)), &input)
            }
        };
        let task = match restored {
            Ok(task) => task,
            Err(SnapshotError::Full) => {
                durable.put_away(id, Some(wall.0 + AGAIN_MICROS));
                return;
            }
            Err(error) => {
                let why = error.to_string();
                return self.durable_pause_away(reactor, id, &why);
            }
        };
        code.tasks += 1;
        vm.renew(task, now);
        let run = self.runs.insert(Run::durable(task));
        self.effects.patient.insert(run);
        let waits = frames.state.waits.clone();
        // It has run since its first batch: only then is there anything to wait for.
        let dirty = frames.state.status == Status::Initialized || commit.is_some();
        let done = commit.as_ref().and_then(|_| frames.state.committing.as_ref().map(|(effect, _)| *effect));
        if let Some(commit) = commit {
            frames.buffer = commit.buffer;
        }
        let active = Active {
            run: Some(run),
            works: Rc::from([frames.state.work.clone()]),
            task: frames,
            held: Vec::new(),
            conditions: Vec::new(),
            waits: waits.clone(),
            full: Vec::new(),
            commit: None,
            must_save: false,
            dirty,
            saving: false,
            resumed: false,
            repack: false,
            tries: 0,
            order: None,
            askers: Vec::new(),
            started: true,
            mail: super::mail::Mail::default(),
            cancels: Vec::new(),
            heard: Vec::new(),
        };
        let key = self.durable.active.insert(active);
        if let Some(run) = self.runs.get_mut(run) {
            run.whose = Whose::Durable(key);
        }
        self.durable.known.insert(id, Known::Active(key));
        let active = self.durable.active.get_mut(key);
        let undone = active.filter(|active| active.task.state.unwind.is_some());
        let undone = undone.map(|active| active.task.state.clone());
        let left_behind = |effect: u32| undone.as_ref().is_some_and(|state| state.leaves_behind(effect));
        for (effect, value) in answers.iter().filter(|(effect, _)| !left_behind(*effect)) {
            let effect = forebay_engine::EffectId(*effect);
            crate::effects::resume(&mut self.vm, task, effect, &mut |sink| codec::decode(value, sink));
            self.effects.resumed.push(run);
        }
        if let Some(effect) = done.filter(|effect| !left_behind(*effect)) {
            let effect = forebay_engine::EffectId(effect);
            crate::effects::resume(&mut self.vm, task, effect, &mut |sink| sink.undefined());
            self.effects.resumed.push(run);
        }
        let mut taken = std::mem::take(&mut self.durable.taken);
        taken.clear();
        self.vm.take_effects(task, &mut taken);
        let last = taken.iter().map(|effect| effect.id.0).max().unwrap_or(0);
        if let After::NeverKnown((name, message, code)) = &after
            && let Some(begin) = taken.iter().position(|effect| effect.func == HostFn::TxBegin)
        {
            let effect = taken.remove(begin);
            let call =
                Call { run, task, effect: &effect, now, timestamp: wall, tenant: TenantId(0), once: None };
            let fault = Fault { name, message, code: code.as_deref() };
            self.effects.fail(&mut self.vm, &call, &fault);
        }
        for effect in &taken {
            if !waits.iter().any(|wait| wait.effect == effect.id.0) && !left_behind(effect.id.0) {
                self.durable_effect(reactor, run, key, task, effect);
            }
        }
        self.durable.taken = taken;
        if !self.undo_from_records(reactor, run, key, task, last) {
            return;
        }
        self.tell_cancelled(run, key, task);
        // What leaves the machine was on disk before it was asked for.
        self.durable_release(reactor, run, key, task, true);
        self.end_waits(run, key, task, wall);
        if self.took_resumed(run) || dirty {
            return self.queue_run(run);
        }
        let Some(active) = self.durable.active.get_mut(key) else { return };
        let asks = !active.conditions.is_empty() || active.must_save;
        if asks {
            self.queue_run(run);
        } else if self.effects.in_flight(run) == 0 {
            self.durable_put_away(reactor, key);
        }
    }

    /// A packed task goes on from its records.
    pub(super) fn durable_reload<R: Reactor>(&mut self, reactor: &mut R, key: u64, decided: Vec<Decided>) {
        let now = reactor.timestamp();
        // The results of its conditions are in the records.
        drop(decided);
        let Some(id) = self.durable.active.get_mut(key).map(|active| active.task.id.clone()) else { return };
        self.durable_drop_run(reactor, key);
        match self.durable_read(now, &id) {
            Ok(Some(loaded)) => self.durable_revive(reactor, loaded, After::NotCommitted),
            Ok(None) => {
                self.durable.known.remove(&id);
            }
            Err(_) => self.durable.put_away(id, Some(now.0 + AGAIN_MICROS)),
        }
    }

    /// Pauses a task that isn't loaded, and says why.
    pub(super) fn durable_pause_away<R: Reactor>(&mut self, reactor: &mut R, id: TaskId, why: &str) {
        let now = reactor.timestamp();
        self.log.line(Level::Error, "a durable task was paused", &[("task", &id), ("why", &why)]);
        match self.durable_read(now, &id) {
            Ok(Some(mut loaded)) if !loaded.task.state.status.is_over() => {
                let batch = loaded.task.turn(Status::Paused, why, self.durable.epoch, now);
                self.durable.known.insert(id.clone(), Known::Busy);
                let kind = SaveKind::Turn { id, then: Known::Paused, over: false, reply: None };
                self.durable_save(reactor, kind, batch, Vec::new());
            }
            Ok(_) => {
                self.durable.known.remove(&id);
            }
            Err(_) => {
                self.durable.known.insert(id, Known::Paused);
            }
        }
    }
}

/// A module that the store keeps for live tasks.
pub(super) fn read_code(store: &Store, now: Timestamp, hash: &[u8; 32]) -> Result<Arc<Blueprint>, String> {
    let found = store.get(now, Space::hidden(TenantId(0)), &code_key(hash)).map_err(|e| e.to_string())?;
    let bytes = found.ok_or("the code that it runs isn't in the store")?;
    let module = forebay_bytecode::decode(&bytes).map_err(|error| format!("its code: {error}"))?;
    let verified = verify(module).map_err(|error| format!("its code: {error}"))?;
    Blueprint::load(&verified).map_err(|error| format!("its code can't be loaded: {error:?}"))
}
