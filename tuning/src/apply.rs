//! Takes a seat: binds the current thread to its CPU and its memory to the node.
#![expect(unsafe_code, reason = "set_mempolicy(2) has no safe wrapper in libc or nix")]

use std::fmt;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::{CPU_COUNT_MAX, MemoryPolicy, Seat};

/// The kernel refused a seat. The thread still runs, elsewhere: whoever called
/// logs it and goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApplyError {
    /// sched_setaffinity(2) failed (EPERM under seccomp, EINVAL for a CPU that
    /// went offline or out of the cpuset).
    Cpu(u32, Errno),
    /// set_mempolicy(2) failed (EPERM in containers without CAP_SYS_NICE's
    /// seccomp rule, ENOSYS in kernels without NUMA).
    Memory(u32, Errno),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu(cpu, errno) => write!(f, "can't bind this thread to CPU {cpu}: {}", errno.desc()),
            Self::Memory(node, errno) => {
                write!(f, "can't prefer memory of node {node} for this thread: {}", errno.desc())
            }
        }
    }
}

impl std::error::Error for ApplyError {}

impl Seat {
    /// Binds the current thread, and lets its memory come from the seat's node
    /// from now on. Call it first thing in the thread, before it allocates rings,
    /// arenas and buffers: pages live where they are first touched under the
    /// policy of the toucher. Does nothing if the plan is for another machine.
    ///
    /// # Errors
    /// [`ApplyError`]; what succeeded before stays in force.
    pub fn take(&self) -> Result<(), ApplyError> {
        if !self.binds {
            return Ok(());
        }
        let refused = |errno| ApplyError::Cpu(self.cpu, errno);
        let mut set = CpuSet::new();
        set.set(self.cpu as usize).map_err(refused)?;
        // Pid 0 is the calling thread (sched_setaffinity(2)), not the process.
        sched_setaffinity(Pid::from_raw(0), &set).map_err(refused)?;
        match self.memory {
            MemoryPolicy::Default => Ok(()),
            MemoryPolicy::PreferLocal => prefer(self.node).map_err(|e| ApplyError::Memory(self.node, e)),
        }
    }
}

/// set_mempolicy(MPOL_PREFERRED) of one node for the calling thread.
fn prefer(node: u32) -> Result<(), Errno> {
    const WORDS: usize = CPU_COUNT_MAX as usize / 64;
    let mut mask = [0u64; WORDS];
    let word = mask.get_mut(node as usize / 64).ok_or(Errno::EINVAL)?;
    *word = 1 << (node % 64);
    // SAFETY: the kernel reads `maxnode` - 1 bits (it subtracts one, get_nodes() in
    // mm/mempolicy.c) from `mask`, which has exactly CPU_COUNT_MAX of them and
    // lives until the call returns; nothing is written.
    let result = unsafe {
        libc::syscall(
            libc::SYS_set_mempolicy,
            libc::c_long::from(libc::MPOL_PREFERRED),
            mask.as_ptr(),
            libc::c_long::from(CPU_COUNT_MAX),
        )
    };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Request, Topology, plan};

    #[test]
    fn a_seat_binds_its_thread_and_no_other() {
        let here = Topology::detect();
        let plan = plan(&here, &Request::default()).unwrap();
        let before = nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap();
        for lane in plan.lanes {
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    // A container may forbid it: then it says which CPU.
                    if let Err(error) = lane.reactor.take() {
                        assert!(error.to_string().contains(&lane.reactor.cpu.to_string()));
                    } else if lane.reactor.binds {
                        let set = nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap();
                        let bound: Vec<_> =
                            (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap()).collect();
                        assert_eq!(bound, [lane.reactor.cpu as usize]);
                    }
                });
            });
        }
        assert_eq!(nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap(), before);
    }

    #[test]
    fn a_missing_cpu_is_an_error_and_a_foreign_seat_does_nothing() {
        let seat = Seat { cpu: CPU_COUNT_MAX - 1, node: 0, memory: MemoryPolicy::Default, binds: true };
        assert!(matches!(seat.take(), Err(ApplyError::Cpu(1023, _))));
        assert_eq!(Seat { binds: false, ..seat }.take(), Ok(()));
    }

    #[test]
    fn memory_policy_reaches_the_kernel() {
        std::thread::scope(|scope| {
            scope.spawn(|| match prefer(0) {
                Ok(()) => {
                    let policy = std::fs::read_to_string("/proc/thread-self/numa_maps").unwrap_or_default();
                    assert!(policy.is_empty() || policy.contains("prefer:0"), "{policy}");
                }
                Err(errno) => assert!(matches!(errno, Errno::EPERM | Errno::ENOSYS), "{errno}"),
            });
        });
        assert_eq!(prefer(CPU_COUNT_MAX), Err(Errno::EINVAL));
    }
}
