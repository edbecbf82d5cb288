//! Time as data. Nothing in this crate reads a clock: the ring does, once per
//! turn, and passes the result down as an argument.

use std::time::Duration;

/// Nanoseconds of the monotonic clock (`CLOCK_MONOTONIC`) since an arbitrary
/// start. For deadlines and measurements; never stored on disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// Later than every deadline that can be reached (584 years).
    pub const NEVER: Self = Self(u64::MAX);

    /// This instant plus `duration`, saturating at [`Monotonic::NEVER`].
    #[must_use]
    #[inline]
    pub fn after(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// Time from `earlier` to this instant; zero if `earlier` is later.
    #[must_use]
    #[inline]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Microseconds since 1970-01-01T00:00:00Z (`CLOCK_REALTIME`); negative before.
/// The unit of `timestamptz` and of every timestamp that we store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Milliseconds since the epoch, rounded towards the past: what `Date` shows.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }
}
