//! Modules as bytes: what `forebay build` writes and generations keep.
//! docs/formats/bytecode.md is the specification.
//!
//! ```text
//!  0        8       10      12          16           24                56
//! +--------+-------+-------+-----------+------------+-----------------+------ - - -
//! | magic  |version| flags | 0         | body bytes | SHA-256 of      | body
//! | 8 bytes| u16   | u16   | u32       | u64        | 0..24 and body  |
//! +--------+-------+-------+-----------+------------+-----------------+------ - - -
//! ```
//!
//! Integers of the header and instructions are little-endian; in the body, counts and
//! indexes are unsigned LEB128 varints in their shortest form, so that a module has
//! exactly one encoding and its hash names it.
//!
//! The hash finds accidents, not attackers: whoever can write the file can write the
//! hash. So decoding bounds everything by itself, and what it accepts is still a
//! claim for [`crate::verify()`].

use crate::module::{
    Action, Capture, Const, Durable, ExceptionHandler, Function, FunctionIndex, LocalName, Module,
    NamespaceExport, Position, Retry, Route, SourceFile, TemplatePart, Work, WorkLimits,
};
use crate::opcode::Instr;
use sha2::{Digest, Sha256};
use std::fmt;

/// First bytes of a file. As in PNG, a transfer that changes line ends shows.
pub const MAGIC: [u8; 8] = *b"\x8fFBC\r\n\x1a\n";
/// Version of the layout. Opcodes and builtin numbers are append-only and don't raise it.
pub const VERSION: u16 = 1;
/// Bytes before the body.
pub const HEADER_BYTES: usize = 56;
const HASH_AT: usize = 24;

/// Why bytes are not a module. Offsets count from the start of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// Not a bytecode file.
    Magic,
    /// Written by another version of Forebay.
    Version {
        /// The file's version.
        found: u16,
    },
    /// A flag that this version doesn't know.
    Flags {
        /// The file's flags.
        found: u16,
    },
    /// The file is shorter or longer than its header says.
    Length {
        /// From the header, header included.
        expected: u64,
        /// The bytes that are there.
        found: u64,
    },
    /// The content isn't what was hashed: damaged on the way or on the disk.
    Hash,
    /// The body can't be read.
    Malformed {
        /// Offset of the first byte that can't be.
        offset: usize,
        /// What was expected there.
        expected: &'static str,
    },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("not a Forebay bytecode file"),
            Self::Version { found } => {
                write!(f, "bytecode version {found}; this is version {VERSION}: build it again")
            }
            Self::Flags { found } => write!(f, "bytecode with unknown flags {found:#06x}"),
            Self::Length { expected, found } => {
                write!(f, "bytecode of {found} bytes, its header says {expected}")
            }
            Self::Hash => f.write_str("bytecode is damaged: its hash doesn't match"),
            Self::Malformed { offset, expected } => {
                write!(f, "malformed bytecode at byte {offset}: expected {expected}")
            }
        }
    }
}

impl std::error::Error for FormatError {}

/// The module as bytes. Any module can be encoded, a wrong one too.
#[must_use]
pub fn encode(module: &Module) -> Vec<u8> {
    let mut out = vec![0; HEADER_BYTES];
    Writer(&mut out).module(module);
    let body_bytes = (out.len() - HEADER_BYTES) as u64;
    out[..8].copy_from_slice(&MAGIC);
    out[8..10].copy_from_slice(&VERSION.to_le_bytes());
    out[16..24].copy_from_slice(&body_bytes.to_le_bytes());
    let hash = file_hash(&out);
    out[HASH_AT..HEADER_BYTES].copy_from_slice(&hash);
    out
}

/// SHA-256 of the module's encoding: equal modules have equal hashes, on every machine.
#[must_use]
pub fn content_hash(module: &Module) -> [u8; 32] {
    let bytes = encode(module);
    let mut hash = [0; 32];
    hash.copy_from_slice(&bytes[HASH_AT..HEADER_BYTES]);
    hash
}

