//! Requests that two servers could read in two ways, and everything else that is
//! refused: the vectors of James Kettle's "HTTP Desync Attacks", of RFC 9112
//! sections 2.2, 3, 5, 6 and 7, and of http-garden's corpus, each with its refusal.
//! Each is tried whole, byte by byte and cut at every place.

mod common;

use common::check;

/// A POST with these header lines (each ends itself) and what follows the head.
fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")
}

#[test]
fn two_lengths() {
    for (fields, refusal) in [
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "400 content_length_repeated"),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", "400 content_length_repeated"),
        ("Content-Length: 5\r\ncontent-length: 0\r\n", "400 content_length_repeated"),
        ("Content-Length: 5, 5\r\n", "400 bad_content_length"),
        ("Content-Length: 5,6\r\n", "400 bad_content_length"),
        ("Content-Length: +5\r\n", "400 bad_content_length"),
        ("Content-Length: -5\r\n", "400 bad_content_length"),
        ("Content-Length: 0x5\r\n", "400 bad_content_length"),
        ("Content-Length: 5 0\r\n", "400 bad_content_length"),
        ("Content-Length: 5_0\r\n", "400 bad_content_length"),
        ("Content-Length: 5.0\r\n", "400 bad_content_length"),
        ("Content-Length: five\r\n", "400 bad_content_length"),
        ("Content-Length:\r\n", "400 bad_content_length"),
        ("Content-Length: \"5\"\r\n", "400 bad_content_length"),
        ("Content-Length: 18446744073709551616\r\n", "400 bad_content_length"),
        ("Content-Length: 99999999999999999999999999\r\n", "400 bad_content_length"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "400 length_and_coding"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "400 length_and_coding"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "400 length_and_coding"),
    ] {
        check(post(fields, "hello"), &[refusal]);
    }
}

