//! `forebay dev APP`: development. Watches and reloads, shows code frames, brings
//! a private PostgreSQL.

use crate::Outcome;
use crate::cli::ServerArgs;

/// Arguments of `forebay dev`.
#[derive(Debug, clap::Args)]
pub struct DevArgs {
    /// What it shares with `serve`.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Serves until Ctrl-C.
///
/// # Errors
/// As [`super::serve::run`]; blueprints that don't compile are shown, and the
/// last good ones go on.
pub fn run(args: DevArgs) -> Outcome {
    let _config = args.server.config()?;
    super::not_joined("dev")
}
