//! Whose keys: a tenant's own, or what the system keeps for that tenant.

use forebay_base::TenantId;

/// One keyspace. A tenant's scripts reach [`Space::user`] of their tenant and can't spell
/// [`Space::hidden`], where durable tasks and the like keep their records: the space isn't part of the
/// key's bytes, so no key, prefix or page leads from one into the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space(u32);

const HIDDEN: u32 = 1 << 31;

impl Space {
    /// The keys of a tenant's scripts. Tenant ids have 31 bits here; the highest is ignored.
    #[must_use]
    pub const fn user(tenant: TenantId) -> Self {
        Self(tenant.0 & !HIDDEN)
    }

    /// What the system keeps for a tenant, out of reach of its scripts.
    #[must_use]
    pub const fn hidden(tenant: TenantId) -> Self {
        Self(tenant.0 | HIDDEN)
    }

    /// Whose it is.
    #[must_use]
    pub const fn tenant(self) -> TenantId {
        TenantId(self.0 & !HIDDEN)
    }

    /// Scripts can't reach it.
    #[must_use]
    pub const fn is_hidden(self) -> bool {
        self.0 & HIDDEN != 0
    }

    /// As it stands in a record.
    pub(crate) const fn to_bits(self) -> u32 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

impl From<TenantId> for Space {
    fn from(tenant: TenantId) -> Self {
        Self::user(tenant)
    }
}
