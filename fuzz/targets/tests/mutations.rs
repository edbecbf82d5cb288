//! The fuzz targets with their seeds, and with mutations of them: the same ones every time.
//!
//! `FOREBAY_FUZZ=n` makes n times as many, `FOREBAY_SEED=n` runs one.

use forebay_base::rng::Rng;
use forebay_fuzz_targets as targets;

/// Runs each seed, then mutations of it; says how a failure is run again.
fn check(name: &str, target: fn(&[u8]), seeds: &[Vec<u8>], rounds: u64) {
    assert!(!seeds.is_empty(), "nothing to start from");
    seeds.iter().for_each(|seed| target(seed));
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = rounds * number("FOREBAY_FUZZ").unwrap_or(1);
    let range = number("FOREBAY_SEED").map_or(1..=rounds, |seed| seed..=seed);
    for seed in range {
        let mut rng = Rng::new(seed);
        let mut below = |bound: usize| usize::try_from(rng.below(bound.max(1) as u64)).unwrap_or(0);
        let mut bytes = seeds[below(seeds.len())].clone();
        for _ in 0..=below(6) {
            let at = below(bytes.len());
            #[expect(clippy::cast_possible_truncation, reason = "a random byte")]
            let byte = below(256) as u8;
            match below(7) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
                1 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][below(5)],
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 => bytes.truncate(at),
                // A piece of it, or of another, somewhere else.
                4 => {
                    let other = &seeds[below(seeds.len())];
                    let start = below(other.len());
                    let piece = other[start..(start + below(64)).min(other.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => bytes.insert(at, byte),
            }
        }
        let result = std::panic::catch_unwind(|| target(&bytes));
        assert!(result.is_ok(), "FOREBAY_SEED={seed} cargo test -p forebay-fuzz-targets {name}\n{bytes:?}");
    }
}

#[test]
fn bytecode() {
    check("bytecode", targets::bytecode, &targets::bytecode_seeds(), 1500);
}

#[test]
fn snapshot() {
    check("snapshot", targets::snapshot, &[vec![3, 0, 20, 0, 7], vec![9, 1, 40, 2, 0xff, 0, 8, 0, 1]], 1500);
}

#[test]
fn http() {
    check("http", targets::http, &targets::http_seeds(), 3000);
}

#[test]
fn postgres() {
    check("postgres", targets::postgres, &targets::postgres_seeds(), 3000);
}

#[test]
fn kv() {
    check("kv", targets::kv, &targets::kv_seeds(), 300);
}

#[test]
fn script() {
    check("script", targets::script, &targets::script_seeds(), 300);
}
