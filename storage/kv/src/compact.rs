//! Maintenance: preparing segments.

use crate::api::Error;
use crate::store::{Store, lock};

impl Store {
    /// Prepares the segments that are missing. Blocks on the disk (zeroing a segment takes a
    /// tenth of a second): call it from a thread of its own, woken by
    /// [`Store::wait_for_maintenance`].
    ///
    /// # Errors
    /// [`Error::NoSpace`]: writes go on while the active segment has room, then they are answered
    /// [`crate::Unavailable::NoSpace`] until a later call succeeds.
    pub fn maintain(&self) -> Result<(), Error> {
        let _one = lock(&self.maintenance);
        self.prepare()
    }
}
