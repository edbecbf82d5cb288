//! The `state` record: what a task is, how far it is, what it waits for. A map (docs/formats/value.md), so that
//! tools can show it.

use std::fmt;

use forebay_base::value::ValueBuilder;
use forebay_base::value::codec;
use forebay_base::{Timestamp, Value};
use sha2::{Digest as _, Sha256};

use crate::outcome::Failure;

/// Failures of compensations that are noted.
const NOT_UNDONE_MAX: usize = 32;
/// Bytes of one of them.
const NOT_UNDONE_BYTES_MAX: usize = 512;

/// Where a task is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// On disk; nothing of it has run.
    Initialized,
    /// Runs, or waits for something.
    Running,
    /// Goes on when someone says so.
    Paused,
    /// Over, with an answer.
    Done,
    /// Over, with an error.
    Failed,
    /// Over because someone said so.
    Cancelled,
}

impl Status {
    const ALL: [Self; 6] =
        [Self::Initialized, Self::Running, Self::Paused, Self::Done, Self::Failed, Self::Cancelled];

    /// As in the record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initialized => "initialized",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Nothing will happen to it any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    pub(crate) const fn number(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What ends a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitKind {
    /// The clock.
    Sleep,
    /// A signal.
    Signal,
    /// Somebody fulfills a promise.
    Promise,
    /// Another task is over.
    Join,
    /// Nothing but the task's failure: a compensation that is registered.
    Defer,
    /// Its compensations are over; `name` has the number of the one that runs.
    Ending,
}

impl WaitKind {
    const ALL: [Self; 6] = [Self::Sleep, Self::Signal, Self::Promise, Self::Join, Self::Defer, Self::Ending];

    /// As in the record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sleep => "sleep",
            Self::Signal => "signal",
            Self::Promise => "promise",
            Self::Join => "join",
            Self::Defer => "defer",
            Self::Ending => "ending",
        }
    }
}

/// An effect that may take months: the task is put away meanwhile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wait {
    /// Number of the effect.
    pub effect: u32,
    /// What ends it.
    pub kind: WaitKind,
    /// Of what: the name of a signal, say.
    pub name: Box<str>,
    /// When it ends at the latest, wall time.
    pub until: Option<Timestamp>,
}

/// Whether somebody wants a task to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cancel {
    /// Nobody.
    #[default]
    No,
    /// It will be told where it waits next.
    Asked,
    /// It has been told.
    Told,
}

impl Cancel {
    const fn name(self) -> &'static str {
        match self {
            Self::No => "",
            Self::Asked => "asked",
            Self::Told => "told",
        }
    }
}

/// Why and how far a task is being undone that can't go on where it was: a limit of its step is used up. Its handler
/// stays where its last suspension left it; only compensations run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unwind {
    /// How it will have ended.
    pub failure: Failure,
    /// The compensation that runs: the effect that it was registered by.
    pub runs: Option<u32>,
    /// While one runs: effects up to this number are none of compensations, and nobody answers them any more.
    pub left_behind: u32,
}

/// A task, but for what it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Where it is in its life.
    pub status: Status,
    /// Name of its work.
    pub work: Box<str>,
    /// Content hash of the module that it runs to its end.
    pub code: [u8; 32],
    /// [`digest`] of what it was started with.
    pub payload: [u8; 32],
    /// When it was started.
    pub created: Timestamp,
    /// When this record was written.
    pub updated: Timestamp,
    /// Suspensions so far.
    pub step: u64,
    /// Which life of the process wrote this.
    pub epoch: i64,
    /// What it waits for, in words.
    pub blocked: Box<str>,
    /// The waits that may be long.
    pub waits: Vec<Wait>,
    /// Everything it waits for is among `waits`.
    pub waiting: bool,
    /// Why it is paused, if it paused itself.
    pub reason: Box<str>,
    /// The effect that commits a transaction now, and in which database: whether it has is known there alone.
    pub committing: Option<(u32, Box<str>)>,
    /// Names the task in databases: its name may be used again, this number never.
    pub number: [u8; 16],
    /// Databases (as in `db(name)`) that have rows about its steps.
    pub databases: Vec<Box<str>>,
    /// Times it was run again after an exception, since its last good step.
    pub tries: u32,
    /// Whether somebody wants it to end.
    pub cancel: Cancel,
    /// It can't go on where it was.
    pub unwind: Option<Unwind>,
    /// What its compensations that have failed threw, or which limit they have used up.
    pub not_undone: Vec<Box<str>>,
}

