//! RegExp: constructor, exec, and what the protocol does at once where nothing is changed
//! (js/regexp.js has the protocol itself). The engine is `forebay-regex`.
//!
//! ```text
//!   REGEXP   word 4: source, word 5: flags (strings); own property lastIndex
//! ```
//! Programs are compiled once per core and kept by source and flags (bounded). A search charges the
//! slice's fuel; when that is used up in the middle, the native asks to be called again
//! ([`Throw::Again`]) and the search waits in the task. Calling it anew from the start gives the same
//! answer, so a saved task needs none of it.
#![expect(clippy::cast_possible_truncation, reason = "offsets of strings are below 2^32")]

use super::{Kind, Native};
use crate::api::Trap;
use crate::ctx::{Args, Ctx};
use crate::heap::kind;
use crate::mem::Mem;
use crate::object::{Descriptor, Key};
use crate::overlay::touched;
use crate::shape::attr;
use crate::throw::Throw;
use crate::value::{Ref, Value};
use forebay_regex::{Flags, Matcher, Program, Step, text};
use std::collections::HashMap;
use std::sync::Arc;

const fn helper(name: &'static str, length: u8, call: super::NativeFn) -> Native {
    Native { on: "", name, length, call, kind: Kind::Helper }
}

const fn method(name: &'static str, length: u8, call: super::NativeFn) -> Native {
    Native { on: "RegExp.prototype", name, length, call, kind: Kind::Method }
}

const fn getter(name: &'static str, call: super::NativeFn) -> Native {
    Native { on: "RegExp.prototype", name, length: 0, call, kind: Kind::Getter }
}

pub(crate) const NATIVES: &[Native] = &[
    Native { on: "", name: "RegExp", length: 2, call: construct, kind: Kind::Constructor("regexp") },
    Native { on: "RegExp", name: "escape", length: 1, call: escape, kind: Kind::Method },
    method("exec", 1, exec),
    method("test", 1, test),
    getter("dotAll", dot_all),
    getter("flags", flags),
    getter("global", global),
    getter("hasIndices", has_indices),
    getter("ignoreCase", ignore_case),
    getter("multiline", multiline),
    getter("source", source),
    getter("sticky", sticky),
    getter("unicode", unicode),
    helper("isPlain", 1, is_plain),
    helper("isRegExpObject", 1, is_regexp),
    helper("regexpCreate", 3, create_for),
    helper("regexpExecAt", 3, exec_with),
    helper("regexpSource", 1, source_of),
    helper("regexpFlags", 1, flags_of),
    helper("regexpMatches", 3, matches),
    helper("regexpReplace", 3, replace),
    helper("regexpSplit", 3, split),
    helper("matchIterator", 1, match_iterator),
    helper("iteratorState", 1, iterator_state),
];

/// Programs that a core keeps, and their bytes. Beyond either all are forgotten.
const PROGRAMS_MAX: usize = 512;
const PROGRAM_BYTES_MAX: usize = 8 << 20;
/// Bytes of a search's memory that stay for the next one.
const SEARCH_KEEP: usize = 64 << 10;
/// A group that took no part, in lists of matches.
const NONE: u32 = u32::MAX;

/// What a core keeps for regular expressions.
#[derive(Default)]
pub(crate) struct Regexes {
    programs: HashMap<Box<[u8]>, Arc<Program>>,
    bytes: usize,
    spare: Option<Box<Search>>,
}

/// A search in a text, and the matches it has found.
#[derive(Debug, Default)]
pub(crate) struct Search {
    matcher: Matcher,
    /// Start and end of each group of each match, bytes.
    found: Vec<u32>,
    /// A matcher is under way.
    running: bool,
    /// Steps that it may still make although the slice is used up.
    lent: i64,
}

/// Steps that a search may make beyond its slice. A search that waits isn't saved: a task that is restored starts it
/// anew, and must get somewhere with it however small its slices are.
const SEARCH_STEPS_LENT: i64 = 4096;

