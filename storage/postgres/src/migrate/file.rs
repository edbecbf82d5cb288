//! A migration's file: what goes up, what goes down, what its author says about it.
//!
//! ```sql
//! -- forebay: no-transaction                 each statement by itself, as CREATE INDEX CONCURRENTLY wants it
//! -- forebay: allow drop-column, drop-table  the author knows, and means it
//! ALTER TABLE person DROP COLUMN nick;
//! -- forebay: down                           from here on: how to undo it; or in NAME.down.sql
//! ALTER TABLE person ADD COLUMN nick text;
//! ```
//! The checksum is of all bytes of NAME.sql; NAME.down.sql may be written later.

use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{MIGRATIONS_MAX, MigrateError};

/// Bytes of one file. Beyond it: an error.
pub const MIGRATION_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A migration as it is in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// File name, with `.sql`.
    pub name: String,
    /// The whole text.
    pub text: String,
    /// SHA-256 of its bytes, in hex.
    pub checksum: String,
    /// Bytes of `text` that go up; the rest is the `down` section.
    pub up_bytes: usize,
    /// Its statements don't run in a transaction.
    pub no_transaction: bool,
    /// Lints that its author allows.
    pub allowed: Vec<String>,
    /// How to undo it, if somebody wrote that.
    pub down: Option<Down>,
}

/// How to undo a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// Name of the file that has it.
    pub name: String,
    /// Its text; lines before it are blank, so that line numbers are those of the file.
    pub text: String,
    /// Its statements don't run in a transaction.
    pub no_transaction: bool,
}

impl File {
    /// What goes up.
    #[must_use]
    pub fn up(&self) -> &str {
        &self.text[..self.up_bytes]
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// A sentence about a directive that there isn't.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let checksum = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut file = Self {
            name: name.to_owned(),
            // The mark that some editors put before a file's text is no SQL; as many spaces keep the places.
            text: text.strip_prefix('\u{feff}').map_or_else(|| text.to_owned(), |rest| format!("   {rest}")),
            checksum,
            up_bytes: text.len(),
            no_transaction: false,
            allowed: Vec::new(),
            down: None,
        };
        let mut at = 0;
        let text = &file.text.clone();
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let start = at;
            at += line.len();
            let Some(directive) = directive(line) else { continue };
            match directive.split_once(char::is_whitespace).unwrap_or((directive, "")) {
                ("no-transaction", "") => match &mut file.down {
                    Some(down) => down.no_transaction = true,
                    None => file.no_transaction = true,
                },
                ("allow", codes) if !codes.trim().is_empty() => {
                    file.allowed.extend(codes.split([',', ' ']).filter(|c| !c.is_empty()).map(str::to_owned));
                }
                ("down", "") if file.down.is_none() => {
                    file.up_bytes = start;
                    let text = "\n".repeat(number + 1) + &text[at..];
                    let no_transaction = file.no_transaction;
                    file.down = Some(Down { name: name.to_owned(), text, no_transaction });
                }
                _ => {
                    return Err(format!(
                        "line {}: `-- forebay: {directive}` means nothing; there are no-transaction, allow CODE, and once, down",
                        number + 1
                    ));
                }
            }
        }
        Ok(file)
    }
}

/// What stands behind `-- forebay:`.
fn directive(line: &str) -> Option<&str> {
    Some(line.trim().strip_prefix("--")?.trim_start().strip_prefix("forebay:")?.trim())
}

