//! Which effect of a durable task needs what.
//!
//! | effect | |
//! |---|---|
//! | kv.get, exists, scan, iterate | at once; the step's own writes are seen |
//! | kv.set, del, batch | kept until the step ends |
//! | kv.snx, cas, incr | end the step; in its batch, with their result |
//! | a query that only reads, or is inside of a transaction | at once |
//! | http | ends the step; sent when the batch is on disk, with an Idempotency-Key |
//! | sleep | ends the step; the task is put away |
//! | a query that writes | ends the step; with its row in a transaction of its own (sql.rs) |
//! | tx | ends the step; what is inside runs without suspensions, and can't send requests, sleep, cas, snx or incr |
//! | task.signal, promise | kept until the step ends (mail.rs) |
//! | task.wait, join, a promise's wait | end the step, unless it is there; the task is put away |
//! | task.start, cancel | end the step; done once under the effect's name |
//! | task.defer | ends the step |

use forebay_base::limits::{KV_KEY_BYTES_MAX, KV_VALUE_BYTES_MAX, TASK_STEP_BYTES_MAX, TASK_STEP_WRITES_MAX};
use forebay_base::value::codec;
use forebay_base::{TenantId, Timestamp};
use forebay_bytecode::HostFn;
use forebay_engine::{Effect, TaskHandle};
use forebay_frames::{Condition, Wait, WaitKind, rfc3339};
use forebay_kv::{Refused, Space};
use forebay_ring::Reactor;

use crate::back::Back;
use crate::effects::kv::{self, Refusal};
use crate::effects::{Call, Fault, milliseconds};

/// A key, its value unless it is removed, and when that is gone.
type Write = (Vec<u8>, Option<Vec<u8>>, Option<Timestamp>);

/// What becomes of an effect.
pub(super) enum Begun {
    /// Answered, or on its way.
    Done,
    /// Leaves the machine when the step is on disk.
    Held,
}

impl Back {
    /// Looks at what a run asked for since the last time.
    pub(super) fn durable_effects<R: Reactor>(
        &mut self,
        reactor: &mut R,
        run: u64,
        key: u64,
        task: TaskHandle,
    ) {
        let mut taken = std::mem::take(&mut self.durable.taken);
        taken.clear();
        self.vm.take_effects(task, &mut taken);
        for effect in &taken {
            self.durable_effect(reactor, run, key, task, effect);
        }
        self.durable.taken = taken;
    }

    /// Looks at one effect.
    pub(super) fn durable_effect<R: Reactor>(
        &mut self,
        reactor: &mut R,
        run: u64,
        key: u64,
        task: TaskHandle,
        effect: &Effect,
    ) {
        let (now, timestamp) = Self::now_of(reactor);
        let call = Call { run, task, effect, now, timestamp, tenant: TenantId(0), once: None };
        let inside = self.vm.transaction(task, effect.id) != 0;
        let begun = match effect.func {
            func if inside && needs_suspension(func) => {
                let path = match effect.func {
                    HostFn::HttpRequest => "http",
                    HostFn::TaskDeferWait | HostFn::TaskDeferKept => "task.defer",
                    HostFn::TaskPromiseMake | HostFn::TaskPromiseWait => "task.promise",
                    func => func.path(),
                };
                let why = "isn't possible inside of tx() in a durable task: do it before or after";
                Err(("TypeError", format!("{path} {why}")))
            }
            HostFn::KvSet | HostFn::KvDel | HostFn::KvBatch => self.write_later(key, &call),
            HostFn::KvSnx | HostFn::KvCas | HostFn::KvIncr => self.condition(key, &call),
            HostFn::KvGet | HostFn::KvExists => self.read_own(reactor, key, &call),
            HostFn::KvScan | HostFn::KvIterate => Ok(self.read_page(reactor, key, &call)),
            HostFn::Sleep => self.sleep_long(key, &call),
            HostFn::HttpRequest => Ok(Begun::Held),
            HostFn::Query => self.durable_query(reactor, key, &call),
            HostFn::TxBegin => self.durable_tx_begin(reactor, key, &call),
            HostFn::TxEnd => Ok(self.durable_tx_end(reactor, key, &call)),
            HostFn::CopyIn
            | HostFn::CopyOut
            | HostFn::CursorOpen
            | HostFn::CursorFetch
            | HostFn::CursorClose => {
                Err(("TypeError", "copy and cursors aren't possible in a durable task yet".to_owned()))
            }
            _ => self.task_call(reactor, key, &call),
        };
        match begun {
            Ok(Begun::Done) => {}
            Ok(Begun::Held) => {
                if let Some(active) = self.durable.active.get_mut(key) {
                    active.held.push(*effect);
                }
            }
            Err((name, message)) => {
                self.effects.fail(&mut self.vm, &call, &Fault { name, message: &message, code: None });
            }
        }
    }

