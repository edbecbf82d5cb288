//! JSON between bytes and the arena: `JSON.parse`, `JSON.stringify` of plain data, request and
//! response bodies. What needs a script (revivers, replacers, `toJSON`, accessors) is
//! in js/json.js; [`write`] says when it meets such a thing.
//!
//! Neither direction recurses: nesting costs an entry of a `Vec`, up to [`DEPTH_MAX`].
//! The parser pushes values to one stack and takes an array's or an object's off it when it
//! ends. Objects in a list mostly have the same keys in the same order, and so have the bodies of one route, so
//! for each depth the keys of the last object are remembered with their shapes, by the core: a key
//! that comes again at its place costs one comparison of bytes.

use super::bignum::{DIGITS_MAX, Int};
use super::{Kind, Native, date, text};
use crate::ctx::{Args, Ctx};
use crate::heap::kind;
use crate::mem::Mem;
use crate::object::{Get, Key, Keys, Own, flag};
use crate::ops::to_int32;
use crate::overlay::touched;
use crate::shape::{DICTIONARY, EMPTY, attr};
use crate::throw::Throw;
use crate::value::{Ref, Value};

/// Nesting, either way. Beyond it: RangeError (bodies: 400).
pub(crate) const DEPTH_MAX: usize = 5_000;
/// Depths at which the parser remembers keys.
const REMEMBERED_DEPTHS: usize = 8;

/// Why bytes are not JSON.
#[derive(Debug)]
pub(crate) enum JsonError {
    /// Offset of the first byte that can't be; the length if the text ends too early.
    Syntax(usize),
    /// Deeper than the given limit.
    Depth,
    /// Memory is used up, ...
    Throw(Throw),
}

impl From<Throw> for JsonError {
    fn from(throw: Throw) -> Self {
        Self::Throw(throw)
    }
}

impl JsonError {
    /// As the exception of `JSON.parse`.
    pub(crate) fn into_throw(self, source: &[u8]) -> Throw {
        match self {
            Self::Throw(throw) => throw,
            Self::Depth => Throw::range_error("JSON is nested too deeply"),
            Self::Syntax(at) => Throw::syntax_error(message(source, at)),
        }
    }
}

/// What is wrong at `at`.
pub(crate) fn message(source: &[u8], at: usize) -> String {
    if at >= source.len() {
        return "Unexpected end of JSON input".to_owned();
    }
    let (point, _) = text::decode(source, at);
    let token = char::from_u32(point).unwrap_or('\u{fffd}');
    format!("Unexpected token '{}' in JSON at position {at}", token.escape_debug())
}

/// How to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    /// Integers beyond 2^53 become BigInts (bodies); else the nearest Number (`JSON.parse`).
    pub(crate) big_ints: bool,
    /// Nesting allowed.
    pub(crate) depth: usize,
}

/// `JSON.parse` without a reviver.
pub(crate) const STANDARD: Read = Read { big_ints: false, depth: DEPTH_MAX };

/// Reads one JSON text. `source` is WTF-8.
pub(crate) fn parse(mem: &mut Mem<'_>, source: &[u8], how: Read) -> Result<Value, JsonError> {
    mem.heap.work += source.len() as u64 / 8;
    let scratch = mem.local.json.take().unwrap_or_default();
    let mut parser = Parser { mem, source, at: 0, stop: usize::MAX, how, scratch };
    let result = parser.run();
    let Parser { mem, scratch, .. } = parser;
    put_away(mem, scratch);
    result
}

/// Keeps the buffers of a parser for the next text.
fn put_away(mem: &mut Mem<'_>, mut scratch: Box<Scratch>) {
    keep(&mut scratch.values);
    keep(&mut scratch.keys);
    keep(&mut scratch.text);
    scratch.open.clear();
    // The next text, of another task, probably has the same keys; only those that live in this task go.
    let own = mem.heap.own();
    for of_depth in &mut scratch.remembered {
        let lasting = of_depth.iter().position(|r| r.key.as_ref().space() == own);
        of_depth.truncate(lasting.unwrap_or(of_depth.len()));
    }
    mem.local.json = Some(scratch);
}

/// Bytes of a text that are read or written between two looks at the fuel.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// A long text that is being read or written: what the end of a slice has interrupted. The task keeps it, and the
/// native that began it is called again; it moves to no snapshot and to no other arena, which its frame sees to.
pub(crate) struct Paused {
    /// What is read, or what has been written.
    text: Vec<u8>,
    /// Where reading goes on.
    at: usize,
    scratch: Box<Scratch>,
    /// It is the request's body, which is no copy, and whoever asked for it asks again.
    of_body: bool,
}

impl Paused {
    /// The body of the request.
    pub(crate) fn is_body(&self) -> bool {
        self.of_body
    }
}

