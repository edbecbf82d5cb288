//! Loads a blueprint and the modules that it imports, parses them, and links
//! imported names to exported ones.
//!
//! Imports come from `lib/` only: `"lib/x.js"` or relative paths that end there.
//! Cycles are allowed, as in ECMAScript: top levels run imports first, and a
//! variable that is read too early throws.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use oxc_allocator::Allocator;
use oxc_ast::ast::{
    Declaration, ExportDefaultDeclarationKind, ImportDeclarationSpecifier, ImportOrExportKind,
    ModuleExportName, Program, Statement, StringLiteral,
};
use oxc_parser::{ParseOptions, Parser};
use oxc_semantic::{Semantic, SemanticBuilder};
use oxc_span::{GetSpan, SourceType, Span};
use oxc_syntax::symbol::SymbolId;

use crate::diagnostic::{Diagnostic, Place, Severity, Sink, did_you_mean};
use crate::{Loader, Options, nesting};

/// Bytes of one source file.
pub(crate) const SOURCE_BYTES_MAX: usize = 4 << 20;
/// Files of one module.
pub(crate) const FILES_MAX: usize = 1000;

/// A parsed file.
pub(crate) struct File<'a> {
    pub(crate) path: Arc<str>,
    pub(crate) text: Arc<str>,
    pub(crate) program: &'a Program<'a>,
    pub(crate) semantic: Semantic<'a>,
    /// What imported names stand for.
    pub(crate) imports: HashMap<SymbolId, Import>,
    exports: BTreeMap<String, Export>,
    /// `export * from`.
    stars: Vec<usize>,
    /// Files that it imports, in order.
    requests: Vec<usize>,
    /// `export { name } from`: they must be there, imported by somebody or not.
    passed_on: Vec<(usize, String, Span)>,
}

/// What an imported name stands for, before the export is looked up.
#[derive(Clone, Debug)]
pub(crate) enum Import {
    /// An export of a file.
    Name(usize, String, Span),
    /// `import * as x`.
    Namespace(usize),
}

#[derive(Clone, Debug)]
enum Export {
    Local(SymbolId),
    Default,
    From(usize, String),
    Namespace(usize),
}

/// What an export is in the end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Target {
    /// A module variable of a file.
    Variable(usize, SymbolId),
    /// The value of `export default expression`.
    Default(usize),
    /// All exports of a file.
    Namespace(usize),
}

/// What an export's name leads to.
#[derive(Clone, Copy)]
enum Found {
    None,
    One(Target),
    /// Two different ones, through `export *` of these files.
    Several(usize, usize),
}

/// A blueprint (file 0) with what it imports.
pub(crate) struct Files<'a> {
    pub(crate) list: Vec<File<'a>>,
    /// The named queries of sql/.
    pub(crate) queries: Vec<crate::sqlfile::NamedQuery>,
    pub(crate) options: Options,
}

fn missing(loader: &dyn Loader, path: &str) -> String {
    match loader.why(path) {
        Some(why) => format!("`{path}` {why}"),
        None => format!("there is no file `{path}`"),
    }
}

/// A file that gave no text.
fn unreadable(loader: &dyn Loader, path: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code: "FB0701",
        message: missing(loader, path),
        file: path.into(),
        text: "".into(),
        place: Place::default(),
        labels: Vec::new(),
        hint: None,
    }
}

/// Reads sql/; a name that is there twice is an error.
fn queries(loader: &dyn Loader, sink: &mut Sink) -> Vec<crate::sqlfile::NamedQuery> {
    let mut all: Vec<crate::sqlfile::NamedQuery> = Vec::new();
    for path in loader.queries() {
        let Some(text) = loader.load(&path) else {
            sink.push(unreadable(loader, &path));
            continue;
        };
        let found = match crate::sqlfile::parse(&path, &text) {
            Ok(found) => found,
            Err(error) => {
                sink.push(*error);
                continue;
            }
        };
        for query in found {
            if let Some(other) = all.iter().find(|other| other.name == query.name) {
                let start = u32::try_from(query.start).unwrap_or(0);
                sink.push(Diagnostic {
                    severity: Severity::Error,
                    code: "FB0603",
                    message: format!("the query `{}` is there twice", query.name),
                    file: path.as_str().into(),
                    text: (*text).into(),
                    place: Place { start, end: start + 2 },
                    labels: Vec::new(),
                    hint: Some(format!("the other one is in `{}`", other.file)),
                });
            } else {
                all.push(query);
            }
        }
    }
    all
}

