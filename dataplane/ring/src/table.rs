//! Slots with generations: the connection tables of both reactors.

use forebay_base::ConnectionId;

/// Grows to its bound and no further; slots are reused last in, first out, so
/// that few connections stay in few cache lines.
#[derive(Debug)]
pub(crate) struct Table<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
    bound: u32,
}

impl<T> Table<T> {
    pub(crate) fn new(bound: u32) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), bound }
    }

    /// None when the table is full.
    pub(crate) fn insert(&mut self, value: T) -> Option<ConnectionId> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.slots.len()).ok().filter(|slot| *slot < self.bound)?;
                self.slots.push((0, None));
                slot
            }
        };
        let entry = &mut self.slots[slot as usize];
        entry.1 = Some(value);
        Some(ConnectionId { slot, generation: entry.0 })
    }

    /// By slot, for completions: whoever is there now.
    pub(crate) fn at(&mut self, slot: u32) -> Option<&mut T> {
        self.slots.get_mut(slot as usize)?.1.as_mut()
    }

    /// By id, for callers: None if that connection is gone.
    pub(crate) fn get(&mut self, id: ConnectionId) -> Option<&mut T> {
        let entry = self.slots.get_mut(id.slot as usize)?;
        if entry.0 == id.generation { entry.1.as_mut() } else { None }
    }

    pub(crate) fn id(&self, slot: u32) -> ConnectionId {
        let generation = self.slots.get(slot as usize).map_or(0, |entry| entry.0);
        ConnectionId { slot, generation }
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let entry = self.slots.get_mut(slot as usize)?;
        let value = entry.1.take()?;
        entry.0 = entry.0.wrapping_add(1);
        self.free.push(slot);
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.free.is_empty() && self.slots.len() >= self.bound as usize
    }
}
