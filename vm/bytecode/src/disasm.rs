//! Modules as text: for `forebay disasm`, tests of front ends, and whoever looks
//! for a bug at night.
//!
//! ```text
//! function 1 <anonymous>  parameters 2  registers 8  script
//!   0000  HostCall            r3, [], payload               ; shop.js:1:9
//! L1:
//!   0001  JumpIfFalse         r3, L4
//!   0002  GetField            r4, r3, .amount               ; site 1   shop.js:2:8
//!   handler 0000..0003 -> L7, r4
//! ```
//!
//! Any module can be printed, one that [`crate::verify()`] refuses too: what is out of
//! range is printed as `?`.

use crate::builtin::{Global, HostFn};
use crate::module::{Action, Capture, Const, Function, FunctionIndex, Module, Position, function_flags};
use crate::opcode::{Field, Instr, Op, Operand};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Characters of a string constant that are shown; the rest is `...`.
const TEXT_MAX: usize = 60;

/// The whole module.
#[must_use]
pub fn disassemble(module: &Module) -> String {
    let mut out = String::new();
    let lines = LineTable::new(module);
    for file in &module.files {
        line(&mut out, format_args!("file {}  {} bytes", file.path, file.text.len()));
    }
    for (slot, name) in module.slots.iter().enumerate() {
        line(&mut out, format_args!("variable {slot} {}", string(module, *name)));
    }
    if let Some(init) = module.init {
        line(&mut out, format_args!("init function {}", init.0));
    }
    if let Some(main) = module.main {
        line(&mut out, format_args!("main function {}", main.0));
    }
    for work in &module.works {
        line(
            &mut out,
            format_args!("work {:?}  version {}", work.name, work.version.as_deref().unwrap_or("-")),
        );
        if let Some(durable) = &work.durable {
            line(&mut out, format_args!("  durable  id {}", durable.id.as_deref().unwrap_or("-")));
        }
        for route in &work.routes {
            let action = match &route.action {
                Action::Function(f) => format!("function {}", f.0),
                Action::Handler(slot) => format!("handler {slot}"),
                Action::File(path) => format!("file {path:?}"),
                Action::Assets(path) => format!("assets {path:?}"),
                Action::Redirect(to, status) => format!("redirect {status} {to:?}"),
            };
            line(&mut out, format_args!("  {} {} -> {action}", route.method, route.pattern));
        }
    }
    for (index, function) in (0u32..).zip(&module.functions) {
        write_function(&mut out, module, &lines, FunctionIndex(index), function);
    }
    out
}

/// The whole module as an engine runs it: superinstructions stand in the first word of what they do.
#[must_use]
pub fn disassemble_fused(module: &Module) -> String {
    let mut module = module.clone();
    module.functions.iter_mut().for_each(|function| crate::fuse(&mut function.code));
    disassemble(&module)
}

/// One function; empty if the module doesn't have it.
#[must_use]
pub fn disassemble_function(module: &Module, index: FunctionIndex) -> String {
    let mut out = String::new();
    if let Some(function) = module.functions.get(index.0 as usize) {
        write_function(&mut out, module, &LineTable::new(module), index, function);
    }
    out
}

/// One instruction without its label and position: `GetField  r4, r1, .amount`. For
/// traces; jump targets are pcs as in labels.
#[must_use]
pub fn instruction(module: &Module, function: &Function, pc: u32, instr: Instr) -> String {
    let Some(op) = instr.op().or_else(|| Op::fused_from_u8(instr.op_byte())) else {
        return format!("? {:#018x}", instr.0);
    };
    let operands: Vec<String> = op
        .operands()
        .iter()
        .map(|(field, operand)| write_operand(module, function, pc, instr, *field, *operand))
        .collect();
    let mut text = format!("{:<18}  {}", op.name(), operands.join(", "));
    if op == Op::Return && instr.n() != 0 {
        text.push_str(", literal");
    }
    if op == Op::ToPropertyKey && instr.n() != 0 {
        let _ = write!(text, ", of r{}", instr.c());
    }
    let notes: &[&str] = match op {
        Op::DefElem | Op::DefGetter | Op::DefSetter => &["", "hidden"],
        Op::CheckReturn => &["", "derived"],
        Op::DefClass => &["", "extends"],
        Op::NameFunction => &["", "get", "set"],
        Op::DefPrivate => &["", "method", "get", "set"],
        Op::Yield => &["", "delegate"],
        Op::GetIteratorObject => &["", "async"],
        Op::In => &["", "for-in"],
        _ => &[],
    };
    if let Some(note) = notes.get(usize::from(instr.n())).filter(|note| !note.is_empty()) {
        let _ = write!(text, ", {note}");
    }
    text.truncate(text.trim_end().len());
    text
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String can't fail.
    let _ = out.write_fmt(text);
    out.push('\n');
}

