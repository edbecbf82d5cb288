// Array, self-hosted: what calls back into the script, and the general case of
// everything else (array-likes, holes, accessors), where `this` may be any object.
// Natives take the plain cases and leave the rest to these.
//
// A key says where a function goes, and its `length` where the parameters don't.
// ECMA-262 section 23.1; the order of observable steps follows it.
return function ({
  arrayFor, call, define, freshArray, isArray, isConstructor, newArray, objectToString, plainIterable, show,
  sortByKeys, symAsyncIterator, symIsConcatSpreadable, symIterator, symSpecies, toInt, toLength, toObject,
}) {
  const isObject = v => (typeof v === "object" && v !== null) || typeof v === "function";
  const Builtin = Array;
  const MAX = 9007199254740991;

  const methodOf = (v, name) => {
    const f = v[name];
    if (f === undefined || f === null) return undefined;
    callable(f);
    return f;
  };
  const closeQuietly = it => {
    try {
      const f = it.return;
      if (f !== undefined && f !== null) call(f, it);
    } catch {}
  };

  const callable = f => {
    if (typeof f !== "function") throw new TypeError(show(f) + " is not a function");
  };
  // A relative index, clamped to 0..len.
  const relative = (value, len) => {
    const n = toInt(value);
    if (n < 0) return n + len < 0 ? 0 : n + len;
    return n > len ? len : n;
  };
  const endOf = (value, len) => (value === undefined ? len : relative(value, len));
  const sameValueZero = (a, b) => a === b || (a !== a && b !== b);

  // Stable merge sort of natural runs, short ones filled up by binary insertion
  // (as TimSort does; below 64 elements it compares what V8 compares). The number of
  // steps is bounded whatever the comparator says: a lying one only misorders.
  const mergeSort = (list, compare) => {
    const n = list.length;
    if (n < 2) return list;
    let size = n;
    let odd = 0;
    while (size >= 64) {
      odd |= size & 1;
      size >>= 1;
    }
    const least = size + odd;
    let ends = [];
    for (let low = 0; low < n; ) {
      let end = low + 1;
      if (end < n) {
        const descending = +compare(list[end], list[low]) < 0;
        end++;
        while (end < n && +compare(list[end], list[end - 1]) < 0 === descending) end++;
        if (descending) {
          for (let i = low, j = end - 1; i < j; i++, j--) {
            const x = list[i];
            list[i] = list[j];
            list[j] = x;
          }
        }
      }
      const full = low + least < n ? low + least : n;
      for (; end < full; end++) {
        const x = list[end];
        let left = low;
        let right = end;
        while (left < right) {
          const middle = left + ((right - left) >> 1);
          if (+compare(x, list[middle]) < 0) right = middle;
          else left = middle + 1;
        }
        for (let j = end; j > left; j--) list[j] = list[j - 1];
        list[left] = x;
      }
      ends[ends.length] = end;
      low = end;
    }
    let from = list;
    let to = ends.length > 1 ? newArray(n) : list;
    while (ends.length > 1) {
      const merged = [];
      let start = 0;
      for (let run = 0; run < ends.length; run += 2) {
        const middle = ends[run];
        const end = run + 1 < ends.length ? ends[run + 1] : middle;
        let left = start;
        let right = middle;
        let at = start;
        // Runs in order need one comparison.
        if (right < end && +compare(from[right], from[middle - 1]) < 0) {
          while (left < middle && right < end) {
            if (+compare(from[right], from[left]) < 0) to[at++] = from[right++];
            else to[at++] = from[left++];
          }
        }
        while (left < middle) to[at++] = from[left++];
        while (right < end) to[at++] = from[right++];
        merged[merged.length] = end;
        start = end;
      }
      ends = merged;
      const swap = from;
      from = to;
      to = swap;
    }
    return from;
  };
  // Values that are not undefined, sorted.
  const sorted = (list, compare) => {
    if (compare !== undefined) return mergeSort(list, compare);
    const keys = newArray(list.length);
    for (let i = 0; i < list.length; i++) define(keys, i, `${list[i]}`);
    return sortByKeys(list, keys);
  };
  const comparator = compare => {
    if (compare !== undefined && typeof compare !== "function") {
      throw new TypeError("The comparison function must be either a function or undefined");
    }
  };
  const spreadable = e => {
    if (!isObject(e)) return false;
    const v = e[symIsConcatSpreadable];
    return v === undefined ? isArray(e) : !!v;
  };
  const flatten = (target, start, source, len, depth, mapper, thisArg) => {
    let at = start;
    for (let k = 0; k < len; k++) {
      let v = source[k];
      if (v === undefined && !(k in source)) continue;
      if (mapper !== undefined) v = call(mapper, thisArg, v, k, source);
      if (depth > 0 && isArray(v)) {
        at = flatten(target, at, v, toLength(v.length), depth - 1, undefined, undefined);
      } else {
        if (at >= MAX) throw new TypeError("Array is too long");
        define(target, at++, v);
      }
    }
    return at;
  };

  return {
    // The end of a native sort whose comparator has changed the array.
    "%putSorted"(o, list, len) {
      let k = 0;
      for (; k < list.length; k++) o[k] = list[k];
      for (; k < len; k++) if (k in o) delete o[k];
      return o;
    },
    "Array.from/1"(items, mapper, thisArg) {
      if (mapper !== undefined) callable(mapper);
      if (items === undefined || items === null) throw new TypeError(show(items) + " is not iterable");
      const using = methodOf(items, symIterator);
      if (using !== undefined) {
        const a = isConstructor(this) && this !== Builtin ? new this() : [];
        let k = 0;
        if (plainIterable(items)) {
          for (const item of items) {
            define(a, k, mapper === undefined ? item : call(mapper, thisArg, item, k));
            k++;
          }
          a.length = k;
          return a;
        }
        const it = call(using, items);
        if (!isObject(it)) throw new TypeError(show(it) + " is not an object");
        const next = it.next;
        for (; ; k++) {
          const result = call(next, it);
          if (!isObject(result)) throw new TypeError("Iterator result " + show(result) + " is not an object");
          if (result.done) {
            a.length = k;
            return a;
          }
          const item = result.value;
          try {
            define(a, k, mapper === undefined ? item : call(mapper, thisArg, item, k));
          } catch (error) {
            closeQuietly(it);
            throw error;
          }
        }
      }
      const source = toObject(items);
      const len = toLength(source.length);
      const a = isConstructor(this) && this !== Builtin ? new this(len) : newArray(len);
      for (let k = 0; k < len; k++) {
        define(a, k, mapper === undefined ? source[k] : call(mapper, thisArg, source[k], k));
      }
      a.length = len;
      return a;
    },
    async "Array.fromAsync/1"(items, mapper, thisArg) {
      if (mapper !== undefined) callable(mapper);
      let using = methodOf(items, symAsyncIterator);
      const waits = using !== undefined;
      if (!waits) using = methodOf(items, symIterator);
      if (using === undefined) {
        const source = toObject(items);
        const len = toLength(source.length);
        const a = isConstructor(this) ? new this(len) : newArray(len);
        for (let k = 0; k < len; k++) {
          let v = await source[k];
          if (mapper !== undefined) v = await call(mapper, thisArg, v, k);
          define(a, k, v);
        }
        a.length = len;
        return a;
      }
      const a = isConstructor(this) ? new this() : [];
      const it = call(using, items);
      if (!isObject(it)) throw new TypeError(show(it) + " is not an object");
      const next = it.next;
      for (let k = 0; ; k++) {
        let result = call(next, it);
        if (waits) result = await result;
        if (!isObject(result)) throw new TypeError("Iterator result " + show(result) + " is not an object");
        const done = result.done;
        let v = done && waits ? undefined : result.value;
        if (!waits) {
          try {
            v = await v;
          } catch (error) {
            if (!done) closeQuietly(it);
            throw error;
          }
        }
        if (done) {
          a.length = k;
          return a;
        }
        try {
          if (mapper !== undefined) v = await call(mapper, thisArg, v, k);
          define(a, k, v);
        } catch (error) {
          try {
            const f = it.return;
            if (f !== undefined && f !== null) {
              const closed = call(f, it);
              if (waits) await closed;
            }
          } catch {}
          throw error;
        }
      }
    },
    "Array.of/0"(...items) {
      if (!isConstructor(this) || this === Builtin) return items;
      const a = new this(items.length);
      for (let k = 0; k < items.length; k++) define(a, k, items[k]);
      a.length = items.length;
      return a;
    },
    // ArraySpeciesCreate, where `constructor` isn't the built-in one.
    "%arrayFor"(o, len) {
      let C = o.constructor;
      if (isObject(C)) {
        C = C[symSpecies];
        if (C === null) C = undefined;
      }
      if (C === undefined) return newArray(len);
      if (!isConstructor(C)) throw new TypeError("object.constructor[Symbol.species] is not a constructor");
      return new C(len);
    },
    // `array.length = value`, where the value is an object: ArraySetLength.
    "%setLength"(value) {
      const n = value >>> 0;
      if (+value !== n) throw new RangeError("Invalid array length");
      this.length = n;
    },

    "Array.prototype.at"(index) {
      const o = toObject(this);
      const len = toLength(o.length);
      const n = toInt(index);
      const k = n < 0 ? n + len : n;
      return k < 0 || k >= len ? undefined : o[k];
    },
    "Array.prototype.concat/1"(...items) {
      const o = toObject(this);
      const a = arrayFor(o, 0);
      let n = 0;
      for (let i = -1; i < items.length; i++) {
        const e = i < 0 ? o : items[i];
        if (spreadable(e)) {
          const len = toLength(e.length);
          if (n + len > MAX) throw new TypeError("Array is too long");
          for (let k = 0; k < len; k++) {
            const v = e[k];
            if (v !== undefined || k in e) define(a, n + k, v);
          }
          n += len;
        } else {
          if (n >= MAX) throw new TypeError("Array is too long");
          define(a, n++, e);
        }
      }
      a.length = n;
      return a;
    },
    "Array.prototype.copyWithin/2"(target, start, end) {
      const o = toObject(this);
      const len = toLength(o.length);
      let to = relative(target, len);
      let from = relative(start, len);
      const final = endOf(end, len);
      let count = final - from < len - to ? final - from : len - to;
      let step = 1;
      if (from < to && to < from + count) {
        step = -1;
        from += count - 1;
        to += count - 1;
      }
      for (; count > 0; count--, from += step, to += step) {
        if (from in o) o[to] = o[from];
        else delete o[to];
      }
      return o;
    },
    "Array.prototype.every/1"(callback, thisArg) {
      const o = toObject(this);
      const len = toLength(o.length);
      callable(callback);
      for (let k = 0; k < len; k++) {
        const v = o[k];
        if (v === undefined && !(k in o)) continue;
        if (!(thisArg === undefined ? callback(v, k, o) : call(callback, thisArg, v, k, o))) return false;
      }
      return true;
    },
    "Array.prototype.fill/1"(value, start, end) {
      const o = toObject(this);
      const len = toLength(o.length);
      const from = relative(start, len);
      const to = endOf(end, len);
      for (let k = from; k < to; k++) o[k] = value;
      return o;
    },
    "Array.prototype.filter/1"(callback, thisArg) {
      const o = toObject(this);
      const len = toLength(o.length);
      callable(callback);
      let a = freshArray(o, 0);
      let to = 0;
      if (a === undefined) {
        a = arrayFor(o, 0);
        for (let k = 0; k < len; k++) {
          if (!(k in o)) continue;
          const v = o[k];
          if (call(callback, thisArg, v, k, o)) define(a, to++, v);
        }
        return a;
      }
      for (let k = 0; k < len; k++) {
        const v = o[k];
        if (v === undefined && !(k in o)) continue;
        if (thisArg === undefined ? callback(v, k, o) : call(callback, thisArg, v, k, o)) a[to++] = v;
      }
      return a;
    },
    "Array.prototype.find/1"(callback, thisArg) {
      const o = toObject(this);
      const len = toLength(o.length);
      callable(callback);
      for (let k = 0; k < len; k++) {
        const v = o[k];
        if (thisArg === undefined ? callback(v, k, o) : call(callback, thisArg, v, k, o)) return v;
      }
      return undefined;
    },
    "Array.prototype.findIndex/1"(callback, thisArg) {
      const o = toObject(this);
      const len = toLength(o.length);
      callable(callback);
      for (let k = 0; k < len; k++) {
        if (thisArg === undefined ? callback(o[k], k, o) : call(callback, thisArg, o[k], k, o)) return k;
      }
      return -1;
    },
    "Array.prototype.findLast/1"(callback, thisArg) {
      const o = toObject(this);
      const len = toLength(o.length);
      callable(callback);
      for (let k = len - 1; k >= 0; k--) {
        const v = o[k];
        if (call(callback, thisArg, v, k, o)) return v;
      }
      return undefined;
    },
    "Array.prototype.findLastIndex/1"(callback, thisArg) {
      const o = toObject(this);
      const len = toLength(o.length);
      callable(callback);
      for (let k = len - 1; k >= 0; k--) {
        if (call(callback, thisArg, o[k], k, o)) return k;
      }
      return -1;
    },
    "Array.prototype.flat/0"(depth) {
      const o = toObject(this);
      const len = toLength(o.length);
      const levels = depth === undefined ? 1 : toInt(depth);
      const a = arrayFor(o, 0);
      flatten(a, 0, o, len, levels, undefined, undefined);
      return a;
    },
    "Array.prototype.flatMap/1"(callback, thisArg) {
      const o = toObject(this);
      const len = toLength(o.length);
      callable(callback);
      const a = arrayFor(o, 0);
      flatten(a, 0, o, len, 1, callback, thisArg);
      return a;
    },
    "Array.prototype.forEach/1"(callback, thisArg) {
      const o = toObject(this);
      const len = toLength(o.length);
      callable(callback);
      for (let k = 0; k < len; k++) {
        const v = o[k];
        if (v === undefined && !(k in o)) continue;
        if (thisArg === undefined) callback(v, k, o);
        else call(callback, thisArg, v, k, o);
      }
    },
    "Array.prototype.includes/1"(search, from) {
      const o = toObject(this);
      const len = toLength(o.length);
      if (len === 0) return false;
      for (let k = relative(from, len); k < len; k++) {
        if (sameValueZero(o[k], search)) return true;
      }
      return false;
    },
    "Array.prototype.indexOf/1"(search, from) {
      const o = toObject(this);
      const len = toLength(o.length);
      if (len === 0) return -1;
      for (let k = relative(from, len); k < len; k++) {
        if (o[k] === search && k in o) return k;
      }
      return -1;
    },
    "Array.prototype.join"(separator) {
      const o = toObject(this);
      const len = toLength(o.length);
      const between = separator === undefined ? "," : `${separator}`;
      let text = "";
      for (let k = 0; k < len; k++) {
        if (k > 0) text += between;
        const v = o[k];
        // An array within itself is nothing, as in every engine; larger circles overflow the stack.
        if (v !== undefined && v !== null) text += v === o ? "" : `${v}`;
      }
      return text;
    },
    "Array.prototype.lastIndexOf/1"(search, ...from) {
      const o = toObject(this);
      const len = toLength(o.length);
      if (len === 0) return -1;
      const n = from.length > 0 ? toInt(from[0]) : len - 1;
      for (let k = n < 0 ? len + n : n < len - 1 ? n : len - 1; k >= 0; k--) {
        if (o[k] === search && k in o) return k;
      }
      return -1;
    },
    "Array.prototype.map/1"(callback, thisArg) {
      const o = toObject(this);
      const len = toLength(o.length);
      callable(callback);
      let a = freshArray(o, len);
      if (a === undefined) {
        a = arrayFor(o, len);
        for (let k = 0; k < len; k++) if (k in o) define(a, k, call(callback, thisArg, o[k], k, o));
        return a;
      }
      for (let k = 0; k < len; k++) {
        const v = o[k];
        if (v === undefined && !(k in o)) continue;
        a[k] = thisArg === undefined ? callback(v, k, o) : call(callback, thisArg, v, k, o);
      }
      a.length = len;
      return a;
    },
    "Array.prototype.pop"() {
      const o = toObject(this);
      const len = toLength(o.length);
      if (len === 0) {
        o.length = 0;
        return undefined;
      }
      const v = o[len - 1];
      delete o[len - 1];
      o.length = len - 1;
      return v;
    },
    "Array.prototype.push/1"(...items) {
      const o = toObject(this);
      let len = toLength(o.length);
      if (len + items.length > MAX) throw new TypeError("Array is too long");
      for (let i = 0; i < items.length; i++) o[len++] = items[i];
      o.length = len;
      return len;
    },
    "Array.prototype.reduce/1"(callback, ...initial) {
      const o = toObject(this);
      const len = toLength(o.length);
      callable(callback);
      let k = 0;
      let sum;
      if (initial.length > 0) {
        sum = initial[0];
      } else {
        while (k < len && !(k in o)) k++;
        if (k >= len) throw new TypeError("Reduce of empty array with no initial value");
        sum = o[k++];
      }
      for (; k < len; k++) {
        const v = o[k];
        if (v === undefined && !(k in o)) continue;
        sum = callback(sum, v, k, o);
      }
      return sum;
    },
    "Array.prototype.reduceRight/1"(callback, ...initial) {
      const o = toObject(this);
      const len = toLength(o.length);
      callable(callback);
      let k = len - 1;
      let sum;
      if (initial.length > 0) {
        sum = initial[0];
      } else {
        while (k >= 0 && !(k in o)) k--;
        if (k < 0) throw new TypeError("Reduce of empty array with no initial value");
        sum = o[k--];
      }
      for (; k >= 0; k--) {
        if (k in o) sum = callback(sum, o[k], k, o);
      }
      return sum;
    },
    "Array.prototype.reverse"() {
      const o = toObject(this);
      const len = toLength(o.length);
      const middle = (len - len % 2) / 2;
      for (let low = 0; low < middle; low++) {
        const high = len - 1 - low;
        const hasLow = low in o;
        const a = hasLow ? o[low] : undefined;
        const hasHigh = high in o;
        const b = hasHigh ? o[high] : undefined;
        if (hasHigh) o[low] = b;
        else if (hasLow) delete o[low];
        if (hasLow) o[high] = a;
        else if (hasHigh) delete o[high];
      }
      return o;
    },
    "Array.prototype.shift"() {
      const o = toObject(this);
      const len = toLength(o.length);
      if (len === 0) {
        o.length = 0;
        return undefined;
      }
      const first = o[0];
      for (let k = 1; k < len; k++) {
        if (k in o) o[k - 1] = o[k];
        else delete o[k - 1];
      }
      delete o[len - 1];
      o.length = len - 1;
      return first;
    },
    "Array.prototype.slice/2"(start, end) {
      const o = toObject(this);
      const len = toLength(o.length);
      let k = relative(start, len);
      const final = endOf(end, len);
      const a = arrayFor(o, final > k ? final - k : 0);
      let n = 0;
      for (; k < final; k++, n++) {
        const v = o[k];
        if (v !== undefined || k in o) define(a, n, v);
      }
      a.length = n;
      return a;
    },
    "Array.prototype.some/1"(callback, thisArg) {
      const o = toObject(this);
      const len = toLength(o.length);
      callable(callback);
      for (let k = 0; k < len; k++) {
        const v = o[k];
        if (v === undefined && !(k in o)) continue;
        if (thisArg === undefined ? callback(v, k, o) : call(callback, thisArg, v, k, o)) return true;
      }
      return false;
    },
    "Array.prototype.sort"(compare) {
      comparator(compare);
      const o = toObject(this);
      const len = toLength(o.length);
      const list = [];
      let count = 0;
      let undefineds = 0;
      for (let k = 0; k < len; k++) {
        const v = o[k];
        if (v !== undefined) define(list, count++, v);
        else if (k in o) undefineds++;
      }
      const result = sorted(list, compare);
      let k = 0;
      for (; k < count; k++) o[k] = result[k];
      for (; undefineds > 0; undefineds--) o[k++] = undefined;
      for (; k < len; k++) if (k in o) delete o[k];
      return o;
    },
    "Array.prototype.splice/2"(...args) {
      const o = toObject(this);
      const len = toLength(o.length);
      const start = relative(args[0], len);
      const inserted = args.length > 2 ? args.length - 2 : 0;
      let removed = 0;
      if (args.length === 1) removed = len - start;
      else if (args.length > 1) {
        const n = toInt(args[1]);
        removed = n < 0 ? 0 : n > len - start ? len - start : n;
      }
      if (len + inserted - removed > MAX) throw new TypeError("Array is too long");
      const a = arrayFor(o, removed);
      for (let k = 0; k < removed; k++) if (start + k in o) define(a, k, o[start + k]);
      a.length = removed;
      if (inserted < removed) {
        for (let k = start; k < len - removed; k++) {
          if (k + removed in o) o[k + inserted] = o[k + removed];
          else delete o[k + inserted];
        }
        for (let k = len; k > len - removed + inserted; k--) delete o[k - 1];
      } else if (inserted > removed) {
        for (let k = len - removed; k > start; k--) {
          if (k + removed - 1 in o) o[k + inserted - 1] = o[k + removed - 1];
          else delete o[k + inserted - 1];
        }
      }
      for (let i = 0; i < inserted; i++) o[start + i] = args[i + 2];
      o.length = len - removed + inserted;
      return a;
    },
    "Array.prototype.toLocaleString/0"() {
      const o = toObject(this);
      const len = toLength(o.length);
      let text = "";
      for (let k = 0; k < len; k++) {
        if (k > 0) text += ",";
        const v = o[k];
        if (v !== undefined && v !== null) text += `${v.toLocaleString()}`;
      }
      return text;
    },
    "Array.prototype.toReversed"() {
      const o = toObject(this);
      const len = toLength(o.length);
      const a = newArray(len);
      for (let k = 0; k < len; k++) define(a, k, o[len - 1 - k]);
      return a;
    },
    "Array.prototype.toSorted"(compare) {
      comparator(compare);
      const o = toObject(this);
      const len = toLength(o.length);
      const a = newArray(len);
      const list = [];
      let count = 0;
      for (let k = 0; k < len; k++) {
        const v = o[k];
        if (v !== undefined) define(list, count++, v);
      }
      const result = sorted(list, compare);
      for (let k = 0; k < len; k++) define(a, k, k < count ? result[k] : undefined);
      return a;
    },
    "Array.prototype.toSpliced/2"(...args) {
      const o = toObject(this);
      const len = toLength(o.length);
      const start = relative(args[0], len);
      const inserted = args.length > 2 ? args.length - 2 : 0;
      let removed = 0;
      if (args.length === 1) removed = len - start;
      else if (args.length > 1) {
        const n = toInt(args[1]);
        removed = n < 0 ? 0 : n > len - start ? len - start : n;
      }
      if (len + inserted - removed > MAX) throw new TypeError("Array is too long");
      const a = newArray(len + inserted - removed);
      let n = 0;
      for (let k = 0; k < start; k++) define(a, n++, o[k]);
      for (let i = 2; i < args.length; i++) define(a, n++, args[i]);
      for (let k = start + removed; k < len; k++) define(a, n++, o[k]);
      return a;
    },
    "Array.prototype.toString"() {
      const o = toObject(this);
      const join = o.join;
      return typeof join === "function" ? call(join, o) : objectToString(o);
    },
    "Array.prototype.unshift/1"(...items) {
      const o = toObject(this);
      const len = toLength(o.length);
      const count = items.length;
      if (count > 0) {
        if (len + count > MAX) throw new TypeError("Array is too long");
        for (let k = len; k > 0; k--) {
          if (k - 1 in o) o[k + count - 1] = o[k - 1];
          else delete o[k + count - 1];
        }
        for (let i = 0; i < count; i++) o[i] = items[i];
      }
      o.length = len + count;
      return len + count;
    },
    "Array.prototype.with"(index, value) {
      const o = toObject(this);
      const len = toLength(o.length);
      const n = toInt(index);
      const at = n < 0 ? len + n : n;
      if (at >= len || at < 0) throw new RangeError("Invalid index : " + n);
      const a = newArray(len);
      for (let k = 0; k < len; k++) define(a, k, k === at ? value : o[k]);
      return a;
    },
  };
};
