//! `kv.*`: reads are answered at once from the store's index and map; writes are
//! submitted, and answered when the group they are in is on disk. Whichever core
//! finds no write in flight carries out the next group through its own ring.

use std::fs::OpenOptions;
use std::sync::Arc;

use forebay_base::value::codec;
use forebay_base::{TenantId, Timestamp, Value, ValueError, ValueSink, ValueSource};
use forebay_bytecode::HostFn;
use forebay_engine::{ErrorSpec, ValueRef, Vm};
use forebay_frames::Batch;
use forebay_kv::{CommitTicket, Completion, Op, Outcome, Rows, SegmentFile, Store};
use forebay_ring::{Durability, Errno, File, Reactor};

use super::{Call, Effects, Fault, What, milliseconds};
use crate::back::BackConfig;
use crate::tokens;

/// Items of a page of `kv.scan` unless the script says otherwise.
const PAGE_DEFAULT: usize = 100;

/// A write that waits for the disk: what to answer.
#[derive(Debug)]
pub(crate) enum Pending {
    /// undefined.
    Done,
    /// Whether it happened.
    Bool,
    /// The sum.
    Number,
    /// `kv.del`: true if the key was there. Deletes by comparing with what was
    /// read, and reads again if that has changed in between.
    Delete { tenant: TenantId, key: Vec<u8> },
}

/// Marks tokens of what durable tasks write. Keys of effects don't reach this bit.
pub(crate) const SAVE: u64 = 1 << 63;

/// The store as one core sees it.
pub(crate) struct Kv {
    store: Option<Arc<Store>>,
    completions: Vec<Completion>,
    /// A page, to be used again; empty between calls.
    rows: Rows,
    commit: Option<(CommitTicket, forebay_base::Monotonic)>,
    /// The segment that was written last, opened for the ring.
    file: Option<(Arc<dyn SegmentFile>, File)>,
    /// Something was submitted, or a commit has ended, since the store was last asked for
    /// its next write: a turn without either takes no lock of the store's.
    dirty: bool,
    /// A write was submitted whose answer is there at once.
    answered: bool,
}

impl Kv {
    pub(crate) fn new(config: &BackConfig) -> Self {
        Self {
            store: config.store.clone(),
            completions: Vec::new(),
            rows: Rows::new(),
            commit: None,
            file: None,
            dirty: false,
            answered: false,
        }
    }

    /// Asks the store at the turn's end, whether or not something is known.
    pub(crate) fn look(&mut self) {
        self.dirty = self.store.is_some();
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered
    }

    pub(crate) fn commit_in_flight(&self) -> bool {
        self.commit.is_some()
    }
}

