//! Host functions: the immediate ones, and how the others park.
#![expect(clippy::cast_possible_truncation, reason = "ranges are tested before each cast")]

use crate::api::LogLevel;
use crate::ctx::Ctx;
use crate::fiber::{Cont, ContKind};
use crate::heap::kind;
use crate::known::Helper;
use crate::object::{Key, Own};
use crate::throw::Throw;
use crate::value::Value;
use forebay_base::limits::LOG_LINE_BYTES_MAX;
use forebay_bytecode::HostFn;

/// Fuel of a host call besides what it does.
pub(crate) const HOST_FUEL: i64 = 8;
/// Arguments of a host call that are copied without an allocation.
const ARGS_INLINE: usize = 8;

impl Ctx<'_> {
    /// `HostCall`: `n` arguments from stack index `first`; the result goes to register `dst`.
    pub(crate) fn host_call(&mut self, number: u16, first: usize, n: usize, dst: u16) -> Result<(), Throw> {
        let Some(function) = HostFn::from_u16(number) else {
            return Err(Throw::type_error("unknown host function"));
        };
        if function == HostFn::Cover {
            self.cover();
            return Ok(());
        }
        if self.mem.local.loading {
            return Err(Throw::type_error(format!(
                "{} can't be called while the module loads",
                function.path()
            )));
        }
        self.fuel -= HOST_FUEL;
        // A copy, as what is called may replace the stack; mostly there are few.
        let (mut few, many);
        let args = match n {
            0..=ARGS_INLINE => {
                few = [Value::UNDEFINED; ARGS_INLINE];
                few[..n].copy_from_slice(&self.stack[first..first + n]);
                &few[..n]
            }
            _ => {
                many = self.stack[first..first + n].to_vec();
                many.as_slice()
            }
        };
        let arg = |i: usize| args.get(i).copied().unwrap_or_default();
        let v = match function {
            // Answered above.
            HostFn::Cover => Value::UNDEFINED,
            HostFn::Payload => self.payload()?,
            HostFn::Req => self.mem.request_object(&mut self.task.request)?,
            HostFn::Log => self.log(LogLevel::Info, args)?,
            HostFn::LogWarn => self.log(LogLevel::Warn, args)?,
            HostFn::LogError => self.log(LogLevel::Error, args)?,
            HostFn::Now => {
                let micros = self.clock.wall.0;
                self.mem.new_timestamp(micros)?
            }
            HostFn::Env => self.env(arg(0), arg(1))?,
            HostFn::Uuid => self.uuid()?,
            HostFn::Response => self.make_response(arg(0), arg(1))?,
            HostFn::Html => self.html(arg(0))?,
            // `quick_host_call`.
            HostFn::Db | HostFn::DbWhereLambda => return Err(Throw::type_error("not a query")),
            HostFn::Http => {
                let proto = self.mem.local.known.http;
                self.mem.new_plain(proto, 2)?.object()
            }
            HostFn::Query => return self.run_query(arg(0), dst),
            HostFn::KvIterate => {
                if !self.mem.is_callable(arg(3)) {
                    return Err(Throw::type_error("kv.iterate needs a function"));
                }
                let cont = Cont::with(ContKind::Iterate, dst, 0, arg(3));
                return self.park_on_effect(function, args.get(..3).unwrap_or_default(), cont);
            }
            HostFn::Tx => {
                if !self.mem.is_callable(arg(0)) {
                    return Err(Throw::type_error("tx needs a function"));
                }
                let cont = Cont::new(ContKind::Await, dst);
                return self.call_helper(Helper::Tx, &[arg(0), arg(1)], cont);
            }
            HostFn::TaskPromise => return self.call_helper(Helper::TaskPromise, &[], Cont::plain(dst)),
            HostFn::TaskDefer => return self.call_helper(Helper::TaskDefer, &[arg(0)], Cont::plain(dst)),
            HostFn::HttpRequest => {
                return self.park_on_effect(function, args, Cont::new(ContKind::Http, dst));
            }
            HostFn::Sleep
            | HostFn::KvGet
            | HostFn::KvSet
            | HostFn::KvDel
            | HostFn::KvExists
            | HostFn::KvSnx
            | HostFn::KvCas
            | HostFn::KvIncr
            | HostFn::KvScan
            | HostFn::KvBatch
            | HostFn::TxBegin
            | HostFn::TxEnd
            | HostFn::TaskId
            | HostFn::TaskWait
            | HostFn::TaskSignal
            | HostFn::TaskPromiseMake
            | HostFn::TaskPromiseWait
            | HostFn::TaskStart
            | HostFn::TaskJoin
            | HostFn::TaskCancel
            | HostFn::TaskDeferWait
            | HostFn::TaskDeferDone
            | HostFn::TaskFailed
            | HostFn::TaskDeferKept
            | HostFn::CopyIn
            | HostFn::CopyOut
            | HostFn::CursorOpen
            | HostFn::CursorFetch
            | HostFn::CursorClose => return self.park_on_effect(function, args, Cont::plain(dst)),
        };
        self.set_register(dst, v);
        Ok(())
    }

    /// The steps of a query and `html()`, which neither call nor wait: their value, or EMPTY for other functions.
    #[inline(never)]
    pub(crate) fn quick_host_call(&mut self, number: u16, first: usize, n: usize) -> Result<Value, Throw> {
        const DB: u16 = HostFn::Db as u16;
        const LAMBDA: u16 = HostFn::DbWhereLambda as u16;
        const HTML: u16 = HostFn::Html as u16;
        if !matches!(number, DB | LAMBDA | HTML) || self.mem.local.loading {
            return Ok(Value::EMPTY);
        }
        self.fuel -= HOST_FUEL;
        let args = &self.stack[first..first + n];
        let arg = args.first().copied().unwrap_or_default();
        match number {
            DB => {
                let proto = self.mem.local.known.query;
                self.mem.new_query(proto, arg)
            }
            LAMBDA => {
                self.mem.add_query_lambda(arg, args.get(1..).unwrap_or_default())?;
                Ok(arg)
            }
            _ => self.html(arg),
        }
    }

    fn html(&mut self, text: Value) -> Result<Value, Throw> {
        let text = if text.is_object() { Value::UNDEFINED } else { self.mem.to_string(text)? };
        let kind = self.mem.local.known.text_html;
        self.new_response(200, text, Value::UNDEFINED, kind)
    }

    /// Tells the host which statement runs.
    fn cover(&mut self) {
        let Some(frame) = self.frames.last() else { return };
        let Some(unit) = self.mem.local.units.get(usize::from(frame.unit)) else { return };
        let Some(module) = &unit.module else { return };
        let at = crate::error::position_at(&module.functions[frame.function as usize], frame.pc);
        if let Some(at) = at
            && let Some(file) = module.files.get(usize::from(at.file))
        {
            self.host.cover(&file.path, at.start);
        }
    }

    fn log(&mut self, level: LogLevel, args: &[Value]) -> Result<Value, Throw> {
        let mut line = String::new();
        for (n, v) in args.iter().enumerate() {
            if n > 0 {
                line.push(' ');
            }
            if self.mem.is_kind(*v, kind::ERROR) {
                line.push_str(&self.mem.describe_error(*v));
            } else if v.is_object() {
                let mut out = Vec::new();
                let how = crate::builtins::json::Write { gap: b"", big_ints: true };
                match crate::builtins::json::write(&mut self.mem, *v, how, &mut out)? {
                    crate::builtins::json::Written::Text => line.push_str(&String::from_utf8_lossy(&out)),
                    _ => line.push_str("[object]"),
                }
            } else if v.is_symbol() {
                line.push_str(&self.mem.symbol_text(*v)?);
            } else {
                let s = self.mem.to_string(*v)?;
                line.push_str(&self.mem.heap.to_text(s)?);
            }
            if line.len() > LOG_LINE_BYTES_MAX {
                break;
            }
        }
        if line.len() > LOG_LINE_BYTES_MAX {
            let mark = "... (cut)";
            let mut end = LOG_LINE_BYTES_MAX - mark.len();
            while !line.is_char_boundary(end) {
                end -= 1;
            }
            line.truncate(end);
            line.push_str(mark);
        }
        self.mem.heap.work += line.len() as u64 / 4;
        self.host.log(level, &line);
        Ok(Value::UNDEFINED)
    }

    fn env(&mut self, name: Value, fallback: Value) -> Result<Value, Throw> {
        let name = if name.is_object() { return Err(Throw::type_error("env needs a name")) } else { name };
        let name = self.mem.to_string(name)?;
        let name = self.mem.heap.to_text(name)?;
        match self.host.env(&name) {
            Some(text) => self.mem.heap.new_string(text.as_bytes()),
            None => Ok(fallback),
        }
    }

    fn uuid(&mut self) -> Result<Value, Throw> {
        let mut bytes = [0u8; 16];
        self.host.random(&mut bytes);
        // RFC 9562 section 5.4: version 4, variant 10.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = b"0123456789abcdef";
        self.mem.heap.new_ascii(36, |out| {
            let mut at = 0;
            for (n, byte) in bytes.iter().enumerate() {
                if matches!(n, 4 | 6 | 8 | 10) {
                    out[at] = b'-';
                    at += 1;
                }
                out[at] = hex[usize::from(byte >> 4)];
                out[at + 1] = hex[usize::from(byte & 15)];
                at += 2;
            }
        })
    }

    fn make_response(&mut self, body: Value, options: Value) -> Result<Value, Throw> {
        let (mut status, mut headers) = (200, Value::UNDEFINED);
        if options.is_object() {
            let known = self.mem.local.known;
            let wanted = self.mem.get_plain(options.as_ref(), Key::Atom(known.status))?;
            if !wanted.is_undefined() {
                status = match wanted.as_number() {
                    Some(n) if (200.0..600.0).contains(&n) && n.fract() == 0.0 => n as u16,
                    _ => return Err(Throw::range_error("status must be an integer from 200 to 599")),
                };
            }
            headers = self.mem.get_plain(options.as_ref(), Key::Atom(known.headers))?;
        }
        self.new_response(status, body, headers, Value::UNDEFINED)
    }

    fn new_response(
        &mut self,
        status: u16,
        body: Value,
        headers: Value,
        kind: Value,
    ) -> Result<Value, Throw> {
        let proto = self.mem.local.known.response;
        let r = self.mem.new_object_of(kind::RESPONSE, proto, 3)?;
        self.mem.heap.store(r, 3, u64::from(status));
        for (word, v) in [(4, body), (5, headers), (6, kind)] {
            self.mem.heap.set(r, word, v);
        }
        Ok(r.object())
    }

    /// What an outbound request came back with, as the script sees it.
    pub(crate) fn http_result(&mut self, v: Value) -> Result<Value, Throw> {
        if !v.is_object() {
            return Ok(v);
        }
        let r = v.as_ref();
        let status = Key::Atom(self.mem.local.known.status);
        let ok = match self.mem.get_own(r, status)? {
            Own::Data(n, _) => n.as_number().is_some_and(|n| (200.0..300.0).contains(&n)),
            _ => false,
        };
        self.mem.define_text(r, "ok", Value::bool(ok))?;
        let proto = self.mem.local.known.http_result;
        self.mem.set_proto(r, proto)?;
        Ok(v)
    }

    // ---- queries

    /// Whether a query's verb waits for the end of its chain.
    pub(crate) fn query_waits(&mut self, v: Value) -> bool {
        self.mem.query_waits(v)
    }

    /// Parks until the query is carried out; result into r[dst].
    pub(crate) fn run_query(&mut self, v: Value, dst: u16) -> Result<(), Throw> {
        self.run_query_with(v, Cont::plain(dst))
    }

    pub(crate) fn run_query_with(&mut self, v: Value, cont: Cont) -> Result<(), Throw> {
        if !self.mem.is_kind(v, kind::QUERY) {
            return Err(Throw::type_error("not a query"));
        }
        self.mem.heap.store(v.as_ref(), 3, crate::query::progress::DONE);
        self.park_on_effect(HostFn::Query, &[v], cont)
    }
}
