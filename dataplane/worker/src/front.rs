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
//! side (RFC 9112 section 9.3.2); an unsafe one runs alone, so that a pipelined
//! read sees the write before it.
//!
//! **Backpressure.** A connection starts no further request while it has its share
//! of this turn, an unsafe request or too many requests in flight, or output that its
//! client doesn't read. What was received meanwhile is held by its decoder, and
//! above a bound the socket is no longer read: its client's window closes.
//!
//! **Time.** One timer per connection. It isn't moved by requests: when it fires, what
//! is due by then is looked up, and it is set for the rest.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
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
    date: DateCache,
    generation: Arc<Generation>,
    jobs: Producer<Job>,
    /// Answers of a back half with a thread of its own; unused inline.
    answers: Consumer<Answer>,
    spare: Vec<Box<Incoming>>,
    /// Connections that hold bytes which may be decoded now.
    resume: VecDeque<ConnectionId>,
    turn: u64,
    /// No connection lives on after its next answer.
    draining: bool,
    metrics: Arc<CoreMetrics>,
}

struct Client {
    connection: ConnectionId,
    decoder: Decoder,
    peer: Option<IpAddr>,
    /// Number of the next request.
    next_sequence: u32,
    /// Number of the answer that leaves next. next - answer = requests in flight.
    answer_sequence: u32,
    /// Answers whose turn hasn't come.
    held: Vec<(u32, Held)>,
    /// The request in flight is an unsafe one.
    barrier: bool,
    /// The last turn in which a request was started, and how many in it.
    turn: u64,
    turn_count: usize,
    /// Bytes wait in the decoder; the connection is in `resume` when it may go on.
    holding: bool,
    resuming: bool,
    paused: bool,
    /// No further request is read; closes when all is answered.
    ending: Option<Close>,
    phase: Phase,
    /// When the phase began, or the last request.
    since: Monotonic,
    timer: Option<TimerId>,
    /// Output that was unsent when the timer last looked, and when that amount was first seen.
    unsent: u64,
    unsent_since: Monotonic,
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
}

impl Front {
    pub(crate) fn new(
        limits: HttpLimits,
        generation: Arc<Generation>,
        (jobs, answers): (Producer<Job>, Consumer<Answer>),
        metrics: Arc<CoreMetrics>,
        now: Timestamp,
    ) -> Self {
        Self {
            limits,
            clients: Vec::new(),
            open: 0,
            scratch: Scratch::default(),
            date: DateCache::new(now),
            generation,
            jobs,
            answers,
            spare: Vec::with_capacity(SPARE_MAX),
            resume: VecDeque::with_capacity(SPARE_MAX),
            turn: 0,
            draining: false,
            metrics,
        }
    }

    /// Call once per turn, before its events.
    pub(crate) fn begin_turn(&mut self, now: Timestamp) {
        self.turn += 1;
        self.date.update(now);
    }

