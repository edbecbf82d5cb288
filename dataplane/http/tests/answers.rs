//! Answers, byte for byte.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use forebay_base::Timestamp;
use forebay_http::percent::EncodingError;
use forebay_http::response::{HeaderError, check_header};
use forebay_http::{DateCache, Problem, Reply, RequestError, ResponseWriter, Version};

const GET: Reply = Reply { version: Version::Http11, head: false, keep_alive: true };
const DATE: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

fn date() -> DateCache {
    DateCache::new(Timestamp(784_111_777_000_000))
}

/// Writes an answer behind another one and compares it, with `{date}` for the Date line.
#[track_caller]
fn check(reply: Reply, status: u16, write: impl Fn(ResponseWriter<'_>), expect: &str) {
    let mut out = b"before".to_vec();
    write(ResponseWriter::new(&mut out, reply, status, &date()));
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out.strip_prefix("before").unwrap(), expect.replace("{date}", DATE));
}

#[test]
fn hello_is_as_small_as_it_gets() {
    let write = |mut response: ResponseWriter<'_>| {
        response.content_type("text/plain");
        response.body(b"Hello, World!");
    };
    let expect =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n{date}\r\nHello, World!";
    check(GET, 200, write, expect);
    assert_eq!(expect.replace("{date}", DATE).len(), 115);
}

#[test]
fn a_length_that_is_known_last() {
    let write = |mut response: ResponseWriter<'_>| {
        response.content_type("application/json");
        let mut body = response.begin_body();
        assert!(body.is_empty());
        body.out().extend_from_slice(b"{\"a\":");
        body.out().extend_from_slice(b"1}");
        assert_eq!(body.len(), 7);
        body.finish();
    };
    let head =
        "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length:          7\r\n{date}\r\n";
    check(GET, 201, write, &format!("{head}{{\"a\":1}}"));
    check(Reply { head: true, ..GET }, 201, write, head);
    check(GET, 204, write, "HTTP/1.1 204 No Content\r\nContent-Type: application/json\r\n{date}\r\n");
    check(
        GET,
        205,
        write,
        "HTTP/1.1 205 Reset Content\r\nContent-Type: application/json\r\nContent-Length: 0\r\n{date}\r\n",
    );
}

#[test]
fn half_an_answer_leaves_nothing() {
    let write = |response: ResponseWriter<'_>| {
        let mut body = response.begin_body();
        body.out().extend_from_slice(b"{\"half\":");
    };
    check(GET, 200, write, "");
    let write = |mut response: ResponseWriter<'_>| {
        let _ = response.header("X", b"1").and_then(|()| response.header("Y", b"\n"));
    };
    check(GET, 200, write, "");
}

