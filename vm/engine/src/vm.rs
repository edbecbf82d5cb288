//! One core's machine: adopted blueprints, tasks in slots, pooled arenas.
#![expect(clippy::cast_possible_truncation, reason = "ranges are tested before each cast")]

use crate::api::{
    BlueprintId, Clock, Effect, EffectId, Entry, ErrorReport, ErrorSpec, Host, RequestInput, Run, StartError,
    TaskHandle, Trap, VmConfig,
};
use crate::blueprint::Blueprint;
use crate::ctx::Ctx;
use crate::fiber::{Job, TaskState};
use crate::heap::{Arena, Heap, OBJECT_WORDS, kind};
use crate::mem::{Local, Mem};
use crate::run::Turn;
use crate::snapshot::Snapshot;
use crate::throw::{ErrorKind, Throw};
use crate::value::{Value, space};
use crate::value_ref::{Building, QueryCall, QueryOps, Sink, ValueRef};
use forebay_base::limits::TaskLimits;
use forebay_base::value::packed::{Packed, PackedRows};
use forebay_base::{Monotonic, TenantId, Timestamp, ValueError, ValueSink, ValueSource};
use forebay_bytecode::module::uses;
use std::fmt;
use std::sync::Arc;

/// An adopted blueprint.
struct Registration {
    blueprint: Arc<Blueprint>,
    local: Box<Local>,
    /// Tasks that run on it.
    tasks: usize,
    /// Names it to the heaps that see its spaces; never used again.
    serial: u64,
    /// The closure that tasks begin with, as the last one had it: of a function that captures nothing.
    begins: Option<(u32, [u64; OBJECT_WORDS as usize])>,
}

/// A place for a task. The state stays when the task ends; the heap goes back to the pool.
pub(crate) struct Slot {
    pub(crate) state: Box<TaskState>,
    /// In a box: a task takes it from the pool and gives it back, and it is some hundred bytes.
    pub(crate) heap: Option<Box<Heap>>,
    generation: u32,
}

/// One core's machine. Not `Send`: tasks stay on the core that started them.
pub struct Vm {
    config: VmConfig,
    blueprints: Vec<Option<Registration>>,
    /// [`Registration::serial`] of the last one.
    adopted: u64,
    pub(crate) slots: Vec<Slot>,
    free: Vec<u32>,
    #[expect(clippy::vec_box, reason = "they move between here and the slots: a pointer each time")]
    heaps: Vec<Box<Heap>>,
    building: Building,
    /// Records of a task that moves to another arena, kept for the next one.
    pub(crate) moving: Snapshot,
    /// The slot and effect that `result_sink` builds for.
    sink: Option<SinkState>,
    not_send: std::marker::PhantomData<*const ()>,
}

/// A sink that lives in the machine between calls: see [`Vm::result_sink`].
struct SinkState {
    task: TaskHandle,
    effect: EffectId,
}

/// Why a call at the boundary was refused: a stale handle, an effect that isn't in
/// flight, a value that doesn't fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VmError {
    /// No such task (any more).
    Stale,
    /// No such effect in flight.
    NoEffect,
    /// The value couldn't be built or written.
    Value(ValueError),
    /// The body can't be written: why.
    Body(String),
}

impl fmt::Display for VmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => f.write_str("the task is over"),
            Self::NoEffect => f.write_str("no such effect is in flight"),
            Self::Value(error) => error.fmt(f),
            Self::Body(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for VmError {}

impl fmt::Debug for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vm").field("slots", &self.slots.len()).field("free", &self.free.len()).finish()
    }
}

impl Vm {
    /// A machine without tasks.
    #[must_use]
    pub fn new(config: VmConfig) -> Self {
        Self {
            config,
            blueprints: Vec::new(),
            adopted: 0,
            slots: Vec::new(),
            free: Vec::new(),
            heaps: Vec::new(),
            building: Building::default(),
            moving: Snapshot::new(),
            sink: None,
            not_send: std::marker::PhantomData,
        }
    }

