// What *.test.js files have: describe, test, expect, mock, request. Each test runs in a task of its own, in which the
// whole file runs first: `suite()` collects, `run()` answers with the list of tests, or runs one.
// `forebay test` (ctl/src/testing/) imports it into each test file.

const LINES_MAX = 300;
const DEPTH_MAX = 12;

// ---- values: as text, and compared

function isPlain(v) {
  return typeof v === "object" && v !== null;
}

function show(v, indent = "", depth = 0) {
  if (typeof v === "string") return JSON.stringify(v);
  if (typeof v === "bigint") return `${v}n`;
  if (typeof v === "symbol") return v.toString();
  if (typeof v === "function") return v.name === "" ? "a function" : `function ${v.name}`;
  if (Object.is(v, -0)) return "-0";
  if (!isPlain(v)) return String(v);
  if (v.__show !== undefined) return v.__show;
  if (depth > DEPTH_MAX) return "...";
  if (v instanceof Error) return `${v.name}: ${v.message}`;
  if (v instanceof Date) return Number.isNaN(v.getTime()) ? "Invalid Date" : `Date ${v.toISOString()}`;
  if (v instanceof RegExp) return String(v);
  if (v instanceof Decimal) return `Decimal ${v}`;
  if (v instanceof Promise) return "a promise";
  const inner = `${indent}  `;
  const lines = (open, items, close) =>
    items.length === 0 ? open + close : `${open}\n${items.map(item => `${inner}${item},\n`).join("")}${indent}${close}`;
  if (Array.isArray(v)) return lines("[", v.map(item => show(item, inner, depth + 1)), "]");
  if (v instanceof Map) {
    return lines("Map {", [...v].map(([k, x]) => `${show(k, inner, depth + 1)} => ${show(x, inner, depth + 1)}`), "}");
  }
  if (v instanceof Set) return lines("Set {", [...v].map(item => show(item, inner, depth + 1)), "}");
  const key = k => (/^[A-Za-z_$][\w$]*$/.test(k) ? k : JSON.stringify(k));
  return lines("{", Object.keys(v).sort().map(k => `${key(k)}: ${show(v[k], inner, depth + 1)}`), "}");
}

// `loose`: a property that is undefined is as good as none. `partial`: b may lack properties that a has.
function equal(a, b, how, depth = 0) {
  if (isPlain(b) && b.__matches !== undefined) return b.__matches(a);
  if (Object.is(a, b)) return true;
  if (!isPlain(a) || !isPlain(b) || depth > 200) return false;
  if (a instanceof Date || b instanceof Date) {
    return a instanceof Date && b instanceof Date && Object.is(a.getTime(), b.getTime());
  }
  if (a instanceof Decimal || b instanceof Decimal) return a instanceof Decimal && b instanceof Decimal && a.eq(b);
  if (a instanceof RegExp || b instanceof RegExp) return String(a) === String(b);
  if (a instanceof Error || b instanceof Error) {
    return a instanceof Error && b instanceof Error && a.name === b.name && a.message === b.message;
  }
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  if (Array.isArray(a)) {
    return a.length === b.length && b.every((item, i) => equal(a[i], item, how, depth + 1));
  }
  if (a instanceof Map || b instanceof Map) {
    return a instanceof Map && b instanceof Map && equal([...a], [...b], how, depth + 1);
  }
  if (a instanceof Set || b instanceof Set) {
    if (!(a instanceof Set && b instanceof Set) || a.size !== b.size) return false;
    return [...b].every(item => a.has(item) || [...a].some(own => equal(own, item, how, depth + 1)));
  }
  const strict = how === "strict";
  if (strict && Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  const keys = new Set(Object.keys(b));
  if (how !== "partial") Object.keys(a).forEach(key => keys.add(key));
  return [...keys].every(key => {
    if (strict && Object.hasOwn(a, key) !== Object.hasOwn(b, key)) return false;
    return equal(a[key], b[key], how, depth + 1);
  });
}

// Lines of both texts: `-` is only expected, `+` only received. The longest common subsequence.
function diff(expected, received) {
  const a = expected.split("\n");
  const b = received.split("\n");
  if (a.length > LINES_MAX || b.length > LINES_MAX) return `expected: ${expected}\nreceived: ${received}`;
  const table = Array.from({ length: a.length + 1 }, () => new Array(b.length + 1).fill(0));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    }
  }
  const out = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push(`  ${a[i]}`);
      i++;
      j++;
    } else if (i < a.length && (j === b.length || table[i + 1][j] >= table[i][j + 1])) {
      out.push(`- ${a[i++]}`);
    } else {
      out.push(`+ ${b[j++]}`);
    }
  }
  return `- expected, + received\n${out.join("\n")}`;
}

