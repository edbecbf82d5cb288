//! The answer of a task: what a returned value says about status, headers and body, and the body's text.
//!
//! A short body is written when the worker asks for it. One of megabytes would hold the core for its time, so what may
//! be long is written before the task is told to be done, as `JSON.stringify` writes a long text (builtins/json.rs):
//!
//! ```text
//!   the handler ends -> outcome -> Done                                     little memory used: written by write_body
//!                          |
//!                          +----> 64 KiB -> 64 KiB -> .. -> Done            the task keeps the text: Body
//!                                    |  ^
//!                                    v  |  SliceOver: others have their turn
//! ```
//!
//! Nothing of the task's code runs any more meanwhile, so that what is written is what was returned. The slice pays, not
//! the task's fuel, as for a body that is written afterwards.
#![expect(clippy::cast_possible_truncation, reason = "ranges are tested before each cast")]

use crate::api::{BodyKind, ResponseHead, TaskHandle};
use crate::builtins::json::{self, PIECE_BYTES, Pieces, Scratch, Write, Written};
use crate::ctx::Ctx;
use crate::heap::{OBJECT_WORDS, kind};
use crate::mem::Mem;
use crate::object::{Key, Own, flag};
use crate::throw::Throw;
use crate::value::{Value, space};
use crate::value_ref::ValueRef;
use crate::vm::{Vm, VmError};
use forebay_base::{ValueError, ValueSink, ValueSource};

/// The text of a long answer.
pub(crate) enum Body {
    /// So far; what is left is on the writer's stack.
    Begun(Vec<u8>, Box<Scratch>),
    /// All of it, or why there is none.
    Written(Result<Vec<u8>, String>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Begun(..)) { "Begun" } else { "Written" })
    }
}

/// How bodies are written.
const BODY: Write<'static> = Write { gap: b"", big_ints: true };

/// What the writer's end says of a body.
fn ended(written: Result<Written, Throw>, out: &mut Vec<u8>) -> Result<(), String> {
    match written {
        Ok(Written::Text) => Ok(()),
        Ok(Written::Nothing) => {
            out.extend_from_slice(b"null");
            Ok(())
        }
        Ok(Written::NeedsScript) => Err("the answer has getters or toJSON methods of the script".into()),
        Err(throw) => Err(format!("the answer can't be written as JSON: {throw:?}")),
    }
}

impl Ctx<'_> {
    /// Writes on at the answer of a task that has ended, if it may be long; false: the slice is over before the text is.
    #[inline(always)]
    pub(crate) fn write_answer(&mut self) -> bool {
        let module = self.mem.local.frozen[usize::from(space::BLUEPRINT)].arena.as_ref();
        let little = self.mem.heap.used() <= PIECE_BYTES && module.is_none_or(|a| a.bytes() <= PIECE_BYTES);
        little && self.task.body.is_none() || self.write_long_answer()
    }

    fn write_long_answer(&mut self) -> bool {
        let (begins, text, scratch) = match self.task.body.take() {
            Some(Body::Begun(text, scratch)) => (None, text, scratch),
            Some(written) => {
                self.task.body = Some(written);
                return true;
            }
            None => {
                let Some(Ok(value)) = self.task.outcome else { return true };
                if !self.may_be_long(value) {
                    return true;
                }
                let answer = answer(&mut self.mem, value);
                if answer.head.body != BodyKind::Json {
                    return true;
                }
                // Nothing is moved to another arena any more, and no slice has to end for it.
                let hard = self.mem.heap.hard_limit();
                self.mem.heap.set_soft_limit(hard);
                (Some(answer.body), Vec::new(), self.mem.local.json.take().unwrap_or_default())
            }
        };
        let (body, whole) = match self.write_pieces(begins, BODY, text, scratch) {
            Pieces::Ended(written, mut text) => {
                (Body::Written(ended(written, &mut text).map(|()| text)), true)
            }
            Pieces::Paused(text, scratch) => (Body::Begun(text, scratch), false),
        };
        self.task.body = Some(body);
        whole
    }

    /// Whether the text of an answer may have more than a piece: the task has made much, or returns what the module has,
    /// which is much.
    fn may_be_long(&self, value: Value) -> bool {
        self.mem.heap.used() > PIECE_BYTES || self.holds_of_module(value)
    }

    /// It is a list or object of the module's, or one of those stands in it.
    fn holds_of_module(&self, value: Value) -> bool {
        let of_module = |v: Value| v.is_object() && v.as_ref().space() == space::BLUEPRINT;
        if of_module(value) {
            return true;
        }
        if !value.is_object() {
            return false;
        }
        let object = value.as_ref();
        let header = self.mem.heap.header(object);
        match header as u8 {
            kind::RESPONSE => of_module(self.mem.heap.get(object, 4)),
            kind::OBJECT => {
                let inline = (header >> 16 & 0xff) as usize;
                let properties = self.mem.local.shapes.properties((header >> 32) as u32).len();
                self.mem
                    .heap
                    .values(object, OBJECT_WORDS, inline.min(properties))
                    .iter()
                    .any(|v| of_module(*v))
            }
            _ => false,
        }
    }
}

