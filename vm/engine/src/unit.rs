//! Code as the interpreter wants it: a verified module, its constants as values,
//! its property sites as interned keys.

use crate::value::Value;
use forebay_bytecode::module::{TemplatePart, function_flags};
use forebay_bytecode::{Function, Instr, Verified};

/// Bit of a function index: the function is of the intrinsics' unit.
pub(crate) const INTRINSIC: u64 = 1 << 31;

/// One loaded module.
pub(crate) struct Unit {
    pub(crate) module: Option<Verified>,
    /// Constants, in the unit's space.
    pub(crate) constants: Vec<Value>,
    /// Keys of property sites; an index-like key ("0") is the integer.
    pub(crate) sites: Vec<Value>,
    /// What the loop runs, by function: the module's code, pairs of it fused in place.
    pub(crate) code: Vec<Box<[Instr]>>,
}

/// What the loop needs of a function, in one place. The addresses are of the `Local` that holds it: its
/// unit's code, constants and caches don't move while the `Local` lives.
#[derive(Clone, Copy)]
pub(crate) struct Hot {
    pub(crate) code: *const Instr,
    pub(crate) constants: *const Value,
    /// Of the function's first site.
    pub(crate) caches: *mut Site,
    /// Fuel of a call: canonical instructions, so that code without a loop is paid for at entry.
    pub(crate) cost: i64,
    pub(crate) site_base: u32,
    pub(crate) registers: u16,
    pub(crate) parameters: u16,
    pub(crate) unit: u8,
    /// A call is nothing but a frame: no fiber, no rest parameter, nothing else that a flag asks for.
    pub(crate) simple: bool,
    /// So is `new` of this class, but that `new.target` goes into this register; 0: it is more.
    pub(crate) new_target: u16,
    /// Register that holds the generator in its code; 0: it is none, or an async one.
    pub(crate) generator: u16,
}

/// Flags that don't change what a call does.
const SIMPLE_FLAGS: u16 = function_flags::ARROW
    | function_flags::INIT
    | function_flags::METHOD
    | function_flags::SCRIPT
    | function_flags::GENERATOR;

impl Unit {
    pub(crate) fn empty() -> Self {
        Self { module: None, constants: Vec::new(), sites: Vec::new(), code: Vec::new() }
    }

    #[inline]
    pub(crate) fn functions(&self) -> &[Function] {
        self.module.as_ref().map_or(&[], |m| &m.functions)
    }

    pub(crate) fn new_caches(&self) -> Vec<Site> {
        vec![Site::default(); self.sites.len()]
    }

    /// The table that the loop calls functions by; `Local::point_hot` fills in the caches.
    pub(crate) fn hot(&self, unit: u8) -> Box<[Hot]> {
        let each = self.functions().iter().zip(&self.code);
        each.map(|(function, code)| Hot {
            code: code.as_ptr(),
            constants: self.constants.as_ptr(),
            caches: std::ptr::null_mut(),
            cost: i64::try_from(function.code.len()).unwrap_or(i64::MAX),
            site_base: function.site_base,
            registers: function.registers,
            parameters: function.parameters,
            unit,
            simple: function.flags & !SIMPLE_FLAGS == 0 && function.rest.is_none(),
            new_target: match function.new_target_register() {
                Some(register) if function.flags == function_flags::CLASS && function.rest.is_none() => {
                    u16::try_from(register).unwrap_or(0)
                }
                _ => 0,
            },
            generator: match function.generator_register() {
                Some(register) if function.flags & function_flags::ASYNC == 0 => {
                    u16::try_from(register).unwrap_or(0)
                }
                _ => 0,
            },
        })
        .collect()
    }
}

/// What an inline cache knows about a site. `header` is the whole header word
/// of the objects it is about (kind, flags, inline capacity, shape); 0 = nothing.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cache {
    pub(crate) header: u64,
    /// The object that has the property: EMPTY bits (0) for the receiver itself.
    pub(crate) holder: Value,
    /// The prototype that the receiver must have, if `holder` or `next` matters.
    pub(crate) proto: Value,
    /// Word offset in the holder, or with OUTSIDE its index in the out-of-line slots.
    pub(crate) slot: u32,
    /// Stores that add the property: the shape afterwards; 0 for plain ones. Reads: [`SHAPED`].
    pub(crate) next: u32,
}

/// The inline caches of a site: what was learned last, and before that. A site that sees objects of two classes in turn
/// finds either.
pub(crate) type Site = [Cache; 2];

