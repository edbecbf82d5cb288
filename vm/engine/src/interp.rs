//! The loop: one `match` over 64-bit instruction words on a window of registers.
//!
//! Fast paths stand here; whatever may call a script, allocate much or throw is in
//! `call.rs` and `slow.rs`, which push frames instead of recursing. After anything that
//! may have changed the frame, the loop reloads its locals from the top frame record.
#![expect(
    unsafe_code,
    reason = "registers, code, constants and caches of verified modules; see Safety below"
)]
// Safety. Only a `Verified` module becomes a `Unit`, so every register operand of function f is below
// f.registers, every jump lands in f.code, the last instruction doesn't fall through, and
// constants, sites and upvalues are in range (verify.rs, `check_instr`). A frame is pushed only after
// `ensure_stack(base + registers)` (`stack_limit` is at most `stack.len()`), and `stack` moves only in calls after which the loop reloads
// `regs` ('reload). Units and caches live in `Local` and don't move while a task runs.

use crate::api::Trap;
use crate::call::{NATIVE_FUEL, WORK_UNSETTLED_MAX};
use crate::ctx::{Args, Ctx};
use crate::fiber::{Cont, ContKind, Frame, NATIVE_FRAME};
use crate::generator::How;
use crate::heap::METERED;
use crate::heap::kind;
use crate::hostcall::HOST_FUEL;
use crate::known::Helper;
use crate::object::{Get, Key, Put, flag};
use crate::ops::to_int32;
use crate::overlay::touched;
use crate::steps::SAME_CALL;
use crate::string::TEMPLATE_BYTES_MAX;
use crate::throw::Throw;
use crate::unit::{Hot, NUMBER_RECEIVER, OUTSIDE, STRING_RECEIVER, Unit};
use crate::value::{Value, space, strict_equals_number};
use forebay_bytecode::{Capture, HostFn, Instr, Op};
use std::cmp::Ordering;
use std::hint::cold_path;

/// Registers that are made undefined at a time when a frame is entered.
const FILL: usize = 4;

/// Where `exec` stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// The fiber waits or is done: the scheduler picks the next.
    Idle,
    SliceOver,
    Trap(Trap),
}

