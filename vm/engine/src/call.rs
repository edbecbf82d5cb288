//! Calls, returns, exceptions, and switches between fibers.
//!
//! A call pushes a frame record with a continuation; its result comes back through
//! [`Ctx::finish`]. Natives run at once; one that needs a primitive, or another call in its
//! place, says so ([`Throw`]) and the frame machinery does it. So the Rust
//! stack is as deep at the bottom of a thousand script calls as at the top.

use crate::api::{EffectId, Trap};
use crate::ctx::{Args, Ctx};
use crate::fiber::{CONSTRUCTING, Cont, ContKind, Frame, Job, NATIVE_FRAME, Pending, Wait, YIELDED};
use crate::heap::kind;
use crate::interp::Exit;
use crate::known::Helper;
use crate::object::{Key, flag};
use crate::promise::Reaction;
use crate::throw::{ErrorKind, Hint, Throw};
use crate::value::Value;
use forebay_bytecode::module::function_flags;
use forebay_bytecode::{HostFn, Op};

/// Values that a native's window has room for beyond its arguments.
const SLACK: usize = 16;
/// Work that natives may leave for the next loop to settle.
pub(crate) const WORK_UNSETTLED_MAX: u64 = 1024;
/// Fuel of a native call besides what it charges itself.
pub(crate) const NATIVE_FUEL: i64 = 4;

