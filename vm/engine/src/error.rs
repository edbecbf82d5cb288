//! Error objects, stack traces, positions.

use crate::api::ErrorReport;
use crate::builtins::natives;
use crate::ctx::Ctx;
use crate::fiber::{Frame, NATIVE_FRAME};
use crate::heap::kind;
use crate::mem::Mem;
use crate::object::{Key, Own};
use crate::shape::attr;
use crate::throw::{ErrorKind, Throw};
use crate::value::Value;
use forebay_bytecode::Function;
use forebay_bytecode::module::Position;

/// Frames that a stack trace shows.
const TRACE_FRAMES_MAX: usize = 16;
/// Links of a chain of causes that a report shows: a chain may be a circle.
const CAUSES_MAX: usize = 8;

/// Where the instruction before `pc` comes from.
pub(crate) fn position_at(function: &Function, pc: u32) -> Option<Position> {
    let at = pc.saturating_sub(1);
    let next = function.positions.partition_point(|p| p.pc <= at);
    next.checked_sub(1).map(|i| function.positions[i])
}

/// Line and column, both from 1; columns count characters.
pub(crate) fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = memchr::memchr_iter(b'\n', before.as_bytes()).count() + 1;
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    (line, before[start..].chars().count() + 1)
}

impl Mem<'_> {
    /// An error object without a stack.
    pub(crate) fn new_error_object(&mut self, proto: Value, message: Value) -> Result<Value, Throw> {
        let r = self.new_object_of(kind::ERROR, proto, 0)?;
        if !message.is_undefined() {
            self.add_property(r, self.local.known.message, message, attr::HIDDEN)?;
        }
        Ok(r.object())
    }

    /// Text of a data property along the chain; empty if there is none.
    pub(crate) fn text_of(&mut self, v: Value, key: Value) -> String {
        if !v.is_object() {
            return String::new();
        }
        let found = self.get_plain(v.as_ref(), Key::Atom(key)).unwrap_or_default();
        if found.is_undefined() || found.is_object() {
            return String::new();
        }
        self.to_string(found).and_then(|s| self.heap.to_text(s)).unwrap_or_default()
    }

    /// `TypeError: message` of an error; something readable of anything else that was thrown.
    pub(crate) fn describe_error(&mut self, v: Value) -> String {
        let (name, message) = self.error_parts(v);
        if name.is_empty() { message } else { format!("{name}: {message}") }
    }

    fn error_parts(&mut self, v: Value) -> (String, String) {
        if self.is_kind(v, kind::ERROR) {
            let known = self.local.known;
            return (self.text_of(v, known.name), self.text_of(v, known.message));
        }
        if v.is_object() {
            let known = self.local.known;
            let message = self.text_of(v, known.message);
            let constructor = self.get_plain(v.as_ref(), Key::Atom(known.constructor)).unwrap_or_default();
            let made_by = self.text_of(constructor, known.name);
            return (
                if made_by == "Object" { String::new() } else { made_by },
                if message.is_empty() { "an object was thrown".to_owned() } else { message },
            );
        }
        if v.is_symbol() {
            return (String::new(), self.symbol_text(v).unwrap_or_default());
        }
        (String::new(), self.to_string(v).and_then(|s| self.heap.to_text(s)).unwrap_or_default())
    }

    /// What answers and logs say about an exception that ended a task.
    pub(crate) fn error_report(&mut self, v: Value, code: &str) -> ErrorReport {
        let (name, message) = self.error_parts(v);
        let stack = self.local.known.stack;
        let stack = self.text_of(v, stack);
        let trace = stack.split_once("\n    at ").map_or("", |(_, rest)| rest);
        let mut trace = if trace.is_empty() { String::new() } else { format!("    at {trace}") };
        let position = self.error_position(v);
        self.add_causes(v, &mut trace);
        self.add_database(v, &name, &mut trace);
        ErrorReport {
            code: code.into(),
            name: name.into(),
            message: message.into(),
            stack: trace.into(),
            position,
        }
    }

    /// Appends what a database said beside its message and its data: whoever is called at night looks that up.
    fn add_database(&mut self, v: Value, name: &str, trace: &mut String) {
        if name != "DatabaseError" {
            return;
        }
        let mut line = String::new();
        for (key, before) in [("code", "SQLSTATE "), ("constraint", "; constraint "), ("hint", "; hint: ")] {
            let Ok(atom) = self.intern(key.as_bytes()) else { return };
            let text = self.text_of(v, atom);
            if !text.is_empty() {
                line.push_str(before);
                line.push_str(&text);
            }
        }
        if !line.is_empty() {
            trace.push_str(if trace.is_empty() { "  " } else { "\n  " });
            trace.push_str(line.trim_start_matches("; "));
        }
    }

    /// Appends what an error was caused by, and that by what, each with its stack.
    fn add_causes(&mut self, v: Value, trace: &mut String) {
        let mut at = v;
        for link in 0..=CAUSES_MAX {
            if !self.is_kind(at, kind::ERROR) {
                return;
            }
            let Ok(key) = self.intern(b"cause") else { return };
            let cause = self.get_plain(at.as_ref(), Key::Atom(key)).unwrap_or_default();
            if cause.is_undefined() {
                return;
            }
            if !trace.is_empty() {
                trace.push('\n');
            }
            if link == CAUSES_MAX {
                trace.push_str("  ... and further causes");
                return;
            }
            trace.push_str("  caused by ");
            trace.push_str(&self.describe_error(cause));
            let stack = self.local.known.stack;
            let stack =
                if self.is_kind(cause, kind::ERROR) { self.text_of(cause, stack) } else { String::new() };
            if let Some((_, frames)) = stack.split_once("\n    at ") {
                trace.push_str("\n    at ");
                trace.push_str(frames);
            }
            at = cause;
        }
    }

    /// Word 3 of an error: (file + 1) << 48 | start, both of where it was made.
    fn error_position(&self, v: Value) -> Option<(u16, u32, u32)> {
        if !self.is_kind(v, kind::ERROR) {
            return None;
        }
        let word = self.heap.load(v.as_ref(), 3);
        let file = u16::try_from(word >> 48).ok()?.checked_sub(1)?;
        let start = u32::try_from(word & 0xffff_ffff).ok()?;
        let length = u32::try_from(word >> 32 & 0xffff).ok()?;
        Some((file, start, start + length))
    }
}

