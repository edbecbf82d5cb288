//! Names of records in the hidden keyspace (docs/formats/frames.md).
//!
//! ```text
//!   fn:<id>:state            what the task is and waits for
//!   fn:<id>:pc               the snapshot's task record: what goes on where
//!   fn:<id>:heap:<page>      objects                  (hexadecimal numbers, so that they sort)
//!   fn:<id>:stack:<f>.<n>    call n of fiber f
//!   fn:<id>:fiber:<f>        what fiber f waits for
//!   fn:<id>:imports, request
//!   fn:<id>:r:<effect>       the result of an effect that happened in the batch of this record
//!   fn:<id>:c:<part>         parts as they will be if the transaction that is being committed was
//!   fn:<id>:c:rest           which parts are gone then, and the step's plain writes
//!   fn:<id>:result           what a task that is over answered, or its error
//!   live:<id>                tasks that aren't over: what a restart reads
//!   code:<hash>              modules that live tasks run
//!   sweep:<number>           rows in databases of a task that is over, to be removed
//!   epoch                    lives of the process
//! ```

use crate::id::TaskId;

/// A record of a machine's snapshot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Part {
    /// What goes on where.
    Pc,
    /// Names of what lies outside of the task.
    Imports,
    /// The request that started it.
    Request,
    /// Objects of one page of the arena.
    Heap(u32),
    /// A fiber.
    Fiber(u32),
    /// A call of a fiber.
    Stack(u32, u32),
}

/// What a key under a task's prefix names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Record {
    /// `state`.
    State,
    /// A part of the snapshot.
    Part(Part),
    /// `r:<effect>`.
    Answer(u32),
    /// `result`.
    Result,
    /// A part, if the transaction that is being committed was.
    Commit(Part),
    /// `c:rest`.
    CommitRest,
}

/// The prefix of all tasks' records.
#[must_use]
pub const fn tasks_prefix() -> &'static [u8] {
    b"fn:"
}

/// The prefix of a task's records.
#[must_use]
pub fn prefix(id: &TaskId) -> Vec<u8> {
    format!("fn:{id}:").into_bytes()
}

/// Behind the last record of a task, before the next task's: where a list of tasks goes on.
#[must_use]
pub fn end_of(id: &TaskId) -> Vec<u8> {
    // Keys are ASCII.
    format!("fn:{id}:\u{7f}").into_bytes()
}

/// Whose record a key is.
#[must_use]
pub fn id_of(key: &[u8]) -> Option<TaskId> {
    let text = std::str::from_utf8(key.strip_prefix(b"fn:")?).ok()?;
    TaskId::new(text.split_once(':')?.0).ok()
}

/// A record's key.
#[must_use]
pub fn record_key(id: &TaskId, record: Record) -> Vec<u8> {
    let name = match record {
        Record::State => "state".to_owned(),
        Record::Result => "result".to_owned(),
        Record::Answer(effect) => format!("r:{effect:08x}"),
        Record::Part(part) => part.name(),
        Record::Commit(part) => format!("c:{}", part.name()),
        Record::CommitRest => "c:rest".to_owned(),
    };
    format!("fn:{id}:{name}").into_bytes()
}

impl Part {
    /// As in a key.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Pc => "pc".to_owned(),
            Self::Imports => "imports".to_owned(),
            Self::Request => "request".to_owned(),
            Self::Heap(page) => format!("heap:{page:08x}"),
            Self::Fiber(fiber) => format!("fiber:{fiber:08x}"),
            Self::Stack(fiber, call) => format!("stack:{fiber:08x}.{call:08x}"),
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "pc" => Self::Pc,
            "imports" => Self::Imports,
            "request" => Self::Request,
            _ => match name.split_once(':')? {
                ("heap", page) => Self::Heap(number(page)?),
                ("fiber", fiber) => Self::Fiber(number(fiber)?),
                ("stack", place) => {
                    let (fiber, call) = place.split_once('.')?;
                    Self::Stack(number(fiber)?, number(call)?)
                }
                _ => return None,
            },
        })
    }
}

