//! The rest of each instruction: operands that are objects, properties that the
//! inline cache doesn't know, iteration that isn't over an array.
//!
//! Each function finishes the instruction or pushes the frame of a script call whose
//! continuation comes back here; so an interrupted instruction is completed, not repeated.
#![expect(clippy::cast_possible_truncation, reason = "packed words are taken apart by their width")]

use crate::ctx::Ctx;
use crate::fiber::{Cont, ContKind};
use crate::heap::kind;
use crate::known::Helper;
use crate::object::{Descriptor, Get, Key, Keys, Own, Put, flag};
use crate::ops::Arith;
use crate::overlay::touched;
use crate::shape::{DICTIONARY, attr};
use crate::throw::Throw;
use crate::unit::{Cache, NUMBER_RECEIVER, OUTSIDE, SHAPED, STRING_RECEIVER};
use crate::value::{Ref, Value, space};
use forebay_bytecode::{Instr, Op};

impl Ctx<'_> {
    // ---- operators

    /// A binary operator on any operands; result into r[a].
    pub(crate) fn binary(&mut self, i: Instr, x: Value, y: Value) -> Result<(), Throw> {
        let op = i.op().unwrap_or(Op::Add);
        if (x.is_object() || y.is_object()) && !self.compares_identity(op, x, y) {
            let hint = match op {
                Op::Add | Op::Eq | Op::Ne => self.mem.local.known.default,
                _ => self.mem.local.known.number_,
            };
            return if x.is_object() {
                self.call_helper(Helper::ToPrimitive, &[x, hint], Cont::with(ContKind::Left, i.a(), 0, y))
            } else {
                // Both sides are numbers before the operation: the left one fails first.
                let loose = matches!(op, Op::Add | Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge);
                if !loose && x.is_symbol() {
                    self.mem.to_numeric(x)?;
                }
                self.call_helper(Helper::ToPrimitive, &[y, hint], Cont::with(ContKind::Right, i.a(), 0, x))
            };
        }
        let v = match op {
            Op::Add => self.mem.add(x, y)?,
            Op::Eq => Value::bool(self.mem.loose_equals(x, y)?),
            Op::Ne => Value::bool(!self.mem.loose_equals(x, y)?),
            Op::Lt | Op::Le | Op::Gt | Op::Ge => Value::bool(Self::satisfies(op, self.mem.compare(x, y)?)),
            Op::Sub => self.mem.arith(Arith::Sub, x, y)?,
            Op::Mul => self.mem.arith(Arith::Mul, x, y)?,
            Op::Div => self.mem.arith(Arith::Div, x, y)?,
            Op::Rem => self.mem.arith(Arith::Rem, x, y)?,
            Op::Pow => self.mem.arith(Arith::Pow, x, y)?,
            Op::BitAnd => self.mem.arith(Arith::And, x, y)?,
            Op::BitOr => self.mem.arith(Arith::Or, x, y)?,
            Op::BitXor => self.mem.arith(Arith::Xor, x, y)?,
            Op::Shl => self.mem.arith(Arith::Shl, x, y)?,
            Op::Shr => self.mem.arith(Arith::Shr, x, y)?,
            _ => self.mem.arith(Arith::UShr, x, y)?,
        };
        self.set_register(i.a(), v);
        Ok(())
    }

    /// `==` that needs no conversion: both objects, or one of them undefined or null.
    fn compares_identity(&self, op: Op, x: Value, y: Value) -> bool {
        matches!(op, Op::Eq | Op::Ne)
            && ((x.is_object() && y.is_object()) || x.is_nullish() || y.is_nullish())
    }

    /// A unary operator on any operand; result into r[a].
    pub(crate) fn unary(&mut self, i: Instr, x: Value) -> Result<(), Throw> {
        let op = i.op().unwrap_or(Op::ToNumber);
        if x.is_object() {
            if op == Op::ToPropertyKey && i.n() == 1 && self.register(i.c()).is_nullish() {
                let what = if self.register(i.c()).is_null() { "null" } else { "undefined" };
                return Err(Throw::type_error(format!("Cannot read properties of {what}")));
            }
            let known = &self.mem.local.known;
            let hint = if op == Op::ToPropertyKey { known.string_ } else { known.number_ };
            let cont = Cont::new(ContKind::Unary, i.a());
            return self.call_helper(Helper::ToPrimitive, &[x, hint], cont);
        }
        let v = match op {
            Op::Neg => self.mem.negate(x)?,
            Op::ToNumber => Value::number(self.mem.to_number_primitive(x)?),
            Op::ToNumeric => self.mem.to_numeric(x)?,
            Op::Inc => self.mem.increment(x, 1)?,
            Op::Dec => self.mem.increment(x, -1)?,
            Op::BitNot => self.mem.bit_not(x)?,
            _ if x.is_symbol() || x.is_string() || x.is_number() => x,
            _ => self.mem.to_string(x)?,
        };
        self.set_register(i.a(), v);
        Ok(())
    }

    /// Goes on with a template literal at value `n`.
    pub(crate) fn concat_from(&mut self, i: Instr, mut n: u32, mut text: Value) -> Result<(), Throw> {
        while n < u32::from(i.n()) {
            let v = self.register(i.b() + u16::try_from(n).unwrap_or(0));
            if v.is_object() {
                let hint = self.mem.local.known.string_;
                let cont = Cont::with(ContKind::Concat, i.a(), n, text);
                return self.call_helper(Helper::ToPrimitive, &[v, hint], cont);
            }
            let s = self.mem.to_string(v)?;
            text = self.mem.heap.concat(text, s)?;
            n += 1;
        }
        self.set_register(i.a(), text);
        Ok(())
    }

    /// `x instanceof y`.
    pub(crate) fn instance_of(&mut self, i: Instr, x: Value, y: Value) -> Result<(), Throw> {
        if !y.is_object() {
            return Err(Throw::type_error("Right-hand side of 'instanceof' is not callable"));
        }
        let plain = match self.mem.kind_of(y) {
            Some(kind::CLOSURE | kind::NATIVE) => {
                let key = Key::Atom(self.mem.local.known.sym_has_instance);
                self.mem.get_own(y.as_ref(), key)? == Own::None
                    && self.mem.proto_of(y.as_ref()) == self.mem.local.known.function
            }
            _ => false,
        };
        if !plain {
            return self.call_helper(Helper::InstanceOf, &[x, y], Cont::new(ContKind::Truth, i.a()));
        }
        let key = Key::Atom(self.mem.local.known.prototype);
        let proto = match self.mem.get_own(y.as_ref(), key)? {
            Own::Data(v, _) if v.is_object() => v,
            _ if !x.is_object() => Value::NULL,
            // An accessor, or inherited.
            _ => return self.call_helper(Helper::InstanceOf, &[x, y], Cont::new(ContKind::Truth, i.a())),
        };
        let found = self.mem.has_in_chain(x, proto);
        self.set_register(i.a(), Value::bool(found));
        Ok(())
    }

    /// `x in y`.
    pub(crate) fn has_property(&mut self, i: Instr, x: Value, y: Value) -> Result<(), Throw> {
        if !y.is_object() {
            return Err(Throw::type_error("Cannot use 'in' operator to search in a value that is no object"));
        }
        if x.is_object() {
            return self.key_to_primitive(x);
        }
        let key = self.mem.key(x)?;
        let found = self.mem.has(y.as_ref(), key)?;
        self.set_register(i.a(), Value::bool(found));
        Ok(())
    }

    /// Whether for-in, whose next key is `x`, visits it: it may have been deleted meanwhile.
    pub(crate) fn is_still_there(&mut self, x: Value, y: Value) -> Result<bool, Throw> {
        if !x.is_string() || !y.is_object() {
            return Ok(true);
        }
        let key = self.mem.key(x)?;
        self.mem.has(y.as_ref(), key)
    }

    pub(crate) fn key_to_primitive(&mut self, key: Value) -> Result<(), Throw> {
        let hint = self.mem.local.known.string_;
        self.call_helper(Helper::ToPrimitive, &[key, hint], Cont::new(ContKind::Key, 0))
    }

    /// The key of an interrupted element access is primitive now.
    pub(crate) fn finish_key(&mut self, key: Value) -> Result<(), Throw> {
        let i = self.interrupted();
        match self.interrupted_op() {
            Op::GetElem => {
                let v = self.register(i.b());
                self.get_element(i, v, key)
            }
            Op::SetElem => {
                let (v, value) = (self.register(i.a()), self.register(i.c()));
                self.set_element(v, key, value)
            }
            Op::DeleteElem => {
                let v = self.register(i.b());
                self.delete_element(i, v, key)
            }
            Op::GetSuper => self.get_super(i, key),
            Op::SetSuper => self.set_super(i, key),
            _ => {
                let y = self.register(i.c());
                self.has_property(i, key, y)
            }
        }
    }

    // ---- variables

    #[cold]
    #[inline(never)]
    pub(crate) fn uninitialised(&mut self, name: Value) -> Result<(), Throw> {
        let name = if name.is_string() { self.mem.heap.to_text(name)? } else { "variable".to_owned() };
        Err(Throw::reference_error(format!("Cannot access '{name}' before initialization")))
    }

    #[inline(always)]
    pub(crate) fn read_cell(&mut self, cell: Value) -> Result<Value, Throw> {
        if !cell.is_cell() || self.mem.heap.kind(cell.as_ref()) != kind::VARIABLE {
            return Err(Throw::type_error("not a captured variable"));
        }
        let v = self.mem.heap.get(cell.as_ref(), 1);
        if v.is_empty() {
            self.uninitialised(Value::UNDEFINED)?;
        }
        Ok(v)
    }

    #[inline(always)]
    pub(crate) fn write_cell(&mut self, cell: Value, v: Value, first: bool) -> Result<(), Throw> {
        if !cell.is_cell() || self.mem.heap.kind(cell.as_ref()) != kind::VARIABLE {
            return Err(Throw::type_error("not a captured variable"));
        }
        let r = cell.as_ref();
        if r.space() != self.mem.heap.own() {
            return Err(Throw::type_error("module variables are shared by all requests: use kv"));
        }
        if !first && self.mem.heap.get(r, 1).is_empty() {
            self.uninitialised(Value::UNDEFINED)?;
        }
        self.mem.heap.set(r, 1, v);
        Ok(())
    }

    // ---- properties by name, with inline caches

    /// `v.key`, and teaches the site's cache.
    pub(crate) fn get_field(&mut self, unit: usize, site: usize, v: Value) -> Result<Get, Throw> {
        if v.is_object() {
            let caches = &self.mem.local.caches[unit][site];
            if let Some(found) = caches.iter().find_map(|cache| self.cached(v.as_ref(), cache)) {
                return Ok(if found.is_cell() { self.mem.getter_of(found) } else { Get::Value(found) });
            }
        }
        let key = self.site_key(unit, site);
        if let Key::Atom(atom) = key {
            if v.is_object() {
                self.learn_get(unit, site, v.as_ref(), atom, None);
            } else if v.is_string() && !self.mem.heap.has_overlay() && atom != self.mem.local.known.length {
                let proto = self.mem.local.known.string;
                if proto.is_object() {
                    self.learn_get(unit, site, proto.as_ref(), atom, Some(STRING_RECEIVER));
                }
            } else if v.is_number() && !self.mem.heap.has_overlay() {
                let proto = self.mem.local.known.number;
                if proto.is_object() {
                    self.learn_get(unit, site, proto.as_ref(), atom, Some(NUMBER_RECEIVER));
                }
            }
        }
        self.mem.get_value(v, key)
    }

    /// What a cache says of a read from an object: the value, or of a prototype's accessor the cell.
    #[inline(always)]
    fn cached(&self, o: Ref, cache: &Cache) -> Option<Value> {
        if self.mem.heap.header(o) != cache.header {
            return None;
        }
        if cache.holder.bits() == 0 {
            return Some(self.mem.at_cache_slot(o, cache.slot));
        }
        if self.mem.proto_of(o) == cache.proto {
            return Some(self.mem.at_cache_slot(cache.holder.as_ref(), cache.slot));
        }
        self.shaped(o, cache)
    }

    /// Fills the cache where the property is a data property of the receiver, or one of a prototype that is known to
    /// stay as it is.
    fn learn_get(&mut self, unit: usize, site: usize, r: Ref, atom: Value, receiver: Option<u64>) {
        let header = self.mem.heap.header(r);
        let shape = self.mem.shape(r);
        if shape == DICTIONARY || header & flag::LAZY != 0 {
            return;
        }
        if let Some((slot, attrs)) = self.mem.local.shapes.find(shape, atom) {
            if attrs & attr::ACCESSOR == 0 {
                let slot = self.mem.cache_slot(r, slot);
                let holder = if receiver.is_some() { r.object() } else { Value::from_bits(0) };
                let cache = Cache { header: receiver.unwrap_or(header), holder, slot, ..Cache::default() };
                self.mem.local.learn(unit, site, cache);
            }
            return;
        }
        if receiver.is_some() || self.mem.heap.has_overlay() {
            return;
        }
        if self.mem.proto_of(r).is_object() && self.mem.proto_of(r).as_ref().space() == self.mem.heap.own() {
            return self.learn_shaped(unit, site, r, atom);
        }
        // Prototypes in frozen spaces can't change, so the whole chain is known by its first object.
        let mut at = self.mem.proto_of(r);
        let first = at;
        while at.is_object() && matches!(at.as_ref().space(), space::BLUEPRINT | space::INTRINSICS) {
            let holder = at.as_ref();
            if holder.space() == self.mem.heap.own() || self.mem.heap.header(holder) & flag::LAZY != 0 {
                return;
            }
            let shape = self.mem.shape(holder);
            if shape == DICTIONARY {
                return;
            }
            if let Some((slot, _)) = self.mem.local.shapes.find(shape, atom) {
                let slot = self.mem.cache_slot(holder, slot);
                self.mem.local.learn(unit, site, Cache { header, holder: at, proto: first, slot, next: 0 });
                return;
            }
            at = self.mem.proto_of(holder);
        }
    }

    /// Whether an object's named properties are those of its shape, this one not among those of its kind.
    fn is_shaped(&self, r: Ref, atom: Value) -> bool {
        let header = self.mem.heap.header(r);
        let by_kind =
            matches!(header as u8, kind::ARRAY | kind::BOXED) && atom == self.mem.local.known.length;
        (header >> 32) as u32 != DICTIONARY && header & flag::LAZY == 0 && !by_kind
    }

    /// The same for prototypes that a script may change: a class of the task's own. What the headers say of them
    /// holds for every object with these headers, in whatever task.
    fn learn_shaped(&mut self, unit: usize, site: usize, r: Ref, atom: Value) {
        let mut headers = [0; 2];
        let mut at = r;
        for (depth, next) in SHAPED.into_iter().enumerate() {
            let proto = self.mem.proto_of(at);
            if !self.is_shaped(at, atom) || !proto.is_object() || !self.is_shaped(proto.as_ref(), atom) {
                return;
            }
            at = proto.as_ref();
            headers[depth] = self.mem.heap.header(at);
            let Some((slot, _)) = self.mem.local.shapes.find(self.mem.shape(at), atom) else { continue };
            let slot = self.mem.cache_slot(at, slot);
            // Neither is 0, nor the bits of a prototype.
            let [proto, second] = headers.map(Value::from_bits);
            let holder = if depth == 0 { Value::HOLE } else { second };
            let header = self.mem.heap.header(r);
            self.mem.local.learn(unit, site, Cache { header, holder, proto, slot, next });
            return;
        }
    }

    /// What such a cache says of an object that has its header.
    #[inline(never)]
    pub(crate) fn shaped(&self, o: Ref, cache: &Cache) -> Option<Value> {
        let proto = self.mem.proto_of(o);
        if cache.next == 0 || !proto.is_object() {
            return None;
        }
        let mut at = proto.as_ref();
        if self.mem.heap.header(at) != cache.proto.bits() {
            return None;
        }
        if cache.next == SHAPED[1] {
            let proto = self.mem.proto_of(at);
            if !proto.is_object() || self.mem.heap.header(proto.as_ref()) != cache.holder.bits() {
                return None;
            }
            at = proto.as_ref();
        }
        Some(self.mem.at_cache_slot(at, cache.slot))
    }

    /// `v.key = value`, and teaches the site's cache.
    pub(crate) fn set_field(
        &mut self,
        unit: usize,
        site: usize,
        v: Value,
        value: Value,
    ) -> Result<Put, Throw> {
        let key = self.site_key(unit, site);
        if !v.is_object() {
            return self.set_on_primitive(v, key);
        }
        let r = v.as_ref();
        let before = self.mem.heap.header(r);
        let cache = self.mem.local.caches[unit][site][1];
        if before == cache.header && self.put_cached(r, &cache, value) {
            return Ok(Put::Done);
        }
        let put = self.mem.put(r, key, value)?;
        if put == Put::Done
            && let Key::Atom(atom) = key
        {
            self.learn_set(unit, site, r, atom, before);
        }
        Ok(put)
    }

    /// Stores as a cache says that is about objects with this one's header; false: that can't be said.
    fn put_cached(&mut self, o: Ref, cache: &Cache, value: Value) -> bool {
        if o.space() != self.mem.heap.own() {
            return false;
        }
        if cache.next == 0 {
            self.mem.set_at_cache_slot(o, cache.slot, value);
            return true;
        }
        let adds =
            cache.slot & OUTSIDE == 0 && (self.mem.proto_of(o) == cache.proto || self.adds_shaped(o, cache));
        if adds {
            self.mem.heap.set(o, cache.slot, value);
            self.mem.heap.store(o, 0, cache.header & 0xffff_ffff | u64::from(cache.next) << 32);
        }
        adds
    }

    fn learn_set(&mut self, unit: usize, site: usize, r: Ref, atom: Value, before: u64) {
        let header = self.mem.heap.header(r);
        let shape = (header >> 32) as u32;
        if shape == DICTIONARY || (before >> 32) as u32 == DICTIONARY || before as u32 != header as u32 {
            return;
        }
        let Some((slot, attrs)) = self.mem.local.shapes.find(shape, atom) else { return };
        let slot = self.mem.cache_slot(r, slot);
        if before == header {
            if attrs & (attr::WRITABLE | attr::ACCESSOR) == attr::WRITABLE {
                self.mem.local.learn(unit, site, Cache { header, slot, ..Cache::default() });
            }
            return;
        }
        // Adding is only known to be right again while the chain holds no setter: frozen prototypes, maybe behind
        // one of the task's own, which is known by its header.
        let proto = self.mem.proto_of(r);
        let holder = Value::from_bits(0);
        if self.is_fixed(proto) {
            self.mem.local.learn(unit, site, Cache { header: before, holder, proto, slot, next: shape });
            return;
        }
        let first = proto.as_ref();
        let beyond = self.mem.proto_of(first);
        if first.space() == self.mem.heap.own() && self.is_shaped(first, atom) && self.is_fixed(beyond) {
            let proto = Value::from_bits(self.mem.heap.header(first));
            let cache = Cache { header: before, holder: beyond, proto, slot, next: shape };
            self.mem.local.learn(unit, site, cache);
        }
    }

    /// Whether a prototype is none, or it and all behind it can't change.
    fn is_fixed(&self, proto: Value) -> bool {
        let mut at = proto;
        while at.is_object() {
            let r = at.as_ref();
            let frozen = match r.space() {
                space::BLUEPRINT => self.mem.heap.own() != space::BLUEPRINT,
                space::INTRINSICS => self.mem.heap.own() != space::INTRINSICS && !self.mem.heap.has_overlay(),
                _ => false,
            };
            if !frozen {
                return false;
            }
            at = self.mem.proto_of(r);
        }
        true
    }

    /// Whether a store that adds may be done as the cache says, where the object's own prototype isn't frozen.
    #[inline(never)]
    pub(crate) fn adds_shaped(&self, o: Ref, cache: &Cache) -> bool {
        let proto = self.mem.proto_of(o);
        cache.holder.bits() != 0
            && proto.is_object()
            && self.mem.heap.header(proto.as_ref()) == cache.proto.bits()
            && self.mem.proto_of(proto.as_ref()) == cache.holder
    }

    fn set_on_primitive(&mut self, v: Value, key: Key) -> Result<Put, Throw> {
        let name = self.mem.key_text(key)?;
        if v.is_nullish() {
            let what = if v.is_null() { "null" } else { "undefined" };
            return Err(Throw::type_error(format!("Cannot set properties of {what} (setting '{name}')")));
        }
        let kind = self.mem.type_of(v);
        let kind = self.mem.heap.to_text(kind)?;
        Err(Throw::type_error(format!("Cannot create property '{name}' on {kind}")))
    }

    /// Defines a property of a literal, and teaches the site's cache.
    pub(crate) fn def_field(
        &mut self,
        unit: usize,
        site: usize,
        v: Value,
        value: Value,
    ) -> Result<(), Throw> {
        let key = self.site_key(unit, site);
        if !v.is_object() {
            return Err(Throw::type_error("not an object"));
        }
        let r = v.as_ref();
        let before = self.mem.heap.header(r);
        self.mem.define_data(r, key, value)?;
        if let Key::Atom(atom) = key
            && before != self.mem.heap.header(r)
        {
            self.learn_def(unit, site, r, atom, before);
        }
        Ok(())
    }

    /// Fills the cache where an own property was added: whatever the prototypes have.
    fn learn_def(&mut self, unit: usize, site: usize, r: Ref, atom: Value, before: u64) {
        let header = self.mem.heap.header(r);
        let shape = (header >> 32) as u32;
        if shape == DICTIONARY || (before >> 32) as u32 == DICTIONARY || before as u32 != header as u32 {
            return;
        }
        let Some((slot, _)) = self.mem.local.shapes.find(shape, atom) else { return };
        let slot = self.mem.cache_slot(r, slot);
        // No prototype is this: SetField, which asks for one, doesn't use it.
        self.mem.local.learn(unit, site, Cache { header: before, slot, next: shape, ..Cache::default() });
    }

    pub(crate) fn def_element(&mut self, v: Value, k: Value, value: Value) -> Result<(), Throw> {
        if !v.is_object() {
            return Err(Throw::type_error("not an object"));
        }
        let key = self.mem.key(k)?;
        self.mem.define_data(v.as_ref(), key, value)
    }

    pub(crate) fn def_accessor(
        &mut self,
        v: Value,
        k: Value,
        f: Value,
        getter: bool,
        enumerable: bool,
    ) -> Result<(), Throw> {
        if !v.is_object() {
            return Err(Throw::type_error("not an object"));
        }
        let key = self.mem.key(k)?;
        let mut d =
            Descriptor { enumerable: Some(enumerable), configurable: Some(true), ..Descriptor::default() };
        if getter {
            d.get = Some(f);
        } else {
            d.set = Some(f);
        }
        self.mem.define_own(v.as_ref(), key, &d)
    }

    // ---- properties by value

    pub(crate) fn get_element(&mut self, i: Instr, v: Value, k: Value) -> Result<(), Throw> {
        if k.is_object() && !v.is_nullish() {
            return self.key_to_primitive(k);
        }
        let key = if v.is_nullish() && k.is_object() { Key::Index(0) } else { self.mem.key(k)? };
        match self.mem.get_value(v, key)? {
            Get::Value(found) => {
                self.set_register(i.a(), found);
                Ok(())
            }
            Get::Getter(getter) => self.call_function(getter, v, &[], Cont::plain(i.a())),
        }
    }

    pub(crate) fn set_element(&mut self, v: Value, k: Value, value: Value) -> Result<(), Throw> {
        if k.is_object() && !v.is_nullish() {
            return self.key_to_primitive(k);
        }
        let key = if v.is_nullish() && k.is_object() { Key::Index(0) } else { self.mem.key(k)? };
        if !v.is_object() {
            self.set_on_primitive(v, key)?;
            return Ok(());
        }
        match self.mem.put(v.as_ref(), key, value)? {
            Put::Done => Ok(()),
            Put::Setter(setter) => self.call_function(setter, v, &[value], Cont::new(ContKind::Discard, 0)),
        }
    }

    pub(crate) fn delete_key(&mut self, v: Value, key: Key) -> Result<Value, Throw> {
        if v.is_nullish() {
            return Err(Throw::type_error("Cannot convert undefined or null to object"));
        }
        if v.is_object() {
            self.mem.delete(v.as_ref(), key)?;
        }
        Ok(Value::TRUE)
    }

    pub(crate) fn delete_element(&mut self, i: Instr, v: Value, k: Value) -> Result<(), Throw> {
        // What has no properties fails before its key becomes primitive.
        if k.is_object() && !v.is_nullish() {
            return self.key_to_primitive(k);
        }
        let key = if k.is_object() { Key::Index(0) } else { self.mem.key(k)? };
        let done = self.delete_key(v, key)?;
        self.set_register(i.a(), done);
        Ok(())
    }

    // ---- spread and rest

    pub(crate) fn object_spread(&mut self, target: Value, source: Value) -> Result<(), Throw> {
        if !target.is_object() {
            return Err(Throw::type_error("not an object"));
        }
        if source.is_nullish() {
            return Ok(());
        }
        if source.is_string() {
            for index in 0..self.mem.heap.string_len(source) {
                let c = self.mem.char_at(source, index)?;
                self.mem.define_data(target.as_ref(), Key::Index(index), c)?;
            }
            return Ok(());
        }
        if !source.is_object() {
            return Ok(());
        }
        let mut keys = Vec::new();
        let which = Keys { strings: true, symbols: true, only_enumerable: true };
        self.mem.own_keys(source.as_ref(), which, &mut keys)?;
        for key in &keys {
            if let Own::Accessor(..) = self.mem.get_own(source.as_ref(), *key)? {
                let cont = Cont::new(ContKind::Discard, 0);
                return self.call_helper(Helper::CopyProperties, &[target, source], cont);
            }
        }
        for key in keys {
            if let Own::Data(v, _) = self.mem.get_own(source.as_ref(), key)? {
                self.mem.define_data(target.as_ref(), key, v)?;
            }
        }
        Ok(())
    }

    pub(crate) fn object_rest(&mut self, i: Instr, source: Value) -> Result<(), Throw> {
        let mut excluded = Vec::new();
        for n in 0..u16::from(i.n()) {
            let k = self.register(i.c() + n);
            excluded.push(self.mem.key(k)?);
        }
        let target = self.mem.new_object(4)?;
        self.set_register(i.a(), target.object());
        if source.is_string() {
            for index in (0..self.mem.heap.string_len(source)).filter(|i| !excluded.contains(&Key::Index(*i)))
            {
                let c = self.mem.char_at(source, index)?;
                self.mem.define_data(target, Key::Index(index), c)?;
            }
        }
        if !source.is_object() {
            return Ok(());
        }
        let mut keys = Vec::new();
        let which = Keys { strings: true, symbols: true, only_enumerable: true };
        self.mem.own_keys(source.as_ref(), which, &mut keys)?;
        keys.retain(|key| !excluded.contains(key));
        for key in &keys {
            if let Own::Accessor(..) = self.mem.get_own(source.as_ref(), *key)? {
                let mut args = vec![target.object(), source];
                for key in excluded {
                    args.push(self.mem.key_value(key)?);
                }
                return self.call_helper(Helper::CopyProperties, &args, Cont::new(ContKind::Discard, 0));
            }
        }
        for key in keys {
            if let Own::Data(v, _) = self.mem.get_own(source.as_ref(), key)? {
                self.mem.define_data(target, key, v)?;
            }
        }
        Ok(())
    }

    pub(crate) fn literal_array(&self, v: Value) -> Result<(), Throw> {
        if self.mem.is_kind(v, kind::ARRAY) { Ok(()) } else { Err(Throw::type_error("not an array")) }
    }

    pub(crate) fn array_spread(&mut self, target: Value, source: Value) -> Result<(), Throw> {
        self.literal_array(target)?;
        // Only sparse elements can be accessors.
        let dense = self.mem.is_kind(source, kind::ARRAY)
            && self.mem.heap.header(source.as_ref()) & flag::SPARSE == 0;
        if dense && self.is_plain_array(source)? {
            let o = source.as_ref();
            let len = self.mem.array_len(o);
            self.mem.heap.work += u64::from(len);
            for index in 0..len {
                let v = match self.mem.dense_element(o, index) {
                    Some(v) => v,
                    None => self.mem.get_plain(o, Key::Index(index))?,
                };
                self.mem.array_push(target.as_ref(), v)?;
            }
            return Ok(());
        }
        if source.is_string() && self.mem.heap.touched & touched::ITERATION == 0 {
            let mut at = 0;
            while let Some((c, next)) = self.next_char(source, at)? {
                self.mem.array_push(target.as_ref(), c)?;
                at = next;
                self.mem.heap.work += 1;
            }
            return Ok(());
        }
        self.call_helper(Helper::SpreadInto, &[target, source], Cont::new(ContKind::Discard, 0))
    }

    // ---- iteration

    /// An array whose iteration is the built-in one.
    pub(crate) fn is_plain_array(&mut self, v: Value) -> Result<bool, Throw> {
        if self.mem.heap.touched & touched::ITERATION != 0 {
            return Ok(false);
        }
        if self.mem.proto_of(v.as_ref()) != self.mem.local.known.array {
            return Ok(false);
        }
        if (self.mem.heap.header(v.as_ref()) >> 32) as u32 == crate::shape::EMPTY {
            return Ok(true);
        }
        let key = Key::Atom(self.mem.local.known.sym_iterator);
        Ok(self.mem.get_own(v.as_ref(), key)? == Own::None)
    }

    /// The code point at unit index `at` of a string, and the index behind it.
    pub(crate) fn next_char(&mut self, s: Value, at: u32) -> Result<Option<(Value, u32)>, Throw> {
        let len = self.mem.heap.string_len(s);
        if at >= len {
            return Ok(None);
        }
        let flat = self.mem.heap.flat(s)?;
        if self.mem.heap.is_ascii(flat) {
            return Ok(Some((self.mem.char_at(flat, at)?, at + 1)));
        }
        let place = self.mem.heap.locate(flat, at);
        let point = crate::builtins::text::located_point(self.mem.heap.str_bytes(flat), place);
        let next = if point.is_some_and(|p| p > 0xffff) { at + 2 } else { at + 1 };
        Ok(Some((self.mem.heap.substring(flat, at, next.min(len))?, next)))
    }

    pub(crate) fn get_iterator(&mut self, dst: u16, v: Value) -> Result<(), Throw> {
        if v.is_nullish() {
            let what = if v.is_null() { "null" } else { "undefined" };
            return Err(Throw::type_error(format!("{what} is not iterable")));
        }
        self.call_helper(Helper::GetIterator, &[v], Cont::new(ContKind::Iterator, dst))
    }

    /// An iterator as an object, for whoever calls its methods.
    pub(crate) fn get_iterator_object(
        &mut self,
        dst: u16,
        v: Value,
        asynchronous: bool,
    ) -> Result<(), Throw> {
        if !asynchronous {
            return self.get_iterator(dst, v);
        }
        if v.is_nullish() {
            let what = if v.is_null() { "null" } else { "undefined" };
            return Err(Throw::type_error(format!("{what} is not async iterable")));
        }
        self.call_helper(Helper::GetAsyncIterator, &[v], Cont::new(ContKind::Iterator, dst))
    }

    pub(crate) fn got_iterator(&mut self, dst: u16, it: Value) -> Result<(), Throw> {
        if !it.is_object() {
            return Err(Throw::type_error("Result of the Symbol.iterator method is not an object"));
        }
        self.set_register(dst, it);
        let next = Key::Atom(self.mem.local.known.next);
        match self.mem.get(it.as_ref(), next)? {
            Get::Value(next) => {
                self.set_register(dst + 1, next);
                Ok(())
            }
            Get::Getter(getter) => self.call_function(getter, it, &[], Cont::plain(dst + 1)),
        }
    }

    /// Keys that for-in visits: own and inherited enumerable strings, each once.
    pub(crate) fn for_in_keys(&mut self, v: Value) -> Result<Value, Throw> {
        let list = self.mem.new_array(0)?;
        if v.is_string() {
            for index in 0..self.mem.heap.string_len(v) {
                let key = self.mem.key_value(Key::Index(index))?;
                self.mem.array_push(list, key)?;
            }
            return Ok(list.object());
        }
        let mut seen: std::collections::HashSet<u64> = std::collections::HashSet::new();
        let mut at = v;
        let which = Keys { strings: true, symbols: false, only_enumerable: false };
        while at.is_object() {
            let r = at.as_ref();
            let mut keys = Vec::new();
            self.mem.own_keys(r, which, &mut keys)?;
            let proto = self.mem.proto_of(r);
            for key in keys {
                let id = match key {
                    Key::Index(n) => u64::from(n),
                    Key::Atom(atom) => atom.bits(),
                };
                let attrs = match self.mem.get_own(r, key)? {
                    Own::Data(_, attrs) | Own::Accessor(_, _, attrs) => attrs,
                    Own::None => continue,
                };
                if seen.insert(id) && attrs & attr::ENUMERABLE != 0 {
                    let key = self.mem.key_value(key)?;
                    self.mem.array_push(list, key)?;
                }
            }
            let builtin = proto == self.mem.local.known.object || proto == self.mem.local.known.array;
            if builtin && !self.mem.heap.has_overlay() {
                break;
            }
            at = proto;
        }
        Ok(list.object())
    }

    /// Whether a fiber is loaded and has frames.
    pub(crate) fn is_running(&self) -> bool {
        !self.frames.is_empty()
    }
}
