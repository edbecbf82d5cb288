//! What `forebay test` puts between tasks and the world: a stopped clock, a keyspace per test, mocked requests, and one
//! transaction that all statements of a test belong to.
//!
//! ```text
//!   kv              the tenant of the test that runs
//!   now(), ttl      the stopped clock, if there is one; sleep() moves it on instead of waiting
//!   http()          asked of `Outbound` first
//!   db(), tx()      inside the first transaction that is begun: the test's own. A statement of another task is a
//!                   savepoint of its own there, so that a failed one spoils nothing; so is its tx()
//! ```
//!
//! One core, one test at a time. Never in a process that serves.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use forebay_base::{TenantId, Timestamp, Value};

/// The clock isn't stopped.
const RUNNING: i64 = i64::MIN;

/// What becomes of an outbound request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outside {
    /// Status, headers (names in lower case) and body.
    Answer(u16, Vec<(String, String)>, Vec<u8>),
    /// The script gets an HttpError with this message.
    Fail(String),
    /// It is sent, to this URL; private addresses are allowed.
    Send(String),
}

/// Answers outbound requests: method, URL, body.
pub type Outbound = dyn Fn(&TestWorld, &str, &str, &Value) -> Outside + Send + Sync;

/// The world of the test that runs.
pub struct TestWorld {
    tenant: AtomicU32,
    wall: AtomicI64,
    outbound: Box<Outbound>,
    /// Files, and the offsets in them of statements that ran, with how often.
    covered: Mutex<BTreeMap<String, BTreeMap<u32, u64>>>,
}

impl fmt::Debug for TestWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestWorld").finish_non_exhaustive()
    }
}

impl TestWorld {
    /// With a running clock, and the keyspace of tenant 0.
    #[must_use]
    pub fn new(outbound: Box<Outbound>) -> Self {
        let (tenant, wall) = (AtomicU32::new(0), AtomicI64::new(RUNNING));
        Self { tenant, wall, outbound, covered: Mutex::default() }
    }

    /// The next test begins: an empty keyspace, a running clock.
    pub fn next(&self) {
        self.tenant.fetch_add(1, Ordering::Relaxed);
        self.wall.store(RUNNING, Ordering::Relaxed);
    }

    /// Stops the clock.
    pub fn stop_clock(&self, at: Timestamp) {
        self.wall.store(at.0.max(RUNNING + 1), Ordering::Relaxed);
    }

    /// Moves a stopped clock on; false if it runs.
    pub fn advance(&self, micros: i64) -> bool {
        let moved = |at: i64| (at != RUNNING).then(|| at.saturating_add(micros).max(RUNNING + 1));
        self.wall.fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved).is_ok()
    }

    /// The stopped clock.
    #[must_use]
    pub fn clock(&self) -> Option<Timestamp> {
        Some(self.wall.load(Ordering::Relaxed)).filter(|at| *at != RUNNING).map(Timestamp)
    }

    /// Offsets of statements that ran, by file, each with how often; forgets them.
    pub fn take_covered(&self) -> BTreeMap<String, BTreeMap<u32, u64>> {
        std::mem::take(&mut *self.covered.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn tenant(&self) -> TenantId {
        TenantId(self.tenant.load(Ordering::Relaxed))
    }

    pub(crate) fn outbound(&self, method: &str, url: &str, body: &Value) -> Outside {
        (self.outbound)(self, method, url, body)
    }

    pub(crate) fn cover(&self, file: &str, offset: u32) {
        let mut covered = self.covered.lock().unwrap_or_else(PoisonError::into_inner);
        if !covered.contains_key(file) {
            covered.insert(file.to_owned(), BTreeMap::new());
        }
        if let Some(offsets) = covered.get_mut(file) {
            *offsets.entry(offset).or_insert(0) += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_clock_moves_only_when_it_is_told_and_ends_with_its_test() {
        let world = TestWorld::new(Box::new(|_, _, _, _| Outside::Fail(String::new())));
        assert!(world.clock().is_none() && !world.advance(5));
        world.stop_clock(Timestamp(10));
        assert!(world.advance(5) && world.clock() == Some(Timestamp(15)));
        world.stop_clock(Timestamp(i64::MIN));
        assert!(world.clock().is_some());
        let tenant = world.tenant();
        world.next();
        assert!(world.clock().is_none() && world.tenant() != tenant);
    }
}