impl Ctx<'_> {
    /// An error with a stack, as the engine throws it.
    pub(crate) fn new_error(&mut self, kind: ErrorKind, message: &str) -> Result<Value, Throw> {
        let proto = self.mem.local.known.errors[kind as usize];
        let message = self.mem.heap.new_string(message.as_bytes())?;
        let error = self.mem.new_error_object(proto, message)?;
        self.capture_stack(error)?;
        Ok(error)
    }

    /// What a fiber goes on with when the promise or the host call that it waits for has failed. The host's
    /// errors have no stack yet: theirs is that of the call.
    pub(crate) fn throw_from_host(&mut self, error: Value) -> Result<Throw, Throw> {
        if self.mem.is_kind(error, kind::ERROR)
            && self.mem.heap.load(error.as_ref(), 3) == 0
            && self.mem.get_own(error.as_ref(), Key::Atom(self.mem.local.known.stack))? == Own::None
        {
            self.capture_stack(error)?;
        }
        Ok(Throw::Value(error))
    }

    /// Gives an error its `stack` and position: of the innermost frame of the blueprint's code.
    pub(crate) fn capture_stack(&mut self, error: Value) -> Result<(), Throw> {
        let mut text = self.mem.describe_error(error);
        let mut position = 0u64;
        let shown = |f: &&Frame| f.unit != NATIVE_FRAME || f.is_stepping();
        for frame in self.frames.iter().rev().filter(shown).take(TRACE_FRAMES_MAX) {
            if frame.unit == NATIVE_FRAME {
                let index = self.mem.heap.load(frame.closure.as_ref(), 3);
                if let Some(native) = usize::try_from(index).ok().and_then(|i| natives().get(i)) {
                    text.push_str(&format!("\n    at {}.{} (native)", native.on, native.name));
                }
                continue;
            }
            let unit = &self.mem.local.units[usize::from(frame.unit)];
            let Some(module) = &unit.module else { continue };
            let function = &module.functions[frame.function as usize];
            let name = match &module.constants[function.name as usize] {
                forebay_bytecode::Const::Str(s) => &**s,
                _ => "",
            };
            if frame.unit == 1 {
                if !name.is_empty() && !name.starts_with('%') {
                    text.push_str(&format!("\n    at {} (native)", name.split('/').next().unwrap_or(name)));
                }
                continue;
            }
            let Some(at) = position_at(function, frame.pc) else { continue };
            let Some(file) = module.files.get(usize::from(at.file)) else { continue };
            if position == 0 {
                let length = at.end.saturating_sub(at.start).min(0xffff);
                position = (u64::from(at.file) + 1) << 48 | u64::from(length) << 32 | u64::from(at.start);
            }
            let (line, column) = line_column(&file.text, at.start as usize);
            if name.is_empty() {
                text.push_str(&format!("\n    at {}:{line}:{column}", file.path));
            } else {
                text.push_str(&format!("\n    at {name} ({}:{line}:{column})", file.path));
            }
        }
        let r = error.as_ref();
        self.mem.heap.work += text.len() as u64 / 16;
        if self.mem.is_kind(error, kind::ERROR) {
            self.mem.heap.store(r, 3, position);
        }
        let stack = self.mem.heap.new_string(text.as_bytes())?;
        let key = self.mem.local.known.stack;
        if self.mem.get_own(r, Key::Atom(key))? == Own::None {
            self.mem.add_property(r, key, stack, attr::HIDDEN)?;
        }
        Ok(())
    }
}
