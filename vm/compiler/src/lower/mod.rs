//! Tree to instructions.
//!
//! | module | what it lowers |
//! |---|---|
//! | [`self`] | the module: top levels, styles, names |
//! | `function` | functions: parameters, hoisting, closures |
//! | `generator` | `yield`, and iterators whose methods answer with promises |
//! | `statement` | statements, loops, try/finally |
//! | `expression` | expressions into a wanted register |
//! | `assign` | assignments, updates |
//! | `class` | classes: constructors, members, fields |
//! | `pattern` | destructuring |
//! | `call` | calls, member chains, optional chains, host functions |
//! | `super_` | `super`, `new.target`, and the `this` of constructors |
//! | `query` | `where(row => ...)` to a predicate |
//! | `works` | `work()` chains |

mod assign;
mod call;
mod class;
mod expression;
mod function;
mod generator;
mod host;
mod namespace;
mod pattern;
mod query;
mod statement;
mod super_;
mod works;

use std::collections::HashMap;

use forebay_bytecode::module::{SourceFile, function_flags};
use forebay_bytecode::{FunctionIndex, Global, HostFn, Module, Op};
use oxc_ast::ast::{
    Declaration, ExportDefaultDeclarationKind, Expression, IdentifierReference, ImportOrExportKind, Statement,
};
use oxc_span::{GetSpan, Span};
use oxc_syntax::scope::ScopeId;
use oxc_syntax::symbol::SymbolId;

use crate::diagnostic::{Severity, Sink, did_you_mean};
use crate::emit::{Builder, Pool, Reg, UpKey};
use crate::files::{Files, Import, Target};
use crate::schema::Trees;
use crate::scope::{Kind, Variable, Variables};
pub(crate) use function::strip;
use works::Survey;
pub(crate) use works::normalised;

/// Where a value is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Want {
    /// Anywhere: a variable's own register, or a new one at the top of the stack.
    Any,
    /// In this register, which nobody reads before the expression is done.
    Free(Reg),
    /// In this variable's register: it is written last, when nothing can fail any more.
    Variable(Reg),
}

/// Where a variable is, seen from the current function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Binding {
    Register(Reg),
    /// A register that holds a cell.
    Cell(Reg),
    Upvalue(u16),
    /// An upvalue that is a cell.
    UpCell(u16),
    Slot(u32),
    /// A property of the global object: constant with its name (conformance mode).
    Property(u32),
}

/// What a function or class is called that has no name of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Label<'s> {
    Text(&'s str),
    /// A property key in a register.
    Key(Reg),
}

/// What an identifier means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name {
    Variable(SymbolId),
    /// The name of a class, inside it: a hidden cell.
    Class(u32),
    Import(Target),
    Undefined,
    Host(HostFn),
    /// `kv`, `log`: a name that is only good with a member.
    Namespace,
    Global(Global),
    /// Looked up in the global object at run time (conformance mode).
    Property,
    /// The arguments object of the function around.
    Arguments,
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum SlotKey {
    Symbol(usize, SymbolId),
    Default(usize),
    /// The namespace object of a file, if it is used as a value.
    Namespace(usize),
}

/// The lowering of one module.
pub(crate) struct Lower<'p, 'a> {
    files: &'p Files<'a>,
    variables: Vec<Variables>,
    sink: &'p mut Sink,
    module: Module,
    pool: Pool,
    slots: HashMap<SlotKey, u32>,
    /// Files whose namespace object is used, and its slot.
    namespaces: Vec<(usize, u32)>,
    /// Functions of a file that look at their `this`; found when somebody asks.
    sees_this: HashMap<usize, std::collections::HashSet<oxc_semantic::NodeId>>,
    /// Functions under construction, outermost first.
    functions: Vec<Builder>,
    survey: Survey,
    /// Names of works and where they are, for duplicates.
    work_names: HashMap<String, Span>,
    route_names: HashMap<(String, String), Span>,
    /// The functions are those of a script's body: handlers of requests.
    depth: usize,
    /// Lambdas of chains, for the checks against a database.
    trees: Trees,
    /// The next number of what only the lowering knows (`Builder::hidden`).
    hidden_next: u32,
    /// Private names of the classes around, innermost last: hidden numbers by name.
    privates: Vec<HashMap<&'a str, u32>>,
    /// Hidden cells of the names that classes have inside.
    class_names: HashMap<(usize, SymbolId), u32>,
    /// Parameters of handlers: the request.
    requests: Vec<SymbolId>,
}

