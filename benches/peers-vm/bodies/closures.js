// Closures, 1e5 turns: counters, composition, currying.
function counter(start) {
  let n = start;
  return { next: () => ++n, add: by => (n += by), get: () => n };
}
const compose = (f, g) => x => f(g(x));
function bench() {
  let sum = 0;
  for (let i = 0; i < 100000; i++) {
    const c = counter(i);
    c.next();
    c.add(i & 7);
    const f = compose(x => x + i, x => x * 2);
    sum = (sum + f(c.get())) % 1000003;
  }
  return sum;
}
