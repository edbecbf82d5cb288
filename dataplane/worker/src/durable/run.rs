//! Slices of durable tasks, their suspensions, and what happens when those are on disk.

use forebay_base::limits::TASK_RESULT_KEPT;
use forebay_base::{TenantId, Timestamp};
use forebay_bytecode::HostFn;
use forebay_engine::{Packing, RecordKey, Run as VmRun, Snapshot, TaskHandle, Trap};
use forebay_frames::{Batch, Decided, Facts, Failure, Given, Outcome, Part, Status, WaitKind};
use forebay_kv::{BATCH_BYTES_MAX, BATCH_OPS_MAX, Completion, Outcome as Written, Space, Unavailable};
use forebay_ring::Reactor;

use super::{AGAIN_MICROS, Known, Save, SaveKind, TaskCommand, Told};
use crate::back::{Back, Level, STEPS_MAX};
use crate::effects::Call;

/// Bytes of garbage below which a task isn't packed.
const GARBAGE_BYTES_MIN: usize = 64 * 1024;
/// Conflicts of one batch after which the task is loaded again.
const CONFLICTS_MAX: u32 = 1000;
/// Operations of a batch beside those of the snapshot: state, index, module, ends.
const OPS_BESIDE: usize = 16;

/// The machine's records under the names that they have in the store.
pub(super) fn parts(snapshot: &Snapshot) -> impl Iterator<Item = (Part, &[u8])> {
    snapshot.records().map(|(key, bytes)| (part_of(key), bytes))
}

const fn part_of(key: RecordKey) -> Part {
    match key {
        RecordKey::Task => Part::Pc,
        RecordKey::Imports => Part::Imports,
        RecordKey::Request => Part::Request,
        RecordKey::Heap(page) => Part::Heap(page),
        RecordKey::Fiber(fiber) => Part::Fiber(fiber),
        RecordKey::Frame(fiber, call) => Part::Stack(fiber, call),
    }
}

/// The other way.
pub(super) const fn key_of(part: Part) -> RecordKey {
    match part {
        Part::Pc => RecordKey::Task,
        Part::Imports => RecordKey::Imports,
        Part::Request => RecordKey::Request,
        Part::Heap(page) => RecordKey::Heap(page),
        Part::Fiber(fiber) => RecordKey::Fiber(fiber),
        Part::Stack(fiber, call) => RecordKey::Frame(fiber, call),
    }
}

/// Whether a batch is one that the store takes.
pub(super) fn fits(batch: &Batch) -> Result<(), String> {
    if batch.len() + OPS_BESIDE <= BATCH_OPS_MAX && batch.bytes() <= BATCH_BYTES_MAX / 2 {
        return Ok(());
    }
    Err(format!(
        "a step changed {} records and {} bytes; one batch of the store holds {BATCH_OPS_MAX} and {}",
        batch.len(),
        batch.bytes(),
        BATCH_BYTES_MAX / 2
    ))
}

impl Back {
    /// A slice of a durable run.
    pub(crate) fn durable_slice<R: Reactor>(&mut self, reactor: &mut R, run: u64, key: u64) {
        let Some(active) = self.durable.active.get_mut(key) else { return };
        if active.saving {
            active.resumed = true;
            return;
        }
        active.dirty = true;
        let works = std::rc::Rc::clone(&active.works);
        let Some(task) = self.runs.get_mut(run).map(|run| run.task) else { return };
        self.host.work = Some((works, 0));
        let how = self.run(reactor, task);
        self.durable_go_on(reactor, run, key, how);
    }

    fn durable_go_on<R: Reactor>(&mut self, reactor: &mut R, run: u64, key: u64, mut how: VmRun) {
        let Some(task) = self.runs.get_mut(run).map(|run| run.task) else { return };
        for _ in 0..STEPS_MAX {
            if matches!(how, VmRun::Done | VmRun::Trap(_)) {
                return self.durable_end(reactor, run, key, how);
            }
            self.durable_effects(reactor, run, key, task);
            if how == VmRun::SliceOver {
                self.metrics.slices.add(1);
                return self.queue_run(run);
            }
            if self.took_resumed(run) {
                how = self.run(reactor, task);
                continue;
            }
            if !self.durable_parked(reactor, run, key, task) {
                return;
            }
            // Conditions that don't hold were answered.
            how = self.run(reactor, task);
        }
        if matches!(how, VmRun::Done | VmRun::Trap(_)) {
            return self.durable_end(reactor, run, key, how);
        }
        self.durable_effects(reactor, run, key, task);
        self.queue_run(run);
    }

