//! HTTP/1.1 through the real binary, on every way a request can take: one thread or two
//! per core, io_uring or epoll.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test; it measures time")]

mod e2e;

use std::io::Read;
use std::time::{Duration, Instant};

use e2e::{App, Client, Server, request};
use serde_json::json;

const SCRIPT: &str = r#"
work("Hello").get("/hello", () => "Hello, World!");
work("Number").get("/n/{n}", req => req.params.n);
work("Slow").get("/slow/{ms}", req => { sleep(Number(req.params.ms)); return "slow " + req.params.ms; });
work("Body").post("/body", () => ({ name: "x", body: payload() }));
work("Echo").post("/echo/{name}", req => ({ name: req.params.name, q: req.query.q, body: req.json() }));
work("Large").get("/large/{kib}", req => "0123456789abcde\n".repeat(64 * Number(req.params.kib)));
work("Headers").get("/headers", req => response({ got: req.headers["x-a"] }, { status: 201, headers: { "X-B": "b" } }));
work("Empty").get("/empty", () => null);
"#;

fn start(placement: &str, epoll: bool) -> (App, Server) {
    let app = App::with(SCRIPT);
    let env: &[(&str, &str)] = if epoll { &[("FOREBAY_EPOLL", "1")] } else { &[] };
    let server = Server::start("serve", app.path(), &["--placement", placement], env);
    let status = server.status();
    let (kernel, plan) = (status["kernel"].as_str().unwrap(), status["placement"].as_str().unwrap());
    assert_eq!(kernel.contains("epoll"), epoll, "{kernel}");
    assert!(plan.contains(placement), "{plan}");
    (app, server)
}

/// Everything of this file on one server.
fn all(placement: &str, epoll: bool) {
    let (_app, server) = start(placement, epoll);
    split_at_every_byte(&server);
    pipelined_in_order(&server);
    a_client_that_sends_slowly(&server);
    a_client_that_reads_slowly(&server);
    http_1_0(&server);
    head(&server);
    heads_and_statuses(&server);
    malformed(&server);
    bodies(&server);
    half_closed(&server);
    server.stop();
}

#[test]
fn inline_on_io_uring() {
    all("inline", false);
}

#[test]
fn split_on_io_uring() {
    all("split", false);
}

#[test]
fn inline_on_epoll() {
    all("inline", true);
}

#[test]
fn split_on_epoll() {
    all("split", true);
}

