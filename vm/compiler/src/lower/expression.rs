//! Expressions, computed into a wanted register.
//!
//! With [`Want::Any`] the result is a variable's own register or the register at
//! the top of the stack; everything above it is given back. An operand that is a
//! variable's register is copied first if a later operand assigns the variable.

use forebay_bytecode::module::function_flags;
use forebay_bytecode::{Instr, Op};
use oxc_ast::ast::{
    ArrayExpression, ArrayExpressionElement, BinaryExpression, ConditionalExpression, Expression,
    IdentifierReference, LogicalExpression, ObjectExpression, ObjectPropertyKind, PropertyKey, PropertyKind,
    TemplateLiteral, UnaryExpression,
};
use oxc_span::{GetSpan, Span};
use oxc_syntax::operator::{BinaryOperator, LogicalOperator, UnaryOperator};

use super::function::{Form, strip};
use super::{Label, Lower, Name, Want};
use crate::emit::{Patch, Reg};

impl<'a> Lower<'_, 'a> {
    /// Computes an expression.
    pub(super) fn expression(&mut self, e: &'a Expression<'a>, want: Want) -> Reg {
        let span = e.span();
        match e {
            Expression::BooleanLiteral(l) => {
                self.simple(if l.value { Op::LoadTrue } else { Op::LoadFalse }, want, span)
            }
            Expression::NullLiteral(_) => self.simple(Op::LoadNull, want, span),
            Expression::NumericLiteral(l) => self.number(l.value, want, span),
            Expression::BigIntLiteral(l) => {
                let constant = self.pool.big_int(l.value.as_str());
                self.constant(constant, want, span)
            }
            Expression::StringLiteral(l) => {
                let value = l.value.as_str();
                let constant =
                    if l.lone_surrogates { self.pool.escaped(value) } else { self.pool.string(value) };
                self.constant(constant, want, span)
            }
            Expression::RegExpLiteral(l) => {
                let literal = match &l.raw {
                    Some(raw) => raw.to_string(),
                    None => format!("/{}/{}", l.regex.pattern.text, l.regex.flags),
                };
                self.regexp(&literal, want, span)
            }
            Expression::TemplateLiteral(t) => self.template(t, want),
            Expression::Identifier(id) => self.identifier(id, want),
            Expression::ArrayExpression(a) => self.array(a, want),
            Expression::ObjectExpression(o) => self.object(o, want),
            Expression::ArrowFunctionExpression(_) | Expression::FunctionExpression(_) => {
                self.named_expression(e, "", want)
            }
            Expression::AssignmentExpression(a) => self.assignment(a, want),
            Expression::UpdateExpression(u) => self.update(u, want, true),
            Expression::BinaryExpression(b) => self.binary(b, want),
            Expression::LogicalExpression(l) => self.logical(l, want),
            Expression::ConditionalExpression(c) => self.conditional(c, want),
            Expression::UnaryExpression(u) => self.unary(u, want),
            Expression::SequenceExpression(s) => {
                let Some((last, rest)) = s.expressions.split_last() else { return self.target(want) };
                for e in rest {
                    self.effect(e);
                }
                self.expression(last, want)
            }
            Expression::AwaitExpression(a) => {
                self.note_await(span);
                let mark = self.f().next;
                let value = self.expression(&a.argument, Want::Any);
                self.f().next = mark;
                let register = self.target(want);
                self.f().ab(Op::Await, register, value, span);
                register
            }
            Expression::ThisExpression(_) => self.this(want, span),
            Expression::CallExpression(_)
            | Expression::ChainExpression(_)
            | Expression::StaticMemberExpression(_)
            | Expression::ComputedMemberExpression(_)
            | Expression::PrivateFieldExpression(_) => self.chain(e, want),
            Expression::NewExpression(n) => self.new_expression(n, want),
            Expression::ParenthesizedExpression(p) => self.expression(&p.expression, want),
            Expression::TSAsExpression(t) => self.expression(&t.expression, want),
            Expression::TSSatisfiesExpression(t) => self.expression(&t.expression, want),
            Expression::TSTypeAssertion(t) => self.expression(&t.expression, want),
            Expression::TSNonNullExpression(t) => self.expression(&t.expression, want),
            Expression::TSInstantiationExpression(t) => self.expression(&t.expression, want),
            Expression::ClassExpression(c) => self.class(c, Label::Text(""), want),
            Expression::Super(_) => self.refuse(span, "`super` is", want),
            Expression::ImportExpression(_) => self.refuse(span, "`import()` is", want),
            Expression::TaggedTemplateExpression(t) => self.tagged_template(t, want),
            Expression::YieldExpression(y) => self.yield_expression(y, want),
            Expression::PrivateInExpression(p) => {
                let mark = self.f().next;
                let object = self.expression(&p.right, Want::Any);
                let key = self.private_key(&p.left);
                self.f().next = mark;
                let register = self.target(want);
                self.f().abc(Op::HasPrivate, register, key, object, span);
                register
            }
            Expression::ImportMeta(_) => self.refuse(span, "`import.meta` is", want),
            Expression::NewTarget(_) => self.new_target(want, span),
            Expression::JSXElement(_) | Expression::JSXFragment(_) => self.refuse(span, "JSX is", want),
            Expression::V8IntrinsicExpression(_) => self.refuse(span, "this is", want),
        }
    }

    fn refuse(&mut self, span: Span, what: &str, want: Want) -> Reg {
        self.unsupported(span, what, None);
        self.target(want)
    }

    /// Computes an expression whose value may be a function or class that takes `name`.
    pub(super) fn named_expression(&mut self, e: &'a Expression<'a>, name: &str, want: Want) -> Reg {
        self.labelled_expression(e, Label::Text(name), want)
    }

    /// The same with a name that may be known at run time only.
    pub(super) fn labelled_expression(&mut self, e: &'a Expression<'a>, label: Label<'_>, want: Want) -> Reg {
        let name = match label {
            Label::Text(name) => name,
            Label::Key(key) => {
                let is_anonymous = match strip(e) {
                    Expression::ClassExpression(c) => return self.class(c, label, want),
                    Expression::ArrowFunctionExpression(_) => true,
                    Expression::FunctionExpression(f) => f.id.is_none(),
                    _ => false,
                };
                let register = self.named_expression(e, "", want);
                if is_anonymous {
                    self.f().ab(Op::NameFunction, register, key, e.span());
                }
                return register;
            }
        };
        match strip(e) {
            Expression::ClassExpression(c) => self.class(c, label, want),
            Expression::ArrowFunctionExpression(arrow) => {
                let index = self.arrow(arrow, name);
                self.closure(index, want, arrow.span)
            }
            Expression::FunctionExpression(function) => {
                let index = self.function(function, name, Form::Plain);
                self.closure(index, want, function.span)
            }
            _ => self.expression(e, want),
        }
    }

    /// Runs an expression for its effects.
    pub(super) fn effect(&mut self, e: &'a Expression<'a>) {
        let mark = self.f().next;
        match strip(e) {
            Expression::UpdateExpression(u) => {
                self.update(u, Want::Any, false);
            }
            Expression::LogicalExpression(l) => {
                let done = self.f_logical_effect(l);
                self.effect(&l.right);
                self.f().patch_all(done);
            }
            Expression::ConditionalExpression(c) => {
                let otherwise = self.condition(&c.test, false);
                self.effect(&c.consequent);
                let end = self.f().jump(Op::Jump, 0, c.span);
                self.f().patch_all(otherwise);
                self.effect(&c.alternate);
                self.f().patch(end);
            }
            _ => {
                self.expression(e, Want::Any);
            }
        }
        self.f().next = mark;
    }

    fn f_logical_effect(&mut self, l: &'a LogicalExpression<'a>) -> Vec<Patch> {
        match l.operator {
            LogicalOperator::And => self.condition(&l.left, false),
            LogicalOperator::Or => self.condition(&l.left, true),
            LogicalOperator::Coalesce => {
                let mark = self.f().next;
                let left = self.expression(&l.left, Want::Any);
                self.f().next = mark;
                vec![self.f().jump(Op::JumpIfNotNullish, left, l.span)]
            }
        }
    }

    /// Computes an operand that is read only after `later` has run.
    pub(super) fn operand(&mut self, e: &'a Expression<'a>, later: Span) -> Reg {
        let register = self.expression(e, Want::Any);
        self.protect(register, later)
    }

    /// Jumps if the truth of `e` is `when`; falls through otherwise.
    pub(super) fn condition(&mut self, e: &'a Expression<'a>, when: bool) -> Vec<Patch> {
        match strip(e) {
            Expression::UnaryExpression(u) if u.operator == UnaryOperator::LogicalNot => {
                self.condition(&u.argument, !when)
            }
            Expression::LogicalExpression(l) if l.operator != LogicalOperator::Coalesce => {
                let stops = l.operator == LogicalOperator::Or;
                if stops == when {
                    let mut jumps = self.condition(&l.left, when);
                    jumps.extend(self.condition(&l.right, when));
                    jumps
                } else {
                    let skip = self.condition(&l.left, stops);
                    let jumps = self.condition(&l.right, when);
                    self.f().patch_all(skip);
                    jumps
                }
            }
            Expression::BooleanLiteral(b) => {
                if b.value == when {
                    vec![self.f().jump(Op::Jump, 0, b.span)]
                } else {
                    Vec::new()
                }
            }
            e => {
                let mark = self.f().next;
                let register = self.expression(e, Want::Any);
                self.f().next = mark;
                let op = if when { Op::JumpIfTrue } else { Op::JumpIfFalse };
                vec![self.f().jump(op, register, e.span())]
            }
        }
    }

    pub(super) fn simple(&mut self, op: Op, want: Want, span: Span) -> Reg {
        let register = self.target(want);
        self.f().a(op, register, span);
        register
    }

    fn constant(&mut self, constant: u32, want: Want, span: Span) -> Reg {
        let register = self.target(want);
        self.f().abx(Op::LoadConst, register, constant, span);
        register
    }

    #[expect(clippy::cast_possible_truncation, reason = "compared with the number it came from")]
    pub(super) fn number(&mut self, value: f64, want: Want, span: Span) -> Reg {
        let int = value as i32;
        if f64::from(int) == value && !(value == 0.0 && value.is_sign_negative()) {
            let register = self.target(want);
            self.f().emit(Instr::asbx(Op::LoadInt, register, int), span);
            return register;
        }
        let constant = self.pool.number(value);
        self.constant(constant, want, span)
    }

    pub(super) fn string(&mut self, value: &str, want: Want, span: Span) -> Reg {
        let constant = self.pool.string(value);
        self.constant(constant, want, span)
    }

    fn identifier(&mut self, id: &'a IdentifierReference<'a>, want: Want) -> Reg {
        match self.resolve(id) {
            Name::Variable(symbol) => {
                if self.survey.work_of(self.file(), symbol).is_some() {
                    let message = format!("`{}` is a work, known at build time: it has no value", id.name);
                    let hint = format!("go on with its chain at the top level: `{}.get(...)`", id.name);
                    self.error("FB0502", id.span, message, Some(&hint));
                    return self.target(want);
                }
                self.load_variable(symbol, want, id.span)
            }
            Name::Class(cell) => self.hidden_content(cell, want, id.span),
            Name::Import(target) => {
                let register = self.target(want);
                self.import_into(target, register, id.span);
                register
            }
            Name::Undefined => self.simple(Op::LoadUndefined, want, id.span),
            Name::Arguments => self.arguments_object(want, id.span),
            Name::Global(global) => {
                let register = self.target(want);
                self.f().abx(Op::LoadGlobal, register, global as u32, id.span);
                register
            }
            Name::Property => {
                let register = self.target(want);
                let name = self.pool.string(id.name.as_str());
                self.f().abx(Op::GetName, register, name, id.span);
                register
            }
            Name::Host(_) | Name::Namespace => self.host_value(id, want),
            Name::Unknown if id.name == "work" => {
                let hint = "a chain stands as a statement of its own, or as `const w = work(\"Name\")...`";
                self.error("FB0501", id.span, "a work() chain is read at build time", Some(hint));
                self.target(want)
            }
            Name::Unknown => {
                self.unknown_name(id);
                self.target(want)
            }
        }
    }

    fn template(&mut self, t: &'a TemplateLiteral<'a>, want: Want) -> Reg {
        let mark = self.f().next;
        // The constant of a piece of text, unless it is empty.
        let text = |this: &mut Self, i: usize| -> Option<u32> {
            let quasi = &t.quasis[i];
            let value = quasi.value.cooked.map_or("", |c| c.as_str());
            if quasi.lone_surrogates {
                return Some(this.pool.escaped(value));
            }
            (!value.is_empty()).then(|| this.pool.string(value))
        };
        if t.expressions.is_empty() {
            let only = text(self, 0).unwrap_or_else(|| self.pool.string(""));
            return self.constant(only, want, t.span);
        }
        let register = match want {
            Want::Any => self.f().take(),
            Want::Free(r) | Want::Variable(r) => r,
        };
        let first = self.f().next;
        let mut count: usize = 0;
        let flush = |this: &mut Self, count: &mut usize| {
            // More parts than fit: join what there is and go on with it.
            if *count == 255 {
                this.f().emit(Instr::abc(Op::Concat, 255, first, first, 0), t.span);
                this.f().next = first + 1;
                *count = 1;
            }
        };
        for i in 0..t.quasis.len() {
            if let Some(quasi) = text(self, i) {
                flush(self, &mut count);
                let part = self.f().take();
                self.constant(quasi, Want::Free(part), t.quasis[i].span);
                count += 1;
            }
            if let Some(e) = t.expressions.get(i) {
                flush(self, &mut count);
                let part = self.f().take();
                self.expression(e, Want::Free(part));
                count += 1;
            }
        }
        let n = u8::try_from(count).unwrap_or(u8::MAX);
        self.f().emit(Instr::abc(Op::Concat, n, register, first, 0), t.span);
        self.f().next = if register >= mark { register + 1 } else { mark };
        register
    }

    /// A register to build a value in piece by piece.
    pub(super) fn building(&mut self, want: Want) -> Reg {
        match want {
            Want::Free(register) => register,
            Want::Any | Want::Variable(_) => self.f().take(),
        }
    }

    /// Delivers what was built.
    pub(super) fn built(&mut self, register: Reg, want: Want, mark: Reg, span: Span) -> Reg {
        match want {
            Want::Any => {
                self.f().next = register + 1;
                register
            }
            Want::Free(_) => {
                self.f().next = mark;
                register
            }
            Want::Variable(to) => {
                self.f().move_to(to, register, span);
                self.f().next = mark;
                to
            }
        }
    }

    fn array(&mut self, a: &'a ArrayExpression<'a>, want: Want) -> Reg {
        let mark = self.f().next;
        let register = self.building(want);
        let hint = u32::try_from(a.elements.len()).unwrap_or(u32::MAX);
        self.f().abx(Op::NewArray, register, hint, a.span);
        let inner = self.f().next;
        for element in &a.elements {
            match element {
                ArrayExpressionElement::SpreadElement(s) => {
                    let value = self.expression(&s.argument, Want::Any);
                    self.f().ab(Op::ArraySpread, register, value, s.span);
                }
                ArrayExpressionElement::Elision(hole) => self.f().a(Op::ArrayHole, register, hole.span),
                element => {
                    if let Some(e) = element.as_expression() {
                        let value = self.expression(e, Want::Any);
                        self.f().ab(Op::ArrayPush, register, value, e.span());
                    }
                }
            }
            self.f().next = inner;
        }
        self.built(register, want, mark, a.span)
    }

    fn object(&mut self, o: &'a ObjectExpression<'a>, want: Want) -> Reg {
        let mark = self.f().next;
        let register = self.building(want);
        let hint = u32::try_from(o.properties.len()).unwrap_or(u32::MAX);
        self.f().abx(Op::NewObject, register, hint, o.span);
        let home = self.hide(register);
        let inner = self.f().next;
        for property in &o.properties {
            match property {
                ObjectPropertyKind::SpreadProperty(s) => {
                    let value = self.expression(&s.argument, Want::Any);
                    self.f().ab(Op::ObjectSpread, register, value, s.span);
                }
                ObjectPropertyKind::ObjectProperty(p) => {
                    let name = self.static_key(&p.key, p.computed);
                    if name.as_deref() == Some("__proto__")
                        && !p.computed
                        && !p.shorthand
                        && !p.method
                        && p.kind == PropertyKind::Init
                    {
                        let value = self.expression(&p.value, Want::Any);
                        self.f().ab(Op::SetProto, register, value, p.span);
                    } else {
                        self.property(register, home, p, name);
                    }
                }
            }
            self.f().next = inner;
        }
        self.built(register, want, mark, o.span)
    }

    fn property(
        &mut self,
        object: Reg,
        home: u32,
        p: &'a oxc_ast::ast::ObjectProperty<'a>,
        name: Option<String>,
    ) {
        let is_accessor = p.kind != PropertyKind::Init;
        let key = match &name {
            Some(_) if !is_accessor => None,
            Some(name) => {
                let register = self.f().take();
                self.string(name, Want::Free(register), p.key.span());
                Some(register)
            }
            None => {
                let register = self.f().take();
                match p.key.as_expression() {
                    Some(key) => {
                        self.expression(key, Want::Free(register));
                        self.f().ab(Op::ToPropertyKey, register, register, key.span());
                    }
                    None => self.unsupported(p.key.span(), "private names are", None),
                }
                Some(register)
            }
        };
        let own_name = name.as_deref().unwrap_or("");
        let value = match &p.value {
            Expression::FunctionExpression(f) if p.method || is_accessor => {
                let (kind, prefix) = match p.kind {
                    PropertyKind::Init => (0, ""),
                    PropertyKind::Get => (1, "get "),
                    PropertyKind::Set => (2, "set "),
                };
                let form = Form::Method { home: Some(home) };
                let index = self.function(f, &format!("{prefix}{own_name}"), form);
                let value = self.closure(index, Want::Any, f.span);
                if let (Some(key), None) = (key, &name) {
                    self.f().emit(Instr::abc(Op::NameFunction, kind, value, key, 0), f.span);
                }
                value
            }
            value => {
                let label = match (key, &name) {
                    (Some(key), None) => Label::Key(key),
                    _ => Label::Text(own_name),
                };
                self.labelled_expression(value, label, Want::Any)
            }
        };
        let span = p.span;
        match (p.kind, key, name) {
            (PropertyKind::Init, None, Some(name)) => {
                let name = self.pool.string(&name);
                let site = self.f().site(name);
                self.f().abc(Op::DefField, object, value, site, span);
            }
            (PropertyKind::Init, Some(key), _) => self.f().abc(Op::DefElem, object, key, value, span),
            (PropertyKind::Get, Some(key), _) => self.f().abc(Op::DefGetter, object, key, value, span),
            (PropertyKind::Set, Some(key), _) => self.f().abc(Op::DefSetter, object, key, value, span),
            (_, None, _) => self.error("FB0999", span, "this property can't be compiled", None),
        }
    }

    /// The name of a key that is known at build time and not an array index.
    pub(super) fn static_key(&mut self, key: &'a PropertyKey<'a>, computed: bool) -> Option<String> {
        match key {
            PropertyKey::StaticIdentifier(id) => Some(id.name.to_string()),
            PropertyKey::PrivateIdentifier(_) => None,
            key if computed => self.constant_key(key.as_expression()?),
            PropertyKey::StringLiteral(s) if !s.lone_surrogates && !is_index(&s.value) => {
                Some(s.value.to_string())
            }
            _ => None,
        }
    }

    /// The name of a computed key that is a string literal and not an array index.
    pub(super) fn constant_key(&mut self, e: &Expression<'a>) -> Option<String> {
        match e {
            Expression::StringLiteral(s) if !s.lone_surrogates && !is_index(&s.value) => {
                Some(s.value.to_string())
            }
            Expression::TemplateLiteral(t) if t.expressions.is_empty() => {
                let quasi = t.quasis.first()?;
                let text = quasi.value.cooked?.to_string();
                (!quasi.lone_surrogates && !is_index(&text)).then_some(text)
            }
            _ => None,
        }
    }

    fn binary(&mut self, b: &'a BinaryExpression<'a>, want: Want) -> Reg {
        // Chains to the left (`a + b + c + ...`) are unrolled, so that long ones
        // cost neither Rust stack nor registers.
        let mut chain = vec![b];
        let mut e = &b.left;
        while let Expression::BinaryExpression(inner) = e {
            chain.push(inner);
            e = &inner.left;
        }
        let mark = self.f().next;
        let mut left: Option<Reg> = None;
        while let Some(b) = chain.pop() {
            let is_last = chain.is_empty();
            let later = Span::new(b.left.span().end, b.right.span().end);
            let before = match left {
                Some(register) => register,
                None => self.operand(&b.left, later),
            };
            let right = self.expression(&b.right, Want::Any);
            self.f().next = mark;
            let to = if is_last { self.target(want) } else { self.f().take() };
            self.f().abc(binary_op(b.operator), to, before, right, b.span);
            left = Some(to);
        }
        left.unwrap_or(mark)
    }

    fn logical(&mut self, l: &'a LogicalExpression<'a>, want: Want) -> Reg {
        let mark = self.f().next;
        let register = self.building(want);
        self.expression(&l.left, Want::Free(register));
        let op = match l.operator {
            LogicalOperator::And => Op::JumpIfFalse,
            LogicalOperator::Or => Op::JumpIfTrue,
            LogicalOperator::Coalesce => Op::JumpIfNotNullish,
        };
        let done = self.f().jump(op, register, l.span);
        self.expression(&l.right, Want::Free(register));
        self.f().patch(done);
        self.built(register, want, mark, l.span)
    }

    fn conditional(&mut self, c: &'a ConditionalExpression<'a>, want: Want) -> Reg {
        let otherwise = self.condition(&c.test, false);
        // Each branch writes a variable last, too.
        let (register, want) = match want {
            Want::Any => {
                let register = self.f().take();
                (register, Want::Free(register))
            }
            Want::Free(register) | Want::Variable(register) => (register, want),
        };
        self.expression(&c.consequent, want);
        let end = self.f().jump(Op::Jump, 0, c.span);
        self.f().patch_all(otherwise);
        self.expression(&c.alternate, want);
        self.f().patch(end);
        register
    }

    fn unary(&mut self, u: &'a UnaryExpression<'a>, want: Want) -> Reg {
        let op = match u.operator {
            UnaryOperator::UnaryNegation => {
                if let Expression::NumericLiteral(n) = &u.argument {
                    return self.number(-n.value, want, u.span);
                }
                if let Expression::BigIntLiteral(n) = &u.argument
                    && n.value.as_str() != "0"
                {
                    let constant = self.pool.big_int(&format!("-{}", n.value));
                    return self.constant(constant, want, u.span);
                }
                Op::Neg
            }
            UnaryOperator::UnaryPlus => Op::ToNumber,
            UnaryOperator::LogicalNot => Op::Not,
            UnaryOperator::BitwiseNot => Op::BitNot,
            UnaryOperator::Typeof => {
                if let Expression::Identifier(id) = &u.argument
                    && matches!(self.resolve(id), Name::Property)
                {
                    let register = self.target(want);
                    let name = self.pool.string(id.name.as_str());
                    self.f().emit(Instr::abx(Op::GetName, register, name).with_n(1), id.span);
                    self.f().ab(Op::TypeOf, register, register, u.span);
                    return register;
                }
                if let Expression::Identifier(id) = &u.argument
                    && matches!(self.resolve(id), Name::Unknown)
                    && id.reference_id.get().is_none_or(|r| {
                        self.files.list[self.file()].semantic.scoping().get_reference(r).symbol_id().is_none()
                    })
                {
                    return self.string("undefined", want, u.span);
                }
                Op::TypeOf
            }
            UnaryOperator::Void => {
                self.effect(&u.argument);
                return self.simple(Op::LoadUndefined, want, u.span);
            }
            UnaryOperator::Delete => return self.delete(&u.argument, u.span, want),
        };
        let mark = self.f().next;
        let value = self.expression(&u.argument, Want::Any);
        self.f().next = mark;
        let register = self.target(want);
        self.f().ab(op, register, value, u.span);
        register
    }

    /// A regular expression: refused here if it would throw at run time.
    fn regexp(&mut self, literal: &str, want: Want, span: Span) -> Reg {
        let (source, flags) = literal[1..].rsplit_once('/').unwrap_or((literal, ""));
        match forebay_regex::Flags::parse(flags) {
            None => {
                let (message, hint) = if flags.contains('v') {
                    (
                        "the flag `v` is not supported",
                        "`u` has `\\p{Letter}` and its kin; sets are spelled out",
                    )
                } else {
                    (
                        "these flags are not those of a regular expression",
                        "d, g, i, m, s, u and y are known, each at most once",
                    )
                };
                self.error("FB0302", span, message, Some(hint));
            }
            Some(flags) => {
                if let Err(error) = forebay_regex::Program::compile(source.as_bytes(), flags) {
                    let at = span.start + 1 + u32::try_from(error.at).unwrap_or(0);
                    let here = Span::new(at.min(span.end - 1), (at + 1).min(span.end));
                    self.error("FB0302", here, format!("this regular expression is invalid: {error}"), None);
                }
            }
        }
        let constant = self.pool.string(literal);
        let register = self.target(want);
        self.f().abx(Op::NewRegExp, register, constant, span);
        register
    }

    /// An `await` in the function under construction.
    pub(super) fn note_await(&mut self, span: Span) {
        let is_top_level = self.functions.len() == 1;
        if !is_top_level {
            return;
        }
        if self.f().flags & function_flags::INIT != 0 {
            let hint = "a module's top level runs once at load, without I/O: await inside a handler";
            self.error("FB0402", span, "the top level of a module can't wait", Some(hint));
        } else {
            self.f().flags |= function_flags::ASYNC;
        }
    }
}

