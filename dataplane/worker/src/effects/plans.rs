//! From a chain of `db()` calls to a statement, without building it twice: chains of the same shape share a
//! [`Plan`], which is found by a key of bytes and only needs its values.
//!
//! ```text
//!   calls --walk--> key (names, columns, kinds of values)  --found--> plan + values in place
//!              \--> leaves (the values)                    --new---> describe -> Query -> Plan, kept
//! ```
//! The walk decides what is structure, written into the key byte for byte, and what is a leaf, of which the key has
//! the kind alone: null, true, false, list, list with a null, map or other, since the text depends on that. What doesn't fit into
//! this (a long list of objects, values that will be refused) is rendered as it is, and not kept.

use std::collections::HashMap;
use std::rc::Rc;

use forebay_base::value::{ValueBuilder, codec};
use forebay_base::{Value, ValueError};
use forebay_engine::{QueryOp, QueryOps, ValueRef};
use forebay_postgres::builder::{Number, Plan, Source, leaf, number_leaf};
use forebay_postgres::{Access, Param, Query, Shape};

/// Plans of one core. Beyond it all are forgotten: shapes come from source text, so there are few, unless names of
/// columns are made up as the script runs.
const PLANS_MAX: usize = 4096;
/// Leaves of a chain that is kept: long lists of rows come in every length.
const LEAVES_MAX: usize = 512;

/// A statement, and what to do with it.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) plan: Plan,
    /// `toSQL()`: only shown.
    pub(crate) shown: bool,
    /// No row is an error (`:one` of a named query): its name.
    pub(crate) must_exist: Option<Box<str>>,
}

/// The plans of one core.
#[derive(Debug)]
pub(crate) struct Plans {
    kept: HashMap<Box<[u8]>, Rc<Statement>, std::hash::BuildHasherDefault<Fold>>,
    key: Vec<u8>,
    /// Chains of one lambda, which named queries are, each at the place that the address of its data gives.
    lambdas: [Option<Lambda>; LAMBDAS],
}

/// Places for chains of one lambda.
const LAMBDAS: usize = 64;

/// A chain of one lambda without further arguments, whose values are [`Kind::Other`] or numbers: only a named query is one,
/// whose text doesn't depend on them.
#[derive(Debug)]
struct Lambda {
    data: Box<[u8]>,
    values: usize,
    /// The values are the parameters, in their order.
    direct: bool,
    statement: Rc<Statement>,
}

/// Parameters that need no list: see [`Plans::of_lambda`].
pub(crate) const FEW: usize = 8;

/// Keys are of our own making: a fold of words is enough, since equality is checked, and the table is bounded.
#[derive(Debug, Default)]
pub(crate) struct Fold(u64);

impl std::hash::Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        const K: u64 = 0x9e37_79b9_7f4a_7c15;
        let (words, tail) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        for word in words.iter().chain([&last]) {
            let wide =
                u128::from(self.0 ^ u64::from_le_bytes(*word) ^ K) * u128::from(0xe703_7ed1_a0b4_28db_u64);
            #[expect(clippy::cast_possible_truncation, reason = "the two halves are folded on purpose")]
            let folded = wide as u64 ^ (wide >> 64) as u64;
            self.0 = folded.wrapping_add(bytes.len() as u64);
        }
    }
}

impl Default for Plans {
    fn default() -> Self {
        Self { kept: HashMap::default(), key: Vec::new(), lambdas: [const { None }; LAMBDAS] }
    }
}

/// A chain of one lambda, and its values; only if each is [`Kind::Other`] or a number.
fn one_lambda<'a>(ops: &QueryOps<'a>, leaves: &mut Vec<ValueRef<'a>>) -> Option<(usize, &'a [u8])> {
    let lambda = ops.lambda()?;
    leaves.extend(lambda.values());
    if !leaves.iter().all(|value| matches!(kind_of(value), Some(Kind::Other | Kind::Number(_)))) {
        leaves.clear();
        return None;
    }
    Some((place_of(lambda.data), lambda.data))
}

/// Where a chain with this data is kept.
fn place_of(data: &[u8]) -> usize {
    data.as_ptr().addr() / 8 % LAMBDAS
}

