//! Values at the host boundary: [`ValueRef`] to read them, [`Sink`] to build them.
#![expect(clippy::cast_possible_truncation, reason = "ranges are tested before each cast")]

use crate::builtins::text;
use crate::heap::{Heap, kind};
use crate::mem::{Local, Mem};
use crate::object::{Key, flag};
use crate::shape::{DICTIONARY, attr};
use crate::throw::Throw;
use crate::value::{Ref, Value};
use forebay_base::limits::VALUE_DEPTH_MAX;
use forebay_base::value::packed::{Packed, PackedRows};
use forebay_base::{ValueError, ValueSink, ValueSource};

/// A value of a task, readable while the task doesn't run.
#[derive(Clone, Copy)]
pub struct ValueRef<'a> {
    pub(crate) heap: &'a Heap,
    pub(crate) local: &'a Local,
    pub(crate) value: Value,
}

/// A query's call: its name and arguments.
#[derive(Clone, Copy)]
pub struct QueryOp<'a> {
    /// Its number, which says no more than the name, and is shorter.
    pub number: u32,
    /// `table`, `where`, `get`, ...; `%lambda` for what the compiler made of one.
    pub name: &'static str,
    /// The arguments, a list. Of `%lambda`: the data, a count, that many arguments besides the lambda, and what
    /// it captured.
    pub args: ValueRef<'a>,
}

impl<'a> QueryOp<'a> {
    /// How many arguments there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.args.array_len().unwrap_or(0)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Argument `index`; undefined beyond the last.
    #[must_use]
    pub fn arg(&self, index: usize) -> ValueRef<'a> {
        self.args.at(index)
    }

    /// The arguments, in order.
    pub fn iter(&self) -> impl Iterator<Item = ValueRef<'a>> + use<'a> {
        let args = self.args;
        (0..self.len()).map(move |index| args.at(index))
    }
}

/// A query that is what the compiler made of one lambda, or of the call of a named query, and nothing else.
#[derive(Clone, Copy)]
pub struct QueryLambda<'a> {
    /// The compiler's data.
    pub data: &'a [u8],
    of: ValueRef<'a>,
    values: &'a [Value],
}

impl<'a> QueryLambda<'a> {
    /// What it captured, in order.
    pub fn values(&self) -> impl ExactSizeIterator<Item = ValueRef<'a>> + use<'a> {
        let of = self.of;
        self.values.iter().map(move |value| of.with(if value.is_hole() { Value::UNDEFINED } else { *value }))
    }
}

/// What a `HostFn::Query` effect carries.
#[derive(Clone, Copy)]
pub struct QueryCall<'a> {
    /// The calls of the query.
    pub ops: QueryOps<'a>,
    /// The database that it was started for: `db(name)`.
    pub database: Option<&'a str>,
    /// Number of the transaction that the effect's fiber was in; 0: none.
    pub transaction: u32,
}

/// The calls of a query, in order.
#[derive(Clone, Copy)]
pub struct QueryOps<'a> {
    pub(crate) list: Option<ValueRef<'a>>,
    pub(crate) at: usize,
}

impl<'a> QueryOps<'a> {
    /// The chain as one lambda without arguments beside it, if it is one.
    #[must_use]
    #[inline]
    pub fn lambda(&self) -> Option<QueryLambda<'a>> {
        let of = self.list?;
        let [number, args] = of.dense()? else { return None };
        let [data, count, values @ ..] = of.with(*args).dense()? else { return None };
        if self.at != 0 || *number != Value::int(crate::query::LAMBDA.cast_signed()) || *count != Value::ZERO
        {
            return None;
        }
        Some(QueryLambda { data: of.with(*data).as_bytes()?, of, values })
    }
}

impl<'a> Iterator for QueryOps<'a> {
    type Item = QueryOp<'a>;

    fn next(&mut self) -> Option<QueryOp<'a>> {
        let list = self.list?;
        if self.at + 1 >= list.array_len().unwrap_or(0) {
            return None;
        }
        let number = list.at(self.at).as_f64().unwrap_or(-1.0) as u32;
        let args = list.at(self.at + 1);
        self.at += 2;
        Some(QueryOp { number, name: crate::query::op_name(number), args })
    }
}