#[test]
fn bodies_that_must_not_be() {
    let write = |response: ResponseWriter<'_>| response.body(b"body");
    check(GET, 304, write, "HTTP/1.1 304 Not Modified\r\n{date}\r\n");
    check(GET, 204, write, "HTTP/1.1 204 No Content\r\n{date}\r\n");
    check(Reply { head: true, ..GET }, 200, write, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n{date}\r\n");
    let empty = |response: ResponseWriter<'_>| response.no_body();
    check(GET, 200, empty, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{date}\r\n");
    check(GET, 204, empty, "HTTP/1.1 204 No Content\r\n{date}\r\n");
    let file = |reply| {
        let mut out = Vec::new();
        let send = ResponseWriter::new(&mut out, reply, 200, &date()).body_elsewhere(5_000_000_000);
        (send, String::from_utf8(out).unwrap().contains("Content-Length: 5000000000\r\n"))
    };
    assert_eq!((file(GET), file(Reply { head: true, ..GET })), ((true, true), (false, true)));
}

#[test]
fn connections() {
    let write = |response: ResponseWriter<'_>| response.no_body();
    check(
        GET.and_close(),
        200,
        write,
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{date}Connection: close\r\n\r\n",
    );
    let old = Reply { version: Version::Http10, ..GET };
    check(old, 200, write, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{date}Connection: keep-alive\r\n\r\n");
    check(
        old.and_close(),
        200,
        write,
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{date}Connection: close\r\n\r\n",
    );
}

#[test]
fn statuses() {
    let line = |status| {
        let mut out = Vec::new();
        ResponseWriter::new(&mut out, GET, status, &date()).no_body();
        String::from_utf8(out).unwrap().lines().next().unwrap().to_owned()
    };
    assert_eq!(line(404), "HTTP/1.1 404 Not Found");
    assert_eq!(line(299), "HTTP/1.1 299 ");
    assert_eq!(line(599), "HTTP/1.1 599 ");
    for wrong in [0, 100, 199, 600, u16::MAX] {
        assert_eq!(line(wrong), "HTTP/1.1 500 Internal Server Error");
    }
}

#[test]
fn headers_of_scripts_cannot_split_an_answer() {
    let write = |mut response: ResponseWriter<'_>| {
        assert_eq!(response.header("X-A", b"1"), Ok(()));
        assert_eq!(response.header("X-A", b"  two words\t"), Ok(()));
        assert_eq!(response.header("X-Empty", b""), Ok(()));
        assert_eq!(response.header("X-Utf8", "é".as_bytes()), Ok(()));
        for value in ["a\r\nB: c", "a\nB: c", "a\rb", "a\0b", "\x7f", "\x1b[0m"] {
            assert_eq!(response.header("X", value.as_bytes()), Err(HeaderError::Value), "{value:?}");
        }
        for name in ["", "a b", "a:", "a\r\n", "é", "a\0", "(a)"] {
            assert_eq!(response.header(name, b"1"), Err(HeaderError::Name), "{name:?}");
        }
        for name in
            ["Content-Length", "TRANSFER-ENCODING", "connection", "Upgrade", "Keep-Alive", "Trailer", "TE"]
        {
            assert_eq!(response.header(name, b"1"), Err(HeaderError::Reserved), "{name:?}");
        }
        assert_eq!(response.header("content-type", b"text/x"), Ok(()));
        response.content_type("text/dropped");
        assert_eq!(response.header("date", b"today"), Ok(()));
        assert_eq!(response.header("Date", b"tomorrow"), Ok(()));
        response.header_int("Age", 7);
        response.body(b"");
    };
    check(
        GET,
        200,
        write,
        "HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: two words\r\nX-Empty: \r\nX-Utf8: é\r\ncontent-type: text/x\r\ndate: today\r\nAge: 7\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(check_header("X", b"1"), Ok(()));
}

#[test]
fn problems() {
    let write = |problem: &Problem<'_>, reply| {
        let mut out = Vec::new();
        problem.write(&mut out, reply, &date());
        String::from_utf8(out).unwrap().replace(DATE, "{date}")
    };
    let body = r#"{"title":"Not Found","status":404,"code":"no_route","detail":"nothing is served under this path"}"#;
    assert_eq!(
        write(&Problem::not_found(), GET),
        format!(
            "HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json\r\nContent-Length:         {}\r\n{{date}}\r\n{body}",
            body.len()
        )
    );
    let text = write(&Problem::method_not_allowed("GET, HEAD"), GET);
    assert!(text.contains("\r\nAllow: GET, HEAD\r\n"), "{text}");
    let text = write(&Problem::unavailable("queue_full", "", 2), GET);
    assert!(
        text.starts_with("HTTP/1.1 503 Service Unavailable\r\n") && text.contains("\r\nRetry-After: 2\r\n"),
        "{text}"
    );
    assert!(text.ends_with(r#"{"title":"Service Unavailable","status":503,"code":"queue_full"}"#), "{text}");
    let text = write(&Problem::new(500, "script_error", "a \"b\" \\ \n\t é"), GET.and_close());
    assert!(text.ends_with(r#""detail":"a \"b\" \\ \n\u0009 é"}"#), "{text}");
    let text = write(&EncodingError::DotSegment.problem(), GET);
    assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n") && text.contains("dot_segment"), "{text}");
}

#[test]
fn every_refusal_has_an_answer() {
    let mut codes = std::collections::HashSet::new();
    for error in RequestError::ALL {
        assert!(matches!(error.status(), 400..=599) && error.closes());
        assert!(!forebay_http::method::reason(error.status()).is_empty(), "{error}");
        assert!(codes.insert(error.code()), "{} twice", error.code());
        let mut out = Vec::new();
        error.problem().write(&mut out, Reply::closing(), &date());
        assert!(String::from_utf8(out).unwrap().contains("\r\nConnection: close\r\n"));
    }
}
