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
];

/// Properties that are the same function as another one: where, name, path of the other.
pub(crate) const ALIASES: &[(&str, &str, &str)] = &[
    ("Array.prototype", "@@iterator", "Array.prototype.values"),
    ("Map.prototype", "@@iterator", "Map.prototype.entries"),
    ("Set.prototype", "@@iterator", "Set.prototype.values"),
    ("Set.prototype", "keys", "Set.prototype.values"),
    ("Number", "parseFloat", "parseFloat"),
    ("Number", "parseInt", "parseInt"),
];
