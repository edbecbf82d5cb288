//! A bounded ring from one producer to one consumer, without locks.
//!
//! ```text
//!                  head            published tail      staged tail
//!                   v                    v                  v
//!   | free ........ | ready ............ | staged ......... | free ... |
//!                   ^ pop                ^ publish moves    ^ push
//!                                          it here
//! ```
//!
//! Positions count up forever and wrap with `usize`; a slot is `position & mask`.
//! `tail - head <= capacity` always, so that full and empty differ without a
//! wasted slot. Each side keeps its own position in a plain field, and a copy of
//! the other side's that it refreshes only when the copy says "full" or "empty":
//! in steady state the two threads touch each other's cache line once per batch,
//! not once per item. Used from one thread the same code is a few plain loads and
//! stores, as cheap as a `VecDeque` (`examples/ring_cost.rs` prints both).
//!
//! Why no crate: batch publishing is the point (a reactor reaps 16 completions and
//! publishes once), and it must be the same type for one thread and for two.

#![expect(
    unsafe_code,
    reason = "slots are written by one thread and read by another; the positions are the proof"
)]

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use crate::sync::{Arc, AtomicBool, AtomicUsize, CachePadded, Ordering, UnsafeCell};

/// Most slots that a ring can have; [`ring`] caps larger wishes.
pub const CAPACITY_MAX: usize = 1 << 24;

/// A ring of `capacity` slots, rounded up to a power of two (1 <= slots <= [`CAPACITY_MAX`]).
///
/// All memory is allocated here, by the calling thread. `tests/spsc.rs` shows the use.
#[must_use]
pub fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let slots = capacity.clamp(1, CAPACITY_MAX).next_power_of_two();
    let shared = Arc::new(Shared {
        head: CachePadded(AtomicUsize::new(0)),
        tail: CachePadded(AtomicUsize::new(0)),
        producer_gone: AtomicBool::new(false),
        consumer_gone: AtomicBool::new(false),
        slots: (0..slots).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
    });
    let producer = Producer {
        shared: Arc::clone(&shared),
        tail: 0,
        published: 0,
        head_seen: 0,
        one_thread: PhantomData,
    };
    (producer, Consumer { shared, head: 0, tail_seen: 0, one_thread: PhantomData })
}

struct Shared<T> {
    /// Position of the oldest item that isn't taken yet. Written by the consumer only.
    head: CachePadded<AtomicUsize>,
    /// Position after the newest published item. Written by the producer only.
    tail: CachePadded<AtomicUsize>,
    producer_gone: AtomicBool,
    consumer_gone: AtomicBool,
    /// Initialized exactly at positions `head..tail`, and at the producer's staged ones.
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: a `Shared` moves `T`s from the producer's thread to the consumer's, hence `T: Send`; no `&T` is
// handed out, so `T: Sync` isn't needed. A slot is accessed by one side at a time: see `push` and `take`.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above; the shared fields beside the slots are atomics.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    #[inline]
    fn slot(&self, position: usize) -> &UnsafeCell<MaybeUninit<T>> {
        // The length is a power of two: the mask can't leave the slice, and the bounds check goes away.
        &self.slots[position & (self.slots.len() - 1)]
    }

    /// Moves the item out of a slot.
    ///
    /// # Safety
    /// `position` holds an item (head <= position < tail) that nobody else takes, and `head` moves past it
    /// before anything else reads it.
    #[inline]
    unsafe fn take(&self, position: usize) -> T {
        // SAFETY: initialized, as the caller promises; the producer doesn't touch it before `head` passes it.
        self.slot(position).with(|slot| unsafe { (*slot).assume_init_read() })
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Both halves are gone (Arc), and the producer's drop published what was staged.
        let (mut head, tail) = (self.head.0.load(Ordering::Acquire), self.tail.0.load(Ordering::Acquire));
        while head != tail {
            // SAFETY: head..tail are initialized and `&mut self` makes us the only reader; each is taken once.
            drop(unsafe { self.take(head) });
            head = head.wrapping_add(1);
        }
    }
}

/// The writing half. One thread at a time; it can move to another.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// Position of the next push.
    tail: usize,
    /// What the consumer can see. published <= tail.
    published: usize,
    /// The consumer's head when last looked at. head_seen <= head.
    head_seen: usize,
    /// Send, not Sync.
    one_thread: PhantomData<Cell<()>>,
}

