//! Who is loaded next.
//!
//! ```text
//!   woken: the clock, a signal, an end  ---> due, in the order of becoming due ---+--- in turns ---> loaded
//!   a restart: those that didn't wait   ---> left, in an order drawn by lot ------+
//! ```
//!
//! A process that is killed again and again may load only a few of thousands in each of its lives. Whatever the order, it
//! must not be the same tasks that come last in all of them: so neither of the two goes before the other, those that are
//! overdue come in the order of their times, which are on disk, and the lots of the others are drawn anew in each life. A
//! task that is woken now doesn't stand behind everything that a restart has found, either.

use std::collections::VecDeque;
use std::hash::{Hash as _, Hasher as _};

use forebay_frames::TaskId;

/// Tasks to be loaded.
#[derive(Debug, Default)]
pub(super) struct Ready {
    due: VecDeque<TaskId>,
    left: VecDeque<TaskId>,
    /// Whose turn it is.
    left_next: bool,
}

impl Ready {
    /// What a restart has found at work. `epoch`: which life this is.
    pub(super) fn after_restart(mut tasks: Vec<TaskId>, epoch: i64) -> Self {
        tasks.sort_by_cached_key(|id| {
            let mut hasher = std::hash::DefaultHasher::new();
            (epoch, id.as_str()).hash(&mut hasher);
            hasher.finish()
        });
        Self { left: tasks.into(), ..Self::default() }
    }

    /// A task has become due.
    pub(super) fn push(&mut self, id: TaskId) {
        self.due.push_back(id);
    }

    /// The next.
    pub(super) fn pop(&mut self) -> Option<TaskId> {
        self.left_next = !self.left_next;
        if self.left_next {
            self.left.pop_front().or_else(|| self.due.pop_front())
        } else {
            self.due.pop_front().or_else(|| self.left.pop_front())
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty() && self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    fn ids(numbers: std::ops::Range<usize>) -> Vec<TaskId> {
        numbers.map(|n| TaskId::new(&format!("task-{n}")).unwrap()).collect()
    }

    #[test]
    fn nobody_is_behind_the_others_in_every_life() {
        // Ten loads in a life, a hundred tasks at work, a hundred overdue: what has been loaded is overdue again.
        let mut overdue = VecDeque::from(ids(100..200));
        let mut loaded = std::collections::BTreeSet::new();
        for epoch in 0..100 {
            let mut ready = Ready::after_restart(ids(0..100), epoch);
            overdue.iter().for_each(|id| ready.push(id.clone()));
            for _ in 0..10 {
                let id = ready.pop().unwrap();
                if let Some(at) = overdue.iter().position(|other| *other == id) {
                    overdue.remove(at);
                    overdue.push_back(id.clone());
                }
                loaded.insert(id.as_str().to_owned());
            }
        }
        assert!(loaded.len() > 195, "{} of 200", loaded.len());
        assert_ne!(Ready::after_restart(ids(0..9), 1).pop(), Ready::after_restart(ids(0..9), 3).pop());
    }

    #[test]
    fn who_is_woken_now_does_not_stand_behind_what_was_left() {
        let mut ready = Ready::after_restart(ids(0..1000), 1);
        let now = TaskId::new("now").unwrap();
        ready.push(now.clone());
        assert!((0..2).any(|_| ready.pop() == Some(now.clone())));
        assert_eq!(std::iter::from_fn(|| ready.pop()).count(), 999);
        assert!(ready.is_empty());
    }
}
