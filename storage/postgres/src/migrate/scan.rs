//! Statements and words of SQL text, as far as that goes without a grammar: where statements end, what stands in
//! strings and comments (manual: "Lexical Structure"). What has no end (a quote, a comment) ends with the text: the
//! server says what is wrong with it.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A key word or a name without quotes.
    Word,
    /// `"..."`.
    Quoted,
    /// `'...'`, `E'...'`, `$tag$...$tag$`.
    Text,
    /// Digits.
    Number,
    /// Any other character.
    Sign,
}

/// A token with its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token<'t> {
    /// What it is.
    pub kind: Kind,
    /// As it stands in the text.
    pub text: &'t str,
    /// Byte offset of its first byte.
    pub start: usize,
}

impl Token<'_> {
    /// Byte offset behind it.
    #[must_use]
    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it is this key word, in any case.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is this character.
    #[must_use]
    pub fn is_sign(&self, sign: char) -> bool {
        self.kind == Kind::Sign && self.text.starts_with(sign)
    }

    /// A name as the server sees it: without quotes, or in lower case. `None` for what is no name.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        match self.kind {
            Kind::Word => Some(self.text.to_ascii_lowercase()),
            Kind::Quoted => {
                let inner = self.text.strip_prefix('"').unwrap_or(self.text);
                Some(inner.strip_suffix('"').unwrap_or(inner).replace("\"\"", "\""))
            }
            _ => None,
        }
    }
}

/// One statement, without its semicolon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement<'t> {
    /// Its tokens; never empty.
    pub tokens: Vec<Token<'t>>,
}

impl Statement<'_> {
    /// From its first token to its last, as bytes of the text.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        let start = self.tokens.first().map_or(0, |token| token.start);
        start..self.tokens.last().map_or(start, Token::end)
    }

    /// Whether it begins with these key words.
    #[must_use]
    pub fn begins(&self, words: &[&str]) -> bool {
        self.tokens.len() >= words.len() && words.iter().zip(&self.tokens).all(|(word, token)| token.is(word))
    }

    /// Whether these key words stand in it, one behind the other.
    #[must_use]
    pub fn has(&self, words: &[&str]) -> bool {
        self.find(0, words).is_some()
    }

    /// Index of the first token at or behind `from` where these key words begin.
    #[must_use]
    pub fn find(&self, from: usize, words: &[&str]) -> Option<usize> {
        (from..self.tokens.len()).find(|&at| {
            words
                .iter()
                .enumerate()
                .all(|(n, word)| self.tokens.get(at + n).is_some_and(|token| token.is(word)))
        })
    }
}

/// The statements of a text. A function's body in `BEGIN ATOMIC ... END` is one statement with its function.
#[must_use]
pub fn statements(text: &str) -> Vec<Statement<'_>> {
    let mut list = Vec::new();
    let mut tokens: Vec<Token<'_>> = Vec::new();
    // Open BEGIN ATOMIC, and the CASEs in it, which end with END as well.
    let (mut atomic, mut parentheses) = (0usize, 0usize);
    for token in self::tokens(text) {
        if token.is_sign(';') && atomic == 0 && parentheses == 0 {
            if !tokens.is_empty() {
                list.push(Statement { tokens: std::mem::take(&mut tokens) });
            }
            continue;
        }
        if token.is_sign('(') {
            parentheses += 1;
        } else if token.is_sign(')') {
            parentheses = parentheses.saturating_sub(1);
        } else if token.is("atomic") && tokens.last().is_some_and(|last| last.is("begin"))
            || atomic > 0 && token.is("case")
        {
            atomic += 1;
        } else if atomic > 0 && token.is("end") {
            atomic -= 1;
        }
        tokens.push(token);
    }
    if !tokens.is_empty() {
        list.push(Statement { tokens });
    }
    list
}

/// All tokens; space and comments are left out.
fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let bytes = text.as_bytes();
        loop {
            let rest = &bytes[at.min(bytes.len())..];
            let first = *rest.first()?;
            if first.is_ascii_whitespace() {
                at += 1;
            } else if rest.starts_with(b"--") {
                at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            } else if rest.starts_with(b"/*") {
                at += comment(rest);
            } else {
                break;
            }
        }
        let rest = &text[at..];
        let (kind, length) = token(rest);
        let token = Token { kind, text: &rest[..length], start: at };
        at += length;
        Some(token)
    })
}

