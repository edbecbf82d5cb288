//! Names that the host gives: which there are, which are still to come, and what
//! to say about those of other platforms.

use forebay_bytecode::HostFn;

/// Namespaces of host functions: `kv`, `log` (which is callable, too).
pub(super) fn is_namespace(name: &str) -> bool {
    HostFn::ALL.iter().any(|f| f.path().split_once('.').is_some_and(|(space, _)| space == name))
}

/// Members of a namespace.
pub(super) fn members(namespace: &str) -> impl Iterator<Item = &'static str> {
    HostFn::ALL.iter().filter_map(move |f| {
        f.path().split_once('.').and_then(|(space, member)| (space == namespace).then_some(member))
    })
}

/// Names that a script can begin with.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    HostFn::ALL
        .iter()
        .map(|f| f.path().split_once('.').map_or(f.path(), |(space, _)| space))
        .filter(|name| !name.starts_with('%'))
}

/// What a request has.
pub(super) const REQUEST_MEMBERS: &[&str] =
    &["method", "path", "params", "query", "headers", "cookies", "ip", "text", "json"];

/// Host functions of the design that aren't built yet.
pub(super) fn not_built(name: &str) -> Option<&'static str> {
    Some(match name {
        "event" => "`event`",
        "crypto" => "`crypto`",
        "render" => "`render`",
        _ => return None,
    })
}

/// What to use instead of a name that other platforms have.
pub(super) fn known_absence(name: &str) -> Option<&'static str> {
    Some(match name {
        "console" => "write to the log with `log(...)`, `log.warn(...)` or `log.error(...)`",
        "require" | "module" | "exports" => "modules in lib/ are imported: `import { x } from \"lib/x.js\"`",
        "process" => "environment variables are read with `env(\"NAME\")`",
        "fetch" | "XMLHttpRequest" => "requests go out with `http().get(url)`",
        "setTimeout" | "setInterval" | "setImmediate" => "wait with `sleep(\"1s\")`",
        "queueMicrotask" => "use an async function",
        "arguments" => {
            "only functions have it, arrows that of the function around them: `function f(...args)` names what is passed"
        }
        "eval" => "code is compiled when it is deployed",
        "window" | "self" | "global" => "the global object is `globalThis`",
        "Proxy" | "Reflect" | "WeakMap" | "WeakSet" | "WeakRef" | "ArrayBuffer" | "Uint8Array" | "Intl"
        | "Temporal" | "Buffer" => "this engine doesn't have it",
        _ => return None,
    })
}
