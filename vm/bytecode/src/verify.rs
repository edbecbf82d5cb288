//! What makes a module safe to run: [`verify`] checks every claim that an
//! engine relies on without looking again, and [`Verified`] is the proof.
//!
//! ```text
//!   front end --Module--+                        +--> engine
//!                       +--> verify --Verified---+
//!   file --decode-------+        \--VerifyError{function, pc, what}
//! ```
//!
//! One pass over the code, no data flow: every index is in range, every jump
//! lands on an instruction, control never runs off the end, nothing goes
//! backwards except through `Loop` (which charges fuel). What a register *holds*
//! is not tracked: whether it is a cell, an iterator, a query or the marker of
//! [`Op::LoadEmpty`] is in the value's tag, and engines look at the tag. Likewise
//! `SetModule` and host calls while loading: the flags are checked here, the state at
//! run time, because a function that loading code calls may be anyone's.

use crate::builtin::{Global, HostFn};
use crate::module::{
    Action, Capture, Const, Function, FunctionIndex, Module, NamespaceExport, Position,
    function_flags as flags, uses,
};
use crate::opcode::{Field, Instr, Op, Operand};
use std::collections::HashSet;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Files of one module.
pub const FILES_MAX: usize = u16::MAX as usize;
/// Constants of one module.
pub const CONSTANTS_MAX: usize = 1 << 20;
/// Functions of one module.
pub const FUNCTIONS_MAX: usize = 1 << 20;
/// Instructions of one function: also the longest run without a safepoint.
pub const FUNCTION_INSTRS_MAX: usize = 1 << 20;
/// Property sites of one function (operand c has 16 bits).
pub const FUNCTION_SITES_MAX: u32 = 1 << 16;
/// Property sites of one module.
pub const SITES_MAX: usize = 1 << 24;
/// Module variables, and handler slots, of one module.
pub const SLOTS_MAX: usize = 1 << 16;
/// What one function captures (operand b has 16 bits).
pub const CAPTURES_MAX: usize = 1 << 16;
/// Exception handlers of one function; a throw looks at them one by one.
pub const EXCEPTION_HANDLERS_MAX: usize = 1 << 12;
/// Works of one module.
pub const WORKS_MAX: usize = 1 << 12;
/// Routes of one work.
pub const ROUTES_MAX: usize = 1 << 16;
/// The one NaN that a constant may be: other payloads would be read as tagged
/// values by an engine that boxes values in NaNs.
pub const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;

/// A module that passed [`verify`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Verified(Arc<Module>);

impl Verified {
    /// The module, to be shared.
    #[must_use]
    pub fn shared(&self) -> Arc<Module> {
        Arc::clone(&self.0)
    }
}

impl Deref for Verified {
    type Target = Module;
    fn deref(&self) -> &Module {
        &self.0
    }
}

