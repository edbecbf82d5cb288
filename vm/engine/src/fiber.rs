//! Fibers and the state of a task between slices.
//!
//! A fiber is a value stack and frame records. A task starts with one; each call
//! of an async function and each promise reaction gets its own.
//!
//! ```text
//!            call of an async function            host call, await
//!   running -----------------------> its child   running ----------> waiting
//!      ^   <-----------------------      |            ^                  |
//!      |    promise, when the child      |            +--- resumed ------+
//!      |    waits or ends                v
//!      +------------------------------ done
//! ```
//!
//! Frame records and continuations hold numbers and values, never addresses, so
//! a parked fiber can be saved as it is.
#![expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]

use crate::api::{EffectId, TaskHandle};
use crate::value::Value;
use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId};
use forebay_bytecode::HostFn;
use std::collections::VecDeque;
use std::rc::Rc;

/// What happens with the result of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ContKind {
    /// r[dst] = result.
    Plain,
    /// Setters, `return` methods.
    Discard,
    /// `new`: the result if it is an object, else `saved`.
    Construct,
    /// The left operand of the instruction before pc has become primitive; `saved` is the right one.
    Left,
    /// The right operand has; `saved` is the left one.
    Right,
    /// The only operand has.
    Unary,
    /// The key of an element access has.
    Key,
    /// Value `a` of a Concat has; `saved` holds what comes before it.
    Concat,
    /// Argument `a` of the native frame on top has.
    NativeArgument,
    /// r[dst] = truthiness of the result.
    Truth,
    /// r[dst..] = the iterator that GetIterator was for.
    Iterator,
    /// IteratorNext's value, or the end.
    Next,
    /// The pairs of `kv.iterate`: `saved` is called with each.
    Iterate,
    /// The answer to an outbound request.
    Http,
    /// A promise to wait for: r[dst] = what it is fulfilled with.
    Await,
    /// The fiber's first call: its result is the fiber's.
    Root,
    /// The native below goes on with it (steps.rs).
    Step,
}

/// A continuation: see [`ContKind`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cont {
    pub(crate) kind: ContKind,
    pub(crate) dst: u16,
    pub(crate) a: u32,
    pub(crate) saved: Value,
}

impl Cont {
    pub(crate) const ROOT: Self = Self::new(ContKind::Root, 0);
    #[inline(always)]
    pub(crate) const fn new(kind: ContKind, dst: u16) -> Self {
        Self { kind, dst, a: 0, saved: Value::UNDEFINED }
    }
    #[inline(always)]
    pub(crate) const fn plain(dst: u16) -> Self {
        Self::new(ContKind::Plain, dst)
    }
    #[inline(always)]
    pub(crate) const fn with(kind: ContKind, dst: u16, a: u32, saved: Value) -> Self {
        Self { kind, dst, a, saved }
    }
}

/// `Frame::unit` of a native that waits: for an argument to become primitive, for its next slice, for what it calls.
pub(crate) const NATIVE_FRAME: u8 = 2;
/// `Frame::flags`: the native was called by `new`.
pub(crate) const CONSTRUCTING: u8 = 1;
/// `Frame::flags`: the native was interrupted at the end of a slice; its state stands behind its arguments and
/// counts as one of them.
pub(crate) const YIELDED: u8 = 2;
/// `Frame::flags`: the native calls a function step by step (steps.rs); `pc` says which one it is.
pub(crate) const STEPPING: u8 = 4;
/// `Frame::flags` of a generator: a loop has pushed it, and gets what it yields (parked.rs).
pub(crate) const IN_LOOP: u8 = 8;

/// A script call in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Index of the closure's function in its unit; for a native frame the number of arguments.
    pub(crate) function: u32,
    /// Next instruction.
    pub(crate) pc: u32,
    /// Stack index of r[0].
    pub(crate) base: u32,
    /// 0 blueprint, 1 intrinsics, or NATIVE_FRAME.
    pub(crate) unit: u8,
    pub(crate) flags: u8,
    /// What is called.
    pub(crate) closure: Value,
    /// Where its result goes.
    pub(crate) cont: Cont,
}

impl Frame {
    /// A native that was interrupted at the end of a slice and has left a state.
    pub(crate) fn is_yielded(&self) -> bool {
        self.unit == NATIVE_FRAME && self.flags & YIELDED != 0
    }

    /// A native that calls a function step by step.
    pub(crate) fn is_stepping(&self) -> bool {
        self.unit == NATIVE_FRAME && self.flags & STEPPING != 0
    }
}

/// What a fiber waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Free slot.
    Free,
    /// It runs, or waits for a child to wait.
    Running,
    /// It can go on (its slice was over).
    Ready,
    Promise,
    Effect(EffectId),
}

