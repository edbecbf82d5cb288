//! The ring itself: set up step by step, entered, its provided buffers published.
//!
//! The crate `io-uring` maps the queues; `io_uring_enter(2)` is called here, since
//! its Submitter forgets a registered ring descriptor between two borrows, and
//! since what is to be submitted has to be recomputed from the kernel's head after
//! an EBUSY. `unsafe` is for memory: an operation that is given a pointer owns what it
//! points to until its completion has been reaped.

#![expect(unsafe_code, reason = "the kernel's shared memory and pointers in submissions")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd as _;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::{BufRingEntry, CancelBuilder, DestinationSlot, Fd, Fixed, FsyncFlags};
use io_uring::{IoUring, Probe, opcode, squeue};

use crate::api::{Config, Features};
use crate::buffers::ReceiveBuffers;
use crate::sys::{self, SocketAddress};

/// Submission queue entries. Beyond it entries wait in a list of ours for the next enter.
const SUBMISSION_ENTRIES: u32 = 2048;
/// Descriptor slots beyond the connection table's, for connections whose close is under way.
const DESCRIPTOR_SLACK: u32 = 256;
/// Completions that end the gathering of a turn before its time is over.
const GATHERED_MAX: u32 = 64;
/// The one group of provided buffers.
const BUFFER_GROUP: u16 = 0;

/// What the kernel knows a socket or file by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// Index into the ring's descriptor table.
    Direct(u32),
    /// A file descriptor.
    Plain(i32),
}

/// A completion, copied out of the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) data: u64,
    /// Not negative: the operation's result; negative: -errno.
    pub(super) result: i32,
    /// The provided buffer that was filled.
    pub(super) buffer: Option<u16>,
    /// Further completions of the same submission follow.
    pub(super) more: bool,
}

pub(super) struct Ring {
    io: IoUring,
    pub(super) features: Features,
    /// Index of the registered ring descriptor, or the descriptor itself.
    enter_fd: i32,
    enter_flags: u32,
    provided: ProvidedRing,
    /// Entries that found the submission queue full.
    backlog: VecDeque<squeue::Entry>,
    /// Submissions whose last completion is yet to come.
    pub(super) in_flight: u64,
    pub(super) enters: u64,
    pub(super) stalls: u64,
}

/// Calls `$build` with the target as the type that the crate wants.
macro_rules! on {
    ($target:expr, $fd:ident => $build:expr) => {
        match $target {
            Target::Direct(index) => {
                let $fd = Fixed(index);
                $build
            }
            Target::Plain(fd) => {
                let $fd = Fd(fd);
                $build
            }
        }
    };
}

impl Ring {
    /// Sets the ring up with the best flags that the kernel takes, then registers
    /// what it takes. Errors: ENOSYS, EPERM (io_uring is switched off or filtered), ENOMEM
    /// (RLIMIT_MEMLOCK on old kernels), EINVAL (no provided buffer rings: older than 5.19).
    pub(super) fn new(config: &Config, buffers: &mut ReceiveBuffers) -> io::Result<Self> {
        let (io, mut features) = set_up(config)?;
        let provided = ProvidedRing::new(&io, buffers)?;

        let mut probe = Probe::new();
        io.submitter().register_probe(&mut probe)?;
        // A table beyond RLIMIT_NOFILE is refused (EMFILE). With a smaller one accepting pauses when
        // it is full, just as it would for want of descriptors.
        let limit = u32::try_from(sys::descriptor_limit()).unwrap_or(u32::MAX);
        let descriptors = config.connections.saturating_add(DESCRIPTOR_SLACK).min(limit);
        // Without FIXED_FD_INSTALL (6.8) a direct descriptor can't be asked for its peer.
        features.direct_descriptors = !config.without.direct_descriptors
            && probe.is_supported(opcode::FixedFdInstall::CODE)
            && io.submitter().register_files_sparse(descriptors).is_ok();

        let ring_fd = io.as_raw_fd();
        let registered = if config.without.registered_ring { None } else { register_ring_fd(ring_fd) };
        features.registered_ring = registered.is_some();
        features.min_wait = !config.without.min_wait && io.params().is_feature_min_timeout();
        Ok(Self {
            enter_fd: registered.unwrap_or(ring_fd),
            enter_flags: if registered.is_some() { ENTER_REGISTERED_RING } else { 0 },
            io,
            features,
            provided,
            backlog: VecDeque::new(),
            in_flight: 0,
            enters: 0,
            stalls: 0,
        })
    }

