//! A data folder in memory that loses power.
//!
//! What was not synced is kept per 512-byte sector as a list of versions: at a
//! power cut each sector takes any of them or what was there before, on its own. So
//! unsynced writes are dropped, torn and reordered. Names that were not synced survive up to
//! some point, as a journal keeps them. A process that is killed loses nothing of
//! that: it stays unsynced. The seed decides everything.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_base::rng::Rng;

use crate::map::Map;
use crate::medium::{Medium, SegmentFile};

const SECTOR: usize = 512;

/// What an operation that was chosen to fail does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO. Of a write any sectors may have reached the disk, and the cache shows all of it.
    Io,
    /// ENOSPC, without an effect.
    NoSpace,
    /// A write of half its bytes; other operations fail with EIO.
    Short,
}

/// A simulated disk with one data folder. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    /// Handles of an earlier life are dead.
    life: u64,
}

struct State {
    rng: Rng,
    files: BTreeMap<u64, Inode>,
    next_file: u64,
    names: BTreeMap<String, u64>,
    names_durable: BTreeMap<String, u64>,
    /// `names` after each change that isn't durable.
    names_since: Vec<BTreeMap<String, u64>>,
    life: u64,
    operations: u64,
    cut_at: Option<u64>,
    fault_at: Option<(u64, Fault)>,
    full: bool,
    dead: bool,
}