/// Why a module is refused: a bug of the front end, or a file that isn't what it
/// says. Nothing of the module may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyError {
    /// The function, if the error is in one.
    pub function: Option<FunctionIndex>,
    /// The instruction, if the error is in one.
    pub pc: Option<u32>,
    /// What is wrong, with what was found.
    pub what: Box<str>,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytecode refused")?;
        if let Some(function) = self.function {
            write!(f, ", function {}", function.0)?;
        }
        if let Some(pc) = self.pc {
            write!(f, ", pc {pc}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for VerifyError {}

/// Checks a module. The only way to a [`Verified`].
pub fn verify(module: impl Into<Arc<Module>>) -> Result<Verified, VerifyError> {
    let module = module.into();
    check_module(&module).map_err(|what| VerifyError { function: None, pc: None, what: what.into() })?;
    let mut site_uses = vec![SiteUse::None; module.sites.len()];
    for (index, function) in (0u32..).zip(&module.functions) {
        let error = |pc, what: String| VerifyError {
            function: Some(FunctionIndex(index)),
            pc,
            what: what.into_boxed_str(),
        };
        check_function(&module, function).map_err(|what| error(None, what))?;
        for (pc, instr) in (0u32..).zip(&function.code) {
            check_instr(&module, function, pc, *instr).map_err(|what| error(Some(pc), what))?;
            check_site(&mut site_uses, function, *instr).map_err(|what| error(Some(pc), what))?;
        }
    }
    Ok(Verified(module))
}

type Check = Result<(), String>;

/// `Err(what())` unless `holds`.
fn require(holds: bool, what: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(what()) }
}

fn at_most(count: usize, max: usize, of: &str) -> Check {
    require(count <= max, || format!("{count} {of}, at most {max}"))
}

fn is_str(module: &Module, constant: u32) -> bool {
    matches!(module.constants.get(constant as usize), Some(Const::Str(_)))
}

fn check_name(module: &Module, constant: u32, of: &str) -> Check {
    require(is_str(module, constant), || format!("{of}: constant {constant} is not a string"))
}

/// The names ascend, as an object lists its keys; an array index would come first in it, wherever it stands here.
fn check_namespace(module: &Module, index: usize, slot: u32, exports: &[NamespaceExport]) -> Check {
    let mut before: Option<&str> = None;
    for NamespaceExport { name, slot } in exports {
        let text = match module.constants.get(*name as usize) {
            Some(Const::Str(text)) if (*name as usize) < index => &**text,
            _ => return Err(format!("constant {index} is a namespace of no strings before it")),
        };
        require(before.is_none_or(|b| b.encode_utf16().lt(text.encode_utf16())), || {
            format!("constant {index} is a namespace whose names don't ascend")
        })?;
        require(text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()), || {
            format!("constant {index} is a namespace with a number for a name")
        })?;
        require((*slot as usize) < module.slots.len(), || format!("module variable {slot} out of range"))?;
        before = Some(text);
    }
    require((slot as usize) < module.slots.len(), || format!("module variable {slot} out of range"))
}

fn check_module(module: &Module) -> Check {
    at_most(module.files.len(), FILES_MAX, "files")?;
    at_most(module.constants.len(), CONSTANTS_MAX, "constants")?;
    at_most(module.functions.len(), FUNCTIONS_MAX, "functions")?;
    at_most(module.sites.len(), SITES_MAX, "sites")?;
    at_most(module.slots.len(), SLOTS_MAX, "module variables")?;
    at_most(module.handler_slots as usize, SLOTS_MAX, "handlers")?;
    at_most(module.works.len(), WORKS_MAX, "works")?;
    for file in &module.files {
        require(u32::try_from(file.text.len()).is_ok(), || format!("{}: text beyond 4 GiB", file.path))?;
    }
    let mut strings = HashSet::new();
    for (index, constant) in module.constants.iter().enumerate() {
        match constant {
            Const::Number(n) => require(!n.is_nan() || n.to_bits() == NAN_BITS, || {
                format!("constant {index} is a NaN of bits {:#x}", n.to_bits())
            })?,
            Const::Str(text) => {
                require(strings.insert(&**text), || format!("constant {index} stands twice"))?;
                require(u32::try_from(text.len()).is_ok(), || format!("constant {index} beyond 4 GiB"))?;
            }
            Const::BigInt(digits) => {
                let unsigned = digits.strip_prefix('-').unwrap_or(digits);
                require(!unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()), || {
                    format!("constant {index} is not decimal digits")
                })?;
            }
            Const::Wtf8(text) => {
                require(crate::module::is_wtf8(text) && std::str::from_utf8(text).is_err(), || {
                    format!("constant {index} is no text with half a surrogate pair")
                })?;
                require(u32::try_from(text.len()).is_ok(), || format!("constant {index} beyond 4 GiB"))?;
            }
            Const::Private(text) => {
                require(u32::try_from(text.len()).is_ok(), || format!("constant {index} beyond 4 GiB"))?;
            }
            Const::Data(_) => {}
            Const::Namespace { slot, exports } => check_namespace(module, index, *slot, exports)?,
            Const::Template(parts) => {
                let strings = |at: u32| (at as usize) < index && is_str(module, at);
                let all = parts.iter().all(|p| strings(p.raw) && p.cooked.is_none_or(strings));
                require(all && !parts.is_empty(), || {
                    format!("constant {index} is a template of no strings before it")
                })?;
            }
        }
    }
    for key in &module.sites {
        check_name(module, *key, "site")?;
    }
    for name in &module.slots {
        check_name(module, *name, "module variable")?;
    }
    let known = uses::PAYLOAD | uses::REQUEST | uses::DATABASE | uses::KV | uses::HTTP;
    require(module.uses & !known == 0, || format!("unknown uses {:#x}", module.uses))?;
    if let Some(init) = module.init {
        check_entry(module, init, true)?;
    }
    if let Some(main) = module.main {
        check_entry(module, main, false)?;
    }
    for work in &module.works {
        at_most(work.routes.len(), ROUTES_MAX, "routes")?;
        for route in &work.routes {
            check_position(module, &route.position).map_err(|e| format!("route {}: {e}", route.pattern))?;
            match &route.action {
                Action::Function(function) => check_entry(module, *function, false)?,
                Action::Handler(slot) => require(*slot < module.handler_slots, || {
                    format!("route {}: handler {slot} of {}", route.pattern, module.handler_slots)
                })?,
                Action::Redirect(_, status) => require((300..400).contains(status), || {
                    format!("route {}: redirect with status {status}", route.pattern)
                })?,
                Action::File(_) | Action::Assets(_) => {}
            }
        }
    }
    Ok(())
}

