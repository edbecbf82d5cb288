// Promise, where it calls back or `this` may be another constructor. ECMA-262 section 27.2.
// Natives take the plain cases of resolve, reject and then.
return function ({
  call, define, isConstructor, symAsyncIterator, symIterator, isPromise, promiseAdopt, promiseFunctions, promiseNew, promiseReject,
  promiseSettle, promiseThen, show, speciesOf, symSpecies,
}) {
  const P = Promise;
  const Aggregate = AggregateError;

  const isObject = v => (typeof v === "object" && v !== null) || typeof v === "function";
  const callable = f => {
    if (typeof f !== "function") throw new TypeError(show(f) + " is not a function");
  };
  // NewPromiseCapability.
  const capability = C => {
    if (C === P) {
      const promise = promiseNew();
      const functions = promiseFunctions(promise);
      return { promise, resolve: functions[0], reject: functions[1] };
    }
    if (!isConstructor(C)) throw new TypeError(show(C) + " is not a constructor");
    let resolve;
    let reject;
    const promise = new C((a, b) => {
      if (resolve !== undefined || reject !== undefined) {
        throw new TypeError("Promise executor has already been invoked with non-undefined arguments");
      }
      resolve = a;
      reject = b;
    });
    callable(resolve);
    callable(reject);
    return { promise, resolve, reject };
  };
  const promiseResolve = (C, v) => {
    if (isPromise(v) && v.constructor === C) return v;
    const cap = capability(C);
    call(cap.resolve, undefined, v);
    return cap.promise;
  };
  // %AsyncFromSyncIterator% (ECMA-262 27.1.6): only loops and `yield*` ever see one.
  const rejected = error => {
    const promise = promiseNew();
    promiseReject(promise, error);
    return promise;
  };
  const fulfilled = v => {
    const promise = promiseNew();
    call(promiseFunctions(promise)[0], undefined, v);
    return promise;
  };
  const closeQuietly = it => {
    try {
      const f = it.return;
      if (f !== undefined && f !== null) call(f, it);
    } catch {}
  };
  const closeSync = it => {
    const f = it.return;
    if (f === undefined || f === null) return;
    if (!isObject(call(f, it))) throw new TypeError("Iterator result is not an object");
  };
  const asyncFromSync = (it, next) => {
    // AsyncFromSyncIteratorContinuation.
    const go = (result, closes) => {
      let done;
      let value;
      try {
        if (!isObject(result)) throw new TypeError("Iterator result is not an object");
        done = !!result.done;
        value = result.value;
      } catch (error) {
        return rejected(error);
      }
      let wrapper;
      try {
        wrapper = promiseResolve(P, value);
      } catch (error) {
        if (!done && closes) closeQuietly(it);
        return rejected(error);
      }
      const promise = promiseNew();
      const failed = error => {
        closeQuietly(it);
        throw error;
      };
      promiseThen(wrapper, v => ({ value: v, done }), done || !closes ? undefined : failed, promise);
      return promise;
    };
    return {
      next(...args) {
        let result;
        try {
          result = call(next, it, ...args);
        } catch (error) {
          return rejected(error);
        }
        return go(result, true);
      },
      return(...args) {
        let result;
        try {
          const f = it.return;
          if (f === undefined || f === null) return fulfilled({ value: args[0], done: true });
          result = call(f, it, ...args);
        } catch (error) {
          return rejected(error);
        }
        return go(result, false);
      },
      throw(...args) {
        let result;
        try {
          const f = it.throw;
          if (f === undefined || f === null) {
            closeSync(it);
            throw new TypeError("The iterator does not provide a 'throw' method");
          }
          result = call(f, it, ...args);
        } catch (error) {
          return rejected(error);
        }
        return go(result, true);
      },
    };
  };

  // What the combinators share: errors reject, `each` gets the capability and C.resolve.
  const combine = (C, each) => {
    const cap = capability(C);
    try {
      const resolve = C.resolve;
      callable(resolve);
      each(cap, resolve);
    } catch (error) {
      call(cap.reject, undefined, error);
    }
    return cap.promise;
  };

  return {
    Promise(promise, executor) {
      const functions = promiseFunctions(promise);
      try {
        executor(functions[0], functions[1]);
      } catch (error) {
        call(functions[1], undefined, error);
      }
      return promise;
    },

    "Promise.resolve"(v) {
      if (!isObject(this)) throw new TypeError("PromiseResolve called on non-object");
      return promiseResolve(this, v);
    },

    "Promise.reject"(reason) {
      const cap = capability(this);
      call(cap.reject, undefined, reason);
      return cap.promise;
    },

    "Promise.all"(iterable) {
      return combine(this, (cap, promiseResolve) => {
        const values = [];
        let left = 1;
        let index = 0;
        for (const item of iterable) {
          const at = index++;
          define(values, at, undefined);
          const next = call(promiseResolve, this, item);
          let called = false;
          left++;
          next.then(v => {
            if (called) return undefined;
            called = true;
            define(values, at, v);
            return --left === 0 ? call(cap.resolve, undefined, values) : undefined;
          }, cap.reject);
        }
        if (--left === 0) call(cap.resolve, undefined, values);
      });
    },

    "Promise.allSettled"(iterable) {
      return combine(this, (cap, promiseResolve) => {
        const values = [];
        let left = 1;
        let index = 0;
        for (const item of iterable) {
          const at = index++;
          define(values, at, undefined);
          const next = call(promiseResolve, this, item);
          let called = false;
          left++;
          next.then(
            value => {
              if (called) return undefined;
              called = true;
              define(values, at, { status: "fulfilled", value });
              return --left === 0 ? call(cap.resolve, undefined, values) : undefined;
            },
            reason => {
              if (called) return undefined;
              called = true;
              define(values, at, { status: "rejected", reason });
              return --left === 0 ? call(cap.resolve, undefined, values) : undefined;
            },
          );
        }
        if (--left === 0) call(cap.resolve, undefined, values);
      });
    },

    "Promise.race"(iterable) {
      return combine(this, (cap, promiseResolve) => {
        for (const item of iterable) call(promiseResolve, this, item).then(cap.resolve, cap.reject);
      });
    },

    "Promise.any"(iterable) {
      return combine(this, (cap, promiseResolve) => {
        const errors = [];
        let left = 1;
        let index = 0;
        for (const item of iterable) {
          const at = index++;
          define(errors, at, undefined);
          const next = call(promiseResolve, this, item);
          let called = false;
          left++;
          next.then(cap.resolve, error => {
            if (called) return undefined;
            called = true;
            define(errors, at, error);
            if (--left > 0) return undefined;
            return call(cap.reject, undefined, new Aggregate(errors, "All promises were rejected"));
          });
        }
        if (--left === 0) {
          call(cap.reject, undefined, new Aggregate(errors, "All promises were rejected"));
        }
      });
    },

    "Promise.withResolvers"() {
      return capability(this);
    },

    "Promise.try/1"(fn, ...args) {
      if (!isObject(this)) throw new TypeError("Promise.try called on non-object");
      const cap = capability(this);
      let result;
      try {
        result = call(fn, undefined, ...args);
      } catch (error) {
        call(cap.reject, undefined, error);
        return cap.promise;
      }
      call(cap.resolve, undefined, result);
      return cap.promise;
    },

    "Promise.prototype.then"(onFulfilled, onRejected) {
      if (!isPromise(this)) throw new TypeError("Promise.prototype.then called on a value that is no promise");
      const C = speciesOf(this, P);
      if (C === P) {
        const promise = promiseNew();
        promiseThen(this, onFulfilled, onRejected, promise);
        return promise;
      }
      const cap = capability(C);
      const settle = (handler, v) => {
        let result;
        try {
          result = call(handler, undefined, v);
        } catch (error) {
          call(cap.reject, undefined, error);
          return;
        }
        call(cap.resolve, undefined, result);
      };
      promiseThen(
        this,
        v => {
          if (typeof onFulfilled === "function") settle(onFulfilled, v);
          else call(cap.resolve, undefined, v);
        },
        v => {
          if (typeof onRejected === "function") settle(onRejected, v);
          else call(cap.reject, undefined, v);
        },
        undefined,
      );
      return cap.promise;
    },

    "Promise.prototype.catch"(onRejected) {
      return this.then(undefined, onRejected);
    },

    "Promise.prototype.finally"(onFinally) {
      if (!isObject(this)) throw new TypeError("Promise.prototype.finally called on a non-object");
      const C = speciesOf(this, P);
      if (typeof onFinally !== "function") return this.then(onFinally, onFinally);
      return this.then(
        value => promiseResolve(C, call(onFinally)).then(() => value),
        reason =>
          promiseResolve(C, call(onFinally)).then(() => {
            throw reason;
          }),
      );
    },

    // SpeciesConstructor, where `constructor` isn't the built-in one.
    "%speciesOf"(o, fallback) {
      const C = o.constructor;
      if (C === undefined) return fallback;
      if (!isObject(C)) throw new TypeError("The .constructor property is not an object");
      const S = C[symSpecies];
      if (S === undefined || S === null) return fallback;
      if (!isConstructor(S)) throw new TypeError("object.constructor[Symbol.species] is not a constructor");
      return S;
    },

    // GetIterator, async.
    "%getAsyncIterator"(iterable) {
      const method = iterable[symAsyncIterator];
      if (method !== undefined && method !== null) return call(method, iterable);
      const sync = iterable[symIterator];
      if (typeof sync !== "function") throw new TypeError((typeof iterable) + " is not async iterable");
      const it = call(sync, iterable);
      if (!isObject(it)) throw new TypeError("Result of the Symbol.iterator method is not an object");
      return asyncFromSync(it, it.next);
    },

    "%callThenable"(thenable, then, resolve, reject) {
      try {
        call(then, thenable, resolve, reject);
      } catch (error) {
        call(reject, undefined, error);
      }
    },

    "%thenByGetter"(resolve, reject) {
      const then = this.then;
      if (typeof then === "function") call(then, this, resolve, reject);
      else promiseSettle(resolve, this);
    },

    // The resolve function's steps where `then` is an accessor.
    "%resolveByGetter"(promise, value) {
      let then;
      try {
        then = value.then;
      } catch (error) {
        promiseReject(promise, error);
        return;
      }
      promiseAdopt(promise, value, then);
    },
  };
};
