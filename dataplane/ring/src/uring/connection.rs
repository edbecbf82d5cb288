//! One connection on the ring, from its first receive to its burial.
//!
//! A connection has at most one receive (multishot), one send or file read, and
//! one close in flight. Its slot is free again when all of them have completed,
//! so no completion ever meets a later connection in the same slot.
//!
//! ```text
//!            receive armed <--> starved (no buffer) / paused (holds too many, or not wanted)
//!   open  --close(Flush)--> output drains ----------------------------+
//!     |   --close(Linger)-> output drains --> SHUT_WR, discard, EOF --+
//!     |   --close(Now), error ----------------------------------------+--> dying: cancel what is
//!     |                                                                    in flight, close;
//!     +-- Eof: still open for output                                       all complete: Closed
//! ```

#![expect(unsafe_code, reason = "operations borrow the connection's memory until they complete")]

use crate::api::{Close, CloseReason, Errno, Event};
use crate::core::TimerUse;
use crate::output::Step;
use crate::sys::{self, SocketAddress};
use crate::timers::TimerId;

use super::ring::Completion;
use super::{Kind, Socket, UringReactor};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Receiving {
    /// Nothing submitted.
    Idle,
    /// In flight.
    Armed,
    /// In flight, and so is its cancellation.
    Cancelling,
    /// In the list of those waiting for a buffer.
    Starved,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: Socket,
    pub(super) receiving: Receiving,
    /// The caller wants bytes.
    pub(super) wanted: bool,
    /// Paused because it holds too many buffers.
    pub(super) overdrawn: bool,
    pub(super) eof: bool,
    /// A send or a file read is in flight.
    pub(super) sending: bool,
    /// The address of a connect in flight.
    pub(super) connecting: Option<Box<SocketAddress>>,
    /// Set by the first call of `close`, or by an error.
    pub(super) closing: Option<Close>,
    /// Torn down: no new submissions but the close.
    pub(super) dying: Option<CloseReason>,
    /// A failed connect ends without `Closed`.
    pub(super) unborn: bool,
    pub(super) lingering: Option<TimerId>,
    /// Receive buffers out with the caller or in the event queue.
    pub(super) held: u16,
    /// Submissions in flight that belong to this connection.
    pub(super) operations: u8,
}

impl UringReactor {
    // ---- receiving ----

    pub(super) fn arm_receive(&mut self, slot: u32) {
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.receiving == Receiving::Idle && connection.may_receive() {
            connection.receiving = Receiving::Armed;
            connection.operations += 1;
            let target = connection.socket.target();
            self.ring.receive(target, Kind::Receive.data(slot));
        }
    }

    pub(super) fn cancel_receive(&mut self, slot: u32) {
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.receiving == Receiving::Armed {
            connection.receiving = Receiving::Cancelling;
            self.ring.cancel(Kind::Receive.data(slot), Kind::Ignore.data(0));
        }
    }

    pub(super) fn received(&mut self, slot: u32, completion: Completion) {
        let id = self.connections.id(slot);
        let Some(connection) = self.connections.at(slot) else {
            self.core.counters.strays += 1;
            if let Some(index) = completion.buffer {
                self.ring.provide(&mut self.core.buffers, index);
            }
            return;
        };
        if !completion.more {
            connection.receiving = Receiving::Idle;
            connection.operations -= 1;
        }
        let len = u32::try_from(completion.result).unwrap_or(0);
        if let Some(index) = completion.buffer {
            if len == 0 || connection.closing.is_some() {
                // An end that took a buffer with it, or bytes nobody wants any more.
                self.ring.provide(&mut self.core.buffers, index);
            } else {
                self.core.counters.receives += 1;
                self.core.counters.received_bytes += u64::from(len);
                connection.held += 1;
                let buffer = self.core.buffers.lend(index, len, id);
                self.core.events.push_back(Event::Received { connection: id, buffer });
                if connection.held > self.core.config.receive_buffers_per_connection && !connection.overdrawn
                {
                    connection.overdrawn = true;
                    self.core.counters.held_pauses += 1;
                    self.cancel_receive(slot);
                }
            }
        }
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.dying.is_some() {
            self.bury_if_done(slot);
            return;
        }
        match -completion.result {
            ..0 => self.arm_receive(slot),
            0 => {
                connection.eof = true;
                if connection.lingering.is_some() {
                    self.die(slot, CloseReason::Requested);
                } else if connection.closing.is_none() {
                    self.core.events.push_back(Event::Eof { connection: id });
                }
            }
            // No provided buffer left. The bytes are still in the socket; armed again on release.
            libc::ENOBUFS => {
                self.core.counters.no_buffers += 1;
                if connection.may_receive() {
                    connection.receiving = Receiving::Starved;
                    self.starved.push_back(slot);
                }
            }
            // We paused it (and may want it again by now), or a signal came.
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => self.arm_receive(slot),
            // ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ...: the peer or the path to it is gone.
            errno => self.die(slot, CloseReason::Peer(Errno(errno))),
        }
    }

