//! Module namespace objects (ECMA-262 10.4.6): what `import * as m` is as a value.
//!
//! ```text
//!   while modules load     m.x is an accessor: its getter reads the variable, or throws if it is too early
//!   afterwards             m.x is a data property: no variable changes any more, and all tasks share the object
//! ```
//!
//! So a task reads one as fast as any object that a module has made. The flag says what is different from those:
//! properties claim to be writable and no write is allowed, not even to an object that inherits from it; they can be
//! "defined" as they are; `freeze` fails; and what asks about a property asks for its value, too.

use crate::builtins::{Kind, Native, native_index};
use crate::ctx::{Args, Ctx};
use crate::heap::kind;
use crate::mem::Mem;
use crate::object::{Descriptor, Key, Keys, Own, flag};
use crate::shape::{DICTIONARY, EMPTY, attr};
use crate::throw::Throw;
use crate::unit::Unit;
use crate::value::{Ref, Value};
use forebay_bytecode::Const;
use forebay_bytecode::module::NamespaceExport;

pub(crate) const NATIVES: &[Native] =
    &[Native { on: "", name: GETTER, length: 0, call: read_binding, kind: Kind::Helper }];

const GETTER: &str = "namespaceBinding";
/// What a property of a namespace says that it is.
const ATTRIBUTES: u8 = attr::WRITABLE | attr::ENUMERABLE;

/// The getter of a binding; its own value is the number of the module variable.
fn read_binding(ctx: &mut Ctx<'_>, _: Args) -> Result<Value, Throw> {
    let slot = ctx.own_value();
    ctx.mem.binding(slot)
}

