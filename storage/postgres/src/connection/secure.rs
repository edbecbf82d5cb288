//! TLS between the socket and the state machine: ciphertext in, ciphertext out, no socket here either.
//!
//! ```text
//!   Plain                                        nothing between
//!   Asking  --'S'--> Open (handshake, then data)  SSLRequest is sent; the StartupMessage waits for the handshake
//!           --'N'--> Plain, or the end if TLS is required
//! ```
//! A byte behind the `S` is refused: it came before the handshake, from whoever is in between (CVE-2021-23222).

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::wire::{self, Body};
use super::{Encryption, Target};
use crate::config::{Config, Host};

/// Plaintext that is handed on at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// Why a server may not answer to TLS from the first byte on.
pub(super) const DIRECT: &str = "sslnegotiation=direct needs PostgreSQL 17 or later";

/// Takes decrypted bytes; the second argument finds `tls-server-end-point` of the connection (RFC 5929 section 4.1):
/// `None` without TLS, or where the certificate's signature has no hash that it could be of.
type Plain<'p> = &'p mut dyn FnMut(&[u8], &dyn Fn() -> Option<Vec<u8>>);

/// What stands between the socket and the messages.
pub(super) enum Secure {
    Plain,
    Asking { sent: bool },
    Open(Box<Session>),
}

pub(super) struct Session {
    tls: ClientConnection,
    direct: bool,
    /// Something came back.
    heard: bool,
    chunk: Vec<u8>,
}

impl Secure {
    pub(super) fn new(config: &Config, target: Target) -> Result<Self, String> {
        match target.encryption {
            Encryption::Plain => Ok(Self::Plain),
            Encryption::Ask { .. } => Ok(Self::Asking { sent: false }),
            Encryption::Direct => Session::new(config, target).map(Self::Open),
        }
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain)
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    pub(super) fn output_len(&self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Asking { sent } => {
                if *sent {
                    0
                } else {
                    wire::SSL_REQUEST.len()
                }
            }
            Self::Open(session) => usize::from(session.tls.wants_write()),
        }
    }

    /// TLS from the first byte on, to which nothing came back: what a server does that doesn't know of it.
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(self, Self::Open(session) if session.direct && !session.heard)
    }

    /// Encrypts `plain`, once there is something to encrypt it with, into `buffer`; false if that stays empty.
    pub(super) fn take_output(&mut self, plain: &mut Vec<u8>, buffer: &mut Vec<u8>) -> bool {
        match self {
            Self::Plain => {}
            Self::Asking { sent } => {
                if !std::mem::replace(sent, true) {
                    buffer.extend_from_slice(&wire::SSL_REQUEST);
                }
            }
            Self::Open(session) => {
                // Until the handshake is over rustls would keep it; then an error is the reader's to find.
                if !session.tls.is_handshaking() && session.tls.writer().write_all(plain).is_ok() {
                    plain.clear();
                }
                while session.tls.wants_write() {
                    if session.tls.write_tls(buffer).is_err() {
                        break;
                    }
                }
            }
        }
        !buffer.is_empty()
    }

    /// Handles received bytes; what they decrypt to goes to `plain`.
    pub(super) fn handle_bytes(
        &mut self,
        bytes: &[u8],
        config: &Config,
        target: Target,
        plain: Plain<'_>,
    ) -> Result<(), String> {
        match self {
            Self::Plain => {
                plain(bytes, &|| None);
                Ok(())
            }
            Self::Asking { .. } => match bytes {
                [] => Ok(()),
                [b'S'] => {
                    *self = Self::Open(Session::new(config, target)?);
                    Ok(())
                }
                [b'S', ..] => Err("protocol: bytes in front of the TLS handshake".into()),
                [b'N', rest @ ..] => {
                    if target.encryption == (Encryption::Ask { required: true }) {
                        return Err("the server doesn't speak TLS, which sslmode asks for".into());
                    }
                    *self = Self::Plain;
                    plain(rest, &|| None);
                    Ok(())
                }
                // An ErrorResponse can't be trusted here (CVE-2024-10977): nobody has proven who sent it.
                _ => Err("the server refused the request for TLS".into()),
            },
            Self::Open(session) => session.handle_bytes(bytes, plain),
        }
    }
}

