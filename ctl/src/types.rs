//! Types for editors and for `tsc`: `forebay.d.ts` from the table of host functions, and how a
//! script-style file is checked.
//!
//! ```text
//!   prelude.d.ts    types that the table's signatures name; written by hand
//!   the table       one declaration per host function, with its line of documentation
//!   sql/*.sql       one method of `sql` per named query, with the types of forebay.lock.json
//!   lock file       rows of the tables
//!   testing.d.ts    what *.test.js files have
//! ```

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use forebay_bytecode::HostFn;
use forebay_compiler::sqlfile::{self, NamedQuery, QueryKind};
use forebay_compiler::{Loader as _, script_body};

use crate::app::Folder;
use crate::commands::types_sql;
use crate::lock::{Lock, digest};

const PRELUDE: &str = include_str!("types/prelude.d.ts");
const TESTING: &str = include_str!("types/testing.d.ts");

/// For editors and `tsc -p`; `"lib/*"` is how blueprints may import.
pub const TSCONFIG: &str = r#"{
  "compilerOptions": {
    "target": "es2023",
    "lib": ["es2023"],
    "types": [],
    "module": "esnext",
    "moduleResolution": "bundler",
    "moduleDetection": "force",
    "allowImportingTsExtensions": true,
    "paths": { "lib/*": ["./lib/*"] },
    "allowJs": true,
    "checkJs": true,
    "strict": true,
    "noImplicitAny": false,
    "useUnknownInCatchVariables": false,
    "noEmit": true
  },
  "include": ["forebay.d.ts", "blueprints", "lib"]
}
"#;

/// The text of `forebay.d.ts` for an app.
#[must_use]
pub fn declarations(app: &Path) -> String {
    let mut out = PRELUDE.to_owned();
    host_functions(&mut out);
    out.push_str(&sql_declarations(app).unwrap_or_default());
    out.push_str(TESTING);
    out
}

/// The host functions of the table: functions, values (`req`), and namespaces (`kv`).
fn host_functions(out: &mut String) {
    let mut spaces: Vec<&str> = Vec::new();
    let visible = || HostFn::ALL.iter().filter(|f| !f.path().starts_with('%'));
    for function in visible() {
        match function.path().split_once('.') {
            None => {
                let keyword = if function.signature().starts_with(&format!("{}:", function.path())) {
                    "const"
                } else {
                    "function"
                };
                let (doc, signature) = (sentence(function.doc()), function.signature());
                let _ = writeln!(out, "/** {doc} */\ndeclare {keyword} {signature};");
            }
            Some((space, _)) if !spaces.contains(&space) => spaces.push(space),
            Some(_) => {}
        }
    }
    for space in spaces {
        let _ = writeln!(out, "declare namespace {space} {{");
        for function in visible() {
            if function.path().split_once('.').is_some_and(|(own, _)| own == space) {
                let (doc, signature) = (sentence(function.doc()), function.signature());
                // A value or a function, as above.
                let value = function
                    .path()
                    .split_once('.')
                    .is_some_and(|(_, member)| signature.starts_with(&format!("{member}:")));
                let keyword = if value { "const" } else { "function" };
                let _ = writeln!(out, "  /** {doc} */\n  {keyword} {signature};");
            }
        }
        out.push_str("}\n");
    }
}

/// A line of the table as a sentence of a comment.
fn sentence(doc: &str) -> String {
    let mut chars = doc.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str().trim_end_matches('.')).replace("*/", "* /")
}

/// The tables of the lock file, and the named queries of `sql/*.sql` as methods of `sql`. Parameters and columns of a
/// query that the lock file doesn't describe are `any`: their types are the database's, which this doesn't ask. None if
/// the app has neither.
#[must_use]
pub fn sql_declarations(app: &Path) -> Option<String> {
    let folder = Folder::new(app);
    let mut queries: Vec<NamedQuery> = Vec::new();
    for path in folder.queries() {
        // A malformed file is a build error, told by `check`.
        queries.extend(
            folder.load(&path).and_then(|text| sqlfile::parse(&path, &text).ok()).unwrap_or_default(),
        );
    }
    // One that can't be read is a build error, told by `check`.
    let lock = Lock::load(app).ok().flatten();
    let mut out = lock.as_ref().map(types_sql::tables).unwrap_or_default();
    if queries.is_empty() {
        return Some(out).filter(|out| !out.is_empty());
    }
    out.push_str("/** The named queries of `sql/`. */\ndeclare const sql: {\n");
    for query in &queries {
        if let Some(lock) = lock.as_ref().filter(|_| query.kind != QueryKind::Copy)
            && let Some(known) = lock.queries.get(&query.name)
            && known.sha256 == digest(query)
        {
            out.push_str(&types_sql::method(&query.name, known, lock));
            continue;
        }
        let params: Vec<String> = query.params.iter().map(|name| format!("{name}: any")).collect();
        let takes_rows = query.kind == QueryKind::Copy && sqlfile::copies_in(&query.text) == Some(true);
        let argument = if takes_rows {
            "rows: any[][] | object[] | string".to_owned()
        } else if params.is_empty() {
            String::new()
        } else {
            format!("params: {{ {} }}", params.join("; "))
        };
        let result = match query.kind {
            QueryKind::One => "Row",
            QueryKind::Opt => "Row | undefined",
            QueryKind::Many => "Row[]",
            QueryKind::Exec => "number",
            QueryKind::Copy if takes_rows => "number",
            QueryKind::Copy => "any",
        };
        let _ = writeln!(out, "  /** `{}` */\n  {}({argument}): {result};", query.file, query.name);
    }
    out.push_str("};\n");
    Some(out)
}

