//! The built-in objects: built once per process, then frozen and shared by all threads.
//!
//! Order: names and symbols, prototypes, natives, then the functions of
//! `builtins/js`, which are compiled and run here like any script.

use crate::api::{Clock, NoHost};
use crate::builtins::{ALIASES, CONSTANTS, Kind, SCRIPTS, TAGS, UNSCOPABLES, natives};
use crate::ctx::Ctx;
use crate::fiber::TaskState;
use crate::heap::{Arena, Heap, kind};
use crate::known::{Helper, Known};
use crate::mem::{Frozen, Local, Mem};
use crate::object::{Descriptor, Key, Keys, Own, flag};
use crate::shape::{ShapeTable, Shapes, attr};
use crate::throw::{ErrorKind, Throw};
use crate::unit::Unit;
use crate::value::{Ref, Value, space};
use forebay_bytecode::{Global, verify};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// Address space for the built-in objects.
const ARENA_BYTES: usize = 32 << 20;

/// What all threads share of the built-in objects.
pub(crate) struct Intrinsics {
    pub(crate) frozen: Frozen,
    pub(crate) shapes: Arc<ShapeTable>,
    pub(crate) unit: Arc<Unit>,
    pub(crate) slots: Vec<Value>,
    pub(crate) known: Known,
}

/// The built-in objects of this process; made at the first call (tens of milliseconds).
pub(crate) fn intrinsics() -> Result<&'static Intrinsics, String> {
    static INTRINSICS: OnceLock<Result<Intrinsics, String>> = OnceLock::new();
    INTRINSICS.get_or_init(build).as_ref().map_err(Clone::clone)
}

struct Loader(String);

impl forebay_compiler::Loader for Loader {
    fn load(&self, _: &str) -> Option<Box<str>> {
        Some(self.0.as_str().into())
    }
}

/// All files of `js/` as one script that returns the list of their functions.
fn source() -> String {
    let mut text = String::from("return [\n");
    for (_, file) in SCRIPTS {
        let start = file.find("return function").map_or(0, |at| at + "return ".len());
        let body = file[start..].trim_end().trim_end_matches(';');
        text.push_str(body);
        text.push_str(",\n");
    }
    text.push_str("];\n");
    text
}

fn build() -> Result<Intrinsics, String> {
    let text = source();
    let (module, _) = forebay_compiler::compile(&Loader(text), "builtins.js").map_err(|errors| {
        let shown: Vec<String> = errors.iter().map(|e| format!("{e:?}")).collect();
        format!("the built-in scripts don't compile: {}", shown.join("\n"))
    })?;
    let module = verify(module).map_err(|e| format!("the built-in scripts: {e}"))?;

    let arena = Arena::reserve(ARENA_BYTES).ok_or("no memory for the built-in objects")?;
    let mut heap = Heap::new(arena, space::INTRINSICS);
    let shapes = Shapes::new(space::INTRINSICS, [None, None, None]);
    let units = [Arc::new(Unit::empty()), Arc::new(Unit::empty())];
    let frozen = [Frozen::default(), Frozen::default(), Frozen::default()];
    let mut local = Local::new(frozen, shapes, units, [Vec::new(), Vec::new()], Vec::new(), Known::default())
        .ok_or("no memory for the built-in objects")?;
    local.show(&mut heap);
    let mut mem = Mem { heap: &mut heap, local: &mut local };
    let failed = |throw: Throw| format!("the built-in objects: {throw:?}");
    let mut places = Places::default();
    places.base(&mut mem).map_err(failed)?;
    let helpers = places.natives(&mut mem).map_err(failed)?;
    places.constants(&mut mem).map_err(failed)?;

    let main = module.main.ok_or("the built-in scripts have no body")?;
    let unit = Unit::load(&mut mem, module, true).map_err(failed)?;
    mem.local.slots[1] = vec![Value::EMPTY; unit.slot_count()];
    mem.local.set_unit(1, Arc::new(unit));
    mem.local.loading = true;

    let closure = mem.new_closure(1, main.0).map_err(failed)?.object();
    let list = run(&mut mem, closure, &[])?;
    let mut index = 0;
    while let Some(function) = mem.dense_element(list.as_ref(), index) {
        let table = run(&mut mem, function, &[helpers])?;
        places.scripts(&mut mem, table.as_ref()).map_err(failed)?;
        index += 1;
    }
    places.aliases(&mut mem).map_err(failed)?;
    places.globals(&mut mem).map_err(failed)?;
    local.loading = false;

    let known = local.known;
    let unit = Arc::clone(&local.units[1]);
    let slots = std::mem::take(&mut local.slots[1]);
    let shapes = Arc::new(local.shapes.into_own());
    let (arena, atoms) = heap.into_frozen();
    let frozen = Frozen { arena: Some(Arc::new(arena)), atoms: Some(Arc::new(atoms)) };
    Ok(Intrinsics { frozen, shapes, unit, slots, known })
}

