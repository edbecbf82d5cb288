//! Destructuring: patterns that declare variables, and patterns that assign.
//!
//! An array pattern steps an iterator: an exhausted one stays exhausted and gives
//! undefined. If binding an element throws, the iterator is closed on the way out;
//! if the iterator itself threw, it counts as exhausted and closing does nothing.

use forebay_bytecode::{Instr, Op};
use oxc_ast::ast::{
    ArrayAssignmentTarget, ArrayPattern, AssignmentTarget, AssignmentTargetMaybeDefault,
    AssignmentTargetProperty, BindingPattern, Expression, ObjectAssignmentTarget, ObjectPattern, PropertyKey,
};
use oxc_span::{GetSpan, Span};
use oxc_syntax::symbol::SymbolId;

use super::assign::Place;
use super::{Binding, Lower, Want};
use crate::emit::{Control, Reg};

/// A key of an object pattern.
enum Key {
    Name(String),
    /// A register with a property key.
    Register(Reg),
}

impl<'a> Lower<'_, 'a> {
    /// Declares the variables of a pattern from the value in `value`.
    pub(super) fn bind_pattern(&mut self, pattern: &'a BindingPattern<'a>, value: Reg) {
        match pattern {
            BindingPattern::BindingIdentifier(id) => {
                if let Some(symbol) = id.symbol_id.get() {
                    self.initialise(symbol, value, id.span);
                }
            }
            BindingPattern::AssignmentPattern(p) => {
                let name = match &p.left {
                    BindingPattern::BindingIdentifier(id) => id.name.as_str(),
                    _ => "",
                };
                let mark = self.f().next;
                let value = self.default_value(value, &p.right, name);
                self.bind_pattern(&p.left, value);
                self.f().next = mark;
            }
            BindingPattern::ObjectPattern(p) => self.bind_object(p, value),
            BindingPattern::ArrayPattern(p) => self.bind_array(p, value),
        }
    }

    /// Gives a variable its first value.
    pub(super) fn initialise(&mut self, symbol: SymbolId, value: Reg, span: Span) {
        let early = self.variable(symbol).early;
        match self.binding(symbol) {
            Binding::Register(register) => self.f().move_to(register, value, span),
            Binding::Cell(cell) => {
                let op = if early { Op::InitCell } else { Op::NewCell };
                self.f().ab(op, cell, value, span);
            }
            Binding::Slot(slot) => self.f().abx(Op::SetModule, value, slot, span),
            Binding::Property(name) => self.f().abx(Op::SetName, value, name, span),
            Binding::UpCell(upvalue) => self.f().ab(Op::SetUpCell, value, upvalue, span),
            // Declarations stand in their own function.
            Binding::Upvalue(_) => {}
        }
    }

    /// `value`, or the default if it is undefined; in a register that may be changed.
    fn default_value(&mut self, value: Reg, default: &'a Expression<'a>, name: &str) -> Reg {
        let result = self.f().take();
        self.f().move_to(result, value, default.span());
        let given = self.f().jump(Op::JumpIfNotUndefined, result, default.span());
        self.named_expression(default, name, Want::Free(result));
        self.f().patch(given);
        result
    }

    fn bind_object(&mut self, pattern: &'a ObjectPattern<'a>, value: Reg) {
        self.f().a(Op::ThrowIfNotObject, value, pattern.span);
        let keys = pattern.rest.is_some().then(|| self.f().next);
        let mut count = 0u16;
        for property in &pattern.properties {
            let key = self.pattern_key(&property.key, property.computed);
            let key = self.keep_key(key, keys, &mut count, property.span);
            let mark = self.f().next;
            // Straight into the variable, if it is a register of its own.
            let direct = match &property.value {
                BindingPattern::BindingIdentifier(id) => self.direct_register(id.symbol_id.get()),
                _ => None,
            };
            let element = direct.unwrap_or_else(|| self.f().take());
            self.get_key(element, value, &key, property.span);
            if direct.is_none() {
                self.bind_pattern(&property.value, element);
            }
            self.f().next = mark;
            if keys.is_none()
                && let Key::Register(register) = key
            {
                self.f().next = register;
            }
        }
        if let Some(rest) = &pattern.rest {
            let register = self.object_rest(value, keys, count, rest.span);
            self.bind_pattern(&rest.argument, register);
        }
        if let Some(keys) = keys {
            self.f().next = keys;
        }
    }

    /// The register of a variable that needs nothing but a plain write.
    fn direct_register(&mut self, symbol: Option<SymbolId>) -> Option<Reg> {
        match self.binding(symbol?) {
            Binding::Register(register) => Some(register),
            _ => None,
        }
    }

    fn bind_array(&mut self, pattern: &'a ArrayPattern<'a>, value: Reg) {
        let span = pattern.span;
        let iterator = self.begin_array(value, span);
        let start = self.f().pc();
        for element in &pattern.elements {
            self.next_element(iterator, element.as_ref().map_or(span, GetSpan::span));
            if let Some(element) = element {
                self.bind_pattern(element, iterator + 2);
            }
        }
        if let Some(rest) = &pattern.rest {
            let list = self.rest_elements(iterator, rest.span);
            self.bind_pattern(&rest.argument, list);
        }
        self.end_array(iterator, start, span);
    }

    fn begin_array(&mut self, value: Reg, span: Span) -> Reg {
        let f = self.f();
        let iterator = f.take();
        f.take();
        f.take();
        f.ab(Op::GetIterator, iterator, value, span);
        f.control.push(Control::Iterator { register: iterator, asynchronous: false, gaps: Vec::new() });
        iterator
    }

    /// The next element in `iterator + 2`; undefined if there is none.
    fn next_element(&mut self, iterator: Reg, span: Span) {
        let exhausted = self.f().jump(Op::IteratorNext, iterator, span);
        self.f().patch(exhausted);
    }

    fn rest_elements(&mut self, iterator: Reg, span: Span) -> Reg {
        let f = self.f();
        let list = f.take();
        f.abx(Op::NewArray, list, 0, span);
        let again = f.pc();
        let end = f.jump(Op::IteratorNext, iterator, span);
        f.ab(Op::ArrayPush, list, iterator + 2, span);
        f.loop_to(again, span);
        f.patch(end);
        list
    }

    fn end_array(&mut self, iterator: Reg, start: u32, span: Span) {
        let f = self.f();
        let gaps = match f.control.pop() {
            Some(Control::Iterator { gaps, .. }) => gaps,
            _ => Vec::new(),
        };
        let end = f.pc();
        f.a(Op::IteratorClose, iterator, span);
        let done = f.jump(Op::Jump, 0, span);
        self.close_on_throw(iterator, start, end, &gaps, span);
        self.f().patch(done);
        self.f().next = iterator;
    }

    /// Where an exception from `start .. end` goes: close the iterator, whose own
    /// exception doesn't count, and throw on.
    pub(super) fn close_on_throw(
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
        f.a(Op::IteratorClose, iterator, span);
        f.cover(target, target + 1, &[], target + 1, ignored);
        f.a(Op::Throw, exception, span);
        f.next = mark;
    }

    fn pattern_key(&mut self, key: &'a PropertyKey<'a>, computed: bool) -> Key {
        match self.static_key(key, computed) {
            Some(name) => Key::Name(name),
            None => {
                let register = self.f().take();
                match key.as_expression() {
                    Some(key) => {
                        self.expression(key, Want::Free(register));
                        self.f().ab(Op::ToPropertyKey, register, register, key.span());
                    }
                    None => self.unsupported(key.span(), "private names are", None),
                }
                Key::Register(register)
            }
        }
    }

    /// Puts a key where a rest element will need it: `count` keys from `keys` on.
    fn keep_key(&mut self, key: Key, keys: Option<Reg>, count: &mut u16, span: Span) -> Key {
        let Some(keys) = keys else { return key };
        let wanted = keys + *count;
        *count += 1;
        if let Key::Name(name) = &key {
            let register = self.f().take();
            debug_assert_eq!(register, wanted);
            let name = self.pool.string(name);
            self.f().abx(Op::LoadConst, register, name, span);
        }
        key
    }

    fn get_key(&mut self, to: Reg, object: Reg, key: &Key, span: Span) {
        match key {
            Key::Name(name) => {
                let name = self.pool.string(name);
                let site = self.f().site(name);
                self.f().abc(Op::GetField, to, object, site, span);
            }
            Key::Register(key) => self.f().abc(Op::GetElem, to, object, *key, span),
        }
    }

    fn object_rest(&mut self, object: Reg, keys: Option<Reg>, count: u16, span: Span) -> Reg {
        let register = self.f().take();
        let Ok(n) = u8::try_from(count) else {
            self.error("FB0804", span, "more than 255 properties beside a rest element", None);
            return register;
        };
        let keys = if n == 0 { 0 } else { keys.unwrap_or(0) };
        self.f().emit(Instr::abc(Op::ObjectRest, n, register, object, keys), span);
        register
    }

    // Patterns that assign.

    /// Assigns the value in `value` to a target, which is evaluated now.
    pub(super) fn assign_target(&mut self, target: &'a AssignmentTarget<'a>, value: Reg) {
        match target {
            AssignmentTarget::ArrayAssignmentTarget(p) => self.assign_array(p, value),
            AssignmentTarget::ObjectAssignmentTarget(p) => self.assign_object(p, value),
            _ => {
                let mark = self.f().next;
                let span = target.span();
                if let Some(place) = self.target_place(target, Span::empty(span.end)) {
                    self.store(&place, value, span);
                }
                self.f().next = mark;
            }
        }
    }

    /// The place of a simple target; `None` for patterns and after errors.
    fn target_place(&mut self, target: &'a AssignmentTarget<'a>, later: Span) -> Option<Place> {
        let simple = target.as_simple_assignment_target()?;
        self.place(simple, later)
    }

    /// A target of a pattern with its default, in the order of ECMAScript: place,
    /// value, default, store. `get` gives the value.
    fn assign_element(
        &mut self,
        target: &'a AssignmentTargetMaybeDefault<'a>,
        get: impl FnOnce(&mut Self) -> Reg,
    ) {
        let mark = self.f().next;
        let (target, default) = match target {
            AssignmentTargetMaybeDefault::AssignmentTargetWithDefault(t) => (&t.binding, Some(&t.init)),
            other => match other.as_assignment_target() {
                Some(target) => (target, None),
                None => return,
            },
        };
        let span = target.span();
        let is_pattern = target.as_simple_assignment_target().is_none();
        let later = default.map_or(Span::empty(span.end), |d| Span::new(span.end, d.span().end));
        let place = if is_pattern { None } else { self.target_place(target, later) };
        let mut value = get(self);
        if let Some(default) = default {
            let name = match target {
                AssignmentTarget::AssignmentTargetIdentifier(id) => id.name.as_str(),
                _ => "",
            };
            value = self.default_value(value, default, name);
        }
        match place {
            Some(place) => self.store(&place, value, span),
            None if is_pattern => self.assign_target(target, value),
            None => {}
        }
        self.f().next = mark;
    }

    fn assign_array(&mut self, pattern: &'a ArrayAssignmentTarget<'a>, value: Reg) {
        let span = pattern.span;
        let iterator = self.begin_array(value, span);
        let start = self.f().pc();
        for element in &pattern.elements {
            match element {
                None => self.next_element(iterator, span),
                Some(element) => self.assign_element(element, |this| {
                    this.next_element(iterator, element.span());
                    iterator + 2
                }),
            }
        }
        if let Some(rest) = &pattern.rest {
            let target_span = rest.target.span();
            let place = self.target_place(&rest.target, Span::empty(target_span.end));
            let list = self.rest_elements(iterator, rest.span);
            match place {
                Some(place) => self.store(&place, list, target_span),
                None => {
                    if rest.target.as_simple_assignment_target().is_none() {
                        self.assign_target(&rest.target, list);
                    }
                }
            }
        }
        self.end_array(iterator, start, span);
    }

    fn assign_object(&mut self, pattern: &'a ObjectAssignmentTarget<'a>, value: Reg) {
        self.f().a(Op::ThrowIfNotObject, value, pattern.span);
        let mark = self.f().next;
        let keys = pattern.rest.is_some().then_some(mark);
        let mut count = 0u16;
        for property in &pattern.properties {
            match property {
                AssignmentTargetProperty::AssignmentTargetPropertyIdentifier(p) => {
                    let name = p.binding.name.as_str();
                    let key = self.keep_key(Key::Name(name.into()), keys, &mut count, p.span);
                    let before = self.f().next;
                    let later = Span::new(p.binding.span.end, p.span.end);
                    let place = self.identifier_place(&p.binding, later);
                    let mut element = self.f().take();
                    self.get_key(element, value, &key, p.span);
                    if let Some(default) = &p.init {
                        element = self.default_value(element, default, name);
                    }
                    if let Some(place) = place {
                        self.store(&place, element, p.span);
                    }
                    self.f().next = before;
                }
                AssignmentTargetProperty::AssignmentTargetPropertyProperty(p) => {
                    let before = self.f().next;
                    let key = self.pattern_key(&p.name, p.computed);
                    let key = self.keep_key(key, keys, &mut count, p.span);
                    self.assign_element(&p.binding, |this| {
                        let element = this.f().take();
                        this.get_key(element, value, &key, p.span);
                        element
                    });
                    if keys.is_none() {
                        self.f().next = before;
                    }
                }
            }
        }
        if let Some(rest) = &pattern.rest {
            let target_span = rest.target.span();
            let place = self.target_place(&rest.target, Span::empty(target_span.end));
            let register = self.object_rest(value, keys, count, rest.span);
            if let Some(place) = place {
                self.store(&place, register, target_span);
            }
        }
        self.f().next = mark;
    }
}
