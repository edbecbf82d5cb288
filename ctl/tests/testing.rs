//! `forebay test`: what passes, what fails and how it is told, what tests can't do to each other.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod e2e;

use e2e::{App, Postgres, forebay};
use serde_json::Value;

/// Runs the app's tests; outcome by name.
#[track_caller]
fn outcomes(app: &App, arguments: &[&str]) -> (i32, Vec<(String, String)>, Value) {
    let run = forebay(app.path(), &[&["test", ".", "--json"], arguments].concat());
    let value: Value =
        serde_json::from_str(&run.out).unwrap_or_else(|e| panic!("{e}: {}\n{}", run.out, run.err));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = value["tests"].as_array().unwrap();
    let list = list.iter().map(|test| (text(&test["name"]), text(&test["outcome"]))).collect();
    (run.code, list, value)
}

/// Every test of this file passes.
#[track_caller]
fn passes(app: &App) -> usize {
    let (code, list, value) = outcomes(app, &[]);
    for test in value["tests"].as_array().unwrap() {
        assert_eq!(
            test["outcome"],
            "passed",
            "{}\n{}",
            test["name"],
            test["error"].as_str().unwrap_or_default()
        );
    }
    assert_eq!(code, 0);
    list.len()
}

#[test]
fn matchers_hold_and_fail_as_they_say() {
    let app = App::empty();
    // Each line claims something true; its negation must fail, and the other way round.
    let claims = r#"
expect(1).toBe(1)
expect(NaN).toBe(NaN)
expect(0).not.toBe(-0)
expect({}).not.toBe({})
expect({ a: [1, { b: 2 }], c: undefined }).toEqual({ a: [1, { b: 2 }] })
expect({ a: 1 }).not.toEqual({ a: 2 })
expect({ a: undefined }).not.toStrictEqual({})
expect([1, 2]).not.toEqual([2, 1])
expect(new Map([["a", { b: 1 }]])).toEqual(new Map([["a", { b: 1 }]]))
expect(new Set([1, 2])).toEqual(new Set([2, 1]))
expect(new Date(5)).toEqual(new Date(5))
expect(Decimal("1.50")).toEqual(Decimal("1.5"))
expect(2n).toEqual(2n)
expect({ a: 1, b: 2 }).toMatchObject({ b: 2 })
expect({ id: 7, at: "x" }).toEqual({ id: expect.any(Number), at: expect.anything() })
expect(["ab", "c"]).toEqual([expect.stringContaining("a"), expect.stringMatching(/^c$/)])
expect({ list: [1, 2, 3] }).toEqual({ list: expect.arrayContaining([3, 1]) })
expect("hello").toMatch("ell")
expect("hello").toMatch(/^h.*o$/)
expect([1, 2]).toContain(2)
expect("abc").toContain("b")
expect([{ a: 1 }]).toContainEqual({ a: 1 })
expect([1, 2]).toHaveLength(2)
expect({ a: { b: [5] } }).toHaveProperty("a.b[0]", 5)
expect(0.1 + 0.2).toBeCloseTo(0.3)
expect(1.01).not.toBeCloseTo(1, 3)
expect(2).toBeGreaterThan(1)
expect(2).toBeGreaterThanOrEqual(2)
expect(1).toBeLessThan(2n)
expect(1).toBeLessThanOrEqual(1)
expect(new RangeError("x")).toBeInstanceOf(RangeError)
expect("x").toBeTruthy()
expect("").toBeFalsy()
expect(null).toBeNull()
expect(undefined).toBeUndefined()
expect(0).toBeDefined()
expect(NaN).toBeNaN()
expect(() => { throw new TypeError("bad thing"); }).toThrow()
expect(() => { throw new TypeError("bad thing"); }).toThrow("bad")
expect(() => { throw new TypeError("bad thing"); }).toThrow(/thing$/)
expect(() => { throw new TypeError("bad thing"); }).toThrow(TypeError)
expect(() => { throw new TypeError("bad thing"); }).not.toThrow(RangeError)
expect(() => 1).not.toThrow()
await expect(Promise.resolve(3)).resolves.toBe(3)
await expect(Promise.reject(new Error("no"))).rejects.toThrow("no")
await expect(async () => { throw new RangeError("no"); }).rejects.toThrow(RangeError)
await expect(Promise.resolve({ a: 1 })).resolves.not.toEqual({ a: 2 })
"#;
    let mut good = String::new();
    let mut bad = String::new();
    for (n, claim) in claims.trim().lines().enumerate() {
        good.push_str(&format!("test(\"{n}\", async () => {{ {claim}; }});\n"));
        let negated = if claim.contains(".not.") { claim.replace(".not.", ".") } else { negate(claim) };
        bad.push_str(&format!("test(\"{n}\", async () => {{ {negated}; }});\n"));
    }
    app.write("blueprints/good.test.js", &good);
    assert_eq!(passes(&app), claims.trim().lines().count());
    app.remove("blueprints/good.test.js");
    app.write("blueprints/bad.test.js", &bad);
    let (code, list, value) = outcomes(&app, &[]);
    assert_eq!(code, 1);
    for ((name, outcome), test) in list.iter().zip(value["tests"].as_array().unwrap()) {
        assert_eq!(outcome, "failed", "{name}: {}", bad.lines().nth(name.parse().unwrap()).unwrap());
        let error = test["error"].as_str().unwrap();
        let line = name.parse::<usize>().unwrap() + 1;
        assert!(
            error.contains("error[test/failed]: expect(") && error.contains(&format!("bad.test.js:{line}:")),
            "{error}"
        );
    }
}