/// Runs a function of the built-in scripts to its end.
fn run(mem: &mut Mem<'_>, function: Value, args: &[Value]) -> Result<Value, String> {
    let mut task = TaskState::new();
    let mut ctx = Ctx {
        mem: Mem { heap: mem.heap, local: mem.local },
        task: &mut task,
        host: &mut NoHost,
        clock: Clock::default(),
        current: 0,
        stack: Vec::new(),
        stack_limit: 0,
        parked: Vec::new(),
        frames: Vec::new(),
        fuel: i64::MAX,
        callee: Value::UNDEFINED,
        resumed: Value::EMPTY,
    };
    match ctx.run_to_end(function, args) {
        Ok(v) => Ok(v),
        Err(Throw::Value(v)) => Err(format!("the built-in scripts: {}", ctx.mem.describe_error(v))),
        Err(other) => Err(format!("the built-in scripts: {other:?}")),
    }
}

/// Objects by the names under which tables refer to them.
#[derive(Default)]
struct Places {
    objects: HashMap<String, Value>,
    globals: HashMap<String, Value>,
    /// (place, name) of self-hosted functions whose place a native has.
    natives: HashMap<(String, String), Value>,
}

impl Places {
    /// Names, symbols, prototypes.
    fn base(&mut self, mem: &mut Mem<'_>) -> Result<(), Throw> {
        let mut known = Known::default();
        for byte in 0..128u8 {
            known.chars[usize::from(byte)] = mem.intern(&[byte])?;
        }
        {
            let cell = std::cell::RefCell::new(&mut *mem);
            known.fill(
                |name| cell.borrow_mut().intern(name.as_bytes()),
                |name| {
                    let mut mem = cell.borrow_mut();
                    let description = mem.intern(format!("Symbol.{name}").as_bytes())?;
                    mem.new_symbol(description)
                },
            )?;
        }
        known.done_mark = mem.new_symbol(Value::UNDEFINED)?;
        let object = mem.new_object_of(kind::OBJECT, Value::NULL, 0)?.object();
        known.object = object;
        for (name, of) in [
            ("function", kind::NATIVE),
            ("array", kind::ARRAY),
            ("string", kind::BOXED),
            ("number", kind::BOXED),
            ("boolean", kind::BOXED),
        ] {
            let proto = mem.new_object_of(of, object, u32::from(of != kind::ARRAY))?;
            if of == kind::NATIVE {
                mem.heap.store(proto, 3, u64::from(crate::builtins::helpers::function_prototype_index()));
            }
            if of == kind::BOXED {
                let primitive = match name {
                    "string" => known.empty,
                    "number" => Value::ZERO,
                    _ => Value::FALSE,
                };
                mem.heap.set(proto, 4, primitive);
            }
            if let Some(slot) = known.proto_mut(name) {
                *slot = proto.object();
            }
        }
        let iterator = mem.new_object_of(kind::OBJECT, object, 0)?.object();
        known.iterator = iterator;
        for name in [
            "symbol",
            "bigint",
            "date",
            "map",
            "set",
            "promise",
            "regexp",
            "decimal",
            "query",
            "response",
            "bytes",
            "request",
            "http",
            "http_result",
            "array_iterator",
            "map_iterator",
            "set_iterator",
            "string_iterator",
            "iterator_helper",
            "wrap_iterator",
            "async_function",
            "regexp_iterator",
            "generator_function",
            "generator",
            "async_generator_function",
            "async_iterator",
            "async_generator",
        ] {
            let parent = match name {
                "async_generator" => known.async_iterator,
                "generator" | "array_iterator" | "map_iterator" | "set_iterator" | "string_iterator"
                | "iterator_helper" | "wrap_iterator" | "regexp_iterator" => iterator,
                "async_function" | "generator_function" | "async_generator_function" => known.function,
                _ => object,
            };
            let proto = mem.new_object_of(kind::OBJECT, parent, 0)?.object();
            if let Some(slot) = known.proto_mut(name) {
                *slot = proto;
            }
        }
        for error in ErrorKind::ALL {
            let parent = if error == ErrorKind::Error { object } else { known.errors[0] };
            let proto = mem.new_object_of(kind::OBJECT, parent, 0)?;
            let name = mem.intern(error.name().as_bytes())?;
            mem.local.known = known;
            mem.add_property(proto, known.name, name, attr::HIDDEN)?;
            mem.add_property(proto, known.message, known.empty, attr::HIDDEN)?;
            known.errors[error as usize] = proto.object();
        }
        mem.local.known = known;
        let function = known.function.as_ref();
        mem.add_property(function, known.length, Value::ZERO, attr::CONFIGURABLE)?;
        mem.add_property(function, known.name, known.empty, attr::CONFIGURABLE)?;
        Ok(())
    }