impl std::fmt::Debug for Paused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Paused").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Ctx<'_> {
    /// What the call before this one has left, if this one goes on with it.
    fn take_paused(&mut self) -> Option<Box<Paused>> {
        let paused = self.task.json.take();
        if self.progress().is_some() { paused } else { None }
    }

    /// Keeps it until the task's next slice.
    fn pause(&mut self, paused: Box<Paused>) -> Throw {
        self.task.json = Some(paused);
        self.yields(&[Value::ZERO])
    }

    /// [`parse`] as `JSON.parse` does it: a long text in pieces, between which the slice may end.
    pub(crate) fn parse_long(&mut self, s: Value, how: Read) -> Result<Value, Throw> {
        let mut paused = match self.take_paused() {
            Some(paused) => paused,
            None => {
                let text = self.heap.str_bytes(s).to_vec();
                let scratch = self.mem.local.json.take().unwrap_or_default();
                Box::new(Paused { text, at: 0, scratch, of_body: false })
            }
        };
        loop {
            let Paused { text, at, scratch, .. } = *paused;
            let (from, stop) = (at, at + PIECE_BYTES);
            let mut parser = Parser { mem: &mut self.mem, source: &text, at, stop, how, scratch };
            let result = parser.run();
            let Parser { at, scratch, .. } = parser;
            self.heap.work += (at - from) as u64 / 8;
            if !matches!(result, Err(JsonError::Throw(Throw::Again))) {
                put_away(&mut self.mem, scratch);
                return result.map_err(|e| e.into_throw(&text));
            }
            paused = Box::new(Paused { text, at, scratch, of_body: false });
            if self.slice_over() {
                return Err(self.pause(paused));
            }
        }
    }

    /// The request's body, likewise. [`Throw::Again`]: the slice is over, and the next call goes on.
    pub(crate) fn parse_long_body(&mut self, how: Read) -> Result<Value, JsonError> {
        let (mut at, mut scratch) = match self.task.json.take_if(|paused| paused.of_body) {
            Some(paused) => (paused.at, paused.scratch),
            None => (0, self.mem.local.json.take().unwrap_or_default()),
        };
        loop {
            let (from, stop) = (at, at + PIECE_BYTES);
            let source = self.task.request.body();
            let mut parser = Parser { mem: &mut self.mem, source, at, stop, how, scratch };
            let result = parser.run();
            (at, scratch) = (parser.at, parser.scratch);
            self.heap.work += (at - from) as u64 / 8;
            if !matches!(result, Err(JsonError::Throw(Throw::Again))) {
                put_away(&mut self.mem, scratch);
                return result;
            }
            if self.slice_over() {
                self.task.json = Some(Box::new(Paused { text: Vec::new(), at, scratch, of_body: true }));
                return Err(JsonError::Throw(Throw::Again));
            }
        }
    }

    /// [`write`] as `JSON.stringify` does it: the same.
    fn write_long(&mut self, value: Value, gap: &[u8]) -> Result<(Written, Vec<u8>), Throw> {
        let how = Write { gap, big_ints: false };
        let (begins, text, scratch) = match self.take_paused() {
            Some(paused) => (None, paused.text, paused.scratch),
            None => (Some(value), Vec::new(), self.mem.local.json.take().unwrap_or_default()),
        };
        match self.write_pieces(begins, how, text, scratch) {
            Pieces::Ended(written, text) => Ok((written?, text)),
            Pieces::Paused(text, scratch) => {
                Err(self.pause(Box::new(Paused { text, at: 0, scratch, of_body: false })))
            }
        }
    }

    /// Writes until the text or the slice ends; without a value it goes on.
    pub(crate) fn write_pieces(
        &mut self,
        mut begins: Option<Value>,
        how: Write<'_>,
        mut text: Vec<u8>,
        mut scratch: Box<Scratch>,
    ) -> Pieces {
        loop {
            let from = text.len();
            let stop = (from + PIECE_BYTES, self.heap.work + PIECE_BYTES as u64 / 8);
            let mut writer = Writer { mem: &mut self.mem, out: &mut text, how, scratch, charged: from, stop };
            let result = match begins.take() {
                Some(value) => writer.run(value),
                None => writer.go_on(),
            };
            scratch = writer.scratch;
            self.heap.work += (text.len() - from) as u64 / 16;
            if !matches!(result, Err(Throw::Again)) {
                scratch.levels.clear();
                keep(&mut scratch.keys);
                self.mem.local.json = Some(scratch);
                return Pieces::Ended(result, text);
            }
            if self.slice_over() {
                return Pieces::Paused(text, scratch);
            }
        }
    }
}

/// How far the writer has come.
pub(crate) enum Pieces {
    /// To the end.
    Ended(Result<Written, Throw>, Vec<u8>),
    /// The slice is over.
    Paused(Vec<u8>, Box<Scratch>),
}

/// Entries of each buffer that a core keeps.
const SCRATCH_KEEP: usize = 4096;

/// Empties a buffer that is kept, and gives back what is beyond ordinary size.
fn keep<T>(buffer: &mut Vec<T>) {
    buffer.clear();
    if buffer.capacity() > SCRATCH_KEEP {
        buffer.shrink_to(SCRATCH_KEEP);
    }
}

/// Buffers that a core keeps for the next text.
pub(crate) struct Scratch {
    values: Vec<Value>,
    keys: Vec<Key>,
    open: Vec<Open>,
    remembered: Vec<Vec<Remembered>>,
    text: Vec<u8>,
    levels: Vec<Level>,
    /// Shapes without a `toJSON`, each at its number's last bits. Shapes stay as long as the core's blueprint.
    no_to_json: [u32; NO_TO_JSON],
    /// How the keys of shapes are written, likewise.
    key_texts: [KeyTexts; KEY_TEXTS],
}

/// The keys of a shape as they stand in JSON: `,"key":` each.
struct KeyTexts {
    shape: u32,
    bytes: Vec<u8>,
    /// Where in `bytes` each key begins, and where the last ends; empty: there are no texts.
    starts: Vec<u32>,
}

impl KeyTexts {
    const NONE: Self = Self { shape: DICTIONARY, bytes: Vec::new(), starts: Vec::new() };

    /// There are texts of a shape whose properties are all plain and whose keys are short.
    fn learn(&mut self, mem: &Mem<'_>, shape: u32) {
        self.shape = shape;
        self.bytes.clear();
        self.starts.clear();
        for property in mem.local.shapes.properties(shape) {
            let plain = property.attrs & (attr::ENUMERABLE | attr::ACCESSOR) == attr::ENUMERABLE;
            if !plain || property.key.is_symbol() || self.bytes.len() > KEY_TEXTS_BYTES_MAX {
                self.starts.clear();
                return;
            }
            self.starts.push(u32::try_from(self.bytes.len()).unwrap_or(0));
            self.bytes.push(b',');
            quote(mem.heap.str_bytes(property.key), &mut self.bytes);
            self.bytes.push(b':');
        }
        self.starts.push(u32::try_from(self.bytes.len()).unwrap_or(0));
    }
}

