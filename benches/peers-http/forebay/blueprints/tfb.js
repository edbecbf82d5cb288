// TechEmpower's kinds that need a database. Named queries have a Sync each, as its rules ask; chains of db() that only
// read share one where that is safe (docs/decisions/0090-read-groups.md), and have paths of their own.
const number = () => 1 + Math.floor(Math.random() * 10000);
const count = req => Math.min(500, Math.max(1, Number.parseInt(req.query.q, 10) || 1));

// Most texts have nothing to escape: a look for each character is cheaper than a regular expression's search.
function escape(text) {
  if (text.includes("&")) text = text.replaceAll("&", "&amp;");
  if (text.includes("<")) text = text.replaceAll("<", "&lt;");
  if (text.includes(">")) text = text.replaceAll(">", "&gt;");
  if (text.includes('"')) text = text.replaceAll('"', "&quot;");
  if (text.includes("'")) text = text.replaceAll("'", "&#39;");
  return text;
}

function worlds(n) {
  const ids = [];
  for (let i = 0; i < n; i++) ids.push(number());
  return Promise.all(ids.map(async id => sql.world({ id })));
}

function worldsShared(n) {
  const ids = [];
  for (let i = 0; i < n; i++) ids.push(number());
  return Promise.all(ids.map(async id => db().table("world").select("id", "randomnumber").find(id)));
}

function page(rows) {
  rows.push({ id: 0, message: "Additional fortune added at request time." });
  rows.sort((a, b) => (a.message < b.message ? -1 : 1));
  let text = "<!DOCTYPE html><html><head><title>Fortunes</title></head><body><table><tr><th>id</th><th>message</th></tr>";
  for (const row of rows) text += `<tr><td>${row.id}</td><td>${escape(row.message)}</td></tr>`;
  return html(text + "</table></body></html>");
}

work("Db").get("/db", () => sql.world({ id: number() }));
work("DbShared").get("/db-shared", () => db().table("world").select("id", "randomnumber").find(number()));
work("Queries").get("/queries", async req => worlds(count(req)));
work("QueriesShared").get("/queries-shared", async req => worldsShared(count(req)));
work("Fortunes").get("/fortunes", () => page(sql.fortunes()));
work("Updates").get("/updates", async req => {
  const list = await worlds(count(req));
  list.sort((a, b) => a.id - b.id);
  for (const row of list) row.randomnumber = number();
  sql.update({ ids: list.map(row => row.id), numbers: list.map(row => row.randomnumber) });
  return list;
});
