//! Chains of `db()` against the tables that a database has, when the app's lock file says which: a table or a column
//! that isn't there is a build error, with "did you mean". Without a lock file nothing of this happens.
//!
//! | file | what it does |
//! |---|---|
//! | `chain` | from the tree to the calls of a chain |
//! | [`self`] | names of tables and columns in them, and in their lambdas |
//! | `statement` | chains that are the same every time, as what the query builder reads |
//!
//! Only what can be seen is judged: names that are constants, in chains that begin where they are written. A chain of
//! `db("other")` is of a database that the lock file doesn't cover.

pub(crate) mod chain;
mod statement;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use forebay_base::Value;
use oxc_ast::ast::{
    ArrowFunctionExpression, BindingPattern, CallExpression, ComputedMemberExpression, Expression,
    IdentifierReference, ObjectPropertyKind, PropertyKey, StaticMemberExpression,
};
use oxc_ast_visit::Visit;
use oxc_span::{GetSpan, Span};
use oxc_syntax::symbol::SymbolId;

use crate::diagnostic::{Sink, did_you_mean};
use crate::files::{File, Files};
use crate::lower::strip;
pub(crate) use chain::{Chain, Link};
pub use statement::{Shape, StaticStatement};

/// The tables of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// By name: `person` where a chain finds it under that, else `other.person`.
    pub tables: BTreeMap<String, Table>,
}

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Names of its columns, in order.
    pub columns: Vec<String>,
}

impl Schema {
    /// `person`, `public.person`, `other.thing`.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name).or_else(|| {
            let (schema, bare) = name.split_once('.')?;
            self.tables.get(bare).filter(|table| table.schema == schema)
        })
    }
}

/// Lambdas that were compiled, by file and place: the tree, and how many values they captured.
pub(crate) type Trees = HashMap<(usize, Span), (Value, usize)>;

/// Reports tables and columns that aren't there.
pub(crate) fn check(files: &Files<'_>, schema: &Schema, sink: &mut Sink) {
    for file in &files.list {
        let mut pass = Pass { file, schema, sink, seen: HashSet::new() };
        pass.visit_program(file.program);
    }
}

/// Statements that are the same every time.
pub(crate) fn statements(
    files: &Files<'_>,
    trees: &Trees,
    leaf: &dyn Fn(u16) -> Value,
) -> Vec<StaticStatement> {
    let mut found = Vec::new();
    for (index, file) in files.list.iter().enumerate() {
        let mut collect = Collect { file, index, trees, leaf, seen: HashSet::new(), found: Vec::new() };
        collect.visit_program(file.program);
        found.append(&mut collect.found);
    }
    found
}

struct Collect<'f, 'a> {
    file: &'f File<'a>,
    index: usize,
    trees: &'f Trees,
    leaf: &'f dyn Fn(u16) -> Value,
    seen: HashSet<u32>,
    found: Vec<StaticStatement>,
}

impl<'a> Visit<'a> for Collect<'_, 'a> {
    fn visit_call_expression(&mut self, c: &CallExpression<'a>) {
        if is_elsewhere(self.file, c) {
            return;
        }
        if let Some(chain) = chain::of(self.file, c).filter(|chain| self.seen.insert(chain.start))
            && let Some(shape) = statement::of(&chain, self.index, self.trees, self.leaf)
        {
            self.found.push(StaticStatement {
                shape,
                file: Arc::clone(&self.file.path),
                text: Arc::clone(&self.file.text),
                place: crate::Place { start: chain.span().start, end: chain.span().end },
            });
        }
        oxc_ast_visit::walk::walk_call_expression(self, c);
    }
}

/// Whether a call is `tx(fn, { database: ... })`: chains in it are of another database. Options that are computed may
/// say so, too.
fn is_elsewhere(file: &File<'_>, c: &CallExpression<'_>) -> bool {
    let Expression::Identifier(id) = strip(&c.callee) else { return false };
    if id.name != "tx" || symbol_of(file, id).is_some() {
        return false;
    }
    match c.arguments.get(1).and_then(|argument| argument.as_expression()).map(strip) {
        None => false,
        Some(Expression::ObjectExpression(object)) => {
            object.properties.iter().any(|property| match property {
                ObjectPropertyKind::ObjectProperty(p) => {
                    key_name(&p.key).is_none_or(|name| name == "database")
                }
                ObjectPropertyKind::SpreadProperty(_) => true,
            })
        }
        Some(_) => true,
    }
}

