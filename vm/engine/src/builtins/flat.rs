//! Short flat objects between JSON and the arena, by what was learned from the last one: bodies of requests, and answers.
//!
//! What clients send to one route differs in its values and hardly in anything else, so a core keeps the bytes that stand
//! between them, and with those the header of the object that came out:
//!
//! ```text
//!   {"id": 17, "name": "x"}        pieces   {"id":_    ,_"name":_    }
//!          ^^          ^^^         values    17         "x"
//! ```
//!
//! A text with the same pieces is read without asking for any key. Whatever is different (another key, a space, an
//! escape, a list, an exponent, the first byte beyond ASCII) is left to the general reader of json.rs, whose answer
//! is learned. Likewise the way out: an object's header word says its kind, its shape and where its slots are, and a
//! core keeps the texts of its keys. Only bytes that stand outside of values are kept.
#![expect(clippy::cast_possible_truncation, reason = "digits, and bytes of a word")]

use super::json::quote;
use crate::heap::{Heap, OBJECT_WORDS, kind};
use crate::mem::{Local, Mem};
use crate::object::flag;
use crate::overlay::touched;
use crate::shape::{DICTIONARY, attr};
use crate::value::{Ref, Value};
use std::ops::Range;

/// Forms of texts that a core keeps, each at a place that its first bytes say.
const FORMS: usize = 8;
/// Headers whose keys it keeps as texts.
const TEXTS: usize = 8;
/// Members of such an object.
const MEMBERS_MAX: usize = 24;
/// Bytes of a text that is read so.
pub(crate) const BYTES_MAX: usize = 1024;
/// A key that is written so, its quotes, comma and colon included; a multiple of [`CHUNK`].
const KEY_BYTES_MAX: usize = 64;
/// Key texts are copied in pieces of a fixed size: no call, no loop over bytes.
const CHUNK: usize = 16;
/// A string that goes through the buffer.
const STRING_BYTES_MAX: usize = 64;
/// Bytes of answer that are put together before they go to the output.
const BUFFER: usize = 512;
/// What the buffer has room for before each member: its key, a comma, and the longest value that isn't flushed first.
const MEMBER_BYTES_MAX: usize = KEY_BYTES_MAX + STRING_BYTES_MAX + 32;
const _: () = assert!(MEMBER_BYTES_MAX + 1 < BUFFER && KEY_BYTES_MAX.is_multiple_of(CHUNK));

/// What a core has learned of a blueprint's bodies and answers.
pub(crate) struct Flat {
    forms: [Form; FORMS],
    texts: [Texts; TEXTS],
    buffer: [u8; BUFFER],
}

impl Default for Flat {
    fn default() -> Self {
        Self {
            forms: std::array::from_fn(|_| Form::default()),
            texts: std::array::from_fn(|_| Texts::default()),
            buffer: [0; BUFFER],
        }
    }
}

/// Whether it pays to learn: bodies and answers that all differ don't pay for what they never use.
#[derive(Default)]
struct Trust {
    doubt: u8,
    skipped: u8,
}

impl Trust {
    /// What was not known counts as much as so many that were.
    const MISS: u8 = 4;
    const DOUBT_MAX: u8 = 16;
    /// Beyond that one in so many is learned.
    const LEARN_EVERY: u8 = 32;

    #[inline(always)]
    fn hit(&mut self) {
        self.doubt = self.doubt.saturating_sub(1);
    }

    /// Whether this one is to be learned.
    fn miss(&mut self) -> bool {
        if self.doubt <= Self::DOUBT_MAX {
            self.doubt += Self::MISS;
            return true;
        }
        self.skipped = (self.skipped + 1) % Self::LEARN_EVERY;
        self.skipped == 0
    }
}

/// A text that was read: what stands before each value, and behind the last. Empty: nothing is known.
#[derive(Default)]
struct Form {
    pieces: Vec<Piece>,
    /// Of the object with these keys.
    header: u64,
    trust: Trust,
}

/// Bytes that a text must have.
struct Piece {
    /// The first eight of them, or all if they are fewer, the rest zero.
    word: u64,
    mask: u64,
    text: Box<[u8]>,
}

impl Piece {
    fn new(text: &[u8]) -> Self {
        let (mut word, mut mask) = ([0; 8], [0; 8]);
        for (at, byte) in text.iter().take(8).enumerate() {
            (word[at], mask[at]) = (*byte, 0xff);
        }
        Self { word: u64::from_le_bytes(word), mask: u64::from_le_bytes(mask), text: text.into() }
    }

