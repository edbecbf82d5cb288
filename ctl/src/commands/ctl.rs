//! `forebay ctl COMMAND`: the client of the admin socket.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::admin::{self, client};
use crate::{Failure, Outcome};

/// Arguments of `forebay ctl`.
#[derive(Debug, clap::Args)]
pub struct CtlArgs {
    /// Admin socket [default: $FOREBAY_ADMIN, ./.forebay/admin.sock, /run/forebay/admin.sock]
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

impl CtlCommand {
    const fn request(self) -> (&'static str, &'static str) {
        match self {
            Self::Status => ("GET", "/v1/status"),
            Self::Routes => ("GET", "/v1/routes"),
            Self::Metrics => ("GET", "/v1/metrics"),
            Self::Topology => ("GET", "/v1/topology"),
            Self::Deploy => ("POST", "/v1/deploy"),
            Self::Drain => ("POST", "/v1/drain"),
        }
    }
}

/// Asks, prints the answer.
///
/// # Errors
/// If there is no server, or it refuses.
pub fn run(args: &CtlArgs) -> Outcome {
    let socket = args.admin.clone().unwrap_or_else(admin::default_client_path);
    let (method, path) = args.command.request();
    let reply = client::ask(&socket, method, path)
        .map_err(|error| Failure::because(format!("no forebay answers at {}", socket.display()), error))?;
    let failed = reply.status != 200;
    if args.json || (args.command == CtlCommand::Metrics && !failed) {
        print(&reply.body);
        return if failed {
            Err(Failure::Failed(format!("the server refused: {}", reply.status)))
        } else {
            Ok(())
        };
    }
    let value: Value = serde_json::from_str(&reply.body)
        .map_err(|error| Failure::because("the server's answer isn't JSON", error))?;
    if failed {
        let detail = value["detail"].as_str().map_or_else(|| reply.body.clone(), str::to_owned);
        return Err(Failure::Failed(detail));
    }
    print(&format!("{}\n", client::render(&value)));
    Ok(())
}

/// A pipe that closes early (`| head`) is no error.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