    /// Arms those that found no buffer, at most as many as there are buffers. True
    /// if more of them could go on at once: then this turn doesn't sleep.
    pub(super) fn feed_starved(&mut self) -> bool {
        let mut free = self.core.buffers.count() - self.core.buffers.held();
        while free > 0
            && let Some(slot) = self.starved.pop_front()
        {
            if let Some(connection) = self.connections.at(slot)
                && connection.receiving == Receiving::Starved
            {
                connection.receiving = Receiving::Idle;
                self.arm_receive(slot);
                free -= 1;
            }
        }
        !self.starved.is_empty() && self.core.buffers.held() < self.core.buffers.count()
    }

    // ---- sending ----

    pub(super) fn send(&mut self, slot: u32) {
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.sending || connection.dying.is_some() || connection.connecting.is_some() {
            return;
        }
        let target = connection.socket.target();
        match self.core.outputs.next(slot) {
            Step::Nothing => return,
            Step::Send { bytes, more } => {
                self.core.counters.sends += 1;
                // SAFETY: the bytes lie in the output's flight, which is neither changed nor freed
                // before `sent` or, after the last completion, `reset`.
                unsafe { self.ring.send(target, bytes, more, Kind::Send.data(slot)) };
            }
            Step::Read { file, offset, buffer } => {
                self.core.counters.disk_operations += 1;
                // SAFETY: as above; the file lies in the flight too, so its descriptor stays open.
                unsafe { self.ring.read(file.fd(), offset, buffer, Kind::FileRead.data(slot)) };
            }
        }
        connection.sending = true;
        connection.operations += 1;
    }

    pub(super) fn sent(&mut self, slot: u32, completion: Completion, was_read: bool) {
        let Some(connection) = self.connections.at(slot) else {
            self.core.counters.strays += 1;
            return;
        };
        connection.sending = false;
        connection.operations -= 1;
        if connection.dying.is_some() {
            self.bury_if_done(slot);
            return;
        }
        match (-completion.result, was_read) {
            (..0, true) => {
                self.core.outputs.read(slot, completion.result.cast_unsigned() as usize);
                self.core.outputs.mark(slot);
            }
            (..0, false) => {
                let count = completion.result.cast_unsigned() as usize;
                self.core.counters.sent_bytes += count as u64;
                self.core.outputs.sent(slot, count);
                if self.core.outputs.is_drained(slot) {
                    let id = self.connections.id(slot);
                    self.core.events.push_back(Event::Drained { connection: id });
                    self.proceed_with_close(slot);
                } else {
                    self.core.outputs.mark(slot);
                }
            }
            (libc::EINTR | libc::EAGAIN, _) => self.core.outputs.mark(slot),
            // The file is shorter than what was promised.
            (0, true) => self.die(slot, CloseReason::File(Errno(libc::EIO))),
            (errno, true) => self.die(slot, CloseReason::File(Errno(errno))),
            // A send of at least one byte doesn't return 0.
            (0, false) => self.die(slot, CloseReason::Peer(Errno(libc::EPIPE))),
            // EPIPE, ECONNRESET, ETIMEDOUT, ...: the peer doesn't take it any more.
            (errno, false) => self.die(slot, CloseReason::Peer(Errno(errno))),
        }
    }

    // ---- closing ----

    /// The output has drained, or there was none: goes on with a close that waited for it.
    pub(super) fn proceed_with_close(&mut self, slot: u32) {
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.dying.is_some() || connection.sending || connection.connecting.is_some() {
            return;
        }
        match connection.closing {
            None => {}
            Some(Close::Linger) if !connection.eof => {
                if connection.lingering.is_some() {
                    return;
                }
                let id = self.connections.id(slot);
                let until = self.core.now.after(self.core.config.linger);
                let timer = self.core.timers.set(until, TimerUse::Linger(id));
                let Some(connection) = self.connections.at(slot) else { return };
                connection.lingering = Some(timer);
                if let Socket::Plain(fd) = &connection.socket {
                    sys::shutdown_write(sys::raw(fd));
                } else {
                    connection.operations += 1;
                    let target = connection.socket.target();
                    self.ring.shut_down_write(target, Kind::Shutdown.data(slot));
                }
                // What comes now is discarded, but it has to be read.
                self.arm_receive(slot);
            }
            Some(_) => self.die(slot, CloseReason::Requested),
        }
    }

