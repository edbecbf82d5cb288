// Property get and set, 1e6 turns, on objects of one shape.
function bench() {
  const cart = { id: 7, count: 0, total: 0, tax: 0.25, last: null };
  const item = { price: 12, quantity: 3, weight: 0.5 };
  for (let i = 0; i < 1000000; i++) {
    cart.count = cart.count + 1;
    cart.total = cart.total + item.price * item.quantity;
    item.quantity = (item.quantity + 1) & 7;
    cart.last = item;
    if (cart.total > 1000000) cart.total = cart.total - 1000000;
  }
  return cart.count + cart.total + cart.last.quantity;
}
