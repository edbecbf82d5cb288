//! Requests that start durable tasks: on the core that the request came to, and at the task's home.

use forebay_base::TenantId;
use forebay_bytecode::encode;
use forebay_engine::{Entry as VmEntry, Headers, Packing, RequestInput};
use forebay_frames::{Record, Start, State, Task, TaskId, code_key, digest, record_key};
use forebay_http::HeadView;
use forebay_kv::Space;
use forebay_ring::Reactor;
use std::rc::Rc;

use super::{Active, Asked, Asker, Known, Message, SaveKind, TaskRefused, Told};
use crate::back::{Answers, Back, Origin, Run, Whose};
use crate::durable::answers::preferred_wait;
use crate::generation::{Target, with_own};

/// A request as it travels to its task's home.
#[derive(Debug)]
pub(crate) struct StartRequest {
    pub(super) id: TaskId,
    pub(super) from: Asker,
    /// It wants to be told of the end.
    pub(super) watch: bool,
    pub(super) generation: u64,
    pub(super) entry: u32,
    pub(super) payload: [u8; 32],
    pub(super) input: Input,
}

#[derive(Debug)]
pub(super) struct Input {
    pub(super) method: Box<str>,
    pub(super) path: Box<str>,
    pub(super) query: Box<str>,
    pub(super) params: Vec<(Box<str>, Box<str>)>,
    pub(super) headers: Fields,
    pub(super) content_type: Option<Box<str>>,
    pub(super) body: Box<[u8]>,
    pub(super) ip: Box<str>,
}

#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(Box<str>, Box<[u8]>)>);

impl Headers for Fields {
    fn each(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in &self.0 {
            each(name.as_bytes(), value);
        }
    }
}

fn fields_of(head: HeadView<'_>) -> Fields {
    Fields(head.fields().map(|(name, value)| (name.into(), value.into())).collect())
}

impl Back {
    /// A request of a durable work: named, and sent to its task's home.
    pub(crate) fn durable_request<R: Reactor, A: Answers<R>>(
        &mut self,
        reactor: &mut R,
        answers: &mut A,
        origin: Origin,
        generation: u64,
        entry: u32,
    ) {
        let Some(index) = self.adopted(generation) else {
            return self.refuse(reactor, answers, origin, forebay_engine::StartError::NoEntry);
        };
        let of = &self.generations[index].generation;
        let route = &of.entries[entry as usize];
        let template = route.durable.as_ref().and_then(|durable| durable.id.clone());
        let request = origin.incoming.request.view();
        let path = request.head.path();
        let names = &of.routes.routes()[entry as usize].names;
        let params: Vec<(Box<str>, Box<str>)> = names
            .iter()
            .enumerate()
            .filter_map(|(index, name)| {
                let value = origin.incoming.params.decoded(index, path).ok().flatten()?;
                Some((name.clone(), value.as_ref().into()))
            })
            .collect();
        let named = match (&template, request.head.field("idempotency-key")) {
            (Some(template), _) => Some(TaskId::new(&filled(template, &params))),
            (None, Some(value)) => Some(TaskId::of_header(value)),
            (None, None) => None,
        };
        let query = request.head.query().unwrap_or("");
        let payload = digest(&[
            route.work.as_bytes(),
            request.head.method_str().as_bytes(),
            path.as_bytes(),
            query.as_bytes(),
            request.body,
        ]);
        let wait = preferred_wait(request.head);
        let input = Input {
            method: request.head.method_str().into(),
            path: path.into(),
            query: query.into(),
            params,
            headers: fields_of(request.head),
            content_type: request
                .head
                .field("content-type")
                .and_then(|value| std::str::from_utf8(value).ok())
                .map(Into::into),
            body: request.body.into(),
            ip: origin.incoming.peer.map(|ip| ip.to_string()).unwrap_or_default().into(),
        };
        let id = match named {
            Some(Ok(id)) => id,
            Some(Err(error)) => {
                let refused = TaskRefused { status: 400, code: "bad_task_id", detail: error.to_string() };
                return self.durable_refuse(reactor, answers, origin, &refused);
            }
            None => self.random_id(),
        };
        if self.effects.store().is_none() {
            let detail = "durable tasks need a data folder".to_owned();
            let refused = TaskRefused { status: 503, code: "unavailable", detail };
            return self.durable_refuse(reactor, answers, origin, &refused);
        }
        let home = id.home(self.durable.cores());
        let asked = Asked { origin, id: id.clone(), starts: true, wait, timer: None };
        let key = self.durable.asked.insert(asked);
        let from = Asker { core: self.core, key };
        let start = StartRequest { id, from, watch: wait.is_some(), generation, entry, payload, input };
        self.durable.send(home, Message::Start(Box::new(start)));
    }

