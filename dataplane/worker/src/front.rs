//! The front half of a core: client connections. Bytes become jobs, answers become
//! bytes, in the order of the requests.
//!
//! ```text
//!   Received --decode--> request --route--> job --> ring --> Back
//!                           |  \                              |
//!                           |   file, redirect, 404, 405      |
//!                           v                                 v
//!      output  <-- in order: answer_seq --  held  <--  answers, in any order
//! ```
//!
//! **Order.** Requests of a connection are numbered; an answer leaves when its number
//! is next, others wait in `held`. Safe methods of one connection may run side by
//! side (RFC 9112 section 9.3.2); an unsafe one runs alone: it waits in `deferred`
//! for those before it, and those behind it wait for its answer.
//!
//! **Backpressure.** A connection starts no further request while it has its share
//! of this turn, an unsafe request or too many requests in flight, or output that its
//! client doesn't read. What was received meanwhile is held by its decoder, and
//! above a bound the socket is no longer read: its client's window closes.
//!
//! What all connections of the core hold together (incomplete requests, bodies of
//! waiting and running ones) has a bound, too: above it bodies are refused with 503.
//!
//! **Time.** One timer per connection. It isn't moved by requests: when it fires, what
//! is due by then is looked up, and it is set for the rest.
//!
//! **The end.** `ending` says that the connection closes when all is answered, `last`
//! that nothing more is read; while its output drains (`closing`) the timer goes on, so
//! that a client which doesn't read can't keep it.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use forebay_base::limits::HttpLimits;
use forebay_base::{ConnectionId, Monotonic, Timestamp};
use forebay_bus::{Consumer, Producer};
use forebay_http::percent::EncodingError;
use forebay_http::routes::{Lookup, MethodSet, Params};
use forebay_http::{
    CONTINUE, DateCache, Decoded, Decoder, Method, Phase, Problem, Reply, Request, RequestError,
    ResponseWriter, Scratch,
};
use forebay_ring::{Close, Output, ReceiveBuffer, Timer, TimerId, Transport};

use crate::assets::{Asset, Assets, Content};
use crate::generation::{Generation, Target};
use crate::messages::{Answer, Incoming, Job};
use crate::metrics::CoreMetrics;
use crate::tokens;

/// Bytes that a blocked connection may send before its socket is no longer read.
const HELD_BYTES_PAUSE: usize = 64 * 1024;
/// Records kept for reuse.
const SPARE_MAX: usize = 1024;
/// A record whose buffer has grown beyond this is shrunk before it is kept, bytes.
const SPARE_BYTES_MAX: usize = 64 * 1024;
/// Retry-After of a 503 that a full queue causes, seconds.
const RETRY_AFTER_S: u32 = 1;

/// Client connections of one core.
pub(crate) struct Front {
    limits: HttpLimits,
    /// By connection slot.
    clients: Vec<Option<Box<Client>>>,
    open: usize,
    scratch: Scratch,
    /// Stands in for the decoder of the connection whose bytes are being decoded.
    blank: Option<Box<Decoder>>,
    date: DateCache,
    generation: Arc<Generation>,
    /// Tells the back half which generation new jobs name.
    served: Arc<AtomicU64>,
    jobs: Producer<Job>,
    /// Answers of a back half with a thread of its own; unused inline.
    answers: Consumer<Answer>,
    #[expect(clippy::vec_box, reason = "the boxes travel: a record is a kilobyte")]
    spare: Vec<Box<Incoming>>,
    /// Connections that hold bytes which may be decoded now.
    resume: VecDeque<ConnectionId>,
    turn: u64,
    /// When this turn began.
    now: Monotonic,
    /// Bytes of incomplete requests, and bodies of those that wait or run.
    held_bytes: usize,
    /// No connection lives on after its next answer.
    draining: bool,
    metrics: Arc<CoreMetrics>,
}

