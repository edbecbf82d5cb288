//! The reactor on io_uring.
//!
//! | file | what it holds |
//! |---|---|
//! | `ring.rs` | the ring: set-up, enter, submissions, provided buffers |
//! | `connection.rs` | one connection from its first receive to its burial |
//! | `faults.rs` | tests: every operation fails now and then |
//! | `probe.rs` | tries multishot accept and receive on a socket pair of our own at start-up |
//! | this one | listeners, files, the turn: what is submitted when, and what a completion means |

#![expect(unsafe_code, reason = "operations borrow the connection's memory until they complete")]

mod connection;
#[cfg(test)]
mod faults;
mod probe;
mod ring;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use forebay_base::{ConnectionId, Monotonic, Timestamp};

use crate::api::{
    Close, CloseReason, Config, Counters, Disk, Durability, Endpoint, Errno, Event, Features, ListenerId,
    PeerCredentials, Reactor, Timer, Transport, Wait, Wake,
};
use crate::buffers::{ReceiveBuffer, ReceiveBuffers};
use crate::core::{Core, TimerUse};
use crate::disk::File;
use crate::output::{OutputTable, Outputs};
use crate::sys::{self, SocketAddress};
use crate::table::Table;
use crate::timers::TimerId;
use crate::wake::Waker;
use connection::Connection;
use ring::{Completion, Ring, Target};

/// How long a dropped reactor waits for the kernel to let go of its memory.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// One core's reactor on io_uring. Made and used by one thread.
pub struct UringReactor {
    /// First, so that it is closed before the memory it may write to is freed.
    ring: Ring,
    core: Core,
    connections: Table<Connection>,
    listeners: Vec<Listener>,
    disk: Vec<Option<DiskOperation>>,
    disk_free: Vec<u32>,
    /// Connections whose receive found no buffer.
    starved: VecDeque<u32>,
    completions: Vec<Completion>,
    /// The last turn gathered until its time was over, and nothing came.
    gathered_nothing: bool,
    /// Where the eventfd is read to.
    wake_count: Box<[u8; 8]>,
    #[cfg(test)]
    faults: Option<faults::Faults>,
}

/// Who owns the socket.
#[derive(Debug)]
enum Socket {
    /// The ring's descriptor table.
    Direct(u32),
    Plain(OwnedFd),
}

impl Socket {
    fn target(&self) -> Target {
        match self {
            Self::Direct(index) => Target::Direct(*index),
            Self::Plain(fd) => Target::Plain(sys::raw(fd)),
        }
    }
}

#[derive(Debug)]
struct Listener {
    /// None when closed.
    socket: Option<OwnedFd>,
    /// To be removed with the socket.
    path: Option<PathBuf>,
    accepting: bool,
    stopping: bool,
}

#[derive(Debug)]
struct DiskOperation {
    /// Keeps the descriptor open until the operation has completed.
    _file: File,
    buffer: Vec<u8>,
    token: u64,
}

/// What a completion belongs to. In `user_data`: kind in the top byte, index below.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Kind {
    Accept = 1,
    Receive,
    Send,
    FileRead,
    Connect,
    Shutdown,
    Close,
    Disk,
    Wake,
    /// A descriptor for a direct one, awaited on the spot.
    Install,
    /// Only its end matters: cancellations, closes of refused connections.
    Ignore,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Accept,
        Self::Receive,
        Self::Send,
        Self::FileRead,
        Self::Connect,
        Self::Shutdown,
        Self::Close,
        Self::Disk,
        Self::Wake,
        Self::Install,
        Self::Ignore,
    ];

    fn data(self, index: u32) -> u64 {
        (self as u64) << 56 | u64::from(index)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the two parts are taken apart on purpose")]
    fn of(data: u64) -> (Option<Self>, u32) {
        let kind = Self::ALL.get(usize::from((data >> 56) as u8).wrapping_sub(1)).copied();
        (kind, data as u32)
    }
}

impl UringReactor {
    /// Sets up a ring with what the kernel offers ([`UringReactor::features`] tells).
    ///
    /// Errors: ENOSYS or EPERM where io_uring is missing or forbidden, EINVAL on
    /// kernels before 5.19; the caller then takes [`crate::EpollReactor`].
    pub fn new(config: Config) -> io::Result<Self> {
        let mut core = Core::new(config, false)?;
        let mut ring = Ring::new(&core.config, &mut core.buffers)?;
        probe::multishot(&mut ring, &mut core)?;
        let mut reactor = Self {
            ring,
            connections: Table::new(core.config.connections),
            core,
            listeners: Vec::new(),
            disk: Vec::new(),
            disk_free: Vec::new(),
            starved: VecDeque::new(),
            completions: Vec::with_capacity(1024),
            gathered_nothing: false,
            wake_count: Box::new([0; 8]),
            #[cfg(test)]
            faults: None,
        };
        reactor.arm_wake();
        Ok(reactor)
    }