/// A function that the engine calls without a closure: it captures nothing.
fn check_entry(module: &Module, index: FunctionIndex, init: bool) -> Check {
    let Some(function) = module.functions.get(index.0 as usize) else {
        return Err(format!("entry function {} of {}", index.0, module.functions.len()));
    };
    require(function.captures.is_empty(), || format!("entry function {} captures", index.0))?;
    require((function.flags & flags::INIT != 0) == init, || {
        format!("entry function {}: flag INIT where it doesn't belong or missing", index.0)
    })
}

fn check_position(module: &Module, position: &Position) -> Check {
    let Some(file) = module.files.get(usize::from(position.file)) else {
        return Err(format!("position in file {} of {}", position.file, module.files.len()));
    };
    let (start, end) = (position.start as usize, position.end as usize);
    let inside = start <= end && file.text.is_char_boundary(start) && file.text.is_char_boundary(end);
    require(inside, || format!("position {start}..{end} is not text of {}", file.path))
}

fn check_function(module: &Module, function: &Function) -> Check {
    at_most(function.code.len(), FUNCTION_INSTRS_MAX, "instructions")?;
    at_most(function.captures.len(), CAPTURES_MAX, "captures")?;
    at_most(function.handlers.len(), EXCEPTION_HANDLERS_MAX, "exception handlers")?;
    check_name(module, function.name, "function name")?;
    let kinds = flags::ASYNC | flags::ARROW | flags::INIT | flags::METHOD | flags::SCRIPT | flags::GENERATOR;
    let known = kinds | flags::ARGUMENTS | flags::CLASS | flags::NEW_TARGET;
    require(function.flags & !known == 0, || format!("unknown flags {:#x}", function.flags))?;
    // A class's constructor is a constructor (`new_closure`), whose frame is a plain one.
    require(function.flags & flags::CLASS == 0 || function.flags & kinds == 0, || {
        format!("a class's constructor with flags {:#x}", function.flags)
    })?;

    let fixed = 1 + u32::from(function.parameters);
    if let Some(rest) = function.rest {
        require(u32::from(rest) == fixed, || format!("rest is r{rest}, not r{fixed}"))?;
    }
    let needed = fixed
        + u32::from(function.rest.is_some())
        + u32::from(function.arguments_register().is_some())
        + u32::from(function.new_target_register().is_some())
        + u32::from(function.generator_register().is_some());
    require(u32::from(function.registers) >= needed, || {
        format!("{} registers, {needed} needed by this and the parameters", function.registers)
    })?;
    require(function.length <= function.parameters, || {
        format!("length {} of {} parameters", function.length, function.parameters)
    })?;

    require(function.site_count <= FUNCTION_SITES_MAX, || format!("{} sites", function.site_count))?;
    let sites_end = u64::from(function.site_base) + u64::from(function.site_count);
    require(sites_end <= module.sites.len() as u64, || {
        format!("sites end at {sites_end} of {}", module.sites.len())
    })?;

    let count = u32::try_from(function.code.len()).map_err(|_| "too much code".to_owned())?;
    let last = function.code.last().and_then(|i| i.op());
    let ends = matches!(
        last,
        Some(Op::Return | Op::Throw | Op::ThrowTypeError | Op::ThrowReferenceError | Op::Loop)
    );
    require(ends, || "the last instruction falls through".to_owned())?;

    for handler in &function.handlers {
        require(handler.start < handler.end && handler.end <= count, || {
            format!("exception handler covers {}..{} of {count}", handler.start, handler.end)
        })?;
        // Forwards, as for jumps: otherwise an exception could loop without a safepoint.
        require(handler.end <= handler.target && handler.target < count, || {
            format!("exception handler of {}..{} at {}", handler.start, handler.end, handler.target)
        })?;
        require(handler.register < function.registers, || {
            format!("exception handler's register {} of {}", handler.register, function.registers)
        })?;
    }
    let mut previous = None;
    for position in &function.positions {
        require(previous < Some(position.pc) && position.pc < count, || {
            format!("position for pc {} out of order", position.pc)
        })?;
        previous = Some(position.pc);
        check_position(module, position)?;
    }
    for local in &function.locals {
        check_name(module, local.name, "local name")?;
        require(
            local.register < function.registers && local.start <= local.end && local.end <= count,
            || format!("local r{} at {}..{} of {count}", local.register, local.start, local.end),
        )?;
    }
    Ok(())
}