/// The folder's migrations by name; a folder that isn't there has none.
///
/// # Errors
/// [`MigrateError::Io`].
pub fn read(folder: &Path) -> Result<Vec<File>, MigrateError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| MigrateError::Io { path, error }
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io(folder)(e)),
    };
    let (mut files, mut downs) = (Vec::new(), Vec::new());
    for entry in entries {
        let path = entry.map_err(io(folder))?.path();
        if path.extension().is_none_or(|extension| extension != "sql") || !path.is_file() {
            continue;
        }
        let wrong = |what: String| io(&path)(io::Error::new(io::ErrorKind::InvalidData, what));
        if files.len() + downs.len() >= 2 * MIGRATIONS_MAX {
            return Err(wrong("too many migrations".to_owned()));
        }
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| wrong("the name is not UTF-8".to_owned()))?
            .to_owned();
        if std::fs::metadata(&path).map_err(io(&path))?.len() > MIGRATION_BYTES_MAX {
            return Err(wrong(format!(
                "longer than {MIGRATION_BYTES_MAX} bytes; load data with COPY instead"
            )));
        }
        let bytes = std::fs::read(&path).map_err(io(&path))?;
        let text = String::from_utf8(bytes).map_err(|_| wrong("not UTF-8".to_owned()))?;
        let file = File::parse(&name, &text).map_err(wrong)?;
        if name.ends_with(".down.sql") { downs.push(file) } else { files.push(file) }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    for down in downs {
        let path = folder.join(&down.name);
        let wrong = |what: &str| io(&path)(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
        let up = format!("{}.sql", down.name.trim_end_matches(".down.sql"));
        let Some(file) = files.iter_mut().find(|file| file.name == up) else {
            return Err(wrong("there is no migration that this undoes"));
        };
        if file.down.is_some() || down.down.is_some() {
            return Err(wrong("a migration is undone by a section or by a file, not by both"));
        }
        let Down { name, text, no_transaction } =
            Down { name: down.name, text: down.text, no_transaction: down.no_transaction };
        file.down = Some(Down { name, text, no_transaction });
    }
    Ok(files)
}

/// The name that a new migration gets: numbered as the last one is, `0001_` if it is the first.
///
/// # Errors
/// A sentence, if the name has neither letters nor digits or there is no next number.
pub fn next_name(last: Option<&str>, name: &str) -> Result<String, String> {
    let mut plain = String::new();
    for c in name.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => plain.push(c),
            _ if plain.ends_with('_') || plain.is_empty() => {}
            _ => plain.push('_'),
        }
    }
    let plain = plain.trim_end_matches('_');
    if plain.is_empty() {
        return Err(format!("`{name}` has no letters or digits to name a file by"));
    }
    let digits = last.map_or("0000", |last| {
        let end = last.find(|c: char| !c.is_ascii_digit()).unwrap_or(last.len());
        &last[..end]
    });
    let number: u64 = digits.parse().map_err(|_| {
        format!("the last migration, {}, has no number to count on from", last.unwrap_or_default())
    })?;
    let next = format!("{:0width$}", number.saturating_add(1), width = digits.len());
    if next.len() > digits.len() {
        return Err(format!("no {}-digit number comes after {digits}", digits.len()));
    }
    Ok(format!("{next}_{plain}.sql"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_directives_and_a_section_that_undoes_it() {
        let text = "-- forebay: no-transaction\n--forebay: allow a-b, c\nup 1;\n-- forebay: down\ndown 1;\n";
        let file = File::parse("1.sql", text).unwrap();
        assert!(file.no_transaction && file.allowed == ["a-b", "c"], "{file:?}");
        assert!(file.up().ends_with("up 1;\n"));
        let down = file.down.unwrap();
        assert_eq!((&*down.text, down.no_transaction), ("\n\n\n\ndown 1;\n", true));
        let plain = File::parse("1.sql", "-- a forebay: not one\nx").unwrap();
        assert!(plain.down.is_none() && !plain.no_transaction);
        for wrong in
            ["-- forebay: up", "-- forebay: allow", "-- forebay:", "-- forebay: down\n-- forebay: down\n"]
        {
            assert!(File::parse("1.sql", wrong).unwrap_err().starts_with("line "), "{wrong}");
        }
    }

    #[test]
    fn new_names_follow_the_folders_numbers() {
        let check = |last, name, expect: Option<&str>| {
            assert_eq!(next_name(last, name).ok().as_deref(), expect, "{last:?} {name}");
        };
        check(None, "Add users", Some("0001_add_users.sql"));
        check(Some("0009_x.sql"), "--e-mail!", Some("0010_e_mail.sql"));
        check(Some("20260101120000_x.sql"), "y", Some("20260101120001_y.sql"));
        check(Some("9_x.sql"), "y", None);
        check(Some("first.sql"), "y", None);
        check(None, "../..", None);
    }
}
