//! Lints of migrations: what blocks others while it runs, what destroys data, what breaks the code that is still
//! running. By key words alone, without a database; each has a code that `-- forebay: allow CODE` names.
//!
//! A table that the same file creates is empty and nobody uses it: nothing is said about it. What a lock does is in
//! the manual's "Explicit Locking" and in the notes of each command; ALTER TABLE takes ACCESS EXCLUSIVE unless it says
//! otherwise.

use std::collections::HashSet;
use std::ops::Range;

use super::File;
use super::scan::{Kind, Statement, statements};

/// Something to think about before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lint {
    /// Its code, one of [`CODES`].
    pub code: &'static str,
    /// File name of the migration.
    pub name: String,
    /// Bytes of the file that it is about.
    pub range: Range<usize>,
    /// What happens.
    pub message: String,
    /// What to write instead.
    pub hint: &'static str,
}

/// Every code, with what it is about.
pub const CODES: [(&str, &str); 23] = [
    ("index-blocks-writes", "CREATE INDEX without CONCURRENTLY"),
    ("drop-index-blocks", "DROP INDEX without CONCURRENTLY"),
    ("reindex-blocks", "REINDEX without CONCURRENTLY"),
    ("refresh-blocks-reads", "REFRESH MATERIALIZED VIEW without CONCURRENTLY"),
    ("concurrently-in-transaction", "CONCURRENTLY without `-- forebay: no-transaction`"),
    ("column-rewrites", "ADD COLUMN with a volatile default, a serial or a stored generated column"),
    ("column-not-null", "ADD COLUMN ... NOT NULL without a default"),
    ("set-not-null-scans", "SET NOT NULL without a validated CHECK (column IS NOT NULL)"),
    ("type-rewrites", "ALTER COLUMN ... TYPE"),
    ("drop-column", "DROP COLUMN"),
    ("drop-table", "DROP TABLE, DROP SCHEMA"),
    ("rename-column", "RENAME COLUMN"),
    ("rename-table", "RENAME TO, SET SCHEMA"),
    ("truncate", "TRUNCATE"),
    ("update-all", "UPDATE or DELETE without WHERE"),
    ("foreign-key-blocks", "FOREIGN KEY, REFERENCES without NOT VALID"),
    ("check-blocks", "CHECK without NOT VALID"),
    ("constraint-builds-index", "UNIQUE, PRIMARY KEY, EXCLUDE without USING INDEX"),
    ("validate-in-transaction", "VALIDATE CONSTRAINT in the transaction of its NOT VALID"),
    ("table-rewrites", "VACUUM FULL, CLUSTER, SET TABLESPACE, SET LOGGED, SET UNLOGGED"),
    ("lock-table", "LOCK TABLE"),
    ("lock-timeout-off", "SET lock_timeout = 0"),
    ("drop-cascade", "DROP ... CASCADE"),
];

/// Functions that ADD COLUMN evaluates once (pg_proc.provolatile `s` or `i`); whatever else is called may be volatile.
const STABLE: [&str; 13] = [
    "now",
    "current_setting",
    "to_jsonb",
    "to_json",
    "jsonb_build_object",
    "jsonb_build_array",
    "array",
    "make_date",
    "make_interval",
    "make_timestamptz",
    "statement_timestamp",
    "transaction_timestamp",
    "lower",
];

/// What there is to say about these files, and their authors haven't allowed. `before`: all files of the folder up to
/// the first of them, for the checks that stand there.
#[must_use]
pub fn lint(before: &[File], files: &[File]) -> Vec<Lint> {
    let mut checked = HashSet::new();
    let mut found = Vec::new();
    for file in before {
        for statement in statements(file.up()) {
            note_checks(&statement, &mut checked);
        }
    }
    for file in files {
        let mut pass = Pass { file, created: HashSet::new(), unvalidated: HashSet::new(), found: Vec::new() };
        let list = statements(file.up());
        for statement in &list {
            note_checks(statement, &mut checked);
            pass.statement(statement, &checked);
        }
        found
            .extend(pass.found.into_iter().filter(|lint| !file.allowed.iter().any(|code| code == lint.code)));
    }
    found
}

/// Codes that a file allows and that there aren't.
#[must_use]
pub fn unknown_codes(file: &File) -> Vec<&str> {
    let known = |code: &&String| !CODES.iter().any(|(name, _)| name == code);
    file.allowed.iter().filter(known).map(String::as_str).collect()
}

