//! What decode + route + answer cost for the request that wrk sends:
//! `cargo run --release -p forebay-http --example request_cost`, and for instructions
//! `valgrind --tool=callgrind target/release/examples/request_cost wrk 20000`: its total less
//! that of a run with 10000, by 10000.
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::hint::black_box;
use std::time::Instant;

use forebay_base::Timestamp;
use forebay_base::limits::HttpLimits;
use forebay_http::{
    DateCache, Decoded, Decoder, Lookup, Method, Params, Reply, ResponseWriter, RouteTable, Scratch,
};

const WRK: &str = "GET /hello HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
const BROWSER: &str = "GET /v1/users/12345?full=1&lang=en HTTP/1.1\r\nHost: shop.example:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\r\n";

struct Connection {
    table: RouteTable<u32>,
    date: DateCache,
    scratch: Scratch,
    decoder: Decoder,
    params: Params,
    out: Vec<u8>,
}

impl Connection {
    fn new() -> Self {
        let mut builder = RouteTable::builder();
        let routes =
            ["/hello", "/v1/users", "/v1/users/{id}", "/v1/orders/{id}/items/{item}", "/assets/{*path}"];
        for (value, pattern) in (0..).zip(routes) {
            builder.add(Method::Get, pattern, value).expect("a good table");
        }
        Self {
            table: builder.build(),
            date: DateCache::new(Timestamp(784_111_777_000_000)),
            scratch: Scratch::default(),
            decoder: Decoder::new(&HttpLimits::default()),
            params: Params::default(),
            out: Vec::with_capacity(4096),
        }
    }

    /// One receive: every request in it is answered.
    fn turn(&mut self, mut input: &[u8]) {
        self.out.clear();
        while let Ok(Decoded::Request(request)) = self.decoder.decode(input, &mut self.scratch) {
            let head = request.head;
            if let Lookup::Found(route) =
                self.table.lookup(head.method(), head.path_bytes(), &mut self.params)
            {
                black_box(route.value);
                let mut response = ResponseWriter::new(&mut self.out, Reply::to(&head), 200, &self.date);
                response.content_type("text/plain");
                response.body(b"Hello, World!");
            }
            input = &input[request.consumed..];
        }
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let only = args.next();
    let rounds: u64 = args.next().and_then(|text| text.parse().ok()).unwrap_or(5_000_000);
    for (name, input, requests) in
        [("wrk", WRK.to_owned(), 1), ("wrk16", WRK.repeat(16), 16), ("browser", BROWSER.to_owned(), 1)]
    {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let mut connection = Connection::new();
        let turns = rounds / requests / 5;
        let mut best = f64::MAX;
        for _ in 0..5 {
            let start = Instant::now();
            for _ in 0..turns {
                connection.turn(black_box(input.as_bytes()));
                black_box(&connection.out);
            }
            best = best.min(start.elapsed().as_secs_f64() * 1e9 / (turns.max(1) * requests) as f64);
        }
        assert_eq!(connection.out.len(), 115 * usize::try_from(requests).unwrap_or(0));
        println!("{name}: {best:.1} ns per request (best of 5)");
    }
}
