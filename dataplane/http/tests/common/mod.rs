//! Drives a decoder as a connection would, and writes down what came out.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use forebay_base::limits::HttpLimits;
use forebay_http::decoder::{Decoded, Decoder, Scratch};
use forebay_http::head::{OwnedRequest, Request};

/// Small enough that every limit is reached by short tests.
pub fn limits() -> HttpLimits {
    HttpLimits {
        request_head_bytes: 512,
        uri_bytes: 64,
        header_count: 8,
        body_bytes: 64,
        ..HttpLimits::default()
    }
}

/// One line per request or error: `GET /a?q [body]`, `400 bad_host`; at the end
/// `...` if a request was cut short.
pub fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: &HttpLimits) -> Vec<String> {
    let mut scratch = Scratch::default();
    let mut decoder = Decoder::new(limits);
    let mut lines = Vec::new();
    for piece in pieces {
        let mut input = piece;
        loop {
            match decoder.decode(input, &mut scratch) {
                Ok(Decoded::Request(request)) => {
                    lines.push(line(&request));
                    input = &input[request.consumed..];
                }
                Ok(Decoded::Partial { .. }) => break,
                Err(error) => {
                    assert_eq!(
                        decoder.decode(b"GET / HTTP/1.1\r\n\r\n", &mut scratch).err(),
                        Some(error),
                        "errors are final"
                    );
                    lines.push(format!("{} {}", error.status(), error.code()));
                    return lines;
                }
            }
        }
    }
    if decoder.phase() != forebay_http::Phase::Idle {
        lines.push("...".to_owned());
    }
    lines
}

/// What the tests look at, also after a trip through an [`OwnedRequest`].
pub fn line(request: &Request<'_>) -> String {
    let describe = |request: &Request<'_>| {
        let head = request.head;
        let mut line = format!("{} {}", head.method_str(), head.path());
        if let Some(query) = head.query() {
            line += &format!("?{query}");
        }
        if head.field("x").is_some() {
            for (name, value) in head.fields() {
                line += &format!(" {name}={}", String::from_utf8_lossy(value));
            }
        }
        if !head.keep_alive() {
            line += " close";
        }
        if !request.body.is_empty() {
            line += &format!(" [{}]", String::from_utf8_lossy(request.body));
        }
        line
    };
    let mut owned = OwnedRequest::default();
    owned.assign(request);
    let line = describe(request);
    assert_eq!(describe(&owned.view()), line);
    line
}

/// Decodes `input` whole, byte by byte, and cut in two at every place: all agree with `expect`.
#[track_caller]
pub fn check_with(limits: &HttpLimits, input: impl AsRef<[u8]>, expect: &[&str]) {
    let input = input.as_ref();
    let shown = String::from_utf8_lossy(&input[..input.len().min(300)]).into_owned();
    assert_eq!(run([input], limits), expect, "whole: {shown:?}");
    assert_eq!(run(input.chunks(1), limits), expect, "byte by byte: {shown:?}");
    let step = (input.len() / 700).max(1);
    for at in (0..=input.len()).step_by(step) {
        let (left, right) = input.split_at(at);
        assert_eq!(run([left, right], limits), expect, "cut at {at}: {shown:?}");
    }
}

#[track_caller]
pub fn check(input: impl AsRef<[u8]>, expect: &[&str]) {
    check_with(&limits(), input, expect);
}