    /// The object that a table calls `on`; namespaces are made when first named.
    fn place(&mut self, mem: &mut Mem<'_>, on: &str) -> Result<Ref, Throw> {
        if let Some(field) = on.strip_prefix('(').and_then(|f| f.strip_suffix(')')) {
            let mut known = mem.local.known;
            if let Some(v) = known.proto_mut(field) {
                return Ok(v.as_ref());
            }
        }
        if let Some(v) = self.objects.get(on) {
            return Ok(v.as_ref());
        }
        let new = mem.new_object_of(kind::OBJECT, mem.local.known.object, 0)?;
        self.objects.insert(on.to_owned(), new.object());
        if !on.contains('.') && !on.starts_with('(') {
            self.globals.insert(on.to_owned(), new.object());
        }
        Ok(new)
    }

    fn key(mem: &mut Mem<'_>, name: &str) -> Result<Key, Throw> {
        if let Some(symbol) = name.strip_prefix("@@") {
            for (of, v) in mem.local.known.symbols() {
                if of == symbol {
                    return Ok(Key::Atom(v));
                }
            }
        }
        mem.key_of_text(name)
    }

    /// All natives; returns the object that the scripts get.
    fn natives(&mut self, mem: &mut Mem<'_>) -> Result<Value, Throw> {
        let helpers = mem.new_object_of(kind::OBJECT, mem.local.known.object, 0)?;
        let known = mem.local.known;
        for (name, v) in known.symbols() {
            let mut text = format!("sym{}", &name[..1].to_uppercase());
            text.push_str(&name[1..]);
            mem.define_text(helpers, &text, v)?;
        }
        mem.define_text(helpers, "doneMark", known.done_mark)?;
        for pass in 0..2 {
            for (index, native) in (0u32..).zip(natives()) {
                let constructor = matches!(native.kind, Kind::Constructor(_) | Kind::ErrorConstructor(_));
                if constructor != (pass == 0) {
                    continue;
                }
                let f = mem.new_native(index, constructor, Value::UNDEFINED)?;
                mem.make_lazy(f.as_ref())?;
                match native.kind {
                    Kind::Constructor(field) => {
                        let mut known = mem.local.known;
                        let proto = known.proto_mut(field).map_or(Value::NULL, |v| *v);
                        self.constructor(mem, native.name, f, proto)?;
                    }
                    Kind::ErrorConstructor(number) => {
                        let proto = mem.local.known.errors[usize::from(number)];
                        self.constructor(mem, native.name, f, proto)?;
                        if number > 0 {
                            let parent =
                                self.globals.get("Error").copied().unwrap_or(mem.local.known.function);
                            mem.heap.set(f.as_ref(), 1, parent);
                        }
                    }
                    Kind::Helper if native.name == crate::builtins::helpers::THROW_TYPE_ERROR => {
                        Self::throw_type_error(mem, f)?;
                    }
                    Kind::Helper => {
                        if !native.name.is_empty() {
                            mem.define_text(helpers, native.name, f)?;
                            self.natives.insert(("%".to_owned(), native.name.to_owned()), f);
                        }
                    }
                    Kind::Getter | Kind::Setter => {
                        let getter = native.kind == Kind::Getter;
                        self.accessor(mem, (native.on, native.name), f, getter)?;
                    }
                    Kind::Method if native.on.is_empty() => {
                        self.globals.insert(native.name.to_owned(), f);
                        self.natives.insert((String::new(), native.name.to_owned()), f);
                    }
                    Kind::Method => {
                        let place = self.place(mem, native.on)?;
                        let key = Self::key(mem, native.name)?;
                        let attrs = match native.name {
                            "@@toPrimitive" => attr::CONFIGURABLE,
                            "@@hasInstance" => 0,
                            _ => attr::HIDDEN,
                        };
                        mem.define_own(place, key, &Descriptor::data(f, attrs))?;
                        self.natives.insert((native.on.to_owned(), native.name.to_owned()), f);
                    }
                }
                if native.name.starts_with("@@") && native.kind == Kind::Method {
                    self.show_name(mem, f.as_ref(), "", native.name)?;
                }
            }
        }
        if let Some(values) = self.natives.get(&("Array.prototype".to_owned(), "values".to_owned())) {
            mem.local.known.array_values = *values;
        }
        if let Some(next) = self.natives.get(&("(generator)".to_owned(), "next".to_owned())) {
            mem.local.known.generator_next = *next;
        }
        Ok(helpers.object())
    }

