// Halves of a pair: no literal may hold them.
const HI = String.fromCharCode(0xd83d);
const LO = String.fromCharCode(0xde00);
const show = v => {
  if (v === undefined) return "undefined";
  if (v === null) return "null";
  if (typeof v === "string") return JSON.stringify(v);
  if (typeof v === "number") return Object.is(v, -0) ? "-0" : `${v}`;
  if (typeof v === "bigint") return `${v}n`;
  if (typeof v === "boolean") return `${v}`;
  if (typeof v === "symbol") return v.toString();
  if (typeof v === "function") return "function " + v.name + "/" + v.length;
  if (Array.isArray(v)) {
    const items = [];
    for (let i = 0; i < v.length; i++) items[i] = i in v ? show(v[i]) : "hole";
    return "[" + items.join(",") + "]";
  }
  if (v instanceof Map) return "Map" + show([...v]);
  if (v instanceof Set) return "Set" + show([...v]);
  if (v instanceof Date) return "Date " + v.getTime();
  if (v instanceof Error) return v.name + ":" + v.message;
  const members = [];
  for (const key of Object.keys(v)) members.push(JSON.stringify(key) + ":" + show(v[key]));
  return "{" + members.join(",") + "}";
};
const failure = e => "throws " + (e instanceof Error ? e.name : show(e));
