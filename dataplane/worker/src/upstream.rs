//! `http()`: requests that scripts send, over the core's own ring.
//!
//! ```text
//!   url --rewrite--> url --resolve--> address --idle connection or a new one--> request --> answer
//!                            |
//!                            +-- names: a thread of its own (getaddrinfo(3) blocks), answers by wake-up
//! ```
//!
//! **Trust.** An address is checked after it was resolved, and the checked address is
//! the one that is called: private, loopback and link-local ones are refused unless
//! the configuration allows them or a rewrite of `[dev.rewrite]` leads there.
//!
//! A request on a reused connection that closes before the first byte of an answer is
//! sent once more on a new one, if its method is idempotent (RFC 9110 section 9.2.2).

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use forebay_base::{ConnectionId, Monotonic, Value, ValueError, ValueSink, ValueSource};
use forebay_engine::{ValueRef, Vm};
use forebay_http::Method;
use forebay_http::client::{ClientRequest, Progress, ResponseDecoder, ResponseLimits};
use forebay_http::url::Url;
use forebay_ring::{Close, Endpoint, Reactor, ReceiveBuffer, TimerId, Waker};

use crate::back::BackConfig;
use crate::effects::{Call, Owner, Owners, milliseconds};
use crate::json::JsonWriter;
use crate::slots::Slots;
use crate::tokens;

/// Connections kept idle for one address.
const IDLE_PER_ADDRESS: usize = 32;
/// How long one is kept: below the 5 s after which common servers close theirs.
const IDLE_TIME: Duration = Duration::from_secs(4);
/// Outbound requests of one core at once. Beyond it: an exception.
const REQUESTS_MAX: usize = 4096;
/// Names waiting for the resolver. Beyond it: an exception.
const RESOLVE_QUEUE: usize = 1024;
/// From the call to the whole answer, unless the script says otherwise (`{timeout: "5s"}`).
const TIMEOUT_MS: u64 = 30_000;

/// Databases among the keys that names are resolved for: this and upwards, by their number.
const DATABASE: u64 = u64::MAX - 1024;

/// One line of `[dev.rewrite]`: URLs that begin with `from` go to `to` instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Scheme and host, perhaps with a port and the beginning of a path, as written in scripts.
    pub from: String,
    /// What replaces it.
    pub to: RewriteTo,
}

/// Where a rewrite leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RewriteTo {
    /// Another `http://` URL.
    Url(String),
    /// A path of this app.
    Own(String),
}

/// What a request became.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl ValueSource for Answered {
    fn emit(&self, sink: &mut dyn ValueSink) -> Result<(), ValueError> {
        sink.begin_map(Some(3))?;
        sink.key("status")?;
        sink.int(i64::from(self.status))?;
        sink.key("headers")?;
        sink.begin_map(Some(self.headers.len()))?;
        for (name, value) in &self.headers {
            sink.key(name)?;
            sink.str(value)?;
        }
        sink.end_map()?;
        sink.key("body")?;
        match std::str::from_utf8(&self.body) {
            Ok(text) => sink.str(text)?,
            Err(_) => sink.bytes(&self.body)?,
        }
        sink.end_map()
    }
}

/// One request under way. Its key is the waiting effect's.
struct Request {
    method: Method,
    bytes: Vec<u8>,
    address: Option<SocketAddr>,
    host: Box<str>,
    /// Whether private addresses are allowed for it.
    trusted: bool,
    /// Key of its connection, once it has one.
    connection: Option<u64>,
    /// It has been sent on a reused connection: a silent close may be tried again.
    retry: bool,
    timer: TimerId,
}

/// One connection to an upstream.
struct Connection {
    id: ConnectionId,
    address: SocketAddr,
    /// Key of the request on it; none while idle.
    request: Option<u64>,
    decoder: ResponseDecoder,
    open: bool,
    /// When it became idle.
    since: Monotonic,
}