/// `RegExp.escape(text)`: a pattern that matches the text and stays in one piece wherever it is put (ECMA-262 22.2.5.1).
fn escape(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    const LONGEST: usize = 6;
    let v = ctx.arg(a, 0);
    if !v.is_string() {
        let text = ctx.mem.show(v)?;
        return Err(Throw::type_error(format!("RegExp.escape takes a string, not {text}")));
    }
    let flat = ctx.heap.flat(v)?;
    let len = ctx.heap.str_bytes(flat).len();
    ctx.heap.check_room(len * LONGEST)?;
    ctx.heap.work += len as u64 / 4;
    let bytes = ctx.heap.str_bytes(flat);
    let mut out: Vec<u8> = Vec::with_capacity(len + len / 4);
    let mut at = 0;
    while at < bytes.len() {
        let (point, size) = super::text::decode(bytes, at);
        let byte = u8::try_from(point).unwrap_or(0);
        let first = at == 0 && byte.is_ascii_alphanumeric();
        let surrogate = (0xd800..0xe000).contains(&point);
        match byte {
            _ if first => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            b'^' | b'$' | b'\\' | b'.' | b'*' | b'+' | b'?' | b'(' | b')' | b'[' | b']' | b'{' | b'}'
            | b'|' | b'/' => {
                out.extend_from_slice(&[b'\\', byte]);
            }
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0b => out.extend_from_slice(b"\\v"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b',' | b'-' | b'=' | b'<' | b'>' | b'#' | b'&' | b'!' | b'%' | b':' | b';' | b'@' | b'~'
            | b'\'' | b'`' | b'"' => {
                out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
            }
            _ if surrogate || super::text::is_space(point) => {
                let hex = if point < 0x100 { format!("\\x{point:02x}") } else { format!("\\u{point:04x}") };
                out.extend_from_slice(hex.as_bytes());
            }
            _ => out.extend_from_slice(&bytes[at..at + size]),
        }
        at += size;
    }
    ctx.heap.new_string(&out)
}

impl Mem<'_> {
    /// A new regular expression; SyntaxError if there is no such pattern.
    pub(crate) fn new_regexp(&mut self, source: Value, flags: Value) -> Result<Value, Throw> {
        self.program(source, flags)?;
        let known = self.local.known;
        let r = self.new_object_of(kind::REGEXP, known.regexp, 2)?;
        self.heap.set(r, 4, source);
        self.heap.set(r, 5, flags);
        self.add_property(r, known.last_index, Value::ZERO, attr::WRITABLE)?;
        Ok(r.object())
    }

    /// What a literal in a script stands for: `/source/flags`, checked when it was built.
    pub(crate) fn regexp_literal(&mut self, literal: Value) -> Result<Value, Throw> {
        let bytes = self.heap.str_bytes(literal);
        let Some(slash) = memchr::memrchr(b'/', bytes).filter(|at| *at > 0) else {
            return Err(Throw::syntax_error("Invalid regular expression"));
        };
        let (source, flags) = (bytes[1..slash].to_vec(), bytes[slash + 1..].to_vec());
        let source = self.intern(&source)?;
        let flags = self.intern(&flags)?;
        self.new_regexp(source, flags)
    }

    /// The program of a source and flags (flat strings).
    fn program(&mut self, source: Value, flags: Value) -> Result<Arc<Program>, Throw> {
        let mut key = self.heap.str_bytes(flags).to_vec();
        key.push(b'/');
        key.extend_from_slice(self.heap.str_bytes(source));
        if let Some(program) = self.local.regexes.programs.get(&key[..]) {
            return Ok(Arc::clone(program));
        }
        let (flags, pattern) = (self.heap.str_bytes(flags), self.heap.str_bytes(source));
        let shown = String::from_utf8_lossy(pattern);
        let parsed = std::str::from_utf8(flags).ok().and_then(Flags::parse);
        let Some(parsed) = parsed else {
            let flags = String::from_utf8_lossy(flags);
            return Err(Throw::syntax_error(format!(
                "Invalid flags supplied to RegExp constructor '{flags}' (d, g, i, m, s, u and y are known)"
            )));
        };
        let program = Program::compile(pattern, parsed).map_err(|error| {
            Throw::syntax_error(format!("Invalid regular expression: /{shown}/{parsed}: {error}"))
        })?;
        // What compiling costs, in instructions.
        self.heap.work += 4000 + pattern.len() as u64 * 64;
        let program = Arc::new(program);
        let regexes = &mut self.local.regexes;
        if regexes.programs.len() >= PROGRAMS_MAX || regexes.bytes > PROGRAM_BYTES_MAX {
            regexes.programs.clear();
            regexes.bytes = 0;
        }
        regexes.bytes += program.memory() + key.len();
        regexes.programs.insert(key.into(), Arc::clone(&program));
        Ok(program)
    }

    fn program_of(&mut self, r: Ref) -> Result<Arc<Program>, Throw> {
        let (source, flags) = (self.heap.get(r, 4), self.heap.get(r, 5));
        self.program(source, flags)
    }
}

fn receiver(ctx: &Ctx<'_>, v: Value, name: &str) -> Result<Ref, Throw> {
    if ctx.is_kind(v, kind::REGEXP) {
        return Ok(v.as_ref());
    }
    Err(Throw::type_error(format!("RegExp.prototype.{name} called on a value that is no RegExp")))
}