// `error`: made where the claim was, if that was before something was awaited.
function fail(message, error = new Error(message)) {
  error.name = "AssertionError";
  error.message = message;
  throw error;
}

// ---- matchers: does the claim hold? `received` and `expected` are for the message, if they are not the obvious ones.

function thrownBy(value, isError) {
  if (isError) return { threw: true, error: value };
  if (typeof value !== "function") fail("toThrow looks at a function: expect(() => ...).toThrow()");
  try {
    const result = value();
    if (result instanceof Promise) fail("the function is asynchronous: await expect(fn).rejects.toThrow()");
    return { threw: false };
  } catch (error) {
    if (error.name === "AssertionError" && error.message.startsWith("the function is asynchronous")) throw error;
    return { threw: true, error };
  }
}

function messageFits(error, expected) {
  const message = error instanceof Error ? error.message : String(error);
  if (expected === undefined) return true;
  if (typeof expected === "string") return message.includes(expected);
  if (expected instanceof RegExp) return expected.test(message);
  if (typeof expected === "function") return error instanceof expected;
  return expected instanceof Error && message === expected.message;
}

function property(value, path) {
  const keys = Array.isArray(path) ? path : path.replace(/\[(\w+)\]/g, ".$1").split(".");
  let at = value;
  for (const key of keys) {
    if (at === undefined || at === null || !(key in Object(at))) return { found: false };
    at = at[key];
  }
  return { found: true, value: at };
}

const compared = (holds, sign) => ({ pass: holds, expected: sign });

const matchers = {
  toBe: (v, e) => ({
    pass: Object.is(v, e),
    note: !Object.is(v, e) && equal(v, e, "strict") ? "equal, but not the same object: toEqual compares contents" : "",
  }),
  toEqual: (v, e) => ({ pass: equal(v, e, "loose") }),
  toStrictEqual: (v, e) => ({ pass: equal(v, e, "strict") }),
  toMatchObject: (v, e) => ({ pass: equal(v, e, "partial") }),
  toMatch: (v, e) => ({ pass: typeof v === "string" && (typeof e === "string" ? v.includes(e) : e.test(v)) }),
  toContain: (v, e) => ({ pass: typeof v === "string" ? v.includes(e) : [...v].includes(e) }),
  toContainEqual: (v, e) => ({ pass: [...v].some(item => equal(item, e, "loose")) }),
  toHaveLength: (v, e) => ({ pass: v?.length === e, received: `length ${show(v?.length)}` }),
  toHaveProperty: (v, path, ...rest) => {
    const { found, value } = property(v, path);
    return { pass: found && (rest.length === 0 || equal(value, rest[0], "loose")) };
  },
  toBeCloseTo: (v, e, digits = 2) => {
    const away = Math.abs(v - e);
    return { pass: v === e || away < 10 ** -digits / 2, note: `apart by ${away}, at most ${10 ** -digits / 2} is close` };
  },
  toBeGreaterThan: (v, e) => compared(v > e, `> ${show(e)}`),
  toBeGreaterThanOrEqual: (v, e) => compared(v >= e, `>= ${show(e)}`),
  toBeLessThan: (v, e) => compared(v < e, `< ${show(e)}`),
  toBeLessThanOrEqual: (v, e) => compared(v <= e, `<= ${show(e)}`),
  toBeInstanceOf: (v, e) => ({ pass: v instanceof e, expected: e.name }),
  toBeTruthy: v => compared(!!v, "something truthy"),
  toBeFalsy: v => compared(!v, "something falsy"),
  toBeNull: v => compared(v === null, "null"),
  toBeUndefined: v => compared(v === undefined, "undefined"),
  toBeDefined: v => compared(v !== undefined, "anything but undefined"),
  toBeNaN: v => compared(Number.isNaN(v), "NaN"),
};

function throws(value, isError, expected) {
  const { threw, error } = thrownBy(value, isError);
  return {
    pass: threw && messageFits(error, expected),
    expected: expected === undefined ? "an exception" : show(expected),
    received: threw ? show(error) : "no exception",
  };
}

