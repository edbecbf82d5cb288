//! `where(row => condition)` in a chain that starts at `db()`: the condition is
//! compiled to the predicate data of docs/formats/predicate.md, or refused.
//!
//! Whatever mentions the row must have a form in SQL; whatever doesn't is
//! evaluated when the chain runs and becomes a parameter.

use forebay_base::value::{Value, codec};
use forebay_bytecode::{HostFn, Instr, Op};
use oxc_ast::ast::{
    Argument, ArrowFunctionBody, ArrowFunctionExpression, BindingPattern, CallExpression, Expression,
    StaticMemberExpression,
};
use oxc_ast_visit::Visit;
use oxc_span::{GetSpan, Span};
use oxc_syntax::operator::{BinaryOperator, LogicalOperator, UnaryOperator};
use oxc_syntax::symbol::SymbolId;

use super::function::strip;
use super::{Lower, Want};
use crate::emit::Reg;
use crate::scope::Kind;

/// Nesting of a predicate (docs/formats/predicate.md).
const DEPTH_MAX: usize = 60;
/// Captured values of one predicate.
const CAPTURES_MAX: usize = 250;

/// What the lambda's parameter gives.
struct Row {
    /// `u` of `u => u.age`.
    whole: Option<SymbolId>,
    /// `age` of `({age}) => age`, with its column.
    columns: Vec<(SymbolId, String)>,
}

struct Predicate<'a> {
    row: Row,
    captured: Vec<&'a Expression<'a>>,
}

