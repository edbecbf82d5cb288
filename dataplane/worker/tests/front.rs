//! Client connections over real sockets: everything that needs no script, in every
//! way a runtime can be put together.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests have clocks and threads")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Answer, BIG_BYTES, Client, HELLO, PATIENCE, Setup, Variant, big_byte, eventually, files, get};
use forebay_base::limits::HttpLimits;
use forebay_worker::Runtime;

/// Runs a story in every variant, on a runtime that serves `files`.
fn check(setup: &Setup, story: impl Fn(&Runtime, Variant)) {
    let root = tempfile::tempdir().unwrap();
    let generation = files(root.path(), 1);
    for variant in common::variants() {
        let runtime = setup.start(variant, Arc::clone(&generation));
        eprintln!("{variant:?} {}", runtime.features());
        story(&runtime, variant);
        eventually("all connections closed", || common::total(&runtime, |m| &m.connections) == 0);
        let begin = Instant::now();
        runtime.stop();
        assert!(begin.elapsed() < Duration::from_secs(2), "stop took {:?}", begin.elapsed());
        assert_eq!(common::total(&runtime, |m| &m.strays), 0);
    }
}

fn client(runtime: &Runtime) -> Client {
    Client::new(runtime.tcp().unwrap())
}

fn limits(change: impl FnOnce(&mut HttpLimits)) -> Setup {
    let mut setup = Setup::default();
    change(&mut setup.http);
    setup
}

#[test]
fn answers_by_the_table() {
    check(&Setup::default(), |runtime, _| {
        let mut client = client(runtime);
        let hello = client.get("/hello");
        assert_eq!((hello.status, hello.text()), (200, HELLO));
        assert_eq!(hello.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(client.get("/f/3.txt").header("cache-control"), Some("public, max-age=60"));

        let head = client.send("HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n").answer_to_head();
        assert_eq!((head.status, head.header("content-length")), (200, Some("13")));

        let tag = hello.header("etag").unwrap();
        let fresh = format!("GET /hello HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"no\", W/{tag}\r\n\r\n");
        assert_eq!(client.send(fresh).answer().status, 304);

        assert_eq!((client.get("/nowhere").status, client.get("/f/nowhere").status), (404, 404));
        assert_eq!(client.get("/f/%2e%2e/secret").status, 400);
        let moved = client.get("/moved");
        assert_eq!((moved.status, moved.header("location")), (308, Some("/hello")));
        let wrong = client.post("/hello", "x");
        assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD")));
        assert_eq!(client.get("/hello").text(), HELLO);

        let big = client.get("/f/big.bin");
        assert_eq!(big.body.len(), BIG_BYTES);
        assert!(big.body.iter().enumerate().all(|(i, byte)| *byte == big_byte(i)));
        let problem = client.get("/nowhere");
        assert_eq!(problem.header("content-type"), Some("application/problem+json"));
        assert!(problem.text().contains("\"code\":\"no_route\""));
    });
}

#[test]
fn what_cannot_be_read_is_answered_and_closed() {
    let setup = limits(|http| {
        http.body_bytes = 1000;
        http.request_head_bytes = 1024;
        http.uri_bytes = 200;
        http.header_count = 10;
    });
    check(&setup, |runtime, _| {
        let long = "a".repeat(2000);
        for (bytes, status) in [
            ("NO\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n".to_owned(), 400),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(), 400),
            ("GET / HTTP/3.0\r\nHost: x\r\n\r\n".to_owned(), 505),
            ("POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n".to_owned(), 413),
            (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", &long[..300]), 414),
            (format!("GET / HTTP/1.1\r\nHost: x\r\nA: {long}\r\n\r\n"), 431),
            (format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(11)), 431),
        ] {
            // Behind a good request, with more behind it: the answers come in order, then the end.
            let mut client = client(runtime);
            client.send(format!("{}{bytes}{}", get("/hello"), get("/hello")));
            assert_eq!(client.answer().status, 200);
            let answer = client.answer();
            assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{bytes:?}");
            client.end();
        }
    });
}

#[test]
fn versions_and_wishes_to_close() {
    check(&Setup::default(), |runtime, _| {
        let mut old = client(runtime);
        assert_eq!(old.send("GET /hello HTTP/1.0\r\n\r\n").answer().text(), HELLO);
        old.end();

        let mut old = client(runtime);
        for _ in 0..2 {
            let answer = old.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").answer();
            assert_eq!(answer.header("connection"), Some("keep-alive"));
        }

        let mut closing = client(runtime);
        // What stands behind the request that closes is void.
        closing.send(format!(
            "{}GET /f/1.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n{}",
            get("/hello"),
            get("/f/2.txt").repeat(100)
        ));
        assert_eq!(closing.answer().text(), HELLO);
        assert_eq!(closing.answer().text(), "number 1");
        closing.end();
    });
}

