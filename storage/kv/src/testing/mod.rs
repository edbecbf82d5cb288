//! For tests of the store and of what is built on it: a disk that fails, and bugs to plant.

mod sim;

pub use sim::{Fault, SimDisk};

/// Bugs that tests plant to see whether their oracles catch them. None by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// Writes are acknowledged when they are handed to the disk.
    pub acknowledge_before_sync: bool,
    /// Recovery takes every record for the last of its batch.
    pub no_batch_marker: bool,
    /// An open starts no epoch: what lies behind a torn tail stays valid.
    pub keep_epoch: bool,
    /// Compaction removes a segment before the copies of its records are on disk.
    pub unlink_before_sync: bool,
    /// Compaction forgets that keys were removed.
    pub forget_removals: bool,
    /// A segment is recycled before its old name is durably gone.
    pub recycle_at_once: bool,
    /// A conflict is answered before what it rests on is on disk.
    pub conflict_at_once: bool,
    /// A removal without sync of a key whose removal is under way is answered while readers still see the key.
    pub absent_at_once: bool,
    /// Recovery leaves the last group as it finds it.
    pub keep_last_group: bool,
    /// The names of new segments aren't made durable.
    pub no_folder_sync: bool,
    /// The headers of new segments aren't made durable.
    pub header_unsynced: bool,
    /// Compaction copies a record although a younger one is under way.
    pub copy_over_pending: bool,
    /// Compaction copies records that were overwritten.
    pub copy_stale: bool,
    /// A full segment gets no seal.
    pub no_seal: bool,
    /// A short write passes for a whole one.
    pub short_write_is_whole: bool,
    /// Hints are written of segments that aren't sealed yet, and believed without looking for the seal.
    pub hint_before_seal: bool,
    /// Hints aren't synced before they get their name, and are believed whatever their checksum says.
    pub hint_unsynced: bool,
    /// Hints leave out what was overwritten, also by what isn't on disk yet.
    pub hint_live_only: bool,
    /// Hints forget that keys were removed.
    pub hint_forgets_removals: bool,
    /// A failed write passes for one that succeeded.
    pub failed_write_is_done: bool,
}
