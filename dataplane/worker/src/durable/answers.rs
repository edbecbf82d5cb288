//! Durable tasks over HTTP: 202 with a Location, state and result as JSON, the result itself for those who waited.
//!
//! `Prefer: wait=5` (RFC 7240 section 4.3) asks to wait for the end; `Preference-Applied` says when that was heard.

use forebay_base::limits::TASK_WAIT_MAX;
use forebay_base::{TenantId, Timestamp, Value, ValueSource as _};
use forebay_frames::{Outcome, Record, State, TaskId, record_key, rfc3339};
use forebay_http::{DateCache, HeadView, Problem, Reply, ResponseWriter};
use forebay_kv::{Space, Store};
use forebay_ring::Reactor;
use std::time::Duration;

use super::{Asked, Asker, Message, TaskRefused, Told};
use crate::back::{Answers, Back, Origin, RETRY_AFTER_S};
use crate::generation::TASKS_PATH;
use crate::json::JsonWriter;
use crate::tokens;

/// Seconds of `Prefer: wait=...`, within bounds.
pub(super) fn preferred_wait(head: HeadView<'_>) -> Option<Duration> {
    let asked = head.field_all("prefer").find_map(|value| {
        let text = std::str::from_utf8(value).ok()?;
        text.split([',', ';']).find_map(|preference| {
            let (name, seconds) = preference.split_once('=')?;
            let wait = name.trim().eq_ignore_ascii_case("wait");
            wait.then(|| seconds.trim().trim_matches('"').parse::<u64>().ok()).flatten()
        })
    })?;
    Some(Duration::from_secs(asked).min(TASK_WAIT_MAX)).filter(|wait| !wait.is_zero())
}

/// What the store says of a task.
struct Seen {
    state: State,
    outcome: Option<Outcome>,
}

fn look(store: &Store, now: Timestamp, id: &TaskId) -> Option<Seen> {
    let space = Space::hidden(TenantId(0));
    let get = |record| store.get(now, space, &record_key(id, record)).ok().flatten();
    // The result first: it comes in one batch with the state that says so.
    let outcome = get(Record::Result).and_then(|bytes| Outcome::decode(&bytes).ok());
    let state = State::decode(&get(Record::State)?).ok()?;
    Some(Seen { state, outcome })
}

impl Seen {
    /// The state as JSON, with the result if there is one.
    fn json(&self, id: &TaskId) -> Vec<u8> {
        let text = |text: &str| Value::Str(text.into());
        let State { status, work, step, blocked, created, updated, reason, not_undone, .. } = &self.state;
        let mut pairs: Vec<(Box<str>, Value)> = vec![
            ("id".into(), text(id.as_str())),
            ("work".into(), text(work)),
            ("status".into(), text(status.name())),
            ("step".into(), Value::Int(i64::try_from(*step).unwrap_or(i64::MAX))),
            ("created_at".into(), text(&rfc3339(*created))),
            ("updated_at".into(), text(&rfc3339(*updated))),
        ];
        if !blocked.is_empty() {
            pairs.push(("blocked_on".into(), text(blocked)));
        }
        if let Some(wake) = self.state.wake() {
            pairs.push(("wakes_at".into(), text(&rfc3339(wake))));
        }
        if !reason.is_empty() {
            pairs.push(("reason".into(), text(reason)));
        }
        if !not_undone.is_empty() {
            let errors = not_undone.iter().map(|error| text(error)).collect();
            pairs.push(("compensations_failed".into(), Value::List(errors)));
        }
        let mut body = None;
        match &self.outcome {
            Some(Outcome::Answer { status, content_type, headers, body: bytes }) => {
                let mut result: Vec<(Box<str>, Value)> =
                    vec![("status".into(), Value::Int(i64::from(*status)))];
                if let Some(content_type) = content_type {
                    result.push(("content_type".into(), text(content_type)));
                    body = Some((&**content_type, bytes));
                }
                if !headers.is_empty() {
                    let list = headers.iter().map(|(name, value)| (name.clone(), text(value))).collect();
                    result.push(("headers".into(), Value::Map(list)));
                }
                pairs.push(("result".into(), Value::Map(result)));
            }
            Some(Outcome::Failed(failure)) => {
                pairs.push((
                    "error".into(),
                    Value::Map(vec![
                        ("code".into(), text(&failure.code)),
                        ("name".into(), text(&failure.name)),
                        ("message".into(), text(&failure.message)),
                    ]),
                ));
            }
            Some(Outcome::Cancelled) | None => {}
        }
        let mut out = json(&Value::Map(pairs));
        // The body is JSON already, or text, or bytes that JSON can't hold.
        if let Some((content_type, bytes)) = body
            && out.ends_with(b"}}")
        {
            let value = match std::str::from_utf8(bytes) {
                Ok(_) if content_type == "application/json" => Some(bytes.clone()),
                Ok(whole) => Some(json(&text(whole))),
                Err(_) => None,
            };
            if let Some(value) = value {
                out.truncate(out.len() - 2);
                out.extend_from_slice(b",\"body\":");
                out.extend_from_slice(&value);
                out.extend_from_slice(b"}}");
            }
        }
        out.push(b'\n');
        out
    }
}