    /// Whether an effect of the run was answered at once.
    pub(super) fn took_resumed(&mut self, run: u64) -> bool {
        let resumed = &mut self.effects.resumed;
        let before = resumed.len();
        resumed.retain(|other| *other != run);
        resumed.len() != before
    }

    /// Puts a run among the runnable.
    pub(super) fn queue_run(&mut self, key: u64) {
        if let Some(run) = self.runs.get_mut(key)
            && !run.queued
        {
            run.queued = true;
            self.runnable.push_back(key);
        }
    }

    /// Every fiber waits. True if something was answered after all, so that the task can run on.
    fn durable_parked<R: Reactor>(&mut self, reactor: &mut R, run: u64, key: u64, task: TaskHandle) -> bool {
        let in_flight = self.effects.in_flight(run);
        let in_transaction = self.effects.in_transaction(run);
        let Some(active) = self.durable.active.get_mut(key) else { return false };
        if let Some(commit) = active.commit {
            self.durable_commit(reactor, run, key, task, commit);
            return false;
        }
        if in_transaction {
            // It can't be taken up again in the middle: it is suspended when it is over.
            return false;
        }
        let asks = !active.held.is_empty() || !active.conditions.is_empty() || active.must_save;
        let rests = in_flight == 0 && active.dirty;
        let only_ends =
            active.waits.iter().all(|wait| matches!(wait.kind, WaitKind::Defer | WaitKind::Ending));
        let compensates = !active.waits.is_empty() || active.task.state.unwind.is_some();
        if rests && !asks && only_ends && compensates && active.full.is_empty() {
            // The machine doesn't see it: its compensations wait, too.
            let message = "the script waits for something that nothing will settle";
            self.durable_fail(reactor, key, Trap::Deadlock.code(), message);
            return false;
        }
        if !asks && !rests {
            if in_flight == 0 && !active.saving {
                self.durable_put_away(reactor, key);
            }
            return false;
        }
        let decided = match self.decide(reactor.timestamp(), key) {
            Ok(decided) => decided,
            Err(why) => {
                self.durable_let_go(reactor, key, &why);
                return false;
            }
        };
        let (writing, settled): (Vec<_>, Vec<_>) = decided.into_iter().partition(Decided::writes);
        if !settled.is_empty() {
            let now = reactor.timestamp();
            for decided in settled {
                self.answer_condition(key, task, decided, now);
            }
            return true;
        }
        self.durable_suspend(reactor, run, key, task, writing);
        false
    }

    /// Works out all conditions of the step, one after the other.
    fn decide(&mut self, now: Timestamp, key: u64) -> Result<Vec<Decided>, String> {
        let Some(active) = self.durable.active.get_mut(key) else { return Ok(Vec::new()) };
        let Some(store) = self.effects.store() else { return Ok(Vec::new()) };
        let mut decided: Vec<Decided> = Vec::with_capacity(active.conditions.len());
        for (effect, condition) in &active.conditions {
            let asked = condition.key();
            let before = decided.iter().rev().find_map(|d| d.after().filter(|(key, ..)| *key == asked));
            let next = if let Some((_, value, expires)) = before {
                condition.decide(effect.0, Some((value, expires)))
            } else if let Some(own) = active.task.buffer.get(asked, now) {
                condition.decide(effect.0, own)
            } else {
                let found = store
                    .get_with_expiry(now, Space::user(TenantId(0)), asked)
                    .map_err(|error| error.to_string())?;
                condition.decide(effect.0, found.as_ref().map(|(value, expires)| (&**value, *expires)))
            };
            decided.push(next);
        }
        Ok(decided)
    }

