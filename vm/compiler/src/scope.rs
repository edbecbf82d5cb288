//! What each variable needs: a register, a cell or a module slot, and checks
//! before its initialisation only where it can be reached too early.
//!
//! A variable lives in a register of the function that declares it. If another
//! function captures it, the closure copies the register (by value) when the
//! variable never changes and is initialised for certain before the closure is
//! made; otherwise the register holds a cell that both share.
//!
//! "For certain" is decided by positions in the text, which is exact enough
//! because there is no jump backwards into a scope: inside a scope, what stands
//! behind an initialisation runs behind it. Exceptions are function declarations
//! (made when their scope is entered) and switch cases.

use oxc_ast::AstKind;
use oxc_ast::ast::{BindingPattern, VariableDeclarationKind};
use oxc_semantic::Semantic;
use oxc_span::{GetSpan, Span};
use oxc_syntax::scope::ScopeId;
use oxc_syntax::symbol::SymbolId;

/// How a variable was declared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Types, and whatever the lowering refuses.
    None,
    Var,
    Let,
    Const,
    Param,
    Catch,
    /// A function declaration.
    Function,
    /// The name of a function expression, inside it.
    SelfName,
    Import,
}

/// A variable.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) kind: Kind,
    /// Where it is declared.
    pub(crate) span: Span,
    /// Scope that holds it.
    pub(crate) scope: ScopeId,
    /// Function scope (or the root) that holds it.
    pub(crate) function: ScopeId,
    /// Assigned after its initialisation, or declared twice.
    pub(crate) mutated: bool,
    /// Captured by a function and shared through a cell.
    pub(crate) cell: bool,
    /// Can be reached before its initialisation: must hold the marker (or an
    /// empty cell) from the start of its scope on.
    pub(crate) early: bool,
    /// Top level of a module: lives in a module slot.
    pub(crate) module: bool,
    /// Top level of a Script: a property of the global object (conformance mode).
    pub(crate) property: bool,
    /// Of a function declaration: the scope of that function.
    pub(crate) own_scope: Option<ScopeId>,
    /// It refers to itself from inside, without being a cell.
    pub(crate) self_used: bool,
    /// Some reference reads or writes it.
    pub(crate) used: bool,
    /// Positions of assignments.
    pub(crate) writes: Vec<u32>,
    /// Positions of captures inside a loop head (`for (let ...; ...; ...)`).
    pub(crate) captured: Vec<u32>,
    /// Initialised from this position on ...
    init_end: u32,
    /// ... but not inside these spans, which run before it.
    before: Vec<Span>,
    /// In a switch: the case that declares it.
    case: Option<Span>,
    in_switch: bool,
}

impl Variable {
    /// Whether code of its own function at `position` finds it initialised for certain.
    pub(crate) fn is_initialised_at(&self, position: u32) -> bool {
        match self.kind {
            Kind::Let | Kind::Const | Kind::Param => {
                position >= self.init_end
                    && !self.before.iter().any(|s| s.start <= position && position < s.end)
                    && (!self.in_switch || self.case.is_some_and(|c| c.start <= position && position < c.end))
            }
            Kind::None | Kind::Var | Kind::Catch | Kind::Function | Kind::SelfName | Kind::Import => true,
        }
    }

    /// Whether it is assigned between two positions.
    pub(crate) fn is_written_in(&self, start: u32, end: u32) -> bool {
        self.writes.iter().any(|w| (start..end).contains(w))
    }
}

/// The variables of a file.
#[derive(Debug)]
pub(crate) struct Variables {
    variables: Vec<Variable>,
    by_scope: Vec<Vec<SymbolId>>,
    /// Functions that mention `arguments`, themselves or in arrows.
    with_arguments: Vec<ScopeId>,
}

impl Variables {
    pub(crate) fn get(&self, symbol: SymbolId) -> &Variable {
        &self.variables[symbol.index()]
    }

    /// Whether the function with this scope needs its arguments object.
    pub(crate) fn has_arguments(&self, function: ScopeId) -> bool {
        self.with_arguments.contains(&function)
    }

    /// Variables of a scope, in the order of their declarations.
    pub(crate) fn of_scope(&self, scope: ScopeId) -> &[SymbolId] {
        self.by_scope.get(scope.index()).map_or(&[], Vec::as_slice)
    }
}