impl Ctx<'_> {
    /// Runs the current fiber until it waits, ends, or the slice is over.
    pub(crate) fn exec(&mut self) -> Exit {
        loop {
            if self.frames.is_empty() {
                return Exit::Idle;
            }
            match self.exec_frames() {
                Ok(exit) => return exit,
                // `payload()` in the middle of a long body: the instruction is carried out again.
                Err(Throw::Again) if self.task.json.as_ref().is_some_and(|paused| paused.is_body()) => {
                    if let Some(top) = self.frames.last_mut() {
                        top.pc -= 1;
                    }
                    return Exit::SliceOver;
                }
                Err(throw) => {
                    if let Some(exit) = self.unwind(throw) {
                        return exit;
                    }
                }
            }
        }
    }

    #[inline]
    pub(crate) fn site_key(&self, unit: usize, site: usize) -> Key {
        let key = self.mem.local.units[unit].sites[site];
        if key.is_int() { Key::Index(key.as_int().cast_unsigned()) } else { Key::Atom(key) }
    }

    #[expect(clippy::too_many_lines, reason = "one match over the opcode table: splitting it would hide it")]
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "tested before each cast")]
    fn exec_frames(&mut self) -> Result<Exit, Throw> {
        'reload: loop {
            let Some(frame) = self.frames.last() else { return Ok(Exit::Idle) };
            if frame.unit == NATIVE_FRAME {
                if self.slice_over() {
                    return Ok(Exit::SliceOver);
                }
                self.go_on()?;
                continue 'reload;
            }
            let mut base = frame.base as usize;
            let mut closure = frame.closure;
            let mut hot: *const Hot =
                &raw const self.mem.local.hot[usize::from(frame.unit)][frame.function as usize];
            // SAFETY: the table lives in `Local` and doesn't change while a task runs (`Local::set_unit`), so
            // `hot` points at a function of it from here on.
            let mut code = unsafe { (*hot).code };
            // SAFETY: a frame's pc is inside its function's code (verified jumps only).
            let mut pc = unsafe { code.add(frame.pc as usize) };
            // SAFETY: as above.
            debug_assert!(base + usize::from(unsafe { (*hot).registers }) <= self.stack.len());
            // SAFETY: base + registers <= stack.len(), established where the frame was pushed.
            let mut regs = unsafe { self.stack.as_mut_ptr().add(base) };

            // What runs from here on, as 'reload would find it: the window at `$base` of `$hot`.
            macro_rules! enter {
                ($base:expr, $closure:expr, $hot:expr, $pc:expr) => {{
                    base = $base;
                    closure = $closure;
                    hot = $hot;
                    // SAFETY: as at 'reload: the caller took `$hot` from the table, `$pc` and `$base` from a frame.
                    unsafe {
                        code = (*hot).code;
                        pc = code.add($pc as usize);
                        regs = self.stack.as_mut_ptr().add(base);
                    }
                }};
            }
            // The function that runs.
            macro_rules! hot {
                () => {
                    // SAFETY: a function of the table, see above.
                    unsafe { &*hot }
                };
            }

            macro_rules! unit_index {
                () => {
                    usize::from(hot!().unit)
                };
            }
            macro_rules! site {
                ($i:expr) => {
                    hot!().site_base as usize + usize::from($i.c())
                };
            }
            macro_rules! constant {
                ($i:expr) => {
                    // SAFETY: constant operands are verified; `hot` as in `hot!`.
                    unsafe { *(*hot).constants.add($i.bx() as usize) }
                };
            }
            macro_rules! cache {
                ($i:expr) => {
                    // SAFETY: site operands are below the function's site_count, and there is a cache for each.
                    unsafe { &(*(*hot).caches.add(usize::from($i.c())))[0] }
                };
            }
            macro_rules! r {
                ($i:expr) => {
                    // SAFETY: a register operand of verified code (see Safety above).
                    *unsafe { &mut *regs.add($i as usize) }
                };
            }
            macro_rules! save {
                () => {
                    // SAFETY: pc points into (or just behind an instruction of) `code`.
                    let at = unsafe { pc.offset_from(code) } as u32;
                    if let Some(top) = self.frames.last_mut() {
                        top.pc = at;
                    }
                };
            }
            macro_rules! tri {
                ($e:expr) => {
                    match $e {
                        Ok(v) => v,
                        Err(throw) => {
                            cold_path();
                            save!();
                            return Err(throw);
                        }
                    }
                };
            }
            macro_rules! jump {
                ($by:expr) => {
                    // SAFETY: verified: the target is an instruction of this function.
                    pc = unsafe { pc.offset($by as isize) }
                };
            }
            // Leaves the fast path: `$e` may push frames.
            macro_rules! slow {
                ($e:expr) => {{
                    cold_path();
                    save!();
                    $e?;
                    continue 'reload;
                }};
            }
            // The same call in the same window, with so many arguments that stand there.
            macro_rules! call_again {
                ($passed:expr) => {{
                    let f = hot!();
                    // SAFETY: the frame's window is where it was; the stack may have moved.
                    regs = unsafe { self.stack.as_mut_ptr().add(base) };
                    let mut at = 1 + $passed.min(f.parameters);
                    while at < f.registers {
                        r!(at) = Value::UNDEFINED;
                        at += 1;
                    }
                    pc = code;
                    self.fuel -= if METERED { f.cost + NATIVE_FUEL } else { 0 };
                    if METERED && (self.fuel < 0 || self.mem.heap.work > 0) && self.slice_over() {
                        save!();
                        return Ok(Exit::SliceOver);
                    }
                    continue;
                }};
            }
            macro_rules! return_value {
                ($v:expr, $n:expr) => {{
                    let v = $v;
                    if let [done] = &self.frames[..]
                        && done.cont.kind == ContKind::Root
                        && self.ends_with(v, $n == 1)
                    {
                        return Ok(Exit::Idle);
                    }
                    if $n == 1 && self.frames.len() == 2 {
                        self.guard_returned(v);
                    }
                    if let [.., caller, done] = &self.frames[..]
                        && done.cont.kind == ContKind::Plain
                    {
                        // Such a result is for a register of a script's call.
                        debug_assert!(caller.unit != NATIVE_FRAME);
                        let hot =
                            &raw const self.mem.local.hot[usize::from(caller.unit)][caller.function as usize];
                        let to = caller.base as usize;
                        self.stack[to + usize::from(done.cont.dst)] = v;
                        enter!(to, caller.closure, hot, caller.pc);
                        self.frames.pop();
                        continue;
                    }
                    if let Some(done) = self.frames.pop() {
                        if done.cont.kind == ContKind::Step {
                            let same = done.cont.a == SAME_CALL && hot!().simple;
                            if same && let Some(passed) = self.quick_step(base, v) {
                                self.frames.push(done);
                                call_again!(passed)
                            }
                            match self.again(&done, v, same)? {
                                Some(passed) => call_again!(passed),
                                None => continue 'reload,
                            }
                        }
                        if $n == 1 && self.frames.is_empty() {
                            self.mark_returned(v);
                        }
                        self.finish(done.cont, v)?;
                    }
                    if self.frames.is_empty() {
                        return Ok(Exit::Idle);
                    }
                    continue 'reload;
                }};
            }
            macro_rules! arith {
                ($i:expr, $int:ident, $float:tt) => {{
                    let (x, y) = (r!($i.b()), r!($i.c()));
                    if Value::both_int(x, y)
                        && let Some(z) = x.as_int().$int(y.as_int())
                    {
                        r!($i.a()) = Value::int(z);
                    } else if x.is_double() && y.is_double() {
                        r!($i.a()) = Value::double(x.as_double() $float y.as_double());
                    } else if let (Some(p), Some(q)) = (x.as_number(), y.as_number()) {
                        r!($i.a()) = Value::double(p $float q);
                    } else {
                        slow!(self.binary($i, x, y))
                    }
                }};
            }
            macro_rules! bits {
                ($i:expr, $f:expr) => {{
                    let (x, y) = (r!($i.b()), r!($i.c()));
                    if Value::both_int(x, y) {
                        r!($i.a()) = $f(x.as_int(), y.as_int());
                    } else if let (Some(p), Some(q)) = (x.as_number(), y.as_number()) {
                        r!($i.a()) = $f(to_int32(p), to_int32(q));
                    } else {
                        slow!(self.binary($i, x, y))
                    }
                }};
            }
            // The canonical form of a fused instruction's first part.
            macro_rules! part {
                ($i:expr, $op:expr) => {
                    Instr($i.0 & !0xff | u64::from($op as u8))
                };
            }
            // The next part of a fused instruction; pc goes behind it.
            macro_rules! next {
                () => {{
                    // SAFETY: fuse.rs has seen this word, and no run crosses the end of the code.
                    let next: Instr = unsafe { *pc };
                    // SAFETY: as above.
                    pc = unsafe { pc.add(1) };
                    next
                }};
            }
            // Loads an integer, then compares r[b] with it and jumps if that doesn't hold.
            macro_rules! int_jump {
                ($i:expr, $op:tt) => {{
                    // SAFETY: two more words follow (fuse.rs).
                    let second: Instr = unsafe { *pc };
                    let x = r!(second.b());
                    let k = $i.sbx();
                    r!($i.a()) = Value::int(k);
                    let holds = if x.is_int() {
                        x.as_int() $op k
                    } else if x.is_double() {
                        x.as_double() $op f64::from(k)
                    } else {
                        continue;
                    };
                    r!(second.a()) = Value::bool(holds);
                    // SAFETY: as above.
                    let jump: Instr = unsafe { *pc.add(1) };
                    // SAFETY: as above.
                    pc = unsafe { pc.add(2) };
                    if !holds {
                        jump!(jump.sbx());
                    }
                }};
            }
            macro_rules! compare_jump {
                ($i:expr, $op:tt, $canonical:expr) => {{
                    let (x, y) = (r!($i.b()), r!($i.c()));
                    let holds = if Value::both_int(x, y) {
                        x.as_int() $op y.as_int()
                    } else if let (Some(p), Some(q)) = (x.as_number(), y.as_number()) {
                        p $op q
                    } else if x.is_string() && y.is_string() {
                        (tri!(self.mem.heap.string_order(x, y)) as i8) $op 0
                    } else {
                        slow!(self.binary(part!($i, $canonical), x, y))
                    };
                    r!($i.a()) = Value::bool(holds);
                    let jump = next!();
                    if !holds {
                        jump!(jump.sbx());
                    }
                }};
            }
            macro_rules! equal_jump {
                ($i:expr, $wanted:expr) => {{
                    let (x, y) = (r!($i.b()), r!($i.c()));
                    let same = if x.is_number() {
                        strict_equals_number(x, y)
                    } else if x == y {
                        true
                    } else if x.is_string() && y.is_string() {
                        tri!(self.mem.strict_equals(x, y))
                    } else {
                        x.is_bigint() && tri!(self.mem.strict_equals(x, y))
                    };
                    let holds = same == $wanted;
                    r!($i.a()) = Value::bool(holds);
                    let jump = next!();
                    if !holds {
                        jump!(jump.sbx());
                    }
                }};
            }
            // Loads an integer, then combines r[b] with it; `$int` may have no answer.
            macro_rules! int_arith {
                ($i:expr, |$x:ident, $k:ident| $int:expr, |$p:ident, $q:ident| $float:expr) => {{
                    // SAFETY: one more word follows (fuse.rs).
                    let second: Instr = unsafe { *pc };
                    let x = r!(second.b());
                    r!($i.a()) = Value::int($i.sbx());
                    if x.is_int() {
                        let ($x, $k) = (x.as_int(), $i.sbx());
                        let z: Option<i32> = $int;
                        if let Some(z) = z {
                            r!(second.a()) = Value::int(z);
                            // SAFETY: as above.
                            pc = unsafe { pc.add(1) };
                        }
                    } else if x.is_double() {
                        let ($p, $q) = (x.as_double(), f64::from($i.sbx()));
                        let z: Option<Value> = $float;
                        if let Some(z) = z {
                            r!(second.a()) = z;
                            // SAFETY: as above.
                            pc = unsafe { pc.add(1) };
                        }
                    }
                }};
            }
            macro_rules! compare {
                ($i:expr, $op:tt) => {{
                    let (x, y) = (r!($i.b()), r!($i.c()));
                    if Value::both_int(x, y) {
                        r!($i.a()) = Value::bool(x.as_int() $op y.as_int());
                    } else if let (Some(p), Some(q)) = (x.as_number(), y.as_number()) {
                        r!($i.a()) = Value::bool(p $op q);
                    } else if x.is_string() && y.is_string() {
                        let order = tri!(self.mem.heap.string_order(x, y)) as i8;
                        r!($i.a()) = Value::bool(order $op 0);
                    } else {
                        slow!(self.binary($i, x, y))
                    }
                }};
            }

            loop {
                // SAFETY: pc is inside the code: jumps are verified and the last instruction doesn't fall through.
                let i: Instr = unsafe { *pc };
                // SAFETY: as above; the next pc is only read after this instruction didn't jump or return.
                pc = unsafe { pc.add(1) };
                // SAFETY: the verifier knows every op of the code.
                let op = unsafe { std::mem::transmute::<u8, Op>(i.op_byte()) };
                match op {
                    // Fused (fuse.rs): if an operand isn't right for it, its first part is done alone.
                    Op::IntLtJump => int_jump!(i, <),
                    Op::IntLeJump => int_jump!(i, <=),
                    Op::IntGtJump => int_jump!(i, >),
                    Op::IntGeJump => int_jump!(i, >=),
                    Op::IntEqJump => int_jump!(i, ==),
                    Op::IntNeJump => int_jump!(i, !=),
                    Op::UndefinedJump | Op::DefinedJump => {
                        let second = next!();
                        let holds = r!(second.b()).is_undefined() == (op == Op::UndefinedJump);
                        r!(i.a()) = Value::UNDEFINED;
                        r!(second.a()) = Value::bool(holds);
                        let jump = next!();
                        if !holds {
                            jump!(jump.sbx());
                        }
                    }
                    Op::LtJump => compare_jump!(i, <, Op::Lt),
                    Op::LeJump => compare_jump!(i, <=, Op::Le),
                    Op::GtJump => compare_jump!(i, >, Op::Gt),
                    Op::GeJump => compare_jump!(i, >=, Op::Ge),
                    Op::EqJump => equal_jump!(i, true),
                    Op::NeJump => equal_jump!(i, false),
                    Op::IntAdd => int_arith!(i, |x, k| x.checked_add(k), |p, q| Some(Value::double(p + q))),
                    Op::IntSub => int_arith!(i, |x, k| x.checked_sub(k), |p, q| Some(Value::double(p - q))),
                    Op::IntMul => int_arith!(
                        i,
                        |x, k| x.checked_mul(k).filter(|z| *z != 0 || (x >= 0 && k >= 0)),
                        |p, q| Some(Value::double(p * q))
                    ),
                    Op::IntRem => {
                        int_arith!(i, |x, k| if x >= 0 && k > 0 { Some(x % k) } else { None }, |_p, _q| None)
                    }
                    Op::IntAnd => int_arith!(i, |x, k| Some(x & k), |_p, _q| None),
                    Op::IncLoop => {
                        let x = r!(i.b());
                        if x.is_int() && x.as_int() != i32::MAX {
                            r!(i.a()) = Value::int(x.as_int() + 1);
                        } else {
                            slow!(self.unary(part!(i, Op::Inc), x))
                        }
                        let jump = next!();
                        jump!(jump.sbx());
                        self.fuel -= if METERED { i64::from(-jump.sbx()) } else { 0 };
                        if METERED && (self.fuel < 0 || self.mem.heap.work > 0) {
                            cold_path();
                            self.fuel -= std::mem::take(&mut self.mem.heap.work).cast_signed();
                            if self.fuel < 0 {
                                save!();
                                return Ok(Exit::SliceOver);
                            }
                        }
                    }
                    Op::PostInc => {
                        let x = r!(i.b());
                        if x.is_int() && x.as_int() != i32::MAX {
                            let second = next!();
                            r!(i.a()) = x;
                            r!(second.a()) = Value::int(x.as_int() + 1);
                        } else if x.is_number() {
                            r!(i.a()) = x;
                        } else {
                            slow!(self.unary(part!(i, Op::ToNumeric), x))
                        }
                    }
                    Op::ModuleThis => {
                        let v = self.mem.local.slots[unit_index!()][i.bx() as usize];
                        if v.is_empty() {
                            cold_path();
                            let name = self.slot_name(unit_index!(), i.bx());
                            tri!(self.uninitialised(name));
                        }
                        r!(i.a()) = v;
                        let second = next!();
                        r!(second.a()) = Value::UNDEFINED;
                    }
                    Op::MoveThis => {
                        r!(i.a()) = r!(i.b());
                        let second = next!();
                        r!(second.a()) = Value::UNDEFINED;
                    }
                    Op::Move2 => {
                        r!(i.a()) = r!(i.b());
                        let second = next!();
                        r!(second.a()) = r!(second.b());
                    }
                    Op::Move3 => {
                        r!(i.a()) = r!(i.b());
                        let second = next!();
                        r!(second.a()) = r!(second.b());
                        let third = next!();
                        r!(third.a()) = r!(third.b());
                    }

                    Op::LoadUndefined => r!(i.a()) = Value::UNDEFINED,
                    Op::LoadNull => r!(i.a()) = Value::NULL,
                    Op::LoadTrue => r!(i.a()) = Value::TRUE,
                    Op::LoadFalse => r!(i.a()) = Value::FALSE,
                    Op::LoadInt => r!(i.a()) = Value::int(i.sbx()),
                    Op::LoadConst => r!(i.a()) = constant!(i),
                    Op::NewRegExp => {
                        let literal = constant!(i);
                        r!(i.a()) = tri!(self.mem.regexp_literal(literal));
                    }
                    Op::LoadEmpty => r!(i.a()) = Value::EMPTY,
                    Op::Move => r!(i.a()) = r!(i.b()),
                    Op::CheckInit => {
                        if r!(i.a()).is_empty() {
                            let name = constant!(i);
                            tri!(self.uninitialised(name));
                        }
                    }
                    Op::LoadGlobal => r!(i.a()) = self.mem.local.known.globals[i.bx() as usize],

                    Op::NewCell => {
                        let v = r!(i.b());
                        r!(i.a()) = tri!(self.mem.new_variable(v));
                    }
                    Op::GetCell => {
                        let cell = r!(i.b());
                        r!(i.a()) = tri!(self.read_cell(cell));
                    }
                    Op::SetCell => {
                        let (cell, v) = (r!(i.a()), r!(i.b()));
                        tri!(self.write_cell(cell, v, false));
                    }
                    Op::InitCell => {
                        let (cell, v) = (r!(i.a()), r!(i.b()));
                        tri!(self.write_cell(cell, v, true));
                    }
                    Op::Closure => {
                        let index = i.bx();
                        let new = tri!(self.mem.new_closure(unit_index!(), index));
                        let unit: *const Unit = &raw const *self.mem.local.units[unit_index!()];
                        // SAFETY: units live in `Local` behind an Arc for as long as the task runs.
                        let unit = unsafe { &*unit };
                        let captures = &unit.functions()[index as usize].captures;
                        for (word, capture) in (4u32..).zip(captures) {
                            let v = match capture {
                                Capture::Register(register) => r!(*register),
                                Capture::Upvalue(upvalue) => {
                                    self.mem.heap.get(closure.as_ref(), 4 + u32::from(*upvalue))
                                }
                            };
                            self.mem.heap.set(new, word, v);
                        }
                        r!(i.a()) = new.object();
                        if self.mem.heap.own() != space::TASK {
                            cold_path();
                            tri!(self.mem.make_prototype(new));
                        }
                    }
                    Op::GetUpvalue => r!(i.a()) = self.mem.heap.get(closure.as_ref(), 4 + u32::from(i.b())),
                    Op::GetUpCell => {
                        let cell = self.mem.heap.get(closure.as_ref(), 4 + u32::from(i.b()));
                        r!(i.a()) = tri!(self.read_cell(cell));
                    }
                    Op::SetUpCell => {
                        let cell = self.mem.heap.get(closure.as_ref(), 4 + u32::from(i.b()));
                        let v = r!(i.a());
                        tri!(self.write_cell(cell, v, false));
                    }
                    Op::GetModule => {
                        let v = self.mem.local.slots[unit_index!()][i.bx() as usize];
                        if v.is_empty() {
                            cold_path();
                            let name = self.slot_name(unit_index!(), i.bx());
                            tri!(self.uninitialised(name));
                        }
                        r!(i.a()) = v;
                    }
                    Op::SetModule => {
                        if !self.mem.local.loading {
                            tri!(Err(Throw::type_error(
                                "module variables can't be assigned by a handler: use kv"
                            )));
                        }
                        self.mem.local.slots[unit_index!()][i.bx() as usize] = r!(i.a());
                    }
                    Op::SetHandler => {
                        if !self.mem.local.loading {
                            tri!(Err(Throw::type_error("handlers are set while the module loads")));
                        }
                        self.mem.local.handlers[i.bx() as usize] = r!(i.a());
                    }

                    Op::Add => {
                        let (x, y) = (r!(i.b()), r!(i.c()));
                        if Value::both_int(x, y)
                            && let Some(z) = x.as_int().checked_add(y.as_int())
                        {
                            r!(i.a()) = Value::int(z);
                        } else if let (Some(p), Some(q)) = (x.as_number(), y.as_number()) {
                            r!(i.a()) = Value::double(p + q);
                        } else if x.is_string() && y.is_string() {
                            r!(i.a()) = tri!(self.mem.heap.concat(x, y));
                        } else if (x.is_string() && y.is_number()) || (x.is_number() && y.is_string()) {
                            r!(i.a()) = tri!(self.mem.add(x, y));
                        } else {
                            slow!(self.binary(i, x, y))
                        }
                    }
                    Op::Sub => arith!(i, checked_sub, -),
                    Op::Mul => {
                        let (x, y) = (r!(i.b()), r!(i.c()));
                        if Value::both_int(x, y)
                            && let Some(z) = x.as_int().checked_mul(y.as_int())
                            && (z != 0 || (x.as_int() >= 0 && y.as_int() >= 0))
                        {
                            r!(i.a()) = Value::int(z);
                        } else if let (Some(p), Some(q)) = (x.as_number(), y.as_number()) {
                            r!(i.a()) = Value::double(p * q);
                        } else {
                            slow!(self.binary(i, x, y))
                        }
                    }
                    Op::Div => {
                        let (x, y) = (r!(i.b()), r!(i.c()));
                        if let (Some(p), Some(q)) = (x.as_number(), y.as_number()) {
                            r!(i.a()) = Value::number(p / q);
                        } else {
                            slow!(self.binary(i, x, y))
                        }
                    }
                    Op::Rem => {
                        let (x, y) = (r!(i.b()), r!(i.c()));
                        if Value::both_int(x, y) && x.as_int() >= 0 && y.as_int() > 0 {
                            r!(i.a()) = Value::int(x.as_int() % y.as_int());
                        } else {
                            slow!(self.binary(i, x, y))
                        }
                    }
                    Op::Pow => {
                        let (x, y) = (r!(i.b()), r!(i.c()));
                        slow!(self.binary(i, x, y))
                    }
                    Op::BitAnd => bits!(i, |x: i32, y: i32| Value::int(x & y)),
                    Op::BitOr => bits!(i, |x: i32, y: i32| Value::int(x | y)),
                    Op::BitXor => bits!(i, |x: i32, y: i32| Value::int(x ^ y)),
                    Op::Shl => bits!(i, |x: i32, y: i32| Value::int(x.wrapping_shl(y as u32))),
                    Op::Shr => bits!(i, |x: i32, y: i32| Value::int(x.wrapping_shr(y as u32))),
                    Op::UShr => {
                        bits!(i, |x: i32, y: i32| Value::from_u32((x as u32).wrapping_shr(y as u32)))
                    }
                    Op::Neg => {
                        let x = r!(i.b());
                        if x.is_int() && x.as_int() != 0 && x.as_int() != i32::MIN {
                            r!(i.a()) = Value::int(-x.as_int());
                        } else if x.is_double() {
                            r!(i.a()) = Value::double(-x.as_double());
                        } else {
                            slow!(self.unary(i, x))
                        }
                    }
                    Op::ToNumber | Op::ToNumeric => {
                        let x = r!(i.b());
                        if x.is_number() {
                            r!(i.a()) = x;
                        } else {
                            slow!(self.unary(i, x))
                        }
                    }
                    Op::Inc => {
                        let x = r!(i.b());
                        if x.is_int() && x.as_int() != i32::MAX {
                            r!(i.a()) = Value::int(x.as_int() + 1);
                        } else {
                            slow!(self.unary(i, x))
                        }
                    }
                    Op::Dec => {
                        let x = r!(i.b());
                        if x.is_int() && x.as_int() != i32::MIN {
                            r!(i.a()) = Value::int(x.as_int() - 1);
                        } else {
                            slow!(self.unary(i, x))
                        }
                    }
                    Op::BitNot => {
                        let x = r!(i.b());
                        if x.is_int() {
                            r!(i.a()) = Value::int(!x.as_int());
                        } else {
                            slow!(self.unary(i, x))
                        }
                    }
                    Op::Not => {
                        let x = r!(i.b());
                        r!(i.a()) = Value::bool(!self.mem.truthy(x));
                    }
                    Op::TypeOf => {
                        let x = r!(i.b());
                        r!(i.a()) = self.mem.type_of(x);
                    }
                    Op::Eq | Op::Ne => {
                        let (x, y) = (r!(i.b()), r!(i.c()));
                        if Value::both_int(x, y) {
                            r!(i.a()) = Value::bool((x == y) == (op == Op::Eq));
                        } else {
                            slow!(self.binary(i, x, y))
                        }
                    }
                    Op::StrictEq | Op::StrictNe => {
                        let (x, y) = (r!(i.b()), r!(i.c()));
                        let same = if x.is_number() {
                            strict_equals_number(x, y)
                        } else if x == y {
                            true
                        } else {
                            tri!(self.mem.strict_equals(x, y))
                        };
                        r!(i.a()) = Value::bool(same == (op == Op::StrictEq));
                    }
                    Op::Lt => compare!(i, <),
                    Op::Le => compare!(i, <=),
                    Op::Gt => compare!(i, >),
                    Op::Ge => compare!(i, >=),
                    Op::In => {
                        let (x, y) = (r!(i.b()), r!(i.c()));
                        if i.n() == 1 {
                            r!(i.a()) = Value::bool(tri!(self.is_still_there(x, y)));
                            continue;
                        }
                        slow!(self.has_property(i, x, y))
                    }
                    Op::InstanceOf => {
                        let (x, y) = (r!(i.b()), r!(i.c()));
                        slow!(self.instance_of(i, x, y))
                    }
                    Op::Concat => {
                        let first = base + usize::from(i.b());
                        let parts = &self.stack[first..first + usize::from(i.n())];
                        if let Some(text) = tri!(self.mem.heap.join(parts, TEMPLATE_BYTES_MAX)) {
                            r!(i.a()) = text;
                            continue;
                        }
                        let mut n = 0;
                        let mut text = self.mem.local.known.empty;
                        while n < u32::from(i.n()) {
                            let v = r!(u32::from(i.b()) + n);
                            if v.is_object() {
                                slow!(self.concat_from(i, n, text))
                            }
                            let s = tri!(self.mem.to_string(v));
                            text = tri!(self.mem.heap.concat(text, s));
                            n += 1;
                        }
                        r!(i.a()) = text;
                    }

                    Op::Jump => jump!(i.sbx()),
                    Op::Loop => {
                        jump!(i.sbx());
                        self.fuel -= if METERED { i64::from(-i.sbx()) } else { 0 };
                        if METERED && (self.fuel < 0 || self.mem.heap.work > 0) {
                            cold_path();
                            self.fuel -= std::mem::take(&mut self.mem.heap.work).cast_signed();
                            if self.fuel < 0 {
                                save!();
                                return Ok(Exit::SliceOver);
                            }
                        }
                    }
                    Op::JumpIfTrue => {
                        let v = r!(i.a());
                        if v == Value::TRUE || (v != Value::FALSE && self.mem.truthy(v)) {
                            jump!(i.sbx());
                        }
                    }
                    Op::JumpIfFalse => {
                        let v = r!(i.a());
                        if v == Value::FALSE || (v != Value::TRUE && !self.mem.truthy(v)) {
                            jump!(i.sbx());
                        }
                    }
                    Op::JumpIfNullish => {
                        if r!(i.a()).is_nullish() {
                            jump!(i.sbx());
                        }
                    }
                    Op::JumpIfNotNullish => {
                        if !r!(i.a()).is_nullish() {
                            jump!(i.sbx());
                        }
                    }
                    Op::JumpIfNotUndefined => {
                        if !r!(i.a()).is_undefined() {
                            jump!(i.sbx());
                        }
                    }
                    Op::JumpIfEmpty => {
                        if r!(i.a()).is_empty() {
                            jump!(i.sbx());
                        }
                    }
                    Op::FieldReturn => {
                        let v = r!(i.b());
                        let cache = cache!(i);
                        if v.is_object() && self.mem.heap.header(v.as_ref()) == cache.header {
                            let o = v.as_ref();
                            if cache.holder.bits() == 0 {
                                let v = self.mem.at_cache_slot(o, cache.slot);
                                r!(i.a()) = v;
                                return_value!(v, 0);
                            }
                        }
                        save!();
                        match self.get_field(unit_index!(), site!(i), v)? {
                            Get::Value(found) => r!(i.a()) = found,
                            Get::Getter(getter) => {
                                self.call_function(getter, v, &[], Cont::plain(i.a()))?;
                                continue 'reload;
                            }
                        }
                    }
                    Op::AddReturn => {
                        let (x, y) = (r!(i.b()), r!(i.c()));
                        let v = if Value::both_int(x, y)
                            && let Some(z) = x.as_int().checked_add(y.as_int())
                        {
                            Value::int(z)
                        } else if let (Some(p), Some(q)) = (x.as_number(), y.as_number()) {
                            Value::double(p + q)
                        } else {
                            slow!(self.binary(part!(i, Op::Add), x, y))
                        };
                        r!(i.a()) = v;
                        return_value!(v, 0);
                    }
                    Op::Return => {
                        let v = r!(i.a());
                        return_value!(v, i.n());
                    }
                    Op::Throw => {
                        let v = r!(i.a());
                        tri!(Err(Throw::Value(v)));
                    }
                    Op::ThrowTypeError => {
                        let text = tri!(self.mem.heap.to_text(constant!(i)));
                        tri!(Err(Throw::type_error(text)));
                    }
                    Op::ThrowReferenceError => {
                        let text = tri!(self.mem.heap.to_text(constant!(i)));
                        tri!(Err(Throw::reference_error(text)));
                    }
                    Op::Await => {
                        let v = r!(i.b());
                        save!();
                        self.park_on_promise(v, Cont::plain(i.a()))?;
                        if self.frames.is_empty() {
                            return Ok(Exit::Idle);
                        }
                        continue 'reload;
                    }

                    Op::GetField => {
                        let v = r!(i.b());
                        let cache = cache!(i);
                        if v.is_object() {
                            let o = v.as_ref();
                            if self.mem.heap.header(o) == cache.header {
                                if cache.holder.bits() == 0 {
                                    r!(i.a()) = self.mem.at_cache_slot(o, cache.slot);
                                    continue;
                                }
                                // A cell is an accessor: `get_field` knows it, too.
                                if self.mem.proto_of(o) == cache.proto {
                                    let found = self.mem.at_cache_slot(cache.holder.as_ref(), cache.slot);
                                    if !found.is_cell() {
                                        r!(i.a()) = found;
                                        continue;
                                    }
                                } else if let Some(found) = self.shaped(o, cache)
                                    && !found.is_cell()
                                {
                                    r!(i.a()) = found;
                                    continue;
                                }
                            }
                            if self.mem.heap.kind(o) == kind::ARRAY
                                && self.mem.local.units[unit_index!()].sites[site!(i)]
                                    == self.mem.local.known.length
                            {
                                r!(i.a()) = Value::from_u32(self.mem.array_len(o));
                                continue;
                            }
                        } else if v.is_string()
                            && self.mem.local.units[unit_index!()].sites[site!(i)]
                                == self.mem.local.known.length
                        {
                            r!(i.a()) = Value::from_u32(self.mem.heap.string_len(v));
                            continue;
                        }
                        save!();
                        match self.get_field(unit_index!(), site!(i), v)? {
                            Get::Value(found) => r!(i.a()) = found,
                            Get::Getter(getter) => {
                                self.call_function(getter, v, &[], Cont::plain(i.a()))?;
                                continue 'reload;
                            }
                        }
                    }
                    Op::GetMethod | Op::ConstMethod => {
                        let v = r!(i.b());
                        let cache = cache!(i);
                        if v.is_object() {
                            let o = v.as_ref();
                            if self.mem.heap.header(o) == cache.header {
                                if cache.holder.bits() == 0 {
                                    r!(i.a()) = self.mem.at_cache_slot(o, cache.slot);
                                    r!(i.a() + 1) = v;
                                    continue;
                                }
                                if self.mem.proto_of(o) == cache.proto {
                                    let found = self.mem.at_cache_slot(cache.holder.as_ref(), cache.slot);
                                    if !found.is_cell() {
                                        r!(i.a()) = found;
                                        r!(i.a() + 1) = v;
                                        continue;
                                    }
                                } else if let Some(found) = self.shaped(o, cache)
                                    && !found.is_cell()
                                {
                                    r!(i.a()) = found;
                                    r!(i.a() + 1) = v;
                                    continue;
                                }
                            }
                        } else if (v.is_string() && cache.header == STRING_RECEIVER)
                            || (v.is_number() && cache.header == NUMBER_RECEIVER)
                        {
                            let method = self.mem.at_cache_slot(cache.holder.as_ref(), cache.slot);
                            r!(i.a()) = method;
                            r!(i.a() + 1) = v;
                            if op == Op::ConstMethod
                                && self.mem.is_kind(method, kind::NATIVE)
                                && let Some(quick) = self.mem.quick_of(method.as_ref())
                            {
                                let load = next!();
                                let argument = constant!(load);
                                r!(load.a()) = argument;
                                let answer = quick(self, v, argument);
                                if answer.is_empty() {
                                    continue;
                                }
                                let call = next!();
                                self.fuel -= NATIVE_FUEL;
                                r!(call.a()) = answer;
                                if self.mem.heap.work > WORK_UNSETTLED_MAX {
                                    cold_path();
                                    self.slice_over();
                                }
                            }
                            continue;
                        }
                        save!();
                        let found = self.get_field(unit_index!(), site!(i), v)?;
                        r!(i.a() + 1) = v;
                        match found {
                            Get::Value(found) => r!(i.a()) = found,
                            Get::Getter(getter) => {
                                self.call_function(getter, v, &[], Cont::plain(i.a()))?;
                                continue 'reload;
                            }
                        }
                    }
                    Op::SetField => {
                        let (v, value) = (r!(i.a()), r!(i.b()));
                        let cache = cache!(i);
                        if v.is_object() {
                            let o = v.as_ref();
                            if self.mem.heap.header(o) == cache.header && o.space() == self.mem.heap.own() {
                                if cache.next == 0 {
                                    self.mem.set_at_cache_slot(o, cache.slot, value);
                                    continue;
                                }
                                if cache.slot & OUTSIDE == 0
                                    && (self.mem.proto_of(o) == cache.proto || self.adds_shaped(o, cache))
                                {
                                    self.mem.heap.set(o, cache.slot, value);
                                    let header = cache.header & 0xffff_ffff | u64::from(cache.next) << 32;
                                    self.mem.heap.store(o, 0, header);
                                    continue;
                                }
                            }
                        }
                        save!();
                        match self.set_field(unit_index!(), site!(i), v, value)? {
                            // The caches may be others now (overlay.rs).
                            Put::Done => continue 'reload,
                            Put::Setter(setter) => {
                                self.call_function(setter, v, &[value], Cont::new(ContKind::Discard, 0))?;
                                continue 'reload;
                            }
                        }
                    }
                    Op::DefField => {
                        let (v, value) = (r!(i.a()), r!(i.b()));
                        let cache = cache!(i);
                        if v.is_object() {
                            let o = v.as_ref();
                            if self.mem.heap.header(o) == cache.header
                                && o.space() == self.mem.heap.own()
                                && cache.next != 0
                                && cache.slot & OUTSIDE == 0
                            {
                                self.mem.heap.set(o, cache.slot, value);
                                let header = cache.header & 0xffff_ffff | u64::from(cache.next) << 32;
                                self.mem.heap.store(o, 0, header);
                                continue;
                            }
                        }
                        tri!(self.def_field(unit_index!(), site!(i), v, value));
                    }
                    Op::GetElem => {
                        let (v, k) = (r!(i.b()), r!(i.c()));
                        if v.is_object()
                            && let Some(index) = k.as_index()
                            && let Some(found) = self.mem.dense_element(v.as_ref(), index)
                        {
                            r!(i.a()) = found;
                            continue;
                        }
                        slow!(self.get_element(i, v, k))
                    }
                    Op::SetElem => {
                        let (v, k, value) = (r!(i.a()), r!(i.b()), r!(i.c()));
                        if v.is_object()
                            && v.as_ref().space() == self.mem.heap.own()
                            && let Some(index) = k.as_index()
                        {
                            let o = v.as_ref();
                            if self.mem.dense_element(o, index).is_some() {
                                let cell = self.mem.elements(o);
                                self.mem.heap.set(cell, 1 + index, value);
                                continue;
                            }
                            if self.mem.heap.touched & touched::ELEMENTS == 0
                                && self.mem.fill_hole(o, index, value)
                            {
                                continue;
                            }
                            if self.mem.heap.kind(o) == kind::ARRAY
                                && index == self.mem.array_len(o)
                                && self.mem.heap.touched & touched::ELEMENTS == 0
                            {
                                tri!(self.mem.array_push(o, value));
                                continue;
                            }
                        }
                        slow!(self.set_element(v, k, value))
                    }
                    Op::DeleteField => {
                        let v = r!(i.b());
                        let key = self.site_key(unit_index!(), site!(i));
                        r!(i.a()) = tri!(self.delete_key(v, key));
                        save!();
                        continue 'reload;
                    }
                    Op::DeleteElem => {
                        let (v, k) = (r!(i.b()), r!(i.c()));
                        slow!(self.delete_element(i, v, k))
                    }
                    Op::NewObject => {
                        let new = tri!(self.mem.new_object(i.bx()));
                        r!(i.a()) = new.object();
                    }
                    Op::DefElem => {
                        let (v, k, value) = (r!(i.a()), r!(i.b()), r!(i.c()));
                        if i.n() == 0 {
                            tri!(self.def_element(v, k, value));
                        } else {
                            tri!(self.mem.define_hidden(v, k, value));
                        }
                    }
                    Op::DefGetter | Op::DefSetter => {
                        let (v, k, f) = (r!(i.a()), r!(i.b()), r!(i.c()));
                        tri!(self.def_accessor(v, k, f, op == Op::DefGetter, i.n() == 0));
                    }
                    Op::ObjectSpread => {
                        let (target, source) = (r!(i.a()), r!(i.b()));
                        slow!(self.object_spread(target, source))
                    }
                    Op::ObjectRest => {
                        let source = r!(i.b());
                        slow!(self.object_rest(i, source))
                    }
                    Op::NewArray => {
                        let new = tri!(self.mem.new_array(i.bx().min(1 << 16)));
                        r!(i.a()) = new.object();
                    }
                    Op::ArrayPush => {
                        let (v, value) = (r!(i.a()), r!(i.b()));
                        tri!(self.literal_array(v));
                        tri!(self.mem.array_push(v.as_ref(), value));
                    }
                    Op::ArrayHole => {
                        let v = r!(i.a());
                        tri!(self.literal_array(v));
                        tri!(self.mem.array_push(v.as_ref(), Value::HOLE));
                    }
                    Op::ArraySpread => {
                        let (v, source) = (r!(i.a()), r!(i.b()));
                        slow!(self.array_spread(v, source))
                    }

                    Op::GetIterator => {
                        let v = r!(i.b());
                        if (self.mem.is_kind(v, kind::ARRAY) && tri!(self.is_plain_array(v)))
                            || (v.is_string() && self.mem.heap.touched & touched::ITERATION == 0)
                        {
                            r!(i.a()) = v;
                            r!(i.a() + 1) = Value::ZERO;
                            continue;
                        }
                        slow!(self.get_iterator(i.a(), v))
                    }
                    Op::IteratorNext => {
                        let (it, state) = (r!(i.a()), r!(i.a() + 1));
                        if state.is_int() && self.mem.is_kind(it, kind::ARRAY) {
                            let (at, o) = (state.as_int() as u32, it.as_ref());
                            if at >= self.mem.array_len(o) {
                                r!(i.a()) = Value::UNDEFINED;
                                r!(i.a() + 2) = Value::UNDEFINED;
                                jump!(i.sbx());
                                continue;
                            }
                            r!(i.a() + 1) = Value::int(state.as_int() + 1);
                            if let Some(v) = self.mem.dense_element(o, at) {
                                r!(i.a() + 2) = v;
                                continue;
                            }
                            save!();
                            match self.mem.get(o, Key::Index(at))? {
                                Get::Value(v) => r!(i.a() + 2) = v,
                                Get::Getter(getter) => {
                                    self.call_function(getter, it, &[], Cont::plain(i.a() + 2))?;
                                    continue 'reload;
                                }
                            }
                            continue;
                        }
                        if state.is_int() && it.is_string() {
                            match tri!(self.next_char(it, state.as_int() as u32)) {
                                Some((c, next)) => {
                                    r!(i.a() + 1) = Value::int(next.cast_signed());
                                    r!(i.a() + 2) = c;
                                }
                                None => {
                                    r!(i.a()) = Value::UNDEFINED;
                                    r!(i.a() + 2) = Value::UNDEFINED;
                                    jump!(i.sbx());
                                }
                            }
                            continue;
                        }
                        if it.is_undefined() {
                            // Done before: an iterator is not asked again.
                            r!(i.a() + 2) = Value::UNDEFINED;
                            jump!(i.sbx());
                            continue;
                        }
                        r!(i.a()) = Value::UNDEFINED;
                        if state == self.mem.local.known.generator_next {
                            save!();
                            let cont = Cont::with(ContKind::Next, i.a() + 2, i.bx(), it);
                            if let Some(turn) = self.next_of_parked(it, cont) {
                                enter!(turn.base, turn.closure, turn.hot, turn.pc);
                                continue;
                            }
                            cold_path();
                            let at = base + usize::from(hot!().registers) + 1;
                            if let Some(next) = self.next_of_generator(it, at, cont)
                                && let Some(top) = self.frames.last()
                            {
                                enter!(top.base as usize, top.closure, next.as_ptr(), top.pc);
                                continue;
                            }
                        }
                        slow!(self.iterator_next(
                            it,
                            state,
                            Cont::with(ContKind::Next, i.a() + 2, i.bx(), it)
                        ))
                    }
                    Op::IteratorClose => {
                        let (it, state) = (r!(i.a()), r!(i.a() + 1));
                        if state.is_int() || it.is_undefined() {
                            continue;
                        }
                        slow!(self.call_helper(Helper::IteratorClose, &[it], Cont::new(ContKind::Discard, 0)))
                    }
                    Op::ForInKeys => {
                        let v = r!(i.b());
                        r!(i.a()) = tri!(self.for_in_keys(v));
                    }

                    Op::Call => {
                        let callee = r!(i.b());
                        let abase = base + usize::from(i.b()) + 1;
                        let argc = usize::from(i.n());
                        let called = if callee.is_object() { self.mem.heap.kind(callee.as_ref()) } else { 0 };
                        if called == kind::CLOSURE {
                            let (unit, index) = self.mem.function_of(callee.as_ref());
                            let target: *const Hot = &raw const self.mem.local.hot[unit][index as usize];
                            // SAFETY: a function of the table, as `hot`.
                            let (simple, cost, registers, parameters) = unsafe {
                                ((*target).simple, (*target).cost, (*target).registers, (*target).parameters)
                            };
                            if simple && self.frames.len() < self.task.limits.stack_depth {
                                let registers = usize::from(registers);
                                let passed = argc.min(usize::from(parameters));
                                self.fuel -= if METERED { cost } else { 0 };
                                save!();
                                if abase + registers + FILL > self.stack_limit {
                                    cold_path();
                                    self.ensure_stack(abase + registers + FILL)?;
                                }
                                // SAFETY: passed <= parameters < registers (verified), and the stack goes FILL values
                                // beyond the window, where nothing lives.
                                unsafe {
                                    let window = self.stack.as_mut_ptr().add(abase);
                                    let (mut at, end) = (window.add(1 + passed), window.add(registers));
                                    while at < end {
                                        at.cast::<[Value; FILL]>().write([Value::UNDEFINED; FILL]);
                                        at = at.add(FILL);
                                    }
                                }
                                self.frames.push(Frame {
                                    function: index,
                                    pc: 0,
                                    base: abase as u32,
                                    unit: unit as u8,
                                    flags: 0,
                                    closure: callee,
                                    cont: Cont::plain(i.a()),
                                });
                                if METERED && self.fuel < 0 {
                                    cold_path();
                                    return Ok(Exit::SliceOver);
                                }
                                enter!(abase, callee, target, 0);
                                continue;
                            }
                        }
                        if called == kind::NATIVE
                            && argc <= 1
                            && let Some(quick) = self.mem.quick_of(callee.as_ref())
                        {
                            let this = r!(i.b() + 1);
                            let first = if argc == 1 { r!(i.b() + 2) } else { Value::EMPTY };
                            let v = quick(self, this, first);
                            if !v.is_empty() {
                                self.fuel -= NATIVE_FUEL;
                                r!(i.a()) = v;
                                if self.mem.heap.work > WORK_UNSETTLED_MAX {
                                    cold_path();
                                    self.slice_over();
                                }
                                continue;
                            }
                        }
                        save!();
                        let mut thrown = None;
                        if called == kind::NATIVE {
                            // A native that has a value has changed neither the frames nor which fiber runs.
                            let args = Args { base: abase, count: argc, construct: false };
                            match self.call_native(callee, args) {
                                Ok(v) => {
                                    // SAFETY: the frame's window is where it was; the stack may have moved.
                                    regs = unsafe { self.stack.as_mut_ptr().add(base) };
                                    r!(i.a()) = v;
                                    if self.mem.heap.work > WORK_UNSETTLED_MAX {
                                        self.slice_over();
                                    }
                                    continue;
                                }
                                Err(throw) => thrown = Some(throw),
                            }
                        }
                        self.go_on_calling(abase, argc, false, Cont::plain(i.a()), thrown)?;
                        if self.frames.is_empty() {
                            return Ok(Exit::Idle);
                        }
                        continue 'reload;
                    }
                    Op::New | Op::SuperCall => {
                        let callee = r!(i.b());
                        let abase = base + usize::from(i.b()) + 1;
                        save!();
                        if op == Op::New {
                            r!(i.b() + 1) = callee;
                        }
                        if self.new_class(callee, abase, usize::from(i.n()), i.a())? {
                            if METERED && self.fuel < 0 {
                                return Ok(Exit::SliceOver);
                            }
                            continue 'reload;
                        }
                        self.begin_call(abase, usize::from(i.n()), true, Cont::plain(i.a()))?;
                        if self.frames.is_empty() {
                            return Ok(Exit::Idle);
                        }
                        continue 'reload;
                    }
                    Op::CallSpread | Op::NewSpread | Op::SuperCallSpread => {
                        let (callee, mut this, list) = (r!(i.b()), r!(i.b() + 1), r!(i.b() + 2));
                        if op == Op::NewSpread {
                            this = callee;
                        }
                        save!();
                        self.call_list(callee, this, list, op != Op::CallSpread, Cont::plain(i.a()))?;
                        if self.frames.is_empty() {
                            return Ok(Exit::Idle);
                        }
                        continue 'reload;
                    }
                    Op::HostCall => {
                        let payload = self.task.request.payload;
                        if i.c() == HostFn::Payload as u16 && !payload.is_empty() {
                            self.fuel -= HOST_FUEL;
                            r!(i.a()) = payload;
                            continue;
                        }
                        save!();
                        let first = base + usize::from(i.b());
                        let done = self.quick_host_call(i.c(), first, usize::from(i.n()))?;
                        if !done.is_empty() {
                            r!(i.a()) = done;
                            continue;
                        }
                        self.host_call(i.c(), first, usize::from(i.n()), i.a())?;
                        if self.frames.is_empty() {
                            return Ok(Exit::Idle);
                        }
                        continue 'reload;
                    }
                    Op::QueryEnd => {
                        let v = r!(i.b());
                        if self.mem.is_kind(v, kind::QUERY) && self.query_waits(v) {
                            save!();
                            self.run_query(v, i.a())?;
                            if self.frames.is_empty() {
                                return Ok(Exit::Idle);
                            }
                            continue 'reload;
                        }
                        r!(i.a()) = v;
                    }
                    Op::ThrowIfNotObject => {
                        if r!(i.a()).is_nullish() {
                            let what = if r!(i.a()).is_null() { "null" } else { "undefined" };
                            tri!(Err(Throw::type_error(format!("Cannot destructure {what}"))));
                        }
                    }
                    Op::LoadCallee => r!(i.a()) = closure,

                    Op::CheckThis => {
                        let place = r!(i.a());
                        if !place.is_object() {
                            tri!(self.constructor_this(place));
                        }
                    }
                    Op::BindThis => {
                        let (place, v) = (r!(i.a()), r!(i.b()));
                        if place.is_empty() {
                            r!(i.a()) = v;
                        } else {
                            tri!(self.bind_this(place, v));
                        }
                    }
                    Op::CheckReturn => {
                        let (v, this) = (r!(i.b()), r!(i.c()));
                        r!(i.a()) = tri!(self.constructed(v, this, i.n() == 1));
                    }
                    Op::CreateThis => {
                        let constructor = r!(i.b());
                        let or = self.mem.local.known.object;
                        let proto = tri!(self.mem.prototype_from(constructor, or));
                        r!(i.a()) = tri!(self.mem.new_plain(proto, u32::from(i.n()))).object();
                    }
                    Op::GetProto => {
                        let home = r!(i.b());
                        r!(i.a()) = tri!(self.super_object(home));
                    }
                    Op::SetProto => {
                        let (v, proto) = (r!(i.a()), r!(i.b()));
                        if v.is_object() && (proto.is_object() || proto.is_null()) {
                            tri!(self.mem.set_proto(v.as_ref(), proto));
                        }
                    }
                    Op::GetSuper => {
                        let key = r!(i.c());
                        slow!(self.get_super(i, key))
                    }
                    Op::GetSuperField => {
                        let (this, v) = (r!(i.b()), r!(i.b() + 1));
                        let cache = cache!(i);
                        if v.is_object() {
                            let o = v.as_ref();
                            if self.mem.heap.header(o) == cache.header && cache.holder.bits() == 0 {
                                r!(i.a()) = self.mem.at_cache_slot(o, cache.slot);
                                continue;
                            }
                        }
                        save!();
                        match self.get_field(unit_index!(), site!(i), v)? {
                            Get::Value(found) => r!(i.a()) = found,
                            Get::Getter(getter) => {
                                self.call_function(getter, this, &[], Cont::plain(i.a()))?;
                                continue 'reload;
                            }
                        }
                    }
                    Op::SetSuper => {
                        let key = r!(i.b());
                        slow!(self.set_super(i, key))
                    }
                    Op::CheckHeritage => {
                        let v = r!(i.a());
                        tri!(self.check_heritage(v));
                    }
                    Op::NewProto => {
                        let proto = r!(i.b());
                        r!(i.a()) = tri!(self.new_proto_object(proto));
                    }
                    Op::DefClass => {
                        let (class, proto, parent) = (r!(i.a()), r!(i.b()), r!(i.c()));
                        let parent = (i.n() == 1).then_some(parent);
                        tri!(self.mem.define_class(class, proto, parent));
                    }
                    Op::NameFunction => {
                        let (f, key) = (r!(i.a()), r!(i.b()));
                        tri!(self.mem.name_function(f, key, i.n()));
                    }
                    Op::NewPrivate => {
                        let text = constant!(i);
                        r!(i.a()) = tri!(self.mem.new_private(text));
                    }
                    Op::GetPrivate => {
                        let (v, name) = (r!(i.b()), r!(i.c()));
                        save!();
                        match self.mem.get_private(v, name)? {
                            Get::Value(found) => r!(i.a()) = found,
                            Get::Getter(getter) => {
                                self.call_function(getter, v, &[], Cont::plain(i.a()))?;
                                continue 'reload;
                            }
                        }
                    }
                    Op::SetPrivate => {
                        let (v, name, value) = (r!(i.a()), r!(i.b()), r!(i.c()));
                        save!();
                        if let Put::Setter(setter) = self.mem.set_private(v, name, value)? {
                            self.call_function(setter, v, &[value], Cont::new(ContKind::Discard, 0))?;
                            continue 'reload;
                        }
                    }
                    Op::DefPrivate => {
                        let (v, name, value) = (r!(i.a()), r!(i.b()), r!(i.c()));
                        tri!(self.mem.def_private(v, name, value, i.n()));
                    }
                    Op::HasPrivate => {
                        let (name, v) = (r!(i.b()), r!(i.c()));
                        r!(i.a()) = Value::bool(tri!(self.mem.has_private(name, v)));
                    }
                    Op::StartGenerator => slow!(self.start_generator()),
                    Op::Yield => {
                        let v = r!(i.b());
                        // What it answers when `next()` goes on.
                        r!(i.a()) = Value::UNDEFINED;
                        r!(i.a() + 1) = Value::int(How::Next as i32);
                        save!();
                        if i.n() == 0 {
                            // SAFETY: a Yield isn't its code's last instruction.
                            let after: Instr = unsafe { *pc };
                            // `next()` takes this jump: nobody has to look.
                            let by = if after.op_byte() == Op::JumpIfFalse as u8 && after.a() == i.a() + 1 {
                                1 + after.sbx()
                            } else {
                                0
                            };
                            // SAFETY: verified: the target is an instruction of this function.
                            let go_on = unsafe { pc.offset(by as isize).offset_from(code) } as u32;
                            let of = (hot!().cost, hot!().registers);
                            if let Some(turn) = self.yield_to_loop(hot, of, go_on, v) {
                                enter!(turn.base, turn.closure, turn.hot, turn.pc);
                                continue;
                            }
                        }
                        slow!(self.yield_value(i, v))
                    }
                    Op::EndGenerator => {
                        let v = r!(i.b());
                        r!(i.a()) = tri!(self.generator_return(v));
                    }
                    Op::GetIteratorObject => {
                        let v = r!(i.b());
                        slow!(self.get_iterator_object(i.a(), v, i.n() == 1))
                    }
                    Op::IteratorResult => {
                        if !r!(i.a()).is_object() {
                            tri!(Err(Throw::type_error("Iterator result is not an object")));
                        }
                    }
                    Op::GetName | Op::SetName | Op::DeclareName => {
                        let name = constant!(i);
                        slow!(self.global_name(i, name))
                    }
                    Op::ToPropertyKey => {
                        let v = r!(i.b());
                        if v.is_string() || v.is_number() || v.is_symbol() {
                            r!(i.a()) = v;
                        } else {
                            slow!(self.unary(i, v))
                        }
                    }
                }
            }
        }
    }

    /// Whether the order of two primitives satisfies a comparison.
    pub(crate) fn satisfies(op: Op, order: Option<Ordering>) -> bool {
        match (op, order) {
            (_, None) => false,
            (Op::Lt, Some(o)) => o == Ordering::Less,
            (Op::Le, Some(o)) => o != Ordering::Greater,
            (Op::Gt, Some(o)) => o == Ordering::Greater,
            (_, Some(o)) => o != Ordering::Less,
        }
    }

    /// The same, of a handler that the guard of a durable task, the first frame, has called.
    #[cold]
    fn guard_returned(&mut self, v: Value) {
        if self.frames[0].unit == 1
            && self.frames[0].closure == self.mem.local.known.helpers[Helper::Durable as usize]
        {
            self.mark_returned(v);
        }
    }

    /// Flags a literal that a `return` of the handler made.
    #[inline]
    fn mark_returned(&mut self, v: Value) {
        let fiber = &self.task.fibers[self.current as usize];
        if (fiber.main || fiber.handler) && v.is_object() && v.as_ref().space() == self.mem.heap.own() {
            self.mem.set_flag(v.as_ref(), flag::RETURNED);
        }
    }
}