/// `RegExp(pattern, flags)`: js/regexp.js looks into patterns that are objects.
fn construct(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    if ctx.arg(a, 0).is_object() {
        let (script, pattern, flags) = (ctx.own_value(), ctx.arg(a, 0), ctx.arg(a, 1));
        let target = if a.construct { ctx.this(a) } else { Value::UNDEFINED };
        return ctx.tail_call(script, Value::UNDEFINED, &[target, pattern, flags]);
    }
    let made = create(ctx, a)?;
    ctx.made(a, made)
}

/// `regexpCreate(pattern, flags, newTarget)`
fn create_for(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let made = create(ctx, a)?;
    let proto = ctx.mem.prototype_from(ctx.arg(a, 2), ctx.mem.local.known.regexp)?;
    ctx.heap.set(made.as_ref(), 1, proto);
    Ok(made)
}

/// RegExpCreate: undefined is the empty text.
fn create(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let empty = ctx.local.known.empty;
    let source = if ctx.arg(a, 0).is_undefined() { empty } else { ctx.str_arg(a, 0)? };
    let flags = if ctx.arg(a, 1).is_undefined() { empty } else { ctx.str_arg(a, 1)? };
    ctx.mem.new_regexp(source, flags)
}

fn is_regexp(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::bool(ctx.is_kind(ctx.arg(a, 0), kind::REGEXP)))
}

fn source_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let r = receiver(ctx, ctx.arg(a, 0), "source")?;
    Ok(ctx.heap.get(r, 4))
}

fn flags_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let r = receiver(ctx, ctx.arg(a, 0), "flags")?;
    Ok(ctx.heap.get(r, 5))
}

/// Whether nothing about a regular expression is changed: it has the shape that it was made with, lastIndex is a
/// Number, and RegExp.prototype is untouched.
fn plain(ctx: &Ctx<'_>, v: Value) -> bool {
    if !ctx.is_kind(v, kind::REGEXP) || ctx.heap.touched & touched::REGEXP != 0 {
        return false;
    }
    let r = v.as_ref();
    let known = &ctx.local.known;
    let shape = ctx.mem.local.shapes.properties(ctx.mem.shape(r));
    ctx.heap.get(r, 1) == known.regexp
        && shape.len() == 1
        && ctx.mem.local.shapes.find(ctx.mem.shape(r), known.last_index).is_some_and(|(slot, attrs)| {
            attrs == attr::WRITABLE && ctx.mem.at_cache_slot(r, ctx.mem.cache_slot(r, slot)).is_number()
        })
}

fn is_plain(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(Value::bool(plain(ctx, ctx.arg(a, 0))))
}

/// The flag getters; undefined for RegExp.prototype itself.
fn flag(ctx: &mut Ctx<'_>, a: Args, letter: u8, name: &str) -> Result<Value, Throw> {
    let this = ctx.this(a);
    if this == ctx.local.known.regexp {
        return Ok(Value::UNDEFINED);
    }
    let r = receiver(ctx, this, name)?;
    let flags = ctx.heap.get(r, 5);
    Ok(Value::bool(ctx.heap.str_bytes(flags).contains(&letter)))
}

fn dot_all(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    flag(ctx, a, b's', "dotAll")
}
fn global(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    flag(ctx, a, b'g', "global")
}
fn has_indices(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    flag(ctx, a, b'd', "hasIndices")
}
fn ignore_case(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    flag(ctx, a, b'i', "ignoreCase")
}
fn multiline(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    flag(ctx, a, b'm', "multiline")
}
fn sticky(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    flag(ctx, a, b'y', "sticky")
}
fn unicode(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    flag(ctx, a, b'u', "unicode")
}

fn flags(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let this = ctx.this(a);
    if !plain(ctx, this) {
        let script = ctx.own_value();
        return ctx.tail_call(script, this, &[]);
    }
    let program = ctx.mem.program_of(this.as_ref())?;
    let text = program.flags().to_string();
    ctx.mem.intern(text.as_bytes())
}

