//! The commands that don't serve, as a person types them.

mod e2e;

use std::path::Path;

use e2e::{App, Run, Server, forebay, shop_folder};
use serde_json::{Value, json};

fn file(text: &str) -> App {
    let app = App::empty();
    app.write("a.js", text);
    app
}

#[track_caller]
fn ran(run: &Run, code: i32, out: &str) {
    assert_eq!((run.code, run.out.as_str()), (code, out), "stderr: {}", run.err);
}

#[test]
fn run_prints_the_answer() {
    let check = |script: &str, arguments: &[&str], out: &str| {
        let app = file(script);
        let mut all = vec!["run", "a.js"];
        all.extend(arguments);
        let run = forebay(app.path(), &all);
        ran(&run, 0, out);
        assert_eq!(run.err, "", "{script}");
    };
    check("return 1 + 1;", &[], "2\n");
    check(
        "return { a: [1, \"é\", null], b: payload().x };",
        &["--payload", "{\"x\":{\"y\":1e3}}"],
        "{\"a\":[1,\"é\",null],\"b\":{\"y\":1000}}\n",
    );
    check("return \"text\";", &[], "text\n");
    check("return;", &[], "");
    check("return { status: 404, error: \"no\" };", &[], "{\"status\":404,\"error\":\"no\"}\n");
    check(
        "const w = work(\"A\").router(\"POST\", \"/a\"); return payload();",
        &["--payload", "[1]"],
        "[1]\n",
    );
    check("work(\"A\").get(\"/a\", req => req.method);", &[], "POST\n");
    check(
        "sleep(5); const all = await Promise.all([1, 2].map(async n => { sleep(n); return n; })); return all;",
        &[],
        "[1,2]\n",
    );
    check("return kv.incr(\"a\") + kv.incr(\"a\", 10);", &[], "12\n");
}

#[test]
fn run_takes_typescript() {
    let app = App::empty();
    app.write("a.ts", "type N = number;\nlet n: N = payload().n ?? 3;\nreturn { n: n as number };\n");
    ran(&forebay(app.path(), &["run", "a.ts"]), 0, "{\"n\":3}\n");
}

#[test]
fn run_keeps_data_where_it_is_told() {
    let app = file("return kv.incr(\"a\");");
    ran(&forebay(app.path(), &["run", "a.js"]), 0, "1\n");
    ran(&forebay(app.path(), &["run", "a.js"]), 0, "1\n");
    ran(&forebay(app.path(), &["run", "a.js", "--data", "d"]), 0, "1\n");
    ran(&forebay(app.path(), &["run", "a.js", "--data", "d"]), 0, "2\n");
    ran(&forebay(app.path(), &["kv", "dump", "d"]), 0, "{\"key\":\"a\",\"value\":2}\n");
}

#[test]
fn run_shows_where_a_script_fails() {
    let check = |script: &str, parts: &[&str]| {
        let app = file(script);
        let run = forebay(app.path(), &["run", "a.js"]);
        ran(&run, 1, "");
        for part in parts {
            assert!(run.err.contains(part), "{part:?} not in\n{}", run.err);
        }
    };
    check("let a = 1;\nreturn a.b.c;", &["TypeError", "a.js:2:", "^"]);
    check(
        "const f = () => {\n  throw new RangeError(\"too much\");\n};\nf();",
        &["RangeError: too much", "a.js:2:", "a.js:4:", "^"],
    );
    check("return paylod();", &["error[FB0201]", "a.js:1:8", "^", "did you mean `payload`?"]);
    check("let x = ;", &["a.js:1:9", "^"]);
    check("return db().table(\"a\").get();", &["database", "a.js:1:"]);
    check("await new Promise(() => {});", &["never_settles"]);
    let app = file("return payload();");
    let run = forebay(app.path(), &["run", "a.js", "--payload", "{"]);
    assert!(run.code == 1 && run.out.is_empty() && !run.err.is_empty(), "{run:?}");
    let run = forebay(app.path(), &["run", "gone.js"]);
    assert!(run.code == 1 && run.err.contains("gone.js"), "{}", run.err);
    let run = forebay(file("// nothing").path(), &["run", "a.js"]);
    assert!(run.code <= 1, "{run:?}");
}

