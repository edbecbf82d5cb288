//! A PostgreSQL cluster that a test starts and stops as it likes.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use forebay_ctl::devpg::DevPg;

use super::App;

/// A cluster in a folder of its own. Its URL stays the same over restarts.
#[derive(Debug)]
pub(crate) struct Postgres {
    folder: PathBuf,
    server: Option<DevPg>,
    url: String,
}

impl Postgres {
    /// Makes a cluster beside the app, and starts it.
    pub(crate) fn start(app: &App) -> Self {
        let folder = app.beside("pg");
        std::fs::create_dir(&folder).unwrap();
        let server = DevPg::start(&folder).expect("PostgreSQL (scripts/setup.sh installs it)");
        let url = server.url();
        Self { folder, server: Some(server), url }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn stop(&mut self) {
        self.server.take().expect("runs").stop();
    }

    pub(crate) fn start_again(&mut self) {
        assert!(self.server.is_none());
        let server = DevPg::start(&self.folder).expect("PostgreSQL");
        assert_eq!(server.url(), self.url);
        self.server = Some(server);
    }

    /// Runs one statement with psql; its output, unaligned, without headers.
    #[track_caller]
    pub(crate) fn psql(&self, statement: &str) -> String {
        psql(&self.url, statement)
    }
}

/// As [`Postgres::psql`], of any server.
#[track_caller]
pub(crate) fn psql(url: &str, statement: &str) -> String {
    let output = Command::new("psql")
        .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement, url])
        .stdin(Stdio::null())
        .output()
        .expect("psql");
    assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
