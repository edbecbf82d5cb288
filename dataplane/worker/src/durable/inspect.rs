//! `forebay ctl task show` and `set`: what a task holds, by name, and where it waits. A task that is put away is restored for
//! that, looked at, and forgotten again.

use std::sync::mpsc::SyncSender;

use forebay_base::{TenantId, Timestamp, Value, ValueSource as _};
use forebay_engine::{Packing, Place, RestoreInput, TaskHandle};
use forebay_frames::{Loaded, TaskId};
use forebay_ring::Reactor;

use super::ending::Then;
use super::mail::Caller;
use super::{Known, SaveKind, TaskRefused};
use crate::back::Back;
use crate::json::JsonWriter;

/// Bytes of a variable's value that are shown.
const SHOWN_BYTES_MAX: usize = 4096;

/// What a task holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskLook {
    /// `function.name`, and the value as JSON; none if JSON doesn't have it, or it is long.
    pub locals: Vec<(String, Option<String>)>,
    /// Where its fibers wait.
    pub places: Vec<Place>,
    /// Why it waits for the database, if it has asked in vain since its last step.
    pub without_database: Option<String>,
}

fn refused(status: u16, code: &'static str, detail: impl Into<String>) -> TaskRefused {
    TaskRefused { status, code, detail: detail.into() }
}

impl Back {
    /// Looks at a task, wherever it is.
    pub(super) fn durable_inspect<R: Reactor>(
        &mut self,
        reactor: &mut R,
        id: &TaskId,
        reply: &SyncSender<Result<TaskLook, TaskRefused>>,
    ) {
        let _ = reply.try_send(self.inspected(reactor, id));
    }

    fn inspected<R: Reactor>(&mut self, reactor: &mut R, id: &TaskId) -> Result<TaskLook, TaskRefused> {
        let without_database = self.durable.without_database.get(id).map(|known| known.why.clone());
        self.held_by(reactor, id).map(|look| TaskLook { without_database, ..look })
    }

    fn held_by<R: Reactor>(&mut self, reactor: &mut R, id: &TaskId) -> Result<TaskLook, TaskRefused> {
        if let Some(Known::Active(key)) = self.durable.known.get(id).copied() {
            let run = self.durable.active.get_mut(key).and_then(|active| active.run);
            let task = run.and_then(|run| self.runs.get_mut(run)).map(|run| run.task);
            return Ok(task.map(|task| self.look_into(task)).unwrap_or_default());
        }
        let loaded = self.readable(reactor.timestamp(), id)?;
        let task = self.restored(reactor, &loaded)?;
        let look = self.look_into(task);
        self.vm.finish(task);
        Ok(look)
    }

    fn readable(&self, now: Timestamp, id: &TaskId) -> Result<Loaded, TaskRefused> {
        match self.durable_read(now, id) {
            Ok(Some(loaded)) if loaded.task.state.status.is_over() => {
                Err(refused(409, "task/over", format!("the task is {}", loaded.task.state.status)))
            }
            Ok(Some(loaded)) => Ok(loaded),
            Ok(None) => Err(refused(404, "task/unknown", "there is no such task")),
            Err(why) => Err(refused(500, "task/damaged", why)),
        }
    }

    /// A task of the machine that nobody runs: to be finished at once.
    fn restored<R: Reactor>(&mut self, reactor: &mut R, loaded: &Loaded) -> Result<TaskHandle, TaskRefused> {
        let (now, wall) = Self::now_of(reactor);
        let state = &loaded.task.state;
        self.durable_code(wall, &state.code).map_err(|why| refused(500, "task/damaged", why))?;
        let limits = self.limits_of(&state.code, &state.work);
        let Self { durable, vm, .. } = self;
        let code = durable.codes.get(&state.code).ok_or_else(|| refused(500, "task/damaged", "no code"))?;
        let input = RestoreInput { limits: &limits, tenant: TenantId(0), now, fresh_wall_time: true };
        let records = loaded.task.parts().map(|(part, bytes)| (super::run::key_of(part), bytes));
        vm.restore(code.id, records, &input).map_err(|error| refused(503, "task/busy", error.to_string()))
    }

    fn look_into(&self, task: TaskHandle) -> TaskLook {
        let each = |local: forebay_engine::Local<'_>| {
            let function =
                if local.function.is_empty() { String::new() } else { format!("{}.", local.function) };
            let mut writer = JsonWriter::default();
            let json = local.value.emit(&mut writer).ok().map(|()| writer.finish());
            let json = json.filter(|json| json.len() <= SHOWN_BYTES_MAX);
            (format!("{function}{}", local.name), json.and_then(|json| String::from_utf8(json).ok()))
        };
        TaskLook {
            locals: self.vm.locals(task).into_iter().map(each).collect(),
            places: self.vm.places(task),
            without_database: None,
        }
    }

    /// Changes a variable of a task that is put away.
    pub(super) fn durable_set<R: Reactor>(
        &mut self,
        reactor: &mut R,
        id: TaskId,
        name: &str,
        value: &Value,
        reply: SyncSender<Result<(), TaskRefused>>,
    ) {
        let then = match self.durable.known.get(&id).copied() {
            // Loaded, so that it looks at what came meanwhile.
            Some(Known::Away(_)) => Then::Load,
            Some(Known::Paused) | None => Then::Pause,
            Some(Known::Active(_) | Known::Busy | Known::Ready) => {
                let why = refused(409, "task/runs", "the task runs: pause it first");
                let _ = reply.try_send(Err(why));
                return;
            }
        };
        match self.patched(reactor, &id, name, value) {
            Ok(batch) => {
                self.durable.take_known(&id, Known::Busy);
                let kind = SaveKind::Turned { id, wake: then, caller: Caller::Control(reply) };
                self.durable_save(reactor, kind, batch, Vec::new());
            }
            Err(why) => {
                let _ = reply.try_send(Err(why));
            }
        }
    }

    fn patched<R: Reactor>(
        &mut self,
        reactor: &mut R,
        id: &TaskId,
        name: &str,
        value: &Value,
    ) -> Result<forebay_frames::Batch, TaskRefused> {
        let (now, wall) = Self::now_of(reactor);
        let mut loaded = self.readable(wall, id)?;
        let task = self.restored(reactor, &loaded)?;
        let Self { durable, vm, .. } = self;
        let set = vm.set_local(task, name, value);
        let saved = set.map_err(|error| refused(422, "task/local", error.to_string())).and_then(|()| {
            vm.snapshot(task, Packing::Keep, now, &mut durable.snapshot)
                .map_err(|error| refused(500, "task/damaged", error.to_string()))
        });
        vm.finish(task);
        saved?;
        Ok(loaded.task.patch(super::run::parts(&durable.snapshot), durable.epoch, wall))
    }
}
