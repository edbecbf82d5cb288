//! Code frames: how an error in a user's script, spec, SQL or configuration is
//! shown. A stable code, the file with line and column, a caret, a suggestion.
//!
//! ```text
//! error[config/unknown-key]: unknown key `lisen`
//!  --> shop/forebay.toml:1:1
//!   |
//! 1 | lisen = "127.0.0.1:8080"
//!   | ^^^^^ not a key of forebay.toml
//!   = help: did you mean `listen`?
//! ```

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// One error at one place of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Stable code, as in `config/unknown-key`: what people search for.
    pub code: &'static str,
    /// One line, without the place.
    pub title: String,
    /// Byte range in the source; clamped to it when shown.
    pub span: Range<usize>,
    /// Text beside the caret; may be empty.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Frame {
    /// Line and column of the span's start, both from 1; columns count characters.
    #[must_use]
    pub fn position(&self, source: &str) -> (usize, usize) {
        let start = floor(source, self.span.start);
        let before = &source[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The frame as text, without a trailing newline. `path` is shown as given;
    /// `color` adds terminal colours.
    #[must_use]
    pub fn render(&self, path: &str, source: &str, color: bool) -> String {
        let start = floor(source, self.span.start);
        let end = floor(source, self.span.end).max(start);
        let mut annotation = AnnotationKind::Primary.span(start..end);
        if !self.label.is_empty() {
            annotation = annotation.label(self.label.as_str());
        }
        let snippet = Snippet::source(source).path(path).annotation(annotation);
        let mut group = Level::ERROR.primary_title(self.title.as_str()).id(self.code).element(snippet);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group]).trim_end().to_owned()
    }
}

/// The name among `known` that `name` was probably meant to be.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(lower.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Whether stderr wants colours: a terminal, and no `NO_COLOR` (no-color.org).
#[must_use]
pub fn stderr_color() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// The last character boundary at or before `at`.
fn floor(source: &str, at: usize) -> usize {
    source.floor_char_boundary(at.min(source.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_shows_place_caret_and_help() {
        let source = "a = 1\nlisen = 2\n";
        let frame = Frame {
            code: "config/unknown-key",
            title: "unknown key `lisen`".into(),
            span: 6..11,
            label: "not a key".into(),
            help: Some("did you mean `listen`?".into()),
        };
        assert_eq!(frame.position(source), (2, 1));
        let text = frame.render("x.toml", source, false);
        for part in
            ["error[config/unknown-key]: unknown key", "--> x.toml:2:1", "^^^^^ not a key", "`listen`?"]
        {
            assert!(text.contains(part), "{part:?} not in:\n{text}");
        }
        assert!(frame.render("x.toml", source, true).contains('\x1b'));
    }

    #[test]
    fn spans_outside_the_source_or_inside_a_character_do_not_panic() {
        for source in ["", "é", "a\r\nb", "x = \"日本\""] {
            for start in 0..source.len() + 3 {
                for end in 0..source.len() + 3 {
                    let frame = Frame {
                        code: "c",
                        title: "t".into(),
                        span: start..end,
                        label: "l".into(),
                        help: None,
                    };
                    let _ = frame.position(source);
                    let _ = frame.render("p", source, false);
                }
            }
        }
    }

    #[test]
    fn nearest_names() {
        let known = ["listen", "data", "placement", "cores"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("Placment", known), Some("placement"));
        assert_eq!(nearest("core", known), Some("cores"));
        assert_eq!(nearest("zebra", known), None);
    }
}
