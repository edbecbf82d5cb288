//! Tells the service manager how we are: sd_notify(3), one datagram to the socket
//! that `$NOTIFY_SOCKET` names. Without one, nothing is sent.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    /// Half of `$WATCHDOG_USEC`: send [`Notifier::watchdog`] this often;
    /// `None`: nobody asks for it.
    pub watchdog_every: Option<Duration>,
}

impl Notifier {
    /// Reads `$NOTIFY_SOCKET`, `$WATCHDOG_USEC` and `$WATCHDOG_PID`.
    ///
    /// # Errors
    /// If a socket is named but can't be reached.
    pub fn from_env() -> io::Result<Self> {
        let watchdog = std::env::var("WATCHDOG_USEC").ok();
        let for_us = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        Self::new(std::env::var_os("NOTIFY_SOCKET").as_deref(), watchdog.as_deref().filter(|_| for_us))
    }

    fn new(address: Option<&std::ffi::OsStr>, watchdog_micros: Option<&str>) -> io::Result<Self> {
        let socket = match address.filter(|address| !address.is_empty()) {
            None => None,
            Some(address) => {
                let target = match address.as_bytes() {
                    // The manual: "@" stands for the zero byte of the abstract namespace.
                    [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
                    _ => SocketAddr::from_pathname(address)?,
                };
                let socket = UnixDatagram::unbound()?;
                socket.connect_addr(&target)?;
                // A manager that hangs must not hang us.
                socket.set_nonblocking(true)?;
                Some(socket)
            }
        };
        let watchdog_every = watchdog_micros
            .filter(|_| socket.is_some())
            .and_then(|text| text.parse().ok())
            .filter(|&micros: &u64| micros > 0)
            .map(|micros| Duration::from_micros(micros / 2));
        Ok(Self { socket, watchdog_every })
    }

    /// All cores have adopted the first generation and listen.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// A deploy begins; [`Notifier::ready`] ends it. With the monotonic time, as
    /// `Type=notify-reload` wants it.
    pub fn reloading(&self, now: forebay_base::Monotonic) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.0 / 1000));
    }

    /// A drain begins.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// One line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// Still alive. Call it from what must be alive (the cores' turns), not from a
    /// thread that always is.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        // A lost message is no reason to fail: the manager has its own timeouts.
        if let Some(socket) = &self.socket {
            let _ = socket.send(message.as_bytes());
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_the_manual_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_name = SocketAddr::from_abstract_name(format!("forebay-test-{}", std::process::id())).unwrap();
        let abstract_text = format!("@forebay-test-{}", std::process::id());
        let cases = [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (UnixDatagram::bind_addr(&by_name).unwrap(), abstract_text.into()),
        ];
        for (manager, address) in cases {
            let notifier = Notifier::new(Some(&address), Some("3000000")).unwrap();
            assert_eq!(notifier.watchdog_every, Some(Duration::from_millis(1500)));
            let mut buffer = [0; 200];
            let mut check = |expected: &str| {
                let length = manager.recv(&mut buffer).unwrap();
                assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), expected);
            };
            notifier.ready("2 lanes\nok");
            check("READY=1\nSTATUS=2 lanes ok");
            notifier.reloading(forebay_base::Monotonic(5_000_999));
            check("RELOADING=1\nMONOTONIC_USEC=5000");
            notifier.status("x");
            check("STATUS=x");
            notifier.watchdog();
            check("WATCHDOG=1");
            notifier.stopping();
            check("STOPPING=1");
        }
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        let notifier = Notifier::new(None, Some("1000")).unwrap();
        notifier.ready("x");
        assert_eq!(notifier.watchdog_every, None);
        assert!(Notifier::new(Some("/nonexistent/notify".as_ref()), None).is_err());
    }
}
