//! What a reactor must do, as seen from its caller and from its clients. Every
//! function here is a test of each reactor (`reactors.rs`).

mod gathering;

pub(crate) use gathering::{a_turn_gathers_what_comes_within_a_time, gathering_ends_with_the_next_timer};

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use forebay_base::rng::Rng;
use forebay_base::{ConnectionId, Monotonic};
use forebay_ring::{
    Close, CloseReason, Config, Durability, Endpoint, Errno, Event, File, Reactor, ReceiveBuffer, Wait,
};

/// Makes the reactor under test.
type Make<'a, R> = &'a dyn Fn(Config) -> R;

const PATIENCE: Duration = Duration::from_secs(30);
const ECONNREFUSED: Errno = Errno(111);
const ENOENT: Errno = Errno(2);
const EBADF: Errno = Errno(9);

fn small() -> Config {
    Config { connections: 64, receive_buffers: 64, linger: Duration::from_millis(500), ..Config::default() }
}

fn listen<R: Reactor>(reactor: &mut R) -> SocketAddr {
    let listener = reactor.listen(&"127.0.0.1:0".parse().unwrap()).unwrap();
    match reactor.local_addr(listener) {
        Some(Endpoint::Tcp(address)) => address,
        other => panic!("listening on {other:?}"),
    }
}

/// Turns until `done`, handing each event to `app`.
fn turn_until<R: Reactor>(r: &mut R, mut app: impl FnMut(&mut R, Event), mut done: impl FnMut(&R) -> bool) {
    let start = r.now();
    while !done(r) {
        assert!(r.now().since(start) < PATIENCE, "stuck; counters: {:?}", r.counters());
        r.turn(Wait::AtMost(Duration::from_millis(10))).unwrap();
        while let Some(event) = r.next_event() {
            app(r, event);
        }
    }
}

/// Runs `client` on a thread of its own against `app`, then turns until all connections are gone,
/// and checks that nothing has leaked.
fn serve<R: Reactor, T: Send>(
    r: &mut R,
    mut app: impl FnMut(&mut R, Event),
    client: impl FnOnce() -> T + Send,
) -> T {
    let result = thread::scope(|scope| {
        let client = scope.spawn(client);
        turn_until(r, &mut app, |_| client.is_finished());
        client.join().unwrap()
    });
    turn_until(r, &mut app, |r| r.connection_count() == 0);
    check_empty(r);
    result
}

fn check_empty<R: Reactor>(r: &R) {
    let counters = r.counters();
    assert_eq!(r.connection_count(), 0);
    assert_eq!(r.buffers().held(), 0, "receive buffers leaked");
    assert_eq!(counters.strays, 0, "{counters:?}");
    assert_eq!(counters.accepted + counters.connected, counters.closed, "{counters:?}");
}

/// Sends everything back; closes at the end.
fn echo<R: Reactor>(r: &mut R, event: Event) {
    match event {
        Event::Received { connection, buffer } => {
            let (buffers, mut outputs) = r.split();
            if let Some(output) = outputs.get(connection) {
                output.push(buffers.bytes(&buffer));
            }
            r.release(buffer);
        }
        Event::Eof { connection } => r.close(connection, Close::Flush),
        _ => {}
    }
}

const ANSWER: &[u8] = b"<answer>";

/// Answers each byte b'\n' with [`ANSWER`].
fn answer<R: Reactor>(r: &mut R, event: Event) {
    match event {
        Event::Received { connection, buffer } => {
            let (buffers, mut outputs) = r.split();
            let count = buffers.bytes(&buffer).iter().filter(|b| **b == b'\n').count();
            if let Some(output) = outputs.get(connection) {
                for _ in 0..count {
                    output.push(ANSWER);
                }
            }
            r.release(buffer);
        }
        Event::Eof { connection } => r.close(connection, Close::Flush),
        _ => {}
    }
}

fn client(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    (0..len.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes()).take(len).collect()
}

fn pause(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let unique = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("ring-{}-{unique}-{name}", std::process::id()))
}

pub(crate) fn echoes<R: Reactor>(make: Make<R>) {
    let mut r = make(small());
    let address = listen(&mut r);
    let sent = random_bytes(1, 3_000_000);
    let back = serve(&mut r, echo, || {
        let mut writer = client(address);
        let mut reader = writer.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                writer.write_all(&sent).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let mut back = Vec::new();
            reader.read_to_end(&mut back).unwrap();
            back
        })
    });
    assert!(back == sent, "the echo differs");
    assert_eq!(r.counters().received_bytes, sent.len() as u64);
    assert_eq!(r.counters().sent_bytes, sent.len() as u64);
}

