//! A node's overflow queue: what a core's ring had no room for waits here until
//! any worker of the same node steals it. Many producers, many consumers, bounded.
//!
//! The cold neighbour of [`crate::spsc`]: it is touched only when a core is
//! behind, so that a contended queue (crossbeam's `ArrayQueue`, a Vyukov ring)
//! is good enough.

use crossbeam_queue::ArrayQueue;

/// A bounded queue that any thread pushes to and pops from.
#[derive(Debug)]
pub struct Overflow<T> {
    queue: ArrayQueue<T>,
}

impl<T> Overflow<T> {
    /// A queue of exactly `capacity` items; at least 1.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { queue: ArrayQueue::new(capacity.max(1)) }
    }

    /// Appends `item`, or gives it back when the queue is full (the caller answers 503).
    pub fn push(&self, item: T) -> Result<(), T> {
        self.queue.push(item)
    }

    /// Steals the oldest item.
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Items waiting, for metrics and for shedding: stale as soon as it is read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits, as stale as [`Overflow::len`]; cheap enough to ask every turn.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Items that fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue.capacity()
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_gives_the_item_back() {
        let queue = Overflow::new(2);
        assert_eq!(queue.push(1), Ok(()));
        assert_eq!(queue.push(2), Ok(()));
        assert_eq!(queue.push(3), Err(3));
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(1), Some(2), None));
    }
}
