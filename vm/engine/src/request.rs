//! The request of a task: the bytes that the module's `uses` says it can reach, and
//! `payload()` and `req` made from them when they are first asked for.

use crate::api::{RequestInput, Trap};
use crate::builtins::json::{self, Read};
use crate::ctx::Ctx;
use crate::mem::Mem;
use crate::object::Own;
use crate::shape::DICTIONARY;
use crate::throw::Throw;
use crate::value::{Ref, Value};
use crate::value_ref::ROW_COLUMNS_MAX;
use std::borrow::Cow;
use std::ops::Range;

/// A copy of the parts of a request; the buffer is reused by the slot's next task.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    pub(crate) method: Range<usize>,
    pub(crate) path: Range<usize>,
    pub(crate) query: Range<usize>,
    pub(crate) content_type: Range<usize>,
    pub(crate) ip: Range<usize>,
    pub(crate) body: Range<usize>,
    pub(crate) headers: Vec<(Range<usize>, Range<usize>)>,
    pub(crate) params: Vec<(Range<usize>, Range<usize>)>,
    pub(crate) payload: Value,
    pub(crate) object: Value,
    /// What was wrong with the body, once that has ended the task.
    pub(crate) why: Option<Box<str>>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            method: 0..0,
            path: 0..0,
            query: 0..0,
            content_type: 0..0,
            ip: 0..0,
            body: 0..0,
            headers: Vec::new(),
            params: Vec::new(),
            payload: Value::EMPTY,
            object: Value::EMPTY,
            why: None,
        }
    }
}

/// What `req` has, in this order.
const MEMBERS: [&str; 7] = ["method", "path", "ip", "params", "query", "headers", "cookies"];

/// Shapes that a core has learned of a blueprint's requests.
#[derive(Default)]
pub(crate) struct Shapes {
    object: Option<u32>,
    /// Of the last request's headers, if it is a plain one.
    headers: Option<u32>,
}

/// Bytes of request buffer that a slot keeps.
const KEEP_BYTES: usize = 64 * 1024;

/// The type that most bodies have.
const JSON: &[u8] = b"application/json";
const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// What the Content-Type says that a body is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Media {
    /// `application/json`, a type with the suffix `+json` (RFC 6839), or none was named.
    Json,
    Form,
    /// In another encoding than UTF-8.
    Charset,
    Other,
}

impl Media {
    fn of(field: &[u8]) -> Self {
        let mut parts = field.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let essence = parts.next().unwrap_or_default();
        let is_json = essence.is_empty()
            || essence.eq_ignore_ascii_case(JSON)
            || essence.len() > 5 && essence[essence.len() - 5..].eq_ignore_ascii_case(b"+json");
        let media = match (is_json, essence.eq_ignore_ascii_case(FORM)) {
            (true, _) => Self::Json,
            (_, true) => Self::Form,
            _ => return Self::Other,
        };
        let known = |charset: &[u8]| {
            let charset = charset.trim_ascii();
            let charset = charset.strip_prefix(b"\"").and_then(|c| c.strip_suffix(b"\"")).unwrap_or(charset);
            [&b"utf-8"[..], b"utf8", b"us-ascii"].iter().any(|name| charset.eq_ignore_ascii_case(name))
        };
        let charset = parts.filter_map(|part| {
            let at = memchr::memchr(b'=', part)?;
            part[..at].trim_ascii().eq_ignore_ascii_case(b"charset").then(|| &part[at + 1..])
        });
        if charset.into_iter().all(known) { media } else { Self::Charset }
    }
}

impl Request {
    pub(crate) fn clear(&mut self) {
        self.payload = Value::EMPTY;
        self.object = Value::EMPTY;
        self.why = None;
        if !self.bytes.is_empty() || self.bytes.capacity() > KEEP_BYTES {
            self.clear_parts();
        }
    }

