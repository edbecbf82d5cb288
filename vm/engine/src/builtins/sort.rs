//! `Array.prototype.sort` and `toSorted` of plain arrays.
//!
//! | elements, comparator | how |
//! |---|---|
//! | strings or integers, none | at once, by their text |
//! | a comparator that has a tree, like `(a, b) => a.x - b.x`: own Numbers or Strings | at once, without a call (comparator.rs) |
//! | anything, a closure | merge sort, a call at each step (steps.rs) |
//! | the rest: objects without a comparator, array-likes, natives as comparators | js/array.js |
//!
//! The merge sort is stable (ECMA-262 23.1.3.30): chunks of at most 64 elements, each a natural run that the rest
//! is inserted into, then merges of neighbours; two that are in order cost one comparison. Its steps are bounded
//! whatever the comparator says.

use super::array::{filled, general};
use super::comparator::Column;
use super::{Kind, Native, comparator};
use crate::ctx::{Args, Ctx};
use crate::heap::kind;
use crate::object::flag;
use crate::steps::{Step, Steps, WINDOW_MAX};
use crate::throw::Throw;
use crate::value::{Ref, Value};
use std::cmp::Ordering;

const fn method(name: &'static str, call: super::NativeFn) -> Native {
    Native { on: "Array.prototype", name, length: 1, call, kind: Kind::Method }
}

pub(crate) const NATIVES: &[Native] = &[
    method("sort", |c, a| start(c, a, Steps::Sort)),
    method("toSorted", |c, a| start(c, a, Steps::ToSorted)),
];

// The window: `this` and the comparator stand at 0 and 1, the last call's result at 7.
/// The values that are sorted, an array of the native's own.
const ITEMS: usize = 2;
/// Room for the left one of two runs that are merged.
const SPARE: usize = 3;
const PHASE: usize = 4;
/// Where the chunk or the left run begins, and where the chunk or the right run ends.
const LOW: usize = 5;
const END: usize = 6;
/// Positions; what of depends on the phase.
const A: usize = 8;
const B: usize = 9;
const C: usize = 10;
/// Elements of a chunk or run.
const WIDTH: usize = 11;
const UNDEFINEDS: usize = 12;
const LEN: usize = 13;
pub(crate) const LAST: u32 = 13;
const CALLEE: usize = LAST as usize + 1;

/// A chunk begins at LOW.
const CHUNK: u32 = 0;
/// `[LOW, A)` is a run; B: 0 as yet of one element, 1 it ascends, 2 it descends. Compares A with the one before.
const RUN: u32 = 1;
/// `[LOW, A)` is sorted. Looks for the place of A between B and C.
const INSERT: u32 = 2;
/// A pair of runs begins at LOW.
const PAIR: u32 = 3;
/// Compares the runs' neighbours.
const ORDER: u32 = 4;
/// A of the left run (in SPARE) are placed; the right one stands at B.
const MERGE: u32 = 5;

/// Most elements that are sorted at once.
const AT_ONCE_MAX: usize = 1 << 12;
/// Most bytes of text that are.
pub(super) const AT_ONCE_BYTES_MAX: usize = 1 << 20;

