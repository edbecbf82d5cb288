//! `forebay run FILE`: compile and run one script.

use std::path::PathBuf;
use std::time::Duration;

use crate::Outcome;

/// Arguments of `forebay run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Script, with or without a work() chain
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What payload() returns [default: {}]
    #[arg(long, value_name = "JSON")]
    pub payload: Option<String>,
    /// Data folder for kv [default: one in memory, gone afterwards]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Call the script again and again for so many seconds; print one JSON line
    #[arg(long, value_name = "SECONDS", value_parser = crate::cli::parse_seconds)]
    pub bench: Option<Duration>,
}

/// Runs the script; its response body goes to stdout.
///
/// # Errors
/// A code frame, if it doesn't compile or fails.
pub fn run(_args: &RunArgs) -> Outcome {
    super::not_joined("run")
}
