//! Names for code that is no blueprint's: natives, and the functions of the built-in scripts.
//!
//! A native is named by its place. A function of the built-in scripts is named by a hash of what it
//! does, its constants, keys and inner functions included: a frame inside `map` goes on in a later version of this program
//! if that has the same `map`; if it was changed since, the frame's registers would mean something
//! else, and the snapshot is refused by the function's name.

use crate::builtins::{Kind, natives};
use crate::unit::Unit;
use forebay_bytecode::{Const, Field, Function, Instr, Module, Operand};
use std::collections::HashMap;
use std::sync::OnceLock;

/// Names of natives, both ways.
pub(crate) struct NativeNames {
    pub(super) names: Vec<Box<str>>,
    pub(super) numbers: HashMap<Box<str>, u32>,
}

/// The names of this process's natives.
pub(super) fn native_names() -> &'static NativeNames {
    static NAMES: OnceLock<NativeNames> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut names: Vec<Box<str>> = Vec::new();
        let mut numbers: HashMap<Box<str>, u32> = HashMap::new();
        for (number, native) in (0u32..).zip(natives()) {
            let part = match native.kind {
                Kind::Method => "",
                Kind::Getter => "get ",
                Kind::Setter => "set ",
                Kind::Constructor(_) | Kind::ErrorConstructor(_) => "new ",
                Kind::Helper => "%",
            };
            // Of those with one name (the functions that settle a promise have none) each has its turn.
            let name = (0..)
                .map(|turn| match turn {
                    0 => format!("{part}{}/{}", native.on, native.name),
                    n => format!("{part}{}/{}#{n}", native.on, native.name),
                })
                .find(|name| !numbers.contains_key(name.as_str()))
                .unwrap_or_default();
            numbers.insert(name.as_str().into(), number);
            names.push(name.into());
        }
        NativeNames { names, numbers }
    })
}

/// Hashes of the functions of the built-in scripts, both ways.
pub(crate) struct CodeNames {
    pub(super) hashes: Vec<u64>,
    pub(super) functions: HashMap<u64, u32>,
}

impl CodeNames {
    /// Hashes every function of a unit.
    pub(super) fn of(unit: &Unit) -> Self {
        let mut hashes = Vec::new();
        if let Some(module) = &unit.module {
            let mut known = vec![None; module.functions.len()];
            hashes = (0..module.functions.len()).map(|f| hash_of(module, f, &mut known)).collect();
        }
        let mut functions = HashMap::new();
        for (number, hash) in (0u32..).zip(&hashes) {
            functions.entry(*hash).or_insert(number);
        }
        Self { hashes, functions }
    }
}

/// FNV-1a in 64 bits: nobody chooses these inputs, and the same bytes give the same hash for ever.
struct Hash(u64);

impl Hash {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    fn u64(&mut self, v: u64) {
        self.bytes(&v.to_le_bytes());
    }
    fn text(&mut self, text: &[u8]) {
        self.u64(text.len() as u64);
        self.bytes(text);
    }
    fn constant(&mut self, constant: Option<&Const>) {
        match constant {
            Some(Const::Number(n)) => {
                self.bytes(b"n");
                self.u64(n.to_bits());
            }
            Some(Const::Str(text)) => {
                self.bytes(b"s");
                self.text(text.as_bytes());
            }
            Some(Const::Wtf8(text)) => {
                self.bytes(b"w");
                self.text(text);
            }
            Some(Const::Private(text)) => {
                self.bytes(b"p");
                self.text(text.as_bytes());
            }
            Some(Const::BigInt(digits)) => {
                self.bytes(b"b");
                self.text(digits.as_bytes());
            }
            Some(Const::Data(bytes)) => {
                self.bytes(b"d");
                self.text(bytes);
            }
            Some(Const::Template(parts)) => {
                self.bytes(b"t");
                for part in parts {
                    self.u64(part.cooked.map_or(0, |at| u64::from(at) + 1));
                    self.u64(u64::from(part.raw));
                }
            }
            Some(Const::Namespace { slot, exports }) => {
                self.bytes(b"m");
                self.u64(u64::from(*slot));
                for export in exports {
                    self.u64(u64::from(export.name));
                    self.u64(u64::from(export.slot));
                }
            }
            None => {}
        }
    }
}

fn hash_of(module: &Module, at: usize, known: &mut [Option<u64>]) -> u64 {
    if let Some(hash) = known[at] {
        return hash;
    }
    // A function that makes itself would not end; the number stands for it then.
    known[at] = Some(0);
    let f = &module.functions[at];
    let mut h = Hash(0xcbf2_9ce4_8422_2325);
    h.constant(module.constants.get(f.name as usize));
    for n in [u64::from(f.flags), u64::from(f.length), u64::from(f.parameters), u64::from(f.registers)] {
        h.u64(n);
    }
    h.u64(f.rest.map_or(0, u64::from));
    h.text(format!("{:?}", f.captures).as_bytes());
    h.text(format!("{:?}", f.handlers).as_bytes());
    for i in &f.code {
        instruction(module, f, *i, &mut h, known);
    }
    known[at] = Some(h.0);
    h.0
}

fn instruction(module: &Module, f: &Function, i: Instr, h: &mut Hash, known: &mut [Option<u64>]) {
    h.bytes(&[i.op_byte(), i.n()]);
    for (field, operand) in i.op().map_or(&[][..], |op| op.operands()) {
        let raw = match field {
            Field::A => u64::from(i.a()),
            Field::B => u64::from(i.b()),
            Field::C => u64::from(i.c()),
            Field::Bx => u64::from(i.bx()),
        };
        let index = usize::try_from(raw).unwrap_or(usize::MAX);
        match operand {
            Operand::Const | Operand::Name => h.constant(module.constants.get(index)),
            Operand::Site => {
                let site = module.sites.get(f.site_base as usize + index);
                h.constant(site.and_then(|c| module.constants.get(*c as usize)));
            }
            Operand::ModuleSlot => {
                let name = module.slots.get(index).and_then(|c| module.constants.get(*c as usize));
                h.constant(name);
            }
            Operand::Function if index < known.len() => {
                let inner = hash_of(module, index, known);
                h.u64(inner);
            }
            _ => h.u64(raw),
        }
    }
}