    /// Submits everything and waits until one completion is there or the time is
    /// over; Some(ZERO) doesn't wait, None waits for as long as it takes. `gather` goes before: within it
    /// nothing but [`GATHERED_MAX`] completions end the wait. Without `min_wait` its end does, come what may.
    pub(super) fn enter(&mut self, timeout: Option<Duration>, gather: Duration) -> io::Result<()> {
        self.fill_from_backlog();
        // Recomputed from the kernel's head each time: after EBUSY or a short count the rest is
        // still in the queue.
        let to_submit = u32::try_from(self.io.submission().len()).unwrap_or(u32::MAX);
        let mut want = u32::from(timeout != Some(Duration::ZERO) && self.backlog.is_empty());
        // GETEVENTS even when nothing is waited for: under DEFER_TASKRUN only such an enter runs
        // the work that posts completions.
        let mut flags = ENTER_GETEVENTS | self.enter_flags;
        let mut wait = timeout.filter(|_| want > 0).map(Timespec::from);
        let mut argument = GetEvents { sigmask: 0, sigmask_bytes: 0, min_wait_usec: 0, timespec: 0 };
        let gather_us = u32::try_from(gather.as_micros()).unwrap_or(u32::MAX);
        // Never more than one completion without that timer: they might not come.
        if want > 0 && gather_us > 0 {
            want = GATHERED_MAX;
            if self.features.min_wait {
                // The kernel's own timer ends it: with fewer completions than wanted, or at the first after it.
                argument.min_wait_usec = gather_us;
            } else {
                wait = Some(Timespec::from(gather));
            }
            flags |= ENTER_EXT_ARG;
        }
        if let Some(wait) = &wait {
            argument.timespec = std::ptr::from_ref(wait).addr() as u64;
            flags |= ENTER_EXT_ARG;
        }
        let extended = flags & ENTER_EXT_ARG != 0;
        self.enters += 1;
        // SAFETY: the ring descriptor is ours; with EXT_ARG the argument is a GetEvents of the size
        // given, and it and the timespec it points to outlive the call. Without it both are ignored.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.enter_fd,
                to_submit,
                want,
                flags,
                if extended { (&raw const argument).cast::<libc::c_void>() } else { std::ptr::null() },
                if extended { size_of::<GetEvents>() } else { 0 },
            )
        };
        if result >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // The time is over, or a signal came: the turn goes on.
            Some(libc::ETIME | libc::EINTR) => Ok(()),
            // EBUSY: completions overflowed and must be reaped first. EAGAIN: no memory for
            // requests just now. In both cases the entries stay queued for the next enter.
            Some(libc::EBUSY | libc::EAGAIN) => {
                self.stalls += 1;
                Ok(())
            }
            // EBADR: completions were lost (no memory for the overflow list). EBADF, EINVAL,
            // ENXIO, EEXIST (entered by another thread): our bugs. There is no way on.
            _ => Err(error),
        }
    }

    /// Moves all completions to `into`.
    pub(super) fn reap(&mut self, into: &mut Vec<Completion>) {
        for entry in self.io.completion() {
            let flags = entry.flags();
            let more = io_uring::cqueue::more(flags);
            if !more {
                self.in_flight -= 1;
            }
            let buffer = io_uring::cqueue::buffer_select(flags);
            into.push(Completion { data: entry.user_data(), result: entry.result(), buffer, more });
        }
    }

    pub(super) fn accept(&mut self, listener: i32, data: u64) {
        let (direct, multishot) = (self.features.direct_descriptors, self.features.multishot_accept);
        let entry = if multishot {
            let accept = opcode::AcceptMulti::new(Fd(listener)).allocate_file_index(direct);
            // With a direct descriptor SOCK_CLOEXEC is an error: there is nothing to inherit.
            if direct { accept.build() } else { accept.flags(libc::SOCK_CLOEXEC).build() }
        } else {
            let accept = opcode::Accept::new(Fd(listener), std::ptr::null_mut(), std::ptr::null_mut());
            if direct {
                accept.file_index(Some(DestinationSlot::auto_target())).build()
            } else {
                accept.flags(libc::SOCK_CLOEXEC).build()
            }
        };
        self.push(entry.user_data(data));
    }

    pub(super) fn receive(&mut self, target: Target, data: u64) {
        let entry = if self.features.multishot_receive {
            on!(target, fd => opcode::RecvMulti::new(fd, BUFFER_GROUP).build())
        } else {
            let bytes = self.provided.buffer_bytes;
            on!(target, fd => opcode::Recv::new(fd, std::ptr::null_mut(), bytes).buf_group(BUFFER_GROUP).build())
                .flags(squeue::Flags::BUFFER_SELECT)
        };
        self.push(entry.user_data(data));
    }

    pub(super) fn cancel(&mut self, what: u64, data: u64) {
        self.push(opcode::AsyncCancel::new(what).build().user_data(data));
    }

    pub(super) fn cancel_all(&mut self, data: u64) {
        self.push(opcode::AsyncCancel2::new(CancelBuilder::any()).build().user_data(data));
    }

    pub(super) fn shut_down_write(&mut self, target: Target, data: u64) {
        self.push(on!(target, fd => opcode::Shutdown::new(fd, libc::SHUT_WR).build()).user_data(data));
    }

    /// Closes a direct descriptor.
    pub(super) fn close(&mut self, index: u32, data: u64) {
        self.push(opcode::Close::new(Fixed(index)).build().user_data(data));
    }

    /// A file descriptor for a direct one; the result is owned by who reaps it.
    pub(super) fn install(&mut self, index: u32, data: u64) {
        self.push(opcode::FixedFdInstall::new(Fixed(index), 0).build().user_data(data));
    }

    pub(super) fn sync(&mut self, file: i32, data: u64) {
        self.push(opcode::Fsync::new(Fd(file)).flags(FsyncFlags::DATASYNC).build().user_data(data));
    }

    /// # Safety
    /// `bytes` stays valid and unchanged until the completion of `data` is reaped.
    pub(super) unsafe fn send(&mut self, target: Target, bytes: &[u8], more: bool, data: u64) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        // WAITALL: the kernel goes on after a short send, so that a slow reader costs no extra turns.
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
        let entry = on!(target, fd => opcode::Send::new(fd, bytes.as_ptr(), len).flags(flags).build());
        self.push(entry.user_data(data));
    }

    /// # Safety
    /// `buffer` stays valid and unused until the completion of `data` is reaped.
    pub(super) unsafe fn read(&mut self, file: i32, offset: u64, buffer: &mut [u8], data: u64) {
        let len = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let entry = opcode::Read::new(Fd(file), buffer.as_mut_ptr(), len).offset(offset).build();
        self.push(entry.user_data(data));
    }

    /// # Safety
    /// `bytes` stays valid and unchanged until the completion of `data` is reaped.
    pub(super) unsafe fn write(&mut self, file: i32, offset: u64, bytes: &[u8], synced: bool, data: u64) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let flags = if synced { libc::RWF_DSYNC } else { 0 };
        let write = opcode::Write::new(Fd(file), bytes.as_ptr(), len).offset(offset).rw_flags(flags);
        self.push(write.build().user_data(data));
    }

    /// # Safety
    /// `address` stays where it is until the completion of `data` is reaped.
    pub(super) unsafe fn connect(&mut self, socket: i32, address: &SocketAddress, data: u64) {
        let entry = opcode::Connect::new(Fd(socket), address.as_ptr(), address.len()).build();
        self.push(entry.user_data(data));
    }

    /// Gives a buffer to the kernel, who sees it after [`Ring::publish`].
    pub(super) fn provide(&mut self, buffers: &mut ReceiveBuffers, index: u16) {
        self.provided.add(buffers, index);
    }

    pub(super) fn publish(&mut self) {
        self.provided.publish();
    }

    /// Keeps the provided ring's memory for good: the kernel hasn't let go of it.
    pub(super) fn leak_provided(&mut self) {
        self.provided.leaked = true;
    }

    fn push(&mut self, entry: squeue::Entry) {
        self.in_flight += 1;
        if !self.backlog.is_empty() {
            self.backlog.push_back(entry);
            return;
        }
        // SAFETY: the entry's memory is valid: there is none, or the caller of the unsafe function
        // that built it has promised so.
        if unsafe { self.io.submission().push(&entry) }.is_err() {
            self.stalls += 1;
            self.backlog.push_back(entry);
        }
    }

    fn fill_from_backlog(&mut self) {
        let mut queue = self.io.submission();
        while let Some(entry) = self.backlog.pop_front() {
            // SAFETY: as in `push`: what was promised for the entry still holds, since it has not completed.
            if unsafe { queue.push(&entry) }.is_err() {
                self.backlog.push_front(entry);
                break;
            }
        }
    }
}