/// Shapes whose keys a core keeps as texts, and bytes of the texts of one.
const KEY_TEXTS: usize = 32;
const KEY_TEXTS_BYTES_MAX: usize = 2048;

impl Default for Scratch {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            keys: Vec::new(),
            open: Vec::new(),
            remembered: Vec::new(),
            text: Vec::new(),
            levels: Vec::new(),
            // The number of no shape: 0 is one.
            no_to_json: [DICTIONARY; NO_TO_JSON],
            key_texts: [KeyTexts::NONE; KEY_TEXTS],
        }
    }
}

/// Shapes that are remembered to have no `toJSON`.
const NO_TO_JSON: usize = 16;

/// A list or object that has not ended.
struct Open {
    is_array: bool,
    /// Its values and keys start here.
    values: usize,
    keys: usize,
    /// The shape of the keys so far; none: they are defined one by one in the end.
    shape: Option<u32>,
    /// Keys are still those that are remembered for this depth.
    follows: bool,
}

/// A key that stood without escapes in the source, so that its text is what stands between the quotes; at most
/// as many for each depth as a shape has properties.
struct Remembered {
    key: Value,
    shape: u32,
    /// How it stands in the source, with its quotes.
    text: Box<[u8]>,
}

struct Parser<'a, 'm> {
    mem: &'a mut Mem<'m>,
    source: &'a [u8],
    at: usize,
    /// From there on the parser stops before the next value, with [`Throw::Again`].
    stop: usize,
    how: Read,
    scratch: Box<Scratch>,
}

