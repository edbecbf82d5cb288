//! The engines behind one trait. Each is set up as its own documentation advises for durable commits; "without
//! sync" is whatever it offers for a commit that may be lost by a power cut.

use std::fs::File;
use std::ops::Bound;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forebay_base::{CoreId, TenantId, Timestamp};
use forebay_kv::{Blocking, Config, Op, Outcome, Rows};

use crate::Failure;
use crate::child::{KEY_BYTES, VALUE_BYTES, check, key};

pub type Write = ([u8; KEY_BYTES], [u8; VALUE_BYTES]);

pub trait Engine {
    /// Reads one key and checks its value.
    fn get(&mut self, n: u64) -> Result<(), Failure>;
    /// All of `writes`, atomically; with `sync` they are on disk when it returns.
    fn write(&mut self, writes: &[Write], sync: bool) -> Result<(), Failure>;
    /// Reads, compares and replaces, without sync.
    fn cas(&mut self, n: u64, value: &[u8; VALUE_BYTES]) -> Result<(), Failure>;
    /// Reads 100 keys in order from `n` on and checks them.
    fn scan(&mut self, n: u64) -> Result<(), Failure>;
    /// Lets work in the background end.
    fn settle(&mut self) -> Result<(), Failure> {
        std::thread::sleep(Duration::from_secs(2));
        Ok(())
    }
}

pub fn open(name: &str, folder: &Path) -> Result<Box<dyn Engine>, Failure> {
    std::fs::create_dir_all(folder)?;
    Ok(match name {
        "forebay" => Box::new(Forebay::open(folder)?),
        "lmdb" => Box::new(Lmdb::open(folder)?),
        "redb" => Box::new(Redb::open(folder)?),
        "fjall" => Box::new(Fjall::open(folder)?),
        "sqlite" => Box::new(Sqlite::open(folder)?),
        #[cfg(feature = "rocksdb")]
        "rocksdb" => Box::new(crate::rocks::Rocks::open(folder)?),
        "device" => Box::new(Device::open(folder)?),
        other => return Err(format!("unknown engine {other}").into()),
    })
}

// ------------------------------------------------------------------ ours

struct Forebay {
    store: &'static Blocking,
    session: forebay_kv::Session<'static>,
    rows: Rows,
}

const NOW: Timestamp = Timestamp(0);
const TENANT: TenantId = TenantId(0);

impl Forebay {
    fn open(folder: &Path) -> Result<Self, Failure> {
        let store: &'static Blocking =
            Box::leak(Box::new(Blocking::open(Config::new(folder.join("kv"), 1))?));
        let weak = Arc::downgrade(store.store());
        std::thread::spawn(move || {
            while let Some(store) = weak.upgrade() {
                if store.wait_for_maintenance(Duration::from_millis(200))
                    && let Err(error) = store.maintain(NOW)
                {
                    eprintln!("forebay: {error}");
                    return;
                }
            }
        });
        Ok(Self { store, session: store.session(CoreId(0)), rows: Rows::new() })
    }
}

impl Engine for Forebay {
    fn get(&mut self, n: u64) -> Result<(), Failure> {
        check(n, &self.store.store().get(NOW, TENANT, &key(n))?.ok_or("missing")?)
    }

    fn write(&mut self, writes: &[Write], sync: bool) -> Result<(), Failure> {
        let outcome = if let [(key, value)] = writes {
            self.session.batch(NOW, TENANT, &[Op::Set { key, value, expires: None }], sync)?.outcome
        } else {
            let ops: Vec<Op<'_>> =
                writes.iter().map(|(key, value)| Op::Set { key, value, expires: None }).collect();
            self.session.batch(NOW, TENANT, &ops, sync)?.outcome
        };
        if outcome == Outcome::Ok { Ok(()) } else { Err(format!("{outcome:?}").into()) }
    }

