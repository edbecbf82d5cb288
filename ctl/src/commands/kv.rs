//! `forebay kv`: looks into a data folder without a running server.

use std::path::PathBuf;

use crate::Outcome;

/// Arguments of `forebay kv`.
#[derive(Debug, clap::Args)]
pub struct KvArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KvCommand,
}

/// The commands of `forebay kv`.
#[derive(Debug, clap::Subcommand)]
pub enum KvCommand {
    /// Print every key and value, one JSON object a line
    Dump(KvTarget),
    /// Check every checksum and record
    Verify(KvTarget),
}

/// Which data folder.
#[derive(Debug, clap::Args)]
pub struct KvTarget {
    /// Data folder
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// The segment and offset of the first damage.
pub fn run(args: &KvArgs) -> Outcome {
    super::not_joined(match args.command {
        KvCommand::Dump(_) => "kv dump",
        KvCommand::Verify(_) => "kv verify",
    })
}
