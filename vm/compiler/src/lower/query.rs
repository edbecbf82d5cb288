//! Lambdas in a chain that starts at `db()`: `where(u => ...)`, `join("orders", (u, o) => ...)`,
//! `select(u => ({ name: u.name }))` and their kin are compiled to the data of docs/formats/predicate.md, or refused.
//!
//! Whatever mentions a row must have a form in SQL; whatever doesn't is
//! evaluated when the chain runs and becomes a parameter.

use forebay_base::value::{Value, codec};
use forebay_bytecode::{HostFn, Instr, Op};
use oxc_ast::AstKind;
use oxc_ast::ast::{
    ArrowFunctionBody, ArrowFunctionExpression, BindingPattern, CallExpression, ChainElement,
    ComputedMemberExpression, Expression, ObjectPropertyKind, StaticMemberExpression, TemplateLiteral,
};
use oxc_ast_visit::Visit;
use oxc_span::{GetSpan, Span};
use oxc_syntax::operator::{AssignmentOperator, BinaryOperator, LogicalOperator, UnaryOperator};
use oxc_syntax::symbol::SymbolId;

use super::function::strip;
use super::{Lower, Want};
use crate::diagnostic::did_you_mean;
use crate::emit::Reg;
use crate::schema::chain;
use crate::scope::Kind;

/// Nesting of a predicate (docs/formats/predicate.md).
const DEPTH_MAX: usize = 60;
/// Captured values of one predicate.
const CAPTURES_MAX: usize = 250;

/// What a method takes a lambda for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A condition on rows or groups.
    Condition,
    /// A condition that connects tables; behind their names.
    Join,
    /// Something to sort or group by.
    Operand,
    /// Several, with names.
    Named,
}

fn role(method: &str) -> Option<Role> {
    Some(match method {
        "where" | "and" | "or" | "having" => Role::Condition,
        "join" | "leftJoin" => Role::Join,
        "order" | "group" => Role::Operand,
        "select" | "update" => Role::Named,
        _ => return None,
    })
}

/// What a parameter of the lambda gives.
struct Row {
    /// `u` of `u => u.age`.
    whole: Option<SymbolId>,
    /// `age` of `({age}) => age`, with its column.
    columns: Vec<(SymbolId, String)>,
}

struct Predicate<'a> {
    /// One for each table, in the order of the query.
    rows: Vec<Row>,
    captured: Vec<&'a Expression<'a>>,
}

/// Functions over the rows of a group. They are no names of the language: a variable of that name is that variable.
const AGGREGATES: [&str; 6] = ["count", "countDistinct", "sum", "avg", "min", "max"];

