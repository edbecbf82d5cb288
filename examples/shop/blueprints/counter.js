// A counter that survives a power cut: the write is on disk before the answer leaves.
work("Counter").post("/counter/{name}", req => {
  const key = `counter/${req.params.name}`;
  for (;;) {
    const count = kv.get(key);
    const next = (count ?? 0) + 1;
    if (kv.cas(key, count, next)) return { name: req.params.name, count: next };
  }
});

work("ReadCounter").get("/counter/{name}", req => {
  const count = kv.get(`counter/${req.params.name}`);
  if (count === undefined) return { status: 404, error: `No counter ${req.params.name}` };
  return { name: req.params.name, count };
});

work("ListCounters").get("/counters", () =>
  kv.scan("counter/").map(({ key, value }) => ({ name: key.slice("counter/".length), count: value })));
