//! Values, arena heap, interpreter, intrinsics, fibers, tasks.
//!
//! ```text
//!   api         what a worker says and hears        vm         one core's machine: slots, pools
//!   blueprint   a loaded module, frozen             run        a task's scheduler: fibers, microtasks
//!   interp      the loop     call, slow             its calls, fiber switches, uncommon cases
//!   value heap string shape object dict             representation
//!   crumbs       where units are in long text
//!   overlay                                         a task's own copy of the built-in objects
//!   ops promise error                               the language's semantics without scripts
//!   builtins/   natives, and JavaScript for what calls back      intrinsics  puts them together
//!   snapshot    parked tasks as records, and back
//!   request hostcall query value_ref                the host boundary from the inside
//!   embed       the machine for other programs: build a script, trigger it
//! ```
//!
//! Invariants: script calls never use the Rust stack; every byte of a task is in its arena, its stacks or its
//! request buffer, all counted; references are offsets, so an arena can be copied; frozen spaces are never written.

#![allow(
    clippy::wrong_self_convention,
    reason = "to_string, to_number, ... are ECMA-262's abstract operations"
)]

pub mod answer;
mod api;
mod blueprint;
mod builtins;
mod call;
mod class;
mod crumbs;
mod ctx;
mod dict;
pub mod embed;
mod error;
mod evacuate;
mod fiber;
mod generator;
mod heap;
mod hostcall;
mod inspect;
mod interp;
mod intrinsics;
mod known;
mod mem;
mod names;
mod namespace;
mod object;
mod ops;
mod overlay;
mod packed;
mod parked;
mod promise;
mod query;
mod request;
mod run;
mod shape;
mod slow;
pub mod snapshot;
mod steps;
mod string;
mod tasks;
mod throw;
mod unit;
mod value;
mod value_ref;
mod vm;

pub use api::{
    BlueprintId, BodyKind, Effect, EffectId, Entry, ErrorReport, ErrorSpec, Headers, Host, LoadError,
    LogLevel, NoHeaders, NoHost, RequestInput, ResponseHead, Run, StartError, TaskHandle, Trap, VmConfig,
};
pub use blueprint::Blueprint;
pub use inspect::{Local, Place, SetLocalError};
pub use snapshot::{Packing, RecordKey, RestoreInput, SNAPSHOT_VERSION, Snapshot, SnapshotError};
pub use value_ref::{QueryCall, QueryLambda, QueryOp, QueryOps, ValueRef};
pub use vm::{Vm, VmError};
