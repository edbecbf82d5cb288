//! The harness of the whole-system tests (`../e2e_*.rs`): app folders, the real
//! binary as a child process, an HTTP client that forgives nothing, PostgreSQL.
//!
//! ```text
//!   App      a temporary app folder, or a copy of examples/shop
//!   Server   `forebay serve|dev` on a free port; log lines; admin socket; its end, by pid
//!   Client   one raw connection: bytes out, strictly parsed answers in
//!   Counter  an HTTP server that counts Idempotency-Keys
//!   Postgres a cluster to start, stop and start again
//! ```
//!
//! Everything waits for a bounded time. When a test fails, the server's log is shown.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::zombie_processes,
    clippy::cast_possible_truncation,
    reason = "helpers of several test binaries, each of which uses its part; tests read clocks"
)]

mod app;
mod counter;
mod http;
mod postgres;
mod process;

pub(crate) use app::{App, repository, shop_folder};
pub(crate) use counter::Counter;
pub(crate) use http::{Answer, Client, request};
pub(crate) use postgres::{Postgres, psql};
pub(crate) use process::{Run, Server, ask, binary, forebay, is_alive, shell};

use std::time::{Duration, Instant};

/// Longest wait for anything that should happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Looks until `get` gives something; panics with `what` when that takes too long.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(value) = get() {
            return value;
        }
        assert!(Instant::now() < end, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A generator for delays and payloads (xorshift64*): `seed` above 0.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Seeded from `FOREBAY_SEED`, else from the clock; says how to run it again.
    pub(crate) fn new(test: &str) -> Self {
        let fresh = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
        let seed =
            std::env::var("FOREBAY_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(fresh);
        println!("FOREBAY_SEED={seed} cargo test -p forebay-ctl {test}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// 0 to `bound` - 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// The value below which `share` of the sorted-in-place values lie.
pub(crate) fn quantile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    let index = ((values.len() - 1) as f64 * share).round() as usize;
    values[index]
}
