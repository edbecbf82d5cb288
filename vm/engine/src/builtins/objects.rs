//! Object, Function.prototype, Symbol and the error constructors. What may call accessors
//! of the script is in js/object.js.

use super::{Kind, Native};
use crate::ctx::{Args, Ctx};
use crate::heap::kind;
use crate::mem::Mem;
use crate::object::{Get, Key, Keys, Own, flag};
use crate::shape::attr;
use crate::throw::Throw;
use crate::value::{Ref, Value, space};

const fn on(on: &'static str, name: &'static str, length: u8, call: super::NativeFn) -> Native {
    Native { on, name, length, call, kind: Kind::Method }
}

const OBJECT: &str = "Object";
const PROTO: &str = "Object.prototype";
const FUNCTION: &str = "Function.prototype";

pub(crate) const NATIVES: &[Native] = &[
    Native { on: "", name: "Object", length: 1, call: construct_object, kind: Kind::Constructor("object") },
    on(OBJECT, "entries", 1, entries),
    on(OBJECT, "freeze", 1, freeze),
    on(OBJECT, "getOwnPropertyDescriptor", 2, descriptor),
    on(OBJECT, "getOwnPropertyDescriptors", 1, descriptors),
    on(OBJECT, "getOwnPropertyNames", 1, own_names),
    on(OBJECT, "getOwnPropertySymbols", 1, own_symbols),
    on(OBJECT, "getPrototypeOf", 1, get_prototype_of),
    on(OBJECT, "hasOwn", 2, has_own),
    on(OBJECT, "is", 2, is),
    on(OBJECT, "isExtensible", 1, is_extensible),
    on(OBJECT, "isFrozen", 1, is_frozen),
    on(OBJECT, "isSealed", 1, is_sealed),
    on(OBJECT, "keys", 1, keys),
    on(OBJECT, "preventExtensions", 1, prevent_extensions),
    on(OBJECT, "seal", 1, seal),
    on(OBJECT, "setPrototypeOf", 2, set_prototype_of),
    on(OBJECT, "values", 1, values),
    on(PROTO, "hasOwnProperty", 1, has_own_property),
    on(PROTO, "isPrototypeOf", 1, is_prototype_of),
    on(PROTO, "propertyIsEnumerable", 1, property_is_enumerable),
    on(PROTO, "toString", 0, to_string),
    on(PROTO, "valueOf", 0, value_of),
    on(PROTO, "__lookupGetter__", 1, |c, a| lookup_accessor(c, a, true)),
    on(PROTO, "__lookupSetter__", 1, |c, a| lookup_accessor(c, a, false)),
    Native { on: PROTO, name: "__proto__", length: 0, call: get_proto, kind: Kind::Getter },
    Native { on: PROTO, name: "__proto__", length: 1, call: set_proto, kind: Kind::Setter },
    Native {
        on: "",
        name: "Function",
        length: 1,
        call: construct_function,
        kind: Kind::Constructor("function"),
    },
    Native {
        on: "",
        name: "AsyncFunction",
        length: 1,
        call: construct_function,
        kind: Kind::Constructor("async_function"),
    },
    Native {
        on: "",
        name: "GeneratorFunction",
        length: 1,
        call: construct_function,
        kind: Kind::Constructor("generator_function"),
    },
    Native {
        on: "",
        name: "AsyncGeneratorFunction",
        length: 1,
        call: construct_function,
        kind: Kind::Constructor("async_generator_function"),
    },
    on(FUNCTION, "apply", 2, apply),
    on(FUNCTION, "bind", 1, bind),
    on(FUNCTION, "call", 1, call),
    on(FUNCTION, "toString", 0, function_to_string),
    on(FUNCTION, "@@hasInstance", 1, has_instance),
    Native { on: "", name: "Symbol", length: 0, call: construct_symbol, kind: Kind::Constructor("symbol") },
    on("Symbol", "for", 1, symbol_for),
    on("Symbol", "keyFor", 1, symbol_key_for),
    on("Symbol.prototype", "toString", 0, symbol_to_string),
    on("Symbol.prototype", "valueOf", 0, symbol_value_of),
    on("Symbol.prototype", "@@toPrimitive", 1, symbol_value_of),
    Native {
        on: "Symbol.prototype",
        name: "description",
        length: 0,
        call: symbol_description,
        kind: Kind::Getter,
    },
];

// ---- Object

/// ToObject of argument 0.
fn object_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Ref, Throw> {
    let v = ctx.arg(a, 0);
    if v.is_object() { Ok(v.as_ref()) } else { Ok(ctx.mem.boxed(v)?.as_ref()) }
}