/// Outbound HTTP of one core.
pub(crate) struct Upstream {
    rewrites: Arc<[Rewrite]>,
    allow_private: bool,
    own: Arc<OnceLock<SocketAddr>>,
    requests: HashMap<u64, Request>,
    connections: Slots<Connection>,
    idle: HashMap<SocketAddr, VecDeque<u64>>,
    resolver: Option<Resolver>,
    waker: Waker,
    /// Addresses of databases, by their number, when they were asked for.
    pub(crate) databases: Vec<(usize, Result<Vec<SocketAddr>, String>)>,
    /// Keys and results that their tasks haven't got yet.
    pub(crate) finished: Vec<(u64, Result<Answered, String>)>,
}

impl Upstream {
    pub(crate) fn new(config: &BackConfig, waker: Waker) -> Self {
        Self {
            rewrites: Arc::clone(&config.rewrites),
            allow_private: config.allow_private,
            own: Arc::clone(&config.own_address),
            requests: HashMap::new(),
            connections: Slots::new(),
            idle: HashMap::new(),
            resolver: None,
            waker,
            databases: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// Starts a request: `%http(method, url, body, options)`. `instead`: the URL of a test, to be trusted.
    pub(crate) fn begin<R: Reactor>(
        &mut self,
        reactor: &mut R,
        vm: &mut Vm,
        call: &Call<'_>,
        key: u64,
        owners: &mut Owners,
        instead: Option<String>,
    ) -> Result<(), String> {
        let arg = |index| vm.arg(call.task, call.effect.id, index);
        let method = arg(0).as_str().unwrap_or("GET").to_owned();
        let method = Method::from_bytes(method.as_bytes());
        let url = arg(1).as_str().ok_or("http: the URL must be a string")?.to_owned();
        let (url, trusted) = match instead {
            Some(url) => (url, true),
            None => self.rewrite(&url)?,
        };
        if self.requests.len() >= REQUESTS_MAX {
            return Err(format!("http: more than {REQUESTS_MAX} requests are under way"));
        }
        let parsed = Url::parse(&url).map_err(|error| format!("http: {url:?}: {error}"))?;
        let options = arg(3);
        let (bytes, millis) = write_request(method, parsed, arg(2), options, call.once)?;
        let deadline = call.now.after(Duration::from_millis(millis));
        let timer = reactor.set_timer(deadline, tokens::http(key));
        let host: Box<str> = parsed.host.into();
        let request = Request {
            method,
            bytes,
            address: None,
            host: host.clone(),
            trusted,
            connection: None,
            retry: false,
            timer,
        };
        self.requests.insert(key, request);
        let literal = parsed.host.parse::<IpAddr>().ok();
        let known = match parsed.host {
            "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
            _ => literal,
        };
        match known {
            Some(ip) => self.send_to(reactor, key, &[SocketAddr::new(ip, parsed.port)], owners),
            None => {
                let waker = self.waker.clone();
                let resolver = self.resolver.get_or_insert_with(|| Resolver::start(waker));
                if !resolver.ask(key, &host, parsed.port) {
                    self.end(reactor, key, Err("http: too many names are being resolved".into()));
                }
            }
        }
        Ok(())
    }

    fn rewrite(&self, url: &str) -> Result<(String, bool), String> {
        for rewrite in &*self.rewrites {
            let Some(rest) = url.strip_prefix(&*rewrite.from) else { continue };
            if !(rest.is_empty() || rest.starts_with(['/', '?', ':']) || rewrite.from.ends_with('/')) {
                continue;
            }
            return match &rewrite.to {
                RewriteTo::Url(to) => Ok((format!("{to}{rest}"), true)),
                RewriteTo::Own(path) => {
                    let own = self.own.get().ok_or("http: this app listens on no TCP address")?;
                    Ok((format!("http://{own}{path}{rest}"), true))
                }
            };
        }
        Ok((url.to_owned(), self.allow_private))
    }

    /// Addresses are known: the first that is allowed is called.
    fn send_to<R: Reactor>(
        &mut self,
        reactor: &mut R,
        key: u64,
        addresses: &[SocketAddr],
        owners: &mut Owners,
    ) {
        let Some(request) = self.requests.get_mut(&key) else { return };
        let allowed = addresses.iter().find(|address| request.trusted || is_public(address.ip()));
        let Some(&address) = allowed else {
            let host = request.host.clone();
            let why = if addresses.is_empty() {
                format!("http: {host}: no address")
            } else {
                format!("http: {host} is a private address; [http] allow_private = true allows it")
            };
            return self.end(reactor, key, Err(why));
        };
        request.address = Some(address);
        while let Some(reused) = self.idle.get_mut(&address).and_then(VecDeque::pop_back) {
            if let Some(connection) = self.connections.get_mut(reused)
                && connection.open
            {
                request.retry = is_idempotent(request.method);
                request.connection = Some(reused);
                connection.request = Some(key);
                connection.decoder = decoder(request.method);
                if let Some(output) = reactor.output(connection.id) {
                    output.push(&request.bytes);
                    return;
                }
                connection.request = None;
            }
        }
        self.connect(reactor, key, address, owners);
    }

    fn connect<R: Reactor>(&mut self, reactor: &mut R, key: u64, address: SocketAddr, owners: &mut Owners) {
        let Some(request) = self.requests.get_mut(&key) else { return };
        request.retry = false;
        match reactor.connect(&Endpoint::Tcp(address)) {
            Ok(id) => {
                let connection = Connection {
                    id,
                    address,
                    request: Some(key),
                    decoder: decoder(request.method),
                    open: false,
                    since: reactor.now(),
                };
                let index = self.connections.insert(connection);
                request.connection = Some(index);
                owners.insert(id, Owner::Upstream(index));
            }
            Err(error) => {
                let why = format!("http: {}: {error}", request.host);
                self.end(reactor, key, Err(why));
            }
        }
    }

    pub(crate) fn connected<R: Reactor>(&mut self, reactor: &mut R, index: u64, result: Result<(), String>) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let key = connection.request;
        match result {
            Ok(()) => {
                connection.open = true;
                let id = connection.id;
                let request = key.and_then(|key| self.requests.get(&key));
                match (request, reactor.output(id)) {
                    (Some(request), Some(output)) => output.push(&request.bytes),
                    // Its request has given up.
                    _ => reactor.close(id, Close::Now),
                }
            }
            Err(cause) => {
                self.connections.remove(index);
                if let Some(key) = key {
                    let host = self.requests.get(&key).map_or("", |request| &request.host).to_owned();
                    self.end(reactor, key, Err(format!("http: {host}: {cause}")));
                }
            }
        }
    }

    pub(crate) fn received<R: Reactor>(&mut self, reactor: &mut R, index: u64, buffer: &ReceiveBuffer) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let id = connection.id;
        let Some(key) = connection.request else {
            // An idle upstream has nothing to say (RFC 9112 section 9.2).
            return reactor.close(id, Close::Now);
        };
        let bytes = reactor.buffers().bytes(buffer);
        match connection.decoder.decode(bytes) {
            Ok(Progress::More) => {}
            Ok(Progress::Done { consumed }) => {
                let extra = consumed < bytes.len();
                self.answered(reactor, index, key, extra);
            }
            Err(error) => {
                reactor.close(id, Close::Now);
                self.end(reactor, key, Err(format!("http: {error}")));
            }
        }
    }