/// Where the body of a script begins, behind its last import; none for a module.
pub(crate) fn script_body(files: &Files<'_>) -> Option<usize> {
    let file = files.list.first()?;
    if Survey::of(files, &mut Sink::default()).is_module {
        return None;
    }
    let mut imports = file.program.body.iter().filter(|s| matches!(s, Statement::ImportDeclaration(_)));
    Some(imports.next_back().map_or(0, |import| import.span().end as usize))
}

/// Lowers a blueprint. Errors go to `sink`; the module is good only if there are none.
pub(crate) fn lower(files: &Files<'_>, sink: &mut Sink) -> (Module, Trees) {
    let survey = if files.options.conformance { Survey::default() } else { Survey::of(files, sink) };
    let variables = files
        .list
        .iter()
        .enumerate()
        .map(|(i, f)| {
            crate::scope::analyse(&f.semantic, i != 0 || survey.is_module, files.options.conformance)
        })
        .collect();
    let mut lower = Lower {
        files,
        variables,
        sink,
        module: Module::default(),
        pool: Pool::default(),
        slots: HashMap::new(),
        namespaces: Vec::new(),
        sees_this: HashMap::new(),
        functions: Vec::new(),
        survey,
        work_names: HashMap::new(),
        route_names: HashMap::new(),
        depth: 0,
        trees: Trees::new(),
        hidden_next: 0,
        privates: Vec::new(),
        class_names: HashMap::new(),
        requests: Vec::new(),
    };
    lower.program();
    let trees = std::mem::take(&mut lower.trees);
    let mut module = lower.module;
    module.constants = lower.pool.constants;
    module.files =
        files.list.iter().map(|f| SourceFile { path: (*f.path).into(), text: (*f.text).into() }).collect();
    (module, trees)
}

impl<'p, 'a> Lower<'p, 'a> {
    fn program(&mut self) {
        let order = self.files.order();
        let modules: Vec<usize> =
            order.iter().copied().filter(|&i| i != 0 || self.survey.is_module).collect();
        if !modules.is_empty() {
            self.module.init = Some(self.init(&modules));
        }
        if !self.survey.is_module {
            let main = self.script();
            self.module.main = Some(main);
            self.works_of_script(main);
        }
        self.namespaces();
    }

    /// The function that runs the modules' top levels.
    fn init(&mut self, modules: &[usize]) -> FunctionIndex {
        let name = self.pool.string("");
        let root = |file: usize| self.files.list[file].semantic.scoping().root_scope_id();
        self.functions.push(Builder::new(modules[0], root(modules[0]), function_flags::INIT, name));
        // Functions of all modules exist before the first top level runs:
        // modules of a cycle call each other's.
        for &file in modules {
            self.enter_file(file);
            let program = self.files.list[file].program;
            self.allocate_scope(self.root(), program.span);
            for statement in &program.body {
                self.hoist_statement(statement);
            }
        }
        for &file in modules {
            self.enter_file(file);
            for statement in &self.files.list[file].program.body {
                self.top_level_statement(statement);
            }
        }
        self.finish_works();
        let end = Span::empty(0);
        self.end_body(end);
        self.finish_function(end)
    }

    fn enter_file(&mut self, file: usize) {
        let scope = self.files.list[file].semantic.scoping().root_scope_id();
        let f = self.f();
        f.file = file;
        f.scope = scope;
    }

    /// The body of a script-style blueprint.
    fn script(&mut self) -> FunctionIndex {
        let name = self.pool.string("");
        let program = self.files.list[0].program;
        let root = self.files.list[0].semantic.scoping().root_scope_id();
        self.functions.push(Builder::new(0, root, function_flags::SCRIPT, name));
        if self.files.options.conformance {
            self.f().abx(Op::LoadGlobal, 0, Global::GlobalThis as u32, Span::empty(0));
        }
        self.allocate_scope(root, program.span);
        for statement in &program.body {
            self.hoist_statement(statement);
        }
        for statement in &program.body {
            self.top_level_statement(statement);
        }
        let end = Span::empty(program.span.end);
        self.end_body(end);
        self.finish_function(Span::empty(0))
    }

