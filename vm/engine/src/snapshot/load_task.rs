//! The second half of load.rs: budgets, fibers, calls, jobs, effects, and that what waits for each other is there.

use super::load::{Check, Loader, Records, require};
use super::wire::Reader;
use super::{RecordKey, RestoreInput, SnapshotError, state};
use crate::api::EffectId;
use crate::fiber::{
    CONSTRUCTING, Cont, ContKind, Fiber, Frame, Job, NATIVE_FRAME, Pending, STACK_START, STEPPING, TaskState,
    Wait,
};
use crate::heap::kind;
use crate::mem::Local;
use crate::request::Request;
use crate::steps::Steps;
use crate::value::{Ref, Value, space};
use forebay_base::Monotonic;
use forebay_bytecode::{HostFn, Instr, Op};
use std::ops::Range;
use std::time::Duration;

impl Loader<'_, '_> {
    pub(super) fn task(
        &mut self,
        task: &mut TaskState,
        r: &mut Reader<'_>,
        records: &Records<'_>,
        input: &RestoreInput<'_>,
    ) -> Check {
        task.fuel_used = r.varint()?;
        self.mem.heap.work = r.varint()?;
        let left = r.varint()?;
        if !input.fresh_wall_time {
            let never = left == u64::MAX;
            task.deadline =
                if never { Monotonic::NEVER } else { input.now.after(Duration::from_nanos(left)) };
        }
        let fibers = r.int32()?;
        if fibers as usize > input.limits.fibers.saturating_add(1) {
            return Err(SnapshotError::TooLarge("fibers"));
        }
        let ready = r.int32()?;
        task.effects_made = r.int32()?;
        task.random = r.varint()?;
        task.takes_request = r.flag()?;
        let mut values = [Value::EMPTY; 3];
        for v in &mut values {
            *v = self.value(r.u64()?)?;
        }
        let [entry, payload, object] = values;
        require(entry.is_empty() || self.mem.is_callable(entry), "the task's entry")?;
        task.entry = entry;
        if let Some(record) = records.get(RecordKey::Request) {
            task.request = request(record)?;
        }
        (task.request.payload, task.request.object) = (payload, object);
        self.mem.heap.charge_outside(task.request.bytes.len()).map_err(SnapshotError::of_throw)?;

        let mut used = 2 + usize::from(records.get(RecordKey::Request).is_some());
        used += records.all.iter().filter(|r| matches!(r.0, RecordKey::Heap(_))).count();
        used += self.fibers(task, fibers, records, input)?;
        require(used == records.all.len(), "a record that belongs to nothing")?;

        for _ in 0..r.count(8)? {
            task.rejected.push(self.promise(r.u64()?, false)?);
        }
        for _ in 0..r.count(10)? {
            let job = self.job(task, r)?;
            task.jobs.push_back(job);
        }
        for _ in 0..r.count(16)? {
            let pending = self.pending(task, r)?;
            require(task.pending.iter().all(|p| p.id != pending.id), "two effects of one number")?;
            task.pending.push(pending);
        }
        if task.pending.len() > input.limits.effects {
            return Err(SnapshotError::TooLarge("effects"));
        }
        if ready > 0 {
            let fiber = task.fibers.get(ready as usize - 1);
            let can_run = fiber.is_some_and(|f| f.wait == Wait::Ready && !f.frames.is_empty());
            require(can_run, "the fiber that goes on first")?;
            task.ready = Some(ready - 1);
        }
        self.reactions(task)
    }

    /// Fibers that promises name must be there.
    fn reactions(&self, task: &TaskState) -> Check {
        for index in &self.reactions {
            let cell = Ref::new(space::TASK, *index);
            if self.mem.heap.get(cell, 2) == Value::int(1) {
                let fiber = self.mem.heap.get(cell, 5).as_index().unwrap_or(u32::MAX);
                waiting(task, fiber)?;
            }
        }
        Ok(())
    }

