//! A request of the hot path allocates nothing: bytes to job to task to answer, over a
//! real socket, counted on the core's own thread.
#![expect(unsafe_code, reason = "an allocator that counts")]

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
    round(200);
    ARMED.store(true, Ordering::SeqCst);
    round(500);
    ARMED.store(false, Ordering::SeqCst);
    let allocations = ALLOCATIONS.swap(0, Ordering::SeqCst);
    assert_eq!(allocations, 0, "allocations in 8,500 requests, {variant:?}");
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