#[test]
fn codings() {
    for (fields, refusal) in [
        ("Transfer-Encoding: gzip, chunked\r\n", "501 transfer_coding_unknown"),
        ("Transfer-Encoding: identity, chunked\r\n", "501 transfer_coding_unknown"),
        ("Transfer-Encoding: chunked, gzip\r\n", "400 bad_transfer_encoding"),
        ("Transfer-Encoding: chunked, chunked\r\n", "400 bad_transfer_encoding"),
        ("Transfer-Encoding: chunked, identity\r\n", "400 bad_transfer_encoding"),
        ("Transfer-Encoding: gzip\r\n", "400 bad_transfer_encoding"),
        ("Transfer-Encoding: identity\r\n", "400 bad_transfer_encoding"),
        ("Transfer-Encoding: xchunked\r\n", "400 bad_transfer_encoding"),
        ("Transfer-Encoding: chunkedx\r\n", "400 bad_transfer_encoding"),
        ("Transfer-Encoding: \"chunked\"\r\n", "400 bad_transfer_encoding"),
        ("Transfer-Encoding: chunked;q=1\r\n", "400 bad_transfer_encoding"),
        ("Transfer-Encoding: chunked,\r\n", "400 bad_transfer_encoding"),
        ("Transfer-Encoding: ,chunked\r\n", "400 bad_transfer_encoding"),
        ("Transfer-Encoding: x chunked\r\n", "400 bad_transfer_encoding"),
        ("Transfer-Encoding:\r\n", "400 bad_transfer_encoding"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "400 bad_transfer_encoding"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "400 bad_transfer_encoding"),
        ("Transfer-Encoding: \u{b}chunked\r\n", "400 bad_field_value"),
        ("Transfer-Encoding: chun\0ked\r\n", "400 bad_field_value"),
        ("Transfer-Encoding : chunked\r\n", "400 space_before_colon"),
        ("Transfer-Encoding\t: chunked\r\n", "400 space_before_colon"),
        ("Transfer-Encoding:\r\n chunked\r\n", "400 folded_header"),
        ("X: 1\r\n Transfer-Encoding: chunked\r\n", "400 folded_header"),
        ("X: 1\nTransfer-Encoding: chunked\r\n", "400 bad_line_end"),
        ("X: 1\rTransfer-Encoding: chunked\r\n", "400 bad_field_value"),
        ("Transfer-Encoding: chunked\n", "400 bad_line_end"),
        ("Transfer-Encoding\u{b}: chunked\r\n", "400 bad_header_name"),
        ("Transfer Encoding: chunked\r\n", "400 space_before_colon"),
        (": chunked\r\n", "400 bad_header_name"),
        ("Transfer-Encoding\r\n", "400 bad_header_name"),
    ] {
        check(post(fields, "0\r\n\r\n"), &[refusal]);
    }
    check("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &["400 bad_transfer_encoding"]);
    check(
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0",
        &["400 length_and_coding"],
    );
    // Optional whitespace around the value is no ambiguity; other names are other fields.
    check(post("Transfer-Encoding:   chunked \t\r\n", "0\r\n\r\n"), &["POST /"]);
    check(post("Content_Length: 9\r\nTransfer_Encoding: x\r\nX-Content-Length: 3\r\n", ""), &["POST /"]);
}

#[test]
fn chunks() {
    for (body, refusal) in [
        ("\r\n", "400 bad_chunk_size"),
        (" 5\r\nhello\r\n", "400 bad_chunk_size"),
        ("5 \r\nhello\r\n", "400 bad_chunk_size"),
        ("5 ;a\r\nhello\r\n", "400 bad_chunk_size"),
        ("+5\r\nhello\r\n", "400 bad_chunk_size"),
        ("-1\r\n", "400 bad_chunk_size"),
        ("0x5\r\nhello\r\n", "400 bad_chunk_size"),
        ("5\nhello\r\n", "400 bad_chunk_size"),
        ("5\rhello\r\n", "400 bad_chunk_size"),
        ("5\r\rhello\r\n", "400 bad_chunk_size"),
        ("g\r\n", "400 bad_chunk_size"),
        (";a\r\n", "400 bad_chunk_size"),
        ("10000000000000000\r\n", "400 bad_chunk_size"),
        ("00000000000000005\r\nhello\r\n", "400 bad_chunk_size"),
        ("5;a\nhello\r\n", "400 chunk_extension"),
        ("5;a\0\r\nhello\r\n", "400 chunk_extension"),
        ("5\r\nhelloX", "400 bad_chunk_end"),
        ("5\r\nhello\n0\r\n\r\n", "400 bad_chunk_end"),
        ("5\r\nhello\rX", "400 bad_chunk_end"),
        ("3\r\nhello\r\n0\r\n\r\n", "400 bad_chunk_end"),
        ("0\r\nX\r\n\r\n", "400 bad_trailer"),
        ("0\r\nX : 1\r\n\r\n", "400 bad_trailer"),
        ("0\r\n X: 1\r\n\r\n", "400 bad_trailer"),
        ("0\r\nX: 1\n\r\n", "400 bad_trailer"),
        ("0\r\nX: \x01\r\n\r\n", "400 bad_trailer"),
        ("0\r\n\n", "400 bad_trailer"),
        ("0\r\n\rX", "400 bad_trailer"),
    ] {
        check(post("Transfer-Encoding: chunked\r\n", body), &[refusal]);
    }
    let long = |text: &str, bytes: usize| text.repeat(bytes / text.len() + 1);
    check(
        post("Transfer-Encoding: chunked\r\n", &format!("5;{}", long("a", 4096))),
        &["400 chunk_extension"],
    );
    // One byte of data per chunk, each with its own share of the extension bytes.
    let drip = long(&format!("0001;{}\r\nx\r\n", "e".repeat(100)), 8192);
    check(post("Transfer-Encoding: chunked\r\n", &drip), &["400 chunk_extension"]);
    check(
        post("Transfer-Encoding: chunked\r\n", &format!("0\r\n{}", long("T: 1\r\n", 16384))),
        &["431 trailer_too_large"],
    );
}

#[test]
fn line_ends_and_controls() {
    for (input, refusal) in [
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", "400 bad_line_end"),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", "400 bad_line_end"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", "400 bad_line_end"),
        ("GET / HTTP/1.1\nHost: a\n\n", "400 bad_line_end"),
        ("GET / HTTP/1.0\n\n", "400 bad_line_end"),
        ("GET / HTTP/1.0\n\r\n", "400 bad_line_end"),
        ("GET / HTTP/1.0\r\n\n", "400 bad_line_end"),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", "400 bad_line_end"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n", "400 bad_line_end"),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "400 bad_line_end"),
        ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", "400 bad_field_value"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", "400 bad_field_value"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", "400 bad_field_value"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", "400 bad_header_name"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n", "400 bad_header_name"),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400 folded_header"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n", "400 folded_header"),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad_method"),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad_method"),
        ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad_method"),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad_method"),
    ] {
        check(input, &[refusal]);
    }
    // Every control byte, at every place of a value that SIMD could treat differently.
    for control in (0..=0x1fu8).chain([0x7f]).filter(|byte| !matches!(byte, b'\t' | b'\r' | b'\n')) {
        for at in [0, 1, 7, 8, 15, 16, 31, 32, 40] {
            let mut input = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
            input.extend_from_slice(&[b'v'; 48]);
            input[28 + at] = control;
            input.extend_from_slice(b"\r\n\r\n");
            let lines = common::run([&input[..]], &common::limits());
            assert_eq!(lines, ["400 bad_field_value"], "byte {control:#x} at {at}");
            let mut input = b"GET /".to_vec();
            input.extend_from_slice(&[b'p'; 48]);
            input[5 + at] = control;
            input.extend_from_slice(b" HTTP/1.1\r\nHost: a\r\n\r\n");
            let lines = common::run([&input[..]], &common::limits());
            assert_eq!(lines, ["400 bad_target"], "byte {control:#x} at {at} of the target");
        }
    }
}

