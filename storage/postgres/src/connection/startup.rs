//! From the first byte to the first ReadyForQuery.
//!
//! ```text
//!   StartupMessage -> Authentication* (trust | password | md5 | SCRAM-SHA-256[-PLUS]) -> AuthenticationOk
//!                  -> [NegotiateProtocolVersion] ParameterStatus*, BackendKeyData -> ReadyForQuery
//! ```
//! A server that asked for SCRAM must prove that it knows the password too: AuthenticationOk before its proof is
//! refused (RFC 5802 section 5). Over TLS the proof is bound to the server's certificate where the server offers it
//! (`-PLUS`); that it could be, and wasn't, is part of the proof, so that nobody in between can talk us out of it.

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};

use super::scram::Job;
use super::wire::{self, Body};
use crate::config::ChannelBinding;

/// What the answers are made of.
pub(super) struct Credentials<'c> {
    pub(super) user: &'c str,
    pub(super) password: Option<&'c str>,
    pub(super) binding: ChannelBinding,
    /// The hash to bind to, over TLS.
    pub(super) end_point: Option<Vec<u8>>,
}

/// Where authentication stands.
pub(super) enum Auth {
    /// Nothing proven yet.
    Start,
    /// Our first SCRAM message is sent.
    ScramFirst(Box<ScramSha256>),
    /// Our proof is being computed elsewhere.
    Computing,
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
        credentials: Credentials<'_>,
        out: &mut Vec<u8>,
        job: &mut Option<Job>,
    ) -> Result<Self, String> {
        let Credentials { user, password, binding, end_point } = credentials;
        let mut body = Body(body);
        let request = body.u32().ok_or("a malformed Authentication message")?;
        let need = |method: &str| {
            password
                .ok_or_else(|| format!("the server asks for a password ({method}), and none is configured"))
        };
        if binding == ChannelBinding::Require && matches!((request, &self), (0 | 3 | 5, Self::Start)) {
            return Err("channel_binding=require, and the server doesn't use SCRAM-SHA-256-PLUS".into());
        }
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
                let has = |mechanism: &str| offered.iter().any(|name| &**name == mechanism);
                if !has(SCRAM_SHA_256) && !has(SCRAM_SHA_256_PLUS) {
                    return Err(format!("the server offers only {}", offered.join(", ")));
                }
                let password = need("SCRAM-SHA-256")?;
                let end_point = end_point.filter(|_| binding != ChannelBinding::Disable);
                let (mechanism, channel) = match end_point {
                    Some(hash) if has(SCRAM_SHA_256_PLUS) => {
                        (SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash))
                    }
                    _ if binding == ChannelBinding::Require => {
                        return Err("channel_binding=require, and there is nothing to bind to: TLS with \
                            SCRAM-SHA-256-PLUS"
                            .into());
                    }
                    Some(_) => (SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
                    None => (SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
                };
                if !has(mechanism) {
                    return Err(
                        "the server offers only SCRAM-SHA-256-PLUS, and there is nothing to bind to".into()
                    );
                }
                let scram = ScramSha256::new(password.as_bytes(), channel);
                wire::sasl_initial(out, mechanism, scram.message());
                Ok(Self::ScramFirst(Box::new(scram)))
            }
            (11, Self::ScramFirst(scram)) => {
                *job = Some(Job::new(scram, body.0)?);
                Ok(Self::Computing)
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