    fn cas(&mut self, n: u64, value: &[u8; VALUE_BYTES]) -> Result<(), Failure> {
        let key = key(n);
        let current = self.store.store().get(NOW, TENANT, &key)?.ok_or("missing")?;
        let op = Op::Cas { key: &key, expected: Some(&current), new: Some(value), expires: None };
        let outcome = self.session.batch(NOW, TENANT, &[op], false)?.outcome;
        if outcome == Outcome::Ok { Ok(()) } else { Err(format!("{outcome:?}").into()) }
    }

    fn scan(&mut self, n: u64) -> Result<(), Failure> {
        let from = key(n);
        self.store.store().scan_rows(NOW, TENANT, b"user:", Some(&from), 100, &mut self.rows)?;
        let mut at = n;
        for (found, value) in self.rows.iter() {
            at += 1;
            if found != key(at) {
                return Err("a wrong key".into());
            }
            check(at, value)?;
        }
        let count = self.rows.len();
        self.rows.clear();
        if at == n + 100 || count == 99 { Ok(()) } else { Err("keys are missing".into()) }
    }

    fn settle(&mut self) -> Result<(), Failure> {
        self.store.store().flush()?;
        self.store.store().maintain(NOW)?;
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    }
}

// ------------------------------------------------------------------ LMDB

type Bytes = heed::types::Bytes;

struct Lmdb {
    env: heed::Env,
    db: heed::Database<Bytes, Bytes>,
    /// Without sync at commit; a second handle would need a second process.
    synced: bool,
}

impl Lmdb {
    fn open(folder: &Path) -> Result<Self, Failure> {
        let mut options = heed::EnvOpenOptions::new();
        options.map_size(8 << 30);
        // SAFETY: the folder is this process's alone.
        let env = unsafe { options.open(folder)? };
        let mut txn = env.write_txn()?;
        let db = env.create_database(&mut txn, None)?;
        txn.commit()?;
        Ok(Self { env, db, synced: true })
    }

    fn set_synced(&mut self, synced: bool) -> Result<(), Failure> {
        if self.synced != synced {
            let mode = if synced { heed::FlagSetMode::Disable } else { heed::FlagSetMode::Enable };
            // SAFETY: no transaction is open.
            unsafe { self.env.set_flags(heed::EnvFlags::NO_SYNC, mode)? };
            self.synced = synced;
        }
        Ok(())
    }
}

impl Engine for Lmdb {
    fn get(&mut self, n: u64) -> Result<(), Failure> {
        let txn = self.env.read_txn()?;
        check(n, self.db.get(&txn, &key(n))?.ok_or("missing")?)
    }

    fn write(&mut self, writes: &[Write], sync: bool) -> Result<(), Failure> {
        self.set_synced(sync)?;
        let mut txn = self.env.write_txn()?;
        for (key, value) in writes {
            self.db.put(&mut txn, key, value)?;
        }
        Ok(txn.commit()?)
    }

    fn cas(&mut self, n: u64, value: &[u8; VALUE_BYTES]) -> Result<(), Failure> {
        self.set_synced(false)?;
        let mut txn = self.env.write_txn()?;
        check(n, self.db.get(&txn, &key(n))?.ok_or("missing")?)?;
        self.db.put(&mut txn, &key(n), value)?;
        Ok(txn.commit()?)
    }

    fn scan(&mut self, n: u64) -> Result<(), Failure> {
        let txn = self.env.read_txn()?;
        let from = key(n);
        let mut at = n;
        for item in self.db.range(&txn, &(Bound::Included(from.as_slice()), Bound::Unbounded))?.take(100) {
            let (found, value) = item?;
            if found != key(at) {
                return Err("a wrong key".into());
            }
            check(at, value)?;
            at += 1;
        }
        if at == n + 100 { Ok(()) } else { Err("keys are missing".into()) }
    }
}

// ------------------------------------------------------------------ redb

const TABLE: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("kv");

struct Redb(redb::Database);

impl Redb {
    fn open(folder: &Path) -> Result<Self, Failure> {
        let db = redb::Database::builder().create(folder.join("db"))?;
        let txn = db.begin_write()?;
        txn.open_table(TABLE)?;
        txn.commit()?;
        Ok(Self(db))
    }