    fn answered<R: Reactor>(&mut self, reactor: &mut R, index: u64, key: u64, extra: bool) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let Some(response) = connection.decoder.response() else { return };
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in response.fields() {
            let name = name.to_ascii_lowercase();
            let value = String::from_utf8_lossy(value);
            match headers.iter_mut().find(|(n, _)| *n == name) {
                // RFC 9110 section 5.3.
                Some((_, all)) => {
                    all.push_str(", ");
                    all.push_str(&value);
                }
                None => headers.push((name, value.into_owned())),
            }
        }
        let answer = Answered { status: response.status(), headers, body: response.body().to_vec() };
        let reusable = response.keep_alive() && !extra;
        connection.request = None;
        connection.since = reactor.now();
        let (id, address) = (connection.id, connection.address);
        connection.decoder = decoder(Method::Get);
        let idle = self.idle.entry(address).or_default();
        if reusable && idle.len() < IDLE_PER_ADDRESS {
            idle.push_back(index);
        } else {
            reactor.close(id, Close::Now);
        }
        self.end(reactor, key, Ok(answer));
    }

    pub(crate) fn eof<R: Reactor>(&mut self, reactor: &mut R, index: u64) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let id = connection.id;
        if let Some(key) = connection.request
            && connection.decoder.finish().is_ok()
        {
            self.answered(reactor, index, key, true);
        }
        reactor.close(id, Close::Now);
    }

    pub(crate) fn closed<R: Reactor>(&mut self, reactor: &mut R, index: u64, owners: &mut Owners) {
        let Some(connection) = self.connections.remove(index) else { return };
        if let Some(idle) = self.idle.get_mut(&connection.address) {
            idle.retain(|other| *other != index);
            if idle.is_empty() {
                self.idle.remove(&connection.address);
            }
        }
        let Some(key) = connection.request else { return };
        let Some(request) = self.requests.get_mut(&key) else { return };
        if request.retry && connection.decoder.is_untouched() {
            self.connect(reactor, key, connection.address, owners);
        } else {
            let why = format!("http: {} closed the connection before its answer was complete", request.host);
            self.end(reactor, key, Err(why));
        }
    }

    pub(crate) fn timeout<R: Reactor>(&mut self, reactor: &mut R, key: u64) {
        let Some(request) = self.requests.get(&key) else { return };
        let why = format!("http: {} didn't answer in time", request.host);
        self.drop_connection(reactor, key);
        self.end(reactor, key, Err(why));
    }

    /// Nobody waits for it any more.
    pub(crate) fn abandon<R: Reactor>(&mut self, reactor: &mut R, key: u64) {
        self.drop_connection(reactor, key);
        if let Some(request) = self.requests.remove(&key) {
            reactor.cancel_timer(request.timer);
        }
    }

    /// Once a second: closes what was idle for too long.
    pub(crate) fn tick<R: Reactor>(&mut self, reactor: &mut R) {
        let Self { idle, connections, .. } = self;
        let now = reactor.now();
        for waiting in idle.values() {
            // The one that was used last stands last.
            for index in waiting {
                match connections.get_mut(*index) {
                    Some(connection) if connection.since.after(IDLE_TIME) <= now => {
                        reactor.close(connection.id, Close::Now);
                    }
                    _ => break,
                }
            }
        }
    }

    fn drop_connection<R: Reactor>(&mut self, reactor: &mut R, key: u64) {
        let index = self.requests.get(&key).and_then(|request| request.connection);
        if let Some(connection) = index.and_then(|index| self.connections.get_mut(index)) {
            connection.request = None;
            reactor.close(connection.id, Close::Now);
        }
    }

    fn end<R: Reactor>(&mut self, reactor: &mut R, key: u64, result: Result<Answered, String>) {
        if let Some(request) = self.requests.remove(&key) {
            reactor.cancel_timer(request.timer);
            self.finished.push((key, result));
        }
    }

    /// Asks for a database's addresses; false if too many names are asked for.
    pub(crate) fn ask_for_database(&mut self, database: usize, host: &str, port: u16) -> bool {
        let waker = self.waker.clone();
        let key = DATABASE + database as u64;
        self.resolver.get_or_insert_with(|| Resolver::start(waker)).ask(key, host, port)
    }

    /// Names that the resolver's thread has found.
    pub(crate) fn resolved<R: Reactor>(&mut self, reactor: &mut R, owners: &mut Owners) {
        while let Some((key, found)) = self.resolver.as_mut().and_then(Resolver::take) {
            match found {
                found if key >= DATABASE => {
                    self.databases.push((usize::try_from(key - DATABASE).unwrap_or(0), found));
                }
                Ok(addresses) => self.send_to(reactor, key, &addresses, owners),
                Err(why) => self.end(reactor, key, Err(format!("http: {why}"))),
            }
        }
    }
}

