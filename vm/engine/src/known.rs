//! Objects and names that the engine itself refers to.

use crate::value::Value;

macro_rules! known {
    (protos { $($proto:ident),* } names { $($name:ident $text:literal),* } symbols { $($symbol:ident $stext:literal),* }) => {
        /// Values in the intrinsics' space that the engine refers to. Copied, never looked up.
        #[derive(Clone, Copy)]
        pub(crate) struct Known {
            $(pub(crate) $proto: Value,)*
            $(pub(crate) $name: Value,)*
            $(pub(crate) $symbol: Value,)*
            /// Prototypes of the error constructors, by ErrorKind.
            pub(crate) errors: [Value; 8],
            /// One-character strings of ASCII.
            pub(crate) chars: [Value; 128],
            /// The language's globals, by number.
            pub(crate) globals: [Value; GLOBALS],
            /// What `%iteratorNext` answers at the end: a symbol that no script can have.
            pub(crate) done_mark: Value,
            /// Self-hosted functions that the interpreter calls, by `Helper`.
            pub(crate) helpers: [Value; HELPERS],
        }

        impl Default for Known {
            fn default() -> Self {
                Self {
                    $($proto: Value::NULL,)*
                    $($name: Value::UNDEFINED,)*
                    $($symbol: Value::UNDEFINED,)*
                    errors: [Value::NULL; 8],
                    chars: [Value::UNDEFINED; 128],
                    globals: [Value::UNDEFINED; GLOBALS],
                    done_mark: Value::EMPTY,
                    helpers: [Value::UNDEFINED; HELPERS],
                }
            }
        }

        impl Known {
            /// Makes the names with `intern`, the symbols with `symbol`.
            pub(crate) fn fill<E>(
                &mut self,
                mut intern: impl FnMut(&str) -> Result<Value, E>,
                mut symbol: impl FnMut(&str) -> Result<Value, E>,
            ) -> Result<(), E> {
                $(self.$name = intern($text)?;)*
                $(self.$symbol = symbol($stext)?;)*
                Ok(())
            }

            /// The prototype slot with this name: `"array"`.
            pub(crate) fn proto_mut(&mut self, name: &str) -> Option<&mut Value> {
                match name { $(stringify!($proto) => Some(&mut self.$proto),)* _ => None }
            }

            /// The prototypes with their names here.
            pub(crate) fn protos(&self) -> Vec<(&'static str, Value)> {
                vec![$((stringify!($proto), self.$proto)),*]
            }

            /// The symbols with their names below `Symbol`.
            pub(crate) fn symbols(&self) -> Vec<(&'static str, Value)> {
                vec![$(($stext, self.$symbol)),*]
            }
        }
    };
}

/// Room for every `forebay_bytecode::Global`.
pub(crate) const GLOBALS: usize = 64;
/// Room for every [`Helper`].
pub(crate) const HELPERS: usize = 32;

/// Self-hosted functions that the interpreter calls by itself; the name is that
/// of a module variable of `builtins/*.js`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Helper {
    /// `(object, hint) => primitive`
    ToPrimitive,
    /// `(object) => iterator`, calls `[Symbol.iterator]`.
    GetIterator,
    /// `(iterator, next) => value`, or the EMPTY marker at the end.
    IteratorNext,
    /// `(iterator)`: calls `return`.
    IteratorClose,
    /// `(array, iterable)`: appends.
    SpreadInto,
    /// `(target, source, ...excluded)`: copies own enumerable properties but those keys, getters called.
    CopyProperties,
    /// `(executor) => promise`
    NewPromise,
    /// `(value, constructor) => boolean`
    InstanceOf,
    /// `(pairs, fn) => count`: calls fn with each key and value of `kv.iterate`.
    KvIterate,
    /// `(promise, object)`: resolves with an object whose `then` is an accessor.
    ResolveByGetter,
    /// `then` of an object whose own is an accessor: `this` the object, resolve and reject.
    ThenByGetter,
    /// `(thenable, then, resolve, reject)`: the job that follows a thenable.
    CallThenable,
    /// `(date, first, most, time, ...parts)`: a setter of Date whose arguments are objects.
    DateSet,
    /// `array.length = object`, `this` the array.
    SetLength,
    /// `(error, options, errors, aggregate) => error`
    FinishError,
    /// `(fn, options) => promise`: `tx`.
    Tx,
    /// `(result) => value`, or the EMPTY marker: the parts of an iterator's result.
    IteratorValue,
    /// `(object) => async iterator`
    GetAsyncIterator,
    /// `(handler, request) => answer`: a durable task's handler.
    Durable,
    /// `() => {id, url, wait}`: `task.promise`.
    TaskPromise,
    /// `(fn)`: `task.defer`.
    TaskDefer,
    /// `(array, sorted, len) => array`: what `sort` does with an array that its comparator has changed.
    PutSorted,
}