    fn begin(&self, sync: bool) -> Result<redb::WriteTransaction, Failure> {
        let mut txn = self.0.begin_write()?;
        txn.set_durability(if sync { redb::Durability::Immediate } else { redb::Durability::None })?;
        Ok(txn)
    }
}

impl Engine for Redb {
    fn get(&mut self, n: u64) -> Result<(), Failure> {
        use redb::ReadableDatabase;
        let table = self.0.begin_read()?.open_table(TABLE)?;
        check(n, table.get(key(n).as_slice())?.ok_or("missing")?.value())
    }

    fn write(&mut self, writes: &[Write], sync: bool) -> Result<(), Failure> {
        let txn = self.begin(sync)?;
        {
            let mut table = txn.open_table(TABLE)?;
            for (key, value) in writes {
                table.insert(key.as_slice(), value.as_slice())?;
            }
        }
        Ok(txn.commit()?)
    }

    fn cas(&mut self, n: u64, value: &[u8; VALUE_BYTES]) -> Result<(), Failure> {
        use redb::ReadableTable;
        let txn = self.begin(false)?;
        {
            let mut table = txn.open_table(TABLE)?;
            check(n, table.get(key(n).as_slice())?.ok_or("missing")?.value())?;
            table.insert(key(n).as_slice(), value.as_slice())?;
        }
        Ok(txn.commit()?)
    }

    fn scan(&mut self, n: u64) -> Result<(), Failure> {
        use redb::ReadableDatabase;
        let table = self.0.begin_read()?.open_table(TABLE)?;
        let mut at = n;
        for item in table.range(key(n).as_slice()..)?.take(100) {
            let (found, value) = item?;
            if found.value() != key(at) {
                return Err("a wrong key".into());
            }
            check(at, value.value())?;
            at += 1;
        }
        if at == n + 100 { Ok(()) } else { Err("keys are missing".into()) }
    }
}

// ------------------------------------------------------------------ fjall

struct Fjall {
    db: fjall::Database,
    keys: fjall::Keyspace,
}

impl Fjall {
    fn open(folder: &Path) -> Result<Self, Failure> {
        let db = fjall::Database::builder(folder).open()?;
        let keys = db.keyspace("kv", fjall::KeyspaceCreateOptions::default)?;
        Ok(Self { db, keys })
    }
}

impl Engine for Fjall {
    fn get(&mut self, n: u64) -> Result<(), Failure> {
        check(n, &self.keys.get(key(n))?.ok_or("missing")?)
    }

    fn write(&mut self, writes: &[Write], sync: bool) -> Result<(), Failure> {
        if let [(key, value)] = writes {
            self.keys.insert(key.as_slice(), value.as_slice())?;
        } else {
            let mut batch = self.db.batch();
            for (key, value) in writes {
                batch.insert(&self.keys, key.as_slice(), value.as_slice());
            }
            batch.commit()?;
        }
        if sync {
            self.db.persist(fjall::PersistMode::SyncData)?;
        }
        Ok(())
    }

    fn cas(&mut self, n: u64, value: &[u8; VALUE_BYTES]) -> Result<(), Failure> {
        check(n, &self.keys.get(key(n))?.ok_or("missing")?)?;
        self.keys.insert(key(n).as_slice(), value.as_slice())?;
        Ok(())
    }

    fn scan(&mut self, n: u64) -> Result<(), Failure> {
        let mut at = n;
        for item in self.keys.range(key(n)..).take(100) {
            let (found, value) = item.into_inner()?;
            if found[..] != key(at) {
                return Err("a wrong key".into());
            }
            check(at, &value)?;
            at += 1;
        }
        if at == n + 100 { Ok(()) } else { Err("keys are missing".into()) }
    }
}

// ------------------------------------------------------------------ SQLite

struct Sqlite {
    db: rusqlite::Connection,
    synced: bool,
}

