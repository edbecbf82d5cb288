//! Sans-IO PostgreSQL client, pools, query builder, migrations.
//!
//! ```text
//!   builder::Query --render--> Sql + [Param]
//!                                  |
//!   pool::Pool  (one per core)  query(token, sql, params)  ---> Event::Done { token, result }
//!      | N shared pipelined links; decides, never sees a socket
//!      v
//!   connection::Connection      bytes in (handle_bytes), bytes out (take_output), events out
//!      | startup, authentication, statement cache, FIFO of queries in flight
//!      v
//!   types::{encode, decode}     Param -> Bind bytes;  DataRow bytes -> ValueSink, in place
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | where the database is: URL, key=value and `PG*` variables; errors name what is wrong |
//! | [`copy`] | rows of a COPY as bytes |
//! | [`connection`] | one connection as a state machine over bytes |
//! | [`pool`] | the links of one core: which query goes where, waiting, reconnecting |
//! | [`query`] | what both have in common: [`Sql`], [`Token`], [`Shape`], [`Receiver`], [`Event`] |
//! | [`param`] | borrowed parameter values |
//! | [`types`] | binary and text codecs of the SQL types |
//! | [`builder`] | `db().table(...)` chains and compiled lambdas to SQL; pure |
//! | [`blocking`] | the same state machine over std sockets, for migrations, the CLI and tests |
//! | [`migrate`] | `migrations/*.sql`, applied once and in order |
//! | [`inspect`] | tables of the catalog; what statements take and give, without running them |
//!
//! Protocol source: PostgreSQL manual, "Frontend/Backend Protocol" (chapter 55 in version 15), protocol 3.0 and 3.2.
//!
//! # The pool, for the worker that owns the sockets
//! ```text
//! Pool::new(config, limits, seed, now)
//! pool.query(token, &sql, &params, shape, delivery, now)   Ok(()): an Event::Done will follow; Err: none will
//! pool.begin(t, mode, now), query_in(t, token, ...), end(t, token, commit)   a transaction, named by its token t
//! pool.abandon(token, now)                                 the task is gone: no event, the rows are dropped
//! pool.poll_action() -> Option<Action>                     after every call above and below, until None:
//!     Action::Connect { link }                               then handle_connected or handle_closed
//!     Action::Send { link, bytes }                           one per link at a time; then handle_sent
//!     Action::Close { link }                                 then nothing more for this link
//!     Action::Compute { link, job }                          job.run() on another thread, then handle_job
//! pool.handle_connected(link)
//! pool.handle_sent(link, bytes)                            gives the buffer back
//! pool.handle_bytes(link, &bytes, now, &mut receiver)      rows go to receiver.sink(token)
//! pool.handle_closed(link, cause, now)
//! pool.handle_timeout(now), pool.next_deadline()
//! pool.poll_event() -> Option<Event>
//! ```
//! `Link` carries a generation: what arrives for an old one is ignored.
//!
//! COPY takes two calls: `copy(token, types)`, and at its `Event::Copy` `copy_in` or `copy_out` (`copy.rs`). Cursors are
//! portals of a transaction: `open_cursor`, `fetch`, `close_cursor`.

pub mod blocking;
pub mod builder;
pub mod config;
pub mod connection;
pub mod copy;
pub mod error;
pub mod inspect;
pub mod migrate;
pub mod param;
pub mod pool;
pub mod query;
pub mod types;

pub use builder::Query;
pub use config::Config;
pub use error::{ParameterError, QueryError, ServerError};
pub use param::Param;
pub use pool::{Action, Link, Pool};
pub use query::{Access, Complete, Delivery, Event, Notification, Receiver, Shape, Sql, Token};
