//! Statements: declarations, branches, loops, exceptions.
//!
//! `break`, `continue` and `return` go through the controls between them and
//! their target: an iterator is closed, a finally block is entered with a note of
//! how to leave it. Such a note is a number in the block's `kind` register:
//! 0 falls through, 1 throws `value` on, 2 and more are the exits that were asked for.

use forebay_bytecode::{HostFn, Instr, Op};
use oxc_ast::ast::{
    BlockStatement, Declaration, DoWhileStatement, Expression, ForInStatement, ForOfStatement, ForStatement,
    ForStatementInit, ForStatementLeft, IfStatement, LabeledStatement, ReturnStatement, Statement,
    SwitchStatement, TryStatement, VariableDeclaration, VariableDeclarationKind, WhileStatement,
};
use oxc_span::{GetSpan, Span};
use oxc_syntax::scope::ScopeId;
use oxc_syntax::symbol::SymbolId;

use super::function::strip;
use super::{Binding, Lower, Want};
use crate::emit::{Control, Exit, Patch, Reg};
use crate::scope::Kind;

/// What `break` and `continue` are looking for.
#[derive(Clone, Copy)]
enum Leave<'l> {
    Break(Option<&'l str>),
    Continue(Option<&'l str>),
}

impl<'a> Lower<'_, 'a> {
    pub(super) fn statement(&mut self, s: &'a Statement<'a>) {
        self.labelled(s, Vec::new());
    }

    /// Tells that this place runs, if coverage is wanted.
    pub(super) fn cover(&mut self, span: Span) {
        if self.files.options.coverage && !self.is_load_time() {
            let mark = self.f().next;
            let register = self.f().take();
            self.f().emit(Instr::abc(Op::HostCall, 0, register, 0, HostFn::Cover as u16), span);
            self.f().next = mark;
        }
    }

    /// A statement with the labels in front of it.
    fn labelled(&mut self, s: &'a Statement<'a>, labels: Vec<String>) {
        let mark = self.f().next;
        let is_code = !matches!(
            s,
            Statement::BlockStatement(_)
                | Statement::EmptyStatement(_)
                | Statement::FunctionDeclaration(_)
                | Statement::LabeledStatement(_)
                | Statement::TSTypeAliasDeclaration(_)
                | Statement::TSInterfaceDeclaration(_)
        );
        if is_code {
            self.cover(s.span());
        }
        match s {
            Statement::LabeledStatement(l) => return self.label(l, labels),
            Statement::WhileStatement(w) => self.while_loop(w, labels),
            Statement::DoWhileStatement(w) => self.do_loop(w, labels),
            Statement::ForStatement(f) => self.for_loop(f, labels),
            Statement::ForInStatement(f) => self.for_in(f, labels),
            Statement::ForOfStatement(f) => self.for_of(f, labels),
            Statement::SwitchStatement(w) => self.switch(w, labels),
            _ if !labels.is_empty() => {
                self.push_target(labels, false, false);
                self.labelled(s, Vec::new());
                self.pop_target();
            }
            Statement::BlockStatement(b) => self.block(b),
            Statement::BreakStatement(b) => {
                self.leave(Leave::Break(b.label.as_ref().map(|l| l.name.as_str())), b.span);
            }
            Statement::ContinueStatement(c) => {
                self.leave(Leave::Continue(c.label.as_ref().map(|l| l.name.as_str())), c.span);
            }
            Statement::DebuggerStatement(d) => {
                self.warning("FB0303", d.span, "`debugger` does nothing here", None);
            }
            Statement::EmptyStatement(_) => {}
            Statement::ExpressionStatement(e) => self.effect(&e.expression),
            Statement::IfStatement(i) => self.if_statement(i),
            Statement::ReturnStatement(r) => self.return_statement(r),
            Statement::ThrowStatement(t) => {
                let value = self.expression(&t.argument, Want::Any);
                self.f().a(Op::Throw, value, t.span);
            }
            Statement::TryStatement(t) => self.try_statement(t),
            Statement::WithStatement(w) => self.unsupported(w.span, "`with` is", None),
            Statement::VariableDeclaration(d) => self.variable_declaration(d),
            // The closure was made when the scope was entered.
            Statement::FunctionDeclaration(_) => {}
            Statement::ClassDeclaration(c) => self.class_declaration(c),
            Statement::TSTypeAliasDeclaration(_) | Statement::TSInterfaceDeclaration(_) => {}
            Statement::TSEnumDeclaration(d) if d.declare => {}
            Statement::TSEnumDeclaration(d) => {
                let hint = "use an object: `const Color = { Red: \"red\" }`";
                self.unsupported(Span::new(d.span.start, d.id.span.end), "`enum` is", Some(hint));
            }
            Statement::TSExternalModuleDeclaration(d) => {
                if !d.declare {
                    self.unsupported(d.span, "`module` is", None);
                }
            }
            Statement::TSNamespaceDeclaration(d) => {
                if !d.declare {
                    let hint = "use a module in lib/";
                    self.unsupported(Span::new(d.span.start, d.id.span().end), "`namespace` is", Some(hint));
                }
            }
            Statement::TSGlobalDeclaration(d) => {
                if !d.declare {
                    self.unsupported(d.span, "`global` is", None);
                }
            }
            Statement::TSImportEqualsDeclaration(d) => self.unsupported(d.span, "`import x = ` is", None),
            Statement::ImportDeclaration(_)
            | Statement::ExportAllDeclaration(_)
            | Statement::ExportDefaultDeclaration(_)
            | Statement::ExportDeclaration(_)
            | Statement::ExportNamedDeclaration(_)
            | Statement::ExportFromDeclaration(_) => {
                self.error("FB0707", s.span(), "imports and exports stand at the top level", None);
            }
            Statement::TSExportAssignment(e) => self.unsupported(e.span, "`export =` is", None),
            Statement::TSNamespaceExportDeclaration(e) => {
                self.unsupported(e.span, "`export as namespace` is", None)
            }
        }
        self.f().next = mark;
    }

    /// A declaration behind `export`.
    pub(super) fn declaration(&mut self, d: &'a Declaration<'a>) {
        match d {
            Declaration::VariableDeclaration(d) => self.variable_declaration(d),
            Declaration::FunctionDeclaration(_)
            | Declaration::TSTypeAliasDeclaration(_)
            | Declaration::TSInterfaceDeclaration(_) => {}
            Declaration::ClassDeclaration(c) => self.class_declaration(c),
            Declaration::TSEnumDeclaration(d) => {
                if !d.declare {
                    self.unsupported(Span::new(d.span.start, d.id.span.end), "`enum` is", None);
                }
            }
            Declaration::TSExternalModuleDeclaration(_)
            | Declaration::TSNamespaceDeclaration(_)
            | Declaration::TSGlobalDeclaration(_)
            | Declaration::TSImportEqualsDeclaration(_) => {
                self.unsupported(d.span(), "this declaration is", None);
            }
        }
    }

    pub(super) fn variable_declaration(&mut self, d: &'a VariableDeclaration<'a>) {
        use oxc_ast::ast::BindingPattern;
        if d.declare {
            return;
        }
        if matches!(d.kind, VariableDeclarationKind::Using | VariableDeclarationKind::AwaitUsing) {
            self.unsupported(Span::new(d.span.start, d.span.start + 5), "`using` is", None);
            return;
        }
        let is_top_level = self.functions.len() == 1;
        for declarator in &d.declarations {
            let mark = self.f().next;
            if d.kind == VariableDeclarationKind::Var {
                self.refuse_redeclared(&declarator.id);
            }
            if is_top_level
                && let Some(init) = &declarator.init
                && self.work_statement(init)
            {
                self.f().next = mark;
                continue;
            }
            match (&declarator.id, &declarator.init) {
                (BindingPattern::BindingIdentifier(id), init) => {
                    let Some(symbol) = id.symbol_id.get() else { continue };
                    match init {
                        Some(init) => self.declare_from(symbol, init, id.name.as_str()),
                        None if d.kind == VariableDeclarationKind::Var => {}
                        None => {
                            let binding = self.binding(symbol);
                            let register = match binding {
                                Binding::Register(register) => register,
                                _ => self.f().take(),
                            };
                            self.f().a(Op::LoadUndefined, register, id.span);
                            if !matches!(binding, Binding::Register(_)) {
                                self.initialise(symbol, register, id.span);
                            }
                        }
                    }
                }
                (pattern, Some(init)) => {
                    // A `var` of the pattern may be in the value itself.
                    let value = if d.kind == VariableDeclarationKind::Var {
                        let register = self.f().take();
                        self.expression(init, Want::Free(register))
                    } else {
                        self.expression(init, Want::Any)
                    };
                    self.bind_pattern(pattern, value);
                }
                (_, None) => {}
            }
            self.f().next = mark;
        }
    }

    /// A `var` that names a parameter again is a variable of its own if closures
    /// in the parameter list see the parameter: refused instead of mixed up.
    fn refuse_redeclared(&mut self, pattern: &'a oxc_ast::ast::BindingPattern<'a>) {
        for id in pattern.get_binding_identifiers() {
            let Some(symbol) = id.symbol_id.get() else { continue };
            let v = self.variable(symbol);
            if v.kind == Kind::Param && v.captured.iter().any(|p| *p < id.span.start) {
                let message = format!("`var {}` names a parameter that is captured", id.name);
                self.error("FB0304", id.span, message, Some("give it another name"));
            }
        }
    }

    /// `let x = init`.
    fn declare_from(&mut self, symbol: SymbolId, init: &'a Expression<'a>, name: &str) {
        let v = self.variable(symbol);
        let (early, cell) = (v.early, v.cell);
        // `var`, also where it names a parameter or function again: an assignment.
        let plain = !matches!(v.kind, Kind::Let | Kind::Const | Kind::Class);
        match self.binding(symbol) {
            Binding::Register(register) if plain => {
                self.named_expression(init, name, Want::Variable(register));
            }
            Binding::Register(register) if !early => {
                self.named_expression(init, name, Want::Free(register));
            }
            Binding::Register(register) => {
                let value = self.named_expression(init, name, Want::Any);
                self.f().move_to(register, value, init.span());
            }
            Binding::Cell(register) if plain => {
                let value = self.named_expression(init, name, Want::Any);
                self.f().ab(Op::SetCell, register, value, init.span());
            }
            Binding::Cell(register) if cell && !early => {
                // The cell is made from the value, in the same register.
                self.named_expression(init, name, Want::Free(register));
                self.f().ab(Op::NewCell, register, register, init.span());
            }
            _ => {
                let value = self.named_expression(init, name, Want::Any);
                self.initialise(symbol, value, init.span());
            }
        }
    }

    fn block(&mut self, b: &'a BlockStatement<'a>) {
        match b.scope_id.get() {
            Some(scope) => self.scoped(scope, b.span, &b.body),
            None => {
                for s in &b.body {
                    self.statement(s);
                }
            }
        }
    }

    /// Statements with the variables of their scope.
    fn scoped(&mut self, scope: ScopeId, span: Span, body: &'a [Statement<'a>]) {
        let mark = self.f().next;
        self.allocate_scope(scope, Span::empty(span.start));
        let start = self.f().pc();
        for s in body {
            self.hoist_statement(s);
        }
        for s in body {
            self.statement(s);
        }
        self.leave_scope(scope, start, mark);
    }

    fn if_statement(&mut self, i: &'a IfStatement<'a>) {
        // A chain of else-ifs is unrolled.
        let mut ends: Vec<Patch> = Vec::new();
        let mut i = i;
        loop {
            let otherwise = self.condition(&i.test, false);
            self.statement(&i.consequent);
            let Some(alternate) = &i.alternate else {
                self.f().patch_all(otherwise);
                break;
            };
            ends.push(self.f().jump(Op::Jump, 0, Span::empty(i.consequent.span().end)));
            self.f().patch_all(otherwise);
            match alternate {
                Statement::IfStatement(next) => i = next,
                other => {
                    self.statement(other);
                    break;
                }
            }
        }
        self.f().patch_all(ends);
    }

    // Targets of break and continue.

    fn push_target(&mut self, labels: Vec<String>, is_loop: bool, unlabelled: bool) {
        let continues = is_loop.then(Vec::new);
        self.f().control.push(Control::Target { labels, breaks: Vec::new(), continues, unlabelled });
    }

    /// Ends a target: breaks go here. Continues were taken before.
    fn pop_target(&mut self) {
        if let Some(Control::Target { breaks, .. }) = self.f().control.pop() {
            self.f().patch_all(breaks);
        }
    }

    /// Continues of the innermost target go here.
    fn patch_continues(&mut self) {
        if let Some(Control::Target { continues: Some(list), .. }) = self.f().control.last_mut() {
            let list = std::mem::take(list);
            self.f().patch_all(list);
        }
    }

    fn label(&mut self, l: &'a LabeledStatement<'a>, mut labels: Vec<String>) {
        if let Statement::FunctionDeclaration(f) = &l.body {
            self.unsupported(
                Span::new(l.span.start, f.params.span.start),
                "a label before a function is",
                None,
            );
            return;
        }
        labels.push(l.label.name.to_string());
        self.labelled(&l.body, labels);
    }

    fn leave(&mut self, leave: Leave<'_>, span: Span) {
        let found = self.f().control.iter().rposition(|c| match (c, leave) {
            // The inner of a for-of's two targets is only for `continue`.
            (Control::Target { labels, continues, unlabelled, .. }, Leave::Break(Some(l))) => {
                (*unlabelled || continues.is_none()) && labels.iter().any(|own| own == l)
            }
            (Control::Target { unlabelled, .. }, Leave::Break(None)) => *unlabelled,
            (Control::Target { labels, continues, .. }, Leave::Continue(Some(l))) => {
                continues.is_some() && labels.iter().any(|own| own == l)
            }
            (Control::Target { continues, .. }, Leave::Continue(None)) => continues.is_some(),
            _ => false,
        });
        let Some(target) = found else {
            self.error("FB0103", span, "there is nothing to leave here", None);
            return;
        };
        let exit = match leave {
            Leave::Break(_) => Exit::Break(target),
            Leave::Continue(_) => Exit::Continue(target),
        };
        self.exit(exit, 0, span);
    }

    /// Leaves for `exit`, through what is in between. `value`: what is returned.
    pub(super) fn exit(&mut self, exit: Exit, value: Reg, span: Span) {
        let floor = match exit {
            Exit::Break(target) | Exit::Continue(target) => target + 1,
            Exit::Return | Exit::ReturnLiteral => 0,
        };
        let mut depth = self.f().control.len();
        // Iterators that are closed on this way: their handlers must not cover what follows.
        let mut open: Vec<(usize, u32)> = Vec::new();
        let mut is_done = false;
        while depth > floor && !is_done {
            depth -= 1;
            let pc = self.f().pc();
            match &mut self.f().control[depth] {
                Control::Target { .. } => {}
                Control::Try { .. } => open.push((depth, pc)),
                Control::Iterator { register, asynchronous, .. } => {
                    let (register, asynchronous) = (*register, *asynchronous);
                    open.push((depth, pc));
                    if asynchronous {
                        self.close_async(register, true, span);
                    } else {
                        self.f().a(Op::IteratorClose, register, span);
                    }
                }
                Control::Finally { kind, value: kept, exits, .. } => {
                    let number = match exits.iter().position(|e| *e == exit) {
                        Some(known) => known,
                        None => {
                            exits.push(exit);
                            exits.len() - 1
                        }
                    };
                    let (kind, kept) = (*kind, *kept);
                    if matches!(exit, Exit::Return | Exit::ReturnLiteral) {
                        self.f().move_to(kept, value, span);
                    }
                    let number = i32::try_from(number + 2).unwrap_or(i32::MAX);
                    self.f().emit(Instr::asbx(Op::LoadInt, kind, number), span);
                    let entry = self.f().jump(Op::Jump, 0, span);
                    if let Control::Finally { entries, .. } = &mut self.f().control[depth] {
                        entries.push(entry);
                    }
                    is_done = true;
                }
            }
        }
        if !is_done {
            match exit {
                Exit::Break(target) | Exit::Continue(target) => {
                    let jump = self.f().jump(Op::Jump, 0, span);
                    if let Control::Target { breaks, continues, .. } = &mut self.f().control[target] {
                        match (exit, continues) {
                            (Exit::Continue(_), Some(continues)) => continues.push(jump),
                            _ => breaks.push(jump),
                        }
                    }
                }
                Exit::Return | Exit::ReturnLiteral => {
                    let value = self.returned(value, span);
                    self.emit_return(value, exit == Exit::ReturnLiteral, span);
                }
            }
        }
        let end = self.f().pc();
        for (depth, start) in open {
            if let Control::Iterator { gaps, .. } | Control::Try { gaps } = &mut self.f().control[depth] {
                gaps.push((start, end));
            }
        }
    }

    fn return_statement(&mut self, r: &'a ReturnStatement<'a>) {
        if self.is_load_time() {
            let hint = "a module's top level only prepares; handlers return";
            self.error("FB0104", r.span, "`return` stands outside a function", Some(hint));
            return;
        }
        // A constructor looks at what is returned, outside of all handlers; a generator is over then.
        let is_free = self.f().constructor.is_none()
            && !self.is_generator()
            && self.f().control.iter().all(|c| matches!(c, Control::Target { .. } | Control::Try { .. }));
        match &r.argument {
            Some(value) if is_free => self.return_value(value, r.span),
            Some(value) => {
                let mut register = self.expression(value, Want::Any);
                if self.is_async_generator() {
                    let result = self.f().take();
                    self.f().ab(Op::Await, result, register, r.span);
                    register = result;
                }
                // A finally block may assign the variable that is returned.
                if self.f().owners.contains_key(&register) {
                    let copy = self.f().take();
                    self.f().ab(Op::Move, copy, register, value.span());
                    register = copy;
                }
                let is_literal =
                    self.f().constructor.is_none() && matches!(strip(value), Expression::ObjectExpression(_));
                self.exit(if is_literal { Exit::ReturnLiteral } else { Exit::Return }, register, r.span);
            }
            None => {
                let register = self.f().take();
                self.f().a(Op::LoadUndefined, register, r.span);
                self.exit(Exit::Return, register, r.span);
            }
        }
    }

    // Loops.

    fn while_loop(&mut self, w: &'a WhileStatement<'a>, labels: Vec<String>) {
        let again = self.f().pc();
        let end = self.condition(&w.test, false);
        self.push_target(labels, true, true);
        self.statement(&w.body);
        self.patch_continues();
        self.f().loop_to(again, w.test.span());
        self.f().patch_all(end);
        self.pop_target();
    }

    fn do_loop(&mut self, w: &'a DoWhileStatement<'a>, labels: Vec<String>) {
        let again = self.f().pc();
        self.push_target(labels, true, true);
        self.statement(&w.body);
        self.patch_continues();
        let end = self.condition(&w.test, false);
        self.f().loop_to(again, w.test.span());
        self.f().patch_all(end);
        self.pop_target();
    }

    fn for_loop(&mut self, l: &'a ForStatement<'a>, labels: Vec<String>) {
        let mark = self.f().next;
        let scope = l.scope_id.get();
        if let Some(scope) = scope {
            self.allocate_scope(scope, Span::empty(l.span.start));
        }
        let start = self.f().pc();
        match &l.init {
            None => {}
            Some(ForStatementInit::VariableDeclaration(d)) => self.variable_declaration(d),
            Some(init) => {
                if let Some(e) = init.as_expression() {
                    self.effect(e);
                }
            }
        }
        // Each iteration has its own copy of the variables that closures share.
        let cells: Vec<(SymbolId, Reg)> = match scope {
            Some(scope) => {
                let symbols = self.variables[self.file()].of_scope(scope).to_vec();
                let storage = &self.functions[self.functions.len() - 1].storage;
                symbols
                    .into_iter()
                    .filter(|s| self.variable(*s).cell && self.variable(*s).kind == Kind::Let)
                    .filter_map(|s| storage.get(&s).map(|r| (s, *r)))
                    .collect()
            }
            None => Vec::new(),
        };
        if let Some(init) = &l.init {
            let span = init.span();
            let in_init: Vec<Reg> = cells
                .iter()
                .filter(|(s, _)| self.variable(*s).captured.iter().any(|p| span.start <= *p && *p < span.end))
                .map(|(_, r)| *r)
                .collect();
            self.copy_cells(&in_init, span);
        }
        let again = self.f().pc();
        let end = l.test.as_ref().map_or(Vec::new(), |test| self.condition(test, false));
        self.push_target(labels, true, true);
        self.statement(&l.body);
        self.patch_continues();
        let cells: Vec<Reg> = cells.into_iter().map(|(_, r)| r).collect();
        self.copy_cells(&cells, Span::empty(l.body.span().start));
        if let Some(update) = &l.update {
            self.effect(update);
        }
        self.f().loop_to(again, l.test.as_ref().map_or(Span::empty(l.span.start), GetSpan::span));
        self.f().patch_all(end);
        self.pop_target();
        if let Some(scope) = scope {
            self.leave_scope(scope, start, mark);
        }
    }

    fn copy_cells(&mut self, cells: &[Reg], span: Span) {
        for &cell in cells {
            let scratch = self.f().take();
            self.f().ab(Op::GetCell, scratch, cell, span);
            self.f().ab(Op::NewCell, cell, scratch, span);
            self.f().next = scratch;
        }
    }

    fn for_in(&mut self, l: &'a ForInStatement<'a>, labels: Vec<String>) {
        let mark = self.f().next;
        let span = l.right.span();
        let iterator = self.f().take();
        self.f().take();
        self.f().take();
        let object = self.f().take();
        self.head_value(l.scope_id.get(), &l.right, object, l.span);
        self.f().ab(Op::ForInKeys, iterator + 2, object, span);
        self.f().ab(Op::GetIterator, iterator, iterator + 2, span);
        let again = self.f().pc();
        let end = self.f().jump(Op::IteratorNext, iterator, span);
        self.push_target(labels, true, true);
        // What was deleted before its turn is left out (ECMA-262 14.7.5.9).
        let there = self.f().take();
        self.f().emit(Instr::abc(Op::In, 1, there, iterator + 2, object), span);
        let gone = self.f().jump(Op::JumpIfFalse, there, span);
        self.f().next = there;
        if let Some(Control::Target { continues: Some(list), .. }) = self.f().control.last_mut() {
            list.push(gone);
        }
        self.loop_body(l.scope_id.get(), &l.left, iterator + 2, &l.body, l.span);
        self.patch_continues();
        self.f().loop_to(again, l.left.span());
        self.f().patch(end);
        self.pop_target();
        self.f().next = mark;
    }

    fn for_of(&mut self, l: &'a ForOfStatement<'a>, labels: Vec<String>) {
        let mark = self.f().next;
        let span = l.right.span();
        let iterator = self.f().take();
        self.f().take();
        self.f().take();
        self.head_value(l.scope_id.get(), &l.right, iterator + 2, l.span);
        if l.r#await {
            self.note_await(l.span);
            let instr = Instr::abc(Op::GetIteratorObject, 1, iterator, iterator + 2, 0);
            self.f().emit(instr, span);
        } else {
            self.f().ab(Op::GetIterator, iterator, iterator + 2, span);
        }
        // `break` leaves the iterator, so its target stands outside; `continue`
        // doesn't, so its target stands inside.
        self.push_target(labels.clone(), false, true);
        let again = self.f().pc();
        let end = if l.r#await {
            self.next_async(iterator, span)
        } else {
            self.f().jump(Op::IteratorNext, iterator, span)
        };
        self.f().control.push(Control::Iterator {
            register: iterator,
            asynchronous: l.r#await,
            gaps: Vec::new(),
        });
        self.f().control.push(Control::Target {
            labels,
            breaks: Vec::new(),
            continues: Some(Vec::new()),
            unlabelled: false,
        });
        let start = self.f().pc();
        self.loop_body(l.scope_id.get(), &l.left, iterator + 2, &l.body, l.span);
        let body_end = self.f().pc();
        self.patch_continues();
        self.pop_target();
        let gaps = match self.f().control.pop() {
            Some(Control::Iterator { gaps, .. }) => gaps,
            _ => Vec::new(),
        };
        self.f().loop_to(again, l.left.span());
        if l.r#await {
            self.close_async_on_throw(iterator, start, body_end, &gaps, l.left.span());
        } else {
            self.close_on_throw(iterator, start, body_end, &gaps, l.left.span());
        }
        self.f().patch(end);
        self.pop_target();
        self.f().next = mark;
    }

    /// What a for-in or for-of goes over. Its variables exist already, uninitialised.
    fn head_value(&mut self, scope: Option<ScopeId>, right: &'a Expression<'a>, to: Reg, span: Span) {
        let mark = self.f().next;
        if let Some(scope) = scope {
            self.allocate_scope(scope, Span::empty(span.start));
        }
        self.expression(right, Want::Free(to));
        if let Some(scope) = scope {
            let start = self.f().pc();
            self.leave_scope(scope, start, mark);
            self.forget(scope);
        }
    }

    /// Forgets the registers of a scope, so that they can be allocated again.
    fn forget(&mut self, scope: ScopeId) {
        let symbols = self.variables[self.file()].of_scope(scope).to_vec();
        for symbol in symbols {
            self.f().storage.remove(&symbol);
        }
    }

    /// One iteration: fresh variables, the value bound, the body.
    fn loop_body(
        &mut self,
        scope: Option<ScopeId>,
        left: &'a ForStatementLeft<'a>,
        value: Reg,
        body: &'a Statement<'a>,
        span: Span,
    ) {
        let mark = self.f().next;
        if let Some(scope) = scope {
            self.allocate_scope(scope, Span::empty(span.start));
        }
        let start = self.f().pc();
        let inner = self.f().next;
        match left {
            ForStatementLeft::VariableDeclaration(d) => {
                if matches!(d.kind, VariableDeclarationKind::Using | VariableDeclarationKind::AwaitUsing) {
                    self.unsupported(d.span, "`using` is", None);
                } else if let Some(declarator) = d.declarations.first() {
                    if d.kind == VariableDeclarationKind::Var {
                        self.refuse_redeclared(&declarator.id);
                    }
                    self.bind_pattern(&declarator.id, value);
                }
            }
            left => {
                if let Some(target) = left.as_assignment_target() {
                    self.assign_head(target, value);
                }
            }
        }
        self.f().next = inner;
        self.statement(body);
        if let Some(scope) = scope {
            self.leave_scope(scope, start, mark);
        }
        self.f().next = mark;
    }

    fn switch(&mut self, w: &'a SwitchStatement<'a>, labels: Vec<String>) {
        let mark = self.f().next;
        let value = self.f().take();
        self.expression(&w.discriminant, Want::Free(value));
        let inner = self.f().next;
        let scope = w.scope_id.get();
        if let Some(scope) = scope {
            self.allocate_scope(scope, Span::empty(w.span.start));
        }
        let start = self.f().pc();
        for case in &w.cases {
            for s in &case.consequent {
                self.hoist_statement(s);
            }
        }
        self.push_target(labels, false, true);
        let mut entries: Vec<Option<Patch>> = Vec::new();
        for case in &w.cases {
            entries.push(case.test.as_ref().map(|test| {
                let mark = self.f().next;
                let to_compare = self.expression(test, Want::Any);
                let result = self.f().take();
                self.f().abc(Op::StrictEq, result, value, to_compare, test.span());
                self.f().next = mark;
                self.f().jump(Op::JumpIfTrue, result, test.span())
            }));
        }
        let default = self.f().jump(Op::Jump, 0, Span::empty(w.span.start));
        let mut default = Some(default);
        for (case, entry) in w.cases.iter().zip(entries) {
            match entry {
                Some(entry) => self.f().patch(entry),
                None => {
                    if let Some(default) = default.take() {
                        self.f().patch(default);
                    }
                }
            }
            for s in &case.consequent {
                self.statement(s);
            }
        }
        if let Some(default) = default {
            self.f().patch(default);
        }
        self.pop_target();
        if let Some(scope) = scope {
            self.leave_scope(scope, start, inner);
        }
        self.f().next = mark;
    }

    // Exceptions.

    fn try_statement(&mut self, t: &'a TryStatement<'a>) {
        let Some(finalizer) = &t.finalizer else {
            self.try_catch(t);
            return;
        };
        let mark = self.f().next;
        let kind = self.f().take();
        let value = self.f().take();
        self.f().control.push(Control::Finally { kind, value, entries: Vec::new(), exits: Vec::new() });
        let start = self.f().pc();
        if t.handler.is_some() {
            self.try_catch(t);
        } else {
            self.block(&t.block);
        }
        let body_end = Span::empty(t.block.span.end);
        self.f().emit(Instr::asbx(Op::LoadInt, kind, 0), body_end);
        let normal = self.f().jump(Op::Jump, 0, body_end);
        let (entries, exits) = match self.f().control.pop() {
            Some(Control::Finally { entries, exits, .. }) => (entries, exits),
            _ => (Vec::new(), Vec::new()),
        };
        let end = self.f().pc();
        self.f().cover(start, end, &[], end, value);
        let at = Span::empty(finalizer.span.start);
        self.f().emit(Instr::asbx(Op::LoadInt, kind, 1), at);
        self.f().patch(normal);
        self.f().patch_all(entries);
        self.block(finalizer);
        // How it goes on.
        let at = Span::empty(finalizer.span.end);
        let scratch = self.f().take();
        for (i, exit) in exits.into_iter().enumerate() {
            let number = i32::try_from(i + 2).unwrap_or(i32::MAX);
            let skip = self.unless(kind, number, scratch, at);
            self.exit(exit, value, at);
            self.f().patch(skip);
        }
        let skip = self.unless(kind, 1, scratch, at);
        self.f().a(Op::Throw, value, at);
        self.f().patch(skip);
        self.f().next = mark;
    }

    /// Jumps if `kind` is not `number`.
    pub(super) fn unless(&mut self, kind: Reg, number: i32, scratch: Reg, span: Span) -> Patch {
        self.f().emit(Instr::asbx(Op::LoadInt, scratch, number), span);
        self.f().abc(Op::StrictEq, scratch, kind, scratch, span);
        self.f().jump(Op::JumpIfFalse, scratch, span)
    }

    fn try_catch(&mut self, t: &'a TryStatement<'a>) {
        let Some(handler) = &t.handler else { return };
        let mark = self.f().next;
        let exception = self.f().take();
        let start = self.f().pc();
        self.f().control.push(Control::Try { gaps: Vec::new() });
        self.block(&t.block);
        let gaps = match self.f().control.pop() {
            Some(Control::Try { gaps }) => gaps,
            _ => Vec::new(),
        };
        let end = self.f().pc();
        let skip = self.f().jump(Op::Jump, 0, Span::empty(t.block.span.end));
        let target = self.f().pc();
        self.f().cover(start, end, &gaps, target, exception);
        // The scope analysis puts the parameter into the scope of the body.
        let inner = self.f().next;
        let scopes = [handler.scope_id.get(), handler.body.scope_id.get()];
        for scope in scopes.into_iter().flatten() {
            self.allocate_scope(scope, Span::empty(handler.span.start));
        }
        let names = self.f().pc();
        if let Some(param) = &handler.param {
            let mark = self.f().next;
            self.bind_pattern(&param.pattern, exception);
            self.f().next = mark;
        }
        for s in &handler.body.body {
            self.hoist_statement(s);
        }
        for s in &handler.body.body {
            self.statement(s);
        }
        for scope in scopes.into_iter().flatten() {
            self.leave_scope(scope, names, inner);
        }
        self.f().patch(skip);
        self.f().next = mark;
    }
}
