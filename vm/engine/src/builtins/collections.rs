//! Map and Set: the tables. What iterates or calls back is in js/collections.js.

use super::iterators::table_of;
use super::{Kind, Native};
use crate::ctx::{Args, Ctx};
use crate::heap::{Heap, kind};
use crate::mem::Mem;
use crate::string::{flat_bytes, hash_bytes};
use crate::throw::Throw;
use crate::value::{Ref, Value};

const fn on(on: &'static str, name: &'static str, length: u8, call: super::NativeFn) -> Native {
    Native { on, name, length, call, kind: Kind::Method }
}

const fn helper(name: &'static str, call: super::NativeFn) -> Native {
    Native { on: "", name, length: 2, call, kind: Kind::Helper }
}

pub(crate) const NATIVES: &[Native] = &[
    Native { on: "", name: "Map", length: 0, call: construct_map, kind: Kind::Constructor("map") },
    Native { on: "", name: "Set", length: 0, call: construct_set, kind: Kind::Constructor("set") },
    on("Map.prototype", "clear", 0, map_clear),
    on("Map.prototype", "delete", 1, map_delete),
    on("Map.prototype", "get", 1, map_get),
    on("Map.prototype", "has", 1, map_has),
    on("Map.prototype", "set", 2, map_set),
    Native { on: "Map.prototype", name: "size", length: 0, call: map_size, kind: Kind::Getter },
    on("Set.prototype", "add", 1, set_add),
    on("Set.prototype", "clear", 0, set_clear),
    on("Set.prototype", "delete", 1, set_delete),
    on("Set.prototype", "has", 1, set_has),
    Native { on: "Set.prototype", name: "size", length: 0, call: set_size, kind: Kind::Getter },
    on("Map.prototype", "len", 0, map_size),
    on("Set.prototype", "len", 0, set_size),
    on("Map.prototype", "getOrInsert", 2, map_get_or_insert),
    Native { on: "Map", name: "@@species", length: 0, call: super::core::species, kind: Kind::Getter },
    Native { on: "Set", name: "@@species", length: 0, call: super::core::species, kind: Kind::Getter },
    helper("mapHas", |c, a| has(c, c.arg(a, 0), c.arg(a, 1), kind::MAP)),
    helper("mapGet", |c, a| get(c, c.arg(a, 0), c.arg(a, 1))),
    helper("mapSet", |c, a| put(c, c.arg(a, 0), c.arg(a, 1), c.arg(a, 2), kind::MAP)),
    helper("setAdd", |c, a| put(c, c.arg(a, 0), c.arg(a, 1), Value::UNDEFINED, kind::SET)),
    helper("setHas", |c, a| has(c, c.arg(a, 0), c.arg(a, 1), kind::SET)),
    helper("setDelete", |c, a| remove(c, c.arg(a, 0), c.arg(a, 1), kind::SET)),
    helper("setSize", |c, a| size(c, c.arg(a, 0), kind::SET)),
];

impl Mem<'_> {
    /// A key in the form in which equal ones (SameValueZero) are found: Numbers as
    /// integers where they are some, -0 as 0, strings flat. And its hash.
    pub(crate) fn table_key(&mut self, key: Value) -> Result<(Value, u32), Throw> {
        if key.is_double() {
            let n = key.as_double();
            let key = if n == 0.0 { Value::ZERO } else { Value::number(n) };
            return Ok((key, crate::dict::hash_bits(key)));
        }
        if key.is_string() {
            let flat = self.heap.flat(key)?;
            self.heap.work += self.heap.string_bytes_len(flat) as u64 / 32;
            let hash = hash_bytes(self.heap.str_bytes(flat));
            return Ok((flat, hash));
        }
        if key.is_bigint() {
            let digits = self.bigint(key);
            let bytes: Vec<u8> = digits.limbs.iter().flat_map(|l| l.to_le_bytes()).collect();
            return Ok((key, hash_bytes(&bytes)));
        }
        Ok((key, crate::dict::hash_bits(key)))
    }

    /// The entry of a key in a Map's or Set's table.
    pub(crate) fn table_find(&mut self, table: Ref, key: Value) -> Result<Option<u32>, Throw> {
        let (key, hash) = self.table_key(key)?;
        self.heap.work += 1;
        Ok(self.heap.dict_find(table, hash, |heap, other| same(heap, key, other)))
    }
}

/// Whether two keys as `table_key` makes them are the same.
fn same(heap: &Heap, a: Value, b: Value) -> bool {
    if a == b {
        return true;
    }
    if a.is_string() && b.is_string() {
        return flat_bytes(heap, a.as_ref()) == flat_bytes(heap, b.as_ref());
    }
    if a.is_bigint() && b.is_bigint() {
        let (x, y) = (heap.header(a.as_ref()), heap.header(b.as_ref()));
        let len = (x >> 32) as usize * 4;
        return x == y && heap.bytes(a.as_ref(), 1, len) == heap.bytes(b.as_ref(), 1, len);
    }
    false
}