#[derive(Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    cache: Vec<u8>,
    /// The contents that a sector went through since it was durable.
    dirty: BTreeMap<usize, Vec<Vec<u8>>>,
    /// It was never synced: any part of its length may have reached the disk.
    size_unsynced: bool,
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: Rng::new(seed),
            files: BTreeMap::new(),
            next_file: 1,
            names: BTreeMap::new(),
            names_durable: BTreeMap::new(),
            names_since: Vec::new(),
            life: 0,
            operations: 0,
            cut_at: None,
            fault_at: None,
            full: false,
            dead: false,
        };
        Self { state: Arc::new(Mutex::new(state)), life: 0 }
    }

    /// The power fails during the operation that comes after `operations` more.
    pub fn cut_after(&self, operations: u64) {
        let mut state = self.lock();
        state.cut_at = Some(state.operations + operations);
    }

    /// The operation that comes after `operations` more fails.
    pub fn fail_after(&self, operations: u64, fault: Fault) {
        let mut state = self.lock();
        state.fault_at = Some((state.operations + operations, fault));
    }

    /// While it is full no file can be created.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// Operations that changed something so far: writes, syncs, and changes of names.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// The power is off.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// Power off (if it isn't yet) and on again: the disk as the next process finds it.
    #[must_use]
    pub fn power_cycle(&self) -> Self {
        let mut guard = self.lock();
        let state = &mut *guard;
        let survives = state.rng.below(state.names_since.len() as u64 + 1);
        if let Some(names) = usize::try_from(survives).ok().and_then(|n| n.checked_sub(1)) {
            state.names_durable = state.names_since.swap_remove(names);
        }
        state.names_since.clear();
        state.names = state.names_durable.clone();
        let mode = state.rng.below(4);
        for file in state.files.values_mut() {
            for (sector, versions) in std::mem::take(&mut file.dirty) {
                // Mostly sector by sector; sometimes all or nothing.
                let pick = match mode {
                    0 => 0,
                    1 => versions.len() as u64,
                    _ => state.rng.below(versions.len() as u64 + 1),
                };
                if let Some(n) = usize::try_from(pick).ok().and_then(|n| n.checked_sub(1)) {
                    let at = sector * SECTOR;
                    file.durable[at..at + versions[n].len()].copy_from_slice(&versions[n]);
                }
            }
            if std::mem::take(&mut file.size_unsynced) && state.rng.one_in(2) {
                let kept = state.rng.below(file.durable.len() as u64 + 1);
                file.durable.truncate(usize::try_from(kept).unwrap_or(0));
            }
            file.cache.clone_from(&file.durable);
        }
        let named: Vec<u64> = state.names.values().copied().collect();
        state.files.retain(|id, _| named.contains(id));
        state.next_life();
        Self { state: Arc::clone(&self.state), life: state.life }
    }

    /// The process dies, the machine doesn't: nothing is lost, and nothing became durable.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut state = self.lock();
        state.next_life();
        Self { state: Arc::clone(&self.state), life: state.life }
    }

    /// The bytes of a file as they are read now.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        state.names.get(name).and_then(|id| state.files.get(id)).map(|f| f.cache.clone())
    }

    /// Replaces a file's bytes, durably: damage.
    pub fn put_contents(&self, name: &str, bytes: &[u8]) {
        let mut state = self.lock();
        let id = match state.names.get(name) {
            Some(id) => *id,
            None => state.new_file(name),
        };
        state.names_durable.insert(name.to_owned(), id);
        state.files.insert(id, Inode { durable: bytes.to_vec(), cache: bytes.to_vec(), ..Inode::default() });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks for an operation that changes something: counts it, and says how it fails.
    fn begin(&self) -> io::Result<(MutexGuard<'_, State>, Option<Failure>)> {
        let mut state = self.lock();
        if state.dead || state.life != self.life {
            return Err(io::Error::other("the power is off"));
        }
        let number = state.operations;
        state.operations += 1;
        if state.cut_at == Some(number) {
            state.dead = true;
            return Ok((state, Some(Failure::Cut)));
        }
        match state.fault_at {
            Some((at, fault)) if at == number => Ok((state, Some(Failure::Fault(fault)))),
            _ => Ok((state, None)),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    Cut,
    Fault(Fault),
}

impl Failure {
    fn error(self) -> io::Error {
        match self {
            Self::Cut => io::Error::other("the power is off"),
            Self::Fault(Fault::NoSpace) => io::Error::from_raw_os_error(libc::ENOSPC),
            Self::Fault(_) => io::Error::from_raw_os_error(libc::EIO),
        }
    }
}

impl State {
    fn next_life(&mut self) {
        self.life += 1;
        self.dead = false;
        self.cut_at = None;
        self.fault_at = None;
    }

    fn new_file(&mut self, name: &str) -> u64 {
        let id = self.next_file;
        self.next_file += 1;
        self.names.insert(name.to_owned(), id);
        id
    }

    fn names_changed(&mut self) {
        let now = self.names.clone();
        self.names_since.push(now);
    }

    fn file(&mut self, id: u64) -> io::Result<&mut Inode> {
        self.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Medium for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let (mut state, failure) = self.begin()?;
        if state.full || failure == Some(Failure::Fault(Fault::NoSpace)) {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let id = state.new_file(name);
        let zeros = vec![0; bytes as usize];
        state.files.insert(id, Inode { durable: zeros.clone(), cache: zeros, ..Inode::default() });
        state.names_changed();
        match failure {
            Some(failure) => Err(failure.error()),
            None => Ok(Arc::new(SimFile { disk: self.clone(), id })),
        }
    }

    fn write_file(&self, name: &str, bytes: &[u8], durable: bool) -> io::Result<()> {
        {
            let (mut state, failure) = self.begin()?;
            if state.full || failure == Some(Failure::Fault(Fault::NoSpace)) {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            let id = state.new_file(name);
            let mut file = Inode { cache: bytes.to_vec(), ..Inode::default() };
            // Its size is on disk by chance, up to some point; zeros until the sectors are.
            file.durable = vec![0; bytes.len()];
            for sector in 0..bytes.len().div_ceil(SECTOR) {
                let from = sector * SECTOR;
                let to = (from + SECTOR).min(bytes.len());
                file.dirty.insert(sector, vec![bytes[from..to].to_vec()]);
            }
            file.size_unsynced = true;
            state.files.insert(id, file);
            state.names_changed();
            if let Some(failure) = failure {
                return Err(failure.error());
            }
        }
        if !durable {
            return Ok(());
        }
        let (mut state, failure) = self.begin()?;
        if let Some(failure) = failure {
            return Err(failure.error());
        }
        let id = *state.names.get(name).ok_or_else(not_found)?;
        let file = state.file(id)?;
        file.dirty.clear();
        file.durable.clone_from(&file.cache);
        file.size_unsynced = false;
        Ok(())
    }

    fn read_file(&self, name: &str) -> io::Result<Vec<u8>> {
        self.contents(name).ok_or_else(not_found)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        let state = self.lock();
        let id = *state.names.get(name).ok_or_else(not_found)?;
        Ok(Arc::new(SimFile { disk: self.clone(), id }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (mut state, failure) = self.begin()?;
        if failure.is_none_or(|f| f == Failure::Cut) {
            let id = state.names.remove(from).ok_or_else(not_found)?;
            state.names.insert(to.to_owned(), id);
            state.names_changed();
        }
        failure.map_or(Ok(()), |f| Err(f.error()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let (mut state, failure) = self.begin()?;
        if failure.is_none_or(|f| f == Failure::Cut) {
            state.names.remove(name).ok_or_else(not_found)?;
            state.names_changed();
        }
        failure.map_or(Ok(()), |f| Err(f.error()))
    }

    fn sync_folder(&self) -> io::Result<()> {
        let (mut state, failure) = self.begin()?;
        if let Some(failure) = failure {
            return Err(failure.error());
        }
        state.names_durable = state.names.clone();
        state.names_since.clear();
        Ok(())
    }

    fn space(&self) -> Option<(u64, u64)> {
        None
    }

    fn random(&self) -> u64 {
        self.lock().rng.next_u64()
    }
}

struct SimFile {
    disk: SimDisk,
    id: u64,
}

impl SegmentFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.lock().file(self.id)?.cache.len() as u64)
    }

    fn links(&self) -> io::Result<u64> {
        Ok(1)
    }

    fn write_at(&self, offset: u64, bytes: &[u8], durable: bool) -> io::Result<usize> {
        let (mut guard, failure) = self.disk.begin()?;
        let state = &mut *guard;
        if failure == Some(Failure::Fault(Fault::NoSpace)) {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let short = failure == Some(Failure::Fault(Fault::Short));
        let bytes = if short { &bytes[..bytes.len() / 2] } else { bytes };
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let end = start + bytes.len();
        let file = state.files.get_mut(&self.id).ok_or_else(not_found)?;
        if end > file.cache.len() {
            return Err(io::Error::other("a write beyond the segment's end"));
        }
        file.cache[start..end].copy_from_slice(bytes);
        let failed_write = failure == Some(Failure::Fault(Fault::Io));
        for sector in start / SECTOR..end.div_ceil(SECTOR) {
            let from = sector * SECTOR;
            let to = (from + SECTOR).min(file.cache.len());
            if failed_write {
                // fsyncgate: some sectors are on disk, all are clean in the cache.
                file.dirty.remove(&sector);
                if state.rng.one_in(2) {
                    file.durable[from..to].copy_from_slice(&file.cache[from..to]);
                }
            } else if durable && failure.is_none() {
                file.dirty.remove(&sector);
                file.durable[from..to].copy_from_slice(&file.cache[from..to]);
            } else {
                file.dirty.entry(sector).or_default().push(file.cache[from..to].to_vec());
            }
        }
        match failure {
            Some(failure) if !short => Err(failure.error()),
            _ => Ok(bytes.len()),
        }
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        let file = state.file(self.id)?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let from = file.cache.get(start..start + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(from);
        Ok(())
    }

    fn map(&self) -> io::Result<Option<Map>> {
        Ok(None)
    }

    fn fd(&self) -> Option<RawFd> {
        None
    }
}