/// EscapeRegExpPattern: a text that between slashes means the same.
fn source(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let this = ctx.this(a);
    if this == ctx.local.known.regexp {
        return ctx.heap.new_string(b"(?:)");
    }
    let r = receiver(ctx, this, "source")?;
    let source = ctx.heap.get(r, 4);
    let bytes = ctx.heap.str_bytes(source);
    if bytes.is_empty() {
        return ctx.heap.new_string(b"(?:)");
    }
    let (mut out, mut in_class, mut at) = (Vec::with_capacity(bytes.len() + 8), false, 0);
    while at < bytes.len() {
        let (escaped, rest) = match bytes[at..] {
            [b'\\', ..] => (true, at + 1),
            _ => (false, at),
        };
        if escaped {
            if rest >= bytes.len() {
                out.push(b'\\');
                break;
            }
            at = rest;
        }
        let slash = if escaped { "\\" } else { "" };
        let (name, len) = match bytes[at..] {
            [b'\n', ..] => ("\\n", 1),
            [b'\r', ..] => ("\\r", 1),
            [0xe2, 0x80, 0xa8, ..] => ("\\u2028", 3),
            [0xe2, 0x80, 0xa9, ..] => ("\\u2029", 3),
            [b'/', ..] if !escaped && !in_class => ("\\/", 1),
            [c, ..] => {
                if !escaped {
                    in_class = (in_class || c == b'[') && c != b']';
                }
                out.extend_from_slice(slash.as_bytes());
                out.push(c);
                at += 1;
                continue;
            }
            [] => break,
        };
        out.extend_from_slice(name.as_bytes());
        at += len;
    }
    if out == bytes { Ok(source) } else { ctx.heap.new_string(&out) }
}

/// Byte offset of a code unit.
fn byte_of(ctx: &Ctx<'_>, s: Value, unit: usize) -> usize {
    if ctx.heap.is_ascii(s) { unit } else { text::advance(ctx.heap.str_bytes(s), 0, unit).0 }
}

/// Code units of byte offsets that mostly go up.
struct Units {
    at: usize,
    units: usize,
}

impl Units {
    fn start() -> Self {
        Self { at: 0, units: 0 }
    }

    fn of(&mut self, ctx: &mut Ctx<'_>, s: Value, at: usize) -> usize {
        if ctx.mem.heap.is_ascii(s) {
            return at;
        }
        let bytes = ctx.mem.heap.str_bytes(s);
        if at < self.at {
            *self = Self::start();
        }
        let work = (at - self.at) as u64 / 32;
        let units = self.units + text::units(&bytes[self.at..], at - self.at);
        if !text::is_half(bytes, at) {
            *self = Self { at, units };
        }
        ctx.mem.heap.work += work;
        units
    }
}

/// Bytes `from..to` of a flat string, which may cut pairs in half.
fn part(ctx: &mut Ctx<'_>, s: Value, from: usize, to: usize) -> Result<Value, Throw> {
    if from >= to {
        return Ok(ctx.mem.local.known.empty);
    }
    let heap = &mut *ctx.mem.heap;
    let bytes = heap.str_bytes(s);
    if to - from == 1 {
        return Ok(ctx.mem.local.known.chars[usize::from(bytes[from] & 0x7f)]);
    }
    if heap.is_ascii(s) {
        return heap.substring(s, from as u32, to as u32);
    }
    if text::is_half(bytes, from) || text::is_half(bytes, to) {
        let (from, to) = (text::units(bytes, from), text::units(bytes, to));
        return heap.substring(s, from as u32, to as u32);
    }
    let part = bytes[from..to].to_vec();
    heap.new_string(&part)
}