fn get(ctx: &mut Ctx<'_>, map: Value, key: Value) -> Result<Value, Throw> {
    let table = table_of(ctx, map, kind::MAP)?;
    Ok(match ctx.mem.table_find(table, key)? {
        Some(entry) => ctx.heap.dict_entry(table, entry).1,
        None => Value::UNDEFINED,
    })
}

fn has(ctx: &mut Ctx<'_>, v: Value, key: Value, wanted: u8) -> Result<Value, Throw> {
    let table = table_of(ctx, v, wanted)?;
    Ok(Value::bool(ctx.mem.table_find(table, key)?.is_some()))
}

/// Sets and answers the Map or Set.
fn put(ctx: &mut Ctx<'_>, v: Value, key: Value, value: Value, wanted: u8) -> Result<Value, Throw> {
    let table = table_of(ctx, v, wanted)?;
    ctx.check_mutable(v.as_ref())?;
    let (key, hash) = ctx.mem.table_key(key)?;
    ctx.heap.work += 1;
    match ctx.heap.dict_find(table, hash, |heap, other| same(heap, key, other)) {
        Some(entry) => ctx.heap.dict_set(table, entry, value),
        None => {
            let new = ctx.heap.dict_add(table, hash, key, value, 0)?;
            if new != table {
                ctx.heap.set(v.as_ref(), 4, new.cell());
            }
        }
    }
    Ok(v)
}

fn remove(ctx: &mut Ctx<'_>, v: Value, key: Value, wanted: u8) -> Result<Value, Throw> {
    let table = table_of(ctx, v, wanted)?;
    ctx.check_mutable(v.as_ref())?;
    let entry = ctx.mem.table_find(table, key)?;
    if let Some(entry) = entry {
        ctx.heap.dict_remove(table, entry);
    }
    Ok(Value::bool(entry.is_some()))
}

fn clear(ctx: &mut Ctx<'_>, v: Value, wanted: u8) -> Result<Value, Throw> {
    let table = table_of(ctx, v, wanted)?;
    ctx.check_mutable(v.as_ref())?;
    let new = ctx.heap.dict_clear(table)?;
    ctx.heap.set(v.as_ref(), 4, new.cell());
    Ok(Value::UNDEFINED)
}

fn size(ctx: &mut Ctx<'_>, v: Value, wanted: u8) -> Result<Value, Throw> {
    let table = table_of(ctx, v, wanted)?;
    Ok(Value::from_u32(ctx.heap.dict_live(table)))
}

fn construct(ctx: &mut Ctx<'_>, a: Args, wanted: u8) -> Result<Value, Throw> {
    if !a.construct {
        let name = if wanted == kind::MAP { "Map" } else { "Set" };
        return Err(Throw::type_error(format!("Constructor {name} requires 'new'")));
    }
    let known = &ctx.local.known;
    let proto = if wanted == kind::MAP { known.map } else { known.set };
    let proto = ctx.new_proto(a, proto)?;
    let table = ctx.heap.dict_new(4)?;
    let object = ctx.new_object_of(wanted, proto, 1)?;
    ctx.heap.set(object, 4, table.cell());
    let items = ctx.arg(a, 0);
    if items.is_nullish() {
        return Ok(object.object());
    }
    let callee = ctx.own_value();
    ctx.tail_call(callee, Value::UNDEFINED, &[object.object(), items])
}

fn construct_map(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    construct(ctx, a, kind::MAP)
}

fn construct_set(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    construct(ctx, a, kind::SET)
}

fn map_get(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    get(ctx, ctx.this(a), ctx.arg(a, 0))
}

fn map_has(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    has(ctx, ctx.this(a), ctx.arg(a, 0), kind::MAP)
}

fn map_set(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    put(ctx, ctx.this(a), ctx.arg(a, 0), ctx.arg(a, 1), kind::MAP)
}

fn map_get_or_insert(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (map, key, value) = (ctx.this(a), ctx.arg(a, 0), ctx.arg(a, 1));
    let table = table_of(ctx, map, kind::MAP)?;
    if let Some(entry) = ctx.mem.table_find(table, key)? {
        return Ok(ctx.heap.dict_entry(table, entry).1);
    }
    put(ctx, map, key, value, kind::MAP)?;
    Ok(value)
}

fn map_delete(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    remove(ctx, ctx.this(a), ctx.arg(a, 0), kind::MAP)
}

fn map_clear(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    clear(ctx, ctx.this(a), kind::MAP)
}

fn map_size(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    size(ctx, ctx.this(a), kind::MAP)
}

fn set_has(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    has(ctx, ctx.this(a), ctx.arg(a, 0), kind::SET)
}

fn set_add(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    put(ctx, ctx.this(a), ctx.arg(a, 0), Value::UNDEFINED, kind::SET)
}

fn set_delete(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    remove(ctx, ctx.this(a), ctx.arg(a, 0), kind::SET)
}

fn set_clear(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    clear(ctx, ctx.this(a), kind::SET)
}

fn set_size(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    size(ctx, ctx.this(a), kind::SET)
}
