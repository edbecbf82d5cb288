//! `forebay explain`: every code of the sources has a page in docs/CODES.md, and every page's example yields its code.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod e2e;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use e2e::{App, Server, forebay, repository};
use forebay_compiler::{Loader, compile};
use forebay_ctl::codes::{Page, pages};
use forebay_ctl::config::Config;

/// A block of code of a page.
struct Fence {
    kind: String,
    file: Option<String>,
    repeat: usize,
    text: String,
}

fn fences(page: &Page) -> Vec<Fence> {
    let mut fences = Vec::new();
    let mut open: Option<Fence> = None;
    for line in page.text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => fences.extend(open.take()),
            (Some(info), None) => {
                let words: Vec<&str> = info.split_whitespace().collect();
                let attribute =
                    |name: &str| words.iter().find_map(|word| word.strip_prefix(name)).map(ToOwned::to_owned);
                open = Some(Fence {
                    kind: words[0].to_owned(),
                    file: attribute("file="),
                    repeat: attribute("repeat=").map_or(1, |n| n.parse().unwrap()),
                    text: String::new(),
                });
            }
            (None, Some(fence)) => fence.text.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{}: a fence stays open", page.code);
    fences
}

/// The files that a page's blocks are: by their first line, by `file=`, or the blueprint.
fn files(fences: &[Fence]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for fence in fences {
        let first = fence.text.lines().next().unwrap_or_default();
        let path = match &*fence.kind {
            "toml" => "forebay.toml".to_owned(),
            "sql" => "sql/example.sql".to_owned(),
            "json" => "forebay.lock.json".to_owned(),
            "js" | "ts" | "sxs" => fence
                .file
                .clone()
                .or_else(|| {
                    first.strip_prefix("// ").filter(|name| name.ends_with(".js")).map(ToOwned::to_owned)
                })
                .unwrap_or_else(|| format!("blueprints/example.{}", fence.kind)),
            _ => continue,
        };
        let mut all = String::new();
        for n in 0..fence.repeat {
            let text = fence.text.replace("$n", &n.to_string());
            if path.contains("$n") {
                files.insert(path.replace("$n", &n.to_string()), text);
            } else {
                all.push_str(&text);
            }
        }
        if !all.is_empty() {
            files.insert(path, all);
        }
    }
    files
}

struct Sources<'a>(&'a BTreeMap<String, String>);

impl Loader for Sources<'_> {
    fn load(&self, path: &str) -> Option<Box<str>> {
        self.0.get(path).map(|text| text.as_str().into())
    }
    fn queries(&self) -> Vec<String> {
        self.0.keys().filter(|path| path.starts_with("sql/")).cloned().collect()
    }
    fn schema(&self) -> Option<std::sync::Arc<forebay_compiler::schema::Schema>> {
        let lock = forebay_ctl::lock::Lock::parse(self.0.get("forebay.lock.json")?).unwrap();
        Some(std::sync::Arc::new(lock.names()))
    }
}

/// The bytes of a block of HTTP. A line ends with CR LF, unless a backslash stands at its end; `{a*9}` is nine a's.
fn bytes_of(text: &str) -> Vec<u8> {
    let mut out = String::new();
    for line in text.lines() {
        match line.strip_suffix('\\') {
            Some(line) => out.push_str(line),
            None => out.push_str(&format!("{line}\r\n")),
        }
    }
    if !text.lines().any(str::is_empty) && !text.ends_with("\\\n") {
        out.push_str("\r\n");
    }
    while let Some(star) =
        (2..out.len()).find(|at| out.as_bytes()[*at] == b'*' && out.as_bytes()[at - 2] == b'{')
    {
        let end = star + out[star..].find('}').unwrap();
        let count: usize = out[star + 1..end].parse().unwrap();
        let filling = out[star - 1..star].repeat(count);
        out.replace_range(star - 2..=end, &filling);
    }
    out.replace("\\n", "\n").replace("\\x01", "\u{1}").into_bytes()
}

/// What comes back until the answer is whole or the connection ends.
fn ask(stream: &mut (impl std::io::Read + std::io::Write), bytes: &[u8]) -> String {
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while !is_whole(&String::from_utf8_lossy(&answer)) {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse().unwrap())
    });
    length.is_none_or(|length: usize| body.len() >= length)
}

/// The `code` of problem details, else the body: an example may return the name of what it caught.
fn code_of(answer: &str) -> String {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    match serde_json::from_str::<serde_json::Value>(body) {
        Ok(value) if value["code"].is_string() => value["code"].as_str().unwrap().to_owned(),
        _ => body.to_owned(),
    }
}