impl Vm {
    /// The head of a done task's answer.
    pub fn response(&mut self, task: TaskHandle) -> Option<ResponseHead> {
        let (mut mem, state) = self.parts(task)?;
        let Some(Ok(value)) = state.outcome else { return None };
        if let Some(status) = mem.flat_status(value) {
            let body = if matches!(status, 204 | 304) { BodyKind::Empty } else { BodyKind::Json };
            return Some(ResponseHead { status, body, has_headers: false });
        }
        Some(answer(&mut mem, value).head)
    }

    /// Calls `each` with the header fields that the script set, names as it wrote them.
    pub fn response_headers(&mut self, task: TaskHandle, each: &mut dyn FnMut(&str, &str)) {
        let Some((mut mem, state)) = self.parts(task) else { return };
        let Some(Ok(value)) = state.outcome else { return };
        let headers = answer(&mut mem, value).headers;
        if !headers.is_object() {
            return;
        }
        let list = ValueRef { heap: mem.heap, local: mem.local, value: headers };
        let mut fields: Vec<(String, String)> = Vec::new();
        let _ = list.emit(&mut Fields { out: &mut fields, key: String::new() });
        for (name, text) in &fields {
            each(name, text);
        }
    }

    /// Appends the body of a done task's answer.
    pub fn write_body(&mut self, task: TaskHandle, out: &mut Vec<u8>) -> Result<(), VmError> {
        let (mut mem, state) = self.parts(task).ok_or(VmError::Stale)?;
        let Some(Ok(value)) = state.outcome else { return Err(VmError::Body("there is no answer".into())) };
        match &state.body {
            Some(Body::Written(Ok(text))) => {
                out.extend_from_slice(text);
                return Ok(());
            }
            Some(Body::Written(Err(why))) => return Err(VmError::Body(why.clone())),
            _ if mem.write_flat(value, out) => return Ok(()),
            _ => {}
        }
        let answer = answer(&mut mem, value);
        match answer.head.body {
            BodyKind::Empty => Ok(()),
            BodyKind::Json => {
                let written = json::write(&mut mem, answer.body, BODY, out);
                ended(written, out).map_err(VmError::Body)
            }
            BodyKind::Text | BodyKind::Html => {
                let at = out.len();
                if !mem.heap.string_into(answer.body, out) {
                    let text = crate::builtins::text::well_formed(&out[at..]).into_owned();
                    out.truncate(at);
                    out.extend_from_slice(text.as_bytes());
                }
                Ok(())
            }
            BodyKind::Bytes => {
                let bytes = ValueRef { heap: mem.heap, local: mem.local, value: answer.body };
                out.extend_from_slice(bytes.as_bytes().unwrap_or_default());
                Ok(())
            }
        }
    }
}

/// An answer taken apart.
struct Answer {
    head: ResponseHead,
    body: Value,
    headers: Value,
}