pub(crate) fn answers_requests_split_at_every_byte<R: Reactor>(make: Make<R>) {
    let mut r = make(small());
    let address = listen(&mut r);
    let peers = Cell::new(0);
    let app = |r: &mut R, event: Event| {
        if let Event::Accepted { connection, .. } = event {
            assert!(r.peer_addr(connection).is_some_and(|peer| peer.ip().is_loopback()));
            assert_eq!(r.peer_credentials(connection), None);
            peers.set(peers.get() + 1);
        }
        answer(r, event);
    };
    let request = b"first request\nsecond request\n";
    serve(&mut r, app, || {
        for at in 0..=request.len() {
            let mut stream = client(address);
            stream.write_all(&request[..at]).unwrap();
            pause(1);
            stream.write_all(&request[at..]).unwrap();
            let mut answers = [0; ANSWER.len() * 2];
            stream.read_exact(&mut answers).unwrap();
            assert_eq!(answers[..], ANSWER.repeat(2), "split at {at}");
        }
    });
    assert_eq!(peers.get(), request.len() + 1);
}

pub(crate) fn answers_sixteen_pipelined_requests_in_few_sends<R: Reactor>(make: Make<R>) {
    const ROUNDS: usize = 50;
    let mut r = make(small());
    let address = listen(&mut r);
    serve(&mut r, answer, || {
        let mut stream = client(address);
        for _ in 0..ROUNDS {
            stream.write_all(&b"request\n".repeat(16)).unwrap();
            let mut answers = vec![0; ANSWER.len() * 16];
            stream.read_exact(&mut answers).unwrap();
            assert_eq!(answers, ANSWER.repeat(16));
        }
    });
    let sends = r.counters().sends;
    assert!(sends <= ROUNDS as u64 * 2, "{sends} sends for {ROUNDS} bursts");
}

pub(crate) fn a_slow_reader_costs_neither_memory_nor_turns<R: Reactor>(make: Make<R>) {
    const TOTAL: u64 = 32 * 1024 * 1024;
    const PENDING_MAX: u64 = 1024 * 1024;
    const CHUNK: usize = 128 * 1024;
    let mut r = make(small());
    let address = listen(&mut r);
    let mut appended = 0;
    let mut pending_max = 0;
    let app = |r: &mut R, event: Event| match event {
        Event::Accepted { connection, .. } | Event::Drained { connection } => {
            if appended == TOTAL {
                return r.close(connection, Close::Flush);
            }
            let output = r.output(connection).unwrap();
            while appended < TOTAL && output.pending_bytes() + CHUNK as u64 <= PENDING_MAX {
                let byte = u8::try_from(appended / CHUNK as u64 % 251).unwrap();
                output.push(&[byte; CHUNK]);
                appended += CHUNK as u64;
            }
            pending_max = pending_max.max(output.pending_bytes());
        }
        Event::Received { buffer, .. } => r.release(buffer),
        _ => {}
    };
    let received = serve(&mut r, app, || {
        let mut stream = client(address);
        // Long enough for the socket buffers to fill and the sender to wait.
        pause(300);
        let mut received = 0u64;
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = stream.read(&mut bytes).unwrap();
            if count == 0 {
                return received;
            }
            for &byte in &bytes[..count] {
                assert_eq!(u64::from(byte), received / CHUNK as u64 % 251);
                received += 1;
            }
            if received.is_multiple_of(16) {
                pause(1);
            }
        }
    });
    assert_eq!(received, TOTAL);
    assert!(pending_max <= PENDING_MAX, "{pending_max} bytes pending");
    // Turns of 10 ms while waiting, and a few for each 256 KiB; io_uring takes one per send,
    // epoll one per opening of the socket's window.
    let turns = r.counters().turns;
    assert!(turns < 2_000, "{turns} turns");
    assert!(r.split().1.spare_count() < 16);
}

pub(crate) fn answers_a_burst_that_ends_with_a_half_close<R: Reactor>(make: Make<R>) {
    let mut r = make(small());
    let address = listen(&mut r);
    serve(&mut r, answer, || {
        for round in 0..300 {
            let count = 1 + round % 100;
            let mut stream = client(address);
            stream.write_all(&b"request\n".repeat(count)).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answers = Vec::new();
            stream.read_to_end(&mut answers).unwrap();
            assert_eq!(answers.len(), ANSWER.len() * count, "round {round}");
        }
    });
}

pub(crate) fn a_reset_in_the_middle_of_a_send_closes<R: Reactor>(make: Make<R>) {
    let mut r = make(small());
    let address = listen(&mut r);
    let mut reasons = Vec::new();
    let app = |r: &mut R, event: Event| match event {
        Event::Accepted { connection, .. } => {
            r.output(connection).unwrap().bytes().resize(16 * 1024 * 1024, b'x');
        }
        Event::Received { buffer, .. } => r.release(buffer),
        Event::Closed { reason, .. } => reasons.push(reason),
        // The half of a reset that arrives first may look like an orderly end; the send tells.
        Event::Eof { .. } | Event::Drained { .. } => {}
        other => panic!("{other:?}"),
    };
    serve(&mut r, app, || {
        for _ in 0..20 {
            let mut stream = client(address);
            stream.read_exact(&mut [0; 1000]).unwrap();
            // Unread bytes in its receive buffer make the kernel answer with a reset.
            drop(stream);
        }
    });
    assert_eq!(reasons.len(), 20);
    assert!(reasons.iter().all(|reason| matches!(reason, CloseReason::Peer(_))), "{reasons:?}");
    assert_eq!(r.counters().resets, 20);
}

