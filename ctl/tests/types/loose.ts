// Without forebay.lock.json, and of other databases: any table, any column.
export {};
const r = db().table("user").where("a", 3).where({ b: 4 }).where(u => u.x > 3 && u.y.like("s")).or("c", "in", [1]).leftJoin("b", (a, b) => a.c == b.d).join("c", "d", "e.f", "g.h").select("a", "b.c as d").order("x").group("y").having(() => count() > 3).get();
r[0].foo.bar;
const s: number = db().table("user").update({ a: 1 }).where("b", 2).and({ c: 3 });
db().table("user").update(u => ({ a: u.b + 1 })).all().returning("x")[0].y;
db().table("user").insert({ a: 1 }).onConflict("a", { b: 3 }).returning("q").z;
db().table("user").insert([{ a: 1 }]).returning()[0].z;
db().table("user").select(u => ({ a: u.b, n: count() })).first().a.b.c;
db().table("user").find("x").y; db().table("user").min("x").z; db().table("a", "b").copy([{ a: 1 }], { columns: ["z"] });
for (const row of db().table("x").cursor()) row.q;
