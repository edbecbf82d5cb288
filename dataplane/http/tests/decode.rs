//! Requests that are served: forms, bodies, pipelining, limits, `Expect`.

mod common;

use common::{check, check_with, limits, run};
use forebay_base::limits::HttpLimits;
use forebay_http::decoder::{Decoded, Decoder, Phase, Scratch};

#[test]
fn heads() {
    check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /"]);
    check("GET /a/b?c=d&e HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /a/b?c=d&e"]);
    check("GET /? HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /?"]);
    check("GET //a//b?/../? HTTP/1.1\r\nHost: a\r\n\r\n", &["GET //a//b?/../?"]);
    check("PURGE /x HTTP/1.1\r\nHost: a\r\n\r\n", &["PURGE /x"]);
    check("get /x HTTP/1.1\r\nHost: a\r\n\r\n", &["get /x"]);
    check("GET / HTTP/1.1\r\nhOsT: a\r\nX:\r\n\r\n", &["GET / hOsT=a X="]);
    check("GET / HTTP/1.1\r\nHost:a\r\nX: \t b c \t \r\ny:\t\r\n\r\n", &["GET / Host=a X=b c y="]);
    check(b"GET / HTTP/1.1\r\nHost: a\r\nX: caf\xc3\xa9\r\n\r\n", &["GET / Host=a X=café"]);
    check("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\n\r\n", &["GET / Host=a X=1 X=2"]);
}

#[test]
fn hosts() {
    for host in
        ["a", "a.b-c_d~e", "A.EXAMPLE:8080", "127.0.0.1:1", "[::1]", "[2001:db8::1]:65535", "a:", "a:080"]
    {
        check(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), &["GET /"]);
    }
}

#[test]
fn target_forms() {
    check("GET http://b/x?y HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /x?y"]);
    check("GET HTTPS://b:8443 HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /"]);
    check("GET http://b?y=/ HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /?y=/"]);
    check("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &["OPTIONS *"]);
    check("OPTIONS /x HTTP/1.1\r\nHost: a\r\n\r\n", &["OPTIONS /x"]);
}

#[test]
fn the_targets_authority_replaces_host() {
    let mut scratch = Scratch::default();
    let mut decoder = Decoder::new(&limits());
    let mut authority = |input: &str| match decoder.decode(input.as_bytes(), &mut scratch) {
        Ok(Decoded::Request(request)) => request.head.authority().map(str::to_owned),
        other => panic!("{other:?}"),
    };
    assert_eq!(authority("GET http://b:80/ HTTP/1.1\r\nHost: a\r\n\r\n").as_deref(), Some("b:80"));
    assert_eq!(authority("GET / HTTP/1.1\r\nHost: a\r\n\r\n").as_deref(), Some("a"));
    assert_eq!(authority("GET / HTTP/1.0\r\n\r\n"), None);
}

#[test]
fn connections_live_or_close() {
    check("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &["GET / close"]);
    check("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE ,y\r\n\r\n", &["GET / close"]);
    check(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
        &["GET / close"],
    );
    check("GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", &["GET /"]);
    check("GET / HTTP/1.0\r\n\r\n", &["GET / close"]);
    check("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", &["GET /"]);
    check("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n", &["GET / close"]);
}

#[test]
fn bodies() {
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", &["POST /"]);
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello", &["POST / [hello]"]);
    check("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", &["GET / [hi]"]);
    check("PUT / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", &["PUT / close [hi]"]);
    check("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &["POST /"]);
    check(
        "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &["POST / [hello]"],
    );
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nh\r\n0000000000000004;q=\";\"\r\nello\r\n000;x\r\nT: 1\r\nU:\r\n\r\n",
        &["POST / [hello]"],
    );
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n\r\n0\r\n\r\nxyz\r\n0\r\n\r\n",
        &["POST / [\r\n0\r\n\r\nxyz]"],
    );
}