/// A record that isn't what it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadRecord(pub &'static str);

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a task's record is damaged: {}", self.0)
    }
}

impl std::error::Error for BadRecord {}

impl State {
    /// When the clock goes on with it; none: not by itself.
    #[must_use]
    pub fn wake(&self) -> Option<Timestamp> {
        self.waits.iter().filter_map(|wait| wait.until).min()
    }

    /// Nobody answers this effect any more: it is the handler's, and the task is being undone.
    #[must_use]
    pub fn leaves_behind(&self, effect: u32) -> bool {
        let defer = |wait: &Wait| wait.effect == effect && wait.kind == WaitKind::Defer;
        match &self.unwind {
            Some(unwind) => {
                (unwind.runs.is_none() || effect <= unwind.left_behind) && !self.waits.iter().any(defer)
            }
            None => false,
        }
    }

    /// Notes that a compensation has failed.
    pub fn note_not_undone(&mut self, error: &str) {
        if self.not_undone.len() < NOT_UNDONE_MAX {
            let end = error.floor_char_boundary(NOT_UNDONE_BYTES_MAX);
            self.not_undone.push(error[..end].into());
        }
    }

    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let text = |text: &str| Value::Str(text.into());
        let wait = |wait: &Wait| {
            Value::Map(vec![
                ("effect".into(), Value::Int(i64::from(wait.effect))),
                ("kind".into(), text(wait.kind.name())),
                ("name".into(), text(&wait.name)),
                ("until".into(), wait.until.map_or(Value::Null, |at| Value::Timestamp(at.0))),
            ])
        };
        let mut fields = vec![
            ("status".into(), text(self.status.name())),
            ("work".into(), text(&self.work)),
            ("code".into(), Value::Bytes(self.code.into())),
            ("payload".into(), Value::Bytes(self.payload.into())),
            ("created".into(), Value::Timestamp(self.created.0)),
            ("updated".into(), Value::Timestamp(self.updated.0)),
            ("step".into(), Value::Int(i64::try_from(self.step).unwrap_or(i64::MAX))),
            ("epoch".into(), Value::Int(self.epoch)),
            ("blocked".into(), text(&self.blocked)),
            ("waits".into(), Value::List(self.waits.iter().map(wait).collect())),
            ("waiting".into(), Value::Bool(self.waiting)),
            ("reason".into(), text(&self.reason)),
            (
                "committing".into(),
                match &self.committing {
                    Some((effect, database)) => {
                        Value::List(vec![Value::Int(i64::from(*effect)), text(database)])
                    }
                    None => Value::Null,
                },
            ),
            ("number".into(), Value::Bytes(self.number.into())),
            ("databases".into(), Value::List(self.databases.iter().map(|name| text(name)).collect())),
            ("tries".into(), Value::Int(i64::from(self.tries))),
            ("cancel".into(), text(self.cancel.name())),
        ];
        if let Some(unwind) = &self.unwind {
            let Failure { code, name, message, stack } = &unwind.failure;
            let runs = unwind.runs.map_or(Value::Null, |effect| Value::Int(i64::from(effect)));
            let map = vec![
                ("code".into(), text(code)),
                ("name".into(), text(name)),
                ("message".into(), text(message)),
                ("stack".into(), text(stack)),
                ("runs".into(), runs),
                ("left_behind".into(), Value::Int(i64::from(unwind.left_behind))),
            ];
            fields.push(("unwind".into(), Value::Map(map)));
        }
        if !self.not_undone.is_empty() {
            let errors = self.not_undone.iter().map(|error| text(error)).collect();
            fields.push(("not_undone".into(), Value::List(errors)));
        }
        let map = Value::Map(fields);
        // Texts, numbers and two levels: nothing that the encoder refuses.
        codec::encode(&map).unwrap_or_default()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`BadRecord`] with the field.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let mut builder = ValueBuilder::default();
        codec::decode(bytes, &mut builder).map_err(|_| BadRecord("state"))?;
        let map = builder.finish().ok_or(BadRecord("state"))?;
        let of = |map: &Value, name: &'static str| map.get(name).cloned().ok_or(BadRecord(name));
        let text = |map: &Value, name| match of(map, name)? {
            Value::Str(text) => Ok(text),
            _ => Err(BadRecord(name)),
        };
        let int = |name| match of(&map, name)? {
            Value::Int(number) => Ok(number),
            _ => Err(BadRecord(name)),
        };
        let hash = |name| match of(&map, name)? {
            Value::Bytes(bytes) => <[u8; 32]>::try_from(&*bytes).map_err(|_| BadRecord(name)),
            _ => Err(BadRecord(name)),
        };
        let time = |name| match of(&map, name)? {
            Value::Timestamp(micros) => Ok(Timestamp(micros)),
            _ => Err(BadRecord(name)),
        };
        let mut waits = Vec::new();
        for wait in of(&map, "waits")?.as_list().ok_or(BadRecord("waits"))? {
            let kind = text(wait, "kind")?;
            waits.push(Wait {
                effect: match of(wait, "effect")? {
                    Value::Int(number) => u32::try_from(number).map_err(|_| BadRecord("effect"))?,
                    _ => return Err(BadRecord("effect")),
                },
                kind: WaitKind::ALL.into_iter().find(|k| k.name() == &*kind).ok_or(BadRecord("kind"))?,
                name: text(wait, "name")?,
                until: match of(wait, "until")? {
                    Value::Timestamp(micros) => Some(Timestamp(micros)),
                    _ => None,
                },
            });
        }
        Ok(Self {
            status: Status::from_name(&text(&map, "status")?).ok_or(BadRecord("status"))?,
            work: text(&map, "work")?,
            code: hash("code")?,
            payload: hash("payload")?,
            created: time("created")?,
            updated: time("updated")?,
            step: u64::try_from(int("step")?).map_err(|_| BadRecord("step"))?,
            epoch: int("epoch")?,
            blocked: text(&map, "blocked")?,
            waits,
            waiting: of(&map, "waiting")? == Value::Bool(true),
            reason: text(&map, "reason")?,
            committing: match of(&map, "committing")? {
                Value::List(pair) => match &*pair {
                    [Value::Int(effect), Value::Str(database)] => {
                        Some((u32::try_from(*effect).map_err(|_| BadRecord("committing"))?, database.clone()))
                    }
                    _ => return Err(BadRecord("committing")),
                },
                _ => None,
            },
            number: match of(&map, "number")? {
                Value::Bytes(bytes) => <[u8; 16]>::try_from(&*bytes).map_err(|_| BadRecord("number"))?,
                _ => return Err(BadRecord("number")),
            },
            databases: {
                let names = of(&map, "databases")?;
                let names = names.as_list().ok_or(BadRecord("databases"))?;
                let name = |name: &Value| name.as_str().map(Into::into).ok_or(BadRecord("databases"));
                names.iter().map(name).collect::<Result<_, _>>()?
            },
            tries: u32::try_from(int("tries")?).map_err(|_| BadRecord("tries"))?,
            // Absent in records of before there was cancelling.
            cancel: match map.get("cancel").and_then(Value::as_str) {
                None | Some("") => Cancel::No,
                Some("asked") => Cancel::Asked,
                Some("told") => Cancel::Told,
                Some(_) => return Err(BadRecord("cancel")),
            },
            unwind: map.get("unwind").map(decode_unwind).transpose()?,
            not_undone: match map.get("not_undone") {
                None => Vec::new(),
                Some(list) => {
                    let bad = BadRecord("not_undone");
                    let text = |error: &Value| error.as_str().map(Into::into).ok_or(bad);
                    list.as_list().ok_or(bad)?.iter().map(text).collect::<Result<_, _>>()?
                }
            },
        })
    }
}