fn json(value: &Value) -> Vec<u8> {
    let mut writer = JsonWriter::default();
    // Maps, texts and numbers only.
    let _ = value.emit(&mut writer);
    writer.finish()
}

/// The state, as 202 or 200.
fn write_state(out: &mut Vec<u8>, reply: Reply, date: &DateCache, status: u16, id: &TaskId, seen: &Seen) {
    let mut response = ResponseWriter::new(out, reply, status, date);
    if status == 202 {
        let _ = response.header("Location", format!("{TASKS_PATH}{id}").as_bytes());
    }
    let _ = response.header("Cache-Control", b"no-store");
    response.content_type("application/json");
    let mut body = response.begin_body();
    body.out().extend_from_slice(&seen.json(id));
    body.finish();
}

/// The result itself, as the handler's answer would have been. The status.
fn write_result(
    out: &mut Vec<u8>,
    reply: Reply,
    date: &DateCache,
    id: &TaskId,
    seen: &Seen,
    dev: bool,
) -> u16 {
    let location = format!("{TASKS_PATH}{id}");
    match &seen.outcome {
        Some(Outcome::Answer { status, content_type, headers, body }) => {
            let mut response = ResponseWriter::new(out, reply, *status, date);
            for (name, value) in headers {
                // Checked when the task ended? Not by HTTP's rules: one that breaks them is left out.
                let _ = response.header(name, value.as_bytes());
            }
            let _ = response.header("Content-Location", location.as_bytes());
            let _ = response.header("Preference-Applied", b"wait");
            match content_type {
                None => {
                    response.no_body();
                }
                Some(content_type) => {
                    response.content_type(content_type);
                    let mut out = response.begin_body();
                    out.out().extend_from_slice(body);
                    out.finish();
                }
            }
            *status
        }
        Some(Outcome::Failed(failure)) => {
            let detail = if dev { &*failure.message } else { "" };
            Problem::new(500, &failure.code, detail).write(out, reply, date);
            500
        }
        Some(Outcome::Cancelled) | None => {
            Problem::new(410, "cancelled", "the task was cancelled").write(out, reply, date);
            410
        }
    }
}

impl Back {
    /// `GET /_forebay/tasks/{id}`.
    pub(crate) fn durable_look<R: Reactor, A: Answers<R>>(
        &mut self,
        reactor: &mut R,
        answers: &mut A,
        origin: Origin,
    ) {
        let request = origin.incoming.request.view();
        let text = request.head.path().strip_prefix(TASKS_PATH).unwrap_or_default();
        let unknown = || TaskRefused {
            status: 404,
            code: "no_task",
            detail: "there is no such task, or its result is no longer kept".into(),
        };
        let Ok(id) = TaskId::new(text) else {
            return self.durable_refuse(reactor, answers, origin, &unknown());
        };
        let wait = preferred_wait(request.head);
        let seen = self.effects.store().and_then(|store| look(store, reactor.timestamp(), &id));
        match (seen, wait) {
            (None, _) => self.durable_refuse(reactor, answers, origin, &unknown()),
            (Some(seen), Some(wait)) if !seen.state.status.is_over() => {
                let home = id.home(self.durable.cores());
                let asked = Asked { origin, id: id.clone(), starts: false, wait: Some(wait), timer: None };
                let key = self.durable.asked.insert(asked);
                self.durable.send(home, Message::Watch { id, from: Asker { core: self.core, key } });
            }
            (Some(_), _) => self.answer_state(reactor, answers, origin, &id, 200),
        }
    }

