//! Requests that we send, byte for byte, and answers, cut at every byte.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use forebay_http::Method;
use forebay_http::client::{ClientRequest, Progress, ResponseDecoder, ResponseLimits};
use forebay_http::response::HeaderError;
use forebay_http::url::Url;

fn request<'a>(method: Method, url: &'a str) -> ClientRequest<'a> {
    ClientRequest { method, url: Url::parse(url).unwrap(), headers: &[], body: None, keep_alive: true }
}

fn text(request: &ClientRequest<'_>) -> Result<String, HeaderError> {
    let mut out = Vec::new();
    let result = request.write(&mut out);
    assert!(result.is_ok() || out.is_empty(), "an error writes nothing");
    result.map(|()| String::from_utf8(out).unwrap())
}

#[test]
fn requests() {
    let get = request(Method::Get, "http://a.example:81/x?y#z");
    assert_eq!(text(&get).as_deref(), Ok("GET /x?y HTTP/1.1\r\nHost: a.example:81\r\n\r\n"));
    let post = ClientRequest {
        headers: &[("Content-Type", b"application/json"), ("X", b" padded ")],
        body: Some(b"{}"),
        keep_alive: false,
        ..request(Method::Post, "http://[::1]")
    };
    assert_eq!(
        text(&post).as_deref(),
        Ok(
            "POST / HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/json\r\nX: padded\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        )
    );
    let empty = request(Method::Put, "http://a");
    assert_eq!(text(&empty).as_deref(), Ok("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));

    let with = |name, value| text(&ClientRequest { headers: &[("A", b"b"), (name, value)], ..get });
    assert_eq!(with("X", b"1\r\nY: 2"), Err(HeaderError::Value));
    assert_eq!(with("X Y", b"1"), Err(HeaderError::Name));
    for name in ["Host", "content-length", "Transfer-Encoding", "Connection", "Expect"] {
        assert_eq!(with(name, b"1"), Err(HeaderError::Reserved), "{name}");
    }
    assert!(text(&request(Method::Other, "http://a")).is_err());
    assert!(text(&request(Method::Connect, "http://a")).is_err());
}

const LIMITS: ResponseLimits = ResponseLimits { head_bytes: 256, body_bytes: 32 };

/// `200 keep [body] +rest`, or the error; `...` if the answer isn't complete.
fn run<'a>(method: Method, pieces: impl IntoIterator<Item = &'a [u8]>, eof: bool) -> String {
    let mut decoder = ResponseDecoder::new(method, LIMITS);
    let mut rest = 0;
    for piece in pieces {
        match decoder.decode(piece) {
            Ok(Progress::More) => {}
            Ok(Progress::Done { consumed }) => rest += piece.len() - consumed,
            Err(error) => return format!("{error:?}"),
        }
    }
    if eof && let Err(error) = decoder.finish() {
        return format!("{error:?}");
    }
    let Some(response) = decoder.response() else { return "...".to_owned() };
    let mut line = response.status().to_string();
    if response.keep_alive() {
        line += " keep";
    }
    if let Some(value) = response.field("x") {
        line += &format!(" x={}", String::from_utf8_lossy(value));
    }
    if !response.body().is_empty() {
        line += &format!(" [{}]", String::from_utf8_lossy(response.body()));
    }
    if rest > 0 {
        line += &format!(" +{rest}");
    }
    line
}

#[track_caller]
fn check_as(method: Method, input: &str, eof: bool, expect: &str) {
    let input = input.as_bytes();
    let shown = String::from_utf8_lossy(input);
    assert_eq!(run(method, [input], eof), expect, "whole: {shown:?}");
    assert_eq!(run(method, input.chunks(1), eof), expect, "byte by byte: {shown:?}");
    for at in 0..=input.len() {
        let (left, right) = input.split_at(at);
        assert_eq!(run(method, [left, right], eof), expect, "cut at {at}: {shown:?}");
    }
}

#[track_caller]
fn check(input: &str, expect: &str) {
    check_as(Method::Get, input, false, expect);
}

#[test]
fn answers() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 keep [hello]");
    check("HTTP/1.1 200 OK\r\nX: a b \r\nContent-Length: 0\r\n\r\n", "200 keep x=a b");
    check("HTTP/1.1 404 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "404");
    check("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "200 keep");
    check("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", "200 [a]");
    check("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\na", "200 keep [a]");
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n1\r\n!\r\n0\r\nT: 1\r\n\r\n",
        "200 keep [hello!]",
    );
    check("HTTP/1.1 204 No Content\r\n\r\n", "204 keep");
    check("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "304 keep");
    check("HTTP/1.1 799 ?\r\nContent-Length: 0\r\n\r\n", "799 keep");
    check_as(Method::Head, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", false, "200 keep");
    check_as(Method::Head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, "200 keep");
    check(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
        "200 keep [a]",
    );
}

#[test]
fn ends() {
    check("HTTP/1.1 200 OK\r\n\r\nhello", "...");
    check_as(Method::Get, "HTTP/1.1 200 OK\r\n\r\nhello", true, "200 [hello]");
    check_as(Method::Get, "HTTP/1.1 200 OK\r\n\r\n", true, "200");
    for cut in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        check_as(Method::Get, cut, true, "CutShort");
        check(cut, "...");
    }
    check("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc", "200 keep [a] +2");
    check("HTTP/1.1 204 x\r\n\r\nabc", "204 keep +3");
}

#[test]
fn what_a_server_may_not_do() {
    for (input, expect) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "Framing"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n", "Framing"),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "Framing"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "Framing"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "Framing"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "Framing"),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "Framing"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "Chunked(ChunkSize)"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n", "BodyTooLarge"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n21\r\n", "BodyTooLarge"),
        ("HTTP/1.1 101 Switching\r\n\r\n", "Upgrade"),
        ("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "Head"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n", "Head"),
        ("HTTP/1.1 200 OK\r\nX : 1\r\n\r\n", "Head"),
        ("HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n", "Head"),
        ("HTTP/2.0 200 OK\r\n\r\n", "Head"),
        ("HTTP/1.1 20 OK\r\n\r\n", "Head"),
        ("HTTP/1.1 099 OK\r\n\r\n", "Head"),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", "Head"),
        ("ICY 200 OK\r\n\r\n", "Head"),
    ] {
        check(input, expect);
    }
    check(&format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(300)), "HeadTooLarge");
    check(&format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(33)), "BodyTooLarge");
    check(&"HTTP/1.1 100 Continue\r\n\r\n".repeat(17), "TooManyInterim");
}

#[test]
fn what_is_untouched_may_be_tried_again() {
    let mut decoder = ResponseDecoder::new(Method::Get, LIMITS);
    assert!(decoder.is_untouched());
    decoder.decode(b"H").unwrap();
    assert!(!decoder.is_untouched());
}
