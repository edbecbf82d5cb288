//! What servers have since version 17 and 18: TLS from the first byte, protocol 3.2 with its long cancel keys. Ignored
//! unless asked for, as the server of most machines is older: `scripts/test-postgres.sh 17 18` gets both and runs every
//! test of this crate with them, these included.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test; helpers outside of #[test] functions unwrap too; a statement that is cancelled needs a thread"
)]

mod common;
#[path = "common/driver.rs"]
mod driver;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::Server;
use driver::Driver;
use forebay_base::Value;
use forebay_base::limits::DatabaseLimits;
use forebay_postgres::blocking::Client;
use forebay_postgres::{Config, Delivery, QueryError, Shape};

const HBA: &str = "hostssl all scram 127.0.0.1/32 scram-sha-256\nhostssl all all 127.0.0.1/32 trust\nhost all plain 127.0.0.1/32 trust\n";

fn connect(text: &str) -> Result<Client, QueryError> {
    Client::connect(&Config::parse(text, &|_| None).unwrap())
}

fn version(client: &Client) -> u32 {
    let text = client.connection().parameter("server_version").unwrap_or_default();
    text.split(|c: char| !c.is_ascii_digit()).next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// These tests were asked for: an older server is a failure, not a pass.
fn needs(client: &Client, least: u32) {
    let found = version(client);
    assert!(
        found >= least,
        "this test needs PostgreSQL {least}, found {found}: scripts/test-postgres.sh {least}"
    );
}

mod since_17 {
    use super::*;

    #[test]
    #[ignore = "needs PostgreSQL 17: scripts/test-postgres.sh 17"]
    fn direct_tls_checks_certificate_name_and_protocol() {
        let server = Server::start_tls(HBA);
        let mut admin = Client::connect(&server.config()).unwrap();
        needs(&admin, 17);
        admin
            .batch(
                "set password_encryption = 'scram-sha-256'; create role scram login password 'secret';
                 create role plain login",
            )
            .unwrap();
        let (port, folder) = (server.port.unwrap(), server.folder().display().to_string());
        let session = |rest: &str| {
            let rest = rest.replace("F/", &format!("{folder}/"));
            let mut client =
                match connect(&format!("port={port} dbname=postgres sslnegotiation=direct {rest}")) {
                    Ok(client) => client,
                    Err(error) => return error.to_string(),
                };
            assert!(client.connection().is_encrypted(), "{rest}");
            let sql = "select current_user || ' ' || version from pg_stat_ssl where pid = pg_backend_pid()";
            client.query(sql, &[], Shape::Scalar).unwrap().as_str().unwrap().to_owned()
        };
        let check = |rest: &str, expect: &str| {
            let got = session(rest);
            assert!(got.contains(expect), "{rest}: got {got:?}, expected {expect:?}");
        };
        check("host=localhost user=postgres sslmode=require", "postgres TLSv1.3");
        check("host=localhost user=postgres sslmode=verify-full sslrootcert=F/ca.crt", "postgres TLSv1.3");
        check("host=127.0.0.1 user=postgres sslmode=verify-ca sslrootcert=F/ca.crt", "postgres TLSv1.3");
        for refused in [
            "host=127.0.0.1 user=postgres sslmode=verify-full sslrootcert=F/ca.crt",
            "host=localhost user=postgres sslmode=verify-full sslrootcert=F/stranger.crt",
            "host=localhost user=postgres sslmode=verify-ca sslrootcert=F/stranger.crt",
        ] {
            check(refused, "TLS: invalid peer certificate");
        }
        check(
            "host=localhost user=scram password=secret sslmode=verify-full sslrootcert=F/ca.crt channel_binding=require",
            "scram TLSv1.3",
        );
        check(
            "host=localhost user=scram password=wrong sslmode=verify-full sslrootcert=F/ca.crt channel_binding=require",
            "28P01",
        );
        without_its_name_for_the_protocol_the_server_hangs_up(port);
        a_pool_over_direct_tls(port, &folder);
        // A server that has no TLS takes the handshake for garbage.
        admin.batch("alter system set ssl = off").unwrap();
        admin.batch("select pg_reload_conf()").unwrap();
        let limit = Instant::now() + Duration::from_secs(20);
        loop {
            let got = session("host=localhost user=plain sslmode=require");
            if got.contains("sslnegotiation") {
                break;
            }
            assert!(got.contains("plain TLS") && Instant::now() < limit, "{got}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[test]
    #[ignore = "needs PostgreSQL 17: scripts/test-postgres.sh 17"]
    fn an_older_server_says_which_version_it_speaks() {
        let admin = common::client();
        needs(&admin, 17);
        let newest = Client::connect(&Config { protocol: (0, 2), ..common::config() }).unwrap();
        let only = Client::connect(&Config { protocol: (2, 2), ..common::config() });
        if version(&admin) >= 18 {
            assert_eq!(newest.connection().protocol_minor(), 2);
            assert_eq!(only.unwrap().connection().protocol_minor(), 2);
        } else {
            assert_eq!(newest.connection().protocol_minor(), 0);
            let error = only.unwrap_err().to_string();
            assert!(error.contains("speaks protocol 3.0 at best"), "{error}");
        }
    }
}

/// So that the sessions above prove that ours was sent: the server insists on ALPN (manual: "SSL Session Encryption").
fn without_its_name_for_the_protocol_the_server_hangs_up(port: u16) {
    #[derive(Debug)]
    struct Anybody;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }
    let attempt = |alpn: &[&[u8]]| {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(std::sync::Arc::new(Anybody))
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut tls = rustls::StreamOwned::new(connection, stream);
        // StartupMessage 3.0 of user `postgres`.
        let startup = b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0";
        tls.write_all(startup).and_then(|()| tls.flush())?;
        let mut first = [0];
        tls.read_exact(&mut first).map(|()| first[0])
    };
    assert_eq!(attempt(&[b"postgresql"]).unwrap(), b'R');
    assert!(attempt(&[]).is_err());
    assert!(attempt(&[b"http/1.1"]).is_err());
}

/// The pool's own connections, with statements of many sizes in flight.
fn a_pool_over_direct_tls(port: u16, folder: &str) {
    let text = format!(
        "host=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=verify-ca sslrootcert={folder}/ca.crt \
         sslnegotiation=direct"
    );
    let limits = DatabaseLimits { connections: 2, ..DatabaseLimits::default() };
    let mut driver = Driver::new(Config::parse(&text, &|_| None).unwrap(), limits);
    let sql = "select repeat('x', $1::int4)";
    let sizes = [0, 1, 100, 16_000, 17_000, 300_000];
    let tokens: Vec<_> = (0..60)
        .map(|n| {
            let size = sizes[n % sizes.len()];
            (size, driver.start(sql, &[forebay_postgres::Param::Int(size)], Shape::Scalar, Delivery::Whole))
        })
        .collect();
    for (size, token) in tokens {
        let (_, value) = driver.wait(token).unwrap();
        assert_eq!(value.as_str().map(str::len), usize::try_from(size).ok());
    }
}

mod since_18 {
    use super::*;

    #[test]
    #[ignore = "needs PostgreSQL 18: scripts/test-postgres.sh 18"]
    fn protocol_3_2_is_agreed_on_and_its_long_keys_cancel() {
        let config = Config { protocol: (2, 2), ..common::config() };
        let socket = config.unix_socket().unwrap();
        let mut client = Client::connect(&config).unwrap();
        needs(&client, 18);
        assert_eq!(client.connection().protocol_minor(), 2);
        let key = client.connection().backend_key().unwrap().clone();
        assert!(key.secret.len() > 4, "{}", key.secret.len());
        // Without being asked for, it is 3.0, whose keys have 4 bytes.
        let old = Client::connect(&common::config()).unwrap();
        assert_eq!(old.connection().protocol_minor(), common::config().protocol.1);
        if old.connection().protocol_minor() == 0 {
            assert_eq!(old.connection().backend_key().unwrap().secret.len(), 4);
        }
        let send = |request: &[u8]| {
            let mut stream = UnixStream::connect(&socket).unwrap();
            stream.write_all(request).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        };
        let sleeper = std::thread::spawn(move || {
            let result = client.query("select pg_sleep(20)", &[], Shape::Scalar);
            // And the connection goes on.
            (result, client.query("select 7", &[], Shape::Scalar))
        });
        let mut admin = Client::connect(&config).unwrap();
        let sleeps = format!(
            "select count(*) from pg_stat_activity where pid = {} and query like '%pg_sleep(20)%' and state = 'active'",
            key.process_id
        );
        let mut runs = || admin.query(&sleeps, &[], Shape::Scalar).unwrap() == Value::Int(1);
        let limit = Instant::now() + Duration::from_secs(20);
        while !runs() {
            assert!(Instant::now() < limit, "it never began");
            std::thread::sleep(Duration::from_millis(20));
        }
        // Half a key, and one with a wrong bit, stop nothing.
        let mut short = key.clone();
        short.secret = key.secret[..key.secret.len() / 2].into();
        send(&short.cancel_request());
        let mut wrong = key.clone();
        wrong.secret[key.secret.len() - 1] ^= 1;
        send(&wrong.cancel_request());
        std::thread::sleep(Duration::from_millis(200));
        assert!(runs(), "a wrong key stopped a statement");
        send(&key.cancel_request());
        let (slept, after) = sleeper.join().unwrap();
        match slept {
            Err(QueryError::Server(error)) => assert_eq!(&*error.code, "57014"),
            other => panic!("{other:?}"),
        }
        assert_eq!(after.unwrap(), Value::Int(7));
    }

    #[test]
    #[ignore = "needs PostgreSQL 18: scripts/test-postgres.sh 18"]
    fn a_pool_that_speaks_3_2_cancels_what_is_abandoned() {
        let config = Config { protocol: (2, 2), ..common::config() };
        needs(&Client::connect(&config).unwrap(), 18);
        let mut driver = Driver::new(config, DatabaseLimits { connections: 1, ..DatabaseLimits::default() });
        driver.run("select 1", &[], Shape::Scalar).unwrap();
        let token = driver.start("select pg_sleep(30)", &[], Shape::Scalar, Delivery::Whole);
        driver.turn(Duration::from_millis(50));
        assert!(driver.abandon(token));
        driver.forget(token);
        let start = Instant::now();
        driver.until("the abandoned statement ends", |driver| driver.pool.stats().in_flight == 0);
        assert!(start.elapsed() < Duration::from_secs(9), "it wasn't cancelled");
        assert_eq!(driver.cancels, 1);
        let stats = driver.pool.stats();
        assert_eq!((stats.disconnects, stats.connects), (0, 1), "{stats:?}");
        assert_eq!(driver.run("select 2", &[], Shape::Scalar).unwrap(), Value::Int(2));
    }
}
