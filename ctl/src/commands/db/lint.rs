//! `forebay db lint`, and what `forebay db migrate` looks at first.

use std::path::Path;

use forebay_compiler::{Diagnostic, Place, Severity};
use forebay_postgres::blocking::Client;
use forebay_postgres::migrate::file::{self, File};
use forebay_postgres::migrate::lint::{CODES, Lint, lint, unknown_codes};
use forebay_postgres::migrate::{self, State};
use serde_json::json;

use super::LintArgs;
use crate::{Failure, Outcome};

/// Runs the command.
///
/// # Errors
/// Exit 1 with code frames if there is something to say.
pub(super) fn run(args: &LintArgs) -> Outcome {
    let target = &args.target;
    if args.all {
        if !target.app.is_dir() {
            return Err(Failure::Usage(format!("{} is not a folder", target.app.display())));
        }
        let files = file::read(&target.folder()).map_err(super::failed)?;
        return tell(&look(&[], &files)?, target.json);
    }
    target.with_client(|client, _| tell(&pending(client, &target.folder())?, target.json))
}

/// Lints of the migrations that are not applied yet.
pub(crate) fn pending(client: &mut Client, folder: &Path) -> Result<Vec<(Lint, Diagnostic)>, Failure> {
    let lines = migrate::status(client, folder).map_err(super::failed)?;
    let files = file::read(folder).map_err(super::failed)?;
    let is_pending =
        |file: &File| lines.iter().any(|line| line.name == file.name && line.state == State::Pending);
    let (new, old): (Vec<File>, Vec<File>) = files.into_iter().partition(is_pending);
    look(&old, &new)
}

fn look(before: &[File], files: &[File]) -> Result<Vec<(Lint, Diagnostic)>, Failure> {
    for file in files {
        if let Some(code) = unknown_codes(file).first() {
            let codes: Vec<&str> = CODES.iter().map(|(code, _)| *code).collect();
            let hint = crate::frame::nearest(code, codes.iter().copied()).map_or_else(
                || format!("there are {}", codes.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(Failure::Failed(format!(
                "migrations/{}: `-- forebay: allow {code}`: no lint has this code; {hint}",
                file.name
            )));
        }
    }
    let found = lint(before, files).into_iter().filter_map(|lint| {
        let file = files.iter().find(|file| file.name == lint.name)?;
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let diagnostic = Diagnostic {
            severity: Severity::Warning,
            code: lint.code,
            message: lint.message.clone(),
            file: format!("migrations/{}", lint.name).into(),
            text: file.text.as_str().into(),
            place: Place { start: place(lint.range.start), end: place(lint.range.end) },
            labels: Vec::new(),
            hint: Some(format!("{}; or, if it is meant: `-- forebay: allow {}`", lint.hint, lint.code)),
        };
        Some((lint, diagnostic))
    });
    Ok(found.collect())
}

/// Code frames and a sentence.
pub(super) fn text(found: &[(Lint, Diagnostic)]) -> String {
    let frames: Vec<String> = found.iter().map(|(_, diagnostic)| diagnostic.render()).collect();
    let count = found.len();
    let noun = if count == 1 { "thing" } else { "things" };
    format!("error: {count} {noun} to think about before this is applied; nothing was\n{}", frames.join("\n"))
}

fn tell(found: &[(Lint, Diagnostic)], as_json: bool) -> Outcome {
    if as_json {
        let list: Vec<_> = found
            .iter()
            .map(|(lint, diagnostic)| {
                let (line, column) = diagnostic.line_column();
                json!({
                    "code": lint.code, "file": &*diagnostic.file, "line": line, "column": column,
                    "message": lint.message, "hint": lint.hint,
                })
            })
            .collect();
        println!("{}", json!({ "lints": list }));
    }
    if found.is_empty() {
        if !as_json {
            println!("nothing to say");
        }
        return Ok(());
    }
    Err(Failure::Failed(if as_json { format!("{} lints", found.len()) } else { text(found) }))
}
