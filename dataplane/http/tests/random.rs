//! Seeded randomness against the decoders: what is valid comes back as it was
//! sent; what is broken never panics, never holds more than its bound, and is the
//! same however it was cut.
//!
//! A failure prints its seed: `SEED=n cargo test -p forebay-http --test random`
//! runs that one alone. `ROUNDS=n` runs longer.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{limits, run};
use forebay_base::rng::Rng;
use forebay_http::Method;
use forebay_http::client::{Progress, ResponseDecoder, ResponseLimits};
use forebay_http::decoder::{Decoded, Decoder, HELD_BYTES_EXTRA, Scratch};

fn each_seed(mut test: impl FnMut(u64, &mut Rng)) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SEED") {
        Some(seed) => test(seed, &mut Rng::new(seed)),
        None => (0..number("ROUNDS").unwrap_or(20_000)).for_each(|seed| test(seed, &mut Rng::new(seed))),
    }
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap()
}

fn pick<'a, T: ?Sized>(rng: &mut Rng, from: &[&'a T]) -> &'a T {
    from[below(rng, from.len())]
}

/// One to four pieces, or single bytes.
fn pieces<'a>(rng: &mut Rng, mut input: &'a [u8]) -> Vec<&'a [u8]> {
    if rng.one_in(8) {
        return input.chunks(1).collect();
    }
    let mut pieces = Vec::new();
    for _ in 0..rng.below(4) {
        let (left, right) = input.split_at(below(rng, input.len() + 1));
        pieces.push(left);
        input = right;
    }
    pieces.push(input);
    pieces
}

/// A valid request and the line that `common::line` makes of it.
fn request(rng: &mut Rng) -> (Vec<u8>, String) {
    let method = pick(rng, &["GET", "POST", "DELETE", "PURGE"]);
    let path = pick(rng, &["/", "/a/b", "/%C3%A9", "/x//y/", "/~!$&'()*+,;=:@"]);
    let query = pick(rng, &["", "?", "?a=1&b", "?%zz?/"]);
    let close = rng.one_in(6);
    let mut bytes = format!("{method} {path}{query} HTTP/1.1\r\n").into_bytes();
    let mut fields = vec!["Host: a:1\r\n".to_owned()];
    for _ in 0..rng.below(3) {
        fields
            .push(pick(rng, &["A: 1\r\n", "Accept:\t*/* \r\n", "B:\r\n", "C: \u{e9}, \"x\"\r\n"]).to_owned());
    }
    if close {
        fields.push("Connection: close\r\n".to_owned());
    }
    let body: Vec<u8> = (0..below(rng, 40)).map(|_| b'!' + u8::try_from(rng.below(90)).unwrap()).collect();
    let mut framed = body.clone();
    match rng.below(3) {
        0 if body.is_empty() => {}
        0 | 1 => fields.push(format!("Content-Length: {}\r\n", body.len())),
        _ => {
            fields.push("Transfer-Encoding: chunked\r\n".to_owned());
            framed.clear();
            let mut rest = &body[..];
            while !rest.is_empty() {
                let (chunk, left) = rest.split_at(1 + below(rng, rest.len()));
                let extension = pick(rng, &["", ";", ";a=b"]);
                framed.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
                framed.extend_from_slice(chunk);
                framed.extend_from_slice(b"\r\n");
                rest = left;
            }
            framed.extend_from_slice(pick(rng, &["0\r\n\r\n", "00;x\r\nT: 1\r\n\r\n"]).as_bytes());
        }
    }
    while !fields.is_empty() {
        let field = fields.swap_remove(below(rng, fields.len()));
        bytes.extend_from_slice(field.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&framed);
    let close = if close { " close" } else { "" };
    let shown =
        if body.is_empty() { String::new() } else { format!(" [{}]", String::from_utf8_lossy(&body)) };
    (bytes, format!("{method} {path}{query}{close}{shown}"))
}

#[test]
fn valid_requests_come_back_as_sent() {
    each_seed(|seed, rng| {
        let (mut input, mut expect) = (Vec::new(), Vec::new());
        for _ in 0..=rng.below(4) {
            let (bytes, line) = request(rng);
            if rng.one_in(10) {
                input.extend_from_slice(b"\r\n");
            }
            input.extend_from_slice(&bytes);
            expect.push(line);
        }
        let pieces = pieces(rng, &input);
        assert_eq!(run(pieces.iter().copied(), &limits()), expect, "SEED={seed}");
    });
}

/// Flips, inserts, deletes and repeats a few bytes, favouring those that matter.
fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.below(4) {
        let at = below(rng, bytes.len());
        let special = pick(
            rng,
            &[
                &b"\r"[..],
                b"\n",
                b"\r\n",
                b"\0",
                b" ",
                b":",
                b";",
                b",",
                b"0",
                b"f",
                b"\xff",
                b"HTTP/",
                b"Content-Length: 3\r\n",
                b"Transfer-Encoding: chunked\r\n",
            ],
        );
        match rng.below(5) {
            0 => bytes[at] = u8::try_from(rng.below(256)).unwrap(),
            1 => bytes[at] = special[0],
            2 => drop(bytes.splice(at..at, special.iter().copied())),
            3 => drop(bytes.drain(at..bytes.len().min(at + 1 + below(rng, 8)))),
            _ => {
                let part = bytes[at..bytes.len().min(at + 64)].to_vec();
                for _ in 0..rng.below(20) {
                    bytes.splice(at..at, part.iter().copied());
                }
            }
        }
        if bytes.is_empty() {
            bytes.push(b'G');
        }
    }
    // An error in a line without an end is told when the end comes.
    bytes.extend_from_slice(b"\r\n\r\n");
}

