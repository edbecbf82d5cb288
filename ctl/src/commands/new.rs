//! `forebay new NAME`: an app folder to start from.

use std::path::{Path, PathBuf};

use crate::{Failure, Outcome};

/// Arguments of `forebay new`.
#[derive(Debug, clap::Args)]
pub struct NewArgs {
    /// Folder to make; its last part is the app's name
    #[arg(value_name = "NAME")]
    pub name: PathBuf,
}

/// What the folder gets: path and content.
const FILES: &[(&str, &str)] = &[
    ("forebay.toml", FOREBAY_TOML),
    ("blueprints/hello.js", HELLO_JS),
    ("blueprints/hello.test.js", HELLO_TEST_JS),
    (".gitignore", ".forebay/\n"),
];

const FOREBAY_TOML: &str = r#"# Everything here is optional; `forebay check` names unknown keys.
listen = "127.0.0.1:8080"

# A PostgreSQL of the app's own in `forebay dev`; in production "$DATABASE_URL" or "postgres://...".
# [database]
# url = "private"

# [limits]
# body_bytes = "1MiB"
# wall_time = "30s"
# memory = "64MiB"
"#;

const HELLO_JS: &str = r#"const w = work("Hello").router("GET", "/hello");

let input = payload();
return { hello: input.name ?? "world", at: now().text() };
"#;

const HELLO_TEST_JS: &str = r#"test("greets", () => {
  mock.now("2026-01-01");
  expect(request("GET", "/hello?name=you").json()).toEqual({ hello: "you", at: "2026-01-01T00:00:00.000Z" });
});
"#;

/// Makes the folder; never writes over a file.
///
/// # Errors
/// If NAME exists and isn't an empty folder, or can't be written.
pub fn run(args: &NewArgs) -> Outcome {
    make(&args.name)?;
    let shown = args.name.display();
    println!(
        "made {shown}; now:\n  forebay dev {shown}\n  forebay test {shown}\n  curl 'http://127.0.0.1:8080/hello?name=you'"
    );
    Ok(())
}

fn make(folder: &Path) -> Outcome {
    let failed = |path: &Path, error| Failure::because(format!("can't write {}", path.display()), error);
    match std::fs::read_dir(folder) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(Failure::Usage(format!("{} exists and isn't empty", folder.display())));
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(folder, error)),
    }
    for (name, content) in FILES {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
        }
        std::fs::write(&path, content).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_new_app_has_a_config_that_parses_and_is_never_overwritten() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("a/shop");
        make(&folder).unwrap();
        let config = Config::load(&folder.join("forebay.toml"), &folder, false, false).unwrap();
        assert_eq!(config.listen.len(), 1);
        // The commented lines are valid as well, once they are no comments.
        let is_setting = |line: &str| line.starts_with('[') || line.contains(" = ");
        let lines = FOREBAY_TOML.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
        let all: Vec<_> = lines.filter(|line| is_setting(line)).collect();
        Config::parse(&all.join("\n"), &folder).unwrap();
        assert!(matches!(make(&folder), Err(Failure::Usage(_))));
    }
}
