//! The boundary to the disk: what the store needs of a data folder and of a
//! segment file. [`crate::disk`] is the real one; [`crate::testing::SimDisk`] drops, reorders
//! and tears what was not synced.
//!
//! Everything here may block. The hot path doesn't come here: a
//! [`crate::CommitJob`] is one write that the core's ring executes on
//! [`SegmentFile::fd`].

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use crate::map::Map;

/// A data folder.
pub trait Medium: Send + Sync {
    /// The names of all files in the folder, in any order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Creates `name` with `bytes` zero bytes, allocated and durable (as written zeros, so
    /// that a later write changes no metadata). The name isn't durable
    /// before [`Medium::sync_folder`]. ENOSPC leaves no file.
    fn create(&self, name: &str, bytes: u32) -> io::Result<Arc<dyn SegmentFile>>;
    /// Creates or replaces `name` with these bytes; with `durable` they are on the medium when it returns. The
    /// name isn't durable before [`Medium::sync_folder`].
    fn write_file(&self, name: &str, bytes: &[u8], durable: bool) -> io::Result<()>;
    /// All bytes of a file.
    fn read_file(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>>;
    /// Renames a file within the folder; a hint may take the place of an older one.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; who has it open or mapped keeps it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_folder(&self) -> io::Result<()>;
    /// Free bytes and all bytes of the file system, where that is known.
    fn space(&self) -> Option<(u64, u64)>;
    /// Bits that a tenant can't guess, for the salt of a new segment.
    fn random(&self) -> u64;
}

/// A segment's file. Its size never changes.
pub trait SegmentFile: Send + Sync {
    /// Bytes of the file.
    fn bytes(&self) -> io::Result<u64>;
    /// Names of the file: with more than one, a backup has it too.
    fn links(&self) -> io::Result<u64>;
    /// One write; returns how much was written. With `durable` it returns after the data is on disk
    /// (`RWF_DSYNC` of pwritev2(2)).
    fn write_at(&self, offset: u64, bytes: &[u8], durable: bool) -> io::Result<usize>;
    /// Fills `into`, or fails (UnexpectedEof beyond the end).
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
    /// A read-only map of the whole file, where the medium has maps; without one,
    /// reads go through [`SegmentFile::read_at`].
    fn map(&self) -> io::Result<Option<Map>>;
    /// The descriptor for the ring, where there is one. Owned by this file.
    fn fd(&self) -> Option<RawFd>;
}
