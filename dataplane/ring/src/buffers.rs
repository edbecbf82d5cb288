//! Received bytes: a fixed pool of equal buffers, allocated once by the thread
//! that uses it (so that its pages are on that thread's NUMA node). A buffer
//! belongs either to the kernel, which may fill it, or to a [`ReceiveBuffer`],
//! which alone lends its bytes; [`crate::Transport::release`] turns the second into the first.
//!
//! Starvation is bounded from both ends: the pool never grows (with none left,
//! receiving waits), and a connection that holds more than
//! [`crate::Config::receive_buffers_per_connection`] is paused until half of
//! them are released.

#![expect(unsafe_code, reason = "memory that the kernel writes into can't be a Rust slice all the time")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use forebay_base::ConnectionId;

/// Alignment of the pool: a page, as registered buffer rings want it.
const PAGE_BYTES: usize = 4096;

/// Bytes received on one connection, to be read with [`ReceiveBuffers::bytes`]
/// and given back with [`crate::Transport::release`].
#[must_use = "a buffer that isn't released is lost to its reactor"]
#[derive(Debug, PartialEq, Eq)]
pub struct ReceiveBuffer {
    pool: u32,
    index: u16,
    len: u32,
    connection: ConnectionId,
}

impl ReceiveBuffer {
    /// Bytes in it: 1 to [`crate::Config::receive_buffer_bytes`].
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) fn connection(&self) -> ConnectionId {
        self.connection
    }
}

/// The pool of one reactor.
#[derive(Debug)]
pub struct ReceiveBuffers {
    memory: NonNull<u8>,
    layout: Layout,
    buffer_bytes: usize,
    count: u16,
    /// Which pool: a buffer of another reactor is a bug that must not read foreign memory.
    pool: u32,
    /// Buffers out with the caller or in the event queue.
    held: u16,
}

impl ReceiveBuffers {
    pub(crate) fn new(count: u16, buffer_bytes: u32) -> Self {
        static POOLS: AtomicU32 = AtomicU32::new(0);
        let buffer_bytes = buffer_bytes.max(1) as usize;
        let bytes = buffer_bytes.saturating_mul(usize::from(count.max(1)));
        let layout = Layout::from_size_align(bytes, PAGE_BYTES).unwrap_or(Layout::new::<u8>());
        assert!(layout.size() == bytes, "receive buffers must fit into memory");
        // SAFETY: the layout has a size above 0, since both factors are at least 1.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
        let pool = POOLS.fetch_add(1, Ordering::Relaxed);
        Self { memory, layout, buffer_bytes, count, pool, held: 0 }
    }

    /// The bytes of a buffer of this pool; panics with one of another reactor.
    #[must_use]
    pub fn bytes<'a>(&'a self, buffer: &'a ReceiveBuffer) -> &'a [u8] {
        assert_eq!(buffer.pool, self.pool, "a receive buffer is read by the reactor that filled it");
        // SAFETY: `lend` checked index and length against the pool; the pool lives as long as
        // `self`; while a ReceiveBuffer for this index exists (it can't be copied, and `take_back`
        // consumes it) the kernel doesn't own the buffer and `slot` isn't called for it.
        unsafe {
            std::slice::from_raw_parts(
                self.memory.as_ptr().add(usize::from(buffer.index) * self.buffer_bytes),
                buffer.len as usize,
            )
        }
    }

    /// Buffers that are out with the caller.
    #[must_use]
    pub fn held(&self) -> usize {
        usize::from(self.held)
    }

    /// Buffers in all.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// Where the kernel may write buffer `index`. Whoever passes it on must own the
    /// buffer: not lent, not already with the kernel.
    pub(crate) fn slot(&mut self, index: u16) -> *mut u8 {
        assert!(index < self.count);
        // SAFETY: index < count, so the offset is inside the allocation.
        unsafe { self.memory.as_ptr().add(usize::from(index) * self.buffer_bytes) }
    }

    /// The kernel has filled `len` bytes of buffer `index` and doesn't own it any more.
    pub(crate) fn lend(&mut self, index: u16, len: u32, connection: ConnectionId) -> ReceiveBuffer {
        assert!(index < self.count && len as usize <= self.buffer_bytes);
        self.held += 1;
        ReceiveBuffer { pool: self.pool, index, len, connection }
    }

    /// The index is free for the kernel again.
    pub(crate) fn take_back(&mut self, buffer: ReceiveBuffer) -> u16 {
        assert_eq!(buffer.pool, self.pool, "a receive buffer is released to the reactor that filled it");
        self.held -= 1;
        buffer.index
    }
}

impl Drop for ReceiveBuffers {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; the reactor drops the pool only after the
        // kernel has ended every operation (or leaks it).
        unsafe { dealloc(self.memory.as_ptr(), self.layout) }
    }
}