    fn fibers(
        &mut self,
        task: &mut TaskState,
        count: u32,
        records: &Records<'_>,
        input: &RestoreInput<'_>,
    ) -> Check<usize> {
        let mut used = 0;
        let mut stacks = 0;
        task.clear_fibers();
        for index in 0..count {
            let Some(record) = records.get(RecordKey::Fiber(index)) else {
                let mut free = Fiber::new(Vec::new(), Vec::new());
                free.wait = Wait::Free;
                task.fibers.push(free);
                continue;
            };
            let mut r = Reader::new(record);
            // The slot's last task has left stacks.
            let (mut stack, calls) = task.spare.pop().unwrap_or_default();
            stack.truncate(STACK_START);
            stack.resize(STACK_START, Value::UNDEFINED);
            let (mut fiber, frames) = self.fiber(&mut r, count, Fiber::new(stack, calls))?;
            if frames as usize > input.limits.stack_depth.saturating_add(1) {
                return Err(SnapshotError::TooLarge("calls"));
            }
            for depth in 0..frames {
                let record = records.need(RecordKey::Frame(index, depth))?;
                self.frame(&mut fiber, record)?;
            }
            used += 1 + frames as usize;
            let top = fiber.frames.last().copied();
            match fiber.wait {
                Wait::Promise | Wait::Effect(_) => check_cont(self.mem.local, &fiber.cont, top.as_ref())?,
                _ => require(fiber.cont.kind == ContKind::Root, "a continuation")?,
            }
            stacks += fiber.stack.len() * 8;
            task.fibers.push(fiber);
        }
        // A caller waits for its promise at a call of its own.
        for at in 0..task.fibers.len() {
            if let Some((parent, cont)) = task.fibers[at].parent {
                let parent = task.fibers.get(parent as usize).filter(|p| p.wait != Wait::Free);
                let parent = parent.ok_or(SnapshotError::Malformed("a fiber's caller"))?;
                check_cont(self.mem.local, &cont, parent.frames.last())?;
            }
        }
        self.mem.heap.charge_outside(stacks).map_err(SnapshotError::of_throw)?;
        Ok(used)
    }

    fn fiber(&self, r: &mut Reader<'_>, count: u32, mut fiber: Fiber) -> Check<(Fiber, u32)> {
        let number = r.u8()?;
        fiber.wait = match number & !state::OF_GENERATOR {
            1 => Wait::Running,
            2 => Wait::Ready,
            3 => Wait::Promise,
            4 => Wait::Effect(EffectId(r.int32()?)),
            _ => return Err(SnapshotError::Malformed("a fiber's state")),
        };
        if number & state::OF_GENERATOR != 0 {
            let v = self.value(r.u64()?)?;
            let own = v.is_object() && v.as_ref().space() == space::TASK;
            let is_async =
                own && self.kind_of(v) == kind::GENERATOR && self.mem.heap.get(v.as_ref(), 6).is_object();
            require(is_async, "a fiber's generator")?;
            fiber.generator = v;
        }
        fiber.cont = self.cont(r)?;
        fiber.promise = self.promise(r.u64()?, true)?;
        if r.flag()? {
            let parent = r.int32()?;
            require(parent < count, "a fiber's caller")?;
            fiber.parent = Some((parent, self.cont(r)?));
        }
        (fiber.reject_only, fiber.main, fiber.handler) = (r.flag()?, r.flag()?, r.flag()?);
        fiber.transaction = r.int32()?;
        let frames = r.int32()?;
        r.done("a fiber")?;
        Ok((fiber, frames))
    }

    fn cont(&self, r: &mut Reader<'_>) -> Check<Cont> {
        let kind = state::CONT_KINDS.get(usize::from(r.u8()?));
        let kind = *kind.ok_or(SnapshotError::Malformed("a continuation's kind"))?;
        let dst = u16::try_from(r.varint()?).map_err(|_| SnapshotError::Malformed("a register"))?;
        Ok(Cont::with(kind, dst, r.u32()?, self.value(r.u64()?)?))
    }

    fn frame(&self, fiber: &mut Fiber, record: &[u8]) -> Check {
        let mut r = Reader::new(record);
        let unit = r.u8()?;
        let number = r.int32()?;
        let function = match unit {
            1 => *self
                .imported
                .functions
                .get(number as usize)
                .ok_or(SnapshotError::Malformed("a call's function"))?,
            _ => number,
        };
        let (pc, base, flags) = (r.int32()?, r.int32()?, r.u8()?);
        let closure = self.value(r.u64()?)?;
        let closure = if unit == 1 { self.script_of(closure) } else { closure };
        let cont = self.cont(&mut r)?;
        let function = if unit == 1 { self.same_code(function, closure) } else { function };
        let frame = Frame { function, pc, base, unit, flags, closure, cont };
        self.check_frame(&frame)?;

        let below = fiber.frames.last();
        match below {
            None => require((1..=64).contains(&base) && cont.kind == ContKind::Root, "a fiber's first call")?,
            Some(f) => {
                let end = f.base as usize + state::registers(self.mem.local, f);
                require(base > f.base && base as usize <= end + 1, "a call's place")?;
                check_cont(self.mem.local, &cont, below)?;
            }
        }
        let count = r.count(8)?;
        let size = state::registers(self.mem.local, &frame);
        require(count <= size, "a call's registers")?;
        let base = base as usize;
        let needed = base + size + 1;
        if fiber.stack.len() < needed {
            let limit = self.mem.heap.reserved() / 8;
            require(needed < limit, "a call's registers")?;
            fiber.stack.resize(needed.next_power_of_two(), Value::UNDEFINED);
        }
        // The callee stands before its registers, as after a call.
        fiber.stack[base - 1] = closure;
        for at in base..base + count {
            fiber.stack[at] = self.value(r.u64()?)?;
        }
        // What was there is another task's.
        fiber.stack[base + count..base + size].fill(Value::UNDEFINED);
        r.done("a call")?;
        fiber.frames.push(frame);
        Ok(())
    }

