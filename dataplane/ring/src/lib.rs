//! The kernel boundary: io_uring, with epoll as fallback.
