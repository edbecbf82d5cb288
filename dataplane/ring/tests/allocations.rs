//! Promise: no allocation per event once tables and pools have reached their
//! working size. Counted per thread, on the reactor's.

#![expect(unsafe_code, reason = "a counting allocator")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use forebay_ring::{Close, Config, Endpoint, EpollReactor, Event, Reactor, UringReactor, Wait};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: forwards to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONNECTIONS: usize = 32;
const WARM_UP: u64 = 2_000;
const MEASURED: u64 = 10_000;

fn check(mut r: impl Reactor) {
    println!("{}", r.features());
    let listener = r.listen(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let Some(Endpoint::Tcp(address)) = r.local_addr(listener) else { panic!("no address") };
    let answer = [b'a'; 3000];
    let mut requests = 0;
    let mut before = 0;
    let mut at_end = 0;
    let mut timer = None;
    thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut streams: Vec<TcpStream> =
                (0..CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
            for _ in 0..(WARM_UP + MEASURED) / CONNECTIONS as u64 + 1 {
                for stream in &mut streams {
                    stream.write_all(b"request").unwrap();
                }
                for stream in &mut streams {
                    stream.read_exact(&mut [0; 3000]).unwrap();
                }
            }
        });
        while !clients.is_finished() || r.connection_count() > 0 {
            r.turn(Wait::AtMost(Duration::from_millis(10))).unwrap();
            while let Some(event) = r.next_event() {
                match event {
                    Event::Received { connection, buffer } => {
                        r.output(connection).unwrap().push(&answer);
                        r.release(buffer);
                        if let Some(timer) = timer.take() {
                            r.cancel_timer(timer);
                        }
                        timer = Some(r.set_timer(r.now().after(Duration::from_secs(9)), 1));
                        requests += 1;
                        if requests == WARM_UP {
                            before = ALLOCATIONS.with(Cell::get);
                        }
                        if requests == WARM_UP + MEASURED {
                            at_end = ALLOCATIONS.with(Cell::get);
                        }
                    }
                    Event::Eof { connection } => r.close(connection, Close::Flush),
                    _ => {}
                }
            }
        }
    });
    assert!(requests >= WARM_UP + MEASURED);
    // A busier moment than any of the warm-up may add a buffer or grow a table; that is bounded by
    // the connections, not by the requests.
    let allocations = at_end - before;
    println!("{allocations} allocations in {MEASURED} requests");
    assert!(allocations <= CONNECTIONS as u64, "{allocations} allocations in {MEASURED} requests");
    // Idle connections hold no output buffer: all are back, and no more than were in use at once.
    let spare = r.split().1.spare_count();
    assert!(spare <= CONNECTIONS * 2, "{spare} buffers for {CONNECTIONS} connections");
}

#[test]
fn requests_do_not_allocate() {
    check(UringReactor::new(Config::default()).unwrap());
    check(EpollReactor::new(Config::default()).unwrap());
}