    /// Ends a connection now: nothing is submitted for it any more but cancellations and the close.
    pub(super) fn die(&mut self, slot: u32, reason: CloseReason) {
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.dying.is_some() {
            return;
        }
        connection.dying = Some(reason);
        connection.closing = Some(Close::Now);
        let connecting = connection.connecting.is_some();
        let sending = connection.sending;
        if let Some(timer) = connection.lingering.take() {
            self.core.timers.cancel(timer);
        }
        if connection.receiving == Receiving::Starved {
            connection.receiving = Receiving::Idle;
        }
        if let Socket::Direct(index) = connection.socket {
            connection.operations += 1;
            self.cancel_operations(slot, connecting, sending);
            // The operations hold the socket until their cancellation completes; the table
            // entry is free after this.
            self.ring.close(index, Kind::Close.data(slot));
        } else {
            self.cancel_operations(slot, connecting, sending);
        }
        self.core.outputs.discard(slot);
        self.bury_if_done(slot);
    }

    pub(super) fn cancel_operations(&mut self, slot: u32, connecting: bool, sending: bool) {
        self.cancel_receive(slot);
        if connecting {
            self.ring.cancel(Kind::Connect.data(slot), Kind::Ignore.data(0));
        }
        if sending {
            self.ring.cancel(Kind::Send.data(slot), Kind::Ignore.data(0));
            self.ring.cancel(Kind::FileRead.data(slot), Kind::Ignore.data(0));
        }
    }

    /// Frees the slot of a dying connection when the kernel has let go of it.
    pub(super) fn bury_if_done(&mut self, slot: u32) {
        let id = self.connections.id(slot);
        let Some(connection) = self.connections.at(slot) else { return };
        let Some(reason) = connection.dying else { return };
        if connection.operations > 0 {
            return;
        }
        let unborn = connection.unborn;
        // A plain socket is closed here, with its owner.
        drop(self.connections.remove(slot));
        self.core.outputs.reset(slot);
        if unborn {
            return;
        }
        self.core.counters.closed += 1;
        if matches!(reason, CloseReason::Peer(_)) {
            self.core.counters.resets += 1;
        }
        self.core.events.push_back(Event::Closed { connection: id, reason });
    }

    /// A completion that only counts down.
    pub(super) fn operation_ended(&mut self, slot: u32) {
        match self.connections.at(slot) {
            Some(connection) => {
                connection.operations -= 1;
                self.bury_if_done(slot);
            }
            None => self.core.counters.strays += 1,
        }
    }

    pub(super) fn connect_ended(&mut self, slot: u32, completion: Completion) {
        let id = self.connections.id(slot);
        let Some(connection) = self.connections.at(slot) else {
            self.core.counters.strays += 1;
            return;
        };
        connection.connecting = None;
        connection.operations -= 1;
        if connection.dying.is_some() {
            self.bury_if_done(slot);
            return;
        }
        if completion.result < 0 {
            connection.unborn = true;
            let result = Err(Errno(-completion.result));
            self.core.counters.connect_errors += 1;
            self.core.events.push_back(Event::Connected { connection: id, result });
            self.die(slot, CloseReason::Requested);
            return;
        }
        self.core.counters.connected += 1;
        self.core.events.push_back(Event::Connected { connection: id, result: Ok(()) });
        self.arm_receive(slot);
        self.core.outputs.mark(slot);
        if self.core.outputs.is_drained(slot) {
            self.proceed_with_close(slot);
        }
    }
}

impl Connection {
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            socket,
            receiving: Receiving::Idle,
            wanted: true,
            overdrawn: false,
            eof: false,
            sending: false,
            connecting: None,
            closing: None,
            dying: None,
            unborn: false,
            lingering: None,
            held: 0,
            operations: 0,
        }
    }

    pub(super) fn may_receive(&self) -> bool {
        let wanted = match self.closing {
            None => self.wanted && !self.overdrawn,
            // Discarding; also what comes while the last output is still under way.
            Some(Close::Linger) => true,
            Some(_) => false,
        };
        wanted && !self.eof && self.connecting.is_none() && self.dying.is_none()
    }
}