/// Resolves again what oxc_semantic 0.146 resolves too early: a name in a
/// parameter list or catch parameter is bound before the scopes around it are read
/// to their end, so that in `{ const g = (a = k) => a; let k = 7; }` it finds a `k`
/// further out.
pub(crate) fn repair(semantic: &mut Semantic<'_>) {
    let scoping = semantic.scoping();
    let nodes = semantic.nodes();
    let mut repairs = Vec::new();
    for old in scoping.symbol_ids() {
        // Catch parameters were moved behind the scope that their patterns see.
        if scoping.symbol_flags(old).is_catch_variable() {
            continue;
        }
        for &id in scoping.get_resolved_reference_ids(old) {
            let reference = scoping.get_reference(id);
            if !reference.is_value() {
                continue;
            }
            let position = semantic.reference_span(reference).start;
            let nearest = scoping.scope_ancestors(reference.scope_id()).find_map(|scope| {
                let found = scoping.get_binding(scope, scoping.symbol_ident(old))?;
                let parameters = match nodes.kind(scoping.get_node_id(scope)) {
                    AstKind::Function(f) => Some(f.params.span),
                    AstKind::ArrowFunctionExpression(f) => Some(f.params.span),
                    _ => None,
                };
                // Parameters don't see what the body declares.
                let is_of_body = parameters.is_some_and(|p| {
                    p.start <= position && position < p.end && scoping.symbol_span(found).start >= p.end
                });
                (!is_of_body && scoping.symbol_flags(found).can_be_referenced_by_value()).then_some(found)
            });
            if let Some(new) = nearest.filter(|new| *new != old) {
                repairs.push((id, old, new));
            }
        }
    }
    let scoping = semantic.scoping_mut();
    for (id, old, new) in repairs {
        scoping.delete_resolved_reference(old, id);
        scoping.get_reference_mut(id).set_symbol_id(new);
        scoping.add_resolved_reference(new, id);
    }
}

/// Finds out what each variable of a file needs. `is_module`: the top level's
/// variables are module variables.
pub(crate) fn analyse(semantic: &Semantic<'_>, is_module: bool, conformance: bool) -> Variables {
    let scoping = semantic.scoping();
    let nodes = semantic.nodes();
    let functions: Vec<ScopeId> =
        (0..scoping.scopes_len()).map(|i| function_of(semantic, ScopeId::from_usize(i))).collect();
    let mut variables: Vec<Variable> = scoping
        .symbol_ids()
        .map(|symbol| {
            let scope = scoping.symbol_scope_id(symbol);
            Variable {
                kind: Kind::None,
                span: scoping.symbol_span(symbol),
                scope,
                function: functions[scope.index()],
                mutated: !scoping.symbol_redeclarations(symbol).is_empty(),
                cell: false,
                early: false,
                module: is_module && scope == scoping.root_scope_id(),
                property: false,
                own_scope: None,
                self_used: false,
                used: false,
                writes: Vec::new(),
                captured: Vec::new(),
                init_end: 0,
                before: Vec::new(),
                case: None,
                in_switch: matches!(nodes.kind(scoping.get_node_id(scope)), AstKind::SwitchStatement(_)),
            }
        })
        .collect();
    for node in nodes.iter() {
        declare(semantic, node.id(), node.kind(), &mut variables);
    }
    for v in variables.iter_mut().filter(|_| conformance) {
        v.property = v.scope == scoping.root_scope_id() && matches!(v.kind, Kind::Var | Kind::Function);
    }
    for symbol in scoping.symbol_ids() {
        let mut v = variables[symbol.index()].clone();
        references(semantic, symbol, &functions, &variables, &mut v);
        variables[symbol.index()] = v;
    }
    let mut by_scope = vec![Vec::new(); scoping.scopes_len()];
    for symbol in scoping.symbol_ids() {
        let v = &variables[symbol.index()];
        if v.kind != Kind::None {
            by_scope[v.scope.index()].push(symbol);
        }
    }
    Variables { variables, by_scope, with_arguments: with_arguments(semantic) }
}

