//! Names that are properties of the global object. Blueprints have none (their compiler
//! knows every name); Scripts of conformance tests do. ECMA-262 section 9.1.1.4.

use crate::ctx::Ctx;
use crate::fiber::{Cont, ContKind};
use crate::object::{Descriptor, Get, Own, Put};
use crate::shape::attr;
use crate::throw::Throw;
use crate::value::Value;
use forebay_bytecode::{Global, Instr, Op};

impl Ctx<'_> {
    /// GetName, SetName, DeclareName.
    pub(crate) fn global_name(&mut self, i: Instr, name: Value) -> Result<(), Throw> {
        let this = self.mem.local.known.globals[Global::GlobalThis as usize];
        let object = this.as_ref();
        let key = self.mem.key_of_string(name)?;
        match i.op() {
            Some(Op::GetName) => {
                if !self.mem.has(object, key)? {
                    if i.n() == 0 {
                        return Err(self.not_defined(name));
                    }
                    self.set_register(i.a(), Value::UNDEFINED);
                    return Ok(());
                }
                match self.mem.get(object, key)? {
                    Get::Value(v) => self.set_register(i.a(), v),
                    Get::Getter(getter) => return self.call_function(getter, this, &[], Cont::plain(i.a())),
                }
            }
            Some(Op::SetName) => {
                if !self.mem.has(object, key)? {
                    return Err(self.not_defined(name));
                }
                let v = self.register(i.a());
                if let Put::Setter(setter) = self.mem.put(object, key, v)? {
                    return self.call_function(setter, this, &[v], Cont::new(ContKind::Discard, 0));
                }
            }
            _ => {
                let fixed = attr::WRITABLE | attr::ENUMERABLE;
                let descriptor = match self.mem.get_own(object, key)? {
                    _ if i.n() == 0 => Descriptor::data(Value::UNDEFINED, fixed),
                    Own::Data(_, attrs) if attrs & attr::CONFIGURABLE == 0 => {
                        let v = self.register(i.a());
                        Descriptor { value: Some(v), ..Descriptor::default() }
                    }
                    _ => Descriptor::data(self.register(i.a()), fixed),
                };
                if i.n() == 1 || self.mem.get_own(object, key)? == Own::None {
                    self.mem.define_own(object, key, &descriptor)?;
                }
            }
        }
        Ok(())
    }

    fn not_defined(&mut self, name: Value) -> Throw {
        match self.mem.heap.to_text(name) {
            Ok(name) => Throw::reference_error(format!("{name} is not defined")),
            Err(throw) => throw,
        }
    }
}
