//! Quotas: how many keys and bytes a tenant's scripts may store.

use forebay_base::TenantId;

use crate::api::{Batch, Op, Refused};
use crate::store::Store;

/// What one tenant may have at most. What the system keeps for it doesn't count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Keys, expired ones included until they are removed.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self { keys: u64::MAX, bytes: u64::MAX }
    }
}

impl Store {
    /// Refuses a batch that would take its tenant beyond the quota. Compared with what is visible: batches that
    /// are under way together may exceed it by what they add. One that adds nothing is always admitted.
    pub(crate) fn admit(&self, batch: Batch<'_>) -> Result<(), Refused> {
        let quota = self.config.quota;
        if quota == Quota::default() {
            return Ok(());
        }
        let index = self.read_index();
        // A batch rarely has more than one tenant.
        let mut added: Vec<(TenantId, i64, i64)> = Vec::new();
        for (space, op) in batch.iter().filter(|(space, _)| !space.is_hidden()) {
            let new = match op {
                Op::Set { value, .. } | Op::Snx { value, .. } | Op::Cas { new: Some(value), .. } => {
                    Some(value.len())
                }
                Op::Cas { new: None, .. } | Op::Del { .. } => None,
                Op::Incr { .. } => Some(INTEGER_BYTES),
            };
            let old = index.value_len(space, op.key());
            let size = |value: Option<usize>| {
                value.map_or(0, |len| i64::try_from(op.key().len() + len).unwrap_or(i64::MAX))
            };
            let tenant = space.tenant();
            let place = added.iter().position(|(t, ..)| *t == tenant).unwrap_or_else(|| {
                added.push((tenant, 0, 0));
                added.len() - 1
            });
            added[place].1 += i64::from(new.is_some()) - i64::from(old.is_some());
            added[place].2 += size(new) - size(old);
        }
        for (tenant, keys, bytes) in added {
            let (has_keys, has_bytes) = index.used(tenant.into());
            let beyond = |has: u64, add: i64, limit: u64| add > 0 && has.saturating_add_signed(add) > limit;
            if beyond(has_keys, keys, quota.keys) {
                return Err(Refused::QuotaKeys { limit: quota.keys });
            }
            if beyond(has_bytes, bytes, quota.bytes) {
                return Err(Refused::QuotaBytes { limit: quota.bytes });
            }
        }
        Ok(())
    }
}

/// The longest encoded integer.
pub(crate) const INTEGER_BYTES: usize = 11;