/// Reads a module. Allocates a small multiple of `bytes.len()` at most.
pub fn decode(bytes: &[u8]) -> Result<Module, FormatError> {
    if bytes.len() < HEADER_BYTES {
        let same = MAGIC.iter().zip(bytes).all(|(a, b)| a == b);
        let short = FormatError::Length { expected: HEADER_BYTES as u64, found: bytes.len() as u64 };
        return Err(if same { short } else { FormatError::Magic });
    }
    if bytes[..8] != MAGIC {
        return Err(FormatError::Magic);
    }
    let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    if u16_at(8) != VERSION {
        return Err(FormatError::Version { found: u16_at(8) });
    }
    if u16_at(10) != 0 {
        return Err(FormatError::Flags { found: u16_at(10) });
    }
    if bytes[12..16] != [0; 4] {
        return Err(FormatError::Malformed { offset: 12, expected: "zeros" });
    }
    let mut body_bytes = [0; 8];
    body_bytes.copy_from_slice(&bytes[16..24]);
    let expected = u64::from_le_bytes(body_bytes).saturating_add(HEADER_BYTES as u64);
    if expected != bytes.len() as u64 {
        return Err(FormatError::Length { expected, found: bytes.len() as u64 });
    }
    if file_hash(bytes) != bytes[HASH_AT..HEADER_BYTES] {
        return Err(FormatError::Hash);
    }
    let mut reader = Reader { bytes, at: HEADER_BYTES };
    let module = reader.module()?;
    if reader.at == bytes.len() { Ok(module) } else { Err(reader.error("the end")) }
}

/// Hash of everything but the hash. `file` has a whole header.
fn file_hash(file: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(&file[..HASH_AT]);
    hash.update(&file[HEADER_BYTES..]);
    hash.finalize().into()
}

/// Appends; the methods mirror those of [`Reader`].
struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    #[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
    fn uint(&mut self, value: impl Into<u64>) {
        let mut value: u64 = value.into();
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.uint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn option<T>(&mut self, value: Option<T>, mut some: impl FnMut(&mut Self, T)) {
        match value {
            None => self.0.push(0),
            Some(value) => {
                self.0.push(1);
                some(self, value);
            }
        }
    }

    fn list<T>(&mut self, items: &[T], mut one: impl FnMut(&mut Self, &T)) {
        self.uint(items.len() as u64);
        for item in items {
            one(self, item);
        }
    }

    fn module(&mut self, m: &Module) {
        self.list(&m.files, |w, file| {
            w.bytes(file.path.as_bytes());
            w.bytes(file.text.as_bytes());
        });
        self.list(&m.constants, Self::constant);
        self.list(&m.sites, |w, site| w.uint(*site));
        self.list(&m.slots, |w, slot| w.uint(*slot));
        self.uint(m.handler_slots);
        self.list(&m.functions, Self::function);
        self.option(m.init, |w, f| w.uint(f.0));
        self.list(&m.works, Self::work);
        self.option(m.main, |w, f| w.uint(f.0));
        self.uint(m.uses);
        // Only where there is one: modules without keep their bytes, and so their hash.
        if m.works.iter().any(|work| work.durable.is_some()) {
            for work in &m.works {
                self.option(work.durable.as_ref(), Self::durable);
            }
        }
    }

    fn durable(&mut self, durable: &Durable) {
        self.option(durable.id.as_deref(), |w, id| w.bytes(id.as_bytes()));
        self.option(durable.retry, |w, retry| {
            w.uint(retry.times);
            w.uint(retry.wait_ms);
        });
    }

    fn constant(&mut self, constant: &Const) {
        match constant {
            Const::Number(n) => {
                self.0.push(0);
                self.0.extend_from_slice(&n.to_bits().to_le_bytes());
            }
            Const::Str(text) => {
                self.0.push(1);
                self.bytes(text.as_bytes());
            }
            Const::BigInt(digits) => {
                self.0.push(2);
                self.bytes(digits.as_bytes());
            }
            Const::Data(data) => {
                self.0.push(3);
                self.bytes(data);
            }
            Const::Template(parts) => {
                self.0.push(4);
                self.list(parts, |w, part| {
                    w.option(part.cooked, |w, cooked| w.uint(cooked));
                    w.uint(part.raw);
                });
            }
            Const::Wtf8(text) => {
                self.0.push(5);
                self.bytes(text);
            }
            Const::Private(text) => {
                self.0.push(6);
                self.bytes(text.as_bytes());
            }
            Const::Namespace { slot, exports } => {
                self.0.push(7);
                self.uint(*slot);
                self.list(exports, |w, export| {
                    w.uint(export.name);
                    w.uint(export.slot);
                });
            }
        }
    }

    fn function(&mut self, f: &Function) {
        self.uint(f.name);
        self.uint(f.flags);
        self.uint(f.length);
        self.uint(f.parameters);
        self.option(f.rest, |w, rest| w.uint(rest));
        self.uint(f.registers);
        self.list(&f.captures, |w, capture| {
            let (tag, index) = match *capture {
                Capture::Register(r) => (0, r),
                Capture::Upvalue(u) => (1, u),
            };
            w.0.push(tag);
            w.uint(index);
        });
        self.uint(f.site_base);
        self.uint(f.site_count);
        self.list(&f.code, |w, instr| w.0.extend_from_slice(&instr.0.to_le_bytes()));
        self.list(&f.handlers, |w, h| {
            w.uint(h.start);
            w.uint(h.end);
            w.uint(h.target);
            w.uint(h.register);
        });
        self.list(&f.positions, Self::position);
        self.list(&f.locals, |w, local| {
            w.uint(local.name);
            w.uint(local.register);
            w.uint(local.start);
            w.uint(local.end);
        });
    }

    fn position(&mut self, p: &Position) {
        self.uint(p.pc);
        self.uint(p.file);
        self.uint(p.start);
        self.uint(p.end);
    }

    fn work(&mut self, work: &Work) {
        self.bytes(work.name.as_bytes());
        self.option(work.version.as_deref(), |w, v| w.bytes(v.as_bytes()));
        self.list(&work.routes, |w, route| {
            w.bytes(route.method.as_bytes());
            w.bytes(route.pattern.as_bytes());
            w.action(&route.action);
            w.position(&route.position);
        });
        let WorkLimits { fuel, wall_ms, memory, stack_depth, fibers, effects } = work.limits;
        for limit in [fuel, wall_ms, memory, stack_depth, fibers, effects, work.static_seconds] {
            self.option(limit, |w, value| w.uint(value));
        }
    }

    fn action(&mut self, action: &Action) {
        match action {
            Action::Function(f) => {
                self.0.push(0);
                self.uint(f.0);
            }
            Action::Handler(slot) => {
                self.0.push(1);
                self.uint(*slot);
            }
            Action::File(path) => {
                self.0.push(2);
                self.bytes(path.as_bytes());
            }
            Action::Assets(path) => {
                self.0.push(3);
                self.bytes(path.as_bytes());
            }
            Action::Redirect(to, status) => {
                self.0.push(4);
                self.bytes(to.as_bytes());
                self.uint(*status);
            }
        }
    }
}