impl Ctx<'_> {
    /// The search that was interrupted, or a new one.
    fn take_search(&mut self) -> Box<Search> {
        match self.task.search.take() {
            Some(search) => search,
            None => {
                let mut search = self.mem.local.regexes.spare.take().unwrap_or_default();
                search.running = false;
                search.lent = SEARCH_STEPS_LENT;
                search.found.clear();
                search
            }
        }
    }

    /// Keeps the search for the call that goes on, or its memory for the next.
    fn give_search<T>(&mut self, mut search: Box<Search>, result: &Result<T, Throw>) {
        if matches!(result, Err(Throw::Again)) {
            self.task.search = Some(search);
            return;
        }
        if search.matcher.memory() > SEARCH_KEEP {
            search.matcher.shrink(SEARCH_KEEP);
        }
        search.found.clear();
        search.found.shrink_to(SEARCH_KEEP / 4);
        self.mem.local.regexes.spare = Some(search);
    }

    /// One match at or after byte `at`.
    fn find_match(
        &mut self,
        search: &mut Search,
        program: &Program,
        s: Value,
        at: usize,
        sticky: bool,
    ) -> Result<bool, Throw> {
        let heap = &mut *self.mem.heap;
        self.fuel -= std::mem::take(&mut heap.work).cast_signed();
        let (bytes, ascii) = (heap.str_bytes(s), heap.is_ascii(s));
        if !search.running {
            search.matcher.start(program, bytes, ascii, at, sticky, heap.free_bytes());
            search.running = true;
        }
        let budget = self.fuel.max(search.lent);
        let mut left = budget;
        let step = search.matcher.step(program, bytes, &mut left);
        self.fuel -= budget - left;
        search.lent = (search.lent - (budget - left)).max(0);
        search.running = step == Step::OutOfBudget;
        match step {
            Step::Match => Ok(true),
            Step::NoMatch => Ok(false),
            Step::OutOfBudget => Err(Throw::Again),
            Step::OutOfMemory => Err(Throw::Trap(Trap::Memory)),
        }
    }

    /// All matches from the start of the text, as a global (sticky) regular expression finds them; the first only
    /// if it isn't global. `most`: how many at most; `splits`: as split looks for them.
    fn find_all(
        &mut self,
        search: &mut Search,
        program: &Program,
        s: Value,
        from: usize,
    ) -> Result<(), Throw> {
        let flags = program.flags();
        let groups = program.groups();
        loop {
            let len = self.mem.heap.string_bytes_len(s);
            let at = match search.found.len().checked_sub(groups * 2) {
                None => from,
                Some(_) if !flags.global => return Ok(()),
                Some(last) => {
                    let (start, end) = (search.found[last] as usize, search.found[last + 1] as usize);
                    let bytes = self.mem.heap.str_bytes(s);
                    if end > start {
                        end
                    } else if end >= len {
                        return Ok(());
                    } else if flags.unicode {
                        end + text::decode(bytes, end).1
                    } else {
                        text::advance(bytes, end, 1).0
                    }
                }
            };
            if !self.find_match(search, program, s, at, flags.sticky)? {
                return Ok(());
            }
            for group in 0..groups {
                let (from, to) = search.matcher.group(group).unwrap_or((NONE as usize, NONE as usize));
                search.found.extend([from as u32, to as u32]);
            }
            self.fuel -= groups as i64 + 2;
            if search.found.len() * 4 > self.mem.heap.free_bytes() {
                return Err(Throw::Trap(Trap::Memory));
            }
        }
    }

    fn captures(&mut self, s: Value, found: &[u32]) -> Result<Vec<Value>, Throw> {
        let mut values = Vec::with_capacity(found.len() / 2);
        for pair in found.chunks_exact(2) {
            let capture = pair[0] != NONE && pair[1] != NONE;
            values.push(if capture {
                part(self, s, pair[0] as usize, pair[1] as usize)?
            } else {
                Value::UNDEFINED
            });
        }
        Ok(values)
    }

    /// The `groups` object of a match: the values of named groups.
    fn named(&mut self, program: &Program, values: &[Value]) -> Result<Value, Throw> {
        if program.names().len() == 0 {
            return Ok(Value::UNDEFINED);
        }
        let object = self.mem.new_plain(Value::NULL, program.names().len() as u32)?;
        for (name, groups) in program.names() {
            let value = groups.iter().map(|g| values[*g as usize]).find(|v| !v.is_undefined());
            self.mem.define_text(object, name, value.unwrap_or_default())?;
        }
        Ok(object.object())
    }

    /// The array that `exec` returns.
    fn result(
        &mut self,
        program: &Program,
        s: Value,
        found: &[u32],
        units: &mut Units,
    ) -> Result<Value, Throw> {
        let values = self.captures(s, found)?;
        let index = Value::from_usize(units.of(self, s, found[0] as usize));
        let array = self.mem.new_array_of(&values)?;
        let known = self.mem.local.known;
        let groups = self.named(program, &values)?;
        self.mem.add_property(array, known.index, index, attr::DEFAULT)?;
        self.mem.add_property(array, known.input, s, attr::DEFAULT)?;
        let key = self.mem.key_of_text("groups")?;
        self.mem.define_own(array, key, &Descriptor::data(groups, attr::DEFAULT))?;
        if program.flags().has_indices {
            let mut pairs = Vec::new();
            for pair in found.chunks_exact(2) {
                pairs.push(if pair[0] == NONE || pair[1] == NONE {
                    Value::UNDEFINED
                } else {
                    let from = units.of(self, s, pair[0] as usize);
                    let to = units.of(self, s, pair[1] as usize);
                    self.mem.new_array_of(&[Value::from_usize(from), Value::from_usize(to)])?.object()
                });
            }
            let indices = self.mem.new_array_of(&pairs)?;
            let groups = self.named(program, &pairs)?;
            self.mem.define_own(indices, key, &Descriptor::data(groups, attr::DEFAULT))?;
            let key = self.mem.key_of_text("indices")?;
            self.mem.define_own(array, key, &Descriptor::data(indices.object(), attr::DEFAULT))?;
        }
        Ok(array.object())
    }

    /// RegExpBuiltinExec from `last`, up to what it returns: whether there is a match (in `search.found`).
    fn exec_at(&mut self, search: &mut Search, r: Ref, s: Value, last: f64) -> Result<bool, Throw> {
        let program = self.mem.program_of(r)?;
        let flags = program.flags();
        let moves = flags.global || flags.sticky;
        let last = if moves { last } else { 0.0 };
        let found = if last > f64::from(self.mem.heap.string_len(s)) {
            false
        } else {
            #[expect(clippy::cast_sign_loss, reason = "ToLength")]
            let at = byte_of(self, s, last as usize);
            self.find_match(search, &program, s, at, flags.sticky)?
        };
        if found {
            search.found.clear();
            for group in 0..program.groups() {
                let (from, to) = search.matcher.group(group).unwrap_or((NONE as usize, NONE as usize));
                search.found.extend([from as u32, to as u32]);
            }
        }
        if moves {
            let to = if found { Units::start().of(self, s, search.found[1] as usize) } else { 0 };
            self.set_last_index(r, to)?;
        }
        Ok(found)
    }

    /// Sets lastIndex where that changes anything.
    fn set_last_index(&mut self, r: Ref, to: usize) -> Result<(), Throw> {
        let key = Key::Atom(self.mem.local.known.last_index);
        if r.space() != self.mem.heap.own() && self.mem.get_plain(r, key)?.as_number() == Some(to as f64) {
            return Ok(());
        }
        self.mem.put(r, key, Value::from_usize(to))?;
        Ok(())
    }

    /// lastIndex, if it is a Number (ToLength); else a script must make it one.
    fn last_index(&mut self, r: Ref) -> Result<Option<f64>, Throw> {
        let v = self.mem.get_plain(r, Key::Atom(self.mem.local.known.last_index))?;
        Ok(v.as_number()
            .map(|n| if n.is_nan() { 0.0 } else { n.trunc().clamp(0.0, 9_007_199_254_740_991.0) }))
    }
}

