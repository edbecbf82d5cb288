//! `forebay kv`: looks into a data folder without a running server. The folder is
//! locked meanwhile: a server that uses it is named.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use forebay_base::value::ValueBuilder;
use forebay_base::value::codec;
use forebay_base::{TenantId, Value};
use forebay_kv::{Config, NoWake, PAGE_ITEMS_MAX, Store};
use serde_json::{Value as Json, json};

use crate::{Failure, Outcome};

/// Arguments of `forebay kv`.
#[derive(Debug, clap::Args)]
pub struct KvArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KvCommand,
}

/// The commands of `forebay kv`.
#[derive(Debug, clap::Subcommand)]
pub enum KvCommand {
    /// Print every key and value, one JSON object a line
    Dump(DumpArgs),
    /// Check every checksum, record and hint file; changes nothing
    Verify(VerifyArgs),
    /// Rewrite what is mostly garbage, so that the folder takes less space
    Compact(VerifyArgs),
    /// Write a backup into a new folder; of a running server's: forebay ctl kv backup
    Backup(CopyArgs),
    /// Make a data folder of a backup, and verify it
    Restore(CopyArgs),
}

/// Arguments of `forebay kv backup` and `forebay kv restore`.
#[derive(Debug, clap::Args)]
pub struct CopyArgs {
    /// Data folder, or the backup to restore
    #[arg(value_name = "FROM")]
    pub from: PathBuf,
    /// Folder to make; it must not exist, or be empty
    #[arg(value_name = "TO")]
    pub to: PathBuf,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `forebay kv dump`.
#[derive(Debug, clap::Args)]
pub struct DumpArgs {
    /// Data folder
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Only keys that begin with this
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub prefix: String,
}

/// Arguments of `forebay kv verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Data folder
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// The file and offset of the first damage; who has the folder locked.
pub fn run(args: &KvArgs) -> Outcome {
    match &args.command {
        KvCommand::Dump(args) => dump(args),
        KvCommand::Verify(args) => verify(args),
        KvCommand::Compact(args) => compact(args),
        KvCommand::Backup(args) => backup(args),
        KvCommand::Restore(args) => restore(args),
    }
}

/// Opening a store makes one where there is none: a typing error must not, and nothing that isn't there is verified.
fn store_folder(dir: &Path) -> Result<&Path, Failure> {
    if !dir.is_dir() {
        return Err(Failure::Usage(format!("{} is not a folder", dir.display())));
    }
    let items = std::fs::read_dir(dir).map_err(|error| Failure::because(dir.display(), error))?;
    let is_store = items.flatten().any(|item| {
        let name = item.file_name();
        name == "LOCK" || name.to_string_lossy().ends_with(".seg")
    });
    if is_store {
        return Ok(dir);
    }
    let hint = if dir.join(".forebay/data").is_dir() { "; did you mean its .forebay/data?" } else { "" };
    Err(Failure::Failed(format!("{} holds no store{hint}", dir.display())))
}

fn verify(args: &VerifyArgs) -> Outcome {
    let folder = store_folder(&args.dir)?;
    let report =
        forebay_kv::verify(&Config::new(folder, 1)).map_err(|error| Failure::Failed(error.to_string()))?;
    let torn = report.torn_at.as_ref().map(|(file, offset)| json!({ "file": file, "offset": offset }));
    let value = json!({
        "folder": folder, "segments": report.segments, "spares": report.spares, "records": report.records,
        "keys": report.keys, "last": report.last.0, "torn_at": torn,
        "hints": report.hints, "hints_damaged": report.hints_damaged,
    });
    let text = if args.json { value.to_string() } else { crate::admin::client::render(&value) };
    println!("{text}");
    Ok(())
}

fn failed(error: forebay_kv::Error) -> Failure {
    Failure::Failed(error.to_string())
}

fn show(value: &Json, json: bool) {
    let text = if json { value.to_string() } else { crate::admin::client::render(value) };
    println!("{text}");
}

fn compact(args: &VerifyArgs) -> Outcome {
    let folder = store_folder(&args.dir)?;
    let mut config = Config::new(folder, 1);
    // Nobody waits for the disk meanwhile: what little garbage there is goes, too.
    config.garbage_percent = 5;
    let store = Store::open(config, std::sync::Arc::new(NoWake)).map_err(failed)?;
    let before = store.stats();
    // The segment that is written to is rewritten like the others.
    store.seal().map_err(failed)?;
    store.maintain(crate::log::now()).map_err(failed)?;
    let after = store.stats();
    store.close().map_err(failed)?;
    let value = json!({
        "keys": after.keys, "live_bytes": after.live_bytes,
        "log_bytes_before": before.log_bytes, "log_bytes_after": after.log_bytes,
    });
    show(&value, args.json);
    Ok(())
}

fn backup(args: &CopyArgs) -> Outcome {
    let folder = store_folder(&args.from)?;
    let store = Store::open(Config::new(folder, 1), std::sync::Arc::new(NoWake)).map_err(failed)?;
    let backup = store.backup(&args.to).map_err(failed)?;
    store.close().map_err(failed)?;
    show(&json!({ "folder": args.to, "segments": backup.segments, "bytes": backup.bytes }), args.json);
    Ok(())
}

fn restore(args: &CopyArgs) -> Outcome {
    let from = store_folder(&args.from)?;
    let copied = forebay_kv::restore(from, &args.to).map_err(failed)?;
    let report = forebay_kv::verify(&Config::new(&args.to, 1)).map_err(failed)?;
    let value = json!({
        "folder": args.to, "segments": copied.segments, "bytes": copied.bytes,
        "records": report.records, "keys": report.keys,
    });
    show(&value, args.json);
    Ok(())
}

fn dump(args: &DumpArgs) -> Outcome {
    let folder = store_folder(&args.dir)?;
    let store = Store::open(Config::new(folder, 1), std::sync::Arc::new(NoWake)).map_err(failed)?;
    let now = crate::log::now();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut after: Option<Vec<u8>> = None;
    loop {
        // Tenant 0 is the app itself; there are no others yet.
        let page = store
            .scan(now, TenantId(0), args.prefix.as_bytes(), after.as_deref(), PAGE_ITEMS_MAX)
            .map_err(failed)?;
        for item in &page.items {
            if writeln!(out, "{}", line(item.key(), &item.value)).is_err() {
                return Ok(()); // a pipe that closes early (`| head`) is no error
            }
        }
        match page.items.last() {
            Some(last) if page.more => after = Some(last.key().to_vec()),
            _ => break,
        }
    }
    let _ = out.flush();
    store.close().map_err(failed)
}

/// One key. What JSON can't say is an object with one key that begins with `$`.
pub(crate) fn line(key: &[u8], value: &[u8]) -> Json {
    let mut builder = ValueBuilder::default();
    let decoded = codec::decode(value, &mut builder).map(|()| builder.finish());
    let value = match decoded {
        Ok(Some(value)) => to_json(&value),
        // Written by somebody else than a script.
        Ok(None) | Err(_) => json!({ "$raw": hex(value) }),
    };
    match std::str::from_utf8(key) {
        Ok(key) => json!({ "key": key, "value": value }),
        Err(_) => json!({ "key": { "$bytes": hex(key) }, "value": value }),
    }
}

pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Undefined => json!({ "$undefined": true }),
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Float(value) if value.is_finite() => json!(value),
        Value::Float(value) => json!({ "$float": value.to_string() }),
        Value::BigInt(digits) => json!({ "$bigint": digits }),
        Value::Decimal(digits) => json!({ "$decimal": digits }),
        Value::Str(text) => json!(text),
        Value::Bytes(bytes) => json!({ "$bytes": hex(bytes) }),
        Value::Timestamp(micros) => {
            json!({ "$timestamp": crate::log::rfc3339(forebay_base::Timestamp(*micros)) })
        }
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(pairs) => pairs.iter().map(|(key, value)| (key.to_string(), to_json(value))).collect(),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_what_json_cannot_say() {
        let check = |value: Value, expected: Json| {
            let bytes = codec::encode(&value).unwrap();
            assert_eq!(line(b"k", &bytes), json!({ "key": "k", "value": expected }));
        };
        check(Value::Int(7), json!(7));
        check(Value::Str("é".into()), json!("é"));
        check(Value::Float(f64::NAN), json!({ "$float": "NaN" }));
        check(Value::Bytes(Box::from(*b"\x00\xff")), json!({ "$bytes": "00ff" }));
        check(Value::Decimal("1.50".into()), json!({ "$decimal": "1.50" }));
        check(Value::Timestamp(1), json!({ "$timestamp": "1970-01-01T00:00:00.000001Z" }));
        check(
            Value::Map(vec![("a".into(), Value::List(vec![Value::Null, true.into()]))]),
            json!({ "a": [null, true] }),
        );
        assert_eq!(
            line(b"\xff", b"\xff\xff"),
            json!({ "key": { "$bytes": "ff" }, "value": { "$raw": "ffff" } })
        );
    }
}
