//! The load: one thread, epoll, N keep-alive connections, D requests in flight
//! on each. Every answer is parsed and compared (status and body) before it
//! counts. Two modes:
//!
//! * **saturated**: the next burst leaves when the last one is answered;
//! * **open loop**: bursts leave on a schedule, and latency counts from the time at
//!   which a burst should have left, so that a stalled server can't hide
//!   (coordinated omission).

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// What is sent and what must come back.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// One request, whole.
    pub(crate) request: Vec<u8>,
    /// What the body of the 200 answer must be.
    pub(crate) body: Expect,
}

/// What a body must be.
#[derive(Clone, Debug)]
pub(crate) enum Expect {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What this finds nothing wrong with.
    Checked(fn(&[u8]) -> Result<(), String>),
}

impl Expect {
    fn check(&self, body: &[u8]) -> Result<(), String> {
        match self {
            Self::Bytes(bytes) if bytes == body => Ok(()),
            Self::Bytes(_) => Err(format!("wrong body: {}", String::from_utf8_lossy(body))),
            Self::Checked(check) => {
                check(body).map_err(|why| format!("{why}: {}", String::from_utf8_lossy(body)))
            }
        }
    }
}

/// How it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Keep-alive connections.
    pub(crate) connections: usize,
    /// Requests in flight on each connection.
    pub(crate) pipeline: usize,
    /// Requests per second over all connections; saturated if `None`.
    pub(crate) rate: Option<u64>,
    /// How long.
    pub(crate) time: Duration,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Answers with the right status and body.
    pub(crate) verified: u64,
    /// Wall time from the first to the last answer.
    pub(crate) elapsed: Duration,
    /// Latency of each burst, microseconds.
    pub(crate) latency: Histogram<u64>,
}

struct Connection {
    stream: TcpStream,
    /// Unparsed bytes of answers.
    input: Vec<u8>,
    /// Bytes of the burst that the socket didn't take yet.
    output_sent: usize,
    /// Answers that the burst in flight still misses.
    missing: usize,
    /// When the burst in flight left, or should have left.
    since: Instant,
    /// Open loop: bursts whose time has come while another is in flight.
    due: VecDeque<Instant>,
}

/// Runs the load. Errors say what was wrong with which answer.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub(crate) fn run(addr: SocketAddr, exchange: &Exchange, load: Load) -> Result<Outcome, String> {
    let burst = exchange.request.repeat(load.pipeline);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|e| e.to_string())?;
    let mut connections = Vec::with_capacity(load.connections);
    for index in 0..load.connections {
        let stream = TcpStream::connect(addr).map_err(|e| format!("connect {addr}: {e}"))?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        stream.set_nonblocking(true).map_err(|e| e.to_string())?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
        epoll.add(stream.as_fd(), event).map_err(|e| e.to_string())?;
        connections.push(Connection {
            stream,
            input: Vec::with_capacity(64 * 1024),
            output_sent: burst.len(),
            missing: 0,
            since: Instant::now(),
            due: VecDeque::new(),
        });
    }
    let mut latency = Histogram::new_with_bounds(1, 60_000_000, 3).map_err(|e| e.to_string())?;
    let mut verified = 0;
    let start = Instant::now();
    let end = start + load.time;
    let interval =
        load.rate.map(|rate| Duration::from_nanos(1_000_000_000 * load.pipeline as u64 / rate.max(1)));
    let mut next_due = start;
    let mut turn = 0;
    if interval.is_none() {
        for connection in &mut connections {
            begin(connection, &burst, load.pipeline, start)?;
        }
    }
    let mut events = vec![EpollEvent::empty(); 256];
    loop {
        let now = Instant::now();
        if let Some(interval) = interval {
            while next_due <= now && next_due < end {
                let index = turn % connections.len();
                let connection = &mut connections[index];
                turn += 1;
                if connection.missing == 0 {
                    begin(connection, &burst, load.pipeline, next_due)?;
                } else {
                    connection.due.push_back(next_due);
                }
                next_due += interval;
            }
        }
        let idle = connections.iter().all(|c| c.missing == 0);
        if now >= end && idle {
            break;
        }
        if now >= end + Duration::from_secs(10) {
            return Err("answers are missing 10 s after the end".into());
        }
        // Sub-millisecond schedules are kept by spinning: the client has its own core.
        let timeout = if interval.is_some() { EpollTimeout::ZERO } else { EpollTimeout::from(100u8) };
        let ready = match epoll.wait(&mut events, timeout) {
            Ok(ready) => ready,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(format!("epoll_wait: {error}")),
        };
        for event in &events[..ready] {
            #[expect(clippy::cast_possible_truncation, reason = "an index that we registered")]
            let connection = &mut connections[event.data() as usize];
            receive(connection)?;
            let answered = verify(&mut connection.input, exchange, connection.missing)?;
            verified += answered as u64;
            connection.missing -= answered;
            if connection.missing == 0 && answered > 0 {
                let now = Instant::now();
                let micros = u64::try_from((now - connection.since).as_micros()).unwrap_or(u64::MAX);
                latency.saturating_record(micros.max(1));
                if interval.is_some() {
                    if let Some(due) = connection.due.pop_front() {
                        begin(connection, &burst, load.pipeline, due)?;
                    }
                } else if now < end {
                    begin(connection, &burst, load.pipeline, now)?;
                }
            } else if connection.output_sent < burst.len() {
                send(connection, &burst)?;
            }
        }
    }
    Ok(Outcome { verified, elapsed: start.elapsed(), latency })
}