pub(crate) fn churn_leaks_nothing<R: Reactor>(make: Make<R>) {
    const ROUNDS: u64 = 1500;
    let mut r = make(Config { connections: 512, ..small() });
    let address = listen(&mut r);
    let mut turn = 0u32;
    let app = |r: &mut R, event: Event| {
        turn += 1;
        match event {
            // Some are thrown out by us, in all three ways.
            Event::Received { connection, .. } if turn.is_multiple_of(7) => {
                answer(r, event);
                r.close(connection, [Close::Linger, Close::Flush, Close::Now][turn as usize % 3]);
            }
            event => answer(r, event),
        }
    };
    serve(&mut r, app, || {
        let mut rng = Rng::new(7);
        let mut open = Vec::new();
        for _ in 0..ROUNDS {
            let mut stream = client(address);
            match rng.below(6) {
                0 => drop(stream),
                // The server may have closed: errors of these are part of the game.
                1 => drop(stream.write_all(b"request\n")),
                2 => {
                    let _ = stream.write_all(b"request\nrequest\nreq");
                    let _ = stream.read(&mut [0; 4]);
                }
                3 => {
                    let _ = stream.write_all(b"request\n");
                    let _ = stream.shutdown(Shutdown::Write);
                    let _ = stream.read_to_end(&mut Vec::new());
                }
                _ => {
                    let _ = stream.write_all(b"request\n");
                    open.push(stream);
                }
            }
            if open.len() > 100 {
                open.clear();
            }
        }
    });
    assert_eq!(r.counters().accepted, ROUNDS);
    assert_eq!(r.counters().refused, 0);
}

/// Each client sends its own random bytes and checks the echo.
fn echo_clients(address: SocketAddr, clients: u64, bytes: usize) {
    thread::scope(|scope| {
        for seed in 0..clients {
            scope.spawn(move || {
                let sent = random_bytes(seed, bytes);
                let mut stream = client(address);
                let mut back = vec![0; 4096];
                for chunk in sent.chunks(back.len()) {
                    stream.write_all(chunk).unwrap();
                    stream.read_exact(&mut back[..chunk.len()]).unwrap();
                    assert_eq!(back[..chunk.len()], *chunk, "client {seed}");
                }
            });
        }
    });
}

pub(crate) fn a_tiny_pool_of_buffers_loses_nothing<R: Reactor>(make: Make<R>) {
    let config = Config { receive_buffers: 2, receive_buffer_bytes: 512, ..small() };
    let mut r = make(config);
    let address = listen(&mut r);
    // Buffers are kept for a while, as by a caller who is busy.
    let mut kept: Vec<(ConnectionId, ReceiveBuffer)> = Vec::new();
    let app = |r: &mut R, event: Event| match event {
        Event::Received { connection, buffer } => {
            kept.push((connection, buffer));
            if kept.len() == 2 || r.connection_count() < 3 {
                for (connection, buffer) in kept.drain(..) {
                    echo(r, Event::Received { connection, buffer });
                }
            }
        }
        Event::Closed { .. } => {
            for (connection, buffer) in kept.drain(..) {
                echo(r, Event::Received { connection, buffer });
            }
        }
        event => echo(r, event),
    };
    serve(&mut r, app, || echo_clients(address, 16, 40_000));
    assert!(r.counters().no_buffers > 0, "the pool never ran dry: {:?}", r.counters());
}

pub(crate) fn tiny_queues_lose_nothing<R: Reactor>(make: Make<R>) {
    // Submissions don't fit and wait in line; completions overflow, which ends multishots.
    let mut r = make(Config { completion_entries: 4, ..small() });
    let address = listen(&mut r);
    let path = scratch("queues");
    let file = File::from(std::fs::File::create(&path).unwrap());
    let (mut started, ended) = (0, Cell::new(0));
    let written = |event: &Event| {
        if let Event::Disk { result, .. } = event {
            assert_eq!(*result, Ok(1));
            ended.set(ended.get() + 1);
        }
    };
    let app = |r: &mut R, event: Event| match event {
        Event::Received { .. } => {
            for _ in 0..4 {
                r.write_at(&file, started, vec![b'x'], Durability::Buffered, started);
                started += 1;
            }
            echo(r, event);
        }
        Event::Disk { .. } => written(&event),
        event => echo(r, event),
    };
    serve(&mut r, app, || echo_clients(address, 32, 100_000));
    // The last writes may end long after the last connection.
    turn_until(&mut r, |_, event| written(&event), |_| ended.get() >= started);
    // Nor does any of them end twice.
    let turns = r.counters().turns;
    turn_until(&mut r, |_, event| written(&event), |r| r.counters().turns >= turns + 50);
    assert_eq!(started, ended.get());
    println!("{:?}", r.counters());
    std::fs::remove_file(path).unwrap();
}

