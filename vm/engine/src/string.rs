//! Strings: flat, ropes, and interned ones (property keys).
//!
//! ```text
//!   flat   header: STRING | flags | length in UTF-16 units << 32
//!          word 1: length in bytes | hash << 32 (0 if not interned)
//!          bytes: UTF-8, or WTF-8 where surrogates stand alone
//!   rope   header: ROPE | flags | length in units << 32
//!          word 1: length in bytes;  word 2: left;  word 3: right
//!          once needed it is written out and becomes FLATTENED, word 2 = the flat string
//! ```
//!
//! Interned strings are compared by reference. They are looked for in the intrinsics, the
//! blueprint, what this core has met, and the task, in this order, so that one text has one
//! reference within a task. A core keeps a bounded number of keys that scripts did not
//! name (JSON keys, SQL columns); beyond that they live in the task.
#![expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]

use crate::builtins::text;
use crate::heap::{Heap, kind};
use crate::mem::Mem;
use crate::throw::Throw;
use crate::value::{Ref, Value, space};
use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

/// Header flags of strings.
pub(crate) const ASCII: u64 = 1 << 8;
pub(crate) const INTERNED: u64 = 2 << 8;
const ENDS_HIGH: u64 = 4 << 8;
const STARTS_LOW: u64 = 8 << 8;

/// Longest string in bytes. Beyond it: RangeError.
pub(crate) const STRING_BYTES_MAX: usize = (1 << 29) - 24;
/// Below it a concatenation copies instead of making a rope.
const ROPE_BYTES_MIN: usize = 48;
/// Left sides that writing out a rope keeps without an allocation.
const FLATTEN_FEW: usize = 16;
/// Longest text that a template literal writes at once.
pub(crate) const TEMPLATE_BYTES_MAX: usize = 512;
/// Longest part of it: what a loop lets grow by a template becomes a rope, not a copy each time.
const PART_BYTES_MAX: usize = 128;
/// Longest one that `text + number` does.
pub(crate) const SHORT_BYTES_MAX: usize = 96;
/// Longest text of a column that is copied as two words.
const SHORT_COLUMN: usize = 16;
/// Keys that a core keeps beside those of its blueprint.
const WORKER_ATOMS_MAX: usize = 4096;
/// Longest key that a core keeps, bytes.
const WORKER_ATOM_BYTES_MAX: usize = 64;

/// Bytes of the reservation for a core's own keys: all of them at their longest.
pub(crate) const WORKER_ARENA_BYTES: usize = WORKER_ATOMS_MAX * (16 + WORKER_ATOM_BYTES_MAX) + 4096;

/// An open-addressing table from text to interned string, of one space.
#[derive(Default, Clone)]
pub(crate) struct Atoms {
    /// (hash, word index); index 0 is a free place. A power of two long.
    slots: Vec<(u32, u32)>,
    len: usize,
}

impl Atoms {
    fn find(&self, heap: &Heap, of: u8, hash: u32, bytes: &[u8]) -> Option<Value> {
        if self.len == 0 {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let (h, index) = self.slots[at];
            if index == 0 {
                return None;
            }
            if h == hash {
                let r = Ref::new(of, index);
                if flat_bytes(heap, r) == bytes {
                    return Some(r.string());
                }
            }
            at = (at + 1) & mask;
        }
    }