    fn arm_wake(&mut self) {
        let fd = self.core.sleeper.fd();
        // SAFETY: the box is dropped after the ring has let go of it (see Drop), and is read by nobody.
        unsafe { self.ring.read(fd, 0, &mut self.wake_count[..], Kind::Wake.data(0)) };
    }

    // ---- listeners ----

    fn arm_accept(&mut self, index: u32) {
        let Some(listener) = self.listeners.get_mut(index as usize) else { return };
        if let Some(socket) = &listener.socket
            && !listener.accepting
            && !listener.stopping
        {
            listener.accepting = true;
            self.ring.accept(sys::raw(socket), Kind::Accept.data(index));
        }
    }

    fn accepted(&mut self, index: u32, completion: Completion) {
        let Some(listener) = self.listeners.get_mut(index as usize) else {
            self.core.counters.strays += 1;
            return;
        };
        listener.accepting = completion.more;
        if completion.result >= 0 {
            let value = completion.result.cast_unsigned();
            let socket = if self.ring.features.direct_descriptors {
                Ok(Socket::Direct(value))
            } else {
                sys::own_from_ring(completion.result).map(Socket::Plain)
            };
            if let Ok(socket) = socket {
                self.adopt(index, socket);
            }
        } else {
            match -completion.result {
                // EMFILE, ENFILE: descriptors (of the process, the system, or the ring's table);
                // ENOBUFS, ENOMEM: socket memory. It would fail again at once: wait.
                libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => {
                    self.core.counters.accept_errors += 1;
                    let retry = self.core.now.after(self.core.config.accept_retry);
                    self.core.timers.set(retry, TimerUse::AcceptRetry(ListenerId(index)));
                    return;
                }
                // Our own cancellation (stop_listening), or EINVAL: the socket doesn't listen any more.
                libc::ECANCELED | libc::EINVAL => {}
                // ECONNABORTED, EINTR, EPROTO, ENETDOWN and the other network errors of
                // accept(2) belong to one connection that is gone: go on with the next.
                _ => self.core.counters.accept_errors += 1,
            }
        }
        if !self.listeners[index as usize].accepting {
            if self.listeners[index as usize].stopping {
                self.close_listener(index);
            } else if completion.result != -libc::EINVAL {
                self.arm_accept(index);
            }
        }
    }

    /// Takes a new connection in, or closes it if the table is full.
    fn adopt(&mut self, listener: u32, socket: Socket) {
        if self.connections.is_full() {
            self.core.counters.refused += 1;
            if let Socket::Direct(index) = socket {
                self.ring.close(index, Kind::Ignore.data(0));
            }
            return;
        }
        let Some(id) = self.connections.insert(Connection::new(socket)) else { return };
        self.core.counters.accepted += 1;
        self.core.outputs.open(id);
        self.core.events.push_back(Event::Accepted { listener: ListenerId(listener), connection: id });
        self.arm_receive(id.slot);
    }

    /// The accept has ended: takes what completed its handshake before, then closes.
    fn close_listener(&mut self, index: u32) {
        let Some(socket) = self.listeners[index as usize].socket.take() else { return };
        if sys::set_nonblocking(sys::raw(&socket)).is_ok() {
            // Ends with EAGAIN when the queue is empty; any other error ends it as well.
            while let Ok(connection) = sys::accept(sys::raw(&socket), false) {
                self.adopt(index, Socket::Plain(connection));
            }
        }
        if let Some(path) = self.listeners[index as usize].path.take() {
            // Gone already: somebody cleaned up before us.
            let _ = std::fs::remove_file(path);
        }
    }

    // ---- files ----

    fn start_disk(&mut self, file: &File, buffer: Vec<u8>, token: u64) -> (u32, &mut Vec<u8>) {
        self.core.counters.disk_operations += 1;
        let operation = Some(DiskOperation { _file: file.clone(), buffer, token });
        let index = match self.disk_free.pop() {
            Some(index) => {
                self.disk[index as usize] = operation;
                index
            }
            None => {
                self.disk.push(operation);
                u32::try_from(self.disk.len() - 1).unwrap_or(u32::MAX)
            }
        };
        #[expect(clippy::expect_used, reason = "put there three lines above")]
        let operation = self.disk[index as usize].as_mut().expect("an operation");
        (index, &mut operation.buffer)
    }

