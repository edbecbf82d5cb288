//! The example shop as a new user meets it: `forebay dev examples/shop`, the lines that
//! it prints, the README's promises. Whole system: the real binary, curl, PostgreSQL.
#![allow(clippy::unwrap_used, reason = "a test")]

mod e2e;

use std::fs;

use e2e::{App, Server, eventually, psql, repository, shell, shop_folder};
use forebay_ctl::devpg::DevPg;
use serde_json::{Value, json};

const ORDER: &str = r#"{"user_id": 1, "amount": 2}"#;

/// `POST /v1/process` asks api.exchangerate.host, which in dev is the shop itself: each
/// core keeps a connection for the next time.
const KEPT: u32 = 2;

/// `2026-01-02T03:04:05.678901Z`: what `now().text()` writes.
fn is_timestamp(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000000Z"
}

/// The text with every such timestamp replaced by `TIME`.
fn without_times(text: &str) -> String {
    let mut out = text.to_owned();
    let width = "0000-00-00T00:00:00.000000Z".len();
    let mut at = 0;
    while at + width <= out.len() {
        if out.is_char_boundary(at) && out.get(at..at + width).is_some_and(is_timestamp) {
            out.replace_range(at..at + width, "TIME");
        }
        at += 1;
    }
    out
}

/// The first fenced block of this language in the README.
fn readme_block(language: &str) -> String {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let start = readme.find(&format!("```{language}\n")).unwrap() + language.len() + 4;
    let end = start + readme[start..].find("```").unwrap();
    readme[start..end].to_owned()
}

#[test]
fn the_readmes_blueprint_is_the_shops() {
    let file = fs::read_to_string(shop_folder().join("blueprints/order.js")).unwrap();
    assert_eq!(readme_block("js"), file);
}