/// What a page's example yields.
fn outcome(page: &Page, fences: &[Fence]) -> Vec<String> {
    let files = files(fences);
    let last = fences.last().unwrap();
    match &*last.kind {
        "toml" => {
            let frames = Config::parse(&last.text, Path::new("/")).unwrap_err();
            frames.iter().map(|frame| frame.code.to_owned()).collect()
        }
        "http" | "admin" => {
            let app = App::empty();
            app.write("blueprints/other.js", "work(\"Other\").get(\"/other\", () => 1);\n");
            for (path, text) in &files {
                app.write(path, text);
            }
            let server = Server::serve(&app, &["--cores", "0"]);
            let bytes = bytes_of(&last.text);
            let answer = if last.kind == "admin" {
                let mut stream = UnixStream::connect(&server.admin).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                ask(&mut stream, &bytes)
            } else {
                let mut stream = TcpStream::connect(server.address).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let answer = ask(&mut stream, &bytes);
                let _ = stream.shutdown(Shutdown::Both);
                answer
            };
            // Examples fail on purpose: their log lines are no concern of ours.
            server.kill();
            vec![code_of(&answer)]
        }
        _ if page.code.starts_with("app/") || page.code == "FB0607" => {
            let app = App::empty();
            for (path, text) in &files {
                app.write(path, text);
            }
            let run = forebay(app.path(), &["check", "--json"]);
            let value: serde_json::Value = serde_json::from_str(&run.out).unwrap();
            let problems = value["problems"].as_array().unwrap();
            problems.iter().map(|problem| problem["code"].as_str().unwrap().to_owned()).collect()
        }
        kind => {
            let suffix = if matches!(kind, "ts" | "sxs") { kind } else { "js" };
            let path = format!("blueprints/example.{suffix}");
            let mut files = files;
            files.entry(path.clone()).or_insert_with(|| "return 1;\n".to_owned());
            let found = match compile(&Sources(&files), &path) {
                Ok((_, warnings)) => warnings,
                Err(errors) => errors,
            };
            found.iter().map(|diagnostic| diagnostic.code.to_owned()).collect()
        }
    }
}

#[test]
fn each_example_yields_its_code() {
    let mut wrong = Vec::new();
    for page in pages() {
        let fences = fences(page);
        if fences.is_empty() {
            continue;
        }
        let found = outcome(page, &fences);
        if found.first().map(String::as_str) != Some(page.code) {
            wrong.push(format!("{}: its example yields {found:?}", page.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Pages without an example: internal errors, and what takes a database, a failing disk or many clients. Each names the
/// reason, and the test that has it where there is one.
#[test]
fn few_pages_have_no_example() {
    let without: Vec<&str> =
        pages().iter().filter(|p| p.text.contains("No example: ")).map(|p| p.code).collect();
    assert!(without.len() * 3 < pages().len(), "{} of {}: {without:?}", without.len(), pages().len());
    // Tests that they name exist.
    for page in pages() {
        let Some((_, rest)) = page.text.split_once("No example: ") else { continue };
        if let Some(path) = rest.split('`').nth(1).filter(|path| path.ends_with(".rs")) {
            assert!(repository().join(path).is_file(), "{}: {path}", page.code);
        }
    }
}

/// Quoted codes in the sources of a folder, but not in their tests.
fn quoted(folder: &str, is_code: impl Fn(&str, &str) -> bool) -> BTreeSet<String> {
    fn visit(path: &Path, each: &mut dyn FnMut(&str)) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, each);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                each(text.split("\n#[cfg(test)]\n").next().unwrap());
            }
        }
    }
    let mut found = BTreeSet::new();
    visit(&repository().join(folder), &mut |text| {
        let text: String =
            text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join(" ");
        let parts: Vec<&str> = text.split('"').collect();
        // Every pair, whichever is inside of quotes: a quote in a character literal changes the parity.
        for (before, code) in parts.iter().zip(parts.iter().skip(1)) {
            if is_code(before.trim_end(), code) {
                found.insert((*code).to_owned());
            }
        }
    });
    found
}

#[test]
fn every_code_of_the_sources_has_a_page() {
    let is_fb = |_: &str, code: &str| {
        code.len() == 6 && code.starts_with("FB") && code[2..].bytes().all(|b| b.is_ascii_digit())
    };
    let mut used = quoted("vm/compiler/src", is_fb);
    assert!(used.len() > 35, "{used:?}");
    used.extend(quoted("ctl/src", is_fb));
    let is_path = |_: &str, code: &str| {
        let sections = ["admin", "app", "config", "deploy", "kv", "task", "test"];
        code.split_once('/').is_some_and(|(section, rest)| {
            sections.contains(&section)
                && !rest.is_empty()
                && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        })
    };
    let paths = quoted("ctl/src", is_path);
    assert!(paths.len() > 20, "{paths:?}");
    used.extend(paths);
    used.extend(quoted("dataplane/worker/src", is_path));
    used.extend(forebay_engine::Trap::ALL.iter().map(|trap| trap.code().to_owned()));
    used.extend(forebay_http::RequestError::ALL.iter().map(|error| error.code().to_owned()));
    let is_snake = |code: &str| {
        code.contains('_') && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'8')
    };
    let is_problem = |before: &str, code: &str| {
        [
            "Problem::unavailable(",
            "code: Some(",
            "code:",
            "Err((",
            "map_err(|error| (",
            "=> (503,",
            "=> (400,",
            "Problem::new( 413,",
        ]
        .iter()
        .any(|head| before.replace("  ", "").ends_with(head))
            && (is_snake(code) || ["unavailable", "overloaded", "reloading", "damaged"].contains(&code))
    };
    let problems = quoted("dataplane/worker/src", is_problem);
    for known in
        ["overloaded", "reloading", "bad_parameter", "unavailable", "bad_header", "no_answer", "kv_unknown"]
    {
        assert!(problems.contains(known), "{known} isn't found in {problems:?}");
    }
    used.extend(problems);
    let encodings = quoted("dataplane/http/src", |before, code| {
        is_snake(code)
            && ["Self::Escape { .. } =>", "Self::Utf8 =>", "Self::Nul =>", "Self::DotSegment =>"]
                .iter()
                .any(|head| before.ends_with(head))
    });
    assert_eq!(encodings.len(), 4, "{encodings:?}");
    used.extend(encodings);
    let documented: BTreeSet<String> = pages().iter().map(|page| page.code.to_owned()).collect();
    let missing: Vec<&String> = used.difference(&documented).collect();
    assert!(missing.is_empty(), "add a page to docs/CODES.md for each of {missing:?}");
    // Codes that nothing yields any more keep their page only if it says so: there is none yet.
    let by_name = ["Error", "no_route", "method_not_allowed", "too_large_for_task"];
    let stale: Vec<&String> = documented
        .difference(&used)
        .filter(|code| !by_name.iter().any(|name| code.ends_with(name)))
        .collect();
    assert!(stale.is_empty(), "nothing in the sources yields {stale:?}");
}

