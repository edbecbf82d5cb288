//! Comparators that are read instead of called: what a closure's code says, as a tree of tests.
//!
//! ```text
//!   (a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id
//!
//!   name: a < b --yes--> -1
//!          |no
//!   name: a > b --yes--> 1
//!          |no
//!   id: a - b
//! ```
//!
//! A tree only looks at its two arguments and their properties. If those are data properties of the elements' own,
//! all Strings or all Numbers other than NaN, no script could notice whether the code is run or the tree is walked.
//! Code that does anything else has no tree.

use crate::ctx::Ctx;
use crate::object::{Key, Own};
use crate::throw::Throw;
use crate::value::Value;
use forebay_bytecode::{Const, Function, Instr, Op};
use std::cmp::Ordering;
use std::rc::Rc;

/// Most nodes of a tree, and most registers of its function.
const NODES_MAX: usize = 32;
const REGISTERS_MAX: usize = 24;
/// Most instructions that are read along all ways through the code.
const STEPS_MAX: usize = 256;

/// How two values of a column relate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    Less,
    LessOrEqual,
    Equal,
}

#[derive(Clone, Copy)]
enum Node {
    /// Of this column, `b`'s and `a`'s value if `swapped`.
    Test {
        relation: Relation,
        column: usize,
        swapped: bool,
        yes: usize,
        no: usize,
    },
    Difference {
        column: usize,
        swapped: bool,
    },
    Sign(Ordering),
}

/// What a register holds.
#[derive(Clone, Copy)]
enum Held {
    Unknown,
    A,
    B,
    /// A column's value of `b` (true) or `a`.
    Field(usize, bool),
    Number(f64),
    Test(Relation, usize, bool, bool),
    Difference(usize, bool),
}

/// A comparator's tree.
pub(crate) struct Comparator {
    nodes: Vec<Node>,
    root: usize,
    /// The properties that are compared; none: the elements themselves.
    columns: Vec<Option<Key>>,
    /// Columns of which a difference is taken: Numbers.
    numbers: Vec<bool>,
    /// Fuel of a call.
    pub(super) fuel: u64,
}

/// One property of all elements.
pub(super) enum Column {
    Numbers(Vec<f64>),
    Texts(Texts),
}

/// Flat strings, and the first eight bytes of each as a number.
pub(super) struct Texts {
    list: Vec<(u64, Value)>,
    /// Where these numbers differ their order is that of the texts: no bytes are among them that aren't in the order of
    /// UTF-16 units (text::compare).
    ordered: bool,
}

impl Texts {
    #[inline(always)]
    pub(super) fn order(&self, ctx: &Ctx<'_>, a: usize, b: usize) -> Ordering {
        let (a, b) = (self.list[a], self.list[b]);
        if self.ordered && a.0 != b.0 {
            return a.0.cmp(&b.0);
        }
        super::text::compare(ctx.heap.str_bytes(a.1), ctx.heap.str_bytes(b.1))
    }
}

/// A tree that is one test: the column that it looks at, and whether `a` goes before `b` where `a`'s value there is less than,
/// equal to, or greater than `b`'s.
#[derive(Clone, Copy)]
pub(super) struct Single {
    pub(super) column: usize,
    answers: [bool; 3],
}

impl Single {
    #[inline(always)]
    pub(super) fn is_less(&self, order: Ordering) -> bool {
        self.answers[usize::from(order.is_ge()) + usize::from(order.is_gt())]
    }
}

/// Functions of which a core keeps whether they have a tree.
const KEPT_MAX: usize = 16;

/// The trees of a blueprint's comparators, by unit and function.
#[derive(Default)]
pub(crate) struct Comparators {
    kept: Vec<(usize, u32, Option<Rc<Comparator>>)>,
}

impl Comparators {
    /// Forgets all: the code is another.
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }
}

