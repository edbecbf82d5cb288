//! The server side: one request a connection, each on a short-lived thread, at
//! most [`PEERS_MAX`]. Blocking std sockets with timeouts: there is nothing to be
//! gained from more here.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist};
use serde_json::{Value, json};

use super::{
    BODY_BYTES_MAX, Control, ControlError, HEAD_BYTES_MAX, HEADER_COUNT_MAX, PEER_TIMEOUT, PEERS_MAX,
    short_path,
};
use crate::log::Logger;

/// A running admin socket. Dropping it closes and removes the socket.
#[derive(Debug)]
pub struct AdminServer {
    path: PathBuf,
    /// Device and inode of our socket: another process may have put its own there.
    identity: (u64, u64),
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl AdminServer {
    /// Listens at `path`, whose folder is made if it is missing. A socket that
    /// nobody listens on any more is replaced.
    ///
    /// # Errors
    /// `AddrInUse` if a process listens there; else what bind(2) says.
    pub fn start(path: &Path, control: Arc<dyn Control>, logger: Logger) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let (short, _folder) = short_path(path)?;
        if UnixStream::connect(&short).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another forebay answers there"));
        }
        // Only ever a socket is removed: a file of that name is somebody's data.
        if let Ok(meta) = std::fs::symlink_metadata(&short) {
            if !std::os::unix::fs::FileTypeExt::is_socket(&meta.file_type()) {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file there is not a socket"));
            }
            std::fs::remove_file(&short)?;
        }
        let listener = UnixListener::bind(&short)?;
        // Until here nobody else could connect (umask), and SO_PEERCRED checks everybody.
        std::fs::set_permissions(&short, std::fs::Permissions::from_mode(0o660))?;
        let meta = std::fs::symlink_metadata(&short)?;
        let identity = (meta.dev(), meta.ino());
        let group = Gid::from_raw(meta.gid());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || accept(&listener, &control, &logger, group, &stopped))?;
        Ok(Self { path: path.to_owned(), identity, stop, thread: Some(thread) })
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let Ok((short, _folder)) = short_path(&self.path) else { return };
        let ours = |meta: std::fs::Metadata| (meta.dev(), meta.ino()) == self.identity;
        if std::fs::symlink_metadata(&short).is_ok_and(ours) {
            // Wakes accept; the thread then sees `stop`.
            let woken = UnixStream::connect(&short).is_ok();
            let _ = std::fs::remove_file(&short);
            if let Some(thread) = self.thread.take().filter(|_| woken) {
                let _ = thread.join();
            }
        }
    }
}