/// Remembers `CHECK (column IS NOT NULL)` of a table.
fn note_checks(statement: &Statement<'_>, checked: &mut HashSet<(String, String)>) {
    if !statement.begins(&["alter", "table"]) {
        return;
    }
    let Some((table, after)) = table_of(statement, 2) else { return };
    let mut at = after;
    while let Some(found) = statement.find(at, &["check"]) {
        let tokens = &statement.tokens[found + 1..];
        let column = tokens.iter().find(|token| !token.is_sign('(')).and_then(|token| token.name());
        if let Some(column) = column
            && statement.find(found, &["is", "not", "null"]).is_some()
        {
            checked.insert((table.clone(), column));
        }
        at = found + 1;
    }
}

/// The table that a statement names from token `at` on, behind IF EXISTS, ONLY and their kin; and the index behind it.
fn table_of(statement: &Statement<'_>, mut at: usize) -> Option<(String, usize)> {
    while let Some(token) = statement.tokens.get(at) {
        if !["if", "not", "exists", "only", "concurrently", "table"].iter().any(|word| token.is(word)) {
            break;
        }
        at += 1;
    }
    let mut name = statement.tokens.get(at)?.name()?;
    at += 1;
    while statement.tokens.get(at).is_some_and(|token| token.is_sign('.')) {
        let part = statement.tokens.get(at + 1)?.name()?;
        name = if name == "public" { part } else { format!("{name}.{part}") };
        at += 2;
    }
    Some((name, at))
}

struct Pass<'p> {
    file: &'p File,
    /// Tables that this file made.
    created: HashSet<String>,
    /// Constraints that this file added NOT VALID.
    unvalidated: HashSet<String>,
    found: Vec<Lint>,
}

