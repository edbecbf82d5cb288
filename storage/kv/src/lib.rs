//! The log store: one data folder, one log, one sequence, shared by all cores of
//! the process.
//!
//! ```text
//!   core A  submit ─┐                      ┌─ finish ─> index, completions of A, B, C (+ wake)
//!   core B  submit ─┼─> group ── poll_commit ─> one write with RWF_DSYNC, by whichever core came first
//!   core C  submit ─┘    ^ the next group collects meanwhile: the sync in flight is the window
//!
//!   get, exists, scan, iterate ──> index ──> bytes in the map of a segment
//! ```
//!
//! - **Sans-IO writes.** [`Store::submit`] evaluates conditions, appends to the group in
//!   memory and returns. At the end of its turn a core calls
//!   [`Store::poll_commit`]; if no write is in flight it gets the [`CommitJob`], executes
//!   it on its ring and reports to [`CommitTicket::finish`]. Everyone finds answers in
//!   [`Store::completions`], woken through [`Wake`]. [`Blocking`] does all that in place, for tools and tests.
//! - **What reads see.** Only what is on disk, plus writes with `sync: false` that were acknowledged. A condition
//!   (`snx`, `cas`, `incr`) is evaluated against everything submitted before it, and its answer,
//!   a conflict too, is held until what it rests on is on disk.
//! - **What survives.** docs/formats/kv-log.md has the bytes and the assumptions about the medium.
//!
//! Map of the crate: `api` (what callers see), `store` (submit and commit), `index` with `tree` and `rows`,
//! `recover` (open) with `hint` and `load`, `compact`, `record` and `segment` (bytes), `map` with `fault`, `medium` with
//! `disk` and [`testing::SimDisk`] behind it.

mod api;
mod backup;
mod blocking;
mod compact;
mod disk;
mod fault;
mod hint;
mod index;
mod key;
mod load;
mod log;
mod map;
mod medium;
mod outside;
mod prepare;
mod quota;
mod record;
mod recover;
mod rows;
mod segment;
mod space;
mod stall;
mod store;
mod sys;
pub mod testing;
mod tree;

pub use api::{
    BATCH_BYTES_MAX, BATCH_OPS_MAX, Completion, Config, Error, GROUP_BYTES_MAX, ITERATE_OFFSET_MAX, NoWake,
    Op, Outcome, PAGE_ITEMS_MAX, QUEUE_BYTES_MAX, Refused, SEGMENT_BYTES, SEGMENT_BYTES_MIN, Unavailable,
    Wake,
};
pub use backup::{Backup, restore};
pub use blocking::{Blocking, Session};
pub use disk::DiskFolder;
pub use index::{Item, Page};
pub use medium::{Medium, SegmentFile};
pub use quota::Quota;
pub use recover::{Report, verify};
pub use rows::Rows;
pub use segment::ValueRef;
pub use space::Space;
pub use store::{CommitJob, CommitTicket, Stats, Store};
