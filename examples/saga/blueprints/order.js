// An order that takes stock, waits for its payment, and gives back what it took if that fails or somebody cancels.
// docs/TASKS.md; `forebay serve examples/saga`, then:
//   curl -X PUT localhost:8080/stock/tea -d 2
//   curl -X POST localhost:8080/orders/17 -H 'Content-Type: application/json' -d '{"item":"tea"}'
//   curl -X POST localhost:8080/orders/17/payment -H 'Content-Type: application/json' -d '{"ok":true}'
//   curl localhost:8080/_forebay/tasks/order-17
work("Order").post("/orders/{number}", req => {
  const { item } = req.json();
  if (kv.incr("stock/" + item, -1) < 0) {
    kv.incr("stock/" + item);
    throw new RangeError("no " + item + " left");
  }
  task.defer(() => { kv.incr("stock/" + item); });

  const payment = task.wait("payment", { timeout: "3d" });
  if (payment === undefined || !payment.ok) throw new Error("payment refused");

  const shipping = task.start("Shipping", { item, order: req.params.number });
  return { number: req.params.number, shipped: task.join(shipping) };
}).durable({ id: "order-{number}" });

work("Shipping").post("/shipping", () => {
  sleep("100ms");
  kv.set("shipped/" + payload().order, payload().item);
  return true;
}).durable();

work("Payment").post("/orders/{number}/payment", req => {
  task.signal("order-" + req.params.number, "payment", req.json());
  return "thanks";
});
work("Cancel").delete("/orders/{number}", req => {
  task.cancel("order-" + req.params.number);
  return "cancelled";
});
work("SetStock").put("/stock/{item}", req => {
  kv.set("stock/" + req.params.item, parseInt(req.text()));
  return "ok";
});
work("Stock").get("/stock/{item}", req => String(kv.get("stock/" + req.params.item) ?? 0));
