//! `sql/*.sql`: named queries, called as `sql.getUser({ id })`.
//!
//! ```sql
//! -- name: getUser :one
//! SELECT id, name FROM "user" WHERE id = :id;
//! ```
//! A header begins a query, which ends at the next header. `:one` is a row, and an error if there is none; `:opt` a
//! row or undefined; `:many` a list; `:exec` how many rows were touched; `:copy` is a COPY, which takes rows or gives
//! them. `:name` is a parameter wherever it stands
//! outside of strings, quoted names and comments; `::type` is a cast as ever.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Place, Severity};

/// What a query gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueryKind {
    /// One row; none is an error.
    One,
    /// One row, or undefined.
    Opt,
    /// All rows.
    Many,
    /// How many rows it touched.
    Exec,
    /// COPY: takes rows or text, or gives them.
    Copy,
}

impl QueryKind {
    /// As the header has it, without the colon.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Opt => "opt",
            Self::Many => "many",
            Self::Exec => "exec",
            Self::Copy => "copy",
        }
    }
}

/// A query with a name.
#[derive(Clone, Debug)]
pub struct NamedQuery {
    /// Its name in scripts.
    pub name: String,
    /// What it gives.
    pub kind: QueryKind,
    /// One statement, with `$1`, `$2`, ... for its parameters.
    pub text: String,
    /// Names of the parameters, in order.
    pub params: Vec<String>,
    /// The file, relative to the app's folder.
    pub file: Arc<str>,
    /// Byte offset of its header in the file.
    pub start: usize,
    /// Where runs of `text` come from: offset in it, offset in the file; ascending.
    places: Vec<(usize, usize)>,
}

impl NamedQuery {
    /// Byte offset in the file of a byte of [`NamedQuery::text`].
    #[must_use]
    pub fn locate(&self, at: usize) -> usize {
        let run = self.places.partition_point(|(text, _)| *text <= at).checked_sub(1);
        let Some((text, file)) = run.and_then(|run| self.places.get(run)) else { return self.start };
        // `$1` is shorter or longer than `:name`: within it, its beginning is the place.
        let next = run.and_then(|run| self.places.get(run + 1)).map_or(usize::MAX, |(_, file)| *file);
        (file + (at - text)).min(next)
    }
}

/// Parameters of one query.
const PARAMS_MAX: usize = 200;

