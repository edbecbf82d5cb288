//! The store on a real folder against a BTreeMap: expiry, paging, unsynced writes,
//! several threads, compaction, and reopening in between.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(clippy::cast_possible_truncation, reason = "small random numbers")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forebay_base::rng::Rng;
use forebay_base::value::codec::decode_int;
use forebay_base::{CoreId, TenantId, Timestamp};
use forebay_kv::{Blocking, Config, Error, Op, Outcome, PAGE_ITEMS_MAX, Refused, Space, verify};

type Model = BTreeMap<(u32, Vec<u8>), (Vec<u8>, Option<Timestamp>)>;

fn config(folder: &Path, cores: u16) -> Config {
    let mut config = Config::new(folder, cores);
    config.segment_bytes = 64 * 1024;
    config
}

fn live(model: &Model, now: Timestamp, tenant: u32, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    model
        .iter()
        .filter(|((t, key), (_, expires))| {
            *t == tenant && key.starts_with(prefix) && expires.is_none_or(|at| at > now)
        })
        .map(|((_, key), (value, _))| (key.clone(), value.clone()))
        .collect()
}

fn check(store: &Blocking, model: &Model, now: Timestamp, rng: &mut Rng) {
    for tenant in 0..3 {
        for prefix in [&b""[..], b"k", b"k1", b"k\xff", b"nothing"] {
            let expected = live(model, now, tenant, prefix);
            let limit = 1 + rng.below(9) as usize;
            let mut found = Vec::new();
            let mut after: Option<Vec<u8>> = None;
            loop {
                let page =
                    store.store().scan(now, TenantId(tenant), prefix, after.as_deref(), limit).unwrap();
                assert!(page.items.len() <= limit);
                found.extend(page.items.iter().map(|i| (i.key().to_vec(), i.value.to_vec())));
                after = page.items.last().map(|i| i.key().to_vec());
                if !page.more {
                    break;
                }
            }
            assert_eq!(found, expected, "tenant {tenant} prefix {:?}", prefix.escape_ascii().to_string());
            let offset = rng.below(expected.len() as u64 + 2) as usize;
            let page = store.store().iterate(now, TenantId(tenant), prefix, offset, limit).unwrap();
            let skipped: Vec<_> = expected.iter().skip(offset).take(limit).cloned().collect();
            let items: Vec<_> = page.items.iter().map(|i| (i.key().to_vec(), i.value.to_vec())).collect();
            assert_eq!(items, skipped);
            assert_eq!(page.more, expected.len() > offset + limit);
        }
    }
}

