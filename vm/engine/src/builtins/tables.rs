//! Properties of the intrinsics that are neither functions nor numbers.

/// `Symbol.toStringTag`s: where, text.
pub(crate) const TAGS: &[(&str, &str)] = &[
    ("Math", "Math"),
    ("JSON", "JSON"),
    ("Map.prototype", "Map"),
    ("Set.prototype", "Set"),
    ("Symbol.prototype", "Symbol"),
    ("Promise.prototype", "Promise"),
    ("BigInt.prototype", "BigInt"),
    ("Decimal.prototype", "Decimal"),
    ("(array_iterator)", "Array Iterator"),
    ("(map_iterator)", "Map Iterator"),
    ("(set_iterator)", "Set Iterator"),
    ("(string_iterator)", "String Iterator"),
    ("(regexp_iterator)", "RegExp String Iterator"),
    ("(iterator_helper)", "Iterator Helper"),
    ("(async_function)", "AsyncFunction"),
    ("(generator_function)", "GeneratorFunction"),
    ("(generator)", "Generator"),
    ("(async_generator_function)", "AsyncGeneratorFunction"),
    ("(async_generator)", "AsyncGenerator"),
];

/// Properties that are the same function as another one: where, name, name of the other (there, or a global).
pub(crate) const ALIASES: &[(&str, &str, &str)] = &[
    ("Array.prototype", "@@iterator", "values"),
    ("Map.prototype", "@@iterator", "entries"),
    ("Set.prototype", "@@iterator", "values"),
    ("Set.prototype", "keys", "values"),
    ("Number", "parseFloat", "parseFloat"),
    ("Number", "parseInt", "parseInt"),
];

/// `Array.prototype[Symbol.unscopables]`.
pub(crate) const UNSCOPABLES: &[&str] = &[
    "at",
    "copyWithin",
    "entries",
    "fill",
    "find",
    "findIndex",
    "findLast",
    "findLastIndex",
    "flat",
    "flatMap",
    "includes",
    "keys",
    "toReversed",
    "toSorted",
    "toSpliced",
    "values",
];