impl<'a> Lower<'_, 'a> {
    /// A lambda of a database chain; `None` if it is an ordinary call.
    pub(super) fn query_lambda(
        &mut self,
        c: &'a CallExpression<'a>,
        m: &'a StaticMemberExpression<'a>,
        want: Want,
    ) -> Option<Reg> {
        let role = role(&m.property.name)?;
        let at = match role {
            Role::Join => c.arguments.len().checked_sub(1)?,
            _ => 0,
        };
        let counts = match role {
            Role::Join => 2..=3,
            Role::Operand if m.property.name == "order" => 1..=2,
            _ => 1..=1,
        };
        let argument = c.arguments.get(at).filter(|_| counts.contains(&c.arguments.len()))?;
        if !self.is_rooted_in_db(&m.object) && !self.holds_a_query(&m.object, &mut Vec::new()) {
            return None;
        }
        let e = argument.as_expression()?;
        let arrow = match strip(e) {
            Expression::ArrowFunctionExpression(arrow) => arrow,
            Expression::FunctionExpression(f) => {
                self.refuse_lambda(f.span, "this must be an arrow with an expression, to be compiled to SQL");
                return Some(self.target(want));
            }
            Expression::Identifier(id) => {
                let symbol = id.reference_id.get().and_then(|r| {
                    self.files.list[self.file()].semantic.scoping().get_reference(r).symbol_id()
                });
                if symbol.is_some_and(|s| self.variable(s).kind == Kind::Function) {
                    self.refuse_lambda(id.span, "a lambda must be written here, to be compiled to SQL");
                    return Some(self.target(want));
                }
                return None;
            }
            _ => return None,
        };
        let ArrowFunctionBody::FunctionBody(block) = &arrow.body else {
            return Some(self.lambda(c, m, arrow, role, at, want));
        };
        self.refuse_lambda(block.span, "a lambda of a query is an expression, not a block");
        Some(self.target(want))
    }

    /// Whether this is surely a query that goes on: a chain from `db()`, or a variable that never holds anything else, as in
    /// `let q = db().table("user"); if (age) q = q.where(u => u.age > age);`.
    fn holds_a_query(&self, e: &Expression<'a>, seen: &mut Vec<SymbolId>) -> bool {
        match strip(e) {
            Expression::CallExpression(c) => match strip(&c.callee) {
                Expression::StaticMemberExpression(m) => {
                    chain::LINKS.contains(&m.property.name.as_str())
                        && (self.is_rooted_in_db(&m.object) || self.holds_a_query(&m.object, seen))
                }
                _ => self.is_rooted_in_db(e),
            },
            Expression::Identifier(id) => {
                let semantic = &self.files.list[self.file()].semantic;
                let (scoping, nodes) = (semantic.scoping(), semantic.nodes());
                let symbol = id.reference_id.get().and_then(|r| scoping.get_reference(r).symbol_id());
                let Some(symbol) = symbol else { return false };
                if seen.contains(&symbol) {
                    // `q = q.where(...)`: it is one if all else that it holds is.
                    return true;
                }
                seen.push(symbol);
                let AstKind::VariableDeclarator(d) = nodes.kind(scoping.symbol_declaration(symbol)) else {
                    return false;
                };
                let is_plain = matches!(d.id, BindingPattern::BindingIdentifier(_));
                let Some(first) = d.init.as_ref().filter(|_| is_plain) else { return false };
                self.holds_a_query(first, seen)
                    && semantic.symbol_references(symbol).filter(|reference| reference.is_write()).all(
                        |reference| match nodes.parent_kind(reference.node_id()) {
                            AstKind::AssignmentExpression(a) => {
                                a.operator == AssignmentOperator::Assign
                                    && a.left.is_simple_assignment_target()
                                    && self.holds_a_query(&a.right, seen)
                            }
                            _ => false,
                        },
                    )
            }
            _ => false,
        }
    }

    /// `sql.name({...})`: a query of sql/, carried out at once.
    pub(super) fn named_query(
        &mut self,
        c: &'a CallExpression<'a>,
        m: &'a StaticMemberExpression<'a>,
        want: Want,
    ) -> Reg {
        let name = m.property.name.as_str();
        let Some(query) = self.files.queries.iter().find(|query| query.name == name).cloned() else {
            let names: Vec<&str> = self.files.queries.iter().map(|query| &*query.name).collect();
            let hint = did_you_mean(name, names.iter().copied()).unwrap_or_else(|| match names.as_slice() {
                [] => "write it into sql/*.sql, below `-- name: x :one`".to_owned(),
                names => format!("there are {}", names.join(", ")),
            });
            self.error("FB0604", m.property.span, format!("there is no query `{name}` in sql/"), Some(&hint));
            return self.target(want);
        };
        if query.kind == crate::sqlfile::QueryKind::Copy {
            return self.named_copy(c, &query, want);
        }
        let shape = format!("`sql.{name}({{ {} }})`", query.params.join(", "));
        let argument = match c.arguments.as_slice() {
            [] if query.params.is_empty() => None,
            [argument] if let Some(e) = argument.as_expression() => Some(e),
            _ => {
                self.error("FB0604", c.span, format!("`sql.{name}` takes one object"), Some(&shape));
                return self.target(want);
            }
        };
        if c.optional || m.optional {
            self.error("FB0604", c.span, "a named query is always there: call it without `?.`", None);
        }
        if self.is_load_time() {
            self.error_at_load(c.span, &format!("`sql.{name}()`"));
        }
        let mark = self.f().next;
        let (base, data, plain) = (self.f().take(), self.f().take(), self.f().take());
        let values: Vec<Reg> = query.params.iter().map(|_| self.f().take()).collect();
        self.f().emit(Instr::abc(Op::HostCall, 0, base, 0, HostFn::Db as u16), c.span);
        let tree = Value::List(vec![text(&query.text), text(query.kind.name()), text(name)]);
        match codec::encode(&node("sql", vec![tree])) {
            Ok(bytes) => {
                let constant = self.pool.data(bytes);
                self.f().abx(Op::LoadConst, data, constant, c.span);
            }
            Err(why) => self.error("FB0604", c.span, format!("this query is too large: {why}"), None),
        }
        self.f().emit(Instr::asbx(Op::LoadInt, plain, 0), c.span);
        if let Some(argument) = argument {
            self.query_values(&query.params, &values, argument, &shape);
        }
        let count = u8::try_from(values.len() + 3).unwrap_or(u8::MAX);
        self.note_use(HostFn::DbWhereLambda);
        self.f().emit(Instr::abc(Op::HostCall, count, base, base, HostFn::DbWhereLambda as u16), c.span);
        self.f().next = mark;
        let register = self.target(want);
        self.f().emit(Instr::abc(Op::HostCall, 1, register, base, HostFn::Query as u16), c.span);
        register
    }

    /// `sql.name(rows)` or `sql.name()`: a COPY of sql/.
    fn named_copy(
        &mut self,
        c: &'a CallExpression<'a>,
        query: &crate::sqlfile::NamedQuery,
        want: Want,
    ) -> Reg {
        let name = query.name.as_str();
        let takes_rows = crate::sqlfile::copies_in(&query.text) == Some(true);
        let argument = match c.arguments.as_slice() {
            [] if !takes_rows => None,
            [argument] if takes_rows && let Some(e) = argument.as_expression() => Some(e),
            _ => {
                let shape =
                    if takes_rows { format!("`sql.{name}(rows)`") } else { format!("`sql.{name}()`") };
                let message = format!("wrong number of arguments for `sql.{name}`");
                self.error("FB0604", c.span, message, Some(&shape));
                return self.target(want);
            }
        };
        if self.is_load_time() {
            self.error_at_load(c.span, &format!("`sql.{name}()`"));
        }
        let mark = self.f().next;
        let (base, data, plain) = (self.f().take(), self.f().take(), self.f().take());
        self.f().emit(Instr::abc(Op::HostCall, 0, base, 0, HostFn::Db as u16), c.span);
        let tree = Value::List(vec![text(&query.text), text(query.kind.name()), text(name)]);
        match codec::encode(&node("sql", vec![tree])) {
            Ok(bytes) => {
                let constant = self.pool.data(bytes);
                self.f().abx(Op::LoadConst, data, constant, c.span);
            }
            Err(why) => self.error("FB0604", c.span, format!("this query is too large: {why}"), None),
        }
        self.f().emit(Instr::asbx(Op::LoadInt, plain, 0), c.span);
        self.note_use(HostFn::DbWhereLambda);
        self.f().emit(Instr::abc(Op::HostCall, 3, base, base, HostFn::DbWhereLambda as u16), c.span);
        let (count, function) = match argument {
            Some(argument) => {
                self.expression(argument, Want::Free(data));
                (2, HostFn::CopyIn)
            }
            None => (1, HostFn::CopyOut),
        };
        self.f().next = mark;
        let register = self.target(want);
        self.f().emit(Instr::abc(Op::HostCall, count, register, base, function as u16), c.span);
        register
    }

    /// The values of a named query's parameters, each into its register.
    fn query_values(&mut self, params: &[String], values: &[Reg], argument: &'a Expression<'a>, shape: &str) {
        if let Expression::ObjectExpression(object) = strip(argument) {
            let plain: Option<Vec<_>> = object
                .properties
                .iter()
                .map(|property| match property {
                    ObjectPropertyKind::ObjectProperty(p) if !p.computed && !p.method => {
                        self.static_key(&p.key, false).map(|name| (name, p))
                    }
                    _ => None,
                })
                .collect();
            if let Some(plain) = plain {
                for (name, property) in &plain {
                    match params.iter().position(|param| param == name) {
                        Some(index) => {
                            self.expression(&property.value, Want::Free(values[index]));
                        }
                        None => {
                            let hint = did_you_mean(name, params.iter().map(String::as_str));
                            let hint = hint.as_deref().unwrap_or(shape);
                            let message = format!("the query has no parameter `{name}`");
                            self.error("FB0604", property.span, message, Some(hint));
                        }
                    }
                }
                for param in params {
                    if !plain.iter().any(|(name, _)| name == param) {
                        let message = format!("the parameter `{param}` is missing");
                        self.error("FB0604", argument.span(), message, Some(shape));
                    }
                }
                return;
            }
        }
        let object = self.expression(argument, Want::Any);
        for (param, register) in params.iter().zip(values) {
            let name = self.pool.string(param);
            let site = self.f().site(name);
            self.f().abc(Op::GetField, *register, object, site, argument.span());
        }
    }

    fn refuse_lambda(&mut self, span: Span, message: &str) {
        self.error("FB0601", span, message, Some("`where(u => u.age > 18 && u.role == role)`"));
    }

    fn lambda(
        &mut self,
        c: &'a CallExpression<'a>,
        m: &'a StaticMemberExpression<'a>,
        arrow: &'a ArrowFunctionExpression<'a>,
        role: Role,
        at: usize,
        want: Want,
    ) -> Reg {
        let mark = self.f().next;
        let query = self.f().take();
        let data = self.f().take();
        let plain = self.f().take();
        if m.optional || c.optional {
            let message = format!("a query is always there: call `{}` without `?.`", m.property.name);
            self.error("FB0601", c.span, message, None);
        }
        // Not the end of the chain, whatever stands before it: `delete().where(u => ...)`.
        self.link(&m.object, Want::Free(query), &mut Vec::new());
        let rows = self.rows(arrow, role);
        let body = arrow.body.as_expression();
        if let (Some(rows), Some(body)) = (rows, body) {
            let mut predicate = Predicate { rows, captured: Vec::new() };
            let tree = match role {
                Role::Condition | Role::Join => self.sql_condition(&mut predicate, body, 0),
                Role::Operand => self.sql_value(&mut predicate, body, 0),
                Role::Named => self.named(&mut predicate, body),
            };
            if let Some(tree) = tree {
                self.trees.insert((self.file(), arrow.span), (tree.clone(), predicate.captured.len()));
                match codec::encode(&node(&m.property.name, vec![tree])) {
                    Ok(bytes) => {
                        let constant = self.pool.data(bytes);
                        self.f().abx(Op::LoadConst, data, constant, arrow.span);
                    }
                    Err(why) => {
                        self.error("FB0601", body.span(), format!("this lambda is too large: {why}"), None)
                    }
                }
                let others: Vec<&'a Expression<'a>> = c
                    .arguments
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| *index != at)
                    .filter_map(|(_, argument)| argument.as_expression())
                    .collect();
                let count = i32::try_from(others.len()).unwrap_or(0);
                self.f().emit(Instr::asbx(Op::LoadInt, plain, count), c.span);
                for e in others.iter().chain(&predicate.captured) {
                    let register = self.f().take();
                    self.expression(e, Want::Free(register));
                }
                let n = u8::try_from(predicate.captured.len() + others.len() + 3).unwrap_or(u8::MAX);
                self.f().next = mark;
                let register = self.target(want);
                self.note_use(HostFn::DbWhereLambda);
                self.f()
                    .emit(Instr::abc(Op::HostCall, n, register, query, HostFn::DbWhereLambda as u16), c.span);
                return register;
            }
        }
        self.f().next = mark;
        self.target(want)
    }

    fn rows(&mut self, arrow: &'a ArrowFunctionExpression<'a>, role: Role) -> Option<Vec<Row>> {
        let items = &arrow.params.items;
        let shape = match role {
            Role::Join => {
                "`join(\"orders\", (user, order) => order.user_id == user.id)`: a row of each table so far, then of the new one"
            }
            Role::Named => "`select(u => ({ name: u.name }))`",
            Role::Condition | Role::Operand => "`where(u => ...)` or `where(({age, role}) => ...)`",
        };
        let least = if role == Role::Join { 2 } else { 1 };
        if items.len() < least
            || arrow.r#async
            || arrow.params.rest.is_some()
            || items.iter().any(|parameter| parameter.initializer.is_some())
        {
            self.error("FB0601", arrow.params.span, "a lambda of a query takes rows", Some(shape));
            return None;
        }
        items.iter().map(|parameter| self.row(&parameter.pattern, shape)).collect()
    }

    fn row(&mut self, pattern: &'a BindingPattern<'a>, shape: &str) -> Option<Row> {
        match pattern {
            BindingPattern::BindingIdentifier(id) => {
                Some(Row { whole: id.symbol_id.get(), columns: Vec::new() })
            }
            BindingPattern::ObjectPattern(o) if o.rest.is_none() => {
                let mut columns = Vec::new();
                for property in &o.properties {
                    let name = self.static_key(&property.key, property.computed);
                    match (&property.value, name) {
                        (BindingPattern::BindingIdentifier(id), Some(name)) => {
                            columns.extend(id.symbol_id.get().map(|symbol| (symbol, name)));
                        }
                        _ => {
                            self.error("FB0601", property.span, "a column is a plain name", Some(shape));
                            return None;
                        }
                    }
                }
                Some(Row { whole: None, columns })
            }
            other => {
                self.error("FB0601", other.span(), "a lambda of a query takes rows", Some(shape));
                None
            }
        }
    }

    /// `({name: expression, ...})` as `["named", [name, tree], ...]`: the order is the columns'.
    fn named(&mut self, p: &mut Predicate<'a>, body: &'a Expression<'a>) -> Option<Value> {
        let shape = "`select(u => ({ name: u.name, total: sum(u.amount) }))`";
        let Expression::ObjectExpression(object) = strip(body) else {
            self.error(
                "FB0601",
                body.span(),
                "this lambda gives an object of names and expressions",
                Some(shape),
            );
            return None;
        };
        let mut pairs = Vec::new();
        for property in &object.properties {
            let ObjectPropertyKind::ObjectProperty(property) = property else {
                self.error("FB0601", property.span(), "a spread has no form in SQL here", Some(shape));
                return None;
            };
            let Some(name) = self.static_key(&property.key, property.computed) else {
                self.error("FB0601", property.span, "a column's name is a constant", Some(shape));
                return None;
            };
            let tree = self.sql_value(p, &property.value, 0)?;
            pairs.push(Value::List(vec![text(&name), tree]));
        }
        if pairs.is_empty() {
            self.error("FB0601", body.span(), "this object is empty", Some(shape));
            return None;
        }
        Some(node("named", pairs))
    }

    /// A condition, or an operand.
    fn sql_value(&mut self, p: &mut Predicate<'a>, e: &'a Expression<'a>, depth: usize) -> Option<Value> {
        let is_condition = match strip(e) {
            Expression::LogicalExpression(l) => l.operator != LogicalOperator::Coalesce,
            Expression::UnaryExpression(u) => u.operator == UnaryOperator::LogicalNot,
            Expression::BinaryExpression(b) => comparison(b.operator).is_some(),
            Expression::CallExpression(c) => is_condition_call(c),
            Expression::ChainExpression(chain) => {
                matches!(&chain.expression, ChainElement::CallExpression(c) if is_condition_call(c))
            }
            _ => false,
        };
        if is_condition { self.sql_condition(p, e, depth) } else { self.sql_operand(p, e, depth) }
    }

    fn is_too_deep(&mut self, e: &Expression<'a>, depth: usize) -> bool {
        if depth > DEPTH_MAX {
            self.error("FB0601", e.span(), "this lambda is nested too deeply", None);
        }
        depth > DEPTH_MAX
    }

    /// Something that is true or false; `None` after an error.
    fn sql_condition(&mut self, p: &mut Predicate<'a>, e: &'a Expression<'a>, depth: usize) -> Option<Value> {
        let e = strip(e);
        if self.is_too_deep(e, depth) {
            return None;
        }
        if !self.mentions(&p.rows, e) {
            return self.operand_value(p, e);
        }
        if let Some(column) = self.column(&p.rows, e) {
            return Some(column);
        }
        match e {
            Expression::LogicalExpression(l) if l.operator != LogicalOperator::Coalesce => {
                let op = if l.operator == LogicalOperator::And { "and" } else { "or" };
                let left = self.sql_condition(p, &l.left, depth + 1);
                let right = self.sql_condition(p, &l.right, depth + 1);
                Some(node(op, vec![left?, right?]))
            }
            Expression::UnaryExpression(u) if u.operator == UnaryOperator::LogicalNot => {
                let inner = self.sql_condition(p, &u.argument, depth + 1)?;
                Some(node("not", vec![inner]))
            }
            Expression::BinaryExpression(b) if let Some(op) = comparison(b.operator) => {
                let left = self.sql_operand(p, &b.left, depth + 1);
                let right = self.sql_operand(p, &b.right, depth + 1);
                Some(node(op, vec![left?, right?]))
            }
            Expression::CallExpression(c) => self.condition_call(p, c, depth),
            // SQL's functions of null are null, as `?.` is undefined.
            Expression::ChainExpression(chain) if let ChainElement::CallExpression(c) = &chain.expression => {
                self.condition_call(p, c, depth)
            }
            Expression::ConditionalExpression(c) => {
                let test = self.sql_condition(p, &c.test, depth + 1);
                let yes = self.sql_condition(p, &c.consequent, depth + 1);
                let no = self.sql_condition(p, &c.alternate, depth + 1);
                let (test, yes, no) = (test?, yes?, no?);
                let otherwise = node("and", vec![node("not", vec![test.clone()]), no]);
                Some(node("or", vec![node("and", vec![test, yes]), otherwise]))
            }
            other => {
                self.no_sql(other.span(), "this is no condition that SQL has");
                None
            }
        }
    }

    fn condition_call(
        &mut self,
        p: &mut Predicate<'a>,
        c: &'a CallExpression<'a>,
        depth: usize,
    ) -> Option<Value> {
        if let Expression::StaticMemberExpression(m) = strip(&c.callee)
            && !c.optional
            && let [argument] = c.arguments.as_slice()
            && let Some(argument) = argument.as_expression()
        {
            let op = match &*m.property.name {
                "includes" if !self.mentions(&p.rows, &m.object) => {
                    let x = self.sql_operand(p, argument, depth + 1)?;
                    let list = self.operand_value(p, &m.object)?;
                    return Some(node("in", vec![x, list]));
                }
                "includes" => "contains",
                "startsWith" => "starts",
                "endsWith" => "ends",
                "like" => "like",
                "ilike" => "ilike",
                _ => {
                    self.no_sql(c.span, "this call has no form in SQL");
                    return None;
                }
            };
            let x = self.sql_operand(p, &m.object, depth + 1)?;
            let y = self.sql_operand(p, argument, depth + 1)?;
            return Some(node(op, vec![x, y]));
        }
        self.no_sql(c.span, "this call has no form in SQL");
        None
    }

    /// Something with a value; `None` after an error.
    fn sql_operand(&mut self, p: &mut Predicate<'a>, e: &'a Expression<'a>, depth: usize) -> Option<Value> {
        let e = strip(e);
        if self.is_too_deep(e, depth) {
            return None;
        }
        if !self.mentions(&p.rows, e) {
            return self.operand_value(p, e);
        }
        if let Some(column) = self.column(&p.rows, e) {
            return Some(column);
        }
        match e {
            Expression::BinaryExpression(b) => {
                let op = match b.operator {
                    BinaryOperator::Addition if self.is_text(e) => "concat",
                    BinaryOperator::Addition => "+",
                    BinaryOperator::Subtraction => "-",
                    BinaryOperator::Multiplication => "*",
                    BinaryOperator::Division => "/",
                    BinaryOperator::Remainder => "%",
                    _ => {
                        let message = format!("`{}` has no form in SQL here", b.operator.as_str());
                        self.no_sql(b.span, &message);
                        return None;
                    }
                };
                let left = self.sql_operand(p, &b.left, depth + 1);
                let right = self.sql_operand(p, &b.right, depth + 1);
                Some(node(op, vec![left?, right?]))
            }
            Expression::TemplateLiteral(t) => self.sql_template(p, t, depth),
            Expression::LogicalExpression(l) if l.operator == LogicalOperator::Coalesce => {
                let left = self.sql_operand(p, &l.left, depth + 1);
                let right = self.sql_operand(p, &l.right, depth + 1);
                Some(node("coalesce", vec![left?, right?]))
            }
            Expression::UnaryExpression(u) if u.operator == UnaryOperator::UnaryNegation => {
                let inner = self.sql_operand(p, &u.argument, depth + 1)?;
                Some(node("neg", vec![inner]))
            }
            Expression::ConditionalExpression(t) => {
                let test = self.sql_condition(p, &t.test, depth + 1);
                let left = self.sql_value(p, &t.consequent, depth + 1);
                let right = self.sql_value(p, &t.alternate, depth + 1);
                Some(node("case", vec![test?, left?, right?]))
            }
            Expression::StaticMemberExpression(m) if m.property.name == "length" => self.length(p, m, depth),
            Expression::CallExpression(c) => self.operand_call(p, c, depth),
            Expression::ChainExpression(chain) => match &chain.expression {
                ChainElement::CallExpression(c) => self.operand_call(p, c, depth),
                ChainElement::StaticMemberExpression(m) if m.property.name == "length" => {
                    self.length(p, m, depth)
                }
                _ => {
                    self.no_sql(chain.span, "this has no form in SQL");
                    None
                }
            },
            other => {
                self.no_sql(other.span(), "this has no form in SQL");
                None
            }
        }
    }

    fn length(
        &mut self,
        p: &mut Predicate<'a>,
        m: &'a StaticMemberExpression<'a>,
        depth: usize,
    ) -> Option<Value> {
        let inner = self.sql_operand(p, &m.object, depth + 1)?;
        Some(node("length", vec![inner]))
    }

    /// `${a}-${b}`: texts and values in a row.
    fn sql_template(
        &mut self,
        p: &mut Predicate<'a>,
        t: &'a TemplateLiteral<'a>,
        depth: usize,
    ) -> Option<Value> {
        let mut parts = Vec::new();
        for (at, quasi) in t.quasis.iter().enumerate() {
            let words = quasi.value.cooked.as_ref().map_or("", |words| words.as_str());
            // The first text makes a text of what follows, even if it is empty.
            if at == 0 || !words.is_empty() {
                parts.push(node("lit", vec![text(words)]));
            }
            if let Some(value) = t.expressions.get(at) {
                parts.push(self.sql_operand(p, value, depth + 1)?);
            }
        }
        parts.into_iter().reduce(|left, right| node("concat", vec![left, right]))
    }

    /// Whether the text alone says that an operand is one: `+` joins then.
    fn is_text(&self, e: &Expression<'a>) -> bool {
        match strip(e) {
            Expression::StringLiteral(_) | Expression::TemplateLiteral(_) => true,
            Expression::BinaryExpression(b) if b.operator == BinaryOperator::Addition => {
                self.is_text(&b.left) || self.is_text(&b.right)
            }
            Expression::LogicalExpression(l) if l.operator == LogicalOperator::Coalesce => {
                self.is_text(&l.left) || self.is_text(&l.right)
            }
            Expression::ConditionalExpression(t) => self.is_text(&t.consequent) || self.is_text(&t.alternate),
            Expression::CallExpression(c) => gives_text(c),
            Expression::ChainExpression(chain) => {
                matches!(&chain.expression, ChainElement::CallExpression(c) if gives_text(c))
            }
            _ => false,
        }
    }

    fn operand_call(
        &mut self,
        p: &mut Predicate<'a>,
        c: &'a CallExpression<'a>,
        depth: usize,
    ) -> Option<Value> {
        if let Some(name) = self.aggregate(c) {
            return match c.arguments.as_slice() {
                [] if name == "count" => Some(node("count", Vec::new())),
                [argument] if let Some(argument) = argument.as_expression() => {
                    let inner = self.sql_operand(p, argument, depth + 1)?;
                    Some(node(name, vec![inner]))
                }
                _ => {
                    self.no_sql(c.span, &format!("`{name}` takes one column"));
                    None
                }
            };
        }
        if let Expression::StaticMemberExpression(m) = strip(&c.callee)
            && !c.optional
            && c.arguments.is_empty()
            && let Some((op, _)) = text_function(&m.property.name)
        {
            let inner = self.sql_operand(p, &m.object, depth + 1)?;
            return Some(node(op, vec![inner]));
        }
        self.no_sql(c.span, "this call has no form in SQL");
        None
    }

    /// The aggregate that a call is.
    fn aggregate(&self, c: &CallExpression<'a>) -> Option<&'static str> {
        let Expression::Identifier(id) = strip(&c.callee) else { return None };
        let scoping = self.files.list[self.file()].semantic.scoping();
        let bound = id.reference_id.get().and_then(|r| scoping.get_reference(r).symbol_id());
        AGGREGATES.iter().find(|name| **name == id.name && bound.is_none()).copied()
    }

    fn no_sql(&mut self, span: Span, message: &str) {
        let hint = "columns can be compared, combined with && || !, calculated with + - * / % ??, looked up with `[1, 2].includes(u.x)`; text is joined by `${u.x} text` and has startsWith, endsWith, includes, like, ilike, toLowerCase, toUpperCase, trim and length; groups have count, sum, avg, min and max";
        self.error("FB0602", span, message, Some(hint));
    }

    /// A value that doesn't depend on the row: a literal, or captured.
    fn operand_value(&mut self, p: &mut Predicate<'a>, e: &'a Expression<'a>) -> Option<Value> {
        if let Some(value) = literal(e) {
            return Some(node("lit", vec![value]));
        }
        if matches!(strip(e), Expression::Identifier(id) if id.name == "undefined")
            && self.symbol_of(e).is_none()
        {
            self.error(
                "FB0602",
                e.span(),
                "undefined is no value of SQL",
                Some("a column that has no value is null"),
            );
            return None;
        }
        if p.captured.len() >= CAPTURES_MAX {
            self.error("FB0601", e.span(), "this lambda has too many parameters", None);
            return None;
        }
        p.captured.push(e);
        let index = i64::try_from(p.captured.len() - 1).unwrap_or(i64::MAX);
        Some(node("param", vec![Value::Int(index)]))
    }

    fn symbol_of(&self, e: &Expression<'a>) -> Option<SymbolId> {
        let Expression::Identifier(id) = strip(e) else { return None };
        self.files.list[self.file()].semantic.scoping().get_reference(id.reference_id.get()?).symbol_id()
    }

    /// The column that an expression is, as a node.
    fn column(&mut self, rows: &[Row], e: &'a Expression<'a>) -> Option<Value> {
        let (row, name) = match e {
            Expression::Identifier(_) => {
                let symbol = self.symbol_of(e)?;
                rows.iter().enumerate().find_map(|(at, row)| {
                    row.columns.iter().find(|(s, _)| *s == symbol).map(|(_, column)| (at, column.clone()))
                })?
            }
            Expression::StaticMemberExpression(m) => self.static_column(rows, m)?,
            Expression::ComputedMemberExpression(m) => self.computed_column(rows, m)?,
            // `p?.name`: a row is always there.
            Expression::ChainExpression(chain) => match &chain.expression {
                ChainElement::StaticMemberExpression(m) => self.static_column(rows, m)?,
                ChainElement::ComputedMemberExpression(m) => self.computed_column(rows, m)?,
                _ => return None,
            },
            _ => return None,
        };
        let mut parts = Vec::new();
        if rows.len() > 1 {
            parts.push(Value::Int(i64::try_from(row).unwrap_or(i64::MAX)));
        }
        parts.push(text(&name));
        Some(node("col", parts))
    }

    fn static_column(&self, rows: &[Row], m: &StaticMemberExpression<'a>) -> Option<(usize, String)> {
        let symbol = self.symbol_of(&m.object)?;
        let at = rows.iter().position(|row| row.whole == Some(symbol))?;
        Some((at, m.property.name.to_string()))
    }

    fn computed_column(
        &mut self,
        rows: &[Row],
        m: &'a ComputedMemberExpression<'a>,
    ) -> Option<(usize, String)> {
        let symbol = self.symbol_of(&m.object)?;
        let at = rows.iter().position(|row| row.whole == Some(symbol))?;
        Some((at, self.constant_key(&m.expression)?))
    }

    /// Whether an expression depends on a row.
    fn mentions(&self, rows: &[Row], e: &Expression<'a>) -> bool {
        let mut search = Search { lower: self, rows, found: false };
        search.visit_expression(e);
        search.found
    }
}

