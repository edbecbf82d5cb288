//! `migrations/*.sql`: applied once, in file-name order, each in a transaction of its own.
//!
//! ```sql
//! forebay_migrations (name text primary key, checksum text, applied_at timestamptz, millis int8)
//! ```
//! The checksum is SHA-256 of the file's bytes, in hex. A file that was applied and has other bytes now, one that
//! is gone, and a new one whose name sorts before an applied one are edited history: refused before anything runs. An
//! advisory lock lets several servers start at once; the others wait and find the work done.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use forebay_base::Value;
use sha2::{Digest, Sha256};

use crate::blocking::Client;
use crate::error::QueryError;
use crate::param::Param;

/// Key of the advisory lock: "forebay" in ASCII.
const LOCK_KEY: i64 = 0x66_6f72_6562_6179;

/// Files in a folder. Beyond it: an error.
pub const MIGRATIONS_MAX: usize = 10_000;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS forebay_migrations (\
    name text PRIMARY KEY, checksum text NOT NULL, \
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(), millis int8 NOT NULL)";

/// A migration that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// File name.
    pub name: String,
    /// SHA-256 of its bytes, in hex.
    pub checksum: String,
    /// How long it took, as the server measured it.
    pub millis: i64,
}

/// Where a migration stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Ran already.
    Applied,
    /// Will run next time.
    Pending,
    /// Ran already with other bytes.
    Edited,
    /// Ran already, and its file is gone.
    Missing,
    /// New, but its name sorts before one that ran already.
    OutOfOrder,
}

/// One line of [`status`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// File name.
    pub name: String,
    /// Where it stands.
    pub state: State,
}

/// Why migrations stopped. Those before it stay applied.
#[derive(Debug)]
pub enum MigrateError {
    /// A file or the folder can't be read.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What was applied and what is in the folder contradict each other. Nothing ran.
    History(Vec<Status>),
    /// A migration failed; all of it was rolled back.
    Failed {
        /// File name.
        name: String,
        /// Line in it where the server saw the error, from 1; 0 if it didn't say.
        line: usize,
        /// Why.
        error: QueryError,
    },
    /// The bookkeeping failed.
    Database(QueryError),
}

impl fmt::Display for MigrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::History(lines) => {
                write!(f, "the migrations that were applied are not those in the folder:")?;
                for line in lines {
                    let what = match line.state {
                        State::Edited => "was edited after it was applied; put it back and write a new one",
                        State::Missing => "was applied and its file is gone; put it back",
                        State::OutOfOrder => "is new but sorts before an applied one; rename it",
                        State::Applied | State::Pending => continue,
                    };
                    write!(f, "\n  {}: {what}", line.name)?;
                }
                Ok(())
            }
            Self::Failed { name, line: 0, error } => write!(f, "{name}: {error}"),
            Self::Failed { name, line, error } => write!(f, "{name}:{line}: {error}"),
            Self::Database(error) => write!(f, "migrations: {error}"),
        }
    }
}

impl std::error::Error for MigrateError {}

impl From<QueryError> for MigrateError {
    fn from(error: QueryError) -> Self {
        Self::Database(error)
    }
}

struct File {
    name: String,
    sql: String,
    checksum: String,
}

