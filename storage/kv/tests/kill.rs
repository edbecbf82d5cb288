//! kill -9 of a process that writes, a hundred times on one folder: what it
//! printed as acknowledged is there, batches are whole.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use forebay_base::rng::Rng;
use forebay_base::{TenantId, Timestamp};
use forebay_kv::{Blocking, Config, Error};

const KILLS: u64 = 100;
const THREADS: u16 = 2;

/// The example beside this test's binary, target/PROFILE/examples/kv_writer. Plain `cargo test` builds it;
/// with `--test kill` nobody does, so it is built here, which costs nothing if it is fresh.
fn writer() -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "forebay-kv", "--example", "kv_writer"]);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().is_ok_and(|s| s.success()), "the writer doesn't build");
    profile.join("examples/kv_writer")
}

fn config(folder: &Path) -> Config {
    let mut config = Config::new(folder, 1);
    config.segment_bytes = 256 * 1024;
    config
}

#[test]
fn acknowledged_batches_survive_kill_9() {
    let seed = std::env::var("KV_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(9);
    println!("rerun: KV_SEED={seed} cargo test -p forebay-kv --test kill");
    let mut rng = Rng::new(seed);
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("data");
    let writer = writer();
    let mut first = 1;
    let mut total = 0;
    for round in 0..KILLS {
        let mut child = Command::new(&writer)
            .args([folder.to_str().unwrap(), &first.to_string(), &THREADS.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", writer.display()));
        let mut pipe = child.stdout.take().unwrap();
        let output = std::thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let mut text = String::new();
                pipe.read_to_string(&mut text).map(|_| text)
            });
            // From before the folder is open to many commits later.
            std::thread::sleep(Duration::from_micros(rng.below(120_000)));
            child.kill().unwrap();
            reader.join().unwrap().unwrap()
        });
        let status = child.wait().unwrap();
        assert_eq!(status.code(), None, "round {round}: the writer ended by itself");
        // The last line may be cut.
        let acknowledged: Vec<u64> = output
            .split_inclusive('\n')
            .filter(|l| l.ends_with('\n'))
            .map(|l| l.trim().parse().unwrap())
            .collect();
        total += acknowledged.len();
        let store = Blocking::open(config(&folder)).unwrap_or_else(|e| panic!("round {round}: {e}"));
        let there = |key: &str| store.store().exists(Timestamp(0), TenantId(0), key.as_bytes());
        for n in &acknowledged {
            for part in ["a", "b", "c"] {
                let key = format!("{n}/{part}");
                let value = store.store().get(Timestamp(0), TenantId(0), key.as_bytes()).unwrap();
                let expected = n.to_string().repeat(1 + (n % 97) as usize);
                assert_eq!(
                    value.as_deref(),
                    Some(expected.as_bytes()),
                    "round {round}: {key} was acknowledged"
                );
            }
        }
        // Behind the acknowledged ones at most one batch per thread, whole or not at all.
        let last = acknowledged.iter().max().copied().unwrap_or(first);
        for n in first..last + 4 * u64::from(THREADS) {
            let parts = ["a", "b", "c"].map(|part| there(&format!("{n}/{part}")));
            assert!(parts == [true; 3] || parts == [false; 3], "round {round}: batch {n} is torn: {parts:?}");
        }
        first = last + 100;
        if round % 2 == 0 {
            store.close().unwrap();
        }
    }
    println!("{total} acknowledged batches in {KILLS} lives");
    assert!(total > 1000, "only {total} batches were written: the test lost its teeth");
}

#[test]
fn one_process_at_a_time_and_the_other_is_named() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("data");
    let open = Blocking::open(config(&folder)).unwrap();
    match Blocking::open(config(&folder)) {
        Err(Error::Locked { holder, .. }) => assert_eq!(holder, std::process::id().to_string()),
        other => panic!("{other:?}"),
    }
    drop(open);
    Blocking::open(config(&folder)).unwrap();
}
