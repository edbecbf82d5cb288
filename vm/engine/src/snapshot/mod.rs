//! Parked tasks as records, and tasks from records (docs/formats/snapshot.md).
//!
//! ```text
//!   task      what the task is and waits for; checks all other records      state.rs
//!   imports   names of what lies outside of the task                        imports.rs names.rs code.rs
//!   request   the request's bytes, if the task may still ask for them       state.rs
//!   heap:p    the living cells that start in page p of the arena            save.rs layout.rs
//!   fiber:f   what fiber f waits for                                        state.rs
//!   frame:f:n call n of fiber f: function, pc, registers                    state.rs
//! ```
//!
//! Cells keep their place in the arena, and numbers keep their meaning, from one suspension to the next; so whoever
//! stores records compares their bytes with those of the last time and writes the few that changed. Garbage is not
//! written. When it outweighs what lives, a compacting snapshot packs the cells, and the task goes on from that.
//!
//! Whoever can write a record's bytes can't make the engine do more than a script can: load.rs checks every
//! reference, kind, size, shape and pc before anything runs.

mod check;
mod code;
mod file;
mod imports;
mod layout;
mod load;
mod load_task;
mod names;
mod places;
mod save;
mod state;
mod wire;

#[doc(hidden)]
pub use file::reseal;
pub(crate) use imports::{Numbers, Remembered};
pub(crate) use load::Scratch as Restoring;
pub(crate) use names::Names;

use crate::api::{BlueprintId, StartError, TaskHandle, Trap};
use crate::fiber::Frame;
use crate::heap::Heap;
use crate::mem::Local;
use crate::throw::Throw;
use crate::vm::Vm;
use forebay_base::limits::TaskLimits;
use forebay_base::{Monotonic, TenantId};
use std::fmt;
use std::rc::Rc;
use std::sync::OnceLock;

/// Version of the records' bytes.
pub const SNAPSHOT_VERSION: u16 = 1;

/// Names a record of a task. The order is that of [`Snapshot::records`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RecordKey {
    /// What the task is and waits for.
    Task,
    /// What the records refer to outside of them. Only grows.
    Imports,
    /// The request; never changes.
    Request,
    /// Cells that start in this page of the arena.
    Heap(u32),
    /// A fiber.
    Fiber(u32),
    /// A call in flight of a fiber, from 0 at the bottom.
    Frame(u32, u32),
}