    /// Makes a blueprint startable on this core. Fails only without address space for its keys.
    pub fn adopt(&mut self, blueprint: &Arc<Blueprint>) -> Option<BlueprintId> {
        let local = Box::new(blueprint.local()?);
        self.adopted += 1;
        let (blueprint, serial) = (Arc::clone(blueprint), self.adopted);
        let registration = Some(Registration { blueprint, local, tasks: 0, serial, begins: None });
        let at = match self.blueprints.iter().position(Option::is_none) {
            Some(at) => {
                self.blueprints[at] = registration;
                at
            }
            None => {
                self.blueprints.push(registration);
                self.blueprints.len() - 1
            }
        };
        u32::try_from(at).ok().map(BlueprintId)
    }

    /// Forgets a blueprint; false, and nothing happens, while tasks still run on it.
    pub fn retire(&mut self, id: BlueprintId) -> bool {
        match self.blueprints.get_mut(id.0 as usize) {
            Some(Some(r)) if r.tasks > 0 => false,
            Some(slot) => {
                *slot = None;
                true
            }
            None => true,
        }
    }

    /// The blueprint behind an id.
    #[must_use]
    pub fn blueprint(&self, id: BlueprintId) -> Option<&Arc<Blueprint>> {
        self.blueprints.get(id.0 as usize)?.as_ref().map(|r| &r.blueprint)
    }

    /// Tasks alive.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Starts a task; nothing of it runs before the first [`Vm::run`]. What the module can reach
    /// of the request is copied, so `request` may go at once; of an entry that
    /// [sees](Blueprint::sees_request) nothing of it, it may be [`RequestInput::empty`].
    pub fn start(
        &mut self,
        blueprint: BlueprintId,
        entry: Entry,
        request: &RequestInput<'_>,
        limits: &TaskLimits,
        tenant: TenantId,
        now: Monotonic,
    ) -> Result<TaskHandle, StartError> {
        let handle = self.open_task(blueprint, limits, tenant, now)?;
        let slot = &mut self.slots[handle.slot as usize];
        let Some(Some(registration)) = self.blueprints.get_mut(blueprint.0 as usize) else {
            return Err(StartError::NoEntry);
        };
        let used = registration.blueprint.module().uses;
        let state = &mut *slot.state;
        let Some(heap) = &mut slot.heap else { return Err(StartError::NoMemory) };
        let mut mem = Mem { heap, local: &mut registration.local };
        let ready = if registration.blueprint.sees_request(entry) {
            mem.take_request(&mut state.request, request, used & uses::REQUEST != 0)
        } else {
            Ok(())
        };
        let begins = &mut registration.begins;
        let function = match entry {
            _ if ready.is_err() => Err(StartError::TooLarge),
            Entry::Main => match registration.blueprint.module().main {
                Some(f) => closure(&mut mem, begins, f.0),
                None => Err(StartError::NoEntry),
            },
            Entry::Function(f) => closure(&mut mem, begins, f.0),
            Entry::Handler(h) => {
                let v = mem.local.handlers.get(h as usize).copied().unwrap_or_default();
                if v.is_object() { Ok(v) } else { Err(StartError::NoEntry) }
            }
        };
        match function {
            Ok(function) => {
                state.entry = function;
                state.takes_request = used & uses::REQUEST != 0
                    && matches!(entry, Entry::Handler(slot) if registration.blueprint.takes_request(slot));
                Ok(handle)
            }
            Err(error) => {
                self.finish(handle);
                Err(error)
            }
        }
    }