    /// All parts of nothing are empty.
    fn clear_parts(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEEP_BYTES);
        self.headers.clear();
        self.params.clear();
        self.method = 0..0;
        self.body = 0..0;
        self.query = 0..0;
        self.content_type = 0..0;
    }

    fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Copies what `payload()` needs, and with `whole` what `req` needs.
    pub(crate) fn fill(&mut self, input: &RequestInput<'_>, whole: bool) {
        self.method = self.put(input.method.as_bytes());
        self.body = self.put(input.body);
        if !Self::is_json(input) {
            self.content_type = self.put(input.content_type.unwrap_or("").as_bytes());
        }
        if whole || input.body.is_empty() {
            self.query = self.put(input.query.as_bytes());
        }
        if !whole {
            return;
        }
        self.path = self.put(input.path.as_bytes());
        self.ip = self.put(input.ip.as_bytes());
        for (name, value) in input.params {
            let pair = (self.put(name.as_bytes()), self.put(value.as_bytes()));
            self.params.push(pair);
        }
        let mut headers = std::mem::take(&mut self.headers);
        input.headers.each(&mut |name, value| {
            let name = self.put(name);
            self.bytes[name.clone()].make_ascii_lowercase();
            headers.push((name, self.put(value)));
        });
        self.headers = headers;
    }

    /// Whether its type is the usual one, or none: others are looked at when the body is read.
    fn is_json(input: &RequestInput<'_>) -> bool {
        input.content_type.is_none_or(|media| {
            media.as_bytes().eq_ignore_ascii_case(JSON) || Media::of(media.as_bytes()) == Media::Json
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn text(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// The body.
    pub(crate) fn body(&self) -> &[u8] {
        self.text(&self.body)
    }

    /// So long that others are to have their turn while it is read; not if it is all spaces.
    pub(crate) fn is_long(&self) -> bool {
        let body = self.body();
        body.len() > json::PIECE_BYTES && !body.trim_ascii_start().is_empty()
    }

    fn media(&self) -> Media {
        Media::of(self.text(&self.content_type))
    }

    /// Ends the task: its body is of a type that `payload()` doesn't read.
    fn refuse_media(&mut self) -> Throw {
        let media = String::from_utf8_lossy(self.text(&self.content_type)).into_owned();
        let why = format!(
            "the body must be application/json or application/x-www-form-urlencoded, in UTF-8; it is {}",
            media.trim().chars().take(MEDIA_SHOWN_MAX).collect::<String>()
        );
        self.why = Some(why.into());
        Throw::Trap(Trap::MediaType)
    }

    /// Ends the task: its body isn't what it should be.
    fn refuse_body(&mut self, why: String) -> Throw {
        self.why = Some(why.into());
        Throw::Trap(Trap::BadRequest)
    }

    /// The body as text.
    pub(crate) fn utf8(&mut self) -> Result<(), Throw> {
        match std::str::from_utf8(self.body()) {
            Ok(_) => Ok(()),
            Err(error) => {
                let at = error.valid_up_to();
                let byte = self.body().get(at).copied().unwrap_or_default();
                Err(self.refuse_body(format!("the body is not UTF-8: byte 0x{byte:02x} at position {at}")))
            }
        }
    }

    /// The exception, or the end of the task, that the body is.
    fn fault(&mut self, error: json::JsonError) -> Throw {
        let body = self.body();
        let why = match error {
            json::JsonError::Throw(throw @ (Throw::Trap(_) | Throw::Again)) => return throw,
            json::JsonError::Syntax(at) => {
                let message = json::message(body, at);
                let before = &body[..at.min(body.len())];
                let line = memchr::memchr_iter(b'\n', before).count() + 1;
                let start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
                let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
                match at < body.len() {
                    true => format!("{message} (line {line}, column {column})"),
                    false => format!("{message}, at position {}", body.len()),
                }
            }
            json::JsonError::Depth => "JSON is nested too deeply".to_owned(),
            // An integer beyond all bounds: the client's fault, not the script's.
            json::JsonError::Throw(_) => "JSON has a number that is too large".to_owned(),
        };
        self.refuse_body(format!("the body is not JSON: {why}"))
    }
}

/// Characters of a foreign media type in an answer.
const MEDIA_SHOWN_MAX: usize = 100;

/// How bodies are read.
const BODY: Read = Read { big_ints: true, depth: forebay_base::limits::VALUE_DEPTH_MAX };

impl Ctx<'_> {
    /// `payload()`. [`Throw::Again`]: the body is long, and the slice is over; the call that comes next goes on.
    pub(crate) fn payload(&mut self) -> Result<Value, Throw> {
        let request = &self.task.request;
        if !request.payload.is_empty() || !request.is_long() || request.media() != Media::Json {
            return self.mem.payload(&mut self.task.request);
        }
        let value = self.long_json_body()?;
        self.task.request.payload = value;
        Ok(value)
    }

    /// A JSON body that is read in pieces.
    pub(crate) fn long_json_body(&mut self) -> Result<Value, Throw> {
        let goes_on = self.task.json.as_ref().is_some_and(|paused| paused.is_body());
        if !goes_on && !self.task.request.body().is_ascii() {
            self.task.request.utf8()?;
        }
        self.parse_long_body(BODY).map_err(|error| self.task.request.fault(error))
    }
}

impl Mem<'_> {
    /// The request of a task that begins. A short body that only `payload()` can reach is read at once if its form is
    /// known: no byte of it is copied.
    #[inline(always)]
    pub(crate) fn take_request(
        &mut self,
        request: &mut Request,
        input: &RequestInput<'_>,
        whole: bool,
    ) -> Result<(), Throw> {
        if !whole
            && Request::is_json(input)
            && let Some(value) = self.read_flat(input.body)
        {
            request.payload = value;
            return Ok(());
        }
        request.fill(input, whole);
        self.heap.charge_outside(request.len())
    }

    /// `payload()`: JSON or form body, the query on GET and HEAD, `{}` if absent.
    pub(crate) fn payload(&mut self, request: &mut Request) -> Result<Value, Throw> {
        if !request.payload.is_empty() {
            return Ok(request.payload);
        }
        let method = request.text(&request.method);
        let value = if matches!(method, b"GET" | b"HEAD") && request.body.is_empty() {
            self.form(request.text(&request.query))?
        } else if request.body().trim_ascii().is_empty() {
            self.new_object(2)?.object()
        } else {
            match request.media() {
                Media::Json => self.json_body(request)?,
                Media::Form => self.form(request.body())?,
                Media::Charset | Media::Other => return Err(request.refuse_media()),
            }
        };
        request.payload = value;
        Ok(value)
    }

    /// A JSON body; malformed ends the task with [`Trap::BadRequest`].
    pub(crate) fn json_body(&mut self, request: &mut Request) -> Result<Value, Throw> {
        if let Some(value) = self.read_flat(request.body()) {
            return Ok(value);
        }
        if !request.body().is_ascii() {
            request.utf8()?;
        }
        match json::parse(self, request.body(), BODY) {
            Ok(value) => {
                self.learn_flat(request.body(), value);
                Ok(value)
            }
            Err(error) => Err(request.fault(error)),
        }
    }

    /// `a=1&b=x+y`: a map of strings; a name that comes again makes an array.
    pub(crate) fn form(&mut self, bytes: &[u8]) -> Result<Value, Throw> {
        let object = self.new_object(4)?;
        for pair in bytes.split(|b| *b == b'&').filter(|p| !p.is_empty()) {
            let at = memchr::memchr(b'=', pair).unwrap_or(pair.len());
            let name = decode(&pair[..at]);
            let value = decode(pair.get(at + 1..).unwrap_or_default());
            self.add_pair(object, &name, &value)?;
        }
        self.heap.work += bytes.len() as u64 / 4;
        Ok(object.object())
    }

    fn add_pair(&mut self, object: Ref, name: &[u8], value: &[u8]) -> Result<(), Throw> {
        let value = self.heap.new_string(value)?;
        let name = self.heap.new_string(name)?;
        let key = self.key_of_string(name)?;
        match self.get_own(object, key)? {
            Own::Data(old, _) if self.is_kind(old, crate::heap::kind::ARRAY) => {
                self.array_push(old.as_ref(), value)
            }
            Own::Data(old, _) => {
                let list = self.new_array_of(&[old, value])?;
                self.define_data(object, key, list.object())
            }
            _ => self.define_data(object, key, value),
        }
    }

    /// `req`.
    pub(crate) fn request_object(&mut self, request: &mut Request) -> Result<Value, Throw> {
        if !request.object.is_empty() {
            return Ok(request.object);
        }
        if request.text(&request.method) == b"LISTEN" {
            // No request but a notification of the database, which the worker has written as JSON. No HTTP request has
            // this method: it has no routes.
            request.object = self.json_body(request)?;
            return Ok(request.object);
        }
        let method = self.heap.new_string(request.text(&request.method))?;
        let path = self.heap.new_string(request.text(&request.path))?;
        let ip = self.heap.new_string(request.text(&request.ip))?;
        let params = self.new_object(4)?;
        for (name, value) in &request.params {
            let (name, value) = (request.text(name), self.heap.new_string(request.text(value))?);
            let name = self.heap.new_string(name)?;
            let key = self.key_of_string(name)?;
            self.define_data(params, key, value)?;
        }
        let query = self.form(request.text(&request.query))?;
        let cookies = self.new_object(4)?;
        for (name, value) in &request.headers {
            if request.text(name) == b"cookie" {
                self.cookies(cookies, request.text(value))?;
            }
        }
        let headers = match self.known_headers(request)? {
            Some(headers) => headers,
            None => self.headers(request)?,
        };
        let values = [method, path, ip, params.object(), query, headers.object(), cookies.object()];
        let proto = self.local.known.request;
        let object = match self.shape_of_request()? {
            Some(shape) => {
                // With room for one more.
                let mut slots = [Value::UNDEFINED; MEMBERS.len() + 1];
                slots[..values.len()].copy_from_slice(&values);
                self.new_row_of(proto, shape, &slots)?
            }
            None => {
                let object = self.new_plain(proto, 8)?;
                for (name, value) in MEMBERS.into_iter().zip(values) {
                    self.define_text(object, name, value)?;
                }
                object
            }
        };
        request.object = object.object();
        Ok(request.object)
    }

    /// The shape of every `req`.
    fn shape_of_request(&mut self) -> Result<Option<u32>, Throw> {
        if self.local.requests.object.is_none() {
            let mut keys = [Value::UNDEFINED; MEMBERS.len()];
            for (key, name) in keys.iter_mut().zip(MEMBERS) {
                *key = self.intern(name.as_bytes())?;
            }
            self.local.requests.object = self.shape_of_keys(&keys);
        }
        Ok(self.local.requests.object)
    }

    /// `req.headers` of a request with the same names in the same order as the last one, which most have.
    fn known_headers(&mut self, request: &Request) -> Result<Option<Ref>, Throw> {
        let Some(shape) = self.local.requests.headers else { return Ok(None) };
        let known = self.local.shapes.properties(shape);
        let same = known.len() == request.headers.len()
            && known
                .iter()
                .zip(&request.headers)
                .all(|(known, (name, _))| self.heap.str_bytes(known.key) == request.text(name));
        if !same {
            return Ok(None);
        }
        let mut values = [Value::UNDEFINED; ROW_COLUMNS_MAX];
        let count = request.headers.len();
        for (slot, (_, value)) in values.iter_mut().zip(&request.headers) {
            *slot = self.header_value(request.text(value))?;
        }
        // As many slots as any object has at least.
        let proto = self.local.known.object;
        self.new_row_of(proto, shape, &values[..count.max(2)]).map(Some)
    }

    /// `req.headers`.
    fn headers(&mut self, request: &Request) -> Result<Ref, Throw> {
        let headers = self.new_object(16)?;
        for (name, value) in &request.headers {
            let mut value = self.header_value(request.text(value))?;
            let name = self.heap.new_string(request.text(name))?;
            let key = self.key_of_string(name)?;
            if let Own::Data(old, _) = self.get_own(headers, key)? {
                // RFC 9110 section 5.3: fields of one name are one list.
                let comma = self.heap.new_string(b", ")?;
                let joined = self.heap.concat(old, comma)?;
                value = self.heap.concat(joined, value)?;
            }
            self.define_data(headers, key, value)?;
        }
        // One property for each: no name came twice, and none is a number. Its keys outlive the task.
        let shape = (self.heap.header(headers) >> 32) as u32;
        if shape != DICTIONARY
            && request.headers.len() <= ROW_COLUMNS_MAX
            && self.local.shapes.properties(shape).len() == request.headers.len()
        {
            self.local.requests.headers = Some(shape);
        }
        Ok(headers)
    }

    fn header_value(&mut self, bytes: &[u8]) -> Result<Value, Throw> {
        if let Some(value) = self.heap.ascii_of(bytes)? {
            return Ok(value);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.heap.new_string(text.as_bytes()),
            Err(_) => self.heap.new_string(String::from_utf8_lossy(bytes).as_bytes()),
        }
    }

    fn cookies(&mut self, object: Ref, header: &[u8]) -> Result<(), Throw> {
        for pair in header.split(|b| *b == b';') {
            let pair = pair.trim_ascii();
            let Some(at) = memchr::memchr(b'=', pair) else { continue };
            let value = decode(pair[at + 1..].trim_ascii());
            let name = String::from_utf8_lossy(&pair[..at]).into_owned();
            let value = self.heap.new_string(&value)?;
            self.define_text(object, &name, value)?;
        }
        Ok(())
    }

    /// Defines a property by its text.
    pub(crate) fn define_text(&mut self, object: Ref, name: &str, value: Value) -> Result<(), Throw> {
        let key = self.key_of_text(name)?;
        self.define_data(object, key, value)
    }
}

/// Percent-decoding with `+` as a space; what is no UTF-8 then is replaced.
fn decode(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'+' | 0x80..)) {
        return Cow::Borrowed(bytes);
    }
    let hex = |b: u8| char::from(b).to_digit(16);
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let pair = (bytes.get(at + 1).copied().and_then(hex), bytes.get(at + 2).copied().and_then(hex));
        match (byte, pair) {
            (b'%', (Some(high), Some(low))) => {
                out.push(u8::try_from(high << 4 | low).unwrap_or(0));
                at += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned().into_bytes())
}
