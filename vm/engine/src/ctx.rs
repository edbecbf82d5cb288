//! What runs a slice: the memory, the task, the host, and the running fiber's stack.
//! Natives get it as `&mut Ctx`; `interp.rs` and `call.rs` are its methods too.

use crate::api::{Clock, Host};
use crate::fiber::{Frame, TaskState};
use crate::mem::Mem;
use crate::object::Key;
use crate::parked::Parked;
use crate::throw::{Hint, Throw};
use crate::value::Value;
use std::ops::{Deref, DerefMut};

/// The machine while it runs one task.
pub(crate) struct Ctx<'a> {
    pub(crate) mem: Mem<'a>,
    pub(crate) task: &'a mut TaskState,
    pub(crate) host: &'a mut dyn Host,
    pub(crate) clock: Clock,
    /// The running fiber.
    pub(crate) current: u32,
    pub(crate) stack: Vec<Value>,
    /// Frames that run end below it: `stack.len()`, or less where generators are parked. Never more than `stack.len()`.
    pub(crate) stack_limit: usize,
    /// Generators whose registers stand on the stack above that, the lowest last.
    pub(crate) parked: Vec<Parked>,
    pub(crate) frames: Vec<Frame>,
    /// Fuel left in this slice.
    pub(crate) fuel: i64,
    /// The native that runs.
    pub(crate) callee: Value,
    /// State of a native that goes on after the end of a slice, else EMPTY.
    pub(crate) resumed: Value,
}

impl<'a> Deref for Ctx<'a> {
    type Target = Mem<'a>;
    #[inline(always)]
    fn deref(&self) -> &Mem<'a> {
        &self.mem
    }
}

impl DerefMut for Ctx<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.mem
    }
}

/// The arguments of a native: where they stand on the stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Args {
    /// Stack index of `this` (called by `new`: of `new.target`); the first argument follows.
    pub(crate) base: usize,
    /// How many were passed.
    pub(crate) count: usize,
    /// Called by `new`.
    pub(crate) construct: bool,
}