fn construct_object(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if a.construct && ctx.this(a) != ctx.callee {
        // A class that extends Object: what it passes doesn't count.
        let proto = ctx.new_proto(a, ctx.local.known.object)?;
        return Ok(ctx.new_plain(proto, 2)?.object());
    }
    if v.is_object() {
        return Ok(v);
    }
    if v.is_nullish() { Ok(ctx.new_object(2)?.object()) } else { ctx.mem.boxed(v) }
}

const ENUMERABLE: Keys = Keys { strings: true, symbols: false, only_enumerable: true };

fn keys(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let object = object_of(ctx, a)?;
    ctx.mem.keys_array(object, ENUMERABLE)
}

fn own_names(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let object = object_of(ctx, a)?;
    ctx.mem.keys_array(object, Keys { strings: true, symbols: false, only_enumerable: false })
}

fn own_symbols(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let object = object_of(ctx, a)?;
    ctx.mem.keys_array(object, Keys { strings: false, symbols: true, only_enumerable: false })
}

/// Own enumerable keys and their values; none if one of them is an accessor.
fn members(ctx: &mut Ctx<'_>, object: Ref) -> Result<Option<Vec<(Key, Value)>>, Throw> {
    let mut keys = Vec::new();
    ctx.mem.own_keys(object, ENUMERABLE, &mut keys)?;
    ctx.heap.check_room(keys.len() * 8)?;
    let mut members = Vec::with_capacity(keys.len());
    for key in keys {
        match ctx.get_own(object, key)? {
            Own::Data(value, _) => members.push((key, value)),
            Own::Accessor(..) => return Ok(None),
            Own::None => {}
        }
    }
    Ok(Some(members))
}

/// Runs the sibling in js/object.js instead.
fn general(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (callee, this, args) = (ctx.own_value(), ctx.this(a), ctx.args(a).to_vec());
    ctx.tail_call(callee, this, &args)
}

fn values(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let object = object_of(ctx, a)?;
    let Some(members) = members(ctx, object)? else { return general(ctx, a) };
    let values: Vec<Value> = members.into_iter().map(|(_, v)| v).collect();
    Ok(ctx.new_array_of(&values)?.object())
}

fn entries(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let object = object_of(ctx, a)?;
    let Some(members) = members(ctx, object)? else { return general(ctx, a) };
    let mut pairs = Vec::with_capacity(members.len());
    for (key, value) in members {
        let key = ctx.key_value(key)?;
        pairs.push(ctx.new_array_of(&[key, value])?.object());
    }
    Ok(ctx.new_array_of(&pairs)?.object())
}

fn restrict(ctx: &mut Ctx<'_>, a: Args, seal: bool, freeze: bool) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if v.is_object() {
        ctx.mem.restrict(v.as_ref(), seal, freeze)?;
    }
    Ok(v)
}

fn freeze(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    restrict(ctx, a, true, true)
}

fn seal(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    restrict(ctx, a, true, false)
}

fn prevent_extensions(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    restrict(ctx, a, false, false)
}

/// Whether an object is one of a module's, which nobody can change. Namespaces answer for themselves.
fn shared(ctx: &Ctx<'_>, object: Value) -> bool {
    !ctx.is_namespace(object.as_ref())
        && object.as_ref().space() == space::BLUEPRINT
        && ctx.heap.own() != space::BLUEPRINT
}

/// Whether an object is at least as fixed as `seal` or `freeze` make it. What a module shares with all requests is.
fn restricted(ctx: &mut Ctx<'_>, a: Args, frozen: bool) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if !v.is_object() || shared(ctx, v) {
        return Ok(Value::TRUE);
    }
    let object = v.as_ref();
    if ctx.is_extensible(object) {
        return Ok(Value::FALSE);
    }
    let mut keys = Vec::new();
    ctx.mem.own_keys(object, Keys { strings: true, symbols: true, only_enumerable: false }, &mut keys)?;
    for key in keys {
        let loose = match ctx.get_own(object, key)? {
            Own::None => false,
            Own::Data(_, attrs) => attrs & attr::CONFIGURABLE != 0 || (frozen && attrs & attr::WRITABLE != 0),
            Own::Accessor(_, _, attrs) => attrs & attr::CONFIGURABLE != 0,
        };
        if loose {
            return Ok(Value::FALSE);
        }
    }
    Ok(Value::TRUE)
}

fn is_frozen(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    restricted(ctx, a, true)
}

fn is_sealed(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    restricted(ctx, a, false)
}

fn is_extensible(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    Ok(Value::bool(v.is_object() && !shared(ctx, v) && ctx.is_extensible(v.as_ref())))
}