impl<T> Producer<T> {
    /// Stages `item` behind the others, or gives it back when the ring is full.
    ///
    /// The consumer sees it after the next [`Producer::publish`].
    #[inline]
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.tail.wrapping_sub(self.head_seen) == self.capacity() {
            // Acquire: the consumer has finished reading the slots it freed.
            self.head_seen = self.shared.head.0.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.head_seen) == self.capacity() {
                return Err(item);
            }
        }
        // SAFETY: the position is free: tail - head < capacity was just established (head only grows), so the
        // consumer is past it, and it doesn't read at or beyond the published tail. We are the only producer
        // (`&mut self`).
        self.shared.slot(self.tail).with_mut(|slot| unsafe { (*slot).write(item) });
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    /// Makes everything staged visible to the consumer, with one store, and says
    /// how many items that were. 0 means that nobody needs to be woken.
    #[inline]
    pub fn publish(&mut self) -> usize {
        let staged = self.tail.wrapping_sub(self.published);
        if staged != 0 {
            // Release: the slots are written before the consumer sees the tail.
            self.shared.tail.0.store(self.tail, Ordering::Release);
            self.published = self.tail;
        }
        staged
    }

    /// Pushes and publishes one item.
    #[inline]
    pub fn send(&mut self, item: T) -> Result<(), T> {
        self.push(item)?;
        self.publish();
        Ok(())
    }

    /// Slots that the ring has.
    #[must_use]
    #[inline]
    pub fn capacity(&self) -> usize {
        self.shared.slots.len()
    }

    /// Items that can be pushed now; the consumer may free more at any time.
    #[must_use]
    pub fn free(&mut self) -> usize {
        self.head_seen = self.shared.head.0.load(Ordering::Acquire);
        self.capacity() - self.tail.wrapping_sub(self.head_seen)
    }

    /// Items that are in the ring, staged ones included; for metrics.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tail.wrapping_sub(self.shared.head.0.load(Ordering::Relaxed))
    }

    /// Whether nothing is staged or waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the consumer is dropped: what is pushed now is never read.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.consumer_gone.load(Ordering::Acquire)
    }
}

impl<T> Drop for Producer<T> {
    /// Publishes what is staged, so that nothing pushed is lost while the consumer lives.
    fn drop(&mut self) {
        self.publish();
        self.shared.producer_gone.store(true, Ordering::Release);
    }
}

/// The reading half. One thread at a time; it can move to another.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// Position of the next pop.
    head: usize,
    /// The producer's published tail when last looked at. tail_seen <= tail.
    tail_seen: usize,
    /// Send, not Sync.
    one_thread: PhantomData<Cell<()>>,
}

impl<T> Consumer<T> {
    /// Takes the oldest published item and frees its slot at once.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if !self.ready() {
            return None;
        }
        // SAFETY: head < tail_seen <= tail (`ready`), and we are the only consumer (`&mut self`).
        let item = unsafe { self.shared.take(self.head) };
        self.head = self.head.wrapping_add(1);
        // Release: the slot is read before the producer may overwrite it.
        self.shared.head.0.store(self.head, Ordering::Release);
        Some(item)
    }

    /// Takes up to `limit` items that are published now, oldest first, and frees
    /// their slots with one store when the iterator is dropped.
    ///
    /// Items that arrive meanwhile stay for the next turn, so that a turn ends.
    #[inline]
    pub fn drain(&mut self, limit: usize) -> Drain<'_, T> {
        self.tail_seen = self.shared.tail.0.load(Ordering::Acquire);
        let ready = self.tail_seen.wrapping_sub(self.head);
        let end = self.head.wrapping_add(ready.min(limit));
        Drain { consumer: self, end }
    }

    /// Published items that wait, as of now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.tail.0.load(Ordering::Acquire).wrapping_sub(self.head)
    }

    /// Whether no published item waits, as of now. Before a thread sleeps it asks
    /// this once more, after it has set its sleep flag.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Slots that the ring has.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.slots.len()
    }

    /// Whether the producer is dropped. Items may still wait: pop until `None`
    /// *after* this was true, and nothing is missed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.producer_gone.load(Ordering::Acquire)
    }

    #[inline]
    fn ready(&mut self) -> bool {
        if self.head == self.tail_seen {
            // Acquire: the producer has finished writing the slots below the tail.
            self.tail_seen = self.shared.tail.0.load(Ordering::Acquire);
        }
        self.head != self.tail_seen
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        // The head may lag behind if a drain was leaked; what was taken must not be dropped again.
        self.shared.head.0.store(self.head, Ordering::Release);
        self.shared.consumer_gone.store(true, Ordering::Release);
    }
}

/// A batch being taken: see [`Consumer::drain`]. Items that aren't taken stay in the ring.
pub struct Drain<'a, T> {
    consumer: &'a mut Consumer<T>,
    /// Position where the batch ends. head <= end <= tail_seen.
    end: usize,
}

impl<T> Iterator for Drain<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        if self.consumer.head == self.end {
            return None;
        }
        // SAFETY: head < end <= tail_seen <= tail; only this iterator reads (it holds `&mut Consumer`), and the
        // shared head moves past the slot in our drop, before which the producer leaves it alone.
        let item = unsafe { self.consumer.shared.take(self.consumer.head) };
        self.consumer.head = self.consumer.head.wrapping_add(1);
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.wrapping_sub(self.consumer.head);
        (left, Some(left))
    }
}

impl<T> ExactSizeIterator for Drain<'_, T> {}

impl<T> Drop for Drain<'_, T> {
    fn drop(&mut self) {
        // Release, as in `pop`. If the drain is leaked (mem::forget) its slots stay occupied until the next pop,
        // drain or drop of the consumer stores the head: late, never wrong.
        self.consumer.shared.head.0.store(self.consumer.head, Ordering::Release);
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("tail", &self.tail).field("published", &self.published).finish()
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("head", &self.head).field("tail_seen", &self.tail_seen).finish()
    }
}

impl<T> fmt::Debug for Drain<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("left", &self.size_hint().0).finish()
    }
}