pub(crate) fn held_buffers_pause_their_connection_only<R: Reactor>(make: Make<R>) {
    const HOG_BYTES: usize = 2 * 1024 * 1024;
    // The kernel may overshoot the 8 by what the socket's receive buffer holds when it is first read.
    let config = Config {
        receive_buffers: 1024,
        receive_buffer_bytes: 1024,
        receive_buffers_per_connection: 8,
        ..small()
    };
    let mut r = make(config);
    let address = listen(&mut r);
    let others_done = AtomicBool::new(false);
    let (mut hogged, mut kept_most, mut kept) = (0, 0, Vec::new());
    let app = |r: &mut R, event: Event| match event {
        Event::Received { connection, buffer } if r.buffers().bytes(&buffer).starts_with(b"HHHH") => {
            hogged += buffer.len();
            kept.push((connection, buffer));
            kept_most = kept_most.max(kept.len());
        }
        event => {
            echo(r, event);
            if others_done.load(Ordering::Relaxed) {
                for (_, buffer) in kept.drain(..) {
                    r.release(buffer);
                }
            }
        }
    };
    // Ticks of the app even when nothing else happens.
    serve_ticking(&mut r, app, || {
        thread::scope(|scope| {
            let mut hog = client(address);
            scope.spawn(move || hog.write_all(&vec![b'H'; HOG_BYTES]).unwrap());
            pause(100);
            echo_clients(address, 16, 20_000);
            others_done.store(true, Ordering::Relaxed);
        });
    });
    assert_eq!(hogged, HOG_BYTES);
    assert!(kept_most < 700, "one connection had {kept_most} of 1024 buffers");
    assert!(r.counters().held_pauses > 0);
}

/// [`serve`], with a timer event every millisecond.
fn serve_ticking<R: Reactor, T: Send>(
    r: &mut R,
    mut app: impl FnMut(&mut R, Event),
    client: impl FnOnce() -> T + Send,
) -> T {
    const TICK: u64 = 0x71c4;
    r.set_timer(r.now(), TICK);
    let ticking = |r: &mut R, event: Event| {
        if event == (Event::Timer { token: TICK }) {
            r.set_timer(r.now().after(Duration::from_millis(1)), TICK);
        }
        app(r, event);
    };
    serve(r, ticking, client)
}

pub(crate) fn a_caller_who_holds_every_buffer_does_not_make_it_spin<R: Reactor>(make: Make<R>) {
    let config = Config { receive_buffers: 4, receive_buffer_bytes: 256, ..small() };
    let mut r = make(config);
    let address = listen(&mut r);
    let mut streams: Vec<TcpStream> = (0..8).map(|_| client(address)).collect();
    for stream in &mut streams {
        stream.write_all(&[b'x'; 1000]).unwrap();
    }
    let mut kept = Vec::new();
    let keep = |kept: &mut Vec<ReceiveBuffer>, event| {
        if let Event::Received { buffer, .. } = event {
            kept.push(buffer);
        }
    };
    let start = r.now();
    turn_until(&mut r, |_, event| keep(&mut kept, event), |r| r.buffers().held() == 4);
    // Whatever settles.
    turn_until(&mut r, |_, event| keep(&mut kept, event), |r| r.now().since(start).as_millis() > 50);
    let (turns, now) = (r.counters().turns, r.now());
    turn_until(&mut r, |_, event| keep(&mut kept, event), |r| r.now().since(now).as_millis() > 200);
    let turns = r.counters().turns - turns;
    assert!(turns < 60, "{turns} turns in 200 ms of waiting 10 ms each");
    // Releasing brings the rest, all of it.
    let mut received = 0;
    for buffer in kept.drain(..) {
        received += buffer.len();
        r.release(buffer);
    }
    let received = Cell::new(received);
    let count = |r: &mut R, event| {
        if let Event::Received { buffer, .. } = event {
            received.set(received.get() + buffer.len());
            r.release(buffer);
        }
    };
    turn_until(&mut r, count, |_| received.get() == 8 * 1000);
    drop(streams);
    turn_until(&mut r, echo, |r| r.connection_count() == 0);
    check_empty(&r);
}

pub(crate) fn receiving_can_be_switched_off<R: Reactor>(make: Make<R>) {
    let mut r = make(small());
    let address = listen(&mut r);
    let mut stream = client(address);
    stream.write_all(b"before").unwrap();
    let mut connection = ConnectionId::default();
    let received = Cell::new(0);
    let mut app = |r: &mut R, event: Event| match event {
        Event::Received { connection: from, buffer } => {
            connection = from;
            received.set(received.get() + buffer.len());
            r.release(buffer);
        }
        event => echo(r, event),
    };
    turn_until(&mut r, &mut app, |_| received.get() == 6);
    let _ = &mut app;
    r.set_receiving(connection, false);
    let settled = r.now();
    let mut app = |r: &mut R, event: Event| match event {
        Event::Received { buffer, .. } => {
            received.set(received.get() + buffer.len());
            r.release(buffer);
        }
        event => echo(r, event),
    };
    turn_until(&mut r, &mut app, |r| r.now().since(settled).as_millis() > 30);
    stream.write_all(b"while off").unwrap();
    let sent = r.now();
    turn_until(&mut r, &mut app, |r| r.now().since(sent).as_millis() > 100);
    assert_eq!(received.get(), 6, "received although it was switched off");
    r.set_receiving(connection, true);
    turn_until(&mut r, &mut app, |_| received.get() == 15);
    // Off and on in one turn, many times.
    for _ in 0..100 {
        r.set_receiving(connection, false);
        r.set_receiving(connection, true);
        r.turn(Wait::Poll).unwrap();
        while let Some(event) = r.next_event() {
            app(&mut r, event);
        }
    }
    stream.write_all(b"after").unwrap();
    turn_until(&mut r, &mut app, |_| received.get() == 20);
    drop(stream);
    turn_until(&mut r, echo, |r| r.connection_count() == 0);
    check_empty(&r);
}

