//! What a reactor offers: traits, events, configuration, counters.
//!
//! [`Transport`] is separate from [`Disk`], [`Timer`] and [`Wake`] so that another
//! transport (a user-space TCP over AF_XDP, a simulation) can stand beside the
//! same disk. Generics choose the implementation: nothing here is called through
//! a vtable.
//!
//! The life of a connection, as its owner sees it:
//!
//! ```text
//!   Accepted --+--> Received* --> Eof? --> Closed
//!   Connected(Ok) --^                        (exactly one Closed per connection)
//!   Connected(Err)                           (the end: no Closed follows)
//! ```
//!
//! What later work adds here, and why nothing has to be torn up for it: kTLS
//! needs a listener whose connections start with exact-length receives instead
//! of the stream, and control messages both ways (an event beside `Received`, a
//! segment beside bytes); datagrams are another kind of listener.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use forebay_base::{ConnectionId, Monotonic, Timestamp};

use crate::buffers::{ReceiveBuffer, ReceiveBuffers};
use crate::disk::File;
use crate::output::{Output, Outputs};
use crate::timers::TimerId;
use crate::wake::Waker;

/// Everything one core needs from the kernel.
pub trait Reactor: Transport + Disk + Timer + Wake {
    /// Submits what is pending, waits for completions within `wait` (never past
    /// the next timer, and not at all while events are left in the queue or a
    /// [`Waker`] has called), reaps them into the event queue, reads the clock.
    ///
    /// Errors are the ring's own (`io_uring_enter(2)`, `epoll_wait(2)`) and fatal:
    /// a connection's error is an event.
    fn turn(&mut self, wait: Wait) -> io::Result<()>;

    /// The next event of this turn, oldest first. A caller that stops early finds
    /// the rest after the next turn. Events of a connection that has been closed
    /// since are dropped here, their buffers released.
    fn next_event(&mut self) -> Option<Event>;

    /// The monotonic clock as read by the last turn.
    fn now(&self) -> Monotonic;

    /// The monotonic clock read afresh (`clock_gettime(2)`, some 25 ns), for measuring
    /// what a turn took. Does not change [`Reactor::now`].
    fn clock(&self) -> Monotonic;

    /// The wall clock as of the last turn; a step of it (settimeofday, NTP) is
    /// seen within a millisecond.
    fn timestamp(&self) -> Timestamp;

    /// What happened so far, for metrics.
    fn counters(&self) -> &Counters;

    /// What the kernel gave us, for the start-up log and `forebay ctl`.
    fn features(&self) -> Features;
}

/// Stream sockets: TCP and unix.
pub trait Transport {
    /// Binds and accepts from the next turn on. TCP listeners carry SO_REUSEPORT
    /// (each core has its own on the same port) and hand TCP_NODELAY down to their
    /// connections. A unix path whose socket nobody listens on any more is
    /// replaced; the socket's mode is 0660.
    ///
    /// Errors: `socket(2)`, `bind(2)`, `listen(2)`.
    fn listen(&mut self, endpoint: &Endpoint) -> io::Result<ListenerId>;

    /// The address a listener is bound to, with the port the kernel chose for
    /// port 0. None if the listener is closed.
    fn local_addr(&self, listener: ListenerId) -> Option<Endpoint>;

    /// Stops accepting. Connections that completed their handshake before are
    /// still accepted (and reported), since closing the socket would reset them.
    fn stop_listening(&mut self, listener: ListenerId);

    /// Starts an outbound connection; [`Event::Connected`] tells how it ended.
    /// There is no deadline here: set a timer and [`Transport::close`].
    ///
    /// Errors: `socket(2)`, or [`io::ErrorKind::QuotaExceeded`] when the connection table is full.
    fn connect(&mut self, endpoint: &Endpoint) -> io::Result<ConnectionId>;

    /// The peer's address. None for a unix socket or a connection that is gone.
    /// A few system calls: ask once per connection, not per request.
    fn peer_addr(&mut self, connection: ConnectionId) -> Option<SocketAddr>;

    /// SO_PEERCRED of a unix connection (`unix(7)`); None for TCP.
    fn peer_credentials(&mut self, connection: ConnectionId) -> Option<PeerCredentials>;

