//! A private server on a unix socket, and the tables that every client reads.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use forebay_postgres::Config;
use forebay_postgres::blocking::Client;

use crate::BENCH_ROWS;

pub struct Server {
    bin: PathBuf,
    folder: tempfile::TempDir,
}

/// initdb refuses to run as root: then everything runs as `postgres`.
fn command(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    let id = |args: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(args).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"]) == Some(0) {
        command.uid(id(&["-u", "postgres"]).unwrap()).gid(id(&["-g", "postgres"]).unwrap());
    }
    command.current_dir("/");
    command
}

pub fn config(folder: &str) -> Config {
    Config::parse(&format!("host={folder} user=postgres dbname=postgres"), &|_| None).unwrap()
}

impl Server {
    pub fn start() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let fixed =
            ["18", "17", "16", "15", "14"].map(|v| PathBuf::from(format!("/usr/lib/postgresql/{v}/bin")));
        let bin = std::env::split_paths(&path)
            .chain(fixed)
            .find(|folder| folder.join("initdb").is_file())
            .expect("PostgreSQL's initdb and postgres");
        let folder = tempfile::Builder::new().prefix("pg-").tempdir_in("/tmp").unwrap();
        assert!(Command::new("chmod").arg("777").arg(folder.path()).status().unwrap().success());
        let server = Self { bin, folder };
        let output = command(server.bin.join("initdb"))
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(server.folder.path().join("data"))
            .output()
            .unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let started = command(server.bin.join("pg_ctl"))
            .args(["start", "-w", "-D"])
            .arg(server.folder.path().join("data"))
            .arg("-o")
            .arg(format!(
                "-F -h '' -k {} -c max_connections=60 -c shared_buffers=128MB -c autovacuum=off",
                server.folder()
            ))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(started.success());
        let mut client = Client::connect(&config(server.folder())).unwrap();
        client
            .batch(&format!(
                "create table bench (id int4 primary key, name text not null, n int4 not null);
                 insert into bench select g, 'name ' || g, 2 * g from generate_series(0, {}) g;
                 create table rows7 (a int4, b int8, c text, d text, e bool, f float8, g int2);
                 insert into rows7 select g, g * 1000000007::int8, 'first ' || g, 'second text ' || g, g % 2 = 0,
                   g / 4.0, g % 1000 from generate_series(1, 1000) g;
                 create unlogged table copied (a int4, b int8, c text);
                 analyze bench; analyze rows7",
                BENCH_ROWS - 1
            ))
            .unwrap();
        server
    }

    pub fn folder(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = command(self.bin.join("pg_ctl"))
            .args(["stop", "-m", "immediate", "-w", "-D"])
            .arg(self.folder.path().join("data"))
            .output();
    }
}
