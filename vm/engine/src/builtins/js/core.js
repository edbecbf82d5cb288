// What operators, loops and spread need of scripts: the interpreter calls these by
// itself. "%name" is a helper of the interpreter, invisible to scripts.
return function ({
  call, push, define, isEnumerable, ownKeys, doneMark, symIterator, symToPrimitive, symHasInstance, txEnter, txBegin, txRun, txEnd, txPause,
}) {
  const isObject = v => (typeof v === "object" && v !== null) || typeof v === "function";

  return {
    // ECMA-262 7.1.1
    "%toPrimitive"(object, hint) {
      const exotic = object[symToPrimitive];
      if (exotic !== undefined && exotic !== null) {
        if (typeof exotic !== "function") throw new TypeError("Symbol.toPrimitive is not a function");
        const result = call(exotic, object, hint);
        if (!isObject(result)) return result;
        throw new TypeError("Cannot convert object to primitive value");
      }
      const first = hint === "string" ? object.toString : object.valueOf;
      if (typeof first === "function") {
        const result = call(first, object);
        if (!isObject(result)) return result;
      }
      const second = hint === "string" ? object.valueOf : object.toString;
      if (typeof second === "function") {
        const result = call(second, object);
        if (!isObject(result)) return result;
      }
      throw new TypeError("Cannot convert object to primitive value");
    },

    "%getIterator"(iterable) {
      const method = iterable[symIterator];
      if (typeof method !== "function") throw new TypeError((typeof iterable) + " is not iterable");
      return call(method, iterable);
    },

    "%iteratorNext"(iterator, next) {
      const result = call(next, iterator);
      if (!isObject(result)) throw new TypeError("Iterator result is not an object");
      return result.done ? doneMark : result.value;
    },

    "%iteratorValue"(result) {
      return result.done ? doneMark : result.value;
    },

    "%iteratorClose"(iterator) {
      const method = iterator.return;
      if (method === undefined || method === null) return;
      const result = call(method, iterator);
      if (!isObject(result)) throw new TypeError("Iterator result is not an object");
    },

    "%spreadInto"(list, iterable) {
      for (const v of iterable) push(list, v);
    },

    // CopyDataProperties: each key is looked at when its turn comes.
    "%copyProperties"(target, source, ...excluded) {
      const keys = ownKeys(source);
      for (let i = 0; i < keys.length; i++) {
        const key = keys[i];
        let wanted = true;
        for (let k = 0; k < excluded.length; k++) wanted = wanted && excluded[k] !== key;
        if (wanted && isEnumerable(source, key)) define(target, key, source[key]);
      }
    },

    "%instanceOf"(value, type) {
      const method = type[symHasInstance];
      if (method !== undefined && method !== null) return call(method, type, value);
      if (typeof type !== "function") throw new TypeError("Right-hand side of 'instanceof' is not callable");
      const prototype = type.prototype;
      if (!isObject(value)) return false;
      if (!isObject(prototype)) throw new TypeError("Function has non-object prototype in instanceof check");
      let at = Object.getPrototypeOf(value);
      while (at !== null) {
        if (at === prototype) return true;
        at = Object.getPrototypeOf(at);
      }
      return false;
    },

    // Where `prototype` is an accessor.
    "Function.prototype.@@hasInstance/1"(value) {
      const prototype = this.prototype;
      if (!isObject(prototype)) throw new TypeError("Function has non-object prototype in instanceof check");
      for (let at = Object.getPrototypeOf(value); at !== null; at = Object.getPrototypeOf(at)) {
        if (at === prototype) return true;
      }
      return false;
    },

    "%kvIterate"(pairs, fn) {
      let count = 0;
      for (const pair of pairs) {
        fn(pair.key, pair.value);
        count++;
      }
      return count;
    },

    // On a fiber of its own, which is in the transaction; so are those that it starts.
    async "%tx"(fn, options) {
      const retry = options === undefined ? 0 : (options.retry ?? 0);
      if (typeof retry !== "number" || !(retry >= 0 && retry <= 10) || retry % 1 !== 0) {
        throw new RangeError("tx: retry is a whole number from 0 to 10");
      }
      const outer = txEnter();
      if (outer !== 0 && options !== undefined) {
        throw new TypeError("tx: inside a transaction it is a savepoint, and takes no options");
      }
      for (let attempt = 0; ; attempt++) {
        const id = txBegin(options);
        txEnter(id);
        try {
          const value = txRun(await fn());
          txEnd(id, true);
          return value;
        } catch (error) {
          txEnd(id, false);
          const code = error !== null && typeof error === "object" ? error.code : undefined;
          if (attempt >= retry || (code !== "40001" && code !== "40P01")) throw error;
        } finally {
          txEnter(outer);
        }
        // Those that collided must not meet again.
        txPause(2 ** attempt * (5 + 10 * Math.random()));
      }
    },
  };
};
