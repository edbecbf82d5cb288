//! What an open collects of a log before it makes the index at once: per keyspace the slots of its keys, sorted.
//! Building from sorted slots costs a fraction of inserting one by one.

use std::collections::{BTreeMap, HashMap};

use forebay_base::Timestamp;

use crate::key::Key;
use crate::record::{Fields, Kind, Record, record_bytes};
use crate::space::Space;
use crate::tree::{Slot, State};

/// Records of some segments. Of a key it may have several slots, the youngest of which counts.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) spaces: BTreeMap<Space, Vec<Slot>>,
    /// By segment and offset of the record.
    pub(crate) expiries: HashMap<(u32, u32), Timestamp>,
    /// Bytes of removals by segment.
    pub(crate) removals: Vec<(u32, u64)>,
}

impl Chunk {
    /// Takes what a record says of its key.
    pub(crate) fn take(&mut self, segment: u32, record: &Record<'_>) {
        let Fields { kind, expires, space, key, value, .. } = record.fields;
        let slot = match kind {
            Kind::Set => {
                if let Some(at) = expires {
                    self.expiries.insert((segment, record.offset), at);
                }
                let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
                Slot::stored(Key::new(key), segment, record.offset, len, expires.is_some())
            }
            Kind::Delete => {
                let bytes = record_bytes(key.len(), 0, false) as u64;
                match self.removals.last_mut() {
                    Some((id, sum)) if *id == segment => *sum += bytes,
                    _ => self.removals.push((segment, bytes)),
                }
                Slot::removed(Key::new(key), segment, record.offset)
            }
            Kind::Epoch | Kind::Seal => return,
        };
        self.spaces.entry(space).or_default().push(slot);
    }

    /// Sorts the slots, and keeps of each key the youngest. The sort finds the runs that are
    /// sorted already and merges them.
    pub(crate) fn sort(&mut self) {
        for slots in self.spaces.values_mut() {
            slots.sort_by(|a, b| a.key.cmp(&b.key).then_with(|| a.position().cmp(&b.position())));
            slots.dedup_by(|next, kept| {
                let same = next.key == kept.key;
                if same {
                    // `dedup_by` keeps the first: the later one takes its place.
                    std::mem::swap(next, kept);
                }
                same
            });
        }
    }
}

/// Calls `each` with the youngest slot of every key in `lists`, which are sorted and have each key once, unless it was
/// removed. In the order of the keys.
pub(crate) fn merge(lists: Vec<Vec<Slot>>, mut each: impl FnMut(Slot)) {
    let mut lists: Vec<_> = lists.into_iter().map(|list| list.into_iter().peekable()).collect();
    let mut keep = |slot: Slot| {
        if slot.state() == State::Stored {
            each(slot);
        }
    };
    loop {
        lists.retain_mut(|list| list.peek().is_some());
        // Nearly always one or two: an open has few threads, and one list of what it scanned.
        let [first, rest @ ..] = &mut lists[..] else { return };
        if rest.is_empty() {
            first.for_each(keep);
            return;
        }
        // Until one of the lists ends.
        loop {
            let mut least = 0;
            let mut ended = false;
            for n in 1..lists.len() {
                let (before, after) = lists.split_at_mut(n);
                let (Some(best), Some(other)) = (before[least].peek(), after[0].peek()) else {
                    ended = true;
                    break;
                };
                match other.key.cmp(&best.key) {
                    std::cmp::Ordering::Less => least = n,
                    std::cmp::Ordering::Greater => {}
                    std::cmp::Ordering::Equal => {
                        // The older one goes.
                        let older = if other.position() < best.position() { n } else { least };
                        if older == least {
                            least = n;
                        }
                        lists[older].next();
                    }
                }
            }
            if ended {
                break;
            }
            match lists[least].next() {
                Some(slot) => keep(slot),
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_base::rng::Rng;

    #[test]
    fn the_youngest_of_every_key_counts() {
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let mut model: BTreeMap<Vec<u8>, (u32, bool)> = BTreeMap::new();
            let mut chunks: Vec<Chunk> = (0..1 + rng.below(4)).map(|_| Chunk::default()).collect();
            for offset in 1..=u32::try_from(rng.below(200)).unwrap() {
                let key = vec![b'a' + u8::try_from(rng.below(20)).unwrap()];
                let removed = rng.one_in(4);
                let slot = match removed {
                    true => Slot::removed(Key::new(&key), 1, offset * 8),
                    false => Slot::stored(Key::new(&key), 1, offset * 8, 0, false),
                };
                let n = usize::try_from(rng.below(chunks.len() as u64)).unwrap();
                chunks[n].spaces.entry(Space::from_bits(0)).or_default().push(slot);
                model.insert(key, (offset * 8, removed));
            }
            chunks.iter_mut().for_each(Chunk::sort);
            let lists = chunks.into_iter().flat_map(|mut c| c.spaces.remove(&Space::from_bits(0))).collect();
            let mut found = Vec::new();
            merge(lists, |slot| found.push((slot.key.to_vec(), slot.offset())));
            let expected: Vec<_> =
                model.into_iter().filter(|(_, (_, gone))| !gone).map(|(k, (at, _))| (k, at)).collect();
            assert_eq!(found, expected, "seed {seed}");
        }
    }
}