/// Why a task can't be saved, or records can't be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// There is no such task (any more), or it is over.
    NoTask,
    /// The blueprint isn't adopted.
    NoBlueprint,
    /// The machine has no room for another task.
    Full,
    /// The records are of another version of this program that wrote another format.
    Version(u16),
    /// The records are of another blueprint: its content hash, and that of the one that was given.
    OtherBlueprint {
        /// Of the records.
        expected: [u8; 32],
        /// Of the blueprint at hand.
        found: [u8; 32],
    },
    /// A record is missing.
    Missing(RecordKey),
    /// The checksum doesn't match: damaged, or records of different suspensions.
    Checksum,
    /// The bytes break a rule of the format.
    Malformed(&'static str),
    /// The task has something that can't be saved.
    Unsupported(&'static str),
    /// A built-in object or function that the task refers to isn't there.
    Gone(Box<str>),
    /// The task waits inside a built-in function that has changed since.
    CodeChanged(Box<str>),
    /// The task doesn't fit into the limits that were given.
    TooLarge(&'static str),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |h: &[u8; 32]| h[..6].iter().map(|b| format!("{b:02x}")).collect::<String>();
        match self {
            Self::NoTask => f.write_str("the task is over"),
            Self::NoBlueprint => f.write_str("the blueprint is not adopted"),
            Self::Full => f.write_str("no room for another task"),
            Self::Version(v) => write!(f, "the snapshot has format {v}, this is {SNAPSHOT_VERSION}"),
            Self::OtherBlueprint { expected, found } => {
                write!(f, "the snapshot belongs to blueprint {}, not {}", hex(expected), hex(found))
            }
            Self::Missing(key) => write!(f, "the snapshot has no record {key:?}"),
            Self::Checksum => f.write_str("the snapshot is damaged: its checksum doesn't match"),
            Self::Malformed(what) => write!(f, "the snapshot is damaged: {what}"),
            Self::Unsupported(what) => write!(f, "the task can't be saved: {what}"),
            Self::Gone(what) => write!(f, "the snapshot refers to {what:?}, which isn't there"),
            Self::CodeChanged(name) => {
                write!(f, "the task waits inside the built-in function {name:?}, which has changed since")
            }
            Self::TooLarge(what) => write!(f, "the task doesn't fit: {what}"),
        }
    }
}

impl std::error::Error for SnapshotError {}

impl SnapshotError {
    fn of_throw(throw: Throw) -> Self {
        match throw {
            Throw::Trap(Trap::Memory) => Self::TooLarge("memory"),
            _ => Self::Malformed("a value that no script can have"),
        }
    }
}

/// The records of a suspended task. The memory is kept for the next one.
#[derive(Debug, Default)]
pub struct Snapshot {
    bytes: Vec<u8>,
    parts: Vec<Part>,
    /// Words of the arena that live cells take, and that are in use.
    pub(crate) words: (u32, u32),
    /// Content hash of the blueprint.
    pub(crate) blueprint: [u8; 32],
    scratch: save::Scratch,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    key: RecordKey,
    start: usize,
    end: usize,
}

impl Snapshot {
    /// No records yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The records, sorted by key.
    pub fn records(&self) -> impl Iterator<Item = (RecordKey, &[u8])> + '_ {
        self.parts.iter().map(|p| (p.key, &self.bytes[p.start..p.end]))
    }

    /// Bytes of a record.
    #[must_use]
    pub fn get(&self, key: RecordKey) -> Option<&[u8]> {
        let at = self.parts.binary_search_by(|p| p.key.cmp(&key)).ok()?;
        Some(&self.bytes[self.parts[at].start..self.parts[at].end])
    }

    /// Bytes of the arena that living cells take, and bytes that the arena has grown to: when the second is far
    /// beyond the first, a compacting snapshot is worth its cost.
    #[must_use]
    pub fn live_and_used(&self) -> (usize, usize) {
        (self.words.0 as usize * 8, self.words.1 as usize * 8)
    }

    /// Content hash of the task's blueprint.
    #[must_use]
    pub fn blueprint(&self) -> [u8; 32] {
        self.blueprint
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.parts.clear();
    }

    /// Ends the record that began at `start`.
    fn end(&mut self, key: RecordKey, start: usize) {
        self.parts.push(Part { key, start, end: self.bytes.len() });
    }
}

/// Whether a snapshot packs the cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    /// Cells stay where they are: few records change.
    Keep,
    /// Cells move together and numbers start anew. The task itself doesn't change, so finish and
    /// restore it if more snapshots are to follow.
    Pack,
}

/// What an adopted blueprint and the built-in objects call their cells.
struct World<'a> {
    heap: &'a Heap,
    local: &'a Local,
    intrinsics: &'static Builtins,
    blueprint: &'a Names,
}

/// Names of the built-in objects and their code, of this process.
struct Builtins {
    names: Names,
    code: code::CodeNames,
}

fn builtins(heap: &Heap, local: &Local) -> &'static Builtins {
    static NAMES: OnceLock<Builtins> = OnceLock::new();
    NAMES.get_or_init(|| Builtins {
        names: Names::of_intrinsics(heap, local),
        code: code::CodeNames::of(&local.units[1]),
    })
}

