//! One task as its home core has it while it is loaded: what of it the store has, and the batch that takes the
//! store to its next suspension or its end.
//!
//! What a batch says is taken for granted when it is made: batches of a task reach the log in the order in which
//! they were submitted. If one fails, the task is let go of and loaded again.

use std::collections::BTreeMap;

use forebay_base::value::{ValueBuilder, codec};
use forebay_base::{Timestamp, Value};

use crate::batch::Batch;
use crate::buffer::{Buffer, WillBe};
use crate::id::TaskId;
use crate::keys::{Part, Record, answer_key, code_key, live_key, prefix, record, record_key, sweep_key};
use crate::live::Live;
use crate::outcome::Outcome;
use crate::state::{BadRecord, Cancel, State, Status, Wait};

/// A loaded task.
#[derive(Debug)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    /// Its state, as the last batch says it.
    pub state: State,
    /// The step's plain writes.
    pub buffer: Buffer,
    state_bytes: Vec<u8>,
    live_bytes: Vec<u8>,
    parts: BTreeMap<Part, Vec<u8>>,
    /// Effects whose results have records.
    answers: Vec<u32>,
    /// Records of a commit that are there.
    commit: Vec<Record>,
}

/// What a task starts with.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its name.
    pub id: TaskId,
    /// Name of its work.
    pub work: Box<str>,
    /// Content hash of its module.
    pub code: [u8; 32],
    /// The module, if the store may not have it yet.
    pub module: Option<Vec<u8>>,
    /// [`crate::digest`] of what it is started with.
    pub payload: [u8; 32],
    /// Which life of the process this is.
    pub epoch: i64,
    /// Names the task in databases: drawn by chance.
    pub number: [u8; 16],
}

/// Parts that are gone, and plain writes.
fn decode_rest(bytes: &[u8]) -> Result<(Vec<Part>, Buffer), BadRecord> {
    let bad = || BadRecord("c:rest");
    let mut builder = ValueBuilder::default();
    codec::decode(bytes, &mut builder).map_err(|_| bad())?;
    let whole = builder.finish().ok_or_else(bad)?;
    let [gone, writes] = whole.as_list().ok_or_else(bad)? else { return Err(bad()) };
    let name = |name: &Value| name.as_str().and_then(Part::from_name).ok_or_else(bad);
    let gone = gone.as_list().ok_or_else(bad)?.iter().map(name).collect::<Result<_, _>>()?;
    let mut buffer = Buffer::default();
    for write in writes.as_list().ok_or_else(bad)? {
        match write.as_list().ok_or_else(bad)? {
            [Value::Bytes(key), Value::Bytes(value), Value::Timestamp(at)] => {
                buffer.set(key.to_vec(), value.to_vec(), Some(Timestamp(*at)));
            }
            [Value::Bytes(key), Value::Bytes(value), _] => buffer.set(key.to_vec(), value.to_vec(), None),
            [Value::Bytes(key), ..] => buffer.del(key.to_vec()),
            _ => return Err(bad()),
        }
    }
    Ok((gone, buffer))
}

/// What a suspension says beside the machine's records.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What it waits for, in words.
    pub blocked: Box<str>,
    /// The waits that may be long.
    pub waits: Vec<Wait>,
    /// There is nothing else that it waits for.
    pub waiting: bool,
    /// Which life of the process this is.
    pub epoch: i64,
    /// Someone wants it to pause here.
    pub paused: bool,
}

/// Why records are no task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoadError {
    /// There is no task of that name.
    Missing,
    /// A record isn't what it should be.
    Bad(BadRecord),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such task"),
            Self::Bad(bad) => bad.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<BadRecord> for LoadError {
    fn from(bad: BadRecord) -> Self {
        Self::Bad(bad)
    }
}

/// A task read back.
#[derive(Debug)]
pub struct Loaded {
    /// The task.
    pub task: Task,
    /// Results of effects that have happened: effect, encoded value.
    pub answers: Vec<(u32, Vec<u8>)>,
    /// How it ended, if it is over.
    pub outcome: Option<Outcome>,
    /// How it goes on if the transaction that it was committing was committed.
    pub commit: Option<Commit>,
}

/// Where a task is behind a transaction.
#[derive(Debug)]
pub struct Commit {
    /// The machine's records.
    pub parts: BTreeMap<Part, Vec<u8>>,
    /// The plain writes of the step.
    pub buffer: Buffer,
}