    /// Takes a slot and a heap for a task that has nothing to run yet.
    #[inline(always)]
    pub(crate) fn open_task(
        &mut self,
        blueprint: BlueprintId,
        limits: &TaskLimits,
        tenant: TenantId,
        now: Monotonic,
    ) -> Result<TaskHandle, StartError> {
        let Some(Some(registration)) = self.blueprints.get_mut(blueprint.0 as usize) else {
            return Err(StartError::NoEntry);
        };
        let mut heap = match self.heaps.pop().filter(|h| h.reserved() >= limits.memory) {
            Some(heap) => heap,
            None => {
                let bytes = self.config.arena_reserve.max(limits.memory);
                Box::new(Heap::new(Arena::reserve(bytes).ok_or(StartError::NoMemory)?, space::TASK))
            }
        };
        if heap.shown != registration.serial {
            heap.shown = registration.serial;
            registration.local.show(&mut heap);
        }
        heap.set_limit(limits.memory);
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() >= self.config.tasks => {
                self.heaps.push(heap);
                return Err(StartError::Full);
            }
            None => {
                self.slots.push(Slot { state: Box::new(TaskState::new()), heap: None, generation: 0 });
                u32::try_from(self.slots.len() - 1).map_err(|_| StartError::Full)?
            }
        };
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let handle = TaskHandle { slot: index, generation: slot.generation };
        let state = &mut *slot.state;
        state.handle = handle;
        state.blueprint = blueprint.0;
        state.tenant = tenant;
        state.limits.clone_from(limits);
        state.deadline = now.after(limits.wall_time);
        slot.heap = Some(heap);
        registration.tasks += 1;
        Ok(handle)
    }

    /// The blueprint that a task runs.
    pub(crate) fn blueprint_of(&self, task: TaskHandle) -> Option<Arc<Blueprint>> {
        let at = self.slot(task)?.state.blueprint as usize;
        Some(Arc::clone(&self.blueprints.get(at)?.as_ref()?.blueprint))
    }

    fn slot(&self, task: TaskHandle) -> Option<&Slot> {
        self.slots.get(task.slot as usize).filter(|s| s.generation == task.generation && s.heap.is_some())
    }

    /// The memory and state of a task.
    pub(crate) fn parts(&mut self, task: TaskHandle) -> Option<(Mem<'_>, &mut TaskState)> {
        let slot = self.slots.get_mut(task.slot as usize).filter(|s| s.generation == task.generation)?;
        let registration = self.blueprints.get_mut(slot.state.blueprint as usize)?.as_mut()?;
        let heap = slot.heap.as_deref_mut()?;
        Some((Mem { heap, local: &mut registration.local }, &mut slot.state))
    }

    /// Runs a task for at most `slice_fuel`. `now` is checked against its wall time.
    pub fn run(
        &mut self,
        task: TaskHandle,
        now: Monotonic,
        wall: Timestamp,
        slice_fuel: u64,
        host: &mut dyn Host,
    ) -> Run {
        let Some((mem, state)) = self.parts(task) else { return Run::Trap(Trap::Deadlock) };
        if now >= state.deadline && state.trap.is_none() {
            state.trap = Some(Trap::WallTime);
        }
        if let Some(t) = state.trap {
            return Run::Trap(t);
        }
        let left = state.limits.fuel.saturating_sub(state.fuel_used);
        let slice = i64::try_from(slice_fuel.min(left)).unwrap_or(i64::MAX);
        let mut ctx = Ctx {
            mem,
            task: state,
            host,
            clock: Clock { wall },
            current: 0,
            stack: Vec::new(),
            stack_limit: 0,
            parked: Vec::new(),
            frames: Vec::new(),
            fuel: slice,
            callee: Value::UNDEFINED,
            resumed: Value::EMPTY,
        };
        ctx.mem.enter_overlay();
        // A task that has ended writes its answer, and runs no more.
        let turn = if ctx.task.body.is_some() { Turn::Done } else { ctx.slice() };
        ctx.mem.leave_overlay();
        let owed = ctx.mem.heap.take_owed();
        if ctx.mem.heap.work >= owed {
            ctx.mem.heap.work -= owed;
        } else {
            ctx.fuel += owed.cast_signed();
        }
        let used = slice - ctx.fuel;
        ctx.task.fuel_used += u64::try_from(used).unwrap_or(0);
        let over = ctx.task.fuel_used >= ctx.task.limits.fuel;
        let run = match turn {
            Turn::Done => {
                let failed = ctx.settle_outcome();
                if !ctx.task.rejected.is_empty() {
                    ctx.report_rejections();
                }
                if failed {
                    Run::Trap(Trap::Exception)
                } else if ctx.write_answer() {
                    Run::Done
                } else {
                    Run::SliceOver
                }
            }
            Turn::Waiting => Run::Parked,
            Turn::SliceOver if over => Run::Trap(Trap::Fuel),
            Turn::SliceOver => Run::SliceOver,
            Turn::Trap(t) => Run::Trap(t),
        };
        if let Run::Trap(t) = run {
            ctx.task.trap = Some(t);
        }
        ctx.put_back();
        let (pressed, ended) = (ctx.mem.heap.is_pressed(), ctx.task.outcome.is_some());
        if pressed && !ended && matches!(run, Run::SliceOver | Run::Parked) {
            self.evacuate(task, now);
        }
        run
    }

    /// Effects that the task has made since the last call, appended to `out`.
    pub fn take_effects(&mut self, task: TaskHandle, out: &mut Vec<Effect>) {
        if let Some((_, state)) = self.parts(task) {
            for pending in state.pending.iter_mut().filter(|p| !p.taken) {
                pending.taken = true;
                out.push(Effect { id: pending.id, func: pending.function });
            }
        }
    }

    pub(crate) fn read(&self, task: TaskHandle) -> Option<(&Heap, &Local, &TaskState)> {
        let slot = self.slot(task)?;
        let registration = self.blueprints.get(slot.state.blueprint as usize)?.as_ref()?;
        Some((slot.heap.as_deref()?, &registration.local, &slot.state))
    }

    /// Argument `index` of an effect; undefined beyond the last, or if there is no such effect.
    ///
    /// # Panics
    /// If the task is over: a stale handle has no memory to read from.
    #[must_use]
    #[expect(clippy::expect_used, reason = "documented: reading a finished task is the caller's bug")]
    pub fn arg(&self, task: TaskHandle, effect: EffectId, index: usize) -> ValueRef<'_> {
        let (heap, local, state) = self.read(task).expect("a live task");
        let list = state.pending.iter().find(|p| p.id == effect).map_or(Value::UNDEFINED, |p| p.arguments);
        let list = ValueRef { heap, local, value: list };
        if list.array_len().is_some() { list.at(index) } else { ValueRef { value: Value::UNDEFINED, ..list } }
    }

    /// How many arguments an effect has.
    #[must_use]
    pub fn arg_count(&self, task: TaskHandle, effect: EffectId) -> usize {
        self.read(task)
            .and_then(|(heap, local, state)| {
                let list = state.pending.iter().find(|p| p.id == effect)?.arguments;
                ValueRef { heap, local, value: list }.array_len()
            })
            .unwrap_or(0)
    }

    /// The query that a `HostFn::Query` effect carries; without a call if there is no such effect.
    #[must_use]
    pub fn query_call(&self, task: TaskHandle, effect: EffectId) -> QueryCall<'_> {
        let none = QueryCall { ops: QueryOps { list: None, at: 0 }, database: None, transaction: 0 };
        let Some((heap, local, state)) = self.read(task) else { return none };
        let Some(pending) = state.pending.iter().find(|p| p.id == effect) else { return none };
        let none = QueryCall { transaction: pending.transaction, ..none };
        let query = ValueRef { heap, local, value: pending.arguments }.at(0);
        if !query.value.is_object() || heap.kind(query.value.as_ref()) != kind::QUERY {
            return none;
        }
        let word = |word| ValueRef { value: heap.get(query.value.as_ref(), word), ..query };
        QueryCall { ops: QueryOps { list: Some(word(4)), at: 0 }, database: word(5).as_str(), ..none }
    }

    /// The calls of the query that a `HostFn::Query` effect carries, in order.
    #[must_use]
    pub fn query(&self, task: TaskHandle, effect: EffectId) -> QueryOps<'_> {
        self.query_call(task, effect).ops
    }

    /// The database that a query was started for: `db(name)`.
    #[must_use]
    pub fn query_database(&self, task: TaskHandle, effect: EffectId) -> Option<&str> {
        self.query_call(task, effect).database
    }

    /// Number of the transaction that an effect's fiber was in; 0: none.
    #[must_use]
    pub fn transaction(&self, task: TaskHandle, effect: EffectId) -> u32 {
        self.read(task)
            .and_then(|(_, _, state)| state.pending.iter().find(|p| p.id == effect))
            .map_or(0, |p| p.transaction)
    }

    /// Whose task it is.
    #[must_use]
    pub fn tenant(&self, task: TaskHandle) -> Option<TenantId> {
        self.slot(task).map(|s| s.state.tenant)
    }

    /// Bytes of memory that a task uses, and fuel that it has used.
    #[must_use]
    pub fn usage(&self, task: TaskHandle) -> (usize, u64) {
        self.slot(task).map_or((0, 0), |s| (s.heap.as_deref().map_or(0, Heap::used), s.state.fuel_used))
    }

    /// Answers an effect with the value that `build` pushes; the fiber goes on at the next `run`.
    pub fn resume(
        &mut self,
        task: TaskHandle,
        effect: EffectId,
        build: &mut dyn FnMut(&mut dyn ValueSink) -> Result<(), ValueError>,
    ) -> Result<(), VmError> {
        self.keep_result();
        let (_, state) = self.parts(task).ok_or(VmError::Stale)?;
        if !state.pending.iter().any(|p| p.id == effect) {
            return Err(VmError::NoEffect);
        }
        let mut building = std::mem::take(&mut self.building);
        building.open.clear();
        let (mem, _) = self.parts(task).ok_or(VmError::Stale)?;
        mem.local.row.columns = (0, 0);
        let built = build(&mut Sink { mem, building: &mut building });
        let value = building.done.take();
        self.building = building;
        built.map_err(VmError::Value)?;
        let value = value.ok_or(VmError::Value(ValueError::Malformed { offset: 0, expected: "a value" }))?;
        self.wake(task, effect, value, false)
    }

    /// A value in a task's memory, for whoever keeps it there.
    pub(crate) fn build_value(
        &mut self,
        task: TaskHandle,
        value: &forebay_base::Value,
    ) -> Result<Value, VmError> {
        use forebay_base::ValueSource as _;
        self.keep_result();
        let mut building = std::mem::take(&mut self.building);
        building.open.clear();
        let (mem, _) = self.parts(task).ok_or(VmError::Stale)?;
        let built = value.emit(&mut Sink { mem, building: &mut building });
        let value = building.done.take();
        self.building = building;
        built.map_err(VmError::Value)?;
        value.ok_or(VmError::Value(ValueError::Malformed { offset: 0, expected: "a value" }))
    }

    fn wake(
        &mut self,
        task: TaskHandle,
        effect: EffectId,
        value: Value,
        rejected: bool,
    ) -> Result<(), VmError> {
        let (_, state) = self.parts(task).ok_or(VmError::Stale)?;
        let at = state.pending.iter().position(|p| p.id == effect).ok_or(VmError::NoEffect)?;
        let pending = state.pending.remove(at);
        state.jobs.push_back(Job::Resume { fiber: pending.fiber, value, rejected });
        Ok(())
    }

    /// Answers an effect with an exception, thrown at the host call.
    pub fn resume_error(
        &mut self,
        task: TaskHandle,
        effect: EffectId,
        error: &ErrorSpec<'_>,
    ) -> Result<(), VmError> {
        let (mut mem, state) = self.parts(task).ok_or(VmError::Stale)?;
        if !state.pending.iter().any(|p| p.id == effect) {
            return Err(VmError::NoEffect);
        }
        let value = match host_error(&mut mem, error) {
            Ok(v) => v,
            Err(_) => {
                state.trap = Some(Trap::Memory);
                Value::UNDEFINED
            }
        };
        self.wake(task, effect, value, true)
    }

    /// A sink for an effect's result, to be pushed in pieces; asking again starts over. One is in use at a
    /// time; whole results wait, each with its effect, until [`Vm::resume_with_result`] takes them.
    pub fn result_sink(&mut self, task: TaskHandle, effect: EffectId) -> Option<&mut dyn ValueSink> {
        self.keep_result();
        let (mem, state) = self.parts(task)?;
        let pending = state.pending.iter_mut().find(|p| p.id == effect)?;
        pending.result = None;
        mem.local.row.columns = (0, 0);
        self.building.open.clear();
        self.building.done = None;
        self.sink = Some(SinkState { task, effect });
        Some(self)
    }

    /// Puts what the last sink has built beside its effect.
    pub(crate) fn keep_result(&mut self) {
        let value = self.building.done.take();
        if let (Some(SinkState { task, effect }), Some(value)) = (self.sink.take(), value)
            && let Some((_, state)) = self.parts(task)
            && let Some(pending) = state.pending.iter_mut().find(|p| p.id == effect)
        {
            pending.result = Some(value);
        }
    }

    /// Answers an effect with what its [`Vm::result_sink`] has built.
    pub fn resume_with_result(&mut self, task: TaskHandle, effect: EffectId) -> Result<(), VmError> {
        self.keep_result();
        let (_, state) = self.parts(task).ok_or(VmError::Stale)?;
        let at = state.pending.iter().position(|p| p.id == effect).ok_or(VmError::NoEffect)?;
        let pending = &mut state.pending[at];
        match pending.result.take() {
            Some(value) => {
                let fiber = pending.fiber;
                state.pending.remove(at);
                state.jobs.push_back(Job::Resume { fiber, value, rejected: false });
                Ok(())
            }
            None => Err(VmError::Value(ValueError::Malformed { offset: 0, expected: "a value" })),
        }
    }

    /// What ended a task that has no answer.
    pub fn error(&mut self, task: TaskHandle) -> ErrorReport {
        let Some((mut mem, state)) = self.parts(task) else { return ErrorReport::default() };
        let trap = state.trap.unwrap_or(Trap::Exception);
        if let (Trap::Exception, Some(Err(value))) = (trap, state.outcome) {
            return mem.error_report(value, trap.code());
        }
        if let (Trap::BadRequest | Trap::MediaType, Some(why)) = (trap, state.request.why.take()) {
            return ErrorReport { code: trap.code().into(), message: why, ..ErrorReport::default() };
        }
        let message = match trap {
            Trap::Exception => "the script failed",
            Trap::BadRequest => "the body can't be read",
            Trap::MediaType => "the body is of a type that isn't read here",
            Trap::Fuel => "the script used up its fuel",
            Trap::WallTime => "the script took too long",
            Trap::Memory => "the script used up its memory",
            Trap::Fibers => "the script has too many asynchronous calls at once",
            Trap::Effects => "the script has too many calls of the host in flight",
            Trap::Deadlock => "the script waits for something that nothing will settle",
        };
        ErrorReport { code: trap.code().into(), message: message.into(), ..ErrorReport::default() }
    }

    /// Budgets of fuel and wall time begin anew, as if the task had just started: for tasks whose steps have
    /// budgets, not their lives.
    pub fn renew(&mut self, task: TaskHandle, now: Monotonic) {
        if let Some((_, state)) = self.parts(task) {
            state.fuel_used = 0;
            state.deadline = now.after(state.limits.wall_time);
        }
    }

    /// Ends a task that isn't done, for a reason from outside (its wall time): [`Vm::error`] says so then.
    /// [`Vm::finish`] it next.
    pub fn abort(&mut self, task: TaskHandle, trap: Trap) {
        if let Some((_, state)) = self.parts(task) {
            state.outcome = None;
            state.trap = Some(trap);
        }
    }

    /// Ends a task and takes back everything it has; returns the bytes it had used. Stale handles do nothing.
    pub fn finish(&mut self, task: TaskHandle) -> usize {
        let Some(slot) = self.slots.get_mut(task.slot as usize) else { return 0 };
        if slot.generation != task.generation {
            return 0;
        }
        let Some(mut heap) = slot.heap.take() else { return 0 };
        let used = heap.used();
        slot.state.reset();
        slot.generation = slot.generation.wrapping_add(1);
        if let Some(Some(registration)) = self.blueprints.get_mut(slot.state.blueprint as usize) {
            registration.tasks -= 1;
        }
        heap.reset(self.config.arena_keep);
        if self.heaps.len() < self.config.pool {
            self.heaps.push(heap);
        }
        self.free.push(task.slot);
        used
    }

    fn with_sink(
        &mut self,
        f: impl FnOnce(&mut Sink<'_>) -> Result<(), ValueError>,
    ) -> Result<(), ValueError> {
        let gone = ValueError::Unsupported("the task is over");
        let Some(task) = self.sink.as_ref().map(|s| s.task) else { return Err(gone) };
        // As `parts`, beside `building`: this runs once per value of a result.
        let Self { slots, blueprints, building, .. } = self;
        let Some(slot) = slots.get_mut(task.slot as usize).filter(|s| s.generation == task.generation) else {
            return Err(gone);
        };
        let registration = blueprints.get_mut(slot.state.blueprint as usize).and_then(Option::as_mut);
        let (Some(registration), Some(heap)) = (registration, slot.heap.as_deref_mut()) else {
            return Err(gone);
        };
        f(&mut Sink { mem: Mem { heap, local: &mut registration.local }, building })
    }
}