fn write_function(
    out: &mut String,
    module: &Module,
    lines: &LineTable,
    index: FunctionIndex,
    function: &Function,
) {
    let mut header = format!("\nfunction {} {}", index.0, function_name(module, function));
    let _ = write!(header, "  parameters {}", function.parameters);
    if let Some(rest) = function.rest {
        let _ = write!(header, "  rest r{rest}");
    }
    let _ = write!(header, "  registers {}", function.registers);
    for (flag, name) in [
        (function_flags::ASYNC, "async"),
        (function_flags::ARROW, "arrow"),
        (function_flags::INIT, "init"),
        (function_flags::METHOD, "method"),
        (function_flags::SCRIPT, "script"),
        (function_flags::ARGUMENTS, "arguments"),
        (function_flags::CLASS, "class"),
        (function_flags::NEW_TARGET, "new.target"),
        (function_flags::GENERATOR, "generator"),
    ] {
        if function.flags & flag != 0 {
            let _ = write!(header, "  {name}");
        }
    }
    line(out, format_args!("{header}"));
    if !function.captures.is_empty() {
        let captures: Vec<String> = function
            .captures
            .iter()
            .map(|capture| match capture {
                Capture::Register(r) => format!("r{r}"),
                Capture::Upvalue(u) => format!("up{u}"),
            })
            .collect();
        line(out, format_args!("  captures {}", captures.join(", ")));
    }

    let targets = jump_targets(function);
    let mut positions = function.positions.iter().peekable();
    for (pc, instr) in (0u32..).zip(&function.code) {
        if targets.contains(&i64::from(pc)) {
            line(out, format_args!("L{pc}:"));
        }
        let mut notes = Vec::new();
        for (field, operand) in instr.op().map_or(&[][..], Op::operands) {
            if *operand == Operand::Site {
                notes.push(format!("site {}", field_of(*instr, *field)));
            }
        }
        while let Some(position) = positions.next_if(|p| p.pc <= pc) {
            if position.pc == pc {
                notes.push(lines.at(module, position));
            }
        }
        let text = instruction(module, function, pc, *instr);
        if notes.is_empty() {
            line(out, format_args!("  {pc:04}  {text}"));
        } else {
            line(out, format_args!("  {pc:04}  {text:<48}  ; {}", notes.join("   ")));
        }
    }
    for handler in &function.handlers {
        let (start, end) = (handler.start, handler.end);
        line(
            out,
            format_args!("  handler {start:04}..{end:04} -> L{}, r{}", handler.target, handler.register),
        );
    }
    for local in &function.locals {
        let (start, end, name) = (local.start, local.end, string(module, local.name));
        line(out, format_args!("  local {name} r{} {start:04}..{end:04}", local.register));
    }
}

fn function_name(module: &Module, function: &Function) -> String {
    match module.constants.get(function.name as usize) {
        Some(Const::Str(name)) if name.is_empty() => "<anonymous>".to_owned(),
        Some(Const::Str(name)) => name.to_string(),
        _ => "?".to_owned(),
    }
}

fn target(pc: u32, instr: Instr) -> i64 {
    i64::from(pc) + 1 + i64::from(instr.sbx())
}

fn jump_targets(function: &Function) -> BTreeSet<i64> {
    let mut targets: BTreeSet<i64> = function.handlers.iter().map(|h| i64::from(h.target)).collect();
    for (pc, instr) in (0u32..).zip(&function.code) {
        let operands = instr.op().map_or(&[][..], Op::operands);
        if operands.iter().any(|(_, o)| matches!(o, Operand::Jump | Operand::JumpBack)) {
            targets.insert(target(pc, *instr));
        }
    }
    targets
}

fn field_of(instr: Instr, field: Field) -> u32 {
    match field {
        Field::A => instr.a().into(),
        Field::B => instr.b().into(),
        Field::C => instr.c().into(),
        Field::Bx => instr.bx(),
    }
}