    /// A home has answered for a request of this core.
    pub(super) fn durable_told<R: Reactor, A: Answers<R>>(
        &mut self,
        reactor: &mut R,
        answers: &mut A,
        key: u64,
        told: Told,
    ) {
        if key & super::mail::SCRIPT != 0 {
            return self.script_told(key, told);
        }
        let Some(asked) = self.durable.asked.get_mut(key) else { return };
        match told {
            Told::Known if asked.wait.is_some() && asked.timer.is_none() && !self.durable.draining => {
                let wait = asked.wait.unwrap_or_default();
                let due = reactor.now().after(wait);
                asked.timer = Some(reactor.set_timer(due, tokens::asked(key)));
            }
            told => {
                let Some(asked) = self.durable.asked.remove(key) else { return };
                if let Some(timer) = asked.timer {
                    reactor.cancel_timer(timer);
                }
                let Asked { origin, id, starts, .. } = asked;
                match told {
                    Told::Refused(refused) => self.durable_refuse(reactor, answers, origin, &refused),
                    Told::Sent => self.durable_answer(reactor, answers, origin, |out, reply, date| {
                        ResponseWriter::new(out, reply, 204, date).no_body();
                        204
                    }),
                    Told::Over if starts => self.answer_result(reactor, answers, origin, &id),
                    Told::Known | Told::Over => {
                        self.answer_state(reactor, answers, origin, &id, if starts { 202 } else { 200 });
                    }
                }
            }
        }
    }

    /// A request has waited enough: it gets the state.
    pub(crate) fn durable_waited<R: Reactor, A: Answers<R>>(
        &mut self,
        reactor: &mut R,
        answers: &mut A,
        key: u64,
    ) {
        let Some(asked) = self.durable.asked.remove(key) else { return };
        let home = asked.id.home(self.durable.cores());
        let from = Asker { core: self.core, key };
        self.durable.send(home, Message::Unwatch { id: asked.id.clone(), from });
        let status = if asked.starts { 202 } else { 200 };
        self.answer_state(reactor, answers, asked.origin, &asked.id, status);
    }

    fn answer_state<R: Reactor, A: Answers<R>>(
        &mut self,
        reactor: &mut R,
        answers: &mut A,
        origin: Origin,
        id: &TaskId,
        status: u16,
    ) {
        let seen = self.effects.store().and_then(|store| look(store, reactor.timestamp(), id));
        self.durable_answer(reactor, answers, origin, |out, reply, date| match &seen {
            Some(seen) => {
                write_state(out, reply, date, status, id, seen);
                status
            }
            None => {
                Problem::new(404, "no_task", "the task's result is no longer kept").write(out, reply, date);
                404
            }
        });
    }

    fn answer_result<R: Reactor, A: Answers<R>>(
        &mut self,
        reactor: &mut R,
        answers: &mut A,
        origin: Origin,
        id: &TaskId,
    ) {
        let dev = self.dev;
        let seen = self.effects.store().and_then(|store| look(store, reactor.timestamp(), id));
        self.durable_answer(reactor, answers, origin, |out, reply, date| match &seen {
            Some(seen) => write_result(out, reply, date, id, seen, dev),
            None => {
                Problem::new(404, "no_task", "the task's result is no longer kept").write(out, reply, date);
                404
            }
        });
    }

    pub(super) fn durable_refuse<R: Reactor, A: Answers<R>>(
        &mut self,
        reactor: &mut R,
        answers: &mut A,
        origin: Origin,
        refused: &TaskRefused,
    ) {
        self.durable_answer(reactor, answers, origin, |out, reply, date| {
            let problem = Problem {
                retry_after_s: (refused.status == 503).then_some(RETRY_AFTER_S),
                ..Problem::new(refused.status, refused.code, &refused.detail)
            };
            problem.write(out, reply, date);
            refused.status
        });
    }

    /// Writes an answer and counts it.
    fn durable_answer<R: Reactor, A: Answers<R>>(
        &mut self,
        reactor: &mut R,
        answers: &mut A,
        origin: Origin,
        write: impl FnOnce(&mut Vec<u8>, Reply, &DateCache) -> u16,
    ) {
        let Origin { connection, sequence, mut reply, arrived, incoming } = origin;
        if self.draining {
            reply = reply.and_close();
        }
        let mut status = 202;
        answers.answer(reactor, connection, sequence, incoming, |out, date| {
            status = write(out, reply, date);
            reply.keep_alive
        });
        self.metrics.answers[usize::from(status / 100).min(5)].add(1);
        self.answered.push((arrived, 1));
    }
}