fn is(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (x, y) = (ctx.arg(a, 0), ctx.arg(a, 1));
    Ok(Value::bool(ctx.same_value(x, y)?))
}

fn get_prototype_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let object = object_of(ctx, a)?;
    Ok(ctx.proto_of(object))
}

fn set_prototype_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (v, proto) = (ctx.arg(a, 0), ctx.arg(a, 1));
    if v.is_nullish() {
        return Err(Throw::type_error("Object.setPrototypeOf called on null or undefined"));
    }
    if !proto.is_object() && !proto.is_null() {
        let text = ctx.mem.show(proto)?;
        return Err(Throw::type_error(format!("Object prototype may only be an Object or null: {text}")));
    }
    if v.is_object() {
        ctx.mem.set_proto(v.as_ref(), proto)?;
    }
    Ok(v)
}

fn get_proto(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let object = this_object(ctx, a)?;
    Ok(ctx.proto_of(object))
}

fn set_proto(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (v, proto) = (ctx.this(a), ctx.arg(a, 0));
    if v.is_nullish() {
        return Err(Throw::type_error("Object.prototype.__proto__ called on null or undefined"));
    }
    if v.is_object() && (proto.is_object() || proto.is_null()) {
        ctx.mem.set_proto(v.as_ref(), proto)?;
    }
    Ok(Value::UNDEFINED)
}

/// `__lookupGetter__` and its sibling: the first property of this name along the chain decides.
fn lookup_accessor(ctx: &mut Ctx<'_>, a: Args, getter: bool) -> Result<Value, Throw> {
    let object = this_object(ctx, a)?;
    let key = ctx.key_arg(a, 0)?;
    let mut at = object.object();
    while at.is_object() {
        match ctx.get_own(at.as_ref(), key)? {
            Own::Accessor(get, set, _) => return Ok(if getter { get } else { set }),
            Own::Data(..) => return Ok(Value::UNDEFINED),
            Own::None => {}
        }
        ctx.heap.work += 1;
        at = ctx.proto_of(at.as_ref());
    }
    Ok(Value::UNDEFINED)
}

impl Mem<'_> {
    /// FromPropertyDescriptor; undefined for none.
    fn descriptor_object(&mut self, own: Own) -> Result<Value, Throw> {
        let known = self.local.known;
        let (attrs, pairs) = match own {
            Own::None => return Ok(Value::UNDEFINED),
            Own::Data(value, attrs) => {
                let writable = Value::bool(attrs & attr::WRITABLE != 0);
                (attrs, [(known.value, value), (known.writable, writable)])
            }
            Own::Accessor(get, set, attrs) => (attrs, [(known.get, get), (known.set_, set)]),
        };
        let object = self.new_object(4)?;
        for (key, value) in pairs {
            self.add_property(object, key, value, attr::DEFAULT)?;
        }
        let enumerable = Value::bool(attrs & attr::ENUMERABLE != 0);
        self.add_property(object, known.enumerable, enumerable, attr::DEFAULT)?;
        let configurable = Value::bool(attrs & attr::CONFIGURABLE != 0);
        self.add_property(object, known.configurable, configurable, attr::DEFAULT)?;
        Ok(object.object())
    }
}

fn descriptor(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let object = object_of(ctx, a)?;
    let key = ctx.key_arg(a, 1)?;
    let own = ctx.get_own(object, key)?;
    ctx.mem.descriptor_object(own)
}

fn descriptors(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let object = object_of(ctx, a)?;
    let mut keys = Vec::new();
    ctx.mem.own_keys(object, Keys { strings: true, symbols: true, only_enumerable: false }, &mut keys)?;
    let result = ctx.new_object(2)?;
    for key in keys {
        let own = ctx.get_own(object, key)?;
        let value = ctx.mem.descriptor_object(own)?;
        ctx.define_data(result, key, value)?;
    }
    Ok(result.object())
}

fn has_own(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let object = object_of(ctx, a)?;
    let key = ctx.key_arg(a, 1)?;
    Ok(Value::bool(ctx.get_own(object, key)? != Own::None))
}

/// ToObject of `this`.
fn this_object(ctx: &mut Ctx<'_>, a: Args) -> Result<Ref, Throw> {
    let v = ctx.this(a);
    if v.is_object() { Ok(v.as_ref()) } else { Ok(ctx.mem.boxed(v)?.as_ref()) }
}

fn has_own_property(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let key = ctx.key_arg(a, 0)?;
    let object = this_object(ctx, a)?;
    Ok(Value::bool(ctx.get_own(object, key)? != Own::None))
}

