//! Power cuts, kills and crashes during recovery on a simulated disk, against an
//! oracle; and the proof that the oracle sees what it is there for.
//!
//! An ordinary run counts to a million cuts, or as far as it comes in [`SECONDS`] on each core, and prints how far that
//! was. `cargo xtask sim --seed N` reruns one seed; `sim --minutes M` and `sim --disks N` try more or less, optimised. They
//! set KV_SEED, KV_MINUTES and KV_DISKS. FOREBAY_LONG=1 has an ordinary run go on for ten minutes.

#![allow(clippy::disallowed_methods, reason = "a long run is told how long")]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::lives;
use forebay_kv::testing::Planted;

const LIVES: u64 = 8;
const CUTS: u64 = 1_000_000;
/// Two cores make it two minutes of CPU time, less what a test runner calls slow.
const SECONDS: u64 = 55;
/// Even a machine that does other things gets this far.
const CUTS_LEAST: u64 = 10_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn what_was_acknowledged_survives_and_nothing_else_comes_back() {
    let long = std::env::var_os("FOREBAY_LONG").is_some();
    let disks = number("KV_DISKS");
    let (minutes, seed) = (number("KV_MINUTES").or(long.then_some(10)), number("KV_SEED"));
    let (first, end) = seed.map_or((0, disks.unwrap_or(u64::MAX)), |seed| (seed, seed + 1));
    let limit = Duration::from_secs(minutes.map_or(SECONDS, |minutes| 60 * minutes));
    let enough = if minutes.is_some() || disks.is_some() { u64::MAX } else { CUTS };
    let (next, cuts, started) = (AtomicU64::new(first), AtomicU64::new(0), Instant::now());
    let work = || {
        while started.elapsed() < limit && cuts.load(Ordering::Relaxed) < enough {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                break;
            }
            match lives(seed, Planted::default(), LIVES) {
                Ok(n) => cuts.fetch_add(n, Ordering::Relaxed),
                Err(why) => panic!("seed {seed}: {why}\nrerun: cargo xtask sim --seed {seed}"),
            };
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let (cuts, disks) = (cuts.into_inner(), next.into_inner().min(end) - first);
    println!(
        "{cuts} power cuts and kills over {disks} disks in {:.0} s on {threads} threads: 0 acknowledged writes \
         lost, 0 partial batches, 0 came back",
        started.elapsed().as_secs_f64()
    );
    assert!(cuts >= CUTS_LEAST || end != u64::MAX, "only {cuts} cuts: the test has lost its teeth");
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
