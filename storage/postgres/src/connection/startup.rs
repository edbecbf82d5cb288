//! From the first byte to the first ReadyForQuery.
//!
//! ```text
//!   StartupMessage -> Authentication* (trust | password | md5 | SCRAM-SHA-256) -> AuthenticationOk
//!                  -> ParameterStatus*, BackendKeyData -> ReadyForQuery
//! ```
//! A server that asked for SCRAM must prove that it knows the password too: AuthenticationOk before its proof is
//! refused (RFC 5802 section 5). A SCRAM exchange costs about a millisecond of CPU: pools connect rarely.

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};

use super::wire::{self, Body};

/// Rounds of PBKDF2 that a server may ask for: it could otherwise keep a core busy for minutes. The server's
/// default is 4,096.
pub const SCRAM_ITERATIONS_MAX: u32 = 100_000;

/// Where authentication stands.
pub(super) enum Auth {
    /// Nothing proven yet.
    Start,
    /// Our first SCRAM message is sent.
    ScramFirst(Box<ScramSha256>),
    /// Our proof is sent; the server's is due.
    ScramFinal(Box<ScramSha256>),
    /// What the method asks of us is done; AuthenticationOk is due.
    Answered,
    /// AuthenticationOk came.
    Done,
}

impl Auth {
    /// Handles the body of an Authentication message (`R`); appends the answer to `out`.
    pub(super) fn handle(
        self,
        body: &[u8],
        user: &str,
        password: Option<&str>,
        out: &mut Vec<u8>,
    ) -> Result<Self, String> {
        let mut body = Body(body);
        let request = body.u32().ok_or("a malformed Authentication message")?;
        let need = |method: &str| {
            password
                .ok_or_else(|| format!("the server asks for a password ({method}), and none is configured"))
        };
        match (request, self) {
            (0, Self::Start | Self::Answered) => Ok(Self::Done),
            (0, _) => {
                Err("the server said AuthenticationOk before it proved that it knows the password".into())
            }
            (3, Self::Start) => {
                wire::password(out, need("password")?);
                Ok(Self::Answered)
            }
            (5, Self::Start) => {
                let salt: [u8; 4] = body.0.try_into().map_err(|_| "a malformed md5 salt")?;
                wire::password(out, &md5_hash(user.as_bytes(), need("md5")?.as_bytes(), salt));
                Ok(Self::Answered)
            }
            (10, Self::Start) => {
                let mut offered = Vec::new();
                while let Some(name) = body.text().filter(|name| !name.is_empty()) {
                    offered.push(name);
                }
                if !offered.iter().any(|name| &**name == SCRAM_SHA_256) {
                    return Err(format!("the server offers only {}", offered.join(", ")));
                }
                let password = need("SCRAM-SHA-256")?;
                let scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
                wire::sasl_initial(out, SCRAM_SHA_256, scram.message());
                Ok(Self::ScramFirst(Box::new(scram)))
            }
            (11, Self::ScramFirst(mut scram)) => {
                let iterations = std::str::from_utf8(body.0)
                    .ok()
                    .and_then(|text| text.split(',').find_map(|part| part.strip_prefix("i=")))
                    .and_then(|digits| digits.parse::<u32>().ok())
                    .ok_or("a malformed SCRAM message")?;
                if iterations > SCRAM_ITERATIONS_MAX {
                    return Err(format!(
                        "the server asks for {iterations} SCRAM iterations, more than {SCRAM_ITERATIONS_MAX}"
                    ));
                }
                scram.update(body.0).map_err(|e| format!("SCRAM: {e}"))?;
                wire::sasl_response(out, scram.message());
                Ok(Self::ScramFinal(scram))
            }
            (12, Self::ScramFinal(mut scram)) => {
                scram.finish(body.0).map_err(|e| format!("SCRAM: the server's proof is wrong: {e}"))?;
                Ok(Self::Answered)
            }
            (2, _) => Err("the server asks for Kerberos V5, which isn't supported".into()),
            (7 | 8, _) => Err("the server asks for GSSAPI, which isn't supported".into()),
            (9, _) => Err("the server asks for SSPI, which isn't supported".into()),
            (other, _) => Err(format!("unexpected Authentication message {other}")),
        }
    }
}
