//! `migrations/*.sql`: applied once, in file-name order, each in a transaction of its own.
//!
//! | file | what it does |
//! |---|---|
//! | [`file`] | a migration's file: directives, the section that undoes it |
//! | [`lint`] | what blocks or destroys, found before it runs |
//! | [`scan`] | statements and words of SQL text |
//!
//! ```sql
//! forebay_migrations (name text primary key, checksum text, applied_at timestamptz, millis int8)
//! ```
//! The checksum is SHA-256 of the file's bytes, in hex. A file that was applied and has other bytes now, one that
//! is gone, and a new one whose name sorts before an applied one are edited history: refused before anything runs. An
//! advisory lock lets several servers start at once; the others wait and find the work done.
//!
//! A statement waits for a lock for [`Options::lock_timeout`] at most, as all that comes behind it waits too; then its
//! migration is rolled back and tried again later. A file with `-- forebay: no-transaction` runs statement by
//! statement, and what stands before a failure stays.

pub mod file;
pub mod lint;
pub mod scan;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_base::Value;

use crate::blocking::Client;
use crate::error::QueryError;
use crate::param::Param;
pub use file::File;

/// Key of the advisory lock: "forebay" in ASCII.
const LOCK_KEY: i64 = 0x66_6f72_6562_6179;

/// Files in a folder. Beyond it: an error.
pub const MIGRATIONS_MAX: usize = 10_000;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS forebay_migrations (\
    name text PRIMARY KEY, checksum text NOT NULL, \
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(), millis int8 NOT NULL)";

/// How migrations run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Longest wait of one statement for a lock; zero: no limit.
    pub lock_timeout: Duration,
    /// How often a migration that got no lock is tried again, each time after twice the wait of before.
    pub retries: u32,
    /// The first of these waits.
    pub pause: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { lock_timeout: Duration::from_secs(2), retries: 6, pause: Duration::from_secs(1) }
    }
}

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
    /// A migration without a transaction failed after some of its statements, which stay.
    Partly {
        /// File name.
        name: String,
        /// Line of the statement that failed, from 1.
        line: usize,
        /// Statements before it.
        done: usize,
        /// Why.
        error: QueryError,
    },
    /// A migration that can't be undone: nobody wrote how.
    Irreversible(String),
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
            Self::Partly { name, line, done, error } => write!(
                f,
                "{name}:{line}: {error}; its first {done} statements took effect and stay, as it is without a \
                 transaction: undo them, or make them repeatable (IF NOT EXISTS), and run it again"
            ),
            Self::Irreversible(name) => write!(
                f,
                "{name} can't be rolled back: it has no `-- forebay: down` section and no {}.down.sql",
                name.trim_end_matches(".sql")
            ),
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