impl Parser<'_, '_> {
    fn run(&mut self) -> Result<Value, JsonError> {
        self.skip_space();
        loop {
            if self.at >= self.stop {
                return Err(JsonError::Throw(Throw::Again));
            }
            let mut value = match self.peek() {
                Some(b'{') => {
                    self.begin(false)?;
                    if self.peek() == Some(b'}') {
                        self.at += 1;
                        self.end_object()?
                    } else {
                        self.key()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.begin(true)?;
                    if self.peek() == Some(b']') {
                        self.at += 1;
                        self.end_array()?
                    } else {
                        continue;
                    }
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.word(b"true", Value::TRUE)?,
                Some(b'f') => self.word(b"false", Value::FALSE)?,
                Some(b'n') => self.word(b"null", Value::NULL)?,
                _ => return Err(JsonError::Syntax(self.at)),
            };
            loop {
                self.skip_space();
                let Some(open) = self.scratch.open.last() else {
                    return if self.at == self.source.len() {
                        Ok(value)
                    } else {
                        Err(JsonError::Syntax(self.at))
                    };
                };
                let is_array = open.is_array;
                self.push(value)?;
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.skip_space();
                        if !is_array {
                            self.key()?;
                        }
                        break;
                    }
                    Some(b']') if is_array => {
                        self.at += 1;
                        value = self.end_array()?;
                    }
                    Some(b'}') if !is_array => {
                        self.at += 1;
                        value = self.end_object()?;
                    }
                    _ => return Err(JsonError::Syntax(self.at)),
                }
            }
        }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn push(&mut self, value: Value) -> Result<(), JsonError> {
        if self.scratch.values.len() == self.scratch.values.capacity() {
            // What is on the stack will be in the arena: refuse before growing.
            self.mem.heap.check_room(self.scratch.values.len() * 8)?;
        }
        self.scratch.values.push(value);
        Ok(())
    }

    fn begin(&mut self, is_array: bool) -> Result<(), JsonError> {
        if self.scratch.open.len() >= self.how.depth {
            return Err(JsonError::Depth);
        }
        self.scratch.open.push(Open {
            is_array,
            values: self.scratch.values.len(),
            keys: self.scratch.keys.len(),
            shape: Some(EMPTY),
            follows: true,
        });
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn word(&mut self, word: &[u8], value: Value) -> Result<Value, JsonError> {
        let rest = &self.source[self.at..];
        match word.iter().zip(rest).position(|(a, b)| a != b) {
            Some(wrong) => Err(JsonError::Syntax(self.at + wrong)),
            None if rest.len() < word.len() => Err(JsonError::Syntax(self.source.len())),
            None => {
                self.at += word.len();
                Ok(value)
            }
        }
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<(), JsonError> {
        if self.peek() != Some(b'"') {
            return Err(JsonError::Syntax(self.at));
        }
        let depth = self.scratch.open.len() - 1;
        let Some(open) = self.scratch.open.last_mut() else { return Err(JsonError::Syntax(self.at)) };
        let position = self.scratch.keys.len() - open.keys;
        let start = self.at + 1;
        if open.follows
            && let Some(last) = self.scratch.remembered.get(depth).and_then(|keys| keys.get(position))
        {
            let text = &*last.text;
            if self.source.get(self.at..self.at + text.len()) == Some(text) {
                open.shape = Some(last.shape);
                self.scratch.keys.push(Key::Atom(last.key));
                self.at += text.len();
                if self.peek() == Some(b':') {
                    self.at += 1;
                    self.skip_space();
                    return Ok(());
                }
                return self.colon();
            }
        }
        self.new_key(depth, position, start)?;
        self.colon()
    }

    fn new_key(&mut self, depth: usize, position: usize, start: usize) -> Result<(), JsonError> {
        let escaped = self.scan()?;
        let key = if escaped {
            let bytes = std::mem::take(&mut self.scratch.text);
            let key = self.key_of(&bytes);
            self.scratch.text = bytes;
            key?
        } else {
            let source = self.source;
            self.key_of(&source[start..self.at - 1])?
        };
        self.scratch.keys.push(key);
        let Some(open) = self.scratch.open.last_mut() else { return Ok(()) };
        open.shape = match (open.shape, key) {
            (Some(shape), Key::Atom(atom)) if self.mem.local.shapes.find(shape, atom).is_none() => {
                self.mem.local.shapes.add(shape, atom, attr::DEFAULT)
            }
            _ => None,
        };
        // Remember it in place of what stood here; what came after belongs to another shape.
        if self.scratch.remembered.len() <= depth && depth < REMEMBERED_DEPTHS {
            self.scratch.remembered.resize_with(depth + 1, Vec::new);
        }
        open.follows &= match (self.scratch.remembered.get_mut(depth), open.shape, key) {
            (Some(keys), Some(shape), Key::Atom(key)) if open.follows && !escaped => {
                keys.truncate(position);
                keys.push(Remembered { key, shape, text: self.source[start - 1..self.at].into() });
                true
            }
            _ => false,
        };
        Ok(())
    }

    fn key_of(&mut self, bytes: &[u8]) -> Result<Key, JsonError> {
        Ok(match crate::string::parse_index(bytes) {
            Some(index) => Key::Index(index),
            None => Key::Atom(self.mem.intern(bytes)?),
        })
    }

    fn colon(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(JsonError::Syntax(self.at));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn end_array(&mut self) -> Result<Value, JsonError> {
        let start = self.scratch.open.pop().map_or(0, |open| open.values);
        let array = self.mem.new_array_of(&self.scratch.values[start..])?;
        self.scratch.values.truncate(start);
        Ok(array.object())
    }

    fn end_object(&mut self) -> Result<Value, JsonError> {
        let Some(open) = self.scratch.open.pop() else { return Err(JsonError::Syntax(self.at)) };
        let count = self.scratch.values.len() - open.values;
        let room = u32::try_from(count).unwrap_or(u32::MAX);
        let object = match open.shape {
            // All slots are inline: write them at once.
            Some(shape) if count <= 32 => self.mem.new_row(shape, &self.scratch.values[open.values..])?,
            shape => {
                let object = self.mem.new_object(if shape.is_some() { room } else { 2 })?;
                for i in 0..count {
                    self.mem.define_data(
                        object,
                        self.scratch.keys[open.keys + i],
                        self.scratch.values[open.values + i],
                    )?;
                }
                object
            }
        };
        self.scratch.values.truncate(open.values);
        self.scratch.keys.truncate(open.keys);
        Ok(object.object())
    }

    fn string(&mut self) -> Result<Value, JsonError> {
        let start = self.at + 1;
        if self.scan()? {
            return Ok(self.mem.heap.new_string(&self.scratch.text)?);
        }
        match &self.source[start..self.at - 1] {
            [byte @ 0..0x80] => Ok(self.mem.local.known.chars[usize::from(*byte)]),
            bytes => Ok(self.mem.heap.new_string(bytes)?),
        }
    }

    /// Passes a string. True: it has escapes, and `scratch` is what it says.
    fn scan(&mut self) -> Result<bool, JsonError> {
        self.at += 1;
        let start = self.at;
        self.plain();
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                return Ok(false);
            }
            Some(b'\\') => {}
            _ => return Err(JsonError::Syntax(self.at)),
        }
        self.scratch.text.clear();
        self.scratch.text.extend_from_slice(&self.source[start..self.at]);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(true);
                }
                Some(b'\\') => self.escape()?,
                Some(0x20..) => {
                    let start = self.at;
                    self.plain();
                    text::push_text(&mut self.scratch.text, &self.source[start..self.at]);
                }
                _ => return Err(JsonError::Syntax(self.at)),
            }
        }
    }

    /// Passes what stands for itself, eight bytes at a time.
    #[inline]
    fn plain(&mut self) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const TOPS: u64 = 0x8080_8080_8080_8080;
        while let Some(chunk) = self.source.get(self.at..self.at + 8) {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            let word = u64::from_le_bytes(word);
            let zero = |x: u64| x.wrapping_sub(ONES) & !x;
            let control = word.wrapping_sub(ONES * 0x20) & !word;
            let special =
                control | zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\')));
            if special & TOPS != 0 {
                self.at += (special & TOPS).trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while let Some(b) = self.peek() {
            if b < 0x20 || b == b'"' || b == b'\\' {
                return;
            }
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        let byte = match self.peek() {
            Some(b @ (b'"' | b'\\' | b'/')) => b,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let mut unit = 0;
                for _ in 0..4 {
                    self.at += 1;
                    let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
                    unit = unit << 4 | digit.ok_or(JsonError::Syntax(self.at))?;
                }
                self.at += 1;
                text::push_point(&mut self.scratch.text, unit);
                return Ok(());
            }
            _ => return Err(JsonError::Syntax(self.at)),
        };
        self.at += 1;
        self.scratch.text.push(byte);
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(JsonError::Syntax(self.at));
        }
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        // Most are short integers.
        let (mut at, mut sum) = (self.at, 0i32);
        while at - self.at < 9
            && let Some(digit @ b'0'..=b'9') = self.source.get(at)
        {
            sum = sum * 10 + i32::from(digit - b'0');
            at += 1;
        }
        let ends = !matches!(self.source.get(at), Some(b'0'..=b'9' | b'.' | b'e' | b'E'));
        if ends && at > self.at && (at == self.at + 1 || self.source[self.at] != b'0') {
            self.at = at;
            return Ok(Value::int(sum));
        }
        self.any_number()
    }

    fn any_number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let first = self.at;
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        let whole = self.at;
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let point = self.at;
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let sign = if negative { -1.0 } else { 1.0 };
        let value = |bytes: &[u8]| {
            bytes.iter().filter(|b| **b != b'.').fold(0u64, |sum, b| sum * 10 + u64::from(b - b'0'))
        };
        if self.at == whole && whole - first <= 15 {
            // At most 999,999,999,999,999: exact.
            return Ok(Value::number(sign * value(&self.source[first..whole]) as f64));
        }
        if self.at == point && point - first <= 16 {
            // A mantissa below 2^53 and a power of ten below 10^22 are exact, so one division rounds right.
            const POWERS: [f64; 16] =
                [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
            let places = (point - whole).saturating_sub(1);
            let mantissa = value(&self.source[first..point]);
            if let Some(power) = POWERS.get(places).filter(|_| mantissa <= 1 << 53) {
                return Ok(Value::number(sign * (mantissa as f64 / power)));
            }
        }
        let literal = std::str::from_utf8(&self.source[start..self.at]).unwrap_or("");
        if self.how.big_ints && self.at == whole {
            let digits = whole - first;
            self.mem.heap.work += (digits as u64 / 9) * (digits as u64 / 9);
            if digits > DIGITS_MAX {
                return Err(JsonError::Throw(Throw::range_error("Maximum BigInt size exceeded")));
            }
            if let Some(int) = Int::parse(literal)
                && int.bits() > 53
            {
                return Ok(self.mem.new_bigint(&int)?);
            }
        }
        Ok(Value::number(literal.parse().unwrap_or(f64::NAN)))
    }
}

