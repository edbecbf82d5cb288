//! The reactor on epoll, for kernels and sandboxes without io_uring. Small rather
//! than fast: it costs about 4% on plain requests, keeps the same promises, and
//! runs the same tests.
//!
//! Readiness is level-triggered, and a descriptor is registered only while there
//! is something to wait for: EPOLLHUP and EPOLLERR can't be masked, so one that is
//! registered without being read would keep the core from sleeping.
//!
//! What differs: file operations block the core's thread where they are started
//! (their events come with the next turn); timers are rounded up to the millisecond.

#![expect(unsafe_code, reason = "receives into the pool's buffers")]

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
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
use crate::output::{Outputs, Step};
use crate::sys::{self, Epoll, SocketAddress};
use crate::table::Table;
use crate::timers::TimerId;
use crate::wake::Waker;

/// Readiness events taken in one turn.
const EVENTS_MAX: usize = 1024;
/// Connections accepted in one turn from one listener.
const ACCEPTS_MAX: usize = 256;
/// Sends made in one turn for one connection, so that a fast reader of a large file doesn't keep the core.
const SENDS_MAX: usize = 16;

const READ: u32 = libc::EPOLLIN.cast_unsigned();
const WRITE: u32 = libc::EPOLLOUT.cast_unsigned();
const ENDED: u32 = (libc::EPOLLERR | libc::EPOLLHUP).cast_unsigned();

/// One core's reactor on epoll. Made and used by one thread.
pub struct EpollReactor {
    epoll: Epoll,
    core: Core,
    connections: Table<Connection>,
    listeners: Vec<Listener>,
    /// Receive buffers that nobody holds.
    free: Vec<u16>,
    /// Connections that were readable when no buffer was left.
    starved: VecDeque<ConnectionId>,
    /// Where epoll_wait(2) writes.
    ready: Vec<libc::epoll_event>,
}

struct Connection {
    socket: OwnedFd,
    /// What epoll is watching: 0 is not registered.
    watched: u32,
    wanted: bool,
    overdrawn: bool,
    starved: bool,
    eof: bool,
    connecting: bool,
    /// The kernel takes no more for now.
    blocked: bool,
    closing: Option<Close>,
    lingering: Option<TimerId>,
    held: u16,
}

struct Listener {
    socket: Option<OwnedFd>,
    path: Option<PathBuf>,
}

/// What a readiness event belongs to: the waker, a listener, or a connection's slot.
const WAKE: u64 = u64::MAX;
const LISTENER: u64 = 1 << 32;

