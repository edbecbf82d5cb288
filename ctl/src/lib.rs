//! The one binary, `forebay`: command line, configuration, admin socket, dev
//! mode. Nothing here is on the path of a request; the worker crate is.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`], [`commands`] | the command line, one file per command |
//! | [`config`], [`units`] | `forebay.toml`, with errors that name line, column and the nearest key |
//! | [`frame`] | code frames: how an error in a user's file is shown |
//! | [`testing`] | `forebay test`: the app's tests in the machine that serves it |
//! | [`types`] | `forebay.d.ts`, and checking an app with `tsc` |
//! | [`codes`] | what every diagnostic code means: docs/CODES.md |
//! | [`host`] | the life of a serving process: signals, deploys, drain |
//! | [`app`], [`server`] | an app folder to a generation; a running forebay |
//! | [`admin`] | the admin socket: server, client, the trait that the runtime implements |
//! | [`log`], [`metrics`] | what the machine's keeper reads |
//! | [`signals`], [`sd_notify`], [`process`] | the process and its children |
//! | [`lock`] | `forebay.lock.json`: what the app's database has |
//! | [`schema`] | migrations and drift, as a serving process reports them at start |
//! | [`watch`], [`devpg`] | dev mode: file watcher, a private PostgreSQL |
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage ([`Failure`]).

pub mod admin;
pub mod app;
pub mod cli;
pub mod codes;
pub mod commands;
pub mod config;
pub mod devpg;
pub mod frame;
pub mod host;
pub mod lock;
pub mod log;
pub mod metrics;
pub mod process;
pub mod schema;
pub mod sd_notify;
pub mod server;
pub mod signals;
pub mod testing;
pub mod types;
pub mod units;
pub mod watch;

use std::fmt;
use std::process::ExitCode;

use clap::Parser;

/// Why a command failed; becomes the exit code and the text on stderr.
#[derive(Debug)]
pub enum Failure {
    /// It ran and failed: exit code 1. The text is complete sentences or code
    /// frames, without a trailing newline.
    Failed(String),
    /// It was called wrongly (clap's own errors are this too): exit code 2.
    Usage(String),
}

impl Failure {
    /// A failure in one sentence with its cause: "can't WHAT: CAUSE".
    pub fn because(what: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::Failed(format!("{what}: {cause}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) | Self::Usage(text) => f.write_str(text),
        }
    }
}

/// What a command gives back.
pub type Outcome = Result<(), Failure>;

/// Parses the command line, runs the command, prints its failure.
#[must_use]
pub fn main() -> ExitCode {
    // clap prints its own errors and exits 2; --help and --version exit 0.
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.to_string();
            // A code frame brings its own "error:".
            let prefix = if text.starts_with("error") || text.starts_with('\x1b') { "" } else { "error: " };
            eprintln!("{prefix}{text}");
            ExitCode::from(match failure {
                Failure::Failed(_) => 1,
                Failure::Usage(_) => 2,
            })
        }
    }
}
