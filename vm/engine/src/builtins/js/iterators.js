// Iterators: Iterator helpers (ECMA-262 section 27.1), and array-likes whose length or elements may be
// accessors. A helper object is native (`newHelper`) and holds a record of this file as its state:
// { at: START | WAITING | RUNNING | DONE, step, close }; `step` answers doneMark at the end.
return function ({
  call, define, doneMark, helperState, iteratorMove, iteratorParts, newHelper, newWrapper, show, sumNumbers,
  symIterator, symToStringTag, toInt, toLength, wrapped,
}) {
  const Builtin = Iterator;
  const home = Builtin.prototype;
  const has = Object.prototype.hasOwnProperty;
  const START = 0;
  const WAITING = 1;
  const RUNNING = 2;
  const DONE = 3;

  const isObject = v => (typeof v === "object" && v !== null) || typeof v === "function";
  const objectOnly = v => {
    if (!isObject(v)) throw new TypeError(show(v) + " is not an object");
    return v;
  };
  const method = (v, name) => {
    const f = v[name];
    if (f === undefined || f === null) return undefined;
    if (typeof f !== "function") throw new TypeError(show(f) + " is not a function");
    return f;
  };
  // GetIteratorDirect.
  const direct = it => ({ it, next: it.next });
  // IteratorStepValue.
  const step = r => {
    const result = call(r.next, r.it);
    if (!isObject(result)) throw new TypeError("Iterator result " + show(result) + " is not an object");
    return result.done ? doneMark : result.value;
  };
  // IteratorClose, after a normal end and after a throw.
  const close = it => {
    const f = method(it, "return");
    if (f === undefined) return;
    const result = call(f, it);
    if (!isObject(result)) throw new TypeError(show(result) + " is not an object");
  };
  const closeQuietly = it => {
    try {
      const f = it.return;
      if (f !== undefined && f !== null) call(f, it);
    } catch {}
  };
  const refuse = (it, error) => {
    closeQuietly(it);
    throw error;
  };
  const callbackOf = (it, f) => {
    if (typeof f !== "function") refuse(it, new TypeError(show(f) + " is not a function"));
  };
  const flattenable = (v, strings) => {
    if (!isObject(v) && !(strings && typeof v === "string")) throw new TypeError(show(v) + " is not an object");
    const f = method(v, symIterator);
    const it = f === undefined ? v : call(f, v);
    return direct(objectOnly(it));
  };
  const helper = (step, close) => newHelper({ at: START, step, close });
  // One call of user code: its exceptions close the iterator.
  const guarded = (it, f, a, b) => {
    try {
      return call(f, undefined, a, b);
    } catch (error) {
      closeQuietly(it);
      throw error;
    }
  };
  // The limit of take and drop.
  const limitOf = (it, limit) => {
    let n;
    try {
      n = +limit;
    } catch (error) {
      refuse(it, error);
    }
    if (n !== n) refuse(it, new RangeError(show(limit) + " must be positive"));
    n = toInt(n);
    if (n < 0 || (n > 9007199254740991 && n - n === 0)) refuse(it, new RangeError(show(limit) + " must be positive"));
    return n;
  };
  // SetterThatIgnoresPrototypeProperties.
  const setOwn = (o, key, v) => {
    if (objectOnly(o) === home) throw new TypeError("Cannot assign to a property of Iterator.prototype");
    if (call(has, o, key)) o[key] = v;
    else define(o, key, v);
  };
  const end = () => ({ value: undefined, done: true });

  return {
    "(array_iterator).next"() {
      const parts = iteratorParts(this);
      const o = parts[0];
      if (o === undefined) return end();
      const index = parts[1];
      const len = toLength(o.length);
      if (index >= len) {
        iteratorMove(this, undefined);
        return end();
      }
      iteratorMove(this, index + 1);
      if (parts[2] === 1) return { value: index, done: false };
      return { value: parts[2] === 0 ? o[index] : [index, o[index]], done: false };
    },

    // Accessors for the web's sake: a plain property would break iterators that set their own.
    "get (iterator).@@toStringTag"() {
      return "Iterator";
    },
    "set (iterator).@@toStringTag"(v) {
      setOwn(this, symToStringTag, v);
    },
    "get (iterator).constructor"() {
      return Builtin;
    },
    "set (iterator).constructor"(v) {
      setOwn(this, "constructor", v);
    },
    "Math.sumPrecise/1"(items) {
      if (items === undefined || items === null) throw new TypeError(show(items) + " is not iterable");
      const list = [];
      for (const item of items) {
        if (typeof item !== "number") throw new TypeError(show(item) + " is not a number");
        define(list, list.length, item);
      }
      return sumNumbers(list);
    },
    "Iterator.from/1"(o) {
      const r = flattenable(o, true);
      return newWrapper(r.it, r.next);
    },
    "Iterator.concat/0"(...items) {
      const open = [];
      for (let i = 0; i < items.length; i++) {
        const f = method(objectOnly(items[i]), symIterator);
        if (f === undefined) throw new TypeError(show(items[i]) + " is not iterable");
        define(open, i, { f, item: items[i] });
      }
      let at = 0;
      let r;
      return helper(
        () => {
          for (;;) {
            if (r === undefined) {
              if (at >= open.length) return doneMark;
              const { f, item } = open[at++];
              r = direct(objectOnly(call(f, item)));
            }
            const v = step(r);
            if (v !== doneMark) return v;
            r = undefined;
          }
        },
        () => {
          if (r !== undefined) close(r.it);
        },
      );
    },

    "(wrap_iterator).next"() {
      const r = wrapped(this);
      return call(r[1], r[0]);
    },
    "(wrap_iterator).return"() {
      const it = wrapped(this)[0];
      const f = method(it, "return");
      return f === undefined ? end() : call(f, it);
    },

    "(iterator_helper).next"() {
      const s = helperState(this);
      if (s.at === RUNNING) throw new TypeError("Iterator helper is already running");
      if (s.at === DONE) return end();
      s.at = RUNNING;
      let value;
      try {
        value = s.step();
      } catch (error) {
        s.at = DONE;
        throw error;
      }
      if (value === doneMark) {
        s.at = DONE;
        return end();
      }
      s.at = WAITING;
      return { value, done: false };
    },
    "(iterator_helper).return"() {
      const s = helperState(this);
      if (s.at === RUNNING) throw new TypeError("Iterator helper is already running");
      if (s.at === DONE) return end();
      const started = s.at === WAITING;
      s.at = started ? RUNNING : DONE;
      try {
        s.close(started);
      } finally {
        s.at = DONE;
      }
      return end();
    },

    "(iterator).map/1"(mapper) {
      callbackOf(objectOnly(this), mapper);
      const r = direct(this);
      let counter = 0;
      return helper(() => {
        const v = step(r);
        return v === doneMark ? v : guarded(r.it, mapper, v, counter++);
      }, () => close(r.it));
    },
    "(iterator).filter/1"(predicate) {
      callbackOf(objectOnly(this), predicate);
      const r = direct(this);
      let counter = 0;
      return helper(() => {
        for (;;) {
          const v = step(r);
          if (v === doneMark || guarded(r.it, predicate, v, counter++)) return v;
        }
      }, () => close(r.it));
    },
    "(iterator).take/1"(limit) {
      let left = limitOf(objectOnly(this), limit);
      const r = direct(this);
      return helper(() => {
        if (left === 0) {
          close(r.it);
          return doneMark;
        }
        left--;
        return step(r);
      }, () => close(r.it));
    },
    "(iterator).drop/1"(limit) {
      let left = limitOf(objectOnly(this), limit);
      const r = direct(this);
      return helper(() => {
        for (; left > 0; left--) if (step(r) === doneMark) return doneMark;
        return step(r);
      }, () => close(r.it));
    },
    "(iterator).flatMap/1"(mapper) {
      callbackOf(objectOnly(this), mapper);
      const r = direct(this);
      let counter = 0;
      let inner;
      return helper(
        () => {
          for (;;) {
            if (inner === undefined) {
              const v = step(r);
              if (v === doneMark) return v;
              try {
                inner = flattenable(call(mapper, undefined, v, counter++), false);
              } catch (error) {
                refuse(r.it, error);
              }
            }
            let v;
            try {
              v = step(inner);
            } catch (error) {
              refuse(r.it, error);
            }
            if (v !== doneMark) return v;
            inner = undefined;
          }
        },
        () => {
          if (inner !== undefined) {
            try {
              close(inner.it);
            } catch (error) {
              refuse(r.it, error);
            }
          }
          close(r.it);
        },
      );
    },
    "(iterator).reduce/1"(reducer, ...initial) {
      callbackOf(objectOnly(this), reducer);
      const r = direct(this);
      let counter = 0;
      let sum;
      if (initial.length > 0) {
        sum = initial[0];
      } else {
        sum = step(r);
        if (sum === doneMark) throw new TypeError("Reduce of a done iterator with no initial value");
        counter = 1;
      }
      for (;;) {
        const v = step(r);
        if (v === doneMark) return sum;
        try {
          sum = reducer(sum, v, counter++);
        } catch (error) {
          refuse(r.it, error);
        }
      }
    },
    "(iterator).toArray/0"() {
      const r = direct(objectOnly(this));
      const a = [];
      for (let i = 0; ; i++) {
        const v = step(r);
        if (v === doneMark) return a;
        define(a, i, v);
      }
    },
    "(iterator).forEach/1"(f) {
      callbackOf(objectOnly(this), f);
      const r = direct(this);
      for (let counter = 0; ; counter++) {
        const v = step(r);
        if (v === doneMark) return undefined;
        guarded(r.it, f, v, counter);
      }
    },
    "(iterator).some/1"(predicate) {
      callbackOf(objectOnly(this), predicate);
      const r = direct(this);
      for (let counter = 0; ; counter++) {
        const v = step(r);
        if (v === doneMark) return false;
        if (guarded(r.it, predicate, v, counter)) {
          close(r.it);
          return true;
        }
      }
    },
    "(iterator).every/1"(predicate) {
      callbackOf(objectOnly(this), predicate);
      const r = direct(this);
      for (let counter = 0; ; counter++) {
        const v = step(r);
        if (v === doneMark) return true;
        if (!guarded(r.it, predicate, v, counter)) {
          close(r.it);
          return false;
        }
      }
    },
    "(iterator).includes/1"(search, skip) {
      objectOnly(this);
      let left = 0;
      if (skip !== undefined) {
        if (typeof skip !== "number" || (skip - skip === 0 && skip % 1 !== 0) || skip !== skip) {
          refuse(this, new TypeError(show(skip) + " is not an integer"));
        }
        if (skip < 0 || (skip > 9007199254740991 && skip - skip === 0)) {
          refuse(this, new RangeError(show(skip) + " is out of range"));
        }
        left = skip;
      }
      const r = direct(this);
      for (;;) {
        const v = step(r);
        if (v === doneMark) return false;
        if (left > 0) left--;
        else if (v === search || (v !== v && search !== search)) {
          close(r.it);
          return true;
        }
      }
    },
    "(iterator).join/1"(separator) {
      objectOnly(this);
      let between = ",";
      if (separator !== undefined) {
        try {
          between = `${separator}`;
        } catch (error) {
          refuse(this, error);
        }
      }
      const r = direct(this);
      let text = "";
      for (let first = true; ; first = false) {
        const v = step(r);
        if (v === doneMark) return text;
        if (!first) text += between;
        if (v === undefined || v === null) continue;
        try {
          text += `${v}`;
        } catch (error) {
          refuse(r.it, error);
        }
      }
    },
    "(iterator).find/1"(predicate) {
      callbackOf(objectOnly(this), predicate);
      const r = direct(this);
      for (let counter = 0; ; counter++) {
        const v = step(r);
        if (v === doneMark) return undefined;
        if (guarded(r.it, predicate, v, counter)) {
          close(r.it);
          return v;
        }
      }
    },
  };
};
