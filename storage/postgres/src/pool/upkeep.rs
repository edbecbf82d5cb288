//! What keeps connections good: their age, signs of life, and the end of statements that nobody waits for any more.
//!
//! ```text
//!   ready --lifetime--> retiring --nothing runs--> closed, and made anew
//!   idle  --idle_check of silence--> an empty query --DRAIN_SILENCE_MAX of silence--> closed
//!   abandoned, alone --CANCEL_AFTER--> Action::Cancel --end of its stream--> others may follow
//! ```
//! A CancelRequest names a backend, not a statement: one that comes late hits whatever runs by then. So it is sent only
//! while the abandoned statement is at the head of its connection with nothing behind it, and nothing is put behind it
//! until the server has closed the cancelling connection, which it does after the signal. Whatever is not alone drains.

use std::time::Duration;

use forebay_base::Monotonic;
use forebay_base::rng::Rng;

use super::{Action, Lane, Link, Pool, Slot, State, current, link_of};

/// How long an abandoned statement may go on by itself: most end before a cancelling would reach the server.
pub const CANCEL_AFTER: Duration = Duration::from_millis(50);

/// What is known about one link beside its connection.
pub(super) struct Upkeep {
    /// When bytes came last.
    pub(super) heard_at: Monotonic,
    retire_at: Monotonic,
    retiring: bool,
    cancel: Cancel,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cancel {
    Nothing,
    /// An abandoned statement has time until then.
    At(Monotonic),
    /// The request is on its way.
    Sent,
}

impl Default for Upkeep {
    fn default() -> Self {
        let never = Monotonic::NEVER;
        Self { heard_at: Monotonic::default(), retire_at: never, retiring: false, cancel: Cancel::Nothing }
    }
}

impl Upkeep {
    /// The connection is ready. Up to a quarter of its life is left out, so that those made together don't go together.
    pub(super) fn ready(&mut self, now: Monotonic, lifetime: Duration, rng: &mut Rng) {
        let nanos = u64::try_from(lifetime.as_nanos()).unwrap_or(u64::MAX);
        self.retire_at = match nanos {
            0 => Monotonic::NEVER,
            nanos => now.after(Duration::from_nanos(nanos - rng.below(nanos / 4 + 1))),
        };
    }

    pub(super) fn abandoned(&mut self, now: Monotonic) {
        if self.cancel == Cancel::Nothing {
            self.cancel = Cancel::At(now.after(CANCEL_AFTER));
        }
    }

    pub(super) fn is_cancelling(&self) -> bool {
        self.cancel == Cancel::Sent
    }

    pub(super) fn is_retiring(&self) -> bool {
        self.retiring
    }
}

impl Pool {
    /// The cancelling connection of this link has ended, or couldn't be made.
    pub fn handle_cancelled(&mut self, link: Link, now: Monotonic) {
        if let Some(slot) = current(&mut self.links, link) {
            slot.upkeep.cancel = Cancel::Nothing;
            self.dispatch(now);
            self.dispatch_transactions(link, now);
            self.recycle(link, now);
        }
    }

    /// When [`Pool::look_after`] has something to do for this link.
    pub(super) fn upkeep_due(&self, slot: &Slot) -> Monotonic {
        let State::Open { connection, .. } = &slot.state else { return Monotonic::NEVER };
        if !connection.is_ready() {
            return Monotonic::NEVER;
        }
        let mut due = match slot.upkeep.cancel {
            Cancel::At(at) => at,
            _ => Monotonic::NEVER,
        };
        if !slot.upkeep.retiring && matches!(slot.lane, Lane::Shared | Lane::Free) {
            due = due.min(slot.upkeep.retire_at);
        }
        if self.limits.idle_check > Duration::ZERO && connection.in_flight() == 0 {
            due = due.min(slot.upkeep.heard_at.after(self.limits.idle_check));
        }
        due
    }

    /// Whatever is due.
    pub(super) fn look_after(&mut self, now: Monotonic) {
        for index in 0..self.links.len() {
            if self.upkeep_due(&self.links[index]) > now {
                continue;
            }
            let link = link_of(index, self.links[index].generation);
            let retiring = self.links.iter().any(|slot| slot.upkeep.retiring);
            let slot = &mut self.links[index];
            let State::Open { connection, deadline, .. } = &mut slot.state else { continue };
            if matches!(slot.upkeep.cancel, Cancel::At(at) if at <= now) {
                slot.upkeep.cancel = Cancel::Nothing;
                if let Some(bytes) = connection.cancel_request() {
                    slot.upkeep.cancel = Cancel::Sent;
                    self.actions.push_back(Action::Cancel { link, bytes });
                }
            }
            let idle = now.since(slot.upkeep.heard_at) >= self.limits.idle_check;
            if self.limits.idle_check > Duration::ZERO && idle && connection.in_flight() == 0 {
                connection.advance(now);
                connection.ping();
                slot.upkeep.heard_at = now;
                if deadline.is_none() {
                    *deadline = Some(now.after(super::DRAIN_SILENCE_MAX));
                }
            }
            if slot.upkeep.retire_at <= now && matches!(slot.lane, Lane::Shared | Lane::Free) {
                if retiring {
                    // One at a time; this one soon.
                    slot.upkeep.retire_at = now.after(Duration::from_secs(1));
                } else {
                    slot.upkeep.retiring = true;
                    self.recycle(link, now);
                }
            }
        }
    }

    /// Closes a link that has had its time, once nothing runs on it; a shared one is made anew at once.
    pub(super) fn recycle(&mut self, link: Link, now: Monotonic) {
        let Some(slot) = current(&mut self.links, link) else { return };
        let State::Open { connection, .. } = &slot.state else { return };
        let free = matches!(slot.lane, Lane::Shared | Lane::Free) && connection.in_flight() == 0;
        if !slot.upkeep.retiring || !free || slot.upkeep.is_cancelling() {
            return;
        }
        let retry_at = if slot.lane == Lane::Shared { now } else { Monotonic::NEVER };
        self.totals.joined += connection.joined();
        slot.state = State::Down { retry_at };
        slot.generation = slot.generation.wrapping_add(1);
        slot.upkeep = Upkeep::default();
        self.totals.retired += 1;
        self.actions.push_back(Action::Close { link });
    }
}
