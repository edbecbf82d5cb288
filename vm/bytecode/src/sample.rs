//! Modules for this crate's tests: a small good one, and random ones.

use crate::builtin::HostFn;
use crate::module::{
    Action, Capture, Const, Durable, ExceptionHandler, Function, FunctionIndex, LocalName, Module,
    NamespaceExport, Position, Retry, Route, SourceFile, TemplatePart, Work, WorkLimits, function_flags,
    uses,
};
use crate::opcode::{Instr, Op};
use forebay_base::rng::Rng;

/// Function 0 is `init`, 1 is `main`, 2 a closure of `main`.
pub(crate) fn module() -> Module {
    let text = "let é = payload();\nreturn é.amount;\n";
    let position = |pc, start, end| Position { pc, file: 0, start, end };
    let main = Function {
        name: 3,
        flags: function_flags::SCRIPT,
        length: 1,
        parameters: 2,
        registers: 8,
        site_base: 0,
        site_count: 2,
        code: vec![
            Instr::abc(Op::HostCall, 0, 3, 4, HostFn::Payload as u16),
            Instr::asbx(Op::JumpIfFalse, 3, 2),
            Instr::abc(Op::GetField, 0, 4, 3, 1),
            Instr::asbx(Op::Loop, 0, -3),
            Instr::abx(Op::Closure, 5, 2),
            Instr::abc(Op::GetMethod, 0, 4, 5, 0),
            Instr::abc(Op::Call, 2, 4, 4, 0),
            Instr::abc(Op::Return, 1, 4, 0, 0),
        ],
        handlers: vec![ExceptionHandler { start: 0, end: 3, target: 7, register: 4 }],
        positions: vec![position(0, 9, 18), position(2, 27, 36)],
        locals: vec![LocalName { name: 0, register: 3, start: 1, end: 8 }],
        ..Function::default()
    };
    let init = Function {
        name: 3,
        flags: function_flags::INIT,
        registers: 2,
        code: vec![
            Instr::abx(Op::LoadConst, 1, 1),
            Instr::abx(Op::SetModule, 1, 0),
            Instr::abx(Op::SetHandler, 1, 0),
            Instr::abc(Op::Return, 0, 1, 0, 0),
        ],
        ..Function::default()
    };
    let closure = Function {
        name: 2,
        flags: function_flags::ARROW,
        registers: 1,
        captures: vec![Capture::Register(3)],
        code: vec![Instr::abc(Op::GetUpvalue, 0, 0, 0, 0), Instr::abc(Op::Return, 0, 0, 0, 0)],
        ..Function::default()
    };
    Module {
        files: vec![SourceFile { path: "shop.js".into(), text: text.into() }],
        constants: vec![
            Const::Str("amount".into()),
            Const::Number(1.5),
            Const::Str("map".into()),
            Const::Str("".into()),
            Const::BigInt("-12345678901234567890".into()),
            Const::Data(Box::from(*b"\x01\x02")),
        ],
        sites: vec![2, 0],
        slots: vec![0],
        handler_slots: 1,
        functions: vec![init, main, closure],
        init: Some(FunctionIndex(0)),
        works: vec![Work {
            name: "Shop".into(),
            version: Some("1.5.0".into()),
            routes: vec![Route {
                method: "GET".into(),
                pattern: "/users/{id}".into(),
                action: Action::Handler(0),
                position: position(0, 0, 3),
            }],
            limits: WorkLimits { fuel: Some(7), memory: Some(u64::MAX), ..WorkLimits::default() },
            static_seconds: Some(86_400),
            durable: None,
        }],
        main: Some(FunctionIndex(1)),
        uses: uses::PAYLOAD,
    }
}