impl Mem<'_> {
    /// Makes a namespace while its module is loaded: no variable has a value yet.
    pub(crate) fn new_namespace(
        &mut self,
        constants: &[Value],
        exports: &[NamespaceExport],
    ) -> Result<Value, Throw> {
        let capacity = u32::try_from(exports.len() + 1).unwrap_or(u32::MAX);
        let r = self.new_plain(Value::NULL, capacity)?;
        self.set_flag(r, flag::NAMESPACE);
        let index = native_index(GETTER, read_binding);
        for export in exports {
            let getter = self.new_native(index, false, Value::from_u32(export.slot))?;
            let accessor = self.heap.alloc(3, u64::from(kind::ACCESSOR))?;
            self.heap.set(accessor, 1, getter);
            self.heap.set(accessor, 2, Value::UNDEFINED);
            let name = constants.get(export.name as usize).copied().unwrap_or_default();
            self.add_property(r, name, accessor.cell(), attr::ENUMERABLE | attr::ACCESSOR)?;
        }
        self.finish_namespace(r)?;
        Ok(r.object())
    }

    fn finish_namespace(&mut self, r: Ref) -> Result<(), Throw> {
        let (tag, text) = (self.local.known.sym_to_string_tag, self.intern(b"Module")?);
        self.add_property(r, tag, text, 0)?;
        self.set_flag(r, flag::NOT_EXTENSIBLE);
        Ok(())
    }

    /// Once all top levels have run: the variables are what they are, and so are the properties. One whose variable
    /// never got a value (`declare`) stays an accessor that throws.
    pub(crate) fn settle_namespaces(&mut self, unit: &Unit) -> Result<(), Throw> {
        let constants = unit.module.as_ref().map_or(&[][..], |m| &m.constants);
        for (constant, object) in constants.iter().zip(&unit.constants) {
            let Const::Namespace { exports, .. } = constant else { continue };
            let r = object.as_ref();
            let mut properties = Vec::with_capacity(exports.len());
            for export in exports {
                let name = unit.constants.get(export.name as usize).copied().unwrap_or_default();
                let value = self.local.slots[0].get(export.slot as usize).copied().unwrap_or_default();
                properties.push(if value.is_empty() {
                    (name, self.raw_property(r, name), attr::ENUMERABLE | attr::ACCESSOR)
                } else {
                    (name, value, ATTRIBUTES)
                });
            }
            self.clear_properties(r, EMPTY);
            for (name, value, attrs) in properties {
                self.add_property(r, name, value, attrs)?;
            }
            self.finish_namespace(r)?;
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn is_namespace(&self, r: Ref) -> bool {
        self.heap.header(r) & flag::NAMESPACE != 0
    }

    /// The value of a module variable; ReferenceError if it has none yet.
    fn binding(&mut self, slot: Value) -> Result<Value, Throw> {
        let slot = slot.as_index().unwrap_or(u32::MAX) as usize;
        let v = self.local.slots[0].get(slot).copied().unwrap_or_default();
        if !v.is_empty() {
            return Ok(v);
        }
        let unit = &self.local.units[0];
        let name = unit.module.as_ref().and_then(|m| m.slots.get(slot));
        let name = name.and_then(|name| unit.constants.get(*name as usize)).copied();
        let name = match name {
            Some(name) => self.heap.to_text(name)?,
            None => "variable".to_owned(),
        };
        Err(Throw::reference_error(format!("Cannot access '{name}' before initialization")))
    }

    /// [[GetOwnProperty]] of a binding whose accessor this is.
    pub(crate) fn namespace_own(&mut self, getter: Value) -> Result<Own, Throw> {
        let slot = self.heap.get(getter.as_ref(), 4);
        Ok(Own::Data(self.binding(slot)?, ATTRIBUTES))
    }

    /// Whether a namespace has a property, without asking for its value.
    pub(crate) fn namespace_has(&self, r: Ref, key: Key) -> bool {
        matches!(key, Key::Atom(atom) if !self.raw_property(r, atom).is_empty())
    }

    /// [[Delete]] of what is there.
    pub(crate) fn refuse_namespace_delete(&mut self, key: Key) -> Throw {
        match self.key_text(key) {
            Ok(name) => Throw::type_error(format!("Cannot delete property '{name}' of [object Module]")),
            Err(throw) => throw,
        }
    }

    /// [[Set]], which always fails.
    pub(crate) fn refuse_namespace_write(&mut self, key: Key) -> Throw {
        match self.key_text(key) {
            Ok(name) => Throw::type_error(format!(
                "Cannot assign to read only property '{name}' of object '[object Module]'"
            )),
            Err(throw) => throw,
        }
    }

    /// [[DefineOwnProperty]]: allowed is what changes nothing.
    pub(crate) fn define_namespace(&mut self, r: Ref, key: Key, d: &Descriptor) -> Result<(), Throw> {
        let own = self.get_own(r, key)?;
        if own == Own::None {
            return Err(Throw::type_error("Cannot define property, object is not extensible"));
        }
        // The tag isn't writable, so that check_redefine says it all.
        let symbol = matches!(key, Key::Atom(atom) if atom.is_symbol());
        let other = match (own, d.value) {
            (Own::Data(v, _), Some(new)) => !self.same_value(new, v)?,
            _ => false,
        };
        if !symbol && (d.writable == Some(false) || other) {
            let name = self.key_text(key)?;
            return Err(Throw::type_error(format!("Cannot redefine property: {name}")));
        }
        self.check_redefine(own, d, key)
    }

    /// `preventExtensions`, `seal`, `freeze`: all that the last would change is not allowed.
    pub(crate) fn restrict_namespace(&mut self, r: Ref, seal: bool, freeze: bool) -> Result<(), Throw> {
        if !seal {
            return Ok(());
        }
        let mut keys = Vec::new();
        self.own_keys(r, Keys { strings: true, symbols: false, only_enumerable: true }, &mut keys)?;
        match keys.first().filter(|_| freeze) {
            Some(key) => {
                let name = self.key_text(*key)?;
                Err(Throw::type_error(format!("Cannot freeze [object Module]: '{name}' is writable")))
            }
            None => Ok(()),
        }
    }

    /// EnumerableOwnProperties and their like ask about each property: the first that is too early throws.
    pub(crate) fn check_bindings(&mut self, r: Ref, keys: &[Key]) -> Result<(), Throw> {
        for key in keys {
            self.get_own(r, *key)?;
        }
        Ok(())
    }

    /// What stands in a named property, an accessor's cell too; EMPTY for none.
    fn raw_property(&self, r: Ref, atom: Value) -> Value {
        let shape = self.shape(r);
        if shape == DICTIONARY {
            let dict = self.slots(r);
            let entry = self.heap.dict_find_bits(dict, atom);
            return entry.map_or(Value::EMPTY, |entry| self.heap.dict_entry(dict, entry).1);
        }
        self.local.shapes.find(shape, atom).map_or(Value::EMPTY, |(slot, _)| self.slot_value(r, slot))
    }
}
