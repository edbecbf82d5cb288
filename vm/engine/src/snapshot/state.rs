//! A task's own fields, its request, fibers and calls in flight: written here, read back in load.rs.

use super::save::Saver;
use super::wire::Writer;
use super::{RecordKey, Snapshot};
use crate::fiber::{Cont, ContKind, Fiber, Frame, IN_LOOP, Job, NATIVE_FRAME, Pending, TaskState, Wait};
use crate::mem::Local;
use crate::value::Value;
use forebay_base::Monotonic;
use std::ops::Range;

/// Kinds of continuations, by their numbers in a record: append only.
pub(super) const CONT_KINDS: [ContKind; 17] = [
    ContKind::Plain,
    ContKind::Discard,
    ContKind::Construct,
    ContKind::Left,
    ContKind::Right,
    ContKind::Unary,
    ContKind::Key,
    ContKind::Concat,
    ContKind::NativeArgument,
    ContKind::Truth,
    ContKind::Iterator,
    ContKind::Next,
    ContKind::Iterate,
    ContKind::Http,
    ContKind::Root,
    ContKind::Await,
    ContKind::Step,
];

/// The number of a kind in [`CONT_KINDS`].
fn cont_number(kind: ContKind) -> u8 {
    match kind {
        ContKind::Plain => 0,
        ContKind::Discard => 1,
        ContKind::Construct => 2,
        ContKind::Left => 3,
        ContKind::Right => 4,
        ContKind::Unary => 5,
        ContKind::Key => 6,
        ContKind::Concat => 7,
        ContKind::NativeArgument => 8,
        ContKind::Truth => 9,
        ContKind::Iterator => 10,
        ContKind::Next => 11,
        ContKind::Iterate => 12,
        ContKind::Http => 13,
        ContKind::Root => 14,
        ContKind::Await => 15,
        ContKind::Step => 16,
    }
}

/// The registers of call `n` of a fiber: up to where the next call's begin.
pub(super) fn window(local: &Local, frames: &[Frame], n: usize) -> Range<usize> {
    let frame = &frames[n];
    let registers = registers(local, frame);
    let base = frame.base as usize;
    let end = match frames.get(n + 1) {
        Some(next) => (next.base as usize).min(base + registers),
        None => base + registers,
    };
    base..end
}

/// How many registers a call has.
pub(super) fn registers(local: &Local, frame: &Frame) -> usize {
    if frame.unit == NATIVE_FRAME {
        return frame.function as usize + 1;
    }
    let functions = local.units.get(usize::from(frame.unit)).map_or(&[][..], |u| u.functions());
    functions.get(frame.function as usize).map_or(0, |f| usize::from(f.registers))
}

/// Calls `each` with every value from which the task goes on.
pub(super) fn roots(local: &Local, task: &TaskState, each: &mut impl FnMut(Value)) {
    for fiber in task.fibers.iter().filter(|f| f.wait != Wait::Free) {
        for (n, frame) in fiber.frames.iter().enumerate() {
            each(frame.closure);
            each(frame.cont.saved);
            fiber.stack[window(local, &fiber.frames, n)].iter().for_each(|v| each(*v));
        }
        if matches!(fiber.wait, Wait::Promise | Wait::Effect(_)) {
            each(fiber.cont.saved);
        }
        each(fiber.promise);
        each(fiber.generator);
        if let Some((_, cont)) = fiber.parent {
            each(cont.saved);
        }
    }
    for job in &task.jobs {
        match *job {
            Job::Resume { value, .. } | Job::Main { value, .. } => each(value),
            Job::React { handler, value, target, .. } => {
                [handler, value, target].into_iter().for_each(&mut *each)
            }
            Job::Adopt { target, from } => [target, from].into_iter().for_each(&mut *each),
            Job::Thenable { target, thenable, then } => {
                [target, thenable, then].into_iter().for_each(&mut *each)
            }
        }
    }
    for pending in &task.pending {
        each(pending.arguments);
        if let Some(v) = pending.result {
            each(v);
        }
    }
    task.rejected.iter().for_each(|v| each(*v));
    each(task.entry);
    each(task.request.payload);
    each(task.request.object);
    if let Some(v) = task.symbols {
        each(v);
    }
}

