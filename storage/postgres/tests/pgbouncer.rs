//! PgBouncer in transaction mode between us and the server. Skipped, with a word, where it isn't installed.
#![allow(clippy::unwrap_used, reason = "a test; helpers outside of #[test] functions unwrap too")]

mod common;
#[path = "common/driver.rs"]
mod driver;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use driver::Driver;
use forebay_base::Value;
use forebay_base::limits::DatabaseLimits;
use forebay_postgres::blocking::Client;
use forebay_postgres::{Config, Delivery, Param, QueryError, Shape, Token};

struct Bouncer(Child, #[expect(dead_code, reason = "kept until the end")] tempfile::TempDir, Config);

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start() -> Option<Bouncer> {
    let program = Path::new("/usr/sbin/pgbouncer");
    if !program.is_file() {
        eprintln!("pgbouncer isn't installed: not tested");
        return None;
    }
    let server = common::config();
    let sockets = server.unix_socket().unwrap().parent().unwrap().display().to_string();
    let folder = tempfile::Builder::new().prefix("pgb-").tempdir_in("/tmp").unwrap();
    let at = folder.path().display();
    std::fs::write(folder.path().join("users"), "\"postgres\" \"\"\n").unwrap();
    let text = format!(
        "[databases]\npostgres = host={sockets} port=5432 dbname=postgres\n[pgbouncer]\nlisten_port = 6432\n\
         unix_socket_dir = {at}\nauth_type = trust\nauth_file = {at}/users\npool_mode = transaction\n\
         default_pool_size = 3\nmax_client_conn = 50\nlogfile = {at}/log\n"
    );
    std::fs::write(folder.path().join("ini"), text).unwrap();
    let mut command = Command::new(program);
    use std::os::unix::fs::MetadataExt as _;
    let owner = std::fs::metadata(&sockets).unwrap();
    for file in ["", "users", "ini"] {
        std::os::unix::fs::chown(folder.path().join(file), Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    command.uid(owner.uid()).gid(owner.gid());
    let child = command
        .arg(folder.path().join("ini"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let text = format!("host={at} port=6432 user=postgres dbname=postgres");
    let config = Config::parse(&text, &|_| None).unwrap();
    let bouncer = Bouncer(child, folder, config.clone());
    for _ in 0..200 {
        if Client::connect(&config).is_ok() {
            return Some(bouncer);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("pgbouncer doesn't answer: {:?}", Client::connect(&config).err());
}

#[test]
fn transaction_mode_shares_sessions_and_answers_stay_apart() {
    let Some(bouncer) = start() else { return };
    common::client().batch("create table pb (n int8)").unwrap();
    let limits = || DatabaseLimits { connections: 4, transactions: 4, ..DatabaseLimits::default() };
    // Two pools whose statements have the same numbers, on three sessions.
    let mut drivers = [Driver::new(bouncer.2.clone(), limits()), Driver::new(bouncer.2.clone(), limits())];
    for (driver, factor) in drivers.iter_mut().zip([1i64, 100]) {
        driver.until("ready", |driver| driver.pool.stats().ready >= 4);
        driver.run(&format!("select $1::int8 * {factor}"), &[Param::Int(1)], Shape::Scalar).unwrap();
    }
    for round in 0..20 {
        let mut started: Vec<(usize, i64, Token)> = Vec::new();
        for n in 0..40 {
            for (which, factor) in [(0, 1i64), (1, 100)] {
                let sql = format!("select $1::int8 * {factor}");
                let token = drivers[which].start(&sql, &[Param::Int(n)], Shape::Scalar, Delivery::Whole);
                started.push((which, n * factor, token));
            }
        }
        for driver in &mut drivers {
            driver.act();
        }
        for (which, expect, token) in started {
            let (_, value) = drivers[which].wait(token).unwrap();
            assert_eq!(value, Value::Int(expect), "round {round}");
        }
    }
    // A transaction stays on its session; one that meets a statement of another fails at most once.
    let mut failed = 0;
    for n in 0..20 {
        for driver in &mut drivers {
            let transaction = driver.begin();
            driver.wait(transaction).unwrap();
            let insert =
                driver.run_in(transaction, "insert into pb values ($1)", &[Param::Int(n)], Shape::Affected);
            let end = driver.end(transaction, insert.is_ok());
            match insert {
                Ok(_) => driver.wait(end).map(|_| ()).unwrap(),
                Err(QueryError::Server(error)) => {
                    assert_eq!(&*error.code, "26000");
                    failed += 1;
                    driver.wait(end).map(|_| ()).unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    // One per pool at most: what a connection notices holds for all of them.
    assert!(failed <= 2, "{failed}");
    let count = common::client().query("select count(*) from pb", &[], Shape::Scalar).unwrap();
    assert_eq!(count, Value::Int(40 - failed));
}

#[test]
fn unnamed_statements_from_the_start() {
    let Some(bouncer) = start() else { return };
    common::client().batch("create table pb_changes (a int4); insert into pb_changes values (7)").unwrap();
    let config = Config { unnamed: true, ..bouncer.2.clone() };
    let mut driver = Driver::new(config, DatabaseLimits::default());
    let sql = "select a from pb_changes where $1::int4 = 1";
    assert_eq!(driver.run(sql, &[Param::Int(1)], Shape::Scalar).unwrap(), Value::Int(7));
    assert_eq!(driver.run(sql, &[Param::Int(1)], Shape::Scalar).unwrap(), Value::Int(7));
    // The text is parsed anew, and has another result than was described.
    common::client().batch("alter table pb_changes alter a type float4").unwrap();
    let error = driver.run(sql, &[Param::Int(1)], Shape::Scalar).unwrap_err();
    assert!(matches!(error, QueryError::Value(_)), "{error}");
    let transaction = driver.begin();
    driver.wait(transaction).unwrap();
    driver.run_in(transaction, "select $1::int4", &[Param::Int(1)], Shape::Scalar).unwrap();
    let end = driver.end(transaction, true);
    driver.wait(end).unwrap();
}