impl Pass<'_> {
    fn say(
        &mut self,
        statement: &Statement<'_>,
        tokens: Range<usize>,
        code: &'static str,
        message: String,
        hint: &'static str,
    ) {
        let token = |at: usize| statement.tokens.get(at.min(statement.tokens.len().saturating_sub(1)));
        let whole = statement.range();
        let start = token(tokens.start).map_or(whole.start, |token| token.start);
        let end = token(tokens.end.saturating_sub(1)).map_or(whole.end, super::scan::Token::end).max(start);
        self.found.push(Lint { code, name: self.file.name.clone(), range: start..end, message, hint });
    }

    fn statement(&mut self, s: &Statement<'_>, checked: &HashSet<(String, String)>) {
        if let Some(at) = s.find(0, &["concurrently"]).filter(|_| !self.file.no_transaction) {
            let hint = "put it into a file of its own, with `-- forebay: no-transaction`";
            let message =
                "CONCURRENTLY doesn't run in a transaction: PostgreSQL will refuse it (25001)".to_owned();
            self.say(s, at..at + 1, "concurrently-in-transaction", message, hint);
        }
        if s.begins(&["create"]) {
            self.create(s);
        } else if s.begins(&["alter", "table"]) {
            if let Some((table, after)) = table_of(s, 2)
                && !self.created.contains(&table)
            {
                self.alter(s, &table, after, checked);
            }
        } else if s.begins(&["drop"]) {
            self.drop(s);
        } else {
            self.other(s);
        }
    }

    fn create(&mut self, s: &Statement<'_>) {
        let of =
            |words: &[&str]| s.tokens.iter().take(5).any(|token| words.iter().any(|word| token.is(word)));
        if let Some(at) = s.tokens.iter().take(5).position(|token| token.is("table"))
            && !of(&["function", "procedure", "event", "trigger", "publication"])
        {
            if let Some((table, _)) = table_of(s, at + 1) {
                self.created.insert(table);
            }
            return;
        }
        let Some(index) = s.tokens.iter().take(3).position(|token| token.is("index")) else { return };
        if s.has(&["concurrently"]) {
            return;
        }
        if let Some(on) = s.find(index, &["on"])
            && let Some((table, after)) = table_of(s, on + 1)
            && !self.created.contains(&table)
        {
            let message = format!("nobody can write to \"{table}\" while this index is built");
            let hint = "CREATE INDEX CONCURRENTLY, in a file with `-- forebay: no-transaction`";
            self.say(s, 0..after, "index-blocks-writes", message, hint);
        }
    }

    fn drop(&mut self, s: &Statement<'_>) {
        let Some(what) = s.tokens.get(1) else { return };
        let Some((name, after)) = table_of(s, 2) else { return };
        if what.is("table") && !self.created.contains(&name) {
            let message = format!("\"{name}\" and its rows are gone; code that is still running needs it");
            let hint = "drop it after the code that uses it is gone, with a backup; then allow it here";
            self.say(s, 0..after, "drop-table", message, hint);
        } else if what.is("schema") {
            let message = format!("the schema \"{name}\" and all that is in it are gone");
            self.say(s, 0..after, "drop-table", message, "make a backup, then allow it here");
        } else if what.is("index") && !s.has(&["concurrently"]) {
            let message =
                "nobody can read or write the index's table until this gets its lock and ends".to_owned();
            let hint = "DROP INDEX CONCURRENTLY, in a file with `-- forebay: no-transaction`";
            self.say(s, 0..after, "drop-index-blocks", message, hint);
        }
        if let Some(at) = s.find(2, &["cascade"]) {
            let message = "CASCADE drops whatever depends on it, which nobody has listed here".to_owned();
            self.say(s, at..at + 1, "drop-cascade", message, "drop by name what depends on it");
        }
    }

    fn other(&mut self, s: &Statement<'_>) {
        let n = s.tokens.len();
        if s.begins(&["reindex"]) && !s.has(&["concurrently"]) {
            let message = "nobody can write to the table while the index is rebuilt".to_owned();
            let hint = "REINDEX ... CONCURRENTLY, in a file with `-- forebay: no-transaction`";
            self.say(s, 0..n, "reindex-blocks", message, hint);
        } else if s.begins(&["refresh", "materialized"]) && !s.has(&["concurrently"]) {
            let message = "nobody can read the view while it is refreshed".to_owned();
            let hint = "REFRESH MATERIALIZED VIEW CONCURRENTLY; it needs a unique index";
            self.say(s, 0..n, "refresh-blocks-reads", message, hint);
        } else if s.begins(&["truncate"]) {
            if let Some((table, after)) = table_of(s, 1)
                && !self.created.contains(&table)
            {
                let message = format!("all rows of \"{table}\" are gone");
                self.say(s, 0..after, "truncate", message, "make a backup, then allow it here");
            }
        } else if s.begins(&["lock"]) {
            let message =
                "the lock is held until the migration's end, and all that needs it waits".to_owned();
            self.say(s, 0..n, "lock-table", message, "let each statement take the lock that it needs");
        } else if s.begins(&["vacuum"]) && s.has(&["full"]) || s.begins(&["cluster"]) {
            let message = "the table is rewritten; nobody can read it meanwhile".to_owned();
            self.say(s, 0..n, "table-rewrites", message, "plain VACUUM, or do it when nobody uses the table");
        } else if s.begins(&["set"]) && s.has(&["lock_timeout"]) {
            let off = s.tokens.last().is_some_and(|token| {
                token.is("default")
                    || token.text.trim_matches('\'').chars().all(|c| !('1'..='9').contains(&c))
            });
            if off {
                let message =
                    "without lock_timeout, all requests for a table wait behind this migration".to_owned();
                let hint = "leave it to `forebay db migrate --lock-timeout`, which tries again";
                self.say(s, 0..n, "lock-timeout-off", message, hint);
            }
        } else if s.begins(&["update"]) || s.begins(&["delete", "from"]) {
            let at = if s.begins(&["update"]) { 1 } else { 2 };
            if let Some((table, after)) = table_of(s, at)
                && !self.created.contains(&table)
                && !s.has(&["where"])
            {
                let message = format!("every row of \"{table}\" is locked until the migration ends");
                let hint = "do it in batches with WHERE, in a file with `-- forebay: no-transaction`";
                self.say(s, 0..after, "update-all", message, hint);
            }
        }
    }

    /// The actions of ALTER TABLE, which commas outside of parentheses separate.
    fn alter(&mut self, s: &Statement<'_>, table: &str, after: usize, checked: &HashSet<(String, String)>) {
        let (mut start, mut depth) = (after, 0usize);
        for at in after..=s.tokens.len() {
            match s.tokens.get(at) {
                Some(token) if token.is_sign('(') || token.is_sign('[') => depth += 1,
                Some(token) if token.is_sign(')') || token.is_sign(']') => depth = depth.saturating_sub(1),
                Some(token) if !(token.is_sign(',') && depth == 0) => {}
                _ => {
                    self.action(s, table, start..at, checked);
                    start = at + 1;
                }
            }
        }
    }

    fn action(
        &mut self,
        s: &Statement<'_>,
        table: &str,
        range: Range<usize>,
        checked: &HashSet<(String, String)>,
    ) {
        let part = Statement { tokens: s.tokens[range.clone()].to_vec() };
        if part.tokens.is_empty() {
            return;
        }
        let all = 0..part.tokens.len();
        let name = |at: usize| part.tokens.get(at).and_then(super::scan::Token::name).unwrap_or_default();
        let mut say = |code, message: String, hint| self.say(&part, all.clone(), code, message, hint);
        if part.begins(&["add", "constraint"]) || adds_constraint(&part) {
            self.constraint(&part, table);
        } else if part.begins(&["add"]) {
            self.add_column(&part, table);
        } else if part.begins(&["drop", "constraint"]) {
            // Blocks for a moment only.
        } else if part.begins(&["drop"]) {
            let at = skip(&part, 1, &["column", "if", "exists"]);
            let message = format!(
                "\"{table}\".\"{}\" and its values are gone; code that is still running names it",
                name(at)
            );
            let hint = "deploy code that doesn't use it first; then allow it here";
            say("drop-column", message, hint);
        } else if part.begins(&["rename", "to"]) || part.begins(&["set", "schema"]) {
            let message = format!("code that is still running knows \"{table}\" by this name");
            let hint =
                "make a view of the old name in the same migration, or a new table; then allow it here";
            say("rename-table", message, hint);
        } else if part.begins(&["rename", "constraint"]) {
            // Nothing names a constraint but its error.
        } else if part.begins(&["rename"]) {
            let at = skip(&part, 1, &["column"]);
            let message =
                format!("code that is still running knows \"{table}\".\"{}\" by this name", name(at));
            let hint = "add a new column, write both, move the readers, then drop the old one";
            say("rename-column", message, hint);
        } else if part.begins(&["alter"]) {
            let at = skip(&part, 1, &["column"]);
            let column = name(at);
            let typed = part.find(at, &["type"]).is_some_and(|found| found <= at + 3);
            if part.find(at, &["set", "not", "null"]).is_some()
                && !checked.contains(&(table.to_owned(), column.clone()))
            {
                let message =
                    format!("nobody can use \"{table}\" while all its rows are looked at for a null");
                let hint = "first ADD CONSTRAINT ... CHECK (column IS NOT NULL) NOT VALID, then VALIDATE CONSTRAINT in a second migration, then SET NOT NULL, which needs no scan any more";
                say("set-not-null-scans", message, hint);
            } else if typed {
                let message =
                    format!("\"{table}\" and its indexes are rewritten, and nobody can use it meanwhile");
                let hint = "only varchar to text or to a longer varchar, and numeric to a larger precision, rewrite nothing: allow those here; else add a new column and copy in batches";
                say("type-rewrites", message, hint);
            }
        } else if part.begins(&["validate", "constraint"]) {
            if self.unvalidated.contains(&name(2)) && !self.file.no_transaction {
                let message = "the lock of ADD CONSTRAINT is held while all rows are looked at".to_owned();
                let hint = "VALIDATE CONSTRAINT in a migration of its own, which blocks nobody";
                self.say(&part, all, "validate-in-transaction", message, hint);
            }
        } else if part.begins(&["set", "tablespace"])
            || part.begins(&["set", "logged"])
            || part.begins(&["set", "unlogged"])
        {
            let message = format!("\"{table}\" is rewritten, and nobody can use it meanwhile");
            say("table-rewrites", message, "do it when nobody uses the table, then allow it here");
        }
    }

    fn constraint(&mut self, part: &Statement<'_>, table: &str) {
        let all = 0..part.tokens.len();
        if part.has(&["not", "valid"]) {
            let name = part.tokens.get(2).and_then(super::scan::Token::name);
            self.unvalidated.extend(name);
            return;
        }
        if part.has(&["references"]) {
            let message =
                format!("nobody can write to \"{table}\" or the other table while all rows are checked");
            let hint = "ADD ... NOT VALID here, and VALIDATE CONSTRAINT in a second migration";
            self.say(part, all, "foreign-key-blocks", message, hint);
        } else if part.has(&["check"]) {
            let message = format!("nobody can use \"{table}\" while all its rows are checked");
            let hint = "ADD ... NOT VALID here, and VALIDATE CONSTRAINT in a second migration";
            self.say(part, all, "check-blocks", message, hint);
        } else if !part.has(&["using", "index"]) {
            let message = format!("nobody can use \"{table}\" while the index of this constraint is built");
            let hint = "CREATE UNIQUE INDEX CONCURRENTLY first, then ADD CONSTRAINT ... USING INDEX";
            self.say(part, all, "constraint-builds-index", message, hint);
        }
    }

    fn add_column(&mut self, part: &Statement<'_>, table: &str) {
        let all = 0..part.tokens.len();
        let at = skip(part, 1, &["column", "if", "not", "exists"]);
        let serial = ["serial", "bigserial", "smallserial", "serial4", "serial8"];
        let typed = part.tokens.get(at + 1);
        let default = part.find(at, &["default"]);
        let hint = "add the column without it, set the default, then fill the rows that are there in batches";
        let why = if typed.is_some_and(|token| serial.iter().any(|word| token.is(word)))
            || part.has(&["as", "identity"])
        {
            Some("every row gets a number")
        } else if part.has(&["stored"]) {
            Some("every row gets its generated value")
        } else if default.is_some_and(|at| is_volatile(part, at + 1)) {
            Some("the default is computed for every row")
        } else {
            None
        };
        if let Some(why) = why {
            let message = format!("\"{table}\" is rewritten, and nobody can use it meanwhile: {why}");
            self.say(part, all.clone(), "column-rewrites", message, hint);
        } else if default.is_none() && part.find(at, &["not", "null"]).is_some() {
            let message =
                format!("this fails if \"{table}\" has a row: the rows that are there have no value");
            let hint = "give it a DEFAULT, or add it nullable and fill it first";
            self.say(part, all.clone(), "column-not-null", message, hint);
        }
        if part.has(&["references"]) && default.is_some() {
            let message = "nobody can write to either table while all rows are checked".to_owned();
            let hint = "add the column alone, then the constraint as NOT VALID, then VALIDATE CONSTRAINT";
            self.say(part, all.clone(), "foreign-key-blocks", message, hint);
        }
        if part.has(&["unique"]) || part.has(&["primary", "key"]) {
            let message = format!("nobody can use \"{table}\" while the index of this constraint is built");
            let hint = "CREATE UNIQUE INDEX CONCURRENTLY afterwards, then ADD CONSTRAINT ... USING INDEX";
            self.say(part, all, "constraint-builds-index", message, hint);
        }
    }
}