/// `.toX(` becomes `.not.toX(`, where the claim begins.
fn negate(claim: &str) -> String {
    let at = [").resolves.to", ").rejects.to", ").to"].iter().find_map(|mark| {
        let at = claim.rfind(mark)?;
        Some(at + mark.len() - ".to".len())
    });
    let at = at.unwrap();
    format!("{}.not{}", &claim[..at], &claim[at..])
}

#[test]
fn order_groups_only_skip_each_and_hooks() {
    let app = App::empty();
    app.write(
        "tests/a.test.js",
        r#"
let log = [];
beforeEach(() => { log.push("outer"); });
afterEach(() => { if (log.includes("break")) throw new Error("after"); });
test("first", () => { log.push("first"); expect(log).toEqual(["outer", "first"]); });
describe("group", () => {
  beforeEach(async () => { await null; log.push("inner"); });
  it("has both", () => expect(log).toEqual(["outer", "inner"]));
  describe("deep", () => { it.skip("not this", () => { throw 1; }); test.todo("later"); });
});
test.each([[1, 2, 3], [2, 2, 4]])("%d + %d is %d", (a, b, sum) => expect(a + b).toBe(sum));
test.each([{ name: "a", n: 1 }])("row $name %#", ({ n }) => expect(n).toBe(1));
test("after fails", () => { log.push("break"); });
"#,
    );
    app.write("tests/b.test.ts", "describe(\"d\", () => { test.only(\"this\", () => { const n: number = 1; expect(n).toBe(1); }); test(\"not this\", () => { throw 1; }); });\n");
    let (code, list, _) = outcomes(&app, &[]);
    let text: Vec<String> = list.iter().map(|(name, outcome)| format!("{name}: {outcome}")).collect();
    assert_eq!(
        text,
        [
            "first: passed",
            "group > has both: passed",
            "group > deep > not this: skipped",
            "group > deep > later: todo",
            "1 + 2 is 3: passed",
            "2 + 2 is 4: passed",
            "row a 0: passed",
            "after fails: failed",
            "d > this: passed",
            "d > not this: skipped",
        ]
    );
    assert_eq!(code, 1);
    let (code, list, _) = outcomes(&app, &["--filter", "is 4"]);
    assert_eq!((code, list.len()), (0, 1));
    let none = forebay(app.path(), &["test", "--filter", "zebra"]);
    assert!(none.code == 1 && none.err.contains("no test fits"), "{}", none.err);
    let none = forebay(App::with("return 1;").path(), &["test"]);
    assert!(none.code == 1 && none.err.contains("there are no tests"), "{}", none.err);
}

#[test]
fn failures_are_code_frames_with_differences_and_logs() {
    let app = App::empty();
    app.write(
        "lib/math.js",
        "export function half(n) {\n  if (n < 0) throw new RangeError(\"below zero\");\n  return n / 2;\n}\n",
    );
    app.write(
        "blueprints/a.test.js",
        "import { half } from \"lib/math.js\";\n\ntest(\"objects\", () => {\n  log(\"seen\", 1);\n  const user = { name: \"Ada\", age: 36 };\n  expect(user).toEqual({ name: \"Ada\", age: 37 });\n});\ntest(\"throws\", () => half(-1));\ntest(\"spins\", () => { for (;;) {} });\ntest(\"good\", () => expect(half(4)).toBe(2));\n",
    );
    app.write("forebay.toml", "[limits]\nfuel = 1000000\n");
    let run = forebay(app.path(), &["test"]);
    assert!(run.code == 1 && run.err.trim() == "error: 3 tests failed", "{}", run.err);
    let mut rest = &*run.out;
    for part in [
        "blueprints/a.test.js\n",
        "  FAILED  objects (",
        "error[test/failed]: expect(...).toEqual(...)",
        "--> blueprints/a.test.js:6:16",
        "^^^^",
        "- expected, + received",
        "-   age: 37,\n",
        "+   age: 36,\n",
        "its log:\n      info: seen 1\n",
        "  FAILED  throws (",
        "error[script_error]: RangeError: below zero",
        "--> lib/math.js:2:",
        "at half (lib/math.js:2:",
        "blueprints/a.test.js:8:",
        "  FAILED  spins (",
        "fuel_exhausted",
        "  ok      good (",
        "1 passed, 3 failed in ",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} not in order in\n{}", run.out));
        rest = &rest[at + part.len()..];
    }
    // A file that doesn't build is told with its own lines.
    app.write("blueprints/b.test.js", "test(\"x\", () => nope);\n");
    let run = forebay(app.path(), &["test"]);
    assert!(
        run.code == 1 && run.err.contains("blueprints/b.test.js:1:17") && run.err.contains("FB0201"),
        "{}",
        run.err
    );
}