/// How to write.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Write<'a> {
    /// Indentation of one level: none means one line.
    pub(crate) gap: &'a [u8],
    /// BigInts as digits (bodies); else they are a TypeError (`JSON.stringify`).
    pub(crate) big_ints: bool,
}

/// What [`write`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    /// The text is appended.
    Text,
    /// The value has none (undefined, functions, symbols); nothing is appended.
    Nothing,
    /// A script has to run for it (`toJSON`, an accessor): js/json.js does it. What was
    /// appended is to be dropped.
    NeedsScript,
}

/// Writes a value as JSON.
pub(crate) fn write(
    mem: &mut Mem<'_>,
    value: Value,
    how: Write<'_>,
    out: &mut Vec<u8>,
) -> Result<Written, Throw> {
    let start = out.len();
    let scratch = mem.local.json.take().unwrap_or_default();
    let mut writer = Writer { mem, out, how, scratch, charged: start, stop: (usize::MAX, u64::MAX) };
    let written = writer.run(value);
    let Writer { mem, out, mut scratch, .. } = writer;
    scratch.levels.clear();
    keep(&mut scratch.keys);
    mem.local.json = Some(scratch);
    mem.heap.work += (out.len() - start) as u64 / 16;
    written
}

/// A list or object whose members are being written.
struct Level {
    object: Ref,
    is_array: bool,
    /// The next member.
    next: u32,
    /// Members of a list or of a shape; with a key list its end.
    end: u32,
    /// The shape whose properties are the members, or DICTIONARY: `keys[next..end]` are.
    shape: u32,
    /// Length of `Scratch::keys` before this level.
    keys: usize,
    /// Something was written.
    any: bool,
    /// The keys are in `Scratch::key_texts`. What is written inside may be of a shape whose texts stand in the same
    /// place: then no more.
    texts: bool,
}

struct Writer<'a, 'm, 'h> {
    mem: &'a mut Mem<'m>,
    out: &'a mut Vec<u8>,
    how: Write<'h>,
    scratch: Box<Scratch>,
    /// Length of `out` that memory was last checked for.
    charged: usize,
    /// Length of `out` and work from which on the writer stops before the next member, with [`Throw::Again`].
    stop: (usize, u64),
}

/// What a value is in JSON.
enum Form {
    Written,
    Nothing,
    NeedsScript,
    Level(Level),
}

