//! Natives that call a function once per element: sort, map, reduce and their like.
//!
//! A native never calls a script from within, so one that needs to for each element is a frame that is asked
//! again and again what comes next. Everything that it knows stands in its window as values, so it can be
//! stopped, saved and resumed between any two calls as a script's frame can:
//!
//! ```text
//!   this | function | the native's own ..., RESULT: what the last call gave | callee | this | arguments ...
//!   ^ base                                                                  ^ base + last() + 1
//! ```
//!
//! ```text
//!            Call, Get, Primitive                      a result, kept in RESULT
//!   step  ------------------------->  the function  ----------------------------->  the native's frame on
//!     ^                                     |                                       top: go_on_with_steps
//!     +---- the function's frame returns: again, in the same window <---------------------+
//! ```
//!
//! Where the function is a plain closure, its return leads straight to the next step and the frame stays.
//! Whoever can write a snapshot can write a window: steps trust none of its values.

use crate::builtins::{each, sort};
use crate::ctx::{Args, Ctx};
use crate::fiber::{Cont, ContKind, Frame, NATIVE_FRAME, STEPPING};
use crate::known::Helper;
use crate::throw::Throw;
use crate::value::Value;

/// Which native it is: `Frame::pc` of its frame, in snapshots too. Append only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Steps {
    Map,
    Filter,
    ForEach,
    Some,
    Every,
    Find,
    FindIndex,
    FindLast,
    FindLastIndex,
    Reduce,
    ReduceRight,
    Sort,
    ToSorted,
}

/// What comes next.
pub(crate) enum Step {
    /// Call what stands in the window behind the native's own, with so many arguments.
    Call(u16),
    /// Call this getter of the native's `this`.
    Get(Value),
    /// Make this object a number.
    Number(Value),
    /// The slice is over.
    Pause,
    /// The native's result.
    Done(Value),
    /// Its result is that of `ctx.tail`.
    Tail,
}

/// Register of the last call's result; EMPTY: there is none.
pub(crate) const RESULT: usize = 7;
/// `Cont::a` of a call of the native's function; not of a getter's, or of what makes a number.
pub(crate) const SAME_CALL: u32 = 1;
/// Most values that a step writes from its base on.
pub(crate) const WINDOW_MAX: usize = 24;

impl Steps {
    const ALL: [Steps; 13] = [
        Self::Map,
        Self::Filter,
        Self::ForEach,
        Self::Some,
        Self::Every,
        Self::Find,
        Self::FindIndex,
        Self::FindLast,
        Self::FindLastIndex,
        Self::Reduce,
        Self::ReduceRight,
        Self::Sort,
        Self::ToSorted,
    ];

    /// The one with this number.
    #[inline]
    pub(crate) fn of(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }

    /// Last register of the native's own.
    pub(crate) const fn last(self) -> u32 {
        match self {
            Self::Sort | Self::ToSorted => sort::LAST,
            _ => each::LAST,
        }
    }
}

impl Ctx<'_> {
    /// Makes a native that has filled in its window the top frame.
    pub(crate) fn begin_steps(
        &mut self,
        steps: Steps,
        callee: Value,
        args: Args,
        cont: Cont,
    ) -> Result<(), Throw> {
        if self.frames.len() >= self.task.limits.stack_depth {
            return Err(Throw::range_error("Maximum call stack size exceeded"));
        }
        self.frames.push(Frame {
            function: steps.last(),
            pc: steps as u32,
            base: u32::try_from(args.base).unwrap_or(0),
            unit: NATIVE_FRAME,
            flags: STEPPING,
            closure: callee,
            cont,
        });
        Ok(())
    }

    /// Keeps the result of a call until the native's frame on top goes on.
    pub(crate) fn keep_for_step(&mut self, v: Value) {
        if let Some(top) = self.frames.last().filter(|f| f.is_stepping()) {
            self.stack[top.base as usize + RESULT] = v;
        }
    }

    /// The native whose frame is on top takes what was kept and does its next step.
    pub(crate) fn go_on_with_steps(&mut self) -> Result<(), Throw> {
        let Some(top) = self.frames.last() else { return Ok(()) };
        let kept = std::mem::replace(&mut self.stack[top.base as usize + RESULT], Value::EMPTY);
        let step = self.step(kept)?;
        self.take(step)
    }

    /// What most steps of most natives are: the same call with the next element; how many arguments there are. None: it is
    /// more than that, and nothing has changed. `at` was the window of the call that has returned `v`.
    #[inline]
    pub(crate) fn quick_step(&mut self, at: usize, v: Value) -> Option<u16> {
        let native = self.frames.last()?;
        let window = native.base as usize;
        let fits = native.is_stepping() && window + native.function as usize + 2 == at;
        if fits { each::quick_step(self, Steps::of(native.pc)?, window, v) } else { None }
    }

    /// The call of `done` has returned `v` to the native below. If that wants the same call again, its arguments stand in
    /// the window and its frame is on top again: how many there are. Otherwise what is to be done is done.
    pub(crate) fn again(&mut self, done: &Frame, v: Value, same: bool) -> Result<Option<u16>, Throw> {
        let below = self.frames.last();
        if !same || !below.is_some_and(|f| f.is_stepping() && f.base + f.function + 2 == done.base) {
            self.keep_for_step(v);
            return Ok(None);
        }
        match self.step(v)? {
            Step::Call(count) => {
                self.frames.push(Frame { pc: 0, ..*done });
                Ok(Some(count))
            }
            other => self.take(other).map(|()| None),
        }
    }

    fn step(&mut self, v: Value) -> Result<Step, Throw> {
        let Some(top) = self.frames.last() else { return Ok(Step::Done(v)) };
        let (base, steps) = (top.base as usize, Steps::of(top.pc));
        self.ensure_stack(base + WINDOW_MAX)?;
        match steps {
            Some(steps @ (Steps::Sort | Steps::ToSorted)) => sort::step(self, steps, base, v),
            Some(steps) => each::step(self, steps, base, v),
            None => Err(Throw::type_error("a native called out of turn")),
        }
    }

    fn take(&mut self, step: Step) -> Result<(), Throw> {
        let cont = Cont::new(ContKind::Step, 0);
        let at = self.stack_top();
        match step {
            Step::Call(count) => {
                let cont = Cont { a: SAME_CALL, ..cont };
                self.begin_call(at + 1, usize::from(count), false, cont)
            }
            Step::Get(getter) => {
                let this = self.frames.last().map_or(Value::UNDEFINED, |f| self.stack[f.base as usize]);
                self.call_function(getter, this, &[], cont)
            }
            Step::Number(object) => {
                let hint = self.mem.local.known.number_;
                self.call_helper(Helper::ToPrimitive, &[object, hint], cont)
            }
            Step::Pause => Ok(()),
            Step::Done(v) => match self.frames.pop() {
                Some(native) => self.finish(native.cont, v),
                None => Ok(()),
            },
            Step::Tail => {
                let Some(native) = self.frames.pop() else { return Ok(()) };
                let tail = std::mem::take(&mut self.mem.local.tail);
                let called = match &*tail {
                    [callee, this, args @ ..] => self.call_function(*callee, *this, args, native.cont),
                    _ => Ok(()),
                };
                self.mem.local.tail = tail;
                called
            }
        }
    }
}
