// What tables and columns of forebay.lock.json let a chain be: no line of it is an error.
export {};
type Is<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function is<A, B>(_: Is<A, B>) {}
declare const params: { id: string };
const people = () => db().table("person");

const all = people().where("age", ">", 18).and("name", "Ada").get();
is<(typeof all)[0]["age"], number | null>(true);
is<(typeof all)[0]["id"], number | bigint>(true);
people().where("id", params.id).first()?.name.length;
people().where("age", "42").or("age", null).or("id", [1, 2]).in("role", ["admin"]).between("age", 1, "3").isNull("age");
people().where("person.age", 3).like("name", "A%").where({ age: null, role: "admin", id: [1, 2] });
people().where(p => p.age > 18 && p.role == "admin" && p.name.startsWith("A") && p.name.like("x%") && p.price * 2 > 3 && p.born > new Date() && !p.active);
people().where(p => [1, 2].includes(p.id) || ["a"].includes(p.name) || p.age == null || (p.age ?? 3) > 2 || p.note.x == 3 || p.price == 3);
const narrow = people().select("id", "person.name as title", "age").first()!;
is<typeof narrow, { id: number | bigint; title: string; age: number | null }>(true);
const computed = people().select(p => ({ n: p.name, a: p.age, up: p.name.toUpperCase(), more: p.age + 1, ok: p.age > 3, price: p.price, born: p.born, role: p.role, active: p.active })).get()[0];
is<typeof computed, { n: string; a: number | null; up: string | null; more: any; ok: boolean | null; price: Decimal | null; born: Date; role: "admin" | "guest"; active: boolean }>(true);
const counted = people().select(p => ({ role: p.role, n: count() })).group("role").having(() => count() > 1).order("n", "desc").get()[0];
is<typeof counted, { role: "admin" | "guest"; n: number }>(true);
const dynamic: string = params.id;
const loose = people().where(dynamic, 3).select(dynamic).order(dynamic).get()[0];
is<typeof loose, any>(true);
const joined = db().from("person", "p").join("purchase", "o", (p, o) => o.person_id == p.id).where("o.amount", ">", 3).where("p.age", 4)
  .select("p.name", "o.amount as paid").order("paid").get()[0];
is<typeof joined, { name: string; paid: Decimal }>(true);
const left = people().leftJoin("purchase", "o", "o.person_id", "person.id").select("name", "o.amount").first()!;
is<typeof left, { name: string; amount: Decimal | null }>(true);
const lambda = people().join("purchase", (p, o) => o.person_id == p.id).select((p, o) => ({ name: p.name, total: sum(o.amount), at: o.at })).get()[0];
is<typeof lambda, { name: string; total: any; at: Date | null }>(true);
const whole = people().leftJoin("purchase", (p, o) => o.person_id == p.id).get()[0];
is<(typeof whole)["amount"], Decimal | null>(true);
is<(typeof whole)["name"], string>(true);
const star = people().join("purchase", "o", (p, o) => o.person_id == p.id).select("*").first()!;
star.amount.add(1);
const made = people().insert({ name: "A" }).returning("id", "name");
is<typeof made, { id: number | bigint; name: string }>(true);
const madeAll = people().insert([{ name: "A", age: 3 }]).onConflict("name", { age: 4 }).returning();
is<(typeof madeAll)[0]["role"], "admin" | "guest">(true);
people().insert({ name: "B", price: "1.5", born: new Date() }).onConflict(["name"], ["age"]);
people().insert({ name: "B" }).onConflict("name", "update");
const n: number = people().update({ age: 4, price: 1.5 }).where("id", params.id);
people().update(p => ({ age: p.age + 1, name: p.name.trim(), price: p.price * 2 })).where("id", 7);
const changed = people().update({ age: 4 }).where(p => p.id == 7).returning("name");
is<typeof changed, { name: string }[]>(true);
people().delete().where({ id: 3 }).returning();
is<ReturnType<typeof least>, number | null>(true);
function least() { return people().min("age"); }
for (const row of people().select("age").cursor({ batch: 3 })) { is<typeof row, { age: number | null }>(true); }
people().each(row => row.name.length);
people().find(7)?.name.length;
people().find(params.id);
people().copy([{ name: "A" }], { columns: ["name"] });
people().count("age");
db().table("public.person").first()?.name.length;
db().table("other.x").where("x.id", 3).first()?.id.toFixed();
db("reports").table("whatever").where("x", 3).where(w => w.y > 3).join("z", (a, b) => a.c == b.d).select("q").insert({ a: 1 });
db().table(dynamic).where("x", 3).get()[0].y;
db().raw("select 1")[0].x;
