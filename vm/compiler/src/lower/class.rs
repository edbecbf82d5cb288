//! Classes. ECMA-262 section 15.7.14, in its order of evaluation:
//!
//! ```text
//!   name        the binding inside the class: a cell, empty until all members are there
//!   heritage    evaluated and checked; its `prototype` is read
//!   names       a private name for each #name of the body
//!   prototype   the home object of methods
//!   constructor over all of these: makes `this` or calls super, then initialises the fields
//!   members     methods and accessors; keys of fields, each evaluated once
//!   statics     private methods, then fields and blocks: each a function, called with the class as `this`
//! ```
//!
//! A class that extends nothing, or has no constructor of its own, has its fields' initialisers in the
//! constructor itself: `new` is one call. Otherwise they are a function that `super(...)` calls.

use std::collections::HashMap;

use forebay_bytecode::module::function_flags;
use forebay_bytecode::{FunctionIndex, Instr, Op};
use oxc_ast::ast::{
    Class, ClassElement, Expression, MethodDefinition, MethodDefinitionKind, PropertyDefinition, PropertyKey,
    Statement, StaticBlock,
};
use oxc_span::{GetSpan, Span};
use oxc_syntax::scope::ScopeId;

use super::function::Form;
use super::{Binding, Label, Lower, Want};
use crate::emit::{Builder, Constructor, Control, Reg};

/// What a constructor does besides its body.
pub(super) struct Plan<'a> {
    pub(super) home: u32,
    pub(super) derived: bool,
    /// The hidden cell of the function that initialises fields, if `super(...)` calls it.
    pub(super) fields_cell: Option<u32>,
    /// Private methods and accessors of instances: hidden name and function, what it is.
    methods: Vec<(u32, u32, u8)>,
    fields: Vec<Field<'a>>,
}

struct Field<'a> {
    definition: &'a PropertyDefinition<'a>,
    key: FieldKey<'a>,
}

enum FieldKey<'a> {
    Name(String),
    /// A number, or a string that is an index.
    Literal(&'a Expression<'a>),
    /// Evaluated with the class: hidden variable, and whether that is a cell.
    Computed(u32, bool),
    /// A hidden private name, and its text.
    Private(u32, &'a str),
}

/// What runs when the class is there, in the order of the text.
enum Static<'a> {
    Field(Field<'a>),
    Block(&'a StaticBlock<'a>),
}

/// Operand n of DefPrivate, DefGetter's kin and NameFunction.
fn accessor_kind(kind: MethodDefinitionKind) -> (u8, &'static str) {
    match kind {
        MethodDefinitionKind::Constructor | MethodDefinitionKind::Method => (0, ""),
        MethodDefinitionKind::Get => (1, "get "),
        MethodDefinitionKind::Set => (2, "set "),
    }
}

