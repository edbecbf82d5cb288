//! A read-only map of a segment file, and why reading it is sound. What the medium can't read of it is
//! zeros and a mark, not the end of the process: [`crate::fault`].

#![expect(unsafe_code, reason = "mmap(2) and slices of it")]

use std::fs::File;
use std::io;

use crate::fault;

const LINE_BYTES: usize = 64;
/// No machine has smaller pages.
const PAGE_BYTES_MIN: usize = 4096;

/// A map of a whole segment file.
#[derive(Debug)]
pub struct Map {
    /// Drop order: the place before the map, else a fault of whatever is mapped there next would be taken for ours.
    place: fault::Place,
    map: memmap2::MmapRaw,
}

impl Map {
    /// Maps all of `file`, read-only.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        let map = memmap2::MmapOptions::new().map_raw_read_only(file)?;
        let place = fault::Place::take(map.as_ptr() as usize, map.len())?;
        Ok(Self { place, map })
    }

    /// Where a read of the map failed first, if one did.
    pub(crate) fn fault(&self) -> Option<usize> {
        self.place.fault()
    }

    /// Reads a byte of every page of `start..end`, so that what the medium can't read is known before a
    /// caller has the range.
    pub(crate) fn touch(&self, start: usize, end: usize) {
        let mut at = start;
        while at < end {
            std::hint::black_box(self.settled(at, end).first().copied());
            at = (at / PAGE_BYTES_MIN + 1) * PAGE_BYTES_MIN;
        }
    }

    /// Has the processor fetch the first bytes of a value that will be read soon; a page walk is
    /// part of it, a page fault isn't.
    pub(crate) fn prefetch(&self, start: usize, len: usize) {
        // A map begins at a page.
        let (first, end) = (start & !(LINE_BYTES - 1), (start + len).min(self.map.len()));
        prefetch(self.map.as_ptr().wrapping_add(first));
        if first + LINE_BYTES < end {
            // What follows the processor fetches by itself once it is read from front to back.
            prefetch(self.map.as_ptr().wrapping_add(first + LINE_BYTES));
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
        // locked by flock(2), 0700, and documented as ours; a segment that is truncated there reads as zeros.
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