pub(crate) fn large_pieces_keep_their_order<R: Reactor>(make: Make<R>) {
    static LARGE: [u8; 100_000] = [b's'; 100_000];
    let mut r = make(small());
    let address = listen(&mut r);
    let shared: Arc<[u8]> = vec![b'S'; 300_000].into();
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.extend_from_slice(b"head");
        expected.extend_from_slice(&LARGE);
        expected.extend_from_slice(b"small");
        expected.extend_from_slice(&shared);
        expected.extend_from_slice(b"tail");
    }
    let app = |r: &mut R, event: Event| {
        if let Event::Accepted { connection, .. } = event {
            let output = r.output(connection).unwrap();
            for _ in 0..3 {
                output.push(b"head");
                output.push_static(&LARGE);
                output.push_static(b"small");
                output.push_shared(&shared);
                output.bytes().extend_from_slice(b"tail");
            }
            assert_eq!(output.pending_bytes(), expected.len() as u64);
            r.close(connection, Close::Flush);
        }
    };
    let mut received = Vec::new();
    serve(&mut r, app, || client(address).read_to_end(&mut received).unwrap());
    assert!(received == expected, "{} bytes received, {} expected", received.len(), expected.len());
    assert_eq!(Arc::strong_count(&shared), 1, "the output still holds the shared bytes");
}

pub(crate) fn files_are_sent_and_short_ones_are_not_hidden<R: Reactor>(make: Make<R>) {
    let path = scratch("file");
    let content = random_bytes(3, 1_000_000);
    std::fs::write(&path, &content).unwrap();
    let file = File::from(std::fs::File::open(&path).unwrap());
    let mut r = make(small());
    let address = listen(&mut r);
    let mut promised = 500_000;
    let mut reasons = Vec::new();
    let mut app = |r: &mut R, event: Event| match event {
        Event::Accepted { connection, .. } => {
            let output = r.output(connection).unwrap();
            output.push(b"head");
            output.push_file(&file, 400_000, promised);
            output.push(b"tail");
            r.close(connection, Close::Flush);
            promised = 700_000;
        }
        Event::Closed { reason, .. } => reasons.push(reason),
        _ => {}
    };
    let mut received = Vec::new();
    serve(&mut r, &mut app, || client(address).read_to_end(&mut received).unwrap());
    let expected = [b"head", &content[400_000..900_000], b"tail"].concat();
    assert!(received == expected, "{} bytes received, {} expected", received.len(), expected.len());
    // The second promises 100,000 bytes that the file doesn't have.
    received.clear();
    serve(&mut r, &mut app, || client(address).read_to_end(&mut received).unwrap());
    assert!(received == [b"head", &content[400_000..]].concat());
    assert_eq!(reasons, [CloseReason::Requested, CloseReason::File(Errno(5))]);
    std::fs::remove_file(path).unwrap();
}

pub(crate) fn timers_fire_in_order_and_not_when_cancelled<R: Reactor>(make: Make<R>) {
    let mut r = make(small());
    let start = r.now();
    let at = |ms| start.after(Duration::from_millis(ms));
    r.set_timer(at(60), 3);
    r.set_timer(at(20), 1);
    let cancelled = r.set_timer(at(30), 9);
    r.set_timer(at(40), 2);
    r.set_timer(start, 0);
    assert!(r.cancel_timer(cancelled));
    assert!(!r.cancel_timer(cancelled));
    let mut fired = Vec::new();
    while fired.len() < 4 {
        // The timer alone must end this sleep.
        r.turn(Wait::Forever).unwrap();
        while let Some(event) = r.next_event() {
            let Event::Timer { token } = event else { panic!("{event:?}") };
            fired.push(token);
            assert!(r.now() >= at(token * 20), "timer {token} is early");
        }
    }
    assert_eq!(fired, [0, 1, 2, 3]);
    assert!(r.counters().turns < 20, "{} turns", r.counters().turns);
    let before = r.now();
    r.turn(Wait::AtMost(Duration::from_millis(30))).unwrap();
    assert!(r.now().since(before).as_millis() >= 29, "slept {:?}", r.now().since(before));
}