impl<'a> ValueRef<'a> {
    fn with(&self, value: Value) -> ValueRef<'a> {
        ValueRef { value, ..*self }
    }

    /// Text, if it is a string without lone surrogates. (Arguments are flattened before they are given out.)
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        self.bytes_of_string().and_then(|b| std::str::from_utf8(b).ok())
    }

    fn bytes_of_string(&self) -> Option<&'a [u8]> {
        if !self.value.is_string() || self.heap.kind(self.value.as_ref()) == kind::ROPE {
            return None;
        }
        Some(self.heap.str_bytes(self.value))
    }

    /// A Number.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.value.as_number()
    }

    /// A Number that is kept as an integer.
    #[must_use]
    #[inline]
    pub fn as_int(&self) -> Option<i32> {
        self.value.is_int().then(|| self.value.as_int())
    }

    /// A Number that is an integer within 64 bits, or such a BigInt.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        if let Some(n) = self.value.as_number() {
            let i = n as i64;
            return (i as f64 == n && n.abs() < 9.3e18).then_some(i);
        }
        if self.value.is_bigint() {
            return self.heap.read_bigint(self.value).to_i64();
        }
        None
    }

    /// A boolean.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        self.value.is_bool().then_some(self.value == Value::TRUE)
    }

    /// Bytes: a predicate, or a byte string.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        let v = self.value;
        if v.is_cell() && self.heap.kind(v.as_ref()) == kind::DATA {
            return Some(self.heap.data(v));
        }
        if v.is_object() && self.heap.kind(v.as_ref()) == kind::BYTES {
            return Some(self.heap.data(self.heap.get(v.as_ref(), 4)));
        }
        None
    }

    /// An object that is a map of names and values: no array, date, bytes or other kind.
    #[must_use]
    pub fn is_plain_object(&self) -> bool {
        self.value.is_object() && self.heap.kind(self.value.as_ref()) == kind::OBJECT
    }

    /// Whether it is undefined.
    #[must_use]
    pub fn is_undefined(&self) -> bool {
        self.value.is_undefined()
    }

    /// Whether it is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.value.is_null()
    }

    /// Length, if it is an array.
    #[must_use]
    pub fn array_len(&self) -> Option<usize> {
        let array = self.value.is_object() && self.heap.kind(self.value.as_ref()) == kind::ARRAY;
        array.then(|| self.heap.load(self.value.as_ref(), 3) as u32 as usize)
    }

    /// Element `index` of an array; undefined beyond its end.
    #[must_use]
    pub fn at(&self, index: usize) -> ValueRef<'a> {
        let found = u32::try_from(index).ok().and_then(|i| self.element(self.value.as_ref(), i));
        self.with(found.unwrap_or_default())
    }

    /// All elements of an array that stand side by side; a hole among them is one.
    #[inline]
    fn dense(&self) -> Option<&'a [Value]> {
        let len = self.array_len()?;
        let r = self.value.as_ref();
        let cell = Ref::new(r.space(), (self.heap.load(r, 2) >> 32) as u32);
        let whole = cell.index() != 0
            && self.heap.header(r) & flag::SPARSE == 0
            && len <= (self.heap.header(cell) >> 32) as usize;
        whole.then(|| self.heap.values(cell, 1, len))
    }

    fn element(&self, r: Ref, index: u32) -> Option<Value> {
        let cell = Ref::new(r.space(), (self.heap.load(r, 2) >> 32) as u32);
        if cell.index() == 0 {
            return None;
        }
        if self.heap.header(r) & flag::SPARSE != 0 {
            let entry = self.heap.dict_find_bits(cell, Value::from_u32(index))?;
            let (_, v, attrs) = self.heap.dict_entry(cell, entry);
            return (attrs & attr::ACCESSOR == 0).then_some(v);
        }
        if index >= (self.heap.header(cell) >> 32) as u32 {
            return None;
        }
        let v = self.heap.get(cell, 1 + index);
        (!v.is_hole()).then_some(v)
    }

    /// An own property of an object, by name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<ValueRef<'a>> {
        let mut found = None;
        self.each(&mut |name, v| {
            if name == key.as_bytes() {
                found = Some(v);
            }
            Ok(())
        })
        .ok()?;
        found
    }

    /// Calls `f` with the enumerable own properties of an object, in order; those whose value is undefined, too.
    ///
    /// # Errors
    /// A getter: nothing of the script runs here.
    pub fn each_property(&self, f: &mut dyn FnMut(&str, ValueRef<'a>)) -> Result<(), ValueError> {
        self.each(&mut |name, value| {
            f(&text::well_formed(name), value);
            Ok(())
        })
    }

    /// Calls `f` with the enumerable own properties that have a name, in order.
    #[expect(clippy::type_complexity, reason = "a name for the callback would hide it")]
    fn each(
        &self,
        f: &mut dyn FnMut(&[u8], ValueRef<'a>) -> Result<(), ValueError>,
    ) -> Result<(), ValueError> {
        if !self.value.is_object() {
            return Ok(());
        }
        let r = self.value.as_ref();
        let header = self.heap.header(r);
        let cell = Ref::new(r.space(), (self.heap.load(r, 2) >> 32) as u32);
        if cell.index() != 0 {
            let bound = if header & flag::SPARSE != 0 { 0 } else { (self.heap.header(cell) >> 32) as u32 };
            for index in 0..bound {
                if let Some(v) = self.element(r, index) {
                    f(index.to_string().as_bytes(), self.with(v))?;
                }
            }
        }
        let mut named = |key: Value, v: Value, attrs: u8| {
            if attrs & attr::ENUMERABLE == 0 || !key.is_string() {
                return Ok(());
            }
            if attrs & attr::ACCESSOR != 0 {
                return Err(ValueError::Unsupported("a getter"));
            }
            f(self.heap.str_bytes(key), self.with(v))
        };
        let shape = (header >> 32) as u32;
        let slots = Ref::new(r.space(), self.heap.load(r, 2) as u32);
        if shape == DICTIONARY {
            for entry in 0..self.heap.dict_used(slots) {
                let (key, v, attrs) = self.heap.dict_entry(slots, entry);
                if !key.is_empty() {
                    named(key, v, attrs)?;
                }
            }
            return Ok(());
        }
        let inline = (header >> 16 & 0xff) as u32;
        for (slot, property) in (0u32..).zip(self.local.shapes.properties(shape)) {
            let v = if slot < inline {
                self.heap.get(r, crate::heap::OBJECT_WORDS + slot)
            } else {
                self.heap.get(slots, 1 + slot - inline)
            };
            named(property.key, v, property.attrs)?;
        }
        Ok(())
    }

    fn emit_at(&self, sink: &mut dyn ValueSink, depth: usize) -> Result<(), ValueError> {
        if depth > VALUE_DEPTH_MAX {
            return Err(ValueError::TooDeep);
        }
        let v = self.value;
        if let Some(n) = v.as_number() {
            return match self.as_i64() {
                Some(i) if n != 0.0 || n.is_sign_positive() => {
                    if n.abs() <= 9_007_199_254_740_992.0 {
                        sink.int(i)
                    } else {
                        sink.float(n)
                    }
                }
                _ => sink.float(n),
            };
        }
        if v.is_string() {
            // A rope inside a larger value: written out here.
            let mut out = Vec::new();
            let _ = self.heap.string_into(v, &mut out);
            return sink.str(&text::well_formed(&out));
        }
        if v.is_bigint() {
            let n = self.heap.read_bigint(v);
            return match n.to_i64() {
                Some(i) => sink.int(i),
                None => sink.big_int(&n.to_text(10)),
            };
        }
        match v {
            Value::UNDEFINED => return sink.undefined(),
            Value::NULL => return sink.null(),
            Value::TRUE | Value::FALSE => return sink.bool(v == Value::TRUE),
            _ => {}
        }
        if let Some(bytes) = self.as_bytes() {
            return sink.bytes(bytes);
        }
        if !v.is_object() {
            return Err(ValueError::Unsupported("a symbol"));
        }
        let r = v.as_ref();
        match self.heap.kind(r) {
            kind::ARRAY => {
                let len = self.array_len().unwrap_or(0);
                sink.begin_list(Some(len))?;
                for index in 0..len {
                    let item = self.at(index);
                    if item.is_undefined() { sink.null()? } else { item.emit_at(sink, depth + 1)? }
                }
                sink.end_list()
            }
            kind::CLOSURE | kind::NATIVE | kind::BOUND => Err(ValueError::Unsupported("a function")),
            kind::DATE => {
                let millis = self.heap.get(r, 4).as_number().unwrap_or(f64::NAN);
                if millis.is_nan() {
                    return sink.null();
                }
                let micros = i64::from(self.heap.get(r, 5).as_number().unwrap_or(0.0) as i32);
                sink.timestamp(millis as i64 * 1000 + micros)
            }
            kind::DECIMAL => {
                let digits = self.with(self.heap.get(r, 4));
                sink.decimal(digits.as_str().unwrap_or("NaN"))
            }
            kind::BOXED => self.with(self.heap.get(r, 4)).emit_at(sink, depth + 1),
            kind::MAP | kind::SET | kind::PROMISE | kind::REGEXP | kind::QUERY => {
                Err(ValueError::Unsupported("a Map, Set, Promise, RegExp or query"))
            }
            _ => {
                sink.begin_map(None)?;
                self.each(&mut |name, v| {
                    if v.is_undefined() {
                        return Ok(());
                    }
                    sink.key(&text::well_formed(name))?;
                    v.emit_at(sink, depth + 1)
                })?;
                sink.end_map()
            }
        }
    }
}

impl ValueSource for ValueRef<'_> {
    fn emit(&self, sink: &mut dyn ValueSink) -> Result<(), ValueError> {
        self.emit_at(sink, 0)
    }
}