/// HEADER_BYTES <= at <= bytes.len().
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

type Read<T> = Result<T, FormatError>;

impl<'a> Reader<'a> {
    fn error(&self, expected: &'static str) -> FormatError {
        FormatError::Malformed { offset: self.at, expected }
    }

    fn take(&mut self, len: usize, expected: &'static str) -> Read<&'a [u8]> {
        match self.bytes[self.at..].get(..len) {
            Some(taken) => {
                self.at += len;
                Ok(taken)
            }
            None => Err(self.error(expected)),
        }
    }

    fn byte(&mut self, expected: &'static str) -> Read<u8> {
        Ok(self.take(1, expected)?[0])
    }

    fn word(&mut self) -> Read<u64> {
        let mut word = [0; 8];
        word.copy_from_slice(self.take(8, "eight bytes")?);
        Ok(u64::from_le_bytes(word))
    }

    /// A varint in its shortest form that `T` can hold.
    fn uint<T: TryFrom<u64>>(&mut self) -> Read<T> {
        let start = self.at;
        let malformed = FormatError::Malformed { offset: start, expected: "an integer of its range" };
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte("an integer")?;
            let bits = u64::from(byte & 0x7f);
            let fits = bits << shift >> shift == bits;
            if !fits || (byte == 0 && shift > 0) {
                return Err(malformed);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return T::try_from(value).map_err(|_| malformed);
            }
        }
        Err(malformed)
    }