/// Where a property stands in objects with a certain header word, for operations that have no site: private names, a
/// constructor's `prototype`. Shapes don't change, so it holds for every object and task.
#[derive(Clone, Copy, Default)]
pub(crate) struct Member {
    pub(crate) header: u64,
    pub(crate) name: Value,
    /// As [`Cache::slot`].
    pub(crate) slot: u32,
    /// The property isn't there: the shape of an object that gets it, with these attributes. 0: it is there.
    pub(crate) next: u32,
    pub(crate) attrs: u8,
}

/// How many of them a core keeps for a blueprint.
pub(crate) const MEMBERS: usize = 64;

/// `Cache::next` of a read whose prototypes are the task's own and so known by their headers alone: 1, `proto` holds
/// the bits of the first one's, which has the property; 2, `holder` those of the second's, which has it.
pub(crate) const SHAPED: [u32; 2] = [1, 2];

/// `Cache::slot`: the value is in the out-of-line slots.
pub(crate) const OUTSIDE: u32 = 1 << 31;
/// Pseudo header of strings as receivers.
pub(crate) const STRING_RECEIVER: u64 = 1;
/// Pseudo header of Numbers as receivers.
pub(crate) const NUMBER_RECEIVER: u64 = 2;

impl Unit {
    /// Makes the constants and keys of a module, in the space under construction, and the loop's form of its code.
    pub(crate) fn load(
        mem: &mut crate::mem::Mem<'_>,
        module: Verified,
        fused: bool,
    ) -> Result<Self, crate::throw::Throw> {
        use forebay_bytecode::Const;
        let mut constants = Vec::with_capacity(module.constants.len());
        for constant in &module.constants {
            constants.push(match constant {
                Const::Number(n) => Value::number(*n),
                Const::Str(text) => mem.intern(text.as_bytes())?,
                Const::BigInt(digits) => {
                    let n = crate::builtins::bignum::Int::parse(digits).unwrap_or_default();
                    mem.new_bigint(&n)?
                }
                Const::Data(bytes) => mem.heap.new_data(bytes)?,
                Const::Namespace { exports, .. } => mem.new_namespace(&constants, exports)?,
                Const::Template(parts) => Self::template(mem, &constants, parts)?,
                Const::Wtf8(text) => mem.intern(text)?,
                Const::Private(text) => {
                    let text = mem.intern(text.as_bytes())?;
                    mem.new_private(text)?
                }
            });
        }
        let mut sites = Vec::with_capacity(module.sites.len());
        for site in &module.sites {
            let key = constants[*site as usize];
            let index = crate::string::parse_index(mem.heap.str_bytes(key));
            // Keys beyond 2^31 - 1 stay strings here and are parsed where they are used.
            sites.push(index.and_then(|i| i32::try_from(i).ok()).map_or(key, Value::int));
        }
        let mut code: Vec<Box<[Instr]>> =
            module.functions.iter().map(|f| f.code.clone().into_boxed_slice()).collect();
        if fused {
            code.iter_mut().for_each(|code| forebay_bytecode::fuse(code));
        }
        Ok(Self { module: Some(module), constants, sites, code })
    }

    /// GetTemplateObject (ECMA-262 13.2.8.4): an array of the cooked strings, one of the raw ones, both frozen.
    fn template(
        mem: &mut crate::mem::Mem<'_>,
        constants: &[Value],
        parts: &[TemplatePart],
    ) -> Result<Value, crate::throw::Throw> {
        let text = |at: u32| constants.get(at as usize).copied().unwrap_or_default();
        let cooked: Vec<Value> = parts.iter().map(|p| p.cooked.map_or(Value::UNDEFINED, text)).collect();
        let raw: Vec<Value> = parts.iter().map(|p| text(p.raw)).collect();
        let (cooked, raw) = (mem.new_array_of(&cooked)?, mem.new_array_of(&raw)?);
        mem.restrict(raw, true, true)?;
        mem.add_property(cooked, mem.local.known.raw, raw.object(), 0)?;
        mem.restrict(cooked, true, true)?;
        Ok(cooked.object())
    }

    /// Module variables before any top level runs: namespaces are there.
    pub(crate) fn new_slots(&self) -> Vec<Value> {
        let mut slots = vec![Value::EMPTY; self.slot_count()];
        let constants = self.module.as_ref().map_or(&[][..], |m| &m.constants);
        for (constant, value) in constants.iter().zip(&self.constants) {
            if let forebay_bytecode::Const::Namespace { slot, .. } = constant {
                slots[*slot as usize] = *value;
            }
        }
        slots
    }

    /// Module variables.
    pub(crate) fn slot_count(&self) -> usize {
        self.module.as_ref().map_or(0, |m| m.slots.len())
    }
}
