//! Every I/O operation fails in turn, in every way; and a full disk is read-only
//! with a clean answer, until it isn't full any more.

mod common;

use std::sync::Arc;

use common::{NOW, World};
use forebay_base::{CoreId, TenantId};
use forebay_kv::testing::{Fault, Planted, SimDisk};
use forebay_kv::{Blocking, Config, Error, Op, Outcome, Unavailable};

/// The store lives with operation `at` failing, dies, and lives on: nothing acknowledged is
/// lost, everyone is answered. False if there is no such operation.
fn check(seed: u64, at: u64, fault: Fault, planted: Planted) -> Result<bool, String> {
    let mut world = World::new(seed, planted);
    world.uniform = None;
    world.disk.fail_after(at, fault);
    if world.open().is_err() {
        world.disk = world.disk.power_cycle();
        world.open().map_err(|e| format!("the next open: {e}"))?;
    }
    world.live(40)?;
    let happened = world.disk.operations() > at;
    // Everyone gets an answer, also those whose write failed.
    let store = world.store.clone().ok_or("closed")?;
    if let Some(job) = world.job.take() {
        job.run();
    }
    let flushed = store.flush();
    world.drain()?;
    if world.awaited() > 0 {
        return Err(format!("{} batches were never answered", world.awaited()));
    }
    world.check_prefix()?;
    if flushed.is_err() && store.unavailable() != Some(Unavailable::Poisoned) {
        return Err("a failed flush doesn't poison".to_owned());
    }
    if flushed.is_err() && seed.is_multiple_of(2) {
        world.heal()?;
        world.live(15)?;
        if let Some(job) = world.job.take() {
            job.run();
        }
        let _ = store.flush();
        world.drain()?;
    }
    drop(store);
    // Twice: by a kill the page cache survives, and with it what the disk never got.
    for _ in 0..2 {
        world.die_and_recover()?;
        world.live(15)?;
    }
    world.die_and_recover()?;
    Ok(happened)
}

#[test]
fn each_operation_fails_in_turn() {
    let mut failures = 0;
    for fault in [Fault::Io, Fault::NoSpace, Fault::Short] {
        for seed in 0..60 {
            for at in 0.. {
                match check(seed, at, fault, Planted::default()) {
                    Ok(true) => failures += 1,
                    Ok(false) => break,
                    Err(why) => panic!("seed {seed}, operation {at}, {fault:?}: {why}"),
                }
            }
        }
    }
    println!("{failures} failures");
}

#[test]
fn a_full_disk_is_read_only_and_recovers() {
    let disk = SimDisk::new(1);
    let mut config = Config::new("/sim", 1);
    config.segment_bytes = 16 * 1024;
    let store = Blocking::open_on(config, Arc::new(disk.clone())).unwrap();
    let mut session = store.session(CoreId(0));
    let tenant = TenantId(0);
    disk.set_full(true);
    let mut written = 0u32;
    let outcome = loop {
        let key = written.to_be_bytes();
        match session.set(NOW, tenant, &key, &[7; 1000]).unwrap() {
            Outcome::Ok => written += 1,
            other => break other,
        }
        assert!(written < 100, "it never gets full");
    };
    assert_eq!(outcome, Outcome::Unavailable(Unavailable::NoSpace));
    assert_eq!(store.store().unavailable(), Some(Unavailable::NoSpace));
    assert!(matches!(store.store().maintain(NOW), Err(Error::NoSpace { .. })));
    for n in 0..written {
        assert!(store.store().exists(NOW, tenant, &n.to_be_bytes()));
    }
    disk.set_full(false);
    store.store().maintain(NOW).unwrap();
    assert_eq!(store.store().unavailable(), None);
    assert_eq!(session.set(NOW, tenant, b"again", b"ok").unwrap(), Outcome::Ok);
}