/// One request on a connection of its own; the body of its 200 answer.
pub(crate) fn get(addr: SocketAddr, path: &str) -> Result<Vec<u8>, String> {
    let mut stream = TcpStream::connect(addr).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(|e| e.to_string())?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|e| e.to_string())?;
    let mut input = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        if let Some(head) = memchr::memmem::find(&input, b"\r\n\r\n") {
            let length = content_length(&input[..head]).ok_or("no Content-Length")?;
            if input.len() >= head + 4 + length {
                return Ok(input[head + 4..head + 4 + length].to_vec());
            }
        }
        match stream.read(&mut chunk).map_err(|e| e.to_string())? {
            0 => return Err(format!("ended early: {}", String::from_utf8_lossy(&input))),
            count => input.extend_from_slice(&chunk[..count]),
        }
    }
}

fn begin(connection: &mut Connection, burst: &[u8], count: usize, since: Instant) -> Result<(), String> {
    connection.missing = count;
    connection.since = since;
    connection.output_sent = 0;
    send(connection, burst)
}

fn send(connection: &mut Connection, burst: &[u8]) -> Result<(), String> {
    while connection.output_sent < burst.len() {
        match connection.stream.write(&burst[connection.output_sent..]) {
            Ok(sent) => connection.output_sent += sent,
            // A burst is a few KiB: it fits the socket buffer that the answers drain.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(format!("send: {error}")),
        }
    }
    Ok(())
}

fn receive(connection: &mut Connection) -> Result<(), String> {
    let mut chunk = [0; 64 * 1024];
    match connection.stream.read(&mut chunk) {
        Ok(0) => Err("the server closed the connection".into()),
        Ok(count) => {
            connection.input.extend_from_slice(&chunk[..count]);
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(format!("recv: {error}")),
    }
}

/// Takes whole answers off `input`; every one must be the expected one.
fn verify(input: &mut Vec<u8>, exchange: &Exchange, missing: usize) -> Result<usize, String> {
    let mut at = 0;
    let mut answers = 0;
    while let Some(head_len) = memchr::memmem::find(&input[at..], b"\r\n\r\n") {
        let head = &input[at..at + head_len];
        let body_start = at + head_len + 4;
        if !head.starts_with(b"HTTP/1.1 200 ") {
            return Err(format!("unexpected answer: {}", String::from_utf8_lossy(&input[at..])));
        }
        let length = content_length(head)
            .ok_or_else(|| format!("no Content-Length: {}", String::from_utf8_lossy(head)))?;
        if input.len() < body_start + length {
            break;
        }
        exchange.body.check(&input[body_start..body_start + length])?;
        at = body_start + length;
        answers += 1;
        if answers > missing {
            return Err("more answers than requests".into());
        }
    }
    input.drain(..at);
    Ok(answers)
}

pub(crate) fn content_length(head: &[u8]) -> Option<usize> {
    for line in head.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > 15 && line[..15].eq_ignore_ascii_case(b"content-length:") {
            return std::str::from_utf8(&line[15..]).ok()?.trim().parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange() -> Exchange {
        Exchange { request: Vec::new(), body: Expect::Bytes(b"ok".to_vec()) }
    }

    #[test]
    fn only_the_right_answer_counts() {
        let good = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let mut input = [&good[..], &good[..], &good[..20]].concat();
        assert_eq!(verify(&mut input, &exchange(), 3), Ok(2));
        assert_eq!(input, &good[..20]);
        for bad in [
            &b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nok"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
            b"HTTP/1.1 200 OK\r\n\r\nok",
        ] {
            assert!(verify(&mut bad.to_vec(), &exchange(), 1).is_err());
        }
        assert!(verify(&mut [&good[..], &good[..]].concat(), &exchange(), 1).is_err());
    }
}