/// The tree of a closure, if its code is one.
pub(super) fn read(ctx: &mut Ctx<'_>, closure: Value) -> Option<Rc<Comparator>> {
    let (unit, index) = ctx.mem.function_of(closure.as_ref());
    let kept = &ctx.mem.local.comparators.kept;
    if let Some(known) = kept.iter().find(|known| (known.0, known.1) == (unit, index)) {
        return known.2.clone();
    }
    let tree = read_code(ctx, unit, index).map(Rc::new);
    let kept = &mut ctx.mem.local.comparators.kept;
    if kept.len() < KEPT_MAX {
        kept.push((unit, index, tree.clone()));
    }
    tree
}

fn read_code(ctx: &Ctx<'_>, unit: usize, index: u32) -> Option<Comparator> {
    let function = ctx.local.units[unit].functions().get(index as usize)?;
    let plain = ctx.local.hot[unit].get(index as usize)?.simple;
    if !plain || function.parameters != 2 || usize::from(function.registers) > REGISTERS_MAX {
        return None;
    }
    let tree = Comparator {
        nodes: Vec::new(),
        root: 0,
        columns: Vec::new(),
        numbers: Vec::new(),
        fuel: function.code.len() as u64,
    };
    let mut reader = Reader { ctx, unit, function, tree, steps: 0 };
    let mut held = [Held::Unknown; REGISTERS_MAX];
    (held[1], held[2]) = (Held::A, Held::B);
    let root = reader.follow(0, held)?;
    Some(Comparator { root, ..reader.tree })
}

struct Reader<'a, 'b> {
    ctx: &'a Ctx<'b>,
    unit: usize,
    function: &'a Function,
    tree: Comparator,
    steps: usize,
}

impl Reader<'_, '_> {
    fn node(&mut self, node: Node) -> Option<usize> {
        if self.tree.nodes.len() >= NODES_MAX {
            return None;
        }
        self.tree.nodes.push(node);
        Some(self.tree.nodes.len() - 1)
    }

    fn column(&mut self, key: Option<Key>) -> usize {
        if let Some(at) = self.tree.columns.iter().position(|k| *k == key) {
            return at;
        }
        self.tree.columns.push(key);
        self.tree.numbers.push(false);
        self.tree.columns.len() - 1
    }

    /// The column of two operands, one of each argument, and whether `b`'s comes first.
    fn both(&mut self, x: Held, y: Held) -> Option<(usize, bool)> {
        match (x, y) {
            (Held::A, Held::B) => Some((self.column(None), false)),
            (Held::B, Held::A) => Some((self.column(None), true)),
            (Held::Field(x, of_b), Held::Field(y, other)) if x == y && of_b != other => Some((x, of_b)),
            _ => None,
        }
    }