impl Helper {
    pub(crate) const ALL: [(Helper, &'static str); 22] = [
        (Self::ToPrimitive, "toPrimitive"),
        (Self::GetIterator, "getIterator"),
        (Self::IteratorNext, "iteratorNext"),
        (Self::IteratorClose, "iteratorClose"),
        (Self::SpreadInto, "spreadInto"),
        (Self::CopyProperties, "copyProperties"),
        (Self::NewPromise, "newPromise"),
        (Self::InstanceOf, "instanceOf"),
        (Self::KvIterate, "kvIterate"),
        (Self::ResolveByGetter, "resolveByGetter"),
        (Self::ThenByGetter, "thenByGetter"),
        (Self::CallThenable, "callThenable"),
        (Self::DateSet, "dateSet"),
        (Self::SetLength, "setLength"),
        (Self::FinishError, "finishError"),
        (Self::Tx, "tx"),
        (Self::IteratorValue, "iteratorValue"),
        (Self::GetAsyncIterator, "getAsyncIterator"),
        (Self::Durable, "durable"),
        (Self::TaskPromise, "taskPromise"),
        (Self::TaskDefer, "taskDefer"),
        (Self::PutSorted, "putSorted"),
    ];
}

known! {
    protos {
        object, function, array, string, number, boolean, symbol, bigint, date, map, set, promise,
        regexp, decimal, query, response, bytes, request, http, http_result, iterator, array_iterator, map_iterator, set_iterator,
        string_iterator, async_function, global_this, iterator_helper, wrap_iterator, promise_constructor, regexp_iterator,
        array_values, throw_type_error, generator_function, generator, generator_next, async_generator_function,
        async_generator, async_iterator
    }
    names {
        empty "", length "length", name "name", prototype "prototype", constructor "constructor",
        message "message", stack "stack", cause "cause", errors_name "errors", code "code",
        value "value", done "done", next "next", return_ "return", then "then", get "get", set_ "set",
        writable "writable", enumerable "enumerable", configurable "configurable",
        to_string "toString", value_of "valueOf", to_json "toJSON", status "status", headers "headers",
        default "default", string_ "string", number_ "number", undefined_ "undefined", null_ "null",
        true_ "true", false_ "false", object_ "object", function_ "function", boolean_ "boolean",
        symbol_ "symbol", bigint_ "bigint", nan "NaN", infinity "Infinity", raw "raw", index "index",
        input "input", last_index "lastIndex", proto_ "__proto__", body "body", callee "callee",
        text_html "text/html; charset=utf-8"
    }
    symbols {
        sym_iterator "iterator", sym_async_iterator "asyncIterator", sym_has_instance "hasInstance",
        sym_to_primitive "toPrimitive", sym_to_string_tag "toStringTag", sym_species "species",
        sym_unscopables "unscopables", sym_is_concat_spreadable "isConcatSpreadable", sym_match "match",
        sym_match_all "matchAll", sym_replace "replace", sym_search "search", sym_split "split"
    }
}
