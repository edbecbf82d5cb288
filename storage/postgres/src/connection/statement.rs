//! The prepared statements of one connection.
//!
//! ```text
//!   (absent) --query--> Preparing [queries wait] --ReadyForQuery--> Ready --LRU--> (absent, Close sent)
//!                            ^  \--ErrorResponse--> (absent)           |
//!                            +----------- 0A000, 26000 ----------------+
//! ```
//! What a query in flight needs of its statement is in an [`Arc`], so that eviction doesn't wait for it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use forebay_base::value::packed::Packed;
use forebay_base::{Monotonic, Value};

use super::group::{self, Proof};
use super::ints::Ints;
use super::{Portal, SLOW_MIN, portal_name, wire};
use crate::error::ServerError;
use crate::param::Param;
use crate::query::{Access, Delivery, Shape, Sql, Token};
use crate::types::Type;

/// What the server said about a statement, and the bytes that follow from it.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) id: u64,
    pub(super) text: Arc<str>,
    pub(super) hash: u64,
    pub(super) params: Box<[Type]>,
    pub(super) columns: Box<[Box<str>]>,
    pub(super) types: Box<[Type]>,
    /// Every column is one field: its rows go to the sink undecoded, with these kinds.
    pub(super) plain: bool,
    pub(super) kinds: Box<[Packed]>,
    /// RowDescription came, if with no column.
    pub(super) has_columns: bool,
    /// Bind up to its parameters: type, length (to be patched), portal, statement name.
    pub(super) prefix: Box<[u8]>,
    /// The rest of Bind: result formats.
    pub(super) formats: Box<[u8]>,
    /// Execute and Sync.
    pub(super) suffix: Box<[u8]>,
    /// The whole of it, where every parameter is an integer.
    pub(super) ints: Option<Ints>,
}

impl Prepared {
    /// Appends Bind, Execute and Sync, with `write` filling in the parameters' formats and values. `unnamed`: with the
    /// statement's text in front and the description of its result behind Bind.
    pub(super) fn bind<E>(
        &self,
        out: &mut Vec<u8>,
        unnamed: bool,
        portal: Option<Portal>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = out.len();
        if unnamed {
            wire::parse(out, "", &self.text);
        }
        let bind = out.len();
        let prefix: &[u8] = if unnamed { b"B\0\0\0\0\0\0" } else { &self.prefix };
        match portal {
            None => out.extend_from_slice(prefix),
            Some(portal) => {
                out.extend_from_slice(&prefix[..5]);
                wire::cstr(out, &portal_name(portal.number));
                out.extend_from_slice(&prefix[6..]);
            }
        }
        if let Err(e) = write(out) {
            out.truncate(start);
            return Err(e);
        }
        out.extend_from_slice(&self.formats);
        wire::end(out, bind + 1);
        match portal {
            None => {
                if unnamed {
                    wire::describe_portal(out, "");
                }
                out.extend_from_slice(&self.suffix);
            }
            Some(portal) => {
                let name = portal_name(portal.number);
                if unnamed {
                    wire::describe_portal(out, &name);
                }
                wire::execute_portal(out, &name, portal.rows);
            }
        }
        Ok(())
    }

    /// As [`Prepared::bind`] for integers alone: a copy of what was written once, with their bytes put in. Where the
    /// parameters' formats and values are in `out`; `None` if it takes more than that, and nothing is written then.
    #[inline]
    pub(super) fn bind_ints(
        &self,
        out: &mut Vec<u8>,
        params: &[Param<'_>],
    ) -> Option<std::ops::Range<usize>> {
        self.ints.as_ref()?.bind(out, params)
    }

    /// Of a COPY whose data nobody looks into.
    pub(super) fn nothing() -> Self {
        Self {
            id: 0,
            text: "".into(),
            hash: 0,
            params: Box::default(),
            columns: Box::default(),
            types: Box::default(),
            plain: false,
            kinds: Box::default(),
            ints: None,
            has_columns: false,
            prefix: Box::default(),
            formats: Box::default(),
            suffix: Box::default(),
        }
    }
}

/// ParameterDescription and RowDescription, before the types are resolved.
#[derive(Debug, Default)]
pub(super) struct Description {
    pub(super) params: Vec<u32>,
    pub(super) columns: Vec<(Box<str>, u32)>,
    pub(super) has_columns: bool,
}

/// A query that waits for its statement.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) token: Token,
    pub(super) access: Access,
    pub(super) shape: Shape,
    pub(super) delivery: Delivery,
    pub(super) portal: Option<Portal>,
    pub(super) input: Input,
}