/// An error that the script caused: its name and message.
pub(crate) type Refusal = (&'static str, String);

impl Effects {
    pub(super) fn begin_kv(&mut self, vm: &mut Vm, call: &Call<'_>) {
        let Some(store) = self.kv.store.clone() else {
            return self.fail(
                vm,
                call,
                &Fault { name: "UnavailableError", message: "kv: no data folder is configured", code: None },
            );
        };
        if let Err((name, message)) = self.try_kv(&store, vm, call) {
            let message = format!("{}: {message}", call.effect.func.path());
            self.fail(vm, call, &Fault { name, message: &message, code: None });
        }
    }

    fn try_kv(&mut self, store: &Arc<Store>, vm: &mut Vm, call: &Call<'_>) -> Result<(), Refusal> {
        let arg = |index| vm.arg(call.task, call.effect.id, index);
        let key = |index| -> Result<Vec<u8>, Refusal> {
            let text = arg(index);
            let text = text.as_str().ok_or(("TypeError", "the key must be a string".to_owned()))?;
            Ok(text.as_bytes().to_vec())
        };
        match call.effect.func {
            HostFn::KvGet => {
                let found = store.get(call.timestamp, call.tenant, &key(0)?).map_err(io)?;
                self.answer(vm, call, &mut |sink| match &found {
                    Some(value) => codec::decode(value, sink),
                    None => sink.undefined(),
                });
            }
            HostFn::KvExists => {
                let there = store.exists(call.timestamp, call.tenant, &key(0)?);
                self.answer(vm, call, &mut |sink| sink.bool(there));
            }
            HostFn::KvScan => {
                let prefix = key(0)?;
                let options = arg(1);
                known(&options, &["limit", "after"])?;
                let limit = options.get("limit").map_or(Ok(PAGE_DEFAULT), |limit| count(&limit, "limit"))?;
                let after =
                    options.get("after").and_then(|after| after.as_str().map(|s| s.as_bytes().to_vec()));
                let mut rows = std::mem::take(&mut self.kv.rows);
                store
                    .scan_rows(call.timestamp, call.tenant, &prefix, after.as_deref(), limit, &mut rows)
                    .map_err(io)?;
                self.answer_rows(vm, call, rows);
            }
            HostFn::KvIterate => {
                let (prefix, offset) = (key(0)?, count(&arg(1), "offset")?);
                let limit = count(&arg(2), "limit")?;
                let mut rows = std::mem::take(&mut self.kv.rows);
                store
                    .iterate_rows(call.timestamp, call.tenant, &prefix, offset, limit, &mut rows)
                    .map_err(|refused| ("RangeError", refused.to_string()))?;
                self.answer_rows(vm, call, rows);
            }
            HostFn::KvSet => {
                let (key, value) = (key(0)?, encoded(&arg(1))?);
                let options = arg(2);
                known(&options, &["ttl", "sync"])?;
                let expires = expiry(&options, call.timestamp)?;
                let sync = options.get("sync").and_then(|sync| sync.as_bool()).unwrap_or(true);
                let ops = [Op::Set { key: &key, value: &value, expires }];
                self.submit(store, call, &ops, sync, Pending::Done)?;
            }
            HostFn::KvSnx => {
                let (key, value) = (key(0)?, encoded(&arg(1))?);
                known(&arg(2), &["ttl"])?;
                let expires = expiry(&arg(2), call.timestamp)?;
                self.submit(
                    store,
                    call,
                    &[Op::Snx { key: &key, value: &value, expires }],
                    true,
                    Pending::Bool,
                )?;
            }
            HostFn::KvCas => {
                let key = key(0)?;
                let expected = arg(1);
                let expected = if expected.is_undefined() { None } else { Some(encoded(&expected)?) };
                let new = encoded(&arg(2))?;
                let op = Op::Cas { key: &key, expected: expected.as_deref(), new: Some(&new), expires: None };
                self.submit(store, call, &[op], true, Pending::Bool)?;
            }
            HostFn::KvIncr => {
                let key = key(0)?;
                let by = arg(1);
                let by = if by.is_undefined() {
                    1
                } else {
                    by.as_i64().ok_or(("TypeError", "the amount must be a whole number".to_owned()))?
                };
                self.submit(store, call, &[Op::Incr { key: &key, by }], true, Pending::Number)?;
            }
            HostFn::KvDel => {
                let key = key(0)?;
                match store.get(call.timestamp, call.tenant, &key).map_err(io)? {
                    None => self.answer(vm, call, &mut |sink| sink.bool(false)),
                    Some(value) => {
                        let op = Op::Cas { key: &key, expected: Some(&value), new: None, expires: None };
                        self.submit(
                            store,
                            call,
                            &[op],
                            true,
                            Pending::Delete { tenant: call.tenant, key: key.clone() },
                        )?;
                    }
                }
            }
            HostFn::KvBatch => {
                let batch = batch(&arg(0))?;
                let ops: Vec<Op<'_>> = batch
                    .iter()
                    .map(|(key, value)| match value {
                        Some(value) => Op::Set { key, value, expires: None },
                        None => Op::Del { key },
                    })
                    .collect();
                self.submit(store, call, &ops, true, Pending::Done)?;
            }
            other => return Err(("TypeError", format!("{} is not a kv function", other.path()))),
        }
        Ok(())
    }

    /// Answers with a page, and keeps its memory for the next one.
    fn answer_rows(&mut self, vm: &mut Vm, call: &Call<'_>, mut rows: Rows) {
        self.answer(vm, call, &mut |sink| emit_rows(&rows, sink));
        rows.clear();
        self.kv.rows = rows;
    }

    fn submit(
        &mut self,
        store: &Arc<Store>,
        call: &Call<'_>,
        ops: &[Op<'_>],
        sync: bool,
        pending: Pending,
    ) -> Result<(), Refusal> {
        let core = self.core;
        self.kv.dirty = true;
        self.kv.answered |= !sync;
        let key = self.wait(call, What::Kv(pending));
        store.submit(core, key, call.timestamp, call.tenant, ops, sync).map_err(|refused| {
            self.done(key);
            ("RangeError", refused.to_string())
        })
    }

    /// Submits a batch of a durable task; its answer comes in [`Effects::saved`] under `token`, which has [`SAVE`].
    pub(crate) fn save(
        &mut self,
        token: u64,
        now: Timestamp,
        batch: &Batch,
    ) -> Result<(), forebay_kv::Refused> {
        let Some(store) = &self.kv.store else { return Ok(()) };
        self.kv.dirty = true;
        store.submit_across(self.core, token, now, &batch.ops(TenantId(0)), true)
    }

    /// The store, if there is one.
    pub(crate) fn store(&self) -> Option<&Arc<Store>> {
        self.kv.store.as_ref()
    }

    /// Takes the store's answers, and its next write if nobody is writing. Whoever is
    /// writing looks again when that is done, so what is submitted meanwhile isn't forgotten.
    pub(super) fn flush_kv<R: Reactor>(&mut self, reactor: &mut R, vm: &mut Vm) {
        if !std::mem::take(&mut self.kv.dirty) {
            return;
        }
        self.complete_kv(vm, reactor);
        let Some(store) = &self.kv.store else { return };
        if self.kv.commit.is_some() {
            return;
        }
        let Some(job) = store.poll_commit(self.core) else { return };
        match self.kv.open(&job.file, job.fd()) {
            Some(file) => {
                reactor.write_at(&file, job.offset, job.bytes, Durability::Synced, tokens::COMMIT);
                self.kv.commit = Some((job.ticket, reactor.now()));
            }
            // No second descriptor to be had: the write blocks this core, but it happens.
            None => {
                job.run();
                self.kv.dirty = true;
                self.complete_kv(vm, reactor);
            }
        }
    }

    /// A commit of ours is over.
    pub(crate) fn committed<R: Reactor>(
        &mut self,
        reactor: &mut R,
        vm: &mut Vm,
        result: Result<usize, Errno>,
        buffer: Vec<u8>,
    ) {
        if let Some((ticket, since)) = self.kv.commit.take() {
            self.metrics.kv_sync.record(reactor.now().since(since));
            self.kv.dirty = true;
            if let Err(errno) = result {
                self.log.line(
                    crate::back::Level::Error,
                    "a write of the store failed: it is read-only until the process restarts",
                    &[("error", &errno)],
                );
            }
            ticket.finish(result.map_err(Into::into), buffer);
        }
        self.complete_kv(vm, reactor);
    }

    pub(super) fn complete_kv<R: Reactor>(&mut self, vm: &mut Vm, reactor: &R) {
        let Some(store) = self.kv.store.clone() else { return };
        self.kv.answered = false;
        let mut completions = std::mem::take(&mut self.kv.completions);
        store.completions(self.core, &mut completions);
        for completion in completions.drain(..) {
            self.complete_one(vm, &store, reactor.timestamp(), completion);
        }
        self.kv.completions = completions;
    }

    fn complete_one(&mut self, vm: &mut Vm, store: &Arc<Store>, now: Timestamp, completion: Completion) {
        let Completion { token, outcome, number } = completion;
        if token & SAVE != 0 {
            return self.saved.push(completion);
        }
        let Some(waiting) = self.waiting.get_mut(token) else { return };
        let What::Kv(pending) = &waiting.what else { return };
        if let (Pending::Delete { tenant, key }, Outcome::Conflict) = (pending, outcome) {
            // Someone was faster: look again.
            let (tenant, key) = (*tenant, key.clone());
            if let Ok(Some(value)) = store.get(now, tenant, &key) {
                let op = Op::Cas { key: &key, expected: Some(&value), new: None, expires: None };
                if store.submit(self.core, token, now, tenant, &[op], true).is_ok() {
                    self.kv.dirty = true;
                    return;
                }
            }
        }
        let Some(waiting) = self.done(token) else { return };
        let What::Kv(pending) = waiting.what else { return };
        let (task, effect) = (waiting.task, waiting.effect);
        let fault = match outcome {
            Outcome::Ok | Outcome::Conflict => {
                let happened = outcome == Outcome::Ok;
                super::resume(vm, task, effect, &mut |sink| match &pending {
                    Pending::Done => sink.undefined(),
                    Pending::Bool | Pending::Delete { .. } => sink.bool(happened),
                    Pending::Number => sink.int(number.unwrap_or(0)),
                });
                return;
            }
            Outcome::NotCounter => ErrorSpec {
                name: "TypeError",
                message: "kv.incr: the value is not an integer, or the sum leaves 64 bits",
                ..ErrorSpec::default()
            },
            Outcome::Unknown => ErrorSpec {
                name: "UnavailableError",
                message: "kv: the disk failed during the write: it may or may not have happened",
                code: Some("kv_unknown"),
                ..ErrorSpec::default()
            },
            Outcome::Unavailable(why) => {
                let message = format!("kv: {why}");
                let spec = ErrorSpec {
                    name: "UnavailableError",
                    message: &message,
                    code: Some("kv_unavailable"),
                    ..ErrorSpec::default()
                };
                let _ = vm.resume_error(task, effect, &spec);
                return;
            }
        };
        let _ = vm.resume_error(task, effect, &fault);
    }
}

impl Kv {
    /// The ring's own handle of a segment: /proc/self/fd opens the same file again,
    /// without borrowing the store's descriptor.
    fn open(&mut self, segment: &Arc<dyn SegmentFile>, fd: Option<std::os::fd::RawFd>) -> Option<File> {
        if let Some((last, file)) = &self.file
            && Arc::ptr_eq(last, segment)
        {
            return Some(file.clone());
        }
        let file = OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", fd?)).ok()?;
        let file = File::from(file);
        self.file = Some((Arc::clone(segment), file.clone()));
        Some(file)
    }
}

fn emit_rows(rows: &Rows, sink: &mut dyn ValueSink) -> Result<(), ValueError> {
    sink.begin_list(Some(rows.len()))?;
    for (key, value) in rows.iter() {
        sink.begin_map(Some(2))?;
        sink.key("key")?;
        // Keys come from scripts as text; other tools may have written others.
        sink.str(&String::from_utf8_lossy(key))?;
        sink.key("value")?;
        codec::decode(value, sink)?;
        sink.end_map()?;
    }
    sink.end_list()
}

pub(crate) fn encoded(value: &ValueRef<'_>) -> Result<Vec<u8>, Refusal> {
    if value.is_undefined() {
        return Err(("TypeError", "undefined can't be stored; kv.del removes a key".into()));
    }
    codec::encode(value).map_err(|error| ("TypeError", error.to_string()))
}

/// One that has no meaning, `tll` say, would be forgotten without a word.
pub(crate) fn known(options: &ValueRef<'_>, names: &[&str]) -> Result<(), Refusal> {
    if options.is_undefined() {
        return Ok(());
    }
    let mut unknown = None;
    let read = options.each_property(&mut |name, value| {
        if unknown.is_none() && !value.is_undefined() && !names.contains(&name) {
            unknown = Some(name.to_owned());
        }
    });
    read.map_err(|error| ("TypeError", format!("options: {error}")))?;
    match unknown {
        Some(name) => Err(("TypeError", format!("unknown option {name:?}; there are {}", names.join(", ")))),
        None => Ok(()),
    }
}

pub(crate) fn expiry(options: &ValueRef<'_>, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
    let Some(ttl) = options.get("ttl").filter(|ttl| !ttl.is_undefined()) else { return Ok(None) };
    let millis = milliseconds(ttl).map_err(|error| ("TypeError", format!("ttl: {error}")))?;
    let micros = i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1000);
    Ok(Some(Timestamp(now.0.saturating_add(micros))))
}

fn count(value: &ValueRef<'_>, name: &str) -> Result<usize, Refusal> {
    value
        .as_i64()
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| ("TypeError", format!("{name} must be a whole number, 0 or more")))
}

