// Regular expressions: validation, extraction, replacement.
function bench() {
  const lines = [];
  for (let i = 0; i < 100; i++) {
    lines.push("2024-0" + (1 + (i % 9)) + "-1" + (i % 10) + " user" + i + "@example.org GET /items/" + i * 17 + "?q=a%20b " + i * 3 + "ms");
  }
  let sum = 0;
  for (let round = 0; round < 30; round++) {
    for (const line of lines) {
      const m = /^(\d{4})-(\d{2})-(\d{2}) (\S+@\S+) (GET|POST) (\/\S*) (\d+)ms$/.exec(line);
      if (m !== null) sum += Number(m[7]) + m[4].length;
      if (/^[^@\s]+@[a-z0-9.]+$/i.test(m[4])) sum++;
      sum += line.replace(/[aeiou]/g, "*").length;
      sum += line.split(/[ /?&]+/).length;
    }
  }
  return sum;
}
