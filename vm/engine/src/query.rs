//! `db()` and `http()` as objects: a query collects calls until a verb ends it.
//!
//! Word 4 of a QUERY is an array: number, arguments (array), number, arguments, ... Word 3
//! is 1 once it has been carried out.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "numbers of calls are small, those of transactions were 32 bits before"
)]

use crate::builtins::{Kind, Native};
use crate::ctx::{Args, Ctx};
use crate::heap::{OBJECT_WORDS, kind};
use crate::mem::Mem;
use crate::throw::Throw;
use crate::value::{Ref, Value};
use forebay_bytecode::HostFn;

macro_rules! steps {
    ($($name:literal $f:ident),*) => {
        $(fn $f(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> { step(ctx, a, const { number_of($name) }) })*
        /// Calls that are collected.
        pub(crate) const STEPS: &[Native] = &[$(method("(query)", $name, 1, $f)),*];
        const STEP_NAMES: &[&str] = &[$($name),*];
    };
}
macro_rules! verbs {
    ($($name:literal $f:ident),*) => {
        $(fn $f(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> { verb(ctx, a, const { number_of($name) }) })*
        /// Calls that carry the query out.
        pub(crate) const VERBS: &[Native] = &[$(method("(query)", $name, 0, $f)),*];
        const VERB_NAMES: &[&str] = &[$($name),*];
    };
}
macro_rules! methods {
    ($($name:literal $f:ident $body:literal),*) => {
        $(fn $f(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> { send(ctx, a, $name, $body) })*
    };
}

steps! {
    "table" table, "from" from, "where" where_, "order" order, "limit" limit, "offset" offset,
    "select" select, "returning" returning, "all" all, "insert" insert, "update" update, "delete" delete,
    "and" and, "or" or, "in" in_, "notIn" not_in, "like" like, "ilike" ilike, "between" between,
    "isNull" is_null, "notNull" not_null, "join" join, "leftJoin" left_join, "distinct" distinct,
    "group" group, "having" having, "onConflict" on_conflict
}
verbs! {
    "get" get, "first" first, "count" count, "exists" exists, "find" find, "sum" sum, "avg" avg, "min" min,
    "max" max, "raw" raw, "toSQL" to_sql, "explain" explain, "notify" notify
}

/// Where a query is on its way, in its own word.
pub(crate) mod progress {
    /// Calls are collected.
    pub(crate) const NEW: u64 = 0;
    /// It was carried out, and nothing was called since.
    pub(crate) const DONE: u64 = 1;
    /// It was carried out, and more calls are collected.
    pub(crate) const OPEN: u64 = 2;
    /// The same, and it has conditions from before.
    pub(crate) const CONDITIONED: u64 = 3;
}

/// The call that the compiler makes of a lambda.
pub(crate) const LAMBDA: u32 = 0;

/// Numbers of verbs begin here; saved tasks carry numbers, so both lists are append-only.
const VERBS_FROM: u32 = 128;

/// The number under which a query keeps a call.
const fn number_of(name: &str) -> u32 {
    const fn at(names: &[&str], name: &str) -> Option<u32> {
        let mut index = 0;
        while index < names.len() {
            let (a, b) = (names[index].as_bytes(), name.as_bytes());
            let mut same = a.len() == b.len();
            let mut byte = 0;
            while same && byte < a.len() {
                same = a[byte] == b[byte];
                byte += 1;
            }
            if same {
                return Some(index as u32 + 1);
            }
            index += 1;
        }
        None
    }
    match (at(STEP_NAMES, name), at(VERB_NAMES, name)) {
        (Some(number), _) => number,
        (None, Some(number)) => VERBS_FROM + number - 1,
        (None, None) => LAMBDA,
    }
}

/// The name of a call, as the worker matches on it.
pub(crate) fn op_name(number: u32) -> &'static str {
    let Some(index) = (number as usize).checked_sub(1) else { return "%lambda" };
    let verb = number.checked_sub(VERBS_FROM).and_then(|verb| VERB_NAMES.get(verb as usize));
    STEP_NAMES.get(index).or(verb).copied().unwrap_or("?")
}

methods! {
    "GET" http_get false, "HEAD" http_head false, "DELETE" http_delete false,
    "POST" http_post true, "PUT" http_put true, "PATCH" http_patch true
}

const fn method(on: &'static str, name: &'static str, length: u8, call: crate::builtins::NativeFn) -> Native {
    Native { on, name, length, call, kind: Kind::Method }
}

const fn helper(name: &'static str, length: u8, call: crate::builtins::NativeFn) -> Native {
    Native { on: "", name, length, call, kind: Kind::Helper }
}

/// Natives of transactions and outbound requests.
pub(crate) const NATIVES: &[Native] = &[
    helper("txEnter", 1, tx_enter),
    helper("txBegin", 1, tx_begin),
    helper("txRun", 1, tx_run),
    helper("txEnd", 2, tx_end),
    helper("txPause", 1, tx_pause),
    helper("cursorOpen", 1, cursor_open),
    helper("cursorFetch", 3, cursor_fetch),
    helper("cursorClose", 1, cursor_close),
    method("(query)", "copy", 1, copy),
    method("(query)", "copyOut", 0, copy_out),
    method("(query)", "clone", 0, clone_query),
    method("(http)", "get", 1, http_get),
    method("(http)", "head", 1, http_head),
    method("(http)", "delete", 1, http_delete),
    method("(http)", "post", 2, http_post),
    method("(http)", "put", 2, http_put),
    method("(http)", "patch", 2, http_patch),
    method("(http_result)", "text", 0, body_text),
    method("(http_result)", "json", 0, body_json),
    method("(request)", "text", 0, request_text),
    method("(request)", "json", 0, request_json),
];

fn step(ctx: &mut Ctx<'_>, a: Args, number: u32) -> Result<Value, Throw> {
    let this = ctx.this(a);
    let args = ctx.args(a).to_vec();
    if args.iter().any(|arg| ctx.mem.is_callable(*arg)) {
        let name = op_name(number);
        return Err(Throw::type_error(format!(
            "{name}: a lambda becomes SQL when the app is built: write it in a chain that begins with db(), or with a variable that never holds anything but such a chain"
        )));
    }
    ctx.mem.add_query_op(this, number, &args)?;
    Ok(this)
}

fn verb(ctx: &mut Ctx<'_>, a: Args, number: u32) -> Result<Value, Throw> {
    let this = step(ctx, a, number)?;
    ctx.mem.heap.store(this.as_ref(), 3, progress::DONE);
    ctx.effect(HostFn::Query, &[this])
}

/// Which transaction the running fiber is in; with an argument, puts it into that one.
fn tx_enter(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let number = ctx.arg(a, 0).as_number();
    let fiber = &mut ctx.task.fibers[ctx.current as usize];
    let old = fiber.transaction;
    if let Some(number) = number {
        fiber.transaction = number as u32;
    }
    Ok(Value::number(f64::from(old)))
}

fn tx_begin(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let options = ctx.arg(a, 0);
    ctx.effect(HostFn::TxBegin, &[options])
}

/// A query that nobody carried out is carried out before its transaction ends.
fn tx_run(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if ctx.mem.is_kind(v, kind::QUERY) && ctx.mem.heap.load(v.as_ref(), 3) != progress::DONE {
        ctx.mem.heap.store(v.as_ref(), 3, progress::DONE);
        return ctx.effect(HostFn::Query, &[v]);
    }
    Ok(v)
}

fn tx_end(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (number, commit) = (ctx.arg(a, 0), ctx.arg(a, 1));
    ctx.effect(HostFn::TxEnd, &[number, commit])
}

fn tx_pause(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let millis = ctx.arg(a, 0);
    ctx.effect(HostFn::Sleep, &[millis])
}

fn copy(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (query, rows, options) = (ctx.this(a), ctx.arg(a, 0), ctx.arg(a, 1));
    ctx.carry_out(query)?;
    // Text is flat for readers at the boundary.
    let rows = if rows.is_string() { ctx.mem.heap.flat(rows)? } else { rows };
    ctx.effect(HostFn::CopyIn, &[query, rows, options])
}

fn copy_out(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (query, options) = (ctx.this(a), ctx.arg(a, 0));
    ctx.carry_out(query)?;
    ctx.effect(HostFn::CopyOut, &[query, options])
}

fn clone_query(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let query = ctx.this(a);
    ctx.mem.clone_query(query)
}

fn cursor_open(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let query = ctx.arg(a, 0);
    ctx.carry_out(query)?;
    ctx.effect(HostFn::CursorOpen, &[query])
}

fn cursor_fetch(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (query, number, rows) = (ctx.arg(a, 0), ctx.arg(a, 1), ctx.arg(a, 2));
    ctx.effect(HostFn::CursorFetch, &[query, number, rows])
}

fn cursor_close(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let number = ctx.arg(a, 0);
    ctx.effect(HostFn::CursorClose, &[number])
}

fn send(ctx: &mut Ctx<'_>, a: Args, name: &str, has_body: bool) -> Result<Value, Throw> {
    let url = ctx.str_arg(a, 0)?;
    let (body, options) =
        if has_body { (ctx.arg(a, 1), ctx.arg(a, 2)) } else { (Value::UNDEFINED, ctx.arg(a, 1)) };
    let method = ctx.mem.intern(name.as_bytes())?;
    ctx.effect(HostFn::HttpRequest, &[method, url, body, options])
}

fn own_body(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let this = ctx.this(a);
    if !this.is_object() {
        return Err(Throw::type_error("not a response"));
    }
    let key = crate::object::Key::Atom(ctx.mem.local.known.body);
    let body = ctx.mem.get_plain(this.as_ref(), key)?;
    if body.is_string() { ctx.mem.heap.flat(body) } else { Ok(ctx.mem.local.known.empty) }
}

fn body_text(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    own_body(ctx, a)
}

fn body_json(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let body = own_body(ctx, a)?;
    let how = crate::builtins::json::Read { big_ints: true, depth: forebay_base::limits::VALUE_DEPTH_MAX };
    if ctx.mem.heap.string_bytes_len(body) > crate::builtins::json::PIECE_BYTES {
        return ctx.parse_long(body, how);
    }
    let bytes = ctx.mem.heap.str_bytes(body).to_vec();
    crate::builtins::json::parse(&mut ctx.mem, &bytes, how).map_err(|e| e.into_throw(&bytes))
}

fn request_text(ctx: &mut Ctx<'_>, _: Args) -> Result<Value, Throw> {
    ctx.task.request.utf8()?;
    ctx.mem.heap.new_string(ctx.task.request.body())
}

fn request_json(ctx: &mut Ctx<'_>, _: Args) -> Result<Value, Throw> {
    if ctx.task.request.is_long() {
        ctx.progress();
        return match ctx.long_json_body() {
            Err(Throw::Again) => Err(ctx.yields(&[Value::ZERO])),
            result => result,
        };
    }
    ctx.mem.json_body(&mut ctx.task.request)
}

impl Ctx<'_> {
    /// A query is carried out by another call than its verb: not again at the end of its chain.
    fn carry_out(&mut self, query: Value) -> Result<(), Throw> {
        if !self.mem.is_kind(query, kind::QUERY) {
            return Err(Throw::type_error("not a query: start with db()"));
        }
        self.mem.check_mutable(query.as_ref())?;
        self.mem.heap.store(query.as_ref(), 3, progress::DONE);
        Ok(())
    }

    /// Parks in place of the running native: `return ctx.effect(...)`.
    pub(crate) fn effect(&mut self, function: HostFn, args: &[Value]) -> Result<Value, Throw> {
        self.mem.local.tail.clear();
        self.mem.local.tail.extend_from_slice(args);
        Err(Throw::Effect(function))
    }
}

impl Mem<'_> {
    /// `db(name)`.
    pub(crate) fn new_query(&mut self, proto: Value, name: Value) -> Result<Value, Throw> {
        let ops = self.new_array(4)?.object();
        let header = u64::from(kind::QUERY) | u64::from(crate::shape::EMPTY) << 32;
        let r = self.heap.alloc_object(OBJECT_WORDS + 2, [header, proto.bits(), 0, 0])?;
        self.heap.set(r, 4, ops);
        self.heap.set(r, 5, name);
        Ok(r.object())
    }

    /// Collects one call.
    pub(crate) fn add_query_op(&mut self, query: Value, number: u32, args: &[Value]) -> Result<(), Throw> {
        if !self.is_kind(query, kind::QUERY) {
            return Err(Throw::type_error("not a query: start with db()"));
        }
        self.check_mutable(query.as_ref())?;
        if self.heap.load(query.as_ref(), 3) != progress::NEW {
            self.query_goes_on(query.as_ref(), number, args)?;
        }
        if let Some(at) = args.iter().position(|v| v.is_undefined()) {
            return Err(Throw::type_error(match number {
                // The predicate and a count come first.
                LAMBDA => format!(
                    "{}: value {} is undefined; use null for SQL NULL",
                    self.lambda_name(args.first().copied()),
                    (at + 1).saturating_sub(2)
                ),
                _ => format!("{}: argument {} is undefined", op_name(number), at + 1),
            }));
        }
        let ops = self.heap.get(query.as_ref(), 4).as_ref();
        let list = self.new_flat_list(args)?;
        for v in [Value::int(number as i32), list] {
            let len = self.array_len(ops);
            if !self.push_in_place(ops, len, v) {
                self.array_push(ops, v)?;
            }
        }
        Ok(())
    }

    /// An array of what a reader at the boundary gets: it doesn't change the heap, so strings are flat for it.
    #[inline]
    pub(crate) fn new_flat_list(&mut self, values: &[Value]) -> Result<Value, Throw> {
        let list = self.new_array_of(values)?;
        for (index, v) in (1u32..).zip(values) {
            if v.is_string() {
                let (flat, elements) = (self.heap.flat(*v)?, self.elements(list));
                self.heap.set(elements, index, flat);
            }
        }
        Ok(list.object())
    }

    /// A call on a query that was carried out before, as a variable may hold one: what was carried out is done, the tables,
    /// columns and conditions stay. Further conditions would hold beside those, which hardly anybody means who writes
    /// `users.where("id", 1).first()` and then `users.where("id", 2).first()`.
    #[cold]
    fn query_goes_on(&mut self, query: Ref, number: u32, args: &[Value]) -> Result<(), Throw> {
        let is_again = matches!(op_name(number), "table" | "from");
        if self.heap.load(query, 3) == progress::DONE || is_again {
            let (ops, has_conditions) = self.steps_left(query, is_again)?;
            self.heap.set(query, 4, ops);
            let state = match (is_again, has_conditions) {
                (true, _) => progress::NEW,
                (_, true) => progress::CONDITIONED,
                _ => progress::OPEN,
            };
            self.heap.store(query, 3, state);
        }
        if self.heap.load(query, 3) == progress::CONDITIONED
            && let Some(name) = self.condition_name(number, args.first().copied())
        {
            return Err(Throw::type_error(format!(
                "{name}: this query was carried out before, and its conditions hold for it still: begin another one with db(), or with q.clone() before it is carried out"
            )));
        }
        Ok(())
    }

    /// The calls of a query that was carried out which stay, and whether conditions are among them. `none`: not one.
    fn steps_left(&mut self, query: Ref, none: bool) -> Result<(Value, bool), Throw> {
        const GONE: [u32; 6] = [
            number_of("insert"),
            number_of("update"),
            number_of("delete"),
            number_of("returning"),
            number_of("onConflict"),
            number_of("all"),
        ];
        let done = self.heap.load(query, 3) == progress::DONE;
        let (old, new) = (self.heap.get(query, 4).as_ref(), self.new_array(4)?);
        let mut has_conditions = false;
        for at in (0..self.array_len(old)).step_by(2).filter(|_| !none) {
            let (Some(op), Some(args)) = (self.dense_element(old, at), self.dense_element(old, at + 1))
            else {
                continue;
            };
            let number = op.as_number().unwrap_or_default() as u32;
            let is_update = number == LAMBDA && self.is_update_lambda(old, at + 1);
            if done && (number >= VERBS_FROM || GONE.contains(&number) || is_update) {
                continue;
            }
            let first = args.is_object().then(|| self.dense_element(args.as_ref(), 0)).flatten();
            has_conditions |= self.condition_name(number, first).is_some();
            self.array_push(new, op)?;
            self.array_push(new, args)?;
        }
        Ok((new.object(), has_conditions))
    }

    /// What a script calls the lambda of this data, or the query of sql/ that it is.
    fn lambda_name(&self, data: Option<Value>) -> String {
        let data = data.filter(|v| v.is_cell() && self.heap.kind(v.as_ref()) == kind::DATA);
        let Some([_, tag, rest @ ..]) = data.map(|data| self.heap.data(data)) else {
            return "a lambda".to_owned();
        };
        let method = tag.checked_sub(0x40).and_then(|len| rest.get(..usize::from(len))).unwrap_or_default();
        if method != b"sql" {
            return format!("the lambda of {}", String::from_utf8_lossy(method));
        }
        // `["sql", [text, kind, name]]`: the name is a short text at the end.
        let short = |len: usize| {
            let at = rest.len().checked_sub(len + 1)?;
            (usize::from(rest[at]) == 0x40 + len)
                .then(|| String::from_utf8_lossy(&rest[at + 1..]).into_owned())
        };
        let name = (1..64).find_map(|len| {
            short(len).filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        });
        name.map_or_else(|| "a named query".to_owned(), |name| format!("sql.{name}"))
    }

    /// The name of a call that adds a condition. `first`: its first argument, a lambda's data.
    fn condition_name(&self, number: u32, first: Option<Value>) -> Option<&'static str> {
        const NAMES: [&str; 11] =
            ["where", "and", "or", "having", "in", "notIn", "like", "ilike", "between", "isNull", "notNull"];
        if number != LAMBDA {
            return NAMES.iter().find(|name| **name == op_name(number)).copied();
        }
        // `[method, tree]` (docs/formats/value.md): a list of two, whose first item is a short text.
        let data = first.filter(|v| v.is_cell() && self.heap.kind(v.as_ref()) == kind::DATA)?;
        let [_, tag, rest @ ..] = self.heap.data(data) else { return None };
        let method = rest.get(..usize::from(tag.checked_sub(0x40)?))?;
        NAMES[..4].iter().find(|name| name.as_bytes() == method).copied()
    }

    /// `q.clone()`: another query that begins with what this one has.
    fn clone_query(&mut self, query: Value) -> Result<Value, Throw> {
        if !self.is_kind(query, kind::QUERY) {
            return Err(Throw::type_error("not a query: start with db()"));
        }
        let query = query.as_ref();
        let (ops, _) = self.steps_left(query, false)?;
        let copy = self.new_query(self.proto_of(query), self.heap.get(query, 5))?;
        self.heap.set(copy.as_ref(), 4, ops);
        Ok(copy)
    }

    /// Collects a lambda.
    pub(crate) fn add_query_lambda(&mut self, query: Value, args: &[Value]) -> Result<(), Throw> {
        self.add_query_op(query, LAMBDA, args)
    }

    /// A verb was called that waits for the end of the chain.
    pub(crate) fn query_waits(&mut self, query: Value) -> bool {
        let r = query.as_ref();
        if self.heap.load(r, 3) == progress::DONE {
            return false;
        }
        let ops = self.heap.get(r, 4).as_ref();
        const WRITES: [u32; 3] = [number_of("insert"), number_of("update"), number_of("delete")];
        (0..self.array_len(ops)).step_by(2).any(|at| {
            let number = self.dense_element(ops, at).and_then(|v| v.as_number()).unwrap_or_default();
            // `update(r => ...)` came as a lambda; its name is in the data.
            WRITES.contains(&(number as u32)) || number == 0.0 && self.is_update_lambda(ops, at + 1)
        })
    }

    /// Whether a lambda's data begins as `["update", ...` does (docs/formats/value.md).
    fn is_update_lambda(&self, ops: crate::value::Ref, at: u32) -> bool {
        let Some(list) = self.dense_element(ops, at).filter(|v| self.is_kind(*v, kind::ARRAY)) else {
            return false;
        };
        let Some(data) = self.dense_element(list.as_ref(), 0) else { return false };
        data.is_cell()
            && self.heap.kind(data.as_ref()) == kind::DATA
            && self.heap.data(data).windows(6).take(4).any(|bytes| bytes == b"update")
    }
}
