//! What one core counts. Each cell has one writer, the core's own thread, and any
//! number of readers: a count is a plain load and store, never a locked
//! instruction, and a reader sees a value that was true a moment ago.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A count that only grows, or a gauge that is set; one writer.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds; only the owning thread may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets a gauge; only the owning thread may call this.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The value a moment ago.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Sub-buckets per power of two: a reading is right to 12.5%.
const STEPS: usize = 8;
/// 2^0 .. 2^27 microseconds (134 s); the last bucket takes all above.
const BUCKETS: usize = 28 * STEPS;

/// A latency histogram over microseconds, logarithmic with linear steps.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[Cell]>,
    sum_nanos: Cell,
    count: Cell,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Cell::default()).collect(),
            sum_nanos: Cell::default(),
            count: Cell::default(),
        }
    }
}

impl Histogram {
    /// Counts one duration.
    #[inline]
    pub fn record(&self, duration: Duration) {
        self.record_many(duration, 1);
    }

    /// Counts `count` durations that are the same.
    #[inline]
    pub fn record_many(&self, duration: Duration, count: u64) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos / 1000)].add(count);
        self.sum_nanos.add(nanos.wrapping_mul(count));
        self.count.add(count);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// Their sum, seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        self.sum_nanos.get() as f64 / 1e9
    }

    /// How many were at most `micros` long, to the precision of a bucket.
    #[must_use]
    pub fn at_most(&self, micros: u64) -> u64 {
        self.buckets[..=bucket(micros)].iter().map(Cell::get).sum()
    }

    /// The upper end of the bucket that holds quantile `q`, microseconds; 0 if nothing was counted.
    #[must_use]
    pub fn quantile(&self, q: f64) -> u64 {
        let wanted = (self.count() as f64 * q).ceil().max(1.0);
        let mut seen = 0.0;
        for (index, cell) in self.buckets.iter().enumerate() {
            seen += cell.get() as f64;
            if seen >= wanted {
                return upper(index);
            }
        }
        0
    }
}

#[inline]
fn bucket(micros: u64) -> usize {
    if micros < STEPS as u64 {
        return usize::try_from(micros).unwrap_or(0);
    }
    let power = micros.ilog2() as usize;
    let step = usize::try_from(micros >> (power - 3)).unwrap_or(0) & (STEPS - 1);
    ((power - 2) * STEPS + step).min(BUCKETS - 1)
}

/// Longest duration of a bucket, microseconds.
fn upper(index: usize) -> u64 {
    if index < STEPS {
        return index as u64;
    }
    let power = index / STEPS + 2;
    let step = (index % STEPS) as u64;
    ((STEPS as u64 + step + 1) << (power - 3)) - 1
}

/// Everything one core counts.
#[derive(Debug, Default)]
pub struct CoreMetrics {
    /// Answers by class: index 2 is 2xx and so on; 0 and 1 are unused.
    pub answers: [Cell; 6],
    /// Of requests that ran a task: from the turn in which the request was complete to the end
    /// of the turn in which its answer was written.
    pub latency: Histogram,
    /// Requests refused before they reached a script: malformed, too large, too slow.
    pub refused: Cell,
    /// Requests answered 503 because a queue was full.
    pub shed: Cell,
    /// Open client connections.
    pub connections: Cell,
    /// Requests in the ring to the worker when it was last looked at.
    pub queue_depth: Cell,
    /// Tasks alive, parked ones included.
    pub tasks: Cell,
    /// Slices that ended before their task did.
    pub slices: Cell,
    /// Tasks ended by a limit.
    pub traps: Cell,
    /// Tasks ended by an exception of their script.
    pub exceptions: Cell,
    /// Largest arena of a finished task since the start, bytes.
    pub arena_bytes_max: Cell,
    /// Effects begun: kv, sql, http, sleep.
    pub effects: [Cell; 4],
    /// KV group commits that this core carried out, by duration of the synced write.
    pub kv_sync: Histogram,
    /// SQL statements, by time from the effect to its result.
    pub sql: Histogram,
    /// Database connections that are ready.
    pub database_ready: Cell,
    /// Statements in flight.
    pub database_in_flight: Cell,
    /// Statements waiting for a connection.
    pub database_queued: Cell,
    /// Bytes received from clients and upstreams.
    pub received_bytes: Cell,
    /// Bytes sent.
    pub sent_bytes: Cell,
    /// Generations that are current or have running tasks.
    pub generations: Cell,
    /// Turns of the core's loop.
    pub turns: Cell,
    /// System calls of the core's loop.
    pub enters: Cell,
    /// Completions that belong to nothing any more. Anything but 0 is a bug.
    pub strays: Cell,
}

/// Index of an effect's kind in [`CoreMetrics::effects`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectKind {
    /// `kv.*`.
    Kv = 0,
    /// `db()`.
    Sql = 1,
    /// `http()`.
    Http = 2,
    /// `sleep()`.
    Sleep = 3,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_tight() {
        let mut last = 0;
        for micros in 0..200_000u64 {
            let index = bucket(micros);
            assert!(index == last || index == last + 1, "{micros}: {last} -> {index}");
            assert!(upper(index) >= micros && upper(index) as f64 <= micros as f64 * 1.126, "{micros}");
            last = index;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_come_back() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), 0);
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        let p50 = histogram.quantile(0.5);
        assert!((500..=570).contains(&p50), "{p50}");
        assert_eq!(histogram.at_most(1_000_000), 1000);
    }
}
