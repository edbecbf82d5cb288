//! One function under construction: registers as a stack, forward jumps that are
//! patched, property sites, positions, exception handlers, names of locals; and
//! the module's pool of constants.
//!
//! Registers: `r[0]` is `this`, then parameters, then whatever scopes and
//! expressions take with [`Builder::take`] and give back by resetting
//! [`Builder::next`]. A call's window begins above everything that is live, so the
//! stack discipline is also what keeps calls from overwriting locals.

use std::collections::HashMap;

use forebay_bytecode::module::{
    Capture, Const, ExceptionHandler, Function, LocalName, NamespaceExport, Position, TemplatePart,
};
use forebay_bytecode::{FunctionIndex, Instr, Module, Op};
use oxc_span::Span;
use oxc_syntax::scope::ScopeId;
use oxc_syntax::symbol::SymbolId;

/// A register.
pub(crate) type Reg = u16;

/// Registers of one function. A frame of this size is 480 KB; more is refused.
pub(crate) const REGISTERS_MAX: u16 = 60_000;

/// A forward jump that doesn't know its target yet.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Patch(usize);

/// What an upvalue stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum UpKey {
    Symbol(usize, SymbolId),
    This,
    Arguments,
    NewTarget,
    /// What the lowering keeps for itself: see [`Builder::hidden`].
    Hidden(u32),
}

/// How a constructor's `this` comes to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Constructor {
    /// By `super(...)`: until then it is the marker.
    pub(crate) derived: bool,
    /// `super(...)` has been called for certain.
    pub(crate) ready: bool,
    /// Captured by arrows: in this hidden cell.
    pub(crate) this: Option<u32>,
    /// The constructor itself, for arrows that call `super(...)`.
    pub(crate) callee: Option<u32>,
    /// The cell of the function that initialises fields behind `super(...)`.
    pub(crate) fields: Option<u32>,
}

/// What a `break`, `continue` or `return` passes on its way out, innermost last.
#[derive(Debug)]
pub(crate) enum Control {
    /// Target of `break` (and `continue`, if it is a loop).
    Target { labels: Vec<String>, breaks: Vec<Patch>, continues: Option<Vec<Patch>>, unlabelled: bool },
    /// A for-of loop's iterator: closed on the way out. `gaps`: code that the
    /// handler of the loop's body must not cover.
    Iterator { register: Reg, asynchronous: bool, gaps: Vec<(u32, u32)> },
    /// A try block with a catch: what an exit runs behind it isn't covered.
    Try { gaps: Vec<(u32, u32)> },
    /// A finally block.
    Finally { kind: Reg, value: Reg, entries: Vec<Patch>, exits: Vec<Exit> },
}

/// How a finally block is left again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// To the `Control` at this depth.
    Break(usize),
    Continue(usize),
    /// With the value in the finally's value register.
    Return,
    /// The same, of an object literal.
    ReturnLiteral,
}

/// A function under construction.
#[derive(Debug)]
pub(crate) struct Builder {
    /// File and scope of the function, to tell own variables from captured ones.
    pub(crate) file: usize,
    pub(crate) scope: ScopeId,
    pub(crate) flags: u16,
    pub(crate) name: u32,
    pub(crate) length: u16,
    pub(crate) parameters: u16,
    pub(crate) rest: Option<Reg>,
    pub(crate) code: Vec<Instr>,
    positions: Vec<Position>,
    pub(crate) handlers: Vec<ExceptionHandler>,
    locals: Vec<LocalName>,
    sites: Vec<u32>,
    /// First free register.
    pub(crate) next: Reg,
    highest: Reg,
    overflow: bool,
    pub(crate) captures: Vec<Capture>,
    pub(crate) upvalues: HashMap<UpKey, u16>,
    /// Registers of own variables.
    pub(crate) storage: HashMap<SymbolId, Reg>,
    /// Which variable's plain value a register is.
    pub(crate) owners: HashMap<Reg, SymbolId>,
    /// The function's own name, where it refers to itself, and its register.
    pub(crate) itself: Option<(SymbolId, Reg)>,
    /// Whether its code stands behind a `StartGenerator`: not while its parameters are bound.
    pub(crate) started: bool,
    /// Where the arguments object arrives, if the function mentions it.
    pub(crate) arguments: Option<Reg>,
    pub(crate) control: Vec<Control>,
    /// Registers of what the source has no variables for: home objects, private names, keys of fields.
    pub(crate) hidden: HashMap<u32, Reg>,
    /// The hidden home object of a method: where `super` begins.
    pub(crate) home: Option<u32>,
    pub(crate) constructor: Option<Constructor>,
    /// Where `new.target` arrives; without it, it is undefined.
    pub(crate) new_target: Option<Reg>,
    /// A field's initialiser, which has no `new.target`, is being written into a constructor.
    pub(crate) in_initialiser: bool,
}