/// Its parameters.
#[derive(Debug)]
pub(super) enum Input {
    /// Not encoded yet: their types aren't known.
    Values(Vec<Value>),
    /// None: only the types are wanted, for a COPY.
    Types,
    /// Encoded for a statement that went stale; `error` is what the server said.
    Encoded { old: Arc<Prepared>, bytes: Vec<u8>, error: Box<ServerError> },
}

#[derive(Debug)]
pub(super) enum State {
    Preparing(Vec<Waiting>),
    Ready(Arc<Prepared>),
}

#[derive(Debug)]
pub(super) struct Slot {
    /// Part of the name at the server, `s<id>`; never reused on a connection.
    pub(super) id: u64,
    pub(super) text: Arc<str>,
    pub(super) hash: u64,
    pub(super) used: u64,
    pub(super) state: State,
    pub(super) merit: Merit,
}

/// What experience says about a statement: how fast it is, whether it only reads.
#[derive(Debug, Default)]
pub(super) struct Merit {
    pub(super) proof: Proof,
    asked_at: Monotonic,
    runs: u32,
    /// Average of how long the server was at work, the newest run weighing an eighth.
    average_ns: u64,
    /// It was reported as slow.
    slow: bool,
}

impl Merit {
    /// One more run. True once it turns out to be slow.
    pub(super) fn record(&mut self, took: Duration) -> bool {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX / 16);
        self.average_ns =
            if self.runs == 0 { took } else { self.average_ns - self.average_ns / 8 + took / 8 };
        self.runs = self.runs.saturating_add(1);
        let slow = Duration::from_nanos(self.average_ns) > SLOW_MIN;
        slow && !std::mem::replace(&mut self.slow, slow)
    }

    fn is_fast(&self) -> bool {
        self.runs >= group::PROOF_AFTER_USES && Duration::from_nanos(self.average_ns) < group::FAST_MAX
    }

    /// How long it takes on average, if it may share its Sync.
    pub(super) fn may_share(&self, now: Monotonic) -> Option<Duration> {
        let may =
            self.proof == Proof::Proven && self.is_fast() && now.since(self.asked_at) < group::PROOF_AGE_MAX;
        may.then_some(Duration::from_nanos(self.average_ns))
    }

    pub(super) fn wants_proof(&self, now: Monotonic) -> bool {
        self.is_fast()
            && match self.proof {
                Proof::Unasked => true,
                Proof::Asked => false,
                Proof::Proven | Proof::Refuted => now.since(self.asked_at) >= group::PROOF_AGE_MAX,
            }
    }

    pub(super) fn prove(&mut self, proven: bool, now: Monotonic) {
        self.proof = if proven { Proof::Proven } else { Proof::Refuted };
        self.asked_at = now;
    }
}

/// The hash is computed already.
#[derive(Default)]
pub(super) struct Prehashed(u64);

impl Hasher for Prehashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// The cache: at most `capacity` statements.
pub(super) struct Statements {
    slots: Vec<Slot>,
    /// Hash to index in `slots`. Of two texts with one hash the later one takes the place.
    index: HashMap<u64, usize, BuildHasherDefault<Prehashed>>,
    /// Index of the slot that was found last: what comes next is mostly the same statement.
    last: usize,
    capacity: usize,
    clock: u64,
    next_id: u64,
}

/// Unique at the server: behind a pooler connections of others have their own statements on the same session, and one
/// of the same name would be taken for ours.
pub(super) fn name(tag: u64, id: u64) -> String {
    format!("s{id}_{tag:x}")
}

