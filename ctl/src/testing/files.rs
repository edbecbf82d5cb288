//! Test files: found, compiled together with the library, and how their errors are shown.
//!
//! The library's names come from a line put in front of the file's text, and its last line runs the suite. What the
//! compiler and the machine then say about places is moved back, so that lines and columns are the author's.

use std::path::Path;
use std::sync::Arc;

use forebay_bytecode::module::{Action, Position, Route, Work};
use forebay_bytecode::{Module, verify};
use forebay_compiler::{Diagnostic, Loader, Place, compile};
use forebay_engine::{Blueprint, ErrorReport, LoadError};
use serde_json::json;

use crate::app::{self, Folder, Problems};
use crate::frame::Frame;

/// The library, as an import.
const LIBRARY: &str = "lib/.forebay-test.js";
const LIBRARY_TEXT: &str = include_str!("library.js");
const HEAD: &str = "import { suite as __forebay_suite } from \"lib/.forebay-test.js\"; \
    const { describe, test, it, expect, beforeEach, afterEach, mock, request, run: __forebay_run } = __forebay_suite(); ";
const TAIL: &str = "\nreturn await __forebay_run();\n";

/// Paths of all test files, in order.
pub(super) fn find(app: &Path) -> Vec<String> {
    let is_test = |path: &String| path.ends_with(".test.js") || path.ends_with(".test.ts");
    let mut found = Folder::new(app).sources_below(&["blueprints", "lib", "tests"]);
    found.retain(is_test);
    found
}

/// Why a test file can't be run.
pub(super) enum TestFileError {
    Build(Vec<Diagnostic>),
    Other(String),
}

impl TestFileError {
    pub(super) fn add_to(&self, problems: &mut Problems) {
        match self {
            Self::Build(diagnostics) => {
                diagnostics.iter().for_each(|diagnostic| problems.diagnostic(diagnostic))
            }
            Self::Other(text) => {
                problems.frames.push(text.clone());
                problems.list.push(json!({ "code": "app/compiler", "message": text }));
            }
        }
    }
}

/// The app's files, the library, and one of them with the library around it.
struct Wrapped<'a> {
    folder: Folder,
    path: &'a str,
    text: &'a str,
}

impl Loader for Wrapped<'_> {
    fn load(&self, path: &str) -> Option<Box<str>> {
        if path == self.path {
            return Some(format!("{HEAD}{}{TAIL}", self.text).into());
        }
        if path == LIBRARY { Some(LIBRARY_TEXT.into()) } else { self.folder.load(path) }
    }
    fn modules(&self) -> Vec<String> {
        self.folder.modules()
    }
    fn queries(&self) -> Vec<String> {
        self.folder.queries()
    }
}

/// Compiles a test file; its suite answers under `route`.
pub(super) fn load(app: &Path, path: &str, route: &str) -> Result<Arc<Blueprint>, TestFileError> {
    let folder = Folder::new(app);
    let text = folder.load(path).ok_or_else(|| TestFileError::Other(format!("{path} can't be read")))?;
    let loader = Wrapped { folder, path, text: &text };
    let works = || {
        TestFileError::Other(format!(
            "{path} declares a work: a test file tests works, with request(method, path)"
        ))
    };
    let (mut module, _) = compile(&loader, path).map_err(|mut diagnostics| {
        // Beside a work with a function our last line isn't allowed.
        let end = HEAD.len() + text.len();
        if diagnostics.iter().any(|d| &*d.file == path && d.place.start as usize >= end) {
            return works();
        }
        diagnostics.iter_mut().for_each(|diagnostic| move_back(diagnostic, path, &text));
        TestFileError::Build(diagnostics)
    })?;
    let main = module.main.filter(|_| module.works.is_empty()).ok_or_else(works)?;
    shift(&mut module, &text);
    let position = Position { pc: 0, file: 0, start: 0, end: 0 };
    module.works.push(Work {
        name: format!("test {path}").into(),
        routes: vec![Route {
            method: "POST".into(),
            pattern: route.into(),
            action: Action::Function(main),
            position,
        }],
        ..Work::default()
    });
    let verified = verify(module).map_err(|error| TestFileError::Other(format!("{path}: {error}")))?;
    Blueprint::load(&verified).map_err(|error| {
        TestFileError::Other(match error {
            LoadError::Init(report) => explain(&verified, &report),
            LoadError::NoMemory => format!("{path}: the kernel gave no memory"),
        })
    })
}

/// An offset of the wrapped text in the author's.
fn unwrapped(offset: u32, text: &str) -> u32 {
    let at = (offset as usize).saturating_sub(HEAD.len()).min(text.len());
    u32::try_from(text.floor_char_boundary(at)).unwrap_or(u32::MAX)
}

