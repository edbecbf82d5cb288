//! A page of a scan, cheap to make: keys, and where their values lie.
//!
//! One count keeps all the segments that a page points into, instead of one for each value: on x86 an atomic
//! addition waits for all reads before it, and the reads of a page's values are what should overlap. They are
//! fetched ahead while the page is made, and looked at when it is finished ([`Rows::settle`]): what the medium can't
//! read any more is an error there, and not zeros in a caller's hands.

use std::sync::Arc;

use crate::api::Error;
use crate::index::{Item, Page, Table};
use crate::record::value_offset;
use crate::segment::ValueRef;
use crate::space::Space;
use crate::tree::{Slot, State};

/// Part of a scan: a consistent snapshot of one moment, keys ascending bytewise. Filled by
/// [`crate::Store::scan_rows`] and [`crate::Store::iterate_rows`], which reuse its memory. Keeps the
/// segments it points into: [`Rows::clear`] it rather than keeping it across turns.
#[derive(Debug, Default)]
pub struct Rows {
    table: Option<Arc<Table>>,
    slots: Vec<Slot>,
    /// Values that aren't in a map.
    owned: Vec<Arc<[u8]>>,
    more: bool,
}

impl Rows {
    /// An empty page.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keys on the page.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// There are no keys on the page.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// There may be more after the last key.
    #[must_use]
    pub fn more(&self) -> bool {
        self.more
    }

    /// The last key: what to continue after.
    #[must_use]
    pub fn last_key(&self) -> Option<&[u8]> {
        self.slots.last().map(|slot| &*slot.key)
    }

    /// Keys and values, keys ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.slots.iter().map(|slot| (&*slot.key, self.value(slot)))
    }

    /// Forgets what is on the page.
    pub fn clear(&mut self) {
        self.table = None;
        self.slots.clear();
        self.owned.clear();
        self.more = false;
    }

    fn value(&self, slot: &Slot) -> &[u8] {
        if slot.state() == State::Memory {
            return self.owned.get(slot.memory() as usize).map_or(&[], |value| value);
        }
        let segment = self.table.as_ref().and_then(|table| table.get(slot.segment));
        segment.map_or(&[], |segment| segment.mapped(value_start(slot), slot.value_len as usize))
    }

    // ------------------------------------------------------------ for the index

    pub(crate) fn begin(&mut self, table: &Arc<Table>, limit: usize) {
        self.clear();
        self.table = Some(Arc::clone(table));
        self.slots.reserve(limit.min(128));
    }

    pub(crate) fn push(&mut self, slot: &Slot) {
        self.slots.push(slot.clone());
    }

    pub(crate) fn push_owned(&mut self, slot: &Slot, value: Arc<[u8]>) {
        let place = u32::try_from(self.owned.len()).unwrap_or(u32::MAX >> 3);
        self.owned.push(value);
        self.slots.push(Slot::unsynced(slot.key.clone(), State::Memory, place, slot.value_len, false));
    }

    pub(crate) fn end(&mut self, more: bool) {
        self.more = more;
    }

    /// Makes the values readable, outside the index's lock: reads what isn't mapped, and touches what is.
    pub(crate) fn settle(&mut self, space: Space) -> Result<(), Error> {
        let Some(table) = &self.table else { return Ok(()) };
        for slot in &mut self.slots {
            if slot.state() != State::Stored {
                continue;
            }
            let Some(segment) = table.get(slot.segment) else { return Err(crate::index::no_segment(slot)) };
            if !segment.is_checked() {
                segment.check_record(space, slot)?;
            }
            if segment.touch(value_start(slot), slot.value_len as usize)? {
                continue;
            }
            let value = segment.read(value_start(slot), slot.value_len as usize)?;
            let place = u32::try_from(self.owned.len()).unwrap_or(u32::MAX >> 3);
            self.owned.push(value.into());
            *slot = Slot::unsynced(slot.key.clone(), State::Memory, place, slot.value_len, false);
        }
        Ok(())
    }

    /// The same as items that stand for themselves.
    pub(crate) fn into_page(self) -> Page {
        let more = self.more;
        let value = |slot: &Slot| match (slot.state(), self.table.as_ref()) {
            (State::Memory, _) => self.owned.get(slot.memory() as usize).cloned().map(ValueRef::owned),
            (_, Some(table)) => table
                .get(slot.segment)
                .map(|segment| ValueRef::in_segment(segment, start_u32(slot), slot.value_len)),
            _ => None,
        };
        let items = self.slots.iter().filter_map(|slot| Some(Item::new(slot.key.clone(), value(slot)?)));
        Page { items: items.collect(), more }
    }
}

/// Offset of a stored slot's value in its segment.
pub(crate) fn value_start(slot: &Slot) -> usize {
    slot.offset() as usize + value_offset(slot.key.len(), slot.expires())
}

fn start_u32(slot: &Slot) -> u32 {
    // Within a segment, whose size is a u32.
    u32::try_from(value_start(slot)).unwrap_or(u32::MAX)
}
