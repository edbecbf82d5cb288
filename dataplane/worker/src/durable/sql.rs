//! The database in durable tasks: statements that write, transactions, and the rows that say what was done.
//! What the server is told is in effects/steps.rs.
//!
//! ```text
//!   a statement     suspended; then BEGIN .. the statement .. its row .. COMMIT
//!   tx(fn)          suspended; BEGIN; fn runs, without suspensions; at its end "committing" is written beside what
//!                   was there before; then the row and COMMIT
//!   loaded again    while committing: is the row there?   yes: on behind the transaction
//!                                                         no: fn from its beginning
//! ```

use std::collections::HashSet;

use forebay_base::{Monotonic, TenantId};
use forebay_bytecode::HostFn;
use forebay_engine::{Effect, EffectId, Packing, TaskHandle};
use forebay_frames::{Batch, Facts, TaskId, sweep_key};
use forebay_ring::Reactor;

use super::effects::Begun;
use super::load::After;
use super::{Known, SaveKind, TaskCommand};
use crate::back::{Back, Whose};
use crate::effects::Call;
use crate::effects::kv::Refusal;
use crate::effects::steps::{SWEEP_MAX, StepName, lasts};

/// After a failure, before it is tried again.
const SWEEP_AGAIN: std::time::Duration = std::time::Duration::from_secs(5);

/// Rows to be removed, of tasks that are over.
#[derive(Debug, Default)]
pub(crate) struct Sweeps {
    /// Number of the task, and the databases that it has rows in.
    pub(super) tasks: Vec<([u8; 16], Vec<Box<str>>)>,
    /// What is being removed: where, and whose.
    pub(super) under_way: Option<(Box<str>, Vec<[u8; 16]>)>,
    pub(super) not_before: Monotonic,
}

impl Back {
    /// `db()...`: one that only reads goes at once, as does one inside of a transaction.
    pub(super) fn durable_query<R: Reactor>(
        &mut self,
        reactor: &mut R,
        key: u64,
        call: &Call<'_>,
    ) -> Result<Begun, Refusal> {
        if self.vm.transaction(call.task, call.effect.id) != 0 || self.effects.only_reads(&self.vm, call) {
            self.effects.begin_one(reactor, &mut self.vm, call);
            return Ok(Begun::Done);
        }
        let label = self.vm.query_database(call.task, call.effect.id).unwrap_or_default().to_owned();
        self.note_database(key, &label);
        Ok(Begun::Held)
    }

    pub(super) fn durable_tx_begin<R: Reactor>(
        &mut self,
        reactor: &mut R,
        key: u64,
        call: &Call<'_>,
    ) -> Result<Begun, Refusal> {
        if self.vm.transaction(call.task, call.effect.id) != 0 {
            self.effects.begin_one(reactor, &mut self.vm, call);
            return Ok(Begun::Done);
        }
        let database = self.effects.tx_database(&self.vm, call).map_err(|(name, why, _)| (name, why))?;
        let label = self.effects.label_of(database).to_owned();
        self.note_database(key, &label);
        Ok(Begun::Held)
    }

    pub(super) fn durable_tx_end<R: Reactor>(&mut self, reactor: &mut R, key: u64, call: &Call<'_>) -> Begun {
        let number = self.vm.arg(call.task, call.effect.id, 0).as_i64().and_then(|n| u32::try_from(n).ok());
        let commits = self.vm.arg(call.task, call.effect.id, 1).as_bool() == Some(true);
        if commits && self.effects.writes_outermost(number.unwrap_or(0), call.run) {
            if let Some(active) = self.durable.active.get_mut(key) {
                active.commit = Some(call.effect.id);
            }
        } else {
            self.effects.begin_one(reactor, &mut self.vm, call);
        }
        Begun::Done
    }

    /// The task will have rows there.
    fn note_database(&mut self, key: u64, label: &str) {
        if let Some(active) = self.durable.active.get_mut(key) {
            let databases = &mut active.task.state.databases;
            if !databases.iter().any(|known| **known == *label) {
                databases.push(label.into());
            }
        }
    }

    /// Begins a held effect of the database. False: not now, a transaction is open.
    pub(super) fn release_sql(&mut self, call: &Call<'_>, name: StepName) -> bool {
        if self.effects.in_transaction(call.run) {
            return false;
        }
        let Self { effects, vm, .. } = self;
        match call.effect.func {
            HostFn::Query => effects.begin_step(vm, call, name),
            _ => effects.begin_tx_with_steps(vm, call, name),
        }
        true
    }

    /// A transaction is about to be committed: "committing" is written first.
    pub(super) fn durable_commit<R: Reactor>(
        &mut self,
        reactor: &mut R,
        run: u64,
        key: u64,
        task: TaskHandle,
        effect: EffectId,
    ) {
        let (now, wall) = Self::now_of(reactor);
        let number = self.vm.arg(task, effect, 0).as_i64().and_then(|n| u32::try_from(n).ok());
        let label = self.effects.label_of_transaction(number.unwrap_or(0), run).to_owned();
        let Self { durable, vm, .. } = self;
        let Some(active) = durable.active.get_mut(key) else { return };
        let snapshot = &mut durable.snapshot;
        if let Err(error) = vm.snapshot(task, Packing::Keep, now, snapshot) {
            return self.durable_fail(reactor, key, "cannot_suspend", &error.to_string());
        }
        let facts = Facts { blocked: "tx commit".into(), epoch: durable.epoch, ..Facts::default() };
        let batch = active.task.commit(effect.0, &label, facts, super::run::parts(snapshot), wall);
        active.saving = true;
        if let Err(detail) = super::run::fits(&batch) {
            return self.durable_fail(reactor, key, "step_too_large", &detail);
        }
        self.durable_save(reactor, SaveKind::Commit(key), batch, Vec::new());
    }

