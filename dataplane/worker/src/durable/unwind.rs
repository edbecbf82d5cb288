//! The end of a task that can't go on where it is: a limit of its step is used up, or nothing will ever answer it.
//!
//! Its handler can't be told: there is no fuel left to catch anything with. What it did since its last suspension didn't
//! happen, and a compensation is on disk before `task.defer` returns. So the task goes back to its last records, and
//! from there its compensations run, last registered first, without the handler:
//!
//! ```text
//!   fuel, memory, time, ... ---> records, with `unwind` in the state ---> loaded: all that the handler waited for is
//!        ^                                                                left behind (State::leaves_behind)
//!        |                                                                          |
//!        +--- in a compensation: that one is given up, and noted <--- a compensation runs, with a step's budgets
//!                                                                                   |
//!                                                          none left, all on disk: failed, with the first reason
//! ```
//!
//! Where it is in that is in the state and in the machine's records: a crash goes on there. A compensation that runs has some
//! memory, fibers and effects more than the limits that were used up.

use forebay_base::limits::TaskLimits;
use forebay_engine::{EffectId, TaskHandle};
use forebay_frames::{Cancel, Failure, Outcome, State, Status, Unwind, Wait, WaitKind};
use forebay_ring::Reactor;

use super::ending::Then;
use super::mail::Caller;
use super::{Active, SaveKind};
use crate::back::{Back, Level};

/// Bytes that a task has for its compensations beyond its limit.
const MEMORY_BYTES_MORE: usize = 4 * 1024 * 1024;
/// Fibers, and effects in flight.
const FIBERS_MORE: usize = 64;

/// What a task may use whose compensations run because it used up what it had.
pub(super) fn more(limits: TaskLimits) -> TaskLimits {
    TaskLimits {
        memory: limits.memory.saturating_add(MEMORY_BYTES_MORE),
        fibers: limits.fibers.saturating_add(FIBERS_MORE),
        effects: limits.effects.saturating_add(FIBERS_MORE),
        ..limits
    }
}

/// The compensation that runs.
fn running(state: &State, waits: &[Wait]) -> Option<u32> {
    if let Some(unwind) = &state.unwind {
        return unwind.runs;
    }
    waits.iter().find(|wait| wait.kind == WaitKind::Ending).and_then(|wait| wait.name.parse().ok())
}

/// An error in one line.
fn line_of(failure: &Failure) -> String {
    let parts = [&*failure.code, &*failure.name, &*failure.message];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(": ")
}

/// The state that its last records say, made one from which only compensations go on. `ran`: the one that can't go
/// on. The waits that nobody is to be woken for any more.
fn turn_to_undo(state: &mut State, failure: Failure, ran: Option<u32>) -> Vec<Wait> {
    let on_disk = running(state, &state.waits);
    let left_behind = match &state.unwind {
        Some(unwind) => unwind.left_behind,
        None => {
            state.waits.iter().find(|wait| wait.kind == WaitKind::Ending).map_or(0, |ending| ending.effect)
        }
    };
    // One that had come to its end since, or had not begun: it is where its records say.
    let runs = on_disk.filter(|_| ran.is_some() && ran != on_disk);
    if let Some(ran) = ran {
        state.waits.retain(|wait| wait.effect != ran);
    }
    state.unwind = Some(Unwind { failure, runs, left_behind });
    if runs.is_none() {
        state.committing = None;
    }
    let (left, kept) = std::mem::take(&mut state.waits)
        .into_iter()
        .partition(|wait| wait.kind != WaitKind::Defer && (runs.is_none() || wait.effect <= left_behind));
    state.waits = kept;
    state.waiting = false;
    left
}

impl Back {
    /// The task can't go on. True if compensations of it run now, from its last records.
    pub(super) fn unwind<R: Reactor>(&mut self, reactor: &mut R, key: u64, failure: &Failure) -> bool {
        let Some(active) = self.durable.active.get_mut(key) else { return false };
        let ran = running(&active.task.state, &active.waits);
        if ran.is_none() && !active.waits.iter().any(|wait| wait.kind == WaitKind::Defer) {
            return false;
        }
        let id = active.task.id.clone();
        // What it fails with is what came first.
        let first = self.first_failure(key).unwrap_or_else(|| failure.clone());
        let now = reactor.timestamp();
        let mut task = match self.durable_read(now, &id) {
            Ok(Some(loaded)) if !loaded.task.state.status.is_over() => loaded.task,
            Ok(_) => return false,
            Err(why) => {
                self.durable_let_go(reactor, key, &why);
                return true;
            }
        };
        let has_defers = task.state.waits.iter().any(|wait| wait.kind == WaitKind::Defer);
        if !has_defers && running(&task.state, &task.state.waits).is_none() {
            return false;
        }
        let error = line_of(failure);
        if ran.is_some() {
            self.log.line(Level::Error, "a compensation failed", &[("task", &id), ("error", &error)]);
            task.state.note_not_undone(&error);
        } else {
            self.log.line(Level::Error, "a durable task is undone", &[("task", &id), ("error", &error)]);
        }
        let reason = format!("{}: its compensations run", line_of(&first));
        self.durable_drop_run(reactor, key);
        let left = turn_to_undo(&mut task.state, first, ran);
        let mut batch = task.turn(Status::Running, &reason, self.durable.epoch, now);
        Self::unjoin(&id, &left, &mut batch);
        let kind = SaveKind::Turned { id, wake: Then::Load, caller: Caller::Nobody };
        self.durable_save(reactor, kind, batch, Vec::new());
        true
    }

