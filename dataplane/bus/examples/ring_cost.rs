//! What one item costs through the ring inside one thread, beside a `VecDeque`:
//! `cargo run --release -p forebay-bus --example ring_cost`.
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Instant;

use forebay_bus::spsc::ring;

/// The size of a request handle.
type Item = [u64; 4];

fn main() {
    const ROUNDS: u64 = 2_000_000;
    const BATCH: u64 = 16;
    for _ in 0..3 {
        let (mut tx, mut rx) = ring::<Item>(1024);
        let start = Instant::now();
        let mut sum = 0u64;
        for round in 0..ROUNDS {
            for item in 0..BATCH {
                let _ = black_box(&mut tx).push([round, item, 0, 0]);
            }
            tx.publish();
            for item in black_box(&mut rx).drain(usize::MAX) {
                sum = sum.wrapping_add(item[0] ^ item[1]);
            }
        }
        let spsc = start.elapsed();

        let mut queue = VecDeque::<Item>::with_capacity(1024);
        let start = Instant::now();
        let mut other = 0u64;
        for round in 0..ROUNDS {
            for item in 0..BATCH {
                black_box(&mut queue).push_back([round, item, 0, 0]);
            }
            while let Some(item) = black_box(&mut queue).pop_front() {
                other = other.wrapping_add(item[0] ^ item[1]);
            }
        }
        let deque = start.elapsed();
        assert_eq!(sum, other);
        let per_item = |time: std::time::Duration| time.as_secs_f64() * 1e9 / (ROUNDS * BATCH) as f64;
        println!("ring {:.2} ns, VecDeque {:.2} ns per item", per_item(spsc), per_item(deque));
    }
}
