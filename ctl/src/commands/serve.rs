//! `forebay serve APP`: production.

use crate::Outcome;
use crate::cli::ServerArgs;

/// Arguments of `forebay serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// What it shares with `dev`.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// Wrong configuration, a listener that can't be opened, a first generation
/// that doesn't compile.
pub fn run(args: ServeArgs) -> Outcome {
    let _config = args.server.config()?;
    super::not_joined("serve")
}