#[test]
fn pipelined_answers_come_in_order() {
    check(&Setup::default(), |runtime, _| {
        let mut client = client(runtime);
        let burst: String = (0..16).map(|index| get(&format!("/f/{index}.txt"))).collect();
        for _ in 0..20 {
            client.send(&burst);
            for index in 0..16 {
                assert_eq!(client.answer().text(), format!("number {index}"));
            }
        }
        // Far more than a turn's share, and than what is held of a client that doesn't wait.
        let count = 20_000;
        let mut writer = client.stream.try_clone().unwrap();
        let thread = std::thread::spawn(move || {
            let many: String = (0..count).map(|index| get(&format!("/f/{}.txt", index % 16))).collect();
            writer.write_all(many.as_bytes()).unwrap();
        });
        for index in 0..count {
            assert_eq!(client.answer().text(), format!("number {}", index % 16));
        }
        thread.join().unwrap();
    });
}

#[test]
fn a_request_may_come_in_any_pieces() {
    check(&Setup::default(), |runtime, _| {
        let request =
            "POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        let whole = format!("{}{request}{}", get("/f/1.txt"), get("/moved"));
        let strip = |answer: Answer| (answer.status, answer.body);
        let mut expected = None;
        for at in 0..=whole.len() {
            let mut client = client(runtime);
            client.send(&whole[..at]);
            if at % 8 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            client.send(&whole[at..]);
            let answers = [(); 3].map(|()| strip(client.answer()));
            assert_eq!(answers.each_ref().map(|a| a.0), [200, 405, 308]);
            assert_eq!(*expected.get_or_insert_with(|| answers.clone()), answers, "split at {at}");
        }
        let mut client = client(runtime);
        for byte in whole.bytes() {
            client.send([byte]);
        }
        assert_eq!([(); 3].map(|()| strip(client.answer())), expected.unwrap());
    });
}

#[test]
fn asks_for_a_body_that_waits_to_be_asked_for() {
    check(&Setup::default(), |runtime, _| {
        let mut client = client(runtime);
        let head = "POST /hello HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(client.send(head).answer().status, 100);
        assert_eq!(client.send("abc").answer().status, 405);
        assert_eq!(client.get("/hello").status, 200);
    });
}

#[test]
fn a_slow_reader_costs_little() {
    let setup = limits(|http| http.output_bytes = 256 * 1024);
    check(&setup, |runtime, variant| {
        let mut slow = client(runtime);
        // 40 files of 8 MiB; the requests themselves are more than a turn's share.
        slow.send(get("/f/big.bin").repeat(40));
        std::thread::sleep(Duration::from_millis(300));
        // The gauge moves once a second.
        let turns = common::total(runtime, |m| &m.turns);
        std::thread::sleep(Duration::from_millis(1200));
        let turned = common::total(runtime, |m| &m.turns) - turns;
        assert!(turned < 200, "{turned} turns without work, {variant:?}");
        // Others aren't held up.
        assert_eq!(client(runtime).get("/hello").text(), HELLO);
        for _ in 0..40 {
            let answer = slow.answer();
            assert_eq!(answer.body.len(), BIG_BYTES);
            assert_eq!(answer.body[12_345], big_byte(12_345));
        }
    });
}

