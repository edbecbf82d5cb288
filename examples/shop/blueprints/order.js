const w = work("OrderProcessor").router("POST", "/v1/process").version("1.5.0");
let input = payload();
let user = db().table("user").where("id", input.user_id).get();
if (user.len() == 0) { return { status: 404, error: "User not found" }; }
let fx = http().get("https://api.exchangerate.host/latest");
let total = input.amount * 25000;
db().table("transactions").insert({ user_id: input.user_id, amount: total });
return { order_id: now().text(), total: total };
