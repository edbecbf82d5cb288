//! Tries at start-up what no feature bit tells: multishot accept and receive, on a
//! unix socket with an abstract name (so that nothing is left on disk and no port is taken).

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::api::Endpoint;
use crate::core::Core;
use crate::sys;

use super::ring::{Completion, Ring, Target};

/// The kernel answers at once; this only bounds a kernel that doesn't.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sets the features that work, leaves the others off.
pub(super) fn multishot(ring: &mut Ring, core: &mut Core) -> io::Result<()> {
    let without = core.config.without;
    let listener = sys::listener(&Endpoint::Unix("".into()), 8, false)?;
    let address = sys::autobound_address(sys::raw(&listener))?;

    // Direct and multishot, then without the one, then without the other, then neither.
    let direct = ring.features.direct_descriptors;
    let attempts = [(direct, true), (direct, false), (false, true), (false, false)];
    let client = sys::stream_socket(&address, false)?;
    sys::connect(sys::raw(&client), &address)?;
    let mut accepted = None;
    for (direct, multishot) in attempts {
        if multishot && without.multishot_accept {
            continue;
        }
        ring.features.direct_descriptors = direct;
        ring.features.multishot_accept = multishot;
        ring.accept(sys::raw(&listener), 1);
        let completion = first(ring)?;
        if completion.result >= 0 {
            accepted = Some(completion.result);
            break;
        }
    }
    let Some(value) = accepted else { return Err(io::ErrorKind::Unsupported.into()) };
    let mut client = UnixStream::from(client);
    // From here on the socket is closed on every path: by its owner, or by the ring's close.
    let direct = ring.features.direct_descriptors;
    let (target, owner) = if direct {
        (Target::Direct(value.cast_unsigned()), None)
    } else {
        (Target::Plain(value), Some(sys::own_from_ring(value)?))
    };

    client.write_all(b"?")?;
    let mut works = false;
    for multishot in [true, false] {
        if multishot && without.multishot_receive {
            continue;
        }
        ring.features.multishot_receive = multishot;
        ring.receive(target, 2);
        // The accept above may post, too (it has been left armed).
        let completion = loop {
            let completion = first(ring)?;
            if completion.data == 2 {
                break completion;
            }
        };
        if let Some(index) = completion.buffer {
            ring.provide(&mut core.buffers, index);
        }
        works = completion.result == 1 && completion.more == multishot;
        if works {
            break;
        }
    }
    drop(client);
    ring.cancel_all(0);
    if let Target::Direct(index) = target {
        ring.close(index, 0);
    }
    let mut rest = Vec::new();
    while ring.in_flight > 0 {
        ring.enter(Some(PATIENCE), Duration::ZERO)?;
        rest.clear();
        ring.reap(&mut rest);
        for buffer in rest.iter().filter_map(|completion| completion.buffer) {
            ring.provide(&mut core.buffers, buffer);
        }
    }
    ring.publish();
    drop(owner);
    if works { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// The next completion; each step of the probe causes exactly one.
fn first(ring: &mut Ring) -> io::Result<Completion> {
    let mut completions = Vec::new();
    ring.enter(Some(PATIENCE), Duration::ZERO)?;
    ring.reap(&mut completions);
    completions.first().copied().ok_or_else(|| io::ErrorKind::TimedOut.into())
}
