//! What callers hand in and get back: operations, outcomes, limits, errors.

use std::fmt;
use std::path::PathBuf;

use forebay_base::limits::{KV_KEY_BYTES_MAX, KV_VALUE_BYTES_MAX};
use forebay_base::{CoreId, Timestamp};

use crate::quota::Quota;
use crate::space::Space;
use crate::testing::Planted;

/// Operations of one batch. Beyond it: [`Refused::BatchTooLarge`].
pub const BATCH_OPS_MAX: usize = 4096;
/// Encoded bytes of one batch. Beyond it: [`Refused::BatchTooLarge`].
pub const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Encoded bytes of one commit. A group that reached it is closed and the next begins.
pub const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Encoded bytes that wait for the disk. Beyond it: [`Unavailable::Busy`].
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Items of one page of [`crate::Store::scan`] and [`crate::Store::iterate`];
/// a larger limit means this one.
pub const PAGE_ITEMS_MAX: usize = 1000;
/// Keys that [`crate::Store::iterate`] may skip. Beyond it: [`Refused::OffsetTooLarge`].
pub const ITERATE_OFFSET_MAX: usize = 100_000;
/// Bytes of a segment file at most, unless [`Config::segment_bytes`] says otherwise or a batch needs more.
pub const SEGMENT_BYTES: u32 = 64 * 1024 * 1024;
/// Bytes of a segment file of a small log, or [`Config::segment_bytes`] if that is less.
pub const SEGMENT_BYTES_MIN: u32 = 4 * 1024 * 1024;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data folder. Created (mode 0700) if it doesn't exist; its parent must.
    pub folder: PathBuf,
    /// Cores that submit: 1 <= cores. [`CoreId`]s are below it.
    pub cores: u16,
    /// Bytes of a segment file at most, a multiple of 512, 8 KiB at least. A small log has smaller ones
    /// ([`SEGMENT_BYTES_MIN`]), a batch that needs more gets a larger one; a folder keeps segments of different sizes.
    pub segment_bytes: u32,
    /// Empty segments kept ready, 1 at least.
    pub spare_segments: usize,
    /// Empty segments beyond those, which only removals and compaction use: on a full disk they
    /// make room.
    pub reserve_segments: usize,
    /// Of the disk, in percent: with less free the store takes no more segments than the reserve.
    pub reserve_percent: u32,
    /// What each tenant may store.
    pub quota: Quota,
    /// A batch that would have to wait for a segment is answered [`Unavailable::Busy`] instead.
    #[doc(hidden)]
    pub busy_at_once: bool,
    /// Garbage in a sealed segment, in percent, above which compaction rewrites it.
    pub garbage_percent: u32,
    /// Bugs that tests plant to see whether they are caught.
    #[doc(hidden)]
    pub planted: Planted,
}

impl Config {
    /// The defaults for a data folder.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, cores: u16) -> Self {
        Self {
            folder: folder.into(),
            cores,
            segment_bytes: SEGMENT_BYTES,
            spare_segments: 1,
            reserve_segments: 2,
            reserve_percent: 5,
            quota: Quota::default(),
            busy_at_once: false,
            garbage_percent: 25,
            planted: Planted::default(),
        }
    }

    /// Empty segments that maintenance keeps.
    pub(crate) fn spares(&self) -> usize {
        self.spare_segments + self.reserve_segments
    }
}

/// One operation of a batch. Keys are the user's, without tenant; values are
/// opaque bytes here (the canonical bytes of [`forebay_base::value::codec`] where
/// they come from scripts).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Stores `value`, whatever was there.
    Set {
        /// 0 to [`KV_KEY_BYTES_MAX`] bytes.
        key: &'a [u8],
        /// 0 to [`KV_VALUE_BYTES_MAX`] bytes.
        value: &'a [u8],
        /// From then on the key is absent.
        expires: Option<Timestamp>,
    },
    /// Removes the key, if it is there.
    Del {
        /// The key.
        key: &'a [u8],
    },
    /// Stores `value` if the key is absent, else the batch conflicts.
    Snx {
        /// The key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
        /// From then on the key is absent.
        expires: Option<Timestamp>,
    },
    /// Stores `new` (`None`: removes the key) if the key's value is `expected`
    /// (`None`: absent), byte for byte, else the batch conflicts.
    Cas {
        /// The key.
        key: &'a [u8],
        /// What must be there.
        expected: Option<&'a [u8]>,
        /// What comes there.
        new: Option<&'a [u8]>,
        /// From then on the key is absent.
        expires: Option<Timestamp>,
    },
    /// Adds `by` to the integer under the key (absent: 0) and reports the sum in
    /// [`Completion::number`]. Keeps the key's expiry.
    Incr {
        /// The key.
        key: &'a [u8],
        /// May be negative.
        by: i64,
    },
}

impl<'a> Op<'a> {
    /// The user's key.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        match *self {
            Op::Set { key, .. }
            | Op::Del { key }
            | Op::Snx { key, .. }
            | Op::Cas { key, .. }
            | Op::Incr { key, .. } => key,
        }
    }
}

/// The operations of one batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Batch<'a> {
    /// All in one keyspace.
    One(Space, &'a [Op<'a>]),
    /// Each in its own.
    Across(&'a [(Space, Op<'a>)]),
}

impl<'a> Batch<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_, ops) => ops.len(),
            Self::Across(ops) => ops.len(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Space, Op<'a>)> {
        let this = *self;
        (0..this.len()).map(move |i| match this {
            Self::One(space, ops) => (space, ops[i]),
            Self::Across(ops) => ops[i],
        })
    }
}

