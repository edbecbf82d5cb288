//! Which files of an app changed, for `dev`: inotify(7) on the folders that an app
//! has, debounced, so that one save is one change however the editor saves.
//!
//! ```text
//! APP (only forebay.toml, openapi.yaml, and whether a folder appears)
//! APP/blueprints/**  lib/**  public/**  sql/**  migrations/**
//! ```
//!
//! A change counts when a file is complete: closed after writing, moved into place
//! (editors write a temporary file and rename it), linked, or removed. Temporary and
//! hidden files don't count. When the kernel's queue overflows, or a folder is
//! moved, [`Changes::everything`] says so: reload all.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

/// Quiet time after which changes are given out.
pub const QUIET: Duration = Duration::from_millis(10);
/// Longest time that changes are held back while more come.
pub const HOLD_MAX: Duration = Duration::from_millis(50);
/// Folders watched. Beyond it: an error that says so.
pub const FOLDER_COUNT_MAX: usize = 8192;

/// Folders of an app that are watched with everything below them.
const FOLDERS: &[&str] = &["blueprints", "lib", "public", "sql", "migrations"];
/// Files of an app that are watched.
const FILES: &[&str] = &["forebay.toml", "openapi.yaml"];

/// What changed since the last answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Paths relative to the app folder; files that were written, added or removed.
    pub paths: BTreeSet<PathBuf>,
    /// More changed than `paths` says.
    pub everything: bool,
}

impl Changes {
    /// Nothing that counts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.everything
    }

    /// Whether something below `folder` (as `blueprints`) or the file `folder` changed.
    #[must_use]
    pub fn touches(&self, folder: &str) -> bool {
        self.everything || self.paths.iter().any(|path| path.starts_with(folder))
    }
}

/// Watches one app folder.
#[derive(Debug)]
pub struct Watcher {
    inotify: Inotify,
    app: PathBuf,
    /// Watched folders, relative to the app; the app itself is "".
    folders: BTreeMap<WatchDescriptor, PathBuf>,
}

impl Watcher {
    /// Starts watching. Folders of the app that are missing are watched once they appear.
    ///
    /// # Errors
    /// If the app folder can't be watched, or the kernel's limits are used up
    /// (fs.inotify.max_user_watches: the error says so).
    pub fn new(app: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut watcher = Self { inotify, app: app.to_owned(), folders: BTreeMap::new() };
        watcher.watch(Path::new(""))?;
        for folder in FOLDERS {
            watcher.add(Path::new(folder), &mut Changes::default())?;
        }
        Ok(watcher)
    }