impl<'a> Files<'a> {
    /// Loads, parses and checks `path` and its imports; what is wrong goes to `sink`.
    pub(crate) fn load(
        allocator: &'a Allocator,
        loader: &dyn Loader,
        path: &str,
        options: Options,
        sink: &mut Sink,
    ) -> Self {
        let mut loading =
            Loading { allocator, loader, options, sink, list: Vec::new(), by_path: HashMap::new() };
        match loader.load(path) {
            Some(text) => {
                loading.file(path, &text);
            }
            None => loading.sink.push(unreadable(loader, path)),
        }
        let list = loading.list.into_iter().flatten().collect();
        Self { list, queries: queries(loader, sink), options }
    }

    /// Files in the order in which their top levels run: imports first.
    pub(crate) fn order(&self) -> Vec<usize> {
        let mut order = Vec::new();
        let mut seen = HashSet::new();
        // An explicit stack: chains of imports are as long as FILES_MAX.
        let mut stack = vec![(0, 0)];
        seen.insert(0);
        while let Some((file, next)) = stack.pop() {
            match self.list.get(file).and_then(|f| f.requests.get(next)) {
                Some(&request) => {
                    stack.push((file, next + 1));
                    if seen.insert(request) {
                        stack.push((request, 0));
                    }
                }
                None => order.push(file),
            }
        }
        order
    }

    /// What a file's export is; `None` if there is none of that name, or if it could be several.
    pub(crate) fn export(&self, file: usize, name: &str) -> Option<Target> {
        match self.find_export(file, name, &mut HashSet::new()) {
            Found::One(target) => Some(target),
            Found::None | Found::Several(..) => None,
        }
    }

    /// ResolveExport (ECMA-262 16.2.1.7.2.2).
    fn find_export(&self, file: usize, name: &str, seen: &mut HashSet<(usize, String)>) -> Found {
        if !seen.insert((file, name.to_string())) {
            return Found::None;
        }
        let Some(f) = self.list.get(file) else { return Found::None };
        match f.exports.get(name) {
            Some(Export::Local(symbol)) => match f.imports.get(symbol) {
                Some(Import::Name(from, name, _)) => self.find_export(*from, name, seen),
                Some(Import::Namespace(from)) => Found::One(Target::Namespace(*from)),
                None => Found::One(Target::Variable(file, *symbol)),
            },
            Some(Export::Default) => Found::One(Target::Default(file)),
            Some(Export::From(from, name)) => self.find_export(*from, name, seen),
            Some(Export::Namespace(from)) => Found::One(Target::Namespace(*from)),
            None if name == "default" => Found::None,
            None => {
                let mut first: Option<(usize, Target)> = None;
                for &star in &f.stars {
                    match (self.find_export(star, name, seen), first) {
                        (Found::None, _) => {}
                        (Found::One(target), None) => first = Some((star, target)),
                        (Found::One(target), Some((_, known))) if target == known => {}
                        (Found::One(_), Some((other, _))) => return Found::Several(other, star),
                        (several, _) => return several,
                    }
                }
                first.map_or(Found::None, |(_, target)| Found::One(target))
            }
        }
    }

    /// Names that a file exports.
    pub(crate) fn export_names(&self, file: usize) -> Vec<String> {
        let mut names = Vec::new();
        let mut seen = HashSet::new();
        let mut todo = vec![file];
        while let Some(file) = todo.pop() {
            if let Some(f) = self.list.get(file)
                && seen.insert(file)
            {
                names.extend(f.exports.keys().cloned());
                todo.extend(&f.stars);
            }
        }
        names
    }

