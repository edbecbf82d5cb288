//! The program's own code on huge pages.
//!
//! A request runs through some hundred functions that the linker has spread over 9 MiB: more small pages than a
//! core's instruction TLB has entries, and in a virtual machine each miss walks two page tables. On five huge pages the same
//! code misses none (docs/decisions/0395-code-on-huge-pages.md).
//!
//! Where the kernel has CONFIG_READ_ONLY_THP_FOR_FS the file's own pages are collapsed; elsewhere the code is copied
//! into a memfd, whose pages are collapsed and moved over the old ones. Nothing is ever writable and executable, so
//! systemd's MemoryDenyWriteExecute= stays.
#![expect(unsafe_code, reason = "madvise(2), mmap(2) and mremap(2) on the mapping that this code runs from")]

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Not in the libc crate for all targets; madvise(2), since Linux 6.1.
const MADV_COLLAPSE: libc::c_int = 25;
/// Of x86-64 and of most arm64 kernels, if the kernel doesn't say.
const HUGE_BYTES: usize = 2 << 20;

/// Code that is on huge pages now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HugeText {
    /// How much of it; what isn't a whole huge page stays on small ones.
    pub bytes: usize,
    /// The pages are a copy and no longer those of the file: perf(1) doesn't find its symbols by itself.
    pub copied: bool,
}

impl fmt::Display for HugeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.copied { ", copied" } else { "" };
        write!(f, "{} MiB{how}", self.bytes >> 20)
    }
}

/// Why the code stays where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextError {
    /// /proc/self/maps isn't readable, or doesn't show this code.
    Unknown,
    /// The code is smaller than a huge page.
    Small,
    /// A system call refused: ENOSYS, EINVAL (before Linux 6.1, or built without huge pages), ENOMEM (no huge page is free),
    /// EACCES or EPERM (sysctl vm.memfd_noexec, seccomp, SELinux).
    Refused(&'static str, Errno),
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("/proc/self/maps doesn't tell where the code is"),
            Self::Small => f.write_str("the code is smaller than a huge page"),
            Self::Refused(call, errno) => write!(f, "{call}: {}", errno.desc()),
        }
    }
}

impl std::error::Error for TextError {}

/// Puts the code of this program on huge pages. Other threads may run it meanwhile: the kernel exchanges the
/// mapping at once, and the bytes are the same.
///
/// # Errors
/// [`TextError`]: then nothing has changed.
pub fn huge_text() -> Result<HugeText, TextError> {
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|_| TextError::Unknown)?;
    let (start, end) = mapping(&maps, huge_text as *const () as usize).ok_or(TextError::Unknown)?;
    let huge = huge_page_bytes();
    let (start, end) = (start.next_multiple_of(huge), end / huge * huge);
    if end <= start {
        return Err(TextError::Small);
    }
    let bytes = end - start;
    if collapse(start, bytes).is_ok() {
        return Ok(HugeText { bytes, copied: false });
    }
    copy(start, bytes, huge)?;
    Ok(HugeText { bytes, copied: true })
}

/// The executable, unwritable mapping that `address` lies in (proc_pid_maps(5)).
fn mapping(maps: &str, address: usize) -> Option<(usize, usize)> {
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        ((start..end).contains(&address) && rest.starts_with("r-xp")).then_some((start, end))
    })
}

fn huge_page_bytes() -> usize {
    let told = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").ok();
    let told = told.and_then(|text| text.trim().parse::<usize>().ok());
    told.filter(|bytes| bytes.is_power_of_two()).unwrap_or(HUGE_BYTES)
}

fn collapse(start: usize, bytes: usize) -> Result<(), Errno> {
    // SAFETY: MADV_COLLAPSE exchanges the pages behind a mapping and none of their contents.
    let result = unsafe { libc::madvise(start as *mut libc::c_void, bytes, MADV_COLLAPSE) };
    Errno::result(result).map(drop)
}

