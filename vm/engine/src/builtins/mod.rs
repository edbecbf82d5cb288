//! Built-in objects: tables of natives, and JavaScript for what calls back.
//!
//! | where | what |
//! |---|---|
//! | `*.rs` with `NATIVES` | functions that never call a script |
//! | `js/*.js` | functions that do; compiled at process start, so that they park like any script |
//! | `text num bignum date uri json` | the algorithms, without the engine where possible |
//!
//! A native says where it goes (`on`), so adding one is one line in its table. A function of
//! `js/` stands under the key of its place ("Array.prototype.map/1": the `length` after the slash).
//! Where both have one place, the native is installed and finds the other as its own value:
//! it takes the plain cases and passes the rest on (`ctx.tail_call(ctx.own_value(), ..)`).
//! What calls a function for each element is native for plain arrays, too: step by step (steps.rs).

#![allow(
    dead_code,
    unreachable_pub,
    reason = "the algorithms of the builtins are complete, their users come one by one"
)]

pub(crate) mod array;
pub(crate) mod bignum;
pub(crate) mod collections;
pub(crate) mod comparator;
pub(crate) mod core;
pub(crate) mod date;
pub(crate) mod dates;
pub(crate) mod decimal;
pub(crate) mod each;
pub(crate) mod flat;
pub(crate) mod helpers;
pub(crate) mod iterators;
pub(crate) mod json;
pub(crate) mod locale;
pub(crate) mod num;
pub(crate) mod numbers;
pub(crate) mod objects;
pub(crate) mod quick;
pub(crate) mod regexp;
pub(crate) mod sort;
pub(crate) mod strings;
pub(crate) mod tables;
pub(crate) mod text;
pub(crate) mod uri;

use crate::ctx::{Args, Ctx};
use crate::throw::Throw;
use crate::value::Value;
use std::sync::OnceLock;

/// A native. It never calls a script: see [`Throw`] for what it can ask for instead.
pub(crate) type NativeFn = fn(&mut Ctx<'_>, Args) -> Result<Value, Throw>;

/// What a native is and how it is installed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Method,
    /// A getter of this name.
    Getter,
    /// A setter of this name.
    Setter,
    /// A constructor; its prototype is this field of `Known`.
    Constructor(&'static str),
    /// A constructor of errors, by number of its [`crate::throw::ErrorKind`].
    ErrorConstructor(u8),
    /// Passed to the functions of `js/`, invisible to scripts.
    Helper,
}

/// A row of a table of natives.
#[derive(Clone, Copy)]
pub(crate) struct Native {
    /// "Array.prototype", "Math", "" (global), "(query)" (a field of `Known`).
    pub(crate) on: &'static str,
    /// "@@iterator" is the symbol.
    pub(crate) name: &'static str,
    pub(crate) length: u8,
    pub(crate) call: NativeFn,
    pub(crate) kind: Kind,
}

/// All tables.
const GROUPS: &[&[Native]] = &[
    core::NATIVES,
    helpers::NATIVES,
    array::NATIVES,
    each::NATIVES,
    sort::NATIVES,
    collections::NATIVES,
    dates::NATIVES,
    decimal::NATIVES,
    iterators::NATIVES,
    json::NATIVES,
    numbers::NATIVES,
    objects::NATIVES,
    regexp::NATIVES,
    strings::NATIVES,
    crate::query::STEPS,
    crate::query::VERBS,
    crate::query::NATIVES,
    crate::tasks::NATIVES,
    crate::namespace::NATIVES,
];

/// Numbers that are properties: on, name, value.
pub(crate) const CONSTANTS: &[&[(&str, &str, f64)]] = &[numbers::CONSTANTS];

pub(crate) use tables::{ALIASES, TAGS, UNSCOPABLES};

/// Files of `js/`: name and text.
pub(crate) const SCRIPTS: &[(&str, &str)] = &[
    ("core.js", include_str!("js/core.js")),
    ("promise.js", include_str!("js/promise.js")),
    ("array.js", include_str!("js/array.js")),
    ("collections.js", include_str!("js/collections.js")),
    ("date.js", include_str!("js/date.js")),
    ("errors.js", include_str!("js/errors.js")),
    ("iterators.js", include_str!("js/iterators.js")),
    ("json.js", include_str!("js/json.js")),
    ("object.js", include_str!("js/object.js")),
    ("query.js", include_str!("js/query.js")),
    ("regexp.js", include_str!("js/regexp.js")),
    ("string.js", include_str!("js/string.js")),
    ("values.js", include_str!("js/values.js")),
    ("tasks.js", include_str!("js/tasks.js")),
];

/// All natives; a function object holds an index into them.
pub(crate) fn natives() -> &'static [Native] {
    static ALL: OnceLock<Vec<Native>> = OnceLock::new();
    ALL.get_or_init(|| GROUPS.concat())
}

/// Index of a native by its name and function.
pub(crate) fn native_index(name: &str, call: NativeFn) -> u32 {
    let at = natives().iter().position(|n| n.name == name && std::ptr::fn_addr_eq(n.call, call));
    u32::try_from(at.unwrap_or(0)).unwrap_or(0)
}
