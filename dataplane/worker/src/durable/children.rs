//! `task.start`: tasks that scripts start, and what is posted to tasks over HTTP.

use forebay_base::limits::TASK_SIGNAL_BYTES_MAX;
use forebay_base::value::codec;
use forebay_base::{Value, ValueSource as _};
use forebay_frames::{Signal, TaskId, digest};
use forebay_ring::Reactor;

use super::mail::{Caller, SCRIPT, checked_name};
use super::start::{Fields, Input, StartRequest, filled};
use super::{Asked, Asker, Message, TaskRefused};
use crate::back::{Answers, Back, Origin};
use crate::effects::kv::Refusal;
use crate::effects::{Call, What};
use crate::generation::{PROMISES_PATH, Target};
use crate::json::JsonWriter;

impl Back {
    /// A script starts a task. The same effect of a durable task names the same task in every life, so it is
    /// started once.
    pub(super) fn start_child(&mut self, call: &Call<'_>, from: Asker) -> Result<(), Refusal> {
        let wrong = |message: String| ("TypeError", format!("task.start: {message}"));
        let arg = |index| self.vm.arg(call.task, call.effect.id, index);
        let work: Box<str> =
            arg(0).as_str().ok_or_else(|| wrong("the work is its name, a string".into()))?.into();
        let adopted = self.generations.back().ok_or_else(|| wrong("there are no works".into()))?;
        let of = std::sync::Arc::clone(&adopted.generation);
        let named = |entry: &crate::generation::Entry| entry.work == work;
        let durable = |entry: &crate::generation::Entry| {
            entry.work == work && entry.durable.is_some() && matches!(entry.target, Target::Script { .. })
        };
        let Some(entry) = of.entries.iter().position(durable) else {
            let there = of.entries.iter().any(named);
            let why = if there { "isn't durable" } else { "doesn't exist" };
            return Err(wrong(format!("the work {work:?} {why}")));
        };
        let route = &of.entries[entry];
        let payload = arg(1);
        let mut params: Vec<(Box<str>, Box<str>)> = Vec::new();
        for name in &of.routes.routes()[entry].names {
            let value = payload.get(name);
            let text = match &value {
                Some(value) => match value.as_str() {
                    Some(text) => Some(text.to_owned()),
                    None => value.as_i64().map(|number| number.to_string()),
                },
                None => None,
            };
            let text = text.ok_or_else(|| {
                wrong(format!("the path of {work:?} has {{{name}}}: the payload needs a {name}"))
            })?;
            params.push((name.clone(), text.into()));
        }
        let mut body = Vec::new();
        if !payload.is_undefined() {
            let mut writer = JsonWriter::default();
            payload.emit(&mut writer).map_err(|error| wrong(error.to_string()))?;
            body = writer.finish();
        }
        let named = match arg(2).get("id").filter(|id| !id.is_undefined()) {
            Some(id) => {
                let text = id.as_str().ok_or_else(|| wrong("the id must be a string".into()))?;
                Some(TaskId::new(text))
            }
            None => {
                let template = route.durable.as_ref().and_then(|durable| durable.id.clone());
                match template {
                    Some(template) => Some(TaskId::new(&filled(&template, &params))),
                    // Too long with its parent's name in front: a name made of its digest.
                    None => call.once.map(|once| TaskId::new(once).or_else(|_| of_digest(once))),
                }
            }
        };
        let id = match named {
            Some(id) => id.map_err(|error| wrong(error.to_string()))?,
            None => self.random_id(),
        };
        let route = &of.entries[entry];
        let method = route.method.clone();
        let path = filled(&route.pattern, &params);
        let payload = digest(&[work.as_bytes(), method.as_bytes(), path.as_bytes(), b"", &body]);
        let input = Input {
            method,
            path: path.into(),
            query: "".into(),
            params,
            headers: Fields::default(),
            content_type: (!body.is_empty()).then(|| "application/json".into()),
            body: body.into(),
            ip: "".into(),
        };
        if let Some(waiting) = self.effects.waiting.get_mut(from.key & !SCRIPT) {
            waiting.what = What::Task(Some(id.clone()));
        }
        let home = id.home(self.durable.cores());
        let entry = u32::try_from(entry).unwrap_or(u32::MAX);
        let start = StartRequest { id, from, watch: false, generation: of.id, entry, payload, input };
        self.durable.send(home, Message::Start(Box::new(start)));
        Ok(())
    }

    /// `POST /_forebay/tasks/{id}/signals/{name}` and `POST /_forebay/promises/{token}`: 204 when it is on disk.
    pub(crate) fn durable_post<R: Reactor, A: Answers<R>>(
        &mut self,
        reactor: &mut R,
        answers: &mut A,
        origin: Origin,
    ) {
        let request = origin.incoming.request.view();
        let path = request.head.path();
        let text = |status: u16, code: &'static str, detail: &str| TaskRefused {
            status,
            code,
            detail: detail.into(),
        };
        let param = |index: usize| {
            let decoded = origin.incoming.params.decoded(index, path).ok().flatten();
            decoded.map(|text| text.into_owned()).unwrap_or_default()
        };
        let is_promise = path.starts_with(PROMISES_PATH);
        let kind = request.head.field("content-type").unwrap_or_default();
        let value = match request.body {
            b"" => Ok(None),
            body if kind.starts_with(b"text/") => match std::str::from_utf8(body) {
                Ok(text) => Ok(Some(Value::Str(text.into()))),
                Err(_) => Err(text(400, "bad_request", "the body isn't UTF-8")),
            },
            body => match super::body::parse(body) {
                Some(value) => Ok(Some(value)),
                None => Err(text(400, "bad_request", "the body isn't JSON")),
            },
        };
        let bytes = value.and_then(|value| match value.map(|value| codec::encode(&value)).transpose() {
            Ok(Some(bytes)) if bytes.len() > TASK_SIGNAL_BYTES_MAX => {
                Err(text(413, "too_large", &format!("a value has at most {TASK_SIGNAL_BYTES_MAX} bytes")))
            }
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(text(400, "bad_request", &error.to_string())),
        });
        let id = TaskId::new(&param(0)).map_err(|_| text(404, "no_task", "there is no such task"));
        let name = checked_name(&param(1)).map_err(|why| text(400, "bad_request", &why));
        let (id, bytes) = match (id, bytes) {
            (Ok(id), Ok(bytes)) => (id, bytes),
            (Err(why), _) | (_, Err(why)) => return self.durable_refuse(reactor, answers, origin, &why),
        };
        let name = match name {
            Err(why) if !is_promise => return self.durable_refuse(reactor, answers, origin, &why),
            name => name.unwrap_or_default(),
        };
        let asked = Asked { origin, id: id.clone(), starts: false, wait: None, timer: None };
        let key = self.durable.asked.insert(asked);
        let caller = Caller::Asker(Asker { core: self.core, key });
        if is_promise {
            self.post_promise(reactor, &id, bytes, caller);
        } else {
            self.post_signal(reactor, id, Signal { name, value: bytes }, caller);
        }
    }
}

/// A name of 32 digits, for what has none that fits.
fn of_digest(text: &str) -> Result<TaskId, forebay_frames::IdError> {
    let hash = digest(&[text.as_bytes()]);
    let mut bits = [0; 16];
    bits.copy_from_slice(&hash[..16]);
    Ok(TaskId::random(bits))
}