    /// Tells a condition's result to the script.
    fn answer_condition(&mut self, key: u64, task: TaskHandle, decided: Decided, now: Timestamp) {
        let Some(active) = self.durable.active.get_mut(key) else { return };
        let _ = now;
        active.conditions.retain(|(effect, _)| effect.0 != decided.effect);
        active.dirty = true;
        let effect = forebay_engine::EffectId(decided.effect);
        match decided.given {
            Given::Bool(value) => {
                crate::effects::resume(&mut self.vm, task, effect, &mut |sink| sink.bool(value));
            }
            Given::Number(value) => {
                crate::effects::resume(&mut self.vm, task, effect, &mut |sink| sink.int(value));
            }
            Given::NotCounter => {
                let spec = forebay_engine::ErrorSpec {
                    name: "TypeError",
                    message: "kv.incr: the value is not an integer, or the sum leaves 64 bits",
                    ..forebay_engine::ErrorSpec::default()
                };
                let _ = self.vm.resume_error(task, effect, &spec);
            }
        }
    }

    /// One batch takes the task to where it is now.
    fn durable_suspend<R: Reactor>(
        &mut self,
        reactor: &mut R,
        run: u64,
        key: u64,
        task: TaskHandle,
        decided: Vec<Decided>,
    ) {
        let (now, wall) = Self::now_of(reactor);
        let in_flight = self.effects.in_flight(run);
        let blocked = self.blocked_on(key, task);
        let Self { durable, vm, .. } = self;
        let Some(active) = durable.active.get_mut(key) else { return };
        let snapshot = &mut durable.snapshot;
        if let Err(error) = vm.snapshot(task, Packing::Keep, now, snapshot) {
            return self.durable_fail(reactor, key, "cannot_suspend", &error.to_string());
        }
        let (live, used) = snapshot.live_and_used();
        if in_flight == 0 && used > GARBAGE_BYTES_MIN + 4 * live {
            // Garbage outweighs what lives: packed records, and the task goes on from those.
            if vm.snapshot(task, Packing::Pack, now, snapshot).is_ok() {
                active.repack = true;
            }
        }
        let mut facts = Facts {
            blocked: blocked.into(),
            waits: active.waits.clone(),
            waiting: in_flight == 0
                && active.full.is_empty()
                && active.conditions.is_empty()
                && active.held.is_empty()
                && !active.waits.is_empty(),
            epoch: durable.epoch,
            paused: matches!(active.order, Some((TaskCommand::Pause, _))),
        };
        let answers: Vec<u32> = decided.iter().map(|decided| decided.effect).collect();
        Self::hear_cancels(active);
        // A restart has to load it: it is told where it waits.
        facts.waiting &= active.task.state.cancel != forebay_frames::Cancel::Asked;
        let mut batch = active.task.suspend(facts, parts(snapshot), &answers, wall);
        active.mail.drain_into(&mut batch);
        active.must_save = false;
        active.dirty = false;
        active.saving = true;
        if let Err(detail) = fits(&batch) {
            return self.durable_fail(reactor, key, "step_too_large", &detail);
        }
        self.durable_save(reactor, SaveKind::Suspend(key), batch, decided);
    }

    /// Hands a batch to the store; `decided` conditions go with it.
    pub(super) fn durable_save<R: Reactor>(
        &mut self,
        reactor: &mut R,
        kind: SaveKind,
        batch: Batch,
        decided: Vec<Decided>,
    ) {
        let token = self.durable.next_token();
        // A batch is needed again only where a condition may not hold.
        let (whole, keep) = if decided.is_empty() {
            (batch, Batch::new())
        } else {
            let mut whole = batch.clone();
            if let SaveKind::Suspend(key) = kind
                && let Some(active) = self.durable.active.get_mut(key)
            {
                for decided in &decided {
                    decided.append_to(&active.task.id, &mut whole);
                }
            }
            (whole, batch)
        };
        self.durable.saves.insert(token, Save { kind, batch: keep, decided });
        if let Err(refused) = self.effects.save(token, reactor.timestamp(), &whole) {
            let save = self.durable.saves.remove(&token);
            if let Some(save) = save {
                self.save_refused(reactor, save, &refused.to_string());
            }
        }
    }