fn shift(module: &mut Module, text: &str) {
    if let Some(file) = module.files.first_mut() {
        file.text = text.into();
    }
    for position in module.functions.iter_mut().flat_map(|f| &mut f.positions).filter(|p| p.file == 0) {
        position.start = unwrapped(position.start, text);
        position.end = unwrapped(position.end, text);
    }
}

fn move_back(diagnostic: &mut Diagnostic, path: &str, text: &str) {
    if &*diagnostic.file != path {
        return;
    }
    let back = |place: Place| Place { start: unwrapped(place.start, text), end: unwrapped(place.end, text) };
    diagnostic.text = text.into();
    diagnostic.place = back(diagnostic.place);
    diagnostic.labels.iter_mut().for_each(|(place, _)| *place = back(*place));
}

/// An error of a test, or of a handler in a test: at the innermost place that isn't the library's.
pub(super) fn explain(module: &Module, report: &ErrorReport) -> String {
    if !module.files.iter().any(|file| &*file.path == LIBRARY) {
        return app::explain(module, report);
    }
    let is_library = |line: &&str| line.contains(LIBRARY);
    let stack: Vec<&str> = report.stack.lines().filter(|line| !is_library(line)).collect();
    let place = stack.iter().find_map(|line| place_of(module, line));
    let (first, rest) = report.message.split_once('\n').unwrap_or((&report.message, ""));
    let is_claim = &*report.name == "AssertionError";
    let title = if is_claim || report.name.is_empty() {
        first.to_owned()
    } else {
        format!("{}: {first}", report.name)
    };
    let code = forebay_engine::Trap::ALL.iter().map(|trap| trap.code()).find(|code| **code == *report.code);
    let mut text = match place {
        Some((file, start, end)) => {
            let code = if is_claim { "test/failed" } else { code.unwrap_or("script_error") };
            let file = &module.files[file];
            let frame = Frame { code, title, span: start..end, label: String::new(), help: None };
            frame.render(&file.path, &file.text, false)
        }
        None => format!("error[{}]: {title}", if is_claim { "test/failed" } else { &*report.code }),
    };
    if !rest.is_empty() {
        text.push_str("\n\n");
        text.push_str(rest);
    }
    // Of a claim the place says all; of other errors, who called whom.
    if !is_claim && !stack.is_empty() {
        text.push('\n');
        text.push_str(&stack.join("\n"));
    }
    text
}

/// File and bytes of `    at name (blueprints/a.test.js:3:5)`: from there to the end of the statement's line.
fn place_of(module: &Module, line: &str) -> Option<(usize, usize, usize)> {
    let place = line.trim().strip_prefix("at ")?;
    let place = place.rsplit_once('(').map_or(place, |(_, place)| place.trim_end_matches(')'));
    let mut parts = place.rsplitn(3, ':');
    let (column, row): (usize, usize) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let path = parts.next()?;
    let file = module.files.iter().position(|file| &*file.path == path)?;
    let text = &module.files[file].text;
    let line_start: usize = text.split_inclusive('\n').take(row - 1).map(str::len).sum();
    let line = text[line_start..].lines().next()?;
    let start = line.char_indices().nth(column - 1).map_or(line.len(), |(at, _)| at);
    let end = line.trim_end().trim_end_matches(';').len().max(start);
    Some((file, line_start + start, line_start + end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("blueprints")).unwrap();
        std::fs::write(folder.path().join("blueprints/a.test.js"), text).unwrap();
        folder
    }

    #[test]
    fn a_mistake_of_a_test_file_is_shown_where_its_author_made_it() {
        let app = app("test(\"ä\", () => nope);\nfoo();\n");
        let Err(TestFileError::Build(errors)) = load(app.path(), "blueprints/a.test.js", "/x") else {
            panic!("it builds")
        };
        let places: Vec<_> = errors.iter().map(Diagnostic::line_column).collect();
        assert_eq!(places, [(1, 17), (2, 1)], "{}", errors[0]);
    }

    #[test]
    fn works_of_a_test_file_are_refused() {
        let app = app("work(\"A\").get(\"/a\", () => 1);\n");
        let Err(TestFileError::Other(text)) = load(app.path(), "blueprints/a.test.js", "/x") else {
            panic!("it builds")
        };
        assert!(text.contains("declares a work"), "{text}");
    }

    #[test]
    fn a_test_file_compiles_with_the_library() {
        let app = app("// last line is a comment\nimport { } from \"lib/x.js\"; // and no newline");
        std::fs::create_dir(app.path().join("lib")).unwrap();
        std::fs::write(app.path().join("lib/x.js"), "export const x = 1;").unwrap();
        assert_eq!(find(app.path()), ["blueprints/a.test.js"]);
        if let Err(TestFileError::Other(text)) = load(app.path(), "blueprints/a.test.js", "/x") {
            panic!("{text}");
        }
    }
}
