//! System calls that std has no safe name for: sockets as we want them, epoll,
//! clocks. Each function is safe to call with any arguments; descriptors that
//! come back are owned.
#![expect(unsafe_code, reason = "libc calls")]

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use forebay_base::{Monotonic, Timestamp};

use crate::api::{Endpoint, PeerCredentials};

/// The error of the last call, for calls that return -1.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_len(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn own(fd: libc::c_int) -> io::Result<OwnedFd> {
    let fd = check(fd)?;
    // SAFETY: every caller passes what a system call has just returned; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes over a descriptor that the ring has returned in a completion.
pub(crate) fn own_from_ring(fd: RawFd) -> io::Result<OwnedFd> {
    own(fd)
}

pub(crate) fn eventfd(nonblocking: bool) -> io::Result<OwnedFd> {
    let flags = libc::EFD_CLOEXEC | if nonblocking { libc::EFD_NONBLOCK } else { 0 };
    // SAFETY: no pointers.
    own(unsafe { libc::eventfd(0, flags) })
}

fn descriptor_limits() -> io::Result<libc::rlimit> {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limits` is valid for the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) })?;
    Ok(limits)
}

/// The soft RLIMIT_NOFILE: it bounds a ring's descriptor table as well.
pub(crate) fn descriptor_limit() -> u64 {
    descriptor_limits().map_or(u64::MAX, |limits| limits.rlim_cur)
}

/// Raises the process's soft limit of descriptors (RLIMIT_NOFILE) to the hard one
/// and returns it. To be called once at start-up: services usually start with a soft limit of
/// 1024 for the sake of select(2), and neither a reactor's connections nor its
/// ring's descriptor table go beyond it. Errors: `setrlimit(2)`.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limits = descriptor_limits()?;
    limits.rlim_cur = limits.rlim_max;
    // SAFETY: `limits` is valid for the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits) })?;
    Ok(limits.rlim_cur)
}

fn clock(id: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for the call. It can't fail: both clocks exist (clock_gettime(2)).
    unsafe { libc::clock_gettime(id, &raw mut time) };
    time
}

pub(crate) fn monotonic() -> Monotonic {
    let time = clock(libc::CLOCK_MONOTONIC);
    Monotonic(time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned())
}

pub(crate) fn realtime() -> Timestamp {
    let time = clock(libc::CLOCK_REALTIME);
    Timestamp(time.tv_sec * 1_000_000 + time.tv_nsec / 1_000)
}

/// An address as the kernel takes it.
#[derive(Clone, Copy)]
pub(crate) struct SocketAddress {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl fmt::Debug for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketAddress(family {}, {} bytes)", self.family(), self.len)
    }
}

impl SocketAddress {
    fn empty() -> Self {
        // SAFETY: sockaddr_storage is plain old data, all zeroes are valid.
        Self { storage: unsafe { mem::zeroed() }, len: size_of_u32::<libc::sockaddr_storage>() }
    }

    /// Copies a concrete sockaddr to the front of the storage.
    fn of<T: Copy>(address: T, len: usize) -> Self {
        const { assert!(size_of::<T>() <= size_of::<libc::sockaddr_storage>()) };
        let mut this = Self::empty();
        // SAFETY: the storage is large enough (asserted) and aligned for every sockaddr type.
        unsafe { (&raw mut this.storage).cast::<T>().write(address) };
        this.len = libc::socklen_t::try_from(len).unwrap_or(0);
        this
    }

    pub(crate) fn new(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp(SocketAddr::V4(addr)) => Ok(Self::of(
                libc::sockaddr_in {
                    sin_family: family(libc::AF_INET),
                    sin_port: addr.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(addr.ip().octets()) },
                    sin_zero: [0; 8],
                },
                size_of::<libc::sockaddr_in>(),
            )),
            Endpoint::Tcp(SocketAddr::V6(addr)) => Ok(Self::of(
                libc::sockaddr_in6 {
                    sin6_family: family(libc::AF_INET6),
                    sin6_port: addr.port().to_be(),
                    sin6_flowinfo: addr.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: addr.ip().octets() },
                    sin6_scope_id: addr.scope_id(),
                },
                size_of::<libc::sockaddr_in6>(),
            )),
            Endpoint::Unix(path) => Self::unix(path.as_os_str()),
        }
    }

    fn unix(path: &OsStr) -> io::Result<Self> {
        let mut address = libc::sockaddr_un { sun_family: family(libc::AF_UNIX), sun_path: [0; 108] };
        let bytes = path.as_bytes();
        // One byte stays for the terminator (unix(7)).
        if bytes.len() >= address.sun_path.len() || bytes.contains(&0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{}: a unix socket's path has at most 107 bytes and no NUL", path.display()),
            ));
        }
        for (to, from) in address.sun_path.iter_mut().zip(bytes) {
            *to = from.cast_signed();
        }
        // An empty path asks for an abstract name of the kernel's choice (unix(7) "Autobind").
        let terminator = usize::from(!bytes.is_empty());
        Ok(Self::of(address, mem::offset_of!(libc::sockaddr_un, sun_path) + bytes.len() + terminator))
    }

    pub(crate) fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub(crate) fn len(&self) -> libc::socklen_t {
        self.len
    }

    fn family(&self) -> libc::c_int {
        libc::c_int::from(self.storage.ss_family)
    }

    /// None for anything but TCP.
    fn tcp(&self) -> Option<SocketAddr> {
        match self.family() {
            libc::AF_INET => {
                // SAFETY: the kernel wrote a sockaddr_in, as the family says; the storage is aligned for it.
                let a = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in>().read() };
                let ip = Ipv4Addr::from(a.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(a.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: the kernel wrote a sockaddr_in6, as the family says; the storage is aligned for it.
                let a = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in6>().read() };
                let ip = Ipv6Addr::from(a.sin6_addr.s6_addr);
                let port = u16::from_be(a.sin6_port);
                Some(SocketAddrV6::new(ip, port, a.sin6_flowinfo, a.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "address families are below 64")]
const fn family(of: libc::c_int) -> libc::sa_family_t {
    of as libc::sa_family_t
}

fn size_of_u32<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

/// A stream socket; `nonblocking` for epoll only: io_uring answers EAGAIN on a
/// non-blocking socket instead of waiting.
pub(crate) fn stream_socket(address: &SocketAddress, nonblocking: bool) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | if nonblocking { libc::SOCK_NONBLOCK } else { 0 };
    // SAFETY: no pointers.
    let socket = own(unsafe { libc::socket(address.family(), kind, 0) })?;
    if address.family() != libc::AF_UNIX {
        set_option(raw(&socket), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    }
    Ok(socket)
}

/// After this many seconds of silence the kernel asks a peer that was dialled whether it is still there.
const KEEP_IDLE_SECONDS: libc::c_int = 30;
/// Seconds between the questions, and how many of them stay without an answer until the connection is over.
const KEEP_INTERVAL_SECONDS: libc::c_int = 10;
const KEEP_PROBES: libc::c_int = 3;
/// What a dialled unix socket may hold unread; the kernel doubles it. It lets a sender that is blocked go on when three
/// quarters are read: with its default (208 KiB) the reader of a long stream has read nearly everything by then, and both
/// sleep and get up for every few sends. TCP finds its own measure.
const UNIX_SEND_BYTES: libc::c_int = 256 * 1024;

/// A stream socket to connect. A peer that vanished without a word, whose reset was lost, say, is noticed within a minute: who waits
/// for an answer gets ETIMEDOUT then, and not never (SO_KEEPALIVE; TCP_USER_TIMEOUT for bytes that nobody
/// acknowledges: tcp(7)).
pub(crate) fn dialling_socket(address: &SocketAddress, nonblocking: bool) -> io::Result<OwnedFd> {
    let socket = stream_socket(address, nonblocking)?;
    if address.family() != libc::AF_UNIX {
        let patience = (KEEP_IDLE_SECONDS + KEEP_INTERVAL_SECONDS * KEEP_PROBES) * 1000;
        set_option(raw(&socket), libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
        set_option(raw(&socket), libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, KEEP_IDLE_SECONDS)?;
        set_option(raw(&socket), libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, KEEP_INTERVAL_SECONDS)?;
        set_option(raw(&socket), libc::IPPROTO_TCP, libc::TCP_KEEPCNT, KEEP_PROBES)?;
        set_option(raw(&socket), libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, patience)?;
    } else {
        set_option(raw(&socket), libc::SOL_SOCKET, libc::SO_SNDBUF, UNIX_SEND_BYTES)?;
    }
    Ok(socket)
}

pub(crate) fn raw(fd: &OwnedFd) -> RawFd {
    std::os::fd::AsRawFd::as_raw_fd(fd)
}

fn set_option(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the pointer and length describe `value`.
    check(unsafe {
        libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of_u32::<libc::c_int>())
    })
    .map(drop)
}

fn bind(fd: RawFd, address: &SocketAddress) -> io::Result<()> {
    // SAFETY: the address is valid for its length.
    check(unsafe { libc::bind(fd, address.as_ptr(), address.len()) }).map(drop)
}

/// Bound and listening. SO_REUSEPORT shares the port with the other cores; accepted
/// sockets inherit TCP_NODELAY (tcp(7)).
pub(crate) fn listener(endpoint: &Endpoint, backlog: u16, nonblocking: bool) -> io::Result<OwnedFd> {
    let address = SocketAddress::new(endpoint)?;
    let socket = stream_socket(&address, nonblocking)?;
    let fd = raw(&socket);
    match endpoint {
        Endpoint::Tcp(_) => {
            set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
            set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
            bind(fd, &address)?;
        }
        Endpoint::Unix(path) => {
            // The mode of the socket's own inode bounds that of the file which bind creates, so
            // that it is never more open than this, not even before the chmod below.
            // SAFETY: no pointers.
            check(unsafe { libc::fchmod(fd, 0o660) })?;
            bind_unix(fd, &address, path)?;
            // The umask may have taken the group's bits.
            if !path.as_os_str().is_empty() {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
            }
        }
    }
    // SAFETY: no pointers.
    check(unsafe { libc::listen(fd, libc::c_int::from(backlog)) })?;
    Ok(socket)
}

/// Whether this process can have a TCP address to itself. SO_REUSEPORT, by which the listeners of one process share a port,
/// lets another process of the same user in just as well, and each then gets some of the other's requests: whoever
/// listens asks this first. Unix sockets and port 0 have nothing to share.
///
/// # Errors
/// EADDRINUSE: somebody listens there.
pub fn unshared(endpoint: &Endpoint) -> io::Result<()> {
    match endpoint {
        Endpoint::Tcp(addr) if addr.port() != 0 => {
            let address = SocketAddress::new(endpoint)?;
            let socket = stream_socket(&address, false)?;
            // Connections that are over (TIME_WAIT) are no reason against it (socket(7)).
            set_option(raw(&socket), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
            bind(raw(&socket), &address)
        }
        Endpoint::Tcp(_) | Endpoint::Unix(_) => Ok(()),
    }
}

/// A path that is taken by a socket nobody listens on (its process was killed) is replaced.
fn bind_unix(fd: RawFd, address: &SocketAddress, path: &Path) -> io::Result<()> {
    match bind(fd, address) {
        Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => {
            let probe = stream_socket(address, true)?;
            match connect(raw(&probe), address) {
                Err(refused) if refused.raw_os_error() == Some(libc::ECONNREFUSED) => {
                    std::fs::remove_file(path)?;
                    bind(fd, address)
                }
                // Somebody listens there (or it isn't a socket): theirs.
                _ => Err(error),
            }
        }
        other => other,
    }
}

/// EINPROGRESS on a non-blocking socket is Ok.
pub(crate) fn connect(fd: RawFd, address: &SocketAddress) -> io::Result<()> {
    // SAFETY: the address is valid for its length.
    match check(unsafe { libc::connect(fd, address.as_ptr(), address.len()) }) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        other => other.map(drop),
    }
}

pub(crate) fn accept(fd: RawFd, nonblocking: bool) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_CLOEXEC | if nonblocking { libc::SOCK_NONBLOCK } else { 0 };
    // SAFETY: null addresses are allowed (accept(2)).
    own(unsafe { libc::accept4(fd, std::ptr::null_mut(), std::ptr::null_mut(), flags) })
}

pub(crate) fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: no pointers.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    // SAFETY: no pointers.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) }).map(drop)
}

pub(crate) fn shutdown_write(fd: RawFd) {
    // ENOTCONN: the peer is gone already, which the receive tells.
    // SAFETY: no pointers.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

pub(crate) fn local_address(fd: RawFd) -> Option<SocketAddr> {
    let mut address = SocketAddress::empty();
    // SAFETY: storage and length are valid for the call.
    let result = unsafe { libc::getsockname(fd, (&raw mut address.storage).cast(), &raw mut address.len) };
    if result == 0 { address.tcp() } else { None }
}

/// The address that the kernel chose for a socket bound to an empty unix path.
pub(crate) fn autobound_address(fd: RawFd) -> io::Result<SocketAddress> {
    let mut address = SocketAddress::empty();
    // SAFETY: storage and length are valid for the call.
    check(unsafe { libc::getsockname(fd, (&raw mut address.storage).cast(), &raw mut address.len) })?;
    Ok(address)
}

pub(crate) fn peer_address(fd: RawFd) -> Option<SocketAddr> {
    let mut address = SocketAddress::empty();
    // SAFETY: storage and length are valid for the call.
    let result = unsafe { libc::getpeername(fd, (&raw mut address.storage).cast(), &raw mut address.len) };
    if result == 0 { address.tcp() } else { None }
}

pub(crate) fn peer_credentials(fd: RawFd) -> Option<PeerCredentials> {
    let mut cred = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of_u32::<libc::ucred>();
    // SAFETY: the pointer and length describe `cred`.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut cred).cast(), &raw mut len)
    };
    // For a TCP socket the call succeeds with pid 0 and ids of -1.
    let pid = u32::try_from(cred.pid).ok().filter(|pid| *pid > 0)?;
    (result == 0).then_some(PeerCredentials { pid, uid: cred.uid, gid: cred.gid })
}

/// SO_ERROR: how a non-blocking connect ended.
pub(crate) fn socket_error(fd: RawFd) -> libc::c_int {
    let mut value: libc::c_int = 0;
    let mut len = size_of_u32::<libc::c_int>();
    // SAFETY: the pointer and length describe `value`.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut value).cast(), &raw mut len)
    };
    if result == 0 { value } else { libc::EBADF }
}

pub(crate) fn send(fd: RawFd, bytes: &[u8], more: bool) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | if more { libc::MSG_MORE } else { 0 };
    // SAFETY: the pointer and length describe `bytes`.
    check_len(unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// Receives into a buffer of the pool. `buffer` must be valid for `len` bytes and owned by the kernel's side.
pub(crate) unsafe fn receive(fd: RawFd, buffer: *mut u8, len: usize) -> io::Result<usize> {
    // SAFETY: forwarded to the caller.
    check_len(unsafe { libc::recv(fd, buffer.cast(), len, libc::MSG_DONTWAIT) })
}

/// `pwritev2(2)`; with RWF_DSYNC if `synced`.
pub(crate) fn write_at(fd: RawFd, bytes: &[u8], offset: u64, synced: bool) -> io::Result<usize> {
    let iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let offset = libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    let flags = if synced { libc::RWF_DSYNC } else { 0 };
    // SAFETY: the one iovec describes `bytes`, which the kernel only reads.
    check_len(unsafe { libc::pwritev2(fd, &raw const iov, 1, offset, flags) })
}

pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(Self)
    }

    fn control(&self, op: libc::c_int, fd: RawFd, events: u32, data: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: data };
        // SAFETY: `event` is valid for the call.
        check(unsafe { libc::epoll_ctl(raw(&self.0), op, fd, &raw mut event) }).map(drop)
    }

    pub(crate) fn add(&self, fd: RawFd, events: u32, data: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events, data)
    }

    pub(crate) fn modify(&self, fd: RawFd, events: u32, data: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events, data)
    }

    pub(crate) fn delete(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    /// Fills `events` from the front; `timeout_ms` of -1 waits forever. EINTR counts as no events.
    pub(crate) fn wait(&self, events: &mut [libc::epoll_event], timeout_ms: i32) -> io::Result<usize> {
        let max = libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the pointer and count describe `events`.
        let result = unsafe { libc::epoll_wait(raw(&self.0), events.as_mut_ptr(), max, timeout_ms) };
        match check(result) {
            Ok(count) => Ok(count.cast_unsigned() as usize),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error),
        }
    }
}