/// An open list, map or row of a [`Sink`].
#[derive(Debug)]
pub(crate) enum Open {
    List(Ref),
    Map(Ref, Key),
    /// The object, and the number of the next column.
    Row(Ref, usize),
}

/// What a sink has built so far; kept by the machine between calls.
#[derive(Debug, Default)]
pub(crate) struct Building {
    pub(crate) open: Vec<Open>,
    pub(crate) done: Option<Value>,
}

/// Builds a value straight in a task's arena.
pub(crate) struct Sink<'a> {
    pub(crate) mem: Mem<'a>,
    pub(crate) building: &'a mut Building,
}

fn full(throw: Throw, mem: &Mem<'_>) -> ValueError {
    match throw {
        Throw::Trap(_) | Throw::Error(crate::throw::ErrorKind::Range, _) => {
            ValueError::TooLarge { limit: mem.heap.reserved() }
        }
        _ => ValueError::Unsupported("this value"),
    }
}

impl Sink<'_> {
    pub(crate) fn put(&mut self, v: Value) -> Result<(), ValueError> {
        let result = match self.building.open.last_mut() {
            None => {
                self.building.done = Some(v);
                Ok(())
            }
            Some(Open::List(list)) => self.mem.array_push(*list, v),
            Some(Open::Map(object, key)) => self.mem.define_data(*object, *key, v),
            Some(Open::Row(object, next)) => {
                let column = *next;
                *next += 1;
                let object = *object;
                if self.mem.local.row.shape.is_some() {
                    let slot = u32::try_from(column).unwrap_or(u32::MAX);
                    self.mem.set_row_slot(object, slot, v)
                } else {
                    match self.mem.local.row.keys.get(column).copied() {
                        Some(key) if key.is_int() => {
                            self.mem.define_data(object, Key::Index(key.as_int().cast_unsigned()), v)
                        }
                        Some(key) => self.mem.define_data(object, Key::Atom(key), v),
                        None => Ok(()),
                    }
                }
            }
        };
        result.map_err(|t| full(t, &self.mem))
    }

    fn open(&mut self, open: Open) -> Result<(), ValueError> {
        if self.building.open.len() >= VALUE_DEPTH_MAX {
            return Err(ValueError::TooDeep);
        }
        self.building.open.push(open);
        Ok(())
    }

    pub(crate) fn made<T>(&mut self, result: Result<T, Throw>) -> Result<T, ValueError> {
        result.map_err(|t| full(t, &self.mem))
    }

    /// Whether the columns that were learned last have these names; they may be of an earlier task.
    fn has_columns(&self, columns: &[Box<str>]) -> bool {
        let row = &self.mem.local.row;
        row.shape.is_some()
            && row.keys.len() == columns.len()
            && row.keys.iter().zip(columns).all(|(key, column)| {
                // A key of a task's own is gone with it; with a shape there is none.
                self.mem.heap.str_bytes(*key) == column.as_bytes()
            })
    }

    /// Learns the columns of a result: keys, and the shape of a row if it has one.
    pub(crate) fn learn_columns(&mut self, columns: &[Box<str>]) -> Result<(), ValueError> {
        if self.has_columns(columns) {
            self.mem.local.row.columns = (columns.as_ptr().addr(), columns.len());
            return Ok(());
        }
        self.mem.local.row.keys.clear();
        for column in columns {
            let key = self.mem.key_of_text(column);
            let key = self.made(key)?;
            self.mem.local.row.keys.push(match key {
                Key::Atom(atom) => atom,
                Key::Index(i) => Value::from_u32(i),
            });
        }
        let keys = std::mem::take(&mut self.mem.local.row.keys);
        let distinct = (1..keys.len()).all(|i| !keys[..i].contains(&keys[i]));
        let plain = distinct && keys.len() <= ROW_COLUMNS_MAX && keys.iter().all(|k| k.is_string());
        self.mem.local.row.shape = if plain { self.mem.shape_of_keys(&keys) } else { None };
        self.mem.local.row.keys = keys;
        self.mem.local.row.columns = (columns.as_ptr().addr(), columns.len());
        Ok(())
    }
}