    /// A name that nobody can guess, of a task whose home is here: so it needs no way to another core.
    pub(super) fn random_id(&mut self) -> TaskId {
        loop {
            let mut bits = [0; 16];
            forebay_engine::Host::random(&mut self.host, &mut bits);
            let id = TaskId::random(bits);
            if id.home(self.durable.cores()) == self.core.0 {
                return id;
            }
        }
    }

    /// At home: starts the task, or attaches to the one that has the name.
    pub(super) fn durable_start<R: Reactor>(&mut self, reactor: &mut R, request: StartRequest) {
        let from = request.from;
        if let Err(refused) = self.try_start(reactor, request) {
            self.durable.tell(from, Told::Refused(refused));
        }
    }

    fn try_start<R: Reactor>(&mut self, reactor: &mut R, request: StartRequest) -> Result<(), TaskRefused> {
        let unavailable =
            |detail: &str| TaskRefused { status: 503, code: "unavailable", detail: detail.into() };
        let store = self.effects.store().ok_or_else(|| unavailable("there is no data folder"))?.clone();
        let now = reactor.timestamp();
        let id = request.id.clone();
        let space = Space::hidden(TenantId(0));
        if let Some(Known::Active(key)) = self.durable.known.get(&id).copied()
            && let Some(active) = self.durable.active.get_mut(key)
        {
            same(&active.task.state, &request)?;
            if active.started {
                self.durable.tell(request.from, Told::Known);
            } else {
                active.askers.push(request.from);
            }
            if request.watch {
                self.durable.waiters.entry(id).or_default().push(request.from);
            }
            return Ok(());
        }
        let stored = store
            .get(now, space, &record_key(&id, Record::State))
            .map_err(|error| unavailable(&error.to_string()))?;
        if let Some(bytes) = stored {
            let state = State::decode(&bytes).map_err(|error| TaskRefused {
                status: 500,
                code: "damaged",
                detail: error.to_string(),
            })?;
            same(&state, &request)?;
            if state.status.is_over() {
                let told = if request.watch { Told::Over } else { Told::Known };
                self.durable.tell(request.from, told);
            } else {
                self.durable.tell(request.from, Told::Known);
                if request.watch {
                    self.durable.waiters.entry(id).or_default().push(request.from);
                }
            }
            return Ok(());
        }
        if self.durable.draining {
            return Err(unavailable("the server is being stopped"));
        }
        self.start_new(reactor, request)
    }

