//! Member chains and calls: methods, optional chaining, spread, `new`, `delete`,
//! and calls of the host.

use forebay_bytecode::module::{TemplatePart, uses};
use forebay_bytecode::{Global, HostFn, HostKind, Instr, Op};
use oxc_ast::ast::{
    Argument, CallExpression, ChainElement, ChainExpression, ComputedMemberExpression, Expression,
    IdentifierReference, NewExpression, PrivateFieldExpression, StaticMemberExpression,
    TaggedTemplateExpression,
};
use oxc_span::{GetSpan, Span};

use super::assign::is_super;
use super::function::strip;
use super::{Binding, Lower, Name, Want, host};
use crate::diagnostic::did_you_mean;
use crate::emit::{Patch, Reg};
use crate::files::{Target, export_hint};

/// Arguments of one call instruction; more go through an array.
const ARGUMENTS_MAX: usize = 250;

impl<'a> Lower<'_, 'a> {
    /// A whole chain of members and calls.
    pub(super) fn chain(&mut self, e: &'a Expression<'a>, want: Want) -> Reg {
        if self.ends_with_verb(e) {
            let mark = self.f().next;
            let query = self.chain_without_end(e, Want::Any);
            self.f().next = mark;
            let register = self.target(want);
            self.f().ab(Op::QueryEnd, register, query, e.span());
            return register;
        }
        self.chain_without_end(e, want)
    }

    fn chain_without_end(&mut self, e: &'a Expression<'a>, want: Want) -> Reg {
        match e {
            Expression::ChainExpression(c) => self.optional_chain(c, want),
            _ => self.link(e, want, &mut Vec::new()),
        }
    }

    /// `a?.b.c`: undefined if a link with `?.` stands behind undefined or null.
    fn optional_chain(&mut self, c: &'a ChainExpression<'a>, want: Want) -> Reg {
        let mark = self.f().next;
        let register = match want {
            Want::Free(register) => register,
            Want::Any | Want::Variable(_) => self.f().take(),
        };
        let mut nulls = Vec::new();
        self.chain_element(&c.expression, Want::Free(register), &mut nulls);
        let end = self.f().jump(Op::Jump, 0, c.span);
        self.f().patch_all(nulls);
        self.f().a(Op::LoadUndefined, register, c.span);
        self.f().patch(end);
        match want {
            Want::Any => self.f().next = register + 1,
            Want::Free(_) => self.f().next = mark,
            Want::Variable(to) => {
                self.f().move_to(to, register, c.span);
                self.f().next = mark;
                return to;
            }
        }
        register
    }

    fn chain_element(&mut self, e: &'a ChainElement<'a>, want: Want, nulls: &mut Vec<Patch>) -> Reg {
        match e {
            ChainElement::CallExpression(c) => self.call(c, want, nulls),
            ChainElement::TSNonNullExpression(t) => self.link(&t.expression, want, nulls),
            ChainElement::StaticMemberExpression(m) => self.static_member(m, want, nulls),
            ChainElement::ComputedMemberExpression(m) => self.computed_member(m, want, nulls),
            ChainElement::PrivateFieldExpression(m) => self.private_member(m, want, nulls),
        }
    }

    /// One link of a chain, with what it hangs on.
    pub(super) fn link(&mut self, e: &'a Expression<'a>, want: Want, nulls: &mut Vec<Patch>) -> Reg {
        match strip(e) {
            Expression::CallExpression(c) => self.call(c, want, nulls),
            Expression::StaticMemberExpression(m) => self.static_member(m, want, nulls),
            Expression::ComputedMemberExpression(m) => self.computed_member(m, want, nulls),
            Expression::PrivateFieldExpression(m) => self.private_member(m, want, nulls),
            other => self.expression(other, want),
        }
    }

    /// The object of a member. `is_method`: the member is called, so that a query
    /// doesn't end here.
    fn object_of(
        &mut self,
        e: &'a Expression<'a>,
        want: Want,
        nulls: &mut Vec<Patch>,
        is_method: bool,
    ) -> Reg {
        if !is_method && self.ends_with_verb(strip(e)) {
            let mark = self.f().next;
            let query = self.link(e, Want::Any, nulls);
            self.f().next = mark;
            let register = self.target(want);
            self.f().ab(Op::QueryEnd, register, query, e.span());
            return register;
        }
        self.link(e, want, nulls)
    }

    fn static_member(
        &mut self,
        m: &'a StaticMemberExpression<'a>,
        want: Want,
        nulls: &mut Vec<Patch>,
    ) -> Reg {
        if is_super(&m.object) {
            return self.super_field(m.property.name.as_str(), want, m.span);
        }
        self.check_request(m);
        if let Expression::Identifier(id) = strip(&m.object) {
            match self.resolve(id) {
                Name::Import(Target::Namespace(file)) => {
                    let name = m.property.name.as_str();
                    let register = self.target(want);
                    match self.files.export(file, name) {
                        Some(target) => self.import_into(target, register, m.span),
                        None => {
                            let names = self.files.export_names(file);
                            let hint = export_hint(name, &names);
                            let path = self.files.list[file].path.clone();
                            let message = format!("`{path}` has no export `{name}`");
                            self.error("FB0704", m.property.span, message, hint.as_deref());
                        }
                    }
                    return register;
                }
                Name::Host(HostFn::Req) => {}
                Name::Namespace if id.name == "task" && m.property.name == "id" => {
                    if self.is_load_time() {
                        self.error_at_load(m.span, "`task.id`");
                    }
                    let register = self.target(want);
                    self.f().emit(Instr::abc(Op::HostCall, 0, register, 0, HostFn::TaskId as u16), m.span);
                    return register;
                }
                Name::Host(_) | Name::Namespace => {
                    self.host_member_value(id, m);
                    return self.target(want);
                }
                _ => {}
            }
        }
        let mark = self.f().next;
        let object = self.object_of(&m.object, Want::Any, nulls, false);
        if m.optional {
            nulls.push(self.f().jump(Op::JumpIfNullish, object, m.span));
        }
        self.f().next = mark;
        let register = self.target(want);
        let name = self.pool.string(m.property.name.as_str());
        let site = self.f().site(name);
        let span = Span::new(m.property.span.start, m.span.end);
        self.f().abc(Op::GetField, register, object, site, span);
        register
    }

    fn private_member(
        &mut self,
        m: &'a PrivateFieldExpression<'a>,
        want: Want,
        nulls: &mut Vec<Patch>,
    ) -> Reg {
        let mark = self.f().next;
        let object = self.object_of(&m.object, Want::Any, nulls, false);
        if m.optional {
            nulls.push(self.f().jump(Op::JumpIfNullish, object, m.span));
        }
        let key = self.private_key(&m.field);
        self.f().next = mark;
        let register = self.target(want);
        self.f().abc(Op::GetPrivate, register, object, key, m.span);
        register
    }

    /// Callee and `this` of `object.#name(...)`.
    fn private_callee(
        &mut self,
        m: &'a PrivateFieldExpression<'a>,
        base: Reg,
        this: Reg,
        nulls: &mut Vec<Patch>,
    ) {
        self.object_of(&m.object, Want::Free(this), nulls, true);
        if m.optional {
            nulls.push(self.f().jump(Op::JumpIfNullish, this, m.span));
        }
        let mark = self.f().next;
        let key = self.private_key(&m.field);
        self.f().next = mark;
        self.f().abc(Op::GetPrivate, base, this, key, m.span);
    }

    fn computed_member(
        &mut self,
        m: &'a ComputedMemberExpression<'a>,
        want: Want,
        nulls: &mut Vec<Patch>,
    ) -> Reg {
        if is_super(&m.object) {
            return self.super_element(&m.expression, want, m.span);
        }
        let mark = self.f().next;
        let object = self.object_of(&m.object, Want::Any, nulls, false);
        if m.optional {
            nulls.push(self.f().jump(Op::JumpIfNullish, object, m.span));
        }
        if let Some(name) = self.constant_key(&m.expression) {
            self.f().next = mark;
            let register = self.target(want);
            let name = self.pool.string(&name);
            let site = self.f().site(name);
            self.f().abc(Op::GetField, register, object, site, m.span);
            return register;
        }
        let object = self.protect(object, m.expression.span());
        let key = self.expression(&m.expression, Want::Any);
        self.f().next = mark;
        let register = self.target(want);
        self.f().abc(Op::GetElem, register, object, key, m.span);
        register
    }

    fn call(&mut self, c: &'a CallExpression<'a>, want: Want, nulls: &mut Vec<Patch>) -> Reg {
        self.refuse_promised_effects(c);
        let callee = strip(&c.callee);
        match callee {
            Expression::Identifier(id) => match self.resolve(id) {
                Name::Host(function) => return self.host_call(function, c, want),
                Name::Namespace => {
                    self.host_value(id, want);
                    return self.target(want);
                }
                Name::Global(Global::Function) => {
                    let hint = "code is compiled when it is deployed";
                    self.error("FB0202", id.span, "`Function` can't make functions from text", Some(hint));
                    return self.target(want);
                }
                _ => {}
            },
            Expression::StaticMemberExpression(m) => {
                if let Expression::Identifier(id) = strip(&m.object) {
                    match self.resolve(id) {
                        Name::Unknown if id.name == "sql" => return self.named_query(c, m, want),
                        Name::Host(HostFn::Req) => {}
                        Name::Host(_) | Name::Namespace => {
                            let path = format!("{}.{}", id.name, m.property.name);
                            let known =
                                (!m.optional && !c.optional).then(|| HostFn::from_path(&path)).flatten();
                            if let Some(function) = known {
                                return self.host_call(function, c, want);
                            }
                            self.host_member_value(id, m);
                            return self.target(want);
                        }
                        Name::Global(global) => self.refuse_clocks_at_load(global, &m.property.name, c.span),
                        _ => {}
                    }
                }
                if let Some(register) = self.query_lambda(c, m, want) {
                    return register;
                }
            }
            Expression::Super(_) => return self.super_call(c, want),
            _ => {}
        }
        let mark = self.f().next;
        let base = self.f().take();
        let this = self.f().take();
        let callee_span = self.callee_into(callee, base, this, nulls);
        if c.optional {
            nulls.push(self.f().jump(Op::JumpIfNullish, base, c.span));
        }
        let span = Span::new(callee_span.start, c.span.end);
        self.invoke(Op::Call, Op::CallSpread, base, &c.arguments, want, mark, span)
    }

    /// Callee and `this` into two registers; where the call is shown in traces.
    fn callee_into(
        &mut self,
        callee: &'a Expression<'a>,
        base: Reg,
        this: Reg,
        nulls: &mut Vec<Patch>,
    ) -> Span {
        match callee {
            Expression::StaticMemberExpression(m) if is_super(&m.object) => {
                self.super_method(Ok(m.property.name.as_str()), base, this, m.span);
                m.property.span
            }
            Expression::ComputedMemberExpression(m) if is_super(&m.object) => {
                self.super_method(Err(&m.expression), base, this, m.span);
                m.expression.span()
            }
            Expression::PrivateFieldExpression(m) => {
                self.private_callee(m, base, this, nulls);
                m.field.span
            }
            Expression::StaticMemberExpression(m) => {
                match self.import_namespace(&m.object) {
                    Some(file) => self.namespace_method(file, m, base, this, nulls),
                    None => self.static_method(m, base, this, nulls),
                }
                m.property.span
            }
            Expression::ComputedMemberExpression(m) => {
                self.computed_method(m, base, this, nulls);
                m.expression.span()
            }
            // `(a?.b)()`: parentheses end the chain, but keep `this`.
            Expression::ChainExpression(c) => {
                let mut inner = Vec::new();
                match &c.expression {
                    ChainElement::PrivateFieldExpression(m) => self.private_callee(m, base, this, &mut inner),
                    ChainElement::StaticMemberExpression(m) => self.static_method(m, base, this, &mut inner),
                    ChainElement::ComputedMemberExpression(m) => {
                        self.computed_method(m, base, this, &mut inner)
                    }
                    element => {
                        self.chain_element(element, Want::Free(base), &mut inner);
                        self.f().a(Op::LoadUndefined, this, c.span);
                    }
                }
                let end = self.f().jump(Op::Jump, 0, c.span);
                self.f().patch_all(inner);
                self.f().a(Op::LoadUndefined, base, c.span);
                self.f().a(Op::LoadUndefined, this, c.span);
                self.f().patch(end);
                c.span
            }
            other => {
                self.link(other, Want::Free(base), nulls);
                self.f().a(Op::LoadUndefined, this, other.span());
                other.span()
            }
        }
    }

    /// `` f`text ${value}` ``: a call with the template's object and the values.
    pub(super) fn tagged_template(&mut self, t: &'a TaggedTemplateExpression<'a>, want: Want) -> Reg {
        let mark = self.f().next;
        let base = self.f().take();
        let this = self.f().take();
        self.callee_into(strip(&t.tag), base, this, &mut Vec::new());
        let mut parts = Vec::new();
        for quasi in &t.quasi.quasis {
            let cooked = match &quasi.value.cooked {
                Some(_) if quasi.lone_surrogates => {
                    self.unsupported(quasi.span, "half a surrogate pair in a literal is", None);
                    None
                }
                Some(text) => Some(self.pool.string(text.as_str())),
                None => None,
            };
            parts.push(TemplatePart { cooked, raw: self.pool.string(quasi.value.raw.as_str()) });
        }
        let template = self.pool.template(parts);
        let values = &t.quasi.expressions;
        let spread = values.len() >= ARGUMENTS_MAX;
        let first = self.f().take();
        if spread {
            self.f().abx(Op::NewArray, first, u32::try_from(values.len()).unwrap_or(u32::MAX), t.span);
        }
        let inner = self.f().next;
        let object = if spread { self.f().take() } else { first };
        self.f().abx(Op::LoadConst, object, template, t.quasi.span);
        if spread {
            self.f().ab(Op::ArrayPush, first, object, t.quasi.span);
        }
        for value in values {
            if spread {
                self.f().next = inner;
                let register = self.expression(value, Want::Any);
                self.f().ab(Op::ArrayPush, first, register, value.span());
            } else {
                let register = self.f().take();
                self.expression(value, Want::Free(register));
            }
        }
        self.f().next = mark;
        let register = self.target(want);
        if spread {
            self.f().ab(Op::CallSpread, register, base, t.span);
        } else {
            let count = u8::try_from(values.len() + 1).unwrap_or(u8::MAX);
            self.f().emit(Instr::abc(Op::Call, count, register, base, 0), t.span);
        }
        register
    }

    /// The file whose namespace an expression names.
    fn import_namespace(&self, e: &Expression<'a>) -> Option<usize> {
        match strip(e) {
            Expression::Identifier(id) => match self.resolve(id) {
                Name::Import(Target::Namespace(file)) => Some(file),
                _ => None,
            },
            _ => None,
        }
    }

    /// `namespace.name(..)`: the callee is known, the object is made only if the function could look at it.
    fn namespace_method(
        &mut self,
        file: usize,
        m: &'a StaticMemberExpression<'a>,
        base: Reg,
        this: Reg,
        nulls: &mut Vec<Patch>,
    ) {
        self.static_member(m, Want::Free(base), nulls);
        if self.ignores_this(file, m.property.name.as_str()) {
            self.f().a(Op::LoadUndefined, this, m.span);
        } else {
            self.import_into(Target::Namespace(file), this, m.object.span());
        }
    }

    fn static_method(
        &mut self,
        m: &'a StaticMemberExpression<'a>,
        base: Reg,
        this: Reg,
        nulls: &mut Vec<Patch>,
    ) {
        self.check_request(m);
        let object = self.object_register(&m.object, this, nulls);
        if m.optional {
            nulls.push(self.f().jump(Op::JumpIfNullish, object, m.span));
        }
        let name = self.pool.string(m.property.name.as_str());
        let site = self.f().site(name);
        self.f().abc(Op::GetMethod, base, object, site, m.property.span);
    }

    fn computed_method(
        &mut self,
        m: &'a ComputedMemberExpression<'a>,
        base: Reg,
        this: Reg,
        nulls: &mut Vec<Patch>,
    ) {
        self.object_of(&m.object, Want::Free(this), nulls, true);
        if m.optional {
            nulls.push(self.f().jump(Op::JumpIfNullish, this, m.span));
        }
        let mark = self.f().next;
        let key = self.expression(&m.expression, Want::Any);
        self.f().next = mark;
        self.f().abc(Op::GetElem, base, this, key, m.span);
    }

    /// The object of a method: in its own register if it is a variable, else in `this`.
    fn object_register(&mut self, e: &'a Expression<'a>, this: Reg, nulls: &mut Vec<Patch>) -> Reg {
        if let Some(register) = self.local_register(strip(e)) {
            return register;
        }
        self.object_of(e, Want::Free(this), nulls, true);
        this
    }

    /// The register of an expression that is a local variable or `this`.
    fn local_register(&mut self, e: &Expression<'a>) -> Option<Reg> {
        match e {
            Expression::Identifier(id) => {
                let Name::Variable(symbol) = self.resolve(id) else { return None };
                let v = self.variable(symbol);
                if v.early && !v.is_initialised_at(id.span.start)
                    || self.survey.work_of(self.file(), symbol).is_some()
                {
                    return None;
                }
                match self.binding(symbol) {
                    Binding::Register(register) => Some(register),
                    _ => None,
                }
            }
            Expression::ThisExpression(_) => self.this_register(),
            _ => None,
        }
    }

    /// Arguments and the call itself; callee and `this` are in place.
    #[expect(clippy::too_many_arguments, reason = "the parts of one call")]
    pub(super) fn invoke(
        &mut self,
        op: Op,
        spread_op: Op,
        base: Reg,
        arguments: &'a [Argument<'a>],
        want: Want,
        mark: Reg,
        span: Span,
    ) -> Reg {
        let has_spread = arguments.iter().any(|a| matches!(a, Argument::SpreadElement(_)));
        if has_spread || arguments.len() > ARGUMENTS_MAX {
            let list = self.f().take();
            let hint = u32::try_from(arguments.len()).unwrap_or(u32::MAX);
            self.f().abx(Op::NewArray, list, hint, span);
            let inner = self.f().next;
            for argument in arguments {
                match argument {
                    Argument::SpreadElement(s) => {
                        let value = self.expression(&s.argument, Want::Any);
                        self.f().ab(Op::ArraySpread, list, value, s.span);
                    }
                    argument => {
                        if let Some(e) = argument.as_expression() {
                            let value = self.expression(e, Want::Any);
                            self.f().ab(Op::ArrayPush, list, value, e.span());
                        }
                    }
                }
                self.f().next = inner;
            }
            self.f().next = mark;
            let register = self.target(want);
            self.f().ab(spread_op, register, base, span);
            return register;
        }
        let count = self.arguments(arguments);
        self.f().next = mark;
        let register = self.target(want);
        self.f().emit(Instr::abc(op, count, register, base, 0), span);
        register
    }

    /// Arguments without spread into consecutive registers.
    fn arguments(&mut self, arguments: &'a [Argument<'a>]) -> u8 {
        for argument in arguments {
            let register = self.f().take();
            match argument {
                Argument::SpreadElement(s) => {
                    let hint = "name the arguments one by one";
                    self.error("FB0403", s.span, "a call of the host takes no spread", Some(hint));
                }
                argument => {
                    if let Some(e) = argument.as_expression() {
                        self.expression(e, Want::Free(register));
                    }
                }
            }
        }
        u8::try_from(arguments.len()).unwrap_or(u8::MAX)
    }

    pub(super) fn new_expression(&mut self, n: &'a NewExpression<'a>, want: Want) -> Reg {
        if let Expression::Identifier(id) = strip(&n.callee) {
            match self.resolve(id) {
                Name::Global(Global::Date) if n.arguments.is_empty() && self.is_load_time() => {
                    self.error_at_load(n.span, "`new Date()`");
                }
                Name::Global(Global::Function) => {
                    let hint = "code is compiled when it is deployed";
                    self.error("FB0202", id.span, "`Function` can't make functions from text", Some(hint));
                    return self.target(want);
                }
                _ => {}
            }
        }
        let mark = self.f().next;
        let base = self.f().take();
        let _this = self.f().take();
        self.expression(&n.callee, Want::Free(base));
        self.invoke(Op::New, Op::NewSpread, base, &n.arguments, want, mark, n.span)
    }

    pub(super) fn delete(&mut self, e: &'a Expression<'a>, span: Span, want: Want) -> Reg {
        let mark = self.f().next;
        let register = match want {
            Want::Free(register) => register,
            Want::Any | Want::Variable(_) => self.f().take(),
        };
        let mut nulls = Vec::new();
        match strip(e) {
            Expression::StaticMemberExpression(m) if is_super(&m.object) => self.delete_super(None, span),
            Expression::ComputedMemberExpression(m) if is_super(&m.object) => {
                self.delete_super(Some(&m.expression), span)
            }
            Expression::ChainExpression(c) => match &c.expression {
                ChainElement::StaticMemberExpression(m) => self.delete_static(m, register, span, &mut nulls),
                ChainElement::ComputedMemberExpression(m) => {
                    self.delete_computed(m, register, span, &mut nulls)
                }
                ChainElement::TSNonNullExpression(t) => match strip(&t.expression) {
                    Expression::StaticMemberExpression(m) => {
                        self.delete_static(m, register, span, &mut nulls)
                    }
                    Expression::ComputedMemberExpression(m) => {
                        self.delete_computed(m, register, span, &mut nulls)
                    }
                    _ => self.unsupported(span, "this `delete` is", None),
                },
                ChainElement::CallExpression(_) | ChainElement::PrivateFieldExpression(_) => {
                    self.effect(e);
                    self.f().a(Op::LoadTrue, register, span);
                }
            },
            Expression::StaticMemberExpression(m) => self.delete_static(m, register, span, &mut nulls),
            Expression::ComputedMemberExpression(m) => self.delete_computed(m, register, span, &mut nulls),
            _ => {
                self.effect(e);
                self.f().a(Op::LoadTrue, register, span);
            }
        }
        if !nulls.is_empty() {
            let end = self.f().jump(Op::Jump, 0, span);
            self.f().patch_all(nulls);
            self.f().a(Op::LoadTrue, register, span);
            self.f().patch(end);
        }
        match want {
            Want::Any => self.f().next = register + 1,
            Want::Free(_) => self.f().next = mark,
            Want::Variable(to) => {
                self.f().move_to(to, register, span);
                self.f().next = mark;
                return to;
            }
        }
        register
    }

    fn delete_static(
        &mut self,
        m: &'a StaticMemberExpression<'a>,
        to: Reg,
        span: Span,
        nulls: &mut Vec<Patch>,
    ) {
        if self.refuse_host_member(&m.object, m.span).is_none() {
            return;
        }
        let mark = self.f().next;
        let object = self.object_of(&m.object, Want::Any, nulls, false);
        if m.optional {
            nulls.push(self.f().jump(Op::JumpIfNullish, object, m.span));
        }
        let name = self.pool.string(m.property.name.as_str());
        let site = self.f().site(name);
        self.f().abc(Op::DeleteField, to, object, site, span);
        self.f().next = mark;
    }

    fn delete_computed(
        &mut self,
        m: &'a ComputedMemberExpression<'a>,
        to: Reg,
        span: Span,
        nulls: &mut Vec<Patch>,
    ) {
        let mark = self.f().next;
        let object = self.object_of(&m.object, Want::Any, nulls, false);
        if m.optional {
            nulls.push(self.f().jump(Op::JumpIfNullish, object, m.span));
        }
        let object = self.protect(object, m.expression.span());
        let key = self.expression(&m.expression, Want::Any);
        self.f().abc(Op::DeleteElem, to, object, key, span);
        self.f().next = mark;
    }

    // The host.

    /// A host function called by its name.
    fn host_call(&mut self, function: HostFn, c: &'a CallExpression<'a>, want: Want) -> Reg {
        let (least, most) = function.arity();
        let count = c.arguments.len();
        let signature = function.signature();
        if function == HostFn::Req {
            let hint = "it is a value: `req.params.id`, `req.json()`";
            self.error("FB0403", c.span, "`req` isn't a function", Some(hint));
        } else if function == HostFn::TaskId {
            self.error(
                "FB0403",
                c.span,
                "`task.id` isn't a function",
                Some("it is a value: the task's own id"),
            );
        } else if count < least as usize || count > most as usize {
            let message = match (least, most) {
                (0, 0) => format!("`{}` takes no arguments", function.path()),
                (l, m) if l == m => format!("`{}` takes {l} argument{}", function.path(), plural(l)),
                (l, 254) => format!("`{}` takes at least {l} argument{}", function.path(), plural(l)),
                (l, m) => format!("`{}` takes {l} to {m} arguments", function.path()),
            };
            let span = match c.arguments.get(most as usize) {
                Some(surplus) => surplus.span(),
                None => c.span,
            };
            self.error("FB0404", span, message, Some(signature));
        }
        if c.optional {
            self.error("FB0403", c.span, "a host function is always there: call it without `?.`", None);
        }
        if self.is_load_time() {
            self.error_at_load(c.span, &format!("`{}()`", function.path()));
        }
        self.note_use(function);
        let mark = self.f().next;
        let base = self.f().next;
        let n = self.arguments(&c.arguments);
        self.f().next = mark;
        let register = self.target(want);
        let base = if n == 0 { 0 } else { base };
        self.f().emit(Instr::abc(Op::HostCall, n, register, base, function as u16), c.span);
        register
    }

    pub(super) fn error_at_load(&mut self, span: Span, what: &str) {
        let message = format!("{what} can't be used while the module loads");
        let hint = "the top level runs once, without I/O or clocks: call it inside a handler";
        self.error("FB0402", span, message, Some(hint));
    }

    pub(super) fn note_use(&mut self, function: HostFn) {
        self.module.uses |= match function {
            HostFn::Payload => uses::PAYLOAD,
            HostFn::Req => uses::REQUEST,
            HostFn::Db
            | HostFn::DbWhereLambda
            | HostFn::Query
            | HostFn::Tx
            | HostFn::TxBegin
            | HostFn::TxEnd
            | HostFn::CopyIn
            | HostFn::CopyOut
            | HostFn::CursorOpen
            | HostFn::CursorFetch
            | HostFn::CursorClose => uses::DATABASE,
            HostFn::Http | HostFn::HttpRequest => uses::HTTP,
            HostFn::KvGet
            | HostFn::KvSet
            | HostFn::KvDel
            | HostFn::KvExists
            | HostFn::KvSnx
            | HostFn::KvCas
            | HostFn::KvIncr
            | HostFn::KvIterate
            | HostFn::KvScan
            | HostFn::KvBatch => uses::KV,
            HostFn::Cover
            | HostFn::Log
            | HostFn::LogWarn
            | HostFn::LogError
            | HostFn::Now
            | HostFn::Env
            | HostFn::Uuid
            | HostFn::Sleep
            | HostFn::Response
            | HostFn::Html
            | HostFn::TaskId
            | HostFn::TaskWait
            | HostFn::TaskSignal
            | HostFn::TaskPromise
            | HostFn::TaskPromiseMake
            | HostFn::TaskPromiseWait
            | HostFn::TaskStart
            | HostFn::TaskJoin
            | HostFn::TaskCancel
            | HostFn::TaskDefer
            | HostFn::TaskDeferWait
            | HostFn::TaskDeferDone
            | HostFn::TaskFailed
            | HostFn::TaskDeferKept => 0,
        };
    }

    /// A host name used as a value.
    pub(super) fn host_value(&mut self, id: &'a IdentifierReference<'a>, want: Want) -> Reg {
        let name = id.name.as_str();
        match self.resolve(id) {
            Name::Host(HostFn::Req) => {
                if self.is_load_time() {
                    self.error_at_load(id.span, "`req`");
                }
                self.note_use(HostFn::Req);
                let register = self.target(want);
                self.f().emit(Instr::abc(Op::HostCall, 0, register, 0, HostFn::Req as u16), id.span);
                return register;
            }
            Name::Host(function) => {
                let arguments = if function.arity().1 == 0 { "" } else { "x" };
                let hint = format!("call it, or wrap it: `{arguments} => {name}({arguments})`")
                    .replace("` =>", "`() =>");
                self.error("FB0405", id.span, format!("`{name}` is not a value"), Some(&hint));
            }
            _ => {
                let members: Vec<&str> = host::members(name).collect();
                let hint = format!("call one of its functions: {}", members.join(", "));
                self.error("FB0405", id.span, format!("`{name}` is not a value"), Some(&hint));
            }
        }
        self.target(want)
    }

    /// A member of a host name that isn't a call of a host function.
    fn host_member_value(&mut self, id: &'a IdentifierReference<'a>, m: &'a StaticMemberExpression<'a>) {
        let path = format!("{}.{}", id.name, m.property.name);
        if HostFn::from_path(&path).is_some() {
            let hint = format!("call it, or wrap it: `x => {path}(x)`");
            self.error("FB0405", m.span, format!("`{path}` is not a value"), Some(&hint));
            return;
        }
        if !host::is_namespace(&id.name) {
            let hint = format!("call it: `{}()`", id.name);
            self.error("FB0405", id.span, format!("`{}` is a function, not a value", id.name), Some(&hint));
            return;
        }
        let hint = did_you_mean(&m.property.name, host::members(&id.name)).unwrap_or_else(|| {
            let members: Vec<&str> = host::members(&id.name).collect();
            format!("there are {}", members.join(", "))
        });
        self.error("FB0406", m.property.span, format!("there is no `{path}`"), Some(&hint));
    }

    /// Looks at a member of `req`, or of a handler's parameter.
    fn check_request(&mut self, m: &'a StaticMemberExpression<'a>) {
        let Expression::Identifier(id) = strip(&m.object) else { return };
        let is_request = match self.resolve(id) {
            Name::Host(HostFn::Req) => true,
            Name::Variable(symbol) => self.file() == 0 && self.requests.contains(&symbol),
            _ => false,
        };
        if is_request {
            self.check_request_member(&m.property.name, m.property.span);
        }
    }

    /// Warns of a property that no request has: it reads as undefined.
    pub(super) fn check_request_member(&mut self, name: &str, span: Span) {
        // What every object has.
        const INHERITED: &[&str] = &["constructor", "hasOwnProperty", "toString", "valueOf"];
        if host::REQUEST_MEMBERS.contains(&name) || INHERITED.contains(&name) {
            return;
        }
        let hint = did_you_mean(name, host::REQUEST_MEMBERS.iter().copied())
            .unwrap_or_else(|| format!("there are {}", host::REQUEST_MEMBERS.join(", ")));
        self.warning("FB0408", span, format!("a request has no `{name}`"), Some(&hint));
    }

    /// Reports writes to and deletes of host names' members; `None` if it did.
    pub(super) fn refuse_host_member(&mut self, object: &Expression<'a>, span: Span) -> Option<()> {
        if let Expression::Identifier(id) = strip(object)
            && let Name::Host(_) | Name::Namespace = self.resolve(id)
            && !matches!(self.resolve(id), Name::Host(HostFn::Req))
        {
            self.error("FB0206", span, format!("`{}` is built in and can't be changed", id.name), None);
            return None;
        }
        Some(())
    }

    fn refuse_clocks_at_load(&mut self, global: Global, member: &str, span: Span) {
        if !self.is_load_time() {
            return;
        }
        match (global, member) {
            (Global::Math, "random") => self.error_at_load(span, "`Math.random()`"),
            (Global::Date, "now") => self.error_at_load(span, "`Date.now()`"),
            _ => {}
        }
    }

    /// The host function at the root of a chain, if it waits for something.
    fn effect_root(&self, e: &Expression<'a>) -> Option<HostFn> {
        let mut e = strip(e);
        let mut is_link = false;
        loop {
            match e {
                Expression::CallExpression(c) => {
                    let callee = strip(&c.callee);
                    match callee {
                        Expression::Identifier(id) => {
                            let Name::Host(function) = self.resolve(id) else { return None };
                            let waits = function.kind() == HostKind::Effect
                                || (is_link && matches!(function, HostFn::Db | HostFn::Http));
                            return waits.then_some(function);
                        }
                        Expression::StaticMemberExpression(m) => {
                            if let Expression::Identifier(id) = strip(&m.object)
                                && matches!(self.resolve(id), Name::Host(_) | Name::Namespace)
                            {
                                let path = format!("{}.{}", id.name, m.property.name);
                                return HostFn::from_path(&path).filter(|f| f.kind() == HostKind::Effect);
                            }
                            is_link = true;
                            e = strip(&m.object);
                        }
                        _ => return None,
                    }
                }
                Expression::StaticMemberExpression(m) => e = strip(&m.object),
                Expression::AwaitExpression(_) => return None,
                _ => return None,
            }
        }
    }

    /// The host function at the root of a chain of calls.
    pub(super) fn is_rooted_in_db(&self, e: &Expression<'a>) -> bool {
        self.effect_root(e) == Some(HostFn::Db)
            || matches!(strip(e), Expression::CallExpression(c)
                if matches!(strip(&c.callee), Expression::Identifier(id)
                    if matches!(self.resolve(id), Name::Host(HostFn::Db))))
    }

    /// Host calls inside Promise combinators and before `.then`: they give values.
    fn refuse_promised_effects(&mut self, c: &'a CallExpression<'a>) {
        let Expression::StaticMemberExpression(m) = strip(&c.callee) else { return };
        let method = m.property.name.as_str();
        if matches!(method, "then" | "catch" | "finally")
            && let Some(function) = self.effect_root(&m.object)
        {
            let name = function.path();
            let hint = format!(
                "it waits and gives its value: `const x = {name}(...)`; a promise of it is `(async () => {name}(...))()`"
            );
            let message = format!("`{name}` gives a value, not a promise");
            self.error("FB0407", m.property.span, message, Some(&hint));
        }
        let is_promise = matches!(strip(&m.object), Expression::Identifier(id)
            if matches!(self.resolve(id), Name::Global(Global::Promise)));
        if !is_promise || !matches!(method, "all" | "any" | "race" | "allSettled") {
            return;
        }
        let Some(Argument::ArrayExpression(list)) = c.arguments.first() else { return };
        for element in &list.elements {
            let Some(e) = element.as_expression() else { continue };
            if let Some(function) = self.effect_root(e) {
                let text = self.files.list[self.file()].text.clone();
                let source = &text[e.span().start as usize..e.span().end as usize];
                let short = if source.len() <= 40 && !source.contains('\n') { source } else { "..." };
                let hint = format!(
                    "make each its own task: `Promise.{method}([async () => {short}].map(f => f()))`, or `ids.map(async id => ...)`"
                );
                let message = format!("`{}` waits before the next element runs", function.path());
                self.error("FB0407", e.span(), message, Some(&hint));
            }
        }
    }

    /// Whether a chain's calls contain insert, update or delete: it is executed at
    /// its end.
    fn ends_with_verb(&self, e: &Expression<'a>) -> bool {
        let mut call = match e {
            Expression::CallExpression(c) => &**c,
            Expression::ChainExpression(c) => match &c.expression {
                ChainElement::CallExpression(c) => &**c,
                _ => return false,
            },
            _ => return false,
        };
        loop {
            let Expression::StaticMemberExpression(m) = strip(&call.callee) else { return false };
            if matches!(m.property.name.as_str(), "insert" | "update" | "delete") {
                return true;
            }
            let Expression::CallExpression(inner) = strip(&m.object) else { return false };
            call = inner;
        }
    }
}

fn plural(count: u8) -> &'static str {
    if count == 1 { "" } else { "s" }
}
