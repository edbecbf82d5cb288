//! How a connection is encrypted and whom it trusts (manual: "SSL Support").
//!
//! | sslmode | encryption | certificate of the server |
//! |---|---|---|
//! | `disable` | never | |
//! | `allow` | if the server insists | not checked |
//! | `prefer` (default) | if the server has it | not checked |
//! | `require` | always | checked as by `verify-ca` if a root file is there, as libpq does |
//! | `verify-ca` | always | signed by a known authority |
//! | `verify-full` | always | that, and made out to this host |

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{ConfigError, Settings, error, files};

/// When to encrypt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SslMode {
    /// Never.
    Disable,
    /// Only if the server refuses plain text.
    Allow,
    /// Unless the server can't.
    Prefer,
    /// Always: `require`, `verify-ca`, `verify-full`, which differ in whom they trust.
    Require,
}

/// Keys, trust and mode of TLS.
#[derive(Clone)]
pub struct Tls {
    /// When to encrypt.
    pub mode: SslMode,
    /// TLS from the first byte (PostgreSQL 17 and later), without asking first.
    pub direct: bool,
    /// The handshake's configuration; none with `disable`.
    pub client: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("mode", &self.mode).field("direct", &self.direct).finish_non_exhaustive()
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.client, &other.client) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        same && self.mode == other.mode && self.direct == other.direct
    }
}

impl Eq for Tls {}

impl Tls {
    /// No encryption.
    #[must_use]
    pub fn disabled() -> Self {
        Self { mode: SslMode::Disable, direct: false, client: None }
    }
}

/// Where the system keeps the authorities it trusts (`sslrootcert=system`).
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// How much of the server's certificate is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Check {
    Nothing,
    Authority,
    Name,
}

pub(super) fn from_settings(
    settings: &Settings,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Tls, ConfigError> {
    let name = settings.get("sslmode").unwrap_or(if settings.get("sslrootcert") == Some("system") {
        "verify-full"
    } else {
        "prefer"
    });
    let (mode, mut check) = match name {
        "disable" => (SslMode::Disable, Check::Nothing),
        "allow" => (SslMode::Allow, Check::Nothing),
        "prefer" => (SslMode::Prefer, Check::Nothing),
        "require" => (SslMode::Require, Check::Nothing),
        "verify-ca" => (SslMode::Require, Check::Authority),
        "verify-full" => (SslMode::Require, Check::Name),
        other => return Err(error("sslmode", format!("\"{other}\" is not a mode"))),
    };
    let direct = match settings.get("sslnegotiation").unwrap_or("postgres") {
        "postgres" => false,
        "direct" if mode == SslMode::Require => true,
        "direct" => return Err(error("sslnegotiation", "\"direct\" needs sslmode=require or above")),
        other => return Err(error("sslnegotiation", format!("\"{other}\" is not postgres or direct"))),
    };
    if mode == SslMode::Disable {
        return Ok(Tls::disabled());
    }
    let system = settings.get("sslrootcert") == Some("system");
    if system && check != Check::Name {
        return Err(error(
            "sslrootcert",
            "\"system\" needs sslmode=verify-full: anyone has such a certificate",
        ));
    }
    let roots = match settings.get("sslrootcert") {
        Some("system") => SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.is_file()),
        Some(path) => Some(PathBuf::from(path)),
        None => files::home(env, ".postgresql/root.crt").filter(|path| path.is_file()),
    };
    if name == "require" && roots.is_some() {
        check = Check::Authority;
    }
    if check != Check::Nothing && roots.is_none() {
        return Err(error("sslrootcert", format!("missing: sslmode={name} needs the authorities to trust")));
    }
    let provider = Arc::new(ring::default_provider());
    let inner = match (&roots, check) {
        (Some(path), Check::Authority | Check::Name) => {
            let mut store = RootCertStore::empty();
            for certificate in certificates("sslrootcert", path)? {
                // A system's file may hold one that can't be read; what is missing then is not trusted.
                let added = store.add(certificate);
                if let (Err(e), false) = (added, system) {
                    return Err(error("sslrootcert", format!("{}: {e}", path.display())));
                }
            }
            let built =
                WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider)).build();
            Some(built.map_err(|e| error("sslrootcert", format!("{}: {e}", path.display())))?)
        }
        _ => None,
    };
    let verifier = Verifier { inner, check, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| error("sslmode", e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let own = |key: &str, file: &str| match settings.get(key) {
        Some(path) => Some(PathBuf::from(path)),
        None => files::home(env, file).filter(|path| path.is_file()),
    };
    let mut client =
        match (own("sslcert", ".postgresql/postgresql.crt"), own("sslkey", ".postgresql/postgresql.key")) {
            (Some(cert), Some(key)) => {
                let chain = certificates("sslcert", &cert)?;
                let secret = PrivateKeyDer::from_pem_file(&key)
                    .map_err(|e| error("sslkey", format!("{}: {e}", key.display())))?;
                builder
                    .with_client_auth_cert(chain, secret)
                    .map_err(|e| error("sslcert", format!("{}: {e}", cert.display())))?
            }
            (Some(_), None) => return Err(error("sslkey", "missing beside sslcert")),
            _ => builder.with_no_client_auth(),
        };
    client.alpn_protocols = vec![b"postgresql".to_vec()];
    client.resumption = rustls::client::Resumption::disabled();
    Ok(Tls { mode, direct, client: Some(Arc::new(client)) })
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let fail = |e: String| error(key, format!("{}: {e}", path.display()));
    let all: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|e| fail(e.to_string()))?.collect();
    let all = all.map_err(|e| fail(e.to_string()))?;
    if all.is_empty() { Err(fail("no certificate in it".into())) } else { Ok(all) }
}

/// Checks as much as the mode asks for. Signatures of the handshake are always checked: the server has the key of the
/// certificate that it shows, which channel binding rests on.
#[derive(Debug)]
struct Verifier {
    inner: Option<Arc<WebPkiServerVerifier>>,
    check: Check,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is checked last: everything before it was right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.check != Check::Name => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