fn accept(
    listener: &UnixListener,
    control: &Arc<dyn Control>,
    logger: &Logger,
    group: Gid,
    stop: &AtomicBool,
) {
    let peers = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = listener.accept();
        if stop.load(Ordering::Acquire) {
            return;
        }
        let stream = match stream {
            Ok((stream, _)) => stream,
            Err(error) => {
                // EMFILE and the like: they pass, but not by asking faster.
                logger.warn("admin socket: accept fails").show("error", error).send();
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let seat = Seat::take(&peers);
        let (control, logger) = (Arc::clone(control), logger.clone());
        let serve = move || {
            // A peer that goes away is its own business.
            let _ = match seat {
                Some(_seat) => serve(stream, &*control, &logger, group),
                None => answer(
                    &stream,
                    &problem(503, "admin/busy", "too many admin requests at a time"),
                    deadline(),
                ),
            };
        };
        // Without a thread the connection closes: the client says so.
        let _ = std::thread::Builder::new().name("admin-peer".to_owned()).spawn(serve);
    }
}

/// One of the places for a peer; given back when dropped.
struct Seat(Arc<AtomicUsize>);

impl Seat {
    fn take(peers: &Arc<AtomicUsize>) -> Option<Self> {
        let seat = Self(Arc::clone(peers));
        (peers.fetch_add(1, Ordering::AcqRel) < PEERS_MAX).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer, before it is bytes.
struct Answer {
    status: u16,
    content_type: &'static str,
    allow: Option<&'static str>,
    body: Vec<u8>,
}

fn problem(status: u16, code: &str, detail: &str) -> Answer {
    let body = json!({ "status": status, "title": reason(status), "code": code, "detail": detail });
    Answer { status, content_type: "application/problem+json", allow: None, body: line(&body) }
}

fn ok(value: &Value) -> Answer {
    Answer { status: 200, content_type: "application/json", allow: None, body: line(value) }
}

fn line(value: &Value) -> Vec<u8> {
    let mut body = value.to_string().into_bytes();
    body.push(b'\n');
    body
}

fn serve(stream: UnixStream, control: &dyn Control, logger: &Logger, group: Gid) -> io::Result<()> {
    let peer = getsockopt(&stream, PeerCredentials)?;
    let (uid, gid) = (Uid::from_raw(peer.uid()), Gid::from_raw(peer.gid()));
    let deadline_in = deadline();
    // The request is read before it is refused: closing with unread bytes would
    // reset the connection and lose the answer.
    let request = read_request(&stream, deadline_in);
    let reply = if !may(uid, gid, group) {
        logger.warn("admin socket: refused").int("uid", uid.as_raw()).int("pid", peer.pid()).send();
        problem(403, "admin/forbidden", "only root, the server's user and the socket's group may ask")
    } else {
        match request {
            Ok(request) => {
                if request.method == "POST" {
                    logger
                        .info("admin")
                        .str("path", &request.path)
                        .int("uid", uid.as_raw())
                        .int("pid", peer.pid())
                        .send();
                }
                route(&request, control)
            }
            Err(Refusal::Answer(answer)) => answer,
            Err(Refusal::Gone(error)) => return Err(error),
        }
    };
    answer(&stream, &reply, deadline())
}

/// Root, our own user, members of the socket's group.
fn may(uid: Uid, gid: Gid, group: Gid) -> bool {
    if uid.is_root() || uid == geteuid() || gid == group {
        return true;
    }
    // SO_PEERCRED has no supplementary groups: ask the user database.
    let Ok(Some(user)) = User::from_uid(uid) else { return false };
    let Ok(name) = std::ffi::CString::new(user.name) else { return false };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&group))
}

fn route(request: &Request, control: &dyn Control) -> Answer {
    let result = |result: Result<Value, ControlError>| match result {
        Ok(value) => ok(&value),
        Err(error) => problem(error.status, error.code, &error.detail),
    };
    let path = request.path.split('?').next().unwrap_or_default();
    match (path, request.method.as_str()) {
        ("/v1/status", "GET") => ok(&control.status()),
        ("/v1/routes", "GET") => ok(&control.routes()),
        ("/v1/topology", "GET") => ok(&control.topology()),
        ("/v1/metrics", "GET") => Answer {
            status: 200,
            content_type: crate::metrics::CONTENT_TYPE,
            allow: None,
            body: control.metrics().into_bytes(),
        },
        ("/v1/deploy", "POST") => result(control.deploy()),
        ("/v1/drain", "POST") => result(control.drain()),
        ("/v1/kv" | "/v1/task" | "/v1/eval", "POST") => match serde_json::from_slice(&request.body) {
            Ok(command) if path == "/v1/kv" => result(control.kv(&command)),
            Ok(command) if path == "/v1/eval" => result(control.eval(&command)),
            Ok(command) => result(control.task(&command)),
            Err(error) => problem(400, "admin/json", &format!("the body isn't JSON: {error}")),
        },
        ("/v1/status" | "/v1/routes" | "/v1/topology" | "/v1/metrics", _) => {
            Answer { allow: Some("GET"), ..problem(405, "admin/method", "this is read with GET") }
        }
        ("/v1/deploy" | "/v1/drain" | "/v1/kv" | "/v1/task" | "/v1/eval", _) => {
            Answer { allow: Some("POST"), ..problem(405, "admin/method", "this is done with POST") }
        }
        _ => problem(404, "admin/not-found", "there is no such path on the admin socket"),
    }
}

/// A request with its body.
struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

enum Refusal {
    Answer(Answer),
    Gone(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

fn deadline() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "timeouts of the admin threads, which are no core's")]
    let now = Instant::now();
    now + PEER_TIMEOUT
}