fn decoder(method: Method) -> ResponseDecoder {
    ResponseDecoder::new(method, ResponseLimits::default())
}

/// The request's bytes, and its deadline in milliseconds.
fn write_request(
    method: Method,
    url: Url<'_>,
    body: ValueRef<'_>,
    options: ValueRef<'_>,
    once: Option<&str>,
) -> Result<(Vec<u8>, u64), String> {
    let mut fields: Vec<(String, String)> = Vec::new();
    if let Some(headers) = options.get("headers").filter(|headers| !headers.is_undefined()) {
        let tree =
            forebay_base::value::ValueBuilder::build(&headers).map_err(|e| format!("http: headers: {e}"))?;
        let Value::Map(pairs) = tree else { return Err("http: headers must be an object".into()) };
        for (name, value) in pairs {
            let text = match value {
                Value::Str(text) => text.into(),
                Value::Int(number) => number.to_string(),
                _ => return Err(format!("http: header {name:?} must be text")),
            };
            fields.push((name.into(), text));
        }
    }
    if let Some(once) = once
        && !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("idempotency-key"))
    {
        fields.push(("Idempotency-Key".into(), once.to_owned()));
    }
    let mut content = None;
    if !body.is_undefined() {
        let (bytes, media_type) = match (body.as_str(), body.as_bytes()) {
            (Some(text), _) => (text.as_bytes().to_vec(), "text/plain; charset=utf-8"),
            (_, Some(bytes)) => (bytes.to_vec(), "application/octet-stream"),
            _ => (json(&body)?, "application/json"),
        };
        if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            fields.push(("Content-Type".into(), media_type.into()));
        }
        content = Some(bytes);
    }
    let millis = match options.get("timeout").filter(|timeout| !timeout.is_undefined()) {
        Some(timeout) => milliseconds(timeout).map_err(|error| format!("http: timeout: {error}"))?,
        None => TIMEOUT_MS,
    };
    let headers: Vec<(&str, &[u8])> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let request =
        ClientRequest { method, url, headers: &headers, body: content.as_deref(), keep_alive: true };
    let mut bytes = Vec::new();
    request.write(&mut bytes).map_err(|error| format!("http: {error}"))?;
    Ok((bytes, millis))
}