/// A key, and its value unless it is removed.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

/// `[{set: key, value}, {del: key}]`.
pub(crate) fn batch(list: &ValueRef<'_>) -> Result<Vec<Change>, Refusal> {
    let wrong = || ("TypeError", "expected a list of {set: key, value: v} and {del: key}".to_owned());
    let tree =
        forebay_base::value::ValueBuilder::build(list).map_err(|error| ("TypeError", error.to_string()))?;
    let mut ops = Vec::new();
    for op in tree.as_list().ok_or_else(wrong)? {
        if let Value::Map(fields) = op
            && let Some((name, _)) =
                fields.iter().find(|(name, _)| !["set", "value", "del"].contains(&&**name))
        {
            return Err(("TypeError", format!("unknown field {name:?}; there are set, value, del")));
        }
        match (op.get("set").and_then(Value::as_str), op.get("del").and_then(Value::as_str)) {
            (Some(key), None) => {
                let value = op.get("value").ok_or_else(wrong)?;
                let bytes = codec::encode(value as &dyn ValueSource)
                    .map_err(|error| ("TypeError", format!("{key}: {error}")))?;
                ops.push((key.as_bytes().to_vec(), Some(bytes)));
            }
            (None, Some(key)) => ops.push((key.as_bytes().to_vec(), None)),
            _ => return Err(wrong()),
        }
    }
    Ok(ops)
}

pub(crate) fn io(error: forebay_kv::Error) -> Refusal {
    ("UnavailableError", error.to_string())
}