    /// Reports imports that no export answers.
    pub(crate) fn check_imports(&self, sink: &mut Sink) {
        for file in &self.list {
            let mut wanted: Vec<(usize, &str, Span)> = Vec::new();
            for import in file.imports.values() {
                if let Import::Name(from, name, span) = import {
                    wanted.push((*from, name, *span));
                }
            }
            wanted.extend(file.passed_on.iter().map(|(from, name, span)| (*from, name.as_str(), *span)));
            wanted.sort_by_key(|(_, _, span)| span.start);
            for (from, name, span) in wanted {
                let path_of = |file: usize| self.list.get(file).map_or("", |f| &f.path);
                let path = path_of(from);
                let (message, hint) = match self.find_export(from, name, &mut HashSet::new()) {
                    Found::One(_) => continue,
                    Found::None => {
                        let names = self.export_names(from);
                        (format!("`{path}` has no export `{name}`"), export_hint(name, &names))
                    }
                    Found::Several(one, other) => (
                        format!("`{path}` has two exports `{name}`"),
                        Some(format!("import it from `{}` or from `{}`", path_of(one), path_of(other))),
                    ),
                };
                sink.push(file.error("FB0704", span, message, hint));
            }
        }
    }
}

/// What to import instead of `name`.
pub(crate) fn export_hint(name: &str, names: &[String]) -> Option<String> {
    did_you_mean(name, names.iter().map(String::as_str)).or_else(|| match names {
        [] => Some("it exports nothing".into()),
        names => Some(format!("it exports {}", names.join(", "))),
    })
}

impl File<'_> {
    pub(crate) fn error(
        &self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code,
            message: message.into(),
            file: self.path.clone(),
            text: self.text.clone(),
            place: Place { start: span.start, end: span.end },
            labels: Vec::new(),
            hint,
        }
    }
}

struct Loading<'a, 'l> {
    allocator: &'a Allocator,
    loader: &'l dyn Loader,
    options: Options,
    sink: &'l mut Sink,
    /// `None`: being loaded, or refused.
    list: Vec<Option<File<'a>>>,
    by_path: HashMap<String, usize>,
}