    /// Requests from now on are routed by this generation; jobs under way keep theirs.
    pub(crate) fn adopt(&mut self, generation: Arc<Generation>) {
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

    pub(crate) fn accepted<R: Transport + Timer>(
        &mut self,
        reactor: &mut R,
        connection: ConnectionId,
        now: Monotonic,
    ) {
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
        let timer = reactor.set_timer(now.after(self.limits.idle_timeout), tokens::client(connection));
        self.clients[slot] = Some(Box::new(Client {
            connection,
            decoder: Decoder::new(&self.limits),
            peer: reactor.peer_addr(connection).map(|addr| addr.ip()),
            next_sequence: 0,
            answer_sequence: 0,
            held: Vec::new(),
            barrier: false,
            turn: 0,
            turn_count: 0,
            holding: false,
            resuming: false,
            paused: false,
            ending: None,
            phase: Phase::Idle,
            since: now,
            timer: Some(timer),
            unsent: 0,
            unsent_since: now,
        }));
        self.open += 1;
        self.metrics.connections.set(self.open as u64);
    }

    pub(crate) fn received<R: Transport + Timer>(
        &mut self,
        reactor: &mut R,
        connection: ConnectionId,
        buffer: ReceiveBuffer,
        now: Monotonic,
    ) {
        self.decode(reactor, connection, Some(&buffer), now);
        reactor.release(buffer);
    }

    /// The client sends no more: what it asked for is answered, then the connection ends.
    pub(crate) fn eof<R: Transport>(&mut self, reactor: &mut R, connection: ConnectionId) {
        let Some(client) = self.client_mut(connection) else { return };
        if client.in_flight() == 0 && !client.holding {
            reactor.close(connection, Close::Flush);
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
            if let Some(timer) = client.timer {
                reactor.cancel_timer(timer);
            }
            self.open -= 1;
            self.metrics.connections.set(self.open as u64);
        }
    }

    /// All output is with the kernel: a connection that was full may go on.
    pub(crate) fn drained(&mut self, connection: ConnectionId) {
        self.wake(connection);
    }

    /// Decodes what blocked connections hold, each its share.
    pub(crate) fn resume<R: Transport + Timer>(&mut self, reactor: &mut R, now: Monotonic) {
        for _ in 0..self.resume.len() {
            let Some(connection) = self.resume.pop_front() else { return };
            if let Some(client) = self.client_mut(connection) {
                client.resuming = false;
                self.decode(reactor, connection, None, now);
            }
        }
    }

    /// Decodes from a receive buffer, or from what the decoder holds.
    fn decode<R: Transport + Timer>(
        &mut self,
        reactor: &mut R,
        connection: ConnectionId,
        buffer: Option<&ReceiveBuffer>,
        now: Monotonic,
    ) {
        let Self { clients, scratch, limits, .. } = self;
        let Some(client) = client_mut(clients, connection) else { return };
        // Where the reader is taken apart: the decoder borrows the buffer and the client, and
        // dispatching needs the rest of us. Both leave `self` for the length of the loop.
        let mut decoder = std::mem::replace(&mut client.decoder, Decoder::new(limits));
        let mut scratch_here = std::mem::take(scratch);
        let mut offset = 0;
        let mut partial = false;
        loop {
            let client = match client_mut(&mut self.clients, connection) {
                Some(client) => client,
                None => break,
            };
            let (buffers, mut outputs) = reactor.split();
            let input = buffer.map_or(&[][..], |buffer| &buffers.bytes(buffer)[offset..]);
            let output = outputs.get(connection);
            let full = output.as_ref().is_none_or(|o| o.pending_bytes() >= self.limits.output_bytes as u64);
            if client.turn != self.turn {
                client.turn = self.turn;
                client.turn_count = 0;
            }
            let share_used = client.turn_count >= self.limits.requests_per_turn;
            let in_flight = client.in_flight() as usize;
            let no_more = matches!(client.ending, Some(Close::Linger | Close::Now));
            if no_more {
                break;
            }
            if full || share_used || client.barrier || in_flight >= self.limits.requests_per_turn {
                if !input.is_empty() && decoder.hold(input, &mut scratch_here).is_err() {
                    // More than the decoder holds of a client that doesn't wait: its socket isn't read any more.
                    client.ending = Some(Close::Flush);
                }
                client.holding = decoder.held() > 0;
                if decoder.held() >= HELD_BYTES_PAUSE && !client.paused {
                    client.paused = true;
                    reactor.set_receiving(connection, false);
                }
                if share_used && client.holding && !client.resuming {
                    client.resuming = true;
                    self.resume.push_back(connection);
                }
                break;
            }
            match decoder.decode(input, &mut scratch_here) {
                Ok(Decoded::Request(request)) => {
                    offset += request.consumed;
                    client.turn_count += 1;
                    client.since = now;
                    let step = Self::dispatch(
                        client,
                        &request,
                        &self.generation,
                        &mut self.spare,
                        self.draining,
                        now,
                    );
                    self.carry_out(reactor, connection, step);
                }
                Ok(Decoded::Partial { send_continue }) => {
                    // An interim answer may only leave behind the answers before it.
                    if send_continue && in_flight == 0 {
                        if let Some(output) = output {
                            output.push(CONTINUE);
                        }
                    }
                    partial = true;
                    break;
                }
                Err(error) => {
                    self.refuse(reactor, connection, error);
                    break;
                }
            }
        }
        self.scratch = scratch_here;
        let Some(client) = client_mut(&mut self.clients, connection) else { return };
        client.decoder = decoder;
        if partial {
            client.holding = false;
            if client.paused {
                client.paused = false;
                reactor.set_receiving(connection, true);
            }
            let phase = client.decoder.phase();
            if phase != client.phase {
                client.phase = phase;
                client.since = now;
                let timeout = timeout_of(&self.limits, phase);
                if let Some(timer) = client.timer.take() {
                    reactor.cancel_timer(timer);
                }
                client.timer = Some(reactor.set_timer(now.after(timeout), tokens::client(connection)));
            }
            if client.ending.is_some() && client.in_flight() == 0 {
                reactor.close(connection, Close::Flush);
            }
        }
    }

    /// Decides who answers, and numbers the request.
    fn dispatch(
        client: &mut Client,
        request: &Request<'_>,
        generation: &Generation,
        spare: &mut Vec<Box<Incoming>>,
        draining: bool,
        now: Monotonic,
    ) -> Step {
        let head = request.head;
        let mut reply = Reply::to(head.head);
        if draining {
            reply = reply.and_close();
        }
        let sequence = client.next_sequence;
        client.next_sequence = sequence.wrapping_add(1);
        if !reply.keep_alive {
            client.ending = Some(Close::Flush);
        }
        let mut incoming = spare.pop().unwrap_or_default();
        let what = match generation.routes.lookup(head.head.method(), head.path(), &mut incoming.params) {
            Lookup::Found(route) => match &generation.entries[route.value as usize].target {
                Target::Script { .. } => {
                    incoming.request.assign(request);
                    incoming.peer = client.peer;
                    client.barrier = !is_safe(head.head.method());
                    return Step::Run(Job {
                        connection: client.connection,
                        sequence,
                        entry: route.value,
                        generation: generation.id,
                        reply,
                        arrived: now,
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
        keep(spare, incoming);
        Step::Answer { sequence, reply, what }
    }

    fn carry_out<R: Transport>(&mut self, reactor: &mut R, connection: ConnectionId, step: Step) {
        match step {
            Step::Run(job) => {
                if let Err(job) = self.jobs.push(job) {
                    self.metrics.shed.add(1);
                    let (sequence, reply) = (job.sequence, job.reply);
                    keep(&mut self.spare, job.incoming);
                    let what = Local::Overloaded;
                    self.answer_local(reactor, connection, sequence, reply, what);
                }
            }
            Step::Answer { sequence, reply, what } => {
                self.answer_local(reactor, connection, sequence, reply, what);
            }
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
        keep(&mut self.spare, incoming);
        let Some(client) = client_mut(&mut self.clients, connection) else { return };
        client.barrier = false;
        if client.answer_sequence == sequence {
            let Some(output) = reactor.output(connection) else { return };
            let keep_alive = write(output.bytes(), &self.date);
            self.answered(reactor, connection, keep_alive);
        } else {
            let mut bytes = Vec::new();
            let keep_alive = write(&mut bytes, &self.date);
            client.held.push((sequence, Held::Bytes { bytes, keep_alive }));
        }
    }

    /// Takes the answers of a back half with a thread of its own.
    pub(crate) fn take_answers<R: Transport>(&mut self, reactor: &mut R) -> usize {
        let mut count = 0;
        while let Some(answer) = self.answers.pop() {
            count += 1;
            let Answer { connection, sequence, bytes, keep_alive, incoming } = answer;
            self.answer(reactor, connection, sequence, incoming, |out, _| {
                out.extend_from_slice(&bytes);
                keep_alive
            });
        }
        count
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
                client.ending = Some(client.ending.map_or(Close::Flush, |how| how.min(Close::Flush)));
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
        let idle = client.in_flight() == 0;
        if idle && client.decoder.awaits_continue() && client.ending.is_none() {
            // The client waits to be asked for its body; the answers before it are out now.
            if let Some(output) = reactor.output(connection) {
                output.push(CONTINUE);
            }
        }
        if let Some(how) = client.ending
            && idle
            && (!client.holding || !keep_alive)
        {
            reactor.close(connection, how);
        } else if client.holding {
            self.wake(connection);
        }
    }

    /// The request can't be read: it is answered, in its turn, and the connection ends.
    fn refuse<R: Transport>(&mut self, reactor: &mut R, connection: ConnectionId, error: RequestError) {
        self.metrics.refused.add(1);
        let Some(client) = client_mut(&mut self.clients, connection) else { return };
        let sequence = client.next_sequence;
        client.next_sequence = sequence.wrapping_add(1);
        client.holding = false;
        client.ending = Some(Close::Linger);
        self.answer_local(reactor, connection, sequence, Reply::closing(), Local::Malformed(error));
    }

    /// A connection that was blocked may be able to go on.
    fn wake(&mut self, connection: ConnectionId) {
        let Some(client) = client_mut(&mut self.clients, connection) else { return };
        if client.holding && !client.resuming {
            client.resuming = true;
            self.resume.push_back(connection);
        }
    }

    /// The connection's timer: ends what has waited too long, else sets it for the rest.
    pub(crate) fn timer<R: Transport + Timer>(
        &mut self,
        reactor: &mut R,
        token: ConnectionId,
        now: Monotonic,
    ) {
        let client = self.clients.get(token.slot as usize).and_then(Option::as_deref);
        let Some(connection) = client.map(|c| c.connection).filter(|c| tokens::same_client(token, *c)) else {
            return;
        };
        let pending = reactor.output(connection).map_or(0, |output| output.pending_bytes());
        let Some(client) = client_mut(&mut self.clients, connection) else { return };
        client.timer = None;
        let due = if pending > 0 {
            if pending != client.unsent {
                (client.unsent, client.unsent_since) = (pending, now);
            }
            let due = client.unsent_since.after(self.limits.write_timeout);
            if due <= now {
                reactor.close(connection, Close::Now);
                return;
            }
            due
        } else if client.in_flight() > 0 {
            // A task works on it, within limits of its own.
            now.after(self.limits.idle_timeout)
        } else {
            client.unsent = 0;
            let due = client.since.after(timeout_of(&self.limits, client.phase));
            if due <= now {
                match client.phase {
                    Phase::Idle => reactor.close(connection, Close::Flush),
                    Phase::Head | Phase::Body => self.refuse(reactor, connection, RequestError::Timeout),
                }
                return;
            }
            due
        };
        client.timer = Some(reactor.set_timer(due, tokens::client(connection)));
    }

    /// Makes the staged jobs visible to the back half; says how many.
    #[inline]
    pub(crate) fn publish(&mut self) -> usize {
        self.jobs.publish()
    }

    /// From now on every answer ends its connection; idle ones end at once.
    pub(crate) fn drain<R: Transport>(&mut self, reactor: &mut R) {
        self.draining = true;
        for client in self.clients.iter_mut().flatten() {
            if client.in_flight() == 0 && !client.holding && client.phase == Phase::Idle {
                reactor.close(client.connection, Close::Flush);
            }
        }
    }
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
    let path = match params.len() {
        0 => None,
        count => params.decoded(count - 1, request.head.path()).ok().flatten(),
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

fn keep(spare: &mut Vec<Box<Incoming>>, mut incoming: Box<Incoming>) {
    if spare.len() < SPARE_MAX {
        incoming.request.shrink_to(SPARE_BYTES_MAX);
        spare.push(incoming);
    }
}