/// How a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done: on disk, or with `sync: false` accepted and visible.
    Ok,
    /// A condition didn't hold; nothing of the batch happened. Whatever made it
    /// fail is on disk.
    Conflict,
    /// [`Op::Incr`] met a value that is no integer, or the sum leaves 64 bits;
    /// nothing of the batch happened.
    NotCounter,
    /// The disk failed while the batch was under way: it may or may not be there
    /// after the next open.
    Unknown,
    /// Nothing of the batch happened.
    Unavailable(Unavailable),
}

/// Why the store doesn't take writes; reads go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// More is waiting for the disk than [`QUEUE_BYTES_MAX`]: try again.
    Busy,
    /// No space for another segment: the operator frees some; writes resume when
    /// [`crate::Store::maintain`] has prepared one.
    NoSpace,
    /// A write or sync failed, or a mapped read: the process must open the store again ([`crate::Store::heal`]), on a disk
    /// that works. Never retried: after a failed fsync(2) the page cache may show
    /// what the disk doesn't have.
    Poisoned,
    /// [`crate::Store::close`] was called.
    Closed,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "the store is busy: too much is waiting for the disk",
            Self::NoSpace => "the disk is full: the store is read-only",
            Self::Poisoned => "the disk failed: the store takes no writes until it is opened again",
            Self::Closed => "the store is closed",
        })
    }
}

/// A batch's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What the submitter gave.
    pub token: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The sum of the batch's last [`Op::Incr`], if the outcome is [`Outcome::Ok`].
    pub number: Option<i64>,
}

/// A batch that breaks a limit: the caller's fault, nothing happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Longer than [`KV_KEY_BYTES_MAX`].
    KeyTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Larger than [`KV_VALUE_BYTES_MAX`].
    ValueTooLarge {
        /// Its length in bytes.
        bytes: usize,
    },
    /// More than [`BATCH_OPS_MAX`] operations or [`BATCH_BYTES_MAX`] bytes.
    BatchTooLarge {
        /// Operations.
        ops: usize,
        /// Encoded bytes; 0 if the operations were already too many.
        bytes: usize,
        /// The bound on the bytes in this store.
        bytes_max: usize,
    },
    /// The tenant would have more keys than [`Config::quota`] allows.
    QuotaKeys {
        /// How many it may have.
        limit: u64,
    },
    /// The tenant would have more bytes of keys and values than [`Config::quota`] allows.
    QuotaBytes {
        /// How many it may have.
        limit: u64,
    },
    /// Beyond [`ITERATE_OFFSET_MAX`]: page by key instead.
    OffsetTooLarge {
        /// What was asked for.
        offset: usize,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyTooLong { bytes } => {
                write!(f, "the key has {bytes} bytes; at most {KV_KEY_BYTES_MAX} are allowed")
            }
            Self::ValueTooLarge { bytes } => {
                write!(f, "the value has {bytes} bytes; at most {KV_VALUE_BYTES_MAX} are allowed")
            }
            Self::BatchTooLarge { ops, bytes, bytes_max } => write!(
                f,
                "a batch of {ops} operations and {bytes} bytes; at most {BATCH_OPS_MAX} and {bytes_max} are allowed"
            ),
            Self::QuotaKeys { limit } => write!(f, "the quota of {limit} keys is used up"),
            Self::QuotaBytes { limit } => write!(f, "the quota of {limit} bytes is used up"),
            Self::OffsetTooLarge { offset } => {
                write!(
                    f,
                    "offset {offset} is beyond {ITERATE_OFFSET_MAX}: continue after the last key instead"
                )
            }
        }
    }
}

impl std::error::Error for Refused {}

/// Why a store can't be opened or maintained. The variants say who must act.
#[derive(Debug)]
pub enum Error {
    /// The operator: another process has the folder open.
    Locked {
        /// The data folder.
        folder: PathBuf,
        /// What the holder wrote into the lock file: its process id.
        holder: String,
    },
    /// The operator: [`Config`] or the folder can't be used as it is.
    Config {
        /// What is wrong, with the name of the field or file.
        what: String,
    },
    /// The medium, or whoever wrote into the files: what was acknowledged can't
    /// be read back. Nothing was changed. Restore a backup, or ask `kv verify`.
    Corrupt {
        /// The file's name in the data folder.
        file: String,
        /// Offset of the first byte that isn't what it should be.
        offset: u64,
        /// What was expected there.
        expected: &'static str,
    },
    /// The disk is full.
    NoSpace {
        /// What the space was for.
        what: String,
    },
    /// The kernel answered a file operation with an error.
    Io {
        /// The operation and its file.
        what: String,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The store doesn't take writes.
    Unavailable(Unavailable),
    /// The caller: a limit is broken.
    Refused(Refused),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Error {
    /// Wraps an I/O error: ENOSPC and EDQUOT become [`Error::NoSpace`].
    pub(crate) fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        let what = what.into();
        match source.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Self::NoSpace { what },
            _ => Self::Io { what, source },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { folder, holder } => {
                write!(f, "data folder {} is in use by process {holder}", folder.display())
            }
            Self::Config { what } => f.write_str(what),
            Self::Corrupt { file, offset, expected } => {
                write!(f, "{file} is corrupt at byte {offset}: expected {expected}")
            }
            Self::NoSpace { what } => write!(f, "no space left on the disk: {what}"),
            Self::Io { what, source } => write!(f, "{what}: {source}"),
            Self::Unavailable(why) => why.fmt(f),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Wakes a core that may be parked in its ring: called, without any lock held,
/// after completions were put into the empty queue of a core other than the one
/// that finished the commit. Must not block.
pub trait Wake: Send + Sync {
    /// `core` has completions to take.
    fn wake(&self, core: CoreId);
}

/// A [`Wake`] for stores whose only core also finishes the commits.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWake;

impl Wake for NoWake {
    fn wake(&self, _core: CoreId) {}
}