/// Applies what is pending in `folder`, telling `progress` one line per file.
///
/// # Errors
/// [`MigrateError`]; what was applied before it stays.
pub fn migrate(
    client: &mut Client,
    folder: &Path,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<Applied>, MigrateError> {
    let files = file::read(folder)?;
    locked(client, |client| apply(client, &files, options, progress))
}

/// Undoes the last `steps` migrations, the newest first, telling `progress` one line per file. Nothing runs unless all
/// of them can be undone. Returns their names.
///
/// # Errors
/// [`MigrateError`]; what was undone before it stays undone.
pub fn rollback(
    client: &mut Client,
    folder: &Path,
    steps: usize,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<String>, MigrateError> {
    let files = file::read(folder)?;
    locked(client, |client| undo(client, &files, steps, options, progress))
}

/// Every migration that was applied or is in `folder`, by name. Changes nothing.
///
/// # Errors
/// [`MigrateError::Io`] and [`MigrateError::Database`].
pub fn status(client: &mut Client, folder: &Path) -> Result<Vec<Status>, MigrateError> {
    let files = file::read(folder)?;
    let exists =
        client.rows("SELECT 1 AS yes WHERE to_regclass('public.forebay_migrations') IS NOT NULL", &[])?;
    let applied = if exists.is_empty() { Vec::new() } else { history(client)? };
    Ok(compare(&files, &applied))
}

/// Alone among those who migrate this database.
fn locked<T>(
    client: &mut Client,
    work: impl FnOnce(&mut Client) -> Result<T, MigrateError>,
) -> Result<T, MigrateError> {
    // Whoever is at work may take long: this lock is waited for, whatever the role's settings say.
    client.batch("SET lock_timeout = 0")?;
    client.execute("SELECT pg_advisory_lock($1)", &[Param::Int(LOCK_KEY)])?;
    let result = work(client);
    // Without an answer the connection is gone, and the lock with it.
    let _ = client.execute("SELECT pg_advisory_unlock($1)", &[Param::Int(LOCK_KEY)]);
    result
}

fn apply(
    client: &mut Client,
    files: &[File],
    options: &Options,
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
        let run = Run { name: &file.name, text: file.up(), no_transaction: file.no_transaction };
        let millis = run.carry_out(client, options, progress, &mut |client, began| {
            let millis = client.query(
                "INSERT INTO public.forebay_migrations (name, checksum, millis) \
                 VALUES ($1, $2, extract(epoch from clock_timestamp() - $3::timestamptz) * 1000) RETURNING millis",
                &[Param::Str(&file.name), Param::Str(&file.checksum), Param::Str(began)],
                crate::query::Shape::Scalar,
            )?;
            Ok(if let Value::Int(millis) = millis { millis } else { 0 })
        })?;
        progress(&format!("applied {} ({millis} ms)", file.name));
        applied.push(Applied { name: file.name.clone(), checksum: file.checksum.clone(), millis });
    }
    if applied.is_empty() {
        progress(&format!("nothing to apply, {} migrations are in place", files.len()));
    }
    Ok(applied)
}

fn undo(
    client: &mut Client,
    files: &[File],
    steps: usize,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<String>, MigrateError> {
    client.batch(CREATE)?;
    let applied = history(client)?;
    let lines = compare(files, &applied);
    if lines.iter().any(|line| matches!(line.state, State::Edited | State::Missing)) {
        return Err(MigrateError::History(lines));
    }
    let newest: Vec<&File> = applied
        .iter()
        .rev()
        .take(steps)
        .filter_map(|(name, _)| files.iter().find(|file| file.name == *name))
        .collect();
    if let Some(file) = newest.iter().find(|file| file.down.is_none()) {
        return Err(MigrateError::Irreversible(file.name.clone()));
    }
    let mut undone = Vec::new();
    for file in newest {
        let Some(down) = &file.down else { continue };
        let run = Run { name: &down.name, text: &down.text, no_transaction: down.no_transaction };
        run.carry_out(client, options, progress, &mut |client, _| {
            client.execute(
                "DELETE FROM public.forebay_migrations WHERE name = $1",
                &[Param::Str(&file.name)],
            )?;
            Ok(0)
        })?;
        progress(&format!("rolled back {}", file.name));
        undone.push(file.name.clone());
    }
    if undone.is_empty() {
        progress("nothing to roll back");
    }
    Ok(undone)
}

/// Statements to run, and a record of it to make.
struct Run<'r> {
    name: &'r str,
    text: &'r str,
    no_transaction: bool,
}

/// Whether a statement ends the transaction that it stands in.
fn ends_transaction(statement: &scan::Statement<'_>) -> bool {
    let savepoint: [&[&str]; 3] =
        [&["ROLLBACK", "TO"], &["ROLLBACK", "WORK", "TO"], &["ROLLBACK", "TRANSACTION", "TO"]];
    ["COMMIT", "END", "ABORT", "ROLLBACK"].iter().any(|word| statement.begins(&[word]))
        && !savepoint.iter().any(|words| statement.begins(words))
        || statement.begins(&["PREPARE", "TRANSACTION"])
}

/// Makes the record, in the same transaction if there is one. Gets the time of the beginning.
type Record<'r> = &'r mut dyn FnMut(&mut Client, &str) -> Result<i64, MigrateError>;

impl Run<'_> {
    /// Tries until it gets its locks.
    fn carry_out(
        &self,
        client: &mut Client,
        options: &Options,
        progress: &mut dyn FnMut(&str),
        record: Record<'_>,
    ) -> Result<i64, MigrateError> {
        let mut done = 0;
        let (mut pause, mut left) = (options.pause, options.retries);
        let began = client.rows("SELECT clock_timestamp()::text AS t", &[])?;
        let began =
            began.first().and_then(|row| row.get("t")).and_then(Value::as_str).unwrap_or("now").to_owned();
        loop {
            let result = if self.no_transaction {
                self.one_by_one(client, options, &mut done).and_then(|()| record(client, &began))
            } else {
                client.transaction(|client| {
                    client.batch(&lock_timeout("SET LOCAL", options.lock_timeout))?;
                    self.all(client)?;
                    record(client, &began)
                })
            };
            match result {
                Err(
                    MigrateError::Failed { error: QueryError::Server(error), .. }
                    | MigrateError::Partly { error: QueryError::Server(error), .. },
                ) if &*error.code == "55P03" && left > 0 => {
                    progress(&format!(
                        "{}: no lock within {} ms, others use the table; next try in {} ms",
                        self.name,
                        options.lock_timeout.as_millis(),
                        pause.as_millis()
                    ));
                    std::thread::sleep(pause);
                    (pause, left) = (pause.saturating_mul(2), left - 1);
                }
                other => return other,
            }
        }
    }

    fn all(&self, client: &mut Client) -> Result<(), MigrateError> {
        if let Some(end) = scan::statements(self.text).into_iter().find(ends_transaction) {
            let error = QueryError::Refused(
                "it contains COMMIT or ROLLBACK, but a migration is one transaction with its record; nothing of it ran: take BEGIN and COMMIT out, or write `-- forebay: no-transaction`",
            );
            let line = self.text[..end.range().start].matches('\n').count() + 1;
            return Err(MigrateError::Failed { name: self.name.to_owned(), line, error });
        }
        client.batch(self.text).map_err(|error| {
            let line = match &error {
                QueryError::Server(server) => line_of(self.text, server.position),
                _ => 0,
            };
            MigrateError::Failed { name: self.name.to_owned(), line, error }
        })?;
        if client.connection().status() == b'T' {
            return Ok(());
        }
        // A procedure did it: the record would be a transaction of its own, and a failure half a migration.
        let error = QueryError::Refused(
            "it contains COMMIT or ROLLBACK, so what stands before that was not rolled back; a migration is one transaction",
        );
        Err(MigrateError::Failed { name: self.name.to_owned(), line: 0, error })
    }

    /// Statements from number `done` on, which counts up.
    fn one_by_one(
        &self,
        client: &mut Client,
        options: &Options,
        done: &mut usize,
    ) -> Result<(), MigrateError> {
        let result = scan::statements(self.text).iter().skip(*done).try_for_each(|statement| {
            let range = statement.range();
            // One that waits for a lock in the middle of its work would leave an invalid index behind.
            let patient = statement.has(&["concurrently"]);
            let limit = if patient { Duration::ZERO } else { options.lock_timeout };
            client.batch(&lock_timeout("SET", limit))?;
            client.batch(&self.text[range.clone()]).map_err(|error| {
                let line = self.text[..range.start].matches('\n').count() + 1;
                MigrateError::Partly { name: self.name.to_owned(), line, done: *done, error }
            })?;
            if client.connection().status() != b'I' {
                let error = QueryError::Refused("it begins a transaction, and is marked no-transaction");
                let _ = client.batch("ROLLBACK");
                return Err(MigrateError::Failed { name: self.name.to_owned(), line: 0, error });
            }
            *done += 1;
            Ok(())
        });
        // If this fails the connection is gone.
        let _ = client.batch("SET lock_timeout = 0");
        result
    }
}

fn lock_timeout(set: &str, limit: Duration) -> String {
    format!("{set} lock_timeout = {}", limit.as_millis())
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