/// Kind and length of the token that a text, which isn't empty, begins with.
fn token(rest: &str) -> (Kind, usize) {
    let bytes = rest.as_bytes();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii();
    let run = |from: usize| from + bytes[from..].iter().take_while(|byte| is_name(byte)).count();
    match bytes[0] {
        b'\'' => (Kind::Text, quoted(bytes, 0, false)),
        b'e' | b'E' if bytes.get(1) == Some(&b'\'') => (Kind::Text, quoted(bytes, 1, true)),
        b'"' => (Kind::Quoted, quoted(bytes, 0, false)),
        b'$' => {
            let tag = 1 + bytes[1..].iter().take_while(|b| is_name(b) && **b != b'$').count();
            if bytes.get(tag) != Some(&b'$') || bytes[1].is_ascii_digit() {
                return (Kind::Sign, 1);
            }
            let tag = &rest[..=tag];
            let end = rest[tag.len()..].find(tag).map_or(rest.len(), |n| n + 2 * tag.len());
            (Kind::Text, end)
        }
        b'0'..=b'9' => {
            let end = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'.').count();
            (Kind::Number, end)
        }
        first if is_name(&first) => (Kind::Word, run(0)),
        _ => (Kind::Sign, 1),
    }
}

/// Length up to behind the closing quote; `open` is the opening one's index.
fn quoted(bytes: &[u8], open: usize, escapes: bool) -> usize {
    let quote = bytes[open];
    let mut at = open + 1;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        if *byte == b'\\' && escapes {
            at += 1;
        } else if *byte == quote {
            if bytes.get(at) != Some(&quote) {
                return at;
            }
            at += 1;
        }
    }
    bytes.len()
}

/// Length of a comment, which may contain others.
fn comment(bytes: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0usize);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(b"/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if rest.starts_with(b"*/") {
            (at, depth) = (at + 2, depth - 1);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_where_the_server_sees_their_end() {
        let check = |text: &str, expect: &[&str]| {
            let found: Vec<&str> = statements(text).iter().map(|s| &text[s.range()]).collect();
            assert_eq!(found, expect, "{text}");
        };
        check("select 1; select 2;", &["select 1", "select 2"]);
        check(";; -- only; a comment\n /* a; /* b; */ c; */ ;", &[]);
        check(
            "select ';', \"a;b\", E'\\';', $$;$$, $f$ ; $$ ; $f$; x",
            &["select ';', \"a;b\", E'\\';', $$;$$, $f$ ; $$ ; $f$", "x"],
        );
        check("select 'it''s;'; y", &["select 'it''s;'", "y"]);
        check(
            "create rule r as on insert to t do (select 1; select 2); z",
            &["create rule r as on insert to t do (select 1; select 2)", "z"],
        );
        check(
            "create function f() returns int begin atomic select case when true then 1 end; select 2; end; z",
            &[
                "create function f() returns int begin atomic select case when true then 1 end; select 2; end",
                "z",
            ],
        );
        check("select a$1;b", &["select a$1", "b"]);
        check("select $1; b", &["select $1", "b"]);
        check("select 'ä;", &["select 'ä;"]);
        for open in ["'", "\"", "E'\\", "$$", "$x$ $", "/*", "/* /* */", "--", "$", "E'", "ä", "("] {
            let _ = statements(open);
        }
    }

    #[test]
    fn names_are_as_the_server_sees_them() {
        let text = "ALTER Table Public.\"Odd \"\"one\"";
        let list = statements(text);
        let names: Vec<Option<String>> = list[0].tokens.iter().map(Token::name).collect();
        let expect = [Some("alter"), Some("table"), Some("public"), None, Some("Odd \"one")];
        assert_eq!(names, expect.map(|name| name.map(str::to_owned)));
        assert!(list[0].begins(&["alter", "table"]) && !list[0].begins(&["table"]));
        assert_eq!(list[0].find(1, &["public"]), Some(2));
    }
}
