//! What both reactors have in common: the event queue, the pools, timers, the
//! clock. Nothing here talks to the kernel but for the time.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use forebay_base::{ConnectionId, Monotonic, Timestamp};

use crate::api::{Config, Counters, Event, ListenerId, Wait};
use crate::buffers::ReceiveBuffers;
use crate::output::OutputTable;
use crate::sys;
use crate::timers::Timers;
use crate::wake::Sleeper;

/// The wall clock is read again when this much of the monotonic one has passed.
const WALL_CLOCK_REFRESH: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug)]
pub(crate) enum TimerUse {
    Caller(u64),
    AcceptRetry(ListenerId),
    Linger(ConnectionId),
}

pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) counters: Counters,
    pub(crate) events: VecDeque<Event>,
    pub(crate) buffers: ReceiveBuffers,
    pub(crate) outputs: OutputTable,
    pub(crate) timers: Timers<TimerUse>,
    pub(crate) sleeper: Sleeper,
    pub(crate) now: Monotonic,
    /// The wall clock at `wall_read`.
    wall: Timestamp,
    wall_read: Monotonic,
    /// The wall clock at `now`.
    stamp: Timestamp,
}

impl Core {
    pub(crate) fn new(mut config: Config, wake_nonblocking: bool) -> io::Result<Self> {
        const RING_BUFFERS_MAX: u16 = 1 << 15;
        config.receive_buffers = config
            .receive_buffers
            .clamp(1, RING_BUFFERS_MAX)
            .checked_next_power_of_two()
            .unwrap_or(RING_BUFFERS_MAX);
        let now = sys::monotonic();
        let wall = sys::realtime();
        Ok(Self {
            counters: Counters::default(),
            events: VecDeque::with_capacity(1024),
            buffers: ReceiveBuffers::new(config.receive_buffers, config.receive_buffer_bytes),
            outputs: OutputTable::new(&config),
            timers: Timers::new(),
            sleeper: Sleeper::new(wake_nonblocking)?,
            now,
            wall,
            wall_read: now,
            stamp: wall,
            config,
        })
    }

    /// The turn's one look at the clock.
    pub(crate) fn read_clock(&mut self) {
        self.now = sys::monotonic();
        if self.now.since(self.wall_read) >= WALL_CLOCK_REFRESH {
            self.wall = sys::realtime();
            self.wall_read = self.now;
        }
        let micros = self.now.since(self.wall_read).as_micros();
        self.stamp = Timestamp(self.wall.0.saturating_add(i64::try_from(micros).unwrap_or(i64::MAX)));
    }

    pub(crate) const fn timestamp(&self) -> Timestamp {
        self.stamp
    }

    /// How long the turn may sleep: None is forever. Zero if the caller has events
    /// left, so that an early stop doesn't cost it a sleep.
    pub(crate) fn sleep(&self, wait: Wait) -> Option<Duration> {
        let wanted = match wait {
            _ if !self.events.is_empty() => return Some(Duration::ZERO),
            Wait::Poll => return Some(Duration::ZERO),
            Wait::AtMost(most) => Some(most),
            Wait::Forever | Wait::Gather(_) => None,
        };
        match self.timers.next() {
            None => wanted,
            Some(deadline) => {
                // Read afresh: the turn's work since the last look would be slept on top.
                let left = deadline.since(sys::monotonic());
                Some(wanted.map_or(left, |most| most.min(left)))
            }
        }
    }

    /// After the sleep: was a waker called?
    pub(crate) fn note_wake(&mut self) {
        if self.sleeper.get_up() {
            self.counters.wakes += 1;
            self.events.push_back(Event::Woken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_follows_the_monotonic_one() {
        let mut core = Core::new(Config { receive_buffers: 3, ..Config::default() }, true).unwrap();
        assert_eq!(core.config.receive_buffers, 4);
        let before = core.timestamp();
        core.read_clock();
        let drift = core.timestamp().0 - sys::realtime().0;
        assert!(drift.abs() < 100_000, "{drift} us beside the wall clock");
        assert!(core.timestamp() >= before);
    }
}
