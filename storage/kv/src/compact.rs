//! Maintenance: preparing segments, rewriting those that are mostly garbage, writing the hints of sealed ones, and
//! checking what was opened by its hint.
//!
//! Compaction has no format of its own: a live record of the victim is appended to the log
//! again, as if it had been set to the same value, under the lock that also orders
//! everyone else's writes. When the copies are on disk nothing points into the victim, and its file is
//! removed; readers that still hold a value keep it mapped. A crash in between leaves both copies,
//! of which the younger counts.
//!
//! A removal is copied too while there are older segments, in which the key may still stand.

use std::sync::Arc;

use forebay_base::Timestamp;

use crate::api::{Error, Unavailable};
use crate::record::{Fields, Kind, Record, SEGMENT_HEADER_BYTES, record_bytes};
use crate::recover::Walk;
use crate::segment::Segment;
use crate::store::{Store, lock};

/// Records that are copied under one hold of the log.
const COPY_RECORDS: usize = 64;
/// Bytes that compaction gives to one write.
const COPY_BYTES: usize = 256 * 1024;
/// Segments that one call checks: preparation and expiry get their turn in between.
const SCRUB_SEGMENTS: usize = 8;

impl Store {
    /// Prepares the segments that are missing, compacts those above
    /// [`crate::Config::garbage_percent`], writes hints, and checks some segments of which only the hint was read. Blocks on the disk (zeroing a segment takes a tenth of a
    /// second): call it from a thread of its own, woken by [`Store::wait_for_maintenance`]. One call
    /// works at a time, others wait for it.
    ///
    /// # Errors
    /// [`Error::NoSpace`]: writes go on while the active segment has room, then they are answered
    /// [`crate::Unavailable::NoSpace`] until a later call succeeds. [`Error::Corrupt`]: a
    /// victim's bytes went bad; it is left as it is. [`Error::Unavailable`]: the store is poisoned
    /// or closed, and there is nothing to do any more.
    pub fn maintain(self: &Arc<Self>, now: Timestamp) -> Result<(), Error> {
        let _one = lock(&self.maintenance);
        {
            let mut log = self.lock_log();
            log.rolled = false;
            if let Some(why) = log.stopped {
                return Err(Error::Unavailable(why));
            }
        }
        let mut prepared = self.prepare();
        self.expire(now)?;
        // Also on a full disk: compaction may free what preparation needs.
        while matches!(prepared, Ok(()) | Err(Error::NoSpace { .. }))
            && let Some(victim) = self.victim()
        {
            self.compact(now, victim)?;
            prepared = self.prepare();
        }
        while matches!(prepared, Ok(()) | Err(Error::NoSpace { .. }))
            && let Some(segment) = self.without_hint()
        {
            self.write_hint(&segment)?;
            prepared = self.prepare();
        }
        for _ in 0..SCRUB_SEGMENTS {
            if !self.scrub()? {
                break;
            }
            prepared = self.prepare();
        }
        prepared
    }

    /// The sealed segment with the most garbage, if that is enough.
    fn victim(&self) -> Option<Arc<Segment>> {
        let log = self.lock_log();
        if log.is_stopped() {
            return None;
        }
        let oldest_open = log.oldest_unwritten();
        let index = self.read_index();
        let mut worst: Option<(u64, &Arc<Segment>)> = None;
        for (n, (segment, usage)) in index.segments().enumerate() {
            if segment.header.id >= oldest_open {
                break;
            }
            let bytes = u64::from(segment.header.bytes) - SEGMENT_HEADER_BYTES as u64;
            let needed = usage.live + if n > 0 { usage.removals } else { 0 };
            let percent = (bytes - needed.min(bytes)) * 100 / bytes;
            if percent > u64::from(self.config.garbage_percent) && worst.is_none_or(|(p, _)| percent > p) {
                worst = Some((percent, segment));
            }
        }
        worst.map(|(_, segment)| Arc::clone(segment))
    }