#[test]
fn broken_requests_are_the_same_however_they_are_cut() {
    each_seed(|seed, rng| {
        let mut input = request(rng).0;
        input.extend_from_slice(&request(rng).0);
        mutate(rng, &mut input);
        let whole = run([&input[..]], &limits());
        let pieces = pieces(rng, &input);
        let cut = run(pieces.iter().copied(), &limits());
        assert_eq!(whole, cut, "SEED={seed}: {:?}", String::from_utf8_lossy(&input));
    });
}

#[test]
fn what_is_held_is_bounded() {
    let limits = limits();
    let bound = limits.request_head_bytes + limits.body_bytes + HELD_BYTES_EXTRA;
    let mut scratch = Scratch::default();
    each_seed(|seed, rng| {
        let mut decoder = Decoder::new(&limits);
        for _ in 0..rng.below(6) {
            let mut input = request(rng).0;
            mutate(rng, &mut input);
            if rng.one_in(3) {
                let _ = decoder.hold(&input, &mut scratch);
                continue;
            }
            let mut rest = &input[..];
            while let Ok(Decoded::Request(request)) = decoder.decode(rest, &mut scratch) {
                rest = &rest[request.consumed..];
            }
            assert!(decoder.held() <= bound, "SEED={seed}");
        }
        decoder.reset(&mut scratch);
        assert_eq!(decoder.held(), 0);
    });
}

#[test]
fn broken_answers_are_the_same_however_they_are_cut() {
    let run = |pieces: &[&[u8]]| {
        let mut decoder =
            ResponseDecoder::new(Method::Get, ResponseLimits { head_bytes: 256, body_bytes: 64 });
        for piece in pieces {
            match decoder.decode(piece) {
                Ok(Progress::More) => {}
                Ok(Progress::Done { .. }) => {
                    let response = decoder.response().unwrap();
                    return format!(
                        "{} {:?} {:?}",
                        response.status(),
                        response.fields().collect::<Vec<_>>(),
                        response.body()
                    );
                }
                Err(error) => return format!("{error:?}"),
            }
        }
        format!("{:?}", decoder.finish())
    };
    each_seed(|seed, rng| {
        let start = pick(
            rng,
            &[
                "HTTP/1.1 200 OK\r\nA: 1\r\n",
                "HTTP/1.0 404 x\r\n",
                "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\n",
            ],
        );
        let framed = pick(
            rng,
            &[
                "Content-Length: 5\r\n\r\nhello",
                "\r\nuntil close",
                "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            ],
        );
        let mut input = format!("{start}{framed}").into_bytes();
        mutate(rng, &mut input);
        let cut = pieces(rng, &input);
        assert_eq!(run(&[&input]), run(&cut), "SEED={seed}: {:?}", String::from_utf8_lossy(&input));
    });
}

/// Noise, and the texts that take other ways in.
#[test]
fn noise_is_harmless() {
    use forebay_http::{cookie::Cookies, media::MediaType, percent, routes, url::Url};
    let mut builder = routes::RouteTable::builder();
    for pattern in ["/", "/a/{x}", "/a/{*rest}", "/{y}/b"] {
        builder.add(Method::Get, pattern, ()).unwrap();
    }
    let table = builder.build();
    each_seed(|_, rng| {
        const ALPHABET: &[u8] = b"/%.=&;:?#[]\"\\ \t\r\n\0aAf09-+,*{}@\xc3\xa9\xff";
        let noise: Vec<u8> = (0..below(rng, 40)).map(|_| ALPHABET[below(rng, ALPHABET.len())]).collect();
        run([&noise[..]], &limits());
        let _ = MediaType::parse(&noise);
        Cookies::new(&noise).for_each(drop);
        for (name, value) in percent::FormPairs::new(&noise) {
            let _ = (name.decode(), value.decode());
        }
        let text = String::from_utf8_lossy(&noise);
        let _ = Url::parse(&format!("http://{text}"));
        let path = format!("/{text}");
        let mut params = routes::Params::default();
        if let routes::Lookup::Found(route) = table.lookup(Method::Get, path.as_bytes(), &mut params) {
            for index in 0..route.names.len() {
                assert!(params.decoded(index, &path).is_ok_and(|value| value.is_some()));
            }
        }
    });
}