#[expect(
    clippy::cast_possible_truncation,
    reason = "stack indexes are far below 2^32: the arena cap bounds them"
)]
impl Ctx<'_> {
    /// Makes the stack at least `len` values long, of which frames that run may have all.
    #[inline]
    pub(crate) fn ensure_stack(&mut self, len: usize) -> Result<(), Throw> {
        if len > self.stack_limit { self.extend_stack(len) } else { Ok(()) }
    }

    #[cold]
    #[inline(never)]
    fn extend_stack(&mut self, len: usize) -> Result<(), Throw> {
        self.make_room(len);
        let old = self.stack.len();
        if len > old {
            let target = len.max(old * 2);
            self.mem.heap.charge_outside((target - old) * 8)?;
            self.stack.resize(target, Value::UNDEFINED);
        }
        if self.parked.is_empty() {
            self.stack_limit = self.stack.len();
        }
        Ok(())
    }

    /// First stack index that the top frame doesn't use.
    pub(crate) fn stack_top(&self) -> usize {
        match self.frames.last() {
            None => 0,
            Some(f) if f.unit == NATIVE_FRAME => f.base as usize + 1 + f.function as usize,
            Some(f) => {
                let function = &self.mem.local.hot[usize::from(f.unit)][f.function as usize];
                f.base as usize + usize::from(function.registers)
            }
        }
    }

    /// Calls a function with these arguments above the top frame.
    pub(crate) fn call_function(
        &mut self,
        callee: Value,
        this: Value,
        args: &[Value],
        cont: Cont,
    ) -> Result<(), Throw> {
        let at = self.stack_top();
        self.ensure_stack(at + 2 + args.len() + SLACK)?;
        self.stack[at] = callee;
        self.stack[at + 1] = this;
        self.stack[at + 2..at + 2 + args.len()].copy_from_slice(args);
        if self.enter_simple(callee, at + 1, args.len(), cont)? {
            return Ok(());
        }
        self.begin_call(at + 1, args.len(), false, cont)
    }

    /// Calls a function, its window at `abase`, where that is nothing but a frame; false: it is more than that.
    fn enter_simple(&mut self, callee: Value, abase: usize, argc: usize, cont: Cont) -> Result<bool, Throw> {
        if !self.mem.is_kind(callee, kind::CLOSURE) {
            return Ok(false);
        }
        let (unit, index) = self.mem.function_of(callee.as_ref());
        let hot = &self.mem.local.hot[unit][index as usize];
        let (registers, parameters, cost) =
            (usize::from(hot.registers), usize::from(hot.parameters), hot.cost);
        if !hot.simple || self.frames.len() >= self.task.limits.stack_depth {
            return Ok(false);
        }
        self.ensure_stack(abase + registers.max(1 + argc))?;
        let passed = argc.min(parameters);
        self.stack[abase + 1 + passed..abase + registers].fill(Value::UNDEFINED);
        self.fuel -= cost;
        let (unit, base) = (unit as u8, abase as u32);
        self.frames.push(Frame { function: index, pc: 0, base, unit, flags: 0, closure: callee, cont });
        Ok(true)
    }

    /// Calls a self-hosted helper.
    pub(crate) fn call_helper(&mut self, helper: Helper, args: &[Value], cont: Cont) -> Result<(), Throw> {
        let callee = self.mem.local.known.helpers[helper as usize];
        self.call_function(callee, Value::UNDEFINED, args, cont)
    }

    /// Calls with the elements of an array as arguments; of a construction, `this` is `new.target`.
    pub(crate) fn call_list(
        &mut self,
        callee: Value,
        this: Value,
        list: Value,
        construct: bool,
        cont: Cont,
    ) -> Result<(), Throw> {
        if !self.is_kind(list, kind::ARRAY) {
            return Err(Throw::type_error("arguments are not a list"));
        }
        let len = self.array_len(list.as_ref());
        if len > ARGUMENTS_MAX {
            return Err(Throw::range_error("too many arguments"));
        }
        let at = self.stack_top();
        self.ensure_stack(at + 2 + len as usize + SLACK)?;
        self.stack[at] = callee;
        self.stack[at + 1] = this;
        for index in 0..len {
            self.stack[at + 2 + index as usize] =
                self.mem.dense_element(list.as_ref(), index).unwrap_or_default();
        }
        self.mem.heap.work += u64::from(len);
        self.begin_call(at + 1, len as usize, construct, cont)
    }

    /// Calls what stands at `abase - 1` with `this` at `abase` and `argc` arguments behind it. A construction
    /// has `new.target` where a call has `this`; so it is in the window of a native that waits, too.
    pub(crate) fn begin_call(
        &mut self,
        abase: usize,
        argc: usize,
        construct: bool,
        cont: Cont,
    ) -> Result<(), Throw> {
        self.go_on_calling(abase, argc, construct, cont, None)
    }

    /// The same; `thrown` is what the native at `abase - 1` has already answered.
    pub(crate) fn go_on_calling(
        &mut self,
        abase: usize,
        mut argc: usize,
        mut construct: bool,
        cont: Cont,
        mut thrown: Option<Throw>,
    ) -> Result<(), Throw> {
        loop {
            let callee = self.stack[abase - 1];
            let Some(kind) = self.mem.kind_of(callee) else {
                let this = if construct { Value::UNDEFINED } else { self.stack[abase] };
                return Err(self.not_callable(callee, construct, this));
            };
            if construct
                && (self.mem.heap.header(callee.as_ref()) & flag::CONSTRUCTOR == 0
                    || !self.mem.is_constructor(self.stack[abase]))
            {
                return Err(self.not_callable(callee, true, Value::UNDEFINED));
            }
            match kind {
                kind::CLOSURE if construct => return self.construct(callee, abase, argc, cont),
                kind::CLOSURE => return self.call_closure(callee, abase, argc, cont),
                kind::NATIVE => {
                    let args = Args { base: abase, count: argc, construct };
                    let answer = match thrown.take() {
                        Some(throw) => Err(throw),
                        None => self.call_native(callee, args),
                    };
                    match answer {
                        Ok(v) => {
                            // Recursion without loops looks at fuel alone.
                            if self.mem.heap.work > WORK_UNSETTLED_MAX {
                                self.slice_over();
                            }
                            return self.finish(cont, v);
                        }
                        Err(Throw::Again) => return self.suspend_native(callee, args, cont),
                        Err(Throw::Steps(steps)) => return self.begin_steps(steps, callee, args, cont),
                        Err(Throw::Resume { how, asynchronous }) => {
                            let (generator, v) = (self.this(args), self.arg(args, 0));
                            return if asynchronous {
                                self.request_async(generator, how, v, cont)
                            } else {
                                self.resume_generator(generator, how, v, cont)
                            };
                        }
                        Err(Throw::TailCall) => {
                            argc = self.take_tail(abase)?;
                            construct = false;
                            self.fuel -= NATIVE_FUEL;
                        }
                        Err(Throw::Effect(function)) => {
                            if self.mem.local.loading {
                                return Err(Throw::type_error(
                                    "host calls are not possible while the module loads",
                                ));
                            }
                            let args = std::mem::take(&mut self.mem.local.tail);
                            let cont = if function == HostFn::HttpRequest && cont.kind == ContKind::Plain {
                                Cont::new(ContKind::Http, cont.dst)
                            } else {
                                cont
                            };
                            let parked = self.park_on_effect(function, &args, cont);
                            self.mem.local.tail = args;
                            return parked;
                        }
                        Err(Throw::Coerce(which, hint)) => {
                            return self.coerce_argument(callee, args, cont, which, hint);
                        }
                        Err(throw) => return Err(throw),
                    }
                }
                kind::BOUND => argc = self.unbind(callee, abase, argc, construct)?,
                _ => return Err(self.not_callable(callee, construct, Value::UNDEFINED)),
            }
        }
    }

    /// Calls a native: its value, or what it asks for instead.
    #[inline]
    pub(crate) fn call_native(&mut self, callee: Value, args: Args) -> Result<Value, Throw> {
        self.ensure_stack(args.base + 1 + args.count + SLACK)?;
        self.callee = callee;
        self.fuel -= NATIVE_FUEL;
        let index = self.mem.heap.load(callee.as_ref(), 3) as usize;
        (crate::builtins::natives()[index].call)(self, args)
    }

    /// Keeps a native that gave way at the end of the slice as the top frame: `exec_frames` goes on with it. What it
    /// has left stands behind its arguments.
    fn suspend_native(&mut self, callee: Value, args: Args, cont: Cont) -> Result<(), Throw> {
        if self.frames.len() >= self.task.limits.stack_depth {
            self.task.search = None;
            self.resumed = Value::EMPTY;
            return Err(Throw::range_error("Maximum call stack size exceeded"));
        }
        let construct = if args.construct { CONSTRUCTING } else { 0 };
        let state = std::mem::replace(&mut self.resumed, Value::EMPTY);
        let (count, flags) = if state.is_empty() {
            (args.count, construct)
        } else {
            let at = args.base + 1 + args.count;
            self.ensure_stack(at + 1)?;
            self.stack[at] = state;
            (args.count + 1, construct | YIELDED)
        };
        self.frames.push(Frame {
            function: count as u32,
            pc: 0,
            base: args.base as u32,
            unit: NATIVE_FRAME,
            flags,
            closure: callee,
            cont,
        });
        Ok(())
    }

    /// Calls the native whose frame is on top again.
    pub(crate) fn go_on(&mut self) -> Result<(), Throw> {
        if self.frames.last().is_some_and(Frame::is_stepping) {
            return self.go_on_with_steps();
        }
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let base = frame.base as usize;
        let mut count = frame.function as usize;
        if frame.is_yielded() {
            self.resumed = std::mem::take(&mut self.stack[base + count]);
            count -= 1;
        }
        self.stack[base - 1] = frame.closure;
        self.begin_call(base, count, frame.flags & CONSTRUCTING != 0, frame.cont)
    }

    /// Puts callee, this and arguments of a tail call into the window.
    fn take_tail(&mut self, abase: usize) -> Result<usize, Throw> {
        let tail = std::mem::take(&mut self.mem.local.tail);
        self.ensure_stack(abase + tail.len() + SLACK)?;
        self.stack[abase - 1..abase - 1 + tail.len()].copy_from_slice(&tail);
        let argc = tail.len().saturating_sub(2);
        self.mem.local.tail = tail;
        Ok(argc)
    }

    /// Replaces a bound function by its target and puts its arguments first.
    fn unbind(&mut self, callee: Value, abase: usize, argc: usize, construct: bool) -> Result<usize, Throw> {
        let r = callee.as_ref();
        let bound = self.mem.heap.load(r, 3) as usize;
        self.ensure_stack(abase + 1 + argc + bound + SLACK)?;
        self.stack.copy_within(abase + 1..abase + 1 + argc, abase + 1 + bound);
        let target = self.mem.heap.get(r, 4);
        self.stack[abase - 1] = target;
        if !construct {
            self.stack[abase] = self.mem.heap.get(r, 5);
        } else if self.stack[abase] == callee {
            self.stack[abase] = target;
        }
        for at in 0..bound {
            self.stack[abase + 1 + at] = self.mem.heap.get(r, 6 + at as u32);
        }
        Ok(argc + bound)
    }

    /// `new closure(...)`, or `super(...)` that reaches it; `new.target` stands at `abase`.
    fn construct(&mut self, callee: Value, abase: usize, argc: usize, mut cont: Cont) -> Result<(), Throw> {
        let target = self.stack[abase];
        let (unit, index) = self.mem.function_of(callee.as_ref());
        let function = &self.mem.local.units[unit].functions()[index as usize];
        if function.flags & function_flags::CLASS != 0 {
            // Its own code makes `this`, or gets it from super().
            self.stack[abase] = Value::EMPTY;
        } else {
            let proto = self.mem.prototype_from(target, self.mem.local.known.object)?;
            let this = self.mem.new_plain(proto, 4)?.object();
            self.stack[abase] = this;
            // A `new` has a register as destination, or is the fiber's first call.
            if cont.kind == ContKind::Plain {
                cont = Cont::with(ContKind::Construct, cont.dst, 0, this);
            }
        }
        self.push_frame(callee, abase, argc, target, cont)
    }

    /// `new callee(...)`, or `super(...)` that reaches it, where that needs nothing but a frame; false: it is more than
    /// that. `new.target` stands at `abase` already.
    pub(crate) fn new_class(
        &mut self,
        callee: Value,
        abase: usize,
        argc: usize,
        dst: u16,
    ) -> Result<bool, Throw> {
        if !self.mem.is_kind(callee, kind::CLOSURE) {
            return Ok(false);
        }
        let (unit, index) = self.mem.function_of(callee.as_ref());
        let hot = &self.mem.local.hot[unit][index as usize];
        let (registers, parameters) = (usize::from(hot.registers), usize::from(hot.parameters));
        let (new_target, cost) = (usize::from(hot.new_target), hot.cost);
        let target = self.stack[abase];
        if new_target == 0
            || !self.mem.is_constructor(target)
            || self.frames.len() >= self.task.limits.stack_depth
        {
            return Ok(false);
        }
        self.ensure_stack(abase + registers.max(1 + argc))?;
        let passed = argc.min(parameters);
        let window = &mut self.stack[abase..abase + registers];
        window[0] = Value::EMPTY;
        window[1 + passed..].fill(Value::UNDEFINED);
        window[new_target] = target;
        self.fuel -= cost;
        self.frames.push(Frame {
            function: index,
            pc: 0,
            base: abase as u32,
            unit: unit as u8,
            flags: 0,
            closure: callee,
            cont: Cont::plain(dst),
        });
        Ok(true)
    }

    fn call_closure(&mut self, callee: Value, abase: usize, argc: usize, cont: Cont) -> Result<(), Throw> {
        let (unit, index) = self.mem.function_of(callee.as_ref());
        let function = &self.mem.local.units[unit].functions()[index as usize];
        if function.flags & (function_flags::ASYNC | function_flags::GENERATOR) == function_flags::ASYNC {
            return self.call_async(callee, abase, argc, cont);
        }
        if function.flags & function_flags::CLASS != 0 {
            return Err(self.class_without_new(unit, index));
        }
        self.push_frame(callee, abase, argc, Value::UNDEFINED, cont)
    }

    #[cold]
    fn class_without_new(&mut self, unit: usize, index: u32) -> Throw {
        let unit = &self.mem.local.units[unit];
        let name = unit.constants[unit.functions()[index as usize].name as usize];
        let name = self.mem.heap.to_text(name).unwrap_or_default();
        let space = if name.is_empty() { "" } else { " " };
        Throw::type_error(format!("Class constructor{space}{name} cannot be invoked without 'new'"))
    }

    fn push_frame(
        &mut self,
        callee: Value,
        abase: usize,
        argc: usize,
        target: Value,
        cont: Cont,
    ) -> Result<(), Throw> {
        if self.frames.len() >= self.task.limits.stack_depth {
            return Err(Throw::range_error("Maximum call stack size exceeded"));
        }
        let (unit, index) = self.mem.function_of(callee.as_ref());
        let function = &self.mem.local.units[unit].functions()[index as usize];
        let (registers, parameters) = (usize::from(function.registers), usize::from(function.parameters));
        let (rest, cost) = (function.rest, function.code.len() as i64);
        let new_target = function.new_target_register();
        let arguments = function.arguments_register();
        self.ensure_stack(abase + registers.max(1 + argc))?;
        let arguments = match arguments {
            None => None,
            Some(register) => {
                let object = self.mem.new_arguments(&self.stack[abase + 1..abase + 1 + argc])?;
                Some((register as usize, object))
            }
        };
        let surplus = match rest {
            None => None,
            Some(_) => {
                let from = abase + 1 + parameters;
                let extra = self.stack[from.min(abase + 1 + argc)..abase + 1 + argc].to_vec();
                self.mem.heap.work += extra.len() as u64;
                Some(self.mem.new_array_of(&extra)?)
            }
        };
        let passed = argc.min(parameters);
        self.stack[abase + 1 + passed..abase + registers].fill(Value::UNDEFINED);
        if let (Some(register), Some(list)) = (rest, surplus) {
            self.stack[abase + usize::from(register)] = list.object();
        }
        if let Some(register) = new_target {
            self.stack[abase + register as usize] = target;
        }
        if let Some((register, object)) = arguments {
            self.stack[abase + register] = object;
        }
        self.fuel -= cost;
        self.frames.push(Frame {
            function: index,
            pc: 0,
            base: abase as u32,
            unit: unit as u8,
            flags: 0,
            closure: callee,
            cont,
        });
        Ok(())
    }

    /// Runs an async function on a fiber of its own until it waits.
    fn call_async(&mut self, callee: Value, abase: usize, argc: usize, cont: Cont) -> Result<(), Throw> {
        let child = self.open_fiber()?;
        let promise = self.mem.new_promise()?;
        let parent = self.current;
        // Called by the task itself, or by the guard of a durable one.
        let guard = self.mem.local.known.helpers[Helper::Durable as usize];
        let guarded = self.frames.len() == 1 && self.frames.iter().all(|frame| frame.closure == guard);
        let handler = self.task.fibers[parent as usize].main && (cont.kind == ContKind::Root || guarded);
        let transaction = self.task.fibers[parent as usize].transaction;
        self.switch_to(child);
        {
            let fiber = &mut self.task.fibers[child as usize];
            fiber.promise = promise;
            fiber.parent = Some((parent, cont));
            fiber.handler = handler;
            fiber.transaction = transaction;
        }
        self.ensure_stack(argc + 2 + SLACK)?;
        let window = &self.task.fibers[parent as usize].stack[abase - 1..=abase + argc];
        self.stack[..argc + 2].copy_from_slice(window);
        match self.push_frame(callee, 1, argc, Value::UNDEFINED, Cont::ROOT) {
            Ok(()) => Ok(()),
            Err(Throw::Trap(t)) => Err(Throw::Trap(t)),
            Err(throw) => {
                let reason = self.throw_value(throw)?;
                self.fiber_done(Err(reason))
            }
        }
    }

    /// Stores the running fiber and loads another.
    pub(crate) fn switch_to(&mut self, to: u32) {
        self.park_nothing();
        let from = &mut self.task.fibers[self.current as usize];
        if from.wait != Wait::Free {
            from.stack = std::mem::take(&mut self.stack);
            from.frames = std::mem::take(&mut self.frames);
        }
        self.load_fiber(to);
    }

    #[inline]
    pub(crate) fn load_fiber(&mut self, to: u32) {
        let fiber = &mut self.task.fibers[to as usize];
        // Nothing runs: there is no stack here.
        debug_assert!(self.stack.is_empty() && self.frames.is_empty());
        std::mem::swap(&mut self.stack, &mut fiber.stack);
        std::mem::swap(&mut self.frames, &mut fiber.frames);
        self.stack_limit = self.stack.len();
        fiber.wait = Wait::Running;
        self.current = to;
    }

    /// Puts the running fiber's stack back; nothing runs then.
    #[inline]
    pub(crate) fn store_fiber(&mut self) {
        self.park_nothing();
        self.stack_limit = 0;
        let fiber = &mut self.task.fibers[self.current as usize];
        if fiber.wait != Wait::Free {
            // It has left none while it ran.
            std::mem::swap(&mut fiber.stack, &mut self.stack);
            std::mem::swap(&mut fiber.frames, &mut self.frames);
            debug_assert!(self.stack.is_empty() && self.frames.is_empty());
        }
    }

    /// The running fiber waits for `wait`; `cont` takes what it gets. If it is a call
    /// that hasn't returned its promise yet, its caller goes on with that.
    pub(crate) fn park(&mut self, wait: Wait, cont: Cont) -> Result<(), Throw> {
        let fiber = &mut self.task.fibers[self.current as usize];
        fiber.cont = cont;
        let (parent, promise) = (fiber.parent.take(), fiber.promise);
        self.store_fiber();
        self.task.fibers[self.current as usize].wait = wait;
        if let Some((parent, cont)) = parent {
            self.load_fiber(parent);
            return self.finish(cont, promise);
        }
        Ok(())
    }

    /// `await`.
    pub(crate) fn park_on_promise(&mut self, v: Value, cont: Cont) -> Result<(), Throw> {
        self.await_value(v)?;
        self.park(Wait::Promise, cont)
    }

    /// A host function that the worker carries out.
    pub(crate) fn park_on_effect(
        &mut self,
        function: HostFn,
        args: &[Value],
        cont: Cont,
    ) -> Result<(), Throw> {
        if self.task.pending.len() >= self.task.limits.effects {
            return Err(Throw::Trap(Trap::Effects));
        }
        let arguments = self.mem.new_flat_list(args)?;
        let id = EffectId(self.task.effects_made);
        self.task.effects_made = self.task.effects_made.wrapping_add(1);
        self.task.pending.push(Pending {
            id,
            function,
            fiber: self.current,
            transaction: self.task.fibers[self.current as usize].transaction,
            arguments,
            taken: false,
            result: None,
        });
        self.park(Wait::Effect(id), cont)
    }

    /// The running fiber has ended.
    pub(crate) fn fiber_done(&mut self, result: Result<Value, Value>) -> Result<(), Throw> {
        let current = self.current;
        self.store_fiber();
        let fiber = &mut self.task.fibers[current as usize];
        if fiber.main {
            self.task.retire_fiber(current as usize);
            return self.main_done(result);
        }
        let (promise, parent) = (fiber.promise, fiber.parent.take());
        let (reject_only, generator) = (fiber.reject_only, fiber.generator);
        // What its call has charged; the stack is the next fiber's.
        let bytes = fiber.stack.len() * 8;
        self.mem.heap.release_outside(bytes);
        self.task.retire_fiber(current as usize);
        if !generator.is_empty() {
            self.async_generator_done(generator, result)?;
        } else if !promise.is_empty() {
            match result {
                Ok(v) if !reject_only => self.resolve(promise, v)?,
                Ok(_) => {}
                Err(reason) => self.settle(promise, reason, true)?,
            }
        }
        if let Some((parent, cont)) = parent {
            self.load_fiber(parent);
            return self.finish(cont, promise);
        }
        Ok(())
    }

    /// The task's first fiber returns from its last frame a value that is the task's; `is_literal`: written in the
    /// `return` itself. False, and nothing has happened, if it is anything else.
    #[inline]
    pub(crate) fn ends_with(&mut self, v: Value, is_literal: bool) -> bool {
        let Some(fiber) = self.task.fibers.first_mut().filter(|f| f.main && self.current == 0) else {
            return false;
        };
        if matches!(self.mem.kind_of(v), Some(kind::PROMISE | kind::QUERY)) {
            return false;
        }
        if is_literal && v.is_object() && v.as_ref().space() == self.mem.heap.own() {
            self.mem.set_flag(v.as_ref(), flag::RETURNED);
        }
        self.frames.clear();
        std::mem::swap(&mut fiber.stack, &mut self.stack);
        std::mem::swap(&mut fiber.frames, &mut self.frames);
        self.task.retire_fiber(0);
        self.task.outcome = Some(Ok(v));
        true
    }

    fn main_done(&mut self, result: Result<Value, Value>) -> Result<(), Throw> {
        match result {
            Ok(v) if self.is_kind(v, kind::PROMISE) => self.react(v, Reaction::Main),
            // A query that nobody carried out is carried out when it is returned.
            Ok(v) if self.is_kind(v, kind::QUERY) => self.return_query(v),
            other => {
                self.task.outcome = Some(other);
                Ok(())
            }
        }
    }

    fn return_query(&mut self, query: Value) -> Result<(), Throw> {
        let fiber = self.task.new_fiber();
        self.task.fibers[fiber as usize].main = true;
        self.load_fiber(fiber);
        self.run_query_with(query, Cont::ROOT)
    }

    /// Gives the result of a call to whoever waits for it.
    pub(crate) fn finish(&mut self, cont: Cont, v: Value) -> Result<(), Throw> {
        match cont.kind {
            ContKind::Plain => self.set_register(cont.dst, v),
            ContKind::Discard => {}
            ContKind::Construct => {
                let v = if v.is_object() { v } else { cont.saved };
                self.set_register(cont.dst, v);
            }
            ContKind::Truth => {
                let v = Value::bool(self.mem.truthy(v));
                self.set_register(cont.dst, v);
            }
            ContKind::Root => return self.fiber_done(Ok(v)),
            ContKind::Left => {
                let i = self.interrupted();
                return self.binary(i, v, cont.saved);
            }
            ContKind::Right => {
                let i = self.interrupted();
                return self.binary(i, cont.saved, v);
            }
            ContKind::Unary => {
                let i = self.interrupted();
                return self.unary(i, v);
            }
            ContKind::Key => return self.finish_key(v),
            ContKind::Concat => {
                let i = self.interrupted();
                let s = self.mem.to_string(v)?;
                let text = self.mem.heap.concat(cont.saved, s)?;
                return self.concat_from(i, cont.a + 1, text);
            }
            ContKind::NativeArgument => return self.retry_native(cont, v),
            ContKind::Step => self.keep_for_step(v),
            ContKind::Iterator => return self.got_iterator(cont.dst, v),
            ContKind::Next => {
                // `dst` is the triple's value; the iterator was taken out while `next` ran.
                if v == self.mem.local.known.done_mark {
                    self.set_register(cont.dst, Value::UNDEFINED);
                    if let Some(top) = self.frames.last_mut() {
                        top.pc = top.pc.wrapping_add(cont.a);
                    }
                } else {
                    self.set_register(cont.dst - 2, cont.saved);
                    self.set_register(cont.dst, v);
                }
            }
            ContKind::Iterate => {
                return self.call_helper(Helper::KvIterate, &[v, cont.saved], Cont::plain(cont.dst));
            }
            ContKind::Await => return self.park_on_promise(v, Cont::plain(cont.dst)),
            ContKind::Http => {
                let v = self.http_result(v)?;
                self.set_register(cont.dst, v);
            }
        }
        Ok(())
    }

    /// Writes a register of the top frame.
    pub(crate) fn set_register(&mut self, register: u16, v: Value) {
        if let Some(top) = self.frames.last() {
            let at = top.base as usize + usize::from(register);
            self.stack[at] = v;
        }
    }

    pub(crate) fn register(&self, register: u16) -> Value {
        self.frames.last().map_or(Value::UNDEFINED, |f| self.stack[f.base as usize + usize::from(register)])
    }

    /// The instruction of the top frame that made the call which has just ended.
    pub(crate) fn interrupted(&self) -> forebay_bytecode::Instr {
        self.frames
            .last()
            .and_then(|f| {
                let unit = self.mem.local.units.get(usize::from(f.unit))?;
                let function = unit.functions().get(f.function as usize)?;
                function.code.get((f.pc as usize).wrapping_sub(1)).copied()
            })
            .unwrap_or_default()
    }

    /// Starts to make argument `which` of a native primitive.
    fn coerce_argument(
        &mut self,
        callee: Value,
        args: Args,
        cont: Cont,
        which: u32,
        hint: Hint,
    ) -> Result<(), Throw> {
        if self.frames.len() >= self.task.limits.stack_depth {
            return Err(Throw::range_error("Maximum call stack size exceeded"));
        }
        let v = self.stack[args.base + which as usize];
        if which as usize > args.count || !v.is_object() {
            return Err(Throw::type_error("Cannot convert object to primitive value"));
        }
        self.frames.push(Frame {
            function: args.count as u32,
            pc: 0,
            base: args.base as u32,
            unit: NATIVE_FRAME,
            flags: if args.construct { CONSTRUCTING } else { 0 },
            closure: callee,
            cont,
        });
        let wanted = hint;
        let hint = self.hint_value(hint);
        // Undefined would read as an argument that wasn't passed: what it becomes stands in for it.
        let undefined = match wanted {
            Hint::Default => Value::UNDEFINED,
            Hint::Number => Value::NAN,
            Hint::String => self.mem.local.known.undefined_,
        };
        let cont = Cont::with(ContKind::NativeArgument, 0, which, undefined);
        self.call_helper(Helper::ToPrimitive, &[v, hint], cont)
    }

    fn retry_native(&mut self, cont: Cont, v: Value) -> Result<(), Throw> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let base = frame.base as usize;
        self.stack[base + cont.a as usize] = if v.is_undefined() { cont.saved } else { v };
        self.stack[base - 1] = frame.closure;
        self.begin_call(base, frame.function as usize, frame.flags & CONSTRUCTING != 0, frame.cont)
    }

    pub(crate) fn hint_value(&self, hint: Hint) -> Value {
        let known = &self.mem.local.known;
        match hint {
            Hint::Default => known.default,
            Hint::Number => known.number_,
            Hint::String => known.string_,
        }
    }

    #[cold]
    fn not_callable(&mut self, callee: Value, construct: bool, this: Value) -> Throw {
        let what = self.describe_callee(callee);
        let hint = if callee.is_undefined() { self.meant(&what, this) } else { String::new() };
        let kind = if construct { "constructor" } else { "function" };
        Throw::type_error(format!("{what} is not a {kind}{hint}"))
    }

    /// `; did you mean ...?` for a method that `this` doesn't have. `what` is the callee's source: `kv.gte`.
    fn meant(&mut self, what: &str, this: Value) -> String {
        let name = what.rsplit('.').next().unwrap_or(what);
        let known = &self.mem.local.known;
        let mut at = match this {
            v if v.is_object() => v,
            v if v.is_string() => known.string,
            v if v.is_number() => known.number,
            _ => return String::new(),
        };
        let mut names: Vec<String> = Vec::new();
        for _ in 0..MEANT_PROTOS_MAX {
            let mut keys = Vec::new();
            let which = crate::object::Keys { strings: true, symbols: false, only_enumerable: false };
            // A large object has data for keys: none of them is a method's name.
            let few = |keys: &Vec<Key>| keys.len() <= MEANT_KEYS_MAX;
            if at.is_object() && self.mem.own_keys(at.as_ref(), which, &mut keys).is_ok() && few(&keys) {
                names.extend(keys.into_iter().filter_map(|key| self.mem.key_text(key).ok()));
            }
            if !at.is_object() {
                break;
            }
            at = self.mem.proto_of(at.as_ref());
        }
        names.sort_unstable();
        match forebay_compiler::did_you_mean(name, names.iter().map(String::as_str)) {
            Some(hint) => format!("; {hint}"),
            None => String::new(),
        }
    }

    /// What the source says at the current instruction, else the value's type.
    fn describe_callee(&mut self, callee: Value) -> String {
        let text = self.source_of_callee();
        if !text.is_empty() {
            return text;
        }
        let name = self.mem.type_of(callee);
        self.mem.heap.to_text(name).unwrap_or_default()
    }

    fn source_of_callee(&self) -> String {
        let Some(f) = self.frames.last() else { return String::new() };
        let Some(unit) = self.mem.local.units.get(usize::from(f.unit)) else { return String::new() };
        let Some(module) = &unit.module else { return String::new() };
        let Some(position) = crate::error::position_at(&module.functions[f.function as usize], f.pc) else {
            return String::new();
        };
        let Some(file) = module.files.get(usize::from(position.file)) else { return String::new() };
        let text = file.text.get(position.start as usize..position.end as usize).unwrap_or("");
        let text = text.strip_prefix("new ").unwrap_or(text);
        let end = text.find('(').unwrap_or(text.len());
        if end == 0 || end > 60 || text[..end].contains('\n') {
            String::new()
        } else {
            text[..end].to_owned()
        }
    }

    /// The exception that a `Throw` stands for.
    pub(crate) fn throw_value(&mut self, throw: Throw) -> Result<Value, Throw> {
        match throw {
            Throw::Value(v) => Ok(v),
            Throw::Error(kind, message) => self.new_error(kind, &message),
            Throw::Trap(t) => Err(Throw::Trap(t)),
            Throw::Coerce(..) => self.new_error(ErrorKind::Type, "Cannot convert object to primitive value"),
            Throw::TailCall | Throw::Effect(_) | Throw::Again | Throw::Steps(_) | Throw::Resume { .. } => {
                self.new_error(ErrorKind::Type, "a native called out of turn")
            }
        }
    }

    /// Finds the handler of an exception, across frames and into callers.
    pub(crate) fn unwind(&mut self, throw: Throw) -> Option<Exit> {
        let mut throw = throw;
        loop {
            let value = match self.throw_value(throw) {
                Ok(v) => v,
                Err(Throw::Trap(t)) => return Some(Exit::Trap(t)),
                Err(_) => return Some(Exit::Trap(Trap::Exception)),
            };
            while let Some(frame) = self.frames.last_mut() {
                let at = frame.pc.wrapping_sub(1);
                if frame.unit != NATIVE_FRAME {
                    let unit = &self.mem.local.units[usize::from(frame.unit)];
                    let function = &unit.functions()[frame.function as usize];
                    let handler = function.handlers.iter().find(|h| (h.start..h.end).contains(&at));
                    if let Some(handler) = handler {
                        frame.pc = handler.target;
                        let slot = frame.base as usize + usize::from(handler.register);
                        self.stack[slot] = value;
                        return None;
                    }
                    if function.flags & function_flags::GENERATOR != 0 {
                        let frame = *frame;
                        self.left_by_exception(&frame);
                    }
                }
                self.frames.pop();
            }
            // The fiber ends with it; if a caller still waits for its promise, that goes on.
            match self.fiber_done(Err(value)) {
                Ok(()) => return if self.frames.is_empty() { Some(Exit::Idle) } else { None },
                Err(next) => throw = next,
            }
        }
    }

    /// Runs one microtask; the fiber that it needs is loaded, or it is done.
    pub(crate) fn run_job(&mut self, job: Job) -> Result<(), Throw> {
        self.fuel -= NATIVE_FUEL;
        match job {
            Job::Resume { fiber, value, rejected } => {
                self.load_fiber(fiber);
                let cont = self.task.fibers[fiber as usize].cont;
                if rejected { Err(self.throw_from_host(value)?) } else { self.finish(cont, value) }
            }
            Job::React { handler, value, target, rejected } => {
                if handler.is_undefined() {
                    return if target.is_empty() {
                        Ok(())
                    } else if rejected {
                        self.settle(target, value, true)
                    } else {
                        self.settle(target, value, false)
                    };
                }
                if target.is_empty() && self.react_part(handler, value)? {
                    return Ok(());
                }
                self.start_job_fiber(target, false)?;
                self.call_function(handler, Value::UNDEFINED, &[value], Cont::ROOT)
            }
            Job::Adopt { target, from } => {
                let (fulfilled, rejected) = self.resolving_functions(target)?;
                self.then(from, fulfilled, rejected, Value::EMPTY)
            }
            Job::Thenable { target, thenable, then } => {
                let (fulfilled, rejected) = self.resolving_functions(target)?;
                self.start_job_fiber(Value::EMPTY, false)?;
                let args = [thenable, then, fulfilled, rejected];
                self.call_helper(Helper::CallThenable, &args, Cont::ROOT)
            }
            Job::Main { value, rejected } => {
                self.task.outcome = Some(if rejected { Err(value) } else { Ok(value) });
                Ok(())
            }
        }
    }

    fn start_job_fiber(&mut self, promise: Value, reject_only: bool) -> Result<(), Throw> {
        let id = self.open_fiber()?;
        let transaction = if promise.is_object() { self.transaction_of(promise) } else { 0 };
        let fiber = &mut self.task.fibers[id as usize];
        fiber.promise = promise;
        fiber.transaction = transaction;
        fiber.reject_only = reject_only;
        self.load_fiber(id);
        Ok(())
    }

    /// Name of a module variable, for messages.
    pub(crate) fn slot_name(&self, unit: usize, slot: u32) -> Value {
        let unit = &self.mem.local.units[unit];
        unit.module
            .as_ref()
            .and_then(|m| m.slots.get(slot as usize))
            .map_or(Value::UNDEFINED, |name| unit.constants[*name as usize])
    }

    /// The operation of an interrupted instruction.
    pub(crate) fn interrupted_op(&self) -> Op {
        self.interrupted().op().unwrap_or(Op::LoadUndefined)
    }
}

/// Most arguments of a spread call. Beyond it: RangeError.
const ARGUMENTS_MAX: u32 = 1 << 16;

/// How far up, and among how many names, a message looks for the method that was meant.
const MEANT_PROTOS_MAX: usize = 4;
const MEANT_KEYS_MAX: usize = 200;