    pub(super) fn is_undone(&mut self, key: u64) -> bool {
        self.durable.active.get_mut(key).is_some_and(|active| active.task.state.unwind.is_some())
    }

    /// Why its compensations run already.
    pub(super) fn first_failure(&mut self, key: u64) -> Option<Failure> {
        let active = self.durable.active.get_mut(key)?;
        if let Some(unwind) = &active.task.state.unwind {
            return Some(unwind.failure.clone());
        }
        let ending = active.waits.iter().find(|wait| wait.kind == WaitKind::Ending)?.effect;
        let task = active.run.and_then(|run| self.runs.get_mut(run))?.task;
        let text = |index| self.vm.arg(task, EffectId(ending), index).as_str().unwrap_or_default().into();
        Some(Failure { code: "script_error".into(), name: text(0), message: text(1), stack: "".into() })
    }

    /// A task that is undone was loaded: unless a compensation is in the middle of its work, the next one begins. False:
    /// there is none, and the task is over.
    pub(super) fn undo_from_records<R: Reactor>(
        &mut self,
        reactor: &mut R,
        run: u64,
        key: u64,
        task: TaskHandle,
        left_behind: u32,
    ) -> bool {
        let Some(active) = self.durable.active.get_mut(key) else { return true };
        let Some(unwind) = &mut active.task.state.unwind else { return true };
        if unwind.runs.is_some() {
            return true;
        }
        unwind.left_behind = left_behind;
        self.next_undo(run, key, task);
        self.undone(reactor, key)
    }

    /// The last that is registered runs; when there is none left, what the others have written goes to disk.
    pub(super) fn next_undo(&mut self, run: u64, key: u64, task: TaskHandle) {
        let Some(active) = self.durable.active.get_mut(key) else { return };
        let Active { task: frames, waits, .. } = active;
        let Some(unwind) = &mut frames.state.unwind else { return };
        let defers = waits.iter().filter(|wait| wait.kind == WaitKind::Defer);
        unwind.runs = defers.map(|wait| wait.effect).max();
        let Some(last) = unwind.runs else {
            active.must_save |= active.dirty;
            return;
        };
        waits.retain(|wait| wait.effect != last);
        crate::effects::resume(&mut self.vm, task, EffectId(last), &mut |sink| sink.undefined());
        self.effects.resumed.push(run);
    }

    /// Whether a task goes on. If it was undone, and all of that is on disk, it is over: false.
    pub(super) fn undone<R: Reactor>(&mut self, reactor: &mut R, key: u64) -> bool {
        let Some(active) = self.durable.active.get_mut(key) else { return true };
        let Some(unwind) = &active.task.state.unwind else { return true };
        if unwind.runs.is_some() || active.must_save {
            return true;
        }
        let failure = unwind.failure.clone();
        active.task.state.reason = "".into();
        let cancelled = active.task.state.cancel != Cancel::No && &*failure.name == "TaskCancelled";
        let outcome = if cancelled { Outcome::Cancelled } else { Outcome::Failed(failure) };
        self.durable_finish(reactor, key, &outcome);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(effect: u32, kind: WaitKind, name: &str) -> Wait {
        Wait { effect, kind, name: name.into(), until: None }
    }

    fn state(waits: Vec<Wait>) -> State {
        let start = forebay_frames::Start {
            id: forebay_frames::TaskId::random([1; 16]),
            work: "A".into(),
            code: [0; 32],
            module: None,
            payload: [0; 32],
            epoch: 1,
            number: [0; 16],
        };
        let (task, _) = forebay_frames::Task::start(start, [], forebay_base::Timestamp(0));
        State { waits, ..task.state }
    }

    fn kept(state: &State) -> Vec<u32> {
        state.waits.iter().map(|wait| wait.effect).collect()
    }

    #[test]
    fn a_handler_without_fuel_leaves_all_but_its_compensations() {
        let waits =
            vec![wait(1, WaitKind::Defer, ""), wait(2, WaitKind::Join, "x"), wait(3, WaitKind::Defer, "")];
        let mut state = state(waits);
        state.committing = Some((4, "".into()));
        let left = turn_to_undo(&mut state, Failure::default(), None);
        assert_eq!((kept(&state), left.len(), left[0].effect), (vec![1, 3], 1, 2));
        assert_eq!(state.committing, None);
        assert_eq!(state.unwind.map(|unwind| unwind.runs), Some(None));
    }

    #[test]
    fn a_compensation_without_fuel_is_given_up_and_those_before_it_go_on() {
        let ending = |runs: &str| {
            let ending = wait(5, WaitKind::Ending, runs);
            state(vec![wait(1, WaitKind::Defer, ""), ending, wait(6, WaitKind::Sleep, "")])
        };
        // In the middle of it: everything of it is left behind.
        let mut own = ending("3");
        turn_to_undo(&mut own, Failure::default(), Some(3));
        assert_eq!(kept(&own), [1]);
        assert_eq!(own.unwind.map(|unwind| unwind.runs), Some(None));
        // The one before it was in the middle of its work when the last records were written: it goes on there.
        let mut other = ending("3");
        turn_to_undo(&mut other, Failure::default(), Some(1));
        assert_eq!(kept(&other), [6]);
        assert_eq!(other.unwind.map(|unwind| (unwind.runs, unwind.left_behind)), Some((Some(3), 5)));
    }
}
