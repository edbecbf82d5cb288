//! `POST /v1/eval`: S-expressions on the running server's store. docs/SEXPR.md has the language.
//!
//! They run on the admin thread, in a machine of their own with the limits of a task: no core waits for them.

use std::sync::Arc;

use forebay_base::limits::TaskLimits;
use forebay_base::value::{ValueBuilder, codec};
use forebay_base::{TenantId, Value as Data};
use forebay_engine::embed::{Engine, Error};
use forebay_engine::{BodyKind, Host, LogLevel};
use forebay_kv::{Op, PAGE_ITEMS_MAX, Space, Store};
use serde_json::{Value, json};

use super::ControlError;
use crate::log::{Level, Logger};

/// Lines go to the server's log.
struct EvalHost(Logger);

impl Host for EvalHost {
    fn log(&mut self, level: LogLevel, line: &str) {
        let level = match level {
            LogLevel::Info => Level::Info,
            LogLevel::Warn => Level::Warn,
            LogLevel::Error => Level::Error,
        };
        self.0.line(level, line).send();
    }
    fn env(&mut self, _: &str) -> Option<&str> {
        None
    }
    fn random(&mut self, out: &mut [u8]) {
        let read = std::fs::File::open("/dev/urandom")
            .and_then(|mut file| std::io::Read::read_exact(&mut file, out));
        if let Err(error) = read {
            self.0.line(Level::Error, "no random bytes").show("error", &error).send();
        }
    }
}

/// Runs `{"text": ...}`; answers `value`, and `status` if it isn't 200.
///
/// # Errors
/// 400 if there is no text; 422 with a code frame if it doesn't compile or fails.
pub fn run(store: &Arc<Store>, logger: &Logger, command: &Value) -> Result<Value, ControlError> {
    let refused = |status: u16, detail: String| ControlError { status, code: "admin/eval", detail };
    let Some(text) = command["text"].as_str() else {
        return Err(refused(400, "`text` is missing: the S-expressions to run".to_owned()));
    };
    let store = Arc::clone(store);
    let mut engine = Engine::new()
        .limits(TaskLimits::default())
        .host(EvalHost(logger.clone()))
        .on_call(move |name, args| call(&store, name, args));
    let failed = |error: Error| refused(422, error.to_string());
    let work = engine.build("eval.sxs", text).map_err(failed)?;
    let answer = engine.trigger(&work, "").map_err(failed)?;
    let value = match answer.kind {
        BodyKind::Empty => Value::Null,
        BodyKind::Json => serde_json::from_slice(&answer.body).unwrap_or_default(),
        BodyKind::Text | BodyKind::Html | BodyKind::Bytes => json!(String::from_utf8_lossy(&answer.body)),
    };
    Ok(if matches!(answer.status, 200 | 204) {
        json!({ "value": value })
    } else {
        json!({ "value": value, "status": answer.status })
    })
}

/// One call on the store.
fn call(store: &Arc<Store>, name: &str, args: &[Data]) -> Result<Data, String> {
    let now = crate::log::now();
    let space = Space::user(TenantId(0));
    let arg = |index: usize| args.get(index).unwrap_or(&Data::Undefined);
    let key = match arg(0) {
        Data::Str(key) => key.as_bytes(),
        _ => return Err(format!("{name}: a key is text")),
    };
    let encoded = |value: &Data| codec::encode(value).map_err(|error| format!("{name}: {error}"));
    let write = |op: &Op<'_>| super::store::done(store, now, space, op).map_err(|error| error.detail);
    let no_options = |index: usize| match arg(index) {
        Data::Undefined => Ok(()),
        _ => Err(format!("{name}: no options in `forebay ctl eval`; `forebay ctl kv put` has --ttl")),
    };
    match name {
        "kv.get" => match store.get(now, space, key).map_err(|error| error.to_string())? {
            Some(value) => decoded(&value),
            None => Ok(Data::Undefined),
        },
        "kv.exists" => Ok(Data::Bool(store.exists(now, space, key))),
        "kv.set" => {
            no_options(2)?;
            let value = encoded(arg(1))?;
            write(&Op::Set { key, value: &value, expires: None }).map(|_| Data::Undefined)
        }
        "kv.del" => {
            let there = store.exists(now, space, key);
            Ok(Data::Bool(there && write(&Op::Del { key })?))
        }
        "kv.snx" => {
            no_options(2)?;
            let value = encoded(arg(1))?;
            write(&Op::Cas { key, expected: None, new: Some(&value), expires: None }).map(Data::Bool)
        }
        "kv.cas" => {
            let expected = if *arg(1) == Data::Undefined { None } else { Some(encoded(arg(1))?) };
            let value = encoded(arg(2))?;
            let op = Op::Cas { key, expected: expected.as_deref(), new: Some(&value), expires: None };
            write(&op).map(Data::Bool)
        }
        "kv.iterate" => iterate(store, key, arg(1), arg(2)),
        _ => Err(format!("`{name}` is not in `forebay ctl eval`: write a blueprint")),
    }
}

fn decoded(bytes: &[u8]) -> Result<Data, String> {
    let mut builder = ValueBuilder::default();
    codec::decode(bytes, &mut builder).map_err(|error| error.to_string())?;
    builder.finish().ok_or_else(|| "the record holds no value".to_owned())
}

/// A list of `{key, value}`; at most a page.
fn iterate(store: &Arc<Store>, prefix: &[u8], offset: &Data, limit: &Data) -> Result<Data, String> {
    let count = |value: &Data| match value {
        Data::Int(n) => usize::try_from(*n).ok(),
        _ => None,
    };
    let (Some(offset), Some(limit)) = (count(offset), count(limit)) else {
        return Err("kv.iterate: offset and limit are whole numbers from 0".to_owned());
    };
    if offset.saturating_add(limit) > PAGE_ITEMS_MAX {
        return Err(format!("kv.iterate: at most {PAGE_ITEMS_MAX} keys in `forebay ctl eval`"));
    }
    let space = Space::user(TenantId(0));
    let page = store
        .scan(crate::log::now(), space, prefix, None, offset + limit)
        .map_err(|error| error.to_string())?;
    let pairs = page.items.iter().skip(offset).map(|item| {
        let key = String::from_utf8_lossy(item.key()).into_owned();
        Ok(Data::Map(vec![("key".into(), Data::Str(key.into())), ("value".into(), decoded(&item.value)?)]))
    });
    pairs.collect::<Result<Vec<_>, String>>().map(Data::List)
}