impl ValueSink for Sink<'_> {
    fn undefined(&mut self) -> Result<(), ValueError> {
        self.put(Value::UNDEFINED)
    }
    fn null(&mut self) -> Result<(), ValueError> {
        self.put(Value::NULL)
    }
    fn bool(&mut self, value: bool) -> Result<(), ValueError> {
        self.put(Value::bool(value))
    }
    fn int(&mut self, value: i64) -> Result<(), ValueError> {
        let v = if value.unsigned_abs() <= 1 << 53 {
            Value::number(value as f64)
        } else {
            let n = crate::builtins::bignum::Int::from_i64(value);
            let v = self.mem.new_bigint(&n);
            self.made(v)?
        };
        self.put(v)
    }
    fn float(&mut self, value: f64) -> Result<(), ValueError> {
        self.put(Value::number(value))
    }
    fn big_int(&mut self, digits: &str) -> Result<(), ValueError> {
        let n = crate::builtins::bignum::Int::parse(digits)
            .ok_or(ValueError::Malformed { offset: 0, expected: "digits" })?;
        let v = self.mem.new_bigint(&n);
        let v = self.made(v)?;
        self.put(v)
    }
    fn decimal(&mut self, digits: &str) -> Result<(), ValueError> {
        let v = self.mem.new_decimal(digits);
        let v = self.made(v)?;
        self.put(v)
    }
    fn str(&mut self, value: &str) -> Result<(), ValueError> {
        let v = self.mem.heap.new_string(value.as_bytes());
        let v = self.made(v)?;
        self.put(v)
    }
    fn bytes(&mut self, value: &[u8]) -> Result<(), ValueError> {
        let v = self.mem.new_bytes(value);
        let v = self.made(v)?;
        self.put(v)
    }
    fn timestamp(&mut self, micros: i64) -> Result<(), ValueError> {
        let v = self.mem.new_timestamp(micros);
        let v = self.made(v)?;
        self.put(v)
    }
    fn begin_list(&mut self, len: Option<usize>) -> Result<(), ValueError> {
        let capacity = u32::try_from(len.unwrap_or(0).min(1024)).unwrap_or(0);
        let r = self.mem.new_array(capacity);
        let r = self.made(r)?;
        self.open(Open::List(r))
    }
    fn end_list(&mut self) -> Result<(), ValueError> {
        match self.building.open.pop() {
            Some(Open::List(r)) => self.put(r.object()),
            _ => Err(ValueError::Malformed { offset: 0, expected: "an open list" }),
        }
    }
    fn begin_map(&mut self, len: Option<usize>) -> Result<(), ValueError> {
        let r = self.mem.new_object(u32::try_from(len.unwrap_or(4).min(32)).unwrap_or(4));
        let r = self.made(r)?;
        self.open(Open::Map(r, Key::Index(0)))
    }
    fn key(&mut self, name: &str) -> Result<(), ValueError> {
        let new = self.mem.key_of_text(name);
        let new = self.made(new)?;
        match self.building.open.last_mut() {
            Some(Open::Map(_, key)) => {
                *key = new;
                Ok(())
            }
            _ => Err(ValueError::Malformed { offset: 0, expected: "an open map" }),
        }
    }
    fn end_map(&mut self) -> Result<(), ValueError> {
        match self.building.open.pop() {
            Some(Open::Map(r, _)) => self.put(r.object()),
            _ => Err(ValueError::Malformed { offset: 0, expected: "an open map" }),
        }
    }
    fn begin_row(&mut self, columns: &[Box<str>]) -> Result<(), ValueError> {
        if self.mem.local.row.columns != (columns.as_ptr().addr(), columns.len())
            || self.mem.local.row.keys.len() != columns.len()
        {
            self.learn_columns(columns)?;
        }
        let r = self.mem.new_object(u32::try_from(columns.len().min(32)).unwrap_or(4));
        let r = self.made(r)?;
        if let Some(shape) = self.mem.local.row.shape {
            self.mem.start_row(r, shape);
        }
        self.open(Open::Row(r, 0))
    }
    fn end_row(&mut self) -> Result<(), ValueError> {
        match self.building.open.pop() {
            Some(Open::Row(r, _)) => self.put(r.object()),
            _ => Err(ValueError::Malformed { offset: 0, expected: "an open row" }),
        }
    }
    fn packed<'b>(
        &mut self,
        columns: &[Box<str>],
        kinds: &[Packed],
        rows: &mut dyn PackedRows<'b>,
    ) -> Result<(), ValueError> {
        self.packed_rows(columns, kinds, rows)
    }
}

