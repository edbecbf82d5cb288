//! `forebay ctl COMMAND`: the client of the admin socket.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::task::TaskCommand;
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
#[derive(Clone, Debug, PartialEq, clap::Subcommand)]
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
    /// Read and write the store of the running server
    #[command(subcommand)]
    Kv(StoreCommand),
    /// Run S-expressions on the store of the running server (docs/SEXPR.md)
    Eval {
        /// As in '(core/kv/get "key")'
        #[arg(value_name = "EXPR")]
        text: String,
    },
    /// Look at and steer durable tasks
    #[command(subcommand)]
    Task(TaskCommand),
}

/// The commands of `forebay ctl kv`. Values are JSON.
#[derive(Clone, Debug, PartialEq, clap::Subcommand)]
pub enum StoreCommand {
    /// Print a key's value; 1 if there is none
    Get {
        /// The key
        key: String,
    },
    /// Store a value
    Put {
        /// The key
        key: String,
        /// JSON
        #[arg(value_parser = json)]
        value: Value,
        /// Milliseconds after which the key is gone
        #[arg(long, value_name = "MS")]
        ttl: Option<u64>,
    },
    /// Remove a key; 1 if there is none
    Del {
        /// The key
        key: String,
    },
    /// Store a value if the present one is as expected; 1 if it isn't
    Cas {
        /// The key
        key: String,
        /// JSON; `undefined` if the key must be absent
        #[arg(value_parser = expected)]
        expected: Expected,
        /// JSON
        #[arg(value_parser = json)]
        value: Value,
    },
    /// Print the keys with a prefix, in order
    Scan {
        /// What the keys begin with
        #[arg(default_value = "")]
        prefix: String,
        /// Continue after this key
        #[arg(long, value_name = "KEY")]
        after: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Write a backup of this moment into a new folder on the server's machine
    Backup {
        /// The folder
        to: PathBuf,
    },
}

/// What `cas` compares with.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected(Option<Value>);

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error}; a string needs quotes: '\"text\"'"))
}

fn expected(text: &str) -> Result<Expected, String> {
    if text == "undefined" { Ok(Expected(None)) } else { json(text).map(|value| Expected(Some(value))) }
}

impl StoreCommand {
    fn body(&self) -> Value {
        match self {
            Self::Get { key } => json!({ "op": "get", "key": key }),
            Self::Put { key, value, ttl } => json!({ "op": "put", "key": key, "value": value, "ttl": ttl }),
            Self::Del { key } => json!({ "op": "del", "key": key }),
            Self::Cas { key, expected, value } => {
                let mut body = json!({ "op": "cas", "key": key, "value": value });
                if let Some(expected) = &expected.0 {
                    body["expected"] = expected.clone();
                }
                body
            }
            Self::Scan { prefix, after, limit } => {
                json!({ "op": "scan", "prefix": prefix, "after": after, "limit": limit })
            }
            Self::Backup { to } => {
                // The server has another working folder.
                let to = std::path::absolute(to).unwrap_or_else(|_| to.clone());
                json!({ "op": "backup", "to": to })
            }
        }
    }

    /// Prints what a person or a script wants to see of the answer.
    fn print(&self, answer: &Value) -> Outcome {
        let failed = |text: &str| Err(Failure::Failed(text.to_owned()));
        match self {
            Self::Get { .. } if answer["found"] == json!(false) => failed("there is no such key"),
            Self::Get { .. } => {
                print(&format!("{}\n", answer["value"]));
                Ok(())
            }
            Self::Del { .. } if answer["done"] == json!(false) => failed("there is no such key"),
            Self::Cas { .. } if answer["done"] == json!(false) => failed("the value is another one"),
            Self::Put { .. } | Self::Del { .. } | Self::Cas { .. } => Ok(()),
            Self::Scan { .. } => {
                for item in answer["items"].as_array().into_iter().flatten() {
                    print(&format!("{item}\n"));
                }
                if answer["more"] == json!(true) {
                    eprintln!("there are more: continue with --after and the last key");
                }
                Ok(())
            }
            Self::Backup { .. } => {
                print(&format!("{}\n", client::render(answer)));
                Ok(())
            }
        }
    }
}

impl CtlCommand {
    const fn request(&self) -> (&'static str, &'static str) {
        match self {
            Self::Status => ("GET", "/v1/status"),
            Self::Routes => ("GET", "/v1/routes"),
            Self::Metrics => ("GET", "/v1/metrics"),
            Self::Topology => ("GET", "/v1/topology"),
            Self::Deploy => ("POST", "/v1/deploy"),
            Self::Drain => ("POST", "/v1/drain"),
            Self::Kv(_) => ("POST", "/v1/kv"),
            Self::Task(_) => ("POST", "/v1/task"),
            Self::Eval { .. } => ("POST", "/v1/eval"),
        }
    }
}

/// Asks, prints the answer.
///
/// # Errors
/// If there is no server, or it refuses.
pub fn run(args: &CtlArgs) -> Outcome {
    let socket = args.admin.clone().unwrap_or_else(admin::default_client_path);
    if let CtlCommand::Task(command) = &args.command {
        return super::task::run(&socket, args.json, command);
    }
    let (method, path) = args.command.request();
    let body = match &args.command {
        CtlCommand::Kv(command) => command.body().to_string(),
        CtlCommand::Eval { text } => json!({ "text": text }).to_string(),
        _ => String::new(),
    };
    let reply = client::send(&socket, method, path, &body)
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
    if let CtlCommand::Kv(command) = &args.command {
        return command.print(&value);
    }
    if let CtlCommand::Eval { .. } = &args.command {
        match value["value"].as_str() {
            Some(text) => print(&format!("{text}\n")),
            None => print(&format!("{}\n", value["value"])),
        }
        return Ok(());
    }
    print(&format!("{}\n", client::render(&value)));
    Ok(())
}

/// A pipe that closes early (`| head`) is no error.
pub(super) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