pub(crate) fn disk_writes_and_reads_back<R: Reactor>(make: Make<R>) {
    let path = scratch("disk");
    let options = || std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path);
    let file = File::from(options().unwrap());
    let mut r = make(small());
    let content = random_bytes(4, 100_000);
    let next = |r: &mut R| loop {
        r.turn(Wait::Forever).unwrap();
        if let Some(Event::Disk { token, result, buffer }) = r.next_event() {
            return (token, result, buffer);
        }
    };
    let write = content.clone();
    let address = write.as_ptr();
    r.write_at(&file, 5, write, Durability::Synced, 1);
    let (token, result, buffer) = next(&mut r);
    assert_eq!((token, result), (1, Ok(content.len())));
    assert_eq!(buffer.as_ptr(), address, "the buffer is handed back, not copied");

    r.write_at(&file, 0, b"head!".to_vec(), Durability::Buffered, 2);
    assert_eq!(next(&mut r), (2, Ok(5), b"head!".to_vec()));
    r.sync(&file, 3);
    assert_eq!(next(&mut r), (3, Ok(0), Vec::new()));

    // Beyond the end only part of the buffer is filled, and the result says so.
    r.read_at(&file, 3, vec![0xee; content.len() + 10], 4);
    let (token, result, buffer) = next(&mut r);
    assert_eq!((token, result), (4, Ok(content.len() + 2)));
    assert_eq!(buffer[..2], b"d!"[..]);
    assert!(buffer[2..content.len() + 2] == content);
    assert_eq!(buffer[content.len() + 2..], [0xee; 8]);

    let read_only = File::from(std::fs::File::open(&path).unwrap());
    r.write_at(&read_only, 0, b"x".to_vec(), Durability::Synced, 5);
    assert_eq!(next(&mut r), (5, Err(EBADF), b"x".to_vec()));

    // Many at once, in any order of completion.
    for n in 0..200u64 {
        r.write_at(&file, n * 8, n.to_le_bytes().to_vec(), Durability::Buffered, n);
    }
    let mut seen = [false; 200];
    let mut left = 200;
    while left > 0 {
        r.turn(Wait::Forever).unwrap();
        while let Some(Event::Disk { token, result, buffer }) = r.next_event() {
            assert_eq!((result, buffer), (Ok(8), token.to_le_bytes().to_vec()));
            assert!(!std::mem::replace(&mut seen[usize::try_from(token).unwrap()], true));
            left -= 1;
        }
    }
    let mut last = [0; 8];
    file.std().read_exact_at(&mut last, 199 * 8).unwrap();
    assert_eq!(u64::from_le_bytes(last), 199);
    std::fs::remove_file(path).unwrap();
}

pub(crate) fn wakes_are_never_lost<R: Reactor>(make: Make<R>) {
    const MESSAGES: u64 = 20_000;
    let mut r = make(small());
    let waker = r.waker();
    let (sent, seen) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = Rng::new(5);
            for message in 1..=MESSAGES {
                sent.store(message, Ordering::Release);
                waker.wake();
                // Sometimes the next comes at once, sometimes when the sleeper is falling asleep,
                // and sometimes when it sleeps.
                match rng.below(4) {
                    0 => {}
                    1 => (0..rng.below(3000)).for_each(|_| std::hint::spin_loop()),
                    _ => {
                        while seen.load(Ordering::Acquire) < message {
                            thread::yield_now();
                        }
                    }
                }
            }
        });
        while seen.load(Ordering::Relaxed) < MESSAGES {
            let before = r.now();
            r.turn(Wait::AtMost(Duration::from_secs(20))).unwrap();
            let slept = r.now().since(before);
            assert!(slept < Duration::from_secs(10), "slept through a call: {:?}", r.counters());
            while let Some(event) = r.next_event() {
                assert_eq!(event, Event::Woken);
                // Only what the event promises: everything published before the call.
                seen.store(sent.load(Ordering::Acquire), Ordering::Release);
            }
        }
    });
    // A call while nobody sleeps is kept for the next turn, which then doesn't sleep.
    waker.wake();
    waker.wake();
    r.turn(Wait::Forever).unwrap();
    assert_eq!(r.next_event(), Some(Event::Woken));
    // The last call may have left one stale count in the eventfd: at most one early end, no event.
    for _ in 0..2 {
        r.turn(Wait::AtMost(Duration::from_millis(1))).unwrap();
        assert_eq!(r.next_event(), None);
    }
    drop(r);
    waker.wake();
}

