//! Objects: layout, property lookup, definition, deletion, arrays.
//!
//! ```text
//!   word 0   kind | flags << 8 | inline capacity << 16 | shape << 32
//!   word 1   prototype (object or null)
//!   word 2   slots: word index | elements: word index << 32      (same space; 0 = none)
//!   word 3   the kind's own (array: length; closure: function index)
//!   word 4.. inline slots, or the kind's own words (then it has no inline slots)
//! ```
//!
//! Slots are a VALUES cell, or a DICT cell when the shape is [`DICTIONARY`]. Integer keys live
//! in elements: a VALUES cell with holes, or (flag SPARSE) a DICT cell keyed by integers.
//! Nothing here calls a script: a getter or setter that is met is returned to the
//! interpreter, which calls it.

use crate::heap::{OBJECT_WORDS, kind};
use crate::known::Helper;
use crate::mem::Mem;
use crate::shape::{DICTIONARY, EMPTY, attr};
use crate::string::parse_index;
use crate::throw::Throw;
use crate::unit::{INTRINSIC, Member};
use crate::value::{Ref, Value, space};
use forebay_bytecode::module::function_flags;

/// Flags of an object: bits 8 to 15 of its header.
pub(crate) mod flag {
    pub(crate) const NOT_EXTENSIBLE: u64 = 1 << 8;
    /// A function whose `name`, `length` and `prototype` are not made yet.
    pub(crate) const LAZY: u64 = 2 << 8;
    /// Elements are a DICT.
    pub(crate) const SPARSE: u64 = 4 << 8;
    /// An array whose `length` is not writable.
    pub(crate) const LENGTH_FIXED: u64 = 8 << 8;
    /// The same bit of an ordinary object: an arguments object.
    pub(crate) const ARGUMENTS: u64 = 8 << 8;
    /// `new` is allowed.
    pub(crate) const CONSTRUCTOR: u64 = 16 << 8;
    /// An object literal that was written in a `return` itself.
    pub(crate) const RETURNED: u64 = 32 << 8;
    /// What `JSON.rawJSON` has made.
    pub(crate) const RAW_JSON: u64 = 64 << 8;
    /// A module namespace object (namespace.rs): of an ordinary object, in a blueprint's space.
    pub(crate) const NAMESPACE: u64 = 128 << 8;
}

/// Elements that may be allocated beyond an array's end before it turns sparse.
const GAP_MAX: u32 = 1 << 14;
/// Longest dense array.
const DENSE_MAX: u32 = 1 << 27;

/// A property key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// 0 to 2^32 - 2.
    Index(u32),
    /// An interned string that doesn't spell an index, or a symbol.
    Atom(Value),
}

/// An own property.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Own {
    None,
    Data(Value, u8),
    /// Getter, setter (undefined where absent), attributes.
    Accessor(Value, Value, u8),
}

/// The outcome of reading a property.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Get {
    Value(Value),
    /// Call this with the receiver.
    Getter(Value),
}

/// The outcome of writing a property.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Put {
    Done,
    /// Call this with the receiver and the value.
    Setter(Value),
}

/// What `define_own` is asked for; absent fields stay as they are (or default to absent, false).
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Descriptor {
    pub(crate) value: Option<Value>,
    pub(crate) get: Option<Value>,
    pub(crate) set: Option<Value>,
    pub(crate) writable: Option<bool>,
    pub(crate) enumerable: Option<bool>,
    pub(crate) configurable: Option<bool>,
}

impl Descriptor {
    /// A data property with these attributes.
    pub(crate) fn data(value: Value, attrs: u8) -> Self {
        Self {
            value: Some(value),
            get: None,
            set: None,
            writable: Some(attrs & attr::WRITABLE != 0),
            enumerable: Some(attrs & attr::ENUMERABLE != 0),
            configurable: Some(attrs & attr::CONFIGURABLE != 0),
        }
    }
}

/// Which keys `own_keys` lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Keys {
    pub(crate) strings: bool,
    pub(crate) symbols: bool,
    pub(crate) only_enumerable: bool,
}

