//! Assignments and updates.

use forebay_bytecode::{Instr, Op};
use oxc_ast::ast::{
    AssignmentExpression, AssignmentTarget, Expression, IdentifierReference, SimpleAssignmentTarget,
    UpdateExpression,
};
use oxc_span::{GetSpan, Span};
use oxc_syntax::operator::{AssignmentOperator, UpdateOperator};
use oxc_syntax::symbol::SymbolId;

use super::{Binding, Lower, Name, Want};
use crate::emit::Reg;
use crate::scope::Kind;

/// What can be assigned to, its parts evaluated.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Variable(SymbolId, Span),
    /// A constant with the key's name.
    Field(Reg, u32),
    Element(Reg, Reg),
    /// Private name in the second.
    Private(Reg, Reg),
    /// `super[key]`: the first of receiver and object, the key.
    Super(Reg, Reg),
    /// A property of the global object: constant with its name.
    Global(u32),
    /// An imported name or a constant: the assignment throws.
    Constant(Span),
}

impl<'a> Lower<'_, 'a> {
    /// Evaluates the parts of a target. `later`: text that runs before the place
    /// is written.
    pub(super) fn place(&mut self, target: &'a SimpleAssignmentTarget<'a>, later: Span) -> Option<Place> {
        match target {
            SimpleAssignmentTarget::AssignmentTargetIdentifier(id) => self.identifier_place(id, later),
            SimpleAssignmentTarget::TSAsExpression(e) => self.expression_place(&e.expression, later),
            SimpleAssignmentTarget::TSSatisfiesExpression(e) => self.expression_place(&e.expression, later),
            SimpleAssignmentTarget::TSNonNullExpression(e) => self.expression_place(&e.expression, later),
            SimpleAssignmentTarget::TSTypeAssertion(e) => self.expression_place(&e.expression, later),
            SimpleAssignmentTarget::StaticMemberExpression(m) if is_super(&m.object) => {
                Some(self.super_place(Ok(m.property.name.as_str()), m.span))
            }
            SimpleAssignmentTarget::ComputedMemberExpression(m) if is_super(&m.object) => {
                Some(self.super_place(Err(&m.expression), m.span))
            }
            SimpleAssignmentTarget::StaticMemberExpression(m) => {
                self.refuse_host_member(&m.object, m.span)?;
                let object = self.operand(&m.object, later);
                let key = self.pool.string(m.property.name.as_str());
                Some(Place::Field(object, key))
            }
            SimpleAssignmentTarget::ComputedMemberExpression(m) => {
                let rest = Span::new(m.object.span().end, later.end);
                let object = self.operand(&m.object, rest);
                if let Some(name) = self.constant_key(&m.expression) {
                    let key = self.pool.string(&name);
                    return Some(Place::Field(object, key));
                }
                let key = self.operand(&m.expression, later);
                Some(Place::Element(object, key))
            }
            SimpleAssignmentTarget::PrivateFieldExpression(m) => {
                let object = self.operand(&m.object, later);
                Some(Place::Private(object, self.private_key(&m.field)))
            }
        }
    }

    /// The place behind `x!` and `(x as T)`.
    fn expression_place(&mut self, e: &'a Expression<'a>, later: Span) -> Option<Place> {
        match super::function::strip(e) {
            Expression::Identifier(id) => self.identifier_place(id, later),
            Expression::StaticMemberExpression(m) if is_super(&m.object) => {
                Some(self.super_place(Ok(m.property.name.as_str()), m.span))
            }
            Expression::ComputedMemberExpression(m) if is_super(&m.object) => {
                Some(self.super_place(Err(&m.expression), m.span))
            }
            Expression::PrivateFieldExpression(m) => {
                let object = self.operand(&m.object, later);
                Some(Place::Private(object, self.private_key(&m.field)))
            }
            Expression::StaticMemberExpression(m) => {
                let object = self.operand(&m.object, later);
                let key = self.pool.string(m.property.name.as_str());
                Some(Place::Field(object, key))
            }
            Expression::ComputedMemberExpression(m) => {
                let rest = Span::new(m.object.span().end, later.end);
                let object = self.operand(&m.object, rest);
                let key = self.operand(&m.expression, later);
                Some(Place::Element(object, key))
            }
            other => {
                self.error("FB0102", other.span(), "this can't be assigned to", None);
                None
            }
        }
    }

    pub(super) fn identifier_place(&mut self, id: &IdentifierReference<'a>, later: Span) -> Option<Place> {
        let _ = later;
        match self.resolve(id) {
            Name::Variable(symbol) => {
                let kind = self.variable(symbol).kind;
                if self.survey.work_of(self.file(), symbol).is_some() {
                    self.error(
                        "FB0502",
                        id.span,
                        format!("`{}` is a work, known at build time", id.name),
                        None,
                    );
                    return None;
                }
                if matches!(kind, Kind::Const | Kind::SelfName) {
                    let message = format!("`{}` is constant: this throws a TypeError", id.name);
                    self.warning("FB0203", id.span, message, Some("declare it with `let`"));
                    return Some(Place::Constant(id.span));
                }
                if self.variable(symbol).module && !self.is_load_time() {
                    self.error(
                        "FB0204",
                        id.span,
                        format!("`{}` is shared by all requests and can't be assigned", id.name),
                        Some(
                            "module variables are fixed once the module is loaded: keep what changes in `kv`",
                        ),
                    );
                    return None;
                }
                if !self.variable(symbol).module && !self.is_load_time() && self.is_init_local(symbol) {
                    self.error(
                        "FB0204",
                        id.span,
                        format!("`{}` is shared by all requests and can't be assigned", id.name),
                        Some("variables of the top level are fixed once the module is loaded: keep what changes in `kv`"),
                    );
                    return None;
                }
                Some(Place::Variable(symbol, id.span))
            }
            Name::Class(_) => {
                let message = format!("`{}` is constant inside its class: this throws a TypeError", id.name);
                self.warning("FB0203", id.span, message, None);
                Some(Place::Constant(id.span))
            }
            Name::Import(_) => {
                self.error(
                    "FB0205",
                    id.span,
                    format!("`{}` is imported and can't be assigned", id.name),
                    None,
                );
                None
            }
            Name::Undefined | Name::Arguments | Name::Host(_) | Name::Namespace | Name::Global(_) => {
                self.error(
                    "FB0206",
                    id.span,
                    format!("`{}` is built in and can't be assigned", id.name),
                    None,
                );
                None
            }
            Name::Property => {
                let name = self.pool.string(id.name.as_str());
                Some(Place::Global(name))
            }
            Name::Unknown => {
                self.unknown_name(id);
                None
            }
        }
    }

    /// Whether a variable belongs to a block of a module's top level.
    fn is_init_local(&self, symbol: SymbolId) -> bool {
        use forebay_bytecode::module::function_flags::INIT;
        self.functions[0].flags & INIT != 0 && self.variable(symbol).function == self.root()
    }

    /// The current value of a place.
    fn load(&mut self, place: &Place, want: Want, span: Span) -> Reg {
        match *place {
            Place::Variable(symbol, at) => self.load_variable(symbol, want, at),
            Place::Field(object, key) => {
                let register = self.target(want);
                let site = self.f().site(key);
                self.f().abc(Op::GetField, register, object, site, span);
                register
            }
            Place::Element(object, key) => {
                let register = self.target(want);
                self.f().abc(Op::GetElem, register, object, key, span);
                register
            }
            Place::Private(object, name) => {
                let register = self.target(want);
                self.f().abc(Op::GetPrivate, register, object, name, span);
                register
            }
            Place::Super(pair, key) => {
                let register = self.target(want);
                self.f().abc(Op::GetSuper, register, pair, key, span);
                register
            }
            Place::Global(name) => {
                let register = self.target(want);
                self.f().abx(Op::GetName, register, name, span);
                register
            }
            Place::Constant(at) => {
                let register = self.target(want);
                self.f().a(Op::LoadUndefined, register, at);
                register
            }
        }
    }

    /// Stores `value` in a place.
    pub(super) fn store(&mut self, place: &Place, value: Reg, span: Span) {
        match *place {
            Place::Variable(symbol, at) => {
                let checked = self.variable(symbol).is_initialised_at(at.start);
                match self.binding(symbol) {
                    Binding::Register(register) => {
                        if self.variable(symbol).early && !checked {
                            self.check_initialised(register, symbol, at);
                        }
                        self.f().move_to(register, value, span);
                    }
                    Binding::Cell(cell) => self.f().ab(Op::SetCell, cell, value, span),
                    Binding::UpCell(upvalue) => self.f().ab(Op::SetUpCell, value, upvalue, span),
                    Binding::Slot(slot) => {
                        if !checked {
                            let scratch = self.f().take();
                            self.f().abx(Op::GetModule, scratch, slot, at);
                            self.f().next = scratch;
                        }
                        self.f().abx(Op::SetModule, value, slot, span);
                    }
                    Binding::Property(name) => self.f().abx(Op::SetName, value, name, span),
                    // An assigned variable that is captured has a cell.
                    Binding::Upvalue(_) => {
                        self.error("FB0999", at, "this assignment can't be compiled", None)
                    }
                }
            }
            Place::Field(object, key) => {
                let site = self.f().site(key);
                self.f().abc(Op::SetField, object, value, site, span);
            }
            Place::Element(object, key) => self.f().abc(Op::SetElem, object, key, value, span),
            Place::Private(object, name) => self.f().abc(Op::SetPrivate, object, name, value, span),
            Place::Super(pair, key) => self.f().abc(Op::SetSuper, pair, key, value, span),
            Place::Global(name) => self.f().abx(Op::SetName, value, name, span),
            Place::Constant(at) => {
                let message = self.pool.string("Assignment to constant variable.");
                self.f().abx(Op::ThrowTypeError, 0, message, at);
            }
        }
    }

    fn check_initialised(&mut self, register: Reg, symbol: SymbolId, span: Span) {
        let name = self.symbol_name(symbol);
        let name = self.pool.string(name);
        self.f().abx(Op::CheckInit, register, name, span);
    }

    /// The value of a variable.
    pub(super) fn load_variable(&mut self, symbol: SymbolId, want: Want, span: Span) -> Reg {
        let unchecked = !self.variable(symbol).early || self.variable(symbol).is_initialised_at(span.start);
        match self.binding(symbol) {
            Binding::Register(register) => {
                if !unchecked {
                    self.check_initialised(register, symbol, span);
                }
                self.deliver(register, want, span)
            }
            Binding::Cell(cell) => {
                let register = self.target(want);
                self.f().ab(Op::GetCell, register, cell, span);
                register
            }
            Binding::Upvalue(upvalue) => {
                let register = self.target(want);
                self.f().ab(Op::GetUpvalue, register, upvalue, span);
                register
            }
            Binding::UpCell(upvalue) => {
                let register = self.target(want);
                self.f().ab(Op::GetUpCell, register, upvalue, span);
                register
            }
            Binding::Slot(slot) => {
                let register = self.target(want);
                self.f().abx(Op::GetModule, register, slot, span);
                register
            }
            Binding::Property(name) => {
                let register = self.target(want);
                self.f().abx(Op::GetName, register, name, span);
                register
            }
        }
    }

    /// The register of a place that is a plain variable, writable without a check.
    fn plain_register(&mut self, place: &Place) -> Option<Reg> {
        match *place {
            Place::Variable(symbol, at) => match self.binding(symbol) {
                Binding::Register(register)
                    if !self.variable(symbol).early || self.variable(symbol).is_initialised_at(at.start) =>
                {
                    Some(register)
                }
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn assignment(&mut self, e: &'a AssignmentExpression<'a>, want: Want) -> Reg {
        if let Some(target) = e.left.as_simple_assignment_target() {
            return self.simple_assignment(e, target, want);
        }
        // A pattern; its value is the right side.
        let mark = self.f().next;
        let result = match want {
            Want::Free(register) => self.expression(&e.right, Want::Free(register)),
            Want::Any | Want::Variable(_) => {
                let register = self.f().take();
                self.expression(&e.right, Want::Free(register))
            }
        };
        let inner = self.f().next;
        self.assign_target(&e.left, result);
        self.f().next = inner;
        match want {
            Want::Variable(register) => {
                self.f().move_to(register, result, e.span);
                self.f().next = mark;
                register
            }
            Want::Any | Want::Free(_) => result,
        }
    }

    fn simple_assignment(
        &mut self,
        e: &'a AssignmentExpression<'a>,
        target: &'a SimpleAssignmentTarget<'a>,
        want: Want,
    ) -> Reg {
        let mark = self.f().next;
        // With `Any` the result stands first, so that the rest can be given back.
        let name = match target {
            // `(f) = ...` names nothing.
            SimpleAssignmentTarget::AssignmentTargetIdentifier(id) if id.span.start == e.span.start => {
                id.name.as_str()
            }
            _ => "",
        };
        let later = Span::new(target.span().end, e.right.span().end);
        if e.operator == AssignmentOperator::Assign {
            if let SimpleAssignmentTarget::AssignmentTargetIdentifier(id) = target {
                let Some(place) = self.identifier_place(id, later) else {
                    return self.expression(&e.right, want);
                };
                if let Some(register) = self.plain_register(&place) {
                    self.named_expression(&e.right, name, Want::Variable(register));
                    self.f().next = mark;
                    return self.deliver(register, want, e.span);
                }
                let value = self.named_expression(&e.right, name, free_or_any(want));
                let kept = self.f().next;
                self.store(&place, value, e.span);
                self.f().next = kept;
                return self.finish_value(value, want, mark, e.span);
            }
            let result = self.result_register(want);
            let Some(place) = self.place(target, later) else { return result };
            let value = self
                .expression(&e.right, if result >= mark { Want::Free(result) } else { free_or_any(want) });
            self.store(&place, value, e.span);
            return self.finish_value(value, want, mark, e.span);
        }
        if let Some(operator) = e.operator.to_logical_operator() {
            return self.logical_assignment(e, target, operator, name, want);
        }
        let Some(op) = compound(e.operator) else {
            self.error("FB0999", e.span, "this assignment can't be compiled", None);
            return self.target(want);
        };
        let result = self.result_register(want);
        let Some(place) = self.place(target, later) else { return result };
        let place = self.key_once(place, target.span());
        if let Some(register) = self.plain_register(&place) {
            let left = self.protect(register, later);
            let right = self.expression(&e.right, Want::Any);
            self.f().abc(op, register, left, right, e.span);
            self.f().next = mark;
            return self.deliver(register, want, e.span);
        }
        let left = self.load(&place, Want::Any, target.span());
        let right = self.expression(&e.right, Want::Any);
        let value = if result >= mark { result } else { self.scratch(want) };
        self.f().abc(op, value, left, right, e.span);
        self.store(&place, value, e.span);
        self.finish_value(value, want, mark, e.span)
    }

    /// With `Any`, a register at the bottom for the result.
    fn result_register(&mut self, want: Want) -> Reg {
        match want {
            Want::Any => self.f().take(),
            Want::Free(register) | Want::Variable(register) => register,
        }
    }

    /// A register for an intermediate value: not a variable's.
    fn scratch(&mut self, want: Want) -> Reg {
        match want {
            Want::Free(register) => register,
            Want::Any | Want::Variable(_) => self.f().take(),
        }
    }

    fn finish_value(&mut self, value: Reg, want: Want, mark: Reg, span: Span) -> Reg {
        match want {
            Want::Any => {
                self.release(mark, value);
                if value > mark {
                    // Not the first: move it down.
                    self.f().move_to(mark, value, span);
                    self.f().next = mark + 1;
                    return mark;
                }
                value
            }
            Want::Free(register) | Want::Variable(register) => {
                self.f().move_to(register, value, span);
                self.f().next = mark;
                register
            }
        }
    }

    /// A copy of a variable's register, if the variable is assigned in `later`.
    pub(super) fn protect(&mut self, register: Reg, later: Span) -> Reg {
        let Some(symbol) = self.f().owners.get(&register).copied() else { return register };
        if !self.variable(symbol).is_written_in(later.start, later.end) {
            return register;
        }
        let copy = self.f().take();
        self.f().ab(Op::Move, copy, register, Span::empty(later.start));
        copy
    }

    /// The key of an element is converted once, though it is read and written.
    fn key_once(&mut self, place: Place, span: Span) -> Place {
        match place {
            Place::Element(object, key) => {
                let register = self.f().take();
                self.f().emit(Instr::abc(Op::ToPropertyKey, 1, register, key, object), span);
                Place::Element(object, register)
            }
            Place::Super(pair, key) => {
                self.f().ab(Op::ToPropertyKey, key, key, span);
                Place::Super(pair, key)
            }
            other => other,
        }
    }

    fn logical_assignment(
        &mut self,
        e: &'a AssignmentExpression<'a>,
        target: &'a SimpleAssignmentTarget<'a>,
        operator: oxc_syntax::operator::LogicalOperator,
        name: &str,
        want: Want,
    ) -> Reg {
        use oxc_syntax::operator::LogicalOperator;
        let mark = self.f().next;
        let value = match want {
            Want::Free(register) => register,
            Want::Any | Want::Variable(_) => self.f().take(),
        };
        let later = Span::new(target.span().end, e.right.span().end);
        // Reading a constant is fine; only writing it throws.
        let place = match target {
            SimpleAssignmentTarget::AssignmentTargetIdentifier(id) => match self.resolve(id) {
                Name::Variable(symbol)
                    if matches!(self.variable(symbol).kind, Kind::Const | Kind::SelfName) =>
                {
                    self.load_variable(symbol, Want::Free(value), id.span);
                    Some(Place::Constant(id.span))
                }
                Name::Class(cell) => {
                    self.hidden_content(cell, Want::Free(value), id.span);
                    Some(Place::Constant(id.span))
                }
                _ => self.identifier_place(id, later),
            },
            _ => self.place(target, later),
        };
        let Some(place) = place else { return value };
        let place = self.key_once(place, target.span());
        if !matches!(place, Place::Constant(_)) {
            self.load(&place, Want::Free(value), target.span());
        }
        let op = match operator {
            LogicalOperator::Or => Op::JumpIfTrue,
            LogicalOperator::And => Op::JumpIfFalse,
            LogicalOperator::Coalesce => Op::JumpIfNotNullish,
        };
        let done = self.f().jump(op, value, e.span);
        self.named_expression(&e.right, name, Want::Free(value));
        self.store(&place, value, e.span);
        self.f().patch(done);
        self.finish_value(value, want, mark, e.span)
    }

    pub(super) fn update(&mut self, e: &'a UpdateExpression<'a>, want: Want, is_used: bool) -> Reg {
        let mark = self.f().next;
        let op = match e.operator {
            UpdateOperator::Increment => Op::Inc,
            UpdateOperator::Decrement => Op::Dec,
        };
        let span = e.span;
        let result = self.result_register(want);
        let Some(place) = self.place(&e.argument, Span::empty(span.end)) else { return result };
        let place = self.key_once(place, span);
        let wants_old = is_used && !e.prefix;
        if let Some(register) = self.plain_register(&place) {
            if wants_old {
                // `x = x++` wants the old value in the variable itself.
                let old = if result == register { self.f().take() } else { result };
                self.f().ab(Op::ToNumeric, old, register, span);
                self.f().ab(op, register, old, span);
                return self.finish_value(old, want, mark, span);
            }
            self.f().ab(op, register, register, span);
            self.f().next = mark;
            if !is_used {
                return register;
            }
            return match want {
                // A copy: `++x + x++` must not see the later value.
                Want::Any => {
                    let copy = self.f().take();
                    self.f().ab(Op::Move, copy, register, span);
                    copy
                }
                Want::Free(_) | Want::Variable(_) => self.deliver(register, want, span),
            };
        }
        let old = if matches!(want, Want::Variable(_)) { self.f().take() } else { result };
        self.load(&place, Want::Free(old), span);
        let new = if wants_old {
            self.f().ab(Op::ToNumeric, old, old, span);
            self.f().take()
        } else {
            old
        };
        self.f().ab(op, new, old, span);
        self.store(&place, new, span);
        self.finish_value(old, want, mark, span)
    }

    /// Assigns to the target of a for-in or for-of head.
    pub(super) fn assign_head(&mut self, target: &'a AssignmentTarget<'a>, value: Reg) {
        self.assign_target(target, value);
    }
}

/// Whether a member is `super`'s.
pub(super) fn is_super(object: &Expression<'_>) -> bool {
    matches!(object, Expression::Super(_))
}

/// The want for a value that must not be a variable's own register too early.
fn free_or_any(want: Want) -> Want {
    match want {
        Want::Free(_) => want,
        Want::Any | Want::Variable(_) => Want::Any,
    }
}

fn compound(operator: AssignmentOperator) -> Option<Op> {
    Some(match operator {
        AssignmentOperator::Addition => Op::Add,
        AssignmentOperator::Subtraction => Op::Sub,
        AssignmentOperator::Multiplication => Op::Mul,
        AssignmentOperator::Division => Op::Div,
        AssignmentOperator::Remainder => Op::Rem,
        AssignmentOperator::Exponential => Op::Pow,
        AssignmentOperator::ShiftLeft => Op::Shl,
        AssignmentOperator::ShiftRight => Op::Shr,
        AssignmentOperator::ShiftRightZeroFill => Op::UShr,
        AssignmentOperator::BitwiseOR => Op::BitOr,
        AssignmentOperator::BitwiseXOR => Op::BitXor,
        AssignmentOperator::BitwiseAnd => Op::BitAnd,
        AssignmentOperator::Assign
        | AssignmentOperator::LogicalOr
        | AssignmentOperator::LogicalAnd
        | AssignmentOperator::LogicalNullish => return None,
    })
}
