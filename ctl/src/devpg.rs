//! A PostgreSQL of the app's own for `dev`: no installation, no password, no port.
//!
//! ```text
//! APP/.forebay/postgres.lock      held while a forebay uses the cluster
//! APP/.forebay/postgres/data      the cluster       (data.new: while initdb makes it)
//! APP/.forebay/postgres/log       what the server said since its last start
//! APP/.forebay/postgres/run       its socket, .s.PGSQL.5432; no TCP
//! ```
//!
//! PostgreSQL refuses to run as root, so root gives the folder to the user
//! `postgres` (or `nobody`). Where that user can't reach the app folder, as below
//! /root, the folder is /var/tmp/forebay-pg-HASH instead; where the socket's path
//! would be too long (unix(7)), only the socket moves, to /tmp.
//!
//! The server dies with us: it gets SIGINT, its "fast shutdown", when it is stopped
//! and, by PR_SET_PDEATHSIG, when we crash. A server that outlived all that is
//! stopped at the next start. Everybody who may open the socket's folder (mode 0700)
//! is trusted: authentication is the file system's.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, User, chown, geteuid};

use crate::admin::SOCKET_PATH_BYTES_MAX;
use crate::process;

/// The superuser, and the only role.
pub const USER: &str = "postgres";
/// The database of the app.
pub const DATABASE: &str = "app";
/// The socket's file name: the port is a part of it even without TCP.
const SOCKET_NAME: &str = ".s.PGSQL.5432";
/// From start to ready: a crash recovery may be in between.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// For a fast shutdown; then SIGQUIT, and after as long again SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks at the server's state.
const POLL: Duration = Duration::from_millis(5);
/// Bytes of the server's log that an error shows.
const LOG_TAIL_BYTES: usize = 2000;

/// Small, quick, and nothing that a crash of the machine could corrupt: commits
/// may be lost (asynchronous), the cluster not (fsync stays on).
const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "port=5432",
    "unix_socket_permissions=0700",
    "max_connections=200",
    "shared_buffers=64MB",
    "synchronous_commit=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=256MB",
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "logging_collector=off",
    "log_min_messages=warning",
    "log_checkpoints=off",
];

/// Why there is no private PostgreSQL.
#[derive(Debug)]
pub enum DevPgError {
    /// The machine has no PostgreSQL server: install it, or name a database.
    NoBinaries,
    /// Another forebay uses this app's cluster.
    Busy(PathBuf),
    /// The cluster was made by another major version.
    Version {
        /// Of the cluster.
        cluster: String,
        /// Of the binaries.
        binaries: String,
        /// The cluster's folder.
        folder: PathBuf,
    },
    /// A program of PostgreSQL failed; with the end of what it said.
    Failed(&'static str, String),
    /// A file or folder; with what was to be done.
    Io(String, io::Error),
}

impl fmt::Display for DevPgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBinaries => f.write_str(
                "there is no PostgreSQL server on this machine (initdb and postgres, in PATH or /usr/lib/postgresql); \
                 install the package postgresql, or set [database] url",
            ),
            Self::Busy(lock) => write!(f, "another forebay uses this app's PostgreSQL ({} is locked)", lock.display()),
            Self::Version { cluster, binaries, folder } => write!(
                f,
                "the cluster in {} was made by PostgreSQL {cluster}, and this machine has {binaries}; \
                 remove the folder to start afresh (its data goes too)",
                folder.display()
            ),
            Self::Failed(what, said) => write!(f, "{what} failed:\n{}", said.trim_end()),
            Self::Io(what, error) => write!(f, "can't {what}: {error}"),
        }
    }
}

impl std::error::Error for DevPgError {}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct DevPg {
    child: Option<Child>,
    socket: PathBuf,
    /// A socket folder outside of the app, to be removed.
    extra: Option<PathBuf>,
    /// What a person should know: sentences.
    pub notes: Vec<String>,
    _lock: File,
}

/// Which folders, and who owns them.
struct Place {
    base: PathBuf,
    run: PathBuf,
    run_is_extra: bool,
    user: Option<(Uid, Gid)>,
}

