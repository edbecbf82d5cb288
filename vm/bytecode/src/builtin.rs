//! Names that a script can use without declaring them: the language's globals and
//! the host functions. Numbers are for ever (saved bytecode carries them): append only.
//!
//! The compiler resolves these names at build time; an unknown one is a build
//! error with "did you mean". The engine gives each number its meaning.

macro_rules! globals {
    ($($num:literal $name:ident $text:literal;)*) => {
        /// A global of the language: `LoadGlobal` puts its value into a register.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u16)]
        pub enum Global { $(#[doc = $text] $name = $num),* }

        impl Global {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Global] = &[$(Global::$name),*];
            /// The name in the script.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Global::$name => $text),* }
            }
            /// The global with this number.
            #[must_use]
            pub const fn from_u32(number: u32) -> Option<Global> {
                match number { $($num => Some(Global::$name),)* _ => None }
            }
            /// The global with this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Global> {
                Self::ALL.iter().copied().find(|g| g.name() == name)
            }
        }
    };
}

globals! {
    0 Object "Object";
    1 Array "Array";
    2 String "String";
    3 Number "Number";
    4 Boolean "Boolean";
    5 Math "Math";
    6 Json "JSON";
    7 Map "Map";
    8 Set "Set";
    9 Date "Date";
    10 Promise "Promise";
    11 Symbol "Symbol";
    12 Error "Error";
    13 TypeError "TypeError";
    14 RangeError "RangeError";
    15 SyntaxError "SyntaxError";
    16 ReferenceError "ReferenceError";
    17 UriError "URIError";
    18 EvalError "EvalError";
    19 AggregateError "AggregateError";
    20 ParseInt "parseInt";
    21 ParseFloat "parseFloat";
    22 IsNaN "isNaN";
    23 IsFinite "isFinite";
    24 EncodeUriComponent "encodeURIComponent";
    25 DecodeUriComponent "decodeURIComponent";
    26 EncodeUri "encodeURI";
    27 DecodeUri "decodeURI";
    28 NaN "NaN";
    29 Infinity "Infinity";
    30 GlobalThis "globalThis";
    31 BigInt "BigInt";
    32 Function "Function";
    33 RegExp "RegExp";
    34 Decimal "Decimal";
    35 Iterator "Iterator";
}

/// How a host function is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostKind {
    /// At once, inside the engine.
    Immediate,
    /// The fiber parks; the worker carries the effect out and resumes it.
    Effect,
}

macro_rules! host_functions {
    ($($num:literal $name:ident $path:literal $kind:ident ($min:literal, $max:literal) $signature:literal $doc:literal;)*) => {
        /// A host function. `HostCall` carries its number.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u16)]
        pub enum HostFn { $(#[doc = $doc] $name = $num),* }

        impl HostFn {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [HostFn] = &[$(HostFn::$name),*];
            /// How a script names it: `log.warn`, `kv.get`, `payload`. Names
            /// that start with `%` can't be written in a script: the compiler
            /// makes these calls.
            #[must_use]
            pub const fn path(self) -> &'static str {
                match self { $(HostFn::$name => $path),* }
            }
            /// At once, or by parking.
            #[must_use]
            pub const fn kind(self) -> HostKind {
                match self { $(HostFn::$name => HostKind::$kind),* }
            }
            /// Fewest and most arguments; more than most is a build error.
            #[must_use]
            pub const fn arity(self) -> (u8, u8) {
                match self { $(HostFn::$name => ($min, $max)),* }
            }
            /// Its TypeScript signature.
            #[must_use]
            pub const fn signature(self) -> &'static str {
                match self { $(HostFn::$name => $signature),* }
            }
            /// One line for people.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $(HostFn::$name => $doc),* }
            }
            /// The function with this number.
            #[must_use]
            pub const fn from_u16(number: u16) -> Option<HostFn> {
                match number { $($num => Some(HostFn::$name),)* _ => None }
            }
            /// The function that a script names so.
            #[must_use]
            pub fn from_path(path: &str) -> Option<HostFn> {
                Self::ALL.iter().copied().find(|f| f.path() == path)
            }
        }
    };
}