fn write_operand(
    module: &Module,
    function: &Function,
    pc: u32,
    instr: Instr,
    field: Field,
    operand: Operand,
) -> String {
    let x = field_of(instr, field);
    let n = u32::from(instr.n());
    match operand {
        Operand::Dst | Operand::Src => format!("r{x}"),
        Operand::Iter => format!("iter r{x}..r{}", x + 2),
        Operand::DstPair | Operand::SuperPair => format!("r{x}:r{}", x + 1),
        Operand::CallBase => format!("r{x}{}", range(x + 2, n, '(', ')')),
        Operand::SpreadBase => format!("r{x}(...r{})", x + 2),
        Operand::Range => range(x, n, '[', ']'),
        Operand::Const => constant(module, x),
        Operand::Name => string(module, x),
        Operand::Function => match module.functions.get(x as usize) {
            Some(function) => format!("function {x} {}", function_name(module, function)),
            None => format!("function {x}?"),
        },
        Operand::ModuleSlot => match module.slots.get(x as usize) {
            Some(name) => format!("variable {x} {}", string(module, *name)),
            None => format!("variable {x}?"),
        },
        Operand::HandlerSlot => format!("handler {x}"),
        Operand::Global => Global::from_u32(x).map_or(format!("global {x}?"), |g| g.name().to_owned()),
        Operand::HostFn => {
            let host = u16::try_from(x).ok().and_then(HostFn::from_u16);
            host.map_or(format!("host {x}?"), |h| h.path().to_owned())
        }
        Operand::Upvalue => format!("up{x}"),
        Operand::Site => {
            let index = function.site_base as usize + x as usize;
            match module.sites.get(index).and_then(|key| module.constants.get(*key as usize)) {
                Some(Const::Str(key)) => format!(".{}", shortened(key)),
                _ => ".?".to_owned(),
            }
        }
        Operand::Jump | Operand::JumpBack => format!("L{}", target(pc, instr)),
        Operand::Int => instr.sbx().to_string(),
        Operand::Hint => x.to_string(),
    }
}

/// `[]`, `[r4]`, `[r4..r6]`: both ends are in it.
fn range(first: u32, n: u32, open: char, close: char) -> String {
    match n {
        0 => format!("{open}{close}"),
        1 => format!("{open}r{first}{close}"),
        _ => format!("{open}r{first}..r{}{close}", first + n - 1),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        None => text.escape_debug().to_string(),
        Some((end, _)) => format!("{}...", text[..end].escape_debug()),
    }
}

fn string(module: &Module, index: u32) -> String {
    match module.constants.get(index as usize) {
        Some(Const::Str(text)) => format!("\"{}\"", shortened(text)),
        _ => format!("constant {index}?"),
    }
}

fn constant(module: &Module, index: u32) -> String {
    match module.constants.get(index as usize) {
        None => format!("constant {index}?"),
        Some(Const::Number(number)) => number.to_string(),
        Some(Const::Str(_)) => string(module, index),
        Some(Const::BigInt(digits)) => format!("{}n", shortened(digits)),
        Some(Const::Wtf8(text)) => format!("\"{}\"", shortened(&String::from_utf8_lossy(text))),
        Some(Const::Private(text)) => format!("private {}", shortened(text)),
        Some(Const::Namespace { exports, .. }) => {
            let names: Vec<String> = exports.iter().map(|export| string(module, export.name)).collect();
            format!("namespace {}", names.join(", "))
        }
        Some(Const::Data(data)) => format!("data of {} bytes", data.len()),
        Some(Const::Template(parts)) => {
            let parts: Vec<String> = parts.iter().map(|part| string(module, part.raw)).collect();
            format!("template {}", parts.join(", "))
        }
    }
}

/// Offsets at which the lines of each file start.
struct LineTable(Vec<Vec<usize>>);

impl LineTable {
    fn new(module: &Module) -> Self {
        let starts = |text: &str| {
            let ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(ends).collect()
        };
        Self(module.files.iter().map(|file| starts(&file.text)).collect())
    }

    /// `path:line:column`, both from 1, columns in characters.
    fn at(&self, module: &Module, position: &Position) -> String {
        let file = usize::from(position.file);
        let (Some(source), Some(starts)) = (module.files.get(file), self.0.get(file)) else {
            return "?".to_owned();
        };
        let offset = position.start as usize;
        let line = starts.partition_point(|start| *start <= offset);
        let before = source.text.get(starts[line.max(1) - 1]..offset);
        before.map_or("?".to_owned(), |t| format!("{}:{line}:{}", source.path, t.chars().count() + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_sample_reads_well() {
        let expect = r#"file shop.js  38 bytes
variable 0 "amount"
init function 0
main function 1
work "Shop"  version 1.5.0
  GET /users/{id} -> handler 0

function 0 <anonymous>  parameters 0  registers 2  init
  0000  LoadConst           r1, 1.5
  0001  SetModule           r1, variable 0 "amount"
  0002  SetHandler          r1, handler 0
  0003  Return              r1

function 1 <anonymous>  parameters 2  registers 8  script
  0000  HostCall            r3, [], payload               ; shop.js:1:9
L1:
  0001  JumpIfFalse         r3, L4
  0002  GetField            r4, r3, .amount               ; site 1   shop.js:2:8
  0003  Loop                L1
L4:
  0004  Closure             r5, function 2 map
  0005  GetMethod           r4:r5, r5, .map               ; site 0
  0006  Call                r4, r4(r6..r7)
L7:
  0007  Return              r4, literal
  handler 0000..0003 -> L7, r4
  local "amount" r3 0001..0008

function 2 map  parameters 0  registers 1  arrow
  captures r3
  0000  GetUpvalue          r0, up0
  0001  Return              r0
"#;
        let found = disassemble(&sample::module());
        assert_eq!(found, expect, "\n{found}");
    }
}
