//! Which statements may share a Sync: those that are proven to only read.
//!
//! ```text
//!   text --lexer--> no word that writes, locks or stores ---- no --> never
//!                     | words (names of functions, relations, columns, types)
//!                     v
//!   catalog: no volatile function, view, foreign table, row policy or domain by any of these names,
//!            no operator or cast of a user that is volatile, sessions not serializable    --> proven
//! ```
//! Sharing a Sync puts statements into one implicit transaction: if one fails, those behind it are skipped. For
//! statements that only read, the skipped ones can be sent again and nobody sees a difference; an INSERT in front of
//! the failure would have been rolled back. So the proof errs on the side of no: it asks about every word of the
//! statement, whatever role the word plays in it. A view or a policy could hide a function, so its name alone is a no.
//!
//! A proof ages: somebody may replace a table by a view. It is asked for again after [`PROOF_AGE_MAX`].

use std::time::Duration;

/// Members of a group: the first waits for the last, as the server flushes at the Sync only.
pub const GROUP_MAX: usize = 32;
/// Nobody joins a group whose members take longer than this together, by their averages: the first waits for all.
pub(super) const GROUP_TIME_MAX: Duration = Duration::from_millis(4);
/// Runs of a statement on one connection before a proof is worth its round trip.
pub(super) const PROOF_AFTER_USES: u32 = 8;
/// How long a proof holds.
pub(super) const PROOF_AGE_MAX: Duration = Duration::from_secs(60);
/// A statement that takes longer than this, on average, doesn't share its Sync.
pub(super) const FAST_MAX: Duration = Duration::from_millis(2);
/// Words of a statement that are asked about. Longer ones aren't proven.
const WORDS_MAX: usize = 128;

/// What is known about a statement's effects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Proof {
    /// Nobody has asked yet.
    #[default]
    Unasked,
    /// The catalog is being asked.
    Asked,
    /// It may write, or depends on what can't be seen.
    Refuted,
    /// It only reads.
    Proven,
}

/// Words after which a statement does more than read, or locks rows. `INTO` makes a table, `FOR` locks rows (and is
/// part of `substring(x for 3)`, which isn't worth telling apart).
const WRITING: [&str; 20] = [
    "insert", "update", "delete", "merge", "into", "for", "lock", "copy", "call", "do", "create", "drop",
    "alter", "truncate", "set", "share", "execute", "prepare", "notify", "listen",
];

/// The distinct words of a statement that may only read; `None` if it may do more, or isn't understood.
fn words(sql: &str) -> Option<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    let bytes = sql.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at += bytes[at..].iter().position(|b| *b == b'\n').unwrap_or(bytes.len() - at);
            }
            // Comments nest; a statement with one isn't worth a lexer of its own.
            b'/' if bytes.get(at + 1) == Some(&b'*') => return None,
            b'\'' => {
                // An escape string (E'...') may hide its end behind a backslash.
                let end = 1 + bytes[at + 1..].iter().position(|b| *b == b'\'')?;
                if bytes[at..at + end].contains(&b'\\') {
                    return None;
                }
                at += end + 1;
            }
            b'"' => {
                let end = 1 + bytes[at + 1..].iter().position(|b| *b == b'"')?;
                // A doubled quote is a name that nobody needs to be fast.
                if bytes.get(at + end + 1) == Some(&b'"') {
                    return None;
                }
                push(&mut found, sql.get(at + 1..at + end)?.to_owned())?;
                at += end + 1;
            }
            // A parameter; dollar quotes aren't followed.
            b'$' => {
                let digits = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
                if digits == 0 {
                    return None;
                }
                at += 1 + digits;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let length = bytes[at..]
                    .iter()
                    .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_' || **b == b'$')
                    .count();
                let word = sql.get(at..at + length)?.to_ascii_lowercase();
                if found.is_empty() && word != "select" {
                    return None;
                }
                if WRITING.contains(&word.as_str()) {
                    return None;
                }
                push(&mut found, word)?;
                at += length;
            }
            b'0'..=b'9' => {
                at += bytes[at..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'.').count();
            }
            b';' | 0x80.. => return None,
            _ => at += 1,
        }
    }
    (!found.is_empty()).then_some(found)
}

fn push(found: &mut Vec<String>, word: String) -> Option<()> {
    if found.len() >= WORDS_MAX || word.contains(['\'', '\\', '\0']) {
        return None;
    }
    if !found.contains(&word) {
        found.push(word);
    }
    Some(())
}

/// The question to the catalog whether this statement only reads: a simple query with one row, `t` or `f`. `None`: its
/// text says no already.
pub(super) fn question(sql: &str) -> Option<String> {
    let list: Vec<String> = words(sql)?.iter().map(|word| format!("'{word}'")).collect();
    let list = list.join(",");
    Some(format!(
        "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proname IN ({list}) AND provolatile = 'v') \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relname IN ({list}) \
           AND (relkind IN ('v','f') OR relrowsecurity)) \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_type WHERE typname IN ({list}) AND typtype = 'd') \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode \
           WHERE o.oid >= 16384 AND p.provolatile = 'v') \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc \
           WHERE c.oid >= 16384 AND p.provolatile = 'v') \
         AND pg_catalog.current_setting('transaction_isolation') <> 'serializable'"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_do_more_than_read_is_not_even_asked_about() {
        let check = |sql: &str, expect: Option<&str>| {
            assert_eq!(words(sql).map(|words| words.join(" ")).as_deref(), expect, "{sql}");
        };
        check("select id, \"Name\" from t where id = $1", Some("select id Name from t where"));
        check("SELECT 'insert', x FROM t -- delete\n LIMIT 1", Some("select x from t limit"));
        check("select f(1.5e3) from a.b", Some("select f from a b"));
        check("select 'it''s update'", Some("select"));
        check("insert into t values (1)", None);
        check("with x as (delete from t returning *) select * from x", None);
        check("select * from t for update", None);
        check("select * into u from t", None);
        check("select 1; delete from t", None);
        check("select $$delete$$", None);
        check("select E'\\' or delete'", None);
        check("select /* /* */ delete */ 1", None);
        check("select \"a\"\"b\"", None);
        check("select 'open", None);
        check("select caf\u{e9} from t", None);
        check("explain analyze select 1", None);
        check("table t", None);
        check("", None);
    }
}