/// The queries of a file.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse(path: &str, text: &str) -> Result<Vec<NamedQuery>, Box<Diagnostic>> {
    let fail = |start: usize, end: usize, message: String, hint: &str| {
        Box::new(Diagnostic {
            severity: Severity::Error,
            code: "FB0603",
            message,
            file: path.into(),
            text: text.into(),
            place: place(text, start, end),
            labels: Vec::new(),
            hint: Some(hint.into()),
        })
    };
    let shape = "a query begins with a line such as `-- name: getUser :one`";
    let file: Arc<str> = path.into();
    let mut queries: Vec<NamedQuery> = Vec::new();
    let mut bodies: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let (start, end) = (at, at + line.trim_end().len());
        at += line.len();
        let Some(header) = bare(line).strip_prefix("--").map(str::trim).and_then(|l| l.strip_prefix("name:"))
        else {
            continue;
        };
        let mut words = header.split_whitespace();
        let (Some(name), Some(kind), None) = (words.next(), words.next(), words.next()) else {
            return Err(fail(start, end, "this header has no name and kind".into(), shape));
        };
        let kind = match kind {
            ":one" => QueryKind::One,
            ":opt" => QueryKind::Opt,
            ":many" => QueryKind::Many,
            ":exec" => QueryKind::Exec,
            ":copy" => QueryKind::Copy,
            other => {
                let message = format!("unknown kind `{other}`");
                return Err(fail(start, end, message, "there are :one, :opt, :many, :exec and :copy"));
            }
        };
        let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !plain {
            return Err(fail(start, end, format!("`{name}` is no name for a query"), shape));
        }
        if let Some(last) = bodies.last_mut() {
            last.1 = start;
        }
        bodies.push((at, text.len()));
        let name = name.to_owned();
        queries.push(NamedQuery {
            name,
            kind,
            text: String::new(),
            params: Vec::new(),
            file: file.clone(),
            start,
            places: Vec::new(),
        });
    }
    let before = queries.first().map_or(text.len(), |query| query.start);
    let stray = text[..before].lines().map(bare).any(|line| !line.is_empty() && !line.starts_with("--"));
    if stray {
        return Err(fail(0, before.min(80), "there is a statement without a name".into(), shape));
    }
    for (query, (start, end)) in queries.iter_mut().zip(bodies) {
        let body = text[start..end].trim_end().trim_end_matches(';');
        match number(body) {
            Ok((sql, params, places)) if !sql.trim().is_empty() => {
                query.text = sql.trim().to_owned();
                query.params = params;
                let cut = sql.len() - sql.trim_start().len();
                let moved = |(text, file): (usize, usize)| match text.checked_sub(cut) {
                    Some(text) => (text, start + file),
                    None => (0, start + file + (cut - text)),
                };
                query.places = places.into_iter().map(moved).collect();
                if query.kind == QueryKind::Copy {
                    let wrong = if copies_in(&query.text).is_none() {
                        "`:copy` needs `COPY table (columns) FROM STDIN` or `COPY (query) TO STDOUT`"
                    } else if !query.params.is_empty() {
                        "COPY takes no parameters"
                    } else {
                        continue;
                    };
                    return Err(fail(query.start, start, wrong.into(), shape));
                }
            }
            Ok(_) => return Err(fail(query.start, start, "this query is empty".into(), shape)),
            Err((offset, message)) => {
                return Err(fail(
                    start + offset,
                    (start + offset + 1).min(text.len()),
                    message.into(),
                    shape,
                ));
            }
        }
    }
    Ok(queries)
}

/// A line without spaces around it, and without the mark that some editors put before a file's first one.
fn bare(line: &str) -> &str {
    line.trim_start_matches('\u{feff}').trim()
}

/// Whether a COPY takes rows (FROM STDIN) or gives them (TO STDOUT); `None` if the text is neither.
#[must_use]
pub fn copies_in(text: &str) -> Option<bool> {
    let mut words =
        text.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ';')).filter(|w| !w.is_empty());
    if !words.next()?.eq_ignore_ascii_case("copy") {
        return None;
    }
    let mut before = "";
    for word in words {
        match (before, word) {
            (a, b) if a.eq_ignore_ascii_case("from") && b.eq_ignore_ascii_case("stdin") => return Some(true),
            (a, b) if a.eq_ignore_ascii_case("to") && b.eq_ignore_ascii_case("stdout") => return Some(false),
            _ => before = word,
        }
    }
    None
}

fn place(text: &str, start: usize, end: usize) -> Place {
    let clip = |at: usize| u32::try_from(at.min(text.len())).unwrap_or(u32::MAX);
    Place { start: clip(start), end: clip(end) }
}

/// What [`number`] gives: the text, the names, where runs of the text come from.
type Numbered = (String, Vec<String>, Vec<(usize, usize)>);

