//! The costly step of SCRAM as a job for another thread.
//!
//! A proof takes thousands of rounds of HMAC (PBKDF2), about a millisecond: too long for a core that serves requests.
//! The connection hands it out ([`super::Connection::poll_job`]) and goes on when it comes back; the server waits.

use std::fmt;

use postgres_protocol::authentication::sasl::ScramSha256;

use super::startup::Auth;
use super::wire;

/// Rounds of PBKDF2 that a server may ask for: it could otherwise keep a core busy for minutes. The server's
/// default is 4,096.
pub const SCRAM_ITERATIONS_MAX: u32 = 100_000;

/// A computation of one connection.
pub struct Job {
    scram: Box<ScramSha256>,
    challenge: Box<[u8]>,
    result: Option<Result<(), String>>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("done", &self.result.is_some()).finish_non_exhaustive()
    }
}

impl Job {
    pub(super) fn new(scram: Box<ScramSha256>, challenge: &[u8]) -> Result<Self, String> {
        let iterations = std::str::from_utf8(challenge)
            .ok()
            .and_then(|text| text.split(',').find_map(|part| part.strip_prefix("i=")))
            .and_then(|digits| digits.parse::<u32>().ok())
            .ok_or("a malformed SCRAM message")?;
        if iterations > SCRAM_ITERATIONS_MAX {
            return Err(format!(
                "the server asks for {iterations} SCRAM iterations, more than {SCRAM_ITERATIONS_MAX}"
            ));
        }
        Ok(Self { scram, challenge: challenge.into(), result: None })
    }

    /// Computes; a second call does nothing.
    pub fn run(&mut self) {
        if self.result.is_none() {
            self.result = Some(self.scram.update(&self.challenge).map_err(|e| format!("SCRAM: {e}")));
        }
    }

    /// Appends the proof to `out`.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) -> Result<Auth, String> {
        self.run();
        self.result.unwrap_or(Ok(()))?;
        wire::sasl_response(out, self.scram.message());
        Ok(Auth::ScramFinal(self.scram))
    }
}
