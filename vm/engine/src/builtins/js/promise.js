// Promise, where it calls back. ECMA-262 27.2; without subclasses: `this` is always
// the built-in constructor.
return function ({ call, push, promiseNew, promiseFunctions }) {
  const all = (iterable, each) => {
    const promise = promiseNew();
    const [resolve, reject] = promiseFunctions(promise);
    try {
      each(iterable, resolve, reject);
    } catch (error) {
      reject(error);
    }
    return promise;
  };

  return {
    Promise(executor) {
      if (typeof executor !== "function") throw new TypeError("Promise resolver is not a function");
      const promise = promiseNew();
      const [resolve, reject] = promiseFunctions(promise);
      try {
        executor(resolve, reject);
      } catch (error) {
        reject(error);
      }
      return promise;
    },

    "Promise.all"(iterable) {
      return all(iterable, (iterable, resolve, reject) => {
        const values = [];
        let left = 1;
        let index = 0;
        for (const item of iterable) {
          const at = index++;
          push(values, undefined);
          left++;
          Promise.resolve(item).then(v => {
            values[at] = v;
            if (--left === 0) resolve(values);
          }, reject);
        }
        if (--left === 0) resolve(values);
      });
    },

    "Promise.allSettled"(iterable) {
      return all(iterable, (iterable, resolve) => {
        const values = [];
        let left = 1;
        let index = 0;
        for (const item of iterable) {
          const at = index++;
          push(values, undefined);
          left++;
          Promise.resolve(item).then(
            value => {
              values[at] = { status: "fulfilled", value };
              if (--left === 0) resolve(values);
            },
            reason => {
              values[at] = { status: "rejected", reason };
              if (--left === 0) resolve(values);
            },
          );
        }
        if (--left === 0) resolve(values);
      });
    },

    "Promise.race"(iterable) {
      return all(iterable, (iterable, resolve, reject) => {
        for (const item of iterable) Promise.resolve(item).then(resolve, reject);
      });
    },

    "Promise.any"(iterable) {
      return all(iterable, (iterable, resolve, reject) => {
        const errors = [];
        let left = 1;
        let index = 0;
        for (const item of iterable) {
          const at = index++;
          push(errors, undefined);
          left++;
          Promise.resolve(item).then(resolve, error => {
            errors[at] = error;
            if (--left === 0) reject(new AggregateError(errors, "All promises were rejected"));
          });
        }
        if (--left === 0) reject(new AggregateError(errors, "All promises were rejected"));
      });
    },

    "Promise.withResolvers"() {
      const promise = promiseNew();
      const [resolve, reject] = promiseFunctions(promise);
      return { promise, resolve, reject };
    },

    "Promise.try"(fn, ...args) {
      const promise = promiseNew();
      const [resolve, reject] = promiseFunctions(promise);
      try {
        resolve(fn(...args));
      } catch (error) {
        reject(error);
      }
      return promise;
    },

    "Promise.prototype.catch"(onRejected) {
      return this.then(undefined, onRejected);
    },

    "Promise.prototype.finally"(onFinally) {
      if (typeof onFinally !== "function") return this.then(onFinally, onFinally);
      return this.then(
        value => Promise.resolve(onFinally()).then(() => value),
        reason =>
          Promise.resolve(onFinally()).then(() => {
            throw reason;
          }),
      );
    },
  };
};