impl<'a> Lower<'_, 'a> {
    pub(super) fn class_declaration(&mut self, c: &'a Class<'a>) {
        let Some(symbol) = c.id.as_ref().and_then(|id| id.symbol_id.get()) else { return };
        if c.declare {
            return;
        }
        let mark = self.f().next;
        let early = self.variable(symbol).early;
        match self.binding(symbol) {
            Binding::Register(register) if !early => {
                self.class(c, Label::Text(""), Want::Free(register));
            }
            Binding::Cell(register) if !early => {
                self.class(c, Label::Text(""), Want::Free(register));
                self.f().ab(Op::NewCell, register, register, c.span);
            }
            _ => {
                let value = self.class(c, Label::Text(""), Want::Any);
                self.initialise(symbol, value, c.span);
            }
        }
        self.f().next = mark;
    }

    pub(super) fn class(&mut self, c: &'a Class<'a>, label: Label<'_>, want: Want) -> Reg {
        let mark = self.f().next;
        let register = self.building(want);
        let inner = self.f().next;
        // A declaration of a script's top level, outside of loops, is evaluated once in a task at most.
        let is_loop = |c: &Control| matches!(c, Control::Target { continues: Some(_), .. });
        let once = c.is_declaration()
            && self.functions.len() == 1
            && self.f().flags & function_flags::SCRIPT != 0
            && !self.f().control.iter().any(is_loop);
        self.class_into(c, label, register, once);
        self.f().next = inner;
        self.built(register, want, mark, c.span)
    }

    fn class_into(&mut self, c: &'a Class<'a>, label: Label<'_>, register: Reg, once: bool) {
        let head = Span::new(c.span.start, c.body.span.start.max(c.span.start));
        if let Some(decorator) = c.decorators.first() {
            self.unsupported(decorator.span, "decorators are", None);
        }
        let Some(scope) = c.scope_id.get() else { return };
        let file = self.file();
        let name = match (&c.id, label) {
            (Some(id), _) => id.name.as_str(),
            (None, Label::Text(text)) => text,
            (None, Label::Key(_)) => "",
        };
        let symbol = c.id.as_ref().and_then(|id| id.symbol_id.get());
        let inner = symbol.filter(|symbol| self.variable(*symbol).inner_used).map(|symbol| {
            let cell = self.hide_cell(head);
            self.class_names.insert((file, symbol), cell);
            cell
        });
        let heritage = c.heritage.as_ref().map(|heritage| {
            let parent = self.f().take();
            let span = heritage.expression.span();
            self.expression(&heritage.expression, Want::Free(parent));
            self.f().a(Op::CheckHeritage, parent, span);
            parent
        });
        let names = self.private_names(c, once);
        self.privates.push(names);
        let proto = self.prototype(c, heritage, head);
        let home = self.hide(proto);

        let explicit = c.body.body.iter().find_map(|element| match element {
            ClassElement::MethodDefinition(m)
                if m.kind == MethodDefinitionKind::Constructor && m.value.body.is_some() =>
            {
                Some(&**m)
            }
            _ => None,
        });
        let mut plan = self.plan(c, home, heritage.is_some());
        let has_elements = !plan.methods.is_empty() || !plan.fields.is_empty();
        if heritage.is_some() && explicit.is_some() && has_elements {
            plan.fields_cell = Some(self.hide_cell(head));
        }
        let constructor = match explicit {
            Some(m) => self.function(&m.value, name, Form::Constructor(&plan)),
            None => Some(self.implicit_constructor(scope, name, &plan, head)),
        };
        let Some(constructor) = constructor else {
            self.privates.pop();
            return;
        };
        self.f().abx(Op::Closure, register, constructor.0, head);
        let (n, parent) = heritage.map_or((0, 0), |parent| (1, parent));
        self.f().emit(Instr::abc(Op::DefClass, n, register, proto, parent), head);
        if let (None, Label::Key(key)) = (&c.id, label) {
            self.f().ab(Op::NameFunction, register, key, head);
        }
        let class_home = self.hide(register);

        let mut keys = plan.fields.iter();
        let mut private_statics: Vec<(u32, Reg, u8)> = Vec::new();
        let mut statics: Vec<Static<'a>> = Vec::new();
        for element in &c.body.body {
            match element {
                ClassElement::MethodDefinition(m) if is_there(m) => {
                    let (target, home) = if m.r#static { (register, class_home) } else { (proto, home) };
                    match (&m.key, m.r#static) {
                        (PropertyKey::PrivateIdentifier(id), true) => {
                            let function = self.f().take();
                            let of = self.private_method(m, id.name.as_str(), home, function);
                            let key = self.private_name(id.name.as_str());
                            private_statics.extend(key.map(|key| (key, function, of)));
                        }
                        (PropertyKey::PrivateIdentifier(_), false) => {}
                        _ => self.class_method(m, target, home),
                    }
                }
                ClassElement::MethodDefinition(_) => {}
                ClassElement::PropertyDefinition(p) if is_field(p) && p.r#static => {
                    let key = self.field_key(p, |this, key| {
                        let register = this.f().take();
                        this.property_key(key, register);
                        FieldKey::Computed(this.hide(register), false)
                    });
                    statics.extend(key.map(|key| Static::Field(Field { definition: p, key })));
                }
                ClassElement::PropertyDefinition(p) if is_field(p) => {
                    let Some(field) = keys.next() else { continue };
                    if let (FieldKey::Computed(cell, _), Some(key)) = (&field.key, p.key.as_expression()) {
                        let mark = self.f().next;
                        let value = self.f().take();
                        self.property_key(key, value);
                        let cell = self.hidden(*cell, Want::Any, key.span());
                        self.f().ab(Op::InitCell, cell, value, key.span());
                        self.f().next = mark;
                    }
                }
                ClassElement::PropertyDefinition(_) | ClassElement::TSIndexSignature(_) => {}
                ClassElement::StaticBlock(block) => statics.push(Static::Block(block)),
                ClassElement::AccessorProperty(a) => {
                    let hint = "write a field with a getter and a setter";
                    self.unsupported(a.span, "`accessor` fields are", Some(hint));
                }
            }
        }

        if let Some(cell) = plan.fields_cell {
            let mark = self.f().next;
            let index = self.fields_function(scope, &plan, head);
            let function = self.f().take();
            self.f().abx(Op::Closure, function, index.0, head);
            let cell = self.hidden(cell, Want::Any, head);
            self.f().ab(Op::InitCell, cell, function, head);
            self.f().next = mark;
        }
        if let Some(inner) = inner {
            let cell = self.hidden(inner, Want::Any, head);
            self.f().ab(Op::InitCell, cell, register, head);
        }
        for (key, function, of) in private_statics {
            let mark = self.f().next;
            let key = self.hidden(key, Want::Any, head);
            self.f().emit(Instr::abc(Op::DefPrivate, of, register, key, function), head);
            self.f().next = mark;
        }
        for element in statics {
            self.run_static(scope, class_home, register, &element);
        }
        self.privates.pop();
        if let Some(symbol) = symbol.filter(|_| inner.is_some()) {
            self.class_names.remove(&(file, symbol));
        }
    }

    /// A private name for each that the body declares.
    fn private_names(&mut self, c: &'a Class<'a>, once: bool) -> HashMap<&'a str, u32> {
        let mut names: HashMap<&'a str, u32> = HashMap::new();
        for element in &c.body.body {
            let key = match element {
                ClassElement::MethodDefinition(m) => &m.key,
                ClassElement::PropertyDefinition(p) => &p.key,
                _ => continue,
            };
            let PropertyKey::PrivateIdentifier(id) = key else { continue };
            let name = id.name.as_str();
            if !names.contains_key(name) {
                let register = self.f().take();
                let text = format!("#{name}");
                if once {
                    // One name for all tasks, which shapes and caches may know.
                    let constant = self.pool.private(&text);
                    self.f().abx(Op::LoadConst, register, constant, id.span);
                } else {
                    let text = self.pool.string(&text);
                    self.f().abx(Op::NewPrivate, register, text, id.span);
                }
                names.insert(name, self.hide(register));
            }
        }
        names
    }

    /// The hidden variable of a private name.
    fn private_name(&self, name: &str) -> Option<u32> {
        self.privates.iter().rev().find_map(|names| names.get(name).copied())
    }

    /// A private name in a register.
    pub(super) fn private_key(&mut self, id: &oxc_ast::ast::PrivateIdentifier<'a>) -> Reg {
        match self.private_name(id.name.as_str()) {
            Some(name) => self.hidden(name, Want::Any, id.span),
            None => {
                let message = format!("`#{}` is not declared by a class around", id.name);
                self.error("FB0106", id.span, message, None);
                self.f().take()
            }
        }
    }

    /// The prototype object, in a new register.
    fn prototype(&mut self, c: &'a Class<'a>, heritage: Option<Reg>, head: Span) -> Reg {
        let proto = self.f().take();
        let Some(parent) = heritage else {
            let hint = u32::try_from(c.body.body.len() + 1).unwrap_or(u32::MAX).min(32);
            self.f().abx(Op::NewObject, proto, hint, head);
            return proto;
        };
        let null = self.f().jump(Op::JumpIfNullish, parent, head);
        let key = self.pool.string("prototype");
        let site = self.f().site(key);
        self.f().abc(Op::GetField, proto, parent, site, head);
        let done = self.f().jump(Op::Jump, 0, head);
        self.f().patch(null);
        self.f().a(Op::LoadNull, proto, head);
        self.f().patch(done);
        self.f().ab(Op::NewProto, proto, proto, head);
        proto
    }

    /// What instances get. Functions of private methods, and cells for keys, are made now.
    fn plan(&mut self, c: &'a Class<'a>, home: u32, derived: bool) -> Plan<'a> {
        let mut plan = Plan { home, derived, fields_cell: None, methods: Vec::new(), fields: Vec::new() };
        for element in &c.body.body {
            match element {
                ClassElement::MethodDefinition(m) if is_there(m) && !m.r#static => {
                    let PropertyKey::PrivateIdentifier(id) = &m.key else { continue };
                    let function = self.f().take();
                    let of = self.private_method(m, id.name.as_str(), home, function);
                    let function = self.hide(function);
                    plan.methods.extend(self.private_name(id.name.as_str()).map(|key| (key, function, of)));
                }
                ClassElement::PropertyDefinition(p) => {
                    if let Some(decorator) = p.decorators.first() {
                        self.unsupported(decorator.span, "decorators are", None);
                    }
                    if !is_field(p) || p.r#static {
                        continue;
                    }
                    let key =
                        self.field_key(p, |this, key| FieldKey::Computed(this.hide_cell(key.span()), true));
                    plan.fields.extend(key.map(|key| Field { definition: p, key }));
                }
                _ => {}
            }
        }
        plan
    }

    /// The key of a field; `computed` keeps one that has to be evaluated.
    fn field_key(
        &mut self,
        p: &'a PropertyDefinition<'a>,
        computed: impl FnOnce(&mut Self, &'a Expression<'a>) -> FieldKey<'a>,
    ) -> Option<FieldKey<'a>> {
        if let PropertyKey::PrivateIdentifier(id) = &p.key {
            return Some(FieldKey::Private(self.private_name(id.name.as_str())?, id.name.as_str()));
        }
        if let Some(name) = self.static_key(&p.key, p.computed) {
            return Some(FieldKey::Name(name));
        }
        let key = p.key.as_expression()?;
        Some(if p.computed { computed(self, key) } else { FieldKey::Literal(key) })
    }

    /// A key that is evaluated, as string or symbol.
    fn property_key(&mut self, key: &'a Expression<'a>, register: Reg) {
        self.expression(key, Want::Free(register));
        self.f().ab(Op::ToPropertyKey, register, register, key.span());
    }

    /// The function of a private method or accessor, into a register; operand n of its DefPrivate.
    fn private_method(&mut self, m: &'a MethodDefinition<'a>, name: &str, home: u32, to: Reg) -> u8 {
        let (kind, prefix) = accessor_kind(m.kind);
        let index = self.function(&m.value, &format!("{prefix}#{name}"), Form::Method { home: Some(home) });
        self.closure(index, Want::Free(to), m.span);
        kind + 1
    }

    /// A method or accessor that isn't private.
    fn class_method(&mut self, m: &'a MethodDefinition<'a>, target: Reg, home: u32) {
        if let Some(decorator) = m.decorators.first() {
            self.unsupported(decorator.span, "decorators are", None);
        }
        let (kind, prefix) = accessor_kind(m.kind);
        if m.kind == MethodDefinitionKind::Constructor {
            return;
        }
        let mark = self.f().next;
        let key = self.f().take();
        let name = self.static_key(&m.key, m.computed);
        match (&name, m.key.as_expression()) {
            (Some(name), _) => {
                self.string(name, Want::Free(key), m.key.span());
            }
            (None, Some(expression)) => self.property_key(expression, key),
            (None, None) => {}
        }
        let label = format!("{prefix}{}", name.as_deref().unwrap_or(""));
        let index = self.function(&m.value, &label, Form::Method { home: Some(home) });
        let value = self.closure(index, Want::Any, m.span);
        if name.is_none() {
            self.f().emit(Instr::abc(Op::NameFunction, kind, value, key, 0), m.span);
        }
        let op = [Op::DefElem, Op::DefGetter, Op::DefSetter][usize::from(kind)];
        self.f().emit(Instr::abc(op, 1, target, key, value), m.span);
        self.f().next = mark;
    }

    // Constructors.

    /// Makes `this` of a class that extends nothing; the registers of one that does. Then the fields, where
    /// they belong here. Parameters have their registers already.
    pub(super) fn enter_constructor(&mut self, plan: &Plan<'a>, body: &'a [Statement<'a>], span: Span) {
        if plan.derived {
            let scope = self.f().scope;
            if self.variables[self.file()].this_captured.contains(&scope) {
                let this = self.hide_cell(span);
                let callee = self.f().take();
                self.f().a(Op::LoadCallee, callee, span);
                let callee = self.hide(callee);
                if let Some(constructor) = &mut self.f().constructor {
                    constructor.this = Some(this);
                    constructor.callee = Some(callee);
                }
            }
            return;
        }
        let assigned = body.iter().filter(|s| assigns_member(s)).count();
        self.create_this(plan, assigned, span);
        self.instance_elements(plan, span);
    }

    fn create_this(&mut self, plan: &Plan<'a>, assigned: usize, span: Span) {
        let room = plan.methods.len() + plan.fields.len() + assigned;
        let room = u8::try_from(room.clamp(4, 32)).unwrap_or(32);
        let target = self.f().new_target.unwrap_or(0);
        self.f().emit(Instr::abc(Op::CreateThis, room, 0, target, 0), span);
    }

    fn implicit_constructor(
        &mut self,
        scope: ScopeId,
        name: &str,
        plan: &Plan<'a>,
        head: Span,
    ) -> FunctionIndex {
        self.begin_hidden(self.variables[self.file()].initialiser(scope, None), function_flags::CLASS, name);
        let derived = plan.derived;
        let constructor = Constructor { derived, ready: derived, this: None, callee: None, fields: None };
        let f = self.f();
        f.home = Some(plan.home);
        f.constructor = Some(constructor);
        if derived {
            f.rest = Some(f.take());
        }
        let target = f.take();
        f.new_target = Some(target);
        if derived {
            let base = f.take();
            f.take();
            f.take();
            self.super_constructor(constructor, base, head);
            self.f().ab(Op::Move, base + 1, target, head);
            self.f().ab(Op::Move, base + 2, 1, head);
            self.f().ab(Op::SuperCallSpread, base, base, head);
            self.super_called(constructor, base, head);
            self.f().next = base;
        } else {
            self.create_this(plan, 0, head);
        }
        self.instance_elements(plan, head);
        self.end_body(head);
        self.finish_function(head)
    }

    /// The function that `super(...)` calls with the new object.
    fn fields_function(&mut self, scope: ScopeId, plan: &Plan<'a>, head: Span) -> FunctionIndex {
        let function = self.variables[self.file()].initialiser(scope, None);
        self.begin_hidden(function, function_flags::METHOD, "<fields>");
        self.f().home = Some(plan.home);
        self.instance_elements(plan, head);
        self.end_body(head);
        self.finish_function(head)
    }

    /// A function that the source doesn't have.
    fn begin_hidden(&mut self, scope: ScopeId, flags: u16, name: &str) {
        let name = self.pool.string(name);
        let file = self.file();
        self.functions.push(Builder::new(file, scope, flags, name));
    }

    /// Private methods and fields of the object in r0.
    fn instance_elements(&mut self, plan: &Plan<'a>, span: Span) {
        self.f().in_initialiser = true;
        for (key, function, of) in &plan.methods {
            let mark = self.f().next;
            let key = self.hidden(*key, Want::Any, span);
            let function = self.hidden(*function, Want::Any, span);
            self.f().emit(Instr::abc(Op::DefPrivate, *of, 0, key, function), span);
            self.f().next = mark;
        }
        for field in &plan.fields {
            self.define_field(field);
        }
        self.f().in_initialiser = false;
    }

    /// Defines a field of the object in r0.
    fn define_field(&mut self, field: &Field<'a>) {
        let mark = self.f().next;
        let span = field.definition.span;
        let value = |this: &mut Self, label: Label<'_>| match &field.definition.value {
            Some(value) => this.labelled_expression(value, label, Want::Any),
            None => this.simple(Op::LoadUndefined, Want::Any, span),
        };
        match &field.key {
            FieldKey::Name(name) => {
                let value = value(self, Label::Text(name));
                let name = self.pool.string(name);
                let site = self.f().site(name);
                self.f().abc(Op::DefField, 0, value, site, span);
            }
            FieldKey::Literal(key) => {
                let register = self.f().take();
                self.property_key(key, register);
                let value = value(self, Label::Key(register));
                self.f().abc(Op::DefElem, 0, register, value, span);
            }
            FieldKey::Computed(key, is_cell) => {
                let register = self.f().take();
                if *is_cell {
                    self.hidden_content(*key, Want::Free(register), span);
                } else {
                    self.hidden(*key, Want::Free(register), span);
                }
                let value = value(self, Label::Key(register));
                self.f().abc(Op::DefElem, 0, register, value, span);
            }
            FieldKey::Private(key, name) => {
                let value = value(self, Label::Text(&format!("#{name}")));
                let key = self.hidden(*key, Want::Any, span);
                self.f().abc(Op::DefPrivate, 0, key, value, span);
            }
        }
        self.f().next = mark;
    }

    /// Runs a static field's initialiser or a static block, with the class as `this`.
    fn run_static(&mut self, scope: ScopeId, home: u32, class: Reg, element: &Static<'a>) {
        let (function, span) = match element {
            Static::Field(field) => {
                let start = field.definition.span.start;
                let function = self.variables[self.file()].initialiser(scope, Some(start));
                (Some(function), field.definition.span)
            }
            Static::Block(block) => (block.scope_id.get(), Span::new(block.span.start, block.span.start + 6)),
        };
        let Some(function) = function else { return };
        self.begin_hidden(function, function_flags::METHOD, "<static>");
        self.f().home = Some(home);
        match element {
            Static::Field(field) => self.define_field(field),
            Static::Block(block) => {
                self.allocate_scope(function, span);
                self.statements_of_function(&block.body);
            }
        }
        self.end_body(span);
        let index = self.finish_function(span);
        let mark = self.f().next;
        let base = self.f().take();
        let this = self.f().take();
        self.f().abx(Op::Closure, base, index.0, span);
        self.f().ab(Op::Move, this, class, span);
        self.f().ab(Op::Call, base, base, span);
        self.f().next = mark;
    }
}

/// Whether a method has a body: no overload, and not abstract.
fn is_there(m: &MethodDefinition<'_>) -> bool {
    m.value.body.is_some() && m.kind != MethodDefinitionKind::Constructor
}

/// Whether a field is there at run time.
fn is_field(p: &PropertyDefinition<'_>) -> bool {
    !p.declare && !p.r#type.is_abstract()
}

/// `this.name = ...` as a statement.
fn assigns_member(s: &Statement<'_>) -> bool {
    use oxc_ast::ast::AssignmentTarget;
    let Statement::ExpressionStatement(s) = s else { return false };
    let Expression::AssignmentExpression(a) = &s.expression else { return false };
    matches!(&a.left, AssignmentTarget::StaticMemberExpression(m) if matches!(m.object, Expression::ThisExpression(_)))
}
