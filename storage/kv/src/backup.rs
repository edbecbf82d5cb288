//! Backups: the log is sealed, and its sealed segments are linked into another folder. Writes go on.
//!
//! What is sealed never changes: a segment with another link isn't recycled. So a backup costs no
//! space until the store has compacted away what it holds, and it can be opened like any data folder.

use std::path::Path;
use std::sync::Arc;

use crate::api::{Error, Unavailable};
use crate::hint;
use crate::segment::SUFFIX;
use crate::store::{Store, lock};

/// What a backup consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Segment files.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Seals the segment that is written to, so that it can be compacted or linked; writes go on in the next.
    ///
    /// # Errors
    /// As [`Store::backup`].
    pub fn seal(self: &Arc<Self>) -> Result<(), Error> {
        let _one = lock(&self.maintenance);
        self.seal_locked()
    }

    fn seal_locked(self: &Arc<Self>) -> Result<(), Error> {
        self.prepare()?;
        {
            let mut log = self.lock_log();
            if let Some(why) = log.stopped {
                return Err(Error::Unavailable(why));
            }
            if !log.seal() {
                return Err(Error::Unavailable(Unavailable::NoSpace));
            }
        }
        self.flush()
    }

    /// Writes a backup of this moment into `folder`, which must not exist or be empty: links where it is on the
    /// same file system, else copies. It holds everything that was acknowledged before the call.
    ///
    /// # Errors
    /// [`Error::Config`] if the folder isn't empty; [`Error::NoSpace`], [`Error::Io`]; [`Error::Unavailable`] if
    /// the store doesn't take writes, or has no segment to go on in.
    pub fn backup(self: &Arc<Self>, folder: &Path) -> Result<Backup, Error> {
        // Nothing is compacted, recycled or removed meanwhile.
        let _one = lock(&self.maintenance);
        self.seal_locked()?;
        let until = self.lock_log().active.header.id;
        let names: Vec<String> = {
            let index = self.read_index();
            let sealed = index.segments().filter(|(segment, _)| segment.header.id < until);
            // With their hints, where they have any: else the first open of the backup reads everything.
            let files =
                sealed.flat_map(|(segment, _)| [segment.name.clone(), hint::name_of(segment.header.id)]);
            files.collect()
        };
        copy_segments(&self.config.folder, folder, &names, true)
    }
}

/// Copies the segments of the backup at `from` to the new data folder `to`, durably.
///
/// # Errors
/// [`Error::Config`] if there is nothing to restore, or `to` isn't empty; [`Error::NoSpace`], [`Error::Io`].
pub fn restore(from: &Path, to: &Path) -> Result<Backup, Error> {
    let entries = std::fs::read_dir(from).map_err(|e| Error::io(format!("reading {}", from.display()), e))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(SUFFIX) || name.ends_with(hint::SUFFIX))
        .collect();
    names.sort_unstable();
    if !names.iter().any(|name| name.ends_with(SUFFIX)) {
        return Err(Error::Config { what: format!("{} has no segments", from.display()) });
    }
    copy_segments(from, to, &names, false)
}

fn copy_segments(from: &Path, to: &Path, names: &[String], link: bool) -> Result<Backup, Error> {
    let io = |what: &str, path: &Path, e| Error::io(format!("{what} {}", path.display()), e);
    std::fs::create_dir_all(to).map_err(|e| io("creating", to, e))?;
    let mut entries = std::fs::read_dir(to).map_err(|e| io("reading", to, e))?;
    if entries.next().is_some() {
        return Err(Error::Config { what: format!("{} is not empty", to.display()) });
    }
    let mut backup = Backup { segments: 0, bytes: 0 };
    for name in names {
        let (source, target) = (from.join(name), to.join(name));
        if name.ends_with(hint::SUFFIX) {
            // Not needed, and not counted.
            if !link || std::fs::hard_link(&source, &target).is_err() {
                let _ = std::fs::copy(&source, &target);
            }
            continue;
        }
        if !link || std::fs::hard_link(&source, &target).is_err() {
            // Another file system, or one without links.
            std::fs::copy(&source, &target).map_err(|e| io("copying", &source, e))?;
            let file = std::fs::File::open(&target).map_err(|e| io("opening", &target, e))?;
            file.sync_all().map_err(|e| io("syncing", &target, e))?;
        }
        backup.segments += 1;
        backup.bytes += std::fs::metadata(&target).map_err(|e| io("reading", &target, e))?.len();
    }
    let folder = std::fs::File::open(to).map_err(|e| io("opening", to, e))?;
    folder.sync_all().map_err(|e| io("syncing", to, e))?;
    Ok(backup)
}