impl<'a> Loading<'a, '_> {
    /// Loads a file and all that it imports, breadth first.
    fn file(&mut self, path: &str, text: &str) {
        let mut todo = vec![self.reserve(path)];
        let mut texts: HashMap<usize, Box<str>> = HashMap::from([(0, text.into())]);
        let mut next = 0;
        while next < todo.len() {
            let index = todo[next];
            next += 1;
            let text = texts.remove(&index).unwrap_or_default();
            let path = self.by_path.iter().find(|(_, i)| **i == index).map(|(p, _)| p.clone());
            let Some(path) = path else { continue };
            let Some(mut file) = self.parse(&path, &text) else {
                // Its importers can't be linked; the errors are already there.
                continue;
            };
            let mut requested: Vec<(usize, Box<str>)> = Vec::new();
            self.link(&mut file, &mut requested);
            for (index, text) in requested {
                texts.insert(index, text);
                todo.push(index);
            }
            self.list[index] = Some(file);
        }
    }

    fn reserve(&mut self, path: &str) -> usize {
        self.list.push(None);
        self.by_path.insert(path.to_string(), self.list.len() - 1);
        self.list.len() - 1
    }

    fn parse(&mut self, path: &str, text: &str) -> Option<File<'a>> {
        let path: Arc<str> = path.into();
        let shared: Arc<str> = text.into();
        let report = |sink: &mut Sink, code, message: String, place: Place, labels, hint| {
            sink.push(Diagnostic {
                severity: Severity::Error,
                code,
                message,
                file: path.clone(),
                text: shared.clone(),
                place,
                labels,
                hint,
            });
        };
        let at = |span: Span| Place { start: span.start, end: span.end };
        if text.len() > SOURCE_BYTES_MAX {
            let message = format!("the file is larger than {SOURCE_BYTES_MAX} bytes");
            report(self.sink, "FB0801", message, Place::default(), Vec::new(), None);
            return None;
        }
        let too_deep = |sink: &mut Sink, span: Span| {
            let hint = "split the expression, or name its parts".to_string();
            report(sink, "FB0802", "this is nested too deeply".into(), at(span), Vec::new(), Some(hint));
        };
        if let Err(span) = nesting::check(text) {
            too_deep(self.sink, span);
            return None;
        }
        let source_type = match &*path {
            _ if self.options.conformance => SourceType::script(),
            path if path.ends_with(".ts") => SourceType::ts(),
            _ => SourceType::mjs(),
        };
        let options = ParseOptions {
            allow_return_outside_function: !self.options.conformance,
            preserve_parens: false,
            ..ParseOptions::default()
        };
        let parsed = Parser::new(self.allocator, self.allocator.alloc_str(text), source_type)
            .with_options(options)
            .parse();
        // A word to whoever writes types into a JavaScript file.
        let is_typescript = || {
            let text = self.allocator.alloc_str(text);
            let again = Parser::new(self.allocator, text, SourceType::ts()).with_options(options).parse();
            path.ends_with(".js")
                && !again.panicked
                && again.diagnostics.iter().all(|error| error.severity != oxc_diagnostics::Severity::Error)
        };
        let syntax_errors = |sink: &mut Sink, list: &[oxc_diagnostics::OxcDiagnostic]| {
            let mut failed = false;
            for error in list {
                if error.severity != oxc_diagnostics::Severity::Error {
                    continue;
                }
                let place = |label: &oxc_diagnostics::LabeledSpan| Place {
                    start: label.offset(),
                    end: label.offset().saturating_add(label.len()),
                };
                // The caret belongs to the second declaration, not to the first.
                let is_second = error.message.contains("already been declared");
                let caret = if is_second { error.labels.len().saturating_sub(1) } else { 0 };
                let first = error.labels.get(caret).map_or(Place::default(), place);
                let others = error.labels.iter().enumerate().filter(|(i, _)| *i != caret);
                let labels =
                    others.map(|(_, l)| (place(l), l.label().unwrap_or("here").to_string())).collect();
                let hint = match &*error.message {
                    "Unexpected JSX expression" => {
                        Some("there is no JSX here: `html(`<p>${text}</p>`)` answers with HTML".to_owned())
                    }
                    _ if !failed && is_typescript() => {
                        Some("types are for files whose names end in .ts".to_owned())
                    }
                    _ => error.help.as_ref().map(ToString::to_string),
                };
                failed = true;
                report(sink, "FB0101", error.message.to_string(), first, labels, hint);
            }
            failed
        };
        let failed = syntax_errors(self.sink, &parsed.diagnostics) || parsed.panicked;
        let program: &'a Program<'a> = self.allocator.alloc(parsed.program);
        if let Err(span) = nesting::depth(program) {
            too_deep(self.sink, span);
            return None;
        }
        if failed {
            return None;
        }
        let built =
            SemanticBuilder::new().with_build_nodes(true).with_check_syntax_error(true).build(program);
        if syntax_errors(self.sink, &built.diagnostics) {
            return None;
        }
        let mut semantic = built.semantic;
        crate::scope::repair(&mut semantic);
        Some(File {
            path,
            text: shared,
            program,
            semantic,
            imports: HashMap::new(),
            exports: BTreeMap::new(),
            stars: Vec::new(),
            requests: Vec::new(),
            passed_on: Vec::new(),
        })
    }

    /// The file that an import names; loads it if it is new.
    fn request(
        &mut self,
        file: &mut File<'a>,
        source: &StringLiteral<'a>,
        requested: &mut Vec<(usize, Box<str>)>,
    ) -> Option<usize> {
        let name = source.value.as_str();
        let refuse = |sink: &mut Sink, code, message: String, hint: Option<String>| {
            sink.push(file.error(code, source.span, message, hint));
            None
        };
        let relative = name.starts_with("./") || name.starts_with("../");
        if !relative && !name.starts_with("lib/") && !name.starts_with("/lib/") {
            return refuse(
                self.sink,
                "FB0702",
                format!("`{name}` can't be imported: there are no packages here"),
                Some("put the module into lib/ and import it as \"lib/name.js\"".into()),
            );
        }
        let path = resolve(&file.path, name);
        let ends_well = path.as_ref().is_some_and(|p| p.ends_with(".js") || p.ends_with(".ts"));
        let Some(path) = path.filter(|p| p.starts_with("lib/")) else {
            let hint = "blueprints import from lib/ only: \"lib/name.js\"".to_string();
            return refuse(self.sink, "FB0703", format!("`{name}` is not below lib/"), Some(hint));
        };
        if !ends_well {
            let known = self.loader.modules();
            let hint = [".js", ".ts"].iter().map(|e| format!("{path}{e}")).find(|p| known.contains(p));
            let hint =
                hint.map_or("name a .js or .ts file".to_string(), |p| format!("did you mean \"{p}\"?"));
            return refuse(self.sink, "FB0703", format!("`{name}` is not a .js or .ts file"), Some(hint));
        }
        if let Some(&known) = self.by_path.get(&path) {
            if !file.requests.contains(&known) {
                file.requests.push(known);
            }
            return Some(known);
        }
        let Some(text) = self.loader.load(&path) else {
            let modules = self.loader.modules();
            let hint = did_you_mean(&path, modules.iter().map(String::as_str));
            let message = missing(self.loader, &path);
            return refuse(self.sink, "FB0701", message, hint);
        };
        if self.list.len() >= FILES_MAX {
            return refuse(self.sink, "FB0803", format!("more than {FILES_MAX} files are imported"), None);
        }
        let index = self.reserve(&path);
        requested.push((index, text));
        file.requests.push(index);
        Some(index)
    }

    /// Collects what a file imports and exports.
    fn link(&mut self, file: &mut File<'a>, requested: &mut Vec<(usize, Box<str>)>) {
        let program = file.program;
        for statement in &program.body {
            match statement {
                Statement::ImportDeclaration(i) => {
                    if i.import_kind == ImportOrExportKind::Type {
                        continue;
                    }
                    let only_types = i.specifiers.as_ref().is_some_and(|list| {
                        !list.is_empty()
                            && list.iter().all(|s| match s {
                                ImportDeclarationSpecifier::ImportSpecifier(s) => s.import_kind.is_type(),
                                _ => false,
                            })
                    });
                    if only_types {
                        continue;
                    }
                    if i.phase.is_some() || i.with_clause.is_some() {
                        let message = "import attributes and phases are not supported";
                        self.sink.push(file.error("FB0301", i.span, message, None));
                        continue;
                    }
                    let Some(from) = self.request(file, &i.source, requested) else { continue };
                    for specifier in i.specifiers.iter().flatten() {
                        let (local, import) = match specifier {
                            ImportDeclarationSpecifier::ImportSpecifier(s) => {
                                if s.import_kind.is_type() {
                                    continue;
                                }
                                let name = s.imported.name().to_string();
                                (&s.local, Import::Name(from, name, s.imported.span()))
                            }
                            ImportDeclarationSpecifier::ImportDefaultSpecifier(s) => {
                                (&s.local, Import::Name(from, "default".into(), s.span))
                            }
                            ImportDeclarationSpecifier::ImportNamespaceSpecifier(s) => {
                                (&s.local, Import::Namespace(from))
                            }
                        };
                        if let Some(symbol) = local.symbol_id.get() {
                            file.imports.insert(symbol, import);
                        }
                    }
                }
                Statement::ExportDeclaration(e) => match &e.declaration {
                    Declaration::VariableDeclaration(d) => {
                        for declarator in &d.declarations {
                            for id in declarator.id.get_binding_identifiers() {
                                if let Some(symbol) = id.symbol_id.get() {
                                    file.exports.insert(id.name.to_string(), Export::Local(symbol));
                                }
                            }
                        }
                    }
                    Declaration::FunctionDeclaration(f) => {
                        if let Some(id) = &f.id
                            && let Some(symbol) = id.symbol_id.get()
                        {
                            file.exports.insert(id.name.to_string(), Export::Local(symbol));
                        }
                    }
                    Declaration::ClassDeclaration(c) if !c.declare => {
                        if let Some(id) = &c.id
                            && let Some(symbol) = id.symbol_id.get()
                        {
                            file.exports.insert(id.name.to_string(), Export::Local(symbol));
                        }
                    }
                    // Types vanish; the rest is refused where it is lowered.
                    Declaration::ClassDeclaration(_)
                    | Declaration::TSTypeAliasDeclaration(_)
                    | Declaration::TSInterfaceDeclaration(_)
                    | Declaration::TSEnumDeclaration(_)
                    | Declaration::TSExternalModuleDeclaration(_)
                    | Declaration::TSNamespaceDeclaration(_)
                    | Declaration::TSGlobalDeclaration(_)
                    | Declaration::TSImportEqualsDeclaration(_) => {}
                },
                Statement::ExportNamedDeclaration(e) => {
                    if e.export_kind == ImportOrExportKind::Type {
                        continue;
                    }
                    for specifier in &e.specifiers {
                        if specifier.export_kind == ImportOrExportKind::Type {
                            continue;
                        }
                        let ModuleExportName::IdentifierReference(local) = &specifier.local else { continue };
                        let reference = local.reference_id.get();
                        let scoping = file.semantic.scoping();
                        let symbol = reference.and_then(|r| scoping.get_reference(r).symbol_id());
                        match symbol {
                            Some(symbol)
                                if scoping.symbol_flags(symbol).is_value()
                                    || scoping.symbol_flags(symbol).is_import() =>
                            {
                                file.exports
                                    .insert(specifier.exported.name().to_string(), Export::Local(symbol));
                            }
                            Some(_) => {}
                            None => {
                                let message = format!("`{}` is not defined", local.name);
                                self.sink.push(file.error("FB0201", local.span, message, None));
                            }
                        }
                    }
                }
                Statement::ExportFromDeclaration(e) => {
                    if e.export_kind == ImportOrExportKind::Type {
                        continue;
                    }
                    let Some(from) = self.request(file, &e.source, requested) else { continue };
                    for specifier in &e.specifiers {
                        if specifier.export_kind != ImportOrExportKind::Type {
                            let name = specifier.local.name().to_string();
                            file.passed_on.push((from, name.clone(), specifier.local.span()));
                            file.exports
                                .insert(specifier.exported.name().to_string(), Export::From(from, name));
                        }
                    }
                }
                Statement::ExportAllDeclaration(e) => {
                    if e.export_kind == ImportOrExportKind::Type {
                        continue;
                    }
                    let Some(from) = self.request(file, &e.source, requested) else { continue };
                    match &e.exported {
                        Some(name) => {
                            file.exports.insert(name.name().to_string(), Export::Namespace(from));
                        }
                        None => file.stars.push(from),
                    }
                }
                Statement::ExportDefaultDeclaration(e) => {
                    let symbol = match &e.declaration {
                        ExportDefaultDeclarationKind::FunctionDeclaration(f) => {
                            f.id.as_ref().and_then(|id| id.symbol_id.get())
                        }
                        ExportDefaultDeclarationKind::ClassDeclaration(c) => {
                            c.id.as_ref().and_then(|id| id.symbol_id.get())
                        }
                        _ => None,
                    };
                    let export = symbol.map_or(Export::Default, Export::Local);
                    file.exports.insert("default".into(), export);
                }
                _ => {}
            }
        }
    }
}

/// The path that an import in `from` names, normalised; `None` if it leaves the app's folder.
fn resolve(from: &str, name: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    if name.starts_with("./") || name.starts_with("../") {
        parts = from.split('/').collect();
        parts.pop();
    }
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn import_paths_are_resolved_within_the_app() {
        let check = |from, name, path: Option<&str>| {
            assert_eq!(resolve(from, name).as_deref(), path, "{from} {name}")
        };
        check("blueprints/a/b.js", "../../lib/x.js", Some("lib/x.js"));
        check("lib/a.js", "./b.js", Some("lib/b.js"));
        check("blueprints/b.js", "lib/x/../y.js", Some("lib/y.js"));
        check("b.js", "../x.js", None);
    }
}
