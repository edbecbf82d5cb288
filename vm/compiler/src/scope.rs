//! What each variable needs: a register, a cell or a module slot, and checks
//! before its initialisation only where it can be reached too early.
//!
//! A variable lives in a register of the function that declares it. If another
//! function captures it, the closure copies the register (by value) when the
//! variable never changes and is initialised for certain before the closure is
//! made; otherwise the register holds a cell that both share.
//!
//! The initialisers of a class's fields are code of a function, too, though the tree has no scope for it: of the
//! constructor, or of one that the lowering makes ([`Regions`]).
//!
//! "For certain" is decided by positions in the text, which is exact enough
//! because there is no jump backwards into a scope: inside a scope, what stands
//! behind an initialisation runs behind it. Exceptions are function declarations
//! (made when their scope is entered) and switch cases.

use oxc_ast::AstKind;
use std::collections::{HashMap, HashSet};

use oxc_ast::ast::{BindingPattern, Class, ClassElement, MethodDefinitionKind, VariableDeclarationKind};
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
    /// A class declaration.
    Class,
    /// The name of a class expression, inside it.
    ClassName,
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
    /// Of a class: its text, where the name is a constant binding of the class itself.
    pub(crate) class: Option<Span>,
    /// That binding is used.
    pub(crate) inner_used: bool,
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
            Kind::Let | Kind::Const | Kind::Param | Kind::Class => {
                position >= self.init_end
                    && !self.before.iter().any(|s| s.start <= position && position < s.end)
                    && (!self.in_switch || self.case.is_some_and(|c| c.start <= position && position < c.end))
            }
            Kind::None
            | Kind::Var
            | Kind::Catch
            | Kind::Function
            | Kind::SelfName
            | Kind::ClassName
            | Kind::Import => true,
        }
    }

    /// Whether a reference at `position` means the binding inside the class.
    pub(crate) fn is_inner_at(&self, position: u32) -> bool {
        self.class.is_some_and(|span| span.start <= position && position < span.end)
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
    regions: Regions,
    /// Functions that use `new.target`, themselves or through arrows.
    pub(crate) new_target: HashSet<ScopeId>,
    /// Functions whose `this` arrows capture.
    pub(crate) this_captured: HashSet<ScopeId>,
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

    /// The scope id that stands for the function in which an initialiser runs: its class's scope, and the
    /// initialiser's own position where it is static.
    pub(crate) fn initialiser(&self, class: ScopeId, element: Option<u32>) -> ScopeId {
        self.regions.functions.get(&(class, element)).copied().unwrap_or(class)
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
    let regions = Regions::of(semantic);
    let mut variables: Vec<Variable> = scoping
        .symbol_ids()
        .map(|symbol| {
            let scope = scoping.symbol_scope_id(symbol);
            Variable {
                kind: Kind::None,
                span: scoping.symbol_span(symbol),
                scope,
                function: regions.owners[scope.index()].0,
                mutated: !scoping.symbol_redeclarations(symbol).is_empty(),
                cell: false,
                early: false,
                module: is_module && scope == scoping.root_scope_id(),
                property: false,
                own_scope: None,
                self_used: false,
                used: false,
                class: None,
                inner_used: false,
                writes: Vec::new(),
                captured: Vec::new(),
                init_end: 0,
                before: Vec::new(),
                case: None,
                in_switch: matches!(nodes.kind(scoping.get_node_id(scope)), AstKind::SwitchStatement(_)),
            }
        })
        .collect();
    let (mut new_target, mut this_captured) = (HashSet::new(), HashSet::new());
    for node in nodes.iter() {
        declare(semantic, node.id(), node.kind(), &mut variables);
        // What an arrow takes from the function around it.
        let wanted = match node.kind() {
            AstKind::NewTarget(_) => &mut new_target,
            AstKind::ThisExpression(_) | AstKind::Super(_) => &mut this_captured,
            _ => continue,
        };
        let mut function = regions.function_at(node.scope_id(), node.kind().span().start);
        let direct = function;
        while regions.is_arrow(semantic, function) {
            let outer = regions.parent(semantic, function);
            if outer == function {
                break;
            }
            function = outer;
        }
        if function != direct || matches!(node.kind(), AstKind::NewTarget(_)) {
            wanted.insert(function);
        }
    }
    for v in variables.iter_mut().filter(|_| conformance) {
        v.property = v.scope == scoping.root_scope_id() && matches!(v.kind, Kind::Var | Kind::Function);
    }
    for symbol in scoping.symbol_ids() {
        let mut v = variables[symbol.index()].clone();
        references(semantic, symbol, &regions, &variables, &mut v);
        variables[symbol.index()] = v;
    }
    let mut by_scope = vec![Vec::new(); scoping.scopes_len()];
    for symbol in scoping.symbol_ids() {
        let v = &variables[symbol.index()];
        if v.kind != Kind::None {
            by_scope[v.scope.index()].push(symbol);
        }
    }
    let with_arguments = with_arguments(semantic);
    Variables { variables, by_scope, regions, new_target, this_captured, with_arguments }
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

/// Which function each piece of code belongs to.
///
/// For a scope that is the function scope around it, or the root; but the value of a class's field runs in a function
/// of its own: that of an instance's field in the constructor, if the class has one and extends nothing, else in a
/// function of all of them; that of a static field in one for itself. Those that the tree has no scope for have
/// ids behind its last.
#[derive(Debug, Default)]
struct Regions {
    /// By scope: its function, and the text that belongs to that without having a scope of its own.
    owners: Vec<(ScopeId, Span)>,
    /// Values of fields, by their start: text, function, and the place of the value around it (its own: none).
    values: Vec<(Span, ScopeId, usize)>,
    /// Functions of a class's values: of instances (none) or of the static one at a position.
    functions: HashMap<(ScopeId, Option<u32>), ScopeId>,
    /// Functions without scope: the class's scope and text.
    made: Vec<(ScopeId, Span)>,
    /// Scopes of the tree.
    scopes: usize,
}

impl Regions {
    fn of(semantic: &Semantic<'_>) -> Self {
        let scoping = semantic.scoping();
        let nodes = semantic.nodes();
        let mut regions = Self { scopes: scoping.scopes_len(), ..Self::default() };
        for node in nodes.iter() {
            if let AstKind::Class(class) = node.kind() {
                regions.class(class);
            }
        }
        regions.values.sort_by_key(|(span, ..)| span.start);
        for at in 0..regions.values.len() {
            let start = regions.values[at].0.start;
            let around = at.checked_sub(1).and_then(|before| regions.value_from(before, start));
            regions.values[at].2 = around.unwrap_or(at);
        }
        regions.owners = (0..regions.scopes)
            .map(|i| {
                let scope = ScopeId::from_usize(i);
                let is_function = |s: &ScopeId| {
                    let flags = scoping.scope_flags(*s);
                    flags.is_function() || flags.is_class_static_block()
                };
                let around = scoping.scope_ancestors(scope).find(is_function);
                let around = around.unwrap_or_else(|| scoping.root_scope_id());
                let span = nodes.kind(scoping.get_node_id(around)).span();
                let start = nodes.kind(scoping.get_node_id(scope)).span().start;
                match regions.value_at(start) {
                    // Inside the function: the value's; else the function is inside the value.
                    Some((value, function)) if around != scope && inside(value, span) => (function, value),
                    _ => (around, span),
                }
            })
            .collect();
        regions
    }

    fn class(&mut self, class: &Class<'_>) {
        let Some(scope) = class.scope_id.get() else { return };
        if class.declare {
            return;
        }
        let constructor = class.body.body.iter().find_map(|element| match element {
            ClassElement::MethodDefinition(m)
                if m.kind == MethodDefinitionKind::Constructor && m.value.body.is_some() =>
            {
                m.value.scope_id.get()
            }
            _ => None,
        });
        let of_instances = match constructor.filter(|_| class.heritage.is_none()) {
            Some(constructor) => constructor,
            None => self.make(scope, class.span),
        };
        self.functions.insert((scope, None), of_instances);
        for element in &class.body.body {
            let ClassElement::PropertyDefinition(p) = element else { continue };
            let function = if p.r#static {
                let function = self.make(scope, class.span);
                self.functions.insert((scope, Some(p.span.start)), function);
                function
            } else {
                of_instances
            };
            if let Some(value) = &p.value {
                self.values.push((value.span(), function, 0));
            }
        }
    }

    fn make(&mut self, class: ScopeId, span: Span) -> ScopeId {
        self.made.push((class, span));
        ScopeId::from_usize(self.scopes + self.made.len() - 1)
    }

    /// The innermost value of a field around a position.
    fn value_at(&self, position: u32) -> Option<(Span, ScopeId)> {
        let before = self.values.partition_point(|(span, ..)| span.start <= position);
        let at = self.value_from(before.checked_sub(1)?, position)?;
        Some((self.values[at].0, self.values[at].1))
    }

    /// The innermost value around a position, from the last that begins before it on.
    fn value_from(&self, mut at: usize, position: u32) -> Option<usize> {
        loop {
            let (span, _, around) = self.values[at];
            if position < span.end {
                return Some(at);
            }
            if around == at {
                return None;
            }
            at = around;
        }
    }

    /// The function that code in a scope, at a position, belongs to.
    fn function_at(&self, scope: ScopeId, position: u32) -> ScopeId {
        let (function, text) = self.owners[scope.index()];
        match self.value_at(position) {
            Some((value, of)) if value != text && inside(value, text) => of,
            _ => function,
        }
    }

    /// The function in which a function is made.
    fn parent(&self, semantic: &Semantic<'_>, function: ScopeId) -> ScopeId {
        if let Some((class, _)) = function.index().checked_sub(self.scopes).map(|at| self.made[at]) {
            return self.owners[class.index()].0;
        }
        match semantic.scoping().scope_parent_id(function) {
            Some(scope) => self.function_at(scope, self.made_at(semantic, function)),
            None => function,
        }
    }

    /// Where a function begins in the text: no earlier is its closure made.
    fn made_at(&self, semantic: &Semantic<'_>, function: ScopeId) -> u32 {
        match function.index().checked_sub(self.scopes) {
            Some(at) => self.made[at].1.start,
            None => semantic.nodes().kind(semantic.scoping().get_node_id(function)).span().start,
        }
    }

    fn is_arrow(&self, semantic: &Semantic<'_>, function: ScopeId) -> bool {
        function.index() < self.scopes && semantic.scoping().scope_flags(function).is_arrow()
    }
}

fn inside(inner: Span, outer: Span) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
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
        AstKind::Class(c) if !c.declare => {
            let Some(symbol) = c.id.as_ref().and_then(|id| id.symbol_id.get()) else { return };
            let v = &mut variables[symbol.index()];
            v.class = Some(c.span);
            if c.is_declaration() {
                v.kind = Kind::Class;
                v.init_end = c.span.end;
                case(v);
            } else {
                v.kind = Kind::ClassName;
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
    regions: &Regions,
    variables: &[Variable],
    v: &mut Variable,
) {
    let scoping = semantic.scoping();
    let mut list: Vec<_> = scoping.get_resolved_references(symbol).filter(|r| r.is_value()).collect();
    if v.class.is_some() {
        // Inside the class the name is another binding.
        let all = list.len();
        list.retain(|r| !v.is_inner_at(semantic.reference_span(r).start));
        v.inner_used = list.len() < all;
    }
    for r in &list {
        v.used = true;
        if r.is_write() {
            // The name of a function expression is constant: what assigns it throws.
            v.mutated |= v.kind != Kind::SelfName;
            v.writes.push(semantic.reference_span(r).start);
        }
    }
    v.mutated |= v.kind == Kind::Var;
    if v.module || v.property {
        return;
    }
    for r in list {
        let position = semantic.reference_span(r).start;
        let function = regions.function_at(r.scope_id(), position);
        if function == v.function {
            v.early |= !v.is_initialised_at(position);
            continue;
        }
        // The function, a direct child of the variable's, through which this
        // reference reaches it; on the way maybe the declared function itself.
        let mut child = function;
        let mut through_itself = false;
        loop {
            through_itself |= Some(child) == v.own_scope;
            let parent = regions.parent(semantic, child);
            if parent == v.function || parent == child {
                break;
            }
            child = parent;
        }
        if through_itself && !v.mutated {
            v.self_used = true;
            continue;
        }
        v.captured.push(position);
        let created_after = is_created_after(semantic, regions, child, v, variables);
        v.cell |= v.mutated || !created_after;
        v.early |= !created_after;
    }
    // The cell of a function or var exists before any closure does.
    v.early |= v.cell && matches!(v.kind, Kind::Function | Kind::Var);
}

/// Whether the closure over the function scope `child` is made when `v` is
/// initialised for certain.
fn is_created_after(
    semantic: &Semantic<'_>,
    regions: &Regions,
    child: ScopeId,
    v: &Variable,
    variables: &[Variable],
) -> bool {
    let scoping = semantic.scoping();
    let declaration =
        match (child.index() < regions.scopes).then(|| semantic.nodes().kind(scoping.get_node_id(child))) {
            Some(AstKind::Function(f)) if f.is_declaration() => Some(f),
            _ => None,
        };
    let Some(f) = declaration else {
        return v.is_initialised_at(regions.made_at(semantic, child));
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
        Kind::Var | Kind::Let | Kind::Const | Kind::Class | Kind::ClassName | Kind::Import | Kind::None => {
            false
        }
    }
}
