//! `forebay db pull`: the lock file. And what `forebay check --database` asks.

use std::sync::Arc;

use forebay_compiler::schema::{Shape, StaticStatement};
use forebay_compiler::sqlfile::NamedQuery;
use forebay_compiler::{Diagnostic, Loader, Place, Severity};
use forebay_postgres::blocking::Client;
use forebay_postgres::builder::{Plan, leaf};
use forebay_postgres::inspect::Inspector;
use forebay_postgres::{Query, QueryError, ServerError};
use serde_json::json;

use super::DbTarget;
use crate::app::Folder;
use crate::lock::{self, Lock};
use crate::{Failure, Outcome};

/// Runs the command.
///
/// # Errors
/// Code frames of queries that the server refuses; then nothing is written.
pub(super) fn run(target: &DbTarget, client: &mut Client) -> Outcome {
    let folder = Folder::new(&target.app);
    let (pulled, problems) = pull(client, &folder).map_err(super::failed)?;
    if !problems.is_empty() {
        let frames: Vec<String> = problems.iter().map(Diagnostic::render).collect();
        return Err(Failure::Failed(frames.join("\n")));
    }
    let path = target.app.join(lock::FILE);
    let text = pulled.to_text();
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    if before != text {
        std::fs::write(&path, &text).map_err(|error| Failure::because(path.display(), error))?;
    }
    let changes = match Lock::parse(&before) {
        Ok(old) => old.differences(&pulled),
        Err(_) => Vec::new(),
    };
    let (tables, queries) = (pulled.schema.tables.len(), pulled.queries.len());
    if target.json {
        println!("{}", json!({ "file": path, "tables": tables, "queries": queries, "changes": changes }));
        return Ok(());
    }
    for change in changes {
        println!("{change}");
    }
    println!("{}: {tables} tables, {queries} queries", path.display());
    Ok(())
}

/// What the database has, and code frames for the named queries that it refuses.
///
/// # Errors
/// The catalog can't be read.
pub(crate) fn pull(client: &mut Client, folder: &Folder) -> Result<(Lock, Vec<Diagnostic>), QueryError> {
    let (queries, mut problems) = named_queries(folder);
    let mut inspector = Inspector::new(client)?;
    let mut found = Lock { schema: inspector.schema(client)?, ..Lock::default() };
    for (query, text) in &queries {
        match inspector.statement(client, &query.text) {
            Ok(statement) => {
                found.queries.insert(query.name.clone(), lock::Query::of(query, statement));
            }
            Err(QueryError::Server(error)) => problems.push(query_problem(query, text, &error)),
            Err(other) => return Err(other),
        }
    }
    // Types that only statements use.
    found.schema.types = inspector.user_types();
    Ok((found, problems))
}

/// Every query of sql/ with its file's text, and what is wrong with those files.
pub(crate) fn named_queries(folder: &Folder) -> (Vec<(NamedQuery, Arc<str>)>, Vec<Diagnostic>) {
    let (mut queries, mut problems) = (Vec::new(), Vec::new());
    for path in folder.queries() {
        let Some(text) = folder.load(&path) else { continue };
        let text: Arc<str> = text.into();
        match forebay_compiler::sqlfile::parse(&path, &text) {
            Ok(found) => queries.extend(found.into_iter().map(|query| (query, Arc::clone(&text)))),
            Err(problem) => problems.push(*problem),
        }
    }
    (queries, problems)
}

/// What the server said, at its place in the .sql file.
fn query_problem(query: &NamedQuery, text: &Arc<str>, error: &ServerError) -> Diagnostic {
    let start = match byte_of(&query.text, error.position) {
        Some(at) => query.locate(at),
        None => query.start,
    };
    let end = start + word(&text[start.min(text.len())..]);
    problem("FB0608", query.file.as_ref(), text, start, end, error)
}

fn problem(
    code: &'static str,
    file: &str,
    text: &Arc<str>,
    start: usize,
    end: usize,
    error: &ServerError,
) -> Diagnostic {
    let offset = |at: usize| u32::try_from(at.min(text.len())).unwrap_or(u32::MAX);
    let mut message = error.message.to_string();
    if !error.detail.is_empty() {
        message.push_str(&format!(" ({})", error.detail));
    }
    Diagnostic {
        severity: Severity::Error,
        code,
        message: format!("{message} [{}]", error.code),
        file: file.into(),
        text: Arc::clone(text),
        place: Place { start: offset(start), end: offset(end) },
        labels: Vec::new(),
        hint: (!error.hint.is_empty()).then(|| error.hint.to_string()),
    }
}

/// Byte offset of a character position that counts from 1; `None` for 0.
fn byte_of(text: &str, position: u32) -> Option<usize> {
    let index = usize::try_from(position).ok()?.checked_sub(1)?;
    Some(text.char_indices().nth(index).map_or(text.len(), |(at, _)| at))
}

/// Length of the name, the quoted name or the character that a text begins with.
fn word(text: &str) -> usize {
    if let Some(rest) = text.strip_prefix('"')
        && let Some(end) = rest.find('"')
    {
        return end + 2;
    }
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | ':');
    let length = text.find(|c: char| !is_name(c)).unwrap_or(text.len());
    if length == 0 { text.chars().next().map_or(0, char::len_utf8) } else { length }
}

/// What the database says about the statements that a blueprint's chains give every time; and how many were asked.
///
/// # Errors
/// The connection is lost.
pub(crate) fn check_chains(
    client: &mut Client,
    statements: &[StaticStatement],
) -> Result<Vec<Diagnostic>, QueryError> {
    let mut problems = Vec::new();
    for statement in statements {
        let (start, end) = (statement.place.start as usize, statement.place.end as usize);
        let (text, inside) = match &statement.shape {
            Shape::Raw(text, place) => (text.clone(), Some(place.start as usize)),
            Shape::Query(map) => match Query::from_value(map).and_then(|query| Plan::of(&query, true)) {
                Ok(plan) => (plan.text.to_string(), None),
                // What the builder refuses, it refuses when the chain runs, with the values in its message.
                Err(_) => continue,
            },
        };
        let error = match client.describe(&text) {
            Ok(_) => continue,
            Err(QueryError::Server(error)) => error,
            Err(other) => return Err(other),
        };
        let source: Arc<str> = Arc::clone(&statement.text);
        let found = match (inside, byte_of(&text, error.position)) {
            // Only where the literal has no escapes is a place in it a place in the file.
            (Some(from), Some(at)) if source[from.min(source.len())..].starts_with(&text) => {
                problem("FB0609", &statement.file, &source, from + at, from + at + word(&text[at..]), &error)
            }
            _ => {
                let mut found = problem("FB0609", &statement.file, &source, start, end, &error);
                found.hint = Some(match found.hint {
                    Some(hint) => format!("{hint}; the statement is: {text}"),
                    None => format!("the statement is: {text}"),
                });
                found
            }
        };
        problems.push(found);
    }
    Ok(problems)
}

/// What stands for a value of a chain.
pub(crate) fn stand_in(number: u16) -> forebay_base::Value {
    leaf(number)
}