/// A fiber that isn't running. The running one's stack is in the machine.
#[derive(Debug)]
pub(crate) struct Fiber {
    pub(crate) stack: Vec<Value>,
    pub(crate) frames: Vec<Frame>,
    pub(crate) wait: Wait,
    /// Where the value goes that it waits for.
    pub(crate) cont: Cont,
    /// Promise to settle with its result; EMPTY: none.
    pub(crate) promise: Value,
    /// The fiber that called it and hasn't got its promise yet.
    pub(crate) parent: Option<(u32, Cont)>,
    /// Only a rejection counts (the job that calls a thenable's `then`).
    pub(crate) reject_only: bool,
    /// Its result is the task's.
    pub(crate) main: bool,
    /// It runs the handler itself, so that a literal in its `return` counts.
    pub(crate) handler: bool,
    /// Number of the transaction that its queries run in; 0: none.
    pub(crate) transaction: u32,
    /// The async generator whose code it runs; EMPTY: none. Then `promise` is only what its caller gets.
    pub(crate) generator: Value,
}

impl Fiber {
    pub(crate) fn new(stack: Vec<Value>, frames: Vec<Frame>) -> Self {
        Self {
            stack,
            frames,
            wait: Wait::Running,
            cont: Cont::ROOT,
            promise: Value::EMPTY,
            parent: None,
            reject_only: false,
            main: false,
            handler: false,
            transaction: 0,
            generator: Value::EMPTY,
        }
    }

    /// As new, with the stack that it has.
    fn renew(&mut self) {
        self.wait = Wait::Running;
        self.cont = Cont::ROOT;
        self.promise = Value::EMPTY;
        self.parent = None;
        (self.reject_only, self.main, self.handler) = (false, false, false);
        self.transaction = 0;
        self.generator = Value::EMPTY;
    }
}

/// A microtask.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Job {
    /// `await` of fiber goes on with the value, or throws it.
    Resume { fiber: u32, value: Value, rejected: bool },
    /// A reaction of `then`; `target` is the promise it made.
    React { handler: Value, value: Value, target: Value, rejected: bool },
    /// `target` follows the promise `from`.
    Adopt { target: Value, from: Value },
    /// `target` follows a thenable.
    Thenable { target: Value, thenable: Value, then: Value },
    /// The handler's promise is settled.
    Main { value: Value, rejected: bool },
}

/// An effect in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) id: EffectId,
    pub(crate) function: HostFn,
    pub(crate) fiber: u32,
    /// The transaction of that fiber; 0: none.
    pub(crate) transaction: u32,
    /// Array of the arguments.
    pub(crate) arguments: Value,
    /// `take_effects` has given it out.
    pub(crate) taken: bool,
    /// What its sink has built.
    pub(crate) result: Option<Value>,
}

/// A task between slices. Everything is reused by the slot's next task.
#[derive(Debug)]
pub(crate) struct TaskState {
    pub(crate) handle: TaskHandle,
    pub(crate) blueprint: u32,
    pub(crate) tenant: TenantId,
    pub(crate) limits: TaskLimits,
    pub(crate) fuel_used: u64,
    pub(crate) deadline: Monotonic,
    pub(crate) fibers: Vec<Fiber>,
    /// The fiber that goes on first in the next slice.
    pub(crate) ready: Option<u32>,
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) pending: Vec<Pending>,
    pub(crate) effects_made: u32,
    /// The handler's value, or what it threw.
    pub(crate) outcome: Option<Result<Value, Value>>,
    pub(crate) trap: Option<crate::api::Trap>,
    /// Rejected promises that had no handler when they were rejected.
    pub(crate) rejected: Vec<Value>,
    pub(crate) request: crate::request::Request,
    /// What the first slice calls; EMPTY once it has.
    pub(crate) entry: Value,
    /// The entry gets `req`.
    pub(crate) takes_request: bool,
    /// Registry of `Symbol.for`, once there is one.
    pub(crate) symbols: Option<Value>,
    /// State of `Math.random`; 0 until it is first used.
    pub(crate) random: u64,
    /// A search of a regular expression that the end of a slice has interrupted. The native that began it is called
    /// again first thing in the next slice.
    pub(crate) search: Option<Box<crate::builtins::regexp::Search>>,
    /// JSON that the end of a slice has interrupted, likewise.
    pub(crate) json: Option<Box<crate::builtins::json::Paused>>,
    /// The text of a long answer, once the task has ended.
    pub(crate) body: Option<crate::answer::Body>,
    /// Numbers of the task's records, once it was saved or if it was restored.
    pub(crate) numbers: Option<Rc<crate::snapshot::Numbers>>,
    /// Stacks and frame lists of fibers that ended.
    pub(crate) spare: Vec<(Vec<Value>, Vec<Frame>)>,
    /// No slot of `fibers` below this one is free. The first slot keeps its stack, for the next task's first fiber.
    pub(crate) free_from: usize,
}