fn property_is_enumerable(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let key = ctx.key_arg(a, 0)?;
    let object = this_object(ctx, a)?;
    Ok(Value::bool(match ctx.get_own(object, key)? {
        Own::None => false,
        Own::Data(_, attrs) | Own::Accessor(_, _, attrs) => attrs & attr::ENUMERABLE != 0,
    }))
}

fn is_prototype_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.arg(a, 0);
    if !v.is_object() {
        return Ok(Value::FALSE);
    }
    let object = this_object(ctx, a)?.object();
    let mut at = ctx.proto_of(v.as_ref());
    while at.is_object() {
        if at == object {
            return Ok(Value::TRUE);
        }
        ctx.heap.work += 1;
        at = ctx.proto_of(at.as_ref());
    }
    Ok(Value::FALSE)
}

fn to_string(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.this(a);
    let builtin = ctx.mem.builtin_tag(v);
    let mut tag = builtin.to_owned();
    if !v.is_nullish() {
        let key = Key::Atom(ctx.local.known.sym_to_string_tag);
        match ctx.mem.get_value(v, key)? {
            Get::Value(t) if t.is_string() => tag = ctx.heap.to_text(t)?,
            Get::Value(_) => {}
            Get::Getter(_) => return general(ctx, a),
        }
    }
    ctx.heap.new_string(format!("[object {tag}]").as_bytes())
}

fn value_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    Ok(this_object(ctx, a)?.object())
}

// ---- Function.prototype

fn construct_function(_: &mut Ctx<'_>, _: Args) -> Result<Value, Throw> {
    Err(Throw::type_error("code can't be made from text at run time"))
}

fn this_callable(ctx: &Ctx<'_>, a: Args, name: &str) -> Result<Value, Throw> {
    let v = ctx.this(a);
    if ctx.is_callable(v) {
        return Ok(v);
    }
    Err(Throw::type_error(format!("Function.prototype.{name} was called on what is not a function")))
}

fn call(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let callee = this_callable(ctx, a, "call")?;
    let args = ctx.args(a).get(1..).unwrap_or(&[]).to_vec();
    let this = ctx.arg(a, 0);
    ctx.tail_call(callee, this, &args)
}

/// Arguments that `apply` may pass.
const APPLY_MAX: u32 = 65_535;

fn apply(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let callee = this_callable(ctx, a, "apply")?;
    let (this, list) = (ctx.arg(a, 0), ctx.arg(a, 1));
    if list.is_nullish() {
        return ctx.tail_call(callee, this, &[]);
    }
    if !list.is_object() {
        return Err(Throw::type_error("CreateListFromArrayLike called on non-object"));
    }
    let list = list.as_ref();
    let length = Key::Atom(ctx.local.known.length);
    let length = match ctx.mem.get(list, length)? {
        Get::Value(v) => v,
        Get::Getter(_) => return general(ctx, a),
    };
    let Some(len) = length.as_index() else { return general(ctx, a) };
    if len > APPLY_MAX {
        return Err(Throw::range_error("too many arguments"));
    }
    let mut args = Vec::with_capacity(len as usize);
    for i in 0..len {
        match ctx.mem.get(list, Key::Index(i))? {
            Get::Value(v) => args.push(v),
            Get::Getter(_) => return general(ctx, a),
        }
    }
    ctx.heap.work += u64::from(len) / 4;
    ctx.tail_call(callee, this, &args)
}

fn bind(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let target = this_callable(ctx, a, "bind")?;
    let bound = ctx.args(a).get(1..).unwrap_or(&[]).to_vec();
    let known = ctx.local.known;
    let words = u32::try_from(bound.len() + 2).map_err(|_| Throw::range_error("too many arguments"))?;
    let proto = ctx.proto_of(target.as_ref());
    let f = ctx.new_object_of(kind::BOUND, proto, words)?;
    ctx.heap.store(f, 3, bound.len() as u64);
    ctx.heap.set(f, 4, target);
    let this = ctx.arg(a, 0);
    ctx.heap.set(f, 5, this);
    for (at, v) in (6u32..).zip(&bound) {
        ctx.heap.set(f, at, *v);
    }
    if ctx.is_constructor(target) {
        ctx.set_flag(f, flag::CONSTRUCTOR);
    }
    let mut length = 0.0;
    if ctx.get_own(target.as_ref(), Key::Atom(known.length))? != Own::None {
        let of_target = ctx.get_plain(target.as_ref(), Key::Atom(known.length))?;
        length = of_target.as_number().map_or(0.0, |n| (n.trunc() - bound.len() as f64).max(0.0));
    }
    ctx.add_property(f, known.length, Value::number(length), attr::CONFIGURABLE)?;
    let name = ctx.get_plain(target.as_ref(), Key::Atom(known.name))?;
    let name = if name.is_string() { ctx.heap.to_text(name)? } else { String::new() };
    let name = ctx.heap.new_string(format!("bound {name}").as_bytes())?;
    ctx.add_property(f, known.name, name, attr::CONFIGURABLE)?;
    Ok(f.object())
}