fn check_instr(module: &Module, function: &Function, pc: u32, instr: Instr) -> Check {
    let Some(op) = instr.op() else {
        return Err(format!("unknown operation {}", instr.op_byte()));
    };
    let name = op.name();
    check_unused(op, instr)?;
    let n = u32::from(instr.n());
    let count = function.code.len() as i64;
    let registers = |first: u16, how_many: u32| {
        let end = u32::from(first) + how_many;
        require(end <= u32::from(function.registers), || {
            format!("{name}: r{first} and {how_many} in all, of {} registers", function.registers)
        })
    };
    let below = |index: u32, len: usize, of: &str| {
        require((index as usize) < len, || format!("{name}: {of} {index} of {len}"))
    };
    for (field, operand) in op.operands() {
        let x = match field {
            Field::A => instr.a(),
            Field::B => instr.b(),
            Field::C => instr.c(),
            Field::Bx => 0,
        };
        let bx = instr.bx();
        match operand {
            Operand::Dst | Operand::Src => registers(x, 1)?,
            Operand::DstPair | Operand::SuperPair => registers(x, 2)?,
            Operand::Iter | Operand::SpreadBase => registers(x, 3)?,
            Operand::CallBase => registers(x, 2 + n)?,
            Operand::Range => registers(x, n)?,
            Operand::Const => below(bx, module.constants.len(), "constant")?,
            Operand::Name => check_name(module, bx, name)?,
            Operand::Function => check_closure(module, function, bx)?,
            Operand::ModuleSlot => below(bx, module.slots.len(), "module variable")?,
            Operand::HandlerSlot => below(bx, module.handler_slots as usize, "handler")?,
            Operand::Global => {
                require(Global::from_u32(bx).is_some(), || format!("unknown global {bx}"))?;
            }
            Operand::HostFn => check_host_call(module, function, x, instr.n())?,
            Operand::Upvalue => below(u32::from(x), function.captures.len(), "upvalue")?,
            Operand::Site => below(u32::from(x), function.site_count as usize, "site")?,
            Operand::Jump | Operand::JumpBack => {
                let sbx = i64::from(instr.sbx());
                let target = i64::from(pc) + 1 + sbx;
                let forwards = *operand == Operand::Jump;
                require((sbx >= 0) == forwards && (0..count).contains(&target), || {
                    format!("{name}: jump by {sbx} of {count} instructions")
                })?;
            }
            Operand::Int | Operand::Hint => {}
        }
    }
    if op == Op::ToPropertyKey && n == 1 {
        registers(instr.c(), 1)?;
    }
    let of_generators = matches!(op, Op::StartGenerator | Op::Yield | Op::EndGenerator);
    require(!of_generators || function.flags & flags::GENERATOR != 0, || {
        format!("{name} in a function that is no generator")
    })?;
    let loading = function.flags & flags::INIT != 0;
    require(loading || !matches!(op, Op::SetModule | Op::SetHandler), || {
        format!("{name} in a function that doesn't run at load")
    })
}