/// Why types weren't checked, or what is wrong with them.
#[derive(Debug)]
pub enum CheckError {
    /// There is no compiler, or the files can't be copied.
    Failed(String),
    /// What `tsc` printed, with the app's own paths and columns.
    Types(String),
}

/// Checks the types of an app with `tsc`, in a copy: there, the body of a script-style file stands in an async
/// function, so that its `return` and `await` are no errors, on the same lines.
///
/// # Errors
/// [`CheckError`].
pub fn check(app: &Path) -> Result<(), CheckError> {
    let failed =
        |what: &Path, error: std::io::Error| CheckError::Failed(format!("{}: {error}", what.display()));
    let compiler = find_tsc(app).ok_or_else(|| {
        CheckError::Failed(
            "there is no tsc: run `npm install --no-save typescript` in the app's folder, or set FOREBAY_TSC"
                .to_owned(),
        )
    })?;
    let copy = tempfile::tempdir().map_err(|error| failed(Path::new("a temporary folder"), error))?;
    let write = |name: &str, text: &str| {
        let path = copy.path().join(name);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, text)).map_err(|error| failed(&path, error))
    };
    let own = app.join("tsconfig.json");
    let config = fs::read_to_string(own).unwrap_or_else(|_| TSCONFIG.to_owned());
    write("tsconfig.json", &config)?;
    write("forebay.d.ts", &declarations(app))?;
    let loader = Folder::new(app);
    // File, line (from 1) and how many columns the wrapper has moved it by.
    let mut moved: Vec<(String, usize, usize)> = Vec::new();
    for name in loader.sources() {
        let Some(text) = loader.load(&name) else { continue };
        let Some(start) = script_body(&name, &text).filter(|_| name.starts_with("blueprints/")) else {
            write(&name, &text)?;
            continue;
        };
        let head = "(async () => { ";
        let (before, body) = text.split_at(start);
        moved.push((name.clone(), before.matches('\n').count() + 1, head.len()));
        // A comment at the end of the file must not hide the end of the wrapper.
        write(&name, &format!("{before}{head}{body}\n}})();\n"))?;
    }
    let output = Command::new(&compiler)
        .args(["--noEmit", "--pretty", "false", "-p", "."])
        .current_dir(copy.path())
        .output()
        .map_err(|error| failed(&compiler, error))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<String> = text.lines().map(|line| unmoved(line, &moved)).collect();
    Err(CheckError::Types(lines.join("\n")))
}

/// `blueprints/a.js(3,20): error ...` with the column of the author's file.
fn unmoved(line: &str, moved: &[(String, usize, usize)]) -> String {
    let parts = || {
        let (name, rest) = line.split_once('(')?;
        let (place, rest) = rest.split_once("): ")?;
        let (row, column) = place.split_once(',')?;
        let (row, column): (usize, usize) = (row.parse().ok()?, column.parse().ok()?);
        let by = moved.iter().find(|(file, at, _)| file == name && *at == row).map_or(0, |(_, _, by)| *by);
        Some(format!("{name}({row},{}): {rest}", column.saturating_sub(by).max(1)))
    };
    parts().unwrap_or_else(|| line.to_owned())
}

/// `$FOREBAY_TSC`, the app's own (also of a folder above), or the one on the path.
fn find_tsc(app: &Path) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("FOREBAY_TSC") {
        return Some(path.into());
    }
    let real = fs::canonicalize(app).ok()?;
    let local = real.ancestors().map(|folder| folder.join("node_modules/.bin/tsc"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let global = std::env::split_paths(&path).map(|folder| folder.join("tsc"));
    local.chain(global).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_function_is_declared_with_its_documentation() {
        let text = declarations(Path::new("/nowhere"));
        for function in HostFn::ALL.iter().filter(|f| !f.path().starts_with('%')) {
            assert!(text.contains(&format!(" {};", function.signature())), "{}", function.path());
            assert!(text.contains(&sentence(function.doc())), "{}", function.path());
        }
        for part in [
            "declare const req: Request;",
            "declare namespace kv {\n",
            "declare function log(",
            "namespace log {",
        ] {
            assert!(text.contains(part), "{part}");
        }
    }

    #[test]
    fn columns_are_those_of_the_authors_file() {
        let moved = [("blueprints/a.js".to_owned(), 3, 15)];
        let check = |line: &str, expected: &str| assert_eq!(unmoved(line, &moved), expected);
        check("blueprints/a.js(3,20): error TS1: x", "blueprints/a.js(3,5): error TS1: x");
        check("blueprints/a.js(4,20): error TS1: x", "blueprints/a.js(4,20): error TS1: x");
        check("blueprints/b.js(3,20): error TS1: x", "blueprints/b.js(3,20): error TS1: x");
        check("  continued (1,2): y", "  continued (1,2): y");
        check("error TS5: no", "error TS5: no");
    }

    #[test]
    fn named_queries_are_methods() {
        let app = tempfile::tempdir().unwrap();
        assert_eq!(sql_declarations(app.path()), None);
        fs::create_dir(app.path().join("sql")).unwrap();
        let text =
            "-- name: getUser :opt\nSELECT 1 WHERE 1 = :id AND 2 = :other;\n-- name: all :many\nSELECT 1;\n";
        fs::write(app.path().join("sql/a.sql"), text).unwrap();
        let text = sql_declarations(app.path()).unwrap();
        assert!(text.contains("  getUser(params: { id: any; other: any }): Row | undefined;\n"), "{text}");
        assert!(text.contains("  all(): Row[];\n"), "{text}");
    }
}