/// Whether a call is one that gives true or false.
fn is_condition_call(c: &CallExpression<'_>) -> bool {
    matches!(strip(&c.callee), Expression::StaticMemberExpression(m)
        if matches!(&*m.property.name, "includes" | "startsWith" | "endsWith" | "like" | "ilike"))
}

fn gives_text(c: &CallExpression<'_>) -> bool {
    matches!(strip(&c.callee), Expression::StaticMemberExpression(m)
        if text_function(&m.property.name).is_some_and(|(_, is_text)| is_text))
}

/// The node of a method of text that takes nothing, and whether it gives text.
fn text_function(method: &str) -> Option<(&'static str, bool)> {
    Some(match method {
        "toLowerCase" | "lower" => ("lower", true),
        "toUpperCase" | "upper" => ("upper", true),
        "trim" => ("trim", true),
        "trimStart" => ("trimStart", true),
        "trimEnd" => ("trimEnd", true),
        "len" => ("length", false),
        _ => return None,
    })
}

/// The node of a comparison.
fn comparison(operator: BinaryOperator) -> Option<&'static str> {
    Some(match operator {
        BinaryOperator::Equality | BinaryOperator::StrictEquality => "==",
        BinaryOperator::Inequality | BinaryOperator::StrictInequality => "!=",
        BinaryOperator::LessThan => "<",
        BinaryOperator::LessEqualThan => "<=",
        BinaryOperator::GreaterThan => ">",
        BinaryOperator::GreaterEqualThan => ">=",
        _ => return None,
    })
}