/// `ADD PRIMARY KEY (...)` and its kin, without a name.
fn adds_constraint(part: &Statement<'_>) -> bool {
    [
        &["add", "primary", "key"][..],
        &["add", "foreign", "key"],
        &["add", "check"],
        &["add", "unique"],
        &["add", "exclude"],
    ]
    .iter()
    .any(|words| part.begins(words))
}

/// The index of the first token from `at` on that is none of these words.
fn skip(part: &Statement<'_>, mut at: usize, words: &[&str]) -> usize {
    while part.tokens.get(at).is_some_and(|token| words.iter().any(|word| token.is(word))) {
        at += 1;
    }
    at
}

/// Whether the expression of a default calls a function that may be volatile.
fn is_volatile(part: &Statement<'_>, from: usize) -> bool {
    let tokens = &part.tokens[from.min(part.tokens.len())..];
    tokens.windows(2).any(|pair| {
        let called = pair[0].kind == Kind::Word || pair[0].kind == Kind::Quoted;
        called
            && pair[1].is_sign('(')
            // `varchar(10)`, `numeric(10, 2)`: a cast's type.
            && !tokens.windows(3).any(|three| three[2].start == pair[0].start && three[0].is_sign(':') && three[1].is_sign(':'))
            && !pair[0].is("as") && !pair[0].is("check") && !pair[0].is("references")
            && pair[0].name().is_some_and(|name| !STABLE.contains(&name.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes of a file's lints, in order.
    fn codes(text: &str) -> Vec<&'static str> {
        let file = File::parse("0001_x.sql", text).unwrap();
        lint(&[], std::slice::from_ref(&file)).iter().map(|lint| lint.code).collect()
    }

    #[test]
    fn what_blocks_or_destroys_is_found_and_what_doesnt_is_not() {
        let check = |text: &str, expect: &[&str]| assert_eq!(codes(text), expect, "{text}");
        let concurrently = "-- forebay: no-transaction\n";
        check("create index on person (name)", &["index-blocks-writes"]);
        check("create unique index if not exists i on only public.person (name)", &["index-blocks-writes"]);
        check("create index concurrently i on person (name)", &["concurrently-in-transaction"]);
        check(&format!("{concurrently}create index concurrently i on person (name)"), &[]);
        check("create table person (id int8); create index on public.person (id)", &[]);
        check("create temp table if not exists t (a int); alter table t drop column a; drop table t", &[]);
        check("drop index i", &["drop-index-blocks"]);
        check(&format!("{concurrently}drop index concurrently i"), &[]);
        check("reindex table person", &["reindex-blocks"]);
        check("refresh materialized view v", &["refresh-blocks-reads"]);
        check("alter table p add column a int", &[]);
        check("alter table p add a int default 5, add b text not null default 'x(y)'", &[]);
        check("alter table p add a timestamptz not null default now()", &[]);
        check("alter table p add a varchar(10) default 'a'::varchar(10)", &[]);
        check("alter table p add a uuid default gen_random_uuid()", &["column-rewrites"]);
        check("alter table p add a float8 not null default random()", &["column-rewrites"]);
        check("alter table p add a bigserial", &["column-rewrites"]);
        check("alter table p add a int8 generated always as identity", &["column-rewrites"]);
        check("alter table p add a int generated always as (b + 1) stored", &["column-rewrites"]);
        check("alter table p add column if not exists a int not null", &["column-not-null"]);
        check("alter table p alter column a set not null", &["set-not-null-scans"]);
        check("alter table p add constraint c check (a is not null) not valid", &[]);
        check(
            "alter table p add constraint c check ((a is not null)) not valid; alter table p alter a set not null",
            &[],
        );
        check("alter table p alter column a type text", &["type-rewrites"]);
        check("alter table p alter a set data type int8 using a::int8", &["type-rewrites"]);
        check("alter table p alter a set default 4, alter b drop not null", &[]);
        check("alter table p drop column if exists a, drop constraint c", &["drop-column"]);
        check("alter table if exists only p drop a", &["drop-column"]);
        check("drop table if exists p", &["drop-table"]);
        check("drop schema s cascade", &["drop-table", "drop-cascade"]);
        check("alter table p rename column a to b", &["rename-column"]);
        check("alter table p rename to q", &["rename-table"]);
        check("alter table p rename constraint a to b", &[]);
        check("truncate table p", &["truncate"]);
        check("update p set a = 1", &["update-all"]);
        check("update p set a = 1 where b; delete from p where true", &[]);
        check("delete from p", &["update-all"]);
        check("alter table p add foreign key (a) references q", &["foreign-key-blocks"]);
        check("alter table p add constraint c foreign key (a) references q not valid", &[]);
        check("alter table p add a int8 references q", &[]);
        check("alter table p add constraint c check (a > 0)", &["check-blocks"]);
        check("alter table p add constraint c unique (a)", &["constraint-builds-index"]);
        check("alter table p add primary key using index i", &[]);
        check("alter table p add column a int unique", &["constraint-builds-index"]);
        check(
            "alter table p add constraint c check (a > 0) not valid; alter table p validate constraint c",
            &["validate-in-transaction"],
        );
        check("alter table p validate constraint c", &[]);
        check("vacuum full p; cluster p; alter table p set unlogged", &["table-rewrites"; 3]);
        check("lock table p", &["lock-table"]);
        check(
            "set lock_timeout = 0; set lock_timeout to '0s'; set lock_timeout = '5s'",
            &["lock-timeout-off"; 2],
        );
        check("insert into p values ('drop table p; alter table p drop a'); -- drop table p", &[]);
        check("create function f() returns void language sql as $$ drop table p; $$", &[]);
        check(
            "-- forebay: allow drop-table, truncate\ndrop table p; truncate q; drop index i",
            &["drop-index-blocks"],
        );
    }

    #[test]
    fn a_check_of_an_earlier_file_counts_and_places_are_of_the_file() {
        let parse = |text: &str| File::parse("0001_x.sql", text).unwrap();
        let before = parse("alter table p add constraint c check (a is not null) not valid");
        let file = parse("select 1;\nalter table p alter a set not null,\n  drop column b;\n");
        let found = lint(&[before], std::slice::from_ref(&file));
        assert_eq!(found.len(), 1);
        assert_eq!(&file.text[found[0].range.clone()], "drop column b");
        assert_eq!(unknown_codes(&parse("-- forebay: allow drop-tabel\n")), ["drop-tabel"]);
    }

    #[test]
    fn every_code_is_said_tested_and_documented() {
        let (source, manual) = (include_str!("lint.rs"), include_str!("../../../../docs/DATABASE.md"));
        for (code, what) in CODES {
            assert!(source.matches(&format!("\"{code}\"")).count() >= 3, "{code}");
            assert!(manual.contains(&format!("| `{code}` | {what} |")), "{code}");
        }
    }
}
