//! `forebay types` and `forebay check --types`, with TypeScript's own compiler: npm installs it into a temporary folder.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod e2e;

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{App, Run, forebay, shop_folder};

/// Installs typescript; None, said aloud, if there is no npm. Without network it fails.
fn typescript(folder: &Path) -> Option<PathBuf> {
    if Command::new("npm").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no npm on this machine, so types are not checked with tsc");
        return None;
    }
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("package.json"), "{\"private\":true}\n").unwrap();
    let install = ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error", "typescript@7.0.2"];
    let done = Command::new("npm").args(install).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "npm: {}", String::from_utf8_lossy(&done.stderr));
    Some(folder.join("node_modules/.bin/tsc"))
}

fn tsc(tsc: &Path, folder: &Path) -> Run {
    let run = Command::new(tsc)
        .args(["--noEmit", "--pretty", "false", "-p", "."])
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run { code: run.status.code().unwrap(), out: text(&run.stdout), err: text(&run.stderr) }
}

const HANDLERS: &str = r#"import { pageOf } from "lib/page.js";

work("People").get("/people/{id}", ({ params, query }) => {
  const { limit, offset } = pageOf(query);
  const rows = db().table("user").where(u => u.age > 18 && u.name.startsWith("A")).order("id", "desc").limit(limit).offset(offset).get();
  const count = db().table("user").where("id", params.id).update({ age: 3 });
  const made = db().table("user").insert({ name: "A" }).onConflict("id", "ignore").returning("id");
  const fx = http().get("https://example.com", { timeout: "5s" });
  if (!fx.ok) return response({ error: fx.text() }, { status: 502, headers: { "x-a": "1" } });
  const total = tx(() => Decimal("1.5").add(2).text(), { isolation: "serializable" });
  kv.set("a", { rows: rows.len() }, { ttl: "1h" });
  for (const { key } of kv.scan("a")) log.warn(key.upper());
  return { rows, count: count + 1, id: made.id, total, at: now().text(), path: params.id.toUpperCase() };
}).timeout("3s").limits({ memory: "8MiB" }).version("1.0");

work("Files").get("/files/{*rest}").assets("public").static("1h");
"#;

const SCRIPT: &str = "import { pageOf } from \"lib/page.js\"; // first\nconst w = work(\"S\").router(\"POST\", \"/s\");\nconst { limit } = pageOf(payload());\nif (limit > 5) return { status: 400 };\nconst all = await Promise.all([1, 2].map(async n => kv.get(`k${n}`)));\nreturn all.length; // last";

/// A mistake, the line it is on, and what tsc says.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("h.js", "work(\"H\").get(\"/h/{id}\", req => req.params.ident);\n", "h.js(1,44): error TS2339"),
    ("h.js", "work(\"H\").get(\"/h\", req => req.boddy);\n", "h.js(1,32): error TS2339"),
    ("h.js", "work(\"H\").get(\"/h\", () => kv.set(\"a\", 1, { tll: 5 }));\n", "error TS2353"),
    ("h.js", "work(\"H\").get(\"/h\", () => db().table(\"a\").get().frist());\n", "error TS2339"),
    ("h.ts", "work(\"H\").get(\"/h\", () => { const n: number = uuid(); return n; });\n", "error TS2322"),
    (
        "s.js",
        "const n = now().text();\nif (n) return n.toUperCase();\n",
        "blueprints/s.js(2,17): error TS2551",
    ),
    ("s.js", "return uuid().lengthh;\n", "blueprints/s.js(1,15): error TS2551"),
];

