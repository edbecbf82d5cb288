//! Queues between threads, and between the two halves of one thread.
//!
//! | module | what it holds |
//! |---|---|
//! | [`spsc`] | a bounded lock-free ring from one producer to one consumer: reactor to worker, and back |
//! | [`overflow`] | a node's bounded overflow queue: requests that a core couldn't take, for idle workers to steal |
//!
//! ```text
//!            split placement                          inline placement
//!   reactor thread      worker thread                 one thread
//!   Producer ====ring===> Consumer                    push* publish, then drain, in the same turn
//!   Consumer <===ring==== Producer
//! ```
//!
//! **Who publishes, and when.** A push only *stages* an item: the consumer can't
//! see it before [`spsc::Producer::publish`]. A side pushes whatever its batch of
//! completions gave, publishes once, and only then asks whether the other side
//! sleeps (dataplane/ring has that protocol: sleep flag, fence, re-check, eventfd
//! or futex). Nothing here wakes anybody; a ring that is full is an answer (the
//! overflow queue, then 503), not a wait.
//!
//! Every queue is bounded, and its memory is allocated once, by the thread that
//! calls the constructor: call it on the NUMA node that will use it.

pub mod overflow;
pub mod spsc;
mod sync;

pub use overflow::Overflow;
pub use spsc::{Consumer, Producer};
