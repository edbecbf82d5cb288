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
    /// A recycled segment keeps its salt and id's place: its old records may pass for new ones.
    pub recycle_salt: bool,
}