/// Runs `f` with a search that outlives an interruption.
fn with_search<T>(
    ctx: &mut Ctx<'_>,
    f: impl FnOnce(&mut Ctx<'_>, &mut Search) -> Result<T, Throw>,
) -> Result<T, Throw> {
    let mut search = ctx.take_search();
    let result = f(ctx, &mut search);
    ctx.give_search(search, &result);
    result
}

fn exec_result(ctx: &mut Ctx<'_>, r: Ref, s: Value, last: f64) -> Result<Value, Throw> {
    with_search(ctx, |ctx, search| {
        if !ctx.exec_at(search, r, s, last)? {
            return Ok(Value::NULL);
        }
        let program = ctx.mem.program_of(r)?;
        let found = std::mem::take(&mut search.found);
        let result = ctx.result(&program, s, &found, &mut Units::start());
        search.found = found;
        result
    })
}

fn exec(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let this = ctx.this(a);
    let r = receiver(ctx, this, "exec")?;
    let s = ctx.str_arg(a, 0)?;
    match ctx.last_index(r)? {
        Some(last) => exec_result(ctx, r, s, last),
        None => {
            let script = ctx.own_value();
            ctx.tail_call(script, this, &[s])
        }
    }
}

/// `regexpExecAt(regexp, text, lastIndex)`
fn exec_with(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let r = receiver(ctx, ctx.arg(a, 0), "exec")?;
    let s = ctx.str_arg(a, 1)?;
    let last = ctx.num_arg(a, 2)?;
    exec_result(ctx, r, s, last)
}

fn test(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let this = ctx.this(a);
    if !plain(ctx, this) {
        let (script, s) = (ctx.own_value(), ctx.arg(a, 0));
        return ctx.tail_call(script, this, &[s]);
    }
    let s = ctx.str_arg(a, 0)?;
    let r = this.as_ref();
    let last = ctx.last_index(r)?.unwrap_or(0.0);
    with_search(ctx, |ctx, search| Ok(Value::bool(ctx.exec_at(search, r, s, last)?)))
}

/// Searches a plain regular expression all over a text; then `f` with what was found.
fn over_all<T>(
    ctx: &mut Ctx<'_>,
    a: Args,
    f: impl FnOnce(&mut Ctx<'_>, &Program, Value, &[u32]) -> Result<T, Throw>,
) -> Result<T, Throw> {
    let r = receiver(ctx, ctx.arg(a, 0), "exec")?;
    let s = ctx.str_arg(a, 1)?;
    let program = ctx.mem.program_of(r)?;
    let flags = program.flags();
    with_search(ctx, |ctx, search| {
        let mut from = 0;
        if flags.sticky && !flags.global {
            let last = ctx.last_index(r)?.unwrap_or(0.0);
            if last > f64::from(ctx.mem.heap.string_len(s)) {
                ctx.set_last_index(r, 0)?;
                return f(ctx, &program, s, &[]);
            }
            #[expect(clippy::cast_sign_loss, reason = "ToLength")]
            let at = byte_of(ctx, s, last as usize);
            from = at;
        }
        ctx.find_all(search, &program, s, from)?;
        if flags.global {
            ctx.set_last_index(r, 0)?;
        } else if flags.sticky {
            let to = search.found.get(1).map_or(0, |end| Units::start().of(ctx, s, *end as usize));
            ctx.set_last_index(r, to)?;
        }
        let found = std::mem::take(&mut search.found);
        let result = f(ctx, &program, s, &found);
        search.found = found;
        result
    })
}

/// `regexpMatches(regexp, text, only)`: the matched texts; else for each match where it starts and ends and
/// the arguments of a replacer, three elements.
fn matches(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let only = ctx.arg(a, 2) == Value::TRUE;
    over_all(ctx, a, |ctx, program, s, found| {
        let list = ctx.mem.new_array(0)?;
        let mut units = Units::start();
        for one in found.chunks_exact(program.groups() * 2) {
            if only {
                let matched = part(ctx, s, one[0] as usize, one[1] as usize)?;
                ctx.mem.array_push(list, matched)?;
                continue;
            }
            let mut args = ctx.captures(s, one)?;
            let named = ctx.named(program, &args)?;
            let from = Value::from_usize(units.of(ctx, s, one[0] as usize));
            let to = Value::from_usize(units.of(ctx, s, one[1] as usize));
            args.extend([from, s]);
            if !named.is_undefined() {
                args.push(named);
            }
            let args = ctx.mem.new_array_of(&args)?.object();
            for v in [from, to, args] {
                ctx.mem.array_push(list, v)?;
            }
        }
        ctx.mem.heap.work += found.len() as u64;
        Ok(list.object())
    })
}

/// `regexpReplace(regexp, text, template)`
fn replace(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let template = ctx.str_arg(a, 2)?;
    over_all(ctx, a, |ctx, program, s, found| {
        if found.is_empty() {
            return Ok(s);
        }
        let room = ctx.mem.heap.free_bytes();
        let (bytes, template) = (ctx.mem.heap.str_bytes(s), ctx.mem.heap.str_bytes(template));
        let (mut out, mut end) = (Vec::with_capacity(bytes.len() + 16), 0);
        let is_plain = !template.contains(&b'$');
        for one in found.chunks_exact(program.groups() * 2) {
            push(&mut out, bytes, end, one[0] as usize);
            if is_plain {
                super::text::push_text(&mut out, template);
            } else {
                expand(&mut out, template, bytes, one, program, room);
            }
            end = one[1] as usize;
            if out.len() > room {
                return Err(Throw::Trap(Trap::Memory));
            }
        }
        push(&mut out, bytes, end, bytes.len());
        ctx.mem.heap.work += out.len() as u64 / 8;
        ctx.mem.heap.new_string(&out)
    })
}

/// Appends bytes `from..to` of a text, which may cut pairs in half.
fn push(out: &mut Vec<u8>, bytes: &[u8], from: usize, to: usize) {
    if from >= to {
        return;
    }
    if text::is_half(bytes, from) || text::is_half(bytes, to) {
        let (from, to) = (text::units(bytes, from), text::units(bytes, to));
        return super::text::push_text(out, &super::text::slice(bytes, from, to));
    }
    super::text::push_text(out, &bytes[from..to]);
}

/// GetSubstitution. Stops as soon as `out` is larger than `room`: a template of many `$1` multiplies the text.
fn expand(out: &mut Vec<u8>, template: &[u8], bytes: &[u8], found: &[u32], program: &Program, room: usize) {
    let count = found.len() / 2 - 1;
    let group = |out: &mut Vec<u8>, n: usize| {
        if found[n * 2] != NONE && found[n * 2 + 1] != NONE {
            push(out, bytes, found[n * 2] as usize, found[n * 2 + 1] as usize);
        }
    };
    let mut at = 0;
    while let Some(dollar) = memchr::memchr(b'$', &template[at..]) {
        if out.len() > room {
            return;
        }
        super::text::push_text(out, &template[at..at + dollar]);
        let rest = &template[at + dollar + 1..];
        let digit = |i: usize| rest.get(i).filter(|b| b.is_ascii_digit()).map(|b| usize::from(b - b'0'));
        let taken = match rest.first() {
            Some(b'$') => {
                out.push(b'$');
                1
            }
            Some(b'&') => {
                group(out, 0);
                1
            }
            Some(b'`') => {
                push(out, bytes, 0, found[0] as usize);
                1
            }
            Some(b'\'') => {
                push(out, bytes, found[1] as usize, bytes.len());
                1
            }
            Some(b'0'..=b'9') => {
                let one = digit(0).unwrap_or(0);
                let two = digit(1).map(|d| one * 10 + d).filter(|n| (1..=count).contains(n));
                match two.or(Some(one).filter(|n| (1..=count).contains(n))) {
                    Some(n) => {
                        group(out, n);
                        1 + usize::from(two.is_some())
                    }
                    None => {
                        out.push(b'$');
                        0
                    }
                }
            }
            Some(b'<') if program.names().len() > 0 => match memchr::memchr(b'>', rest) {
                Some(close) => {
                    let name = &rest[1..close];
                    let groups = program.names().find(|(n, _)| n.as_bytes() == name).map(|(_, g)| g);
                    for n in groups.unwrap_or_default() {
                        group(out, *n as usize);
                    }
                    close + 1
                }
                None => {
                    out.push(b'$');
                    0
                }
            },
            _ => {
                out.push(b'$');
                0
            }
        };
        at += dollar + 1 + taken;
    }
    super::text::push_text(out, &template[at..]);
}

/// `regexpSplit(regexp, text, limit)`
fn split(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let r = receiver(ctx, ctx.arg(a, 0), "split")?;
    let s = ctx.str_arg(a, 1)?;
    let limit = ctx.num_arg(a, 2)?;
    let program = ctx.mem.program_of(r)?;
    let groups = program.groups() * 2;
    let len = ctx.mem.heap.string_bytes_len(s);
    if limit == 0.0 {
        return Ok(ctx.mem.new_array(0)?.object());
    }
    with_search(ctx, |ctx, search| {
        // `found` has the matches that split, then nothing else.
        loop {
            let p = search.found.len().checked_sub(groups).map_or(0, |last| search.found[last + 1] as usize);
            if (len == 0 && !search.found.is_empty()) || (len > 0 && p >= len) {
                break;
            }
            let mut q = p;
            let found = loop {
                if !ctx.find_match(search, &program, s, q, false)? {
                    break false;
                }
                let (from, to) = search.matcher.group(0).unwrap_or((len, len));
                if len == 0 || to != p {
                    break len == 0 || from < len;
                }
                // An empty piece: one further.
                let bytes = ctx.mem.heap.str_bytes(s);
                if from >= len {
                    break false;
                }
                q = if program.flags().unicode {
                    from + text::decode(bytes, from).1
                } else {
                    text::advance(bytes, from, 1).0
                };
                if q >= len {
                    break false;
                }
            };
            if !found {
                break;
            }
            for group in 0..program.groups() {
                let (from, to) = search.matcher.group(group).unwrap_or((NONE as usize, NONE as usize));
                search.found.extend([from as u32, to as u32]);
            }
            if search.found.len() * 4 > ctx.mem.heap.free_bytes() {
                return Err(Throw::Trap(Trap::Memory));
            }
        }
        let list = ctx.mem.new_array(0)?;
        if len == 0 {
            if search.found.is_empty() {
                ctx.mem.array_push(list, s)?;
            }
            return Ok(list.object());
        }
        let (found, mut p) = (std::mem::take(&mut search.found), 0);
        let full = |ctx: &Ctx<'_>| f64::from(ctx.array_len(list)) >= limit;
        for one in found.chunks_exact(groups) {
            let before = part(ctx, s, p, one[0] as usize)?;
            let mut values = vec![before];
            values.extend(ctx.captures(s, &one[2..])?);
            for v in values {
                ctx.mem.array_push(list, v)?;
                if full(ctx) {
                    return Ok(list.object());
                }
            }
            p = one[1] as usize;
        }
        ctx.mem.heap.work += found.len() as u64;
        search.found = found;
        let rest = part(ctx, s, p, len)?;
        ctx.mem.array_push(list, rest)?;
        Ok(list.object())
    })
}

/// Mode of the iterator that matchAll makes: its state is an object of js/regexp.js.
const MATCHES: u64 = 3;

fn match_iterator(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let proto = ctx.local.known.regexp_iterator;
    let it = ctx.mem.new_object_of(kind::ITERATOR, proto, 2)?;
    let state = ctx.arg(a, 0);
    ctx.heap.store(it, 3, MATCHES);
    ctx.heap.set(it, 4, state);
    ctx.heap.set(it, 5, Value::ZERO);
    Ok(it.object())
}

fn iterator_state(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if ctx.is_kind(v, kind::ITERATOR) && ctx.heap.load(v.as_ref(), 3) == MATCHES {
        return Ok(ctx.heap.get(v.as_ref(), 4));
    }
    Err(Throw::type_error("next method called on incompatible receiver"))
}
