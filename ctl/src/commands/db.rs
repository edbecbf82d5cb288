//! `forebay db`: migrations.

use std::path::PathBuf;

use forebay_postgres::blocking::Client;
use forebay_postgres::migrate::{self, State};
use serde_json::json;

use crate::config::Config;
use crate::devpg::{DevPg, DevPgError};
use crate::{Failure, Outcome};

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
    /// Apply the migrations that are missing, each in a transaction
    Migrate(DbTarget),
    /// List applied and missing migrations
    Status(DbTarget),
}

/// Which app's database.
#[derive(Debug, clap::Args)]
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

/// Runs the command.
///
/// # Errors
/// The database's own error, with the migration's file and line.
pub fn run(args: &DbArgs) -> Outcome {
    match &args.command {
        DbCommand::Migrate(target) => target.with_client(|client| target.migrate(client)),
        DbCommand::Status(target) => target.with_client(|client| target.status(client)),
    }
}

impl DbTarget {
    fn with_client(&self, work: impl FnOnce(&mut Client) -> Outcome) -> Outcome {
        if !self.app.is_dir() {
            return Err(Failure::Usage(format!("{} is not a folder", self.app.display())));
        }
        let default = self.app.join("forebay.toml");
        let path = self.config.as_ref().unwrap_or(&default);
        let config = Config::load(path, &self.app, self.config.is_none(), crate::frame::stderr_color())
            .map_err(Failure::Failed)?;
        let Some(database) = config.database else {
            return Err(Failure::Failed(format!("{} has no [database]", path.display())));
        };
        let env = |name: &str| std::env::var(name).ok();
        // A private cluster that nobody runs is started for as long as this takes.
        let (url, _server) = match database.source.url(env).map_err(Failure::Failed)? {
            Some(url) => (url, None),
            None => match DevPg::start(&self.app) {
                Ok(server) => (server.url(), Some(server)),
                Err(DevPgError::Busy(_)) if let Some(url) = DevPg::running_url(&self.app) => (url, None),
                Err(error) => return Err(Failure::Failed(error.to_string())),
            },
        };
        let config = forebay_postgres::Config::parse(&url, &env)
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let mut client = Client::connect(&config)
            .map_err(|error| Failure::because("can't connect to the database", error))?;
        work(&mut client)
    }

    fn folder(&self) -> PathBuf {
        self.app.join("migrations")
    }

    fn migrate(&self, client: &mut Client) -> Outcome {
        let applied = migrate::migrate(client, &self.folder(), &mut |line| {
            if !self.json {
                println!("{line}");
            }
        })
        .map_err(|error| Failure::Failed(error.to_string()))?;
        if self.json {
            let list: Vec<_> = applied
                .iter()
                .map(|one| json!({ "name": one.name, "checksum": one.checksum, "ms": one.millis }))
                .collect();
            println!("{}", json!({ "applied": list }));
        } else if applied.is_empty() {
            println!("nothing to apply");
        }
        Ok(())
    }

    /// Fails if what was applied isn't what is in the folder.
    fn status(&self, client: &mut Client) -> Outcome {
        let list =
            migrate::status(client, &self.folder()).map_err(|error| Failure::Failed(error.to_string()))?;
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
        let text = match (self.json, rows.is_empty()) {
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
}