struct Search<'l, 'p, 'a> {
    lower: &'l Lower<'p, 'a>,
    rows: &'l [Row],
    found: bool,
}

impl<'a> Visit<'a> for Search<'_, '_, 'a> {
    fn visit_call_expression(&mut self, c: &CallExpression<'a>) {
        self.found |= self.lower.aggregate(c).is_some();
        oxc_ast_visit::walk::walk_call_expression(self, c);
    }

    fn visit_identifier_reference(&mut self, id: &oxc_ast::ast::IdentifierReference<'a>) {
        let scoping = self.lower.files.list[self.lower.file()].semantic.scoping();
        let symbol = id.reference_id.get().and_then(|r| scoping.get_reference(r).symbol_id());
        if let Some(symbol) = symbol {
            self.found |= self
                .rows
                .iter()
                .any(|row| row.whole == Some(symbol) || row.columns.iter().any(|(s, _)| *s == symbol));
        }
    }
}

fn node(op: &str, parts: Vec<Value>) -> Value {
    let mut list = vec![text(op)];
    list.extend(parts);
    Value::List(list)
}

fn text(text: &str) -> Value {
    Value::Str(text.into())
}

/// The value of a literal, arrays of literals included.
#[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
fn literal(e: &Expression<'_>) -> Option<Value> {
    Some(match strip(e) {
        Expression::NullLiteral(_) => Value::Null,
        Expression::BooleanLiteral(b) => Value::Bool(b.value),
        Expression::NumericLiteral(n) => {
            if n.value.fract() == 0.0 && n.value.abs() <= 9_007_199_254_740_991.0 {
                Value::Int(n.value as i64)
            } else {
                Value::Float(n.value)
            }
        }
        Expression::StringLiteral(s) if !s.lone_surrogates => Value::Str(s.value.as_str().into()),
        Expression::UnaryExpression(u) if u.operator == UnaryOperator::UnaryNegation => {
            match literal(&u.argument)? {
                Value::Int(n) if n != 0 => Value::Int(-n),
                Value::Float(n) => Value::Float(-n),
                _ => return None,
            }
        }
        Expression::ArrayExpression(a) => {
            let items: Option<Vec<Value>> =
                a.elements.iter().map(|item| item.as_expression().and_then(literal)).collect();
            Value::List(items?)
        }
        _ => return None,
    })
}