#[test]
fn a_failed_write_poisons_until_the_next_open() {
    let disk = SimDisk::new(2);
    let config = Config::new("/sim", 1);
    let store = Blocking::open_on(config.clone(), Arc::new(disk.clone())).unwrap();
    let mut session = store.session(CoreId(0));
    let tenant = TenantId(0);
    assert_eq!(session.set(NOW, tenant, b"a", b"1").unwrap(), Outcome::Ok);
    disk.fail_after(0, Fault::Io);
    assert_eq!(session.set(NOW, tenant, b"a", b"2").unwrap(), Outcome::Unknown);
    let refused = Outcome::Unavailable(Unavailable::Poisoned);
    assert_eq!(session.set(NOW, tenant, b"a", b"3").unwrap(), refused);
    assert_eq!(store.store().get(NOW, tenant, b"a").unwrap().as_deref(), Some(&b"1"[..]));
    // Else the thread that maintains would spin.
    assert!(matches!(store.store().maintain(NOW), Err(Error::Unavailable(Unavailable::Poisoned))));
    assert!(matches!(store.close(), Err(Error::Unavailable(Unavailable::Poisoned))));
    let healed = Blocking::open_on(config.clone(), Arc::new(disk.clone())).unwrap();
    assert!(healed.store().heal().is_ok(), "nothing to heal");
    disk.fail_after(0, Fault::Io);
    assert_eq!(healed.session(CoreId(0)).set(NOW, tenant, b"b", b"1").unwrap(), Outcome::Unknown);
    healed.store().heal().unwrap();
    assert_eq!(healed.session(CoreId(0)).set(NOW, tenant, b"b", b"2").unwrap(), Outcome::Ok);
    assert_eq!(healed.store().get(NOW, tenant, b"b").unwrap().as_deref(), Some(&b"2"[..]));
    let store = Blocking::open_on(config, Arc::new(disk.kill())).unwrap();
    assert_eq!(store.session(CoreId(0)).set(NOW, tenant, b"a", b"4").unwrap(), Outcome::Ok);
}

#[test]
fn limits_are_named() {
    let mut config = Config::new("/sim", 1);
    config.segment_bytes = 16 * 1024;
    let store = Blocking::open_on(config, Arc::new(SimDisk::new(3))).unwrap();
    let mut session = store.session(CoreId(0));
    let mut check = |key: &[u8], value: &[u8], message: &str| {
        let refused = session.set(NOW, TenantId(0), key, value).unwrap_err();
        assert_eq!(refused.to_string(), message);
    };
    check(&[0; 1025], b"", "the key has 1025 bytes; at most 1024 are allowed");
    check(b"", &vec![0; 16 * 1024 * 1024 + 1], "the value has 16777217 bytes; at most 16777216 are allowed");
    let half = vec![0; 16 * 1024 * 1024];
    let ops = [b"a", b"b"].map(|key| Op::Set { key, value: &half, expires: None });
    let refused = session.batch(NOW, TenantId(0), &ops, true).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a batch of 2 operations and 33554512 bytes; at most 4096 and 33554432 are allowed"
    );
    // Larger than the store's segments: it gets one of its own, and the log goes on behind it.
    let large = vec![7; 40_000];
    assert_eq!(session.set(NOW, TenantId(0), b"large", &large).unwrap(), Outcome::Ok);
    assert_eq!(session.set(NOW, TenantId(0), b"small", b"1").unwrap(), Outcome::Ok);
    store.store().maintain(NOW).unwrap();
    assert_eq!(store.store().get(NOW, TenantId(0), b"large").unwrap().as_deref(), Some(&large[..]));
    let many = vec![Op::Del { key: b"k" }; 4097];
    assert!(session.batch(NOW, TenantId(0), &many, true).is_err());
    assert_eq!(session.batch(NOW, TenantId(0), &[], true).unwrap().outcome, Outcome::Ok);
}

/// Removals and compaction have segments of their own, and by them the disk gets room again.
#[test]
fn on_a_full_disk_removals_make_room() {
    let disk = SimDisk::new(4);
    let mut config = Config::new("/sim", 1);
    config.segment_bytes = 16 * 1024;
    let store = Blocking::open_on(config, Arc::new(disk.clone())).unwrap();
    let mut session = store.session(CoreId(0));
    let tenant = TenantId(0);
    disk.set_full(true);
    let mut written = 0u32;
    while session.set(NOW, tenant, &written.to_be_bytes(), &[7; 1000]).unwrap() == Outcome::Ok {
        written += 1;
        assert!(written < 200, "it never gets full");
    }
    for n in 0..written {
        assert_eq!(session.del(NOW, tenant, &n.to_be_bytes()).unwrap(), Outcome::Ok, "{n} of {written}");
    }
    // Compaction recycles what it frees: no file has to be created.
    let _ = store.store().maintain(NOW);
    assert_eq!(session.set(NOW, tenant, b"again", &[8; 1000]).unwrap(), Outcome::Ok);
}

/// The loop over failing operations sees what it is there for.
fn check_caught(planted: Planted, fault: Fault) {
    let caught = (0..60).any(|seed| {
        let mut at = 0;
        loop {
            match check(seed, at, fault, planted) {
                Ok(true) => at += 1,
                Ok(false) => return false,
                Err(why) => {
                    println!("{planted:?}: seed {seed}, operation {at}: {why}");
                    return true;
                }
            }
        }
    });
    assert!(caught, "{planted:?} went unnoticed");
}

#[test]
fn a_short_write_taken_for_a_whole_one_is_caught() {
    check_caught(Planted { short_write_is_whole: true, ..Planted::default() }, Fault::Short);
}

#[test]
fn a_failed_write_taken_for_done_is_caught() {
    check_caught(Planted { failed_write_is_done: true, ..Planted::default() }, Fault::Io);
}