impl Ctx<'_> {
    /// `this`.
    #[inline]
    pub(crate) fn this(&self, a: Args) -> Value {
        self.stack[a.base]
    }

    /// Argument `i`, from 0; undefined if it was not passed.
    #[inline]
    pub(crate) fn arg(&self, a: Args, i: usize) -> Value {
        if i < a.count { self.stack[a.base + 1 + i] } else { Value::UNDEFINED }
    }

    /// The arguments.
    pub(crate) fn args(&self, a: Args) -> &[Value] {
        &self.stack[a.base + 1..a.base + 1 + a.count]
    }

    /// The prototype of what a native constructor makes: that of `new.target`, else `own`
    /// (GetPrototypeFromConstructor, ECMA-262 10.1.14).
    #[inline]
    pub(crate) fn new_proto(&mut self, a: Args, own: Value) -> Result<Value, Throw> {
        let target = self.stack[a.base];
        if !a.construct || target == self.callee {
            return Ok(own);
        }
        self.mem.prototype_from(target, own)
    }

    /// Gives what a native constructor has made the prototype of `new.target`.
    pub(crate) fn made(&mut self, a: Args, v: Value) -> Result<Value, Throw> {
        if a.construct && self.stack[a.base] != self.callee {
            let own = self.mem.proto_of(v.as_ref());
            let proto = self.new_proto(a, own)?;
            self.mem.heap.set(v.as_ref(), 1, proto);
        }
        Ok(v)
    }

    /// What String, Number and Boolean give: the primitive, or called by `new` an object around it.
    pub(crate) fn box_if_made(&mut self, a: Args, v: Value) -> Result<Value, Throw> {
        if !a.construct {
            return Ok(v);
        }
        let boxed = self.mem.boxed(v)?;
        self.made(a, boxed)
    }

    /// The value that the native was made with.
    pub(crate) fn own_value(&self) -> Value {
        self.mem.heap.get(self.callee.as_ref(), 4)
    }

    fn coerce(v: Value, i: usize, hint: Hint) -> Result<Value, Throw> {
        if v.is_object() { Err(Throw::Coerce(u32::try_from(i).unwrap_or(0), hint)) } else { Ok(v) }
    }

    /// Argument `i` as a flat string.
    #[inline]
    pub(crate) fn str_arg(&mut self, a: Args, i: usize) -> Result<Value, Throw> {
        let v = self.arg(a, i);
        if v.is_string() { self.mem.heap.flat(v) } else { self.str_of(v, i + 1) }
    }

    /// Argument `i - 1`, or 0 for `this`, which is no string yet, as one.
    #[inline(never)]
    fn str_of(&mut self, v: Value, i: usize) -> Result<Value, Throw> {
        let v = Self::coerce(v, i, Hint::String)?;
        let s = self.mem.to_string(v)?;
        self.mem.heap.flat(s)
    }

    /// `this` as a flat string; TypeError for undefined and null.
    #[inline]
    pub(crate) fn str_this(&mut self, a: Args) -> Result<Value, Throw> {
        let v = self.this(a);
        if v.is_string() {
            return self.mem.heap.flat(v);
        }
        if v.is_nullish() {
            return Err(Throw::type_error("String.prototype method called on null or undefined"));
        }
        self.str_of(v, 0)
    }

    /// Argument `i` as a number (ToNumber).
    pub(crate) fn num_arg(&mut self, a: Args, i: usize) -> Result<f64, Throw> {
        let v = self.arg(a, i);
        if let Some(n) = v.as_number() {
            return Ok(n);
        }
        let v = Self::coerce(v, i + 1, Hint::Number)?;
        self.mem.to_number_primitive(v)
    }

    /// Argument `i` as an integer (ToIntegerOrInfinity): NaN is 0.
    pub(crate) fn int_arg(&mut self, a: Args, i: usize) -> Result<f64, Throw> {
        let v = self.arg(a, i);
        if v.is_int() {
            return Ok(f64::from(v.as_int()));
        }
        if v.is_undefined() {
            return Ok(0.0);
        }
        let n = self.num_arg(a, i)?;
        Ok(if n.is_nan() { 0.0 } else { n.trunc() + 0.0 })
    }

    /// Argument `i` as a primitive.
    pub(crate) fn primitive_arg(&mut self, a: Args, i: usize, hint: Hint) -> Result<Value, Throw> {
        Self::coerce(self.arg(a, i), i + 1, hint)
    }

    /// Argument `i` as a property key.
    pub(crate) fn key_arg(&mut self, a: Args, i: usize) -> Result<Key, Throw> {
        let v = Self::coerce(self.arg(a, i), i + 1, Hint::String)?;
        self.mem.key(v)
    }

    /// Settles what natives have charged; whether the slice is over.
    pub(crate) fn slice_over(&mut self) -> bool {
        self.fuel -= std::mem::take(&mut self.mem.heap.work).cast_signed();
        self.fuel < 0
    }

    /// Interrupts the running native: `return Err(ctx.yields(state))`. When the task goes on it is called with the
    /// same arguments and finds the state, an array of its own, with [`Ctx::progress`].
    pub(crate) fn yields(&mut self, state: &[Value]) -> Throw {
        match self.mem.new_array_of(state) {
            Ok(list) => {
                self.resumed = list.object();
                Throw::Again
            }
            Err(throw) => throw,
        }
    }

    /// What the native that runs has left with [`Ctx::yields`]; none when it is called afresh.
    pub(crate) fn progress(&mut self) -> Option<Vec<Value>> {
        let state = std::mem::replace(&mut self.resumed, Value::EMPTY);
        if state.is_empty() {
            return None;
        }
        let list = state.as_ref();
        Some(
            (0..self.mem.array_len(list))
                .map(|i| self.mem.dense_element(list, i).unwrap_or_default())
                .collect(),
        )
    }

    /// Calls `callee` in place of the running native: `return ctx.tail_call(...)`.
    pub(crate) fn tail_call(&mut self, callee: Value, this: Value, args: &[Value]) -> Result<Value, Throw> {
        self.mem.local.tail.clear();
        self.mem.local.tail.push(callee);
        self.mem.local.tail.push(this);
        self.mem.local.tail.extend_from_slice(args);
        Err(Throw::TailCall)
    }
}