/// Copies the code into collapsed pages of a memfd and moves them over it.
fn copy(start: usize, bytes: usize, huge: usize) -> Result<(), TextError> {
    let refused = |call| move |errno| TextError::Refused(call, errno);
    let fd = memfd_create(c"forebay-text", MFdFlags::MFD_CLOEXEC).map_err(refused("memfd_create"))?;
    let mut file = File::from(fd);
    // SAFETY: the range lies within a readable mapping of this program's file, which nobody unmaps or writes to.
    let code = unsafe { std::slice::from_raw_parts(start as *const u8, bytes) };
    file.write_all(code).map_err(|error| {
        TextError::Refused("memfd", error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw))
    })?;
    let room = Room::reserve(bytes + huge).map_err(refused("mmap"))?;
    let place = room.start.next_multiple_of(huge);
    // SAFETY: MAP_FIXED replaces a part of the room, which is ours and empty.
    let mapped = unsafe {
        libc::mmap(
            place as *mut libc::c_void,
            bytes,
            libc::PROT_READ | libc::PROT_EXEC,
            libc::MAP_PRIVATE | libc::MAP_FIXED,
            file.as_raw_fd(),
            0,
        )
    };
    if mapped == libc::MAP_FAILED {
        return Err(TextError::Refused("mmap", Errno::last()));
    }
    collapse(place, bytes).map_err(refused("madvise"))?;
    // SAFETY: both ranges are as long; what is unmapped by it is replaced in the same call by the same bytes, as
    // readable and executable as they were, so that whoever runs or reads them sees no difference.
    let moved = unsafe {
        libc::mremap(
            place as *mut libc::c_void,
            bytes,
            bytes,
            libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
            start as *mut libc::c_void,
        )
    };
    if moved == libc::MAP_FAILED {
        return Err(TextError::Refused("mremap", Errno::last()));
    }
    room.forget_but_ends(place, bytes);
    Ok(())
}

/// Address space without memory; unmapped when dropped.
struct Room {
    start: usize,
    bytes: usize,
}

impl Room {
    fn reserve(bytes: usize) -> Result<Self, Errno> {
        // SAFETY: a mapping of nothing at an address of the kernel's choice.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(Self { start: start.addr(), bytes }) }
    }

    /// What was at `place` has been moved away: another thread may have mapped something there since.
    fn forget_but_ends(self, place: usize, bytes: usize) {
        let (start, end) = (self.start, self.start + self.bytes);
        std::mem::forget(self);
        drop([
            Self { start, bytes: place - start },
            Self { start: place + bytes, bytes: end - place - bytes },
        ]);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: ours, and nothing points into it.
            unsafe { libc::munmap(self.start as *mut libc::c_void, self.bytes) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_counts() {
        let maps = "1000-2000 r--p 00000000 fe:01 5 /bin/x\n2000-9000 r-xp 00001000 fe:01 5 /bin/x\n9000-a000 rw-p 0 0:0 0\n";
        assert_eq!(mapping(maps, 0x2000), Some((0x2000, 0x9000)));
        assert_eq!(mapping(maps, 0x8fff), Some((0x2000, 0x9000)));
        for outside in [0x1000, 0x9000, 0xa000, 0] {
            assert_eq!(mapping(maps, outside), None);
        }
        assert_eq!(mapping("", 1), None);
        assert_eq!(mapping("garbage\n-\n1-2", 1), None);
    }

    #[test]
    fn code_runs_on_wherever_it_is() {
        let before = std::fs::read_to_string("/proc/self/maps").unwrap();
        let (start, end) = mapping(&before, huge_text as *const () as usize).unwrap();
        match huge_text() {
            Ok(text) => assert!(text.bytes > 0 && text.bytes <= end - start, "{text}"),
            Err(error) => {
                let after = std::fs::read_to_string("/proc/self/maps").unwrap();
                assert_eq!(mapping(&after, huge_text as *const () as usize), Some((start, end)), "{error}");
            }
        }
    }
}
