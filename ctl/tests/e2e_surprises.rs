//! What people run into on a bad day: a port that somebody has, files that can't be read, folders that are
//! something else, code that was removed while its tasks go on. Each is told at once, or goes on as promised.

mod e2e;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use e2e::{App, Server, eventually, forebay};
use serde_json::json;

#[track_caller]
fn refused(app: &App, said: &[&str]) {
    let run = forebay(app.path(), &["check", "."]);
    assert_eq!(run.code, 1, "{}{}", run.out, run.err);
    for said in said {
        assert!(run.err.contains(said), "no {said:?} in {}", run.err);
    }
}

/// SO_REUSEPORT would let the second one in, and each would answer some of the other's requests.
#[test]
fn two_servers_never_share_a_port() {
    let (one, other) = (
        App::with("work(\"A\").get(\"/\", () => \"one\");"),
        App::with("work(\"B\").get(\"/\", () => \"other\");"),
    );
    for listen in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
        let server = Server::serve(&one, &["--listen", listen, "--cores", "0,1"]);
        let address = server.address.to_string();
        let second = Server::try_start("serve", other.path(), &["--listen", &address], &[]);
        let run = second.expect_err("it took a port that another one has");
        assert_eq!(run.code, 1);
        assert!(run.err.contains(&address) && run.err.contains("Address already in use"), "{}", run.err);
        server.stop();
        // Whose connections are over has left the port.
        let again = Server::serve(&other, &["--listen", &address]);
        again.stop();
    }
}

/// Who was answered 202 asks at its Location, signals, and fulfills promises, whatever is deployed meanwhile.
#[test]
fn a_deploy_without_durable_works_leaves_their_tasks_reachable() {
    let app = App::with(
        "work(\"Long\").post(\"/long\", () => {\n\
         const p = task.promise();\n\
         kv.set(\"url\", p.url);\n\
         return [task.wait(\"go\"), p.wait()];\n\
         }).durable({ id: \"long\" });\n\
         work(\"Url\").get(\"/url\", () => kv.get(\"url\"));",
    );
    let server = Server::serve(&app, &["--cores", "0"]);
    let location = server.post("/long", "").header("location").unwrap().to_owned();
    let url = eventually("its promise", || {
        let url = server.get("/url");
        (url.status == 200).then(|| url.text().to_owned())
    });
    app.write("blueprints/main.js", "work(\"Other\").get(\"/other\", () => 1);");
    let run = forebay(app.path(), &["ctl", "deploy"]);
    assert!(run.code == 0 && run.out.contains("routes      1\n"), "{}{}", run.out, run.err);
    assert_eq!(server.get(&location).json()["status"], "running");
    let post = |path: &str, body: &str| server.post(path, body).status;
    assert_eq!(post(&format!("{location}/signals/go"), "1"), 204);
    assert_eq!(post(&url, "2"), 204);
    let done = eventually("its end", || {
        let state = server.get(&location).json();
        (state["status"] == "done").then_some(state)
    });
    assert_eq!(done["result"]["body"], json!([1, 2]));
    let run = forebay(app.path(), &["ctl", "task", "ls", "--status", "finished"]);
    assert!(run.code == 2 && run.err.contains("cancelled"), "{}{}", run.out, run.err);
    server.stop();
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let check = |make: &dyn Fn(&std::path::Path), said: &[&str]| {
        let app = App::with("work(\"A\").get(\"/\", () => 1);");
        make(&app.path().join("blueprints"));
        refused(&app, said);
    };
    check(
        &|folder| std::fs::write(folder.join("latin.js"), b"// one\nreturn \"caf\xe9\";\n").unwrap(),
        &["error[FB0701]: `blueprints/latin.js` is not UTF-8: byte 0xe9 in line 2; save it as UTF-8"],
    );
    check(
        &|folder| std::fs::write(folder.join("large.js"), vec![b' '; 1024 * 1024 + 1]).unwrap(),
        &["`blueprints/large.js` has 1048577 bytes; a source file has at most 1048576"],
    );
    check(
        &|folder| symlink("nowhere.js", folder.join("link.js")).unwrap(),
        &["`blueprints/link.js` is a link to nothing: nowhere.js"],
    );
    check(
        &|folder| nix::unistd::mkfifo(&folder.join("pipe.js"), nix::sys::stat::Mode::S_IRWXU).unwrap(),
        &["`blueprints/pipe.js` is not a regular file"],
    );
    check(
        &|folder| symlink(".", folder.join("self")).unwrap(),
        &["self is a link to a folder that it lies in"],
    );
    check(
        &|folder| std::fs::write(folder.join(OsStr::from_bytes(b"b\xe9d.js")), "return 1;").unwrap(),
        &["has a name that is not UTF-8"],
    );
    check(
        &|folder| {
            let sql = folder.with_file_name("sql");
            std::fs::create_dir(&sql).unwrap();
            std::fs::write(sql.join("q.sql"), b"-- name: q :one\nSELECT '\xe9';\n").unwrap();
        },
        &["`sql/q.sql` is not UTF-8: byte 0xe9 in line 2"],
    );
    check(
        &|folder| {
            let lib = folder.with_file_name("lib");
            std::fs::create_dir(&lib).unwrap();
            std::fs::write(lib.join("x.js"), b"export const x = '\xe9';\n").unwrap();
            std::fs::write(folder.join("main.js"), "import { x } from \"lib/x.js\";\nreturn x;\n").unwrap();
        },
        &["error[FB0701]: `lib/x.js` is not UTF-8: byte 0xe9 in line 1", "blueprints/main.js:1:19"],
    );
    let app = App::with("work(\"A\").get(\"/\", () => 1);");
    let run = forebay(app.path(), &["run", "blueprints"]);
    assert!(run.code == 1 && run.err.contains("is a folder"), "{}", run.err);
}

