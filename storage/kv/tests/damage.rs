//! Damage to the files of a store that was closed: every flipped bit is noticed or
//! harmless, and whatever the bytes are, an open ends without a panic and soon.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::sync::Arc;

use common::{NOW, State, World};
use forebay_base::TenantId;
use forebay_base::rng::Rng;
use forebay_kv::testing::{Planted, SimDisk};
use forebay_kv::{Config, Error, NoWake, Store, verify};

/// A closed store of several segments, its files, and what it holds.
fn closed_store(seed: u64) -> (Vec<(String, Vec<u8>)>, State, Config) {
    let mut world = World::new(seed, Planted::default());
    world.uniform = None;
    // No compaction: the ids stay without gaps.
    world.config.garbage_percent = 100;
    world.open().unwrap();
    let store = world.store.clone().unwrap();
    while store.stats().segments < 5 {
        world.submit().unwrap();
        store.flush().unwrap();
        let _ = store.maintain(NOW);
    }
    let state = world.show().unwrap();
    store.close().unwrap();
    let mut files: Vec<(String, Vec<u8>)> = (1..=store.stats().segments)
        .map(|n| format!("{n:010}.seg"))
        .map(|name| (name.clone(), world.disk.contents(&name).unwrap()))
        .collect();
    let hints = (1..=store.stats().segments).map(|n| format!("{n:010}.hint"));
    files.extend(hints.filter_map(|name| Some((name.clone(), world.disk.contents(&name)?))));
    assert!(files.iter().filter(|(name, _)| is_hint(name)).count() >= 2, "nothing has a hint");
    (files, state, world.config.clone())
}

fn is_hint(name: &str) -> bool {
    name.ends_with(".hint")
}

/// What a store shows that finds `files`; then its maintenance checks what only hints were read of.
fn reopen(files: &[(String, Vec<u8>)], config: &Config) -> Result<State, Error> {
    let disk = SimDisk::new(0);
    for (name, bytes) in files {
        disk.put_contents(name, bytes);
    }
    let store = Store::open_on(config.clone(), Arc::new(disk), Arc::new(NoWake))?;
    // What is read first is checked then: maintenance comes after it.
    let mut state = State::new();
    for tenant in 0..2 {
        for item in store.scan(NOW, TenantId(tenant), b"", None, 1000)?.items {
            state.insert((tenant, item.key().into()), item.value[..].into());
        }
    }
    store.maintain(NOW)?;
    Ok(state)
}

#[test]
fn every_flipped_bit_is_noticed_or_harmless() {
    let (mut files, state, config) = closed_store(5);
    files.retain(|(name, _)| !is_hint(name));
    flip_bits(&mut files, &state, &config, 2);
}

/// The same where the open believes hints: what it didn't read is checked when it is read, or by maintenance. A
/// damaged hint is none.
#[test]
fn every_flipped_bit_is_noticed_or_harmless_beside_hints() {
    let (mut files, state, config) = closed_store(5);
    flip_bits(&mut files, &state, &config, 4);
}

fn flip_bits(files: &mut [(String, Vec<u8>)], state: &State, config: &Config, step: usize) {
    assert_eq!(reopen(files, config).unwrap(), *state);
    let mut rng = Rng::new(5);
    let (mut noticed, mut harmless) = (0, 0);
    for file in 0..files.len() {
        for at in 0..files[file].1.len() {
            // The rest of a header's page means nothing.
            let hint = is_hint(&files[file].0);
            let skip =
                ((64..4096).contains(&at) && at % 256 != 0) || (at >= 4096 && at % step != file % step);
            if skip && !hint {
                continue;
            }
            let bit = 1 << rng.below(8);
            files[file].1[at] ^= bit;
            match reopen(files, config) {
                Ok(found) => {
                    harmless += 1;
                    assert!(found == *state, "{} byte {at} bit {bit}: silently different", files[file].0);
                }
                Err(Error::Corrupt { file: named, .. }) => {
                    noticed += 1;
                    assert!(named == files[file].0, "{} byte {at}: blamed on {named}", files[file].0);
                }
                Err(other) => panic!("{} byte {at}: {other}", files[file].0),
            }
            files[file].1[at] ^= bit;
        }
    }
    println!("{noticed} noticed, {harmless} harmless");
    assert!(noticed > 20_000 / step);
}

