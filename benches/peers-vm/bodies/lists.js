// map, filter, reduce over 1000 elements, 200 times.
function bench() {
  const orders = [];
  for (let i = 0; i < 1000; i++) orders.push({ id: i, amount: (i * 37) % 500, paid: i % 3 !== 0 });
  let sum = 0;
  for (let round = 0; round < 200; round++) {
    sum += orders
      .filter(o => o.paid)
      .map(o => o.amount * 2 + round)
      .reduce((a, b) => a + b, 0);
    sum %= 1000000007;
  }
  return sum;
}
