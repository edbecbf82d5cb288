//! Child processes that die with us and start clean.
#![expect(unsafe_code, reason = "Command::pre_exec runs between fork and exec")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid};

use crate::signals;

/// Starts `command` with no blocked signals.
///
/// # Errors
/// As [`Command::spawn`].
pub fn spawn_clean(command: &mut Command) -> io::Result<Child> {
    // SAFETY: between fork and exec only async-signal-safe functions may be called
    // (fork(2)): unblock_in_child is one sigprocmask(2), and allocates nothing.
    unsafe { command.pre_exec(signals::unblock_in_child) };
    command.spawn()
}

/// Makes `command` start with no blocked signals, as `user` if given, in a
/// process group of its own (so that Ctrl-C on the terminal reaches only us and
/// we stop it in order), and get `death` when the thread that starts it dies.
pub fn tie(command: &mut Command, user: Option<(Uid, Gid)>, death: Signal) {
    command.process_group(0);
    if let Some((uid, gid)) = user {
        // std calls setgroups, setgid, setuid in this order, before pre_exec.
        command.uid(uid.as_raw()).gid(gid.as_raw());
    }
    let parent = nix::unistd::getpid();
    let tied = move || {
        signals::unblock_in_child()?;
        // After the change of user, which clears it (prctl(2), PR_SET_PDEATHSIG).
        nix::sys::prctl::set_pdeathsig(death)?;
        // Our death between fork and prctl would go unnoticed.
        if nix::unistd::getppid() != parent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe functions may be called
    // (fork(2)): `tied` makes system calls (rt_sigprocmask, prctl, getppid) and
    // builds an error from a number; nothing allocates or locks.
    unsafe { command.pre_exec(tied) };
}