impl Plans {
    /// The statement of a known chain of one lambda whose values are its parameters, texts and numbers all; these are put
    /// into `params`, and counted. `None`: [`Plans::of`] and [`parameters`] know more.
    #[inline]
    pub(crate) fn of_lambda<'a>(
        &self,
        ops: &QueryOps<'a>,
        params: &mut [Param<'a>; FEW],
    ) -> Option<(&Rc<Statement>, usize)> {
        let lambda = ops.lambda()?;
        let values = lambda.values();
        let count = values.len();
        let known = self.lambdas[place_of(lambda.data)].as_ref()?;
        // The address alone would say little: another generation's data may stand there by now.
        if !known.direct || known.values != count || count > FEW || *known.data != *lambda.data {
            return None;
        }
        for (param, value) in params.iter_mut().zip(values) {
            *param = scalar(&value)
                .filter(|param| matches!(param, Param::Str(_) | Param::Int(_) | Param::Float(_)))?;
        }
        Some((&known.statement, count))
    }

    /// The statement of a chain; its values are appended to `leaves`.
    pub(crate) fn of<'a>(
        &mut self,
        ops: QueryOps<'a>,
        leaves: &mut Vec<ValueRef<'a>>,
    ) -> Result<Rc<Statement>, String> {
        let lambda = one_lambda(&ops, leaves);
        if let Some((place, data)) = lambda
            && let Some(known) = &self.lambdas[place]
            // The address alone would say little: another generation's data may stand there by now.
            && known.values == leaves.len()
            && *known.data == *data
        {
            return Ok(Rc::clone(&known.statement));
        }
        let values = leaves.len();
        leaves.clear();
        let statement = self.of_chain(ops, leaves)?;
        // Without its leaves it was rendered with the values themselves.
        if let Some((place, data)) = lambda.filter(|_| leaves.len() == values) {
            let statement = Rc::clone(&statement);
            let mut sources = (0u16..).zip(&statement.plan.sources);
            let direct = !statement.shown
                && statement.plan.sources.len() == values
                && sources.all(|(number, source)| *source == Source::Leaf(number));
            self.lambdas[place] = Some(Lambda { data: data.into(), values, direct, statement });
        }
        Ok(statement)
    }

    fn of_chain<'a>(
        &mut self,
        ops: QueryOps<'a>,
        leaves: &mut Vec<ValueRef<'a>>,
    ) -> Result<Rc<Statement>, String> {
        self.key.clear();
        let mut walk = Walk { key: &mut self.key, leaves };
        let kept = ops.clone().try_for_each(|op| walk.op(&op)).is_some() && leaves.len() <= LEAVES_MAX;
        if !kept {
            leaves.clear();
            let statement =
                describe(ops, &mut |value| tree(value)).and_then(|described| described.render(false))?;
            return Ok(Rc::new(statement));
        }
        if let Some(statement) = self.kept.get(self.key.as_slice()) {
            return Ok(Rc::clone(statement));
        }
        let mut number = 0u16;
        let mut stand_in = |value: &ValueRef<'_>| {
            let place = leaf(number);
            number += 1;
            Ok(match kind_of(value) {
                Some(Kind::Null) => Value::Null,
                Some(Kind::Bool(value)) => Value::Bool(value),
                Some(Kind::List) => Value::List(vec![place]),
                Some(Kind::ListWithNull) => Value::List(vec![place, Value::Null]),
                Some(Kind::Map) => Value::Map(vec![("".into(), place)]),
                Some(Kind::Number(what)) => number_leaf(number - 1, what),
                _ => place,
            })
        };
        let planned = describe(ops, &mut stand_in).and_then(|described| described.render(true));
        let Ok(statement) = planned else {
            // Once more with the values themselves: the message shows them.
            leaves.clear();
            let described = describe(ops, &mut |value| tree(value))?;
            return described.render(false).map(Rc::new);
        };
        let statement = Rc::new(statement);
        if self.kept.len() >= PLANS_MAX {
            self.kept.clear();
        }
        self.kept.insert(self.key.as_slice().into(), Rc::clone(&statement));
        Ok(statement)
    }
}