    /// A statement of a module's or script's top level.
    fn top_level_statement(&mut self, statement: &'a Statement<'a>) {
        match statement {
            Statement::ImportDeclaration(_) => {}
            // Types, and the `export {}` that makes a module of a file for TypeScript.
            _ if exports_no_value(statement) => {}
            Statement::ExportAllDeclaration(_)
            | Statement::ExportNamedDeclaration(_)
            | Statement::ExportFromDeclaration(_)
            | Statement::ExportDeclaration(_)
            | Statement::ExportDefaultDeclaration(_)
                if self.file() == 0 && !self.survey.is_module =>
            {
                self.error(
                    "FB0705",
                    statement.span(),
                    "a script exports nothing",
                    Some("modules in lib/ do"),
                );
            }
            Statement::ExportAllDeclaration(_)
            | Statement::ExportNamedDeclaration(_)
            | Statement::ExportFromDeclaration(_) => {}
            Statement::ExportDeclaration(e) => match &e.declaration {
                Declaration::VariableDeclaration(d) => self.variable_declaration(d),
                other => self.declaration(other),
            },
            Statement::ExportDefaultDeclaration(e) => match &e.declaration {
                ExportDefaultDeclarationKind::FunctionDeclaration(_)
                | ExportDefaultDeclarationKind::TSInterfaceDeclaration(_) => {}
                ExportDefaultDeclarationKind::ClassDeclaration(c) if c.id.is_some() => {
                    self.class_declaration(c);
                }
                ExportDefaultDeclarationKind::ClassDeclaration(c) => {
                    let mark = self.f().next;
                    let register = self.class(c, Label::Text("default"), Want::Any);
                    let slot = self.slot(SlotKey::Default(self.file()));
                    self.f().abx(Op::SetModule, register, slot, c.span);
                    self.f().next = mark;
                }
                kind => {
                    if let Some(value) = kind.as_expression() {
                        let mark = self.f().next;
                        let register = self.named_expression(value, "default", Want::Any);
                        let slot = self.slot(SlotKey::Default(self.file()));
                        self.f().abx(Op::SetModule, register, slot, value.span());
                        self.f().next = mark;
                    }
                }
            },
            Statement::ExpressionStatement(s) => {
                if !self.work_statement(&s.expression) {
                    self.statement(statement);
                }
            }
            _ => self.statement(statement),
        }
    }

    // The current function and file.

    /// The function under construction.
    fn f(&mut self) -> &mut Builder {
        let last = self.functions.len() - 1;
        &mut self.functions[last]
    }

    fn file(&self) -> usize {
        self.functions.last().map_or(0, |f| f.file)
    }

    fn root(&self) -> ScopeId {
        self.files.list[self.file()].semantic.scoping().root_scope_id()
    }

    fn variable(&self, symbol: SymbolId) -> &Variable {
        self.variables[self.file()].get(symbol)
    }