impl Task {
    /// A new task, and the batch that makes it one: it conflicts if there is a task of that name.
    pub fn start<'r>(
        start: Start,
        parts: impl IntoIterator<Item = (Part, &'r [u8])>,
        now: Timestamp,
    ) -> (Self, Batch) {
        let state = State {
            status: Status::Initialized,
            work: start.work,
            code: start.code,
            payload: start.payload,
            created: now,
            updated: now,
            step: 0,
            epoch: start.epoch,
            blocked: "".into(),
            waits: Vec::new(),
            waiting: false,
            reason: "".into(),
            committing: None,
            number: start.number,
            databases: Vec::new(),
            tries: 0,
            cancel: Cancel::No,
            unwind: None,
            not_undone: Vec::new(),
        };
        let mut task = Self {
            id: start.id,
            state,
            buffer: Buffer::default(),
            state_bytes: Vec::new(),
            live_bytes: Vec::new(),
            parts: BTreeMap::new(),
            answers: Vec::new(),
            commit: Vec::new(),
        };
        let mut batch = Batch::new();
        task.state_bytes = task.state.encode();
        batch.change(record_key(&task.id, Record::State), None, Some(task.state_bytes.clone()), None);
        if let Some(module) = start.module {
            batch.keep(code_key(&start.code), module, None);
        }
        task.write_parts(parts, &mut batch);
        task.write_live(&mut batch);
        (task, batch)
    }

    /// The next suspension. `answers`: effects whose results the caller will append to the batch.
    pub fn suspend<'r>(
        &mut self,
        facts: Facts,
        parts: impl IntoIterator<Item = (Part, &'r [u8])>,
        answers: &[u32],
        now: Timestamp,
    ) -> Batch {
        self.state.step += 1;
        self.state.tries = 0;
        self.state.blocked = facts.blocked;
        self.state.waits = facts.waits;
        self.state.waiting = facts.waiting;
        self.state.epoch = facts.epoch;
        self.state.status = if facts.paused { Status::Paused } else { Status::Running };
        self.state.committing = None;
        let mut batch = self.write_state(now, None);
        self.write_parts(parts, &mut batch);
        self.drop_commit(&mut batch);
        for effect in std::mem::replace(&mut self.answers, answers.to_vec()) {
            batch.drop(answer_key(&self.id, effect));
        }
        self.write_live(&mut batch);
        self.buffer.drain_into(&mut batch);
        batch
    }

    /// A transaction is about to be committed, by `effect`: the task is as it was when that began, and as it will be
    /// if it was, until the next suspension says which.
    pub fn commit<'r>(
        &mut self,
        effect: u32,
        database: &str,
        facts: Facts,
        parts: impl IntoIterator<Item = (Part, &'r [u8])>,
        now: Timestamp,
    ) -> Batch {
        self.state.blocked = facts.blocked;
        self.state.epoch = facts.epoch;
        self.state.status = Status::Running;
        self.state.waiting = false;
        self.state.committing = Some((effect, database.into()));
        let mut batch = self.write_state(now, None);
        self.drop_commit(&mut batch);
        let mut gone: Vec<Part> = self.parts.keys().copied().collect();
        for (part, bytes) in parts {
            gone.retain(|other| *other != part);
            if self.parts.get(&part).is_none_or(|old| old != bytes) {
                batch.keep(record_key(&self.id, Record::Commit(part)), bytes.to_vec(), None);
                self.commit.push(Record::Commit(part));
            }
        }
        let write = |(key, will): (&[u8], WillBe<'_>)| {
            let (value, at) = will.map_or((Value::Null, None), |(v, at)| (Value::Bytes(v.into()), at));
            Value::List(vec![
                Value::Bytes(key.into()),
                value,
                at.map_or(Value::Null, |at| Value::Timestamp(at.0)),
            ])
        };
        let rest = Value::List(vec![
            Value::List(gone.into_iter().map(|part| Value::Str(part.name().into())).collect()),
            Value::List(self.buffer.writes().map(write).collect()),
        ]);
        // Bytes and names, three levels deep; too large only if the batch is.
        let rest = codec::encode(&rest).unwrap_or_default();
        batch.keep(record_key(&self.id, Record::CommitRest), rest, None);
        self.commit.push(Record::CommitRest);
        self.write_live(&mut batch);
        batch
    }

    fn drop_commit(&mut self, batch: &mut Batch) {
        for record in std::mem::take(&mut self.commit) {
            batch.drop(record_key(&self.id, record));
        }
    }

    /// Another status, with everything else as it is: paused, running again.
    pub fn turn(&mut self, status: Status, reason: &str, epoch: i64, now: Timestamp) -> Batch {
        self.state.status = status;
        self.state.reason = reason.into();
        self.state.epoch = epoch;
        let mut batch = self.write_state(now, None);
        self.write_live(&mut batch);
        batch
    }

    /// Other records of the machine, with everything else as it is: somebody has changed a variable.
    pub fn patch<'r>(
        &mut self,
        parts: impl IntoIterator<Item = (Part, &'r [u8])>,
        epoch: i64,
        now: Timestamp,
    ) -> Batch {
        self.state.epoch = epoch;
        let mut batch = self.write_state(now, None);
        self.write_parts(parts, &mut batch);
        batch
    }