    /// Whether `rest` begins with it.
    #[inline(always)]
    fn begins(&self, rest: &[u8]) -> bool {
        match rest.first_chunk() {
            Some(chunk) => {
                u64::from_le_bytes(*chunk) & self.mask == self.word
                    && (self.text.len() <= 8 || rest.starts_with(&self.text))
            }
            None => rest.starts_with(&self.text),
        }
    }

    /// Whether `rest` is it.
    #[inline(always)]
    fn is(&self, rest: &[u8]) -> bool {
        match (rest, &*self.text) {
            ([a], [b]) => a == b,
            (rest, text) => rest == text,
        }
    }
}

/// Where what is known of a text would stand.
#[inline(always)]
fn form_at(source: &[u8]) -> usize {
    let word = source.first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk));
    (word.wrapping_mul(0x9e37_79b1) >> 29) as usize % FORMS
}

impl Mem<'_> {
    /// The object that a JSON text describes, if the text has a form that is known; none says nothing about it, and
    /// nothing has happened.
    #[inline]
    pub(crate) fn read_flat(&mut self, source: &[u8]) -> Option<Value> {
        if source.len() > BYTES_MAX {
            return None;
        }
        let form = &mut self.local.flat.forms[form_at(source)];
        let (last, pieces) = form.pieces.split_last()?;
        let inline = (form.header >> 16 & 0xff) as u32;
        let (top, work) = (self.heap.top(), self.heap.work);
        let start = [form.header, self.local.known.object.bits(), 0, 0];
        let object = self.heap.alloc_object(OBJECT_WORDS + inline, start).ok()?;
        let mut at = 0;
        let mut whole = true;
        for (slot, piece) in (OBJECT_WORDS..).zip(pieces) {
            whole = false;
            if !source.get(at..).is_some_and(|rest| piece.begins(rest)) {
                break;
            }
            let from = at + piece.text.len();
            let Some((v, len)) = short_integer(source, from)
                .or_else(|| scalar(self.heap, &self.local.known.chars, source.get(from..)?))
            else {
                break;
            };
            self.heap.set(object, slot, v);
            at += piece.text.len() + len;
            whole = true;
        }
        if whole && source.get(at..).is_some_and(|rest| last.is(rest)) {
            form.trust.hit();
            self.heap.work += source.len() as u64 / 8;
            return Some(object.object());
        }
        self.heap.rewind(top);
        self.heap.work = work;
        None
    }

    /// Remembers the form of a text that `value` was read from.
    pub(crate) fn learn_flat(&mut self, source: &[u8], value: Value) {
        if source.len() > BYTES_MAX || source.first() != Some(&b'{') {
            return;
        }
        let place = form_at(source);
        if !self.local.flat.forms[place].trust.miss() {
            return;
        }
        if let Some((pieces, header)) = form_of(self.heap, self.local, source, value) {
            let form = &mut self.local.flat.forms[place];
            (form.pieces, form.header) = (pieces, header);
        }
    }
}

/// An integer of up to seven digits that ends before anything that would make it more; none: look again.
#[inline(always)]
fn short_integer(source: &[u8], from: usize) -> Option<(Value, usize)> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    const NO_DIGITS: u64 = 0x7676_7676_7676_7676;
    // Eight bytes from there on; what lies behind the text is zero.
    let word = match source.get(from..)?.first_chunk() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => {
            let missing = from + 8 - source.len();
            u64::from_le_bytes(*source.last_chunk()?).checked_shr(u32::try_from(missing * 8).ok()?)?
        }
    };
    let digits = word ^ ZEROS;
    // The lowest of these bits that is set is that of the first byte which is no digit.
    let ends = (digits.wrapping_add(NO_DIGITS) | digits) & TOPS;
    let count = ends.trailing_zeros() / 8;
    if !(1..8).contains(&count) || (count > 1 && digits & 0xff == 0) {
        return None;
    }
    if let b'.' | b'e' | b'E' = (word >> (count * 8)) as u8 {
        return None;
    }
    // Eight digits in a word, with zeros before them: pairs, fours, all.
    let digits = digits << (64 - count * 8);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let (low, high) = (pairs & 0x00ff_0000_00ff, pairs >> 16 & 0x00ff_0000_00ff);
    let sum =
        low.wrapping_mul(0x000f_4240_0000_0064).wrapping_add(high.wrapping_mul(0x0000_2710_0000_0001)) >> 32;
    Some((Value::int(sum as i32), count as usize))
}

