//! Every interleaving of two threads, for small rings:
//! `RUSTFLAGS="--cfg loom" cargo test -p forebay-bus --release`.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![cfg(loom)]

use forebay_bus::spsc::{Consumer, Producer, ring};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

/// An item whose memory loom watches: a slot that is read too early, or twice, shows.
type Item = Box<usize>;

#[track_caller]
fn check(
    capacity: usize,
    produce: fn(&mut Producer<Item>),
    consume: fn(&mut Consumer<Item>) -> Vec<usize>,
    left: &'static [&'static [usize]],
) {
    loom::model(move || {
        let (mut tx, mut rx) = ring(capacity);
        let producer = thread::spawn(move || produce(&mut tx));
        let mut seen = consume(&mut rx);
        producer.join().unwrap();
        assert!(rx.is_closed());
        while let Some(item) = rx.pop() {
            seen.push(*item);
        }
        assert!(left.iter().any(|expect| *expect == seen), "{seen:?}");
    });
}

/// Pushes until there is room.
fn push(tx: &mut Producer<Item>, item: usize) {
    let mut item = Box::new(item);
    while let Err(back) = tx.push(item) {
        item = back;
        tx.publish();
        thread::yield_now();
    }
}

#[test]
fn a_batch_arrives_whole_and_in_order() {
    check(
        4,
        |tx| {
            push(tx, 1);
            push(tx, 2);
            tx.publish();
            push(tx, 3);
        },
        |rx| {
            let first: Vec<_> = rx.drain(2).map(|item| *item).collect();
            assert_ne!(first.len(), 1, "published together, seen together");
            first
        },
        &[&[1, 2, 3]],
    );
}

#[test]
fn slots_are_reused_only_when_read() {
    check(
        1,
        |tx| {
            push(tx, 1);
            push(tx, 2);
            push(tx, 3);
        },
        |rx| {
            let mut seen = Vec::new();
            while seen.len() < 2 {
                match rx.pop() {
                    Some(item) => seen.push(*item),
                    None => thread::yield_now(),
                }
            }
            seen
        },
        &[&[1, 2, 3]],
    );
}

#[test]
fn after_closed_nothing_is_missed() {
    loom::model(|| {
        let (mut tx, mut rx) = ring(2);
        thread::spawn(move || {
            tx.push(Box::new(1)).unwrap();
            tx.publish();
            tx.push(Box::new(2)).unwrap();
        });
        let mut seen = Vec::new();
        loop {
            let closed = rx.is_closed();
            while let Some(item) = rx.pop() {
                seen.push(*item);
            }
            if closed {
                break;
            }
            thread::yield_now();
        }
        assert_eq!(seen, [1, 2]);
    });
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn whoever_goes_last_drops_the_rest_once() {
    loom::model(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let (mut tx, mut rx) = ring(2);
        let count = Arc::clone(&drops);
        let producer = thread::spawn(move || {
            for _ in 0..2 {
                let _ = tx.push(Counted(Arc::clone(&count)));
            }
        });
        drop(rx.pop());
        drop(rx);
        producer.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 2);
    });
}
