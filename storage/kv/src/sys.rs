//! Four system calls that std has no name for.

#![expect(unsafe_code, reason = "fallocate(2), pwritev2(2), fstatvfs(3) and madvise(2)")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Allocates `bytes` bytes from the start of `file` (fallocate(2)).
pub(crate) fn allocate(file: &File, bytes: u32) -> io::Result<()> {
    // SAFETY: no pointers; the descriptor is open while `file` is borrowed.
    let result = unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, libc::off_t::from(bytes)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Free bytes (for who isn't root) and all bytes of the file system (fstatvfs(3)).
pub(crate) fn space(folder: &File) -> io::Result<(u64, u64)> {
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the pointer is to memory of the right size; the descriptor is open while `folder` is borrowed.
    let result = unsafe { libc::fstatvfs(folder.as_raw_fd(), stat.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fstatvfs has filled it in.
    let stat = unsafe { stat.assume_init() };
    Ok((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
}

/// One write at `offset` that returns after its data is on disk (`RWF_DSYNC` of pwritev2(2)).
pub(crate) fn write_durable(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    let iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `iov` and the bytes it points to outlive the call, which only reads them;
    // the count is 1; the descriptor is open while `file` is borrowed.
    let written = unsafe { libc::pwritev2(file.as_raw_fd(), &raw const iov, 1, offset, libc::RWF_DSYNC) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// Asks for huge pages where `memory` will be (madvise(2) MADV_HUGEPAGE): what is read at random then costs no walk through
/// the page table. Where they aren't to be had nothing happens.
pub(crate) fn advise_huge<T>(memory: &Vec<T>) {
    const PAGE: usize = 4096;
    let bytes = memory.capacity() * size_of::<T>();
    let start = (memory.as_ptr() as usize).next_multiple_of(PAGE);
    let end = (memory.as_ptr() as usize + bytes) / PAGE * PAGE;
    if end > start {
        // SAFETY: the pages lie within an allocation of this process's; the advice changes none of their bytes.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
    }
}