/// `:name` to `$n`; the names in order.
fn number(sql: &str) -> Result<Numbered, (usize, &'static str)> {
    let bytes = sql.as_bytes();
    let (mut out, mut params) = (String::with_capacity(sql.len()), Vec::<String>::new());
    let (mut at, mut copied) = (0, 0);
    let mut places = vec![(0, 0)];
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    while at < bytes.len() {
        at = match bytes[at] {
            b'\'' => {
                let escapes =
                    at > 0 && matches!(bytes[at - 1], b'E' | b'e') && (at < 2 || !is_name(bytes[at - 2]));
                quoted(bytes, at, escapes).ok_or((at, "this string has no end"))?
            }
            b'"' => quoted(bytes, at, false).ok_or((at, "this quoted name has no end"))?,
            b'-' if bytes[at..].starts_with(b"--") => {
                sql[at..].find('\n').map_or(bytes.len(), |length| at + length)
            }
            b'/' if bytes[at..].starts_with(b"/*") => {
                comment(bytes, at).ok_or((at, "this comment has no end"))?
            }
            b'$' if at == 0 || !is_name(bytes[at - 1]) => {
                if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
                    return Err((at, "parameters have names here: `:id`, not `$1`"));
                }
                let tag = bytes[at + 1..].iter().position(|byte| !is_name(*byte));
                match tag.filter(|length| bytes[at + 1 + length] == b'$') {
                    Some(length) => {
                        let tag = &sql[at..at + length + 2];
                        let inside = at + tag.len();
                        sql[inside..]
                            .find(tag)
                            .map(|n| inside + n + tag.len())
                            .ok_or((at, "this string has no end"))?
                    }
                    None => at + 1,
                }
            }
            b';' if says_nothing(&bytes[at..]) => {
                out.push_str(&sql[copied..at]);
                return Ok((out, params, places));
            }
            b';' => return Err((at, "a query is one statement")),
            b':' if bytes[at..].starts_with(b"::") => at + 2,
            b':' if bytes.get(at + 1).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_') => {
                let end = bytes[at + 1..]
                    .iter()
                    .position(|byte| !is_name(*byte))
                    .map_or(bytes.len(), |n| at + 1 + n);
                let name = &sql[at + 1..end];
                let index = params.iter().position(|known| known == name).unwrap_or_else(|| {
                    params.push(name.to_owned());
                    params.len() - 1
                });
                if params.len() > PARAMS_MAX {
                    return Err((at, "a query has at most 200 parameters"));
                }
                out.push_str(&sql[copied..at]);
                places.push((out.len(), at));
                out.push('$');
                out.push_str(&(index + 1).to_string());
                copied = end;
                places.push((out.len(), end));
                end
            }
            _ => at + 1,
        };
    }
    out.push_str(&sql[copied..]);
    Ok((out, params, places))
}

/// Whether nothing is there but spaces, semicolons and comments, such as one about the next query.
fn says_nothing(bytes: &[u8]) -> bool {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at = match byte {
            b';' => at + 1,
            byte if byte.is_ascii_whitespace() => at + 1,
            b'-' if bytes[at..].starts_with(b"--") => {
                bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
            }
            b'/' if bytes[at..].starts_with(b"/*") => match comment(bytes, at) {
                Some(end) => end,
                None => return false,
            },
            _ => return false,
        };
    }
    true
}

/// Where what is quoted ends; a doubled quote is one of the text.
fn quoted(bytes: &[u8], start: usize, escapes: bool) -> Option<usize> {
    let quote = bytes[start];
    let mut at = start + 1;
    loop {
        match *bytes.get(at)? {
            b'\\' if escapes => at += 2,
            byte if byte == quote => {
                if bytes.get(at + 1) != Some(&quote) {
                    return Some(at + 1);
                }
                at += 2;
            }
            _ => at += 1,
        }
    }
}

