//! `forebay db`: migrations, the lock file of queries and tables, the schema's dump.

mod dump;
mod lint;
pub(crate) mod pull;

pub(crate) use lint::pending as pending_lints;

use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_postgres::blocking::Client;
use forebay_postgres::migrate::{self, Options, State, file};
use serde_json::json;

use crate::config::Config;
use crate::devpg::{DevPg, DevPgError};
use crate::{Failure, Outcome, units};

/// Arguments of `forebay db`.
#[derive(Debug, clap::Args)]
pub struct DbArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DbCommand,
}

/// The commands of `forebay db`.
#[derive(Debug, clap::Subcommand)]
pub enum DbCommand {
    /// Write an empty migration, numbered as the others are
    New(NewArgs),
    /// Apply the migrations that are missing, each in a transaction
    Migrate(MigrateArgs),
    /// Undo the last migration, as its `-- forebay: down` section or its .down.sql says
    Rollback(RollbackArgs),
    /// List applied and missing migrations
    Status(DbTarget),
    /// Show what blocks or destroys in the migrations that are not applied yet
    Lint(LintArgs),
    /// Write the database's schema to schema.sql, by pg_dump
    Dump(DumpArgs),
    /// Write forebay.lock.json: tables, columns and named queries, for builds without a database
    Pull(DbTarget),
}

/// Which app's database.
#[derive(Clone, Debug, clap::Args)]
pub struct DbTarget {
    /// App folder
    #[arg(value_name = "APP", default_value = ".")]
    pub app: PathBuf,
    /// Configuration file [default: APP/forebay.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `forebay db new`.
#[derive(Debug, clap::Args)]
pub struct NewArgs {
    /// What it does, in a few words
    #[arg(value_name = "NAME")]
    pub name: String,
    /// App folder
    #[arg(value_name = "APP", default_value = ".")]
    pub app: PathBuf,
}

/// How statements wait for their locks.
#[derive(Clone, Debug, clap::Args)]
pub struct LockArgs {
    /// Longest wait of a statement for a lock, 0s for no limit; then its migration is rolled back and tried again
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = units::duration)]
    pub lock_timeout: Duration,
    /// How often a migration that got no lock is tried again
    #[arg(long, value_name = "N", default_value_t = 6)]
    pub retries: u32,
}

impl LockArgs {
    fn options(&self) -> Options {
        Options { lock_timeout: self.lock_timeout, retries: self.retries, ..Options::default() }
    }
}

/// Arguments of `forebay db migrate`.
#[derive(Debug, clap::Args)]
pub struct MigrateArgs {
    /// Which app.
    #[command(flatten)]
    pub target: DbTarget,
    /// How it waits for locks.
    #[command(flatten)]
    pub locks: LockArgs,
}

/// Arguments of `forebay db rollback`.
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// Which app.
    #[command(flatten)]
    pub target: DbTarget,
    /// How it waits for locks.
    #[command(flatten)]
    pub locks: LockArgs,
    /// How many migrations to undo
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub steps: u16,
}

/// Arguments of `forebay db lint`.
#[derive(Debug, clap::Args)]
pub struct LintArgs {
    /// Which app.
    #[command(flatten)]
    pub target: DbTarget,
    /// Look at all files, applied or not; needs no database
    #[arg(long)]
    pub all: bool,
}

/// Arguments of `forebay db dump`.
#[derive(Debug, clap::Args)]
pub struct DumpArgs {
    /// Which app.
    #[command(flatten)]
    pub target: DbTarget,
    /// File to write [default: APP/schema.sql]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The database's own error, with the migration's file and line.
pub fn run(args: &DbArgs) -> Outcome {
    match &args.command {
        DbCommand::New(args) => new(args),
        DbCommand::Migrate(args) => {
            args.target.with_client(|client, url| migrate(&args.target, &args.locks.options(), client, url))
        }
        DbCommand::Rollback(args) => args.target.with_client(|client, url| rollback(args, client, url)),
        DbCommand::Status(target) => target.with_client(|client, _| status(target, client)),
        DbCommand::Lint(args) => lint::run(args),
        DbCommand::Pull(target) => target.with_client(|client, _| pull::run(target, client)),
        DbCommand::Dump(args) => {
            let out = args.out.clone().unwrap_or_else(|| args.target.app.join(dump::FILE));
            args.target.with_client(|client, url| dump::write(client, url, &out, args.target.json))
        }
    }
}

impl DbTarget {
    /// Connects to the app's database; `work` also gets its URL.
    pub(crate) fn with_client(&self, work: impl FnOnce(&mut Client, &str) -> Outcome) -> Outcome {
        let Some((url, _server)) = self.database()? else {
            let default = self.app.join("forebay.toml");
            let path = self.config.as_ref().unwrap_or(&default);
            return Err(Failure::Failed(format!("{} has no [database]", path.display())));
        };
        let mut client = connect(&url)?;
        work(&mut client, &url)
    }

