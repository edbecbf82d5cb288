//! Namespace imports (ECMA-262 16.2.1.7 and 10.4.6): `import * as m` and `export * as m`.
//!
//! `m.name` is the variable itself, found at build time, and makes no object. Only where `m` stands as a value has
//! the module a namespace object: a constant that lists the exports and their variables, which the engine makes
//! before the first top level runs and keeps in a module variable of its own.

use std::collections::{BTreeSet, HashSet};

use forebay_bytecode::Op;
use forebay_bytecode::module::NamespaceExport;
use oxc_ast::AstKind;
use oxc_ast::ast::{ExportDefaultDeclarationKind, Expression, Statement};
use oxc_semantic::{NodeId, Semantic};
use oxc_span::Span;

use super::Lower;
use crate::emit::Reg;
use crate::files::Target;

impl<'a> Lower<'_, 'a> {
    /// Loads what an import leads to.
    pub(super) fn import_into(&mut self, target: Target, register: Reg, span: Span) {
        if let Target::Namespace(file) = target
            && let Some((_, name)) = self.namespace_names(file).iter().find(|(_, name)| is_number(name))
        {
            let path = &self.files.list[file].path;
            let message = format!(
                "a namespace with a number for a name can't be used as a value: `{path}` exports \"{name}\""
            );
            self.error("FB0706", span, message, Some("import it by its name, or rename the export"));
        }
        let slot = self.slot_of_target(target);
        self.f().abx(Op::GetModule, register, slot, span);
    }

    /// Describes the namespace objects that the code uses; one may export another.
    pub(super) fn namespaces(&mut self) {
        let mut next = 0;
        while let Some(&(file, slot)) = self.namespaces.get(next) {
            next += 1;
            let mut exports = Vec::new();
            for (_, name) in self.namespace_names(file) {
                let Some(target) = self.files.export(file, &name) else { continue };
                let variable = self.slot_of_target(target);
                exports.push(NamespaceExport { name: self.pool.string(&name), slot: variable });
            }
            self.pool.namespace(slot, exports);
        }
    }

    /// The names of a namespace in the order of their code units: those that lead to one variable.
    fn namespace_names(&self, file: usize) -> BTreeSet<(Vec<u16>, String)> {
        let names = self.files.export_names(file).into_iter();
        let leads = |name: &String| match self.files.export(file, name) {
            Some(Target::Default(file)) => !self.default_is_a_type(file),
            target => target.is_some(),
        };
        names.filter(leads).map(|name| (name.encode_utf16().collect(), name)).collect()
    }

    /// `export default interface`.
    fn default_is_a_type(&self, file: usize) -> bool {
        self.files.list[file].program.body.iter().any(|statement| match statement {
            Statement::ExportDefaultDeclaration(e) => {
                matches!(e.declaration, ExportDefaultDeclarationKind::TSInterfaceDeclaration(_))
            }
            _ => false,
        })
    }

    /// Whether an export is surely a function that doesn't look at its `this`: an arrow, or a function that doesn't
    /// say it. Then a call need not pass the namespace.
    pub(super) fn ignores_this(&mut self, file: usize, name: &str) -> bool {
        let Some(Target::Variable(file, symbol)) = self.files.export(file, name) else { return false };
        let semantic = &self.files.list[file].semantic;
        let scoping = semantic.scoping();
        if scoping.symbol_is_mutated(symbol) {
            return false;
        }
        let declaration = scoping.symbol_declaration(symbol);
        match semantic.nodes().kind(declaration) {
            AstKind::VariableDeclarator(d) => {
                matches!(d.init, Some(Expression::ArrowFunctionExpression(_)))
            }
            AstKind::Function(_) => {
                let seen = self.sees_this.entry(file).or_insert_with(|| functions_with_this(semantic));
                !seen.contains(&declaration)
            }
            _ => false,
        }
    }
}

/// Functions around a `this`, arrows aside. In a class it may be another's, which does no harm.
fn functions_with_this(semantic: &Semantic<'_>) -> HashSet<NodeId> {
    let nodes = semantic.nodes();
    let says = nodes.iter().filter(|n| matches!(n.kind(), AstKind::ThisExpression(_) | AstKind::Super(_)));
    let around =
        says.filter_map(|n| nodes.ancestors(n.id()).find(|a| matches!(a.kind(), AstKind::Function(_))));
    around.map(|n| n.id()).collect()
}

/// Whether a text spells digits only, as array indexes do.
fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit())
}