/// The request's record, if there is a request.
pub(super) fn request(task: &TaskState, out: &mut Snapshot) {
    let request = &task.request;
    if request.bytes.is_empty() {
        return;
    }
    let start = out.bytes.len();
    let mut w = Writer(&mut out.bytes);
    w.bytes(&request.bytes);
    let range = |w: &mut Writer<'_>, r: &Range<usize>| {
        w.len(r.start);
        w.len(r.len());
    };
    let fixed =
        [&request.method, &request.path, &request.query, &request.content_type, &request.ip, &request.body];
    fixed.into_iter().for_each(|r| range(&mut w, r));
    for list in [&request.headers, &request.params] {
        w.len(list.len());
        for (name, value) in list {
            range(&mut w, name);
            range(&mut w, value);
        }
    }
    out.end(RecordKey::Request, start);
}

/// One record per fiber and per call.
pub(super) fn fibers(saver: &mut Saver<'_, '_>, task: &TaskState, out: &mut Snapshot) {
    for (index, fiber) in (0u32..).zip(&task.fibers) {
        if fiber.wait == Wait::Free {
            continue;
        }
        let start = out.bytes.len();
        self::fiber(saver, fiber, &mut Writer(&mut out.bytes));
        out.end(RecordKey::Fiber(index), start);
        let (mut below, mut base): (Option<&Frame>, u32) = (None, 0);
        for (depth, frame) in (0u32..).zip(&fiber.frames) {
            let start = out.bytes.len();
            let local = saver.world.local;
            // A generator's call may leave a gap below it (parked.rs), a call in a snapshot doesn't.
            base = match below {
                None => frame.base,
                Some(f) => {
                    let registers = u32::try_from(self::registers(local, f)).unwrap_or(u32::MAX);
                    base + (frame.base - f.base).min(registers.saturating_add(1))
                }
            };
            below = Some(frame);
            let registers = &fiber.stack[window(local, &fiber.frames, depth as usize)];
            self::frame(saver, &Frame { base, ..*frame }, registers, &mut Writer(&mut out.bytes));
            out.end(RecordKey::Frame(index, depth), start);
        }
    }
}

/// Bit of a fiber's state: it runs the code of an async generator, which follows.
pub(super) const OF_GENERATOR: u8 = 8;

fn fiber(saver: &mut Saver<'_, '_>, fiber: &Fiber, w: &mut Writer<'_>) {
    // Every field, so that whoever adds one comes by here.
    let Fiber {
        stack: _,
        frames,
        wait,
        cont: then,
        promise,
        parent,
        reject_only,
        main,
        handler,
        transaction,
        generator,
    } = fiber;
    let with = if generator.is_empty() { 0 } else { OF_GENERATOR };
    match wait {
        Wait::Free => w.u8(0),
        Wait::Running => w.u8(with | 1),
        Wait::Ready => w.u8(with | 2),
        Wait::Promise => w.u8(with | 3),
        Wait::Effect(id) => {
            w.u8(with | 4);
            w.varint(u64::from(id.0));
        }
    }
    if with != 0 {
        w.u64(saver.word(*generator));
    }
    // One that doesn't wait has what its last wait left behind.
    let waits = matches!(wait, Wait::Promise | Wait::Effect(_));
    cont(saver, if waits { *then } else { Cont::ROOT }, w);
    w.u64(saver.word(*promise));
    w.flag(parent.is_some());
    if let Some((index, then)) = parent {
        w.varint(u64::from(*index));
        cont(saver, *then, w);
    }
    [*reject_only, *main, *handler].into_iter().for_each(|f| w.flag(f));
    w.varint(u64::from(*transaction));
    w.len(frames.len());
}

