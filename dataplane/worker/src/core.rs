//! One core's turn: the loop that everything else hangs on.
//!
//! ```text
//!   turn: submit, wait, reap            ring
//!   commands                            mailbox
//!   events: bytes -> jobs               front     (client connections)
//!           bytes -> resumed tasks      back      (database, upstreams, disk, timers)
//!   publish                             the ring between the halves
//!   tasks -> answers, effects           back
//! ```
//!
//! `inline` runs both halves in one turn; `split` runs `run_front` and `run_back` on two
//! threads, with the same rings between them. A side publishes its whole batch and then
//! calls the other's waker, which costs a system call only if the other sleeps.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use forebay_base::limits::HttpLimits;
use forebay_base::{ConnectionId, Timestamp};
use forebay_bus::Producer;
use forebay_http::DateCache;
use forebay_ring::{Endpoint, Event, ListenerId, Reactor, Wait};

use crate::back::{Answers, Back, Level, Log, Parts};
use crate::front::Front;
use crate::generation::Generation;
use crate::mailbox::{Command, Mailbox};
use crate::messages::{Answer, Incoming};
use crate::metrics::CoreMetrics;
use crate::runtime::FrontRings;
use crate::tokens::{self, Token};

/// How often gauges are refreshed when nothing else happens.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// Everything a front half is made of; crosses to its thread.
pub(crate) struct FrontParts {
    pub(crate) limits: HttpLimits,
    pub(crate) generation: Arc<Generation>,
    pub(crate) rings: FrontRings,
    pub(crate) served: Arc<AtomicU64>,
    pub(crate) metrics: Arc<CoreMetrics>,
    pub(crate) listen: Vec<Endpoint>,
    pub(crate) log: Arc<dyn Log>,
}

/// Writes answers straight into the output of their connection.
struct Direct<'a>(&'a mut Front);

impl<R: Reactor> Answers<R> for Direct<'_> {
    fn answer(
        &mut self,
        reactor: &mut R,
        connection: ConnectionId,
        sequence: u32,
        incoming: Box<Incoming>,
        write: impl FnOnce(&mut Vec<u8>, &DateCache) -> bool,
    ) {
        self.0.answer(reactor, connection, sequence, incoming, write);
    }
}

/// Sends answers to the front half on another thread.
struct Outbox {
    answers: Producer<Answer>,
    date: DateCache,
}

impl<R: Reactor> Answers<R> for Outbox {
    fn answer(
        &mut self,
        _: &mut R,
        connection: ConnectionId,
        sequence: u32,
        mut incoming: Box<Incoming>,
        write: impl FnOnce(&mut Vec<u8>, &DateCache) -> bool,
    ) {
        incoming.answer.clear();
        let keep_alive = write(&mut incoming.answer, &self.date);
        let answer = Answer { connection, sequence, keep_alive, incoming };
        // The ring has room for every job that can be under way (runtime.rs).
        let pushed = self.answers.push(answer).is_ok();
        debug_assert!(pushed, "the ring of answers is sized for all jobs");
    }
}

/// What the loop's own state is, whichever halves it runs.
struct Duty {
    listeners: Vec<ListenerId>,
    draining: bool,
    stopping: bool,
}

impl Duty {
    fn new<R: Reactor>(listeners: Vec<ListenerId>, reactor: &mut R) -> Self {
        let now = reactor.now();
        reactor.set_timer(now.after(TICK), tokens::TICK);
        Self { listeners, draining: false, stopping: false }
    }

    fn stop_listening<R: Reactor>(&mut self, reactor: &mut R) {
        self.draining = true;
        for listener in self.listeners.drain(..) {
            reactor.stop_listening(listener);
        }
    }

    /// Refreshes the gauges and sets the next tick.
    fn tick<R: Reactor>(&mut self, reactor: &mut R, metrics: &CoreMetrics) {
        let counters = *reactor.counters();
        metrics.turns.set(counters.turns);
        metrics.enters.set(counters.enters);
        metrics.received_bytes.set(counters.received_bytes);
        metrics.sent_bytes.set(counters.sent_bytes);
        metrics.strays.set(counters.strays);
        reactor.set_timer(reactor.now().after(TICK), tokens::TICK);
    }
}