function check(name, value, negated, isError, args, at) {
  const result = name === "toThrow" ? throws(value, isError, args[0]) : matchers[name](value, ...args);
  if (result.pass !== negated) return;
  const expected = result.expected ?? args.map(arg => show(arg)).join(", ");
  const received = result.received ?? show(value);
  const short = text => (text.length > 60 || text.includes("\n") ? "..." : text);
  let message = `expect(${short(received)})${negated ? ".not" : ""}.${name}(${short(args.map(arg => show(arg)).join(", "))})`;
  if (result.note) message += `\n${result.note}`;
  if (negated) message += `\nreceived: ${received}`;
  else if (expected.includes("\n") || received.includes("\n")) message += `\n${diff(expected, received)}`;
  else message += `\nexpected: ${expected}\nreceived: ${received}`;
  fail(message, at);
}

const NAMES = [...Object.keys(matchers), "toThrow"];

function claims(value, negated) {
  const all = {};
  for (const name of NAMES) all[name] = (...args) => check(name, value, negated, false, args);
  return all;
}

function promised(value, settles, negated) {
  const all = {};
  for (const name of NAMES) {
    const settled = async (args, at) => {
      let got;
      let failed = true;
      try {
        got = await (typeof value === "function" ? value() : value);
        failed = false;
      } catch (error) {
        got = error;
      }
      if (settles && failed) fail(`the promise was rejected: ${show(got)}`, at);
      if (!settles && !failed) fail(`the promise was fulfilled: ${show(got)}`, at);
      check(name, got, negated, !settles, args, at);
    };
    all[name] = (...args) => settled(args, new Error(""));
  }
  return all;
}

function expect(value) {
  const all = claims(value, false);
  all.not = claims(value, true);
  for (const [key, settles] of [["resolves", true], ["rejects", false]]) {
    all[key] = promised(value, settles, false);
    all[key].not = promised(value, settles, true);
  }
  return all;
}

// What stands for any of many values in toEqual.
const matching = (text, matches) => ({ __show: text, __matches: matches });
const TYPES = new Map([[String, "string"], [Number, "number"], [Boolean, "boolean"], [BigInt, "bigint"], [Function, "function"]]);
const stand = {
  anything: () => matching("anything", v => v !== undefined && v !== null),
  any: type => matching(`any ${type.name}`, v => (TYPES.has(type) ? typeof v === TYPES.get(type) : v instanceof type)),
  stringContaining: text => matching(`a string with ${show(text)}`, v => typeof v === "string" && v.includes(text)),
  stringMatching: re => matching(`a string like ${re}`, v => typeof v === "string" && new RegExp(re).test(v)),
  objectContaining: o => matching(`an object with ${show(o)}`, v => isPlain(v) && equal(v, o, "partial")),
  arrayContaining: list =>
    matching(`a list with ${show(list)}`, v => Array.isArray(v) && list.every(x => v.some(own => equal(own, x, "loose")))),
};

// ---- the outside world; the runner answers these URLs

const BASE = "http://forebay-test";
const ask = (path, body) => http().post(`${BASE}/${path}`, JSON.stringify(body)).json();

function makeMock() {
  return {
    http(method, url, reply) {
      if (reply === undefined) throw new TypeError("mock.http(method, url, reply): there is no reply");
      const replies = (Array.isArray(reply) ? reply : [reply]).map(({ status, headers, json, body, error }) => ({
        status, headers, error, body: json === undefined ? body : JSON.stringify(json), isJson: json !== undefined,
      }));
      const { id } = ask("mock", { method, url, replies });
      return {
        get calls() {
          return ask("calls", { id });
        },
      };
    },
    now(time) {
      const ms = new Date(time).getTime();
      if (Number.isNaN(ms)) throw new TypeError(`mock.now: ${show(time)} is not a time`);
      ask("now", { ms });
    },
    advance(time) {
      ask("advance", { time });
    },
  };
}

