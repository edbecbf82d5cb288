//! SPSC rings between threads.