/// Time until `deadline`, as a socket option takes it.
fn left(deadline: Instant) -> io::Result<Option<Duration>> {
    #[expect(clippy::disallowed_methods, reason = "timeouts of the admin threads, which are no core's")]
    let now = Instant::now();
    match deadline.checked_duration_since(now).filter(|left| !left.is_zero()) {
        Some(left) => Ok(Some(left)),
        None => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn read_request(stream: &UnixStream, deadline: Instant) -> Result<Request, Refusal> {
    let refuse = |status, code, detail: &str| Refusal::Answer(problem(status, code, detail));
    let mut bytes = Vec::with_capacity(1024);
    let mut chunk = [0; 4096];
    let mut more = |bytes: &mut Vec<u8>| -> Result<(), Refusal> {
        let mut input = stream;
        input.set_read_timeout(left(deadline)?)?;
        let count = input.read(&mut chunk)?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        bytes.extend_from_slice(&chunk[..count]);
        Ok(())
    };
    let (mut request, head_bytes, body_bytes, expects) = loop {
        more(&mut bytes)?;
        let mut headers = [httparse::EMPTY_HEADER; HEADER_COUNT_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(&bytes) {
            Ok(httparse::Status::Complete(head)) => {
                let mut length = 0;
                let mut expects = false;
                for header in parsed.headers.iter() {
                    if header.name.eq_ignore_ascii_case("transfer-encoding") {
                        return Err(refuse(411, "admin/length", "send a body with Content-Length"));
                    }
                    if header.name.eq_ignore_ascii_case("content-length") {
                        let text = std::str::from_utf8(header.value).unwrap_or_default();
                        length = match text.parse::<usize>() {
                            Ok(length) if length <= BODY_BYTES_MAX => length,
                            Ok(_) => return Err(refuse(413, "admin/body", "the body is too large")),
                            Err(_) => {
                                return Err(refuse(400, "admin/request", "Content-Length is no number"));
                            }
                        };
                    }
                    // curl asks before it sends a larger body (RFC 9110 section 10.1.1).
                    expects |= header.name.eq_ignore_ascii_case("expect");
                }
                let request = Request {
                    method: parsed.method.unwrap_or_default().to_owned(),
                    path: parsed.path.unwrap_or_default().to_owned(),
                    body: Vec::new(),
                };
                break (request, head, length, expects);
            }
            Ok(httparse::Status::Partial) if bytes.len() <= HEAD_BYTES_MAX => {}
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(refuse(431, "admin/head", "the head of the request is too large"));
            }
            Err(_) => return Err(refuse(400, "admin/request", "this is not an HTTP/1.1 request")),
        }
    };
    if expects && bytes.len() < head_bytes + body_bytes {
        let mut out = stream;
        out.set_write_timeout(left(deadline)?)?;
        out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    while bytes.len() < head_bytes + body_bytes {
        more(&mut bytes)?;
    }
    request.body = bytes[head_bytes..head_bytes + body_bytes].to_vec();
    Ok(request)
}

fn answer(mut stream: &UnixStream, answer: &Answer, deadline: Instant) -> io::Result<()> {
    let allow = answer.allow.map_or_else(String::new, |methods| format!("Allow: {methods}\r\n"));
    let mut bytes = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        answer.status,
        reason(answer.status),
        answer.content_type,
        answer.body.len(),
    )
    .into_bytes();
    bytes.extend_from_slice(&answer.body);
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        stream.set_write_timeout(left(deadline)?)?;
        match stream.write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    stream.shutdown(Shutdown::Write)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}