/// What a site is for: an engine's cache at it means something else for each.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SiteUse {
    None,
    Read,
    Write,
    Define,
    Delete,
}

/// A site belongs to one kind of operation, in whatever functions: what a store has learned about an object that
/// lacks the property is no answer for a read.
fn check_site(uses: &mut [SiteUse], function: &Function, instr: Instr) -> Check {
    let used = match instr.op() {
        Some(Op::GetField | Op::GetMethod | Op::GetSuperField) => SiteUse::Read,
        Some(Op::SetField) => SiteUse::Write,
        Some(Op::DefField) => SiteUse::Define,
        Some(Op::DeleteField) => SiteUse::Delete,
        _ => return Ok(()),
    };
    let Some(known) = uses.get_mut(function.site_base as usize + usize::from(instr.c())) else {
        return Err(format!("site {} isn't there", instr.c()));
    };
    require(*known == SiteUse::None || *known == used, || {
        format!("site {} is used by operations of different kinds", instr.c())
    })?;
    *known = used;
    Ok(())
}

/// Fields that the operation doesn't have are zero, so that they can get a meaning.
fn check_unused(op: Op, instr: Instr) -> Check {
    let mut used: u64 = 0xff;
    for (field, operand) in op.operands() {
        used |= match field {
            Field::A => 0xffff << 16,
            Field::B => 0xffff << 32,
            Field::C => 0xffff << 48,
            Field::Bx => 0xffff_ffff << 32,
        };
        if matches!(operand, Operand::Range | Operand::CallBase) {
            used |= 0xff << 8;
        }
    }
    used |= match op {
        Op::Return | Op::In | Op::GetName | Op::DeclareName | Op::Yield | Op::GetIteratorObject => 1 << 8,
        Op::DefElem | Op::DefGetter | Op::DefSetter | Op::CheckReturn | Op::DefClass => 1 << 8,
        Op::NameFunction | Op::DefPrivate => 3 << 8,
        Op::ToPropertyKey if instr.n() == 1 => 1 << 8 | 0xffff << 48,
        Op::CreateThis => 0xff << 8,
        _ => 0,
    };
    require(instr.0 & !used == 0, || format!("{}: unused bits in {:#018x}", op.name(), instr.0))
}

fn check_closure(module: &Module, creator: &Function, index: u32) -> Check {
    let Some(function) = module.functions.get(index as usize) else {
        return Err(format!("Closure: function {index} of {}", module.functions.len()));
    };
    let loading = |f: &Function| f.flags & flags::INIT != 0;
    require(!loading(function) || loading(creator), || {
        format!("Closure: function {index} runs at load, this one doesn't")
    })?;
    for capture in &function.captures {
        let inside = match *capture {
            Capture::Register(r) => r < creator.registers,
            Capture::Upvalue(u) => usize::from(u) < creator.captures.len(),
        };
        require(inside, || format!("Closure: function {index} captures {capture:?}, which isn't there"))?;
    }
    Ok(())
}