function request(method, path, { json, body, headers = {} } = {}) {
  if (typeof path !== "string" || !path.startsWith("/")) throw new TypeError("request(method, path): the path begins with /");
  const url = `${BASE}/app${path}`;
  const content = json === undefined ? body : JSON.stringify(json);
  const fields = json === undefined ? { ...headers } : { "content-type": "application/json", ...headers };
  const options = { headers: fields };
  const verb = method.toUpperCase();
  if (content !== undefined && ["GET", "HEAD", "DELETE"].includes(verb)) throw new TypeError(`request: a ${verb} has no body`);
  if (verb === "GET") return http().get(url, options);
  if (verb === "HEAD") return http().head(url, options);
  if (verb === "DELETE") return http().delete(url, options);
  if (verb === "POST") return http().post(url, content, options);
  if (verb === "PUT") return http().put(url, content, options);
  if (verb === "PATCH") return http().patch(url, content, options);
  throw new TypeError(`request: ${verb} can't be sent from a test`);
}

// ---- the suite

// `%s`, `%d`, `%j`, `%#` in the name of test.each.
function named(name, values, index) {
  let at = 0;
  const filled = name.replace(/%[sdj#%]/g, mark => {
    if (mark === "%%") return "%";
    if (mark === "%#") return String(index);
    if (at >= values.length) return mark;
    const value = values[at++];
    return mark === "%j" ? JSON.stringify(value) : typeof value === "string" ? value : show(value).replace(/\s+/g, " ");
  });
  return filled.replace(/\$([A-Za-z_]\w*)/g, (all, key) => (isPlain(values[0]) && key in values[0] ? String(values[0][key]) : all));
}

export function suite() {
  const root = { name: "", parent: undefined, before: [], after: [], only: false, skip: false };
  const tests = [];
  let group = root;

  function add(name, fn, flags) {
    if (typeof name !== "string") throw new TypeError("a test has a name: test(\"...\", () => ...)");
    if (typeof fn !== "function" && !flags.skip && !flags.todo) throw new TypeError(`test ${show(name)} has no function`);
    tests.push({ name, fn, group, ...flags });
  }
  const makeTest = flags => {
    const test = (name, fn) => add(name, fn, flags);
    test.each = rows => (name, fn) => {
      rows.forEach((row, index) => {
        const values = Array.isArray(row) ? row : [row];
        add(named(name, values, index), () => fn(...values), flags);
      });
    };
    return test;
  };
  const test = makeTest({});
  test.only = makeTest({ only: true });
  test.skip = makeTest({ skip: true });
  test.todo = name => add(name, undefined, { todo: true });

  const makeDescribe = flags => (name, fn) => {
    const outer = group;
    group = { name, parent: outer, before: [], after: [], ...flags };
    try {
      if (fn() instanceof Promise) throw new TypeError(`describe ${show(name)}: its function can't be async`);
    } finally {
      group = outer;
    }
  };
  const describe = makeDescribe({});
  describe.only = makeDescribe({ only: true });
  describe.skip = makeDescribe({ skip: true });

  const up = from => {
    const groups = [];
    for (let at = from; at !== undefined; at = at.parent) groups.push(at);
    return groups;
  };
  const is = (t, flag) => !!t[flag] || up(t.group).some(g => g[flag]);

  async function one({ fn, group: own }) {
    const groups = up(own);
    const stack = [];
    for (const g of [...groups].reverse()) for (const before of g.before) await before();
    try {
      await fn();
    } catch (error) {
      stack.push(error);
    }
    for (const g of groups) {
      for (const after of g.after) {
        try {
          await after();
        } catch (error) {
          stack.push(error);
        }
      }
    }
    if (stack.length > 0) throw stack[0];
  }

  async function run() {
    const { list, index, database } = payload();
    if (list) {
      const some = tests.some(t => is(t, "only"));
      return tests.map(t => ({
        name: [...up(t.group).reverse().map(g => g.name).filter(name => name !== ""), t.name].join(" > "),
        outcome: t.todo ? "todo" : is(t, "skip") || (some && !is(t, "only")) ? "skipped" : "",
      }));
    }
    const t = tests[index];
    if (t === undefined) throw new RangeError("the file declares other tests each time that it runs");
    if (!database) {
      await one(t);
      return true;
    }
    const back = {};
    try {
      await tx(async () => {
        await one(t);
        throw back;
      });
    } catch (error) {
      if (error !== back) throw error;
    }
    return true;
  }

  return {
    describe,
    test,
    it: test,
    beforeEach: fn => void group.before.push(fn),
    afterEach: fn => void group.after.push(fn),
    expect: Object.assign(expect.bind(undefined), stand),
    mock: makeMock(),
    request,
    run,
  };
}