    fn disk_ended(&mut self, index: u32, completion: Completion) {
        let Some(operation) = self.disk.get_mut(index as usize).and_then(Option::take) else {
            self.core.counters.strays += 1;
            return;
        };
        self.disk_free.push(index);
        let result = usize::try_from(completion.result).map_err(|_| Errno(-completion.result));
        let DiskOperation { buffer, token, .. } = operation;
        self.core.events.push_back(Event::Disk { token, result, buffer });
    }

    // ---- a direct descriptor's peer ----

    /// Runs `ask` on a descriptor for the connection's socket.
    fn with_descriptor<T>(&mut self, id: ConnectionId, ask: impl Fn(i32) -> Option<T>) -> Option<T> {
        match &self.connections.get(id).filter(|c| c.dying.is_none())?.socket {
            Socket::Plain(fd) => ask(sys::raw(fd)),
            Socket::Direct(index) => {
                let index = *index;
                self.ring.install(index, Kind::Install.data(id.slot));
                let fd = self.await_install()?;
                ask(sys::raw(&fd))
            }
        }
    }

    /// The operation completes within the submission. Other completions wait for the turn.
    fn await_install(&mut self) -> Option<OwnedFd> {
        /// One suffices unless the submission queue was full.
        const TRIES: usize = 8;
        for _ in 0..TRIES {
            self.ring.enter(Some(Duration::ZERO), Duration::ZERO).ok()?;
            let from = self.completions.len();
            self.ring.reap(&mut self.completions);
            let found =
                self.completions[from..].iter().position(|c| Kind::of(c.data).0 == Some(Kind::Install));
            if let Some(at) = found {
                let completion = self.completions.remove(from + at);
                return sys::own_from_ring(completion.result).ok();
            }
        }
        None
    }

    // ---- the turn ----

    fn complete(&mut self, completion: Completion) {
        #[cfg(test)]
        let completion = self.faults.as_mut().map_or(completion, |faults| faults.inject(completion));
        let (kind, index) = Kind::of(completion.data);
        match kind {
            Some(Kind::Accept) => self.accepted(index, completion),
            Some(Kind::Receive) => self.received(index, completion),
            Some(Kind::Send) => self.sent(index, completion, false),
            Some(Kind::FileRead) => self.sent(index, completion, true),
            Some(Kind::Connect) => self.connect_ended(index, completion),
            Some(Kind::Shutdown | Kind::Close) => self.operation_ended(index),
            Some(Kind::Disk) => self.disk_ended(index, completion),
            Some(Kind::Wake) => self.arm_wake(),
            // Its asker gave up: nobody else owns the descriptor.
            Some(Kind::Install) => drop(sys::own_from_ring(completion.result)),
            Some(Kind::Ignore) => {}
            None => self.core.counters.strays += 1,
        }
    }

    fn fire_timers(&mut self) {
        while let Some(due) = self.core.timers.pop_due(self.core.now) {
            match due {
                TimerUse::Caller(token) => self.core.events.push_back(Event::Timer { token }),
                TimerUse::AcceptRetry(listener) => self.arm_accept(listener.0),
                TimerUse::Linger(id) => {
                    if let Some(connection) = self.connections.get(id) {
                        connection.lingering = None;
                        self.die(id.slot, CloseReason::Requested);
                    }
                }
            }
        }
    }
}

impl Reactor for UringReactor {
    fn turn(&mut self, wait: Wait) -> io::Result<()> {
        self.core.counters.turns += 1;
        while let Some(slot) = self.core.outputs.pop_dirty() {
            self.send(slot);
        }
        let hungry = !self.starved.is_empty() && self.feed_starved();
        self.ring.publish();

        let busy = hungry || !self.completions.is_empty();
        let mut timeout = if busy { Some(Duration::ZERO) } else { self.core.sleep(wait) };
        // Only who may block says that it sleeps; a call since the last turn forbids it.
        if timeout != Some(Duration::ZERO) && !self.core.sleeper.fall_asleep() {
            timeout = Some(Duration::ZERO);
        }
        let gather = match wait {
            // What the turn has worked is gathered already. Not past the next timer: the kernel looks at the
            // longer time only when the shorter is over.
            Wait::Gather(time) if !self.gathered_nothing => {
                let left = self.core.now.after(time).since(sys::monotonic());
                timeout.map_or(left, |timeout| left.min(timeout))
            }
            _ => Duration::ZERO,
        };
        let entered = self.ring.enter(timeout, gather);
        self.core.note_wake();
        entered?;

        self.core.read_clock();
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.reap(&mut completions);
        // Without `min_wait`: then the next turn waits for the first that comes.
        self.gathered_nothing = !gather.is_zero() && !self.ring.features.min_wait && completions.is_empty();
        self.core.counters.completions += completions.len() as u64;
        for completion in completions.drain(..) {
            self.complete(completion);
        }
        self.completions = completions;
        self.fire_timers();
        self.core.counters.enters = self.ring.enters;
        self.core.counters.submit_stalls = self.ring.stalls;
        Ok(())
    }

