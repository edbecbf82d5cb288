//! Tasks that fail, or are asked to end: another try, compensations, cancelling.
//!
//! ```text
//!   the handler throws --> taskFailed --+-- tries left ---> let go of; loaded again from its last suspension
//!                                       +-- budget spent -> paused there, with the reason
//!                                       +-- no retry, or cancelled:
//!                                             compensations, last registered first, each a fiber that
//!                                             waits (WaitKind::Defer) --> one suspension --> thrown again: the end
//! ```
//!
//! A limit of a step that is used up can't be thrown: see unwind.rs.
//!
//! Everything about it is in the task's waits and in the machine's snapshot: a crash in the middle of a compensation
//! goes on there.

use forebay_base::Timestamp;
use forebay_base::limits::TASK_RETRY_WAIT_MAX;
use forebay_bytecode::HostFn;
use forebay_bytecode::module::Retry;
use forebay_engine::{EffectId, ErrorSpec, TaskHandle};
use forebay_frames::{Cancel, Status, TaskId, Wait, WaitKind, rfc3339};
use forebay_ring::Reactor;

use super::effects::Begun;
use super::mail::Caller;
use super::{AGAIN_MICROS, Known, Message, SaveKind, TaskRefused};
use crate::back::{Back, Level};
use crate::effects::kv::Refusal;
use crate::effects::{Call, resume};

/// What becomes of a task whose records were changed while it was put away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It is loaded.
    Load,
    /// It is loaded at this time, microseconds.
    At(i64),
    /// Somebody has to say that it may go on.
    Pause,
}

impl Back {
    pub(super) fn ending_call<R: Reactor>(
        &mut self,
        reactor: &mut R,
        key: u64,
        call: &Call<'_>,
    ) -> Result<Begun, Refusal> {
        let text = |index| self.vm.arg(call.task, call.effect.id, index).as_str().map(str::to_owned);
        match call.effect.func {
            HostFn::TaskDeferWait => {
                if let Some(active) = self.durable.active.get_mut(key) {
                    let effect = call.effect.id.0;
                    active.waits.push(Wait { effect, kind: WaitKind::Defer, name: "".into(), until: None });
                }
            }
            HostFn::TaskDeferKept => {
                if let Some(active) = self.durable.active.get_mut(key) {
                    // The step ends here: answered when it is on disk.
                    active.must_save = true;
                    active.full.push(call.effect.id);
                }
            }
            HostFn::TaskDeferDone => {
                let error = text(1).map(|message| (text(0).unwrap_or_default(), message));
                self.deferred(reactor, key, call, error);
            }
            HostFn::TaskFailed => {
                let (name, message) = (text(0).unwrap_or_default(), text(1).unwrap_or_default());
                self.task_failed(reactor, key, call, &name, &message);
            }
            other => return Err(("TypeError", format!("{} isn't possible in a durable task", other.path()))),
        }
        Ok(Begun::Done)
    }

    /// The handler has thrown.
    fn task_failed<R: Reactor>(
        &mut self,
        reactor: &mut R,
        key: u64,
        call: &Call<'_>,
        name: &str,
        message: &str,
    ) {
        if self.try_again(reactor, key, name, message) {
            return;
        }
        let Some(active) = self.durable.active.get_mut(key) else { return };
        if !active.waits.iter().any(|wait| wait.kind == WaitKind::Defer) {
            self.effects.answer(&mut self.vm, call, &mut |sink| sink.undefined());
            return;
        }
        // The step that throws didn't happen; what its compensations write does.
        active.task.buffer = forebay_frames::Buffer::default();
        active.mail.unsend();
        let effect = call.effect.id.0;
        active.waits.push(Wait { effect, kind: WaitKind::Ending, name: "".into(), until: None });
        self.next_compensation(call.run, key, call.task);
    }

    /// The last that is registered runs; when there is none left, the task ends once everything is on disk.
    fn next_compensation(&mut self, run: u64, key: u64, task: TaskHandle) {
        let Some(active) = self.durable.active.get_mut(key) else { return };
        let defers = active.waits.iter().filter(|wait| wait.kind == WaitKind::Defer);
        let last = defers.map(|wait| wait.effect).max();
        if let Some(last) = last {
            active.waits.retain(|wait| wait.effect != last);
        } else {
            active.must_save = true;
        }
        if let Some(ending) = active.waits.iter_mut().find(|wait| wait.kind == WaitKind::Ending) {
            ending.name = last.map_or_else(|| "over".into(), |effect| effect.to_string().into());
        }
        if let Some(last) = last {
            resume(&mut self.vm, task, EffectId(last), &mut |sink| sink.undefined());
            self.effects.resumed.push(run);
        }
    }