#[test]
fn pipelines() {
    check("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /1", "GET /2"]);
    check(
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nonePOST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /4 HTTP/1.0\r\n\r\nGET",
        &["POST /1 [one]", "POST /2 [two]", "GET /3", "GET /4 close", "..."],
    );
    check(
        "\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n\r\n",
        &["GET /1", "GET /2"],
    );
    check("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGARB@GE\r\n\r\n", &["GET /1", "400 bad_method"]);
    let many = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20);
    check(&many, &["GET /x"; 20]);
}

#[test]
fn cut_short() {
    for input in [
        "G",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r",
        "\r",
    ] {
        check(input, &["..."]);
    }
    check("", &[]);
    check("\r\n", &[]);
}

#[test]
fn limits_are_exact() {
    let limits = limits();
    let uri = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "u".repeat(len - 1));
    let served = |input: &str| run([input.as_bytes()], &limits).concat().starts_with("GET");
    assert!(served(&uri(limits.uri_bytes)));
    check(uri(limits.uri_bytes + 1), &["414 uri_too_long"]);
    check(uri(2000), &["414 uri_too_long"]);
    check("GET /".to_owned() + &"u".repeat(200), &["414 uri_too_long"]);

    let head = |len: usize| {
        let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
        format!("{start}{}\r\n\r\n", "v".repeat(len - start.len() - 4))
    };
    assert!(served(&head(limits.request_head_bytes)));
    check(head(limits.request_head_bytes + 1), &["431 head_too_large"]);
    check(head(limits.request_head_bytes * 3), &["431 head_too_large"]);
    check("M".repeat(600), &["431 head_too_large"]);

    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "F: 1\r\n".repeat(count - 1));
    check(fields(limits.header_count), &["GET /"]);
    check(fields(limits.header_count + 1), &["431 too_many_headers"]);

    let body = |len: usize| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
    assert_eq!(run([(body(64) + &"b".repeat(64)).as_bytes()], &limits).len(), 1);
    check(body(65), &["413 body_too_large"]); // refused before a byte of it is read
    check(body(usize::MAX), &["413 body_too_large"]);
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(
        format!("{chunked}40\r\n{}\r\n0\r\n\r\n", "b".repeat(64)),
        &[&format!("POST / [{}]", "b".repeat(64))],
    );
    check(format!("{chunked}41\r\n"), &["413 body_too_large"]);
    check(format!("{chunked}20\r\n{}\r\n21\r\n", "b".repeat(32)), &["413 body_too_large"]);
    check(format!("{chunked}ffffffffffffffff\r\n"), &["413 body_too_large"]);
}

#[test]
fn default_limits_take_ordinary_requests() {
    let cookie = "c".repeat(6000);
    let input = format!("GET /{} HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n", "p".repeat(8000));
    check_with(&HttpLimits::default(), input, &[&format!("GET /{}", "p".repeat(8000))]);
}

#[test]
fn continue_is_asked_for_once_and_only_when_it_helps() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
    let asks = |pieces: &[&str]| {
        let mut scratch = Scratch::default();
        let mut decoder = Decoder::new(&limits());
        let ask = |piece: &&str| match decoder.decode(piece.as_bytes(), &mut scratch) {
            Ok(Decoded::Partial { send_continue }) => send_continue,
            Ok(Decoded::Request(_)) => false,
            Err(error) => panic!("{error}"),
        };
        pieces.iter().map(ask).collect::<Vec<_>>()
    };
    assert_eq!(asks(&[head, "h", "i"]), [true, false, false]);
    assert_eq!(asks(&[&head[..20], &head[20..], "hi"]), [false, true, false]);
    assert_eq!(asks(&[&(head.to_owned() + "hi")]), [false]);
    assert_eq!(asks(&[&(head.to_owned() + "h"), "i"]), [false, false]);
    let chunked = head.replace("Content-Length: 2", "Transfer-Encoding: chunked");
    assert_eq!(asks(&[&chunked, "0\r\n\r\n"]), [true, false]);
    let old = head.replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(asks(&[&old, "hi"]), [false, false]);
    let empty = head.replace("Content-Length: 2", "Content-Length: 0");
    assert_eq!(asks(&[&empty]), [false]);
    let mut scratch = Scratch::default();
    let mut decoder = Decoder::new(&limits());
    let mut awaits = |piece: &str| {
        let _ = decoder.decode(piece.as_bytes(), &mut scratch);
        decoder.awaits_continue()
    };
    assert_eq!([head, "", "h", "i", ""].map(&mut awaits), [true, true, false, false, false]);
    assert_eq!([&*chunked, "", "0", "\r\n\r\n"].map(&mut awaits), [true, true, false, false]);
    // Too large: the final answer at once, and no 100.
    check(head.replace("Length: 2", "Length: 999"), &["413 body_too_large"]);
    check(head.replace("100-Continue", "200-ok"), &["417 expectation_failed"]);
    check(head.to_owned() + "hi", &["POST / [hi]"]);
}

