//! Promises and the job queue (ECMA-262 27.2), natively where no script runs.
//!
//! ```text
//!   word 3   state (0 pending, 1 fulfilled, 2 rejected) | 256 if handled | transaction << 32
//!   word 4   value or reason
//!   word 5   first reaction (REACTION cell) or undefined
//!
//!   reaction: word 1 next; word 2 kind; word 3, 4 handlers; word 5 target promise or fiber
//! ```

use crate::ctx::Ctx;
use crate::fiber::Job;
use crate::heap::kind;
use crate::known::Helper;
use crate::mem::Mem;
use crate::object::{Get, Key, Own};
use crate::overlay::touched;
use crate::throw::{ErrorKind, Throw};
use crate::value::{Ref, Value};

pub(crate) const PENDING: u64 = 0;
pub(crate) const FULFILLED: u64 = 1;
pub(crate) const REJECTED: u64 = 2;
const HANDLED: u64 = 256;

/// What a reaction does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reaction {
    /// `then`: handlers and the promise it returned.
    Then { fulfilled: Value, rejected: Value, target: Value },
    /// An `await`.
    Await { fiber: u32 },
    /// The handler's promise.
    Main,
}

impl Mem<'_> {
    /// A pending promise.
    pub(crate) fn new_promise(&mut self) -> Result<Value, Throw> {
        let r = self.new_object_of(kind::PROMISE, self.local.known.promise, 2)?;
        Ok(r.object())
    }

    /// Plain data without a `then`, as a look at its shape says; false says nothing.
    fn has_no_then(&self, r: Ref) -> bool {
        let known = &self.local.known;
        let (proto, shape) = (self.proto_of(r), self.shape(r));
        (proto == known.object || proto == known.array)
            && self.heap.touched & touched::PROMISE == 0
            && self.heap.header(r) & crate::object::flag::LAZY == 0
            && shape != crate::shape::DICTIONARY
            && self.local.shapes.find(shape, known.then).is_none()
    }

    fn is_handled(&self, p: Value) -> bool {
        self.heap.load(p.as_ref(), 3) & HANDLED != 0
    }
}

