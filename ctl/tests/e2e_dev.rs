//! `forebay dev`: save, and the new code answers; a mistake is shown and harms nothing.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test; it measures time")]

mod e2e;

use std::time::{Duration, Instant};

use e2e::{App, Server, eventually, quantile};
use forebay_ctl::devpg::DevPg;

/// Time from a save to the first new answer.
fn until(server: &Server, path: &str, expected: &str) -> Duration {
    let start = Instant::now();
    let mut client = server.client();
    loop {
        let line = client.get(path).line();
        if line == expected {
            return start.elapsed();
        }
        assert!(start.elapsed() < e2e::SOON, "still {line}, expected {expected}");
        std::thread::sleep(Duration::from_micros(500));
    }
}

#[test]
fn a_save_answers_within_100_ms() {
    let app = App::with("work(\"V\").get(\"/v\", () => \"v0\");\n");
    let server = Server::dev(&app, &[]);
    let mut times = Vec::new();
    for round in 1..=11 {
        std::thread::sleep(Duration::from_millis(30));
        app.write("blueprints/main.js", &format!("work(\"V\").get(\"/v\", () => \"v{round}\");\n"));
        times.push(until(&server, "/v", &format!("200 v{round}")));
    }
    let median = quantile(&mut times, 0.5);
    println!("save to answer: median {median:?}, worst {:?}", times[times.len() - 1]);
    assert!(median < Duration::from_millis(100), "{times:?}");
    server.stop();
}

#[test]
fn a_broken_save_keeps_the_old_code_and_shows_where() {
    let app = App::with("work(\"V\").get(\"/v\", () => \"good\");\n");
    let server = Server::dev(&app, &[]);
    let broken = [
        ("const x = ;\n", "main.js:2:11"),
        ("work(\"W\").get(\"/w\", () => payloda());\n", "main.js:2:27"),
        ("work(\"V\").get(\"/x\", () => 1);\n", "main.js:2"),
        ("throw new Error(\"at load\");\n", "main.js:2"),
    ];
    for (number, (mistake, place)) in broken.into_iter().enumerate() {
        app.write("blueprints/main.js", &format!("work(\"V\").get(\"/v\", () => \"bad\");\n{mistake}"));
        let count = number + 1;
        let details = eventually("the mistake is shown", || {
            let lines = server.log_lines();
            let details: Vec<String> =
                lines.iter().filter_map(|line| line["detail"].as_str()).map(str::to_owned).collect();
            (details.len() >= count).then_some(details)
        });
        let frame = &details[number];
        assert!(
            frame.contains(place) && frame.contains("error") && frame.lines().any(|line| line.contains('^')),
            "{place} and a caret in\n{frame}"
        );
        assert_eq!(server.get("/v").line(), "200 good", "{mistake}");
    }
    app.write("blueprints/main.js", "work(\"V\").get(\"/v\", () => \"mended\");\n");
    until(&server, "/v", "200 mended");
    server.stop();
}

#[test]
fn errors_of_a_running_script_are_explained_to_the_client() {
    let app =
        App::with("work(\"E\").get(\"/e\", () => {\n  const user = undefined;\n  return user.name;\n});\n");
    let server = Server::dev(&app, &[]);
    let detail = server.get("/e").problem(500, "script_error");
    assert!(
        detail.contains("TypeError") && detail.contains("main.js:3:") && detail.contains('^'),
        "{detail}"
    );
    server.stop();
    // Not in production.
    let server = Server::serve(&app, &[]);
    assert_eq!(server.get("/e").problem(500, "script_error"), "");
    let line = server.wait_log("request failed");
    assert!(line.contains("TypeError") && line.contains("main.js:3"), "{line}");
    server.stop();
}

#[test]
fn files_come_and_go() {
    let app = App::with("import { text } from \"../lib/text.js\";\nwork(\"V\").get(\"/v\", () => text);\n");
    app.write("lib/text.js", "export const text = \"one\";\n");
    let server = Server::dev(&app, &[]);
    assert_eq!(server.get("/v").line(), "200 one");
    app.write("lib/text.js", "export const text = \"two\";\n");
    until(&server, "/v", "200 two");
    // A new file, in a new folder.
    assert_eq!(server.get("/deep").status, 404);
    app.write("blueprints/a/b/deep.js", "work(\"Deep\").get(\"/deep\", () => \"deep\");\n");
    until(&server, "/deep", "200 deep");
    // As editors save: a temporary file that is renamed.
    app.write("blueprints/.main.js.tmp", "work(\"V\").get(\"/v\", () => \"renamed\");\n");
    std::fs::rename(app.path().join("blueprints/.main.js.tmp"), app.path().join("blueprints/main.js"))
        .unwrap();
    until(&server, "/v", "200 renamed");
    app.remove("blueprints/a/b/deep.js");
    eventually("the route is gone", || (server.get("/deep").status == 404).then_some(()));
    // Static files.
    app.write("public/a.txt", "first");
    app.write("blueprints/files.js", "work(\"Files\").get(\"/files/{*rest}\").assets(\"public\");\n");
    until(&server, "/files/a.txt", "200 first");
    app.write("public/a.txt", "second");
    until(&server, "/files/a.txt", "200 second");
    app.write("public/b.txt", "new");
    until(&server, "/files/b.txt", "200 new");
    app.remove("public/a.txt");
    eventually("the file is gone", || (server.get("/files/a.txt").status == 404).then_some(()));
    // A file that is not part of an app changes nothing.
    let id = server.status()["generation"]["id"].clone();
    app.write("README.md", "hello");
    app.write("blueprints/.hidden.js", "nonsense(");
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(server.status()["generation"]["id"], id);
    server.stop();
}

#[test]
fn a_new_migration_is_applied_and_a_broken_one_is_shown() {
    let app = App::with("work(\"Count\").get(\"/count\", () => db().table(\"item\").count());\n");
    app.write("forebay.toml", "[database]\nurl = \"private\"\n");
    app.write("migrations/0001_item.sql", "create table item (id int8 primary key);\n");
    let server = Server::dev(&app, &[]);
    assert_eq!(server.get("/count").line(), "200 0");
    app.write("migrations/0002_items.sql", "insert into item values (1), (2);\n");
    until(&server, "/count", "200 2");
    app.write(
        "migrations/0003_broken.sql",
        "insert into item values (3);\ninsert into nothing values (1);\n",
    );
    server.wait_log("0003_broken.sql");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(server.get("/count").line(), "200 2", "a migration is applied whole or not at all");
    app.write("migrations/0003_broken.sql", "insert into item values (3);\n");
    until(&server, "/count", "200 3");
    let status = e2e::forebay(app.path(), &["db", "status"]);
    assert_eq!(status.code, 0, "{}{}", status.out, status.err);
    assert_eq!(status.out.matches("applied").count(), 3, "{}", status.out);
    assert!(DevPg::running_url(app.path()).is_some());
    server.stop();
}

#[test]
fn the_terminals_end_ends_it() {
    let app = App::with("work(\"V\").get(\"/v\", () => 1);\n");
    for signal in [nix::sys::signal::Signal::SIGHUP, nix::sys::signal::Signal::SIGINT] {
        let mut server = Server::dev(&app, &[]);
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0), "{signal}");
    }
}