    /// The end: state and result stay until `expires`, everything else goes.
    ///
    /// # Errors
    /// If the result is larger than a value of the store may be.
    pub fn finish(
        &mut self,
        outcome: &Outcome,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<Batch, forebay_base::ValueError> {
        let result = outcome.encode()?;
        self.state.status = match outcome {
            Outcome::Answer { .. } => Status::Done,
            Outcome::Failed(_) => Status::Failed,
            Outcome::Cancelled => Status::Cancelled,
        };
        self.state.blocked = "".into();
        self.state.waits.clear();
        self.state.waiting = false;
        self.state.committing = None;
        let mut batch = self.write_state(now, Some(expires));
        self.drop_commit(&mut batch);
        if !self.state.databases.is_empty() {
            let names = self.state.databases.iter().map(|name| Value::Str(name.clone())).collect();
            let names = codec::encode(&Value::List(names)).unwrap_or_default();
            batch.keep(sweep_key(&self.state.number), names, None);
        }
        for part in std::mem::take(&mut self.parts).into_keys() {
            batch.drop(record_key(&self.id, Record::Part(part)));
        }
        for effect in std::mem::take(&mut self.answers) {
            batch.drop(answer_key(&self.id, effect));
        }
        batch.keep(record_key(&self.id, Record::Result), result, Some(expires));
        batch.drop(live_key(&self.id));
        if matches!(outcome, Outcome::Answer { .. }) {
            self.buffer.drain_into(&mut batch);
        }
        Ok(batch)
    }

    /// Puts a task together from its records: keys under its prefix with their values, in any order.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load<'r>(
        id: TaskId,
        records: impl IntoIterator<Item = (&'r [u8], &'r [u8])>,
    ) -> Result<Loaded, LoadError> {
        let prefix_bytes = prefix(&id).len();
        let mut state = None;
        let mut outcome = None;
        let mut parts = BTreeMap::new();
        let mut answers = Vec::new();
        let mut changed = BTreeMap::new();
        let mut rest = None;
        let mut commit_records = Vec::new();
        for (key, value) in records {
            match record(key, prefix_bytes).ok_or(BadRecord("a record's name"))? {
                Record::State => state = Some((State::decode(value)?, value.to_vec())),
                Record::Result => outcome = Some(Outcome::decode(value)?),
                Record::Answer(effect) => answers.push((effect, value.to_vec())),
                Record::Part(part) => {
                    parts.insert(part, value.to_vec());
                }
                Record::Commit(part) => {
                    changed.insert(part, value.to_vec());
                    commit_records.push(Record::Commit(part));
                }
                Record::CommitRest => {
                    rest = Some(decode_rest(value)?);
                    commit_records.push(Record::CommitRest);
                }
            }
        }
        let commit = match rest {
            Some((gone, buffer)) => {
                let mut parts: BTreeMap<Part, Vec<u8>> = parts.clone();
                parts.retain(|part, _| !gone.contains(part));
                parts.extend(changed);
                Some(Commit { parts, buffer })
            }
            None => None,
        };
        let (state, state_bytes) = state.ok_or(LoadError::Missing)?;
        let mut task = Self {
            id,
            state,
            buffer: Buffer::default(),
            state_bytes,
            live_bytes: Vec::new(),
            parts,
            answers: answers.iter().map(|(effect, _)| *effect).collect(),
            commit: commit_records,
        };
        let commit = commit.filter(|_| task.state.committing.is_some());
        task.live_bytes = task.live().encode();
        Ok(Loaded { task, answers, outcome, commit })
    }

    /// The machine's records, as the store has them.
    pub fn parts(&self) -> impl Iterator<Item = (Part, &[u8])> {
        self.parts.iter().map(|(part, bytes)| (*part, &**bytes))
    }

    /// The state's bytes, as the store has them once the last batch is there.
    #[must_use]
    pub fn state_bytes(&self) -> &[u8] {
        &self.state_bytes
    }

    /// Its entry in the index.
    #[must_use]
    pub fn live(&self) -> Live {
        Live {
            status: self.state.status,
            wake: self.state.wake().map(|at| at.0),
            waiting: self.state.waiting,
            code: self.state.code,
        }
    }

    fn write_state(&mut self, now: Timestamp, expires: Option<Timestamp>) -> Batch {
        let mut batch = Batch::new();
        self.state.updated = now;
        let new = self.state.encode();
        let before = std::mem::replace(&mut self.state_bytes, new.clone());
        batch.change(record_key(&self.id, Record::State), Some(before), Some(new), expires);
        batch
    }

    fn write_live(&mut self, batch: &mut Batch) {
        let live = self.live().encode();
        if live != self.live_bytes {
            batch.keep(live_key(&self.id), live.clone(), None);
            self.live_bytes = live;
        }
    }

    /// Writes what differs from the last time, and removes what is gone.
    fn write_parts<'r>(&mut self, parts: impl IntoIterator<Item = (Part, &'r [u8])>, batch: &mut Batch) {
        let mut before = std::mem::take(&mut self.parts);
        for (part, bytes) in parts {
            let same = before.remove(&part).filter(|old| *old == bytes);
            let kept = same.unwrap_or_else(|| {
                batch.keep(record_key(&self.id, Record::Part(part)), bytes.to_vec(), None);
                bytes.to_vec()
            });
            self.parts.insert(part, kept);
        }
        for gone in before.into_keys() {
            batch.drop(record_key(&self.id, Record::Part(gone)));
        }
    }
}
