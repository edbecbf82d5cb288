//! Real clusters, started and stopped. Without PostgreSQL on the machine there is
//! nothing to test but the message.

use super::*;
use std::io::Read;
use std::os::unix::net::UnixStream;

/// An app folder that the server's user can reach.
fn app() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("ctl-devpg-").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn have_postgres() -> bool {
    find_binaries().is_some()
}

/// Speaks just enough of the protocol (PostgreSQL manual, "Message Formats") to run
/// one statement and give back the first column of the last row.
fn query(server: &DevPg, sql: &str) -> Option<String> {
    let mut stream = UnixStream::connect(server.socket()).unwrap();
    let parameters = format!("user\0{USER}\0database\0{DATABASE}\0\0");
    let mut startup = u32::try_from(8 + parameters.len()).unwrap().to_be_bytes().to_vec();
    startup.extend_from_slice(&196_608u32.to_be_bytes());
    startup.extend_from_slice(parameters.as_bytes());
    stream.write_all(&startup).unwrap();
    let mut message = vec![b'Q'];
    message.extend_from_slice(&u32::try_from(5 + sql.len()).unwrap().to_be_bytes());
    message.extend_from_slice(sql.as_bytes());
    message.push(0);
    let (mut ready, mut result) = (0, None);
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        let mut body = vec![0; length as usize - 4];
        stream.read_exact(&mut body).unwrap();
        match head[0] {
            b'E' => panic!("{}", String::from_utf8_lossy(&body)),
            b'D' => result = Some(String::from_utf8(body[6..].to_vec()).unwrap()),
            b'Z' => {
                ready += 1;
                if ready == 2 {
                    return result;
                }
                stream.write_all(&message).unwrap();
            }
            _ => {}
        }
    }
}

fn is_alive(pid: u32) -> bool {
    // A zombie is dead enough: its parent is a test that is gone or doesn't wait.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn wait_dead(pid: u32) {
    let deadline = now() + Duration::from_secs(20);
    while is_alive(pid) {
        assert!(now() < deadline, "{pid} lives on");
        std::thread::sleep(POLL);
    }
}

#[test]
fn a_cluster_starts_works_stops_and_is_used_again() {
    if !have_postgres() {
        return;
    }
    let app = app();
    let server = DevPg::start(app.path()).unwrap();
    assert!(server.notes.iter().any(|note| note.contains("made a PostgreSQL cluster")), "{:?}", server.notes);
    assert_eq!(query(&server, "select current_database()").as_deref(), Some("app"));
    assert_eq!(query(&server, "show listen_addresses").as_deref(), Some(""));
    query(&server, "create table t (x int); insert into t values (7)");
    assert!(server.url().starts_with("postgres://postgres@%2F"), "{}", server.url());
    // One forebay at a time.
    let busy = DevPg::start(app.path()).unwrap_err();
    assert!(matches!(busy, DevPgError::Busy(_)), "{busy}");
    assert_eq!(DevPg::running_url(app.path()), Some(server.url()));
    let pid = server.pid().unwrap();
    let start = now();
    server.stop();
    assert!(!is_alive(pid) && start.elapsed() < STOP_TIMEOUT);
    assert_eq!(DevPg::running_url(app.path()), None);

    let server = DevPg::start(app.path()).unwrap();
    assert_eq!(server.notes, Vec::<String>::new());
    assert_eq!(query(&server, "select x from t").as_deref(), Some("7"));
    drop(server);

    // A foreign version and a damaged cluster are refused, a half-made one is made again.
    let data = app.path().join(".forebay/postgres/data");
    fs::write(data.join("PG_VERSION"), "9\n").unwrap();
    let refused = DevPg::start(app.path()).unwrap_err();
    assert!(matches!(refused, DevPgError::Version { .. }), "{refused}");
    fs::remove_file(data.join("PG_VERSION")).unwrap();
    let refused = DevPg::start(app.path()).unwrap_err();
    assert!(refused.to_string().contains("no PG_VERSION"), "{refused}");
    fs::rename(&data, app.path().join(".forebay/postgres/data.new")).unwrap();
    let server = DevPg::start(app.path()).unwrap();
    assert_eq!(query(&server, "select 1").as_deref(), Some("1"));
}