#[test]
fn tests_have_a_keyspace_a_clock_and_a_world_of_their_own() {
    let app = App::with(
        r#"
work("Count").post("/count/{name}", req => ({ count: kv.incr(req.params.name) }));
work("Time").get("/time", () => now().text());
work("Rate").post("/rate", () => {
  const answer = http().post("https://rates.example/v1", { pair: payload().pair });
  if (!answer.ok) return { status: 502, error: answer.status };
  return { rate: answer.json().rate };
});
work("Broken").get("/broken", () => { throw new Error("inside"); });
"#,
    );
    app.write(
        "blueprints/main.test.js",
        r#"
for (const n of [1, 2]) {
  test(`counts from nothing, ${n}`, () => {
    expect(kv.get("a")).toBeUndefined();
    expect(request("POST", "/count/a").json()).toEqual({ count: 1 });
    expect(request("post", "/count/a").json().count).toBe(2);
    expect(kv.get("a")).toBe(2);
  });
}
test("the clock stands still, for requests too, and moves when it is told", () => {
  mock.now("2026-01-01");
  expect(now().text()).toMatch(/^2026-01-01T00:00:00/);
  expect(Date.now()).toBe(new Date("2026-01-01").getTime());
  sleep("1h");
  expect(request("GET", "/time").text()).toMatch(/^2026-01-01T01:00:00/);
  mock.advance("1d");
  expect(new Date().toISOString()).toBe("2026-01-02T01:00:00.000Z");
  kv.set("short", 1, { ttl: "10m" });
  mock.advance("9m");
  expect(kv.get("short")).toBe(1);
  mock.advance("2m");
  expect(kv.get("short")).toBeUndefined();
});
test("the clock runs again", () => { expect(new Date().getFullYear()).toBeGreaterThan(2025); expect(() => mock.advance(1)).toThrow("mock.now"); });
test("outbound requests are mocked, wherever they come from", () => {
  const rates = mock.http("POST", "https://rates.example/*", [{ json: { rate: 25000 } }, { status: 503 }]);
  const ask = () => request("POST", "/rate", { json: { pair: "USDVND" } });
  expect(ask().json()).toEqual({ rate: 25000 });
  expect(ask()).toMatchObject({ status: 502 });
  expect(rates.calls).toEqual([
    { url: "https://rates.example/v1", body: { pair: "USDVND" } },
    { url: "https://rates.example/v1", body: { pair: "USDVND" } },
  ]);
});
test("an unmocked request is an error", () => {
  expect(() => http().get("https://example.com/x")).toThrow('mock.http("GET", "https://example.com/x"');
  const answer = request("POST", "/rate", { json: { pair: "A" } });
  expect(answer.status).toBe(500);
  expect(answer.text()).toContain("tests don't reach the network");
});
test("a mock may fail", () => {
  mock.http("GET", "https://example.com/x", { error: "connection refused" });
  expect(() => http().get("https://example.com/x")).toThrow("connection refused");
});
test("requests go through the real routes and response rules", () => {
  expect(request("GET", "/nowhere").status).toBe(404);
  expect(request("DELETE", "/time").status).toBe(405);
  expect(request("POST", "/rate", { body: "{", headers: { "content-type": "application/json" } }).status).toBe(400);
  const broken = request("GET", "/broken");
  expect(broken.status).toBe(500);
  expect(broken.json().detail).toContain("Error: inside");
  expect(() => request("GET", "time")).toThrow("begins with /");
});
test("many at once", async () => {
  const all = await Promise.all([1, 2, 3, 4].map(async () => request("POST", "/count/b").json().count));
  expect(all.sort()).toEqual([1, 2, 3, 4]);
});
"#,
    );
    assert_eq!(passes(&app), 9);
}

