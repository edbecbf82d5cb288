// Generators: lazy ranges and filters.
function* range(n) {
  for (let i = 0; i < n; i++) yield i;
}
function* even(source) {
  for (const n of source) if (n % 2 === 0) yield n;
}
function bench() {
  let sum = 0;
  for (let round = 0; round < 20; round++) {
    for (const n of even(range(2000))) sum = (sum + n) % 1000003;
  }
  return sum;
}
