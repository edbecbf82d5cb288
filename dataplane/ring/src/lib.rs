//! The kernel boundary: one reactor per data-path core, io_uring with epoll as
//! fallback. Everything above speaks connections and bytes, never descriptors
//! or ring operations.
//!
//! | module | what it holds |
//! |---|---|
//! | [`api`] | the traits [`Transport`], [`Disk`], [`Timer`], [`Wake`], [`Reactor`], and the events |
//! | [`buffers`] | received bytes: a fixed pool that the kernel fills and the caller releases |
//! | [`output`] | bytes to send: two buffers per busy connection, none per idle one |
//! | [`timers`] | deadlines: an indexed heap |
//! | [`wake`] | waking a sleeping reactor from another thread |
//! | [`disk`] | files whose reads and writes go through the reactor |
//! | [`uring`], [`epoll`] | the two reactors |
//!
//! One turn, run by the core's thread and by no other:
//!
//! ```text
//!   turn(wait)      submits one send per connection with output, waits at most
//!        |          until the next timer, reaps completions into events
//!   next_event()    Accepted, Received, Drained, Disk, ... until None; the caller
//!        |          reads buffers, appends to outputs, starts writes, sets timers
//!   turn(wait) ...
//! ```
//!
//! ```no_run
//! use forebay_ring::{Close, Config, Event, Reactor, Transport, UringReactor, Wait};
//!
//! fn echo(mut reactor: impl Reactor) -> std::io::Result<()> {
//!     reactor.listen(&"127.0.0.1:7".parse().map_err(std::io::Error::other)?)?;
//!     loop {
//!         reactor.turn(Wait::Forever)?;
//!         while let Some(event) = reactor.next_event() {
//!             match event {
//!                 Event::Received { connection, buffer } => {
//!                     let (buffers, mut outputs) = reactor.split();
//!                     if let Some(output) = outputs.get(connection) {
//!                         output.push(buffers.bytes(&buffer));
//!                     }
//!                     reactor.release(buffer);
//!                 }
//!                 Event::Eof { connection } => reactor.close(connection, Close::Flush),
//!                 _ => {}
//!             }
//!         }
//!     }
//! }
//! # echo(UringReactor::new(Config::default()).unwrap()).unwrap();
//! ```
//!
//! No completion is handled inside the reap, so that the order of effects does
//! not depend on how the kernel batches; no event allocates once the tables,
//! pools and heaps have reached their working size.

pub mod api;
pub mod buffers;
mod core;
pub mod disk;
pub mod epoll;
pub mod output;
mod sys;
mod table;
pub mod timers;
pub mod uring;
pub mod wake;

pub use api::{
    Close, CloseReason, Config, Counters, Disk, Durability, Endpoint, Errno, Event, Features, ListenerId,
    PeerCredentials, Reactor, Timer, Transport, Wait, Wake,
};
pub use buffers::{ReceiveBuffer, ReceiveBuffers};
pub use disk::File;
pub use epoll::EpollReactor;
pub use output::{Output, Outputs};
pub use sys::{raise_descriptor_limit, unshared};
pub use timers::TimerId;
pub use uring::UringReactor;
pub use wake::Waker;
