//! The scheduler of one task: its fibers and microtasks, in the order of ECMAScript.

use crate::api::Trap;
use crate::ctx::Ctx;
use crate::fiber::{Cont, Frame, STACK_START, Wait};
use crate::heap::kind;
use crate::interp::Exit;
use crate::throw::Throw;
use crate::value::Value;

/// Registers of a function that is begun without asking whether they fit into a new stack.
const ENTRY_REGISTERS_MAX: usize = STACK_START / 2;

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
        if !entry.is_empty()
            && (self.task.takes_request || !self.begin_simply(entry))
            && let Some(t) = self.begin(entry)
        {
            return Turn::Trap(t);
        }
        self.turn()
    }

    /// Starts what the task is for.
    fn begin(&mut self, entry: Value) -> Option<Trap> {
        let takes_request = self.task.takes_request;
        self.settle_step(|ctx| {
            if takes_request {
                let request = ctx.mem.request_object(&mut ctx.task.request)?;
                ctx.start_main(entry, &[request])
            } else {
                ctx.start_main(entry, &[])
            }
        })
    }

    /// The same for a function without arguments whose call is nothing but a frame, on the stack that the slot's last
    /// task has left; false, and nothing has happened: it is more than that.
    fn begin_simply(&mut self, entry: Value) -> bool {
        if !self.mem.is_kind(entry, kind::CLOSURE) || self.task.limits.stack_depth == 0 {
            return false;
        }
        let (unit, index) = self.mem.function_of(entry.as_ref());
        let Some(hot) = self.mem.local.hot[unit].get(index as usize) else { return false };
        let (registers, cost) = (usize::from(hot.registers), hot.cost);
        if !hot.simple || registers > ENTRY_REGISTERS_MAX || !self.task.renew_first_fiber() {
            return false;
        }
        self.task.fibers[0].main = true;
        self.load_fiber(0);
        // Callee, `this`, registers, as any call has them.
        let Some(window) = self.stack.get_mut(..2 + registers) else { return false };
        window.fill(Value::UNDEFINED);
        window[0] = entry;
        self.fuel -= cost;
        let unit = if unit == 0 { 0 } else { 1 };
        let cont = Cont::ROOT;
        self.frames.push(Frame { function: index, pc: 0, base: 1, unit, flags: 0, closure: entry, cont });
        true
    }

    /// Whether the outcome is an exception.
    #[inline]
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