    fn next_event(&mut self) -> Option<Event> {
        loop {
            let event = self.core.events.pop_front()?;
            let (Event::Received { connection: id, .. } | Event::Eof { connection: id }) = event else {
                return Some(event);
            };
            if self.connections.get(id).is_some_and(|c| c.closing.is_none()) {
                return Some(event);
            }
            if let Event::Received { buffer, .. } = event {
                self.release(buffer);
            }
        }
    }

    fn now(&self) -> Monotonic {
        self.core.now
    }

    fn clock(&self) -> Monotonic {
        crate::sys::monotonic()
    }

    fn timestamp(&self) -> Timestamp {
        self.core.timestamp()
    }

    fn counters(&self) -> &Counters {
        &self.core.counters
    }

    fn features(&self) -> Features {
        self.ring.features
    }
}

impl Transport for UringReactor {
    fn listen(&mut self, endpoint: &Endpoint) -> io::Result<ListenerId> {
        let socket = sys::listener(endpoint, self.core.config.backlog, false)?;
        let path = match endpoint {
            Endpoint::Unix(path) => Some(path.clone()),
            Endpoint::Tcp(_) => None,
        };
        let index = u32::try_from(self.listeners.len()).map_err(|_| io::ErrorKind::QuotaExceeded)?;
        self.listeners.push(Listener { socket: Some(socket), path, accepting: false, stopping: false });
        self.arm_accept(index);
        Ok(ListenerId(index))
    }

    fn local_addr(&self, listener: ListenerId) -> Option<Endpoint> {
        let listener = self.listeners.get(listener.0 as usize)?;
        let socket = listener.socket.as_ref()?;
        match &listener.path {
            Some(path) => Some(Endpoint::Unix(path.clone())),
            None => sys::local_address(sys::raw(socket)).map(Endpoint::Tcp),
        }
    }

    fn stop_listening(&mut self, listener: ListenerId) {
        let Some(this) = self.listeners.get_mut(listener.0 as usize) else { return };
        if std::mem::replace(&mut this.stopping, true) {
            return;
        }
        if this.accepting {
            self.ring.cancel(Kind::Accept.data(listener.0), Kind::Ignore.data(0));
        } else {
            self.close_listener(listener.0);
        }
    }

    fn connect(&mut self, endpoint: &Endpoint) -> io::Result<ConnectionId> {
        let address = Box::new(SocketAddress::new(endpoint)?);
        let socket = sys::dialling_socket(&address, false)?;
        let fd = sys::raw(&socket);
        let mut connection = Connection::new(Socket::Plain(socket));
        connection.operations = 1;
        connection.connecting = Some(address);
        let id = self.connections.insert(connection).ok_or(io::ErrorKind::QuotaExceeded)?;
        self.core.outputs.open(id);
        if let Some(address) = self.connections.get(id).and_then(|c| c.connecting.as_deref()) {
            // SAFETY: the address is boxed in the connection until `connect_ended`.
            unsafe { self.ring.connect(fd, address, Kind::Connect.data(id.slot)) };
        }
        Ok(id)
    }

    fn peer_addr(&mut self, connection: ConnectionId) -> Option<SocketAddr> {
        self.with_descriptor(connection, sys::peer_address)
    }

    fn peer_credentials(&mut self, connection: ConnectionId) -> Option<PeerCredentials> {
        self.with_descriptor(connection, sys::peer_credentials)
    }

    fn close(&mut self, id: ConnectionId, how: Close) {
        let Some(connection) = self.connections.get(id) else { return };
        if connection.closing.is_some_and(|already| already >= how) {
            return;
        }
        connection.closing = Some(how);
        self.core.outputs.shut(id.slot);
        if how == Close::Now {
            self.die(id.slot, CloseReason::Requested);
        } else if self.core.outputs.is_drained(id.slot) {
            self.proceed_with_close(id.slot);
        }
    }