impl DevPg {
    /// Makes the cluster if there is none, starts the server, waits until it takes
    /// connections. Call it on a thread that lives as long as the process: the
    /// server dies with that thread.
    ///
    /// # Errors
    /// [`DevPgError`]; then nothing runs.
    pub fn start(app: &Path) -> Result<Self, DevPgError> {
        let bin = find_binaries().ok_or(DevPgError::NoBinaries)?;
        let app = app.canonicalize().map_err(|e| DevPgError::Io(format!("find {}", app.display()), e))?;
        let state = app.join(".forebay");
        make_folder(&state, 0o755)?;
        let lock_path = state.join("postgres.lock");
        let lock = doing("open", &lock_path, OpenOptions::new().create(true).append(true).open(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(DevPgError::Busy(lock_path)),
            Err(fs::TryLockError::Error(error)) => return doing("lock", &lock_path, Err(error)),
        }
        let mut notes = Vec::new();
        let place = Place::choose(&app, &state, &mut notes)?;
        let data = place.base.join("data");
        stop_stale(&data)?;
        if data.join("PG_VERSION").exists() {
            check_version(&bin, &data)?;
        } else {
            notes.push(format!("made a PostgreSQL cluster in {}", place.base.display()));
            make_cluster(&bin, &place, &data)?;
        }
        let log = place.base.join("log");
        let child = launch(&bin, &place, &data, &log)?;
        let extra = place.run_is_extra.then(|| place.run.clone());
        // From here on `server` stops what runs, whatever happens.
        let mut server =
            Self { child: Some(child), socket: place.run.join(SOCKET_NAME), extra, notes, _lock: lock };
        server.wait_ready(&data, &log)?;
        Ok(server)
    }

    /// The socket to connect to.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// As psql and most clients take it.
    #[must_use]
    pub fn url(&self) -> String {
        url_of(self.socket.parent().unwrap_or(&self.socket))
    }

    /// The URL of the app's server that another process runs, if it is ready.
    #[must_use]
    pub fn running_url(app: &Path) -> Option<String> {
        let app = app.canonicalize().ok()?;
        let elsewhere = Path::new("/var/tmp").join(elsewhere_name(&app));
        [app.join(".forebay/postgres"), elsewhere].iter().find_map(|base| {
            let text = fs::read_to_string(base.join("data/postmaster.pid")).ok()?;
            let lines: Vec<&str> = text.lines().collect();
            // Lines 1, 5 and 8 of LOCK_FILE_LINE_* in src/include/miscadmin.h.
            let pid = Pid::from_raw(lines.first()?.trim().parse().ok()?);
            let is_ready = lines.get(7)?.trim() == "ready" && is_server_of(pid, &base.join("data"));
            is_ready.then(|| url_of(Path::new(lines.get(4).copied().unwrap_or_default())))
        })
    }

    /// The server's process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Stops the server and waits for its end: at most 25 s, mostly far below one.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn wait_ready(&mut self, data: &Path, log: &Path) -> Result<(), DevPgError> {
        let deadline = now() + START_TIMEOUT;
        loop {
            let Some(child) = &mut self.child else { return Ok(()) };
            let ended = doing("wait for", data, child.try_wait())?;
            if ended.is_some() {
                self.child = None;
                return Err(DevPgError::Failed("postgres", tail(log)));
            }
            if is_ready(data, child.id()) {
                return Ok(());
            }
            if now() > deadline {
                return Err(DevPgError::Failed("postgres (not ready in a minute)", tail(log)));
            }
            std::thread::sleep(POLL);
        }
    }

    fn shut_down(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = Pid::from_raw(child.id().cast_signed());
            end(pid, || !matches!(child.try_wait(), Ok(None)));
        }
        if let Some(extra) = self.extra.take() {
            let _ = fs::remove_dir_all(extra);
        }
    }
}

