//! Natives that mostly need nothing of a call.
//!
//! `text.includes("<")`, `list.push(x)` or `Math.floor(x)` are a few instructions; a call costs more than that: the arguments' place
//! on the stack, room for what the native may push, a result that may be an error. These natives have a second form, which
//! gets `this` and the first argument as values and answers a value, or EMPTY: then nothing has happened, and the native
//! itself is called. It is found by the native's number, so a script that puts a function of its own in its place calls that.

use super::{array, natives, numbers, strings};
use crate::ctx::Ctx;
use crate::value::Value;
use std::sync::OnceLock;

/// `this` and the argument, EMPTY if there is none. It neither throws nor touches the stack.
pub(crate) type Quick = fn(&mut Ctx<'_>, Value, Value) -> Value;

const QUICK: &[(&str, &str, Quick)] = &[
    ("Array.prototype", "push", array::quick_push),
    ("Math", "abs", |_, _, v| numbers::quick_unary(v, f64::abs)),
    ("Math", "ceil", |_, _, v| numbers::quick_unary(v, f64::ceil)),
    ("Math", "floor", |_, _, v| numbers::quick_floor(v)),
    ("Math", "random", |ctx, _, _| numbers::next_random(ctx)),
    ("Math", "sqrt", |_, _, v| numbers::quick_unary(v, f64::sqrt)),
    ("String.prototype", "charCodeAt", strings::quick_char_code),
    ("String.prototype", "includes", strings::quick_includes),
    ("String.prototype", "indexOf", strings::quick_index_of),
    ("String.prototype", "startsWith", strings::quick_starts_with),
];

/// By the native's number.
pub(crate) fn table() -> &'static [Option<Quick>] {
    static TABLE: OnceLock<Vec<Option<Quick>>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let find =
            |(on, name)| QUICK.iter().find(|quick| (quick.0, quick.1) == (on, name)).map(|quick| quick.2);
        natives().iter().map(|native| find((native.on, native.name))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_a_native() {
        assert_eq!(table().iter().flatten().count(), QUICK.len());
    }
}