    /// %ThrowTypeError%: nameless, frozen, and what `caller` and `arguments` of all functions are (ECMA-262 10.2.4).
    fn throw_type_error(mem: &mut Mem<'_>, f: Value) -> Result<(), Throw> {
        let known = mem.local.known;
        mem.define_own(f.as_ref(), Key::Atom(known.name), &Descriptor::data(known.empty, 0))?;
        mem.restrict(f.as_ref(), true, true)?;
        mem.local.known.throw_type_error = f;
        for name in ["caller", "arguments"] {
            let key = mem.key_of_text(name)?;
            let d = Descriptor {
                get: Some(f),
                set: Some(f),
                enumerable: Some(false),
                configurable: Some(true),
                ..Descriptor::default()
            };
            mem.define_own(known.function.as_ref(), key, &d)?;
        }
        Ok(())
    }

    fn constructor(&mut self, mem: &mut Mem<'_>, name: &str, f: Value, proto: Value) -> Result<(), Throw> {
        let known = mem.local.known;
        if proto.is_object() {
            mem.add_property(f.as_ref(), known.prototype, proto, 0)?;
            mem.add_property(proto.as_ref(), known.constructor, f, attr::HIDDEN)?;
            self.objects.insert(format!("{name}.prototype"), proto);
        }
        if matches!(name, "AsyncFunction" | "GeneratorFunction" | "AsyncGeneratorFunction") {
            // Not a global: reached through its prototype.
            if let Some(function) = self.globals.get("Function") {
                mem.heap.set(f.as_ref(), 1, *function);
            }
            let constructor = Descriptor::data(f, attr::CONFIGURABLE);
            mem.define_own(proto.as_ref(), Key::Atom(known.constructor), &constructor)?;
            let objects = match name {
                "GeneratorFunction" => known.generator,
                "AsyncGeneratorFunction" => known.async_generator,
                _ => return Ok(()),
            };
            // The prototype of such functions has what their `prototype`s inherit from.
            mem.define_own(
                proto.as_ref(),
                Key::Atom(known.prototype),
                &Descriptor::data(objects, attr::CONFIGURABLE),
            )?;
            let back = Descriptor::data(proto, attr::CONFIGURABLE);
            mem.define_own(objects.as_ref(), Key::Atom(known.constructor), &back)?;
            return Ok(());
        }
        if name == "Promise" {
            mem.local.known.promise_constructor = f;
        }
        self.objects.insert(name.to_owned(), f);
        self.globals.insert(name.to_owned(), f);
        self.natives.insert((String::new(), name.to_owned()), f);
        Ok(())
    }