struct Client {
    connection: ConnectionId,
    decoder: Box<Decoder>,
    peer: Option<IpAddr>,
    /// Number of the next request.
    next_sequence: u32,
    /// Number of the answer that leaves next. next - answer = requests in flight.
    answer_sequence: u32,
    /// Answers whose turn hasn't come.
    held: Vec<(u32, Held)>,
    /// The last request was an unsafe one and isn't answered.
    barrier: bool,
    /// That request, while requests before it are unanswered.
    deferred: Option<Job>,
    /// The last turn in which a request was started, and how many in it.
    turn: u64,
    turn_count: usize,
    /// Bytes wait in the decoder; the connection is in `resume` when it may go on.
    holding: bool,
    resuming: bool,
    paused: bool,
    /// Closes when all is answered.
    ending: Option<Close>,
    /// No further request is read.
    last: bool,
    /// The reactor has been told to close it.
    closing: bool,
    /// Its bytes are being decoded: not closed before it is known what they are.
    decoding: bool,
    phase: Phase,
    /// When the phase began, or the last answer left.
    since: Monotonic,
    timer: Option<TimerId>,
    /// While the timer sees output that isn't sent: how much was sent by then, and since when no more.
    stuck: Option<(u64, Monotonic)>,
    /// The decoder's share of `Front::held_bytes`.
    held_bytes: usize,
}

/// An answer that waits for its turn.
enum Held {
    Bytes { bytes: Vec<u8>, keep_alive: bool },
    Local { what: Local, reply: Reply },
}

impl Client {
    const fn in_flight(&self) -> u32 {
        self.next_sequence.wrapping_sub(self.answer_sequence)
    }

    fn close<R: Transport>(&mut self, reactor: &mut R, how: Close) {
        self.closing = true;
        self.last = true;
        reactor.close(self.connection, how);
    }
}

impl Front {
    pub(crate) fn new(
        limits: HttpLimits,
        generation: Arc<Generation>,
        (jobs, answers): (Producer<Job>, Consumer<Answer>),
        served: Arc<AtomicU64>,
        metrics: Arc<CoreMetrics>,
        (now, wall): (Monotonic, Timestamp),
    ) -> Self {
        Self {
            limits,
            clients: Vec::new(),
            open: 0,
            scratch: Scratch::default(),
            blank: None,
            date: DateCache::new(wall),
            generation,
            served,
            jobs,
            answers,
            spare: Vec::with_capacity(SPARE_MAX),
            resume: VecDeque::with_capacity(SPARE_MAX),
            turn: 0,
            now,
            held_bytes: 0,
            draining: false,
            metrics,
        }
    }

    /// Call once per turn, before its events.
    pub(crate) fn begin_turn(&mut self, now: Monotonic, wall: Timestamp) {
        self.turn += 1;
        self.now = now;
        self.date.update(wall);
    }

    /// Requests from now on are routed by this generation; jobs under way keep theirs.
    pub(crate) fn adopt(&mut self, generation: Arc<Generation>) {
        // Release: every job of an older generation was published before (the turn before this).
        self.served.store(generation.id, Ordering::Release);
        self.generation = generation;
    }

    /// Whether this connection is a client's.
    #[inline]
    pub(crate) fn owns(&self, connection: ConnectionId) -> bool {
        self.client(connection).is_some()
    }

    #[inline]
    fn client(&self, connection: ConnectionId) -> Option<&Client> {
        let client = self.clients.get(connection.slot as usize)?.as_deref()?;
        (client.connection == connection).then_some(client)
    }

    #[inline]
    fn client_mut(&mut self, connection: ConnectionId) -> Option<&mut Client> {
        client_mut(&mut self.clients, connection)
    }

    /// Connections whose bytes may be decoded now: the next turn must not sleep.
    pub(crate) fn has_work(&self) -> bool {
        !self.resume.is_empty()
    }