    fn compact(self: &Arc<Self>, now: Timestamp, victim: Arc<Segment>) -> Result<(), Error> {
        let id = victim.header.id;
        let is_oldest = self.read_index().segments().next().is_none_or(|(first, _)| first.header.id == id);
        let bytes = victim.read_all()?;
        let walk = Walk {
            segment: &victim,
            bytes: &bytes,
            sequence_before: 0,
            adjacent: false,
            every_record_last: false,
        };
        let mut records: Vec<Record<'_>> = Vec::new();
        let end = walk.run(|record| records.push(*record))?;
        if !end.sealed {
            let (file, offset) = (victim.name.clone(), u64::from(end.offset));
            return Err(Error::Corrupt { file, offset, expected: "a seal" });
        }
        if self.config.planted.unlink_before_sync {
            self.unlink(&victim.name)?;
        }
        let mut rest = &records[..];
        while !rest.is_empty() {
            rest = &rest[self.copy(now, id, is_oldest, rest)?..];
            // A large write in flight would keep everyone else's waiting.
            self.flush()?;
        }
        self.flush()?;
        {
            let mut index = self.write_index();
            let live = index.segments().find(|(s, _)| s.header.id == id).map_or(0, |(_, usage)| usage.live);
            if live > 0 {
                // Our bug, or a write that failed: the file stays.
                let (file, expected) = (victim.name.clone(), "no live record after compaction");
                return Err(Error::Corrupt { file, offset: 0, expected });
            }
            index.remove_segment(id);
        }
        if self.config.planted.unlink_before_sync { Ok(()) } else { self.retire(victim) }
    }

    /// Appends the first of `records`, of segment `id`, again, as far as they still count and one write
    /// should carry. How many were dealt with.
    fn copy(
        self: &Arc<Self>,
        now: Timestamp,
        id: u32,
        is_oldest: bool,
        records: &[Record<'_>],
    ) -> Result<usize, Error> {
        let planted = self.config.planted;
        let (mut done, mut copied) = (0, 0);
        while done < records.len() && copied < COPY_BYTES {
            // Others get the log in between.
            let chunk = &records[done..records.len().min(done + COPY_RECORDS)];
            let mut log = self.lock_log();
            if log.is_stopped() {
                return Err(Error::Unavailable(Unavailable::Poisoned));
            }
            for record in chunk {
                let Fields { kind, space, key, value, expires, .. } = record.fields;
                // A younger write may be under way.
                let counts = matches!(kind, Kind::Set | Kind::Delete)
                    && (planted.copy_over_pending || !log.is_pending(space, key))
                    && {
                        let index = self.read_index();
                        match kind {
                            Kind::Set if planted.copy_stale => index.knows(space, key),
                            Kind::Set => index.stored_at(space, key) == Some((id, record.offset)),
                            _ => !is_oldest && !index.knows(space, key) && !planted.forget_removals,
                        }
                    };
                if counts {
                    let bytes = record_bytes(key.len(), value.len(), expires.is_some());
                    if !log.make_room(bytes, true) {
                        drop(log);
                        if done == 0 && copied == 0 {
                            // Nothing to write first: a segment is what is missing.
                            self.prepare()?;
                        }
                        return Ok(done);
                    }
                    // What has expired is removed for good.
                    let expired = expires.is_some_and(|at| at <= now);
                    let value = (kind == Kind::Set && !expired).then_some(value);
                    log.append_one(space, key, value, expires.filter(|_| !expired), true);
                    copied += bytes;
                }
                done += 1;
            }
        }
        Ok(done)
    }

    /// Removes keys that have expired, so that what they take becomes garbage.
    fn expire(self: &Arc<Self>, now: Timestamp) -> Result<(), Error> {
        loop {
            let keys = self.read_index().expired(now, COPY_RECORDS);
            if keys.is_empty() {
                return Ok(());
            }
            {
                let mut log = self.lock_log();
                if log.is_stopped() {
                    return Err(Error::Unavailable(Unavailable::Poisoned));
                }
                for (space, key) in keys {
                    // What is under way came later; it is looked at again if it expires.
                    if log.is_pending(space, &key) {
                        continue;
                    }
                    if !log.make_room(record_bytes(key.len(), 0, false), true) {
                        // The next call goes on.
                        return Ok(());
                    }
                    log.append_one(space, &key, None, None, true);
                }
            }
            self.flush()?;
        }
    }
}