#[test]
fn the_command_prints_pages_lists_and_suggestions() {
    let folder = App::empty();
    let run = |arguments: &[&str]| forebay(folder.path(), &[&["explain"], arguments].concat());
    let list = run(&[]);
    assert!(
        list.code == 0 && list.out.contains("\n  FB0201 ") && list.out.contains("\nforebay.toml\n"),
        "{}",
        list.out
    );
    let page = run(&["fb0201"]);
    assert!(page.code == 0 && page.out.starts_with("FB0201: a name is not defined\n"), "{}", page.out);
    let json: serde_json::Value =
        serde_json::from_str(&run(&["FB0201", "config/type", "--json"]).out).unwrap();
    assert_eq!((&json[0]["code"], &json[1]["code"]), (&"FB0201".into(), &"config/type".into()));
    assert!(json[0]["text"].as_str().unwrap().contains("paylod"));
    let all: serde_json::Value = serde_json::from_str(&run(&["--json"]).out).unwrap();
    assert_eq!(all.as_array().unwrap().len(), pages().len());
    for (code, hint) in [
        ("memory_exausted", "did you mean memory_exhausted?"),
        ("FB0021", "did you mean FB0"),
        ("config/typ", "did you mean config/type?"),
        ("23505", "SQLSTATE"),
        ("zebra", "lists all"),
    ] {
        let unknown = run(&[code]);
        assert!(
            unknown.code == 1 && unknown.out.is_empty() && unknown.err.contains(hint),
            "{code}: {}",
            unknown.err
        );
    }
}

#[test]
fn errors_end_with_how_to_read_more() {
    let last = |err: &str| err.trim_end().lines().last().unwrap_or_default().to_owned();
    let app = App::with("return paylod();\n");
    app.write("a.js", "return paylod();\n");
    app.write("b.js", "work(\"B\").get(\"/b\", async () => { await new Promise(() => {}); });\n");
    assert_eq!(last(&forebay(app.path(), &["check"]).err), "for more: forebay explain FB0201");
    assert_eq!(last(&forebay(app.path(), &["run", "a.js"]).err), "for more: forebay explain FB0201");
    assert_eq!(last(&forebay(app.path(), &["run", "b.js"]).err), "for more: forebay explain never_settles");
    app.write("forebay.toml", "lisen = 1\n");
    assert_eq!(last(&forebay(app.path(), &["check"]).err), "for more: forebay explain config/unknown-key");
}

#[test]
fn runtime_errors_show_causes_and_what_was_meant() {
    let app = App::empty();
    let check = |script: &str, parts: &[&str]| {
        app.write("a.js", script);
        let run = forebay(app.path(), &["run", "a.js"]);
        let mut rest = &*run.err;
        for part in parts {
            let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} not in order in\n{}", run.err));
            rest = &rest[at + part.len()..];
        }
    };
    check(
        "function load() {\n  try {\n    return JSON.parse(\"{\");\n  } catch (cause) {\n    throw new Error(\"no settings\", { cause });\n  }\n}\nload();\n",
        &[
            "Error: no settings",
            "a.js:5:",
            "^",
            "at load (a.js:5:",
            "a.js:8:",
            "caused by SyntaxError",
            "at load (a.js:3:",
        ],
    );
    check("const e = new Error(\"round\"); e.cause = e; throw e;", &["Error: round", "further causes"]);
    check("return db().tabel(\"a\").get();", &["tabel is not a function; did you mean `table`?"]);
    check("return http().gett(\"a\");", &["did you mean `get`?"]);
    check(
        "return req.jsn();",
        &["warning[FB0408]", "did you mean `json`?", "jsn is not a function; did you mean `json`?"],
    );
    check("return \"a\".toUperCase();", &["did you mean `toUpperCase`?"]);
}