/// The functions whose `arguments` somebody reads. In strict code nothing can be declared by that name, so
/// whatever oxc couldn't resolve is meant.
fn with_arguments(semantic: &Semantic<'_>) -> Vec<ScopeId> {
    let scoping = semantic.scoping();
    let mut functions = Vec::new();
    let mentions =
        scoping.root_unresolved_references().iter().filter(|(name, _)| name.as_str() == "arguments");
    for id in mentions.flat_map(|(_, ids)| ids) {
        let from = scoping.get_reference(*id).scope_id();
        let own = |s: &ScopeId| scoping.scope_flags(*s).is_function() && !scoping.scope_flags(*s).is_arrow();
        if let Some(function) = scoping.scope_ancestors(from).find(own)
            && !functions.contains(&function)
        {
            functions.push(function);
        }
    }
    functions
}

/// The function scope around a scope, or the root.
fn function_of(semantic: &Semantic<'_>, scope: ScopeId) -> ScopeId {
    let scoping = semantic.scoping();
    let is_function = |s: &ScopeId| scoping.scope_flags(*s).is_function();
    scoping.scope_ancestors(scope).find(is_function).unwrap_or_else(|| scoping.root_scope_id())
}

fn declare(
    semantic: &Semantic<'_>,
    id: oxc_syntax::node::NodeId,
    kind: AstKind<'_>,
    variables: &mut [Variable],
) {
    let nodes = semantic.nodes();
    let case = |v: &mut Variable| {
        if v.in_switch {
            v.case = nodes.ancestor_kinds(id).find_map(|k| match k {
                AstKind::SwitchCase(case) => Some(case.span),
                _ => None,
            });
        }
    };
    match kind {
        AstKind::VariableDeclarator(d) => {
            let AstKind::VariableDeclaration(list) = nodes.parent_kind(id) else { return };
            if list.declare {
                return;
            }
            let kind = match list.kind {
                VariableDeclarationKind::Var => Kind::Var,
                VariableDeclarationKind::Let => Kind::Let,
                VariableDeclarationKind::Const => Kind::Const,
                VariableDeclarationKind::Using | VariableDeclarationKind::AwaitUsing => Kind::None,
            };
            let head = match nodes.parent_kind(nodes.parent_id(id)) {
                AstKind::ForOfStatement(f) if f.left.span() == list.span => Some(f.right.span()),
                AstKind::ForInStatement(f) if f.left.span() == list.span => Some(f.right.span()),
                _ => None,
            };
            let before: Vec<Span> = head.into_iter().chain(d.init.as_ref().map(GetSpan::span)).collect();
            each_binding(&d.id, &mut Vec::new(), &mut |symbol, end, inner| {
                let v = &mut variables[symbol.index()];
                if v.kind == Kind::None {
                    v.kind = kind;
                    v.init_end = end;
                    v.before.extend(before.iter().chain(inner));
                    case(v);
                }
            });
        }
        AstKind::FormalParameter(p) => {
            let before: Vec<Span> = p.initializer.iter().map(|i| i.span()).collect();
            each_binding(&p.pattern, &mut Vec::new(), &mut |symbol, end, inner| {
                let v = &mut variables[symbol.index()];
                v.kind = Kind::Param;
                v.init_end = end;
                v.before.extend(before.iter().chain(inner));
            });
        }
        AstKind::FormalParameterRest(p) => {
            each_binding(&p.rest.argument, &mut Vec::new(), &mut |symbol, end, inner| {
                let v = &mut variables[symbol.index()];
                v.kind = Kind::Param;
                v.init_end = end;
                v.before.extend(inner);
            });
        }
        AstKind::CatchParameter(p) => {
            let simple = matches!(p.pattern, BindingPattern::BindingIdentifier(_));
            each_binding(&p.pattern, &mut Vec::new(), &mut |symbol, end, inner| {
                let v = &mut variables[symbol.index()];
                v.kind = if simple { Kind::Catch } else { Kind::Let };
                v.init_end = end;
                v.before.extend(inner);
            });
        }
        AstKind::Function(f) => {
            let Some(symbol) = f.id.as_ref().and_then(|id| id.symbol_id.get()) else { return };
            let v = &mut variables[symbol.index()];
            if f.is_declaration() {
                if f.body.is_none() || f.declare {
                    return;
                }
                // A parameter or var of the same name: one variable, assigned at entry.
                if v.kind == Kind::None {
                    v.kind = Kind::Function;
                    v.own_scope = f.scope_id.get();
                }
            } else if f.is_expression() {
                v.kind = Kind::SelfName;
            }
        }
        AstKind::ImportSpecifier(s) if !s.import_kind.is_type() => import(s.local.symbol_id.get(), variables),
        AstKind::ImportDefaultSpecifier(s) => import(s.local.symbol_id.get(), variables),
        AstKind::ImportNamespaceSpecifier(s) => import(s.local.symbol_id.get(), variables),
        _ => {}
    }
}

