//! The store as its users have it: scripts, `forebay ctl kv`, `forebay kv`, all on one running server and on its folder.
#![allow(clippy::unwrap_used, reason = "a test")]

mod e2e;

use std::path::Path;

use e2e::{App, Server, forebay, request};
use serde_json::{Value, json};

const SCRIPT: &str = r#"
work("Language").get("/language", () => {
  kv.set("user:1", { name: "Ada", tags: ["x", 1, null, 1.5, true] });
  kv.set("user:2", "two", { sync: false });
  kv.set("user:3", 3, { ttl: 60000 });
  kv.set("gone", 1, { ttl: 1 });
  sleep(20);
  const seen = [];
  const count = kv.iterate("user:", 1, 2, (key, value) => { seen.push([key, value]); });
  const first = kv.scan("user:", { limit: 2 });
  const rest = kv.scan("user:", { limit: 2, after: first[1].key });
  kv.batch([{ set: "a", value: 1 }, { set: "b", value: 2 }, { del: "user:2" }]);
  return {
    get: kv.get("user:1"), absent: kv.get("nothing") === undefined, gone: kv.exists("gone"),
    count, seen, first: first.map(i => i.key), rest: rest.map(i => i.key),
    snx: [kv.snx("once", 1), kv.snx("once", 2)],
    cas: [kv.cas("once", 1, 5), kv.cas("once", 1, 6), kv.cas("fresh", undefined, 1), kv.cas("fresh", undefined, 1)],
    same: kv.cas("user:1", { tags: ["x", 1, null, 1.5, true], name: "Ada" }, "replaced"),
    incr: [kv.incr("n"), kv.incr("n", 41), kv.get("n")],
    batch: [kv.get("a"), kv.get("b"), kv.exists("user:2")],
    del: [kv.del("a"), kv.del("a")],
  };
});
work("Limits").get("/limits", () => {
  const said = [];
  for (const f of [
    () => kv.set("k".repeat(1025), 1), () => kv.set("k", undefined), () => kv.incr("user:1"),
    () => kv.iterate("", 100001, 1, () => {}), () => kv.set("k", 1, { tll: "1h" }), () => kv.snx("z", 1, { sync: false }),
    () => kv.scan("k", { prefix: "a" }), () => kv.batch([{ set: "a", value: 1, ttl: "1h" }]),
  ]) { try { f(); said.push("nothing"); } catch (e) { said.push(e.name + ": " + e.message); } }
  kv.set("k".repeat(1024), "longest");
  return { said, longest: kv.get("k".repeat(1024)) };
});
work("Claim").post("/claim", () => {
  const seen = kv.get("claimed");
  const next = (seen ?? 0) + 1;
  return { done: kv.cas("claimed", seen, next), next };
});
"#;

fn ok(server: &Server, path: &str) -> Value {
    let answer = server.get(path);
    assert_eq!(answer.status, 200, "{answer}");
    answer.json()
}

#[test]
fn scripts_have_the_whole_store() {
    let app = App::with(SCRIPT);
    let server = Server::serve(&app, &[]);
    assert_eq!(
        ok(&server, "/language"),
        json!({
            "get": { "name": "Ada", "tags": ["x", 1, null, 1.5, true] }, "absent": true, "gone": false,
            "count": 2, "seen": [["user:2", "two"], ["user:3", 3]],
            "first": ["user:1", "user:2"], "rest": ["user:3"],
            "snx": [true, false], "cas": [true, false, true, false], "same": true,
            "incr": [1, 42, 42], "batch": [1, 2, false], "del": [true, false],
        })
    );
    let limits = ok(&server, "/limits");
    assert_eq!(limits["longest"], "longest");
    let said: Vec<&str> = limits["said"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
    for (said, expected) in said.iter().zip([
        "RangeError: kv.set: the key has 1025 bytes; at most 1024 are allowed",
        "TypeError: kv.set: undefined can't be stored; kv.del removes a key",
        "TypeError: kv.incr: the value is not an integer, or the sum leaves 64 bits",
        "RangeError: kv.iterate: offset 100001 is beyond 100000: continue after the last key instead",
        "TypeError: kv.set: unknown option \"tll\"; there are ttl, sync",
        "TypeError: kv.snx: unknown option \"sync\"; there are ttl",
        "TypeError: kv.scan: unknown option \"prefix\"; there are limit, after",
        "TypeError: kv.batch: unknown field \"ttl\"; there are set, value, del",
    ]) {
        assert_eq!(*said, expected);
    }
    server.stop();
}

#[test]
fn the_configuration_sets_quotas() {
    let app = App::with(
        "work(\"Put\").post(\"/put/{key}\", req => { kv.set(req.params.key, 1); return \"ok\"; });",
    );
    app.write("forebay.toml", "[kv]\nkeys = 2\n");
    let server = Server::serve(&app, &[]);
    let put = |key: &str| server.post(&format!("/put/{key}"), "").status;
    assert_eq!((put("a"), put("b"), put("a")), (200, 200, 200));
    assert_eq!(put("c"), 500);
    let run = forebay(app.path(), &["ctl", "kv", "put", "c", "1"]);
    assert!(run.code == 1 && run.err.contains("the quota of 2 keys is used up"), "{}{}", run.out, run.err);
    server.stop();
}

/// Compare-and-swap is linearizable over cores: of all that saw a value one replaces it, and none is skipped.
#[test]
fn claims_over_cores_follow_one_another() {
    const CLIENTS: usize = 4;
    const TRIES: usize = 60;
    let app = App::with(SCRIPT);
    let server = Server::serve(&app, &["--cores", "0,1"]);
    let won: Vec<u64> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = server.client();
                    let (mut won, mut before) = (Vec::new(), 0);
                    for _ in 0..TRIES {
                        client.try_send(&request("POST", "/claim", Some("{}"))).unwrap();
                        let answer = client.try_answer("POST").unwrap();
                        assert_eq!(answer.status, 200, "{answer}");
                        let value = answer.json();
                        let next = value["next"].as_u64().unwrap();
                        // What a client has seen acknowledged it never sees undone.
                        assert!(next > before, "{next} after {before}");
                        if value["done"] == json!(true) {
                            before = next;
                            won.push(next);
                        }
                    }
                    won
                })
            })
            .collect();
        clients.into_iter().flat_map(|c| c.join().unwrap()).collect()
    });
    let mut sorted = won;
    sorted.sort_unstable();
    assert!(sorted.iter().copied().eq(1..=sorted.len() as u64), "won twice or never: {sorted:?}");
    assert!(sorted.len() >= TRIES, "somebody wins every round");
    server.stop();
}