#[test]
fn run_bench_prints_one_json_line() {
    let app = file("let s = 0; for (let i = 0; i < 100; i++) s += i; return s;");
    let run = forebay(app.path(), &["run", "a.js", "--bench", "0.2"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let value: Value = serde_json::from_str(run.out.strip_suffix('\n').unwrap()).unwrap();
    assert_eq!(value.as_object().unwrap().len(), 4);
    for key in ["calls", "ns_per_call", "fuel_per_call", "arena_bytes"] {
        assert!(value[key].as_f64().unwrap() > 0.0, "{key}: {value}");
    }
    let run = forebay(file("return kv.get(\"a\");").path(), &["run", "a.js", "--bench", "0.1"]);
    assert!(run.code == 1 && run.err.contains("--bench"), "{}", run.err);
}

#[test]
fn check_reports_every_problem_of_a_folder_at_once() {
    let app = App::with("work(\"A\").get(\"/a\", () => nope);\n");
    app.write("blueprints/b.js", "work(\"B\").get(\"/b\", () => {\n  return paylod();\n});\n");
    app.write("blueprints/deep/c.ts", "work(\"C\").gett(\"/c\", () => 1);\n");
    app.write("blueprints/d.js", "let = ;\n");
    app.write("blueprints/good.js", "work(\"G\").get(\"/g\", () => 1);\n");
    let run = forebay(app.path(), &["check"]);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    for part in
        ["main.js:1:27", "b.js:2:10", "did you mean `payload`?", "deep/c.ts:1:11", "d.js:1:", "problems"]
    {
        assert!(run.err.contains(part), "{part:?} not in\n{}", run.err);
    }
    assert!(!run.err.contains("good.js"), "{}", run.err);
    let run = forebay(app.path(), &["check", ".", "--json"]);
    assert_eq!(run.code, 1);
    let value: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(value["ok"], json!(false));
    let problems = value["problems"].as_array().unwrap();
    let files: std::collections::BTreeSet<_> = problems.iter().map(|p| p["file"].as_str().unwrap()).collect();
    assert_eq!(
        files.into_iter().collect::<Vec<_>>(),
        ["blueprints/b.js", "blueprints/d.js", "blueprints/deep/c.ts", "blueprints/main.js"]
    );
    for problem in problems {
        assert!(problem["line"].is_number() && problem["column"].is_number(), "{problem}");
        assert!(problem["code"].as_str().unwrap().starts_with("FB"), "{problem}");
    }
}

#[test]
fn check_finds_what_only_the_whole_app_shows() {
    let app = App::with("work(\"A\").get(\"/a/{x}\", () => 1);\n");
    app.write(
        "blueprints/b.js",
        "work(\"A\").get(\"/b\", () => 1);\nwork(\"C\").get(\"/a/{y}\", () => 1);\n",
    );
    app.write("blueprints/f.js", "work(\"F\").get(\"/f\").file(\"public/gone.txt\");\n");
    let run = forebay(app.path(), &["check"]);
    for part in ["\"A\"", "main.js", "b.js", "/a/{y}", "gone.txt", "3 problems"] {
        assert!(run.err.contains(part), "{part:?} not in\n{}", run.err);
    }
}

#[test]
fn check_passes_the_shop() {
    let run = forebay(Path::new("."), &["check", shop_folder().to_str().unwrap()]);
    ran(&run, 0, "5 blueprints, 12 routes, no problems\n");
    assert_eq!(run.err, "");
    let run = forebay(Path::new("."), &["check", shop_folder().to_str().unwrap(), "--json"]);
    let value: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((run.code, &value["ok"], &value["problems"]), (0, &json!(true), &json!([])));
}

#[test]
fn build_and_disasm_agree() {
    for blueprint in ["order.js", "users.js", "counter.js", "home.js"] {
        let app = App::shop();
        let path = format!("blueprints/{blueprint}");
        let built = forebay(app.path(), &["build", &path, "-o", "out.fbc"]);
        assert_eq!(built.code, 0, "{}", built.err);
        let bytes = std::fs::metadata(app.path().join("out.fbc")).unwrap().len();
        assert_eq!(built.out, format!("out.fbc: {bytes} bytes\n"));
        let (source, file) =
            (forebay(app.path(), &["disasm", &path]), forebay(app.path(), &["disasm", "out.fbc"]));
        assert!(source.code == 0 && source.out.lines().count() > 3, "{}", source.err);
        ran(&file, 0, &source.out);
        // The same file twice is the same bytes.
        forebay(app.path(), &["build", &path, "-o", "again.fbc"]);
        let read = |name: &str| std::fs::read(app.path().join(name)).unwrap();
        assert_eq!(read("out.fbc"), read("again.fbc"));
        // Damage is refused, wherever it is.
        let good = read("out.fbc");
        for at in (0..good.len()).step_by(good.len() / 23 + 1) {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            std::fs::write(app.path().join("bad.fbc"), &bad).unwrap();
            let run = forebay(app.path(), &["disasm", "bad.fbc"]);
            assert!(run.code == 1 && !run.err.is_empty() && run.out.is_empty(), "byte {at}: {run:?}");
        }
    }
    // What was built runs without its source, with the same answer and the same places in errors.
    let app = App::empty();
    app.write("lib/twice.js", "export const twice = n => n * 2;");
    app.write(
        "blueprints/a.js",
        "import { twice } from \"lib/twice.js\";\nif (payload().bad) null.x;\nreturn twice(payload().n);",
    );
    assert_eq!(forebay(app.path(), &["build", "blueprints/a.js", "-o", "a.fbc"]).code, 0);
    app.remove("blueprints/a.js");
    app.remove("lib/twice.js");
    ran(&forebay(app.path(), &["run", "a.fbc", "--payload", "{\"n\":21}"]), 0, "42\n");
    let run = forebay(app.path(), &["run", "a.fbc", "--payload", "{\"bad\":1}"]);
    assert!(run.code == 1 && run.err.contains("blueprints/a.js:2:25"), "{}", run.err);
    let mut bad = std::fs::read(app.path().join("a.fbc")).unwrap();
    bad.truncate(bad.len() - 1);
    std::fs::write(app.path().join("a.fbc"), bad).unwrap();
    let run = forebay(app.path(), &["run", "a.fbc"]);
    assert!(run.code == 1 && run.err.starts_with("error: a.fbc: "), "{}", run.err);
}

#[test]
fn new_check_dev_as_the_readme_says() {
    let app = App::empty();
    let made = forebay(app.path(), &["new", "hello"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let run = forebay(app.path(), &["check", "hello"]);
    ran(&run, 0, "1 blueprints, 1 routes, no problems\n");
    let server = Server::start("dev", &app.path().join("hello"), &[], &[]);
    let answer = server.get("/hello?name=you");
    assert_eq!((answer.status, &answer.json()["hello"]), (200, &json!("you")));
    // The line that `new` prints.
    let line = made.out.lines().find(|line| line.contains("curl")).unwrap();
    let run = e2e::shell(
        app.path(),
        &line.replace("127.0.0.1:8080", &server.address.to_string()).replace("curl", "curl -s"),
    );
    assert!(run.out.starts_with("{\"hello\":\"you\",\"at\":\"20"), "{}", run.out);
    let run = forebay(&app.path().join("hello"), &["ctl", "status"]);
    assert!(run.code == 0 && run.out.contains("generation"), "{}{}", run.out, run.err);
    server.stop();
}

#[test]
fn an_unknown_key_is_named_by_every_command_that_reads_it() {
    let app = App::with("work(\"A\").get(\"/a\", () => 1);\n");
    app.write("forebay.toml", "[limits]\nbody_byte = \"1MiB\"\n");
    for arguments in [&["serve", "."][..], &["dev", "."], &["check"], &["db", "status"]] {
        let run = forebay(app.path(), arguments);
        assert_eq!(run.code, 1, "{arguments:?}: {}", run.err);
        for part in ["error[config/unknown-key]", "forebay.toml:2:1", "did you mean `body_bytes`?"] {
            assert!(run.err.contains(part), "{arguments:?}: {part:?} not in\n{}", run.err);
        }
    }
}

#[test]
fn a_port_in_use_is_named() {
    let app = App::with("work(\"A\").get(\"/a\", () => 1);\n");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = forebay(app.path(), &["serve", ".", "--listen", &address]);
    assert!(run.code == 1 && run.err.contains(&address), "{}", run.err);
}

/// Pages of help list commands and options; each that they list does something.
#[test]
fn help_lists_only_what_works() {
    let here = App::empty();
    let names = |page: &str| -> Vec<String> {
        let lines = page.lines().skip_while(|line| *line != "Commands:").skip(1);
        let lines = lines.take_while(|line| line.starts_with("  "));
        lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    };
    let top = forebay(here.path(), &["--help"]);
    assert_eq!(top.code, 0);
    let mut todo: Vec<Vec<String>> = names(&top.out).into_iter().map(|name| vec![name]).collect();
    assert_eq!(
        todo.concat(),
        [
            "serve", "dev", "check", "test", "types", "explain", "new", "run", "build", "disasm", "db", "kv",
            "ctl"
        ],
        "a new command needs a test here"
    );
    let mut pages = 0;
    while let Some(path) = todo.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let page = forebay(here.path(), &arguments);
        assert!(page.code == 0 && page.err.is_empty(), "{path:?}: {}", page.err);
        assert!(page.out.contains(&format!("Usage: forebay {}", path.join(" "))), "{}", page.out);
        for word in ["not built", "TODO", "not implemented", "unimplemented"] {
            assert!(!page.out.contains(word), "{path:?} says {word:?}: {}", page.out);
        }
        for name in names(&page.out) {
            let mut deeper = path.clone();
            deeper.push(name);
            todo.push(deeper);
        }
        // Wrong usage of any of them is 2, on stderr.
        arguments.pop();
        arguments.push("--no-such-option");
        let wrong = forebay(here.path(), &arguments);
        assert!(wrong.code == 2 && wrong.out.is_empty() && !wrong.err.is_empty(), "{path:?}: {wrong:?}");
        pages += 1;
    }
    assert_eq!(
        pages,
        13 + 7 + 5 + 15 + 9,
        "with db, which has seven, kv and ctl, whose kv has six and whose task has nine"
    );
}

/// docs/SPECIFICATION.md, "Not built yet: refused, and how".
#[test]
fn what_isnt_built_is_a_build_error() {
    let handlers =
        ["event.pub(\"a\", 1);", "crypto.sha256(\"a\");", "eval(\"1\");", "new Function(\"return 1\")();"];
    let chains = [
        "every(\"1m\")",
        "schedule(\"* * * * *\")",
        "on(\"a\", 1)",
        "cache(\"1m\")",
        "auth(\"jwt\")",
        "limit(10)",
        "cors()",
    ];
    let app = App::empty();
    for (number, body) in handlers.iter().enumerate() {
        app.write(
            &format!("blueprints/h{number}.js"),
            &format!("work(\"H{number}\").get(\"/h{number}\", async () => {{\n{body}\n}});\n"),
        );
    }
    for (number, link) in chains.iter().enumerate() {
        app.write(
            &format!("blueprints/c{number}.js"),
            &format!("work(\"C{number}\").get(\"/c{number}\", () => 1)\n  .{link};\n"),
        );
    }
    let run = forebay(app.path(), &["check", "--json"]);
    assert_eq!(run.code, 1);
    let value: Value = serde_json::from_str(&run.out).unwrap();
    let problems = value["problems"].as_array().unwrap();
    let names =
        (0..handlers.len()).map(|n| format!("h{n}")).chain((0..chains.len()).map(|n| format!("c{n}")));
    for (name, what) in names.zip(handlers.iter().chain(&chains)) {
        let file = json!(format!("blueprints/{name}.js"));
        let problem = problems.iter().find(|problem| problem["file"] == file);
        let problem = problem.unwrap_or_else(|| panic!("{what} is not refused: {}", run.out));
        assert!(
            problem["line"] == 2 && !problem["message"].as_str().unwrap().is_empty(),
            "{what}: {problem}"
        );
    }
}

/// Links from the documents to files of the repository.
#[test]
fn links_in_the_documents_lead_somewhere() {
    let root = e2e::repository();
    let mut documents = vec![root.join("README.md"), root.join("deploy/README.md")];
    for folder in ["docs", "docs/formats", "docs/decisions"] {
        let files = std::fs::read_dir(root.join(folder)).unwrap().flatten().map(|file| file.path());
        documents.extend(files.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    let mut count = 0;
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for part in text.split("](").skip(1) {
            let link = part.split([')', '#']).next().unwrap();
            if link.is_empty() || link.contains("://") || link.contains(char::is_whitespace) {
                continue;
            }
            assert!(document.parent().unwrap().join(link).exists(), "{}: {link}", document.display());
            count += 1;
        }
    }
    assert!(count >= 5, "{count} links");
}
