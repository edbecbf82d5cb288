//! Writes by threads that are no core: the admin socket's, and tools.

use std::sync::Arc;
use std::time::Duration;

use forebay_base::{CoreId, Timestamp};

use crate::api::{Completion, Op, Refused};
use crate::space::Space;
use crate::store::{Store, lock};

/// How long it takes at most to see that a core has finished, should no signal come.
const LOOK: Duration = Duration::from_millis(2);

impl Store {
    /// Submits a batch and waits for its answer, on a thread that is no core's. One thread at a time.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn write_from_outside(
        self: &Arc<Self>,
        now: Timestamp,
        space: impl Into<Space>,
        ops: &[Op<'_>],
    ) -> Result<Completion, Refused> {
        let mut token = lock(&self.outside);
        *token += 1;
        let core = CoreId(self.config.cores + 1);
        self.submit(core, *token, now, space, ops, true)?;
        let mut answers = Vec::new();
        loop {
            self.completions(core, &mut answers);
            if let Some(answer) = answers.iter().find(|answer| answer.token == *token) {
                return Ok(*answer);
            }
            match self.poll_commit(core) {
                Some(job) => job.run(),
                None => self.wait_for_change(LOOK),
            }
        }
    }
}
