//! The files of a store.

use std::sync::{Arc, OnceLock};

use forebay_base::{CoreId, TenantId, Timestamp};
use forebay_kv::testing::SimDisk;
use forebay_kv::{Config, NoWake, Op, Store};

const NOW: Timestamp = Timestamp(1_000_000);

fn config() -> Config {
    Config { segment_bytes: 8192, ..Config::new("/nowhere", 1) }
}

type Files = Vec<(String, Vec<u8>)>;

/// The files of a store that was closed.
fn closed() -> &'static Option<Files> {
    static CLOSED: OnceLock<Option<Files>> = OnceLock::new();
    CLOSED.get_or_init(|| {
        let disk = SimDisk::new(0);
        let store = Store::open_on(config(), Arc::new(disk.clone()), Arc::new(NoWake)).ok()?;
        for n in 0..60usize {
            let (key, value) = (format!("key {}", n % 23), vec![b'v'; 40 * (n % 9)]);
            let ops =
                [Op::Set { key: key.as_bytes(), value: &value, expires: None }, Op::Del { key: b"key 3" }];
            store.submit(CoreId(0), n as u64, NOW, TenantId(0), &ops, true).ok()?;
            store.flush().ok()?;
            let _ = store.maintain(NOW);
        }
        let segments = store.stats().segments;
        store.close().ok()?;
        let names = (1..=segments).flat_map(|n| [format!("{n:010}.seg"), format!("{n:010}.hint")]);
        Some(names.filter_map(|name| Some((name.clone(), disk.contents(&name)?))).collect())
    })
}

/// A segment file (first byte even), or changes to the files of a closed store: opened or refused; what is there can be
/// read.
///
/// # Panics
/// If there is no store to change: then nothing would be tested.
pub fn kv(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let mut files = match (choice & 1, closed()) {
        (0, _) => vec![("0000000001.seg".to_owned(), bytes.to_vec())],
        (_, Some(files)) => files.clone(),
        (_, None) => panic!("no store to change"),
    };
    if choice & 1 == 1 {
        let mut each: Vec<&mut Vec<u8>> = files.iter_mut().map(|(_, bytes)| bytes).collect();
        crate::change(&mut each, bytes);
    }
    let disk = SimDisk::new(0);
    for (name, bytes) in &files {
        disk.put_contents(name, bytes);
    }
    let Ok(store) = Store::open_on(config(), Arc::new(disk), Arc::new(NoWake)) else { return };
    let _ = store.scan(NOW, TenantId(0), b"", None, 1000);
    let _ = store.maintain(NOW);
    let _ = store.close();
}

/// The first segment of a store, and no change to the others.
#[must_use]
pub fn kv_seeds() -> Vec<Vec<u8>> {
    let segment =
        closed().as_ref().and_then(|files| files.first()).map(|(_, bytes)| [&[0], &**bytes].concat());
    segment.into_iter().chain([vec![1], vec![1, 0, 0, 16, 7]]).collect()
}