/// What `Vm::restore` needs beside the records.
#[derive(Clone, Copy, Debug)]
pub struct RestoreInput<'a> {
    /// The budgets from now on; fuel that was used stays used.
    pub limits: &'a TaskLimits,
    /// Whose task it is.
    pub tenant: TenantId,
    /// What the clock says.
    pub now: Monotonic,
    /// Whether the wall time begins anew, as if the task had just started; otherwise what was left of it is left.
    pub fresh_wall_time: bool,
}

impl Vm {
    /// Writes a task's records: of one that is parked, or whose slice is over. The task doesn't change.
    pub fn snapshot(
        &mut self,
        task: TaskHandle,
        packing: Packing,
        now: Monotonic,
        out: &mut Snapshot,
    ) -> Result<(), SnapshotError> {
        self.save_up_to(usize::MAX, task, packing, now, out)
    }

    /// [`Vm::snapshot`], unless more than `live_max` bytes of the arena live: then `TooLarge`.
    pub(crate) fn save_up_to(
        &mut self,
        live_max: usize,
        task: TaskHandle,
        packing: Packing,
        now: Monotonic,
        out: &mut Snapshot,
    ) -> Result<(), SnapshotError> {
        out.clear();
        self.keep_result();
        let blueprint = self.blueprint_of(task).ok_or(SnapshotError::NoTask)?;
        let (mem, state) = self.parts(task).ok_or(SnapshotError::NoTask)?;
        if state.trap.is_some() || state.outcome.is_some() {
            return Err(SnapshotError::NoTask);
        }
        if mem.heap.has_overlay() {
            return Err(SnapshotError::Unsupported("it has changed built-in objects"));
        }
        // Only at the end of a slice: it never waits there for anything.
        let reads_body = state.json.as_ref().is_some_and(|paused| paused.is_body());
        if reads_body || state.fibers.iter().flat_map(|f| f.frames.last()).any(Frame::is_yielded) {
            return Err(SnapshotError::Unsupported("it is in the middle of a built-in function"));
        }
        // A restored arena has gaps where garbage was.
        #[cfg(debug_assertions)]
        if state.numbers.is_none()
            && let Err(what) = layout::check_arena(mem.heap, mem.local)
        {
            panic!("snapshot/layout.rs has a wrong size: {what}");
        }
        let world = World {
            heap: mem.heap,
            local: mem.local,
            intrinsics: builtins(mem.heap, mem.local),
            blueprint: blueprint.names(mem.heap, mem.local),
        };
        out.blueprint = blueprint.content_hash();
        let mut kept = state.numbers.take().unwrap_or_default();
        let mut fresh = Rc::default();
        let numbers = if packing == Packing::Pack { &mut fresh } else { &mut kept };
        let saved = save::save(&world, state, numbers, (packing, live_max / 8), now, out);
        state.numbers = Some(kept);
        saved
    }

    /// Makes a task from its records, in any process that has adopted the same blueprint. Effects that were
    /// in flight are given out again by `take_effects`, under the same ids.
    pub fn restore<'r>(
        &mut self,
        blueprint: BlueprintId,
        records: impl IntoIterator<Item = (RecordKey, &'r [u8])>,
        input: &RestoreInput<'_>,
    ) -> Result<TaskHandle, SnapshotError> {
        let records = load::Records::new(records)?;
        let of = self.blueprint(blueprint).ok_or(SnapshotError::NoBlueprint)?.clone();
        records.check(&of.content_hash())?;
        let task = self.open_task(blueprint, input.limits, input.tenant, input.now).map_err(|e| match e {
            StartError::Full | StartError::NoMemory => SnapshotError::Full,
            StartError::TooLarge => SnapshotError::TooLarge("memory"),
            StartError::NoEntry => SnapshotError::NoBlueprint,
        })?;
        let loaded = match self.parts(task) {
            Some((mut mem, state)) => load::load(&mut mem, state, &of, &records, input),
            None => Err(SnapshotError::NoTask),
        };
        match loaded {
            Ok(()) => Ok(task),
            Err(error) => {
                self.finish(task);
                Err(error)
            }
        }
    }
}
