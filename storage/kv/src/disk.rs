//! The real medium: a data folder on a file system, locked for one process.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::api::Error;
use crate::map::Map;
use crate::medium::{Medium, SegmentFile};
use crate::sys;

/// The file whose flock(2) says that a process has the folder open. Its text is
/// the holder's process id.
pub(crate) const LOCK_FILE: &str = "LOCK";
/// Zeros are written in pieces of this many bytes, which become the folios of the page cache: larger ones than a page,
/// so that faults of the map are fewer. Not huge ones: each synced write would pay for all the pages of the folio it
/// is in (docs/decisions/0250-folios-of-256-kib.md).
const ZERO_BYTES: usize = 256 * 1024;

/// A data folder on a file system. Holds its lock until dropped.
#[derive(Debug)]
pub struct DiskFolder {
    path: PathBuf,
    folder: File,
    /// Unlocked by the kernel when it closes, also after kill -9.
    _lock: File,
}

impl DiskFolder {
    /// Opens or creates (mode 0700) the folder and locks it.
    ///
    /// # Errors
    /// [`Error::Locked`] names the process that has it open.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let what = |verb: &str| format!("{verb} data folder {}", path.display());
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {
                let parent = match path.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => parent,
                    _ => Path::new("."),
                };
                let parent = File::open(parent).map_err(|e| Error::io(what("opening the parent of"), e))?;
                parent.sync_all().map_err(|e| Error::io(what("syncing the parent of"), e))?;
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::io(what("creating"), e)),
        }
        let folder = File::open(path).map_err(|e| Error::io(what("opening"), e))?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK_FILE))
            .map_err(|e| Error::io(what("opening the lock of"), e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = (&lock).take(64).read_to_string(&mut text);
                let holder = text.trim();
                let holder = if holder.is_empty() { "(unknown)" } else { holder }.to_owned();
                return Err(Error::Locked { folder: path.to_owned(), holder });
            }
            Err(TryLockError::Error(e)) => return Err(Error::io(what("locking"), e)),
        }
        // The id is for people; a full disk must not keep the store from opening.
        let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(Self { path: path.to_owned(), folder, _lock: lock })
    }

    fn file(&self, name: &str, options: &mut OpenOptions) -> io::Result<File> {
        options.read(true).write(true).mode(0o600).open(self.path.join(name))
    }
}

impl Medium for DiskFolder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str, bytes: u32) -> io::Result<Arc<dyn SegmentFile>> {
        // A leftover of an attempt that failed may have the name.
        let file = self.file(name, OpenOptions::new().create(true).truncate(true))?;
        let fill = || {
            match sys::allocate(&file, bytes) {
                // A file system without fallocate: the zeros allocate.
                Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                other => other?,
            }
            let zeros = vec![0; ZERO_BYTES];
            let mut at = 0u64;
            while at < u64::from(bytes) {
                let piece = usize::try_from(u64::from(bytes) - at).unwrap_or(ZERO_BYTES).min(ZERO_BYTES);
                file.write_all_at(&zeros[..piece], at)?;
                at += piece as u64;
            }
            file.sync_all()
        };
        match fill() {
            Ok(()) => Ok(Arc::new(DiskFile { file })),
            Err(e) => {
                let _ = self.remove(name);
                Err(e)
            }
        }
    }

    fn write_file(&self, name: &str, bytes: &[u8], durable: bool) -> io::Result<()> {
        let mut file = self.file(name, OpenOptions::new().create(true).truncate(true))?;
        file.write_all(bytes)?;
        if durable { file.sync_data() } else { Ok(()) }
    }

    fn read_file(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.path.join(name))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(DiskFile { file: self.file(name, &mut OpenOptions::new())? }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_all()
    }

    fn space(&self) -> Option<(u64, u64)> {
        sys::space(&self.folder).ok()
    }

    fn random(&self) -> u64 {
        // The standard library's hasher is seeded by the kernel's randomness.
        std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), &self.path)
    }
}

#[derive(Debug)]
struct DiskFile {
    file: File,
}

impl SegmentFile for DiskFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn links(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.nlink())
    }

    fn write_at(&self, offset: u64, bytes: &[u8], durable: bool) -> io::Result<usize> {
        if durable {
            sys::write_durable(&self.file, offset, bytes)
        } else {
            self.file.write_at(bytes, offset)
        }
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    fn map(&self) -> io::Result<Option<Map>> {
        Map::new(&self.file).map(Some)
    }

    fn fd(&self) -> Option<RawFd> {
        Some(self.file.as_raw_fd())
    }
}
