//! Generators and async generators (ECMA-262 27.5 and 27.6).
//!
//! `yield` only ever stands in a generator's own code, so what is put away is one frame: its registers, copied into
//! the arena. The next `next` pushes the frame again, wherever the caller's stack is by then; a host call in between
//! parks that fiber like any other call. An async generator's frame is the root of a fiber that lives from a request
//! to the next `yield`.
//!
//! ```text
//!   GENERATOR  word 3  state | pc << 32
//!              word 4  closure
//!              word 5  VALUES: the frame's registers while it is put away (`Yield` has answered `next()` there), holes while it runs; undefined once it is over
//!              word 6  async: array of requests, three values each (how, value, promise); else undefined
//!              word 7  async: index of the first request that isn't answered
//!
//!   START ----next----> RUNNING <----next---- SUSPENDED      return and throw end a START without running it
//!                        |   `-----yield---------^
//!                        v
//!                      OVER      async only: AWAITING_RETURN while a `return` of what is over waits for its value
//! ```
//!
//! Fuel: calls pay for all instructions up to their frame's end when it is entered. A frame that is put away gets back
//! what it has not run, and pays for it when it goes on.
#![expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]

use crate::api::Trap;
use crate::ctx::{Args, Ctx};
use crate::fiber::{Cont, ContKind, Frame};
use crate::heap::kind;
use crate::known::Helper;
use crate::promise::Reaction;
use crate::throw::Throw;
use crate::value::{Ref, Value};
use forebay_bytecode::module::function_flags;
use forebay_bytecode::{Function, Instr, Op};

/// States: the low byte of word 3.
pub(crate) mod state {
    pub(crate) const START: u8 = 0;
    pub(crate) const SUSPENDED: u8 = 1;
    pub(crate) const RUNNING: u8 = 2;
    pub(crate) const AWAITING_RETURN: u8 = 3;
    pub(crate) const OVER: u8 = 4;
}

/// How a generator goes on. What `Yield` writes behind the value that was sent, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    Next = 0,
    Return = 1,
    Throw = 2,
}

impl How {
    fn of(v: Value) -> Option<Self> {
        match v.as_index() {
            Some(0) => Some(Self::Next),
            Some(1) => Some(Self::Return),
            Some(2) => Some(Self::Throw),
            _ => None,
        }
    }
}

/// Words of a generator's own.
pub(crate) const WORDS: u32 = 4;