impl EpollReactor {
    /// Errors: `epoll_create1(2)`, `eventfd(2)`.
    pub fn new(config: Config) -> io::Result<Self> {
        let core = Core::new(config, true)?;
        let epoll = Epoll::new()?;
        epoll.add(core.sleeper.fd(), READ, WAKE)?;
        Ok(Self {
            epoll,
            connections: Table::new(core.config.connections),
            listeners: Vec::new(),
            free: (0..core.config.receive_buffers).collect(),
            starved: VecDeque::new(),
            ready: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX],
            core,
        })
    }

    // ---- listeners ----

    fn watch_listener(&mut self, index: u32) {
        if let Some(socket) = self.listeners.get(index as usize).and_then(|l| l.socket.as_ref())
            && self.epoll.add(sys::raw(socket), READ, LISTENER | u64::from(index)).is_err()
        {
            // ENOMEM or ENOSPC (max_user_watches): try again later.
            self.retry_accept(index);
        }
    }

    fn retry_accept(&mut self, index: u32) {
        self.core.counters.accept_errors += 1;
        let retry = self.core.now.after(self.core.config.accept_retry);
        self.core.timers.set(retry, TimerUse::AcceptRetry(ListenerId(index)));
    }

    fn accept(&mut self, index: u32, max: usize) {
        for _ in 0..max {
            let Some(socket) = self.listeners[index as usize].socket.as_ref().map(sys::raw) else { return };
            match sys::accept(socket, true) {
                Ok(connection) => self.adopt(index, connection),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return,
                    // As in uring: out of descriptors or memory; it would fail again at once.
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                        let _ = self.epoll.delete(socket);
                        self.retry_accept(index);
                        return;
                    }
                    // ECONNABORTED, EINTR and the network errors of accept(2): one connection is gone.
                    _ => self.core.counters.accept_errors += 1,
                },
            }
        }
    }

    fn adopt(&mut self, listener: u32, socket: OwnedFd) {
        if self.connections.is_full() {
            self.core.counters.refused += 1;
            return;
        }
        let Some(id) = self.connections.insert(Connection::new(socket)) else { return };
        self.core.counters.accepted += 1;
        self.core.outputs.open(id);
        self.core.events.push_back(Event::Accepted { listener: ListenerId(listener), connection: id });
        self.watch(id.slot);
    }

    // ---- readiness ----

    /// Tells epoll what this connection waits for, if that has changed.
    fn watch(&mut self, slot: u32) {
        let Some(connection) = self.connections.at(slot) else { return };
        let mut wanted = 0;
        if connection.may_receive() {
            wanted |= READ;
        }
        if connection.connecting || connection.blocked {
            wanted |= WRITE;
        }
        if wanted == connection.watched {
            return;
        }
        let (fd, data) = (sys::raw(&connection.socket), u64::from(slot));
        let result = match (connection.watched, wanted) {
            (0, _) => self.epoll.add(fd, wanted, data),
            (_, 0) => self.epoll.delete(fd),
            _ => self.epoll.modify(fd, wanted, data),
        };
        connection.watched = wanted;
        if let Err(error) = result {
            // ENOMEM or ENOSPC: this connection can't be served.
            let errno = error.raw_os_error().unwrap_or(libc::ENOMEM);
            self.die(slot, CloseReason::Peer(Errno(errno)));
        }
    }

    fn readable(&mut self, slot: u32) {
        let id = self.connections.id(slot);
        let Some(connection) = self.connections.at(slot) else { return };
        if !connection.may_receive() {
            return;
        }
        let Some(index) = self.free.pop() else {
            self.core.counters.no_buffers += 1;
            connection.starved = true;
            self.starved.push_back(id);
            self.watch(slot);
            return;
        };
        let (memory, bytes) = (self.core.buffers.slot(index), self.core.buffers.buffer_bytes());
        // SAFETY: the buffer is on the free list, so nobody reads it, and holds that many bytes.
        let result = unsafe { sys::receive(sys::raw(&connection.socket), memory, bytes) };
        match result {
            Ok(0) => {
                self.free.push(index);
                connection.eof = true;
                if connection.lingering.is_some() {
                    self.die(slot, CloseReason::Requested);
                } else {
                    if connection.closing.is_none() {
                        self.core.events.push_back(Event::Eof { connection: id });
                    }
                    self.watch(slot);
                }
            }
            Ok(_) if connection.closing.is_some() => self.free.push(index),
            Ok(len) => {
                self.core.counters.receives += 1;
                self.core.counters.received_bytes += len as u64;
                connection.held += 1;
                if connection.held > self.core.config.receive_buffers_per_connection {
                    connection.overdrawn = true;
                    self.core.counters.held_pauses += 1;
                }
                let len = u32::try_from(len).unwrap_or(u32::MAX);
                let buffer = self.core.buffers.lend(index, len, id);
                self.core.events.push_back(Event::Received { connection: id, buffer });
                self.watch(slot);
            }
            Err(error) => {
                self.free.push(index);
                match error.raw_os_error() {
                    // Readiness may be spurious (epoll(7)); a signal came.
                    Some(libc::EAGAIN | libc::EINTR) => {}
                    errno => {
                        self.die(slot, CloseReason::Peer(Errno(errno.unwrap_or(libc::EIO))));
                    }
                }
            }
        }
    }

    fn feed_starved(&mut self) {
        for _ in 0..self.free.len() {
            let Some(id) = self.starved.pop_front() else { return };
            if let Some(connection) = self.connections.get(id) {
                connection.starved = false;
                self.watch(id.slot);
            }
        }
    }

    // ---- sending ----

    fn send(&mut self, slot: u32) {
        for _ in 0..SENDS_MAX {
            let Some(connection) = self.connections.at(slot) else { return };
            if connection.connecting || connection.blocked {
                return;
            }
            let socket = sys::raw(&connection.socket);
            let result = match self.core.outputs.next(slot) {
                Step::Nothing => return,
                Step::Send { bytes, more } => {
                    self.core.counters.sends += 1;
                    sys::send(socket, bytes, more).map(|count| (count, false))
                }
                Step::Read { file, offset, buffer } => {
                    self.core.counters.disk_operations += 1;
                    file.std().read_at(buffer, offset).map(|count| (count, true)).map_err(|error| {
                        // Marked, so that it isn't taken for the socket's.
                        io::Error::other(Errno(error.raw_os_error().unwrap_or(libc::EIO)))
                    })
                }
            };
            match result {
                // The file is shorter than what was promised.
                Ok((0, true)) => return self.die(slot, CloseReason::File(Errno(libc::EIO))),
                Ok((count, true)) => self.core.outputs.read(slot, count),
                Ok((count, false)) => {
                    self.core.counters.sent_bytes += count as u64;
                    self.core.outputs.sent(slot, count);
                    if self.core.outputs.is_drained(slot) {
                        let id = self.connections.id(slot);
                        self.core.events.push_back(Event::Drained { connection: id });
                        return self.proceed_with_close(slot);
                    }
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => {
                        connection.blocked = true;
                        return self.watch(slot);
                    }
                    Some(libc::EINTR) => {}
                    // EPIPE, ECONNRESET, ETIMEDOUT, ...: the peer doesn't take it any more.
                    Some(errno) => return self.die(slot, CloseReason::Peer(Errno(errno))),
                    None => {
                        let errno = error.get_ref().and_then(|e| e.downcast_ref::<Errno>());
                        return self.die(slot, CloseReason::File(errno.copied().unwrap_or(Errno(libc::EIO))));
                    }
                },
            }
        }
        self.core.outputs.mark(slot);
    }

    // ---- closing ----

    fn proceed_with_close(&mut self, slot: u32) {
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.connecting {
            return;
        }
        match connection.closing {
            None => {}
            Some(Close::Linger) if !connection.eof => {
                if connection.lingering.is_some() {
                    return;
                }
                sys::shutdown_write(sys::raw(&connection.socket));
                let id = self.connections.id(slot);
                let until = self.core.now.after(self.core.config.linger);
                let timer = self.core.timers.set(until, TimerUse::Linger(id));
                if let Some(connection) = self.connections.at(slot) {
                    connection.lingering = Some(timer);
                }
                self.watch(slot);
            }
            Some(_) => self.die(slot, CloseReason::Requested),
        }
    }

    fn die(&mut self, slot: u32, reason: CloseReason) {
        let id = self.connections.id(slot);
        // The last descriptor of a socket takes its registration with it (epoll(7)).
        let Some(connection) = self.connections.remove(slot) else { return };
        if let Some(timer) = connection.lingering {
            self.core.timers.cancel(timer);
        }
        self.core.outputs.reset(slot);
        self.core.counters.closed += 1;
        if matches!(reason, CloseReason::Peer(_)) {
            self.core.counters.resets += 1;
        }
        self.core.events.push_back(Event::Closed { connection: id, reason });
    }

    fn connect_ended(&mut self, slot: u32, errno: i32) {
        let id = self.connections.id(slot);
        let Some(connection) = self.connections.at(slot) else { return };
        connection.connecting = false;
        if errno != 0 {
            drop(self.connections.remove(slot));
            self.core.outputs.reset(slot);
            self.core.counters.connect_errors += 1;
            self.core.events.push_back(Event::Connected { connection: id, result: Err(Errno(errno)) });
            return;
        }
        self.core.counters.connected += 1;
        self.core.events.push_back(Event::Connected { connection: id, result: Ok(()) });
        self.watch(slot);
        self.core.outputs.mark(slot);
        if self.core.outputs.is_drained(slot) {
            self.proceed_with_close(slot);
        }
    }

    // ---- the turn ----

    fn handle(&mut self, event: libc::epoll_event) {
        let (events, data) = (event.events, event.u64);
        if data == WAKE {
            self.core.sleeper.clear();
            return;
        }
        let Ok(slot) = u32::try_from(data) else {
            self.accept(u32::try_from(data ^ LISTENER).unwrap_or(u32::MAX), ACCEPTS_MAX);
            return;
        };
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.connecting {
            let errno = sys::socket_error(sys::raw(&connection.socket));
            self.connect_ended(slot, errno);
            return;
        }
        if events & (WRITE | ENDED) != 0 && connection.blocked {
            connection.blocked = false;
            self.watch(slot);
            self.send(slot);
        }
        if events & (READ | ENDED) != 0 {
            self.readable(slot);
        }
    }

    fn fire_timers(&mut self) {
        while let Some(due) = self.core.timers.pop_due(self.core.now) {
            match due {
                TimerUse::Caller(token) => self.core.events.push_back(Event::Timer { token }),
                TimerUse::AcceptRetry(listener) => self.watch_listener(listener.0),
                TimerUse::Linger(id) => {
                    if let Some(connection) = self.connections.get(id) {
                        connection.lingering = None;
                        self.die(id.slot, CloseReason::Requested);
                    }
                }
            }
        }
    }

    fn disk_ended(&mut self, token: u64, result: io::Result<usize>, buffer: Vec<u8>) {
        self.core.counters.disk_operations += 1;
        let result = result.map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)));
        self.core.events.push_back(Event::Disk { token, result, buffer });
    }
}