fn import(symbol: Option<SymbolId>, variables: &mut [Variable]) {
    if let Some(symbol) = symbol {
        variables[symbol.index()].kind = Kind::Import;
    }
}

/// Calls `f` with each variable of a pattern, where its element ends, and the
/// defaults of patterns around it (which run before it is bound).
fn each_binding(
    pattern: &BindingPattern<'_>,
    around: &mut Vec<Span>,
    f: &mut dyn FnMut(SymbolId, u32, &[Span]),
) {
    match pattern {
        BindingPattern::BindingIdentifier(id) => {
            if let Some(symbol) = id.symbol_id.get() {
                f(symbol, id.span.end, around);
            }
        }
        BindingPattern::AssignmentPattern(a) => {
            around.push(a.right.span());
            each_binding(&a.left, around, f);
            around.pop();
        }
        BindingPattern::ObjectPattern(o) => {
            for property in &o.properties {
                each_binding(&property.value, around, f);
            }
            if let Some(rest) = &o.rest {
                each_binding(&rest.argument, around, f);
            }
        }
        BindingPattern::ArrayPattern(a) => {
            for element in a.elements.iter().flatten() {
                each_binding(element, around, f);
            }
            if let Some(rest) = &a.rest {
                each_binding(&rest.argument, around, f);
            }
        }
    }
}

/// Looks at all references of a variable and decides.
fn references(
    semantic: &Semantic<'_>,
    symbol: SymbolId,
    functions: &[ScopeId],
    variables: &[Variable],
    v: &mut Variable,
) {
    let scoping = semantic.scoping();
    let list: Vec<_> = scoping.get_resolved_references(symbol).filter(|r| r.is_value()).collect();
    for r in &list {
        v.used = true;
        if r.is_write() {
            v.mutated = true;
            v.writes.push(semantic.reference_span(r).start);
        }
    }
    v.mutated |= v.kind == Kind::Var;
    if v.module || v.property {
        return;
    }
    for r in list {
        let position = semantic.reference_span(r).start;
        if functions[r.scope_id().index()] == v.function {
            v.early |= !v.is_initialised_at(position);
            continue;
        }
        // The function, a direct child of the variable's, through which this
        // reference reaches it; on the way maybe the declared function itself.
        let mut child = r.scope_id();
        let mut through_itself = false;
        for scope in scoping.scope_ancestors(r.scope_id()) {
            if scope == v.function {
                break;
            }
            through_itself |= Some(scope) == v.own_scope;
            if scoping.scope_flags(scope).is_function() {
                child = scope;
            }
        }
        if through_itself && !v.mutated {
            v.self_used = true;
            continue;
        }
        v.captured.push(position);
        let created_after = is_created_after(semantic, child, v, variables);
        v.cell |= v.mutated || !created_after;
        v.early |= !created_after;
    }
    // The cell of a function or var exists before any closure does.
    v.early |= v.cell && matches!(v.kind, Kind::Function | Kind::Var);
}

/// Whether the closure over the function scope `child` is made when `v` is
/// initialised for certain.
fn is_created_after(semantic: &Semantic<'_>, child: ScopeId, v: &Variable, variables: &[Variable]) -> bool {
    let scoping = semantic.scoping();
    let node = semantic.nodes().kind(scoping.get_node_id(child));
    let declaration = match node {
        AstKind::Function(f) if f.is_declaration() => Some(f),
        _ => None,
    };
    let Some(f) = declaration else {
        return v.is_initialised_at(node.span().start);
    };
    // A declaration: its closure is made when the scope around it is entered.
    let Some(around) = scoping.scope_parent_id(child) else { return false };
    if around != v.scope {
        let entered = semantic.nodes().kind(scoping.get_node_id(around)).span().start;
        return v.is_initialised_at(entered);
    }
    match v.kind {
        Kind::Param | Kind::Catch | Kind::SelfName => true,
        // In the order of the text: those above exist already.
        Kind::Function => {
            let own = f.id.as_ref().and_then(|id| id.symbol_id.get());
            own.is_some_and(|s| variables[s.index()].span.start > v.span.start)
        }
        Kind::Var | Kind::Let | Kind::Const | Kind::Import | Kind::None => false,
    }
}