fn start(ctx: &mut Ctx<'_>, a: Args, steps: Steps) -> Result<Value, Throw> {
    let (this, compare) = (ctx.this(a), ctx.arg(a, 0));
    let array = if steps == Steps::Sort { ctx.loose_array(this) } else { ctx.plain_array(this) };
    let Some((r, len)) = array else { return general(ctx, a) };
    if !compare.is_undefined() && !ctx.is_kind(compare, kind::CLOSURE) {
        return general(ctx, a);
    }
    if steps == Steps::ToSorted && ctx.places(r, len).len() < len as usize {
        return general(ctx, a);
    }
    ctx.heap.check_room(len as usize * 24)?;
    ctx.heap.work += u64::from(len) / 8;
    let mut items: Vec<Value> = Vec::with_capacity(ctx.places(r, len).len());
    let mut undefineds = 0;
    for v in ctx.places(r, len) {
        if v.is_undefined() || (v.is_hole() && steps == Steps::ToSorted) {
            undefineds += 1;
        } else if !v.is_hole() {
            items.push(*v);
        }
    }
    let sorted = if items.len() > AT_ONCE_MAX {
        None
    } else if compare.is_undefined() {
        by_text(ctx, &items)?
    } else {
        by_tree(ctx, compare, &items)?
    };
    if let Some(sorted) = sorted {
        return finish(ctx, steps, this, &sorted, undefineds, len);
    }
    if compare.is_undefined() {
        return general(ctx, a);
    }
    let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
    let list = ctx.new_array_of(&items)?;
    let spare = if count < 64 { list } else { ctx.new_array_of(&items)? };
    ctx.ensure_stack(a.base + WINDOW_MAX)?;
    let window = &mut ctx.stack[a.base..=a.base + LAST as usize];
    window.fill(Value::ZERO);
    window[0] = this;
    window[1] = compare;
    window[ITEMS] = list.object();
    window[SPARE] = spare.object();
    window[crate::steps::RESULT] = Value::EMPTY;
    window[WIDTH] = Value::from_u32(chunk_width(count));
    window[UNDEFINEDS] = Value::from_u32(undefineds);
    window[LEN] = Value::from_u32(len);
    Err(Throw::Steps(steps))
}

/// 32 to 64 elements, so that their number is a power of two or a little less (below 64: one chunk).
fn chunk_width(count: u32) -> u32 {
    let (mut width, mut odd) = (count, 0);
    while width >= 64 {
        odd |= width & 1;
        width >>= 1;
    }
    (width + odd).max(1)
}

/// The sorted values, then the undefined ones, into `this` or a new array.
fn finish(
    ctx: &mut Ctx<'_>,
    steps: Steps,
    this: Value,
    sorted: &[Value],
    undefineds: u32,
    len: u32,
) -> Result<Value, Throw> {
    ctx.heap.work += sorted.len() as u64 / 16;
    let all = sorted.iter().copied().chain((0..undefineds).map(|_| Value::UNDEFINED));
    if steps == Steps::ToSorted {
        let all: Vec<Value> = all.collect();
        return Ok(ctx.new_array_of(&all)?.object());
    }
    match ctx.loose_array(this) {
        // Behind the places there were holes only.
        Some((r, now)) if now == len && ctx.places(r, len).len() >= sorted.len() + undefineds as usize => {
            let places = ctx.places_mut(r, len);
            let mut rest = all.chain(std::iter::repeat(Value::HOLE));
            places.iter_mut().for_each(|place| *place = rest.next().unwrap_or(Value::HOLE));
            Ok(this)
        }
        // The comparator has changed the array.
        _ => {
            let all: Vec<Value> = all.collect();
            let list = ctx.new_array_of(&all)?.object();
            let callee = ctx.local.known.helpers[crate::known::Helper::PutSorted as usize];
            ctx.tail_call(callee, Value::UNDEFINED, &[this, list, Value::from_u32(len)])
        }
    }
}

/// Sorted by their text; none if there are others than strings or integers among them.
fn by_text(ctx: &mut Ctx<'_>, items: &[Value]) -> Result<Option<Vec<Value>>, Throw> {
    charge(ctx, items.len(), 2);
    if items.iter().all(|v| v.is_int()) {
        let mut keys: Vec<(u128, Value)> = items.iter().map(|v| (decimal(v.as_int()), *v)).collect();
        keys.sort_by_key(|k| k.0);
        return Ok(Some(keys.into_iter().map(|k| k.1).collect()));
    }
    if !items.iter().all(|v| v.is_string()) {
        return Ok(None);
    }
    if items.iter().map(|v| ctx.heap.string_bytes_len(*v)).sum::<usize>() > AT_ONCE_BYTES_MAX {
        return Ok(None);
    }
    let mut keys = Vec::with_capacity(items.len());
    for v in items {
        keys.push((ctx.heap.flat(*v)?, *v));
    }
    let heap = &ctx.mem.heap;
    keys.sort_by(|x, y| super::text::compare(heap.str_bytes(x.0), heap.str_bytes(y.0)));
    Ok(Some(keys.into_iter().map(|k| k.1).collect()))
}

