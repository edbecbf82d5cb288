//! What the instructions of classes do beyond calls (call.rs) and properties (object.rs). ECMA-262 section 15.7.
//!
//! ```text
//!   constructor   a closure with flag CLASS; its `this` is the marker until CreateThis or BindThis
//!   home object   what `super` starts from: captured by methods like any other value
//!   private name  a symbol with flag PRIVATE, one per evaluation of the class; never a script's value
//!   members       properties whose key is a private name: with shapes, but in no list of keys
//! ```

use crate::ctx::Ctx;
use crate::fiber::{Cont, ContKind};
use crate::heap::kind;
use crate::mem::Mem;
use crate::object::{Descriptor, Get, Key, Own, Put, flag};
use crate::shape::{DICTIONARY, attr};
use crate::throw::Throw;
use crate::unit::{Member, OUTSIDE};
use crate::value::{Ref, Value};
use forebay_bytecode::Instr;
use forebay_bytecode::module::function_flags;

/// `SYMBOL` cells that are private names: bit 8 of the header.
pub(crate) const PRIVATE: u64 = 1 << 8;
/// Attributes of a private method: SetPrivate refuses it.
const METHOD: u8 = 0;
/// Attributes of a private field.
const FIELD: u8 = attr::WRITABLE;

impl Ctx<'_> {
    /// The `this` of a constructor, in a register or a captured variable.
    pub(crate) fn constructor_this(&mut self, place: Value) -> Result<Value, Throw> {
        let v = if self.mem.is_variable(place) { self.mem.heap.get(place.as_ref(), 1) } else { place };
        if v.is_empty() {
            return Err(Throw::reference_error(
                "Must call super constructor in derived class before accessing 'this' or returning from derived \
                 constructor",
            ));
        }
        Ok(v)
    }

    /// Gives a captured `this` its value; whatever else stands at `place` has it already.
    pub(crate) fn bind_this(&mut self, place: Value, v: Value) -> Result<(), Throw> {
        if self.mem.is_variable(place) {
            let cell = place.as_ref();
            if self.mem.heap.get(cell, 1).is_empty() && cell.space() == self.mem.heap.own() {
                self.mem.heap.set(cell, 1, v);
                return Ok(());
            }
        }
        Err(Throw::reference_error("Super constructor may only be called once"))
    }

    /// What a constructor gives that returns `v`.
    pub(crate) fn constructed(&mut self, v: Value, this: Value, derived: bool) -> Result<Value, Throw> {
        if v.is_object() {
            return Ok(v);
        }
        if derived && !v.is_undefined() {
            return Err(Throw::type_error("Derived constructors may only return object or undefined"));
        }
        self.constructor_this(this)
    }

    pub(crate) fn check_heritage(&mut self, v: Value) -> Result<(), Throw> {
        if v.is_null() || self.mem.is_constructor(v) {
            return Ok(());
        }
        let text = self.mem.show(v)?;
        Err(Throw::type_error(format!("Class extends value {text} is not a constructor or null")))
    }

    pub(crate) fn new_proto_object(&mut self, proto: Value) -> Result<Value, Throw> {
        if !proto.is_object() && !proto.is_null() {
            let text = self.mem.show(proto)?;
            return Err(Throw::type_error(format!(
                "Class extends value does not have valid prototype property {text}"
            )));
        }
        Ok(self.mem.new_plain(proto, 4)?.object())
    }

    /// The prototype of the home object: where `super` looks.
    pub(crate) fn super_object(&mut self, home: Value) -> Result<Value, Throw> {
        if home.is_object() { Ok(self.mem.proto_of(home.as_ref())) } else { Err(not_new()) }
    }

    // ---- super.key

    pub(crate) fn get_super(&mut self, i: Instr, key: Value) -> Result<(), Throw> {
        let (this, base) = (self.register(i.b()), self.register(i.b() + 1));
        if key.is_object() && !base.is_nullish() {
            return self.key_to_primitive(key);
        }
        let key = if key.is_object() { Key::Index(0) } else { self.mem.key(key)? };
        match self.mem.get_value(base, key)? {
            Get::Value(v) => {
                self.set_register(i.a(), v);
                Ok(())
            }
            Get::Getter(getter) => self.call_function(getter, this, &[], Cont::plain(i.a())),
        }
    }

    pub(crate) fn set_super(&mut self, i: Instr, key: Value) -> Result<(), Throw> {
        let (this, base, v) = (self.register(i.a()), self.register(i.a() + 1), self.register(i.c()));
        if key.is_object() && base.is_object() {
            return self.key_to_primitive(key);
        }
        let key = if key.is_object() { Key::Index(0) } else { self.mem.key(key)? };
        match self.mem.put_super(base, key, v, this)? {
            Put::Done => Ok(()),
            Put::Setter(setter) => self.call_function(setter, this, &[v], Cont::new(ContKind::Discard, 0)),
        }
    }
}