impl Connection {
    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            watched: 0,
            wanted: true,
            overdrawn: false,
            starved: false,
            eof: false,
            connecting: false,
            blocked: false,
            closing: None,
            lingering: None,
            held: 0,
        }
    }

    fn may_receive(&self) -> bool {
        let wanted = match self.closing {
            None => self.wanted && !self.overdrawn,
            Some(Close::Linger) => true,
            Some(_) => false,
        };
        wanted && !self.starved && !self.eof && !self.connecting
    }
}

/// For epoll_wait(2): milliseconds, rounded up so that a timer is due when the sleep ends.
fn timeout_ms(timeout: Option<Duration>) -> i32 {
    match timeout {
        None => -1,
        Some(timeout) => i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
    }
}

impl Reactor for EpollReactor {
    fn turn(&mut self, wait: Wait) -> io::Result<()> {
        self.core.counters.turns += 1;
        let mut ready = std::mem::take(&mut self.ready);
        // Once for each that is marked now: who marks itself again has its next go in the next turn.
        for _ in 0..self.core.outputs.dirty_count() {
            if let Some(slot) = self.core.outputs.pop_dirty() {
                self.send(slot);
            }
        }
        self.feed_starved();
        let busy = self.core.outputs.dirty_count() > 0;
        let mut timeout = if busy { Some(Duration::ZERO) } else { self.core.sleep(wait) };
        if timeout != Some(Duration::ZERO) && !self.core.sleeper.fall_asleep() {
            timeout = Some(Duration::ZERO);
        }
        self.core.counters.enters += 1;
        let result = self.epoll.wait(&mut ready, timeout_ms(timeout));
        self.core.note_wake();
        self.core.read_clock();
        let count = *result.as_ref().unwrap_or(&0);
        self.core.counters.completions += count as u64;
        for event in &ready[..count] {
            self.handle(*event);
        }
        self.ready = ready;
        result?;
        self.fire_timers();
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
        Features::default()
    }
}