    fn key_arg(&self, call: &Call<'_>) -> Result<Vec<u8>, Refusal> {
        let text = self.vm.arg(call.task, call.effect.id, 0);
        let path = call.effect.func.path();
        let text = text.as_str().ok_or(("TypeError", format!("{path}: the key must be a string")))?;
        checked(text.as_bytes().to_vec(), 0)
    }

    /// `kv.set`, `kv.del`, `kv.batch`: kept for the step's batch, and seen by the task at once.
    fn write_later(&mut self, key: u64, call: &Call<'_>) -> Result<Begun, Refusal> {
        let arg = |index| self.vm.arg(call.task, call.effect.id, index);
        let named = |(name, message): Refusal| (name, format!("{}: {message}", call.effect.func.path()));
        let mut was = None;
        let mut writes: Vec<Write> = Vec::new();
        match call.effect.func {
            HostFn::KvSet => {
                let name = self.key_arg(call)?;
                let value = kv::encoded(&arg(1)).map_err(named)?;
                kv::known(&arg(2), &["ttl", "sync"]).map_err(named)?;
                let expires = kv::expiry(&arg(2), call.timestamp).map_err(named)?;
                writes.push((name, Some(value), expires));
            }
            HostFn::KvDel => {
                let name = self.key_arg(call)?;
                was = Some(self.there(key, call, &name)?);
                writes.push((name, None, None));
            }
            _ => {
                let batch = kv::batch(&arg(0)).map_err(named)?;
                writes.extend(batch.into_iter().map(|(name, value)| (name, value, None)));
            }
        }
        for (name, value, _) in &writes {
            checked(name.clone(), value.as_ref().map_or(0, Vec::len)).map_err(named)?;
        }
        if let Some(active) = self.durable.active.get_mut(key) {
            let buffer = &mut active.task.buffer;
            for (name, value, expires) in writes {
                match value {
                    Some(value) => buffer.set(name, value, expires),
                    None => buffer.del(name),
                }
            }
            let full = buffer.len() > TASK_STEP_WRITES_MAX || buffer.bytes() > TASK_STEP_BYTES_MAX;
            if full && was.is_none() {
                // The step ends here: answered when all that is on disk.
                active.must_save = true;
                active.full.push(call.effect.id);
                return Ok(Begun::Done);
            }
        }
        self.effects.answer(&mut self.vm, call, &mut |sink| match was {
            Some(was) => sink.bool(was),
            None => sink.undefined(),
        });
        Ok(Begun::Done)
    }

    /// Whether a key is there, as the task sees it.
    fn there(&mut self, key: u64, call: &Call<'_>, name: &[u8]) -> Result<bool, Refusal> {
        if let Some(own) =
            self.durable.active.get_mut(key).and_then(|active| active.task.buffer.get(name, call.timestamp))
        {
            return Ok(own.is_some());
        }
        let store = self.effects.store().ok_or(("UnavailableError", "kv: no data folder".to_owned()))?;
        Ok(store.exists(call.timestamp, Space::user(call.tenant), name))
    }

    fn condition(&mut self, key: u64, call: &Call<'_>) -> Result<Begun, Refusal> {
        let arg = |index| self.vm.arg(call.task, call.effect.id, index);
        let named = |(name, message): Refusal| (name, format!("{}: {message}", call.effect.func.path()));
        let name = self.key_arg(call)?;
        let condition = match call.effect.func {
            HostFn::KvSnx => {
                let value = kv::encoded(&arg(1)).map_err(named)?;
                kv::known(&arg(2), &["ttl"]).map_err(named)?;
                let expires = kv::expiry(&arg(2), call.timestamp).map_err(named)?;
                Condition::Snx { key: checked(name, value.len()).map_err(named)?, value, expires }
            }
            HostFn::KvCas => {
                let expected = arg(1);
                let expected =
                    if expected.is_undefined() { None } else { Some(kv::encoded(&expected).map_err(named)?) };
                let new = kv::encoded(&arg(2)).map_err(named)?;
                Condition::Cas { key: checked(name, new.len()).map_err(named)?, expected, new }
            }
            _ => {
                let by = arg(1);
                let by = if by.is_undefined() { Some(1) } else { by.as_i64() };
                let by = by.ok_or(("TypeError", "kv.incr: the amount must be a whole number".to_owned()))?;
                Condition::Incr { key: name, by }
            }
        };
        if let Some(active) = self.durable.active.get_mut(key) {
            active.conditions.push((call.effect.id, condition));
        }
        Ok(Begun::Done)
    }

