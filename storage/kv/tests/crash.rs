//! Power cuts, kills and crashes during recovery on a simulated disk, against an
//! oracle; and the proof that the oracle sees what it is there for.
//!
//! `cargo xtask sim --seed N` reruns one seed; `sim --minutes M` and `sim --disks N` try more
//! than the default, optimised. They set KV_SEED, KV_MINUTES and KV_DISKS.

#![allow(clippy::disallowed_methods, reason = "a long run is told how long")]

mod common;

use std::time::{Duration, Instant};

use common::lives;
use forebay_kv::testing::Planted;

const LIVES: u64 = 8;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn what_was_acknowledged_survives_and_nothing_else_comes_back() {
    let minutes = number("KV_MINUTES");
    let seeds = match (number("KV_SEED"), minutes) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(_)) => 0..u64::MAX,
        (None, None) => 0..number("KV_DISKS").unwrap_or(1200),
    };
    let started = Instant::now();
    let mut cuts = 0;
    for seed in seeds {
        if minutes.is_some_and(|m| started.elapsed() >= Duration::from_secs(60 * m)) {
            break;
        }
        match lives(seed, Planted::default(), LIVES) {
            Ok(n) => cuts += n,
            Err(why) => {
                panic!("seed {seed}: {why}\nrerun: cargo xtask sim --seed {seed}")
            }
        }
    }
    println!("{cuts} cuts in {:.0} s", started.elapsed().as_secs_f64());
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

/// The rest of what is planted, in one table: the field, and on how many disks at most it shows.
macro_rules! planted {
    ($($name:ident $disks:literal;)*) => {
        $(
            #[test]
            fn $name() {
                check_caught(Planted { $name: true, ..Planted::default() }, $disks);
            }
        )*
    };
}

planted! {
    conflict_at_once 2000;
    keep_last_group 3000;
    no_folder_sync 1000;
    header_unsynced 1000;
    copy_over_pending 3000;
    copy_stale 3000;
    no_seal 1000;
    recycle_at_once 4000;
    hint_before_seal 2000;
    hint_unsynced 3000;
    hint_live_only 3000;
    hint_forgets_removals 3000;
}
