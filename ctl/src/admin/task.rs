//! `POST /v1/task`: durable tasks of the running server, as JSON. docs/ADMIN.md has the commands.
//!
//! What is only looked at is read from the store, which any thread may; what is changed is asked of the
//! task's home core.

use std::sync::Arc;

use forebay_base::{TenantId, Timestamp};
use forebay_frames::{
    Loaded, Outcome, Record, State, Task, TaskId, end_of, id_of, prefix, record_key, rfc3339, tasks_prefix,
};
use forebay_kv::{PAGE_ITEMS_MAX, Space, Store};
use forebay_worker::{Runtime, TaskCommand};
use serde_json::{Value, json};

use super::ControlError;

/// Tasks of one page of `ls`.
const PAGE_TASKS_MAX: usize = 1000;
/// Tasks that one page of `ls` looks at when it picks by status.
const LOOKS_MAX: usize = 100_000;

/// Carries out one command.
///
/// # Errors
/// 400 if it isn't one, 404 without such a task, 409 if it can't be done to it now, 503 later.
pub fn run(store: &Arc<Store>, runtime: &Runtime, command: &Value) -> Result<Value, ControlError> {
    let now = crate::log::now();
    let op = command["op"].as_str().ok_or_else(|| wrong("op"))?;
    if op == "ls" {
        return list(store, now, command);
    }
    let id = command["id"].as_str().ok_or_else(|| wrong("id"))?;
    let id = TaskId::new(id).map_err(|error| refused(400, "task/command", error.to_string()))?;
    let asked = match op {
        "show" => {
            let mut shown = show(store, now, &id)?;
            // What it holds is its home's to say; without an answer the rest is shown.
            if let Ok(look) = runtime.look(&id) {
                add_look(&mut shown, &look);
            }
            return Ok(shown);
        }
        "set" => {
            let name = command["name"].as_str().ok_or_else(|| wrong("name"))?;
            let value = command.get("value").and_then(super::store::from_json);
            let value = value.ok_or_else(|| wrong("value"))?;
            return match runtime.set_local(&id, name, value) {
                Ok(()) => Ok(json!({ "done": true })),
                Err(error) => Err(refused(error.status, error.code, error.detail)),
            };
        }
        "pause" => TaskCommand::Pause,
        "resume" => TaskCommand::Resume,
        "kill" => TaskCommand::Kill,
        "cancel" => TaskCommand::Cancel,
        "retry" => TaskCommand::Retry,
        "signal" => {
            let name = command["name"].as_str().ok_or_else(|| wrong("name"))?;
            let value = command.get("value").map(super::store::encoded).transpose()?;
            return match runtime.signal(&id, name, value) {
                Ok(()) => Ok(json!({ "done": true })),
                Err(error) => Err(refused(error.status, error.code, error.detail)),
            };
        }
        _ => return Err(wrong("op")),
    };
    match runtime.task(&id, asked) {
        Ok(()) => Ok(json!({ "done": true })),
        Err(error) => Err(refused(error.status, error.code, error.detail)),
    }
}

fn refused(status: u16, code: &'static str, detail: String) -> ControlError {
    ControlError { status, code, detail }
}

fn wrong(field: &'static str) -> ControlError {
    refused(400, "task/command", format!("`{field}` is missing, or not what it should be: docs/ADMIN.md"))
}

fn failed(error: &dyn std::fmt::Display) -> ControlError {
    refused(500, "task/damaged", error.to_string())
}

/// A page of the tasks, in the order of their ids.
fn list(store: &Store, now: Timestamp, command: &Value) -> Result<Value, ControlError> {
    let space = Space::hidden(TenantId(0));
    let limit = match command.get("limit") {
        None | Some(Value::Null) => 100,
        Some(n) => n.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| wrong("limit"))?,
    };
    let limit = limit.min(PAGE_TASKS_MAX);
    let status = command["status"].as_str();
    let mut after = match command["after"].as_str() {
        Some(id) => Some(end_of(&TaskId::new(id).map_err(|error| failed(&error))?)),
        None => None,
    };
    let mut tasks = Vec::new();
    let mut looks = 0;
    let mut more = false;
    let mut last = None;
    loop {
        // The first record behind the last task's: another task's.
        let page = store.scan(now, space, tasks_prefix(), after.as_deref(), 1).map_err(|e| failed(&e))?;
        let Some(id) = page.items.first().and_then(|item| id_of(item.key())) else { break };
        if tasks.len() == limit || looks == LOOKS_MAX {
            more = true;
            break;
        }
        looks += 1;
        after = Some(end_of(&id));
        let bytes = store.get(now, space, &record_key(&id, Record::State)).map_err(|e| failed(&e))?;
        last = Some(id.as_str().to_owned());
        // Between two records of one that has just ended: its state expires with it.
        let Some(bytes) = bytes else { continue };
        let state = State::decode(&bytes).map_err(|e| failed(&e))?;
        if status.is_none_or(|status| status == state.status.name()) {
            tasks.push(line(&id, &state));
        }
    }
    Ok(json!({ "tasks": tasks, "more": more, "last": last }))
}