    /// "Committing" is on disk: the row and COMMIT go out.
    pub(super) fn durable_committing<R: Reactor>(&mut self, reactor: &mut R, key: u64) {
        let (now, timestamp) = Self::now_of(reactor);
        let Some(active) = self.durable.active.get_mut(key) else { return };
        active.saving = false;
        if matches!(active.order, Some((TaskCommand::Kill, _))) {
            return self.durable_cancel(reactor, key);
        }
        let (Some(run), Some(effect)) = (active.run, active.commit.take()) else { return };
        let resumed = std::mem::take(&mut active.resumed);
        let name = active.step_name(effect, false);
        let Some(task) = self.runs.get_mut(run).map(|run| run.task) else { return };
        let effect = Effect { id: effect, func: HostFn::TxEnd };
        let call = Call { run, task, effect: &effect, now, timestamp, tenant: TenantId(0), once: None };
        self.effects.commit_step(&mut self.vm, &call, &name);
        if self.took_resumed(run) || resumed {
            self.queue_run(run);
        }
    }

    /// A task was committing when it was let go of: whether it has is asked of the database.
    pub(super) fn durable_ask<R: Reactor>(
        &mut self,
        reactor: &R,
        id: TaskId,
        database: &str,
        name: StepName,
    ) {
        self.durable.last_look += 1;
        let asker = self.durable.last_look;
        self.durable.known.insert(id.clone(), Known::Busy);
        self.durable.looks.insert(asker, id);
        self.effects.look_for_step(database, name, asker, reactor.now());
    }

    /// What the database has said since the last look.
    pub(super) fn durable_sql_turn<R: Reactor>(&mut self, reactor: &mut R) {
        while let Some((run, why)) = self.effects.uncertain.pop() {
            if let Some(Whose::Durable(key)) = self.runs.get_mut(run).map(|run| &run.whose) {
                let key = *key;
                let id = self.durable.active.get_mut(key).map(|active| active.task.id.clone());
                self.durable_drop_run(reactor, key);
                if let Some(id) = id {
                    self.wait_for_database(id, reactor.timestamp(), why);
                }
            }
        }
        while let Some((asker, said)) = self.effects.steps.looked.pop() {
            let Some(id) = self.durable.looks.remove(&asker) else { continue };
            match said {
                Ok(true) => self.durable_load_after(reactor, id, After::Committed),
                Ok(false) => self.durable_load_after(reactor, id, After::NotCommitted),
                Err(refusal) if lasts(&refusal) => {
                    self.durable_load_after(reactor, id, After::NeverKnown(refusal));
                }
                Err((_, why, _)) => {
                    let why = format!("whether its transaction was committed isn't known yet: {why}");
                    self.wait_for_database(id, reactor.timestamp(), why);
                }
            }
        }
        while let Some((_, well)) = self.effects.steps.swept.pop() {
            self.durable_swept(reactor, well);
        }
    }

    /// Once a second, and at once while there are more: removes rows of tasks that are over.
    pub(super) fn durable_sweep<R: Reactor>(&mut self, reactor: &R) {
        let now = reactor.now();
        let sweeps = &mut self.durable.sweeps;
        if sweeps.under_way.is_some() || now < sweeps.not_before {
            return;
        }
        let Some(label) = sweeps.tasks.first().and_then(|(_, labels)| labels.first()).cloned() else {
            return;
        };
        let with = sweeps.tasks.iter().filter(|(_, labels)| labels.contains(&label));
        let numbers: Vec<[u8; 16]> = with.take(SWEEP_MAX).map(|(number, _)| *number).collect();
        sweeps.under_way = Some((label.clone(), numbers.clone()));
        self.effects.sweep(&label, numbers, 0, now);
    }

    fn durable_swept<R: Reactor>(&mut self, reactor: &mut R, well: bool) {
        let sweeps = &mut self.durable.sweeps;
        let Some((label, numbers)) = sweeps.under_way.take() else { return };
        if !well {
            sweeps.not_before = reactor.now().after(SWEEP_AGAIN);
            // Another database may be there: it comes first next time.
            sweeps.tasks.rotate_left(1);
            return;
        }
        let mut batch = Batch::new();
        let numbers: HashSet<[u8; 16]> = numbers.into_iter().collect();
        for (number, labels) in sweeps.tasks.iter_mut().filter(|(number, _)| numbers.contains(number)) {
            labels.retain(|other| *other != label);
            if labels.is_empty() {
                batch.drop(sweep_key(number));
            }
        }
        sweeps.tasks.retain(|(_, labels)| !labels.is_empty());
        if !batch.is_empty() {
            self.durable_save(reactor, SaveKind::Swept, batch, Vec::new());
        }
        // Those who have fallen behind don't wait for the next second.
        if self.durable.sweeps.tasks.len() >= SWEEP_MAX {
            self.durable_sweep(reactor);
        }
    }
}
