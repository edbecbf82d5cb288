// Object: what may call accessors or iterate. ECMA-262 section 20.1.
return function ({
  call, createFrom, define, defineOwn, isArray, isEnumerable, objectToString, ownKeys, show, symToStringTag,
  toKey, toLength, toObject,
}) {

  const object = (v, what) => {
    if ((typeof v !== "object" || v === null) && typeof v !== "function") {
      throw new TypeError(what + show(v));
    }
    return v;
  };
  // ToPropertyDescriptor, then DefineOwnProperty.
  // Flags: 1 writable, 2 enumerable, 4 configurable; 8 has value; 16, 32, 64: the
  // first three were given; 128 has get; 256 has set.
  const describe = d => {
    object(d, "Property description must be an object: ");
    let flags = 0;
    let value;
    let get;
    let set;
    if ("enumerable" in d) flags |= d.enumerable ? 34 : 32;
    if ("configurable" in d) flags |= d.configurable ? 68 : 64;
    if ("value" in d) {
      flags |= 8;
      value = d.value;
    }
    if ("writable" in d) flags |= d.writable ? 17 : 16;
    if ("get" in d) {
      flags |= 128;
      get = d.get;
      if (get !== undefined && typeof get !== "function") {
        throw new TypeError("Getter must be a function: " + show(get));
      }
    }
    if ("set" in d) {
      flags |= 256;
      set = d.set;
      if (set !== undefined && typeof set !== "function") {
        throw new TypeError("Setter must be a function: " + show(set));
      }
    }
    if ((flags & 384) !== 0 && (flags & 24) !== 0) {
      throw new TypeError(
        "Invalid property descriptor. Cannot both specify accessors and a value or writable attribute",
      );
    }
    return { flags, value, get, set };
  };
  // ArraySetLength wants a value that is a length, and looks at it twice.
  const lengthOf = (o, key, d) => {
    if ((d.flags & 8) === 0 || key !== "length" || !isArray(o)) return;
    const n = d.value >>> 0;
    if (+d.value !== n) throw new RangeError("Invalid array length");
    d.value = n;
  };
  const defineAll = (o, props) => {
    const from = toObject(props);
    const keys = ownKeys(from);
    const list = [];
    for (let i = 0; i < keys.length; i++) {
      if (isEnumerable(from, keys[i])) define(list, list.length, { key: keys[i], d: describe(from[keys[i]]) });
    }
    for (let i = 0; i < list.length; i++) {
      const { key, d } = list[i];
      lengthOf(o, key, d);
      defineOwn(o, key, d.flags, d.value, d.get, d.set);
    }
    return o;
  };

  return {
    "Object.assign/2"(target, ...sources) {
      const to = toObject(target);
      for (let s = 0; s < sources.length; s++) {
        if (sources[s] === undefined || sources[s] === null) continue;
        const from = toObject(sources[s]);
        const keys = ownKeys(from);
        for (let i = 0; i < keys.length; i++) {
          if (isEnumerable(from, keys[i])) to[keys[i]] = from[keys[i]];
        }
      }
      return to;
    },
    "Object.create/2"(proto, props) {
      const o = createFrom(proto);
      return props === undefined ? o : defineAll(o, props);
    },
    "Object.defineProperty/3"(o, key, descriptor) {
      object(o, "Object.defineProperty called on non-object: ");
      const name = toKey(key);
      const d = describe(descriptor);
      lengthOf(o, name, d);
      defineOwn(o, name, d.flags, d.value, d.get, d.set);
      return o;
    },
    "Object.defineProperties/2"(o, props) {
      return defineAll(object(o, "Object.defineProperties called on non-object: "), props);
    },
    "Object.entries/1"(o) {
      const from = toObject(o);
      const keys = ownKeys(from);
      const a = [];
      for (let i = 0; i < keys.length; i++) {
        const key = keys[i];
        if (typeof key === "string" && isEnumerable(from, key)) define(a, a.length, [key, from[key]]);
      }
      return a;
    },
    "Object.values/1"(o) {
      const from = toObject(o);
      const keys = ownKeys(from);
      const a = [];
      for (let i = 0; i < keys.length; i++) {
        const key = keys[i];
        if (typeof key === "string" && isEnumerable(from, key)) define(a, a.length, from[key]);
      }
      return a;
    },
    "Object.fromEntries/1"(entries) {
      if (entries === undefined || entries === null) throw new TypeError(show(entries) + " is not iterable");
      const o = {};
      for (const entry of entries) {
        object(entry, "Iterator value is not an entry object: ");
        const key = entry[0];
        const value = entry[1];
        define(o, toKey(key), value);
      }
      return o;
    },
    "Object.groupBy/2"(items, callback) {
      if (items === undefined || items === null) throw new TypeError(show(items) + " is not iterable");
      if (typeof callback !== "function") throw new TypeError(show(callback) + " is not a function");
      const groups = createFrom(null);
      let k = 0;
      for (const item of items) {
        const key = toKey(callback(item, k++));
        const group = groups[key];
        if (group === undefined) groups[key] = [item];
        else define(group, group.length, item);
      }
      return groups;
    },
    // Where Symbol.toStringTag is an accessor.
    "Object.prototype.toString/0"() {
      const tag = this[symToStringTag];
      return typeof tag === "string" ? "[object " + tag + "]" : objectToString(this);
    },
    // Where the list has accessors.
    "Function.prototype.apply/2"(thisArg, list) {
      const args = [];
      const len = toLength(list.length);
      if (len > 65535) throw new RangeError("too many arguments");
      for (let i = 0; i < len; i++) define(args, i, list[i]);
      return call(this, thisArg, ...args);
    },
    "Object.prototype.__defineGetter__/2"(key, get) {
      const o = toObject(this);
      if (typeof get !== "function") throw new TypeError("Getter must be a function: " + show(get));
      defineOwn(o, toKey(key), 128 | 34 | 68, undefined, get, undefined);
    },
    "Object.prototype.__defineSetter__/2"(key, set) {
      const o = toObject(this);
      if (typeof set !== "function") throw new TypeError("Setter must be a function: " + show(set));
      defineOwn(o, toKey(key), 256 | 34 | 68, undefined, undefined, set);
    },
    "Object.prototype.toLocaleString/0"() {
      return this.toString();
    },
  };
};
