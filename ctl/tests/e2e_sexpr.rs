//! S-expressions from file and from the admin socket, on the real server; docs/SEXPR.md and its app.
#![allow(clippy::unwrap_used, reason = "a test")]

mod e2e;

use std::fs;

use e2e::{App, Server, forebay, repository};
use serde_json::{Value, json};

fn notes() -> App {
    let app = App::empty();
    for name in ["put.sxs", "list.sxs"] {
        let text = fs::read_to_string(repository().join("examples/notes/blueprints").join(name)).unwrap();
        app.write(&format!("blueprints/{name}"), &text);
    }
    app
}

#[test]
fn an_app_of_forms_serves_and_its_store_is_open_to_eval() {
    let app = notes();
    let checked = forebay(app.path(), &["check"]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    let server = Server::serve(&app, &["--cores", "0"]);
    let mut client = server.client();
    let answer = client.ask("PUT", "/notes/1", Some("{\"text\":\"milk\"}"));
    assert_eq!((answer.status, answer.json()), (201, json!({ "id": "1", "text": "milk" })));
    let answer = client.ask("PUT", "/notes/2", Some("{}"));
    assert_eq!(answer.status, 422);
    assert_eq!(server.get("/notes").json(), json!({ "count": 1, "notes": ["milk"] }));
    let run = forebay(app.path(), &["ctl", "eval", "(core/kv/get \"note:1\")"]);
    assert_eq!((run.code, &*run.out), (0, "{\"text\":\"milk\"}\n"), "{}", run.err);
    let run = forebay(app.path(), &["ctl", "eval", "(core/kv/set \"note:2\" (map \"text\" \"tea\"))"]);
    assert_eq!((run.code, &*run.out), (0, "null\n"), "{}", run.err);
    assert_eq!(server.get("/notes").json()["notes"], json!(["milk", "tea"]));
    drop(client);
    server.stop();
}

#[test]
fn each_example_of_the_document_has_its_value() {
    let app = notes();
    let server = Server::serve(&app, &["--cores", "0"]);
    let text = fs::read_to_string(repository().join("docs/SEXPR.md")).unwrap();
    let mut seen = 0;
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        // The last two cells: the first may hold code, too.
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, form, value] = cells.as_slice() else { continue };
        let Some(form) = form.strip_prefix('`').and_then(|f| f.strip_suffix('`')) else { continue };
        let expected: Value = serde_json::from_str(value.trim_matches(['`', ' '])).unwrap();
        let run = forebay(app.path(), &["ctl", "eval", "--json", form]);
        let got: Value = serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{form}: {}", run.err));
        assert_eq!(got["value"], expected, "{form}: {}", run.out);
        seen += 1;
    }
    assert!(seen >= 25, "{seen} examples");
    server.kill();
}

#[test]
fn what_is_wrong_has_a_frame_and_what_runs_on_ends() {
    let app = notes();
    let server = Server::serve(&app, &["--cores", "0"]);
    for (form, words) in [
        ("(core/kv/gte \"k\")", "did you mean `core/kv/get`?"),
        ("(core/event/pub \"A\" 1 2)", "FB0905"),
        ("(core/kv/load \"nothing\")", "there is no key \"nothing\""),
        ("(while true { (let $x 1) })", "fuel_exhausted"),
        ("(core/kv/incr \"n\")", "not in `forebay ctl eval`"),
    ] {
        let run = forebay(app.path(), &["ctl", "eval", form]);
        assert!(run.code == 1 && run.err.contains(words), "{form}: {} {}", run.out, run.err);
    }
    server.kill();
    app.write(
        "one.sxs",
        "(let $n (at (payload) \"n\"))\n(core/kv/set \"k\" (* $n 2))\n(core/kv/load \"k\")\n",
    );
    let run = forebay(app.path(), &["run", "one.sxs", "--payload", "{\"n\":21}"]);
    assert_eq!((run.code, &*run.out), (0, "42\n"), "{}", run.err);
    let run = forebay(app.path(), &["disasm", "one.sxs"]);
    assert!(run.code == 0 && run.out.contains("kv.set"), "{}{}", run.out, run.err);
    app.write("two.sxs", "(let $a 1)\n(core/kv/load \"nothing\")\n");
    let run = forebay(app.path(), &["run", "two.sxs"]);
    assert!(run.code == 1 && run.err.contains("two.sxs:2:1"), "{}", run.err);
}