    /// A quota, or a bound of the store: trying again would not help, someone has to do something.
    fn save_refused<R: Reactor>(&mut self, reactor: &mut R, save: Save, why: &str) {
        match save.kind {
            kind @ (SaveKind::Post { .. } | SaveKind::Turned { .. } | SaveKind::Sweep) => {
                let refused = super::TaskRefused { status: 503, code: "unavailable", detail: why.into() };
                self.mail_answered(reactor, kind, Err(refused));
            }
            SaveKind::Start(key) => {
                if let Some(active) = self.durable.active.get_mut(key) {
                    let refused = super::TaskRefused { status: 503, code: "unavailable", detail: why.into() };
                    for asker in std::mem::take(&mut active.askers) {
                        self.durable.tell(asker, Told::Refused(refused.clone()));
                    }
                }
                self.durable_forget(key);
            }
            SaveKind::Swept => {}
            SaveKind::Suspend(key) | SaveKind::Commit(key) | SaveKind::Finish(key) => {
                let id = self.durable.active.get_mut(key).map(|active| active.task.id.clone());
                self.durable_drop_run(reactor, key);
                if let Some(id) = id {
                    self.durable_pause_away(reactor, id, why);
                }
            }
            SaveKind::Turn { id, then: _, over: _, reply } => {
                self.durable.known.insert(id.clone(), Known::Paused);
                if let Some(reply) = reply {
                    let refused =
                        super::TaskRefused { status: 503, code: "task/unavailable", detail: why.into() };
                    let _ = reply.try_send(Err(refused));
                }
            }
        }
    }

    /// The store has answered a batch.
    pub(super) fn durable_saved<R: Reactor>(&mut self, reactor: &mut R, completion: Completion) {
        let Some(save) = self.durable.saves.remove(&completion.token) else { return };
        if matches!(save.kind, SaveKind::Post { .. } | SaveKind::Turned { .. } | SaveKind::Sweep) {
            return self.mail_saved(reactor, save.kind, &completion.outcome);
        }
        let why = match completion.outcome {
            Written::Ok => return self.durable_written(reactor, save),
            Written::Conflict => {
                if let SaveKind::Suspend(key) = save.kind
                    && !save.decided.is_empty()
                    && self.may_decide_again(key)
                {
                    return self.decide_again(reactor, key, save.batch);
                }
                "someone else changed the task's record".to_owned()
            }
            Written::NotCounter => "a record isn't what it should be".to_owned(),
            Written::Unknown => "the disk failed".to_owned(),
            Written::Unavailable(Unavailable::Busy) => "the store is busy".to_owned(),
            Written::Unavailable(why) => why.to_string(),
        };
        match save.kind {
            SaveKind::Start(key) => {
                let Some(active) = self.durable.active.get_mut(key) else { return };
                let refused = super::TaskRefused { status: 503, code: "unavailable", detail: why };
                for asker in std::mem::take(&mut active.askers) {
                    self.durable.tell(asker, Told::Refused(refused.clone()));
                }
                // Unknown: it may be there. What is, a restart finds, or a start of the same name.
                self.durable_drop_run(reactor, key);
                self.durable_forget(key);
            }
            SaveKind::Suspend(key) | SaveKind::Commit(key) | SaveKind::Finish(key) => {
                self.durable_let_go(reactor, key, &why);
            }
            // A restart finds them again.
            SaveKind::Swept => {}
            SaveKind::Post { .. } | SaveKind::Turned { .. } | SaveKind::Sweep => {}
            SaveKind::Turn { id, reply, .. } => {
                let again = reactor.timestamp().0 + AGAIN_MICROS;
                self.durable.put_away(id, Some(again));
                if let Some(reply) = reply {
                    let refused = super::TaskRefused { status: 503, code: "task/unavailable", detail: why };
                    let _ = reply.try_send(Err(refused));
                }
            }
        }
    }

    /// Someone was faster; after so many times it is rather that the task isn't ours.
    fn may_decide_again(&mut self, key: u64) -> bool {
        let Some(active) = self.durable.active.get_mut(key) else { return false };
        active.tries += 1;
        active.tries < CONFLICTS_MAX
    }

