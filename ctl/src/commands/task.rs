//! `forebay ctl task COMMAND`: durable tasks of the running server.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::client;
use crate::{Failure, Outcome};

/// The commands of `forebay ctl task`.
#[derive(Clone, Debug, PartialEq, clap::Subcommand)]
pub enum TaskCommand {
    /// List tasks, in the order of their ids
    Ls {
        /// Only those with this status: initialized, running, paused, done, failed, cancelled
        #[arg(long, value_name = "STATUS")]
        status: Option<String>,
        /// Continue after this id
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Print a task: state, what it waits for, result
    Show {
        /// The task
        id: String,
    },
    /// Stop a task at its next suspension, until it is resumed
    Pause {
        /// The task
        id: String,
    },
    /// Let a paused task go on
    Resume {
        /// The task
        #[arg(required_unless_present = "all")]
        id: Option<String>,
        /// All paused tasks
        #[arg(long, conflicts_with = "id")]
        all: bool,
        /// With --all, so many a second
        #[arg(long, value_name = "N", default_value_t = 100, requires = "all")]
        rate: u32,
    },
    /// End a task where it is
    Kill {
        /// The task
        id: String,
    },
}

impl TaskCommand {
    fn body(&self) -> Value {
        match self {
            Self::Ls { status, after, limit } => {
                json!({ "op": "ls", "status": status, "after": after, "limit": limit })
            }
            Self::Show { id } => json!({ "op": "show", "id": id }),
            Self::Pause { id } => json!({ "op": "pause", "id": id }),
            Self::Resume { id, .. } => json!({ "op": "resume", "id": id }),
            Self::Kill { id } => json!({ "op": "kill", "id": id }),
        }
    }

    fn print(&self, answer: &Value) {
        match self {
            Self::Ls { .. } => {
                super::ctl::print(&format!("{}\n", client::render(&answer["tasks"])));
                if answer["more"] == json!(true) {
                    eprintln!(
                        "there are more: continue with --after {}",
                        answer["last"].as_str().unwrap_or("ID")
                    );
                }
            }
            Self::Show { .. } => super::ctl::print(&format!("{}\n", client::render(answer))),
            Self::Pause { .. } | Self::Resume { .. } | Self::Kill { .. } => {}
        }
    }
}

/// Asks, prints the answer.
///
/// # Errors
/// If there is no server, or it refuses.
pub fn run(socket: &Path, as_json: bool, command: &TaskCommand) -> Outcome {
    if let TaskCommand::Resume { all: true, rate, .. } = command {
        return resume_all(socket, as_json, *rate);
    }
    let answer = ask(socket, &command.body())?;
    if as_json {
        super::ctl::print(&format!("{answer}\n"));
    } else {
        command.print(&answer);
    }
    Ok(())
}

fn ask(socket: &Path, body: &Value) -> Result<Value, Failure> {
    let reply = client::send(socket, "POST", "/v1/task", &body.to_string())
        .map_err(|error| Failure::because(format!("no forebay answers at {}", socket.display()), error))?;
    let value: Value = serde_json::from_str(&reply.body)
        .map_err(|error| Failure::because("the server's answer isn't JSON", error))?;
    if reply.status != 200 {
        let detail = value["detail"].as_str().map_or_else(|| reply.body.clone(), str::to_owned);
        return Err(Failure::Failed(detail));
    }
    Ok(value)
}

/// All paused tasks, no faster than `rate` a second: what made them pause may not bear them all at once.
fn resume_all(socket: &Path, as_json: bool, rate: u32) -> Outcome {
    let pause = Duration::from_secs(1) / rate.max(1);
    let mut after = Value::Null;
    let (mut resumed, mut refused) = (0u64, 0u64);
    loop {
        let page = ask(socket, &json!({ "op": "ls", "status": "paused", "after": after, "limit": 100 }))?;
        for task in page["tasks"].as_array().into_iter().flatten() {
            match ask(socket, &json!({ "op": "resume", "id": task["id"] })) {
                Ok(_) => resumed += 1,
                Err(error) => {
                    refused += 1;
                    eprintln!("{}: {error}", task["id"].as_str().unwrap_or_default());
                }
            }
            std::thread::sleep(pause);
        }
        if page["more"] != json!(true) {
            break;
        }
        after = page["last"].clone();
    }
    if as_json {
        super::ctl::print(&format!("{}\n", json!({ "resumed": resumed, "refused": refused })));
    } else {
        super::ctl::print(&format!("resumed {resumed}, refused {refused}\n"));
    }
    if refused > 0 { Err(Failure::Failed(format!("{refused} tasks weren't resumed"))) } else { Ok(()) }
}