fn check_host_call(module: &Module, function: &Function, number: u16, n: u8) -> Check {
    let Some(host) = HostFn::from_u16(number) else {
        return Err(format!("unknown host function {number}"));
    };
    let path = host.path();
    require(function.flags & flags::INIT == 0, || format!("host call {path} at load"))?;
    let (min, max) = host.arity();
    require((min..=max).contains(&n), || format!("host call {path} with {n} arguments"))?;
    let needed = match host {
        HostFn::Payload => uses::PAYLOAD,
        HostFn::Req => uses::REQUEST,
        HostFn::Db => uses::DATABASE,
        HostFn::Http | HostFn::HttpRequest => uses::HTTP,
        _ if path.starts_with("kv.") => uses::KV,
        _ => 0,
    };
    require(module.uses & needed == needed, || format!("host call {path}, absent from the module's uses"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::{ExceptionHandler, LocalName, Route, SourceFile, TemplatePart, Work};
    use crate::sample;

    /// Applies `change` to a good module; it must be refused, with `what` in the text.
    fn refused(what: &str, change: impl FnOnce(&mut Module)) {
        let mut module = sample::module();
        change(&mut module);
        match verify(module) {
            Ok(_) => panic!("accepted: {what}"),
            Err(e) => assert!(e.to_string().contains(what), "{e} doesn't say {what}"),
        }
    }

    /// Replaces the first instruction of `main`.
    fn first(instr: Instr) -> impl FnOnce(&mut Module) {
        move |m| m.functions[1].code[0] = instr
    }

    #[test]
    fn the_sample_is_accepted() {
        verify(sample::module()).unwrap();
        verify(Module::default()).unwrap();
    }

    #[test]
    fn instructions_with_operands_out_of_range_are_refused() {
        let big = u16::MAX;
        refused("unknown operation 255", first(Instr(255)));
        refused("registers", first(Instr::abc(Op::Move, 0, big, 0, 0)));
        refused("registers", first(Instr::abc(Op::Add, 0, 0, 0, 8)));
        refused("registers", first(Instr::abc(Op::Call, 7, 0, 0, 0)));
        refused("registers", first(Instr::abc(Op::CallSpread, 0, 0, 6, 0)));
        refused("registers", first(Instr::abc(Op::GetMethod, 0, 7, 0, 0)));
        refused("registers", first(Instr::abc(Op::GetIterator, 0, 6, 0, 0)));
        refused("registers", first(Instr::abc(Op::ObjectRest, 2, 0, 0, 7)));
        refused("registers", first(Instr::abc(Op::Concat, 255, 0, 0, 0)));
        refused("constant 99", first(Instr::abx(Op::LoadConst, 0, 99)));
        refused("not a string", first(Instr::abx(Op::ThrowTypeError, 0, 1)));
        refused("unknown global", first(Instr::abx(Op::LoadGlobal, 0, 9999)));
        refused("unknown host", first(Instr::abc(Op::HostCall, 0, 0, 0, 9999)));
        refused("with 1 arguments", first(Instr::abc(Op::HostCall, 1, 0, 0, HostFn::Payload as u16)));
        refused("uses", first(Instr::abc(Op::HostCall, 1, 0, 0, HostFn::KvGet as u16)));
        refused("upvalue", first(Instr::abc(Op::GetUpvalue, 0, 0, 0, 0)));
        refused("site", first(Instr::abc(Op::GetField, 0, 0, 0, 2)));
        refused("module variable", first(Instr::abx(Op::GetModule, 0, 1)));
        refused("run at load", first(Instr::abx(Op::SetModule, 0, 0)));
        refused("run at load", first(Instr::abx(Op::SetHandler, 0, 0)));
        refused("runs at load", first(Instr::abx(Op::Closure, 0, 0)));
        refused("function 99", first(Instr::abx(Op::Closure, 0, 99)));
        refused("registers", first(Instr::abc(Op::ToPropertyKey, 1, 0, 0, big)));
        refused("unused bits", first(Instr::abc(Op::ToPropertyKey, 0, 0, 0, 1)));
        refused("no generator", first(Instr::abc(Op::Yield, 0, 0, 0, 0)));
        refused("no generator", first(Instr::abc(Op::StartGenerator, 0, 0, 0, 0)));
        refused("registers", first(Instr::abc(Op::Yield, 0, 7, 0, 0)));
        refused("registers", first(Instr::abc(Op::GetIteratorObject, 0, 6, 0, 0)));
        refused("unused bits", first(Instr::abc(Op::GetIteratorObject, 2, 0, 0, 0)));
        refused("unused bits", first(Instr::abc(Op::LoadNull, 0, 0, 0, 1)));
        refused("unused bits", first(Instr::abc(Op::Add, 1, 0, 0, 0)));
        refused("host call payload at load", |m| {
            m.functions[0].code[0] = Instr::abc(Op::HostCall, 0, 0, 0, HostFn::Payload as u16);
        });
        refused("captures Register(8)", |m| m.functions[2].captures[0] = Capture::Register(8));
        refused("captures Upvalue(0)", |m| m.functions[2].captures[0] = Capture::Upvalue(0));
    }

    #[test]
    fn control_stays_inside_and_goes_back_only_through_loop() {
        refused("jump by -1", first(Instr::asbx(Op::Jump, 0, -1)));
        refused("jump by 1000", first(Instr::asbx(Op::Jump, 0, 1000)));
        refused("jump by 0", first(Instr::asbx(Op::Loop, 0, 0)));
        refused("jump by -2", first(Instr::asbx(Op::Loop, 0, -2)));
        refused("jump by", first(Instr::asbx(Op::JumpIfTrue, 0, i32::MIN)));
        refused("jump by", first(Instr::asbx(Op::IteratorNext, 0, i32::MAX)));
        refused("falls through", |m| m.functions[1].code.push(Instr::abx(Op::LoadNull, 0, 0)));
        refused("falls through", |m| m.functions[1].code.clear());
        let handler = ExceptionHandler { start: 0, end: 1, target: 1, register: 0 };
        for bad in [
            ExceptionHandler { target: 0, ..handler },
            ExceptionHandler { end: 0, ..handler },
            ExceptionHandler { end: 999, target: 999, ..handler },
            ExceptionHandler { target: 999, ..handler },
            ExceptionHandler { register: 8, ..handler },
        ] {
            refused("exception handler", |m| m.functions[1].handlers[0] = bad);
        }
    }

    #[test]
    fn a_site_has_one_use() {
        // Function 1 reads by its sites 0 and 1, which are the module's.
        refused("different kinds", |m| m.functions[1].code[0] = Instr::abc(Op::SetField, 0, 3, 3, 1));
        refused("different kinds", |m| {
            m.functions[0].site_count = 1;
            m.functions[0].code[0] = Instr::abc(Op::DefField, 0, 1, 1, 0);
        });
    }

    #[test]
    fn tables_that_lie_are_refused() {
        refused("NaN", |m| m.constants[1] = Const::Number(f64::from_bits(0xfff9_0000_0000_0001)));
        refused("twice", |m| m.constants.push(Const::Str("amount".into())));
        refused("digits", |m| m.constants.push(Const::BigInt("-".into())));
        let template = |cooked, raw| Const::Template(Box::new([TemplatePart { cooked, raw }]));
        refused("template", |m| m.constants.push(template(Some(99), 0)));
        refused("template", |m| m.constants.push(template(None, 1)));
        refused("template", |m| m.constants.insert(0, template(None, 1)));
        refused("template", |m| m.constants.push(Const::Template(Box::new([]))));
        // The sample's constant 0 is a string, and it has one variable.
        let namespace = |slot, exports: &[(u32, u32)]| {
            let exports = exports.iter().map(|&(name, slot)| NamespaceExport { name, slot }).collect();
            Const::Namespace { slot, exports }
        };
        refused("module variable", |m| m.constants.push(namespace(99, &[])));
        refused("module variable", |m| m.constants.push(namespace(0, &[(0, 99)])));
        refused("no strings before", |m| m.constants.push(namespace(0, &[(1, 0)])));
        refused("no strings before", |m| m.constants.insert(0, namespace(0, &[(0, 0)])));
        refused("ascend", |m| m.constants.push(namespace(0, &[(0, 0), (0, 0)])));
        refused("a number for a name", |m| {
            let name = u32::try_from(m.constants.len()).unwrap();
            m.constants.extend([Const::Str("12".into()), namespace(0, &[(name, 0)])]);
        });
        refused("surrogate", |m| m.constants.push(Const::Wtf8(Box::from(*b"plain"))));
        refused("surrogate", |m| m.constants.push(Const::Wtf8(Box::from(*b"\xed\xa0\x80\xed\xb0\x80"))));
        refused("site", |m| m.sites[0] = 1);
        refused("module variable", |m| m.slots[0] = 1);
        refused("unknown uses", |m| m.uses |= 1 << 31);
        refused("entry function 9", |m| m.init = Some(FunctionIndex(9)));
        refused("INIT", |m| m.init = Some(FunctionIndex(1)));
        refused("INIT", |m| m.main = Some(FunctionIndex(0)));
        refused("captures", |m| m.main = Some(FunctionIndex(2)));
        refused("unknown flags", |m| m.functions[1].flags = 1 << 15);
        refused("constructor with flags", |m| m.functions[1].flags |= flags::CLASS);
        refused("registers", |m| {
            m.functions[1].flags = flags::NEW_TARGET;
            m.functions[1].registers = 1 + m.functions[1].parameters;
        });
        refused("registers", |m| m.functions[1].registers = 0);
        refused("registers", |m| m.functions[1].parameters = u16::MAX);
        refused("rest", |m| m.functions[1].rest = Some(5));
        refused("registers", |m| {
            m.functions[1].registers = 1 + m.functions[1].parameters;
            m.functions[1].flags |= flags::ARGUMENTS;
        });
        refused("registers", |m| {
            m.functions[1].registers = 2 + m.functions[1].parameters;
            m.functions[1].flags |= flags::ARGUMENTS | flags::GENERATOR;
        });
        refused("length", |m| m.functions[1].length = 3);
        refused("sites end", |m| m.functions[1].site_base = u32::MAX);
        refused("function name", |m| m.functions[1].name = 1);
        refused("out of order", |m| m.functions[1].positions[1].pc = 0);
        refused("not text", |m| m.functions[1].positions[0].end = 1000);
        // The text has a two-byte character at 4.
        refused("not text", |m| m.functions[1].positions[0].end = 5);
        refused("file 7", |m| m.functions[1].positions[0].file = 7);
        refused("local", |m| {
            m.functions[1].locals = vec![LocalName { name: 0, register: 8, start: 0, end: 1 }];
        });
        let position = Position { pc: 0, file: 0, start: 0, end: 0 };
        let route = |action| Route { method: "GET".into(), pattern: "/x".into(), action, position };
        let work = |action| Work { routes: vec![route(action)], ..Work::default() };
        refused("handler 1 of 1", |m| m.works = vec![work(Action::Handler(1))]);
        refused("status 200", |m| m.works = vec![work(Action::Redirect("/".into(), 200))]);
        refused("captures", |m| m.works = vec![work(Action::Function(FunctionIndex(2)))]);
        refused("not text", |m| {
            m.files[0] = SourceFile { path: "a.js".into(), text: "".into() };
        });
    }
}