/// What the text of a statement depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Bool(bool),
    List,
    ListWithNull,
    Map,
    /// Of a lambda alone the text depends on it.
    Number(Number),
    Other,
}

fn kind_of(value: &ValueRef<'_>) -> Option<Kind> {
    if value.is_undefined() {
        return None;
    }
    Some(if value.is_null() {
        Kind::Null
    } else if let Some(value) = value.as_bool() {
        Kind::Bool(value)
    } else if let Some(len) = value.array_len() {
        if (0..len).any(|at| value.at(at).is_null()) { Kind::ListWithNull } else { Kind::List }
    } else if value.is_plain_object() {
        Kind::Map
    } else if let Some(what) = value.as_f64().and_then(Number::of) {
        Kind::Number(what)
    } else {
        Kind::Other
    })
}

/// What is an argument of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Structure,
    Leaf,
    /// An object: its names are structure, its values leaves.
    Object,
    /// A list of such objects with the same names.
    Objects,
    Limit,
}

/// What argument `index` of a call is. One rule for the walk and for [`describe`].
fn part(op: &QueryOp<'_>, index: usize, value: &ValueRef<'_>) -> Part {
    let count = op.len();
    match op.name {
        "where" | "and" | "or" | "having" => match (count, index) {
            (1, _) => Part::Object,
            (n, i) if i + 1 == n => Part::Leaf,
            _ => Part::Structure,
        },
        "in" | "notIn" | "like" | "ilike" | "between" if index > 0 => Part::Leaf,
        "limit" | "offset" => Part::Limit,
        "find" => Part::Leaf,
        "raw" if index > 0 => Part::Leaf,
        "notify" => Part::Leaf,
        "insert" if value.array_len().is_some() => Part::Objects,
        "insert" | "update" => Part::Object,
        "onConflict" if index == 1 && value.is_plain_object() => Part::Object,
        "%lambda" => {
            let plain = op.arg(1).as_i64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            if index < 2 + plain { Part::Structure } else { Part::Leaf }
        }
        _ => Part::Structure,
    }
}

struct Walk<'k, 'l, 'a> {
    key: &'k mut Vec<u8>,
    leaves: &'l mut Vec<ValueRef<'a>>,
}

impl<'a> Walk<'_, '_, 'a> {
    /// `None`: this chain is not kept.
    fn op(&mut self, op: &QueryOp<'a>) -> Option<()> {
        self.key.push(u8::try_from(op.number).ok()?);
        self.key.push(u8::try_from(op.len()).ok()?);
        for (index, value) in op.iter().enumerate() {
            match part(op, index, &value) {
                Part::Structure => self.structure(&value, 0)?,
                Part::Leaf => {
                    let in_lambda = op.name == "%lambda";
                    self.leaf(value, in_lambda)?;
                }
                Part::Limit => {
                    let number = value.as_f64().filter(|n| *n >= 0.0 && n.fract() == 0.0 && *n < 9e15)?;
                    self.key.push(if number == 0.0 { b'0' } else { b'n' });
                    self.leaves.push(value);
                }
                Part::Object => self.object(&value)?,
                Part::Objects => {
                    let rows = value.array_len()?;
                    if rows > LEAVES_MAX {
                        return None;
                    }
                    self.key.extend_from_slice(&u32::try_from(rows).ok()?.to_le_bytes());
                    for row in 0..rows {
                        self.object(&value.at(row))?;
                    }
                }
            }
        }
        Some(())
    }

    fn object(&mut self, value: &ValueRef<'a>) -> Option<()> {
        if !value.is_plain_object() {
            return None;
        }
        let mut fits = Some(());
        let (start, mut count) = (self.key.len(), 0u16);
        self.key.extend_from_slice(&[b'{', 0, 0]);
        let read = value.each_property(&mut |name, value| {
            count = count.saturating_add(1);
            self.text(name);
            fits = fits.and_then(|()| self.leaf(value, false));
        });
        self.key[start + 1..start + 3].copy_from_slice(&count.to_le_bytes());
        fits.filter(|()| read.is_ok() && count < u16::MAX)
    }