impl Statements {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            slots: Vec::new(),
            index: HashMap::default(),
            last: 0,
            capacity: capacity.max(1),
            clock: 0,
            next_id: 1,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The statement with this text.
    pub(super) fn find(&mut self, hash: u64, text: &str) -> Option<&mut Slot> {
        self.clock += 1;
        let index = self.index_of(hash)?;
        let slot = &mut self.slots[index];
        if &*slot.text != text {
            return None;
        }
        slot.used = self.clock;
        Some(slot)
    }

    /// The statement with this hash and number, if it is still here; doesn't count as a use.
    pub(super) fn find_quietly(&mut self, hash: u64, id: u64) -> Option<&mut Slot> {
        let index = self.index_of(hash)?;
        self.slots.get_mut(index).filter(|slot| slot.id == id)
    }

    /// Where the statement with this hash is; no two have the same.
    fn index_of(&mut self, hash: u64) -> Option<usize> {
        if self.slots.get(self.last).is_none_or(|slot| slot.hash != hash) {
            self.last = *self.index.get(&hash)?;
        }
        Some(self.last)
    }

    /// The statement with this number, if it is still here.
    pub(super) fn by_id(&mut self, id: u64) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.id == id)
    }

    /// Makes room and a slot in the state Preparing for `sql`; the second value names the statement to close.
    /// `None` if every slot is being prepared, or the place of this hash is.
    pub(super) fn insert(
        &mut self,
        sql: &Sql<'_>,
        waiting: Waiting,
    ) -> Result<(&Slot, Option<u64>), Waiting> {
        let mut closed = None;
        let victim = match self.index.get(&sql.hash) {
            Some(index) => Some(*index),
            None if self.slots.len() >= self.capacity => self
                .slots
                .iter()
                .enumerate()
                .filter(|(_, slot)| matches!(slot.state, State::Ready(_)))
                .min_by_key(|(_, slot)| slot.used)
                .map(|(index, _)| index),
            None => None,
        };
        match victim {
            Some(index) if matches!(self.slots[index].state, State::Ready(_)) => {
                closed = Some(self.slots[index].id);
                self.remove_at(index);
            }
            Some(_) => return Err(waiting),
            None if self.slots.len() >= self.capacity => return Err(waiting),
            None => {}
        }
        self.clock += 1;
        let id = self.next_id;
        self.next_id += 1;
        self.index.insert(sql.hash, self.slots.len());
        self.slots.push(Slot {
            id,
            text: sql.text.into(),
            hash: sql.hash,
            used: self.clock,
            state: State::Preparing(vec![waiting]),
            merit: Merit::default(),
        });
        Ok((&self.slots[self.slots.len() - 1], closed))
    }

    /// Takes a statement out; returns its slot.
    pub(super) fn remove(&mut self, id: u64) -> Option<Slot> {
        let index = self.slots.iter().position(|slot| slot.id == id)?;
        Some(self.remove_at(index))
    }

    fn remove_at(&mut self, index: usize) -> Slot {
        let slot = self.slots.swap_remove(index);
        self.index.remove(&slot.hash);
        if let Some(moved) = self.slots.get(index) {
            self.index.insert(moved.hash, index);
        }
        slot
    }

    /// Every query that waits, taken out.
    pub(super) fn drain_waiting(&mut self) -> Vec<Waiting> {
        let mut all = Vec::new();
        for slot in &mut self.slots {
            if let State::Preparing(waiting) = &mut slot.state {
                all.append(waiting);
            }
        }
        all
    }

    /// Takes one waiting query out; true if it was here.
    pub(super) fn abandon(&mut self, token: Token) -> bool {
        self.slots.iter_mut().any(|slot| match &mut slot.state {
            State::Preparing(waiting) => {
                let before = waiting.len();
                waiting.retain(|query| query.token != token);
                waiting.len() != before
            }
            State::Ready(_) => false,
        })
    }
}