#[test]
fn clients_that_take_too_long_are_let_go() {
    let setup = limits(|http| {
        http.idle_timeout = Duration::from_millis(900);
        http.header_timeout = Duration::from_millis(300);
        http.body_timeout = Duration::from_millis(500);
        http.write_timeout = Duration::from_millis(400);
        http.output_bytes = 64 * 1024;
    });
    check(&setup, |runtime, variant| {
        let begin = Instant::now();
        let mut drip = client(runtime);
        let (mut head, mut body, mut idle) = (client(runtime), client(runtime), client(runtime));
        head.send("GET /hello HTTP/1.1\r\nHo");
        body.send("POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
        assert_eq!(idle.get("/hello").status, 200);
        // A byte now and then doesn't help.
        let mut dripping = drip.stream.try_clone().unwrap();
        let thread = std::thread::spawn(move || {
            for byte in get("/hello").bytes() {
                if dripping.write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        // Someone who asks and doesn't read.
        let stuck = client(runtime);
        (&stuck.stream).write_all(get("/f/big.bin").repeat(4).as_bytes()).unwrap();
        // Someone who asks, ends, and doesn't read.
        let ended = client(runtime);
        (&ended.stream).write_all(get("/f/big.bin").as_bytes()).unwrap();
        ended.stream.shutdown(std::net::Shutdown::Write).unwrap();

        assert_eq!(head.answer().status, 408);
        let took = begin.elapsed();
        assert!((300..800).contains(&took.as_millis()), "{took:?} {variant:?}");
        head.end();
        assert_eq!(drip.answer().status, 408);
        assert_eq!(body.answer().status, 408);
        body.end();
        thread.join().unwrap();
        idle.end();
        let took = begin.elapsed();
        assert!((900..1900).contains(&took.as_millis()), "{took:?} {variant:?}");
        // While the last two still don't read.
        eventually("stuck clients are gone", || common::total(runtime, |m| &m.connections) == 0);
        assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    });
}

#[test]
fn an_idle_connection_after_a_body_is_idle() {
    let setup = limits(|http| http.body_timeout = Duration::from_millis(100));
    check(&setup, |runtime, _| {
        let mut client = client(runtime);
        client.send("POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab");
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(client.send("cd").answer().status, 405);
        std::thread::sleep(Duration::from_millis(400));
        assert_eq!(client.get("/hello").status, 200);
    });
}

#[test]
fn the_end_of_a_burst_is_answered() {
    // More than a turn's share, so that the end comes while bytes are held.
    let setup = limits(|http| http.requests_per_turn = 4);
    check(&setup, |runtime, _| {
        for count in [1, 3, 4, 5, 100] {
            let mut client = client(runtime);
            client.send(get("/f/5.txt").repeat(count));
            client.stream.shutdown(std::net::Shutdown::Write).unwrap();
            for _ in 0..count {
                assert_eq!(client.answer().text(), "number 5");
            }
            client.end();
            // A request cut short by the end is none.
            let mut cut = common::Client::new(runtime.tcp().unwrap());
            cut.send(get("/f/5.txt").repeat(count)).send("GET /f/6.txt HT");
            cut.stream.shutdown(std::net::Shutdown::Write).unwrap();
            for _ in 0..count {
                assert_eq!(cut.answer().text(), "number 5");
            }
            cut.end();
        }
    });
}

#[test]
fn resets_leave_nothing() {
    check(&Setup::default(), |runtime, _| {
        for round in 0..60 {
            let client = client(runtime);
            let bytes = get("/f/big.bin").repeat(3)
                + "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab";
            (&client.stream).write_all(&bytes.as_bytes()[..bytes.len() - round]).unwrap();
            if round % 2 == 0 {
                let mut some = [0; 10_000];
                (&client.stream).read_exact(&mut some).unwrap();
            }
            // SO_LINGER of 0: a reset instead of an orderly end (unread bytes do the same).
            drop(client);
        }
        assert_eq!(client(runtime).get("/hello").text(), HELLO);
        eventually("resets are noticed", || common::total(runtime, |m| &m.connections) == 0);
    });
}

#[test]
fn two_thousand_connections_leave_nothing() {
    check(&Setup::default(), |runtime, variant| {
        let addr = runtime.tcp().unwrap();
        for _ in 0..4 {
            let clients: Vec<_> = (0..500).map(|_| Client::new(addr)).collect();
            let count = AtomicU64::new(0);
            for mut client in clients {
                count.fetch_add(u64::from(client.get("/hello").status == 200), Ordering::Relaxed);
            }
            assert_eq!(count.into_inner(), 500);
        }
        eventually("all closed", || common::total(runtime, |m| &m.connections) == 0);
        assert_eq!(common::total(runtime, |m| &m.answers[2]), 2000, "{variant:?}");
    });
}

#[test]
fn one_too_many_is_told_so() {
    let setup = limits(|http| http.connections = 4);
    check(&setup, |runtime, variant| {
        let mut clients: Vec<_> = (0..4 * variant.cores + 64).map(|_| client(runtime)).collect();
        let (mut served, mut refused) = (0, 0);
        for client in &mut clients {
            // The refusal may come before the request is sent.
            let _ = client.stream.write_all(get("/hello").as_bytes());
            let answer = client.answer();
            match answer.status {
                200 => served += 1,
                503 => {
                    assert_eq!(answer.header("retry-after"), Some("1"));
                    client.end();
                    refused += 1;
                }
                other => panic!("{other}"),
            }
        }
        assert!(served <= 4 * variant.cores && served >= 4, "{served} served, {refused} refused");
        drop(clients);
        eventually("all closed", || common::total(runtime, |m| &m.connections) == 0);
        assert_eq!(client(runtime).get("/hello").status, 200);
    });
}

#[test]
fn bodies_of_all_connections_together_have_a_bound() {
    let setup = limits(|http| {
        http.body_bytes = 1 << 20;
        http.held_bytes = 3 << 20;
    });
    check(&setup, |runtime, variant| {
        let mut clients: Vec<_> = (0..24).map(|_| client(runtime)).collect();
        let half = vec![b'x'; 1 << 19];
        for client in &mut clients {
            let _ = client
                .stream
                .write_all(b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n");
            let _ = client.stream.write_all(&half);
        }
        eventually("some are shed", || common::total(runtime, |m| &m.shed) >= 24 - 8 * variant.cores as u64);
        let mut refused = 0;
        for client in &mut clients {
            // A refused one has its answer (and perhaps no ears any more), the others get theirs at the end.
            let _ = client.stream.write_all(&half);
            let answer = client.answer();
            assert!(matches!(answer.status, 405 | 503), "{}", answer.status);
            refused += u64::from(answer.status == 503);
        }
        assert!(refused > 0);
        drop(clients);
        eventually("all closed", || common::total(runtime, |m| &m.connections) == 0);
        assert_eq!(client(runtime).post("/hello", &"y".repeat(1 << 20)).status, 405);
    });
}

#[test]
fn a_deploy_is_noticed_by_nobody() {
    let root = tempfile::tempdir().unwrap();
    let first = files(root.path(), 1);
    for variant in common::variants() {
        let runtime = Setup::default().start(variant, Arc::clone(&first));
        let addr = runtime.tcp().unwrap();
        let stop = AtomicBool::new(false);
        let asked = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut client = Client::new(addr);
                    let burst = get("/hello") + &get("/f/7.txt") + &get("/nowhere");
                    while !stop.load(Ordering::Relaxed) {
                        client.send(&burst);
                        assert_eq!(client.answer().text(), HELLO);
                        assert_eq!(client.answer().text(), "number 7");
                        assert_eq!(client.answer().status, 404);
                        asked.fetch_add(3, Ordering::Relaxed);
                    }
                });
            }
            for id in 2..=101 {
                runtime.deploy(&files(root.path(), id)).unwrap();
                assert_eq!(runtime.generation().id, id);
            }
            stop.store(true, Ordering::Relaxed);
        });
        eprintln!("{variant:?}: {} answers during 100 deploys", asked.into_inner());
        eventually("old generations are gone", || {
            runtime.metrics().iter().all(|metrics| metrics.generations.get() == 1)
        });
    }
}

