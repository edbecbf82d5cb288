//! Power cuts, kills and crashes during recovery on a simulated disk, against an
//! oracle; and the proof that the oracle sees what it is there for.
//!
//! Rerun one seed with `KV_SEED=n cargo test -p forebay-kv --test crash`; `KV_DISKS=n`
//! tries more than the default.

mod common;

use common::lives;
use forebay_kv::testing::Planted;

const LIVES: u64 = 8;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn what_was_acknowledged_survives_and_nothing_else_comes_back() {
    let seeds = match number("KV_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("KV_DISKS").unwrap_or(1200),
    };
    let mut cuts = 0;
    for seed in seeds {
        match lives(seed, Planted::default(), LIVES) {
            Ok(n) => cuts += n,
            Err(why) => {
                panic!(
                    "seed {seed}: {why}\nrerun: KV_SEED={seed} cargo test -p forebay-kv --test crash what_was"
                )
            }
        }
    }
    println!("{cuts} cuts");
}

/// The oracle catches `planted` within `disks` seeds.
fn check_caught(planted: Planted, disks: u64) {
    let caught = (0..disks).find_map(|seed| lives(seed, planted, LIVES).err().map(|why| (seed, why)));
    let (seed, why) = caught.unwrap_or_else(|| panic!("{planted:?} went unnoticed on {disks} disks"));
    println!("{planted:?}: seed {seed}: {why}");
}

#[test]
fn acknowledging_before_the_sync_is_caught() {
    check_caught(Planted { acknowledge_before_sync: true, ..Planted::default() }, 200);
}

#[test]
fn batches_without_a_marker_are_caught() {
    check_caught(Planted { no_batch_marker: true, ..Planted::default() }, 1000);
}

#[test]
fn a_stale_tail_that_stays_valid_is_caught() {
    check_caught(Planted { keep_epoch: true, ..Planted::default() }, 3000);
}

#[test]
fn a_segment_that_goes_before_its_copies_are_on_disk_is_caught() {
    check_caught(Planted { unlink_before_sync: true, ..Planted::default() }, 3000);
}

#[test]
fn removals_that_compaction_forgets_are_caught() {
    check_caught(Planted { forget_removals: true, ..Planted::default() }, 3000);
}