    /// The node that the code from `pc` on comes to.
    fn follow(&mut self, mut pc: usize, mut held: [Held; REGISTERS_MAX]) -> Option<usize> {
        loop {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return None;
            }
            let i = *self.function.code.get(pc)?;
            pc += 1;
            let at = |register: u16| held.get(usize::from(register)).copied().unwrap_or(Held::Unknown);
            let made = match i.op()? {
                Op::GetField => {
                    let of_b = match at(i.b()) {
                        Held::A => false,
                        Held::B => true,
                        _ => return None,
                    };
                    let site = self.function.site_base as usize + usize::from(i.c());
                    let column = self.column(Some(self.ctx.site_key(self.unit, site)));
                    Held::Field(column, of_b)
                }
                Op::Move => at(i.b()),
                Op::LoadInt => Held::Number(f64::from(i.sbx())),
                Op::LoadConst => {
                    let module = self.ctx.local.units[self.unit].module.as_ref()?;
                    match module.constants.get(i.bx() as usize)? {
                        Const::Number(n) => Held::Number(*n),
                        _ => return None,
                    }
                }
                Op::Neg => match at(i.b()) {
                    Held::Number(n) => Held::Number(-n),
                    Held::Difference(column, swapped) => Held::Difference(column, !swapped),
                    _ => return None,
                },
                Op::Sub => {
                    let (column, swapped) = self.both(at(i.b()), at(i.c()))?;
                    self.tree.numbers[column] = true;
                    Held::Difference(column, swapped)
                }
                op @ (Op::Lt | Op::Le | Op::Gt | Op::Ge | Op::StrictEq | Op::StrictNe | Op::Eq | Op::Ne) => {
                    let (column, swapped) = self.both(at(i.b()), at(i.c()))?;
                    let (relation, turned, wanted) = match op {
                        Op::Lt => (Relation::Less, false, true),
                        Op::Le => (Relation::LessOrEqual, false, true),
                        Op::Gt => (Relation::Less, true, true),
                        Op::Ge => (Relation::LessOrEqual, true, true),
                        Op::StrictEq | Op::Eq => (Relation::Equal, false, true),
                        _ => (Relation::Equal, false, false),
                    };
                    Held::Test(relation, column, swapped != turned, wanted)
                }
                Op::Not => match at(i.b()) {
                    Held::Test(relation, column, swapped, wanted) => {
                        Held::Test(relation, column, swapped, !wanted)
                    }
                    _ => return None,
                },
                Op::Jump => {
                    pc = target(pc, i)?;
                    continue;
                }
                op @ (Op::JumpIfTrue | Op::JumpIfFalse) => {
                    let there = target(pc, i)?;
                    let (yes, no) = if op == Op::JumpIfTrue { (there, pc) } else { (pc, there) };
                    let (relation, column, swapped, wanted) = match at(i.a()) {
                        Held::Test(relation, column, swapped, wanted) => (relation, column, swapped, wanted),
                        // Equal infinities have no difference, but NaN isn't true either.
                        Held::Difference(column, swapped) => (Relation::Equal, column, swapped, false),
                        _ => return None,
                    };
                    let (yes, no) = (self.follow(yes, held)?, self.follow(no, held)?);
                    let (yes, no) = if wanted { (yes, no) } else { (no, yes) };
                    return self.node(Node::Test { relation, column, swapped, yes, no });
                }
                Op::Return => {
                    return match at(i.a()) {
                        Held::Number(n) => {
                            self.node(Node::Sign(n.partial_cmp(&0.0).unwrap_or(Ordering::Equal)))
                        }
                        Held::Difference(column, swapped) => self.node(Node::Difference { column, swapped }),
                        Held::Test(relation, column, swapped, wanted) => {
                            let yes = self.node(Node::Sign(Ordering::Greater))?;
                            let no = self.node(Node::Sign(Ordering::Equal))?;
                            let (yes, no) = if wanted { (yes, no) } else { (no, yes) };
                            self.node(Node::Test { relation, column, swapped, yes, no })
                        }
                        _ => None,
                    };
                }
                _ => return None,
            };
            *held.get_mut(usize::from(i.a()))? = made;
        }
    }
}

fn target(pc: usize, i: Instr) -> Option<usize> {
    pc.checked_add_signed(isize::try_from(i.sbx()).ok()?)
}

impl Comparator {
    /// The columns of these elements; none where one of them isn't what it must be.
    pub(super) fn columns(&self, ctx: &mut Ctx<'_>, items: &[Value]) -> Result<Option<Vec<Column>>, Throw> {
        ctx.heap.check_room(items.len() * self.columns.len() * 8)?;
        let mut columns = Vec::with_capacity(self.columns.len());
        for (key, number) in self.columns.iter().zip(&self.numbers) {
            let Some(values) = column(ctx, *key, items)? else { return Ok(None) };
            let Some(column) = typed(ctx, values, *number)? else { return Ok(None) };
            columns.push(column);
        }
        Ok(Some(columns))
    }

    /// The tree, if it is one test.
    pub(super) fn single(&self) -> Option<Single> {
        let sign = |at: usize| match self.nodes.get(at) {
            Some(Node::Sign(sign)) => Some(sign.is_lt()),
            _ => None,
        };
        let (column, swapped, answers) = match *self.nodes.get(self.root)? {
            Node::Difference { column, swapped } => (column, swapped, [true, false, false]),
            Node::Test { relation, column, swapped, yes, no } => {
                let (yes, no) = (sign(yes)?, sign(no)?);
                let answers = match relation {
                    Relation::Less => [yes, no, no],
                    Relation::LessOrEqual => [yes, yes, no],
                    Relation::Equal => [no, yes, no],
                };
                (column, swapped, answers)
            }
            Node::Sign(_) => return None,
        };
        let [less, equal, greater] = answers;
        Some(Single { column, answers: if swapped { [greater, equal, less] } else { answers } })
    }

