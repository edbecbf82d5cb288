//! The scheduler of one task: its fibers and microtasks, in the order of ECMAScript.

use crate::api::Trap;
use crate::ctx::Ctx;
use crate::fiber::{Cont, Wait};
use crate::interp::Exit;
use crate::throw::Throw;
use crate::value::Value;

/// Where a slice ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// The task has an outcome.
    Done,
    /// Nothing can go on before an effect is answered.
    Waiting,
    SliceOver,
    Trap(Trap),
}

impl Ctx<'_> {
    /// Starts the task's first call on a fiber of its own.
    pub(crate) fn start_main(&mut self, function: Value, args: &[Value]) -> Result<(), Throw> {
        let id = self.task.new_fiber();
        self.task.fibers[id as usize].main = true;
        self.load_fiber(id);
        self.call_function(function, Value::UNDEFINED, args, Cont::ROOT)
    }

    /// Runs until the task is done, waits, or has used its slice.
    pub(crate) fn turn(&mut self) -> Turn {
        if let Some(fiber) = self.task.ready.take() {
            self.load_fiber(fiber);
        }
        loop {
            if self.is_running() {
                match self.exec() {
                    Exit::Idle => {}
                    Exit::SliceOver => {
                        self.store_fiber();
                        self.task.fibers[self.current as usize].wait = Wait::Ready;
                        self.task.ready = Some(self.current);
                        return Turn::SliceOver;
                    }
                    Exit::Trap(t) => return Turn::Trap(t),
                }
                continue;
            }
            if self.fuel < 0 && !self.task.jobs.is_empty() {
                return Turn::SliceOver;
            }
            let Some(job) = self.task.jobs.pop_front() else { break };
            if let Some(t) = self.settle_step(|ctx| ctx.run_job(job)) {
                return Turn::Trap(t);
            }
        }
        if self.task.outcome.is_some() {
            return Turn::Done;
        }
        if self.task.pending.is_empty() { Turn::Trap(Trap::Deadlock) } else { Turn::Waiting }
    }

    /// Runs a step outside of `exec`; an exception of it unwinds the fiber that is loaded.
    pub(crate) fn settle_step(&mut self, step: impl FnOnce(&mut Self) -> Result<(), Throw>) -> Option<Trap> {
        match step(self) {
            Ok(()) => None,
            Err(throw) => match self.unwind(throw) {
                Some(Exit::Trap(t)) => Some(t),
                _ => None,
            },
        }
    }

    /// Runs a function to its end, where nothing may wait: module tops.
    pub(crate) fn run_to_end(&mut self, function: Value, args: &[Value]) -> Result<Value, Throw> {
        if let Some(t) = self.settle_step(|ctx| ctx.start_main(function, args)) {
            return Err(Throw::Trap(t));
        }
        match self.turn() {
            Turn::Done => match self.task.outcome.take() {
                Some(Ok(v)) => Ok(v),
                Some(Err(v)) => Err(Throw::Value(v)),
                None => Err(Throw::Trap(Trap::Deadlock)),
            },
            Turn::Waiting => Err(Throw::Trap(Trap::Deadlock)),
            Turn::SliceOver => Err(Throw::Trap(Trap::Fuel)),
            Turn::Trap(t) => Err(Throw::Trap(t)),
        }
    }
}

impl Ctx<'_> {
    /// One slice of a task: starts it if it hasn't been, then a turn.
    pub(crate) fn slice(&mut self) -> Turn {
        let entry = std::mem::replace(&mut self.task.entry, Value::EMPTY);
        if !entry.is_empty() {
            let takes_request = self.task.takes_request;
            let started = self.settle_step(|ctx| {
                if takes_request {
                    let request = ctx.mem.request_object(&mut ctx.task.request)?;
                    ctx.start_main(entry, &[request])
                } else {
                    ctx.start_main(entry, &[])
                }
            });
            if let Some(t) = started {
                return Turn::Trap(t);
            }
        }
        self.turn()
    }

    /// Whether the outcome is an exception.
    pub(crate) fn settle_outcome(&self) -> bool {
        matches!(self.task.outcome, Some(Err(_)))
    }

    /// After a trap a fiber may still be loaded: its stack goes back to the task.
    pub(crate) fn put_back(&mut self) {
        if !self.stack.is_empty() {
            self.store_fiber();
        }
    }
}