#[test]
fn the_store_from_the_command_line() {
    let app = App::with(SCRIPT);
    let server = Server::serve(&app, &[]);
    let ctl = |arguments: &[&str]| {
        let run = forebay(app.path(), &[&["ctl", "kv"], arguments].concat());
        (run.code, run.out.trim().to_owned(), run.err)
    };
    ok(&server, "/language");
    assert_eq!(ctl(&["get", "user:3"]).1, "3");
    assert_eq!(ctl(&["get", "nothing"]).0, 1);
    assert_eq!(ctl(&["put", "user:9", r#"{"name":"Grace"}"#]).0, 0);
    assert_eq!(ctl(&["get", "user:9"]).1, r#"{"name":"Grace"}"#);
    let wrong = ctl(&["put", "user:9", "text"]);
    assert!(wrong.0 == 2 && wrong.2.contains("a string needs quotes"), "{wrong:?}");
    assert_eq!(ctl(&["cas", "user:9", "1", "2"]).0, 1);
    assert_eq!(ctl(&["cas", "user:9", r#"{"name":"Grace"}"#, "2"]).0, 0);
    assert_eq!(ctl(&["cas", "user:10", "undefined", "[1]"]).0, 0);
    assert_eq!(ctl(&["put", "soon", "1", "--ttl", "1"]).0, 0);
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(ctl(&["get", "soon"]).0, 1);
    let scan = ctl(&["scan", "user:", "--limit", "2", "--after", "user:10"]);
    assert_eq!(scan.1, "{\"key\":\"user:3\",\"value\":3}\n{\"key\":\"user:9\",\"value\":2}", "{scan:?}");
    assert_eq!(ctl(&["del", "user:9"]).0, 0);
    assert_eq!(ctl(&["del", "user:9"]).0, 1);
    // A backup while the server runs: what is written later isn't in it.
    let saved = app.path().join("saved");
    let backup = ctl(&["backup", saved.to_str().unwrap()]);
    assert!(backup.0 == 0 && backup.1.contains("segments"), "{backup:?}");
    assert_eq!(ctl(&["put", "later", "1"]).0, 0);
    let refused = ctl(&["backup", saved.to_str().unwrap()]);
    assert!(refused.0 == 1 && refused.2.contains("is not empty"), "{refused:?}");
    server.stop();

    // On copies of the folder, without a server.
    let kv = |arguments: &[&str]| {
        let run = forebay(app.path(), &[&["kv"], arguments].concat());
        assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.out, run.err);
        run.out
    };
    let keys = |folder: &str| {
        let dump = kv(&["dump", folder]);
        let mut keys: Vec<String> = Vec::new();
        for line in dump.lines() {
            keys.push(serde_json::from_str::<Value>(line).unwrap()["key"].as_str().unwrap().to_owned());
        }
        keys
    };
    let data = ".forebay/data";
    kv(&["restore", "saved", "restored"]);
    let (live, saved) = (keys(data), keys("restored"));
    assert!(live.contains(&"later".to_owned()) && !saved.contains(&"later".to_owned()));
    assert_eq!(
        live.iter().filter(|key| *key != "later").collect::<Vec<_>>(),
        saved.iter().collect::<Vec<_>>()
    );
    kv(&["backup", data, "offline"]);
    kv(&["restore", "offline", "again"]);
    assert_eq!(keys("again"), live);
    let report: Value = serde_json::from_str(&kv(&["compact", "again", "--json"])).unwrap();
    assert!(report["log_bytes_after"].as_u64() < report["log_bytes_before"].as_u64(), "{report}");
    assert_eq!(keys("again"), live);
    kv(&["verify", "again"]);
    assert_eq!(forebay(app.path(), &["kv", "restore", "saved", "again"]).code, 1);
    assert_eq!(forebay(app.path(), &["kv", "restore", "missing", "new"]).code, 2);
    assert!(!Path::new(&app.path().join("new")).exists());
}