    /// Ends a connection; [`Event::Closed`] follows, and nothing else of this
    /// connection but [`Event::Drained`]. A second call can only be more
    /// impatient (`Linger`, then `Flush`, then `Now`). An old id is ignored.
    fn close(&mut self, connection: ConnectionId, how: Close);

    /// Whether this connection's bytes are wanted (they are at first). Without it the
    /// socket's receive window closes and the peer waits. What was already
    /// received is still delivered, at most what one turn had under way. A reset is
    /// noticed when bytes are wanted again or something is sent.
    fn set_receiving(&mut self, connection: ConnectionId, wanted: bool);

    /// The bytes of a buffer.
    fn bytes<'a>(&'a self, buffer: &'a ReceiveBuffer) -> &'a [u8] {
        self.buffers().bytes(buffer)
    }

    /// Gives a buffer back to the kernel. Every [`Event::Received`] needs exactly
    /// one; the type can't be copied.
    fn release(&mut self, buffer: ReceiveBuffer);

    /// The connection's output, now marked for the send at the turn's end. None
    /// if the connection is gone or closing.
    fn output(&mut self, connection: ConnectionId) -> Option<&mut Output> {
        self.split().1.into_output(connection)
    }

    /// The receive buffers, to read.
    fn buffers(&self) -> &ReceiveBuffers;

    /// Received bytes and outputs at once: a response is appended while the
    /// request is still borrowed from its buffer.
    fn split(&mut self) -> (&ReceiveBuffers, Outputs<'_>);

    /// Connections whose slot is in use, closing ones included.
    fn connection_count(&self) -> usize;
}

/// Reads and writes of files; completions are [`Event::Disk`], in any order.
pub trait Disk {
    /// Writes all of `buffer` at `offset` (`pwritev2(2)`). The result counts the
    /// bytes written; fewer than `buffer.len()` is a short write, which is
    /// reported and never hidden or retried.
    fn write_at(&mut self, file: &File, offset: u64, buffer: Vec<u8>, durability: Durability, token: u64);

    /// Reads up to `buffer.len()` bytes at `offset` into the front of `buffer`.
    /// The result counts them; fewer means the end of the file.
    fn read_at(&mut self, file: &File, offset: u64, buffer: Vec<u8>, token: u64);

    /// `fdatasync(2)`. The event carries an empty buffer.
    fn sync(&mut self, file: &File, token: u64);
}

/// Deadlines. Thousands are cheap: set and cancel are O(log n) and exact, with no
/// garbage left behind. For a timeout that is pushed back by every request keep
/// one timer per connection and, when it fires, set it again for the rest.
pub trait Timer {
    /// [`Event::Timer`] with `token` in the first turn at or after `deadline`.
    fn set_timer(&mut self, deadline: Monotonic, token: u64) -> TimerId;

    /// False if it has fired (its event may still be in the queue) or was cancelled.
    fn cancel_timer(&mut self, timer: TimerId) -> bool;
}

/// Being woken by other threads.
pub trait Wake {
    /// A handle for other threads, cloneable. After a call of [`Waker::wake`] one
    /// [`Event::Woken`] comes in this or the next turn, and that turn doesn't sleep.
    fn waker(&self) -> Waker;
}

/// What happened. Delivered by [`Reactor::next_event`].
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A client connected.
    Accepted {
        /// Where.
        listener: ListenerId,
        /// The new connection.
        connection: ConnectionId,
    },
    /// [`Transport::connect`] ended. With an error the id is stale and no
    /// [`Event::Closed`] follows.
    Connected {
        /// The id that `connect` returned.
        connection: ConnectionId,
        /// `connect(2)`: ECONNREFUSED, ENOENT (unix), ETIMEDOUT, ...
        result: Result<(), Errno>,
    },
    /// Bytes, at least one, in the order of the stream.
    Received {
        /// From whom.
        connection: ConnectionId,
        /// The bytes; to be released.
        buffer: ReceiveBuffer,
    },
    /// The peer has shut down its writing side. Whatever it sent before has been
    /// delivered and it may still read: answer, then close.
    Eof {
        /// Who.
        connection: ConnectionId,
    },
    /// All output appended so far has been handed to the kernel.
    Drained {
        /// Whose.
        connection: ConnectionId,
    },
    /// The connection is gone; its id is stale.
    Closed {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: CloseReason,
    },
    /// A deadline has passed.
    Timer {
        /// As given to [`Timer::set_timer`].
        token: u64,
    },
    /// A read, write or sync is done.
    Disk {
        /// As given when it was started.
        token: u64,
        /// Bytes read or written (0 for a sync), or why not.
        result: Result<usize, Errno>,
        /// The buffer, handed back.
        buffer: Vec<u8>,
    },
    /// A [`Waker`] has called, once or several times.
    Woken,
}

