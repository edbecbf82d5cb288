//! A PostgreSQL of our own: one cluster per test binary, on a unix socket, without TCP and without fsync.
//! Ended by process id when the binary ends.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::zombie_processes,
    reason = "helpers of several test binaries, each of which uses its part; the postmaster ends by pg_ctl"
)]

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};

use forebay_postgres::blocking::Client;
use forebay_postgres::{Config, Shape};

/// A cluster in a temporary folder.
pub struct Server {
    bin: PathBuf,
    folder: tempfile::TempDir,
    /// TCP port on 127.0.0.1; none: a unix socket alone.
    pub port: Option<u16>,
}

/// Where the server's programs are; the test fails where they aren't. `FOREBAY_POSTGRES_BIN` names a folder that is
/// taken before all others: `scripts/test-postgres.sh` runs these tests with another version that way.
pub fn binaries() -> PathBuf {
    if let Some(folder) = std::env::var_os("FOREBAY_POSTGRES_BIN") {
        let folder = PathBuf::from(folder);
        assert!(folder.join("initdb").is_file(), "FOREBAY_POSTGRES_BIN: no initdb in {}", folder.display());
        return folder;
    }
    let fixed = ["18", "17", "16", "15", "14"].map(|v| PathBuf::from(format!("/usr/lib/postgresql/{v}/bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(fixed)
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
        .expect(
            "these tests need PostgreSQL's initdb and postgres: install the package postgresql (14 or later)",
        )
}

/// initdb refuses to run as root: then everything runs as `postgres`.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = identity() {
        command.uid(uid).gid(gid);
    }
    command
}

fn identity() -> Option<(u32, u32)> {
    let id = |args: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(args).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let user = ["postgres", "nobody"].into_iter().find(|user| id(&["-u", user]).is_some())?;
    Some((id(&["-u", user])?, id(&["-g", user])?))
}

impl Server {
    pub fn start() -> Self {
        let server = Self::prepare(None);
        server.up();
        server
    }

    /// A cluster that listens on TCP as well, with TLS: certificates of an authority of its own, by the `openssl`
    /// command. `hba` stands before the rules of [`Server::start`].
    pub fn start_tls(hba: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self::prepare(Some(port));
        let openssl = |line: &str| {
            let output = command(Path::new("openssl"))
                .args(line.split(' '))
                .current_dir(server.folder.path())
                .output()
                .expect("these tests need the command openssl");
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let write = |name: &str, text: &str| std::fs::write(server.folder.path().join(name), text).unwrap();
        write("server.ext", "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE");
        write("client.ext", "basicConstraints=CA:FALSE");
        for ca in ["ca", "stranger"] {
            openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN={ca} -keyout {ca}.key -out {ca}.crt"
            ));
        }
        for (name, subject) in [("server", "localhost"), ("client", "certified")] {
            openssl(&format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={subject} -keyout {name}.key -out {name}.csr"
            ));
            openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -sha384 -extfile {name}.ext -out {name}.crt"
            ));
        }
        let file = |name: &str| server.folder.path().join(name).display().to_string();
        let settings = format!(
            "\nssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\nssl_ca_file = '{}'\n",
            file("server.crt"),
            file("server.key"),
            file("ca.crt")
        );
        let path = server.data().join("postgresql.conf");
        let old = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, old + &settings).unwrap();
        let path = server.data().join("pg_hba.conf");
        let old = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{hba}{old}")).unwrap();
        server.up();
        server
    }

    /// A cluster that listens on 127.0.0.1 as well, in plain text.
    pub fn start_tcp(port: u16) -> Self {
        let server = Self::prepare(Some(port));
        let path = server.data().join("pg_hba.conf");
        let old = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{old}host all all 127.0.0.1/32 trust\n")).unwrap();
        server.up();
        server
    }

    fn prepare(port: Option<u16>) -> Self {
        let folder = tempfile::Builder::new().prefix("pg-").tempdir_in("/tmp").unwrap();
        if let Some((uid, gid)) = identity() {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let server = Self { bin: binaries(), folder, port };
        let output = command(&server.bin.join("initdb"))
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(server.data())
            .current_dir(server.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::write(
            server.data().join("pg_hba.conf"),
            "local all scram scram-sha-256\nlocal all md5 md5\nlocal all clear password\nlocal all all trust\n",
        )
        .unwrap();
        server
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts the postmaster and waits until it answers.
    pub fn up(&self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let mut child = command(&self.bin.join("postgres"))
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.folder.path())
            .args(match self.port {
                Some(port) => ["-h".to_owned(), "127.0.0.1".to_owned(), "-p".to_owned(), port.to_string()],
                None => ["-h".to_owned(), String::new(), "-p".to_owned(), "5432".to_owned()],
            })
            .args(["-F", "-c", "max_connections=60", "-c", "shared_buffers=16MB", "-c", "autovacuum=off"])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        for _ in 0..600 {
            if Client::connect(&self.config()).is_ok() {
                return;
            }
            if let Some(status) = child.try_wait().unwrap() {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("postgres ended with {status}:\n{log}");
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("postgres didn't answer within 30 s");
    }

    /// Stops the postmaster at once (`immediate`: as after a crash).
    pub fn down(&self) {
        let _ = command(&self.bin.join("pg_ctl"))
            .args(["stop", "-m", "immediate", "-w", "-D"])
            .arg(self.data())
            .current_dir("/")
            .output();
    }

    pub fn config(&self) -> Config {
        Config::parse(
            &format!(
                "host={} port={} user=postgres dbname=postgres",
                self.folder.path().display(),
                self.port.unwrap_or(5432)
            ),
            &|_| None,
        )
        .unwrap()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
    }
}

/// Bytes of this process that were ever resident at once (VmHWM of proc_pid_status(5)).
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

static SHARED: OnceLock<Mutex<Option<Server>>> = OnceLock::new();

extern "C" fn stop() {
    if let Some(shared) = SHARED.get()
        && let Ok(mut server) = shared.lock()
    {
        drop(server.take());
    }
}

/// The cluster of this test binary. The lock is held while the guard lives: take the configuration and let go.
pub fn shared() -> MutexGuard<'static, Option<Server>> {
    let shared = SHARED.get_or_init(|| {
        at_exit();
        Mutex::new(Some(Server::start()))
    });
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The shared cluster's configuration.
pub fn config() -> Config {
    shared().as_ref().expect("the cluster runs until the binary ends").config()
}

/// A client of the shared cluster.
pub fn client() -> Client {
    Client::connect(&config()).unwrap()
}

/// A client of a database of its own, in which these statements ran.
pub fn client_of(database: &str, statements: &str) -> Client {
    client().batch(&format!("create database {database}")).unwrap();
    let mut client = Client::connect(&Config { database: database.to_owned(), ..config() }).unwrap();
    client.batch(statements).unwrap();
    client
}

/// One value as the server's own text.
pub fn text(client: &mut Client, sql: &str) -> String {
    let value = client.query(sql, &[], Shape::Scalar).unwrap();
    value.as_str().unwrap_or_default().to_owned()
}

#[expect(
    unsafe_code,
    reason = "a static isn't dropped when the test harness exits, and the server must not outlive it"
)]
fn at_exit() {
    unsafe extern "C" {
        fn atexit(callback: extern "C" fn()) -> i32;
    }
    // SAFETY: `stop` is a plain function of the right type that doesn't unwind into C (its lock is checked, and
    // Command's failures are dropped).
    unsafe { atexit(stop) };
}
