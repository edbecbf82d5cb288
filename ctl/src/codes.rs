//! What every diagnostic code means: the pages of docs/CODES.md, which is the one table that
//! `forebay explain`, the docs and the tests share.
//!
//! ```text
//!   # Section            a group in the list
//!   ## CODE: title       a page; its text up to the next heading
//! ```

use std::fmt::Write as _;
use std::sync::LazyLock;

/// The document.
const TEXT: &str = include_str!("../../docs/CODES.md");

/// Codes that the last line of an error names; the rest is in its frames.
const NAMED_MAX: usize = 5;

/// One code's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// As errors show it: `FB0201`, `config/type`, `memory_exhausted`.
    pub code: &'static str,
    /// A few words.
    pub title: &'static str,
    /// The group that it belongs to.
    pub section: &'static str,
    /// Markdown: meaning, example, what to do.
    pub text: &'static str,
}

/// All pages, in the order of the document.
#[must_use]
pub fn pages() -> &'static [Page] {
    static PAGES: LazyLock<Vec<Page>> = LazyLock::new(|| parse(TEXT));
    &PAGES
}

/// The page of a code, whichever way it is capitalised.
#[must_use]
pub fn page(code: &str) -> Option<&'static Page> {
    pages().iter().find(|page| page.code.eq_ignore_ascii_case(code))
}

/// The line that ends an error's text: how to read more about its codes; empty if none has a page.
#[must_use]
pub fn more<'c>(codes: impl IntoIterator<Item = &'c str>) -> String {
    let mut named: Vec<&str> = Vec::new();
    for page in codes.into_iter().filter_map(page) {
        if named.len() < NAMED_MAX && !named.contains(&page.code) {
            named.push(page.code);
        }
    }
    if named.is_empty() { String::new() } else { format!("\nfor more: forebay explain {}", named.join(" ")) }
}

impl Page {
    /// The page for a terminal: code blocks are indented, Markdown's marks are gone.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = format!("{}: {}\n", self.code, self.title);
        let mut fenced = false;
        for line in self.text.lines() {
            if line.starts_with("```") {
                fenced = !fenced;
            } else if fenced {
                let _ = writeln!(out, "{}{line}", if line.is_empty() { "" } else { "    " });
            } else {
                let _ = writeln!(out, "{}", line.replace("**Do**:", "What to do:").replace('`', ""));
            }
        }
        out.trim_end().to_owned()
    }
}

fn parse(text: &'static str) -> Vec<Page> {
    let mut pages: Vec<Page> = Vec::new();
    let mut section = "";
    let mut fenced = false;
    // The page under construction: code, title, where its text begins.
    let mut open: Option<(&str, &str, usize)> = None;
    let mut at = 0;
    let mut close = |open: &mut Option<(&'static str, &'static str, usize)>, section, end: usize| {
        if let Some((code, title, start)) = open.take() {
            pages.push(Page { code, title, section, text: text[start..end].trim() });
        }
    };
    for line in text.split_inclusive('\n') {
        fenced ^= line.starts_with("```");
        if !fenced && let Some(head) = line.strip_prefix("## ") {
            close(&mut open, section, at);
            let (code, title) = head.trim().split_once(": ").unwrap_or((head.trim(), ""));
            open = Some((code, title, at + line.len()));
        } else if !fenced && let Some(name) = line.strip_prefix("# ") {
            close(&mut open, section, at);
            section = name.trim();
        }
        at += line.len();
    }
    close(&mut open, section, text.len());
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_pages_with_unique_codes() {
        let mut seen = std::collections::BTreeSet::new();
        for page in pages() {
            assert!(seen.insert(page.code.to_ascii_lowercase()), "{} twice", page.code);
            assert!(!page.title.is_empty() && !page.section.is_empty(), "{}", page.code);
            assert!(page.text.contains("**Do**: "), "{} doesn't say what to do", page.code);
            let has_example = page.text.contains("```");
            assert_ne!(has_example, page.text.contains("No example: "), "{}", page.code);
        }
        assert!(seen.len() > 100, "{}", seen.len());
    }

    #[test]
    fn the_last_line_names_each_code_with_a_page_once() {
        assert_eq!(more(["FB0201", "nonsense", "fb0201"]), "\nfor more: forebay explain FB0201");
        assert_eq!(more(["FB0201", "config/type"]), "\nfor more: forebay explain FB0201 config/type");
        assert_eq!(more(["nonsense"]), "");
    }

    #[test]
    fn pages_are_readable_without_markdown() {
        let text = page("fb0201").unwrap().render();
        assert!(text.starts_with("FB0201: a name is not defined\n"), "{text}");
        assert!(text.contains("\n    return paylod();\n") && text.contains("What to do: "), "{text}");
        assert!(!text.contains('`'), "{text}");
    }
}
