//! `forebay db dump`: schema.sql, for reviews and for a fresh database without its history.
//!
//! pg_dump knows every kind of object there is; what is left out of its text is what differs from run to run. Behind it
//! stand the migrations that it contains, so that `forebay db migrate` goes on from there.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use forebay_base::Value;
use forebay_postgres::blocking::Client;
use serde_json::json;

use crate::{Failure, Outcome};

/// In the app's folder.
pub(super) const FILE: &str = "schema.sql";

/// Writes the dump to `out`.
///
/// # Errors
/// What pg_dump says, or that there is none.
pub(super) fn write(client: &mut Client, url: &str, out: &Path, as_json: bool) -> Outcome {
    let (conninfo, password) = without_password(url)?;
    let mut command = Command::new("pg_dump");
    command.args([
        "--schema-only",
        "--no-owner",
        "--no-privileges",
        "--no-password",
        "--encoding=UTF8",
        "--dbname",
    ]);
    command.arg(conninfo).stdin(Stdio::null());
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    let output = command.output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::Failed(
            "`forebay db dump` needs pg_dump, of the server's version or newer: install postgresql-client"
                .to_owned(),
        ),
        _ => Failure::because("pg_dump", error),
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::Failed(format!("{}({})", said, output.status)));
    }
    let mut text = stable(&String::from_utf8_lossy(&output.stdout));
    text.push_str(&history(client)?);
    std::fs::write(out, &text).map_err(|error| Failure::because(out.display(), error))?;
    if as_json {
        println!("{}", json!({ "schema": out, "bytes": text.len() }));
    } else {
        println!("{}: {} bytes", out.display(), text.len());
    }
    Ok(())
}

/// The connection string for a command line, which everybody on the machine can read, and the password for its
/// environment.
fn without_password(url: &str) -> Result<(String, Option<String>), Failure> {
    let env = |name: &str| std::env::var(name).ok();
    let config = forebay_postgres::Config::parse(url, &env).map_err(super::failed)?;
    let mut text = url.to_owned();
    if let Some(authority) = url.find("://").map(|at| at + 3) {
        let end = url[authority..].find(['/', '?']).map_or(url.len(), |n| authority + n);
        if let Some(at) = url[authority..end].rfind('@').map(|n| authority + n)
            && let Some(colon) = url[authority..at].find(':').map(|n| authority + n)
        {
            text.replace_range(colon..at, "");
        }
    }
    if text.contains("password=") {
        return Err(Failure::Failed(
            "`forebay db dump` can't hand on a password that stands as password=...; put it into PGPASSWORD or ~/.pgpass"
                .to_owned(),
        ));
    }
    Ok((text, config.password))
}

/// Without versions and the random words of `\restrict`.
fn stable(dump: &str) -> String {
    let mut text = String::with_capacity(dump.len());
    let varies =
        |line: &str| ["-- Dumped", "\\restrict", "\\unrestrict"].iter().any(|start| line.starts_with(start));
    let mut blank = true;
    for line in dump.lines().filter(|line| !varies(line)) {
        if line.is_empty() && blank {
            continue;
        }
        blank = line.is_empty();
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn history(client: &mut Client) -> Result<String, Failure> {
    let exists =
        client.rows("SELECT 1 AS yes WHERE to_regclass('public.forebay_migrations') IS NOT NULL", &[]);
    if exists.map_err(super::failed)?.is_empty() {
        return Ok(String::new());
    }
    let rows = client
        .rows("SELECT name, checksum FROM public.forebay_migrations ORDER BY name COLLATE \"C\"", &[])
        .map_err(super::failed)?;
    let mut text = String::new();
    for row in &rows {
        let field = |key| row.get(key).and_then(Value::as_str).unwrap_or_default().replace('\'', "''");
        let _ = writeln!(
            text,
            "INSERT INTO public.forebay_migrations (name, checksum, millis) VALUES ('{}', '{}', 0);",
            field("name"),
            field("checksum")
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_on_the_command_line() {
        let check = |url: &str, expect: Option<(&str, Option<&str>)>| {
            let found = without_password(url).ok();
            let found = found.as_ref().map(|(text, password)| (text.as_str(), password.as_deref()));
            assert_eq!(found, expect, "{url}");
        };
        check(
            "postgres://a:p%40w@h:5/d?sslmode=disable",
            Some(("postgres://a@h:5/d?sslmode=disable", Some("p@w"))),
        );
        check("postgres://a@h/d", Some(("postgres://a@h/d", None)));
        check("host=h user=a dbname=d", Some(("host=h user=a dbname=d", None)));
        check("host=h user=a password=x dbname=d", None);
    }

    #[test]
    fn what_differs_from_run_to_run_is_left_out() {
        let dump = "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\n-- Dumped from database version 15\n\nCREATE TABLE t;\n";
        assert_eq!(stable(dump), "--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE t;\n");
    }
}