host_functions! {
    0 Payload "payload" Immediate (0, 0) "payload(): any" "JSON or form body; the query on GET and HEAD; {} if absent; malformed is answered 400, another type 415";
    1 Req "req" Immediate (0, 0) "req: Request" "the request: method, path, params, query, headers, cookies, ip, text(), json(); a value, not a call";
    2 Log "log" Immediate (0, 254) "log(...values: any[]): void" "writes a line of level info to the log";
    3 LogWarn "log.warn" Immediate (0, 254) "warn(...values: any[]): void" "writes a line of level warn to the log";
    4 LogError "log.error" Immediate (0, 254) "error(...values: any[]): void" "writes a line of level error to the log";
    5 Now "now" Immediate (0, 0) "now(): Date" "the wall clock, with microseconds";
    6 Env "env" Immediate (1, 2) "env(name: string, fallback?: string): string | undefined" "an environment variable that the configuration allows";
    7 Uuid "uuid" Immediate (0, 0) "uuid(): string" "a random UUID, version 4";
    8 Sleep "sleep" Effect (1, 1) "sleep(time: number | string): void" "waits: milliseconds, or text such as '30s'";
    9 Response "response" Immediate (0, 2) "response(body?: any, options?: {status?: number, headers?: Record<string, string>}): Response" "a response with status and headers";
    10 Html "html" Immediate (1, 1) "html(text: string): Response" "a text/html response";
    11 Db "db" Immediate (0, 1) "db<N extends string = never>(name?: N): DatabaseOf<N>" "starts a query: db().table('user')";
    12 DbWhereLambda "%where" Immediate (2, 254) "" "query, predicate (data), captured values: where(u => ...) compiled at build time";
    13 Http "http" Immediate (0, 0) "http(): Http" "outbound requests: http().get(url)";
    14 KvGet "kv.get" Effect (1, 1) "get(key: string): any" "the value, or undefined";
    15 KvSet "kv.set" Effect (2, 3) "set(key: string, value: any, options?: {ttl?: number | string, sync?: boolean}): void" "stores a value; returns when it is on disk";
    16 KvDel "kv.del" Effect (1, 1) "del(key: string): boolean" "removes a key; true if it was there";
    17 KvExists "kv.exists" Effect (1, 1) "exists(key: string): boolean" "whether the key is there";
    18 KvSnx "kv.snx" Effect (2, 3) "snx(key: string, value: any, options?: {ttl?: number | string}): boolean" "sets if absent; true if it did";
    19 KvCas "kv.cas" Effect (3, 3) "cas(key: string, expected: any, value: any): boolean" "sets if the value is the expected one (undefined: absent); true if it did";
    20 KvIncr "kv.incr" Effect (1, 2) "incr(key: string, by?: number): number" "adds to an integer, absent counts as 0; the new value";
    21 KvIterate "kv.iterate" Effect (4, 4) "iterate(prefix: string, offset: number, limit: number, fn: (key: string, value: any) => void): number" "calls fn for each key with the prefix, in order; how many";
    22 KvScan "kv.scan" Effect (1, 2) "scan(prefix: string, options?: {limit?: number, after?: string}): {key: string, value: any}[]" "a page of the keys with the prefix, in order";
    23 KvBatch "kv.batch" Effect (1, 1) "batch(ops: ({set: string, value: any} | {del: string})[]): void" "all or nothing";
    24 HttpRequest "%http" Effect (4, 4) "" "method, url, body, options: what http().get and its siblings become";
    25 Query "%query" Effect (1, 1) "" "a query object to carry out";
    26 Tx "tx" Effect (1, 2) "tx<T>(fn: () => T, options?: {isolation?: 'read committed' | 'repeatable read' | 'serializable', readOnly?: boolean, retry?: number, database?: string, set?: Record<string, string>}): T" "runs fn in a transaction: COMMIT when it returns, ROLLBACK when it throws; nested, a savepoint";
    27 TxBegin "%txBegin" Effect (1, 1) "" "options: begins a transaction or savepoint; its number";
    28 TxEnd "%txEnd" Effect (2, 2) "" "number, whether to commit";
    29 CopyIn "%copyIn" Effect (2, 3) "" "query, rows or text, options: what db().table().copy() becomes; how many rows";
    30 CopyOut "%copyOut" Effect (1, 2) "" "query, options: rows as arrays, or text";
    31 CursorOpen "%cursorOpen" Effect (1, 1) "" "query: its cursor's number";
    32 CursorFetch "%cursorFetch" Effect (3, 3) "" "query, number, how many: the next rows";
    33 CursorClose "%cursorClose" Effect (1, 1) "" "number";
    34 Cover "%cover" Immediate (0, 0) "" "the statement at this place runs: for the coverage of tests";
    35 TaskId "task.id" Effect (0, 0) "id: string | undefined" "the id of the durable task that runs, undefined elsewhere; a value, not a call";
    36 TaskWait "task.wait" Effect (1, 2) "wait(name: string, options?: {timeout?: Duration}): any" "in a durable task: the value of the next signal of this name; undefined when the time is over";
    37 TaskSignal "task.signal" Effect (2, 3) "signal(id: string | {id: string}, name: string, value?: any): void" "sends a signal to a durable task; kept until it waits for it";
    38 TaskPromise "task.promise" Immediate (0, 0) "promise(): TaskPromise" "in a durable task: a promise that a POST to its url fulfills";
    39 TaskPromiseMake "%promiseMake" Effect (0, 0) "" "a new promise of a durable task: its token";
    40 TaskPromiseWait "%promiseWait" Effect (1, 2) "" "token, options: what a promise was fulfilled with";
    41 TaskStart "task.start" Effect (1, 3) "start(work: string, payload?: any, options?: {id?: string}): {id: string}" "starts a durable task of this work, once";
    42 TaskJoin "task.join" Effect (1, 2) "join(task: string | {id: string}, options?: {timeout?: Duration}): any" "in a durable task: waits until another is over; its result, or throws its error";
    43 TaskCancel "task.cancel" Effect (1, 1) "cancel(task: string | {id: string}): void" "asks a durable task to end: TaskCancelled is thrown where it waits";
    44 TaskDefer "task.defer" Immediate (1, 1) "defer(fn: () => void): void" "in a durable task: fn runs if the task fails or is cancelled, last registered first";
    45 TaskDeferWait "%deferWait" Effect (0, 0) "" "waits until its compensation is to run";
    46 TaskDeferDone "%deferDone" Effect (0, 2) "" "a compensation is over; name and message if it threw";
    47 TaskFailed "%taskFailed" Effect (2, 2) "" "name and message of what a durable handler threw: answered when its compensations are over";
    48 TaskDeferKept "%deferKept" Effect (0, 0) "" "waits until the compensation that was registered just now is on disk";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_names_unique() {
        for (number, f) in HostFn::ALL.iter().enumerate() {
            assert_eq!(*f as usize, number);
            assert_eq!(HostFn::from_path(f.path()), Some(*f));
            assert!(f.arity().0 <= f.arity().1);
        }
        for (number, g) in Global::ALL.iter().enumerate() {
            assert_eq!(*g as usize, number);
            assert_eq!(Global::from_name(g.name()), Some(*g));
        }
    }
}