/// Both halves on this thread, until told to stop.
pub(crate) fn run_inline<R: Reactor>(
    mut reactor: R,
    listeners: Vec<ListenerId>,
    front: FrontParts,
    back: Parts,
    mailbox: &Mailbox,
) {
    let metrics = Arc::clone(&front.metrics);
    let mut duty = Duty::new(listeners, &mut reactor);
    let mut front = front.build(&reactor);
    let mut back = Back::new(back, &mut reactor);
    loop {
        let wait = if front.has_work() || back.has_work() { Wait::Poll } else { back.wait(reactor.now()) };
        if let Err(error) = reactor.turn(wait) {
            back.fatal("the ring failed: this core ends", &error);
            return;
        }
        front.begin_turn(reactor.now(), reactor.timestamp());
        while let Some(command) = mailbox.take() {
            match command {
                Command::Adopt(generation, ack) => {
                    back.adopt(Arc::clone(&generation));
                    front.adopt(generation);
                    let _ = ack.send(());
                }
                Command::Drain => {
                    duty.stop_listening(&mut reactor);
                    front.drain(&mut reactor);
                    back.drain();
                }
                Command::Stop => duty.stopping = true,
                Command::Durable(message) => {
                    back.durable_message(&mut reactor, &mut Direct(&mut front), message);
                }
            }
        }
        while let Some(event) = reactor.next_event() {
            if front.is_crowded() {
                make_room(&mut reactor, &mut front, &mut back);
            }
            if let Some(event) = front_event(&mut reactor, &mut front, event) {
                back_event(&mut reactor, &mut back, &mut Direct(&mut front), &mut duty, &metrics, event);
            }
        }
        if duty.stopping {
            if back.is_flushed() {
                return;
            }
            continue;
        }
        for _ in 0..front.resumable() {
            if front.is_crowded() {
                make_room(&mut reactor, &mut front, &mut back);
            }
            front.resume(&mut reactor);
        }
        front.publish();
        let start = reactor.now();
        back.work(&mut reactor, &mut Direct(&mut front), start);
        if duty.draining && front.open() == 0 && back.is_idle() {
            return;
        }
    }
}

/// One turn can bring more than the ring takes. 503 is for when the tasks are too many.
#[cold]
fn make_room<R: Reactor>(reactor: &mut R, front: &mut Front, back: &mut Back) {
    front.publish();
    while front.is_crowded() && back.has_room() {
        let start = reactor.clock();
        back.work(reactor, &mut Direct(front), start);
    }
}

/// The half with the sockets, on a thread of its own.
pub(crate) fn run_front<R: Reactor>(
    mut reactor: R,
    listeners: Vec<ListenerId>,
    front: FrontParts,
    mailbox: &Mailbox,
    peer: &Mailbox,
) {
    let metrics = Arc::clone(&front.metrics);
    let mut duty = Duty::new(listeners, &mut reactor);
    let log = Arc::clone(&front.log);
    let mut front = front.build(&reactor);
    loop {
        let wait = if front.has_work() { Wait::Poll } else { Wait::Forever };
        if let Err(error) = reactor.turn(wait) {
            log.line(Level::Error, "the ring failed: this core's sockets end", &[("error", &error)]);
            return;
        }
        front.begin_turn(reactor.now(), reactor.timestamp());
        while let Some(command) = mailbox.take() {
            match command {
                Command::Adopt(generation, ack) => {
                    front.adopt(generation);
                    let _ = ack.send(());
                }
                Command::Drain => {
                    duty.stop_listening(&mut reactor);
                    front.drain(&mut reactor);
                }
                Command::Stop => duty.stopping = true,
                // Sent to halves with tasks only.
                Command::Durable(_) => {}
            }
        }
        front.take_answers(&mut reactor);
        while let Some(event) = reactor.next_event() {
            if front.is_crowded() && front.publish() > 0 {
                peer.wake();
                front.take_answers(&mut reactor);
            }
            match front_event(&mut reactor, &mut front, event) {
                Some(Event::Timer { token }) if tokens::parse(token) == Some(Token::Tick) => {
                    duty.tick(&mut reactor, &metrics);
                }
                Some(Event::Received { buffer, .. }) => reactor.release(buffer),
                _ => {}
            }
        }
        front.take_answers(&mut reactor);
        for _ in 0..front.resumable() {
            front.resume(&mut reactor);
        }
        if front.publish() > 0 {
            peer.wake();
        }
        if duty.stopping || (duty.draining && front.open() == 0) {
            return;
        }
    }
}