/// Stacks that a task keeps for its next fibers: 2 KiB each, for the twenty or so calls that a handler starts together.
const SPARE_MAX: usize = 32;
/// Values of a new stack.
pub(crate) const STACK_START: usize = 256;
/// And of the longest that is kept.
const STACK_MAX: usize = 16 * STACK_START;
/// Entries of lists that a slot keeps.
const JOBS_KEPT_MAX: usize = 1024;
const REJECTED_KEPT_MAX: usize = 64;

impl TaskState {
    pub(crate) fn new() -> Self {
        Self {
            handle: TaskHandle { slot: 0, generation: 0 },
            blueprint: 0,
            tenant: TenantId(0),
            limits: TaskLimits::default(),
            fuel_used: 0,
            deadline: Monotonic::NEVER,
            fibers: Vec::new(),
            ready: None,
            jobs: VecDeque::new(),
            pending: Vec::new(),
            effects_made: 0,
            outcome: None,
            trap: None,
            rejected: Vec::new(),
            request: crate::request::Request::default(),
            entry: Value::EMPTY,
            takes_request: false,
            symbols: None,
            random: 0,
            search: None,
            json: None,
            body: None,
            numbers: None,
            spare: Vec::new(),
            free_from: 0,
        }
    }

    /// Forgets the task, keeps the memory (bounded).
    pub(crate) fn reset(&mut self) {
        let ended = matches!(&self.fibers[..], [first] if first.wait == Wait::Free);
        let rest = self.jobs.len() + self.pending.len() + self.rejected.len();
        if !ended
            || rest > 0
            || self.jobs.capacity() > JOBS_KEPT_MAX
            || self.rejected.capacity() > REJECTED_KEPT_MAX
            || self.search.is_some()
            || self.json.is_some()
            || self.body.is_some()
            || self.numbers.is_some()
        {
            self.drop_rest();
        }
        self.free_from = 0;
        self.ready = None;
        self.outcome = None;
        self.trap = None;
        self.entry = Value::EMPTY;
        self.effects_made = 0;
        self.fuel_used = 0;
        self.symbols = None;
        self.random = 0;
        self.request.clear();
    }

    /// What a task that ended by itself and waited for nothing has nothing of.
    fn drop_rest(&mut self) {
        for at in 0..self.fibers.len() {
            if self.fibers[at].wait != Wait::Free {
                self.retire_fiber(at);
            }
        }
        self.fibers.truncate(1);
        self.jobs.clear();
        self.jobs.shrink_to(JOBS_KEPT_MAX);
        self.pending.clear();
        self.rejected.clear();
        self.rejected.shrink_to(REJECTED_KEPT_MAX);
        self.search = None;
        self.json = None;
        self.body = None;
        self.numbers = None;
    }

    /// Leaves no slot, for fibers that are pushed by whoever has them.
    pub(crate) fn clear_fibers(&mut self) {
        for fiber in self.fibers.drain(..).filter(|f| !f.stack.is_empty()) {
            self.spare.push((fiber.stack, fiber.frames));
        }
        self.free_from = 0;
    }

    /// Makes a new fiber of the first slot, if that is free and has a stack.
    #[inline]
    pub(crate) fn renew_first_fiber(&mut self) -> bool {
        if self.free_from == 0
            && let Some(first) = self.fibers.first_mut()
            && first.wait == Wait::Free
            && first.stack.len() >= STACK_START
        {
            first.renew();
            self.free_from = 1;
            return true;
        }
        false
    }

    /// A slot for a new fiber.
    pub(crate) fn new_fiber(&mut self) -> u32 {
        if self.renew_first_fiber() {
            return 0;
        }
        let (mut stack, frames) = self.spare.pop().unwrap_or_default();
        if stack.len() < STACK_START {
            stack.resize(STACK_START, Value::UNDEFINED);
        }
        let fiber = Fiber::new(stack, frames);
        let from = self.free_from;
        let free = self.fibers.iter().skip(from).position(|f| f.wait == Wait::Free);
        let at = free.map_or(self.fibers.len(), |behind| from + behind);
        self.free_from = at + 1;
        match self.fibers.get_mut(at) {
            Some(slot) => *slot = fiber,
            None => self.fibers.push(fiber),
        }
        at as u32
    }

    /// Frees a slot; its memory is kept if it is of ordinary size.
    #[inline]
    pub(crate) fn retire_fiber(&mut self, at: usize) {
        self.free_from = self.free_from.min(at);
        let fiber = &mut self.fibers[at];
        fiber.wait = Wait::Free;
        if at == 0 && fiber.stack.len() <= STACK_MAX {
            fiber.frames.clear();
            return;
        }
        let stack = std::mem::take(&mut fiber.stack);
        let mut frames = std::mem::take(&mut fiber.frames);
        frames.clear();
        if self.spare.len() < SPARE_MAX && !stack.is_empty() && stack.len() <= STACK_MAX {
            self.spare.push((stack, frames));
        }
    }

    pub(crate) fn live_fibers(&self) -> usize {
        self.fibers.iter().filter(|f| f.wait != Wait::Free).count()
    }
}