    fn insert(&mut self, hash: u32, index: u32) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            let old = std::mem::take(&mut self.slots);
            self.slots = vec![(0, 0); (old.len() * 2).max(16)];
            for (h, i) in old.into_iter().filter(|e| e.1 != 0) {
                self.place(h, i);
            }
        }
        self.place(hash, index);
        self.len += 1;
    }

    fn place(&mut self, hash: u32, index: u32) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at].1 != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = (hash, index);
    }

    /// Forgets all; a table that grew beyond 1,024 places is given back.
    pub(crate) fn clear(&mut self) {
        if self.len > 0 {
            if self.slots.len() > 1024 {
                self.slots = Vec::new();
            } else {
                self.slots.fill((0, 0));
            }
            self.len = 0;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// Hash of a key's bytes: folded multiply (wyhash's step), seeded per process, so
/// that nobody can choose keys that collide.
pub(crate) fn hash_bytes(bytes: &[u8]) -> u32 {
    static SEED: OnceLock<u64> = OnceLock::new();
    let mut h = *SEED.get_or_init(|| RandomState::new().hash_one(0x5eed_u64) | 1);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        h = fold(h ^ u64::from_le_bytes(word));
    }
    let mut word = [0; 8];
    word[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    h = fold(h ^ u64::from_le_bytes(word) ^ ((bytes.len() as u64) << 56));
    (h ^ h >> 32) as u32
}

pub(crate) fn fold(x: u64) -> u64 {
    let product = u128::from(x ^ 0x9e37_79b9_7f4a_7c15) * 0xa076_1d64_78bd_642f_u128;
    product as u64 ^ (product >> 64) as u64
}

/// Bytes of a flat string cell.
#[inline(always)]
pub(crate) fn flat_bytes(heap: &Heap, r: Ref) -> &[u8] {
    let len = heap.load(r, 1) as u32;
    heap.bytes(r, 2, len as usize)
}

/// Header flags and length in UTF-16 units of a flat string of these bytes.
pub(crate) fn flags_of(bytes: &[u8]) -> (u64, usize) {
    if bytes.is_ascii() {
        return (ASCII, bytes.len());
    }
    let mut flags = 0;
    if text::ends_high(bytes) {
        flags |= ENDS_HIGH;
    }
    if text::starts_low(bytes) {
        flags |= STARTS_LOW;
    }
    (flags, text::utf16_len(bytes))
}

/// The flags of a string's header that a rope derives its own from.
pub(crate) fn rope_flags(header: u64) -> u64 {
    header & (ASCII | ENDS_HIGH | STARTS_LOW)
}

/// The flags of a rope over two strings with these; none where halves of a pair would meet.
pub(crate) fn joined_flags(left: u64, right: u64) -> Option<u64> {
    let pair = left & ENDS_HIGH != 0 && right & STARTS_LOW != 0;
    (!pair).then_some(left & right & ASCII | left & STARTS_LOW | right & ENDS_HIGH)
}

/// Up to 7 bytes as the first of a word, zeros behind them: two loads that overlap instead of a loop.
#[inline(always)]
fn last_word(bytes: &[u8]) -> u64 {
    if let (Some(low), Some(high)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let high = u64::from(u32::from_le_bytes(*high)) << (8 * (bytes.len() - 4));
        u64::from(u32::from_le_bytes(*low)) | high
    } else if let (Some(low), Some(high)) = (bytes.first_chunk::<2>(), bytes.last_chunk::<2>()) {
        let high = u64::from(u16::from_le_bytes(*high)) << (8 * (bytes.len() - 2));
        u64::from(u16::from_le_bytes(*low)) | high
    } else {
        bytes.first().copied().map_or(0, u64::from)
    }
}

/// Copies `from` to `to`, which is as long: mostly few bytes, whose copying takes less than a call.
#[inline(always)]
pub(crate) fn copy_short(to: &mut [u8], from: &[u8]) {
    assert!(to.len() == from.len());
    macro_rules! ends {
        ($bytes:literal) => {
            // Two copies that may overlap, of the first bytes and of the last.
            if let (Some(first), Some(last)) = (from.first_chunk::<$bytes>(), from.last_chunk::<$bytes>()) {
                if let Some(place) = to.first_chunk_mut::<$bytes>() {
                    *place = *first;
                }
                if let Some(place) = to.last_chunk_mut::<$bytes>() {
                    *place = *last;
                }
            }
        };
    }
    match from.len() {
        0 => {}
        1 => to[0] = from[0],
        2..4 => ends!(2),
        4..8 => ends!(4),
        8..16 => ends!(8),
        16..=32 => ends!(16),
        _ => to.copy_from_slice(from),
    }
}

impl Heap {
    /// A new string; `bytes` is UTF-8 or WTF-8.
    pub(crate) fn new_string(&mut self, bytes: &[u8]) -> Result<Value, Throw> {
        let (flags, units) = flags_of(bytes);
        let r = self.raw_string(bytes.len(), units, flags)?;
        self.bytes_mut(r, 2, bytes.len()).copy_from_slice(bytes);
        Ok(r.string())
    }

    /// A flat string cell whose bytes are still to be written.
    #[inline]
    fn raw_string(&mut self, len: usize, units: usize, flags: u64) -> Result<Ref, Throw> {
        if len > STRING_BYTES_MAX {
            return Err(Throw::range_error("Invalid string length"));
        }
        self.work += len as u64 / 64;
        let words = 2 + len.div_ceil(8) as u32;
        let r = self.alloc(words, u64::from(kind::STRING) | flags | (units as u64) << 32)?;
        self.store(r, 1, len as u64);
        Ok(r)
    }

    /// An ASCII string of `len` bytes that `fill` writes.
    pub(crate) fn new_ascii(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<Value, Throw> {
        let r = self.raw_string(len, len, ASCII)?;
        fill(self.bytes_mut(r, 2, len));
        debug_assert!(flat_bytes(self, r).is_ascii());
        Ok(r.string())
    }

    /// The same; `fill` may read other strings meanwhile.
    pub(crate) fn new_ascii_of(
        &mut self,
        len: usize,
        fill: impl FnOnce(&Self, &mut [u8]),
    ) -> Result<Value, Throw> {
        let r = self.raw_string(len, len, ASCII)?;
        self.fill_bytes(r, 2, len, fill);
        debug_assert!(flat_bytes(self, r).is_ascii());
        Ok(r.string())
    }

    /// A string of these bytes if they are ASCII. Short ones are looked at and copied at once.
    #[inline]
    pub(crate) fn ascii_of(&mut self, bytes: &[u8]) -> Result<Option<Value>, Throw> {
        const HIGH: u64 = 0x8080_8080_8080_8080;
        let len = bytes.len();
        if len > SHORT_COLUMN {
            return match bytes.is_ascii() {
                true => self.new_ascii(len, |out| out.copy_from_slice(bytes)).map(Some),
                false => Ok(None),
            };
        }
        // Two words: the bytes of the second that the first has already are shifted out.
        let (first, second) = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            (Some(first), Some(last)) => {
                let last = u64::from_le_bytes(*last);
                (u64::from_le_bytes(*first), last.checked_shr(8 * (16 - len as u32)).unwrap_or(0))
            }
            _ => (last_word(bytes), 0),
        };
        if (first | second) & HIGH != 0 {
            return Ok(None);
        }
        let r = self.raw_string(len, len, ASCII)?;
        let words = [first, second].map(|word| Value::from_bits(word.to_le()));
        let count = len.div_ceil(8);
        self.values_mut(r, 2, count).copy_from_slice(&words[..count]);
        Ok(Some(r.string()))
    }

    /// Length in UTF-16 units.
    #[inline(always)]
    pub(crate) fn string_len(&self, v: Value) -> u32 {
        (self.header(v.as_ref()) >> 32) as u32
    }

    /// Length in bytes.
    pub(crate) fn string_bytes_len(&self, v: Value) -> usize {
        self.load(v.as_ref(), 1) as u32 as usize
    }

    /// Whether byte and unit indexes are the same.
    pub(crate) fn is_ascii(&self, v: Value) -> bool {
        self.header(v.as_ref()) & ASCII != 0
    }

    /// The flat form of a string.
    #[inline]
    pub(crate) fn flat(&mut self, v: Value) -> Result<Value, Throw> {
        let r = v.as_ref();
        match self.kind(r) {
            kind::STRING => Ok(v),
            kind::FLATTENED => Ok(self.get(r, 2)),
            _ => self.flatten(r),
        }
    }

    /// Bytes of a string that is flat already, and its header.
    #[inline(always)]
    pub(crate) fn flat_now(&self, v: Value) -> Option<(u64, &[u8])> {
        let r = v.as_ref();
        let header = self.header(r);
        match header as u8 {
            kind::STRING => Some((header, flat_bytes(self, r))),
            kind::FLATTENED => Some((header, flat_bytes(self, self.get(r, 2).as_ref()))),
            _ => None,
        }
    }

    /// Bytes of a flat string (the result of `flat`).
    #[inline(always)]
    pub(crate) fn str_bytes(&self, flat: Value) -> &[u8] {
        let r = flat.as_ref();
        let r = if self.kind(r) == kind::FLATTENED { self.get(r, 2).as_ref() } else { r };
        debug_assert!(self.kind(r) == kind::STRING, "not flat");
        flat_bytes(self, r)
    }

    /// The text; lone surrogates become U+FFFD.
    pub(crate) fn to_text(&mut self, v: Value) -> Result<String, Throw> {
        let flat = self.flat(v)?;
        Ok(text::well_formed(self.str_bytes(flat)).into_owned())
    }

    fn flatten(&mut self, rope: Ref) -> Result<Value, Throw> {
        let header = self.header(rope);
        let len = self.load(rope, 1) as u32 as usize;
        let flat =
            self.raw_string(len, (header >> 32) as usize, header & (ASCII | ENDS_HIGH | STARTS_LOW))?;
        let mut nodes = 0;
        self.fill_bytes(flat, 2, len, |heap, out| nodes = heap.write_rope(rope, out, |_, _| {}));
        self.work += nodes;
        if rope.space() == self.own() {
            self.store(rope, 0, header & !0xff | u64::from(kind::FLATTENED));
            self.set(rope, 2, flat.string());
        }
        Ok(flat.string())
    }

    /// Writes a string's bytes into `out`, which has its length, and shows `leaf` each flat string of it with its header. How
    /// many ropes there were.
    ///
    /// From the end: what a loop appends to leans to the left, and so needs no stack.
    fn write_rope(&self, string: Ref, out: &mut [u8], mut leaf: impl FnMut(u64, &[u8])) -> u64 {
        let (mut few, mut depth) = ([string; FLATTEN_FEW], 0);
        let mut rest: Vec<Ref> = Vec::new();
        let (mut end, mut nodes) = (out.len(), 0);
        let mut r = string;
        loop {
            let header = self.header(r);
            match header as u8 {
                kind::ROPE => {
                    let left = self.get(r, 2).as_ref();
                    match few.get_mut(depth) {
                        Some(place) => {
                            *place = left;
                            depth += 1;
                        }
                        None => rest.push(left),
                    }
                    r = self.get(r, 3).as_ref();
                    nodes += 1;
                    continue;
                }
                kind::FLATTENED => {
                    r = self.get(r, 2).as_ref();
                    continue;
                }
                _ => {}
            }
            let bytes = flat_bytes(self, r);
            leaf(header, bytes);
            let start = end - bytes.len();
            copy_short(&mut out[start..end], bytes);
            end = start;
            r = match rest.pop() {
                Some(left) => left,
                None if depth > 0 => {
                    depth -= 1;
                    few[depth]
                }
                None => break,
            };
        }
        debug_assert_eq!(end, 0);
        nodes
    }

    /// Appends a string's bytes without changing it; false if there is half a surrogate pair among them, which no UTF-8 has.
    pub(crate) fn string_into(&self, v: Value, out: &mut Vec<u8>) -> bool {
        let at = out.len();
        out.resize(at + self.string_bytes_len(v), 0);
        let mut fine = true;
        self.write_rope(v.as_ref(), &mut out[at..], |header, bytes| {
            // A rope over two halves that meet there is not: each leaf is text or not by itself.
            fine &= header & ASCII != 0 || text::is_well_formed(bytes);
        });
        fine
    }

    /// `a + b` of two strings.
    pub(crate) fn concat(&mut self, a: Value, b: Value) -> Result<Value, Throw> {
        let (ra, rb) = (a.as_ref(), b.as_ref());
        let (ha, hb) = (self.header(ra), self.header(rb));
        let (la, lb) = (self.load(ra, 1) as u32 as usize, self.load(rb, 1) as u32 as usize);
        if la == 0 {
            return Ok(b);
        }
        if lb == 0 {
            return Ok(a);
        }
        if la + lb > STRING_BYTES_MAX {
            return Err(Throw::range_error("Invalid string length"));
        }
        if ha & ENDS_HIGH != 0 && hb & STARTS_LOW != 0 {
            // Two halves of a pair become one code point: the bytes change.
            let (fa, fb) = (self.flat(a)?, self.flat(b)?);
            let mut joined = self.str_bytes(fa).to_vec();
            text::push_text(&mut joined, self.str_bytes(fb));
            return self.new_string(&joined);
        }
        let units = (ha >> 32) + (hb >> 32);
        let flags = ha & hb & ASCII | ha & STARTS_LOW | hb & ENDS_HIGH;
        if la + lb >= ROPE_BYTES_MIN {
            let r = self.alloc(4, u64::from(kind::ROPE) | flags | units << 32)?;
            self.store(r, 1, (la + lb) as u64);
            self.set(r, 2, a);
            self.set(r, 3, b);
            return Ok(r.string());
        }
        let (a, b) = (self.flat(a)?, self.flat(b)?);
        let r = self.raw_string(la + lb, units as usize, flags)?;
        self.fill_bytes(r, 2, la + lb, |heap, out| {
            let (left, right) = out.split_at_mut(la);
            copy_short(left, heap.str_bytes(a));
            copy_short(right, heap.str_bytes(b));
        });
        Ok(r.string())
    }

    /// Flat strings and integers, written one behind the other into one new string of at most `most` bytes; none if there is
    /// anything else among them, or more: then they are joined in twos.
    #[inline(never)]
    pub(crate) fn join(&mut self, parts: &[Value], most: usize) -> Result<Option<Value>, Throw> {
        let joined = self.write_ahead(most, |heap, out| {
            let (mut len, mut units, mut flags) = (0, 0, ASCII);
            for part in parts {
                if part.is_string() {
                    let (header, bytes) = heap.flat_now(*part)?;
                    if bytes.len() > PART_BYTES_MAX || header & (ENDS_HIGH | STARTS_LOW) != 0 {
                        return None;
                    }
                    copy_short(out.get_mut(len..len + bytes.len())?, bytes);
                    len += bytes.len();
                    units += (header >> 32) as usize;
                    flags &= header;
                } else if part.is_int() {
                    let mut buffer = itoa::Buffer::new();
                    let digits = buffer.format(part.as_int()).as_bytes();
                    copy_short(out.get_mut(len..len + digits.len())?, digits);
                    len += digits.len();
                    units += digits.len();
                } else {
                    return None;
                }
            }
            Some((len, units, flags))
        });
        match joined.flatten() {
            // Short ones are known strings; one part is itself.
            Some((len, units, flags)) if len > 1 && parts.len() > 1 => {
                Ok(Some(self.raw_string(len, units, flags)?.string()))
            }
            _ => Ok(None),
        }
    }

    /// A flat ASCII string, changed in place by `map`, as a new one.
    pub(crate) fn map_ascii(&mut self, flat: Value, map: fn(&mut [u8])) -> Result<Value, Throw> {
        let len = self.string_bytes_len(flat);
        let r = self.raw_string(len, len, ASCII)?;
        self.copy_bytes((flat.as_ref(), 2, 0), (r, 2, 0), len);
        map(self.bytes_mut(r, 2, len));
        Ok(r.string())
    }

    /// A flat ASCII string with `with`, another one, in place of its bytes `from..to`.
    pub(crate) fn splice_ascii(
        &mut self,
        flat: Value,
        (from, to): (usize, usize),
        with: Value,
    ) -> Result<Value, Throw> {
        let (len, inserted) = (self.string_bytes_len(flat), self.string_bytes_len(with));
        let total = len - (to - from) + inserted;
        let r = self.raw_string(total, total, ASCII)?;
        self.copy_bytes((flat.as_ref(), 2, 0), (r, 2, 0), from);
        self.copy_bytes((with.as_ref(), 2, 0), (r, 2, from), inserted);
        self.copy_bytes((flat.as_ref(), 2, to), (r, 2, from + inserted), len - to);
        Ok(r.string())
    }

    /// The order of two strings by UTF-16 units.
    pub(crate) fn string_order(&mut self, a: Value, b: Value) -> Result<Ordering, Throw> {
        let (a, b) = (self.flat(a)?, self.flat(b)?);
        Ok(text::compare(self.str_bytes(a), self.str_bytes(b)))
    }

    /// Units `from..to` of a string, `from <= to <= length`.
    pub(crate) fn substring(&mut self, v: Value, from: u32, to: u32) -> Result<Value, Throw> {
        let flat = self.flat(v)?;
        if from == 0 && to == self.string_len(flat) {
            return Ok(flat);
        }
        let r = flat.as_ref();
        if self.is_ascii(flat) {
            let len = (to - from) as usize;
            let new = self.raw_string(len, len, ASCII)?;
            self.copy_bytes((r, 2, from as usize), (new, 2, 0), len);
            return Ok(new.string());
        }
        let (start, end) = (self.locate(flat, from), self.locate(flat, to));
        let part = text::slice_between(self.str_bytes(flat), start, end).into_owned();
        self.work += part.len() as u64 / 16;
        self.new_string(&part)
    }

    /// `===` of two strings.
    pub(crate) fn string_equals(&mut self, a: Value, b: Value) -> Result<bool, Throw> {
        if a == b {
            return Ok(true);
        }
        let (ha, hb) = (self.header(a.as_ref()), self.header(b.as_ref()));
        if ha >> 32 != hb >> 32 || ha & hb & INTERNED != 0 {
            return Ok(false);
        }
        let (a, b) = (self.flat(a)?, self.flat(b)?);
        Ok(self.str_bytes(a) == self.str_bytes(b))
    }

    /// A number as ECMAScript prints it.
    pub(crate) fn number_to_string(&mut self, n: f64) -> Result<Value, Throw> {
        let mut buffer = ryu_js::Buffer::new();
        let text = buffer.format(n).as_bytes();
        self.new_ascii(text.len(), |out| out.copy_from_slice(text))
    }

    /// An integer in decimal.
    pub(crate) fn int_to_string(&mut self, n: i32) -> Result<Value, Throw> {
        let mut buffer = itoa::Buffer::new();
        let text = buffer.format(n).as_bytes();
        self.new_ascii(text.len(), |out| out.copy_from_slice(text))
    }

    /// A cell of raw bytes.
    pub(crate) fn new_data(&mut self, bytes: &[u8]) -> Result<Value, Throw> {
        let words = 1 + u32::try_from(bytes.len().div_ceil(8)).unwrap_or(u32::MAX - 1);
        let r = self.alloc(words, u64::from(kind::DATA) | (bytes.len() as u64) << 32)?;
        self.bytes_mut(r, 1, bytes.len()).copy_from_slice(bytes);
        Ok(r.cell())
    }

    /// The bytes of a DATA cell.
    pub(crate) fn data(&self, cell: Value) -> &[u8] {
        let r = cell.as_ref();
        self.bytes(r, 1, (self.header(r) >> 32) as usize)
    }
}

impl Mem<'_> {
    /// The interned string of this text.
    pub(crate) fn intern(&mut self, bytes: &[u8]) -> Result<Value, Throw> {
        let hash = hash_bytes(bytes);
        if let Some(atom) = self.find_atom(hash, bytes) {
            return Ok(atom);
        }
        if self.heap.own() == space::TASK
            && bytes.len() <= WORKER_ATOM_BYTES_MAX
            && self.local.worker.atoms.len() < WORKER_ATOMS_MAX
        {
            return new_atom(&mut self.local.worker, hash, bytes);
        }
        new_atom(self.heap, hash, bytes)
    }

    fn find_atom(&self, hash: u32, bytes: &[u8]) -> Option<Value> {
        let frozen = &self.local.frozen;
        if let Some(atoms) = &frozen[usize::from(space::INTRINSICS)].atoms
            && let Some(atom) = atoms.find(self.heap, space::INTRINSICS, hash, bytes)
        {
            return Some(atom);
        }
        if let Some(atoms) = &frozen[usize::from(space::BLUEPRINT)].atoms
            && let Some(atom) = atoms.find(self.heap, space::BLUEPRINT, hash, bytes)
        {
            return Some(atom);
        }
        if let Some(atom) = self.local.worker.atoms.find(&self.local.worker, space::WORKER, hash, bytes) {
            return Some(atom);
        }
        self.heap.atoms.find(self.heap, self.heap.own(), hash, bytes)
    }

    /// The interned form of a string.
    pub(crate) fn intern_string(&mut self, v: Value) -> Result<Value, Throw> {
        let flat = self.heap.flat(v)?;
        let r = flat.as_ref();
        if self.heap.header(r) & INTERNED != 0 {
            return Ok(flat);
        }
        let bytes = flat_bytes(self.heap, r);
        let hash = hash_bytes(bytes);
        if let Some(atom) = self.find_atom(hash, bytes) {
            return Ok(atom);
        }
        let bytes = bytes.to_vec();
        self.intern(&bytes)
    }
}

fn new_atom(heap: &mut Heap, hash: u32, bytes: &[u8]) -> Result<Value, Throw> {
    let atom = heap.new_string(bytes)?;
    let r = atom.as_ref();
    heap.store(r, 0, heap.header(r) | INTERNED);
    heap.store(r, 1, heap.load(r, 1) | u64::from(hash) << 32);
    heap.atoms.insert(hash, r.index());
    Ok(atom)
}

/// The array index that a key's text spells in canonical form ("0", "17"; not "01", not 2^32 - 1).
pub(crate) fn parse_index(bytes: &[u8]) -> Option<u32> {
    match bytes {
        [b'0'] => Some(0),
        [b'1'..=b'9', rest @ ..] if rest.len() <= 9 && rest.iter().all(u8::is_ascii_digit) => {
            let n = bytes.iter().fold(0u64, |n, b| n * 10 + u64::from(b - b'0'));
            u32::try_from(n).ok().filter(|n| *n != u32::MAX)
        }
        _ => None,
    }
}