    /// Functions of the built-in scripts that do the same have one name: the call is of its closure's.
    fn same_code(&self, function: u32, closure: Value) -> u32 {
        if self.mem.kind_of(closure) != Some(kind::CLOSURE) {
            return function;
        }
        let (unit, of) = self.mem.function_of(closure.as_ref());
        let hashes = &super::builtins(self.mem.heap, self.mem.local).code.hashes;
        let same = hashes.get(of as usize).is_some_and(|h| Some(h) == hashes.get(function as usize));
        if unit == 1 && same { of } else { function }
    }

    /// Where a function of the built-in scripts stood when the snapshot was written there may be a native by now, which
    /// has it as its own value.
    fn script_of(&self, closure: Value) -> Value {
        if self.mem.kind_of(closure) == Some(kind::NATIVE) {
            self.mem.heap.get(closure.as_ref(), 4)
        } else {
            closure
        }
    }

    fn check_frame(&self, f: &Frame) -> Check {
        if f.unit == NATIVE_FRAME {
            let stepping = f.flags == STEPPING && Steps::of(f.pc).is_some_and(|s| s.last() == f.function);
            require(stepping || (f.pc == 0 && f.flags <= CONSTRUCTING), "a native's call")?;
            require(f.function <= 1 << 17 && self.mem.is_callable(f.closure), "a native's call")?;
            return Ok(());
        }
        require(f.unit < 2 && f.flags == 0, "a call's unit")?;
        let function = self.mem.local.units[usize::from(f.unit)].functions().get(f.function as usize);
        let function = function.ok_or(SnapshotError::Malformed("a call's function"))?;
        require((f.pc as usize) < function.code.len(), "a call's pc")?;
        let of = self.mem.kind_of(f.closure) == Some(kind::CLOSURE)
            && self.mem.function_of(f.closure.as_ref()) == (usize::from(f.unit), f.function);
        require(of, "a call's closure")
    }

    fn job(&self, task: &TaskState, r: &mut Reader<'_>) -> Check<Job> {
        let number = usize::from(r.u8()?);
        let count = *state::JOB_VALUES.get(number).ok_or(SnapshotError::Malformed("a job's kind"))?;
        let (fiber, rejected) = (r.int32()?, r.flag()?);
        let mut words = [Value::EMPTY.bits(); 3];
        for word in words.iter_mut().take(count) {
            *word = r.u64()?;
        }
        let [a, b, c] = words;
        Ok(match number {
            0 => {
                waiting(task, fiber)?;
                Job::Resume { fiber, value: self.value(a)?, rejected }
            }
            1 => Job::React {
                handler: self.value(a)?,
                value: self.value(b)?,
                target: self.promise(c, true)?,
                rejected,
            },
            2 => {
                let from = self.value(b)?;
                let promise = from.is_object() && self.kind_of(from) == kind::PROMISE;
                require(promise, "no promise where one belongs")?;
                Job::Adopt { target: self.promise(a, false)?, from }
            }
            3 => Job::Thenable {
                target: self.promise(a, false)?,
                thenable: self.value(b)?,
                then: self.value(c)?,
            },
            _ => Job::Main { value: self.value(a)?, rejected },
        })
    }