/// Tries the best setup first. The kernel answers EINVAL to a flag it doesn't know.
fn set_up(config: &Config) -> io::Result<(IoUring, Features)> {
    let without = config.without;
    let mut features = Features {
        io_uring: true,
        single_issuer: !without.single_issuer,
        // DEFER_TASKRUN needs SINGLE_ISSUER.
        defer_taskrun: !without.defer_taskrun && !without.single_issuer,
        no_sqarray: !without.no_sqarray,
        ..Features::default()
    };
    loop {
        let mut builder = IoUring::builder();
        builder.dontfork().setup_submit_all().setup_clamp().setup_cqsize(config.completion_entries);
        if features.single_issuer {
            builder.setup_single_issuer();
        }
        if features.defer_taskrun {
            builder.setup_defer_taskrun();
        } else {
            builder.setup_coop_taskrun();
        }
        if features.no_sqarray {
            builder.setup_no_sqarray();
        }
        match builder.build(SUBMISSION_ENTRIES.min(config.completion_entries)) {
            Ok(io) => {
                let params = io.params();
                // 5.11, implied by all that follows.
                if !params.is_feature_ext_arg() || !params.is_feature_nodrop() {
                    return Err(io::Error::from(io::ErrorKind::Unsupported));
                }
                return Ok((io, features));
            }
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                // One step down, newest first.
                if features.no_sqarray {
                    features.no_sqarray = false;
                } else if features.defer_taskrun {
                    features.defer_taskrun = false;
                } else if features.single_issuer {
                    features.single_issuer = false;
                } else {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.features.registered_ring {
            // The registration holds the ring, and the ring its descriptor table: without this the
            // connections would stay open until the thread ends.
            let offset = self.enter_fd.cast_unsigned();
            update_ring_fds(self.io.as_raw_fd(), UNREGISTER_RING_FDS, &mut RingFdUpdate::new(offset, 0));
        }
    }
}

/// Spares a descriptor lookup in each enter. None if the kernel can't.
fn register_ring_fd(fd: i32) -> Option<i32> {
    let mut update = RingFdUpdate::new(u32::MAX, u64::from(fd.cast_unsigned()));
    if update_ring_fds(fd, REGISTER_RING_FDS, &mut update) {
        // The kernel has written the index that it chose.
        i32::try_from(update.offset).ok()
    } else {
        None
    }
}

/// `io_uring_register(2)`.
const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;

/// struct io_uring_rsrc_update.
#[repr(C)]
struct RingFdUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

impl RingFdUpdate {
    fn new(offset: u32, data: u64) -> Self {
        Self { offset, reserved: 0, data }
    }
}

fn update_ring_fds(fd: i32, operation: u32, update: &mut RingFdUpdate) -> bool {
    // SAFETY: one update, valid for the call.
    unsafe { libc::syscall(libc::SYS_io_uring_register, fd, operation, std::ptr::from_mut(update), 1) == 1 }
}

const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_REGISTERED_RING: u32 = 1 << 4;

/// struct io_uring_getevents_arg.
#[repr(C)]
struct GetEvents {
    sigmask: u64,
    sigmask_bytes: u32,
    min_wait_usec: u32,
    timespec: u64,
}

/// struct __kernel_timespec.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

impl From<Duration> for Timespec {
    fn from(duration: Duration) -> Self {
        Self {
            seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: i64::from(duration.subsec_nanos()),
        }
    }
}

/// The ring through which buffers go to the kernel (`io_uring_register_buf_ring(3)`).
struct ProvidedRing {
    entries: NonNull<BufRingEntry>,
    layout: Layout,
    /// Entries - 1; the count is a power of two.
    mask: u16,
    /// Next entry to fill; the kernel knows of it after `publish`.
    tail: u16,
    published: u16,
    buffer_bytes: u32,
    leaked: bool,
}

impl ProvidedRing {
    fn new(io: &IoUring, buffers: &mut ReceiveBuffers) -> io::Result<Self> {
        const PAGE_BYTES: usize = 4096;
        let count = u16::try_from(buffers.count()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let layout = Layout::array::<BufRingEntry>(usize::from(count))
            .and_then(|layout| layout.align_to(PAGE_BYTES))
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: count is at least 1, so the layout has a size above 0.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(entries) = NonNull::new(memory.cast::<BufRingEntry>()) else { handle_alloc_error(layout) };
        let mut this = Self {
            entries,
            layout,
            mask: count - 1,
            tail: 0,
            published: 0,
            leaked: false,
            buffer_bytes: u32::try_from(buffers.buffer_bytes()).map_err(|_| io::ErrorKind::InvalidInput)?,
        };
        let address = entries.as_ptr().addr() as u64;
        // SAFETY: the memory is page-aligned, holds `count` entries, and is freed only after the ring
        // (field order of `Ring`: `io` before `provided`).
        unsafe { io.submitter().register_buf_ring_with_flags(address, count, BUFFER_GROUP, 0) }?;
        for index in 0..count {
            this.add(buffers, index);
        }
        this.publish();
        Ok(this)
    }

    fn add(&mut self, buffers: &mut ReceiveBuffers, index: u16) {
        let address = buffers.slot(index);
        // SAFETY: masked, so inside the allocation. The kernel doesn't read entries between the
        // published tail and the tail, and at most `count` buffers exist, so none is overwritten.
        // Entry 0 shares its last field with the tail, which the setters leave alone.
        let entry = unsafe { &mut *self.entries.as_ptr().add(usize::from(self.tail & self.mask)) };
        entry.set_addr(address.addr() as u64);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(index);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        if self.published != self.tail {
            self.published = self.tail;
            // SAFETY: the tail lies in the ring's first entry (io_uring_buf_ring), aligned for u16;
            // the kernel only reads it. Release: the entries are written before it.
            let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
            tail.store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for ProvidedRing {
    fn drop(&mut self) {
        if self.leaked {
            return;
        }
        // SAFETY: allocated in `new` with this layout; the ring that read it is closed.
        unsafe { dealloc(self.entries.as_ptr().cast(), self.layout) }
    }
}