#[test]
fn an_open_ends_whatever_the_bytes_are() {
    let (good, ..) = closed_store(6);
    let (_, _, config) = closed_store(6);
    let seed = std::env::var("KV_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(6);
    println!("rerun: KV_SEED={seed} cargo test -p forebay-kv --test damage an_open");
    let mut rng = Rng::new(seed);
    let below = |rng: &mut Rng, n: usize| usize::try_from(rng.below(n as u64)).unwrap();
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut files = good.clone();
        for _ in 0..=rng.below(3) {
            let count = files.len();
            let n = below(&mut rng, count);
            let bytes = &mut files[n].1;
            let at = below(&mut rng, bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match rng.below(7) {
                0 if !bytes.is_empty() => bytes[at] = rng.next_u64().to_le_bytes()[0],
                1 => bytes.truncate(at),
                2 => bytes[at..].fill(0),
                3 => {
                    let (from, to) = (at & !7, below(&mut rng, bytes.len().max(1)) & !7);
                    let len = (bytes.len() - from.max(to)).min(512);
                    bytes.copy_within(from..from + len, to);
                }
                4 => {
                    let other = good[below(&mut rng, good.len())].1.clone();
                    *bytes = other;
                }
                5 if count > 1 => drop(files.remove(n)),
                _ => {
                    for byte in bytes.iter_mut().skip(at).take(64) {
                        *byte = rng.next_u64().to_le_bytes()[0];
                    }
                }
            }
        }
        match reopen(&files, &config) {
            Ok(_) => opened += 1,
            Err(Error::Corrupt { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    println!("{opened} opened, {refused} refused");
    assert!(opened > 10 && refused > 10);
}

/// A hint with one byte changed and its checksum made right: what it leads to is refused when it is read, or maintenance
/// finds that it isn't what its segment says.
#[test]
fn a_hint_that_lies_is_found_out() {
    let (good, state, config) = closed_store(8);
    let seed = std::env::var("KV_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(8);
    println!("rerun: KV_SEED={seed} cargo test -p forebay-kv --test damage a_hint");
    let mut rng = Rng::new(seed);
    let hints: Vec<usize> = (0..good.len()).filter(|n| is_hint(&good[*n].0)).collect();
    let (mut refused, mut ignored) = (0, 0);
    for _ in 0..6000 {
        let mut files = good.clone();
        let file = hints[usize::try_from(rng.below(hints.len() as u64)).unwrap()];
        let bytes = &mut files[file].1;
        let body = bytes.len() - 4;
        let at = usize::try_from(rng.below(body as u64)).unwrap();
        bytes[at] ^= 1 << rng.below(8);
        let crc = crc32c::crc32c(&bytes[..body]);
        bytes[body..].copy_from_slice(&crc.to_le_bytes());
        match reopen(&files, &config) {
            Ok(found) => {
                ignored += 1;
                assert!(found == state, "byte {at} of {}: silently different", files[file].0);
            }
            Err(Error::Corrupt { .. }) => refused += 1,
            Err(other) => panic!("byte {at} of {}: {other}", files[file].0),
        }
    }
    println!("{refused} found out, {ignored} not believed");
    assert!(refused > 1000 && ignored > 100);
}

/// A flipped bit in a hint is reported, and no more than that: the open reads the segment instead. With the checksum made right, so that
/// an open would believe it, the hint is refused by name.
#[test]
fn verify_compares_hints_with_their_segments() {
    let (good, state, config) = closed_store(9);
    let folder = tempfile::tempdir().unwrap();
    let config = Config { folder: folder.path().to_owned(), ..config };
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    for (name, bytes) in &good {
        put(name, bytes);
    }
    let whole = verify(&config).unwrap();
    assert_eq!(whole.hints, good.iter().filter(|(name, _)| is_hint(name)).count());
    assert_eq!(whole.hints_damaged, Vec::<String>::new());
    let mut lies = 0;
    for file in (0..good.len()).filter(|n| is_hint(&good[*n].0)) {
        let (name, bytes) = &good[file];
        let body = bytes.len() - 4;
        for at in (0..bytes.len()).step_by(13) {
            let mut files = good.clone();
            files[file].1[at] ^= 1 << (at % 8);
            put(name, &files[file].1);
            let report = verify(&config).unwrap();
            assert_eq!(report.hints_damaged, std::slice::from_ref(name), "byte {at}");
            assert_eq!((report.hints, report.records), (whole.hints - 1, whole.records), "byte {at}");
            assert_eq!(reopen(&files, &config).unwrap(), state, "byte {at}");
            if at >= body {
                continue;
            }
            let crc = crc32c::crc32c(&files[file].1[..body]);
            files[file].1[body..].copy_from_slice(&crc.to_le_bytes());
            put(name, &files[file].1);
            match verify(&config) {
                // Magic, version, id, size, salt, or an offset that can't be: not believed.
                Ok(report) => assert_eq!(report.hints_damaged, std::slice::from_ref(name), "byte {at}"),
                Err(Error::Corrupt { file, .. }) => {
                    lies += 1;
                    assert_eq!(file, *name, "byte {at}");
                }
                Err(other) => panic!("byte {at}: {other}"),
            }
        }
        put(name, bytes);
    }
    assert!(lies > 20, "{lies} lies were found out");
    assert_eq!(verify(&config).unwrap(), whole, "verify changed something");
}

/// A segment full of headers that claim long records must not make the search behind the
/// end quadratic.
#[test]
fn bytes_made_to_be_slow_are_refused() {
    let (mut files, _, config) = closed_store(7);
    files.retain(|(name, _)| !is_hint(name));
    let last = files.len() - 2;
    let bytes = &mut files[last].1;
    for at in (4096..bytes.len()).step_by(24) {
        let room = bytes.len() - at;
        if room < 48 {
            break;
        }
        bytes[at..at + 4].fill(1);
        bytes[at + 4..at + 8].copy_from_slice(&u32::try_from(at).unwrap().to_le_bytes());
        bytes[at + 8..at + 16].copy_from_slice(&u64::MAX.to_le_bytes());
        bytes[at + 16..at + 20].copy_from_slice(&u32::try_from(room - 40).unwrap().to_le_bytes());
        bytes[at + 20..at + 24].copy_from_slice(&[4, 0, 1, 1]);
    }
    assert!(matches!(reopen(&files, &config), Ok(_) | Err(Error::Corrupt { .. })));
}