impl<'a> Lower<'_, 'a> {
    /// A `where(lambda)` of a database chain; `None` if it is an ordinary call.
    pub(super) fn where_lambda(
        &mut self,
        c: &'a CallExpression<'a>,
        m: &'a StaticMemberExpression<'a>,
        want: Want,
    ) -> Option<Reg> {
        let [argument] = c.arguments.as_slice() else { return None };
        if !self.is_rooted_in_db(&m.object) {
            return None;
        }
        let e = argument.as_expression()?;
        let arrow = match strip(e) {
            Expression::ArrowFunctionExpression(arrow) => arrow,
            Expression::FunctionExpression(f) => {
                self.refuse_lambda(f.span, "a condition is an arrow with an expression");
                return Some(self.target(want));
            }
            Expression::Identifier(id) => {
                let symbol = id.reference_id.get().and_then(|r| {
                    self.files.list[self.file()].semantic.scoping().get_reference(r).symbol_id()
                });
                if symbol.is_some_and(|s| self.variable(s).kind == Kind::Function) {
                    self.refuse_lambda(id.span, "a condition must be written here, to be compiled to SQL");
                    return Some(self.target(want));
                }
                return None;
            }
            _ => return None,
        };
        let ArrowFunctionBody::FunctionBody(block) = &arrow.body else {
            return Some(self.lambda(c, m, arrow, want));
        };
        self.refuse_lambda(block.span, "a condition is an expression, not a block");
        Some(self.target(want))
    }

    fn refuse_lambda(&mut self, span: Span, message: &str) {
        self.error("FB0601", span, message, Some("`where(u => u.age > 18 && u.role == role)`"));
    }

    fn lambda(
        &mut self,
        c: &'a CallExpression<'a>,
        m: &'a StaticMemberExpression<'a>,
        arrow: &'a ArrowFunctionExpression<'a>,
        want: Want,
    ) -> Reg {
        let mark = self.f().next;
        let query = self.f().take();
        let data = self.f().take();
        if m.optional || c.optional {
            self.error("FB0601", c.span, "a query is always there: call `where` without `?.`", None);
        }
        self.expression(&m.object, Want::Free(query));
        let row = self.row(arrow);
        let body = arrow.body.as_expression();
        if let (Some(row), Some(body)) = (row, body) {
            let mut predicate = Predicate { row, captured: Vec::new() };
            let tree = self.predicate(&mut predicate, body, 0);
            if let Some(tree) = tree {
                match codec::encode(&tree) {
                    Ok(bytes) => {
                        let constant = self.pool.data(bytes);
                        self.f().abx(Op::LoadConst, data, constant, arrow.span);
                    }
                    Err(why) => {
                        self.error("FB0601", body.span(), format!("this condition is too large: {why}"), None)
                    }
                }
                for e in &predicate.captured {
                    let register = self.f().take();
                    self.expression(e, Want::Free(register));
                }
                let n = u8::try_from(predicate.captured.len() + 2).unwrap_or(u8::MAX);
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

    fn row(&mut self, arrow: &'a ArrowFunctionExpression<'a>) -> Option<Row> {
        let shape = "`where(u => ...)` or `where(({age, role}) => ...)`";
        let [parameter] = arrow.params.items.as_slice() else {
            self.error("FB0601", arrow.params.span, "a condition takes one row", Some(shape));
            return None;
        };
        if arrow.r#async || arrow.params.rest.is_some() || parameter.initializer.is_some() {
            self.error("FB0601", arrow.params.span, "a condition takes one row", Some(shape));
            return None;
        }
        match &parameter.pattern {
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
                self.error("FB0601", other.span(), "a condition takes one row", Some(shape));
                None
            }
        }
    }

    /// A condition or operand; `None` after an error.
    fn predicate(&mut self, p: &mut Predicate<'a>, e: &'a Expression<'a>, depth: usize) -> Option<Value> {
        let e = strip(e);
        if depth > DEPTH_MAX {
            self.error("FB0601", e.span(), "this condition is nested too deeply", None);
            return None;
        }
        if !self.mentions(&p.row, e) {
            return self.operand_value(p, e);
        }
        if let Some(column) = self.column(&p.row, e) {
            return Some(node("col", vec![text(&column)]));
        }
        match e {
            Expression::LogicalExpression(l) => {
                let op = match l.operator {
                    LogicalOperator::And => "and",
                    LogicalOperator::Or => "or",
                    LogicalOperator::Coalesce => {
                        self.no_sql(l.span, "`??` has no form in SQL here");
                        return None;
                    }
                };
                let left = self.predicate(p, &l.left, depth + 1);
                let right = self.predicate(p, &l.right, depth + 1);
                Some(node(op, vec![left?, right?]))
            }
            Expression::UnaryExpression(u) if u.operator == UnaryOperator::LogicalNot => {
                let inner = self.predicate(p, &u.argument, depth + 1)?;
                Some(node("not", vec![inner]))
            }
            Expression::BinaryExpression(b) => {
                let op = match b.operator {
                    BinaryOperator::Equality | BinaryOperator::StrictEquality => "==",
                    BinaryOperator::Inequality | BinaryOperator::StrictInequality => "!=",
                    BinaryOperator::LessThan => "<",
                    BinaryOperator::LessEqualThan => "<=",
                    BinaryOperator::GreaterThan => ">",
                    BinaryOperator::GreaterEqualThan => ">=",
                    BinaryOperator::Addition => "+",
                    BinaryOperator::Subtraction => "-",
                    BinaryOperator::Multiplication => "*",
                    BinaryOperator::Division => "/",
                    BinaryOperator::Remainder => "%",
                    BinaryOperator::Exponential
                    | BinaryOperator::ShiftLeft
                    | BinaryOperator::ShiftRight
                    | BinaryOperator::ShiftRightZeroFill
                    | BinaryOperator::BitwiseOR
                    | BinaryOperator::BitwiseXOR
                    | BinaryOperator::BitwiseAnd
                    | BinaryOperator::In
                    | BinaryOperator::Instanceof => {
                        let message = format!("`{}` has no form in SQL here", b.operator.as_str());
                        self.no_sql(b.span, &message);
                        return None;
                    }
                };
                let left = self.predicate(p, &b.left, depth + 1);
                let right = self.predicate(p, &b.right, depth + 1);
                Some(node(op, vec![left?, right?]))
            }
            Expression::CallExpression(c) => {
                if let Expression::StaticMemberExpression(m) = strip(&c.callee)
                    && m.property.name == "includes"
                    && !m.optional
                    && !c.optional
                    && let [Argument::StaticMemberExpression(_) | Argument::Identifier(_)] =
                        c.arguments.as_slice()
                    && let Some(wanted) = c.arguments.first().and_then(Argument::as_expression)
                    && !self.mentions(&p.row, &m.object)
                {
                    let x = self.predicate(p, wanted, depth + 1)?;
                    let list = self.operand_value(p, &m.object)?;
                    return Some(node("in", vec![x, list]));
                }
                self.no_sql(c.span, "this call has no form in SQL");
                None
            }
            other => {
                self.no_sql(other.span(), "this has no form in SQL");
                None
            }
        }
    }

    fn no_sql(&mut self, span: Span, message: &str) {
        let hint = "columns can be compared, combined with && || !, calculated with + - * / %, and looked up: `[1, 2].includes(u.x)`";
        self.error("FB0602", span, message, Some(hint));
    }

    /// A value that doesn't depend on the row: a literal, or captured.
    fn operand_value(&mut self, p: &mut Predicate<'a>, e: &'a Expression<'a>) -> Option<Value> {
        if let Some(value) = literal(e) {
            return Some(node("lit", vec![value]));
        }
        if p.captured.len() >= CAPTURES_MAX {
            self.error("FB0601", e.span(), "this condition has too many parameters", None);
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

    /// The column that an expression is.
    fn column(&mut self, row: &Row, e: &'a Expression<'a>) -> Option<String> {
        match e {
            Expression::Identifier(_) => {
                let symbol = self.symbol_of(e)?;
                row.columns.iter().find(|(s, _)| *s == symbol).map(|(_, column)| column.clone())
            }
            Expression::StaticMemberExpression(m) if !m.optional => {
                let symbol = self.symbol_of(&m.object)?;
                (row.whole == Some(symbol)).then(|| m.property.name.to_string())
            }
            Expression::ComputedMemberExpression(m) if !m.optional => {
                let symbol = self.symbol_of(&m.object)?;
                if row.whole == Some(symbol) { self.constant_key(&m.expression) } else { None }
            }
            _ => None,
        }
    }

    /// Whether an expression depends on the row.
    fn mentions(&self, row: &Row, e: &Expression<'a>) -> bool {
        let mut search = Search { lower: self, row, found: false };
        search.visit_expression(e);
        search.found
    }
}

struct Search<'l, 'p, 'a> {
    lower: &'l Lower<'p, 'a>,
    row: &'l Row,
    found: bool,
}

impl<'a> Visit<'a> for Search<'_, '_, 'a> {
    fn visit_identifier_reference(&mut self, id: &oxc_ast::ast::IdentifierReference<'a>) {
        let scoping = self.lower.files.list[self.lower.file()].semantic.scoping();
        let symbol = id.reference_id.get().and_then(|r| scoping.get_reference(r).symbol_id());
        if let Some(symbol) = symbol {
            self.found |=
                self.row.whole == Some(symbol) || self.row.columns.iter().any(|(s, _)| *s == symbol);
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