    /// A compensation is over.
    fn deferred<R: Reactor>(
        &mut self,
        reactor: &mut R,
        key: u64,
        call: &Call<'_>,
        error: Option<(String, String)>,
    ) {
        if let Some((name, message)) = &error {
            if self.try_again(reactor, key, name, message) {
                return;
            }
            let Some(active) = self.durable.active.get_mut(key) else { return };
            let colon = if name.is_empty() { "" } else { ": " };
            let error = format!("{name}{colon}{message}");
            active.task.state.note_not_undone(&error);
            let id = &active.task.id;
            self.log.line(Level::Error, "a compensation failed", &[("task", id), ("error", &error)]);
        }
        self.effects.answer(&mut self.vm, call, &mut |sink| sink.undefined());
        let Some(active) = self.durable.active.get_mut(key) else { return };
        if active.task.state.unwind.is_some() {
            self.next_undo(call.run, key, call.task);
        } else {
            self.next_compensation(call.run, key, call.task);
        }
    }

    fn retry_of(&mut self, key: u64) -> Option<Retry> {
        let active = self.durable.active.get_mut(key)?;
        let code = self.durable.codes.get(&active.task.state.code)?;
        let works = &code.blueprint.module().works;
        works.iter().find(|work| work.name == active.task.state.work)?.durable.as_ref()?.retry
    }

    /// If its work says so, the task goes back to its last suspension, and on from there in a while; when its tries
    /// are spent, it stays there. Not if it is cancelled, unless a compensation runs.
    pub(super) fn try_again<R: Reactor>(
        &mut self,
        reactor: &mut R,
        key: u64,
        name: &str,
        message: &str,
    ) -> bool {
        let Some(retry) = self.retry_of(key) else { return false };
        let Some(active) = self.durable.active.get_mut(key) else { return false };
        let compensates = active.task.state.unwind.is_some()
            || active.waits.iter().any(|wait| wait.kind == WaitKind::Ending);
        if active.task.state.cancel != Cancel::No && !compensates {
            return false;
        }
        let id = active.task.id.clone();
        let colon = if name.is_empty() { "" } else { ": " };
        let error = format!("{name}{colon}{message}");
        self.durable_drop_run(reactor, key);
        let now = reactor.timestamp();
        let mut task = match self.durable_read(now, &id) {
            Ok(Some(loaded)) => loaded.task,
            Ok(None) => {
                self.durable.known.remove(&id);
                return true;
            }
            Err(_) => {
                self.durable.put_away(id, Some(now.0 + AGAIN_MICROS));
                return true;
            }
        };
        let tries = task.state.tries;
        let spent = tries >= retry.times;
        let wait = wait_before(retry, tries);
        let wake = now.0.saturating_add(wait);
        let (status, then) =
            if spent { (Status::Paused, Then::Pause) } else { (Status::Running, Then::At(wake)) };
        let reason = if spent {
            format!("{error} (after {} tries: `forebay ctl task retry {id}` goes on)", tries + 1)
        } else {
            format!("{error} (try {} of {} at {})", tries + 2, retry.times + 1, rfc3339(Timestamp(wake)))
        };
        task.state.tries = if spent { tries } else { tries + 1 };
        self.log.line(Level::Warn, "a durable task threw", &[("task", &id), ("reason", &reason)]);
        let batch = task.turn(status, &reason, self.durable.epoch, now);
        let kind = SaveKind::Turned { id, wake: then, caller: Caller::Nobody };
        self.durable_save(reactor, kind, batch, Vec::new());
        true
    }

    /// `forebay ctl task retry`: a paused task, or one that waits for its next try, goes on with all its tries.
    pub(super) fn retry_now<R: Reactor>(&mut self, reactor: &mut R, id: TaskId, caller: Caller) {
        self.turn_away(reactor, id, caller, |task| {
            let tries = std::mem::take(&mut task.state.tries);
            if task.state.status == Status::Paused || tries > 0 {
                Ok(())
            } else {
                Err(refused(409, "task/runs", "the task isn't paused, and doesn't wait for another try"))
            }
        });
    }

    /// Somebody wants a task to end.
    pub(super) fn ask_to_end<R: Reactor>(&mut self, reactor: &mut R, id: TaskId, caller: Caller) {
        if let Some(Known::Active(key)) = self.durable.known.get(&id).copied()
            && let Some(active) = self.durable.active.get_mut(key)
        {
            // With its next suspension, which is now if it waits.
            active.cancels.push(caller);
            active.must_save = true;
            if let Some(run) = active.run.filter(|_| !active.saving) {
                self.queue_run(run);
            }
            return;
        }
        self.turn_away(reactor, id, caller, |task| {
            if task.state.cancel == Cancel::No {
                task.state.cancel = Cancel::Asked;
            }
            Ok(())
        });
    }