    fn leaf(&mut self, value: ValueRef<'a>, in_lambda: bool) -> Option<()> {
        self.key.push(match kind_of(&value)? {
            Kind::Null => b'N',
            Kind::Bool(true) => b't',
            Kind::Bool(false) => b'f',
            Kind::List => b'l',
            Kind::ListWithNull => b'L',
            Kind::Map => b'm',
            Kind::Number(Number::Short) if in_lambda => b'i',
            Kind::Number(Number::Long) if in_lambda => b'I',
            Kind::Number(Number::Fraction) if in_lambda => b'd',
            Kind::Number(_) | Kind::Other => b's',
        });
        self.leaves.push(value);
        (self.leaves.len() <= LEAVES_MAX).then_some(())
    }

    fn text(&mut self, text: &str) {
        // Longer ones would be cut to the same bytes; they are as long as the key says.
        self.key.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.key.extend_from_slice(text.as_bytes());
    }

    fn structure(&mut self, value: &ValueRef<'a>, depth: usize) -> Option<()> {
        if let Some(text) = value.as_str() {
            self.key.push(b'"');
            self.text(text);
        } else if let Some(bytes) = value.as_bytes() {
            self.key.push(b'#');
            self.key.extend_from_slice(&u32::try_from(bytes.len()).ok()?.to_le_bytes());
            self.key.extend_from_slice(bytes);
        } else if let Some(number) = value.as_f64() {
            self.key.push(b'd');
            self.key.extend_from_slice(&number.to_le_bytes());
        } else if let Some(len) = value.array_len() {
            if depth > 4 {
                return None;
            }
            self.key.push(b'[');
            self.key.extend_from_slice(&u32::try_from(len).ok()?.to_le_bytes());
            for index in 0..len {
                self.structure(&value.at(index), depth + 1)?;
            }
        } else {
            return None;
        }
        Some(())
    }
}

/// Values of a statement, in the order of its parameters. What has no form of its own in the machine's memory
/// (lists, maps, dates, decimals) is in `owned`, at its leaf's place.
pub(crate) fn parameters<'p>(
    plan: &'p Plan,
    leaves: &[ValueRef<'p>],
    owned: &'p [Value],
    params: &mut Vec<Param<'p>>,
) {
    for source in &plan.sources {
        params.push(match source {
            Source::Constant(value) => Param::from(value),
            Source::Leaf(number) => {
                let number = usize::from(*number);
                match leaves.get(number).and_then(scalar) {
                    Some(param) => param,
                    None => owned.get(number).map_or(Param::Undefined, Param::from),
                }
            }
        });
    }
}

/// A value that can be lent as it is.
pub(crate) fn scalar<'a>(value: &ValueRef<'a>) -> Option<Param<'a>> {
    if let Some(int) = value.as_int() {
        return Some(Param::Int(int.into()));
    }
    if let Some(text) = value.as_str() {
        return Some(Param::Str(text));
    }
    if let Some(number) = value.as_f64() {
        let whole = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        return Some(match whole && !(number == 0.0 && number.is_sign_negative()) {
            true => Param::Int(number as i64),
            false => Param::Float(number),
        });
    }
    if value.is_null() {
        return Some(Param::Null);
    }
    value.as_bool().map(Param::Bool)
}

