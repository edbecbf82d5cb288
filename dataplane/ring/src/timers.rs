//! Deadlines: a 4-ary heap whose entries know their place, so that a cancelled
//! timer leaves at once and no garbage builds up. A wheel would set in O(1) but
//! rounds deadlines and has to be turned while nothing is due; with thousands of
//! timers this heap is five levels deep.
//!
//! ```text
//!   slots  [generation, position, payload] ...   TimerId -> slot -> place in the heap
//!   heap   [deadline, sequence, slot] ...        heap[0] is the next; child k of i is 4i+1+k
//! ```

use forebay_base::Monotonic;

/// A timer that was set. Stale once it has fired or was cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerId {
    slot: u32,
    generation: u32,
}

const ARITY: usize = 4;
/// Position of a slot that is in no heap.
const NOWHERE: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Timers<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    heap: Vec<Entry>,
    /// Orders equal deadlines by the time they were set.
    sequence: u64,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    position: u32,
    payload: T,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: Monotonic,
    sequence: u64,
    slot: u32,
}

impl Entry {
    fn before(self, other: Self) -> bool {
        (self.deadline, self.sequence) < (other.deadline, other.sequence)
    }
}

impl<T: Copy> Timers<T> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), heap: Vec::new(), sequence: 0 }
    }

    pub(crate) fn set(&mut self, deadline: Monotonic, payload: T) -> TimerId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, position: NOWHERE, payload });
            index(self.slots.len() - 1)
        });
        self.slots[slot as usize].payload = payload;
        self.sequence += 1;
        self.heap.push(Entry { deadline, sequence: self.sequence, slot });
        self.sift_up(self.heap.len() - 1);
        TimerId { slot, generation: self.slots[slot as usize].generation }
    }

    pub(crate) fn cancel(&mut self, timer: TimerId) -> bool {
        match self.slots.get(timer.slot as usize) {
            Some(slot) if slot.generation == timer.generation && slot.position != NOWHERE => {
                self.remove(slot.position as usize);
                true
            }
            _ => false,
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Monotonic> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// Takes the earliest timer if its deadline is not after `now`.
    pub(crate) fn pop_due(&mut self, now: Monotonic) -> Option<T> {
        let first = *self.heap.first()?;
        if first.deadline > now {
            return None;
        }
        self.remove(0);
        Some(self.slots[first.slot as usize].payload)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    fn remove(&mut self, position: usize) {
        let slot = self.heap[position].slot;
        let last = self.heap.len() - 1;
        self.heap.swap(position, last);
        self.heap.pop();
        if position < last {
            self.place(position);
            // The entry that came from the end may belong further up or further down.
            self.sift_up(position);
            self.sift_down(self.slots[self.heap[position].slot as usize].position as usize);
        }
        let freed = &mut self.slots[slot as usize];
        freed.position = NOWHERE;
        freed.generation = freed.generation.wrapping_add(1);
        self.free.push(slot);
    }

    fn sift_up(&mut self, mut position: usize) {
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if !self.heap[position].before(self.heap[parent]) {
                break;
            }
            self.heap.swap(position, parent);
            self.place(position);
            position = parent;
        }
        self.place(position);
    }

    fn sift_down(&mut self, mut position: usize) {
        loop {
            let first = position * ARITY + 1;
            let children = first..(first + ARITY).min(self.heap.len());
            let smallest = children.reduce(|a, b| if self.heap[b].before(self.heap[a]) { b } else { a });
            match smallest {
                Some(child) if self.heap[child].before(self.heap[position]) => {
                    self.heap.swap(position, child);
                    self.place(position);
                    position = child;
                }
                _ => break,
            }
        }
        self.place(position);
    }

    /// Tells the slot of the entry at `position` where it is.
    fn place(&mut self, position: usize) {
        let slot = self.heap[position].slot;
        self.slots[slot as usize].position = index(position);
    }
}

/// Timers are bounded by connections and tasks, far below 2^32.
#[expect(clippy::expect_used, reason = "four billion timers do not fit into memory")]
fn index(of: usize) -> u32 {
    u32::try_from(of).expect("fewer than 2^32 timers")
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_base::rng::Rng;
    use std::collections::BTreeMap;

    #[test]
    fn equal_deadlines_fire_in_the_order_they_were_set() {
        let mut timers = Timers::new();
        for n in 0..100 {
            timers.set(Monotonic(5), n);
        }
        let fired: Vec<i32> = std::iter::from_fn(|| timers.pop_due(Monotonic(5))).collect();
        assert_eq!(fired, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn behaves_like_a_sorted_map() {
        for seed in 0..50 {
            println!("seed {seed}");
            let mut rng = Rng::new(seed);
            let mut timers = Timers::new();
            let mut model = BTreeMap::new();
            let mut ids = Vec::new();
            let mut now = 0;
            for step in 0u64..2000 {
                match rng.below(10) {
                    0..5 => {
                        let deadline = now + rng.below(100);
                        ids.push((timers.set(Monotonic(deadline), step), (deadline, step)));
                        model.insert((deadline, step), step);
                    }
                    5..8 if !ids.is_empty() => {
                        let at = usize::try_from(rng.below(ids.len() as u64)).unwrap();
                        let (id, key) = ids.swap_remove(at);
                        assert_eq!(timers.cancel(id), model.remove(&key).is_some());
                        assert!(!timers.cancel(id), "cancelled twice");
                    }
                    _ => {
                        now += rng.below(20);
                        while let Some(fired) = timers.pop_due(Monotonic(now)) {
                            let (key, expected) = model.pop_first().unwrap();
                            assert!(key.0 <= now);
                            assert_eq!(fired, expected);
                        }
                        assert!(model.first_key_value().is_none_or(|(key, _)| key.0 > now));
                    }
                }
                assert_eq!(timers.len(), model.len());
                assert_eq!(timers.next().map(|d| d.0), model.first_key_value().map(|(k, _)| k.0));
            }
        }
    }
}
