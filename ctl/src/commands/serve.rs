//! `forebay serve APP`: production.

use std::sync::Arc;
use std::time::Duration;

use crate::cli::ServerArgs;
use crate::host::{Host, HostOptions, Service};
use crate::server::{Mode, Server};
use crate::{Failure, Outcome, admin};

/// Arguments of `forebay serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// What it shares with `dev`.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// For running requests to end when drained.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// Wrong configuration, a listener that can't be opened, a first generation
/// that doesn't compile.
pub fn run(args: ServeArgs) -> Outcome {
    host(&args.server, Mode::Serve, |_| {})
}

/// What `serve` and `dev` share. `greet` is called once requests are answered.
///
/// # Errors
/// As [`run`].
pub fn host(args: &ServerArgs, mode: Mode, greet: impl FnOnce(&Server)) -> Outcome {
    let config = args.config()?;
    let app = std::fs::canonicalize(&args.app).map_err(|e| Failure::because(args.app.display(), e))?;
    let host = Host::prepare(mode == Mode::Dev)?;
    let logger = host.logger.clone();
    let socket = config.admin.clone().unwrap_or_else(|| admin::default_server_path(&app));
    if let Some(parent) = socket.parent() {
        std::fs::create_dir_all(parent).map_err(|e| Failure::because(parent.display(), e))?;
    }
    host.status("starting");
    let server = match Server::start(&app, mode, config, &logger) {
        Ok(server) => Arc::new(server),
        Err(failure) => {
            logger.flush();
            return Err(failure);
        }
    };
    server.announce(&socket);
    logger.flush();
    greet(&server);
    let options = HostOptions { app, admin: socket, watch: mode == Mode::Dev, drain_timeout: DRAIN_TIMEOUT };
    let served = host.run(Arc::clone(&server) as Arc<dyn Service>, &options);
    let stopped = server.stop();
    logger.info("stopped").send();
    logger.flush();
    served.and(stopped)
}
