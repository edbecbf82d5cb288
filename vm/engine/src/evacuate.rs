//! Long-running tasks: what lives of a task moves to an empty arena when garbage has filled half of its memory.
//!
//! A task has no garbage collector: its memory goes in one reset when it ends, and an endpoint rarely fills it. A
//! task that runs for long (a loop over a million rows, a durable task of months) does, although little of it
//! lives. Roots are precise wherever a slice can end, and a snapshot (snapshot/mod.rs) already knows how to write
//! what lives and to make a task of it; so the move is a packed snapshot, restored at once in place of the task:
//!
//! ```text
//!   alloc passes the soft limit   the slice is made to end at its next safepoint          heap.rs
//!   Vm::run, slice over, parked   snapshot (packed) -> restore in a fresh arena -> swap   here
//!                                 the next soft limit is half-way between what lives and the hard limit
//! ```
//!
//! Handles and effects in flight stay valid. What lives is bounded, because the move holds the core for its time
//! (some 10 ns a byte): a task with more keeps its garbage, and ends with `memory_exhausted` at its hard limit; so does
//! one that changed built-in objects. A native that was interrupted at the end of the slice is moved after it is done.

use crate::api::TaskHandle;
use crate::snapshot::{Packing, RestoreInput, SnapshotError};
use crate::vm::Vm;
use forebay_base::Monotonic;
use forebay_base::limits::EVACUATED_BYTES_MAX;

impl Vm {
    /// Moves a task that has passed its soft limit and isn't running.
    pub(crate) fn evacuate(&mut self, task: TaskHandle, now: Monotonic) {
        let mut records = std::mem::take(&mut self.moving);
        let saved = self.save_up_to(EVACUATED_BYTES_MAX, task, Packing::Pack, now, &mut records);
        let moved = saved.and_then(|()| self.move_to(task, &records, now));
        self.moving = records;
        let again = matches!(moved, Err(SnapshotError::Full | SnapshotError::Unsupported(_)));
        if let Some((mem, _)) = self.parts(task)
            && !again
        {
            // After a move `used` is what lives; without one, half of what is left.
            let (used, hard) = (mem.heap.used(), mem.heap.hard_limit());
            mem.heap.set_soft_limit(used + hard.saturating_sub(used) / 2);
        }
    }

    fn move_to(
        &mut self,
        task: TaskHandle,
        records: &crate::snapshot::Snapshot,
        now: Monotonic,
    ) -> Result<(), SnapshotError> {
        let (_, state) = self.parts(task).ok_or(SnapshotError::NoTask)?;
        let (blueprint, tenant, limits) = (state.blueprint, state.tenant, state.limits.clone());
        let input = RestoreInput { limits: &limits, tenant, now, fresh_wall_time: false };
        let copy = self.restore(crate::api::BlueprintId(blueprint), records.records(), &input)?;
        let (from, to) = (task.slot as usize, copy.slot as usize);
        let [old, new] = self.slots.get_disjoint_mut([from, to]).map_err(|_| SnapshotError::NoTask)?;
        // What the worker was told of stays told.
        for pending in &mut new.state.pending {
            pending.taken = old.state.pending.iter().any(|p| p.id == pending.id && p.taken);
        }
        std::mem::swap(&mut old.state, &mut new.state);
        std::mem::swap(&mut old.heap, &mut new.heap);
        old.state.handle = task;
        old.state.deadline = new.state.deadline;
        new.state.handle = copy;
        self.finish(copy);
        Ok(())
    }
}
