//! Every bound of the system in one place: its name, its default and what a
//! client or script sees when it is reached. `forebay.toml` overrides those that
//! have a key (docs/SPECIFICATION.md lists the keys); the others are constants.

use std::time::Duration;

/// Limits of a client connection and of one request on it (`[limits]` in
/// `forebay.toml`; the field's name is the key).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Request line and headers together, bytes. Beyond it: 431.
    pub request_head_bytes: usize,
    /// Request target, bytes. Beyond it: 414.
    pub uri_bytes: usize,
    /// Header fields of one request. Beyond it: 431.
    pub header_count: usize,
    /// Request body, bytes, after chunked decoding. Beyond it: 413.
    pub body_bytes: usize,
    /// Requests parsed from one connection in one turn; the rest waits for the next.
    pub requests_per_turn: usize,
    /// Connections per core. Beyond it the newest is answered 503 and closed.
    pub connections: usize,
    /// Output of a connection that its client doesn't read, bytes: no further
    /// request of it is started above this mark.
    pub output_bytes: usize,
    /// Per core, bytes of requests that are incomplete, wait or run. Beyond it bodies are
    /// answered 503.
    pub held_bytes: usize,
    /// From accept or the last answer to the first byte of a request. Then: close.
    pub idle_timeout: Duration,
    /// From a request's first byte to the end of its head. Then: 408.
    pub header_timeout: Duration,
    /// From the end of the head to the end of the body. Then: 408.
    pub body_timeout: Duration,
    /// Without progress of a send. Then: close.
    pub write_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            request_head_bytes: 16 * 1024,
            uri_bytes: 8 * 1024,
            header_count: HEADER_COUNT_MAX,
            body_bytes: 1024 * 1024,
            requests_per_turn: 32,
            connections: 16 * 1024,
            output_bytes: 1024 * 1024,
            held_bytes: 256 * 1024 * 1024,
            idle_timeout: Duration::from_secs(75),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// Budgets of one task (`.limits({...})` of a work, `[limits]` in
/// `forebay.toml`). Reaching one ends the task (a trap); none is catchable by
/// the script except where said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskLimits {
    /// Canonical instructions and the work that natives charge. Then: 500.
    pub fuel: u64,
    /// From the start of the task to its end, parked time included. Then: 504.
    pub wall_time: Duration,
    /// Bytes of the task's arena, stacks included. Then: 500.
    pub memory: usize,
    /// Script calls in flight in one fiber. Then a RangeError, which is catchable.
    pub stack_depth: usize,
    /// Fibers alive at once. Then: 500.
    pub fibers: usize,
    /// Effects (kv, sql, http, timers) in flight at once. Then: 500.
    pub effects: usize,
}

impl Default for TaskLimits {
    fn default() -> Self {
        Self {
            fuel: 500_000_000,
            wall_time: Duration::from_secs(30),
            memory: 64 * 1024 * 1024,
            stack_depth: 10_000,
            fibers: 1024,
            effects: 256,
        }
    }
}

/// Limits of one core's worker (`[worker]` in `forebay.toml`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLimits {
    /// Requests in the SPSC ring to the worker. A power of two. Beyond it: the
    /// overflow queue, and when that is full 503 with Retry-After.
    pub request_queue: usize,
    /// Tasks alive on a core, parked ones included. Beyond it requests queue.
    pub tasks: usize,
    /// Fuel that a fiber may use before others on the core get their turn.
    pub slice_fuel: u64,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self { request_queue: 1024, tasks: 4096, slice_fuel: 200_000 }
    }
}

/// Limits of the PostgreSQL client of one core (`[database]` in `forebay.toml`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseLimits {
    /// Pipelined connections per core that tasks share.
    pub connections: usize,
    /// Further connections per core, made when first needed, that one transaction at a time owns.
    pub transactions: usize,
    /// Queries in flight on one shared connection.
    pub window: usize,
    /// Queries waiting for a place in a window. Beyond it: 503.
    pub queue: usize,
    /// Longest wait for a place. Then: 503.
    pub acquire_timeout: Duration,
    /// Bytes of one result. Beyond it the query fails and its connection drains.
    pub result_bytes: usize,
    /// Prepared statements kept per connection; the least recently used goes first.
    pub statements: usize,
    /// Age at which a connection is replaced once nothing runs on it, up to a quarter less; zero: never.
    pub lifetime: Duration,
    /// Silence after which an idle connection is asked for a sign of life; zero: never.
    pub idle_check: Duration,
}

impl Default for DatabaseLimits {
    fn default() -> Self {
        Self {
            connections: 2,
            transactions: 2,
            window: 64,
            queue: 1024,
            acquire_timeout: Duration::from_secs(5),
            result_bytes: 64 * 1024 * 1024,
            statements: 512,
            lifetime: Duration::from_secs(30 * 60),
            idle_check: Duration::from_secs(30),
        }
    }
}

/// Header fields that the parser has room for; `header_count` can only be lower.
pub const HEADER_COUNT_MAX: usize = 96;
/// Bytes of a KV key, tenant prefix excluded. Beyond it the call throws.
pub const KV_KEY_BYTES_MAX: usize = 1024;
/// Bytes of an encoded KV value. Beyond it the call throws.
pub const KV_VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Nesting of a value (KV, JSON, SQL json). Beyond it the call throws.
pub const VALUE_DEPTH_MAX: usize = 128;
/// Bytes of the path by which a snapshot names a value that a module made. Beyond it the task can't be saved.
pub const SNAPSHOT_PATH_BYTES_MAX: usize = 4096;
/// Bytes that live of a task when its garbage is left behind (vm/engine/src/evacuate.rs): moving them holds the core.
/// With more, a task keeps its garbage until it ends.
pub const EVACUATED_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of one log line; the rest is cut and the line says so.
pub const LOG_LINE_BYTES_MAX: usize = 8 * 1024;

/// How long the result of a durable task is kept. Then its name is free again.
pub const TASK_RESULT_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest wait for a durable task that a request may ask for (`Prefer: wait=60`); a longer one is this one.
pub const TASK_WAIT_MAX: Duration = Duration::from_secs(60);
/// Signals that may wait for one durable task; one more is refused with 503.
pub const TASK_SIGNALS_MAX: usize = 1000;
/// Bytes of the value of a signal or of a promise: 413, or a RangeError.
pub const TASK_SIGNAL_BYTES_MAX: usize = 1024 * 1024;
/// Promises that one durable task may make: a RangeError.
pub const TASK_PROMISES_MAX: usize = 256;
/// Longest wait between two tries of a durable task (`retry(n, "1s")` doubles it each time).
pub const TASK_RETRY_WAIT_MAX: Duration = Duration::from_secs(3600);
/// Keys that a step of a durable task may write before it is suspended to write them.
pub const TASK_STEP_WRITES_MAX: usize = 1024;
/// Bytes that a step of a durable task may write before it is suspended to write them.
pub const TASK_STEP_BYTES_MAX: usize = 8 * 1024 * 1024;

const _: () = assert!(KV_KEY_BYTES_MAX < u16::MAX as usize);
const _: () = assert!(KV_VALUE_BYTES_MAX < u32::MAX as usize);