/// Nothing is verified that isn't there, and nobody's folder becomes a store.
#[test]
fn a_folder_without_a_store_is_none() {
    let app = App::with("work(\"A\").get(\"/\", () => 1);");
    std::fs::create_dir_all(app.path().join(".forebay/data")).unwrap();
    for command in ["verify", "dump", "compact"] {
        let run = forebay(app.path(), &["kv", command, "."]);
        assert_eq!((run.code, &*run.err), (1, "error: . holds no store; did you mean its .forebay/data?\n"));
        assert_eq!(forebay(app.path(), &["kv", command, "blueprints"]).code, 1);
    }
    assert_eq!(forebay(app.path(), &["kv", "backup", ".", "../copy"]).code, 1);
    let items = std::fs::read_dir(app.path().join("blueprints")).unwrap().count();
    assert_eq!(items, 1, "only the blueprint");
}

/// An app without routes answers nothing but 404: whoever starts it in the wrong folder is told.
#[test]
fn an_app_that_serves_nothing_says_so() {
    let app = App::empty();
    let server = Server::serve(&app, &[]);
    assert!(server.wait_log("no blueprint declares a route").contains("app/blueprints"));
    server.stop();
    let server = Server::dev(&app, &[]);
    assert!(!server.out().contains("_forebay"), "{}", server.out());
    server.stop();
}

/// A store of a script or of tests begins small, and grows as one that serves does.
#[test]
fn a_script_and_a_test_may_store_as_much_as_a_server() {
    let app = App::with("work(\"A\").get(\"/\", () => 1);");
    let text = "kv.set(\"large\", \"x\".repeat(3000000)); for (let i = 0; i < 20; i++) kv.set(\"k\" + i, \"y\".repeat(300000));";
    app.write("a.js", &format!("{text} return [kv.get(\"large\").length, kv.scan(\"k\").length];"));
    let run = forebay(app.path(), &["run", "a.js"]);
    assert_eq!((run.code, &*run.out), (0, "[3000000,20]\n"), "{}", run.err);
    app.write(
        "blueprints/a.test.js",
        &format!("test(\"stores\", () => {{ {text} expect(kv.get(\"k19\").length).toBe(300000); }});"),
    );
    let run = forebay(app.path(), &["test", "."]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
}