/// The others, so that they can be lent; empty if there are none.
pub(crate) fn owned(leaves: &[ValueRef<'_>]) -> Result<Vec<Value>, String> {
    if leaves.iter().all(|value| scalar(value).is_some()) {
        return Ok(Vec::new());
    }
    leaves.iter().map(|value| if scalar(value).is_some() { Ok(Value::Null) } else { tree(value) }).collect()
}

fn tree(value: &ValueRef<'_>) -> Result<Value, String> {
    ValueBuilder::build(value).map_err(|error: ValueError| error.to_string())
}

/// A chain as the map that `Query::from_value` reads, or a statement that was written by hand.
struct Described {
    map: Vec<(Box<str>, Value)>,
    raw: Option<(String, Vec<Value>, Shape)>,
    explain: bool,
    shown: bool,
    must_exist: Option<Box<str>>,
}

impl Described {
    /// `planned`: the values are leaves.
    fn render(self, planned: bool) -> Result<Statement, String> {
        let mut plan = match &self.raw {
            Some((text, params, shape)) => {
                let mut plan = Plan::raw(text, params.iter().map(Param::from), planned);
                plan.shape = *shape;
                plan
            }
            None => {
                let value = Value::Map(self.map);
                let query = Query::from_value(&value).map_err(|error| error.to_string())?;
                Plan::of(&query, planned).map_err(|error| error.to_string())?
            }
        };
        if self.explain {
            // Without ANALYZE nothing is carried out.
            plan.set_text(format!("EXPLAIN (FORMAT JSON) {}", plan.text));
            (plan.shape, plan.access) = (Shape::Scalar, Access::Read);
        }
        Ok(Statement { plan, shown: self.shown, must_exist: self.must_exist })
    }
}

type Leaf<'f> = &'f mut dyn FnMut(&ValueRef<'_>) -> Result<Value, String>;

fn describe(ops: QueryOps<'_>, leaf: Leaf<'_>) -> Result<Described, String> {
    let mut d = Described { map: Vec::new(), raw: None, explain: false, shown: false, must_exist: None };
    let mut lists: [(&str, Vec<Value>); 6] =
        ["where", "having", "order", "joins", "select", "group"].map(|name| (name, Vec::new()));
    let mut add = |lists: &mut [(&str, Vec<Value>); 6], name: &str, value: Value| {
        if let Some((_, list)) = lists.iter_mut().find(|(known, _)| *known == name) {
            list.push(value);
        }
    };
    for op in ops {
        let name = op.name;
        let fault = |error: String| format!("{name}: {error}");
        let mut args = Vec::with_capacity(op.len());
        for (index, value) in op.iter().enumerate() {
            args.push(argument(&op, index, &value, leaf).map_err(fault)?);
        }
        let mut set = |key: &str, value: Value| {
            d.map.retain(|(known, _)| &**known != key);
            d.map.push((key.into(), value));
        };
        let pair = |column: &Value, operator: &str, value: &Value| {
            Value::List(vec!["pair".into(), column.clone(), operator.into(), value.clone()])
        };
        match (name, args.as_slice()) {
            ("table" | "from", [table]) => set("table", table.clone()),
            ("table" | "from", [table, alias]) => {
                set("table", table.clone());
                set("alias", alias.clone());
            }
            ("where" | "and" | "or" | "having", [_, ..]) => {
                let kind = if matches!(args.as_slice(), [Value::Map(_)]) { "object" } else { "pair" };
                let mut items = vec![Value::from(kind)];
                items.append(&mut args);
                condition(&mut lists, &mut add, name, Value::List(items));
            }
            ("in", [column, list]) => add(&mut lists, "where", pair(column, "in", list)),
            ("notIn", [column, list]) => add(&mut lists, "where", pair(column, "not in", list)),
            ("like" | "ilike", [column, pattern]) => add(&mut lists, "where", pair(column, name, pattern)),
            ("between", [column, low, high]) => {
                let item = vec!["between".into(), column.clone(), low.clone(), high.clone()];
                add(&mut lists, "where", Value::List(item));
            }
            ("isNull", [column]) => {
                add(&mut lists, "where", Value::List(vec!["null".into(), column.clone()]));
            }
            ("notNull", [column]) => {
                add(&mut lists, "where", Value::List(vec!["notnull".into(), column.clone()]));
            }
            ("join" | "leftJoin", [table, rest @ ..]) if matches!(rest.len(), 2 | 3) => {
                let alias = if rest.len() == 3 { rest[0].clone() } else { Value::Null };
                let (left, right) = (rest[rest.len() - 2].clone(), rest[rest.len() - 1].clone());
                let kind = if name == "join" { "join" } else { "left" };
                add(&mut lists, "joins", Value::List(vec![kind.into(), table.clone(), alias, left, right]));
            }
            ("%lambda", [data, count, rest @ ..]) => {
                lambda(&mut d, &mut lists, data, count, rest)?;
            }
            ("order", [column]) => {
                add(&mut lists, "order", Value::List(vec![column.clone(), "asc".into()]));
            }
            ("order", [column, direction]) => {
                add(&mut lists, "order", Value::List(vec![column.clone(), direction.clone()]));
            }
            ("select" | "group", _) => {
                for item in columns(args) {
                    add(&mut lists, name, item);
                }
            }
            ("returning", []) => set("returning", Value::List(vec!["*".into()])),
            ("returning", _) => set("returning", Value::List(columns(args))),
            ("limit" | "offset", [value]) => set(name, value.clone()),
            ("all" | "distinct", []) => set(name, Value::Bool(true)),
            ("get" | "first" | "count" | "exists" | "delete", []) => set("verb", name.into()),
            ("find", [id]) => {
                let joined = lists.iter().any(|(name, list)| *name == "joins" && !list.is_empty());
                let condition = pair(&id_column(&d.map, joined), "=", id);
                d.map.retain(|(known, _)| &**known != "verb");
                d.map.push(("verb".into(), "first".into()));
                add(&mut lists, "where", condition);
            }
            ("sum" | "avg" | "min" | "max" | "count", [column]) => {
                set("verb", Value::List(vec![name.into(), column.clone()]));
            }
            ("insert" | "update", [values]) => {
                set("verb", name.into());
                set("values", values.clone());
            }
            ("onConflict", [columns, action]) => {
                let columns = match columns {
                    Value::List(_) => columns.clone(),
                    one => Value::List(vec![one.clone()]),
                };
                set("conflict", Value::List(vec![columns, action.clone()]));
            }
            ("raw", [Value::Str(text), values @ ..]) => {
                d.raw = Some((text.to_string(), values.to_vec(), Shape::Rows));
            }
            ("notify", [channel]) => {
                let args = vec![channel.clone(), "".into()];
                d.raw = Some(("SELECT pg_catalog.pg_notify($1, $2)".to_owned(), args, Shape::Scalar));
            }
            ("notify", [_, _]) => {
                let text = "SELECT pg_catalog.pg_notify($1, $2)".to_owned();
                d.raw = Some((text, std::mem::take(&mut args), Shape::Scalar));
            }
            ("toSQL", []) => d.shown = true,
            ("explain", []) => d.explain = true,
            (other, _) => return Err(format!("db(): {other} can't be called with {} arguments", op.len())),
        }
    }
    for (name, list) in lists {
        if !list.is_empty() {
            d.map.push((name.into(), Value::List(list)));
        }
    }
    if !d.map.iter().any(|(key, _)| &**key == "verb") {
        d.map.push(("verb".into(), "get".into()));
    }
    Ok(d)
}

/// What `find` looks for: `id`, where tables are joined that of the first.
fn id_column(map: &[(Box<str>, Value)], joined: bool) -> Value {
    let text =
        |key: &str| map.iter().find(|(known, _)| &**known == key).and_then(|(_, value)| value.as_str());
    match text("alias")
        .or_else(|| text("table").map(|name| name.rsplit_once('.').map_or(name, |(_, name)| name)))
    {
        Some(table) if joined => format!("{table}.id").as_str().into(),
        _ => "id".into(),
    }
}

/// An argument as a value, its leaves replaced by what `leaf` says.
fn argument(op: &QueryOp<'_>, index: usize, value: &ValueRef<'_>, leaf: Leaf<'_>) -> Result<Value, String> {
    match part(op, index, value) {
        Part::Structure => tree(value),
        Part::Leaf => leaf(value),
        // The text says whether it is 0, so 0 is no leaf.
        Part::Limit => {
            let made = leaf(value)?;
            Ok(if value.as_f64() == Some(0.0) { Value::Int(0) } else { made })
        }
        Part::Object => object(value, leaf),
        Part::Objects => {
            let rows = value.array_len().unwrap_or(0);
            (0..rows).map(|row| object(&value.at(row), leaf)).collect::<Result<_, _>>().map(Value::List)
        }
    }
}

/// Undefined properties stay, so that they are refused by name.
fn object(value: &ValueRef<'_>, leaf: Leaf<'_>) -> Result<Value, String> {
    if !value.is_plain_object() {
        return tree(value);
    }
    let mut pairs: Vec<(Box<str>, Value)> = Vec::new();
    let mut failure = None;
    let read = value.each_property(&mut |name, value| match leaf(&value) {
        Ok(made) => pairs.push((name.into(), made)),
        Err(error) => failure = Some(error),
    });
    match (read, failure) {
        (Err(error), _) => Err(error.to_string()),
        (Ok(()), Some(error)) => Err(error),
        (Ok(()), None) => Ok(Value::Map(pairs)),
    }
}

/// One list, or several columns.
fn columns(args: Vec<Value>) -> Vec<Value> {
    match <[Value; 1]>::try_from(args) {
        Ok([Value::List(items)]) => items,
        Ok(one) => one.into(),
        Err(many) => many,
    }
}

type Lists<'n> = [(&'n str, Vec<Value>); 6];

