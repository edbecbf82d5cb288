//! Waking a reactor that sleeps in the kernel, from other threads.
//!
//! A system call is only due if the other side sleeps, so the sleeper says so.
//! With two words (a queue and a flag) that takes Dekker's store, fence, load on
//! both sides and a second look at the queue before sleeping. One word does the
//! same with a read-modify-write on each side, and the reactor needs to know nothing
//! about the queues that its callers share:
//!
//! ```text
//!                  sleep: AWAKE -> SLEEPING (fails on NOTIFIED: don't sleep)
//!          AWAKE ------------------------------------------> SLEEPING
//!            |  ^                                               |
//!       wake |  | turn ends: swap(AWAKE); was NOTIFIED => Woken | wake: swap(NOTIFIED),
//!            v  |                                               v and write the eventfd
//!          NOTIFIED <--------------------------------------- NOTIFIED
//! ```
//!
//! Why nothing is lost: all swaps of the word have one total order. A producer
//! publishes its message, then swaps in NOTIFIED. Either the sleeper's next swap
//! comes later, sees NOTIFIED and, since the pair is release/acquire, also the
//! message; or it came earlier, and then the NOTIFIED stays in the word, so that
//! the next attempt to sleep fails. A write to the eventfd that comes after its
//! sleeper got up for another reason ends the next sleep early, once.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::sys;

const AWAKE: u8 = 0;
const SLEEPING: u8 = 1;
const NOTIFIED: u8 = 2;

/// Wakes one reactor. Cheap to clone; may outlive its reactor, and then does nothing.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// On a cache line of its own only by luck: it is written once per batch, not per message.
    state: AtomicU8,
    event: File,
}

impl Waker {
    /// Has the reactor deliver [`crate::Event::Woken`] soon. Publish first, then
    /// call: everything written before is visible to who handles the event. One
    /// call per batch; a system call only if the reactor sleeps.
    pub fn wake(&self) {
        if self.shared.state.swap(NOTIFIED, Ordering::AcqRel) == SLEEPING {
            // EAGAIN would mean 2^64-2 unread wake-ups, EINTR doesn't happen to an eventfd that
            // has room: either way the counter is not zero and the sleeper gets up.
            let _ = (&self.shared.event).write(&1u64.to_ne_bytes());
        }
    }
}

/// The sleeper's side.
#[derive(Debug)]
pub(crate) struct Sleeper {
    shared: Arc<Shared>,
}

impl Sleeper {
    /// io_uring reads the eventfd as a blocking descriptor, epoll as a non-blocking one.
    pub(crate) fn new(nonblocking: bool) -> io::Result<Self> {
        let event = File::from(sys::eventfd(nonblocking)?);
        Ok(Self { shared: Arc::new(Shared { state: AtomicU8::new(AWAKE), event }) })
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker { shared: Arc::clone(&self.shared) }
    }

    /// The eventfd: readable when a sleeping reactor was woken.
    pub(crate) fn fd(&self) -> RawFd {
        self.shared.event.as_raw_fd()
    }

    /// Reads the eventfd back to zero, so that it isn't readable any more.
    pub(crate) fn clear(&self) {
        // EAGAIN: it was zero.
        let _ = (&self.shared.event).read(&mut [0; 8]);
    }

    /// Says "I sleep". False if someone has called since: then don't.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.shared.state.compare_exchange(AWAKE, SLEEPING, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Says "I am up". True if someone has called since the last time.
    pub(crate) fn get_up(&self) -> bool {
        // A load first: a busy reactor passes here every turn, and must not take the line
        // exclusively for nothing. Missing a call here only leaves it for the next turn.
        self.shared.state.load(Ordering::Relaxed) != AWAKE
            && self.shared.state.swap(AWAKE, Ordering::AcqRel) == NOTIFIED
    }
}
