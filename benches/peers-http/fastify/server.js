// fastify and pg: `node server.js ADDRESS CONNINFO POOL`. One process, as the harness gives each server one core.
// CONNINFO is `host=... port=... user=... dbname=...`. Statements have names, so that they are prepared once per
// connection; answers have schemas, so that fastify compiles their serializers.
import Fastify from "fastify";
import pg from "pg";

const [address, conninfo, size] = process.argv.slice(2);
const options = Object.fromEntries(conninfo.split(" ").map(pair => pair.split("=")));
const pool = new pg.Pool({
  host: options.host,
  port: Number(options.port),
  user: options.user,
  database: options.dbname,
  max: Number(size),
});

const WORLD = { name: "world", text: "SELECT id, randomnumber FROM world WHERE id = $1" };
const FORTUNES = { name: "fortunes", text: "SELECT id, message FROM fortune" };
const UPDATE = {
  name: "update",
  text: "UPDATE world SET randomnumber = w.r FROM (SELECT unnest($1::int4[]) AS i, unnest($2::int4[]) AS r) w WHERE world.id = w.i",
};
const number = () => 1 + Math.floor(Math.random() * 10000);
const count = request => Math.min(500, Math.max(1, Number.parseInt(request.query.q, 10) || 1));
const world = async id => (await pool.query({ ...WORLD, values: [id] })).rows[0];
const worlds = n => Promise.all(Array.from({ length: n }, () => world(number())));

const shape = { type: "object", properties: { id: { type: "integer" }, randomnumber: { type: "integer" } } };
const one = { schema: { response: { 200: shape } } };
const many = { schema: { response: { 200: { type: "array", items: shape } } } };

const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escape = text => text.replace(/[&<>"']/g, c => entities[c]);

const app = Fastify();
app.get("/db", one, () => world(number()));
app.get("/queries", many, request => worlds(count(request)));
app.get("/updates", many, async request => {
  const list = await worlds(count(request));
  list.sort((a, b) => a.id - b.id);
  for (const row of list) row.randomnumber = number();
  await pool.query({ ...UPDATE, values: [list.map(row => row.id), list.map(row => row.randomnumber)] });
  return list;
});
app.get("/fortunes", async (request, reply) => {
  const { rows } = await pool.query(FORTUNES);
  rows.push({ id: 0, message: "Additional fortune added at request time." });
  rows.sort((a, b) => (a.message < b.message ? -1 : 1));
  let html = "<!DOCTYPE html><html><head><title>Fortunes</title></head><body><table><tr><th>id</th><th>message</th></tr>";
  for (const row of rows) html += `<tr><td>${row.id}</td><td>${escape(row.message)}</td></tr>`;
  reply.type("text/html; charset=utf-8");
  return `${html}</table></body></html>`;
});

const [host, port] = address.split(":");
await app.listen({ host, port: Number(port) });
