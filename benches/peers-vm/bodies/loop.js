// Arithmetic loop, 1e7 turns: integers, remainders, doubles.
function bench() {
  let total = 0;
  let scale = 1.5;
  for (let i = 0; i < 10000000; i++) {
    total = (total + i * 3) % 1000003;
    if ((i & 1023) === 0) scale = scale * 1.0001;
  }
  return total + Math.floor(scale * 1000);
}