    fn constants(&mut self, mem: &mut Mem<'_>) -> Result<(), Throw> {
        for (on, name, value) in CONSTANTS.iter().flat_map(|c| c.iter()) {
            let place = self.place(mem, on)?;
            let key = Self::key(mem, name)?;
            mem.define_own(place, key, &Descriptor::data(Value::number(*value), 0))?;
        }
        for (on, tag) in TAGS {
            let place = self.place(mem, on)?;
            let tag = mem.intern(tag.as_bytes())?;
            let key = Key::Atom(mem.local.known.sym_to_string_tag);
            mem.define_own(place, key, &Descriptor::data(tag, attr::CONFIGURABLE))?;
        }
        if let Some(symbol) = self.objects.get("Symbol").copied() {
            for (name, v) in mem.local.known.symbols() {
                let key = mem.key_of_text(name)?;
                mem.define_own(symbol.as_ref(), key, &Descriptor::data(v, 0))?;
            }
        }
        let list = mem.new_plain(Value::NULL, 32)?;
        for name in UNSCOPABLES {
            let key = mem.key_of_text(name)?;
            mem.define_own(list, key, &Descriptor::data(Value::TRUE, attr::DEFAULT))?;
        }
        let place = self.place(mem, "Array.prototype")?;
        let key = Key::Atom(mem.local.known.sym_unscopables);
        mem.define_own(place, key, &Descriptor::data(list.object(), attr::CONFIGURABLE))?;
        // Scripts run before all globals are there: give them what is.
        self.globals(mem)
    }

    /// Installs what a script file returned.
    fn scripts(&mut self, mem: &mut Mem<'_>, table: Ref) -> Result<(), Throw> {
        let mut keys = Vec::new();
        let all = Keys { strings: true, symbols: false, only_enumerable: true };
        mem.own_keys(table, all, &mut keys)?;
        for key in keys {
            let Own::Data(f, _) = mem.get_own(table, key)? else { continue };
            let text = mem.key_text(key)?;
            let (path, length) = match text.rsplit_once('/') {
                Some((path, n)) => (path.to_owned(), n.parse::<i32>().ok()),
                None => (text, None),
            };
            if let Some(name) = path.strip_prefix('%') {
                match Helper::ALL.iter().find(|(_, n)| *n == name) {
                    Some((helper, _)) => mem.local.known.helpers[*helper as usize] = f,
                    None if self.natives.contains_key(&("%".to_owned(), name.to_owned())) => {
                        self.own_value(mem, "%", name, f);
                    }
                    None => self.own_value(mem, "", name, f),
                }
                continue;
            }
            let half = path.strip_prefix("get ").map(|p| (p, true));
            if let Some((path, getter)) = half.or_else(|| path.strip_prefix("set ").map(|p| (p, false))) {
                let place = path.rsplit_once('.').unwrap_or(("", path));
                mem.make_lazy(f.as_ref())?;
                mem.heap.store(f.as_ref(), 0, mem.heap.header(f.as_ref()) & !flag::CONSTRUCTOR);
                self.accessor(mem, place, f, getter)?;
                continue;
            }
            let (on, name) = path.rsplit_once('.').unwrap_or(("", &path));
            if self.natives.contains_key(&(on.to_owned(), name.to_owned())) {
                self.own_value(mem, on, name, f);
                continue;
            }
            self.rename(mem, f.as_ref(), name, length)?;
            if on.is_empty() {
                self.globals.insert(name.to_owned(), f);
                continue;
            }
            let place = self.place(mem, on)?;
            let key = Self::key(mem, name)?;
            if name == "@@toPrimitive" {
                mem.define_own(place, key, &Descriptor::data(f, attr::CONFIGURABLE))?;
            } else {
                mem.define_own(place, key, &Descriptor::data(f, attr::HIDDEN))?;
            }
        }
        Ok(())
    }

