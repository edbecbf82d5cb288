//! How a loaded task leaves the machine before it is over: it rests, it is put away, it is let go of.
//!
//! **The database.** While it has no place, no connection or isn't there, a task that wants something of it is let go of and
//! asks again later on: the wait doubles from a second to [`DATABASE_WAIT_MAX`], and lots differ, so that they don't all ask in
//! one moment. The reason is in [`super::Durable::without_database`], for those who look at the task.

use std::hash::{Hash as _, Hasher as _};

use forebay_base::Timestamp;
use forebay_frames::{Status, TaskId};
use forebay_ring::Reactor;

use super::{AGAIN_MICROS, Known, SaveKind};
use crate::back::{Back, Level, Run};

/// The longest wait before a task asks the database again, microseconds; a quarter more for some.
const DATABASE_WAIT_MAX: i64 = 8 * AGAIN_MICROS;

/// A task that waits for the database.
#[derive(Debug)]
pub(super) struct WithoutDatabase {
    /// How often it has asked in vain since its last step.
    asked: u32,
    /// What the database, or the pool, said.
    pub(super) why: String,
}

/// How long a task waits that has asked so often, microseconds.
fn wait_before(asked: u32, id: &TaskId) -> i64 {
    let wait = (AGAIN_MICROS << asked.min(8)).min(DATABASE_WAIT_MAX);
    let mut hasher = std::hash::DefaultHasher::new();
    (asked, id.as_str()).hash(&mut hasher);
    let lot = i64::try_from(hasher.finish() % 1024).unwrap_or(0);
    wait + wait / 4 * lot / 1024
}

impl Back {
    /// Takes a durable run out of the table.
    pub(super) fn take_run(&mut self, run: u64) -> Option<Run> {
        self.effects.patient.remove(&run);
        self.runs.remove(run)
    }

    /// The database doesn't do what the task wants for now, or nobody knows whether it did.
    pub(super) fn wait_for_database(&mut self, id: TaskId, now: Timestamp, why: String) {
        let entry = self.durable.without_database.entry(id.clone());
        let known = entry.or_insert(WithoutDatabase { asked: 0, why: String::new() });
        let wait = wait_before(known.asked, &id);
        if known.asked == 0 {
            let fields: [(&str, &dyn std::fmt::Display); 2] = [("task", &id), ("why", &why)];
            self.log.line(Level::Warn, "a durable task waits for the database", &fields);
        }
        known.asked += 1;
        known.why = why;
        self.durable.put_away(id, Some(now.0.saturating_add(wait)));
    }

    /// Only long waits are left, and everything is on disk: the machine forgets the task.
    pub(super) fn durable_put_away<R: Reactor>(&mut self, reactor: &mut R, key: u64) {
        let Some(mut active) = self.durable.active.remove(key) else { return };
        self.ask_again(&mut active);
        let wake = active.waits.iter().filter_map(|wait| wait.until).min().map(|at| at.0);
        if let Some(run) = active.run.and_then(|run| self.take_run(run)) {
            self.vm.finish(run.task);
        }
        self.durable.release_code(&active.task.state.code);
        let id = active.task.id.clone();
        match active.order.take() {
            None => self.durable.put_away(id, wake),
            // It came while the last batch was under way.
            Some((_, reply)) => {
                let now = reactor.timestamp();
                let batch = active.task.turn(Status::Paused, "paused by hand", self.durable.epoch, now);
                self.durable.known.insert(id.clone(), Known::Busy);
                let kind = SaveKind::Turn { id, then: Known::Paused, over: false, reply: Some(reply) };
                self.durable_save(reactor, kind, batch, Vec::new());
            }
        }
    }

    /// The server stops: the task goes on in the next life.
    pub(super) fn durable_rest<R: Reactor>(&mut self, reactor: &mut R, key: u64) {
        let id = self.durable.active.get_mut(key).map(|active| active.task.id.clone());
        self.durable_drop_run(reactor, key);
        if let Some(id) = id {
            self.durable.known.insert(id, Known::Away(None));
        }
    }

    /// Takes a loaded task out of the machine, whatever it waits for.
    pub(super) fn durable_drop_run<R: Reactor>(&mut self, reactor: &mut R, key: u64) {
        let Some(mut active) = self.durable.active.remove(key) else { return };
        self.ask_again(&mut active);
        if let Some(run) = active.run {
            self.effects.abandon(reactor, run);
            if let Some(run) = self.take_run(run) {
                self.vm.finish(run.task);
            }
        }
        self.durable.release_code(&active.task.state.code);
        if let Some((_, reply)) = active.order {
            let detail = "the task was let go of meanwhile: try again".to_owned();
            let _ = reply.try_send(Err(super::TaskRefused { status: 503, code: "task/busy", detail }));
        }
        // Until the caller says otherwise.
        self.durable.known.insert(active.task.id, Known::Busy);
    }

    pub(super) fn durable_forget(&mut self, key: u64) {
        if let Some(active) = self.durable.active.remove(key) {
            if let Some(run) = active.run.and_then(|run| self.take_run(run)) {
                self.vm.finish(run.task);
            }
            self.durable.release_code(&active.task.state.code);
            self.durable.known.remove(&active.task.id);
            self.durable.waiters.remove(&active.task.id);
        } else {
            self.durable.known.retain(|_, known| *known != Known::Active(key));
        }
    }

    /// What the store has is all that counts: the task is loaded again in a while.
    pub(super) fn durable_let_go<R: Reactor>(&mut self, reactor: &mut R, key: u64, why: &str) {
        let Some(active) = self.durable.active.get_mut(key) else { return };
        let id = active.task.id.clone();
        self.log.line(Level::Warn, "a durable task is loaded again", &[("task", &id), ("why", &why)]);
        self.durable_drop_run(reactor, key);
        self.durable.put_away(id, Some(reactor.timestamp().0 + AGAIN_MICROS));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_differ() {
        let id = |n: u32| TaskId::new(&format!("task-{n}")).unwrap();
        for (asked, least) in [(0, 1), (1, 2), (2, 4), (3, 8), (4, 8), (u32::MAX, 8)] {
            let wait = wait_before(asked, &id(1));
            let least = least * AGAIN_MICROS;
            assert!((least..=least + least / 4).contains(&wait), "{asked}: {wait}");
        }
        let waits: std::collections::BTreeSet<i64> = (0..100).map(|n| wait_before(0, &id(n))).collect();
        assert!(waits.len() > 50, "{waits:?}");
    }
}