pub(crate) fn unix_sockets_know_their_peer<R: Reactor>(make: Make<R>) {
    let path = scratch("socket");
    // Left behind by a process that was killed.
    drop(UnixListener::bind(&path).unwrap());
    let endpoint = Endpoint::Unix(path.clone());
    let mut r = make(small());
    let listener = r.listen(&endpoint).unwrap();
    assert_eq!(r.local_addr(listener), Some(endpoint.clone()));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    // A socket that somebody listens on is not replaced.
    assert_eq!(r.listen(&endpoint).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    let mut peers = 0;
    let app = |r: &mut R, event: Event| {
        if let Event::Accepted { connection, .. } = event {
            let peer = r.peer_credentials(connection).unwrap();
            assert_eq!(peer.pid, std::process::id());
            assert_eq!(r.peer_addr(connection), None);
            peers += 1;
        }
        echo(r, event);
    };
    serve(&mut r, app, || {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert_eq!(back, b"hello");
    });
    // One was the look whether somebody listens there.
    assert_eq!(peers, 2);
    let out = r.connect(&endpoint).unwrap();
    r.output(out).unwrap().push(b"from our own");
    let mut back = Vec::new();
    let app = |r: &mut R, event: Event| match event {
        Event::Received { connection, buffer } if connection == out => {
            back.extend_from_slice(r.bytes(&buffer));
            r.release(buffer);
            r.close(out, Close::Flush);
        }
        event => echo(r, event),
    };
    turn_until(&mut r, app, |r| r.counters().connected == 1 && r.connection_count() == 0);
    assert_eq!(back, b"from our own");
    r.stop_listening(listener);
    turn_until(&mut r, echo, |r| r.local_addr(listener).is_none());
    assert!(!path.exists(), "the socket's file is left behind");
    let long = Endpoint::Unix("x".repeat(108).into());
    assert_eq!(r.listen(&long).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

/// What the kernel waits for at an idle connection from its own end `port`: the timer in /proc/net/tcp (proc_net_tcp).
fn kernel_timer(port: u16, peer: u16) -> String {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let (own, other) = (format!(":{port:04X}"), format!(":{peer:04X}"));
    let line = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|columns| columns[1].ends_with(&own) && columns[2].ends_with(&other))
        .unwrap_or_else(|| panic!("no connection from {port} to {peer}:\n{table}"));
    line[5].split(':').next().unwrap().to_owned()
}

pub(crate) fn who_was_dialled_is_asked_whether_it_is_still_there<R: Reactor>(make: Make<R>) {
    const KEEPALIVE: &str = "02";
    let mut r = make(small());
    let there = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = there.local_addr().unwrap();
    r.connect(&Endpoint::Tcp(peer)).unwrap();
    turn_until(&mut r, |_, _| {}, |r| r.counters().connected == 1);
    let (_accepted, dialled) = there.accept().unwrap();
    assert_eq!(kernel_timer(dialled.port(), peer.port()), KEEPALIVE);
}

pub(crate) fn outbound_connections_report_how_they_ended<R: Reactor>(make: Make<R>) {
    let mut r = make(small());
    let connect = |r: &mut R, endpoint: &Endpoint| {
        let id = r.connect(endpoint).unwrap();
        let result = Cell::new(None);
        let app = |_: &mut R, event| match event {
            Event::Connected { connection, result: outcome } => {
                assert_eq!(connection, id);
                result.set(Some(outcome));
            }
            Event::Accepted { .. } => {}
            other => panic!("{other:?}"),
        };
        turn_until(r, app, |_| result.get().is_some());
        (id, result.get().unwrap())
    };
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(connect(&mut r, &Endpoint::Tcp(closed)).1, Err(ECONNREFUSED));
    assert_eq!(connect(&mut r, &Endpoint::Unix(scratch("nobody"))).1, Err(ENOENT));
    turn_until(&mut r, echo, |r| r.connection_count() == 0);
    assert_eq!(r.counters().connect_errors, 2);

    // To a listener of our own: both ends in one reactor.
    let address = listen(&mut r);
    let (id, result) = connect(&mut r, &Endpoint::Tcp(address));
    assert_eq!(result, Ok(()));
    assert_eq!(r.peer_addr(id), Some(address));
    r.output(id).unwrap().push(b"ping");
    let mut back = Vec::new();
    let app = |r: &mut R, event: Event| match event {
        Event::Received { connection, buffer } if connection == id => {
            back.extend_from_slice(r.bytes(&buffer));
            r.release(buffer);
            r.close(id, Close::Flush);
        }
        event => echo(r, event),
    };
    turn_until(&mut r, app, |r| r.counters().closed == 2);
    assert_eq!(back, b"ping");

    // Output that is appended before the connection is up goes out when it is.
    let id = r.connect(&Endpoint::Tcp(address)).unwrap();
    r.output(id).unwrap().push(b"early");
    r.close(id, Close::Flush);
    turn_until(&mut r, echo, |r| r.counters().closed == 4);
    assert_eq!(r.counters().received_bytes, 4 + 4 + 5);

    // Given up while connecting (a backlog that nobody accepts from stays silent); Closed follows.
    let id = r.connect(&"192.0.2.1:9".parse().unwrap()).unwrap();
    r.turn(Wait::Poll).unwrap();
    r.close(id, Close::Now);
    turn_until(&mut r, echo, |r| r.connection_count() == 0);
}

pub(crate) fn an_old_id_reaches_nobody<R: Reactor>(make: Make<R>) {
    let mut r = make(small());
    let address = listen(&mut r);
    let mut previous: Option<ConnectionId> = None;
    for round in 0..50 {
        let mut stream = client(address);
        stream.write_all(b"x").unwrap();
        let mut current = None;
        turn_until(
            &mut r,
            |r, event| match event {
                Event::Received { connection, buffer } => {
                    current = Some(connection);
                    r.release(buffer);
                }
                event => echo(r, event),
            },
            |r| r.counters().received_bytes == round + 1,
        );
        let current = current.unwrap();
        if let Some(old) = previous {
            assert_eq!(old.slot, current.slot, "the slot is used again");
            assert_ne!(old.generation, current.generation);
            assert!(r.output(old).is_none());
            assert!(r.peer_addr(old).is_none());
            r.close(old, Close::Now);
            r.set_receiving(old, false);
        }
        assert!(r.peer_addr(current).is_some());
        r.output(current).unwrap().push(b"bye");
        r.close(current, Close::Flush);
        assert!(r.output(current).is_none(), "no appending after close");
        stream.shutdown(Shutdown::Write).unwrap();
        turn_until(&mut r, echo, |r| r.connection_count() == 0);
        let mut bye = Vec::new();
        stream.read_to_end(&mut bye).unwrap();
        assert_eq!(bye, b"bye");
        assert!(r.output(current).is_none());
        previous = Some(current);
    }
    check_empty(&r);
}

pub(crate) fn the_table_is_bounded<R: Reactor>(make: Make<R>) {
    let mut r = make(Config { connections: 4, ..small() });
    let address = listen(&mut r);
    let mut streams: Vec<TcpStream> = (0..10).map(|_| client(address)).collect();
    turn_until(&mut r, echo, |r| r.counters().refused == 6);
    assert_eq!(r.connection_count(), 4);
    let full = r.connect(&Endpoint::Tcp(address)).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::QuotaExceeded);
    // The first four are served, the others see the end at once.
    let served = serve(&mut r, echo, || {
        let mut served = 0;
        for stream in &mut streams {
            let echoed = stream.write_all(b"x").and_then(|()| stream.read_exact(&mut [0]));
            served += usize::from(echoed.is_ok());
        }
        drop(streams);
        // And there is room again.
        pause(50);
        client(address).write_all(b"x").unwrap();
        served
    });
    assert_eq!(served, 4);
    assert_eq!(r.counters().accepted, 5);
}

pub(crate) fn a_refused_upload_still_gets_its_answer<R: Reactor>(make: Make<R>) {
    let mut r = make(small());
    let address = listen(&mut r);
    let app = |r: &mut R, event: Event| match event {
        Event::Received { connection, buffer } => {
            r.release(buffer);
            if let Some(output) = r.output(connection) {
                output.push(b"413 too large");
            }
            r.close(connection, Close::Linger);
        }
        Event::Eof { connection } => panic!("an end of {connection} after its close"),
        _ => {}
    };
    serve(&mut r, app, || {
        for _ in 0..10 {
            let mut stream = client(address);
            // Far more than the socket buffers hold, so that a reset would meet unread bytes.
            stream.write_all(&vec![b'x'; 8 * 1024 * 1024]).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"413 too large");
        }
    });
    // One that never stops talking is cut off when the linger time is over.
    let start = r.now();
    let closed = r.counters().closed;
    let mut stream = client(address);
    stream.write_all(b"x").unwrap();
    turn_until(&mut r, app, |r| r.counters().closed == closed + 1);
    let took = r.now().since(start);
    assert!(took >= Duration::from_millis(490) && took < Duration::from_secs(5), "{took:?}");
}