/// The half with the tasks, on a thread of its own.
pub(crate) fn run_back<R: Reactor>(
    mut reactor: R,
    back: Parts,
    answers: Producer<Answer>,
    mailbox: &Mailbox,
    peer: &Mailbox,
) {
    let metrics = Arc::clone(back.metrics());
    let mut duty = Duty::new(Vec::new(), &mut reactor);
    let mut back = Back::new(back, &mut reactor);
    let mut outbox = Outbox { answers, date: DateCache::new(reactor.timestamp()) };
    loop {
        let wait = if back.has_work() { Wait::Poll } else { back.wait(reactor.now()) };
        if let Err(error) = reactor.turn(wait) {
            back.fatal("the ring failed: this core's worker ends", &error);
            return;
        }
        let now: Timestamp = reactor.timestamp();
        outbox.date.update(now);
        while let Some(command) = mailbox.take() {
            match command {
                Command::Adopt(generation, ack) => {
                    back.adopt(generation);
                    let _ = ack.send(());
                }
                Command::Drain => {
                    duty.draining = true;
                    back.drain();
                }
                Command::Stop => duty.stopping = true,
                Command::Durable(message) => back.durable_message(&mut reactor, &mut outbox, message),
            }
        }
        while let Some(event) = reactor.next_event() {
            back_event(&mut reactor, &mut back, &mut outbox, &mut duty, &metrics, event);
        }
        if duty.stopping {
            if back.is_flushed() {
                return;
            }
            continue;
        }
        let start = reactor.now();
        back.work(&mut reactor, &mut outbox, start);
        if outbox.answers.publish() > 0 {
            peer.wake();
        }
        // Draining: the front half may still send jobs, it goes first (and wakes us).
        if duty.draining && outbox.answers.is_closed() && back.is_idle() {
            return;
        }
    }
}

/// Handles what concerns clients; gives the rest back.
#[inline]
fn front_event<R: Reactor>(reactor: &mut R, front: &mut Front, event: Event) -> Option<Event> {
    match event {
        Event::Received { connection, buffer } if front.owns(connection) => {
            front.received(reactor, connection, buffer);
        }
        Event::Accepted { connection, .. } => front.accepted(reactor, connection),
        Event::Eof { connection } if front.owns(connection) => front.eof(reactor, connection),
        Event::Drained { connection } if front.owns(connection) => front.drained(connection),
        Event::Closed { connection, .. } if front.owns(connection) => {
            front.closed(reactor, connection);
        }
        Event::Timer { token } if let Some(Token::Client(connection)) = tokens::parse(token) => {
            front.timer(reactor, connection);
        }
        other => return Some(other),
    }
    None
}

/// Handles what concerns tasks and their effects.
fn back_event<R: Reactor, A: Answers<R>>(
    reactor: &mut R,
    back: &mut Back,
    answers: &mut A,
    duty: &mut Duty,
    metrics: &CoreMetrics,
    event: Event,
) {
    match event {
        Event::Connected { connection, result } => back.connected(reactor, connection, result),
        Event::Received { connection, buffer } => back.received(reactor, connection, buffer),
        Event::Eof { connection } => back.eof(reactor, connection),
        Event::Drained { connection } => back.drained(reactor, connection),
        Event::Closed { connection, .. } => back.closed(reactor, connection),
        Event::Disk { token, result, buffer } => {
            if tokens::parse(token) == Some(Token::Commit) {
                back.committed(reactor, result, buffer);
            }
        }
        Event::Woken => back.woken(reactor),
        Event::Timer { token } => match tokens::parse(token) {
            Some(Token::Run(key)) => back.wall_time(reactor, answers, key),
            Some(Token::Sleep(key)) => back.slept(key),
            Some(Token::Http(key)) => back.http_timeout(reactor, key),
            Some(Token::Database(number)) => {
                back.sql_timer(reactor, usize::try_from(number).unwrap_or(usize::MAX));
            }
            Some(Token::Tick) => {
                duty.tick(reactor, metrics);
                back.tick(reactor);
            }
            Some(Token::Wake) => back.durable_timer(),
            Some(Token::Asked(key)) => back.durable_waited(reactor, answers, key),
            Some(Token::Client(_) | Token::Commit) | None => {}
        },
        Event::Accepted { .. } => {}
    }
}