/// A value that is no list and no object, and how many bytes of `text` it takes; none: the general reader's business.
#[inline(never)]
fn scalar(heap: &mut Heap, chars: &[Value], text: &[u8]) -> Option<(Value, usize)> {
    match *text.first()? {
        b'"' => string(heap, chars, text),
        b'-' | b'0'..=b'9' => number(text),
        b't' if text.starts_with(b"true") => Some((Value::TRUE, 4)),
        b'f' if text.starts_with(b"false") => Some((Value::FALSE, 5)),
        b'n' if text.starts_with(b"null") => Some((Value::NULL, 4)),
        _ => None,
    }
}

#[inline(always)]
fn digit(text: &[u8], at: usize) -> Option<u64> {
    let digit = text.get(at)?.wrapping_sub(b'0');
    (digit < 10).then_some(u64::from(digit))
}

/// Numbers of up to 15 digits; as the general reader makes them.
#[inline(always)]
fn number(text: &[u8]) -> Option<(Value, usize)> {
    const DIGITS_MAX: usize = 15;
    const POWERS: [f64; DIGITS_MAX] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14];
    let first = usize::from(text[0] == b'-');
    let (mut at, mut sum) = (first, 0u64);
    while let Some(digit) = digit(text, at) {
        if at - first == DIGITS_MAX {
            return None;
        }
        sum = sum * 10 + digit;
        at += 1;
    }
    if at == first || (at > first + 1 && text[first] == b'0') {
        return None;
    }
    let next = text.get(at).copied();
    if first == 0
        && !matches!(next, Some(b'.' | b'e' | b'E'))
        && let Ok(sum) = i32::try_from(sum)
    {
        return Some((Value::int(sum), at));
    }
    let mut places = 0;
    if next == Some(b'.') {
        at += 1;
        while let Some(digit) = digit(text, at) {
            if at - first > DIGITS_MAX {
                return None;
            }
            sum = sum * 10 + digit;
            (at, places) = (at + 1, places + 1);
        }
        if places == 0 {
            return None;
        }
    }
    if let Some(b'e' | b'E') = text.get(at) {
        return None;
    }
    // At most 15 digits and a power of ten below 10^22 are exact, so one division rounds right.
    let sign = if first == 1 { -1.0 } else { 1.0 };
    let power = POWERS.get(places)?;
    Some((Value::number(sign * (sum as f64 / power)), at))
}

/// Strings of ASCII without escapes.
#[inline(always)]
fn string(heap: &mut Heap, chars: &[Value], text: &[u8]) -> Option<(Value, usize)> {
    let len = plain(&text[1..]);
    let bytes = &text[1..=len];
    if text.get(len + 1) != Some(&b'"') {
        return None;
    }
    let v = match bytes {
        [byte] => chars[usize::from(*byte)],
        bytes => heap.new_ascii(len, |to| to.copy_from_slice(bytes)).ok()?,
    };
    Some((v, len + 2))
}

