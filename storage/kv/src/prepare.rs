//! Segments before and after their use: prepared, held in reserve, recycled.
//!
//! ```text
//!   create (zeroed) ──┐
//!                     ├──> spares ──> active ──seal──> sealed ──compacted──> retired
//!   recycle ──────────┘       the last of them are the reserve                  │
//!       ^───────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The reserve is for removals and for compaction: on a full disk both still work, and free what is needed
//! to go on. A recycled segment keeps its bytes; its new id and salt make them invalid.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::api::{Config, Error, SEGMENT_BYTES_MIN, Unavailable};
use crate::hint;
use crate::record::{SEAL_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::segment::Segment;
use crate::store::Store;

/// New segments have this part of the live bytes, within their bounds: what lies idle in them stays in
/// proportion to what is stored.
const LIVE_PARTS: u64 = 32;

/// Bytes of a new segment for a log with `live` bytes, and a batch of `wanted`.
pub(crate) fn segment_bytes(config: &Config, live: u64, wanted: usize) -> u32 {
    const STEP: u64 = 1024 * 1024;
    let least = u64::from(SEGMENT_BYTES_MIN.min(config.segment_bytes));
    let adapted = (live / LIVE_PARTS).next_multiple_of(STEP).clamp(least, u64::from(config.segment_bytes));
    let needed = (wanted as u64 + (SEGMENT_HEADER_BYTES + SEAL_BYTES) as u64).next_multiple_of(4096);
    let needed = if wanted == 0 { 0 } else { needed };
    u32::try_from(adapted.max(needed)).unwrap_or(config.segment_bytes)
}

impl Store {
    /// Prepares the segments that are missing; the caller holds `maintenance`.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        self.discard()?;
        let live: u64 = self.read_index().segments().map(|(_, usage)| usage.live).sum();
        loop {
            let (header, reserve) = {
                let mut log = self.lock_log();
                if log.stopped.is_some() {
                    return Ok(());
                }
                let wanted = log.wanted_bytes;
                if log.spares.len() >= self.config.spares() && wanted == 0 {
                    log.no_space = false;
                    return Ok(());
                }
                let id = log.next_segment;
                log.next_segment += 1;
                let header = SegmentHeader {
                    id,
                    epoch: log.epoch,
                    bytes: segment_bytes(&self.config, live, wanted),
                    salt: self.medium.random(),
                    recycled: false,
                };
                (header, log.spares.len() < self.config.reserve_segments && wanted == 0)
            };
            // The last of the disk is for the reserve, and for everyone else who shares it.
            let low = !reserve && self.is_low(header.bytes);
            let made = if low {
                Err(Error::NoSpace { what: "the last of the disk is kept in reserve".to_owned() })
            } else {
                Segment::create(&*self.medium, header, self.config.planted)
            };
            self.adopt(made)?;
        }
    }

    /// A prepared segment becomes a spare, and whoever waits for one goes on.
    fn adopt(&self, made: Result<Arc<Segment>, Error>) -> Result<(), Error> {
        let no_space = matches!(made, Err(Error::NoSpace { .. }));
        {
            let mut log = self.lock_log();
            log.no_space = no_space;
            if let Ok(segment) = &made {
                let free = segment.header.bytes as usize - SEGMENT_HEADER_BYTES - SEAL_BYTES;
                if log.wanted_bytes <= free {
                    log.wanted_bytes = 0;
                }
                log.spares.push_back(Arc::clone(segment));
            } else if no_space {
                log.wanted_bytes = 0;
            }
        }
        match made {
            Ok(_) => {
                self.resume_stalled();
                Ok(())
            }
            Err(error) => {
                if no_space {
                    self.refuse_stalled(Unavailable::NoSpace);
                }
                Err(error)
            }
        }
    }

    pub(crate) fn is_low(&self, bytes: u32) -> bool {
        let Some((free, total)) = self.medium.space() else { return false };
        free < total / 100 * u64::from(self.config.reserve_percent) + u64::from(bytes)
    }

    /// Removes spares that were too small for a batch and passed over.
    fn discard(&self) -> Result<(), Error> {
        loop {
            let Some(segment) = self.lock_log().discarded.pop() else { return Ok(()) };
            self.unlink(&segment.name)?;
        }
    }

    /// A segment that nothing points into any more becomes a spare, if one is missing, or goes.
    pub(crate) fn retire(&self, victim: Arc<Segment>) -> Result<(), Error> {
        hint::remove(&*self.medium, &victim);
        let live: u64 = self.read_index().segments().map(|(_, usage)| usage.live).sum();
        let ours =
            victim.file.links().is_ok_and(|links| links == 1) && !self.reopened.load(Ordering::Acquire);
        let header = {
            let mut log = self.lock_log();
            let (bytes, wanted) = (victim.header.bytes, segment_bytes(&self.config, live, log.wanted_bytes));
            let missing = log.spares.len() < self.config.spares() && log.stopped.is_none();
            let fits = bytes >= wanted / 2 && bytes <= wanted.saturating_mul(2) && log.wanted_bytes == 0;
            (missing && fits && ours).then(|| {
                let id = log.next_segment;
                log.next_segment += 1;
                SegmentHeader { id, epoch: log.epoch, bytes, salt: self.medium.random(), recycled: true }
            })
        };
        // Who still reads a value of it keeps it; it can't be written again then.
        match (header, Arc::try_unwrap(victim)) {
            (Some(header), Ok(victim)) => {
                let made = victim.recycle(&*self.medium, header, self.config.planted);
                self.adopt(made)
            }
            (_, Ok(victim)) => self.unlink(&victim.name),
            (_, Err(victim)) => self.unlink(&victim.name),
        }
    }

    pub(crate) fn unlink(&self, name: &str) -> Result<(), Error> {
        let what = || format!("removing {name}");
        self.medium.remove(name).map_err(|e| Error::io(what(), e))?;
        self.medium.sync_folder().map_err(|e| Error::io(what(), e))
    }
}