/// Whether a key is an array index, which is read as an element.
fn is_index(key: &str) -> bool {
    key == "0"
        || (!key.starts_with('0')
            && key.len() <= 10
            && key.bytes().all(|b| b.is_ascii_digit())
            && !key.is_empty())
}

fn binary_op(operator: BinaryOperator) -> Op {
    match operator {
        BinaryOperator::Equality => Op::Eq,
        BinaryOperator::Inequality => Op::Ne,
        BinaryOperator::StrictEquality => Op::StrictEq,
        BinaryOperator::StrictInequality => Op::StrictNe,
        BinaryOperator::LessThan => Op::Lt,
        BinaryOperator::LessEqualThan => Op::Le,
        BinaryOperator::GreaterThan => Op::Gt,
        BinaryOperator::GreaterEqualThan => Op::Ge,
        BinaryOperator::Addition => Op::Add,
        BinaryOperator::Subtraction => Op::Sub,
        BinaryOperator::Multiplication => Op::Mul,
        BinaryOperator::Division => Op::Div,
        BinaryOperator::Remainder => Op::Rem,
        BinaryOperator::Exponential => Op::Pow,
        BinaryOperator::ShiftLeft => Op::Shl,
        BinaryOperator::ShiftRight => Op::Shr,
        BinaryOperator::ShiftRightZeroFill => Op::UShr,
        BinaryOperator::BitwiseOR => Op::BitOr,
        BinaryOperator::BitwiseXOR => Op::BitXor,
        BinaryOperator::BitwiseAnd => Op::BitAnd,
        BinaryOperator::In => Op::In,
        BinaryOperator::Instanceof => Op::InstanceOf,
    }
}