#[test]
fn tsc_accepts_good_apps_and_finds_mistakes() {
    let app = App::shop();
    let Some(compiler) = typescript(&app.beside("npm")) else { return };
    let check = |app: &App| {
        let compiler = compiler.to_str().unwrap();
        e2e::shell(
            app.path(),
            &format!("FOREBAY_TSC='{compiler}' '{}' check --types", e2e::binary().display()),
        )
    };
    // The examples; all of their files, script style too.
    let good = check(&app);
    assert_eq!((good.code, good.err.as_str()), (0, ""), "{}", good.out);
    // What an editor sees: handler style has no errors at all; of script style TypeScript dislikes `return`, which
    // README and docs/TYPES.md say, and nothing else.
    let written = forebay(app.path(), &["types"]);
    assert!(written.code == 0 && app.path().join("forebay.d.ts").is_file(), "{}", written.err);
    let plain = tsc(&compiler, app.path());
    for line in plain.out.lines() {
        assert!(line.starts_with("blueprints/order.js(") && line.contains("error TS1108"), "{line}");
    }
    let _ = std::fs::remove_file(app.path().join("blueprints/order.js"));
    let plain = tsc(&compiler, app.path());
    assert_eq!((plain.code, plain.out.as_str()), (0, ""), "{}", plain.err);
    // Every kind of call.
    app.write("blueprints/handlers.js", HANDLERS);
    app.write("blueprints/script.js", SCRIPT);
    app.write("sql/users.sql", "-- name: getUser :opt\nSELECT 1 WHERE 1 = :id;\n");
    app.write("blueprints/named.js", "work(\"N\").get(\"/n\", () => sql.getUser({ id: 7 })?.name);\n");
    let good = check(&app);
    assert_eq!((good.code, good.err.as_str()), (0, ""), "{}", good.out);
    for (name, text, expected) in MISTAKES {
        let app = App::with("work(\"Other\").get(\"/other\", () => 1);\n");
        app.write(&format!("blueprints/{name}"), text);
        let run = check(&app);
        assert!(run.code == 1 && run.err.contains(expected), "{text}: {expected} not in\n{}", run.err);
        assert!(run.err.contains("forebay explain app/types"), "{}", run.err);
        assert_eq!(run.err.matches("error TS").count(), 1, "{text}\n{}", run.err);
    }
}

/// Chains, generic over the tables of the lock file.
#[test]
fn rows_have_the_types_of_the_lock_file() {
    let app = App::empty();
    let Some(compiler) = typescript(&app.beside("npm")) else { return };
    let passes = |name: &str, text: &str| {
        app.write(name, text);
        assert_eq!(forebay(app.path(), &["types"]).code, 0);
        let run = tsc(&compiler, app.path());
        assert_eq!((run.code, run.out.as_str()), (0, ""), "{name}: {}", run.err);
    };
    passes("lib/loose.ts", include_str!("types/loose.ts"));
    app.remove("lib/loose.ts");
    app.write("forebay.lock.json", include_str!("types/forebay.lock.json"));
    passes("lib/rows.ts", include_str!("types/rows.ts"));
    // Every one of its mistakes is found: one that isn't is an error of its own.
    passes("lib/mistakes.ts", include_str!("types/mistakes.ts"));
    // In JavaScript, and as the binary tells it.
    app.remove("lib/mistakes.ts");
    app.remove("lib/rows.ts");
    let check = |text: &str| {
        app.write("blueprints/people.js", text);
        let compiler = compiler.to_str().unwrap();
        let line = format!("FOREBAY_TSC='{compiler}' '{}' check --types", e2e::binary().display());
        e2e::shell(app.path(), &line)
    };
    let run = check(
        "work(\"A\").get(\"/a/{id}\", ({ params }) => {\n  const one = db().table(\"person\").where(\"id\", params.id).first();\n  return one?.name.toUpperCase();\n});\n",
    );
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{}", run.out);
    let run = check(
        "work(\"A\").get(\"/a\", () => {\n  db().table(\"person\").where(\"age\", \"old\").get();\n  return 1;\n});\n",
    );
    assert!(run.code == 1 && run.err.contains("blueprints/people.js(2,37): error TS2345"), "{}", run.err);
}

#[test]
fn a_tsconfig_of_the_users_own_is_kept() {
    let app = App::shop();
    app.write("tsconfig.json", "{ \"extends\": \"./base.json\" }\n");
    let run = forebay(app.path(), &["types"]);
    assert!(run.code == 0 && run.out.contains("is yours: kept"), "{}", run.out);
    let text = || std::fs::read_to_string(app.path().join("tsconfig.json")).unwrap();
    assert_eq!(text(), "{ \"extends\": \"./base.json\" }\n");
    let run = forebay(app.path(), &["types", ".", "--force"]);
    assert!(run.code == 0 && text().contains("checkJs"), "{}", run.out);
    assert!(forebay(app.path(), &["types"]).out.contains("up to date"));
    assert_eq!(forebay(app.path(), &["types", "nowhere"]).code, 2);
    // Only what was written is new, and the shop still builds.
    assert!(shop_folder().is_dir() && forebay(app.path(), &["check"]).code == 0);
}

#[test]
fn checking_types_without_a_compiler_says_how_to_get_one() {
    let app = App::with("work(\"A\").get(\"/a\", () => 1);\n");
    let run = e2e::shell(app.path(), &format!("PATH= '{}' check --types", e2e::binary().display()));
    assert!(run.code == 1 && run.err.contains("npm install --no-save typescript"), "{}", run.err);
}