    /// Client connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    pub(crate) fn accepted<R: Transport + Timer>(&mut self, reactor: &mut R, connection: ConnectionId) {
        if self.open >= self.limits.connections || self.draining {
            self.metrics.shed.add(1);
            if let Some(output) = reactor.output(connection) {
                let problem = Problem::unavailable("too_many_connections", "try again soon", RETRY_AFTER_S);
                problem.write(output.bytes(), Reply::closing(), &self.date);
            }
            reactor.close(connection, Close::Linger);
            return;
        }
        let slot = connection.slot as usize;
        if self.clients.len() <= slot {
            self.clients.resize_with(slot + 1, || None);
        }
        let now = self.now;
        let due = now.after(self.limits.idle_timeout.min(self.limits.write_timeout));
        let timer = reactor.set_timer(due, tokens::client(connection));
        self.clients[slot] = Some(Box::new(Client {
            connection,
            decoder: Box::new(Decoder::new(&self.limits)),
            peer: reactor.peer_addr(connection).map(|addr| addr.ip()),
            next_sequence: 0,
            answer_sequence: 0,
            held: Vec::new(),
            barrier: false,
            deferred: None,
            turn: 0,
            turn_count: 0,
            holding: false,
            resuming: false,
            paused: false,
            ending: None,
            last: false,
            closing: false,
            decoding: false,
            phase: Phase::Idle,
            since: now,
            timer: Some(timer),
            stuck: None,
            held_bytes: 0,
        }));
        self.open += 1;
        self.metrics.connections.set(self.open as u64);
    }

    pub(crate) fn received<R: Transport + Timer>(
        &mut self,
        reactor: &mut R,
        connection: ConnectionId,
        buffer: ReceiveBuffer,
    ) {
        self.decode(reactor, connection, Some(&buffer));
        reactor.release(buffer);
    }

    /// The client sends no more: what it asked for is answered, then the connection ends.
    pub(crate) fn eof<R: Transport>(&mut self, reactor: &mut R, connection: ConnectionId) {
        let Some(client) = self.client_mut(connection) else { return };
        if client.in_flight() == 0 && !client.holding {
            client.close(reactor, Close::Flush);
        } else {
            // Held bytes may still be whole requests: they are decoded first.
            client.ending.get_or_insert(Close::Flush);
        }
    }

    pub(crate) fn closed<R: Timer>(&mut self, reactor: &mut R, connection: ConnectionId) {
        if self.client(connection).is_none() {
            return;
        }
        if let Some(mut client) = self.clients[connection.slot as usize].take() {
            client.decoder.reset(&mut self.scratch);
            self.held_bytes -= client.held_bytes;
            if let Some(job) = client.deferred {
                self.keep(job.incoming);
            }
            if let Some(timer) = client.timer {
                reactor.cancel_timer(timer);
            }
            self.open -= 1;
            self.metrics.connections.set(self.open as u64);
        }
    }

    /// All output is with the kernel: a connection that was full may go on.
    pub(crate) fn drained(&mut self, connection: ConnectionId) {
        let Some(client) = client_mut(&mut self.clients, connection) else { return };
        client.stuck = None;
        if client.holding {
            wake(client, &mut self.resume);
        }
    }

    /// How many connections may go on.
    pub(crate) fn resumable(&self) -> usize {
        self.resume.len()
    }

    /// Goes on with a connection that was blocked: its share of this turn.
    pub(crate) fn resume<R: Transport + Timer>(&mut self, reactor: &mut R) {
        let Some(connection) = self.resume.pop_front() else { return };
        let Some(client) = self.client_mut(connection) else { return };
        client.resuming = false;
        if client.in_flight() == 1
            && let Some(job) = client.deferred.take()
        {
            self.start(reactor, connection, job);
        }
        self.decode(reactor, connection, None);
    }

    /// The ring to the back half might not take all that a connection may start now.
    #[inline]
    pub(crate) fn is_crowded(&self) -> bool {
        // Half of it at most, so that an empty ring is never crowded.
        let share = self.limits.requests_per_turn.min(self.jobs.capacity() / 2);
        self.jobs.len() + share > self.jobs.capacity()
    }

    /// Decodes from a receive buffer, or from what the decoder holds.
    fn decode<R: Transport + Timer>(
        &mut self,
        reactor: &mut R,
        connection: ConnectionId,
        buffer: Option<&ReceiveBuffer>,
    ) {
        let Self { clients, scratch, limits, blank, .. } = self;
        let Some(client) = client_mut(clients, connection) else { return };
        if client.last {
            client.ending = client.ending.map(|how| how.min(Close::Linger));
            return;
        }
        client.decoding = true;
        // The decoder borrows the buffer and the client, and dispatching needs the rest of us:
        // both leave `self` for the length of the loop.
        let blank = blank.take().unwrap_or_else(|| Box::new(Decoder::new(limits)));
        let mut decoder = std::mem::replace(&mut client.decoder, blank);
        let mut scratch_here = std::mem::take(scratch);
        let more = self.decode_all(reactor, connection, buffer, &mut decoder, &mut scratch_here);
        self.scratch = scratch_here;
        let Some(client) = client_mut(&mut self.clients, connection) else { return };
        client.decoding = false;
        if client.last {
            // Nothing behind the last request is read. What has come already would turn a plain
            // close into a reset, which could take the answer with it (RFC 9112 section 9.6).
            if more || decoder.held() > 0 {
                client.ending = client.ending.map(|how| how.min(Close::Linger));
            }
            decoder.reset(&mut self.scratch);
            client.holding = false;
        }
        self.blank = Some(std::mem::replace(&mut client.decoder, decoder));
        self.held_bytes = self.held_bytes + client.decoder.held() - client.held_bytes;
        client.held_bytes = client.decoder.held();
        if client.last {
            return self.close_if_done(reactor, connection);
        }
        if !client.holding {
            if client.paused {
                client.paused = false;
                reactor.set_receiving(connection, true);
            }
            self.enter_phase(reactor, connection);
            self.close_if_done(reactor, connection);
        }
    }

    /// Takes one request after the other until bytes are missing (true: none are left) or the
    /// connection is blocked. Says whether bytes of the input are left.
    fn decode_all<R: Transport>(
        &mut self,
        reactor: &mut R,
        connection: ConnectionId,
        buffer: Option<&ReceiveBuffer>,
        decoder: &mut Decoder,
        scratch: &mut Scratch,
    ) -> bool {
        let mut offset = 0;
        loop {
            let (buffers, mut outputs) = reactor.split();
            let input = buffer.map_or(&[][..], |buffer| &buffers.bytes(buffer)[offset..]);
            let Some(client) = client_mut(&mut self.clients, connection) else { return false };
            if client.last {
                return !input.is_empty();
            }
            let pending = outputs.pending_bytes(connection);
            let full = pending.is_none_or(|bytes| bytes >= self.limits.output_bytes as u64);
            if client.turn != self.turn {
                client.turn = self.turn;
                client.turn_count = 0;
            }
            let share_used = client.turn_count >= self.limits.requests_per_turn;
            let in_flight = client.in_flight() as usize;
            if full || share_used || client.barrier || in_flight >= self.limits.requests_per_turn {
                // An error (more than a decoder holds, of a client that doesn't wait) is final
                // and comes back from the next `decode`: it is answered in its turn.
                let _ = decoder.hold(input, scratch);
                client.holding = decoder.held() > 0;
                let much = decoder.held() >= HELD_BYTES_PAUSE || self.held_bytes > self.limits.held_bytes;
                if much && !client.paused {
                    client.paused = true;
                    reactor.set_receiving(connection, false);
                }
                if share_used && client.holding {
                    wake(client, &mut self.resume);
                }
                return false;
            }
            match decoder.decode(input, scratch) {
                Ok(Decoded::Request(request)) => {
                    offset += request.consumed;
                    client.turn_count += 1;
                    let room = self.limits.held_bytes.saturating_sub(self.held_bytes);
                    let step = Self::dispatch(
                        client,
                        &request,
                        &self.generation,
                        &mut self.spare,
                        Now { draining: self.draining, room, time: self.now },
                    );
                    let all = offset == buffer.map_or(0, ReceiveBuffer::len) && decoder.is_blank();
                    self.carry_out(reactor, connection, step);
                    if all
                        && self.held_bytes <= self.limits.held_bytes
                        && let Some(client) = client_mut(&mut self.clients, connection)
                        && !client.last
                    {
                        // Another look at nothing would find nothing.
                        client.holding = false;
                        return false;
                    }
                }
                Ok(Decoded::Partial { send_continue }) => {
                    // An interim answer may only leave behind the answers before it.
                    if send_continue
                        && in_flight == 0
                        && let Some(output) = outputs.get(connection)
                    {
                        output.push(CONTINUE);
                    }
                    client.holding = false;
                    let more = decoder.held().saturating_sub(client.held_bytes);
                    if more > 0 && self.held_bytes + more > self.limits.held_bytes {
                        self.metrics.shed.add(1);
                        self.end_with(reactor, connection, Local::Overloaded);
                    }
                    return false;
                }
                Err(error) => {
                    self.refuse(reactor, connection, error);
                    return true;
                }
            }
        }
    }

    /// Which timeout applies now.
    fn enter_phase<R: Timer>(&mut self, reactor: &mut R, connection: ConnectionId) {
        let Some(client) = client_mut(&mut self.clients, connection) else { return };
        let phase = client.decoder.phase();
        if phase != client.phase {
            client.phase = phase;
            client.since = self.now;
            if let Some(timer) = client.timer.take() {
                reactor.cancel_timer(timer);
            }
            // Not later than output that isn't read has to be noticed.
            let due = self.now.after(timeout_of(&self.limits, phase).min(self.limits.write_timeout));
            client.timer = Some(reactor.set_timer(due, tokens::client(connection)));
        }
    }

    /// Decides who answers, and numbers the request.
    #[expect(clippy::vec_box, reason = "the boxes travel: a record is a kilobyte")]
    fn dispatch(
        client: &mut Client,
        request: &Request<'_>,
        generation: &Generation,
        spare: &mut Vec<Box<Incoming>>,
        now: Now,
    ) -> Step {
        let head = request.head;
        let mut reply = Reply::to(head.head);
        if now.draining {
            reply = reply.and_close();
        }
        let sequence = client.next_sequence;
        client.next_sequence = sequence.wrapping_add(1);
        if !reply.keep_alive {
            client.last = true;
            // Draining is our wish: the client may have sent more.
            client.ending = Some(if now.draining { Close::Linger } else { Close::Flush });
        }
        let mut incoming = spare.pop().unwrap_or_default();
        let what = match generation.routes.lookup(head.head.method(), head.path_bytes(), &mut incoming.params)
        {
            Lookup::Found(route) => match &generation.entries[route.value as usize].target {
                Target::Script { .. } | Target::Tasks | Target::Posts if request.body.len() > now.room => {
                    Local::Overloaded
                }
                Target::Script { .. } | Target::Tasks | Target::Posts => {
                    if generation.entries[route.value as usize].blind {
                        incoming.request.clear();
                    } else {
                        incoming.request.assign(request);
                        incoming.peer = client.peer;
                    }
                    client.barrier = !is_safe(head.head.method());
                    return Step::Run(Job {
                        connection: client.connection,
                        sequence,
                        entry: route.value,
                        generation: generation.id,
                        reply,
                        arrived: now.time,
                        incoming,
                    });
                }
                Target::Assets(assets) => find_asset(assets, request, &incoming.params),
                Target::Redirect { to, status } => Local::Redirect { to: to.clone(), status: *status },
            },
            Lookup::MethodNotAllowed(methods) => Local::NotAllowed(methods),
            Lookup::NotFound => Local::NotFound,
            Lookup::BadPath(error) => Local::BadPath(error),
        };
        if spare.len() < SPARE_MAX {
            spare.push(incoming);
        }
        Step::Answer { sequence, reply, what }
    }

    fn carry_out<R: Transport>(&mut self, reactor: &mut R, connection: ConnectionId, step: Step) {
        match step {
            Step::Run(job) => {
                self.held_bytes += job.incoming.body_bytes();
                let Some(client) = client_mut(&mut self.clients, connection) else { return };
                if client.barrier && client.in_flight() > 1 {
                    client.deferred = Some(job);
                } else {
                    self.start(reactor, connection, job);
                }
            }
            Step::Answer { sequence, reply, what } => {
                if matches!(what, Local::Overloaded) {
                    self.metrics.shed.add(1);
                }
                self.answer_local(reactor, connection, sequence, reply, what);
            }
        }
    }

    /// Hands a job to the back half, or answers that there are too many.
    fn start<R: Transport>(&mut self, reactor: &mut R, connection: ConnectionId, job: Job) {
        if let Err(job) = self.jobs.push(job) {
            self.metrics.shed.add(1);
            let (sequence, reply) = (job.sequence, job.reply);
            self.keep(job.incoming);
            if let Some(client) = client_mut(&mut self.clients, connection) {
                client.barrier = false;
            }
            self.answer_local(reactor, connection, sequence, reply, Local::Overloaded);
        }
    }

    /// Answers without a task: now if it is this answer's turn, else later.
    fn answer_local<R: Transport>(
        &mut self,
        reactor: &mut R,
        connection: ConnectionId,
        sequence: u32,
        reply: Reply,
        what: Local,
    ) {
        self.metrics.answers[usize::from(what.status() / 100).min(5)].add(1);
        let Some(client) = client_mut(&mut self.clients, connection) else { return };
        if client.answer_sequence == sequence {
            if let Some(output) = reactor.output(connection) {
                what.write(output, reply, &self.date);
            }
            self.answered(reactor, connection, reply.keep_alive);
        } else {
            client.held.push((sequence, Held::Local { what, reply }));
        }
    }

    /// Writes the answer of a task. `write` appends it, whole, and says whether the connection lives on.
    pub(crate) fn answer<R: Transport>(
        &mut self,
        reactor: &mut R,
        connection: ConnectionId,
        sequence: u32,
        incoming: Box<Incoming>,
        write: impl FnOnce(&mut Vec<u8>, &DateCache) -> bool,
    ) {
        self.keep(incoming);
        let Some(client) = client_mut(&mut self.clients, connection) else { return };
        client.barrier &= client.deferred.is_some();
        if client.answer_sequence == sequence {
            let Some(output) = reactor.output(connection) else { return };
            let keep_alive = write(output.bytes(), &self.date);
            self.answered(reactor, connection, keep_alive);
        } else if sequence.wrapping_sub(client.answer_sequence) < client.in_flight() {
            let mut bytes = Vec::new();
            let keep_alive = write(&mut bytes, &self.date);
            client.held.push((sequence, Held::Bytes { bytes, keep_alive }));
        }
    }

    /// Takes the answers of a back half with a thread of its own.
    pub(crate) fn take_answers<R: Transport>(&mut self, reactor: &mut R) {
        while let Some(answer) = self.answers.pop() {
            let Answer { connection, sequence, keep_alive, mut incoming } = answer;
            let bytes = std::mem::take(&mut incoming.answer);
            let mut spare = None;
            self.answer(reactor, connection, sequence, incoming, |out, _| {
                out.extend_from_slice(&bytes);
                spare = Some(bytes);
                keep_alive
            });
            // The buffer goes back into the record that was kept just now.
            if let (Some(mut bytes), Some(last)) = (spare, self.spare.last_mut())
                && bytes.capacity() <= SPARE_BYTES_MAX
            {
                bytes.clear();
                last.answer = bytes;
            }
        }
    }

    /// The answer whose turn it was is in the output: those that waited for it follow.
    fn answered<R: Transport>(&mut self, reactor: &mut R, connection: ConnectionId, mut keep_alive: bool) {
        let Some(client) = client_mut(&mut self.clients, connection) else { return };
        loop {
            client.answer_sequence = client.answer_sequence.wrapping_add(1);
            if !keep_alive {
                // Whatever was pipelined behind a request that ends the connection is void (RFC 9112 section 9.6).
                client.held.clear();
                client.answer_sequence = client.next_sequence;
                client.last = true;
                client.holding = false;
                client.ending.get_or_insert(Close::Linger);
                break;
            }
            let next = client.answer_sequence;
            let Some(index) = client.held.iter().position(|(sequence, _)| *sequence == next) else { break };
            let (_, held) = client.held.swap_remove(index);
            let Some(output) = reactor.output(connection) else { return };
            keep_alive = match held {
                Held::Bytes { bytes, keep_alive } => {
                    output.push(&bytes);
                    keep_alive
                }
                Held::Local { what, reply } => {
                    what.write(output, reply, &self.date);
                    reply.keep_alive
                }
            };
        }
        client.since = self.now;
        if client.in_flight() == 0 && client.decoder.awaits_continue() && !client.last {
            // The client waits to be asked for its body; the answers before it are out now.
            if let Some(output) = reactor.output(connection) {
                output.push(CONTINUE);
            }
        }
        if client.holding || (client.deferred.is_some() && client.in_flight() == 1) {
            wake(client, &mut self.resume);
        } else {
            self.close_if_done(reactor, connection);
        }
    }

    /// Closes a connection that ends, once everything is answered.
    fn close_if_done<R: Transport>(&mut self, reactor: &mut R, connection: ConnectionId) {
        let draining = self.draining;
        let Some(client) = client_mut(&mut self.clients, connection) else { return };
        if client.in_flight() > 0 || client.holding || client.closing || client.decoding {
            return;
        }
        let how = match client.ending {
            None if draining && client.phase == Phase::Idle && client.decoder.held() == 0 => Close::Flush,
            None => return,
            Some(how) => how,
        };
        if let Some(job) = client.deferred.take() {
            self.keep(job.incoming);
        }
        if let Some(client) = client_mut(&mut self.clients, connection) {
            client.close(reactor, how);
        }
    }

    /// The request can't be read: it is answered, in its turn, and the connection ends.
    fn refuse<R: Transport>(&mut self, reactor: &mut R, connection: ConnectionId, error: RequestError) {
        self.metrics.refused.add(1);
        self.end_with(reactor, connection, Local::Malformed(error));
    }

    /// The connection's last answer, in its turn.
    fn end_with<R: Transport>(&mut self, reactor: &mut R, connection: ConnectionId, what: Local) {
        let Some(client) = client_mut(&mut self.clients, connection) else { return };
        let sequence = client.next_sequence;
        client.next_sequence = sequence.wrapping_add(1);
        client.holding = false;
        client.last = true;
        client.ending = Some(Close::Linger);
        self.answer_local(reactor, connection, sequence, Reply::closing(), what);
    }

    /// Keeps a record for reuse.
    fn keep(&mut self, mut incoming: Box<Incoming>) {
        self.held_bytes = self.held_bytes.saturating_sub(incoming.body_bytes());
        if self.spare.len() < SPARE_MAX {
            incoming.request.shrink_to(SPARE_BYTES_MAX);
            self.spare.push(incoming);
        }
    }

    /// The connection's timer: ends what has waited too long, else sets it for the rest.
    pub(crate) fn timer<R: Transport + Timer>(&mut self, reactor: &mut R, token: ConnectionId) {
        let now = self.now;
        let client = self.clients.get(token.slot as usize).and_then(Option::as_deref);
        let Some(connection) = client.map(|c| c.connection).filter(|c| tokens::same_client(token, *c)) else {
            return;
        };
        let (pending, sent) =
            reactor.split().1.peek(connection).map_or((0, 0), |o| (o.pending_bytes(), o.sent_bytes()));
        let Some(client) = client_mut(&mut self.clients, connection) else { return };
        client.timer = None;
        let mut due = now.after(self.limits.write_timeout);
        if pending > 0 {
            match client.stuck {
                Some((then, since)) if then == sent => {
                    let end = since.after(self.limits.write_timeout);
                    if end <= now {
                        client.close(reactor, Close::Now);
                    }
                    due = end;
                }
                _ => client.stuck = Some((sent, now)),
            }
        } else {
            client.stuck = None;
            let timeout = timeout_of(&self.limits, client.phase);
            if client.in_flight() > 0 || client.closing {
                // A task works on it within limits of its own, or the reactor sees to its end.
                due = due.min(now.after(timeout));
            } else if client.since.after(timeout) > now {
                due = due.min(client.since.after(timeout));
            } else {
                match client.phase {
                    Phase::Idle => client.close(reactor, Close::Flush),
                    Phase::Head | Phase::Body => {
                        self.refuse(reactor, connection, RequestError::Timeout);
                    }
                }
            }
        }
        if due <= now {
            return;
        }
        let timer = reactor.set_timer(due, tokens::client(connection));
        match client_mut(&mut self.clients, connection) {
            Some(client) => client.timer = Some(timer),
            None => {
                reactor.cancel_timer(timer);
            }
        }
    }

    /// Makes the staged jobs visible to the back half; says how many.
    #[inline]
    pub(crate) fn publish(&mut self) -> usize {
        self.jobs.publish()
    }

    /// From now on every answer ends its connection; idle ones end at once.
    pub(crate) fn drain<R: Transport>(&mut self, reactor: &mut R) {
        self.draining = true;
        let clients: Vec<_> = self.clients.iter().flatten().map(|client| client.connection).collect();
        for connection in clients {
            self.close_if_done(reactor, connection);
        }
    }
}