fn frame(saver: &mut Saver<'_, '_>, frame: &Frame, registers: &[Value], w: &mut Writer<'_>) {
    let Frame { function, pc, base, unit, flags, closure, cont: then } = *frame;
    w.u8(unit);
    w.varint(u64::from(if unit == 1 { saver.function(function) } else { function }));
    w.varint(u64::from(pc));
    w.varint(u64::from(base));
    // Whether a loop has pushed it is learned again.
    w.u8(flags & !IN_LOOP);
    w.u64(saver.word(closure));
    cont(saver, then, w);
    w.len(registers.len());
    for v in registers {
        w.u64(saver.word(*v));
    }
}

fn cont(saver: &mut Saver<'_, '_>, cont: Cont, w: &mut Writer<'_>) {
    let Cont { kind, dst, a, saved } = cont;
    w.u8(cont_number(kind));
    w.varint(u64::from(dst));
    w.u32(a);
    w.u64(saver.word(saved));
}

/// The task's record, but for its end.
pub(super) fn task(
    saver: &mut Saver<'_, '_>,
    task: &TaskState,
    top: u32,
    now: Monotonic,
    out: &mut Snapshot,
) {
    // Every field, so that whoever adds one comes by here.
    let TaskState {
        handle: _,
        blueprint: _,
        tenant: _,
        limits: _,
        fuel_used,
        deadline,
        fibers,
        ready,
        jobs,
        pending,
        effects_made,
        outcome: _,
        trap: _,
        rejected,
        request,
        entry,
        takes_request,
        symbols,
        random,
        // A native that begins its search again comes to the same end.
        search: _,
        // Only a native that is interrupted has it, and such a task isn't saved.
        json: _,
        // Nor is one that has ended.
        body: _,
        spare: _,
        free_from: _,
        numbers: _,
    } = task;
    let blueprint = out.blueprint;
    let mut w = Writer(&mut out.bytes);
    w.0.extend_from_slice(&super::SNAPSHOT_VERSION.to_le_bytes());
    w.0.extend_from_slice(&blueprint);
    w.varint(u64::from(top));
    w.u64(saver.word(symbols.unwrap_or(Value::EMPTY)));
    w.varint(*fuel_used);
    w.varint(saver.world.heap.work);
    let left = u64::try_from(deadline.since(now).as_nanos()).unwrap_or(u64::MAX);
    w.varint(if *deadline == Monotonic::NEVER { u64::MAX } else { left });
    w.len(fibers.len());
    w.varint(ready.map_or(0, |f| u64::from(f) + 1));
    w.varint(u64::from(*effects_made));
    w.varint(*random);
    w.flag(*takes_request);
    for v in [*entry, request.payload, request.object] {
        w.u64(saver.word(v));
    }
    w.len(rejected.len());
    for v in rejected {
        w.u64(saver.word(*v));
    }
    w.len(jobs.len());
    for job in jobs {
        self::job(saver, job, &mut w);
    }
    w.len(pending.len());
    for p in pending {
        let Pending { id, function, fiber, arguments, transaction, taken: _, result } = p;
        w.varint(u64::from(id.0));
        w.varint(*function as u64);
        w.varint(u64::from(*fiber));
        w.varint(u64::from(*transaction));
        w.u64(saver.word(*arguments));
        w.u64(saver.word(result.unwrap_or(Value::EMPTY)));
    }
}

fn job(saver: &mut Saver<'_, '_>, job: &Job, w: &mut Writer<'_>) {
    let (number, fiber, rejected, values): (u8, u32, bool, &[Value]) = match job {
        Job::Resume { fiber, value, rejected } => (0, *fiber, *rejected, &[*value]),
        Job::React { handler, value, target, rejected } => (1, 0, *rejected, &[*handler, *value, *target]),
        Job::Adopt { target, from } => (2, 0, false, &[*target, *from]),
        Job::Thenable { target, thenable, then } => (3, 0, false, &[*target, *thenable, *then]),
        Job::Main { value, rejected } => (4, 0, *rejected, &[*value]),
    };
    w.u8(number);
    w.varint(u64::from(fiber));
    w.flag(rejected);
    for v in values {
        w.u64(saver.word(*v));
    }
}

/// Values of a job, by its number.
pub(super) const JOB_VALUES: [usize; 5] = [1, 3, 2, 3, 1];
