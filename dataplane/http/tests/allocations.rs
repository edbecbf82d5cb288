//! In the steady state a request costs no allocation: counted, not hoped.
#![allow(unsafe_code, clippy::unwrap_used, reason = "a counting allocator; helpers of tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use forebay_base::Timestamp;
use forebay_base::limits::HttpLimits;
use forebay_http::{
    DateCache, Decoded, Decoder, Lookup, Method, OwnedRequest, Params, Reply, ResponseWriter, RouteTable,
    Scratch,
};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: forwards to the system allocator; the counter is a plain thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `pieces` through a connection over and over; after a warm-up nothing is allocated.
#[track_caller]
fn check(pieces: &[&str], requests: usize) {
    let mut builder = RouteTable::builder();
    builder.add(Method::Get, "/users/{id}/posts/{*rest}", 1u32).unwrap();
    builder.add(Method::Post, "/orders", 2u32).unwrap();
    let table = builder.build();
    let mut date = DateCache::new(Timestamp(0));
    let mut scratch = Scratch::default();
    let mut decoder = Decoder::new(&HttpLimits::default());
    let (mut out, mut owned, mut params) = (Vec::new(), OwnedRequest::default(), Params::default());
    let mut after_warm_up = 0;
    for round in 0..100u32 {
        if round == 10 {
            after_warm_up = COUNT.get();
        }
        out.clear();
        date.update(Timestamp(i64::from(round) * 1_000_000));
        let mut seen = 0;
        for piece in pieces {
            let mut input = piece.as_bytes();
            while let Ok(Decoded::Request(request)) = decoder.decode(input, &mut scratch) {
                seen += 1;
                owned.assign(&request);
                let head = request.head;
                let Lookup::Found(route) = table.lookup(head.method(), head.path_bytes(), &mut params) else {
                    panic!("no route")
                };
                let mut response = ResponseWriter::new(&mut out, Reply::to(&head), 200, &date);
                response.content_type("application/json");
                response.header("X-Route", b"a").unwrap();
                let mut body = response.begin_body();
                body.out().extend_from_slice(route.pattern.as_bytes());
                body.finish();
                input = &input[request.consumed..];
            }
        }
        assert_eq!(seen, requests);
        assert!(decoder.held() == 0 && !out.is_empty());
    }
    assert_eq!(COUNT.get() - after_warm_up, 0, "allocations in the steady state");
}

#[test]
fn no_allocation_per_request() {
    let get = "GET /users/7/posts/a%20b HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n";
    let post = "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "POST /orders HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nabc\r\n0\r\n\r\n";
    check(&[get], 1);
    check(&[post, get], 2);
    check(&[&get.repeat(16)], 16);
    check(&[&get[..20], &get[20..], &post[..50], &post[50..]], 2);
    check(&[chunked, &chunked[..80], &chunked[80..], get], 3);
}
