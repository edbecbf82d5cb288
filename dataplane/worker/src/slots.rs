//! A table of things in flight, addressed by keys that are never reused while a
//! late answer could still carry them: 32 bits of index, 28 bits of generation.

/// The table. Grows to its high-water mark, then allocates no more.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
    live: usize,
}

const GENERATION_MASK: u32 = (1 << 28) - 1;

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), live: 0 }
    }

    pub(crate) fn insert(&mut self, value: T) -> u64 {
        self.live += 1;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let slot = &mut self.slots[index as usize];
        slot.1 = Some(value);
        u64::from(slot.0) << 32 | u64::from(index)
    }

    pub(crate) fn get(&self, key: u64) -> Option<&T> {
        let (index, generation) = split(key);
        let slot = self.slots.get(index)?;
        if slot.0 == generation { slot.1.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let (index, generation) = split(key);
        let slot = self.slots.get_mut(index)?;
        if slot.0 == generation { slot.1.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<T> {
        let (index, generation) = split(key);
        let slot = self.slots.get_mut(index)?;
        if slot.0 != generation {
            return None;
        }
        let value = slot.1.take()?;
        slot.0 = slot.0.wrapping_add(1) & GENERATION_MASK;
        self.free.push(u32::try_from(index).unwrap_or(u32::MAX));
        self.live -= 1;
        Some(value)
    }

    pub(crate) const fn len(&self) -> usize {
        self.live
    }

    /// Keys of all that is in the table.
    pub(crate) fn keys(&self) -> impl Iterator<Item = u64> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.1.is_some())
            .map(|(index, slot)| u64::from(slot.0) << 32 | index as u64)
    }
}

/// A count for each key of a [`Slots`], while it isn't 0: by index, since an index has one key at a time.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    counts: Vec<(u64, u32)>,
}

impl Counts {
    pub(crate) fn get(&self, key: u64) -> u32 {
        self.counts.get(split(key).0).filter(|count| count.0 == key).map_or(0, |count| count.1)
    }

    pub(crate) fn add(&mut self, key: u64) {
        let (index, _) = split(key);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, (0, 0));
        }
        let count = &mut self.counts[index];
        *count = if count.0 == key { (key, count.1 + 1) } else { (key, 1) };
    }

    /// One less, if there is one.
    pub(crate) fn subtract(&mut self, key: u64) {
        if let Some(count) = self.counts.get_mut(split(key).0)
            && count.0 == key
        {
            count.1 = count.1.saturating_sub(1);
        }
    }

    /// What it was; it is 0 from now on.
    pub(crate) fn take(&mut self, key: u64) -> u32 {
        let count = self.counts.get_mut(split(key).0).filter(|count| count.0 == key);
        count.map_or(0, |count| std::mem::take(&mut count.1))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves are taken apart on purpose")]
const fn split(key: u64) -> (usize, u32) {
    (key as u32 as usize, (key >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_finds_nothing() {
        let mut slots = Slots::new();
        let a = slots.insert('a');
        assert_eq!(slots.remove(a), Some('a'));
        let b = slots.insert('b');
        assert_ne!(a, b);
        assert_eq!(slots.get(a), None);
        assert_eq!(slots.get_mut(a), None);
        assert_eq!((slots.remove(a), slots.len()), (None, 1));
        assert_eq!(slots.keys().collect::<Vec<_>>(), [b]);
        assert_eq!(slots.get_mut(b), Some(&mut 'b'));
    }

    #[test]
    fn an_old_key_counts_nothing() {
        let (mut slots, mut counts) = (Slots::new(), Counts::default());
        let a = slots.insert('a');
        counts.subtract(a);
        assert_eq!((counts.get(a), counts.take(a)), (0, 0));
        counts.add(a);
        counts.add(a);
        assert_eq!(counts.get(a), 2);
        slots.remove(a);
        let b = slots.insert('b');
        assert_eq!(counts.get(b), 0);
        counts.add(b);
        counts.subtract(a);
        assert_eq!((counts.get(a), counts.get(b), counts.take(a)), (0, 1, 0));
        assert_eq!((counts.take(b), counts.get(b)), (1, 0));
    }
}