impl Session {
    fn new(config: &Config, target: Target) -> Result<Box<Self>, String> {
        let (host, _, _) = config.host(target.host);
        let name = match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(_) => return Err("TLS over a unix socket".into()),
        };
        let shown = name.clone();
        let name = ServerName::try_from(name).map_err(|e| format!("TLS: \"{shown}\": {e}"))?;
        let client = config.tls.client.as_ref().ok_or("TLS isn't configured")?;
        let mut tls = ClientConnection::new(Arc::clone(client), name).map_err(|e| format!("TLS: {e}"))?;
        // The pool bounds what waits to be sent.
        tls.set_buffer_limit(None);
        Ok(Box::new(Self {
            tls,
            direct: target.encryption == Encryption::Direct,
            heard: false,
            chunk: Vec::new(),
        }))
    }

    fn handle_bytes(&mut self, mut bytes: &[u8], plain: Plain<'_>) -> Result<(), String> {
        self.heard = true;
        while !bytes.is_empty() {
            let handshaking = self.tls.is_handshaking();
            self.tls.read_tls(&mut bytes).map_err(|e| format!("TLS: {e}"))?;
            let state = self.tls.process_new_packets().map_err(|e| format!("TLS: {e}"))?;
            if handshaking
                && !self.tls.is_handshaking()
                && self.direct
                && self.tls.alpn_protocol() != Some(b"postgresql")
            {
                return Err("TLS: the server didn't agree to the protocol \"postgresql\" (ALPN)".into());
            }
            let mut left = state.plaintext_bytes_to_read();
            self.chunk.resize(CHUNK_BYTES, 0);
            while left > 0 {
                let count = self.tls.reader().read(&mut self.chunk).map_err(|e| format!("TLS: {e}"))?;
                if count == 0 {
                    break;
                }
                left = left.saturating_sub(count);
                let tls = &self.tls;
                plain(&self.chunk[..count], &|| end_point(tls.peer_certificates()?.first()?));
            }
            if state.peer_has_closed() {
                return Err("the server closed the connection".into());
            }
        }
        Ok(())
    }
}

/// Hash of a certificate by the hash of its own signature, SHA-256 in place of MD5 and SHA-1.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    use sha2::Digest as _;
    Some(match signature_hash(certificate)? {
        384 => sha2::Sha384::digest(certificate).to_vec(),
        512 => sha2::Sha512::digest(certificate).to_vec(),
        _ => sha2::Sha256::digest(certificate).to_vec(),
    })
}

/// `Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { algorithm OID, ... }, ... }`
/// (RFC 5280 section 4.1): bits of the hash of that algorithm, 256 for the weak ones; `None` for one without.
fn signature_hash(certificate: &[u8]) -> Option<u16> {
    let mut outer = Body(element(&mut Body(certificate), 0x30)?);
    element(&mut outer, 0x30)?;
    let mut algorithm = Body(element(&mut outer, 0x30)?);
    match element(&mut algorithm, 0x06)? {
        // 1.2.840.113549.1.1.x: RSA with MD5, SHA-1, SHA-256, SHA-384, SHA-512.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last] => match last {
            4 | 5 | 11 => Some(256),
            12 => Some(384),
            13 => Some(512),
            _ => None,
        },
        // 1.2.840.10045.4.1: ECDSA with SHA-1; 4.3.x: with SHA-256, SHA-384, SHA-512.
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2] => Some(256),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3] => Some(384),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4] => Some(512),
        _ => None,
    }
}

/// The content of a DER element with this tag, taken off the front.
fn element<'b>(body: &mut Body<'b>, tag: u8) -> Option<&'b [u8]> {
    if body.u8()? != tag {
        return None;
    }
    let first = body.u8()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        0x81..=0x83 => {
            let mut length = 0usize;
            for _ in 0..first & 0x7f {
                length = length << 8 | usize::from(body.u8()?);
            }
            length
        }
        _ => return None,
    };
    let (content, rest) = body.0.split_at_checked(length)?;
    body.0 = rest;
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_certificate_has_no_hash() {
        for bytes in
            [&[][..], &[0x30], &[0x30, 0x84, 1, 1, 1, 1], &[0x30, 0x05, 0x30, 0x7f], &[0x30, 0, 0x30]]
        {
            assert_eq!(signature_hash(bytes), None);
        }
    }
}
