//! SIGBUS confined: a read through a map that the medium can't answer (a file cut short, a bad sector) ends neither
//! the process nor the thread.
//!
//! ```text
//!   read of a map ──> page can't be had ──> SIGBUS ──> handler: ours?  no: whoever was there before
//!                                                         │ yes
//!                     the read goes on, and gets zeros <──┴── a page of zeros is mapped there, the map is marked
//! ```
//!
//! The handler does what is async-signal-safe (signal-safety(7)) and no more: it reads a table of atomics, makes one
//! system call, mmap(2), and writes atomics. It takes no lock, allocates nothing, and never jumps: the code that faulted
//! may hold locks and own memory, and goes on as if the page had been zero. Whoever reads a value looks at the mark
//! afterwards ([`count`], [`Place::has_faulted`]); the store then stops.

#![expect(unsafe_code, reason = "sigaction(2) and a signal handler")]

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// Maps at a time. vm.max_map_count of a process is 65530 unless the operator raised it.
const MAPS_MAX: usize = 65_536;

/// A mapped range. Free if `start` is 0, being filled or emptied if it is 1.
struct Range {
    start: AtomicUsize,
    end: AtomicUsize,
    /// Where in the map the first fault was, plus 1; 0 if there was none.
    fault: AtomicUsize,
}

static RANGES: [Range; MAPS_MAX] =
    [const { Range { start: AtomicUsize::new(0), end: AtomicUsize::new(0), fault: AtomicUsize::new(0) } };
        MAPS_MAX];
/// Entries of the table that were ever used.
static USED: AtomicUsize = AtomicUsize::new(0);
/// Faults of all maps so far.
static FAULTS: AtomicU32 = AtomicU32::new(0);
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);

/// What handled the signal before. Written once, before our handler can run.
struct Previous(UnsafeCell<MaybeUninit<libc::sigaction>>);
// SAFETY: written within INSTALL, before HAS_PREVIOUS is set; only read after that.
unsafe impl Sync for Previous {}
static PREVIOUS: Previous = Previous(UnsafeCell::new(MaybeUninit::uninit()));
static HAS_PREVIOUS: AtomicBool = AtomicBool::new(false);
static INSTALL: Once = Once::new();

/// Faults in maps of this process so far: a change says that some map has a mark.
pub(crate) fn count() -> u32 {
    FAULTS.load(Ordering::Acquire)
}

/// A map's place in the table; free again when dropped, which is to happen before the map goes.
#[derive(Debug)]
pub(crate) struct Place(usize);

impl Place {
    /// Confines faults in `bytes` bytes from `start`.
    pub(crate) fn take(start: usize, bytes: usize) -> io::Result<Self> {
        INSTALL.call_once(install);
        for (n, range) in RANGES.iter().enumerate() {
            if range.start.load(Ordering::Relaxed) == 0
                && range.start.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            {
                range.fault.store(0, Ordering::Relaxed);
                range.end.store(start + bytes, Ordering::Relaxed);
                range.start.store(start, Ordering::Release);
                USED.fetch_max(n + 1, Ordering::AcqRel);
                return Ok(Self(n));
            }
        }
        Err(io::Error::other("65536 segments are mapped: there is room for no more"))
    }

    /// Where in the map a read failed first, if one did.
    pub(crate) fn fault(&self) -> Option<usize> {
        RANGES[self.0].fault.load(Ordering::Acquire).checked_sub(1)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let range = &RANGES[self.0];
        range.start.store(1, Ordering::Release);
        range.end.store(0, Ordering::Relaxed);
        range.start.store(0, Ordering::Release);
    }
}

fn install() {
    // SAFETY: sysconf has no preconditions.
    if let Ok(bytes) = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }) {
        PAGE_BYTES.store(bytes, Ordering::Relaxed);
    }
    // SAFETY: zeros are a valid sigaction: no flags, an empty mask. The handler has the signature that SA_SIGINFO asks for.
    // PREVIOUS is written here only, once, before the handler is there to read it.
    unsafe {
        let mut ours: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = handle;
        ours.sa_sigaction = handler as libc::sighandler_t;
        // On the stack for signals, where a thread has one; not blocked meanwhile: a fault in it is the end, not a hang.
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        let previous = (*PREVIOUS.0.get()).as_mut_ptr();
        // First only asked for: the handler must find it if it runs at once.
        if libc::sigaction(libc::SIGBUS, std::ptr::null(), previous) == 0 {
            HAS_PREVIOUS.store(true, Ordering::Release);
        }
        libc::sigaction(libc::SIGBUS, &raw const ours, std::ptr::null_mut());
    }
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo_t with SA_SIGINFO; errno is the thread's own, put back
    // as the interrupted code had it.
    let (address, errno) = unsafe { ((*info).si_addr() as usize, *libc::__errno_location()) };
    // SAFETY: as above. Sent by kill(2) and the like the address means nothing.
    let from_kernel = unsafe { (*info).si_code } > 0;
    let confined = from_kernel && confine(address);
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
    if !confined {
        chain(signal, info, context);
    }
}

/// Puts a page of zeros where the read failed, if that is in a map of ours.
fn confine(address: usize) -> bool {
    let used = USED.load(Ordering::Acquire).min(MAPS_MAX);
    for range in &RANGES[..used] {
        let start = range.start.load(Ordering::Acquire);
        if start <= 1 || address < start || address >= range.end.load(Ordering::Relaxed) {
            continue;
        }
        let bytes = PAGE_BYTES.load(Ordering::Relaxed);
        let page = address & !(bytes - 1);
        // SAFETY: the page lies in a map that this crate owns and nobody writes through: replacing it changes only what
        // reads of it give, from an error to zeros. mmap(2) is a system call without a lock in libc.
        let mapped = unsafe {
            libc::mmap(
                page as *mut libc::c_void,
                bytes,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return false;
        }
        let _ = range.fault.compare_exchange(0, page - start + 1, Ordering::AcqRel, Ordering::Relaxed);
        FAULTS.fetch_add(1, Ordering::AcqRel);
        return true;
    }
    false
}

/// A fault that isn't ours: what would have happened without us.
fn chain(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: PREVIOUS was filled before HAS_PREVIOUS was set, and isn't written any more. A handler that the
    // process had set is called as the kernel would have called it; else the default action is put back, and
    // the instruction that faulted, which is run again, meets it.
    unsafe {
        if HAS_PREVIOUS.load(Ordering::Acquire) {
            let previous = (*PREVIOUS.0.get()).assume_init_ref();
            if previous.sa_sigaction != libc::SIG_DFL && previous.sa_sigaction != libc::SIG_IGN {
                if previous.sa_flags & libc::SA_SIGINFO != 0 {
                    type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
                    let handler: Handler = std::mem::transmute(previous.sa_sigaction);
                    handler(signal, info, context);
                } else {
                    let handler: extern "C" fn(libc::c_int) = std::mem::transmute(previous.sa_sigaction);
                    handler(signal);
                }
                return;
            }
        }
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, &raw const default, std::ptr::null_mut());
        if (*info).si_code <= 0 {
            // Sent by somebody: nothing is run again that would fault.
            libc::raise(signal);
        }
    }
}