fn function_to_string(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let f = this_callable(ctx, a, "toString")?;
    let known = ctx.local.known;
    let name = ctx.get_plain(f.as_ref(), Key::Atom(known.name))?;
    let name = if name.is_string() { ctx.heap.to_text(name)? } else { String::new() };
    // ECMA-262 allows the NativeFunction form where the source isn't kept.
    ctx.heap.new_string(format!("function {name}() {{ [native code] }}").as_bytes())
}

/// OrdinaryHasInstance.
fn has_instance(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let (mut f, v) = (ctx.this(a), ctx.arg(a, 0));
    while ctx.is_kind(f, kind::BOUND) {
        f = ctx.heap.get(f.as_ref(), 4);
    }
    if !ctx.is_callable(f) || !v.is_object() {
        return Ok(Value::FALSE);
    }
    let known = ctx.local.known;
    let proto = match ctx.mem.get(f.as_ref(), Key::Atom(known.prototype))? {
        Get::Value(v) => v,
        Get::Getter(_) => {
            let script = ctx.own_value();
            return ctx.tail_call(script, f, &[v]);
        }
    };
    if !proto.is_object() {
        return Err(Throw::type_error("Function has non-object prototype in instanceof check"));
    }
    let mut at = ctx.proto_of(v.as_ref());
    while at.is_object() {
        if at == proto {
            return Ok(Value::TRUE);
        }
        ctx.heap.work += 1;
        at = ctx.proto_of(at.as_ref());
    }
    Ok(Value::FALSE)
}

// ---- Symbol

fn construct_symbol(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    if a.construct {
        return Err(Throw::type_error("Symbol is not a constructor"));
    }
    let description = if ctx.arg(a, 0).is_undefined() { Value::UNDEFINED } else { ctx.str_arg(a, 0)? };
    ctx.new_symbol(description)
}

/// The task's registry is a list on the interned description: symbols made by `for` live in
/// the task as an ordinary object's values.
fn symbol_for(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let name = ctx.str_arg(a, 0)?;
    let key = ctx.mem.intern_string(name)?;
    let table = match ctx.task.symbols {
        Some(table) => table.as_ref(),
        None => {
            let table = ctx.heap.dict_new(4)?;
            ctx.task.symbols = Some(table.cell());
            table
        }
    };
    if let Some(entry) = ctx.heap.dict_find_bits(table, key) {
        return Ok(ctx.heap.dict_entry(table, entry).1);
    }
    let symbol = ctx.new_symbol(key)?;
    ctx.task.symbols = Some(ctx.heap.dict_add_bits(table, key, symbol, 0)?.cell());
    Ok(symbol)
}

fn symbol_key_for(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let symbol = ctx.arg(a, 0);
    if !symbol.is_symbol() {
        let text = ctx.mem.show(symbol)?;
        return Err(Throw::type_error(format!("{text} is not a symbol")));
    }
    let key = ctx.heap.get(symbol.as_ref(), 1);
    if let (Some(table), true) = (ctx.task.symbols, key.is_string())
        && let Some(entry) = ctx.heap.dict_find_bits(table.as_ref(), key)
        && ctx.heap.dict_entry(table.as_ref(), entry).1 == symbol
    {
        return Ok(key);
    }
    Ok(Value::UNDEFINED)
}

fn this_symbol(ctx: &Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let v = ctx.this(a);
    let v = if ctx.is_kind(v, kind::BOXED) { ctx.heap.get(v.as_ref(), 4) } else { v };
    if v.is_symbol() { Ok(v) } else { Err(Throw::type_error("Symbol requires that 'this' be a Symbol")) }
}

fn symbol_to_string(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let symbol = this_symbol(ctx, a)?;
    let text = ctx.symbol_text(symbol)?;
    ctx.heap.new_string(text.as_bytes())
}

fn symbol_value_of(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    this_symbol(ctx, a)
}

fn symbol_description(ctx: &mut Ctx<'_>, a: Args) -> Result<Value, Throw> {
    let symbol = this_symbol(ctx, a)?;
    Ok(ctx.heap.get(symbol.as_ref(), 1))
}