#[test]
fn draining_ends_connections_and_threads() {
    let root = tempfile::tempdir().unwrap();
    let generation = files(root.path(), 1);
    for variant in common::variants() {
        let runtime = Setup::default().start(variant, Arc::clone(&generation));
        let mut idle = client(&runtime);
        assert_eq!(idle.get("/hello").status, 200);
        let mut partial = client(&runtime);
        partial.send("GET /hello HTTP/1.1\r\nHo");
        let mut slow = client(&runtime);
        slow.send(get("/f/big.bin"));
        eventually("both are there", || common::total(&runtime, |m| &m.answers[2]) == 2);
        std::thread::sleep(Duration::from_millis(50));
        std::thread::scope(|scope| {
            let drained = scope.spawn(|| runtime.drain(PATIENCE));
            idle.end();
            // Each core hears of it by itself: the others may be a moment behind.
            std::thread::sleep(Duration::from_millis(200));
            let answer = partial.send("st: x\r\n\r\n").answer();
            assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
            partial.end();
            drop(partial);
            assert_eq!(slow.answer().body.len(), BIG_BYTES);
            slow.end();
            drop(slow);
            let begin = Instant::now();
            assert!(drained.join().unwrap(), "{variant:?}");
            assert!(begin.elapsed() < Duration::from_secs(3), "{:?} {variant:?}", begin.elapsed());
        });
        assert!(runtime.is_over());
        assert!(TcpStream::connect(runtime.tcp().unwrap()).is_err());
    }
}