#[test]
fn every_line_that_dev_prints_works_as_printed() {
    let app = App::shop();
    let server = Server::dev(&app, &[]);
    let greeting = server.out();
    assert!(greeting.contains(&format!("Serving http://{}\n", server.address)), "{greeting}");
    let lines: Vec<&str> = greeting.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let own = fs::read_to_string(shop_folder().join("try.txt")).unwrap();
    let own = own.replace("ADDRESS", &server.address.to_string());
    assert_eq!(lines, own.lines().collect::<Vec<_>>(), "the app's own lines, with the address");
    let expected = [
        ("/v1/process", r#"{"order_id":"TIME","total":50000}"#),
        ("/v1/process", r#"{"status":404,"error":"User not found"}"#),
        (
            "/users",
            r#"[{"id":1,"name":"Ada","role":"admin","age":36},{"id":2,"name":"Grace","role":"admin","age":45},{"id":3,"name":"Linus","role":"guest","age":21},{"id":4,"name":"Kid","role":"guest","age":12}]"#,
        ),
        ("/users/1", r#"{"id":1,"name":"Ada","role":"admin","age":36,"spent":50000}"#),
        ("/summary", r#"{"admins":2,"guests":1,"orders":1}"#),
        ("/counter/visits", r#"{"name":"visits","count":1}"#),
        ("/counters", r#"[{"name":"visits","count":1}]"#),
        ("/hello", "Hello, World!"),
        ("/", &fs::read_to_string(shop_folder().join("public/index.html")).unwrap()),
    ];
    assert_eq!(lines.len(), expected.len());
    for (line, (path, answer)) in lines.iter().zip(expected) {
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
        assert!(url.ends_with(&format!("{}{path}", server.address)), "{line}");
        let run = shell(app.path(), line);
        assert_eq!((run.code, without_times(&run.out).as_str()), (0, answer), "{line}: {}", run.err);
    }
    server.stop_but(KEPT);
}

#[test]
fn the_readmes_console_runs_as_printed() {
    let app = App::shop();
    let server = Server::dev(&app, &[]);
    let block = readme_block("console");
    let mut lines = block.lines().peekable();
    let mut commands = 0;
    while let Some(line) = lines.next() {
        let command = line.strip_prefix("$ ").unwrap_or_else(|| panic!("a command, not {line:?}"));
        let mut printed = String::new();
        while let Some(output) = lines.next_if(|line| !line.starts_with("$ ")) {
            printed = printed + output + "\n";
        }
        let command = command.replace("127.0.0.1:8080", &server.address.to_string());
        let run = shell(app.path(), &command);
        assert_eq!(without_times(run.out.trim_end()), without_times(printed.trim_end()), "{command}");
        commands += 1;
    }
    assert!(commands >= 4);
    server.stop_but(KEPT);
}

#[test]
fn make_run_is_what_these_tests_run() {
    let makefile = fs::read_to_string(repository().join("Makefile")).unwrap();
    assert!(makefile.contains("/release/forebay\" dev examples/shop --listen \"$(LISTEN)\""), "{makefile}");
    assert!(makefile.contains("LISTEN ?= 127.0.0.1:8080"));
}

#[test]
fn orders_users_and_pages() {
    let app = App::shop();
    let server = Server::dev(&app, &[]);
    let url = DevPg::running_url(app.path()).unwrap();
    let mut client = server.client();

    // An order: the answer, and the row.
    let answer = client.post("/v1/process", ORDER);
    let body = answer.json();
    assert_eq!((answer.status, &body["total"]), (200, &json!(50000)), "{answer}");
    assert!(is_timestamp(body["order_id"].as_str().unwrap()), "{answer}");
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["order_id", "total"]);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(psql(&url, "select user_id, amount from transactions"), "1|50000");

    // Nobody.
    let answer = client.post("/v1/process", r#"{"user_id": 99, "amount": 2}"#);
    assert_eq!(answer.line(), r#"404 {"status":404,"error":"User not found"}"#);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    // Broken bodies are the client's fault, and write nothing.
    for body in
        ["{\"user_id\": 1, \"amo", "", "[1,", "{\"a\":1}}", "nonsense", "{\"user_id\": 1e, \"amount\": 2}"]
    {
        let answer = client.post("/v1/process", body);
        if body.is_empty() {
            // An absent body is {}: `where("id", undefined)` throws.
            assert!(answer.status == 500 || answer.status == 400, "{answer}");
        } else {
            answer.problem(400, "bad_request");
        }
    }
    // A parameter that isn't of the column's type.
    let answer = client.post("/v1/process", r#"{"user_id": "one", "amount": 2}"#);
    assert_eq!(answer.status, 400, "{answer}");
    // A form says the same as JSON.
    client.send(
        b"POST /v1/process HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 18\r\n\r\nuser_id=2&amount=3",
    );
    let answer = client.answer("POST");
    assert_eq!(answer.json()["total"], json!(75000), "{answer}");
    assert_eq!(psql(&url, "select user_id, amount from transactions order by id"), "1|50000\n2|75000");

    // Users.
    let names = |answer: &e2e::Answer| -> Vec<String> {
        answer.json().as_array().unwrap().iter().map(|u| u["name"].as_str().unwrap().to_owned()).collect()
    };
    let mut check = |path: &str, expected: &[&str]| assert_eq!(names(&client.get(path)), expected, "{path}");
    check("/users", &["Ada", "Grace", "Linus", "Kid"]);
    check("/users?role=admin", &["Ada", "Grace"]);
    check("/users?older=20", &["Ada", "Grace", "Linus"]);
    check("/users?role=admin&older=40", &["Grace"]);
    check("/users?role=nobody", &[]);
    check("/users?size=2", &["Ada", "Grace"]);
    check("/users?size=2&page=2", &["Linus", "Kid"]);
    check("/users?size=2&page=3", &[]);
    check("/users?size=x&page=-1", &["Ada", "Grace", "Linus", "Kid"]);
    check("/users?role=%27%20or%201%3D1--", &[]);
    let answer = client.get("/users?older=x");
    assert_eq!(answer.line(), r#"400 {"status":400,"error":"older must be a whole number"}"#);
    let answer = client.get("/users/2");
    assert_eq!(answer.line(), r#"200 {"id":2,"name":"Grace","role":"admin","age":45,"spent":75000}"#);
    assert_eq!(client.get("/users/99").line(), r#"404 {"status":404,"error":"No user 99"}"#);
    assert_eq!(client.get("/users/abc").status, 400);
    assert_eq!(client.get("/users/1%3Bdrop").status, 400);
    assert_eq!(client.get("/summary").json(), json!({ "admins": 2, "guests": 1, "orders": 2 }));

    // What isn't there.
    client.get("/nope").problem(404, "no_route");
    let answer = client.ask("DELETE", "/users", None);
    answer.problem(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));

    // Pages.
    let home = client.get("/");
    assert_eq!(home.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(home.text(), fs::read_to_string(shop_folder().join("public/index.html")).unwrap());
    let style = client.get("/public/style.css");
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(style.header("cache-control"), Some("public, max-age=3600"));
    let etag = style.header("etag").unwrap().to_owned();
    client.send(
        format!("GET /public/style.css HTTP/1.1\r\nHost: x\r\nIf-None-Match: {etag}\r\n\r\n").as_bytes(),
    );
    let fresh = client.answer("GET");
    assert_eq!((fresh.status, fresh.header("etag")), (304, Some(etag.as_str())));
    client.send(b"GET /public/style.css HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"other\"\r\n\r\n");
    assert_eq!(client.answer("GET").status, 200);
    for outside in ["/public/../forebay.toml", "/public/%2e%2e/forebay.toml", "/public/..%2fforebay.toml"] {
        let answer = client.get(outside);
        assert!(answer.status == 404 || answer.status == 400, "{outside}: {answer}");
    }
    drop(client);
    server.stop_but(KEPT);
    eventually("the private PostgreSQL is gone", || DevPg::running_url(app.path()).is_none().then_some(()));
}

#[test]
fn counters_and_orders_survive_kill_nine() {
    let app = App::shop();
    let server = Server::dev(&app, &[]);
    let mut client = server.client();
    for count in 1..=20 {
        assert_eq!(client.post("/counter/visits", "{}").json(), json!({ "name": "visits", "count": count }));
    }
    assert_eq!(client.post("/counter/ot%20her", "").json()["name"], "ot her");
    assert_eq!(client.post("/v1/process", ORDER).status, 200);
    let children = server.children();
    assert!(children.iter().any(|(_, name)| name.contains("postgres")), "{children:?}");
    server.kill();
    for (pid, name) in children {
        eventually(&format!("{name} ({pid}) dies with its server"), || (!e2e::is_alive(pid)).then_some(()));
    }
    let server = Server::dev(&app, &[]);
    let mut client = server.client();
    assert_eq!(client.get("/counter/visits").json()["count"], json!(20));
    assert_eq!(client.post("/counter/visits", "").json()["count"], json!(21));
    assert_eq!(client.get("/counter/nope").line(), r#"404 {"status":404,"error":"No counter nope"}"#);
    let counters: Value = client.get("/counters").json();
    assert_eq!(counters, json!([{ "name": "ot her", "count": 1 }, { "name": "visits", "count": 21 }]));
    assert_eq!(client.get("/summary").json()["orders"], json!(1));
    drop(client);
    server.stop_but(KEPT);
}