#[test]
fn coverage_counts_lines_of_statements() {
    let app = App::empty();
    app.write(
        "blueprints/a.js",
        "import { sign } from \"lib/sign.js\";\nwork(\"A\").get(\"/a\", req => {\n  const n = Number(req.query.n);\n  if (n > 5) {\n    return \"large\";\n  }\n  return sign(n);\n});\n\nwork(\"B\").get(\"/b\", () =>\n  1);\n",
    );
    app.write("lib/sign.js", "export const sign = n => {\n  if (n < 0) return \"-\";\n  return \"+\";\n};\n");
    app.write("blueprints/script.js", "const w = work(\"S\").router(\"GET\", \"/s\");\nlet a = 1;\nif (payload().x) {\n  a = 2;\n}\nreturn a;\n");
    app.write("tests/a.test.js", "test(\"a\", () => {\n  expect(request(\"GET\", \"/a?n=1\").text()).toBe(\"+\");\n  expect(request(\"GET\", \"/s\").json()).toBe(1);\n});\n");
    let (code, _, value) = outcomes(&app, &["--coverage"]);
    assert_eq!(code, 0, "{value}");
    let files: Vec<String> = value["coverage"].as_array().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        files,
        [
            r#"{"file":"blueprints/a.js","hit":3,"lines":5,"missed":[5,11]}"#,
            r#"{"file":"blueprints/script.js","hit":4,"lines":5,"missed":[4]}"#,
            r#"{"file":"lib/sign.js","hit":2,"lines":2,"missed":[]}"#,
        ]
    );
    let lcov = std::fs::read_to_string(app.path().join(".forebay/lcov.info")).unwrap();
    assert!(
        lcov.contains(
            "SF:blueprints/a.js\nDA:3,1\nDA:4,1\nDA:5,0\nDA:7,1\nDA:11,0\nLF:5\nLH:3\nend_of_record\n"
        ),
        "{lcov}"
    );
    let run = forebay(app.path(), &["test", "--coverage"]);
    assert!(run.out.contains("not: 5, 11\n") && run.out.contains("75.0%  9/12"), "{}", run.out);
}

#[test]
fn each_test_is_a_transaction_that_is_rolled_back() {
    let app = App::with(
        r#"
work("Add").post("/item", () => db().table("item").insert({ name: payload().name }).returning("id"));
work("Two").post("/two", () => tx(() => {
  db().table("item").insert({ name: "one" });
  if (payload().fail) throw new Error("second fails");
  db().table("item").insert({ name: "two" });
  return db().table("item").count();
}));
work("Count").get("/count", () => db().table("item").count());
"#,
    );
    let mut postgres = Postgres::start(&app);
    app.write("forebay.toml", &format!("[database]\nurl = \"{}\"\n", postgres.url()));
    postgres.psql("create table item (id bigint generated always as identity primary key, name text unique not null); insert into item (name) values ('first')");
    app.write(
        "blueprints/main.test.js",
        r#"
for (const n of [1, 2]) {
  test(`sees its own rows and leaves none, ${n}`, () => {
    expect(db().table("item").count()).toBe(1);
    expect(request("POST", "/item", { json: { name: "a" } }).status).toBe(200);
    db().table("item").insert({ name: "b" });
    expect(request("GET", "/count").json()).toBe(3);
  });
}
test("a failed statement spoils nothing", () => {
  expect(request("POST", "/item", { json: { name: "first" } }).status).toBe(500);
  expect(() => { const n = db().table("item").insert({ name: "first" }); return n; }).toThrow("duplicate key");
  expect(request("POST", "/item", { json: { name: "c" } }).status).toBe(200);
  expect(request("GET", "/count").json()).toBe(2);
});
test("transactions of requests are savepoints", () => {
  expect(request("POST", "/two", { json: {} }).json()).toBe(3);
  expect(request("POST", "/two", { json: { fail: true } }).status).toBe(500);
  expect(db().table("item").count()).toBe(3);
  tx(() => db().table("item").insert({ name: "d" }));
  expect(() => tx(() => { db().table("item").insert({ name: "e" }); throw new Error("no"); })).toThrow("no");
  expect(request("GET", "/count").json()).toBe(4);
});
test("overlapping statements keep apart", async () => {
  const names = ["f", "first", "g", "first", "h"];
  const all = await Promise.all(names.map(async name => request("POST", "/item", { json: { name } }).status));
  expect(all).toEqual([200, 500, 200, 500, 200]);
  expect(request("GET", "/count").json()).toBe(4);
});
"#,
    );
    assert_eq!(passes(&app), 5);
    assert_eq!(postgres.psql("select count(*) from item"), "1");
    postgres.stop();
}

#[test]
fn the_examples_and_a_new_app_pass_their_own_tests() {
    let shop = App::shop();
    assert_eq!(passes(&shop), 5);
    let folder = App::empty();
    let made = forebay(folder.path(), &["new", "hello"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let run = forebay(folder.path(), &["test", "hello"]);
    assert!(run.code == 0 && run.out.contains("ok      greets ("), "{}{}", run.out, run.err);
}
