//! The benchmark floor: answers a fixed string to every complete HTTP/1.1 head
//! (it only counts blank lines), keep-alive and pipelining, on one core. What any
//! server on this reactor costs at least.
//!
//! `floor ADDRESS [epoll]`, e.g. `taskset -c 0 floor 127.0.0.1:8080`

use std::io;
use std::process::ExitCode;

use forebay_base::ConnectionId;
use forebay_ring::{Close, Config, Endpoint, EpollReactor, Event, Reactor, UringReactor, Wait};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n\r\nHello, World!";

/// Longest run of requests from one buffer that is answered by copying whole blocks.
const BATCH: usize = 16;

fn serve<R: Reactor>(mut reactor: R, endpoint: &Endpoint) -> io::Result<()> {
    let listener = reactor.listen(endpoint)?;
    if let Some(address) = reactor.local_addr(listener) {
        println!("listening on {address}: {}", reactor.features());
    }
    let answers = ANSWER.repeat(BATCH);
    // Bytes of the blank line "\r\n\r\n" seen at the end of the last buffer, by connection slot.
    let mut seen: Vec<u8> = Vec::new();
    loop {
        reactor.turn(Wait::Forever)?;
        while let Some(event) = reactor.next_event() {
            match event {
                Event::Accepted { connection: ConnectionId { slot, .. }, .. } => {
                    let slot = slot as usize;
                    seen.resize(seen.len().max(slot + 1), 0);
                    seen[slot] = 0;
                }
                Event::Received { connection, buffer } => {
                    let (buffers, mut outputs) = reactor.split();
                    let mut heads = blank_lines(buffers.bytes(&buffer), &mut seen[connection.slot as usize]);
                    if heads > 0
                        && let Some(output) = outputs.get(connection)
                    {
                        while heads > 0 {
                            let now = heads.min(BATCH);
                            output.push(&answers[..now * ANSWER.len()]);
                            heads -= now;
                        }
                    }
                    reactor.release(buffer);
                }
                Event::Eof { connection } => reactor.close(connection, Close::Flush),
                _ => {}
            }
        }
    }
}

/// Counts the ends of heads; `seen` carries a split one over to the next buffer.
fn blank_lines(bytes: &[u8], seen: &mut u8) -> usize {
    // Usual: whole requests, each ending where the buffer or the next one begins.
    if *seen == 0 && bytes.ends_with(b"\r\n\r\n") {
        return bytes.windows(4).filter(|window| window == b"\r\n\r\n").count();
    }
    let mut count = 0;
    for &byte in bytes {
        *seen = match (*seen, byte) {
            (0 | 2, b'\r') => *seen + 1,
            (1, b'\n') => 2,
            (3, b'\n') => {
                count += 1;
                0
            }
            (_, b'\r') => 1,
            _ => 0,
        };
    }
    count
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (endpoint, epoll) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [address] => (address.parse::<Endpoint>(), false),
        [address, "epoll"] => (address.parse(), true),
        _ => {
            eprintln!("usage: floor ADDRESS [epoll]");
            return ExitCode::from(2);
        }
    };
    let result = endpoint.map_err(io::Error::other).and_then(|endpoint| match epoll {
        false => serve(UringReactor::new(Config::default())?, &endpoint),
        true => serve(EpollReactor::new(Config::default())?, &endpoint),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}
