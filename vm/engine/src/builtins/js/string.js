// String: replacers that are functions. ECMA-262 section 22.1.3.
return function ({
  call, expand, indexOf, isRegExp, isRegExpObject, substring, symMatch, toLength, toObject,
}) {
  const symReplace = Symbol.replace;

  const plain = {
    includes: String.prototype.includes,
    startsWith: String.prototype.startsWith,
    endsWith: String.prototype.endsWith,
  };
  const unlikeRegExp = search => {
    const v = search[symMatch];
    if (v !== undefined ? v : isRegExp(search)) {
      throw new TypeError("First argument must not be a regular expression");
    }
    return `${search}`;
  };
  const start = (self, name) => {
    if (self === undefined || self === null) {
      throw new TypeError("String.prototype." + name + " called on null or undefined");
    }
  };
  const custom = (self, search, replacement) => {
    if (typeof search !== "object" || search === null) return undefined;
    const method = search[symReplace];
    if (method === undefined || method === null) return undefined;
    return { result: call(method, search, self, replacement) };
  };

  return {
    "String.raw/1"(template, ...values) {
      const literals = toObject(toObject(template).raw);
      const len = toLength(literals.length);
      let text = "";
      for (let i = 0; i < len; i++) {
        text += `${literals[i]}`;
        if (i + 1 < len && i < values.length) text += `${values[i]}`;
      }
      return text;
    },
    // Where Symbol.match of what is searched for is an accessor.
    "String.prototype.includes/1"(search, position) {
      return call(plain.includes, this, unlikeRegExp(search), position);
    },
    "String.prototype.startsWith/1"(search, position) {
      return call(plain.startsWith, this, unlikeRegExp(search), position);
    },
    "String.prototype.endsWith/1"(search, position) {
      return call(plain.endsWith, this, unlikeRegExp(search), position);
    },
    "String.prototype.replace/2"(search, replacement) {
      start(this, "replace");
      const other = custom(this, search, replacement);
      if (other !== undefined) return other.result;
      const text = `${this}`;
      const pattern = `${search}`;
      const r = typeof replacement === "function" ? replacement : `${replacement}`;
      const at = indexOf(text, pattern, 0);
      if (at < 0) return text;
      const by = typeof r === "function" ? `${r(pattern, at, text)}` : expand(r, text, at, pattern);
      return substring(text, 0, at) + by + substring(text, at + pattern.length, text.length);
    },
    "String.prototype.replaceAll/2"(search, replacement) {
      start(this, "replaceAll");
      if (typeof search === "object" && search !== null) {
        const matcher = search[Symbol.match];
        if (matcher !== undefined ? matcher : isRegExpObject(search)) {
          const flags = search.flags;
          if (flags === undefined || flags === null) throw new TypeError("flags is undefined or null");
          if (indexOf(`${flags}`, "g", 0) < 0) throw new TypeError("replaceAll must be called with a global RegExp");
        }
      }
      const other = custom(this, search, replacement);
      if (other !== undefined) return other.result;
      const text = `${this}`;
      const pattern = `${search}`;
      const r = typeof replacement === "function" ? replacement : `${replacement}`;
      const advance = pattern.length > 1 ? pattern.length : 1;
      let result = "";
      let end = 0;
      for (let at = indexOf(text, pattern, 0); at >= 0; at = indexOf(text, pattern, at + advance)) {
        result += substring(text, end, at);
        result += typeof r === "function" ? `${r(pattern, at, text)}` : expand(r, text, at, pattern);
        end = at + pattern.length;
        if (at + advance > text.length) break;
      }
      return result + substring(text, end, text.length);
    },
  };
};