    /// A condition of the batch rested on what isn't so any more, or the task isn't ours.
    fn decide_again<R: Reactor>(&mut self, reactor: &mut R, key: u64, batch: Batch) {
        match self.decide(reactor.timestamp(), key) {
            // Those that don't hold now write nothing, and are told so when the batch is on disk.
            Ok(decided) => self.durable_save(reactor, SaveKind::Suspend(key), batch, decided),
            Err(why) => self.durable_let_go(reactor, key, &why),
        }
    }

    /// A batch is on disk.
    fn durable_written<R: Reactor>(&mut self, reactor: &mut R, save: Save) {
        match save.kind {
            SaveKind::Start(key) => {
                let Some(active) = self.durable.active.get_mut(key) else { return };
                active.started = true;
                for asker in std::mem::take(&mut active.askers) {
                    self.durable.tell(asker, Told::Known);
                }
            }
            SaveKind::Suspend(key) => self.durable_suspended(reactor, key, save.decided),
            SaveKind::Commit(key) => self.durable_committing(reactor, key),
            SaveKind::Swept => {}
            SaveKind::Finish(key) => {
                self.wake_tasks(key);
                let Some(mut active) = self.durable.active.remove(key) else { return };
                self.ask_again(&mut active);
                self.durable.release_code(&active.task.state.code);
                if let Some((_, reply)) = active.order {
                    let _ = reply.try_send(Ok(()));
                }
                if !active.task.state.databases.is_empty() {
                    let state = &active.task.state;
                    self.durable.sweeps.tasks.push((state.number, state.databases.clone()));
                }
                self.durable_over(reactor, &active.task.id);
            }
            SaveKind::Post { .. } | SaveKind::Turned { .. } | SaveKind::Sweep => {}
            SaveKind::Turn { id, then, over, reply } => {
                if over {
                    self.durable_over(reactor, &id);
                } else if then == Known::Ready {
                    self.durable.known.insert(id.clone(), Known::Busy);
                    self.durable.make_ready(id);
                } else {
                    self.durable.known.insert(id, then);
                }
                if let Some(reply) = reply {
                    let _ = reply.try_send(Ok(()));
                }
            }
        }
    }

    /// The task is where its records say: now what it asked for may leave the machine.
    fn durable_suspended<R: Reactor>(&mut self, reactor: &mut R, key: u64, decided: Vec<Decided>) {
        let (now, wall) = Self::now_of(reactor);
        let Some(active) = self.durable.active.get_mut(key) else { return };
        active.saving = false;
        active.tries = 0;
        self.durable.without_database.remove(&active.task.id);
        self.wake_tasks(key);
        let Some(active) = self.durable.active.get_mut(key) else { return };
        match &active.order {
            Some((TaskCommand::Pause, _)) => {
                let id = active.task.id.clone();
                if active.task.state.status != Status::Paused {
                    // Asked for while the batch was under way: it pauses at the next one.
                } else {
                    if let Some((_, reply)) = active.order.take() {
                        let _ = reply.try_send(Ok(()));
                    }
                    self.durable_drop_run(reactor, key);
                    self.durable.known.insert(id, Known::Paused);
                    return;
                }
            }
            Some((TaskCommand::Kill, _)) => return self.durable_cancel(reactor, key),
            _ => {}
        }
        let Some(run) = active.run else { return };
        if active.repack {
            active.repack = false;
            // From its records, packed; what it holds it asks for again, under the same numbers.
            return self.durable_reload(reactor, key, decided);
        }
        let Some(task) = self.runs.get_mut(run).map(|run| run.task) else { return };
        self.vm.renew(task, now);
        for decided in decided {
            self.answer_condition(key, task, decided, wall);
            self.effects.resumed.push(run);
        }
        let Some(active) = self.durable.active.get_mut(key) else { return };
        for effect in std::mem::take(&mut active.full) {
            crate::effects::resume(&mut self.vm, task, effect, &mut |sink| sink.undefined());
            self.effects.resumed.push(run);
        }
        if std::mem::take(&mut active.resumed) {
            self.effects.resumed.push(run);
        }
        if self.durable.draining && self.effects.in_flight(run) == 0 {
            return self.durable_rest(reactor, key);
        }
        if !self.undone(reactor, key) {
            return;
        }
        self.tell_cancelled(run, key, task);
        self.durable_release(reactor, run, key, task, false);
        self.end_waits(run, key, task, wall);
        if self.took_resumed(run) {
            return self.queue_run(run);
        }
        if self.effects.in_flight(run) == 0 {
            self.durable_put_away(reactor, key);
        }
    }

