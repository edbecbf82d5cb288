//! Durable tasks, as the engine sees them: effects that the helpers of `builtins/js/tasks.js` ask for, and
//! the handler's guard. What they mean is the worker's business.

use crate::api::{StartError, TaskHandle};
use crate::builtins::{Kind, Native, NativeFn};
use crate::ctx::{Args, Ctx};
use crate::heap::kind;
use crate::known::Helper;
use crate::throw::Throw;
use crate::value::Value;
use crate::vm::Vm;
use forebay_bytecode::HostFn;

const fn helper(name: &'static str, length: u8, call: NativeFn) -> Native {
    Native { on: "", name, length, call, kind: Kind::Helper }
}

/// Natives of durable tasks.
pub(crate) const NATIVES: &[Native] = &[
    helper("promiseMake", 0, promise_make),
    helper("promiseWait", 2, promise_wait),
    helper("deferWait", 0, defer_wait),
    helper("deferDone", 2, defer_done),
    helper("taskFailed", 2, task_failed),
    helper("deferKept", 0, defer_kept),
];

fn promise_make(ctx: &mut Ctx<'_>, _: Args) -> Result<Value, Throw> {
    ctx.effect(HostFn::TaskPromiseMake, &[])
}

fn promise_wait(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let args = [ctx.arg(a, 0), ctx.arg(a, 1)];
    ctx.effect(HostFn::TaskPromiseWait, &args)
}

fn defer_wait(ctx: &mut Ctx<'_>, _: Args) -> Result<Value, Throw> {
    ctx.effect(HostFn::TaskDeferWait, &[])
}

fn defer_done(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let args = [ctx.arg(a, 0), ctx.arg(a, 1)];
    ctx.effect(HostFn::TaskDeferDone, &args)
}

fn task_failed(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let args = [ctx.arg(a, 0), ctx.arg(a, 1)];
    ctx.effect(HostFn::TaskFailed, &args)
}

fn defer_kept(ctx: &mut Ctx<'_>, _: Args) -> Result<Value, Throw> {
    ctx.effect(HostFn::TaskDeferKept, &[])
}

impl Vm {
    /// Puts a task that hasn't run under guard: what its handler throws is told with the effect
    /// [`HostFn::TaskFailed`], and thrown when that is answered.
    ///
    /// # Errors
    /// [`StartError::TooLarge`]; [`StartError::NoEntry`] if it has run.
    pub fn guard(&mut self, task: TaskHandle) -> Result<(), StartError> {
        let (mut mem, state) = self.parts(task).ok_or(StartError::NoEntry)?;
        if state.entry.is_empty() {
            return Err(StartError::NoEntry);
        }
        let proto = mem.local.known.function;
        let durable = mem.local.known.helpers[Helper::Durable as usize];
        let bound = mem.new_object_of(kind::BOUND, proto, 3).map_err(|_| StartError::TooLarge)?;
        mem.heap.store(bound, 3, 1);
        mem.heap.set(bound, 4, durable);
        mem.heap.set(bound, 5, Value::UNDEFINED);
        mem.heap.set(bound, 6, state.entry);
        state.entry = bound.object();
        Ok(())
    }
}
