//! Durable tasks: what of them lies in the store, and which batch takes them from one
//! suspension to the next. Sans-IO: records and `now` in, batches out; no socket, clock or machine.
//!
//! ```text
//!            start                    suspend                        end
//!  (nothing) -----> initialized ----> running ----> ... running ---> done | failed | cancelled
//!                                      |    ^
//!                                pause v    | resume
//!                                      paused
//! ```
//!
//! **One suspension is one batch** ([`Task::suspend`]): cas of `state`, the records of the machine's snapshot that
//! changed, the step's plain key/value writes ([`Buffer`]), the conditional write that ended the step with the record of
//! its result ([`Condition`]). Only when the batch is on disk does the worker let the effect leave the machine.
//! After a crash a task goes on from its last batch: what it had asked for is asked for again under the same
//! effect number, or answered from its record.
//!
//! **Whose.** Every task has a home core ([`TaskId::home`]); only that core writes its records, so nothing here
//! has a lock. `state` changes by cas all the same: whoever else writes it is noticed, and loses.
//!
//! ## Where things are, and where to add some
//!
//! | file | what it holds |
//! |---|---|
//! | `id` | names of tasks |
//! | `keys` | names of records (docs/formats/frames.md) |
//! | `state` | the `state` record: status, what is waited for ([`Wait`]) |
//! | `live` | the index of tasks that aren't over: what a restart reads |
//! | `mail` | signals, promises, and who waits for whose end |
//! | `outcome` | results and errors of tasks that are over |
//! | `buffer` | plain writes of a step, which the task reads before anyone else |
//! | `condition` | cas, snx and incr, decided together with the record of their result |
//! | `task` | one loaded task: its last batch, its next |
//! | `batch` | operations that own their bytes |
//!
//! In the worker: `durable/mod.rs` (what a core knows), `start.rs` (requests that start or ask), `run.rs` (slices,
//! suspensions, acknowledgements), `sql.rs` (statements and transactions exactly once; the server's side is in
//! `effects/steps.rs`), `load.rs` (from records to a running task), `effects.rs` (which effects need what),
//! `answers.rs` (202, state and result as HTTP), `control.rs` (`forebay ctl task`). In ctl: `admin/task.rs`,
//! `commands/task.rs`. A new kind of waiting (signal, promise, child) is a [`Wait`] kind in `state`, a case in the
//! worker's `durable/effects.rs` that says "waits", and a message to the home core that wakes it (`Back::wake_durable`).

mod batch;
mod buffer;
mod condition;
mod id;
mod keys;
mod live;
mod mail;
mod outcome;
mod state;
mod task;

pub use batch::Batch;
pub use buffer::Buffer;
pub use condition::{Condition, Decided, Given};
pub use id::{ID_BYTES_MAX, IdError, TaskId};
pub use keys::{
    Part, Record, answer_key, code_key, end_of, epoch_key, id_of, live_key, live_prefix, prefix, record,
    record_key, sweep_key, sweep_prefix, swept, tasks_prefix,
};
pub use live::Live;
pub use mail::{
    Promise, Signal, join_key, join_of, joins_of, joins_prefix, promise_entry, promise_key, promises_of,
    promises_prefix, signal_key, signal_of, signals_of, signals_prefix,
};
pub use outcome::{Failure, Outcome};
pub use state::{BadRecord, Cancel, State, Status, Unwind, Wait, WaitKind, digest, rfc3339};
pub use task::{Commit, Facts, LoadError, Loaded, Start, Task};
