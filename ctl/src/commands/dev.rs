//! `forebay dev APP`: development. Watches and reloads, shows code frames, brings
//! a private PostgreSQL.

use std::fmt::Write as _;

use forebay_worker::generation::LISTEN;

use crate::Outcome;
use crate::cli::ServerArgs;
use crate::server::{Mode, Server};

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
/// As [`super::serve::run`]; later blueprints that don't compile are shown, and the
/// last good ones go on.
pub fn run(args: DevArgs) -> Outcome {
    let app = args.server.app.clone();
    super::serve::host(&args.server, Mode::Dev, |server| {
        // The app's own examples, if it brings some: lines of curl with ADDRESS in them.
        let own = std::fs::read_to_string(app.join("try.txt")).ok();
        println!("{}", greeting(server, own.as_deref()));
    })
}

/// What to type next.
fn greeting(server: &Server, own: Option<&str>) -> String {
    let Some(address) = server.address() else { return String::new() };
    let mut text = format!("\nServing http://{address}\n\nTry:\n");
    if let Some(own) = own {
        for line in own.lines().filter(|line| !line.trim().is_empty()) {
            let _ = writeln!(text, "  {}", line.replace("ADDRESS", &address.to_string()));
        }
        return text;
    }
    let generation = server.generation();
    let routes = generation.declared().filter(|entry| &*entry.method != LISTEN);
    for entry in routes.take(12) {
        let method = match &*entry.method {
            "GET" => String::new(),
            other => format!("-X {other} "),
        };
        let path = entry.pattern.replace(['{', '}', '*'], "");
        let _ = writeln!(text, "  curl -s {method}http://{address}{path}");
    }
    text
}
