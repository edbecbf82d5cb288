//! Names that every other crate shares, and nothing that does I/O.
//!
//! | module | what it holds |
//! |---|---|
//! | [`id`] | newtypes: tenants, tasks, connections, log sequence numbers |
//! | [`limits`] | every bound of the system: name, default, unit, what happens when it is reached |
//! | [`time`] | time as data: instants and wall-clock timestamps are arguments, never read here |
//! | [`rng`] | seeded randomness, so that a test prints one number and reruns |
//! | [`value`] | the values that blueprints, KV, SQL and events have in common; [`ValueSink`] and [`ValueSource`]; their canonical bytes ([`value::codec`]) |
//!
//! Dependencies point at this crate from everywhere and from here to nowhere
//! (docs/ARCHITECTURE.md).

pub mod id;
pub mod limits;
pub mod rng;
pub mod time;
pub mod value;

pub use id::{ConnectionId, CoreId, Lsn, TaskId, TenantId};
pub use time::{Monotonic, Timestamp};
pub use value::{Value, ValueError, ValueSink, ValueSource};