#[expect(clippy::cast_possible_truncation, reason = "packed words are taken apart")]
impl Mem<'_> {
    // ---- making objects

    /// A new object with `own` words of its kind's after word 3.
    #[inline]
    pub(crate) fn new_object_of(&mut self, kind: u8, proto: Value, own: u32) -> Result<Ref, Throw> {
        let start = [u64::from(kind) | u64::from(EMPTY) << 32, proto.bits(), 0, 0];
        let r = self.heap.alloc_object(OBJECT_WORDS + own, start)?;
        for word in 0..own {
            self.heap.set(r, OBJECT_WORDS + word, Value::UNDEFINED);
        }
        Ok(r)
    }

    /// `{}` with room for `capacity` properties.
    #[inline]
    pub(crate) fn new_object(&mut self, capacity: u32) -> Result<Ref, Throw> {
        let proto = self.local.known.object;
        self.new_plain(proto, capacity)
    }

    /// An ordinary object with a prototype.
    #[inline(always)]
    pub(crate) fn new_plain(&mut self, proto: Value, capacity: u32) -> Result<Ref, Throw> {
        let inline = capacity.clamp(2, 32);
        let header = u64::from(kind::OBJECT) | u64::from(inline) << 16 | u64::from(EMPTY) << 32;
        self.heap.alloc_object(OBJECT_WORDS + inline, [header, proto.bits(), 0, 0])
    }

    /// `[]` with room for `capacity` elements.
    pub(crate) fn new_array(&mut self, capacity: u32) -> Result<Ref, Throw> {
        let r = self.alloc_array(0, capacity)?;
        if capacity > 0 {
            let cell = self.elements(r);
            self.heap.values_mut(cell, 1, capacity as usize).fill(Value::HOLE);
        }
        Ok(r)
    }

    /// An array of these values.
    pub(crate) fn new_array_of(&mut self, values: &[Value]) -> Result<Ref, Throw> {
        let len = u32::try_from(values.len()).map_err(|_| Throw::range_error("Invalid array length"))?;
        let r = self.alloc_array(len, len)?;
        if len > 0 {
            let cell = self.elements(r);
            self.heap.values_mut(cell, 1, values.len()).copy_from_slice(values);
        }
        Ok(r)
    }

    /// An array of this length and, behind it, its elements, which the caller writes at once.
    #[inline(always)]
    fn alloc_array(&mut self, len: u32, capacity: u32) -> Result<Ref, Throw> {
        let header = u64::from(kind::ARRAY) | u64::from(EMPTY) << 32;
        let (proto, words) = (self.local.known.array.bits(), u64::from(len));
        if capacity == 0 {
            return self.heap.alloc_object(OBJECT_WORDS, [header, proto, 0, words]);
        }
        self.heap.check_room((capacity as usize + OBJECT_WORDS as usize + 1) * 8)?;
        // The elements' cell stands right behind the array.
        let elements = self.heap.top() as u64 + u64::from(OBJECT_WORDS);
        let start = [header, proto, elements << 32, words];
        let r = self.heap.alloc_object(OBJECT_WORDS + 1 + capacity, start)?;
        let cell = Ref::new(r.space(), r.index() + OBJECT_WORDS);
        self.heap.store(cell, 0, u64::from(kind::VALUES) | u64::from(capacity) << 32);
        self.heap.work += u64::from(capacity) / 32;
        Ok(r)
    }

    /// An arguments object, unmapped as in all strict code (ECMA-262 10.4.4.6).
    pub(crate) fn new_arguments(&mut self, values: &[Value]) -> Result<Value, Throw> {
        let r = self.new_object(4)?;
        self.set_flag(r, flag::ARGUMENTS);
        let count = values.len() as u32;
        if count > 0 {
            let cell = self.new_values(r.space(), count)?;
            self.heap.values_mut(cell, 1, values.len()).copy_from_slice(values);
            self.set_elements(r, cell);
        }
        let known = self.local.known;
        self.add_property(r, known.length, Value::from_u32(count), attr::HIDDEN)?;
        self.add_property(r, known.sym_iterator, known.array_values, attr::HIDDEN)?;
        let thrower = self.heap.alloc(3, u64::from(kind::ACCESSOR))?;
        self.heap.set(thrower, 1, known.throw_type_error);
        self.heap.set(thrower, 2, known.throw_type_error);
        self.add_property(r, known.callee, thrower.cell(), attr::ACCESSOR)?;
        self.heap.work += u64::from(count);
        Ok(r.object())
    }

    /// A VALUES cell full of holes, in a writable space.
    pub(crate) fn new_values(&mut self, of: u8, capacity: u32) -> Result<Ref, Throw> {
        self.heap.check_room(capacity as usize * 8 + 8)?;
        let cell =
            self.heap.alloc_in(of, capacity + 1, u64::from(kind::VALUES) | u64::from(capacity) << 32)?;
        self.heap.values_mut(cell, 1, capacity as usize).fill(Value::HOLE);
        self.heap.work += u64::from(capacity) / 32;
        Ok(cell)
    }

    /// A captured variable.
    pub(crate) fn new_variable(&mut self, value: Value) -> Result<Value, Throw> {
        let r = self.heap.alloc(2, u64::from(kind::VARIABLE))?;
        self.heap.set(r, 1, value);
        Ok(r.cell())
    }

    /// A native function; `own` is a value of its own (`ctx.own_value`).
    pub(crate) fn new_native(&mut self, index: u32, constructor: bool, own: Value) -> Result<Value, Throw> {
        let r = self.new_object_of(kind::NATIVE, self.local.known.function, 1)?;
        let flags = flag::LAZY | if constructor { flag::CONSTRUCTOR } else { 0 };
        self.heap.store(r, 0, self.heap.header(r) | flags);
        self.heap.store(r, 3, u64::from(index));
        self.heap.set(r, 4, own);
        Ok(r.object())
    }

    // ---- asking about objects

    #[inline(always)]
    pub(crate) fn kind_of(&self, v: Value) -> Option<u8> {
        v.is_object().then(|| self.heap.kind(v.as_ref()))
    }

    /// Whether `v` is an object of this kind.
    #[inline(always)]
    pub(crate) fn is_kind(&self, v: Value, kind: u8) -> bool {
        v.is_object() && self.heap.kind(v.as_ref()) == kind
    }

    pub(crate) fn is_callable(&self, v: Value) -> bool {
        matches!(self.kind_of(v), Some(kind::CLOSURE | kind::NATIVE | kind::BOUND))
    }

    pub(crate) fn is_constructor(&self, v: Value) -> bool {
        v.is_object() && self.heap.header(v.as_ref()) & flag::CONSTRUCTOR != 0
    }

    #[inline(always)]
    pub(crate) fn proto_of(&self, r: Ref) -> Value {
        self.heap.get(r, 1)
    }

    #[inline(always)]
    pub(crate) fn shape(&self, r: Ref) -> u32 {
        (self.heap.header(r) >> 32) as u32
    }

    fn set_shape(&mut self, r: Ref, shape: u32) {
        let header = self.heap.header(r) & 0xffff_ffff | u64::from(shape) << 32;
        self.heap.store(r, 0, header);
    }

    /// Takes all named properties from an object; `shape` is the empty one.
    pub(crate) fn clear_properties(&mut self, r: Ref, shape: u32) {
        self.set_slots(r, Ref::new(r.space(), 0));
        self.set_shape(r, shape);
    }

    pub(crate) fn set_flag(&mut self, r: Ref, flag: u64) {
        self.heap.store(r, 0, self.heap.header(r) | flag);
    }

    pub(crate) fn is_extensible(&self, r: Ref) -> bool {
        self.heap.header(r) & flag::NOT_EXTENSIBLE == 0
    }

    /// Length of an array.
    #[inline(always)]
    pub(crate) fn array_len(&self, r: Ref) -> u32 {
        self.heap.load(r, 3) as u32
    }

    #[inline(always)]
    pub(crate) fn slots(&self, r: Ref) -> Ref {
        Ref::new(r.space(), self.heap.load(r, 2) as u32)
    }

    /// The elements cell; index 0 if there is none.
    #[inline(always)]
    pub(crate) fn elements(&self, r: Ref) -> Ref {
        Ref::new(r.space(), (self.heap.load(r, 2) >> 32) as u32)
    }

    fn set_slots(&mut self, r: Ref, cell: Ref) {
        let word = self.heap.load(r, 2) >> 32 << 32 | u64::from(cell.index());
        self.heap.store(r, 2, word);
    }

    fn set_elements(&mut self, r: Ref, cell: Ref) {
        let word = self.heap.load(r, 2) & 0xffff_ffff | u64::from(cell.index()) << 32;
        self.heap.store(r, 2, word);
    }

    /// Refuses changes of what is shared by all requests.
    #[inline(always)]
    pub(crate) fn check_mutable(&mut self, r: Ref) -> Result<(), Throw> {
        self.check_change(r, None)
    }

    /// Before a change of one property: built-in objects become the task's own copy.
    #[inline(always)]
    pub(crate) fn check_change(&mut self, r: Ref, key: Option<Key>) -> Result<(), Throw> {
        if r.space() == self.heap.own() { Ok(()) } else { self.touch(r, key) }
    }

    /// After it.
    #[inline(always)]
    fn changed(&mut self, r: Ref, key: Key) -> Result<(), Throw> {
        if r.space() == self.heap.own() { Ok(()) } else { self.sync_global(r, key) }
    }

    // ---- keys

    /// The key that a primitive names. Objects must have been made primitive before.
    #[inline]
    pub(crate) fn key(&mut self, v: Value) -> Result<Key, Throw> {
        if let Some(index) = v.as_index() {
            return Ok(Key::Index(index));
        }
        if v.is_symbol() {
            return Ok(Key::Atom(v));
        }
        let s = if v.is_string() { v } else { self.to_string(v)? };
        self.key_of_string(s)
    }

    /// The key that a string names.
    pub(crate) fn key_of_string(&mut self, s: Value) -> Result<Key, Throw> {
        let flat = self.heap.flat(s)?;
        if let Some(index) = parse_index(self.heap.str_bytes(flat)) {
            return Ok(Key::Index(index));
        }
        Ok(Key::Atom(self.intern_string(flat)?))
    }

    /// The key with this text.
    pub(crate) fn key_of_text(&mut self, text: &str) -> Result<Key, Throw> {
        match parse_index(text.as_bytes()) {
            Some(index) => Ok(Key::Index(index)),
            None => Ok(Key::Atom(self.intern(text.as_bytes())?)),
        }
    }

    /// A key as the script sees it.
    pub(crate) fn key_value(&mut self, key: Key) -> Result<Value, Throw> {
        match key {
            Key::Atom(atom) => Ok(atom),
            Key::Index(i) if i < 10 => Ok(self.local.known.chars[(b'0' + i as u8) as usize]),
            Key::Index(i) => self.heap.number_to_string(f64::from(i)),
        }
    }

    // ---- reading

    #[inline]
    pub(crate) fn slot_value(&self, r: Ref, slot: u32) -> Value {
        let inline = (self.heap.header(r) >> 16 & 0xff) as u32;
        if slot < inline {
            self.heap.get(r, OBJECT_WORDS + slot)
        } else {
            self.heap.get(self.slots(r), 1 + slot - inline)
        }
    }

    fn set_slot_value(&mut self, r: Ref, slot: u32, value: Value) {
        let inline = (self.heap.header(r) >> 16 & 0xff) as u32;
        if slot < inline {
            self.heap.set(r, OBJECT_WORDS + slot, value);
        } else {
            self.heap.set(self.slots(r), 1 + slot - inline, value);
        }
    }

    /// Where a slot is, for an inline cache.
    pub(crate) fn cache_slot(&self, r: Ref, slot: u32) -> u32 {
        let inline = (self.heap.header(r) >> 16 & 0xff) as u32;
        if slot < inline { OBJECT_WORDS + slot } else { crate::unit::OUTSIDE | (1 + slot - inline) }
    }

    /// The header of an object that has a data property by its shape, and where every object with this header has it.
    pub(crate) fn data_slot(&self, r: Ref, key: Key) -> Option<(u64, u32)> {
        let Key::Atom(atom) = key else { return None };
        let header = self.heap.header(r);
        let shape = (header >> 32) as u32;
        if shape == DICTIONARY || header as u8 != kind::OBJECT {
            return None;
        }
        let (slot, attrs) = self.local.shapes.find(shape, atom)?;
        (attrs & attr::ACCESSOR == 0).then(|| (header, self.cache_slot(r, slot)))
    }

    /// The value at such a place.
    #[inline(always)]
    pub(crate) fn at_cache_slot(&self, r: Ref, slot: u32) -> Value {
        if slot & crate::unit::OUTSIDE == 0 {
            self.heap.get(r, slot)
        } else {
            self.heap.get(self.slots(r), slot & !crate::unit::OUTSIDE)
        }
    }

    #[inline(always)]
    pub(crate) fn set_at_cache_slot(&mut self, r: Ref, slot: u32, value: Value) {
        if slot & crate::unit::OUTSIDE == 0 {
            self.heap.set(r, slot, value);
        } else {
            self.heap.set(self.slots(r), slot & !crate::unit::OUTSIDE, value);
        }
    }

    /// What reading an accessor's property is, given its cell.
    pub(crate) fn getter_of(&self, cell: Value) -> Get {
        let getter = self.heap.get(cell.as_ref(), 1);
        if getter.is_undefined() { Get::Value(getter) } else { Get::Getter(getter) }
    }

    fn property(&self, value: Value, attrs: u8) -> Own {
        if attrs & attr::ACCESSOR != 0 {
            let cell = value.as_ref();
            Own::Accessor(self.heap.get(cell, 1), self.heap.get(cell, 2), attrs)
        } else {
            Own::Data(value, attrs)
        }
    }

    /// The same of an object with this header: what a namespace has for an accessor is a variable.
    #[inline(always)]
    fn named_property(&mut self, header: u64, value: Value, attrs: u8) -> Result<Own, Throw> {
        match self.property(value, attrs) {
            Own::Accessor(getter, ..) if header & flag::NAMESPACE != 0 => self.namespace_own(getter),
            own => Ok(own),
        }
    }

    /// The element of an array that is dense, without looking further.
    #[inline(always)]
    pub(crate) fn dense_element(&self, r: Ref, index: u32) -> Option<Value> {
        if self.heap.header(r) & flag::SPARSE != 0 {
            return None;
        }
        let cell = self.elements(r);
        if cell.index() == 0 || index >= (self.heap.header(cell) >> 32) as u32 {
            return None;
        }
        let v = self.heap.get(cell, 1 + index);
        if v.is_hole() { None } else { Some(v) }
    }

    /// Writes an element of a plain array over a hole inside its length, where no prototype has a say (the
    /// caller has looked at `touched`); false: it isn't one.
    #[inline]
    pub(crate) fn fill_hole(&mut self, r: Ref, index: u32, value: Value) -> bool {
        let header = self.heap.header(r);
        let plain = header & 0xff == u64::from(kind::ARRAY)
            && header & (flag::SPARSE | flag::NOT_EXTENSIBLE) == 0
            && self.proto_of(r) == self.local.known.array
            && index < self.array_len(r);
        if !plain {
            return false;
        }
        let cell = self.elements(r);
        if cell.index() == 0 || index >= (self.heap.header(cell) >> 32) as u32 {
            return false;
        }
        self.heap.set(cell, 1 + index, value);
        true
    }

    /// An own property; functions' lazy ones are made where that is possible.
    pub(crate) fn get_own(&mut self, r: Ref, key: Key) -> Result<Own, Throw> {
        let header = self.heap.header(r);
        let atom = match key {
            Key::Index(index) => return self.get_own_index(r, header, index),
            Key::Atom(atom) => atom,
        };
        let kind = header as u8;
        if kind == kind::ARRAY && atom == self.local.known.length {
            let attrs = if header & flag::LENGTH_FIXED != 0 { 0 } else { attr::WRITABLE };
            return Ok(Own::Data(Value::from_u32(self.array_len(r)), attrs));
        }
        if kind == kind::BOXED && atom == self.local.known.length {
            let primitive = self.heap.get(r, 4);
            if primitive.is_string() {
                return Ok(Own::Data(Value::from_u32(self.heap.string_len(primitive)), 0));
            }
        }
        let shape = (header >> 32) as u32;
        if shape == DICTIONARY {
            if let Some(entry) = self.heap.dict_find_bits(self.slots(r), atom) {
                let (_, value, attrs) = self.heap.dict_entry(self.slots(r), entry);
                return self.named_property(header, value, attrs);
            }
        } else if let Some((slot, attrs)) = self.local.shapes.find(shape, atom) {
            let value = self.slot_value(r, slot);
            return self.named_property(header, value, attrs);
        }
        if header & flag::LAZY != 0 {
            return self.lazy_property(r, atom);
        }
        Ok(Own::None)
    }

    fn get_own_index(&mut self, r: Ref, header: u64, index: u32) -> Result<Own, Throw> {
        if header & flag::SPARSE != 0 {
            let cell = self.elements(r);
            if let Some(entry) = self.heap.dict_find_bits(cell, index_key(index)) {
                let (_, value, attrs) = self.heap.dict_entry(cell, entry);
                return Ok(self.property(value, attrs));
            }
        } else if let Some(v) = self.dense_element(r, index) {
            return Ok(Own::Data(v, attr::DEFAULT));
        }
        if header as u8 == kind::BOXED {
            let primitive = self.heap.get(r, 4);
            if primitive.is_string() && index < self.heap.string_len(primitive) {
                let c = self.char_at(primitive, index)?;
                return Ok(Own::Data(c, attr::ENUMERABLE));
            }
        }
        Ok(Own::None)
    }

    /// The one-unit string at `index`, which is in range.
    pub(crate) fn char_at(&mut self, s: Value, index: u32) -> Result<Value, Throw> {
        let flat = self.heap.flat(s)?;
        if self.heap.is_ascii(flat) {
            let byte = self.heap.str_bytes(flat)[index as usize];
            return Ok(self.local.known.chars[usize::from(byte & 0x7f)]);
        }
        self.heap.substring(flat, index, index + 1)
    }

    /// `object[key]` along the prototype chain.
    pub(crate) fn get(&mut self, r: Ref, key: Key) -> Result<Get, Throw> {
        let mut at = r;
        loop {
            match self.get_own(at, key)? {
                Own::Data(v, _) => return Ok(Get::Value(v)),
                Own::Accessor(getter, _, _) if getter.is_undefined() => return Ok(Get::Value(getter)),
                Own::Accessor(getter, _, _) => return Ok(Get::Getter(getter)),
                Own::None => {}
            }
            let proto = self.proto_of(at);
            if !proto.is_object() {
                return Ok(Get::Value(Value::UNDEFINED));
            }
            self.heap.work += 1;
            at = proto.as_ref();
        }
    }

    /// `value[key]` of any value; TypeError for undefined and null.
    pub(crate) fn get_value(&mut self, v: Value, key: Key) -> Result<Get, Throw> {
        if v.is_object() {
            return self.get(v.as_ref(), key);
        }
        let known = &self.local.known;
        let proto = if v.is_string() {
            if key == Key::Atom(known.length) {
                return Ok(Get::Value(Value::from_u32(self.heap.string_len(v))));
            }
            if let Key::Index(index) = key
                && index < self.heap.string_len(v)
            {
                return Ok(Get::Value(self.char_at(v, index)?));
            }
            known.string
        } else if v.is_number() {
            known.number
        } else if v.is_bool() {
            known.boolean
        } else if v.is_symbol() {
            known.symbol
        } else if v.is_bigint() {
            known.bigint
        } else {
            let what = if v.is_null() { "null" } else { "undefined" };
            let name = self.key_text(key)?;
            return Err(Throw::type_error(format!("Cannot read properties of {what} (reading '{name}')")));
        };
        if proto.is_object() { self.get(proto.as_ref(), key) } else { Ok(Get::Value(Value::UNDEFINED)) }
    }

    /// A key's text for messages.
    pub(crate) fn key_text(&mut self, key: Key) -> Result<String, Throw> {
        match key {
            Key::Index(i) => Ok(i.to_string()),
            Key::Atom(a) if a.is_symbol() => self.symbol_text(a),
            Key::Atom(a) => self.heap.to_text(a),
        }
    }

    /// A data property read where no script may run: getters read as undefined.
    pub(crate) fn get_plain(&mut self, r: Ref, key: Key) -> Result<Value, Throw> {
        match self.get(r, key)? {
            Get::Value(v) => Ok(v),
            Get::Getter(_) => Ok(Value::UNDEFINED),
        }
    }

    /// Whether `key in object`.
    pub(crate) fn has(&mut self, r: Ref, key: Key) -> Result<bool, Throw> {
        let mut at = r;
        loop {
            let found = match self.is_namespace(at) {
                true => self.namespace_has(at, key),
                false => self.get_own(at, key)? != Own::None,
            };
            if found {
                return Ok(true);
            }
            let proto = self.proto_of(at);
            if !proto.is_object() {
                return Ok(false);
            }
            self.heap.work += 1;
            at = proto.as_ref();
        }
    }

    /// Whether `proto` is in the prototype chain of `v`.
    pub(crate) fn has_in_chain(&mut self, v: Value, proto: Value) -> bool {
        let mut at = v;
        while at.is_object() {
            at = self.proto_of(at.as_ref());
            if at == proto && at.is_object() {
                return true;
            }
            self.heap.work += 1;
        }
        false
    }

    // ---- functions' own properties, made when they are looked at

    fn lazy_property(&mut self, r: Ref, atom: Value) -> Result<Own, Throw> {
        let known = &self.local.known;
        if atom != known.name && atom != known.length && atom != known.prototype {
            return Ok(Own::None);
        }
        if self.heap.writable(r.space()) {
            self.make_lazy(r)?;
            return self.get_own(r, Key::Atom(atom));
        }
        if atom == known.prototype {
            return Ok(Own::None);
        }
        let (name, length) = self.function_name_length(r)?;
        let value = if atom == self.local.known.name { name } else { Value::int(length) };
        Ok(Own::Data(value, attr::CONFIGURABLE))
    }

    fn function_name_length(&mut self, r: Ref) -> Result<(Value, i32), Throw> {
        if self.heap.kind(r) == kind::NATIVE {
            let index = self.heap.load(r, 3) as usize;
            let native = &crate::builtins::natives()[index];
            let name = self.intern(native.name.as_bytes())?;
            return Ok((name, i32::from(native.length)));
        }
        let (unit, index) = self.function_of(r);
        let unit = &self.local.units[unit];
        let function = &unit.functions()[index as usize];
        Ok((unit.constants[function.name as usize], i32::from(function.length)))
    }

    /// Whether a closure is a class's constructor, whose `prototype` is made with it.
    fn is_class(&self, r: Ref) -> bool {
        let (unit, index) = self.function_of(r);
        self.local.units[unit].functions()[index as usize].flags & function_flags::CLASS != 0
    }

    /// Makes the `prototype` of a function that is frozen before anybody looks at it, if it has one. A class's is made
    /// with the class.
    pub(crate) fn make_prototype(&mut self, r: Ref) -> Result<(), Throw> {
        let (unit, index) = self.function_of(r);
        let flags = self.local.units[unit].functions()[index as usize].flags;
        let constructor = self.heap.header(r) & flag::CONSTRUCTOR != 0;
        let has = flags & function_flags::GENERATOR != 0
            || (constructor && flags & (function_flags::CLASS | function_flags::INIT) == 0);
        if has && unit == 0 { self.make_lazy(r) } else { Ok(()) }
    }

    /// Makes `length`, `name` and, for constructors, `prototype`.
    pub(crate) fn make_lazy(&mut self, r: Ref) -> Result<(), Throw> {
        let header = self.heap.header(r);
        if header & flag::LAZY == 0 || !self.heap.writable(r.space()) {
            return Ok(());
        }
        self.heap.store(r, 0, header & !flag::LAZY);
        let (name, length) = self.function_name_length(r)?;
        let known = self.local.known;
        self.add_property(r, known.length, Value::int(length), attr::CONFIGURABLE)?;
        self.add_property(r, known.name, name, attr::CONFIGURABLE)?;
        if self.heap.kind(r) == kind::CLOSURE && header & flag::CONSTRUCTOR != 0 && !self.is_class(r) {
            let prototype = self.new_object(2)?;
            self.add_property(prototype, known.constructor, r.object(), attr::HIDDEN)?;
            self.add_property(r, known.prototype, prototype.object(), attr::WRITABLE)?;
        } else if self.heap.kind(r) == kind::CLOSURE {
            let (unit, index) = self.function_of(r);
            let flags = self.local.units[unit].functions()[index as usize].flags;
            if flags & function_flags::GENERATOR != 0 {
                let is_async = flags & function_flags::ASYNC != 0;
                let parent = if is_async { known.async_generator } else { known.generator };
                let prototype = self.new_plain(parent, 2)?;
                self.add_property(r, known.prototype, prototype.object(), attr::WRITABLE)?;
            }
        }
        Ok(())
    }

    // ---- writing

    /// Adds an own named property that is not there, whatever the object's flags say.
    pub(crate) fn add_property(&mut self, r: Ref, atom: Value, value: Value, attrs: u8) -> Result<(), Throw> {
        let shape = self.shape(r);
        if shape != DICTIONARY {
            if let Some(next) = self.local.shapes.add(shape, atom, attrs) {
                let slot = (self.local.shapes.properties(next).len() - 1) as u32;
                return self.push_slot(r, slot, next, value);
            }
            self.to_dictionary(r)?;
        }
        let dict = self.slots(r);
        let new = self.heap.dict_add_bits(dict, atom, value, attrs)?;
        if new != dict {
            self.set_slots(r, new);
        }
        Ok(())
    }

    /// Writes the value of a property that `next` has added.
    pub(crate) fn push_slot(&mut self, r: Ref, slot: u32, next: u32, value: Value) -> Result<(), Throw> {
        let inline = (self.heap.header(r) >> 16 & 0xff) as u32;
        if slot < inline {
            self.heap.set(r, OBJECT_WORDS + slot, value);
        } else {
            let at = slot - inline;
            let cell = self.slots(r);
            let capacity = if cell.index() == 0 { 0 } else { (self.heap.header(cell) >> 32) as u32 };
            if at >= capacity {
                let new = self.new_values(r.space(), (capacity * 2).max(4))?;
                if capacity > 0 {
                    self.heap.copy_words((cell, 1), (new, 1), capacity);
                }
                self.set_slots(r, new);
            }
            self.heap.set(self.slots(r), 1 + at, value);
        }
        self.set_shape(r, next);
        Ok(())
    }

    fn to_dictionary(&mut self, r: Ref) -> Result<(), Throw> {
        let shape = self.shape(r);
        if shape == DICTIONARY {
            return Ok(());
        }
        let properties = self.local.shapes.properties(shape);
        let properties: Vec<(Value, u8)> = properties.iter().map(|p| (p.key, p.attrs)).collect();
        self.to_dictionary_of(r, &properties)
    }

    /// The same for an object whose slots hold these properties, whatever its shape says.
    pub(crate) fn to_dictionary_of(&mut self, r: Ref, properties: &[(Value, u8)]) -> Result<(), Throw> {
        let mut dict = self.heap.dict_new_in(r.space(), properties.len() as u32 * 2)?;
        for (slot, (key, attrs)) in (0u32..).zip(properties) {
            let value = self.slot_value(r, slot);
            dict = self.heap.dict_add_bits(dict, *key, value, *attrs)?;
        }
        self.set_slots(r, dict);
        self.set_shape(r, DICTIONARY);
        Ok(())
    }

    /// Overwrites an own property that is there, with attributes.
    pub(crate) fn set_own(&mut self, r: Ref, key: Key, value: Value, attrs: u8) -> Result<(), Throw> {
        match key {
            Key::Index(index) => {
                if attrs != attr::DEFAULT {
                    self.to_sparse(r)?;
                }
                if self.heap.header(r) & flag::SPARSE == 0 {
                    let cell = self.elements(r);
                    self.heap.set(cell, 1 + index, value);
                    return Ok(());
                }
                let cell = self.elements(r);
                if let Some(entry) = self.heap.dict_find_bits(cell, index_key(index)) {
                    self.heap.dict_set(cell, entry, value);
                    self.heap.dict_set_attrs(cell, entry, attrs);
                }
                Ok(())
            }
            Key::Atom(atom) => {
                let shape = self.shape(r);
                if shape != DICTIONARY {
                    if let Some((slot, old)) = self.local.shapes.find(shape, atom)
                        && old == attrs
                    {
                        self.set_slot_value(r, slot, value);
                        return Ok(());
                    }
                    self.to_dictionary(r)?;
                }
                let dict = self.slots(r);
                if let Some(entry) = self.heap.dict_find_bits(dict, atom) {
                    self.heap.dict_set(dict, entry, value);
                    self.heap.dict_set_attrs(dict, entry, attrs);
                }
                Ok(())
            }
        }
    }

    /// `object[key] = value`, strict.
    pub(crate) fn put(&mut self, r: Ref, key: Key, value: Value) -> Result<Put, Throw> {
        let mut at = r;
        loop {
            if self.is_namespace(at) {
                return Err(self.refuse_namespace_write(key));
            }
            match self.get_own(at, key)? {
                Own::Data(_, attrs) => {
                    if attrs & attr::WRITABLE == 0 {
                        let name = self.key_text(key)?;
                        return Err(Throw::type_error(format!(
                            "Cannot assign to read only property '{name}'"
                        )));
                    }
                    if at == r {
                        if value.is_object()
                            && self.heap.kind(r) == kind::ARRAY
                            && key == Key::Atom(self.local.known.length)
                        {
                            return Ok(Put::Setter(self.local.known.helpers[Helper::SetLength as usize]));
                        }
                        self.check_change(r, Some(key))?;
                        if self.heap.kind(r) == kind::ARRAY && key == Key::Atom(self.local.known.length) {
                            self.set_array_length(r, value)?;
                        } else {
                            self.set_own(r, key, value, attrs)?;
                        }
                        self.changed(r, key)?;
                        return Ok(Put::Done);
                    }
                    break;
                }
                Own::Accessor(_, setter, _) => {
                    if setter.is_undefined() {
                        let name = self.key_text(key)?;
                        return Err(Throw::type_error(format!(
                            "Cannot set property '{name}' which has only a getter"
                        )));
                    }
                    return Ok(Put::Setter(setter));
                }
                Own::None => {}
            }
            let proto = self.proto_of(at);
            if !proto.is_object() {
                break;
            }
            self.heap.work += 1;
            at = proto.as_ref();
        }
        self.check_change(r, Some(key))?;
        if !self.is_extensible(r) {
            let name = self.key_text(key)?;
            return Err(Throw::type_error(format!("Cannot add property '{name}', object is not extensible")));
        }
        // A function's own properties come first.
        self.make_lazy(r)?;
        self.add_own(r, key, value, attr::DEFAULT)?;
        self.changed(r, key)?;
        Ok(Put::Done)
    }

    /// Adds an own property that is not there.
    fn add_own(&mut self, r: Ref, key: Key, value: Value, attrs: u8) -> Result<(), Throw> {
        match key {
            Key::Atom(atom) => self.add_property(r, atom, value, attrs),
            Key::Index(index) => self.add_index(r, index, value, attrs),
        }
    }

    fn add_index(&mut self, r: Ref, index: u32, value: Value, attrs: u8) -> Result<(), Throw> {
        let header = self.heap.header(r);
        let is_array = header as u8 == kind::ARRAY;
        if is_array && index >= self.array_len(r) {
            if header & flag::LENGTH_FIXED != 0 {
                return Err(Throw::type_error("Cannot add elements: length is not writable"));
            }
            self.heap.store(r, 3, u64::from(index) + 1);
        }
        if header & flag::SPARSE == 0 && attrs == attr::DEFAULT {
            let cell = self.elements(r);
            let capacity = if cell.index() == 0 { 0 } else { (self.heap.header(cell) >> 32) as u32 };
            if index < capacity {
                self.heap.set(cell, 1 + index, value);
                return Ok(());
            }
            if index < DENSE_MAX && (index - capacity < GAP_MAX || index / 2 < capacity) {
                self.grow_elements(r, index + 1)?;
                let cell = self.elements(r);
                self.heap.set(cell, 1 + index, value);
                return Ok(());
            }
        }
        self.to_sparse(r)?;
        let cell = self.elements(r);
        let new = self.heap.dict_add_bits(cell, index_key(index), value, attrs)?;
        if new != cell {
            self.set_elements(r, new);
        }
        Ok(())
    }

    /// Makes room for at least `needed` dense elements.
    pub(crate) fn grow_elements(&mut self, r: Ref, needed: u32) -> Result<(), Throw> {
        let cell = self.elements(r);
        let capacity = if cell.index() == 0 { 0 } else { (self.heap.header(cell) >> 32) as u32 };
        if needed <= capacity {
            return Ok(());
        }
        let target = needed.max(capacity + capacity / 2).max(4);
        if capacity > 0 && self.heap.extend(cell, capacity + 1, target - capacity) {
            self.heap.store(cell, 0, u64::from(kind::VALUES) | u64::from(target) << 32);
            let added = (target - capacity) as usize;
            self.heap.values_mut(cell, 1 + capacity, added).fill(Value::HOLE);
            self.heap.work += added as u64 / 32;
            return Ok(());
        }
        let new = self.new_values(r.space(), target)?;
        if capacity > 0 {
            self.heap.copy_words((cell, 1), (new, 1), capacity);
        }
        self.set_elements(r, new);
        Ok(())
    }

    /// Takes the first place off dense elements: the cell starts a word later, so a queue costs no copying.
    pub(crate) fn drop_first_element(&mut self, r: Ref) {
        let cell = self.elements(r);
        if cell.index() == 0 {
            return;
        }
        let capacity = (self.heap.header(cell) >> 32) as u32;
        if capacity <= 1 {
            self.set_elements(r, Ref::new(r.space(), 0));
            return;
        }
        let rest = Ref::new(cell.space(), cell.index() + 1);
        // What is left of the old cell is one of no values.
        self.heap.store(cell, 0, u64::from(kind::VALUES));
        self.heap.store(rest, 0, u64::from(kind::VALUES) | u64::from(capacity - 1) << 32);
        self.set_elements(r, rest);
    }

    fn to_sparse(&mut self, r: Ref) -> Result<(), Throw> {
        let header = self.heap.header(r);
        if header & flag::SPARSE != 0 {
            return Ok(());
        }
        let cell = self.elements(r);
        let capacity = if cell.index() == 0 { 0 } else { (self.heap.header(cell) >> 32) as u32 };
        let mut dict = self.heap.dict_new_in(r.space(), capacity)?;
        for index in 0..capacity {
            let v = self.heap.get(cell, 1 + index);
            if !v.is_hole() {
                dict = self.heap.dict_add_bits(dict, index_key(index), v, attr::DEFAULT)?;
            }
        }
        self.heap.work += u64::from(capacity) / 4;
        self.set_elements(r, dict);
        self.heap.store(r, 0, header | flag::SPARSE);
        Ok(())
    }

    /// Writes an element behind the last one of an array of this length, if there is room; false: there isn't.
    #[inline(always)]
    pub(crate) fn push_in_place(&mut self, r: Ref, len: u32, value: Value) -> bool {
        let cell = self.elements(r);
        let plain = self.heap.header(r) & (flag::SPARSE | flag::NOT_EXTENSIBLE | flag::LENGTH_FIXED) == 0;
        let fits = plain && cell.index() != 0 && len < (self.heap.header(cell) >> 32) as u32;
        if fits {
            self.heap.set(cell, 1 + len, value);
            self.heap.store(r, 3, u64::from(len) + 1);
        }
        fits
    }

    /// Appends to a dense array: literals, `push`, results of natives.
    #[inline]
    pub(crate) fn array_push(&mut self, r: Ref, value: Value) -> Result<(), Throw> {
        let len = self.array_len(r);
        if len == u32::MAX {
            return Err(Throw::range_error("Invalid array length"));
        }
        if self.push_in_place(r, len, value) {
            return Ok(());
        }
        self.check_change(r, Some(Key::Index(len)))?;
        if !self.is_extensible(r) {
            return Err(Throw::type_error("Cannot add property, object is not extensible"));
        }
        if value.is_hole() {
            self.heap.store(r, 3, u64::from(len) + 1);
            return Ok(());
        }
        self.add_index(r, len, value, attr::DEFAULT)
    }

    /// `array.length = value`.
    pub(crate) fn set_array_length(&mut self, r: Ref, value: Value) -> Result<(), Throw> {
        let length = Key::Atom(self.local.known.length);
        self.check_change(r, Some(length))?;
        let n = self.to_number_primitive(value)?;
        let len = n as u32;
        if f64::from(len) != n {
            return Err(Throw::range_error("Invalid array length"));
        }
        let old = self.array_len(r);
        if self.heap.header(r) & flag::LENGTH_FIXED != 0 && len != old {
            return Err(Throw::type_error("Cannot assign to read only property 'length'"));
        }
        if len < old {
            let cell = self.elements(r);
            if self.heap.header(r) & flag::SPARSE != 0 {
                self.truncate_sparse(r, len)?;
                return Ok(());
            }
            if cell.index() != 0 {
                let capacity = (self.heap.header(cell) >> 32) as u32;
                if len < capacity {
                    let end = old.min(capacity);
                    self.heap.values_mut(cell, 1 + len, (end - len) as usize).fill(Value::HOLE);
                    self.heap.work += u64::from(end - len) / 32;
                }
            }
        }
        self.heap.store(r, 3, u64::from(len));
        Ok(())
    }

    fn truncate_sparse(&mut self, r: Ref, len: u32) -> Result<(), Throw> {
        let cell = self.elements(r);
        let mut doomed: Vec<(u32, u32, u8)> = Vec::new();
        for entry in 0..self.heap.dict_used(cell) {
            let (key, _, attrs) = self.heap.dict_entry(cell, entry);
            if let Some(index) = key.as_index().filter(|i| *i >= len) {
                doomed.push((index, entry, attrs));
            }
        }
        self.heap.work += u64::from(self.heap.dict_used(cell));
        doomed.sort_unstable_by(|a, b| b.cmp(a));
        for (index, entry, attrs) in doomed {
            if attrs & attr::CONFIGURABLE == 0 {
                self.heap.store(r, 3, u64::from(index) + 1);
                return Err(Throw::type_error(format!("Cannot delete property '{index}'")));
            }
            self.heap.dict_remove(cell, entry);
        }
        self.heap.store(r, 3, u64::from(len));
        Ok(())
    }

    /// CreateDataProperty of literals: defines or overwrites, attributes default.
    #[inline]
    pub(crate) fn define_data(&mut self, r: Ref, key: Key, value: Value) -> Result<(), Throw> {
        if r.space() != self.heap.own() {
            return self.define_own(r, key, &Descriptor::data(value, attr::DEFAULT));
        }
        match self.get_own(r, key)? {
            Own::None if self.is_extensible(r) => self.add_own(r, key, value, attr::DEFAULT),
            Own::Data(_, attr::DEFAULT) => self.set_own(r, key, value, attr::DEFAULT),
            _ => {
                self.define_own(r, key, &Descriptor::data(value, attr::DEFAULT))?;
                Ok(())
            }
        }
    }

    /// ValidateAndApplyPropertyDescriptor (ECMA-262 10.1.6.3); TypeError where it says false.
    pub(crate) fn define_own(&mut self, r: Ref, key: Key, d: &Descriptor) -> Result<(), Throw> {
        if self.is_namespace(r) {
            return self.define_namespace(r, key, d);
        }
        self.check_change(r, Some(key))?;
        self.make_lazy(r)?;
        let old = self.get_own(r, key)?;
        let accessor = d.get.is_some() || d.set.is_some();
        let bit = |wanted: Option<bool>, bit: u8, old: u8| match wanted {
            Some(true) => bit,
            Some(false) => 0,
            None => old & bit,
        };
        let (old_attrs, old_value) = match old {
            Own::None => {
                if !self.is_extensible(r) {
                    return Err(Throw::type_error("Cannot define property, object is not extensible"));
                }
                (None, Value::UNDEFINED)
            }
            Own::Data(v, attrs) => (Some(attrs), v),
            Own::Accessor(_, _, attrs) => (Some(attrs), Value::UNDEFINED),
        };
        let base = old_attrs.unwrap_or(0);
        if old_attrs.is_some() && base & attr::CONFIGURABLE == 0 {
            self.check_redefine(old, d, key)?;
        }
        let mut attrs =
            bit(d.enumerable, attr::ENUMERABLE, base) | bit(d.configurable, attr::CONFIGURABLE, base);
        let was_accessor = matches!(old, Own::Accessor(..));
        let value = if accessor || (was_accessor && d.value.is_none() && d.writable.is_none()) {
            attrs |= attr::ACCESSOR;
            let (get, set) = match old {
                Own::Accessor(g, s, _) => (d.get.unwrap_or(g), d.set.unwrap_or(s)),
                _ => (d.get.unwrap_or_default(), d.set.unwrap_or_default()),
            };
            let cell = self.heap.alloc(3, u64::from(kind::ACCESSOR))?;
            self.heap.set(cell, 1, get);
            self.heap.set(cell, 2, set);
            cell.cell()
        } else {
            attrs |= bit(d.writable, attr::WRITABLE, if was_accessor { 0 } else { base });
            d.value.unwrap_or(old_value)
        };
        if self.heap.kind(r) == kind::ARRAY && key == Key::Atom(self.local.known.length) {
            let set = match d.value {
                Some(v) => self.set_array_length(r, v),
                None => Ok(()),
            };
            // It is fixed even if an element could not be deleted.
            if d.writable == Some(false) {
                self.set_flag(r, flag::LENGTH_FIXED);
            }
            return set;
        }
        if old_attrs.is_none() {
            self.add_own(r, key, value, attrs)?;
        } else {
            self.set_own(r, key, value, attrs)?;
        }
        self.changed(r, key)
    }

    pub(crate) fn check_redefine(&mut self, old: Own, d: &Descriptor, key: Key) -> Result<(), Throw> {
        let refuse = match old {
            Own::None => false,
            Own::Data(v, attrs) => {
                let loose = d.configurable == Some(true)
                    || d.enumerable.is_some_and(|e| e != (attrs & attr::ENUMERABLE != 0))
                    || d.get.is_some()
                    || d.set.is_some();
                let fixed = attrs & attr::WRITABLE == 0
                    && (d.writable == Some(true)
                        || match d.value {
                            Some(new) => !self.same_value(new, v)?,
                            None => false,
                        });
                loose || fixed
            }
            Own::Accessor(g, s, attrs) => {
                d.configurable == Some(true)
                    || d.enumerable.is_some_and(|e| e != (attrs & attr::ENUMERABLE != 0))
                    || d.value.is_some()
                    || d.writable.is_some()
                    || d.get.is_some_and(|v| v != g)
                    || d.set.is_some_and(|v| v != s)
            }
        };
        if refuse {
            let name = self.key_text(key)?;
            return Err(Throw::type_error(format!("Cannot redefine property: {name}")));
        }
        Ok(())
    }

    /// `delete object[key]`; TypeError where it is not configurable.
    pub(crate) fn delete(&mut self, r: Ref, key: Key) -> Result<bool, Throw> {
        if self.is_namespace(r) {
            return if self.namespace_has(r, key) {
                Err(self.refuse_namespace_delete(key))
            } else {
                Ok(true)
            };
        }
        let (attrs, _) = match self.get_own(r, key)? {
            Own::None => return Ok(true),
            Own::Data(v, attrs) => (attrs, v),
            Own::Accessor(_, _, attrs) => (attrs, Value::UNDEFINED),
        };
        self.check_change(r, Some(key))?;
        if attrs & attr::CONFIGURABLE == 0 {
            let name = self.key_text(key)?;
            return Err(Throw::type_error(format!("Cannot delete property '{name}'")));
        }
        match key {
            Key::Index(index) if self.heap.header(r) & flag::SPARSE == 0 => {
                let cell = self.elements(r);
                self.heap.set(cell, 1 + index, Value::HOLE);
            }
            Key::Index(index) => {
                let cell = self.elements(r);
                if let Some(entry) = self.heap.dict_find_bits(cell, index_key(index)) {
                    self.heap.dict_remove(cell, entry);
                }
            }
            Key::Atom(atom) => {
                self.make_lazy(r)?;
                self.to_dictionary(r)?;
                let dict = self.slots(r);
                if let Some(entry) = self.heap.dict_find_bits(dict, atom) {
                    self.heap.dict_remove(dict, entry);
                }
            }
        }
        Ok(true)
    }

    /// Own keys in the order of the standard: integers ascending, strings, symbols.
    pub(crate) fn own_keys(&mut self, r: Ref, which: Keys, out: &mut Vec<Key>) -> Result<(), Throw> {
        self.make_lazy(r)?;
        let header = self.heap.header(r);
        let wanted = |attrs: u8| !which.only_enumerable || attrs & attr::ENUMERABLE != 0;
        let start = out.len();
        if which.strings {
            if header as u8 == kind::BOXED {
                let primitive = self.heap.get(r, 4);
                if primitive.is_string() {
                    out.extend((0..self.heap.string_len(primitive)).map(Key::Index));
                }
            }
            let cell = self.elements(r);
            if cell.index() != 0 && header & flag::SPARSE == 0 {
                let capacity = (self.heap.header(cell) >> 32) as u32;
                for index in 0..capacity {
                    if !self.heap.get(cell, 1 + index).is_hole() {
                        out.push(Key::Index(index));
                    }
                }
            } else if cell.index() != 0 {
                let mut indexes = Vec::new();
                for entry in 0..self.heap.dict_used(cell) {
                    let (key, _, attrs) = self.heap.dict_entry(cell, entry);
                    if let Some(index) = key.as_index().filter(|_| wanted(attrs)) {
                        indexes.push(index);
                    }
                }
                indexes.sort_unstable();
                out.extend(indexes.into_iter().map(Key::Index));
            }
            if !which.only_enumerable && (header as u8 == kind::ARRAY || self.is_boxed_string(r)) {
                out.push(Key::Atom(self.local.known.length));
            }
        }
        let shape = (header >> 32) as u32;
        let mut named: Vec<Value> = Vec::new();
        if shape == DICTIONARY {
            let dict = self.slots(r);
            for entry in 0..self.heap.dict_used(dict) {
                let (key, _, attrs) = self.heap.dict_entry(dict, entry);
                if !key.is_empty() && wanted(attrs) {
                    named.push(key);
                }
            }
        } else {
            let properties = self.local.shapes.properties(shape);
            named.extend(properties.iter().filter(|p| wanted(p.attrs)).map(|p| p.key));
        }
        for symbols in [false, true] {
            let take = if symbols { which.symbols } else { which.strings };
            if take {
                let mine = |k: &&Value| k.is_symbol() == symbols && !(symbols && self.is_private(**k));
                out.extend(named.iter().filter(mine).map(|k| Key::Atom(*k)));
            }
        }
        self.heap.work += (out.len() - start) as u64;
        if which.only_enumerable && header & flag::NAMESPACE != 0 {
            self.check_bindings(r, &out[start..])?;
        }
        Ok(())
    }

    fn is_boxed_string(&self, r: Ref) -> bool {
        self.heap.kind(r) == kind::BOXED && self.heap.get(r, 4).is_string()
    }

    /// `Object.setPrototypeOf`.
    pub(crate) fn set_proto(&mut self, r: Ref, proto: Value) -> Result<(), Throw> {
        if self.proto_of(r) == proto {
            return Ok(());
        }
        if r.object() == self.local.known.object {
            return Err(Throw::type_error(
                "Immutable prototype object 'Object.prototype' cannot have their prototype set",
            ));
        }
        self.check_mutable(r)?;
        if !self.is_extensible(r) {
            return Err(Throw::type_error("Cannot set prototype: object is not extensible"));
        }
        let mut at = proto;
        while at.is_object() {
            if at.as_ref() == r {
                return Err(Throw::type_error("Cyclic __proto__ value"));
            }
            self.heap.work += 1;
            at = self.proto_of(at.as_ref());
        }
        self.heap.set(r, 1, proto);
        Ok(())
    }

    /// Makes an object fixed: `Object.preventExtensions`, `seal`, `freeze`.
    pub(crate) fn restrict(&mut self, r: Ref, seal: bool, freeze: bool) -> Result<(), Throw> {
        if self.is_namespace(r) {
            return self.restrict_namespace(r, seal, freeze);
        }
        if r.space() == space::BLUEPRINT && self.heap.own() != space::BLUEPRINT {
            return Ok(());
        }
        self.check_mutable(r)?;
        self.make_lazy(r)?;
        self.set_flag(r, flag::NOT_EXTENSIBLE);
        if !seal {
            return Ok(());
        }
        let cell = self.elements(r);
        if cell.index() != 0 {
            self.to_sparse(r)?;
            let cell = self.elements(r);
            self.restrict_dict(cell, freeze);
        }
        if self.shape(r) != EMPTY {
            self.to_dictionary(r)?;
            let dict = self.slots(r);
            self.restrict_dict(dict, freeze);
        }
        if freeze && self.heap.kind(r) == kind::ARRAY {
            self.set_flag(r, flag::LENGTH_FIXED);
        }
        Ok(())
    }

    fn restrict_dict(&mut self, dict: Ref, freeze: bool) {
        for entry in 0..self.heap.dict_used(dict) {
            let (key, _, mut attrs) = self.heap.dict_entry(dict, entry);
            if key.is_empty() || self.is_private(key) {
                continue;
            }
            attrs &= !attr::CONFIGURABLE;
            if freeze && attrs & attr::ACCESSOR == 0 {
                attrs &= !attr::WRITABLE;
            }
            self.heap.dict_set_attrs(dict, entry, attrs);
        }
    }

    /// The `prototype` of a constructor, where it is an object. Constructors have it as a data property that can't
    /// become an accessor, so no script runs.
    pub(crate) fn prototype_from(&mut self, constructor: Value, or: Value) -> Result<Value, Throw> {
        if !constructor.is_object() {
            return Ok(or);
        }
        let (r, name) = (constructor.as_ref(), self.local.known.prototype);
        let header = self.heap.header(r);
        if let Some(known) = self.local.member(header, name) {
            let v = self.at_cache_slot(r, known.slot);
            return Ok(if v.is_object() { v } else { or });
        }
        let own = self.get_own(r, Key::Atom(name))?;
        self.learn_place(r, header, name);
        match own {
            Own::Data(v, _) if v.is_object() => Ok(v),
            _ => Ok(or),
        }
    }

    /// Remembers where objects with this header, such as this one, have a data property.
    pub(crate) fn learn_place(&mut self, r: Ref, header: u64, name: Value) {
        let shape = (header >> 32) as u32;
        if shape == DICTIONARY || self.heap.header(r) != header {
            return;
        }
        if let Some((slot, attrs)) = self.local.shapes.find(shape, name)
            && attrs & attr::ACCESSOR == 0
        {
            let slot = self.cache_slot(r, slot);
            self.local.learn_member(Member { header, name, slot, next: 0, attrs });
        }
    }

    /// A closure over function `index` of `unit`, its upvalues still to be written from word 4 on.
    pub(crate) fn new_closure(&mut self, unit: usize, index: u32) -> Result<Ref, Throw> {
        let function = &self.local.units[unit].functions()[index as usize];
        let (upvalues, flags) = (function.captures.len() as u32, function.flags);
        let constructor = flags
            & (function_flags::ARROW
                | function_flags::METHOD
                | function_flags::ASYNC
                | function_flags::GENERATOR)
            == 0;
        let mut header = u64::from(kind::CLOSURE) | flag::LAZY | u64::from(EMPTY) << 32;
        if constructor && unit == 0 {
            header |= flag::CONSTRUCTOR;
        }
        let known = &self.local.known;
        let proto = match flags & (function_flags::ASYNC | function_flags::GENERATOR) {
            0 => known.function,
            function_flags::ASYNC => known.async_function,
            function_flags::GENERATOR => known.generator_function,
            _ => known.async_generator_function,
        };
        let tag = if unit == 1 { INTRINSIC } else { 0 };
        let start = [header, proto.bits(), 0, u64::from(index) | tag];
        self.heap.alloc_object(OBJECT_WORDS + upvalues, start)
    }
}

/// The value under which a sparse element is kept.
fn index_key(index: u32) -> Value {
    Value::from_u32(index)
}