impl Ctx<'_> {
    pub(crate) fn generator_state(&self, r: Ref) -> u8 {
        self.heap.load(r, 3) as u8
    }

    fn set_generator(&mut self, r: Ref, state: u8, pc: u32) {
        self.mem.heap.store(r, 3, u64::from(state) | u64::from(pc) << 32);
    }

    fn is_async_generator(&self, r: Ref) -> bool {
        self.heap.get(r, 6).is_object()
    }

    /// The generator whose code the top frame runs, and that frame.
    fn running_generator(&self, is_async: bool) -> Result<(Ref, Frame), Throw> {
        let outside = || Throw::type_error("yield outside of a generator that runs");
        let frame = *self.frames.last().ok_or_else(outside)?;
        let r = self.generator_of(&frame).ok_or_else(outside)?;
        if self.is_async_generator(r) == is_async { Ok((r, frame)) } else { Err(outside()) }
    }

    /// The same of any script's frame.
    fn generator_of(&self, frame: &Frame) -> Option<Ref> {
        let function = self.function_at(frame)?;
        let at = frame.base as usize + function.generator_register()? as usize;
        let v = *self.stack.get(at)?;
        let r = v.as_ref();
        (self.is_kind(v, kind::GENERATOR)
            && r.space() == self.heap.own()
            && self.heap.get(r, 4) == frame.closure
            && self.generator_state(r) == state::RUNNING)
            .then_some(r)
    }

    fn function_at(&self, frame: &Frame) -> Option<&Function> {
        self.mem.local.units.get(usize::from(frame.unit))?.functions().get(frame.function as usize)
    }

    /// StartGenerator: the arguments are bound, the caller gets the generator.
    pub(crate) fn start_generator(&mut self) -> Result<(), Throw> {
        let Some(frame) = self.frames.last().copied() else { return Ok(()) };
        let Some(function) = self.function_at(&frame) else { return Ok(()) };
        let is_async = function.flags & function_flags::ASYNC != 0;
        let registers = u32::from(function.registers);
        let Some(register) = function.generator_register() else {
            return Err(Throw::type_error("not a generator"));
        };
        // Not a copy of it: that is some thousands of bytes.
        let known = &self.mem.local.known;
        let fallback = if is_async { known.async_generator } else { known.generator };
        let proto = self.mem.prototype_from(frame.closure, fallback)?;
        let r = self.mem.new_object_of(kind::GENERATOR, proto, WORDS)?;
        let window = self.mem.new_values(r.space(), registers)?;
        self.mem.heap.set(r, 4, frame.closure);
        self.mem.heap.set(r, 5, window.cell());
        if is_async {
            let requests = self.mem.new_array(0)?;
            self.mem.heap.set(r, 6, requests.object());
            self.mem.heap.set(r, 7, Value::ZERO);
        }
        self.stack[frame.base as usize + register as usize] = r.object();
        self.put_away(r, &frame, state::START);
        self.finish(frame.cont, r.object())
    }

    /// Copies the top frame's registers into the arena and drops it.
    fn put_away(&mut self, r: Ref, frame: &Frame, state: u8) {
        self.frames.pop();
        let Some(function) = self.function_at(frame) else { return };
        let (registers, left) = (usize::from(function.registers), function.code.len() as i64);
        let window = self.mem.heap.get(r, 5);
        // Made with this size and checked where it is read from a snapshot.
        if window.is_cell() {
            let base = frame.base as usize;
            let from = &self.stack[base..base + registers];
            self.mem.heap.values_mut(window.as_ref(), 1, registers).copy_from_slice(from);
        }
        self.set_generator(r, state, frame.pc);
        self.fuel += left - i64::from(frame.pc);
    }

    /// Pushes a generator's frame behind whatever the fiber's stack holds; its state before.
    fn take_up(&mut self, r: Ref, cont: Cont) -> Result<u8, Throw> {
        if self.frames.len() >= self.task.limits.stack_depth {
            return Err(Throw::range_error("Maximum call stack size exceeded"));
        }
        let word = self.heap.load(r, 3);
        let (before, pc) = (word as u8, (word >> 32) as u32);
        let closure = self.heap.get(r, 4);
        let (unit, index) = self.mem.function_of(closure.as_ref());
        let function = &self.mem.local.units[unit].functions()[index as usize];
        let (registers, cost) = (usize::from(function.registers), function.code.len() as i64);
        let base = self.stack_top() + 1;
        self.ensure_stack(base + registers + 1)?;
        let window = self.heap.get(r, 5).as_ref();
        self.stack[base..base + registers].copy_from_slice(self.mem.heap.values(window, 1, registers));
        self.mem.heap.values_mut(window, 1, registers).fill(Value::HOLE);
        self.mem.heap.work += registers as u64 / 16;
        self.stack[base - 1] = closure;
        self.frames.push(Frame {
            function: index,
            pc,
            base: base as u32,
            unit: unit as u8,
            flags: 0,
            closure,
            cont,
        });
        self.fuel -= cost - i64::from(pc);
        self.set_generator(r, state::RUNNING, 0);
        Ok(before)
    }

    /// What `Yield` of the frame on top answers; an exception is thrown there.
    fn deliver(&mut self, how: How, v: Value) -> Result<(), Throw> {
        let i = self.interrupted();
        if i.op() != Some(Op::Yield) {
            return Ok(());
        }
        if how == How::Throw && i.n() == 0 {
            return Err(Throw::Value(v));
        }
        self.set_register(i.a(), v);
        self.set_register(i.a() + 1, Value::int(how as i32));
        Ok(())
    }

    /// It is over: nothing of its frame is kept.
    fn end_generator(&mut self, r: Ref) {
        self.set_generator(r, state::OVER, 0);
        self.mem.heap.set(r, 5, Value::UNDEFINED);
    }

    /// A frame was left by an exception.
    #[cold]
    pub(crate) fn left_by_exception(&mut self, frame: &Frame) {
        if let Some(r) = self.generator_of(frame)
            && !self.is_async_generator(r)
        {
            self.end_generator(r);
        }
    }

    /// `next`, `return` and `throw` of a generator: natives ask for it ([`Throw::Resume`]).
    pub(crate) fn resume_generator(
        &mut self,
        generator: Value,
        how: How,
        v: Value,
        cont: Cont,
    ) -> Result<(), Throw> {
        self.park_nothing();
        let own = self.is_kind(generator, kind::GENERATOR) && !self.is_async_generator(generator.as_ref());
        if !own {
            let text = self.mem.show(generator)?;
            return Err(Throw::type_error(format!("{text} is not a generator")));
        }
        let r = generator.as_ref();
        self.mem.check_mutable(r)?;
        match self.generator_state(r) {
            state::RUNNING => return Err(Throw::type_error("Generator is already running")),
            state::START if how != How::Next => self.end_generator(r),
            _ => {}
        }
        if !matches!(self.generator_state(r), state::START | state::SUSPENDED) {
            return match how {
                How::Throw => Err(Throw::Value(v)),
                How::Next => self.generator_result(cont, Value::UNDEFINED, true),
                How::Return => self.generator_result(cont, v, true),
            };
        }
        match self.take_up(r, cont)? {
            state::SUSPENDED => self.deliver(how, v),
            _ => Ok(()),
        }
    }

    /// Gives `{value, done}` to whoever called `next`; a loop that called it by itself gets the parts.
    fn generator_result(&mut self, cont: Cont, v: Value, done: bool) -> Result<(), Throw> {
        let v = match cont.kind {
            ContKind::Next if done => self.mem.local.known.done_mark,
            ContKind::Next => v,
            _ => self.mem.iter_result(v, done)?,
        };
        self.finish(cont, v)
    }

    /// IteratorNext of an iterator that is neither array nor string: generators, and what walks arrays, Maps and Sets, go on
    /// without result objects.
    pub(crate) fn iterator_next(&mut self, it: Value, next: Value, cont: Cont) -> Result<(), Throw> {
        if next == self.mem.local.known.generator_next && self.is_kind(it, kind::GENERATOR) {
            return self.resume_generator(it, How::Next, Value::UNDEFINED, cont);
        }
        if let Some(v) = crate::builtins::iterators::next_in_loop(self, it, next)? {
            return self.finish(cont, v);
        }
        self.call_helper(Helper::IteratorNext, &[it, next], cont)
    }

    /// `yield`. With n = 1 it is that of `yield*`: the value is the inner iterator's result itself.
    pub(crate) fn yield_value(&mut self, i: Instr, v: Value) -> Result<(), Throw> {
        let is_async = self.frames.last().and_then(|f| self.function_at(f)).map_or(0, |f| f.flags);
        if is_async & function_flags::ASYNC != 0 {
            return self.yield_async(v);
        }
        let (r, frame) = self.running_generator(false)?;
        self.put_away(r, &frame, state::SUSPENDED);
        match (i.n(), frame.cont.kind) {
            (0, _) => self.generator_result(frame.cont, v, false),
            (_, ContKind::Next) => self.call_helper(Helper::IteratorValue, &[v], frame.cont),
            _ => self.finish(frame.cont, v),
        }
    }

    /// EndGenerator: what `return` of a generator's code answers, before it.
    pub(crate) fn generator_return(&mut self, v: Value) -> Result<Value, Throw> {
        let (r, frame) = self.running_generator(false)?;
        self.end_generator(r);
        if frame.cont.kind == ContKind::Next {
            return Ok(self.mem.local.known.done_mark);
        }
        self.mem.iter_result(v, true)
    }

    // ---- async generators

    fn requests(&self, r: Ref) -> (Ref, u32) {
        (self.heap.get(r, 6).as_ref(), self.heap.get(r, 7).as_index().unwrap_or(0))
    }

    fn push_request(&mut self, r: Ref, how: How, v: Value, promise: Value) -> Result<(), Throw> {
        let (list, first) = self.requests(r);
        if first > 0 && first == self.array_len(list) {
            self.mem.set_array_length(list, Value::ZERO)?;
            self.mem.heap.set(r, 7, Value::ZERO);
        }
        for v in [Value::int(how as i32), v, promise] {
            self.mem.array_push(list, v)?;
        }
        Ok(())
    }

    /// The request that is answered next.
    fn request(&self, r: Ref) -> Option<(How, Value, Value)> {
        let (list, first) = self.requests(r);
        let at = |i: u32| self.dense_element(list, first.checked_add(i)?);
        let promise = at(2)?;
        let fine = self.is_kind(promise, kind::PROMISE) && promise.as_ref().space() == self.heap.own();
        Some((How::of(at(0)?)?, at(1)?, promise)).filter(|_| fine)
    }

    fn drop_request(&mut self, r: Ref) {
        let (list, first) = self.requests(r);
        let cell = self.mem.elements(list);
        for at in first..first + 3 {
            // Nothing keeps what was answered alive.
            if self.dense_element(list, at).is_some() {
                self.mem.heap.set(cell, 1 + at, Value::UNDEFINED);
            }
        }
        self.mem.heap.set(r, 7, Value::from_u32(first + 3));
    }

    /// AsyncGeneratorCompleteStep: answers the first request.
    fn answer(&mut self, r: Ref, result: Result<Value, Value>, done: bool) -> Result<(), Throw> {
        let Some((_, _, promise)) = self.request(r) else { return Ok(()) };
        self.drop_request(r);
        match result {
            Ok(v) => {
                let result = self.mem.iter_result(v, done)?;
                self.resolve(promise, result)
            }
            Err(reason) => self.settle(promise, reason, true),
        }
    }

    /// `next`, `return` and `throw` of an async generator: a promise at once, and the request in its queue.
    pub(crate) fn request_async(
        &mut self,
        generator: Value,
        how: How,
        v: Value,
        cont: Cont,
    ) -> Result<(), Throw> {
        let promise = self.mem.new_promise()?;
        self.join_transaction(promise);
        let r = generator.as_ref();
        let refusal = if !self.is_kind(generator, kind::GENERATOR) || !self.is_async_generator(r) {
            let text = self.mem.show(generator)?;
            Some(Throw::type_error(format!("{text} is not an async generator")))
        } else {
            self.mem.check_mutable(r).err()
        };
        if let Some(throw) = refusal {
            let reason = self.throw_value(throw)?;
            self.settle(promise, reason, true)?;
            return self.finish(cont, promise);
        }
        if self.generator_state(r) == state::START && how == How::Throw {
            self.end_generator(r);
        }
        match (self.generator_state(r), how) {
            (state::OVER, How::Next) => {
                let result = self.mem.iter_result(Value::UNDEFINED, true)?;
                self.resolve(promise, result)?;
            }
            (state::OVER, How::Throw) => self.settle(promise, v, true)?,
            (state::OVER | state::START, How::Return) => {
                self.push_request(r, how, v, promise)?;
                self.end_generator(r);
                self.await_return(r, v)?;
            }
            (state::START | state::SUSPENDED, _) => {
                self.push_request(r, how, v, promise)?;
                return self.resume_async(r, how, v, (promise, cont));
            }
            _ => self.push_request(r, how, v, promise)?,
        }
        self.finish(cont, promise)
    }

    /// Goes on with an async generator on a fiber of its own, until it waits, yields or ends.
    fn resume_async(
        &mut self,
        r: Ref,
        how: How,
        v: Value,
        (promise, cont): (Value, Cont),
    ) -> Result<(), Throw> {
        let parent = self.current;
        let child = self.open_fiber()?;
        let transaction = self.task.fibers[parent as usize].transaction;
        self.switch_to(child);
        let fiber = &mut self.task.fibers[child as usize];
        fiber.promise = promise;
        fiber.parent = Some((parent, cont));
        fiber.transaction = transaction;
        fiber.generator = r.object();
        match self.take_up(r, Cont::ROOT)? {
            state::SUSPENDED => self.deliver(how, v),
            _ => Ok(()),
        }
    }

    fn yield_async(&mut self, v: Value) -> Result<(), Throw> {
        let (r, frame) = self.running_generator(true)?;
        let of_fiber = self.task.fibers[self.current as usize].generator;
        if of_fiber != r.object() || self.frames.len() != 1 {
            return Err(Throw::type_error("yield outside of a generator that runs"));
        }
        self.answer(r, Ok(v), false)?;
        if let Some((how, v, _)) = self.request(r) {
            return self.deliver(how, v);
        }
        self.put_away(r, &frame, state::SUSPENDED);
        let current = self.current;
        self.store_fiber();
        let fiber = &mut self.task.fibers[current as usize];
        let (promise, parent) = (fiber.promise, fiber.parent.take());
        let bytes = fiber.stack.len() * 8;
        self.mem.heap.release_outside(bytes);
        self.task.retire_fiber(current as usize);
        if let Some((parent, cont)) = parent {
            self.load_fiber(parent);
            return self.finish(cont, promise);
        }
        Ok(())
    }

    /// The code of an async generator has ended.
    pub(crate) fn async_generator_done(
        &mut self,
        generator: Value,
        result: Result<Value, Value>,
    ) -> Result<(), Throw> {
        let r = generator.as_ref();
        self.end_generator(r);
        self.answer(r, result, true)?;
        self.drain(r)
    }

    /// AsyncGeneratorDrainQueue: what was asked of a generator that is over.
    fn drain(&mut self, r: Ref) -> Result<(), Throw> {
        while let Some((how, v, _)) = self.request(r) {
            match how {
                How::Return => return self.await_return(r, v),
                How::Next => self.answer(r, Ok(Value::UNDEFINED), true)?,
                How::Throw => self.answer(r, Err(v), true)?,
            }
        }
        Ok(())
    }

    /// AsyncGeneratorAwaitReturn: `return(value)` of a generator that is over waits for the value.
    fn await_return(&mut self, r: Ref, v: Value) -> Result<(), Throw> {
        self.set_generator(r, state::AWAITING_RETURN, 0);
        let promise = if self.is_own_promise(v)? {
            v
        } else {
            let promise = self.mem.new_promise()?;
            self.resolve(promise, v)?;
            promise
        };
        let [fulfilled, rejected] = crate::builtins::iterators::return_indexes();
        let fulfilled = self.mem.new_native(fulfilled, false, r.object())?;
        let rejected = self.mem.new_native(rejected, false, r.object())?;
        self.react(promise, Reaction::Then { fulfilled, rejected, target: Value::EMPTY })
    }

    /// The value that [`Ctx::await_return`] has waited for is there.
    pub(crate) fn returned(&mut self, a: Args, rejected: bool) -> Result<Value, Throw> {
        let (generator, v) = (self.own_value(), self.arg(a, 0));
        if !self.is_kind(generator, kind::GENERATOR) || !self.is_async_generator(generator.as_ref()) {
            return Ok(Value::UNDEFINED);
        }
        let r = generator.as_ref();
        if self.generator_state(r) == state::AWAITING_RETURN {
            self.set_generator(r, state::OVER, 0);
            self.answer(r, if rejected { Err(v) } else { Ok(v) }, true)?;
            self.drain(r)?;
        }
        Ok(Value::UNDEFINED)
    }

    /// A fiber for a call, its stack charged; a trap if there are too many.
    pub(crate) fn open_fiber(&mut self) -> Result<u32, Throw> {
        // Counted only where there may be too many.
        let most = self.task.limits.fibers;
        if self.task.fibers.len() >= most && self.task.live_fibers() >= most {
            return Err(Throw::Trap(Trap::Fibers));
        }
        let id = self.task.new_fiber();
        let bytes = self.task.fibers[id as usize].stack.len() * 8;
        self.mem.heap.charge_outside(bytes)?;
        Ok(id)
    }
}
