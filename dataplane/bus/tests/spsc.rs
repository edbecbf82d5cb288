//! The ring from one thread and from two.
#![cfg(not(loom))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forebay_base::rng::Rng;
use forebay_bus::spsc::ring;

#[test]
fn nothing_is_seen_before_it_is_published() {
    let (mut tx, mut rx) = ring(4);
    tx.push(1).unwrap();
    tx.push(2).unwrap();
    assert_eq!((rx.pop(), rx.len(), rx.is_empty(), tx.len()), (None, 0, true, 2));
    assert_eq!((tx.publish(), tx.publish()), (2, 0));
    assert_eq!((rx.len(), rx.pop(), rx.pop(), rx.pop()), (2, Some(1), Some(2), None));
    assert!(tx.is_empty());
}

#[test]
fn a_full_ring_gives_the_item_back() {
    let (mut tx, mut rx) = ring(2);
    assert_eq!((tx.send(1), tx.push(2), tx.push(3)), (Ok(()), Ok(()), Err(3)));
    assert_eq!(tx.free(), 0);
    assert_eq!(rx.pop(), Some(1));
    assert_eq!(tx.free(), 1);
    assert_eq!((tx.push(3), tx.push(4)), (Ok(()), Err(4)));
    tx.publish();
    assert_eq!(rx.drain(usize::MAX).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn capacities_are_powers_of_two() {
    for (wish, slots) in [(0, 1), (1, 1), (2, 2), (3, 4), (1000, 1024)] {
        let (mut tx, rx) = ring(wish);
        assert_eq!((tx.capacity(), rx.capacity(), tx.free()), (slots, slots, slots));
        let pushed = (0..).take_while(|item| tx.push(*item).is_ok()).count();
        assert_eq!(pushed, slots);
    }
}

#[test]
fn a_drain_takes_what_was_there() {
    let (mut tx, mut rx) = ring(8);
    (0..5).for_each(|item| tx.push(item).unwrap());
    tx.publish();
    {
        let mut drain = rx.drain(4);
        assert_eq!((drain.len(), drain.next(), drain.next()), (4, Some(0), Some(1)));
        tx.send(5).unwrap(); // not part of this batch
    } // two are left for the next turn
    assert_eq!(rx.drain(100).collect::<Vec<_>>(), [2, 3, 4, 5]);
    assert_eq!(rx.drain(100).next(), None);
}

/// Counts the drops of its copies.
#[derive(Clone, Debug)]
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn what_is_left_is_dropped_once() {
    for producer_first in [true, false] {
        for (pushed, published, popped, leaked) in
            [(0, 0, 0, 0), (4, 4, 0, 0), (4, 4, 2, 0), (4, 2, 1, 0), (3, 0, 0, 0), (4, 4, 1, 2)]
        {
            let drops = Arc::new(AtomicUsize::new(0));
            let (mut tx, mut rx) = ring(4);
            for item in 0..pushed {
                tx.push(Counted(Arc::clone(&drops))).unwrap();
                if item + 1 == published {
                    tx.publish();
                }
            }
            drop((0..popped).map(|_| rx.pop().unwrap()).collect::<Vec<_>>());
            if leaked > 0 {
                let mut drain = rx.drain(leaked);
                drop(drain.by_ref().collect::<Vec<_>>());
                std::mem::forget(drain);
            }
            assert_eq!(drops.load(Ordering::Relaxed), popped + leaked);
            if producer_first {
                drop(tx);
                assert_eq!(rx.len(), pushed - popped - leaked, "a dropped producer has published");
                drop(rx);
            } else {
                drop(rx);
                drop(tx);
            }
            assert_eq!(drops.load(Ordering::Relaxed), pushed, "{pushed} {published} {popped} {leaked}");
        }
    }
}

#[test]
fn each_side_sees_the_other_go() {
    let (mut tx, mut rx) = ring(2);
    assert!(!tx.is_closed() && !rx.is_closed());
    tx.push(1).unwrap();
    drop(tx);
    assert!(rx.is_closed());
    assert_eq!((rx.pop(), rx.pop()), (Some(1), None));
    let (tx, rx) = ring::<u8>(2);
    drop(rx);
    assert!(tx.is_closed());
}

/// Two threads, batches of every size, rings so small that both ends are hit all
/// the time: every item arrives once, in order, whole.
#[test]
fn two_threads() {
    let items: u64 = if cfg!(debug_assertions) { 300_000 } else { 5_000_000 };
    for (seed, capacity) in [(1, 1), (2, 2), (3, 8), (4, 256)] {
        let (mut tx, mut rx) = ring::<[u64; 4]>(capacity);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut rng = Rng::new(seed);
                let mut next = 0;
                while next < items {
                    for _ in 0..=rng.below(2 * capacity as u64) {
                        if next < items && tx.push([next, !next, next ^ seed, next]).is_ok() {
                            next += 1;
                        }
                    }
                    if tx.publish() == 0 {
                        std::thread::yield_now();
                    }
                }
            });
            let mut rng = Rng::new(!seed);
            let mut expect = 0;
            let mut check = |item: [u64; 4]| {
                assert_eq!(
                    item,
                    [expect, !expect, expect ^ seed, expect],
                    "seed {seed}, capacity {capacity}"
                );
                expect += 1;
            };
            loop {
                let closed = rx.is_closed();
                let before = rx.len();
                if rng.one_in(2) {
                    rx.drain(1 + capacity / 2).for_each(&mut check);
                } else if let Some(item) = rx.pop() {
                    check(item);
                }
                if before == 0 {
                    if closed {
                        break;
                    }
                    std::thread::yield_now();
                }
            }
            assert_eq!(expect, items);
        });
    }
}

#[test]
fn halves_move_between_threads() {
    fn moves<T: Send>(_: &T) {}
    let (tx, rx) = ring::<Box<u8>>(1);
    moves(&tx);
    moves(&rx);
}