    fn text(&mut self) -> Read<Box<str>> {
        let start = self.at;
        match std::str::from_utf8(self.data()?) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(FormatError::Malformed { offset: start, expected: "UTF-8 text" }),
        }
    }

    fn data(&mut self) -> Read<&'a [u8]> {
        let len = self.uint()?;
        self.take(len, "as many bytes as the length says")
    }

    fn option<T>(&mut self, some: impl FnOnce(&mut Self) -> Read<T>) -> Read<Option<T>> {
        match self.byte("0 or 1")? {
            0 => Ok(None),
            1 => some(self).map(Some),
            _ => {
                self.at -= 1;
                Err(self.error("0 or 1"))
            }
        }
    }

    /// `bytes_min`: what an item takes at least; a count beyond it is refused before
    /// anything is allocated.
    fn list<T>(&mut self, bytes_min: usize, mut one: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let start = self.at;
        let count: usize = self.uint()?;
        if count > (self.bytes.len() - self.at) / bytes_min {
            return Err(FormatError::Malformed {
                offset: start,
                expected: "a count that fits into the file",
            });
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(one(self)?);
        }
        Ok(items)
    }

    fn module(&mut self) -> Read<Module> {
        let mut module = self.plain_module()?;
        if self.at < self.bytes.len() {
            for work in &mut module.works {
                work.durable = self.option(Self::durable)?;
            }
            if module.works.iter().all(|work| work.durable.is_none()) {
                return Err(self.error("a durable work"));
            }
        }
        Ok(module)
    }

    fn durable(&mut self) -> Read<Durable> {
        Ok(Durable {
            id: self.option(Self::text)?,
            retry: self.option(|r| Ok(Retry { times: r.uint()?, wait_ms: r.uint()? }))?,
        })
    }

    fn plain_module(&mut self) -> Read<Module> {
        Ok(Module {
            files: self.list(2, |r| Ok(SourceFile { path: r.text()?, text: r.text()? }))?,
            constants: self.list(2, Self::constant)?,
            sites: self.list(1, Self::uint)?,
            slots: self.list(1, Self::uint)?,
            handler_slots: self.uint()?,
            functions: self.list(13, Self::function)?,
            init: self.option(|r| r.uint().map(FunctionIndex))?,
            works: self.list(10, Self::work)?,
            main: self.option(|r| r.uint().map(FunctionIndex))?,
            uses: self.uint()?,
        })
    }

    fn constant(&mut self) -> Read<Const> {
        match self.byte("a constant's kind")? {
            0 => Ok(Const::Number(f64::from_bits(self.word()?))),
            1 => Ok(Const::Str(self.text()?)),
            2 => Ok(Const::BigInt(self.text()?)),
            3 => Ok(Const::Data(self.data()?.into())),
            4 => {
                let part = |r: &mut Self| Ok(TemplatePart { cooked: r.option(Self::uint)?, raw: r.uint()? });
                Ok(Const::Template(self.list(2, part)?.into()))
            }
            5 => Ok(Const::Wtf8(self.data()?.into())),
            6 => Ok(Const::Private(self.text()?)),
            7 => {
                let slot = self.uint()?;
                let export = |r: &mut Self| Ok(NamespaceExport { name: r.uint()?, slot: r.uint()? });
                Ok(Const::Namespace { slot, exports: self.list(2, export)?.into() })
            }
            _ => {
                self.at -= 1;
                Err(self.error("a constant's kind"))
            }
        }
    }

    fn function(&mut self) -> Read<Function> {
        Ok(Function {
            name: self.uint()?,
            flags: self.uint()?,
            length: self.uint()?,
            parameters: self.uint()?,
            rest: self.option(Self::uint)?,
            registers: self.uint()?,
            captures: self.list(2, |r| match r.byte("a capture's kind")? {
                0 => r.uint().map(Capture::Register),
                1 => r.uint().map(Capture::Upvalue),
                _ => {
                    r.at -= 1;
                    Err(r.error("a capture's kind"))
                }
            })?,
            site_base: self.uint()?,
            site_count: self.uint()?,
            code: self.list(8, |r| r.word().map(Instr))?,
            handlers: self.list(4, |r| {
                Ok(ExceptionHandler {
                    start: r.uint()?,
                    end: r.uint()?,
                    target: r.uint()?,
                    register: r.uint()?,
                })
            })?,
            positions: self.list(4, Self::position)?,
            locals: self.list(4, |r| {
                Ok(LocalName { name: r.uint()?, register: r.uint()?, start: r.uint()?, end: r.uint()? })
            })?,
        })
    }

    fn position(&mut self) -> Read<Position> {
        Ok(Position { pc: self.uint()?, file: self.uint()?, start: self.uint()?, end: self.uint()? })
    }

    fn work(&mut self) -> Read<Work> {
        Ok(Work {
            name: self.text()?,
            version: self.option(Self::text)?,
            routes: self.list(8, |r| {
                Ok(Route {
                    method: r.text()?,
                    pattern: r.text()?,
                    action: r.action()?,
                    position: r.position()?,
                })
            })?,
            limits: WorkLimits {
                fuel: self.option(Self::uint)?,
                wall_ms: self.option(Self::uint)?,
                memory: self.option(Self::uint)?,
                stack_depth: self.option(Self::uint)?,
                fibers: self.option(Self::uint)?,
                effects: self.option(Self::uint)?,
            },
            static_seconds: self.option(Self::uint)?,
            durable: None,
        })
    }

    fn action(&mut self) -> Read<Action> {
        match self.byte("an action's kind")? {
            0 => self.uint().map(|f| Action::Function(FunctionIndex(f))),
            1 => self.uint().map(Action::Handler),
            2 => self.text().map(Action::File),
            3 => self.text().map(Action::Assets),
            4 => Ok(Action::Redirect(self.text()?, self.uint()?)),
            _ => {
                self.at -= 1;
                Err(self.error("an action's kind"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{disassemble, sample, verify};
    use forebay_base::rng::Rng;

    fn seeds() -> impl Iterator<Item = u64> {
        let (first, count) = match std::env::var("SEED") {
            Ok(seed) => (seed.parse().unwrap(), 1),
            Err(_) => (0, 400),
        };
        first..first + count
    }

    /// Whatever the bytes are, nothing panics, and what is accepted is canonical.
    fn survive(bytes: &[u8], seed: u64) {
        if let Ok(module) = decode(bytes) {
            assert!(encode(&module) == bytes, "not canonical: SEED={seed} cargo test -p forebay-bytecode");
            assert!(disassemble(&module).len() < 4096 + 200 * bytes.len());
            drop(verify(module));
        }
    }

    fn rehash(bytes: &mut [u8]) {
        let body = (bytes.len() - HEADER_BYTES) as u64;
        bytes[16..24].copy_from_slice(&body.to_le_bytes());
        let hash = file_hash(bytes);
        bytes[HASH_AT..HEADER_BYTES].copy_from_slice(&hash);
    }

    #[test]
    fn modules_come_back_as_they_were() {
        let sample = sample::module();
        assert_eq!(decode(&encode(&sample)), Ok(sample.clone()));
        assert_eq!(content_hash(&sample), content_hash(&sample.clone()));
        for seed in seeds() {
            let module = sample::random(&mut Rng::new(seed));
            assert_eq!(decode(&encode(&module)), Ok(module), "SEED={seed}");
        }
    }

    #[test]
    fn every_bit_counts() {
        let bytes = encode(&sample::module());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(decode(&damaged).is_err(), "bit {bit} of byte {at}");
            }
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn with_a_forged_hash_nothing_panics() {
        let good = encode(&sample::module());
        for at in HEADER_BYTES..good.len() {
            for value in [0, 1, 2, 0x7f, 0x80, 0xff, good[at].wrapping_add(1), good[at].wrapping_sub(1)] {
                let mut bytes = good.clone();
                bytes[at] = value;
                rehash(&mut bytes);
                survive(&bytes, 0);
            }
            let mut bytes = good[..at].to_vec();
            rehash(&mut bytes);
            survive(&bytes, 0);
        }
        for seed in seeds() {
            let mut rng = Rng::new(seed);
            let mut bytes = if rng.one_in(2) { good.clone() } else { encode(&sample::random(&mut rng)) };
            for _ in 0..20 {
                for _ in 0..=rng.below(3) {
                    let body = bytes.len() - HEADER_BYTES;
                    if body == 0 {
                        break;
                    }
                    let at = HEADER_BYTES + usize::try_from(rng.below(body as u64)).unwrap();
                    match rng.below(3) {
                        0 => bytes[at] = rng.next_u64().to_le_bytes()[0],
                        1 => bytes.insert(at, rng.next_u64().to_le_bytes()[0]),
                        _ => drop(bytes.remove(at)),
                    }
                }
                rehash(&mut bytes);
                survive(&bytes, seed);
            }
        }
    }

    #[test]
    fn a_count_allocates_no_more_than_the_file_has() {
        // A file whose first list says that it has 2^63 items.
        let mut bytes = encode(&Module::default());
        bytes.truncate(HEADER_BYTES);
        bytes.extend([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]);
        rehash(&mut bytes);
        let expected = "a count that fits into the file";
        assert_eq!(decode(&bytes), Err(FormatError::Malformed { offset: HEADER_BYTES, expected }));
    }

    #[test]
    fn the_layout_is_for_ever() {
        let hash = content_hash(&sample::module());
        let hex: String = hash.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex, "f315d9f5252dee092a1aa9cea465810226bee4034e3031bf13528cdf41747017",
            "a change of layout needs a new VERSION"
        );
    }
}