impl Builder {
    pub(crate) fn new(file: usize, scope: ScopeId, flags: u16, name: u32) -> Self {
        Self {
            file,
            scope,
            flags,
            name,
            length: 0,
            parameters: 0,
            rest: None,
            code: Vec::new(),
            positions: Vec::new(),
            handlers: Vec::new(),
            locals: Vec::new(),
            sites: Vec::new(),
            next: 1,
            highest: 1,
            overflow: false,
            captures: Vec::new(),
            upvalues: HashMap::new(),
            storage: HashMap::new(),
            owners: HashMap::new(),
            itself: None,
            started: false,
            arguments: None,
            control: Vec::new(),
            hidden: HashMap::new(),
            home: None,
            constructor: None,
            new_target: None,
            in_initialiser: false,
        }
    }

    /// Takes the next register.
    pub(crate) fn take(&mut self) -> Reg {
        if self.next >= REGISTERS_MAX {
            self.overflow = true;
            return self.next;
        }
        let register = self.next;
        self.next += 1;
        self.highest = self.highest.max(self.next);
        register
    }

    /// Whether it needs more registers or sites than a function can have.
    pub(crate) fn is_too_large(&self) -> bool {
        self.overflow || self.sites.len() > 1 << 16
    }

    /// The pc of the next instruction.
    #[expect(clippy::cast_possible_truncation, reason = "a source of 1 MiB doesn't make 2^32 instructions")]
    pub(crate) fn pc(&self) -> u32 {
        self.code.len() as u32
    }

    /// Appends an instruction that comes from `span`.
    pub(crate) fn emit(&mut self, instr: Instr, span: Span) {
        let same = |p: &Position| p.file as usize == self.file && p.start == span.start && p.end == span.end;
        if !self.positions.last().is_some_and(same) {
            let file = u16::try_from(self.file).unwrap_or(u16::MAX);
            self.positions.push(Position { pc: self.pc(), file, start: span.start, end: span.end });
        }
        self.code.push(instr);
    }

    pub(crate) fn abc(&mut self, op: Op, a: Reg, b: Reg, c: u16, span: Span) {
        self.emit(Instr::abc(op, 0, a, b, c), span);
    }

    pub(crate) fn ab(&mut self, op: Op, a: Reg, b: Reg, span: Span) {
        self.abc(op, a, b, 0, span);
    }

    pub(crate) fn a(&mut self, op: Op, a: Reg, span: Span) {
        self.abc(op, a, 0, 0, span);
    }

    pub(crate) fn abx(&mut self, op: Op, a: Reg, bx: u32, span: Span) {
        self.emit(Instr::abx(op, a, bx), span);
    }

    /// `r[a] = r[b]`, unless it is the same register.
    pub(crate) fn move_to(&mut self, a: Reg, b: Reg, span: Span) {
        if a != b {
            self.ab(Op::Move, a, b, span);
        }
    }

    /// A forward jump to be patched; `register` is what it tests.
    pub(crate) fn jump(&mut self, op: Op, register: Reg, span: Span) -> Patch {
        self.emit(Instr::asbx(op, register, 0), span);
        Patch(self.code.len() - 1)
    }

    /// Lets a jump go to the next instruction.
    pub(crate) fn patch(&mut self, patch: Patch) {
        let distance = i32::try_from(self.code.len() - patch.0 - 1).unwrap_or(i32::MAX);
        let jump = self.code[patch.0];
        let op = jump.op().unwrap_or(Op::Jump);
        self.code[patch.0] = Instr::asbx(op, jump.a(), distance);
    }

    pub(crate) fn patch_all(&mut self, patches: Vec<Patch>) {
        for patch in patches {
            self.patch(patch);
        }
    }

    /// Jumps backwards to `target`.
    pub(crate) fn loop_to(&mut self, target: u32, span: Span) {
        let distance = i32::try_from(self.pc() - target + 1).unwrap_or(i32::MAX);
        self.emit(Instr::asbx(Op::Loop, 0, -distance), span);
    }

    /// A new property site for a key (a constant).
    pub(crate) fn site(&mut self, key: u32) -> u16 {
        self.sites.push(key);
        u16::try_from(self.sites.len() - 1).unwrap_or(u16::MAX)
    }