/// What decides about a request beside itself.
#[derive(Clone, Copy)]
struct Now {
    draining: bool,
    /// Bytes of a body that may still be held.
    room: usize,
    time: Monotonic,
}

/// What becomes of a request.
enum Step {
    /// A task.
    Run(Job),
    /// An answer without one.
    Answer { sequence: u32, reply: Reply, what: Local },
}

/// Answers that need no task.
enum Local {
    Asset { asset: Arc<Asset>, cache_control: Option<Box<str>>, fresh: bool },
    Redirect { to: Box<str>, status: u16 },
    NotFound,
    NotAllowed(MethodSet),
    BadPath(EncodingError),
    Malformed(RequestError),
    Overloaded,
}

impl Local {
    const fn status(&self) -> u16 {
        match self {
            Self::Asset { fresh: true, .. } => 304,
            Self::Asset { .. } => 200,
            Self::Redirect { status, .. } => *status,
            Self::NotFound => 404,
            Self::NotAllowed(_) => 405,
            Self::BadPath(_) => 400,
            Self::Malformed(error) => error.status(),
            Self::Overloaded => 503,
        }
    }

    fn write(&self, output: &mut Output, reply: Reply, date: &DateCache) {
        let problem = match self {
            Self::Asset { asset, cache_control, fresh } => {
                return write_asset(output, reply, date, asset, cache_control.as_deref(), *fresh);
            }
            Self::Redirect { to, status } => {
                let mut response = ResponseWriter::new(output.bytes(), reply, *status, date);
                // The compiler has checked it; a bad value would only be left out.
                let _ = response.header("Location", to.as_bytes());
                response.no_body();
                return;
            }
            Self::NotFound => Problem::not_found(),
            Self::NotAllowed(methods) => {
                let allow = methods.to_string();
                Problem::method_not_allowed(&allow).write(output.bytes(), reply, date);
                return;
            }
            Self::BadPath(error) => error.problem(),
            Self::Malformed(error) => error.problem(),
            Self::Overloaded => {
                Problem::unavailable("overloaded", "too many requests are waiting", RETRY_AFTER_S)
            }
        };
        problem.write(output.bytes(), reply, date);
    }
}

