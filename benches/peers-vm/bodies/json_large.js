// JSON of about 100 KB, 10 times.
function bench() {
  const rows = [];
  for (let i = 0; i < 700; i++) {
    rows.push({
      id: i, uuid: "3f2b8c1e-0000-4000-8000-" + (100000000000 + i), email: "user" + i + "@example.org",
      score: (i * 7919) % 1000 / 8, active: i % 2 === 0, balance: i * 1234.5, note: i % 5 === 0 ? null : "line\n" + i,
    });
  }
  const source = JSON.stringify({ page: 1, rows });
  let sum = source.length;
  for (let i = 0; i < 10; i++) {
    const data = JSON.parse(source);
    data.page += i;
    for (let k = 0; k < data.rows.length; k += 10) data.rows[k].score += 1;
    sum += JSON.stringify(data).length + data.rows[i].score;
  }
  return sum;
}
