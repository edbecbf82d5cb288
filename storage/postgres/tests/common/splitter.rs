//! A proxy between client and server that hands on every read in pieces of random sizes, down to single bytes.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a helper of a test: its threads end with the streams that they copy"
)]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_base::rng::Rng;

/// Of a read, at most so many bytes travel alone: each costs two system calls.
const SINGLE_MAX: u64 = 64;

/// Its socket is in `folder`.
pub struct Splitter {
    pub folder: tempfile::TempDir,
    /// Pieces that were written.
    pub pieces: Arc<AtomicU64>,
}

impl Splitter {
    /// Listens in front of the server whose unix socket this is.
    pub fn start(server: &Path, seed: u64) -> Self {
        let folder = tempfile::Builder::new().prefix("pg-").tempdir_in("/tmp").unwrap();
        let name = server.file_name().unwrap();
        let listener = UnixListener::bind(folder.path().join(name)).unwrap();
        let pieces = Arc::new(AtomicU64::new(0));
        let (server, counter, mut rng) = (server.to_owned(), Arc::clone(&pieces), Rng::new(seed));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // While the server is away the client meets the end of its stream.
                let Ok(upstream) = UnixStream::connect(&server) else { continue };
                let (to_server, to_client) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
                for (from, to) in [(client, to_server), (upstream, to_client)] {
                    let (counter, rng) = (Arc::clone(&counter), Rng::new(rng.next_u64()));
                    std::thread::spawn(move || pump(from, to, rng, &counter));
                }
            }
        });
        Self { folder, pieces }
    }
}

fn pump(mut from: UnixStream, mut to: UnixStream, mut rng: Rng, pieces: &AtomicU64) {
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let mut rest = &buffer[..count];
        let mut singles = if rng.one_in(3) { 1 + rng.below(SINGLE_MAX) } else { 0 };
        let scale = 1 << rng.below(16);
        while !rest.is_empty() {
            let size = match singles {
                0 => 1 + usize::try_from(rng.below(scale)).unwrap(),
                _ => 1,
            };
            singles = singles.saturating_sub(1);
            // Small ones are few, else a megabyte costs a minute.
            let size = if rest.len() > 4096 && singles == 0 { size.max(256) } else { size };
            let (piece, after) = rest.split_at(size.min(rest.len()));
            if to.write_all(piece).is_err() {
                break;
            }
            pieces.fetch_add(1, Ordering::Relaxed);
            // The other side sees it before the next one comes, mostly.
            std::thread::yield_now();
            rest = after;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
