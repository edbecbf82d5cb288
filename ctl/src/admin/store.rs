//! `POST /v1/kv`: one command on the running server's store, as JSON. docs/ADMIN.md has the commands.

use std::path::Path;
use std::sync::Arc;

use forebay_base::value::codec;
use forebay_base::{TenantId, Timestamp, Value as Stored};
use forebay_kv::{Error, Op, Outcome, PAGE_ITEMS_MAX, Space, Store};
use serde_json::{Value, json};

use super::ControlError;
use crate::commands::kv::line;

/// Carries out one command.
///
/// # Errors
/// 400 if it isn't one, 422 if the store refuses it, 503 if the store takes no writes.
pub fn run(store: &Arc<Store>, command: &Value) -> Result<Value, ControlError> {
    let now = crate::log::now();
    let tenant = match command.get("tenant") {
        None | Some(Value::Null) => 0,
        Some(number) => number.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or_else(|| wrong("tenant"))?,
    };
    let space = Space::user(TenantId(tenant));
    let text = |name: &'static str| command[name].as_str().ok_or_else(|| wrong(name));
    match text("op")? {
        "get" => {
            let key = text("key")?;
            let Some(value) = store.get(now, space, key.as_bytes()).map_err(failed)? else {
                return Ok(json!({ "key": key, "found": false }));
            };
            let mut item = line(key.as_bytes(), &value);
            item["found"] = json!(true);
            Ok(item)
        }
        "scan" => {
            let limit = match command.get("limit") {
                None | Some(Value::Null) => 100,
                Some(n) => n.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| wrong("limit"))?,
            };
            let prefix = command["prefix"].as_str().unwrap_or_default();
            let after = command["after"].as_str().map(str::as_bytes);
            let page = store
                .scan(now, space, prefix.as_bytes(), after, limit.min(PAGE_ITEMS_MAX))
                .map_err(failed)?;
            let items: Vec<Value> = page.items.iter().map(|item| line(item.key(), &item.value)).collect();
            Ok(json!({ "items": items, "more": page.more }))
        }
        "put" => {
            let (key, value) = (text("key")?, encoded(&command["value"])?);
            let expires = match &command["ttl"] {
                Value::Null => None,
                ttl => {
                    let millis =
                        ttl.as_u64().and_then(|n| i64::try_from(n).ok()).ok_or_else(|| wrong("ttl"))?;
                    Some(Timestamp(now.0.saturating_add(millis.saturating_mul(1000))))
                }
            };
            write(store, now, space, &Op::Set { key: key.as_bytes(), value: &value, expires })
        }
        "del" => {
            let key = text("key")?;
            if !store.exists(now, space, key.as_bytes()) {
                return Ok(json!({ "done": false }));
            }
            write(store, now, space, &Op::Del { key: key.as_bytes() })
        }
        "cas" => {
            let (key, value) = (text("key")?, encoded(&command["value"])?);
            let expected = command.get("expected").map(encoded).transpose()?;
            let op = Op::Cas {
                key: key.as_bytes(),
                expected: expected.as_deref(),
                new: Some(&value),
                expires: None,
            };
            write(store, now, space, &op)
        }
        "backup" => {
            let backup = store.backup(Path::new(text("to")?)).map_err(failed)?;
            Ok(json!({ "segments": backup.segments, "bytes": backup.bytes }))
        }
        _ => Err(wrong("op")),
    }
}

fn write(store: &Arc<Store>, now: Timestamp, space: Space, op: &Op<'_>) -> Result<Value, ControlError> {
    done(store, now, space, op).map(|done| json!({ "done": done }))
}

/// Writes and waits for it; false if a condition of `op` didn't hold.
pub(super) fn done(
    store: &Arc<Store>,
    now: Timestamp,
    space: Space,
    op: &Op<'_>,
) -> Result<bool, ControlError> {
    let refused = |detail: String| ControlError { status: 422, code: "kv/refused", detail };
    let answer = store.write_from_outside(now, space, &[*op]).map_err(|error| refused(error.to_string()))?;
    match answer.outcome {
        Outcome::Ok => Ok(true),
        Outcome::Conflict => Ok(false),
        Outcome::NotCounter => Err(refused("the value is not an integer".to_owned())),
        Outcome::Unknown => Err(ControlError {
            status: 500,
            code: "kv/unknown",
            detail: "the disk failed during the write: it may or may not have happened".to_owned(),
        }),
        Outcome::Unavailable(why) => {
            Err(ControlError { status: 503, code: "kv/unavailable", detail: why.to_string() })
        }
    }
}

fn wrong(field: &'static str) -> ControlError {
    let detail = format!("`{field}` is missing, or not what it should be: docs/ADMIN.md");
    ControlError { status: 400, code: "kv/command", detail }
}

fn failed(error: Error) -> ControlError {
    match error {
        Error::Unavailable(why) => {
            ControlError { status: 503, code: "kv/unavailable", detail: why.to_string() }
        }
        error => ControlError { status: 422, code: "kv/refused", detail: error.to_string() },
    }
}

/// The bytes that a script's `kv.set` would store for this value.
pub(super) fn encoded(value: &Value) -> Result<Vec<u8>, ControlError> {
    let value = from_json(value).ok_or_else(|| wrong("value"))?;
    codec::encode(&value).map_err(|error| ControlError {
        status: 422,
        code: "kv/refused",
        detail: error.to_string(),
    })
}

pub(super) fn from_json(value: &Value) -> Option<Stored> {
    Some(match value {
        Value::Null => Stored::Null,
        Value::Bool(value) => Stored::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Stored::Int(number),
            None => Stored::Float(number.as_f64()?),
        },
        Value::String(text) => Stored::Str(text.as_str().into()),
        Value::Array(items) => Stored::List(items.iter().map(from_json).collect::<Option<_>>()?),
        Value::Object(fields) => Stored::Map(
            fields
                .iter()
                .map(|(name, value)| Some((name.as_str().into(), from_json(value)?)))
                .collect::<Option<_>>()?,
        ),
    })
}