    /// Begins what was held until the records were on disk. `again`: an earlier life may have begun it, too.
    pub(super) fn durable_release<R: Reactor>(
        &mut self,
        reactor: &mut R,
        run: u64,
        key: u64,
        task: TaskHandle,
        again: bool,
    ) {
        let (now, timestamp) = Self::now_of(reactor);
        let Some(active) = self.durable.active.get_mut(key) else { return };
        let id = active.task.id.clone();
        for effect in std::mem::take(&mut active.held) {
            let once = format!("{id}-{}", effect.id.0);
            let call =
                Call { run, task, effect: &effect, now, timestamp, tenant: TenantId(0), once: Some(&once) };
            if matches!(effect.func, HostFn::Query | HostFn::TxBegin) {
                let Some(active) = self.durable.active.get_mut(key) else { return };
                let name = active.step_name(effect.id, again);
                if !self.release_sql(&call, name)
                    && let Some(active) = self.durable.active.get_mut(key)
                {
                    // When the transaction that is open is over.
                    active.held.push(effect);
                }
                continue;
            }
            self.effects.begin_one(reactor, &mut self.vm, &call);
        }
    }

    /// Answers the sleeps whose time has come.
    pub(super) fn end_waits(&mut self, run: u64, key: u64, task: TaskHandle, wall: Timestamp) {
        let Some(active) = self.durable.active.get_mut(key) else { return };
        let due = |wait: &forebay_frames::Wait| {
            wait.kind == WaitKind::Sleep && wait.until.is_some_and(|until| until <= wall)
        };
        let (ended, left) = std::mem::take(&mut active.waits).into_iter().partition(due);
        active.waits = left;
        let ended: Vec<forebay_frames::Wait> = ended;
        for wait in ended {
            let effect = forebay_engine::EffectId(wait.effect);
            crate::effects::resume(&mut self.vm, task, effect, &mut |sink| sink.undefined());
            self.effects.resumed.push(run);
        }
        self.end_mail(run, key, task, wall);
    }

    /// The run is over.
    fn durable_end<R: Reactor>(&mut self, reactor: &mut R, run: u64, key: u64, how: VmRun) {
        let Some(task) = self.runs.get_mut(run).map(|run| run.task) else { return };
        if let VmRun::Trap(trap) = how
            && !matches!(trap, Trap::Exception | Trap::BadRequest | Trap::MediaType)
            && self.try_again(reactor, key, "", trap.code())
        {
            return;
        }
        let outcome = match how {
            VmRun::Trap(trap) => {
                let report = if trap == Trap::WallTime {
                    let message = "a step took longer than its work may".into();
                    forebay_engine::ErrorReport {
                        code: trap.code().into(),
                        message,
                        ..forebay_engine::ErrorReport::default()
                    }
                } else {
                    self.vm.error(task)
                };
                if trap == Trap::Exception { &self.metrics.exceptions } else { &self.metrics.traps }.add(1);
                let cancelled = self
                    .durable
                    .active
                    .get_mut(key)
                    .is_some_and(|active| active.task.state.cancel != forebay_frames::Cancel::No);
                if cancelled && &*report.name == "TaskCancelled" {
                    return self.durable_finish(reactor, key, &Outcome::Cancelled);
                }
                let failure = Failure {
                    code: report.code,
                    name: report.name,
                    message: report.message,
                    stack: report.stack,
                };
                if self.unwind(reactor, key, &failure) {
                    return;
                }
                Outcome::Failed(failure)
            }
            _ if self.is_undone(key) => {
                // What a compensation did let its handler go on after all: there is nothing that it could answer.
                let message = "a compensation let the handler go on";
                return self.durable_fail(reactor, key, Trap::Deadlock.code(), message);
            }
            _ => self.answer_of(task),
        };
        self.durable_finish(reactor, key, &outcome);
    }

