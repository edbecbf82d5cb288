// JSON: a reviver, a replacer, toJSON, accessors. Plain data never gets here: the
// natives read and write it. ECMA-262 section 25.5.
return function ({
  boxedKind, call, createFrom, define, isArray, isEnumerable, ownKeys, quote, rawJson, setAdd, setHas,
  substring, toInt, toLength, tryDefine, tryDelete, unbox,
}) {

  const codeAt = String.prototype.charCodeAt;
  const parseText = JSON.parse;
  const same = Object.is;
  const Sets = Set;

  // What a reviver is told of the source: a record of each value, its text if it is a primitive, and the
  // records of what is in it. The text has been parsed before: it is JSON.
  const recordOf = (text, value) => {
    let at = 0;
    const skip = () => {
      for (;;) {
        const c = call(codeAt, text, at);
        if (c !== 32 && c !== 10 && c !== 13 && c !== 9) return c;
        at++;
      }
    };
    const string = () => {
      const from = at++;
      for (;;) {
        const c = call(codeAt, text, at);
        at += c === 92 ? 2 : 1;
        if (c === 34) return substring(text, from, at);
      }
    };
    const read = v => {
      const c = skip();
      if (c === 91) {
        const items = [];
        at++;
        for (let i = 0; skip() !== 93; i++) {
          if (call(codeAt, text, at) === 44) at++;
          define(items, i, read(v[i]));
        }
        at++;
        return { v, source: undefined, items, members: undefined };
      }
      if (c === 123) {
        const members = createFrom(null);
        at++;
        while (skip() !== 125) {
          if (call(codeAt, text, at) === 44) at++;
          skip();
          const key = parseText(string());
          skip();
          at++;
          // Of members with one name the last one counts: the others' values are gone.
          define(members, key, read(v[key]));
        }
        at++;
        return { v, source: undefined, items: undefined, members };
      }
      if (c === 34) return { v, source: string(), items: undefined, members: undefined };
      const from = at;
      for (;;) {
        const d = call(codeAt, text, at);
        if (d !== d || d === 44 || d === 93 || d === 125 || d <= 32) break;
        at++;
      }
      return { v, source: substring(text, from, at), items: undefined, members: undefined };
    };
    return read(value);
  };

  // EnumerableOwnProperties, keys.
  const namesOf = v => {
    const keys = ownKeys(v);
    const names = [];
    for (let i = 0; i < keys.length; i++) {
      if (typeof keys[i] === "string" && isEnumerable(v, keys[i])) define(names, names.length, keys[i]);
    }
    return names;
  };

  const internalize = (holder, name, reviver, record) => {
    const v = holder[name];
    const known = record !== undefined && same(record.v, v);
    const context = {};
    if (typeof v === "object" && v !== null) {
      if (isArray(v)) {
        const items = known ? record.items : undefined;
        const len = toLength(v.length);
        for (let i = 0; i < len; i++) {
          const inner = items !== undefined && i < items.length ? items[i] : undefined;
          revive(v, `${i}`, reviver, inner);
        }
      } else {
        const members = known ? record.members : undefined;
        const keys = namesOf(v);
        for (let i = 0; i < keys.length; i++) {
          revive(v, keys[i], reviver, members === undefined ? undefined : members[keys[i]]);
        }
      }
    } else if (known && record.source !== undefined) {
      define(context, "source", record.source);
    }
    return call(reviver, holder, name, v, context);
  };
  const revive = (v, key, reviver, record) => {
    const element = internalize(v, key, reviver, record);
    if (element === undefined) tryDelete(v, key);
    else tryDefine(v, key, element);
  };

  // The text, or undefined. `s`: replacer, keys, gap, indent, stack.
  const property = (s, holder, key, given) => {
    let v = given;
    if ((typeof v === "object" && v !== null) || typeof v === "function" || typeof v === "bigint") {
      const toJSON = v.toJSON;
      if (typeof toJSON === "function") v = call(toJSON, v, key);
    }
    if (s.replacer !== undefined) v = call(s.replacer, holder === undefined ? { [key]: given } : holder, key, v);
    if (typeof v === "object" && v !== null) v = unbox(v);
    if (v === null) return "null";
    if (v === true) return "true";
    if (v === false) return "false";
    if (typeof v === "string") return quote(v);
    if (typeof v === "number") return v - v === 0 ? `${v}` : "null";
    if (typeof v === "bigint") throw new TypeError("Do not know how to serialize a BigInt");
    if (typeof v !== "object") return undefined;
    const raw = rawJson(v);
    if (raw !== undefined) return raw;
    for (let i = 0; i < s.stack.length; i++) {
      if (s.stack[i] === v) throw new TypeError("Converting circular structure to JSON");
    }
    define(s.stack, s.stack.length, v);
    const outer = s.indent;
    s.indent = outer + s.gap;
    const text = isArray(v) ? list(s, v, outer) : map(s, v, outer);
    s.indent = outer;
    s.stack.length = s.stack.length - 1;
    return text;
  };
  const list = (s, v, outer) => {
    const len = toLength(v.length);
    if (len === 0) return "[]";
    const between = s.gap === "" ? "," : ",\n" + s.indent;
    let text = s.gap === "" ? "[" : "[\n" + s.indent;
    for (let i = 0; i < len; i++) {
      if (i > 0) text += between;
      const element = property(s, v, `${i}`, v[i]);
      text += element === undefined ? "null" : element;
    }
    return text + (s.gap === "" ? "]" : "\n" + outer + "]");
  };
  const map = (s, v, outer) => {
    const keys = s.keys === undefined ? namesOf(v) : s.keys;
    const between = s.gap === "" ? "," : ",\n" + s.indent;
    const colon = s.gap === "" ? ":" : ": ";
    let text = s.gap === "" ? "{" : "{\n" + s.indent;
    let any = false;
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      const member = property(s, v, key, v[key]);
      if (member === undefined) continue;
      if (any) text += between;
      any = true;
      text += quote(key) + colon + member;
    }
    if (!any) return "{}";
    return text + (s.gap === "" ? "}" : "\n" + outer + "}");
  };

  return {
    "JSON.parse/2"(value, reviver, text) {
      const root = {};
      define(root, "", value);
      return internalize(root, "", reviver, recordOf(text, value));
    },
    "JSON.stringify/3"(value, replacer, space) {
      const s = { replacer: undefined, keys: undefined, gap: "", indent: "", stack: [] };
      if (typeof replacer === "function") s.replacer = replacer;
      else if (isArray(replacer)) {
        const seen = new Sets();
        s.keys = [];
        const len = toLength(replacer.length);
        for (let i = 0; i < len; i++) {
          let item = replacer[i];
          if (typeof item === "object" && item !== null) {
            const boxed = boxedKind(item);
            if (boxed === "number" || boxed === "string") item = `${item}`;
          }
          if (typeof item === "number") item = `${item}`;
          if (typeof item === "string" && !setHas(seen, item)) {
            setAdd(seen, item);
            define(s.keys, s.keys.length, item);
          }
        }
      }
      let gap = space;
      if (typeof gap === "object" && gap !== null) {
        const boxed = boxedKind(gap);
        if (boxed === "number") gap = +gap;
        else if (boxed === "string") gap = `${gap}`;
      }
      if (typeof gap === "number") {
        const n = toInt(gap);
        for (let i = 0; i < n && i < 10; i++) s.gap += " ";
      } else if (typeof gap === "string") s.gap = substring(gap, 0, 10);
      return property(s, undefined, "", value);
    },
  };
};
