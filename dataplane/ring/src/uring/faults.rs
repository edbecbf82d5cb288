//! Every operation fails now and then, with every errno that its arm names and
//! some that none does. What clients see is undefined then; what must hold is
//! that nothing leaks, sticks or panics, and that it works again afterwards.

use super::*;
use forebay_base::rng::Rng;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

pub(super) struct Faults {
    rng: Rng,
    injected: u64,
}

impl Faults {
    pub(super) fn inject(&mut self, completion: Completion) -> Completion {
        let (kind, _) = Kind::of(completion.data);
        let errnos: &[i32] = match kind {
            // Bytes that were received can't be made undone.
            Some(Kind::Receive) if completion.buffer.is_none() && !completion.more => {
                &[libc::ECONNRESET, libc::ETIMEDOUT, libc::EINTR, libc::ENOBUFS, libc::ECANCELED, libc::EIO]
            }
            Some(Kind::Send) => &[libc::EPIPE, libc::ECONNRESET, libc::EINTR, libc::ENOMEM, 0],
            Some(Kind::FileRead) => &[libc::EIO, libc::EINTR, 0],
            Some(Kind::Connect) => &[libc::ECONNREFUSED, libc::ETIMEDOUT],
            Some(Kind::Disk) => &[libc::EIO, libc::ENOSPC, 0],
            // An accepted socket needs an owner.
            Some(Kind::Accept) if completion.result < 0 => {
                &[libc::EMFILE, libc::ECONNABORTED, libc::ENOMEM, libc::ENFILE]
            }
            _ => return completion,
        };
        if !self.rng.one_in(8) {
            return completion;
        }
        self.injected += 1;
        let pick = usize::try_from(self.rng.below(errnos.len() as u64)).unwrap();
        Completion { result: -errnos[pick], ..completion }
    }
}

/// One connection's worth of everything, errors ignored.
fn disturb(address: SocketAddr, rng: &mut Rng) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    for _ in 0..rng.below(4) {
        let _ = stream.write_all(b"some bytes");
        let _ = stream.read(&mut [0; 1000]);
    }
    if rng.one_in(2) {
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

fn check(seed: u64, without: Features) {
    println!("seed {seed}, without {without}");
    let path = std::env::temp_dir().join(format!("ring-faults-{}-{seed}", std::process::id()));
    std::fs::write(&path, vec![b'f'; 100_000]).unwrap();
    let options = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let file = File::from(options);
    let config = Config {
        connections: 64,
        receive_buffers: 8,
        linger: Duration::from_millis(20),
        without,
        ..Config::default()
    };
    let mut r = UringReactor::new(config).unwrap();
    r.faults = Some(Faults { rng: Rng::new(seed), injected: 0 });
    let listener = r.listen(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let Some(Endpoint::Tcp(address)) = r.local_addr(listener) else { panic!("no address") };
    let mut rng = Rng::new(!seed);
    let mut injected = 0;
    let (mut disk_started, mut disk_ended, mut outbound, mut ends) = (0, 0, 0, 0);
    std::thread::scope(|scope| {
        let clients = scope.spawn(move || {
            let mut rng = Rng::new(seed);
            for _ in 0..150 {
                disturb(address, &mut rng);
            }
        });
        let start = r.now();
        while !clients.is_finished() || r.connection_count() > 0 || disk_started != disk_ended {
            assert!(r.now().since(start) < Duration::from_secs(30), "stuck: {:?}", r.counters());
            r.turn(Wait::AtMost(Duration::from_millis(5))).unwrap();
            if clients.is_finished() {
                // Whoever is left: outbound ones, and those whose end was injected away.
                for slot in 0..64 {
                    let id = r.connections.id(slot);
                    r.close(id, Close::Flush);
                }
                injected += r.faults.take().map_or(0, |faults| faults.injected);
            }
            while let Some(event) = r.next_event() {
                match event {
                    Event::Received { connection, buffer } => {
                        if let Some(output) = r.output(connection) {
                            output.push(b"answer");
                            output.push_file(&file, 0, 100_000);
                        }
                        r.release(buffer);
                        r.read_at(&file, 0, vec![0; 100], 1);
                        r.sync(&file, 2);
                        disk_started += 2;
                        match rng.below(6) {
                            0 => r.close(connection, Close::Now),
                            1 => r.close(connection, Close::Linger),
                            2 => {
                                r.set_receiving(connection, false);
                                r.set_receiving(connection, true);
                            }
                            3 if outbound < 50 => {
                                outbound += 1;
                                let _ = r.connect(&Endpoint::Tcp(address));
                            }
                            _ => {}
                        }
                    }
                    Event::Eof { connection } => r.close(connection, Close::Flush),
                    Event::Connected { connection, result: Ok(()) } => {
                        r.close(connection, Close::Flush);
                    }
                    Event::Disk { .. } => disk_ended += 1,
                    Event::Closed { .. } => ends += 1,
                    _ => {}
                }
            }
        }
    });
    // How many depends on how the kernel batches completions; usually dozens.
    assert!(injected > 0, "no fault was injected");
    let counters = *r.counters();
    assert_eq!(counters.accepted + counters.connected, counters.closed, "{counters:?}");
    assert_eq!(ends, counters.closed, "one Closed for each");
    assert_eq!(r.buffers().held(), 0);
    assert_eq!(counters.strays, 0);
    assert!(r.starved.iter().all(|slot| r.connections.id(*slot).slot == *slot));
    // And it still serves.
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"x").unwrap();
    let before = counters.received_bytes;
    for _ in 0..100 {
        r.turn(Wait::AtMost(Duration::from_millis(10))).unwrap();
        while let Some(event) = r.next_event() {
            if let Event::Received { buffer, .. } = event {
                r.release(buffer);
            }
        }
    }
    assert_eq!(r.counters().received_bytes, before + 1);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn failing_operations_leak_nothing() {
    for seed in 0..4 {
        check(seed, Features::default());
        check(seed, Features { direct_descriptors: true, ..Features::default() });
        check(seed, Features { multishot_receive: true, multishot_accept: true, ..Features::default() });
    }
}
