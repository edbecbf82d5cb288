// The order handler, 1000 orders: validate, price, discount, tax, answer.
const RATES = { DE: 0.19, FR: 0.2, US: 0.07 };
function handle(input) {
  if (!input.customer || input.items.length === 0) return { status: 400, error: "empty order" };
  let subtotal = 0;
  let count = 0;
  for (const item of input.items) {
    if (item.quantity <= 0) return { status: 422, error: `bad quantity for ${item.sku}` };
    subtotal += item.price * item.quantity;
    count += item.quantity;
  }
  const discount = subtotal > 100 ? subtotal * 0.1 : 0;
  const rate = RATES[input.country] ?? 0;
  const tax = (subtotal - discount) * rate;
  return {
    order: input.id, customer: input.customer, count, subtotal, discount, tax,
    total: Math.round((subtotal - discount + tax) * 100) / 100,
    reference: `${input.country}-${input.id}`,
  };
}
const INPUTS = [];
for (let i = 0; i < 64; i++) {
  INPUTS.push({
    id: 1000 + i, customer: "c" + i, country: ["DE", "FR", "US", "XX"][i & 3],
    items: [
      { sku: "a" + i, price: 10.5 + i, quantity: 1 + (i % 3) },
      { sku: "b" + i, price: 3.25, quantity: 2 },
      { sku: "c" + i, price: 20, quantity: 1 },
    ],
  });
}
function bench() {
  let sum = 0;
  for (let i = 0; i < 1000; i++) {
    const answer = handle(INPUTS[i & 63]);
    sum += answer.total + answer.reference.length + answer.count;
  }
  return Math.round(sum * 100);
}
