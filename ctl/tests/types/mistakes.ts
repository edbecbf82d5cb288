// Each line under a comment is an error, and tsc fails if it is not.
export {};
const people = () => db().table("person");
// @ts-expect-error no such table
db().table("persn");
// @ts-expect-error no such column
people().where("agee", 3);
// @ts-expect-error
people().where("agee", ">", 3);
// @ts-expect-error text that is no number
people().where("age", "old");
// @ts-expect-error
people().where("age", true);
// @ts-expect-error
people().where("age", ">", {});
// @ts-expect-error
people().where("active", 1);
// @ts-expect-error
people().where("role", "admn");
// @ts-expect-error never null
people().where("name", null);
// @ts-expect-error
people().where({ agee: 3 });
// @ts-expect-error
people().where({ age: "old" });
// @ts-expect-error
people().where(p => p.agee > 3);
// @ts-expect-error
people().where(p => p.age > "x");
// @ts-expect-error
people().where(p => p.role == "admn");
// @ts-expect-error
people().where(p => p.name.startWith("A"));
// @ts-expect-error
people().in("age", ["old"]);
// @ts-expect-error
people().between("age", 1, "x");
// @ts-expect-error
people().isNull("agee");
// @ts-expect-error
people().select("id", "agee");
// @ts-expect-error
people().select("agee as a");
// @ts-expect-error it was not selected
people().select("id").first()?.name;
// @ts-expect-error it may be missing
people().first().name;
// @ts-expect-error it may be null
people().first()!.age + 1;
// @ts-expect-error
people().get()[0].agee;
// @ts-expect-error
people().select(p => ({ a: p.agee }));
// @ts-expect-error
people().order("agee");
// @ts-expect-error
people().group("agee");
// @ts-expect-error
people().insert({ name: 3 });
// @ts-expect-error a name is missing
people().insert({ age: 3 });
// @ts-expect-error
people().insert({ name: "A", agee: 3 });
// @ts-expect-error generated
people().insert({ name: "A", id: 3 });
// @ts-expect-error
people().insert({ name: "A", age: "old" });
// @ts-expect-error
people().insert([{ name: "A" }, { name: null }]);
// @ts-expect-error
people().insert({ name: "A" }).returning("agee");
// @ts-expect-error
people().insert({ name: "A" }).returning("id").name;
// @ts-expect-error
people().insert({ name: "A" }).onConflict("nme", "ignore");
// @ts-expect-error
people().insert({ name: "A" }).onConflict("name", { agee: 3 });
// @ts-expect-error
people().update({ agee: 3 });
// @ts-expect-error
people().update({ age: "old" });
// @ts-expect-error
people().update({ name: null });
// @ts-expect-error
people().update(p => ({ agee: 3 }));
// @ts-expect-error
people().update(p => ({ age: p.name }));
// @ts-expect-error
people().update({ age: 3 }).where("agee", 3);
// @ts-expect-error
people().update({ age: 3 }).where("id", 3).returning("agee");
// @ts-expect-error
people().delete().where({ agee: 3 });
// @ts-expect-error
people().find(true);
// @ts-expect-error
people().min("agee");
// @ts-expect-error
people().join("purchse", (p, o) => o.person_id == p.id);
// @ts-expect-error
people().join("purchase", (p, o) => o.persn_id == p.id);
// @ts-expect-error
people().join("purchase", "o", "o.persn_id", "person.id");
// @ts-expect-error
people().join("purchase", "o", (p, o) => o.person_id == p.id).where("o.amont", 3);
// @ts-expect-error
people().join("purchase", "o", (p, o) => o.person_id == p.id).select("name", "o.amont");
// @ts-expect-error
people().copy([{ nme: "A" }]);
// @ts-expect-error
people().each(row => row.agee);