#[test]
fn the_store_is_a_map() {
    let seed = std::env::var("KV_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    println!("rerun: KV_SEED={seed} cargo test -p forebay-kv --test model the_store");
    let mut rng = Rng::new(seed);
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("data");
    let mut model = Model::new();
    let mut now = Timestamp(0);
    for life in 0..12 {
        let store = Blocking::open(config(&folder, 1)).unwrap();
        check(&store, &model, now, &mut rng);
        let mut session = store.session(CoreId(0));
        for step in 0..1500 {
            now.0 += rng.below(20) as i64;
            let tenant = rng.below(3) as u32;
            let key = match rng.below(8) {
                0 => format!("k\u{ff}{}", "long".repeat(rng.below(20) as usize)).into_bytes(),
                1 => Vec::new(),
                n => format!("k{}", rng.below(10 * n)).into_bytes(),
            };
            let value = vec![rng.next_u64() as u8; rng.below(300) as usize];
            let expires = rng.one_in(3).then(|| Timestamp(now.0 + rng.below(2000) as i64));
            let current = model
                .get(&(tenant, key.clone()))
                .filter(|(_, expires)| expires.is_none_or(|at| at > now))
                .map(|(value, _)| value.clone());
            let entry = (tenant, key.clone());
            let sync = rng.one_in(20);
            let (op, expected) = match rng.below(5) {
                0 => {
                    model.remove(&entry);
                    (Op::Del { key: &key }, Outcome::Ok)
                }
                1 => {
                    let op = Op::Snx { key: &key, value: &value, expires };
                    if current.is_some() {
                        (op, Outcome::Conflict)
                    } else {
                        model.insert(entry, (value.clone(), expires));
                        (op, Outcome::Ok)
                    }
                }
                2 => {
                    let expected = if rng.one_in(3) { None } else { current.as_deref() };
                    let op = Op::Cas { key: &key, expected, new: Some(&value), expires };
                    if expected == current.as_deref() {
                        model.insert(entry, (value.clone(), expires));
                        (op, Outcome::Ok)
                    } else {
                        (op, Outcome::Conflict)
                    }
                }
                _ => {
                    model.insert(entry, (value.clone(), expires));
                    (Op::Set { key: &key, value: &value, expires }, Outcome::Ok)
                }
            };
            let answer = session.batch(now, TenantId(tenant), &[op], sync).unwrap();
            assert_eq!(answer.outcome, expected, "life {life} step {step}");
            let visible = model.get(&(tenant, key.clone())).filter(|(_, at)| at.is_none_or(|at| at > now));
            assert_eq!(
                store.store().get(now, TenantId(tenant), &key).unwrap().as_deref(),
                visible.map(|(value, _)| &value[..]),
                "life {life} step {step}"
            );
            if step % 100 == 0 {
                check(&store, &model, now, &mut rng);
                store.store().maintain(now).unwrap();
            }
        }
        let stats = store.store().stats();
        // 600 KiB go through per life; without compaction there would be ten segments more each time.
        assert!(stats.segments < 14, "{stats:?}");
        if life % 2 == 0 {
            store.close().unwrap();
        } else {
            store.store().flush().unwrap();
        }
    }
    let report = verify(&config(&folder, 1)).unwrap();
    assert!(report.records > 100 && report.torn_at.is_none(), "{report:?}");
}

#[test]
fn counters_are_linearizable_across_threads() {
    const THREADS: u16 = 4;
    const EACH: i64 = 300;
    let temporary = tempfile::tempdir().unwrap();
    let store = Blocking::open(config(&temporary.path().join("data"), THREADS)).unwrap();
    let sums: Vec<i64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let store = &store;
                scope.spawn(move || {
                    let mut session = store.session(CoreId(thread));
                    let mut sums = Vec::new();
                    for n in 0..EACH {
                        let incr = Op::Incr { key: b"counter", by: 1 };
                        let own = format!("{thread}/{n}");
                        let set = Op::Set { key: own.as_bytes(), value: b"x", expires: None };
                        let answer = session.batch(Timestamp(0), TenantId(0), &[incr, set], true).unwrap();
                        assert_eq!(answer.outcome, Outcome::Ok);
                        let sum = answer.number.unwrap();
                        // An acknowledged write is what everyone reads, or something later.
                        let read = store.store().get(Timestamp(0), TenantId(0), b"counter").unwrap().unwrap();
                        assert!(decode_int(&read).unwrap() >= sum);
                        sums.push(sum);
                    }
                    sums
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    let mut sorted = sums;
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(1..=i64::from(THREADS) * EACH), "a sum was given twice or never");
    let stats = store.store().stats();
    assert!(stats.commits < stats.records, "nobody ever followed: {stats:?}");
}

#[test]
fn one_of_many_sets_if_absent() {
    const THREADS: u16 = 4;
    let temporary = tempfile::tempdir().unwrap();
    let store = Blocking::open(config(&temporary.path().join("data"), THREADS)).unwrap();
    for round in 0..50 {
        let key = format!("lock/{round}");
        let won: Vec<bool> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (store, key) = (&store, &key);
                    scope.spawn(move || {
                        let me = [thread as u8];
                        let op = Op::Snx { key: key.as_bytes(), value: &me, expires: None };
                        let answer = store
                            .session(CoreId(thread))
                            .batch(Timestamp(0), TenantId(0), &[op], true)
                            .unwrap();
                        // Who lost can read who won.
                        let value =
                            store.store().get(Timestamp(0), TenantId(0), key.as_bytes()).unwrap().unwrap();
                        assert_eq!(answer.outcome == Outcome::Ok, *value == me);
                        answer.outcome == Outcome::Ok
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(won.iter().filter(|w| **w).count(), 1, "round {round}");
    }
}

#[test]
fn pages_and_offsets_are_bounded() {
    let temporary = tempfile::tempdir().unwrap();
    let store = Blocking::open(config(&temporary.path().join("data"), 1)).unwrap();
    let mut session = store.session(CoreId(0));
    let keys: Vec<[u8; 4]> = (0..1100u32).map(u32::to_be_bytes).collect();
    let ops: Vec<Op<'_>> = keys.iter().map(|key| Op::Set { key, value: b"", expires: None }).collect();
    session.batch(Timestamp(0), TenantId(0), &ops, true).unwrap();
    let page = store.store().scan(Timestamp(0), TenantId(0), b"", None, usize::MAX).unwrap();
    assert_eq!((page.items.len(), page.more), (PAGE_ITEMS_MAX, true));
    let refused = store.store().iterate(Timestamp(0), TenantId(0), b"", 100_001, 1).unwrap_err();
    assert!(matches!(refused, Error::Refused(Refused::OffsetTooLarge { .. })), "{refused}");
}

/// The system's records stand beside a tenant's keys: one batch changes both or neither, and no key, prefix or page leads from one into the other.
#[test]
fn keyspaces_are_apart_and_batches_span_them() {
    let temporary = tempfile::tempdir().unwrap();
    let store = Blocking::open(config(&temporary.path().join("data"), 1)).unwrap();
    let mut session = store.session(CoreId(0));
    let now = Timestamp(0);
    let (user, hidden, other) =
        (Space::user(TenantId(7)), Space::hidden(TenantId(7)), Space::user(TenantId(8)));
    let set = |value| Op::Set { key: b"k", value, expires: None };
    let claim = |expected| Op::Cas { key: b"fn:1:state", expected, new: Some(b"running"), expires: None };
    let mut batch = |ops: &[(Space, Op<'_>)]| session.batch_across(now, ops, true).unwrap().outcome;
    assert_eq!(batch(&[(user, set(b"1")), (other, set(b"2")), (hidden, claim(None))]), Outcome::Ok);
    // The condition on the hidden record holds back the user's key.
    assert_eq!(batch(&[(user, set(b"3")), (hidden, claim(Some(b"paused")))]), Outcome::Conflict);
    let store = store.store();
    assert_eq!(store.get(now, user, b"k").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(store.get(now, TenantId(8), b"k").unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(store.get(now, hidden, b"k").unwrap().as_deref(), None);
    assert_eq!(store.get(now, user, b"fn:1:state").unwrap().as_deref(), None);
    for (space, expected) in [(user, &b"k"[..]), (hidden, b"fn:1:state"), (other, b"k")] {
        let page = store.scan(now, space, b"", None, 10).unwrap();
        let keys: Vec<&[u8]> = page.items.iter().map(|i| i.key()).collect();
        assert_eq!(keys, [expected]);
    }
    assert!(hidden.is_hidden() && hidden.tenant() == TenantId(7) && user.tenant() == TenantId(7));
}

/// What has expired is removed by maintenance, and what it took is reclaimed.
#[test]
fn expired_keys_go_away() {
    let temporary = tempfile::tempdir().unwrap();
    let store = Blocking::open(config(&temporary.path().join("data"), 1)).unwrap();
    let mut session = store.session(CoreId(0));
    for n in 0..2000u32 {
        let op = Op::Set { key: &n.to_be_bytes(), value: &[1; 500], expires: Some(Timestamp(i64::from(n))) };
        assert_eq!(session.batch(Timestamp(-1), TenantId(0), &[op], false).unwrap().outcome, Outcome::Ok);
    }
    store.store().flush().unwrap();
    store.store().maintain(Timestamp(999)).unwrap();
    let stats = store.store().stats();
    assert_eq!(stats.keys, 1000, "{stats:?}");
    assert!(stats.log_bytes < 2000 * 500, "{stats:?}");
    assert!(!store.store().exists(Timestamp(999), TenantId(0), &999u32.to_be_bytes()));
    assert!(store.store().exists(Timestamp(999), TenantId(0), &1000u32.to_be_bytes()));
}

/// A tenant has its quota, of keys and of bytes; another's use, and what the system keeps, don't count.
#[test]
fn quotas_are_per_tenant() {
    let temporary = tempfile::tempdir().unwrap();
    let mut config = config(&temporary.path().join("data"), 1);
    config.quota = forebay_kv::Quota { keys: 3, bytes: 100 };
    let store = Blocking::open(config).unwrap();
    let mut session = store.session(CoreId(0));
    let mut set = |space: Space, key: &[u8], len: usize| {
        session.set(Timestamp(0), space.tenant(), key, &vec![1; len]).map_err(|e| e.to_string())
    };
    let (one, two) = (Space::user(TenantId(1)), Space::user(TenantId(2)));
    for key in [b"a", b"b", b"c"] {
        assert_eq!(set(one, key, 10), Ok(Outcome::Ok));
    }
    assert_eq!(set(one, b"d", 10), Err("the quota of 3 keys is used up".to_owned()));
    assert_eq!(set(two, b"d", 10), Ok(Outcome::Ok));
    // 33 bytes are used: 67 more fit in place of none, and a smaller value always does.
    assert_eq!(set(one, b"a", 78), Err("the quota of 100 bytes is used up".to_owned()));
    assert_eq!(set(one, b"a", 77), Ok(Outcome::Ok));
    assert_eq!(set(one, b"a", 1), Ok(Outcome::Ok));
    let hidden = (Space::hidden(TenantId(1)), Op::Set { key: b"task", value: &[0; 500], expires: None });
    assert_eq!(session.batch_across(Timestamp(0), &[hidden], true).unwrap().outcome, Outcome::Ok);
    assert_eq!(session.del(Timestamp(0), TenantId(1), b"b").unwrap(), Outcome::Ok);
    assert_eq!(session.set(Timestamp(0), TenantId(1), b"d", b"1").unwrap(), Outcome::Ok);
}

/// A backup of a store that is written to holds what was acknowledged before, whole batches only, and stays as it is.
#[test]
fn a_backup_is_a_moment_of_the_store() {
    let temporary = tempfile::tempdir().unwrap();
    let (data, saved, restored) =
        (temporary.path().join("data"), temporary.path().join("saved"), temporary.path().join("restored"));
    let store = Blocking::open(config(&data, 2)).unwrap();
    let now = Timestamp(0);
    let write = |core: u16, n: u32| {
        let value = [n.to_le_bytes(); 50].concat();
        let key = (n % 300).to_be_bytes();
        let ops = [b"left/", b"also/"].map(|prefix| [&prefix[..], &key].concat());
        let ops: Vec<Op<'_>> = ops.iter().map(|key| Op::Set { key, value: &value, expires: None }).collect();
        let mut session = store.session(CoreId(core));
        assert_eq!(session.batch(now, TenantId(0), &ops, n.is_multiple_of(50)).unwrap().outcome, Outcome::Ok);
    };
    (0..1500).for_each(|n| write(0, n));
    let backup = std::thread::scope(|scope| {
        scope.spawn(|| (1500..3000).for_each(|n| write(1, n)));
        store.store().backup(&saved).unwrap()
    });
    assert!(backup.segments > 1, "{backup:?}");
    assert!(matches!(store.store().backup(&saved), Err(Error::Config { .. })));
    // Compaction makes garbage of all that the backup holds.
    (3000..9000).for_each(|n| write(0, n));
    store.store().maintain(now).unwrap();
    assert_eq!(forebay_kv::restore(&saved, &restored).unwrap(), backup);
    let copy = Blocking::open(config(&restored, 1)).unwrap();
    let page = |prefix: &[u8]| copy.store().scan(now, TenantId(0), prefix, None, 1000).unwrap().items;
    let (left, also) = (page(b"left/"), page(b"also/"));
    assert_eq!((left.len(), also.len()), (300, 300));
    for (left, also) in left.iter().zip(&also) {
        assert_eq!(left.value[..], also.value[..], "half a batch");
        let n = u32::from_le_bytes(left.value[..4].try_into().unwrap());
        assert!((1200..3000).contains(&n), "{n} isn't of that moment");
    }
}

/// The thread that maintenance waits on sleeps through commits that leave it nothing to do: woken by each, it would
/// share the core with whoever commits.
#[test]
fn commits_do_not_wake_maintenance() {
    let temporary = tempfile::tempdir().unwrap();
    let store = Blocking::open(config(&temporary.path().join("data"), 1)).unwrap();
    let inner = store.store();
    inner.maintain(Timestamp(0)).unwrap();
    let (commits, waiting) = (200, Duration::from_millis(20));
    let switches = || -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    };
    let done = AtomicBool::new(false);
    let (rounds, slept) = std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let (before, mut rounds) = (switches(), 0);
            while !done.load(Ordering::Acquire) {
                assert!(!inner.wait_for_maintenance(waiting), "nothing was to do");
                rounds += 1;
            }
            (rounds, switches() - before)
        });
        let mut session = store.session(CoreId(0));
        for _ in 0..commits {
            assert_eq!(session.set(Timestamp(0), TenantId(0), b"k", b"v").unwrap(), Outcome::Ok);
            std::thread::sleep(Duration::from_millis(1));
        }
        done.store(true, Ordering::Release);
        waits.join().unwrap()
    });
    // One switch a time-out, and some for the lock.
    assert!(slept < rounds + commits / 4, "{slept} times asleep in {rounds} rounds and {commits} commits");
}
