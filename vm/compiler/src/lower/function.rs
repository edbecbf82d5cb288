//! Functions: parameters, hoisting, closures; and the scopes inside them.

use forebay_bytecode::module::{function_flags, uses};
use forebay_bytecode::{FunctionIndex, Instr, Op};
use oxc_ast::ast::{
    ArrowFunctionBody, ArrowFunctionExpression, BindingPattern, Declaration, ExportDefaultDeclarationKind,
    Expression, FormalParameters, Function, Statement,
};
use oxc_span::{GetSpan, Span};
use oxc_syntax::scope::ScopeId;
use oxc_syntax::symbol::SymbolId;

use super::class::Plan;
use super::{Binding, Lower, SlotKey, Want};
use crate::emit::{Builder, Constructor, Reg};
use crate::scope::Kind;

/// What differs between the kinds of functions.
#[derive(Clone, Copy)]
pub(super) enum Form<'p, 'a> {
    Plain,
    /// Methods, getters and setters: not constructors. `home`: the hidden object where `super` begins.
    Method {
        home: Option<u32>,
    },
    /// The constructor of a class.
    Constructor(&'p Plan<'a>),
}

impl<'a> Lower<'_, 'a> {
    /// Compiles a function; its captures refer to the function under construction.
    pub(super) fn function(
        &mut self,
        function: &'a Function<'a>,
        name: &str,
        form: Form<'_, 'a>,
    ) -> Option<FunctionIndex> {
        let head = Span::new(function.span.start, function.params.span.start.max(function.span.start));
        let body = function.body.as_ref()?;
        let mut flags = if function.r#async { function_flags::ASYNC } else { 0 };
        if function.generator {
            flags |= function_flags::GENERATOR;
        }
        let scope = function.scope_id.get()?;
        match form {
            Form::Plain => {
                if flags == 0 && self.variables[self.file()].new_target.contains(&scope) {
                    flags |= function_flags::NEW_TARGET;
                }
            }
            Form::Method { .. } => flags |= function_flags::METHOD,
            Form::Constructor(_) => flags |= function_flags::CLASS,
        }
        if self.variables[self.file()].has_arguments(scope) {
            flags |= function_flags::ARGUMENTS;
        }
        let own = function.id.as_ref().and_then(|id| id.symbol_id.get());
        let name = function.id.as_ref().map_or(name, |id| id.name.as_str());
        self.begin_function(scope, flags, name, own);
        let mut plan = None;
        match form {
            Form::Plain => {}
            Form::Method { home } => self.f().home = home,
            Form::Constructor(of) => {
                let (derived, fields) = (of.derived, of.fields_cell);
                let constructor = Constructor { derived, ready: false, this: None, callee: None, fields };
                self.f().home = Some(of.home);
                self.f().constructor = Some(constructor);
                plan = Some((of, body.statements.as_slice()));
            }
        }
        self.parameters(&function.params, scope, plan);
        if function.generator {
            self.f().emit(Instr::abc(Op::StartGenerator, 0, 0, 0, 0), head);
            self.f().started = true;
        }
        self.statements_of_function(&body.statements);
        self.end_body(Span::new(body.span.end.saturating_sub(1), body.span.end));
        Some(self.finish_function(head))
    }

    /// Compiles an arrow function.
    pub(super) fn arrow(
        &mut self,
        arrow: &'a ArrowFunctionExpression<'a>,
        name: &str,
    ) -> Option<FunctionIndex> {
        let flags = function_flags::ARROW | if arrow.r#async { function_flags::ASYNC } else { 0 };
        let scope = arrow.scope_id.get()?;
        self.begin_function(scope, flags, name, None);
        self.parameters(&arrow.params, scope, None);
        match &arrow.body {
            ArrowFunctionBody::FunctionBody(body) => {
                self.statements_of_function(&body.statements);
                self.end_body(Span::new(body.span.end.saturating_sub(1), body.span.end));
            }
            body => {
                if let Some(value) = body.as_expression() {
                    self.cover(value.span());
                    self.return_value(value, value.span());
                }
            }
        }
        Some(self.finish_function(arrow.params.span))
    }

    fn begin_function(&mut self, scope: ScopeId, flags: u16, name: &str, own: Option<SymbolId>) {
        let name = self.pool.string(name);
        let file = self.file();
        self.functions.push(Builder::new(file, scope, flags, name));
        if let Some(own) = own {
            let v = self.variable(own);
            let needed = v.self_used || (v.kind == Kind::SelfName && v.used && v.function == scope);
            if needed && !v.module && !v.property {
                self.functions.last_mut().expect("just pushed").itself = Some((own, 0));
            }
        }
    }

    /// Ends the function under construction and puts it into the module.
    pub(super) fn finish_function(&mut self, span: Span) -> FunctionIndex {
        let scope = self.f().scope;
        self.leave_scope(scope, 0, 0);
        let builder = self.functions.pop().expect("a function under construction");
        if builder.is_too_large() {
            let hint = "split it";
            if self.functions.is_empty() {
                self.functions.push(builder);
                self.error(
                    "FB0804",
                    span,
                    "this code needs too many registers or property accesses",
                    Some(hint),
                );
                let builder = self.functions.pop().expect("just pushed");
                return builder.finish(&mut self.module);
            }
            self.error(
                "FB0804",
                span,
                "this function needs too many registers or property accesses",
                Some(hint),
            );
        }
        builder.finish(&mut self.module)
    }

    /// Registers of parameters and locals; then defaults and patterns, in order. A constructor makes its
    /// `this` and the fields before them.
    fn parameters(
        &mut self,
        params: &'a FormalParameters<'a>,
        scope: ScopeId,
        constructor: Option<(&Plan<'a>, &'a [Statement<'a>])>,
    ) {
        for p in &params.items {
            if p.accessibility.is_some() || p.readonly || p.r#override {
                let hint = "declare the field and assign it: `constructor(x) { this.x = x; }`";
                self.unsupported(p.span, "parameter properties are", Some(hint));
            }
            if let Some(decorator) = p.decorators.first() {
                self.unsupported(decorator.span, "decorators are", None);
            }
        }
        let count = params.items.len();
        if count > 250 {
            self.error("FB0804", params.span, "more than 250 parameters", Some("take an object"));
            return;
        }
        let argument = |i: usize| Reg::try_from(i + 1).unwrap_or(Reg::MAX);
        let f = self.f();
        f.parameters = Reg::try_from(count).unwrap_or(Reg::MAX);
        f.length = Reg::try_from(
            params.items.iter().take_while(|p| p.initializer.is_none() && !is_default(&p.pattern)).count(),
        )
        .unwrap_or(Reg::MAX);
        for _ in 0..count {
            f.take();
        }
        if params.rest.is_some() {
            f.rest = Some(f.take());
        }
        if f.flags & function_flags::ARGUMENTS != 0 {
            f.arguments = Some(f.take());
        }
        if f.flags & (function_flags::CLASS | function_flags::NEW_TARGET) != 0 {
            f.new_target = Some(f.take());
        }
        if f.flags & function_flags::GENERATOR != 0 {
            f.take();
        }
        if let Some((own, _)) = f.itself {
            let register = f.take();
            f.itself = Some((own, register));
            f.a(Op::LoadCallee, register, params.span);
        }
        // A parameter that is a plain name lives where its argument arrives,
        // unless it can be seen before its turn.
        for (i, p) in params.items.iter().enumerate() {
            if let BindingPattern::BindingIdentifier(id) = &p.pattern
                && let Some(symbol) = id.symbol_id.get()
                && !self.variable(symbol).early
            {
                self.own(symbol, argument(i));
            }
        }
        if let Some(rest) = &params.rest
            && let BindingPattern::BindingIdentifier(id) = &rest.rest.argument
            && let Some(symbol) = id.symbol_id.get()
            && !self.variable(symbol).early
        {
            self.own(symbol, argument(count));
        }
        if let Some((plan, body)) = constructor {
            self.enter_constructor(plan, body, params.span);
        }
        self.allocate_scope(scope, params.span);
        for (i, p) in params.items.iter().enumerate() {
            let mark = self.f().next;
            if let Some(default) = &p.initializer {
                let name = match &p.pattern {
                    BindingPattern::BindingIdentifier(id) => id.name.as_str(),
                    _ => "",
                };
                let given = self.f().jump(Op::JumpIfNotUndefined, argument(i), default.span());
                self.named_expression(default, name, Want::Free(argument(i)));
                self.f().patch(given);
            }
            self.bind_pattern(&p.pattern, argument(i));
            self.f().next = mark;
        }
        if let Some(rest) = &params.rest {
            let mark = self.f().next;
            self.bind_pattern(&rest.rest.argument, argument(count));
            self.f().next = mark;
        }
    }

    pub(super) fn statements_of_function(&mut self, statements: &'a [Statement<'a>]) {
        self.depth += 1;
        for statement in statements {
            self.hoist_statement(statement);
        }
        for statement in statements {
            self.statement(statement);
            if let Statement::ExpressionStatement(s) = statement {
                self.note_super(&s.expression);
            }
        }
        self.depth -= 1;
    }

    /// Gives a variable a register.
    fn own(&mut self, symbol: SymbolId, register: Reg) {
        let cell = self.variable(symbol).cell;
        let f = self.f();
        f.storage.insert(symbol, register);
        if !cell {
            f.owners.insert(register, symbol);
        }
    }

    /// Gives each variable of a scope its register, and those that can be seen
    /// early their marker or empty cell.
    pub(super) fn allocate_scope(&mut self, scope: ScopeId, span: Span) {
        let symbols = self.variables[self.file()].of_scope(scope).to_vec();
        for symbol in symbols {
            let v = self.variable(symbol).clone();
            match v.kind {
                Kind::None | Kind::SelfName | Kind::ClassName | Kind::Import => continue,
                Kind::Var
                | Kind::Let
                | Kind::Const
                | Kind::Class
                | Kind::Param
                | Kind::Catch
                | Kind::Function => {}
            }
            if v.module {
                if v.kind == Kind::Var {
                    let slot = self.slot_of(symbol);
                    let register = self.f().take();
                    self.f().a(Op::LoadUndefined, register, span);
                    self.f().abx(Op::SetModule, register, slot, span);
                    self.f().next = register;
                }
                continue;
            }
            if v.property {
                // Functions are declared where they are hoisted.
                if v.kind == Kind::Var {
                    let name = self.symbol_name(symbol);
                    let name = self.pool.string(name);
                    self.f().abx(Op::DeclareName, 0, name, v.span);
                }
                continue;
            }
            if self.f().storage.contains_key(&symbol) {
                continue;
            }
            let register = self.f().take();
            self.own(symbol, register);
            if v.early {
                let marker = if v.kind == Kind::Var { Op::LoadUndefined } else { Op::LoadEmpty };
                self.f().a(marker, register, v.span);
                if v.cell {
                    self.f().ab(Op::NewCell, register, register, v.span);
                }
            }
        }
    }

    /// Ends a scope: names its locals for debuggers and gives its registers back.
    pub(super) fn leave_scope(&mut self, scope: ScopeId, start: u32, mark: Reg) {
        let symbols = self.variables[self.file()].of_scope(scope).to_vec();
        for symbol in symbols {
            let name = self.symbol_name(symbol);
            let Some(register) = self.f().storage.get(&symbol).copied() else { continue };
            if register >= mark {
                let name = self.pool.string(name);
                self.f().name_local(name, register, start);
                self.f().owners.remove(&register);
            }
        }
        self.f().next = mark;
    }

    /// Makes the closure of a function declaration when its scope is entered.
    pub(super) fn hoist_statement(&mut self, statement: &'a Statement<'a>) {
        match statement {
            Statement::FunctionDeclaration(f) => self.hoist(f),
            Statement::ExportDeclaration(e) => {
                if let Declaration::FunctionDeclaration(f) = &e.declaration {
                    self.hoist(f);
                }
            }
            Statement::ExportDefaultDeclaration(e) => {
                if let ExportDefaultDeclarationKind::FunctionDeclaration(f) = &e.declaration {
                    if f.id.is_some() {
                        self.hoist(f);
                    } else if let Some(index) = self.function(f, "default", Form::Plain) {
                        let slot = self.slot(SlotKey::Default(self.file()));
                        let register = self.f().take();
                        self.f().abx(Op::Closure, register, index.0, f.span);
                        self.f().abx(Op::SetModule, register, slot, f.span);
                        self.f().next = register;
                    }
                }
            }
            // Whatever else a statement declares is hoisted by its own scope.
            _ => {}
        }
    }

    fn hoist(&mut self, function: &'a Function<'a>) {
        if function.declare || function.body.is_none() {
            return;
        }
        let Some(id) = &function.id else { return };
        let Some(symbol) = id.symbol_id.get() else { return };
        let Some(index) = self.function(function, id.name.as_str(), Form::Plain) else { return };
        let mark = self.f().next;
        let early = self.variable(symbol).early;
        let span = id.span;
        match self.binding(symbol) {
            Binding::Register(register) => self.f().abx(Op::Closure, register, index.0, span),
            Binding::Cell(cell) => {
                let register = self.f().take();
                self.f().abx(Op::Closure, register, index.0, span);
                let op = if early { Op::InitCell } else { Op::NewCell };
                self.f().ab(op, cell, register, span);
            }
            Binding::Slot(slot) => {
                let register = self.f().take();
                self.f().abx(Op::Closure, register, index.0, span);
                self.f().abx(Op::SetModule, register, slot, span);
            }
            Binding::Property(name) => {
                let register = self.f().take();
                self.f().abx(Op::Closure, register, index.0, span);
                self.f().emit(Instr::abx(Op::DeclareName, register, name).with_n(1), span);
            }
            Binding::Upvalue(_) | Binding::UpCell(_) => {}
        }
        self.f().next = mark;
    }

    /// A closure over the function under construction.
    pub(super) fn closure(&mut self, index: Option<FunctionIndex>, want: Want, span: Span) -> Reg {
        let register = self.target(want);
        match index {
            Some(index) => self.f().abx(Op::Closure, register, index.0, span),
            None => self.f().a(Op::LoadUndefined, register, span),
        }
        register
    }

    /// `return value`, where no finally block or iterator is in between.
    pub(super) fn return_value(&mut self, value: &'a Expression<'a>, span: Span) {
        let mark = self.f().next;
        let value = strip(value);
        if let Expression::ConditionalExpression(c) = value {
            // Each branch is written in the return itself.
            let otherwise = self.condition(&c.test, false);
            self.return_value(&c.consequent, span);
            self.f().patch_all(otherwise);
            self.return_value(&c.alternate, span);
            return;
        }
        let register = self.expression(value, Want::Any);
        let literal = u8::from(matches!(value, Expression::ObjectExpression(_)));
        self.f().emit(Instr::abc(Op::Return, literal, register, 0, 0), span);
        self.f().next = mark;
    }

    /// Notes that a handler takes the request.
    pub(super) fn uses_request(&mut self) {
        self.module.uses |= uses::REQUEST;
    }
}

fn is_default(pattern: &BindingPattern<'_>) -> bool {
    matches!(pattern, BindingPattern::AssignmentPattern(_))
}

/// The expression without the TypeScript around it.
pub(crate) fn strip<'e, 'a>(mut e: &'e Expression<'a>) -> &'e Expression<'a> {
    loop {
        e = match e {
            Expression::TSAsExpression(x) => &x.expression,
            Expression::TSSatisfiesExpression(x) => &x.expression,
            Expression::TSTypeAssertion(x) => &x.expression,
            Expression::TSNonNullExpression(x) => &x.expression,
            Expression::TSInstantiationExpression(x) => &x.expression,
            Expression::ParenthesizedExpression(x) => &x.expression,
            _ => return e,
        };
    }
}