/// A table of a chain, as its names are written.
struct Used<'s> {
    name: String,
    alias: Option<String>,
    /// `None`: its name isn't known here, or isn't that of a table.
    table: Option<&'s Table>,
}

impl Used<'_> {
    /// Whether `qualifier.column` means this one.
    fn is_called(&self, qualifier: &str) -> bool {
        match &self.alias {
            Some(alias) => alias == qualifier,
            None => {
                self.name == qualifier
                    || self.name.rsplit_once('.').is_some_and(|(_, bare)| bare == qualifier)
            }
        }
    }
}

struct Pass<'f, 'a> {
    file: &'f File<'a>,
    schema: &'f Schema,
    sink: &'f mut Sink,
    /// Where chains begin that were looked at: their inner calls come again.
    seen: HashSet<u32>,
}

impl<'a> Visit<'a> for Pass<'_, 'a> {
    fn visit_call_expression(&mut self, c: &CallExpression<'a>) {
        if is_elsewhere(self.file, c) {
            return;
        }
        if let Some(chain) = chain::of(self.file, c).filter(|chain| self.seen.insert(chain.start)) {
            self.chain(&chain);
        }
        oxc_ast_visit::walk::walk_call_expression(self, c);
    }
}

impl<'f> Pass<'f, '_> {
    fn chain(&mut self, chain: &Chain<'_, '_>) {
        if chain.is_named || chain.links.iter().any(|link| link.name == "raw") {
            return;
        }
        let mut used: Vec<Used<'f>> = Vec::new();
        // Where a join stands, to find the rows that its lambda takes.
        let mut joined: Vec<(u32, usize)> = Vec::new();
        let mut names: HashSet<String> = HashSet::new();
        let mut names_known = true;
        for link in &chain.links {
            match link.name {
                "table" | "from" => {
                    let table = self.used(link);
                    if used.is_empty() { used.push(table) } else { used[0] = table }
                }
                "join" | "leftJoin" => {
                    joined.push((link.span.start, used.len()));
                    let table = self.used(link);
                    used.push(table);
                }
                "select" => names_known &= result_names(link, &mut names),
                _ => {}
            }
        }
        for link in &chain.links {
            self.link(link, &used, &names, names_known);
        }
    }

    /// The table that a link names.
    fn used(&mut self, link: &Link<'_, '_>) -> Used<'f> {
        let text = |at: usize| link.text(at).map(|(text, _)| text.to_owned());
        let lambda_or_columns = match link.name {
            "join" | "leftJoin" if link.lambda().is_some() => 1,
            "join" | "leftJoin" => 2,
            _ => 0,
        };
        let has_alias = link.args.len() == 2 + lambda_or_columns;
        let alias = if has_alias { text(1) } else { None };
        let Some((name, span)) = link.text(0) else {
            return Used { name: String::new(), alias, table: None };
        };
        let table = self.schema.table(name);
        if table.is_none() {
            let known = self.schema.tables.keys().map(String::as_str);
            let hint = did_you_mean(name, known).unwrap_or_else(|| self.all_tables());
            self.error("FB0605", span, format!("there is no table `{name}` in the database"), hint);
        }
        Used { name: name.to_owned(), alias, table }
    }

    fn all_tables(&self) -> String {
        let names: Vec<&str> = self.schema.tables.keys().take(20).map(String::as_str).collect();
        match names.as_slice() {
            [] => "it has none, as forebay.lock.json says; `forebay db pull` looks again".to_owned(),
            names => format!("forebay.lock.json has {}; `forebay db pull` looks again", names.join(", ")),
        }
    }

    fn error(&mut self, code: &'static str, span: Span, message: String, hint: String) {
        self.sink.push(self.file.error(code, span, message, Some(hint)));
    }

    fn link(&mut self, link: &Link<'_, '_>, used: &[Used<'f>], names: &HashSet<String>, names_known: bool) {
        if let Some(lambda) = link.lambda() {
            self.lambda(lambda, used);
            if link.name == "update"
                && let Some(Expression::ObjectExpression(object)) = lambda.body.as_expression().map(strip)
            {
                self.keys(object, used);
            }
            return;
        }
        match link.name {
            "where" | "and" | "or" => match link.object(0) {
                Some(object) => self.keys(object, used),
                None => self.column(link, 0, used),
            },
            "in" | "notIn" | "like" | "ilike" | "between" | "isNull" | "notNull" | "sum" | "avg" | "min"
            | "max" | "count" => {
                self.column(link, 0, used);
            }
            "join" | "leftJoin" if link.args.len() > 2 => {
                self.column(link, link.args.len() - 2, used);
                self.column(link, link.args.len() - 1, used);
            }
            "select" | "group" | "returning" => {
                for (text, span) in link.texts() {
                    self.item(text, span, used);
                }
            }
            "order" => {
                // It may be a name that select gave.
                if let Some((text, _)) = link.text(0)
                    && names_known
                    && !names.contains(text)
                {
                    self.column(link, 0, used);
                }
            }
            "insert" | "update" => {
                for object in link.objects(0) {
                    self.keys(object, used);
                }
            }
            "onConflict" => {
                for (text, span) in link.texts_at(0).into_iter().chain(link.texts_at(1)) {
                    if !matches!(text, "ignore" | "update") {
                        self.name(text, span, used);
                    }
                }
                if let Some(object) = link.object(1) {
                    self.keys(object, used);
                }
            }
            "find" => {
                if let [Used { name, table: Some(table), .. }, ..] = used
                    && !table.columns.iter().any(|column| column == "id")
                {
                    let message = format!("`find` looks for `id`, and table `{name}` has no such column");
                    self.error("FB0606", link.span, message, columns_of(table));
                }
            }
            _ => {}
        }
    }

    fn column(&mut self, link: &Link<'_, '_>, at: usize, used: &[Used<'f>]) {
        if let Some((text, span)) = link.text(at) {
            self.name(text, span, used);
        }
    }

    /// `column`, `table.column`, `table.*`, `*`, each perhaps with ` as name`.
    fn item(&mut self, text: &str, span: Span, used: &[Used<'f>]) {
        let lower = text.to_ascii_lowercase();
        let end = lower.find(" as ").unwrap_or(text.len());
        let name = text[..end].trim();
        if name != "*" {
            self.name(name, span, used);
        }
    }

    fn keys(&mut self, object: &oxc_ast::ast::ObjectExpression<'_>, used: &[Used<'f>]) {
        for property in &object.properties {
            if let ObjectPropertyKind::ObjectProperty(p) = property
                && !p.computed
                && let Some(name) = key_name(&p.key)
            {
                self.name(&name, p.key.span(), used);
            }
        }
    }

    /// `column`, or `table.column`.
    fn name(&mut self, name: &str, span: Span, used: &[Used<'f>]) {
        match name.rsplit_once('.') {
            Some((qualifier, column)) => match used.iter().find(|one| one.is_called(qualifier)) {
                Some(one) if column != "*" => self.column_of(one, column, span),
                Some(_) => {}
                None if used.iter().all(|one| one.table.is_some()) && !used.is_empty() => {
                    let known: Vec<&str> =
                        used.iter().map(|one| one.alias.as_deref().unwrap_or(&one.name)).collect();
                    let message = format!("there is no table `{qualifier}` in this query");
                    let hint = did_you_mean(qualifier, known.iter().copied())
                        .unwrap_or_else(|| format!("it has {}", known.join(", ")));
                    self.error("FB0605", span, message, hint);
                }
                None => {}
            },
            None => match used {
                [one] => self.column_of(one, name, span),
                many => {
                    let has = |one: &Used<'_>| {
                        one.table.is_none_or(|table| table.columns.iter().any(|column| column == name))
                    };
                    if many.is_empty() || many.iter().any(has) {
                        return;
                    }
                    let tables: Vec<&str> = many.iter().map(|one| one.name.as_str()).collect();
                    let columns = many.iter().filter_map(|one| one.table).flat_map(|table| &table.columns);
                    let message = format!("none of {} has a column `{name}`", tables.join(", "));
                    let hint = did_you_mean(name, columns.map(String::as_str))
                        .unwrap_or_else(|| "`forebay db pull` looks at the database again".to_owned());
                    self.error("FB0606", span, message, hint);
                }
            },
        }
    }

    fn column_of(&mut self, one: &Used<'f>, column: &str, span: Span) {
        let Some(table) = one.table.filter(|table| !table.columns.iter().any(|known| known == column)) else {
            return;
        };
        let message = format!("table `{}` has no column `{column}`", one.name);
        let hint = did_you_mean(column, table.columns.iter().map(String::as_str))
            .unwrap_or_else(|| columns_of(table));
        self.error("FB0606", span, message, hint);
    }

    fn lambda(&mut self, lambda: &ArrowFunctionExpression<'_>, used: &[Used<'f>]) {
        let mut rows: HashMap<SymbolId, usize> = HashMap::new();
        for (index, parameter) in lambda.params.items.iter().enumerate() {
            match &parameter.pattern {
                BindingPattern::BindingIdentifier(id) => {
                    rows.extend(id.symbol_id.get().map(|symbol| (symbol, index)));
                }
                BindingPattern::ObjectPattern(pattern) => {
                    for property in &pattern.properties {
                        if let Some(name) = key_name(&property.key).filter(|_| !property.computed)
                            && let Some(one) = used.get(index)
                        {
                            self.column_of(one, &name, property.key.span());
                        }
                    }
                }
                _ => {}
            }
        }
        let mut members = Members { file: self.file, rows: &rows, found: Vec::new() };
        oxc_ast_visit::walk::walk_arrow_function_expression(&mut members, lambda);
        for (index, name, span) in members.found {
            if let Some(one) = used.get(index) {
                self.column_of(one, &name, span);
            }
        }
    }
}