/// How long a turn may sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Not at all: there is other work.
    Poll,
    /// At most this long, and not past the next timer.
    AtMost(Duration),
    /// Until a completion, a timer or a wake-up.
    Forever,
    /// As `Forever`, but not before this much has passed since the last turn: what comes meanwhile is handed over
    /// together, with one sleep instead of one for each. Much of it, or the next timer, ends that early; a wake-up by
    /// another thread waits as well. epoll doesn't gather: there it is `Forever`.
    Gather(Duration),
}

/// How [`Transport::close`] ends a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Close {
    /// After the output is sent, shut down our writing side, then read and discard
    /// until the peer closes or [`Config::linger`] is over. For answers to a
    /// request whose rest is still coming (413, 400): a plain close would reset
    /// the connection and could take the answer with it (RFC 9112 section 9.6).
    Linger,
    /// After the output is sent.
    Flush,
    /// At once; unsent output is lost.
    Now,
}

/// Why a connection is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// [`Transport::close`] was called and has been carried out.
    Requested,
    /// The peer reset it or went away: ECONNRESET, EPIPE, ETIMEDOUT, ...
    Peer(Errno),
    /// A file that was to be sent could not be read, or had fewer bytes than
    /// promised (then EIO). Peers see a truncated body.
    File(Errno),
}

/// When a write counts as done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// When the page cache has it.
    Buffered,
    /// When the medium has it: RWF_DSYNC (`pwritev2(2)`).
    Synced,
}

/// A listener of one reactor. Never reused within a reactor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerId(pub u32);

/// The other side of a unix socket, as the kernel knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerCredentials {
    /// Process.
    pub pid: u32,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
}

/// Where to listen or connect. Text form: `127.0.0.1:8080`, `[::1]:8080`,
/// `unix:/run/forebay/admin.sock`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix stream socket; at most 107 bytes of path (`unix(7)`).
    Unix(PathBuf),
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("expected a path after unix:".into()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| format!("expected ADDRESS:PORT or unix:PATH, found {text:?}")),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An error number of the kernel, positive (`errno(3)`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {})", self.0, io::Error::from_raw_os_error(self.0))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl std::error::Error for Errno {}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

/// Bounds of one reactor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Connections, inbound and outbound, closing ones included. Beyond it an
    /// accepted connection is closed at once (counted as `refused`) and `connect`
    /// fails. A worker that wants to answer 503 keeps its own limit below. RLIMIT_NOFILE
    /// bounds it as well ([`crate::raise_descriptor_limit`]).
    pub connections: u32,
    /// Receive buffers; rounded up to a power of two, at most 32768. When all are
    /// taken, receiving pauses until one is released; nothing is lost.
    pub receive_buffers: u16,
    /// Bytes of one receive buffer.
    pub receive_buffer_bytes: u32,
    /// Receive buffers that one connection may have unreleased before its receiving
    /// is paused, so that a caller who sits on one connection's bytes doesn't
    /// starve the others. Receiving resumes at half of it. A multishot receive may
    /// overshoot by what the socket holds when it is read, so keep the pool larger
    /// than a socket's first receive window (128 KiB) and release within the turn.
    pub receive_buffers_per_connection: u16,
    /// Bytes of one send at most. It is also the granularity in which a slow reader's
    /// progress is seen ([`Output::sent_bytes`]): one that takes less than this in a
    /// write timeout counts as stuck.
    pub send_bytes: u32,
    /// Bytes of a file that are read ahead of their send, per connection. Up to
    /// `output_buffer_bytes_kept` the chunk comes from the pool of output buffers.
    pub file_chunk_bytes: u32,
    /// Output buffers kept for reuse when connections are idle.
    pub output_buffers_kept: u32,
    /// Output buffers that grew beyond this many bytes are not kept.
    pub output_buffer_bytes_kept: u32,
    /// Longest [`Close::Linger`].
    pub linger: Duration,
    /// Accept queue of a listener (`listen(2)` backlog; the kernel caps it at
    /// net.core.somaxconn).
    pub backlog: u16,
    /// Pause after an accept that failed for want of descriptors or memory.
    pub accept_retry: Duration,
    /// Completion queue entries; a power of two.
    pub completion_entries: u32,
    /// Features of io_uring not to use, for tests and for kernels with a bug.
    pub without: Features,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections: 16 * 1024,
            receive_buffers: 1024,
            receive_buffer_bytes: 8 * 1024,
            receive_buffers_per_connection: 64,
            send_bytes: 256 * 1024,
            file_chunk_bytes: 64 * 1024,
            output_buffers_kept: 1024,
            output_buffer_bytes_kept: 64 * 1024,
            linger: Duration::from_secs(2),
            backlog: 4096,
            accept_retry: Duration::from_millis(20),
            completion_entries: 8 * 1024,
            without: Features::default(),
        }
    }
}

