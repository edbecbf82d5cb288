//! The client side, `forebay ctl`: asks once and prints, as tables for people or
//! as the server's JSON.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Map, Value};

use super::{ANSWER_BYTES_MAX, ANSWER_TIMEOUT, PEER_TIMEOUT, short_path};

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body, UTF-8.
    pub body: String,
}

/// Sends one request and reads the whole answer.
///
/// # Errors
/// Of the socket; `InvalidData` if the answer is not one, or too large.
pub fn ask(socket: &Path, method: &str, path: &str) -> io::Result<Reply> {
    send(socket, method, path, "")
}

/// As [`ask`], with a body.
///
/// # Errors
/// As [`ask`].
pub fn send(socket: &Path, method: &str, path: &str, body: &str) -> io::Result<Reply> {
    let (short, _folder) = short_path(socket)?;
    let mut stream = UnixStream::connect(short)?;
    stream.set_write_timeout(Some(PEER_TIMEOUT))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let length = if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: forebay\r\n{length}Connection: close\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > ANSWER_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too large"));
    }
    parse(&bytes).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP/1.1, or is cut off")
    })
}

fn parse(bytes: &[u8]) -> Option<Reply> {
    let mut headers = [httparse::EMPTY_HEADER; super::HEADER_COUNT_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).ok()? else { return None };
    let field = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    let length: usize = std::str::from_utf8(field.value).ok()?.parse().ok()?;
    let body = bytes.get(head..)?.get(..length)?;
    Some(Reply { status: response.code?, body: String::from_utf8(body.to_vec()).ok()? })
}

/// JSON for people: an object as aligned lines, a list of objects as a table.
#[must_use]
pub fn render(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(fields) => render_object(&mut text, fields, ""),
        Value::Array(items) => render_list(&mut text, items),
        other => text.push_str(&scalar(other)),
    }
    text.trim_end().to_owned()
}

fn render_object(text: &mut String, fields: &Map<String, Value>, above: &str) {
    let is_flat = |value: &Value| match value {
        Value::Array(items) => items.iter().all(|item| !item.is_object() && !item.is_array()),
        Value::Object(_) => false,
        _ => true,
    };
    let flat = || fields.iter().filter(|(_, value)| is_flat(value));
    let width = flat().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in flat() {
        let _ = writeln!(text, "{name:<width$}  {}", scalar(value));
    }
    // What has a shape of its own comes below, under its name.
    for (name, value) in fields.iter().filter(|(_, value)| !is_flat(value)) {
        if !text.is_empty() {
            text.push('\n');
        }
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        let _ = writeln!(text, "{path}:");
        match value {
            Value::Object(inner) => render_object(text, inner, &path),
            Value::Array(items) => render_list(text, items),
            _ => {}
        }
    }
}

fn render_list(text: &mut String, items: &[Value]) {
    let mut columns: Vec<&str> = Vec::new();
    for name in items.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let mut rows = vec![columns.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>()];
    for item in items {
        rows.push(match item.as_object() {
            Some(fields) => {
                columns.iter().map(|name| fields.get(*name).map_or_else(String::new, scalar)).collect()
            }
            None => vec![scalar(item)],
        });
    }
    let width_of =
        |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..columns.len().max(1)).map(|at| width_of(at).unwrap_or(0)).collect();
    for row in rows.iter().filter(|row| !row.is_empty()) {
        let mut line = String::new();
        for (cell, &width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// One cell. Control characters never reach the terminal.
fn scalar(value: &Value) -> String {
    let raw = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(scalar).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name}={}", scalar(value)))
            .collect::<Vec<_>>()
            .join(" "),
        other => other.to_string(),
    };
    if raw.chars().any(char::is_control) { raw.escape_debug().to_string() } else { raw }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_and_tables() {
        // serde_json keeps keys sorted.
        let value = json!({
            "version": "0.1.0", "uptime_seconds": 12.5, "listen": ["a", "b"],
            "routes": [{"method": "GET", "path": "/x"}, {"method": "POST", "path": "/long/path", "note": null}],
            "plan": {"placement": "inline", "lanes": [{"core": 0, "reactor": {"cpu": 0}}]},
        });
        assert_eq!(
            render(&value),
            "listen          a, b
uptime_seconds  12.5
version         0.1.0

plan:
placement  inline

plan.lanes:
CORE  REACTOR
0     cpu=0

routes:
METHOD  PATH        NOTE
GET     /x
POST    /long/path  -"
        );
        assert_eq!(render(&json!({"x": "a\u{1b}[31m"})), "x  a\\u{1b}[31m");
        assert_eq!(render(&json!([])), "");
        assert_eq!(render(&json!([1, 2])), "1\n2");
        assert_eq!(render(&json!("x")), "x");
    }

    #[test]
    fn answers() {
        let good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(parse(good), Some(Reply { status: 200, body: "ok".into() }));
        for cut in 0..good.len() {
            assert_eq!(parse(&good[..cut]), None);
        }
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n"), None);
    }
}