fn columns_of(table: &Table) -> String {
    match table.columns.as_slice() {
        [] => "it has no columns".to_owned(),
        columns => format!("it has {}; `forebay db pull` looks again", columns.join(", ")),
    }
}

/// Names that `select` gives; false if one of them isn't known.
fn result_names(link: &Link<'_, '_>, names: &mut HashSet<String>) -> bool {
    if let Some(lambda) = link.lambda() {
        let Some(Expression::ObjectExpression(object)) = lambda.body.as_expression().map(strip) else {
            return false;
        };
        for property in &object.properties {
            match property {
                ObjectPropertyKind::ObjectProperty(p) if !p.computed => names.extend(key_name(&p.key)),
                _ => return false,
            }
        }
        return true;
    }
    let texts = link.texts();
    for (text, _) in &texts {
        let lower = text.to_ascii_lowercase();
        if let Some(at) = lower.find(" as ") {
            names.insert(text[at + 4..].trim().to_owned());
        }
    }
    link.args.iter().all(|argument| {
        argument.as_expression().is_some_and(|e| matches!(strip(e), Expression::StringLiteral(_)))
    })
}

fn key_name(key: &PropertyKey<'_>) -> Option<String> {
    match key {
        PropertyKey::StaticIdentifier(id) => Some(id.name.to_string()),
        PropertyKey::StringLiteral(s) => Some(s.value.to_string()),
        _ => None,
    }
}

