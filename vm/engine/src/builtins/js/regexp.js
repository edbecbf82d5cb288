// RegExp: the protocol of ECMA-262 section 22.2.6 as it is written, for regular expressions (and
// things like them) that a script has changed. `isPlain` says that nothing of a regular expression
// is changed; then natives do the same at once.
return function ({
  call, isPlain, isRegExpObject, regexpCreate, regexpExecAt, regexpFlags, regexpMatches, regexpReplace,
  regexpSource, regexpSplit, indexOf, substring, toInt, toLength, define, symMatch, matchIterator, iteratorState,
}) {
  const isObject = v => (typeof v === "object" && v !== null) || typeof v === "function";
  const builtinExec = RegExp.prototype.exec;
  const builtinSplit = String.prototype.split;

  const receiver = (r, name) => {
    if (!isObject(r)) throw new TypeError("RegExp.prototype." + name + " called on a value that is no object");
  };
  const isRegExp = v => {
    if (!isObject(v)) return false;
    const matcher = v[symMatch];
    if (matcher !== undefined) return !!matcher;
    return isRegExpObject(v);
  };
  // RegExpExec
  const regExpExec = (r, text) => {
    const exec = r.exec;
    if (typeof exec === "function") {
      const result = call(exec, r, text);
      if (result !== null && !isObject(result)) throw new TypeError("exec must return an object or null");
      return result;
    }
    if (!isRegExpObject(r)) throw new TypeError("the receiver is no regular expression");
    return call(builtinExec, r, text);
  };
  const sameValue = (a, b) => (a === b ? a !== 0 || 1 / a === 1 / b : a !== a && b !== b);
  // AdvanceStringIndex
  const advance = (text, index, unicode) => {
    if (!unicode || index + 1 >= text.length) return index + 1;
    const first = text.charCodeAt(index);
    if (first < 0xd800 || first > 0xdbff) return index + 1;
    const second = text.charCodeAt(index + 1);
    return second < 0xdc00 || second > 0xdfff ? index + 1 : index + 2;
  };
  // GetSubstitution
  const substitute = (matched, text, position, captures, named, template) => {
    let result = "";
    let at = 0;
    const count = captures.length;
    while (true) {
      const next = indexOf(template, "$", at);
      if (next < 0 || next + 1 >= template.length) return result + substring(template, at, template.length);
      result += substring(template, at, next);
      const c = template[next + 1];
      at = next + 2;
      if (c === "$") {
        result += "$";
      } else if (c === "&") {
        result += matched;
      } else if (c === "`") {
        result += substring(text, 0, position);
      } else if (c === "'") {
        const end = position + matched.length;
        if (end < text.length) result += substring(text, end, text.length);
      } else if (c >= "0" && c <= "9") {
        let digits = 1;
        let n = +c;
        const d = template[next + 2];
        if (d !== undefined && d >= "0" && d <= "9" && n * 10 + +d >= 1 && n * 10 + +d <= count) {
          n = n * 10 + +d;
          digits = 2;
        }
        if (n >= 1 && n <= count) {
          const capture = captures[n - 1];
          if (capture !== undefined) result += capture;
          at = next + 1 + digits;
        } else {
          result += "$" + c;
        }
      } else if (c === "<" && named !== undefined) {
        const end = indexOf(template, ">", next + 2);
        if (end < 0) {
          result += "$<";
        } else {
          const capture = named[substring(template, next + 2, end)];
          if (capture !== undefined) result += `${capture}`;
          at = end + 1;
        }
      } else {
        result += "$" + c;
      }
    }
  };
  const speciesOf = r => {
    const c = r.constructor;
    if (c === undefined) return RegExp;
    if (!isObject(c)) throw new TypeError("constructor is not an object");
    const species = c[Symbol.species];
    return species === undefined || species === null ? RegExp : species;
  };

  return {
    "RegExp"(target, pattern, flags) {
      const like = isRegExp(pattern);
      if (target === undefined && like && flags === undefined && pattern.constructor === RegExp) return pattern;
      let p = pattern;
      let f = flags;
      if (isRegExpObject(pattern)) {
        p = regexpSource(pattern);
        if (flags === undefined) f = regexpFlags(pattern);
      } else if (like) {
        p = pattern.source;
        if (flags === undefined) f = pattern.flags;
      }
      return regexpCreate(p === undefined ? "" : `${p}`, f === undefined ? "" : `${f}`, target);
    },
    "RegExp.prototype.exec"(string) {
      const text = `${string}`;
      return regexpExecAt(this, text, toLength(this.lastIndex));
    },
    "RegExp.prototype.test"(string) {
      receiver(this, "test");
      return regExpExec(this, `${string}`) !== null;
    },
    "RegExp.prototype.toString/0"() {
      receiver(this, "toString");
      return "/" + `${this.source}` + "/" + `${this.flags}`;
    },
    "RegExp.prototype.flags"() {
      receiver(this, "flags");
      let all = "";
      if (this.hasIndices) all += "d";
      if (this.global) all += "g";
      if (this.ignoreCase) all += "i";
      if (this.multiline) all += "m";
      if (this.dotAll) all += "s";
      if (this.unicode) all += "u";
      if (this.unicodeSets) all += "v";
      if (this.sticky) all += "y";
      return all;
    },
    "RegExp.prototype.@@match/1"(string) {
      receiver(this, "@@match");
      const text = `${string}`;
      const flags = `${this.flags}`;
      if (indexOf(flags, "g", 0) < 0) return regExpExec(this, text);
      if (isPlain(this)) {
        const list = regexpMatches(this, text, true);
        return list.length === 0 ? null : list;
      }
      const unicode = indexOf(flags, "u", 0) >= 0 || indexOf(flags, "v", 0) >= 0;
      this.lastIndex = 0;
      const list = [];
      while (true) {
        const result = regExpExec(this, text);
        if (result === null) return list.length === 0 ? null : list;
        const matched = `${result[0]}`;
        define(list, list.length, matched);
        if (matched === "") this.lastIndex = advance(text, toLength(this.lastIndex), unicode);
      }
    },
    "RegExp.prototype.@@matchAll/1"(string) {
      receiver(this, "@@matchAll");
      const text = `${string}`;
      const c = speciesOf(this);
      const flags = `${this.flags}`;
      const matcher = new c(this, flags);
      matcher.lastIndex = toLength(this.lastIndex);
      const global = indexOf(flags, "g", 0) >= 0;
      const unicode = indexOf(flags, "u", 0) >= 0 || indexOf(flags, "v", 0) >= 0;
      return matchIterator({ matcher, text, global, unicode, done: false });
    },
    "RegExp.prototype.@@search/1"(string) {
      receiver(this, "@@search");
      const text = `${string}`;
      const previous = this.lastIndex;
      if (!sameValue(previous, 0)) this.lastIndex = 0;
      const result = regExpExec(this, text);
      const current = this.lastIndex;
      if (!sameValue(current, previous)) this.lastIndex = previous;
      return result === null ? -1 : result.index;
    },
    "RegExp.prototype.@@replace/2"(string, replacement) {
      receiver(this, "@@replace");
      const text = `${string}`;
      const functional = typeof replacement === "function";
      const template = functional ? "" : `${replacement}`;
      if (isPlain(this)) {
        if (!functional) return regexpReplace(this, text, template);
        const list = regexpMatches(this, text, false);
        let result = "";
        let end = 0;
        for (let i = 0; i < list.length; i += 3) {
          result += substring(text, end, list[i]) + `${replacement(...list[i + 2])}`;
          end = list[i + 1];
        }
        return end === 0 ? result + text : result + substring(text, end, text.length);
      }
      const flags = `${this.flags}`;
      const global = indexOf(flags, "g", 0) >= 0;
      const unicode = indexOf(flags, "u", 0) >= 0 || indexOf(flags, "v", 0) >= 0;
      if (global) this.lastIndex = 0;
      const results = [];
      while (true) {
        const result = regExpExec(this, text);
        if (result === null) break;
        define(results, results.length, result);
        if (!global) break;
        if (`${result[0]}` === "") this.lastIndex = advance(text, toLength(this.lastIndex), unicode);
      }
      let done = "";
      let next = 0;
      for (let i = 0; i < results.length; i++) {
        const result = results[i];
        const count = toLength(result.length);
        const matched = `${result[0]}`;
        const at = toInt(result.index);
        const position = at < 0 ? 0 : at > text.length ? text.length : at;
        const captures = [];
        for (let n = 1; n < count; n++) {
          const capture = result[n];
          define(captures, n - 1, capture === undefined ? undefined : `${capture}`);
        }
        let named = result.groups;
        let by;
        if (functional) {
          const tail = named === undefined ? [position, text] : [position, text, named];
          by = `${replacement(matched, ...captures, ...tail)}`;
        } else {
          if (named !== undefined) {
            if (named === null) throw new TypeError("groups is null");
            named = Object(named);
          }
          by = substitute(matched, text, position, captures, named, template);
        }
        if (position >= next) {
          done += substring(text, next, position) + by;
          next = position + matched.length;
        }
      }
      return next >= text.length ? done : done + substring(text, next, text.length);
    },
    "RegExp.prototype.@@split/2"(string, limit) {
      receiver(this, "@@split");
      const text = `${string}`;
      if (isPlain(this) && (limit === undefined || typeof limit === "number")) {
        return regexpSplit(this, text, limit === undefined ? 4294967295 : limit >>> 0);
      }
      const c = speciesOf(this);
      const flags = `${this.flags}`;
      const unicode = indexOf(flags, "u", 0) >= 0 || indexOf(flags, "v", 0) >= 0;
      const splitter = new c(this, indexOf(flags, "y", 0) >= 0 ? flags : flags + "y");
      const list = [];
      const most = limit === undefined ? 4294967295 : limit >>> 0;
      if (most === 0) return list;
      if (text.length === 0) {
        if (regExpExec(splitter, text) === null) define(list, 0, text);
        return list;
      }
      let p = 0;
      let q = 0;
      while (q < text.length) {
        splitter.lastIndex = q;
        const z = regExpExec(splitter, text);
        if (z === null) {
          q = advance(text, q, unicode);
          continue;
        }
        const last = toLength(splitter.lastIndex);
        const e = last < text.length ? last : text.length;
        if (e === p) {
          q = advance(text, q, unicode);
          continue;
        }
        define(list, list.length, substring(text, p, q));
        if (list.length === most) return list;
        p = e;
        const count = toLength(z.length);
        for (let i = 1; i < count; i++) {
          define(list, list.length, z[i]);
          if (list.length === most) return list;
        }
        q = p;
      }
      define(list, list.length, substring(text, p, text.length));
      return list;
    },
    "(regexp_iterator).next/0"() {
      const state = iteratorState(this);
      if (state.done) return { value: undefined, done: true };
      const { matcher, text } = state;
      const result = regExpExec(matcher, text);
      if (result === null) {
        state.done = true;
        return { value: undefined, done: true };
      }
      if (!state.global) {
        state.done = true;
        return { value: result, done: false };
      }
      if (`${result[0]}` === "") matcher.lastIndex = advance(text, toLength(matcher.lastIndex), state.unicode);
      return { value: result, done: false };
    },
    "String.prototype.match/1"(pattern) {
      if (this === undefined || this === null) throw new TypeError("String.prototype.match called on null or undefined");
      if (isObject(pattern)) {
        const method = pattern[symMatch];
        if (method !== undefined && method !== null) return call(method, pattern, this);
      }
      const text = `${this}`;
      const r = regexpCreate(pattern === undefined ? "" : `${pattern}`, "");
      return r[symMatch](text);
    },
    "String.prototype.matchAll/1"(pattern) {
      if (this === undefined || this === null) {
        throw new TypeError("String.prototype.matchAll called on null or undefined");
      }
      if (isObject(pattern)) {
        if (isRegExp(pattern)) {
          const flags = pattern.flags;
          if (flags === undefined || flags === null) throw new TypeError("flags is undefined or null");
          if (indexOf(`${flags}`, "g", 0) < 0) {
            throw new TypeError("String.prototype.matchAll called with a non-global RegExp argument");
          }
        }
        const method = pattern[Symbol.matchAll];
        if (method !== undefined && method !== null) return call(method, pattern, this);
      }
      const text = `${this}`;
      const r = regexpCreate(pattern === undefined ? "" : `${pattern}`, "g");
      return r[Symbol.matchAll](text);
    },
    "String.prototype.search/1"(pattern) {
      if (this === undefined || this === null) throw new TypeError("String.prototype.search called on null or undefined");
      if (isObject(pattern)) {
        const method = pattern[Symbol.search];
        if (method !== undefined && method !== null) return call(method, pattern, this);
      }
      const text = `${this}`;
      const r = regexpCreate(pattern === undefined ? "" : `${pattern}`, "");
      return r[Symbol.search](text);
    },
    "String.prototype.split"(separator, limit) {
      const method = separator[Symbol.split];
      if (method !== undefined && method !== null) return call(method, separator, this, limit);
      const text = `${this}`;
      const most = limit === undefined ? 4294967295 : limit >>> 0;
      return call(builtinSplit, text, `${separator}`, most);
    },
  };
};
