// Map and Set: counting words, de-duplicating, joining rows.
function bench() {
  const words = [];
  for (let i = 0; i < 500; i++) words.push("w" + ((i * 7919) % 200));
  let sum = 0;
  for (let round = 0; round < 40; round++) {
    const counts = new Map();
    for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
    for (const [word, n] of counts) sum += word.length * n;
    const ids = new Set();
    for (let i = 0; i < 2000; i++) ids.add((i * 31) % 1009);
    for (let i = 0; i < 1000; i++) if (ids.has(i)) sum++;
    sum += ids.size;
    const byId = new Map();
    for (let i = 0; i < 500; i++) byId.set(i * 3, { id: i });
    for (let i = 0; i < 1500; i++) {
      const row = byId.get(i);
      if (row !== undefined) sum += row.id;
    }
    byId.delete(30);
    sum += byId.size;
  }
  return sum;
}
