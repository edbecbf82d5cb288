//! Which tests count: strict-mode language and built-ins that a request handler can use.
//!
//! A test is left out for a directory on its path, a feature that it needs, or a flag.
//! The lists are the specification of the subset: changing one changes the yardstick.

use crate::metadata::Metadata;

/// Names of directories (one component of the path each).
const DIRECTORIES: &[&str] = &[
    // Not ECMA-262's own main body.
    "annexB",
    "intl402",
    "staging",
    "harness",
    // Built-ins that the engine doesn't have.
    "Temporal",
    "TypedArray",
    "TypedArrayConstructors",
    "Uint8Array",
    "ArrayBuffer",
    "SharedArrayBuffer",
    "DataView",
    "Atomics",
    "Proxy",
    "Reflect",
    "WeakMap",
    "WeakSet",
    "WeakRef",
    "FinalizationRegistry",
    "ShadowRealm",
    "DisposableStack",
    "AsyncDisposableStack",
    "Function",
    "BigInt",
    "GeneratorFunction",
    "GeneratorPrototype",
    "AsyncGeneratorFunction",
    "AsyncGeneratorPrototype",
    "AsyncFromSyncIteratorPrototype",
    // Code that is made at run time, sloppy mode, and modules in the suite's form.
    "eval-code",
    "module-code",
    "import",
    "export",
    "dynamic-import",
    "import.meta",
    "arguments-object",
    "global-code",
    "with",
    "generators",
    "for-await-of",
    "tagged-template",
    "using",
    "await-using",
];

/// Features (features.txt of the suite).
const FEATURES: &[&str] = &[
    "Temporal",
    "TypedArray",
    "Uint8Array",
    "uint8array-base64",
    "ArrayBuffer",
    "arraybuffer-transfer",
    "immutable-arraybuffer",
    "resizable-arraybuffer",
    "SharedArrayBuffer",
    "DataView",
    "Float16Array",
    "Atomics",
    "Atomics.waitAsync",
    "Atomics.pause",
    "Proxy",
    "proxy-missing-checks",
    "Reflect",
    "Reflect.construct",
    "Reflect.set",
    "Reflect.setPrototypeOf",
    "WeakMap",
    "WeakSet",
    "WeakRef",
    "symbols-as-weakmap-keys",
    "FinalizationRegistry",
    "ShadowRealm",
    "explicit-resource-management",
    "generators",
    "async-iteration",
    "BigInt",
    "cross-realm",
    "Symbol.species",
    "tail-call-optimization",
    "regexp-v-flag",
    "regexp-modifiers",
    "regexp-lookbehind",
    "regexp-unicode-property-escapes",
    "decorators",
    "top-level-await",
    "dynamic-import",
    "import.meta",
    "import-attributes",
    "import-defer",
    "import-text",
    "import-bytes",
    "json-modules",
    "source-phase-imports",
    "source-phase-imports-module-source",
    "IsHTMLDDA",
    "host-gc-required",
    "caller",
    "legacy-regexp",
    "hashbang",
    "class-fields-private-in-tagged",
    // Proposals.
    "canonical-tz",
    "Intl.Era-monthcode",
    "iterator-sequencing",
    "joint-iteration",
    "Math.sumPrecise",
    "upsert",
    "error-stack-accessor",
    "nonextensible-applies-to-private",
    "await-dictionary",
    "Iterator.zip",
    "iterator-chunking",
];

/// Flags of tests that the subset doesn't run.
const FLAGS: &[&str] = &["noStrict", "module", "raw", "CanBlockIsFalse", "CanBlockIsTrue"];

/// Why a test isn't part of the subset; `None`: it is.
pub(crate) fn left_out(path: &str, metadata: &Metadata) -> Option<String> {
    if let Some(name) = path.split('/').find(|part| DIRECTORIES.contains(part)) {
        return Some(format!("directory {name}"));
    }
    if let Some(name) = metadata.features.iter().find(|f| FEATURES.contains(&f.as_str())) {
        return Some(format!("feature {name}"));
    }
    let flag = metadata.flags.iter().find(|f| FLAGS.contains(&f.as_str()))?;
    Some(format!("flag {flag}"))
}
