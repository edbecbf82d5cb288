import { pageOf } from "../lib/page.js";

const columns = ["id", "name", "role", "age"];

// GET /users?role=admin&older=30&page=1
work("ListUsers").get("/users", req => {
  const { role, older = "0" } = req.query;
  const age = Number(older);
  if (!Number.isInteger(age)) {
    return { status: 400, error: "older must be a whole number" };
  }
  const { limit, offset } = pageOf(req.query);
  let users = db().table("user").select(...columns).where(u => u.age > age);
  if (role !== undefined) users = users.where("role", role);
  return users.order("id").limit(limit).offset(offset).get();
});

work("GetUser").get("/users/{id}", ({ params }) => {
  const user = db().table("user").select(...columns).where("id", params.id).first();
  if (!user) return { status: 404, error: `No user ${params.id}` };
  const spent = db().table("transactions").where("user_id", user.id).get()
    .reduce((sum, t) => sum + t.amount, 0);
  return { ...user, spent };
});

// Several queries overlap: each async call is a fiber of its own.
work("Summary").get("/summary", async () => {
  const [admins, guests, orders] = await Promise.all([
    (async () => db().table("user").where(u => u.role == "admin").count())(),
    (async () => db().table("user").where(u => u.role == "guest" && u.age >= 18).count())(),
    (async () => db().table("transactions").count())(),
  ]);
  return { admins, guests, orders };
});
