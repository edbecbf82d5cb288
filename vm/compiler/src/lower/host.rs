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
        "setTimeout" | "setInterval" | "setImmediate" | "clearTimeout" | "clearInterval" => {
            "wait with `sleep(\"1s\")`"
        }
        "structuredClone" => {
            "plain data is copied with `JSON.parse(JSON.stringify(x))`, one level with `{ ...x }`"
        }
        "URL" | "URLSearchParams" => {
            "a request's query is `req.query`; `encodeURIComponent` and `decodeURIComponent` are there"
        }
        "Request" | "Response" | "Headers" | "FormData" => {
            "the request is `req`, an answer `response(body, { status, headers })`"
        }
        "TextEncoder" | "TextDecoder" | "btoa" | "atob" | "Blob" | "File" => {
            "this engine doesn't have it: texts are UTF-8 outside, bytes come from `bytea` columns and go to them"
        }
        "performance" => "`now()` and `Date.now()` are the clock",
        "localStorage" | "sessionStorage" => "keep it with `kv.set(key, value)`",
        "WebSocket" | "EventSource" => "this platform doesn't have it yet",
        "escape" => "use `encodeURIComponent`",
        "unescape" => "use `decodeURIComponent`",
        "Deno" | "Bun" | "__dirname" | "__filename" => {
            "this is a platform of its own: `forebay types` writes down what it has"
        }
        "document" | "alert" => "there is no page here",
        "queueMicrotask" => "use an async function",
        "arguments" => {
            "only functions have it, arrows that of the function around them: `function f(...args)` names what is passed"
        }
        "eval" => "code is compiled when it is deployed",
        "window" | "self" | "global" => "the global object is `globalThis`",
        "Intl" => {
            "numbers and dates are written as in en-US and UTC: `n.toLocaleString(\"en-US\", { maximumFractionDigits: 2 })`"
        }
        "Proxy"
        | "Reflect"
        | "WeakMap"
        | "WeakSet"
        | "WeakRef"
        | "FinalizationRegistry"
        | "ArrayBuffer"
        | "SharedArrayBuffer"
        | "DataView"
        | "Atomics"
        | "Int8Array"
        | "Uint8Array"
        | "Uint8ClampedArray"
        | "Int16Array"
        | "Uint16Array"
        | "Int32Array"
        | "Uint32Array"
        | "Float32Array"
        | "Float64Array"
        | "BigInt64Array"
        | "BigUint64Array"
        | "AbortController"
        | "AbortSignal"
        | "Temporal"
        | "Buffer" => "this engine doesn't have it",
        _ => return None,
    })
}