/// Columns of a row whose object has one shape and all its slots inline.
pub(crate) const ROW_COLUMNS_MAX: usize = 32;

impl Mem<'_> {
    /// Gives a new object with enough inline slots its final shape; all slots undefined.
    fn start_row(&mut self, r: Ref, shape: u32) {
        let header = self.heap.header(r);
        let inline = (header >> 16 & 0xff) as u32;
        for slot in 0..inline {
            self.heap.set(r, crate::heap::OBJECT_WORDS + slot, Value::UNDEFINED);
        }
        self.heap.store(r, 0, header & 0xffff_ffff | u64::from(shape) << 32);
    }

    /// An ordinary object of this shape; `values` are its properties, at most 32, all inline.
    #[inline(always)]
    pub(crate) fn new_row(&mut self, shape: u32, values: &[Value]) -> Result<Ref, Throw> {
        self.new_row_of(self.local.known.object, shape, values)
    }

    /// The same with this prototype; slots behind the properties of the shape are undefined.
    #[inline(always)]
    pub(crate) fn new_row_of(&mut self, proto: Value, shape: u32, values: &[Value]) -> Result<Ref, Throw> {
        // As many slots as any object has at least.
        let inline = (values.len() as u32).max(2);
        let header = u64::from(kind::OBJECT) | u64::from(inline) << 16 | u64::from(shape) << 32;
        let r = self.heap.alloc_object(crate::heap::OBJECT_WORDS + inline, [header, proto.bits(), 0, 0])?;
        self.heap.values_mut(r, crate::heap::OBJECT_WORDS, values.len()).copy_from_slice(values);
        Ok(r)
    }

    fn set_row_slot(&mut self, r: Ref, slot: u32, v: Value) -> Result<(), Throw> {
        let inline = (self.heap.header(r) >> 16 & 0xff) as u32;
        if slot < inline {
            self.heap.set(r, crate::heap::OBJECT_WORDS + slot, v);
        }
        Ok(())
    }

    /// A Date that keeps its microseconds.
    pub(crate) fn new_timestamp(&mut self, micros: i64) -> Result<Value, Throw> {
        let r = self.new_object_of(kind::DATE, self.local.known.date, 2)?;
        self.heap.set(r, 4, Value::number(micros.div_euclid(1000) as f64));
        self.heap.set(r, 5, Value::number(micros.rem_euclid(1000) as f64));
        Ok(r.object())
    }

    /// A Decimal: its digits are kept as they came.
    pub(crate) fn new_decimal(&mut self, digits: &str) -> Result<Value, Throw> {
        let text = self.heap.new_string(digits.as_bytes())?;
        let r = self.new_object_of(kind::DECIMAL, self.local.known.decimal, 1)?;
        self.heap.set(r, 4, text);
        Ok(r.object())
    }

    /// A byte string.
    pub(crate) fn new_bytes(&mut self, bytes: &[u8]) -> Result<Value, Throw> {
        let data = self.heap.new_data(bytes)?;
        let r = self.new_object_of(kind::BYTES, self.local.known.bytes, 1)?;
        self.heap.set(r, 4, data);
        Ok(r.object())
    }
}