/// The digits of an integer from the highest byte on: ordered as the texts are.
fn decimal(n: i32) -> u128 {
    let mut bytes = [0; 16];
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(n).as_bytes();
    bytes[..digits.len()].copy_from_slice(digits);
    u128::from_be_bytes(bytes)
}

/// Fuel of a sort of `count` elements: by the comparisons that it needs at least.
fn charge(ctx: &mut Ctx<'_>, count: usize, each: u64) {
    let count = count as u64;
    ctx.heap.work += count * u64::from(count.max(1).ilog2() + 1) * each;
}

/// Sorted by a comparator that has a tree (comparator.rs).
fn by_tree(ctx: &mut Ctx<'_>, compare: Value, items: &[Value]) -> Result<Option<Vec<Value>>, Throw> {
    let Some(tree) = comparator::read(ctx, compare) else { return Ok(None) };
    let Some(columns) = tree.columns(ctx, items)? else { return Ok(None) };
    charge(ctx, items.len(), tree.fuel / 4 + 2);
    let mut order: Vec<u32> = (0u32..).take(items.len()).collect();
    let single = tree.single();
    match single.and_then(|single| Some((single, columns.get(single.column)?))) {
        Some((single, Column::Numbers(list))) => merge_sort(&mut order, |a, b| {
            let (a, b) = (list[a as usize], list[b as usize]);
            single.is_less(a.partial_cmp(&b).unwrap_or(Ordering::Equal))
        }),
        Some((single, Column::Texts(texts))) => {
            merge_sort(&mut order, |a, b| single.is_less(texts.order(ctx, a as usize, b as usize)));
        }
        None => merge_sort(&mut order, |a, b| tree.is_less(ctx, &columns, a, b)),
    }
    Ok(Some(order.iter().map(|i| items[*i as usize]).collect()))
}

/// Elements that are sorted by insertion before runs are merged.
const INSERTED: usize = 8;

/// A stable sort whose steps are bounded whatever `less` says (`sort_by` may panic where that is no order).
fn merge_sort(list: &mut [u32], mut less: impl FnMut(u32, u32) -> bool) {
    for run in list.chunks_mut(INSERTED) {
        let mut sorted = 1;
        while sorted < run.len() {
            let v = run[sorted];
            let mut at = sorted;
            while at > 0 && less(v, run[at - 1]) {
                run[at] = run[at - 1];
                at -= 1;
            }
            run[at] = v;
            sorted += 1;
        }
    }
    let mut left = Vec::with_capacity(list.len());
    let mut width = INSERTED;
    while width < list.len() {
        for pair in list.chunks_mut(width * 2) {
            if pair.len() <= width || !less(pair[width], pair[width - 1]) {
                continue;
            }
            left.clear();
            left.extend_from_slice(&pair[..width]);
            let (mut taken, mut right, mut place) = (0, width, 0);
            while taken < left.len() && right < pair.len() {
                if less(pair[right], left[taken]) {
                    pair[place] = pair[right];
                    right += 1;
                } else {
                    pair[place] = left[taken];
                    taken += 1;
                }
                place += 1;
            }
            pair[place..place + left.len() - taken].copy_from_slice(&left[taken..]);
        }
        width *= 2;
    }
}

/// The merge sort between two comparisons.
struct Merge {
    phase: u32,
    low: u32,
    end: u32,
    a: u32,
    b: u32,
    c: u32,
    width: u32,
    count: u32,
}

