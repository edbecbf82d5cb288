//! What functions get beside their parameters: `this` where it may not be there yet, `new.target`, `super`.
//!
//! An arrow takes them from the function around it, the *environment*. Home objects, the `this` that arrows of a
//! derived constructor share, private names and the like are hidden variables: a number names them, the
//! function that makes them has them in a register, closures capture them.

use forebay_bytecode::Op;
use forebay_bytecode::module::function_flags;
use oxc_ast::ast::{CallExpression, Expression};
use oxc_span::{GetSpan, Span};

use super::assign::Place;
use super::function::strip;
use super::{Lower, Want};
use crate::emit::{Constructor, Reg, UpKey};

impl<'a> Lower<'_, 'a> {
    // Hidden variables.

    pub(super) fn new_hidden(&mut self) -> u32 {
        self.hidden_next += 1;
        self.hidden_next
    }

    /// Makes a register of the current function a hidden variable.
    pub(super) fn hide(&mut self, register: Reg) -> u32 {
        let number = self.new_hidden();
        self.f().hidden.insert(number, register);
        number
    }

    /// A hidden cell that is not initialised yet, in a new register.
    pub(super) fn hide_cell(&mut self, span: Span) -> u32 {
        let register = self.f().take();
        self.f().a(Op::LoadEmpty, register, span);
        self.f().ab(Op::NewCell, register, register, span);
        self.hide(register)
    }

    /// The register of a hidden variable: its own, or one that it is copied to.
    pub(super) fn hidden(&mut self, number: u32, want: Want, span: Span) -> Reg {
        if let Some(register) = self.f().hidden.get(&number).copied() {
            return self.deliver(register, want, span);
        }
        let level = self.functions.len() - 1;
        let upvalue = self.upvalue(level, UpKey::Hidden(number));
        let register = self.target(want);
        self.f().ab(Op::GetUpvalue, register, upvalue, span);
        register
    }

    /// The content of a hidden cell.
    pub(super) fn hidden_content(&mut self, number: u32, want: Want, span: Span) -> Reg {
        if let Some(cell) = self.f().hidden.get(&number).copied() {
            let register = self.target(want);
            self.f().ab(Op::GetCell, register, cell, span);
            return register;
        }
        let level = self.functions.len() - 1;
        let upvalue = self.upvalue(level, UpKey::Hidden(number));
        let register = self.target(want);
        self.f().ab(Op::GetUpCell, register, upvalue, span);
        register
    }

    // The environment.

    /// Index of the function whose `this` the current one sees.
    fn environment(&self) -> usize {
        let is_arrow = |at: &usize| self.functions[*at].flags & function_flags::ARROW != 0;
        (0..self.functions.len()).rev().find(|at| !is_arrow(at)).unwrap_or(0)
    }

    fn is_environment(&self) -> bool {
        self.environment() + 1 == self.functions.len()
    }

    /// The constructor whose `this` the current function sees.
    fn constructor(&self) -> Option<Constructor> {
        self.functions[self.environment()].constructor
    }

    /// `this` of the current function.
    pub(super) fn this(&mut self, want: Want, span: Span) -> Reg {
        if let Some(Constructor { derived: true, ready, this, .. }) = self.constructor() {
            if let Some(this) = this {
                let mark = self.f().next;
                let cell = self.hidden(this, Want::Any, span);
                if !(ready && self.is_environment()) {
                    self.f().a(Op::CheckThis, cell, span);
                }
                self.f().next = mark;
                let register = self.target(want);
                self.f().ab(Op::GetCell, register, cell, span);
                return register;
            }
            if self.is_environment() && !ready {
                self.f().a(Op::CheckThis, 0, span);
            }
        }
        if self.is_environment() {
            return self.deliver(0, want, span);
        }
        let level = self.functions.len() - 1;
        let upvalue = self.upvalue(level, UpKey::This);
        let register = self.target(want);
        self.f().ab(Op::GetUpvalue, register, upvalue, span);
        register
    }

    /// The register of `this`, where it is there for certain.
    pub(super) fn this_register(&self) -> Option<Reg> {
        let plain = self.constructor().is_none_or(|c| !c.derived || (c.ready && c.this.is_none()));
        (self.is_environment() && plain).then_some(0)
    }

    /// Where a derived constructor's `this` is: its register, or that of its cell.
    fn this_place(&mut self, constructor: Constructor, span: Span) -> Reg {
        match constructor.this {
            Some(this) => self.hidden(this, Want::Any, span),
            None => 0,
        }
    }

    pub(super) fn new_target(&mut self, want: Want, span: Span) -> Reg {
        let around = &self.functions[self.environment()];
        match around.new_target.filter(|_| !around.in_initialiser) {
            None => self.simple(Op::LoadUndefined, want, span),
            Some(register) if self.is_environment() => self.deliver(register, want, span),
            Some(_) => {
                let level = self.functions.len() - 1;
                let upvalue = self.upvalue(level, UpKey::NewTarget);
                let register = self.target(want);
                self.f().ab(Op::GetUpvalue, register, upvalue, span);
                register
            }
        }
    }

    // super

    /// `this`, and the object where `super` looks, in two new registers. `key` is computed in between.
    fn super_pair(&mut self, key: Option<&'a Expression<'a>>, span: Span) -> (Reg, Option<Reg>) {
        let pair = self.f().take();
        let base = self.f().take();
        self.this(Want::Free(pair), span);
        let key = key.map(|key| {
            let register = self.f().take();
            self.expression(key, Want::Free(register))
        });
        match self.functions[self.environment()].home {
            Some(home) => {
                let mark = self.f().next;
                let home = self.hidden(home, Want::Any, span);
                self.f().ab(Op::GetProto, base, home, span);
                self.f().next = mark;
            }
            None => {
                self.error("FB0105", span, "`super` stands outside a method", None);
            }
        }
        (pair, key)
    }

    /// `super.key`
    pub(super) fn super_field(&mut self, name: &str, want: Want, span: Span) -> Reg {
        let mark = self.f().next;
        let (pair, _) = self.super_pair(None, span);
        self.f().next = mark;
        let register = self.target(want);
        let name = self.pool.string(name);
        let site = self.f().site(name);
        self.f().abc(Op::GetSuperField, register, pair, site, span);
        register
    }

    /// `super[key]`
    pub(super) fn super_element(&mut self, key: &'a Expression<'a>, want: Want, span: Span) -> Reg {
        let mark = self.f().next;
        let (pair, key) = self.super_pair(Some(key), span);
        self.f().next = mark;
        let register = self.target(want);
        self.f().abc(Op::GetSuper, register, pair, key.unwrap_or(0), span);
        register
    }

    /// Callee and `this` of `super.key(...)`.
    pub(super) fn super_method(
        &mut self,
        key: Result<&str, &'a Expression<'a>>,
        base: Reg,
        this: Reg,
        span: Span,
    ) {
        let mark = self.f().next;
        let (pair, key_register) = self.super_pair(key.err(), span);
        match key {
            Ok(name) => {
                let name = self.pool.string(name);
                let site = self.f().site(name);
                self.f().abc(Op::GetSuperField, base, pair, site, span);
            }
            Err(_) => self.f().abc(Op::GetSuper, base, pair, key_register.unwrap_or(0), span),
        }
        self.f().ab(Op::Move, this, pair, span);
        self.f().next = mark;
    }

    /// `super.key` or `super[key]` as a target.
    pub(super) fn super_place(&mut self, key: Result<&str, &'a Expression<'a>>, span: Span) -> Place {
        let (pair, register) = self.super_pair(key.err(), span);
        let key = match (key, register) {
            (Ok(name), _) => {
                let register = self.f().take();
                self.string(name, Want::Free(register), span)
            }
            (Err(_), register) => register.unwrap_or(0),
        };
        Place::Super(pair, key)
    }

    /// `delete super.key`: its parts are evaluated, then it throws.
    pub(super) fn delete_super(&mut self, key: Option<&'a Expression<'a>>, span: Span) {
        let mark = self.f().next;
        self.this(Want::Any, span);
        if let Some(key) = key {
            self.expression(key, Want::Any);
        }
        let message = self.pool.string("Unsupported reference to 'super'");
        self.f().abx(Op::ThrowReferenceError, 0, message, span);
        self.f().next = mark;
    }

    /// `super(...)`
    pub(super) fn super_call(&mut self, c: &'a CallExpression<'a>, want: Want) -> Reg {
        let span = c.span;
        let Some(constructor) = self.constructor().filter(|c| c.derived) else {
            self.error("FB0105", span, "`super(...)` stands outside a derived class's constructor", None);
            return self.target(want);
        };
        let mark = self.f().next;
        let result = self.f().take();
        let base = self.f().take();
        let target = self.f().take();
        self.super_constructor(constructor, base, span);
        self.new_target(Want::Free(target), span);
        let head = Span::new(c.callee.span().start, span.end);
        let (one, spread) = (Op::SuperCall, Op::SuperCallSpread);
        self.invoke(one, spread, base, &c.arguments, Want::Free(result), base, head);
        self.f().next = base;
        self.super_called(constructor, result, span);
        self.f().next = mark;
        self.f().take();
        match want {
            Want::Any => result,
            Want::Free(to) | Want::Variable(to) => {
                self.f().move_to(to, result, span);
                self.f().next = mark;
                to
            }
        }
    }

    /// What the constructor extends, into a register.
    pub(super) fn super_constructor(&mut self, constructor: Constructor, to: Reg, span: Span) {
        match constructor.callee.filter(|_| !self.is_environment()) {
            Some(callee) => {
                self.hidden(callee, Want::Free(to), span);
            }
            None => self.f().a(Op::LoadCallee, to, span),
        }
        self.f().ab(Op::GetProto, to, to, span);
    }

    /// Binds `this` and initialises the fields.
    pub(super) fn super_called(&mut self, constructor: Constructor, result: Reg, span: Span) {
        let mark = self.f().next;
        let place = self.this_place(constructor, span);
        self.f().ab(Op::BindThis, place, result, span);
        self.f().next = mark;
        if let Some(fields) = constructor.fields {
            let base = self.f().take();
            let this = self.f().take();
            self.hidden_content(fields, Want::Free(base), span);
            self.f().ab(Op::Move, this, result, span);
            self.f().abc(Op::Call, base, base, 0, span);
            self.f().next = mark;
        }
    }

    /// Whether a statement of a constructor's body is `super(...)`, behind which `this` is there.
    pub(super) fn note_super(&mut self, e: &Expression<'a>) {
        if let Expression::CallExpression(c) = strip(e)
            && matches!(c.callee, Expression::Super(_))
            && self.f().control.is_empty()
            && let Some(constructor) = &mut self.f().constructor
        {
            constructor.ready = true;
        }
    }

    /// What is returned in place of `value`: a constructor gives an object.
    pub(super) fn returned(&mut self, value: Reg, span: Span) -> Reg {
        let Some(constructor) = self.f().constructor else { return value };
        let place = if constructor.derived { self.this_place(constructor, span) } else { 0 };
        let register = self.f().take();
        let n = u8::from(constructor.derived);
        self.f().emit(forebay_bytecode::Instr::abc(Op::CheckReturn, n, register, value, place), span);
        register
    }

    /// The end of a function's body: `return undefined`.
    pub(super) fn end_body(&mut self, end: Span) {
        let mark = self.f().next;
        let result = if self.f().constructor.is_some() {
            self.this(Want::Any, end)
        } else {
            self.simple(Op::LoadUndefined, Want::Any, end)
        };
        self.emit_return(result, false, end);
        self.f().next = mark;
    }
}
