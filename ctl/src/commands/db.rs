//! `forebay db`: migrations.

use std::path::PathBuf;

use crate::Outcome;

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
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// The database's own error, with the migration's file and place.
pub fn run(args: &DbArgs) -> Outcome {
    super::not_joined(match args.command {
        DbCommand::Migrate(_) => "db migrate",
        DbCommand::Status(_) => "db status",
    })
}