pub(crate) fn stopping_a_listener_keeps_those_who_came_before<R: Reactor>(make: Make<R>) {
    let mut r = make(small());
    let listener = r.listen(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let Some(Endpoint::Tcp(address)) = r.local_addr(listener) else { panic!("no address") };
    r.turn(Wait::Poll).unwrap();
    let mut streams: Vec<TcpStream> = (0..20).map(|_| client(address)).collect();
    r.stop_listening(listener);
    r.stop_listening(listener);
    turn_until(&mut r, echo, |r| r.local_addr(listener).is_none());
    assert_eq!(r.counters().accepted, 20);
    serve(&mut r, echo, || {
        assert!(TcpStream::connect(address).is_err(), "still listening");
        for stream in &mut streams {
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
        drop(streams);
    });
}

pub(crate) fn dropping_with_work_under_way_is_clean<R: Reactor>(make: Make<R>) {
    let path = scratch("drop");
    let file = File::from(std::fs::File::create(&path).unwrap());
    for round in 0..5 {
        let mut r = make(small());
        let address = listen(&mut r);
        let mut streams: Vec<TcpStream> = (0..10).map(|_| client(address)).collect();
        for stream in &mut streams {
            stream.write_all(b"x").unwrap();
        }
        let mut open = 0;
        let app = |r: &mut R, event: Event| match event {
            Event::Accepted { connection, .. } => {
                open += 1;
                r.output(connection).unwrap().bytes().resize(8 * 1024 * 1024, b'y');
            }
            // Never released: it goes with the pool.
            Event::Received { buffer, .. } => drop(buffer),
            _ => {}
        };
        turn_until(&mut r, app, |r| r.counters().received_bytes == 10);
        r.write_at(&file, 0, vec![0; 1 << 20], Durability::Synced, 1);
        r.set_timer(Monotonic::NEVER, 1);
        let _ = r.connect(&Endpoint::Tcp(address));
        if round % 2 == 0 {
            r.turn(Wait::Poll).unwrap();
        }
        let start = r.now();
        drop(r);
        // The sockets are closed, and the port is free for the next.
        for stream in &mut streams {
            let end = stream.read_to_end(&mut Vec::new());
            assert!(end.is_ok() || end.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
        }
        let mut next = make(small());
        next.listen(&Endpoint::Tcp(address)).unwrap();
        assert!(next.now().since(start) < Duration::from_secs(4), "drop took {:?}", next.now().since(start));
        assert_eq!(open, 10);
    }
    std::fs::remove_file(path).unwrap();
}
