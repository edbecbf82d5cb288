//! Files whose reads and writes go through a reactor ([`crate::Disk`]).

use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;

/// An open file. Cheap to clone; closed when the last clone is gone, those of
/// operations under way included. Opening, creating and renaming are done with
/// `std::fs` at start-up and on cold paths; they block.
#[derive(Clone, Debug)]
pub struct File(Arc<std::fs::File>);

impl File {
    /// The file itself, for what isn't read or written through the reactor:
    /// metadata, mapping, locking.
    #[must_use]
    pub fn std(&self) -> &std::fs::File {
        &self.0
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> Self {
        Self(Arc::new(file))
    }
}