fn split_at_every_byte(server: &Server) {
    let body = r#"{"text":"zwölf Boxkämpfer","list":[1,2.5,null]}"#;
    let expected = json!({ "name": "a b", "q": "1&2", "body": serde_json::from_str::<serde_json::Value>(body).unwrap() });
    let plain = request("POST", "/echo/a%20b?q=1%262", Some(body));
    let (first, second) = body.split_at(20);
    let chunked = format!(
        "POST /echo/a%20b?q=1%262 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: application/json\r\n\r\n{:x}\r\n{first}\r\n{:X};x=y\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    let mut client = server.client();
    for bytes in [plain.as_slice(), chunked.as_bytes()] {
        for cut in 1..bytes.len() {
            client.send(&bytes[..cut]);
            std::thread::sleep(Duration::from_micros(400));
            client.send(&bytes[cut..]);
            let answer = client.answer("POST");
            assert_eq!((answer.status, answer.json()), (200, expected.clone()), "cut at {cut}");
        }
    }
}

fn pipelined_in_order(server: &Server) {
    let mut client = server.client();
    for _ in 0..20 {
        let all: Vec<u8> = (0..16).flat_map(|n| request("GET", &format!("/n/{n}"), None)).collect();
        client.send(&all);
        for n in 0..16 {
            assert_eq!(client.answer("GET").line(), format!("200 {n}"));
        }
    }
    // Slow and quick, scripts and refusals, with and without body: still in order.
    let mut all = Vec::new();
    let mut expected = Vec::new();
    for n in 0..16 {
        let (method, path, body, answer) = match n % 5 {
            0 => ("GET", format!("/slow/{}", 30 - n), None, format!("200 slow {}", 30 - n)),
            1 => ("GET", format!("/n/{n}"), None, format!("200 {n}")),
            2 => ("POST", format!("/echo/{n}"), Some("[]"), format!(r#"200 {{"name":"{n}","body":[]}}"#)),
            3 => ("HEAD", "/hello".to_owned(), None, "200 ".to_owned()),
            _ => ("GET", "/empty".to_owned(), None, "204 ".to_owned()),
        };
        all.extend(request(method, &path, body));
        expected.push((method, answer));
    }
    client.send(&all);
    for (method, line) in expected {
        assert_eq!(client.answer(method).line(), line);
    }
    // Far more than one turn's share, in one write.
    let all: Vec<u8> = (0..1000).flat_map(|n| request("GET", &format!("/n/{n}"), None)).collect();
    client.send(&all);
    for n in 0..1000 {
        assert_eq!(client.answer("GET").line(), format!("200 {n}"));
    }
}

fn a_client_that_sends_slowly(server: &Server) {
    let mut slow = server.client();
    let mut quick = server.client();
    for byte in request("POST", "/echo/x", Some("{\"a\":1}")) {
        slow.send(&[byte]);
        let (answer, time) = quick.timed("/hello");
        assert_eq!(answer.line(), "200 Hello, World!");
        assert!(time < Duration::from_secs(1), "{time:?}");
    }
    assert_eq!(slow.answer("POST").line(), r#"200 {"name":"x","body":{"a":1}}"#);
}

fn a_client_that_reads_slowly(server: &Server) {
    const KIB: usize = 900;
    let mut slow = server.client();
    let mut quick = server.client();
    // More than socket buffers and the output's bound hold together.
    for _ in 0..16 {
        slow.send(&request("GET", &format!("/large/{KIB}"), None));
    }
    std::thread::sleep(Duration::from_millis(100));
    for _ in 0..20 {
        assert_eq!(quick.get("/hello").line(), "200 Hello, World!");
    }
    for _ in 0..16 {
        let answer = slow.answer("GET");
        assert_eq!((answer.status, answer.body.len()), (200, KIB * 1024));
        assert!(answer.body.chunks(16).all(|line| line == b"0123456789abcde\n"));
    }
    // One that never reads goes away: nothing of it stays (`stop` looks).
    let mut gone = server.client();
    for _ in 0..16 {
        gone.send(&request("GET", &format!("/large/{KIB}"), None));
    }
    std::thread::sleep(Duration::from_millis(50));
}

fn http_1_0(server: &Server) {
    let mut client = server.client();
    client.send(b"GET /hello HTTP/1.0\r\n\r\n");
    let answer = client.answer("GET");
    assert_eq!((answer.minor, answer.line().as_str()), (1, "200 Hello, World!"));
    assert_eq!(answer.header("connection"), Some("close"));
    client.expect_end();
    let mut client = server.client();
    for _ in 0..3 {
        client.send(b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.answer("GET");
        assert_eq!(answer.line(), "200 Hello, World!");
        assert_eq!(answer.header("connection").map(str::to_ascii_lowercase).as_deref(), Some("keep-alive"));
    }
    let mut client = server.client();
    client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer("GET").header("connection"), Some("close"));
    client.expect_end();
}

fn head(server: &Server) {
    let mut client = server.client();
    for path in ["/hello", "/large/3", "/headers"] {
        let whole = client.get(path);
        let head = client.ask("HEAD", path, None);
        assert_eq!(head.status, whole.status);
        let without_date = |answer: &e2e::Answer| -> Vec<(String, String)> {
            answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect()
        };
        assert_eq!(without_date(&head), without_date(&whole), "{path}");
        assert!(head.body.is_empty());
    }
    assert_eq!(client.ask("HEAD", "/nope", None).status, 404);
    assert_eq!(client.get("/hello").line(), "200 Hello, World!");
}

fn heads_and_statuses(server: &Server) {
    let mut client = server.client();
    client.send(b"GET /headers HTTP/1.1\r\nHost: x\r\nx-A:  v \r\n\r\n");
    let answer = client.answer("GET");
    assert_eq!(answer.line(), r#"201 {"got":"v"}"#);
    assert_eq!(answer.header("x-b"), Some("b"));
    assert_eq!(client.get("/empty").line(), "204 ");
    client.send(b"POST /echo/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(client.answer("POST").status, 100);
    client.send(b"{}");
    assert_eq!(client.answer("POST").line(), r#"200 {"name":"x","body":{}}"#);
    client.get("/nope").problem(404, "no_route");
    client.ask("PUT", "/hello", Some("")).problem(405, "method_not_allowed");
}

/// What can't be read is answered, and the connection ends.
fn malformed(server: &Server) {
    let check = |bytes: &[u8], status: u16| {
        let mut client = server.client();
        client.send(bytes);
        let answer = client.answer("GET");
        assert_eq!(
            answer.status,
            status,
            "{:?}: {answer}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(80)])
        );
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("connection"), Some("close"));
        client.expect_end();
    };
    check(b"\x16\x03\x01 hello\r\n\r\n", 400);
    check(b"GET /hello HTTP/1.1\r\n\r\n", 400); // no Host
    check(b"GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400);
    check(b"POST /echo/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    check(b"POST /echo/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n", 413);
    check(format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(9000)).as_bytes(), 414);
    check(format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "x".repeat(17_000)).as_bytes(), 431);
    check(format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(100)).as_bytes(), 431);
    check(b"GET /hello HTTP/2.0\r\nHost: x\r\n\r\n", 505);
    check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    // An upgrade is ignored: the answer is HTTP/1.1's.
    let mut client = server.client();
    client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.answer("GET").line(), "200 Hello, World!");
    // A good request before a bad one gets its answer.
    let mut client = server.client();
    client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n");
    assert_eq!(client.answer("GET").line(), "200 Hello, World!");
    assert_eq!(client.answer("GET").status, 400);
    client.expect_end();
}

/// A body is what its type says, and what is wrong with it is told by its place.
fn bodies(server: &Server) {
    let send = |media: &str, body: &str| {
        let mut client = server.client();
        let length = body.len();
        client.send(
            format!("POST /body HTTP/1.1\r\nHost: x\r\n{media}Content-Length: {length}\r\n\r\n{body}")
                .as_bytes(),
        );
        client.answer("POST")
    };
    for media in [
        "",
        "Content-Type: application/json\r\n",
        "Content-Type: Application/JSON; charset=\"UTF-8\"\r\n",
        "Content-Type: application/vnd.api+json;v=1\r\n",
    ] {
        assert_eq!(send(media, "{\"a\":1}").line(), r#"200 {"name":"x","body":{"a":1}}"#, "{media}");
    }
    let form = send("Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n", "a=1&b=x+y");
    assert_eq!(form.line(), r#"200 {"name":"x","body":{"a":"1","b":"x y"}}"#);
    for (media, body) in [
        ("text/plain", "{}"),
        ("multipart/form-data; boundary=x", "--x\r\n\r\n--x--"),
        ("application/xml", "<a/>"),
        ("application/json; charset=latin1", "{}"),
        ("json", "{}"),
    ] {
        let detail = send(&format!("Content-Type: {media}\r\n"), body).problem(415, "unsupported_media_type");
        assert!(detail.contains("application/json") && detail.contains(media), "{detail}");
    }
    // Nothing has no type.
    assert_eq!(send("Content-Type: text/plain\r\n", "").line(), r#"200 {"name":"x","body":{}}"#);
    for (body, detail) in [
        ("{\"a\":\n  1,}", "Unexpected token '}' in JSON at position 10 (line 2, column 5)"),
        ("{\"ü\": tru}", "Unexpected token '}' in JSON at position 10 (line 1, column 10)"),
        ("[1", "Unexpected end of JSON input, at position 2"),
        (&"[".repeat(200), "JSON is nested too deeply"),
    ] {
        assert_eq!(send("", body).problem(400, "bad_request"), format!("the body is not JSON: {detail}"));
    }
}

/// A client that has said all still gets its answers.
fn half_closed(server: &Server) {
    let mut client = server.client();
    client.send(&request("GET", "/slow/20", None));
    client.send(&request("GET", "/hello", None));
    client.stream().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.answer("GET").line(), "200 slow 20");
    assert_eq!(client.answer("GET").line(), "200 Hello, World!");
    client.expect_end();
}

#[test]
fn slow_requests_and_idle_connections_end() {
    let app = App::with(SCRIPT);
    app.write(
        "forebay.toml",
        "[limits]\nheader_timeout = \"300ms\"\nbody_timeout = \"300ms\"\nidle_timeout = \"600ms\"\nwall_time = \"400ms\"\n",
    );
    let server = Server::serve(&app, &[]);
    let timed = |bytes: &[u8], status: u16, low: u64, high: u64| {
        let start = Instant::now();
        let mut client = server.client();
        client.send(bytes);
        let answer = client.answer("GET");
        assert_eq!(answer.status, status, "{answer}");
        let time = start.elapsed();
        assert!(time >= Duration::from_millis(low) && time < Duration::from_millis(high), "{time:?}");
    };
    timed(b"GET /hello HTTP/1.1\r\nHo", 408, 250, 5000);
    timed(b"POST /echo/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", 408, 250, 5000);
    timed(b"GET /slow/60000 HTTP/1.1\r\nHost: x\r\n\r\n", 504, 350, 5000);
    let mut idle = server.client();
    let start = Instant::now();
    let mut byte = [0];
    assert_eq!(idle.stream().read(&mut byte).unwrap(), 0);
    assert!(start.elapsed() > Duration::from_millis(500));
    idle.expect_end();
    drop(idle);
    server.stop();
}

#[test]
fn connections_come_and_go_without_a_trace() {
    let app = App::with(SCRIPT);
    let server = Server::serve(&app, &[]);
    let clients: Vec<Client> = (0..300).map(|_| server.client()).collect();
    for mut client in clients {
        assert_eq!(client.get("/hello").status, 200);
    }
    // Gone in the middle of everything.
    for round in 0..100 {
        let mut client = server.client();
        match round % 5 {
            0 => client.send(b"GET /hel"),
            1 => client.send(b"POST /echo/x HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"),
            2 => client.send(&request("GET", "/slow/50", None)),
            3 => client.send(&request("GET", "/large/900", None)),
            _ => {}
        }
    }
    server.stop();
}

/// DESIGN: outbound requests reach no private address but by a rewrite, and there is no TLS yet;
/// scripts read only the environment that they are given.
#[test]
fn scripts_reach_only_what_they_are_given() {
    let app = App::with(
        "work(\"Out\").post(\"/out\", req => { try { return http().get(req.json().url).status; } catch (e) { return e.name + \": \" + e.message; } });\n\
         work(\"Hello\").get(\"/hello\", () => \"Hello, World!\");\n\
         work(\"Env\").get(\"/env/{name}\", req => env(req.params.name, \"nothing\"));\n",
    );
    app.write(
        "forebay.toml",
        "[env]\nallow = [\"E2E_OPEN\"]\n[dev.rewrite]\n\"http://example.test\" = \"/\"\n",
    );
    let env = [("E2E_OPEN", "open"), ("E2E_SECRET", "secret")];
    let server = Server::start("serve", app.path(), &[], &env);
    assert_eq!(server.get("/env/E2E_OPEN").line(), "200 open");
    for name in ["E2E_SECRET", "PATH", "HOME"] {
        assert_eq!(server.get(&format!("/env/{name}")).line(), "200 nothing");
    }
    let port = server.address.port();
    let own = [
        format!("http://127.0.0.1:{port}/hello"),
        format!("http://localhost:{port}/hello"),
        format!("http://[::1]:{port}/hello"),
        format!("http://[::ffff:127.0.0.1]:{port}/hello"),
        format!("http://2130706433:{port}/hello"),
        format!("http://0.0.0.0:{port}/hello"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://127.0.0.1/".to_owned(),
        "http://example.test/hello".to_owned(),
        "file:///etc/passwd".to_owned(),
        "http://127.0.0.1:1/\r\nX: y".to_owned(),
        "nonsense".to_owned(),
    ];
    for url in own {
        let answer = server.post("/out", &json!({ "url": url }).to_string());
        assert!(answer.status == 200 && answer.text().contains("Error: "), "{url}: {answer}");
    }
    server.stop();
    // In dev the rewrite is in force, and only that.
    let server = Server::start("dev", app.path(), &[], &env);
    assert_eq!(server.post("/out", "{\"url\":\"http://example.test/hello\"}").line(), "200 200");
    assert_eq!(server.post("/out", "{\"url\":\"http://example.test/nope\"}").line(), "200 404");
    let answer = server.post(
        "/out",
        &json!({ "url": format!("http://127.0.0.1:{}/hello", server.address.port()) }).to_string(),
    );
    assert!(answer.text().contains("Error: "), "{answer}");
    server.stop_but(2);
    // Where the configuration allows it, a service beside this one is reached; what else was refused still is.
    app.write("forebay.toml", "[http]\nallow_private = true\n");
    let server = Server::start("serve", app.path(), &[], &env);
    let own = format!("http://127.0.0.1:{}/hello", server.address.port());
    assert_eq!(server.post("/out", &json!({ "url": own }).to_string()).line(), "200 200");
    for url in ["https://127.0.0.1/", "file:///etc/passwd", "nonsense"] {
        let answer = server.post("/out", &json!({ "url": url }).to_string());
        assert!(answer.text().contains("Error: "), "{url}: {answer}");
    }
    server.stop();
}
