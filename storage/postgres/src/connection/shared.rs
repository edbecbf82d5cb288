//! What independent tasks that share a connection may not do to it.
//!
//! The first word decides. It can't see what a function does inside; a transaction that is open at ReadyForQuery
//! ends the connection all the same.

use super::Use;
use crate::error::QueryError;

/// Refuses what would change the connection for the next task that uses it.
pub(super) fn refuse(sql: &str, usage: Use) -> Result<(), QueryError> {
    let (word, rest) = first_word(sql);
    let is = |words: &[&str]| words.iter().any(|w| w.eq_ignore_ascii_case(word));
    let next = || first_word(rest).0.to_ascii_uppercase();
    let inside = usage == Use::Transaction;
    // These end with the transaction.
    let within = inside
        && (is(&["SAVEPOINT", "RELEASE", "DECLARE", "FETCH", "MOVE", "CLOSE"])
            || (is(&["ROLLBACK"]) && rollback_target(rest) == "TO")
            || (is(&["SET"]) && matches!(&*next(), "LOCAL" | "TRANSACTION" | "CONSTRAINTS")));
    let why = if usage == Use::Owned || within {
        return Ok(());
    } else if inside && is(&["BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"]) {
        "the transaction ends with the function that was given to tx"
    } else if is(&["BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"]) {
        "transaction control needs a connection of its own (tx)"
    } else if is(&["SET", "RESET", "DISCARD", "PREPARE", "DEALLOCATE", "LOAD"]) {
        "it changes the session, which other tasks share"
    } else if !inside && is(&["CREATE"]) && makes_temporary(rest) {
        "a temporary table is one connection's: make it in tx, with ON COMMIT DROP"
    } else if is(&["LISTEN", "UNLISTEN"]) {
        "LISTEN needs a connection of its own"
    } else if is(&["DECLARE", "FETCH", "MOVE", "CLOSE"]) {
        "cursors need a transaction"
    } else if is(&["COPY"]) {
        "COPY isn't supported here"
    } else {
        return Ok(());
    };
    Err(QueryError::Refused(why))
}

/// Whether what follows CREATE is there for the session alone.
fn makes_temporary(rest: &str) -> bool {
    let mut rest = rest;
    // CREATE [OR REPLACE] [GLOBAL | LOCAL] { TEMPORARY | TEMP }
    for _ in 0..4 {
        let (word, after) = first_word(rest);
        match &*word.to_ascii_uppercase() {
            "TEMP" | "TEMPORARY" => return true,
            "OR" | "REPLACE" | "GLOBAL" | "LOCAL" => rest = after,
            _ => return false,
        }
    }
    false
}

/// The word behind ROLLBACK, WORK or TRANSACTION left out.
fn rollback_target(rest: &str) -> String {
    let (word, rest) = first_word(rest);
    let word = word.to_ascii_uppercase();
    if matches!(&*word, "WORK" | "TRANSACTION") { first_word(rest).0.to_ascii_uppercase() } else { word }
}

/// The first word of a statement, behind spaces, comments and semicolons, and what follows it.
fn first_word(sql: &str) -> (&str, &str) {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ';' || c == '(');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if rest.starts_with("/*") {
            rest = skip_comment(rest);
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            return rest.split_at(end);
        }
    }
}

/// What follows a block comment, which may contain others (manual: "Comments").
fn skip_comment(sql: &str) -> &str {
    let mut depth = 0usize;
    let mut rest = sql;
    while let Some(at) = rest.find(['/', '*']) {
        rest = &rest[at..];
        if let Some(inner) = rest.strip_prefix("/*") {
            depth += 1;
            rest = inner;
        } else if let Some(after) = rest.strip_prefix("*/") {
            depth -= 1;
            rest = after;
            if depth == 0 {
                return rest;
            }
        } else {
            rest = &rest[1..];
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_behind_spaces_and_comments() {
        let check = |sql: &str, expect: &str| assert_eq!(first_word(sql).0, expect, "{sql:?}");
        check("select 1", "select");
        check("  ;(\n(WITH x as", "WITH");
        check("-- begin\ncommit;", "commit");
        check("/* a /* b */ c */ begin", "begin");
        check("/*/ begin */ select", "select");
        check("/* open", "");
        check("-- only", "");
        check("", "");
        check("/", "");
        check("/**/x1", "x");
        check("\u{e9}", "");
    }
}