macro_rules! forward {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {
        impl ValueSink for Vm {
            $(fn $name(&mut self, $($arg: $ty),*) -> Result<(), ValueError> {
                self.with_sink(|sink| sink.$name($($arg),*))
            })*
        }
    };
}

forward! {
    undefined();
    null();
    bool(value: bool);
    int(value: i64);
    float(value: f64);
    big_int(digits: &str);
    decimal(digits: &str);
    str(value: &str);
    bytes(value: &[u8]);
    timestamp(micros: i64);
    begin_list(len: Option<usize>);
    end_list();
    begin_map(len: Option<usize>);
    key(name: &str);
    end_map();
    begin_row(columns: &[Box<str>]);
    end_row();
    packed(columns: &[Box<str>], kinds: &[Packed], rows: &mut dyn PackedRows<'_>);
}

/// The closure of a function that a task begins with.
#[inline(always)]
fn closure(
    mem: &mut Mem<'_>,
    begins: &mut Option<(u32, [u64; OBJECT_WORDS as usize])>,
    function: u32,
) -> Result<Value, StartError> {
    let made = match begins {
        Some((of, start)) if *of == function => mem.heap.alloc_object(OBJECT_WORDS, *start),
        _ => {
            let made = mem.new_closure(0, function);
            if let Ok(r) = made
                && mem.local.units[0].functions()[function as usize].captures.is_empty()
            {
                *begins = Some((function, std::array::from_fn(|word| mem.heap.load(r, word as u32))));
            }
            made
        }
    };
    made.map(|r| r.object()).map_err(|_| StartError::TooLarge)
}

fn host_error(mem: &mut Mem<'_>, spec: &ErrorSpec<'_>) -> Result<Value, Throw> {
    let proto = mem.local.known.errors[ErrorKind::Error as usize];
    let message = mem.heap.new_string(spec.message.as_bytes())?;
    let error = mem.new_error_object(proto, message)?;
    let r = error.as_ref();
    if !spec.name.is_empty() {
        let name = mem.heap.new_string(spec.name.as_bytes())?;
        mem.add_property(r, mem.local.known.name, name, crate::shape::attr::HIDDEN)?;
    }
    if let Some(code) = spec.code {
        let code = mem.heap.new_string(code.as_bytes())?;
        mem.define_text(r, "code", code)?;
    }
    for (name, tree) in spec.props {
        let mut building = Building::default();
        let sub = Mem { heap: mem.heap, local: mem.local };
        let built = tree.emit(&mut Sink { mem: sub, building: &mut building });
        if let (Ok(()), Some(v)) = (built, building.done) {
            mem.define_text(r, name, v)?;
        }
    }
    Ok(error)
}
