// Writes NAME.txt for each NAME.js here: what Node makes of its cases, one line of JSON each.
// node vm/engine/tests/language/expect.mjs [NAME...]
import { readFileSync, readdirSync, writeFileSync } from "node:fs";

const here = new URL(".", import.meta.url);
const AsyncFunction = (async () => {}).constructor;
const wanted = process.argv.slice(2);

for (const file of readdirSync(here).filter(f => f.endsWith(".js"))) {
  const name = file.slice(0, -3);
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const cases = readFileSync(new URL(file, here), "utf8").split(/^\/\/--- .*\n/m).slice(1);
  const lines = [];
  for (const source of cases) {
    let outcome;
    try {
      outcome = await new AsyncFunction('"use strict";\n' + source)();
    } catch (error) {
      outcome = `${error.name}: thrown`;
    }
    lines.push(JSON.stringify(outcome));
  }
  writeFileSync(new URL(`${name}.txt`, here), lines.join("\n") + "\n");
}