fn symbol_of(file: &File<'_>, id: &IdentifierReference<'_>) -> Option<SymbolId> {
    file.semantic.scoping().get_reference(id.reference_id.get()?).symbol_id()
}

/// `row.column` and `row["column"]` of a lambda's rows.
struct Members<'m, 'f, 'a> {
    file: &'f File<'a>,
    rows: &'m HashMap<SymbolId, usize>,
    found: Vec<(usize, String, Span)>,
}

impl<'a> Visit<'a> for Members<'_, '_, 'a> {
    fn visit_static_member_expression(&mut self, m: &StaticMemberExpression<'a>) {
        if let Expression::Identifier(id) = strip(&m.object)
            && let Some(index) = symbol_of(self.file, id).and_then(|symbol| self.rows.get(&symbol))
        {
            self.found.push((*index, m.property.name.to_string(), m.property.span));
        }
        oxc_ast_visit::walk::walk_static_member_expression(self, m);
    }

    fn visit_computed_member_expression(&mut self, m: &ComputedMemberExpression<'a>) {
        if let Expression::Identifier(id) = strip(&m.object)
            && let Some(index) = symbol_of(self.file, id).and_then(|symbol| self.rows.get(&symbol))
            && let Expression::StringLiteral(name) = strip(&m.expression)
        {
            self.found.push((*index, name.value.to_string(), name.span));
        }
        oxc_ast_visit::walk::walk_computed_member_expression(self, m);
    }
}
