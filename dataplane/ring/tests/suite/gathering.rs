//! Turns that gather ([`Wait::Gather`]).

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use forebay_ring::{Event, Reactor, Wait};

use super::{Make, PATIENCE, client, echo, listen, small, turn_until};

/// Ten peers send one after the other, a millisecond apart, while the reactor gathers: it hears of them together. One
/// that comes alone when the time is over is heard at once.
pub(crate) fn a_turn_gathers_what_comes_within_a_time<R: Reactor>(make: Make<R>) {
    const TIME: Duration = Duration::from_millis(500);
    let mut r = make(small());
    let address = listen(&mut r);
    let mut clients: Vec<TcpStream> = (0..10).map(|_| client(address)).collect();
    let accepted = Cell::new(0);
    let count =
        |_: &mut R, event| accepted.set(accepted.get() + u32::from(matches!(event, Event::Accepted { .. })));
    turn_until(&mut r, count, |_| accepted.get() == 10);
    // What is still to be said about the accepting.
    r.turn(Wait::AtMost(Duration::from_millis(20))).unwrap();
    while r.next_event().is_some() {}
    let start = r.now();
    let (mut received, mut turns) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for stream in &mut clients {
                thread::sleep(Duration::from_millis(1));
                stream.write_all(b"x").unwrap();
            }
        });
        while received < 10 {
            r.turn(Wait::Gather(TIME)).unwrap();
            turns += 1;
            while let Some(event) = r.next_event() {
                if let Event::Received { buffer, .. } = event {
                    received += 1;
                    r.release(buffer);
                }
            }
            assert!(r.clock().since(start) < PATIENCE, "{:?}", r.counters());
        }
    });
    if r.features().io_uring {
        assert!(turns <= 3, "{turns} turns: {:?}", r.counters());
        assert!(r.clock().since(start) >= TIME, "{:?}", r.clock().since(start));
    }
    // Nothing within the time, or hardly any time left: then it is as any other wait.
    let guard = r.set_timer(r.clock().after(PATIENCE), 7);
    thread::scope(|scope| {
        scope.spawn(|| {
            let stream = &mut clients[0];
            for _ in 0..2000 {
                stream.write_all(b"y").unwrap();
                stream.read_exact(&mut [0]).unwrap();
            }
        });
        let mut received = 0;
        while received < 2000 {
            // The turn's own work takes part of it: every remainder comes, fractions of a microsecond too.
            r.turn(Wait::Gather(Duration::from_nanos(received * 5))).unwrap();
            while let Some(event) = r.next_event() {
                assert_ne!(event, Event::Timer { token: 7 }, "{received} received: {:?}", r.counters());
                received += u64::from(matches!(event, Event::Received { .. }));
                echo(&mut r, event);
            }
        }
        // The last answer.
        r.turn(Wait::Poll).unwrap();
    });
    r.cancel_timer(guard);
}

pub(crate) fn gathering_ends_with_the_next_timer<R: Reactor>(make: Make<R>) {
    let mut r = make(small());
    r.turn(Wait::Poll).unwrap();
    let start = r.now();
    r.set_timer(start.after(Duration::from_millis(10)), 7);
    let mut fired = false;
    while !fired {
        r.turn(Wait::Gather(Duration::from_secs(20))).unwrap();
        while let Some(event) = r.next_event() {
            fired |= event == Event::Timer { token: 7 };
        }
    }
    assert!(r.now().since(start) < Duration::from_secs(10), "{:?}", r.now().since(start));
}