impl Ctx<'_> {
    /// Notes the running fiber's transaction on the promise that `then` made: its callbacks belong to it, too.
    pub(crate) fn join_transaction(&mut self, promise: Value) {
        let number = self.task.fibers[self.current as usize].transaction;
        if number != 0 {
            let word = self.heap.load(promise.as_ref(), 3);
            self.heap.store(promise.as_ref(), 3, word | u64::from(number) << 32);
        }
    }

    /// The transaction noted on a promise; 0: none.
    pub(crate) fn transaction_of(&self, promise: Value) -> u32 {
        u32::try_from(self.heap.load(promise.as_ref(), 3) >> 32).unwrap_or(0)
    }

    /// Settles a pending promise; later calls do nothing.
    pub(crate) fn settle(&mut self, promise: Value, value: Value, rejected: bool) -> Result<(), Throw> {
        let p = promise.as_ref();
        let word = self.heap.load(p, 3);
        if word & 255 != PENDING {
            return Ok(());
        }
        self.check_mutable(p)?;
        self.heap.store(p, 3, word & !255 | if rejected { REJECTED } else { FULFILLED });
        self.heap.set(p, 4, value);
        let mut next = self.heap.get(p, 5);
        self.heap.set(p, 5, Value::UNDEFINED);
        if rejected && word & HANDLED == 0 {
            self.task.rejected.push(promise);
        }
        if !next.is_cell() {
            return Ok(());
        }
        let last = next.as_ref();
        next = self.heap.get(last, 1);
        if !next.is_cell() {
            // Mostly there is one.
            let reaction = self.read_reaction(last);
            self.enqueue(reaction, value, rejected);
            return Ok(());
        }
        // Reactions stand newest first; jobs run oldest first.
        let mut reactions = vec![self.read_reaction(last)];
        while next.is_cell() {
            let cell = next.as_ref();
            reactions.push(self.read_reaction(cell));
            next = self.heap.get(cell, 1);
        }
        for reaction in reactions.into_iter().rev() {
            self.enqueue(reaction, value, rejected);
        }
        Ok(())
    }

    fn read_reaction(&self, cell: Ref) -> Reaction {
        match self.heap.get(cell, 2).as_int() {
            0 => Reaction::Then {
                fulfilled: self.heap.get(cell, 3),
                rejected: self.heap.get(cell, 4),
                target: self.heap.get(cell, 5),
            },
            1 => Reaction::Await { fiber: self.heap.get(cell, 5).as_int().cast_unsigned() },
            _ => Reaction::Main,
        }
    }

    fn enqueue(&mut self, reaction: Reaction, value: Value, is_rejected: bool) {
        self.heap.work += 8;
        let job = match reaction {
            Reaction::Then { fulfilled, rejected, target } => {
                let handler = if is_rejected { rejected } else { fulfilled };
                Job::React { handler, value, target, rejected: is_rejected }
            }
            Reaction::Await { fiber } => Job::Resume { fiber, value, rejected: is_rejected },
            Reaction::Main => Job::Main { value, rejected: is_rejected },
        };
        self.task.jobs.push_back(job);
    }

    /// Adds a reaction, or enqueues it at once if the promise is settled.
    pub(crate) fn react(&mut self, promise: Value, reaction: Reaction) -> Result<(), Throw> {
        let p = promise.as_ref();
        let word = self.heap.load(p, 3);
        if p.space() == self.heap.own() {
            self.heap.store(p, 3, word | HANDLED);
        }
        if word & 255 != PENDING {
            let value = self.heap.get(p, 4);
            self.enqueue(reaction, value, word & 255 == REJECTED);
            return Ok(());
        }
        if p.space() != self.heap.own() {
            // Nobody can settle it: what all requests share doesn't change.
            return Err(Throw::type_error(
                "a promise that a module left pending is shared by all requests: nothing can wait for it",
            ));
        }
        let cell = self.heap.alloc(6, u64::from(kind::REACTION))?;
        let (number, a, b, c) = match reaction {
            Reaction::Then { fulfilled, rejected, target } => (0, fulfilled, rejected, target),
            Reaction::Await { fiber } => {
                (1, Value::UNDEFINED, Value::UNDEFINED, Value::int(fiber.cast_signed()))
            }
            Reaction::Main => (2, Value::UNDEFINED, Value::UNDEFINED, Value::UNDEFINED),
        };
        let next = self.heap.get(p, 5);
        for (word, v) in [(1, next), (2, Value::int(number)), (3, a), (4, b), (5, c)] {
            self.heap.set(cell, word, v);
        }
        self.heap.set(p, 5, cell.cell());
        Ok(())
    }

    /// A promise whose `then` and `constructor` are the built-in ones.
    pub(crate) fn is_plain_promise(&mut self, v: Value) -> Result<bool, Throw> {
        if !self.is_kind(v, kind::PROMISE)
            || self.proto_of(v.as_ref()) != self.local.known.promise
            || self.heap.touched & touched::PROMISE != 0
        {
            return Ok(false);
        }
        if self.shape(v.as_ref()) == crate::shape::EMPTY {
            return Ok(true);
        }
        let known = self.local.known;
        Ok(self.get_own(v.as_ref(), Key::Atom(known.then))? == Own::None
            && self.get_own(v.as_ref(), Key::Atom(known.constructor))? == Own::None)
    }

    /// A promise that `await` waits for itself: PromiseResolve asks for its `constructor`, nothing for its `then`
    /// (ECMA-262 27.2.4.7.1). One whose `constructor` is an accessor is taken for another's.
    pub(crate) fn is_own_promise(&mut self, v: Value) -> Result<bool, Throw> {
        if self.is_plain_promise(v)? {
            return Ok(true);
        }
        if !self.is_kind(v, kind::PROMISE) {
            return Ok(false);
        }
        let key = Key::Atom(self.local.known.constructor);
        let constructor = self.get(v.as_ref(), key)?;
        Ok(matches!(constructor, Get::Value(c) if c == self.local.known.promise_constructor))
    }

    /// The resolve function's steps: `promise` follows `value`, or is fulfilled with it.
    pub(crate) fn resolve(&mut self, promise: Value, value: Value) -> Result<(), Throw> {
        if !value.is_object() {
            return self.settle(promise, value, false);
        }
        if value == promise {
            let error = self.new_error(ErrorKind::Type, "Chaining cycle detected for promise")?;
            return self.settle(promise, error, true);
        }
        if self.is_plain_promise(value)? {
            self.task.jobs.push_back(Job::Adopt { target: promise, from: value });
            return Ok(());
        }
        if self.has_no_then(value.as_ref()) {
            return self.settle(promise, value, false);
        }
        let then = Key::Atom(self.local.known.then);
        match self.get(value.as_ref(), then)? {
            Get::Value(then) if self.is_callable(then) => {
                self.task.jobs.push_back(Job::Thenable { target: promise, thenable: value, then });
                Ok(())
            }
            Get::Getter(_) => {
                let then = self.local.known.helpers[Helper::ThenByGetter as usize];
                self.task.jobs.push_back(Job::Thenable { target: promise, thenable: value, then });
                Ok(())
            }
            Get::Value(_) => self.settle(promise, value, false),
        }
    }

    /// `then` with handlers that may be undefined.
    pub(crate) fn then(
        &mut self,
        promise: Value,
        fulfilled: Value,
        rejected: Value,
        target: Value,
    ) -> Result<(), Throw> {
        let callable = |ctx: &Self, v: Value| if ctx.is_callable(v) { v } else { Value::UNDEFINED };
        let (fulfilled, rejected) = (callable(self, fulfilled), callable(self, rejected));
        self.react(promise, Reaction::Then { fulfilled, rejected, target })
    }

    /// Resolve and reject functions of a promise; whichever is called first counts.
    pub(crate) fn resolving_functions(&mut self, promise: Value) -> Result<(Value, Value), Throw> {
        let cell = self.new_variable(promise)?;
        let (resolve, reject) = crate::builtins::core::resolver_indexes();
        Ok((self.new_native(resolve, false, cell)?, self.new_native(reject, false, cell)?))
    }

    /// Makes a job of `await value` for the running fiber.
    pub(crate) fn await_value(&mut self, value: Value) -> Result<(), Throw> {
        let fiber = self.current;
        if self.is_own_promise(value)? {
            return self.react(value, Reaction::Await { fiber });
        }
        if value.is_object() {
            let promise = self.new_promise()?;
            self.resolve(promise, value)?;
            return self.react(promise, Reaction::Await { fiber });
        }
        self.task.jobs.push_back(Job::Resume { fiber, value, rejected: false });
        Ok(())
    }

    /// Logs rejections that nobody handled.
    pub(crate) fn report_rejections(&mut self) {
        for promise in std::mem::take(&mut self.task.rejected) {
            if !self.is_handled(promise) {
                let reason = self.heap.get(promise.as_ref(), 4);
                let text = self.describe_error(reason);
                self.host.log(crate::api::LogLevel::Warn, &format!("unhandled rejection: {text}"));
            }
        }
    }
}
