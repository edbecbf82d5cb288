//! Running out of file descriptors: accepting pauses, nothing spins, and goes on
//! by itself when there are some again. A process of its own, since the limit is
//! the process's.

#![expect(unsafe_code, reason = "setrlimit(2)")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use forebay_ring::{
    Close, Config, Endpoint, EpollReactor, Event, Features, Reactor, Transport, UringReactor, Wait,
    raise_descriptor_limit,
};

fn limit(descriptors: u64) {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is valid for both calls.
    let results = unsafe {
        let got = libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut now);
        now.rlim_cur = descriptors.min(now.rlim_max);
        (got, libc::setrlimit(libc::RLIMIT_NOFILE, &raw const now))
    };
    assert_eq!(results, (0, 0));
}

fn check(mut r: impl Reactor) {
    println!("{}", r.features());
    let listener = r.listen(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let Some(Endpoint::Tcp(address)) = r.local_addr(listener) else { panic!("no address") };
    let mut clients: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
    // Descriptors are given out lowest first: this one is the highest in use, or fills a gap.
    let probe: Vec<File> = (0..3).map(|_| File::open("/dev/null").unwrap()).collect();
    limit(u64::try_from(probe[2].as_raw_fd()).unwrap() + 1);

    let run = |r: &mut _, ms| turns(r, Duration::from_millis(ms));
    run(&mut r, 300);
    let counters = *r.counters();
    assert!(counters.accept_errors > 0 && counters.accepted < 10, "{counters:?}");
    // Every 20 ms one attempt, and the turns of 10 ms.
    assert!(counters.turns < 100, "{counters:?}");

    limit(1024);
    run(&mut r, 200);
    assert_eq!(r.counters().accepted, 10);
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    run(&mut r, 50);
    for client in &mut clients {
        client.read_exact(&mut [0]).unwrap();
    }
    drop(clients);
    run(&mut r, 50);
    assert_eq!(r.connection_count(), 0);
}

fn turns<R: Reactor>(r: &mut R, time: Duration) {
    r.turn(Wait::Poll).unwrap();
    let start = r.now();
    while r.now().since(start) < time {
        r.turn(Wait::AtMost(Duration::from_millis(10))).unwrap();
        while let Some(event) = r.next_event() {
            match event {
                Event::Received { connection, buffer } => {
                    let (buffers, mut outputs) = r.split();
                    outputs.get(connection).unwrap().push(buffers.bytes(&buffer));
                    r.release(buffer);
                }
                Event::Eof { connection } => r.close(connection, Close::Flush),
                _ => {}
            }
        }
    }
}

/// The ring's own table is bounded by the limit at its start.
fn full_descriptor_table() {
    limit(128);
    let mut r = UringReactor::new(Config::default()).unwrap();
    assert!(r.features().direct_descriptors);
    limit(1024);
    let listener = r.listen(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let Some(Endpoint::Tcp(address)) = r.local_addr(listener) else { panic!("no address") };
    let connect = |count| (0..count).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>();
    let clients = connect(200);
    turns(&mut r, Duration::from_millis(200));
    let counters = *r.counters();
    assert_eq!(counters.accepted, 128);
    assert!(counters.accept_errors > 0 && counters.turns < 100, "{counters:?}");
    drop(clients);
    turns(&mut r, Duration::from_millis(100));
    assert_eq!(r.connection_count(), 0);
    let _clients = connect(100);
    turns(&mut r, Duration::from_millis(100));
    assert_eq!(r.connection_count(), 100);
    assert_eq!(raise_descriptor_limit().unwrap(), {
        limit(u64::MAX);
        raise_descriptor_limit().unwrap()
    });
}

#[test]
fn accepting_pauses_without_descriptors_and_goes_on_with_them() {
    let without = Features { direct_descriptors: true, ..Features::default() };
    check(UringReactor::new(Config { without, ..Config::default() }).unwrap());
    let without = Features { multishot_accept: true, ..without };
    check(UringReactor::new(Config { without, ..Config::default() }).unwrap());
    check(EpollReactor::new(Config::default()).unwrap());
    full_descriptor_table();
}