    fn pending(&self, task: &TaskState, r: &mut Reader<'_>) -> Check<Pending> {
        let id = EffectId(r.int32()?);
        let function = u16::try_from(r.varint()?).ok().and_then(HostFn::from_u16);
        let function = function.ok_or(SnapshotError::Malformed("an effect's function"))?;
        let fiber = r.int32()?;
        let waits = task.fibers.get(fiber as usize).is_some_and(|f| f.wait == Wait::Effect(id));
        require(waits, "an effect's fiber")?;
        let transaction = r.int32()?;
        let arguments = self.value(r.u64()?)?;
        let list = arguments.is_object() && self.kind_of(arguments) == kind::ARRAY;
        require(list, "an effect's arguments")?;
        let result = self.value(r.u64()?)?;
        let result = (!result.is_empty()).then_some(result);
        Ok(Pending { id, function, fiber, arguments, transaction, taken: false, result })
    }
}

/// A fiber that a job or a promise resumes.
fn waiting(task: &TaskState, fiber: u32) -> Check {
    let there = task.fibers.get(fiber as usize).map(|f| f.wait);
    require(matches!(there, Some(Wait::Promise | Wait::Effect(_))), "a fiber that is resumed")
}

/// Whether a continuation fits the call that it goes back to.
fn check_cont(local: &Local, cont: &Cont, below: Option<&Frame>) -> Check {
    let bad = SnapshotError::Malformed("a continuation");
    let Some(f) = below else { return if cont.kind == ContKind::Root { Ok(()) } else { Err(bad) } };
    if f.unit == NATIVE_FRAME {
        let argument = cont.kind == ContKind::NativeArgument && cont.a <= f.function;
        let fits = if f.is_stepping() { cont.kind == ContKind::Step } else { argument };
        return if fits { Ok(()) } else { Err(bad) };
    }
    let function = &local.units[usize::from(f.unit)].functions()[f.function as usize];
    let registers = u32::from(function.registers);
    let i = f.pc.checked_sub(1).map_or_else(Instr::default, |at| function.code[at as usize]);
    let op = i.op();
    let dst = u32::from(cont.dst);
    let fits = match cont.kind {
        ContKind::Plain
        | ContKind::Construct
        | ContKind::Truth
        | ContKind::Http
        | ContKind::Iterate
        | ContKind::Await => dst < registers,
        ContKind::Discard => true,
        ContKind::Left | ContKind::Right => op.is_some_and(is_binary),
        ContKind::Unary => matches!(
            op,
            Some(Op::Neg | Op::ToNumber | Op::ToNumeric | Op::Inc | Op::Dec | Op::BitNot | Op::ToPropertyKey)
        ),
        ContKind::Key => matches!(
            op,
            Some(Op::GetElem | Op::SetElem | Op::DeleteElem | Op::In | Op::GetSuper | Op::SetSuper)
        ),
        ContKind::Concat => op == Some(Op::Concat) && cont.a < u32::from(i.n()) && cont.saved.is_string(),
        ContKind::Iterator => dst + 2 < registers,
        ContKind::Next => {
            let to = f.pc.wrapping_add(cont.a) as usize;
            dst >= 2 && dst < registers && to < function.code.len()
        }
        ContKind::NativeArgument | ContKind::Root | ContKind::Step => false,
    };
    if fits { Ok(()) } else { Err(bad) }
}

fn is_binary(op: Op) -> bool {
    let number = op as u8;
    (Op::Add as u8..=Op::UShr as u8).contains(&number)
        || (matches!(op, Op::Eq | Op::Ne) || (Op::Lt as u8..=Op::Ge as u8).contains(&number))
}

/// A request's record.
fn request(record: &[u8]) -> Check<Request> {
    let mut r = Reader::new(record);
    let bytes = r.bytes()?.to_vec();
    let range = |r: &mut Reader<'_>, text: bool| -> Check<Range<usize>> {
        let (start, len) = (r.int32()? as usize, r.int32()? as usize);
        let part = bytes.get(start..start.saturating_add(len));
        let part = part.ok_or(SnapshotError::Malformed("a part of the request"))?;
        require(!text || std::str::from_utf8(part).is_ok(), "a part of the request")?;
        Ok(start..start + len)
    };
    let mut request = Request {
        method: range(&mut r, true)?,
        path: range(&mut r, true)?,
        query: range(&mut r, true)?,
        content_type: range(&mut r, true)?,
        ip: range(&mut r, true)?,
        body: range(&mut r, false)?,
        ..Request::default()
    };
    for _ in 0..r.count(4)? {
        request.headers.push((range(&mut r, true)?, range(&mut r, false)?));
    }
    for _ in 0..r.count(4)? {
        request.params.push((range(&mut r, true)?, range(&mut r, true)?));
    }
    r.done("the request")?;
    request.bytes = bytes;
    Ok(request)
}
