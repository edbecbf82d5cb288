//! The store at a size at which another one lost writes on a clean reopen: every key is looked at after a
//! clean close and after a crash, with and without hints.
//!
//! 200,000 keys in an ordinary run, 5 million with FOREBAY_LONG=1; KV_KEYS says another number. Prints what it took.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(clippy::disallowed_methods, reason = "it says how long it took")]
#![allow(clippy::cast_possible_truncation, reason = "numbers of keys")]

use std::path::Path;
use std::time::Instant;

use forebay_base::{CoreId, TenantId, Timestamp};
use forebay_kv::{Blocking, Config, Op, Outcome, PAGE_ITEMS_MAX, Rows, verify};

const NOW: Timestamp = Timestamp(0);
const TENANT: TenantId = TenantId(0);
const BATCH: u64 = 1000;

fn key(n: u64) -> [u8; 16] {
    let mut key = *b"user:00000000000";
    let mut rest = n;
    for place in key[5..].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

/// What key `n` holds after `round` rounds of overwriting; `None`: it was removed.
fn value(n: u64, round: u64) -> Option<[u8; 100]> {
    if round > 0 && n % 20 == 7 {
        return None;
    }
    let changed = if n.is_multiple_of(5) { round } else { 0 };
    let mut value = [b'v'; 100];
    value[..8].copy_from_slice(&n.to_le_bytes());
    value[8..16].copy_from_slice(&changed.to_le_bytes());
    Some(value)
}

/// Every key once, far from the one before. `keys` is no multiple of the step, which is prime.
fn permuted(keys: u64) -> impl Iterator<Item = u64> {
    (0..keys).map(move |i| (u128::from(i) * 2_654_435_761 % u128::from(keys)) as u64)
}

fn write(store: &Blocking, numbers: impl Iterator<Item = u64>, round: u64) {
    let mut session = store.session(CoreId(0));
    let mut numbers = numbers.peekable();
    while numbers.peek().is_some() {
        let batch: Vec<_> =
            numbers.by_ref().take(BATCH as usize).map(|n| (key(n), value(n, round))).collect();
        let op = |(key, value): &'_ ([u8; 16], Option<[u8; 100]>)| match value {
            Some(value) => (*key, Some(*value)),
            None => (*key, None),
        };
        let owned: Vec<_> = batch.iter().map(op).collect();
        let ops: Vec<Op<'_>> = owned
            .iter()
            .map(|(key, value)| match value {
                Some(value) => Op::Set { key, value, expires: None },
                None => Op::Del { key },
            })
            .collect();
        assert_eq!(session.batch(NOW, TENANT, &ops, false).unwrap().outcome, Outcome::Ok);
    }
    store.store().flush().unwrap();
    store.store().maintain(NOW).unwrap();
}

/// Looks at every key, by itself and in order.
fn check(store: &Blocking, keys: u64, round: u64) {
    let store = store.store();
    for n in permuted(keys) {
        let found = store.get(NOW, TENANT, &key(n)).unwrap();
        assert_eq!(found.as_deref(), value(n, round).as_ref().map(|v| &v[..]), "key {n}, round {round}");
    }
    let mut expected = (0..keys).filter_map(|n| value(n, round).map(|value| (key(n), value)));
    let mut rows = Rows::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        store.scan_rows(NOW, TENANT, b"user:", after.as_deref(), PAGE_ITEMS_MAX, &mut rows).unwrap();
        for (key, value) in rows.iter() {
            let (k, v) = expected.next().unwrap();
            assert!(*key == k && *value == v, "the order differs at {}", key.escape_ascii());
        }
        after = rows.last_key().map(<[u8]>::to_vec);
        if !rows.more() {
            break;
        }
    }
    assert!(expected.next().is_none(), "a scan ends early");
}

fn open(folder: &Path, what: &str) -> Blocking {
    let started = Instant::now();
    let store = Blocking::open(Config::new(folder, 1)).unwrap();
    println!(
        "{what}: {:.0} ms for {} keys",
        started.elapsed().as_secs_f64() * 1e3,
        store.store().stats().keys
    );
    store
}

fn anonymous_mb() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|l| l.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1e3
}

#[test]
fn no_key_is_lost_at_size() {
    let long = std::env::var_os("FOREBAY_LONG").is_some();
    let keys = std::env::var("KV_KEYS").ok().and_then(|n| n.parse().ok());
    let keys: u64 = keys.unwrap_or(if long { 5_000_000 } else { 200_000 });
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("data");
    let started = Instant::now();
    let store = open(&folder, "a new folder");
    write(&store, permuted(keys), 0);
    println!("loaded in {:.1} s, {:.0} MB anonymous", started.elapsed().as_secs_f64(), anonymous_mb());
    check(&store, keys, 0);
    store.close().unwrap();
    let store = open(&folder, "after a clean close");
    println!("{:.0} MB anonymous", anonymous_mb());
    check(&store, keys, 0);
    // A fifth is overwritten, a twentieth removed, and the process ends without a word.
    write(&store, permuted(keys).filter(|n| n.is_multiple_of(5) || n % 20 == 7), 1);
    check(&store, keys, 1);
    drop(store);
    let store = open(&folder, "after a crash");
    check(&store, keys, 1);
    drop(store);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "hint") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let store = open(&folder, "without hints");
    check(&store, keys, 1);
    let stats = store.store().stats();
    println!("{stats:?}");
    store.close().unwrap();
    let report = verify(&Config::new(&folder, 1)).unwrap();
    assert_eq!(report.keys as u64, (0..keys).filter(|n| value(*n, 1).is_some()).count() as u64);
}