    pub(crate) fn name_local(&mut self, name: u32, register: Reg, start: u32) {
        let end = self.pc();
        if start < end {
            self.locals.push(LocalName { name, register, start, end });
        }
    }

    /// Covers `start .. end` but for `gaps` (ascending).
    pub(crate) fn cover(&mut self, start: u32, end: u32, gaps: &[(u32, u32)], target: u32, register: Reg) {
        let mut from = start;
        for &(gap_start, gap_end) in gaps.iter().chain(&[(end, end)]) {
            if from < gap_start {
                self.handlers.push(ExceptionHandler { start: from, end: gap_start, target, register });
            }
            from = gap_end;
        }
    }

    /// The function, as it goes into the module.
    pub(crate) fn finish(self, module: &mut Module) -> FunctionIndex {
        let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let site_base = length(module.sites.len());
        let site_count = length(self.sites.len());
        module.sites.extend(self.sites);
        module.functions.push(Function {
            name: self.name,
            flags: self.flags,
            length: self.length,
            parameters: self.parameters,
            rest: self.rest,
            registers: self.highest,
            captures: self.captures,
            site_base,
            site_count,
            code: self.code,
            handlers: self.handlers,
            positions: self.positions,
            locals: self.locals,
        });
        FunctionIndex(length(module.functions.len() - 1))
    }
}

/// Constants of the module, each once.
#[derive(Default, Debug)]
pub(crate) struct Pool {
    numbers: HashMap<u64, u32>,
    strings: HashMap<Box<str>, u32>,
    big_ints: HashMap<Box<str>, u32>,
    pub(crate) constants: Vec<Const>,
}

impl Pool {
    fn push(&mut self, constant: Const) -> u32 {
        self.constants.push(constant);
        u32::try_from(self.constants.len() - 1).unwrap_or(u32::MAX)
    }

    pub(crate) fn number(&mut self, value: f64) -> u32 {
        if let Some(&known) = self.numbers.get(&value.to_bits()) {
            return known;
        }
        let index = self.push(Const::Number(value));
        self.numbers.insert(value.to_bits(), index);
        index
    }

    pub(crate) fn string(&mut self, value: &str) -> u32 {
        if let Some(&known) = self.strings.get(value) {
            return known;
        }
        let index = self.push(Const::Str(value.into()));
        self.strings.insert(value.into(), index);
        index
    }

    pub(crate) fn big_int(&mut self, digits: &str) -> u32 {
        if let Some(&known) = self.big_ints.get(digits) {
            return known;
        }
        let index = self.push(Const::BigInt(digits.into()));
        self.big_ints.insert(digits.into(), index);
        index
    }

    /// A template object: never shared between two places of the source.
    pub(crate) fn template(&mut self, parts: Vec<TemplatePart>) -> u32 {
        self.push(Const::Template(parts.into()))
    }

    /// A text that oxc writes with U+FFFD as an escape, as halves of surrogate pairs are in it: four digits follow.
    pub(crate) fn escaped(&mut self, value: &str) -> u32 {
        let mut units: Vec<u16> = Vec::new();
        let mut chars = value.chars();
        while let Some(c) = chars.next() {
            if c == char::REPLACEMENT_CHARACTER {
                let digits: String = chars.by_ref().take(4).collect();
                units.push(u16::from_str_radix(&digits, 16).unwrap_or(0xfffd));
            } else {
                units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
            }
        }
        let mut bytes = Vec::new();
        for c in char::decode_utf16(units) {
            match c {
                Ok(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                Err(half) => {
                    let [high, low] = half.unpaired_surrogate().to_be_bytes();
                    bytes.extend_from_slice(&[0xed, 0x80 | (high & 0xf) << 2 | low >> 6, 0x80 | low & 0x3f]);
                }
            }
        }
        match String::from_utf8(bytes) {
            Ok(text) => self.string(&text),
            Err(half) => self.push(Const::Wtf8(half.into_bytes().into())),
        }
    }

    /// The namespace object of a file, in a module variable.
    pub(crate) fn namespace(&mut self, slot: u32, exports: Vec<NamespaceExport>) -> u32 {
        self.push(Const::Namespace { slot, exports: exports.into() })
    }

    /// A private name: a new one each time, whatever its text.
    pub(crate) fn private(&mut self, text: &str) -> u32 {
        self.push(Const::Private(text.into()))
    }

    pub(crate) fn data(&mut self, bytes: Vec<u8>) -> u32 {
        self.push(Const::Data(bytes.into()))
    }
}
