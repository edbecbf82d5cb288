//! The index of tasks that aren't over. A restart reads it alone: who is to go on, when, with which code.

use crate::state::Status;

/// Entry of a live task. 42 bytes: version (u8), status (u8), wake (i64), hash of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// Initialized, running or paused.
    pub status: Status,
    /// When it goes on by itself, microseconds since the epoch; none: at once, or when something wakes it.
    pub wake: Option<i64>,
    /// It waits for nothing that the machine could do now: no need to load it before something wakes it.
    pub waiting: bool,
    /// Content hash of its module.
    pub code: [u8; 32],
}

const VERSION: u8 = 1;

impl Live {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.status.number() | u8::from(self.waiting) << 7];
        out.extend_from_slice(&self.wake.unwrap_or(i64::MAX).to_le_bytes());
        out.extend_from_slice(&self.code);
        out
    }

    /// Reads a record; none if it isn't one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [VERSION, status, rest @ ..] = bytes else { return None };
        let (wake, code) = rest.split_first_chunk::<8>()?;
        let wake = i64::from_le_bytes(*wake);
        Some(Self {
            status: Status::from_number(status & 0x7f)?,
            waiting: status & 0x80 != 0,
            wake: (wake != i64::MAX).then_some(wake),
            code: code.try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back() {
        for wake in [None, Some(0), Some(-5), Some(1 << 60)] {
            for waiting in [false, true] {
                let live = Live { status: Status::Running, wake, waiting, code: [7; 32] };
                assert_eq!(Live::decode(&live.encode()), Some(live));
            }
        }
        let bytes = Live { status: Status::Paused, wake: None, waiting: true, code: [0; 32] }.encode();
        assert_eq!(bytes.len(), 42);
        for cut in 0..bytes.len() {
            assert_eq!(Live::decode(&bytes[..cut]), None);
        }
        assert_eq!(Live::decode(&[&bytes[..], b"x"].concat()), None);
    }
}