#[test]
fn request_lines() {
    for (line, refusal) in [
        ("GET  / HTTP/1.1", "400 bad_target"),
        ("GET /  HTTP/1.1", "400 bad_request_line"),
        ("GET\t/ HTTP/1.1", "400 bad_method"),
        ("G@T / HTTP/1.1", "400 bad_method"),
        ("GET", "400 bad_method"),
        ("GET /", "400 bad_target"),
        ("GET / ", "400 bad_request_line"),
        ("GET / HTTP", "400 bad_request_line"),
        ("GET / HTTP/1", "400 bad_request_line"),
        ("GET / HTTP/11", "400 bad_request_line"),
        ("GET / http/1.1", "400 bad_request_line"),
        ("GET / HTTPS/1.1", "400 bad_request_line"),
        ("GET / HTTP/x.1", "400 bad_request_line"),
        ("GET / HTTP/1.10", "400 bad_line_end"),
        ("GET / HTTP/2.0", "505 version_not_supported"),
        ("PRI * HTTP/2.0", "505 version_not_supported"),
        ("GET / HTTP/1.2", "505 version_not_supported"),
        ("GET / HTTP/0.9", "505 version_not_supported"),
        ("GET /a b HTTP/1.1", "400 bad_request_line"),
        ("GET /\u{e9} HTTP/1.1", "400 bad_target"),
        ("GET /a#b HTTP/1.1", "400 bad_target"),
        ("GET /?a#b HTTP/1.1", "400 bad_target"),
        ("GET /a\\b HTTP/1.1", "400 bad_target"),
        ("GET a HTTP/1.1", "400 bad_target"),
        ("GET * HTTP/1.1", "400 bad_target"),
        ("OPTIONS ** HTTP/1.1", "400 bad_target"),
        ("GET ?a HTTP/1.1", "400 bad_target"),
        ("CONNECT a:443 HTTP/1.1", "400 bad_target"),
        ("CONNECT / HTTP/1.1", "400 bad_target"),
        ("CONNECT http://a/ HTTP/1.1", "400 bad_target"),
        ("GET a:443 HTTP/1.1", "400 bad_target"),
        ("GET ftp://a/ HTTP/1.1", "400 bad_target"),
        ("GET http:/a HTTP/1.1", "400 bad_target"),
        ("GET http:// HTTP/1.1", "400 bad_target"),
        ("GET http:///a HTTP/1.1", "400 bad_target"),
        ("GET http://u@a/ HTTP/1.1", "400 bad_target"),
        ("GET http://u:p@a/ HTTP/1.1", "400 bad_target"),
        ("GET http://a:b/ HTTP/1.1", "400 bad_target"),
        ("GET http://a\\b/ HTTP/1.1", "400 bad_target"),
    ] {
        check(format!("{line}\r\nHost: a\r\n\r\n"), &[refusal]);
    }
    check(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", &["400 bad_target"]);
}

#[test]
fn hosts() {
    for (fields, refusal) in [
        ("", "400 host_missing"),
        ("X: a\r\n", "400 host_missing"),
        ("Host:\r\n", "400 bad_host"),
        ("Host: \t\r\n", "400 bad_host"),
        ("Host: a\r\nHost: a\r\n", "400 host_repeated"),
        ("Host: a\r\nhOST: b\r\n", "400 host_repeated"),
        ("Host: a, b\r\n", "400 bad_host"),
        ("Host: a b\r\n", "400 bad_host"),
        ("Host: a/b\r\n", "400 bad_host"),
        ("Host: a@b\r\n", "400 bad_host"),
        ("Host: a%00\r\n", "400 bad_host"),
        ("Host: http://a\r\n", "400 bad_host"),
        ("Host: :80\r\n", "400 bad_host"),
        ("Host: a:b\r\n", "400 bad_host"),
        ("Host: a:80:80\r\n", "400 bad_host"),
        ("Host: a:65536\r\n", "400 bad_host"),
        ("Host: a:000080\r\n", "400 bad_host"),
        ("Host: a:-1\r\n", "400 bad_host"),
        ("Host: [::1\r\n", "400 bad_host"),
        ("Host: [::g]\r\n", "400 bad_host"),
        ("Host: [::1]x\r\n", "400 bad_host"),
        ("Host: [fe80::1%25eth0]\r\n", "400 bad_host"),
        ("Host: ::1\r\n", "400 bad_host"),
        ("Host: \u{e9}\r\n", "400 bad_host"),
    ] {
        check(format!("GET / HTTP/1.1\r\n{fields}\r\n"), &[refusal]);
    }
    check("GET http://b/ HTTP/1.1\r\n\r\n", &["400 host_missing"]);
    check("GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n", &["400 bad_host"]);
    check("GET / HTTP/1.0\r\nHost: a b\r\n\r\n", &["400 bad_host"]);
}

/// The classic pair: a front end that reads one framing, we refuse before the
/// second request could be one.
#[test]
fn nothing_after_a_refusal_is_served() {
    let smuggled = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    check(
        post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        &["400 length_and_coding"],
    );
    check(post("Content-Length: 0\r\nContent-Length: 44\r\n", smuggled), &["400 content_length_repeated"]);
    check(
        post("Transfer-Encoding: chunked\r\n", &format!("0\r\nbad\r\n\r\n{smuggled}")),
        &["400 bad_trailer"],
    );
}