/// The next step; `v` is what the comparator has returned, or EMPTY at the start.
pub(crate) fn step(ctx: &mut Ctx<'_>, steps: Steps, base: usize, v: Value) -> Result<Step, Throw> {
    let less = if v.is_empty() {
        None
    } else if let Some(n) = v.as_number() {
        Some(n < 0.0)
    } else if v.is_object() {
        return Ok(Step::Number(v));
    } else {
        Some(ctx.mem.to_number_primitive(v)? < 0.0)
    };
    let window = &ctx.stack[base..=base + LAST as usize];
    let number = |at: usize| window[at].as_index().unwrap_or(u32::MAX);
    let (items, spare) = (window[ITEMS], window[SPARE]);
    let broken = || Throw::type_error("a sort that is none");
    let (Some(list), Some(room)) = (own_list(ctx, items), own_list(ctx, spare)) else { return Err(broken()) };
    let mut m = Merge {
        phase: number(PHASE),
        low: number(LOW),
        end: number(END),
        a: number(A),
        b: number(B),
        c: number(C),
        width: number(WIDTH),
        count: list.1,
    };
    let (undefineds, len) = (number(UNDEFINEDS), number(LEN));
    if !m.holds(room.1) || undefineds > len {
        return Err(broken());
    }
    let Some((x, y)) = m.advance(ctx, list.0, room.0, less) else {
        let sorted = ctx.places(list.0, m.count).to_vec();
        let this = ctx.stack[base];
        return match finish(ctx, steps, this, &sorted, undefineds, len) {
            Ok(v) => Ok(Step::Done(v)),
            Err(Throw::TailCall) => Ok(Step::Tail),
            Err(other) => Err(other),
        };
    };
    let window = &mut ctx.stack[base..base + WINDOW_MAX];
    for (at, n) in [(PHASE, m.phase), (LOW, m.low), (END, m.end), (A, m.a), (B, m.b), (C, m.c)] {
        window[at] = Value::from_u32(n);
    }
    window[WIDTH] = Value::from_u32(m.width);
    let compare = window[1];
    window[CALLEE..CALLEE + 4].copy_from_slice(&[compare, Value::UNDEFINED, x, y]);
    Ok(Step::Call(2))
}

/// An array of the native's own and its length, all of it places.
fn own_list(ctx: &Ctx<'_>, v: Value) -> Option<(Ref, u32)> {
    if !ctx.is_kind(v, kind::ARRAY) || v.as_ref().space() != ctx.heap.own() {
        return None;
    }
    let (r, len) = (v.as_ref(), ctx.array_len(v.as_ref()));
    let dense = ctx.heap.header(r) & flag::SPARSE == 0 && ctx.places(r, len).len() == len as usize;
    dense.then_some((r, len))
}

impl Merge {
    /// Whether every position is one: nothing else is taken for granted of what a snapshot says.
    fn holds(&self, room: u32) -> bool {
        let n = self.count;
        let chunks = self.phase <= INSERT;
        let middle = self.low.saturating_add(self.width);
        n <= 1 << 27
            && self.width > 0
            && self.low <= n
            && self.end <= n
            && self.a <= n
            && self.b <= n
            && self.c <= n
            && match self.phase {
                CHUNK | PAIR => true,
                RUN => self.low < self.a && self.a < self.end,
                INSERT => self.low <= self.b && self.b < self.c && self.c <= self.a && self.a < self.end,
                ORDER => middle < self.end,
                MERGE => self.a < self.width && middle <= self.b && self.b < self.end,
                _ => false,
            }
            && (chunks || self.phase == PAIR || room >= self.width)
    }

