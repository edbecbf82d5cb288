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
