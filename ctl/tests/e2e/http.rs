//! A raw HTTP/1.1 client: what is sent is what the test says, and an answer that
//! breaks a rule of RFC 9112 is a failure, not something to work around.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    /// Received, not yet part of an answer.
    rest: Vec<u8>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) minor: u8,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The one field of this name (lower case).
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        let first = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "two fields {name}: {self:?}");
        first
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body that is UTF-8")
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// `status body`, for comparisons that read well.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body))
    }

    /// Problem details with this status and code (RFC 9457); gives `detail`.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self}");
        let value = self.json();
        assert_eq!(
            (self.status, &value["status"], &value["code"]),
            (status, &Value::from(status), &Value::from(code)),
            "{self}"
        );
        assert!(value["title"].as_str().is_some_and(|title| !title.is_empty()), "{self}");
        value["detail"].as_str().unwrap_or_default().to_owned()
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}\n{}", self.status, self.headers, String::from_utf8_lossy(&self.body))
    }
}

/// A request with a body if there is one; keeps the connection.
pub(crate) fn request(method: &str, path: &str, body: Option<&str>) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
    if let Some(body) = body {
        text.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    } else {
        text.push_str("\r\n");
    }
    text.into_bytes()
}

impl Client {
    /// Connects; tries again for a moment (a listener's queue may be full).
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    pub(crate) fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, rest: Vec::new() })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("send");
    }

    /// As `send`, for peers that may be dead.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, None)
    }

    #[track_caller]
    pub(crate) fn post(&mut self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, Some(body))
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: Option<&str>) -> Answer {
        self.send(&request(method, path, body));
        self.answer(method)
    }

    /// The next answer; `method` is the request's: HEAD has no body.
    #[track_caller]
    pub(crate) fn answer(&mut self, method: &str) -> Answer {
        match self.try_answer(method) {
            Ok(answer) => answer,
            Err(error) => panic!("no answer: {error}; received: {:?}", String::from_utf8_lossy(&self.rest)),
        }
    }

    /// As `answer`; errors are those of the connection. Broken answers still panic.
    pub(crate) fn try_answer(&mut self, method: &str) -> std::io::Result<Answer> {
        let end = loop {
            if let Some(at) = find(&self.rest, b"\r\n\r\n") {
                break at;
            }
            self.more()?;
        };
        let head = String::from_utf8(self.rest[..end].to_vec()).expect("a head that is ASCII");
        assert!(head.is_ascii(), "{head:?}");
        self.rest.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let (minor, status) = status_line(lines.next().unwrap());
        let headers: Vec<(String, String)> = lines.map(field).collect();
        let mut answer = Answer { minor, status, headers, body: Vec::new() };
        if (100..200).contains(&status) {
            return Ok(answer);
        }
        assert!(answer.header("date").is_some_and(|date| date.ends_with(" GMT")), "Date: {head}");
        let length = answer.header("content-length").map(str::to_owned);
        let chunked = answer.header("transfer-encoding").map(str::to_owned);
        assert!(length.is_none() || chunked.is_none(), "both framings: {head}");
        if method == "HEAD" || status == 204 || status == 304 {
            assert!(status != 204 || (length.is_none() && chunked.is_none()), "RFC 9110 8.6: {head}");
            return Ok(answer);
        }
        if let Some(coding) = chunked {
            assert_eq!(coding, "chunked");
            answer.body = self.chunks()?;
        } else {
            let length: usize = length.unwrap_or_else(|| panic!("no framing: {head}")).parse().unwrap();
            answer.body = self.take(length)?;
        }
        Ok(answer)
    }

    fn chunks(&mut self) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line_end = loop {
                if let Some(at) = find(&self.rest, b"\r\n") {
                    break at;
                }
                self.more()?;
            };
            let line = String::from_utf8(self.rest[..line_end].to_vec()).unwrap();
            self.rest.drain(..line_end + 2);
            let size = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("chunk size {line:?}"));
            body.extend(self.take(size)?);
            assert_eq!(self.take(2)?, b"\r\n");
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn take(&mut self, count: usize) -> std::io::Result<Vec<u8>> {
        while self.rest.len() < count {
            self.more()?;
        }
        Ok(self.rest.drain(..count).collect())
    }

    fn more(&mut self) -> std::io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer)? {
            0 => Err(std::io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
            count => {
                self.rest.extend_from_slice(&buffer[..count]);
                Ok(())
            }
        }
    }

    /// The server has closed, in order, without a byte more.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let mut byte = [0];
        assert!(self.rest.is_empty(), "more came: {:?}", String::from_utf8_lossy(&self.rest));
        match self.stream.read(&mut byte) {
            Ok(0) => {}
            Ok(_) => panic!("more came"),
            Err(error) => panic!("no orderly end: {error}"),
        }
    }

    /// Nothing comes for `time`.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self, time: Duration) {
        assert!(self.rest.is_empty());
        self.stream.set_read_timeout(Some(time)).unwrap();
        let mut byte = [0];
        let got = self.stream.read(&mut byte);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let error = got.expect_err("silence");
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    }

    /// A GET and how long it took.
    #[track_caller]
    pub(crate) fn timed(&mut self, path: &str) -> (Answer, Duration) {
        let start = Instant::now();
        let answer = self.get(path);
        (answer, start.elapsed())
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// `HTTP/1.x SSS reason`, RFC 9112 section 4.
fn status_line(line: &str) -> (u8, u16) {
    let rest = line.strip_prefix("HTTP/1.").unwrap_or_else(|| panic!("status line {line:?}"));
    let bytes = rest.as_bytes();
    assert!(
        bytes.len() >= 6
            && matches!(bytes[0], b'0' | b'1')
            && bytes[1] == b' '
            && bytes[2..5].iter().all(u8::is_ascii_digit)
            && bytes[5] == b' ',
        "status line {line:?}"
    );
    let status = rest[2..5].parse().unwrap();
    assert!((100..600).contains(&status), "{line:?}");
    (bytes[0] - b'0', status)
}

/// `name: value`, RFC 9112 section 5; the name in lower case.
fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("field {line:?}"));
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    assert!(!name.is_empty() && name.bytes().all(token), "field name {line:?}");
    let value = value.trim_matches([' ', '\t']);
    assert!(value.bytes().all(|b| b == b'\t' || (b' '..0x7f).contains(&b)), "field value {line:?}");
    (name.to_ascii_lowercase(), value.to_owned())
}