fn condition<'n>(
    lists: &mut Lists<'n>,
    add: &mut dyn FnMut(&mut Lists<'n>, &str, Value),
    name: &str,
    item: Value,
) {
    match name {
        "or" => add(lists, "where", Value::List(vec!["or".into(), item])),
        "having" => add(lists, "having", item),
        _ => add(lists, "where", item),
    }
}

/// `["method", tree]` as the compiler encoded it, the other arguments, and the captured values.
fn lambda(
    d: &mut Described,
    lists: &mut Lists<'_>,
    data: &Value,
    count: &Value,
    rest: &[Value],
) -> Result<(), String> {
    let malformed = || "a lambda's data is malformed".to_owned();
    let Value::Bytes(bytes) = data else { return Err(malformed()) };
    let mut builder = ValueBuilder::default();
    codec::decode(bytes, &mut builder).map_err(|error| error.to_string())?;
    let data = builder.finish().unwrap_or_default();
    let Some([Value::Str(method), tree]) = data.as_list() else { return Err(malformed()) };
    let Value::Int(count) = count else { return Err(malformed()) };
    let count = usize::try_from(*count).ok().filter(|count| *count <= rest.len()).ok_or_else(malformed)?;
    let (plain, captured) = rest.split_at(count);
    let lambda = Value::List(vec!["lambda".into(), tree.clone(), Value::List(captured.to_vec())]);
    let mut add = |lists: &mut Lists<'_>, name: &str, value: Value| {
        if let Some((_, list)) = lists.iter_mut().find(|(known, _)| *known == name) {
            list.push(value);
        }
    };
    match (&**method, plain) {
        ("where" | "and" | "or" | "having", []) => condition(lists, &mut add, method, lambda),
        ("join" | "leftJoin", [table, alias @ ..]) if alias.len() < 2 => {
            let kind = if &**method == "join" { "join" } else { "left" };
            let alias = alias.first().cloned().unwrap_or(Value::Null);
            add(lists, "joins", Value::List(vec![kind.into(), table.clone(), alias, lambda]));
        }
        ("select" | "group", []) => add(lists, method, lambda),
        ("order", direction) if direction.len() < 2 => {
            let direction = direction.first().cloned().unwrap_or_else(|| "asc".into());
            add(lists, "order", Value::List(vec![lambda, direction]));
        }
        ("update", []) => {
            d.map.push(("verb".into(), "update".into()));
            d.map.push(("values".into(), lambda));
        }
        // A named query of sql/: its text, its kind and its name, and the values in the order of its parameters.
        ("sql", []) => {
            let Some([Value::Str(text), Value::Str(kind), Value::Str(name)]) = tree.as_list() else {
                return Err(malformed());
            };
            let shape = match &**kind {
                "one" | "opt" => Shape::First,
                "many" => Shape::Rows,
                _ => Shape::Affected,
            };
            d.must_exist = (&**kind == "one").then(|| name.clone());
            d.raw = Some((text.to_string(), captured.to_vec(), shape));
        }
        _ => return Err(malformed()),
    }
    Ok(())
}
