//! Generators, and whatever calls an iterator's methods by itself: `yield`, `yield*`, `for await`.
//!
//! `Yield` answers two registers: what was sent, and how. So `return()` is a branch behind it, into the code that a
//! `return` at that place has: finally blocks and iterators on the way out need nothing of their own.
//!
//! ```text
//!   Yield r5:r6, r4
//!   JumpIfFalse r6, go on      0: next
//!   ... return r5 ...          1: return
//!   go on:
//! ```

use forebay_bytecode::module::function_flags;
use forebay_bytecode::{Instr, Op};
use oxc_ast::ast::{Expression, YieldExpression};
use oxc_span::{GetSpan, Span};

use super::{Lower, Want};
use crate::emit::{Exit, Patch, Reg};

/// What `Yield` answers in its second register.
const NEXT: i32 = 0;
const RETURN: i32 = 1;
const THROW: i32 = 2;

impl<'a> Lower<'_, 'a> {
    /// Whether the function under construction is a generator.
    pub(super) fn is_generator(&mut self) -> bool {
        self.f().flags & function_flags::GENERATOR != 0
    }

    pub(super) fn is_async_generator(&mut self) -> bool {
        const BOTH: u16 = function_flags::GENERATOR | function_flags::ASYNC;
        self.f().flags & BOTH == BOTH
    }

    /// The last step of `return`.
    pub(super) fn emit_return(&mut self, value: Reg, is_literal: bool, span: Span) {
        if self.is_generator() && !self.is_async_generator() {
            let result = self.f().take();
            self.f().ab(Op::EndGenerator, result, value, span);
            self.f().a(Op::Return, result, span);
            self.f().next = result;
        } else {
            let literal = u8::from(is_literal && !self.is_generator());
            self.f().emit(Instr::abc(Op::Return, literal, value, 0, 0), span);
        }
    }

    pub(super) fn yield_expression(&mut self, y: &'a YieldExpression<'a>, want: Want) -> Reg {
        if !self.f().started {
            self.error("FB0101", y.span, "`yield` stands in a generator's body", None);
            return self.target(want);
        }
        let mark = self.f().next;
        let register = match &y.argument {
            Some(argument) if y.delegate => self.delegate(argument, y.span),
            argument => self.yield_one(argument.as_ref(), y.span),
        };
        // It stands at the top, or above what has been taken for it.
        self.f().next = mark;
        match want {
            Want::Any => {
                let to = self.f().take();
                self.f().move_to(to, register, y.span);
                to
            }
            Want::Free(to) | Want::Variable(to) => {
                self.f().move_to(to, register, y.span);
                to
            }
        }
    }

    fn yield_one(&mut self, argument: Option<&'a Expression<'a>>, span: Span) -> Reg {
        let sent = self.f().take();
        let how = self.f().take();
        let value = match argument {
            Some(argument) => self.expression(argument, Want::Any),
            None => self.simple(Op::LoadUndefined, Want::Any, span),
        };
        let is_async = self.is_async_generator();
        if is_async {
            let waited = self.f().take();
            self.f().ab(Op::Await, waited, value, span);
            self.f().ab(Op::Yield, sent, waited, span);
        } else {
            self.f().ab(Op::Yield, sent, value, span);
        }
        self.f().next = how + 1;
        let go_on = self.f().jump(Op::JumpIfFalse, how, span);
        if is_async {
            self.f().ab(Op::Await, sent, sent, span);
        }
        self.exit(Exit::Return, sent, span);
        self.f().patch(go_on);
        sent
    }

    /// `yield*` (ECMA-262 15.5.5): passes what it gets on to the inner iterator, and its results to the caller.
    fn delegate(&mut self, argument: &'a Expression<'a>, span: Span) -> Reg {
        let is_async = self.is_async_generator();
        let f = self.f();
        let iterator = f.take();
        let next = f.take();
        let result = f.take();
        let sent = f.take();
        let how = f.take();
        let scratch = f.take();
        self.expression(argument, Want::Free(result));
        let f = self.f();
        f.emit(Instr::abc(Op::GetIteratorObject, u8::from(is_async), iterator, result, 0), argument.span());
        f.a(Op::LoadUndefined, sent, span);
        f.emit(Instr::asbx(Op::LoadInt, how, NEXT), span);
        let again = f.pc();

        let other = self.unless(how, NEXT, scratch, span);
        let callee = self.method_call(next, iterator, sent, span);
        self.f().emit(Instr::abc(Op::Call, 1, result, callee, 0), span);
        let answered = vec![self.f().jump(Op::Jump, 0, span)];
        self.f().patch(other);

        let other = self.unless(how, RETURN, scratch, span);
        let callee = self.get_method(iterator, "return", span);
        let has = self.f().jump(Op::JumpIfNotNullish, callee, span);
        if is_async {
            self.f().ab(Op::Await, sent, sent, span);
        }
        self.exit(Exit::Return, sent, span);
        self.f().patch(has);
        self.call_with(callee, sent, result, is_async, span);
        let done = self.field(result, "done", scratch, span);
        let pass = self.f().jump(Op::JumpIfFalse, done, span);
        let value = self.field(result, "value", scratch, span);
        self.exit(Exit::Return, value, span);
        self.f().patch(other);

        let callee = self.get_method(iterator, "throw", span);
        let has = self.f().jump(Op::JumpIfNotNullish, callee, span);
        if is_async {
            self.close_async(iterator, true, span);
        } else {
            self.f().a(Op::IteratorClose, iterator, span);
        }
        let message = self.pool.string("The iterator does not provide a 'throw' method");
        self.f().abx(Op::ThrowTypeError, 0, message, span);
        self.f().patch(has);
        self.f().ab(Op::Move, callee + 2, sent, span);
        self.f().emit(Instr::abc(Op::Call, 1, result, callee, 0), span);

        answered.into_iter().for_each(|jump| self.f().patch(jump));
        if is_async {
            self.f().ab(Op::Await, result, result, span);
        }
        self.f().a(Op::IteratorResult, result, span);
        let done = self.field(result, "done", scratch, span);
        let end = self.f().jump(Op::JumpIfTrue, done, span);
        self.f().patch(pass);
        if is_async {
            let value = self.field(result, "value", scratch, span);
            self.f().emit(Instr::abc(Op::Yield, 1, sent, value, 0), span);
            self.unwrap_return(sent, how, scratch, span);
        } else {
            self.f().emit(Instr::abc(Op::Yield, 1, sent, result, 0), span);
        }
        self.f().loop_to(again, span);
        self.f().patch(end);
        let value = self.field(result, "value", result, span);
        self.f().next = scratch + 1;
        value
    }

    /// What `return` was given is waited for; if that fails, it is a throw (AsyncGeneratorYield, step 12).
    fn unwrap_return(&mut self, sent: Reg, how: Reg, scratch: Reg, span: Span) {
        let other = self.unless(how, RETURN, scratch, span);
        let start = self.f().pc();
        self.f().ab(Op::Await, sent, sent, span);
        let end = self.f().pc();
        let go_on = self.f().jump(Op::Jump, 0, span);
        let target = self.f().pc();
        self.f().cover(start, end, &[], target, sent);
        self.f().emit(Instr::asbx(Op::LoadInt, how, THROW), span);
        self.f().patch(go_on);
        self.f().patch(other);
    }

    /// Callee, this and one argument above what is taken; they are free again at once.
    fn method_call(&mut self, method: Reg, this: Reg, argument: Reg, span: Span) -> Reg {
        let f = self.f();
        let callee = f.take();
        f.take();
        f.take();
        f.ab(Op::Move, callee, method, span);
        f.ab(Op::Move, callee + 1, this, span);
        f.ab(Op::Move, callee + 2, argument, span);
        f.next = callee;
        callee
    }

    /// A method and `this` for a call with one argument; they are free again at once.
    fn get_method(&mut self, object: Reg, name: &str, span: Span) -> Reg {
        let name = self.pool.string(name);
        let f = self.f();
        let site = f.site(name);
        let callee = f.take();
        f.take();
        f.take();
        f.abc(Op::GetMethod, callee, object, site, span);
        f.next = callee;
        callee
    }

    /// Calls with one argument what [`Self::get_method`] has found; the answer is an object.
    fn call_with(&mut self, callee: Reg, argument: Reg, result: Reg, waits: bool, span: Span) {
        let f = self.f();
        f.ab(Op::Move, callee + 2, argument, span);
        f.emit(Instr::abc(Op::Call, 1, result, callee, 0), span);
        if waits {
            f.ab(Op::Await, result, result, span);
        }
        f.a(Op::IteratorResult, result, span);
    }

    fn field(&mut self, object: Reg, name: &str, to: Reg, span: Span) -> Reg {
        let name = self.pool.string(name);
        let site = self.f().site(name);
        self.f().abc(Op::GetField, to, object, site, span);
        to
    }

    /// The next value of an async iterator in `iterator + 2`; jumps where there is none.
    pub(super) fn next_async(&mut self, iterator: Reg, span: Span) -> Patch {
        let result = iterator + 2;
        let f = self.f();
        let callee = f.take();
        f.take();
        f.ab(Op::Move, callee, iterator + 1, span);
        f.ab(Op::Move, callee + 1, iterator, span);
        f.emit(Instr::abc(Op::Call, 0, result, callee, 0), span);
        f.ab(Op::Await, result, result, span);
        f.a(Op::IteratorResult, result, span);
        let done = self.field(result, "done", callee, span);
        self.f().next = callee;
        let end = self.f().jump(Op::JumpIfTrue, done, span);
        self.field(result, "value", result, span);
        end
    }

    /// Calls an async iterator's `return`, if there is one, and waits for it. `checked`: its answer is an object.
    pub(super) fn close_async(&mut self, iterator: Reg, checked: bool, span: Span) {
        let callee = self.get_method(iterator, "return", span);
        let none = self.f().jump(Op::JumpIfNullish, callee, span);
        let f = self.f();
        f.emit(Instr::abc(Op::Call, 0, callee, callee, 0), span);
        f.ab(Op::Await, callee, callee, span);
        if checked {
            f.a(Op::IteratorResult, callee, span);
        }
        f.patch(none);
    }

    /// Where an exception from `start .. end` goes: as [`Lower::close_on_throw`].
    pub(super) fn close_async_on_throw(
        &mut self,
        iterator: Reg,
        start: u32,
        end: u32,
        gaps: &[(u32, u32)],
        span: Span,
    ) {
        let f = self.f();
        let mark = f.next;
        let exception = f.take();
        let ignored = f.take();
        let target = f.pc();
        f.cover(start, end, gaps, target, exception);
        self.close_async(iterator, false, span);
        let f = self.f();
        let behind = f.pc();
        f.cover(target, behind, &[], behind, ignored);
        f.a(Op::Throw, exception, span);
        f.next = mark;
    }
}
