//! Tokens of timers and disk operations: whose they are, and which.
//!
//! ```text
//!   63    60 59                                       0
//!   +-------+------------------------------------------+
//!   | kind  | payload                                  |
//!   +-------+------------------------------------------+
//! ```

use forebay_base::ConnectionId;

/// Who set a timer or started a disk operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// The timeout of a client's connection.
    Client(ConnectionId),
    /// The wall time of a run: its key.
    Run(u64),
    /// The end of a `sleep()`: key of the waiting effect.
    Sleep(u64),
    /// The deadline of an outbound HTTP request: its key.
    Http(u64),
    /// The next deadline of a database's pool: its number.
    Database(u64),
    /// A commit of the store.
    Commit,
    /// The core's second hand: gauges, retired generations.
    Tick,
    /// The next durable task that wakes.
    Wake,
    /// A request that waits for a durable task has waited enough: its key.
    Asked(u64),
}

const KIND_SHIFT: u32 = 60;
const PAYLOAD: u64 = (1 << KIND_SHIFT) - 1;
/// Generations of connections keep their low 28 bits in a token.
const GENERATION_MASK: u32 = (1 << 28) - 1;

pub(crate) const fn client(connection: ConnectionId) -> u64 {
    (connection.generation as u64 & GENERATION_MASK as u64) << 32 | connection.slot as u64
}

pub(crate) const fn run(key: u64) -> u64 {
    1 << KIND_SHIFT | key & PAYLOAD
}

pub(crate) const fn sleep(key: u64) -> u64 {
    2 << KIND_SHIFT | key & PAYLOAD
}

pub(crate) const fn http(key: u64) -> u64 {
    3 << KIND_SHIFT | key & PAYLOAD
}

pub(crate) const fn database(number: usize) -> u64 {
    4 << KIND_SHIFT | number as u64 & PAYLOAD
}

pub(crate) const COMMIT: u64 = 5 << KIND_SHIFT;
pub(crate) const TICK: u64 = 6 << KIND_SHIFT;
pub(crate) const WAKE: u64 = 7 << KIND_SHIFT;

pub(crate) const fn asked(key: u64) -> u64 {
    8 << KIND_SHIFT | key & PAYLOAD
}

/// Takes a token apart. A client's generation comes back with its low 28 bits only.
pub(crate) const fn parse(token: u64) -> Option<Token> {
    let payload = token & PAYLOAD;
    Some(match token >> KIND_SHIFT {
        0 => Token::Client(ConnectionId::from_bits(payload)),
        1 => Token::Run(payload),
        2 => Token::Sleep(payload),
        3 => Token::Http(payload),
        4 => Token::Database(payload),
        5 => Token::Commit,
        6 => Token::Tick,
        7 => Token::Wake,
        8 => Token::Asked(payload),
        _ => return None,
    })
}

/// Whether a client token's generation is this connection's.
pub(crate) const fn same_client(token: ConnectionId, connection: ConnectionId) -> bool {
    token.slot == connection.slot && token.generation == connection.generation & GENERATION_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        let connection = ConnectionId { slot: u32::MAX, generation: u32::MAX };
        let Some(Token::Client(back)) = parse(client(connection)) else { panic!("kind") };
        assert!(same_client(back, connection));
        assert_eq!(parse(run(77)), Some(Token::Run(77)));
        assert_eq!(parse(sleep(PAYLOAD)), Some(Token::Sleep(PAYLOAD)));
        assert_eq!(parse(http(1)), Some(Token::Http(1)));
        assert_eq!(parse(asked(PAYLOAD)), Some(Token::Asked(PAYLOAD)));
        assert_eq!(
            [database(3), COMMIT, TICK, WAKE].map(parse),
            [Some(Token::Database(3)), Some(Token::Commit), Some(Token::Tick), Some(Token::Wake)]
        );
        assert_eq!(parse(u64::MAX), None);
    }
}