/// Not a test by itself: the next one runs it as a process that crashes.
#[test]
fn crashing_child() {
    let Some(app) = std::env::var_os("FOREBAY_TEST_CRASH") else { return };
    let server = DevPg::start(Path::new(&app)).unwrap();
    fs::write(Path::new(&app).join("pid"), server.pid().unwrap().to_string()).unwrap();
    std::process::abort();
}

#[test]
fn a_crash_takes_the_server_along_and_what_is_left_is_cleared_away() {
    if !have_postgres() {
        return;
    }
    let app = app();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "devpg::tests::crashing_child"])
        .env("FOREBAY_TEST_CRASH", app.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success());
    let pid: u32 = fs::read_to_string(app.path().join("pid")).unwrap().parse().unwrap();
    wait_dead(pid);

    // A server that nobody told: as if PR_SET_PDEATHSIG had failed.
    let bin = find_binaries().unwrap();
    let state = app.path().canonicalize().unwrap().join(".forebay");
    let place = Place::choose(app.path(), &state, &mut Vec::new()).unwrap();
    let data = place.base.join("data");
    let mut orphan = launch(&bin, &place, &data, &place.base.join("log")).unwrap();
    while !is_ready(&data, orphan.id()) {
        std::thread::sleep(POLL);
    }
    let reaper = std::thread::scope(|scope| {
        let waiter = scope.spawn(move || orphan.wait().unwrap());
        let server = DevPg::start(app.path()).unwrap();
        assert_eq!(query(&server, "select 1").as_deref(), Some("1"));
        drop(server);
        waiter.join().unwrap()
    });
    assert!(reaper.success(), "a fast shutdown ends with 0: {reaper}");

    // The number in a stale file belongs to somebody else by now.
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    fs::write(data.join("postmaster.pid"), format!("{}\n{}\n", other.id(), data.display())).unwrap();
    let server = DevPg::start(app.path()).unwrap();
    assert!(is_alive(other.id()), "a stranger must not be stopped");
    drop(server);
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn long_and_strange_app_paths_move_only_the_socket() {
    if !have_postgres() {
        return;
    }
    let base = app();
    let long = base.path().join("long folder, 'quoted'/".repeat(6));
    fs::create_dir_all(&long).unwrap();
    let server = DevPg::start(&long).unwrap();
    assert!(server.socket().starts_with("/tmp/"), "{}", server.socket().display());
    assert!(long.join(".forebay/postgres/data/PG_VERSION").exists());
    assert_eq!(query(&server, "select 1").as_deref(), Some("1"));
    let folder = server.socket().parent().unwrap().to_owned();
    drop(server);
    assert!(!folder.exists());
}

#[test]
fn a_folder_that_the_user_cannot_reach_is_replaced() {
    if !have_postgres() || !geteuid().is_root() {
        return;
    }
    let base = app();
    fs::set_permissions(base.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let server = DevPg::start(base.path()).unwrap();
    let place =
        Place::choose(&base.path().canonicalize().unwrap(), &base.path().join(".forebay"), &mut Vec::new());
    let folder = place.unwrap().base;
    assert!(folder.starts_with("/var/tmp"));
    assert!(server.notes[0].contains("can't reach"), "{:?}", server.notes);
    assert_eq!(query(&server, "select 1").as_deref(), Some("1"));
    drop(server);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_broken_cluster_says_why() {
    if !have_postgres() {
        return;
    }
    let app = app();
    drop(DevPg::start(app.path()).unwrap());
    fs::remove_file(app.path().join(".forebay/postgres/data/global/pg_control")).unwrap();
    let error = DevPg::start(app.path()).unwrap_err().to_string();
    assert!(error.contains("postgres failed") && error.contains("pg_control"), "{error}");
}

#[test]
fn somebody_elses_folder_is_refused() {
    if !geteuid().is_root() {
        return;
    }
    let base = app();
    let folder = base.path().join("x");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(Uid::from_raw(12_345)), None).unwrap();
    let user = server_user().unwrap();
    assert!(own_folder(&folder, Some(user)).is_err());
    std::os::unix::fs::symlink("/root", base.path().join("link")).unwrap();
    assert!(own_folder(&base.path().join("link"), Some(user)).is_err());
}
