//! The binary from outside: help, exit codes, errors.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::process::Command;

struct Run {
    code: i32,
    out: String,
    err: String,
}

fn forebay(folder: &Path, arguments: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    let output = command.current_dir(folder).args(arguments).output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn help_version_and_wrong_usage() {
    let here = Path::new(".");
    let help = forebay(here, &["--help"]);
    assert!(
        help.code == 0 && help.out.contains("forebay dev shop") && help.out.contains("Exit codes"),
        "{}",
        help.out
    );
    // Every command that is listed has a page of its own.
    let listed =
        help.out.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let mut count = 0;
    for line in listed {
        let name = line.split_whitespace().next().unwrap();
        let page = forebay(here, &[name, "--help"]);
        assert!(page.code == 0 && page.out.contains("Usage: forebay"), "{name}: {}", page.out);
        count += 1;
    }
    assert!(count >= 2);
    assert!(forebay(here, &["--version"]).out.starts_with("forebay 0."));
    for wrong in [&["nope"][..], &[], &["serve", "--listen", "x"], &["serve", "/nonexistent"]] {
        assert_eq!(forebay(here, wrong).code, 2, "{wrong:?}");
    }
    let typo = forebay(here, &["ctl", "statsu"]);
    assert!(typo.code == 2 && typo.err.contains("status"), "{}", typo.err);
}

#[test]
fn new_makes_an_app_and_never_overwrites_one() {
    let folder = tempfile::tempdir().unwrap();
    let made = forebay(folder.path(), &["new", "shop"]);
    assert!(made.code == 0 && made.out.contains("forebay dev shop"), "{}{}", made.out, made.err);
    assert!(folder.path().join("shop/blueprints/hello.js").exists());
    assert_eq!(forebay(folder.path(), &["new", "shop"]).code, 2);
    assert_eq!(forebay(folder.path(), &["new"]).code, 2);
}

#[test]
fn a_wrong_configuration_is_shown_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("forebay.toml"),
        "lisen = \"127.0.0.1:0\"\n[limits]\nmemory = \"64M\"\n",
    )
    .unwrap();
    let run = forebay(folder.path(), &["serve", "."]);
    assert_eq!(run.code, 1);
    for part in
        ["error[config/unknown-key]", "./forebay.toml:1:1", "did you mean `listen`?", "forebay.toml:3:10"]
    {
        assert!(run.err.contains(part), "{part:?} not in\n{}", run.err);
    }
    let run = forebay(folder.path(), &["serve", ".", "--config", "gone.toml"]);
    assert!(run.code == 1 && run.err.contains("gone.toml"), "{}", run.err);
}

