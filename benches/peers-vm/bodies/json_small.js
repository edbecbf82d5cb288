// JSON of about 1 KB, 1000 times: parse, transform, stringify.
function bench() {
  const items = [];
  for (let i = 0; i < 10; i++) {
    items.push({ sku: "SKU-" + (1000 + i), name: "Item number " + i, price: 9.75 + i, quantity: 1 + (i % 4), tags: ["a", "b"] });
  }
  const source = JSON.stringify({
    id: 123456, customer: { name: "Ada Lovelace", email: "ada@example.org", active: true, note: null }, items,
  });
  let sum = 0;
  for (let i = 0; i < 1000; i++) {
    const order = JSON.parse(source);
    order.id += i;
    let total = 0;
    for (const item of order.items) {
      item.total = item.price * item.quantity;
      total += item.total;
    }
    order.total = total;
    order.status = "priced";
    sum += JSON.stringify(order).length;
  }
  return sum;
}