/// How many bytes at the start are ASCII and stand for themselves in a literal, eight at a time.
#[inline(always)]
fn plain(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let mut at = 0;
    while let Some(chunk) = text[at..].first_chunk() {
        let word = u64::from_le_bytes(*chunk);
        let zero = |x: u64| x.wrapping_sub(ONES) & !x;
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quotes = zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\')));
        let special = (control | quotes | word) & TOPS;
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while let Some(0x20..=0x7f) = text.get(at)
        && !matches!(text[at], b'"' | b'\\')
    {
        at += 1;
    }
    at
}

/// The members of a flat object that fills its inline slots and has nothing else: how many; none if it is another.
fn members(heap: &Heap, local: &Local, object: Ref, flags: u64) -> Option<usize> {
    let header = heap.header(object);
    let shape = (header >> 32) as u32;
    if header & 0xff != u64::from(kind::OBJECT) || header & 0xff00 & !flags != 0 || shape == DICTIONARY {
        return None;
    }
    let properties = local.shapes.properties(shape);
    let ordinary = properties.iter().all(|p| p.attrs == attr::DEFAULT && p.key.is_string());
    let fits = properties.len() <= MEMBERS_MAX && properties.len() <= (header >> 16 & 0xff) as usize;
    let alone = heap.get(object, 1) == local.known.object && heap.load(object, 2) == 0;
    (ordinary && fits && alone).then_some(properties.len())
}

/// The form of a text, and the header of the object that was read from it.
fn form_of(heap: &Heap, local: &Local, source: &[u8], value: Value) -> Option<(Vec<Piece>, u64)> {
    if !value.is_object() || value.as_ref().space() != heap.own() {
        return None;
    }
    let object = value.as_ref();
    let count = members(heap, local, object, 0)?;
    let header = heap.header(object);
    // As many slots as the reader gives such an object.
    if (header >> 16 & 0xff) as usize != count.max(2) || count == 0 {
        return None;
    }
    let space = |mut at: usize| {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = source.get(at) {
            at += 1;
        }
        at
    };
    let mut pieces = Vec::with_capacity(count + 1);
    let (mut start, mut at) = (0, 1);
    for (number, property) in local.shapes.properties((header >> 32) as u32).iter().enumerate() {
        if number > 0 {
            at = space(at);
            at = (source.get(at) == Some(&b',')).then_some(at + 1)?;
        }
        at = space(at);
        // The key as it is, without escapes.
        let key = heap.str_bytes(property.key);
        let rest = source.get(at..)?.strip_prefix(b"\"")?.strip_prefix(key)?.strip_prefix(b"\"")?;
        at = space(source.len() - rest.len());
        at = (source.get(at) == Some(&b':')).then_some(at + 1)?;
        at = space(at);
        pieces.push(Piece::new(source.get(start..at).filter(|piece| piece.is_ascii())?));
        match source.get(at)? {
            b'{' | b'[' => return None,
            b'"' => {
                at += 1;
                while source.get(at)? != &b'"' {
                    at += if source[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            _ => {
                while !matches!(source.get(at)?, b',' | b'}' | b' ' | b'\n' | b'\r' | b'\t') {
                    at += 1;
                }
            }
        }
        start = at;
    }
    at = space(at);
    let ends = source.get(at) == Some(&b'}') && space(at + 1) == source.len();
    pieces.push(Piece::new(&source[start..]));
    ends.then_some((pieces, header))
}

/// What is known of the objects with one header: how their keys are written, and whether they have a `status`.
#[derive(Default)]
struct Texts {
    header: u64,
    /// The first has a brace before it, the others a comma.
    keys: Vec<KeyText>,
    chunks: Vec<[u8; CHUNK]>,
    /// Slot of `status` in an object that a `return` has made; else 0.
    status: u32,
    /// They can be written so, as far as the header says.
    flat: bool,
    /// How often that was wrong lately, as a value was of another sort.
    refused: u8,
    trust: Trust,
}

/// How a key is written.
struct KeyText {
    /// Its first bytes; the others are chunks of [`Texts::chunks`].
    first: [u8; CHUNK],
    len: usize,
    more: Range<usize>,
}

impl Texts {
    fn learn(&mut self, heap: &Heap, local: &Local, object: Ref) {
        let header = heap.header(object);
        self.header = header;
        self.keys.clear();
        self.chunks.clear();
        self.status = 0;
        self.flat = false;
        self.refused = 0;
        let Some(count) = members(heap, local, object, flag::RETURNED) else { return };
        let properties = local.shapes.properties((header >> 32) as u32);
        let mut text = Vec::new();
        for (slot, property) in (OBJECT_WORDS..).zip(properties) {
            if property.key == local.known.to_json {
                return;
            }
            if property.key == local.known.status && header & flag::RETURNED != 0 {
                self.status = slot;
            }
            text.clear();
            text.push(if self.keys.is_empty() { b'{' } else { b',' });
            quote(heap.str_bytes(property.key), &mut text);
            text.push(b':');
            if text.len() > KEY_BYTES_MAX {
                return;
            }
            let len = text.len();
            text.resize(len.next_multiple_of(CHUNK), 0);
            let Some((first, more)) = text.as_chunks().0.split_first() else { return };
            let start = self.chunks.len();
            self.chunks.extend(more);
            self.keys.push(KeyText { first: *first, len, more: start..self.chunks.len() });
        }
        self.flat = count > 0;
    }
}

impl Mem<'_> {
    /// Where what is known of objects with this header stands, if they may be written so.
    #[inline(always)]
    fn texts_of(&mut self, object: Ref) -> Option<usize> {
        let header = self.heap.header(object);
        let at = ((header >> 32) as usize ^ (header >> 13) as usize) % TEXTS;
        let Local { flat, .. } = &mut *self.local;
        if flat.texts[at].header != header {
            if !flat.texts[at].trust.miss() {
                return None;
            }
            let mut texts = std::mem::take(&mut flat.texts[at]);
            texts.learn(self.heap, self.local, object);
            self.local.flat.texts[at] = texts;
        }
        let texts = &self.local.flat.texts[at];
        let plain = texts.flat
            && texts.refused <= Trust::DOUBT_MAX
            && self.heap.get(object, 1) == self.local.known.object
            && self.heap.load(object, 2) == 0
            && self.heap.touched & touched::TO_JSON == 0;
        plain.then_some(at)
    }

    /// The status of an answer that is a flat object, if the header alone says it or an integer of its own; else ask in the
    /// general way.
    #[inline]
    pub(crate) fn flat_status(&mut self, value: Value) -> Option<u16> {
        if !value.is_object() {
            return None;
        }
        let object = value.as_ref();
        let at = self.texts_of(object)?;
        match self.local.flat.texts[at].status {
            0 => Some(200),
            slot => {
                let status = self.heap.get(object, slot);
                let status = status.is_int().then(|| u16::try_from(status.as_int()).ok())??;
                (200..600).contains(&status).then_some(status)
            }
        }
    }

    /// Appends an answer that is a flat object, as JSON; false: it is none, or has no body, and nothing was appended.
    pub(crate) fn write_flat(&mut self, value: Value, out: &mut Vec<u8>) -> bool {
        if !value.is_object() {
            return false;
        }
        let object = value.as_ref();
        let Some(place) = self.texts_of(object) else { return false };
        if self.local.flat.texts[place].status != 0
            && self.flat_status(value).is_none_or(|status| matches!(status, 204 | 304))
        {
            return false;
        }
        let Flat { texts, buffer, .. } = &mut *self.local.flat;
        let texts = &mut texts[place];
        let start = out.len();
        let mut at = 0;
        for (slot, key) in (OBJECT_WORDS..).zip(&texts.keys) {
            if at + MEMBER_BYTES_MAX >= BUFFER {
                out.extend_from_slice(&buffer[..at]);
                at = 0;
            }
            buffer[at..at + CHUNK].copy_from_slice(&key.first);
            if key.len > CHUNK {
                let mut to = at + CHUNK;
                for chunk in &texts.chunks[key.more.clone()] {
                    buffer[to..to + CHUNK].copy_from_slice(chunk);
                    to += CHUNK;
                }
            }
            at += key.len;
            let v = self.heap.get(object, slot);
            if v.is_int() {
                if let Some(to) = buffer[at..].first_chunk_mut() {
                    at += integer(v.as_int(), to);
                }
                continue;
            }
            if v.is_bool() || v.is_null() {
                let word: &[u8; 5] = match v {
                    Value::TRUE => b"true ",
                    Value::FALSE => b"false",
                    _ => b"null ",
                };
                buffer[at..at + 5].copy_from_slice(word);
                at += if v == Value::FALSE { 5 } else { 4 };
                continue;
            }
            if v.is_string() && self.heap.kind(v.as_ref()) == kind::STRING {
                let bytes = self.heap.str_bytes(v);
                if bytes.len() <= STRING_BYTES_MAX && plain(bytes) == bytes.len() {
                    let literal = &mut buffer[at..at + bytes.len() + 2];
                    literal[0] = b'"';
                    literal[1..=bytes.len()].copy_from_slice(bytes);
                    literal[bytes.len() + 1] = b'"';
                    at += bytes.len() + 2;
                    continue;
                }
            }
            out.extend_from_slice(&buffer[..at]);
            at = 0;
            if v.is_string() {
                let Ok(flat) = self.heap.flat(v) else {
                    out.truncate(start);
                    return false;
                };
                quote(self.heap.str_bytes(flat), out);
            } else if v.is_double() && v.as_double().is_finite() {
                out.extend_from_slice(ryu_js::Buffer::new().format_finite(v.as_double()).as_bytes());
            } else {
                // Most likely there is one in the next, too.
                texts.refused = texts.refused.saturating_add(Trust::MISS);
                out.truncate(start);
                return false;
            }
        }
        texts.trust.hit();
        texts.refused = texts.refused.saturating_sub(1);
        buffer[at] = b'}';
        out.extend_from_slice(&buffer[..=at]);
        true
    }
}

/// Writes an integer; how many bytes it takes.
#[inline(always)]
fn integer(n: i32, to: &mut [u8; 12]) -> usize {
    match usize::try_from(n) {
        Ok(n @ 0..10) => {
            to[0] = b'0' + n as u8;
            1
        }
        Ok(n @ 10..100) => {
            to[..2].copy_from_slice(&PAIRS[n]);
            2
        }
        Ok(n @ 100..1000) => {
            to[0] = b'0' + (n / 100) as u8;
            to[1..3].copy_from_slice(&PAIRS[n % 100]);
            3
        }
        Ok(n @ 1000..10_000) => {
            to[..2].copy_from_slice(&PAIRS[n / 100]);
            to[2..4].copy_from_slice(&PAIRS[n % 100]);
            4
        }
        _ => {
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(n).as_bytes();
            to[..digits.len()].copy_from_slice(digits);
            digits.len()
        }
    }
}

/// Two digits of each number below 100.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};