    fn own_value(&mut self, mem: &mut Mem<'_>, on: &str, name: &str, f: Value) {
        if let Some(native) = self.natives.get(&(on.to_owned(), name.to_owned())) {
            mem.heap.set(native.as_ref(), 4, f);
        }
    }

    /// Gives a self-hosted function the `name` and `length` of its place.
    fn rename(&mut self, mem: &mut Mem<'_>, f: Ref, name: &str, length: Option<i32>) -> Result<(), Throw> {
        mem.make_lazy(f)?;
        self.show_name(mem, f, "", name)?;
        let known = mem.local.known;
        // Asynchronous ones too are functions like any built-in one.
        mem.heap.set(f, 1, known.function);
        if let Some(length) = length {
            let d = Descriptor::data(Value::int(length), attr::CONFIGURABLE);
            mem.define_own(f, Key::Atom(known.length), &d)?;
        }
        mem.heap.store(f, 0, mem.heap.header(f) & !flag::CONSTRUCTOR);
        Ok(())
    }

    /// Gives a function the `name` of its place: "[Symbol.iterator]", "get size".
    fn show_name(&self, mem: &mut Mem<'_>, f: Ref, prefix: &str, name: &str) -> Result<(), Throw> {
        let shown = match name.strip_prefix("@@") {
            Some(symbol) => format!("{prefix}[Symbol.{symbol}]"),
            None => format!("{prefix}{name}"),
        };
        let shown = mem.intern(shown.as_bytes())?;
        let key = Key::Atom(mem.local.known.name);
        mem.define_own(f, key, &Descriptor::data(shown, attr::CONFIGURABLE))
    }

    /// Installs one half of an accessor.
    fn accessor(
        &mut self,
        mem: &mut Mem<'_>,
        (on, name): (&str, &str),
        f: Value,
        getter: bool,
    ) -> Result<(), Throw> {
        let place = self.place(mem, on)?;
        let key = Self::key(mem, name)?;
        self.show_name(mem, f.as_ref(), if getter { "get " } else { "set " }, name)?;
        let d = Descriptor {
            get: getter.then_some(f),
            set: (!getter).then_some(f),
            enumerable: Some(false),
            configurable: Some(true),
            ..Descriptor::default()
        };
        mem.define_own(place, key, &d)?;
        if getter {
            self.natives.insert((on.to_owned(), name.to_owned()), f);
        }
        Ok(())
    }

    fn aliases(&mut self, mem: &mut Mem<'_>) -> Result<(), Throw> {
        for (on, name, of) in ALIASES {
            let place = self.place(mem, on)?;
            let source = Self::key(mem, of)?;
            let f = match mem.get_own(place, source)? {
                Own::Data(f, _) => f,
                _ => match self.globals.get(*of) {
                    Some(f) => *f,
                    None => continue,
                },
            };
            let key = Self::key(mem, name)?;
            mem.define_own(place, key, &Descriptor::data(f, attr::HIDDEN))?;
        }
        Ok(())
    }

    /// The numbered globals, and `globalThis`.
    fn globals(&mut self, mem: &mut Mem<'_>) -> Result<(), Throw> {
        self.globals.insert("NaN".to_owned(), Value::NAN);
        self.globals.insert("Infinity".to_owned(), Value::double(f64::INFINITY));
        let this = self.place(mem, "globalThis")?;
        mem.local.known.global_this = this.object();
        let undefined = Key::Atom(mem.local.known.undefined_);
        mem.define_own(this, undefined, &Descriptor::data(Value::UNDEFINED, 0))?;
        for global in Global::ALL {
            let Some(v) = self.globals.get(global.name()).copied() else { continue };
            mem.local.known.globals[*global as usize] = v;
            let key = mem.key_of_text(global.name())?;
            if mem.get_own(this, key)? == Own::None {
                let attrs = if v.is_object() { attr::HIDDEN } else { 0 };
                mem.define_own(this, key, &Descriptor::data(v, attrs))?;
            }
        }
        Ok(())
    }
}