/// What a reactor uses, as probed at start-up (never read off a kernel version).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Features {
    /// io_uring at all; without it epoll.
    pub io_uring: bool,
    /// IORING_SETUP_SINGLE_ISSUER (6.0).
    pub single_issuer: bool,
    /// IORING_SETUP_DEFER_TASKRUN (6.1).
    pub defer_taskrun: bool,
    /// IORING_SETUP_NO_SQARRAY (6.6).
    pub no_sqarray: bool,
    /// The ring's own descriptor is registered (5.18).
    pub registered_ring: bool,
    /// Accepted connections live in the ring's descriptor table only (5.19, and
    /// 6.8 to ask for a peer's address).
    pub direct_descriptors: bool,
    /// One accept request serves many connections (5.19).
    pub multishot_accept: bool,
    /// One receive request serves many packets (6.0).
    pub multishot_receive: bool,
    /// [`Wait::Gather`] in one system call even if nothing comes (IORING_FEAT_MIN_TIMEOUT, 6.12).
    pub min_wait: bool,
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.io_uring {
            return f.write_str("epoll");
        }
        f.write_str("io_uring")?;
        for (on, name) in [
            (self.single_issuer, "single_issuer"),
            (self.defer_taskrun, "defer_taskrun"),
            (self.no_sqarray, "no_sqarray"),
            (self.registered_ring, "registered_ring"),
            (self.direct_descriptors, "direct_descriptors"),
            (self.multishot_accept, "multishot_accept"),
            (self.multishot_receive, "multishot_receive"),
            (self.min_wait, "min_wait"),
        ] {
            write!(f, " {}{name}", if on { '+' } else { '-' })?;
        }
        Ok(())
    }
}

/// What happened since the reactor was made. Plain counts that only grow.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Turns.
    pub turns: u64,
    /// System calls that wait or submit: `io_uring_enter(2)`, `epoll_wait(2)`.
    pub enters: u64,
    /// Completions (epoll: readiness events).
    pub completions: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed on accept because the table was full.
    pub refused: u64,
    /// Accepts that failed for want of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM).
    pub accept_errors: u64,
    /// Outbound connections established.
    pub connected: u64,
    /// Outbound connections that failed.
    pub connect_errors: u64,
    /// Connections closed, for whatever reason.
    pub closed: u64,
    /// Of them by the peer or the network, without an orderly end.
    pub resets: u64,
    /// Receives that gave bytes.
    pub receives: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Receives that found no free buffer.
    pub no_buffers: u64,
    /// Receives paused because their connection had too many buffers unreleased.
    pub held_pauses: u64,
    /// Sends.
    pub sends: u64,
    /// Bytes sent (taken by the kernel).
    pub sent_bytes: u64,
    /// File reads, writes and syncs, file ranges of outputs included.
    pub disk_operations: u64,
    /// Times a submission had to wait for the kernel (EBUSY, EAGAIN, a full queue).
    pub submit_stalls: u64,
    /// Wake-ups by other threads that came as events.
    pub wakes: u64,
    /// Completions that belong to nothing any more. Anything but 0 is a bug of ours.
    pub strays: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_read_back_as_they_are_written() {
        for text in ["127.0.0.1:8080", "[::1]:80", "unix:/run/forebay/admin.sock"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
        }
        for text in ["", "unix:", "localhost:80", "127.0.0.1", "127.0.0.1:99999"] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.contains("expected"), "{error}");
        }
    }
}