    /// The URL of the app's database, if it has one. A private cluster that nobody runs is started for as long as the
    /// second value lives.
    pub(crate) fn database(&self) -> Result<Option<(String, Option<DevPg>)>, Failure> {
        if !self.app.is_dir() {
            return Err(Failure::Usage(format!("{} is not a folder", self.app.display())));
        }
        let default = self.app.join("forebay.toml");
        let path = self.config.as_ref().unwrap_or(&default);
        let config = Config::load(path, &self.app, self.config.is_none(), crate::frame::stderr_color())
            .map_err(Failure::Failed)?;
        let Some(database) = config.database else { return Ok(None) };
        let env = |name: &str| std::env::var(name).ok();
        match database.source.url(env).map_err(Failure::Failed)? {
            Some(url) => Ok(Some((url, None))),
            None => match DevPg::start(&self.app) {
                Ok(server) => Ok(Some((server.url(), Some(server)))),
                Err(DevPgError::Busy(_)) if let Some(url) = DevPg::running_url(&self.app) => {
                    Ok(Some((url, None)))
                }
                Err(error) => Err(Failure::Failed(error.to_string())),
            },
        }
    }

    fn folder(&self) -> PathBuf {
        self.app.join("migrations")
    }
}

/// A connection that waits.
pub(crate) fn connect(url: &str) -> Result<Client, Failure> {
    let env = |name: &str| std::env::var(name).ok();
    let config =
        forebay_postgres::Config::parse(url, &env).map_err(|error| Failure::Failed(error.to_string()))?;
    Client::connect(&config).map_err(|error| Failure::because("can't connect to the database", error))
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}

const TEMPLATE: &str = "-- Runs once, in a transaction. `forebay db lint` shows what would block or destroy.


-- forebay: down
-- How to undo it, for `forebay db rollback`; without this section it can't be.

";

fn new(args: &NewArgs) -> Outcome {
    if !args.app.is_dir() {
        return Err(Failure::Usage(format!("{} is not a folder", args.app.display())));
    }
    let folder = args.app.join("migrations");
    let files = file::read(&folder).map_err(failed)?;
    let name = file::next_name(files.last().map(|file| &*file.name), &args.name).map_err(Failure::Usage)?;
    std::fs::create_dir_all(&folder).map_err(|error| Failure::because(folder.display(), error))?;
    let path = folder.join(name);
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).open(&path);
    opened
        .and_then(|mut file| std::io::Write::write_all(&mut file, TEMPLATE.as_bytes()))
        .map_err(|error| Failure::because(path.display(), error))?;
    println!("{}", path.display());
    Ok(())
}

fn migrate(target: &DbTarget, options: &Options, client: &mut Client, url: &str) -> Outcome {
    // Before anything runs: what is found later would leave half of the files applied.
    let found = lint::pending(client, &target.folder())?;
    if !found.is_empty() {
        return Err(Failure::Failed(lint::text(&found)));
    }
    let applied = migrate::migrate(client, &target.folder(), options, &mut |line| {
        if !target.json {
            println!("{line}");
        }
    })
    .map_err(failed)?;
    if target.json {
        let list: Vec<_> = applied
            .iter()
            .map(|one| json!({ "name": one.name, "checksum": one.checksum, "ms": one.millis }))
            .collect();
        println!("{}", json!({ "applied": list }));
    }
    dump_again(target, client, url, !applied.is_empty())
}

fn rollback(args: &RollbackArgs, client: &mut Client, url: &str) -> Outcome {
    let target = &args.target;
    let steps = usize::from(args.steps);
    let undone = migrate::rollback(client, &target.folder(), steps, &args.locks.options(), &mut |line| {
        if !target.json {
            println!("{line}");
        }
    })
    .map_err(failed)?;
    if target.json {
        println!("{}", json!({ "rolled_back": undone }));
    }
    dump_again(target, client, url, !undone.is_empty())
}

/// A schema.sql that is there stays true.
fn dump_again(target: &DbTarget, client: &mut Client, url: &str, changed: bool) -> Outcome {
    let path: &Path = &target.app.join(dump::FILE);
    if changed && path.is_file() { dump::write(client, url, path, target.json) } else { Ok(()) }
}

/// Fails if what was applied isn't what is in the folder.
fn status(target: &DbTarget, client: &mut Client) -> Outcome {
    let list = migrate::status(client, &target.folder()).map_err(failed)?;
    let rows: Vec<_> = list
        .iter()
        .map(|one| {
            let state = match one.state {
                State::Applied => "applied",
                State::Pending => "pending",
                State::Edited => "edited",
                State::Missing => "missing",
                State::OutOfOrder => "out of order",
            };
            json!({ "name": one.name, "state": state })
        })
        .collect();
    let value = json!(rows);
    let text = match (target.json, rows.is_empty()) {
        (true, _) => json!({ "migrations": value }).to_string(),
        (false, true) => "no migrations".to_owned(),
        (false, false) => crate::admin::client::render(&value),
    };
    println!("{text}");
    let is_good = |state: &State| matches!(state, State::Applied | State::Pending);
    if list.iter().all(|one| is_good(&one.state)) {
        return Ok(());
    }
    Err(Failure::Failed("the migrations that were applied are not those in the folder".to_owned()))
}