impl Transport for EpollReactor {
    fn listen(&mut self, endpoint: &Endpoint) -> io::Result<ListenerId> {
        let socket = sys::listener(endpoint, self.core.config.backlog, true)?;
        let path = match endpoint {
            Endpoint::Unix(path) => Some(path.clone()),
            Endpoint::Tcp(_) => None,
        };
        let index = u32::try_from(self.listeners.len()).map_err(|_| io::ErrorKind::QuotaExceeded)?;
        self.listeners.push(Listener { socket: Some(socket), path });
        self.watch_listener(index);
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
        if self.listeners.get(listener.0 as usize).is_none_or(|l| l.socket.is_none()) {
            return;
        }
        // Those whose handshake was complete; the backlog bounds them.
        self.accept(listener.0, usize::from(u16::MAX));
        let this = &mut self.listeners[listener.0 as usize];
        this.socket = None;
        if let Some(path) = this.path.take() {
            // Gone already: somebody cleaned up before us.
            let _ = std::fs::remove_file(path);
        }
    }

    fn connect(&mut self, endpoint: &Endpoint) -> io::Result<ConnectionId> {
        let address = SocketAddress::new(endpoint)?;
        let socket = sys::dialling_socket(&address, true)?;
        let result = sys::connect(sys::raw(&socket), &address);
        let mut connection = Connection::new(socket);
        connection.connecting = true;
        let id = self.connections.insert(connection).ok_or(io::ErrorKind::QuotaExceeded)?;
        self.core.outputs.open(id);
        match result {
            Ok(()) => self.watch(id.slot),
            // A unix socket's connect fails at once; the result is an event all the same.
            Err(error) => {
                self.connect_ended(id.slot, error.raw_os_error().unwrap_or(libc::EIO));
            }
        }
        Ok(id)
    }