impl Sqlite {
    fn open(folder: &Path) -> Result<Self, Failure> {
        let db = rusqlite::Connection::open(folder.join("db"))?;
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA mmap_size = 1073741824;
             CREATE TABLE IF NOT EXISTS kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID;",
        )?;
        Ok(Self { db, synced: true })
    }

    fn set_synced(&mut self, synced: bool) -> Result<(), Failure> {
        if self.synced != synced {
            self.db.execute_batch(if synced {
                "PRAGMA synchronous = FULL"
            } else {
                "PRAGMA synchronous = OFF"
            })?;
            self.synced = synced;
        }
        Ok(())
    }
}

impl Engine for Sqlite {
    fn get(&mut self, n: u64) -> Result<(), Failure> {
        let mut get = self.db.prepare_cached("SELECT v FROM kv WHERE k = ?1")?;
        get.query_row([key(n)], |row| Ok(check(n, row.get_ref(0)?.as_blob()?).is_ok()))?
            .then_some(())
            .ok_or_else(|| "a wrong value".into())
    }

    fn write(&mut self, writes: &[Write], sync: bool) -> Result<(), Failure> {
        self.set_synced(sync)?;
        let many = writes.len() > 1;
        if many {
            self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        }
        let mut put = self.db.prepare_cached("INSERT OR REPLACE INTO kv VALUES (?1, ?2)")?;
        for (key, value) in writes {
            put.execute((key, value))?;
        }
        if many {
            self.db.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }

    fn cas(&mut self, n: u64, value: &[u8; VALUE_BYTES]) -> Result<(), Failure> {
        self.set_synced(false)?;
        let current: Vec<u8> =
            self.db.prepare_cached("SELECT v FROM kv WHERE k = ?1")?.query_row([key(n)], |row| row.get(0))?;
        check(n, &current)?;
        let mut put = self.db.prepare_cached("UPDATE kv SET v = ?2 WHERE k = ?1 AND v = ?3")?;
        if put.execute((key(n), value, current))? == 1 { Ok(()) } else { Err("a conflict".into()) }
    }

    fn scan(&mut self, n: u64) -> Result<(), Failure> {
        let mut get = self.db.prepare_cached("SELECT k, v FROM kv WHERE k >= ?1 ORDER BY k LIMIT 100")?;
        let mut rows = get.query([key(n)])?;
        let mut at = n;
        while let Some(row) = rows.next()? {
            if row.get_ref(0)?.as_blob()? != key(at) {
                return Err("a wrong key".into());
            }
            check(at, row.get_ref(1)?.as_blob()?)?;
            at += 1;
        }
        if at == n + 100 { Ok(()) } else { Err("keys are missing".into()) }
    }
}

// ------------------------------------------------------------------ the floor

/// What the device takes for a durable write, without a store: O_DSYNC on prezeroed space.
struct Device {
    file: File,
    at: u64,
}

const DEVICE_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of the store's record with such a key and value.
const RECORD_BYTES: usize = 144;

impl Device {
    fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("floor");
        if !path.exists() {
            let file = File::create(&path)?;
            file.write_all_at(&vec![0; DEVICE_BYTES as usize], 0)?;
            file.sync_all()?;
        }
        let file = File::options().write(true).custom_flags(libc::O_DSYNC).open(&path)?;
        Ok(Self { file, at: 0 })
    }
}

impl Engine for Device {
    fn get(&mut self, _n: u64) -> Result<(), Failure> {
        Ok(())
    }

    fn write(&mut self, writes: &[Write], sync: bool) -> Result<(), Failure> {
        if sync {
            let bytes = vec![1; RECORD_BYTES * writes.len()];
            if self.at + bytes.len() as u64 > DEVICE_BYTES {
                self.at = 0;
            }
            self.file.write_all_at(&bytes, self.at)?;
            self.at += bytes.len() as u64;
        }
        Ok(())
    }

    fn cas(&mut self, _n: u64, _value: &[u8; VALUE_BYTES]) -> Result<(), Failure> {
        Ok(())
    }

    fn scan(&mut self, _n: u64) -> Result<(), Failure> {
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}
