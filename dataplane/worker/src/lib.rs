//! One core's turn: ring, http, rings, vm and storage composed.
//!
//! | module | what it holds |
//! |---|---|
//! | [`runtime`] | the threads of the data path: start, deploy, drain |
//! | `core` | the loop of one thread: a turn |
//! | `front` | client connections: bytes to jobs, answers to bytes |
//! | `back` | tasks: jobs to runs, runs to answers |
//! | `effects` | what parked tasks wait for: kv, sql, http, sleep |
//! | [`durable`] | durable tasks: their suspensions, homes, wakes |
//! | `upstream` | outbound HTTP |
//! | `compute` | a thread for passwords' proofs |
//! | [`generation`] | what is served: routes, blueprints, files; [`assets`]: static files |
//! | [`testing`] | what `forebay test` puts between tasks and the world |
//! | [`metrics`] | what a core counts |
//! | `mailbox`, `messages`, `tokens`, `slots` | commands, what travels through the rings, names of what is in flight |

pub mod assets;
pub mod back;
mod compute;
mod core;
pub mod durable;
mod effects;
mod front;
mod gathering;
pub mod generation;
mod json;
mod mailbox;
mod messages;
pub mod metrics;
pub mod runtime;
mod slots;
pub mod testing;
mod tokens;
mod upstream;

pub use back::{BackConfig, Explain, Level, Log, StoreWakers};
pub use durable::{TaskCommand, TaskLook, TaskRefused};
pub use generation::{Generation, GenerationError};
pub use runtime::{CorePlan, Placement, Runtime, RuntimeConfig, RuntimeError};
pub use upstream::{Rewrite, RewriteTo};