    fn symbol_name(&self, symbol: SymbolId) -> &'p str {
        self.files.list[self.file()].semantic.scoping().symbol_name(symbol)
    }

    /// Whether the code under construction runs while the module loads.
    fn is_load_time(&self) -> bool {
        self.functions.len() == 1 && self.functions[0].flags & function_flags::INIT != 0
    }

    fn error(&mut self, code: &'static str, span: Span, message: impl Into<String>, hint: Option<&str>) {
        let diagnostic =
            self.files.list[self.file()].error(code, span, message, hint.map(ToString::to_string));
        self.sink.push(diagnostic);
    }

    fn warning(&mut self, code: &'static str, span: Span, message: impl Into<String>, hint: Option<&str>) {
        let mut diagnostic =
            self.files.list[self.file()].error(code, span, message, hint.map(ToString::to_string));
        diagnostic.severity = Severity::Warning;
        self.sink.push(diagnostic);
    }

    fn unsupported(&mut self, span: Span, what: &str, hint: Option<&str>) {
        self.error("FB0301", span, format!("{what} not supported"), hint);
    }

    // Names.

    /// What an identifier means.
    fn resolve(&self, id: &IdentifierReference<'a>) -> Name {
        let file = &self.files.list[self.file()];
        let reference = id.reference_id.get();
        let symbol = reference.and_then(|r| file.semantic.scoping().get_reference(r).symbol_id());
        if let Some(symbol) = symbol {
            return match file.imports.get(&symbol) {
                Some(Import::Namespace(from)) => Name::Import(Target::Namespace(*from)),
                Some(Import::Name(from, name, _)) => match self.files.export(*from, name) {
                    Some(target) => Name::Import(target),
                    None => Name::Unknown,
                },
                None if self.variable(symbol).kind == Kind::None => Name::Unknown,
                None if self.variable(symbol).is_inner_at(id.span.start) => {
                    let cell = self.class_names.get(&(self.file(), symbol));
                    cell.map_or(Name::Unknown, |cell| Name::Class(*cell))
                }
                None => Name::Variable(symbol),
            };
        }
        let name = id.name.as_str();
        if name == "undefined" {
            Name::Undefined
        } else if name == "arguments" && self.has_arguments() {
            Name::Arguments
        } else if self.files.options.conformance {
            if name == "print" { Name::Host(HostFn::Log) } else { Name::Property }
        } else if let Some(function) = HostFn::from_path(name) {
            Name::Host(function)
        } else if host::is_namespace(name) {
            Name::Namespace
        } else if let Some(global) = Global::from_name(name) {
            Name::Global(global)
        } else {
            Name::Unknown
        }
    }

    /// Whether `arguments` means something here: the nearest function that is no arrow has the object.
    fn has_arguments(&self) -> bool {
        let own = self.functions.iter().rev().find(|f| f.flags & function_flags::ARROW == 0);
        own.is_some_and(|f| f.arguments.is_some())
    }

    /// Reports a name that means nothing.
    fn unknown_name(&mut self, id: &IdentifierReference<'a>) {
        let name = id.name.as_str();
        if let Some(hint) = host::known_absence(name) {
            self.error("FB0202", id.span, format!("`{name}` is not available"), Some(hint));
            return;
        }
        if let Some(what) = host::not_built(name) {
            self.error("FB0401", id.span, format!("{what} is not built yet"), None);
            return;
        }
        let file = &self.files.list[self.file()];
        let scoping = file.semantic.scoping();
        let scope = id.reference_id.get().map_or(self.root(), |r| scoping.get_reference(r).scope_id());
        let mut known: Vec<&str> = Vec::new();
        for ancestor in scoping.scope_ancestors(scope) {
            known.extend(scoping.iter_bindings_in(ancestor).map(|symbol| scoping.symbol_name(symbol)));
        }
        known.sort_unstable();
        for builtin in host::names().chain(Global::ALL.iter().map(|g| g.name())) {
            known.push(builtin);
        }
        known.push("undefined");
        known.push("work");
        let hint = did_you_mean(name, known);
        self.error("FB0201", id.span, format!("`{name}` is not defined"), hint.as_deref());
    }

    /// The slot of a module variable.
    fn slot(&mut self, key: SlotKey) -> u32 {
        if let Some(&slot) = self.slots.get(&key) {
            return slot;
        }
        let name = match key {
            SlotKey::Symbol(file, symbol) => {
                self.files.list[file].semantic.scoping().symbol_name(symbol).to_string()
            }
            SlotKey::Default(_) => "default".to_string(),
            SlotKey::Namespace(file) => self.files.list[file].path.to_string(),
        };
        let name = self.pool.string(&name);
        self.module.slots.push(name);
        let slot = u32::try_from(self.module.slots.len() - 1).unwrap_or(u32::MAX);
        self.slots.insert(key, slot);
        if let SlotKey::Namespace(file) = key {
            self.namespaces.push((file, slot));
        }
        slot
    }

    fn slot_of(&mut self, symbol: SymbolId) -> u32 {
        self.slot(SlotKey::Symbol(self.file(), symbol))
    }

    /// The slot of an import.
    fn slot_of_target(&mut self, target: Target) -> u32 {
        self.slot(match target {
            Target::Variable(file, symbol) => SlotKey::Symbol(file, symbol),
            Target::Default(file) => SlotKey::Default(file),
            Target::Namespace(file) => SlotKey::Namespace(file),
        })
    }

    /// Where a variable of the current file is.
    fn binding(&mut self, symbol: SymbolId) -> Binding {
        let variable = self.variable(symbol);
        let cell = variable.cell;
        if variable.module {
            return Binding::Slot(self.slot_of(symbol));
        }
        if variable.property {
            let name = self.symbol_name(symbol);
            return Binding::Property(self.pool.string(name));
        }
        let level = self.functions.len() - 1;
        if let Some(register) = self.own_register(level, symbol) {
            return if cell { Binding::Cell(register) } else { Binding::Register(register) };
        }
        let upvalue = self.upvalue(level, UpKey::Symbol(self.file(), symbol));
        if cell { Binding::UpCell(upvalue) } else { Binding::Upvalue(upvalue) }
    }

    /// The register of a variable that the function at `level` owns.
    fn own_register(&self, level: usize, symbol: SymbolId) -> Option<Reg> {
        let f = &self.functions[level];
        match f.itself {
            Some((own, register)) if own == symbol => Some(register),
            _ if self.variable(symbol).function == f.scope => f.storage.get(&symbol).copied(),
            _ => None,
        }
    }

    /// The upvalue through which the function at `level` sees something.
    fn upvalue(&mut self, level: usize, key: UpKey) -> u16 {
        use forebay_bytecode::Capture;
        if let Some(&known) = self.functions[level].upvalues.get(&key) {
            return known;
        }
        let own = match level.checked_sub(1) {
            // A variable that nobody owns: a mistake of the scope analysis.
            None => {
                if let UpKey::Symbol(_, symbol) = key {
                    let span = self.variable(symbol).span;
                    self.error("FB0999", span, "this variable can't be compiled", None);
                }
                Some(0)
            }
            Some(parent) => match key {
                UpKey::Symbol(_, symbol) => self.own_register(parent, symbol),
                UpKey::Arguments if self.functions[parent].flags & function_flags::ARROW == 0 => {
                    self.functions[parent].arguments.or(Some(0))
                }
                UpKey::Arguments => None,
                UpKey::This => (self.functions[parent].flags & function_flags::ARROW == 0).then_some(0),
                UpKey::NewTarget => self.functions[parent].new_target,
                UpKey::Hidden(number) => self.functions[parent].hidden.get(&number).copied(),
            },
        };
        let capture = match own {
            Some(register) => Capture::Register(register),
            None => Capture::Upvalue(self.upvalue(level - 1, key)),
        };
        let f = &mut self.functions[level];
        f.captures.push(capture);
        let index = u16::try_from(f.captures.len() - 1).unwrap_or(u16::MAX);
        f.upvalues.insert(key, index);
        index
    }

    /// `arguments` of the current function.
    fn arguments_object(&mut self, want: Want, span: Span) -> Reg {
        if let Some(register) = self.f().arguments {
            return self.deliver(register, want, span);
        }
        let level = self.functions.len() - 1;
        let upvalue = self.upvalue(level, UpKey::Arguments);
        let register = self.target(want);
        self.f().ab(Op::GetUpvalue, register, upvalue, span);
        register
    }

    // Wanted registers.

    /// The register to compute into.
    fn target(&mut self, want: Want) -> Reg {
        match want {
            Want::Any => self.f().take(),
            Want::Free(register) | Want::Variable(register) => register,
        }
    }

    /// Delivers what is in `register` already.
    fn deliver(&mut self, register: Reg, want: Want, span: Span) -> Reg {
        match want {
            Want::Any => register,
            Want::Free(to) | Want::Variable(to) => {
                self.f().move_to(to, register, span);
                to
            }
        }
    }

    /// Gives back all registers from `mark` on but `result`, if it is the first of them.
    fn release(&mut self, mark: Reg, result: Reg) {
        let next = if result >= mark { result + 1 } else { mark };
        self.f().next = next;
    }

    fn work_statement(&mut self, expression: &'a Expression<'a>) -> bool {
        match self.work_chain(expression) {
            Some(chain) => {
                self.work_links(&chain);
                true
            }
            None => false,
        }
    }
}

/// An export that leaves nothing behind when types are skipped.
fn exports_no_value(statement: &Statement<'_>) -> bool {
    match statement {
        Statement::ExportNamedDeclaration(e) => {
            e.specifiers.is_empty() || e.export_kind == ImportOrExportKind::Type
        }
        Statement::ExportDeclaration(e) => {
            e.export_kind() == ImportOrExportKind::Type
                || matches!(
                    e.declaration,
                    Declaration::TSTypeAliasDeclaration(_) | Declaration::TSInterfaceDeclaration(_)
                )
        }
        Statement::ExportDefaultDeclaration(e) => {
            matches!(e.declaration, ExportDefaultDeclarationKind::TSInterfaceDeclaration(_))
        }
        _ => false,
    }
}