impl Writer<'_, '_, '_> {
    fn run(&mut self, value: Value) -> Result<Written, Throw> {
        match self.value(value)? {
            Form::Written => return Ok(Written::Text),
            Form::Nothing => return Ok(Written::Nothing),
            Form::NeedsScript => return Ok(Written::NeedsScript),
            Form::Level(level) => self.enter(level)?,
        }
        self.go_on()
    }

    /// Writes what is left of the lists and objects that have begun.
    fn go_on(&mut self) -> Result<Written, Throw> {
        while let Some(level) = self.scratch.levels.last_mut() {
            if level.next == level.end {
                let (is_array, any, keys) = (level.is_array, level.any, level.keys);
                self.scratch.levels.pop();
                self.scratch.keys.truncate(keys);
                if any {
                    self.line();
                }
                self.out.push(if is_array { b']' } else { b'}' });
                continue;
            }
            if self.out.len() - self.charged > 1 << 16 {
                // The text has to fit into what is left of the task's memory.
                self.mem.heap.check_room(self.out.len())?;
                self.charged = self.out.len();
            }
            if self.out.len() >= self.stop.0 || self.mem.heap.work >= self.stop.1 {
                return Err(Throw::Again);
            }
            if !self.member()? {
                return Ok(Written::NeedsScript);
            }
        }
        Ok(Written::Text)
    }

    /// Writes the next member of the innermost level. False: a script is needed.
    fn member(&mut self) -> Result<bool, Throw> {
        let Some(level) = self.scratch.levels.last_mut() else { return Ok(true) };
        if level.texts && self.scratch.key_texts[level.shape as usize % KEY_TEXTS].shape == level.shape {
            return self.members_of_shape();
        }
        let (object, at) = (level.object, level.next);
        level.next += 1;
        self.mem.heap.work += 1;
        if level.is_array {
            let value = match self.mem.dense_element(object, at) {
                Some(value) => value,
                None => match self.mem.get(object, Key::Index(at))? {
                    Get::Value(value) => value,
                    Get::Getter(_) => return Ok(false),
                },
            };
            self.separate();
            return Ok(match self.value(value)? {
                Form::Written => true,
                Form::NeedsScript => false,
                Form::Nothing => {
                    self.out.extend_from_slice(b"null");
                    true
                }
                Form::Level(level) => {
                    self.enter(level)?;
                    true
                }
            });
        }
        let (key, value) = if level.shape == DICTIONARY {
            let key = self.scratch.keys[at as usize];
            match self.mem.get_own(object, key)? {
                Own::Data(value, _) => (key, value),
                Own::Accessor(..) => return Ok(false),
                Own::None => return Ok(true),
            }
        } else {
            let property = self.mem.local.shapes.properties(level.shape)[at as usize];
            if property.attrs & attr::ENUMERABLE == 0 || property.key.is_symbol() {
                return Ok(true);
            }
            if property.attrs & attr::ACCESSOR != 0 {
                return Ok(false);
            }
            let slot = self.mem.cache_slot(object, at);
            (Key::Atom(property.key), self.mem.at_cache_slot(object, slot))
        };
        let before = (self.out.len(), self.scratch.levels.last().is_some_and(|l| l.any));
        self.separate();
        self.write_key(key)?;
        self.value_of_key(value, before)
    }

    /// Writes the value of a key that has just been written; `before` is what was before the key.
    fn value_of_key(&mut self, value: Value, before: (usize, bool)) -> Result<bool, Throw> {
        match self.value(value)? {
            Form::Written => Ok(true),
            Form::NeedsScript => Ok(false),
            Form::Nothing => {
                self.out.truncate(before.0);
                if let Some(level) = self.scratch.levels.last_mut() {
                    level.any = before.1;
                }
                Ok(true)
            }
            Form::Level(level) => {
                self.enter(level)?;
                Ok(true)
            }
        }
    }

    /// Writes members of a level whose keys are there as texts: one that has members of its own, or all before it and
    /// none of it. False: a script is needed.
    fn members_of_shape(&mut self) -> Result<bool, Throw> {
        let Self { mem, out, scratch, charged, stop, .. } = self;
        let Scratch { levels, key_texts, .. } = &mut **scratch;
        let Some(level) = levels.last_mut() else { return Ok(true) };
        let texts = &key_texts[level.shape as usize % KEY_TEXTS];
        while level.next < level.end {
            let at = level.next;
            let value = mem.at_cache_slot(level.object, mem.cache_slot(level.object, at));
            level.next += 1;
            mem.heap.work += 1;
            let (from, to) = (texts.starts[at as usize] as usize, texts.starts[at as usize + 1] as usize);
            let before = (out.len(), level.any);
            out.extend_from_slice(&texts.bytes[from + usize::from(!level.any)..to]);
            level.any = true;
            if value.is_int() {
                integer(value.as_int(), out);
            } else if value.is_string() {
                let flat = mem.heap.flat(value)?;
                quote(mem.heap.str_bytes(flat), out);
            } else if value.is_bool() {
                out.extend_from_slice(if value == Value::TRUE { b"true" } else { b"false" });
            } else if value.is_null() {
                out.extend_from_slice(b"null");
            } else {
                return self.value_of_key(value, before);
            }
            if out.len() - *charged > 1 << 16 || out.len() >= stop.0 || mem.heap.work >= stop.1 {
                break;
            }
        }
        Ok(true)
    }

    fn write_key(&mut self, key: Key) -> Result<(), Throw> {
        match key {
            Key::Index(index) => {
                self.out.push(b'"');
                self.out.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
                self.out.push(b'"');
            }
            Key::Atom(atom) => {
                let flat = self.mem.heap.flat(atom)?;
                quote(self.mem.heap.str_bytes(flat), self.out);
            }
        }
        self.out.push(b':');
        if !self.how.gap.is_empty() {
            self.out.push(b' ');
        }
        Ok(())
    }

    /// Comma and line before a member.
    fn separate(&mut self) {
        if let Some(level) = self.scratch.levels.last_mut() {
            if level.any {
                self.out.push(b',');
            }
            level.any = true;
        }
        self.line();
    }

    fn line(&mut self) {
        if !self.how.gap.is_empty() {
            self.out.push(b'\n');
            for _ in 0..self.scratch.levels.len() {
                self.out.extend_from_slice(self.how.gap);
            }
        }
    }

    fn enter(&mut self, level: Level) -> Result<(), Throw> {
        if self.scratch.levels.len() >= DEPTH_MAX {
            return Err(Throw::range_error("value is nested too deeply for JSON"));
        }
        if self.scratch.levels.iter().any(|open| open.object == level.object) {
            return Err(Throw::type_error("Converting circular structure to JSON"));
        }
        self.mem.heap.work += self.scratch.levels.len() as u64 / 16;
        self.out.push(if level.is_array { b'[' } else { b'{' });
        self.scratch.levels.push(level);
        Ok(())
    }

    fn value(&mut self, value: Value) -> Result<Form, Throw> {
        if value.is_string() {
            let flat = self.mem.heap.flat(value)?;
            quote(self.mem.heap.str_bytes(flat), self.out);
        } else if value.is_int() {
            integer(value.as_int(), self.out);
        } else if value.is_double() {
            let number = value.as_double();
            if number.is_finite() {
                self.out.extend_from_slice(ryu_js::Buffer::new().format_finite(number).as_bytes());
            } else {
                self.out.extend_from_slice(b"null");
            }
        } else if value.is_object() {
            return self.object(value.as_ref());
        } else if value.is_bool() {
            self.out.extend_from_slice(if value == Value::TRUE { b"true" } else { b"false" });
        } else if value.is_null() {
            self.out.extend_from_slice(b"null");
        } else if value.is_bigint() {
            if self.mem.heap.touched & touched::TO_JSON != 0 {
                return Ok(Form::NeedsScript);
            }
            if !self.how.big_ints {
                return Err(Throw::type_error("Do not know how to serialize a BigInt"));
            }
            let digits = self.mem.bigint(value).to_text(10);
            self.mem.heap.work += (digits.len() * digits.len()) as u64 / 81;
            self.out.extend_from_slice(digits.as_bytes());
        } else {
            return Ok(Form::Nothing);
        }
        Ok(Form::Written)
    }

    fn object(&mut self, object: Ref) -> Result<Form, Throw> {
        let kind = self.mem.heap.kind(object);
        let (shape, proto) = (self.mem.shape(object), self.mem.proto_of(object));
        // By reference: all that is known is some kilobytes.
        let known = &self.mem.local.known;
        match kind {
            kind::CLOSURE | kind::NATIVE | kind::BOUND => return self.function(object),
            kind::DATE
                if shape == EMPTY && proto == known.date && self.mem.heap.touched & touched::TO_JSON == 0 =>
            {
                return Ok(self.date(object));
            }
            kind::BOXED => {
                let primitive = self.mem.heap.get(object, 4);
                let standard = [known.number, known.string, known.boolean].contains(&proto);
                return if shape == EMPTY && standard {
                    self.value(primitive)
                } else {
                    Ok(Form::NeedsScript)
                };
            }
            kind::DECIMAL => {
                let flat = self.mem.heap.get(object, 4);
                let flat = self.mem.heap.flat(flat)?;
                let digits = self.mem.heap.str_bytes(flat);
                let finite = digits.last().is_some_and(u8::is_ascii_digit);
                self.out.extend_from_slice(if finite { digits } else { b"null" });
                return Ok(Form::Written);
            }
            kind::BYTES => {
                let cell = self.mem.heap.get(object, 4);
                base64(self.mem.heap.data(cell), self.out);
                return Ok(Form::Written);
            }
            _ => {}
        }
        if self.has_to_json(object, shape, proto)? {
            return Ok(Form::NeedsScript);
        }
        if self.mem.heap.header(object) & flag::RAW_JSON != 0 {
            let key = self.mem.key_of_text("rawJSON")?;
            let text = self.mem.get_plain(object, key)?;
            let text = self.mem.to_string(text)?;
            let text = self.mem.heap.flat(text)?;
            self.out.extend_from_slice(self.mem.heap.str_bytes(text));
            return Ok(Form::Written);
        }
        if kind == kind::ARRAY {
            let end = self.mem.array_len(object);
            return Ok(Form::Level(Level {
                object,
                is_array: true,
                next: 0,
                end,
                shape: DICTIONARY,
                keys: self.scratch.keys.len(),
                any: false,
                texts: false,
            }));
        }
        Ok(Form::Level(self.members(object, shape)?))
    }

    fn members(&mut self, object: Ref, shape: u32) -> Result<Level, Throw> {
        let keys = self.scratch.keys.len();
        let level = |next, end, shape| {
            let texts = false;
            Level { object, is_array: false, next, end, shape, keys, any: false, texts }
        };
        let count = |n: usize| u32::try_from(n).map_err(|_| Throw::range_error("too many keys for JSON"));
        if shape != DICTIONARY
            && self.mem.elements(object).index() == 0
            && self.mem.heap.header(object) & flag::LAZY == 0
        {
            let end = count(self.mem.local.shapes.properties(shape).len())?;
            let mut level = level(0, end, shape);
            if self.how.gap.is_empty() {
                let texts = &mut self.scratch.key_texts[shape as usize % KEY_TEXTS];
                if texts.shape != shape {
                    texts.learn(self.mem, shape);
                }
                level.texts = !texts.starts.is_empty();
            }
            return Ok(level);
        }
        let which = Keys { strings: true, symbols: false, only_enumerable: true };
        let mut list = std::mem::take(&mut self.scratch.keys);
        let listed = self.mem.own_keys(object, which, &mut list);
        self.scratch.keys = list;
        listed?;
        Ok(level(count(keys)?, count(self.scratch.keys.len())?, DICTIONARY))
    }

    /// A function is nothing, unless someone gave it a `toJSON`.
    fn function(&mut self, object: Ref) -> Result<Form, Throw> {
        let to_json = Key::Atom(self.mem.local.known.to_json);
        Ok(match self.mem.get(object, to_json)? {
            Get::Value(v) if !self.mem.is_callable(v) => Form::Nothing,
            _ => Form::NeedsScript,
        })
    }

    fn has_to_json(&mut self, object: Ref, shape: u32, proto: Value) -> Result<bool, Throw> {
        let known = &self.mem.local.known;
        let standard = (proto == known.object || proto == known.array || proto.is_null())
            && self.mem.heap.touched & touched::TO_JSON == 0;
        if standard && shape != DICTIONARY && shape == self.scratch.no_to_json[shape as usize % NO_TO_JSON] {
            return Ok(false);
        }
        // A list of its own, with the standard prototype: that has none while nobody has written one.
        if standard && shape == EMPTY && proto == known.array && proto != known.object {
            return Ok(false);
        }
        let key = Key::Atom(known.to_json);
        let found = match self.mem.get(object, key)? {
            Get::Value(v) => self.mem.is_callable(v),
            Get::Getter(_) => true,
        };
        // One of its own that is no function today may be one in the next object of this shape.
        if !found && standard && self.mem.local.shapes.find(shape, self.mem.local.known.to_json).is_none() {
            self.scratch.no_to_json[shape as usize % NO_TO_JSON] = shape;
        }
        Ok(found)
    }

    fn date(&mut self, object: Ref) -> Form {
        let time = self.mem.heap.get(object, 4).as_number().unwrap_or(f64::NAN);
        if time.is_nan() {
            self.out.extend_from_slice(b"null");
            return Form::Written;
        }
        let micros = self.mem.heap.get(object, 5).as_number().unwrap_or(0.0);
        self.out.push(b'"');
        self.out.extend_from_slice(date::to_iso_micros(time, micros).as_bytes());
        self.out.push(b'"');
        Form::Written
    }
}