fn decode_unwind(map: &Value) -> Result<Unwind, BadRecord> {
    let bad = BadRecord("unwind");
    let text = |name| map.get(name).and_then(Value::as_str).map(Into::into).ok_or(bad);
    let number = |value: &Value| match value {
        Value::Int(number) => u32::try_from(*number).map_err(|_| bad),
        _ => Err(bad),
    };
    Ok(Unwind {
        failure: Failure {
            code: text("code")?,
            name: text("name")?,
            message: text("message")?,
            stack: text("stack")?,
        },
        runs: map.get("runs").filter(|runs| **runs != Value::Null).map(number).transpose()?,
        left_behind: number(map.get("left_behind").ok_or(bad)?)?,
    })
}

/// A time as people and programs read it (RFC 3339), to the millisecond.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    let millis = at.millis();
    let (days, of_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    // Days to a civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    let (seconds, millis) = (of_day / 1000, of_day % 1000);
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{millis:03}Z")
}

/// Names what a task was started with: a second start of the same name must be of the same. Every part
/// goes in with its length.
#[must_use]
pub fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn times_read_well() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (1_735_689_600_500_000, "2025-01-01T00:00:00.500Z"),
        ] {
            assert_eq!(rfc3339(Timestamp(micros)), text);
        }
    }

    #[test]
    fn states_come_back_and_damage_is_refused() {
        let state = State {
            status: Status::Running,
            work: "Order".into(),
            code: [1; 32],
            payload: digest(&[b"a", b"bc"]),
            created: Timestamp(5),
            updated: Timestamp(-6),
            step: 7,
            epoch: 8,
            blocked: "sleep".into(),
            waits: vec![
                Wait { effect: 3, kind: WaitKind::Sleep, name: "".into(), until: Some(Timestamp(99)) },
                Wait { effect: 4, kind: WaitKind::Sleep, name: "x".into(), until: None },
            ],
            waiting: true,
            reason: "".into(),
            committing: Some((9, "other".into())),
            number: [3; 16],
            databases: vec!["".into(), "other".into()],
            tries: 2,
            cancel: Cancel::Asked,
            unwind: Some(Unwind {
                failure: Failure { code: "fuel_exhausted".into(), ..Failure::default() },
                runs: Some(4),
                left_behind: 3,
            }),
            not_undone: vec!["TypeError: no".into()],
        };
        let bytes = state.encode();
        assert_eq!(State::decode(&bytes), Ok(state.clone()));
        let plain = State { unwind: None, not_undone: Vec::new(), ..state.clone() };
        assert_eq!(State::decode(&plain.encode()), Ok(plain), "records of before there was undoing");
        assert_eq!(state.wake(), Some(Timestamp(99)));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x55;
            // Refused or another state, never a panic.
            let _ = State::decode(&bad);
            assert!(State::decode(&bytes[..at]).is_err());
        }
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    }

    #[test]
    fn who_is_undone_leaves_all_but_its_compensations_behind() {
        let (mut task, _) = crate::Task::start(
            crate::Start {
                id: crate::TaskId::new("a").unwrap(),
                work: "A".into(),
                code: [0; 32],
                module: None,
                payload: [0; 32],
                epoch: 1,
                number: [0; 16],
            },
            [],
            Timestamp(0),
        );
        let state = &mut task.state;
        state.waits = vec![Wait { effect: 2, kind: WaitKind::Defer, name: "".into(), until: None }];
        let left = |state: &State| (1..=6).filter(|effect| state.leaves_behind(*effect)).collect::<Vec<_>>();
        assert_eq!(left(state), []);
        let unwind = Unwind { failure: Failure::default(), runs: None, left_behind: 0 };
        state.unwind = Some(unwind.clone());
        assert_eq!(left(state), [1, 3, 4, 5, 6]);
        state.unwind = Some(Unwind { runs: Some(3), left_behind: 4, ..unwind });
        assert_eq!(left(state), [1, 3, 4]);
        for _ in 0..100 {
            state.note_not_undone(&"é".repeat(400));
        }
        assert_eq!(state.not_undone.len(), NOT_UNDONE_MAX);
        assert_eq!(state.not_undone[0].len(), NOT_UNDONE_BYTES_MAX);
    }
}
