//! Identifiers. A newtype wherever an index could meet a count, or one table's
//! index another's.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// Who owns a task, a key, an effect or a metric. 0 is the app itself.
    TenantId(u32)
}
id! {
    /// One run of a handler. Unique within a process: the core in the upper 16
    /// bits, a counter below, so that no two cores share a number.
    TaskId(u64)
}
id! {
    /// Index of a data-path core (not of a CPU): 0 <= core < number of reactors.
    CoreId(u16)
}
id! {
    /// Log sequence number of the store: counts records, never reused, never 0
    /// for a record that exists.
    Lsn(u64)
}

/// A connection as everyone above the ring sees it: never a file descriptor.
///
/// `slot` is reused after a close, with the next `generation`; an event or a
/// command with an old generation is dropped by whoever receives it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct ConnectionId {
    /// Index into the reactor's connection table.
    pub slot: u32,
    /// Counts the uses of this slot; wraps.
    pub generation: u32,
}

impl ConnectionId {
    /// Both halves in one word, for tokens of the kernel: slot in the low 32 bits.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// The inverse of [`ConnectionId::to_bits`].
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are taken apart on purpose")]
    pub const fn from_bits(bits: u64) -> Self {
        Self { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_id_survives_its_bits() {
        let id = ConnectionId { slot: 7, generation: u32::MAX };
        assert_eq!(ConnectionId::from_bits(id.to_bits()), id);
    }
}
