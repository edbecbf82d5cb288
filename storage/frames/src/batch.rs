//! Operations that own their bytes: a batch is built where values are borrowed from a machine, and may have
//! to be submitted again.

use forebay_base::{TenantId, Timestamp};
use forebay_kv::{Op, Space};

/// One batch of the store, over a tenant's own keys and those that the system keeps for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    ops: Vec<(Where, Owned)>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Where {
    User,
    Hidden,
}

#[derive(Clone, Debug, PartialEq)]
enum Owned {
    Set(Vec<u8>, Vec<u8>, Option<Timestamp>),
    Del(Vec<u8>),
    /// Key, what must be there, what comes there.
    Cas(Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Timestamp>),
}

impl Batch {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores a record of the system's.
    pub fn keep(&mut self, key: Vec<u8>, value: Vec<u8>, expires: Option<Timestamp>) {
        self.push(Where::Hidden, Owned::Set(key, value, expires));
    }

    /// Removes a record of the system's.
    pub fn drop(&mut self, key: Vec<u8>) {
        self.push(Where::Hidden, Owned::Del(key));
    }

    /// Changes a record of the system's, if it is what is expected.
    pub fn change(
        &mut self,
        key: Vec<u8>,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
        expires: Option<Timestamp>,
    ) {
        self.push(Where::Hidden, Owned::Cas(key, expected, new, expires));
    }

    /// Stores a value of the tenant's.
    pub fn set(&mut self, key: Vec<u8>, value: Vec<u8>, expires: Option<Timestamp>) {
        self.push(Where::User, Owned::Set(key, value, expires));
    }

    /// Removes a key of the tenant's.
    pub fn del(&mut self, key: Vec<u8>) {
        self.push(Where::User, Owned::Del(key));
    }

    /// Changes a value of the tenant's, if it is what is expected.
    pub fn cas(
        &mut self,
        key: Vec<u8>,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
        expires: Option<Timestamp>,
    ) {
        self.push(Where::User, Owned::Cas(key, expected, new, expires));
    }

    fn push(&mut self, space: Where, op: Owned) {
        self.bytes += match &op {
            Owned::Set(key, value, _) => key.len() + value.len(),
            Owned::Del(key) => key.len(),
            Owned::Cas(key, _, new, _) => key.len() + new.as_ref().map_or(0, Vec::len),
        };
        self.ops.push((space, op));
    }

    /// Appends another's operations.
    pub fn append(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.ops.extend(other.ops);
    }

    /// How many operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// None.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Bytes of keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// As the store takes them.
    #[must_use]
    pub fn ops(&self, tenant: TenantId) -> Vec<(Space, Op<'_>)> {
        let each = |(space, _): &(Where, Owned)| match space {
            Where::User => Space::user(tenant),
            Where::Hidden => Space::hidden(tenant),
        };
        self.ops.iter().map(|op| (each(op), borrowed(&op.1))).collect()
    }
}

fn borrowed(op: &Owned) -> Op<'_> {
    match op {
        Owned::Set(key, value, expires) => Op::Set { key, value, expires: *expires },
        Owned::Del(key) => Op::Del { key },
        Owned::Cas(key, expected, new, expires) => {
            Op::Cas { key, expected: expected.as_deref(), new: new.as_deref(), expires: *expires }
        }
    }
}
