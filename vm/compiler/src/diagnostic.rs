//! Build errors and warnings, and how people see them: a stable code, the place
//! with a caret, and what to do about it.
//!
//! ```text
//! error[FB0201]: `pay` is not defined
//!  --> blueprints/order.js:3:13
//!   |
//! 3 | const input = pay();
//!   |               ^^^
//!   |
//!   = help: did you mean `payload`?
//! ```

use std::fmt;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Errors that one compilation reports; the rest is dropped.
pub const DIAGNOSTICS_MAX: usize = 20;

/// Whether the build goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// There is no module.
    Error,
    /// There is a module, but it likely isn't what its author wants.
    Warning,
}

/// A place in a file: bytes `start .. end` of its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Byte offset of the first byte.
    pub start: u32,
    /// Byte offset behind the last byte.
    pub end: u32,
}

/// A build error or warning. `Display` renders the code frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Stable code: `FB0123`. Codes are never reused.
    pub code: &'static str,
    /// What is wrong, in one line.
    pub message: String,
    /// Path of the file, relative to the app folder.
    pub file: Arc<str>,
    /// Its text.
    pub text: Arc<str>,
    /// Where.
    pub place: Place,
    /// Other places that matter, each with a few words.
    pub labels: Vec<(Place, String)>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Line and column of the first byte, both from 1; the column counts characters.
    #[must_use]
    pub fn line_column(&self) -> (usize, usize) {
        line_column(&self.text, self.place.start)
    }

    /// The code frame, without colours.
    #[must_use]
    pub fn render(&self) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let span = |place: Place| {
            let start = floor(&self.text, place.start as usize);
            let end = floor(&self.text, place.end as usize).max(start);
            start..end
        };
        let mut snippet = Snippet::source(&*self.text)
            .path(&*self.file)
            .annotation(AnnotationKind::Primary.span(span(self.place)));
        for (place, words) in &self.labels {
            snippet = snippet.annotation(AnnotationKind::Context.span(span(*place)).label(words.as_str()));
        }
        let mut group = level.primary_title(self.message.as_str()).id(self.code).element(snippet);
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        let groups: [Group<'_>; 1] = [group];
        Renderer::plain().render(&groups)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render())
    }
}

impl std::error::Error for Diagnostic {}

/// Line and column (from 1, in characters) of a byte offset.
#[must_use]
pub fn line_column(text: &str, offset: u32) -> (usize, usize) {
    let before = &text[..floor(text, offset as usize)];
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The largest character boundary that is not behind `offset`.
fn floor(text: &str, offset: usize) -> usize {
    text.floor_char_boundary(offset)
}

/// Collects the diagnostics of one compilation.
#[derive(Default, Debug)]
pub(crate) struct Sink {
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl Sink {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        let list = match diagnostic.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        // A loop's update is compiled once, but a helper may visit a node twice.
        let known = |d: &Diagnostic| d.place == diagnostic.place && d.message == diagnostic.message;
        if list.len() < DIAGNOSTICS_MAX && !list.iter().any(|d| d.file == diagnostic.file && known(d)) {
            list.push(diagnostic);
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Errors, or if there are none, the warnings; both in the order of the text.
    pub(crate) fn finish(mut self) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        let by_place = |d: &Diagnostic| (d.file.clone(), d.place.start);
        self.errors.sort_by_key(by_place);
        self.warnings.sort_by_key(by_place);
        if self.errors.is_empty() { Ok(self.warnings) } else { Err(self.errors) }
    }
}

/// The name of `known` that the author may have meant, close in spelling: "did you mean `get`?".
pub fn did_you_mean<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let length = name.chars().count();
    known
        .into_iter()
        .filter(|candidate| *candidate != name)
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (length.max(candidate.len()) / 3).max(1))
        .min_by_key(|(distance, candidate)| (*distance, candidate.len()))
        .or(None)
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_frame_names_file_line_and_column() {
        let d = Diagnostic {
            severity: Severity::Error,
            code: "FB0201",
            message: "`pay` is not defined".into(),
            file: "blueprints/order.js".into(),
            text: "// ä\nconst input = pay();\n".into(),
            place: Place { start: 20, end: 23 },
            labels: Vec::new(),
            hint: Some("did you mean `payload`?".into()),
        };
        let frame = d.render();
        assert_eq!(d.line_column(), (2, 15));
        for part in [
            "error[FB0201]: `pay` is not defined",
            "blueprints/order.js:2:15",
            "^^^",
            "did you mean `payload`?",
        ] {
            assert!(frame.contains(part), "{part} is not in\n{frame}");
        }
    }

    #[test]
    fn places_behind_the_text_or_inside_a_character_do_not_panic() {
        for (start, end) in [(0, 99), (99, 100), (1, 2), (2, 1)] {
            let d = Diagnostic {
                severity: Severity::Warning,
                code: "FB0001",
                message: "m".into(),
                file: "f".into(),
                text: "ä\n".into(),
                place: Place { start, end },
                labels: vec![(Place { start: end, end: start }, "here".into())],
                hint: None,
            };
            assert!(d.render().contains("FB0001"));
        }
    }

    #[test]
    fn close_names_are_suggested_and_others_not() {
        assert_eq!(did_you_mean("paylod", ["payload", "req"]), Some("did you mean `payload`?".into()));
        assert_eq!(did_you_mean("gte", ["get", "set"]), Some("did you mean `get`?".into()));
        assert_eq!(did_you_mean("frobnicate", ["get", "set"]), None);
    }
}
