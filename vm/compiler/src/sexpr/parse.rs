//! Text of an S-expression file to a tree with places. Sans-IO; any bytes that are text are read or refused.

use crate::diagnostic::Place;

/// Open brackets around a place.
pub(super) const DEPTH_MAX: usize = 64;
/// Bytes of one file.
pub(super) const TEXT_BYTES_MAX: usize = 256 << 10;

/// A form and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Form {
    pub(super) kind: Kind,
    pub(super) place: Place,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// A bare word: `core/kv/set`, `+`.
    Word(String),
    /// `$name`, without the `$`.
    Variable(String),
    /// `( ... )`
    List(Vec<Form>),
    /// `{ ... }`
    Block(Vec<Form>),
}

/// Why a text is no list of forms.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) place: Place,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Another place that matters.
    pub(super) label: Option<(Place, String)>,
}

impl Refusal {
    pub(super) fn new(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self { code, place, message: message.into(), hint: None, label: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The forms of a file.
pub(super) fn parse(text: &str) -> Result<Vec<Form>, Refusal> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the file is larger than {TEXT_BYTES_MAX} bytes");
        return Err(Refusal::new("FB0801", Place::default(), message));
    }
    // Brackets that are open, each with what it holds so far: no recursion over the text.
    let mut open: Vec<(u8, usize, Vec<Form>)> = Vec::new();
    let mut forms = Vec::new();
    let mut reader = Reader { text, at: 0 };
    while let Some(c) = reader.next_token() {
        let start = reader.at;
        match c {
            b'(' | b'{' => {
                reader.at += 1;
                if open.len() == DEPTH_MAX {
                    let refusal =
                        Refusal::new("FB0802", place(start, start + 1), "this is nested too deeply");
                    return Err(refusal.hint("give its parts names with (let $name ...)"));
                }
                open.push((c, start, std::mem::take(&mut forms)));
            }
            b')' | b'}' => {
                reader.at += 1;
                let here = place(start, start + 1);
                let Some((bracket, from, outer)) = open.pop() else {
                    return Err(Refusal::new(
                        "FB0901",
                        here,
                        format!("nothing is open that `{}` closes", c as char),
                    ));
                };
                let wanted = closing(bracket);
                if c != wanted {
                    let mut refusal =
                        Refusal::new("FB0901", here, format!("expected `{}` here", wanted as char));
                    refusal.label = Some((place(from, from + 1), "it closes this".into()));
                    return Err(refusal);
                }
                let inner = std::mem::replace(&mut forms, outer);
                let kind = if c == b')' { Kind::List(inner) } else { Kind::Block(inner) };
                forms.push(Form { kind, place: place(from, reader.at) });
            }
            b'"' => {
                let text = reader.string()?;
                forms.push(Form { kind: Kind::Text(text), place: place(start, reader.at) });
            }
            _ => {
                let kind = reader.atom()?;
                forms.push(Form { kind, place: place(start, reader.at) });
            }
        }
    }
    match open.last() {
        None => Ok(forms),
        Some(&(bracket, from, _)) => {
            let message = format!("this is never closed: `{}` is missing", closing(bracket) as char);
            Err(Refusal::new("FB0901", place(from, from + 1), message))
        }
    }
}

fn closing(bracket: u8) -> u8 {
    if bracket == b'(' { b')' } else { b'}' }
}

/// Texts are at most `TEXT_BYTES_MAX` long.
fn place(start: usize, end: usize) -> Place {
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Place { start: offset(start), end: offset(end) }
}

struct Reader<'t> {
    text: &'t str,
    /// Byte offset; always at a character's boundary.
    at: usize,
}

impl Reader<'_> {
    /// Skips space and comments; the first byte of what follows.
    fn next_token(&mut self) -> Option<u8> {
        loop {
            let rest = &self.text[self.at..];
            let c = rest.chars().next()?;
            if c == ';' {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if c.is_whitespace() {
                self.at += c.len_utf8();
            } else {
                return Some(self.text.as_bytes()[self.at]);
            }
        }
    }

    /// A string; `at` is at its quote.
    fn string(&mut self) -> Result<String, Refusal> {
        let start = self.at;
        let mut out = String::new();
        let mut chars = self.text[start..].char_indices().skip(1);
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.at = start + offset + 1;
                    return Ok(out);
                }
                '\\' => {
                    let from = start + offset;
                    let wrong = |end: usize| {
                        Refusal::new("FB0901", place(from, end), "this escape isn't one")
                            .hint("there are \\n \\r \\t \\\\ \\\" \\u{1F600}")
                    };
                    let Some((offset, escape)) = chars.next() else { break };
                    out.push(match escape {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        '\\' => '\\',
                        '"' => '"',
                        'u' => {
                            let digits = self.text[start + offset + 1..].strip_prefix('{');
                            let digits =
                                digits.and_then(|rest| rest.split_once('}')).map(|(digits, _)| digits);
                            let digits = digits.filter(|d| (1..=6).contains(&d.len()));
                            let Some(digits) = digits else { return Err(wrong(from + 2)) };
                            let read = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                            let Some(read) = read else { return Err(wrong(from + 4 + digits.len())) };
                            for _ in 0..digits.len() + 2 {
                                chars.next();
                            }
                            read
                        }
                        other => return Err(wrong(from + 1 + other.len_utf8())),
                    });
                }
                c => out.push(c),
            }
        }
        Err(Refusal::new("FB0901", place(start, start + 1), "this string has no end"))
    }

    /// A number, word or variable.
    fn atom(&mut self) -> Result<Kind, Refusal> {
        let start = self.at;
        let rest = &self.text[start..];
        let ends = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '{' | '}' | '"' | ';');
        let token = &rest[..rest.find(ends).unwrap_or(rest.len())];
        self.at = start + token.len();
        let here = place(start, self.at);
        if let Some(name) = token.strip_prefix('$') {
            let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            if begins && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') {
                return Ok(Kind::Variable(name.into()));
            }
            let refusal = Refusal::new("FB0901", here, "this is no name of a variable");
            return Err(refusal.hint("`$` and letters, digits or `_`: $total_2"));
        }
        let digits = token.strip_prefix(['-', '+']).unwrap_or(token);
        if digits.starts_with(|c: char| c.is_ascii_digit()) {
            return number(token)
                .ok_or_else(|| Refusal::new("FB0901", here, "this number can't be read"))
                .map_err(|r| r.hint("integers of 64 bits, and floats: 12, -1, 2.5, 1e9"));
        }
        Ok(match token {
            "null" | "nil" => Kind::Null,
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            word => Kind::Word(word.into()),
        })
    }
}

fn number(token: &str) -> Option<Kind> {
    if token.bytes().any(|c| matches!(c, b'.' | b'e' | b'E')) {
        let value: f64 = token.parse().ok()?;
        return value.is_finite().then_some(Kind::Float(value));
    }
    token.parse().ok().map(Kind::Int)
}
