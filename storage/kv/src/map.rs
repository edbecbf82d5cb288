//! A read-only map of a segment file, and why reading it is sound.

#![expect(unsafe_code, reason = "mmap(2) and slices of it")]

use std::fs::File;
use std::io;

/// A map of a whole segment file.
#[derive(Debug)]
pub struct Map {
    map: memmap2::MmapRaw,
}

impl Map {
    /// Maps all of `file`, read-only.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        Ok(Self { map: memmap2::MmapOptions::new().map_raw_read_only(file)? })
    }

    /// Has the processor fetch the first bytes of a value that will be read soon; a page walk is
    /// part of it, a page fault isn't.
    pub(crate) fn prefetch(&self, start: usize) {
        if start < self.map.len() {
            // Two lines: what a small value has.
            prefetch(self.map.as_ptr().wrapping_add(start));
            prefetch(self.map.as_ptr().wrapping_add(start + 64));
        }
    }

    /// The bytes `start..end`, clamped to nothing if they aren't inside the file.
    ///
    /// The caller promises that the range is *settled*: written before, and never
    /// written again while this map lives. [`crate::segment::Segment::read`] is the only caller and
    /// passes ranges of records that the index names: a record enters the index
    /// after its write completed, the log only appends, and a file is written
    /// again as another segment only after its last [`crate::segment::Segment`] was dropped.
    pub(crate) fn settled(&self, start: usize, end: usize) -> &[u8] {
        if start > end || end > self.map.len() {
            return &[];
        }
        // SAFETY: in bounds by the check above; the map lives as long as the borrow of `self`; nobody writes
        // to the range (see above). Another process could: the data folder is
        // locked by flock(2), 0700, and documented as ours; truncating a segment there is SIGBUS.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(start), end - start) }
    }
}

/// Has the processor fetch the line at `at`; any address will do.
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address has no effect but on time (Intel SDM, PREFETCHh).
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
