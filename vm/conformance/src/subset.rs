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

/// Whether a test makes code from text (`eval`, `Function` and its kin) on its way to what it is about: such tests are
/// part of the subset, and can't pass here, where code is compiled when it is deployed.
pub(crate) fn makes_code(source: &str) -> bool {
    let body = source.find("---*/").map_or(source, |end| &source[end + 5..]);
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let mut code = body.lines().map(|line| line.find("//").map_or(line, |comment| &line[..comment]));
    code.any(|line| {
        let mut rest = line;
        while let Some(start) = rest.find(is_name) {
            let behind = rest[start..].find(|c| !is_name(c)).map_or(rest.len(), |len| start + len);
            let name = &rest[start..behind];
            rest = &rest[behind..];
            if name == "eval" || (CODE_MAKERS.contains(&name) && rest.trim_start().starts_with('(')) {
                return true;
            }
        }
        false
    })
}

/// Constructors that take a function's text.
const CODE_MAKERS: &[&str] = &["Function", "GeneratorFunction", "AsyncFunction", "AsyncGeneratorFunction"];

#[cfg(test)]
mod tests {
    use super::makes_code;

    #[test]
    fn code_from_text_is_seen_in_code_only() {
        assert!(makes_code("/*---\n---*/ var x = eval('1');"));
        assert!(makes_code("new Function ('return 1')") && makes_code("[eval].map(f => f('1'))"));
        assert!(makes_code("var AsyncFunction = f.constructor; AsyncFunction('x')"));
        assert!(!makes_code("/*---\ninfo: eval(x)\n---*/ var evaluated = medieval(1); // eval(2)"));
        assert!(!makes_code("assert(f instanceof Function); isFunction(f);"));
    }
}