    fn start_new<R: Reactor>(&mut self, reactor: &mut R, request: StartRequest) -> Result<(), TaskRefused> {
        let reloading = || TaskRefused {
            status: 503,
            code: "reloading",
            detail: "the app has just been reloaded".into(),
        };
        let full =
            || TaskRefused { status: 503, code: "overloaded", detail: "too many tasks are running".into() };
        let (now, wall) = Self::now_of(reactor);
        let StartRequest { id, from, watch, generation, entry, payload, input } = request;
        let index = self.adopted(generation).ok_or_else(reloading)?;
        let of = std::sync::Arc::clone(&self.generations[index].generation);
        let route = &of.entries[entry as usize];
        let Target::Script { blueprint, action } = &route.target else { return Err(reloading()) };
        let vm_entry = VmEntry::of(action).ok_or_else(reloading)?;
        let blueprint = &of.blueprints[*blueprint as usize];
        let Self { durable, vm, .. } = self;
        let hash = durable.adopt(vm, blueprint).ok_or_else(full)?;
        let Some(code) = durable.codes.get_mut(&hash) else { return Err(full()) };
        let params: Vec<(&str, &str)> = input.params.iter().map(|(n, v)| (&**n, &**v)).collect();
        let given = RequestInput {
            method: &input.method,
            path: &input.path,
            query: &input.query,
            params: &params,
            headers: &input.headers,
            content_type: input.content_type.as_deref(),
            body: &input.body,
            ip: &input.ip,
        };
        let started = vm.start(code.id, vm_entry, &given, &route.limits, TenantId(0), now);
        let task = started.map_err(|error| match error {
            forebay_engine::StartError::TooLarge => TaskRefused {
                status: 413,
                code: "too_large_for_task",
                detail: "the request doesn't fit into the task's memory limit".into(),
            },
            _ => full(),
        })?;
        code.tasks += 1;
        if vm.guard(task).is_err() {
            vm.finish(task);
            durable.release_code(&hash);
            return Err(full());
        }
        let snapshot = &mut durable.snapshot;
        if let Err(error) = vm.snapshot(task, Packing::Keep, now, snapshot) {
            vm.finish(task);
            durable.release_code(&hash);
            let detail = error.to_string();
            return Err(TaskRefused { status: 500, code: "cannot_suspend", detail });
        }
        let space = Space::hidden(TenantId(0));
        let there = self.effects.store().is_some_and(|store| store.exists(wall, space, &code_key(&hash)));
        let module = (!there).then(|| encode(blueprint.module()));
        let epoch = self.durable.epoch;
        let mut number = [0; 16];
        forebay_engine::Host::random(&mut self.host, &mut number);
        let work = route.work.clone();
        let start = Start { id: id.clone(), work, code: hash, module, payload, epoch, number };
        let (frames, batch) = Task::start(start, super::run::parts(&self.durable.snapshot), wall);
        let run = Run::durable(task);
        let run = self.runs.insert(run);
        self.effects.patient.insert(run);
        let active = Active {
            run: Some(run),
            task: frames,
            works: Rc::from([route.work.clone()]),
            held: Vec::new(),
            conditions: Vec::new(),
            waits: Vec::new(),
            full: Vec::new(),
            commit: None,
            must_save: false,
            dirty: true,
            saving: false,
            resumed: false,
            repack: false,
            tries: 0,
            order: None,
            askers: vec![from],
            started: false,
            mail: super::mail::Mail::default(),
            cancels: Vec::new(),
            heard: Vec::new(),
        };
        let key = self.durable.active.insert(active);
        if let Some(run) = self.runs.get_mut(run) {
            run.whose = Whose::Durable(key);
        }
        self.durable.known.insert(id.clone(), Known::Active(key));
        if watch {
            self.durable.waiters.entry(id).or_default().push(from);
        }
        self.durable_save(reactor, SaveKind::Start(key), batch, Vec::new());
        // Nothing that it does leaves the machine before this batch and the next one are on disk: it may run.
        self.queue_run(run);
        Ok(())
    }

    /// The budgets of a work, of whatever code, under the present configuration.
    pub(super) fn limits_of(&self, code: &[u8; 32], work: &str) -> forebay_base::limits::TaskLimits {
        let base =
            self.generations.back().map(|adopted| adopted.generation.limits.clone()).unwrap_or_default();
        let own = self.durable.codes.get(code).and_then(|code| {
            code.blueprint.module().works.iter().find(|w| &*w.name == work).map(|w| w.limits)
        });
        own.map_or(base.clone(), |own| with_own(&base, &own))
    }
}

/// A second start of the same name must be of the same.
fn same(state: &State, request: &StartRequest) -> Result<(), TaskRefused> {
    if state.payload == request.payload {
        return Ok(());
    }
    let detail =
        format!("there is a task {:?} already, which was started with something else", request.id.as_str());
    Err(TaskRefused { status: 409, code: "other_payload", detail })
}

/// Parameters in their places.
pub(super) fn filled(template: &str, params: &[(Box<str>, Box<str>)]) -> String {
    let mut id = template.to_owned();
    for (name, value) in params {
        id = id.replace(&format!("{{{name}}}"), value);
    }
    id
}
