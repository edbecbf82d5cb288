//! The store beside the device's own floor, in one run: `kv_bench FOLDER [KEYS]`.
//! Keys of 16 bytes, values of 100. Figures of a machine that does something else are of no use.
//!
//! | row | what it is |
//! |---|---|
//! | floor | one write with O_DSYNC of a record's size on prezeroed space, one after the other |
//! | set | without sync |
//! | dur1, dur64 | one writer, sync after every write, and after 64 |
//! | get, scan100 | of random keys; of 100 keys from a random one on |

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use forebay_base::rng::Rng;
use forebay_base::{CoreId, TenantId, Timestamp};
use forebay_kv::{Blocking, Config, Op, Outcome};

const NOW: Timestamp = Timestamp(0);
const TENANT: TenantId = TenantId(0);
const VALUE: [u8; 100] = [b'v'; 100];
/// Bytes of a record with such a key and value.
const RECORD: usize = 144;
/// Long enough for a median on a quiet machine.
const ROW: Duration = Duration::from_secs(2);

type Failure = Box<dyn std::error::Error>;

fn key(n: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    for (place, digit) in key.iter_mut().rev().zip((0..12).map(|d| n / 10u64.pow(d) % 10)) {
        *place = b'0' + u8::try_from(digit).unwrap_or(0);
    }
    key
}

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("usage: kv_bench FOLDER [KEYS]")?;
    let keys: u64 = args.next().map_or(Ok(1_000_000), |n| n.parse())?;
    let folder = Path::new(&folder);
    let mut config = Config::new(folder.join("kv"), 1);
    config.spare_segments = 2;
    std::fs::create_dir_all(folder)?;
    let store = Blocking::open(config.clone())?;
    let mut session = store.session(CoreId(0));
    let mut rng = Rng::new(1);

    floor(&folder.join("floor"))?;

    let started = Instant::now();
    for n in 0..keys {
        let answer =
            session.batch(NOW, TENANT, &[Op::Set { key: &key(n), value: &VALUE, expires: None }], false)?;
        assert_eq!(answer.outcome, Outcome::Ok);
    }
    store.store().flush()?;
    rate("set", keys, started.elapsed());

    row("get", || {
        let value = store.store().get(NOW, TENANT, &key(rng.below(keys)))?.ok_or("a key is missing")?;
        assert_eq!(value[..], VALUE);
        Ok(1)
    })?;
    row("scan100", || {
        let from = key(rng.below(keys.saturating_sub(100)));
        let page = store.store().scan(NOW, TENANT, b"key:", Some(&from), 100)?;
        assert_eq!(page.items.len(), 100);
        Ok(page.items.iter().filter(|i| i.value[..] == VALUE).count() as u64 / 100)
    })?;
    for (name, count) in [("dur1", 1), ("dur64", 64)] {
        // The last of `count` writes waits for all.
        row(name, || {
            for n in 0..count {
                let key = key(rng.below(keys));
                let op = Op::Set { key: &key, value: &VALUE, expires: None };
                let answer = session.batch(NOW, TENANT, &[op], n + 1 == count)?;
                assert_eq!(answer.outcome, Outcome::Ok);
            }
            Ok(count)
        })?;
    }
    floor(&folder.join("floor"))?;
    println!("{:?}", store.store().stats());
    drop(session);
    drop(store);
    let started = Instant::now();
    let store = Blocking::open(config)?;
    println!(
        "{:8} {:9.1} ms for {} keys",
        "open",
        started.elapsed().as_secs_f64() * 1e3,
        store.store().stats().keys
    );
    Ok(())
}

fn rate(name: &str, operations: u64, elapsed: Duration) {
    println!("{name:8} {:9.1} k/s", operations as f64 / elapsed.as_secs_f64() / 1e3);
}

/// Repeats `once`, which says how many operations it was, for [`ROW`].
fn row(name: &str, mut once: impl FnMut() -> Result<u64, Failure>) -> Result<(), Failure> {
    let (started, mut operations) = (Instant::now(), 0);
    let mut latencies = Vec::new();
    while started.elapsed() < ROW {
        let one = Instant::now();
        operations += once()?;
        latencies.push(one.elapsed());
    }
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    let at = |percent: usize| latencies[latencies.len() * percent / 100].as_secs_f64() * 1e6;
    println!(
        "{name:8} {:9.1} k/s  p50 {:7.1} us  p99 {:7.1} us",
        operations as f64 / elapsed.as_secs_f64() / 1e3,
        at(50),
        at(99)
    );
    Ok(())
}

/// What the device takes for a durable write of a record, without a store.
fn floor(path: &Path) -> Result<(), Failure> {
    const BYTES: usize = 16 * 1024 * 1024;
    let mut file = std::fs::File::create(path)?;
    file.write_all(&vec![0; BYTES])?;
    file.sync_all()?;
    drop(file);
    let durable = std::fs::OpenOptions::new().write(true).custom_flags(O_DSYNC).open(path)?;
    let record = [1; RECORD];
    let mut at = 0;
    row("floor", || {
        durable.write_all_at(&record, at)?;
        at = (at + RECORD as u64) % (BYTES - RECORD) as u64;
        Ok(1)
    })?;
    std::fs::remove_file(path)?;
    Ok(())
}

/// open(2) on Linux: every write returns after its data is on disk.
const O_DSYNC: i32 = 0o10000;