/// Appends a string literal. `bytes` is WTF-8; halves of pairs are escaped
/// (ECMA-262, QuoteJSONString).
pub(crate) fn quote(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut start = 0;
    let mut at = plain_len(bytes);
    while at < bytes.len() {
        let byte = bytes[at];
        if !SPECIAL[usize::from(byte)] {
            at += 1;
            continue;
        }
        if byte == 0xed && bytes.get(at + 1).is_none_or(|b| *b < 0xa0) {
            at += 1;
            continue;
        }
        out.extend_from_slice(&bytes[start..at]);
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            8 => b'b',
            9 => b't',
            10 => b'n',
            12 => b'f',
            13 => b'r',
            _ => 0,
        };
        if short != 0 {
            out.extend([b'\\', short]);
            at += 1;
        } else {
            let (point, len) = text::decode(bytes, at);
            out.extend_from_slice(b"\\u");
            out.extend([12, 8, 4, 0].map(|shift| HEX[(point >> shift & 15) as usize]));
            at += len;
        }
        start = at;
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

/// How many bytes stand for themselves at the start, eight at a time.
#[inline]
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let (words, _) = bytes.as_chunks::<8>();
    let special = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        let zero = |x: u64| x.wrapping_sub(ONES) & !x;
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quotes = zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\')));
        (control | quotes | zero(word ^ (ONES * 0xed))) & TOPS != 0
    };
    words.iter().position(special).unwrap_or(words.len()) * 8
}

