//! `forebay ctl COMMAND`: the client of the admin socket.

use std::path::PathBuf;

use crate::Outcome;

/// Arguments of `forebay ctl`.
#[derive(Debug, clap::Args)]
pub struct CtlArgs {
    /// Admin socket [default: $FOREBAY_ADMIN, /run/forebay/admin.sock, ./.forebay/admin.sock]
    #[arg(long, value_name = "SOCKET", global = true)]
    pub admin: Option<PathBuf>,
    /// Print the server's JSON as it is
    #[arg(long, global = true)]
    pub json: bool,
    /// What to ask.
    #[command(subcommand)]
    pub command: CtlCommand,
}

/// The commands of `forebay ctl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum CtlCommand {
    /// Version, generation, uptime and load of every core
    Status,
    /// Routes of the current generation
    Routes,
    /// Metrics in the Prometheus text format
    Metrics,
    /// CPUs, caches and nodes, and which thread has which
    Topology,
    /// Load the app folder again; all cores adopt it or none does
    Deploy,
    /// Finish what is running, accept nothing new, exit
    Drain,
}

/// Asks, prints the answer.
///
/// # Errors
/// If there is no server, or it refuses.
pub fn run(_args: &CtlArgs) -> Outcome {
    super::not_joined("ctl")
}