    fn set_receiving(&mut self, id: ConnectionId, wanted: bool) {
        let Some(connection) = self.connections.get(id) else { return };
        connection.wanted = wanted;
        if wanted {
            self.arm_receive(id.slot);
        } else if connection.closing.is_none() {
            self.cancel_receive(id.slot);
        }
    }

    fn release(&mut self, buffer: ReceiveBuffer) {
        let id = buffer.connection();
        let index = self.core.buffers.take_back(buffer);
        self.ring.provide(&mut self.core.buffers, index);
        if let Some(connection) = self.connections.get(id) {
            connection.held -= 1;
            if connection.overdrawn && connection.held <= self.core.config.receive_buffers_per_connection / 2
            {
                connection.overdrawn = false;
                self.arm_receive(id.slot);
            }
        }
    }

    fn buffers(&self) -> &ReceiveBuffers {
        &self.core.buffers
    }

    fn split(&mut self) -> (&ReceiveBuffers, Outputs<'_>) {
        (&self.core.buffers, Outputs::new(&mut self.core.outputs))
    }

    fn connection_count(&self) -> usize {
        self.connections.len()
    }
}

impl Disk for UringReactor {
    fn write_at(&mut self, file: &File, offset: u64, buffer: Vec<u8>, durability: Durability, token: u64) {
        let (index, buffer) = self.start_disk(file, buffer, token);
        let bytes: &[u8] = buffer;
        // SAFETY: the heap block behind this slice stays with the operation until `disk_ended`; that
        // the vector itself may move in the table doesn't touch it.
        let bytes = unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) };
        let synced = durability == Durability::Synced;
        // SAFETY: as above.
        unsafe { self.ring.write(file.fd(), offset, bytes, synced, Kind::Disk.data(index)) };
    }

    fn read_at(&mut self, file: &File, offset: u64, buffer: Vec<u8>, token: u64) {
        let (index, buffer) = self.start_disk(file, buffer, token);
        // SAFETY: as in `write_at`; nobody reads the buffer before `disk_ended`.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr(), buffer.len()) };
        // SAFETY: as above.
        unsafe { self.ring.read(file.fd(), offset, bytes, Kind::Disk.data(index)) };
    }

    fn sync(&mut self, file: &File, token: u64) {
        let (index, _) = self.start_disk(file, Vec::new(), token);
        self.ring.sync(file.fd(), Kind::Disk.data(index));
    }
}

impl Timer for UringReactor {
    fn set_timer(&mut self, deadline: Monotonic, token: u64) -> TimerId {
        self.core.timers.set(deadline, TimerUse::Caller(token))
    }

    fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.core.timers.cancel(timer)
    }
}

impl Wake for UringReactor {
    fn waker(&self) -> Waker {
        self.core.sleeper.waker()
    }
}

impl Drop for UringReactor {
    /// The kernel may write into our memory until the last operation has completed.
    fn drop(&mut self) {
        for listener in &mut self.listeners {
            if let Some(path) = listener.path.take() {
                let _ = std::fs::remove_file(path);
            }
        }
        self.ring.cancel_all(Kind::Ignore.data(0));
        let until = sys::monotonic().after(DROP_PATIENCE);
        while self.ring.in_flight > 0 && sys::monotonic() < until {
            if self.ring.enter(Some(Duration::from_millis(50)), Duration::ZERO).is_err() {
                break;
            }
            self.completions.clear();
            self.ring.reap(&mut self.completions);
            for completion in &self.completions {
                match (Kind::of(completion.data).0, completion.result) {
                    // Accepted at the last moment into a plain descriptor: it has no owner yet.
                    (Some(Kind::Accept), fd @ 0..) if !self.ring.features.direct_descriptors => {
                        drop(sys::own_from_ring(fd));
                    }
                    (Some(Kind::Install), fd @ 0..) => drop(sys::own_from_ring(fd)),
                    _ => {}
                }
            }
        }
        if self.ring.in_flight > 0 {
            // A write to a dead disk, for instance. Better leak its memory than have it overwritten.
            std::mem::forget(std::mem::take(&mut self.disk));
            std::mem::forget(std::mem::replace(&mut self.core.outputs, OutputTable::new(&self.core.config)));
            std::mem::forget(std::mem::replace(&mut self.connections, Table::new(0)));
            std::mem::forget(std::mem::replace(&mut self.wake_count, Box::new([0; 8])));
            let buffers = ReceiveBuffers::new(1, 1);
            std::mem::forget(std::mem::replace(&mut self.core.buffers, buffers));
            self.ring.leak_provided();
        }
    }
}