    /// Waits for changes, at most `timeout`; empty changes after that.
    ///
    /// # Errors
    /// As [`Watcher::new`], when folders are added; and if the app folder is gone.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Changes> {
        let mut changes = Changes::default();
        let give_up = now() + timeout;
        while changes.is_empty() {
            if !self.poll(give_up.saturating_duration_since(now()))? {
                return Ok(changes);
            }
            self.read(&mut changes)?;
        }
        let hold = now() + HOLD_MAX;
        while self.poll(QUIET.min(hold.saturating_duration_since(now())))? {
            self.read(&mut changes)?;
        }
        Ok(changes)
    }

    /// Whether there is something to read within `timeout`.
    fn poll(&self, timeout: Duration) -> io::Result<bool> {
        // Rounded up: a timeout of 0 ms would spin through the last millisecond.
        let millis = timeout.as_nanos().div_ceil(1_000_000);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(count) => Ok(count > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn read(&mut self, changes: &mut Changes) -> io::Result<()> {
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    for event in events {
                        self.take(&event, changes)?;
                    }
                }
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn take(&mut self, event: &InotifyEvent, changes: &mut Changes) -> io::Result<()> {
        let has = |flags| event.mask.intersects(flags);
        if has(AddWatchFlags::IN_Q_OVERFLOW) {
            // Folders may have come and gone unseen: start over.
            changes.everything = true;
            *self = Self::new(&self.app)?;
            return Ok(());
        }
        if has(AddWatchFlags::IN_IGNORED) {
            self.folders.remove(&event.wd);
            return Ok(());
        }
        // An event of a watch that is gone.
        let Some(folder) = self.folders.get(&event.wd).cloned() else { return Ok(()) };
        if has(AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF) {
            if folder.as_os_str().is_empty() {
                let text = format!("the app folder {} is gone", self.app.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
            return Ok(());
        }
        let Some(name) = event.name.as_deref() else { return Ok(()) };
        let path = folder.join(name);
        let top = folder.as_os_str().is_empty();
        let is_folder = has(AddWatchFlags::IN_ISDIR);
        let counts = match (top, is_folder) {
            (true, true) => FOLDERS.iter().any(|known| name == *known),
            (true, false) => {
                FILES.iter().any(|known| name == *known) || FOLDERS.iter().any(|known| name == *known)
            }
            (false, _) => !is_temporary(name),
        };
        if !counts {
            return Ok(());
        }
        if is_folder && has(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO) {
            return self.add(&path, changes);
        }
        if is_folder && has(AddWatchFlags::IN_MOVED_FROM | AddWatchFlags::IN_DELETE) {
            self.remove(&path);
            changes.everything = true;
            return Ok(());
        }
        if has(AddWatchFlags::IN_CREATE) && !is_complete_at_birth(&self.app.join(&path)) {
            return Ok(());
        }
        if top && FOLDERS.iter().any(|known| name == *known) {
            // A link to a folder, in place of one of ours.
            changes.everything = true;
            return self.add(&path, changes);
        }
        changes.paths.insert(path);
        Ok(())
    }

    /// Watches a folder and everything below it; the files there count as changed.
    fn add(&mut self, folder: &Path, changes: &mut Changes) -> io::Result<()> {
        let mut todo = vec![folder.to_owned()];
        while let Some(folder) = todo.pop() {
            if !self.watch(&folder)? {
                continue;
            }
            // After the watch: what appears in between is seen twice, not never.
            let Ok(entries) = std::fs::read_dir(self.app.join(&folder)) else { continue };
            for entry in entries.flatten().filter(|entry| !is_temporary(&entry.file_name())) {
                let path = folder.join(entry.file_name());
                // Links to folders are not followed below the top: they can be circles.
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => todo.push(path),
                    Ok(_) => {
                        changes.paths.insert(path);
                    }
                    Err(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Watches one folder; false if there is none.
    fn watch(&mut self, folder: &Path) -> io::Result<bool> {
        if self.folders.len() >= FOLDER_COUNT_MAX {
            return Err(io::Error::other(format!("more than {FOLDER_COUNT_MAX} folders to watch")));
        }
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let path = self.app.join(folder);
        match self.inotify.add_watch(if folder.as_os_str().is_empty() { &self.app } else { &path }, flags) {
            Ok(descriptor) => {
                self.folders.insert(descriptor, folder.to_owned());
                Ok(true)
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) if !folder.as_os_str().is_empty() => Ok(false),
            Err(Errno::ENOSPC) => Err(io::Error::other(
                "the kernel watches no more folders for this user; raise fs.inotify.max_user_watches",
            )),
            Err(errno) => Err(io::Error::new(
                io::Error::from(errno).kind(),
                format!("can't watch {}: {}", path.display(), errno.desc()),
            )),
        }
    }

    /// Forgets a folder that was moved away: its watches would go on, under old names.
    fn remove(&mut self, folder: &Path) {
        let gone: Vec<_> =
            self.folders.iter().filter(|(_, path)| path.starts_with(folder)).map(|(wd, _)| *wd).collect();
        for descriptor in gone {
            self.folders.remove(&descriptor);
            // EINVAL: the kernel has removed it already, with its folder.
            let _ = self.inotify.rm_watch(descriptor);
        }
    }
}

/// Files that editors and tools make on the way: hidden ones, `x~`, `#x#`, `x.swp`,
/// `x.tmp`, and vim's `4913`.
fn is_temporary(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b".")
        || name.ends_with(b"~")
        || (name.starts_with(b"#") && name.ends_with(b"#"))
        || [&b".swp"[..], b".swx", b".tmp"].iter().any(|end| name.ends_with(end))
        || name == b"4913"
}

/// Links are complete when they appear; a file that was just opened for writing is
/// complete when it is closed, which is an event of its own.
fn is_complete_at_birth(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_symlink() || meta.nlink() > 1)
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "debouncing in dev, on a thread that is no core's")]
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Bed {
        folder: tempfile::TempDir,
        watcher: Watcher,
    }

    impl Bed {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("blueprints/deep")).unwrap();
            fs::write(folder.path().join("blueprints/a.js"), "1").unwrap();
            let watcher = Watcher::new(folder.path()).unwrap();
            Self { folder, watcher }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// Exactly these paths change, within the promised 100 ms (with reserve for
        /// a machine that is busy testing).
        #[track_caller]
        fn check(&mut self, expected: &[&str]) {
            let start = now();
            let changes = self.watcher.wait(Duration::from_secs(5)).unwrap();
            let took = start.elapsed();
            assert!(!changes.everything, "{changes:?}");
            let expected: BTreeSet<_> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(changes.paths, expected);
            assert!(took < Duration::from_secs(1), "{took:?}");
            self.check_quiet();
        }

        #[track_caller]
        fn check_quiet(&mut self) {
            assert_eq!(self.watcher.wait(Duration::from_millis(40)).unwrap(), Changes::default());
        }
    }

    #[test]
    fn saves_of_every_kind_are_one_change() {
        let mut bed = Bed::new();
        bed.check_quiet();
        // In place, in pieces.
        let mut file = fs::File::create(bed.path("blueprints/a.js")).unwrap();
        for _ in 0..10 {
            io::Write::write_all(&mut file, b"x").unwrap();
        }
        drop(file);
        bed.check(&["blueprints/a.js"]);
        // Write and rename, as vim and most others do, backup included.
        fs::write(bed.path("blueprints/4913"), "").unwrap();
        fs::remove_file(bed.path("blueprints/4913")).unwrap();
        fs::rename(bed.path("blueprints/a.js"), bed.path("blueprints/a.js~")).unwrap();
        fs::write(bed.path("blueprints/a.js"), "2").unwrap();
        fs::remove_file(bed.path("blueprints/a.js~")).unwrap();
        bed.check(&["blueprints/a.js"]);
        fs::write(bed.path("blueprints/.a.js.tmp"), "3").unwrap();
        fs::rename(bed.path("blueprints/.a.js.tmp"), bed.path("blueprints/a.js")).unwrap();
        bed.check(&["blueprints/a.js"]);
        // Several files at once.
        fs::write(bed.path("blueprints/b.js"), "1").unwrap();
        fs::write(bed.path("blueprints/deep/c.js"), "1").unwrap();
        fs::write(bed.path("forebay.toml"), "").unwrap();
        bed.check(&["blueprints/b.js", "blueprints/deep/c.js", "forebay.toml"]);
        // Removed, renamed, linked.
        fs::remove_file(bed.path("blueprints/b.js")).unwrap();
        bed.check(&["blueprints/b.js"]);
        fs::rename(bed.path("blueprints/a.js"), bed.path("blueprints/z.js")).unwrap();
        bed.check(&["blueprints/a.js", "blueprints/z.js"]);
        std::os::unix::fs::symlink("z.js", bed.path("blueprints/link.js")).unwrap();
        bed.check(&["blueprints/link.js"]);
        fs::hard_link(bed.path("blueprints/z.js"), bed.path("blueprints/hard.js")).unwrap();
        bed.check(&["blueprints/hard.js"]);
    }

    #[test]
    fn what_does_not_count() {
        let mut bed = Bed::new();
        fs::write(bed.path("README.md"), "x").unwrap();
        fs::create_dir_all(bed.path(".forebay/data")).unwrap();
        fs::write(bed.path(".forebay/data/x"), "x").unwrap();
        fs::write(bed.path("blueprints/.a.js.swp"), "x").unwrap();
        fs::write(bed.path("blueprints/#a.js#"), "x").unwrap();
        fs::create_dir(bed.path("blueprints/.git")).unwrap();
        fs::write(bed.path("blueprints/.git/x"), "x").unwrap();
        // Opened for writing but not closed yet.
        let file = fs::File::create(bed.path("blueprints/half.js")).unwrap();
        bed.check_quiet();
        drop(file);
        bed.check(&["blueprints/half.js"]);
        fs::read(bed.path("blueprints/a.js")).unwrap();
        bed.check_quiet();
    }

    #[test]
    fn folders_come_and_go() {
        let mut bed = Bed::new();
        fs::create_dir_all(bed.path("lib/x/y")).unwrap();
        fs::write(bed.path("lib/x/y/m.js"), "1").unwrap();
        bed.check(&["lib/x/y/m.js"]);
        fs::write(bed.path("lib/x/y/m.js"), "2").unwrap();
        bed.check(&["lib/x/y/m.js"]);
        // A folder moved in, with content; its new names count from then on.
        fs::create_dir_all(bed.path("outside/in")).unwrap();
        fs::write(bed.path("outside/in/n.js"), "1").unwrap();
        fs::rename(bed.path("outside"), bed.path("lib/inside")).unwrap();
        bed.check(&["lib/inside/in/n.js"]);
        fs::rename(bed.path("lib/inside"), bed.path("lib/other")).unwrap();
        assert!(bed.watcher.wait(Duration::from_secs(5)).unwrap().everything);
        fs::write(bed.path("lib/other/in/n.js"), "2").unwrap();
        bed.check(&["lib/other/in/n.js"]);
        // Moved out: no longer ours.
        fs::rename(bed.path("lib/other"), bed.path("away")).unwrap();
        assert!(bed.watcher.wait(Duration::from_secs(5)).unwrap().everything);
        fs::write(bed.path("away/in/n.js"), "3").unwrap();
        bed.check_quiet();
        // Removed and made again.
        fs::remove_dir_all(bed.path("lib")).unwrap();
        assert!(bed.watcher.wait(Duration::from_secs(5)).unwrap().everything);
        fs::create_dir(bed.path("lib")).unwrap();
        fs::write(bed.path("lib/new.js"), "1").unwrap();
        bed.check(&["lib/new.js"]);
    }

    #[test]
    fn a_storm_is_held_back_but_not_for_ever() {
        let mut bed = Bed::new();
        let target = bed.path("blueprints/a.js");
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    fs::write(&target, "x").unwrap();
                }
            });
            for _ in 0..5 {
                let start = now();
                let changes = bed.watcher.wait(Duration::from_secs(5)).unwrap();
                assert!(changes.everything || changes.touches("blueprints"));
                assert!(start.elapsed() < Duration::from_secs(2));
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn the_app_folder_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let app = folder.path().join("app");
        assert!(Watcher::new(&app).is_err());
        fs::create_dir(&app).unwrap();
        let mut watcher = Watcher::new(&app).unwrap();
        fs::remove_dir(&app).unwrap();
        let error = watcher.wait(Duration::from_secs(5)).unwrap_err();
        assert!(error.to_string().contains("is gone"), "{error}");
    }
}