    fn peer_addr(&mut self, connection: ConnectionId) -> Option<SocketAddr> {
        sys::peer_address(sys::raw(&self.connections.get(connection)?.socket))
    }

    fn peer_credentials(&mut self, connection: ConnectionId) -> Option<PeerCredentials> {
        sys::peer_credentials(sys::raw(&self.connections.get(connection)?.socket))
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
        } else {
            self.watch(id.slot);
            if self.core.outputs.is_drained(id.slot) {
                self.proceed_with_close(id.slot);
            }
        }
    }

    fn set_receiving(&mut self, id: ConnectionId, wanted: bool) {
        let Some(connection) = self.connections.get(id) else { return };
        connection.wanted = wanted;
        self.watch(id.slot);
    }

    fn release(&mut self, buffer: ReceiveBuffer) {
        let id = buffer.connection();
        self.free.push(self.core.buffers.take_back(buffer));
        if let Some(connection) = self.connections.get(id) {
            connection.held -= 1;
            if connection.overdrawn && connection.held <= self.core.config.receive_buffers_per_connection / 2
            {
                connection.overdrawn = false;
                self.watch(id.slot);
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

impl Disk for EpollReactor {
    fn write_at(&mut self, file: &File, offset: u64, buffer: Vec<u8>, durability: Durability, token: u64) {
        let result = sys::write_at(file.fd(), &buffer, offset, durability == Durability::Synced);
        self.disk_ended(token, result, buffer);
    }

    fn read_at(&mut self, file: &File, offset: u64, mut buffer: Vec<u8>, token: u64) {
        let result = file.std().read_at(&mut buffer, offset);
        self.disk_ended(token, result, buffer);
    }

    fn sync(&mut self, file: &File, token: u64) {
        let result = file.std().sync_data().map(|()| 0);
        self.disk_ended(token, result, Vec::new());
    }
}

impl Timer for EpollReactor {
    fn set_timer(&mut self, deadline: Monotonic, token: u64) -> TimerId {
        self.core.timers.set(deadline, TimerUse::Caller(token))
    }

    fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.core.timers.cancel(timer)
    }
}

impl Wake for EpollReactor {
    fn waker(&self) -> Waker {
        self.core.sleeper.waker()
    }
}

impl Drop for EpollReactor {
    fn drop(&mut self) {
        for path in self.listeners.iter_mut().filter_map(|listener| listener.path.take()) {
            let _ = std::fs::remove_file(path);
        }
    }
}