    /// `kv.get`, `kv.exists`: the step's own write first.
    fn read_own<R: Reactor>(&mut self, reactor: &mut R, key: u64, call: &Call<'_>) -> Result<Begun, Refusal> {
        let name = self.key_arg(call)?;
        let Self { durable, effects, vm, .. } = self;
        let own =
            durable.active.get_mut(key).and_then(|active| active.task.buffer.get(&name, call.timestamp));
        match own {
            None => effects.begin_one(reactor, vm, call),
            Some(own) if call.effect.func == HostFn::KvExists => {
                effects.answer(vm, call, &mut |sink| sink.bool(own.is_some()));
            }
            Some(None) => effects.answer(vm, call, &mut |sink| sink.undefined()),
            Some(Some((value, _))) => effects.answer(vm, call, &mut |sink| codec::decode(value, sink)),
        }
        Ok(Begun::Done)
    }

    /// `kv.scan`, `kv.iterate`: over keys that the step has written, when those are on disk.
    fn read_page<R: Reactor>(&mut self, reactor: &mut R, key: u64, call: &Call<'_>) -> Begun {
        let prefix = self.vm.arg(call.task, call.effect.id, 0);
        let prefix = prefix.as_str().unwrap_or_default().as_bytes().to_vec();
        if self.durable.active.get_mut(key).is_some_and(|active| active.task.buffer.touches(&prefix)) {
            return Begun::Held;
        }
        self.effects.begin_one(reactor, &mut self.vm, call);
        Begun::Done
    }

    fn sleep_long(&mut self, key: u64, call: &Call<'_>) -> Result<Begun, Refusal> {
        let time = milliseconds(self.vm.arg(call.task, call.effect.id, 0));
        let millis = time.map_err(|message| ("TypeError", format!("sleep: {message}")))?;
        let micros = i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1000);
        let until = Timestamp(call.timestamp.0.saturating_add(micros));
        if let Some(active) = self.durable.active.get_mut(key) {
            let effect = call.effect.id.0;
            active.waits.push(Wait { effect, kind: WaitKind::Sleep, name: "".into(), until: Some(until) });
            active.must_save = true;
        }
        Ok(Begun::Done)
    }

    /// What the task waits for, in words.
    pub(super) fn blocked_on(&mut self, key: u64, task: TaskHandle) -> String {
        let Self { durable, vm, .. } = self;
        let Some(active) = durable.active.get_mut(key) else { return String::new() };
        let mut words = Vec::new();
        for effect in &active.held {
            let text = |index| vm.arg(task, effect.id, index).as_str().unwrap_or_default().to_owned();
            words.push(match effect.func {
                HostFn::HttpRequest => format!("http {} {}", text(0), text(1)),
                HostFn::Query => "sql".to_owned(),
                HostFn::TxBegin => "tx".to_owned(),
                HostFn::TaskStart => format!("task.start {}", text(0)),
                other => other.path().to_owned(),
            });
        }
        for (effect, condition) in &active.conditions {
            let func = match condition {
                Condition::Cas { .. } => HostFn::KvCas,
                Condition::Snx { .. } => HostFn::KvSnx,
                Condition::Incr { .. } => HostFn::KvIncr,
            };
            let _ = effect;
            words.push(format!("{} {}", func.path(), String::from_utf8_lossy(condition.key())));
        }
        for wait in active.waits.iter().filter(|wait| wait.kind != WaitKind::Defer) {
            let until = wait.until.map(|at| format!(" until {}", rfc3339(at))).unwrap_or_default();
            let of = match wait.kind {
                WaitKind::Signal | WaitKind::Join => format!(" {}", wait.name),
                // Who knows a promise can fulfill it.
                _ => String::new(),
            };
            words.push(format!("{}{of}{until}", wait.kind.name()));
        }
        words.join(", ")
    }
}

/// What ends a step, or reaches others when it ends: not possible while a transaction is open.
fn needs_suspension(func: HostFn) -> bool {
    matches!(
        func,
        HostFn::KvSnx
            | HostFn::KvCas
            | HostFn::KvIncr
            | HostFn::Sleep
            | HostFn::HttpRequest
            | HostFn::TaskWait
            | HostFn::TaskSignal
            | HostFn::TaskPromiseMake
            | HostFn::TaskPromiseWait
            | HostFn::TaskStart
            | HostFn::TaskJoin
            | HostFn::TaskCancel
            | HostFn::TaskDeferWait
            | HostFn::TaskDeferKept
    )
}

/// What the store would refuse later, with everything else of the step, is refused here.
fn checked(key: Vec<u8>, value_bytes: usize) -> Result<Vec<u8>, Refusal> {
    if key.len() > KV_KEY_BYTES_MAX {
        return Err(("RangeError", Refused::KeyTooLong { bytes: key.len() }.to_string()));
    }
    if value_bytes > KV_VALUE_BYTES_MAX {
        return Err(("RangeError", Refused::ValueTooLarge { bytes: value_bytes }.to_string()));
    }
    Ok(key)
}
