// Sort 1000 objects, 20 times: by number, then by text.
function bench() {
  const rows = [];
  let seed = 12345;
  for (let i = 0; i < 1000; i++) {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    rows.push({ id: i, rank: seed % 10007, name: "n" + (seed % 997) });
  }
  let sum = 0;
  for (let round = 0; round < 20; round++) {
    const by = round % 2 === 0
      ? (a, b) => a.rank - b.rank
      : (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id);
    const sorted = rows.slice().sort(by);
    sum += sorted[round].id * 3 + sorted[999 - round].id;
  }
  return sum;
}
