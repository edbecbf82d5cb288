//! What a serving process says about its database at start, once: migrations that are not applied, a schema that is
//! not that of the lock file. It serves all the same: whether to wait is its keeper's decision. On a thread of its
//! own, as a database that doesn't answer must not keep requests waiting that need none.

use std::path::{Path, PathBuf};

use forebay_postgres as pg;
use forebay_postgres::blocking::Client;
use forebay_postgres::migrate::{self, State, Status};

use crate::app::Folder;
use crate::commands::db::pull::pull;
use crate::lock::Lock;
use crate::log::Logger;

/// Names in one line; the rest is a number.
const NAMES_MAX: usize = 10;

/// Looks, and logs what it finds.
pub fn report_in_background(app: &Path, database: &pg::Config, logger: &Logger) {
    let (app, database, log) = (PathBuf::from(app), database.clone(), logger.clone());
    let spawned = std::thread::Builder::new().name("schema".to_owned()).spawn(move || {
        report(&app, &database, &log);
    });
    if let Err(error) = spawned {
        logger.warn("the schema wasn't looked at").show("why", error).send();
    }
}

/// Looks, and logs what it finds.
pub fn report(app: &Path, database: &pg::Config, logger: &Logger) {
    let mut client = match Client::connect(database) {
        Ok(client) => client,
        Err(error) => {
            logger.warn("the schema wasn't looked at: no database").show("why", error).send();
            return;
        }
    };
    let folder = app.join("migrations");
    if folder.is_dir() {
        match migrate::status(&mut client, &folder) {
            Ok(lines) => migrations(&lines, logger),
            Err(error) => logger.warn("the migrations weren't looked at").show("why", error).send(),
        }
    }
    match Lock::load(app) {
        Ok(Some(lock)) => drift(&mut client, app, &lock, logger),
        Ok(None) => {}
        Err(why) => logger.warn("the lock file wasn't looked at").str("why", &why).send(),
    }
}

/// Differences between the lock file and the database, a line each.
fn drift(client: &mut Client, app: &Path, lock: &Lock, logger: &Logger) {
    match pull(client, &Folder::new(app)) {
        Ok((found, problems)) => {
            for problem in &problems {
                let (line, _) = problem.line_column();
                let what = "the database refuses a named query";
                logger
                    .warn(what)
                    .str("file", &problem.file)
                    .show("line", line)
                    .str("why", &problem.message)
                    .send();
            }
            for difference in lock.differences(&found) {
                let what = "the database is not what forebay.lock.json says; see `forebay db pull`";
                logger.warn(what).str("difference", &difference).send();
            }
        }
        Err(error) => logger.warn("the schema wasn't looked at").show("why", error).send(),
    }
}

/// After migrations in dev: a lock file that is there stays true, as it decides what builds.
pub fn refresh(client: &mut Client, app: &Path, logger: &Logger) {
    if !app.join(crate::lock::FILE).is_file() {
        return;
    }
    match pull(client, &Folder::new(app)) {
        Ok((found, _)) => {
            if let Err(error) = std::fs::write(app.join(crate::lock::FILE), found.to_text()) {
                logger.warn("forebay.lock.json can't be written").show("why", error).send();
            }
        }
        Err(error) => logger.warn("forebay.lock.json stays as it is").show("why", error).send(),
    }
}

fn migrations(lines: &[Status], logger: &Logger) {
    let named = |states: &[State]| {
        let names: Vec<&str> =
            lines.iter().filter(|line| states.contains(&line.state)).map(|line| line.name.as_str()).collect();
        (names.len(), list(&names))
    };
    let (count, names) = named(&[State::Pending]);
    if count > 0 {
        let what = "migrations are not applied; run `forebay db migrate`";
        logger.warn(what).show("count", count).str("files", &names).send();
    }
    let (count, names) = named(&[State::Edited, State::Missing, State::OutOfOrder]);
    if count > 0 {
        let what = "migrations were applied that are not those in the folder; see `forebay db status`";
        logger.warn(what).show("count", count).str("files", &names).send();
    }
}

/// The first names of a list.
pub(crate) fn list(names: &[&str]) -> String {
    let mut text = names[..names.len().min(NAMES_MAX)].join(", ");
    if names.len() > NAMES_MAX {
        text.push_str(&format!(" and {} more", names.len() - NAMES_MAX));
    }
    text
}