fn find_asset(assets: &Assets, request: &Request<'_>, params: &Params) -> Local {
    let path = match params.len().checked_sub(1) {
        Some(rest) if !assets.is_file() => params.decoded(rest, request.head.path()).ok().flatten(),
        _ => None,
    };
    let Some(asset) = assets.get(path.as_deref().unwrap_or("")) else { return Local::NotFound };
    let fresh = request.head.field("if-none-match").is_some_and(|tags| {
        let tags = tags.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let etag = asset.etag.as_bytes();
        tags.into_iter().any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag)
    });
    Local::Asset { asset: Arc::clone(asset), cache_control: assets.cache_control.clone(), fresh }
}

fn write_asset(
    output: &mut Output,
    reply: Reply,
    date: &DateCache,
    asset: &Asset,
    cache_control: Option<&str>,
    fresh: bool,
) {
    let mut response = ResponseWriter::new(output.bytes(), reply, if fresh { 304 } else { 200 }, date);
    // Values of our own making: always valid.
    let _ = response.header("ETag", asset.etag.as_bytes());
    if let Some(value) = cache_control {
        let _ = response.header("Cache-Control", value.as_bytes());
    }
    if fresh {
        response.no_body();
        return;
    }
    response.content_type(&asset.media_type);
    match &asset.content {
        Content::Bytes(bytes) => {
            if response.body_elsewhere(bytes.len() as u64) {
                output.push_shared(bytes);
            }
        }
        Content::File(file, len) => {
            if response.body_elsewhere(*len) {
                output.push_file(file, 0, *len);
            }
        }
    }
}

fn client_mut(clients: &mut [Option<Box<Client>>], connection: ConnectionId) -> Option<&mut Client> {
    let client = clients.get_mut(connection.slot as usize)?.as_deref_mut()?;
    (client.connection == connection).then_some(client)
}

/// RFC 9110 section 9.2.1.
const fn is_safe(method: Method) -> bool {
    matches!(method, Method::Get | Method::Head | Method::Options | Method::Trace)
}

const fn timeout_of(limits: &HttpLimits, phase: Phase) -> Duration {
    match phase {
        Phase::Idle => limits.idle_timeout,
        Phase::Head => limits.header_timeout,
        Phase::Body => limits.body_timeout,
    }
}

/// A connection that was blocked may be able to go on.
fn wake(client: &mut Client, resume: &mut VecDeque<ConnectionId>) {
    if !client.resuming {
        client.resuming = true;
        resume.push_back(client.connection);
    }
}