/// Any module, good or not: every field of every type takes odd values.
#[expect(clippy::cast_possible_truncation, reason = "random bits, cut to the width of their field")]
pub(crate) fn random(rng: &mut Rng) -> Module {
    fn many<T>(rng: &mut Rng, max: u64, mut one: impl FnMut(&mut Rng) -> T) -> Vec<T> {
        (0..rng.below(max)).map(|_| one(rng)).collect()
    }
    fn text(rng: &mut Rng) -> Box<str> {
        const PARTS: [&str; 6] = ["a", "é", "\u{10ffff}", "\0", "name", "/"];
        many(rng, 6, |r| PARTS[r.below(6) as usize]).concat().into()
    }
    fn option<T>(rng: &mut Rng, one: impl FnOnce(&mut Rng) -> T) -> Option<T> {
        if rng.one_in(2) { Some(one(rng)) } else { None }
    }
    /// Small, on an edge, or anything.
    fn word(rng: &mut Rng) -> u64 {
        match rng.below(4) {
            0 => rng.below(4),
            1 => u64::MAX,
            2 => 1 << rng.below(64),
            _ => rng.next_u64(),
        }
    }
    fn position(r: &mut Rng) -> Position {
        Position { pc: word(r) as u32, file: word(r) as u16, start: word(r) as u32, end: word(r) as u32 }
    }
    let function = |r: &mut Rng| Function {
        name: word(r) as u32,
        flags: word(r) as u16,
        length: word(r) as u16,
        parameters: word(r) as u16,
        rest: option(r, |r| word(r) as u16),
        registers: word(r) as u16,
        captures: many(r, 4, |r| {
            let index = word(r) as u16;
            if r.one_in(2) { Capture::Register(index) } else { Capture::Upvalue(index) }
        }),
        site_base: word(r) as u32,
        site_count: word(r) as u32,
        code: many(r, 30, |r| Instr(word(r))),
        handlers: many(r, 3, |r| ExceptionHandler {
            start: word(r) as u32,
            end: word(r) as u32,
            target: word(r) as u32,
            register: word(r) as u16,
        }),
        positions: many(r, 4, position),
        locals: many(r, 4, |r| LocalName {
            name: word(r) as u32,
            register: word(r) as u16,
            start: word(r) as u32,
            end: word(r) as u32,
        }),
    };
    let work = |r: &mut Rng| Work {
        name: text(r),
        version: option(r, text),
        routes: many(r, 4, |r| Route {
            method: text(r),
            pattern: text(r),
            action: match r.below(5) {
                0 => Action::Function(FunctionIndex(word(r) as u32)),
                1 => Action::Handler(word(r) as u32),
                2 => Action::File(text(r)),
                3 => Action::Assets(text(r)),
                _ => Action::Redirect(text(r), word(r) as u16),
            },
            position: position(r),
        }),
        limits: WorkLimits {
            fuel: option(r, word),
            wall_ms: option(r, word),
            memory: option(r, word),
            stack_depth: option(r, word),
            fibers: option(r, word),
            effects: option(r, word),
        },
        durable: option(r, |r| Durable {
            id: option(r, text),
            retry: option(r, |r| Retry { times: word(r) as u32, wait_ms: word(r) }),
        }),
        static_seconds: option(r, word),
    };
    Module {
        files: many(rng, 3, |r| SourceFile { path: text(r), text: text(r) }),
        constants: many(rng, 10, |r| match r.below(8) {
            // A NaN would not be equal to itself.
            0 => Const::Number(Some(f64::from_bits(word(r))).filter(|n| !n.is_nan()).unwrap_or(0.0)),
            1 => Const::Str(text(r)),
            2 => Const::BigInt(text(r)),
            3 => Const::Wtf8(text(r).as_bytes().into()),
            4 => Const::Private(text(r)),
            5 => Const::Data(text(r).as_bytes().into()),
            6 => Const::Namespace {
                slot: word(r) as u32,
                exports: many(r, 3, |r| NamespaceExport { name: word(r) as u32, slot: word(r) as u32 })
                    .into(),
            },
            _ => Const::Template(
                many(r, 3, |r| TemplatePart { cooked: option(r, |r| word(r) as u32), raw: word(r) as u32 })
                    .into(),
            ),
        }),
        sites: many(rng, 10, |r| word(r) as u32),
        slots: many(rng, 10, |r| word(r) as u32),
        handler_slots: word(rng) as u32,
        functions: many(rng, 5, function),
        init: option(rng, |r| FunctionIndex(word(r) as u32)),
        works: many(rng, 3, work),
        main: option(rng, |r| FunctionIndex(word(r) as u32)),
        uses: word(rng) as u32,
    }
}