/// Where a comment ends, which may contain others.
fn comment(bytes: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0usize);
    loop {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        if rest.starts_with(b"/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if rest.starts_with(b"*/") {
            (at, depth) = (at + 2, depth - 1);
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_what_stands_outside_of_text() {
        let check = |sql: &str, expect: &str, names: &[&str]| {
            let (out, params, _) = number(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            assert_eq!((out.as_str(), params.len()), (expect, names.len()), "{sql}");
            assert!(params.iter().zip(names).all(|(a, b)| a == b), "{sql}: {params:?}");
        };
        check("select :a, :b, :a", "select $1, $2, $1", &["a", "b"]);
        check("select :a::int, b::text", "select $1::int, b::text", &["a"]);
        check(
            "select ':x', \":y\", 'it''s :z' -- :c\n, :d",
            "select ':x', \":y\", 'it''s :z' -- :c\n, $1",
            &["d"],
        );
        check("select E'\\':no' /* :a /* :b */ :c */", "select E'\\':no' /* :a /* :b */ :c */", &[]);
        check("select $$ :a $$, $t$ :b $$ $t$, :c", "select $$ :a $$, $t$ :b $$ $t$, $1", &["c"]);
        check("select 1 : 2", "select 1 : 2", &[]);
        check("select 'ä:b', :ä", "select 'ä:b', :ä", &[]);
        for wrong in ["select 'x", "select \"x", "/* x", "select $$x", "select $1", "a; b"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn places_of_the_text_are_places_of_the_file() {
        let file =
            "-- name: a :many\n\n  select :first_name, \n nme, :n from t where x = :first_name and y;\n";
        let query = parse("sql/x.sql", file).unwrap().remove(0);
        for word in ["select", "nme", "from", "and", "y"] {
            assert_eq!(query.locate(query.text.rfind(word).unwrap()), file.rfind(word).unwrap(), "{word}");
        }
        assert_eq!(query.locate(query.text.find("$2").unwrap()), file.find(":n from").unwrap());
        assert_eq!(query.locate(query.text.rfind("$1").unwrap()), file.rfind(":first_name").unwrap());
        assert!(query.locate(10_000) >= file.len() - 2);
    }

    #[test]
    fn a_copy_says_where_its_rows_are() {
        assert_eq!(copies_in("copy t (a, b) from\n stdin"), Some(true));
        assert_eq!(copies_in("COPY (select 1) TO STDOUT (format csv)"), Some(false));
        for wrong in ["copy t from '/etc/passwd'", "copy t to program 'x'", "select 1", "", "copy"] {
            assert_eq!(copies_in(wrong), None, "{wrong}");
        }
        assert!(parse("sql/u.sql", "-- name: a :copy\ncopy t from stdin").is_ok());
        assert!(parse("sql/u.sql", "-- name: a :copy\ncopy (select :x) to stdout").is_err());
    }

    #[test]
    fn files_have_headers() {
        let text = "-- users\n\n-- name: getUser :one\nselect * from u where id = :id;\n\n--name: all :many\nselect 1\n;\n";
        let queries = parse("sql/u.sql", text).unwrap();
        let shown: Vec<_> = queries.iter().map(|q| (&*q.name, q.kind, &*q.text, q.params.len())).collect();
        let expect = [
            ("getUser", QueryKind::One, "select * from u where id = $1", 1),
            ("all", QueryKind::Many, "select 1", 0),
        ];
        assert_eq!(shown, expect);
        for wrong in [
            "select 1",
            "-- name: a\nselect 1",
            "-- name: a :some\nselect 1",
            "-- name: a-b :one\nselect 1",
            "-- name: a :one\n",
            "-- name: a :one\nselect 'x",
            "-- name: a :copy\ncopy x",
        ] {
            assert!(parse("sql/u.sql", wrong).is_err(), "{wrong}");
        }
        assert!(parse("sql/u.sql", "").unwrap().is_empty());
    }

    #[test]
    fn comments_may_stand_behind_a_query() {
        let check = |text: &str| {
            let queries = parse("sql/u.sql", text).unwrap();
            let texts: Vec<_> = queries.iter().map(|q| &*q.text).collect();
            assert_eq!(texts, ["select $1", "select 2"], "{text}");
        };
        check(
            "-- name: a :one\nselect :x; -- of :nobody\n-- name: b :one\nselect 2\n;;\n/* the ; end */ -- :z\n",
        );
        check(
            "-- name: a :one\r\nselect :x;\r\n\r\n-- The second one's comment\r\n-- name: b :one\r\nselect 2;\r\n",
        );
        assert!(parse("sql/u.sql", "-- name: a :one\nselect 1; select 2").is_err());
        assert!(parse("sql/u.sql", "-- name: a :one\nselect 1; /* no end").is_err());
    }
}