impl Drop for DevPg {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// Fast shutdown, immediate shutdown, kill (PostgreSQL manual, "Shutting Down the Server").
fn end(pid: Pid, mut is_gone: impl FnMut() -> bool) {
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL] {
        let _ = kill(pid, signal);
        let deadline = now() + STOP_TIMEOUT;
        while now() < deadline {
            if is_gone() {
                return;
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Place {
    fn choose(app: &Path, state: &Path, notes: &mut Vec<String>) -> Result<Self, DevPgError> {
        let user = if geteuid().is_root() { Some(server_user()?) } else { None };
        let name = elsewhere_name(app);
        let mut base = state.join("postgres");
        if let Some((uid, gid)) = user
            && !can_reach(state, uid, gid)
        {
            base = Path::new("/var/tmp").join(&name);
            notes.push(format!(
                "PostgreSQL doesn't run as root, and its user can't reach {}; its cluster is in {}",
                state.display(),
                base.display()
            ));
        }
        own_folder(&base, user)?;
        let mut run = base.join("run");
        let run_is_extra = !is_good_socket_folder(&run);
        if run_is_extra {
            run = Path::new("/tmp").join(&name);
        }
        own_folder(&run, user)?;
        Ok(Self { base, run, run_is_extra, user })
    }

    /// A program of PostgreSQL, as its user, with nothing of our environment.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir(&self.base);
        process::tie(&mut command, self.user, Signal::SIGINT);
        command
    }
}

/// `postgres`, else `nobody`.
fn server_user() -> Result<(Uid, Gid), DevPgError> {
    for name in ["postgres", "nobody"] {
        if let Ok(Some(user)) = User::from_name(name) {
            return Ok((user.uid, user.gid));
        }
    }
    Err(DevPgError::Failed(
        "the search for a user",
        "PostgreSQL doesn't run as root, and there is no user postgres or nobody".to_owned(),
    ))
}

fn url_of(socket_folder: &Path) -> String {
    let encoded: String = socket_folder
        .as_os_str()
        .as_bytes()
        .iter()
        .map(|&b| match b {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect();
    format!("postgres://{USER}@{encoded}/{DATABASE}")
}

/// The name of what can't be in the app folder.
fn elsewhere_name(app: &Path) -> String {
    format!("forebay-pg-{:016x}", hash(app.as_os_str().as_bytes()))
}

/// Whether a user may pass through a folder and all above it, by their modes
/// (access control lists are not looked at; where they forbid it, the server's log says so).
fn can_reach(folder: &Path, uid: Uid, gid: Gid) -> bool {
    folder.ancestors().all(|folder| {
        fs::metadata(folder).is_ok_and(|meta| {
            let shift = if meta.uid() == uid.as_raw() {
                6
            } else if meta.gid() == gid.as_raw() {
                3
            } else {
                0
            };
            meta.mode() >> shift & 1 == 1
        })
    })
}

/// Short enough for a socket address, and without what has a meaning in a list of folders.
fn is_good_socket_folder(folder: &Path) -> bool {
    let bytes = folder.as_os_str().as_bytes();
    bytes.len() + 1 + SOCKET_NAME.len() <= SOCKET_PATH_BYTES_MAX
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"/-_.+@~".contains(b))
}

fn make_folder(folder: &Path, mode: u32) -> Result<(), DevPgError> {
    doing("make", folder, fs::DirBuilder::new().recursive(true).mode(mode).create(folder))
}

/// A folder of the server's user that nobody else may enter. One that is there
/// already must be ours: /tmp and /var/tmp are everybody's.
fn own_folder(folder: &Path, user: Option<(Uid, Gid)>) -> Result<(), DevPgError> {
    let owner = user.map_or_else(geteuid, |(uid, _)| uid);
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {
            if let Some((uid, gid)) = user {
                doing("give away", folder, chown(folder, Some(uid), Some(gid)).map_err(io::Error::from))?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let meta = doing("look at", folder, fs::symlink_metadata(folder))?;
            let root_made_it = user.is_some() && meta.uid() == 0;
            if !meta.is_dir() || !(meta.uid() == owner.as_raw() || root_made_it) {
                let error = io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to somebody else");
                return doing("use", folder, Err(error));
            }
            if root_made_it && let Some((uid, gid)) = user {
                doing("give away", folder, chown(folder, Some(uid), Some(gid)).map_err(io::Error::from))?;
            }
            doing("protect", folder, fs::set_permissions(folder, fs::Permissions::from_mode(0o700)))?;
        }
        Err(error) => return doing("make", folder, Err(error)),
    }
    Ok(())
}

/// The folder that has both programs: of PATH, else the newest of the usual ones.
fn find_binaries() -> Option<PathBuf> {
    let is_complete =
        |folder: &PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(folder) = std::env::split_paths(&path).find(is_complete) {
        return Some(folder);
    }
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    let entries = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    for entry in entries {
        // Debian: /usr/lib/postgresql/15/bin
        if let Some(version) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push((version, entry.path().join("bin")));
        }
    }
    let entries = fs::read_dir("/usr").into_iter().flatten().flatten();
    for entry in entries {
        // Red Hat: /usr/pgsql-15/bin
        let version = entry.file_name().to_str().and_then(|name| name.strip_prefix("pgsql-")?.parse().ok());
        if let Some(version) = version {
            found.push((version, entry.path().join("bin")));
        }
    }
    found.retain(|(_, folder)| is_complete(folder));
    found.sort();
    found.pop().map(|(_, folder)| folder).or_else(|| Some("/usr/local/pgsql/bin".into()).filter(is_complete))
}

fn check_version(bin: &Path, data: &Path) -> Result<(), DevPgError> {
    let path = data.join("PG_VERSION");
    let cluster = doing("read", &path, fs::read_to_string(&path))?.trim().to_owned();
    let output = doing("run", bin, Command::new(bin.join("postgres")).arg("--version").output())?;
    // "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let full = text.split_ascii_whitespace().nth(2).unwrap_or_default();
    let binaries = full.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().to_owned();
    if cluster == binaries {
        return Ok(());
    }
    let folder = data.parent().unwrap_or(data).to_owned();
    Err(DevPgError::Version { cluster, binaries, folder })
}

/// initdb beside, then rename: a cluster that is there is complete.
fn make_cluster(bin: &Path, place: &Place, data: &Path) -> Result<(), DevPgError> {
    let fresh = place.base.join("data.new");
    if data.exists() {
        // Never ours: it is renamed whole. Somebody's damaged data isn't removed.
        let text = format!("{} has no PG_VERSION; remove it to start afresh", data.display());
        return Err(DevPgError::Failed("the look at the cluster", text));
    }
    if fresh.exists() {
        doing("remove", &fresh, fs::remove_dir_all(&fresh))?;
    }
    let mut initdb = place.command(&bin.join("initdb"));
    initdb
        .args(["--username", USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"])
        .arg(&fresh);
    run("initdb", &mut initdb, "")?;
    // Single-user mode: no client program is needed to make the database.
    let mut single = place.command(&bin.join("postgres"));
    single.args(["--single", "-j", "-D"]).arg(&fresh).arg("postgres");
    run("postgres --single", &mut single, &format!("CREATE DATABASE {DATABASE};\n\n"))?;
    doing("rename", &fresh, fs::rename(&fresh, data))
}

/// Runs to the end with `input`; its words become the error.
fn run(what: &'static str, command: &mut Command, input: &str) -> Result<(), DevPgError> {
    let failed = |error: io::Error| DevPgError::Failed(what, error.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    // Dropped at once: the end of its input is the end of its work.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // Single-user mode reports a failed statement, but ends with 0.
    if output.status.success() && !said.contains("ERROR:") && !said.contains("FATAL:") {
        return Ok(());
    }
    Err(DevPgError::Failed(what, format!("{said}({})", output.status)))
}

fn launch(bin: &Path, place: &Place, data: &Path, log: &Path) -> Result<Child, DevPgError> {
    // The folder is the server's: a link there must not lead root elsewhere.
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let out = doing("write", log, options.open(log))?;
    let error = doing("write", log, out.try_clone())?;
    let mut command = place.command(&bin.join("postgres"));
    command.arg("-D").arg(data).stdin(Stdio::null()).stdout(out).stderr(error);
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command.arg("-c").arg(format!("unix_socket_directories={}", place.run.display()));
    doing("start", &bin.join("postgres"), command.spawn())
}

/// Line 8 of postmaster.pid, which pg_ctl waits for as well (src/include/miscadmin.h,
/// LOCK_FILE_LINE_PM_STATUS); line 1 is the process, so that an old file isn't believed.
fn is_ready(data: &Path, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else { return false };
    let mut lines = text.lines();
    lines.next() == Some(pid.to_string().as_str()) && lines.nth(6).is_some_and(|line| line.trim() == "ready")
}

/// Ends a server that outlived its forebay (we hold the lock, so nobody uses it),
/// and removes a postmaster.pid whose number some other process has by now.
fn stop_stale(data: &Path) -> Result<(), DevPgError> {
    let path = data.join("postmaster.pid");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return doing("read", &path, Err(error)),
    };
    let pid = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()).filter(|&pid| pid > 1);
    if let Some(pid) = pid.map(Pid::from_raw)
        && is_server_of(pid, data)
    {
        end(pid, || kill(pid, None) == Err(Errno::ESRCH) || !is_server_of(pid, data));
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => doing("remove", &path, Err(error)),
        _ => Ok(()),
    }
}

/// The server works in its data folder (postmaster.c, checkDataDir and ChangeToDataDir).
fn is_server_of(pid: Pid, data: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let is_postgres =
        fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim_end() == "postgres");
    let data = data.canonicalize();
    is_postgres
        && data.is_ok_and(|data| fs::read_link(process.join("cwd")).is_ok_and(|folder| folder == data))
}

fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned()
}

fn doing<T>(verb: &str, path: &Path, result: io::Result<T>) -> Result<T, DevPgError> {
    result.map_err(|error| DevPgError::Io(format!("{verb} {}", path.display()), error))
}

/// FNV-1a, 64 bits: a name for a path; nothing depends on its strength.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "timeouts of a child process, on no core's thread")]
    Instant::now()
}

#[cfg(test)]
mod tests;
