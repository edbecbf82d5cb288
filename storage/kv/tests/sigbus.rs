//! A segment that is cut short under a running store: the read that meets it is an error and not zeros, the store
//! answers Unavailable from then on, the process lives; and a fault that isn't the store's goes where it would have gone.
//!
//! The test starts itself again, as a child that does one thing and prints what it saw.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(unsafe_code, reason = "a map whose file is cut short, and a handler that was there before")]

use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use forebay_base::{CoreId, TenantId, Timestamp};
use forebay_kv::{Blocking, Config, Error, Op, Outcome, Unavailable};

const NOW: Timestamp = Timestamp(0);
const TENANT: TenantId = TenantId(0);

/// Runs this test's binary again, as the child `role`.
fn child(role: &str, folder: &Path) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child", "--nocapture", "--test-threads", "1"])
        .env("KV_SIGBUS_ROLE", role)
        .env("KV_SIGBUS_FOLDER", folder)
        .output()
        .unwrap()
}

/// Nothing by itself: what the other tests start.
#[test]
fn the_child() {
    let Ok(role) = std::env::var("KV_SIGBUS_ROLE") else { return };
    let folder = std::env::var("KV_SIGBUS_FOLDER").unwrap();
    let folder = Path::new(&folder);
    match role.as_str() {
        "cut" => cut(folder),
        "foreign" => foreign(folder, false),
        "chained" => foreign(folder, true),
        other => panic!("{other}"),
    }
}

fn filled(folder: &Path) -> Blocking {
    let mut config = Config::new(folder.join("data"), 1);
    config.segment_bytes = 64 * 1024;
    let store = Blocking::open(config).unwrap();
    let mut session = store.session(CoreId(0));
    for n in 0..400u32 {
        assert_eq!(session.set(NOW, TENANT, &n.to_be_bytes(), &[7; 1000]).unwrap(), Outcome::Ok);
    }
    drop(session);
    store
}

fn cut(folder: &Path) {
    let store = filled(folder);
    let first = folder.join("data/0000000001.seg");
    // A key in the middle of the first segment, whose pages nobody has read: they are dropped with the file's end.
    let file = std::fs::File::options().write(true).open(&first).unwrap();
    let bytes = file.metadata().unwrap().len();
    file.set_len(8192).unwrap();
    let kv = store.store();
    let key = 40u32.to_be_bytes();
    let error = kv.get(NOW, TENANT, &key).unwrap_err().to_string();
    assert!(error.contains("0000000001.seg") && error.contains("SIGBUS"), "{error}");
    // From then on, also of what could be read.
    let sound = 399u32.to_be_bytes();
    let refused = |result: Result<(), Error>| {
        assert!(matches!(result, Err(Error::Unavailable(Unavailable::Poisoned))), "{result:?}");
    };
    refused(kv.get(NOW, TENANT, &sound).map(drop));
    refused(kv.scan(NOW, TENANT, b"", None, 10).map(drop));
    refused(kv.maintain(NOW));
    let answer = store.session(CoreId(0)).set(NOW, TENANT, b"k", b"v").unwrap();
    assert_eq!(answer, Outcome::Unavailable(Unavailable::Poisoned));
    let reason = kv.take_stop_reason().unwrap();
    assert!(reason.contains("0000000001.seg") && kv.take_stop_reason().is_none(), "{reason}");
    // It stays so while the file is short, and the file is named.
    let why = kv.heal().unwrap_err().to_string();
    assert!(why.contains("0000000001.seg"), "{why}");
    refused(kv.get(NOW, TENANT, &sound).map(drop));
    // What the cut has taken is gone when the length is back: zeros in the middle of a sealed segment are refused, too.
    file.set_len(bytes).unwrap();
    match kv.heal() {
        Err(why) => assert!(why.to_string().contains("0000000001.seg"), "{why}"),
        // Opened by its hint: then each record that is gone is refused when it is read.
        Ok(()) => {
            let gone = kv.get(NOW, TENANT, &key);
            assert!(matches!(gone, Err(Error::Corrupt { .. })), "{gone:?}");
            assert_eq!(kv.get(NOW, TENANT, &sound).unwrap().as_deref(), Some(&[7; 1000][..]));
        }
    }
    println!("the process lives");
}

static CHAINED: AtomicU32 = AtomicU32::new(0);
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// What was there before the store: puts memory where the fault was.
extern "C" fn before(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel's siginfo; the map is this test's own.
    unsafe {
        let mapped = MAPPED.load(Ordering::Relaxed) as *mut libc::c_void;
        assert_eq!((*info).si_addr(), mapped);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        libc::mmap(mapped, 4096, libc::PROT_READ, flags, -1, 0);
    }
    CHAINED.fetch_add(1, Ordering::Relaxed);
}

/// A fault in a map that isn't the store's.
fn foreign(folder: &Path, chained: bool) {
    if chained {
        // SAFETY: zeros are a valid sigaction; the handler's signature is that of SA_SIGINFO.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = before;
            action.sa_sigaction = handler as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()), 0);
        }
    }
    let store = filled(folder);
    let file = std::fs::File::create_new(folder.join("other")).unwrap();
    file.set_len(4096).unwrap();
    let file = std::fs::File::open(folder.join("other")).unwrap();
    // SAFETY: a new map of a file of this test's.
    let at = unsafe {
        let none = std::ptr::null_mut();
        libc::mmap(none, 4096, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    assert_ne!(at, libc::MAP_FAILED);
    MAPPED.store(at as usize, Ordering::Relaxed);
    std::fs::File::options().write(true).open(folder.join("other")).unwrap().set_len(0).unwrap();
    println!("reading");
    // SAFETY: mapped above; the read faults, which is the point.
    let byte = unsafe { std::ptr::read_volatile(at.cast::<u8>()) };
    assert_eq!((byte, CHAINED.load(Ordering::Relaxed)), (0, 1));
    assert!(store.store().get(NOW, TENANT, &1u32.to_be_bytes()).unwrap().is_some());
    let op = Op::Set { key: b"k", value: b"v", expires: None };
    let answer = store.session(CoreId(0)).batch(NOW, TENANT, &[op], true).unwrap();
    assert_eq!(answer.outcome, Outcome::Ok);
    println!("the handler before was called");
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_segment_that_is_cut_short_stops_the_store_and_not_the_process() {
    let temporary = tempfile::tempdir().unwrap();
    let output = child("cut", temporary.path());
    let text = text(&output);
    assert!(output.status.success() && text.contains("the process lives"), "{text}");
}

#[test]
fn a_fault_of_somebody_elses_memory_goes_to_the_handler_that_was_there() {
    let temporary = tempfile::tempdir().unwrap();
    let output = child("chained", temporary.path());
    let text = text(&output);
    assert!(output.status.success() && text.contains("the handler before was called"), "{text}");
}

#[test]
fn a_fault_of_somebody_elses_memory_ends_the_process_as_without_a_store() {
    let temporary = tempfile::tempdir().unwrap();
    let output = child("foreign", temporary.path());
    let text = text(&output);
    assert!(text.contains("reading"), "{text}");
    assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{text}");
}