/// Variables by name, and the lines at which it waits.
fn add_look(shown: &mut Value, look: &forebay_worker::TaskLook) {
    let mut locals = serde_json::Map::new();
    for (name, json) in &look.locals {
        let value = json.as_deref().and_then(|json| serde_json::from_str(json).ok());
        locals.insert(name.clone(), value.unwrap_or_else(|| json!("(no JSON)")));
    }
    shown["locals"] = Value::Object(locals);
    let place = |place: &forebay_engine::Place| {
        json!(format!("{}:{}:{}: {}", place.file, place.line, place.column, place.text))
    };
    shown["waits_at"] = look.places.iter().map(place).collect();
    if let Some(why) = &look.without_database {
        shown["waits_for_database"] = json!(why);
    }
}

fn line(id: &TaskId, state: &State) -> Value {
    json!({
        "id": id.as_str(), "work": state.work, "status": state.status.name(), "step": state.step,
        "blocked_on": state.blocked, "wakes_at": state.wake().map(rfc3339),
        "updated_at": rfc3339(state.updated),
    })
}

/// A task with all its records, of one moment.
pub(crate) fn read(store: &Store, now: Timestamp, id: &TaskId) -> Result<Loaded, ControlError> {
    let space = Space::hidden(TenantId(0));
    let mut items = Vec::new();
    loop {
        let after = items.last().map(|item: &forebay_kv::Item| item.key().to_vec());
        let page =
            store.scan(now, space, &prefix(id), after.as_deref(), PAGE_ITEMS_MAX).map_err(|e| failed(&e))?;
        let more = page.more;
        items.extend(page.items);
        if !more {
            break;
        }
    }
    match Task::load(id.clone(), items.iter().map(|item| (item.key(), &*item.value))) {
        Ok(loaded) => Ok(loaded),
        Err(forebay_frames::LoadError::Missing) => {
            Err(refused(404, "task/unknown", "there is no such task".to_owned()))
        }
        Err(error) => Err(failed(&error)),
    }
}

fn show(store: &Store, now: Timestamp, id: &TaskId) -> Result<Value, ControlError> {
    let loaded = read(store, now, id)?;
    let state = &loaded.task.state;
    let hash: String = state.code.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let mut shown = line(id, state);
    shown["created_at"] = json!(rfc3339(state.created));
    shown["code"] = json!(hash);
    shown["epoch"] = json!(state.epoch);
    if !state.reason.is_empty() {
        shown["reason"] = json!(state.reason);
    }
    if !state.not_undone.is_empty() {
        shown["compensations_failed"] = json!(state.not_undone);
    }
    match &loaded.outcome {
        Some(Outcome::Answer { status, content_type, body, .. }) => {
            let text = String::from_utf8_lossy(body);
            let body = serde_json::from_str(&text).unwrap_or_else(|_| json!(text));
            shown["result"] = json!({ "status": status, "content_type": content_type, "body": body });
        }
        Some(Outcome::Failed(failure)) => {
            shown["error"] = json!({
                "code": failure.code, "name": failure.name, "message": failure.message, "stack": failure.stack,
            });
        }
        Some(Outcome::Cancelled) | None => {}
    }
    if !state.status.is_over() {
        let (records, bytes) =
            loaded.task.parts().fold((0, 0), |(n, sum), (_, part)| (n + 1, sum + part.len()));
        shown["records"] = json!(records);
        shown["bytes"] = json!(bytes);
    }
    Ok(shown)
}