fn not_new() -> Throw {
    Throw::type_error("not an object under construction")
}

impl Mem<'_> {
    /// Whether a value is a captured variable's cell.
    fn is_variable(&self, v: Value) -> bool {
        v.is_cell() && self.heap.kind(v.as_ref()) == kind::VARIABLE
    }

    /// OrdinarySet with a receiver that isn't the object asked (ECMA-262 10.1.9.2), strict.
    fn put_super(&mut self, base: Value, key: Key, value: Value, this: Value) -> Result<Put, Throw> {
        if !base.is_object() {
            let name = self.key_text(key)?;
            return Err(Throw::type_error(format!("Cannot set properties of null (setting '{name}')")));
        }
        let mut at = base.as_ref();
        loop {
            if self.is_namespace(at) {
                return Err(self.refuse_namespace_write(key));
            }
            match self.get_own(at, key)? {
                Own::Data(_, attrs) if attrs & attr::WRITABLE == 0 => return Err(self.read_only(key)),
                Own::Data(..) => break,
                Own::Accessor(_, setter, _) if setter.is_undefined() => return Err(self.read_only(key)),
                Own::Accessor(_, setter, _) => return Ok(Put::Setter(setter)),
                Own::None => {}
            }
            let proto = self.proto_of(at);
            if !proto.is_object() {
                break;
            }
            self.heap.work += 1;
            at = proto.as_ref();
        }
        if !this.is_object() {
            return Err(self.read_only(key));
        }
        match self.get_own(this.as_ref(), key)? {
            // A data property of the receiver: `put` finds it first.
            Own::Data(..) => self.put(this.as_ref(), key, value),
            Own::Accessor(..) => Err(self.read_only(key)),
            Own::None => {
                self.define_own(this.as_ref(), key, &Descriptor::data(value, attr::DEFAULT))?;
                Ok(Put::Done)
            }
        }
    }

    fn read_only(&mut self, key: Key) -> Throw {
        match self.key_text(key) {
            Ok(name) => Throw::type_error(format!("Cannot assign to read only property '{name}'")),
            Err(throw) => throw,
        }
    }

    /// A class's method: not enumerable.
    pub(crate) fn define_hidden(&mut self, v: Value, k: Value, value: Value) -> Result<(), Throw> {
        if !v.is_object() {
            return Err(not_new());
        }
        let key = self.key(k)?;
        self.define_own(v.as_ref(), key, &Descriptor::data(value, attr::HIDDEN))
    }

    /// Wires a class's constructor, its prototype object and what it extends.
    pub(crate) fn define_class(
        &mut self,
        class: Value,
        proto: Value,
        heritage: Option<Value>,
    ) -> Result<(), Throw> {
        if !self.is_kind(class, kind::CLOSURE) || !proto.is_object() {
            return Err(not_new());
        }
        let c = class.as_ref();
        let header = self.heap.header(c);
        let (unit, index) = self.function_of(c);
        let flags = self.local.units[unit].functions()[index as usize].flags;
        let fresh = header & flag::LAZY != 0 && header & flag::NOT_EXTENSIBLE == 0;
        if c.space() != self.heap.own() || !fresh || flags & function_flags::CLASS == 0 {
            return Err(not_new());
        }
        if let Some(parent) = heritage.filter(|v| v.is_object()) {
            self.set_proto(c, parent)?;
        }
        self.make_lazy(c)?;
        let known = self.local.known;
        self.add_property(c, known.prototype, proto, 0)?;
        let constructor = Descriptor::data(class, attr::HIDDEN);
        self.define_own(proto.as_ref(), Key::Atom(known.constructor), &constructor)
    }

    /// SetFunctionName with a key that is known at run time; `of`: 1 a getter, 2 a setter.
    pub(crate) fn name_function(&mut self, f: Value, key: Value, of: u8) -> Result<(), Throw> {
        if !self.is_callable(f) || f.as_ref().space() != self.heap.own() {
            return Err(not_new());
        }
        let key = self.key(key)?;
        let text = match key {
            Key::Atom(a) if a.is_symbol() => {
                let description = self.heap.get(a.as_ref(), 1);
                let private = self.is_private(a);
                let text =
                    if description.is_string() { self.heap.to_text(description)? } else { String::new() };
                if private || description.is_undefined() { text } else { format!("[{text}]") }
            }
            other => self.key_text(other)?,
        };
        let prefix = ["", "get ", "set "][usize::from(of.min(2))];
        let name = self.heap.new_string(format!("{prefix}{text}").as_bytes())?;
        let name = Descriptor::data(name, attr::CONFIGURABLE);
        self.define_own(f.as_ref(), Key::Atom(self.local.known.name), &name)
    }

    // ---- private names

    /// A new private name; the text begins with `#`.
    pub(crate) fn new_private(&mut self, text: Value) -> Result<Value, Throw> {
        let r = self.heap.alloc(2, u64::from(kind::SYMBOL) | PRIVATE)?;
        self.heap.set(r, 1, text);
        Ok(r.symbol())
    }

    /// Whether a key is a private name.
    #[inline]
    pub(crate) fn is_private(&self, key: Value) -> bool {
        key.is_symbol() && self.heap.header(key.as_ref()) & PRIVATE != 0
    }

    fn private_text(&mut self, name: Value) -> String {
        let text = self.heap.get(name.as_ref(), 1);
        if text.is_string() { self.heap.to_text(text).unwrap_or_default() } else { String::new() }
    }

    fn find_private(&mut self, v: Value, name: Value, doing: &str) -> Result<Own, Throw> {
        if !self.is_private(name) {
            return Err(not_new());
        }
        if v.is_object() {
            let own = self.get_own(v.as_ref(), Key::Atom(name))?;
            if own != Own::None {
                return Ok(own);
            }
        }
        let name = self.private_text(name);
        Err(Throw::type_error(format!(
            "Cannot {doing} private member {name} an object whose class did not declare it"
        )))
    }

    /// Word and attributes of a private field or method of an object that has a shape.
    #[inline(always)]
    fn private_slot(&mut self, v: Value, name: Value) -> Option<(Ref, u32, u8)> {
        if !v.is_object() {
            return None;
        }
        let r = v.as_ref();
        let header = self.heap.header(r);
        if let Some(known) = self.local.member(header, name).filter(|known| known.next == 0) {
            return Some((r, known.slot, known.attrs));
        }
        self.find_private_slot(r, header, name)
    }

    /// The same, when it isn't known yet.
    #[inline(never)]
    fn find_private_slot(&mut self, r: Ref, header: u64, name: Value) -> Option<(Ref, u32, u8)> {
        if !self.is_private(name) {
            return None;
        }
        self.learn_place(r, header, name);
        let known = self.local.member(header, name).filter(|known| known.next == 0)?;
        Some((r, known.slot, known.attrs))
    }

    pub(crate) fn get_private(&mut self, v: Value, name: Value) -> Result<Get, Throw> {
        if let Some((r, slot, _)) = self.private_slot(v, name) {
            return Ok(Get::Value(self.at_cache_slot(r, slot)));
        }
        match self.find_private(v, name, "read from")? {
            Own::Data(v, _) => Ok(Get::Value(v)),
            Own::Accessor(getter, _, _) if getter.is_object() => Ok(Get::Getter(getter)),
            _ => {
                let name = self.private_text(name);
                Err(Throw::type_error(format!("'{name}' was defined without a getter")))
            }
        }
    }

    pub(crate) fn set_private(&mut self, v: Value, name: Value, value: Value) -> Result<Put, Throw> {
        if let Some((r, slot, attrs)) = self.private_slot(v, name)
            && attrs & attr::WRITABLE != 0
            && r.space() == self.heap.own()
        {
            self.set_at_cache_slot(r, slot, value);
            return Ok(Put::Done);
        }
        let own = self.find_private(v, name, "write to")?;
        let key = Key::Atom(name);
        match own {
            Own::Data(_, attrs) if attrs & attr::WRITABLE != 0 => {
                self.check_change(v.as_ref(), Some(key))?;
                self.set_own(v.as_ref(), key, value, attrs)?;
                Ok(Put::Done)
            }
            Own::Accessor(_, setter, _) if setter.is_object() => Ok(Put::Setter(setter)),
            own => {
                let name = self.private_text(name);
                Err(Throw::type_error(match own {
                    Own::Data(..) => format!("Private method '{name}' is not writable"),
                    _ => format!("'{name}' was defined without a setter"),
                }))
            }
        }
    }

    /// PrivateFieldAdd, PrivateMethodOrAccessorAdd; `of` as in DefPrivate. Objects that are not extensible get
    /// them, too.
    pub(crate) fn def_private(&mut self, v: Value, name: Value, value: Value, of: u8) -> Result<(), Throw> {
        let attrs = if of == 1 { METHOD } else { FIELD };
        if v.is_object() && of < 2 {
            let r = v.as_ref();
            let header = self.heap.header(r);
            if let Some(&Member { slot, next, .. }) =
                self.local.member(header, name).filter(|known| known.next != 0 && known.attrs == attrs)
                && r.space() == self.heap.own()
            {
                self.heap.set(r, slot, value);
                self.heap.store(r, 0, header & 0xffff_ffff | u64::from(next) << 32);
                return Ok(());
            }
        }
        self.def_private_slowly(v, name, value, of)
    }

    fn def_private_slowly(&mut self, v: Value, name: Value, value: Value, of: u8) -> Result<(), Throw> {
        if !v.is_object() || !self.is_private(name) {
            return Err(not_new());
        }
        let (r, key) = (v.as_ref(), Key::Atom(name));
        if self.is_namespace(r) {
            return Err(Throw::type_error("module objects are immutable, as all requests share them"));
        }
        self.check_change(r, Some(key))?;
        self.make_lazy(r)?;
        let own = self.get_own(r, key)?;
        let (old, twice) = match own {
            Own::None => (None, false),
            Own::Data(..) => (None, true),
            Own::Accessor(g, s, _) => (Some((g, s)), of < 2 || (if of == 2 { g } else { s }).is_object()),
        };
        if twice {
            let name = self.private_text(name);
            return Err(Throw::type_error(format!("Cannot initialize {name} twice on the same object")));
        }
        if of < 2 {
            let attrs = if of == 1 { METHOD } else { FIELD };
            let before = self.heap.header(r);
            self.add_property(r, name, value, attrs)?;
            self.learn_private(r, before, name, attrs);
            return Ok(());
        }
        let (mut get, mut set) = old.unwrap_or_default();
        *(if of == 2 { &mut get } else { &mut set }) = value;
        let cell = self.heap.alloc(3, u64::from(kind::ACCESSOR))?;
        self.heap.set(cell, 1, get);
        self.heap.set(cell, 2, set);
        match old {
            None => self.add_property(r, name, cell.cell(), attr::ACCESSOR),
            Some(_) => self.set_own(r, key, cell.cell(), attr::ACCESSOR),
        }
    }

    /// Remembers what shape an object gets, whose header was `before`, that a private field or method was added to.
    #[expect(clippy::cast_possible_truncation, reason = "a header is taken apart")]
    fn learn_private(&mut self, r: Ref, before: u64, name: Value, attrs: u8) {
        let header = self.heap.header(r);
        let next = (header >> 32) as u32;
        if next == DICTIONARY || (before >> 32) as u32 == DICTIONARY || before as u32 != header as u32 {
            return;
        }
        let Some((slot, _)) = self.local.shapes.find(next, name) else { return };
        let slot = self.cache_slot(r, slot);
        if slot & OUTSIDE == 0 {
            self.local.learn_member(Member { header: before, name, slot, next, attrs });
        }
    }

    /// `#name in v`.
    pub(crate) fn has_private(&mut self, name: Value, v: Value) -> Result<bool, Throw> {
        if !self.is_private(name) {
            return Err(not_new());
        }
        if !v.is_object() {
            let name = self.private_text(name);
            return Err(Throw::type_error(format!(
                "Cannot use 'in' operator to search for '{name}' in {}",
                { self.show(v)? }
            )));
        }
        Ok(self.get_own(v.as_ref(), Key::Atom(name))? != Own::None)
    }
}