    /// Whether the comparator answers less than 0 for elements `a` and `b`.
    #[inline]
    pub(super) fn is_less(&self, ctx: &Ctx<'_>, columns: &[Column], a: u32, b: u32) -> bool {
        let mut at = self.root;
        loop {
            let order = |column: usize, swapped: bool| {
                let (a, b) = if swapped { (b as usize, a as usize) } else { (a as usize, b as usize) };
                match &columns[column] {
                    Column::Numbers(list) => list[a].partial_cmp(&list[b]).unwrap_or(Ordering::Equal),
                    Column::Texts(texts) => texts.order(ctx, a, b),
                }
            };
            match self.nodes[at] {
                Node::Sign(sign) => return sign.is_lt(),
                // The sign of a difference of two Numbers is their order.
                Node::Difference { column, swapped } => return order(column, swapped).is_lt(),
                Node::Test { relation, column, swapped, yes, no } => {
                    let order = order(column, swapped);
                    let holds = match relation {
                        Relation::Less => order.is_lt(),
                        Relation::LessOrEqual => order.is_le(),
                        Relation::Equal => order.is_eq(),
                    };
                    at = if holds { yes } else { no };
                }
            }
        }
    }
}

/// The values of one property, all data properties of the elements' own.
fn column(ctx: &mut Ctx<'_>, key: Option<Key>, items: &[Value]) -> Result<Option<Vec<Value>>, Throw> {
    let Some(key) = key else { return Ok(Some(items.to_vec())) };
    let mut values = Vec::with_capacity(items.len());
    // The header of the last element, and where objects with that have the property.
    let mut known = (0, 0);
    for v in items {
        if !v.is_object() {
            return Ok(None);
        }
        let r = v.as_ref();
        if known.0 != 0 && ctx.heap.header(r) == known.0 {
            values.push(ctx.mem.at_cache_slot(r, known.1));
            continue;
        }
        let Own::Data(value, _) = ctx.mem.get_own(r, key)? else { return Ok(None) };
        known = ctx.mem.data_slot(r, key).unwrap_or((0, 0));
        values.push(value);
    }
    Ok(Some(values))
}

fn typed(ctx: &mut Ctx<'_>, values: Vec<Value>, number: bool) -> Result<Option<Column>, Throw> {
    if values.iter().all(|v| v.is_number()) {
        let numbers: Option<Vec<f64>> =
            values.iter().map(|v| v.as_number().filter(|n| !n.is_nan())).collect();
        if let Some(numbers) = numbers {
            return Ok(Some(Column::Numbers(numbers)));
        }
    }
    if number || !values.iter().all(|v| v.is_string()) {
        return Ok(None);
    }
    if values.iter().map(|v| ctx.heap.string_bytes_len(*v)).sum::<usize>() > super::sort::AT_ONCE_BYTES_MAX {
        return Ok(None);
    }
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut list = Vec::with_capacity(values.len());
    let mut ordered = true;
    for v in values {
        let flat = ctx.heap.flat(v)?;
        let bytes = ctx.heap.str_bytes(flat);
        let mut first = [0; 8];
        match bytes.first_chunk::<8>() {
            Some(chunk) => first = *chunk,
            None => first[..bytes.len()].copy_from_slice(bytes),
        }
        let head = u64::from_be_bytes(first);
        // From 0xed on bytes and units may be in another order.
        ordered &= head & HIGH == 0 || first.iter().all(|byte| *byte < 0xed);
        list.push((head, flat));
    }
    Ok(Some(Column::Texts(Texts { list, ordered })))
}
