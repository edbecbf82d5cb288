//! `forebay ctl task COMMAND`: durable tasks of the running server.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::client;
use crate::{Failure, Outcome};

/// What a task's status can be.
const STATUSES: [&str; 6] = ["initialized", "running", "paused", "done", "failed", "cancelled"];

/// The commands of `forebay ctl task`.
#[derive(Clone, Debug, PartialEq, clap::Subcommand)]
pub enum TaskCommand {
    /// List tasks, in the order of their ids
    Ls {
        /// Only those with this status: initialized, running, paused, done, failed, cancelled
        #[arg(long, value_name = "STATUS", value_parser = STATUSES, hide_possible_values = true)]
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
        #[arg(required_unless_present = "all")]
        id: Option<String>,
        /// All tasks that run or wait
        #[arg(long, conflicts_with = "id")]
        all: bool,
        /// With --all, so many a second
        #[arg(long, value_name = "N", default_value_t = 100, requires = "all")]
        rate: u32,
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
    /// Let a paused task, or one that waits for its next try, go on with all its tries
    Retry {
        /// The task
        id: String,
    },
    /// Tell a task to end: it sees TaskCancelled where it waits, and its compensations run
    Cancel {
        /// The task
        id: String,
    },
    /// Send a signal to a task
    Signal {
        /// The task
        id: String,
        /// The signal's name
        name: String,
        /// Its value, as JSON; none: undefined
        value: Option<String>,
    },
    /// Change a variable of a task that doesn't run: `show` has their names
    Set {
        /// The task
        id: String,
        /// The variable: NAME, or FUNCTION.NAME
        name: String,
        /// Its new value, as JSON
        value: String,
    },
    /// End a task where it is, without compensations
    Kill {
        /// The task
        id: String,
    },
}

impl TaskCommand {
    fn body(&self) -> Result<Value, Failure> {
        Ok(match self {
            Self::Ls { status, after, limit } => {
                json!({ "op": "ls", "status": status, "after": after, "limit": limit })
            }
            Self::Show { id } => json!({ "op": "show", "id": id }),
            Self::Pause { id, .. } => json!({ "op": "pause", "id": id }),
            Self::Resume { id, .. } => json!({ "op": "resume", "id": id }),
            Self::Kill { id } => json!({ "op": "kill", "id": id }),
            Self::Retry { id } => json!({ "op": "retry", "id": id }),
            Self::Cancel { id } => json!({ "op": "cancel", "id": id }),
            Self::Set { id, name, value } => {
                let value: Value = serde_json::from_str(value)
                    .map_err(|error| Failure::Usage(format!("the value isn't JSON: {error}")))?;
                json!({ "op": "set", "id": id, "name": name, "value": value })
            }
            Self::Signal { id, name, value } => {
                let mut body = json!({ "op": "signal", "id": id, "name": name });
                if let Some(value) = value {
                    body["value"] = serde_json::from_str(value)
                        .map_err(|error| Failure::Usage(format!("the value isn't JSON: {error}")))?;
                }
                body
            }
        })
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
            Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Kill { .. }
            | Self::Retry { .. }
            | Self::Cancel { .. }
            | Self::Signal { .. }
            | Self::Set { .. } => {}
        }
    }
}

/// Asks, prints the answer.
///
/// # Errors
/// If there is no server, or it refuses.
pub fn run(socket: &Path, as_json: bool, command: &TaskCommand) -> Outcome {
    match command {
        TaskCommand::Resume { all: true, rate, .. } => {
            return each(socket, as_json, *rate, &["paused"], "resume", "resumed");
        }
        TaskCommand::Pause { all: true, rate, .. } => {
            return each(socket, as_json, *rate, &["initialized", "running"], "pause", "paused");
        }
        _ => {}
    }
    let answer = ask(socket, &command.body()?)?;
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

/// One command for all tasks of these statuses, no faster than `rate` a second: what made them pause may not bear
/// them all at once.
fn each(socket: &Path, as_json: bool, rate: u32, statuses: &[&str], op: &str, done: &str) -> Outcome {
    let pause = Duration::from_secs(1) / rate.max(1);
    let (mut count, mut refused) = (0u64, 0u64);
    for status in statuses {
        let mut after = Value::Null;
        loop {
            let page = ask(socket, &json!({ "op": "ls", "status": status, "after": after, "limit": 100 }))?;
            for task in page["tasks"].as_array().into_iter().flatten() {
                match ask(socket, &json!({ "op": op, "id": task["id"] })) {
                    Ok(_) => count += 1,
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
    }
    if as_json {
        super::ctl::print(&format!("{}\n", json!({ done: count, "refused": refused })));
    } else {
        super::ctl::print(&format!("{done} {count}, refused {refused}\n"));
    }
    if refused > 0 { Err(Failure::Failed(format!("{refused} tasks weren't {done}"))) } else { Ok(()) }
}