    /// Changes the state of a task that isn't loaded, and loads it.
    fn turn_away<R: Reactor>(
        &mut self,
        reactor: &mut R,
        id: TaskId,
        caller: Caller,
        change: impl FnOnce(&mut forebay_frames::Task) -> Result<(), TaskRefused>,
    ) {
        let now = reactor.timestamp();
        let known = self.durable.known.get(&id).copied();
        if matches!(known, Some(Known::Busy | Known::Active(_))) {
            let why = refused(503, "task/busy", "the task is being written: try again");
            return self.call_back(caller, Err(why));
        }
        let mut task = match self.durable_read(now, &id) {
            Ok(Some(loaded)) if loaded.task.state.status.is_over() => {
                let why = refused(409, "task/over", format!("the task is {}", loaded.task.state.status));
                return self.call_back(caller, Err(why));
            }
            Ok(Some(loaded)) => loaded.task,
            Ok(None) => {
                let why = refused(404, "task/unknown", format!("there is no task {id}"));
                return self.call_back(caller, Err(why));
            }
            Err(why) => return self.call_back(caller, Err(refused(500, "task/damaged", why))),
        };
        let started = task.state.step > 0;
        if let Err(why) = change(&mut task) {
            return self.call_back(caller, Err(why));
        }
        self.durable.take_known(&id, Known::Busy);
        let status = if started { Status::Running } else { Status::Initialized };
        // A restart loads it, too, whatever it waits for.
        task.state.waiting = false;
        let batch = task.turn(status, "", self.durable.epoch, now);
        self.durable_save(reactor, SaveKind::Turned { id, wake: Then::Load, caller }, batch, Vec::new());
    }

    /// A batch of `turn_away` or `try_again` has its answer.
    pub(super) fn ending_saved<R: Reactor>(
        &mut self,
        reactor: &mut R,
        id: TaskId,
        then: Then,
        caller: Caller,
        told: Result<(), TaskRefused>,
    ) {
        let then = if told.is_ok() { then } else { Then::At(reactor.timestamp().0 + AGAIN_MICROS) };
        match then {
            Then::Load => {
                self.durable.known.insert(id.clone(), Known::Busy);
                self.durable.make_ready(id);
            }
            Then::At(wake) => self.durable.put_away(id, Some(wake)),
            Then::Pause => {
                self.durable.known.insert(id, Known::Paused);
            }
        }
        self.call_back(caller, told);
    }

    /// The state that the next batch writes: with it, those who want the task to end are heard.
    pub(super) fn hear_cancels(active: &mut super::Active) {
        active.heard.append(&mut active.cancels);
        if !active.heard.is_empty() && active.task.state.cancel == Cancel::No {
            active.task.state.cancel = Cancel::Asked;
        }
    }

    /// Everything that was asked for is on disk: a task that shall end is told where it waits, once.
    pub(super) fn tell_cancelled(&mut self, run: u64, key: u64, task: TaskHandle) {
        let Some(active) = self.durable.active.get_mut(key) else { return };
        let heard = std::mem::take(&mut active.heard);
        if active.task.state.cancel == Cancel::Asked
            && active.task.state.unwind.is_none()
            && !active.waits.iter().any(|wait| wait.kind == WaitKind::Ending)
        {
            let long = |wait: &&Wait| !matches!(wait.kind, WaitKind::Defer | WaitKind::Ending);
            let waits: Vec<Wait> = active.waits.iter().filter(long).cloned().collect();
            let held = std::mem::take(&mut active.held);
            let mut told: Vec<EffectId> = held.iter().map(|effect| effect.id).collect();
            told.extend(waits.iter().map(|wait| EffectId(wait.effect)));
            if !told.is_empty() {
                active.task.state.cancel = Cancel::Told;
            }
            for wait in &waits {
                self.drop_wait(key, wait);
            }
            for effect in told {
                let spec = ErrorSpec {
                    name: "TaskCancelled",
                    message: "the task was cancelled",
                    code: Some("task_cancelled"),
                    props: &[],
                };
                let _ = self.vm.resume_error(task, effect, &spec);
                self.effects.resumed.push(run);
            }
        }
        for caller in heard {
            self.call_back(caller, Ok(()));
        }
    }

    /// A task is let go of: those who wanted it to end and weren't heard yet ask again.
    pub(super) fn ask_again(&mut self, active: &mut super::Active) {
        let (cancels, heard) = (std::mem::take(&mut active.cancels), std::mem::take(&mut active.heard));
        for caller in cancels.into_iter().chain(heard) {
            self.durable.inbox.push_back(Message::Cancel { id: active.task.id.clone(), caller });
        }
    }
}

fn refused(status: u16, code: &'static str, detail: impl Into<String>) -> TaskRefused {
    TaskRefused { status, code, detail: detail.into() }
}

/// Microseconds before the next try: doubled each time, within bounds.
fn wait_before(retry: Retry, tries: u32) -> i64 {
    let micros = retry.wait_ms.saturating_mul(1000).saturating_mul(1 << tries.min(20));
    let most = i64::try_from(TASK_RETRY_WAIT_MAX.as_micros()).unwrap_or(i64::MAX);
    i64::try_from(micros).unwrap_or(i64::MAX).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_within_bounds() {
        let retry = Retry { times: 9, wait_ms: 1000 };
        let seconds: Vec<i64> = [0, 1, 2, 10, 40].map(|tries| wait_before(retry, tries) / 1_000_000).into();
        assert_eq!(seconds, [1, 2, 4, 1024, 3600]);
        assert_eq!(wait_before(Retry { times: 1, wait_ms: u64::MAX }, 99), 3_600_000_000);
    }
}