/// Appends an integer.
#[inline]
fn integer(n: i32, out: &mut Vec<u8>) {
    match u8::try_from(n) {
        Ok(n @ 0..10) => out.push(b'0' + n),
        _ => out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes()),
    }
}

/// Bytes that may not stand for themselves in a literal.
static SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 0x20 {
        table[i] = true;
        i += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table[0xed] = true;
    table
};

/// Appends bytes as a literal in base64 (RFC 4648 section 4).
fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push(b'"');
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i) & 63) as usize];
            out.push(if i > chunk.len() { b'=' } else { digit });
        }
    }
    out.push(b'"');
}

pub(crate) const NATIVES: &[Native] = &[
    Native { on: "JSON", name: "parse", length: 2, call: json_parse, kind: Kind::Method },
    Native { on: "JSON", name: "stringify", length: 3, call: json_stringify, kind: Kind::Method },
    Native { on: "JSON", name: "isRawJSON", length: 1, call: is_raw_json, kind: Kind::Method },
    Native { on: "JSON", name: "rawJSON", length: 1, call: make_raw_json, kind: Kind::Method },
    Native { on: "", name: "quote", length: 1, call: helper_quote, kind: Kind::Helper },
    Native { on: "", name: "rawJson", length: 1, call: raw_json, kind: Kind::Helper },
];

fn json_parse(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_arg(a, 0)?;
    let value = if ctx.heap.string_bytes_len(s) > PIECE_BYTES {
        ctx.parse_long(s, STANDARD)?
    } else {
        let source = ctx.heap.str_bytes(s).to_vec();
        parse(&mut ctx.mem, &source, STANDARD).map_err(|e| e.into_throw(&source))?
    };
    let reviver = ctx.arg(a, 1);
    if !ctx.is_callable(reviver) {
        return Ok(value);
    }
    let callee = ctx.own_value();
    ctx.tail_call(callee, Value::UNDEFINED, &[value, reviver, s])
}

fn is_raw_json(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    Ok(Value::bool(v.is_object() && ctx.heap.header(v.as_ref()) & flag::RAW_JSON != 0))
}

/// `JSON.rawJSON(text)`: the text of a primitive, to be written as it is.
fn make_raw_json(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_arg(a, 0)?;
    let text = ctx.heap.str_bytes(s).to_vec();
    let space = |b: Option<&u8>| matches!(b, None | Some(b'\t' | b'\n' | b'\r' | b' '));
    if space(text.first()) || space(text.last()) || matches!(text[0], b'{' | b'[') {
        return Err(Throw::syntax_error("JSON.rawJSON takes the text of a primitive value"));
    }
    parse(&mut ctx.mem, &text, STANDARD).map_err(|e| e.into_throw(&text))?;
    let object = ctx.new_plain(Value::NULL, 2)?;
    let key = ctx.key_of_text("rawJSON")?;
    ctx.define_data(object, key, s)?;
    ctx.mem.restrict(object, true, true)?;
    ctx.set_flag(object, flag::RAW_JSON);
    Ok(object.object())
}

fn json_stringify(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (value, replacer, space) = (ctx.arg(a, 0), ctx.arg(a, 1), ctx.arg(a, 2));
    let general = [value, replacer, space];
    let gap: Vec<u8> = if let Some(n) = space.as_number() {
        vec![b' '; if n >= 1.0 { to_int32(n.min(10.0)).unsigned_abs() as usize } else { 0 }]
    } else if space.is_string() {
        let len = ctx.heap.string_len(space).min(10);
        let part = ctx.heap.substring(space, 0, len)?;
        let part = ctx.heap.flat(part)?;
        ctx.heap.str_bytes(part).to_vec()
    } else {
        Vec::new()
    };
    let (written, out) = if replacer.is_object() || space.is_object() {
        (Written::NeedsScript, Vec::new())
    } else {
        ctx.write_long(value, &gap)?
    };
    match written {
        Written::Text => ctx.heap.new_string(&out),
        Written::Nothing => Ok(Value::UNDEFINED),
        Written::NeedsScript => {
            let callee = ctx.own_value();
            ctx.tail_call(callee, Value::UNDEFINED, &general)
        }
    }
}

/// `quote(text)`: as a JSON literal.
fn helper_quote(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let s = ctx.str_arg(a, 0)?;
    let mut out = Vec::new();
    quote(ctx.heap.str_bytes(s), &mut out);
    ctx.heap.work += out.len() as u64 / 16;
    ctx.heap.new_string(&out)
}

/// `rawJson(object)`: the text of what the engine itself prints (decimals, bytes), else undefined.
fn raw_json(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    let made = v.is_object() && ctx.heap.header(v.as_ref()) & flag::RAW_JSON != 0;
    if !made && !ctx.is_kind(v, kind::DECIMAL) && !ctx.is_kind(v, kind::BYTES) {
        return Ok(Value::UNDEFINED);
    }
    let mut out = Vec::new();
    write(&mut ctx.mem, v, Write::default(), &mut out)?;
    ctx.heap.new_string(&out)
}
