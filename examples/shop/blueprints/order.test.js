// forebay test examples/shop
describe("POST /v1/process", () => {
  beforeEach(() => mock.now("2026-01-01T12:00:00Z"));

  test("books the order and answers with its time and total", () => {
    const answer = request("POST", "/v1/process", { json: { user_id: 1, amount: 2 } });
    expect(answer.status).toBe(200);
    expect(answer.json()).toEqual({ order_id: "2026-01-01T12:00:00.000Z", total: 50000 });
    expect(db().table("transactions").where("user_id", 1).get()).toMatchObject([{ user_id: 1, amount: 50000 }]);
  });

  test("asks for the rate", () => {
    const rates = mock.http("GET", "https://api.exchangerate.host/latest", { json: { base: "USD", rates: { VND: 1 } } });
    request("POST", "/v1/process", { json: { user_id: 1, amount: 2 } });
    expect(rates.calls).toHaveLength(1);
  });

  test.each([[0], [99]])("user %d is unknown", user_id => {
    const answer = request("POST", "/v1/process", { json: { user_id, amount: 2 } });
    expect(answer.status).toBe(404);
    expect(answer.json().error).toBe("User not found");
    expect(db().table("transactions").count()).toBe(0);
  });
});

test("counters count, and start at nothing in each test", () => {
  expect(request("GET", "/counter/visits").status).toBe(404);
  expect(request("POST", "/counter/visits").json()).toEqual({ name: "visits", count: 1 });
  expect(request("POST", "/counter/visits").json().count).toBe(2);
  expect(kv.get("counter/visits")).toBe(2);
});