fn json(value: &ValueRef<'_>) -> Result<Vec<u8>, String> {
    let mut writer = JsonWriter::default();
    value.emit(&mut writer).map_err(|error| format!("http: body: {error}"))?;
    Ok(writer.finish())
}

const fn is_idempotent(method: Method) -> bool {
    matches!(method, Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options)
}

/// Whether an address is neither private, loopback, link-local nor otherwise special
/// (RFC 6890, and IPv4 addresses mapped into IPv6).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || v4.is_documentation()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (b == 18 || b == 19))
                || (a == 192 && b == 0 && v4.octets()[2] == 0))
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return is_public(IpAddr::V4(v4));
            }
            let first = v6.segments()[0];
            // Only global unicast 2000::/3, without 6to4 and documentation, which can name private hosts.
            first & 0xe000 == 0x2000 && first != 0x2002 && !(first == 0x2001 && v6.segments()[1] == 0xdb8)
        }
    }
}

/// Looks names up on a thread of its own.
struct Resolver {
    ask: SyncSender<(u64, String)>,
    answers: Receiver<(u64, Result<Vec<SocketAddr>, String>)>,
}

impl Resolver {
    #[expect(
        clippy::disallowed_methods,
        reason = "getaddrinfo(3) blocks: a thread of its own, ended with its channel"
    )]
    fn start(waker: Waker) -> Self {
        let (ask, asked) = sync_channel::<(u64, String)>(RESOLVE_QUEUE);
        let (tell, answers) = sync_channel(RESOLVE_QUEUE);
        std::thread::spawn(move || {
            for (key, name) in asked {
                let found = name.to_socket_addrs().map(Iterator::collect).map_err(|e| format!("{name}: {e}"));
                if tell.send((key, found)).is_err() {
                    return;
                }
                waker.wake();
            }
        });
        Self { ask, answers }
    }

    fn ask(&self, key: u64, host: &str, port: u16) -> bool {
        self.ask.try_send((key, format!("{host}:{port}"))).is_ok()
    }

    fn take(&mut self) -> Option<(u64, Result<Vec<SocketAddr>, String>)> {
        self.answers.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_not_public() {
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "::1",
            "fe80::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "2002:7f00:1::",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["1.1.1.1", "93.184.216.34", "2606:4700::1111"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }
}