    /// The end, as the records will have it.
    pub(super) fn durable_finish<R: Reactor>(&mut self, reactor: &mut R, key: u64, outcome: &Outcome) {
        let now = reactor.timestamp();
        let Some(active) = self.durable.active.get_mut(key) else { return };
        active.saving = true;
        if let Outcome::Failed(failure) = outcome {
            let colon = if failure.name.is_empty() { "" } else { ": " };
            let error = format_args!("{}{colon}{}", failure.name, failure.message);
            self.log.line(
                Level::Error,
                "durable task failed",
                &[
                    ("task", &active.task.id),
                    ("work", &active.task.state.work),
                    ("code", &failure.code),
                    ("error", &error),
                    ("stack", &failure.stack),
                ],
            );
        }
        if let Some(run) = active.run.take() {
            self.effects.abandon(reactor, run);
            self.effects.patient.remove(&run);
            if let Some(run) = self.runs.remove(run) {
                self.vm.finish(run.task);
            }
        }
        let kept = i64::try_from(TASK_RESULT_KEPT.as_micros()).unwrap_or(i64::MAX);
        let expires = Timestamp(now.0.saturating_add(kept));
        let waits = std::mem::take(&mut active.task.state.waits);
        let batch = active.task.finish(outcome, now, expires).or_else(|error| {
            let failure = Failure {
                code: "result_too_large".into(),
                name: "".into(),
                message: error.to_string().into(),
                stack: "".into(),
            };
            active.task.finish(&Outcome::Failed(failure), now, expires)
        });
        match batch {
            Ok(mut batch) => {
                Self::unjoin(&active.task.id, &waits, &mut batch);
                if !matches!(outcome, Outcome::Answer { .. }) {
                    active.mail.unsend();
                }
                active.mail.drain_into(&mut batch);
                self.durable_save(reactor, SaveKind::Finish(key), batch, Vec::new());
            }
            Err(error) => self.durable_let_go(reactor, key, &error.to_string()),
        }
    }

    /// Ends a task that can't go on, for a reason that isn't the script's.
    pub(super) fn durable_fail<R: Reactor>(&mut self, reactor: &mut R, key: u64, code: &str, message: &str) {
        let failure = Failure { code: code.into(), message: message.into(), ..Failure::default() };
        if !self.unwind(reactor, key, &failure) {
            let failure = self.first_failure(key).unwrap_or(failure);
            self.durable_finish(reactor, key, &Outcome::Failed(failure));
        }
    }

    /// Someone wants it to end.
    pub(super) fn durable_cancel<R: Reactor>(&mut self, reactor: &mut R, key: u64) {
        self.durable_finish(reactor, key, &Outcome::Cancelled);
    }

    /// What the handler returned, as it will be told.
    fn answer_of(&mut self, task: TaskHandle) -> Outcome {
        let failed = |code: &str, message: String| {
            Outcome::Failed(Failure { code: code.into(), message: message.into(), ..Failure::default() })
        };
        let Some(head) = self.vm.response(task) else {
            return failed("no_answer", "the task ended without an answer".into());
        };
        let mut headers: Vec<(Box<str>, Box<str>)> = Vec::new();
        if head.has_headers {
            self.vm.response_headers(task, &mut |name, value| headers.push((name.into(), value.into())));
        }
        let mut body = Vec::new();
        if let Err(error) = self.vm.write_body(task, &mut body) {
            return failed("bad_body", error.to_string());
        }
        let content_type = head.body.content_type().map(Into::into);
        Outcome::Answer { status: head.status, content_type, headers, body }
    }

    /// The last batch of a task is on disk.
    fn durable_over<R: Reactor>(&mut self, reactor: &mut R, id: &forebay_frames::TaskId) {
        self.durable.known.remove(id);
        self.durable.without_database.remove(id);
        self.mail_over(reactor, id);
        for waiter in self.durable.waiters.remove(id).unwrap_or_default() {
            self.durable.tell(waiter, Told::Over);
        }
    }
}
