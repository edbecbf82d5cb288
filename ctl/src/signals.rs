//! Signals as messages. SIGINT and SIGTERM ask for a drain, the second one ends
//! at once; SIGHUP asks for a deploy.
//!
//! The signals are blocked in the whole process and taken out, one by one, by a
//! thread of its own in sigwait(3): no handler runs anywhere, so nothing that a
//! handler must not do can happen. The block is inherited by threads: call
//! [`Signals::block`] before the first one starts. Child processes inherit it too:
//! call [`unblock_in_child`] before exec.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// First SIGINT or SIGTERM: finish what is running, accept nothing new, exit.
    Drain,
    /// A further SIGINT or SIGTERM: exit now.
    Exit,
    /// SIGHUP: load the app folder again.
    Deploy,
}

/// Blocked signals, not yet listened to.
#[derive(Debug)]
#[must_use = "signals stay blocked; call `listen`"]
pub struct Signals {
    set: SigSet,
}

impl Signals {
    /// Blocks SIGINT, SIGTERM and SIGHUP in this thread and those that it starts.
    ///
    /// # Errors
    /// What sigprocmask(2) says; not expected.
    pub fn block() -> std::io::Result<Self> {
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        set.thread_block()?;
        Ok(Self { set })
    }

    /// Starts the thread that takes the signals and calls `handle` for each.
    /// `handle` runs on that thread; it may block, and lock. It sees
    /// [`Request::Drain`] at most once.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn listen(self, mut handle: impl FnMut(Request) + Send + 'static) -> std::io::Result<()> {
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let mut draining = false;
            loop {
                let request = match self.set.wait() {
                    Ok(Signal::SIGHUP) => Request::Deploy,
                    Ok(_) if draining => Request::Exit,
                    Ok(_) => {
                        draining = true;
                        Request::Drain
                    }
                    // EINTR: sigwait(3) may be interrupted by a debugger.
                    Err(_) => continue,
                };
                handle(request);
            }
        })?;
        Ok(())
    }
}

/// Unblocks everything: for a child between fork and exec (async-signal-safe:
/// one system call).
///
/// # Errors
/// What sigprocmask(2) says; not expected.
pub fn unblock_in_child() -> std::io::Result<()> {
    Ok(nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}
