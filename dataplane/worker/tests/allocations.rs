//! A request of the hot path allocates nothing: bytes to job to task to answer, over a
//! real socket, counted on the core's own thread.
#![expect(unsafe_code, reason = "an allocator that counts")]
#![allow(clippy::unwrap_used, reason = "a test's helper")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{Client, Setup, Variant, get, script};
use forebay_base::limits::TaskLimits;
use forebay_worker::Placement;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ARMED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread is one of the data path's.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if COUNTED.with(Cell::get) && ARMED.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.dealloc(p, layout) }
    }
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's obligations are passed on.
        unsafe { System.realloc(p, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Rounds after which two without an allocation have come.
const WARM_UP_ROUNDS_MAX: usize = 20;
/// Rounds one of which must be without.
const ROUNDS_MAX: usize = 3;

fn check(placement: Placement, epoll: bool) {
    let source = r#"
        work("hello").get("/hello", () => "Hello, World!");
        work("json").get("/json", () => ({ message: "Hello, World!", list: [1, 2.5, true, null] }));
    "#;
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup { store: Some(common::store(&folder.path().join("data"), 1)), ..Setup::default() };
    let variant = Variant { epoll, placement, cores: 1 };
    let bind = || Box::new(|| COUNTED.with(|counted| counted.set(true))) as forebay_worker::runtime::Bind;
    let runtime = setup.start_with(variant, script(1, source, &TaskLimits::default()), bind);
    let mut client = Client::new(runtime.tcp().unwrap());
    let plain = get("/hello");
    let burst = (get("/hello") + &get("/json")).repeat(8);
    let mut round = |count: usize| {
        for _ in 0..count {
            assert_eq!(client.send(&plain).answer().status, 200);
        }
        for _ in 0..count {
            client.send(&burst);
            for _ in 0..16 {
                assert_eq!(client.answer().status, 200);
            }
        }
    };
    let mut counted = |requests: usize| {
        ARMED.store(true, Ordering::SeqCst);
        round(requests);
        ARMED.store(false, Ordering::SeqCst);
        ALLOCATIONS.swap(0, Ordering::SeqCst)
    };
    // Warm once the most requests were in flight that ever are: on a busy machine a burst isn't always there as a whole.
    // What is allocated by request would be seen in every round.
    let mut seen = Vec::new();
    while !seen.ends_with(&[0, 0]) {
        assert!(
            seen.len() < WARM_UP_ROUNDS_MAX,
            "allocations in rounds of 1,700 requests: {seen:?}, {variant:?}"
        );
        seen.push(counted(100));
    }
    // More than ever before may be in flight once more; what is due to requests is in every round.
    let mut allocations = Vec::new();
    while allocations.last() != Some(&0) {
        let rounds = allocations.len();
        assert!(rounds < ROUNDS_MAX, "allocations in rounds of 8,500 requests: {allocations:?}, {variant:?}");
        allocations.push(counted(500));
    }
}

#[test]
fn a_request_allocates_nothing() {
    // One after the other: the count is the process's.
    for epoll in [false, true] {
        for placement in [Placement::Inline, Placement::Split] {
            check(placement, epoll);
        }
    }
}
