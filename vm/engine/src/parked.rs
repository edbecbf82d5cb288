//! Generators whose registers stay on the stack between two turns of a loop.
//!
//! A loop asks a generator for one value after the other, and between two values little happens above the loop's own
//! registers. So `yield` to a loop takes the frame away and leaves its registers where they are; the next turn puts
//! the frame back. What needs that part of the stack meanwhile goes through [`Ctx::ensure_stack`], whose bound is
//! lowered to it:
//!
//! ```text
//!   0                      stack_limit                                      stack.len()
//!   |  frames that run ...  |  parked last  |      |  parked before that  |   |
//!                           ^ whoever needs more makes room: registers go to the arena (generator.rs), from the left
//! ```
//!
//! A parked generator counts as running, so that nobody else goes on with it: `next`, `return` and `throw` that are
//! called by name make room first. So do a switch to another fiber and the end of a slice: snapshots and whatever
//! else looks at a task between slices know nothing of this file.
//!
//! A frame that a loop has pushed is marked [`IN_LOOP`]: its `cont.saved` is the generator whose code it runs.

use crate::ctx::Ctx;
use crate::fiber::{Cont, Frame, IN_LOOP};
use crate::generator::state;
use crate::heap::kind;
use crate::unit::Hot;
use crate::value::Value;
use std::ptr::NonNull;

/// Values left free below a generator's registers, for what a loop's body calls. Not more than a stack of the first
/// size bears a few times over.
const GAP: usize = 40;

/// A generator between two turns of a loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parked {
    /// As it was taken away; `cont.saved` is the generator.
    frame: Frame,
    /// What runs when it goes on.
    turn: Turn,
    /// Fuel that it pays when it goes on: as much as one whose registers are copied.
    cost: i64,
    /// `stack_limit` of before.
    limit: usize,
}

/// What runs from here on, as the loop in interp.rs wants it. `hot` is of the table of functions, which doesn't change
/// while a task runs; nothing is parked when it doesn't.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) hot: *const Hot,
    pub(crate) base: usize,
    pub(crate) closure: Value,
    pub(crate) pc: u32,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "stack indexes are far below 2^32: the arena cap bounds them"
)]
impl Ctx<'_> {
    /// `next()` of the generator that was parked last, whose value goes to a loop that asks for it itself. None: it is
    /// another one, and nothing has happened.
    #[inline(always)]
    pub(crate) fn next_of_parked(&mut self, it: Value, cont: Cont) -> Option<Turn> {
        let &Parked { frame, turn, cost, limit } = self.parked.last()?;
        if frame.cont.saved != it || self.frames.len() >= self.task.limits.stack_depth {
            return None;
        }
        self.parked.pop();
        self.stack_limit = limit;
        self.fuel -= cost;
        self.frames.push(Frame { cont, ..frame });
        Some(turn)
    }

    /// The same of one whose registers are in the arena, where that is nothing but its frame, which may begin at `at`:
    /// the function that runs then. None: it is more than that, and nothing has happened.
    #[cold]
    #[inline(never)]
    pub(crate) fn next_of_generator(&mut self, it: Value, at: usize, cont: Cont) -> Option<NonNull<Hot>> {
        let r = it.as_ref();
        if !self.mem.is_kind(it, kind::GENERATOR) || r.space() != self.mem.heap.own() {
            return None;
        }
        let word = self.mem.heap.load(r, 3);
        let (before, pc) = (word as u8, (word >> 32) as u32);
        if before > state::SUSPENDED || self.frames.len() >= self.task.limits.stack_depth {
            return None;
        }
        let closure = self.mem.heap.get(r, 4);
        let (unit, function) = self.mem.function_of(closure.as_ref());
        let hot = &self.mem.local.hot[unit][function as usize];
        if hot.generator == 0 {
            return None;
        }
        let (registers, cost) = (usize::from(hot.registers), hot.cost);
        let hot = NonNull::from(hot);
        let roomy = at + GAP + registers <= self.stack_limit;
        let base = if roomy { at + GAP } else { at };
        self.ensure_stack(base + registers).ok()?;
        self.stack[base - 1] = closure;
        let window = &mut self.stack[base..base + registers];
        self.mem.heap.take_values(self.mem.heap.get(r, 5).as_ref(), window);
        self.mem.heap.store(r, 3, u64::from(state::RUNNING));
        self.fuel -= cost - i64::from(pc) + registers as i64 / 16;
        let base = base as u32;
        self.frames.push(Frame { function, pc, base, unit: unit as u8, flags: IN_LOOP, closure, cont });
        Some(hot)
    }

    /// `yield v` of the frame on top, whose function is `hot`, to the loop that has pushed it: what runs then. The
    /// instruction at `go_on` is the one that the next turn begins with. None: nobody has marked the frame, and
    /// nothing has happened.
    #[inline(always)]
    pub(crate) fn yield_to_loop(
        &mut self,
        hot: *const Hot,
        of: (i64, u16),
        go_on: u32,
        v: Value,
    ) -> Option<Turn> {
        let [.., caller, top] = &self.frames[..] else { return None };
        if top.flags & IN_LOOP == 0 {
            return None;
        }
        // A loop is a script's.
        let to: *const Hot =
            self.mem.local.hot.get(usize::from(caller.unit))?.get(caller.function as usize)?;
        let (base, dst) = (caller.base as usize, usize::from(top.cont.dst));
        let (closure, pc) = (caller.closure, caller.pc);
        let window = self.stack.get_mut(base..)?;
        *window.get_mut(dst)? = v;
        *window.get_mut(dst.wrapping_sub(2))? = top.cont.saved;
        // It gets back what it has not run.
        let (cost, registers) = of;
        let left = cost - i64::from(top.pc);
        self.fuel += left;
        self.parked.push(Parked {
            frame: *top,
            turn: Turn { hot, base: top.base as usize, closure: top.closure, pc: go_on },
            cost: left + i64::from(registers / 16),
            limit: self.stack_limit,
        });
        self.stack_limit = top.base as usize - 1;
        self.frames.pop();
        Some(Turn { hot: to, base, closure, pc })
    }

    /// Puts the registers of parked generators away that stand below stack index `end`.
    #[cold]
    pub(crate) fn make_room(&mut self, end: usize) {
        while self.stack_limit < end
            && let Some(Parked { frame, limit, .. }) = self.parked.pop()
        {
            self.stack_limit = limit;
            let r = frame.cont.saved.as_ref();
            let window = self.mem.heap.get(r, 5);
            // Bytecode that isn't the compiler's may have ended one that runs.
            if window.is_cell() {
                let base = frame.base as usize;
                let hot = &self.mem.local.hot[usize::from(frame.unit)][frame.function as usize];
                let registers = &self.stack[base..base + usize::from(hot.registers)];
                self.mem.heap.put_values(window.as_ref(), registers);
                self.mem.heap.store(r, 3, u64::from(state::SUSPENDED) | u64::from(frame.pc) << 32);
            }
        }
    }

    /// Puts the registers of all of them away.
    #[inline]
    pub(crate) fn park_nothing(&mut self) {
        if !self.parked.is_empty() {
            self.make_room(usize::MAX);
        }
    }
}
