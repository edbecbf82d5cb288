//! A server under test: a child process on one core, and the CPU time of its
//! whole process tree.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running server; ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    /// Shown in the table.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts `program` on CPU 0 and waits until it accepts connections.
    pub(crate) fn start(name: &str, program: &Path, args: &[&str], addr: SocketAddr) -> Result<Self, String> {
        Self::start_with(name, program, args, addr, &[])
    }

    /// The same, with variables of its environment.
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    pub(crate) fn start_with(
        name: &str,
        program: &Path,
        args: &[&str],
        addr: SocketAddr,
        env: &[(&str, &str)],
    ) -> Result<Self, String> {
        let child = Command::new("taskset")
            .envs(env.iter().copied())
            .args(["-c", "0"])
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{}: {e}", program.display()))?;
        let mut server = Self { name: name.into(), addr, child };
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(addr).is_err() {
            if let Ok(Some(status)) = server.child.try_wait() {
                let mut text = String::new();
                if let Some(stderr) = &mut server.child.stderr {
                    let _ = std::io::Read::read_to_string(stderr, &mut text);
                }
                return Err(format!("{name} ended with {status}: {text}"));
            }
            if Instant::now() > end {
                return Err(format!("{name} doesn't listen on {addr} after 20 s"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Whatever it logs from now on must not fill the pipe.
        if let Some(mut stderr) = server.child.stderr.take() {
            #[expect(clippy::disallowed_methods, reason = "drains a pipe")]
            std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        }
        Ok(server)
    }

    /// Its process id.
    #[must_use]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time (user and system) of all threads of the process and its children, nanoseconds
    /// (`/proc/PID/task/*/schedstat`, first field).
    #[must_use]
    pub(crate) fn cpu_nanos(&self) -> u64 {
        tree_nanos(self.child.id())
    }

    /// Resident memory of the process tree, bytes.
    #[must_use]
    pub(crate) fn resident_bytes(&self) -> u64 {
        tree(self.child.id())
            .into_iter()
            .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/statm")).ok())
            .filter_map(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok())
            .map(|pages| pages * 4096)
            .sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        for _ in 0..100 {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of all threads of a process and its children, nanoseconds.
pub(crate) fn tree_nanos(root: u32) -> u64 {
    tree(root).into_iter().map(threads_nanos).sum()
}

fn tree(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        next += 1;
        let path = format!("/proc/{pid}/task/{pid}/children");
        let text = fs::read_to_string(path).unwrap_or_default();
        all.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    all
}

fn threads_nanos(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

/// Pins the calling thread to a CPU, if the machine has it.
pub(crate) fn pin_to(cpu: usize) {
    let mut set = nix::sched::CpuSet::new();
    if set.set(cpu).is_ok() {
        let _ = nix::sched::sched_setaffinity(Pid::from_raw(0), &set);
    }
}
