// Writes what Node prints for each expression of *.js beside this file (UTC, like the appliance),
// and makes generated.js: seeded calls of methods of strings, numbers, arrays, dates and JSON.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";

process.env.TZ = "UTC";
const dir = new URL(".", import.meta.url);
const read = name => readFileSync(new URL(name, dir), "utf8");

// SEED=7 COUNT=1000 node expect.mjs makes others; the committed ones are those without.
let seed = Number(process.env.SEED ?? 20240229);
const random = () => {
  seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
  return seed / 4294967296;
};
const below = n => Math.floor(random() * n);
const pick = list => list[below(list.length)];
const text = () => {
  const parts = ["a", "b", "ab", "aab", " ", "é", "ß", "€", "😀", '" + HI + "', '" + LO + "', "Z", "x,y", "1", "İ", "Σ", "\\n"];
  const literal = '"' + Array.from({ length: below(6) }, () => pick(parts)).join("") + '"';
  return literal.includes("+") ? `(${literal})` : literal;
};
const int = () => pick(["", "0", "1", "2", "-1", "-3", "7", "NaN", "Infinity", "-Infinity", "1.9", "undefined", '"2"', "null"]);
const args = (...makers) => {
  const list = makers.slice(0, below(makers.length + 1)).map(m => m() || "0");
  return list.join(", ");
};
const number = () =>
  pick([
    () => below(2000) - 1000,
    () => random(),
    () => random() * 10 ** below(25),
    () => random() * 10 ** -below(25),
    () => (below(2000) + 0.5) / 10 ** below(4),
    () => below(2 ** 31) * below(2 ** 31),
    () => pick([0, -0, 1e21, 1e-7, 5e-324, 1.7976931348623157e308, 0.1, 255, 4294967296, 2 ** 53, NaN, Infinity]),
  ])();
const num = () => {
  const n = number() * pick([1, -1]);
  return Object.is(n, -0) ? "(-0)" : `(${n})`;
};
const value = depth => {
  const kind = below(depth > 0 ? 10 : 8);
  if (kind === 0) return num();
  if (kind < 3) return text();
  if (kind === 3) return pick(["null", "true", "false"]);
  if (kind === 4) return "undefined";
  if (kind < 8) return `${below(20)}`;
  if (kind === 8) return "[" + Array.from({ length: below(5) }, () => value(depth - 1)).join(", ") + "]";
  return "({" + Array.from({ length: below(5) }, () => pick(["a", "b", "c", "1", '"x y"']) + ": " + value(depth - 1)).join(", ") + "})";
};
const array = () => "[" + Array.from({ length: below(8) }, () => pick([value(1), `${below(9)}`, `${below(9)}`, ""])).join(",") + ",]";
const lines = [];
for (let i = 0; i < Number(process.env.COUNT ?? 120); i++) {
  lines.push(`${text()}.${pick(["slice", "substring", "substr"])}(${args(int, int)})`);
  lines.push(`${text()}.${pick(["indexOf", "lastIndexOf", "includes", "startsWith", "endsWith"])}(${text()}${pick(["", ", " + (int() || 1)])})`);
  lines.push(`${text()}.${pick(["at", "charAt", "charCodeAt", "codePointAt"])}(${int()})`);
  lines.push(`${text()}.${pick(["padStart", "padEnd"])}(${below(12)}${pick(["", ", " + text()])})`);
  lines.push(`${text()}.${pick(["trim", "trimStart", "trimEnd", "toUpperCase", "toLowerCase", "isWellFormed", "toWellFormed"])}()`);
  lines.push(`${text()}.split(${pick([text(), '"a"', '""', '"a", 2', ""])})`);
  lines.push(`${text()}.${pick(["replace", "replaceAll"])}(${pick([text(), '"a"'])}, ${pick([text(), '"[$&$`$\'$$]"', "(m, p, s) => `<${m}${p}${s.length}>`"])})`);
  lines.push(`[...${text()}]`);
  lines.push(`${text()} < ${text()}`);
  lines.push(`${num()}.toString(${pick(["", below(35) + 2])})`);
  lines.push(`${num()}.toFixed(${below(12)})`);
  lines.push(`${num()}.toPrecision(${below(20) + 1})`);
  lines.push(`${num()}.toExponential(${pick(["", below(12)])})`);
  lines.push(`Number("${pick(["", " ", "+", "-"])}${pick([number(), "0x1f", "1e3", ".5", "5.", "0b12", "Infinity", "1_0"])}${pick(["", "", " ", "x"])}")`);
  lines.push(`Math.${pick(["round", "floor", "ceil", "trunc", "sign", "fround", "abs", "sqrt", "clz32"])}(${num()})`);
  lines.push(`[${num()} % ${num()}, ${num()} | 0, ${num()} >>> ${below(40)}, ${num()} << ${below(40)}]`);
  lines.push(`JSON.stringify(${value(3)}${pick(["", ", null, 2", ', null, "--"', ', ["a", "b", 1]', ', (k, v) => (typeof v === "number" ? v + 1 : v)'])})`);
  lines.push(`JSON.parse(JSON.stringify([${value(3)}])${pick(["", ', (k, v) => (k === "a" ? undefined : v)'])})`);
  lines.push(`new Date(${Math.floor((random() - 0.5) * pick([2e12, 4e14, 1.7e16]))}).${pick(["toISOString", "toString", "toUTCString", "toDateString", "toJSON", "getDay", "getFullYear", "getMonth", "getUTCHours", "getMilliseconds"])}()`);
  lines.push(`Date.UTC(${below(4000) - 1000}, ${below(40) - 20}, ${below(60) - 20}, ${below(50) - 20}, ${below(100) - 20})`);
  lines.push(`[...${array()}.${pick(["concat", "slice", "toReversed", "flat", "keys", "entries"])}(${pick(["", int() || "1"])})]`);
  lines.push(`${array()}.${pick(["indexOf", "lastIndexOf", "includes"])}(${value(0)}${pick(["", ", " + (int() || 0)])})`);
  lines.push(`(a => [a.splice(${args(int, int, () => value(0), () => value(0))}), a])(${array()})`);
  lines.push(`${array()}.${pick(["join", "toString"])}(${pick(["", text(), '"-"'])})`);
  lines.push(`(a => [a.${pick(["pop", "shift", "reverse", "push", "unshift"])}(${pick(["", value(0), value(0) + ", 1"])}), a])(${array()})`);
  lines.push(`${array()}.${pick(["sort", "toSorted"])}(${pick(["", "(a, b) => (`${a}` < `${b}` ? 1 : -1)"])})`);
  lines.push(`${array()}.${pick(["map", "filter", "flatMap", "findLast", "findIndex", "some", "every"])}((v, i) => ${pick(["i % 2", "v === 1", "[v, i]", "`${i}`"])})`);
}
writeFileSync(new URL("generated.js", dir), lines.join("\n") + "\n");

const { show, failure, HI, LO } = new Function(`"use strict"; ${read("show.js")}; return { show, failure, HI, LO };`)();
for (const name of readdirSync(dir)) {
  if (!name.endsWith(".js") || name === "show.js") continue;
  const results = [];
  for (const line of read(name).split("\n")) {
    if (line === "" || line.startsWith("//")) continue;
    let result;
    try {
      result = show(new Function("HI", "LO", `"use strict"; return (${line});`)(HI, LO));
    } catch (e) {
      result = failure(e);
    }
    results.push(result);
  }
  writeFileSync(new URL(name.replace(".js", ".txt"), dir), results.join("\n") + "\n");
}
