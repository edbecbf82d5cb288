//! What `forebay ctl task` can do to a task, at its home.

use std::sync::mpsc::SyncSender;

use forebay_base::Timestamp;
use forebay_base::limits::TASK_RESULT_KEPT;
use forebay_frames::{Outcome, Status, TaskId};
use forebay_ring::Reactor;

use super::{Known, SaveKind};
use crate::back::Back;

/// What to do to a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskCommand {
    /// It stops at its next suspension, until it is told to go on.
    Pause,
    /// It goes on.
    Resume,
    /// It ends where it is.
    Kill,
    /// It is told to end where it waits.
    Cancel,
    /// It goes on, with all its tries.
    Retry,
}

/// Why a request or a command about a task wasn't carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRefused {
    /// HTTP status: 400, 404, 409, 413, 500, 503.
    pub status: u16,
    /// Stable.
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

impl std::fmt::Display for TaskRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for TaskRefused {}

type Reply = SyncSender<Result<(), TaskRefused>>;

fn refuse(status: u16, code: &'static str, detail: impl Into<String>) -> Result<(), TaskRefused> {
    Err(TaskRefused { status, code, detail: detail.into() })
}

impl Back {
    pub(super) fn durable_control<R: Reactor>(
        &mut self,
        reactor: &mut R,
        id: TaskId,
        command: TaskCommand,
        reply: Reply,
    ) {
        let now = reactor.timestamp();
        match self.durable.known.get(&id).copied() {
            None => {
                let said = match self.durable_read(now, &id) {
                    Ok(Some(loaded)) => {
                        refuse(409, "task/over", format!("the task is {}", loaded.task.state.status))
                    }
                    Ok(None) => refuse(404, "task/unknown", "there is no such task"),
                    Err(why) => refuse(500, "task/damaged", why),
                };
                let _ = reply.try_send(said);
            }
            Some(Known::Busy) => {
                let _ = reply.try_send(refuse(503, "task/busy", "the task is being written: try again"));
            }
            Some(Known::Active(key)) => {
                let Some(active) = self.durable.active.get_mut(key) else { return };
                match command {
                    TaskCommand::Resume if active.order.is_some() => {
                        active.order = None;
                        let _ = reply.try_send(Ok(()));
                    }
                    TaskCommand::Resume => {
                        let _ = reply.try_send(refuse(409, "task/runs", "the task isn't paused"));
                    }
                    TaskCommand::Kill if !active.saving && active.started => {
                        active.order = Some((command, reply));
                        self.durable_cancel(reactor, key);
                    }
                    // Elsewhere (ending.rs).
                    TaskCommand::Cancel | TaskCommand::Retry => {}
                    TaskCommand::Pause | TaskCommand::Kill => {
                        if let Some((_, before)) = active.order.replace((command, reply)) {
                            let said = refuse(409, "task/busy", "another command came after this one");
                            let _ = before.try_send(said);
                        }
                    }
                }
            }
            Some(Known::Paused) if command == TaskCommand::Pause => {
                let _ = reply.try_send(Ok(()));
            }
            Some(Known::Away(_) | Known::Ready) if command == TaskCommand::Resume => {
                let _ = reply.try_send(refuse(409, "task/runs", "the task isn't paused"));
            }
            Some(Known::Away(_) | Known::Ready | Known::Paused) => {
                self.control_away(reactor, id, command, reply);
            }
        }
    }

    /// A task that isn't loaded: its records are changed where they are.
    fn control_away<R: Reactor>(&mut self, reactor: &mut R, id: TaskId, command: TaskCommand, reply: Reply) {
        let now = reactor.timestamp();
        let mut task = match self.durable_read(now, &id) {
            Ok(Some(loaded)) => loaded.task,
            Ok(None) => {
                let _ = reply.try_send(refuse(404, "task/unknown", "there is no such task"));
                return;
            }
            Err(why) => {
                let _ = reply.try_send(refuse(500, "task/damaged", why));
                return;
            }
        };
        let epoch = self.durable.epoch;
        let (batch, then, over) = match command {
            TaskCommand::Pause => {
                (task.turn(Status::Paused, "paused by hand", epoch, now), Known::Paused, false)
            }
            TaskCommand::Resume => (task.turn(Status::Running, "", epoch, now), Known::Ready, false),
            // Elsewhere (ending.rs).
            TaskCommand::Cancel | TaskCommand::Retry => return,
            TaskCommand::Kill => {
                let kept = i64::try_from(TASK_RESULT_KEPT.as_micros()).unwrap_or(i64::MAX);
                let expires = Timestamp(now.0.saturating_add(kept));
                let waits = std::mem::take(&mut task.state.waits);
                match task.finish(&Outcome::Cancelled, now, expires) {
                    Ok(mut batch) => {
                        Self::unjoin(&id, &waits, &mut batch);
                        (batch, Known::Busy, true)
                    }
                    Err(error) => {
                        let _ = reply.try_send(refuse(500, "task/damaged", error.to_string()));
                        return;
                    }
                }
            }
        };
        self.durable.take_known(&id, Known::Busy);
        let kind = SaveKind::Turn { id, then, over, reply: Some(reply) };
        self.durable_save(reactor, kind, batch, Vec::new());
    }
}
