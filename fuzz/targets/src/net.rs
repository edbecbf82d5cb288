//! What comes over sockets.

use std::sync::Arc;

use forebay_base::ValueSink;
use forebay_base::limits::{DatabaseLimits, HttpLimits};
use forebay_base::value::ValueBuilder;
use forebay_http::{Decoded, Decoder, Scratch};
use forebay_postgres::connection::{Connection, Target, Use};
use forebay_postgres::{Config, Delivery, Event, Param, Receiver, Shape, Sql, Token};

/// Requests of a connection, each as one line, and the error that ended it.
fn requests<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Option<String>) {
    let (mut scratch, mut lines) = (Scratch::default(), Vec::new());
    let mut decoder = Decoder::new(&HttpLimits::default());
    for piece in pieces {
        let mut input = piece;
        loop {
            match decoder.decode(input, &mut scratch) {
                Ok(Decoded::Request(request)) => {
                    let fields: Vec<_> = request.head.fields().collect();
                    let (method, path) = (request.head.method_str(), request.head.path());
                    lines.push(format!("{method} {path} {fields:?} {:?}", request.body));
                    input = &input[request.consumed..];
                }
                Ok(Decoded::Partial { .. }) => break,
                Err(error) => return (lines, Some(error.code().to_owned())),
            }
        }
    }
    (lines, None)
}

/// What a client sends: the same requests come out however it is cut. What is wrong with a head may show when the rest of
/// it is there, so one that is cut short can be wrong as a whole only.
pub fn http(data: &[u8]) {
    let (whole, error) = requests([data]);
    let (a, b) = data.split_at(data.len() / 2);
    for (lines, found) in [requests(data.chunks(1)), requests([a, b])] {
        assert_eq!(lines, whole, "cut in pieces");
        assert!(found.is_none() || error.is_some(), "{found:?}, and nothing as a whole");
    }
}

/// Requests that are right, and one that isn't.
#[must_use]
pub fn http_seeds() -> Vec<Vec<u8>> {
    [
        "GET /a/b?c=d&e=%41 HTTP/1.1\r\nHost: h\r\nCookie: a=b; c=\"d\"\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Type: application/json\r\n\r\n[1,2]",
        "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: u\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Builds values of whatever arrives, one for each query.
#[derive(Default)]
struct Sinks(Vec<ValueBuilder>);

impl Receiver for Sinks {
    fn sink(&mut self, token: Token) -> Option<&mut dyn ValueSink> {
        let sink = self.0.get_mut(usize::try_from(token.0).ok()?)?;
        Some(sink as &mut dyn ValueSink)
    }
}

/// A server's side up to its first ReadyForQuery.
const GREETING: &[u8] =
    b"R\0\0\0\x08\0\0\0\0S\0\0\0\x16server_version\x0015\0K\0\0\0\x0c\0\0\0\x07\0\0\0\x09Z\0\0\0\x05I";

/// What a server sends. The first byte chooses how it is cut, whether the connection was ready before, and what was
/// asked of it.
pub fn postgres(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let Ok(config) = Config::parse("host=/nowhere user=u password=p", &|_| None) else { return };
    let config = Arc::new(config);
    let Some(target) = Target::plan(&config, 0).first().copied() else { return };
    let usage = if choice & 1 == 0 { Use::Shared } else { Use::Owned };
    let mut connection = Connection::new(config, &DatabaseLimits::default(), usage, target);
    let mut sinks = Sinks(std::iter::repeat_with(ValueBuilder::default).take(4).collect());
    if choice & 2 == 0 {
        connection.handle_bytes(GREETING, &mut sinks);
    }
    for (number, shape) in (0..).zip([Shape::Rows, Shape::First, Shape::Scalar, Shape::Affected]) {
        let delivery = if choice & 4 == 0 { Delivery::Whole } else { Delivery::Streaming };
        let text = if choice & 8 == 0 { "select $1" } else { "select $1, 2" };
        let _ = connection.query(Token(number), &Sql::read(text), &[Param::Int(7)], shape, delivery);
    }
    let size = if choice & 16 == 0 { bytes.len().max(1) } else { 1 + usize::from(choice >> 5) };
    let mut answered = [false; 4];
    for piece in bytes.chunks(size) {
        connection.take_output(&mut Vec::new());
        connection.handle_bytes(piece, &mut sinks);
        while let Some(event) = connection.poll_event() {
            if let Event::Done { token, .. } = event {
                let index = usize::try_from(token.0).unwrap_or(usize::MAX);
                assert!(!std::mem::replace(&mut answered[index], true), "answered twice");
            }
        }
        // SCRAM may want to compute.
        if let Some(mut job) = connection.poll_job() {
            job.run();
            connection.handle_job(job);
        }
    }
    connection.handle_closed("the end");
}

/// Answers of servers: to Parse and Describe, rows, errors, authentication.
#[must_use]
pub fn postgres_seeds() -> Vec<Vec<u8>> {
    let described = b"1\0\0\0\x04t\0\0\0\x0a\0\x01\0\0\0\x17T\0\0\0\x1a\0\x01n\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0Z\0\0\0\x05I";
    let row = b"2\0\0\0\x04D\0\0\0\x0e\0\x01\0\0\0\x04\0\0\0\x07C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";
    let error = b"E\0\0\0\x1fSERROR\0VERROR\0C22012\0Mno\0\0Z\0\0\0\x05I";
    let sasl = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0R\0\0\0\x2f\0\0\0\x0br=abc,s=QSXCR+Q6sek8bf92,i=4096AAAAAAAAAA";
    let whole = |choice: u8, parts: &[&[u8]]| [&[choice], &*parts.concat()].concat();
    vec![
        whole(0, &[described, row, row, row, row]),
        whole(16, &[described, row, error, row, row]),
        whole(4, &[described, row, b"N\0\0\0\x08Mhm\0\0", row]),
        whole(2, &[b"R\0\0\0\x0c\0\0\0\x05saltR\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"]),
        whole(3, &[sasl]),
        whole(1, &[described, row, b"A\0\0\0\x0e\0\0\0\x07ch\0hi\0", row]),
    ]
}
