// Map and Set: what calls back or iterates. The tables are native; a walker
// (`h.walk`) is a live position in one: entries that a callback adds are visited,
// removed ones are not. ECMA-262 sections 24.1 and 24.2.
return function ({
  call, define, key, mapHas, mapGet, mapSet, setAdd, setDelete, setHas, setSize, show, step, toInt, value, walk,
  walkMap, walkSet,
}) {

  const Maps = Map;
  const Sets = Set;

  const callable = f => {
    if (typeof f !== "function") throw new TypeError(show(f) + " is not a function");
  };
  // GetSetRecord: size, has and keys of something like a set.
  const record = other => {
    if ((typeof other !== "object" || other === null) && typeof other !== "function") {
      throw new TypeError(show(other) + " is not an object");
    }
    const size = +other.size;
    if (size !== size) throw new TypeError("The 'size' property must be a number");
    const count = toInt(size);
    if (count < 0) throw new RangeError("'" + count + "' is an invalid size");
    const has = other.has;
    callable(has);
    const keys = other.keys;
    callable(keys);
    return { other, size: count, has, keys };
  };
  // Calls `each` with the keys of a record until it answers true.
  const eachKey = (r, each, begin) => {
    const it = call(r.keys, r.other);
    if ((typeof it !== "object" || it === null) && typeof it !== "function") throw new TypeError(show(it) + " is not an object");
    const next = it.next;
    if (begin !== undefined) begin();
    for (;;) {
      const result = call(next, it);
      if ((typeof result !== "object" || result === null) && typeof result !== "function") {
        throw new TypeError(show(result) + " is not an object");
      }
      if (result.done) return;
      if (each(result.value)) {
        const close = it.return;
        if (close === undefined || close === null) return;
        const closed = call(close, it);
        if ((typeof closed !== "object" || closed === null) && typeof closed !== "function") {
          throw new TypeError(show(closed) + " is not an object");
        }
        return;
      }
    }
  };
  const copy = set => {
    const to = new Sets();
    const w = walk(set);
    while (step(w)) setAdd(to, key(w));
    return to;
  };

  return {
    // What the constructors do with their argument.
    Map(map, entries) {
      const add = map.set;
      callable(add);
      for (const entry of entries) {
        if ((typeof entry !== "object" || entry === null) && typeof entry !== "function") {
          throw new TypeError("Iterator value " + show(entry) + " is not an entry object");
        }
        call(add, map, entry[0], entry[1]);
      }
      return map;
    },
    Set(set, items) {
      const add = set.add;
      callable(add);
      for (const item of items) call(add, set, item);
      return set;
    },
    "Map.groupBy/2"(items, callback) {
      if (items === undefined || items === null) throw new TypeError(show(items) + " is not iterable");
      callable(callback);
      const groups = new Maps();
      let k = 0;
      for (const item of items) {
        const at = callback(item, k++);
        const group = mapGet(groups, at);
        if (group === undefined) mapSet(groups, at, [item]);
        else define(group, group.length, item);
      }
      return groups;
    },
    "Map.prototype.getOrInsertComputed/2"(k, callback) {
      walkMap(this);
      callable(callback);
      if (mapHas(this, k)) return mapGet(this, k);
      const value = call(callback, undefined, k === 0 ? 0 : k);
      mapSet(this, k, value);
      return value;
    },
    "Map.prototype.forEach/1"(callback, thisArg) {
      const w = walkMap(this);
      callable(callback);
      while (step(w)) call(callback, thisArg, value(w), key(w), this);
    },
    "Set.prototype.forEach/1"(callback, thisArg) {
      const w = walkSet(this);
      callable(callback);
      while (step(w)) call(callback, thisArg, key(w), key(w), this);
    },
    "Set.prototype.union/1"(other) {
      walkSet(this);
      const r = record(other);
      let result;
      eachKey(
        r,
        k => {
          setAdd(result, k);
          return false;
        },
        () => {
          result = copy(this);
        },
      );
      return result;
    },
    "Set.prototype.intersection/1"(other) {
      walkSet(this);
      const r = record(other);
      const result = new Sets();
      if (setSize(this) <= r.size) {
        const w = walk(this);
        while (step(w)) {
          const k = key(w);
          if (call(r.has, r.other, k)) setAdd(result, k);
        }
      } else {
        eachKey(r, k => {
          if (setHas(this, k)) setAdd(result, k);
          return false;
        });
      }
      return result;
    },
    "Set.prototype.difference/1"(other) {
      walkSet(this);
      const r = record(other);
      const result = copy(this);
      if (setSize(this) <= r.size) {
        const w = walk(this);
        while (step(w)) {
          const k = key(w);
          if (call(r.has, r.other, k)) setDelete(result, k);
        }
      } else {
        eachKey(r, k => {
          setDelete(result, k);
          return false;
        });
      }
      return result;
    },
    "Set.prototype.symmetricDifference/1"(other) {
      walkSet(this);
      const r = record(other);
      let result;
      eachKey(
        r,
        k => {
          if (setHas(this, k)) setDelete(result, k);
          else setAdd(result, k);
          return false;
        },
        () => {
          result = copy(this);
        },
      );
      return result;
    },
    "Set.prototype.isSubsetOf/1"(other) {
      walkSet(this);
      const r = record(other);
      if (setSize(this) > r.size) return false;
      const w = walk(this);
      while (step(w)) if (!call(r.has, r.other, key(w))) return false;
      return true;
    },
    "Set.prototype.isSupersetOf/1"(other) {
      walkSet(this);
      const r = record(other);
      if (setSize(this) < r.size) return false;
      let all = true;
      eachKey(r, k => {
        if (setHas(this, k)) return false;
        all = false;
        return true;
      });
      return all;
    },
    "Set.prototype.isDisjointFrom/1"(other) {
      walkSet(this);
      const r = record(other);
      if (setSize(this) <= r.size) {
        const w = walk(this);
        while (step(w)) if (call(r.has, r.other, key(w))) return false;
        return true;
      }
      let none = true;
      eachKey(r, k => {
        if (!setHas(this, k)) return false;
        none = false;
        return true;
      });
      return none;
    },
  };
};