fn number(text: &str) -> Option<u32> {
    (text.len() == 8).then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

/// The key of the result of an effect.
#[must_use]
pub fn answer_key(id: &TaskId, effect: u32) -> Vec<u8> {
    record_key(id, Record::Answer(effect))
}

/// What a key names, given the length of its task's prefix.
#[must_use]
pub fn record(key: &[u8], prefix_bytes: usize) -> Option<Record> {
    let name = std::str::from_utf8(key.get(prefix_bytes..)?).ok()?;
    Some(match name {
        "state" => Record::State,
        "result" => Record::Result,
        "c:rest" => Record::CommitRest,
        _ => match name.split_once(':') {
            Some(("r", effect)) => Record::Answer(number(effect)?),
            Some(("c", part)) => Record::Commit(Part::from_name(part)?),
            _ => Record::Part(Part::from_name(name)?),
        },
    })
}

/// The prefix of the index of live tasks.
#[must_use]
pub const fn live_prefix() -> &'static [u8] {
    b"live:"
}

/// A live task's entry in the index.
#[must_use]
pub fn live_key(id: &TaskId) -> Vec<u8> {
    format!("live:{id}").into_bytes()
}

/// Where a module's bytes are, by its content hash.
#[must_use]
pub fn code_key(hash: &[u8; 32]) -> Vec<u8> {
    use std::fmt::Write as _;
    let mut text = String::from("code:");
    for byte in hash {
        let _ = write!(text, "{byte:02x}");
    }
    text.into_bytes()
}

/// The prefix of what is to be removed from databases.
#[must_use]
pub const fn sweep_prefix() -> &'static [u8] {
    b"sweep:"
}

/// The key of what is to be removed from databases of the task with this number.
#[must_use]
pub fn sweep_key(number: &[u8; 16]) -> Vec<u8> {
    use std::fmt::Write as _;
    let mut text = String::from("sweep:");
    for byte in number {
        let _ = write!(text, "{byte:02x}");
    }
    text.into_bytes()
}

/// The number in such a key.
#[must_use]
pub fn swept(key: &[u8]) -> Option<[u8; 16]> {
    let text = std::str::from_utf8(key.strip_prefix(sweep_prefix())?).ok()?;
    u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32).map(u128::to_be_bytes)
}

/// Counts the lives of the process that owns the data folder.
#[must_use]
pub const fn epoch_key() -> &'static [u8] {
    b"epoch"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back() {
        let id = TaskId::new("a.b-c").unwrap();
        let prefix = prefix(&id);
        for r in [
            Record::State,
            Record::Result,
            Record::Answer(7),
            Record::Part(Part::Pc),
            Record::Part(Part::Imports),
            Record::Part(Part::Request),
            Record::Part(Part::Heap(u32::MAX)),
            Record::Part(Part::Fiber(1)),
            Record::Part(Part::Stack(2, 300)),
            Record::Commit(Part::Stack(2, 300)),
            Record::Commit(Part::Pc),
            Record::CommitRest,
        ] {
            let key = record_key(&id, r);
            assert!(key.starts_with(&prefix) && key < end_of(&id));
            assert_eq!(record(&key, prefix.len()), Some(r));
            assert_eq!(id_of(&key).as_ref(), Some(&id));
        }
        for bad in ["", "x", "heap:1", "stack:00000000", "r:0000000g", "signal"] {
            assert_eq!(record(format!("fn:a.b-c:{bad}").as_bytes(), prefix.len()), None, "{bad}");
        }
        // A task whose name begins with another's has a prefix of its own.
        let other = TaskId::new("a.b-cd").unwrap();
        assert!(!record_key(&other, Record::State).starts_with(&prefix));
        assert_eq!(id_of(b"live:x"), None);
        assert_eq!(swept(&sweep_key(&[0xab; 16])), Some([0xab; 16]));
        assert_eq!(swept(b"sweep:12"), None);
    }
}
