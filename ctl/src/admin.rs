//! The admin socket: HTTP/1.1 and JSON over a unix socket, mode 0660.
//!
//! ```text
//! curl --unix-socket APP/.forebay/admin.sock http://forebay/v1/status
//!
//! GET  /v1/status /v1/routes /v1/topology   JSON          POST /v1/deploy /v1/drain   JSON
//! GET  /v1/metrics                          text          errors: RFC 9457 problem details
//! ```
//!
//! It runs on threads of its own and never on a core's: a request here can't delay
//! a request there. The runtime implements [`Control`]; [`server`] knows nothing else
//! of it. Peers are known by SO_PEERCRED (unix(7)): root, our own user, and members
//! of the socket's group.

pub mod client;
pub mod eval;
pub mod server;
pub mod store;
pub mod task;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// Bytes of a request's head. Beyond it: 431.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Header fields of a request. Beyond it: 431.
pub const HEADER_COUNT_MAX: usize = 32;
/// Bytes of a request's body. Beyond it: 413.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an answer that the client reads.
pub const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Requests at a time. Beyond it: 503.
pub const PEERS_MAX: usize = 8;
/// For a whole request to arrive, and for an answer to be taken. Then: close.
pub const PEER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the client waits for an answer: a deploy compiles an app.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of a socket's path without its terminating zero (unix(7): sun_path is 108).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// What the admin socket can ask of the runtime. Called on the admin threads,
/// several at a time; each method may block.
pub trait Control: Send + Sync + 'static {
    /// `version`, `generation`, `uptime_seconds`, `cores` (a list), and what else a person looks at first.
    fn status(&self) -> Value;
    /// `routes`: a list of objects with `method`, `path`, `blueprint`.
    fn routes(&self) -> Value;
    /// Prometheus text: [`crate::metrics::Metrics`].
    fn metrics(&self) -> String;
    /// `topology` and `plan`: the `describe()` of forebay-tuning.
    fn topology(&self) -> Value;
    /// Loads the app folder; returns once every core has adopted the generation.
    ///
    /// # Errors
    /// Why none has adopted it.
    fn deploy(&self) -> Result<Value, ControlError>;
    /// Starts a drain; returns at once.
    ///
    /// # Errors
    /// Not expected.
    fn drain(&self) -> Result<Value, ControlError>;
    /// One command on the store: `command` is the request's JSON (docs/ADMIN.md).
    ///
    /// # Errors
    /// 400 if the command isn't one, 422 if the store refuses it, 503 if it takes no writes.
    fn kv(&self, command: &Value) -> Result<Value, ControlError>;
    /// One command about durable tasks: `command` is the request's JSON (docs/ADMIN.md).
    ///
    /// # Errors
    /// 400 if the command isn't one, 404 without such a task, 409 if it can't be done to it now, 503 later.
    fn task(&self, command: &Value) -> Result<Value, ControlError>;
    /// Runs S-expressions on the store: `command` is `{"text": ...}`.
    ///
    /// # Errors
    /// 400 if there is no text, 422 with a code frame if it doesn't compile or fails.
    fn eval(&self, command: &Value) -> Result<Value, ControlError>;
}

/// A command that was understood and refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlError {
    /// HTTP status: 409 (not now), 422 (the app doesn't compile), 500, 503.
    pub status: u16,
    /// Stable, as in `deploy/compile`: the problem's `code`.
    pub code: &'static str,
    /// For a person; may hold code frames and several lines: the problem's `detail`.
    pub detail: String,
}

/// Where the server of `app` listens if nothing says otherwise: `$RUNTIME_DIRECTORY`
/// (systemd makes it), else the app folder.
#[must_use]
pub fn default_server_path(app: &Path) -> PathBuf {
    match std::env::var_os("RUNTIME_DIRECTORY") {
        Some(folder) if !folder.is_empty() => {
            // systemd.exec(5): several are separated by colons; ours is the first.
            let first = folder.as_bytes().split(|b| *b == b':').next().unwrap_or_default();
            Path::new(std::ffi::OsStr::from_bytes(first)).join("admin.sock")
        }
        _ => app.join(".forebay/admin.sock"),
    }
}

/// Where the client looks: the first that exists, else the last.
#[must_use]
pub fn default_client_path() -> PathBuf {
    if let Some(path) = std::env::var_os("FOREBAY_ADMIN").filter(|path| !path.is_empty()) {
        return path.into();
    }
    let here = PathBuf::from(".forebay/admin.sock");
    if here.exists() { here } else { "/run/forebay/admin.sock".into() }
}

/// A path that fits into a socket address, for as long as the descriptor lives: a
/// longer one goes through its folder's descriptor.
///
/// # Errors
/// If the folder of a long path can't be opened.
fn short_path(path: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return Ok((path.to_owned(), None));
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a path of a socket"));
    };
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let folder = OwnedFd::from(std::fs::OpenOptions::new().read(true).custom_flags(flags).open(folder)?);
    Ok((Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name), Some(folder)))
}