#[test]
fn db_migrates_a_private_cluster_and_says_what_it_did() {
    let folder = tempfile::Builder::new().prefix("ctl-db-").tempdir().unwrap();
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), permissions).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("forebay.toml", "");
    let none = forebay(folder.path(), &["db", "status"]);
    assert!(none.code == 1 && none.err.contains("no [database]"), "{}", none.err);
    write("forebay.toml", "[database]\nurl = \"private\"\n");
    std::fs::create_dir(folder.path().join("migrations")).unwrap();
    write("migrations/0001_users.sql", "create table users (id int8 primary key);\n");
    let first = forebay(folder.path(), &["db", "status"]);
    if first.err.contains("there is no PostgreSQL server") {
        return;
    }
    assert!(first.code == 0 && first.out.contains("0001_users.sql  pending"), "{}{}", first.out, first.err);
    let done = forebay(folder.path(), &["db", "migrate", ".", "--json"]);
    assert!(done.code == 0 && done.out.contains("\"name\":\"0001_users.sql\""), "{}{}", done.out, done.err);
    let again = forebay(folder.path(), &["db", "migrate"]);
    assert!(again.code == 0 && again.out.contains("nothing to apply"), "{}{}", again.out, again.err);
    write("migrations/0001_users.sql", "create table users (id int4);\n");
    let edited = forebay(folder.path(), &["db", "status", "--json"]);
    assert!(edited.code == 1 && edited.out.contains("edited"), "{}{}", edited.out, edited.err);
    write("migrations/0002_bad.sql", "create table users ();\n");
    write("migrations/0001_users.sql", "create table users (id int8 primary key);\n");
    let bad = forebay(folder.path(), &["db", "migrate"]);
    assert!(bad.code == 1 && bad.err.contains("0002_bad.sql"), "{}", bad.err);
    // What blocks or destroys is shown before anything runs.
    write("migrations/0002_bad.sql", "create table other ();\nalter table users\n  drop column id;\n");
    let lint = forebay(folder.path(), &["db", "migrate"]);
    for part in ["warning[drop-column]", "migrations/0002_bad.sql:3:3", "`-- forebay: allow drop-column`"] {
        assert!(lint.code == 1 && lint.err.contains(part), "{part}: {}", lint.err);
    }
    let all = forebay(folder.path(), &["db", "lint", ".", "--all", "--json"]);
    assert!(all.code == 1 && all.out.contains("\"code\":\"drop-column\""), "{}{}", all.out, all.err);
    write("migrations/0002_bad.sql", "-- forebay: allow drop-colum\nalter table users drop column id;\n");
    let typo = forebay(folder.path(), &["db", "lint"]);
    assert!(typo.code == 1 && typo.err.contains("did you mean `drop-column`?"), "{}", typo.err);
    let allowed = "-- forebay: allow drop-column\nalter table users drop column id;\n-- forebay: down\nalter table users add id int8;\n";
    write("migrations/0002_bad.sql", allowed);
    write("schema.sql", "");
    let done = forebay(folder.path(), &["db", "migrate"]);
    assert!(done.code == 0 && done.out.contains("applied 0002_bad.sql"), "{}{}", done.out, done.err);
    // A schema.sql that is there is written again; it says which migrations it contains.
    let schema = std::fs::read_to_string(folder.path().join("schema.sql")).unwrap();
    assert!(schema.contains("CREATE TABLE public.users") && schema.contains("'0002_bad.sql'"), "{schema}");
    let back = forebay(folder.path(), &["db", "rollback", "--json"]);
    assert!(
        back.code == 0 && back.out.starts_with("{\"rolled_back\":[\"0002_bad.sql\"]}"),
        "{}{}",
        back.out,
        back.err
    );
    let new = forebay(folder.path(), &["db", "new", "Add a thing"]);
    assert!(
        new.code == 0 && new.out.trim().ends_with("migrations/0003_add_a_thing.sql"),
        "{}{}",
        new.out,
        new.err
    );
    let fine = forebay(folder.path(), &["db", "lint"]);
    assert!(fine.code == 0 && fine.out.contains("nothing to say"), "{}{}", fine.out, fine.err);
}

#[test]
fn kv_dumps_and_verifies_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = forebay_kv::Blocking::open(forebay_kv::Config::new(folder.path().join("kv"), 1)).unwrap();
    let mut session = store.session(forebay_base::CoreId(0));
    let (now, tenant) = (forebay_base::Timestamp(1), forebay_base::TenantId(0));
    let pairs: Vec<_> = (0..2500)
        .map(|number| (format!("n:{number:05}"), forebay_base::value::codec::encode_int(number)))
        .collect();
    for part in pairs.chunks(100) {
        let ops: Vec<_> = part
            .iter()
            .map(|(key, value)| forebay_kv::Op::Set { key: key.as_bytes(), value, expires: None })
            .collect();
        session.batch(now, tenant, &ops, true).unwrap();
    }
    let locked = forebay(folder.path(), &["kv", "verify", "kv"]);
    assert!(locked.code == 1 && locked.err.contains("in use by process"), "{}", locked.err);
    drop(session);
    store.close().unwrap();
    let report = forebay(folder.path(), &["kv", "verify", "kv", "--json"]);
    assert!(report.code == 0 && report.out.contains("\"keys\":2500"), "{}{}", report.out, report.err);
    assert!(report.out.contains("\"hints_damaged\":[]"), "{}", report.out);
    // No hint of a segment: an open doesn't believe it, and verify says so.
    std::fs::write(folder.path().join("kv/0000000001.hint"), b"nothing of the kind").unwrap();
    let report = forebay(folder.path(), &["kv", "verify", "kv", "--json"]);
    assert!(
        report.code == 0 && report.out.contains("\"hints_damaged\":[\"0000000001.hint\"]"),
        "{}",
        report.out
    );
    let dump = forebay(folder.path(), &["kv", "dump", "kv"]);
    assert_eq!(dump.out.lines().count(), 2500, "{}", dump.err);
    assert_eq!(dump.out.lines().nth(1234).unwrap(), "{\"key\":\"n:01234\",\"value\":1234}");
    assert_eq!(forebay(folder.path(), &["kv", "dump", "kv", "--prefix", "n:0000"]).out.lines().count(), 10);
    assert_eq!(forebay(folder.path(), &["kv", "dump", "gone"]).code, 2);
}