#[test]
fn phases_name_the_timeout() {
    let mut scratch = Scratch::default();
    let mut decoder = Decoder::new(&limits());
    let mut phase = |piece: &str| {
        let mut input = piece.as_bytes();
        while let Ok(Decoded::Request(request)) = decoder.decode(input, &mut scratch) {
            input = &input[request.consumed..];
        }
        (decoder.phase(), decoder.held() > 0)
    };
    assert_eq!(phase(""), (Phase::Idle, false));
    assert_eq!(phase("PO"), (Phase::Head, true));
    assert_eq!(phase("ST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"), (Phase::Body, true));
    assert_eq!(phase("hi"), (Phase::Idle, false));
    assert_eq!(phase("GET / HTTP/1.1\r\nHost: a\r\n\r\nG"), (Phase::Head, true));
}

#[test]
fn what_is_held_is_decoded_later() {
    let mut scratch = Scratch::default();
    let mut decoder = Decoder::new(&limits());
    let input = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HT";
    let Ok(Decoded::Request(first)) = decoder.decode(input, &mut scratch) else { panic!("no request") };
    let consumed = first.consumed;
    decoder.hold(&input[consumed..], &mut scratch).unwrap();
    // Another connection uses the same scratch meanwhile.
    let mut other = Decoder::new(&limits());
    assert!(matches!(other.decode(b"DELETE /o HTTP/1.0\r\n\r\n", &mut scratch), Ok(Decoded::Request(_))));
    let mut paths = Vec::new();
    for piece in [&b""[..], b"", b"TP/1.1\r\nHost: a\r\n\r\n", b""] {
        if let Ok(Decoded::Request(request)) = decoder.decode(piece, &mut scratch) {
            paths.push(request.head.path().to_owned());
        }
    }
    assert_eq!(paths, ["/2", "/3"]);
    assert_eq!((decoder.phase(), decoder.held()), (Phase::Idle, 0));
}

#[test]
fn a_body_that_arrives_slowly_keeps_its_own_head() {
    let mut scratch = Scratch::default();
    let (mut a, mut b) = (Decoder::new(&limits()), Decoder::new(&limits()));
    let head = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
    assert!(matches!(a.decode(head, &mut scratch), Ok(Decoded::Partial { .. })));
    assert!(matches!(
        b.decode(b"GET /b?c HTTP/1.1\r\nHost: b\r\n\r\n", &mut scratch),
        Ok(Decoded::Request(_))
    ));
    match a.decode(b"hi", &mut scratch) {
        Ok(Decoded::Request(request)) => assert_eq!(common::line(&request), "POST /a [hi]"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn holding_is_bounded() {
    let mut scratch = Scratch::default();
    let mut decoder = Decoder::new(&limits());
    let piece = vec![b'x'; 16 * 1024];
    let refused = (0..100).find_map(|_| decoder.hold(&piece, &mut scratch).err());
    assert_eq!(refused, Some(forebay_http::RequestError::PipelineTooLong));
    assert!(decoder.held() < 512 * 1024);
}