/// The rules of docs: what a returned value says about status and body.
fn answer(mem: &mut Mem<'_>, value: Value) -> Answer {
    let plain = |status: u16, body: BodyKind, v: Value| Answer {
        head: ResponseHead { status, body, has_headers: false },
        body: v,
        headers: Value::UNDEFINED,
    };
    let kind_of = |mem: &Mem<'_>, v: Value| {
        if v.is_nullish() {
            BodyKind::Empty
        } else if v.is_string() {
            BodyKind::Text
        } else if mem.is_kind(v, kind::BYTES) {
            BodyKind::Bytes
        } else {
            BodyKind::Json
        }
    };
    if mem.is_kind(value, kind::RESPONSE) {
        let r = value.as_ref();
        let status = u16::try_from(mem.heap.load(r, 3)).unwrap_or(500);
        let (body, headers) = (mem.heap.get(r, 4), mem.heap.get(r, 5));
        let html = mem.heap.get(r, 6).is_string();
        let mut kind = kind_of(mem, body);
        if html && kind == BodyKind::Text {
            kind = BodyKind::Html;
        }
        if matches!(status, 204 | 304) {
            kind = BodyKind::Empty;
        }
        let head = ResponseHead { status, body: kind, has_headers: headers.is_object() };
        return Answer { head, body, headers };
    }
    match kind_of(mem, value) {
        BodyKind::Empty => plain(204, BodyKind::Empty, value),
        BodyKind::Json => {
            let mut status = 200;
            if value.is_object() && mem.heap.header(value.as_ref()) & flag::RETURNED != 0 {
                let key = Key::Atom(mem.local.known.status);
                if let Ok(Own::Data(v, _)) = mem.get_own(value.as_ref(), key)
                    && let Some(n) = v.as_number().filter(|n| (200.0..600.0).contains(n) && n.fract() == 0.0)
                {
                    status = n as u16;
                }
            }
            let body = if matches!(status, 204 | 304) { BodyKind::Empty } else { BodyKind::Json };
            plain(status, body, value)
        }
        other => plain(200, other, value),
    }
}

/// Collects a map of texts: header fields.
struct Fields<'a> {
    out: &'a mut Vec<(String, String)>,
    key: String,
}

impl Fields<'_> {
    #[expect(clippy::unnecessary_wraps, reason = "so that every method of the sink reads as one call")]
    fn put(&mut self, text: String) -> Result<(), ValueError> {
        self.out.push((self.key.clone(), text));
        Ok(())
    }
}

impl ValueSink for Fields<'_> {
    fn undefined(&mut self) -> Result<(), ValueError> {
        Ok(())
    }
    fn null(&mut self) -> Result<(), ValueError> {
        Ok(())
    }
    fn bool(&mut self, value: bool) -> Result<(), ValueError> {
        self.put(value.to_string())
    }
    fn int(&mut self, value: i64) -> Result<(), ValueError> {
        self.put(value.to_string())
    }
    fn float(&mut self, value: f64) -> Result<(), ValueError> {
        self.put(value.to_string())
    }
    fn big_int(&mut self, digits: &str) -> Result<(), ValueError> {
        self.put(digits.to_owned())
    }
    fn decimal(&mut self, digits: &str) -> Result<(), ValueError> {
        self.put(digits.to_owned())
    }
    fn str(&mut self, value: &str) -> Result<(), ValueError> {
        self.put(value.to_owned())
    }
    fn bytes(&mut self, value: &[u8]) -> Result<(), ValueError> {
        self.put(String::from_utf8_lossy(value).into_owned())
    }
    fn timestamp(&mut self, _: i64) -> Result<(), ValueError> {
        Err(ValueError::Unsupported("a Date in a header"))
    }
    fn begin_list(&mut self, _: Option<usize>) -> Result<(), ValueError> {
        Ok(())
    }
    fn end_list(&mut self) -> Result<(), ValueError> {
        Ok(())
    }
    fn begin_map(&mut self, _: Option<usize>) -> Result<(), ValueError> {
        Ok(())
    }
    fn key(&mut self, key: &str) -> Result<(), ValueError> {
        key.clone_into(&mut self.key);
        Ok(())
    }
    fn end_map(&mut self) -> Result<(), ValueError> {
        Ok(())
    }
    fn begin_row(&mut self, _: &[Box<str>]) -> Result<(), ValueError> {
        Ok(())
    }
    fn end_row(&mut self) -> Result<(), ValueError> {
        Ok(())
    }
}