    /// Takes the outcome of the last comparison; the two values of the next one, or none: everything is in order.
    fn advance(
        &mut self,
        ctx: &mut Ctx<'_>,
        list: Ref,
        room: Ref,
        less: Option<bool>,
    ) -> Option<(Value, Value)> {
        let mut less = less;
        loop {
            match self.phase {
                CHUNK if self.low >= self.count => {
                    (self.phase, self.low) = (PAIR, 0);
                }
                CHUNK => {
                    self.end = self.low.saturating_add(self.width).min(self.count);
                    (self.phase, self.a, self.b) = (RUN, self.low + 1, 0);
                    if self.a >= self.end {
                        (self.phase, self.low) = (CHUNK, self.end);
                    }
                }
                RUN => {
                    if let Some(less) = less.take() {
                        if self.b == 0 {
                            self.b = 1 + u32::from(less);
                            self.a += 1;
                        } else if less == (self.b == 2) {
                            self.a += 1;
                        } else {
                            self.end_run(ctx, list);
                            (self.phase, self.b, self.c) = (INSERT, self.low, self.a);
                            continue;
                        }
                    }
                    if self.a < self.end {
                        return Some(self.pair(ctx, list, self.a, self.a - 1));
                    }
                    self.end_run(ctx, list);
                    (self.phase, self.low) = (CHUNK, self.end);
                }
                INSERT => {
                    let middle = self.b + (self.c - self.b) / 2;
                    match less.take() {
                        Some(true) => self.c = middle,
                        Some(false) => self.b = middle + 1,
                        None => {}
                    }
                    if self.b < self.c {
                        let middle = self.b + (self.c - self.b) / 2;
                        return Some(self.pair(ctx, list, self.a, middle));
                    }
                    let items = ctx.places_mut(list, self.count);
                    items[self.b as usize..=self.a as usize].rotate_right(1);
                    self.a += 1;
                    (self.b, self.c) = (self.low, self.a);
                    if self.a >= self.end {
                        (self.phase, self.low) = (CHUNK, self.end);
                    }
                }
                PAIR => {
                    let middle = self.low.saturating_add(self.width);
                    if middle < self.count {
                        self.end = middle.saturating_add(self.width).min(self.count);
                        self.phase = ORDER;
                        return Some(self.pair(ctx, list, middle, middle - 1));
                    }
                    self.low = 0;
                    if self.width >= self.count {
                        return None;
                    }
                    self.width = self.width.saturating_mul(2);
                    if self.width >= self.count {
                        return None;
                    }
                }
                ORDER => {
                    if less.take() == Some(true) {
                        let width = self.width;
                        ctx.heap.work += u64::from(width) / 16;
                        let (from, to) = (ctx.elements(list), ctx.elements(room));
                        ctx.heap.copy_words((from, 1 + self.low), (to, 1), width);
                        (self.phase, self.a, self.b) = (MERGE, 0, self.low + width);
                        return Some(self.heads(ctx, list, room));
                    }
                    (self.phase, self.low) = (PAIR, self.end);
                }
                _ => {
                    let middle = self.low + self.width;
                    let place = self.low + self.a + (self.b - middle);
                    let (from, to) = (ctx.elements(room), ctx.elements(list));
                    if less.take() == Some(true) {
                        let v = ctx.heap.get(to, 1 + self.b);
                        ctx.heap.set(to, 1 + place, v);
                        self.b += 1;
                    } else {
                        let v = ctx.heap.get(from, 1 + self.a);
                        ctx.heap.set(to, 1 + place, v);
                        self.a += 1;
                    }
                    if self.a < self.width && self.b < self.end {
                        return Some(self.heads(ctx, list, room));
                    }
                    let left = self.width - self.a;
                    ctx.heap.copy_words((from, 1 + self.a), (to, 1 + self.end - left), left);
                    (self.phase, self.low) = (PAIR, self.end);
                }
            }
        }
    }

    /// A run has ended before A: it ascends from now on.
    fn end_run(&self, ctx: &mut Ctx<'_>, list: Ref) {
        if self.b == 2 {
            ctx.places_mut(list, self.count)[self.low as usize..self.a as usize].reverse();
        }
    }

    fn pair(&self, ctx: &Ctx<'_>, list: Ref, x: u32, y: u32) -> (Value, Value) {
        let items = ctx.places(list, self.count);
        let at = |i: u32| filled(items.get(i as usize).copied().unwrap_or_default());
        (at(x), at(y))
    }

    /// The right run's next and the left one's.
    fn heads(&self, ctx: &Ctx<'_>, list: Ref, room: Ref) -> (Value, Value) {
        let at = |r: Ref, i: u32| filled(ctx.places(r, i + 1).get(i as usize).copied().unwrap_or_default());
        (at(list, self.b), at(room, self.a))
    }
}