/// Applies what is pending in `folder`, telling `progress` one line per file.
///
/// # Errors
/// [`MigrateError`]; what was applied before it stays.
pub fn migrate(
    client: &mut Client,
    folder: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<Applied>, MigrateError> {
    let files = read(folder)?;
    client.execute("SELECT pg_advisory_lock($1)", &[Param::Int(LOCK_KEY)])?;
    let result = apply(client, &files, progress);
    // Without an answer the connection is gone, and the lock with it.
    let _ = client.execute("SELECT pg_advisory_unlock($1)", &[Param::Int(LOCK_KEY)]);
    result
}

/// Every migration that was applied or is in `folder`, by name. Changes nothing.
///
/// # Errors
/// [`MigrateError::Io`] and [`MigrateError::Database`].
pub fn status(client: &mut Client, folder: &Path) -> Result<Vec<Status>, MigrateError> {
    let files = read(folder)?;
    let exists = client.rows("SELECT 1 AS yes WHERE to_regclass('forebay_migrations') IS NOT NULL", &[])?;
    let applied = if exists.is_empty() { Vec::new() } else { history(client)? };
    Ok(compare(&files, &applied))
}

fn apply(
    client: &mut Client,
    files: &[File],
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<Applied>, MigrateError> {
    client.batch(CREATE)?;
    let lines = compare(files, &history(client)?);
    if lines.iter().any(|line| !matches!(line.state, State::Applied | State::Pending)) {
        return Err(MigrateError::History(lines));
    }
    let mut applied = Vec::new();
    for file in files {
        if !lines.iter().any(|line| line.name == file.name && line.state == State::Pending) {
            continue;
        }
        let millis = client.transaction(|client| one(client, file))?;
        progress(&format!("applied {} ({millis} ms)", file.name));
        applied.push(Applied { name: file.name.clone(), checksum: file.checksum.clone(), millis });
    }
    if applied.is_empty() {
        progress(&format!("nothing to apply, {} migrations are in place", files.len()));
    }
    Ok(applied)
}

fn one(client: &mut Client, file: &File) -> Result<i64, MigrateError> {
    client.batch(&file.sql).map_err(|error| {
        let line = match &error {
            QueryError::Server(server) => line_of(&file.sql, server.position),
            _ => 0,
        };
        MigrateError::Failed { name: file.name.clone(), line, error }
    })?;
    if client.connection().status() != b'T' {
        // The record below would be a transaction of its own, and a failure half a migration.
        let error = QueryError::Refused(
            "it contains COMMIT or ROLLBACK, so what stands before that was not rolled back; a migration is one transaction",
        );
        return Err(MigrateError::Failed { name: file.name.clone(), line: 0, error });
    }
    let millis = client.query(
        "INSERT INTO public.forebay_migrations (name, checksum, millis) \
         VALUES ($1, $2, extract(epoch from clock_timestamp() - now()) * 1000) RETURNING millis",
        &[Param::Str(&file.name), Param::Str(&file.checksum)],
        crate::query::Shape::Scalar,
    )?;
    Ok(if let Value::Int(millis) = millis { millis } else { 0 })
}

/// Line of a character position that counts from 1; 0 for none.
fn line_of(sql: &str, position: u32) -> usize {
    match usize::try_from(position) {
        Ok(position) if position > 0 => 1 + sql.chars().take(position - 1).filter(|c| *c == '\n').count(),
        _ => 0,
    }
}

fn history(client: &mut Client) -> Result<Vec<(String, String)>, MigrateError> {
    let rows = client
        .rows("SELECT name, checksum FROM public.forebay_migrations ORDER BY name COLLATE \"C\"", &[])?;
    let text = |row: &Value, key| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(rows.iter().map(|row| (text(row, "name"), text(row, "checksum"))).collect())
}

fn compare(files: &[File], applied: &[(String, String)]) -> Vec<Status> {
    let last = applied.iter().map(|(name, _)| name.as_str()).max().unwrap_or_default();
    let mut lines: Vec<Status> = files
        .iter()
        .map(|file| {
            let state = match applied.iter().find(|(name, _)| *name == file.name) {
                Some((_, checksum)) if *checksum == file.checksum => State::Applied,
                Some(_) => State::Edited,
                None if file.name.as_str() < last => State::OutOfOrder,
                None => State::Pending,
            };
            Status { name: file.name.clone(), state }
        })
        .collect();
    for (name, _) in applied.iter().filter(|(name, _)| !files.iter().any(|file| file.name == *name)) {
        lines.push(Status { name: name.clone(), state: State::Missing });
    }
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    lines
}

/// The folder's `*.sql` files by name; a folder that isn't there has none.
fn read(folder: &Path) -> Result<Vec<File>, MigrateError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| MigrateError::Io { path, error }
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io(folder)(e)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(io(folder))?.path();
        if path.extension().is_none_or(|extension| extension != "sql") || !path.is_file() {
            continue;
        }
        let wrong = |what: &str| io(&path)(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
        if files.len() >= MIGRATIONS_MAX {
            return Err(wrong("too many migrations"));
        }
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| wrong("the name is not UTF-8"))?
            .to_owned();
        let bytes = std::fs::read(&path).map_err(io(&path))?;
        let checksum = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let sql = String::from_utf8(bytes).map_err(|_| wrong("not UTF-8"))?;
        files.push(File { name, sql, checksum });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}
