//! Superinstructions: runs of canonical instructions that an engine's loop does in one step. An engine
//! fuses its own copy of verified code when it loads a module; fused code is never written and never verified.
//!
//! ```text
//!   canonical                       fused in place
//!   0004  LoadInt      r4, 1000     0004  IntLtJump    r4, 1000     <- the number of the operation changes,
//!   0005  Lt           r4, r3, r4   0005  LtJump       r4, r3, r4      nothing else
//!   0006  JumpIfFalse  r4, L21      0006  JumpIfFalse  r4, L21
//! ```
//!
//! Every word keeps its place and its operands, so pcs are canonical everywhere: in frames, snapshots, handler
//! ranges and stack traces, and a jump into a run's middle works. A fused operation does all that its parts
//! do, temporaries included; if an operand isn't what it hopes for, it does its first part only.
//! docs/formats/bytecode.md lists them with what each gained.

use crate::opcode::{FUSED, Instr, Op};

/// Fuses what can be fused in the code of one function.
pub fn fuse(code: &mut [Instr]) {
    // Forwards, so that the words that a run is recognised by are still canonical.
    for pc in 0..code.len() {
        let fits = |(fused, parts): &&(Op, &[Op])| {
            let run = code.get(pc..pc + parts.len());
            run.is_some_and(|run| {
                let same = run.iter().zip(*parts).all(|(word, part)| word.op() == Some(*part));
                same && operands_fit(*fused, run)
            })
        };
        if let Some((fused, _)) = FUSED.iter().find(fits) {
            code[pc] = Instr(code[pc].0 & !0xff | u64::from(*fused as u8));
        }
    }
}

/// Whether the parts of a run work on each other's results in the way that the fused operation assumes.
fn operands_fit(fused: Op, run: &[Instr]) -> bool {
    let (first, second) = (run[0], run[1]);
    // The second takes the constant of the first as its right operand.
    let right = second.c() == first.a() && second.b() != first.a();
    match fused {
        Op::IntLtJump
        | Op::IntLeJump
        | Op::IntGtJump
        | Op::IntGeJump
        | Op::IntEqJump
        | Op::IntNeJump
        | Op::UndefinedJump
        | Op::DefinedJump => right && run[2].a() == second.a(),
        Op::IntAdd | Op::IntSub | Op::IntMul | Op::IntRem | Op::IntAnd => right,
        Op::LtJump | Op::LeJump | Op::GtJump | Op::GeJump | Op::EqJump | Op::NeJump => {
            second.a() == first.a()
        }
        Op::PostInc => second.b() == first.a(),
        Op::ConstMethod => second.a() == first.a() + 2 && run[2].b() == first.a() && run[2].n() == 1,
        Op::FieldReturn | Op::AddReturn => second.a() == first.a() && second.n() == 0,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fused(mut code: Vec<Instr>) -> Vec<&'static str> {
        let before = code.clone();
        fuse(&mut code);
        for (now, was) in code.iter().zip(&before) {
            assert_eq!(now.0 >> 8, was.0 >> 8, "operands stay");
        }
        let op = |i: &Instr| {
            let fused = FUSED.iter().find(|(op, _)| *op as u8 == i.op_byte());
            fused.map_or_else(|| i.op().map_or("?", Op::name), |(op, _)| op.name())
        };
        code.iter().map(op).collect()
    }

    #[test]
    fn a_loop_head_is_one_step_and_its_middle_stays_a_target() {
        let code = vec![
            Instr::asbx(Op::LoadInt, 4, 1000),
            Instr::abc(Op::Lt, 0, 4, 3, 4),
            Instr::asbx(Op::JumpIfFalse, 4, 2),
            Instr::abc(Op::Inc, 0, 3, 3, 0),
            Instr::asbx(Op::Loop, 0, -5),
        ];
        assert_eq!(fused(code), ["IntLtJump", "LtJump", "JumpIfFalse", "IncLoop", "Loop"]);
    }

    #[test]
    fn operands_that_do_not_meet_stay_apart() {
        let code = vec![
            Instr::asbx(Op::LoadInt, 4, 1000),
            Instr::abc(Op::Lt, 0, 5, 4, 3),
            Instr::asbx(Op::JumpIfFalse, 6, 1),
            Instr::asbx(Op::LoadInt, 4, 1),
            Instr::abc(Op::Add, 0, 4, 4, 4),
        ];
        assert_eq!(fused(code), ["LoadInt", "Lt", "JumpIfFalse", "LoadInt", "Add"]);
    }
}
